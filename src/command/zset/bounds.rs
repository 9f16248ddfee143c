//! What the words of a request say of a range, and which ranks that is.
//!
//! ```text
//!  by rank     0 -1           negative: from the end
//!  by score    1.5 (3 +inf    a bracket in front leaves the bound itself out
//!  by member   [a (b - +      of sets whose scores are all equal; else the answer is some members, as in Redis
//! ```

use std::ops::Range;

use crate::base::ascii::is_word;
use crate::base::double;
use crate::command::numbers::integer;
use crate::types::ranked::Edge;
use crate::types::score::Score;
use crate::types::zset::Zset;
use crate::wire::fault::Fault;

/// A range of a sorted set.
#[derive(Clone, Copy, Debug)]
pub(super) enum Span<'s> {
    Ranks {
        first: i64,
        last: i64,
    },
    /// Between two places. A bound that stands behind the other leaves nothing.
    Edges {
        from: Bound<'s>,
        to: Bound<'s>,
    },
}

/// An end of a range.
#[derive(Clone, Copy, Debug)]
pub(super) enum Bound<'b> {
    Start,
    End,
    At(Edge<'b>),
}

/// How a range is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    Rank,
    Score,
    Member,
}

/// Which end of a range a word is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    From,
    To,
}

impl By {
    /// The range between two words, the lower one first.
    pub(super) fn span<'s>(self, low: &'s [u8], high: &'s [u8]) -> Result<Span<'s>, Fault> {
        Ok(match self {
            Self::Rank => Span::Ranks { first: integer(low)?, last: integer(high)? },
            Self::Score => Span::Edges { from: by_score(low, Side::From)?, to: by_score(high, Side::To)? },
            Self::Member => Span::Edges { from: by_member(low, Side::From)?, to: by_member(high, Side::To)? },
        })
    }
}

impl Span<'_> {
    /// The ranks, from the lowest score on.
    pub(super) fn ranks(self, zset: &Zset) -> Range<usize> {
        match self {
            Self::Ranks { first, last } => clip(first, last, zset.len()),
            Self::Edges { from, to } => {
                let start = from.rank(zset);
                start..to.rank(zset).max(start)
            }
        }
    }

    /// The same, counted from the highest score down if `first` and `last` are.
    pub(super) fn ranks_down(self, zset: &Zset) -> Range<usize> {
        let ranks = self.ranks(zset);
        match self {
            Self::Ranks { .. } => zset.len() - ranks.end..zset.len() - ranks.start,
            Self::Edges { .. } => ranks,
        }
    }
}

/// Ranks of which negative ones count from the end, both included.
fn clip(first: i64, last: i64, len: usize) -> Range<usize> {
    let len = i64::try_from(len).expect("a count of things in memory fits an i64");
    let place = |rank: i64| if rank < 0 { rank.saturating_add(len) } else { rank };
    let (first, last) = (place(first).max(0), place(last).min(len - 1));
    if first > last {
        return 0..0;
    }
    let inside = |rank: i64| usize::try_from(rank).expect("between the ends");
    inside(first)..inside(last) + 1
}

impl Bound<'_> {
    fn rank(self, zset: &Zset) -> usize {
        match self {
            Self::Start => 0,
            Self::End => zset.len(),
            Self::At(edge) => zset.rank(&edge),
        }
    }
}

fn by_score<'b>(word: &[u8], side: Side) -> Result<Bound<'b>, Fault> {
    const NO_FLOAT: Fault = Fault::Fixed("ERR min or max is not a float");
    let (without, number) = match word {
        [b'(', number @ ..] => (true, number),
        number => (false, number),
    };
    let score = lenient(number).and_then(Score::new).ok_or(NO_FLOAT)?;
    let past = without == (side == Side::From);
    Ok(Bound::At(if past { Edge::PastScore(score) } else { Edge::Score(score) }))
}

/// As strtod, whose range nobody checks here: nothing is 0, blanks may lead, what is too large is infinite.
fn lenient(word: &[u8]) -> Option<f64> {
    if word.is_empty() {
        return Some(0.0);
    }
    let word = word.trim_ascii_start();
    double::parse(word).or_else(|| {
        let is_number = word.first().is_some_and(|first| first.is_ascii_digit() || b"+-.".contains(first));
        let is_hex = word.iter().any(|byte| byte.eq_ignore_ascii_case(&b'x'));
        std::str::from_utf8(word).ok().filter(|_| is_number && !is_hex)?.parse().ok()
    })
}

fn by_member(word: &[u8], side: Side) -> Result<Bound<'_>, Fault> {
    Ok(match (word, side) {
        (b"-", _) => Bound::Start,
        (b"+", _) => Bound::End,
        ([b'[', member @ ..], Side::From) | ([b'(', member @ ..], Side::To) => Bound::At(Edge::Member(member)),
        ([b'[', member @ ..], Side::To) | ([b'(', member @ ..], Side::From) => Bound::At(Edge::PastMember(member)),
        _ => return Err(Fault::Fixed("ERR min or max not valid string range item")),
    })
}

/// The part of a range that `LIMIT offset count` leaves. A negative count is no limit, a negative offset leaves nothing, as in Redis.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limit {
    pub(super) offset: i64,
    pub(super) count: i64,
}

impl Limit {
    pub(super) const NONE: Self = Self { offset: 0, count: -1 };

    pub(super) fn cut(self, ranks: Range<usize>, way: crate::types::ranked::Way) -> Range<usize> {
        let Ok(offset) = usize::try_from(self.offset) else { return 0..0 };
        let skipped = offset.min(ranks.len());
        let kept = usize::try_from(self.count).unwrap_or(usize::MAX).min(ranks.len() - skipped);
        match way {
            crate::types::ranked::Way::Up => ranks.start + skipped..ranks.start + skipped + kept,
            crate::types::ranked::Way::Down => ranks.end - skipped - kept..ranks.end - skipped,
        }
    }
}

/// Which end of a sorted set: MIN or MAX.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extreme {
    Min,
    Max,
}

impl Extreme {
    pub(super) fn named(word: &[u8]) -> Option<Self> {
        if is_word(word, "MIN") {
            Some(Self::Min)
        } else if is_word(word, "MAX") {
            Some(Self::Max)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::ranked::Way;

    #[test]
    fn limits_cut_from_the_side_the_walk_begins_at() {
        let cut = |offset, count, way| Limit { offset, count }.cut(10..20, way);
        assert_eq!(cut(0, -1, Way::Up), 10..20);
        assert_eq!(cut(2, 3, Way::Up), 12..15);
        assert_eq!(cut(2, 3, Way::Down), 15..18);
        assert_eq!(cut(8, 3, Way::Down), 10..12);
        assert_eq!(cut(8, i64::MAX, Way::Up), 18..20);
        assert!(cut(10, 3, Way::Up).is_empty() && cut(-1, 3, Way::Up).is_empty() && cut(0, 0, Way::Down).is_empty());
    }

    #[test]
    fn scores_are_read_as_leniently_as_redis_does() {
        for (word, value) in
            [("", 0.0), (" 1", 1.0), ("1e999", f64::INFINITY), ("-1e999", f64::NEG_INFINITY), ("1e-999", 0.0)]
        {
            assert_eq!(lenient(word.as_bytes()), Some(value), "{word:?}");
        }
        for word in ["x", "1 ", "nan", "(", "0xg"] {
            assert!(lenient(word.as_bytes()).and_then(Score::new).is_none(), "{word:?}");
        }
    }
}
