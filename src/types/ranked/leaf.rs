//! A leaf of the order: some hundred elements in one allocation.
//!
//! ```text
//!  data   [score 8 | place 2] x count  ...free...  [record] x count      at most 4 KiB with the head
//!          in order                                 in the order of arrival, from the end downwards
//! ```
//!
//! A place is the distance of a record from the end, so that a leaf which grows copies both blocks as they are. Scores lie side by side, and
//! a search reads records only among equal scores. A removed record stays until the leaf is built anew.

use std::cmp::Ordering;
use std::ops::Range;

use triomphe::{Arc, HeaderSlice};

use super::{Edge, New};
use crate::base::ascii::I64_TEXT_MAX;
use crate::types::RC_BYTES;
use crate::types::packed::{Cell, Form, Row, parse, row_size, write_row};
use crate::types::rope::Rope;
use crate::types::score::{SCORE_BYTES, Score};
use crate::types::trie::{INLINE_MAX, LEAF_BYTES_MAX, LEAF_CLASSES, Value};

/// Score and place.
const SLOT_BYTES: usize = SCORE_BYTES + 2;
const LEAF_HEAD: usize = RC_BYTES + size_of::<Head>();
const DATA_MAX: usize = LEAF_BYTES_MAX - LEAF_HEAD;
const DATA_MIN: usize = LEAF_CLASSES[0] - LEAF_HEAD;

/// The greatest element is an eighth of a leaf, so that half a leaf has room for one.
const _: () = assert!(4 * (SLOT_BYTES + INLINE_MAX + 8) < DATA_MAX && LEAF_BYTES_MAX <= u16::MAX as usize);

#[derive(Clone, Debug)]
pub(super) struct Leaf(Arc<HeaderSlice<Head, [u8]>>);

#[derive(Debug, Default)]
struct Head {
    /// Members that are not in their records; the index holds them too, and counts their bytes.
    longs: Vec<Option<Rope>>,
    count: u16,
    /// Bytes of records.
    used: u16,
    /// Those of them that belong to nothing any more.
    dead: u16,
}

/// A leaf in the hands of its only owner.
struct LeafMut<'l> {
    head: &'l mut Head,
    data: &'l mut [u8],
}

/// The leaf cannot grow any further.
#[derive(Debug)]
pub(super) struct Full;

impl Default for Leaf {
    fn default() -> Self {
        blank(0)
    }
}

impl Leaf {
    #[inline]
    pub(super) fn count(&self) -> usize {
        usize::from(self.0.header.count)
    }

    pub(super) fn bytes(&self) -> usize {
        LEAF_HEAD + self.data().len() + self.0.header.longs.capacity() * size_of::<Option<Rope>>()
    }

    /// Bytes of data that the elements need.
    pub(super) fn content(&self) -> usize {
        let head = &self.0.header;
        self.count() * SLOT_BYTES + usize::from(head.used) - usize::from(head.dead)
    }

    #[inline]
    pub(super) fn score(&self, slot: usize) -> Score {
        Score::from_bytes(&self.data()[slot * SLOT_BYTES..][..SCORE_BYTES])
    }

    #[inline]
    pub(super) fn member(&self, slot: usize) -> Value<'_> {
        let cell = self.row(slot).first;
        match cell.elsewhere() {
            None => Value::Short(cell),
            Some(place) => Value::Long(self.0.header.long(place)),
        }
    }

    /// How many elements lie in front of `edge`.
    #[inline]
    pub(super) fn rank(&self, edge: &Edge<'_>) -> usize {
        let (mut low, mut high) = (0, self.count());
        while low < high {
            let middle = (low + high) / 2;
            if edge.is_behind(self.score(middle), |text| compare(self.member(middle), text)) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    /// Puts an element at `slot`, or changes nothing if that would exceed the largest leaf.
    pub(super) fn insert(&mut self, slot: usize, new: &New<'_>) -> Result<(), Full> {
        let form = if new.rope.is_some() { Form::elsewhere(0) } else { Form::of(new.member) };
        let size = row_size::<1>(&form, &form);
        let head = &self.0.header;
        let fits = self.count() * SLOT_BYTES + usize::from(head.used) + SLOT_BYTES + size <= self.data().len();
        if !fits || !self.0.is_unique() {
            *self = self.with_room(SLOT_BYTES + size)?;
        }
        let mut leaf = self.alone().expect("a new leaf is owned alone");
        let form = match new.rope {
            None => form,
            Some(rope) => Form::elsewhere(leaf.head.keep(rope.clone())),
        };
        leaf.insert(slot, new.score, &form, size);
        Ok(())
    }

    pub(super) fn remove(&mut self, slot: usize) {
        if !self.0.is_unique() {
            *self = self.with_room(0).expect("a copy fits");
        }
        self.alone().expect("a copy is owned alone").remove(slot);
        if 2 * self.content() < self.data().len() && self.data().len() > DATA_MIN {
            *self = join(&[(self, 0..self.count())], 0).expect("a leaf with less fits");
        }
    }

    /// A leaf of some of the elements.
    pub(super) fn part(&self, slots: Range<usize>) -> Self {
        join(&[(self, slots)], 0).expect("a part of a leaf fits")
    }

    /// The slot in front of which half of the bytes lie; neither side is empty.
    pub(super) fn middle(&self) -> usize {
        let (half, mut bytes, mut slot) = (self.content() / 2, 0, 0);
        while bytes < half && slot + 1 < self.count() {
            bytes += SLOT_BYTES + self.row(slot).size;
            slot += 1;
        }
        slot.max(1)
    }

    /// Both in one, if that leaves half of the largest leaf free.
    pub(super) fn merged(&self, next: &Self) -> Option<Self> {
        let is_sparse = self.content() + next.content() <= DATA_MAX / 2;
        is_sparse.then(|| join(&[(self, 0..self.count()), (next, 0..next.count())], 0).expect("half a leaf fits"))
    }

    /// Gives up what only this leaf holds.
    pub(super) fn forget_longs(&mut self) {
        if let Some(LeafMut { head, .. }) = self.alone() {
            head.longs = Vec::new();
        }
    }

    /// Live bytes of records, for a test: as counted, and as they are.
    pub(super) fn recount(&self) -> usize {
        let rows: usize = (0..self.count()).map(|slot| self.row(slot).size).sum();
        assert_eq!(self.content(), rows + self.count() * SLOT_BYTES, "a leaf knows its dead bytes");
        self.bytes()
    }

    #[inline]
    fn data(&self) -> &[u8] {
        &self.0.slice
    }

    #[inline]
    fn row(&self, slot: usize) -> Row<'_> {
        let data = self.data();
        parse::<1>(&data[data.len() - place(data, slot)..])
    }

    #[inline]
    fn alone(&mut self) -> Option<LeafMut<'_>> {
        let HeaderSlice { header, slice } = Arc::get_mut(&mut self.0)?;
        Some(LeafMut { head: header, data: slice })
    }

    /// A copy with `room` free bytes.
    fn with_room(&self, room: usize) -> Result<Self, Full> {
        let head = &self.0.header;
        let (table, used) = (self.count() * SLOT_BYTES, usize::from(head.used));
        if head.dead > 0 || table + used + room > DATA_MAX {
            return join(&[(self, 0..self.count())], room);
        }
        let (from, mut copy) = (self.data(), blank(table + used + room));
        let into = copy.alone().expect("a new leaf is owned alone");
        into.data[..table].copy_from_slice(&from[..table]);
        let end = into.data.len();
        into.data[end - used..].copy_from_slice(&from[from.len() - used..]);
        *into.head = Head { longs: head.longs.clone(), ..*head };
        Ok(copy)
    }
}

impl Head {
    fn long(&self, place: usize) -> &Rope {
        self.longs[place].as_ref().expect("a record's long member is there")
    }

    fn keep(&mut self, rope: Rope) -> usize {
        match self.longs.iter().position(Option::is_none) {
            Some(free) => {
                self.longs[free] = Some(rope);
                free
            }
            None => {
                self.longs.push(Some(rope));
                self.longs.len() - 1
            }
        }
    }
}

impl LeafMut<'_> {
    /// The caller has seen that there is room.
    fn insert(&mut self, slot: usize, score: Score, form: &Form<'_>, size: usize) {
        let (at, end) = (slot * SLOT_BYTES, usize::from(self.head.count) * SLOT_BYTES);
        let used = usize::from(self.head.used) + size;
        let start = self.data.len() - used;
        assert!(end + SLOT_BYTES <= start, "the caller made room");
        self.data.copy_within(at..end, at + SLOT_BYTES);
        self.data[at..at + SCORE_BYTES].copy_from_slice(&score.to_bytes());
        self.data[at + SCORE_BYTES..at + SLOT_BYTES].copy_from_slice(&narrow(used).to_le_bytes());
        write_row::<1>(&mut self.data[start..start + size], form, form);
        self.head.count += 1;
        self.head.used = narrow(used);
    }

    fn remove(&mut self, slot: usize) {
        let place = place(self.data, slot);
        let row = parse::<1>(&self.data[self.data.len() - place..]);
        if let Some(long) = row.first.elsewhere() {
            self.head.longs[long] = None;
        }
        let size = row.size;
        if place == usize::from(self.head.used) {
            self.head.used -= narrow(size);
        } else {
            self.head.dead += narrow(size);
        }
        let end = usize::from(self.head.count) * SLOT_BYTES;
        self.data.copy_within((slot + 1) * SLOT_BYTES..end, slot * SLOT_BYTES);
        self.head.count -= 1;
    }
}

/// How far from the end of the data the record of `slot` begins.
#[inline]
fn place(data: &[u8], slot: usize) -> usize {
    let at = slot * SLOT_BYTES + SCORE_BYTES;
    usize::from(u16::from_le_bytes([data[at], data[at + 1]]))
}

/// A new leaf of these elements, in this order, with `room` free bytes.
fn join(sources: &[(&Leaf, Range<usize>)], room: usize) -> Result<Leaf, Full> {
    let elements = || sources.iter().flat_map(|(leaf, slots)| slots.clone().map(move |slot| (*leaf, slot)));
    let (mut bytes, mut longs) = (0, 0);
    for (leaf, slot) in elements() {
        let row = leaf.row(slot);
        bytes += SLOT_BYTES + row.size;
        longs += usize::from(row.first.elsewhere().is_some());
    }
    if bytes + room > DATA_MAX {
        return Err(Full);
    }
    let mut joined = blank(bytes + room);
    let mut into = joined.alone().expect("a new leaf is owned alone");
    into.head.longs = Vec::with_capacity(longs);
    for (slot, (leaf, from)) in elements().enumerate() {
        let row = leaf.row(from);
        let form = adopt(&mut into, leaf, row.first);
        into.insert(slot, leaf.score(from), &form, row.size);
    }
    Ok(joined)
}

fn adopt<'a>(into: &mut LeafMut<'_>, source: &Leaf, cell: Cell<'a>) -> Form<'a> {
    match cell.elsewhere() {
        Some(place) => Form::elsewhere(into.head.keep(source.0.header.long(place).clone())),
        None => Form::from(cell),
    }
}

/// The order of two members.
pub(crate) fn compare(member: Value<'_>, text: &[u8]) -> Ordering {
    match member {
        Value::Short(cell) => cell.text(&mut [0; I64_TEXT_MAX]).cmp(text),
        Value::Long(rope) => {
            let mut rest = text;
            for chunk in rope.chunks(0..rope.len()) {
                let (now, later) = rest.split_at(chunk.len().min(rest.len()));
                match chunk.cmp(now) {
                    Ordering::Equal => rest = later,
                    other => return other,
                }
            }
            if rest.is_empty() { Ordering::Equal } else { Ordering::Less }
        }
    }
}

/// A count or an offset inside a leaf.
fn narrow(number: usize) -> u16 {
    u16::try_from(number).expect("a leaf is smaller than 64 KiB")
}

static BLANK: [u8; DATA_MAX] = [0; DATA_MAX];

/// An empty leaf of the smallest class with `needed` bytes of data.
fn blank(needed: usize) -> Leaf {
    let class = LEAF_CLASSES.iter().find(|&&class| needed <= class - LEAF_HEAD);
    let class = class.expect("the caller compared with the largest leaf");
    Leaf(Arc::from_header_and_slice(Head::default(), &BLANK[..class - LEAF_HEAD]))
}
