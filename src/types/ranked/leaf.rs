//! A leaf of the order: some hundred elements in one allocation.
//!
//! ```text
//!  data   [score 8; slots][place 2; slots]...free...[record] x count      at most 4 KiB with the head
//!          in order        likewise                  in the order of arrival, from the end downwards
//! ```
//!
//! A place is the distance of a record from the end, so that a leaf of another size is three blocks copied as they are. Scores lie side by side, and
//! a search reads records only among equal scores. What a removed record leaves is closed at once: the records behind it move up, and their places, side by side as
//! well, are lowered some sixteen at a time. A leaf in which elements come and go so keeps its size; when holes were left, it was built anew, element by element, for
//! every ten or so that came.

use std::cmp::Ordering;
use std::ops::Range;

use triomphe::{Arc, HeaderSlice};

use super::{Edge, New};
use crate::base::ascii::I64_TEXT_MAX;
use crate::types::RC_BYTES;
use crate::types::dict::{LINE_BYTES, prefetch};
use crate::types::packed::{Cell, Form, Row, parse, row_size, write_row};
use crate::types::rope::Rope;
use crate::types::score::{SCORE_BYTES, Score};
use crate::types::trie::{INLINE_MAX, LEAF_BYTES_MAX, LEAF_CLASSES, Value};

const PLACE_BYTES: usize = 2;
const SLOT_BYTES: usize = SCORE_BYTES + PLACE_BYTES;
const LEAF_HEAD: usize = RC_BYTES + size_of::<Head>();
const DATA_MAX: usize = LEAF_BYTES_MAX - LEAF_HEAD;
const DATA_MIN: usize = LEAF_CLASSES[0] - LEAF_HEAD;

/// Of a leaf's data, about a third are scores, if members have some sixteen bytes.
const SCORES_SHARE: usize = 3;

/// The greatest element is an eighth of a leaf, so that half a leaf has room for one.
const _: () = assert!(4 * (SLOT_BYTES + INLINE_MAX + 8) < DATA_MAX && LEAF_BYTES_MAX <= u16::MAX as usize);

#[derive(Clone, Debug)]
pub(super) struct Leaf(Arc<HeaderSlice<Head, [u8]>>);

#[derive(Debug, Default)]
struct Head {
    /// Members that are not in their records; the index holds them too, and counts their bytes.
    longs: Vec<Option<Rope>>,
    count: u16,
    /// Room for so many scores and places.
    slots: u16,
    /// Bytes of records.
    used: u16,
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
        self.count() * SLOT_BYTES + usize::from(self.0.header.used)
    }

    /// Whether a neighbour that is as sparse could take it in.
    #[inline]
    pub(super) fn is_sparse(&self) -> bool {
        self.content() <= DATA_MAX / 2
    }

    #[inline]
    pub(super) fn score(&self, slot: usize) -> Score {
        Score::from_whole(self.scores()[slot])
    }

    #[inline]
    pub(super) fn member(&self, slot: usize) -> Value<'_> {
        let cell = self.row(slot).first;
        match cell.elsewhere() {
            None => Value::Short(cell),
            Some(place) => Value::Long(self.0.header.long(place)),
        }
    }

    /// Starts loading the head and the scores: a search by halves would wait for five or six of their lines, one after the other.
    #[inline]
    pub(super) fn foresee(&self) {
        let mut line = std::ptr::from_ref(&self.0.header).addr() as u64;
        let end = line + (size_of::<Head>() + self.data().len() / SCORES_SHARE) as u64;
        while line < end {
            prefetch(line);
            line += LINE_BYTES;
        }
    }

    /// How many elements lie in front of `edge`.
    #[inline]
    pub(super) fn rank(&self, edge: &Edge<'_>) -> usize {
        self.foresee();
        let (mut low, mut high) = (0, self.count());
        if let Some(score) = edge.score() {
            low = self.scores().partition_point(|&bytes| Score::from_whole(bytes) < score);
            if low == high || self.score(low) != score {
                return low;
            }
        }
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
        let table = usize::from(head.slots) * SLOT_BYTES;
        let fits = head.count < head.slots && table + usize::from(head.used) + size <= self.data().len();
        if !fits || !self.0.is_unique() {
            *self = self.renewed(size)?;
        }
        let mut leaf = self.alone().expect("a new leaf is owned alone");
        let form = match new.rope {
            None => form,
            Some(rope) => Form::elsewhere(leaf.head.keep(rope.clone())),
        };
        let record = leaf.open(slot, new.score, size);
        write_row::<1>(&mut leaf.data[record], &form, &form);
        Ok(())
    }

    pub(super) fn remove(&mut self, slot: usize) {
        if !self.0.is_unique() {
            *self = self.renewed(0).expect("a copy fits");
        }
        self.alone().expect("a copy is owned alone").remove(slot);
        if 2 * self.content() < self.data().len() && self.data().len() > DATA_MIN {
            *self = self.renewed(0).expect("a leaf with less fits");
        }
    }

    /// A leaf of some of the elements.
    pub(super) fn part(&self, slots: Range<usize>) -> Self {
        join(&[(self, slots)])
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
        let fit = self.content() + next.content() <= DATA_MAX / 2;
        fit.then(|| join(&[(self, 0..self.count()), (next, 0..next.count())]))
    }

    /// Gives up what only this leaf holds.
    pub(super) fn forget_longs(&mut self) {
        if let Some(LeafMut { head, .. }) = self.alone() {
            head.longs = Vec::new();
        }
    }

    /// For a test: checks what the head counts.
    pub(super) fn recount(&self) -> usize {
        let rows: usize = (0..self.count()).map(|slot| self.row(slot).size).sum();
        assert_eq!(self.content(), rows + self.count() * SLOT_BYTES, "records lie without a gap");
        self.bytes()
    }

    #[inline]
    fn data(&self) -> &[u8] {
        &self.0.slice
    }

    #[inline]
    fn scores(&self) -> &[[u8; SCORE_BYTES]] {
        let (scores, _) = self.data().as_chunks();
        &scores[..self.count()]
    }

    #[inline]
    fn place(&self, slot: usize) -> usize {
        let (places, _) = self.data()[usize::from(self.0.header.slots) * SCORE_BYTES..].as_chunks();
        usize::from(u16::from_le_bytes(places[slot]))
    }

    #[inline]
    fn row(&self, slot: usize) -> Row<'_> {
        let data = self.data();
        parse::<1>(&data[data.len() - self.place(slot)..])
    }

    #[inline]
    fn alone(&mut self) -> Option<LeafMut<'_>> {
        let HeaderSlice { header, slice } = Arc::get_mut(&mut self.0)?;
        Some(LeafMut { head: header, data: slice })
    }

    /// A copy with a free slot and `room` free bytes, or, if no room is wanted, of the smallest size.
    fn renewed(&self, room: usize) -> Result<Self, Full> {
        let head = &self.0.header;
        let (count, used) = (self.count(), usize::from(head.used));
        let mut copy = roomy(count, used, room)?;
        let into = copy.alone().expect("a new leaf is owned alone");
        let from = self.data();
        let tables = [head.slots, into.head.slots].map(|slots| usize::from(slots) * SCORE_BYTES);
        into.data[..count * SCORE_BYTES].copy_from_slice(&from[..count * SCORE_BYTES]);
        let places = count * PLACE_BYTES;
        into.data[tables[1]..tables[1] + places].copy_from_slice(&from[tables[0]..tables[0] + places]);
        let end = into.data.len();
        into.data[end - used..].copy_from_slice(&from[from.len() - used..]);
        *into.head = Head { longs: head.longs.clone(), slots: into.head.slots, ..*head };
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
    /// Makes room at `slot` for an element with a record of `size` bytes, and answers where that record is to be written. The caller has seen that
    /// it fits.
    fn open(&mut self, slot: usize, score: Score, size: usize) -> Range<usize> {
        let (count, slots) = (usize::from(self.head.count), usize::from(self.head.slots));
        let used = usize::from(self.head.used) + size;
        let start = self.data.len() - used;
        assert!(count < slots && slots * SLOT_BYTES <= start, "the caller made room");
        let (scores, rest) = self.data.split_at_mut(slots * SCORE_BYTES);
        scores.copy_within(slot * SCORE_BYTES..count * SCORE_BYTES, (slot + 1) * SCORE_BYTES);
        scores[slot * SCORE_BYTES..(slot + 1) * SCORE_BYTES].copy_from_slice(&score.to_bytes());
        rest.copy_within(slot * PLACE_BYTES..count * PLACE_BYTES, (slot + 1) * PLACE_BYTES);
        rest[slot * PLACE_BYTES..(slot + 1) * PLACE_BYTES].copy_from_slice(&narrow(used).to_le_bytes());
        self.head.count += 1;
        self.head.used = narrow(used);
        start..start + size
    }

    fn remove(&mut self, slot: usize) {
        let (count, slots, used) =
            (usize::from(self.head.count), usize::from(self.head.slots), usize::from(self.head.used));
        let end = self.data.len();
        let (scores, rest) = self.data.split_at_mut(slots * SCORE_BYTES);
        scores.copy_within((slot + 1) * SCORE_BYTES..count * SCORE_BYTES, slot * SCORE_BYTES);
        let (places, _) = rest[..count * PLACE_BYTES].as_chunks_mut();
        let gone = u16::from_le_bytes(places[slot]);
        places.copy_within(slot + 1.., slot);
        let start = end - usize::from(gone);
        let row = parse::<1>(&self.data[start..]);
        if let Some(long) = row.first.elsewhere() {
            self.head.longs[long] = None;
        }
        let size = row.size;
        self.data.copy_within(end - used..start, end - used + size);
        let size = narrow(size);
        let (places, _) = self.data[slots * SCORE_BYTES..][..(count - 1) * PLACE_BYTES].as_chunks_mut();
        for bytes in places {
            let place = u16::from_le_bytes(*bytes);
            *bytes = (place - if place > gone { size } else { 0 }).to_le_bytes();
        }
        self.head.count -= 1;
        self.head.used -= size;
    }
}

/// A new leaf of these elements, in this order. They are known to fit.
fn join(sources: &[(&Leaf, Range<usize>)]) -> Leaf {
    let elements = || sources.iter().flat_map(|(leaf, slots)| slots.clone().map(move |slot| (*leaf, slot)));
    let (mut count, mut bytes, mut longs) = (0, 0, 0);
    for (leaf, slot) in elements() {
        let row = leaf.row(slot);
        count += 1;
        bytes += row.size;
        longs += usize::from(row.first.elsewhere().is_some());
    }
    let mut joined = roomy(count, bytes, 0).expect("a part of a leaf fits, and so do two that are sparse");
    let mut into = joined.alone().expect("a new leaf is owned alone");
    into.head.longs = Vec::with_capacity(longs);
    for (slot, (leaf, from)) in elements().enumerate() {
        let row = leaf.row(from);
        let record = into.open(slot, leaf.score(from), row.size);
        let form = adopt(&mut into, leaf, row.first);
        write_row::<1>(&mut into.data[record], &form, &form);
    }
    joined
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

/// An empty leaf for `count` elements with records of `used` bytes in all, and one of `room` bytes more. What the class rounds up is dealt out
/// between slots and records in the proportion of those that are there.
fn roomy(count: usize, used: usize, room: usize) -> Result<Leaf, Full> {
    let slots = count + usize::from(room > 0);
    let needed = slots * SLOT_BYTES + used + room;
    if needed > DATA_MAX {
        return Err(Full);
    }
    let mut leaf = blank(needed);
    let writing = leaf.alone().expect("a new leaf is owned alone");
    let record = (used + room).div_ceil(slots.max(1)).max(1);
    writing.head.slots = narrow(slots + (writing.data.len() - needed) / (SLOT_BYTES + record));
    Ok(leaf)
}
