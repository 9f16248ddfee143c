//! What a key is inside: OBJECT.

use super::connection::FAST_HELP;
use super::{Command, Ctx, Flags, Group, Keys, Outcome, Run};
use crate::base::ascii::parse_i64;
use crate::store::entry::{EntryRef, Form, ValueRef};
use crate::types::Object;
use crate::wire::fault::Fault;
use crate::wire::reply::Reply;
use crate::wire::request::Args;

const ROW: Command = Command {
    group: Group::Generic,
    since: "2.2.3",
    keys: Keys::second(Keys::LOOK),
    flags: Flags::READONLY,
    arity: 3,
    ..Command::ROW
};
const CONTAINER: Command =
    Command { keys: Keys::NONE, flags: Flags::NONE, arity: -2, complexity: "Depends on subcommand.", ..ROW };

pub const ROWS: &[Command] = &[Command {
    name: "object",
    syntax: "OBJECT",
    summary: "Commands about the inside of keys.",
    children: OBJECT,
    ..CONTAINER
}];

const OBJECT: &[Command] = &[
    Command {
        name: "object|encoding",
        syntax: "OBJECT ENCODING key",
        summary: "Answers how a value is stored, in Redis's names.",
        tips: &["nondeterministic_output"],
        run: Run::Keys(|ctx, args, reply| tell(ctx, args, reply, tell_encoding)),
        ..ROW
    },
    Command {
        name: "object|freq",
        syntax: "OBJECT FREQ key",
        since: "4.0.0",
        summary: "Answers how often a key is used, under an LFU policy.",
        tips: &["nondeterministic_output"],
        run: Run::Keys(|ctx, args, reply| tell(ctx, args, reply, |_, _, _| Err(Fault::Fixed(NO_LFU)))),
        ..ROW
    },
    Command {
        name: "object|help",
        syntax: "OBJECT HELP",
        arity: 2,
        since: "6.2.0",
        keys: Keys::NONE,
        flags: FAST_HELP,
        summary: "Lists the subcommands.",
        run: Run::Session(super::introspect::help),
        ..ROW
    },
    Command {
        name: "object|idletime",
        syntax: "OBJECT IDLETIME key",
        summary: "Answers the seconds since a key was last used.",
        tips: &["nondeterministic_output"],
        run: Run::Keys(|ctx, args, reply| tell(ctx, args, reply, idle_time)),
        ..ROW
    },
    Command {
        name: "object|refcount",
        syntax: "OBJECT REFCOUNT key",
        summary: "Answers how many keys share the value, which is always one.",
        tips: &["nondeterministic_output"],
        run: Run::Keys(|ctx, args, reply| tell(ctx, args, reply, tell_refcount)),
        ..ROW
    },
];

const NO_LFU: &str = "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when \
                      switching between policies at runtime LRU and LFU data will take some time to adjust.";

type Tell = fn(EntryRef<'_>, u64, &mut Reply<'_>) -> Outcome;

/// Looks without touching: whoever asks for the idle time shall not end it.
fn tell(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>, what: Tell) -> Outcome {
    let now_s = ctx.now.as_secs();
    match ctx.look(ctx.key(args.at(2))) {
        Some(entry) => what(entry, now_s, reply),
        None => {
            reply.null();
            Ok(())
        }
    }
}

fn tell_encoding(entry: EntryRef<'_>, _: u64, reply: &mut Reply<'_>) -> Outcome {
    reply.text(encoding(entry));
    Ok(())
}

fn tell_refcount(_: EntryRef<'_>, _: u64, reply: &mut Reply<'_>) -> Outcome {
    reply.int(1);
    Ok(())
}

/// The clock of an entry has 24 bits and wraps.
fn idle_time(entry: EntryRef<'_>, now_s: u64, reply: &mut Reply<'_>) -> Outcome {
    let [high, middle, low] = entry.recency().0;
    let touched = u64::from(high) << 16 | u64::from(middle) << 8 | u64::from(low);
    reply.unsigned(now_s.wrapping_sub(touched) & 0xFF_FFFF);
    Ok(())
}

/// Redis's longest string inside its object.
const EMBSTR_BYTES_MAX: usize = 44;

fn encoding(entry: EntryRef<'_>) -> &'static str {
    match entry.value() {
        ValueRef::Str(_) if entry.fields().form == Form::Raw => "raw",
        ValueRef::Str(text) if parse_i64(text).is_some() => "int",
        ValueRef::Str(text) if text.len() <= EMBSTR_BYTES_MAX => "embstr",
        ValueRef::Str(_) | ValueRef::Object(Object::Rope(_)) => "raw",
        ValueRef::Object(Object::Hash(hash)) => hash.encoding(),
        ValueRef::Object(Object::List(list)) => list.encoding(),
        ValueRef::Object(Object::Set(set)) => set.encoding(),
        ValueRef::Object(Object::Zset(zset)) => zset.encoding(),
    }
}
