//! Layer 2: everything one shard holds. No I/O; the time is an argument.

pub mod journal;
pub mod keyspace;

use crate::base::hash::{HashKey, KeyHash};
use crate::base::rng::Rng;
use crate::base::time::{Millis, Now};
use journal::Effects;
use keyspace::Keyspace;

/// What handlers count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    pub hits: u64,
    pub misses: u64,
    pub expired: u64,
    pub evicted: u64,
}

/// The databases of one shard.
pub struct Store {
    dbs: Vec<Keyspace>,
    pub hash_key: HashKey,
    pub effects: Effects,
    pub counters: Counters,
    pub rng: Rng,
}

impl Store {
    pub fn new(databases: usize, seed: [u64; 2]) -> Self {
        Self {
            dbs: (0..databases).map(|_| Keyspace::default()).collect(),
            hash_key: HashKey::new(seed),
            effects: Effects::default(),
            counters: Counters::default(),
            rng: Rng::new(seed[0] ^ seed[1].rotate_left(32)),
        }
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

    /// Looks a key up for a client, which counts as a hit or a miss.
    #[inline]
    pub fn read(&mut self, db: u8, key: &[u8], hash: KeyHash, now: Millis) -> Option<&[u8]> {
        let found = self.dbs[usize::from(db)].get(key, hash, now);
        let counter = if found.is_some() { &mut self.counters.hits } else { &mut self.counters.misses };
        *counter += 1;
        found
    }

    /// Databases that hold keys, with their numbers.
    pub fn open_databases(&self) -> impl Iterator<Item = (usize, &Keyspace)> {
        self.dbs.iter().enumerate().filter(|(_, db)| !db.is_empty())
    }

    /// Empties a database.
    pub fn flush(&mut self, db: u8) {
        self.dbs[usize::from(db)] = Keyspace::default();
        self.effects.changed();
    }

    pub fn prefetch(&self, _db: u8, _keys: impl Iterator<Item = KeyHash>) {}

    /// Bytes of keys, values and their tables.
    pub fn bytes_used(&self) -> usize {
        self.dbs.iter().map(Keyspace::bytes).sum()
    }

    pub fn is_full(&self, limit: u64) -> bool {
        limit > 0 && self.bytes_used() as u64 > limit
    }

    /// Objects whose memory is still being given back.
    pub fn freeing(&self) -> usize {
        0
    }

    pub fn tick(&mut self, _now: Now) -> Option<u64> {
        None
    }
}
