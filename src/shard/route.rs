//! Where a request runs: here, on another lane, or on several. A decision; `input.rs`, `txn.rs` act on it.
//!
//! ```text
//!  keys of one lane      Here | Lane       nine requests in ten; with shard ports, Here for all of them
//!  keys of several       Several           split or staged, under intents
//!  the whole keyspace    Several           all lanes
//!  no keys               Here
//! ```
//!
//! On a shard port a lane is a node of a cluster, whose client asks each node for its share: what concerns the whole keyspace there
//! concerns this lane's (DBSIZE, KEYS, SCAN, FLUSHALL, INFO). Keys of other lanes are fetched all the same.

use super::Shard;
use super::locks::{Mode, Scope};
use crate::base::hash::KeyHash;
use crate::base::lanes::ShardId;
use crate::command::places::Touch;
use crate::command::{Caller, Command, Merging, Over, Part, Run};
use crate::wire::request::Args;

/// Where a request runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    Here,
    Lane(ShardId),
    Several,
}

/// Whose the keys of a request are.
#[derive(Debug, Default)]
pub(super) struct Spread(pub(super) Vec<(ShardId, KeyHash, Mode)>);

impl Spread {
    /// The one other lane, where the keys are `home`'s and one other's.
    pub(super) fn companion(&self, home: ShardId) -> Option<ShardId> {
        let mut others = self.0.iter().map(|(lane, ..)| *lane).filter(|lane| *lane != home);
        let other = others.next()?;
        let is_pair = others.all(|lane| lane == other) && self.0.iter().any(|(lane, ..)| *lane == home);
        is_pair.then_some(other)
    }
}

impl Shard {
    /// `first` is the hash of the first key, if the row has any.
    pub(super) fn route(&self, caller: &Caller, row: &Command, args: Args<'_>, first: KeyHash) -> Route {
        if self.lanes.is_one() {
            return Route::Here;
        }
        match row.run {
            Run::Staged(_) if row.leads_elsewhere(args) => Route::Several,
            Run::Keys(_)
            | Run::Sliced { .. }
            | Run::Split { over: Over::Keys, .. }
            | Run::Staged(_)
            | Run::Blocking(_) => match (row.keys.first, caller.shard_port) {
                (0, true) => Route::Here,
                _ => self.owner_of_keys(row, args, first),
            },
            Run::Split { part: Part::Keys(_) | Part::Sliced(_), merge: Merging::Several(_), .. }
                if caller.shard_port =>
            {
                Route::Here
            }
            Run::Split { .. } => Route::Several,
            Run::Session(_) | Run::Filed(_) | Run::Verb(_) | Run::Container => Route::Here,
        }
    }

    /// Whether what all lanes have to say is wanted.
    pub(super) fn asks_all_lanes(&self, caller: &Caller) -> bool {
        !self.lanes.is_one() && !caller.shard_port
    }

    /// The route of a command by its keys alone, whatever its shape.
    pub(super) fn route_of_keys(&self, row: &Command, args: Args<'_>) -> Route {
        self.owner_of_keys(row, args, self.first_of(row, args))
    }

    /// The hashes of a request's keys in their order, each with its owner and how it is held.
    pub(super) fn spread(&self, row: &Command, args: Args<'_>) -> Spread {
        let owned = |(i, touch)| {
            let key = self.store.hash_key.key(args.at(i));
            (self.lanes.owner(key.slot()), key, mode_of(row, touch))
        };
        Spread(row.keys.touched(args).map(owned).collect())
    }

    fn owner_of_keys(&self, row: &Command, args: Args<'_>, first: KeyHash) -> Route {
        let slot = if row.keys.first > 0 { Some(first.slot()) } else { (row.about)(args) };
        let Some(slot) = slot else { return Route::Here };
        let owner = self.lanes.owner(slot);
        if !row.keys.is_single() && row.keys.positions(args).skip(1).any(|i| self.owner_of(args.at(i)) != owner) {
            return Route::Several;
        }
        if owner == self.me { Route::Here } else { Route::Lane(owner) }
    }

    /// The hash of the first key of a row, for requests whose first word does not tell their row.
    pub(super) fn first_of(&self, row: &Command, args: Args<'_>) -> KeyHash {
        match usize::from(row.keys.first) {
            0 => KeyHash::default(),
            first => args.get(first).map(|key| self.store.hash_key.key(key)).unwrap_or_default(),
        }
    }

    /// What a request must not find held by others. `None`: it looks at nothing that can be held, or gives no guarantee.
    pub(super) fn scope(&self, row: &Command, args: Args<'_>) -> Option<Scope> {
        match row.run {
            Run::Split { over: Over::Keyspace, .. } => Some(Scope::Whole(mode(row))),
            _ if row.leads_elsewhere(args) => {
                let writes = row.keys.touched(args).any(|(_, touch)| touch == Touch::Write);
                Some(Scope::Whole(if writes { Mode::Exclusive } else { Mode::Shared }))
            }
            _ if row.keys.first > 0 => {
                let keys = row.keys.touched(args);
                let held = |(i, touch)| (self.store.hash_key.key(args.at(i)), mode_of(row, touch));
                Some(Scope::of(keys.map(held)))
            }
            // SCAN must not show a key that is there only between two commands of an EXEC.
            Run::Keys(_) | Run::Sliced { .. } if (row.about)(args).is_some() => Some(Scope::Whole(Mode::Shared)),
            _ => None,
        }
    }
}

/// How a command holds its keys. What sets options holds everything to itself: of two such commands from two lanes, each lane must see the same one
/// last.
pub(super) fn mode(row: &Command) -> Mode {
    let sets_options = matches!(row.run, Run::Split { over: Over::Keyspace, part: Part::Desk(_), .. });
    if row.is_write() || sets_options { Mode::Exclusive } else { Mode::Shared }
}

/// How it holds one of them: what it only reads it lets others read.
fn mode_of(row: &Command, touch: Touch) -> Mode {
    if touch == Touch::Write { mode(row) } else { Mode::Shared }
}

/// Whether requests behind this one wait for it: it writes on several lanes, or changes what they depend on.
pub(super) fn is_barrier(row: &Command) -> bool {
    row.is_write() || matches!(row.run, Run::Split { part: Part::Desk(_), .. })
}
