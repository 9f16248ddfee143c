//! A record as it is found, and what a write did to it.

use super::Rope;
use crate::base::ascii::I64_TEXT_MAX;
use crate::base::time::Millis;
use crate::types::packed::{Cell, Row};

/// An element as found: short, or long and in pieces.
#[derive(Clone, Copy, Debug)]
pub enum Value<'a> {
    Short(Cell<'a>),
    Long(&'a Rope),
}

#[derive(Clone, Copy, Debug)]
pub struct Pair<'a> {
    pub first: Value<'a>,
    pub second: Value<'a>,
    pub deadline: Option<Millis>,
}

/// What a write did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    Added,
    Updated,
}

impl<'a> Pair<'a> {
    /// A record whose elements are both inside it.
    pub(crate) fn short(row: Row<'a>) -> Self {
        Self { first: Value::Short(row.first), second: Value::Short(row.second), deadline: row.deadline }
    }

    /// Whether its time has come: nobody sees it, though perhaps it was not collected yet.
    #[inline]
    pub fn is_due(&self, now: Millis) -> bool {
        self.deadline.is_some_and(|at| at <= now)
    }
}

impl Value<'_> {
    pub fn len(self) -> usize {
        match self {
            Self::Short(cell) => cell.text(&mut [0; I64_TEXT_MAX]).len(),
            Self::Long(rope) => rope.len(),
        }
    }

    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    pub fn read_into(self, out: &mut Vec<u8>) {
        match self {
            Self::Short(cell) => out.extend_from_slice(cell.text(&mut [0; I64_TEXT_MAX])),
            Self::Long(rope) => rope.read_into(0..rope.len(), out),
        }
    }
}
