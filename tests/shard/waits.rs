//! How waits end, row by row: in time, or by CLIENT UNBLOCK.

use super::blocking::{MILLI_NS, World};
use super::request;

/// Every row that waits for a key, of two that mostly lie on two lanes.
const WAITS: [&[&str]; 9] = [
    &["BGETDEL", "a", "b", "TIME"],
    &["BLPOP", "a", "b", "TIME"],
    &["BRPOP", "a", "b", "TIME"],
    &["BLMOVE", "a", "b", "LEFT", "RIGHT", "TIME"],
    &["BRPOPLPUSH", "a", "b", "TIME"],
    &["BLMPOP", "TIME", "2", "a", "b", "LEFT"],
    &["BZPOPMIN", "a", "b", "TIME"],
    &["BZPOPMAX", "a", "b", "TIME"],
    &["BZMPOP", "TIME", "2", "a", "b", "MIN"],
];

fn waiting(wait: &[&str], seconds: &str) -> Vec<u8> {
    request(&wait.iter().map(|word| if *word == "TIME" { seconds } else { word }).collect::<Vec<_>>())
}

/// To the millisecond, neither early nor late; and told when to wake up for it.
#[test]
fn a_wait_ends_when_its_time_is_over() {
    for (count, wait) in [1, 3].into_iter().flat_map(|count| WAITS.map(|wait| (count, wait))) {
        let mut world = World::new(count);
        let conn = world.connect(0);
        world.turn(0, 0, Some((conn, waiting(wait, "0.0305"))));
        world.rest();
        let deadline = world.now.mono_ns + 31 * MILLI_NS;
        assert_eq!(world.lanes[0].wakes_ns, Some(deadline), "{wait:?}");
        world.pass(30);
        world.rest();
        assert_eq!(world.reply(0, conn), None, "{wait:?}");
        world.pass(1);
        world.turn(0, 0, None);
        assert_eq!(world.reply(0, conn).as_deref(), Some("*-1\r\n"), "{wait:?}");
        world.rest();
        assert!(world.lanes.iter().all(|lane| lane.shard.is_quiet()));
    }
}

#[test]
fn every_wait_is_let_go_by_client_unblock() {
    for (count, wait) in [1, 3].into_iter().flat_map(|count| WAITS.map(|wait| (count, wait))) {
        for (how, two, three) in [("TIMEOUT", "*-1\r\n", "_\r\n"), ("ERROR", UNBLOCKED, UNBLOCKED)] {
            for (dialect, reply) in [("2", two), ("3", three)] {
                let mut world = World::new(count);
                let last = count - 1;
                let (waiter, warden) = (world.connect(0), world.connect(last));
                world.call(0, waiter, &["HELLO", dialect]);
                let id =
                    world.call(0, waiter, &["CLIENT", "ID"]).trim_matches(|c: char| !c.is_ascii_digit()).to_owned();
                world.turn(0, 0, Some((waiter, waiting(wait, "0"))));
                world.rest();
                assert_eq!(world.call(last, warden, &["CLIENT", "UNBLOCK", &id, how]), ":1\r\n", "{wait:?}");
                assert_eq!(world.reply(0, waiter).as_deref(), Some(reply), "{wait:?} {how}");
                assert_eq!(world.call(last, warden, &["CLIENT", "UNBLOCK", &id, how]), ":0\r\n", "it waits no more");
                assert!(world.lanes.iter().all(|lane| lane.shard.is_quiet()));
            }
        }
    }
}

const UNBLOCKED: &str = "-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n";
