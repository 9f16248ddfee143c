//! How handlers reach a hash.

use crate::base::hash::HashKey;
use crate::base::time::Millis;
use crate::command::Ctx;
use crate::command::caller::Key;
use crate::store::entry::{EntryRef, Kind, Value, ValueRef};
use crate::store::event::Event;
use crate::store::keyspace::Write;
use crate::types::Object;
use crate::types::hash::{Hash, Limits, Until};
use crate::types::rope::Rope;
use crate::types::trie::{Pair, Written};
use crate::wire::fault::Fault;

/// By which names what an edit did to its hash is told: the first counts as the change.
pub(super) type Changes = &'static [Event];

/// It did nothing.
pub(super) const NONE: Changes = &[];

/// What an entry holds, if that is a hash; a fault when it is something else.
fn as_hash(entry: Option<EntryRef<'_>>) -> Result<Option<&Hash>, Fault> {
    match entry.map(EntryRef::value) {
        None => Ok(None),
        Some(ValueRef::Object(Object::Hash(hash))) => Ok(Some(hash)),
        Some(_) => Err(Fault::WrongType),
    }
}

/// How a hash is reached from a handler.
impl Ctx<'_> {
    /// The hash at `key`, with the hash key that its look-ups want; a fault when it holds something else.
    pub(in crate::command) fn hash(&mut self, key: Key<'_>) -> Result<Option<(&Hash, HashKey)>, Fault> {
        let hasher = self.store.hash_key;
        Ok(as_hash(self.read(key))?.map(|hash| (hash, hasher)))
    }

    /// The hash that a write is about to change; counts no hit and no miss.
    pub(super) fn old_hash(&mut self, key: Key<'_>) -> Result<Option<(&Hash, HashKey)>, Fault> {
        let hasher = self.store.hash_key;
        let entry = self.store.touch(self.db, key, self.now);
        Ok(as_hash(entry)?.map(|hash| (hash, hasher)))
    }

    /// Changes the hash at `key`, which is made if it is missing and removed if nothing is left in it:
    /// 1. collects those of `touched` that are due, which to the client do not exist;
    /// 2. tells what `change` says it did, and the removal as well.
    pub(super) fn change_hash<'f, R>(
        &mut self,
        key: Key<'_>,
        touched: impl IntoIterator<Item = &'f [u8]>,
        change: impl FnOnce(&mut HashEdit<'_>) -> (R, Changes),
    ) -> Result<R, Fault> {
        let now = self.now;
        let before = self.old_hash(key)?.map(|(hash, _)| hash.times().some_due(now));
        if before == Some(true) {
            self.store.settle_fields(self.db, key, now, &mut touched.into_iter());
        }
        let limits = Limits {
            entries: usize::try_from(self.config.hash_packed_entries_max()).unwrap_or(0),
            value_bytes: usize::try_from(self.config.hash_packed_value_bytes_max()).unwrap_or(usize::MAX),
        };
        let hasher = self.store.hash_key;
        let mut displaced = Vec::new();
        let edit = |hash: &mut Hash| {
            let (result, changes) = change(&mut HashEdit { hash, limits, hasher, now, displaced: &mut displaced });
            (result, changes, hash.is_empty())
        };
        let (result, changes, empty) = if before.is_none() {
            let mut hash = Hash::default();
            let done = edit(&mut hash);
            let value = Value::Object(Kind::Hash, Box::new(Object::Hash(hash)));
            self.store.set(self.db, key, value, Write::default(), self.now);
            done
        } else {
            self.update_object(key, |object| match object {
                Object::Hash(hash) => edit(hash),
                _ => unreachable!("the type was looked at above"),
            })
            .expect("the key was found above")
        };
        displaced.into_iter().for_each(|rope| self.store.graves.bury_object(Object::Rope(rope)));
        if let [event, more @ ..] = changes {
            self.happened(*event, key);
            more.iter().for_each(|event| self.store.effects.also(self.db, *event, key));
        }
        if empty {
            self.bury(key);
            self.store.effects.also(self.db, Event::DEL, key);
        }
        Ok(result)
    }
}

/// A hash being written.
pub(super) struct HashEdit<'h> {
    hash: &'h mut Hash,
    limits: Limits,
    hasher: HashKey,
    now: Millis,
    displaced: &'h mut Vec<Rope>,
}

impl HashEdit<'_> {
    pub(super) fn find(&self, field: &[u8]) -> Option<Pair<'_>> {
        self.hash.pair(field, &self.hasher, self.now)
    }

    pub(super) fn set(&mut self, field: &[u8], value: &[u8], until: Until) -> Written {
        self.hash.set(field, value, until, self.limits, &self.hasher, self.displaced)
    }

    pub(super) fn restamp(&mut self, field: &[u8], deadline: Option<Millis>) {
        self.hash.restamp(field, deadline, &self.hasher);
    }

    pub(super) fn remove(&mut self, field: &[u8]) -> bool {
        self.hash.remove(field, &self.hasher, self.displaced)
    }
}
