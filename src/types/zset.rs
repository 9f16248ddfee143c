//! Sorted sets: members with scores, ordered by score and then by the bytes of the member.
//!
//! ```text
//!  Zset::Packed   Packed<2>             OBJECT ENCODING listpack   in order; up to zset-max-listpack-entries members
//!                 member, score                                    of up to zset-max-listpack-value bytes
//!  Zset::Large    Box { index, order }  OBJECT ENCODING skiplist   for good once it is one, as in Redis
//!                 index   Trie<2>       member -> score            the look-up, ZSCAN
//!                 order   Ranked        score, member              ranks and ranges
//! ```
//!
//! A score is stored as its eight bytes from the highest on; a packed set leaves out the zeros at the end, so that small whole numbers and
//! simple fractions take two to four. A large set does not, since a record that keeps its size is written over where it is: leaving them out
//! had leaves built anew every few changes of a score. A large set holds its members twice, packed both times: some 60 bytes for a member of sixteen and a random score, where
//! Redis's skiplist and table take a hundred. Holding only addresses on one side would save a quarter of that and make each step of a range, or each
//! comparison among equal scores, a look-up. Members beyond INLINE_MAX are ropes that both sides share.
//!
//! Absent: arithmetic and conditions (the caller looks, decides and sets), and choice at random (the caller draws ranks).

pub mod mix;

use std::ops::Range;

use super::Progress;
use super::packed::{Cell, Form, Packed, Place};
use super::ranked::{Edge, Ranked, Way, compare};
use super::rope::Rope;
use super::score::{SCORE_BYTES, Score};
use super::set::TextRoom;
use super::trie::{INLINE_MAX, Name, Pair, Stop, Trie, Value};
use crate::base::ascii::I64_TEXT_MAX;
use crate::base::hash::HashKey;

#[derive(Clone, Debug)]
pub enum Zset {
    Packed(Packed<2>),
    Large(Box<Large>),
}

#[derive(Clone, Debug, Default)]
pub struct Large {
    index: Trie<2>,
    order: Ranked,
}

/// How large a packed sorted set may grow.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// `zset-max-listpack-entries`
    pub entries: usize,
    /// `zset-max-listpack-value`
    pub member_bytes: usize,
}

impl Default for Limits {
    /// Redis's defaults.
    fn default() -> Self {
        Self { entries: 128, member_bytes: 64 }
    }
}

impl Default for Zset {
    fn default() -> Self {
        Self::Packed(Packed::new())
    }
}

impl Zset {
    /// As OBJECT ENCODING reports it.
    pub fn encoding(&self) -> &'static str {
        match self {
            Self::Packed(_) => "listpack",
            Self::Large(_) => "skiplist",
        }
    }

    pub fn len(&self) -> usize {
        match self {
            Self::Packed(packed) => packed.len(),
            Self::Large(large) => large.index.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    #[inline]
    pub fn score(&self, member: &[u8], hasher: &HashKey) -> Option<Score> {
        match self {
            Self::Packed(packed) => packed.find(&Form::of(member)).map(|(_, row)| score_of(row.second)),
            Self::Large(large) => large.score(member, hasher),
        }
    }

    /// Adds a member, or gives it another score; the score it had:
    /// 1. becomes large if the packed form would exceed `limits` (or its own bound in bytes);
    /// 2. puts a displaced long member into `graves`, for the caller to free in steps.
    pub fn set(
        &mut self,
        member: &[u8],
        score: Score,
        limits: Limits,
        hasher: &HashKey,
        graves: &mut Vec<Rope>,
    ) -> Option<Score> {
        self.decide(member, limits, hasher, graves, |_| Some(score))
    }

    /// As [`Self::set`], the score being what `choose` makes of the one that the member had; `None`: nothing changes.
    pub fn decide(
        &mut self,
        member: &[u8],
        limits: Limits,
        hasher: &HashKey,
        graves: &mut Vec<Rope>,
        choose: impl FnOnce(Option<Score>) -> Option<Score>,
    ) -> Option<Score> {
        if let Self::Packed(packed) = self {
            let form = Form::of(member);
            let found = packed.find(&form).map(|(place, row)| (place, score_of(row.second)));
            let before = found.map(|(_, score)| score);
            let Some(score) = choose(before) else { return before };
            if set_packed(packed, (member, &form), score, found.map(|(place, _)| place), limits).is_err() {
                let mut large = unpack(packed, hasher);
                large.set(Name::of(member, hasher), score, before, hasher, graves);
                *self = Self::Large(Box::new(large));
            }
            return before;
        }
        let Self::Large(large) = self else { unreachable!("it is not packed") };
        let name = Name::of(member, hasher);
        let before = large.index.find_named(name).map(scored);
        if let Some(score) = choose(before) {
            large.set(name, score, before, hasher, graves);
        }
        before
    }

    /// The score of the member that is removed, if there was one.
    pub fn remove(&mut self, member: &[u8], hasher: &HashKey, graves: &mut Vec<Rope>) -> Option<Score> {
        match self {
            Self::Packed(packed) => {
                let (place, row) = packed.find(&Form::of(member))?;
                let score = score_of(row.second);
                packed.remove(place);
                Some(score)
            }
            Self::Large(large) => {
                let name = Name::of(member, hasher);
                let score = large.index.find_named(name).map(scored)?;
                large.order.remove(score, member);
                large.index.remove_found(name, hasher, graves);
                Some(score)
            }
        }
    }

    /// Removes the member of a rank that there is, after `visit` has seen it.
    pub fn remove_nth(
        &mut self,
        rank: usize,
        hasher: &HashKey,
        graves: &mut Vec<Rope>,
        visit: impl FnOnce(Value<'_>, Score),
    ) {
        match self {
            Self::Packed(packed) => {
                let (place, row) = packed.iter().nth(rank).expect("the caller has seen it");
                visit(Value::Short(row.first), score_of(row.second));
                packed.remove(place);
            }
            Self::Large(large) => {
                let (member, score) = large.order.nth(rank);
                let mut room = TextRoom::default();
                let name = Name::of(room.text(member), hasher);
                large.index.foresee(name);
                visit(member, score);
                large.index.remove_found(name, hasher, graves);
                large.order.remove_nth(rank);
            }
        }
    }

    /// How many members come before this one, and its score.
    pub fn rank_of(&self, member: &[u8], hasher: &HashKey) -> Option<(usize, Score)> {
        match self {
            Self::Packed(packed) => {
                let form = Form::of(member);
                let (rank, row) =
                    packed.iter().map(|(_, row)| row).enumerate().find(|(_, row)| row.first == form.cell())?;
                Some((rank, score_of(row.second)))
            }
            Self::Large(large) => {
                let score = large.score(member, hasher)?;
                Some((large.order.rank(&Edge::Element(score, member)), score))
            }
        }
    }

    /// How many members lie in front of `edge`.
    pub fn rank(&self, edge: &Edge<'_>) -> usize {
        match self {
            Self::Packed(packed) => packed.iter().take_while(|(_, row)| is_behind(edge, row.first, row.second)).count(),
            Self::Large(large) => large.order.rank(edge),
        }
    }

    /// Visits the members of these ranks.
    pub fn range<'s>(&'s self, ranks: Range<usize>, way: Way, mut visit: impl FnMut(Value<'s>, Score)) {
        match self {
            Self::Packed(packed) => {
                let rows = packed.iter().map(|(_, row)| row).skip(ranks.start).take(ranks.len());
                let mut show = |row: super::packed::Row<'s>| visit(Value::Short(row.first), score_of(row.second));
                match way {
                    Way::Up => rows.for_each(&mut show),
                    Way::Down => rows.collect::<Vec<_>>().into_iter().rev().for_each(&mut show),
                }
            }
            Self::Large(large) => large.order.range(ranks, way, &mut visit),
        }
    }

    /// Visits about `count` members from `cursor` on (0: the beginning) and returns the cursor to go on with (0: the end). A member
    /// that is there from the first call to the last is visited; a packed set comes whole in one call, as in Redis.
    pub fn scan(
        &self,
        cursor: u64,
        count: usize,
        stop: Stop,
        hasher: &HashKey,
        mut visit: impl FnMut(Value<'_>, Score),
    ) -> u64 {
        match self {
            Self::Large(large) => large.index.scan(cursor, count, stop, hasher, |pair| visit(pair.first, scored(pair))),
            Self::Packed(packed) => {
                packed.iter().for_each(|(_, row)| visit(Value::Short(row.first), score_of(row.second)));
                0
            }
        }
    }

    /// A packed set keeps none, as Redis's listpack; whoever makes one of others has to say so.
    pub fn forget_negative_zeros(&mut self) {
        let Self::Packed(packed) = self else { return };
        let (mut member, zero) = (Vec::new(), Score::ZERO.to_bytes());
        loop {
            let negative =
                packed.iter().find(|(_, row)| score_of(row.second).is_negative_zero()).map(|(place, row)| {
                    member.clear();
                    member.extend_from_slice(row.first.text(&mut [0; I64_TEXT_MAX]));
                    place
                });
            let Some(place) = negative else { return };
            packed.replace(place, &Form::of(&member), &Form::of(trimmed(&zero)));
        }
    }

    pub fn bytes(&self) -> usize {
        match self {
            Self::Packed(packed) => packed.bytes(),
            Self::Large(large) => size_of::<Large>() + large.index.bytes() + large.order.bytes(),
        }
    }

    pub fn recount_bytes(&self) -> usize {
        match self {
            Self::Packed(packed) => packed.bytes(),
            Self::Large(large) => size_of::<Large>() + large.index.recount_bytes() + large.order.recount_bytes(),
        }
    }

    /// Gives back at most `budget` nodes. The order goes first, so that long members die with the index, in steps.
    pub fn free_step(&mut self, budget: &mut usize) -> Progress {
        let freed = match self {
            Self::Packed(_) if *budget == 0 => Progress::More,
            Self::Packed(_) => {
                *budget -= 1;
                Progress::Done
            }
            // An order that is gone has one more empty node to give at every step: a budget of one would never get past it.
            Self::Large(large) if large.order.is_empty() => large.index.free_step(budget),
            Self::Large(large) => match large.order.free_step(budget) {
                Progress::More => Progress::More,
                Progress::Done => large.index.free_step(budget),
            },
        };
        if freed == Progress::More {
            return Progress::More;
        }
        *self = Self::default();
        Progress::Done
    }
}

impl Large {
    #[inline]
    pub(super) fn foresee(&self, member: &[u8], hasher: &HashKey) {
        self.index.foresee(Name::of(member, hasher));
    }

    #[inline]
    fn score(&self, member: &[u8], hasher: &HashKey) -> Option<Score> {
        self.index.find(member, hasher).map(scored)
    }

    /// `before`: the score it has.
    fn set(&mut self, name: Name<'_>, score: Score, before: Option<Score>, hasher: &HashKey, graves: &mut Vec<Rope>) {
        let member = name.text();
        // The order lets a long member go first, so that its last holder is the grave.
        if let Some(before) = before {
            self.order.foresee(&Edge::PastElement(score, member));
            self.order.remove(before, member);
        }
        self.index.set_named(name, &score.to_bytes(), hasher, graves);
        let rope = if member.len() > INLINE_MAX { self.long(member, hasher) } else { None };
        self.order.insert(score, member, rope.as_ref());
    }

    /// The rope that the index holds a long member in.
    fn long(&self, member: &[u8], hasher: &HashKey) -> Option<Rope> {
        match self.index.find(member, hasher)?.first {
            Value::Short(_) => None,
            Value::Long(rope) => Some(rope.clone()),
        }
    }
}

/// The packed form cannot take it.
struct TooLarge;

/// Changes nothing if the set must become large first. `old`: where the member is.
fn set_packed(
    packed: &mut Packed<2>,
    (member, form): (&[u8], &Form<'_>),
    score: Score,
    old: Option<Place>,
    limits: Limits,
) -> Result<(), TooLarge> {
    let bytes = score.to_bytes();
    let second = Form::of(trimmed(&bytes));
    // Beyond INLINE_MAX a member deserves a node of its own, whatever is configured.
    let too_large = member.len() > limits.member_bytes.min(INLINE_MAX) || packed.len() >= limits.entries;
    if old.is_none() && too_large || !packed.has_room(form, &second) {
        return Err(TooLarge);
    }
    if let Some(place) = old {
        packed.remove(place);
    }
    let edge = Edge::PastElement(score, member);
    let place = packed.iter().find(|(_, row)| !is_behind(&edge, row.first, row.second)).map(|(place, _)| place);
    match place {
        Some(place) => packed.insert(place, form, &second),
        None => packed.push(form, &second),
    }
    Ok(())
}

fn unpack(packed: &Packed<2>, hasher: &HashKey) -> Large {
    let (mut large, mut graves) = (Large::default(), Vec::new());
    for (_, row) in packed.iter() {
        let mut member = [0; I64_TEXT_MAX];
        let name = Name::of(row.first.text(&mut member), hasher);
        large.set(name, score_of(row.second), None, hasher, &mut graves);
    }
    assert!(graves.is_empty(), "a packed set has no long members");
    large
}

fn is_behind(edge: &Edge<'_>, member: Cell<'_>, score: Cell<'_>) -> bool {
    edge.is_behind(score_of(score), |text| compare(Value::Short(member), text))
}

fn scored(pair: Pair<'_>) -> Score {
    match pair.second {
        Value::Short(cell) => score_of(cell),
        Value::Long(_) => unreachable!("a score has eight bytes at most"),
    }
}

#[inline]
fn score_of(cell: Cell<'_>) -> Score {
    Score::from_bytes(cell.text(&mut [0; I64_TEXT_MAX]))
}

/// Without the zeros at the end.
#[inline]
fn trimmed(bytes: &[u8; SCORE_BYTES]) -> &[u8] {
    let zeros = (u64::from_be_bytes(*bytes).trailing_zeros() / 8) as usize;
    &bytes[..SCORE_BYTES - zeros]
}

#[cfg(test)]
mod tests;
