//! What an element would take in Redis's listpack, by which Redis decides when a list is large: OBJECT ENCODING changes its answer at the
//! same element here and there.
//!
//! ```text
//!  listpack   6 bytes of lengths, entries, 1 byte of end
//!  entry      an integer in 1, 2, 3, 4, 5 or 9 bytes, or a text behind 1, 2 or 5 bytes of length; then its own size backwards in 1 to 5
//! ```

use super::super::packed::Cell;
use super::super::trie::Value;

/// Bytes of an empty listpack.
pub(super) const HEAD_BYTES: usize = 7;

#[inline]
pub(super) fn value_bytes(value: Value<'_>) -> usize {
    match value {
        Value::Short(cell) => entry_bytes(cell),
        Value::Long(rope) => text_bytes(rope.len()),
    }
}

#[inline]
pub(super) fn entry_bytes(cell: Cell<'_>) -> usize {
    match (cell.as_int(), cell.payload()) {
        (Some(number), _) => number_bytes(number),
        // A single digit is no shorter as an integer of ours, but it is one of the listpack's.
        (None, [b'0'..=b'9']) => number_bytes(0),
        (None, text) => text_bytes(text.len()),
    }
}

#[inline]
pub(super) fn text_bytes(len: usize) -> usize {
    let entry = len
        + match len {
            0..64 => 1,
            64..4096 => 2,
            _ => 5,
        };
    let back = match entry {
        0..=127 => 1,
        128..16383 => 2,
        16383..2_097_151 => 3,
        2_097_151..268_435_455 => 4,
        _ => 5,
    };
    entry + back
}

fn number_bytes(number: i64) -> usize {
    1 + match number {
        0..=127 => 1,
        -4096..=4095 => 2,
        -0x8000..=0x7FFF => 3,
        -0x80_0000..=0x7F_FFFF => 4,
        -0x8000_0000..=0x7FFF_FFFF => 5,
        _ => 9,
    }
}
