//! Numbers as text and case folding over bytes, with Redis's strictness: no leading zeros, no plus sign, no spaces.

/// The first eight bytes as a little-endian number; a shorter text is as if zeros followed.
#[inline]
pub fn head_word(text: &[u8]) -> u64 {
    if let Some(head) = text.first_chunk() {
        return u64::from_le_bytes(*head);
    }
    // Two loads from both ends, which overlap in the same bytes.
    if let (Some(head), Some(tail)) = (text.first_chunk(), text.last_chunk()) {
        return u64::from(u32::from_le_bytes(*head)) | u64::from(u32::from_le_bytes(*tail)) << ((text.len() - 4) * 8);
    }
    text.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte))
}

/// Eight bytes at once to lower case: the ASCII letters, and nothing else.
#[inline]
pub const fn lower_word(word: u64) -> u64 {
    const EACH: u64 = 0x0101_0101_0101_0101;
    let seven = word & (EACH * 0x7F);
    let from_a = seven + EACH * (0x80 - b'A' as u64);
    let past_z = seven + EACH * (0x7F - b'Z' as u64);
    let upper = !word & (from_a ^ past_z) & (EACH * 0x80);
    word | upper >> 2
}

/// Longest text of an `i64`: a sign and nineteen digits.
pub const I64_TEXT_MAX: usize = 20;

/// Parses a canonical signed integer as Redis's `string2ll` does: `-?(0|[1-9][0-9]*)`, inside `i64`.
#[inline]
pub fn parse_i64(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, text),
    };
    let magnitude = parse_u64(digits)?;
    if negative {
        // "-0" is not canonical.
        if magnitude == 0 || magnitude > i64::MIN.unsigned_abs() {
            return None;
        }
        Some((magnitude as i64).wrapping_neg())
    } else {
        i64::try_from(magnitude).ok()
    }
}

/// Parses a canonical unsigned integer: `0|[1-9][0-9]*`, inside `u64`.
#[inline]
pub fn parse_u64(digits: &[u8]) -> Option<u64> {
    match digits {
        [] => return None,
        [b'0'] => return Some(0),
        [b'0', ..] => return None,
        _ if digits.len() > 20 => return None,
        _ => {}
    }
    let mut value: u64 = 0;
    for &byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value.checked_mul(10)?.checked_add(u64::from(digit))?;
    }
    Some(value)
}

/// Writes the decimal text of `value` into the tail of `buffer` and returns it.
#[inline]
pub fn format_i64(value: i64, buffer: &mut [u8; I64_TEXT_MAX]) -> &[u8] {
    let start = write_digits(value.unsigned_abs(), buffer);
    let start = if value < 0 {
        buffer[start - 1] = b'-';
        start - 1
    } else {
        start
    };
    &buffer[start..]
}

/// Writes the decimal text of `value` into the tail of `buffer` and returns it.
#[inline]
pub fn format_u64(value: u64, buffer: &mut [u8; I64_TEXT_MAX]) -> &[u8] {
    let start = write_digits(value, buffer);
    &buffer[start..]
}

/// Returns where the digits start. `u64::MAX` has twenty digits, so that the buffer always fits.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "what is cast is below 200")]
fn write_digits(mut value: u64, buffer: &mut [u8; I64_TEXT_MAX]) -> usize {
    const PAIRS: &[u8; 200] = b"0001020304050607080910111213141516171819\
        2021222324252627282930313233343536373839\
        4041424344454647484950515253545556575859\
        6061626364656667686970717273747576777879\
        8081828384858687888990919293949596979899";
    let mut at = I64_TEXT_MAX;
    while value >= 100 {
        let pair = ((value % 100) * 2) as usize;
        value /= 100;
        at -= 2;
        buffer[at..at + 2].copy_from_slice(&PAIRS[pair..pair + 2]);
    }
    if value >= 10 {
        let pair = (value * 2) as usize;
        at -= 2;
        buffer[at..at + 2].copy_from_slice(&PAIRS[pair..pair + 2]);
    } else {
        at -= 1;
        buffer[at] = b'0' + value as u8;
    }
    at
}

/// Whether `word` equals `upper`, which is written in upper case, whatever the case of `word`.
#[inline]
pub fn is_word(word: &[u8], upper: &str) -> bool {
    word.eq_ignore_ascii_case(upper.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_parse_as_strictly_as_redis() {
        for (text, value) in [
            ("0", Some(0)),
            ("-1", Some(-1)),
            ("9223372036854775807", Some(i64::MAX)),
            ("-9223372036854775808", Some(i64::MIN)),
            ("9223372036854775808", None),
            ("-9223372036854775809", None),
            ("", None),
            ("-", None),
            ("-0", None),
            ("01", None),
            ("+1", None),
            (" 1", None),
            ("1 ", None),
            ("1a", None),
            ("99999999999999999999999", None),
        ] {
            assert_eq!(parse_i64(text.as_bytes()), value, "{text:?}");
        }
        assert_eq!(parse_u64(b"18446744073709551615"), Some(u64::MAX));
        assert_eq!(parse_u64(b"18446744073709551616"), None);
    }

    #[test]
    fn integers_format_as_std_does() {
        let mut buffer = [0; I64_TEXT_MAX];
        for value in [0, 1, -1, 9, 10, 99, 100, 101, 12345, -98765, i64::MAX, i64::MIN] {
            assert_eq!(format_i64(value, &mut buffer), value.to_string().as_bytes());
        }
        assert_eq!(format_u64(u64::MAX, &mut buffer), u64::MAX.to_string().as_bytes());
    }

    #[test]
    fn a_head_word_is_the_first_eight_bytes_and_zeros() {
        let text = b"abcdefghij";
        for len in 0..=text.len() {
            let mut padded = [0; 8];
            padded[..len.min(8)].copy_from_slice(&text[..len.min(8)]);
            assert_eq!(head_word(&text[..len]), u64::from_le_bytes(padded), "{len} bytes");
        }
    }

    #[test]
    fn a_word_is_lowered_byte_by_byte() {
        for byte in 0..=u8::MAX {
            for at in 0..8 {
                let mut text = *b"Zz@[{\xff\x80A";
                text[at] = byte;
                let lower = text.to_ascii_lowercase();
                assert_eq!(lower_word(u64::from_le_bytes(text)).to_le_bytes(), lower[..], "{byte} at {at}");
            }
        }
    }
}
