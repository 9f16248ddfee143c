//! Replies that have not left yet.
//!
//! ```text
//!  bytes   $5\r\nhello\r\n$1048576\r\n | \r\n:1\r\n
//!                                      ^ at          shared: [{ at, value: 1 MiB }]
//! ```
//!
//! Small replies are copied into `bytes`. A large value is not: it is shared with the keyspace and spliced in at its place when
//! the driver scatters the output over its sends. A rope is shared as a whole, so that a reply of a gigabyte is written in the time of one of
//! twenty kilobytes.

use std::ops::{Deref, Range};

use bytes::Bytes;

use crate::types::rope::Rope;

/// A connection's unsent replies, in order.
#[derive(Clone, Debug, Default)]
pub struct Output {
    pub bytes: Vec<u8>,
    /// Sorted by `at`; several may stand at one place.
    pub shared: Splices,
}

/// The large values of an output: mostly none, which takes one word. Outputs are moved about for each reply that another lane owes.
#[expect(clippy::box_collection, reason = "the word is the point")]
#[derive(Clone, Debug, Default)]
pub struct Splices(Option<Box<Vec<Splice>>>);

impl Splices {
    fn list(&mut self) -> &mut Vec<Splice> {
        self.0.get_or_insert_default()
    }

    fn truncate(&mut self, len: usize) {
        if let Some(list) = &mut self.0 {
            list.truncate(len);
        }
    }

    #[inline]
    pub fn clear(&mut self) {
        self.truncate(0);
    }

    /// Takes all but the first `kept` of them out.
    pub fn take_from(&mut self, kept: usize) -> std::vec::IntoIter<Splice> {
        let taken = match &mut self.0 {
            Some(list) if kept > 0 => list.split_off(kept),
            Some(list) => std::mem::take(&mut **list),
            None => Vec::new(),
        };
        taken.into_iter()
    }
}

impl Deref for Splices {
    type Target = [Splice];

    #[inline]
    fn deref(&self) -> &[Splice] {
        self.0.as_ref().map_or(&[], |list| list)
    }
}

impl IntoIterator for Splices {
    type Item = Splice;
    type IntoIter = std::vec::IntoIter<Splice>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.map(|list| *list).unwrap_or_default().into_iter()
    }
}

/// `value` goes out after the first `at` bytes of [`Output::bytes`].
#[derive(Clone, Debug)]
pub struct Splice {
    pub at: usize,
    pub value: Shared,
}

/// What an output holds together with others.
#[derive(Clone, Debug)]
pub enum Shared {
    Piece(Bytes),
    /// A part of a rope.
    Rope(Rope, Range<usize>),
}

impl Shared {
    pub fn len(&self) -> usize {
        match self {
            Self::Piece(bytes) => bytes.len(),
            Self::Rope(_, range) => range.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All but its first `skip` bytes, in pieces that stay where they are while this lives.
    pub fn pieces(&self, skip: usize) -> impl Iterator<Item = &[u8]> {
        let (piece, rope) = match self {
            Self::Piece(bytes) => (bytes.get(skip..), None),
            Self::Rope(rope, range) => (None, Some(rope.chunks((range.start + skip).min(range.end)..range.end))),
        };
        piece.into_iter().chain(rope.into_iter().flatten()).filter(|piece| !piece.is_empty())
    }
}

/// A place in an output to return to when a handler fails half way.
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    bytes: usize,
    shared: usize,
}

impl Output {
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty() && self.shared.is_empty()
    }

    /// Bytes that will go over the wire.
    pub fn len(&self) -> usize {
        self.bytes.len() + self.shared.iter().map(|splice| splice.value.len()).sum::<usize>()
    }

    pub fn push_shared(&mut self, value: Shared) {
        let at = self.bytes.len();
        self.shared.list().push(Splice { at, value });
    }

    pub fn mark(&self) -> Mark {
        Mark { bytes: self.bytes.len(), shared: self.shared.len() }
    }

    /// Forgets what was written after `mark`.
    pub fn truncate(&mut self, mark: Mark) {
        self.bytes.truncate(mark.bytes);
        self.shared.truncate(mark.shared);
    }

    /// Forgets what was written after `mark`, and hands out what of it is shared.
    pub fn cut_off(&mut self, mark: Mark) -> std::vec::IntoIter<Splice> {
        self.bytes.truncate(mark.bytes);
        self.shared.take_from(mark.shared)
    }

    /// Whether what was written before `mark` is still here.
    pub fn reaches(&self, mark: Mark) -> bool {
        self.bytes.len() >= mark.bytes && self.shared.len() >= mark.shared
    }

    /// Takes what was written after `mark`. What stays keeps its buffer.
    #[must_use]
    pub fn split_off(&mut self, mark: Mark) -> Self {
        let mut taken = Self::default();
        taken.append_part(&self.bytes[mark.bytes..], &self.shared[mark.shared..], mark.bytes);
        self.truncate(mark);
        taken
    }

    /// Appends all of this to another, large values by reference.
    pub fn copy_to(&self, other: &mut Self) {
        other.append_part(&self.bytes, &self.shared, 0);
    }

    /// Appends all of it, without copying if this is empty.
    pub fn append(&mut self, other: Self) {
        if self.is_empty() {
            *self = other;
        } else {
            other.copy_to(self);
        }
    }

    /// Appends a part of an output: bytes that began at `start` there, and the splices among them.
    pub fn append_part(&mut self, bytes: &[u8], splices: &[Splice], start: usize) {
        let shift = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        if !splices.is_empty() {
            let moved = splices.iter().map(|splice| Splice { at: splice.at - start + shift, ..splice.clone() });
            self.shared.list().extend(moved);
        }
    }

    pub fn clear(&mut self) {
        self.bytes.clear();
        self.shared.clear();
    }

    /// All of it in one piece, for tests and for whoever has no scattered send.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut flat = Vec::with_capacity(self.len());
        let mut from = 0;
        for splice in self.shared.iter() {
            flat.extend_from_slice(&self.bytes[from..splice.at]);
            splice.value.pieces(0).for_each(|piece| flat.extend_from_slice(piece));
            from = splice.at;
        }
        flat.extend_from_slice(&self.bytes[from..]);
        flat
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shared_can_be_taken_up_anywhere() {
        let bytes: Vec<u8> = (0..70_000_u32).map(|i| (i % 251) as u8).collect();
        for value in [Shared::Piece(bytes[5..].to_vec().into()), Shared::Rope(Rope::from(&bytes[..]), 5..bytes.len())] {
            assert_eq!(value.len(), bytes.len() - 5);
            for skip in [0, 1, 16_379, 16_380, 40_000, value.len() - 1, value.len(), value.len() + 1] {
                let rest: Vec<&[u8]> = value.pieces(skip).collect();
                assert_eq!(rest.concat(), &bytes[(5 + skip).min(bytes.len())..]);
                assert!(rest.iter().all(|piece| !piece.is_empty()));
            }
        }
    }
}
