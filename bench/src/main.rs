//! `corelane-bench`: measures stores of the Redis and Memcached protocols, ours and others alike.
//!
//! | file | what it holds |
//! |---|---|
//! | `ring` | io_uring for sockets, the only unsafe file |
//! | `floor` | a server with a fixed reply: the ceiling |
//! | `workload`, `keys`, `verify`, `schedule` | what is asked, of which keys, what must come back, when (pure) |
//! | `lane`, `load` | a thread of the load; one run of it |
//! | `server`, `compare`, `statistics`, `expect` | servers started in turn; rounds; medians and spreads; goals |
//! | `record`, `machine`, `index` | what is kept in results/ |
//! | `clock`, `cpu` | time, pinning, /proc |
//!
//! It does not depend on the server: a bug there cannot agree with the same bug here.

mod clock;
mod compare;
mod cpu;
mod expect;
mod floor;
mod index;
mod keys;
mod lane;
mod load;
mod machine;
mod record;
mod ring;
mod schedule;
mod server;
mod statistics;
mod verify;
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
    /// Make results/index.md from the records.
    Index(index::Options),
    /// Serve a fixed reply as fast as this machine can.
    Floor(floor::Options),
}

fn main() -> ExitCode {
    let result = match Command::parse() {
        Command::Load(options) => load::run(&options),
        Command::Compare(options) => compare::run(&options),
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
