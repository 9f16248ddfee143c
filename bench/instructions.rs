//! A shard under a fixed number of requests and nothing else, for counting instructions under callgrind:
//! `instructions get|set|hget|hset DEPTH REQUESTS`; the hash is one of `KEYS` fields. `tests/shard/instructions.rs` holds the budgets.

use corelane::admin::info::Identity;
use corelane::base::time::Now;
use corelane::config::Config;
use corelane::shard::{Opening, Setup, Shard, Slicing};
use corelane::wire::output::Output;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const KEYS: usize = 1000;

fn main() {
    let args: Vec<String> = std::env::args().filter(|arg| arg != "--bench").collect();
    let [_, workload, depth, requests] = &args[..] else { return };
    let (depth, requests): (usize, usize) = match (depth.parse(), requests.parse()) {
        (Ok(depth), Ok(requests)) => (depth, requests),
        _ => panic!("usage: instructions get|set|hget|hset DEPTH REQUESTS"),
    };
    let mut shard = Shard::new(Setup {
        identity: Identity { lanes: 1, ..Identity::default() },
        config: Config::default(),
        seed: [1, 2],
        trace: false,
        stopwatch: || 0,
        process: Default::default,
        journal: None,
        room_for_clients: |wanted, _| wanted,
        cpu_time_ns: || 0,
        slicing: Slicing::default(),
        rows: &[],
        planted: None,
    });
    let now = Now { unix_us: 1_700_000_000_000_000, mono_ns: 1 };
    shard.begin_turn(now);
    let address = "127.0.0.1:1".parse().expect("an address");
    let conn = shard
        .open(&Opening { peer: address, local: address, fd: 0, open_connections: 1, shard_port: false })
        .expect("room for a client");
    let write = |i: usize| command(&["SET", &key(i), &"v".repeat(64)]);
    let write_field = |i: usize| command(&["HSET", "hash", &key(i), &"v".repeat(64)]);
    let mut spare = Output::default();
    let mut exchange = |bytes: &[u8]| {
        shard.begin_turn(now);
        shard.feed(conn, bytes);
        shard.tick();
        while shard.next_order().is_some() {
            let mut output = shard.take_output(conn, std::mem::take(&mut spare));
            shard.in_flight(conn, 0);
            output.clear();
            spare = output;
        }
    };
    (0..KEYS).for_each(|i| exchange(&write(i)));
    (0..KEYS).for_each(|i| exchange(&write_field(i)));
    let batches: Vec<Vec<u8>> = (0..KEYS)
        .map(|i| {
            let each = |n: usize| match workload.as_str() {
                "get" => command(&["GET", &key(n % KEYS)]),
                "set" => write(n % KEYS),
                "hget" => command(&["HGET", "hash", &key(n % KEYS)]),
                "hset" => write_field(n % KEYS),
                other => panic!("no workload {other}"),
            };
            (i..i + depth).flat_map(each).collect()
        })
        .collect();
    (0..requests / depth).for_each(|i| exchange(&batches[i % KEYS]));
}

fn key(i: usize) -> String {
    format!("key:{i:012}")
}

fn command(words: &[&str]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend(format!("${}\r\n{word}\r\n", word.len()).bytes());
    }
    bytes
}
