//! Set algebra: SINTER, SINTERCARD, SUNION, SDIFF, and the forms that store what they find.
//!
//! ```text
//!  [the lanes of the sources: clones of the sets' roots] --> [home: a job that answers]
//!                                                        \-> [the destination's lane: a job that makes a set and puts it there]
//! ```
//!
//! How the outcome is found is `types/algebra.rs`, how it is stored `storing.rs`.

use super::places::{self, BadCount, Spec};
use super::set::Found;
use super::sliced::Job;
use super::staged::{Cargo, Flow, On, Stage, gather};
use super::storing::{self, Made, Making};
use super::{Command, Ctx, Flags, Group, Keys, Log, Run};
use crate::base::ascii::{is_word, parse_i64};
use crate::store::entry::Kind;
use crate::store::event::Event;
use crate::store::keyspace::Graveyard;
use crate::types::algebra::{Algebra, Means, Wanted};
use crate::types::rope::Rope;
use crate::types::set::Set;
use crate::types::trie::Value as Member;
use crate::types::{Object, Progress};
use crate::wire::fault::Fault;
use crate::wire::reply::Reply;
use crate::wire::request::Args;
use std::ops::Range;

const ROW: Command = Command {
    group: Group::Set,
    arity: -2,
    keys: Keys::all(Keys::READ),
    flags: Flags::READONLY,
    since: "1.0.0",
    tips: &["nondeterministic_output_order"],
    ..Command::ROW
};
const STORE: Command = Command {
    arity: -3,
    keys: Keys::one(Keys::OVERWRITE).and(&[Spec::from(2, Keys::READ)]),
    flags: Flags::WRITE.and(Flags::DENYOOM),
    log: Log::Verbatim,
    tips: &[],
    ..ROW
};

const INTER_COST: &str = "O(N*M) where N is the size of the smallest set and M is the number of sets";
const SUM_COST: &str = "O(N) where N is the size of all sets together; a large set is shared, not copied";

pub const ROWS: &[Command] = &[
    Command {
        name: "sdiff",
        syntax: "SDIFF key [key ...]",
        complexity: SUM_COST,
        summary: "Answers the members of the first set that no other has, in slices.",
        run: Run::Staged(&[
            GATHER,
            Stage { on: On::Home, run: |ctx, args, cargo, _| answer(ctx, args, cargo, Operation::Diff) },
        ]),
        ..ROW
    },
    Command {
        name: "sdiffstore",
        syntax: "SDIFFSTORE destination key [key ...]",
        complexity: SUM_COST,
        summary: "Stores the members of the first set that no other has; answers how many.",
        run: Run::Staged(&[
            GATHER_TO_STORE,
            Stage { on: On::Key(1), run: |ctx, args, cargo, _| store(ctx, args, cargo, Operation::Diff) },
        ]),
        ..STORE
    },
    Command {
        name: "sinter",
        syntax: "SINTER key [key ...]",
        complexity: INTER_COST,
        summary: "Answers the members that all sets have, in slices.",
        run: Run::Staged(&[
            GATHER,
            Stage { on: On::Home, run: |ctx, args, cargo, _| answer(ctx, args, cargo, Operation::Inter) },
        ]),
        ..ROW
    },
    Command {
        name: "sintercard",
        syntax: "SINTERCARD numkeys key [key ...] [LIMIT limit]",
        arity: -3,
        keys: Keys::counted(1, Keys::READ),
        since: "7.0.0",
        complexity: INTER_COST,
        summary: "Answers how many members all sets have, counting up to a limit.",
        tips: &[],
        run: Run::Staged(&[GATHER_TO_COUNT, Stage { on: On::Home, run: count }]),
        ..ROW
    },
    Command {
        name: "sinterstore",
        syntax: "SINTERSTORE destination key [key ...]",
        // Redis says that this one modifies, unlike its sisters.
        keys: Keys::one(Keys::UPDATE).and(&[Spec::from(2, Keys::READ)]),
        complexity: INTER_COST,
        summary: "Stores the members that all sets have; answers how many.",
        run: Run::Staged(&[
            GATHER_TO_STORE,
            Stage { on: On::Key(1), run: |ctx, args, cargo, _| store(ctx, args, cargo, Operation::Inter) },
        ]),
        ..STORE
    },
    Command {
        name: "sunion",
        syntax: "SUNION key [key ...]",
        complexity: SUM_COST,
        summary: "Answers the members that any of the sets has, in slices.",
        run: Run::Staged(&[
            GATHER,
            Stage { on: On::Home, run: |ctx, args, cargo, _| answer(ctx, args, cargo, Operation::Union) },
        ]),
        ..ROW
    },
    Command {
        name: "sunionstore",
        syntax: "SUNIONSTORE destination key [key ...]",
        complexity: SUM_COST,
        summary: "Stores the members that any of the sets has; answers how many.",
        run: Run::Staged(&[
            GATHER_TO_STORE,
            Stage { on: On::Key(1), run: |ctx, args, cargo, _| store(ctx, args, cargo, Operation::Union) },
        ]),
        ..STORE
    },
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Inter,
    Union,
    Diff,
}

const GATHER: Stage =
    Stage { on: On::Sources, run: |ctx, args, cargo, _| gather(ctx, cargo, args, 1..args.len(), &[Kind::Set]) };

const GATHER_TO_STORE: Stage =
    Stage { on: On::Sources, run: |ctx, args, cargo, _| gather(ctx, cargo, args, 2..args.len(), &[Kind::Set]) };

const GATHER_TO_COUNT: Stage = Stage {
    on: On::Sources,
    run: |ctx, args, cargo, _| {
        let (words, _) = to_count(args)?;
        gather(ctx, cargo, args, words, &[Kind::Set])
    },
};

fn answer(ctx: &mut Ctx<'_>, args: Args<'_>, cargo: &mut Cargo, operation: Operation) -> Result<Flow, Fault> {
    let algebra = algebra(ctx, args, 1..args.len(), cargo, operation, Wanted::Members);
    Ok(Flow::Job(Box::new(Answering { algebra: Some(algebra), found: Found::default() })))
}

fn count(ctx: &mut Ctx<'_>, args: Args<'_>, cargo: &mut Cargo, _: &mut Reply<'_>) -> Result<Flow, Fault> {
    let (words, most) = to_count(args)?;
    let algebra = algebra(ctx, args, words, cargo, Operation::Inter, Wanted::Count(most));
    Ok(Flow::Job(Box::new(Answering { algebra: Some(algebra), found: Found::default() })))
}

fn store(ctx: &mut Ctx<'_>, args: Args<'_>, cargo: &mut Cargo, operation: Operation) -> Result<Flow, Fault> {
    let event = match operation {
        Operation::Inter => Event::SINTERSTORE,
        Operation::Union => Event::SUNIONSTORE,
        Operation::Diff => Event::SDIFFSTORE,
    };
    let algebra = algebra(ctx, args, 2..args.len(), cargo, operation, Wanted::Set);
    Ok(storing::store(args.at(1), Box::new(Outcome(algebra)), event, cargo))
}

/// The keys of SINTERCARD, and up to how many it counts.
fn to_count(args: Args<'_>) -> Result<(Range<usize>, usize), Fault> {
    let keys = places::count(args, 1).map_err(|bad| {
        Fault::Fixed(match bad {
            BadCount::NotANumber | BadCount::NotPositive => "ERR numkeys should be greater than 0",
            BadCount::TooMany => "ERR Number of keys can't be greater than number of args",
        })
    })?;
    let (mut most, mut options) = (usize::MAX, args.from(2 + keys).iter());
    while let Some(word) = options.next() {
        let limit = options.next().filter(|_| is_word(word, "LIMIT")).ok_or(Fault::Syntax)?;
        let limit = parse_i64(limit).and_then(|limit| usize::try_from(limit).ok());
        let limit = limit.ok_or(Fault::Fixed("ERR LIMIT can't be negative"))?;
        most = if limit == 0 { usize::MAX } else { limit };
    }
    Ok((2..2 + keys, most))
}

/// The operation over the sets that were gathered, those at `words`.
fn algebra(
    ctx: &mut Ctx<'_>,
    args: Args<'_>,
    words: Range<usize>,
    cargo: &mut Cargo,
    operation: Operation,
    wanted: Wanted,
) -> Algebra {
    let mut sources = cargo.take_sources().into_iter().peekable();
    let sets: Vec<Option<Set>> = words
        .clone()
        .map(|word| match sources.next_if(|source| source.word == word)?.object {
            Object::Set(set) => Some(set),
            _ => unreachable!("only sets were gathered"),
        })
        .collect();
    let (limits, first) = (ctx.set_limits(), args.at(words.start));
    match operation {
        Operation::Inter => Algebra::inter(sets, wanted),
        Operation::Union => Algebra::union(sets, wanted, limits),
        Operation::Diff if words.skip(1).any(|word| args.at(word) == first) => {
            // Of a set without itself nothing is left.
            bury(sets.into_iter().flatten(), &mut ctx.store.graves);
            Algebra::diff(Vec::new(), wanted, limits)
        }
        Operation::Diff => Algebra::diff(sets, wanted, limits),
    }
}

/// What every step of either job does.
fn step(algebra: &mut Algebra, ctx: &mut Ctx<'_>, budget: usize, tell: impl FnMut(Member<'_>)) -> Progress {
    let (hasher, mut displaced) = (ctx.store.hash_key, Vec::<Rope>::new());
    let means = Means { limits: ctx.set_limits(), hasher: &hasher, budget };
    let progress = algebra.step(means, &mut displaced, tell);
    displaced.into_iter().for_each(|rope| ctx.store.graves.bury_object(Object::Rope(rope)));
    progress
}

fn bury(sets: impl IntoIterator<Item = Set>, graves: &mut Graveyard) {
    sets.into_iter().for_each(|set| graves.bury_object(Object::Set(set)));
}

/// SINTER, SUNION, SDIFF: members are told as they are found. SINTERCARD: they are counted.
#[derive(Debug)]
struct Answering {
    algebra: Option<Algebra>,
    found: Found,
}

impl Job for Answering {
    fn step(&mut self, ctx: &mut Ctx<'_>, reply: &mut Reply<'_>) -> Result<Progress, Fault> {
        let (algebra, found) = (self.algebra.as_mut().expect("a job that is done takes no step"), &mut self.found);
        let budget = found.stride(ctx.store.strides.algebra);
        if step(algebra, ctx, budget, |member| found.push(member)) == Progress::More {
            self.found.cut();
            return Ok(Progress::More);
        }
        match algebra.wanted() {
            Wanted::Count(_) => reply.count(algebra.count()),
            Wanted::Members | Wanted::Set => {
                reply.set(algebra.count());
                self.found.pour(reply);
            }
        }
        self.bury(&mut ctx.store.graves);
        Ok(Progress::Done)
    }

    fn abandon(mut self: Box<Self>, graves: &mut Graveyard) {
        self.bury(graves);
        self.found.bury(graves);
    }
}

impl Answering {
    fn bury(&mut self, graves: &mut Graveyard) {
        if let Some(algebra) = self.algebra.take() {
            let (outcome, inputs) = algebra.into_sets();
            bury(inputs.into_iter().chain([outcome]), graves);
        }
    }
}

/// What a STORE form makes.
#[derive(Debug)]
struct Outcome(Algebra);

impl Making for Outcome {
    fn step(&mut self, ctx: &mut Ctx<'_>) -> Result<Progress, Fault> {
        Ok(step(&mut self.0, ctx, ctx.store.strides.algebra, |_| unreachable!("nobody wants to be told")))
    }

    fn abandon(self: Box<Self>, graves: &mut Graveyard) {
        let (set, inputs) = self.0.into_sets();
        bury(inputs.into_iter().chain([set]), graves);
    }

    fn finish(self: Box<Self>, graves: &mut Graveyard) -> Option<Made> {
        let (set, inputs) = self.0.into_sets();
        bury(inputs, graves);
        let len = set.len();
        (len > 0).then_some(Made { kind: Kind::Set, object: Object::Set(set), len })
    }
}
