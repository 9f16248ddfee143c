//! Shards under a fixed number of requests and nothing else, for counting instructions under callgrind, or for a profile of them alone:
//! `instructions get|set|hget|hset|far-get|far-set DEPTH REQUESTS`; the hash is one of `KEYS` fields. `far` asks one of two lanes
//! for keys of the other; `user-get` and so on ask as a user who may some things. `tests/shard/instructions.rs` holds the budgets. `large-zadd`, `large-zpopmin` and so on ask for one collection of
//! `LARGE` elements, pops in turn with what puts as many back; these also print the time that a request took.

use corelane::base::hash::slot;
use corelane::base::lanes::{Lanes, ShardId};
use corelane::base::time::Now;
use corelane::shard::{ConnId, Opening, Setup, Shard};
use corelane::wire::output::Output;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const KEYS: usize = 1000;
const LARGE: usize = 100_000;
const NOW: Now = Now { unix_us: 1_700_000_000_000_000, mono_ns: 1 };

fn main() {
    let args: Vec<String> = std::env::args().filter(|arg| arg != "--bench").collect();
    let [_, workload, depth, requests] = &args[..] else { return };
    let (depth, requests): (usize, usize) = match (depth.parse(), requests.parse()) {
        (Ok(depth), Ok(requests)) => (depth, requests),
        _ => panic!("usage: instructions get|set|hget|hset|far-get|far-set DEPTH REQUESTS"),
    };
    let (is_limited, workload) = match workload.strip_prefix("user-") {
        Some(workload) => (true, workload),
        None => (false, workload.as_str()),
    };
    let (lanes, workload) = match workload.strip_prefix("far-") {
        Some(workload) => (2, workload),
        None => (1, workload),
    };
    let keys: Vec<String> =
        (0..).map(|i| format!("key:{i:012}")).filter(|key| is_last_lanes(key, lanes)).take(KEYS).collect();
    let write = |i: usize| command(&["SET", &keys[i], &"v".repeat(64)]);
    let write_field = |i: usize| command(&["HSET", "hash", &keys[i], &"v".repeat(64)]);
    let mut world = World::new(lanes);
    if let Some(workload) = workload.strip_prefix("large-") {
        return large(&mut world, workload, depth, requests);
    }
    (0..KEYS).for_each(|i| world.exchange(&write(i)));
    (0..KEYS).for_each(|i| world.exchange(&write_field(i)));
    let batches: Vec<Vec<u8>> = (0..KEYS)
        .map(|i| {
            let each = |n: usize| match workload {
                "get" => command(&["GET", &keys[n % KEYS]]),
                "set" => write(n % KEYS),
                "hget" => command(&["HGET", "hash", &keys[n % KEYS]]),
                "hset" => write_field(n % KEYS),
                other => panic!("no workload {other}"),
            };
            (i..i + depth).flat_map(each).collect()
        })
        .collect();
    if is_limited {
        let rules = ["~session:*", "%R~config:*", "~key:*", "+@read", "+@write", "-@dangerous"];
        world.exchange(&command(&[&["ACL", "SETUSER", "app", "on", "nopass"], &rules[..]].concat()));
        world.exchange(&command(&["AUTH", "app", "p"]));
    }
    (0..requests / depth).for_each(|i| world.exchange(&batches[i % KEYS]));
}

/// One collection of very many elements; every request is another one.
fn large(world: &mut World, workload: &str, depth: usize, requests: usize) {
    let member = |n: usize| format!("{n:016}");
    // As good as random, and the same each time.
    let scatter = |n: usize| n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40;
    let score = |n: usize| (scatter(n) % 1_000_000).to_string();
    let zadd = |n: usize| command(&["ZADD", "board", &score(n), &member(n)]);
    for i in 0..LARGE {
        let fill = match workload {
            "incr" => command(&["SET", &member(i), "0"]),
            "hset" | "hget" => command(&["HSET", "hash", &member(i), &"v".repeat(32)]),
            "sadd" | "spop" | "sismember" => command(&["SADD", "tags", &member(i)]),
            "zadd" | "zpopmin" | "zrange" | "zscore" => zadd(i),
            _ => command(&["RPUSH", "jobs", &"v".repeat(64)]),
        };
        world.exchange(&fill);
    }
    let each = |n: usize| match (workload, n % 2) {
        ("incr", _) => command(&["INCR", &member(scatter(n) % LARGE)]),
        ("hset", _) => command(&["HSET", "hash", &member(scatter(n) % LARGE), &"w".repeat(32)]),
        ("hget", _) => command(&["HGET", "hash", &member(scatter(n) % LARGE)]),
        ("sadd", _) | ("spop", 0) => command(&["SADD", "tags", &member(LARGE + n)]),
        ("spop", _) => command(&["SPOP", "tags"]),
        ("sismember", _) => command(&["SISMEMBER", "tags", &member(scatter(n) % LARGE)]),
        ("zadd", _) => command(&["ZADD", "board", &score(n + LARGE), &member(scatter(n) % LARGE)]),
        ("zpopmin", 0) => zadd(LARGE + n),
        ("zpopmin", _) => command(&["ZPOPMIN", "board"]),
        ("zrange", _) => command(&["ZRANGE", "board", "0", "9"]),
        ("zscore", _) => command(&["ZSCORE", "board", &member(scatter(n) % LARGE)]),
        ("lpush", _) | ("lpop", 0) => command(&["LPUSH", "jobs", &"v".repeat(64)]),
        ("lpop", _) => command(&["LPOP", "jobs"]),
        ("rpush", _) => command(&["RPUSH", "jobs", &"v".repeat(64)]),
        ("lrange", _) => command(&["LRANGE", "jobs", "0", "99"]),
        (other, _) => panic!("no workload {other}"),
    };
    let batches: Vec<Vec<u8>> =
        (0..requests / depth).map(|i| (i * depth..(i + 1) * depth).map(each).collect::<Vec<_>>().concat()).collect();
    #[expect(clippy::disallowed_methods, reason = "what is measured is time")]
    let began = std::time::Instant::now();
    batches.iter().for_each(|batch| world.exchange(batch));
    println!("{workload} {:.0} ns", began.elapsed().as_nanos() as f64 / requests as f64);
}

/// All lanes, and one client, of the first of them.
struct World {
    lanes: Vec<Shard>,
    conn: ConnId,
    spare: Output,
}

impl World {
    fn new(count: u16) -> Self {
        let mut lanes: Vec<Shard> = (0..count).map(|lane| shard(lane, count)).collect();
        lanes.iter_mut().for_each(|lane| lane.begin_turn(NOW));
        let address = "127.0.0.1:1".parse().expect("an address");
        let opening = Opening { peer: address, local: address, fd: 0, open_connections: 1, shard_port: false };
        let conn = lanes[0].open(&opening).expect("room for a client");
        Self { lanes, conn, spare: Output::default() }
    }

    /// The client sends, and each lane has its turn until nothing is left to do.
    fn exchange(&mut self, bytes: &[u8]) {
        self.lanes[0].begin_turn(NOW);
        self.lanes[0].feed(self.conn, bytes);
        self.lanes[0].tick();
        if self.lanes.len() > 1 {
            self.hop(0, 1);
            self.hop(1, 0);
        }
        while self.lanes[0].next_order().is_some() {
            let mut output = self.lanes[0].take_output(self.conn, std::mem::take(&mut self.spare));
            self.lanes[0].in_flight(self.conn, 0);
            output.clear();
            self.spare = output;
        }
    }

    /// What one lane has for the other, and that one's turn.
    fn hop(&mut self, from: usize, to: usize) {
        let id = |lane: usize| ShardId(u16::try_from(lane).expect("two"));
        let Some(parcel) = self.lanes[from].take_parcel(id(to)) else { return };
        self.lanes[to].begin_turn(NOW);
        self.lanes[to].deliver(id(from), parcel);
        self.lanes[to].tick();
    }
}

fn shard(lane: u16, lanes: u16) -> Shard {
    Shard::new(Setup::plain(lane, lanes))
}

/// Whether the last of so many lanes owns a key: each has its share of the slots in a row.
fn is_last_lanes(key: &str, lanes: u16) -> bool {
    Lanes::new(lanes).owner(slot(key.as_bytes())).0 + 1 == lanes
}

fn command(words: &[&str]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend(format!("${}\r\n{word}\r\n", word.len()).bytes());
    }
    bytes
}
