//! Whose records stand where in the journal: for the simulator, which judges a recovery by them. Kept only by a shard that is set up to
//! keep its history.
//!
//! ```text
//!  a request here        where the journal and the effects that are not in it end, after it ran, if it left any
//!  a guest, an EXEC      what runs is recorded apart, and counts from where that is appended
//! ```

use super::super::{Journaled, Shard};
use crate::command::Caller;
use crate::persist::Position;

#[derive(Debug, Default)]
pub(in crate::shard) struct Traced {
    all: Vec<Journaled>,
    /// What ends there is nobody's any more.
    seen: Position,
}

/// What was traced before something was recorded apart.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    len: usize,
    seen: Position,
}

impl Traced {
    pub(super) fn mark(&self) -> Mark {
        Mark { len: self.all.len(), seen: self.seen }
    }

    pub(super) fn back_to(&mut self, mark: Mark) {
        self.all.truncate(mark.len);
        self.seen = mark.seen;
    }
}

impl Shard {
    /// What requests left in the journal since the last call; nothing unless the shard was set up to keep it.
    pub fn take_journaled(&mut self) -> Vec<Journaled> {
        std::mem::take(&mut self.journaled.all)
    }

    /// A request has run, or a step of it: what the journal has got since then is its.
    pub(in crate::shard) fn trace_journaled(&mut self, caller: &Caller) {
        if self.history.is_some() && self.keeps_journal() {
            self.trace_journaled_to(caller, self.journal_end());
        }
    }

    pub(in crate::shard) fn trace_journaled_to(&mut self, caller: &Caller, end: Position) {
        if self.history.is_none() || end <= self.journaled.seen {
            return;
        }
        self.journaled.seen = end;
        let Caller { home, client, number, .. } = *caller;
        self.journaled.all.push(Journaled { home, client, number, end });
    }

    /// What the shard has done by itself is nobody's.
    pub(in crate::shard) fn trace_own(&mut self) {
        if self.history.is_some() && self.keeps_journal() {
            self.journaled.seen = self.journal_end();
        }
    }
}
