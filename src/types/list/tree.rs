//! The leaves between the two ends of a large list, in a tree that counts.
//!
//! ```text
//!  Tree -> Branch { measure, node }          measure: elements, bytes, bytes in a listpack, of all that is below
//!            |
//!          Inner [Branch; ..FANOUT]           all of one height
//!            |
//!          Leaf
//! ```
//!
//! An element is found by its number on the way down. Leaves come and go at both edges, where inner nodes may be thin; inside, what has become
//! sparse merges with its neighbour. What `cut` takes off is a tree of pieces of several heights, which may be read and freed, not written.

use std::ops::Range;

use triomphe::Arc;

use super::super::{Progress, RC_BYTES};
use super::leaf::{LEAF_DATA_MAX, Leaf};
use super::{End, Measure};

const FANOUT: usize = 32;

/// Neighbours merge when one of them is below a quarter, and both together are below three quarters of what one can hold.
const SPARSE: usize = 4;

#[derive(Clone, Debug, Default)]
pub(super) struct Tree(Option<Branch>);

#[derive(Clone, Debug)]
struct Branch {
    measure: Measure,
    node: Node,
}

#[derive(Clone, Debug)]
enum Node {
    Inner(Arc<Inner>),
    Leaf(Leaf),
}

#[derive(Debug)]
struct Inner {
    branches: Vec<Branch>,
}

impl Tree {
    #[inline]
    pub(super) fn measure(&self) -> Measure {
        self.0.as_ref().map_or_else(Measure::default, |root| root.measure)
    }

    pub(super) fn recount_bytes(&self) -> usize {
        self.0.as_ref().map_or(0, |root| root.recount().bytes)
    }

    pub(super) fn push(&mut self, end: End, leaf: Leaf) {
        let new = Branch::leaf(leaf);
        let Some(root) = &mut self.0 else {
            self.0 = Some(new);
            return;
        };
        if let Some(beside) = root.push(end, new) {
            let root = self.0.take().expect("just written to");
            self.0 = Some(Branch::inner(match end {
                End::Front => vec![beside, root],
                End::Back => vec![root, beside],
            }));
        }
    }

    pub(super) fn pop(&mut self, end: End) -> Option<Leaf> {
        let root = self.0.as_mut()?;
        let leaf = match &root.node {
            Node::Leaf(leaf) => leaf.clone(),
            Node::Inner(_) => root.pop(end),
        };
        if root.measure.count == leaf.len() && matches!(root.node, Node::Leaf(_)) || root.measure.count == 0 {
            self.0 = None;
        } else {
            self.lower();
        }
        Some(leaf)
    }

    /// The leaf with the element of this number, and the number of its first.
    pub(super) fn leaf_at(&self, index: usize) -> (&Leaf, usize) {
        let (mut node, mut base) = (&self.0.as_ref().expect("it has this element").node, 0);
        loop {
            match node {
                Node::Leaf(leaf) => return (leaf, base),
                Node::Inner(inner) => {
                    let (at, before) = inner.place(index - base);
                    base += before;
                    node = &inner.branches[at].node;
                }
            }
        }
    }

    /// Changes the leaf with the element of this number, which is told its number there. What the change splits off comes behind the leaf.
    pub(super) fn edit<R>(&mut self, index: usize, edit: impl FnOnce(&mut Leaf, usize) -> (R, Option<Leaf>)) -> R {
        let root = self.0.as_mut().expect("it has this element");
        let (result, beside) = root.edit(index, edit);
        if let Some(beside) = beside {
            let root = self.0.take().expect("just written to");
            self.0 = Some(Branch::inner(vec![root, beside]));
        }
        if self.measure().count == 0 {
            self.0 = None;
        } else {
            self.lower();
        }
        result
    }

    /// Takes so many elements off an end.
    pub(super) fn cut(&mut self, end: End, count: usize) -> Self {
        if count == self.measure().count {
            return std::mem::take(self);
        }
        let mut pieces = Vec::new();
        if let Some(root) = self.0.as_mut().filter(|_| count > 0) {
            root.cut(end, count, &mut pieces);
            self.lower();
        }
        if end == End::Back {
            pieces.reverse();
        }
        Self((!pieces.is_empty()).then(|| Branch::inner(pieces)))
    }

    pub(super) fn for_each_leaf<'t>(&'t self, mut visit: impl FnMut(&'t Leaf)) {
        if let Some(root) = &self.0 {
            root.for_each_leaf(&mut visit);
        }
    }

    /// Gives back at most `budget` nodes, from the end.
    pub(super) fn free_step(&mut self, budget: &mut usize) -> Progress {
        let Some(root) = &mut self.0 else { return Progress::Done };
        if root.free_step(budget) == Progress::More || *budget == 0 {
            return Progress::More;
        }
        *budget -= 1;
        self.0 = None;
        Progress::Done
    }

    /// Takes the nodes away from the top that have a single branch.
    fn lower(&mut self) {
        while let Some(Branch { node: Node::Inner(inner), .. }) = &self.0
            && let [only] = &inner.branches[..]
        {
            self.0 = Some(only.clone());
        }
    }
}

impl Branch {
    fn leaf(leaf: Leaf) -> Self {
        Self { measure: leaf.measure(), node: Node::Leaf(leaf) }
    }

    fn inner(branches: Vec<Self>) -> Self {
        let inner = Inner { branches };
        Self { measure: inner.measure(), node: Node::Inner(Arc::new(inner)) }
    }

    /// What does not fit any more comes back, to stand beside this branch.
    fn push(&mut self, end: End, new: Self) -> Option<Self> {
        let Node::Inner(rc) = &mut self.node else { return Some(new) };
        let inner = Arc::make_mut(rc);
        let (at, edge) = match end {
            End::Front => (0, 0),
            End::Back => (inner.branches.len(), inner.branches.len() - 1),
        };
        let beside = inner.branches[edge].push(end, new);
        let left = match beside {
            Some(branch) if inner.branches.len() == FANOUT => Some(Self::inner(vec![branch])),
            Some(branch) => {
                inner.branches.insert(at, branch);
                None
            }
            None => None,
        };
        self.measure = inner.measure();
        left
    }

    /// The outermost leaf of an inner node.
    fn pop(&mut self, end: End) -> Leaf {
        let Node::Inner(rc) = &mut self.node else { unreachable!("the caller takes a leaf itself") };
        let inner = Arc::make_mut(rc);
        let edge = match end {
            End::Front => 0,
            End::Back => inner.branches.len() - 1,
        };
        let branch = &mut inner.branches[edge];
        let (leaf, is_empty) = match &branch.node {
            Node::Leaf(leaf) => (leaf.clone(), true),
            Node::Inner(_) => {
                let leaf = branch.pop(end);
                (leaf, branch.measure.count == 0)
            }
        };
        if is_empty {
            inner.branches.remove(edge);
        }
        self.measure = inner.measure();
        leaf
    }

    fn edit<R>(&mut self, index: usize, edit: impl FnOnce(&mut Leaf, usize) -> (R, Option<Leaf>)) -> (R, Option<Self>) {
        match &mut self.node {
            Node::Leaf(leaf) => {
                let (result, beside) = edit(leaf, index);
                self.measure = leaf.measure();
                (result, beside.map(Self::leaf))
            }
            Node::Inner(rc) => {
                let inner = Arc::make_mut(rc);
                let (at, before) = inner.place(index);
                let (result, beside) = inner.branches[at].edit(index - before, edit);
                match beside {
                    Some(beside) => inner.branches.insert(at + 1, beside),
                    None => inner.tidy(at),
                }
                let beside = (inner.branches.len() > FANOUT).then(|| {
                    let half = inner.branches.split_off(FANOUT / 2);
                    inner.branches.shrink_to_fit();
                    Self::inner(half)
                });
                self.measure = inner.measure();
                (result, beside)
            }
        }
    }

    /// Takes some but not all elements off an end, outermost pieces first.
    fn cut(&mut self, end: End, count: usize, pieces: &mut Vec<Self>) {
        match &mut self.node {
            Node::Leaf(leaf) => {
                pieces.push(Self::leaf(leaf.cut(end, count)));
                self.measure = leaf.measure();
            }
            Node::Inner(rc) => {
                let inner = Arc::make_mut(rc);
                let (range, left) = inner.whole_branches(end, count);
                if !range.is_empty() {
                    pieces.push(Self::inner(inner.branches.drain(range).collect()));
                }
                if left > 0 {
                    let edge = match end {
                        End::Front => 0,
                        End::Back => inner.branches.len() - 1,
                    };
                    inner.branches[edge].cut(end, left, pieces);
                }
                self.measure = inner.measure();
            }
        }
    }

    fn for_each_leaf<'t>(&'t self, visit: &mut impl FnMut(&'t Leaf)) {
        match &self.node {
            Node::Leaf(leaf) => visit(leaf),
            Node::Inner(inner) => inner.branches.iter().for_each(|branch| branch.for_each_leaf(visit)),
        }
    }

    /// `Done` when the caller may drop this branch at the price of one node.
    fn free_step(&mut self, budget: &mut usize) -> Progress {
        match &mut self.node {
            Node::Leaf(leaf) => leaf.free_longs(budget),
            Node::Inner(rc) => {
                let Some(inner) = Arc::get_mut(rc) else { return Progress::Done };
                while let Some(last) = inner.branches.last_mut() {
                    if *budget == 0 || last.free_step(budget) == Progress::More {
                        return Progress::More;
                    }
                    *budget = budget.saturating_sub(1);
                    inner.branches.pop();
                }
                Progress::Done
            }
        }
    }

    /// The measure by walking everything; checks those that are kept on the way.
    fn recount(&self) -> Measure {
        let measure = match &self.node {
            Node::Leaf(leaf) => {
                assert!(leaf.len() > 0, "no leaf of the tree is empty");
                Measure { bytes: leaf.recount_bytes(), ..leaf.measure() }
            }
            Node::Inner(inner) => {
                assert!((1..=FANOUT).contains(&inner.branches.len()), "a node is bounded");
                inner.branches.iter().map(Self::recount).fold(inner.own(), |sum, part| sum + part)
            }
        };
        assert_eq!(measure, self.measure, "a branch knows what is below it");
        measure
    }
}

impl Inner {
    /// What the node itself takes.
    fn own(&self) -> Measure {
        let bytes = RC_BYTES + size_of::<Self>() + self.branches.capacity() * size_of::<Branch>();
        Measure { count: 0, bytes, listed: 0 }
    }

    fn measure(&self) -> Measure {
        self.branches.iter().fold(self.own(), |sum, branch| sum + branch.measure)
    }

    /// The branch with the element of this number, and how many elements come before the branch.
    #[inline]
    fn place(&self, index: usize) -> (usize, usize) {
        let mut before = 0;
        for (at, branch) in self.branches.iter().enumerate() {
            if index < before + branch.measure.count {
                return (at, before);
            }
            before += branch.measure.count;
        }
        unreachable!("the caller has looked at the count")
    }

    /// The branches that `count` elements at an end cover wholly, and the elements that are left of it.
    fn whole_branches(&self, end: End, count: usize) -> (Range<usize>, usize) {
        let (len, mut whole, mut left) = (self.branches.len(), 0, count);
        let of = |nth: usize| match end {
            End::Front => self.branches[nth].measure.count,
            End::Back => self.branches[len - 1 - nth].measure.count,
        };
        while whole < len && of(whole) <= left {
            left -= of(whole);
            whole += 1;
        }
        match end {
            End::Front => (0..whole, left),
            End::Back => (len - whole..len, left),
        }
    }

    /// Removes the branch at `at` if it is empty, or merges it with a neighbour if it is sparse.
    fn tidy(&mut self, at: usize) {
        if self.branches[at].measure.count == 0 {
            self.branches.remove(at);
            return;
        }
        let pairs = [
            at.checked_sub(1).map(|left| (left, at)),
            Some((at, at + 1)).filter(|(_, right)| *right < self.branches.len()),
        ];
        for (left, right) in pairs.into_iter().flatten() {
            if let Some(merged) = merged(&self.branches[left], &self.branches[right], &self.branches[at]) {
                self.branches[left] = merged;
                self.branches.remove(right);
                return;
            }
        }
    }
}

/// Keeps the capacity, so that a copy weighs what the original does.
impl Clone for Inner {
    fn clone(&self) -> Self {
        let mut branches = Vec::with_capacity(self.branches.capacity());
        branches.extend_from_slice(&self.branches);
        Self { branches }
    }
}

/// Two neighbours in one, if `sparse`, which is one of them, is that, and there is room.
fn merged(left: &Branch, right: &Branch, sparse: &Branch) -> Option<Branch> {
    match (&left.node, &right.node, &sparse.node) {
        (Node::Leaf(left), Node::Leaf(right), Node::Leaf(sparse)) => {
            let fits =
                sparse.weight() < LEAF_DATA_MAX / SPARSE && left.weight() + right.weight() <= LEAF_DATA_MAX / 4 * 3;
            fits.then(|| Branch::leaf(Leaf::merge([left, right].into_iter())))
        }
        (Node::Inner(left), Node::Inner(right), Node::Inner(sparse)) => {
            let both = left.branches.len() + right.branches.len();
            let fits = sparse.branches.len() < FANOUT / SPARSE && both <= FANOUT / 4 * 3;
            fits.then(|| Branch::inner(left.branches.iter().chain(&right.branches).cloned().collect()))
        }
        _ => None,
    }
}
