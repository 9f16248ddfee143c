//! What of the keyspace a request touches: which of two requests may not change places.

use corelane::base::hash::slot;
use corelane::base::lanes::Lanes;
use corelane::command::places::Touch;
use corelane::command::{Command, Over, Run};
use corelane::wire::request::Request;

use super::log::{Call, CallId, Log};
use super::session::DATABASES;

/// Whether the order of two touches matters: that of two reads does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Access {
    Read,
    Write,
}

/// A key of a database.
pub(crate) type Place = (u8, Vec<u8>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Footprint {
    Keys(Vec<(Place, Access)>),
    /// All keys of all databases.
    Everything(Access),
    /// All keys are read and these are written, as by an EXEC with DBSIZE and SET, or by SORT with BY and STORE.
    Mixed(Vec<(Place, Access)>),
}

impl Footprint {
    pub(crate) fn writes(&self) -> bool {
        match self {
            Self::Keys(keys) => keys.iter().any(|(_, access)| *access == Access::Write),
            Self::Everything(access) => *access == Access::Write,
            Self::Mixed(_) => true,
        }
    }

    /// Whether both touch one key.
    pub(crate) fn meets(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Keys(one), Self::Keys(two)) => {
                one.iter().any(|(place, _)| two.iter().any(|(other, _)| other == place))
            }
            _ => true,
        }
    }

    /// What of it is one lane's.
    pub(crate) fn on_lane(&self, lane: usize, lanes: usize) -> Self {
        match self {
            Self::Keys(keys) => {
                let here = keys.iter().filter(|((_, key), _)| owner(key, lanes) == lane);
                Self::Keys(here.cloned().collect())
            }
            Self::Everything(access) => Self::Everything(*access),
            Self::Mixed(keys) => {
                let writes_here =
                    |((_, key), access): &(Place, Access)| *access == Access::Write && owner(key, lanes) == lane;
                Self::Everything(if keys.iter().any(writes_here) { Access::Write } else { Access::Read })
            }
        }
    }
}

/// The lane that owns a key.
pub(crate) fn owner(key: &[u8], lanes: usize) -> usize {
    Lanes::new(u16::try_from(lanes).expect("few lanes")).owner(slot(key)).index()
}

/// Commands that answer from a keyspace that changes under them. `guarantee` holds them to what they promise; they have no
/// place in the order, and inside MULTI only their form is looked at.
pub(crate) const LOOSE: &[&str] = &["keys", "randomkey", "scan"];

pub(crate) fn is_loose(call: &Call) -> bool {
    !call.is_queued && LOOSE.contains(&call.name())
}

/// A single request, whether sent alone or from a queue.
pub(crate) fn of_call(call: &Call, db: u8) -> Footprint {
    let Some(row) = call.row else { return Footprint::Keys(Vec::new()) };
    if row.keys.first == 0 {
        return match row.run {
            Run::Split { over: Over::Keyspace, .. } => Footprint::Everything(access(row)),
            _ => Footprint::Keys(Vec::new()),
        };
    }
    let mut keys = Vec::new();
    let request: Request = call.words.iter().map(Vec::as_slice).collect();
    for (at, touch) in row.keys.touched(request.args()) {
        let access = if touch == Touch::Read { Access::Read } else { access(row) };
        for db in databases(call, db, at) {
            keys.push(((db, call.words[at].clone()), access));
        }
    }
    match keys.iter().any(|(_, access)| *access == Access::Write) {
        _ if !row.leads_elsewhere(request.args()) => Footprint::Keys(keys),
        true => Footprint::Mixed(keys),
        false => Footprint::Everything(Access::Read),
    }
}

/// An EXEC: what its queue touches, and the keys that were watched for it.
pub(crate) fn of_exec(log: &Log, exec: CallId) -> Footprint {
    let calls = &log.clients[exec.client].calls;
    let mut keys: Vec<(Place, Access)> = watched(log, exec).into_iter().map(|place| (place, Access::Read)).collect();
    let mut everything = None;
    for (call, db) in queue(log, exec) {
        match of_call(&calls[call], db) {
            Footprint::Keys(more) => keys.extend(more),
            Footprint::Everything(access) => everything = everything.max(Some(access)),
            Footprint::Mixed(more) => {
                keys.extend(more);
                everything = everything.max(Some(Access::Read));
            }
        }
    }
    let writes = keys.iter().any(|(_, access)| *access == Access::Write);
    match everything {
        Some(Access::Read) if writes => Footprint::Mixed(keys),
        Some(access) => Footprint::Everything(access),
        None => Footprint::Keys(keys),
    }
}

/// The requests that an EXEC runs, by number, each with the database it runs in.
pub(crate) fn queue(log: &Log, exec: CallId) -> Vec<(usize, u8)> {
    let calls = &log.clients[exec.client].calls;
    let queued = calls[..exec.number].iter().rev().take_while(|call| !call.is("multi") || call.is_misplaced);
    let begin = exec.number - queued.count();
    let mut db = calls[exec.number].db;
    let mut found = Vec::new();
    for (number, call) in calls.iter().enumerate().take(exec.number).skip(begin).filter(|(_, call)| call.is_queued) {
        found.push((number, db));
        if call.is("select")
            && let Some(next) = number_at(call, 1)
        {
            db = next;
        }
    }
    found
}

/// The keys that an EXEC checks: those watched since the last EXEC, DISCARD, UNWATCH or RESET.
fn watched(log: &Log, exec: CallId) -> Vec<Place> {
    let mut places = Vec::new();
    for call in
        log.clients[exec.client].calls[..exec.number].iter().filter(|call| !call.is_queued && !call.is_misplaced)
    {
        match call.name() {
            "watch" => places.extend(call.words[1..].iter().map(|key| (call.db, key.clone()))),
            // Outside of MULTI they are refused, and what is watched stays so.
            "exec" | "discard" if call.reply.ends_with(b" without MULTI\r\n") => {}
            "exec" | "discard" | "unwatch" | "reset" => places.clear(),
            _ => {}
        }
    }
    places
}

fn access(row: &Command) -> Access {
    if row.is_write() { Access::Write } else { Access::Read }
}

/// The databases in which the key at word `at` is touched.
fn databases(call: &Call, db: u8, at: usize) -> Vec<u8> {
    let other = match call.name() {
        "move" => number_at(call, 2),
        "copy" if at == 2 => {
            let word = call.words.iter().skip(3).position(|word| word.eq_ignore_ascii_case(b"db"));
            return vec![word.and_then(|word| number_at(call, word + 4)).unwrap_or(db)];
        }
        _ => None,
    };
    std::iter::once(db).chain(other).collect()
}

fn number_at(call: &Call, at: usize) -> Option<u8> {
    let db = std::str::from_utf8(call.words.get(at)?).ok()?.parse().ok()?;
    (db < DATABASES).then_some(db)
}
