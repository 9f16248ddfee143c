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

use super::ascii::head_word;

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
    // A short key's words are looked through in less time than a call of memchr takes.
    if key.len() <= SHORT && !has_brace(key) {
        return key;
    }
    let Some(open) = memchr::memchr(b'{', key) else { return key };
    let tail = &key[open + 1..];
    match memchr::memchr(b'}', tail) {
        None | Some(0) => key,
        Some(close) => &tail[..close],
    }
}

/// Longest key for which the loop over words is the faster search.
const SHORT: usize = 32;

/// Whether a `{` stands in `text`: a byte of a word is zero where it does, and borrowing finds zeros.
#[inline]
fn has_brace(text: &[u8]) -> bool {
    const EACH: u64 = 0x0101_0101_0101_0101;
    let holds = |word: u64| {
        let word = word ^ (EACH * b'{' as u64);
        word.wrapping_sub(EACH) & !word & EACH << 7 != 0
    };
    let (words, rest) = text.as_chunks();
    words.iter().any(|word| holds(u64::from_le_bytes(*word))) || !rest.is_empty() && holds(head_word(rest))
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
    fn a_tag_is_found_wherever_it_stands() {
        for len in 3..2 * SHORT {
            for at in 0..len - 2 {
                let mut key = vec![b'z'; len];
                key[at..at + 3].copy_from_slice(b"{t}");
                assert_eq!(hash_tag(&key), b"t", "at {at} of {len}");
                key[at] = b'z';
                assert_eq!(hash_tag(&key), key, "no tag without its brace");
            }
        }
    }

    #[test]
    fn a_key_hash_carries_its_slot_and_depends_on_the_seed() {
        let (one, two) = (HashKey::new([1, 2]), HashKey::new([1, 3]));
        for key in [&b""[..], b"foo", b"{foo}.bar"] {
            assert_eq!(one.key(key).slot(), slot(key));
            assert_ne!(one.key(key), two.key(key));
        }
    }

    /// Whoever finds keys that crowd into one place of one server, or of one hash there, has found nothing about another, or about the next
    /// run: half a million tries give 512 keys that share ten bits below their slot, which elsewhere fill a thousand places evenly.
    #[test]
    fn what_collides_under_one_secret_is_spread_by_another() {
        const PLACES: usize = 1 << 10;
        let (known, other) = (HashKey::new([1, 2]), HashKey::new([1, 3]));
        let place =
            |hasher: &HashKey, key: &[u8]| usize::try_from(hasher.key(key).0 >> (HASH_BITS - 10)).unwrap() % PLACES;
        let crowd: Vec<String> =
            (0..).map(|i| format!("{{t}}{i}")).filter(|key| place(&known, key.as_bytes()) == 7).take(512).collect();
        let mut spread = vec![0; PLACES];
        crowd.iter().for_each(|key| spread[place(&other, key.as_bytes())] += 1);
        let fullest = spread.into_iter().max();
        assert!(fullest < Some(8), "{fullest:?} of 512 in one of {PLACES} places");
    }
}
