//! Lists. LRANGE, and LPOP and RPOP of many, are jobs: over a clone of the root, or over the piece that was cut off, either of which takes
//! constant time to get and lets others write on.
//!
//! ```text
//!  mod.rs      push, pop, ends and ranges          search.rs   LINSERT, LPOS, LREM: what has to be looked for
//!  access.rs   how a handler reaches a list        moves.rs    LMOVE and its kin, LMPOP, and those that wait
//! ```

mod access;
pub mod moves;
pub mod search;

use self::access::{Absent, Words};
use super::caller::answer_value;
use super::numbers::integer;
use super::sliced::{Job, Pieces};
use super::staged::{Cargo, Flow, On, Stage};
use super::{Command, Ctx, Elements, Flags, Group, Keys, Log, Outcome, Run, Said};
use crate::base::ascii::parse_i64;
use crate::base::limits;
use crate::store::event::Event;
use crate::store::keyspace::Graveyard;
use crate::types::list::{End, List};
use crate::types::rope::Rope;
use crate::types::{Object, Progress};
use crate::wire::fault::Fault;
use crate::wire::reply::Reply;
use crate::wire::request::Args;
use std::ops::Range;

const GROW: Flags = Flags::WRITE.and(Flags::DENYOOM).and(Flags::LONG);
const ROW: Command = Command { group: Group::List, since: "1.0.0", log: Log::Verbatim, ..Command::ROW };
const READ: Command =
    Command { flags: Flags::READONLY, keys: Keys::one(Keys::READ), log: Log::Never("reads only"), ..ROW };
const PUSH: Command = Command {
    arity: -3,
    keys: Keys::one(Keys::INSERT_MODIFY),
    flags: GROW.and(Flags::FAST),
    elements: Elements::new(2, 1, Said::Same),
    complexity: "O(N) where N is the number of elements",
    ..ROW
};
const POP: Command = Command {
    arity: -2,
    keys: Keys::one(Keys::TAKE),
    flags: Flags::WRITE.and(Flags::FAST),
    complexity: "O(N) where N is the number of elements answered",
    ..ROW
};

pub const ROWS: &[Command] = &[
    Command {
        name: "lindex",
        syntax: "LINDEX key index",
        arity: 3,
        complexity: "O(log N) where N is the number of elements",
        summary: "Answers the element of a number, counted from the front or, if negative, from the back.",
        run: Run::Keys(lindex),
        ..READ
    },
    Command {
        name: "llen",
        syntax: "LLEN key",
        arity: 2,
        keys: Keys::one(Keys::LOOK),
        flags: Flags::READONLY.and(Flags::FAST),
        summary: "Answers the number of elements.",
        run: Run::Keys(llen),
        ..READ
    },
    Command {
        name: "lpop",
        syntax: "LPOP key [count]",
        summary: "Takes the first element, or so many.",
        run: Run::Staged(&[Stage { on: On::Key(1), run: |ctx, args, _, reply| pop(ctx, args, reply, &FRONT) }]),
        ..POP
    },
    Command {
        name: "lpush",
        syntax: "LPUSH key element [element ...]",
        summary: "Puts elements in front, one after the other; answers how many there are.",
        run: Run::Keys(|ctx, args, reply| push(ctx, args, reply, &FRONT, Absent::Make)),
        ..PUSH
    },
    Command {
        name: "lpushx",
        syntax: "LPUSHX key element [element ...]",
        since: "2.2.0",
        summary: "Puts elements in front of a list that exists.",
        run: Run::Keys(|ctx, args, reply| push(ctx, args, reply, &FRONT, Absent::Leave)),
        ..PUSH
    },
    Command {
        name: "lrange",
        syntax: "LRANGE key start stop",
        arity: 4,
        complexity: "O(log N + M) where N is the number of elements and M that of those answered",
        summary: "Answers elements from one number to another, as they are at one moment, many of them in slices.",
        run: Run::Staged(&[Stage { on: On::Key(1), run: lrange }]),
        ..READ
    },
    Command {
        name: "lset",
        syntax: "LSET key index element",
        arity: 4,
        keys: Keys::one(Keys::UPDATE),
        flags: GROW,
        complexity: "O(log N) where N is the number of elements",
        summary: "Puts an element in the place of another.",
        run: Run::Keys(lset),
        ..ROW
    },
    Command {
        name: "ltrim",
        syntax: "LTRIM key start stop",
        arity: 4,
        keys: Keys::one(Keys::DELETE_FROM),
        flags: Flags::WRITE,
        complexity: "O(log N); what is cut off is freed in the background",
        summary: "Removes all elements but those from one number to another.",
        run: Run::Keys(ltrim),
        ..ROW
    },
    Command {
        name: "rpop",
        syntax: "RPOP key [count]",
        summary: "Takes the last element, or so many.",
        run: Run::Staged(&[Stage { on: On::Key(1), run: |ctx, args, _, reply| pop(ctx, args, reply, &BACK) }]),
        ..POP
    },
    Command {
        name: "rpush",
        syntax: "RPUSH key element [element ...]",
        summary: "Puts elements behind the others; answers how many there are.",
        run: Run::Keys(|ctx, args, reply| push(ctx, args, reply, &BACK, Absent::Make)),
        ..PUSH
    },
    Command {
        name: "rpushx",
        syntax: "RPUSHX key element [element ...]",
        since: "2.2.0",
        summary: "Puts elements behind those of a list that exists.",
        run: Run::Keys(|ctx, args, reply| push(ctx, args, reply, &BACK, Absent::Leave)),
        ..PUSH
    },
];

/// An end of a list, as commands and events name it.
#[derive(Debug)]
struct Side {
    end: End,
    word: &'static str,
    push: Event,
    push_name: &'static [u8],
    pop: Event,
    pop_name: &'static [u8],
}

static FRONT: Side = Side {
    end: End::Front,
    word: "LEFT",
    push: Event::LPUSH,
    push_name: b"LPUSH",
    pop: Event::LPOP,
    pop_name: b"LPOP",
};

static BACK: Side = Side {
    end: End::Back,
    word: "RIGHT",
    push: Event::RPUSH,
    push_name: b"RPUSH",
    pop: Event::RPOP,
    pop_name: b"RPOP",
};

fn push(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>, side: &Side, absent: Absent) -> Outcome {
    let key = ctx.first(args);
    let mut longs = std::mem::take(&mut ctx.store.incoming);
    let pushed = ctx.push_to_list(key, side, &mut Words { args, from: 2, longs: &mut longs }, absent);
    ctx.store.incoming = longs;
    reply.count(pushed?);
    Ok(())
}

fn pop(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>, side: &'static Side) -> Result<Flow, Fault> {
    let key = ctx.first(args);
    match args.len() {
        2 => {
            let popped = ctx.take_from_list(key, side.pop, |list, graves| {
                answer_value(list.peek(side.end).expect("no list is empty"), reply);
                list.drop_outermost(side.end, graves);
                ((), 1)
            })?;
            if popped.is_none() {
                reply.null();
            }
            Ok(Flow::Done)
        }
        3 => pop_many(ctx, args, reply, side),
        _ => Err(Fault::Arity(if side.end == End::Front { "lpop" } else { "rpop" })),
    }
}

fn pop_many(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>, side: &'static Side) -> Result<Flow, Fault> {
    let count = parse_i64(args.at(2)).and_then(|count| usize::try_from(count).ok());
    let count = count.ok_or(Fault::Fixed(NOT_POSITIVE))?;
    let piece = ctx.take_from_list(ctx.first(args), side.pop, |list, graves| {
        let count = count.min(list.len());
        if is_short(list, count) {
            answer_and_drop(list, side, count, graves, reply);
            (None, count)
        } else {
            (Some(list.cut(side.end, count)), count)
        }
    })?;
    match piece {
        None => reply.null_array(),
        Some(None) => {}
        Some(Some(piece)) => {
            let range = 0..piece.len();
            return Ok(Flow::Job(Box::new(Walk::over(piece, range, side.end))));
        }
    }
    Ok(Flow::Done)
}

/// Takes so many, few enough for a turn, one after the other.
fn answer_and_drop(list: &mut List, side: &Side, count: usize, graves: &mut Vec<Rope>, reply: &mut Reply<'_>) {
    reply.array(count);
    for _ in 0..count {
        answer_value(list.peek(side.end).expect("it has so many"), reply);
        list.drop_outermost(side.end, graves);
    }
}

const NOT_POSITIVE: &str = "ERR value is out of range, must be positive";

fn llen(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let len = ctx.list(ctx.first(args))?.map_or(0, List::len);
    reply.count(len);
    Ok(())
}

fn lindex(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    // Redis looks at the number only if there is a list.
    let Some(list) = ctx.list(ctx.first(args))? else {
        reply.null();
        return Ok(());
    };
    match place(integer(args.at(2))?, list.len()).and_then(|index| list.get(index)) {
        Some(value) => answer_value(value, reply),
        None => reply.null(),
    }
    Ok(())
}

fn lset(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let key = ctx.first(args);
    let mut longs = std::mem::take(&mut ctx.store.incoming);
    let limits = ctx.list_limits();
    let item = Words { args, from: 3, longs: &mut longs }.next();
    let set = ctx.edit_list(key, |list, graves| {
        let index = place(integer(args.at(2))?, list.len()).ok_or(Fault::Fixed("ERR index out of range"))?;
        list.expect(End::Back, item.len(), 1, limits);
        list.set(index, &item, graves);
        list.settle(limits);
        Ok(())
    });
    ctx.store.incoming = longs;
    set?.ok_or(Fault::NoSuchKey)??;
    ctx.happened(Event::LSET, key);
    reply.ok();
    Ok(())
}

fn ltrim(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let (start, stop) = (integer(args.at(2))?, integer(args.at(3))?);
    let pieces = ctx.edit_and_tell(ctx.first(args), Event::LTRIM, |list, graves| {
        let len = list.len();
        let kept = span(start, stop, len);
        let behind = if kept.is_empty() { len } else { len - kept.end };
        let before = if kept.is_empty() { 0 } else { kept.start };
        [(End::Back, behind), (End::Front, before)].map(|(end, count)| shed(list, end, count, graves))
    })?;
    for piece in pieces.into_iter().flatten().flatten() {
        ctx.store.graves.bury_object(Object::List(piece));
    }
    reply.ok();
    Ok(())
}

/// Removes elements at an end: few where they are, many as a piece to be buried.
fn shed(list: &mut List, end: End, count: usize, graves: &mut Vec<Rope>) -> Option<List> {
    const FEW: usize = 16;
    if count > FEW {
        return Some(list.cut(end, count));
    }
    (0..count).for_each(|_| list.drop_outermost(end, graves));
    None
}

fn lrange(ctx: &mut Ctx<'_>, args: Args<'_>, _: &mut Cargo, reply: &mut Reply<'_>) -> Result<Flow, Fault> {
    let (start, stop) = (integer(args.at(2))?, integer(args.at(3))?);
    let Some(list) = ctx.list(ctx.first(args))? else {
        reply.array(0);
        return Ok(Flow::Done);
    };
    let range = span(start, stop, list.len());
    if !is_short(list, range.len()) {
        return Ok(Flow::Job(Box::new(Walk::over(list.clone(), range, End::Front))));
    }
    reply.array(range.len());
    list.visit(range, |value| answer_value(value, reply));
    Ok(Flow::Done)
}

/// The element that a number means, which counts from the back if it is negative.
fn place(number: i64, len: usize) -> Option<usize> {
    let index = if number < 0 {
        len.checked_sub(usize::try_from(number.unsigned_abs()).ok()?)?
    } else {
        usize::try_from(number).ok()?
    };
    (index < len).then_some(index)
}

/// The elements from one number to another, both included.
fn span(start: i64, stop: i64, len: usize) -> Range<usize> {
    let clamp = |number: i64| match usize::try_from(number) {
        Ok(number) => number.min(len),
        Err(_) => len.saturating_sub(usize::try_from(number.unsigned_abs()).unwrap_or(usize::MAX)),
    };
    let from = clamp(start);
    let to = if stop < 0 && stop.unsigned_abs() > len as u64 { 0 } else { (clamp(stop) + 1).min(len) };
    from..to.max(from)
}

/// Whether so many elements of a list are answered within a turn.
fn is_short(list: &List, count: usize) -> bool {
    let each = list.bytes() / list.len().max(1);
    count <= limits::FIELDS_PER_STEP && count.saturating_mul(each) <= limits::REPLY_BYTES_PER_STEP
}

/// Answers a part of a list that nobody changes, from one of its ends on.
#[derive(Debug)]
struct Walk {
    /// LMPOP says what it was taken from.
    key: Option<Box<[u8]>>,
    list: List,
    len: usize,
    left: Range<usize>,
    from: End,
    pieces: Pieces,
}

impl Walk {
    fn over(list: List, range: Range<usize>, from: End) -> Self {
        Self { key: None, list, len: range.len(), left: range, from, pieces: Pieces::default() }
    }

    fn taken_from(key: &[u8], list: List, from: End) -> Self {
        let all = 0..list.len();
        Self { key: Some(key.into()), ..Self::over(list, all, from) }
    }

    /// Elements that are visited between two looks at what they weigh.
    const BATCH: usize = 32;
}

impl Job for Walk {
    fn step(&mut self, ctx: &mut Ctx<'_>, reply: &mut Reply<'_>) -> Result<Progress, Fault> {
        let (before, mut visited) = (self.pieces.written(), 0);
        while visited < limits::FIELDS_PER_STEP
            && self.pieces.written() - before < limits::REPLY_BYTES_PER_STEP
            && !self.left.is_empty()
        {
            let count = self.left.len().min(Self::BATCH);
            let (list, pieces) = (&self.list, &mut self.pieces);
            let mut into = pieces.writer();
            match self.from {
                End::Front => {
                    list.visit(self.left.start..self.left.start + count, |value| answer_value(value, &mut into));
                    self.left.start += count;
                }
                End::Back => {
                    list.visit_back(self.left.end - count..self.left.end, |value| answer_value(value, &mut into));
                    self.left.end -= count;
                }
            }
            visited += count;
        }
        self.pieces.cut();
        if !self.left.is_empty() {
            return Ok(Progress::More);
        }
        if let Some(key) = &self.key {
            reply.array(2);
            reply.bulk(key);
        }
        reply.array(self.len);
        self.pieces.pour(reply);
        ctx.store.graves.bury_object(Object::List(std::mem::take(&mut self.list)));
        Ok(Progress::Done)
    }

    /// The clone may be the last holder of its nodes by now.
    fn abandon(self: Box<Self>, graves: &mut Graveyard) {
        graves.bury_object(Object::List(self.list));
        self.pieces.bury(graves);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_count_from_both_ends() {
        let cases = [
            ((0, -1), 0..5),
            ((-3, -2), 2..4),
            ((-100, 100), 0..5),
            ((3, 1), 3..3),
            ((5, 10), 5..5),
            ((0, -6), 0..0),
            ((0, -5), 0..1),
            ((i64::MIN, i64::MAX), 0..5),
            ((i64::MAX, i64::MIN), 5..5),
        ];
        for ((start, stop), range) in cases {
            assert_eq!(span(start, stop, 5), range, "{start} {stop}");
        }
        assert!(span(0, -1, 0).is_empty());
        let places =
            [(0, Some(0)), (4, Some(4)), (5, None), (-1, Some(4)), (-5, Some(0)), (-6, None), (i64::MIN, None)];
        for (number, index) in places {
            assert_eq!(place(number, 5), index, "{number}");
        }
    }
}
