//! How busy lanes are, and `corelane top`, which shows it.

use crate::support::server::{info_field, run_program};
use crate::support::{Client, Server, Target, Value, eventually};

/// A number of a lane's line in INFO.
fn of_lane(client: &mut Client, lane: &str, part: &str) -> f64 {
    let line = info_field(client, lane);
    let mut pairs = line.split(',').filter_map(|pair| pair.split_once('='));
    let value = pairs.find(|(name, _)| *name == part).expect("a part of the line").1;
    value.parse().expect("a number")
}

/// The thread has its core all the time, yet does nothing: what looks for work is not busy.
#[test]
fn a_lane_that_polls_is_not_busy() {
    if Target::from_env() == Target::Redis {
        return;
    }
    let server = Server::start(&["--poll-us", "100000"]);
    let mut client = server.client();
    let polls = eventually(|| {
        of_lane(&mut client, "lane0", "polled_us") > 500_000.0
            && of_lane(&mut client, "lane0", "polling_percent") > 3.0 * of_lane(&mut client, "lane0", "busy_percent")
    });
    assert!(polls, "{}", info_field(&mut client, "lane0"));
    let (busy, polled) = (of_lane(&mut client, "lane0", "busy_us"), of_lane(&mut client, "lane0", "polled_us"));
    assert!(busy * 3.0 < polled, "busy for {busy} us, looking for work for {polled} us");
}

#[test]
fn a_lane_that_works_is_busy() {
    if Target::from_env() == Target::Redis {
        return;
    }
    let server = Server::start(&["--poll-us", "0"]);
    let mut client = server.client();
    let before = of_lane(&mut client, "lane0", "busy_us");
    for _ in 0..200 {
        for _ in 0..100 {
            client.send(&["SET", "key", "value"]);
        }
        (0..100).for_each(|_| assert_eq!(client.read(), Value::ok()));
    }
    let after = of_lane(&mut client, "lane0", "busy_us");
    // A request cannot take less than a tenth of a microsecond, and these were twenty thousand.
    assert!(after - before > 2000.0, "{before} {after}");
    assert_eq!(of_lane(&mut client, "lane0", "polled_us"), 0.0);
}

#[test]
fn top_shows_lanes_stages_and_commands() {
    if Target::from_env() == Target::Redis {
        return;
    }
    let server = Server::start(&["--lanes", "2", "--requirepass", "secret"]);
    let mut client = server.client();
    assert_eq!(client.words("AUTH secret"), Value::ok());
    for i in 0..1000 {
        assert_eq!(client.call(&["SET", &format!("key{i}"), "value"]), Value::ok());
    }
    let port = server.port.to_string();
    let top = |args: &[&str]| run_program(Target::program(), &[&["top", "-p", &port], args].concat());
    let pages = top(&["-a", "secret", "--count", "2", "--interval", "0.1"]);
    assert_eq!(pages.code, Some(0), "{}", pages.output);
    for wanted in ["corelane ", "lane  busy", "\n   0  ", "\n   1  ", "us, mean ", "\nstring ", "\nset ", "1,000 keys"]
    {
        assert!(pages.output.contains(wanted), "{wanted:?} is missing in:\n{}", pages.output);
    }
    assert_eq!(pages.output.matches("lane  busy").count(), 2);
    let refused = top(&["--count", "1"]);
    assert!(refused.code == Some(1) && refused.output.contains("NOAUTH"), "{}", refused.output);
    let nobody = run_program(Target::program(), &["top", "-p", "1", "--count", "1"]);
    assert!(nobody.code == Some(1) && nobody.output.contains("127.0.0.1:1: "), "{}", nobody.output);
    assert!(top(&["--nosuch", "1"]).output.contains("usage: corelane top"));
}
