//! Commands that read one key and write another: a short sequence of stages, each on the shard that owns its key.
//!
//! ```text
//!  RENAME a b             [a: take the value out] --value--> [b: put it in]
//!  LMOVE a b LEFT LEFT    [b: is it a list?] --> [a: pop] --element--> [b: push]
//!  SINTERSTORE d a b c    [a b c: their values, O(1) clones] --sources--> [d: a job that makes the set and puts it in]
//!  SINTER a b c           [a b c: their values] --sources--> [home: a job that answers]
//! ```
//!
//! On one shard the stages run back to back. Over several, the keys are held meanwhile and what one stage hands to the next travels between
//! the lanes; each states the effect on its own keys (`Cargo::apart`). A stage that faults, or that ends the command, must not have changed
//! anything yet.
//!
//! How a row of set algebra uses it: its first stage is `Stage { on: On::Sources, run: .. }` that calls [`gather`], which hands on the values of
//! this lane's source keys, or faults with WRONGTYPE. Its second, `On::Home` or `On::Key(1)`, takes them all, in the order of the request, by
//! [`Cargo::take_sources`] and returns `Flow::Job`: a job of its own that answers, or `storing::store` of what a [`super::storing::Making`]
//! makes. A job's first step is taken at once, so that what is small is over within its turn. The sources are free again as soon as the job
//! runs: it works on clones. Keys that a job is to write stay held to its end.

use super::sliced::Job;
use super::sort::{Column, Ordered};
use super::{Ctx, Outcome};
use crate::store::entry::{Entry, Kind, ValueRef};
use crate::store::keyspace::Graveyard;
use crate::types::{Object, Progress};
use crate::wire::fault::Fault;
use crate::wire::reply::Reply;
use crate::wire::request::{Args, Request};
use std::sync::Arc;

/// One step of a staged command.
#[derive(Clone, Copy, Debug)]
pub struct Stage {
    pub on: On,
    pub run: fn(&mut Ctx<'_>, Args<'_>, &mut Cargo, &mut Reply<'_>) -> Result<Flow, Fault>,
}

/// Where a stage runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    /// On the owner of the key that is this word of the request.
    Key(usize),
    /// On each shard that owns some of the keys, which sees a request with only those.
    EachOwner,
    /// On each shard that owns keys which the command only reads; each sees the whole request.
    Sources,
    /// Where the connection is.
    Home,
    /// On the owner of the key that it writes, or where the connection is if it writes none.
    Target,
    /// On every shard, if the request leads to keys that only the data tell (`Command::leads`); else as `Target`.
    Everywhere,
}

/// How a stage ended.
#[derive(Debug)]
pub enum Flow {
    /// The next stage follows.
    On,
    /// The reply is written, no further stage runs.
    Done,
    /// There is nothing to be had, and nothing was changed: null, or a wait where the command may wait (`blocking.rs`).
    Nothing,
    /// What is left to do is too long for a turn. No further stage runs; the job writes the reply.
    Job(Box<dyn Job>),
    /// What this stage has to do is. The next follows when the job is over, which writes nothing and hands on what it has found.
    Work(Box<dyn Job>),
}

/// What stages hand on.
#[derive(Debug, Default)]
pub struct Cargo {
    /// The stages run on different shards, so that each must state its own effect.
    pub apart: bool,
    pub entry: Option<Entry>,
    pub text: Option<Vec<u8>>,
    /// Whether the place to write to was taken, and by a value of a kind that the command cannot write to.
    pub taken: bool,
    pub wrong_kind: bool,
    sources: Vec<Source>,
    /// What shards have found of what a pattern asks for, and the elements in order: SORT.
    pub found: Vec<Column>,
    pub order: Option<Arc<Ordered>>,
    /// The sender keeps what it sends: nothing of it is to come back.
    is_lent: bool,
}

/// A clone of the value of a source key. Keys that are missing have none.
#[derive(Clone, Debug)]
pub struct Source {
    /// The word of the request that is its key.
    pub word: usize,
    pub kind: Kind,
    pub object: Object,
}

impl Cargo {
    /// What a stage on one of several shards begins with.
    pub fn between_shards() -> Self {
        Self { apart: true, ..Self::default() }
    }

    /// Takes in what another shard's part of the same stage hands on.
    pub fn join(&mut self, other: Self) {
        if !other.is_lent {
            self.sources.extend(other.sources);
            self.order = other.order.or_else(|| self.order.take());
        }
        self.found.extend(other.found);
        self.entry = other.entry.or_else(|| self.entry.take());
        self.text = other.text.or_else(|| self.text.take());
        self.apart |= other.apart;
        self.taken |= other.taken;
        self.wrong_kind |= other.wrong_kind;
    }

    /// For one of several shards that do the same with it.
    pub fn lend(&self) -> Self {
        let (sources, order) = (self.sources.clone(), self.order.clone());
        Self { sources, order, is_lent: true, ..Self::between_shards() }
    }

    /// The only source that was gathered, if its key was there.
    pub fn source(&self) -> Option<&Source> {
        self.sources.first()
    }

    /// Nobody wants it any more. What it is cloned from may be gone.
    pub fn bury(&mut self, graves: &mut Graveyard) {
        self.sources.drain(..).for_each(|source| graves.bury_object(source.object));
        self.found.drain(..).for_each(|column| column.bury(graves));
        if let Some(order) = self.order.take() {
            Ordered::bury(order, graves);
        }
    }

    /// All sources that were gathered, in the order of their words. Whoever takes them lets what is large die in steps
    /// (`Graveyard::bury_object`): the original may be gone.
    pub fn take_sources(&mut self) -> Vec<Source> {
        let mut sources = std::mem::take(&mut self.sources);
        sources.sort_unstable_by_key(|source| source.word);
        sources
    }
}

/// Hands on clones of the values of those of these keys that are this lane's; a fault if one is of another kind.
pub fn gather(
    ctx: &mut Ctx<'_>,
    cargo: &mut Cargo,
    args: Args<'_>,
    words: impl Iterator<Item = usize>,
    kinds: &[Kind],
) -> Result<Flow, Fault> {
    for word in words {
        let key = ctx.key(args.at(word));
        if cargo.apart && ctx.lanes.owner(key.hash.slot()) != ctx.lane {
            continue;
        }
        let Some(entry) = ctx.read(key) else { continue };
        let kind = entry.kind();
        match entry.value() {
            ValueRef::Object(object) if kinds.contains(&kind) => {
                cargo.sources.push(Source { word, kind, object: object.clone() });
            }
            _ => return Err(Fault::WrongType),
        }
    }
    Ok(Flow::On)
}

/// What all stages on one shard came to.
#[derive(Debug)]
pub enum Together {
    Done,
    Nothing,
    /// It is left to do.
    Job(Box<dyn Job>),
}

/// Runs all stages on one shard.
pub fn run_together(
    stages: &'static [Stage],
    ctx: &mut Ctx<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<Together, Fault> {
    run_from(stages, Cargo::default(), ctx, args, reply)
}

fn run_from(
    stages: &'static [Stage],
    mut cargo: Cargo,
    ctx: &mut Ctx<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<Together, Fault> {
    for (at, stage) in stages.iter().enumerate() {
        match (stage.run)(ctx, args, &mut cargo, reply)? {
            Flow::On => {}
            Flow::Done => return Ok(Together::Done),
            Flow::Nothing => return Ok(Together::Nothing),
            Flow::Job(job) => return Ok(begin(job, ctx, reply)?.map_or(Together::Done, Together::Job)),
            Flow::Work(job) => match begin_work(job, &mut cargo, ctx, reply) {
                Ok(None) => {}
                Ok(Some(job)) => {
                    let (left, request) = (&stages[at + 1..], args.into());
                    return Ok(Together::Job(Box::new(Stages { left, request, cargo, job, is_last: false })));
                }
                Err(fault) => {
                    cargo.bury(&mut ctx.store.graves);
                    return Err(fault);
                }
            },
        }
    }
    Ok(Together::Done)
}

/// Stages on one shard of which one takes more than a turn, and those after it.
#[derive(Debug)]
struct Stages {
    left: &'static [Stage],
    request: Request,
    cargo: Cargo,
    job: Box<dyn Job>,
    /// It writes the reply.
    is_last: bool,
}

impl Job for Stages {
    fn step(&mut self, ctx: &mut Ctx<'_>, reply: &mut Reply<'_>) -> Result<Progress, Fault> {
        let progress = self.job.step(ctx, reply).inspect_err(|_| self.cargo.bury(&mut ctx.store.graves))?;
        if progress == Progress::More || self.is_last {
            return Ok(progress);
        }
        self.job.hand_on(&mut self.cargo);
        match run_from(self.left, std::mem::take(&mut self.cargo), ctx, self.request.args(), reply)? {
            Together::Done => return Ok(Progress::Done),
            Together::Nothing => reply.null(),
            Together::Job(job) => {
                (self.job, self.is_last) = (job, true);
                return Ok(Progress::More);
            }
        }
        Ok(Progress::Done)
    }

    fn abandon(mut self: Box<Self>, graves: &mut Graveyard) {
        self.cargo.bury(graves);
        self.job.abandon(graves);
    }
}

/// Takes a job's first step; the job, if that was not the last.
pub fn begin(mut job: Box<dyn Job>, ctx: &mut Ctx<'_>, reply: &mut Reply<'_>) -> Result<Option<Box<dyn Job>>, Fault> {
    let progress = job.step(ctx, reply)?;
    Ok((progress == Progress::More).then_some(job))
}

/// Takes the first step of a stage's job; the job, if that was not the last.
pub fn begin_work(
    mut job: Box<dyn Job>,
    cargo: &mut Cargo,
    ctx: &mut Ctx<'_>,
    reply: &mut Reply<'_>,
) -> Result<Option<Box<dyn Job>>, Fault> {
    if job.step(ctx, reply)? == Progress::More {
        return Ok(Some(job));
    }
    job.hand_on(cargo);
    Ok(None)
}

/// Whether a stage runs where the connection is, though none of its keys may be.
pub fn may_come_home(stages: &[Stage]) -> bool {
    stages.iter().any(|stage| matches!(stage.on, On::Home | On::Target | On::Everywhere))
}

/// Whether it may take more than a turn. A stage that is alone is there for the job in which it may end.
pub fn may_be_long(stages: &[Stage]) -> bool {
    stages.len() == 1 || stages.iter().any(|stage| stage.on == On::Sources)
}

/// For stages that end in a reply.
pub fn done(outcome: Outcome) -> Result<Flow, Fault> {
    outcome.map(|()| Flow::Done)
}
