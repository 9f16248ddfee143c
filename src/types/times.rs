//! When the records of a collection die: all that whoever holds it needs to know of their deadlines.
//!
//! ```text
//!  next   the first deadline of any record      NEVER: none has one
//!  last   when none will be left                NEVER: a record without a deadline stays, or there is none to die
//! ```
//!
//! Of parts the times of the whole follow: the least `next`, the greatest `last`. Each Inner of a trie keeps those of its branches once
//! one of them has any, so that the next record to die is found by descending, without an index beside the records.

use crate::base::time::Millis;

const NEVER: u64 = u64::MAX;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    next: u64,
    last: u64,
}

impl Times {
    /// Of no record.
    pub const EMPTY: Self = Self { next: NEVER, last: 0 };
    /// Of records without a deadline.
    pub const UNTIMED: Self = Self { next: NEVER, last: NEVER };

    /// Of one record.
    #[inline]
    pub fn of(deadline: Option<Millis>) -> Self {
        deadline.map_or(Self::UNTIMED, |at| Self { next: at.0, last: at.0 })
    }

    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self { next: self.next.min(other.next), last: self.last.max(other.last) }
    }

    /// Whether any record has a deadline.
    #[inline]
    pub fn any(self) -> bool {
        self.next != NEVER
    }

    #[inline]
    pub fn next(self) -> Option<Millis> {
        self.any().then_some(Millis(self.next))
    }

    /// When the last record dies, if all have a deadline.
    pub fn last(self) -> Option<Millis> {
        (self.any() && self.last != NEVER).then_some(Millis(self.last))
    }

    /// Whether a record's time has come.
    #[inline]
    pub fn some_due(self, now: Millis) -> bool {
        self.any() && self.next <= now.0
    }

    /// Whether the time of every record has come.
    #[inline]
    pub fn all_due(self, now: Millis) -> bool {
        self.any() && self.last <= now.0
    }
}

impl FromIterator<Self> for Times {
    fn from_iter<T: IntoIterator<Item = Self>>(parts: T) -> Self {
        parts.into_iter().fold(Self::EMPTY, Self::with)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_dies_with_the_last_of_its_parts_and_not_while_one_has_no_deadline() {
        let at = |ms| Times::of(Some(Millis(ms)));
        let both = at(5).with(at(9));
        assert_eq!((both.next(), both.last()), (Some(Millis(5)), Some(Millis(9))));
        assert_eq!([both.some_due(Millis(4)), both.some_due(Millis(5))], [false, true]);
        assert_eq!([both.all_due(Millis(8)), both.all_due(Millis(9))], [false, true]);
        let mixed = both.with(Times::UNTIMED);
        assert_eq!((mixed.next(), mixed.last(), mixed.all_due(Millis(u64::MAX - 1))), (Some(Millis(5)), None, false));
        for none in [Times::EMPTY, Times::UNTIMED] {
            assert_eq!((none.next(), none.last(), none.all_due(Millis(u64::MAX))), (None, None, false));
            assert!(!none.some_due(Millis(u64::MAX)));
        }
        assert_eq!([at(5), Times::EMPTY].into_iter().collect::<Times>(), at(5));
    }
}
