//! Instruction counts of the shard's GET and SET under callgrind. Unlike times they repeat exactly, so that a budget can be
//! committed: what costs more must say so by raising it here.
//!
//! The budget covers everything between received bytes and reply bytes: parse, lookup, hash, prefetch, admit, execute, reply.
//! The count is the difference of two runs, so that start-up is not in it.

use std::path::PathBuf;
use std::process::Command;

/// Instructions per request: workload, requests in one receive, budget. Of what a feed costs beside its requests some 140 are the price of
/// several lanes: a caller that could travel, a tail of replies that could be owed, and the question whether anything stands in the way. Some 60 are what it
/// takes to ask, at four places of a receive and its send, whether a request is followed (`shard/probe.rs`), and to follow one in 256.
/// Some 30 of a receive are the questions whether there is a journal. Some 20 of a SET are what a snapshot takes: the question whether there is one, and the
/// epoch of what is written, and some 10 the question why what it comes upon may be gone, which of hashes has two answers. Some 40 of a turn are the questions whether
/// the journal is rewritten and whether waiters were put off, 15 of a request are spread over the loop that runs it.
/// Since users have rights 6 of a GET and 10 of a SET are more, none of them at the question itself (`admit.rs` takes what it took): callgrind shows them
/// in the parser, which is inlined into the same loop, as registers that are spilt. What a user costs who may some things is not held here: a GET
/// at depth 16 took 2,167 with three key patterns (`user-get`).
/// What is far runs on two lanes: the request is packed, looked at ahead, run and answered there, and its reply put in its place here.
const BUDGETS: &[(&str, u32, u64)] = &[
    ("get", 1, 2450),
    ("get", 16, 1380),
    ("set", 1, 2755),
    ("set", 16, 1690),
    ("far-get", 1, 5190),
    ("far-get", 16, 2690),
    ("far-set", 16, 2985),
];

/// Requests beyond those of the shorter run.
const REQUESTS: u64 = 16_000;

#[test]
fn get_and_set_stay_within_their_budget() {
    if Command::new("valgrind").arg("--version").output().is_err() {
        // tests/run installs it; a bare `cargo test` on a machine without it still tests the rest.
        eprintln!("skipped: no valgrind");
        return;
    }
    let program = build();
    let mut over = Vec::new();
    for (workload, depth, budget) in BUDGETS {
        let count = |requests: u64| instructions(&program, workload, *depth, requests);
        let each = (count(2 * REQUESTS) - count(REQUESTS)) / REQUESTS;
        println!("{workload} depth {depth}: {each} instructions (budget {budget})");
        assert!(each > 50, "{workload}: {each} instructions cannot be a request");
        if each > *budget {
            over.push(format!("{workload} at depth {depth}: {each} instructions, budget {budget}"));
        }
    }
    assert_eq!(over, Vec::<String>::new());
}

/// The release build of `bench/instructions.rs`, which drives a shard without anything else.
fn build() -> PathBuf {
    let output = Command::new(env!("CARGO"))
        .args(["bench", "--quiet", "--no-run", "--bench", "instructions", "--message-format=json"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let line =
        text.lines().rfind(|line| line.contains("\"name\":\"instructions\"") && line.contains("\"executable\":\""));
    let path = line.and_then(|line| line.split("\"executable\":\"").nth(1)).and_then(|rest| rest.split('"').next());
    PathBuf::from(path.unwrap_or_else(|| panic!("no executable: {}", String::from_utf8_lossy(&output.stderr))))
}

fn instructions(program: &PathBuf, workload: &str, depth: u32, requests: u64) -> u64 {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(program)
        .args([workload, &depth.to_string(), &requests.to_string()])
        .output()
        .expect("valgrind runs");
    let text = String::from_utf8_lossy(&output.stderr);
    let collected = text.lines().find_map(|line| line.split("Collected : ").nth(1));
    collected.and_then(|count| count.trim().parse().ok()).unwrap_or_else(|| panic!("no count in: {text}"))
}
