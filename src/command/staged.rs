//! Commands that read one key and write another: a short sequence of stages, each on the shard that owns its key.
//!
//! ```text
//!  RENAME a b    [a: take the value out] --value--> [b: put it in]
//! ```
//!
//! On one shard the stages run back to back. Over several, the keys are held meanwhile and what one stage hands to the next travels between
//! the lanes. A stage that faults, or that ends the command, must not have changed anything yet.

use super::sliced::Job;
use super::{Ctx, Outcome};
use crate::store::entry::Entry;
use crate::wire::fault::Fault;
use crate::wire::reply::Reply;
use crate::wire::request::Args;

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
}

/// How a stage ended.
#[derive(Debug)]
pub enum Flow {
    /// The next stage follows.
    On,
    /// The reply is written, no further stage runs.
    Done,
    /// What is left to do is too long for a turn. No further stage runs; the job writes the reply.
    Job(Box<dyn Job>),
}

/// What stages hand on.
#[derive(Debug, Default)]
pub struct Cargo {
    /// The stages run on different shards, so that each must state its own effect.
    pub apart: bool,
    pub entry: Option<Entry>,
    pub text: Option<Vec<u8>>,
    /// Whether the place to write to was taken.
    pub taken: bool,
}

/// Runs all stages on one shard; the job, if one is left to do.
pub fn run_together(
    stages: &[Stage],
    ctx: &mut Ctx<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<Option<Box<dyn Job>>, Fault> {
    let mut cargo = Cargo::default();
    for stage in stages {
        match (stage.run)(ctx, args, &mut cargo, reply)? {
            Flow::On => {}
            Flow::Done => return Ok(None),
            Flow::Job(job) => return Ok(Some(job)),
        }
    }
    Ok(None)
}

/// For stages that end in a reply.
pub fn done(outcome: Outcome) -> Result<Flow, Fault> {
    outcome.map(|()| Flow::Done)
}
