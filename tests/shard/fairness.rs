//! Random picks: each of what there is as likely as any other, by chi-squared over every way in which it is picked.
//!
//! ```text
//!  SRANDMEMBER SPOP ZRANDMEMBER HRANDFIELD   packed, of integers, large; one, some, nearly all; with repetition and without
//!  RANDOMKEY                                 on one lane and on three, of which one has most keys
//! ```

use super::blocking::World;
use super::{Driver, request};
use corelane::shard::ConnId;
use std::collections::BTreeMap;

/// What there is to pick from.
const ITEMS: usize = 60;
const ROUNDS: usize = 2000;

/// With 59 degrees of freedom one in ten thousand fair samples exceeds it; of different picks even fewer.
const CHI_MAX: f64 = 108.0;

/// How often each was picked.
#[derive(Default)]
struct Tally(BTreeMap<String, u32>);

impl Tally {
    fn add(&mut self, picked: impl IntoIterator<Item = String>) {
        picked.into_iter().for_each(|item| *self.0.entry(item).or_default() += 1);
    }

    fn chi(&self) -> f64 {
        let mean = f64::from(self.0.values().sum::<u32>()) / ITEMS as f64;
        self.0.values().map(|&n| (f64::from(n) - mean).powi(2) / mean).sum()
    }

    #[track_caller]
    fn must_be_fair(&self, what: &str) {
        assert_eq!(self.0.len(), ITEMS, "{what}: all are picked at times, and nothing else");
        assert!(self.chi() < CHI_MAX, "{what}: {}", self.chi());
    }
}

/// The bulks of a reply.
fn bulks(reply: &[u8]) -> Vec<String> {
    let text = String::from_utf8(reply.to_vec()).expect("names are text");
    let lines: Vec<&str> = text.lines().collect();
    lines.iter().enumerate().filter(|(_, line)| line.starts_with('$')).map(|(i, _)| lines[i + 1].to_owned()).collect()
}

/// Runs a request to its end, without a tick that would collect what is due.
fn picked(driver: &mut Driver, conn: ConnId, words: &[&str]) -> Vec<String> {
    driver.shard.feed(conn, &request(words));
    while driver.shard.has_backlog() {
        driver.shard.begin_turn(driver.now);
        driver.shard.run_backlog();
    }
    bulks(&driver.replies(conn))
}

/// One, or so many of which each comes once, or so many of which any may come again.
const COUNTS: [&str; 7] = ["", "-7", "1", "5", "19", "40", "59"];

/// Picks of a key by each of these counts, many times.
fn are_fair(driver: &mut Driver, conn: ConnId, name: &str, key: &str, what: &str) {
    for count in COUNTS {
        let mut tally = Tally::default();
        for _ in 0..ROUNDS {
            let words: Vec<&str> = [name, key, count].into_iter().filter(|word| !word.is_empty()).collect();
            let picked = picked(driver, conn, &words);
            assert_eq!(picked.len(), count.trim_start_matches('-').parse().unwrap_or(1));
            let mut once = picked.clone();
            once.sort_unstable();
            once.dedup();
            assert!(count.starts_with('-') || once.len() == picked.len(), "{name} {count}: one comes twice");
            tally.add(picked);
        }
        tally.must_be_fair(&format!("{what}, {name} {count}"));
    }
}

fn connected() -> (Driver, ConnId) {
    let mut driver = Driver::new();
    let conn = driver.connect();
    (driver, conn)
}

fn encoding(driver: &mut Driver, conn: ConnId, key: &str) -> String {
    picked(driver, conn, &["OBJECT", "ENCODING", key]).remove(0)
}

#[test]
fn a_tally_that_leans_is_found() {
    let names = (0..ITEMS).map(|i| i.to_string());
    let mut tally = Tally::default();
    (0..ROUNDS).for_each(|_| tally.add(names.clone()));
    assert!(tally.chi() < CHI_MAX);
    // One of sixty, picked by a tenth more often than the others, as the first of a bucket would be.
    tally.add(std::iter::repeat_n("7".to_owned(), ROUNDS / 4));
    assert!(tally.chi() > CHI_MAX / 2.0);
    tally.add(std::iter::repeat_n("7".to_owned(), ROUNDS / 4));
    assert!(tally.chi() > CHI_MAX);
}

/// Each field, of a packed hash and of a large one, some fields due.
#[test]
fn every_field_is_equally_likely() {
    for (packed_entries, form) in [("128", "listpackex"), ("10", "hashtable")] {
        let (mut driver, conn) = connected();
        driver.call(conn, &["CONFIG", "SET", "hash-max-listpack-entries", packed_entries]);
        for i in 0..ITEMS {
            driver.call(conn, &["HSET", "h", &format!("field:{i}"), "v"]);
        }
        for i in 0..20 {
            driver.call(conn, &["HSET", "h", &format!("gone:{i}"), "v"]);
            driver.call(conn, &["HPEXPIRE", "h", "1", "FIELDS", "1", &format!("gone:{i}")]);
        }
        // Their time comes, and no tick that would collect them.
        driver.now.unix_us += 1_000_000;
        driver.shard.begin_turn(driver.now);
        assert_eq!(encoding(&mut driver, conn, "h"), form);
        are_fair(&mut driver, conn, "HRANDFIELD", "h", form);
    }
}

/// Makes a set of each form; `prefix` decides which.
fn set_of(packed_entries: &str, prefix: &str) -> (Driver, ConnId) {
    let (mut driver, conn) = connected();
    driver.call(conn, &["CONFIG", "SET", "set-max-listpack-entries", packed_entries]);
    for i in 0..ITEMS {
        driver.call(conn, &["SADD", "s", &format!("{prefix}{}", 3 * i)]);
    }
    (driver, conn)
}

const SETS: [(&str, &str, &str); 3] =
    [("128", "", "intset"), ("128", "member:", "listpack"), ("10", "member:", "hashtable")];

#[test]
fn every_member_of_a_set_is_equally_likely() {
    for (packed_entries, prefix, form) in SETS {
        let (mut driver, conn) = set_of(packed_entries, prefix);
        assert_eq!(encoding(&mut driver, conn, "s"), form);
        are_fair(&mut driver, conn, "SRANDMEMBER", "s", form);
    }
}

/// What was popped is put back.
#[test]
fn every_member_is_equally_likely_to_be_popped() {
    for (packed_entries, prefix, form) in SETS {
        for count in ["", "1", "7", "45"] {
            let (mut driver, conn) = set_of(packed_entries, prefix);
            let mut tally = Tally::default();
            for _ in 0..ROUNDS {
                let words: Vec<&str> = ["SPOP", "s", count].into_iter().filter(|word| !word.is_empty()).collect();
                let popped = picked(&mut driver, conn, &words);
                let back: Vec<&str> = ["SADD", "s"].into_iter().chain(popped.iter().map(String::as_str)).collect();
                assert_eq!(driver.call(conn, &back), format!(":{}\r\n", popped.len()).as_bytes());
                tally.add(popped);
            }
            tally.must_be_fair(&format!("{form}, SPOP {count}"));
        }
    }
}

#[test]
fn every_member_of_a_sorted_set_is_equally_likely() {
    for (packed_entries, form) in [("128", "listpack"), ("10", "skiplist")] {
        let (mut driver, conn) = connected();
        driver.call(conn, &["CONFIG", "SET", "zset-max-listpack-entries", packed_entries]);
        for i in 0..ITEMS {
            driver.call(conn, &["ZADD", "z", &(i % 7).to_string(), &format!("member:{i}")]);
        }
        assert_eq!(encoding(&mut driver, conn, "z"), form);
        are_fair(&mut driver, conn, "ZRANDMEMBER", "z", form);
    }
}

/// Most keys share a slot, and so a lane.
#[test]
fn every_key_is_equally_likely() {
    for lanes in [1, 3] {
        let mut world = World::new(lanes);
        let conn = world.connect(0);
        for i in 0..ITEMS {
            let key = if i % 4 == 0 { format!("key:{i}") } else { format!("{{t}}:{i}") };
            world.call(0, conn, &["SET", &key, "v"]);
        }
        let mut tally = Tally::default();
        for _ in 0..ROUNDS * 2 {
            tally.add(bulks(world.call(0, conn, &["RANDOMKEY"]).as_bytes()));
        }
        tally.must_be_fair(&format!("RANDOMKEY of {lanes} lanes"));
    }
}
