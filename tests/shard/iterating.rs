//! SCAN and its kin while what they walk grows and shrinks: whatever is there from the first call to the last is answered.
//!
//! ```text
//!  stay:0 stay:1 ... go:0 go:1 ...      SCAN 0   + new:0 new:1 ... - go:0      SCAN 17   + ... - ...      until the cursor is 0
//!  all of stay are answered, nothing that never was
//! ```

use super::blocking::World;
use corelane::shard::ConnId;
use std::collections::BTreeSet;

/// Cursors are doubles to some clients.
const CURSOR_END: u64 = 1 << 53;

/// What is iterated over, and how elements come and go.
#[derive(Clone, Copy, Debug)]
struct Walk {
    scan: &'static [&'static str],
    add: &'static [&'static str],
    /// What stands before each name, and behind it.
    score: Option<&'static str>,
    value: Option<&'static str>,
    remove: &'static [&'static str],
}

const WALKS: [Walk; 5] = [
    Walk { scan: &["SCAN"], add: &["MSET"], score: None, value: Some("v"), remove: &["DEL"] },
    Walk { scan: &["HSCAN", "c"], add: &["HSET", "c"], score: None, value: Some("v"), remove: &["HDEL", "c"] },
    // A deadline makes a field larger, and so moves it.
    Walk {
        scan: &["HSCAN", "c"],
        add: &["HSETEX", "c", "EX", "100", "FIELDS", "N"],
        score: None,
        value: Some("v"),
        remove: &["HDEL", "c"],
    },
    Walk { scan: &["SSCAN", "c"], add: &["SADD", "c"], score: None, value: None, remove: &["SREM", "c"] },
    Walk { scan: &["ZSCAN", "c"], add: &["ZADD", "c"], score: Some("1"), value: None, remove: &["ZREM", "c"] },
];

impl Walk {
    fn add(&self, world: &mut World, conn: ConnId, names: &[String]) {
        let count = names.len().to_string();
        let head = self.add.iter().map(|word| if *word == "N" { count.as_str() } else { word });
        let each = names.iter().flat_map(|name| [self.score, Some(name.as_str()), self.value]);
        ask(world, conn, &head.chain(each.flatten()).collect::<Vec<_>>());
    }

    fn remove(&self, world: &mut World, conn: ConnId, names: &[String]) {
        ask(world, conn, &self.remove.iter().copied().chain(names.iter().map(String::as_str)).collect::<Vec<_>>());
    }
}

fn ask(world: &mut World, conn: ConnId, words: &[&str]) -> String {
    world.call(0, conn, words)
}

fn names(kind: &str, range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|i| format!("{kind}:{i}")).collect()
}

/// The names in the reply of one call, and where to go on.
fn read(reply: &str) -> (u64, Vec<String>) {
    let bulks: Vec<&str> = reply.lines().collect();
    let mut bulks = bulks.iter().zip(&bulks[1..]).filter(|(head, _)| head.starts_with('$')).map(|(_, text)| *text);
    let cursor = bulks.next().and_then(|cursor| cursor.parse().ok()).expect("a cursor comes first");
    (cursor, bulks.filter(|text| text.contains(':')).map(str::to_owned).collect())
}

#[derive(Clone, Copy, Debug)]
enum Tide {
    Grows,
    Shrinks,
}

/// What each call of an iteration answers, over a collection of so many elements that stay, as many of which go.
fn iterate(walk: &Walk, lanes: usize, stay: usize, count: &str, tide: Tide) -> Vec<Vec<String>> {
    const EACH: usize = 150;
    let mut world = World::new(lanes);
    let conn = world.connect(0);
    for from in (0..stay).step_by(EACH) {
        let to = stay.min(from + EACH);
        walk.add(&mut world, conn, &[names("stay", from..to), names("go", from..to)].concat());
    }
    let (mut cursor, mut told, mut turn) = (0, Vec::new(), 0);
    loop {
        let at = cursor.to_string();
        let words: Vec<&str> = walk.scan.iter().copied().chain([at.as_str(), "COUNT", count]).collect();
        let (next, found) = read(&ask(&mut world, conn, &words));
        assert!(next < CURSOR_END);
        told.push(found);
        if next == 0 {
            return told;
        }
        cursor = next;
        match tide {
            // Up to many times its size; then it rests, or no iteration would end.
            Tide::Grows if turn < 60 => walk.add(&mut world, conn, &names("new", turn * EACH..(turn + 1) * EACH)),
            Tide::Shrinks if turn * EACH < stay => {
                walk.remove(&mut world, conn, &names("go", turn * EACH..(turn + 1) * EACH));
            }
            _ => {}
        }
        turn += 1;
        assert!(turn < 20_000, "an iteration ends");
    }
}

/// Which of those that stayed were never answered.
fn missing(told: &[Vec<String>], stay: usize) -> Option<String> {
    let seen: BTreeSet<&String> = told.iter().flatten().collect();
    names("stay", 0..stay).into_iter().find(|name| !seen.contains(name))
}

#[test]
fn what_stays_is_answered_while_others_come_and_go() {
    for walk in &WALKS {
        for (stay, count) in [(3, "1"), (60, "10"), (700, "7"), (2000, "100")] {
            for tide in [Tide::Grows, Tide::Shrinks] {
                let lanes = if walk.scan == ["SCAN"] && stay == 700 { 3 } else { 1 };
                let told = iterate(walk, lanes, stay, count, tide);
                let what = format!("{:?} of {stay}, {tide:?}", walk.scan);
                assert_eq!(missing(&told, stay), None, "{what}");
                let kinds = ["stay:", "go:", "new:"];
                let known = |name: &String| kinds.iter().any(|kind| name.starts_with(kind));
                assert!(told.iter().flatten().all(known), "{what}: something else is answered");
                assert!(stay < 700 || told.len() > 10, "{what}: {} calls, in which nothing could change", told.len());
            }
        }
    }
}

/// Were one answer of an iteration to be lost, it would be noticed.
#[test]
fn a_gap_in_an_iteration_is_found() {
    for walk in &WALKS {
        let mut told = iterate(walk, 1, 700, "7", Tide::Grows);
        let at =
            told.iter().position(|found| found.iter().any(|name| name.starts_with("stay:"))).expect("they are told");
        let gone = told.remove(at);
        let lost = missing(&told, 700);
        assert!(lost.is_some_and(|name| gone.contains(&name)), "{:?}", walk.scan);
    }
}
