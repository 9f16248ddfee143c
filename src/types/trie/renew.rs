//! A leaf copied as it is, which is how most of them grow: fingerprints and records each in one piece, the offsets moved by the same distance.
//! Record by record (`rebuild`) a leaf of 150 members takes twenty times as long, and one is copied for every 25 members that are added.

use super::{Full, LEAF_DATA_MAX, Leaf, SLOT_BYTES, blank_leaf, narrow, rebuild};

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
        leaf.data[..count].copy_from_slice(&self.data()[..count]);
        leaf.data[to..to + live].copy_from_slice(&self.data()[from..from + live]);
        let offsets = |slots: u16| usize::from(slots)..usize::from(slots) + 2 * count;
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
