//! A leaf: its slots, its records, its long elements. Slots are in no order; a fingerprint finds the one that is asked for: its first byte in
//! sixteen or more at a time, its second where that is equal, which by chance it is in four of ten look-ups of a full leaf. Each of those would read
//! two lines of memory, the offset's and the record's, for nothing.

use super::room::{FINGERPRINT_BYTES, LEAF_HEAD, SLOT_BYTES};
use super::row::{Input, Long, NewRow};
use super::{CURSOR_BITS, INLINE_MAX, Pair, Rope, Value, narrow};
use crate::base::ascii::I64_TEXT_MAX;
use crate::base::hash::HashKey;
use crate::base::time::Millis;
use crate::types::packed::{Cell, Form, Row, parse, row_size, write_row};
use triomphe::{Arc, HeaderSlice};

/// Head and data are one allocation.
#[derive(Clone, Debug)]
pub(super) struct Leaf(pub(super) Arc<HeaderSlice<Head, [u8]>>);

/// A leaf in the hands of its only owner.
pub(super) struct LeafMut<'l> {
    pub(super) head: &'l mut Head,
    pub(super) data: &'l mut [u8],
}

#[derive(Debug, Default)]
pub(super) struct Head {
    pub(super) longs: Vec<Option<Long>>,
    /// Sum of the ropes' bytes.
    pub(super) long_bytes: usize,
    pub(super) count: u16,
    pub(super) slots: u16,
    /// End of the records in `data`.
    pub(super) used: u16,
    /// Bytes of removed records below `used`.
    pub(super) dead: u16,
}

impl std::ops::Deref for Leaf {
    type Target = Head;

    fn deref(&self) -> &Head {
        &self.0.header
    }
}

impl Leaf {
    #[inline]
    pub(super) fn data(&self) -> &[u8] {
        &self.0.slice
    }

    /// The leaf for writing, unless somebody else holds it too.
    #[inline]
    pub(super) fn alone(&mut self) -> Option<LeafMut<'_>> {
        let HeaderSlice { header, slice } = Arc::get_mut(&mut self.0)?;
        Some(LeafMut { head: header, data: slice })
    }

    pub(super) fn bytes(&self) -> usize {
        LEAF_HEAD + self.data().len() + self.longs.capacity() * size_of::<Option<Long>>() + self.long_bytes
    }

    /// Bytes of live records.
    pub(super) fn live(&self) -> usize {
        usize::from(self.used) - SLOT_BYTES * usize::from(self.slots) - usize::from(self.dead)
    }

    /// Bytes of data that the elements need.
    pub(super) fn content(&self) -> usize {
        self.live() + SLOT_BYTES * usize::from(self.count)
    }

    #[inline]
    pub(super) fn offset(&self, slot: usize) -> usize {
        self.0.header.offset(self.data(), slot)
    }

    #[inline]
    pub(super) fn row<const COLUMNS: usize>(&self, slot: usize) -> Row<'_> {
        parse::<COLUMNS>(&self.data()[self.offset(slot)..])
    }

    pub(super) fn rows<const COLUMNS: usize>(&self) -> impl Iterator<Item = Row<'_>> {
        (0..usize::from(self.count)).map(|slot| self.row::<COLUMNS>(slot))
    }

    pub(super) fn living_rows<const COLUMNS: usize>(&self, now: Millis) -> impl Iterator<Item = Row<'_>> {
        self.rows::<COLUMNS>().filter(move |row| !row.is_due(now))
    }

    pub(super) fn pair<'s>(&'s self, row: Row<'s>) -> Pair<'s> {
        Pair { first: self.value(row.first), second: self.value(row.second), deadline: row.deadline }
    }

    #[inline]
    fn value<'s>(&'s self, cell: Cell<'s>) -> Value<'s> {
        match cell.elsewhere() {
            None => Value::Short(cell),
            Some(place) => Value::Long(&self.long(place).rope),
        }
    }

    pub(super) fn long(&self, place: usize) -> &Long {
        self.longs[place].as_ref().expect("a record's long element is there")
    }

    #[inline]
    pub(super) fn find<const COLUMNS: usize>(&self, hash: u64, first: &[u8]) -> Option<(usize, Row<'_>)> {
        let form = (first.len() <= INLINE_MAX).then(|| Form::of(first));
        let (count, [low, high]) = (usize::from(self.count), fingerprint(hash));
        let (lows, rest) = self.data().split_at(usize::from(self.slots));
        memchr::memchr_iter(low, &lows[..count]).filter(|&slot| rest[slot] == high).find_map(|slot| {
            let row = self.row::<COLUMNS>(slot);
            let equal = match &form {
                Some(form) => row.first == form.cell(),
                None => row.first.elsewhere().is_some_and(|place| {
                    let long = self.long(place);
                    long.hash == hash && long.rope.equals(first)
                }),
            };
            equal.then_some((slot, row))
        })
    }

    pub(super) fn hash_of(&self, row: Row<'_>, hasher: &HashKey) -> u64 {
        match row.first.elsewhere() {
            Some(place) => self.long(place).hash,
            None => hasher.bytes(row.first.text(&mut [0; I64_TEXT_MAX])),
        }
    }

    /// Visits, in hash order, `count` records from `cursor` on; the cursor of the next one if there is one in this leaf.
    pub(super) fn scan_part<const COLUMNS: usize>(
        &self,
        cursor: u64,
        count: usize,
        now: Millis,
        hasher: &HashKey,
        visit: &mut impl FnMut(Pair<'_>),
    ) -> Option<u64> {
        let mut wanted: Vec<(u64, Row<'_>)> = self
            .living_rows::<COLUMNS>(now)
            .map(|row| (self.hash_of(row, hasher) >> (64 - CURSOR_BITS), row))
            .filter(|&(prefix, _)| prefix >= cursor)
            .collect();
        wanted.sort_unstable_by_key(|&(prefix, _)| prefix);
        let mut last = None;
        for (visited, (prefix, row)) in wanted.into_iter().enumerate() {
            if visited >= count && last != Some(prefix) {
                return Some(prefix);
            }
            visit(self.pair(row));
            last = Some(prefix);
        }
        None
    }
}

impl Head {
    #[inline]
    pub(super) fn fingerprint(&self, data: &[u8], slot: usize) -> [u8; FINGERPRINT_BYTES] {
        [data[slot], data[usize::from(self.slots) + slot]]
    }

    /// Where the record of `slot` begins in the leaf's data.
    #[inline]
    pub(super) fn offset(&self, data: &[u8], slot: usize) -> usize {
        let at = FINGERPRINT_BYTES * usize::from(self.slots) + 2 * slot;
        usize::from(u16::from_le_bytes([data[at], data[at + 1]]))
    }
}

impl LeafMut<'_> {
    #[inline]
    pub(super) fn offset(&self, slot: usize) -> usize {
        self.head.offset(self.data, slot)
    }

    #[inline]
    pub(super) fn row<const COLUMNS: usize>(&self, slot: usize) -> Row<'_> {
        parse::<COLUMNS>(&self.data[self.offset(slot)..])
    }

    /// Appends a record; the caller has seen that a slot and the bytes are free.
    pub(super) fn push<const COLUMNS: usize>(&mut self, row: &NewRow<'_>) {
        let start = self.open(row.hash, row.size);
        self.write::<COLUMNS>(start, row);
    }

    /// A slot and `size` bytes behind all records, for one of this hash; where they begin.
    pub(super) fn open(&mut self, hash: u64, size: usize) -> usize {
        let (slot, start) = (usize::from(self.head.count), usize::from(self.head.used));
        assert!(self.head.count < self.head.slots && start + size <= self.data.len(), "the caller made room");
        self.stamp(slot, fingerprint(hash));
        self.point(slot, start);
        self.head.count += 1;
        self.head.used = narrow(start + size);
        start
    }

    pub(super) fn write<const COLUMNS: usize>(&mut self, start: usize, row: &NewRow<'_>) {
        let second = row.second.as_ref().expect("a record that is written is whole");
        let (first, second) = (self.take_in(&row.first), self.take_in(second).until(row.deadline));
        write_row::<COLUMNS>(&mut self.data[start..start + row.size], &first, &second);
    }

    /// The bytes of the record in `slot` with another deadline.
    pub(super) fn restamped<const COLUMNS: usize>(&self, slot: usize, deadline: Option<Millis>) -> Vec<u8> {
        let row = self.row::<COLUMNS>(slot);
        let (first, second) = (Form::from(row.first), Form::from(row.second).until(deadline));
        let mut bytes = vec![0; row_size::<COLUMNS>(&first, &second)];
        write_row::<COLUMNS>(&mut bytes, &first, &second);
        bytes
    }

    fn take_in<'a>(&mut self, input: &Input<'a>) -> Form<'a> {
        match input {
            Input::Short(form) => *form,
            Input::Long(long) => Form::elsewhere(self.keep(long.clone())),
        }
    }

    pub(super) fn keep(&mut self, long: Long) -> usize {
        self.head.long_bytes += long.rope.bytes();
        match self.head.longs.iter().position(Option::is_none) {
            Some(free) => {
                self.head.longs[free] = Some(long);
                free
            }
            None => {
                self.head.longs.push(Some(long));
                self.head.longs.len() - 1
            }
        }
    }

    /// Moves the long elements of the record in `slot` out.
    pub(super) fn bury<const COLUMNS: usize>(&mut self, slot: usize, graves: &mut Vec<Rope>) {
        let row = self.row::<COLUMNS>(slot);
        for place in [row.first.elsewhere(), row.second.elsewhere()].into_iter().flatten() {
            let long = self.head.longs[place].take().expect("a record's long element is there");
            self.head.long_bytes -= long.rope.bytes();
            graves.push(long.rope);
        }
    }

    /// Forgets the record in `slot`; the last slot takes its place.
    pub(super) fn forget<const COLUMNS: usize>(&mut self, slot: usize) {
        let size = self.row::<COLUMNS>(slot).size;
        let last = usize::from(self.head.count) - 1;
        self.stamp(slot, self.head.fingerprint(self.data, last));
        self.point(slot, self.offset(last));
        self.head.count -= 1;
        self.head.dead += narrow(size);
    }

    /// Writes a fingerprint: its two bytes are in two rows.
    pub(super) fn stamp(&mut self, slot: usize, [low, high]: [u8; FINGERPRINT_BYTES]) {
        self.data[slot] = low;
        self.data[usize::from(self.head.slots) + slot] = high;
    }

    pub(super) fn point(&mut self, slot: usize, offset: usize) {
        let at = FINGERPRINT_BYTES * usize::from(self.head.slots) + 2 * slot;
        self.data[at..at + 2].copy_from_slice(&narrow(offset).to_le_bytes());
    }
}

/// The low bytes: the levels of the trie use the high bits.
#[inline]
fn fingerprint(hash: u64) -> [u8; FINGERPRINT_BYTES] {
    let [low, high, ..] = hash.to_le_bytes();
    [low, high]
}
