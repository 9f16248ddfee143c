//! Requests that wait for one key and bring what they find to another, over one to four lanes: a row of this test alone, which moves texts.
//!
//! ```text
//!  adders   APPEND s ;n, each n once       movers   BMOVE s t timeout: what s holds goes to the end of t       takers   BGETDEL t timeout
//!  lookers  MULTI GET s GET t EXEC, MSET: hold both meanwhile
//!  in the end: each n was taken once or is somewhere, in the order of its adder; nobody waits for what is there
//! ```

use std::collections::BTreeMap;

use super::blocking::World;
use super::request;
use corelane::base::rng::Rng;
use corelane::command::blocking::{Blocking, Serve, seconds};
use corelane::command::places::Spec;
use corelane::command::staged::{Flow, On, Stage};
use corelane::command::{Command, Flags, Group, Keys, Log, Run};
use corelane::shard::{ConnId, Setup};
use corelane::store::entry::Kind;
use corelane::store::event::Event;
use corelane::store::keyspace::Deadline;
use corelane::store::text::Text;
use corelane::wire::fault::Fault;

static ROWS: [Command; 1] = [Command {
    name: "bmove",
    syntax: "BMOVE source destination timeout",
    arity: 4,
    keys: Keys::one(Keys::TAKE).and(&[Spec::word(2, Keys::INSERT_MODIFY)]),
    flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::BLOCKING),
    group: Group::String,
    log: Log::Effect,
    run: Run::Blocking(&Blocking {
        awaits: Kind::String,
        serve: Serve::Moving(&[
            Stage {
                on: On::Key(2),
                run: |ctx, args, cargo, _| {
                    let to = ctx.key(args.at(2));
                    cargo.wrong_kind = ctx.old_string(to).is_err();
                    Ok(Flow::On)
                },
            },
            Stage {
                on: On::Key(1),
                run: |ctx, args, cargo, _| {
                    let from = ctx.key(args.at(1));
                    let Some(text) = ctx.old_string(from)? else { return Ok(Flow::Nothing) };
                    if cargo.wrong_kind {
                        return Err(Fault::WrongType);
                    }
                    cargo.text = Some(flat(text));
                    ctx.remove(from);
                    ctx.store.effects.state(ctx.db, &[b"DEL", from.bytes]);
                    Ok(Flow::On)
                },
            },
            Stage {
                on: On::Key(2),
                run: |ctx, args, cargo, reply| {
                    let (to, moved) = (ctx.key(args.at(2)), cargo.text.take().unwrap_or_default());
                    let mut whole = ctx.old_string(to)?.map(flat).unwrap_or_default();
                    whole.extend_from_slice(&moved);
                    ctx.store_string(to, &whole, Deadline::Keep, Event::APPEND);
                    ctx.store.effects.state(ctx.db, &[b"SET", to.bytes, &whole]);
                    reply.bulk(&moved);
                    Ok(Flow::Done)
                },
            },
        ]),
        patience: |args, now| seconds(args.at(3), now),
        give_up: |reply| reply.null(),
    }),
    ..Command::ROW
}];

fn flat(text: Text<'_>) -> Vec<u8> {
    text.read(0..text.len())
}

fn world(count: usize) -> World {
    let lanes = u16::try_from(count).expect("few");
    World::made(count, |lane| Setup { rows: &ROWS, ..Setup::plain(lane, lanes) })
}

/// Of different lanes wherever there are several, in both orders.
const KEYS: [&str; 4] = ["foo", "hello", "a", "b"];

#[test]
fn what_comes_goes_on_to_the_other_key_and_to_whoever_waits_there() {
    for count in 1..=4 {
        for (from, to) in [("foo", "hello"), ("hello", "foo"), ("a", "b"), ("foo", "foo")] {
            let mut world = world(count);
            let conn = world.connect(0);
            let (first, second, taker) = (world.connect(count - 1), world.connect(0), world.connect(count / 2));
            world.call(0, conn, &["HSET", "hash", "f", "v"]);
            assert_eq!(
                world.call(0, conn, &["BMOVE", from, to, "x"]),
                "-ERR timeout is not a float or out of range\r\n"
            );
            assert_eq!(world.call(0, conn, &["BMOVE", from, to, "0.001"][..3]).get(..1), Some("-"));
            // There is something at once.
            world.call(0, conn, &["SET", from, "now"]);
            assert_eq!(world.call(0, conn, &["BMOVE", from, to, "0"]), "$3\r\nnow\r\n");
            assert_eq!(world.call(0, conn, &["GETDEL", to]), "$3\r\nnow\r\n");
            // Nothing is moved to where it does not fit, and not taken either.
            world.call(0, conn, &["SET", from, "stays"]);
            let wrong = "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n";
            assert_eq!(world.call(0, conn, &["BMOVE", from, "hash", "0"]), wrong);
            assert_eq!(world.call(0, conn, &["BMOVE", "hash", to, "0"]), wrong);
            assert_eq!(world.call(0, conn, &["GETDEL", from]), "$5\r\nstays\r\n");
            // Inside EXEC nobody waits.
            for (line, reply) in [
                (&["MULTI"][..], "+OK\r\n"),
                (&["BMOVE", from, to, "0"], "+QUEUED\r\n"),
                (&["SET", from, "x"], "+QUEUED\r\n"),
                (&["BMOVE", from, to, "0"], "+QUEUED\r\n"),
                (&["BMOVE", from, to, "no"], "+QUEUED\r\n"),
                (&["GETDEL", to], "+QUEUED\r\n"),
                (
                    &["EXEC"],
                    "*5\r\n$-1\r\n+OK\r\n$1\r\nx\r\n-ERR timeout is not a float or out of range\r\n$1\r\nx\r\n",
                ),
            ] {
                assert_eq!(world.call(0, conn, line), reply, "{count} lanes, {from} to {to}: {line:?}");
            }
            if from == to {
                continue;
            }
            // Who waits gets it, in the order of arrival, and what it moves serves others.
            world.turn(count / 2, 0, Some((taker, request(&["BGETDEL", to, "0"]))));
            world.rest();
            world.turn(count - 1, 0, Some((first, request(&["BMOVE", from, to, "0"]))));
            world.rest();
            world.turn(0, 0, Some((second, request(&["BMOVE", from, "hash", "0"]))));
            world.rest();
            assert_eq!(world.call(0, conn, &["SET", from, "one"]), "+OK\r\n");
            world.rest();
            assert_eq!(world.reply(count - 1, first).as_deref(), Some("$3\r\none\r\n"), "{count}: {from} to {to}");
            let taken = format!("*2\r\n${}\r\n{to}\r\n$3\r\none\r\n", to.len());
            assert_eq!(world.reply(count / 2, taker), Some(taken));
            assert_eq!(world.reply(0, second), None);
            assert_eq!(world.call(0, conn, &["SET", from, "two"]), "+OK\r\n");
            assert_eq!(world.reply(0, second).as_deref(), Some(wrong));
            assert_eq!(world.call(0, conn, &["GET", from]), "$3\r\ntwo\r\n", "what does not fit stays");
            assert!(world.lanes.iter().all(|lane| lane.shard.is_quiet()));
        }
    }
}

/// What is under way of one client.
struct Asks {
    lane: usize,
    conn: ConnId,
    kind: Role,
    busy: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Adds(usize),
    Moves,
    Takes,
    Looks,
}

/// Everything said at random: each number ends somewhere, once, and behind those that its adder added before.
#[test]
fn nothing_is_lost_doubled_or_left_behind_by_those_who_move() {
    for seed in 0..400 {
        let mut rng = Rng::new(seed);
        let count = 1 + usize::try_from(rng.below(4)).expect("small");
        let mut world = world(count);
        let mut draw = |below: usize| usize::try_from(rng.below(below as u64)).expect("small");
        let kinds = [Role::Adds(0), Role::Adds(1), Role::Moves, Role::Moves, Role::Moves, Role::Takes, Role::Looks];
        let mut all: Vec<Asks> = kinds
            .into_iter()
            .map(|kind| {
                let lane = draw(count);
                Asks { lane, conn: world.connect(lane), kind, busy: false }
            })
            .collect();
        let (mut added, mut taken) = (0, Vec::<String>::new());
        // Sources are the first two keys, the others are destinations: what is moved cannot come round.
        for _ in 0..300 {
            let at = draw(all.len());
            let Asks { lane, conn, kind, busy } = all[at];
            if !busy {
                let timeout = ["0", "0.003", "0.02"][draw(3)];
                let words: Vec<String> = match kind {
                    Role::Adds(key) => {
                        added += 1;
                        vec!["APPEND".into(), KEYS[key].into(), format!(";{added}")]
                    }
                    Role::Moves => {
                        vec!["BMOVE".into(), KEYS[draw(2)].into(), KEYS[2 + draw(2)].into(), timeout.into()]
                    }
                    Role::Takes => vec!["BGETDEL".into(), KEYS[2 + draw(2)].into(), timeout.into()],
                    Role::Looks => vec!["MGET".into(), KEYS[draw(2)].into(), KEYS[2 + draw(2)].into()],
                };
                let mut bytes = request(&words);
                if kind == Role::Looks && draw(2) == 0 {
                    // Holds a source and a destination, exclusively, for more than a hop.
                    let (from, to) = (KEYS[draw(2)], KEYS[2 + draw(2)]);
                    bytes = [
                        request(&["MULTI"]),
                        request(&["APPEND", to, ""]),
                        request(&["STRLEN", from]),
                        request(&["APPEND", from, ""]),
                        request(&["EXEC"]),
                    ]
                    .concat();
                }
                world.turn(lane, draw(3), Some((conn, bytes)));
                all[at].busy = true;
            }
            let lane = draw(count);
            world.turn(lane, draw(4), None);
            if draw(10) == 0 {
                world.pass(draw(5) as u64);
            }
            collect(&mut world, &mut all, &mut taken);
        }
        world.rest();
        world.pass(50);
        world.rest();
        collect(&mut world, &mut all, &mut taken);
        // Who waits for ever is let go with its connection; nobody may wait for what is there.
        let mut texts: BTreeMap<&str, String> = BTreeMap::new();
        let conn = world.connect(0);
        for key in KEYS {
            texts.insert(key, world.call(0, conn, &["GET", key]));
        }
        let waits = |kind| all.iter().any(|asks| asks.busy && asks.kind == kind);
        let is_empty = |key: &str| !texts[key].contains(';');
        assert!(
            !waits(Role::Moves) || KEYS[..2].iter().any(|key| is_empty(key)),
            "seed {seed}: waits for what is there"
        );
        for asks in &all {
            assert!(!asks.busy || matches!(asks.kind, Role::Moves | Role::Takes), "seed {seed}: an answer is owed");
            world.lanes[asks.lane].shard.closed(asks.conn);
        }
        world.rest();
        for lane in &world.lanes {
            assert!(lane.shard.is_quiet() && !lane.shard.awaits_answers(), "seed {seed}");
        }
        let there = texts.values().flat_map(|text| numbers(text));
        let mut found: Vec<u64> = taken.iter().flat_map(|text| numbers(text)).chain(there).collect();
        found.sort_unstable();
        assert_eq!(found, (1..=added).collect::<Vec<_>>(), "seed {seed}");
    }
}

/// Replies that have come: who is no longer busy, and what was taken out for good.
fn collect(world: &mut World, all: &mut [Asks], taken: &mut Vec<String>) {
    for asks in all.iter_mut().filter(|asks| asks.busy) {
        let Some(reply) = world.reply(asks.lane, asks.conn) else { continue };
        assert!(!reply.contains("-ERR") && !reply.contains("-WRONG"), "{reply}");
        // A transaction's replies may come apart.
        let is_whole = asks.kind != Role::Looks || !reply.starts_with('+') || reply.contains('*');
        asks.busy = !is_whole;
        if asks.kind == Role::Takes && !reply.starts_with("*-1") {
            taken.push(reply);
        }
    }
}

fn numbers(text: &str) -> Vec<u64> {
    let body = text.split("\r\n").filter(|line| line.starts_with(';'));
    body.flat_map(|line| line.split(';').skip(1)).map(|number| number.parse().expect("a number")).collect()
}
