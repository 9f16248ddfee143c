//! Sets. SMEMBERS is a job over a clone of the root, which costs nothing to take and lets others write on. Random choices are in
//! `pick.rs`, algebra in `algebra.rs`.

use super::caller::{Key, answer_value};
use super::places::Spec;
use super::scan::{ScanOptions, parse_cursor};
use super::sliced::{Job, Pieces};
use super::staged::{Cargo, Flow, On, Stage};
use super::{Command, Ctx, Elements, Flags, Group, Keys, Log, Outcome, Run, Said};
use crate::base::glob::{self, Case};
use crate::base::hash::HashKey;
use crate::base::limits;
use crate::store::entry::{EntryRef, Kind, Value, ValueRef};
use crate::store::event::Event;
use crate::store::keyspace::{Graveyard, Write};
use crate::types::rope::Rope;
use crate::types::set::{Limits, Set, TextRoom};
use crate::types::trie::{Stop, Value as Member};
use crate::types::{Object, Progress};
use crate::wire::fault::Fault;
use crate::wire::output::Output;
use crate::wire::reply::{Dialect, Reply};
use crate::wire::request::Args;

const READ: Flags = Flags::READONLY.and(Flags::FAST);
const ROW: Command =
    Command { group: Group::Set, since: "1.0.0", keys: Keys::one(Keys::LOOK), flags: READ, ..Command::ROW };

pub const ROWS: &[Command] = &[
    Command {
        name: "sadd",
        syntax: "SADD key member [member ...]",
        arity: -3,
        keys: Keys::one(Keys::INSERT_MODIFY),
        flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
        complexity: "O(N) where N is the number of members named",
        summary: "Adds members; answers how many are new.",
        log: Log::Verbatim,
        elements: Elements::new(2, 1, Said::Sum),
        run: Run::Keys(sadd),
        ..ROW
    },
    Command {
        name: "scard",
        syntax: "SCARD key",
        arity: 2,
        summary: "Answers the number of members.",
        run: Run::Keys(scard),
        ..ROW
    },
    Command {
        name: "sismember",
        syntax: "SISMEMBER key member",
        arity: 3,
        summary: "Answers whether the set has a member.",
        run: Run::Keys(sismember),
        ..ROW
    },
    Command {
        name: "smembers",
        syntax: "SMEMBERS key",
        arity: 2,
        keys: Keys::one(Keys::READ),
        flags: Flags::READONLY,
        complexity: "O(N) where N is the number of members",
        summary: "Answers all members, as they are at one moment, in slices.",
        tips: &["nondeterministic_output_order"],
        run: Run::Sliced { start: Walk::start },
        ..ROW
    },
    Command {
        name: "smismember",
        syntax: "SMISMEMBER key member [member ...]",
        arity: -3,
        keys: Keys::one(Keys::READ),
        since: "6.2.0",
        complexity: "O(N) where N is the number of members named",
        summary: "Answers of each member whether the set has it.",
        elements: Elements::new(2, 1, Said::Concat),
        run: Run::Keys(smismember),
        ..ROW
    },
    Command {
        name: "smove",
        syntax: "SMOVE source destination member",
        arity: 4,
        keys: Keys::one(Keys::TAKE).and(&[Spec::word(2, Keys::INSERT_MODIFY)]),
        flags: Flags::WRITE.and(Flags::FAST),
        summary: "Moves a member from one set to another.",
        log: Log::Verbatim,
        run: Run::Staged(SMOVE),
        ..ROW
    },
    Command {
        name: "srem",
        syntax: "SREM key member [member ...]",
        arity: -3,
        keys: Keys::one(Keys::DELETE_FROM),
        flags: Flags::WRITE.and(Flags::FAST),
        complexity: "O(N) where N is the number of members named",
        summary: "Removes members, and the set when none is left.",
        log: Log::Verbatim,
        elements: Elements::new(2, 1, Said::Sum),
        run: Run::Keys(srem),
        ..ROW
    },
    Command {
        name: "sscan",
        syntax: "SSCAN key cursor [MATCH pattern] [COUNT count]",
        arity: -3,
        keys: Keys::one(Keys::READ),
        flags: Flags::READONLY,
        since: "2.8.0",
        complexity: "O(1) for every call, O(N) for a whole iteration",
        summary: "Iterates over members.",
        tips: &["nondeterministic_output"],
        run: Run::Keys(sscan),
        ..ROW
    },
];

/// What an entry holds, if that is a set; a fault when it is something else.
fn as_set(entry: Option<EntryRef<'_>>) -> Result<Option<&Set>, Fault> {
    match entry.map(EntryRef::value) {
        None => Ok(None),
        Some(ValueRef::Object(Object::Set(set))) => Ok(Some(set)),
        Some(_) => Err(Fault::WrongType),
    }
}

/// How a set is reached from a handler.
impl Ctx<'_> {
    /// The set at `key`, with the hash key that its look-ups want; a fault when it holds something else.
    pub(super) fn set(&mut self, key: Key<'_>) -> Result<Option<(&Set, HashKey)>, Fault> {
        let hasher = self.store.hash_key;
        Ok(as_set(self.read(key))?.map(|set| (set, hasher)))
    }

    /// The set that a write is about to change; counts no hit and no miss.
    pub(super) fn old_set(&mut self, key: Key<'_>) -> Result<Option<(&Set, HashKey)>, Fault> {
        let hasher = self.store.hash_key;
        let entry = self.store.touch(self.db, key, self.now);
        Ok(as_set(entry)?.map(|set| (set, hasher)))
    }

    pub(super) fn set_limits(&self) -> Limits {
        let count = |limit: i64| usize::try_from(limit).unwrap_or(0);
        Limits {
            ints: count(self.config.set_intset_entries_max()),
            entries: count(self.config.set_packed_entries_max()),
            value_bytes: usize::try_from(self.config.set_packed_value_bytes_max()).unwrap_or(usize::MAX),
        }
    }

    /// Adds members to the set at `key`, which is made if it is missing; how many are new.
    pub(super) fn add_members(&mut self, key: Key<'_>, members: Args<'_>) -> Result<usize, Fault> {
        let (limits, hasher) = (self.set_limits(), self.store.hash_key);
        let add_all = |set: &mut Set| members.iter().filter(|member| set.add(member, limits, &hasher)).count();
        let added = self.store.edit(self.db, key, self.now, |object| match object {
            Some(Object::Set(set)) => {
                set.expect(members.len(), limits, &hasher);
                Ok(add_all(set))
            }
            _ => Err(Fault::WrongType),
        });
        let added = match added {
            Some(added) => added?,
            None => {
                let mut set = Set::expecting(members.at(0), members.len(), limits);
                let added = add_all(&mut set);
                self.put_set(key, set);
                added
            }
        };
        if added > 0 {
            self.happened(Event::SADD, key);
        }
        Ok(added)
    }

    /// Takes members out of the set at `key`, which is a set if it is there; nothing is left of it when it is empty. `take` says how many
    /// it took; what is long goes into its second argument.
    pub(super) fn take_members(
        &mut self,
        key: Key<'_>,
        event: Event,
        take: impl FnOnce(&mut Set, &mut Vec<Rope>) -> usize,
    ) -> usize {
        let mut displaced = Vec::new();
        let (taken, empty) = self.edit_set(key, |set| (take(set, &mut displaced), set.is_empty()));
        displaced.into_iter().for_each(|rope| self.store.graves.bury_object(Object::Rope(rope)));
        if taken > 0 {
            self.happened(event, key);
        }
        if empty {
            self.bury(key);
            self.store.effects.also(self.db, Event::DEL, key);
        }
        taken
    }

    /// Changes the set at `key`, which is there, into one that is not empty; what it was dies.
    pub(super) fn replace_set(&mut self, key: Key<'_>, event: Event, set: Set) {
        let old = self.edit_set(key, |held| std::mem::replace(held, set));
        self.store.graves.bury_object(Object::Set(old));
        self.happened(event, key);
    }

    /// Puts a set under a key, whatever that held.
    pub(super) fn put_set(&mut self, key: Key<'_>, set: Set) {
        let value = Value::Object(Kind::Set, Box::new(Object::Set(set)));
        self.store.set(self.db, key, value, Write::default(), self.now);
    }

    fn edit_set<R>(&mut self, key: Key<'_>, edit: impl FnOnce(&mut Set) -> R) -> R {
        let edited = self.update_object(key, |object| match object {
            Object::Set(set) => edit(set),
            _ => unreachable!("the caller has looked at the type"),
        });
        edited.expect("the caller has found the key")
    }
}

fn sadd(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let added = ctx.add_members(ctx.first(args), args.from(2))?;
    reply.count(added);
    Ok(())
}

fn srem(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let key = ctx.first(args);
    let removed = match ctx.old_set(key)?.map(|(_, hasher)| hasher) {
        None => 0,
        Some(hasher) => ctx.take_members(key, Event::SREM, |set, displaced| {
            args.from(2).iter().filter(|member| set.remove(member, &hasher, displaced)).count()
        }),
    };
    reply.count(removed);
    Ok(())
}

fn scard(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let len = ctx.set(ctx.first(args))?.map_or(0, |(set, _)| set.len());
    reply.count(len);
    Ok(())
}

fn sismember(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let found = ctx.set(ctx.first(args))?.is_some_and(|(set, hasher)| set.contains(args.at(2), &hasher));
    reply.int(i64::from(found));
    Ok(())
}

fn smismember(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let found = ctx.set(ctx.first(args))?;
    reply.array(args.len() - 2);
    for member in args.from(2).iter() {
        reply.int(i64::from(found.is_some_and(|(set, hasher)| set.contains(member, &hasher))));
    }
    Ok(())
}

/// The destination is looked at first, so that nothing can go wrong once the member is taken.
const SMOVE: &[Stage] = &[
    Stage {
        on: On::Key(2),
        run: |ctx, args, cargo, _| {
            cargo.taken = ctx.old_set(ctx.key(args.at(2))).is_err();
            Ok(Flow::On)
        },
    },
    Stage { on: On::Key(1), run: move_out },
    Stage { on: On::Key(2), run: move_in },
];

fn move_out(ctx: &mut Ctx<'_>, args: Args<'_>, cargo: &mut Cargo, reply: &mut Reply<'_>) -> Result<Flow, Fault> {
    let (key, member) = (ctx.first(args), args.at(3));
    let found = ctx.old_set(key)?.map(|(set, hasher)| (set.contains(member, &hasher), hasher));
    // Without a source Redis does not look at the destination.
    if found.is_some() && cargo.taken {
        return Err(Fault::WrongType);
    }
    let Some((true, hasher)) = found else {
        reply.int(0);
        return Ok(Flow::Done);
    };
    if args.at(1) == args.at(2) {
        reply.int(1);
        return Ok(Flow::Done);
    }
    ctx.take_members(key, Event::SREM, |set, displaced| usize::from(set.remove(member, &hasher, displaced)));
    if cargo.apart {
        ctx.store.effects.state(ctx.db, &[b"SREM", key.bytes, member]);
    }
    Ok(Flow::On)
}

fn move_in(ctx: &mut Ctx<'_>, args: Args<'_>, cargo: &mut Cargo, reply: &mut Reply<'_>) -> Result<Flow, Fault> {
    let key = ctx.key(args.at(2));
    ctx.add_members(key, args.from(3))?;
    if cargo.apart {
        ctx.store.effects.state(ctx.db, &[b"SADD", key.bytes, args.at(3)]);
    }
    reply.int(1);
    Ok(Flow::Done)
}

fn sscan(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    parse_cursor(args.at(2)).ok_or(Fault::InvalidCursor)?;
    let (mut shown, mut count, mut room, mut next) = (Output::default(), 0, TextRoom::default(), 0);
    // The options of a scan of nothing are not looked at, as in Redis.
    if let Some((set, hasher)) = ctx.set(ctx.first(args))? {
        let options = ScanOptions::parse(args.at(2), args.from(3), ScanOptions::SET)?;
        next = set.scan(options.cursor, options.count, Stop::AtCount, &hasher, |member| {
            let fits = |pattern| glob::matches(pattern, room.text(member), Case::Exact);
            if options.pattern.is_none_or(fits) {
                answer_value(member, &mut Reply::new(&mut shown, Dialect::Resp2));
                count += 1;
            }
        });
    }
    reply.array(2);
    reply.text(&next.to_string());
    reply.array(count);
    reply.append(shown);
    Ok(())
}

/// Members on their way out: what a job has found so far.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) count: usize,
    pieces: Pieces,
    /// Bytes when the step began.
    before: usize,
    /// How many halvings of its steps the job has come to: members may be short or tens of kilobytes, which are copied.
    halvings: u32,
}

impl Found {
    /// What is found in this set: the first step is as long as its members are on average.
    pub(super) fn within(set: &Set) -> Self {
        let member_bytes = set.bytes() / set.len().max(1);
        let members = limits::STEP_BYTES / member_bytes.max(1);
        let halvings = (limits::FIELDS_PER_STEP / members.max(1)).checked_ilog2().map_or(0, |halvings| halvings + 1);
        Self { halvings, ..Self::default() }
    }

    /// How many members a step should push that could push so many.
    pub(super) fn stride(&self, most: usize) -> usize {
        (most >> self.halvings).max(1)
    }

    pub(super) fn push(&mut self, member: Member<'_>) {
        answer_value(member, &mut self.pieces.writer());
        self.count += 1;
    }

    /// Between two steps.
    pub(super) fn cut(&mut self) {
        match self.pieces.written() - self.before {
            bytes if bytes > limits::STEP_BYTES => self.halvings = (self.halvings + 1).min(usize::BITS - 1),
            bytes if bytes < limits::STEP_BYTES / 4 => self.halvings = self.halvings.saturating_sub(1),
            _ => {}
        }
        self.before = self.pieces.written();
        self.pieces.cut();
    }

    /// Whether a step may go on to the end of its leaf, which may stand for megabytes.
    pub(super) fn stop(&self) -> Stop {
        if self.halvings == 0 { Stop::AtLeaf } else { Stop::AtCount }
    }

    /// Nobody wants it any more.
    pub(super) fn bury(self, graves: &mut Graveyard) {
        self.pieces.bury(graves);
    }

    /// Behind the head of the reply.
    pub(super) fn pour(&mut self, reply: &mut Reply<'_>) {
        self.pieces.pour(reply);
    }
}

/// SMEMBERS: what the set held when it began.
#[derive(Debug)]
pub(super) struct Walk {
    set: Set,
    cursor: u64,
    found: Found,
}

impl Walk {
    fn start(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<Box<dyn Job>, Fault> {
        let set = ctx.set(ctx.first(args))?.map(|(set, _)| set.clone()).unwrap_or_default();
        Ok(Box::new(Self::over(set)))
    }

    pub(super) fn over(set: Set) -> Self {
        Self { found: Found::within(&set), set, cursor: 0 }
    }
}

impl Job for Walk {
    fn step(&mut self, ctx: &mut Ctx<'_>, reply: &mut Reply<'_>) -> Result<Progress, Fault> {
        let (hasher, found) = (ctx.store.hash_key, &mut self.found);
        let (count, stop) = (found.stride(limits::FIELDS_PER_STEP), found.stop());
        self.cursor = self.set.walk(self.cursor, count, stop, &hasher, |member| found.push(member));
        if self.cursor != 0 {
            self.found.cut();
            return Ok(Progress::More);
        }
        reply.set(self.found.count);
        self.found.pour(reply);
        ctx.store.graves.bury_object(Object::Set(std::mem::take(&mut self.set)));
        Ok(Progress::Done)
    }

    /// The clone may be the last holder of its nodes by now.
    fn abandon(self: Box<Self>, graves: &mut Graveyard) {
        self.found.bury(graves);
        graves.bury_object(Object::Set(self.set));
    }
}
