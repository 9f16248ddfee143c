//! Every way in which keys of a store change on a client's behalf.
//!
//! A write may come upon a key whose time has passed but which is not collected yet. To its client that key does not exist, yet whoever
//! repeats the effects of this store must not find it either; so each function here first collects such a key and states that it expired.
//! That the caller then says what its own change was (`Effects::happened`) is what a test over all commands checks.

use super::entry::{Death, Entry, EntryRef, Value};
use super::event::Event;
use super::journal::Over;
use super::keyspace::{Before, Sought, Write};
use super::restate::Statement;
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

    /// Changes what a key holds in place, which is a use but neither a hit nor a miss. `None`: no such key; `change` is given none if what is
    /// there is a short string.
    pub fn edit<R>(
        &mut self,
        db: u8,
        key: Key<'_>,
        now: Millis,
        change: impl FnOnce(Option<&mut Object>) -> R,
    ) -> Option<R> {
        let at = self.seek(db, key, now)?;
        Some(self.dbs[usize::from(db)].edit_at(at, key.hash, self.recency, change))
    }

    /// Removes a key; whether it was there to be seen.
    pub fn remove(&mut self, db: u8, key: Key<'_>, now: Millis) -> bool {
        let before = self.dbs[usize::from(db)].remove(key.bytes, key.hash, now, &mut self.graves);
        if let Before::Due(death) = before {
            self.expired(db, key, death);
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

    /// Puts what was taken or copied anywhere under a key; what was there dies. The recency stays that of the source. Whether something was
    /// there to be seen.
    pub fn put(&mut self, db: u8, key: Key<'_>, entry: Entry, now: Millis) -> Over {
        let before = self.dbs[usize::from(db)].put(key.bytes, key.hash, entry, now, &mut self.graves);
        self.overwrote(db, key, before);
        if before == Before::Present {
            // Redis removes the old key first, so that to its listeners this one is new.
            self.effects.also(db, Event::NEW, key);
            return Over::Another;
        }
        Over::Nothing
    }

    /// As `put`, of what another lane has sent: the value itself is the effect.
    pub fn receive(&mut self, db: u8, key: Key<'_>, entry: Entry, now: Millis) {
        let over = self.put(db, key, entry, now);
        self.state_value(db, key, over, now);
    }

    /// States that a key holds what it does now. `over`: what it held before is gone.
    pub fn state_value(&mut self, db: u8, key: Key<'_>, over: Over, now: Millis) {
        if let Some(entry) = self.dbs[usize::from(db)].find(key.bytes, key.hash, now) {
            self.effects.state_value(db, entry, over, &self.hash_key);
        }
    }

    /// Sets or clears a deadline. False if there is no such key.
    pub fn set_expiry(&mut self, db: u8, key: Key<'_>, now: Millis, deadline: Option<Millis>) -> bool {
        self.dbs[usize::from(db)].set_expiry(key.bytes, key.hash, now, deadline)
    }

    /// Empties a database in constant time.
    pub fn flush(&mut self, db: u8) {
        let keys = &mut self.dbs[usize::from(db)];
        if !keys.is_empty()
            && let Some(unsaid) = keys.clear(&mut self.graves)
        {
            self.snapshot.inherit(unsaid);
        }
        self.effects.happened_to_all(db);
    }

    /// Swaps two databases in constant time. One with itself changes nothing, for those who watch neither.
    pub fn swap(&mut self, one: u8, other: u8) {
        if one == other {
            return;
        }
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
            Sought::Due(at, death) => {
                self.dbs[usize::from(db)].remove_at(at, key.hash, &mut self.graves);
                self.expired(db, key, death);
                None
            }
        }
    }

    #[inline]
    fn overwrote(&mut self, db: u8, key: Key<'_>, before: Before) {
        match before {
            Before::Present => return,
            Before::Missing => {}
            Before::Due(death) => self.expired(db, key, death),
        }
        self.effects.also(db, Event::NEW, key);
    }

    /// Collects those of the fields that a write is about to touch whose time has passed, as what comes upon a key does: to the client they do
    /// not exist, and whoever repeats the write must not meet them either. Those of a packed hash all go, so that they do not count against
    /// its limits.
    #[cold]
    pub fn settle_fields<'f>(&mut self, db: u8, key: Key<'_>, now: Millis, fields: impl Iterator<Item = &'f [u8]>) {
        let (hasher, recording) = (self.hash_key, self.effects.recording);
        let (mut statement, mut displaced, mut gone) = (Statement::of(&[b"HDEL", key.bytes]), Vec::new(), 0);
        let keys = &mut self.dbs[usize::from(db)];
        keys.update_object(key.bytes, key.hash, now, |object| {
            if let Object::Hash(hash) = object {
                hash.settle(fields, now, &hasher, &mut displaced, |pair| {
                    gone += 1;
                    if recording {
                        statement.say(pair.first);
                    }
                });
            }
        });
        displaced.into_iter().for_each(|rope| self.graves.bury_object(Object::Rope(rope)));
        if gone > 0 {
            self.counters.expired_fields += gone;
            self.effects.fields_expired(db, key, &statement);
        }
    }

    #[cold]
    fn expired(&mut self, db: u8, key: Key<'_>, death: Death) {
        self.counters.died(death);
        self.effects.died(db, key, death);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::time::Now;
    use crate::store::entry::{Kind, ValueRef};
    use crate::store::keyspace::Deadline;
    use crate::types::rope::Rope;

    const SEED: [u64; 2] = [1, 2];

    fn store(unix_us: u64) -> Store {
        let mut store = Store::new(1, SEED, 0);
        store.begin_turn(Now { unix_us, mono_ns: 0 });
        store
    }

    fn key(store: &Store, bytes: &'static [u8]) -> Key<'static> {
        Key { bytes, hash: store.hash_key.key(bytes) }
    }

    fn assert_exact(store: &Store) {
        assert_eq!(store.db(0).recount(), Kind::ALL.map(|kind| store.db(0).usage(kind)));
    }

    /// Lanes share one hash key: a hash table travels as it is.
    #[test]
    fn a_key_travels_to_another_lane_with_all_it_has() {
        let (mut here, mut there, now) = (store(5_000_000), store(9_000_000), Millis(9_000));
        let (long, short) = (key(&here, b"long"), key(&here, b"short"));
        let write = Write { deadline: Deadline::At(Millis(99_000)), mc_flags: 7, cas: Some(3), ..Write::default() };
        here.set(
            0,
            long,
            Value::Object(Kind::String, Box::new(Object::Rope(Rope::from(&[b'x'; 100_000][..])))),
            write,
            now,
        );
        here.set_string(0, short, b"text", write, now);
        let recency = here.recency;
        let (copied, taken) =
            (here.copy(0, long, now).expect("it is there"), here.take(0, short, now).expect("it is there"));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let (other, short) = (key(&there, b"other"), key(&there, b"short"));
                there.set_string(0, other, b"dies", Write::default(), now);
                there.put(0, other, copied, now);
                there.put(0, short, taken, now);
                let entry = there.db(0).find(b"other", other.hash, now).expect("it arrived");
                let ValueRef::Object(Object::Rope(rope)) = entry.value() else { panic!("a long string") };
                assert!(rope.equals(&[b'x'; 100_000]));
                assert_eq!(
                    (entry.recency(), entry.expiry(), entry.fields().cas),
                    (recency, Some(Millis(99_000)), None)
                );
                let entry = there.db(0).find(b"short", short.hash, now).expect("it arrived");
                assert_eq!((entry.recency(), entry.fields().mc_flags, entry.fields().cas), (recency, 7, Some(3)));
                assert_eq!((there.db(0).len(), there.db(0).expiring()), (2, 2));
                assert_exact(&there);
            });
        });
        assert_eq!((here.db(0).len(), here.db(0).expiring()), (1, 1));
        assert_exact(&here);
        drop(there);
        let ValueRef::Object(Object::Rope(rope)) = here.db(0).find(b"long", long.hash, now).expect("it stayed").value()
        else {
            panic!("a long string")
        };
        assert!(rope.equals(&[b'x'; 100_000]), "the copy shared its nodes and is gone");
    }

    #[test]
    fn a_write_that_comes_upon_a_key_whose_time_has_passed_says_that_it_expired() {
        let writes: [fn(&mut Store, Key<'_>, Millis); 6] = [
            |store, key, now| assert!(store.touch(0, key, now).is_none()),
            |store, key, now| assert!(store.peek(0, key, now).is_none()),
            |store, key, now| store.set_string(0, key, b"new", Write::default(), now),
            |store, key, now| assert!(!store.remove(0, key, now)),
            |store, key, now| assert!(store.take(0, key, now).is_none()),
            |store, key, now| {
                let entry = Entry::new(b"any", Value::Embedded(b"v"), Default::default());
                store.put(0, key, entry, now);
            },
        ];
        for write in writes {
            let mut store = store(0);
            store.effects.recording = true;
            let due = key(&store, b"due");
            let at = Write { deadline: Deadline::At(Millis(10)), ..Write::default() };
            store.set_string(0, due, b"old", at, Millis(0));
            write(&mut store, due, Millis(10));
            assert_eq!((store.effects.is_empty(), store.counters.expired), (false, 1));
            assert_exact(&store);
        }
    }
}
