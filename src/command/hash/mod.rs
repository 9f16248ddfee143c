//! Hashes.
//!
//! ```text
//!  mod.rs     values of fields       random.rs   HRANDFIELD: a job over a clone of the root
//!  times.rs   deadlines of fields    walk.rs     HKEYS, HVALS and HGETALL: another; HSCAN
//!  access.rs  how handlers reach a hash: reads do not see what is due, a write collects what it touches first
//! ```

mod access;
mod random;
pub mod times;
mod walk;

use self::access::{Changes, HashEdit, NONE};
use self::walk::{Parts, Walk};
use super::caller::answer_value;
use super::numbers::integer;
use super::{Command, Ctx, Elements, Flags, Group, Keys, Log, Outcome, Run, Said};
use crate::base::ascii::{I64_TEXT_MAX, format_i64};
use crate::base::decimal::Decimal;
use crate::store::event::Event;
use crate::types::hash::Until;
use crate::types::trie::{Value as Element, Written};
use crate::wire::fault::Fault;
use crate::wire::reply::Reply;
use crate::wire::request::Args;

const READ: Flags = Flags::READONLY.and(Flags::FAST);
const GROW: Flags = Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST);
const ROW: Command =
    Command { group: Group::Hash, since: "2.0.0", keys: Keys::one(Keys::READ), flags: READ, ..Command::ROW };

pub const ROWS: &[Command] = &[
    Command {
        name: "hdel",
        syntax: "HDEL key field [field ...]",
        arity: -3,
        keys: Keys::one(Keys::DELETE_FROM),
        flags: Flags::WRITE.and(Flags::FAST),
        complexity: "O(N) where N is the number of fields",
        summary: "Removes fields, and the hash when none is left.",
        log: Log::Verbatim,
        elements: Elements::new(2, 1, Said::Sum),
        run: Run::Keys(hdel),
        ..ROW
    },
    Command {
        name: "hexists",
        syntax: "HEXISTS key field",
        arity: 3,
        keys: Keys::one(Keys::LOOK),
        summary: "Answers whether the hash has a field.",
        run: Run::Keys(hexists),
        ..ROW
    },
    Command {
        name: "hget",
        syntax: "HGET key field",
        arity: 3,
        summary: "Answers the value of a field.",
        run: Run::Keys(hget),
        ..ROW
    },
    Command {
        name: "hgetall",
        syntax: "HGETALL key",
        arity: 2,
        flags: Flags::READONLY,
        complexity: "O(N) where N is the number of fields",
        summary: "Answers all fields with their values, as they are at one moment, in slices.",
        tips: &["nondeterministic_output_order"],
        run: Run::Sliced { start: |ctx, args| Walk::start(ctx, args, Parts::Pairs) },
        ..ROW
    },
    Command {
        name: "hincrby",
        syntax: "HINCRBY key field increment",
        arity: 4,
        keys: Keys::one(Keys::MODIFY),
        flags: GROW,
        summary: "Adds to the number in a field.",
        log: Log::Verbatim,
        run: Run::Keys(hincrby),
        ..ROW
    },
    Command {
        name: "hincrbyfloat",
        syntax: "HINCRBYFLOAT key field increment",
        arity: 4,
        keys: Keys::one(Keys::MODIFY),
        flags: GROW,
        since: "2.6.0",
        summary: "Adds to the number in a field, which may have a fraction.",
        log: Log::Effect,
        run: Run::Keys(hincrbyfloat),
        ..ROW
    },
    Command {
        name: "hkeys",
        syntax: "HKEYS key",
        arity: 2,
        flags: Flags::READONLY,
        complexity: "O(N) where N is the number of fields",
        summary: "Answers all fields, in slices.",
        tips: &["nondeterministic_output_order"],
        run: Run::Sliced { start: |ctx, args| Walk::start(ctx, args, Parts::Fields) },
        ..ROW
    },
    Command {
        name: "hlen",
        syntax: "HLEN key",
        arity: 2,
        keys: Keys::one(Keys::LOOK),
        summary: "Answers the number of fields.",
        run: Run::Keys(hlen),
        ..ROW
    },
    Command {
        name: "hmget",
        syntax: "HMGET key field [field ...]",
        arity: -3,
        complexity: "O(N) where N is the number of fields",
        summary: "Answers the values of fields.",
        elements: Elements::new(2, 1, Said::Concat),
        run: Run::Keys(hmget),
        ..ROW
    },
    Command {
        name: "hmset",
        syntax: "HMSET key field value [field value ...]",
        arity: -4,
        keys: Keys::one(Keys::UPDATE),
        flags: GROW,
        complexity: "O(N) where N is the number of fields",
        summary: "HSET by its older name, which answers OK.",
        log: Log::Verbatim,
        elements: Elements::new(2, 2, Said::Same),
        run: Run::Keys(hmset),
        ..ROW
    },
    Command {
        name: "hrandfield",
        syntax: "HRANDFIELD key [count [WITHVALUES]]",
        arity: -2,
        flags: Flags::READONLY,
        since: "6.2.0",
        complexity: "O(N) where N is the number of fields answered",
        summary: "Answers fields picked at random, each as likely as any other, in slices.",
        tips: &["nondeterministic_output"],
        run: Run::Sliced { start: random::start },
        ..ROW
    },
    Command {
        name: "hscan",
        syntax: "HSCAN key cursor [MATCH pattern] [COUNT count] [NOVALUES]",
        arity: -3,
        flags: Flags::READONLY,
        since: "2.8.0",
        complexity: "O(1) for every call, O(N) for a whole iteration",
        summary: "Iterates over fields and values.",
        tips: &["nondeterministic_output"],
        run: Run::Keys(walk::hscan),
        ..ROW
    },
    Command {
        name: "hset",
        syntax: "HSET key field value [field value ...]",
        arity: -4,
        keys: Keys::one(Keys::UPDATE),
        flags: GROW,
        complexity: "O(N) where N is the number of fields",
        summary: "Sets fields; answers how many are new.",
        log: Log::Verbatim,
        elements: Elements::new(2, 2, Said::Sum),
        run: Run::Keys(hset),
        ..ROW
    },
    Command {
        name: "hsetnx",
        syntax: "HSETNX key field value",
        arity: 4,
        keys: Keys::one(Keys::INSERT_MODIFY),
        flags: GROW,
        summary: "Sets a field if there is none of that name.",
        log: Log::Verbatim,
        run: Run::Keys(hsetnx),
        ..ROW
    },
    Command {
        name: "hstrlen",
        syntax: "HSTRLEN key field",
        arity: 3,
        keys: Keys::one(Keys::LOOK),
        since: "3.2.0",
        summary: "Answers the length of a field's value.",
        run: Run::Keys(hstrlen),
        ..ROW
    },
    Command {
        name: "hvals",
        syntax: "HVALS key",
        arity: 2,
        flags: Flags::READONLY,
        complexity: "O(N) where N is the number of fields",
        summary: "Answers all values, in slices.",
        tips: &["nondeterministic_output_order"],
        run: Run::Sliced { start: |ctx, args| Walk::start(ctx, args, Parts::Values) },
        ..ROW
    },
];

fn hset(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let added = set_fields(ctx, args, "hset")?;
    reply.count(added);
    Ok(())
}

fn hmset(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    set_fields(ctx, args, "hmset")?;
    reply.ok();
    Ok(())
}

/// How many of the fields are new.
fn set_fields(ctx: &mut Ctx<'_>, args: Args<'_>, command: &'static str) -> Result<usize, Fault> {
    let pairs = args.from(2);
    if !pairs.len().is_multiple_of(2) {
        return Err(Fault::Arity(command));
    }
    ctx.change_hash(ctx.first(args), pairs.iter().step_by(2), |hash| {
        let set = |i: &usize| hash.set(pairs.at(*i), pairs.at(*i + 1), Until::Forever) == Written::Added;
        ((0..pairs.len()).step_by(2).filter(set).count(), HSET)
    })
}

const HSET: Changes = &[Event::HSET];

fn hsetnx(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let (key, field, now) = (ctx.first(args), args.at(2), ctx.now);
    let free = ctx.old_hash(key)?.is_none_or(|(hash, hasher)| !hash.contains(field, &hasher, now));
    if free {
        ctx.change_hash(key, [field], |hash| (hash.set(field, args.at(3), Until::Forever), HSET))?;
    }
    reply.int(i64::from(free));
    Ok(())
}

fn hdel(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let (key, fields) = (ctx.first(args), args.from(2));
    let removed = if ctx.old_hash(key)?.is_none() {
        0
    } else {
        ctx.change_hash(key, fields.iter(), |hash: &mut HashEdit<'_>| {
            let removed = fields.iter().filter(|field| hash.remove(field)).count();
            (removed, if removed > 0 { &[Event::HDEL] } else { NONE })
        })?
    };
    reply.count(removed);
    Ok(())
}

const NOT_AN_INTEGER: &str = "ERR hash value is not an integer";
const NOT_A_FLOAT: &str = "ERR hash value is not a float";

fn hincrby(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let (key, field, now) = (ctx.first(args), args.at(2), ctx.now);
    let by = integer(args.at(3))?;
    let mut text = Vec::new();
    let old = match ctx.old_hash(key)?.and_then(|(hash, hasher)| hash.find(field, &hasher, now)) {
        None => 0,
        Some(value) if value.len() > I64_TEXT_MAX => return Err(Fault::Fixed(NOT_AN_INTEGER)),
        Some(value) => {
            value.read_into(&mut text);
            integer(&text).map_err(|_| Fault::Fixed(NOT_AN_INTEGER))?
        }
    };
    let new = old.checked_add(by).ok_or(Fault::Overflow)?;
    let mut digits = [0; I64_TEXT_MAX];
    let value = format_i64(new, &mut digits);
    ctx.change_hash(key, [field], |hash| (hash.set(field, value, Until::AsBefore), &[Event::HINCRBY]))?;
    reply.int(new);
    Ok(())
}

/// Longer texts are no number to Redis.
const FLOAT_TEXT_MAX: usize = 5 << 10;

fn hincrbyfloat(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let (key, field, now) = (ctx.first(args), args.at(2), ctx.now);
    let by = match Decimal::parse(args.at(3)).ok_or(Fault::NotFloat)? {
        Decimal::Infinite => return Err(Fault::Fixed("ERR value is NaN or Infinity")),
        by => by,
    };
    let mut text = Vec::new();
    let old = match ctx.old_hash(key)?.and_then(|(hash, hasher)| hash.find(field, &hasher, now)) {
        None => Decimal::ZERO,
        Some(value) if value.len() > FLOAT_TEXT_MAX => return Err(Fault::Fixed(NOT_A_FLOAT)),
        Some(value) => {
            value.read_into(&mut text);
            Decimal::parse(&text).ok_or(Fault::Fixed(NOT_A_FLOAT))?
        }
    };
    let sum = old.checked_add(by).ok_or(Fault::NanOrInfinity)?.to_string();
    let value = sum.as_bytes();
    ctx.change_hash(key, [field], |hash| (hash.set(field, value, Until::AsBefore), &[Event::HINCRBYFLOAT]))?;
    let words: [&[u8]; 7] = [b"HSETEX", key.bytes, b"KEEPTTL", b"FIELDS", b"1", field, value];
    ctx.store.effects.state(ctx.db, &words);
    reply.text(&sum);
    Ok(())
}

fn hget(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let now = ctx.now;
    match ctx.hash(ctx.first(args))?.and_then(|(hash, hasher)| hash.find(args.at(2), &hasher, now)) {
        Some(value) => answer_value(value, reply),
        None => reply.null(),
    }
    Ok(())
}

fn hmget(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let now = ctx.now;
    let found = ctx.hash(ctx.first(args))?;
    reply.array(args.len() - 2);
    for field in args.from(2).iter() {
        match found.and_then(|(hash, hasher)| hash.find(field, &hasher, now)) {
            Some(value) => answer_value(value, reply),
            None => reply.null(),
        }
    }
    Ok(())
}

fn hexists(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let now = ctx.now;
    let hash = ctx.hash(ctx.first(args))?;
    let found = hash.is_some_and(|(hash, hasher)| hash.contains(args.at(2), &hasher, now));
    reply.int(i64::from(found));
    Ok(())
}

fn hlen(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let now = ctx.now;
    let len = ctx.hash(ctx.first(args))?.map_or(0, |(hash, _)| hash.living(now));
    reply.count(len);
    Ok(())
}

fn hstrlen(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let now = ctx.now;
    let value = ctx.hash(ctx.first(args))?.and_then(|(hash, hasher)| hash.find(args.at(2), &hasher, now));
    reply.count(value.map_or(0, Element::len));
    Ok(())
}
