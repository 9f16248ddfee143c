//! Values made of several keys on several lanes, in steps: rows of this test alone, which unite hashes.
//!
//! ```text
//!  HUNIONSTORE d a b c    [a b c: clones] -> [d: a job makes it, states it, puts it in]
//!  HUNIONLEN a b c        [a b c: clones] -> [home: a job answers how many fields there are]
//! ```
//!
//! Held against a map, over one to four lanes; the effects of each lane are repeated by a lone shard.

use super::blocking::World;
use super::effects::{dump, effects_in, repeat};
use super::{Driver, request};
use corelane::base::time::{Millis, Now};
use corelane::command::places::Spec;
use corelane::command::sliced::Job;
use corelane::command::staged::{Flow, On, Source, Stage, gather};
use corelane::command::storing::{Made, Making, store};
use corelane::command::{Command, Ctx, Flags, Group, Keys, Log, Run};
use corelane::shard::Setup;
use corelane::store::entry::Kind;
use corelane::store::event::Event;
use corelane::store::keyspace::Graveyard;
use corelane::types::hash::{Hash, Limits, Until};
use corelane::types::trie::Stop;
use corelane::types::{Object, Progress};
use corelane::wire::fault::Fault;
use corelane::wire::reply::Reply;
use std::collections::VecDeque;

static ROWS: [Command; 2] = [
    Command {
        name: "hunionlen",
        syntax: "HUNIONLEN key [key ...]",
        arity: -2,
        keys: Keys::all(Keys::READ),
        flags: Flags::READONLY,
        complexity: "O(N)",
        group: Group::Hash,
        run: Run::Staged(&[
            Stage {
                on: On::Sources,
                run: |ctx, args, cargo, _| gather(ctx, cargo, args, 1..args.len(), &[Kind::Hash]),
            },
            Stage {
                on: On::Home,
                run: |_, _, cargo, _| Ok(Flow::Job(Box::new(Counting(Union::of(cargo.take_sources()))))),
            },
        ]),
        ..Command::ROW
    },
    Command {
        name: "hunionstore",
        syntax: "HUNIONSTORE destination key [key ...]",
        arity: -3,
        keys: Keys::one(Keys::OVERWRITE).and(&[Spec::from(2, Keys::READ)]),
        flags: Flags::WRITE.and(Flags::DENYOOM),
        complexity: "O(N)",
        group: Group::Hash,
        log: Log::Verbatim,
        run: Run::Staged(&[
            Stage {
                on: On::Sources,
                run: |ctx, args, cargo, _| gather(ctx, cargo, args, 2..args.len(), &[Kind::Hash]),
            },
            Stage {
                on: On::Key(1),
                run: |_, args, cargo, _| {
                    let union = Box::new(Union::of(cargo.take_sources()));
                    Ok(store(args.at(1), union, Event::HSET, cargo))
                },
            },
        ]),
        ..Command::ROW
    },
];

const FIELDS_PER_STEP: usize = 100;

#[derive(Debug)]
struct Union {
    left: VecDeque<Hash>,
    cursor: u64,
    done: Vec<Hash>,
    made: Hash,
}

impl Union {
    fn of(sources: Vec<Source>) -> Self {
        let hash = |source: Source| match source.object {
            Object::Hash(hash) => hash,
            other => panic!("{other:?} passed as a hash"),
        };
        Self { left: sources.into_iter().map(hash).collect(), cursor: 0, done: Vec::new(), made: Hash::default() }
    }
}

impl Making for Union {
    fn step(&mut self, ctx: &mut Ctx<'_>) -> Result<Progress, Fault> {
        let Some(hash) = self.left.front() else { return Ok(Progress::Done) };
        let hasher = ctx.store.hash_key;
        let made = &mut self.made;
        self.cursor = hash.scan(self.cursor, FIELDS_PER_STEP, Stop::AtLeaf, ctx.now, &hasher, |pair| {
            let (mut field, mut value) = (Vec::new(), Vec::new());
            pair.first.read_into(&mut field);
            pair.second.read_into(&mut value);
            made.set(&field, &value, Until::Forever, Limits::default(), &hasher, &mut Vec::new());
        });
        if self.cursor == 0 {
            self.done.extend(self.left.pop_front());
        }
        // Few sources of a step's size are made in one.
        if self.left.is_empty() || self.left.iter().chain([&*made]).map(Hash::len).sum::<usize>() < FIELDS_PER_STEP {
            return if self.left.is_empty() { Ok(Progress::Done) } else { self.step(ctx) };
        }
        Ok(Progress::More)
    }

    fn finish(self: Box<Self>, graves: &mut Graveyard) -> Option<Made> {
        let Self { done, made, .. } = *self;
        done.into_iter().for_each(|hash| graves.bury_object(Object::Hash(hash)));
        let len = made.len();
        (len > 0).then(|| Made { kind: Kind::Hash, object: Object::Hash(made), len })
    }

    fn abandon(self: Box<Self>, graves: &mut Graveyard) {
        let Self { left, done, made, .. } = *self;
        left.into_iter().chain(done).chain([made]).for_each(|hash| graves.bury_object(Object::Hash(hash)));
    }
}

#[derive(Debug)]
struct Counting(Union);

impl Job for Counting {
    fn step(&mut self, ctx: &mut Ctx<'_>, reply: &mut Reply<'_>) -> Result<Progress, Fault> {
        let progress = self.0.step(ctx)?;
        if progress == Progress::Done {
            reply.count(self.0.made.len());
        }
        Ok(progress)
    }

    fn abandon(self: Box<Self>, graves: &mut Graveyard) {
        Making::abandon(Box::new(self.0), graves);
    }
}

/// Lanes, and for each a lone shard that repeats its effects.
struct Lanes {
    world: World,
    replicas: Vec<Driver>,
}

impl Lanes {
    fn new(count: usize) -> Self {
        let lanes = u16::try_from(count).expect("few");
        let mut world = World::made(count, |lane| Setup { rows: &ROWS, ..Setup::plain(lane, lanes) });
        world.lanes.iter_mut().for_each(|lane| lane.shard.effects().recording = true);
        let replicas = (0..count)
            .map(|_| {
                let mut replica = Driver::made(Setup { rows: &ROWS, ..Setup::plain(0, 1) });
                replica.now = Now { unix_us: 1, mono_ns: 1 };
                replica
            })
            .collect();
        Self { world, replicas }
    }

    fn compare(&mut self) {
        self.world.rest();
        let (now, never) = (self.world.now.millis(), Millis(0));
        for (lane, replica) in self.world.lanes.iter_mut().zip(&mut self.replicas) {
            assert!(lane.shard.is_quiet(), "nothing is held when all is over");
            effects_in(&lane.shard.effects().take()).iter().for_each(|effect| repeat(replica, effect));
            assert_eq!(dump(lane.shard.store(), now), dump(replica.shard.store(), never));
        }
    }
}

/// Keys of the three thirds of the slots, and so on: of different lanes wherever there are several.
const KEYS: [&str; 4] = ["foo", "hello", "a", "b"];

fn fill(lanes: &mut Lanes, key: &str, fields: std::ops::Range<usize>) {
    let conn = lanes.world.connect(0);
    for some in fields.collect::<Vec<_>>().chunks(100) {
        let mut words = vec!["HSET".to_owned(), key.to_owned()];
        words.extend(some.iter().flat_map(|i| [format!("field:{i}"), "v".to_owned()]));
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        lanes.world.call(0, conn, &words);
    }
}

#[test]
fn a_value_made_of_others_is_of_one_moment_wherever_they_are() {
    for count in 1..=4 {
        for destination in KEYS {
            let mut lanes = Lanes::new(count);
            let sources: Vec<&str> = KEYS.into_iter().filter(|key| *key != destination).collect();
            for (i, key) in sources.iter().enumerate() {
                fill(&mut lanes, key, i * 1000..i * 1000 + 2000);
            }
            fill(&mut lanes, destination, 90_000..90_010);
            let world = &mut lanes.world;
            let (asks, writes, reads) = (world.connect(0), world.connect(count - 1), world.connect(0));
            let words = [&["HUNIONSTORE", destination], &sources[..]].concat();
            world.turn(0, 0, Some((asks, request(&words))));
            (0..4).for_each(|_| (0..count).for_each(|at| world.turn(at, usize::MAX, None)));
            assert_eq!(world.reply(0, asks), None, "it takes its time");
            // Its sources are free while it runs, what it makes is not.
            world.turn(count - 1, 0, Some((writes, request(&["HSET", sources[0], "late", "1"]))));
            world.turn(0, 0, Some((reads, request(&["HLEN", destination]))));
            (0..4).for_each(|_| (0..count).for_each(|at| world.turn(at, usize::MAX, None)));
            assert_eq!(world.reply(count - 1, writes).as_deref(), Some(":1\r\n"));
            assert_eq!((world.reply(0, asks), world.reply(0, reads)), (None, None));
            world.rest();
            world.rest();
            assert_eq!(world.reply(0, asks).as_deref(), Some(":4000\r\n"));
            assert_eq!(world.reply(0, reads).as_deref(), Some(":4000\r\n"));
            lanes.compare();
        }
    }
}

#[test]
fn small_ones_faults_transactions_and_clients_that_leave() {
    for count in 1..=4 {
        let mut lanes = Lanes::new(count);
        let conn = lanes.world.connect(0);
        let call = |lanes: &mut Lanes, line: &str| {
            let words: Vec<&str> = line.split(' ').collect();
            lanes.world.call(0, conn, &words)
        };
        for (line, reply) in [
            ("HSET a f 1 g 2", ":2\r\n"),
            ("HSET foo g 3 h 4", ":2\r\n"),
            ("HUNIONLEN a foo hello", ":3\r\n"),
            ("HUNIONSTORE hello a foo b", ":3\r\n"),
            ("HGET hello g", "$1\r\n3\r\n"),
            ("HUNIONSTORE a a hello", ":3\r\n"),
            ("HGET a h", "$1\r\n4\r\n"),
            ("MULTI", "+OK\r\n"),
            ("HUNIONSTORE b a foo", "+QUEUED\r\n"),
            ("HLEN b", "+QUEUED\r\n"),
            ("HUNIONLEN b foo", "+QUEUED\r\n"),
            ("EXEC", "*3\r\n:3\r\n:3\r\n:3\r\n"),
            ("SET foo text", "+OK\r\n"),
            ("HUNIONLEN a foo", "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n"),
            ("HUNIONSTORE b a foo", "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n"),
            ("HLEN b", ":3\r\n"),
            ("HUNIONSTORE foo a", ":3\r\n"),
            ("HUNIONSTORE b none nothing", ":0\r\n"),
            ("EXISTS b", ":0\r\n"),
        ] {
            assert_eq!(call(&mut lanes, line), reply, "{count} lanes: {line}");
        }
        lanes.compare();
        fill(&mut lanes, "hello", 0..1000);
        let leaves = lanes.world.connect(0);
        lanes.world.turn(0, 0, Some((leaves, request(&["HUNIONSTORE", "b", "hello", "a"]))));
        lanes.world.lanes[0].shard.closed(leaves);
        lanes.world.rest();
        let conn = lanes.world.connect(0);
        assert_eq!(lanes.world.call(0, conn, &["HLEN", "b"]), ":1003\r\n", "what was begun is done");
        lanes.compare();
    }
}
