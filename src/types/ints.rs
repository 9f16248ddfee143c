//! Integers in ascending order: the form of a set that has no other members, and few.
//!
//! ```text
//!  Ints     [width u8][0][count u16][number][number]...          one allocation, sized to the allocator's classes
//!  number   `width` bytes, 2, 4 or 8: what the widest number that ever was in it needs; little endian, two's complement
//! ```
//!
//! The idea is Redis's intset: two bytes a member, found by halving. Like a packed collection (`packed.rs`) it is a single bounded
//! node that is never shared. Absent: narrowing, as in Redis; what was once wide is seldom narrow for long.

use super::packed::{Cell, allocation_class, resize};

/// Bytes that one collection takes at most, whatever thresholds are configured: the most that a clone or an insertion copies.
/// Redis's default (512 numbers) fits five times over at its widest.
const INTS_BYTES_MAX: usize = 20 << 10;

/// Width and count.
const HEAD_BYTES: usize = 4;

#[derive(Clone, Debug, Default)]
pub struct Ints {
    /// Empty, or head, numbers and room to grow.
    bytes: Box<[u8]>,
}

impl Ints {
    #[inline]
    pub fn len(&self) -> usize {
        match self.bytes[..] {
            [_, _, low, high, ..] => usize::from(u16::from_le_bytes([low, high])),
            _ => 0,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    #[inline]
    pub fn contains(&self, number: i64) -> bool {
        self.position(number).is_ok()
    }

    /// Whether one more number keeps the collection inside its bounds.
    pub fn has_room(&self, number: i64) -> bool {
        HEAD_BYTES + (self.len() + 1) * width_of(number).max(self.width()) <= INTS_BYTES_MAX
    }

    /// Whether the number is new. There must be room for it.
    pub fn insert(&mut self, number: i64) -> bool {
        let Err(place) = self.position(number) else { return false };
        let width = width_of(number).max(self.width());
        if width > self.width() {
            self.widen(width);
        }
        let (len, at) = (self.len(), HEAD_BYTES + place * width);
        let end = HEAD_BYTES + len * width;
        if end + width > self.bytes.len() {
            resize(&mut self.bytes, allocation_class(end + width));
        }
        self.bytes.copy_within(at..end, at + width);
        self.bytes[at..at + width].copy_from_slice(&number.to_le_bytes()[..width]);
        self.set_head(width, len + 1);
        true
    }

    /// Whether the number was there.
    pub fn remove(&mut self, number: i64) -> bool {
        let Ok(place) = self.position(number) else { return false };
        self.remove_nth(place);
        true
    }

    /// Removes the number at this place in the order.
    pub fn remove_nth(&mut self, place: usize) {
        let (len, width) = (self.len(), self.width());
        let (at, end) = (HEAD_BYTES + place * width, HEAD_BYTES + len * width);
        self.bytes.copy_within(at + width..end, at);
        self.set_head(width, len - 1);
        if end - width < self.bytes.len() / 2 {
            resize(&mut self.bytes, allocation_class(end - width));
        }
    }

    /// The number at this place in the order.
    #[inline]
    pub fn nth(&self, place: usize) -> Option<Cell<'_>> {
        let width = self.width();
        let at = HEAD_BYTES + place * width;
        (place < self.len()).then(|| Cell::of_number(&self.bytes[at..at + width]))
    }

    pub fn iter(&self) -> impl DoubleEndedIterator<Item = Cell<'_>> {
        let end = HEAD_BYTES + self.len() * self.width();
        self.bytes.get(HEAD_BYTES..end).unwrap_or_default().chunks_exact(self.width()).map(Cell::of_number)
    }

    /// Where the number is, or where it would be.
    fn position(&self, number: i64) -> Result<usize, usize> {
        match self.width() {
            2 => self.numbers().binary_search_by(|held| i64::from(i16::from_le_bytes(*held)).cmp(&number)),
            4 => self.numbers().binary_search_by(|held| i64::from(i32::from_le_bytes(*held)).cmp(&number)),
            _ => self.numbers().binary_search_by(|held| i64::from_le_bytes(*held).cmp(&number)),
        }
    }

    fn numbers<const WIDTH: usize>(&self) -> &[[u8; WIDTH]] {
        let end = HEAD_BYTES + self.len() * WIDTH;
        self.bytes.get(HEAD_BYTES..end).unwrap_or_default().as_chunks().0
    }

    #[inline]
    fn width(&self) -> usize {
        self.bytes.first().map_or(2, |width| usize::from(*width))
    }

    fn widen(&mut self, width: usize) {
        let bytes = allocation_class(HEAD_BYTES + (self.len() + 1) * width);
        let mut wider = vec![0; bytes].into_boxed_slice();
        for (to, number) in wider[HEAD_BYTES..].chunks_exact_mut(width).zip(self.iter()) {
            let number = number.as_int().expect("what is here is a number");
            to.copy_from_slice(&number.to_le_bytes()[..width]);
        }
        let len = self.len();
        self.bytes = wider;
        self.set_head(width, len);
    }

    fn set_head(&mut self, width: usize, len: usize) {
        let len = u16::try_from(len).expect("has_room bounds the count");
        self.bytes[0] = u8::try_from(width).expect("8 at most");
        self.bytes[2..HEAD_BYTES].copy_from_slice(&len.to_le_bytes());
    }
}

fn width_of(number: i64) -> usize {
    match number {
        -0x8000..=0x7FFF => 2,
        -0x8000_0000..=0x7FFF_FFFF => 4,
        _ => 8,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    /// Numbers around every border of the format, some of them often.
    fn number() -> impl Strategy<Value = i64> {
        prop_oneof![
            4 => -20..20i64,
            2 => (0..63u32, -2..=2i64, any::<bool>()).prop_map(|(bit, off, negative)| {
                let number = (1i64 << bit).wrapping_add(off);
                if negative { number.wrapping_neg() } else { number }
            }),
            1 => any::<i64>(),
            1 => Just(i64::MIN),
        ]
    }

    proptest! {
        #[test]
        fn integers_are_an_ordered_set(ops in proptest::collection::vec((number(), 0..4u8, any::<usize>()), 1..80)) {
            let (mut ints, mut model) = (Ints::default(), BTreeSet::new());
            for (number, op, place) in ops {
                let held = (ints.clone(), model.clone());
                match op {
                    0..2 => {
                        prop_assert!(ints.has_room(number));
                        prop_assert_eq!(ints.insert(number), model.insert(number));
                    }
                    2 => prop_assert_eq!(ints.remove(number), model.remove(&number)),
                    _ => if let Some(&number) = model.iter().nth(place % model.len().max(1)) {
                        ints.remove_nth(place % model.len());
                        model.remove(&number);
                    },
                }
                prop_assert_eq!(ints.contains(number), model.contains(&number));
                for (ints, model) in [(&held.0, &held.1), (&ints, &model)] {
                    let listed: Vec<i64> = ints.iter().filter_map(Cell::as_int).collect();
                    prop_assert_eq!(&listed, &model.iter().copied().collect::<Vec<_>>());
                    prop_assert_eq!(ints.len(), model.len());
                    let picked: Vec<i64> = (0..=model.len()).filter_map(|at| ints.nth(at)?.as_int()).collect();
                    prop_assert_eq!(picked, listed);
                    prop_assert_eq!(ints.bytes(), allocation_class(ints.bytes()));
                }
            }
        }
    }

    #[test]
    fn a_number_takes_the_bytes_that_the_widest_needs() {
        let mut ints = Ints::default();
        for (number, bytes) in [(1, 8), (2, 8), (3, 16), (1 << 20, 24), (1 << 40, 48)] {
            ints.insert(number);
            assert_eq!(ints.bytes(), bytes, "with {number}");
        }
    }

    #[test]
    fn there_is_no_room_beyond_the_bound() {
        let mut ints = Ints::default();
        while ints.has_room(ints.len() as i64) {
            ints.insert(ints.len() as i64);
        }
        assert_eq!(ints.len(), (INTS_BYTES_MAX - HEAD_BYTES) / 2);
        assert!(!ints.has_room(i64::MAX));
    }
}
