//! SORT and SORT_RO.
//!
//! ```text
//!  SORT k BY w_* GET u_*->name STORE d
//!
//!   gather   where k is       a clone of its root                                      elements.rs
//!   weigh    every lane       those of w_1, w_2 ... that are its own                   fetch.rs, pattern.rs, texts.rs
//!   arrange  where d is       sorted in slices; the window of LIMIT                    order.rs
//!   fetch    every lane       those of u_1, u_2 ... in the window that are its own     fetch.rs
//!   answer   where d is       the reply, or the list                                   answer.rs, storing.rs
//! ```
//!
//! Each stage is a job of bounded steps. Without patterns that lead to other keys there are only the first, the third and the last, and they hold k no
//! longer than it takes to clone its root. Which keys patterns lead to only k tells, so that such a request holds the whole keyspace, shared, from
//! the first stage to the last: others read meanwhile and nobody writes, which makes it as much of one moment as in Redis, where everybody waits.
//! With STORE it has d's lane to itself.
//!
//! The effect of STORE is the list that was made, never the request: what it was made of may be other lanes', and may be so anew after a restart.
//! As a node of a cluster (a shard port) it refuses what Redis refuses there. Absent: collation; texts are compared by bytes.

mod answer;
mod elements;
mod fetch;
mod order;
mod pattern;
mod texts;

use std::ops::Range;

pub use self::order::Ordered;
pub use self::texts::Column;

use self::answer::{Answer, Lines, Listing};
use self::elements::Elements;
use self::fetch::Fetch;
use self::order::Sorting;
use self::pattern::{Pattern, Place};
use self::texts::Columns;
use super::numbers::integer;
use super::places::{Keyword, Spec};
use super::staged::{Cargo, Flow, On, Stage, gather};
use super::storing;
use super::{Command, Ctx, Flags, Group, Keys, Log, Run};
use crate::base::ascii::is_word;
use crate::store::entry::Kind;
use crate::store::event::Event;
use crate::types::list::Limits;
use crate::wire::fault::Fault;
use crate::wire::reply::Reply;
use crate::wire::request::Args;

const STORE: Keyword = Keyword { word: "STORE", from: 2, passes: &[("LIMIT", 2), ("BY", 1), ("GET", 1)] };
const DESTINATION: &[Spec] = &[Spec::option(&STORE, Keys::OVERWRITE)];

const ROW: Command = Command {
    arity: -2,
    group: Group::Generic,
    complexity: "O(N + M log M) where N is the number of elements and M that of those answered",
    leads: Some(Options::lead_elsewhere),
    ..Command::ROW
};

pub const ROWS: &[Command] = &[
    Command {
        name: "sort",
        syntax: "SORT key [BY pattern] [LIMIT offset count] [GET pattern [GET pattern ...]] [ASC | DESC] [ALPHA] [STORE destination]",
        keys: Keys::one(Keys::READ).and(DESTINATION),
        flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::DANGEROUS).and(Flags::COLLECTIONS),
        summary: "Answers the elements of a list, a set or a sorted set in order, or what stands elsewhere for them; or stores that as a list.",
        log: Log::Effect,
        run: Run::Staged(&[
            Stage { on: On::Sources, run: |ctx, args, cargo, _| gather_source(ctx, args, cargo, Form::MayStore) },
            STAGES[0],
            STAGES[1],
            STAGES[2],
            STAGES[3],
        ]),
        ..ROW
    },
    Command {
        name: "sort_ro",
        syntax: "SORT_RO key [BY pattern] [LIMIT offset count] [GET pattern [GET pattern ...]] [ASC | DESC] [ALPHA]",
        since: "7.0.0",
        keys: Keys::one(Keys::READ),
        flags: Flags::READONLY.and(Flags::DANGEROUS).and(Flags::COLLECTIONS),
        summary: "Answers the elements of a list, a set or a sorted set in order, or what stands elsewhere for them.",
        run: Run::Staged(&[
            Stage { on: On::Sources, run: |ctx, args, cargo, _| gather_source(ctx, args, cargo, Form::ReadOnly) },
            STAGES[0],
            STAGES[1],
            STAGES[2],
            STAGES[3],
        ]),
        ..ROW
    },
];

const STAGES: [Stage; 4] = [
    Stage { on: On::Everywhere, run: weigh },
    Stage { on: On::Target, run: arrange },
    Stage { on: On::Everywhere, run: fetch },
    Stage { on: On::Target, run: answer },
];

/// Whether STORE is an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    MayStore,
    ReadOnly,
}

/// The option by which a request may read keys that it does not name, if it has one: whoever may not read all must not give it.
pub fn leading_option(args: Args<'_>) -> Option<&'static str> {
    let options = Options::parse(args, Form::MayStore, false).ok()?;
    if options.by.elsewhere().is_some() {
        return Some("BY");
    }
    (!options.gets.is_empty()).then_some("GET")
}

#[derive(Debug)]
struct Options {
    by: Pattern,
    /// BY a pattern that leads nowhere: the elements stay as they are.
    is_constant: bool,
    gets: Vec<Pattern>,
    offset: i64,
    count: i64,
    descends: bool,
    alpha: bool,
    /// The word that is the key.
    store: Option<usize>,
}

impl Options {
    /// In Redis's order of refusals.
    fn parse(args: Args<'_>, form: Form, is_node: bool) -> Result<Self, Fault> {
        let mut options = Self {
            by: Pattern::Nothing,
            is_constant: false,
            gets: Vec::new(),
            offset: 0,
            count: -1,
            descends: false,
            alpha: false,
            store: None,
        };
        let mut at = 2;
        while let Some(word) = args.get(at) {
            match (word, args.get(at + 1)) {
                (word, _) if is_word(word, "ASC") => options.descends = false,
                (word, _) if is_word(word, "DESC") => options.descends = true,
                (word, _) if is_word(word, "ALPHA") => options.alpha = true,
                (word, Some(offset)) if is_word(word, "LIMIT") && at + 2 < args.len() => {
                    (options.offset, options.count) = (integer(offset)?, integer(args.at(at + 2))?);
                    at += 2;
                }
                (word, Some(_)) if is_word(word, "STORE") && form == Form::MayStore => {
                    at += 1;
                    options.store = Some(at);
                }
                (word, Some(pattern)) if is_word(word, "BY") => {
                    options.by = Pattern::of(pattern);
                    if !pattern.contains(&b'*') {
                        options.is_constant = true;
                    } else if is_node {
                        return Err(Fault::Fixed("ERR BY option of SORT denied in cluster mode."));
                    }
                    at += 1;
                }
                (word, Some(pattern)) if is_word(word, "GET") => {
                    if is_node {
                        return Err(Fault::Fixed("ERR GET option of SORT denied in cluster mode."));
                    }
                    options.gets.push(Pattern::of(pattern));
                    at += 1;
                }
                _ => return Err(Fault::Syntax),
            }
            at += 1;
        }
        Ok(options)
    }

    /// Of a request that the first stage has let pass.
    fn of(args: Args<'_>, kind: Option<Kind>) -> Result<Self, Fault> {
        let mut options = Self::parse(args, Form::MayStore, false)?;
        // A set has no order to be kept; what is stored shall be the same wherever it is made.
        if options.is_constant && kind == Some(Kind::Set) && options.store.is_some() {
            (options.is_constant, options.alpha, options.by) = (false, true, Pattern::Nothing);
        }
        Ok(options)
    }

    /// Whether a request leads to keys that only the data tell.
    fn lead_elsewhere(args: Args<'_>) -> bool {
        let Ok(options) = Self::parse(args, Form::MayStore, false) else { return false };
        options.by.elsewhere().is_some() || options.gets.iter().any(|get| get.elsewhere().is_some())
    }

    /// Whether the elements stay in the order they have.
    fn is_unsorted(&self) -> bool {
        self.is_constant
    }

    /// LIMIT of so many.
    fn window(&self, len: usize) -> Range<usize> {
        let start = usize::try_from(self.offset).unwrap_or(0).min(len);
        let count = usize::try_from(self.count).unwrap_or(len);
        start..start.saturating_add(count).min(len)
    }
}

fn gather_source(ctx: &mut Ctx<'_>, args: Args<'_>, cargo: &mut Cargo, form: Form) -> Result<Flow, Fault> {
    Options::parse(args, form, ctx.shard_port)?;
    gather(ctx, cargo, args, [1].into_iter(), &[Kind::List, Kind::Set, Kind::Zset])
}

fn weigh(_: &mut Ctx<'_>, args: Args<'_>, cargo: &mut Cargo, _: &mut Reply<'_>) -> Result<Flow, Fault> {
    let source = cargo.source();
    let options = Options::of(args, source.map(|source| source.kind))?;
    match options.by.elsewhere().filter(|_| !options.is_unsorted()) {
        None => Ok(Flow::On),
        Some(place) => {
            let patterns = vec![(0, place.clone())];
            Ok(Flow::Work(Box::new(Fetch::of(Elements::of(source, &options), patterns, 1))))
        }
    }
}

fn arrange(_: &mut Ctx<'_>, args: Args<'_>, cargo: &mut Cargo, _: &mut Reply<'_>) -> Result<Flow, Fault> {
    let source = cargo.source();
    let options = Options::of(args, source.map(|source| source.kind))?;
    if options.is_unsorted() || source.is_none() {
        return Ok(Flow::On);
    }
    let elements = Elements::of(source, &options);
    let weights = Columns::of(std::mem::take(&mut cargo.found));
    Ok(Flow::Work(Box::new(Sorting::of(elements, weights, &options))))
}

/// What is answered of: the window, sorted or as it was.
fn in_window(cargo: &Cargo, options: &Options) -> Elements {
    match &cargo.order {
        Some(order) => Elements::Ordered { order: order.clone(), left: 0..order.len() },
        None => Elements::of(cargo.source(), options),
    }
}

fn fetch(_: &mut Ctx<'_>, args: Args<'_>, cargo: &mut Cargo, _: &mut Reply<'_>) -> Result<Flow, Fault> {
    let options = Options::of(args, cargo.source().map(|source| source.kind))?;
    let numbered = (0..).zip(&options.gets).filter_map(|(nth, get)| Some((nth, get.elsewhere()?.clone())));
    let patterns: Vec<(u64, Place)> = numbered.collect();
    if patterns.is_empty() {
        return Ok(Flow::On);
    }
    let elements = in_window(cargo, &options);
    Ok(Flow::Work(Box::new(Fetch::of(elements, patterns, options.gets.len()))))
}

fn answer(ctx: &mut Ctx<'_>, args: Args<'_>, cargo: &mut Cargo, _: &mut Reply<'_>) -> Result<Flow, Fault> {
    let options = Options::of(args, cargo.source().map(|source| source.kind))?;
    let elements = in_window(cargo, &options);
    let lines = Lines::of(elements, options.gets, Columns::of(std::mem::take(&mut cargo.found)));
    cargo.bury(&mut ctx.store.graves);
    let Some(store) = options.store else { return Ok(Flow::Job(Box::new(Answer::of(lines)))) };
    cargo.apart = true;
    let listing = Listing::of(lines, Limits::of(ctx.config.list_node_size()));
    Ok(storing::store(args.at(store), Box::new(listing), Event::SORTSTORE, cargo))
}
