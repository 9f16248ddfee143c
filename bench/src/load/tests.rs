//! Whole runs against servers in this process and from Debian.

use super::*;
use crate::floor;
use crate::server::{Server, free_port};
use crate::workload::definition::Command;

fn shape(rate: Option<f64>) -> LoadShape {
    LoadShape {
        threads: 2,
        cpus: Vec::new(),
        rate,
        arrivals: None,
        spin_us: 0,
        no_fill: false,
        toward: None,
        warm_up: None,
    }
}

/// The load against a floor in this process, whose thread ends with it.
fn against_floor(served: usize, depth: u32, rate: Option<f64>, value_bytes: usize) -> Result<Report, String> {
    let port = serve_floor(served);
    let workload = Workload { connections: 5, keys: 1000, value_bytes, seconds: 0.3, ..Workload::default() };
    let server = Some(Pid(std::process::id()));
    let plan =
        Plan { address: Address::local(port), workload, shape: shape(rate), depth, dialect: Dialect::Fixed, server };
    measure(&plan, &mut Live::silent("test"))
}

fn serve_floor(value_bytes: usize) -> u16 {
    let port = free_port().unwrap();
    let options = floor::Options { port, cpu: None, value_bytes, slower_percent: 0.0 };
    thread::Builder::new().spawn(move || floor::run(&options)).unwrap();
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        thread::yield_now();
    }
    port
}

/// A run against a server that is started for it.
fn against(server: &str, workload: Workload, depth: u32, rate: Option<f64>) -> Result<Report, String> {
    let server: Server = server.parse().unwrap();
    let running = server.start(Cpu(0)).unwrap();
    let workload = Workload { connections: 4, keys: 1000, seconds: 0.3, ..workload }.checked().unwrap();
    let address = running.address.clone();
    let plan =
        Plan { address, workload, shape: shape(rate), depth, dialect: server.dialect, server: Some(running.pid()) };
    measure(&plan, &mut Live::silent("test"))
}

#[test]
fn a_closed_loop_is_answered_and_accounted() {
    let report = against_floor(64, 7, None, 64).unwrap();
    assert_eq!(report.invalid, None);
    assert!(report.requests > 100 && report.requests_per_server_cpu_second.unwrap() > 0.0, "{report:?}");
    assert!(report.latency.p50_us > 0.0 && report.latency.p50_us <= report.latency.max_us, "{report:?}");
    assert!(report.course.seconds.len() >= 2 && report.course.p99_us.iter().any(|p99| *p99 > 0.0), "{report:?}");
}

/// Replies of many buffers each: receives cut anywhere, sends that do not fit the socket, buffers that run out.
#[test]
fn large_replies_arrive_whole() {
    let report = against_floor(300_000, 8, None, 300_000).unwrap();
    assert!(report.requests > 8 && report.invalid.is_none(), "{report:?}");
}

#[test]
fn an_open_loop_keeps_its_rate() {
    let report = against_floor(64, 16, Some(2000.0), 64).unwrap();
    assert!((300..1200).contains(&report.requests), "{report:?}");
    assert!(report.slip.is_some());
}

/// A floor answers several times as fast as one thread can ask. The two must have a core each for that to show, so it may take tries.
#[test]
fn a_generator_that_is_the_limit_is_found_out() {
    let port = serve_floor(64);
    let workload = Workload { connections: 5, keys: 1000, seconds: 0.3, ..Workload::default() };
    let shape = LoadShape { threads: 1, ..shape(Some(50e6)) };
    let address = Address::local(port);
    let plan = Plan { address, workload, shape, depth: 64, dialect: Dialect::Fixed, server: None };
    let mut tries = (0..10).map(|_| measure(&plan, &mut Live::silent("test")).unwrap());
    assert!(tries.any(|report| report.invalid.is_some_and(|why| why.contains("requests waited for room"))));
}

#[test]
fn a_wrong_answer_fails_the_run() {
    let why = against_floor(63, 1, None, 64).unwrap_err();
    assert!(why.contains("wrong reply") && why.contains("$63"), "{why}");
}

#[test]
fn every_dialect_is_spoken_to_a_real_server() {
    for server in ["redis", "redis-resp3", "redis-unix", "memcached", "memcached-meta", "memcached-binary"] {
        let words =
            ["GET {key}", "SET {key} {value} EX {ttl}", "MGET {keys:3}", "EXPIRE {key} {ttl}", "GETEX {key} EX {ttl}"];
        let replies = ["value", "+OK", "values", ":1", "value"];
        let command = words
            .iter()
            .zip(replies)
            .map(|(word, reply)| Command::of(1.0, reply, &word.split(' ').collect::<Vec<_>>()))
            .collect();
        let report = against(server, Workload { command, ..Workload::default() }, 4, None);
        let report = report.unwrap_or_else(|why| panic!("{server}: {why}"));
        assert!(report.requests > 100 && report.errors == 0, "{server}: {report:?}");
    }
}

#[test]
fn sizes_churn_and_missing_keys_are_followed() {
    let value = vec![
        crate::workload::sizes::SizeClass { weight: 1.0, bytes: 5, to: None },
        crate::workload::sizes::SizeClass { weight: 1.0, bytes: 10, to: Some(50_000) },
    ];
    for server in ["redis", "memcached", "memcached-meta", "memcached-binary"] {
        let command = vec![
            Command::of(2.0, "value?", &["GET", "{key}"]),
            Command::of(1.0, "+OK", &["SET", "{key}", "{value}"]),
            Command::of(1.0, "any", &["DEL", "{key}"]),
            Command::of(1.0, "values?", &["MGET", "{run:3}"]),
        ];
        // Binary misses of a DEL are errors of that protocol; there the keys stay.
        let command = if server == "memcached-binary" { command[..2].to_vec() } else { command };
        let workload =
            Workload { command, value: value.clone(), requests_per_connection: Some(50), ..Workload::default() };
        let report = against(server, workload, 3, Some(3000.0)).unwrap_or_else(|why| panic!("{server}: {why}"));
        assert!(report.requests > 300 && report.reconnects > 5, "{server}: {report:?}");
    }
}

#[test]
fn what_disturbs_is_done_and_named() {
    let disturbance = toml::from_str::<Workload>(
        r#"
        [[disturbance]]
        name = "stall"
        at = 0.1
        prepare = [{ request = ["SET", "p:{n}", "x", "PXAT", "{at_ms}"], times = 700 }]
        act = [{ request = ["DEBUG", "SLEEP", "0.05"] }]
        "#,
    );
    let workload = Workload { disturbance: disturbance.unwrap().disturbance, ..Workload::default() };
    let server = "r=redis-server --port {port} --bind 127.0.0.1 --save '' --enable-debug-command yes";
    let report = against(server, workload, 64, Some(2000.0)).unwrap();
    let [stall] = &report.disturbed[..] else { panic!("{report:?}") };
    assert!((0.05..0.2).contains(&stall.lasted_seconds) && stall.max_us >= 45_000.0, "{stall:?}");
    assert!(report.latency.max_us >= 45_000.0, "{report:?}");
}

#[test]
fn shares_cover_everything_once() {
    for parts in 1..7 {
        let shares: Vec<_> = (0..parts).map(|index| share(50, index, parts)).collect();
        assert_eq!((shares[0].start, shares[shares.len() - 1].end), (0, 50));
        assert!(shares.windows(2).all(|pair| pair[0].end == pair[1].start));
    }
    assert_eq!(share(u32::MAX, 2, 3).end, u32::MAX as usize);
}
