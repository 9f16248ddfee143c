//! What has to be looked for among elements: LINSERT, LPOS, LREM. All three are jobs that look at a bounded number of elements in a step, and
//! so are over in their first step where a list is not very large.
//!
//! ```text
//!  LPOS       looks into a clone of the root; others write on
//!  LINSERT    looks into a clone, then inserts; the key is held meanwhile
//!  LREM       makes a clone without the elements and puts it in the list's place; the key is held meanwhile
//! ```

use super::access::Words;
use super::{GROW, READ, ROW};
use crate::base::ascii::is_word;
use crate::base::limits;
use crate::command::numbers::integer;
use crate::command::sliced::Job;
use crate::command::staged::{Cargo, Flow, On, Stage};
use crate::command::{Command, Ctx, Flags, Keys, Run};
use crate::store::event::Event;
use crate::store::keyspace::Graveyard;
use crate::types::list::{End, Item, List, Needle, Purge};
use crate::types::rope::Rope;
use crate::types::{Object, Progress};
use crate::wire::fault::Fault;
use crate::wire::reply::Reply;
use crate::wire::request::Args;
use std::ops::{ControlFlow, Range};

pub const ROWS: &[Command] = &[
    Command {
        name: "linsert",
        syntax: "LINSERT key <BEFORE | AFTER> pivot element",
        arity: 5,
        keys: Keys::one(Keys::INSERT_MODIFY),
        flags: GROW,
        since: "2.2.0",
        complexity: "O(N) where N is the number of elements before the pivot",
        summary: "Puts an element before or behind the first that equals the pivot.",
        run: Run::Staged(&[Stage { on: On::Key(1), run: linsert }]),
        ..ROW
    },
    Command {
        name: "lpos",
        syntax: "LPOS key element [RANK rank] [COUNT num-matches] [MAXLEN len]",
        arity: -3,
        since: "6.0.6",
        complexity: "O(N) where N is the number of elements",
        summary: "Answers the numbers of elements that equal a text.",
        run: Run::Staged(&[Stage { on: On::Key(1), run: lpos }]),
        ..READ
    },
    Command {
        name: "lrem",
        syntax: "LREM key count element",
        arity: 4,
        keys: Keys::one(Keys::DELETE_FROM),
        flags: Flags::WRITE,
        complexity: "O(N) where N is the number of elements",
        summary: "Removes elements that equal a text, from the front or the back.",
        run: Run::Staged(&[Stage { on: On::Key(1), run: lrem }]),
        ..ROW
    },
];

/// How many elements one step compares with a text.
fn per_step(text: &[u8]) -> usize {
    limits::ELEMENTS_COMPARED_PER_STEP.min(1 + limits::COMPARED_BYTES_PER_STEP / text.len().max(1))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Where {
    Before,
    After,
}

fn linsert(ctx: &mut Ctx<'_>, args: Args<'_>, _: &mut Cargo, reply: &mut Reply<'_>) -> Result<Flow, Fault> {
    let place = match args.at(2) {
        word if is_word(word, "BEFORE") => Where::Before,
        word if is_word(word, "AFTER") => Where::After,
        _ => return Err(Fault::Syntax),
    };
    let mut longs = std::mem::take(&mut ctx.store.incoming);
    let found = ctx.old_list(ctx.first(args)).map(|list| list.cloned());
    let (pivot, element) = (text_of(args, 3, &mut longs), Element::of(args, 4, &mut longs));
    ctx.store.incoming = longs;
    let Some(list) = found? else {
        reply.int(0);
        return Ok(Flow::Done);
    };
    let left = 0..list.len();
    Ok(Flow::Job(Box::new(Insert { key: args.at(1).into(), list, left, place, pivot, element })))
}

/// A word of the request whole, though it came as a rope.
fn text_of(args: Args<'_>, word: usize, longs: &mut crate::store::incoming::Incoming) -> Box<[u8]> {
    let flat = args.at(word);
    match longs.take(word).filter(|_| flat.is_empty()) {
        None => flat.into(),
        Some(rope) => {
            let mut text = Vec::with_capacity(rope.len());
            rope.read_into(0..rope.len(), &mut text);
            text.into()
        }
    }
}

/// An element that outlives its request.
#[derive(Debug)]
enum Element {
    Short(Box<[u8]>),
    Long(Rope),
}

impl Element {
    fn of(args: Args<'_>, word: usize, longs: &mut crate::store::incoming::Incoming) -> Self {
        match (Words { args, from: word, longs }).next() {
            Item::Long(rope) => Self::Long(rope),
            Item::Short(_) => Self::Short(args.at(word).into()),
        }
    }

    fn item(&self) -> Item<'_> {
        match self {
            Self::Short(text) => Item::of(text),
            Self::Long(rope) => Item::Long(rope.clone()),
        }
    }
}

/// LINSERT, whose pivot is being looked for.
#[derive(Debug)]
struct Insert {
    key: Box<[u8]>,
    list: List,
    left: Range<usize>,
    place: Where,
    pivot: Box<[u8]>,
    element: Element,
}

impl Job for Insert {
    fn step(&mut self, ctx: &mut Ctx<'_>, reply: &mut Reply<'_>) -> Result<Progress, Fault> {
        let range = self.left.start..self.left.end.min(self.left.start + per_step(&self.pivot));
        self.left.start = range.end;
        let mut at = None;
        let _ = self.list.search(range, End::Front, Needle::of(&self.pivot), |index| {
            at = Some(index);
            ControlFlow::Break(())
        });
        if at.is_none() && !self.left.is_empty() {
            return Ok(Progress::More);
        }
        // Whoever inserts shall find its nodes owned alone.
        ctx.store.graves.bury_object(Object::List(std::mem::take(&mut self.list)));
        let Some(at) = at else {
            reply.int(-1);
            return Ok(Progress::Done);
        };
        let (key, limits, item) = (ctx.key(&self.key), ctx.list_limits(), self.element.item());
        let index = at + usize::from(self.place == Where::After);
        let len = ctx.edit_list(key, |list, _| {
            list.expect(End::Back, item.len(), 1, limits);
            list.insert(index, item);
            list.len()
        })?;
        ctx.happened(Event::LINSERT, key);
        self.state(ctx);
        reply.count(len.expect("the list is held"));
        Ok(Progress::Done)
    }

    fn abandon(self: Box<Self>, graves: &mut Graveyard) {
        graves.bury_object(Object::List(self.list));
    }
}

impl Insert {
    fn state(&self, ctx: &mut Ctx<'_>) {
        let place: &[u8] = if self.place == Where::Before { b"BEFORE" } else { b"AFTER" };
        let flat: &[u8] = if let Element::Short(text) = &self.element { text } else { b"" };
        let words = [b"LINSERT", &*self.key, place, &self.pivot, flat];
        match &self.element {
            Element::Short(_) => ctx.store.effects.state(ctx.db, &words),
            Element::Long(rope) => ctx.store.effects.state_long(ctx.db, &words, 4, rope),
        }
    }
}

fn lrem(ctx: &mut Ctx<'_>, args: Args<'_>, _: &mut Cargo, reply: &mut Reply<'_>) -> Result<Flow, Fault> {
    let count = signed(args.at(2))?;
    let most = usize::try_from(count.unsigned_abs()).ok().filter(|most| *most > 0).unwrap_or(usize::MAX);
    let Some(list) = ctx.old_list(ctx.first(args))? else {
        reply.int(0);
        return Ok(Flow::Done);
    };
    let purge = Purge::of(if count < 0 { End::Back } else { End::Front }, most);
    let list = list.clone();
    Ok(Flow::Job(Box::new(Removal { key: args.at(1).into(), list, purge, count, text: args.at(3).into() })))
}

/// LREM under way.
#[derive(Debug)]
struct Removal {
    key: Box<[u8]>,
    list: List,
    purge: Purge,
    count: i64,
    text: Box<[u8]>,
}

impl Job for Removal {
    fn step(&mut self, ctx: &mut Ctx<'_>, reply: &mut Reply<'_>) -> Result<Progress, Fault> {
        let until = self.purge.looked_at() + per_step(&self.text);
        let mut graves = Vec::new();
        while self.purge.looked_at() < until {
            if self.list.purge_step(&mut self.purge, Needle::of(&self.text), &mut graves) == Progress::Done {
                self.finish(ctx, reply)?;
                return Ok(Progress::Done);
            }
        }
        Ok(Progress::More)
    }

    fn abandon(self: Box<Self>, graves: &mut Graveyard) {
        graves.bury_object(Object::List(self.list));
    }
}

impl Removal {
    fn finish(&mut self, ctx: &mut Ctx<'_>, reply: &mut Reply<'_>) -> Result<(), Fault> {
        let key = ctx.key(&self.key);
        if self.purge.removed > 0 {
            ctx.edit_and_tell(key, Event::LREM, |list, _| std::mem::swap(list, &mut self.list))?;
            let count = self.count.to_string();
            ctx.store.effects.state(ctx.db, &[b"LREM", &self.key, count.as_bytes(), &self.text]);
        }
        ctx.store.graves.bury_object(Object::List(std::mem::take(&mut self.list)));
        reply.count(self.purge.removed);
        Ok(())
    }
}

/// A number whose negative is one as well.
fn signed(word: &[u8]) -> Result<i64, Fault> {
    const NO_NEGATIVE: &str =
        "ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807";
    integer(word).and_then(|number| if number == i64::MIN { Err(Fault::Fixed(NO_NEGATIVE)) } else { Ok(number) })
}

fn lpos(ctx: &mut Ctx<'_>, args: Args<'_>, _: &mut Cargo, reply: &mut Reply<'_>) -> Result<Flow, Fault> {
    let options = Options::parse(args.from(3))?;
    let Some(list) = ctx.list(ctx.first(args))? else {
        match options.count {
            Some(_) => reply.array(0),
            None => reply.null(),
        }
        return Ok(Flow::Done);
    };
    let len = list.len();
    let from = if options.rank < 0 { End::Back } else { End::Front };
    let most = if options.most == 0 { len } else { options.most.min(len) };
    let left = if from == End::Front { 0..most } else { len - most..len };
    let skip = usize::try_from(options.rank.unsigned_abs()).unwrap_or(usize::MAX) - 1;
    let wanted = options.count.map_or(1, |count| if count == 0 { usize::MAX } else { count });
    let (list, text) = (list.clone(), args.at(2).into());
    let is_array = options.count.is_some();
    Ok(Flow::Job(Box::new(Positions { list, text, left, from, skip, wanted, is_array, found: Vec::new() })))
}

struct Options {
    rank: i64,
    count: Option<usize>,
    /// 0: all.
    most: usize,
}

impl Options {
    fn parse(words: Args<'_>) -> Result<Self, Fault> {
        let mut options = Self { rank: 1, count: None, most: 0 };
        let number = |word: &[u8], fault: &'static str| {
            integer(word).ok().and_then(|number| usize::try_from(number).ok()).ok_or(Fault::Fixed(fault))
        };
        for i in (0..words.len()).step_by(2) {
            let argument = words.get(i + 1).ok_or(Fault::Syntax)?;
            match words.at(i) {
                word if is_word(word, "RANK") => options.rank = rank(argument)?,
                word if is_word(word, "COUNT") => {
                    options.count = Some(number(argument, "ERR COUNT can't be negative")?)
                }
                word if is_word(word, "MAXLEN") => options.most = number(argument, "ERR MAXLEN can't be negative")?,
                _ => return Err(Fault::Syntax),
            }
        }
        Ok(options)
    }
}

fn rank(word: &[u8]) -> Result<i64, Fault> {
    match signed(word)? {
        0 => Err(Fault::Fixed(
            "ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use negative to start from the end of the list",
        )),
        rank => Ok(rank),
    }
}

/// LPOS under way.
#[derive(Debug)]
struct Positions {
    list: List,
    text: Box<[u8]>,
    left: Range<usize>,
    from: End,
    skip: usize,
    wanted: usize,
    is_array: bool,
    found: Vec<usize>,
}

impl Job for Positions {
    fn step(&mut self, ctx: &mut Ctx<'_>, reply: &mut Reply<'_>) -> Result<Progress, Fault> {
        let count = self.left.len().min(per_step(&self.text));
        let range = match self.from {
            End::Front => self.left.start..self.left.start + count,
            End::Back => self.left.end - count..self.left.end,
        };
        self.left = match self.from {
            End::Front => range.end..self.left.end,
            End::Back => self.left.start..range.start,
        };
        let (skip, found, wanted) = (&mut self.skip, &mut self.found, self.wanted);
        let ended = self.list.search(range, self.from, Needle::of(&self.text), |index| {
            if *skip > 0 {
                *skip -= 1;
                return ControlFlow::Continue(());
            }
            found.push(index);
            if found.len() < wanted { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        if ended.is_continue() && !self.left.is_empty() {
            return Ok(Progress::More);
        }
        if self.is_array {
            reply.array(self.found.len());
        }
        match self.found.first() {
            None if !self.is_array => reply.null(),
            _ => self.found.iter().for_each(|index| reply.count(*index)),
        }
        ctx.store.graves.bury_object(Object::List(std::mem::take(&mut self.list)));
        Ok(Progress::Done)
    }

    fn abandon(self: Box<Self>, graves: &mut Graveyard) {
        graves.bury_object(Object::List(self.list));
    }
}
