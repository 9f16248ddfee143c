//! Commands about keys, whatever they hold.

use super::merge;
use super::numbers::database;
use super::places::Spec;
use super::scan::kind_name;
use super::staged::{Cargo, Flow, On, Stage};
use super::{Command, Ctx, Flags, Group, Keys, Log, Merge, Merging, Outcome, Over, Part, Policy, Run};
use crate::base::ascii::{is_word, parse_i64};
use crate::store::Key;
use crate::store::event::Event;
use crate::wire::fault::Fault;
use crate::wire::reply::Reply;
use crate::wire::request::Args;

const ROW: Command = Command { group: Group::Generic, ..Command::ROW };

pub const ROWS: &[Command] = &[
    Command {
        name: "copy",
        syntax: "COPY source destination [DB destination-db] [REPLACE]",
        arity: -3,
        keys: Keys::one(Keys::READ).and(&[Spec::word(2, Keys::OVERWRITE)]),
        flags: Flags::WRITE.and(Flags::DENYOOM),
        since: "6.2.0",
        complexity: "O(1); nodes of large values are shared until one side writes",
        summary: "Copies the value of a key to another.",
        log: Log::Verbatim,
        run: Run::Staged(COPY),
        ..ROW
    },
    Command {
        name: "del",
        syntax: "DEL key [key ...]",
        arity: -2,
        keys: Keys::all(Keys::REMOVE),
        flags: Flags::WRITE,
        complexity: "O(N) where N is the number of keys",
        summary: "Removes keys; large values are freed in the background.",
        log: Log::Verbatim,
        policy: Policy::MultiShard(Merge::Sum),
        run: Run::Split { over: Over::Keys, part: Part::Keys(del), merge: Merging::Several(merge::sum) },
        ..ROW
    },
    Command {
        name: "exists",
        syntax: "EXISTS key [key ...]",
        arity: -2,
        keys: Keys::all(Keys::LOOK),
        flags: Flags::READONLY.and(Flags::FAST),
        complexity: "O(N) where N is the number of keys",
        summary: "Answers how many of the keys exist, each as often as it is named.",
        policy: Policy::MultiShard(Merge::Sum),
        run: Run::Split { over: Over::Keys, part: Part::Keys(exists), merge: Merging::Several(merge::sum) },
        ..ROW
    },
    Command {
        name: "move",
        syntax: "MOVE key db",
        arity: 3,
        keys: Keys::one(Keys::TAKE),
        flags: Flags::WRITE.and(Flags::FAST),
        summary: "Moves a key to another database.",
        log: Log::Verbatim,
        run: Run::Keys(move_key),
        ..ROW
    },
    Command {
        name: "randomkey",
        syntax: "RANDOMKEY",
        arity: 1,
        flags: Flags::READONLY,
        summary: "Answers a key, each as likely as any other.",
        policy: Policy::AllShards(Merge::Special),
        tips: &["nondeterministic_output"],
        run: Run::Split {
            over: Over::Keyspace,
            part: Part::Keys(randomkey),
            merge: Merging::Always(merge::weighted_pick),
        },
        ..ROW
    },
    Command {
        name: "rename",
        syntax: "RENAME key newkey",
        arity: 3,
        keys: Keys::one(Keys::TAKE).and(&[Spec::word(2, Keys::OVERWRITE)]),
        flags: Flags::WRITE,
        complexity: "O(1)",
        summary: "Gives a value another key, whatever that held.",
        log: Log::Verbatim,
        run: Run::Staged(RENAME),
        ..ROW
    },
    Command {
        name: "renamenx",
        syntax: "RENAMENX key newkey",
        arity: 3,
        keys: Keys::one(Keys::TAKE).and(&[Spec::word(2, Keys::INSERT)]),
        flags: Flags::WRITE.and(Flags::FAST),
        summary: "Gives a value another key, if that is free.",
        log: Log::Verbatim,
        run: Run::Staged(RENAMENX),
        ..ROW
    },
    Command {
        name: "swapdb",
        syntax: "SWAPDB index1 index2",
        arity: 3,
        flags: Flags::WRITE.and(Flags::FAST).and(Flags::KEYSPACE).and(Flags::DANGEROUS),
        group: Group::Server,
        since: "4.0.0",
        summary: "Swaps two databases.",
        log: Log::Verbatim,
        policy: Policy::AllShards(Merge::AllSucceeded),
        run: Run::Split {
            over: Over::Keyspace,
            part: Part::Keys(swapdb),
            merge: Merging::Several(merge::all_succeeded),
        },
        ..ROW
    },
    Command {
        name: "touch",
        syntax: "TOUCH key [key ...]",
        arity: -2,
        keys: Keys::all(Keys::LOOK),
        flags: Flags::READONLY.and(Flags::FAST),
        since: "3.2.1",
        complexity: "O(N) where N is the number of keys",
        summary: "Marks keys as used; answers how many exist.",
        policy: Policy::MultiShard(Merge::Sum),
        run: Run::Split { over: Over::Keys, part: Part::Keys(touch), merge: Merging::Several(merge::sum) },
        ..ROW
    },
    Command {
        name: "type",
        syntax: "TYPE key",
        arity: 2,
        keys: Keys::one(Keys::LOOK),
        flags: Flags::READONLY.and(Flags::FAST),
        summary: "Answers the type of a value.",
        run: Run::Keys(type_of),
        ..ROW
    },
    Command {
        name: "unlink",
        syntax: "UNLINK key [key ...]",
        arity: -2,
        keys: Keys::all(Keys::REMOVE),
        flags: Flags::WRITE.and(Flags::FAST),
        since: "4.0.0",
        complexity: "O(N) where N is the number of keys",
        summary: "DEL by another name: both free large values in the background.",
        log: Log::Verbatim,
        policy: Policy::MultiShard(Merge::Sum),
        run: Run::Split { over: Over::Keys, part: Part::Keys(del), merge: Merging::Several(merge::sum) },
        ..ROW
    },
];

fn del(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let mut removed = 0;
    ctx.each_key(args.from(1).iter(), |ctx, key| removed += usize::from(ctx.remove(key)));
    reply.count(removed);
    Ok(())
}

fn exists(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let mut found = 0;
    ctx.each_key(args.from(1).iter(), |ctx, key| found += usize::from(ctx.look(key).is_some()));
    reply.count(found);
    Ok(())
}

fn touch(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let mut found = 0;
    ctx.each_key(args.from(1).iter(), |ctx, key| found += usize::from(ctx.read(key).is_some()));
    reply.count(found);
    Ok(())
}

fn type_of(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let kind = ctx.look(ctx.first(args)).map(|entry| entry.kind());
    reply.simple(kind.map_or("none", kind_name));
    Ok(())
}

/// How many keys there are, and one of them: what a fair pick over several shards needs.
fn randomkey(ctx: &mut Ctx<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let (db, now) = (ctx.db, ctx.now);
    reply.array(2);
    reply.count(ctx.keyspace().len());
    match ctx.store.random_key(db, now) {
        Some(entry) => reply.bulk(entry.key()),
        None => reply.null(),
    }
    Ok(())
}

const RENAME: &[Stage] = &[
    Stage {
        on: On::Key(1),
        run: |ctx, args, cargo, reply| {
            if args.at(1) == args.at(2) && ctx.exists(ctx.first(args)) {
                reply.ok();
                return Ok(Flow::Done);
            }
            take(ctx, args, cargo)
        },
    },
    Stage {
        on: On::Key(2),
        run: |ctx, args, cargo, reply| {
            put_renamed(ctx, args, cargo);
            reply.ok();
            Ok(Flow::Done)
        },
    },
];

/// Whether the new name is free is asked first, so that nothing can go wrong once the value is taken.
const RENAMENX: &[Stage] = &[
    Stage {
        on: On::Key(2),
        run: |ctx, args, cargo, _| {
            cargo.taken = ctx.exists(ctx.key(args.at(2)));
            Ok(Flow::On)
        },
    },
    Stage {
        on: On::Key(1),
        run: |ctx, args, cargo, reply| {
            if cargo.taken && ctx.exists(ctx.first(args)) {
                reply.int(0);
                return Ok(Flow::Done);
            }
            take(ctx, args, cargo)
        },
    },
    Stage {
        on: On::Key(2),
        run: |ctx, args, cargo, reply| {
            put_renamed(ctx, args, cargo);
            reply.int(1);
            Ok(Flow::Done)
        },
    },
];

const COPY: &[Stage] = &[
    Stage {
        on: On::Key(2),
        run: |ctx, args, cargo, _| {
            let to = ctx.key(args.at(2));
            let (db, _) = copy_options(ctx, args)?;
            cargo.taken = ctx.store.peek(db, to, ctx.now).is_some();
            Ok(Flow::On)
        },
    },
    Stage {
        on: On::Key(1),
        run: |ctx, args, cargo, reply| {
            let (_, replace) = copy_options(ctx, args)?;
            cargo.entry = ctx.store.copy(ctx.db, ctx.first(args), ctx.now).filter(|_| !cargo.taken || replace);
            if cargo.entry.is_none() {
                reply.int(0);
                return Ok(Flow::Done);
            }
            Ok(Flow::On)
        },
    },
    Stage {
        on: On::Key(2),
        run: |ctx, args, cargo, reply| {
            let (db, _) = copy_options(ctx, args)?;
            let to = put(ctx, db, args, cargo);
            ctx.store.effects.happened(db, Event::COPY_TO, to);
            reply.int(1);
            Ok(Flow::Done)
        },
    },
];

/// Takes the first key's value out. Over several shards that is a removal there.
fn take(ctx: &mut Ctx<'_>, args: Args<'_>, cargo: &mut Cargo) -> Result<Flow, Fault> {
    let key = ctx.first(args);
    cargo.entry = ctx.store.take(ctx.db, key, ctx.now);
    if cargo.entry.is_none() {
        return Err(Fault::NoSuchKey);
    }
    ctx.happened(Event::RENAME_FROM, key);
    if cargo.apart {
        ctx.store.effects.state(ctx.db, &[b"DEL", key.bytes]);
    }
    Ok(Flow::On)
}

fn put_renamed(ctx: &mut Ctx<'_>, args: Args<'_>, cargo: &mut Cargo) {
    let to = put(ctx, ctx.db, args, cargo);
    if cargo.apart {
        ctx.happened(Event::RENAME_TO, to);
    } else {
        ctx.store.effects.also(ctx.db, Event::RENAME_TO, to);
    }
}

/// Puts the value that an earlier stage brought under the second key. From another lane it is an effect of its own.
fn put<'a>(ctx: &mut Ctx<'_>, db: u8, args: Args<'a>, cargo: &mut Cargo) -> Key<'a> {
    let to = ctx.key(args.at(2));
    let entry = cargo.entry.take().expect("the stage before has brought a value");
    if cargo.apart {
        ctx.store.receive(db, to, entry, ctx.now);
    } else {
        ctx.store.put(db, to, entry, ctx.now);
    }
    to
}

fn move_key(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    if ctx.shard_port {
        return Err(Fault::Fixed("ERR MOVE is not allowed in cluster mode"));
    }
    let key = ctx.first(args);
    let to = database(args.at(2), ctx.store.databases())?;
    if to == ctx.db {
        return Err(Fault::SameObject);
    }
    let (from, now) = (ctx.db, ctx.now);
    let free = ctx.store.peek(to, key, now).is_none();
    let moved = if free { ctx.store.take(from, key, now) } else { None };
    let was_moved = moved.is_some();
    if let Some(entry) = moved {
        ctx.store.put(to, key, entry, now);
        ctx.happened(Event::MOVE_FROM, key);
        ctx.store.effects.also(to, Event::MOVE_TO, key);
    }
    reply.int(i64::from(was_moved));
    Ok(())
}

/// The database to copy to, and whether over what is there.
fn copy_options(ctx: &Ctx<'_>, args: Args<'_>) -> Result<(u8, bool), Fault> {
    let words = args.from(3);
    let (mut db, mut replace, mut i) = (ctx.db, false, 0);
    while let Some(word) = words.get(i) {
        match words.get(i + 1) {
            _ if is_word(word, "REPLACE") => replace = true,
            Some(number) if is_word(word, "DB") => {
                db = database(number, ctx.store.databases())?;
                i += 1;
            }
            _ => return Err(Fault::Syntax),
        }
        i += 1;
    }
    if ctx.shard_port && db != 0 {
        return Err(Fault::Fixed("ERR Copying to another database is not allowed in cluster mode"));
    }
    if db == ctx.db && args.at(1) == args.at(2) {
        return Err(Fault::SameObject);
    }
    Ok((db, replace))
}

fn swapdb(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    // What does not fit Redis's int is no index at all; what does may still name no database.
    let index = |i: usize| parse_i64(args.at(i)).and_then(|index| i32::try_from(index).ok());
    let first = index(1).ok_or(Fault::Fixed("ERR invalid first DB index"))?;
    let second = index(2).ok_or(Fault::Fixed("ERR invalid second DB index"))?;
    let inside = |index: i32| {
        let index = u8::try_from(index).map_err(|_| Fault::DbIndexOutOfRange)?;
        if usize::from(index) < ctx.store.databases() { Ok(index) } else { Err(Fault::DbIndexOutOfRange) }
    };
    let (first, second) = (inside(first)?, inside(second)?);
    ctx.store.swap(first, second);
    reply.ok();
    Ok(())
}
