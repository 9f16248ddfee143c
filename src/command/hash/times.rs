//! Deadlines of fields: Redis 7.4's commands that set and tell them, Redis 8.0's that write or read values on the way.
//!
//! The seven that set or tell a deadline are thin forms of `set_deadlines` and `tell`. Their words end in `FIELDS numfields field ...`, and
//! what is wrong with these is told in Redis's order: the type of the key, the time, FIELDS, the number, its match. A time that has passed
//! removes the field. Absent: Redis's latitude to show, for a while, a field whose time has passed, such as in HLEN.

use super::access::{Changes, HashEdit, NONE};
use super::{GROW, READ};
use crate::base::ascii::{I64_TEXT_MAX, format_u64, is_word};
use crate::base::time::Millis;
use crate::command::caller::{Key, answer_value};
use crate::command::numbers::{Moment, integer};
use crate::command::{Command, Ctx, Flags, Group, Keys, Log, Outcome, Run};
use crate::store::event::Event;
use crate::types::hash::Until;
use crate::wire::fault::Fault;
use crate::wire::reply::Reply;
use crate::wire::request::Args;

const ROW: Command = Command {
    group: Group::Hash,
    since: "7.4.0",
    keys: Keys::one(Keys::READ),
    flags: READ,
    complexity: "O(N) where N is the number of fields",
    ..Command::ROW
};
const SET: Command = Command { arity: -6, keys: Keys::one(Keys::UPDATE), flags: GROW, log: Log::Effect, ..ROW };
const TELL: Command = Command { arity: -5, ..ROW };

pub const ROWS: &[Command] = &[
    Command {
        name: "hexpire",
        syntax: "HEXPIRE key seconds [NX | XX | GT | LT] FIELDS numfields field [field ...]",
        summary: "Sets a deadline of fields so many seconds from now.",
        run: Run::Keys(|ctx, args, reply| set_deadlines(ctx, args, Moment::SECONDS, "hexpire", reply)),
        ..SET
    },
    Command {
        name: "hexpireat",
        syntax: "HEXPIREAT key unix-time-seconds [NX | XX | GT | LT] FIELDS numfields field [field ...]",
        summary: "Sets a deadline of fields in seconds since 1970.",
        run: Run::Keys(|ctx, args, reply| set_deadlines(ctx, args, Moment::UNIX_SECONDS, "hexpireat", reply)),
        ..SET
    },
    Command {
        name: "hexpiretime",
        syntax: "HEXPIRETIME key FIELDS numfields field [field ...]",
        summary: "Answers the deadlines of fields in seconds since 1970.",
        run: Run::Keys(|ctx, args, reply| tell(ctx, args, Moment::UNIX_SECONDS, reply)),
        ..TELL
    },
    Command {
        name: "hgetdel",
        syntax: "HGETDEL key FIELDS numfields field [field ...]",
        arity: -5,
        since: "8.0.0",
        keys: Keys::one(Keys::TAKE),
        flags: Flags::WRITE.and(Flags::FAST),
        summary: "Answers the values of fields and removes them.",
        log: Log::Verbatim,
        run: Run::Keys(hgetdel),
        ..ROW
    },
    Command {
        name: "hgetex",
        syntax: "HGETEX key [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | PERSIST] \
                 FIELDS numfields field [field ...]",
        arity: -5,
        since: "8.0.0",
        keys: Keys::one(Keys::MODIFY),
        flags: Flags::WRITE.and(Flags::FAST),
        summary: "Answers the values of fields and sets or removes their deadlines.",
        log: Log::Effect,
        run: Run::Keys(hgetex),
        ..ROW
    },
    Command {
        name: "hpersist",
        syntax: "HPERSIST key FIELDS numfields field [field ...]",
        arity: -5,
        keys: Keys::one(Keys::UPDATE),
        flags: Flags::WRITE.and(Flags::FAST),
        summary: "Removes the deadlines of fields.",
        log: Log::Verbatim,
        run: Run::Keys(hpersist),
        ..ROW
    },
    Command {
        name: "hpexpire",
        syntax: "HPEXPIRE key milliseconds [NX | XX | GT | LT] FIELDS numfields field [field ...]",
        summary: "Sets a deadline of fields so many milliseconds from now.",
        run: Run::Keys(|ctx, args, reply| set_deadlines(ctx, args, Moment::MILLIS, "hpexpire", reply)),
        ..SET
    },
    Command {
        name: "hpexpireat",
        syntax: "HPEXPIREAT key unix-time-milliseconds [NX | XX | GT | LT] FIELDS numfields field [field ...]",
        summary: "Sets a deadline of fields in milliseconds since 1970.",
        run: Run::Keys(|ctx, args, reply| set_deadlines(ctx, args, Moment::UNIX_MILLIS, "hpexpireat", reply)),
        ..SET
    },
    Command {
        name: "hpexpiretime",
        syntax: "HPEXPIRETIME key FIELDS numfields field [field ...]",
        summary: "Answers the deadlines of fields in milliseconds since 1970.",
        run: Run::Keys(|ctx, args, reply| tell(ctx, args, Moment::UNIX_MILLIS, reply)),
        ..TELL
    },
    Command {
        name: "hpttl",
        syntax: "HPTTL key FIELDS numfields field [field ...]",
        summary: "Answers the milliseconds that fields have left to live.",
        tips: &["nondeterministic_output"],
        run: Run::Keys(|ctx, args, reply| tell(ctx, args, Moment::MILLIS, reply)),
        ..TELL
    },
    Command {
        name: "hsetex",
        syntax: "HSETEX key [FNX | FXX] [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | \
                 KEEPTTL] FIELDS numfields field value [field value ...]",
        arity: -6,
        since: "8.0.0",
        keys: Keys::one(Keys::UPDATE),
        flags: GROW,
        summary: "Sets fields and their deadline, under a condition on all of them.",
        log: Log::Effect,
        run: Run::Keys(hsetex),
        ..ROW
    },
    Command {
        name: "httl",
        syntax: "HTTL key FIELDS numfields field [field ...]",
        summary: "Answers the seconds that fields have left to live.",
        tips: &["nondeterministic_output"],
        run: Run::Keys(|ctx, args, reply| tell(ctx, args, Moment::SECONDS, reply)),
        ..TELL
    },
];

/// What is answered of a field.
const NO_FIELD: i64 = -2;
const NO_DEADLINE: i64 = -1;
const REFUSED: i64 = 0;
const DONE: i64 = 1;
const REMOVED: i64 = 2;

/// The latest deadline of a field, as in Redis: two bits of the 48 are left free.
const DEADLINE_MAX: i64 = (1 << 46) - 1;

const _: () = assert!(DEADLINE_MAX.unsigned_abs() <= crate::types::packed::DEADLINE_MAX.0);

const NO_FIELDS: &str = "ERR Mandatory argument FIELDS is missing or not at the right position";
const TOO_FEW: &str = "ERR Number of fields must be a positive integer";
const TOO_FEW_TO_EXPIRE: &str = "ERR Parameter `numFields` should be greater than 0";
const MISMATCH: &str = "ERR The `numfields` parameter must match the number of arguments";

/// The fields of a request, whose word `at` is FIELDS.
fn fields<'a>(args: Args<'a>, at: usize, too_few: &'static str) -> Result<Args<'a>, Fault> {
    if !args.get(at).is_some_and(|word| is_word(word, "FIELDS")) {
        return Err(Fault::Fixed(NO_FIELDS));
    }
    let count = args.get(at + 1).and_then(|count| integer(count).ok()).filter(|count| *count > 0);
    let count = count.ok_or(Fault::Fixed(too_few))?;
    let fields = args.from(at + 2);
    if usize::try_from(count) == Ok(fields.len()) { Ok(fields) } else { Err(Fault::Fixed(MISMATCH)) }
}

fn deadline(moment: Moment, number: &[u8], now: Millis, command: &'static str) -> Result<Millis, Fault> {
    let number = integer(number)?;
    if number < 0 {
        return Err(Fault::Fixed("ERR invalid expire time, must be >= 0"));
    }
    let at = moment.at(number, now, command)?;
    if at > DEADLINE_MAX { Err(Fault::InvalidExpire(command)) } else { Ok(Millis(at.unsigned_abs())) }
}

/// When a deadline may be set; a field without one counts as living for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Only {
    Always,
    Without,
    With,
    Later,
    Earlier,
}

impl Only {
    fn named(word: &[u8]) -> Option<Self> {
        [("NX", Self::Without), ("XX", Self::With), ("GT", Self::Later), ("LT", Self::Earlier)]
            .into_iter()
            .find(|(name, _)| is_word(word, name))
            .map(|(_, only)| only)
    }

    fn allows(self, old: Option<Millis>, new: Millis) -> bool {
        match self {
            Self::Always => true,
            Self::Without => old.is_none(),
            Self::With => old.is_some(),
            Self::Later => old.is_some_and(|old| new > old),
            Self::Earlier => old.is_none_or(|old| new < old),
        }
    }
}

/// Sets the deadline of a field, or removes it if that has passed; what is answered.
fn stamp(hash: &mut HashEdit<'_>, field: &[u8], at: Millis, only: Only, now: Millis) -> i64 {
    let Some(old) = hash.find(field).map(|pair| pair.deadline) else { return NO_FIELD };
    if !only.allows(old, at) {
        return REFUSED;
    }
    if at <= now {
        hash.remove(field);
        return REMOVED;
    }
    hash.restamp(field, Some(at));
    DONE
}

/// States what was done to these fields: a deadline, or their removal if that has passed.
fn state_stamps(ctx: &mut Ctx<'_>, key: Key<'_>, at: Millis, stamped: &[&[u8]]) {
    if stamped.is_empty() || !ctx.store.effects.recording {
        return;
    }
    let (mut at_digits, mut count_digits) = ([0; I64_TEXT_MAX], [0; I64_TEXT_MAX]);
    let head: &[&[u8]] = if at <= ctx.now {
        &[b"HDEL", key.bytes]
    } else {
        let at = format_u64(at.0, &mut at_digits);
        &[b"HPEXPIREAT", key.bytes, at, b"FIELDS", format_u64(stamped.len() as u64, &mut count_digits)]
    };
    ctx.store.effects.state(ctx.db, &[head, stamped].concat());
}

/// Fields that are gone because their deadline had passed when it was set.
fn count_removed(ctx: &mut Ctx<'_>, codes: &[i64]) {
    ctx.store.counters.expired_fields += codes.iter().filter(|code| **code == REMOVED).count() as u64;
}

fn set_deadlines(
    ctx: &mut Ctx<'_>,
    args: Args<'_>,
    moment: Moment,
    command: &'static str,
    reply: &mut Reply<'_>,
) -> Outcome {
    let (key, now) = (ctx.first(args), ctx.now);
    let is_there = ctx.old_hash(key)?.is_some();
    let at = deadline(moment, args.at(2), now, command)?;
    let only = Only::named(args.at(3));
    let fields = fields(args, if only.is_some() { 4 } else { 3 }, TOO_FEW_TO_EXPIRE)?;
    let only = only.unwrap_or(Only::Always);
    let mut codes = vec![NO_FIELD; fields.len()];
    if is_there {
        ctx.change_hash(key, fields.iter(), |hash| {
            for (code, field) in codes.iter_mut().zip(fields.iter()) {
                *code = stamp(hash, field, at, only, now);
            }
            ((), stamp_events(&codes))
        })?;
        let stamped: Vec<&[u8]> =
            fields.iter().zip(&codes).filter(|(_, code)| **code > REFUSED).map(|(field, _)| field).collect();
        state_stamps(ctx, key, at, &stamped);
        count_removed(ctx, &codes);
    }
    reply.array(codes.len());
    codes.into_iter().for_each(|code| reply.int(code));
    Ok(())
}

fn stamp_events(codes: &[i64]) -> Changes {
    if codes.contains(&REMOVED) {
        &[Event::HDEL]
    } else if codes.contains(&DONE) {
        &[Event::HEXPIRE]
    } else {
        NONE
    }
}

/// Seconds, be they left or a moment, are rounded up, as Redis does here and not with keys.
fn tell(ctx: &mut Ctx<'_>, args: Args<'_>, moment: Moment, reply: &mut Reply<'_>) -> Outcome {
    let now = ctx.now;
    let found = ctx.hash(ctx.first(args))?;
    let fields = fields(args, 2, TOO_FEW)?;
    reply.array(fields.len());
    for field in fields.iter() {
        let pair = found.and_then(|(hash, hasher)| hash.pair(field, &hasher, now));
        reply.int(match pair.map(|pair| pair.deadline) {
            None => NO_FIELD,
            Some(None) => NO_DEADLINE,
            Some(Some(at)) => {
                let ms = if moment.from_now { at.since(now) } else { at.0 };
                i64::try_from(ms.div_ceil(moment.unit_ms.unsigned_abs())).unwrap_or(i64::MAX)
            }
        });
    }
    Ok(())
}

fn hpersist(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let key = ctx.first(args);
    let is_there = ctx.old_hash(key)?.is_some();
    let fields = fields(args, 2, TOO_FEW)?;
    reply.array(fields.len());
    if !is_there {
        fields.iter().for_each(|_| reply.int(NO_FIELD));
        return Ok(());
    }
    ctx.change_hash(key, fields.iter(), |hash| {
        let mut changes = NONE;
        for field in fields.iter() {
            let code = match hash.find(field).map(|pair| pair.deadline) {
                None => NO_FIELD,
                Some(None) => NO_DEADLINE,
                Some(Some(_)) => {
                    hash.restamp(field, None);
                    changes = &[Event::HPERSIST];
                    DONE
                }
            };
            reply.int(code);
        }
        ((), changes)
    })
}

fn hgetdel(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let key = ctx.first(args);
    let is_there = ctx.old_hash(key)?.is_some();
    let fields = fields(args, 2, TOO_FEW)?;
    reply.array(fields.len());
    if !is_there {
        fields.iter().for_each(|_| reply.null());
        return Ok(());
    }
    ctx.change_hash(key, fields.iter(), |hash| {
        let mut changes = NONE;
        for field in fields.iter() {
            answer_field(hash, field, reply);
            if hash.remove(field) {
                changes = &[Event::HDEL];
            }
        }
        ((), changes)
    })
}

fn answer_field(hash: &HashEdit<'_>, field: &[u8], reply: &mut Reply<'_>) {
    match hash.find(field) {
        Some(pair) => answer_value(pair.second, reply),
        None => reply.null(),
    }
}

/// What HGETEX is to do with the deadlines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    Keep,
    Clear,
    At(Millis),
}

fn hgetex(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let (key, now) = (ctx.first(args), ctx.now);
    let is_there = ctx.old_hash(key)?.is_some();
    let (wish, at) = match Moment::named(args.at(2)) {
        Some(moment) => (Wish::At(deadline(moment, args.at(3), now, "hgetex")?), 4),
        None if is_word(args.at(2), "PERSIST") => (Wish::Clear, 3),
        None => (Wish::Keep, 2),
    };
    let fields = fields(args, at, TOO_FEW)?;
    reply.array(fields.len());
    if !is_there {
        fields.iter().for_each(|_| reply.null());
        return Ok(());
    }
    let mut codes = vec![NO_FIELD; fields.len()];
    ctx.change_hash(key, fields.iter(), |hash| {
        for (code, field) in codes.iter_mut().zip(fields.iter()) {
            answer_field(hash, field, reply);
            *code = match wish {
                Wish::Keep => REFUSED,
                Wish::At(at) => stamp(hash, field, at, Only::Always, now),
                Wish::Clear if hash.find(field).is_some_and(|pair| pair.deadline.is_some()) => {
                    hash.restamp(field, None);
                    DONE
                }
                Wish::Clear => REFUSED,
            };
        }
        let cleared: Changes = if codes.contains(&DONE) { &[Event::HPERSIST] } else { NONE };
        ((), if wish == Wish::Clear { cleared } else { stamp_events(&codes) })
    })?;
    let changed = fields.iter().zip(&codes).filter(|(_, code)| **code > REFUSED).map(|(field, _)| field);
    let changed: Vec<&[u8]> = changed.collect();
    match wish {
        Wish::Keep => {}
        Wish::At(at) => state_stamps(ctx, key, at, &changed),
        Wish::Clear => state_persist(ctx, key, &changed),
    }
    count_removed(ctx, &codes);
    Ok(())
}

fn state_persist(ctx: &mut Ctx<'_>, key: Key<'_>, fields: &[&[u8]]) {
    if !fields.is_empty() {
        let mut digits = [0; I64_TEXT_MAX];
        let head = [b"HPERSIST", key.bytes, b"FIELDS", format_u64(fields.len() as u64, &mut digits)];
        ctx.store.effects.state(ctx.db, &[&head, fields].concat());
    }
}

/// The options of HSETEX, and its pairs.
struct SetOptions<'a> {
    only: Exists,
    until: Until,
    pairs: Args<'a>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Exists {
    #[default]
    Any,
    None,
    All,
}

impl<'a> SetOptions<'a> {
    fn parse(args: Args<'a>, now: Millis) -> Result<Self, Fault> {
        let (mut only, mut until, mut i) = (Exists::Any, None, 2);
        while let Some(word) = args.get(i) {
            if is_word(word, "FIELDS") {
                let (only, until) = (only, until.unwrap_or_default());
                return Ok(Self { only, until, pairs: pairs(args, i)? });
            }
            if let Some(moment) = Moment::named(word) {
                refuse_second(until.is_some())?;
                let number = args.get(i + 1).ok_or(Fault::Fixed("ERR missing expire time"))?;
                until = Some(Until::At(deadline(moment, number, now, "hsetex")?));
                i += 1;
            } else if is_word(word, "KEEPTTL") {
                refuse_second(until.is_some())?;
                until = Some(Until::AsBefore);
            } else if is_word(word, "FXX") || is_word(word, "FNX") {
                if only != Exists::Any {
                    return Err(Fault::Fixed("ERR Only one of FXX or FNX arguments can be specified"));
                }
                only = if is_word(word, "FXX") { Exists::All } else { Exists::None };
            } else {
                let word = String::from_utf8_lossy(word).replace(['\r', '\n'], " ");
                return Err(Fault::text(format!("ERR unknown argument: {word}")));
            }
            i += 1;
        }
        Err(Fault::Arity("hsetex"))
    }
}

fn refuse_second(is_second: bool) -> Result<(), Fault> {
    const TWO: &str = "ERR Only one of EX, PX, EXAT, PXAT or KEEPTTL arguments can be specified";
    if is_second { Err(Fault::Fixed(TWO)) } else { Ok(()) }
}

/// The fields and values of HSETEX, whose word `at` is FIELDS.
fn pairs<'a>(args: Args<'a>, at: usize) -> Result<Args<'a>, Fault> {
    let pairs = args.from(at + 2);
    if at + 3 >= args.len() {
        return Err(Fault::Arity("hsetex"));
    }
    let count = integer(args.at(at + 1)).ok().filter(|count| (1..=i64::from(i32::MAX)).contains(count));
    let count = count.ok_or(Fault::Fixed("ERR invalid number of fields"))?;
    let fits = pairs.len().is_multiple_of(2) && usize::try_from(count) == Ok(pairs.len() / 2);
    if fits { Ok(pairs) } else { Err(Fault::Arity("hsetex")) }
}

fn hsetex(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let (key, now) = (ctx.first(args), ctx.now);
    let SetOptions { only, until, pairs } = SetOptions::parse(args, now)?;
    let names = || pairs.iter().step_by(2);
    let hash = ctx.old_hash(key)?;
    let exists = |name: &[u8]| hash.is_some_and(|(hash, hasher)| hash.contains(name, &hasher, now));
    let allowed = match only {
        Exists::Any => true,
        Exists::None => !names().any(exists),
        Exists::All => names().all(exists),
    };
    reply.int(i64::from(allowed));
    if !allowed {
        return Ok(());
    }
    let passed = matches!(until, Until::At(at) if at <= now);
    let events: Changes = match until {
        _ if passed => &[Event::HSET, Event::HDEL],
        Until::At(_) => &[Event::HSET, Event::HEXPIRE],
        Until::Forever | Until::AsBefore => &[Event::HSET],
    };
    let removed = ctx.change_hash(key, names(), |hash| {
        for (field, value) in names().zip(pairs.iter().skip(1).step_by(2)) {
            hash.set(field, value, if passed { Until::Forever } else { until });
        }
        (if passed { names().filter(|name| hash.remove(name)).count() } else { 0 }, events)
    })?;
    ctx.store.counters.expired_fields += removed as u64;
    state_set(ctx, key, until, pairs);
    Ok(())
}

fn state_set(ctx: &mut Ctx<'_>, key: Key<'_>, until: Until, pairs: Args<'_>) {
    if !ctx.store.effects.recording {
        return;
    }
    let (mut at_digits, mut count_digits) = ([0; I64_TEXT_MAX], [0; I64_TEXT_MAX]);
    let count = format_u64(pairs.len() as u64 / 2, &mut count_digits);
    let pairs: Vec<&[u8]> = pairs.iter().collect();
    let head: &[&[u8]] = match until {
        Until::Forever => &[b"HSETEX", key.bytes, b"FIELDS", count],
        Until::AsBefore => &[b"HSETEX", key.bytes, b"KEEPTTL", b"FIELDS", count],
        Until::At(at) if at <= ctx.now => {
            let names: Vec<&[u8]> = pairs.iter().copied().step_by(2).collect();
            return ctx.store.effects.state(ctx.db, &[&[b"HDEL", key.bytes], &names[..]].concat());
        }
        Until::At(at) => &[b"HSETEX", key.bytes, b"PXAT", format_u64(at.0, &mut at_digits), b"FIELDS", count],
    };
    ctx.store.effects.state(ctx.db, &[head, &pairs].concat());
}
