//! Lanes whose journals are rewritten again and again while clients change everything, on disks that are frozen at every step: what a recovery
//! finds by the manifest is what the whole history, no volume of which was ever deleted, gives up to the same places.
//!
//! ```text
//!  clients   strings, hashes of some hundred fields, deadlines, RENAME, COPY, MOVE, SWAPDB, FLUSHDB, FLUSHALL, MSET and EXEC over lanes
//!  keeper    files made | pieces appended | each base synced | the manifest switched | each lane told          (this test)
//!  frozen    named files, their synced bytes and any part of the others -> blocks, cut, replay -> the keyspace
//!            == the same cut of all volumes ever, from the first record on
//!  at rest   == the keyspace of the lanes themselves
//! ```

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::blocking::World;
use super::request;
use crate::support::disks::{Disks, FIRST, Forgets, Kept};
use corelane::base::rng::Rng;
use corelane::base::time::Millis;
use corelane::config::{Config, Fsync, Start};
use corelane::persist::Position;
use corelane::persist::block::Origin;
use corelane::shard::{ConnId, Keeping, Shard};
use corelane::store::restate::{Restatement, Statement};
use corelane::types::dict::Cursor;

const CLIENTS: usize = 6;
const KEYS: usize = 40;

/// Keys by database and name; a value and a deadline, as text.
type Held = BTreeMap<(usize, Vec<u8>), String>;

struct Play {
    lanes: u16,
    world: World,
    disks: Disks,
    /// A client and how many replies it waits for.
    clients: Vec<(usize, ConnId, usize)>,
    rng: Rng,
    compared: u32,
    /// A disk has failed: then the history has a hole.
    has_failed: bool,
    refused: u32,
}

fn config(flags: &[&str]) -> Config {
    let all = ["--auto-aof-rewrite-percentage", "0", "--databases", "3", "--hash-max-listpack-entries", "16"];
    let flags: Vec<String> = all.iter().chain(flags).map(ToString::to_string).collect();
    let Ok(Start::Run(config, _)) = Config::from_flags(&flags, &mut |_| Err("no files".into())) else {
        panic!("legal flags")
    };
    config
}

impl Play {
    fn new(lanes: u16, seed: u64, kept: bool) -> Self {
        let origin = |lane| Origin { volume: FIRST, lane, lanes };
        let keeping = |lane| Keeping {
            origin: origin(lane),
            start: Position(0),
            fsync: Fsync::Always,
            held_bytes: 0,
            rewrite: false,
        };
        let config = config(&["--appendonly", if kept { "yes" } else { "no" }, "--appendfsync", "always"]);
        let mut world = World::with(usize::from(lanes), &config, |lane| kept.then(|| keeping(lane)));
        let count = usize::from(lanes);
        let clients = (0..CLIENTS).map(|i| (i % count, world.connect(i % count), 0)).collect();
        let rng = Rng::new(seed);
        let disks = Disks::new(lanes, kept);
        Self { lanes, world, disks, clients, rng, compared: 0, has_failed: false, refused: 0 }
    }

    fn below(&mut self, count: usize) -> usize {
        usize::try_from(self.rng.next_u64() % count as u64).expect("small")
    }

    fn shard(&mut self, lane: usize) -> &mut Shard {
        &mut self.world.lanes[lane].shard
    }

    fn step(&mut self) {
        let lane = self.below(self.lanes.into());
        match self.below(12) {
            0..=3 => self.ask(),
            4..=6 => {
                let parcels = self.below(3);
                self.turn(lane, parcels, None);
            }
            7 => self.start_write(lane),
            8 => self.end_write(lane),
            9 => self.take_piece(lane),
            10 => self.tell(),
            _ => self.keep(),
        }
        self.world.now.mono_ns += 50_000;
        self.world.now.unix_us += 50;
    }

    fn turn(&mut self, lane: usize, parcels: usize, input: Option<(ConnId, Vec<u8>)>) {
        self.world.turn(lane, parcels, input);
        for (lane, conn, waits) in &mut self.clients {
            let Some(reply) = self.world.reply(*lane, *conn) else { continue };
            self.refused += u32::from(reply.starts_with("-MISCONF"));
            // All replies are one line each, or an array of such.
            *waits = waits.saturating_sub(reply.lines().filter(|line| !line.starts_with('*')).count());
        }
    }

    fn key(&mut self) -> String {
        format!("key:{}", self.below(KEYS))
    }

    fn ask(&mut self) {
        let at = self.below(CLIENTS);
        if self.clients[at].2 > 0 {
            return;
        }
        let (one, other, number) = (self.key(), self.key(), self.below(1000).to_string());
        let long = "v".repeat(self.below(90));
        let (db, to) = (self.below(3).to_string(), self.below(3).to_string());
        let requests: Vec<Vec<&str>> = match self.below(40) {
            0..=3 => vec![vec!["SET", &one, &long]],
            4..=6 => vec![vec!["INCR", &one]],
            7..=9 => vec![vec!["APPEND", &one, "more"]],
            10..=17 => vec![vec!["HSET", "hash:1", &number, &long], vec!["HINCRBY", "hash:2", &number, "3"]],
            18 => vec![vec!["HDEL", "hash:1", &number]],
            19 => vec![vec!["DEL", "hash:2"]],
            20..=21 => vec![vec!["PEXPIRE", &one, "5"]],
            22 => vec![vec!["EXPIRE", &one, "1000"]],
            23 => vec![vec!["RENAME", &one, &other]],
            24 => vec![vec!["COPY", "hash:1", &other, "DB", &to, "REPLACE"]],
            25 => vec![vec!["MOVE", &one, &db]],
            26..=28 => vec![vec!["MSET", &one, &number, &other, &number]],
            29 => vec![vec!["MULTI"], vec!["SET", &one, "x"], vec!["HSET", "hash:3", &number, "1"], vec!["EXEC"]],
            // One of the lanes only reads.
            30 => vec![vec!["MULTI"], vec!["MSET", &one, "x", &other, "y"], vec!["EXISTS", "hash:3"], vec!["EXEC"]],
            31..=32 => vec![vec!["SELECT", &db]],
            33 => vec![vec!["SWAPDB", &db, &to]],
            34 if self.below(6) == 0 => vec![vec!["FLUSHALL"]],
            34 => vec![vec!["FLUSHDB"]],
            35..=36 => vec![vec!["DEL", &one, &other]],
            _ => vec![vec!["BGREWRITEAOF"]],
        };
        let bytes: Vec<u8> = requests.iter().flat_map(|words| request(words)).collect();
        let (lane, conn, waits) = &mut self.clients[at];
        // EXEC answers with an array of two more.
        *waits = requests.len() + if requests.len() == 4 { 1 } else { 0 };
        let (lane, conn) = (*lane, *conn);
        self.turn(lane, 0, Some((conn, bytes)));
    }

    fn start_write(&mut self, lane: usize) {
        self.disks.begin_write(lane, &mut self.world.lanes[lane].shard);
    }

    fn end_write(&mut self, lane: usize) {
        if self.disks.end_write(lane) {
            self.freeze();
            self.shard(lane).write_done();
            self.turn(lane, 0, None);
        }
    }

    fn fail_write(&mut self, lane: usize) {
        if self.disks.fail_write(lane) {
            self.has_failed = true;
            self.shard(lane).write_failed("Input/output error");
            self.turn(lane, 0, None);
        }
    }

    /// The keeper takes a piece of a base, if there is one.
    fn take_piece(&mut self, lane: usize) {
        if self.disks.take_piece(lane, &mut self.world.lanes[lane].shard) {
            self.freeze();
        }
    }

    /// One lane hears what the keeper has for it.
    fn tell(&mut self) {
        let Some((lane, news)) = self.disks.next_news() else { return };
        news.tell(self.shard(lane));
        self.turn(lane, 0, None);
    }

    /// The keeper does the next thing.
    fn keep(&mut self) {
        self.freeze();
        let Self { disks, world, rng, .. } = self;
        if disks.keep(&mut world.lanes[0].shard, || rng.next_u64().is_multiple_of(8)) == Kept::Switched {
            self.freeze();
        }
    }

    /// The power fails now.
    fn freeze(&mut self) {
        if self.has_failed || self.below(4) > 0 {
            return;
        }
        let left = self.disks.lose(&mut self.rng);
        let (cuts, shards) = self.disks.recover(&left, |lane| self.replica(lane));
        for (lane, (cut, shard)) in cuts.into_iter().zip(&shards).enumerate() {
            // A volume that a base has replaced is not written to its end.
            if let Some(history) = self.disks.history(lane, cut, |lane| self.replica(lane)) {
                self.compared += 1;
                assert_eq!(held(shard), held(&history), "lane {lane} up to {cut}");
            }
        }
    }

    fn replica(&self, lane: u16) -> Shard {
        World::with(self.lanes.into(), &config(&[]), |_| None).lanes.swap_remove(lane.into()).shard
    }

    /// Everything comes to its end: all replies, all writes, the rewrite.
    fn rest(&mut self) {
        for _ in 0..400 {
            for lane in 0..usize::from(self.lanes) {
                self.turn(lane, usize::MAX, None);
                self.start_write(lane);
                self.end_write(lane);
                self.take_piece(lane);
            }
            self.tell();
            self.keep();
            self.world.now.mono_ns += 100_000_000;
        }
        assert!(self.clients.iter().all(|(.., waits)| *waits == 0), "{:?}", self.clients);
        assert!(self.disks.is_quiet(), "the rewrite ends");
    }

    /// At rest, what a recovery would find is what the lanes hold.
    fn judge_at_rest(&mut self) {
        let (_, shards) = self.disks.recover(&self.disks.all(), |lane| self.replica(lane));
        for (lane, shard) in shards.iter().enumerate() {
            assert_eq!(held(shard), held(&self.world.lanes[lane].shard), "lane {lane}");
        }
    }
}

fn held(shard: &Shard) -> Held {
    let mut held = Held::new();
    for (db, keyspace) in shard.store().open_databases() {
        keyspace.scan(Cursor::START, usize::MAX, Millis(0), |entry| {
            // By what it takes to say it, in an order of its own where the value has none.
            let (mut restatement, mut words) = (Restatement::of(entry), Vec::new());
            while let Some(Statement { request, longs }) = restatement.next(&shard.store().hash_key) {
                let request = longs.put_into(request.args());
                let of_each = match request.args().at(0) {
                    b"HSET" => 2,
                    b"SADD" => 1,
                    _ => usize::MAX,
                };
                let said: Vec<Vec<u8>> = request.args().from(2).iter().map(<[u8]>::to_vec).collect();
                words.extend(said.chunks(of_each).map(<[Vec<u8>]>::to_vec));
            }
            words.sort();
            let text = format!("{:?} {words:?} {:?}", entry.kind(), entry.expiry());
            held.insert((db, entry.key().to_vec()), text);
        });
    }
    held
}

#[test]
fn frozen_at_any_step_a_rewritten_journal_holds_what_the_whole_one_does() {
    let (mut compared, mut rewritten) = (0, 0);
    for seed in 0..40 {
        let mut play = Play::new(if seed % 3 == 0 { 1 } else { 3 }, seed, true);
        for _ in 0..4 {
            (0..300).for_each(|_| play.step());
            if seed % 2 == 0 {
                play.rest();
                play.judge_at_rest();
            }
        }
        play.rest();
        play.judge_at_rest();
        compared += play.compared;
        rewritten += play.disks.keeper.rewritten;
    }
    assert!(compared > 2000 && rewritten > 100, "hardly anything happened: {compared} {rewritten}");
}

/// What the test before proves nothing without: a sync of a lane, or of a base, that is left out though it is said to be done.
#[test]
fn a_sync_that_is_left_out_is_found_out() {
    for forgets in [Forgets::OneIn(3), Forgets::Base] {
        let is_found = |seed: u64| {
            let mut play = Play::new(3, 2000 + seed, true);
            play.disks.forgets = Some(forgets);
            catch_unwind(AssertUnwindSafe(|| (0..1200).for_each(|_| play.step()))).is_err()
        };
        let found = (0..20).filter(|seed| is_found(*seed)).count();
        assert!(found >= 10, "{forgets:?} was found out {found} times in twenty");
    }
}

#[test]
fn a_disk_that_failed_counts_again_from_a_rewrite_on() {
    let (mut failed, mut refused) = (0, 0);
    for seed in 0..60 {
        let mut play = Play::new(if seed % 3 == 0 { 1 } else { 3 }, 1000 + seed, true);
        for _ in 0..5 {
            (0..150).for_each(|_| play.step());
            let lane = play.below(play.lanes.into());
            play.start_write(lane);
            play.fail_write(lane);
            (0..150).for_each(|_| play.step());
        }
        failed += u32::from(play.has_failed);
        // Who waited for the disk has lost its connection.
        play.clients.iter_mut().for_each(|(.., waits)| *waits = 0);
        play.rest();
        refused += play.refused;
        let lanes = usize::from(play.lanes);
        play.clients = (0..CLIENTS).map(|i| (i % lanes, play.world.connect(i % lanes), 0)).collect();
        play.refused = 0;
        play.rest();
        (0..200).for_each(|_| play.step());
        assert_eq!(play.refused, 0, "writes are taken again");
        play.rest();
        play.judge_at_rest();
    }
    assert!(failed > 50 && refused > 50, "hardly anything failed: {failed} {refused}");
}

/// What changes before the walk came to it is kept as it was; so much of it may wait for the keeper.
#[test]
fn whoever_writes_waits_while_a_rewrite_keeps_too_much() {
    const KEYS: usize = 4000;
    for kept in [true, false] {
        let mut play = Play::new(1, 5, kept);
        // Megabytes are not read again at each step.
        play.has_failed = true;
        // Not one of those whose replies are only counted.
        let conn = play.world.connect(0);
        let set = |value: &str| -> Vec<u8> {
            (0..KEYS).flat_map(|i| request(&["SET", &format!("large:{i}"), &value.repeat(4000)])).collect()
        };
        let mut answered = 0;
        let mut turn = |play: &mut Play, input: Option<Vec<u8>>| {
            play.world.turn(0, 0, input.map(|bytes| (conn, bytes)));
            answered += play.world.reply(0, conn).map_or(0, |reply| reply.matches("+OK").count());
            play.start_write(0);
            play.end_write(0);
            play.world.now.mono_ns += 100_000;
            answered
        };
        turn(&mut play, Some(set("a")));
        (0..20_000).find(|_| turn(&mut play, None) == KEYS).expect("all are answered");
        turn(&mut play, Some(request(&["BGREWRITEAOF"])));
        play.keep();
        turn(&mut play, None);
        // The keeper takes nothing, and everything is overwritten.
        turn(&mut play, Some(set("b")));
        let stuck = (0..3000).map(|_| turn(&mut play, None)).last().expect("some turns");
        let kept_bytes = play.shard(0).store().kept_bytes();
        assert!((KEYS + 1000..2 * KEYS - 500).contains(&stuck), "{stuck} of {} are answered", 2 * KEYS);
        assert!((8_000_000..10_000_000).contains(&kept_bytes), "{kept_bytes} bytes are kept");
        let mut goes_on = |play: &mut Play| {
            play.take_piece(0);
            play.tell();
            play.keep();
            turn(play, None)
        };
        (0..20_000).find(|_| goes_on(&mut play) == 2 * KEYS).expect("all are answered");
        (0..20_000)
            .find(|_| {
                goes_on(&mut play);
                play.disks.is_quiet()
            })
            .expect("the rewrite ends");
        assert_eq!(play.shard(0).store().kept_bytes(), 0);
        if kept {
            play.judge_at_rest();
        }
    }
}
