//! Where each key was written last, as far as that is not firm: a reply that shows a key waits for it.
//!
//! ```text
//!  [until 900: a 812, b 890]  [until 1400: a 1210]  [open: c 1500]        one map per write of the journal
//!        ^ forgotten as a whole when 900 is firm
//! ```
//!
//! Kept only while somebody's replies wait for the disk. What was written before counts as one, at `floor`, and so does what would be too much to
//! keep apart: whoever is shown such a key waits for more than it must, never for less.

use std::collections::VecDeque;

use hashbrown::HashMap;

use crate::base::hash::KeyHash;
use crate::base::limits::{WRITTEN_KEYS_MAX, WRITTEN_WRITES_MAX};
use crate::persist::Position;

#[derive(Debug, Default)]
pub(in crate::shard) struct Written {
    sealed: VecDeque<(Position, HashMap<KeyHash, Position>)>,
    open: HashMap<KeyHash, Position>,
    floor: Position,
}

impl Written {
    /// The record of a write of this key ends there. Keys of different databases share a place, which costs a wait at most.
    #[inline]
    pub(in crate::shard) fn note(&mut self, key: KeyHash, end: Position) {
        self.open.insert(key, end);
        if self.open.len() > WRITTEN_KEYS_MAX {
            self.note_all(end);
        }
    }

    /// All keys were written, or may have been. What is known of each says less.
    pub(in crate::shard) fn note_all(&mut self, end: Position) {
        self.floor = self.floor.max(end);
        self.clear();
    }

    /// Up to where the stream must be firm before this key may be shown.
    #[inline]
    pub(in crate::shard) fn last(&self, key: KeyHash) -> Position {
        let newest_first = std::iter::once(&self.open).chain(self.sealed.iter().rev().map(|(_, keys)| keys));
        newest_first.filter_map(|keys| keys.get(&key)).next().copied().map_or(self.floor, |at| at.max(self.floor))
    }

    /// All that was noted is in the stream before `until`.
    pub(in crate::shard) fn seal(&mut self, until: Position) {
        if !self.open.is_empty() {
            self.sealed.push_back((until, std::mem::take(&mut self.open)));
        }
        if self.sealed.len() > WRITTEN_WRITES_MAX
            && let Some((until, _)) = self.sealed.pop_front()
        {
            self.floor = self.floor.max(until);
        }
    }

    pub(in crate::shard) fn forget(&mut self, firm: Position) {
        while self.sealed.front().is_some_and(|(until, _)| *until <= firm) {
            self.sealed.pop_front();
        }
    }

    pub(in crate::shard) fn clear(&mut self) {
        *self = Self { floor: self.floor, ..Self::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_write_counts_until_it_is_firm() {
        let (a, b, c) = (KeyHash(1), KeyHash(2), KeyHash(3));
        let mut written = Written::default();
        written.note_all(Position(3));
        written.note(a, Position(10));
        written.note(b, Position(20));
        written.seal(Position(20));
        written.note(a, Position(30));
        assert_eq!([a, b, c].map(|key| written.last(key).0), [30, 20, 3]);
        written.seal(Position(30));
        written.forget(Position(29));
        assert_eq!([a, b, c].map(|key| written.last(key).0), [30, 3, 3]);
        written.forget(Position(30));
        assert_eq!(written.last(a), Position(3));
    }

    #[test]
    fn what_is_kept_is_bounded_though_nothing_ever_becomes_firm() {
        let mut written = Written::default();
        let mut end = 0;
        for write in 0..10_u64 * WRITTEN_WRITES_MAX as u64 {
            for key in 0..100 {
                end += 1;
                written.note(KeyHash(write * 100 + key), Position(end));
            }
            written.seal(Position(end));
        }
        assert_eq!(written.sealed.len(), WRITTEN_WRITES_MAX);
        assert!(written.last(KeyHash(0)) >= Position(1) && written.last(KeyHash(u64::MAX)) < Position(end - 100));
        for key in 0..3 * WRITTEN_KEYS_MAX as u64 {
            end += 1;
            written.note(KeyHash(key), Position(end));
            assert!(written.last(KeyHash(key)) == Position(end) && written.open.len() <= WRITTEN_KEYS_MAX);
        }
        assert!(
            written.last(KeyHash(0)) > Position(end - 2 * WRITTEN_KEYS_MAX as u64),
            "one of those that count as one"
        );
    }
}
