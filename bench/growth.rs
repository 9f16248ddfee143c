//! What the growth of the table costs the turns of a lane that takes in new keys, in microseconds: `growth KEYS`.
//!
//! Work is counted against a turn as `shard/execute.rs` does. Splits, doublings of the directory and the SETs that met them are growth. As in
//! `shard/stall.rs` a turn is at most as long as the processor time that the thread had in it: by the wall alone, one turn in every run beside
//! builds of others took 4 to 28 ms, a slice of the scheduler's. Huge pages are off, as in the server (`disable-thp`): else the allocator asks
//! for them, and one turn in a thousand of a first load meets a fault that clears two megabytes (4.5 to 5.4 ms of processor time in one fault).
//! What a turn's first touch of small pages costs is in the first load; the later ones find the memory of those before them, so that the
//! least of all is the work itself.

#![expect(unsafe_code, reason = "three system calls that the standard library lacks")]
#![expect(clippy::disallowed_methods, reason = "a measurement reads the clock")]
#![expect(clippy::cast_possible_truncation, reason = "an index of a percentile")]

use std::time::{Duration, Instant};

use corelane::base::hash::{HashKey, KeyHash};
use corelane::base::limits::{LANE_REQUESTS_PER_TURN, MOVED_PER_REQUEST};
use corelane::base::time::Millis;
use corelane::store::keyspace::{Graveyard, Keyspace, Write};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const REPETITIONS: usize = 3;

/// One turn.
#[derive(Clone, Copy, Default)]
struct Turn {
    /// Processor time of all of it.
    all_us: f64,
    /// Of the SETs that met growth.
    growth_us: f64,
    /// How many those were, and the words they moved.
    growths: u32,
    moved: u32,
    /// Pages touched for the first time.
    faults: u64,
    /// What the wall shows beyond processor time.
    away_us: f64,
}

fn main() {
    let mut args = std::env::args().filter(|arg| arg != "--bench").skip(1);
    let Some(keys) = args.next() else { return };
    let keys: usize = keys.parse().expect("usage: growth KEYS");
    disable_huge_pages();
    let first = load(keys);
    let mut least = first.clone();
    for _ in 1..REPETITIONS {
        for (least, again) in least.iter_mut().zip(load(keys)) {
            if again.growth_us < least.growth_us {
                *least = again;
            }
        }
    }
    println!("{keys} keys, {} turns; us of growth in a turn", first.len());
    report("first load", first);
    report("least of all loads", least);
}

fn report(what: &str, mut turns: Vec<Turn>) {
    turns.sort_by(|a, b| a.growth_us.total_cmp(&b.growth_us));
    let at = |part: f64| turns[((turns.len() - 1) as f64 * part) as usize].growth_us;
    let (p99, p999, max) = (at(0.99), at(0.999), at(1.0));
    let longest = turns.iter().map(|turn| turn.all_us).fold(0.0, f64::max);
    let away = turns.iter().map(|turn| turn.away_us).fold(0.0, f64::max);
    println!(
        "{what}: p99 {p99:.0}, p99.9 {p999:.0}, max {max:.0}; longest turn with all its SETs {longest:.0}, longest preemption {away:.0}"
    );
    for Turn { all_us, growth_us, growths, moved, faults, away_us } in turns.iter().rev().take(5) {
        println!(
            "  {growth_us:.0} of {all_us:.0} in {growths} growths, {moved} moved, {faults} faults, preempted for {away_us:.0}"
        );
    }
}

/// The turns of one load.
fn load(keys: usize) -> Vec<Turn> {
    let hasher = HashKey::new([1, 2]);
    let (mut db, mut graves) = (Keyspace::new(hasher), Graveyard::default());
    let (mut turns, mut turn, mut ran) = (Vec::new(), Turn::default(), 0);
    let (mut faults, mut cpu, mut wall) = (page_faults(), cpu_time(), Instant::now());
    for i in 0..keys {
        let key = format!("key:{i:012}");
        let hash: KeyHash = hasher.key(key.as_bytes());
        let began = Instant::now();
        db.set_string(key.as_bytes(), hash, &[b'v'; 32], Write::default(), Millis(0), &mut graves);
        let took = began.elapsed();
        let moved = db.take_moved();
        ran += 1 + moved / MOVED_PER_REQUEST;
        if moved > 0 {
            turn.growth_us += micros(took);
            turn.growths += 1;
            turn.moved += moved;
        }
        if ran >= LANE_REQUESTS_PER_TURN {
            turn.all_us = micros(cpu_time() - cpu);
            turn.away_us = (micros(wall.elapsed()) - turn.all_us).max(0.0);
            turn.growth_us = turn.growth_us.min(turn.all_us);
            turn.faults = page_faults() - faults;
            turns.push(std::mem::take(&mut turn));
            ran = 0;
            (faults, cpu, wall) = (page_faults(), cpu_time(), Instant::now());
        }
    }
    turns
}

fn micros(time: Duration) -> f64 {
    time.as_nanos() as f64 / 1000.0
}

fn disable_huge_pages() {
    // SAFETY: no pointers; the unused arguments are zero as the call demands.
    let refused = unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, 1, 0, 0, 0) };
    assert_eq!(refused, 0, "Linux has this since 3.15");
}

/// Processor time of this thread.
fn cpu_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel fills the record, which outlives the call.
    let refused = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    assert_eq!(refused, 0, "Linux has the clock");
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}

/// Pages that this thread touched for the first time.
fn page_faults() -> u64 {
    // SAFETY: the kernel fills the record, which outlives the call.
    unsafe {
        let mut usage = std::mem::zeroed::<libc::rusage>();
        libc::getrusage(libc::RUSAGE_THREAD, &raw mut usage);
        usage.ru_minflt.unsigned_abs()
    }
}
