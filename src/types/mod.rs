//! Layer 1: the data structures behind the values. No keyspace, no clock, no protocol.
pub mod dict;
pub mod rope;

use rope::Rope;

/// A value that does not fit in its entry.
#[derive(Clone, Debug)]
pub enum Object {
    Rope(Rope),
}

/// How a step of sliced work ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    Done,
    More,
}

impl Object {
    pub fn bytes(&self) -> usize {
        match self {
            Self::Rope(rope) => rope.bytes(),
        }
    }

    /// Gives back at most `budget` nodes and lowers it by as many.
    pub fn free_step(&mut self, budget: &mut usize) -> Progress {
        match self {
            Self::Rope(rope) => rope.free_step(budget),
        }
    }
}
