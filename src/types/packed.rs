//! The compact form of small collections, and the record format that the leaves of large ones (`trie.rs`) share.
//!
//! ```text
//!  Packed   [end u16][count u16][record][record]...   one allocation, sized to the allocator's classes
//!  record   COLUMNS = 2   [nibble first | nibble second][tag first?][tag second?][payload first][payload second]
//!           COLUMNS = 1   [tag][payload]
//!  tag      0x00..=0xEF   text of that many bytes
//!           0xF0..=0xF3   integer of 1, 2, 4, 8 bytes, little endian, two's complement
//!           0xF4          text; its u32 length stands in front of it
//!           0xF5          a long text elsewhere: a u16 place in the leaf's list (tries only)
//!           0xF8          of a second column: the tag proper follows, and in front of the payloads stands a deadline of 6 bytes,
//!                         at which the record dies (fields of hashes that expire)
//!  nibble   0..=14 stands for one of the fifteen commonest tags, 15: the tag follows
//! ```
//!
//! The idea is Redis's listpack; the differences: two columns share one byte of lengths (field and value of ten short pairs cost
//! ten bytes, not forty), no back-lengths. An integer is stored as one only if its text is
//! canonical and longer than its payload, so equal texts always have equal records and a search compares bytes.
//! The collection is a single bounded node that is never shared: a clone copies it, which spares each small hash a counter.
//! It is a boxed slice that knows its end, not a vector, so that every type with a packed form fits in an `Object`.

use crate::base::ascii::{I64_TEXT_MAX, format_i64, parse_i64};
use crate::base::time::Millis;

/// Bytes of records that one packed collection holds at most, whatever thresholds are configured: the most that a clone or
/// an insertion at the front copies. Redis's defaults (128 pairs of 64-byte elements) fit.
pub const PACKED_BYTES_MAX: usize = 20 << 10;

/// End and count.
const HEAD_BYTES: usize = 4;

const _: () = assert!(allocation_class(PACKED_BYTES_MAX) <= u16::MAX as usize, "an end has 16 bits");

/// The tags that have a nibble: short texts; dates, identifiers and tokens of usual lengths; integers up to 32 bits.
const NIBBLES: [u8; 15] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 16, INT, INT + 1, INT + 2];
const NIBBLE_ESCAPE: u8 = 15;
const NIBBLE_OF: [u8; 256] = invert(NIBBLES);

const TEXT_MAX: usize = 0xEF;
const INT: u8 = 0xF0;
const INT_LAST: u8 = 0xF3;
const TEXT_LONG: u8 = 0xF4;
const ELSEWHERE: u8 = 0xF5;
const TIMED: u8 = 0xF8;

const DEADLINE_BYTES: usize = 6;

/// The latest deadline that a record can have, which Redis bounds more closely still.
pub const DEADLINE_MAX: Millis = Millis((1 << (8 * DEADLINE_BYTES)) - 1);

/// A stored element, as it lies in a record: equal elements have equal cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell<'a> {
    /// As wide as what is beside it. A byte and its padding are copied in pieces, and whoever loads what was so stored waits until it has left the
    /// processor's store buffer: that was four fifths of what walking a range took.
    tag: u64,
    payload: &'a [u8],
}

/// One record; the second cell is empty text when the collection has one column.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    pub first: Cell<'a>,
    pub second: Cell<'a>,
    /// When the record dies, if it has a time.
    pub deadline: Option<Millis>,
    /// Bytes of the whole record.
    pub(crate) size: usize,
}

/// An element on its way into a record, or to be compared with the cells of records.
#[derive(Clone, Copy, Debug)]
pub struct Form<'a> {
    tag: u8,
    text: &'a [u8],
    number: [u8; 8],
    /// Of a second column: when its record dies.
    deadline: Option<Millis>,
}

impl Row<'_> {
    /// Whether its time has come: nobody sees it, though perhaps it was not collected yet.
    #[inline]
    pub(crate) fn is_due(&self, now: Millis) -> bool {
        self.deadline.is_some_and(|at| at <= now)
    }
}

/// Where a record begins inside its collection; good until the next write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place(usize);

#[derive(Clone, Debug)]
pub struct Packed<const COLUMNS: usize> {
    /// Empty, or head, records and room to grow, which a copy has as well: it is as likely to grow as the original.
    bytes: Box<[u8]>,
}

impl<const COLUMNS: usize> Packed<COLUMNS> {
    pub fn new() -> Self {
        const { assert!(COLUMNS == 1 || COLUMNS == 2) };
        Self { bytes: Box::default() }
    }

    #[inline]
    pub fn len(&self) -> usize {
        usize::from(self.head(2).unwrap_or_default())
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Whether one more record of these elements keeps the collection inside its bounds.
    pub fn has_room(&self, first: &Form<'_>, second: &Form<'_>) -> bool {
        self.len() < usize::from(u16::MAX) && self.end() + row_size::<COLUMNS>(first, second) <= PACKED_BYTES_MAX
    }

    pub fn iter(&self) -> impl Iterator<Item = (Place, Row<'_>)> {
        let (records, mut at) = (self.bytes.get(..self.end()).unwrap_or_default(), HEAD_BYTES);
        std::iter::from_fn(move || {
            let bytes = records.get(at..).filter(|rest| !rest.is_empty())?;
            let place = Place(at);
            let row = parse::<COLUMNS>(bytes);
            at += row.size;
            Some((place, row))
        })
    }

    /// The first record whose first column is `first`.
    #[inline]
    pub fn find(&self, first: &Form<'_>) -> Option<(Place, Row<'_>)> {
        let needle = first.cell();
        self.iter().find(|(_, row)| row.first == needle)
    }

    pub fn push(&mut self, first: &Form<'_>, second: &Form<'_>) {
        self.insert(Place(self.end()), first, second);
    }

    /// Puts a record in front of the one at `place`.
    pub fn insert(&mut self, place: Place, first: &Form<'_>, second: &Form<'_>) {
        self.splice(place, 0, first, second);
        self.set_head(2, self.len() + 1);
    }

    /// Replaces the record at `place`.
    pub fn replace(&mut self, place: Place, first: &Form<'_>, second: &Form<'_>) {
        let old = parse::<COLUMNS>(&self.bytes[place.0..]).size;
        self.splice(place, old, first, second);
    }

    pub fn remove(&mut self, place: Place) {
        let (size, end) = (parse::<COLUMNS>(&self.bytes[place.0..]).size, self.end());
        self.bytes.copy_within(place.0 + size..end, place.0);
        self.set_head(0, end - size);
        self.set_head(2, self.len() - 1);
        if end - size < self.bytes.len() / 2 {
            resize(&mut self.bytes, allocation_class(end - size));
        }
    }

    /// Removes the record whose first column is `first`; whether there was one.
    pub fn remove_first(&mut self, first: &Form<'_>) -> bool {
        let found = self.find(first).map(|(place, _)| place);
        found.map(|place| self.remove(place)).is_some()
    }

    /// Writes a record over the `old` bytes at `place`, moving what follows.
    fn splice(&mut self, place: Place, old: usize, first: &Form<'_>, second: &Form<'_>) {
        let (new, end) = (row_size::<COLUMNS>(first, second), self.end());
        let new_end = end + new - old;
        if new_end > self.bytes.len() {
            resize(&mut self.bytes, allocation_class(new_end));
        }
        self.bytes.copy_within(place.0 + old..end, place.0 + new);
        self.set_head(0, new_end);
        write_row::<COLUMNS>(&mut self.bytes[place.0..place.0 + new], first, second);
    }

    /// Where the records end.
    #[inline]
    fn end(&self) -> usize {
        self.head(0).map_or(HEAD_BYTES, usize::from)
    }

    #[inline]
    fn head(&self, at: usize) -> Option<u16> {
        self.bytes.get(at..at + 2).and_then(<[u8]>::first_chunk).map(|head| u16::from_le_bytes(*head))
    }

    fn set_head(&mut self, at: usize, number: usize) {
        let number = u16::try_from(number).expect("has_room bounds end and count");
        self.bytes[at..at + 2].copy_from_slice(&number.to_le_bytes());
    }
}

impl<const COLUMNS: usize> Default for Packed<COLUMNS> {
    fn default() -> Self {
        Self::new()
    }
}

impl<'a> Cell<'a> {
    /// An integer of 2, 4 or 8 bytes as it lies elsewhere. It is good for reading: no record holds one whose text is as short.
    pub(crate) fn of_number(bytes: &'a [u8]) -> Self {
        let [log, ..] = bytes.len().ilog2().to_le_bytes();
        Self { tag: u64::from(INT + log), payload: bytes }
    }

    #[inline]
    fn tag(self) -> u8 {
        let [tag, ..] = self.tag.to_le_bytes();
        tag
    }

    pub fn as_int(self) -> Option<i64> {
        // A little-endian two's complement number is widened by repeating its sign.
        Some(match (self.tag(), self.payload) {
            (INT..=INT_LAST, &[a]) => i64::from(i8::from_le_bytes([a])),
            (INT..=INT_LAST, &[a, b]) => i64::from(i16::from_le_bytes([a, b])),
            (INT..=INT_LAST, &[a, b, c, d]) => i64::from(i32::from_le_bytes([a, b, c, d])),
            (INT..=INT_LAST, payload) => {
                i64::from_le_bytes(payload.try_into().expect("the widest integer has 8 bytes"))
            }
            _ => return None,
        })
    }

    /// The payload: the text, unless it is an integer or elsewhere.
    pub(crate) fn payload(self) -> &'a [u8] {
        self.payload
    }

    /// The element's text; `buffer` serves if it is stored as an integer.
    #[inline]
    pub fn text(self, buffer: &'a mut [u8; I64_TEXT_MAX]) -> &'a [u8] {
        match self.as_int() {
            Some(number) => format_i64(number, buffer),
            None => self.payload,
        }
    }

    /// Place in the leaf's list of long elements.
    pub(crate) fn elsewhere(self) -> Option<usize> {
        match (self.tag(), self.payload) {
            (ELSEWHERE, &[low, high]) => Some(usize::from(u16::from_le_bytes([low, high]))),
            _ => None,
        }
    }
}

impl<'a> Form<'a> {
    /// The second column of a collection with one.
    pub(crate) const NOTHING: Self = Self { tag: 0, text: &[], number: [0; 8], deadline: None };

    #[inline]
    pub fn of(text: &'a [u8]) -> Self {
        match text {
            // Most elements are refused by their first byte.
            [b'0'..=b'9' | b'-', _, ..] if text.len() <= I64_TEXT_MAX => Self::of_digits(text),
            _ => Self::of_text(text),
        }
    }

    /// Bytes of the text.
    pub(crate) fn text_len(&self) -> usize {
        self.cell().text(&mut [0; I64_TEXT_MAX]).len()
    }

    /// The same in a record that dies then, or never.
    ///
    /// # Panics
    /// Beyond `DEADLINE_MAX`.
    #[must_use]
    pub fn until(self, deadline: Option<Millis>) -> Self {
        assert!(deadline.is_none_or(|at| at <= DEADLINE_MAX), "a deadline has 48 bits");
        Self { deadline, ..self }
    }

    pub(crate) fn elsewhere(place: usize) -> Self {
        let place = u16::try_from(place).expect("a leaf has fewer than 65536 elements");
        let mut number = [0; 8];
        number[..2].copy_from_slice(&place.to_le_bytes());
        Self { tag: ELSEWHERE, text: &[], number, deadline: None }
    }

    fn of_text(text: &'a [u8]) -> Self {
        let tag = u8::try_from(text.len()).ok().filter(|&len| usize::from(len) <= TEXT_MAX).unwrap_or(TEXT_LONG);
        Self { tag, text, number: [0; 8], deadline: None }
    }

    fn of_digits(text: &'a [u8]) -> Self {
        let Some(number) = parse_i64(text) else { return Self::of_text(text) };
        let log = match number {
            -0x80..=0x7F => 0,
            -0x8000..=0x7FFF => 1,
            -0x8000_0000..=0x7FFF_FFFF => 2,
            _ => 3,
        };
        if text.len() <= 1 << log {
            return Self::of_text(text);
        }
        Self { tag: INT + log, text: &[], number: number.to_le_bytes(), deadline: None }
    }

    #[inline]
    pub(crate) fn cell(&self) -> Cell<'_> {
        Cell { tag: u64::from(self.tag), payload: self.payload() }
    }

    #[inline]
    fn payload(&self) -> &[u8] {
        match self.tag {
            INT..=INT_LAST => &self.number[..1 << (self.tag - INT)],
            ELSEWHERE => &self.number[..2],
            _ => self.text,
        }
    }

    /// Bytes after the header: payload, and in front of it the length of a long text.
    fn body_size(&self) -> usize {
        self.payload().len() + if self.tag == TEXT_LONG { 4 } else { 0 }
    }

    fn nibble(&self) -> u8 {
        NIBBLE_OF[usize::from(self.tag)]
    }
}

impl<'a> From<Cell<'a>> for Form<'a> {
    fn from(cell: Cell<'a>) -> Self {
        let mut form = Self { tag: cell.tag(), text: cell.payload, number: [0; 8], deadline: None };
        if matches!(cell.tag(), INT..=INT_LAST | ELSEWHERE) {
            form.number[..cell.payload.len()].copy_from_slice(cell.payload);
        }
        form
    }
}

/// Bytes of the record of these elements.
pub(crate) fn row_size<const COLUMNS: usize>(first: &Form<'_>, second: &Form<'_>) -> usize {
    if COLUMNS == 1 {
        return 1 + first.body_size();
    }
    let tags = usize::from(first.nibble() == NIBBLE_ESCAPE)
        + match second.deadline {
            None => usize::from(second.nibble() == NIBBLE_ESCAPE),
            Some(_) => 2 + DEADLINE_BYTES,
        };
    1 + tags + first.body_size() + second.body_size()
}

/// Fills `out`, which has exactly `row_size` bytes.
pub(crate) fn write_row<const COLUMNS: usize>(out: &mut [u8], first: &Form<'_>, second: &Form<'_>) {
    let mut at = 0;
    let mut put = |bytes: &[u8]| {
        out[at..at + bytes.len()].copy_from_slice(bytes);
        at += bytes.len();
    };
    let cells: &[&Form<'_>] = if COLUMNS == 1 {
        put(&[first.tag]);
        &[first]
    } else {
        let second_nibble = if second.deadline.is_some() { NIBBLE_ESCAPE } else { second.nibble() };
        put(&[first.nibble() << 4 | second_nibble]);
        if first.nibble() == NIBBLE_ESCAPE {
            put(&[first.tag]);
        }
        match second.deadline {
            None if second_nibble == NIBBLE_ESCAPE => put(&[second.tag]),
            None => {}
            Some(at) => {
                put(&[TIMED, second.tag]);
                put(&at.0.to_le_bytes()[..DEADLINE_BYTES]);
            }
        }
        &[first, second]
    };
    for form in cells {
        if form.tag == TEXT_LONG {
            let len = u32::try_from(form.text.len()).expect("an element is at most 512 MB");
            put(&len.to_le_bytes());
        }
        put(form.payload());
    }
    assert_eq!(at, out.len(), "a record fills its room");
}

/// The record at the head of `bytes`.
#[inline(always)]
pub(crate) fn parse<const COLUMNS: usize>(bytes: &[u8]) -> Row<'_> {
    let mut at = 1;
    let head = bytes[0];
    if COLUMNS == 1 {
        let first = parse_cell(head, bytes, &mut at);
        return Row { first, second: Cell { tag: 0, payload: &[] }, deadline: None, size: at };
    }
    let mut tag = |nibble: u8| match NIBBLES.get(usize::from(nibble)) {
        Some(&tag) => tag,
        None => {
            at += 1;
            bytes[at - 1]
        }
    };
    let (first, mut second) = (tag(head >> 4), tag(head & 15));
    let mut deadline = None;
    if second == TIMED {
        second = bytes[at];
        let text: &[u8; DEADLINE_BYTES] =
            bytes[at + 1..].first_chunk().expect("the deadline stands in front of the payloads");
        let [a, b, c, d, e, f] = *text;
        deadline = Some(Millis(u64::from_le_bytes([a, b, c, d, e, f, 0, 0])));
        at += 1 + DEADLINE_BYTES;
    }
    let first = parse_cell(first, bytes, &mut at);
    let second = parse_cell(second, bytes, &mut at);
    Row { first, second, deadline, size: at }
}

#[inline]
fn parse_cell<'a>(tag: u8, bytes: &'a [u8], at: &mut usize) -> Cell<'a> {
    let len = match tag {
        INT..=INT_LAST => 1 << (tag - INT),
        ELSEWHERE => 2,
        TEXT_LONG => {
            let len = bytes[*at..].first_chunk().expect("the length stands in front of a long text");
            *at += 4;
            u32::from_le_bytes(*len) as usize
        }
        short => usize::from(short),
    };
    let payload = &bytes[*at..*at + len];
    *at += len;
    Cell { tag: u64::from(tag), payload }
}

/// The allocation that a request for `bytes` really occupies: multiples of 8 up to 64, then four classes to each doubling, which
/// mimalloc and jemalloc have in common. What it rounds up is room to grow at no cost.
pub(crate) const fn allocation_class(bytes: usize) -> usize {
    if bytes <= 64 {
        return bytes.next_multiple_of(8);
    }
    let step = (bytes - 1).ilog2() - 2;
    bytes.next_multiple_of(1 << step)
}

/// Makes an allocation larger or smaller; what is new is zero.
pub(crate) fn resize(bytes: &mut Box<[u8]>, to: usize) {
    let mut moved = std::mem::take(bytes).into_vec();
    moved.truncate(to);
    moved.reserve_exact(to - moved.len());
    moved.resize(to, 0);
    *bytes = moved.into_boxed_slice();
}

const fn invert(tags: [u8; 15]) -> [u8; 256] {
    let mut nibbles = [NIBBLE_ESCAPE; 256];
    let mut nibble = 0;
    while nibble < NIBBLE_ESCAPE {
        nibbles[tags[nibble as usize] as usize] = nibble;
        nibble += 1;
    }
    nibbles
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Elements around every border of the format.
    pub(crate) fn element() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            4 => (0..20u32).prop_map(|n| n.to_string().into_bytes()),
            2 => any::<i64>().prop_map(|n| n.to_string().into_bytes()),
            2 => (0..64u32, -2..=2i64).prop_map(|(bit, off)| (1i64 << bit.min(62)).wrapping_add(off).to_string().into_bytes()),
            1 => (0..64u32, -2..=2i64).prop_map(|(bit, off)| (-1i64 << bit).wrapping_add(off).to_string().into_bytes()),
            2 => proptest::collection::vec(any::<u8>(), 0..24),
            1 => (prop_oneof![Just(0xEFusize), Just(0xF0), Just(255), Just(256), 0..700usize]).prop_map(|n| vec![b'x'; n]),
            1 => proptest::sample::select(vec!["-0", "007", "+1", "", "-", "9223372036854775808"]).prop_map(|s| s.into()),
        ]
    }

    fn text(cell: Cell<'_>) -> Vec<u8> {
        cell.text(&mut [0; I64_TEXT_MAX]).to_vec()
    }

    fn model_test<const COLUMNS: usize>(ops: Vec<(u8, usize, Vec<u8>, Vec<u8>)>) {
        let mut packed = Packed::<COLUMNS>::new();
        let mut model: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        for (op, at, first, second) in ops {
            let second = if COLUMNS == 1 { Vec::new() } else { second };
            let (a, b) = (Form::of(&first), Form::of(&second));
            let held = (packed.clone(), model.clone());
            let place = packed.iter().nth(at % model.len().max(1)).map(|(place, _)| place);
            let at = at % model.len().max(1);
            match (op, place) {
                (0..4, _) | (_, None) => {
                    assert!(packed.has_room(&a, &b));
                    packed.push(&a, &b);
                    model.push((first.clone(), second.clone()));
                }
                (4, Some(place)) => {
                    packed.remove(place);
                    model.remove(at);
                }
                (5, Some(place)) => {
                    packed.insert(place, &a, &b);
                    model.insert(at, (first.clone(), second.clone()));
                }
                (_, Some(place)) => {
                    packed.replace(place, &a, &b);
                    model[at] = (first.clone(), second.clone());
                }
            }
            for (packed, model) in [(&held.0, &held.1), (&packed, &model)] {
                let rows: Vec<_> = packed.iter().map(|(_, row)| (text(row.first), text(row.second))).collect();
                assert_eq!(&rows, model);
                assert_eq!(packed.len(), model.len());
            }
            let found = packed.find(&Form::of(&first)).map(|(_, row)| text(row.second));
            assert_eq!(found, model.iter().find(|row| row.0 == first).map(|row| row.1.clone()));
            assert_eq!(packed.bytes(), allocation_class(packed.bytes()), "a class of the allocator");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]
        #[test]
        fn a_packed_collection_is_a_vector(ops in proptest::collection::vec((0..7u8, any::<usize>(), element(), element()), 1..40)) {
            model_test::<1>(ops.clone());
            model_test::<2>(ops);
        }
    }

    #[test]
    fn elements_take_the_bytes_that_the_head_promises() {
        let size = |text: &str| row_size::<2>(&Form::of(text.as_bytes()), &Form::of(b""));
        let cases = [
            ("", 1),
            ("a", 2),
            ("10", 2),
            ("-128", 2),
            ("128", 3),
            ("32768", 5),
            ("2147483648", 10),
            ("abcdefghi", 11),
        ];
        for (text, bytes) in cases {
            assert_eq!(size(text), bytes, "{text:?}");
        }
        assert_eq!(row_size::<2>(&Form::of(b"field-01"), &Form::of(b"value-0123456789")), 25);
    }

    #[test]
    fn a_record_with_a_deadline_gives_it_back_at_eight_bytes_at_most() {
        for (first, second) in [("f", "v"), ("", ""), ("field-of-nine", "12345"), ("f", "-9223372036854775808")] {
            for at in [Millis(0), Millis(1), Millis(0x0102_0304_0506), DEADLINE_MAX] {
                let (first, second) = (Form::of(first.as_bytes()), Form::of(second.as_bytes()));
                let (plain, timed) = (row_size::<2>(&first, &second), second.until(Some(at)));
                let mut bytes = vec![0; row_size::<2>(&first, &timed)];
                assert!(bytes.len() - plain <= 2 + DEADLINE_BYTES);
                write_row::<2>(&mut bytes, &first, &timed);
                let row = parse::<2>(&bytes);
                assert_eq!((row.first, row.second, row.deadline), (first.cell(), second.cell(), Some(at)));
                assert_eq!(row.size, bytes.len());
            }
        }
    }

    #[test]
    fn allocation_classes_are_tight() {
        for bytes in 1..10_000usize {
            let class = allocation_class(bytes);
            assert!(class >= bytes && (class - bytes) * 5 <= class.max(64) * 2 && allocation_class(class) == class);
        }
        assert_eq!([65, 80, 81, 250, 257, 4097].map(allocation_class), [80, 80, 96, 256, 320, 5120]);
    }
}
