//! A transaction among a flood: others write the same keys one by one, and by transactions of their own, as fast as they are answered.
//!
//! ```text
//!  each lane   writers  SET hot          each its next as soon as it has its reply
//!              others   MSET hot hot hot   the same
//!              one      EXEC over all hot keys, timed in rounds: a turn of each lane, in which two parcels of a peer arrive at most
//! ```
//!
//! Who asks in order stands in the queues of its keys, which nobody overtakes: how long it takes follows from how many stand before it.

use super::blocking::World;
use super::request;
use corelane::base::rng::Rng;
use corelane::shard::{ConnId, ShardId};

const LANES: usize = 3;
const WRITERS: usize = 4;
const OTHERS: usize = 3;

/// Of each lane at most so many claims stand before one in a queue, each for a few hops.
const ROUNDS_MAX: usize = 4 * LANES * (WRITERS + OTHERS);

/// A key of each lane.
fn hot_keys(world: &World) -> Vec<String> {
    let owner = |key: &str| {
        let slot = world.lanes[0].shard.store().hash_key.key(key.as_bytes()).slot();
        corelane::base::lanes::Lanes::new(u16::try_from(LANES).expect("few")).owner(slot)
    };
    let of = |lane: usize| {
        let lane = ShardId(u16::try_from(lane).expect("few"));
        (0..).map(|i| format!("hot{i}")).find(|key| owner(key) == lane).expect("one of many keys")
    };
    (0..LANES).map(of).collect()
}

struct Flooder {
    lane: usize,
    conn: ConnId,
    request: Vec<u8>,
    waits: bool,
}

#[test]
fn a_transaction_over_hot_keys_ends_in_bounded_time() {
    let mut world = World::new(LANES);
    let mut rng = Rng::new(5);
    let keys = hot_keys(&world);
    let words = |rng: &mut Rng| {
        let mut keys: Vec<&String> = keys.iter().collect();
        keys.rotate_left(usize::try_from(rng.below(LANES as u64)).expect("few"));
        keys.into_iter().flat_map(|key| [key.clone(), "v".into()]).collect::<Vec<String>>()
    };
    let mut flood = Vec::new();
    for lane in 0..LANES {
        for i in 0..WRITERS + OTHERS {
            let request = if i < WRITERS {
                request(&["SET", &keys[i % LANES], "1"])
            } else {
                request(&[vec!["MSET".to_owned()], words(&mut rng)].concat())
            };
            flood.push(Flooder { lane, conn: world.connect(lane), request, waits: false });
        }
    }
    let ones: Vec<ConnId> = (0..LANES).map(|lane| world.connect(lane)).collect();
    let exec =
        [&request(&["MULTI"]), &request(&[vec!["MSET".to_owned()], words(&mut rng)].concat())[..], &request(&["EXEC"])];
    let exec = exec.concat();
    let (mut longest, mut floods) = (0, 0);
    for attempt in 0..120 {
        let (home, mut said, mut rounds) = (attempt % LANES, String::new(), 0);
        world.turn(home, 1, Some((ones[home], exec.clone())));
        while !said.ends_with("*1\r\n+OK\r\n") {
            rounds += 1;
            assert!(rounds <= ROUNDS_MAX, "still waiting: {said:?}");
            for lane in 0..LANES {
                world.turn(lane, 1 + usize::try_from(rng.below(2)).expect("few"), None);
            }
            for flooder in &mut flood {
                if world.reply(flooder.lane, flooder.conn).is_some() {
                    (flooder.waits, floods) = (false, floods + 1);
                }
                if !flooder.waits {
                    flooder.waits = true;
                    world.turn(flooder.lane, 0, Some((flooder.conn, flooder.request.clone())));
                }
            }
            said += &world.reply(home, ones[home]).unwrap_or_default();
        }
        longest = longest.max(rounds);
    }
    println!("at most {longest} rounds, while {floods} other requests were answered");
    assert!(floods > 2000, "there was a flood: {floods}");
    world.rest();
}
