//! Leaves of another size. Most grow by being copied as they are: fingerprints and records each in one piece, the offsets moved by the same
//! distance. Record by record (`rebuild`) a leaf of 150 members takes twenty times as long, and one is copied for every 25 members that are added.

use super::leaf::{Head, Leaf, LeafMut};
use super::{Full, RC_BYTES, narrow};
use crate::types::packed::{Cell, Form, Row, write_row};
use triomphe::Arc;

/// What an element costs beside its record: fingerprint and offset.
pub(super) const SLOT_BYTES: usize = FINGERPRINT_BYTES + 2;
pub(super) const FINGERPRINT_BYTES: usize = 2;
pub(super) const LEAF_HEAD: usize = RC_BYTES + size_of::<Head>();
pub(super) const LEAF_DATA_MAX: usize = LEAF_BYTES_MAX - LEAF_HEAD;

/// The sizes of leaves: classes of the allocator (`packed::allocation_class`) up to one page.
pub(in crate::types) const LEAF_CLASSES: [usize; 19] =
    [128, 192, 256, 320, 384, 448, 512, 640, 768, 896, 1024, 1280, 1536, 1792, 2048, 2560, 3072, 3584, LEAF_BYTES_MAX];
pub(in crate::types) const LEAF_BYTES_MAX: usize = 4096;
const LEAF_DATA_MIN: usize = LEAF_CLASSES[0] - LEAF_HEAD;

static BLANK: [u8; LEAF_DATA_MAX] = [0; LEAF_DATA_MAX];

/// Gives back what removals have left, if that is more than half.
pub(super) fn tighten<const COLUMNS: usize>(leaf: &mut Leaf) {
    if 2 * leaf.content() < leaf.data().len() && leaf.data().len() > LEAF_DATA_MIN {
        *leaf = rebuild::<COLUMNS>(&[leaf], |_, _| true, 0).expect("a leaf with less fits");
    }
}

/// The leaf for writing. Slots keep their numbers in a copy.
pub(super) fn make_mut<const COLUMNS: usize>(leaf: &mut Leaf) -> LeafMut<'_> {
    if !leaf.0.is_unique() {
        *leaf = leaf.renewed::<COLUMNS>(0).expect("a copy without its dead fits");
    }
    leaf.alone().expect("a new leaf is owned alone")
}

/// The leaf for writing, with a free slot and `size` free bytes. Slots keep their numbers.
pub(super) fn with_room<const COLUMNS: usize>(leaf: &mut Leaf, size: usize) -> Result<LeafMut<'_>, Full> {
    let fits = leaf.count < leaf.slots && usize::from(leaf.used) + size <= leaf.data().len();
    if !fits || !leaf.0.is_unique() {
        *leaf = leaf.renewed::<COLUMNS>(size)?;
    }
    Ok(leaf.alone().expect("a new leaf is owned alone"))
}

/// A new leaf with the records of `sources` that `keep(source, slot)` names, in order, and room for one of `room` bytes.
pub(super) fn rebuild<const COLUMNS: usize>(
    sources: &[&Leaf],
    keep: impl Fn(usize, usize) -> bool,
    room: usize,
) -> Result<Leaf, Full> {
    let kept = || {
        let slots = |source: usize| (0..usize::from(sources[source].count)).map(move |slot| (source, slot));
        (0..sources.len()).flat_map(slots).filter(|&(source, slot)| keep(source, slot))
    };
    let (mut count, mut bytes, mut longs) = (0, 0, 0);
    for (source, slot) in kept() {
        let row = sources[source].row::<COLUMNS>(slot);
        count += 1;
        bytes += row.size;
        longs += usize::from(row.first.elsewhere().is_some()) + usize::from(row.second.elsewhere().is_some());
    }
    let mut rebuilt = roomy(count, bytes, room)?;
    let mut leaf = rebuilt.alone().expect("a new leaf is owned alone");
    leaf.head.longs = Vec::with_capacity(longs);
    let mut at = SLOT_BYTES * usize::from(leaf.head.slots);
    for (slot, (source, from)) in kept().enumerate() {
        let source = sources[source];
        let (row, start) = (source.row::<COLUMNS>(from), source.offset(from));
        leaf.stamp(slot, source.fingerprint(source.data(), from));
        leaf.point(slot, at);
        leaf.data[at..at + row.size].copy_from_slice(&source.data()[start..start + row.size]);
        if row.first.elsewhere().is_some() || row.second.elsewhere().is_some() {
            leaf.adopt::<COLUMNS>(at, source, row);
        }
        at += row.size;
    }
    leaf.head.count = narrow(count);
    leaf.head.used = narrow(at);
    Ok(rebuilt)
}

impl LeafMut<'_> {
    /// Takes the long elements of a copied record over from `source` and points the copy at `at` to them.
    fn adopt<const COLUMNS: usize>(&mut self, at: usize, source: &Leaf, row: Row<'_>) {
        let (first, second) = (self.share(source, row.first), self.share(source, row.second).until(row.deadline));
        write_row::<COLUMNS>(&mut self.data[at..at + row.size], &first, &second);
    }

    fn share<'a>(&mut self, source: &Leaf, cell: Cell<'a>) -> Form<'a> {
        match cell.elsewhere() {
            Some(place) => Form::elsewhere(self.keep(source.long(place).clone())),
            None => Form::from(cell),
        }
    }
}

/// An empty leaf of the smallest class with `needed` bytes of data.
pub(super) fn blank_leaf(needed: usize) -> Leaf {
    let class = LEAF_CLASSES.iter().find(|&&class| needed <= class - LEAF_HEAD);
    let class = class.expect("the caller compared with the largest leaf");
    Leaf(Arc::from_header_and_slice(Head::default(), &BLANK[..class - LEAF_HEAD]))
}

impl Leaf {
    /// The same records in a new leaf, and room for one of `room` bytes. Slots keep their numbers.
    pub(super) fn renewed<const COLUMNS: usize>(&self, room: usize) -> Result<Self, Full> {
        if self.dead > 0 {
            return rebuild::<COLUMNS>(&[self], |_, _| true, room);
        }
        let (count, live) = (usize::from(self.count), self.live());
        let mut renewed = roomy(count, live, room)?;
        let leaf = renewed.alone().expect("a new leaf is owned alone");
        let (from, to) = (SLOT_BYTES * usize::from(self.slots), SLOT_BYTES * usize::from(leaf.head.slots));
        for (from, to) in [(0, 0), (usize::from(self.slots), usize::from(leaf.head.slots))] {
            leaf.data[to..to + count].copy_from_slice(&self.data()[from..from + count]);
        }
        leaf.data[to..to + live].copy_from_slice(&self.data()[from..from + live]);
        let offsets = |slots: u16| {
            let start = FINGERPRINT_BYTES * usize::from(slots);
            start..start + 2 * count
        };
        let (old, _) = self.data()[offsets(self.slots)].as_chunks::<2>();
        let (new, _) = leaf.data[offsets(leaf.head.slots)].as_chunks_mut::<2>();
        for (new, old) in new.iter_mut().zip(old) {
            let offset = usize::from(u16::from_le_bytes(*old)) - from + to;
            *new = narrow(offset).to_le_bytes();
        }
        leaf.head.count = self.count;
        leaf.head.used = narrow(to + live);
        leaf.head.longs.clone_from(&self.longs);
        leaf.head.long_bytes = self.long_bytes;
        Ok(renewed)
    }
}

/// An empty leaf for `count` records of `bytes` in all, and one of `room` bytes more. What the class rounds up is dealt out between slots and
/// records in the proportion of those that are there.
pub(super) fn roomy(count: usize, bytes: usize, room: usize) -> Result<Leaf, Full> {
    let slots = count + usize::from(room > 0);
    let needed = bytes + room + SLOT_BYTES * slots;
    if needed > LEAF_DATA_MAX {
        return Err(Full);
    }
    let mut leaf = blank_leaf(needed);
    let writing = leaf.alone().expect("a new leaf is owned alone");
    let spare = (writing.data.len() - needed) / (SLOT_BYTES + (bytes + room).div_ceil(slots.max(1)).max(1));
    writing.head.slots = narrow(slots + spare);
    Ok(leaf)
}
