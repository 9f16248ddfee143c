//! An Inner: up to 128 slots of the next seven bits of the hash, dealt out in powers of two to branches. A leaf that is full splits in two
//! here; buddies that are sparse merge.

use super::branch::{Branch, Node};
use super::edit::set_in_leaf;
use super::room::{LEAF_BYTES_MAX, rebuild};
use super::row::NewRow;
use super::{Full, RC_BYTES, SLOTS, Times, Victim, Work, Written, slot_of};

/// Two buddies merge when what both hold is below this: half a leaf, so that it does not split again at the next insertion.
const MERGE_BELOW: usize = LEAF_BYTES_MAX / 2;

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) starts: u128,
    pub(super) branches: Vec<Branch>,
    /// Of each branch, or nothing while no record below has a deadline.
    pub(super) times: Vec<Times>,
}

impl Inner {
    pub(super) fn bytes(&self) -> usize {
        RC_BYTES
            + size_of::<Self>()
            + self.branches.capacity() * size_of::<Branch>()
            + self.times.capacity() * size_of::<Times>()
    }

    /// After a write below branch `index`; `timed`: of a record with a deadline.
    #[inline]
    pub(super) fn note_times<const COLUMNS: usize>(&mut self, index: usize, timed: bool) {
        if timed && self.times.is_empty() {
            let untimed = |branch: &Branch| if branch.count == 0 { Times::EMPTY } else { Times::UNTIMED };
            self.times = self.branches.iter().map(untimed).collect();
        }
        if let Some(&before) = self.times.get(index) {
            self.times[index] = self.branches[index].times_after::<COLUMNS>(before, timed);
            if before.any() && !self.times.iter().any(|times| times.any()) {
                self.times = Vec::new();
            }
        }
    }

    /// Where branch `index` begins.
    pub(super) fn first_slot(&self, index: usize) -> u32 {
        let rest = (0..index).fold(self.starts, |starts, _| starts & (starts - 1));
        rest.trailing_zeros()
    }

    /// Number of the branch that covers `slot`.
    #[inline]
    pub(super) fn rank(&self, slot: u32) -> usize {
        (self.starts & (u128::MAX >> (SLOTS - 1 - slot))).count_ones() as usize - 1
    }

    /// First slot and number of slots of the branch that covers `slot`.
    #[inline]
    pub(super) fn extent(&self, slot: u32) -> (u32, u32) {
        let upto = u128::MAX >> (SLOTS - 1 - slot);
        let from = SLOTS - 1 - (self.starts & upto).leading_zeros();
        // Past the last branch no bit is left, and 128 trailing zeros are just its end.
        (from, (self.starts & !upto).trailing_zeros() - from)
    }

    /// The branch with the record, a slot it covers, and what the record is to that branch.
    pub(super) fn way_to<'v>(&self, level: u32, victim: Victim<'v>) -> (usize, u32, Victim<'v>) {
        let mut left = match victim {
            Victim::Named(name) => {
                let slot = slot_of(name.hash, level);
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

    pub(super) fn set<const COLUMNS: usize>(&mut self, level: u32, row: &NewRow<'_>, work: &mut Work<'_>) -> Written {
        let slot = slot_of(row.hash, level);
        loop {
            let index = self.rank(slot);
            let (from, slots) = self.extent(slot);
            let branch = &mut self.branches[index];
            let written = match &mut branch.node {
                Node::Leaf(leaf) if slots > 1 => match set_in_leaf::<COLUMNS>(leaf, row, work) {
                    Ok(written) => {
                        branch.count += usize::from(written == Written::Added);
                        written
                    }
                    Err(Full) => {
                        self.split::<COLUMNS>(level, index, from + slots / 2, work);
                        continue;
                    }
                },
                _ => branch.set::<COLUMNS>(level + 1, row, work),
            };
            self.note_times::<COLUMNS>(index, row.deadline.is_some());
            return written;
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
        if !self.times.is_empty() {
            self.times[index] = self.branches[index].times::<COLUMNS>();
            self.times.insert(index + 1, high.times::<COLUMNS>());
        }
        self.branches.insert(index + 1, high);
        self.starts |= 1 << middle;
    }

    /// Merges the leaf over `slot` with its buddy as long as both are sparse.
    pub(super) fn merge_around<const COLUMNS: usize>(&mut self, slot: u32, work: &mut Work<'_>) {
        // Its buddy is somewhere else in memory, and is looked at only if that may be of use.
        if let Node::Leaf(leaf) = &self.branches[self.rank(slot)].node
            && leaf.content() > MERGE_BELOW
        {
            return;
        }
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
            if !self.times.is_empty() {
                let upper = self.times.remove(lower + 1);
                self.times[lower] = self.times[lower].with(upper);
            }
            self.starts &= !(1 << middle);
        }
        if self.branches.len() < self.branches.capacity() / 4 {
            self.branches.shrink_to(self.branches.len() * 2);
            self.times.shrink_to(self.times.len() * 2);
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
        let mut times = Vec::with_capacity(self.times.capacity());
        times.extend_from_slice(&self.times);
        Self { starts: self.starts, branches, times }
    }
}
