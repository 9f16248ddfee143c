//! The large form of hashes (two columns: field, value) and of sets (one column): a trie over the keyed hash of the first
//! column, with fat packed leaves.
//!
//! ```text
//!  Trie -> Inner { starts: u128, branches: [Branch { count, node }] }        seven bits of the hash to a level
//!            bit s of `starts`: a branch begins at slot s and covers the slots up to the next bit
//!              |
//!            Leaf { longs, counters, data }                                   at most 4 KiB in all
//!            data  [fingerprint u8; slots][offset u16; slots][record]...free...
//!                   low byte of the hash    into data         packed.rs
//! ```
//!
//! A full leaf that covers several slots splits into two halves under the same Inner; one that covers a single slot gets an
//! Inner of its own. Sparse buddies merge again and an Inner with one leaf gives way to it, so that memory follows deletions.
//! A leaf is reallocated in the allocator's classes as it grows, so its slack is that of a class and not of half a split.
//! Order is hash order: a SCAN cursor is the 52-bit prefix of the next hash and means the same however the trie was rearranged,
//! so a scan returns what is there throughout exactly once. Branches count their elements: the n-th element is found by
//! descending, and a random pick is exactly fair, without rejection.
//! Elements longer than INLINE_MAX live in a Rope beside the leaf's data. Hashes are not stored (long first columns excepted):
//! a split computes them again, about a hundred at a time.

mod foresee;
mod renew;

use triomphe::{Arc, HeaderSlice};

use renew::roomy;

use super::packed::{Cell, Form, Row, parse, row_size, write_row};
use super::rope::Rope;
use super::{Progress, RC_BYTES};
use crate::base::ascii::I64_TEXT_MAX;
use crate::base::hash::HashKey;

/// Elements up to this length lie in the leaf; an eighth of a leaf, so that a split always makes room.
pub const INLINE_MAX: usize = 512;

/// Bits of a cursor: its value stays exact in clients whose numbers are doubles.
pub const CURSOR_BITS: u32 = 52;

/// At most 8: `slot_of` cuts a slot out of one byte.
const LEVEL_BITS: u32 = 7;
const SLOTS: u32 = 1 << LEVEL_BITS;
/// Levels below which no leaf is split: 49 bits of a keyed hash are not equal for a leaf full of elements.
const LEVELS_MAX: u32 = CURSOR_BITS / LEVEL_BITS;

/// What an element costs beside its record: fingerprint and offset.
const SLOT_BYTES: usize = 3;
const LEAF_HEAD: usize = RC_BYTES + size_of::<Head>();
const LEAF_DATA_MAX: usize = LEAF_BYTES_MAX - LEAF_HEAD;
/// Two buddies merge when what both hold is below this: half a leaf, so that it does not split again at the next insertion.
const MERGE_BELOW: usize = LEAF_BYTES_MAX / 2;

const _: () = assert!(4 * (INLINE_MAX + 8) < LEAF_DATA_MAX && LEAF_BYTES_MAX <= u16::MAX as usize);

#[derive(Clone, Debug)]
pub struct Trie<const COLUMNS: usize> {
    root: Branch,
    bytes: usize,
}

/// An element as found: short, or long and in pieces.
#[derive(Clone, Copy, Debug)]
pub enum Value<'a> {
    Short(Cell<'a>),
    Long(&'a Rope),
}

#[derive(Clone, Copy, Debug)]
pub struct Pair<'a> {
    pub first: Value<'a>,
    pub second: Value<'a>,
}

/// What a write did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    Added,
    Updated,
}

/// How exactly a walk keeps to its count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// After the count (elements of one cursor value stay together).
    AtCount,
    /// At the end of the leaf in which the count is reached: cheaper, since nothing is hashed.
    AtLeaf,
}

#[derive(Clone, Debug)]
struct Branch {
    count: usize,
    node: Node,
}

#[derive(Clone, Debug)]
enum Node {
    Inner(Arc<Inner>),
    Leaf(Leaf),
}

#[derive(Debug)]
struct Inner {
    starts: u128,
    branches: Vec<Branch>,
}

/// Head and data are one allocation.
#[derive(Clone, Debug)]
struct Leaf(Arc<HeaderSlice<Head, [u8]>>);

/// A leaf in the hands of its only owner.
struct LeafMut<'l> {
    head: &'l mut Head,
    data: &'l mut [u8],
}

#[derive(Debug, Default)]
struct Head {
    longs: Vec<Option<Long>>,
    /// Sum of the ropes' bytes.
    long_bytes: usize,
    count: u16,
    slots: u16,
    /// End of the records in `data`.
    used: u16,
    /// Bytes of removed records below `used`.
    dead: u16,
}

#[derive(Clone, Debug)]
struct Long {
    rope: Rope,
    /// Of a first column; 0 for a second.
    hash: u64,
}

/// An element on its way in.
enum Input<'a> {
    Short(Form<'a>),
    Long(Long),
}

struct NewRow<'a> {
    hash: u64,
    text: &'a [u8],
    first: Input<'a>,
    second: Input<'a>,
    size: usize,
}

/// What is to be removed.
#[derive(Clone, Copy, Debug)]
enum Victim<'a> {
    /// By its hash and its first column.
    Named(u64, &'a [u8]),
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
        Self { root: Branch { count: 0, node: Node::Leaf(leaf) }, bytes }
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
        self.root.recount::<COLUMNS>().1
    }

    #[inline]
    pub fn find(&self, first: &[u8], hasher: &HashKey) -> Option<Pair<'_>> {
        self.find_hashed(hasher.bytes(first), first)
    }

    #[inline]
    fn find_hashed(&self, hash: u64, first: &[u8]) -> Option<Pair<'_>> {
        let mut node = &self.root.node;
        let mut level = 0;
        loop {
            match node {
                Node::Inner(inner) => node = &inner.branches[inner.rank(slot_of(hash, level))].node,
                Node::Leaf(leaf) => return leaf.find::<COLUMNS>(hash, first).map(|(_, row)| leaf.pair(row)),
            }
            level += 1;
        }
    }

    /// Adds or replaces a record. A long element that this displaces goes into `graves`.
    pub fn set(&mut self, first: &[u8], second: &[u8], hasher: &HashKey, graves: &mut Vec<Rope>) -> Written {
        self.set_hashed(hasher.bytes(first), first, second, hasher, graves)
    }

    fn set_hashed(
        &mut self,
        hash: u64,
        first: &[u8],
        second: &[u8],
        hasher: &HashKey,
        graves: &mut Vec<Rope>,
    ) -> Written {
        let row = NewRow::of::<COLUMNS>(first, second, hash);
        let mut work = Work { hasher, graves, bytes: &mut self.bytes };
        self.root.set::<COLUMNS>(0, &row, &mut work)
    }

    /// Whether there was such a record.
    pub fn remove(&mut self, first: &[u8], hasher: &HashKey, graves: &mut Vec<Rope>) -> bool {
        let hash = hasher.bytes(first);
        // The look before the leap keeps a miss from copying shared nodes.
        if self.find_hashed(hash, first).is_none() {
            return false;
        }
        let mut work = Work { hasher, graves, bytes: &mut self.bytes };
        self.root.remove::<COLUMNS>(0, Victim::Named(hash, first), &mut work, |_| ());
        true
    }

    /// Removes a record that the caller has found.
    pub fn remove_found(&mut self, first: &[u8], hasher: &HashKey, graves: &mut Vec<Rope>) {
        let mut work = Work { hasher, graves, bytes: &mut self.bytes };
        self.root.remove::<COLUMNS>(0, Victim::Named(hasher.bytes(first), first), &mut work, |_| ());
    }

    /// Removes the record at `index` in hash order, after `visit` has seen it; without hashing anything.
    ///
    /// # Panics
    /// If there are not so many.
    pub fn take_nth(&mut self, index: usize, hasher: &HashKey, graves: &mut Vec<Rope>, visit: impl FnOnce(Pair<'_>)) {
        assert!(index < self.len(), "the caller drew it from what is there");
        let mut work = Work { hasher, graves, bytes: &mut self.bytes };
        self.root.remove::<COLUMNS>(0, Victim::Nth(index), &mut work, visit);
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
    pub fn scan(
        &self,
        cursor: u64,
        count: usize,
        stop: Stop,
        hasher: &HashKey,
        mut visit: impl FnMut(Pair<'_>),
    ) -> u64 {
        let (mut cursor, mut left) = (cursor, count.max(1));
        while cursor < 1 << CURSOR_BITS {
            let (leaf, start, end) = self.leaf_at(cursor);
            let (next, visited) = if cursor == start && (stop == Stop::AtLeaf || usize::from(leaf.count) <= left) {
                leaf.rows::<COLUMNS>().for_each(|row| visit(leaf.pair(row)));
                (end, usize::from(leaf.count))
            } else {
                leaf.scan_part::<COLUMNS>(cursor, left, hasher, &mut visit).map_or((end, left), |next| (next, left))
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
        let hash = hasher.bytes(member);
        if self.find_hashed(hash, member).is_some() {
            return false;
        }
        self.set_hashed(hash, member, b"", hasher, &mut Vec::new());
        true
    }
}

impl<'a> Pair<'a> {
    /// A record whose elements are both inside it.
    pub(crate) fn short(row: Row<'a>) -> Self {
        Self { first: Value::Short(row.first), second: Value::Short(row.second) }
    }
}

impl Value<'_> {
    pub fn len(self) -> usize {
        match self {
            Self::Short(cell) => cell.text(&mut [0; I64_TEXT_MAX]).len(),
            Self::Long(rope) => rope.len(),
        }
    }

    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    pub fn read_into(self, out: &mut Vec<u8>) {
        match self {
            Self::Short(cell) => out.extend_from_slice(cell.text(&mut [0; I64_TEXT_MAX])),
            Self::Long(rope) => rope.read_into(0..rope.len(), out),
        }
    }
}

impl Branch {
    fn set<const COLUMNS: usize>(&mut self, level: u32, row: &NewRow<'_>, work: &mut Work<'_>) -> Written {
        if let Node::Leaf(leaf) = &mut self.node {
            match set_in_leaf::<COLUMNS>(leaf, row, work) {
                Ok(Written::Added) => {
                    self.count += 1;
                    return Written::Added;
                }
                Ok(Written::Updated) => return Written::Updated,
                Err(Full) => self.push_down(level, work),
            }
        }
        let Node::Inner(rc) = &mut self.node else { unreachable!("a leaf was set or pushed down") };
        let before = rc.bytes();
        let inner = Arc::make_mut(rc);
        let written = inner.set::<COLUMNS>(level, row, work);
        *work.bytes = *work.bytes + inner.bytes() - before;
        self.count += usize::from(written == Written::Added);
        written
    }

    /// Puts an Inner between this branch and its leaf.
    fn push_down(&mut self, level: u32, work: &mut Work<'_>) {
        assert!(level < LEVELS_MAX, "a keyed hash spreads");
        let leaf = std::mem::replace(&mut self.node, Node::Leaf(blank_leaf(0)));
        let inner = Inner { starts: 1, branches: vec![Self { count: self.count, node: leaf }] };
        *work.bytes += inner.bytes();
        self.node = Node::Inner(Arc::new(inner));
    }

    /// Removes a record that is there.
    fn remove<const COLUMNS: usize>(
        &mut self,
        level: u32,
        victim: Victim<'_>,
        work: &mut Work<'_>,
        visit: impl FnOnce(Pair<'_>),
    ) {
        self.count -= 1;
        match &mut self.node {
            Node::Leaf(leaf) => remove_in_leaf::<COLUMNS>(leaf, victim, work, visit),
            Node::Inner(rc) => {
                let before = rc.bytes();
                let inner = Arc::make_mut(rc);
                let (index, slot, victim) = inner.way_to(level, victim);
                inner.branches[index].remove::<COLUMNS>(level + 1, victim, work, visit);
                inner.merge_around::<COLUMNS>(slot, work);
                *work.bytes = *work.bytes + inner.bytes() - before;
                if let [Self { node: Node::Leaf(leaf), .. }] = &inner.branches[..] {
                    *work.bytes -= inner.bytes();
                    self.node = Node::Leaf(leaf.clone());
                }
            }
        }
    }

    /// Elements and bytes by walking everything; checks the counters on the way.
    fn recount<const COLUMNS: usize>(&self) -> (usize, usize) {
        let (count, bytes) = match &self.node {
            Node::Leaf(leaf) => {
                let ropes: usize = leaf.longs.iter().flatten().map(|long| long.rope.recount_bytes()).sum();
                assert_eq!(ropes, leaf.long_bytes, "a leaf knows its long elements");
                let rows: usize = leaf.rows::<COLUMNS>().map(|row| row.size).sum();
                assert_eq!(rows, leaf.live(), "a leaf knows its dead bytes");
                let longs = leaf.longs.capacity() * size_of::<Option<Long>>();
                (usize::from(leaf.count), LEAF_HEAD + leaf.data().len() + longs + ropes)
            }
            Node::Inner(inner) => {
                let parts = inner.branches.iter().map(Self::recount::<COLUMNS>);
                parts.fold((0, inner.bytes()), |sum, part| (sum.0 + part.0, sum.1 + part.1))
            }
        };
        assert_eq!(count, self.count, "a branch knows its elements");
        (count, bytes)
    }
}

impl Node {
    fn for_each<'s, const COLUMNS: usize>(&'s self, visit: &mut impl FnMut(Pair<'s>)) {
        match self {
            Self::Leaf(leaf) => leaf.rows::<COLUMNS>().for_each(|row| visit(leaf.pair(row))),
            Self::Inner(inner) => inner.branches.iter().for_each(|branch| branch.node.for_each::<COLUMNS>(visit)),
        }
    }
}

impl Inner {
    fn bytes(&self) -> usize {
        RC_BYTES + size_of::<Self>() + self.branches.capacity() * size_of::<Branch>()
    }

    /// Number of the branch that covers `slot`.
    #[inline]
    fn rank(&self, slot: u32) -> usize {
        (self.starts & (u128::MAX >> (SLOTS - 1 - slot))).count_ones() as usize - 1
    }

    /// First slot and number of slots of the branch that covers `slot`.
    #[inline]
    fn extent(&self, slot: u32) -> (u32, u32) {
        let upto = u128::MAX >> (SLOTS - 1 - slot);
        let from = SLOTS - 1 - (self.starts & upto).leading_zeros();
        // Past the last branch no bit is left, and 128 trailing zeros are just its end.
        (from, (self.starts & !upto).trailing_zeros() - from)
    }

    /// The branch with the record, a slot it covers, and what the record is to that branch.
    fn way_to<'v>(&self, level: u32, victim: Victim<'v>) -> (usize, u32, Victim<'v>) {
        let mut left = match victim {
            Victim::Named(hash, _) => {
                let slot = slot_of(hash, level);
                return (self.rank(slot), slot, victim);
            }
            Victim::Nth(left) => left,
        };
        let mut starts = self.starts;
        for (index, branch) in self.branches.iter().enumerate() {
            if left < branch.count {
                return (index, starts.trailing_zeros(), Victim::Nth(left));
            }
            left -= branch.count;
            starts &= starts - 1;
        }
        unreachable!("a branch counts what is below it")
    }

    fn set<const COLUMNS: usize>(&mut self, level: u32, row: &NewRow<'_>, work: &mut Work<'_>) -> Written {
        let slot = slot_of(row.hash, level);
        loop {
            let index = self.rank(slot);
            let (from, slots) = self.extent(slot);
            let branch = &mut self.branches[index];
            let Node::Leaf(leaf) = &mut branch.node else { return branch.set::<COLUMNS>(level + 1, row, work) };
            if slots == 1 {
                return branch.set::<COLUMNS>(level + 1, row, work);
            }
            match set_in_leaf::<COLUMNS>(leaf, row, work) {
                Ok(written) => {
                    branch.count += usize::from(written == Written::Added);
                    return written;
                }
                Err(Full) => self.split::<COLUMNS>(level, index, from + slots / 2, work),
            }
        }
    }

    /// Splits the leaf of branch `index` at slot `middle`.
    fn split<const COLUMNS: usize>(&mut self, level: u32, index: usize, middle: u32, work: &mut Work<'_>) {
        let Node::Leaf(leaf) = &self.branches[index].node else { unreachable!("only leaves split") };
        let upper: Vec<bool> = (0..usize::from(leaf.count))
            .map(|slot| slot_of(leaf.hash_of(leaf.row::<COLUMNS>(slot), work.hasher), level) >= middle)
            .collect();
        let low = rebuild::<COLUMNS>(&[leaf], |_, slot| !upper[slot], 0).expect("half of a leaf fits");
        let high = rebuild::<COLUMNS>(&[leaf], |_, slot| upper[slot], 0).expect("half of a leaf fits");
        *work.bytes = *work.bytes + low.bytes() + high.bytes() - leaf.bytes();
        let high = Branch { count: usize::from(high.count), node: Node::Leaf(high) };
        self.branches[index] = Branch { count: usize::from(low.count), node: Node::Leaf(low) };
        self.branches.insert(index + 1, high);
        self.starts |= 1 << middle;
    }

    /// Merges the leaf over `slot` with its buddy as long as both are sparse.
    fn merge_around<const COLUMNS: usize>(&mut self, slot: u32, work: &mut Work<'_>) {
        while let Some((lower, middle)) = self.buddies(slot) {
            let [Branch { node: Node::Leaf(low), .. }, Branch { node: Node::Leaf(high), .. }] =
                &self.branches[lower..lower + 2]
            else {
                return;
            };
            if low.content() + high.content() > MERGE_BELOW {
                return;
            }
            let Ok(merged) = rebuild::<COLUMNS>(&[low, high], |_, _| true, 0) else { return };
            *work.bytes = *work.bytes + merged.bytes() - low.bytes() - high.bytes();
            self.branches[lower] = Branch { count: usize::from(merged.count), node: Node::Leaf(merged) };
            self.branches.remove(lower + 1);
            self.starts &= !(1 << middle);
        }
        if self.branches.len() < self.branches.capacity() / 4 {
            self.branches.shrink_to(self.branches.len() * 2);
        }
    }

    /// The branch over `slot` and its buddy of the same extent: number of the lower, first slot of the upper.
    fn buddies(&self, slot: u32) -> Option<(usize, u32)> {
        let (from, slots) = self.extent(slot);
        if slots == SLOTS || self.extent(from ^ slots) != (from ^ slots, slots) {
            return None;
        }
        Some((self.rank(from & !slots), from | slots))
    }
}

/// Keeps the capacity, so that a copied path counts the same bytes.
impl Clone for Inner {
    fn clone(&self) -> Self {
        let mut branches = Vec::with_capacity(self.branches.capacity());
        branches.extend_from_slice(&self.branches);
        Self { starts: self.starts, branches }
    }
}

impl std::ops::Deref for Leaf {
    type Target = Head;

    fn deref(&self) -> &Head {
        &self.0.header
    }
}

impl Leaf {
    #[inline]
    fn data(&self) -> &[u8] {
        &self.0.slice
    }

    /// The leaf for writing, unless somebody else holds it too.
    #[inline]
    fn alone(&mut self) -> Option<LeafMut<'_>> {
        let HeaderSlice { header, slice } = Arc::get_mut(&mut self.0)?;
        Some(LeafMut { head: header, data: slice })
    }

    fn bytes(&self) -> usize {
        LEAF_HEAD + self.data().len() + self.longs.capacity() * size_of::<Option<Long>>() + self.long_bytes
    }

    /// Bytes of live records.
    fn live(&self) -> usize {
        usize::from(self.used) - SLOT_BYTES * usize::from(self.slots) - usize::from(self.dead)
    }

    /// Bytes of data that the elements need.
    fn content(&self) -> usize {
        self.live() + SLOT_BYTES * usize::from(self.count)
    }

    #[inline]
    fn offset(&self, slot: usize) -> usize {
        self.0.header.offset(self.data(), slot)
    }

    #[inline]
    fn row<const COLUMNS: usize>(&self, slot: usize) -> Row<'_> {
        parse::<COLUMNS>(&self.data()[self.offset(slot)..])
    }

    fn rows<const COLUMNS: usize>(&self) -> impl Iterator<Item = Row<'_>> {
        (0..usize::from(self.count)).map(|slot| self.row::<COLUMNS>(slot))
    }

    fn pair<'s>(&'s self, row: Row<'s>) -> Pair<'s> {
        Pair { first: self.value(row.first), second: self.value(row.second) }
    }

    #[inline]
    fn value<'s>(&'s self, cell: Cell<'s>) -> Value<'s> {
        match cell.elsewhere() {
            None => Value::Short(cell),
            Some(place) => Value::Long(&self.long(place).rope),
        }
    }

    fn long(&self, place: usize) -> &Long {
        self.longs[place].as_ref().expect("a record's long element is there")
    }

    #[inline]
    fn find<const COLUMNS: usize>(&self, hash: u64, first: &[u8]) -> Option<(usize, Row<'_>)> {
        let form = (first.len() <= INLINE_MAX).then(|| Form::of(first));
        let fingerprints = &self.data()[..usize::from(self.count)];
        memchr::memchr_iter(fingerprint(hash), fingerprints).find_map(|slot| {
            let row = self.row::<COLUMNS>(slot);
            let equal = match &form {
                Some(form) => row.first == form.cell(),
                None => row.first.elsewhere().is_some_and(|place| {
                    let long = self.long(place);
                    long.hash == hash && long.rope.equals(first)
                }),
            };
            equal.then_some((slot, row))
        })
    }

    fn hash_of(&self, row: Row<'_>, hasher: &HashKey) -> u64 {
        match row.first.elsewhere() {
            Some(place) => self.long(place).hash,
            None => hasher.bytes(row.first.text(&mut [0; I64_TEXT_MAX])),
        }
    }

    /// Visits, in hash order, `count` records from `cursor` on; the cursor of the next one if there is one in this leaf.
    fn scan_part<const COLUMNS: usize>(
        &self,
        cursor: u64,
        count: usize,
        hasher: &HashKey,
        visit: &mut impl FnMut(Pair<'_>),
    ) -> Option<u64> {
        let mut due: Vec<(u64, Row<'_>)> = self
            .rows::<COLUMNS>()
            .map(|row| (self.hash_of(row, hasher) >> (64 - CURSOR_BITS), row))
            .filter(|&(prefix, _)| prefix >= cursor)
            .collect();
        due.sort_unstable_by_key(|&(prefix, _)| prefix);
        let mut last = None;
        for (visited, (prefix, row)) in due.into_iter().enumerate() {
            if visited >= count && last != Some(prefix) {
                return Some(prefix);
            }
            visit(self.pair(row));
            last = Some(prefix);
        }
        None
    }
}

impl Head {
    /// Where the record of `slot` begins in the leaf's data.
    #[inline]
    fn offset(&self, data: &[u8], slot: usize) -> usize {
        let at = usize::from(self.slots) + 2 * slot;
        usize::from(u16::from_le_bytes([data[at], data[at + 1]]))
    }
}

impl LeafMut<'_> {
    #[inline]
    fn offset(&self, slot: usize) -> usize {
        self.head.offset(self.data, slot)
    }

    #[inline]
    fn row<const COLUMNS: usize>(&self, slot: usize) -> Row<'_> {
        parse::<COLUMNS>(&self.data[self.offset(slot)..])
    }

    /// Appends a record; the caller has seen that a slot and the bytes are free.
    fn push<const COLUMNS: usize>(&mut self, row: &NewRow<'_>) {
        let (slot, start) = (usize::from(self.head.count), usize::from(self.head.used));
        assert!(self.head.count < self.head.slots && start + row.size <= self.data.len(), "the caller made room");
        self.data[slot] = fingerprint(row.hash);
        self.point(slot, start);
        self.write::<COLUMNS>(start, row);
        self.head.count += 1;
        self.head.used = narrow(start + row.size);
    }

    fn write<const COLUMNS: usize>(&mut self, start: usize, row: &NewRow<'_>) {
        let (first, second) = (self.take_in(&row.first), self.take_in(&row.second));
        write_row::<COLUMNS>(&mut self.data[start..start + row.size], &first, &second);
    }

    fn take_in<'a>(&mut self, input: &Input<'a>) -> Form<'a> {
        match input {
            Input::Short(form) => *form,
            Input::Long(long) => Form::elsewhere(self.keep(long.clone())),
        }
    }

    fn keep(&mut self, long: Long) -> usize {
        self.head.long_bytes += long.rope.bytes();
        match self.head.longs.iter().position(Option::is_none) {
            Some(free) => {
                self.head.longs[free] = Some(long);
                free
            }
            None => {
                self.head.longs.push(Some(long));
                self.head.longs.len() - 1
            }
        }
    }

    /// Moves the long elements of the record in `slot` out.
    fn bury<const COLUMNS: usize>(&mut self, slot: usize, graves: &mut Vec<Rope>) {
        let row = self.row::<COLUMNS>(slot);
        for place in [row.first.elsewhere(), row.second.elsewhere()].into_iter().flatten() {
            let long = self.head.longs[place].take().expect("a record's long element is there");
            self.head.long_bytes -= long.rope.bytes();
            graves.push(long.rope);
        }
    }

    /// Forgets the record in `slot`; the last slot takes its place.
    fn forget<const COLUMNS: usize>(&mut self, slot: usize) {
        let size = self.row::<COLUMNS>(slot).size;
        let last = usize::from(self.head.count) - 1;
        self.data[slot] = self.data[last];
        self.point(slot, self.offset(last));
        self.head.count -= 1;
        self.head.dead += narrow(size);
    }

    fn point(&mut self, slot: usize, offset: usize) {
        let at = usize::from(self.head.slots) + 2 * slot;
        self.data[at..at + 2].copy_from_slice(&narrow(offset).to_le_bytes());
    }
}

impl<'a> NewRow<'a> {
    fn of<const COLUMNS: usize>(first: &'a [u8], second: &'a [u8], hash: u64) -> Self {
        let (text, first, second) = (first, Input::of(first, hash), Input::of(second, 0));
        let size = row_size::<COLUMNS>(&first.shape(), &second.shape());
        Self { hash, text, first, second, size }
    }
}

impl<'a> Input<'a> {
    fn of(text: &'a [u8], hash: u64) -> Self {
        if text.len() <= INLINE_MAX {
            Self::Short(Form::of(text))
        } else {
            Self::Long(Long { rope: Rope::from(text), hash })
        }
    }

    /// A form of the size that the stored one will have.
    fn shape(&self) -> Form<'a> {
        match self {
            Self::Short(form) => *form,
            Self::Long(_) => Form::elsewhere(0),
        }
    }
}

/// Adds or replaces in one leaf, or changes nothing if that would exceed the largest leaf.
fn set_in_leaf<const COLUMNS: usize>(leaf: &mut Leaf, row: &NewRow<'_>, work: &mut Work<'_>) -> Result<Written, Full> {
    let before = leaf.bytes();
    let found = leaf.find::<COLUMNS>(row.hash, row.text).map(|(slot, old)| (slot, old.size));
    let written = match found {
        None => {
            let mut leaf = with_room::<COLUMNS>(leaf, row.size)?;
            leaf.push::<COLUMNS>(row);
            Written::Added
        }
        Some((slot, size)) if size == row.size => {
            let mut leaf = make_mut::<COLUMNS>(leaf);
            leaf.bury::<COLUMNS>(slot, work.graves);
            let start = leaf.offset(slot);
            leaf.write::<COLUMNS>(start, row);
            Written::Updated
        }
        Some((slot, _)) => {
            let mut leaf = with_room::<COLUMNS>(leaf, row.size)?;
            leaf.bury::<COLUMNS>(slot, work.graves);
            leaf.forget::<COLUMNS>(slot);
            leaf.push::<COLUMNS>(row);
            Written::Updated
        }
    };
    *work.bytes = *work.bytes + leaf.bytes() - before;
    Ok(written)
}

fn remove_in_leaf<const COLUMNS: usize>(
    leaf: &mut Leaf,
    victim: Victim<'_>,
    work: &mut Work<'_>,
    visit: impl FnOnce(Pair<'_>),
) {
    let before = leaf.bytes();
    let slot = match victim {
        Victim::Named(hash, first) => leaf.find::<COLUMNS>(hash, first).expect("the caller found the record").0,
        Victim::Nth(slot) => slot,
    };
    visit(leaf.pair(leaf.row::<COLUMNS>(slot)));
    let mut writing = make_mut::<COLUMNS>(leaf);
    writing.bury::<COLUMNS>(slot, work.graves);
    writing.forget::<COLUMNS>(slot);
    if 2 * leaf.content() < leaf.data().len() && leaf.data().len() > LEAF_DATA_MIN {
        *leaf = rebuild::<COLUMNS>(&[leaf], |_, _| true, 0).expect("a leaf with less fits");
    }
    *work.bytes = *work.bytes + leaf.bytes() - before;
}

/// The leaf for writing. Slots keep their numbers in a copy.
fn make_mut<const COLUMNS: usize>(leaf: &mut Leaf) -> LeafMut<'_> {
    if !leaf.0.is_unique() {
        *leaf = leaf.renewed::<COLUMNS>(0).expect("a copy without its dead fits");
    }
    leaf.alone().expect("a new leaf is owned alone")
}

/// The leaf for writing, with a free slot and `size` free bytes. Slots keep their numbers.
fn with_room<const COLUMNS: usize>(leaf: &mut Leaf, size: usize) -> Result<LeafMut<'_>, Full> {
    let fits = leaf.count < leaf.slots && usize::from(leaf.used) + size <= leaf.data().len();
    if !fits || !leaf.0.is_unique() {
        *leaf = leaf.renewed::<COLUMNS>(size)?;
    }
    Ok(leaf.alone().expect("a new leaf is owned alone"))
}

/// A new leaf with the records of `sources` that `keep(source, slot)` names, in order, and room for one of `room` bytes.
fn rebuild<const COLUMNS: usize>(
    sources: &[&Leaf],
    keep: impl Fn(usize, usize) -> bool,
    room: usize,
) -> Result<Leaf, Full> {
    let kept = || {
        let slots = |source: usize| (0..usize::from(sources[source].count)).map(move |slot| (source, slot));
        (0..sources.len()).flat_map(slots).filter(|&(source, slot)| keep(source, slot))
    };
    let (mut count, mut bytes, mut longs) = (0, 0, 0);
    for (source, slot) in kept() {
        let row = sources[source].row::<COLUMNS>(slot);
        count += 1;
        bytes += row.size;
        longs += usize::from(row.first.elsewhere().is_some()) + usize::from(row.second.elsewhere().is_some());
    }
    let mut rebuilt = roomy(count, bytes, room)?;
    let mut leaf = rebuilt.alone().expect("a new leaf is owned alone");
    leaf.head.longs = Vec::with_capacity(longs);
    let mut at = SLOT_BYTES * usize::from(leaf.head.slots);
    for (slot, (source, from)) in kept().enumerate() {
        let source = sources[source];
        let (row, start) = (source.row::<COLUMNS>(from), source.offset(from));
        leaf.data[slot] = source.data()[from];
        leaf.point(slot, at);
        leaf.data[at..at + row.size].copy_from_slice(&source.data()[start..start + row.size]);
        if row.first.elsewhere().is_some() || row.second.elsewhere().is_some() {
            leaf.adopt::<COLUMNS>(at, source, row);
        }
        at += row.size;
    }
    leaf.head.count = narrow(count);
    leaf.head.used = narrow(at);
    Ok(rebuilt)
}

impl LeafMut<'_> {
    /// Takes the long elements of a copied record over from `source` and points the copy at `at` to them.
    fn adopt<const COLUMNS: usize>(&mut self, at: usize, source: &Leaf, row: Row<'_>) {
        let (first, second) = (self.share(source, row.first), self.share(source, row.second));
        write_row::<COLUMNS>(&mut self.data[at..at + row.size], &first, &second);
    }

    fn share<'a>(&mut self, source: &Leaf, cell: Cell<'a>) -> Form<'a> {
        match cell.elsewhere() {
            Some(place) => Form::elsewhere(self.keep(source.long(place).clone())),
            None => Form::from(cell),
        }
    }
}

/// `Done` when the caller may drop `node` at the price of one node.
fn free_from_end(node: &mut Node, budget: &mut usize) -> Progress {
    match node {
        Node::Leaf(leaf) => {
            let Some(LeafMut { head, .. }) = leaf.alone() else { return Progress::Done };
            while let Some(last) = head.longs.last_mut() {
                if let Some(long) = last
                    && (*budget == 0 || long.rope.free_step(budget) == Progress::More)
                {
                    return Progress::More;
                }
                head.longs.pop();
            }
            Progress::Done
        }
        Node::Inner(rc) => {
            let Some(inner) = Arc::get_mut(rc) else { return Progress::Done };
            while let Some(last) = inner.branches.last_mut() {
                if *budget == 0 || free_from_end(&mut last.node, budget) == Progress::More {
                    return Progress::More;
                }
                *budget = budget.saturating_sub(1);
                inner.branches.pop();
            }
            Progress::Done
        }
    }
}

#[inline]
fn slot_of(hash: u64, level: u32) -> u32 {
    let [low, ..] = (hash >> (64 - LEVEL_BITS * (level + 1))).to_le_bytes();
    u32::from(low) & (SLOTS - 1)
}

/// The low byte: the levels of the trie use the high bits.
#[inline]
fn fingerprint(hash: u64) -> u8 {
    let [low, ..] = hash.to_le_bytes();
    low
}

/// A count or an offset inside a leaf.
#[inline]
fn narrow(number: usize) -> u16 {
    u16::try_from(number).expect("a leaf is smaller than 64 KiB")
}

/// The sizes of leaves: classes of the allocator (`packed::allocation_class`) up to one page.
pub(super) const LEAF_CLASSES: [usize; 19] =
    [128, 192, 256, 320, 384, 448, 512, 640, 768, 896, 1024, 1280, 1536, 1792, 2048, 2560, 3072, 3584, LEAF_BYTES_MAX];
pub(super) const LEAF_BYTES_MAX: usize = 4096;
const LEAF_DATA_MIN: usize = LEAF_CLASSES[0] - LEAF_HEAD;

static BLANK: [u8; LEAF_DATA_MAX] = [0; LEAF_DATA_MAX];

/// An empty leaf of the smallest class with `needed` bytes of data.
fn blank_leaf(needed: usize) -> Leaf {
    let class = LEAF_CLASSES.iter().find(|&&class| needed <= class - LEAF_HEAD);
    let class = class.expect("the caller compared with the largest leaf");
    Leaf(Arc::from_header_and_slice(Head::default(), &BLANK[..class - LEAF_HEAD]))
}

#[cfg(test)]
mod tests;
