//! Doubles as text, as Redis 7.2 reads and spells them.
//!
//! ```text
//!  write      whole numbers up to 2^62 as such, else the shortest digits that read back the same:  3  0.1  1e+20  1.5e-7  -0  inf
//!  write_17   seventeen digits like C's %.17g, which shows what binary made of a decimal: 0.10000000000000001.  ZSCAN of large sets
//!  parse      what strtod takes as a whole, in its range: decimal, hexadecimal, inf, infinity; no blank in front, no NaN
//! ```
//!
//! The digits are Rust's, which are the shortest; Redis's (Grisu 2) are a digit longer now and then.

use std::io::Write;

use super::ascii::{I64_TEXT_MAX, format_i64, parse_i64};

/// Longest text of a double: sign, seventeen digits, point, exponent; or a sign, `0.`, six zeros and the digits.
pub const TEXT_MAX: usize = 32;

/// Beyond this, whole numbers are spelled like all others.
const WHOLE_MAX: f64 = (1_u64 << 62) as f64;

/// All whole numbers of so many digits are doubles: they are below 2^53.
const WHOLE_DIGITS: usize = 15;

/// Reads a number.
pub fn parse(text: &[u8]) -> Option<f64> {
    // A whole number of so few digits is a double.
    if text.len() <= WHOLE_DIGITS
        && let Some(whole) = parse_i64(text)
    {
        return Some(whole as f64);
    }
    parse_other(text)
}

fn parse_other(text: &[u8]) -> Option<f64> {
    let word = std::str::from_utf8(text).ok()?;
    let unsigned = word.strip_prefix(['-', '+']).unwrap_or(word);
    if let Some(digits) = unsigned.strip_prefix("0x").or_else(|| unsigned.strip_prefix("0X")) {
        let value = hexadecimal(digits)?;
        return Some(if word.starts_with('-') { -value } else { value });
    }
    let value: f64 = word.parse().ok()?;
    let counts = |digit: u8| (b'1'..=b'9').contains(&digit);
    let mantissa = || unsigned.bytes().take_while(|byte| !matches!(byte, b'e' | b'E'));
    let in_range = match value {
        _ if value.is_nan() => false,
        _ if value.is_infinite() => !unsigned.starts_with(|first: char| first.is_ascii_digit() || first == '.'),
        0.0 => !mantissa().any(counts),
        _ => true,
    };
    in_range.then_some(value)
}

/// Digits behind `0x`: sixteen count, the rest only says that there is more.
fn hexadecimal(text: &str) -> Option<f64> {
    let (digits, power) = match text.split_once(['p', 'P']) {
        Some((digits, power)) => (digits, power.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let (mut mantissa, mut shift) = (0_u64, 0_i32);
    for (digit, is_fraction) in whole.chars().map(|c| (c, 0)).chain(fraction.chars().map(|c| (c, 4))) {
        let digit = u64::from(digit.to_digit(16)?);
        if mantissa >> 60 == 0 {
            mantissa = mantissa << 4 | digit;
            shift = shift.saturating_sub(is_fraction);
        } else {
            mantissa |= u64::from(digit != 0);
            shift = shift.saturating_add(4 - is_fraction);
        }
    }
    let mut value = mantissa as f64;
    let mut power = shift.saturating_add(power);
    while value != 0.0 && value.is_finite() && power != 0 {
        let step = power.clamp(-512, 512);
        value *= 2_f64.powi(step);
        power -= step;
    }
    (value.is_finite() && (value != 0.0 || mantissa == 0)).then_some(value)
}

/// Spells a number in as few digits as read back the same.
#[inline]
pub fn write(value: f64, buffer: &mut [u8; TEXT_MAX]) -> &[u8] {
    if value.abs() <= WHOLE_MAX && value.trunc() == value && (value != 0.0 || value.is_sign_positive()) {
        #[expect(clippy::cast_possible_truncation, reason = "a whole number below 2^62")]
        let whole = value as i64;
        let mut digits = [0; I64_TEXT_MAX];
        let text = format_i64(whole, &mut digits);
        buffer[..text.len()].copy_from_slice(text);
        return &buffer[..text.len()];
    }
    write_other(value, buffer)
}

fn write_other(value: f64, buffer: &mut [u8; TEXT_MAX]) -> &[u8] {
    if let Some(text) = special(value) {
        return text;
    }
    let (mut scientific, mut digits) = ([0; TEXT_MAX], [0; TEXT_MAX]);
    let (count, point) = take_apart(put(&mut scientific, format_args!("{:e}", value.abs())), &mut digits);
    let digits = &digits[..count];
    let count = i32::try_from(count).expect("seventeen digits at most");
    // The last digit counts so many tens.
    let tens = point - (count - 1);
    let mut text = Text { buffer, len: 0 };
    if value < 0.0 {
        text.push(b"-");
    }
    if tens >= 0 && point.abs() < count + 7 {
        text.push(digits);
        text.zeros(tens);
    } else if tens < 0 && (tens > -7 || point.abs() < 4) {
        fixed(&mut text, digits, point);
    } else {
        exponential(&mut text, digits);
        put_exponent(&mut text, point, 1);
    }
    text.done()
}

/// Spells a number in seventeen digits, less the zeros at their end.
pub fn write_17(value: f64, buffer: &mut [u8; TEXT_MAX]) -> &[u8] {
    if let Some(text) = special(value) {
        return text;
    }
    let (mut scientific, mut digits) = ([0; TEXT_MAX], [0; TEXT_MAX]);
    let (count, point) = take_apart(put(&mut scientific, format_args!("{:.16e}", value.abs())), &mut digits);
    let count = digits[..count].iter().rposition(|digit| *digit != b'0').map_or(1, |last| last + 1);
    let digits = &digits[..count];
    let count = i32::try_from(count).expect("seventeen digits at most");
    let mut text = Text { buffer, len: 0 };
    if value < 0.0 {
        text.push(b"-");
    }
    if !(-4..17).contains(&point) {
        exponential(&mut text, digits);
        put_exponent(&mut text, point, 2);
    } else if point >= count - 1 {
        text.push(digits);
        text.zeros(point - (count - 1));
    } else {
        fixed(&mut text, digits, point);
    }
    text.done()
}

fn special(value: f64) -> Option<&'static [u8]> {
    match value {
        f64::INFINITY => Some(b"inf"),
        f64::NEG_INFINITY => Some(b"-inf"),
        _ if value.is_nan() => Some(b"nan"),
        0.0 if value.is_sign_negative() => Some(b"-0"),
        _ => None,
    }
}

/// A text that grows in a buffer.
struct Text<'b> {
    buffer: &'b mut [u8; TEXT_MAX],
    len: usize,
}

impl<'b> Text<'b> {
    fn push(&mut self, bytes: &[u8]) {
        self.buffer[self.len..self.len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }

    fn zeros(&mut self, count: i32) {
        (0..count).for_each(|_| self.push(b"0"));
    }

    fn done(self) -> &'b [u8] {
        &self.buffer[..self.len]
    }
}

/// `digits` with the point behind the first, times ten to `point`, written without an exponent.
fn fixed(text: &mut Text<'_>, digits: &[u8], point: i32) {
    match usize::try_from(point) {
        Ok(point) => {
            let (whole, fraction) = digits.split_at(point + 1);
            text.push(whole);
            text.push(b".");
            text.push(fraction);
        }
        Err(_) => {
            text.push(b"0.");
            text.zeros(-point - 1);
            text.push(digits);
        }
    }
}

fn exponential(text: &mut Text<'_>, digits: &[u8]) {
    let (first, rest) = digits.split_at(1);
    text.push(first);
    if !rest.is_empty() {
        text.push(b".");
        text.push(rest);
    }
}

fn put_exponent(text: &mut Text<'_>, exponent: i32, width: usize) {
    text.push(if exponent < 0 { b"e-" } else { b"e+" });
    let mut digits = [0; TEXT_MAX];
    let exponent = exponent.unsigned_abs();
    text.push(put(&mut digits, format_args!("{exponent:0width$}")));
}

fn put<'b>(buffer: &'b mut [u8; TEXT_MAX], what: std::fmt::Arguments<'_>) -> &'b [u8] {
    let mut left = &mut buffer[..];
    left.write_fmt(what).expect("a double's text fits");
    let len = TEXT_MAX - left.len();
    &buffer[..len]
}

/// The digits of `d.ddde±x`, without the point, and x.
fn take_apart(scientific: &[u8], digits: &mut [u8; TEXT_MAX]) -> (usize, i32) {
    let end = memchr::memchr(b'e', scientific).expect("it has an exponent");
    let mut count = 0;
    for digit in scientific[..end].iter().filter(|byte| byte.is_ascii_digit()) {
        digits[count] = *digit;
        count += 1;
    }
    let exponent = std::str::from_utf8(&scientific[end + 1..]).ok().and_then(|text| text.parse().ok());
    (count, exponent.expect("it is a number"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(value: f64) -> String {
        String::from_utf8(write(value, &mut [0; TEXT_MAX]).to_vec()).expect("ASCII")
    }

    fn written_17(value: f64) -> String {
        String::from_utf8(write_17(value, &mut [0; TEXT_MAX]).to_vec()).expect("ASCII")
    }

    #[test]
    fn doubles_are_spelled_as_redis_spells_them() {
        for (value, short, long) in [
            (0.0, "0", "0"),
            (-0.0, "-0", "-0"),
            (3.0, "3", "3"),
            (-17.0, "-17", "-17"),
            (0.1, "0.1", "0.10000000000000001"),
            (2.72, "2.72", "2.7200000000000002"),
            (-2.5, "-2.5", "-2.5"),
            (1234.5678, "1234.5678", "1234.5678"),
            (0.0001, "0.0001", "0.0001"),
            (0.00001, "0.00001", "1.0000000000000001e-05"),
            (0.000001, "0.000001", "9.9999999999999995e-07"),
            (0.0000001, "1e-7", "9.9999999999999995e-08"),
            (1.5e-7, "1.5e-7", "1.4999999999999999e-07"),
            (1e17, "100000000000000000", "1e+17"),
            (123456789012345680.0, "123456789012345680", "1.2345678901234568e+17"),
            (4611686018427387904.0, "4611686018427387904", "4.6116860184273879e+18"),
            (1e19, "1e+19", "1e+19"),
            (1.5e300, "1.5e+300", "1.5000000000000001e+300"),
            (5e-324, "5e-324", "4.9406564584124654e-324"),
            (1.7976931348623157e308, "1.7976931348623157e+308", "1.7976931348623157e+308"),
            (f64::INFINITY, "inf", "inf"),
            (f64::NEG_INFINITY, "-inf", "-inf"),
        ] {
            assert_eq!(written(value), short);
            assert_eq!(written_17(value), long);
        }
    }

    #[test]
    fn numbers_are_read_as_strtod_reads_them() {
        for (text, value) in [
            ("3", 3.0),
            ("0", 0.0),
            ("-17", -17.0),
            ("007", 7.0),
            ("999999999999999", 999_999_999_999_999.0),
            ("9007199254740993", 9_007_199_254_740_992.0),
            ("+3", 3.0),
            (".5", 0.5),
            ("5.", 5.0),
            ("1e3", 1000.0),
            ("1E-3", 0.001),
            ("inf", f64::INFINITY),
            ("+INF", f64::INFINITY),
            ("-Infinity", f64::NEG_INFINITY),
            ("0e999", 0.0),
            ("0x10", 16.0),
            ("-0X1.8p1", -3.0),
            ("0x.8", 0.5),
            ("0xfffffffffffffffff", 295147905179352825856.0),
            ("4e-324", 5e-324),
        ] {
            assert_eq!(parse(text.as_bytes()), Some(value), "{text}");
        }
        for text in
            ["", " 1", "1 ", "nan", "-nan", "x", "1e400", "-1e400", "1e-400", "0x", "0xg", "0x1p9999", "1_0", "--1"]
        {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
        assert!(parse(b"-0").is_some_and(|zero| zero.is_sign_negative()));
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back_the_same(bits in any::<u64>(), small in -100_000..100_000i64) {
            for value in [f64::from_bits(bits), small as f64 / 64.0, small as f64 * 1e-9, small as f64 * 1e13] {
                if !value.is_nan() {
                    prop_assert_eq!(parse(written(value).as_bytes()).map(f64::to_bits), Some(value.to_bits()));
                    prop_assert_eq!(parse(written_17(value).as_bytes()).map(f64::to_bits), Some(value.to_bits()));
                }
            }
        }
    }
}
