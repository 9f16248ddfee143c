//! Arguments that are numbers or points in time, with the faults Redis answers.

use crate::base::ascii::{is_word, parse_i64};
use crate::base::time::Millis;
use crate::wire::fault::Fault;

/// An integer argument.
pub fn integer(arg: &[u8]) -> Result<i64, Fault> {
    parse_i64(arg).ok_or(Fault::NotInteger)
}

/// A database number for SELECT, COPY and MOVE. What does not fit Redis's int is refused in other words than what names no database.
pub fn database(arg: &[u8], count: usize) -> Result<u8, Fault> {
    const NO_INT: Fault = Fault::Fixed("ERR value is out of range, value must between -2147483648 and 2147483647");
    let index = i32::try_from(integer(arg)?).map_err(|_| NO_INT)?;
    match usize::try_from(index) {
        Ok(index) if index < count => Ok(u8::try_from(index).expect("at most 256 databases")),
        _ => Err(Fault::DbIndexOutOfRange),
    }
}

/// How a number means a point in time: from now or from 1970, in seconds or milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    pub unit_ms: i64,
    pub from_now: bool,
}

impl Moment {
    pub const SECONDS: Self = Self { unit_ms: 1000, from_now: true };
    pub const MILLIS: Self = Self { unit_ms: 1, from_now: true };
    pub const UNIX_SECONDS: Self = Self { unit_ms: 1000, from_now: false };
    pub const UNIX_MILLIS: Self = Self { unit_ms: 1, from_now: false };

    /// EX, PX, EXAT, PXAT.
    pub fn named(word: &[u8]) -> Option<Self> {
        [("EX", Self::SECONDS), ("PX", Self::MILLIS), ("EXAT", Self::UNIX_SECONDS), ("PXAT", Self::UNIX_MILLIS)]
            .into_iter()
            .find(|(name, _)| is_word(word, name))
            .map(|(_, moment)| moment)
    }

    /// A deadline that must be positive, as the options of SET and GETEX want it. One that has passed is fine: 1970 is.
    pub fn parse(self, arg: &[u8], now: Millis, command: &'static str) -> Result<Millis, Fault> {
        let number = integer(arg)?;
        if number <= 0 {
            return Err(Fault::InvalidExpire(command));
        }
        self.at(number, now, command).map(|at| Millis(at.unsigned_abs()))
    }

    /// Milliseconds since 1970, negative before it; a number too large for that is a fault.
    pub fn at(self, number: i64, now: Millis, command: &'static str) -> Result<i64, Fault> {
        let base =
            if self.from_now { i64::try_from(now.0).expect("the clock is before the year 292,000,000") } else { 0 };
        number.checked_mul(self.unit_ms).and_then(|ms| ms.checked_add(base)).ok_or(Fault::InvalidExpire(command))
    }
}
