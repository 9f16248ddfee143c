//! A bounded run of a list's elements in one allocation, open at both ends.
//!
//! ```text
//!  Leaf -> Arc -> Head { longs, listed, count, start, end }
//!                 data  ...room...[record][record][record]...room...         at most 8 KiB with the head
//!                                 ^ start                 ^ end
//!  record   [tag][payload][back]        tag and payload as in packed.rs, one column
//!  back     the size of what is before it: one byte, or three of which the last is 0xFF, so that records are read backwards as well
//! ```
//!
//! A push writes into the room at its end. When that is used up and there is enough on the other side, the records slide, most of the room
//! coming to the side that needs it: a queue that is pushed in front and popped behind moves each record a few times in its life and allocates
//! nothing. Elements longer than `INLINE_MAX` are ropes beside the data, in the order of their records; each weighs as much as some tens of
//! bytes, so that a leaf holds few of them and is copied or freed in bounded time.
//! All that changes the inside of a leaf makes a new one out of runs of the old: a leaf is small, and whether it is shared makes no difference.

use std::collections::VecDeque;
use std::ops::Range;

use triomphe::{Arc, HeaderSlice};

use super::super::RC_BYTES;
use super::super::packed::{Cell, Form, allocation_class, parse, row_size, write_row};
use super::super::rope::Rope;
use super::super::trie::{INLINE_MAX, Value};
use super::{End, Measure, listpack};

/// What copying, sliding and searching a leaf may cost: some hundred nanoseconds. Elements of 64 bytes leave half of one unused at the end of a leaf, and a leaf
/// costs ninety bytes beside them: in leaves of 4 KiB a list was 1.01 x the size of Redis's.
const LEAF_BYTES_MAX: usize = 8192;
const LEAF_HEAD: usize = RC_BYTES + size_of::<Head>();
pub(super) const LEAF_DATA_MAX: usize = LEAF_BYTES_MAX - LEAF_HEAD;

/// Below this a leaf keeps what room it has.
const SHRINK_ABOVE: usize = 128;

/// What a rope counts for beside its record.
const LONG_WEIGHT: usize = 60;

/// A back length that says: two bytes before this one.
const BACK_WIDE: u8 = u8::MAX;

const RECORD_BYTES_MAX: usize = 1 + 4 + INLINE_MAX + 3;
const _: () = assert!(4 * RECORD_BYTES_MAX < LEAF_DATA_MAX && LEAF_BYTES_MAX <= u16::MAX as usize);

static BLANK: [u8; LEAF_DATA_MAX] = [0; LEAF_DATA_MAX];

/// Head and data are one allocation.
#[derive(Clone, Debug)]
pub(super) struct Leaf(Arc<HeaderSlice<Head, [u8]>>);

#[derive(Clone, Debug, Default)]
struct Head {
    longs: Option<Box<Longs>>,
    /// What the records would take in Redis's listpack.
    listed: usize,
    count: u16,
    start: u16,
    end: u16,
}

#[derive(Clone, Debug)]
struct Longs {
    ropes: VecDeque<Rope>,
    /// Sum of the ropes' bytes.
    bytes: usize,
}

/// An element on its way into a list.
#[derive(Debug)]
pub enum Item<'a> {
    Short(Form<'a>),
    Long(Rope),
}

/// A place between two records: the offset, and how many ropes there are before it.
#[derive(Clone, Copy, Debug)]
struct Spot {
    at: usize,
    long: usize,
}

/// Neighbouring records.
#[derive(Clone, Copy, Debug)]
struct Run<'l> {
    leaf: &'l Leaf,
    from: Spot,
    to: Spot,
    count: usize,
    listed: usize,
}

/// What a new leaf is made of.
#[derive(Clone, Copy, Debug)]
enum Part<'p> {
    Run(Run<'p>),
    Item(&'p Item<'p>),
}

impl<'a> Item<'a> {
    #[inline]
    pub fn of(text: &'a [u8]) -> Self {
        if text.len() <= INLINE_MAX { Self::Short(Form::of(text)) } else { Self::Long(Rope::from(text)) }
    }

    /// Bytes of its text.
    pub fn len(&self) -> usize {
        match self {
            Self::Short(form) => form.text_len(),
            Self::Long(rope) => rope.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    #[inline]
    fn form(&self) -> Form<'_> {
        match self {
            Self::Short(form) => *form,
            Self::Long(_) => Form::elsewhere(0),
        }
    }

    #[inline]
    fn size(&self) -> usize {
        let row = row_size::<1>(&self.form(), &Form::NOTHING);
        row + back_bytes(row)
    }

    #[inline]
    fn weight(&self) -> usize {
        self.size() + if matches!(self, Self::Long(_)) { LONG_WEIGHT } else { 0 }
    }

    #[inline]
    fn listed(&self) -> usize {
        match self {
            Self::Short(form) => listpack::entry_bytes(form.cell()),
            Self::Long(rope) => listpack::text_bytes(rope.len()),
        }
    }

    /// Fills `out`, which has exactly `size` bytes.
    #[inline]
    fn write(&self, out: &mut [u8]) {
        let form = self.form();
        let row = row_size::<1>(&form, &Form::NOTHING);
        let (record, back) = out.split_at_mut(row);
        write_row::<1>(record, &form, &Form::NOTHING);
        match (back, u8::try_from(row)) {
            ([short], Ok(row)) => *short = row,
            (back, _) => {
                back[..2].copy_from_slice(&narrow(row).to_le_bytes());
                back[2] = BACK_WIDE;
            }
        }
    }
}

impl Leaf {
    /// An empty leaf with room for so many bytes.
    pub(super) fn with_capacity(bytes: usize) -> Self {
        assert!(bytes <= LEAF_DATA_MAX, "a leaf is bounded");
        let data = allocation_class(LEAF_HEAD + bytes) - LEAF_HEAD;
        Self(Arc::from_header_and_slice(Head::default(), &BLANK[..data]))
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        usize::from(self.0.header.count)
    }

    #[inline]
    pub(super) fn measure(&self) -> Measure {
        Measure { count: self.len(), bytes: self.bytes(), listed: self.0.header.listed }
    }

    #[inline]
    pub(super) fn bytes(&self) -> usize {
        LEAF_HEAD + self.data().len() + self.0.header.longs.as_ref().map_or(0, |longs| longs.heap_bytes())
    }

    pub(super) fn recount_bytes(&self) -> usize {
        let ropes = self.0.header.longs.iter().flat_map(|longs| &longs.ropes);
        let held: usize = ropes.map(Rope::recount_bytes).sum();
        assert_eq!(held, self.0.header.longs.as_ref().map_or(0, |longs| longs.bytes), "a leaf knows its long elements");
        let whole = self.run(0..self.len());
        assert_eq!((whole.from.at, whole.to.at), (usize::from(self.0.header.start), usize::from(self.0.header.end)));
        assert_eq!((whole.count, whole.listed), (self.len(), self.0.header.listed), "a leaf knows its records");
        assert_eq!(whole.to.long, self.ropes().len(), "a rope for each long record");
        assert!(LEAF_HEAD + self.data().len() <= LEAF_BYTES_MAX && self.weight() <= LEAF_DATA_MAX, "a leaf is bounded");
        self.bytes()
    }

    /// Bytes of the records.
    #[inline]
    pub(super) fn content(&self) -> usize {
        usize::from(self.0.header.end) - usize::from(self.0.header.start)
    }

    /// The records' bytes, and what the ropes count for: at most `LEAF_DATA_MAX`.
    #[inline]
    pub(super) fn weight(&self) -> usize {
        self.content() + LONG_WEIGHT * self.ropes().len()
    }

    #[inline]
    pub(super) fn get(&self, index: usize) -> Value<'_> {
        self.read(self.spot(index)).0
    }

    /// The outermost element.
    #[inline]
    pub(super) fn peek(&self, end: End) -> Value<'_> {
        match end {
            End::Front => self.read(self.first()).0,
            End::Back => self.read_back(self.last()).0,
        }
    }

    pub(super) fn values(&self, range: Range<usize>) -> impl Iterator<Item = Value<'_>> {
        let (mut spot, left) = (self.spot(range.start), range.len());
        (0..left).map(move |_| {
            let (value, next) = self.read(spot);
            spot = next;
            value
        })
    }

    /// The same from the last to the first.
    pub(super) fn values_back(&self, range: Range<usize>) -> impl Iterator<Item = Value<'_>> {
        let (mut spot, left) = (self.spot(range.end), range.len());
        (0..left).map(move |_| {
            let (value, next) = self.read_back(spot);
            spot = next;
            value
        })
    }

    /// Whether an element can be pushed at little cost: not so where all but the last of the room would be used up by sliding.
    #[inline]
    pub(super) fn has_room(&self, end: End, item: &Item<'_>) -> bool {
        let size = item.size();
        self.room(end) >= size && self.weight() + item.weight() <= LEAF_DATA_MAX || self.could_make_room(item)
    }

    #[cold]
    fn could_make_room(&self, item: &Item<'_>) -> bool {
        let (len, spare) = (self.data().len(), self.data().len() - self.content());
        self.weight() + item.weight() <= LEAF_DATA_MAX && (len < LEAF_DATA_MAX || can_slide(len, spare, item.size()))
    }

    /// Adds an element for which there is room.
    #[inline]
    pub(super) fn push(&mut self, end: End, item: Item<'_>) {
        let (size, listed) = (item.size(), item.listed());
        if self.room(end) < size || !self.0.is_unique() {
            self.make_room(end, size);
        }
        let (head, data) = self.alone().expect("made so above");
        let narrowed = narrow(size);
        let at = match end {
            End::Front => {
                head.start -= narrowed;
                usize::from(head.start)
            }
            End::Back => {
                head.end += narrowed;
                usize::from(head.end) - size
            }
        };
        item.write(&mut data[at..at + size]);
        head.count += 1;
        head.listed += listed;
        if let Item::Long(rope) = item {
            head.keep(end, rope);
        }
    }

    /// Removes so many elements at an end; long ones go into `graves`.
    #[inline]
    pub(super) fn drop_end(&mut self, end: End, count: usize, graves: &mut Vec<Rope>) {
        let (mut spot, mut listed) = (self.outermost(end), 0);
        for _ in 0..count {
            let (value, next) = match end {
                End::Front => self.read(spot),
                End::Back => self.read_back(spot),
            };
            listed += listpack::value_bytes(value);
            spot = next;
        }
        let kept = self.len() - count;
        if let Some((head, _)) = self.alone() {
            match end {
                End::Front => head.start = narrow(spot.at),
                End::Back => head.end = narrow(spot.at),
            }
            head.count = narrow(kept);
            head.listed -= listed;
            if head.longs.is_some() {
                head.bury(end, spot.long, graves);
            }
        } else {
            let (keep, gone) = match end {
                End::Front => (self.run(count..self.len()), self.run(0..count)),
                End::Back => (self.run(0..kept), self.run(kept..self.len())),
            };
            graves.extend(gone.ropes().cloned());
            *self = assemble(&[Part::Run(keep)], self.data().len(), end);
        }
    }

    /// Takes so many elements off an end.
    pub(super) fn cut(&mut self, end: End, count: usize) -> Self {
        let range = match end {
            End::Front => 0..count,
            End::Back => self.len() - count..self.len(),
        };
        let piece = assemble(&[Part::Run(self.run(range))], 0, End::Back);
        // The piece shares its ropes.
        self.drop_end(end, count, &mut Vec::new());
        piece
    }

    /// Gives unused memory back, if that is most of it.
    #[inline]
    pub(super) fn shrink(&mut self) {
        if self.data().len() > SHRINK_ABOVE && 4 * self.content() < self.data().len() {
            *self = assemble(&[Part::Run(self.run(0..self.len()))], 3 * self.content() / 2, End::Back);
        }
    }

    /// Puts an element, or nothing, in the place of some; long ones go into `graves`. The right half, if that is more than a leaf holds.
    pub(super) fn splice(
        &mut self,
        range: Range<usize>,
        item: Option<&Item<'_>>,
        graves: &mut Vec<Rope>,
    ) -> Option<Self> {
        if let Some(item) = item
            && range.len() == 1
            && self.overwrite(range.start, item)
        {
            return None;
        }
        let (before, gone) = (self.run(0..range.start), self.run(range.clone()));
        let after = self.run(range.end..self.len());
        graves.extend(gone.ropes().cloned());
        let parts: Vec<Part<'_>> =
            [Part::Run(before)].into_iter().chain(item.map(Part::Item)).chain([Part::Run(after)]).collect();
        let weight: usize = parts.iter().map(|part| part.weight()).sum();
        let (left, right) = if weight <= LEAF_DATA_MAX {
            (assemble(&parts, 0, End::Back), None)
        } else {
            let (left, right) = halves(&parts, weight / 2);
            (assemble(&left, 0, End::Back), Some(assemble(&right, 0, End::Back)))
        };
        *self = left;
        right
    }

    /// Writes an element over another of the same size where it is; false, and nothing happened, if that cannot be done.
    fn overwrite(&mut self, index: usize, item: &Item<'_>) -> bool {
        let spot = self.spot(index);
        let (old, next) = self.read(spot);
        let old_listed = listpack::value_bytes(old);
        if next.at - spot.at != item.size() || matches!(old, Value::Long(_)) || matches!(item, Item::Long(_)) {
            return false;
        }
        let Some((head, data)) = self.alone() else { return false };
        item.write(&mut data[spot.at..next.at]);
        head.listed = head.listed - old_listed + item.listed();
        true
    }

    /// Removes those elements that `matches` names, of which only the ones in `which` of their own numbering.
    pub(super) fn purge(&mut self, matches: impl Fn(Value<'_>) -> bool, which: Range<usize>, graves: &mut Vec<Rope>) {
        let mut kept = Vec::new();
        let (mut from, mut count, mut listed, mut seen) = (self.first(), 0, 0, 0);
        let mut spot = from;
        for _ in 0..self.len() {
            let (value, next) = self.read(spot);
            let matching = matches(value);
            if matching && which.contains(&seen) {
                kept.push(Part::Run(Run { leaf: self, from, to: spot, count, listed }));
                (from, count, listed) = (next, 0, 0);
                if let Value::Long(rope) = value {
                    graves.push(rope.clone());
                }
            } else {
                count += 1;
                listed += listpack::value_bytes(value);
            }
            seen += usize::from(matching);
            spot = next;
        }
        kept.push(Part::Run(Run { leaf: self, from, to: spot, count, listed }));
        *self = assemble(&kept, 0, End::Back);
    }

    /// One leaf with the elements of several, which it can hold.
    pub(super) fn merge<'l>(leaves: impl Iterator<Item = &'l Self>) -> Self {
        let parts: Vec<Part<'_>> = leaves.map(|leaf| Part::Run(leaf.whole())).collect();
        assemble(&parts, 0, End::Back)
    }

    /// `Done` when the caller may drop this leaf at the price of one node.
    pub(super) fn free_longs(&mut self, budget: &mut usize) -> super::Progress {
        let Some((Head { longs: Some(longs), .. }, _)) = self.alone() else { return super::Progress::Done };
        while let Some(last) = longs.ropes.back_mut() {
            if *budget == 0 || last.free_step(budget) == super::Progress::More {
                return super::Progress::More;
            }
            longs.ropes.pop_back();
        }
        super::Progress::Done
    }

    #[inline]
    fn data(&self) -> &[u8] {
        &self.0.slice
    }

    #[inline]
    fn ropes(&self) -> &VecDeque<Rope> {
        static NONE: VecDeque<Rope> = VecDeque::new();
        self.0.header.longs.as_ref().map_or(&NONE, |longs| &longs.ropes)
    }

    #[inline]
    fn alone(&mut self) -> Option<(&mut Head, &mut [u8])> {
        let HeaderSlice { header, slice } = Arc::get_mut(&mut self.0)?;
        Some((header, slice))
    }

    #[inline]
    fn room(&self, end: End) -> usize {
        match end {
            End::Front => usize::from(self.0.header.start),
            End::Back => self.data().len() - usize::from(self.0.header.end),
        }
    }

    /// Becomes a leaf of its own with so much room at an end. It grows by a class of the allocator when it must.
    #[cold]
    fn make_room(&mut self, end: End, size: usize) {
        let (len, content) = (self.data().len(), self.content());
        if self.0.is_unique() && can_slide(len, len - content, size) {
            return self.slide(end);
        }
        let grows = content + size > len || self.0.is_unique();
        let capacity = if grows { (content + size).max(len + 1).min(LEAF_DATA_MAX) } else { len };
        *self = assemble(&[Part::Run(self.whole())], capacity, end);
    }

    /// Moves the records so that three quarters of the room are at this end.
    fn slide(&mut self, end: End) {
        let content = self.content();
        let (head, data) = self.alone().expect("only its owner slides a leaf");
        let spare = data.len() - content;
        let more = if content == 0 { spare } else { spare / 4 * 3 };
        let start = match end {
            End::Front => more,
            End::Back => spare - more,
        };
        data.copy_within(usize::from(head.start)..usize::from(head.end), start);
        head.start = narrow(start);
        head.end = narrow(start + content);
    }

    #[inline]
    fn first(&self) -> Spot {
        Spot { at: usize::from(self.0.header.start), long: 0 }
    }

    #[inline]
    fn last(&self) -> Spot {
        Spot { at: usize::from(self.0.header.end), long: self.ropes().len() }
    }

    #[inline]
    fn outermost(&self, end: End) -> Spot {
        match end {
            End::Front => self.first(),
            End::Back => self.last(),
        }
    }

    /// Where the record at `index` begins, or the last one ends; found from the nearer end.
    fn spot(&self, index: usize) -> Spot {
        let len = self.len();
        assert!(index <= len, "an element of this leaf");
        if index <= len / 2 {
            (0..index).fold(self.first(), |spot, _| self.read(spot).1)
        } else {
            (index..len).fold(self.last(), |spot, _| self.read_back(spot).1)
        }
    }

    /// The element that begins here, and where it ends.
    #[inline]
    fn read(&self, spot: Spot) -> (Value<'_>, Spot) {
        let row = parse::<1>(&self.data()[spot.at..]);
        let at = spot.at + row.size + back_bytes(row.size);
        match row.first.elsewhere() {
            None => (Value::Short(row.first), Spot { at, ..spot }),
            Some(_) => (Value::Long(&self.ropes()[spot.long]), Spot { at, long: spot.long + 1 }),
        }
    }

    /// The element that ends here, and where it begins.
    #[inline]
    fn read_back(&self, spot: Spot) -> (Value<'_>, Spot) {
        let data = self.data();
        let size = match data[spot.at - 1] {
            BACK_WIDE => usize::from(u16::from_le_bytes([data[spot.at - 3], data[spot.at - 2]])) + 3,
            short => usize::from(short) + 1,
        };
        let at = spot.at - size;
        let cell: Cell<'_> = parse::<1>(&data[at..]).first;
        match cell.elsewhere() {
            None => (Value::Short(cell), Spot { at, ..spot }),
            Some(_) => (Value::Long(&self.ropes()[spot.long - 1]), Spot { at, long: spot.long - 1 }),
        }
    }

    fn whole(&self) -> Run<'_> {
        Run { leaf: self, from: self.first(), to: self.last(), count: self.len(), listed: self.0.header.listed }
    }

    fn run(&self, range: Range<usize>) -> Run<'_> {
        let from = self.spot(range.start);
        let (mut to, mut listed) = (from, 0);
        for _ in range.clone() {
            let (value, next) = self.read(to);
            listed += listpack::value_bytes(value);
            to = next;
        }
        Run { leaf: self, from, to, count: range.len(), listed }
    }
}

impl Head {
    fn keep(&mut self, end: End, rope: Rope) {
        let longs = self.longs.get_or_insert_with(|| Box::new(Longs { ropes: VecDeque::new(), bytes: 0 }));
        longs.bytes += rope.bytes();
        match end {
            End::Front => longs.ropes.push_front(rope),
            End::Back => longs.ropes.push_back(rope),
        }
    }

    /// Moves the ropes before (or after) place `to` out.
    fn bury(&mut self, end: End, to: usize, graves: &mut Vec<Rope>) {
        let Some(longs) = &mut self.longs else { return };
        let before = graves.len();
        match end {
            End::Front => graves.extend(longs.ropes.drain(..to)),
            End::Back => graves.extend(longs.ropes.drain(to..)),
        }
        longs.bytes -= graves[before..].iter().map(Rope::bytes).sum::<usize>();
        if longs.ropes.is_empty() {
            self.longs = None;
        }
    }
}

impl Longs {
    fn heap_bytes(&self) -> usize {
        size_of::<Self>() + self.ropes.capacity() * size_of::<Rope>() + self.bytes
    }
}

impl<'l> Run<'l> {
    fn bytes(&self) -> usize {
        self.to.at - self.from.at
    }

    fn ropes(&self) -> impl Iterator<Item = &'l Rope> {
        self.leaf.ropes().range(self.from.long..self.to.long)
    }

    /// Two runs, the first just as heavy as `weight` or a record more.
    fn split(self, weight: usize) -> (Self, Self) {
        let weigh = |to: Spot| to.at - self.from.at + LONG_WEIGHT * (to.long - self.from.long);
        let (mut at, mut count, mut listed) = (self.from, 0, 0);
        while weigh(at) < weight && count < self.count {
            let (value, next) = self.leaf.read(at);
            listed += listpack::value_bytes(value);
            count += 1;
            at = next;
        }
        let left = Self { to: at, count, listed, ..self };
        (left, Self { from: at, count: self.count - count, listed: self.listed - listed, ..self })
    }
}

impl<'p> Part<'p> {
    fn bytes(&self) -> usize {
        match self {
            Self::Run(run) => run.bytes(),
            Self::Item(item) => item.size(),
        }
    }

    fn weight(&self) -> usize {
        match self {
            Self::Run(run) => run.bytes() + LONG_WEIGHT * (run.to.long - run.from.long),
            Self::Item(item) => item.weight(),
        }
    }

    fn split(self, weight: usize) -> (Self, Option<Self>) {
        match self {
            Self::Run(run) => {
                let (left, right) = run.split(weight);
                (Self::Run(left), Some(Self::Run(right)))
            }
            Self::Item(_) => (self, None),
        }
    }
}

/// Two lists of parts, the first just as heavy as `weight` or a record more.
fn halves<'p>(parts: &[Part<'p>], weight: usize) -> (Vec<Part<'p>>, Vec<Part<'p>>) {
    let (mut left, mut right, mut missing) = (Vec::new(), Vec::new(), weight);
    for part in parts {
        if missing == 0 {
            right.push(*part);
        } else if part.weight() < missing {
            missing -= part.weight();
            left.push(*part);
        } else {
            let (near, far) = part.split(missing);
            left.push(near);
            right.extend(far);
            missing = 0;
        }
    }
    (left, right)
}

/// A new leaf of so many bytes at least; what room it has is at one end.
fn assemble(parts: &[Part<'_>], capacity: usize, roomy: End) -> Leaf {
    let content = parts.iter().map(Part::bytes).sum();
    let mut leaf = Leaf::with_capacity(capacity.max(content));
    let (head, data) = leaf.alone().expect("a new leaf is owned alone");
    let mut at = match roomy {
        End::Front => data.len() - content,
        End::Back => 0,
    };
    head.start = narrow(at);
    let mut ropes = Vec::new();
    for part in parts {
        let out = &mut data[at..at + part.bytes()];
        match part {
            Part::Run(run) => {
                out.copy_from_slice(&run.leaf.data()[run.from.at..run.to.at]);
                head.count += narrow(run.count);
                head.listed += run.listed;
                ropes.extend(run.ropes().cloned());
            }
            Part::Item(item) => {
                item.write(out);
                head.count += 1;
                head.listed += item.listed();
                if let Item::Long(rope) = item {
                    ropes.push(rope.clone());
                }
            }
        }
        at += part.bytes();
    }
    head.end = narrow(at);
    if !ropes.is_empty() {
        let bytes = ropes.iter().map(Rope::bytes).sum();
        head.longs = Some(Box::new(Longs { ropes: ropes.into(), bytes }));
    }
    leaf
}

/// Whether sliding is worth its while: a quarter of the leaf is free, and three quarters of that are enough.
#[inline]
fn can_slide(len: usize, spare: usize, size: usize) -> bool {
    spare >= len / 4 && spare / 4 * 3 >= size
}

#[inline]
fn back_bytes(row: usize) -> usize {
    if row < usize::from(BACK_WIDE) { 1 } else { 3 }
}

/// A count or an offset inside a leaf.
#[inline]
fn narrow(number: usize) -> u16 {
    u16::try_from(number).expect("a leaf is smaller than 64 KiB")
}
