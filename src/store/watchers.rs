//! Keys that WATCH looks at, each with a number that every change raises.
//!
//! Who watches remembers the number; EXEC compares. So a change costs one look-up however many watch, nothing is sent to anybody, and a
//! key that nobody watches any more is forgotten. The number goes on from key to key, so that one forgotten and watched anew never
//! repeats an old one. A key that expires is not counted here: whoever watches remembers whether it was there and sees whether it is. The
//! same tells what a change of the whole database meant for it.

use hashbrown::HashMap;

use crate::base::hash::KeyHash;

/// The state of a watched key at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Version {
    changes: u64,
    sweeps: u64,
}

/// What became of a watched key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    Untouched,
    /// Its database was emptied or swapped: it has changed unless it was not there before and is not there now.
    Swept,
    Changed,
}

#[derive(Debug)]
struct Watched {
    version: Version,
    /// Clients that watch it, each as often as it said so.
    by: u32,
}

/// The watched keys of a shard.
#[derive(Debug, Default)]
pub struct Watchers {
    keys: HashMap<(u8, KeyHash), Watched>,
    changes: u64,
}

impl Watchers {
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// One more client watches the key.
    pub fn watch(&mut self, db: u8, key: KeyHash) -> Version {
        let watched = self
            .keys
            .entry((db, key))
            .or_insert(Watched { version: Version { changes: self.changes, sweeps: 0 }, by: 0 });
        watched.by += 1;
        watched.version
    }

    pub fn unwatch(&mut self, db: u8, key: KeyHash) {
        if let Some(watched) = self.keys.get_mut(&(db, key)) {
            watched.by -= 1;
            if watched.by == 0 {
                self.keys.remove(&(db, key));
            }
        }
    }

    /// What became of a key that is watched since.
    pub fn since(&self, db: u8, key: KeyHash, version: Version) -> Since {
        match self.keys.get(&(db, key)).map(|watched| watched.version) {
            Some(now) if now == version => Since::Untouched,
            Some(now) if now.changes == version.changes => Since::Swept,
            _ => Since::Changed,
        }
    }

    /// The key was written or removed.
    pub fn touched(&mut self, db: u8, key: KeyHash) {
        self.changes += 1;
        if let Some(watched) = self.keys.get_mut(&(db, key)) {
            watched.version.changes = self.changes;
        }
    }

    /// The database was emptied or swapped with another.
    pub fn swept(&mut self, db: u8) {
        let of_db = self.keys.iter_mut().filter(|((of, _), _)| *of == db);
        of_db.for_each(|(_, watched)| watched.version.sweeps += 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_shows_to_all_who_watch_and_to_nobody_else() {
        let (a, b) = (KeyHash(1), KeyHash(2));
        let mut watchers = Watchers::default();
        let (first, second) = (watchers.watch(0, a), watchers.watch(0, a));
        let other = watchers.watch(0, b);
        let elsewhere = watchers.watch(1, a);
        watchers.touched(0, a);
        assert_eq!([watchers.since(0, a, first), watchers.since(0, a, second)], [Since::Changed; 2]);
        assert_eq!([watchers.since(0, b, other), watchers.since(1, a, elsewhere)], [Since::Untouched; 2]);
        watchers.swept(0);
        assert_eq!([watchers.since(0, b, other), watchers.since(1, a, elsewhere)], [Since::Swept, Since::Untouched]);
        assert_eq!(watchers.since(0, a, first), Since::Changed);
        for (db, key) in [(0, a), (0, a), (0, b), (1, a)] {
            watchers.unwatch(db, key);
        }
        assert!(watchers.is_empty());
        watchers.touched(0, a);
        let again = watchers.watch(0, a);
        assert_eq!(watchers.since(0, a, again), Since::Untouched);
        assert_ne!(again, first);
    }
}
