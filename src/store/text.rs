//! A string value as handlers see it: in one piece inside its entry, or a rope of leaves.

use std::borrow::Cow;
use std::ops::Range;

use super::entry::{EntryRef, ValueRef};
use crate::types::Object;
use crate::types::rope::Rope;

/// The longest text that is read as a number: Redis's bound for a float, and far beyond any integer.
const NUMBER_BYTES_MAX: usize = 5 * 1024;

/// A string, borrowed from the keyspace.
#[derive(Clone, Copy, Debug)]
pub enum Text<'s> {
    Flat(&'s [u8]),
    Rope(&'s Rope),
}

impl<'s> Text<'s> {
    /// `None`: the entry holds another type.
    #[inline]
    pub fn of(entry: EntryRef<'s>) -> Option<Self> {
        match entry.value() {
            ValueRef::Str(flat) => Some(Self::Flat(flat)),
            ValueRef::Object(Object::Rope(rope)) => Some(Self::Rope(rope)),
            ValueRef::Object(_) => None,
        }
    }

    #[inline]
    pub fn len(self) -> usize {
        match self {
            Self::Flat(flat) => flat.len(),
            Self::Rope(rope) => rope.len(),
        }
    }

    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// In one piece, if it is short enough that it may be a number: a string of a gigabyte is not copied to learn that it is none.
    pub fn as_number(self) -> Option<Cow<'s, [u8]>> {
        match self {
            Self::Flat(flat) => Some(Cow::Borrowed(flat)),
            Self::Rope(rope) if rope.len() > NUMBER_BYTES_MAX => None,
            Self::Rope(_) => Some(Cow::Owned(self.read(0..self.len()))),
        }
    }

    /// A copy of part of it.
    pub fn read(self, range: Range<usize>) -> Vec<u8> {
        match self {
            Self::Flat(flat) => flat[range].to_vec(),
            Self::Rope(rope) => {
                let mut out = Vec::with_capacity(range.len());
                rope.read_into(range, &mut out);
                out
            }
        }
    }

    pub fn equals(self, other: &[u8]) -> bool {
        match self {
            Self::Flat(flat) => flat == other,
            Self::Rope(rope) => rope.equals(other),
        }
    }
}
