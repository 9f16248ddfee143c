//! Commands that answer from a keyspace which changes under them, held to what they promise.
//!
//! ```text
//!  order     ... DEL k1 | SET k2 | FLUSHDB | SET k3 ...        positions
//!                   [ window of a KEYS ]                       from what may have run after it was sent
//!                                                              to what may have run before it was answered
//!  possible  alive at any position of the window               all that may be answered
//!  sure      alive at every position of it                     all that must be
//! ```
//!
//! KEYS walks on while an EXEC over several lanes is half done: what such an EXEC writes may be answered or not. KEYS answers every other sure key that matches, once. An iteration of SCAN as a whole does, over the window from its first call to its last.
//! RANDOMKEY answers a possible key; null only if none is sure, or if picks may have hit keys that were due. Times are taken at their
//! widest: the earliest clock of any lane when it was sent, the latest when it was answered.

use std::collections::{BTreeMap, BTreeSet};

use corelane::base::glob::{self, Case};
use corelane::base::time::Millis;
use corelane::shard::Shard;
use corelane::store::entry::ValueRef;
use corelane::types::Object;

use super::footprint::{Access, Footprint, Place, is_loose, of_call, queue};
use super::frames;
use super::log::{Call, CallId, Log};
use super::order::Node;

/// A key's life: `None` where it is absent, else when it dies, from a position on.
type Life = Vec<(usize, Option<Millis>)>;

/// All lives of a replay.
#[derive(Default)]
pub(crate) struct Lives(BTreeMap<Place, Life>);

impl Lives {
    /// After the request at `position` has been replayed.
    pub(crate) fn note(&mut self, position: usize, footprint: &Footprint, oracle: &Shard) {
        match footprint {
            Footprint::Keys(keys) => keys.iter().for_each(|(place, _)| self.note_key(position, place, oracle)),
            Footprint::Everything(_) | Footprint::Mixed(_) if footprint.writes() => {
                // What was named in the same EXEC appears in the list as soon as anything names it again; so it is looked up here.
                let known: BTreeSet<Place> = self.0.keys().cloned().chain(present(oracle)).collect();
                known.iter().for_each(|place| self.note_key(position, place, oracle));
            }
            Footprint::Everything(_) | Footprint::Mixed(_) => {}
        }
    }

    fn note_key(&mut self, position: usize, place: &Place, oracle: &Shard) {
        let state = look_up(oracle, place);
        let life = self.0.entry(place.clone()).or_default();
        if life.last().and_then(|(_, state)| *state) != state {
            life.push((position, state));
        }
    }
}

/// When a key dies, whether or not that is past; `None` without such a key.
fn look_up(oracle: &Shard, (db, key): &Place) -> Option<Millis> {
    let store = oracle.store();
    let (_, keys) = store.open_databases().find(|(number, _)| *number == usize::from(*db))?;
    let entry = keys.find(key, store.hash_key.key(key), Millis(0))?;
    Some(entry.expiry().unwrap_or(NEVER).min(last_field(entry.value())))
}

const NEVER: Millis = Millis(u64::MAX);

/// When the last field of a hash dies, and the hash with it.
fn last_field(value: ValueRef<'_>) -> Millis {
    let ValueRef::Object(Object::Hash(hash)) = value else { return NEVER };
    let mut last = Millis(0);
    hash.for_each(|pair| last = last.max(pair.deadline.unwrap_or(NEVER)));
    last
}

fn present(oracle: &Shard) -> Vec<Place> {
    super::content::content(oracle, Millis(0)).into_keys().collect()
}

/// Checks every loose request that was answered.
pub(crate) fn check(log: &Log, order: &[Node], lives: &Lives) -> Result<(), String> {
    let mut iterations: BTreeMap<usize, Vec<CallId>> = BTreeMap::new();
    for (client, calls) in log.clients.iter().enumerate() {
        for (number, call) in calls.calls.iter().enumerate() {
            let id = CallId { client, number };
            if call.answered.is_none() || !is_loose(call) || frames::is_error(&call.reply) {
                continue;
            }
            let mut found = Found::of(order, lives, [call]);
            let checked = match call.name() {
                "keys" => {
                    found.shake(log, order, call);
                    check_keys(call, &found)
                }
                "randomkey" => check_random(call, &found),
                _ => check_scan(call, &found),
            };
            checked.map_err(|why| format!("{why}: {}", log.describe(id)))?;
            if let Some(iteration) = call.scan {
                iterations.entry(iteration).or_default().push(id);
            }
        }
    }
    iterations.values().try_for_each(|calls| check_iteration(log, order, lives, calls))
}

/// What may and what must be found in a window.
struct Found {
    possible: BTreeSet<Vec<u8>>,
    sure: BTreeSet<Vec<u8>>,
    /// Whether a key may have been there whose time had passed.
    some_due: bool,
}

impl Found {
    /// In the window over all of `calls`, which are in one database.
    fn of<'c>(order: &[Node], lives: &Lives, calls: impl IntoIterator<Item = &'c Call> + Clone) -> Self {
        let first = calls.clone().into_iter().next().expect("a window is of something");
        let last = calls.into_iter().last().expect("a window is of something");
        let (from, to) = window(order, first, last);
        let mut found = Self { possible: BTreeSet::new(), sure: BTreeSet::new(), some_due: false };
        for ((_, key), life) in lives.0.iter().filter(|((db, _), _)| *db == first.db) {
            let begin = life.iter().rev().find(|(position, _)| *position < from).and_then(|(_, state)| *state);
            let within = life.iter().filter(|(position, _)| *position >= from && to.is_some_and(|to| *position <= to));
            let states: Vec<Option<Millis>> = std::iter::once(begin).chain(within.map(|(_, state)| *state)).collect();
            let alive = |state: &Option<Millis>, at: Millis| state.is_some_and(|dies| dies > at);
            if states.iter().any(|state| alive(state, first.sent_ms)) {
                found.possible.insert(key.clone());
            }
            if states.iter().all(|state| alive(state, last.answered_ms)) {
                found.sure.insert(key.clone());
            }
            found.some_due |= states.iter().flatten().any(|dies| *dies <= last.answered_ms);
        }
        found
    }

    /// What each EXEC in the window writes may be seen halfway.
    fn shake(&mut self, log: &Log, order: &[Node], call: &Call) {
        let (from, to) = window(order, call, call);
        let Some(window) = to.and_then(|to| order.get(from..=to)) else { return };
        for exec in window.iter().filter(|node| log.call(node.call).is("exec") && node.footprint.writes()) {
            for (queued, db) in queue(log, exec.call) {
                match of_call(&log.clients[exec.call.client].calls[queued], db) {
                    Footprint::Keys(keys) => {
                        for ((_, key), _) in
                            keys.into_iter().filter(|((db, _), access)| *access == Access::Write && *db == call.db)
                        {
                            self.sure.remove(&key);
                            self.possible.insert(key);
                        }
                    }
                    Footprint::Everything(Access::Write) => self.sure.clear(),
                    _ => {}
                }
            }
        }
    }
}

/// Where in the order the requests from `first` to `last` may have run.
fn window(order: &[Node], first: &Call, last: &Call) -> (usize, Option<usize>) {
    let from = order.iter().position(|node| Some(node.last) >= first.sent).unwrap_or(order.len());
    (from, order.iter().rposition(|node| Some(node.first) <= last.answered))
}

fn check_keys(call: &Call, found: &Found) -> Result<(), String> {
    let answered = names(frames::items(&call.reply))?;
    let once: BTreeSet<Vec<u8>> = answered.iter().cloned().collect();
    if once.len() < answered.len() {
        return Err("a key is answered twice".into());
    }
    let pattern = call.words.get(1).map(Vec::as_slice).unwrap_or_default();
    are_possible(&once, found, Some(pattern))?;
    has_all_sure(&once, found, Some(pattern))
}

fn check_random(call: &Call, found: &Found) -> Result<(), String> {
    if frames::is_null(&call.reply) {
        let excused = found.sure.is_empty() || found.some_due;
        return if excused { Ok(()) } else { Err("there are keys, and none is answered".into()) };
    }
    let key = frames::text(&call.reply).ok_or("RANDOMKEY answers a string")?.to_vec();
    are_possible(&BTreeSet::from([key]), found, None)
}

fn check_scan(call: &Call, found: &Found) -> Result<(), String> {
    let answered = scanned(call)?.into_iter().collect();
    are_possible(&answered, found, option(call, b"match"))
}

/// A whole iteration, if it came to its end, answers every key that was there all the while.
fn check_iteration(log: &Log, order: &[Node], lives: &Lives, ids: &[CallId]) -> Result<(), String> {
    let calls: Vec<&Call> = ids.iter().map(|id| log.call(*id)).collect();
    let (Some(first), Some(last)) = (calls.first(), calls.last()) else { return Ok(()) };
    let is_over = frames::items(&last.reply).is_some_and(|items| frames::text(items[0]) == Some(b"0"));
    let begins = first.words.get(1).is_some_and(|cursor| cursor == b"0");
    if !is_over || !begins || option(first, b"type").is_some() {
        return Ok(());
    }
    let mut answered = BTreeSet::new();
    for call in &calls {
        answered.extend(scanned(call)?);
    }
    let found = Found::of(order, lives, calls.iter().copied());
    has_all_sure(&answered, &found, option(first, b"match"))
        .map_err(|why| format!("{why}: an iteration up to {}", log.describe(*ids.last().expect("calls have ids"))))
}

fn are_possible(answered: &BTreeSet<Vec<u8>>, found: &Found, pattern: Option<&[u8]>) -> Result<(), String> {
    match answered.iter().find(|key| !found.possible.contains(*key) || !fits(pattern, key)) {
        Some(key) => Err(format!("{} was not there all the while, or does not match", key.escape_ascii())),
        None => Ok(()),
    }
}

fn has_all_sure(answered: &BTreeSet<Vec<u8>>, found: &Found, pattern: Option<&[u8]>) -> Result<(), String> {
    match found.sure.iter().find(|key| fits(pattern, key) && !answered.contains(*key)) {
        Some(key) => Err(format!("{} was there all the while and is not answered", key.escape_ascii())),
        None => Ok(()),
    }
}

fn fits(pattern: Option<&[u8]>, key: &[u8]) -> bool {
    pattern.is_none_or(|pattern| glob::matches(pattern, key, Case::Exact))
}

fn scanned(call: &Call) -> Result<Vec<Vec<u8>>, String> {
    match frames::items(&call.reply).as_deref() {
        Some([_, keys]) => names(frames::items(keys)),
        _ => Err("SCAN answers a cursor and keys".into()),
    }
}

fn names(items: Option<Vec<&[u8]>>) -> Result<Vec<Vec<u8>>, String> {
    let items = items.ok_or("an array was to come")?;
    items
        .iter()
        .map(|item| frames::text(item).map(<[u8]>::to_vec).ok_or_else(|| "keys are strings".to_owned()))
        .collect()
}

/// The word behind an option's name; the last one counts.
fn option<'c>(call: &'c Call, name: &[u8]) -> Option<&'c [u8]> {
    let at = call.words.iter().skip(2).step_by(2).rposition(|word| word.eq_ignore_ascii_case(name))?;
    call.words.get(2 + 2 * at + 1).map(Vec::as_slice)
}
