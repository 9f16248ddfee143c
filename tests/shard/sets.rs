//! What large sets are asked for goes in slices, and is of one moment.

use super::{Driver, request};
use corelane::shard::ConnId;
use std::collections::BTreeSet;

const MEMBERS: usize = 20_000;

fn filled(key: &str) -> (Driver, ConnId) {
    let mut driver = Driver::new();
    let conn = driver.connect();
    fill(&mut driver, conn, key, 0..MEMBERS);
    (driver, conn)
}

fn fill(driver: &mut Driver, conn: ConnId, key: &str, range: std::ops::Range<usize>) {
    for chunk in range.collect::<Vec<_>>().chunks(500) {
        let words: Vec<String> =
            ["SADD".to_owned(), key.to_owned()].into_iter().chain(chunk.iter().map(|i| format!("m{i}"))).collect();
        assert_eq!(driver.call(conn, &words), format!(":{}\r\n", chunk.len()).as_bytes());
    }
}

/// Runs a request while another connection is served in every turn; its reply and the number of turns.
pub(super) fn sliced(driver: &mut Driver, words: &[&str]) -> (String, usize) {
    let (slow, quick) = (driver.connect(), driver.connect());
    driver.shard.feed(slow, &request(words));
    let turns = 1 + driver.turns_beside(quick);
    (String::from_utf8(driver.replies(slow)).expect("text"), turns)
}

fn members(reply: &str) -> Vec<&str> {
    reply.lines().filter(|line| line.starts_with('m')).collect()
}

#[test]
fn a_large_set_is_answered_and_drawn_from_in_slices() {
    let (mut driver, _) = filled("s");
    for (words, count) in [
        (&["SMEMBERS", "s"][..], MEMBERS),
        (&["SRANDMEMBER", "s", "5000"], 5000),
        (&["SRANDMEMBER", "s", "15000"], 15_000),
        (&["SRANDMEMBER", "s", "-30000"], 30_000),
        (&["SUNION", "s", "s"], MEMBERS),
        (&["SINTER", "s", "s"], MEMBERS),
        (&["SDIFF", "s", "none"], MEMBERS),
    ] {
        let (reply, turns) = sliced(&mut driver, words);
        assert!(reply.starts_with(&format!("*{count}\r\n")), "{words:?}: {}", &reply[..20]);
        let found = members(&reply);
        let different: BTreeSet<&str> = found.iter().copied().collect();
        assert_eq!(found.len(), count);
        assert!(different.len() == count || words[2].starts_with('-'), "{words:?}: one comes twice");
        assert!(turns > 5, "{words:?}: {turns} turns");
    }
    let (reply, turns) = sliced(&mut driver, &["SINTERCARD", "2", "s", "s"]);
    assert!(reply == format!(":{MEMBERS}\r\n") && turns > 5, "{turns} turns");
}

#[test]
fn what_is_popped_in_slices_is_of_one_moment_and_stated_as_it_was_chosen() {
    let (mut driver, conn) = filled("s");
    driver.call(conn, &["PEXPIREAT", "s", "1900000000000"]);
    driver.shard.effects().recording = true;
    let (slow, waiting, third) = (driver.connect(), driver.connect(), driver.connect());
    driver.shard.feed(slow, &request(&["SPOP", "s", "9000"]));
    for _ in 0..5 {
        driver.turn();
    }
    assert!(driver.shard.has_backlog(), "five turns are not enough");
    driver.shard.feed(waiting, &request(&["SCARD", "s"]));
    driver.shard.feed(third, &request(&["PING"]));
    driver.turn();
    assert_eq!((driver.replies(waiting), driver.replies(third)), (Vec::new(), b"+PONG\r\n".to_vec()));
    while driver.shard.has_backlog() {
        driver.turn();
    }
    assert_eq!(driver.replies(waiting), b":11000\r\n");
    let reply = String::from_utf8(driver.replies(slow)).expect("text");
    let popped: BTreeSet<&str> = members(&reply).into_iter().collect();
    assert!(popped.len() == 9000 && reply.starts_with("*9000\r\n"));
    let words: Vec<&str> = ["SMISMEMBER", "s"].into_iter().chain(popped.iter().copied()).collect();
    assert!(!String::from_utf8(driver.call(conn, &words)).expect("text").contains(":1\r\n"), "they are gone");
    assert_eq!(driver.call(conn, &["PEXPIRETIME", "s"]), b":1900000000000\r\n");
    // Whoever repeats the effects has the same left.
    let effects = super::effects::effects_in(&driver.shard.effects().take());
    let mut replica = super::effects::replica();
    let copy = replica.connect();
    fill(&mut replica, copy, "s", 0..MEMBERS);
    effects.iter().for_each(|effect| super::effects::repeat(&mut replica, effect));
    let left = |driver: &mut Driver, conn| {
        let reply = String::from_utf8(driver.call(conn, &["SMEMBERS", "s"])).expect("text");
        members(&reply).into_iter().map(str::to_owned).collect::<BTreeSet<_>>()
    };
    assert!(left(&mut driver, conn) == left(&mut replica, copy), "what was chosen is stated");
    assert!(driver.shard.is_quiet());
}

#[test]
fn a_set_popped_whole_is_gone_at_once() {
    let (mut driver, conn) = filled("s");
    let (slow, quick) = (driver.connect(), driver.connect());
    driver.shard.feed(slow, &request(&["SPOP", "s", "100000"]));
    while driver.shard.has_backlog() {
        driver.turn();
    }
    assert_eq!(driver.call(quick, &["EXISTS", "s"]), b":0\r\n");
    let reply = String::from_utf8(driver.replies(slow)).expect("text");
    assert_eq!(members(&reply).into_iter().collect::<BTreeSet<_>>().len(), MEMBERS);
    assert_eq!(driver.call(conn, &["SADD", "s", "again"]), b":1\r\n");
}

#[test]
fn a_union_of_large_sets_is_stored_in_slices() {
    let (mut driver, conn) = filled("s");
    fill(&mut driver, conn, "t", MEMBERS / 2..2 * MEMBERS);
    let (reply, turns) = sliced(&mut driver, &["SUNIONSTORE", "u", "s", "t"]);
    assert!(reply == format!(":{}\r\n", 2 * MEMBERS) && turns > 5, "{reply}: {turns} turns");
    let (reply, turns) = sliced(&mut driver, &["SINTERSTORE", "u", "s", "t"]);
    assert!(reply == format!(":{}\r\n", MEMBERS / 2) && turns > 5, "{reply}: {turns} turns");
    let (reply, _) = sliced(&mut driver, &["SDIFFSTORE", "s", "s", "t"]);
    assert_eq!(reply, format!(":{}\r\n", MEMBERS / 2));
    assert_eq!(driver.call(conn, &["SCARD", "s"]), format!(":{}\r\n", MEMBERS / 2).as_bytes());
}

/// In a transaction it is one command among others: their replies keep their order.
#[test]
fn a_large_pop_inside_a_transaction_answers_in_its_place() {
    for count in ["1000", "100000"] {
        let (mut driver, conn) = filled("s");
        for words in [&["MULTI"][..], &["SPOP", "s", count], &["SCARD", "s"]] {
            driver.call(conn, words);
        }
        driver.shard.feed(conn, &request(&["EXEC"]));
        while driver.shard.has_backlog() {
            driver.turn();
        }
        let reply = String::from_utf8(driver.replies(conn)).expect("text");
        let popped = members(&reply).len();
        assert_eq!(popped, MEMBERS.min(count.parse().expect("a number")));
        assert!(reply.starts_with(&format!("*2\r\n*{popped}\r\n")), "{}", &reply[..30]);
        assert!(reply.ends_with(&format!("\r\n:{}\r\n", MEMBERS - popped)), "{count}");
    }
}
