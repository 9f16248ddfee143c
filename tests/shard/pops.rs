//! Pops of many that may wait, LMPOP and ZMPOP and their blocking forms: whichever way they come to their key, they go in slices and are of one moment.

use super::sets::sliced;
use super::{Driver, request};
use corelane::shard::ConnId;

const ELEMENTS: usize = 20_000;

/// A list `l` and a sorted set `z` of as many elements each, under these names.
fn filled(list: &str, zset: &str) -> (Driver, ConnId) {
    let mut driver = Driver::new();
    let conn = driver.connect();
    for chunk in (0..ELEMENTS).collect::<Vec<_>>().chunks(400) {
        let names = chunk.iter().map(|i| format!("m{i:05}"));
        let push: Vec<String> = ["RPUSH", list].map(str::to_owned).into_iter().chain(names.clone()).collect();
        driver.call(conn, &push);
        let scored = names.zip(chunk).flat_map(|(name, i)| [i.to_string(), name]);
        let add: Vec<String> = ["ZADD", zset].map(str::to_owned).into_iter().chain(scored).collect();
        driver.call(conn, &add);
    }
    (driver, conn)
}

fn names(reply: &str) -> Vec<&str> {
    reply.lines().filter(|line| line.starts_with('m')).collect()
}

/// The names of elements, the other end first if that is where they were taken from.
fn expected(range: std::ops::Range<usize>, reversed: bool) -> Vec<String> {
    let mut names: Vec<String> = range.map(|i| format!("m{i:05}")).collect();
    if reversed {
        names.reverse();
    }
    names
}

#[test]
fn many_are_popped_in_slices_from_the_first_key_that_has_any() {
    let (mut driver, conn) = filled("l", "z");
    for (words, head, popped) in [
        (&["LMPOP", "2", "none", "l", "LEFT", "COUNT", "5000"][..], "l", expected(0..5000, false)),
        (&["BLMPOP", "0", "1", "l", "RIGHT", "COUNT", "5000"], "l", expected(15_000..20_000, true)),
        (&["LMPOP", "1", "l", "LEFT", "COUNT", "100000"], "l", expected(5000..15_000, false)),
        (&["ZMPOP", "2", "none", "z", "MIN", "COUNT", "5000"], "z", expected(0..5000, false)),
        (&["BZMPOP", "0", "1", "z", "MAX", "COUNT", "5000"], "z", expected(15_000..20_000, true)),
        (&["ZMPOP", "1", "z", "MIN", "COUNT", "100000"], "z", expected(5000..15_000, false)),
    ] {
        let (reply, turns) = sliced(&mut driver, words);
        assert!(reply.starts_with(&format!("*2\r\n$1\r\n{head}\r\n*{}\r\n", popped.len())), "{words:?}");
        assert_eq!(names(&reply), popped, "{words:?}");
        assert!(turns > 5, "{words:?}: {turns} turns");
    }
    assert_eq!(driver.call(conn, &["EXISTS", "l", "z"]), b":0\r\n");
    assert!(driver.shard.is_quiet());
}

#[test]
fn who_comes_meanwhile_sees_all_of_it_or_none() {
    let (mut driver, _) = filled("l", "z");
    let (slow, waiting) = (driver.connect(), driver.connect());
    driver.shard.feed(slow, &request(&["ZMPOP", "1", "z", "MIN", "COUNT", "9000"]));
    driver.turn();
    driver.shard.feed(waiting, &request(&["ZCARD", "z"]));
    driver.turn();
    assert_eq!(driver.replies(waiting), b"", "the key is held");
    while driver.shard.has_backlog() {
        driver.turn();
    }
    assert_eq!(driver.replies(waiting), b":11000\r\n");
}

/// The value comes whole, by a RENAME. Whoever waits behind the first is served from what that has left, when it has its answer.
#[test]
fn who_waited_for_many_is_served_in_slices_and_the_next_after_it() {
    for (many, one, from, to, rest) in [
        ("BLMPOP 0 1 l LEFT COUNT 9000", "BLPOP l 0", "list", "l", "*2\r\n$1\r\nl\r\n$6\r\nm09000\r\n"),
        ("BZMPOP 0 1 z MIN COUNT 9000", "BZPOPMIN z 0", "zset", "z", "*3\r\n$1\r\nz\r\n$6\r\nm09000\r\n$4\r\n9000\r\n"),
    ] {
        let (mut driver, conn) = filled("list", "zset");
        let (first, second, quick) = (driver.connect(), driver.connect(), driver.connect());
        for (waiting, words) in [(first, many), (second, one)] {
            driver.shard.feed(waiting, &request(&words.split(' ').collect::<Vec<_>>()));
            driver.turn();
        }
        driver.shard.feed(conn, &request(&["RENAME", from, to]));
        let turns = driver.turns_beside(quick);
        let reply = String::from_utf8(driver.replies(first)).expect("text");
        assert!(turns > 5, "{many}: {turns} turns");
        assert_eq!(names(&reply), expected(0..9000, false), "{many}");
        assert_eq!(String::from_utf8(driver.replies(second)).expect("text"), rest);
        assert!(driver.shard.is_quiet());
    }
}

#[test]
fn inside_a_transaction_it_answers_in_its_place() {
    let (mut driver, conn) = filled("l", "z");
    for words in ["MULTI", "LMPOP 1 l LEFT COUNT 9000", "ZMPOP 1 z MAX COUNT 9000", "LLEN l", "ZCARD z"] {
        driver.call(conn, &words.split(' ').collect::<Vec<_>>());
    }
    driver.shard.feed(conn, &request(&["EXEC"]));
    while driver.shard.has_backlog() {
        driver.turn();
    }
    let reply = String::from_utf8(driver.replies(conn)).expect("text");
    assert!(reply.starts_with("*4\r\n*2\r\n$1\r\nl\r\n*9000\r\n") && reply.ends_with("\r\n:11000\r\n:11000\r\n"));
    assert_eq!(names(&reply).len(), 18_000);
}

/// What a pipeline says behind a long command is not what that command was: its steps count as its own.
#[test]
fn the_time_of_a_job_is_that_of_its_command() {
    let (mut driver, conn) = filled("l", "z");
    driver.call(conn, &["SET", "k", "v"]);
    let slow = driver.connect();
    let pipeline = [request(&["LRANGE", "l", "0", "-1"]), request(&["GET", "k"])].concat();
    driver.shard.feed(slow, &pipeline);
    driver.turn();
    let clients = String::from_utf8(driver.call(conn, &["CLIENT", "LIST"])).expect("text");
    assert!(clients.contains("cmd=lrange"), "{clients}");
    while driver.shard.has_backlog() {
        driver.turn();
    }
    assert!(driver.replies(slow).ends_with(b"$1\r\nv\r\n"));
}
