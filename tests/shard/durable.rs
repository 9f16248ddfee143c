//! Several lanes with journals that are synced always, on disks that are frozen at every step: whatever was acknowledged or shown until then
//! is in what a recovery finds, and of no command over several lanes half.
//!
//! ```text
//!  clients  SET own n   MSET own n other n   MULTI SET EXISTS SET EXEC   GET anything   KEYS SCAN RANDOMKEY DBSIZE INFO
//!           one request each at a time, on any lane
//!  at random: a client sends, a lane has a turn with some of the parcels, a disk takes a write, a disk is done
//!  frozen   synced bytes of each lane + any part of what is under way --> blocks, cut, replay --> judged
//! ```

use super::blocking::World;
use super::request;
use crate::support::disks::{Disks, FIRST, Forgets};
use corelane::base::hash::slot;
use corelane::base::lanes::Lanes;
use corelane::base::rng::Rng;
use corelane::base::time::Millis;
use corelane::config::{Config, Fsync, Start};
use corelane::persist::Position;
use corelane::persist::block::Origin;
use corelane::persist::record::{self, Record, Records};
use corelane::shard::{ConnId, Keeping, Shard};
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};

const LANES: u16 = 3;
const WRITERS: usize = 6;

fn origin(lane: u16) -> Origin {
    Origin { volume: FIRST, lane, lanes: LANES }
}

/// A client that writes its own pair of keys, or reads others'.
struct Client {
    lane: usize,
    conn: ConnId,
    asks: Option<Ask>,
    /// What it was answered so far.
    heard: String,
    next: u64,
    /// What it is answered is on the disk.
    fsyncs: bool,
}

#[derive(Clone, Debug, PartialEq)]
enum Ask {
    /// This number for one key or for both; all of the answer.
    Write(Vec<String>, u64, &'static str),
    Read(String),
    /// Which keys there are, or how many.
    Look,
}

/// What shows keys that it does not name.
const LOOKS: [&[&str]; 5] =
    [&["KEYS", "*"], &["SCAN", "0", "COUNT", "100"], &["RANDOMKEY"], &["DBSIZE"], &["INFO", "keyspace"]];

struct Play {
    world: World,
    disks: Disks,
    clients: Vec<Client>,
    rng: Rng,
    /// Of each key the last that was sent, and the greatest that was acknowledged or shown.
    sent: BTreeMap<String, u64>,
    sure: BTreeMap<String, u64>,
    /// The most keys that anybody was told of.
    sure_count: usize,
    /// Writers and numbers of writes of both keys.
    pairs: BTreeSet<(usize, u64)>,
    frozen: u32,
}

fn config(fsync: &str) -> Config {
    let flags = ["--appendonly", "yes", "--appendfsync", fsync].map(ToOwned::to_owned);
    let Ok(Start::Run(config, _)) = Config::from_flags(&flags, &mut |_| Err("no files".into())) else {
        panic!("legal flags")
    };
    config
}

/// Two keys of a writer, of different lanes.
fn keys(writer: usize) -> [String; 2] {
    let one = format!("one:{writer}");
    let lane = |key: &str| Lanes::new(LANES).owner(slot(key.as_bytes()));
    let other = (0..).map(|i| format!("other:{writer}:{i}")).find(|other| lane(other) != lane(&one));
    [one, other.expect("there are several lanes")]
}

impl Play {
    fn new(seed: u64) -> Self {
        Self::with(seed, Fsync::Always)
    }

    /// Unless everything is synced always, only the clients of the first lane ask for that.
    fn with(seed: u64, fsync: Fsync) -> Self {
        let (start, held_bytes, rewrite) = (Position(0), 0, false);
        let keeping = |lane| Some(Keeping { origin: origin(lane), start, fsync, held_bytes, rewrite });
        let word = match fsync {
            Fsync::Always => "always",
            Fsync::EverySecond => "everysec",
            Fsync::Never => "no",
        };
        let mut world = World::with(usize::from(LANES), &config(word), keeping);
        let clients = (0..2 * WRITERS).map(|i| {
            let lane = i % usize::from(LANES);
            let conn = world.connect(lane);
            if lane == 0 {
                world.turn(lane, 0, Some((conn, request(&["CLIENT", "DURABILITY", "FSYNC"]))));
                assert_eq!(world.reply(lane, conn).as_deref(), Some("+OK\r\n"));
            }
            let fsyncs = lane == 0 || fsync == Fsync::Always;
            Client { lane, conn, asks: None, heard: String::new(), next: 0, fsyncs }
        });
        let clients = clients.collect();
        let disks = Disks::new(LANES, true);
        let (sent, sure, pairs) = Default::default();
        Self { world, disks, clients, rng: Rng::new(seed), sent, sure, sure_count: 0, pairs, frozen: 0 }
    }

    fn below(&mut self, count: usize) -> usize {
        usize::try_from(self.rng.next_u64() % count as u64).expect("small")
    }

    fn step(&mut self) {
        let lane = self.below(usize::from(LANES));
        match self.below(8) {
            0..=2 => self.ask(),
            3..=5 => {
                let parcels = self.below(3);
                self.world.turn(lane, parcels, None);
                self.hear();
            }
            6 => self.start_write(lane),
            _ => self.end_write(lane),
        }
        self.world.now.mono_ns += 50_000;
    }

    /// A client that waits for nothing asks something.
    fn ask(&mut self) {
        let at = self.below(self.clients.len());
        if self.clients[at].asks.is_some() {
            return;
        }
        let (how, look) = (self.below(3), self.below(2 * LOOKS.len()));
        let of = self.below(WRITERS);
        let [one, other] = keys(if at < WRITERS { at } else { of });
        // Keys that nobody writes, of each lane.
        let third = ["nobody:0", "nobody:1", "nobody:2"][self.below(3)];
        let client = &mut self.clients[at];
        let (asks, bytes) = if at >= WRITERS && look < LOOKS.len() {
            (Ask::Look, request(LOOKS[look]))
        } else if at >= WRITERS {
            let key = if how == 0 { one } else { other };
            (Ask::Read(key.clone()), request(&["GET", &key]))
        } else {
            client.next += 1;
            let text = client.next.to_string();
            let (keys, bytes, answer) = match how {
                0 => (vec![one.clone()], request(&["SET", &one, &text]), "+OK\r\n"),
                1 => (vec![one.clone(), other.clone()], request(&["MSET", &one, &text, &other, &text]), "+OK\r\n"),
                _ => {
                    let mut bytes = request(&["MULTI"]);
                    // A lane that only reads takes part too.
                    for words in [&["SET", &one, &text][..], &["SET", &other, &text], &["EXISTS", third], &["EXEC"]] {
                        bytes.extend(request(words));
                    }
                    let answer = "+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n*3\r\n+OK\r\n+OK\r\n:0\r\n";
                    (vec![one, other], bytes, answer)
                }
            };
            keys.iter().for_each(|key| _ = self.sent.insert(key.clone(), client.next));
            if keys.len() == 2 {
                self.pairs.insert((at, client.next));
            }
            (Ask::Write(keys, client.next, answer), bytes)
        };
        client.asks = Some(asks);
        let (lane, conn) = (client.lane, client.conn);
        self.world.turn(lane, 0, Some((conn, bytes)));
        self.hear();
    }

    /// What was answered is sure from now on.
    fn hear(&mut self) {
        for client in &mut self.clients {
            let Some(reply) = self.world.reply(client.lane, client.conn) else { continue };
            let asks = client.asks.clone().expect("nobody answers unasked");
            client.heard += &reply;
            let fsyncs = client.fsyncs;
            let mut note = |key: &str, number: u64| {
                if !fsyncs {
                    return;
                }
                let sure = self.sure.entry(key.to_owned()).or_default();
                *sure = number.max(*sure);
            };
            match asks {
                Ask::Look => {
                    reply.lines().filter(|line| line.contains(':') && !line.contains('=')).for_each(|line| match line
                        .strip_prefix(':')
                    {
                        Some(count) if fsyncs => self.sure_count = self.sure_count.max(count.parse().expect("a count")),
                        Some(_) => {}
                        None => note(line, 1),
                    });
                    let count = reply.split_once("keys=").and_then(|(_, rest)| rest.split(',').next()?.parse().ok());
                    self.sure_count = self.sure_count.max(count.filter(|_| fsyncs).unwrap_or(0));
                }
                Ask::Read(key) => {
                    let number = reply.lines().nth(1).map_or(0, |text| text.parse().expect("a number"));
                    note(&key, number);
                }
                Ask::Write(keys, number, answer) => {
                    if client.heard != answer {
                        assert!(answer.starts_with(&client.heard), "{}", client.heard);
                        continue;
                    }
                    keys.iter().for_each(|key| note(key, number));
                }
            }
            client.heard.clear();
            client.asks = None;
        }
    }

    fn start_write(&mut self, lane: usize) {
        self.disks.begin_write(lane, &mut self.world.lanes[lane].shard);
    }

    fn end_write(&mut self, lane: usize) {
        if !self.disks.end_write(lane) {
            return;
        }
        self.freeze();
        self.world.lanes[lane].shard.write_done();
        self.world.turn(lane, 0, None);
        self.hear();
        self.freeze();
    }

    /// Everything that was asked is answered in the end.
    fn rest(&mut self) {
        for _ in 0..200 {
            for lane in 0..usize::from(LANES) {
                self.world.turn(lane, usize::MAX, None);
                self.start_write(lane);
                self.end_write(lane);
            }
            self.world.now.mono_ns += 50_000;
            self.hear();
        }
        assert!(self.clients.iter().all(|client| client.asks.is_none()), "somebody waits for ever");
    }

    /// The power fails now: what is found later holds all that was sure.
    fn freeze(&mut self) {
        self.frozen += 1;
        let (_, shards) = self.disks.recover(&self.disks.lose(&mut self.rng), replica);
        let found = held(&shards);
        for (key, sure) in &self.sure {
            let found = found.get(key).copied().unwrap_or(0);
            assert!(found >= *sure, "{key} is {found}, but {sure} was told");
            let sent = self.sent.get(key).copied().unwrap_or(0);
            assert!(found <= sent, "{key} is {found}, which nobody sent");
        }
        assert!(found.len() >= self.sure_count, "there are {}, but {} were told of", found.len(), self.sure_count);
        for writer in 0..WRITERS {
            let [one, other] = keys(writer).map(|key| found.get(&key).copied().unwrap_or(0));
            let is_half = if self.pairs.contains(&(writer, one)) { other != one } else { other > one };
            assert!(!is_half, "half of a transaction of writer {writer}: {one} and {other}");
        }
    }
}

/// The numbers in these keyspaces.
fn held(shards: &[Shard]) -> BTreeMap<String, u64> {
    let mut held = BTreeMap::new();
    for (db, keyspace) in shards.iter().flat_map(|shard| shard.store().open_databases()) {
        assert_eq!(db, 0);
        keyspace.scan(corelane::types::dict::Cursor::START, usize::MAX, Millis(0), |entry| {
            let key = String::from_utf8(entry.key().to_vec()).expect("text");
            let corelane::store::entry::ValueRef::Str(text) = entry.value() else { panic!("a short string") };
            held.insert(key, std::str::from_utf8(text).expect("text").parse().expect("a number"));
        });
    }
    held
}

fn replica(lane: u16) -> Shard {
    World::with(usize::from(LANES), &Config::default(), |_| None).lanes.swap_remove(lane.into()).shard
}

#[test]
fn frozen_at_any_step_nothing_that_was_told_is_lost() {
    let (mut frozen, mut told) = (0, 0);
    for seed in 0..200 {
        let mut play = Play::new(seed);
        (0..800).for_each(|_| play.step());
        play.rest();
        frozen += play.frozen;
        told += play.sure.values().sum::<u64>();
    }
    assert!(frozen > 5000 && told > 5000, "hardly anything happened: {frozen} {told}");
}

/// Clients of one lane that want their replies to be on the disk, among others who do not care: what they write, and what they are shown of what
/// the others have written, on whichever lane and in the way of whatever command over several; and nobody of them waits for ever, though no
/// lane syncs by itself.
#[test]
fn whoever_asks_for_the_disk_gets_it_on_all_lanes() {
    for fsync in [Fsync::Never, Fsync::EverySecond] {
        let (mut frozen, mut told) = (0, 0);
        for seed in 0..100 {
            let mut play = Play::with(seed, fsync);
            (0..800).for_each(|_| play.step());
            play.rest();
            frozen += play.frozen;
            told += play.sure.values().sum::<u64>();
        }
        assert!(frozen > 2000 && told > 1000, "hardly anything happened: {frozen} {told}");
    }
}

/// Only what a journal may hold is repeated: no command that waits, walks, or changes anything but keys.
#[test]
fn an_effect_that_is_none_is_refused() {
    let mut shard = replica(0);
    let mut repeat = |words: &[&str]| {
        let mut records = Records::default();
        record::put_effect(&mut records, 0, words.iter().map(|word| word.as_bytes()));
        let Ok(Record::Effects(effects)) = record::parse(&records.bytes) else { panic!("an effect") };
        shard.repeat(effects)
    };
    let none: [&[&str]; 12] = [
        &["KEYS", "*"],
        &["CONFIG", "SET", "maxmemory", "1"],
        &["SHUTDOWN"],
        &["MULTI"],
        &["EXEC"],
        &["QUIT"],
        &["GET", "a"],
        &["WAITAOF", "1", "0", "0"],
        &["BGREWRITEAOF"],
        &["SCAN", "0"],
        &["WATCH", "a"],
        &["NOTHING"],
    ];
    none.iter().for_each(|words| assert!(repeat(words).is_err(), "{words:?}"));
    assert_eq!(repeat(&["SET", "a", "1"]), Ok(()));
}

/// Reads go on when the disk has failed, whatever they show and whoever asks: of what cannot be written the writers were told.
#[test]
fn everything_can_be_read_after_the_disk_has_failed() {
    let (start, fsync, held_bytes, rewrite) = (Position(0), Fsync::Always, 0, false);
    let keeping = |lane| Some(Keeping { origin: origin(lane), start, fsync, held_bytes, rewrite });
    let mut world = World::with(usize::from(LANES), &config("always"), keeping);
    // Each by its own connection, since no answer comes.
    let ask = |world: &mut World, words: &[&str]| {
        let conn = world.connect(0);
        world.turn(0, usize::MAX, Some((conn, request(words))));
        conn
    };
    for i in 0..30 {
        ask(&mut world, &["SET", &format!("k:{i}"), "v"]);
    }
    ask(&mut world, &["SET", "fades", "v", "PX", "5"]);
    world.rest();
    for lane in 0..usize::from(LANES) {
        world.now.mono_ns += 10_000_000;
        world.turn(lane, usize::MAX, None);
        world.lanes[lane].shard.next_write(&mut Vec::new()).expect("something to write");
        world.lanes[lane].shard.write_failed("EIO");
    }
    world.rest();
    world.now.mono_ns += 10_000_000;
    world.now.unix_us += 40_000;
    let mut says = |words: &[&str]| {
        let conn = ask(&mut world, words);
        world.rest();
        world.now.mono_ns += 20_000_000;
        world.now.unix_us += 20_000;
        world.rest();
        world.reply(0, conn).unwrap_or_else(|| panic!("{words:?} is not answered"))
    };
    assert!(says(&["INFO"]).contains("aof_last_write_status:err"));
    assert_eq!(says(&["GET", "fades"]), "$-1\r\n");
    assert_eq!(says(&["DBSIZE"]), ":30\r\n");
    assert!(says(&["KEYS", "*"]).starts_with("*30\r\n") && says(&["SCAN", "0", "COUNT", "1000"]).contains("k:"));
    assert_eq!(says(&["MGET", "k:0", "k:1", "k:2", "k:3"]), format!("*4\r\n{}", "$1\r\nv\r\n".repeat(4)));
    assert!(says(&["SET", "k:0", "w"]).starts_with("-MISCONF"));
}

/// What the test before the last proves nothing without.
#[test]
fn a_sync_that_is_left_out_is_found_out() {
    let is_found = |seed| {
        let mut play = Play::new(seed);
        play.disks.forgets = Some(Forgets::OneIn(10));
        let played = catch_unwind(AssertUnwindSafe(|| (0..800).for_each(|_| play.step())));
        played.is_err()
    };
    // It shows only if the disk is frozen before a later sync brings what the one that was left out should have.
    let found = (0..30).filter(|seed| is_found(*seed)).count();
    assert!(found >= 10, "one sync in ten was left out, which was found out {found} times in thirty");
}

/// What others forward counts against the bound of the lane that is to write it.
#[test]
fn whoever_forwards_writes_waits_while_the_owner_has_too_much_to_write() {
    const ALL: usize = 1000;
    let (start, fsync, held_bytes, rewrite) = (Position(0), Fsync::EverySecond, 0, false);
    let keeping = |lane| Some(Keeping { origin: origin(lane), start, fsync, held_bytes, rewrite });
    let mut world = World::with(usize::from(LANES), &config("everysec"), keeping);
    let is_foreign = |key: &String| Lanes::new(LANES).owner(slot(key.as_bytes())).index() == 1;
    let key = (0..).map(|i| format!("key:{i}")).find(is_foreign).expect("there are such keys");
    let set = request(&["SET", &key, &"v".repeat(100_000)]);
    let conn = world.connect(0);
    let (mut sent, mut answered, mut written) = (0, 0, Vec::new());
    let mut turn = |world: &mut World, writes: bool| {
        let asks = sent < ALL && sent - answered < 20;
        sent += usize::from(asks);
        world.turn(0, usize::MAX, asks.then(|| (conn, set.clone())));
        world.turn(1, usize::MAX, None);
        answered += world.reply(0, conn).map_or(0, |reply| reply.matches("+OK").count());
        written.clear();
        if writes && world.lanes[1].shard.next_write(&mut written).is_some() {
            world.lanes[1].shard.write_done();
        }
        world.now.mono_ns += 10_000_000;
        answered
    };
    let stuck = (0..2 * ALL).map(|_| turn(&mut world, false)).last().expect("some turns");
    let bound = corelane::base::limits::JOURNAL_BACKLOG_BYTES_MAX / 100_000;
    assert!((bound..bound + 40).contains(&stuck), "{stuck} are answered, but {bound} fill the journal");
    (0..20 * ALL).find(|_| turn(&mut world, true) == ALL).expect("all are answered when there is room");
}
