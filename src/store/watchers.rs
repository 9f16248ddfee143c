//! Keys that WATCH looks at, each with a number that every change raises.
//!
//! Who watches remembers the number; EXEC compares. So a change costs one look-up however many watch, nothing is sent to anybody, and a
//! key that nobody watches any more is forgotten. The number goes on from key to key, so that one forgotten and watched anew never
//! repeats an old one. A key that expires is not counted here: whoever watches remembers that it was there and sees that it is gone.

use hashbrown::HashMap;

use crate::base::hash::KeyHash;

/// The state of a watched key at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version(pub u64);

#[derive(Debug)]
struct Watched {
    version: u64,
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
        let watched = self.keys.entry((db, key)).or_insert(Watched { version: self.changes, by: 0 });
        watched.by += 1;
        Version(watched.version)
    }

    pub fn unwatch(&mut self, db: u8, key: KeyHash) {
        if let Some(watched) = self.keys.get_mut(&(db, key)) {
            watched.by -= 1;
            if watched.by == 0 {
                self.keys.remove(&(db, key));
            }
        }
    }

    /// Whether a key that is watched has changed since.
    pub fn changed_since(&self, db: u8, key: KeyHash, version: Version) -> bool {
        self.keys.get(&(db, key)).is_none_or(|watched| watched.version != version.0)
    }

    /// The key was written or removed.
    pub fn touched(&mut self, db: u8, key: KeyHash) {
        self.changes += 1;
        if let Some(watched) = self.keys.get_mut(&(db, key)) {
            watched.version = self.changes;
        }
    }

    /// Every watched key of the database that `is_there` says was there has changed.
    pub fn touched_all(&mut self, db: u8, mut is_there: impl FnMut(KeyHash) -> bool) {
        self.changes += 1;
        for ((of, key), watched) in &mut self.keys {
            if *of == db && is_there(*key) {
                watched.version = self.changes;
            }
        }
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
        assert!(watchers.changed_since(0, a, first) && watchers.changed_since(0, a, second));
        assert!(!watchers.changed_since(0, b, other) && !watchers.changed_since(1, a, elsewhere));
        watchers.touched_all(0, |key| key == a);
        assert!(!watchers.changed_since(0, b, other));
        for (db, key) in [(0, a), (0, a), (0, b), (1, a)] {
            watchers.unwatch(db, key);
        }
        assert!(watchers.is_empty());
        watchers.touched(0, a);
        let again = watchers.watch(0, a);
        assert!(!watchers.changed_since(0, a, again));
        assert_ne!(again, first);
    }
}
