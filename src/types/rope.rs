//! A string larger than one node.
//!
//! ```text
//!  Rope -> Root { tree, leaves, tail }            tail: the last 0..LEAF_BYTES-1 bytes, still growing
//!                  |
//!              Forks [ | | ... ]                  at most FANOUT children, height follows from the number of leaves
//!                |   |
//!           Leaves  Leaves [Bytes; ..FANOUT]      each exactly LEAF_BYTES
//! ```
//!
//! Leaves are `Bytes`: a reply or the journal holds them without copying, and while they do (or while a clone of the rope
//! does) a write copies that one leaf. The tree only ever grows at its right edge, so the path to a leaf is the digits of its
//! number to the base FANOUT and nothing is rebalanced. Padding is one static leaf of zeros until written: SETRANGE far beyond
//! the end costs no memory at once, although it is counted in full, so that the first writes cannot exceed a memory limit unseen.
//!
//! Absent: truncation and insertion in the middle; no command needs them.

use std::ops::Range;

use bytes::Bytes;
use triomphe::Arc;

use super::packed::allocation_class;
use super::{Progress, RC_BYTES};

/// Bytes of a full leaf: copying one costs about a microsecond, and a reply of 1 GB is 65536 chunks.
pub const LEAF_BYTES: usize = 16 << 10;

const FANOUT: usize = 32;
const FANOUT_BITS: u32 = FANOUT.trailing_zeros();

/// What `Bytes` allocates beside the buffer as soon as it is shared; counted from the start.
const SHARED_BYTES: usize = 24;

static ZEROS: [u8; LEAF_BYTES] = [0; LEAF_BYTES];

#[derive(Clone, Debug, Default)]
pub struct Rope(Arc<Root>);

#[derive(Clone, Debug, Default)]
struct Root {
    tree: Option<Arc<Node>>,
    leaves: usize,
    tail: Vec<u8>,
}

#[derive(Debug)]
enum Node {
    Leaves(Vec<Bytes>),
    Forks(Vec<Arc<Self>>),
}

impl From<&[u8]> for Rope {
    fn from(bytes: &[u8]) -> Self {
        let mut rope = Self::default();
        rope.append(bytes);
        rope
    }
}

impl Rope {
    pub fn len(&self) -> usize {
        self.0.leaves * LEAF_BYTES + self.0.tail.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether no clone holds the same root.
    pub fn is_alone(&self) -> bool {
        self.0.is_unique()
    }

    pub fn append(&mut self, bytes: &[u8]) {
        Arc::make_mut(&mut self.0).append(bytes);
    }

    /// Writes `bytes` at `offset`; a gap between the end and `offset` becomes zeros.
    pub fn write_at(&mut self, offset: usize, bytes: &[u8]) {
        let len = self.len();
        let root = Arc::make_mut(&mut self.0);
        if offset > len {
            root.append_zeros(offset - len);
        }
        let inside = bytes.len().min(len.saturating_sub(offset));
        let (over, beyond) = bytes.split_at(inside);
        root.overwrite(offset, over);
        root.append(beyond);
    }

    pub fn byte(&self, at: usize) -> Option<u8> {
        let (leaf, within) = (at / LEAF_BYTES, at % LEAF_BYTES);
        if leaf < self.0.leaves { Some(self.0.leaf(leaf)[within]) } else { self.0.tail_at(leaf)?.get(within).copied() }
    }

    /// The bytes of `range`, cut to the length, in borrowed pieces of at most one leaf.
    pub fn chunks(&self, range: Range<usize>) -> impl Iterator<Item = &[u8]> {
        let root = &*self.0;
        pieces(range, self.len()).map(move |(leaf, cut)| match root.tail_at(leaf) {
            Some(tail) => &tail[cut],
            None => &root.leaf(leaf)[cut],
        })
    }

    /// The same in pieces that outlive the rope: leaves are shared, only the tail (less than a leaf) is copied.
    pub fn shared_chunks(&self, range: Range<usize>) -> impl Iterator<Item = Bytes> {
        let root = &*self.0;
        pieces(range, self.len()).map(move |(leaf, cut)| match root.tail_at(leaf) {
            Some(tail) => Bytes::copy_from_slice(&tail[cut]),
            None => root.leaf(leaf).slice(cut),
        })
    }

    pub fn read_into(&self, range: Range<usize>, out: &mut Vec<u8>) {
        self.chunks(range).for_each(|chunk| out.extend_from_slice(chunk));
    }

    pub fn equals(&self, bytes: &[u8]) -> bool {
        self.len() == bytes.len() && self.chunks(0..bytes.len()).zip(bytes.chunks(LEAF_BYTES)).all(|(a, b)| a == b)
    }

    pub fn bytes(&self) -> usize {
        let root = &*self.0;
        let (mut level, mut nodes, mut total) = (root.leaves, 0, 0);
        while level > 1 || (level == 1 && nodes == 0) {
            level = level.div_ceil(FANOUT);
            total += level * node_bytes(if nodes == 0 { size_of::<Bytes>() } else { size_of::<Arc<Node>>() });
            nodes += level;
        }
        root_bytes(root) + root.leaves * (LEAF_BYTES + SHARED_BYTES) + total
    }

    pub fn recount_bytes(&self) -> usize {
        root_bytes(&self.0) + self.0.tree.as_deref().map_or(0, Node::recount_bytes)
    }

    /// Gives back at most `budget` leaves and nodes, from the end.
    pub fn free_step(&mut self, budget: &mut usize) -> Progress {
        if let Some(Root { tree: tree @ Some(_), .. }) = Arc::get_mut(&mut self.0) {
            if tree.as_mut().is_some_and(|node| *budget == 0 || free_from_end(node, budget) == Progress::More) {
                return Progress::More;
            }
            *tree = None;
        }
        if *budget == 0 {
            return Progress::More;
        }
        *budget -= 1;
        self.0 = Arc::default();
        Progress::Done
    }
}

impl Root {
    fn append(&mut self, mut bytes: &[u8]) {
        while self.tail.len() + bytes.len() >= LEAF_BYTES {
            let (now, later) = bytes.split_at(LEAF_BYTES - self.tail.len());
            let leaf = if self.tail.is_empty() {
                Bytes::copy_from_slice(now)
            } else {
                let mut tail = std::mem::take(&mut self.tail);
                tail.reserve_exact(now.len());
                tail.extend_from_slice(now);
                Bytes::from(tail)
            };
            self.push_leaf(leaf);
            bytes = later;
        }
        self.reserve_tail(bytes.len());
        self.tail.extend_from_slice(bytes);
    }

    fn append_zeros(&mut self, mut count: usize) {
        let first = count.min((LEAF_BYTES - self.tail.len()) % LEAF_BYTES);
        self.append(&ZEROS[..first]);
        count -= first;
        while count >= LEAF_BYTES {
            self.push_leaf(Bytes::from_static(&ZEROS));
            count -= LEAF_BYTES;
        }
        self.append(&ZEROS[..count]);
    }

    /// Room for `more` bytes: exact for the first, then in steps of the allocator's classes, never above a leaf.
    fn reserve_tail(&mut self, more: usize) {
        let needed = self.tail.len() + more;
        if needed > self.tail.capacity() {
            self.tail.reserve_exact(allocation_class(needed).min(LEAF_BYTES) - self.tail.len());
        }
    }

    fn overwrite(&mut self, offset: usize, mut bytes: &[u8]) {
        for (leaf, cut) in pieces(offset..offset + bytes.len(), offset + bytes.len()) {
            let (now, later) = bytes.split_at(cut.len());
            if leaf < self.leaves {
                write_leaf(self.leaf_mut(leaf), cut.start, now);
            } else {
                self.tail[cut].copy_from_slice(now);
            }
            bytes = later;
        }
    }

    fn tail_at(&self, leaf: usize) -> Option<&[u8]> {
        (leaf == self.leaves).then_some(&self.tail)
    }

    /// Levels of nodes above the leaves.
    fn height(&self) -> u32 {
        height_of(self.leaves)
    }

    fn leaf(&self, index: usize) -> &Bytes {
        assert!(index < self.leaves, "a leaf of this rope");
        let mut node = self.tree.as_deref().expect("leaves hang on a tree");
        let mut level = self.height();
        loop {
            level -= 1;
            let digit = index >> (level * FANOUT_BITS) & (FANOUT - 1);
            match node {
                Node::Leaves(leaves) => return &leaves[digit],
                Node::Forks(forks) => node = &forks[digit],
            }
        }
    }

    fn leaf_mut(&mut self, index: usize) -> &mut Bytes {
        assert!(index < self.leaves, "a leaf of this rope");
        let mut level = self.height();
        let mut node = Arc::make_mut(self.tree.as_mut().expect("leaves hang on a tree"));
        loop {
            level -= 1;
            let digit = index >> (level * FANOUT_BITS) & (FANOUT - 1);
            match node {
                Node::Leaves(leaves) => return &mut leaves[digit],
                Node::Forks(forks) => node = Arc::make_mut(&mut forks[digit]),
            }
        }
    }

    fn push_leaf(&mut self, leaf: Bytes) {
        assert_eq!(leaf.len(), LEAF_BYTES, "only the tail is shorter");
        let height = height_of(self.leaves + 1);
        let tree = match self.tree.take() {
            None => Arc::new(Node::Leaves(Vec::with_capacity(FANOUT))),
            Some(tree) if height > self.height() => {
                let mut forks = Vec::with_capacity(FANOUT);
                forks.push(tree);
                Arc::new(Node::Forks(forks))
            }
            Some(tree) => tree,
        };
        let tree = self.tree.insert(tree);
        Arc::make_mut(tree).push(self.leaves, height - 1, leaf);
        self.leaves += 1;
    }
}

impl Node {
    /// Hangs `leaf`, the `index`th, on the right edge; `level` is the height of this node's children.
    fn push(&mut self, index: usize, level: u32, leaf: Bytes) {
        match self {
            Self::Leaves(leaves) => leaves.push(leaf),
            Self::Forks(forks) => {
                if forks.len() == index >> (level * FANOUT_BITS) & (FANOUT - 1) {
                    forks.push(Arc::new(Self::empty(level)));
                }
                let last = forks.last_mut().expect("a fork was just made if there was none");
                Arc::make_mut(last).push(index, level - 1, leaf);
            }
        }
    }

    /// A node of `height` levels.
    fn empty(height: u32) -> Self {
        match height {
            1 => Self::Leaves(Vec::with_capacity(FANOUT)),
            _ => Self::Forks(Vec::with_capacity(FANOUT)),
        }
    }

    fn recount_bytes(&self) -> usize {
        match self {
            Self::Leaves(leaves) => {
                let held: usize = leaves.iter().map(|leaf| leaf.len() + SHARED_BYTES).sum();
                RC_BYTES + size_of::<Self>() + leaves.capacity() * size_of::<Bytes>() + held
            }
            Self::Forks(forks) => {
                let held: usize = forks.iter().map(|fork| fork.recount_bytes()).sum();
                RC_BYTES + size_of::<Self>() + forks.capacity() * size_of::<Arc<Self>>() + held
            }
        }
    }
}

/// Keeps the capacity, which `bytes` relies on.
impl Clone for Node {
    fn clone(&self) -> Self {
        fn copy<T: Clone>(from: &[T]) -> Vec<T> {
            let mut to = Vec::with_capacity(FANOUT);
            to.extend_from_slice(from);
            to
        }
        match self {
            Self::Leaves(leaves) => Self::Leaves(copy(leaves)),
            Self::Forks(forks) => Self::Forks(copy(forks)),
        }
    }
}

fn root_bytes(root: &Root) -> usize {
    RC_BYTES + size_of::<Root>() + root.tail.capacity()
}

const fn node_bytes(child_bytes: usize) -> usize {
    RC_BYTES + size_of::<Node>() + FANOUT * child_bytes
}

fn height_of(leaves: usize) -> u32 {
    let mut height = 0;
    while leaves > 1 << (height * FANOUT_BITS) || (leaves == 1 && height == 0) {
        height += 1;
    }
    height
}

/// Cuts `range`, itself cut to `len`, into (number of the leaf, range inside that leaf).
fn pieces(range: Range<usize>, len: usize) -> impl Iterator<Item = (usize, Range<usize>)> {
    let end = range.end.min(len);
    let mut at = range.start;
    std::iter::from_fn(move || {
        if at >= end {
            return None;
        }
        let (leaf, start) = (at / LEAF_BYTES, at % LEAF_BYTES);
        let stop = (start + (end - at)).min(LEAF_BYTES);
        at += stop - start;
        Some((leaf, start..stop))
    })
}

/// Writes in place if nobody else holds the leaf, else into a copy of it.
fn write_leaf(leaf: &mut Bytes, at: usize, bytes: &[u8]) {
    let mut owned = match std::mem::take(leaf).try_into_mut() {
        Ok(owned) => owned,
        Err(shared) => bytes::BytesMut::from(&shared[..]),
    };
    owned[at..at + bytes.len()].copy_from_slice(bytes);
    *leaf = owned.freeze();
}

/// `Done` when the caller may drop `node` at the price of one node.
fn free_from_end(node: &mut Arc<Node>, budget: &mut usize) -> Progress {
    match Arc::get_mut(node) {
        None => Progress::Done,
        Some(Node::Leaves(leaves)) => {
            let kept = leaves.len().saturating_sub(*budget);
            *budget -= leaves.len() - kept;
            leaves.truncate(kept);
            if kept == 0 { Progress::Done } else { Progress::More }
        }
        Some(Node::Forks(forks)) => {
            while let Some(last) = forks.last_mut() {
                if *budget == 0 || free_from_end(last, budget) == Progress::More {
                    return Progress::More;
                }
                *budget = budget.saturating_sub(1);
                forks.pop();
            }
            Progress::Done
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(rope: &Rope) -> Vec<u8> {
        let mut out = Vec::new();
        rope.read_into(0..usize::MAX, &mut out);
        out
    }

    fn pattern(len: usize, seed: u8) -> Vec<u8> {
        (0..len).map(|i| (i % 251).to_le_bytes()[0].wrapping_add(seed) ^ (i >> 8).to_le_bytes()[0]).collect()
    }

    #[derive(Clone, Debug)]
    enum Op {
        Append(usize, u8),
        Write(usize, usize, u8),
        Hold,
        HoldChunks,
    }

    fn ops() -> impl Strategy<Value = Vec<Op>> {
        let len = prop_oneof![0..64usize, 0..3 * LEAF_BYTES, Just(LEAF_BYTES), Just(LEAF_BYTES - 1)];
        let op = prop_oneof![
            3 => (len.clone(), any::<u8>()).prop_map(|(n, s)| Op::Append(n, s)),
            3 => (0..40 * LEAF_BYTES, len, any::<u8>()).prop_map(|(at, n, s)| Op::Write(at, n, s)),
            1 => Just(Op::Hold),
            1 => Just(Op::HoldChunks),
        ];
        proptest::collection::vec(op, 1..20)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn a_rope_is_a_vector_and_its_clones_stand_still(ops in ops(), cut in 0..50 * LEAF_BYTES, span in 0..3 * LEAF_BYTES) {
            let (mut rope, mut model) = (Rope::default(), Vec::new());
            let (mut held, mut chunks) = (Vec::new(), Vec::new());
            for op in ops {
                match op {
                    Op::Append(n, seed) => {
                        rope.append(&pattern(n, seed));
                        model.extend(pattern(n, seed));
                    }
                    Op::Write(at, n, seed) => {
                        rope.write_at(at, &pattern(n, seed));
                        if model.len() < at + n { model.resize(at + n, 0); }
                        model[at..at + n].copy_from_slice(&pattern(n, seed));
                    }
                    Op::Hold => held.push((rope.clone(), model.clone())),
                    Op::HoldChunks => chunks.push((rope.shared_chunks(0..usize::MAX).collect::<Vec<_>>(), model.clone())),
                }
                prop_assert_eq!(rope.len(), model.len());
                prop_assert_eq!(rope.bytes(), rope.recount_bytes());
            }
            prop_assert!(all(&rope) == model && rope.equals(&model));
            prop_assert_eq!(rope.byte(cut), model.get(cut).copied());
            let mut part = Vec::new();
            rope.read_into(cut..cut + span, &mut part);
            prop_assert!(part == model.get(cut..(cut + span).min(model.len())).unwrap_or_default());
            let mut budget = usize::MAX;
            prop_assert_eq!(rope.free_step(&mut budget), Progress::Done);
            for (rope, model) in held {
                prop_assert!(all(&rope) == model);
                prop_assert_eq!(rope.bytes(), rope.recount_bytes());
            }
            for (chunks, model) in chunks {
                prop_assert!(chunks.concat() == model);
            }
        }
    }

    #[test]
    fn freeing_keeps_to_its_budget_and_leaves_sharers_alone() {
        let bytes = pattern(2000 * LEAF_BYTES + 5, 1);
        let mut rope = Rope::from(&bytes[..]);
        let mut steps = 0;
        loop {
            let mut budget = 100;
            steps += 1;
            if rope.free_step(&mut budget) == Progress::Done {
                break;
            }
            assert_eq!(budget, 0);
        }
        assert!((20..=22).contains(&steps), "{steps}");
        let mut rope = Rope::from(&bytes[..]);
        let copy = rope.clone();
        rope.write_at(0, b"x");
        let mut budget = 200;
        assert_eq!(rope.free_step(&mut budget), Progress::Done, "all but one path is shared");
        assert!(copy.equals(&bytes));
    }

    #[test]
    fn a_gap_of_zeros_costs_no_leaves_until_written() {
        let mut rope = Rope::default();
        rope.write_at(64 << 20, b"end");
        assert_eq!(rope.len(), (64 << 20) + 3);
        assert_eq!(rope.byte(12345), Some(0));
        rope.write_at(12345, b"x");
        assert_eq!((rope.byte(12344), rope.byte(12345), rope.byte(12346)), (Some(0), Some(b'x'), Some(0)));
        assert_eq!(ZEROS, [0; LEAF_BYTES]);
        assert_eq!(rope.bytes(), rope.recount_bytes());
    }
}
