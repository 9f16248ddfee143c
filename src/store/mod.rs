//! Layer 2: everything one shard holds. No I/O; the time is an argument.

pub mod entry;
pub mod expiry;
pub mod journal;
pub mod keyspace;
pub mod text;
pub mod watchers;

use crate::base::hash::{HashKey, KeyHash};
use crate::base::limits;
use crate::base::rng::Rng;
use crate::base::time::{Millis, Now};
use crate::types::Progress;
pub use crate::types::dict::Spot;
use entry::{EntryRef, Recency};
use journal::Effects;
use keyspace::{Graveyard, Keyspace};
use watchers::Watchers;

/// What handlers count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    pub hits: u64,
    pub misses: u64,
    pub expired: u64,
    pub evicted: u64,
    /// How long after its deadline the latest key to expire was collected, and the longest that ever took.
    pub expire_lag_us: u64,
    pub expire_lag_max_us: u64,
}

impl Counters {
    #[inline]
    fn looked_up(&mut self, found: bool) {
        *(if found { &mut self.hits } else { &mut self.misses }) += 1;
    }
}

/// The databases of one shard.
pub struct Store {
    dbs: Vec<Keyspace>,
    /// What is dead and too large to be freed at once.
    pub graves: Graveyard,
    pub hash_key: HashKey,
    pub effects: Effects,
    pub watchers: Watchers,
    pub counters: Counters,
    pub rng: Rng,
    /// The stamp of whatever is touched in this turn.
    pub recency: Recency,
}

impl Store {
    /// `lane` tells the random choices of stores with equal seeds apart.
    pub fn new(databases: usize, seed: [u64; 2], lane: u64) -> Self {
        let hash_key = HashKey::new(seed);
        Self {
            dbs: (0..databases).map(|_| Keyspace::new(hash_key)).collect(),
            graves: Graveyard::default(),
            hash_key,
            effects: Effects::default(),
            watchers: Watchers::default(),
            counters: Counters::default(),
            rng: Rng::new(seed[0] ^ seed[1].rotate_left(32) ^ lane),
            recency: Recency::default(),
        }
    }

    pub fn begin_turn(&mut self, now: Now) {
        self.recency = Recency::at(now.millis());
    }

    pub fn databases(&self) -> usize {
        self.dbs.len()
    }

    /// # Panics
    /// If there is no such database: SELECT let none through.
    #[inline]
    pub fn db(&mut self, db: u8) -> &mut Keyspace {
        &mut self.dbs[usize::from(db)]
    }

    /// A database and the graveyard, for whatever may bury something.
    #[inline]
    pub fn db_and_graves(&mut self, db: u8) -> (&mut Keyspace, &mut Graveyard) {
        (&mut self.dbs[usize::from(db)], &mut self.graves)
    }

    /// Looks a key up for a client, which counts as a hit or a miss and as a use.
    #[inline]
    pub fn read(&mut self, db: u8, key: &[u8], hash: KeyHash, now: Millis) -> Option<EntryRef<'_>> {
        let found = self.dbs[usize::from(db)].find_and_touch(key, hash, now, self.recency);
        self.counters.looked_up(found.is_some());
        found
    }

    /// Looks a key up for a write, which is a use but neither a hit nor a miss, as in Redis.
    #[inline]
    pub fn touch(&mut self, db: u8, key: &[u8], hash: KeyHash, now: Millis) -> Option<EntryRef<'_>> {
        self.dbs[usize::from(db)].find_and_touch(key, hash, now, self.recency)
    }

    /// As `read`, but no use: for what a client asks about a key rather than of it.
    #[inline]
    pub fn look(&mut self, db: u8, key: &[u8], hash: KeyHash, now: Millis) -> Option<EntryRef<'_>> {
        let found = self.dbs[usize::from(db)].find(key, hash, now);
        self.counters.looked_up(found.is_some());
        found
    }

    /// Databases that hold keys, with their numbers.
    pub fn open_databases(&self) -> impl Iterator<Item = (usize, &Keyspace)> {
        self.dbs.iter().enumerate().filter(|(_, db)| !db.is_empty())
    }

    /// Empties a database in constant time.
    pub fn flush(&mut self, db: u8) {
        let (keys, graves) = self.db_and_graves(db);
        if !keys.is_empty() {
            keys.clear(graves);
        }
        self.effects.changed();
    }

    /// Swaps two databases in constant time.
    pub fn swap(&mut self, one: u8, other: u8) {
        self.dbs.swap(usize::from(one), usize::from(other));
        self.effects.changed();
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

    pub fn is_full(&self, limit: u64) -> bool {
        limit > 0 && self.bytes_used() as u64 > limit
    }

    /// Whether something is due or waits to be freed.
    pub fn is_ticking(&self, now: Now) -> bool {
        let due = |db: &Keyspace| db.next_deadline().is_some_and(|due| due <= now.millis());
        !self.graves.is_empty() || self.dbs.iter().any(due)
    }

    /// When the next key is due, in nanoseconds of the monotonic clock.
    pub fn next_deadline(&self, now: Now) -> Option<u64> {
        let due = self.dbs.iter().filter_map(Keyspace::next_deadline).min();
        // A deadline may be as far away as its number allows.
        let away_us = |due: Millis| due.0.saturating_mul(1000).saturating_sub(now.unix_us);
        due.map(|due| away_us(due).saturating_mul(1000).saturating_add(now.mono_ns))
    }

    /// Removes what is due and frees what is dead, so many of each as a turn has time for. When it wants to go on, in
    /// nanoseconds of the monotonic clock.
    pub fn tick(&mut self, now: Now) -> Option<u64> {
        self.expire(now);
        if self.graves.step(limits::FREE_NODES_PER_TURN) == Progress::More {
            return Some(now.mono_ns);
        }
        self.next_deadline(now)
    }

    fn expire(&mut self, now: Now) {
        let Self { dbs, graves, effects, counters, .. } = self;
        for (db, keys) in (0_u8..).zip(dbs.iter_mut()) {
            keys.expire_step(now.millis(), limits::EXPIRE_KEYS_PER_TURN, graves, |entry| {
                counters.expired += 1;
                let due_us = entry.expiry().map_or(now.unix_us, |due| due.0 * 1000);
                counters.expire_lag_us = now.unix_us.saturating_sub(due_us);
                counters.expire_lag_max_us = counters.expire_lag_max_us.max(counters.expire_lag_us);
                effects.state(&[b"DEL", entry.key()]);
                effects.commit(db, None);
            });
        }
    }
}
