//! Blocks: what a write brings to the disk, and what a reader can trust.
//!
//! ```text
//!   0  magic "CLb1"          4 | bytes that follow the header   4
//!   8  volume                4 | lane   2 | lanes of the volume 2
//!  16  position of the first byte of the body                   8
//!  24  synced: when this block was made, all before was synced  8
//!  32  firm: and all before here was durable on every lane      8
//!  40  CRC32C of the body    4 | CRC32C of bytes 0..44          4
//!  48  body: a part of the lane's stream, which need not begin or end with a record
//! ```
//!
//! All numbers are little-endian. The header has a checksum of its own so that a reader that met a broken block can find the next
//! header and read there what had been synced: a break *before* that is damage, a break after it is the torn end which any crash may leave,
//! since what was not synced may be on the disk in any part and order.
//!
//! A file may be longer than what was written to it: where a block would begin there are then as many zeroes as a header has, which are the end
//! of the file's blocks, and behind them whatever the file held before. Blocks of other volumes among that have another id.

use super::Position;

/// What stands before each body.
pub const HEADER_BYTES: usize = 48;

/// Longest body: as much as is summed in some tens of microseconds.
pub const BODY_BYTES_MAX: usize = 256 << 10;

const MAGIC: [u8; 4] = *b"CLb1";

/// Whether no block was written here, of whose header these are the first bytes.
pub fn is_blank(head: &[u8]) -> bool {
    head.iter().all(|byte| *byte == 0)
}

/// Whose stream, in which volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    pub volume: u32,
    pub lane: u16,
    /// How many lanes write the volume.
    pub lanes: u16,
}

/// A header without its checksums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub origin: Origin,
    pub len: u32,
    pub position: Position,
    pub synced: Position,
    pub firm: Position,
    pub body_crc: u32,
}

/// What a header does not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadHeader {
    NoMagic,
    Checksum,
    Length,
}

impl Header {
    pub fn of(origin: Origin, position: Position, synced: Position, firm: Position, body: &[u8]) -> Self {
        debug_assert!(body.len() <= BODY_BYTES_MAX);
        let len = u32::try_from(body.len()).expect("bodies are bounded");
        Self { origin, len, position, synced, firm, body_crc: crc32c::crc32c(body) }
    }

    pub fn to_bytes(self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        let mut at = 0;
        let mut put = |field: &[u8]| {
            bytes[at..at + field.len()].copy_from_slice(field);
            at += field.len();
        };
        put(&MAGIC);
        put(&self.len.to_le_bytes());
        put(&self.origin.volume.to_le_bytes());
        put(&self.origin.lane.to_le_bytes());
        put(&self.origin.lanes.to_le_bytes());
        put(&self.position.0.to_le_bytes());
        put(&self.synced.0.to_le_bytes());
        put(&self.firm.0.to_le_bytes());
        put(&self.body_crc.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..HEADER_BYTES - 4]);
        bytes[HEADER_BYTES - 4..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    pub fn parse(bytes: &[u8; HEADER_BYTES]) -> Result<Self, BadHeader> {
        let mut rest = &bytes[..];
        if take::<4>(&mut rest) != MAGIC {
            return Err(BadHeader::NoMagic);
        }
        let len = u32::from_le_bytes(take(&mut rest));
        let origin = Origin {
            volume: u32::from_le_bytes(take(&mut rest)),
            lane: u16::from_le_bytes(take(&mut rest)),
            lanes: u16::from_le_bytes(take(&mut rest)),
        };
        let mut position = || Position(u64::from_le_bytes(take(&mut rest)));
        let (at, synced, firm) = (position(), position(), position());
        let body_crc = u32::from_le_bytes(take(&mut rest));
        if crc32c::crc32c(&bytes[..HEADER_BYTES - 4]) != u32::from_le_bytes(take(&mut rest)) {
            return Err(BadHeader::Checksum);
        }
        if len as usize > BODY_BYTES_MAX {
            return Err(BadHeader::Length);
        }
        Ok(Self { origin, len, position: at, synced, firm, body_crc })
    }

    /// The first place in `bytes` from which a header may begin, in full or in part.
    pub fn find(bytes: &[u8]) -> Option<usize> {
        memchr::memmem::find(bytes, &MAGIC).or_else(|| {
            let tail = bytes.len().saturating_sub(MAGIC.len() - 1);
            (tail..bytes.len()).find(|at| MAGIC.starts_with(&bytes[*at..]))
        })
    }
}

/// The next bytes of a header, whose size is known.
fn take<const N: usize>(rest: &mut &[u8]) -> [u8; N] {
    let (field, after) = rest.split_first_chunk().expect("a header is as long as its fields");
    *rest = after;
    *field
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: Header = Header {
        origin: Origin { volume: 7, lane: 1, lanes: 3 },
        len: 5,
        position: Position(1 << 40),
        synced: Position(77),
        firm: Position(66),
        body_crc: 0xdead_beef,
    };

    #[test]
    fn every_flipped_bit_is_found() {
        let bytes = HEADER.to_bytes();
        assert_eq!(Header::parse(&bytes), Ok(HEADER));
        for bit in 0..HEADER_BYTES * 8 {
            let mut bytes = bytes;
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(Header::parse(&bytes).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn headers_are_found_wherever_they_begin() {
        let header = HEADER.to_bytes();
        for before in 0..9 {
            let mut bytes = vec![b'C'; before];
            bytes.extend_from_slice(&header);
            for len in 0..bytes.len() {
                let found = Header::find(&bytes[..len]);
                if len > before {
                    assert!(found.is_some_and(|at| at <= before), "{before} {len}");
                }
            }
        }
        assert_eq!(Header::find(b"nothing here"), None);
    }
}
