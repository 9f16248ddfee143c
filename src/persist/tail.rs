//! Writing a lane's stream: records in, blocks out.
//!
//! ```text
//!  append   ...record record record|              end
//!  take        [header|.............][header|...]       as much as a write brings at once
//!                                                ^ taken
//! ```

use std::collections::VecDeque;

use super::Position;
use super::block::{BODY_BYTES_MAX, HEADER_BYTES, Header, Origin};

/// Buffers of this size are filled one after the other, so that a long backlog is neither moved nor grown as a whole.
const CHUNK_BYTES: usize = BODY_BYTES_MAX;

/// What was appended to a stream and not yet taken.
#[derive(Debug)]
pub struct Tail {
    origin: Origin,
    chunks: VecDeque<Vec<u8>>,
    taken: Position,
    end: Position,
}

/// What the blocks of a write are to say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Known {
    pub synced: Position,
    pub firm: Position,
}

impl Tail {
    /// A stream that goes on at `start`.
    pub fn new(origin: Origin, start: Position) -> Self {
        Self { origin, chunks: VecDeque::new(), taken: start, end: start }
    }

    /// Where the next record will begin.
    #[inline]
    pub fn end(&self) -> Position {
        self.end
    }

    /// Up to where it was taken.
    pub fn taken(&self) -> Position {
        self.taken
    }

    pub fn is_empty(&self) -> bool {
        self.taken == self.end
    }

    /// Bytes that are not taken.
    pub fn backlog(&self) -> usize {
        usize::try_from(self.end.0 - self.taken.0).expect("it is in memory")
    }

    /// Appends records.
    pub fn append(&mut self, mut records: &[u8]) {
        self.end = self.end.after(records.len());
        while !records.is_empty() {
            let room = self.chunks.back().map_or(0, |chunk| CHUNK_BYTES - chunk.len());
            if room == 0 {
                self.chunks.push_back(Vec::new());
                continue;
            }
            let (now, later) = records.split_at(room.min(records.len()));
            self.chunks.back_mut().expect("just looked at").extend_from_slice(now);
            records = later;
        }
    }

    /// Appends blocks of up to `max` bytes to `out`, at least one if there is anything. Summing them is what takes its time.
    pub fn take(&mut self, known: Known, max: usize, out: &mut Vec<u8>) {
        let before = out.len();
        while let Some(chunk) = self.chunks.front().filter(|chunk| !chunk.is_empty()) {
            let wanted = HEADER_BYTES + chunk.len();
            if out.len() > before && out.len() - before + wanted > max {
                return;
            }
            out.reserve(wanted);
            out.extend_from_slice(&Header::of(self.origin, self.taken, known.synced, known.firm, chunk).to_bytes());
            out.extend_from_slice(chunk);
            self.taken = self.taken.after(chunk.len());
            // The last one keeps its memory for what comes next.
            if self.chunks.len() > 1 {
                self.chunks.pop_front();
            } else {
                self.chunks.front_mut().expect("just looked at").clear();
                return;
            }
        }
    }

    /// Goes on in another volume. Everything must have been taken.
    pub fn rotate(&mut self, origin: Origin) {
        assert!(self.is_empty(), "a stream goes on in the next volume when it has ended in this one");
        self.origin = origin;
    }
}
