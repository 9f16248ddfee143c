//! HRANDFIELD: a job over a clone of the root.
//!
//! ```text
//!  settle   the clone loses what is due, in steps; nobody else sees that        only if something is
//!  draw     an index of all that are left: with repetition;  without, of few    `nth` finds it, exactly fair
//!  deal     every field is taken with the chance of those still wanted among    without repetition, of many
//!           those still to come: each subset is as likely as any other
//! ```

use hashbrown::HashSet;

use super::walk::{STRIDE, next_stride};
use crate::base::ascii::is_word;
use crate::base::limits;
use crate::base::rng::Rng;
use crate::command::Ctx;
use crate::command::caller::answer_value;
use crate::command::numbers::integer;
use crate::command::sliced::{Job, Pieces};
use crate::store::keyspace::Graveyard;
use crate::types::hash::Hash;
use crate::types::trie::{Pair, Stop};
use crate::types::{Object, Progress};
use crate::wire::fault::Fault;
use crate::wire::reply::{Dialect, Reply};
use crate::wire::request::Args;

/// Fields that are drawn rather than dealt: their indices are remembered.
const DRAWN_MAX: usize = 4096;

/// And only while so many times as many are there, so that few are drawn twice.
const DRAWN_OF: usize = 3;

#[derive(Debug)]
struct Picks {
    hash: Hash,
    rng: Rng,
    wanted: Wanted,
    with_values: bool,
    phase: Phase,
    answered: usize,
    /// Fields of the next step, by what those of the last weighed.
    stride: usize,
    pieces: Pieces,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    /// One field, by itself.
    One,
    /// So many, or all, each once.
    Different(usize),
    /// So many, however often the same.
    Any(usize),
}

#[derive(Debug)]
enum Phase {
    Settle,
    Draw {
        left: usize,
        /// Indices that shall not come again.
        seen: Option<HashSet<usize>>,
    },
    Deal {
        cursor: u64,
        wanted: usize,
        to_come: usize,
    },
    Over,
}

pub(super) fn start(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<Box<dyn Job>, Fault> {
    let wanted = match args.get(2) {
        None => Wanted::One,
        Some(count) => wanted(integer(count)?)?,
    };
    let with_values = match (args.len(), args.get(3)) {
        (..=3, _) => false,
        (4, Some(word)) if is_word(word, "WITHVALUES") => true,
        _ => return Err(Fault::Syntax),
    };
    let is_beyond = match wanted {
        Wanted::One => false,
        Wanted::Any(count) => count > limits::DRAWS_MAX,
        Wanted::Different(count) => with_values && count > COUNT_MAX / 2,
    };
    if is_beyond {
        return Err(Fault::OutOfRange);
    }
    let rng = ctx.dice();
    let hash = ctx.hash(ctx.first(args))?.map(|(hash, _)| hash.clone()).unwrap_or_default();
    let pieces = Pieces::default();
    Ok(Box::new(Picks { hash, rng, wanted, with_values, phase: Phase::Settle, answered: 0, stride: STRIDE, pieces }))
}

/// Redis's LONG_MAX.
const COUNT_MAX: usize = usize::MAX >> 1;

fn wanted(count: i64) -> Result<Wanted, Fault> {
    if count == i64::MIN {
        return Err(Fault::Fixed(OUT_OF_RANGE));
    }
    let size = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX);
    Ok(if count < 0 { Wanted::Any(size) } else { Wanted::Different(size) })
}

const OUT_OF_RANGE: &str = "ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807";

impl Job for Picks {
    fn step(&mut self, ctx: &mut Ctx<'_>, reply: &mut Reply<'_>) -> Result<Progress, Fault> {
        if let Phase::Settle = self.phase {
            self.settle(ctx);
        }
        let before = self.pieces.written();
        match self.phase {
            Phase::Settle | Phase::Over => {}
            Phase::Draw { .. } => self.draw(reply.dialect()),
            Phase::Deal { .. } => self.deal(ctx, reply.dialect()),
        }
        self.stride = next_stride(self.stride, self.pieces.written() - before);
        self.pieces.cut();
        if !matches!(self.phase, Phase::Over) {
            return Ok(Progress::More);
        }
        let is_flat = self.with_values && reply.dialect() == Dialect::Resp2;
        match self.wanted {
            Wanted::One if self.answered == 0 => reply.null(),
            Wanted::One => {}
            _ => reply.array(if is_flat { 2 * self.answered } else { self.answered }),
        }
        self.pieces.pour(reply);
        ctx.store.graves.bury_object(Object::Hash(std::mem::take(&mut self.hash)));
        Ok(Progress::Done)
    }

    /// The clone may be the last holder of its nodes by now.
    fn abandon(self: Box<Self>, graves: &mut Graveyard) {
        self.pieces.bury(graves);
        graves.bury_object(Object::Hash(self.hash));
    }
}

impl Picks {
    fn settle(&mut self, ctx: &mut Ctx<'_>) {
        if self.hash.times().some_due(ctx.now) {
            let (hasher, mut displaced) = (ctx.store.hash_key, Vec::new());
            self.hash.expire(ctx.now, limits::FIELDS_PER_STEP, &hasher, &mut displaced, |_| {});
            displaced.into_iter().for_each(|rope| ctx.store.graves.bury_object(Object::Rope(rope)));
            if self.hash.times().some_due(ctx.now) {
                return;
            }
        }
        let len = self.hash.len();
        self.phase = match self.wanted {
            _ if len == 0 => Phase::Over,
            Wanted::One => Phase::Draw { left: 1, seen: None },
            Wanted::Any(count) => Phase::Draw { left: count, seen: None },
            Wanted::Different(count)
                if count <= DRAWN_MAX && count.saturating_mul(DRAWN_OF) <= len && !self.is_packed() =>
            {
                Phase::Draw { left: count, seen: Some(HashSet::with_capacity(count)) }
            }
            Wanted::Different(count) => Phase::Deal { cursor: 0, wanted: count.min(len), to_come: len },
        };
    }

    /// Then finding the n-th passes all before it.
    fn is_packed(&self) -> bool {
        self.hash.encoding() != "hashtable"
    }

    fn draw(&mut self, dialect: Dialect) {
        let (len, mut rows) = (self.hash.len(), Vec::new());
        if self.is_packed() {
            self.hash.for_each(|pair| rows.push(pair));
        }
        let Phase::Draw { left, seen } = &mut self.phase else { return };
        for _ in 0..self.stride {
            if *left == 0 {
                break;
            }
            let index = usize::try_from(self.rng.below(len as u64)).expect("an index");
            if seen.as_mut().is_some_and(|seen| !seen.insert(index)) {
                continue;
            }
            let pair = rows.get(index).copied().or_else(|| self.hash.nth(index)).expect("below the length");
            answer(&mut self.pieces, pair, self.with_values, dialect);
            self.answered += 1;
            *left -= 1;
        }
        if *left == 0 {
            self.phase = Phase::Over;
        }
    }

    fn deal(&mut self, ctx: &mut Ctx<'_>, dialect: Dialect) {
        let Phase::Deal { cursor, wanted, to_come } = &mut self.phase else { return };
        let (hasher, rng) = (ctx.store.hash_key, &mut self.rng);
        let next = self.hash.scan(*cursor, self.stride, Stop::AtCount, ctx.now, &hasher, |pair| {
            if rng.below(*to_come as u64) < *wanted as u64 {
                answer(&mut self.pieces, pair, self.with_values, dialect);
                self.answered += 1;
                *wanted -= 1;
            }
            *to_come -= 1;
        });
        *cursor = next;
        if next == 0 || *wanted == 0 {
            self.phase = Phase::Over;
        }
    }
}

/// RESP3 has a pair as an array of its own.
fn answer(pieces: &mut Pieces, pair: Pair<'_>, with_values: bool, dialect: Dialect) {
    let mut into = pieces.writer();
    if with_values && dialect == Dialect::Resp3 {
        into.array(2);
    }
    answer_value(pair.first, &mut into);
    if with_values {
        answer_value(pair.second, &mut into);
    }
}
