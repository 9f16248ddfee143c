//! Repeating what a journal holds: each effect runs through the same handlers, at a time before all deadlines, so that nothing expires but
//! by its own record.

use super::super::Shard;
use crate::base::lanes::ShardId;
use crate::base::time::Millis;
use crate::command::Caller;
use crate::persist::record::Effects;
use crate::types::Progress;
use crate::wire::output::Output;
use crate::wire::reply::Reply;
use crate::wire::request::Args;
use crate::wire::walk;

impl Shard {
    /// Repeats the effects of a record, in their order.
    ///
    /// # Errors
    /// What is wrong with the record, or with an effect that no command of this server leaves.
    pub fn repeat(&mut self, effects: Effects<'_>) -> Result<(), String> {
        let mut spans = std::mem::take(&mut self.spans);
        let mut outcome = Ok(());
        // What is in the journal already is not written again.
        let recording = std::mem::take(&mut self.store.effects.recording);
        let repeated = effects.each(&mut spans, |db, args| {
            if outcome.is_ok() {
                outcome = self.repeat_one(db, args);
            }
        });
        self.spans = spans;
        self.store.effects.recording = recording;
        repeated.map_err(|bad| bad.words())?;
        outcome
    }

    fn repeat_one(&mut self, db: u8, args: Args<'_>) -> Result<(), String> {
        let shown = || args.at(0).escape_ascii().to_string();
        if usize::from(db) >= self.store.databases() {
            return Err(format!(
                "an effect in database {db}, but there are {}: raise databases",
                self.store.databases()
            ));
        }
        let found = self.table.find(args.at(0)).filter(|found| found.row.arity_fits(args.len()));
        let found = found.ok_or_else(|| format!("an effect '{}' that no command leaves", shown()))?;
        let caller = Caller::journal(self.me, db);
        let first = self.first_of(found.row, args);
        self.at = Millis::default();
        let mut out = Output::default();
        let outcome = self.call(&caller, found.row, args, first, &mut Reply::new(&mut out, caller.dialect));
        while let Some(mut job) = self.begun.take() {
            while self.step_of(&mut job, &caller, Some(found.id), &mut 0, &mut out) == Progress::More {}
        }
        self.ran += 1 + self.store.take_moved(db) / crate::base::limits::MOVED_PER_REQUEST;
        self.store.effects.commit(db, None);
        match outcome {
            Ok(()) if !walk::is_error(&out) => Ok(()),
            Ok(()) => Err(format!("an effect '{}' that is refused", shown())),
            Err(fault) => Err(format!("an effect '{}' that is refused: {}", shown(), fault.line())),
        }
    }

    /// Whether the keyspace is still being loaded: then commands that need it are refused.
    pub fn set_loading(&mut self, loading: Option<Loading>) {
        self.loading = loading;
        self.is_restricted = self.loading.is_some() || self.disk_failure.is_some();
    }
}

/// How far loading has come, for INFO and for whoever is refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Loading {
    /// Seconds since 1970.
    pub started_s: u64,
    pub bytes: u64,
    pub loaded_bytes: u64,
}

impl Caller {
    /// Whoever repeats a journal.
    fn journal(home: ShardId, db: u8) -> Self {
        Self::nobody(home, db)
    }
}
