//! Every way in which keys of a store change on a client's behalf.
//!
//! A write may come upon a key whose time has passed but which is not collected yet. To its client that key does not exist, yet whoever
//! repeats the effects of this store must not find it either; so each function here first collects such a key and states that it expired.
//! That the caller then says what its own change was (`Effects::happened`) is what a test over all commands checks.

use super::entry::{Entry, EntryRef, Value};
use super::event::Event;
use super::keyspace::{Before, Sought, Write};
use super::{Key, Store};
use crate::base::time::Millis;
use crate::types::Object;
use crate::types::dict::At;

impl Store {
    /// Looks a key up for a write, which is a use but neither a hit nor a miss, as in Redis.
    #[inline]
    pub fn touch(&mut self, db: u8, key: Key<'_>, now: Millis) -> Option<EntryRef<'_>> {
        let at = self.seek(db, key, now)?;
        Some(self.dbs[usize::from(db)].touch_at(at, self.recency))
    }

    /// Looks a key up for a write without using it.
    #[inline]
    pub fn peek(&mut self, db: u8, key: Key<'_>, now: Millis) -> Option<EntryRef<'_>> {
        let at = self.seek(db, key, now)?;
        Some(self.dbs[usize::from(db)].entry_at(at))
    }

    /// Stores a string, embedded if it is short.
    #[inline]
    pub fn set_string(&mut self, db: u8, key: Key<'_>, text: &[u8], write: Write, now: Millis) {
        let write = Write { recency: self.recency, ..write };
        let keys = &mut self.dbs[usize::from(db)];
        let before = keys.set_string(key.bytes, key.hash, text, write, now, &mut self.graves);
        self.overwrote(db, key, before);
    }

    /// Stores a value.
    pub fn set(&mut self, db: u8, key: Key<'_>, value: Value<'_>, write: Write, now: Millis) {
        let write = Write { recency: self.recency, ..write };
        let before = self.dbs[usize::from(db)].set(key.bytes, key.hash, value, write, now, &mut self.graves);
        self.overwrote(db, key, before);
    }

    /// Changes a boxed value in place. `None`: no such key, or its value is embedded.
    pub fn update_object<R>(
        &mut self,
        db: u8,
        key: Key<'_>,
        now: Millis,
        change: impl FnOnce(&mut Object) -> R,
    ) -> Option<R> {
        self.dbs[usize::from(db)].update_object(key.bytes, key.hash, now, change)
    }

    /// Removes a key; whether it was there to be seen.
    pub fn remove(&mut self, db: u8, key: Key<'_>, now: Millis) -> bool {
        let before = self.dbs[usize::from(db)].remove(key.bytes, key.hash, now, &mut self.graves);
        if before == Before::Due {
            self.expired(db, key);
        }
        before == Before::Present
    }

    /// Takes a key out with its value, deadline and all, to be put elsewhere: under another key, in another database, on another lane.
    pub fn take(&mut self, db: u8, key: Key<'_>, now: Millis) -> Option<Entry> {
        self.seek(db, key, now)?;
        self.dbs[usize::from(db)].take(key.bytes, key.hash)
    }

    /// A copy of a key with its value, deadline and all, to be put elsewhere. Large values share their nodes.
    pub fn copy(&mut self, db: u8, key: Key<'_>, now: Millis) -> Option<Entry> {
        self.read(db, key, now).map(EntryRef::duplicate)
    }

    /// Puts what was taken or copied anywhere under a key; what was there dies. The recency stays that of the source.
    pub fn put(&mut self, db: u8, key: Key<'_>, entry: Entry, now: Millis) {
        let before = self.dbs[usize::from(db)].put(key.bytes, key.hash, entry, now, &mut self.graves);
        self.overwrote(db, key, before);
        if before == Before::Present {
            // Redis removes the old key first, so that to its listeners this one is new.
            self.effects.also(db, Event::NEW, key);
        }
    }

    /// Sets or clears a deadline. False if there is no such key.
    pub fn set_expiry(&mut self, db: u8, key: Key<'_>, now: Millis, deadline: Option<Millis>) -> bool {
        self.dbs[usize::from(db)].set_expiry(key.bytes, key.hash, now, deadline)
    }

    /// Empties a database in constant time.
    pub fn flush(&mut self, db: u8) {
        let keys = &mut self.dbs[usize::from(db)];
        if !keys.is_empty() {
            keys.clear(&mut self.graves);
        }
        self.effects.happened_to_all(db);
    }

    /// Swaps two databases in constant time.
    pub fn swap(&mut self, one: u8, other: u8) {
        self.dbs.swap(usize::from(one), usize::from(other));
        self.effects.happened_to_all(one);
        self.effects.happened_to_all(other);
    }

    /// Entries that the table of a database has moved since the last call; see `Dict::take_moved`.
    #[inline]
    pub fn take_moved(&mut self, db: u8) -> u32 {
        self.dbs[usize::from(db)].take_moved()
    }

    #[inline]
    fn seek(&mut self, db: u8, key: Key<'_>, now: Millis) -> Option<At> {
        match self.dbs[usize::from(db)].seek(key.bytes, key.hash, now) {
            Sought::Present(at) => Some(at),
            Sought::Missing => None,
            Sought::Due(at) => {
                self.dbs[usize::from(db)].remove_at(at, key.hash, &mut self.graves);
                self.expired(db, key);
                None
            }
        }
    }

    #[inline]
    fn overwrote(&mut self, db: u8, key: Key<'_>, before: Before) {
        if before == Before::Due {
            self.expired(db, key);
        }
        if before != Before::Present {
            self.effects.also(db, Event::NEW, key);
        }
    }

    #[cold]
    fn expired(&mut self, db: u8, key: Key<'_>) {
        self.counters.expired += 1;
        self.effects.expired(db, key);
    }
}
