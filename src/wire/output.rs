//! Replies that have not left yet.
//!
//! ```text
//!  bytes   $5\r\nhello\r\n$1048576\r\n | \r\n:1\r\n
//!                                      ^ at          shared: [{ at, value: 1 MiB }]
//! ```
//!
//! Small replies are copied into `bytes`. A large value is not: it is shared with the keyspace and spliced in at its place when
//! the driver scatters the output over one send.

use bytes::Bytes;

/// A connection's unsent replies, in order.
#[derive(Clone, Debug, Default)]
pub struct Output {
    pub bytes: Vec<u8>,
    /// Sorted by `at`; several may stand at one place.
    pub shared: Vec<Splice>,
}

/// `value` goes out after the first `at` bytes of [`Output::bytes`].
#[derive(Clone, Debug)]
pub struct Splice {
    pub at: usize,
    pub value: Bytes,
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

    pub fn push_shared(&mut self, value: Bytes) {
        self.shared.push(Splice { at: self.bytes.len(), value });
    }

    pub fn mark(&self) -> Mark {
        Mark { bytes: self.bytes.len(), shared: self.shared.len() }
    }

    /// Forgets what was written after `mark`.
    pub fn truncate(&mut self, mark: Mark) {
        self.bytes.truncate(mark.bytes);
        self.shared.truncate(mark.shared);
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
        self.shared.extend(splices.iter().map(|splice| Splice { at: splice.at - start + shift, ..splice.clone() }));
    }

    pub fn clear(&mut self) {
        self.bytes.clear();
        self.shared.clear();
    }

    /// All of it in one piece, for tests and for whoever has no scattered send.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut flat = Vec::with_capacity(self.len());
        let mut from = 0;
        for splice in &self.shared {
            flat.extend_from_slice(&self.bytes[from..splice.at]);
            flat.extend_from_slice(&splice.value);
            from = splice.at;
        }
        flat.extend_from_slice(&self.bytes[from..]);
        flat
    }
}
