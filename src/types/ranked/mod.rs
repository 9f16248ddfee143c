//! The order of a large sorted set: its elements by score, then by the bytes of the member. A counted B+tree.
//!
//! ```text
//!  Ranked -> Inner [Branch { count, bound, node }; ..FANOUT]      rank and select add up counts on the way down
//!              |
//!            Leaf   scores side by side, members behind them      leaf.rs
//! ```
//!
//! A bound parts a branch from the one before it: whatever lies there comes before the bound, whatever lies here does not. Where scores differ at
//! the border, the score says it all; among equal scores the bound has the shortest text that parts the two members; where even that
//! would be long, the branch's first element is looked up instead, so that a bound never weighs more than a short member: if its score is still
//! the bound's, it parts the two, and if not, what has the bound's score lies in front.
//! The bound of a first branch is never asked.
//!
//! A leaf that overflows splits in the middle, but at its end if the new element would be its last (or its first): what arrives in order fills the
//! leaves. Sparse neighbours merge, so that memory follows deletions. Every leaf has an element, unless it is the root.
//!
//! Long members are ropes that the index (`zset.rs`) holds as well and accounts for; here they only cost their place.

mod leaf;

use std::cmp::Ordering;
use std::ops::Range;

use triomphe::Arc;

use super::rope::Rope;
use super::score::Score;
use super::trie::Value;
use super::{Progress, RC_BYTES};
use leaf::Leaf;
pub(crate) use leaf::compare;

/// Branches of an inner node: together with their bounds some KiB.
const FANOUT: usize = 64;

/// The longest text of a bound.
const BOUND_TEXT_MAX: usize = 64;

#[derive(Clone, Debug)]
pub struct Ranked {
    root: Branch,
    bytes: usize,
}

/// A place between two elements.
#[derive(Clone, Copy, Debug)]
pub enum Edge<'e> {
    /// In front of all that have this score.
    Score(Score),
    /// Behind all that have this score.
    PastScore(Score),
    /// In front of this element.
    Element(Score, &'e [u8]),
    /// Behind this element.
    PastElement(Score, &'e [u8]),
    /// In front of this member, among elements of one score.
    Member(&'e [u8]),
    /// Behind this member, among elements of one score.
    PastMember(&'e [u8]),
}

/// In which order a range is walked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Up,
    Down,
}

/// What is to be removed.
#[derive(Clone, Copy)]
enum Victim<'v> {
    /// The element in front of this edge.
    Before(&'v Edge<'v>),
    /// By its rank.
    Nth(usize),
}

/// An element on its way in.
struct New<'n> {
    score: Score,
    member: &'n [u8],
    /// The member again if it is long.
    rope: Option<&'n Rope>,
}

#[derive(Clone, Debug)]
struct Branch {
    count: usize,
    bound: Bound,
    node: Node,
}

#[derive(Clone, Debug)]
struct Bound {
    score: Score,
    /// Empty where the score is enough; `None`: the first element's member.
    text: Option<Box<[u8]>>,
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

impl Default for Ranked {
    fn default() -> Self {
        let leaf = Leaf::default();
        let bytes = leaf.bytes();
        Self { root: Branch { count: 0, bound: Bound::NONE, node: Node::Leaf(leaf) }, bytes }
    }
}

impl Ranked {
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
        self.root.recount().1
    }

    /// Adds an element that is not there; `rope` is its member too if that is long.
    pub fn insert(&mut self, score: Score, member: &[u8], rope: Option<&Rope>) {
        let new = New { score, member, rope };
        let Some(right) = self.root.insert(&new, &mut self.bytes) else { return };
        let blank = Branch { count: 0, bound: Bound::NONE, node: Node::Leaf(Leaf::default()) };
        let left = std::mem::replace(&mut self.root, blank);
        let count = left.count + right.count;
        let mut inner = Inner { branches: Vec::with_capacity(4) };
        inner.branches.extend([left, right]);
        self.bytes += inner.bytes();
        self.root = Branch { count, bound: Bound::NONE, node: Node::Inner(Arc::new(inner)) };
    }

    /// Starts loading what a write at this place looks at.
    pub fn foresee(&self, edge: &Edge<'_>) {
        let mut node = &self.root.node;
        while let Node::Inner(inner) = node {
            node = &inner.branches[inner.search(edge)].node;
        }
        if let Node::Leaf(leaf) = node {
            leaf.foresee();
        }
    }

    /// Removes an element that is there.
    pub fn remove(&mut self, score: Score, member: &[u8]) {
        self.take(Victim::Before(&Edge::PastElement(score, member)));
    }

    /// Removes the element of a rank that there is.
    pub fn remove_nth(&mut self, rank: usize) {
        assert!(rank < self.len(), "the caller has seen it");
        self.take(Victim::Nth(rank));
    }

    fn take(&mut self, victim: Victim<'_>) {
        self.root.remove(victim, &mut self.bytes);
        while let Node::Inner(rc) = &self.root.node
            && let [only] = &rc.branches[..]
        {
            self.bytes -= rc.bytes() + only.bound.bytes();
            self.root = Branch { bound: Bound::NONE, ..only.clone() };
        }
    }

    /// The element of a rank that there is.
    pub fn nth(&self, rank: usize) -> (Value<'_>, Score) {
        let (mut node, mut rank) = (&self.root.node, rank);
        loop {
            match node {
                Node::Leaf(leaf) => return (leaf.member(rank), leaf.score(rank)),
                Node::Inner(inner) => {
                    let (index, within) = inner.way_to(rank);
                    (node, rank) = (&inner.branches[index].node, within);
                }
            }
        }
    }

    /// How many elements lie in front of `edge`.
    pub fn rank(&self, edge: &Edge<'_>) -> usize {
        let (mut node, mut rank) = (&self.root.node, 0);
        loop {
            match node {
                Node::Leaf(leaf) => return rank + leaf.rank(edge),
                Node::Inner(inner) => {
                    let index = inner.search(edge);
                    rank += inner.branches[..index].iter().map(|branch| branch.count).sum::<usize>();
                    node = &inner.branches[index].node;
                }
            }
        }
    }

    /// Visits the elements of these ranks.
    pub fn range<'s>(&'s self, ranks: Range<usize>, way: Way, visit: &mut impl FnMut(Value<'s>, Score)) {
        let ranks = ranks.start..ranks.end.min(self.len());
        if !ranks.is_empty() {
            self.root.range(ranks, way, visit);
        }
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
}

impl Edge<'_> {
    /// Whether an element of this score lies in front of the edge; `against` compares its member with a text.
    #[inline(always)]
    pub(crate) fn is_behind(&self, score: Score, against: impl FnOnce(&[u8]) -> Ordering) -> bool {
        match *self {
            Edge::Score(edge) => score < edge,
            Edge::PastScore(edge) => score <= edge,
            Edge::Element(edge, member) => score.cmp(&edge).then_with(|| against(member)).is_lt(),
            Edge::PastElement(edge, member) => score.cmp(&edge).then_with(|| against(member)).is_le(),
            Edge::Member(member) => against(member).is_lt(),
            Edge::PastMember(member) => against(member).is_le(),
        }
    }

    /// What it asks of scores, unless all are equal.
    #[inline]
    fn score(&self) -> Option<Score> {
        match *self {
            Edge::Score(score) | Edge::PastScore(score) | Edge::Element(score, _) | Edge::PastElement(score, _) => {
                Some(score)
            }
            Edge::Member(_) | Edge::PastMember(_) => None,
        }
    }
}

impl Bound {
    const NONE: Self = Self { score: Score::ZERO, text: None };

    /// What parts two leaves.
    fn between(left: &Leaf, right: &Leaf) -> Self {
        let last = left.count().saturating_sub(1);
        let score = right.score(0);
        if left.score(last) < score {
            return Self { score, text: Some(Box::default()) };
        }
        let (before, after) = (head(left.member(last)), head(right.member(0)));
        let common = before.iter().zip(&after).take_while(|(a, b)| a == b).count();
        let text = after.get(..=common).filter(|_| common < BOUND_TEXT_MAX);
        Self { score, text: text.map(Into::into) }
    }

    fn bytes(&self) -> usize {
        self.text.as_deref().map_or(0, <[u8]>::len)
    }
}

/// As much of a member as may end up in a bound.
fn head(member: Value<'_>) -> Vec<u8> {
    let mut text = Vec::new();
    match member {
        Value::Short(_) => member.read_into(&mut text),
        Value::Long(rope) => rope.read_into(0..BOUND_TEXT_MAX, &mut text),
    }
    text.truncate(BOUND_TEXT_MAX);
    text
}

impl Branch {
    /// The branch that must stand behind this one, if it had to split.
    fn insert(&mut self, new: &New<'_>, bytes: &mut usize) -> Option<Self> {
        self.count += 1;
        let right = match &mut self.node {
            Node::Leaf(leaf) => insert_in_leaf(leaf, new, bytes),
            Node::Inner(rc) => {
                let before = rc.bytes();
                let inner = Arc::make_mut(rc);
                let right = inner.insert(new, bytes);
                *bytes = *bytes + inner.bytes() - before;
                right
            }
        };
        self.count -= right.as_ref().map_or(0, |right| right.count);
        right
    }

    fn remove(&mut self, victim: Victim<'_>, bytes: &mut usize) {
        self.count -= 1;
        match &mut self.node {
            Node::Leaf(leaf) => {
                let before = leaf.bytes();
                let slot = match victim {
                    Victim::Before(edge) => leaf.rank(edge).checked_sub(1).expect("the element is there"),
                    Victim::Nth(slot) => slot,
                };
                leaf.remove(slot);
                *bytes = *bytes + leaf.bytes() - before;
            }
            Node::Inner(rc) => {
                let before = rc.bytes();
                let inner = Arc::make_mut(rc);
                let (index, victim) = match victim {
                    Victim::Before(edge) => (inner.search(edge), victim),
                    Victim::Nth(rank) => {
                        let (index, within) = inner.way_to(rank);
                        (index, Victim::Nth(within))
                    }
                };
                inner.branches[index].remove(victim, bytes);
                inner.tidy(index, bytes);
                *bytes = *bytes + inner.bytes() - before;
            }
        }
    }

    /// Whether this branch begins in front of `edge`, which asks nothing of scores or just the score of the bound.
    fn begins_before(&self, edge: &Edge<'_>) -> bool {
        match (&self.bound.text, edge.score()) {
            (Some(text), Some(score)) => edge.is_behind(score, |member| (**text).cmp(member)),
            (Some(text), None) if !text.is_empty() => edge.is_behind(self.bound.score, |member| (**text).cmp(member)),
            (_, asked) => {
                let leaf = self.node.first_leaf();
                let is_bound = asked.is_none_or(|score| leaf.score(0) == score);
                is_bound && edge.is_behind(leaf.score(0), |member| compare(leaf.member(0), member))
            }
        }
    }

    /// Visits what lies at these places of the branch, and looks at no branch behind the last of them.
    fn range<'s>(&'s self, places: Range<usize>, way: Way, visit: &mut impl FnMut(Value<'s>, Score)) {
        match (&self.node, way) {
            (Node::Leaf(leaf), Way::Up) => places.for_each(|slot| visit(leaf.member(slot), leaf.score(slot))),
            (Node::Leaf(leaf), Way::Down) => places.rev().for_each(|slot| visit(leaf.member(slot), leaf.score(slot))),
            (Node::Inner(inner), Way::Up) => {
                let mut start = 0;
                for branch in &inner.branches {
                    if start >= places.end {
                        return;
                    }
                    branch.range_from(start, &places, way, visit);
                    start += branch.count;
                }
            }
            (Node::Inner(inner), Way::Down) => {
                let mut end = self.count;
                for branch in inner.branches.iter().rev() {
                    if end <= places.start {
                        return;
                    }
                    end -= branch.count;
                    branch.range_from(end, &places, way, visit);
                }
            }
        }
    }

    /// As `range`, of a branch that begins at `start` of what `places` are of.
    #[inline]
    fn range_from<'s>(
        &'s self,
        start: usize,
        places: &Range<usize>,
        way: Way,
        visit: &mut impl FnMut(Value<'s>, Score),
    ) {
        let part = places.start.max(start)..places.end.min(start + self.count);
        if !part.is_empty() {
            self.range(part.start - start..part.end - start, way, visit);
        }
    }

    /// Elements and bytes by walking everything; checks counts and order on the way.
    fn recount(&self) -> (usize, usize) {
        let (count, bytes) = match &self.node {
            Node::Leaf(leaf) => (leaf.count(), leaf.recount()),
            Node::Inner(inner) => {
                assert!(inner.branches.len() <= FANOUT && inner.branches.iter().all(|branch| branch.count > 0));
                let parts = inner.branches.iter().map(|branch| (branch.recount(), branch.bound.bytes()));
                parts.fold((0, inner.bytes()), |sum, (part, bound)| (sum.0 + part.0, sum.1 + part.1 + bound))
            }
        };
        assert_eq!(count, self.count, "a branch knows its elements");
        (count, bytes)
    }
}

fn insert_in_leaf(leaf: &mut Leaf, new: &New<'_>, bytes: &mut usize) -> Option<Branch> {
    let (slot, before) = (leaf.rank(&Edge::PastElement(new.score, new.member)), leaf.bytes());
    if leaf.insert(slot, new).is_ok() {
        *bytes = *bytes + leaf.bytes() - before;
        return None;
    }
    let count = leaf.count();
    let cut = if slot == 0 || slot == count { slot } else { leaf.middle() };
    let (mut left, mut right) = (leaf.part(0..cut), leaf.part(cut..count));
    let put = if slot <= cut && cut < count { left.insert(slot, new) } else { right.insert(slot - cut, new) };
    put.expect("half a leaf has room");
    let bound = Bound::between(&left, &right);
    *bytes = *bytes + left.bytes() + right.bytes() + bound.bytes() - before;
    *leaf = left;
    Some(Branch { count: right.count(), bound, node: Node::Leaf(right) })
}

impl Node {
    fn first_leaf(&self) -> &Leaf {
        let mut node = self;
        loop {
            match node {
                Self::Leaf(leaf) => return leaf,
                Self::Inner(inner) => node = &inner.branches[0].node,
            }
        }
    }
}

impl Inner {
    fn bytes(&self) -> usize {
        RC_BYTES + size_of::<Self>() + self.branches.capacity() * size_of::<Branch>()
    }

    /// The last branch that begins in front of `edge`, or the first.
    #[inline]
    fn search(&self, edge: &Edge<'_>) -> usize {
        let bounded = &self.branches[1..];
        let Some(score) = edge.score() else {
            return bounded.partition_point(|branch| branch.begins_before(edge));
        };
        let below = bounded.partition_point(|branch| branch.bound.score < score);
        match bounded.get(below) {
            Some(branch) if branch.bound.score == score => below + Self::search_equal(&bounded[below..], score, edge),
            _ => below,
        }
    }

    /// How many of the branches whose bounds have this score begin in front of `edge`.
    #[inline(never)]
    fn search_equal(bounded: &[Branch], score: Score, edge: &Edge<'_>) -> usize {
        bounded.partition_point(|branch| branch.bound.score == score && branch.begins_before(edge))
    }

    /// The branch with the element of this rank, and its rank in there.
    fn way_to(&self, rank: usize) -> (usize, usize) {
        let mut left = rank;
        for (index, branch) in self.branches.iter().enumerate() {
            if left < branch.count {
                return (index, left);
            }
            left -= branch.count;
        }
        unreachable!("a branch counts what is below it")
    }

    fn insert(&mut self, new: &New<'_>, bytes: &mut usize) -> Option<Branch> {
        let index = self.search(&Edge::PastElement(new.score, new.member));
        let added = self.branches[index].insert(new, bytes)?;
        if self.branches.len() < FANOUT {
            self.branches.insert(index + 1, added);
            return None;
        }
        let mut upper = Self { branches: self.branches.split_off(FANOUT / 2) };
        match (index + 1).checked_sub(FANOUT / 2) {
            Some(beyond) if beyond > 0 => upper.branches.insert(beyond, added),
            _ => self.branches.insert(index + 1, added),
        }
        *bytes += upper.bytes();
        let count = upper.branches.iter().map(|branch| branch.count).sum();
        let bound = std::mem::replace(&mut upper.branches[0].bound, Bound::NONE);
        Some(Branch { count, bound, node: Node::Inner(Arc::new(upper)) })
    }

    /// After a removal below `index`: what is empty goes, what is sparse merges with a neighbour.
    fn tidy(&mut self, index: usize, bytes: &mut usize) {
        if self.branches[index].count == 0 {
            let Branch { bound, node, .. } = self.branches.remove(index);
            *bytes -= bound.bytes() + node.own_bytes();
        } else if self.branches[index].node.is_sparse() && !self.merge(index, bytes) && index > 0 {
            self.merge(index - 1, bytes);
        }
        if self.branches.len() < self.branches.capacity() / 4 {
            self.branches.shrink_to(self.branches.len() * 2);
        }
    }

    /// Makes one of the branches at `index` and behind it, if both are sparse.
    fn merge(&mut self, index: usize, bytes: &mut usize) -> bool {
        let Some([left, right]) = self.branches.get_mut(index..index + 2) else { return false };
        match (&mut left.node, &right.node) {
            (Node::Leaf(one), Node::Leaf(other)) => {
                let Some(merged) = one.merged(other) else { return false };
                *bytes = *bytes + merged.bytes() - one.bytes() - other.bytes() - right.bound.bytes();
                *one = merged;
            }
            (Node::Inner(one), Node::Inner(other)) => {
                if one.branches.len() + other.branches.len() > FANOUT / 2 {
                    return false;
                }
                let before = one.bytes() + other.bytes();
                let one = Arc::make_mut(one);
                let first = one.branches.len();
                one.branches.extend_from_slice(&other.branches);
                let idle = std::mem::replace(&mut one.branches[first].bound, right.bound.clone());
                *bytes = *bytes + one.bytes() - before - idle.bytes();
            }
            _ => unreachable!("all leaves are at one depth"),
        }
        left.count += right.count;
        self.branches.remove(index + 1);
        true
    }
}

impl Node {
    /// Whether to look at its neighbours, which are somewhere else in memory, is worth while.
    #[inline]
    fn is_sparse(&self) -> bool {
        match self {
            Self::Leaf(leaf) => leaf.is_sparse(),
            Self::Inner(inner) => inner.branches.len() <= FANOUT / 2,
        }
    }

    /// Without those of the nodes below.
    fn own_bytes(&self) -> usize {
        match self {
            Self::Leaf(leaf) => leaf.bytes(),
            Self::Inner(inner) => inner.bytes(),
        }
    }
}

/// Keeps the capacity, so that a copied path counts the same bytes.
impl Clone for Inner {
    fn clone(&self) -> Self {
        let mut branches = Vec::with_capacity(self.branches.capacity());
        branches.extend_from_slice(&self.branches);
        Self { branches }
    }
}

/// `Done` when the caller may drop `node` at the price of one node.
fn free_from_end(node: &mut Node, budget: &mut usize) -> Progress {
    match node {
        Node::Leaf(leaf) => leaf.forget_longs(),
        Node::Inner(rc) => {
            let Some(inner) = Arc::get_mut(rc) else { return Progress::Done };
            while let Some(last) = inner.branches.last_mut() {
                if *budget == 0 || free_from_end(&mut last.node, budget) == Progress::More {
                    return Progress::More;
                }
                *budget = budget.saturating_sub(1);
                inner.branches.pop();
            }
        }
    }
    Progress::Done
}
