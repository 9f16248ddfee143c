//! Unmodified client libraries, each running a functional script of its own against servers of its own: with one lane, so that all is
//! local, and with several; those that know clusters against the lanes' own ports too, each lane being a node.
//!
//! `install` puts them below target/clients at the committed versions; tests/run does so before the tests, and a test that
//! finds them missing does it itself.

mod redis_cli;
mod redis_rs;

use crate::support::Server;
use crate::support::server::consecutive_free_ports;
use std::path::{Path, PathBuf};
use std::process::Command;

/// How many lanes the servers have. More than there are processors share them.
const LANES: [&str; 3] = ["1", "2", "3"];
const EXAMPLE_LANES: [&str; 2] = ["1", "3"];
/// Of servers that are asked as a cluster.
const NODES: [u16; 2] = [2, 3];

#[test]
fn ioredis() {
    run(|| node("ioredis.js"));
}

/// Short programs that people write on top of a store: `tests/clients/examples/`.
#[test]
fn examples() {
    for name in ["leaderboard.js", "sessions.js", "counter.js", "jobs.js"] {
        for lanes in EXAMPLE_LANES {
            let server = Server::start(&["--lanes", lanes]);
            succeed(node(&format!("examples/{name}")).arg(server.port.to_string()), lanes);
        }
    }
}

#[test]
fn node_redis() {
    run(|| node("node_redis.js"));
}

#[test]
fn redis_py() {
    run(|| python("redis_py.py"));
}

#[test]
fn ioredis_cluster() {
    run_on_nodes(|| node("ioredis_cluster.js"));
}

#[test]
fn redis_py_cluster() {
    run_on_nodes(|| python("redis_py_cluster.py"));
}

fn node(name: &str) -> Command {
    let mut command = Command::new("node");
    command.arg(script(name)).env("NODE_PATH", installed().join("node/node_modules"));
    command
}

fn python(name: &str) -> Command {
    let mut command = Command::new(installed().join("python/bin/python3"));
    command.arg(script(name));
    command
}

/// Runs a script with the port of a fresh server as its last argument; it says itself what went wrong.
#[track_caller]
fn run(command: impl Fn() -> Command) {
    for lanes in LANES {
        let server = Server::start(&["--lanes", lanes]);
        succeed(command().arg(server.port.to_string()), lanes);
    }
}

/// The same with the first shard port and how many there are.
#[track_caller]
fn run_on_nodes(command: impl Fn() -> Command) {
    for nodes in NODES {
        let (_server, first) = nodes_of(nodes, &[]);
        succeed(command().args([first.to_string(), nodes.to_string()]), &nodes.to_string());
    }
}

/// A server whose lanes are nodes, and the port of the first.
fn nodes_of(nodes: u16, flags: &[&str]) -> (Server, u16) {
    let first = consecutive_free_ports(nodes);
    let (lanes, port) = (nodes.to_string(), first.to_string());
    let flags = [&["--lanes", &lanes, "--shard-port", &port], flags].concat();
    (Server::start(&flags), first)
}

#[track_caller]
fn succeed(command: &mut Command, lanes: &str) {
    let output = command.output().expect("the interpreter runs");
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{lanes} lanes: {command:?}\n{}\n{}", said(&output.stdout), said(&output.stderr));
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(name)
}

fn installed() -> PathBuf {
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("clients");
    let status = Command::new(script("install")).arg(&home).status().expect("the installer runs");
    assert!(status.success(), "tests/clients/install {}", home.display());
    home
}
