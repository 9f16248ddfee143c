//! Sums of decimal fractions, exact where Redis's `long double` is and beyond: INCRBYFLOAT of 0.1 and 0.2 is 0.3.
//!
//! ```text
//!  Small   value x 10^-17            Redis's printed precision, up to 10^21 in an i128
//!  Great   digits x 10^zeros         whole numbers of up to 37 digits that count, up to a long double's 1.19 x 10^4932
//! ```
//!
//! Absent: hexadecimal, which Redis takes from `strtold` without a word about it.

/// Decimal places that are kept and printed.
const PLACES: i32 = 17;
const UNIT: i128 = 100_000_000_000_000_000;

/// Digits that count in a great number, and the first number with more of them. Two of them can be added in an `i128`.
const DIGITS: u32 = 37;
const DIGITS_END: u128 = 10_u128.pow(DIGITS);

/// The greatest `long double`: so many digits before the point, the first of which are these.
const ORDER_MAX: i32 = 4933;
const LEADING_MAX: u128 = 1_189_731_495_357_231_765_085_759_326_628_007_016;

/// The place of the first digit that counts in the least one.
const ORDER_MIN: i32 = -4949;

/// A parsed decimal number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decimal {
    /// In units of 10^-17.
    Small(i128),
    /// So many digits with so many zeros behind them.
    Great {
        digits: i128,
        zeros: u32,
    },
    Infinite,
}

impl Decimal {
    pub const ZERO: Self = Self::Small(0);

    /// Parses `[+-]digits[.digits][e[+-]digits]`, `inf` and `infinity`; no blanks, no NaN, nothing out of a `long double`'s range.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let float: f64 = text.parse().ok()?;
        if float.is_nan() {
            return None;
        }
        let (negative, text) = match text.as_bytes() {
            [b'-', ..] => (true, &text[1..]),
            [b'+', ..] => (false, &text[1..]),
            _ => (false, text),
        };
        if !text.starts_with(|first: char| first.is_ascii_digit() || first == '.') {
            return Some(Self::Infinite);
        }
        let (digits, power) = digits(text)?;
        Self::of(if negative { -digits } else { digits }, power)
    }

    /// `digits` x 10^`power`, unless it is out of range.
    fn of(digits: i128, power: i32) -> Option<Self> {
        if digits == 0 {
            return Some(Self::ZERO);
        }
        let order = i32::try_from(digits.unsigned_abs().ilog10()).ok()?.checked_add(power)?.checked_add(1)?;
        if !(ORDER_MIN..=ORDER_MAX).contains(&order) {
            return None;
        }
        let units = power + PLACES;
        let small = match units {
            0.. => 10_i128.checked_pow(units.unsigned_abs()).and_then(|scale| digits.checked_mul(scale)),
            _ => Some(rounded(digits, units.unsigned_abs())),
        };
        if let Some(value) = small {
            return Some(Self::Small(value));
        }
        let (digits, zeros) =
            if power < 0 { (rounded(digits, power.unsigned_abs()), 0) } else { filled(digits, power.unsigned_abs()) };
        let leading_max = i128::try_from(LEADING_MAX).ok()?;
        let is_beyond = order == ORDER_MAX && digits.unsigned_abs() > leading_max.unsigned_abs();
        (!is_beyond).then_some(Self::Great { digits, zeros })
    }

    /// `None` when the sum is not a finite number.
    pub fn checked_add(self, other: Self) -> Option<Self> {
        if let (Self::Small(a), Self::Small(b)) = (self, other)
            && let Some(sum) = a.checked_add(b)
        {
            return Some(Self::Small(sum));
        }
        let (mut greater, mut less) = (self.great()?, other.great()?);
        if greater.1 < less.1 {
            std::mem::swap(&mut greater, &mut less);
        }
        let sum = greater.0 + rounded(less.0, greater.1 - less.1);
        Self::of(sum, i32::try_from(greater.1).ok()?)
    }

    /// Digits and the zeros behind them, as many of the latter as possible made digits.
    fn great(self) -> Option<(i128, u32)> {
        match self {
            Self::Small(value) => Some((rounded(value, PLACES.unsigned_abs()), 0)),
            Self::Great { digits, zeros } => Some((digits, zeros)),
            Self::Infinite => None,
        }
    }
}

/// Plain digits, no exponent, no trailing zeros of a fraction.
impl std::fmt::Display for Decimal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let value = match *self {
            Self::Infinite => return f.write_str("inf"),
            Self::Great { digits, zeros } => return write!(f, "{digits}{:0>1$}", "", zeros as usize),
            Self::Small(value) => value,
        };
        let (whole, part) = (value.unsigned_abs() / UNIT.unsigned_abs(), value.unsigned_abs() % UNIT.unsigned_abs());
        let sign = if value < 0 { "-" } else { "" };
        write!(f, "{sign}{whole}")?;
        if part > 0 {
            write!(f, ".{}", format!("{part:017}").trim_end_matches('0'))?;
        }
        Ok(())
    }
}

/// The digits of an unsigned number that count, and the power of ten they are to be multiplied with. `text` is a float's.
fn digits(text: &str) -> Option<(i128, i32)> {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        // What does not fit is out of range one way or the other, unless there is nothing to multiply.
        Some((mantissa, exponent)) => {
            let extreme = if exponent.starts_with('-') { i32::MIN / 2 } else { i32::MAX / 2 };
            (mantissa, exponent.parse::<i32>().map_or(extreme, |power| power.clamp(i32::MIN / 2, i32::MAX / 2)))
        }
        None => (text, 0),
    };
    let (whole, part) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let (mut value, mut power) = (0_u128, exponent.checked_sub(i32::try_from(part.len()).ok()?)?);
    for digit in whole.bytes().chain(part.bytes()).map(|byte| byte.wrapping_sub(b'0')) {
        if value < DIGITS_END / 10 {
            value = value * 10 + u128::from(digit);
        } else {
            power = power.checked_add(1)?;
        }
    }
    Some((i128::try_from(value).ok()?, power))
}

/// `value` / 10^`places`, rounded half away from zero.
fn rounded(value: i128, places: u32) -> i128 {
    let Some(divisor) = 10_i128.checked_pow(places) else { return 0 };
    let (whole, rest) = (value / divisor, value % divisor);
    whole + if rest.unsigned_abs() >= divisor.unsigned_abs().div_ceil(2) && places > 0 { value.signum() } else { 0 }
}

/// The same number with as many of its zeros as fit made digits, and no more digits than count.
fn filled(mut digits: i128, mut zeros: u32) -> (i128, u32) {
    while zeros > 0 && digits.unsigned_abs() < DIGITS_END / 10 {
        (digits, zeros) = (digits * 10, zeros - 1);
    }
    while digits.unsigned_abs() >= DIGITS_END {
        (digits, zeros) = (rounded(digits, 1), zeros + 1);
    }
    (digits, zeros)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(a: &str, b: &str) -> String {
        let parse = |text: &str| Decimal::parse(text.as_bytes()).expect(text);
        parse(a).checked_add(parse(b)).map_or_else(|| "none".to_owned(), |sum| sum.to_string())
    }

    #[test]
    fn sums_are_those_of_a_long_double() {
        for (a, b, expected) in [
            ("0.1", "0.2", "0.3"),
            ("10.50", "0.1", "10.6"),
            ("5.0e3", "200", "5200"),
            ("3.0", "-1.5", "1.5"),
            ("1", "-1.000000000000000001", "0"),
            ("-0.5", "0.25", "-0.25"),
            ("1e300", "1", &format!("{}", 1e300)),
            ("1e308", "1e308", &format!("2{:0>308}", "")),
            ("1e400", "0", &format!("1{:0>400}", "")),
            ("1e400", "-1e400", "0"),
            ("1e4932", "1e4931", &format!("11{:0>4931}", "")),
            ("1e4932", "1e4932", "none"),
            ("-1.1e4932", "-1e4932", "none"),
            ("123456789012345678901234567890", "1", "123456789012345678901234567891"),
            ("2e21", "-1999999999999999999999", "1"),
            ("1e36", "1e37", "11000000000000000000000000000000000000"),
            ("0e99999999999", "1", "1"),
            ("99999999999999999999", "1", "100000000000000000000"),
            ("1e-18", "0", "0"),
        ] {
            assert_eq!(sum(a, b), expected, "{a} + {b}");
        }
        for bad in ["", "a", "1 ", " 1", "nan", "1e", "--1", "0x10", "1e4933", "1.2e4932", "1e-4951", "1e99999999999"] {
            assert_eq!(Decimal::parse(bad.as_bytes()), None, "{bad:?}");
        }
        assert_eq!(sum("inf", "1"), "none");
    }
}
