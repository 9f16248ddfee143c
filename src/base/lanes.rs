//! Which lane owns what. Slots are dealt out in contiguous ranges, so that the order of the keyspace is also the order of its lanes.

use super::hash::SLOTS;

/// A shard's number among those of the server; its lane has the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardId(pub u16);

impl ShardId {
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// How many lanes share the slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lanes(u16);

impl Lanes {
    /// At least one.
    pub const fn new(count: u16) -> Self {
        Self(if count == 0 { 1 } else { count })
    }

    pub const fn count(self) -> u16 {
        self.0
    }

    #[inline]
    pub const fn is_one(self) -> bool {
        self.0 == 1
    }

    #[expect(clippy::cast_possible_truncation, reason = "a slot's share of the lanes is below their number")]
    #[inline]
    pub const fn owner(self, slot: u16) -> ShardId {
        ShardId((slot as u32 * self.0 as u32 / SLOTS as u32) as u16)
    }

    /// The first slot of a lane; of the one behind the last, the number of slots.
    #[expect(clippy::cast_possible_truncation, reason = "at most the number of slots")]
    pub const fn first_slot(self, lane: ShardId) -> u16 {
        (lane.0 as u32 * SLOTS as u32).div_ceil(self.0 as u32) as u16
    }

    /// The slots of a lane.
    pub const fn slots(self, lane: ShardId) -> std::ops::Range<u16> {
        self.first_slot(lane)..self.first_slot(ShardId(lane.0 + 1))
    }

    /// Where the range of the next lane begins, if there is one.
    pub fn after(self, lane: ShardId) -> Option<u16> {
        (lane.0 + 1 < self.0).then(|| self.first_slot(ShardId(lane.0 + 1)))
    }

    pub fn all(self) -> impl DoubleEndedIterator<Item = ShardId> + ExactSizeIterator {
        (0..self.0).map(ShardId)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_cover_every_slot_once_and_agree_with_the_owner() {
        for count in [1, 2, 3, 5, 7, 64, 1000] {
            let lanes = Lanes::new(count);
            let mut next = 0;
            for lane in lanes.all() {
                let slots = lanes.slots(lane);
                assert_eq!(slots.start, next, "{count} lanes");
                assert!(slots.clone().all(|slot| lanes.owner(slot) == lane), "{count} lanes, lane {lane:?}");
                next = slots.end;
            }
            assert_eq!(next, SLOTS);
        }
    }
}
