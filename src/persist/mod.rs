//! The formats of files, sans-IO: bytes in, records out, and back.
//!
//! ```text
//!  record   one effect, or all those of a command, as RESP               what is repeated after a crash
//!  block    a header with checksums around a part of a lane's stream     what one write brings to the disk
//!  tail     what was appended to a stream -> blocks
//!  stream   blocks of a file -> records; torn, broken, or whole          what a reader sees
//!  cut      how far each lane's stream counts after a crash              no half transaction
//!  manifest the files that together hold the keyspace, in their order
//! ```
//!
//! A *position* counts the bytes of a lane's stream, headers of blocks not included: all that says how far something has come is in
//! these, whatever the files are cut into.

pub mod block;
pub mod cut;
pub mod manifest;
pub mod record;
pub mod stream;
pub mod tail;

use std::fmt;

/// How far a lane's stream has come: bytes of records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub u64);

impl Position {
    /// Behind everything.
    pub const MAX: Self = Self(u64::MAX);

    #[must_use]
    pub fn after(self, bytes: usize) -> Self {
        Self(self.0 + bytes as u64)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
