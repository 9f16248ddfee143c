//! Unmodified client libraries, each running a functional script of its own against a server of its own.
//!
//! `install` puts them below target/clients at the committed versions; tests/run does so before the tests, and a test that
//! finds them missing does it itself.

mod redis_rs;

use crate::support::Server;
use std::path::{Path, PathBuf};
use std::process::Command;

#[test]
fn ioredis() {
    let home = installed();
    run(Command::new("node").arg(script("ioredis.js")).env("NODE_PATH", home.join("node/node_modules")));
}

#[test]
fn node_redis() {
    let home = installed();
    run(Command::new("node").arg(script("node_redis.js")).env("NODE_PATH", home.join("node/node_modules")));
}

#[test]
fn redis_py() {
    let home = installed();
    run(Command::new(home.join("python/bin/python3")).arg(script("redis_py.py")));
}

/// Runs a script with the port of a fresh server as its last argument; it says itself what went wrong.
#[track_caller]
fn run(command: &mut Command) {
    let server = Server::start(&[]);
    let output = command.arg(server.port.to_string()).output().expect("the interpreter runs");
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{command:?}\n{}\n{}", said(&output.stdout), said(&output.stderr));
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
