//! `corelane-bench`: measures stores of the Redis and Memcached protocols, ours and others alike.
//!
//! | file | what it holds |
//! |---|---|
//! | `workload/`, `wire/` | what is asked, of which keys, in which protocol, and what must come back (pure) |
//! | `schedule` | when it is asked, and whether the generator kept to that (pure) |
//! | `ring` | io_uring for sockets, the only unsafe file |
//! | `load/` | one run: its threads, warm-up, window, sampling, report, live view |
//! | `noise`, `cpu`, `machine`, `clock` | what the machine did meanwhile; time, pinning, /proc |
//! | `server`, `compare`, `summary`, `goal` | servers started in turn; rounds; what they say; goals |
//! | `all`, `search` | every workload on every server; the highest rate that keeps a goal |
//! | `statistics/` | medians, the signed-rank test and its interval, Wilson's (pure) |
//! | `record`, `index`, `output/` | what is kept in results/; CSV, HdrHistogram logs, pages with plots |
//! | `capture/` | recording a real load and playing it again |
//! | `check/` | the harness itself, measured against a toy server that knows what it did |
//! | `floor` | a server with a fixed reply: the ceiling |
//!
//! It does not depend on the server: a bug there cannot agree with the same bug here.

mod all;
mod capture;
mod check;
mod clock;
mod compare;
mod cpu;
mod floor;
mod goal;
mod index;
mod load;
mod machine;
mod noise;
mod output;
mod record;
mod ring;
mod schedule;
mod search;
mod server;
mod statistics;
mod summary;
mod wire;
mod workload;

use std::process::ExitCode;

use clap::Parser;

#[derive(Parser, Debug)]
#[command(version, about)]
enum Command {
    /// Drive a server and report requests per second, per server CPU second, and latency.
    Load(load::Options),
    /// Run several servers in turn, in rounds, and report medians, spreads and ratios.
    Compare(compare::Options),
    /// Run every ready workload on every server that is there, and remake the results.
    All(all::Options),
    /// Find the highest rate that keeps a latency goal, and say how sure that is.
    Search(search::Options),
    /// Keep the load of a running server, by a proxy in front of it or from its MONITOR.
    Record(capture::record::Options),
    /// Play a recorded load, open loop.
    Replay(capture::replay::Options),
    /// Measure this tool against a toy server that logs its own delays and stalls.
    Check(check::Options),
    /// Make results/index.md from the records.
    Index(index::Options),
    /// Serve a fixed reply as fast as this machine can.
    Floor(floor::Options),
}

fn main() -> ExitCode {
    let result = match Command::parse() {
        Command::Load(options) => load::run(&options),
        Command::Compare(options) => compare::run(&options),
        Command::All(options) => all::run(&options),
        Command::Search(options) => search::run(&options),
        Command::Record(options) => capture::record::run(&options),
        Command::Replay(options) => capture::replay::run(&options),
        Command::Check(options) => check::run(&options),
        Command::Index(options) => index::run(&options),
        Command::Floor(options) => floor::run(&options).map_err(|error| error.to_string()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("corelane-bench: {why}");
            ExitCode::FAILURE
        }
    }
}
