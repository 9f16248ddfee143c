//! Strings set under a condition or read on their way out: thin forms of SET and GET.

use super::caller::{answer, answer_or_null};
use super::numbers::Moment;
use super::staged::{Cargo, Flow, On, Stage};
use super::{Command, Ctx, Flags, Group, Keys, Log, Merge, Outcome, Policy, Run};
use crate::base::ascii::is_word;
use crate::base::time::Millis;
use crate::store::event::Event;
use crate::store::keyspace::Deadline;
use crate::wire::fault::Fault;
use crate::wire::reply::Reply;
use crate::wire::request::Args;

const GROW: Flags = Flags::WRITE.and(Flags::DENYOOM);
const ROW: Command = Command { group: Group::String, ..Command::ROW };

pub const ROWS: &[Command] = &[
    Command {
        name: "delifeq",
        syntax: "DELIFEQ key comparison-value",
        arity: 3,
        keys: Keys::one(Keys::REMOVE),
        flags: Flags::WRITE.and(Flags::FAST),
        since: "9.0.0",
        summary: "Removes a string if it equals the value (from Valkey).",
        log: Log::Verbatim,
        run: Run::Keys(delifeq),
        ..ROW
    },
    Command {
        name: "getdel",
        syntax: "GETDEL key",
        arity: 2,
        keys: Keys::one(Keys::TAKE),
        flags: Flags::WRITE.and(Flags::FAST),
        since: "6.2.0",
        summary: "Answers the string and removes it.",
        log: Log::Verbatim,
        run: Run::Keys(getdel),
        ..ROW
    },
    Command {
        name: "getex",
        syntax: "GETEX key [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | PERSIST]",
        arity: -2,
        keys: Keys::one(Keys::MODIFY),
        flags: Flags::WRITE.and(Flags::FAST),
        since: "6.2.0",
        summary: "Answers the string and sets or removes its deadline.",
        log: Log::Effect,
        run: Run::Keys(getex),
        ..ROW
    },
    Command {
        name: "getset",
        syntax: "GETSET key value",
        arity: 3,
        keys: Keys::one(Keys::MODIFY),
        flags: GROW.and(Flags::FAST).and(Flags::LONG),
        summary: "Answers the old string and sets a new one.",
        log: Log::Verbatim,
        run: Run::Keys(getset),
        ..ROW
    },
    Command {
        name: "msetnx",
        syntax: "MSETNX key value [key value ...]",
        arity: -3,
        keys: Keys::pairs(Keys::INSERT),
        flags: GROW.and(Flags::LONG),
        since: "1.0.1",
        complexity: "O(N) where N is the number of keys",
        summary: "Sets several strings if none of the keys exists.",
        log: Log::Verbatim,
        policy: Policy::MultiShard(Merge::Special),
        run: Run::Staged(MSETNX),
        ..ROW
    },
    Command {
        name: "psetex",
        syntax: "PSETEX key milliseconds value",
        arity: 4,
        keys: Keys::one(Keys::OVERWRITE),
        flags: GROW.and(Flags::LONG),
        since: "2.6.0",
        summary: "Sets a string and its deadline in milliseconds from now.",
        log: Log::Effect,
        run: Run::Keys(|ctx, args, reply| set_expiring(ctx, args, Moment::MILLIS, "psetex", reply)),
        ..ROW
    },
    Command {
        name: "setex",
        syntax: "SETEX key seconds value",
        arity: 4,
        keys: Keys::one(Keys::OVERWRITE),
        flags: GROW.and(Flags::LONG),
        since: "2.0.0",
        summary: "Sets a string and its deadline in seconds from now.",
        log: Log::Effect,
        run: Run::Keys(|ctx, args, reply| set_expiring(ctx, args, Moment::SECONDS, "setex", reply)),
        ..ROW
    },
    Command {
        name: "setnx",
        syntax: "SETNX key value",
        arity: 3,
        keys: Keys::one(Keys::INSERT),
        flags: GROW.and(Flags::FAST).and(Flags::LONG),
        summary: "Sets a string if the key does not exist.",
        log: Log::Verbatim,
        run: Run::Keys(setnx),
        ..ROW
    },
];

fn setnx(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let key = ctx.first(args);
    let free = !ctx.exists(key);
    if free {
        let value = ctx.content(args, 2);
        ctx.store_content(key, value, Deadline::Clear, Event::SET);
    }
    reply.int(i64::from(free));
    Ok(())
}

fn set_expiring(
    ctx: &mut Ctx<'_>,
    args: Args<'_>,
    moment: Moment,
    command: &'static str,
    reply: &mut Reply<'_>,
) -> Outcome {
    let at = moment.parse(args.at(2), ctx.now, command)?;
    let value = ctx.content(args, 3);
    ctx.set_stating_effect(ctx.first(args), value, Deadline::At(at), Event::SET);
    reply.ok();
    Ok(())
}

fn getset(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let key = ctx.first(args);
    answer_or_null(ctx.string(key)?, reply);
    let value = ctx.content(args, 2);
    ctx.store_content(key, value, Deadline::Clear, Event::SET);
    Ok(())
}

fn getdel(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let key = ctx.first(args);
    answer_or_null(ctx.string(key)?, reply);
    ctx.remove(key);
    Ok(())
}

fn delifeq(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let key = ctx.first(args);
    let equal = ctx.string(key)?.is_some_and(|text| text.equals(args.at(2)));
    let removed = equal && ctx.remove(key);
    reply.int(i64::from(removed));
    Ok(())
}

fn getex(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let key = ctx.first(args);
    let wish = Wish::parse(args.from(2))?;
    let now = ctx.now;
    let Some(text) = ctx.string(key)? else {
        reply.null();
        return Ok(());
    };
    // Only where there is something to expire is the number looked at.
    let deadline = wish.deadline(now)?;
    answer(text, reply);
    match deadline {
        Deadline::Keep => {}
        Deadline::At(at) => ctx.expire_at(key, at),
        Deadline::Clear if ctx.expiry(key).flatten().is_some() => {
            ctx.persist(key);
            ctx.store.effects.state(ctx.db, &[b"PERSIST", key.bytes]);
        }
        Deadline::Clear => {}
    }
    Ok(())
}

/// What GETEX is to do with the deadline.
enum Wish<'a> {
    Keep,
    Clear,
    At(Moment, &'a [u8]),
}

impl<'a> Wish<'a> {
    /// An option may be said twice, and then the last counts; two different ones may not, as in Redis.
    fn parse(words: Args<'a>) -> Result<Self, Fault> {
        let (mut wish, mut words) = (Self::Keep, words.iter());
        while let Some(word) = words.next() {
            wish = match (wish, Moment::named(word)) {
                (Self::Keep | Self::Clear, None) if is_word(word, "PERSIST") => Self::Clear,
                (Self::Keep, Some(moment)) => Self::At(moment, words.next().ok_or(Fault::Syntax)?),
                (Self::At(same, _), Some(moment)) if same == moment => {
                    Self::At(moment, words.next().ok_or(Fault::Syntax)?)
                }
                _ => return Err(Fault::Syntax),
            };
        }
        Ok(wish)
    }

    fn deadline(&self, now: Millis) -> Result<Deadline, Fault> {
        match self {
            Self::Keep => Ok(Deadline::Keep),
            Self::Clear => Ok(Deadline::Clear),
            Self::At(moment, number) => moment.parse(number, now, "getex").map(Deadline::At),
        }
    }
}

const MSETNX: &[Stage] =
    &[Stage { on: On::EachOwner, run: stop_if_any_exists }, Stage { on: On::EachOwner, run: set_all }];

fn stop_if_any_exists(ctx: &mut Ctx<'_>, args: Args<'_>, _: &mut Cargo, reply: &mut Reply<'_>) -> Result<Flow, Fault> {
    let taken = (1..args.len()).step_by(2).any(|i| ctx.exists(ctx.key(args.at(i))));
    if !taken {
        return Ok(Flow::On);
    }
    reply.int(0);
    Ok(Flow::Done)
}

fn set_all(ctx: &mut Ctx<'_>, args: Args<'_>, _: &mut Cargo, reply: &mut Reply<'_>) -> Result<Flow, Fault> {
    for i in (1..args.len()).step_by(2) {
        let value = ctx.content(args, i + 1);
        ctx.store_content(ctx.key(args.at(i)), value, Deadline::Clear, Event::SET);
    }
    reply.int(1);
    Ok(Flow::Done)
}
