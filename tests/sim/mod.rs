//! The simulator: shards as plain values under a seeded scheduler, and one shard as the oracle of many.
//!
//! ```text
//!  seed -> world.rs      steps: turns, pieces of requests, full rings, torn connections, jumping clocks
//!             |          client.rs session.rs      one connection, from the client's side
//!             |          workload.rs grammar.rs keys.rs     what is asked: any row of the table
//!             v
//!         log.rs         what was sent, answered, and run on which lane
//!             |
//!             v  judge.rs
//!         order.rs       one order of all requests (footprint.rs: what conflicts), or the cycle that forbids it
//!         oracle.rs      the same requests in that order on one shard: the same replies, the same keyspace (content.rs)
//!         guarantee.rs   KEYS, SCAN and RANDOMKEY, which have no place in an order
//!         waits.rs       who waits longest is served first
//! ```
//!
//! And: nobody waits for ever, every reply in its place, accounts equal a recount, the same seed gives the same bytes. `tamper.rs` plants
//! defects on the way to the clients, `shard/planted.rs` inside the shards, and the tests below show that each is found. `run.rs` says how a failing seed is seen again.

mod client;
mod content;
mod footprint;
mod frames;
mod grammar;
mod guarantee;
mod judge;
mod kept;
mod keys;
mod log;
mod oracle;
mod order;
mod run;
mod session;
mod tamper;
mod waits;
mod workload;
mod world;

use corelane::command::Table;
use corelane::shard::Planted;

use run::{must_pass, run};
use tamper::Tamper;
use world::Plan;

/// Most lanes of a run.
const LANES_MAX: u16 = 5;

const STEPS: u64 = 3000;

fn plan(seed: u64) -> Plan {
    let steps = number_from_env("CORELANE_SIM_STEPS").unwrap_or(STEPS);
    let lanes_max =
        number_from_env("CORELANE_SIM_LANES").and_then(|lanes| u16::try_from(lanes).ok()).unwrap_or(LANES_MAX);
    Plan { seed, steps, lanes_max, tamper: Tamper::Nothing, planted: None, tells: false }
}

fn number_from_env(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// New seeds with every commit, the same ones for everybody who tests it.
pub(crate) fn first_seed() -> u64 {
    let head =
        std::process::Command::new("git").args(["rev-parse", "HEAD"]).current_dir(env!("CARGO_MANIFEST_DIR")).output();
    let head = head.map(|output| output.stdout).unwrap_or_default();
    let digits = std::str::from_utf8(&head).unwrap_or_default().get(..8).unwrap_or_default();
    u64::from_str_radix(digits, 16).unwrap_or(0xC0DE)
}

#[test]
fn many_lanes_answer_as_one() {
    let seeds = number_from_env("CORELANE_SIM_SEEDS").unwrap_or(40);
    let first = number_from_env("CORELANE_SIM_FIRST").unwrap_or_else(first_seed);
    let (mut calls, mut placed, mut several, mut served, mut in_slices) = (0, 0, 0, 0, 0);
    for seed in first..first + seeds {
        let passed = must_pass(plan(seed));
        calls += passed.sum.calls;
        placed += passed.sum.placed;
        several += passed.sum.on_several_lanes;
        served += passed.sum.served;
        in_slices += passed.sum.in_slices;
    }
    println!(
        "{seeds} seeds from {first}, {} steps: {calls} requests, {placed} of them in one order, {several} over several lanes, {served} served after a wait, {in_slices} in slices: \
         no difference",
        seeds * plan(first).steps
    );
    assert!(in_slices > 0 || seeds < 10, "nothing was worked off in slices");
}

#[test]
fn one() {
    let Some(seed) = number_from_env("CORELANE_SIM_SEED") else { return };
    println!("{:?}", must_pass(plan(seed)));
}

#[test]
fn kept_seeds_pass() {
    for &(seed, steps, lanes_max, story) in kept::KEPT {
        println!("{story}");
        must_pass(Plan { steps, lanes_max, ..plan(seed) });
    }
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    for seed in first_seed()..first_seed() + 3 {
        assert_eq!(must_pass(plan(seed)), must_pass(plan(seed)), "seed {seed}");
    }
    assert_ne!(must_pass(plan(1)).digest, must_pass(plan(2)).digest);
}

#[test]
fn planted_defects_are_found() {
    let defects = [Tamper::SwapReplies, Tamper::ChangeReply, Tamper::LoseReply, Tamper::ForgetRun, Tamper::SwapRuns];
    for tamper in defects {
        let found = (0..20).find_map(|seed| run(Plan { tamper, ..plan(seed) }).err());
        println!("{tamper:?}: {}", found.as_deref().unwrap_or_default());
        assert!(found.is_some(), "{tamper:?} is not found");
    }
}

#[test]
fn defects_inside_the_shards_are_found() {
    for planted in [
        Planted::DropIntent,
        Planted::SwapAnswers,
        Planted::HalfTransaction,
        Planted::Overtake,
        Planted::LosePlace,
        Planted::ForgetKey,
        Planted::MoveThrough,
    ] {
        let found = (0..2000).find_map(|seed| run(Plan { planted: Some(planted), ..plan(seed) }).err());
        println!("{planted:?}: {}", found.as_deref().unwrap_or_default());
        assert!(found.is_some(), "{planted:?} is not found");
    }
}

#[test]
fn every_row_is_asked_for_or_left_out_for_a_reason() {
    let table = Table::new();
    for row in workload::candidates(&table) {
        assert_eq!(grammar::unknown_words(row), [""; 0], "{}: words of `{}` without a generator", row.name, row.syntax);
    }
    let names: Vec<&str> = table.all().map(|found| found.row.name).collect();
    let later = ["client|kill", "client|no-evict", "client|no-touch", "client|pause", "client|unpause"];
    for (name, _) in workload::LEFT_OUT.iter().filter(|(name, _)| !later.contains(name)) {
        assert!(names.contains(name), "{name} is left out and is no row");
    }
}
