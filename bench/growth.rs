//! What the growth of the table costs the turns of a lane that takes in new keys, in microseconds: `growth KEYS`.
//!
//! Work is counted against a turn as `shard/execute.rs` does. The same keys are loaded several times under one seed: a turn is the
//! least of its repetitions, since whatever else the machine did came on top. Splits, doublings of the directory and the SETs that met them count.

#![expect(clippy::disallowed_methods, reason = "a measurement reads the clock")]
#![expect(clippy::cast_possible_truncation, reason = "an index of a percentile")]

use std::time::Instant;

use corelane::base::hash::HashKey;
use corelane::base::limits::{LANE_REQUESTS_PER_TURN, MOVED_PER_REQUEST};
use corelane::base::time::Millis;
use corelane::store::keyspace::{Graveyard, Keyspace, Write};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const REPETITIONS: usize = 3;

fn main() {
    let mut args = std::env::args().filter(|arg| arg != "--bench").skip(1);
    let Some(keys) = args.next() else { return };
    let keys: usize = keys.parse().expect("usage: growth KEYS");
    let mut turns = load(keys);
    for _ in 1..REPETITIONS {
        turns.iter_mut().zip(load(keys)).for_each(|(least, again)| *least = least.min(again));
    }
    let mut longest: Vec<usize> = (0..turns.len()).collect();
    longest.sort_by(|a, b| turns[*b].total_cmp(&turns[*a]));
    longest.iter().take(6).for_each(|&turn| println!("turn {turn}: {:.1}", turns[turn]));
    turns.sort_by(f64::total_cmp);
    let at = |part: f64| turns[((turns.len() - 1) as f64 * part) as usize];
    println!(
        "{keys} keys, {} turns, us of growth in a turn: p50 {:.1}, p99 {:.1}, p99.9 {:.1}, max {:.1}",
        turns.len(),
        at(0.5),
        at(0.99),
        at(0.999),
        at(1.0)
    );
}

/// The growth of each turn.
fn load(keys: usize) -> Vec<f64> {
    let hasher = HashKey::new([1, 2]);
    let (mut db, mut graves) = (Keyspace::new(hasher), Graveyard::default());
    let (mut turns, mut ran, mut growth_us) = (Vec::new(), 0, 0.0);
    for i in 0..keys {
        let key = format!("key:{i:012}");
        let hash = hasher.key(key.as_bytes());
        let began = Instant::now();
        db.set_string(key.as_bytes(), hash, &[b'v'; 32], Write::default(), Millis(0), &mut graves);
        let took = began.elapsed();
        let moved = db.take_moved();
        ran += 1 + moved / MOVED_PER_REQUEST;
        if moved > 0 {
            growth_us += took.as_nanos() as f64 / 1000.0;
        }
        if ran >= LANE_REQUESTS_PER_TURN {
            turns.push(growth_us);
            (ran, growth_us) = (0, 0.0);
        }
    }
    turns
}
