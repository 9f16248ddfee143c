//! What the home of a command over several lanes and its participants say to each other (`txn.rs` is what they do).
//!
//! ```text
//!  home  --Order: Claim | Run | Release | Yield-->  participant      errands: pieces of work, in the order of a lane's share
//!        <--Report: Granted | Refused | Ran ...---
//! ```

use super::durable::Signature;
use super::durable::rewrite::Prepared;
use super::locks::{ClaimId, Scope};
use crate::admin::facts::LaneFacts;
use crate::base::hash::KeyHash;
use crate::base::time::Millis;
use crate::command::Caller;
use crate::command::clients::BlockId;
use crate::command::multi::WatchedKey;
use crate::command::staged::Cargo;
use crate::command::table::CommandId;
use crate::persist::Position;
use crate::store::incoming::Incoming;
use crate::wire::output::Output;
use crate::wire::request::Request;

/// A piece of work on one lane.
#[derive(Debug)]
pub(super) struct Errand {
    pub(super) caller: Caller,
    pub(super) command: CommandId,
    pub(super) first: KeyHash,
    pub(super) request: Request,
    pub(super) longs: Incoming,
    pub(super) what: What,
}

/// What of its command an errand is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// All of it.
    Whole,
    /// The part of one of several lanes.
    Part,
    /// This stage and those after it that are this lane's; each errand of a lane's share in an `EachOwner` stage is one alone.
    Stage(usize),
    /// The same of a command that had waited.
    Move(usize),
    /// Not the command itself: what this lane counts, for INFO.
    Facts,
    /// Notes the keys as watched.
    Watch,
    /// Serves it from the first key that can, from this word of the request on.
    Serve(usize),
    /// Waits for this lane's keys.
    Enrol(BlockId),
    /// No command: the journals' serial point.
    Mark(Marking),
}

/// What all lanes do at one serial point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Marking {
    /// The journal turns the page, if it has a log, and what was there is said anew.
    Rewrite(Prepared),
    /// Nothing is recorded any more.
    Close,
}

/// What a home wants of a participant.
#[derive(Debug)]
pub(super) enum Order {
    /// `caller`: whose command it is, so that it comes after that connection's requests which wait here.
    /// `grows`: it may need memory.
    /// `held`: what the participant holds of it already.
    Claim {
        caller: Caller,
        held: Option<ClaimId>,
        grows: bool,
        wait: bool,
        scope: Scope,
        watched: Vec<WatchedKey>,
        now: Millis,
        run: Vec<Errand>,
        signature: Option<Signature>,
    },
    Run {
        errands: Vec<Errand>,
        cargo: Cargo,
        now: Millis,
        then: Then,
    },
    Release(Why),
    /// Gives back what is held by this claim for a request that was to be served: it is asked for again.
    Yield(ClaimId),
}

/// What becomes of the intents after the errands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    Hold,
    Release,
}

/// Why intents are given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// What was looked at here does not count: all are asked for again in order, or another lane's word has decided.
    Retry,
    Over,
}

/// What a participant says.
#[derive(Debug)]
pub(super) enum Report {
    /// With the time of the participant, and when the first of the watched keys will be gone by itself.
    Granted { now: Millis, until: Option<Millis> },
    /// Somebody holds a key. The work that came along goes back.
    Refused { run: Vec<Errand> },
    /// A watched key has changed.
    Changed,
    /// There is no memory left for what it may need.
    Full,
    Ran {
        ran: Vec<Ran>,
        cargo: Cargo,
        now: Millis,
        /// Up to where the participant's journal must be firm before the reply may leave.
        until: Position,
    },
}

/// What came of an errand.
#[derive(Debug)]
pub(super) struct Ran {
    pub(super) reply: Output,
    /// For a stage: the next one, or none if the command is over. For a command that may wait: the next key, none if it was served.
    pub(super) next: Option<usize>,
    pub(super) facts: Option<Box<LaneFacts>>,
    pub(super) watched: Vec<WatchedKey>,
}
