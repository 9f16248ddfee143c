//! Lists: one packed leaf while small, leaves at both ends and a counted tree between them when large.
//!
//! ```text
//!  List::Packed   Leaf          leaf.rs     up to 8 KiB
//!  List::Large    Box<Deque>    deque.rs, tree.rs
//! ```
//!
//! Push and pop touch one leaf at its end, an element of any number is O(log n) away, and a range is cut off by its edges. OBJECT ENCODING
//! does not depend on the form: a list is a "listpack" until Redis would make it a "quicklist" by `list-max-listpack-size`, and one again
//! when it has shrunk to half of that (Redis waits besides until a single node of its quicklist is left).
//! Absent: which elements are asked for by negative numbers, and what happens to an empty list: commands know.

mod deque;
mod leaf;
mod listpack;
mod tree;

#[cfg(test)]
mod tests;

use std::ops::{Add, ControlFlow, Range};

pub use deque::Deque;
pub use leaf::Item;

use super::Progress;
use super::packed::Form;
use super::rope::Rope;
use super::trie::{INLINE_MAX, Value};
use leaf::{LEAF_DATA_MAX, Leaf};

#[derive(Clone, Debug)]
pub struct List(Shape);

#[derive(Clone, Debug)]
enum Shape {
    Packed(Leaf),
    Large(Box<Deque>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Front,
    Back,
}

/// `list-max-listpack-size`: how large a list may be and still be called a listpack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limits {
    Bytes(usize),
    Elements(usize),
}

/// What OBJECT ENCODING calls a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Name {
    Listpack,
    Quicklist,
}

/// Sums over a part of a list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Measure {
    count: usize,
    bytes: usize,
    /// Bytes of the elements in Redis's listpack.
    listed: usize,
}

/// A text that elements are compared with.
#[derive(Clone, Copy, Debug)]
pub struct Needle<'a> {
    text: &'a [u8],
    form: Form<'a>,
}

/// The removal of equal elements, under way.
#[derive(Clone, Copy, Debug)]
pub struct Purge {
    from: End,
    /// Elements that were looked at and stay.
    seen: usize,
    /// How many may still be removed.
    left: usize,
    pub removed: usize,
}

impl Limits {
    /// By Redis's number: elements, or from -1 to -5 4, 8, 16, 32 and 64 KiB.
    pub fn of(number: i64) -> Self {
        match usize::try_from(number) {
            Ok(elements) => Self::Elements(elements.max(1)),
            Err(_) => Self::Bytes(2048 << number.unsigned_abs().min(5)),
        }
    }

    /// However many elements may be in it, so many bytes are not one listpack.
    const BYTES_MAX: usize = 8192;

    fn are_exceeded_by(self, bytes: usize, count: usize) -> bool {
        match self {
            Self::Bytes(max) => bytes > max,
            Self::Elements(max) => bytes > Self::BYTES_MAX || count > max,
        }
    }

    /// Whether a list has become small: at half of the limit, so that it does not turn to and fro.
    fn are_far_from(self, bytes: usize, count: usize) -> bool {
        match self {
            Self::Bytes(max) => bytes <= max / 2,
            Self::Elements(max) => bytes <= Self::BYTES_MAX && count <= max / 2,
        }
    }
}

impl Default for Limits {
    /// Redis's default.
    fn default() -> Self {
        Self::of(-2)
    }
}

impl Default for List {
    fn default() -> Self {
        Self(Shape::Packed(Leaf::with_capacity(0)))
    }
}

impl List {
    /// An empty list that is about to hold so many bytes of text in so many elements.
    pub fn with_room(bytes: usize, count: usize) -> Self {
        let records = bytes.saturating_add(count.saturating_mul(2));
        Self(Shape::Packed(Leaf::with_capacity(records.min(LEAF_DATA_MAX))))
    }

    /// As OBJECT ENCODING reports it.
    pub fn encoding(&self) -> &'static str {
        match self.name() {
            Name::Listpack => "listpack",
            Name::Quicklist => "quicklist",
        }
    }

    fn name(&self) -> Name {
        match &self.0 {
            Shape::Packed(_) => Name::Listpack,
            Shape::Large(deque) => deque.name,
        }
    }

    #[inline]
    pub fn len(&self) -> usize {
        match &self.0 {
            Shape::Packed(leaf) => leaf.len(),
            Shape::Large(deque) => deque.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn measure(&self) -> Measure {
        match &self.0 {
            Shape::Packed(leaf) => leaf.measure(),
            Shape::Large(deque) => deque.measure(),
        }
    }

    /// So many elements of so many bytes of text are about to come: changes the name if that is too much for a listpack.
    #[inline]
    pub fn expect(&mut self, end: End, bytes: usize, count: usize, limits: Limits) {
        if self.name() == Name::Listpack {
            let Measure { count: have, listed, .. } = self.measure();
            if limits.are_exceeded_by(listpack::HEAD_BYTES + listed + bytes, have + count) {
                self.enlarge(end, Name::Quicklist);
            }
        }
    }

    #[cold]
    fn enlarge(&mut self, grows: End, name: Name) {
        match &mut self.0 {
            Shape::Packed(leaf) => {
                let leaf = std::mem::replace(leaf, Leaf::with_capacity(0));
                self.0 = Shape::Large(Box::new(Deque::of(leaf, grows, name)));
            }
            Shape::Large(deque) => deque.name = name,
        }
    }

    /// Elements were removed or became shorter: gives memory back, and changes the name if the list has become small.
    #[inline]
    pub fn settle(&mut self, limits: Limits) {
        let Shape::Large(deque) = &mut self.0 else {
            if let Shape::Packed(leaf) = &mut self.0 {
                leaf.shrink();
            }
            return;
        };
        let listed = deque.listed();
        if deque.name == Name::Quicklist && limits.are_far_from(listpack::HEAD_BYTES + listed, deque.len()) {
            deque.name = Name::Listpack;
        }
        if deque.name == Name::Listpack && listed <= LEAF_DATA_MAX / 2 {
            self.0 = Shape::Packed(deque.merged());
        }
    }

    #[inline]
    pub fn push(&mut self, end: End, item: Item<'_>) {
        if let Shape::Packed(leaf) = &mut self.0 {
            if leaf.has_room(end, &item) {
                return leaf.push(end, item);
            }
            self.enlarge(end, Name::Listpack);
        }
        let Shape::Large(deque) = &mut self.0 else { unreachable!("a full leaf became large above") };
        deque.push(end, item);
    }

    /// The outermost element.
    #[inline]
    pub fn peek(&self, end: End) -> Option<Value<'_>> {
        match &self.0 {
            Shape::Packed(leaf) => (leaf.len() > 0).then(|| leaf.peek(end)),
            Shape::Large(deque) => deque.peek(end),
        }
    }

    /// Removes the outermost element, which there is; a long one goes into `graves`.
    #[inline]
    pub fn drop_outermost(&mut self, end: End, graves: &mut Vec<Rope>) {
        match &mut self.0 {
            Shape::Packed(leaf) => leaf.drop_end(end, 1, graves),
            Shape::Large(deque) => deque.drop_outermost(end, graves),
        }
    }

    /// The element of this number, counted from the front.
    pub fn get(&self, index: usize) -> Option<Value<'_>> {
        if index >= self.len() {
            return None;
        }
        let (leaf, base) = self.leaf_at(index);
        Some(leaf.get(index - base))
    }

    /// Puts another element in the place of this one.
    pub fn set(&mut self, index: usize, item: &Item<'_>, graves: &mut Vec<Rope>) {
        self.splice(index, 1, item, graves);
    }

    /// Puts an element in front of this one, or behind all.
    pub fn insert(&mut self, index: usize, item: Item<'_>) {
        if index == self.len() { self.push(End::Back, item) } else { self.splice(index, 0, &item, &mut Vec::new()) }
    }

    fn splice(&mut self, index: usize, over: usize, item: &Item<'_>, graves: &mut Vec<Rope>) {
        match &mut self.0 {
            Shape::Packed(leaf) => {
                if let Some(right) = leaf.splice(index..index + over, Some(item), graves) {
                    self.enlarge(End::Front, Name::Listpack);
                    let Shape::Large(deque) = &mut self.0 else { unreachable!("just enlarged") };
                    deque.append(right);
                }
            }
            Shape::Large(deque) => {
                deque.edit(index, |leaf, at| ((), leaf.splice(at..at + over, Some(item), graves)));
            }
        }
    }

    /// Takes so many elements off an end, as a list to be read and freed.
    pub fn cut(&mut self, end: End, count: usize) -> Self {
        let count = count.min(self.len());
        Self(match &mut self.0 {
            Shape::Packed(leaf) => Shape::Packed(leaf.cut(end, count)),
            Shape::Large(deque) => Shape::Large(Box::new(deque.cut(end, count))),
        })
    }

    /// Visits elements in their order.
    pub fn visit<'l>(&'l self, range: Range<usize>, mut visit: impl FnMut(Value<'l>)) {
        let mut at = range.start;
        while at < range.end {
            let (leaf, base) = self.leaf_at(at);
            let end = range.end.min(base + leaf.len());
            leaf.values(at - base..end - base).for_each(&mut visit);
            at = end;
        }
    }

    /// The same from the last to the first.
    pub fn visit_back<'l>(&'l self, range: Range<usize>, mut visit: impl FnMut(Value<'l>)) {
        let mut end = range.end;
        while end > range.start {
            let (leaf, base) = self.leaf_at(end - 1);
            let start = range.start.max(base);
            leaf.values_back(start - base..end - base).for_each(&mut visit);
            end = start;
        }
    }

    /// Tells the numbers of elements that are equal to a text, from one end of a range to the other.
    pub fn search(
        &self,
        range: Range<usize>,
        from: End,
        needle: Needle<'_>,
        mut found: impl FnMut(usize) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let Range { mut start, mut end } = range;
        while start < end {
            let (leaf, base) = self.leaf_at(if from == End::Front { start } else { end - 1 });
            let (first, last) = (start.max(base), end.min(base + leaf.len()));
            let part = first - base..last - base;
            match from {
                End::Front => {
                    let mut values = leaf.values(part).zip(first..).filter(|(value, _)| needle.is(*value));
                    values.try_for_each(|(_, index)| found(index))?;
                    start = last;
                }
                End::Back => {
                    let mut values =
                        leaf.values_back(part).zip((first..last).rev()).filter(|(value, _)| needle.is(*value));
                    values.try_for_each(|(_, index)| found(index))?;
                    end = first;
                }
            }
        }
        ControlFlow::Continue(())
    }

    /// Looks at one leaf and removes what is equal to a text there.
    pub fn purge_step(&mut self, purge: &mut Purge, needle: Needle<'_>, graves: &mut Vec<Rope>) -> Progress {
        let len = self.len();
        if purge.left == 0 || purge.seen == len {
            return Progress::Done;
        }
        let index = if purge.from == End::Front { purge.seen } else { len - 1 - purge.seen };
        let (leaf, base) = self.leaf_at(index);
        let looked_at = if purge.from == End::Front { base + leaf.len() - index } else { index + 1 - base };
        // What was seen of this leaf before holds no match any more.
        let matches = leaf.values(0..leaf.len()).filter(|value| needle.is(*value)).count();
        let gone = matches.min(purge.left);
        if gone > 0 {
            let which = if purge.from == End::Front { 0..gone } else { matches - gone..matches };
            let edit = |leaf: &mut Leaf| leaf.purge(|value| needle.is(value), which, graves);
            match &mut self.0 {
                Shape::Packed(leaf) => edit(leaf),
                Shape::Large(deque) => deque.edit(index, |leaf, _| (edit(leaf), None)),
            }
        }
        purge.seen += looked_at - gone;
        purge.left -= gone;
        purge.removed += gone;
        if purge.left == 0 || purge.seen == len - gone { Progress::Done } else { Progress::More }
    }

    #[inline]
    fn leaf_at(&self, index: usize) -> (&Leaf, usize) {
        match &self.0 {
            Shape::Packed(leaf) => (leaf, 0),
            Shape::Large(deque) => deque.leaf_at(index),
        }
    }

    #[inline]
    pub fn bytes(&self) -> usize {
        match &self.0 {
            Shape::Packed(leaf) => leaf.bytes(),
            Shape::Large(deque) => deque.bytes(),
        }
    }

    pub fn recount_bytes(&self) -> usize {
        match &self.0 {
            Shape::Packed(leaf) => leaf.recount_bytes(),
            Shape::Large(deque) => deque.recount_bytes(),
        }
    }

    /// Gives back at most `budget` nodes, from the end.
    pub fn free_step(&mut self, budget: &mut usize) -> Progress {
        let freed = match &mut self.0 {
            Shape::Packed(leaf) => leaf.free_longs(budget),
            Shape::Large(deque) => deque.free_step(budget),
        };
        if freed == Progress::More || *budget == 0 {
            return Progress::More;
        }
        *budget -= 1;
        *self = Self::default();
        Progress::Done
    }
}

impl<'a> Needle<'a> {
    pub fn of(text: &'a [u8]) -> Self {
        Self { text, form: Form::of(text) }
    }

    #[inline]
    fn is(&self, value: Value<'_>) -> bool {
        match value {
            Value::Short(cell) => cell == self.form.cell(),
            Value::Long(rope) => self.text.len() > INLINE_MAX && rope.equals(self.text),
        }
    }
}

impl Purge {
    /// Elements that were looked at.
    pub fn looked_at(&self) -> usize {
        self.seen + self.removed
    }

    /// From one end on, so many at most.
    pub fn of(from: End, most: usize) -> Self {
        Self { from, seen: 0, left: most, removed: 0 }
    }
}

impl Add for Measure {
    type Output = Self;

    #[inline]
    fn add(self, other: Self) -> Self {
        Self { count: self.count + other.count, bytes: self.bytes + other.bytes, listed: self.listed + other.listed }
    }
}
