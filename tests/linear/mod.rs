//! The real server from outside: several clients over sockets, several lanes, and the question whether what they were told has a
//! legal order.
//!
//! ```text
//!  threads: ask, note both times ---> history.rs ---> check.rs: an order, or the point where there is none
//! ```
//!
//! The simulator (`sim/`) knows what ran where and decides the schedule; here nothing is known and the machine decides, but it is the
//! whole server: rings, doorbells, sockets and threads.

mod check;
mod history;

use std::sync::Barrier;
use std::time::Instant;

use check::check;
use corelane::base::rng::Rng;
use history::{Ask, KEYS, Key, Operation, Store, Told};

use crate::support::{Client, Server, Value};

const CLIENTS: u64 = 6;
const ROUNDS: usize = 5;
const OPERATIONS: usize = 300;

#[test]
fn two_lanes_are_linearizable() {
    ask_and_check("2");
}

#[test]
fn three_lanes_are_linearizable() {
    ask_and_check("3");
}

fn ask_and_check(lanes: &str) {
    let server = Server::start(&["--lanes", lanes]);
    for round in 0..ROUNDS {
        server.client().words("FLUSHALL");
        let history = collect(&server, round as u64);
        if let Err(why) = check(&history) {
            panic!("{lanes} lanes, round {round}: {why}");
        }
    }
}

/// What each client asked and was told.
fn collect(server: &Server, round: u64) -> Vec<Vec<Operation>> {
    let (start, barrier) = (Instant::now(), Barrier::new(usize::try_from(CLIENTS).expect("few clients")));
    let one = |number: u64| {
        let (mut rng, mut client) = (Rng::new(round * CLIENTS + number), server.client());
        barrier.wait();
        let now = || u64::try_from(start.elapsed().as_nanos()).expect("a short test");
        let mut done = Vec::new();
        for count in 0..OPERATIONS {
            // Every value is written once, so that a reader tells whose it is.
            let value = i64::try_from(count).expect("few") * 1_000_000 + i64::try_from(number).expect("few") * 100_000;
            let ask = draw(&mut rng, value);
            let begin = now();
            let told = call(&mut client, &ask);
            done.push(Operation { ask, told, start: begin, end: now() });
        }
        done
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..CLIENTS).map(|number| scope.spawn(move || one(number))).collect();
        threads.into_iter().map(|thread| thread.join().expect("a client that gets its answers")).collect()
    })
}

fn draw(rng: &mut Rng, value: i64) -> Ask {
    match rng.below(12) {
        0..3 => Ask::Get(key(rng)),
        3 | 4 => Ask::Set(key(rng), value),
        5 => Ask::Incr(key(rng)),
        6 => Ask::Del(keys(rng)),
        7 => Ask::MSet(keys(rng).into_iter().map(|key| (key, value)).collect()),
        8 | 9 => Ask::MGet(keys(rng)),
        _ => Ask::Exec((0..1 + rng.below(3)).map(|_| inner(rng, value)).collect()),
    }
}

fn inner(rng: &mut Rng, value: i64) -> Ask {
    match rng.below(4) {
        0 => Ask::Get(key(rng)),
        1 => Ask::Set(key(rng), value),
        2 => Ask::Incr(key(rng)),
        _ => Ask::MGet(keys(rng)),
    }
}

fn key(rng: &mut Rng) -> Key {
    usize::try_from(rng.below(KEYS.len() as u64)).expect("a key")
}

fn keys(rng: &mut Rng) -> Vec<Key> {
    let first = key(rng);
    let count = 2 + key(rng) / 2;
    (first..first + count).map(|key| key % KEYS.len()).collect()
}

fn call(client: &mut Client, ask: &Ask) -> Told {
    let Ask::Exec(asks) = ask else { return told(ask, &client.call(&ask.words())) };
    assert_eq!(client.words("MULTI"), Value::ok());
    for ask in asks {
        assert_eq!(client.call(&ask.words()), Value::Simple("QUEUED".into()));
    }
    let reply = client.words("EXEC");
    Told::Several(asks.iter().zip(reply.items()).map(|(ask, reply)| told(ask, reply)).collect())
}

fn told(ask: &Ask, reply: &Value) -> Told {
    match (ask, reply) {
        (Ask::Set(..) | Ask::MSet(_), reply) if *reply == Value::ok() => Told::Ok,
        (Ask::Incr(_) | Ask::Del(_), Value::Int(number)) => Told::Number(*number),
        (Ask::Get(_), reply) => Told::Value(value(reply)),
        (Ask::MGet(_), reply) => Told::Several(reply.items().iter().map(|item| Told::Value(value(item))).collect()),
        (ask, reply) => panic!("{ask:?} is answered by {reply:?}"),
    }
}

fn value(reply: &Value) -> Option<i64> {
    match reply {
        Value::Null => None,
        reply => Some(reply.text().parse().expect("only numbers are set")),
    }
}

#[test]
fn the_checker_accepts_what_overlaps_and_refuses_what_cannot_be() {
    let at = |start, end, ask, told| Operation { ask, told, start, end };
    let is = |number| Told::Value(Some(number));
    let accepted = |clients: &[Vec<Operation>]| check(clients).is_ok();
    let set = at(0, 10, Ask::Set(0, 1), Told::Ok);
    let none = Told::Value(None);
    assert!(accepted(&[vec![set.clone()], vec![at(5, 6, Ask::Get(0), none.clone()), at(7, 8, Ask::Get(0), is(1))]]));
    assert!(
        !accepted(&[vec![set.clone()], vec![at(5, 6, Ask::Get(0), is(1)), at(7, 8, Ask::Get(0), none.clone())]]),
        "back in time"
    );
    assert!(!accepted(&[vec![set], vec![at(11, 12, Ask::Get(0), none.clone())]]), "a stale read");
    let pair = at(0, 10, Ask::MSet(vec![(0, 1), (1, 1)]), Told::Ok);
    let half = at(5, 6, Ask::MGet(vec![0, 1]), Told::Several(vec![is(1), none.clone()]));
    assert!(!accepted(&[vec![pair.clone()], vec![half]]), "half a transaction");
    let apart = vec![at(1, 2, Ask::Get(0), is(1)), at(3, 4, Ask::Get(1), none)];
    assert!(!accepted(&[vec![pair], apart]), "half a transaction, read one by one");
    let twice = |start| at(start, start + 9, Ask::Incr(0), Told::Number(1));
    assert!(!accepted(&[vec![twice(0)], vec![twice(1)]]), "a lost update");
}

/// Histories of a lone store whose operations overlap by chance; then one answer in each is made another.
#[test]
fn the_checker_accepts_legal_histories_and_refuses_a_changed_answer() {
    for seed in 0..50 {
        let mut rng = Rng::new(seed);
        let (mut store, mut clients) = (Store::new(), vec![Vec::new(); 4]);
        for count in 0..200 {
            let ask = draw(&mut rng, count * 10);
            let told = ask.apply(&mut store);
            // Each takes effect at its own moment, somewhere within its time; a client's operations do not overlap.
            let moment = 100 * u64::try_from(count).expect("positive");
            let at = usize::try_from(rng.below(4)).expect("a client");
            let free: u64 = clients[at].last().map_or(0, |last: &Operation| last.end + 1);
            let start = free.max(moment.saturating_sub(rng.below(300))).min(moment);
            clients[at].push(Operation { ask, told, start, end: moment + rng.below(90) });
        }
        assert_eq!(check(&clients), Ok(()), "seed {seed}");
        let reads = clients.iter_mut().flatten().filter(|operation| matches!(operation.ask, Ask::Get(_)));
        let read = reads.last().expect("some read");
        read.told = Told::Value(Some(-1));
        assert!(check(&clients).is_err(), "seed {seed}: nobody wrote -1");
    }
}
