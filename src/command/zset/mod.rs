//! Sorted sets: how handlers reach them, and what they share.
//!
//! ```text
//!  scores.rs   members and their scores: ZADD ZINCRBY ZREM ZSCORE ZRANK ZSCAN ...      bounds.rs   what words say of a range
//!  ranges.rs   ZRANGE and its older forms, ZCOUNT, ZLEXCOUNT                          removal.rs  ZREMRANGEBY...
//!  pops.rs     ZPOPMIN ZPOPMAX ZMPOP, and those that wait                             random.rs   ZRANDMEMBER
//!  algebra.rs  ZUNION ZINTER ZDIFF and their STORE forms                            store.rs   ZRANGESTORE
//! ```
//!
//! Every range is one of ranks: bounds by score or by member are looked up as ranks first, LIMIT and REV are arithmetic on them. What is
//! long is a job: reads work on a clone of the root, removals hold their key (`sliced.rs`).

pub mod algebra;
pub mod bounds;
pub mod pops;
pub mod random;
pub mod ranges;
pub mod removal;
pub mod scores;
pub mod store;

use super::Ctx;
use super::caller::{Key, answer_value};
use super::sliced::Pieces;
use super::storing::Made;
use crate::base::hash::HashKey;
use crate::store::entry::{EntryRef, Kind, Value, ValueRef};
use crate::store::event::Event;
use crate::store::keyspace::{Graveyard, Write};
use crate::types::rope::Rope;
use crate::types::score::Score;
use crate::types::trie::Value as Member;
use crate::types::zset::{Limits, Zset};
use crate::types::{Object, ranked};
use crate::wire::fault::Fault;
use crate::wire::reply::{Dialect, Reply};

/// What an entry holds, if that is a sorted set; a fault when it is something else.
fn as_zset(entry: Option<EntryRef<'_>>) -> Result<Option<&Zset>, Fault> {
    match entry.map(EntryRef::value) {
        None => Ok(None),
        Some(ValueRef::Object(Object::Zset(zset))) => Ok(Some(zset)),
        Some(_) => Err(Fault::WrongType),
    }
}

/// How a sorted set is reached from a handler.
impl Ctx<'_> {
    /// The sorted set at `key`, with the hash key that its look-ups want; a fault when it holds something else.
    pub(super) fn zset(&mut self, key: Key<'_>) -> Result<Option<(&Zset, HashKey)>, Fault> {
        let hasher = self.store.hash_key;
        Ok(as_zset(self.read(key))?.map(|zset| (zset, hasher)))
    }

    /// The sorted set that a write is about to change; counts no hit and no miss.
    pub(super) fn old_zset(&mut self, key: Key<'_>) -> Result<Option<(&Zset, HashKey)>, Fault> {
        let hasher = self.store.hash_key;
        let entry = self.store.touch(self.db, key, self.now);
        Ok(as_zset(entry)?.map(|zset| (zset, hasher)))
    }

    pub(super) fn zset_limits(&self) -> Limits {
        Limits {
            entries: usize::try_from(self.config.zset_packed_entries_max()).unwrap_or(0),
            member_bytes: usize::try_from(self.config.zset_packed_value_bytes_max()).unwrap_or(usize::MAX),
        }
    }

    /// Changes the sorted set at `key`, which is one if it is there and is made if not. The caller says what happened.
    fn grow_zset<R>(&mut self, key: Key<'_>, mut change: impl FnMut(&mut Edit<'_>) -> R) -> Result<R, Fault> {
        if let Some(changed) = self.edit_zset_if(key, &mut change)? {
            return Ok(changed);
        }
        let (limits, hasher) = (self.zset_limits(), self.store.hash_key);
        let (mut zset, mut displaced) = (Zset::default(), Vec::new());
        let result = change(&mut Edit { zset: &mut zset, limits, hasher, displaced: &mut displaced });
        if !zset.is_empty() {
            let value = Value::Object(Kind::Zset, Box::new(Object::Zset(zset)));
            self.store.set(self.db, key, value, Write::default(), self.now);
        }
        Ok(result)
    }

    /// Changes a sorted set that is there.
    fn edit_zset<R>(&mut self, key: Key<'_>, change: impl FnOnce(&mut Edit<'_>) -> R) -> R {
        let edited = self.edit_zset_if(key, change).ok().flatten();
        edited.expect("the caller has found it, and looked at its type")
    }

    /// Changes the sorted set at `key`, if it is there; a fault when it holds something else.
    fn edit_zset_if<R>(&mut self, key: Key<'_>, change: impl FnOnce(&mut Edit<'_>) -> R) -> Result<Option<R>, Fault> {
        let (limits, hasher) = (self.zset_limits(), self.store.hash_key);
        let mut displaced = Vec::new();
        let edited = self.store.edit(self.db, key, self.now, |object| match object {
            Some(Object::Zset(zset)) => Ok(change(&mut Edit { zset, limits, hasher, displaced: &mut displaced })),
            _ => Err(Fault::WrongType),
        });
        displaced.into_iter().for_each(|rope| self.store.graves.bury_object(Object::Rope(rope)));
        edited.transpose()
    }

    /// Members were taken out of the sorted set at `key`: says so, and removes it if none is left.
    fn taken_from_zset(&mut self, key: Key<'_>, event: Event, left: Left) {
        self.happened(event, key);
        if left == Left::Nothing {
            self.bury(key);
            self.store.effects.also(self.db, Event::DEL, key);
        }
    }
}

/// What is left of a sorted set after a removal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    Some,
    Nothing,
}

impl Left {
    fn of(zset: &Zset) -> Self {
        if zset.is_empty() { Self::Nothing } else { Self::Some }
    }
}

/// A sorted set being written.
struct Edit<'z> {
    zset: &'z mut Zset,
    limits: Limits,
    hasher: HashKey,
    displaced: &'z mut Vec<Rope>,
}

impl Edit<'_> {
    /// Lets `choose` say what becomes of a member's score; the one it had. A packed set knows no negative zero, as Redis's listpack; whether it
    /// still is one is known when the member is in it.
    fn decide(&mut self, member: &[u8], choose: impl FnOnce(Option<Score>) -> Option<Score>) -> Option<Score> {
        let Self { zset, limits, hasher, displaced } = self;
        let mut new = None;
        let before = zset.decide(member, *limits, hasher, displaced, |old| {
            new = choose(old);
            new
        });
        if new.is_some_and(Score::is_negative_zero) && matches!(zset, Zset::Packed(_)) {
            zset.set(member, Score::ZERO, *limits, hasher, displaced);
        }
        before
    }

    fn remove(&mut self, member: &[u8]) -> Option<Score> {
        self.zset.remove(member, &self.hasher, self.displaced)
    }

    /// Removes the members of these ranks one after the other, `show`ing each before.
    fn remove_ranks(
        &mut self,
        ranks: std::ops::Range<usize>,
        way: ranked::Way,
        mut show: impl FnMut(Member<'_>, Score),
    ) {
        for past in ranks.clone().rev() {
            // Those behind what has gone move up.
            let rank = if way == ranked::Way::Up { ranks.start } else { past };
            self.zset.remove_nth(rank, &self.hasher, self.displaced, &mut show);
        }
    }
}

/// What is answered of members, and how a dialect nests it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Members,
    /// Member, score, member, score.
    Flat,
    /// Arrays of a member and its score.
    Pairs,
}

impl Shape {
    /// Of commands whose WITHSCORES answers pairs to RESP3 alone.
    fn with_scores(dialect: Dialect) -> Self {
        match dialect {
            Dialect::Resp2 => Self::Flat,
            Dialect::Resp3 => Self::Pairs,
        }
    }

    /// The array of `count` members.
    fn head(self, count: usize, reply: &mut Reply<'_>) {
        reply.array(if self == Self::Flat { count * 2 } else { count });
    }

    #[inline(always)]
    fn element(self, member: Member<'_>, score: Score, reply: &mut Reply<'_>) {
        if self == Self::Pairs {
            reply.array(2);
        }
        answer_value(member, reply);
        if self != Self::Members {
            reply.double(score.value());
        }
    }
}

/// Members that are answered when all of them are known.
#[derive(Debug)]
struct Answer {
    shape: Shape,
    dialect: Dialect,
    count: usize,
    pieces: Pieces,
}

impl Answer {
    fn new(shape: Shape, dialect: Dialect) -> Self {
        Self { shape, dialect, count: 0, pieces: Pieces::default() }
    }

    fn push(&mut self, member: Member<'_>, score: Score) {
        self.shape.element(member, score, &mut Reply::new(self.pieces.output(), self.dialect));
        self.count += 1;
    }

    /// Nobody waits for it any more.
    fn bury(self, graves: &mut Graveyard) {
        self.pieces.bury(graves);
    }

    /// Between two steps.
    fn cut(&mut self) {
        self.pieces.cut();
    }

    fn pour(&mut self, reply: &mut Reply<'_>) {
        self.shape.head(self.count, reply);
        self.pieces.pour(reply);
    }
}

/// A sorted set that a command has made, unless it is empty.
fn made(mut zset: Zset) -> Option<Made> {
    zset.forget_negative_zeros();
    let len = zset.len();
    (len > 0).then_some(Made { kind: Kind::Zset, object: Object::Zset(zset), len })
}
