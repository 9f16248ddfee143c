//! Where the time of requests goes, over one and two lanes, by a clock that a test turns: each reading of it takes a microsecond, so that
//! what is measured is known to the nanosecond.

use std::cell::Cell;
use std::collections::BTreeMap;

use super::request;
use corelane::base::rng::Rng;
use corelane::base::time::Now;
use corelane::shard::{ConnId, Opening, Parcel, Setup, Shard, ShardId};
use corelane::wire::output::Output;

const US: u64 = 1000;
const STAGES: [&str; 6] = ["ready", "parse", "queue", "hop", "execute", "send"];

thread_local! {
    static CLOCK_NS: Cell<u64> = const { Cell::new(0) };
}

fn pass(ns: u64) -> u64 {
    CLOCK_NS.set(CLOCK_NS.get() + ns);
    CLOCK_NS.get()
}

/// Lanes with one connection each.
pub(super) struct World {
    lanes: Vec<(Shard, ConnId)>,
}

impl World {
    pub(super) fn new(lanes: u16) -> Self {
        CLOCK_NS.set(1_000_000 * US);
        let lane = |lane| {
            let mut shard = Shard::new(Setup { stopwatch: || pass(US), ..Setup::plain(lane, lanes) });
            let address = "127.0.0.1:1".parse().expect("an address");
            let opening = Opening { peer: address, local: address, fd: 0, open_connections: 1, shard_port: false };
            let conn = shard.open(&opening).expect("room for a client");
            (shard, conn)
        };
        Self { lanes: (0..lanes).map(lane).collect() }
    }

    /// A turn of a lane that takes in what its peers sent and `input`; what was sent a turn before has left. What it replied.
    fn turn(&mut self, at: usize, input: &[u8]) -> Vec<u8> {
        let mail = self.mail(at);
        self.turn_with(at, mail, input)
    }

    /// What a lane's peers have for it.
    pub(super) fn mail(&mut self, at: usize) -> Vec<(usize, Box<Parcel>)> {
        let peers = (0..self.lanes.len()).filter(|from| *from != at);
        peers.filter_map(|from| Some((from, self.lanes[from].0.take_parcel(lane(at))?))).collect()
    }

    pub(super) fn turn_with(&mut self, at: usize, parcels: Vec<(usize, Box<Parcel>)>, input: &[u8]) -> Vec<u8> {
        let (shard, conn) = &mut self.lanes[at];
        let mono_ns = CLOCK_NS.get();
        shard.begin_turn(Now { unix_us: mono_ns / US, mono_ns });
        shard.in_flight(*conn, 0);
        shard.run_backlog();
        parcels.into_iter().for_each(|(from, parcel)| shard.deliver(lane(from), parcel));
        if !input.is_empty() {
            shard.feed(*conn, input);
        }
        shard.tick();
        while shard.next_order().is_some() {}
        shard.take_output(*conn, Output::default()).to_vec()
    }

    /// Turns of all lanes until the first has answered.
    fn call(&mut self, words: &[&str]) -> String {
        let mut reply = self.turn(0, &request(words));
        for _ in 0..20 {
            (1..self.lanes.len()).for_each(|at| drop(self.turn(at, b"")));
            reply.extend(self.turn(0, b""));
        }
        String::from_utf8(reply).expect("text")
    }

    /// The fields of INFO stages, each a map.
    fn stages(&mut self) -> BTreeMap<String, BTreeMap<String, f64>> {
        let info = self.call(&["INFO", "stages"]);
        let fields = info.lines().filter_map(|line| line.split_once(':'));
        let pairs = |value: &str| {
            let pairs = value.split(',').filter_map(|pair| pair.split_once('='));
            pairs.filter_map(|(name, number)| Some((name.to_owned(), number.parse().ok()?))).collect()
        };
        fields.map(|(name, value)| (name.to_owned(), pairs(value))).collect()
    }

    /// Microseconds that all sampled requests of a family spent in each stage, then in total, and how many they were.
    fn spent(&mut self, family: &str) -> ([f64; 6], f64, f64) {
        let stages = self.stages();
        let of = |stage: &str, part: &str| stages[&format!("stage_usec_{family}_{stage}")][part];
        (STAGES.map(|stage| of(stage, "usec")), of("total", "usec"), of("total", "samples"))
    }
}

fn lane(at: usize) -> ShardId {
    ShardId(u16::try_from(at).expect("few lanes"))
}

#[test]
fn the_stages_of_a_request_add_up_to_its_whole() {
    let mut world = World::new(1);
    // Input that came before its turn began counts from there.
    assert_eq!(world.turn(0, &request(&["SET", "k", "v"])), b"+OK\r\n");
    pass(50 * US);
    world.turn(0, b"");
    let (stages, total, samples) = world.spent("string");
    // A reading before and after each of parsing and running, and within the latter two of the time that commandstats has.
    let [ready, parse, queue, hop, execute, send] = stages;
    assert_eq!((ready, parse, queue, hop, execute, samples), (1.0, 1.0, 1.0, 0.0, 3.0, 1.0));
    // The end of the turn reads the clock once more.
    assert_eq!((send, total), (51.0, 57.0));
}

#[test]
fn what_came_while_the_lane_worked_is_taken_to_have_come_in_the_middle_of_that() {
    let mut world = World::new(1);
    world.turn(0, &request(&["PING"]).repeat(200));
    world.turn(0, b"");
    let mut before = world.stages();
    // Turns of forty microseconds, in each of which some requests run: the first ones have been chosen already.
    for _ in 0..1200 {
        world.turn(0, &request(&["GET", "k"]));
        pass(40 * US);
    }
    let mut after = world.stages();
    let ready = "stage_usec_string_ready";
    let of = |stages: &mut BTreeMap<String, BTreeMap<String, f64>>, part: &str| {
        stages.remove(ready).and_then(|mut field| field.remove(part)).unwrap_or(0.0)
    };
    let usec = of(&mut after.clone(), "usec") - of(&mut before.clone(), "usec");
    let samples = of(&mut after, "samples") - of(&mut before, "samples");
    assert!(samples >= 3.0, "{samples}");
    let mean = usec / samples;
    assert!((20.0..26.0).contains(&mean), "half of a turn and its readings: {mean}");
}

#[test]
fn what_waits_for_its_turn_is_ready_since_it_came() {
    let mut world = World::new(1);
    // More than a connection may run in a turn; the turns are ten microseconds apart.
    let began_ns = CLOCK_NS.get();
    let pipeline = request(&["GET", "k"]).repeat(4000);
    let mut replies = world.turn(0, &pipeline);
    while replies.len() < 4000 * 5 {
        pass(10 * US);
        replies.extend(world.turn(0, b""));
    }
    let stages = world.stages();
    let ready = &stages["stage_usec_string_ready"];
    assert!(ready["samples"] >= 8.0, "{ready:?}");
    // 4000 requests take 32 turns; a sample waits for half of them on the average, and for no more than all.
    let all_us = ((CLOCK_NS.get() - began_ns) / US) as f64;
    let mean = ready["usec"] / ready["samples"];
    assert!((0.3 * all_us..0.7 * all_us).contains(&mean), "{mean} of {all_us}");
    assert!(ready["max"] > 0.6 * all_us && ready["max"] <= all_us, "{ready:?} of {all_us}");
}

#[test]
fn a_request_of_another_lane_hops_there_and_back() {
    let mut world = World::new(2);
    let key = (0..100).map(|i| format!("key{i}")).find(|key| {
        let replied = world.turn(0, &request(&["EXISTS", key]));
        world.turn(1, b"");
        replied.is_empty() && !world.turn(0, b"").is_empty()
    });
    let key = key.expect("half of the keys are the other lane's");
    world.call(&["CONFIG", "RESETSTAT"]);
    const ROUNDS: usize = 2000;
    for _ in 0..ROUNDS {
        assert_eq!(world.turn(0, &request(&["GET", &key])), b"");
        pass(10 * US);
        world.turn(1, b"");
        pass(7 * US);
        assert_eq!(world.turn(0, b""), b"$-1\r\n");
        pass(5 * US);
        world.turn(0, b"");
    }
    let (stages, total, samples) = world.spent("string");
    assert!((5.0..13.0).contains(&samples), "one in 256: {samples}");
    assert!((stages.iter().sum::<f64>() - total).abs() < 1e-6, "{stages:?} make {total}");
    let [ready, parse, queue, hop, execute, send] = stages.map(|usec| usec / samples);
    assert!((17.0..24.0).contains(&hop), "ten microseconds there, seven back, and some readings: {stages:?}");
    assert!((5.0..9.0).contains(&send) && execute <= 3.0 && ready + parse + queue <= 8.0, "{stages:?}");
}

#[test]
fn the_delay_of_sending_is_found_again_in_its_percentiles() {
    let mut world = World::new(1);
    let mut rng = Rng::new(7);
    let mut delays = Vec::new();
    for _ in 0..400_000 {
        world.turn(0, &request(&["GET", "k"]));
        // From 10 to 80 microseconds: each doubling is equally likely.
        let least_us = 10 << rng.below(3);
        let delay_us = least_us + rng.below(least_us);
        // The end of the turn reads the clock.
        delays.push(delay_us + 1);
        pass(delay_us * US);
    }
    world.turn(0, b"");
    delays.sort_unstable();
    let send = &world.stages()["stage_usec_string_send"];
    assert!((1200.0..1900.0).contains(&send["samples"]), "one in 256: {send:?}");
    for (percentile, at) in [("p50", delays.len() / 2), ("p99", delays.len() / 100 * 99)] {
        let ratio = send[percentile] / delays[at] as f64;
        // The histogram is at most 0.8 % too high; the rest is what a sample of 1500 may be off (four times its deviation).
        assert!((0.88..1.14).contains(&ratio), "{percentile}: {} of {}", send[percentile], delays[at]);
    }
}

#[test]
fn no_place_in_a_pipeline_is_chosen_more_often_than_another() {
    let mut world = World::new(1);
    let mut pipeline = request(&["HGET", "h", "f"]);
    pipeline.extend(request(&["GET", "k"]).repeat(15));
    for _ in 0..20_000 {
        world.turn(0, &pipeline);
    }
    let (hashes, strings) = (world.spent("hash").2, world.spent("string").2);
    let share = hashes / (hashes + strings);
    assert!(hashes + strings > 900.0 && (0.035..0.09).contains(&share), "{hashes} of {}", hashes + strings);
    // The same is true of the calls that are timed: of both commands what they are is found, whatever their place.
    let histogram = world.call(&["LATENCY", "HISTOGRAM", "hget"]);
    assert!(histogram.starts_with("*2\r\n$4\r\nhget\r\n*4\r\n$5\r\ncalls\r\n:20000\r\n"), "{histogram}");
}

#[test]
fn latencies_of_several_lanes_are_one() {
    let mut world = World::new(2);
    for i in 0..400 {
        world.call(&["SET", &format!("key{i}"), "v"]);
    }
    world.call(&["MGET", "key1", "key2", "key3", "key4", "key5"]);
    let histogram = world.call(&["LATENCY", "HISTOGRAM", "set", "nosuch", "set"]);
    // Each call that is timed takes a microsecond here. Redis answers a command as often as it is asked for it.
    let set = "$3\r\nset\r\n*4\r\n$5\r\ncalls\r\n:400\r\n$14\r\nhistogram_usec\r\n*2\r\n:1\r\n:400\r\n";
    assert_eq!(histogram, format!("*4\r\n{set}{set}"));
    let info = world.call(&["INFO", "latencystats"]);
    assert!(info.contains("latency_percentiles_usec_set:p50=1.003,p99=1.003,p99.9=1.003\r\n"), "{info}");
    assert!(info.contains("latency_percentiles_usec_mget:"), "{info}");
    let lanes = world.call(&["INFO", "lanes"]);
    let keys: Vec<usize> = ["lane0:", "lane1:"]
        .map(|lane| lanes.lines().find(|line| line.starts_with(lane)).expect("a line of each lane"))
        .iter()
        .map(|line| line.split("keys=").nth(1).and_then(|rest| rest.split(',').next()).expect("a field"))
        .map(|keys| keys.parse().expect("a number"))
        .collect();
    assert!(keys.iter().all(|keys| *keys > 100) && keys.iter().sum::<usize>() == 400, "{keys:?}");
}

#[test]
fn stages_have_names_of_their_own_in_latency_histogram() {
    let mut world = World::new(2);
    for i in 0..600 {
        world.call(&["SET", &format!("key{i}"), "v"]);
    }
    let (_, _, followed) = world.spent("string");
    let calls = |name: &str| format!("${}\r\n{name}\r\n*4\r\n$5\r\ncalls\r\n:{followed}\r\n", name.len());
    let one = world.call(&["LATENCY", "HISTOGRAM", "stage|string|send"]);
    assert!(followed > 1.0 && one.starts_with(&format!("*2\r\n{}", calls("stage|string|send"))), "{one}");
    let all = world.call(&["LATENCY", "HISTOGRAM", "STAGE"]);
    for part in STAGES.into_iter().filter(|part| *part != "hop").chain(["total"]) {
        assert!(all.contains(&calls(&format!("stage|string|{part}"))), "{part}: {all}");
    }
    // Who asks is lane 0's client: there it is counted, whichever lane has run it.
    let lane = world.call(&["LATENCY", "HISTOGRAM", "lane0|string"]);
    assert!(lane.contains(&calls("lane0|string|queue")) && !lane.contains("stage|"), "{lane}");
    assert_eq!(world.call(&["LATENCY", "HISTOGRAM", "lane1", "stages", "stage|strin"]), "*0\r\n");
    assert!(!world.call(&["LATENCY", "HISTOGRAM"]).contains("|string|"), "only commands, unless asked for");
}

#[test]
fn a_long_queue_is_an_event() {
    let mut world = World::new(1);
    world.call(&["CONFIG", "SET", "latency-monitor-threshold", "5"]);
    assert_eq!(world.call(&["LATENCY", "LATEST"]), "*0\r\n");
    // More than one connection may run in a turn: the later ones wait for the next turns.
    world.turn(0, &request(&["GET", "k"]).repeat(3000));
    for _ in 0..30 {
        pass(6000 * US);
        world.turn(0, b"");
    }
    let latest = world.call(&["LATENCY", "LATEST"]);
    assert!(latest.starts_with("*1\r\n*4\r\n$11\r\nqueue-delay\r\n"), "{latest}");
    assert!(world.call(&["LATENCY", "DOCTOR"]).contains("(string)"));
}

#[test]
fn resetstat_forgets_what_latency_reset_leaves() {
    let mut world = World::new(2);
    world.call(&["SET", "a", "1"]);
    world.call(&["SET", "b", "1"]);
    let known = |world: &mut World| {
        let (histogram, info) = (world.call(&["LATENCY", "HISTOGRAM", "set"]), world.call(&["INFO", "latencystats"]));
        (histogram != "*0\r\n", info.contains("usec_set"), world.stages().contains_key("stage_usec_string_total"))
    };
    assert_eq!(known(&mut world), (true, true, true));
    assert_eq!(world.call(&["LATENCY", "RESET"]), ":0\r\n");
    assert_eq!(known(&mut world), (true, true, true));
    assert_eq!(world.call(&["CONFIG", "RESETSTAT"]), "+OK\r\n");
    assert_eq!(known(&mut world), (false, false, false));
    assert_eq!(world.call(&["CONFIG", "SET", "latency-tracking", "no"]), "+OK\r\n");
    (0..600).for_each(|_| assert_eq!(world.call(&["SET", "a", "1"]), "+OK\r\n"));
    assert_eq!(known(&mut world), (false, false, false), "nothing is recorded while that is off");
}
