//! A load recorded by either way and played again against real servers.

use std::io::BufReader;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::thread;
use std::time::Duration;

use super::file::{Seen, read};
use super::replay::Replay;
use super::{monitor, proxy};
use crate::cpu::Cpu;
use crate::load::address::Address;
use crate::load::client::Client;
use crate::load::live::Live;
use crate::server::{Running, Server};
use crate::wire::Dialect;

const TIME: Duration = Duration::from_millis(700);
const REQUESTS: usize = 40;

/// Redis on a port and on a unix socket.
const SERVERS: [&str; 2] = ["redis", "redis-unix"];

fn start(server: &str) -> Running {
    server.parse::<Server>().unwrap().start(Cpu(0)).unwrap()
}

/// Two clients that count up a key each, some milliseconds apart.
fn clients(at: &Address) {
    let mut all = ["one", "two"].map(|key| (key, Client::over(at.connect().unwrap())));
    for number in 0..REQUESTS {
        let (key, client) = &mut all[number % 2];
        client.call(&["INCR", key]).unwrap();
        crate::clock::sleep(Duration::from_millis(5));
    }
}

fn recorded(file: &Path) -> Vec<Seen> {
    read(&mut BufReader::new(std::fs::File::open(file).unwrap())).unwrap().1
}

/// Plays it twice as fast against a fresh server, and looks whether all of it arrived, in time.
fn replayed(seen: Vec<Seen>) {
    let span = seen.last().unwrap().at_ns;
    let (running, replay) = (start("redis"), Replay::new(seen, 2.0).unwrap());
    let plan = replay.plan(running.address.clone(), Dialect::Redis, 1, &[]);
    assert!((plan.workload.seconds - span as f64 / 2e9) < 0.3, "half as long, and a little: {}", plan.workload.seconds);
    let report = crate::load::replay(&plan, &replay, &mut Live::silent("test")).unwrap();
    assert!(report.requests >= REQUESTS as u64 && report.errors == 0, "{report:?}");
    let mut client = Client::over(running.address.connect().unwrap());
    for key in ["one", "two"] {
        assert_eq!(client.call(&["GET", key]).unwrap().text(), Some((REQUESTS / 2).to_string().as_str()));
    }
}

#[test]
fn a_load_is_recorded_by_proxy_and_played_again() {
    for server in SERVERS {
        let (running, folder) = (start(server), tempfile());
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let front = Address::local(listener.local_addr().unwrap().port());
        let (behind, file) = (running.address.clone(), folder.join("proxy"));
        let summary = thread::scope(|scope| {
            let recording = scope.spawn(|| proxy::record(listener, behind, Dialect::Redis, &file, TIME).unwrap());
            clients(&front);
            recording.join().unwrap()
        });
        assert_eq!((summary.requests, summary.connections, summary.lost), (REQUESTS as u64, 2, 0), "{server}");
        let seen = recorded(&file);
        assert!(seen[REQUESTS - 1].at_ns > 5_000_000 * (REQUESTS as u64 - 1), "{:?}", seen[REQUESTS - 1]);
        replayed(seen);
    }
}

#[test]
fn a_load_is_recorded_from_monitor_and_played_again() {
    for server in SERVERS {
        let (running, folder) = (start(server), tempfile());
        let file = folder.join("monitor");
        let summary = thread::scope(|scope| {
            let recording = scope.spawn(|| monitor::record(&running.address, &file, TIME).unwrap());
            crate::clock::sleep(Duration::from_millis(100));
            clients(&running.address);
            recording.join().unwrap()
        });
        // MONITOR names all clients of a unix socket alike.
        let connections = if server == "redis" { 2 } else { 1 };
        assert_eq!((summary.requests, summary.connections), (REQUESTS as u64, connections), "{server}");
        replayed(recorded(&file));
    }
}

/// A folder of this test's own below the build's.
fn tempfile() -> std::path::PathBuf {
    let name = thread::current().name().unwrap_or("test").replace(':', "-");
    let folder = std::env::temp_dir().join(format!("corelane-bench-{}-{name}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}
