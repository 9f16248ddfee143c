//! Elements that go from one list to another or to whoever waits for them: LMOVE and RPOPLPUSH, LMPOP, and the commands that wait.
//!
//! ```text
//!  LMOVE a b    [b: is it a list?] --> [a: pop] --element--> [b: push]        each lane states what it did: RPOP a, LPUSH b element
//!  BLMOVE       the same stages, once there is something in a
//!  LMPOP        as BLMPOP, which waits for none of its keys
//! ```

use super::access::{Absent, Words};
use super::{BACK, FRONT, ROW, Side, Walk, answer_and_drop, is_short};
use crate::base::ascii::{I64_TEXT_MAX, format_u64, is_word, parse_i64};
use crate::base::time::Millis;
use crate::command::blocking::{Blocking, Patience, Serve, Served, seconds};
use crate::command::caller::{Key, answer, answer_value};
use crate::command::places::{self, BadCount, Spec};
use crate::command::staged::{Cargo, Flow, On, Stage};
use crate::command::{Command, Ctx, Flags, Keys, Log, Run};
use crate::store::entry::{Entry, Fields, Kind, Value as Content};
use crate::store::incoming::Incoming;
use crate::store::text::Text;
use crate::types::Object;
use crate::types::trie::Value;
use crate::wire::fault::Fault;
use crate::wire::reply::Reply;
use crate::wire::request::{Args, Request};

const MOVE: Command = Command {
    keys: Keys::one(Keys::TAKE).and(&[Spec::word(2, Keys::INSERT_MODIFY)]),
    flags: Flags::WRITE.and(Flags::DENYOOM),
    log: Log::Effect,
    ..ROW
};
const WAITS: Flags = Flags::WRITE.and(Flags::BLOCKING);

pub const ROWS: &[Command] = &[
    Command {
        name: "blmove",
        syntax: "BLMOVE source destination <LEFT | RIGHT> <LEFT | RIGHT> timeout",
        arity: 6,
        flags: MOVE.flags.and(Flags::BLOCKING),
        since: "6.2.0",
        summary: "Moves an element from one list to another; waits for one if need be.",
        run: Run::Blocking(&Blocking {
            awaits: Kind::List,
            serve: Serve::Moving(STAGES),
            patience: |args, now| sides(args).and_then(|_| seconds(args.at(5), now)),
            give_up: |reply| reply.null(),
        }),
        ..MOVE
    },
    Command {
        name: "blmpop",
        syntax: "BLMPOP timeout numkeys key [key ...] <LEFT | RIGHT> [COUNT count]",
        arity: -5,
        keys: Keys::counted(2, Keys::TAKE),
        flags: WAITS,
        since: "7.0.0",
        complexity: "O(N + M) where N is the number of keys and M that of the elements answered",
        summary: "Takes elements from the first list that has any; waits for one if need be.",
        log: Log::Effect,
        run: Run::Blocking(&Blocking {
            awaits: Kind::List,
            serve: Serve::Many(|ctx, args, word, reply| take_some(ctx, Wanted::of(args, 2)?, args.at(word), reply)),
            patience: |args, now| Wanted::of(args, 2).and_then(|_| seconds(args.at(1), now)),
            give_up: |reply| reply.null_array(),
        }),
        ..ROW
    },
    Command {
        name: "blpop",
        syntax: "BLPOP key [key ...] timeout",
        run: Run::Blocking(&Blocking {
            awaits: Kind::List,
            serve: Serve::FromKey(|ctx, args, word, reply| take_one(ctx, args.at(word), reply, &FRONT)),
            patience: last_word,
            give_up: |reply| reply.null_array(),
        }),
        summary: "Takes the first element of the first list that has any; waits for one if need be.",
        ..WAITING_POP
    },
    Command {
        name: "brpop",
        syntax: "BRPOP key [key ...] timeout",
        run: Run::Blocking(&Blocking {
            awaits: Kind::List,
            serve: Serve::FromKey(|ctx, args, word, reply| take_one(ctx, args.at(word), reply, &BACK)),
            patience: last_word,
            give_up: |reply| reply.null_array(),
        }),
        summary: "Takes the last element of the first list that has any; waits for one if need be.",
        ..WAITING_POP
    },
    Command {
        name: "brpoplpush",
        syntax: "BRPOPLPUSH source destination timeout",
        arity: 4,
        flags: MOVE.flags.and(Flags::BLOCKING),
        since: "2.2.0",
        summary: "BLMOVE from the back to the front.",
        run: Run::Blocking(&Blocking {
            awaits: Kind::List,
            serve: Serve::Moving(STAGES),
            patience: last_word,
            give_up: |reply| reply.null(),
        }),
        ..MOVE
    },
    Command {
        name: "lmove",
        syntax: "LMOVE source destination <LEFT | RIGHT> <LEFT | RIGHT>",
        arity: 5,
        since: "6.2.0",
        summary: "Moves an element from one list to another.",
        run: Run::Staged(STAGES),
        ..MOVE
    },
    Command {
        name: "lmpop",
        syntax: "LMPOP numkeys key [key ...] <LEFT | RIGHT> [COUNT count]",
        arity: -4,
        keys: Keys::counted(1, Keys::TAKE),
        flags: Flags::WRITE,
        since: "7.0.0",
        complexity: "O(N + M) where N is the number of keys and M that of the elements answered",
        summary: "Takes elements from the first list that has any.",
        log: Log::Effect,
        run: Run::Blocking(&Blocking {
            awaits: Kind::List,
            serve: Serve::Many(|ctx, args, word, reply| take_some(ctx, Wanted::of(args, 1)?, args.at(word), reply)),
            patience: |args, _| Wanted::of(args, 1).map(|_| Patience::None),
            give_up: |reply| reply.null_array(),
        }),
        ..ROW
    },
    Command {
        name: "rpoplpush",
        syntax: "RPOPLPUSH source destination",
        arity: 3,
        since: "1.2.0",
        summary: "LMOVE from the back to the front.",
        run: Run::Staged(STAGES),
        ..MOVE
    },
];

const WAITING_POP: Command = Command {
    arity: -3,
    keys: Keys::before(1, Keys::TAKE),
    flags: WAITS,
    since: "2.0.0",
    complexity: "O(N) where N is the number of keys",
    log: Log::Effect,
    ..ROW
};

fn last_word(args: Args<'_>, now: Millis) -> Result<Patience, Fault> {
    seconds(args.at(args.len() - 1), now)
}

fn side(word: &[u8]) -> Result<&'static Side, Fault> {
    [&FRONT, &BACK].into_iter().find(|side| is_word(word, side.word)).ok_or(Fault::Syntax)
}

/// From which end to which.
fn sides(args: Args<'_>) -> Result<(&'static Side, &'static Side), Fault> {
    match (args.get(3), args.get(4)) {
        (Some(from), Some(to)) => Ok((side(from)?, side(to)?)),
        // RPOPLPUSH and BRPOPLPUSH.
        _ => Ok((&BACK, &FRONT)),
    }
}

/// The destination is looked at first, so that nothing can go wrong once the element is taken.
const STAGES: &[Stage] = &[
    Stage {
        on: On::Key(2),
        run: |ctx, args, cargo, _| {
            sides(args)?;
            cargo.wrong_kind = ctx.old_list(ctx.key(args.at(2))).is_err();
            Ok(Flow::On)
        },
    },
    Stage { on: On::Key(1), run: move_out },
    Stage { on: On::Key(2), run: move_in },
];

fn move_out(ctx: &mut Ctx<'_>, args: Args<'_>, cargo: &mut Cargo, reply: &mut Reply<'_>) -> Result<Flow, Fault> {
    let ((from, to), key) = (sides(args)?, ctx.first(args));
    // Without a source Redis does not look at the destination.
    if ctx.old_list(key)?.is_none() {
        return Ok(Flow::Nothing);
    }
    if cargo.wrong_kind {
        return Err(Fault::WrongType);
    }
    if args.at(1) == args.at(2) {
        turn(ctx, key, (from, to), reply)?;
        return Ok(Flow::Done);
    }
    cargo.entry = ctx.take_from_list(key, from.pop, |list, graves| {
        let entry = carried(list.peek(from.end).expect("no list is empty"));
        list.drop_outermost(from.end, graves);
        (entry, 1)
    })?;
    ctx.store.effects.state(ctx.db, &[from.pop_name, key.bytes]);
    Ok(Flow::On)
}

/// Moves an element from one end of a list to the other.
fn turn(ctx: &mut Ctx<'_>, key: Key<'_>, (from, to): (&Side, &Side), reply: &mut Reply<'_>) -> Result<(), Fault> {
    let limits = ctx.list_limits();
    ctx.edit_list(key, |list, graves| {
        let entry = carried(list.peek(from.end).expect("no list is empty"));
        list.drop_outermost(from.end, graves);
        let element = Text::of(entry.view()).expect("an element is carried as a string");
        let mut longs = Incoming::default();
        let words = request_of(element, &mut longs);
        list.push(to.end, Words { args: words.args(), from: 0, longs: &mut longs }.next());
        list.settle(limits);
        answer(element, reply);
    })?;
    ctx.happened(to.push, key);
    ctx.store.effects.also(ctx.db, from.pop, key);
    let ends = [from.word.as_bytes(), to.word.as_bytes()];
    ctx.store.effects.state(ctx.db, &[b"LMOVE", key.bytes, key.bytes, ends[0], ends[1]]);
    Ok(())
}

fn move_in(ctx: &mut Ctx<'_>, args: Args<'_>, cargo: &mut Cargo, reply: &mut Reply<'_>) -> Result<Flow, Fault> {
    let ((_, to), key) = (sides(args)?, ctx.key(args.at(2)));
    let entry = cargo.entry.take().expect("the stage before has brought an element");
    let element = Text::of(entry.view()).expect("an element is carried as a string");
    match element {
        Text::Flat(flat) => ctx.store.effects.state(ctx.db, &[to.push_name, key.bytes, flat]),
        Text::Rope(rope) => ctx.store.effects.state_long(ctx.db, &[to.push_name, key.bytes, b""], 2, rope),
    }
    let mut longs = Incoming::default();
    let words = request_of(element, &mut longs);
    ctx.push_to_list(key, to, &mut Words { args: words.args(), from: 0, longs: &mut longs }, Absent::Make)?;
    answer(element, reply);
    Ok(Flow::Done)
}

/// An element on its way to another key, as a string that may cross lanes.
fn carried(element: Value<'_>) -> Entry {
    let content = match element {
        Value::Short(cell) => {
            return Entry::new(b"", Content::Embedded(cell.text(&mut [0; I64_TEXT_MAX])), Fields::default());
        }
        Value::Long(rope) => Content::Object(Kind::String, Box::new(Object::Rope(rope.clone()))),
    };
    Entry::new(b"", content, Fields::default())
}

/// A request of one word, which is the element.
fn request_of(element: Text<'_>, longs: &mut Incoming) -> Request {
    let flat: &[u8] = match element {
        Text::Flat(flat) => flat,
        Text::Rope(rope) => {
            longs.push(0, rope.clone());
            b""
        }
    };
    [flat].into_iter().collect()
}

/// BLPOP and BRPOP from one key.
fn take_one(ctx: &mut Ctx<'_>, key: &[u8], reply: &mut Reply<'_>, side: &Side) -> Result<Served, Fault> {
    let key = ctx.key(key);
    let taken = ctx.take_from_list(key, side.pop, |list, graves| {
        reply.array(2);
        reply.bulk(key.bytes);
        answer_value(list.peek(side.end).expect("no list is empty"), reply);
        list.drop_outermost(side.end, graves);
        ((), 1)
    })?;
    if taken.is_none() {
        return Ok(Served::No);
    }
    ctx.store.effects.state(ctx.db, &[side.pop_name, key.bytes]);
    Ok(Served::Yes)
}

/// What LMPOP and BLMPOP want of a list.
struct Wanted {
    side: &'static Side,
    count: usize,
}

impl Wanted {
    /// `word` is that of the number of keys.
    fn of(args: Args<'_>, word: usize) -> Result<Self, Fault> {
        let keys = places::count(args, word).map_err(|bad| match bad {
            BadCount::NotANumber | BadCount::NotPositive => Fault::Fixed("ERR numkeys should be greater than 0"),
            BadCount::TooMany => Fault::Syntax,
        })?;
        let rest = args.from(word + 1 + keys);
        let side = side(rest.get(0).ok_or(Fault::Syntax)?)?;
        let count = match rest.len() {
            1 => 1,
            // A wrong number is told before words behind it are, as in Redis.
            3.. if is_word(rest.at(1), "COUNT") => {
                let count = parse_i64(rest.at(2)).and_then(|count| usize::try_from(count).ok());
                let count = count.filter(|count| *count > 0);
                let count = count.ok_or(Fault::Fixed("ERR count should be greater than 0"))?;
                if rest.len() == 3 { count } else { return Err(Fault::Syntax) }
            }
            _ => return Err(Fault::Syntax),
        };
        Ok(Self { side, count })
    }
}

/// LMPOP and BLMPOP from one key.
fn take_some(ctx: &mut Ctx<'_>, wanted: Wanted, key: &[u8], reply: &mut Reply<'_>) -> Result<Served, Fault> {
    let (key, Wanted { side, count }) = (ctx.key(key), wanted);
    let taken = ctx.take_from_list(key, side.pop, |list, graves| {
        let count = count.min(list.len());
        if !is_short(list, count) {
            return ((count, Some(list.cut(side.end, count))), count);
        }
        reply.array(2);
        reply.bulk(key.bytes);
        answer_and_drop(list, side, count, graves, reply);
        ((count, None), count)
    })?;
    let Some((count, piece)) = taken else { return Ok(Served::No) };
    let mut digits = [0; I64_TEXT_MAX];
    ctx.store.effects.state(ctx.db, &[side.pop_name, key.bytes, format_u64(count as u64, &mut digits)]);
    Ok(match piece {
        None => Served::Yes,
        Some(piece) => Served::Job(Box::new(Walk::taken_from(key.bytes, piece, side.end))),
    })
}
