//! What the clients ask, by swarm: each seed draws some of the table's rows and gives them wildly different weights, so that in one
//! run nearly everything is RENAME and in another nothing ever expires. (Groce et al., Swarm Testing, 2012.)
//!
//! Rows come from the table itself. What is left out stands in [`LEFT_OUT`] with its reason; a test complains of a row that can
//! be neither made up nor is left out.

use corelane::base::rng::Rng;
use corelane::command::table::Table;
use corelane::command::{Command, Flags, Group};

use super::grammar::{self, pick};
use super::keys::Keys;
use super::order::moves;
use super::session::Session;

/// Rows that are never asked for, and why.
pub(crate) const LEFT_OUT: &[(&str, &str)] = &[
    ("acl", "it would change what the clients of the run may: tests/shard/users.rs, tests/process/users.rs"),
    ("auth", "no password is set: its one answer is in the compat cases"),
    ("bgrewriteaof", NO_KEEPER),
    ("client|help", HELP),
    ("client|info", FACTS),
    ("client|kill", OTHERS),
    ("client|list", FACTS),
    ("client|no-evict", OTHERS),
    ("client|no-touch", OTHERS),
    ("client|pause", OTHERS),
    ("client|setinfo", OTHERS),
    ("client|unpause", OTHERS),
    ("latency|doctor", FACTS),
    ("latency|graph", FACTS),
    ("latency|help", HELP),
    ("latency|histogram", FACTS),
    ("latency|history", FACTS),
    ("latency|latest", FACTS),
    ("latency|reset", FACTS),
    ("command|docs", ROWS_ONLY),
    ("command|getkeys", ROWS_ONLY),
    ("command|getkeysandflags", ROWS_ONLY),
    ("command|help", HELP),
    ("command|info", ROWS_ONLY),
    ("command|list", ROWS_ONLY),
    ("config|get", FACTS),
    ("config|help", HELP),
    ("config|resetstat", FACTS),
    ("config|set", "it would change the rules of the run"),
    ("debug", "it holds lanes and breaks things on purpose"),
    ("info", FACTS),
    ("lolwut", FACTS),
    ("memory|doctor", FACTS),
    ("memory|help", HELP),
    ("memory|malloc-stats", FACTS),
    ("memory|purge", FACTS),
    ("memory|stats", FACTS),
    ("monitor", OTHERS),
    ("object|help", HELP),
    ("shutdown", "it ends the run"),
    ("slowlog", FACTS),
    ("time", FACTS),
    ("waitaof", NO_KEEPER),
];

/// Groups of which no row is asked for.
pub(crate) const GROUPS_LEFT_OUT: &[(Group, &str)] =
    &[(Group::Cluster, "it tells of slots and lanes, which differ between one lane and several")];

const HELP: &str = "a constant text";
const NO_KEEPER: &str =
    "there is no journal and nobody who keeps one: tests/shard/rewriting.rs, tests/process/rewrite.rs";
const FACTS: &str = "it tells facts of a lane or its clients, which differ between one lane and several";
const OTHERS: &str = "it concerns other connections: tests of its own";
const ROWS_ONLY: &str = "it reads the table of rows and nothing else";

/// Rows whose words are never garbled: the client must know what they do to its session.
const CONTROL: &[&str] =
    &["client|reply", "discard", "exec", "hello", "multi", "quit", "reset", "select", "unwatch", "watch"];

/// Rows that change how a connection is spoken to; inside MULTI they would change the dialect in mid-reply. And those that choose at random:
/// the lanes tell one choice a request.
const NEVER_QUEUED: &[&str] = &[
    "client|reply",
    "hello",
    "quit",
    "reset",
    "hrandfield",
    "randomkey",
    "scan",
    "spop",
    "srandmember",
    "zrandmember",
];

/// Why `row` is not asked for.
pub(crate) fn left_out(row: &Command) -> Option<&'static str> {
    let is_of = |name: &str| row.name.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('|'));
    let by_name = LEFT_OUT.iter().find(|(name, _)| is_of(name)).map(|(_, why)| *why);
    by_name.or_else(|| GROUPS_LEFT_OUT.iter().find(|(group, _)| *group == row.group).map(|(_, why)| *why))
}

/// Every row that can be asked for.
pub(crate) fn candidates(table: &Table) -> Vec<&'static Command> {
    let all = table.all().map(|found| found.row);
    all.filter(|row| row.children.is_empty() && left_out(row).is_none()).collect()
}

/// The workload of one seed.
pub(crate) struct Workload {
    /// Rows with the sum of their weights and of those before them.
    rows: Vec<(u64, &'static Command)>,
    keys: Keys,
    /// One request in so many is garbled.
    garbled: u64,
    /// One in so many rows drawn is a step of a transaction instead.
    control: u64,
    /// One in so many takes a key away or waits for one: where most do, somebody is mostly waiting.
    taking: u64,
    takers: Vec<&'static Command>,
    /// One in so many has a part on each lane of its keys: only where most do, pipelines of them meet.
    splitting: u64,
    splitters: Vec<&'static Command>,
    controls: Vec<&'static Command>,
}

impl Workload {
    pub(crate) fn draw(table: &Table, rng: &mut Rng) -> Self {
        let (mut rows, mut sum) = (Vec::new(), 0);
        let keep_one_in = 1 + rng.below(4);
        for row in candidates(table) {
            let is_needed = matches!(row.name, "set" | "mset" | "hset" | "rpush" | "sadd" | "zadd");
            if !rng.one_in(keep_one_in) && !is_needed || CONTROL.contains(&row.name) {
                continue;
            }
            sum += weight(row, rng);
            rows.push((sum, row));
        }
        let controls = candidates(table).into_iter().filter(|row| CONTROL.contains(&row.name)).collect();
        let takers: Vec<&'static Command> =
            candidates(table).into_iter().filter(|row| row.flags.has(Flags::BLOCKING) && row.keys.first > 0).collect();
        let taking = [2, 3, 1000, 1000][pick(rng, 4)];
        // Those who move an element from key to key are some of many: where nobody else waits, they meet.
        let movers: Vec<&'static Command> = candidates(table).into_iter().filter(|row| moves(row)).collect();
        let takers = if rng.one_in(4) { movers } else { takers };
        let splitters = candidates(table).into_iter().filter(|row| row.is_split_by_keys()).collect();
        let splitting = [1, 3, 1000, 1000][pick(rng, 4)];
        Self {
            rows,
            keys: Keys::draw(rng),
            garbled: 20 + rng.below(200),
            control: 3 + rng.below(40),
            taking,
            takers,
            splitting,
            splitters,
            controls,
        }
    }

    /// The next request of a client.
    pub(crate) fn next(&self, session: &Session, rng: &mut Rng) -> Vec<Vec<u8>> {
        loop {
            let row = if rng.one_in(self.control) {
                self.control_row(session, rng)
            } else if rng.one_in(self.taking) {
                self.takers[pick(rng, self.takers.len())]
            } else if rng.one_in(self.splitting) {
                self.splitters[pick(rng, self.splitters.len())]
            } else {
                self.data_row(rng)
            };
            if session.is_queueing() && NEVER_QUEUED.contains(&row.name) {
                continue;
            }
            let mut words = grammar::request(row, &self.keys, rng);
            if row.name == "hello" {
                // With AUTH or SETNAME inside it has a syntax of its own that no session need follow.
                words.truncate(2);
            }
            if rng.one_in(self.garbled) && !CONTROL.contains(&row.name) {
                garble(&mut words, rng);
            }
            return words;
        }
    }

    fn data_row(&self, rng: &mut Rng) -> &'static Command {
        let total = self.rows.last().map_or(1, |(sum, _)| *sum);
        let drawn = rng.below(total);
        self.rows[self.rows.partition_point(|(sum, _)| *sum <= drawn)].1
    }

    /// Ends a transaction more often than it begins one, and a connection seldom.
    fn control_row(&self, session: &Session, rng: &mut Rng) -> &'static Command {
        let named = |name: &str| self.controls.iter().copied().find(|row| row.name == name);
        if session.is_queueing()
            && rng.one_in(2)
            && let Some(row) = named("exec")
        {
            return row;
        }
        if session.wants_no_replies()
            && let Some(row) = named("client|reply")
        {
            return row;
        }
        loop {
            let row = self.controls[pick(rng, self.controls.len())];
            let is_rare = matches!(row.name, "quit" | "reset" | "client|reply");
            if !is_rare || rng.one_in(10) {
                return row;
            }
        }
    }
}

/// From one to a thousand; what empties everything is rarer, or nothing would ever be there.
fn weight(row: &Command, rng: &mut Rng) -> u64 {
    let weight = 1 << rng.below(11);
    if row.flags.has(Flags::WRITE) && row.flags.has(Flags::KEYSPACE) { 1 + weight / 256 } else { 8 * weight }
}

/// A word too many, too few, or another in its place.
fn garble(words: &mut Vec<Vec<u8>>, rng: &mut Rng) {
    let at = pick(rng, words.len());
    match rng.below(4) {
        0 => words.push(b"surplus".to_vec()),
        1 if words.len() > 1 => drop(words.pop()),
        2 => words[at] = b"other".to_vec(),
        _ => words[at].extend_from_slice(b"x"),
    }
}
