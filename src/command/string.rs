//! Strings. SET, SETEX, PSETEX, SETNX and GETSET are option parsing over one `store`; the counters are arithmetic over one
//! read-modify-write.

use super::merge;
use super::numbers::{Moment, integer};
use super::{Command, Ctx, Flags, Group, Keys, Log, Merge, Merging, Outcome, Over, Part, Policy, Run};
use crate::base::ascii::{I64_TEXT_MAX, format_i64, is_word, parse_i64};
use crate::base::decimal::Decimal;
use crate::command::caller::answer_or_null;
use crate::store::entry::{EMBED_MAX, Form};
use crate::store::event::Event;
use crate::store::incoming::Content;
use crate::store::keyspace::{Deadline, Write};
use crate::store::text::Text;
use crate::types::Object;
use crate::wire::fault::Fault;
use crate::wire::reply::Reply;
use crate::wire::request::Args;

const READ: Flags = Flags::READONLY.and(Flags::FAST);
const GROW: Flags = Flags::WRITE.and(Flags::DENYOOM);
const ROW: Command = Command { group: Group::String, ..Command::ROW };

pub const ROWS: &[Command] = &[
    Command {
        name: "append",
        syntax: "APPEND key value",
        arity: 3,
        keys: Keys::one(Keys::INSERT_MODIFY),
        flags: GROW.and(Flags::FAST),
        since: "2.0.0",
        summary: "Appends to a string, or makes it.",
        log: Log::Verbatim,
        run: Run::Keys(append),
        ..ROW
    },
    Command {
        name: "decr",
        syntax: "DECR key",
        arity: 2,
        keys: Keys::one(Keys::MODIFY),
        flags: GROW.and(Flags::FAST),
        summary: "Subtracts one from a number.",
        log: Log::Verbatim,
        run: Run::Keys(decr),
        ..ROW
    },
    Command {
        name: "decrby",
        syntax: "DECRBY key decrement",
        arity: 3,
        keys: Keys::one(Keys::MODIFY),
        flags: GROW.and(Flags::FAST),
        summary: "Subtracts from a number.",
        log: Log::Verbatim,
        run: Run::Keys(decrby),
        ..ROW
    },
    Command {
        name: "get",
        syntax: "GET key",
        arity: 2,
        keys: Keys::one(Keys::READ),
        flags: READ,
        summary: "Answers the string.",
        run: Run::Keys(get),
        ..ROW
    },
    Command {
        name: "incr",
        syntax: "INCR key",
        arity: 2,
        keys: Keys::one(Keys::MODIFY),
        flags: GROW.and(Flags::FAST),
        summary: "Adds one to a number.",
        log: Log::Verbatim,
        run: Run::Keys(incr),
        ..ROW
    },
    Command {
        name: "incrby",
        syntax: "INCRBY key increment",
        arity: 3,
        keys: Keys::one(Keys::MODIFY),
        flags: GROW.and(Flags::FAST),
        summary: "Adds to a number.",
        log: Log::Verbatim,
        run: Run::Keys(incrby),
        ..ROW
    },
    Command {
        name: "incrbyfloat",
        syntax: "INCRBYFLOAT key increment",
        arity: 3,
        keys: Keys::one(Keys::MODIFY),
        flags: GROW.and(Flags::FAST),
        since: "2.6.0",
        summary: "Adds to a number that may have a fraction.",
        log: Log::Effect,
        run: Run::Keys(incrbyfloat),
        ..ROW
    },
    Command {
        name: "mget",
        syntax: "MGET key [key ...]",
        arity: -2,
        keys: Keys::all(Keys::READ),
        flags: READ,
        complexity: "O(N) where N is the number of keys",
        summary: "Answers several strings, null for a key that holds none.",
        policy: Policy::MultiShard(Merge::KeyOrder),
        run: Run::Split { over: Over::Keys, part: Part::Keys(mget), merge: Merging::Several(merge::key_order) },
        ..ROW
    },
    Command {
        name: "mset",
        syntax: "MSET key value [key value ...]",
        arity: -3,
        keys: Keys::pairs(Keys::OVERWRITE),
        flags: GROW.and(Flags::LONG),
        since: "1.0.1",
        complexity: "O(N) where N is the number of keys",
        summary: "Sets several strings at once.",
        log: Log::Verbatim,
        policy: Policy::MultiShard(Merge::AllSucceeded),
        run: Run::Split { over: Over::Keys, part: Part::Keys(mset), merge: Merging::Several(merge::all_succeeded) },
        ..ROW
    },
    Command {
        name: "set",
        syntax: "SET key value [NX | XX | IFEQ comparison-value] [GET] [EX seconds | PX milliseconds | EXAT unix-time-seconds | \
                 PXAT unix-time-milliseconds | KEEPTTL]",
        arity: -3,
        keys: Keys::one(Keys::SET),
        flags: GROW.and(Flags::LONG),
        summary: "Sets a string, whatever the key held before.",
        log: Log::Effect,
        run: Run::Keys(set),
        ..ROW
    },
    Command {
        name: "strlen",
        syntax: "STRLEN key",
        arity: 2,
        keys: Keys::one(Keys::LOOK),
        flags: READ,
        since: "2.2.0",
        summary: "Answers the length of a string in bytes.",
        run: Run::Keys(strlen),
        ..ROW
    },
];

fn get(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    answer_or_null(ctx.string(ctx.first(args))?, reply);
    Ok(())
}

fn strlen(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let len = ctx.string(ctx.first(args))?.map_or(0, Text::len);
    reply.count(len);
    Ok(())
}

/// A key of another type is null here, not an error.
fn mget(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    reply.array(args.len() - 1);
    ctx.each_key(args.from(1).iter(), |ctx, key| answer_or_null(ctx.string(key).unwrap_or_default(), reply));
    Ok(())
}

fn mset(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let mut values = (2..).step_by(2);
    ctx.each_key(args.from(1).iter().step_by(2), |ctx, key| {
        let value = ctx.content(args, values.next().expect("without end"));
        ctx.store_content(key, value, Deadline::Clear, Event::SET);
    });
    reply.ok();
    Ok(())
}

/// What SET's options ask for.
#[derive(Debug, Default)]
struct SetOptions<'a> {
    only: Only<'a>,
    get: bool,
    keeps: bool,
    /// The deadline's option and its number, which is looked at when all options are known.
    at: Option<(Moment, &'a [u8])>,
}

/// The condition under which a value is set.
#[derive(Debug, Default, PartialEq, Eq)]
enum Only<'a> {
    #[default]
    Always,
    Missing,
    Present,
    /// The string equals this one (Valkey's IFEQ).
    Equals(&'a [u8]),
}

fn set(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let key = ctx.first(args);
    let value = ctx.content(args, 2);
    if args.len() == 3 {
        ctx.state_set(key, &value, Deadline::Clear);
        ctx.store_content(key, value, Deadline::Clear, Event::SET);
        reply.ok();
        return Ok(());
    }
    let options = SetOptions::parse(args.from(3))?;
    let deadline = match options.at {
        Some((moment, number)) => Deadline::At(moment.parse(number, ctx.now, "set")?),
        None if options.keeps => Deadline::Keep,
        None => Deadline::Clear,
    };
    let allowed = if options.get || matches!(options.only, Only::Equals(_)) {
        // Only these look at the value, so only they mind its type.
        let old = ctx.string(key)?;
        let allowed = options.only.allows(old);
        if options.get {
            answer_or_null(old, reply);
        }
        allowed
    } else {
        match options.only {
            Only::Always => true,
            Only::Missing => !ctx.exists(key),
            Only::Present => ctx.exists(key),
            Only::Equals(_) => unreachable!("looked at above"),
        }
    };
    if allowed {
        ctx.set_stating_effect(key, value, deadline, Event::SET);
    }
    match (options.get, allowed) {
        (true, _) => {}
        (false, true) => reply.ok(),
        (false, false) => reply.null(),
    }
    Ok(())
}

impl<'a> SetOptions<'a> {
    fn parse(words: Args<'a>) -> Result<Self, Fault> {
        let mut options = Self::default();
        let mut i = 0;
        while let Some(word) = words.get(i) {
            let next = words.get(i + 1);
            if is_word(word, "NX") {
                options.restrict(Only::Missing)?;
            } else if is_word(word, "XX") {
                options.restrict(Only::Present)?;
            } else if is_word(word, "IFEQ") {
                options.restrict(Only::Equals(next.ok_or(Fault::Syntax)?))?;
                i += 1;
            } else if is_word(word, "GET") {
                options.get = true;
            } else if is_word(word, "KEEPTTL") {
                options.keep()?;
            } else {
                let moment = Moment::named(word).ok_or(Fault::Syntax)?;
                options.limit(moment, next.ok_or(Fault::Syntax)?)?;
                i += 1;
            }
            i += 1;
        }
        Ok(options)
    }

    fn restrict(&mut self, only: Only<'a>) -> Outcome {
        if self.only != Only::Always && self.only != only {
            return Err(Fault::Syntax);
        }
        self.only = only;
        Ok(())
    }

    /// KEEPTTL may be said twice, as in Redis.
    fn keep(&mut self) -> Outcome {
        if self.at.is_some() {
            return Err(Fault::Syntax);
        }
        self.keeps = true;
        Ok(())
    }

    /// An option may be said twice, and then the last counts; two different ones may not, as in Redis.
    fn limit(&mut self, moment: Moment, number: &'a [u8]) -> Outcome {
        if self.keeps || self.at.is_some_and(|(other, _)| other != moment) {
            return Err(Fault::Syntax);
        }
        self.at = Some((moment, number));
        Ok(())
    }
}

impl Only<'_> {
    fn allows(&self, old: Option<Text<'_>>) -> bool {
        match self {
            Self::Always => true,
            Self::Missing => old.is_none(),
            Self::Present => old.is_some(),
            Self::Equals(wanted) => old.is_some_and(|old| old.equals(wanted)),
        }
    }
}

/// A string that grows becomes raw; beyond what an entry embeds it becomes a rope, to which appending costs what is appended.
fn append(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let key = ctx.first(args);
    let tail = args.at(2);
    let old = ctx.old_string(key)?.map(|old| (old.len(), matches!(old, Text::Rope(_))));
    let (len, is_rope) = old.unwrap_or_default();
    let total = len + tail.len();
    ctx.check_length(total)?;
    if is_rope && total > EMBED_MAX {
        ctx.update_object(key, |object| {
            if let Object::Rope(rope) = object {
                rope.append(tail);
            }
        });
    } else {
        let mut whole = ctx.old_string(key)?.map_or_else(Vec::new, |old| old.read(0..len));
        whole.extend_from_slice(tail);
        let form = if old.is_none() { Form::Plain } else { Form::Raw };
        ctx.write_string(key, &whole, Write { deadline: Deadline::Keep, form, ..Write::default() });
    }
    ctx.happened(Event::APPEND, key);
    reply.count(total);
    Ok(())
}

fn incr(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    add(ctx, args, 1, reply)
}

fn decr(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    add(ctx, args, -1, reply)
}

fn incrby(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let by = integer(args.at(2))?;
    add(ctx, args, by, reply)
}

fn decrby(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let by = integer(args.at(2))?;
    let by = by.checked_neg().ok_or(Fault::Fixed("ERR decrement would overflow"))?;
    add(ctx, args, by, reply)
}

fn add(ctx: &mut Ctx<'_>, args: Args<'_>, by: i64, reply: &mut Reply<'_>) -> Outcome {
    let key = ctx.first(args);
    let old: i64 = match ctx.old_string(key)? {
        None => 0,
        Some(old) => old.as_number().and_then(|text| parse_i64(&text)).ok_or(Fault::NotInteger)?,
    };
    let new = old.checked_add(by).ok_or(Fault::Overflow)?;
    let mut digits = [0; I64_TEXT_MAX];
    ctx.store_string(key, format_i64(new, &mut digits), Deadline::Keep, Event::INCRBY);
    reply.int(new);
    Ok(())
}

/// Its effect is a SET of the result, so that no other machine's arithmetic can differ.
fn incrbyfloat(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let key = ctx.first(args);
    let old = match ctx.old_string(key)? {
        None => Decimal::ZERO,
        Some(old) => old.as_number().and_then(|text| Decimal::parse(&text)).ok_or(Fault::NotFloat)?,
    };
    let by = Decimal::parse(args.at(2)).ok_or(Fault::NotFloat)?;
    let text = old.checked_add(by).ok_or(Fault::NanOrInfinity)?.to_string();
    ctx.set_stating_effect(key, Content::Flat(text.as_bytes()), Deadline::Keep, Event::INCRBYFLOAT);
    reply.text(&text);
    Ok(())
}
