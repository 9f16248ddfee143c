//! A branch: what an Inner covers some slots with, and the root. It counts its elements. While none of its records has a deadline nothing
//! is looked at for one; otherwise what changes below it makes its `Times` anew from those of the parts.

use super::edit::{expire_in_leaf, remove_in_leaf, set_in_leaf};
use super::inner::Inner;
use super::leaf::{Leaf, LeafMut};
use super::room::{LEAF_HEAD, blank_leaf};
use super::row::{Long, NewRow};
use super::{Full, LEVELS_MAX, Pair, Progress, Times, Victim, Work, Written};
use crate::base::time::Millis;
use triomphe::Arc;

#[derive(Clone, Debug)]
pub(super) struct Branch {
    pub(super) count: usize,
    pub(super) node: Node,
}

#[derive(Clone, Debug)]
pub(super) enum Node {
    Inner(Arc<Inner>),
    Leaf(Leaf),
}

impl Branch {
    pub(super) fn set<const COLUMNS: usize>(&mut self, level: u32, row: &NewRow<'_>, work: &mut Work<'_>) -> Written {
        if let Node::Leaf(leaf) = &mut self.node {
            match set_in_leaf::<COLUMNS>(leaf, row, work) {
                Ok(Written::Added) => {
                    self.count += 1;
                    return Written::Added;
                }
                Ok(Written::Updated) => return Written::Updated,
                Err(Full) => self.push_down::<COLUMNS>(level, work),
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
    fn push_down<const COLUMNS: usize>(&mut self, level: u32, work: &mut Work<'_>) {
        assert!(level < LEVELS_MAX, "a keyed hash spreads");
        let times = Some(self.times::<COLUMNS>()).filter(|times| times.any());
        let leaf = std::mem::replace(&mut self.node, Node::Leaf(blank_leaf(0)));
        let inner = Inner {
            starts: 1,
            branches: vec![Self { count: self.count, node: leaf }],
            times: times.into_iter().collect(),
        };
        *work.bytes += inner.bytes();
        self.node = Node::Inner(Arc::new(inner));
    }

    /// Removes a record that is there.
    pub(super) fn remove<const COLUMNS: usize>(
        &mut self,
        level: u32,
        victim: Victim<'_>,
        work: &mut Work<'_>,
        visit: impl FnOnce(Pair<'_>),
    ) {
        if let Node::Leaf(leaf) = &mut self.node {
            remove_in_leaf::<COLUMNS>(leaf, victim, work, visit);
            self.count -= 1;
            return;
        }
        self.thin_out::<COLUMNS>(work, |inner, work| {
            let (index, slot, victim) = inner.way_to(level, victim);
            inner.branches[index].remove::<COLUMNS>(level + 1, victim, work, visit);
            (slot, 1)
        });
    }

    /// Removes the due records of one leaf, the one that has been due for longest; how many.
    pub(super) fn expire<const COLUMNS: usize>(
        &mut self,
        now: Millis,
        work: &mut Work<'_>,
        tell: &mut dyn FnMut(Pair<'_>),
    ) -> usize {
        if let Node::Leaf(leaf) = &mut self.node {
            let gone = expire_in_leaf::<COLUMNS>(leaf, now, work, tell);
            self.count -= gone;
            return gone;
        }
        self.thin_out::<COLUMNS>(work, |inner, work| {
            let timed = (0..inner.times.len()).filter(|&index| inner.times[index].any());
            let index = timed.min_by_key(|&index| inner.times[index].next());
            let index = index.expect("where something is due there are times");
            let slot = inner.first_slot(index);
            (slot, inner.branches[index].expire::<COLUMNS>(now, work, tell))
        })
    }

    /// After `remove` has taken records out of the branch over the slot it names: sparse leaves merge, an Inner of one leaf gives way to it.
    fn thin_out<const COLUMNS: usize>(
        &mut self,
        work: &mut Work<'_>,
        remove: impl FnOnce(&mut Inner, &mut Work<'_>) -> (u32, usize),
    ) -> usize {
        let Node::Inner(rc) = &mut self.node else { unreachable!("a leaf is thinned out by itself") };
        let before = rc.bytes();
        let inner = Arc::make_mut(rc);
        let (slot, gone) = remove(inner, work);
        self.count -= gone;
        inner.note_times::<COLUMNS>(inner.rank(slot), false);
        inner.merge_around::<COLUMNS>(slot, work);
        *work.bytes = *work.bytes + inner.bytes() - before;
        if let [Self { node: Node::Leaf(leaf), .. }] = &inner.branches[..] {
            *work.bytes -= inner.bytes();
            self.node = Node::Leaf(leaf.clone());
        }
        gone
    }

    /// From what is below it.
    pub(super) fn times<const COLUMNS: usize>(&self) -> Times {
        match &self.node {
            _ if self.count == 0 => Times::EMPTY,
            Node::Leaf(leaf) => leaf.rows::<COLUMNS>().map(|row| Times::of(row.deadline)).collect(),
            Node::Inner(inner) if inner.times.is_empty() => Times::UNTIMED,
            Node::Inner(inner) => inner.times.iter().copied().collect(),
        }
    }

    /// The times after a write, which they were `before`; what had no deadlines has none, unless one was written.
    #[inline]
    pub(super) fn times_after<const COLUMNS: usize>(&self, before: Times, timed: bool) -> Times {
        match self.count {
            0 => Times::EMPTY,
            _ if timed || before.any() => self.times::<COLUMNS>(),
            _ => Times::UNTIMED,
        }
    }

    pub(super) fn next_after<const COLUMNS: usize>(
        &self,
        times: Times,
        now: Millis,
        leaves: &mut usize,
    ) -> Option<Millis> {
        match &self.node {
            _ if times.all_due(now) => None,
            _ if !times.some_due(now) => times.next(),
            _ if *leaves == 0 => Some(now.saturating_add(1)),
            Node::Leaf(leaf) => {
                *leaves -= 1;
                leaf.living_rows::<COLUMNS>(now).filter_map(|row| row.deadline).min()
            }
            Node::Inner(inner) => {
                let parts = inner.branches.iter().zip(&inner.times);
                parts.filter_map(|(branch, times)| branch.next_after::<COLUMNS>(*times, now, leaves)).min()
            }
        }
    }

    pub(super) fn due<const COLUMNS: usize>(&self, times: Times, now: Millis, leaves: &mut usize) -> usize {
        match &self.node {
            _ if times.all_due(now) => self.count,
            _ if !times.some_due(now) || *leaves == 0 => 0,
            Node::Leaf(leaf) => {
                *leaves -= 1;
                usize::from(leaf.count) - leaf.living_rows::<COLUMNS>(now).count()
            }
            Node::Inner(inner) => {
                let parts = inner.branches.iter().zip(&inner.times);
                parts.map(|(branch, times)| branch.due::<COLUMNS>(*times, now, leaves)).sum()
            }
        }
    }

    /// Elements, bytes and deadlines by walking everything; checks the counters on the way.
    pub(super) fn recount<const COLUMNS: usize>(&self) -> (usize, usize, Times) {
        let (count, bytes, times) = match &self.node {
            Node::Leaf(leaf) => {
                let ropes: usize = leaf.longs.iter().flatten().map(|long| long.rope.recount_bytes()).sum();
                assert_eq!(ropes, leaf.long_bytes, "a leaf knows its long elements");
                let rows: usize = leaf.rows::<COLUMNS>().map(|row| row.size).sum();
                assert_eq!(rows, leaf.live(), "a leaf knows its dead bytes");
                let longs = leaf.longs.capacity() * size_of::<Option<Long>>();
                let bytes = LEAF_HEAD + leaf.data().len() + longs + ropes;
                (usize::from(leaf.count), bytes, self.times::<COLUMNS>())
            }
            Node::Inner(inner) => {
                let parts: Vec<_> = inner.branches.iter().map(Self::recount::<COLUMNS>).collect();
                let times: Vec<Times> = parts.iter().map(|part| part.2).collect();
                let any = times.iter().any(|times| times.any());
                assert!(if any { inner.times == times } else { inner.times.is_empty() || inner.times == times });
                let sum = parts.iter().fold((0, inner.bytes()), |sum, part| (sum.0 + part.0, sum.1 + part.1));
                (sum.0, sum.1, times.into_iter().collect())
            }
        };
        assert_eq!(count, self.count, "a branch knows its elements");
        (count, bytes, times)
    }
}

impl Node {
    pub(super) fn for_each<'s, const COLUMNS: usize>(&'s self, visit: &mut impl FnMut(Pair<'s>)) {
        match self {
            Self::Leaf(leaf) => leaf.rows::<COLUMNS>().for_each(|row| visit(leaf.pair(row))),
            Self::Inner(inner) => inner.branches.iter().for_each(|branch| branch.node.for_each::<COLUMNS>(visit)),
        }
    }
}

/// `Done` when the caller may drop `node` at the price of one node.
pub(super) fn free_from_end(node: &mut Node, budget: &mut usize) -> Progress {
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
