//! Layer 3: everything one shard holds. No I/O; the time is an argument.

mod change;
pub mod entry;
pub mod event;
pub mod expiry;
pub mod incoming;
pub mod journal;
pub mod keyspace;
pub mod restate;
pub mod snapshot;
pub mod text;
pub mod waiters;
pub mod watchers;

use crate::base::hash::{HashKey, KeyHash};
use crate::base::lags::Lags;
use crate::base::limits::{self, Strides};
use crate::base::rng::{Dice, Rng};
use crate::base::time::{Millis, Now};
use crate::types::Progress;
pub use crate::types::dict::Spot;
use entry::{Death, EntryRef, Kind, Recency};
use event::Event;
use expiry::Deadlines;
use incoming::Incoming;
use journal::{Effects, Happened};
use keyspace::{Collected, Graveyard, Keyspace};
use restate::Statement;
use snapshot::Snapshot;
use waiters::{Place, WaiterId, Waiters};
use watchers::{Version, Watchers};

/// A key and its place in the keyspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key<'k> {
    pub bytes: &'k [u8],
    pub hash: KeyHash,
}

/// What handlers count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    pub hits: u64,
    pub misses: u64,
    pub expired: u64,
    /// Fields of hashes.
    pub expired_fields: u64,
    pub evicted: u64,
    /// How long after its deadline the latest key to expire was collected, and the longest that ever took.
    pub expire_lag_us: u64,
    pub expire_lag_max_us: u64,
    pub expire_lags: Lags,
}

impl Counters {
    #[inline]
    fn looked_up(&mut self, found: bool) {
        *(if found { &mut self.hits } else { &mut self.misses }) += 1;
    }

    /// A key is gone by itself.
    fn died(&mut self, death: Death) {
        match death {
            Death::Deadline => self.expired += 1,
            Death::Faded { fields } => self.expired_fields += u64::from(fields),
        }
    }

    /// What was due then is collected now.
    fn note_lag(&mut self, deadline: Option<Millis>, now: Now) {
        let due_us = deadline.map_or(now.unix_us, |due| due.0 * 1000);
        self.expire_lag_us = now.unix_us.saturating_sub(due_us);
        self.expire_lag_max_us = self.expire_lag_max_us.max(self.expire_lag_us);
        self.expire_lags.note(self.expire_lag_us);
    }
}

/// When a store has something to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    Now,
    /// In nanoseconds of the monotonic clock, if ever.
    At(Option<u64>),
}

/// The databases of one shard.
pub struct Store {
    dbs: Vec<Keyspace>,
    /// What is dead and too large to be freed at once.
    pub graves: Graveyard,
    pub hash_key: HashKey,
    pub effects: Effects,
    /// What is being said of the keyspace as it was at a moment.
    snapshot: Snapshot,
    /// Long words of the running request.
    pub incoming: Incoming,
    pub watchers: Watchers,
    pub waiters: Waiters,
    pub counters: Counters,
    /// The most that `bytes_used` was when somebody looked.
    pub bytes_peak: usize,
    pub rng: Rng,
    pub dice: Dice,
    /// The stamp of whatever is touched in this turn.
    pub recency: Recency,
    pub strides: Strides,
    /// The database whose keys expire first in the next turn.
    expire_from: usize,
}

impl Store {
    /// Stores of one server share the seed, so that what is ordered by hash may move between them; their random choices differ.
    pub fn new(databases: usize, seed: [u64; 2], lane: u16) -> Self {
        let hash_key = HashKey::new(seed);
        Self {
            dbs: (0..databases).map(|_| Keyspace::new(hash_key)).collect(),
            graves: Graveyard::default(),
            hash_key,
            effects: Effects::default(),
            snapshot: Snapshot::default(),
            incoming: Incoming::default(),
            watchers: Watchers::default(),
            waiters: Waiters::default(),
            counters: Counters::default(),
            bytes_peak: 0,
            rng: Rng::new(seed[0] ^ seed[1].rotate_left(32) ^ u64::from(lane)),
            dice: Dice::default(),
            recency: Recency::default(),
            strides: Strides::default(),
            expire_from: 0,
        }
    }

    pub fn begin_turn(&mut self, now: Now) {
        self.recency = Recency::at(now.millis());
        self.graves.begin_turn();
    }

    pub fn databases(&self) -> usize {
        self.dbs.len()
    }

    /// A database to look into; it is changed through `change.rs` only.
    ///
    /// # Panics
    /// If there is no such database: SELECT let none through.
    #[inline]
    pub fn db(&self, db: u8) -> &Keyspace {
        &self.dbs[usize::from(db)]
    }

    /// Looks a key up for a client, which counts as a hit or a miss and as a use.
    #[inline]
    pub fn read(&mut self, db: u8, key: Key<'_>, now: Millis) -> Option<EntryRef<'_>> {
        let found = self.dbs[usize::from(db)].find_and_touch(key.bytes, key.hash, now, self.recency);
        self.counters.looked_up(found.is_some());
        if found.is_none() {
            self.effects.also(db, Event::KEYMISS, key);
        }
        found
    }

    /// As `read`, but no use: for what a client asks about a key rather than of it.
    #[inline]
    pub fn look(&mut self, db: u8, key: Key<'_>, now: Millis) -> Option<EntryRef<'_>> {
        let found = self.dbs[usize::from(db)].find(key.bytes, key.hash, now);
        self.counters.looked_up(found.is_some());
        if found.is_none() {
            self.effects.also(db, Event::KEYMISS, key);
        }
        found
    }

    /// A client watches a key from now on.
    pub fn watch(&mut self, db: u8, key: KeyHash) -> Version {
        self.effects.listening = true;
        self.watchers.watch(db, key)
    }

    pub fn unwatch(&mut self, db: u8, key: KeyHash) {
        self.watchers.unwatch(db, key);
        self.ignore_if_nobody_listens();
    }

    /// A request waits for a key from now on.
    pub fn enrol(&mut self, waiter: WaiterId, place: Place, word: usize) {
        self.effects.listening = true;
        self.waiters.enrol(waiter, place, word);
    }

    pub fn forget(&mut self, waiter: WaiterId) {
        self.waiters.forget(waiter);
        self.ignore_if_nobody_listens();
    }

    fn ignore_if_nobody_listens(&mut self) {
        if self.watchers.is_empty() && self.waiters.is_empty() {
            self.effects.ignore();
        }
    }

    /// Tells those who watch or wait what happened since the last call.
    pub fn tell_watchers(&mut self) {
        let happened = self.effects.take_happened();
        for what in happened.iter() {
            match what {
                // What expired is seen by its absence.
                Happened::Key { event, .. } if event.is_by_itself() || event == Event::KEYMISS => {}
                Happened::Key { db, key, .. } => {
                    self.watchers.touched(db, key.hash);
                    self.waiters.touched(db, key.bytes);
                }
                Happened::Database { db } => {
                    self.watchers.swept(db);
                    self.waiters.swept(db);
                }
            }
        }
        self.effects.reuse(happened);
    }

    /// Databases that hold keys, with their numbers.
    pub fn open_databases(&self) -> impl Iterator<Item = (usize, &Keyspace)> {
        self.dbs.iter().enumerate().filter(|(_, db)| !db.is_empty())
    }

    /// Any key of a database, each as likely as any other.
    pub fn random_key(&mut self, db: u8, now: Millis) -> Option<EntryRef<'_>> {
        self.dbs[usize::from(db)].random(&mut self.rng, now)
    }

    /// Starts loading what a look-up of this hash reads first: see [`Keyspace::approach`].
    #[inline]
    pub fn approach(&self, db: u8, hash: KeyHash) -> Option<Spot> {
        self.dbs[usize::from(db)].approach(hash)
    }

    #[inline]
    pub fn prefetch_entry(&self, db: u8, spot: Spot, hash: KeyHash) {
        self.dbs[usize::from(db)].prefetch_entry(spot, hash);
    }

    /// Bytes of keys, values and their tables.
    pub fn bytes_used(&self) -> usize {
        self.dbs.iter().map(Keyspace::bytes).sum()
    }

    pub fn note_peak(&mut self) {
        self.bytes_peak = self.bytes_peak.max(self.bytes_used());
    }

    /// Tables and deadlines of `bytes_used`.
    pub fn overhead_bytes(&self) -> usize {
        self.dbs.iter().map(Keyspace::overhead_bytes).sum()
    }

    /// Bytes of entries and values, by type.
    pub fn bytes_by_kind(&self) -> [usize; Kind::ALL.len()] {
        Kind::ALL.map(|kind| self.dbs.iter().map(|db| db.usage(kind).bytes).sum())
    }

    pub fn is_full(&self, limit: u64) -> bool {
        limit > 0 && self.bytes_used() as u64 > limit
    }

    /// When it has something to do: now, if something is due or waits to be freed. One look at each database, since every turn asks.
    pub fn next_work(&self, now: Now) -> Work {
        if !self.graves.is_empty() {
            return Work::Now;
        }
        match self.next_deadline() {
            Some(due) if due <= now.millis() => Work::Now,
            due => Work::At(due.map(|due| on_monotonic_clock(due, now))),
        }
    }

    fn next_deadline(&self) -> Option<Millis> {
        Deadlines::soonest(self.dbs.iter().flat_map(Keyspace::schedules))
    }

    /// Removes what is due and not `held`, and frees what is dead, so many of each as a turn has time for. When it wants to go on, in
    /// nanoseconds of the monotonic clock.
    pub fn tick(&mut self, now: Now, held: impl Fn(KeyHash) -> bool) -> Option<u64> {
        self.expire(now, held);
        self.free(now).or_else(|| self.next_deadline().map(|due| on_monotonic_clock(due, now)))
    }

    /// Frees what is dead, as much as a turn has time for; when it wants to go on.
    pub fn free(&mut self, now: Now) -> Option<u64> {
        (self.graves.step(limits::FREE_NODES_PER_TURN) == Progress::More).then_some(now.mono_ns)
    }

    /// All databases share what a turn has time for. Where that ends, the next turn begins with the one behind.
    fn expire(&mut self, now: Now, held: impl Fn(KeyHash) -> bool) {
        let Self { dbs, graves, effects, counters, expire_from, .. } = self;
        let (first, count, mut left) = (*expire_from, dbs.len(), limits::EXPIRE_KEYS_PER_TURN);
        for at in (first..count).chain(0..first) {
            if !dbs[at].has_due(now.millis()) {
                continue;
            }
            let db = u8::try_from(at).expect("at most 256 databases");
            left -= dbs[at].expire_step(now.millis(), left, graves, &held, |hash, entry| {
                counters.expired += 1;
                counters.note_lag(entry.expiry(), now);
                effects.expired(db, Key { bytes: entry.key(), hash });
            });
            let (mut statement, recording) = (None, effects.recording);
            let fields = dbs[at].expire_fields_step(now.millis(), left, graves, &held, |what| match what {
                Collected::Field { key, field } if recording => {
                    statement.get_or_insert_with(|| Statement::of(&[b"HDEL", key])).say(field);
                }
                Collected::Field { .. } => {}
                Collected::Some { key, hash, deadline, fields } => {
                    counters.expired_fields += fields as u64;
                    counters.note_lag(Some(deadline), now);
                    effects.fields_expired(db, Key { bytes: key, hash }, &statement.take().unwrap_or_default());
                }
                Collected::Whole { key, hash, deadline, gone } => {
                    counters.note_lag(Some(deadline), now);
                    counters.died(gone);
                    effects.died(db, Key { bytes: key, hash }, gone);
                }
            });
            // The last leaf is taken whole.
            left = left.saturating_sub(fields);
            if left == 0 {
                *expire_from = (at + 1) % count;
                break;
            }
        }
        if self.effects.has_happened() {
            self.tell_watchers();
        }
    }
}

/// A deadline in nanoseconds of the monotonic clock; it may be as far away as its number allows.
fn on_monotonic_clock(due: Millis, now: Now) -> u64 {
    let away_us = due.0.saturating_mul(1000).saturating_sub(now.unix_us);
    away_us.saturating_mul(1000).saturating_add(now.mono_ns)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::keyspace::{Deadline, Write};

    /// A moment in which keys of many databases expire costs a turn no more than one in which those of one do, and none waits for the others.
    #[test]
    fn keys_of_many_databases_expire_in_turns_of_the_same_length() {
        let mut store = Store::new(16, [1, 2], 0);
        let write = Write { deadline: Deadline::At(Millis(5)), ..Write::default() };
        for db in 0..16 {
            for i in 0..1000_u32 {
                let bytes = &i.to_le_bytes()[..];
                store.set_string(db, Key { bytes, hash: store.hash_key.key(bytes) }, b"v", write, Millis(0));
            }
        }
        let left = |store: &Store| (0..16).map(|db| store.db(db).len()).collect::<Vec<_>>();
        let now = Now { unix_us: 6000, mono_ns: 1 };
        for turn in 1..=16_000_usize.div_ceil(limits::EXPIRE_KEYS_PER_TURN) {
            store.tick(now, |_| false);
            assert_eq!(
                left(&store).iter().sum::<usize>(),
                16_000_usize.saturating_sub(turn * limits::EXPIRE_KEYS_PER_TURN)
            );
            if turn == 16 {
                assert!(left(&store).iter().all(|keys| *keys < 1000), "each had its turn: {:?}", left(&store));
            }
        }
    }
}
