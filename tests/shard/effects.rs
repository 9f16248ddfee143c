//! Effects and events, over the whole command table: the conversations of the compat cases and random ones, request by request.
//!
//! ```text
//!  request --> shard, recording and listening --> dump before and after: what differs must have happened, to that very key
//!                   |                                                    what is no write must differ in nothing
//!                effects --> an empty shard whose clock stands still --> the same keyspace in the end
//! ```

use super::blocking::World;
use super::{Driver, request};
use crate::compat::FAMILIES;
use crate::compat::script::{Step, parse};
use corelane::base::time::{Millis, Now};
use corelane::command::{Command, Table};
use corelane::persist::record::{self, Record, Records};
use corelane::shard::ConnId;
use corelane::store::entry::{EntryRef, Kind, ValueRef};
use corelane::store::journal::Happened;
use corelane::store::{Key, Store};
use corelane::types::Object;
use corelane::types::dict::Cursor;
use corelane::types::ranked::Way;
use corelane::types::set::TextRoom;
use corelane::wire::request::Args;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// A database and a key.
pub(super) type Place = (u8, Vec<u8>);
/// Type, contents and deadline.
pub(super) type Held = (Kind, Vec<Vec<u8>>, Option<Millis>);
pub(super) type Dump = BTreeMap<Place, Held>;

/// All that a client could see.
pub(super) fn dump(store: &Store, now: Millis) -> Dump {
    let mut all = Dump::new();
    for db in (0..store.databases()).map(|db| u8::try_from(db).expect("few databases")) {
        let mut cursor = Cursor::START;
        loop {
            cursor = store.db(db).scan(cursor, 100, now, |entry| {
                all.insert((db, entry.key().to_vec()), (entry.kind(), contents(entry, now), entry.expiry()));
            });
            if cursor == Cursor::START {
                break;
            }
        }
    }
    all
}

fn contents(entry: EntryRef<'_>, now: Millis) -> Vec<Vec<u8>> {
    match entry.value() {
        ValueRef::Str(text) => vec![text.to_vec()],
        ValueRef::Object(Object::Rope(rope)) => {
            let mut text = Vec::new();
            rope.read_into(0..rope.len(), &mut text);
            vec![text]
        }
        ValueRef::Object(Object::Hash(hash)) => {
            let mut fields = BTreeMap::new();
            hash.for_each(|pair| {
                let (mut field, mut value) = (Vec::new(), Vec::new());
                pair.first.read_into(&mut field);
                pair.second.read_into(&mut value);
                if !pair.is_due(now) {
                    let deadline = pair.deadline.map(|at| at.0.to_string().into_bytes());
                    fields.insert(field, (value, deadline.unwrap_or_default()));
                }
            });
            fields.into_iter().flat_map(|(field, (value, deadline))| [field, value, deadline]).collect()
        }
        ValueRef::Object(Object::Set(set)) => {
            let mut members = BTreeSet::new();
            set.for_each(|member| assert!(members.insert(TextRoom::default().text(member).to_vec()), "each once"));
            members.into_iter().collect()
        }
        ValueRef::Object(Object::List(list)) => {
            let mut all = Vec::new();
            list.visit(0..list.len(), |element| {
                let mut text = Vec::new();
                element.read_into(&mut text);
                all.push(text);
            });
            all
        }
        ValueRef::Object(Object::Zset(zset)) => {
            let mut all = Vec::new();
            zset.range(0..zset.len(), Way::Up, |member, score| {
                let mut text = Vec::new();
                member.read_into(&mut text);
                all.extend([text, score.value().to_string().into_bytes()]);
            });
            all
        }
    }
}

/// An effect: its database and its words.
pub(super) type Effect = (u8, Vec<Vec<u8>>);

/// The effects in records that were written one after the other.
pub(super) fn effects_in(records: &Records) -> Vec<Effect> {
    let (records, mut found, mut spans) = (records.to_vec(), Vec::new(), Vec::new());
    let mut rest = &records[..];
    while let Some(head) = rest.first_chunk() {
        let (record, next) =
            rest.split_at(record::HEAD_BYTES + usize::try_from(record::body_len(*head)).expect("it is in memory"));
        let Ok(Record::Effects(effects)) = record::parse(record) else { panic!("effects of one lane") };
        let each = |db, args: Args<'_>| found.push((db, args.iter().map(<[u8]>::to_vec).collect()));
        effects.each(&mut spans, each).expect("what was put is found");
        rest = next;
    }
    found
}

/// What one request did.
struct Done {
    row: Option<&'static Command>,
    effects: usize,
    /// Whether anything that changes a key happened.
    changed: bool,
    /// It has no reply yet.
    waits: bool,
}

/// A shard that is watched, and one that repeats what it did.
struct Pair {
    driver: Driver,
    replica: Driver,
    table: Table,
    conns: BTreeMap<String, ConnId>,
}

/// An empty shard whose clock stands still.
pub(super) fn replica() -> Driver {
    let mut replica = Driver::new();
    replica.now = Now { unix_us: 1, mono_ns: 1 };
    replica.shard.begin_turn(replica.now);
    replica
}

impl Pair {
    fn new() -> Self {
        let (mut driver, replica) = (Driver::new(), replica());
        driver.shard.effects().recording = true;
        driver.shard.effects().witness();
        let mut pair = Self { driver, replica, table: Table::new(), conns: BTreeMap::new() };
        pair.run("", &[b"CONFIG".to_vec(), b"SET".to_vec(), b"maxmemory".to_vec(), b"0".to_vec()]);
        pair
    }

    fn now(&self) -> Millis {
        self.driver.now.millis()
    }

    fn wait(&mut self, millis: u64) {
        self.driver.now.unix_us += millis * 1000;
        self.driver.now.mono_ns += millis * 1_000_000;
        // What expires between two commands is found by the first that comes upon it, or by the tick.
        self.driver.shard.begin_turn(self.driver.now);
    }

    fn run(&mut self, conn: &str, words: &[Vec<u8>]) -> Done {
        let id = match self.conns.get(conn) {
            Some(id) => *id,
            None => {
                let id = self.driver.connect();
                self.conns.insert(conn.to_owned(), id);
                id
            }
        };
        let before = dump(self.driver.shard.store(), self.now());
        self.driver.shard.feed(id, &request(words));
        // Time stands still until a long command is done, so that only the command changes anything.
        while self.driver.shard.has_backlog() {
            self.driver.shard.begin_turn(self.driver.now);
            self.driver.shard.run_backlog();
        }
        let reply = self.driver.replies(id);
        self.judge(words, &before, &reply)
    }

    /// The connection ends; its name stands for another from now on.
    fn leave(&mut self, conn: &str) {
        if let Some(id) = self.conns.remove(conn) {
            self.driver.shard.closed(id);
        }
    }

    /// Time passes and what is due is collected.
    fn tick(&mut self) {
        let before = dump(self.driver.shard.store(), self.now());
        self.driver.shard.tick();
        self.judge(&[], &before, b"");
    }

    fn judge(&mut self, words: &[Vec<u8>], before: &Dump, reply: &[u8]) -> Done {
        let (now, hash_key) = (self.now(), self.driver.shard.store().hash_key);
        let after = dump(self.driver.shard.store(), now);
        let happened = self.driver.shard.effects().witness();
        let (mut keys, mut databases, mut changed) = (BTreeSet::<Place>::new(), BTreeSet::new(), false);
        for event in happened.iter() {
            match event {
                Happened::Key { db, key: Key { bytes, hash }, event } => {
                    assert_eq!(hash, hash_key.key(bytes));
                    changed |= event.is_change() && !event.is_by_itself();
                    if event.is_change() {
                        keys.insert((db, bytes.to_vec()));
                    }
                }
                Happened::Database { db } => {
                    changed = true;
                    databases.insert(db);
                }
            }
        }
        let shown = || shown(words);
        let differing = before.iter().filter(|(place, held)| after.get(place) != Some(held)).map(|(place, _)| place);
        for place in differing.chain(after.keys().filter(|place| !before.contains_key(place))) {
            let told = keys.contains(place) || databases.contains(&place.0);
            assert!(told, "{}: changed {place:?} and did not say so", shown());
        }
        let row = words.first().and_then(|name| self.table.find(name)).map(|found| found.row);
        if changed && !words.is_empty() {
            assert!(
                row.is_some_and(|row| row.is_write() || row.name == "exec"),
                "{}: no write, but {:?}",
                shown(),
                happened.iter().collect::<Vec<_>>()
            );
            assert!(!reply.starts_with(b"-"), "{}: refused, yet something happened", shown());
        }
        let effects = effects_in(&self.driver.shard.effects().take());
        effects.iter().for_each(|effect| repeat(&mut self.replica, effect));
        if before != &after {
            assert!(!effects.is_empty(), "{}: changed the keyspace and left no effect", shown());
        }
        Done { row, effects: effects.len(), changed, waits: reply.is_empty() }
    }

    /// Collects what is due, then compares.
    fn compare(&mut self) {
        self.tick();
        let (now, never) = (self.now(), Millis(0));
        assert_eq!(dump(self.driver.shard.store(), now), dump(self.replica.shard.store(), never));
        for db in 0..3 {
            let (mine, theirs) = (self.driver.shard.store().db(db), self.replica.shard.store().db(db));
            assert_eq!(mine.recount(), Kind::ALL.map(|kind| mine.usage(kind)));
            assert_eq!((mine.len(), mine.expiring()), (theirs.len(), theirs.expiring()));
            assert_eq!(mine.expiring_inside(), theirs.expiring_inside());
        }
    }
}

/// Does what an effect says.
pub(super) fn repeat(replica: &mut Driver, (db, words): &Effect) {
    let conn = replica.connect();
    let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
    for words in [&[b"SELECT", db.to_string().as_bytes()][..], &words] {
        let reply = replica.call(conn, words);
        assert!(!reply.starts_with(b"-"), "effect {}: {}", shown(words), reply.escape_ascii());
    }
    replica.shard.closed(conn);
}

fn shown<W: AsRef<[u8]>>(words: &[W]) -> String {
    let cut = |word: &W| word.as_ref().escape_ascii().take(60).map(char::from).collect::<String>();
    words.iter().map(cut).collect::<Vec<_>>().join(" ")
}

/// Not run here: they end the server or hold it.
const LEFT_OUT: &[&str] = &["shutdown", "debug"];

#[test]
fn every_write_row_leaves_an_effect_and_an_event_and_no_other_row_does() {
    let mut silent: BTreeSet<&str> =
        Table::new().all().filter(|found| found.row.is_write()).map(|found| found.row.name).collect();
    assert!(silent.contains("set") && silent.contains("hdel"));
    for (family, text) in FAMILIES {
        for case in parse(text).unwrap_or_else(|why| panic!("cases/{family}.case: {why}")) {
            let mut pair = Pair::new();
            for step in case.steps {
                match step {
                    Step::Wait { millis } => {
                        pair.wait(millis);
                        pair.tick();
                    }
                    Step::Hear { .. } => {}
                    Step::Call { args, .. } if is_left_out(&args) => {}
                    Step::Call { conn, args, .. } => {
                        let done = pair.run(&conn, &args);
                        if let Some(row) = done.row.filter(|row| done.changed && done.effects > 0 && row.is_write()) {
                            silent.remove(row.name);
                        }
                    }
                }
            }
            pair.compare();
        }
    }
    assert_eq!(silent, BTreeSet::new(), "write rows without a case in which they leave effect and event");
}

fn is_left_out(args: &[Vec<u8>]) -> bool {
    let name = args.first().map(|name| name.to_ascii_lowercase()).unwrap_or_default();
    LEFT_OUT.iter().any(|left_out| left_out.as_bytes() == name)
}

/// Requests of every write row: `k` is a key that mostly holds a string, `h` one that mostly holds a hash, `n` a number, `v` a value,
/// `s` a key that mostly holds a set, `z` a sorted set, `m` a member, `f` a field, `d` a database, `t` a time.
const TEMPLATES: &[&str] = &[
    "APPEND k v",
    "BGETDEL k k 0",
    "BLMOVE l l LEFT RIGHT 0.01",
    "BLMPOP 0.01 2 l l LEFT COUNT 2",
    "BLPOP l l 0.01",
    "BRPOP l k 0.01",
    "BRPOPLPUSH l l 0.01",
    "BZMPOP 0.01 2 z z MAX COUNT 2",
    "BZPOPMAX z z 0.01",
    "BZPOPMIN z z 0.01",
    "COPY k k",
    "COPY h h DB d REPLACE",
    "COPY k k DB d",
    "COPY s s REPLACE",
    "COPY z z REPLACE",
    "COPY l l REPLACE",
    "DECR k",
    "DECRBY k n",
    "DEL k h",
    "DELIFEQ k v",
    "EXPIRE k t",
    "EXPIRE h t GT",
    "EXPIREAT h t",
    "FLUSHALL",
    "FLUSHDB ASYNC",
    "GETDEL k",
    "GETEX k EX t",
    "GETEX k PERSIST",
    "GETSET k v",
    "HDEL h f f",
    "HEXPIRE h 1 FIELDS 1 f",
    "HEXPIRE h 0 FIELDS 2 f f",
    "HEXPIREAT h t LT FIELDS 1 f",
    "HGETDEL h FIELDS 2 f f",
    "HGETEX h PX n FIELDS 2 f f",
    "HGETEX h PERSIST FIELDS 1 f",
    "HINCRBY h f n",
    "HINCRBYFLOAT h f 0.5",
    "HMSET h f v f v",
    "HPERSIST h FIELDS 2 f f",
    "HPEXPIRE h n FIELDS 2 f f",
    "HPEXPIRE h n NX FIELDS 3 f f f",
    "HPEXPIRE h n GT FIELDS 1 f",
    "HPEXPIREAT h t FIELDS 1 f",
    "HSET h f v",
    "HSET k f v",
    "HSETEX h PX n FIELDS 2 f v f v",
    "HSETEX h FNX PX n FIELDS 1 f v",
    "HSETEX h FXX KEEPTTL FIELDS 1 f v",
    "HSETEX h EXAT 0 FIELDS 1 f v",
    "HSETNX h f v",
    "INCR k",
    "INCRBY k n",
    "INCRBYFLOAT k 0.5",
    "LINSERT l BEFORE n v",
    "LINSERT l AFTER n n",
    "LMOVE l l LEFT LEFT",
    "LMOVE l l RIGHT LEFT",
    "LMOVE l k RIGHT LEFT",
    "LMPOP 2 l l RIGHT COUNT 3",
    "LPOP l",
    "LPOP l n",
    "LPUSH l n n n n",
    "LPUSH k n",
    "LPUSHX l v v",
    "LREM l 0 n",
    "LREM l -1 n",
    "LREM l 2 n",
    "LSET l n v",
    "LSET l -1 n",
    "LTRIM l 1 -2",
    "LTRIM l n 20",
    "MOVE k d",
    "MOVE h d",
    "MSET k v k n",
    "MSETNX k v h v",
    "PERSIST k",
    "PERSIST h",
    "PEXPIRE k n",
    "PEXPIRE s n",
    "PEXPIRE h n LT",
    "PEXPIREAT k t",
    "PSETEX k n v",
    "RENAME k k",
    "RENAME h h",
    "RENAME h k",
    "RENAME s s",
    "RENAMENX k h",
    "RPOP l",
    "RPOP l 2",
    "RPOPLPUSH l l",
    "RPUSH l n v n v n",
    "RPUSH l n",
    "RPUSHX l n",
    "RENAME l l",
    "SADD s m m m",
    "SADD s m m",
    "SADD s v",
    "SADD k m",
    "RENAME z z",
    "SET k v",
    "SET k n",
    "SET k n",
    "SET k v EX t GET",
    "SET k v PXAT t",
    "SET k v KEEPTTL",
    "SET k v NX PX n",
    "SET k v XX",
    "SET k v IFEQ v",
    "SDIFFSTORE s s s",
    "SETEX k 1 v",
    "SINTERSTORE s s s",
    "SINTERSTORE k s s s",
    "SMOVE s s m",
    "SMOVE s k m",
    "SORT l ALPHA STORE k",
    "SORT s BY nosort GET # GET k* STORE l",
    "SORT z BY nosort DESC LIMIT 0 2 GET h*->f STORE s",
    "SORT l BY k* ALPHA STORE l",
    "SPOP s",
    "SPOP s 2",
    "SPOP s n",
    "SREM s m m",
    "SETNX k v",
    "SETRANGE k n v",
    "SUNIONSTORE s s s",
    "SUNIONSTORE s s k",
    "SWAPDB d d",
    "UNLINK h",
    "ZADD k n f",
    "ZADD z n f n f n f",
    "ZADD z n v",
    "ZADD z NX CH n f n f",
    "ZADD z XX GT n f n f",
    "ZADD z LT n f",
    "ZADD z INCR 0.1 f",
    "ZADD z GT INCR n f",
    "ZINCRBY z 0.3 f",
    "ZINCRBY z inf f",
    "ZINCRBY z -inf f",
    "ZDIFFSTORE z 2 z s",
    "ZINTERSTORE z 2 z z WEIGHTS 1 2 AGGREGATE MAX",
    "ZINTERSTORE z 2 z s",
    "ZMPOP 2 z z MIN COUNT 2",
    "ZPOPMAX z 2",
    "ZPOPMIN z",
    "ZPOPMIN z n",
    "ZRANGESTORE z z 0 3",
    "ZRANGESTORE k z -inf n BYSCORE LIMIT 0 3",
    "ZREM z f f",
    "ZUNIONSTORE z 2 z z AGGREGATE SUM",
    "ZUNIONSTORE z 3 z s z WEIGHTS 1 0.3 -1",
    "ZREMRANGEBYLEX z [f2 +",
    "ZREMRANGEBYRANK z n -1",
    "ZREMRANGEBYSCORE z n 10",
];

#[derive(Clone)]
enum Act {
    Run(Vec<Vec<u8>>),
    Select(u8),
    Pass(u64),
    Tick,
}

impl std::fmt::Debug for Act {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Run(words) => write!(f, "{}", shown(words)),
            Self::Select(db) => write!(f, "SELECT {db}"),
            Self::Pass(millis) => write!(f, "wait {millis}"),
            Self::Tick => write!(f, "tick"),
        }
    }
}

fn any_act() -> impl Strategy<Value = Act> {
    let run =
        (prop::sample::select(TEMPLATES), any::<[u8; 8]>()).prop_map(|(template, dice)| Act::Run(fill(template, dice)));
    prop_oneof![
        40 => run,
        3 => (0..3_u8).prop_map(Act::Select),
        4 => (1..30_u64).prop_map(Act::Pass),
        1 => (300..3000_u64).prop_map(Act::Pass),
        4 => Just(Act::Tick),
    ]
}

fn fill(template: &str, dice: [u8; 8]) -> Vec<Vec<u8>> {
    let mut dice = dice.into_iter();
    let word = |word: &str| {
        let die = if word.len() == 1 && word.as_bytes()[0].is_ascii_lowercase() { dice.next().unwrap_or(0) } else { 0 };
        match word {
            "k" => format!("k{}", die % 4).into_bytes(),
            "h" => format!("h{}", die % 3).into_bytes(),
            "l" => format!("l{}", die % 2).into_bytes(),
            "s" => format!("s{}", die % 3).into_bytes(),
            "m" if die % 2 == 0 => (die % 10).to_string().into_bytes(),
            "m" => format!("m{}", die % 10).into_bytes(),
            "z" => format!("z{}", die % 2).into_bytes(),
            "f" => format!("f{}", die % 5).into_bytes(),
            "d" => (die % 3).to_string().into_bytes(),
            "n" => (i32::from(die) - 20).to_string().into_bytes(),
            "t" => (u64::from(die) * 20).to_string().into_bytes(),
            "v" if die % 16 == 0 => vec![b'v'; 20_000 + usize::from(die)],
            "v" => vec![b'0' + die % 3; usize::from(die) % 90],
            other => other.as_bytes().to_vec(),
        }
    };
    template.split(' ').map(word).collect()
}

#[test]
fn the_templates_cover_every_write_row() {
    let covered: BTreeSet<String> =
        TEMPLATES.iter().filter_map(|template| template.split(' ').next()).map(str::to_lowercase).collect();
    let rows: BTreeSet<String> =
        Table::new().all().filter(|found| found.row.is_write()).map(|found| found.row.name.to_owned()).collect();
    assert_eq!(covered, rows);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn repeating_the_effects_gives_the_same_keyspace(acts in prop::collection::vec(any_act(), 1..150)) {
        let mut pair = Pair::new();
        for act in acts {
            match act {
                Act::Run(words) => {
                    if pair.run("", &words).waits {
                        pair.leave("");
                    }
                }
                Act::Select(db) => {
                    pair.run("", &[b"SELECT".to_vec(), db.to_string().into_bytes()]);
                }
                Act::Pass(millis) => pair.wait(millis),
                Act::Tick => pair.tick(),
            }
        }
        pair.compare();
    }

    /// Two lanes, each with a replica that hears of its own effects only: what one lane hands to another is said in full where it arrives.
    #[test]
    fn repeating_the_effects_of_each_of_two_lanes_gives_what_it_holds(acts in prop::collection::vec(any_act(), 1..80)) {
        let mut lanes = TwoLanes::new();
        for act in acts {
            match act {
                Act::Run(words) => lanes.run(&words),
                Act::Select(db) => lanes.run(&[b"SELECT".to_vec(), db.to_string().into_bytes()]),
                Act::Pass(millis) => lanes.world.pass(millis),
                Act::Tick => lanes.settle(),
            }
        }
        lanes.compare();
    }
}

struct TwoLanes {
    world: World,
    replicas: [Driver; 2],
    conn: ConnId,
}

impl TwoLanes {
    fn new() -> Self {
        let mut world = World::new(2);
        world.lanes.iter_mut().for_each(|lane| lane.shard.effects().recording = true);
        let conn = world.connect(0);
        Self { world, replicas: [replica(), replica()], conn }
    }

    fn run(&mut self, words: &[Vec<u8>]) {
        self.world.turn(0, 0, Some((self.conn, request(words))));
        self.settle();
        if self.world.reply(0, self.conn).is_none() {
            // It waits; nobody will bring what it waits for.
            self.world.lanes[0].shard.closed(self.conn);
            self.conn = self.world.connect(0);
            self.settle();
        }
    }

    fn settle(&mut self) {
        self.world.rest();
        for (lane, replica) in self.world.lanes.iter_mut().zip(&mut self.replicas) {
            effects_in(&lane.shard.effects().take()).iter().for_each(|effect| repeat(replica, effect));
        }
    }

    fn compare(&mut self) {
        self.settle();
        let (now, never) = (self.world.now.millis(), Millis(0));
        for (lane, replica) in self.world.lanes.iter().zip(&self.replicas) {
            assert_eq!(dump(lane.shard.store(), now), dump(replica.shard.store(), never));
        }
    }
}

#[test]
fn a_value_that_moves_between_lanes_is_said_where_it_arrives() {
    let mut lanes = TwoLanes::new();
    let long = vec![b'x'; 300_000];
    let run =
        |lanes: &mut TwoLanes, words: &[&[u8]]| lanes.run(&words.iter().map(|word| word.to_vec()).collect::<Vec<_>>());
    // Slots 12182 and 866: "foo" is the second lane's, "hello" the first's.
    run(&mut lanes, &[b"SET", b"foo", &long, b"PXAT", b"1900000000000"]);
    run(&mut lanes, &[b"RENAME", b"foo", b"hello"]);
    for fields in (0..5000).collect::<Vec<_>>().chunks(100) {
        let mut words = vec![b"HSET".to_vec(), b"foo".to_vec()];
        words.extend(fields.iter().flat_map(|i| [format!("field:{i}").into_bytes(), vec![b'v'; 20]]));
        lanes.run(&words);
    }
    run(&mut lanes, &[b"EXPIRE", b"foo", b"100"]);
    run(&mut lanes, &[b"COPY", b"foo", b"hello", b"DB", b"2", b"REPLACE"]);
    run(&mut lanes, &[b"COPY", b"foo", b"hello", b"REPLACE"]);
    lanes.compare();
    let held = dump(lanes.replicas[0].shard.store(), Millis(0));
    assert_eq!(held.keys().cloned().collect::<Vec<_>>(), [(0, b"hello".to_vec()), (2, b"hello".to_vec())]);
    assert_eq!(held[&(0, b"hello".to_vec())].1.len(), 15_000);
    assert!(held.values().all(|(.., deadline)| deadline.is_some()));
}

/// What is recorded of a long value is the value itself, not a copy.
#[test]
fn a_long_word_of_a_client_is_shared_with_its_effect() {
    let mut pair = Pair::new();
    let long = vec![b'x'; 1 << 20];
    let requests: [&[&[u8]]; 3] =
        [&[b"SET", b"k", &long], &[b"SET", b"k", &long, b"EX", b"9"], &[b"MSET", b"k", &long, b"k2", b"v"]];
    for words in requests {
        let conn = pair.driver.connect();
        request(words).chunks(16 << 10).for_each(|piece| pair.driver.shard.feed(conn, piece));
        pair.driver.turn();
        let records = pair.driver.shard.effects().take();
        assert!(records.bytes.len() < 200, "the value is beside the request");
        let effects = effects_in(&records);
        assert_eq!(effects.len(), 1);
        effects.iter().for_each(|effect| repeat(&mut pair.replica, effect));
        pair.compare();
    }
}
