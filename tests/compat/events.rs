//! What happens to keys, by Redis's names: the conversations of the case files, with what redis-server tells of them and what our commands say.
//!
//! ```text
//!  request -> redis-server, notify-keyspace-events EA --> __keyevent@0__:lpush k     the same,
//!          -> a shard that is watched ----------------->  Happened lpush k           in the same order
//! ```
//!
//! An element that moves from key to key is told where it leaves first, since it may come to another lane; Redis tells it the other way round. Left out:
//! what happens by time alone, when that is found is nobody's promise; misses and `new`, which nobody listens to by default.

use super::FAMILIES;
use super::script::{Case, Expected, Mark, Step, parse};
use crate::shard::{Driver, request};
use crate::support::resp::Dialect;
use crate::support::{Client, Server, Value};
use corelane::shard::ConnId;
use corelane::store::event::Class;
use corelane::store::journal::Happened;
use std::collections::BTreeMap;
use std::time::Duration;

/// Families of which each request must leave the same events.
const HELD: &[&str] = &[
    "blocking",
    "counters",
    "expire",
    "hash_fields",
    "hashes",
    "keys",
    "list_moves",
    "lists",
    "more_strings",
    "set_algebra",
    "set_picks",
    "sets",
    "sort",
    "strings",
    "transactions",
    "waiting",
    "zset_algebra",
    "zset_pops",
    "zset_random",
    "zset_ranges",
    "zset_store",
    "zsets",
];

/// A database, what happened, and to which key.
type Told = (usize, String, Vec<u8>);

/// redis-server, with somebody who listens.
struct Redis {
    _server: Server,
    port: u16,
    listener: Client,
    conns: BTreeMap<String, Client>,
}

impl Redis {
    fn start() -> Self {
        let server = Server::start_redis(&["--notify-keyspace-events", "EA"]);
        let mut listener = server.client();
        listener.words("PSUBSCRIBE __keyevent@*");
        Self { port: server.port, _server: server, listener, conns: BTreeMap::new() }
    }

    fn begin(&mut self) {
        self.conns.clear();
        let mut first = Client::connect(self.port);
        assert_eq!(first.words("FLUSHALL"), Value::ok());
        self.conns.insert(String::new(), first);
        self.told();
    }

    fn run(&mut self, conn: &str, args: &[Vec<u8>], expected: &Expected) {
        let port = self.port;
        let client = self.conns.entry(conn.to_owned()).or_insert_with(|| Client::connect(port));
        client.send(args);
        if matches!(expected, Expected::Reply(_)) {
            client.read();
        }
    }

    /// What it has told since it was asked last.
    fn told(&mut self) -> Vec<Told> {
        self.listener.send(&["PING"]);
        let mut told = Vec::new();
        loop {
            let Value::Array(message) = self.listener.read() else { panic!("a listener hears arrays") };
            let [_, _, channel, key] = &message[..] else { return told };
            let (channel, Value::Bulk(key)) = (channel.text(), key) else { panic!("{message:?}") };
            let channel = channel.strip_prefix("__keyevent@").expect("nothing else was asked for");
            let (db, name) = channel.split_once("__:").expect("a database and a name");
            told.push((db.parse().expect("a number"), name.to_owned(), key.clone()));
        }
    }
}

/// One shard of ours, watched.
struct Ours {
    driver: Driver,
    conns: BTreeMap<String, ConnId>,
}

impl Ours {
    fn new() -> Self {
        let mut driver = Driver::new();
        driver.shard.effects().recording = true;
        driver.shard.effects().witness();
        Self { driver, conns: BTreeMap::new() }
    }

    fn run(&mut self, conn: &str, args: &[Vec<u8>], expected: &Expected) {
        let driver = &mut self.driver;
        let id = *self.conns.entry(conn.to_owned()).or_insert_with(|| driver.connect());
        driver.shard.feed(id, &request(args));
        while driver.shard.has_backlog() {
            driver.shard.begin_turn(driver.now);
            driver.shard.run_backlog();
        }
        // It waits, and nothing comes.
        while self.driver.replies(id).is_empty() && matches!(expected, Expected::Reply(_)) {
            self.pass(10);
        }
    }

    fn pass(&mut self, millis: u64) {
        self.driver.now.unix_us += millis * 1000;
        self.driver.now.mono_ns += millis * 1_000_000;
        self.driver.turn();
    }

    fn told(&mut self) -> Vec<Told> {
        let witnessed = self.driver.shard.effects().witness();
        let told = witnessed.iter().filter_map(|happened| match happened {
            Happened::Key { event, .. } if event.is_by_itself() || event.class == Class::Miss => None,
            Happened::Key { event, .. } if event.class == Class::New => None,
            Happened::Key { db, key, event } => Some((usize::from(db), event.name.to_owned(), key.bytes.to_vec())),
            Happened::Database { .. } => None,
        });
        told.collect()
    }
}

/// Whether redis-server 7.0 can be asked for all of it, in RESP2.
fn is_comparable(case: &Case) -> bool {
    let marks = case.marks.iter().all(|mark| match mark {
        Mark::Since(major, minor) => (*major, *minor) <= (7, 0),
        Mark::CorelaneOnly | Mark::ShardPort | Mark::Journal | Mark::SeveralLanes => false,
        Mark::Resp2Only | Mark::OneLane | Mark::NoJournal => true,
    });
    let is_plain = |step: &Step| match step {
        Step::Call { args, expected, .. } => {
            let name = args.first().map(|name| name.to_ascii_uppercase()).unwrap_or_default();
            !matches!(expected, Expected::Closed(_)) && !matches!(&name[..], b"HELLO" | b"DEBUG" | b"CLIENT" | b"RESET")
        }
        Step::Hear { .. } | Step::Wait { .. } => true,
    };
    marks && case.steps.iter().all(is_plain)
}

/// The first request whose events differ.
fn difference(redis: &mut Redis, case: &Case) -> Option<String> {
    let mut ours = Ours::new();
    redis.begin();
    for step in &case.steps {
        let shown = match step {
            Step::Wait { millis } => {
                std::thread::sleep(Duration::from_millis(*millis));
                ours.pass(*millis);
                continue;
            }
            Step::Hear { conn, .. } => {
                redis.conns.get_mut(conn).expect("it was asked").read();
                continue;
            }
            Step::Call { conn, args, expected, .. } => {
                redis.run(conn, args, expected);
                ours.run(conn, args, expected);
                args.iter().map(|arg| arg.escape_ascii().to_string()).collect::<Vec<_>>().join(" ")
            }
        };
        let by_itself = |told: &Told| told.1 != "expired";
        let mut theirs: Vec<Told> = redis.told().into_iter().filter(by_itself).collect();
        let mut ours = ours.told();
        let has = |names: [&str; 2]| ours.iter().any(|told| names.contains(&told.1.as_str()));
        if has(["lpush", "rpush"]) && has(["lpop", "rpop"]) {
            theirs.sort_unstable();
            ours.sort_unstable();
        }
        if theirs != ours {
            return Some(format!("{shown:.200}\n    redis-server {theirs:?}\n    ours         {ours:?}"));
        }
    }
    None
}

#[test]
fn what_happens_to_keys_is_told_as_redis_tells_it() {
    let mut redis = Redis::start();
    assert_eq!(redis.listener.dialect, Dialect::Resp2);
    let (mut differences, mut compared) = (Vec::new(), 0);
    for (family, text) in FAMILIES.iter().filter(|(family, _)| HELD.contains(family)) {
        let cases = parse(text).unwrap_or_else(|why| panic!("cases/{family}.case: {why}"));
        for case in cases.iter().filter(|case| is_comparable(case)) {
            compared += 1;
            if let Some(what) = difference(&mut redis, case) {
                differences.push(format!("cases/{family}.case, {:?}: {what}", case.name));
            }
        }
    }
    assert!(compared > 100, "{compared} cases");
    assert!(differences.is_empty(), "{} of {compared}\n{}", differences.len(), differences.join("\n"));
}
