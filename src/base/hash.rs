//! Where a key lives: its cluster slot, its keyed hash, and the lane that owns it.
//!
//! ```text
//!  KeyHash  63            50 49                                   0
//!          +----------------+--------------------------------------+
//!          |  slot, 14 bits |  SipHash-1-3 of the whole key, 50 bits|
//!          +----------------+--------------------------------------+
//! ```
//!
//! The order of `KeyHash` values is the order of the keyspace: keys of one slot are neighbours, a lane owns a contiguous
//! range, and a SCAN cursor is a prefix of it. The slot is Redis's (CRC16/XMODEM of the `{tag}` or of the key), which a client
//! can choose; the lower bits are keyed per server, which it cannot.

use crc::{CRC_16_XMODEM, Crc, Table};
use siphasher::sip::SipHasher13;

/// Slots of the cluster protocol.
pub const SLOTS: u16 = 16384;

/// Bits of a [`KeyHash`] below the slot.
pub const HASH_BITS: u32 = 50;

static CRC16: Crc<u16, Table<16>> = Crc::<u16, Table<16>>::new(&CRC_16_XMODEM);

/// Slot and keyed hash of a key; see the drawing above.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct KeyHash(pub u64);

impl KeyHash {
    pub const fn slot(self) -> u16 {
        (self.0 >> HASH_BITS) as u16
    }
}

/// The secret of one server process: keys hash differently in every run unless a seed is given.
#[derive(Clone, Copy, Debug)]
pub struct HashKey(SipHasher13);

impl HashKey {
    pub fn new(seed: [u64; 2]) -> Self {
        Self(SipHasher13::new_with_keys(seed[0], seed[1]))
    }

    /// The place of `key` in the keyspace's order.
    #[inline]
    pub fn key(&self, key: &[u8]) -> KeyHash {
        KeyHash(u64::from(slot(key)) << HASH_BITS | self.bytes(key) >> (64 - HASH_BITS))
    }

    /// Keyed hash of any bytes, such as a field of a hash.
    #[inline]
    pub fn bytes(&self, bytes: &[u8]) -> u64 {
        self.0.hash(bytes)
    }
}

/// The cluster slot of `key`: CRC16 of what stands between the first `{` and the next `}` if that is not empty, else of all.
#[inline]
pub fn slot(key: &[u8]) -> u16 {
    CRC16.checksum(hash_tag(key)) % SLOTS
}

#[inline]
fn hash_tag(key: &[u8]) -> &[u8] {
    let Some(open) = memchr::memchr(b'{', key) else { return key };
    let tail = &key[open + 1..];
    match memchr::memchr(b'}', tail) {
        None | Some(0) => key,
        Some(close) => &tail[..close],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_the_cluster_specification() {
        assert_eq!(slot(b"123456789"), 0x31C3);
        assert_eq!(slot(b"foo"), 12182);
        assert_eq!(slot(b"{user1000}.following"), slot(b"user1000"));
        assert_eq!(slot(b"foo{}{bar}"), CRC16.checksum(b"foo{}{bar}") % SLOTS);
        assert_eq!(slot(b"foo{{bar}}zap"), slot(b"{bar"));
        assert_eq!(slot(b"foo{bar}{zap}"), slot(b"bar"));
        assert_eq!(slot(b"foo{bar"), CRC16.checksum(b"foo{bar") % SLOTS);
    }

    #[test]
    fn a_key_hash_carries_its_slot_and_depends_on_the_seed() {
        let (one, two) = (HashKey::new([1, 2]), HashKey::new([1, 3]));
        for key in [&b""[..], b"foo", b"{foo}.bar"] {
            assert_eq!(one.key(key).slot(), slot(key));
            assert_ne!(one.key(key), two.key(key));
        }
    }
}
