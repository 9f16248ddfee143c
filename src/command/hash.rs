//! Hashes. HKEYS, HVALS and HGETALL are one job over a clone of the root, which costs nothing to take and lets others write on.

use super::caller::{Key, answer_value};
use super::numbers::integer;
use super::scan::{ScanOptions, parse_cursor};
use super::sliced::{Job, Pieces};
use super::{Command, Ctx, Elements, Flags, Group, Keys, Log, Outcome, Run, Said};
use crate::base::ascii::{I64_TEXT_MAX, format_i64};
use crate::base::glob::{self, Case};
use crate::base::hash::HashKey;
use crate::base::limits;
use crate::store::entry::{EntryRef, Kind, Value, ValueRef};
use crate::store::event::Event;
use crate::store::keyspace::{Graveyard, Write};
use crate::types::hash::{Hash, Limits};
use crate::types::trie::{Stop, Written};
use crate::types::{Object, Progress};
use crate::wire::fault::Fault;
use crate::wire::output::Output;
use crate::wire::reply::{Dialect, Reply};
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
        name: "hscan",
        syntax: "HSCAN key cursor [MATCH pattern] [COUNT count] [NOVALUES]",
        arity: -3,
        flags: Flags::READONLY,
        since: "2.8.0",
        complexity: "O(1) for every call, O(N) for a whole iteration",
        summary: "Iterates over fields and values.",
        tips: &["nondeterministic_output"],
        run: Run::Keys(hscan),
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

/// What an entry holds, if that is a hash; a fault when it is something else.
fn as_hash(entry: Option<EntryRef<'_>>) -> Result<Option<&Hash>, Fault> {
    match entry.map(EntryRef::value) {
        None => Ok(None),
        Some(ValueRef::Object(Object::Hash(hash))) => Ok(Some(hash)),
        Some(_) => Err(Fault::WrongType),
    }
}

/// How a hash is reached from a handler.
impl Ctx<'_> {
    /// The hash at `key`, with the hash key that its look-ups want; a fault when it holds something else.
    pub(super) fn hash(&mut self, key: Key<'_>) -> Result<Option<(&Hash, HashKey)>, Fault> {
        let hasher = self.store.hash_key;
        Ok(as_hash(self.read(key))?.map(|hash| (hash, hasher)))
    }

    /// The hash that a write is about to change; counts no hit and no miss.
    fn old_hash(&mut self, key: Key<'_>) -> Result<Option<(&Hash, HashKey)>, Fault> {
        let hasher = self.store.hash_key;
        let entry = self.store.touch(self.db, key, self.now);
        Ok(as_hash(entry)?.map(|hash| (hash, hasher)))
    }

    /// Changes the hash at `key`, which is made if it is missing and removed if nothing is left in it. `change` says whether it
    /// changed anything; that is told as `event`, and the removal as well.
    fn change_hash<R>(
        &mut self,
        key: Key<'_>,
        event: Event,
        change: impl FnOnce(&mut HashEdit<'_>) -> (R, Changed),
    ) -> Result<R, Fault> {
        let missing = self.old_hash(key)?.is_none();
        let limits = Limits {
            entries: usize::try_from(self.config.hash_packed_entries_max()).unwrap_or(0),
            value_bytes: usize::try_from(self.config.hash_packed_value_bytes_max()).unwrap_or(usize::MAX),
        };
        let hasher = self.store.hash_key;
        let mut displaced = Vec::new();
        let edit = |hash: &mut Hash| {
            let (result, changed) = change(&mut HashEdit { hash, limits, hasher, displaced: &mut displaced });
            (result, changed, hash.is_empty())
        };
        let (result, changed, empty) = if missing {
            let mut hash = Hash::default();
            let done = edit(&mut hash);
            let value = Value::Object(Kind::Hash, Box::new(Object::Hash(hash)));
            self.store.set(self.db, key, value, Write::default(), self.now);
            done
        } else {
            self.update_object(key, |object| match object {
                Object::Hash(hash) => edit(hash),
                _ => unreachable!("the type was looked at above"),
            })
            .expect("the key was found above")
        };
        displaced.into_iter().for_each(|rope| self.store.graves.bury_object(Object::Rope(rope)));
        if changed == Changed::Yes {
            self.happened(event, key);
        }
        if empty {
            self.bury(key);
            self.store.effects.also(self.db, Event::DEL, key);
        }
        Ok(result)
    }
}

/// Whether an edit changed its hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Changed {
    No,
    Yes,
}

/// A hash being written.
struct HashEdit<'h> {
    hash: &'h mut Hash,
    limits: Limits,
    hasher: HashKey,
    displaced: &'h mut Vec<crate::types::rope::Rope>,
}

impl HashEdit<'_> {
    fn set(&mut self, field: &[u8], value: &[u8]) -> Written {
        self.hash.set(field, value, self.limits, &self.hasher, self.displaced)
    }

    fn remove(&mut self, field: &[u8]) -> bool {
        self.hash.remove(field, &self.hasher, self.displaced)
    }
}

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
    ctx.change_hash(ctx.first(args), Event::HSET, |hash| {
        let set = |i: &usize| hash.set(pairs.at(*i), pairs.at(*i + 1)) == Written::Added;
        ((0..pairs.len()).step_by(2).filter(set).count(), Changed::Yes)
    })
}

fn hsetnx(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let (key, field) = (ctx.first(args), args.at(2));
    let free = ctx.old_hash(key)?.is_none_or(|(hash, hasher)| !hash.contains(field, &hasher));
    if free {
        ctx.change_hash(key, Event::HSET, |hash| (hash.set(field, args.at(3)), Changed::Yes))?;
    }
    reply.int(i64::from(free));
    Ok(())
}

fn hdel(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let key = ctx.first(args);
    let removed = if ctx.old_hash(key)?.is_none() {
        0
    } else {
        ctx.change_hash(key, Event::HDEL, |hash| {
            let removed = args.from(2).iter().filter(|field| hash.remove(field)).count();
            (removed, if removed > 0 { Changed::Yes } else { Changed::No })
        })?
    };
    reply.count(removed);
    Ok(())
}

const NOT_AN_INTEGER: &str = "ERR hash value is not an integer";

fn hincrby(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let (key, field) = (ctx.first(args), args.at(2));
    let by = integer(args.at(3))?;
    let mut text = Vec::new();
    let old = match ctx.old_hash(key)?.and_then(|(hash, hasher)| hash.find(field, &hasher)) {
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
    ctx.change_hash(key, Event::HINCRBY, |hash| (hash.set(field, value), Changed::Yes))?;
    reply.int(new);
    Ok(())
}

fn hget(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    match ctx.hash(ctx.first(args))?.and_then(|(hash, hasher)| hash.find(args.at(2), &hasher)) {
        Some(value) => answer_value(value, reply),
        None => reply.null(),
    }
    Ok(())
}

fn hmget(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let found = ctx.hash(ctx.first(args))?;
    reply.array(args.len() - 2);
    for field in args.from(2).iter() {
        match found.and_then(|(hash, hasher)| hash.find(field, &hasher)) {
            Some(value) => answer_value(value, reply),
            None => reply.null(),
        }
    }
    Ok(())
}

fn hexists(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let found = ctx.hash(ctx.first(args))?.is_some_and(|(hash, hasher)| hash.contains(args.at(2), &hasher));
    reply.int(i64::from(found));
    Ok(())
}

fn hlen(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let len = ctx.hash(ctx.first(args))?.map_or(0, |(hash, _)| hash.len());
    reply.count(len);
    Ok(())
}

fn hstrlen(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let value = ctx.hash(ctx.first(args))?.and_then(|(hash, hasher)| hash.find(args.at(2), &hasher));
    reply.count(value.map_or(0, crate::types::trie::Value::len));
    Ok(())
}

fn hscan(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    parse_cursor(args.at(2)).ok_or(Fault::InvalidCursor)?;
    let (mut found, mut count, mut name) = (Output::default(), 0, Vec::new());
    // The options of a scan of nothing are not looked at, as in Redis.
    let Some((hash, hasher)) = ctx.hash(ctx.first(args))? else {
        reply.array(2);
        reply.text("0");
        reply.array(0);
        return Ok(());
    };
    let options = ScanOptions::parse(args.at(2), args.from(3), ScanOptions::HASH)?;
    let (mut cursor, mut left) = (options.cursor, options.count);
    // COUNT is a hint: values that are copied end the call as well.
    while left > 0 && found.bytes.len() < limits::STEP_BYTES {
        let stride = left.min(STRIDE);
        left -= stride;
        cursor = hash.scan(cursor, stride, Stop::AtCount, &hasher, |pair| {
            name.clear();
            pair.first.read_into(&mut name);
            if options.pattern.is_some_and(|pattern| !glob::matches(pattern, &name, Case::Exact)) {
                return;
            }
            let mut into = Reply::new(&mut found, Dialect::Resp2);
            into.bulk(&name);
            count += 1;
            if !options.no_values {
                answer_value(pair.second, &mut into);
                count += 1;
            }
        });
        if cursor == 0 {
            break;
        }
    }
    reply.array(2);
    reply.text(&cursor.to_string());
    reply.array(count);
    reply.append(found);
    Ok(())
}

/// What a walk over a hash answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Parts {
    Fields,
    Values,
    Pairs,
}

/// HKEYS, HVALS, HGETALL: what the hash held when they began.
#[derive(Debug)]
struct Walk {
    hash: Hash,
    parts: Parts,
    cursor: u64,
    /// Fields of the next step, by what those of the last weighed.
    stride: usize,
    pieces: Pieces,
}

/// Fields of a step when nothing is known yet of what they weigh.
const STRIDE: usize = 64;

impl Walk {
    fn start(ctx: &mut Ctx<'_>, args: Args<'_>, parts: Parts) -> Result<Box<dyn Job>, Fault> {
        let hash = ctx.hash(ctx.first(args))?.map(|(hash, _)| hash.clone()).unwrap_or_default();
        Ok(Box::new(Self { hash, parts, cursor: 0, stride: STRIDE, pieces: Pieces::default() }))
    }
}

impl Job for Walk {
    fn step(&mut self, ctx: &mut Ctx<'_>, reply: &mut Reply<'_>) -> Result<Progress, Fault> {
        let hasher = ctx.store.hash_key;
        let before = self.pieces.written();
        let (parts, pieces) = (self.parts, &mut self.pieces);
        // A leaf may stand for megabytes of values that are copied.
        let stop = if self.stride < limits::FIELDS_PER_STEP { Stop::AtCount } else { Stop::AtLeaf };
        self.cursor = self.hash.scan(self.cursor, self.stride, stop, &hasher, |pair| {
            let mut into = pieces.writer();
            if parts != Parts::Values {
                answer_value(pair.first, &mut into);
            }
            if parts != Parts::Fields {
                answer_value(pair.second, &mut into);
            }
        });
        self.stride = match self.pieces.written() - before {
            bytes if bytes > limits::STEP_BYTES => (self.stride / 2).max(1),
            bytes if bytes < limits::STEP_BYTES / 4 => (self.stride * 2).min(limits::FIELDS_PER_STEP),
            _ => self.stride,
        };
        self.pieces.cut();
        if self.cursor != 0 {
            return Ok(Progress::More);
        }
        match self.parts {
            Parts::Pairs => reply.map(self.hash.len()),
            Parts::Fields | Parts::Values => reply.array(self.hash.len()),
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
