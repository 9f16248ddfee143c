//! A large list: the leaf at each end apart, the others in a tree between them, so that a push or a pop touches one leaf.
//!
//! ```text
//!  Deque { head: Leaf, middle: Tree, tail: Leaf, name }
//! ```
//!
//! Either end may be empty while there are elements elsewhere; then the next pop fetches a leaf from the middle, or takes from the other end.

use super::super::Progress;
use super::super::rope::Rope;
use super::super::trie::Value;
use super::leaf::{Item, LEAF_DATA_MAX, Leaf};
use super::tree::Tree;
use super::{End, Measure, Name};

#[derive(Clone, Debug)]
pub struct Deque {
    head: Leaf,
    middle: Tree,
    tail: Leaf,
    pub(super) name: Name,
}

impl Deque {
    /// A list of one leaf, which is about to grow at an end.
    pub(super) fn of(leaf: Leaf, grows: End, name: Name) -> Self {
        let other = Leaf::with_capacity(0);
        let (head, tail) = match grows {
            End::Front => (leaf, other),
            End::Back => (other, leaf),
        };
        Self { head, middle: Tree::default(), tail, name }
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.head.len() + self.middle.measure().count + self.tail.len()
    }

    #[inline]
    pub(super) fn listed(&self) -> usize {
        self.head.measure().listed + self.middle.measure().listed + self.tail.measure().listed
    }

    #[inline]
    pub(super) fn bytes(&self) -> usize {
        size_of::<Self>() + self.head.bytes() + self.middle.measure().bytes + self.tail.bytes()
    }

    pub(super) fn recount_bytes(&self) -> usize {
        size_of::<Self>() + self.head.recount_bytes() + self.middle.recount_bytes() + self.tail.recount_bytes()
    }

    #[inline]
    pub(super) fn push(&mut self, end: End, item: Item<'_>) {
        let leaf = match end {
            End::Front => &mut self.head,
            End::Back => &mut self.tail,
        };
        if !leaf.has_room(end, &item) {
            // As full as this one: a list that grows fills it.
            let fresh = Leaf::with_capacity(leaf.content().max(LEAF_DATA_MAX / 8));
            let full = std::mem::replace(leaf, fresh);
            if full.len() > 0 {
                self.middle.push(end, full);
            }
        }
        leaf.push(end, item);
    }

    #[inline]
    pub(super) fn peek(&self, end: End) -> Option<Value<'_>> {
        let (near, far) = match end {
            End::Front => (&self.head, &self.tail),
            End::Back => (&self.tail, &self.head),
        };
        if near.len() > 0 {
            return Some(near.peek(end));
        }
        match self.middle.measure().count {
            0 if far.len() == 0 => None,
            0 => Some(far.peek(end)),
            count => {
                let (leaf, _) = self.middle.leaf_at(if end == End::Front { 0 } else { count - 1 });
                Some(leaf.peek(end))
            }
        }
    }

    /// Removes the outermost element.
    #[inline]
    pub(super) fn drop_outermost(&mut self, end: End, graves: &mut Vec<Rope>) {
        let (near, far) = match end {
            End::Front => (&mut self.head, &mut self.tail),
            End::Back => (&mut self.tail, &mut self.head),
        };
        if near.len() == 0 {
            match self.middle.pop(end) {
                Some(leaf) => *near = leaf,
                None => return far.drop_end(end, 1, graves),
            }
        }
        near.drop_end(end, 1, graves);
    }

    /// The leaf with the element of this number, and the number of its first.
    pub(super) fn leaf_at(&self, index: usize) -> (&Leaf, usize) {
        let (head, middle) = (self.head.len(), self.middle.measure().count);
        if index < head {
            return (&self.head, 0);
        }
        if index - head < middle {
            let (leaf, base) = self.middle.leaf_at(index - head);
            return (leaf, head + base);
        }
        (&self.tail, head + middle)
    }

    /// Changes the leaf with the element of this number, which is told its number there. What the change splits off comes behind the leaf.
    pub(super) fn edit<R>(&mut self, index: usize, edit: impl FnOnce(&mut Leaf, usize) -> (R, Option<Leaf>)) -> R {
        let (head, middle) = (self.head.len(), self.middle.measure().count);
        if index < head {
            let (result, beside) = edit(&mut self.head, index);
            beside.into_iter().for_each(|leaf| self.middle.push(End::Front, leaf));
            return result;
        }
        if index - head < middle {
            return self.middle.edit(index - head, edit);
        }
        let (result, beside) = edit(&mut self.tail, index - head - middle);
        beside.into_iter().for_each(|leaf| self.append(leaf));
        result
    }

    /// Takes so many elements off an end.
    pub(super) fn cut(&mut self, end: End, count: usize) -> Self {
        let empty = || Leaf::with_capacity(0);
        let middle = self.middle.measure().count;
        let (near, far) = match end {
            End::Front => (&mut self.head, &mut self.tail),
            End::Back => (&mut self.tail, &mut self.head),
        };
        let (mut gone_near, mut gone_middle, mut gone_far) = (empty(), Tree::default(), empty());
        if count < near.len() {
            gone_near = near.cut(end, count);
        } else {
            let left = count - near.len();
            gone_near = std::mem::replace(near, gone_near);
            gone_middle = self.middle.cut(end, left.min(middle));
            if left > middle {
                gone_far = far.cut(end, left - middle);
            }
        }
        let (head, tail) = match end {
            End::Front => (gone_near, gone_far),
            End::Back => (gone_far, gone_near),
        };
        Self { head, middle: gone_middle, tail, name: self.name }
    }

    /// All elements in one leaf; the caller knows that it can hold them.
    pub(super) fn merged(&self) -> Leaf {
        let mut leaves = vec![&self.head];
        self.middle.for_each_leaf(|leaf| leaves.push(leaf));
        leaves.push(&self.tail);
        Leaf::merge(leaves.into_iter())
    }

    /// Hangs a leaf behind all others.
    pub(super) fn append(&mut self, leaf: Leaf) {
        let last = std::mem::replace(&mut self.tail, leaf);
        if last.len() > 0 {
            self.middle.push(End::Back, last);
        }
    }

    pub(super) fn measure(&self) -> Measure {
        Measure { count: self.len(), bytes: self.bytes(), listed: self.listed() }
    }

    /// Gives back at most `budget` nodes; `Done` when the caller may drop the rest at the price of three.
    pub(super) fn free_step(&mut self, budget: &mut usize) -> Progress {
        for leaf in [&mut self.tail, &mut self.head] {
            if leaf.free_longs(budget) == Progress::More {
                return Progress::More;
            }
        }
        self.middle.free_step(budget)
    }
}
