//! Bytes from outside, made up: requests in any pieces, command lines, configuration files, inline lines; and sequences of operations on types.
//!
//! ```text
//!  fuzz/seeds/<kind>/*  -> corpus -> mutate.rs -> targets.rs, structures/, journal.rs -> a panic, shown with its input
//!                            ^                        |
//!                            `--- what answers with a new number is kept
//! ```
//!
//! In the test command each target has some thousand inputs, seeded by the commit. Longer, an hour for each target:
//!
//! ```text
//!  CORELANE_FUZZ_SECONDS=3600 cargo nextest run --test tests fuzz::          as here
//!  cd fuzz && cargo +nightly fuzz run connection corpus/connection seeds/requests      guided by coverage, with cargo-fuzz
//! ```

mod directory;
mod journal;
mod mutate;
mod structures;
mod targets;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use corelane::base::rng::Rng;
use std::collections::HashSet;

/// Kept beside the seeds.
const CORPUS_MAX: usize = 4000;

fn seeds(kind: &str) -> Vec<Vec<u8>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(kind);
    let mut paths: Vec<_> =
        std::fs::read_dir(&dir).expect("seeds").map(|entry| entry.expect("a seed").path()).collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).expect("a seed")).collect()
}

fn fuzz(kind: &str, runs: u64, target: fn(&[u8]) -> u64) {
    let seconds = std::env::var("CORELANE_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok());
    let until = seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let mut rng = Rng::new(crate::sim::first_seed());
    let mut corpus = seeds(kind);
    assert!(corpus.len() > 3);
    let mut seen: HashSet<u64> = corpus.iter().map(|input| run(target, input)).collect();
    let mut count = 0;
    while until.map_or(count < runs, |until| Instant::now() < until) {
        let input = mutate::mutated(&corpus, &mut rng);
        if seen.insert(run(target, &input)) && corpus.len() < CORPUS_MAX && input.len() < 20_000 {
            corpus.push(input);
        }
        count += 1;
    }
    println!("{kind}: {count} inputs, {} outcomes, {} kept", seen.len(), corpus.len());
    assert!(seen.len() > 20, "the inputs reach something: {} outcomes", seen.len());
}

fn run(target: fn(&[u8]) -> u64, input: &[u8]) -> u64 {
    match catch_unwind(AssertUnwindSafe(|| target(input))) {
        Ok(outcome) => outcome,
        Err(_) => panic!("this input, of {} bytes: \"{}\"", input.len(), input.escape_ascii()),
    }
}

#[test]
fn requests() {
    fuzz("requests", 20_000, targets::requests);
}

#[test]
fn connection() {
    fuzz("requests", 6_000, targets::connection);
}

#[test]
fn config() {
    fuzz("config", 10_000, targets::config);
}

#[test]
fn acl() {
    fuzz("acl", 3_000, targets::acl);
}

#[test]
fn flags() {
    fuzz("flags", 10_000, targets::flags);
}

#[test]
fn hashes() {
    fuzz("hashes", 1_000, structures::hashes);
}

#[test]
fn lists() {
    fuzz("lists", 1_000, structures::lists);
}

#[test]
fn zsets() {
    fuzz("zsets", 1_000, structures::zsets);
}

#[test]
fn sets() {
    fuzz("sets", 3_000, structures::sets);
}

#[test]
fn inline() {
    fuzz("inline", 10_000, targets::inline);
}

#[test]
fn manifest() {
    fuzz("manifest", 10_000, journal::manifest);
}

#[test]
fn journal() {
    fuzz("journal", 3_000, journal::journal);
}
