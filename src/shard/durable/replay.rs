//! Repeating what a journal holds: each effect runs through the same handlers, at a time before all deadlines, so that nothing expires but
//! by its own record.

use super::super::Shard;
use crate::admin::journal::LoadingFacts;
use crate::base::lanes::{Lanes, ShardId};
use crate::base::time::Millis;
use crate::command::sliced::Effort;
use crate::command::table::Found;
use crate::command::{Caller, Log};
use crate::persist::record::Effects;
use crate::store::Key;
use crate::store::entry::Entry;
use crate::types::Progress;
use crate::types::dict::Cursor;
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
        let is_effect = |found: &Found| found.row.is_write() && !matches!(found.row.log, Log::Never(_));
        let found = found.filter(is_effect).ok_or_else(|| format!("an effect '{}' that no command leaves", shown()))?;
        let caller = Caller::journal(self.me, db);
        let first = self.first_of(found.row, args);
        self.at = Millis::default();
        let mut out = Output::default();
        let outcome = self.call(&caller, found.row, args, first, &mut Reply::new(&mut out, caller.dialect));
        while let Some(mut job) = self.begun.take() {
            while self.step_of(&mut job, &caller, Some(found.id), &mut Effort::default(), &mut out) == Progress::More {}
        }
        self.ran += 1 + self.store.take_moved(db) / crate::base::limits::MOVED_PER_REQUEST;
        self.store.effects.commit(db, None);
        match outcome {
            Ok(()) if !walk::is_error(&out) => Ok(()),
            Ok(()) => Err(format!("an effect '{}' that is refused", shown())),
            Err(fault) => Err(format!("an effect '{}' that is refused: {}", shown(), fault.line())),
        }
    }

    /// All keys of this shard, by the lane of so many that is to own them. Nothing is left to anybody else.
    pub fn hand_over(mut self, lanes: Lanes) -> Vec<Moving> {
        let mut moving: Vec<Moving> = lanes.all().map(|_| Moving::default()).collect();
        let databases = (0..self.store.databases()).filter_map(|db| u8::try_from(db).ok());
        for db in databases {
            let mut cursor = Cursor::START;
            loop {
                let mut names: Vec<Box<[u8]>> = Vec::new();
                let next = self.store.db(db).scan(cursor, NAMES_AT_ONCE, Millis::default(), |entry| {
                    names.push(entry.key().into());
                });
                for name in names {
                    let key = Key { bytes: &name, hash: self.store.hash_key.key(&name) };
                    let entry = self.store.take(db, key, Millis::default()).expect("it was just seen");
                    moving[lanes.owner(key.hash.slot()).index()].0.push((db, name, entry));
                }
                match next {
                    next if next == Cursor::START => break,
                    next => cursor = next,
                }
            }
        }
        moving
    }

    /// Takes so many keys in of those that another shard gave up.
    pub fn adopt(&mut self, moving: &mut Moving, keys: usize) {
        let recording = std::mem::take(&mut self.store.effects.recording);
        for (db, name, entry) in moving.0.drain(moving.0.len().saturating_sub(keys)..) {
            let key = Key { bytes: &name, hash: self.store.hash_key.key(&name) };
            self.store.put(db, key, entry, Millis::default());
        }
        self.store.effects.commit(0, None);
        self.store.effects.recording = recording;
    }

    /// Whether the keyspace is still being loaded: then commands that need it are refused.
    pub fn set_loading(&mut self, loading: Option<LoadingFacts>) {
        self.loading = loading;
        self.judge_restriction();
    }
}

/// Keys on their way to another shard.
#[derive(Debug, Default)]
pub struct Moving(Vec<(u8, Box<[u8]>, Entry)>);

impl Moving {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn extend(&mut self, more: Self) {
        self.0.extend(more.0);
    }
}

/// So many are looked for before they are taken out.
const NAMES_AT_ONCE: usize = 1000;

impl Caller {
    /// Whoever repeats a journal.
    fn journal(home: ShardId, db: u8) -> Self {
        Self::nobody(home, db)
    }
}
