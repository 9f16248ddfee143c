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

use std::collections::{BTreeMap, VecDeque};

use hashbrown::HashMap;

use super::blocking::World;
use super::request;
use corelane::base::rng::Rng;
use corelane::base::time::{Millis, Now};
use corelane::config::{Config, Fsync, Start};
use corelane::persist::Position;
use corelane::persist::block::Origin;
use corelane::persist::cut::{Settled, Share, Streams};
use corelane::persist::record::Record;
use corelane::persist::stream::{Found, Reader};
use corelane::shard::{ConnId, Ends, Keeping, Piece, Prepared, Shard, Sync};
use corelane::store::restate::{Restatement, Statement};
use corelane::types::dict::Cursor;

const CLIENTS: usize = 6;
const KEYS: usize = 40;
const FIRST: u32 = 1;

/// Keys by database and name; a value and a deadline, as text.
type Held = BTreeMap<(usize, Vec<u8>), String>;

#[derive(Clone, Default)]
struct File {
    written: Vec<u8>,
    synced: usize,
}

/// What the directory holds for good, and what is under way in it.
struct Keeper {
    base: Option<u32>,
    /// Where each lane's first log begins, and all logs from there on.
    marks: Vec<Position>,
    logs: Vec<u32>,
    last_id: u32,
    under_way: Option<Rewrite>,
    rewritten: u32,
    /// What lanes have not been told yet.
    news: VecDeque<(usize, News)>,
}

#[derive(Clone)]
enum News {
    Rewritten(Vec<Position>),
    Failed,
    Taken,
}

struct Rewrite {
    prepared: Prepared,
    ends: Vec<Option<Ends>>,
    synced: usize,
}

struct Play {
    lanes: u16,
    world: World,
    /// By volume and lane, all there ever was.
    files: HashMap<(u32, usize), File>,
    in_flight: Vec<Option<(u32, Sync)>>,
    keeper: Keeper,
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
        let logs = if kept { vec![FIRST] } else { Vec::new() };
        let keeper = Keeper {
            base: None,
            marks: vec![Position(0); count],
            logs,
            last_id: FIRST,
            under_way: None,
            rewritten: 0,
            news: VecDeque::new(),
        };
        let (files, in_flight) = (HashMap::new(), vec![None; count]);
        let rng = Rng::new(seed);
        Self { lanes, world, files, in_flight, keeper, clients, rng, compared: 0, has_failed: false, refused: 0 }
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
        if self.in_flight[lane].is_some() {
            return;
        }
        let mut bytes = Vec::new();
        let shard = &mut self.world.lanes[lane].shard;
        if let Some(sync) = shard.next_write(&mut bytes) {
            let volume = shard.journal_volume().expect("who writes has a journal");
            self.files.entry((volume, lane)).or_default().written.extend(bytes);
            self.in_flight[lane] = Some((volume, sync));
        }
    }

    fn end_write(&mut self, lane: usize) {
        let Some((volume, sync)) = self.in_flight[lane].take() else { return };
        let file = self.files.get_mut(&(volume, lane)).expect("it was written to");
        if sync != Sync::No {
            file.synced = file.written.len();
        }
        self.freeze();
        self.shard(lane).write_done();
        self.turn(lane, 0, None);
    }

    fn fail_write(&mut self, lane: usize) {
        if self.in_flight[lane].take().is_some() {
            self.has_failed = true;
            self.shard(lane).write_failed("Input/output error");
            self.turn(lane, 0, None);
        }
    }

    /// The keeper takes a piece of a base, if there is one.
    fn take_piece(&mut self, lane: usize) {
        let mut bytes = Vec::new();
        let Some(piece) = self.shard(lane).next_piece(&mut bytes) else { return };
        let rewrite = self.keeper.under_way.as_mut().expect("pieces are of a rewrite");
        self.files.entry((rewrite.prepared.base, lane)).or_default().written.extend(bytes);
        if let Piece::Last(ends) = piece {
            rewrite.ends[lane] = Some(ends);
        }
        self.keeper.news.push_back((lane, News::Taken));
        self.freeze();
    }

    /// One lane hears what the keeper has for it.
    fn tell(&mut self) {
        let Some((lane, news)) = self.keeper.news.pop_front() else { return };
        match news {
            News::Taken => self.shard(lane).piece_taken(),
            News::Rewritten(marks) => self.shard(lane).rewritten(&marks),
            News::Failed => self.shard(lane).not_rewritten(),
        }
        self.turn(lane, 0, None);
    }

    /// The keeper does the next thing.
    fn keep(&mut self) {
        self.freeze();
        if let Some(preparation) = self.shard(0).next_preparation() {
            assert!(self.keeper.under_way.is_none(), "one at a time");
            self.keeper.last_id += 2;
            let base = self.keeper.last_id;
            let log = preparation.log.then_some(base + 1);
            // What was never kept, or closed, is not followed.
            if !self.keeper.logs.is_empty() {
                self.keeper.logs.extend(log);
            }
            let prepared = Prepared { base, log };
            self.keeper.under_way = Some(Rewrite { prepared, ends: vec![None; self.lanes.into()], synced: 0 });
            self.keeper.last_id += 1;
            self.shard(0).prepared(prepared);
            return;
        }
        let rests = self.keeper.news.is_empty();
        let Some(rewrite) = self.keeper.under_way.as_mut().filter(|rewrite| rewrite.ends.iter().all(Option::is_some))
        else {
            return;
        };
        if !rests {
            return;
        }
        let lanes = usize::from(self.lanes);
        if rewrite.synced < lanes {
            let file = self.files.entry((rewrite.prepared.base, rewrite.synced)).or_default();
            file.synced = file.written.len();
            rewrite.synced += 1;
            return;
        }
        let fails = self.below(8) == 0;
        let rewrite = self.keeper.under_way.take().expect("just looked at");
        let marks: Vec<Position> = rewrite.ends.iter().flatten().map(|ends| ends.mark).collect();
        if !fails {
            self.keeper.base = Some(rewrite.prepared.base);
            self.keeper.marks.clone_from(&marks);
            self.keeper.logs = rewrite.prepared.log.into_iter().collect();
            self.keeper.rewritten += 1;
            self.freeze();
        }
        let news = if fails { News::Failed } else { News::Rewritten(marks) };
        self.keeper.news.extend((0..lanes).map(|lane| (lane, news.clone())));
    }

    /// The power fails now.
    fn freeze(&mut self) {
        if self.has_failed || self.below(4) > 0 {
            return;
        }
        let mut found = HashMap::new();
        for lane in 0..usize::from(self.lanes) {
            for volume in self.keeper.logs.clone() {
                let File { written, synced } = self.files.get(&(volume, lane)).cloned().unwrap_or_default();
                let reaches = synced + self.below(written.len() - synced + 1);
                let mut bytes = written[..reaches].to_vec();
                if reaches > synced && self.below(2) == 0 {
                    let hole = synced + self.below(reaches - synced);
                    bytes[hole] = !bytes[hole];
                }
                found.insert((volume, lane), bytes);
            }
        }
        let (cuts, shards) = self.recover(&found);
        for (lane, (cut, shard)) in cuts.into_iter().zip(&shards).enumerate() {
            // A volume that a base has replaced is not written to its end.
            if let Some(history) = self.history(lane, cut) {
                self.compared += 1;
                assert_eq!(held(shard), held(&history), "lane {lane} up to {cut}");
            }
        }
    }

    /// What a recovery finds in these logs behind the base that the manifest names.
    fn recover(&self, logs: &HashMap<(u32, usize), Vec<u8>>) -> (Vec<Position>, Vec<Shard>) {
        let mut streams = Streams::new(self.lanes);
        for lane in 0..self.lanes {
            let mark = self.keeper.marks[usize::from(lane)];
            let end = self.follow(&self.keeper.logs, mark, lane, logs, &mut |found| {
                if let Record::Share(of, lanes, _) = found.record {
                    let share = Share { of, start: found.start, end: found.end, lanes: lanes.iter().collect() };
                    streams.share(lane, share);
                }
            });
            streams.reach(lane, end.expect("no damage"));
        }
        let cuts = streams.cut(&Settled::default());
        let shards = (0..self.lanes).map(|lane| {
            let mut shard = self.replica(lane);
            if let Some(base) = self.keeper.base {
                let file = &self.files[&(base, usize::from(lane))];
                assert_eq!(file.synced, file.written.len(), "a base that is named is synced");
                let mut reader = Reader::new(self.origin(base, lane), Position(0));
                reader.feed(&file.written, |found| repeat(&mut shard, &found)).expect("no damage");
                assert_eq!(reader.finish().expect("no damage").torn, None);
            }
            let (cut, mark) = (cuts[usize::from(lane)], self.keeper.marks[usize::from(lane)]);
            let repeated = self.follow(&self.keeper.logs, mark, lane, logs, &mut |found| {
                if found.end <= cut {
                    repeat(&mut shard, &found);
                }
            });
            repeated.expect("no damage");
            shard
        });
        let shards = shards.collect();
        (cuts, shards)
    }

    /// Reads a lane's stream through these volumes; where it ends, if all of it is there.
    fn follow(
        &self,
        volumes: &[u32],
        from: Position,
        lane: u16,
        files: &HashMap<(u32, usize), Vec<u8>>,
        each: &mut dyn FnMut(Found<'_>),
    ) -> Option<Position> {
        let mut end = from;
        for volume in volumes {
            let mut reader = Reader::new(self.origin(*volume, lane), end);
            reader.feed(&files[&(*volume, usize::from(lane))], &mut *each).ok()?;
            let ending = reader.finish().ok()?;
            end = ending.end;
            if !ending.ended || ending.torn.is_some() {
                break;
            }
        }
        Some(end)
    }

    /// All that ever happened on a lane up to there, if all of it was written.
    fn history(&self, lane: usize, cut: Position) -> Option<Shard> {
        let number = u16::try_from(lane).expect("few");
        let mut shard = self.replica(number);
        let logs: Vec<u32> = (FIRST..=self.keeper.last_id).filter(|id| self.is_log(*id, lane)).collect();
        let files = logs.iter().map(|id| ((*id, lane), self.files[&(*id, lane)].written.clone())).collect();
        let end = self.follow(&logs, Position(0), number, &files, &mut |found| {
            if found.end <= cut {
                repeat(&mut shard, &found);
            }
        });
        (end? >= cut).then_some(shard)
    }

    fn is_log(&self, id: u32, lane: usize) -> bool {
        // The first, and the second of each pair that was prepared.
        (id == FIRST || (id - FIRST).is_multiple_of(3)) && self.files.contains_key(&(id, lane))
    }

    fn origin(&self, volume: u32, lane: u16) -> Origin {
        Origin { volume, lane, lanes: self.lanes }
    }

    fn replica(&self, lane: u16) -> Shard {
        let mut world = World::with(self.lanes.into(), &config(&[]), |_| None);
        let mut shard = world.lanes.swap_remove(lane.into()).shard;
        shard.begin_turn(Now { unix_us: 1, mono_ns: 1 });
        shard
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
        assert!(self.keeper.under_way.is_none() && self.keeper.news.is_empty(), "the rewrite ends");
    }

    /// At rest, what a recovery would find is what the lanes hold.
    fn judge_at_rest(&mut self) {
        let files = self.files.iter().map(|(place, file)| (*place, file.written.clone()));
        let mut files: HashMap<_, _> = files.collect();
        for volume in self.keeper.logs.clone() {
            (0..usize::from(self.lanes)).for_each(|lane| _ = files.entry((volume, lane)).or_default());
        }
        let (_, shards) = self.recover(&files);
        for (lane, shard) in shards.iter().enumerate() {
            assert_eq!(held(shard), held(&self.world.lanes[lane].shard), "lane {lane}");
        }
    }
}

fn repeat(shard: &mut Shard, found: &Found<'_>) {
    if let Record::Effects(effects) | Record::Share(_, _, effects) = found.record {
        shard.repeat(effects).unwrap_or_else(|what| panic!("at {}: {what}", found.start));
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
        rewritten += play.keeper.rewritten;
    }
    assert!(compared > 2000 && rewritten > 100, "hardly anything happened: {compared} {rewritten}");
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
                play.keeper.under_way.is_none() && play.keeper.news.is_empty()
            })
            .expect("the rewrite ends");
        assert_eq!(play.shard(0).store().kept_bytes(), 0);
        if kept {
            play.judge_at_rest();
        }
    }
}
