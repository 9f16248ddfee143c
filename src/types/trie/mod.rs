//! The large form of hashes (two columns: field, value) and of sets (one column): a trie over the keyed hash of the first
//! column, with fat packed leaves.
//!
//! ```text
//!  Trie -> Inner { starts: u128, branches: [Branch { count, node }] }        seven bits of the hash to a level
//!            bit s of `starts`: a branch begins at slot s and covers the slots up to the next bit
//!              |
//!            Leaf { longs, counters, data }                                   at most 4 KiB in all
//!            data  [low u8; slots][high u8; slots][offset u16; slots][record]...free...
//!                   bytes 0 and 1 of the hash             into data         packed.rs
//!
//!  pair.rs  a record as found     branch.rs, inner.rs  the nodes above leaves     leaf.rs  a leaf: found and scanned, slots and records
//!  row.rs   one on its way in     edit.rs  what is done to a leaf                 room.rs  leaves made anew, copied, of another size
//!  foresee.rs  what a look-up will read, loaded beforehand
//! ```
//!
//! A full leaf that covers several slots splits into two halves under the same Inner; one that covers a single slot gets an
//! Inner of its own. Sparse buddies merge again and an Inner with one leaf gives way to it, so that memory follows deletions.
//! A leaf is reallocated in the allocator's classes as it grows, so its slack is that of a class and not of half a split.
//! Order is hash order: a SCAN cursor is the 52-bit prefix of the next hash and means the same however the trie was rearranged,
//! so a scan returns what is there throughout exactly once. Branches count their elements: the n-th element is found by
//! descending, and a random pick is exactly fair, without rejection. A record may have a deadline (`packed.rs`); an Inner below which one
//! has keeps the `Times` of its branches, so that the next to die is found by descending too. Without any, that is an empty vector.
//! Elements longer than INLINE_MAX live in a Rope beside the leaf's data. Hashes are not stored (long first columns excepted):
//! a split computes them again, about a hundred at a time.

mod branch;
mod edit;
mod foresee;
mod inner;
mod leaf;
mod pair;
mod room;
mod row;

pub use pair::{Pair, Value, Written};
pub(super) use room::{LEAF_BYTES_MAX, LEAF_CLASSES};
pub use row::Name;

use branch::{Branch, Node, free_from_end};
use leaf::Leaf;
use room::{LEAF_DATA_MAX, blank_leaf};
use row::{Input, NewRow};

use super::rope::Rope;
use super::times::Times;
use super::{Progress, RC_BYTES};
use crate::base::hash::HashKey;
use crate::base::time::Millis;

/// Elements up to this length lie in the leaf; an eighth of a leaf, so that a split always makes room.
pub const INLINE_MAX: usize = 512;
/// Bits of a cursor: its value stays exact in clients whose numbers are doubles.
pub const CURSOR_BITS: u32 = 52;

/// At most 8: `slot_of` cuts a slot out of one byte.
const LEVEL_BITS: u32 = 7;
const SLOTS: u32 = 1 << LEVEL_BITS;
/// Levels below which no leaf is split: 49 bits of a keyed hash are not equal for a leaf full of elements.
const LEVELS_MAX: u32 = CURSOR_BITS / LEVEL_BITS;

const _: () = assert!(4 * (INLINE_MAX + 8) < LEAF_DATA_MAX && LEAF_BYTES_MAX <= u16::MAX as usize);

#[derive(Clone, Debug)]
pub struct Trie<const COLUMNS: usize> {
    root: Branch,
    bytes: usize,
    times: Times,
}

/// How exactly a walk keeps to its count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// After the count (elements of one cursor value stay together).
    AtCount,
    /// At the end of the leaf in which the count is reached: cheaper, since nothing is hashed.
    AtLeaf,
}

/// What is to be removed.
#[derive(Clone, Copy, Debug)]
enum Victim<'a> {
    Named(Name<'a>),
    /// By its place among the records.
    Nth(usize),
}

/// What a write needs on its way down, and the trie's running byte count.
struct Work<'w> {
    hasher: &'w HashKey,
    graves: &'w mut Vec<Rope>,
    bytes: &'w mut usize,
}

/// The leaf cannot grow any further.
#[derive(Debug)]
struct Full;

impl<const COLUMNS: usize> Default for Trie<COLUMNS> {
    fn default() -> Self {
        let leaf = blank_leaf(0);
        let bytes = leaf.bytes();
        Self { root: Branch { count: 0, node: Node::Leaf(leaf) }, bytes, times: Times::EMPTY }
    }
}

impl<const COLUMNS: usize> Trie<COLUMNS> {
    pub fn len(&self) -> usize {
        self.root.count
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn recount_bytes(&self) -> usize {
        let (_, bytes, times) = self.root.recount::<COLUMNS>();
        assert_eq!(times, self.times, "a trie knows its deadlines");
        bytes
    }

    /// When its records die.
    #[inline]
    pub fn times(&self) -> Times {
        self.times
    }

    /// Records whose time has come. In leaves where some have come and some not they are counted one by one, in `leaves` of them at most;
    /// those of the others are left out.
    pub fn due(&self, now: Millis, leaves: usize) -> usize {
        self.root.due::<COLUMNS>(self.times, now, &mut { leaves })
    }

    /// The first deadline that is still to come. If more than so many leaves hold others that have, it may be told too early.
    pub fn next_after(&self, now: Millis, leaves: usize) -> Option<Millis> {
        self.root.next_after::<COLUMNS>(self.times, now, &mut { leaves })
    }

    #[inline]
    pub fn find(&self, first: &[u8], hasher: &HashKey) -> Option<Pair<'_>> {
        self.find_named(Name::of(first, hasher))
    }

    #[inline]
    pub fn find_named(&self, Name { hash, text }: Name<'_>) -> Option<Pair<'_>> {
        let mut node = &self.root.node;
        let mut level = 0;
        loop {
            match node {
                Node::Inner(inner) => node = &inner.branches[inner.rank(slot_of(hash, level))].node,
                Node::Leaf(leaf) => return leaf.find::<COLUMNS>(hash, text).map(|(_, row)| leaf.pair(row)),
            }
            level += 1;
        }
    }

    /// Adds or replaces a record. A long element that this displaces goes into `graves`.
    pub fn set(&mut self, first: &[u8], second: &[u8], hasher: &HashKey, graves: &mut Vec<Rope>) -> Written {
        self.set_until(first, second, None, hasher, graves)
    }

    /// As [`Self::set`], of a record whose hash the caller knows.
    pub fn set_named(&mut self, name: Name<'_>, second: &[u8], hasher: &HashKey, graves: &mut Vec<Rope>) -> Written {
        self.write(&NewRow::of::<COLUMNS>(name.text, second, None, name.hash), hasher, graves)
    }

    /// As [`Self::set`], of a record that dies then.
    pub fn set_until(
        &mut self,
        first: &[u8],
        second: &[u8],
        deadline: Option<Millis>,
        hasher: &HashKey,
        graves: &mut Vec<Rope>,
    ) -> Written {
        self.write(&NewRow::of::<COLUMNS>(first, second, deadline, hasher.bytes(first)), hasher, graves)
    }

    /// Gives a record that is there another deadline, or takes it away.
    pub fn restamp(&mut self, first: &[u8], deadline: Option<Millis>, hasher: &HashKey) {
        let hash = hasher.bytes(first);
        let row = NewRow { hash, text: first, first: Input::of(first, hash), second: None, deadline, size: 0 };
        self.write(&row, hasher, &mut Vec::new());
    }

    fn write(&mut self, row: &NewRow<'_>, hasher: &HashKey, graves: &mut Vec<Rope>) -> Written {
        let mut work = Work { hasher, graves, bytes: &mut self.bytes };
        let written = self.root.set::<COLUMNS>(0, row, &mut work);
        self.times = self.root.times_after::<COLUMNS>(self.times, row.deadline.is_some());
        written
    }

    /// Removes records whose time has come, a leaf's at once, until at least `count` are gone or no more are due; tells of each before it
    /// goes. How many are gone.
    pub fn expire(
        &mut self,
        now: Millis,
        count: usize,
        hasher: &HashKey,
        graves: &mut Vec<Rope>,
        mut tell: impl FnMut(Pair<'_>),
    ) -> usize {
        let mut gone = 0;
        while gone < count && self.times.some_due(now) {
            let mut work = Work { hasher, graves, bytes: &mut self.bytes };
            gone += self.root.expire::<COLUMNS>(now, &mut work, &mut tell);
            self.times = self.root.times_after::<COLUMNS>(self.times, false);
        }
        gone
    }

    /// Whether there was such a record.
    pub fn remove(&mut self, first: &[u8], hasher: &HashKey, graves: &mut Vec<Rope>) -> bool {
        let name = Name::of(first, hasher);
        // The look before the leap keeps a miss from copying shared nodes.
        if self.find_named(name).is_none() {
            return false;
        }
        self.remove_found(name, hasher, graves);
        true
    }

    /// Removes a record that the caller has found.
    pub fn remove_found(&mut self, name: Name<'_>, hasher: &HashKey, graves: &mut Vec<Rope>) {
        let mut work = Work { hasher, graves, bytes: &mut self.bytes };
        self.root.remove::<COLUMNS>(0, Victim::Named(name), &mut work, |_| ());
        self.times = self.root.times_after::<COLUMNS>(self.times, false);
    }

    /// Removes the record at `index` in hash order, after `visit` has seen it; without hashing anything.
    ///
    /// # Panics
    /// If there are not so many.
    pub fn take_nth(&mut self, index: usize, hasher: &HashKey, graves: &mut Vec<Rope>, visit: impl FnOnce(Pair<'_>)) {
        assert!(index < self.len(), "the caller drew it from what is there");
        let mut work = Work { hasher, graves, bytes: &mut self.bytes };
        self.root.remove::<COLUMNS>(0, Victim::Nth(index), &mut work, visit);
        self.times = self.root.times_after::<COLUMNS>(self.times, false);
    }

    /// The record at `index` in hash order: a fair pick if `index` is drawn from `0..len()`.
    pub fn nth(&self, index: usize) -> Option<Pair<'_>> {
        let (mut branch, mut index) = (&self.root, index);
        loop {
            match &branch.node {
                Node::Leaf(leaf) => {
                    let slot = (index < usize::from(leaf.count)).then_some(index)?;
                    return Some(leaf.pair(leaf.row::<COLUMNS>(slot)));
                }
                Node::Inner(inner) => {
                    branch = inner.branches.iter().find(|branch| match index.checked_sub(branch.count) {
                        Some(beyond) => {
                            index = beyond;
                            false
                        }
                        None => true,
                    })?;
                }
            }
        }
    }

    pub fn for_each<'s>(&'s self, mut visit: impl FnMut(Pair<'s>)) {
        self.root.node.for_each::<COLUMNS>(&mut visit);
    }

    /// Visits about `count` records from `cursor` on (0: the beginning) and returns the cursor to go on with (0: the end).
    pub fn scan(&self, cursor: u64, count: usize, stop: Stop, hasher: &HashKey, visit: impl FnMut(Pair<'_>)) -> u64 {
        self.scan_living(cursor, count, stop, Millis::default(), hasher, visit)
    }

    /// As [`Self::scan`], of the records whose time has not come.
    pub fn scan_living(
        &self,
        cursor: u64,
        count: usize,
        stop: Stop,
        now: Millis,
        hasher: &HashKey,
        mut visit: impl FnMut(Pair<'_>),
    ) -> u64 {
        let (mut cursor, mut left) = (cursor, count.max(1));
        while cursor < 1 << CURSOR_BITS {
            let (leaf, start, end) = self.leaf_at(cursor);
            let (next, visited) = if cursor == start && (stop == Stop::AtLeaf || usize::from(leaf.count) <= left) {
                let mut visited = 0;
                for row in leaf.living_rows::<COLUMNS>(now) {
                    visit(leaf.pair(row));
                    visited += 1;
                }
                (end, visited)
            } else {
                let next = leaf.scan_part::<COLUMNS>(cursor, left, now, hasher, &mut visit);
                next.map_or((end, left), |next| (next, left))
            };
            cursor = next;
            // An empty leaf is a step as well.
            left = left.saturating_sub(visited.max(1));
            if left == 0 {
                break;
            }
        }
        if cursor < 1 << CURSOR_BITS { cursor } else { 0 }
    }

    /// Gives back at most `budget` nodes, from the end.
    pub fn free_step(&mut self, budget: &mut usize) -> Progress {
        if free_from_end(&mut self.root.node, budget) == Progress::More || *budget == 0 {
            return Progress::More;
        }
        *budget -= 1;
        *self = Self::default();
        Progress::Done
    }

    /// The leaf that covers `cursor`, and the cursors at which its range begins and ends.
    fn leaf_at(&self, cursor: u64) -> (&Leaf, u64, u64) {
        let (mut node, mut level) = (&self.root.node, 0);
        let (mut start, mut end) = (0, 1 << CURSOR_BITS);
        loop {
            match node {
                Node::Leaf(leaf) => return (leaf, start, end),
                Node::Inner(inner) => {
                    let slot = slot_of(cursor << (64 - CURSOR_BITS), level);
                    let (from, slots) = inner.extent(slot);
                    let slot_width = 1u64 << (CURSOR_BITS - LEVEL_BITS * (level + 1));
                    start += u64::from(from) * slot_width;
                    end = start + u64::from(slots) * slot_width;
                    node = &inner.branches[inner.rank(slot)].node;
                    level += 1;
                }
            }
        }
    }
}

/// One column: a set.
impl Trie<1> {
    /// Whether the member is new. One that is there is left alone, and so are nodes that others share.
    pub fn add(&mut self, member: &[u8], hasher: &HashKey) -> bool {
        let name = Name::of(member, hasher);
        if self.find_named(name).is_some() {
            return false;
        }
        self.write(&NewRow::of::<1>(member, b"", None, name.hash), hasher, &mut Vec::new());
        true
    }
}

#[inline]
fn slot_of(hash: u64, level: u32) -> u32 {
    let [low, ..] = (hash >> (64 - LEVEL_BITS * (level + 1))).to_le_bytes();
    u32::from(low) & (SLOTS - 1)
}

/// A count or an offset inside a leaf.
#[inline]
fn narrow(number: usize) -> u16 {
    u16::try_from(number).expect("a leaf is smaller than 64 KiB")
}

#[cfg(test)]
mod tests;
