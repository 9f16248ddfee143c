//! Requests that wait, over one to four shards driven with arrays: parcels arrive in their order, everything else at random.
//!
//! ```text
//!  setters    SET k v NX, each value once; one setter a key          takers    BGETDEL k [k ...] timeout
//!  now and then: time passes, a taker vanishes or is let go, all come to rest
//!  in the end: each value was taken once, or is there, or went to a taker that vanished
//! ```

use std::collections::{BTreeMap, VecDeque};

use super::request;
use corelane::base::rng::Rng;
use corelane::base::time::Now;
use corelane::config::Config;
use corelane::shard::{ConnId, Keeping, Opening, Order, Parcel, Setup, Shard, ShardId};

const KEYS: usize = 3;
const TAKERS: usize = 6;
pub(super) const MILLI_NS: u64 = 1_000_000;

pub(super) struct Lane {
    pub(super) shard: Shard,
    /// When it wants its next turn.
    pub(super) wakes_ns: Option<u64>,
}

pub(super) struct World {
    pub(super) lanes: Vec<Lane>,
    /// From one lane to another.
    links: Vec<VecDeque<Box<Parcel>>>,
    replies: BTreeMap<(usize, u32), Vec<u8>>,
    closed: Vec<(usize, ConnId)>,
    pub(super) now: Now,
}

impl World {
    pub(super) fn new(count: usize) -> Self {
        Self::with(count, &Config::default(), |_| None)
    }

    pub(super) fn with(count: usize, config: &Config, journal: impl Fn(u16) -> Option<Keeping>) -> Self {
        let lanes = u16::try_from(count).expect("few lanes");
        let mut world = Self::made(count, |lane| Setup { config: config.clone(), ..Setup::plain(lane, lanes) });
        for (number, lane) in (0..).zip(&mut world.lanes) {
            journal(number).into_iter().for_each(|keeping| lane.shard.begin_journal(keeping));
        }
        world
    }

    pub(super) fn made(count: usize, setup: impl Fn(u16) -> Setup) -> Self {
        let lanes = u16::try_from(count).expect("few lanes");
        let lane = |lane| Lane { shard: Shard::new(setup(lane)), wakes_ns: None };
        Self {
            lanes: (0..lanes).map(lane).collect(),
            links: (0..count * count).map(|_| VecDeque::new()).collect(),
            replies: BTreeMap::new(),
            closed: Vec::new(),
            now: Now { unix_us: 1_700_000_000_000_000, mono_ns: 1_000_000_000 },
        }
    }

    pub(super) fn connect(&mut self, lane: usize) -> ConnId {
        let address = "127.0.0.1:1".parse().expect("an address");
        let opening = Opening { peer: address, local: address, fd: 0, open_connections: 1, shard_port: false };
        self.lanes[lane].shard.open(&opening).expect("room for a client")
    }

    /// A turn of a lane, in which so many parcels of each peer arrive at most.
    pub(super) fn turn(&mut self, at: usize, parcels: usize, input: Option<(ConnId, Vec<u8>)>) {
        let count = self.lanes.len();
        let lane = &mut self.lanes[at];
        lane.shard.begin_turn(self.now);
        for from in 0..count {
            for _ in 0..parcels {
                let Some(parcel) = self.links[from * count + at].pop_front() else { break };
                lane.shard.deliver(ShardId(u16::try_from(from).expect("few")), parcel);
            }
        }
        lane.shard.run_backlog();
        if let Some((conn, bytes)) = input {
            lane.shard.feed(conn, &bytes);
        }
        lane.wakes_ns = lane.shard.tick();
        while let Some(order) = lane.shard.next_order() {
            match order {
                Order::Flush(conn) | Order::CloseAfterFlush(conn) => {
                    let output = lane.shard.take_output(conn, Default::default()).to_vec();
                    lane.shard.in_flight(conn, 0);
                    self.replies.entry((at, conn.0)).or_default().extend(output);
                    if matches!(order, Order::CloseAfterFlush(_)) {
                        self.closed.push((at, conn));
                    }
                }
                Order::Close(conn) => self.closed.push((at, conn)),
                // What is fed comes whether or not anybody reads.
                Order::StopReading(_) | Order::Read(_) => {}
                other => panic!("{other:?}"),
            }
        }
        for to in (0..count).filter(|to| *to != at) {
            self.links[at * count + to].extend(lane.shard.take_parcel(ShardId(u16::try_from(to).expect("few"))));
        }
    }

    /// Everybody has turns until nothing is under way.
    pub(super) fn rest(&mut self) {
        for _ in 0..50 {
            (0..self.lanes.len()).for_each(|at| self.turn(at, usize::MAX, None));
        }
        assert!(self.links.iter().all(VecDeque::is_empty), "lanes come to rest");
    }

    pub(super) fn reply(&mut self, lane: usize, conn: ConnId) -> Option<String> {
        let bytes = self.replies.remove(&(lane, conn.0)).filter(|bytes| !bytes.is_empty())?;
        Some(String::from_utf8(bytes).expect("text"))
    }

    pub(super) fn call(&mut self, lane: usize, conn: ConnId, words: &[&str]) -> String {
        self.turn(lane, 0, Some((conn, request(words))));
        self.rest();
        self.reply(lane, conn).expect("an answer")
    }

    pub(super) fn pass(&mut self, millis: u64) {
        self.now.mono_ns += millis * MILLI_NS;
        self.now.unix_us += millis * 1000;
    }
}

#[derive(Clone, Debug)]
struct Wait {
    keys: Vec<usize>,
    deadline_ns: Option<u64>,
    /// The rests before it was sent, and the first one that found it waiting.
    sent: u32,
    settled: Option<u32>,
    /// Somebody may be letting it go.
    unblocked: bool,
    end: End,
}

#[derive(Clone, Debug, PartialEq)]
enum End {
    Waits,
    Took(usize, u64),
    TimedOut,
    Unblocked,
    Vanished,
}

struct Taker {
    lane: usize,
    conn: ConnId,
    id: String,
    /// Among all waits.
    wait: Option<usize>,
}

struct Setter {
    lane: usize,
    conn: ConnId,
    next: u64,
    asks: bool,
}

struct Play {
    world: World,
    rng: Rng,
    takers: Vec<Taker>,
    setters: Vec<Setter>,
    /// Lets others go.
    warden: (usize, ConnId),
    waits: Vec<Wait>,
    stored: Vec<Vec<u64>>,
    rests: u32,
    may_vanish: bool,
    /// Whoever the warden is letting go; it may come upon the next wait.
    unblocks: Option<usize>,
}

impl Play {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let count = 1 + usize::try_from(rng.below(4)).expect("small");
        let mut world = World::new(count);
        let lane = |rng: &mut Rng| usize::try_from(rng.below(count as u64)).expect("small");
        let mut takers = Vec::new();
        for _ in 0..TAKERS {
            takers.push(Self::taker(&mut world, lane(&mut rng)));
        }
        let setters = (0..KEYS)
            .map(|_| {
                let lane = lane(&mut rng);
                Setter { lane, conn: world.connect(lane), next: 0, asks: false }
            })
            .collect();
        let warden = lane(&mut rng);
        let warden = (warden, world.connect(warden));
        let may_vanish = rng.below(2) == 0;
        Self {
            world,
            rng,
            takers,
            setters,
            warden,
            waits: Vec::new(),
            stored: vec![Vec::new(); KEYS],
            rests: 0,
            may_vanish,
            unblocks: None,
        }
    }

    fn taker(world: &mut World, lane: usize) -> Taker {
        let conn = world.connect(lane);
        let id = world.call(lane, conn, &["CLIENT", "ID"]).trim_start_matches(':').trim_end().to_owned();
        Taker { lane, conn, id, wait: None }
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.rng.below(bound as u64)).expect("small")
    }

    fn step(&mut self) {
        let parcels = self.below(3);
        match self.below(16) {
            0..4 => {
                let taker = self.below(TAKERS);
                if self.takers[taker].wait.is_none() {
                    self.take(taker, parcels);
                }
            }
            4..7 => {
                let key = self.below(KEYS);
                if !self.setters[key].asks {
                    self.set(key, parcels);
                }
            }
            7 => {
                let millis = self.rng.below(4);
                self.world.pass(millis);
            }
            8 => self.unblock(parcels),
            9 if self.may_vanish && self.below(3) == 0 => self.vanish(),
            10 if self.below(4) == 0 => self.rest(),
            _ => {
                let at = self.below(self.world.lanes.len());
                self.world.turn(at, parcels, None);
            }
        }
        self.hear();
    }

    fn take(&mut self, taker: usize, parcels: usize) {
        let count = 1 + self.below(2);
        let keys: Vec<usize> = (0..count).map(|_| self.below(KEYS)).collect();
        let millis = self.rng.below(6);
        let mut words = vec!["BGETDEL".to_owned()];
        words.extend(keys.iter().map(|key| format!("k{key}")));
        words.push(format!("0.00{millis}"));
        let deadline_ns = (millis > 0).then_some(self.world.now.mono_ns + millis * MILLI_NS);
        let wait = Wait {
            keys,
            deadline_ns,
            sent: self.rests,
            settled: None,
            unblocked: self.unblocks == Some(taker),
            end: End::Waits,
        };
        self.waits.push(wait);
        self.takers[taker].wait = Some(self.waits.len() - 1);
        let Taker { lane, conn, .. } = self.takers[taker];
        self.world.turn(lane, parcels, Some((conn, request(&words))));
    }

    fn set(&mut self, key: usize, parcels: usize) {
        let setter = &mut self.setters[key];
        setter.asks = true;
        let words = ["SET".to_owned(), format!("k{key}"), setter.next.to_string(), "NX".to_owned()];
        let (lane, conn) = (setter.lane, setter.conn);
        self.world.turn(lane, parcels, Some((conn, request(&words))));
    }

    fn unblock(&mut self, parcels: usize) {
        let taker = self.below(TAKERS);
        let (Some(wait), None) = (self.takers[taker].wait, self.unblocks) else { return };
        self.waits[wait].unblocked = true;
        self.unblocks = Some(taker);
        let how = ["TIMEOUT", "ERROR"][self.below(2)];
        let words = ["CLIENT", "UNBLOCK", &self.takers[taker].id, how];
        self.world.turn(self.warden.0, parcels, Some((self.warden.1, request(&words))));
    }

    fn vanish(&mut self) {
        let taker = self.below(TAKERS);
        let Taker { lane, conn, wait, .. } = self.takers[taker];
        if let Some(wait) = wait {
            self.waits[wait].end = End::Vanished;
        }
        if self.below(2) == 0 {
            self.world.lanes[lane].shard.eof(conn);
            self.world.turn(lane, 0, None);
        }
        self.world.lanes[lane].shard.closed(conn);
        self.world.replies.remove(&(lane, conn.0));
        self.world.closed.clear();
        let lane = self.below(self.world.lanes.len());
        let conn = self.world.connect(lane);
        let id = (self.world.lanes.len(), lane);
        // Its number is asked for only when all is at rest.
        self.takers[taker] = Taker { lane, conn, id: format!("9{:08}", id.0 + id.1), wait: None };
    }

    /// All come to rest: whoever's time is over has been told, and the lanes wake for the next.
    fn rest(&mut self) {
        self.world.rest();
        self.hear();
        self.rests += 1;
        let now = self.world.now.mono_ns;
        for taker in &self.takers {
            let Some(wait) = taker.wait else { continue };
            let wait = &mut self.waits[wait];
            wait.settled = wait.settled.or(Some(self.rests));
            if let Some(deadline) = wait.deadline_ns {
                assert!(deadline > now, "a reply is late: {wait:?} at {now}");
                let wakes = self.world.lanes[taker.lane].wakes_ns;
                assert!(wakes.is_some_and(|wakes| wakes <= deadline), "{wakes:?} {wait:?}");
            }
        }
    }

    /// Reads what has come.
    fn hear(&mut self) {
        assert_eq!(self.world.closed, []);
        let now = self.world.now.mono_ns;
        for (key, setter) in self.setters.iter_mut().enumerate() {
            let Some(reply) = self.world.reply(setter.lane, setter.conn) else { continue };
            assert!(setter.asks);
            setter.asks = false;
            if reply == "+OK\r\n" {
                self.stored[key].push(setter.next);
                setter.next += 1;
            } else {
                assert_eq!(reply, "$-1\r\n");
            }
        }
        for taker in &mut self.takers {
            let Some(reply) = self.world.reply(taker.lane, taker.conn) else { continue };
            let wait = &mut self.waits[taker.wait.take().expect("nobody is answered who has not asked")];
            let lines: Vec<&str> = reply.split("\r\n").collect();
            wait.end = match lines[..] {
                ["*-1", ""] => {
                    let in_time = wait.deadline_ns.is_some_and(|deadline| deadline <= now);
                    assert!(in_time || wait.unblocked, "a reply is early: {wait:?} at {now}");
                    if in_time { End::TimedOut } else { End::Unblocked }
                }
                ["-UNBLOCKED client unblocked via CLIENT UNBLOCK", ""] => {
                    assert!(wait.unblocked);
                    End::Unblocked
                }
                ["*2", _, key, _, value, ""] => {
                    let key = key.trim_start_matches('k').parse().expect("a key");
                    assert!(wait.keys.contains(&key));
                    End::Took(key, value.parse().expect("a number"))
                }
                _ => panic!("{reply:?}"),
            };
        }
        if let Some(reply) = self.world.reply(self.warden.0, self.warden.1) {
            assert!(reply == ":0\r\n" || reply == ":1\r\n", "{reply:?}");
            self.unblocks = None;
        }
    }

    /// Nobody asks any more.
    fn finish(&mut self) {
        self.rest();
        self.judge_order();
        self.world.pass(10);
        self.rest();
        for at in 0..TAKERS {
            if let Taker { lane, conn, wait: Some(wait), .. } = self.takers[at] {
                self.waits[wait].end = End::Vanished;
                self.world.lanes[lane].shard.closed(conn);
            }
        }
        self.world.rest();
        for lane in &self.world.lanes {
            assert!(lane.shard.is_quiet() && !lane.shard.awaits_answers());
        }
        let vanished = self.waits.iter().filter(|wait| wait.end == End::Vanished).count();
        let mut lost = 0;
        for key in 0..KEYS {
            let (lane, conn) = self.warden;
            let there = self.world.call(lane, conn, &["GET", &format!("k{key}")]);
            for value in &self.stored[key] {
                let taken = self.waits.iter().filter(|wait| wait.end == End::Took(key, *value)).count();
                let there = there.split("\r\n").nth(1) == Some(value.to_string().as_str());
                assert!(taken + usize::from(there) <= 1, "k{key} {value} was taken twice");
                lost += usize::from(taken == 0 && !there);
            }
        }
        assert!(lost <= vanished, "{lost} values went nowhere, {vanished} takers vanished");
    }

    /// Whoever waited for a key before another even asked for it has an earlier value, unless it was let go.
    fn judge_order(&self) {
        let single = |wait: &&Wait| wait.keys.iter().all(|key| *key == wait.keys[0]);
        for first in self.waits.iter().filter(single) {
            for later in self.waits.iter().filter(single).filter(|later| later.keys[0] == first.keys[0]) {
                let before = first.settled.is_some_and(|settled| settled <= later.sent);
                let (true, End::Took(key, later)) = (before, &later.end) else { continue };
                match first.end {
                    End::Took(_, value) => assert!(value < *later, "k{key}: {later} overtook {value}"),
                    End::Waits => panic!("k{key}: {later} was taken from under {first:?}"),
                    _ => {}
                }
            }
        }
    }
}

#[test]
fn every_value_is_taken_once_in_the_order_of_arrival() {
    let mut ends = [0; 4];
    for seed in 0..400 {
        let mut play = Play::new(seed);
        (0..400).for_each(|_| play.step());
        play.finish();
        for wait in &play.waits {
            match wait.end {
                End::Took(..) => ends[0] += usize::from(wait.settled.is_some()),
                End::TimedOut => ends[1] += 1,
                End::Unblocked => ends[2] += 1,
                End::Vanished => ends[3] += 1,
                End::Waits => panic!("somebody waits for ever"),
            }
        }
    }
    assert!(ends.iter().all(|count| *count > 100), "each way to end a wait is walked: {ends:?}");
}

#[test]
fn a_value_never_goes_to_whoever_has_gone() {
    for count in [1, 3] {
        let mut world = World::new(count);
        let (setter, last) = (world.connect(0), count - 1);
        let (gone, half, stays) = (world.connect(last), world.connect(0), world.connect(0));
        for (lane, conn) in [(last, gone), (0, half), (0, stays)] {
            world.turn(lane, 0, Some((conn, request(&["BGETDEL", "a", "b", "c", "0"]))));
            world.rest();
        }
        assert!(world.call(0, setter, &["INFO", "clients"]).contains("blocked_clients:3"));
        assert!(world.call(0, setter, &["CLIENT", "LIST"]).contains("flags=b"));
        world.lanes[last].shard.closed(gone);
        world.lanes[0].shard.eof(half);
        world.rest();
        assert_eq!(std::mem::take(&mut world.closed), [(0, half)], "whoever closes its side while it waits is let go");
        assert_eq!(world.call(0, setter, &["SET", "b", "1"]), "+OK\r\n");
        assert_eq!(world.reply(0, stays).as_deref(), Some("*2\r\n$1\r\nb\r\n$1\r\n1\r\n"));
        assert!(world.lanes.iter().all(|lane| lane.shard.is_quiet()));
    }
}

#[test]
fn draining_ends_every_wait() {
    for count in [1, 3] {
        let mut world = World::new(count);
        for lane in 0..count {
            let conn = world.connect(lane);
            world.turn(lane, 0, Some((conn, request(&["BGETDEL", "a", "b", "c", "0"]))));
        }
        world.lanes.iter_mut().for_each(|lane| lane.shard.drain());
        world.rest();
        assert_eq!(world.closed.len(), count);
        assert!(world.lanes.iter().all(|lane| lane.shard.is_quiet() && !lane.shard.awaits_answers()));
    }
}

#[test]
fn what_follows_a_wait_runs_after_it_and_once() {
    for count in [1, 3] {
        let mut world = World::new(count);
        let (waiter, setter) = (world.connect(0), world.connect(0));
        let behind = [request(&["BGETDEL", "k", "0"]), request(&["INCR", "n"]).repeat(100)].concat();
        world.turn(0, 0, Some((waiter, behind)));
        world.rest();
        assert_eq!(world.reply(0, waiter), None);
        let pipeline = [request(&["SET", "k", "1"]), request(&["GETDEL", "k"])].concat();
        world.turn(0, 0, Some((setter, pipeline)));
        world.rest();
        assert_eq!(
            world.reply(0, setter).as_deref(),
            Some("+OK\r\n$-1\r\n"),
            "who waits comes before the next request"
        );
        let reply = world.reply(0, waiter).expect("served");
        let expected: String = (1..=100).map(|n| format!(":{n}\r\n")).collect();
        assert_eq!(reply, format!("*2\r\n$1\r\nk\r\n$1\r\n1\r\n{expected}"));
    }
}

/// Once it was the last request that had been parsed ahead.
#[test]
fn clients_are_listed_with_what_they_wait_for() {
    for count in [1, 3] {
        let mut world = World::new(count);
        let (waiter, other) = (world.connect(0), world.connect(0));
        let behind =
            [request(&["BGETDEL", "a", "b", "0"]), request(&["STRLEN", "n"]), request(&["INCR", "n"])].concat();
        world.turn(0, 0, Some((waiter, behind)));
        world.rest();
        let list = world.call(0, other, &["CLIENT", "LIST"]);
        let of_waiter = list.lines().find(|line| line.contains("flags=b")).expect("it waits");
        assert!(of_waiter.contains("cmd=bgetdel "), "{of_waiter}");
    }
}

/// WAIT waits for no key: once, each one that waited left its request with the shard for good.
#[test]
fn a_wait_for_replicas_leaves_nothing() {
    let mut driver = super::Driver::new();
    let conn = driver.connect();
    for way_out in ["time", "gone"] {
        driver.shard.feed(conn, &request(&["WAIT", "1", "10"]));
        assert!(!driver.shard.is_quiet());
        if way_out == "time" {
            driver.now.mono_ns += 20 * MILLI_NS;
            driver.turn();
            assert_eq!(driver.replies(conn), b":0\r\n");
        } else {
            driver.shard.closed(conn);
        }
        driver.turn();
        assert!(driver.shard.is_quiet(), "{way_out}");
    }
}
