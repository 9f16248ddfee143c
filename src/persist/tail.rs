//! Writing a lane's stream: records in, blocks out.
//!
//! ```text
//!  append   ...record record| long word, shared |record|          end
//!  take        [header|.............][header|...]                 as much as a write brings at once, copied and summed only now
//!                                                ^ taken
//! ```

use std::collections::VecDeque;

use super::Position;
use super::block::{BODY_BYTES_MAX, HEADER_BYTES, Header, Origin};
use super::record::Records;
use crate::wire::output::Shared;

/// Buffers of this size are filled one after the other, so that a long backlog is neither moved nor grown as a whole.
const CHUNK_BYTES: usize = BODY_BYTES_MAX;

/// What was appended to a stream and not yet taken.
#[derive(Debug)]
pub struct Tail {
    origin: Origin,
    chunks: VecDeque<Chunk>,
    /// Long words that were taken to their ends. Whoever holds one last frees it, which may be long.
    spent: Vec<Shared>,
    /// Bytes of the first chunk that were taken.
    skip: usize,
    taken: Position,
    end: Position,
}

#[derive(Debug)]
enum Chunk {
    Bytes(Vec<u8>),
    Shared(Shared),
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
        Self { origin, chunks: VecDeque::new(), spent: Vec::new(), skip: 0, taken: start, end: start }
    }

    pub fn origin(&self) -> Origin {
        self.origin
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

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.taken == self.end
    }

    /// Bytes that are not taken.
    pub fn backlog(&self) -> usize {
        usize::try_from(self.end.0 - self.taken.0).expect("it is in memory")
    }

    /// Appends records; long words are shared until they are taken.
    pub fn append(&mut self, records: &Records) {
        let mut from = 0;
        for splice in records.shared.iter() {
            self.append_bytes(&records.bytes[from..splice.at]);
            from = splice.at;
            self.end = self.end.after(splice.value.len());
            if !splice.value.is_empty() {
                self.chunks.push_back(Chunk::Shared(splice.value.clone()));
            }
        }
        self.append_bytes(&records.bytes[from..]);
    }

    fn append_bytes(&mut self, mut bytes: &[u8]) {
        self.end = self.end.after(bytes.len());
        while !bytes.is_empty() {
            let Some(Chunk::Bytes(chunk)) = self.chunks.back_mut().filter(|chunk| chunk.has_room()) else {
                self.chunks.push_back(Chunk::Bytes(Vec::new()));
                continue;
            };
            let (now, later) = bytes.split_at(bytes.len().min(CHUNK_BYTES - chunk.len()));
            chunk.extend_from_slice(now);
            bytes = later;
        }
    }

    /// Appends blocks of up to about `max` bytes to `out`, at least one if there is anything.
    pub fn take(&mut self, known: Known, max: usize, out: &mut Vec<u8>) {
        let before = out.len();
        while !self.is_empty() && (out.len() == before || out.len() - before < max) {
            let at = out.len();
            out.resize(at + HEADER_BYTES, 0);
            self.take_body(out, at + HEADER_BYTES + BODY_BYTES_MAX);
            let (header, body) = out[at..].split_at_mut(HEADER_BYTES);
            header.copy_from_slice(&Header::of(self.origin, self.taken, known.synced, known.firm, body).to_bytes());
            self.taken = self.taken.after(body.len());
        }
    }

    /// Long words of a stream that nobody takes any more.
    pub fn into_shared(self) -> impl Iterator<Item = Shared> {
        let left = self.chunks.into_iter().filter_map(|chunk| match chunk {
            Chunk::Shared(value) => Some(value),
            Chunk::Bytes(_) => None,
        });
        self.spent.into_iter().chain(left)
    }

    /// Long words that were written since the last call.
    pub fn take_spent(&mut self) -> std::vec::Drain<'_, Shared> {
        self.spent.drain(..)
    }

    /// Moves bytes to `out` until that is so long, or nothing is left.
    fn take_body(&mut self, out: &mut Vec<u8>, len_max: usize) {
        let mut left_chunks = self.chunks.len();
        while out.len() < len_max
            && let Some(chunk) = self.chunks.front_mut()
        {
            let left = chunk.len() - self.skip;
            let room = len_max - out.len();
            chunk.copy_to(self.skip, left.min(room), out);
            if left > room {
                self.skip += room;
                return;
            }
            self.skip = 0;
            match chunk {
                // The last one keeps its memory for what comes next.
                Chunk::Bytes(bytes) if left_chunks == 1 => return bytes.clear(),
                _ => {
                    if let Some(Chunk::Shared(value)) = self.chunks.pop_front() {
                        self.spent.push(value);
                    }
                }
            }
            left_chunks -= 1;
        }
    }
}

impl Chunk {
    fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Shared(value) => value.len(),
        }
    }

    fn has_room(&self) -> bool {
        matches!(self, Self::Bytes(bytes) if bytes.len() < CHUNK_BYTES)
    }

    fn copy_to(&self, skip: usize, len: usize, out: &mut Vec<u8>) {
        match self {
            Self::Bytes(bytes) => out.extend_from_slice(&bytes[skip..skip + len]),
            Self::Shared(value) => {
                let mut left = len;
                for piece in value.pieces(skip) {
                    let now = piece.len().min(left);
                    out.extend_from_slice(&piece[..now]);
                    left -= now;
                    if left == 0 {
                        return;
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::record::{Word, put_effect, put_long_effect};
    use super::super::stream::Reader;
    use super::*;
    use crate::types::rope::Rope;
    use crate::wire::reply::SHARE_BYTES_MIN;

    const ORIGIN: Origin = Origin { volume: 3, lane: 0, lanes: 1 };

    proptest! {
        /// Whatever is shared and however it is taken, the file holds the same stream.
        #[test]
        fn what_is_appended_is_read(lens in proptest::collection::vec((0..300_000_usize, any::<bool>()), 1..6), max in 1..900_000_usize) {
            let (mut tail, mut file, mut ends) = (Tail::new(ORIGIN, Position(5)), Vec::new(), Vec::new());
            let long_words = lens.iter().filter(|(len, long)| *long && *len >= SHARE_BYTES_MIN).count();
            for (len, long) in lens {
                let (value, mut records) = (vec![b'v'; len], Records::default());
                let rope = Rope::from(&value[..]);
                if long {
                    put_long_effect(&mut records, 0, [Word::Bytes(b"SET"), Word::Bytes(b"k"), Word::Long(&rope)].into_iter());
                } else {
                    put_effect(&mut records, 0, [&b"SET"[..], b"k", &value].into_iter());
                }
                tail.append(&records);
                ends.push(tail.end());
                if len % 3 == 0 {
                    tail.take(Known::default(), max, &mut file);
                }
            }
            while !tail.is_empty() {
                tail.take(Known::default(), max, &mut file);
            }
            prop_assert_eq!(tail.backlog(), 0);
            prop_assert_eq!(tail.take_spent().count(), long_words);
            let (mut reader, mut found) = (Reader::new(ORIGIN, Position(5)), Vec::new());
            reader.feed(&file, |record| found.push(record.end)).unwrap();
            prop_assert_eq!(reader.finish().unwrap().torn, None);
            prop_assert_eq!(found, ends);
        }
    }
}
