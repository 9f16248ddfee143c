//! Long work goes in slices: nothing holds the lane, and the others are served between the steps.

use super::{Driver, request};

const KEYS: usize = 20_000;

fn filled() -> (Driver, corelane::shard::ConnId) {
    let mut driver = Driver::new();
    let conn = driver.connect();
    for i in 0..KEYS {
        assert_eq!(driver.call(conn, &["SET", &format!("key:{i}"), "v"]), b"+OK\r\n");
    }
    (driver, conn)
}

#[test]
fn keys_takes_many_turns_while_others_are_served() {
    let (mut driver, slow) = filled();
    let quick = driver.connect();
    driver.shard.feed(slow, &[request(&["KEYS", "*"]), request(&["PING"])].concat());
    let mut turns = 0;
    while driver.shard.has_backlog() {
        driver.turn();
        assert_eq!(driver.call_now(quick, &["GET", "key:7"]), b"$1\r\nv\r\n");
        turns += 1;
    }
    assert!(turns > 10, "{turns} turns for {KEYS} keys");
    let reply = driver.replies(slow);
    let text = String::from_utf8(reply).expect("names are text");
    assert!(text.starts_with(&format!("*{KEYS}\r\n")), "{}", &text[..20]);
    assert!(text.ends_with("+PONG\r\n"), "what follows KEYS runs after it");
    let mut names: Vec<&str> = text.lines().filter(|line| line.starts_with("key:")).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), KEYS);
}

#[test]
fn keys_under_way_ends_with_its_connection() {
    let (mut driver, slow) = filled();
    driver.shard.feed(slow, &request(&["KEYS", "*"]));
    assert!(driver.shard.has_backlog());
    driver.shard.closed(slow);
    driver.turn();
    assert!(!driver.shard.has_backlog());
}

#[test]
fn an_unwanted_reply_of_keys_is_left_out() {
    let (mut driver, slow) = filled();
    driver
        .shard
        .feed(slow, &[request(&["CLIENT", "REPLY", "SKIP"]), request(&["KEYS", "*"]), request(&["PING"])].concat());
    while driver.shard.has_backlog() {
        driver.turn();
    }
    assert_eq!(driver.replies(slow), b"+PONG\r\n");
}

#[test]
fn flushall_empties_at_once_and_frees_in_slices() {
    let (mut driver, conn) = filled();
    assert_eq!(driver.call(conn, &["FLUSHALL"]), b"+OK\r\n");
    assert_eq!(driver.call(conn, &["DBSIZE"]), b":0\r\n");
    let mut turns = 0;
    while String::from_utf8_lossy(&driver.call(conn, &["INFO", "memory"])).contains("lazyfree_pending_objects:1") {
        driver.turn();
        turns += 1;
        assert!(turns < 10_000, "freeing comes to an end");
    }
    assert!(turns > 10, "{turns} turns for {KEYS} keys");
}

#[test]
fn a_flood_is_served_in_shares() {
    let mut driver = Driver::new();
    let (flood, quick) = (driver.connect(), driver.connect());
    let bytes = request(&["PING"]).repeat(10_000);
    driver.shard.feed(flood, &bytes);
    assert!(driver.shard.has_backlog(), "the quota of a turn is smaller than the flood");
    assert_eq!(driver.call_now(quick, &["PING"]), b"+PONG\r\n");
    while driver.shard.has_backlog() {
        driver.turn();
    }
    assert_eq!(driver.replies(flood).len(), 10_000 * b"+PONG\r\n".len());
}

/// A request of many keys takes the place of many requests in its turn.
#[test]
fn a_flood_of_requests_with_many_keys_is_served_in_shares() {
    let (mut driver, flood) = filled();
    let names: Vec<String> = (0..200).map(|i| format!("key:{i}")).collect();
    let words: Vec<&str> = std::iter::once("MGET").chain(names.iter().map(String::as_str)).collect();
    driver.shard.feed(flood, &request(&words).repeat(100));
    let mut turns = 1;
    while driver.shard.has_backlog() {
        driver.turn();
        turns += 1;
    }
    assert!(turns > 10, "{turns} turns for 20,000 keys");
    assert_eq!(driver.replies(flood).len(), 100 * (b"*200\r\n".len() + 200 * b"$1\r\nv\r\n".len()));
}

impl Driver {
    /// Runs one request within this turn, whatever else waits.
    fn call_now(&mut self, conn: corelane::shard::ConnId, words: &[&str]) -> Vec<u8> {
        self.shard.feed(conn, &request(words));
        let output = self.shard.take_output(conn, Default::default());
        self.shard.in_flight(conn, 0);
        output.to_vec()
    }
}
