//! A transaction in the making: which lanes take part, what they hold, and the steps.
//!
//! ```text
//!  EXEC           its queue and its watched keys          verbs.rs    at once, or so many words a turn (long.rs)
//!  RENAME, MSET   one command of several lanes            verbs.rs
//! ```
//!
//! Keys are noted in any order and number: few of them are sorted once, very many are a set for each lane (`Scope::Many`).

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use hashbrown::HashSet;

use super::errand::Errand;
use super::locks::Mode;
use super::route::Spread;
use super::steps::Step;
use super::txn::Share;
use crate::base::hash::KeyHash;
use crate::base::lanes::ShardId;
use crate::command::multi::WatchedKey;
use crate::command::{Caller, Command};

#[derive(Debug)]
pub(super) struct Plan {
    pub(super) caller: Caller,
    pub(super) steps: VecDeque<Step>,
    /// It may need memory.
    pub(super) grows: bool,
    pub(super) pace: Pace,
    shares: Vec<Share>,
    keys: Noted,
    /// Words of the last step, if that is a batch.
    batched: usize,
}

/// How a transaction's steps follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    AtOnce,
    /// There are very many: a turn takes as many as it has time for.
    InSlices,
}

/// What is held.
#[derive(Debug)]
enum Noted {
    Few(Vec<(ShardId, KeyHash, Mode)>),
    Many(BTreeMap<ShardId, Holding>),
}

/// What is held of a lane, in no order: all of it in one mode, the stronger.
#[derive(Debug)]
struct Holding {
    keys: HashSet<KeyHash>,
    mode: Mode,
}

impl Default for Holding {
    fn default() -> Self {
        Self { keys: HashSet::new(), mode: Mode::Shared }
    }
}

impl Plan {
    pub(super) fn of(caller: Caller, pace: Pace) -> Self {
        let keys = match pace {
            Pace::AtOnce => Noted::Few(Vec::new()),
            Pace::InSlices => Noted::Many(BTreeMap::new()),
        };
        Self { caller, steps: VecDeque::new(), grows: false, pace, shares: Vec::new(), keys, batched: 0 }
    }

    pub(super) fn share(&mut self, lane: ShardId) -> &mut Share {
        let at = match self.shares.binary_search_by_key(&lane, |share| share.lane) {
            Ok(at) => at,
            Err(at) => {
                self.shares.insert(at, Share::new(lane));
                at
            }
        };
        &mut self.shares[at]
    }

    /// Makes room for so many keys of each lane, so that none of the sets is rebuilt as it grows.
    pub(super) fn expect_keys(&mut self, lanes: impl Iterator<Item = ShardId>, count: usize) {
        if let Noted::Many(sets) = &mut self.keys {
            // What is watched may stand there already.
            lanes.for_each(|lane| sets.entry(lane).or_default().keys.reserve(count));
        }
    }

    /// Holds the keys of a command.
    pub(super) fn hold(&mut self, spread: &Spread, row: &Command) {
        spread.0.iter().for_each(|(lane, key, mode)| self.hold_one(row, *lane, *key, *mode));
    }

    /// Holds one of them.
    pub(super) fn hold_one(&mut self, row: &Command, lane: ShardId, key: KeyHash, mode: Mode) {
        if row.is_write() {
            self.share(lane).signs = true;
        }
        self.note(lane, key, mode);
    }

    /// Holds a key that EXEC has watched.
    pub(super) fn watch(&mut self, lane: ShardId, key: WatchedKey) {
        self.note(lane, key.hash, Mode::Shared);
        self.share(lane).watched.push(key);
    }

    fn note(&mut self, lane: ShardId, key: KeyHash, mode: Mode) {
        match &mut self.keys {
            Noted::Few(keys) => keys.push((lane, key, mode)),
            Noted::Many(sets) => {
                let claim = sets.entry(lane).or_default();
                claim.keys.insert(key);
                if mode == Mode::Exclusive {
                    claim.mode = mode;
                }
            }
        }
    }

    /// The shares, with all that they hold.
    pub(super) fn take_shares(&mut self) -> Vec<Share> {
        match std::mem::replace(&mut self.keys, Noted::Few(Vec::new())) {
            Noted::Few(mut keys) => {
                keys.sort_unstable_by_key(|(lane, key, _)| (*lane, *key));
                for keys in keys.chunk_by(|one, other| one.0 == other.0) {
                    self.share(keys[0].0).hold(keys.iter().map(|(_, key, mode)| (*key, *mode)));
                }
            }
            Noted::Many(sets) => {
                for (lane, Holding { keys, mode }) in sets.into_iter().filter(|(_, claim)| !claim.keys.is_empty()) {
                    self.share(lane).hold_many(Arc::new(keys), mode);
                }
            }
        }
        std::mem::take(&mut self.shares)
    }

    /// Lanes that take part and hold nothing.
    pub(super) fn join_all(&mut self, lanes: impl Iterator<Item = ShardId>) {
        lanes.for_each(|lane| {
            self.share(lane);
        });
    }

    /// A command of one lane: beside those before it, as far as they are of one lane each and, in slices, are no more than `words_max` words.
    pub(super) fn add(&mut self, lane: ShardId, errand: Errand, words_max: usize) {
        let words = errand.request.args().len();
        self.batched += words;
        let is_full = self.pace == Pace::InSlices && self.batched > words_max;
        if let Some(batch) = self.steps.back_mut().filter(|step| step.is_batch() && !is_full) {
            return batch.add(lane, errand);
        }
        let mut batch = Step::batch();
        batch.add(lane, errand);
        self.steps.push_back(batch);
        self.batched = words;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::locks::Scope;

    #[test]
    fn what_is_watched_is_held_whatever_room_is_made_afterwards() {
        let (lane, hash) = (ShardId(0), KeyHash(7));
        for pace in [Pace::AtOnce, Pace::InSlices] {
            let mut plan = Plan::of(Caller::nobody(lane, 0), pace);
            let version = Default::default();
            let watched = WatchedKey { db: 0, key: Box::from(*b"k"), hash, version, existed: true, fades: None };
            plan.watch(lane, watched);
            plan.expect_keys([lane, ShardId(1)].into_iter(), 100);
            let shares = plan.take_shares();
            assert_eq!(shares.len(), 1, "a lane of which nothing is held takes no part");
            let holds = match &shares[0].scope {
                Some(Scope::Keys(keys)) => keys == &[(hash, Mode::Shared)],
                Some(Scope::Many(keys, Mode::Shared)) => keys.len() == 1 && keys.contains(&hash),
                _ => false,
            };
            assert!(holds, "{pace:?}: {:?}", shares[0].scope);
        }
    }
}
