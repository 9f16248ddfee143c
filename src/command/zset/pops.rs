//! Taking from either end: ZPOPMIN, ZPOPMAX, ZMPOP, and those that wait.
//!
//! ```text
//!  ZPOPMIN key           [member, score]                          its request is its effect
//!  ZPOPMIN key n         RESP2: member, score, ...   RESP3: pairs     likewise; from some hundred on in slices, the key being held
//!  ZMPOP n key ... MIN   [key, [[member, score] ...]]                 ZPOPMIN key n, of the key that was served from
//!  BZPOPMIN key ... t    [key, member, score]                         likewise
//! ```
//!
//! Who takes all there is takes the value out of the keyspace as it is, and walks it when nobody else has it any more.

use std::ops::Range;

use super::super::blocking::{Blocking, Patience, Serve, Served, seconds};
use super::super::places::{BadCount, count};
use super::super::sliced::Job;
use super::super::staged::{Flow, On, Stage};
use super::super::{Command, Ctx, Flags, Group, Keys, Log, Run};
use super::bounds::Extreme;
use super::ranges::next_slice;
use super::{Answer, Edit, Left, Shape};
use crate::base::ascii::{I64_TEXT_MAX, format_u64, is_word, parse_i64};
use crate::base::time::Millis;
use crate::command::caller::Key;
use crate::store::entry::Kind;
use crate::store::event::Event;
use crate::store::keyspace::Graveyard;
use crate::types::ranked::Way;
use crate::types::zset::Zset;
use crate::types::{Object, Progress};
use crate::wire::fault::Fault;
use crate::wire::reply::Reply;
use crate::wire::request::Args;

const ROW: Command = Command {
    group: Group::SortedSet,
    since: "5.0.0",
    keys: Keys::one(Keys::TAKE),
    flags: Flags::WRITE.and(Flags::FAST),
    complexity: "O(log(N)*M) where N is the number of members, M of those taken",
    ..Command::ROW
};
const WAITING: Command = Command {
    keys: Keys::before(1, Keys::TAKE),
    flags: Flags::WRITE.and(Flags::FAST).and(Flags::BLOCKING),
    complexity: "O(log(N)) where N is the number of members",
    log: Log::Effect,
    ..ROW
};

pub const ROWS: &[Command] = &[
    Command {
        name: "bzmpop",
        syntax: "BZMPOP timeout numkeys key [key ...] <MIN | MAX> [COUNT count]",
        arity: -5,
        keys: Keys::counted(2, Keys::TAKE),
        flags: Flags::WRITE.and(Flags::BLOCKING),
        since: "7.0.0",
        complexity: "O(K)+O(M*log(N)) where K is the number of keys, N of members, M of those taken",
        summary: "ZMPOP that waits for a member if there is none.",
        run: Run::Blocking(&Blocking {
            awaits: Kind::Zset,
            serve: Serve::Many(|ctx, args, word, reply| {
                let (extreme, most) = mpop_options(args, 2)?;
                mpop(ctx, ctx.key(args.at(word)), extreme, most, reply)
            }),
            patience: |args, now| {
                mpop_options(args, 2)?;
                seconds(args.at(1), now)
            },
            give_up: |reply| reply.null_array(),
        }),
        ..WAITING
    },
    Command {
        name: "bzpopmax",
        syntax: "BZPOPMAX key [key ...] timeout",
        arity: -3,
        summary: "Takes the member with the highest score from the first key that has one; waits for one if need be.",
        run: Run::Blocking(&Blocking {
            awaits: Kind::Zset,
            serve: Serve::FromKey(|ctx, args, word, reply| pop_named(ctx, ctx.key(args.at(word)), Extreme::Max, reply)),
            patience: last_word,
            give_up: |reply| reply.null_array(),
        }),
        ..WAITING
    },
    Command {
        name: "bzpopmin",
        syntax: "BZPOPMIN key [key ...] timeout",
        arity: -3,
        summary: "Takes the member with the lowest score from the first key that has one; waits for one if need be.",
        run: Run::Blocking(&Blocking {
            awaits: Kind::Zset,
            serve: Serve::FromKey(|ctx, args, word, reply| pop_named(ctx, ctx.key(args.at(word)), Extreme::Min, reply)),
            patience: last_word,
            give_up: |reply| reply.null_array(),
        }),
        ..WAITING
    },
    Command {
        name: "zmpop",
        syntax: "ZMPOP numkeys key [key ...] <MIN | MAX> [COUNT count]",
        arity: -4,
        keys: Keys::counted(1, Keys::TAKE),
        flags: Flags::WRITE,
        since: "7.0.0",
        complexity: "O(K)+O(M*log(N)) where K is the number of keys, N of members, M of those taken",
        summary: "Takes members with the lowest or highest scores from the first key that has one.",
        log: Log::Effect,
        run: Run::Blocking(&Blocking {
            awaits: Kind::Zset,
            serve: Serve::Many(|ctx, args, word, reply| {
                let (extreme, most) = mpop_options(args, 1)?;
                mpop(ctx, ctx.key(args.at(word)), extreme, most, reply)
            }),
            patience: |args, _| mpop_options(args, 1).map(|_| Patience::None),
            give_up: |reply| reply.null_array(),
        }),
        ..ROW
    },
    Command {
        name: "zpopmax",
        syntax: "ZPOPMAX key [count]",
        arity: -2,
        summary: "Takes the members with the highest scores.",
        log: Log::Verbatim,
        run: Run::Staged(&[Stage { on: On::Key(1), run: |ctx, args, _, reply| pop(ctx, args, Extreme::Max, reply) }]),
        ..ROW
    },
    Command {
        name: "zpopmin",
        syntax: "ZPOPMIN key [count]",
        arity: -2,
        summary: "Takes the members with the lowest scores.",
        log: Log::Verbatim,
        run: Run::Staged(&[Stage { on: On::Key(1), run: |ctx, args, _, reply| pop(ctx, args, Extreme::Min, reply) }]),
        ..ROW
    },
];

impl Extreme {
    fn event(self) -> Event {
        match self {
            Self::Min => Event::ZPOPMIN,
            Self::Max => Event::ZPOPMAX,
        }
    }

    fn command(self) -> &'static [u8] {
        match self {
            Self::Min => b"ZPOPMIN",
            Self::Max => b"ZPOPMAX",
        }
    }

    /// In which order the members leave.
    fn way(self) -> Way {
        match self {
            Self::Min => Way::Up,
            Self::Max => Way::Down,
        }
    }

    /// The ranks of the first `count` to leave.
    fn ranks(self, count: usize, len: usize) -> Range<usize> {
        let count = count.min(len);
        match self {
            Self::Min => 0..count,
            Self::Max => len - count..len,
        }
    }
}

fn pop(ctx: &mut Ctx<'_>, args: Args<'_>, extreme: Extreme, reply: &mut Reply<'_>) -> Result<Flow, Fault> {
    let wanted = match args.len() {
        2 => None,
        3 => {
            Some(parse_i64(args.at(2)).and_then(|most| usize::try_from(most).ok()).ok_or(Fault::NotPositive("value"))?)
        }
        _ => return Err(Fault::Syntax),
    };
    let key = ctx.first(args);
    let Some(wanted) = wanted else {
        let taken = ctx.edit_zset_if(key, |edit| {
            Shape::Flat.head(1, reply);
            take(edit, extreme, 1, Shape::Flat, reply)
        })?;
        match taken {
            Some(left) => ctx.taken_from_zset(key, extreme.event(), left),
            None => reply.array(0),
        }
        return Ok(Flow::Done);
    };
    let held = ctx.old_zset(key)?.map_or(0, |(zset, _)| zset.len());
    let (count, shape) = (wanted.min(held), Shape::with_scores(reply.dialect()));
    if count > ctx.store.strides.removals {
        let answer = Answer::new(shape, reply.dialect());
        return Ok(Flow::Job(Box::new(Pop::begin(ctx, key, extreme, (count, held), answer))));
    }
    shape.head(count, reply);
    if count > 0 {
        let left = ctx.edit_zset(key, |edit| take(edit, extreme, count, shape, reply));
        ctx.taken_from_zset(key, extreme.event(), left);
    }
    Ok(Flow::Done)
}

/// ZPOPMIN or ZPOPMAX of many, or ZMPOP. With its first step all of it is stated; its key is held to the end.
#[derive(Debug)]
struct Pop {
    key: Box<[u8]>,
    /// ZMPOP says what it took from.
    names_key: bool,
    extreme: Extreme,
    /// Still to be taken.
    left: usize,
    answer: Answer,
    /// The whole value, which was taken out.
    whole: Option<Zset>,
}

impl Pop {
    /// Says what is about to happen to the key; whoever takes all that is `held` takes the value out at once.
    fn begin(ctx: &mut Ctx<'_>, key: Key<'_>, extreme: Extreme, (count, held): (usize, usize), answer: Answer) -> Self {
        let whole = if count == held { take_whole(ctx, key, extreme.event()) } else { None };
        if whole.is_none() {
            ctx.happened(extreme.event(), key);
        }
        Self { key: key.bytes.into(), names_key: false, extreme, left: count, answer, whole }
    }
}

impl Job for Pop {
    fn step(&mut self, ctx: &mut Ctx<'_>, reply: &mut Reply<'_>) -> Result<Progress, Fault> {
        let now = self.left.min(ctx.store.strides.removals);
        let (extreme, way) = (self.extreme, self.extreme.way());
        let (answer, key) = (&mut self.answer, ctx.key(&self.key));
        match &self.whole {
            Some(zset) => {
                let mut ranks = match extreme {
                    Extreme::Min => zset.len() - self.left..zset.len(),
                    Extreme::Max => 0..self.left,
                };
                zset.range(next_slice(&mut ranks, way, now), way, |member, score| answer.push(member, score));
            }
            None => ctx.edit_zset(key, |edit| {
                let ranks = extreme.ranks(now, edit.zset.len());
                edit.remove_ranks(ranks, way, |member, score| answer.push(member, score));
            }),
        }
        self.left -= now;
        if self.left > 0 {
            answer.cut();
            return Ok(Progress::More);
        }
        if self.names_key {
            reply.array(2);
            reply.bulk(&self.key);
        }
        answer.pour(reply);
        if let Some(zset) = self.whole.take() {
            ctx.store.graves.bury_object(Object::Zset(zset));
        }
        Ok(Progress::Done)
    }

    fn abandon(self: Box<Self>, graves: &mut Graveyard) {
        self.answer.bury(graves);
        if let Some(zset) = self.whole {
            graves.bury_object(Object::Zset(zset));
        }
    }
}

/// Takes so many members of a sorted set that has them, and answers them without a head.
fn take(edit: &mut Edit<'_>, extreme: Extreme, count: usize, shape: Shape, reply: &mut Reply<'_>) -> Left {
    let ranks = extreme.ranks(count, edit.zset.len());
    edit.remove_ranks(ranks, extreme.way(), |member, score| shape.element(member, score, reply));
    Left::of(edit.zset)
}

/// Takes the value out of the keyspace.
fn take_whole(ctx: &mut Ctx<'_>, key: Key<'_>, event: Event) -> Option<Zset> {
    let entry = ctx.store.take(ctx.db, key, ctx.now)?;
    ctx.happened(event, key);
    ctx.store.effects.also(ctx.db, Event::DEL, key);
    match entry.into_object().map(|object| *object) {
        Some(Object::Zset(zset)) => Some(zset),
        _ => unreachable!("the type was looked at when it began"),
    }
}

/// BZPOPMIN and BZPOPMAX from one key.
fn pop_named(ctx: &mut Ctx<'_>, key: Key<'_>, extreme: Extreme, reply: &mut Reply<'_>) -> Result<Served, Fault> {
    if ctx.old_zset(key)?.is_none() {
        return Ok(Served::No);
    }
    reply.array(3);
    reply.bulk(key.bytes);
    let left = ctx.edit_zset(key, |edit| take(edit, extreme, 1, Shape::Flat, reply));
    ctx.taken_from_zset(key, extreme.event(), left);
    ctx.store.effects.state(ctx.db, &[extreme.command(), key.bytes]);
    Ok(Served::Yes)
}

fn last_word(args: Args<'_>, now: Millis) -> Result<Patience, Fault> {
    seconds(args.at(args.len() - 1), now)
}

/// ZMPOP and BZMPOP from one key.
fn mpop(
    ctx: &mut Ctx<'_>,
    key: Key<'_>,
    extreme: Extreme,
    most: usize,
    reply: &mut Reply<'_>,
) -> Result<Served, Fault> {
    let Some((zset, _)) = ctx.old_zset(key)? else { return Ok(Served::No) };
    let (held, count) = (zset.len(), most.min(zset.len()));
    let served = if count > ctx.store.strides.removals {
        let answer = Answer::new(Shape::Pairs, reply.dialect());
        Served::Job(Box::new(Pop { names_key: true, ..Pop::begin(ctx, key, extreme, (count, held), answer) }))
    } else {
        reply.array(2);
        reply.bulk(key.bytes);
        Shape::Pairs.head(count, reply);
        let left = ctx.edit_zset(key, |edit| take(edit, extreme, count, Shape::Pairs, reply));
        ctx.taken_from_zset(key, extreme.event(), left);
        Served::Yes
    };
    let mut digits = [0; I64_TEXT_MAX];
    ctx.store.effects.state(ctx.db, &[extreme.command(), key.bytes, format_u64(count as u64, &mut digits)]);
    Ok(served)
}

/// Which end, and how many at most. `at`: the word that is the number of keys.
fn mpop_options(args: Args<'_>, at: usize) -> Result<(Extreme, usize), Fault> {
    let keys = match count(args, at) {
        Ok(keys) => keys,
        Err(BadCount::NotANumber | BadCount::NotPositive) => {
            return Err(Fault::Fixed("ERR numkeys should be greater than 0"));
        }
        Err(BadCount::TooMany) => return Err(Fault::Syntax),
    };
    let options = args.from(at + 1 + keys);
    let extreme = options.get(0).and_then(Extreme::named).ok_or(Fault::Syntax)?;
    let most = match options.len() {
        1 => 1,
        // A wrong number is told before words behind it are, as in Redis.
        3.. if is_word(options.at(1), "COUNT") => {
            let most = parse_i64(options.at(2)).and_then(|most| usize::try_from(most).ok()).filter(|most| *most > 0);
            let most = most.ok_or(Fault::Fixed("ERR count should be greater than 0"))?;
            if options.len() == 3 { most } else { return Err(Fault::Syntax) }
        }
        _ => return Err(Fault::Syntax),
    };
    Ok((extreme, most))
}
