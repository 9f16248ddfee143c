//! Sums of decimal fractions, exact where Redis's `long double` is: INCRBYFLOAT of 0.1 and 0.2 is 0.3.
//!
//! A number is held as a multiple of 10^-17, Redis's printed precision, in an `i128`, which reaches beyond 10^21. Greater
//! numbers are added as `f64`, whose seventeen digits are then all that is left of either.

/// Decimal places that are kept and printed.
const PLACES: i32 = 17;
const UNIT: i128 = 100_000_000_000_000_000;

/// A parsed decimal number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Decimal {
    /// In units of 10^-17.
    Fixed(i128),
    Float(f64),
}

impl Decimal {
    pub const ZERO: Self = Self::Fixed(0);

    /// Parses `[+-]digits[.digits][e[+-]digits]`, `inf` and `infinity`; no blanks, no NaN.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let float: f64 = text.parse().ok()?;
        if float.is_nan() {
            return None;
        }
        Some(fixed(text).map_or(Self::Float(float), Self::Fixed))
    }

    /// `None` when the sum is not a finite number.
    pub fn checked_add(self, other: Self) -> Option<Self> {
        if let (Self::Fixed(a), Self::Fixed(b)) = (self, other)
            && let Some(sum) = a.checked_add(b)
        {
            return Some(Self::Fixed(sum));
        }
        let sum = self.to_f64() + other.to_f64();
        sum.is_finite().then_some(Self::Float(sum))
    }

    fn to_f64(self) -> f64 {
        match self {
            Self::Fixed(value) => value as f64 / UNIT as f64,
            Self::Float(value) => value,
        }
    }
}

/// Plain digits, no exponent, no trailing zeros of a fraction.
impl std::fmt::Display for Decimal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let value = match *self {
            Self::Float(value) => return write!(f, "{value}"),
            Self::Fixed(value) => value,
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

/// The number in units of 10^-17, rounded half away from zero, if it fits. `text` is a float's.
fn fixed(text: &str) -> Option<i128> {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let negative = mantissa.starts_with('-');
    let digits = mantissa.trim_start_matches(['+', '-']);
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    let mut value: i128 = 0;
    for byte in whole.bytes().chain(part.bytes()) {
        let digit = byte.checked_sub(b'0').filter(|digit| *digit <= 9)?;
        value = value.checked_mul(10)?.checked_add(i128::from(digit))?;
    }
    let shift = exponent.checked_sub(i32::try_from(part.len()).ok()?)?.checked_add(PLACES)?;
    let value = match shift {
        0.. => value.checked_mul(10_i128.checked_pow(shift.unsigned_abs())?)?,
        _ => match 10_i128.checked_pow(shift.unsigned_abs()) {
            Some(divisor) => (value + divisor / 2) / divisor,
            None => 0,
        },
    };
    Some(if negative { -value } else { value })
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
            ("1e308", "1e308", "none"),
            ("99999999999999999999", "1", "100000000000000000000"),
            ("1e-18", "0", "0"),
        ] {
            assert_eq!(sum(a, b), expected, "{a} + {b}");
        }
        for bad in ["", "a", "1 ", " 1", "nan", "1e", "--1", "0x10"] {
            assert_eq!(Decimal::parse(bad.as_bytes()), None, "{bad:?}");
        }
        assert_eq!(sum("inf", "1"), "none");
    }
}
