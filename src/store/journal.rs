//! The effects of this turn: what each write did, stated so that repeating it anywhere gives the same.

use crate::wire::request::{Args, Request};

/// One effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effect {
    pub db: u8,
    pub request: Request,
}

/// Collects effects of the running command, and of the turn.
#[derive(Debug, Default)]
pub struct Effects {
    /// Nobody listens unless a journal or a test does: then writes only count.
    pub recording: bool,
    /// Changes of the running command.
    dirty: u64,
    /// Changes since the server began.
    pub changes: u64,
    stated: Vec<Request>,
    committed: Vec<Effect>,
}

impl Effects {
    /// The running command changed something.
    #[inline]
    pub fn changed(&mut self) {
        self.dirty += 1;
    }

    /// States an effect instead of the request itself.
    pub fn state(&mut self, words: &[&[u8]]) {
        self.dirty += 1;
        if self.recording {
            self.stated.push(words.iter().copied().collect());
        }
    }

    /// States the effect of a change that was already counted.
    pub fn restate(&mut self, words: &[&[u8]]) {
        if self.recording {
            self.stated.push(words.iter().copied().collect());
        }
    }

    /// The command succeeded. `verbatim` is its request when that is the effect.
    #[inline]
    pub fn commit(&mut self, db: u8, verbatim: Option<Args<'_>>) {
        if self.dirty == 0 {
            return;
        }
        self.changes += self.dirty;
        self.dirty = 0;
        if self.recording {
            self.record(db, verbatim);
        }
    }

    fn record(&mut self, db: u8, verbatim: Option<Args<'_>>) {
        if self.stated.is_empty()
            && let Some(args) = verbatim
        {
            self.stated.push(args.iter().collect());
        }
        self.committed.extend(self.stated.drain(..).map(|request| Effect { db, request }));
    }

    /// The command failed and changed nothing.
    pub fn abandon(&mut self) {
        debug_assert_eq!(self.dirty, 0, "a command that fails has changed nothing");
        self.dirty = 0;
        self.stated.clear();
    }

    /// Takes what has been committed.
    pub fn take(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.committed)
    }
}
