//! Input of a connection that has not been run: the head of an incomplete request, or what exceeded the connection's share of a turn.
//!
//! ```text
//!  bytes  ....GET a..GET b..SE          in one piece, since a request is parsed where it lies
//!             ^ at
//!  later  [room|T c 1..GET d..G] [room|ET e..]    what waits behind it, each piece filled once and never moved
//! ```
//!
//! When the head holds no further whole request, the first piece becomes the head; what is left of the head, mostly the first half of
//! a request, is put into the room in front of it. So a megabyte that waits is copied once, when it is received, and what has been run
//! is given back piece by piece, whatever is still there.

use std::collections::VecDeque;

/// Longest piece: small enough to be filled and freed within some tens of microseconds.
const PIECE_BYTES_MAX: usize = 64 << 10;

/// Kept free at the front of a piece for the beginning of its first request.
const ROOM_BYTES: usize = 512;

#[derive(Debug, Default)]
pub struct Inbound {
    /// What is parsed next. Empty only if nothing waits behind it either.
    pub bytes: Vec<u8>,
    /// Where the first request begins.
    pub at: usize,
    later: VecDeque<Piece>,
    /// What all pieces hold.
    later_bytes: usize,
    /// When what is first here came, nanoseconds of the monotonic clock.
    pub arrived_ns: u64,
    /// What is behind so many bytes came afterwards, and when the first of that did.
    afterwards: Option<(usize, u64)>,
}

/// A part of what waits behind the head, after its room.
#[derive(Debug)]
pub struct Piece(Vec<u8>);

impl Piece {
    fn for_bytes(count: usize) -> Self {
        let mut bytes = Vec::with_capacity((ROOM_BYTES + count).min(PIECE_BYTES_MAX));
        bytes.resize(ROOM_BYTES, 0);
        Self(bytes)
    }

    /// Takes what fits; the rest of it.
    fn fill<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        let (fits, rest) = bytes.split_at((self.0.capacity() - self.0.len()).min(bytes.len()));
        self.0.extend_from_slice(fits);
        rest
    }

    pub fn content(&self) -> &[u8] {
        &self.0[ROOM_BYTES..]
    }

    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

impl Inbound {
    /// Bytes that wait.
    pub fn len(&self) -> usize {
        self.head().len() + self.later_bytes
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.bytes.len() == self.at
    }

    #[inline]
    pub fn has_later(&self) -> bool {
        !self.later.is_empty()
    }

    /// Bytes of memory.
    pub fn capacity(&self) -> usize {
        self.bytes.capacity() + self.later.iter().map(|piece| piece.0.capacity()).sum::<usize>()
    }

    /// What is parsed next.
    #[inline]
    pub fn head(&self) -> &[u8] {
        &self.bytes[self.at..]
    }

    /// Bytes come that wait behind those that are here.
    pub fn comes_behind(&mut self, now_ns: u64) {
        if self.is_empty() {
            self.arrived_ns = now_ns;
        } else {
            self.afterwards.get_or_insert((self.len(), now_ns));
        }
    }

    /// The first bytes of the head have been run. If that was all of it, what waits behind it must follow.
    pub fn consume(&mut self, count: usize) {
        self.at += count;
        match &mut self.afterwards {
            Some((ahead, _)) if *ahead > count => *ahead -= count,
            afterwards => self.arrived_ns = afterwards.take().map_or(self.arrived_ns, |(_, came_ns)| came_ns),
        }
        if self.has_later() {
            return;
        }
        if self.is_empty() {
            *self = Self::default();
        } else if self.at > self.bytes.len() / 2 {
            self.bytes.drain(..self.at);
            self.at = 0;
            self.bytes.shrink_to(4 * self.bytes.len());
        }
    }

    /// As `consume`, and hands the memory of the head out with where it begins there; what is left of it is copied.
    pub fn take_head(&mut self, count: usize) -> (Vec<u8>, usize) {
        let left = self.bytes[self.at + count..].to_vec();
        let taken = std::mem::replace(&mut self.bytes, left);
        let at = std::mem::take(&mut self.at);
        match &mut self.afterwards {
            Some((ahead, _)) if *ahead > count => *ahead -= count,
            afterwards => self.arrived_ns = afterwards.take().map_or(self.arrived_ns, |(_, came_ns)| came_ns),
        }
        (taken, at)
    }

    /// Bytes behind all that wait. A head that is not empty stays as it is: it may belong to a long word that is arriving.
    pub fn push(&mut self, mut bytes: &[u8]) {
        if self.is_empty() {
            (self.bytes, self.at) = (bytes.to_vec(), 0);
            return;
        }
        self.later_bytes += bytes.len();
        if let Some(last) = self.later.back_mut() {
            bytes = last.fill(bytes);
        }
        while !bytes.is_empty() {
            let grown = 2 * self.later.back().map_or(0, |last| last.0.capacity());
            let mut piece = Piece::for_bytes(grown.max(bytes.len()));
            bytes = piece.fill(bytes);
            self.later.push_back(piece);
        }
    }

    /// Takes the first piece behind the head.
    pub fn take_piece(&mut self) -> Option<Piece> {
        let piece = self.later.pop_front()?;
        self.later_bytes -= piece.content().len();
        Some(piece)
    }

    /// A piece that was taken becomes the head, after what is left of that. What is to be freed.
    pub fn join(&mut self, piece: Piece) -> Vec<u8> {
        let left = self.head().len();
        if let Some(start) = ROOM_BYTES.checked_sub(left) {
            let mut bytes = piece.into_bytes();
            bytes[start..ROOM_BYTES].copy_from_slice(self.head());
            self.at = start;
            return std::mem::replace(&mut self.bytes, bytes);
        }
        // A request of many words: it grows in one piece.
        self.bytes.drain(..self.at);
        self.at = 0;
        self.bytes.extend_from_slice(piece.content());
        piece.into_bytes()
    }

    /// All of it, to be freed.
    pub fn into_pieces(self) -> impl Iterator<Item = Vec<u8>> {
        std::iter::once(self.bytes).chain(self.later.into_iter().map(Piece::into_bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Runs some of the head as a parser would; what is behind it follows when the head is dry.
    fn run(inbound: &mut Inbound, count: usize) {
        inbound.consume(count);
        if inbound.is_empty()
            && let Some(piece) = inbound.take_piece()
        {
            inbound.join(piece);
        }
    }

    proptest! {
        /// Whatever comes in whatever pieces is read in its order, and counted.
        #[test]
        fn it_is_a_queue_of_bytes(steps in prop::collection::vec((0..60_000_usize, 0..4_usize, any::<u16>()), 1..60)) {
            let (mut inbound, mut model) = (Inbound::default(), VecDeque::new());
            let mut next = 0_u8;
            for (len, what, share) in steps {
                match what {
                    0 | 1 => {
                        let bytes: Vec<u8> = std::iter::repeat_with(|| { next = next.wrapping_add(1); next }).take(len).collect();
                        inbound.push(&bytes);
                        model.extend(bytes);
                    }
                    2 => {
                        let count = inbound.head().len() * usize::from(share) / usize::from(u16::MAX);
                        run(&mut inbound, count);
                        model.drain(..count);
                    }
                    _ => {
                        if let Some(piece) = inbound.take_piece() {
                            inbound.join(piece);
                        }
                    }
                }
                prop_assert_eq!(inbound.len(), model.len());
                prop_assert_eq!(inbound.is_empty(), model.is_empty());
                prop_assert!(inbound.head().iter().eq(model.iter().take(inbound.head().len())));
                prop_assert!(inbound.capacity() >= inbound.len());
            }
        }
    }

    #[test]
    fn what_waits_is_kept_in_pieces_that_are_filled() {
        let mut inbound = Inbound::default();
        (0..10_000).for_each(|_| inbound.push(&[b'x'; 1000]));
        assert_eq!(inbound.len(), 10_000_000);
        assert!(inbound.capacity() < 10_200_000, "{}", inbound.capacity());
        assert!(inbound.into_pieces().all(|piece| piece.capacity() <= PIECE_BYTES_MAX));
    }
}
