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

/// Members of some kilobytes are copied into the reply: fewer of them to a step.
#[test]
fn long_members_are_answered_in_shorter_steps() {
    let mut driver = Driver::new();
    let conn = driver.connect();
    for i in 0..300 {
        let member = format!("m{i:03}{}", "x".repeat(15_000));
        assert_eq!(driver.call(conn, &["SADD", "s", &member]), b":1\r\n");
    }
    driver.shard.feed(conn, &request(&["SMEMBERS", "s"]));
    let mut turns = 1;
    while driver.shard.has_backlog() {
        driver.turn();
        turns += 1;
    }
    assert_eq!(driver.replies(conn).iter().filter(|byte| **byte == b'm').count(), 300);
    assert!(turns > 15, "{turns} turns for 4.5 MB");
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

/// Words of a request on keys `many:0` and so on, each with what belongs to it.
fn many(command: &str, keys: usize, value: Option<&str>) -> Vec<String> {
    let pair = |i| std::iter::once(format!("many:{i}")).chain(value.map(String::from));
    std::iter::once(command.to_owned()).chain((0..keys).flat_map(pair)).collect()
}

/// What is said of 20,000 keys is what one turn would have said, be the connection's next request right behind it.
#[test]
fn requests_of_very_many_keys_take_many_turns() {
    let mut driver = Driver::new();
    let conn = driver.connect();
    let absent = format!("*{}\r\n{}$-1\r\n", KEYS + 2, "$1\r\nv\r\n".repeat(KEYS + 1));
    let asked = |command, value| {
        let mut words = many(command, KEYS, value);
        // A key once more, and, where none is set, one that is not there.
        words.extend(["many:7"].into_iter().chain(value.or(Some("absent"))).map(String::from));
        words
    };
    for (command, value, said) in [
        ("MSET", Some("v"), "+OK\r\n"),
        ("MGET", None, absent.as_str()),
        ("EXISTS", None, ":20001\r\n"),
        ("TOUCH", None, ":20001\r\n"),
        ("DEL", None, ":20000\r\n"),
        ("UNLINK", None, ":0\r\n"),
    ] {
        driver.shard.feed(conn, &[request(&asked(command, value)), request(&["PING"])].concat());
        let mut turns = 0;
        while driver.shard.has_backlog() {
            driver.turn();
            turns += 1;
        }
        assert!(turns >= 2 * KEYS / 512, "{command}: {turns} turns");
        let reply = String::from_utf8(driver.replies(conn)).expect("text");
        assert!(reply == format!("{said}+PONG\r\n"), "{command}: {} bytes", reply.len());
        assert!(driver.shard.is_quiet(), "{command} holds nothing any more");
    }
    let mut odd = many("MSET", KEYS, Some("v"));
    odd.pop();
    assert_eq!(driver.call(conn, &odd), b"-ERR wrong number of arguments for 'mset' command\r\n");
    assert_eq!(driver.call(conn, &["DBSIZE"]), b":0\r\n");
}

/// Others are served meanwhile, but nobody sees half of it.
#[test]
fn requests_of_very_many_keys_are_of_one_moment() {
    let mut driver = Driver::new();
    let [slow, quick, counts, third] = std::array::from_fn(|_| driver.connect());
    assert_eq!(driver.call(quick, &["MSET", "many:0", "old", "many:19999", "old", "other", "1"]), b"+OK\r\n");
    driver.shard.feed(slow, &request(&many("MSET", KEYS, Some("new"))));
    let (mut served, mut turns) = (0, 0);
    // Its keys are noted, some of its slices have run.
    for _ in 0..60 {
        driver.shard.feed(quick, &request(&["INCR", "other"]));
        driver.turn();
        turns += 1;
        served += usize::from(driver.replies(quick).starts_with(b":"));
    }
    assert_eq!(served, turns, "who wants another key never waits");
    assert!(driver.shard.has_backlog(), "60 turns are not enough");
    let waits = request(&["MGET", "many:0", "many:19999"]);
    driver.shard.feed(quick, &waits);
    driver.shard.feed(counts, &request(&["DBSIZE"]));
    driver.shard.feed(third, &request(&["INCR", "other"]));
    driver.turn();
    assert_eq!(
        (driver.replies(quick), driver.replies(counts)),
        (Vec::new(), Vec::new()),
        "half of it is nobody's to see"
    );
    assert_eq!(driver.replies(third), b":62\r\n", "nor do those who wait keep others from theirs");
    while driver.shard.has_backlog() {
        driver.turn();
    }
    assert_eq!(driver.replies(quick), b"*2\r\n$3\r\nnew\r\n$3\r\nnew\r\n");
    assert_eq!(driver.replies(counts), format!(":{}\r\n", KEYS + 1).as_bytes());
    assert_eq!(driver.replies(slow), b"+OK\r\n");
    assert!(driver.shard.is_quiet());
}

/// What began goes on without its connection, and holds nothing at the end.
#[test]
fn a_request_of_very_many_keys_outlives_its_connection() {
    let mut driver = Driver::new();
    let (slow, quick) = (driver.connect(), driver.connect());
    driver.shard.feed(slow, &request(&many("MSET", KEYS, Some("v"))));
    (0..50).for_each(|_| driver.turn());
    driver.shard.closed(slow);
    while driver.shard.has_backlog() {
        driver.turn();
    }
    assert!(driver.shard.is_quiet());
    assert_eq!(driver.call(quick, &["DBSIZE"]), format!(":{KEYS}\r\n").as_bytes());
}

#[test]
fn an_unwanted_reply_of_very_many_keys_is_left_out() {
    let mut driver = Driver::new();
    let conn = driver.connect();
    let words = many("MGET", KEYS, None);
    driver.shard.feed(conn, &[request(&["CLIENT", "REPLY", "SKIP"]), request(&words), request(&["PING"])].concat());
    while driver.shard.has_backlog() {
        driver.turn();
    }
    assert_eq!(driver.replies(conn), b"+PONG\r\n");
}

/// Looked at in slices, then set in slices, or not at all.
#[test]
fn a_conditional_set_of_very_many_keys_takes_many_turns_and_is_all_or_nothing() {
    let mut driver = Driver::new();
    let (conn, quick) = (driver.connect(), driver.connect());
    let words = many("MSETNX", KEYS, Some("v"));
    driver.shard.feed(conn, &request(&words));
    let turns = driver.turns_beside(quick);
    assert!(turns >= 3 * KEYS / 512, "{turns} turns");
    assert_eq!(driver.replies(conn), b":1\r\n");
    assert_eq!(driver.call(conn, &["DBSIZE"]), format!(":{KEYS}\r\n").as_bytes());
    let removed = many("DEL", KEYS - 1, None);
    assert_eq!(driver.call(conn, &removed), format!(":{}\r\n", KEYS - 1).as_bytes());
    assert_eq!(driver.call(conn, &words), b":0\r\n", "the last of them is there");
    assert_eq!(driver.call(conn, &["DBSIZE"]), b":1\r\n");
    assert!(driver.shard.is_quiet());
}

/// Fields of one hash by the thousand.
#[test]
fn requests_of_very_many_fields_take_many_turns() {
    let mut driver = Driver::new();
    let (conn, quick) = (driver.connect(), driver.connect());
    let asked = |command: &str, value: Option<&str>| {
        let mut words = many(command, KEYS, value);
        words.insert(1, "h".to_owned());
        words
    };
    let values = format!("*{KEYS}\r\n{}", "$1\r\nw\r\n".repeat(KEYS));
    for (command, value, said) in [
        ("HSET", Some("v"), ":20000\r\n"),
        ("HSET", Some("w"), ":0\r\n"),
        ("HMGET", None, values.as_str()),
        ("HMSET", Some("x"), "+OK\r\n"),
        ("HDEL", None, ":20000\r\n"),
        ("HDEL", None, ":0\r\n"),
    ] {
        driver.shard.feed(conn, &[request(&asked(command, value)), request(&["PING"])].concat());
        let turns = driver.turns_beside(quick);
        assert!(turns >= KEYS / 512, "{command}: {turns} turns");
        let reply = String::from_utf8(driver.replies(conn)).expect("text");
        assert!(reply == format!("{said}+PONG\r\n"), "{command}: {} bytes", reply.len());
        assert!(driver.shard.is_quiet(), "{command} holds nothing any more");
    }
    let mut odd = asked("HSET", Some("v"));
    odd.pop();
    assert_eq!(driver.call(conn, &odd), b"-ERR wrong number of arguments for 'hset' command\r\n");
    assert_eq!(driver.call(conn, &["SET", "h", "text"]), b"+OK\r\n");
    for (command, value) in [("HSET", Some("v")), ("HMGET", None), ("HDEL", None)] {
        assert!(driver.call(conn, &asked(command, value)).starts_with(b"-WRONGTYPE "), "{command}");
    }
    assert!(driver.shard.is_quiet());
}

/// Of whatever commands it is made: very many, or some of very many keys.
#[test]
fn an_exec_of_very_many_words_takes_many_turns_and_is_of_one_moment() {
    let mut driver = Driver::new();
    let [slow, quick, waits] = std::array::from_fn(|_| driver.connect());
    let sets = (0..KEYS).map(|i| vec!["SET".to_owned(), format!("single:{i}"), i.to_string()]);
    let long = [many("MSET", KEYS, Some("v")), many("MSETNX", KEYS, Some("w")), many("EXISTS", KEYS, None)];
    let odd = vec!["MSET".to_owned(), "a".to_owned(), "1".to_owned(), "b".to_owned()];
    let queue: Vec<Vec<String>> = sets.chain(long).chain([odd]).collect();
    assert_eq!(driver.call(slow, &["MULTI"]), b"+OK\r\n");
    for words in &queue {
        assert_eq!(driver.call(slow, words), b"+QUEUED\r\n");
    }
    driver.shard.feed(slow, &[request(&["EXEC"]), request(&["PING"])].concat());
    let mut turns = 0;
    while driver.shard.has_backlog() {
        // It is planned by then, and some of it has run.
        if turns == 300 {
            driver.shard.feed(waits, &request(&["MGET", "single:0", "many:19999"]));
        }
        driver.shard.feed(quick, &request(&["INCR", "other"]));
        driver.turn();
        assert_eq!(driver.replies(quick), format!(":{}\r\n", turns + 1).as_bytes());
        turns += 1;
    }
    assert!(turns > 300, "{turns} turns");
    let reply = String::from_utf8(driver.replies(slow)).expect("text");
    let oks = "+OK\r\n".repeat(KEYS + 1);
    let error = "-ERR wrong number of arguments for 'mset' command";
    let whole = format!("*{}\r\n{oks}:0\r\n:{KEYS}\r\n{error}\r\n+PONG\r\n", KEYS + 4);
    assert!(reply == whole, "{} bytes", reply.len());
    assert_eq!(driver.replies(waits), b"*2\r\n$1\r\n0\r\n$1\r\nv\r\n");
    assert!(driver.shard.is_quiet(), "it holds nothing any more");
}

#[test]
fn a_long_queue_that_is_discarded_dies_in_slices() {
    let mut driver = Driver::new();
    let conn = driver.connect();
    assert_eq!(driver.call(conn, &["MULTI"]), b"+OK\r\n");
    for i in 0..KEYS {
        assert_eq!(driver.call(conn, &["SET", &i.to_string(), "v"]), b"+QUEUED\r\n");
    }
    assert_eq!(driver.call_now(conn, &["DISCARD"]), b"+OK\r\n");
    let mut turns = 0;
    while driver.shard.is_freeing() {
        driver.turn();
        turns += 1;
    }
    assert!(turns > 10, "{turns} turns");
    assert_eq!(driver.call(conn, &["DBSIZE"]), b":0\r\n");
}

/// What a job has said so far dies with its connection, in steps.
#[test]
fn a_long_reply_that_nobody_will_read_dies_in_slices() {
    for command in [&["KEYS", "*"][..], &["HGETALL", "h"]] {
        let (mut driver, slow) = filled();
        let value = "x".repeat(500);
        for i in 0..KEYS {
            driver.call(slow, &["HSET", "h", &format!("field:{i}"), &value]);
            driver.call(slow, &["SET", &format!("{value}:{i}"), "v"]);
        }
        driver.shard.feed(slow, &request(command));
        (0..30).for_each(|_| driver.turn());
        assert!(driver.shard.has_backlog(), "{command:?} is under way");
        driver.shard.closed(slow);
        assert!(driver.shard.is_freeing(), "what {command:?} has said");
        let mut turns = 0;
        while driver.shard.is_freeing() {
            driver.turn();
            turns += 1;
        }
        assert!(turns > 1, "{command:?}: {turns} turns");
    }
}

impl Driver {
    /// Runs one request within this turn, whatever else waits.
    pub(super) fn call_now(&mut self, conn: corelane::shard::ConnId, words: &[&str]) -> Vec<u8> {
        self.shard.feed(conn, &request(words));
        let output = self.shard.take_output(conn, Default::default());
        self.shard.in_flight(conn, 0);
        output.to_vec()
    }
}
