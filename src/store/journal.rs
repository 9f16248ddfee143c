//! What the running command does, in two forms: effects, which repeated anywhere give the same, and happenings, which say what
//! became of which key.
//!
//! ```text
//!  handler --> happened(db, event, key) --> counted;  while `listening`: Happenings --> take_happened
//!         \--> state(words)             --> stated --commit--> records              --> take         while `recording`
//!              state_value(entry)           (or the request itself, for rows of Log::Verbatim)
//! ```
//!
//! A value that came from another lane is said in full where it is (`restate.rs`), since whoever repeats this lane's effects has not the
//! other's. Long words are shared with the keyspace, not copied.
//!
//! Effects are for the journal and replicas, happenings for WATCH, blocked clients and notifications. When nobody wants either,
//! a write costs one addition and two branches.

use super::Key;
use super::entry::{Death, EntryRef};
use super::event::Event;
use super::incoming::Incoming;
use super::restate::{Restatement, Statement};
use crate::base::hash::{HashKey, KeyHash};
use crate::persist::record::{self, Records, Word};
use crate::types::rope::Rope;
use crate::wire::output::Mark;
use crate::wire::request::Args;

/// What a key held before its value was put there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    Nothing,
    Another,
}

/// Something that happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Happened<'h> {
    Key {
        db: u8,
        key: Key<'h>,
        event: Event,
    },
    /// FLUSHDB, FLUSHALL, SWAPDB: any key of the database may be another one now, or none.
    Database {
        db: u8,
    },
}

/// What happened, in order. Its buffers are reused: see [`Effects::reuse`].
#[derive(Debug, Default)]
pub struct Happenings {
    records: Vec<Record>,
    keys: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
struct Record {
    db: u8,
    /// `None`: the whole database.
    event: Option<Event>,
    hash: KeyHash,
    /// Where the key ends in `keys`; it begins where the one before it ends.
    key_end: usize,
}

/// Collects effects and happenings of the running command, and of the turn.
#[derive(Debug, Default)]
pub struct Effects {
    /// Whether a journal, a replica or a test wants effects.
    pub recording: bool,
    /// Whether anybody wants to know what happened to keys.
    pub listening: bool,
    /// Changes of the running command.
    dirty: u64,
    /// Changes since the server began.
    pub changes: u64,
    /// Effects of the running command, and how many.
    stated: Records,
    stated_count: usize,
    /// Long words of the running request, for the case that it is its own effect.
    pub longs: Incoming,
    /// Of the commands that are over, in order.
    records: Records,
    happened: Happenings,
    /// A second copy of what happens, for whoever looks on from outside; the first belongs to the shard, which takes it at once.
    witnessed: Option<Happenings>,
}

impl Effects {
    /// The running command changed a key. Every change says so.
    #[inline]
    pub fn happened(&mut self, db: u8, event: Event, key: Key<'_>) {
        self.dirty += 1;
        self.also(db, event, key);
    }

    /// A change that was counted has a second name, or a second key: SET with a deadline is told as "expire" too.
    #[inline]
    pub fn also(&mut self, db: u8, event: Event, key: Key<'_>) {
        if self.listening {
            self.note(db, Some(event), key);
        }
    }

    /// The running command changed a whole database.
    pub fn happened_to_all(&mut self, db: u8) {
        self.dirty += 1;
        if self.listening {
            self.note(db, None, Key { bytes: b"", hash: KeyHash::default() });
        }
    }

    #[cold]
    fn note(&mut self, db: u8, event: Option<Event>, key: Key<'_>) {
        self.happened.push(db, event, key);
        if let Some(witnessed) = &mut self.witnessed {
            witnessed.push(db, event, key);
        }
    }

    /// Takes what happened since the last call of this function, and goes on listening; for a simulator or a test beside the shard.
    pub fn witness(&mut self) -> Happenings {
        self.listening = true;
        self.witnessed.replace(Happenings::default()).unwrap_or_default()
    }

    /// Nobody of the shard wants to know any more.
    pub fn ignore(&mut self) {
        self.listening = self.witnessed.is_some();
    }

    /// A key is gone because its time had come. That is an effect of its own, before that of a command which came upon it: whoever
    /// repeats the command must not meet the key.
    pub fn expired(&mut self, db: u8, key: Key<'_>) {
        self.gone(db, Event::EXPIRED, key);
    }

    fn gone(&mut self, db: u8, event: Event, key: Key<'_>) {
        self.changes += 1;
        self.also(db, event, key);
        if self.recording {
            record::put_effect(&mut self.records, db, [&b"DEL"[..], key.bytes].into_iter());
        }
    }

    /// Fields of a hash are gone because their time had come, which this request says. An effect of its own, as that of [`Self::expired`].
    pub fn fields_expired(&mut self, db: u8, key: Key<'_>, deletion: &Statement) {
        self.changes += 1;
        self.also(db, Event::HEXPIRED, key);
        if self.recording {
            record::put_long_effect(&mut self.records, db, deletion.longs.words_of(deletion.request.args()));
        }
    }

    /// A key is gone by itself.
    pub fn died(&mut self, db: u8, key: Key<'_>, death: Death) {
        match death {
            Death::Deadline => self.expired(db, key),
            Death::Faded { .. } => {
                self.also(db, Event::HEXPIRED, key);
                self.gone(db, Event::FADED, key);
            }
        }
    }

    /// States an effect in this database instead of the request itself.
    pub fn state(&mut self, db: u8, words: &[&[u8]]) {
        if self.recording {
            record::put_effect(&mut self.stated, db, words.iter().copied());
            self.stated_count += 1;
        }
    }

    /// The same of words of which one, empty there, is a rope.
    pub fn state_long(&mut self, db: u8, words: &[&[u8]], word: usize, rope: &Rope) {
        if self.recording {
            let words = words.iter().enumerate();
            let words = words.map(|(i, flat)| if i == word { Word::Long(rope) } else { Word::Bytes(flat) });
            record::put_long_effect(&mut self.stated, db, words);
            self.stated_count += 1;
        }
    }

    /// States a request of which long words are shared.
    pub fn state_all(&mut self, db: u8, statement: &Statement) {
        if self.recording {
            record::put_long_effect(&mut self.stated, db, statement.longs.words_of(statement.request.args()));
            self.stated_count += 1;
        }
    }

    /// States that a key holds what this entry does. `over`: what it held before is gone. A value of many fields is said in one go, in as many
    /// requests as it takes.
    pub fn state_value(&mut self, db: u8, entry: EntryRef<'_>, over: Over, hasher: &HashKey) {
        if !self.recording {
            return;
        }
        if over == Over::Another {
            self.state(db, &[b"DEL", entry.key()]);
        }
        let mut restatement = Restatement::of(entry);
        while let Some(statement) = restatement.next(hasher) {
            self.state_all(db, &statement);
        }
    }

    /// As [`Self::state_value`], of what was written as so many requests before.
    pub fn state_records(&mut self, db: u8, key: Key<'_>, over: Over, records: &Records, count: usize) {
        if !self.recording {
            return;
        }
        if over == Over::Another {
            self.state(db, &[b"DEL", key.bytes]);
        }
        records.copy_to(&mut self.stated);
        self.stated_count += count;
    }

    /// The command succeeded. `verbatim` is its request when that is the effect.
    #[inline]
    pub fn commit(&mut self, db: u8, verbatim: Option<Args<'_>>) {
        if self.dirty == 0 {
            // What was stated beforehand has not come about.
            if self.stated_count > 0 {
                self.forget_stated();
            }
            return;
        }
        self.changes += self.dirty;
        self.dirty = 0;
        if self.recording {
            self.record(db, verbatim);
        }
    }

    #[cold]
    fn record(&mut self, db: u8, verbatim: Option<Args<'_>>) {
        match (self.stated_count, verbatim) {
            (0, Some(args)) if self.longs.is_empty() => record::put_effect(&mut self.records, db, args.iter()),
            (0, Some(args)) => record::put_long_effect(&mut self.records, db, self.longs.words_of(args)),
            (0, None) => {}
            (1, _) => self.stated.copy_to(&mut self.records),
            (_, _) => record::put_group(&mut self.records, &self.stated),
        }
        self.forget_stated();
    }

    #[cold]
    fn forget_stated(&mut self) {
        self.stated.clear();
        self.stated_count = 0;
    }

    /// The command failed and changed nothing.
    pub fn abandon(&mut self) {
        debug_assert_eq!(self.dirty, 0, "a command that fails has changed nothing");
        self.dirty = 0;
        self.forget_stated();
    }

    /// Bytes of records since they were last taken.
    #[inline]
    pub fn len(&self) -> usize {
        self.records.len()
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// The records since they were last taken (`persist::record`).
    pub fn records(&self) -> &Records {
        &self.records
    }

    /// Forgets the records; their memory is used again.
    pub fn clear(&mut self) {
        self.records.clear();
    }

    /// Records that were taken come back.
    pub fn put(&mut self, records: &Records) {
        records.copy_to(&mut self.records);
    }

    /// A place among the records to return to.
    pub fn mark(&self) -> Mark {
        self.records.mark()
    }

    /// What was recorded since then counts together.
    pub fn group_since(&mut self, mark: Mark) {
        let together = self.records.split_off(mark);
        if !together.is_empty() {
            record::put_group(&mut self.records, &together);
        }
    }

    /// Takes what was recorded since then.
    pub fn split_off(&mut self, mark: Mark) -> Records {
        self.records.split_off(mark)
    }

    /// Takes all records.
    pub fn take(&mut self) -> Records {
        std::mem::take(&mut self.records)
    }

    /// Whether something happened since the last call of [`Self::take_happened`]; never while nobody listens.
    #[inline]
    pub fn has_happened(&self) -> bool {
        !self.happened.is_empty()
    }

    /// Takes what happened.
    pub fn take_happened(&mut self) -> Happenings {
        std::mem::take(&mut self.happened)
    }

    /// Gives the buffers back for what happens next, so that listening allocates nothing in the long run.
    pub fn reuse(&mut self, mut spare: Happenings) {
        if self.happened.is_empty() {
            spare.records.clear();
            spare.keys.clear();
            self.happened = spare;
        }
    }
}

impl Happenings {
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = Happened<'_>> {
        let mut start = 0;
        self.records.iter().map(move |&Record { db, event, hash, key_end }| {
            let bytes = &self.keys[std::mem::replace(&mut start, key_end)..key_end];
            match event {
                Some(event) => Happened::Key { db, key: Key { bytes, hash }, event },
                None => Happened::Database { db },
            }
        })
    }

    fn push(&mut self, db: u8, event: Option<Event>, key: Key<'_>) {
        self.keys.extend_from_slice(key.bytes);
        self.records.push(Record { db, event, hash: key.hash, key_end: self.keys.len() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::request::Request;

    const fn key(bytes: &[u8]) -> Key<'_> {
        Key { bytes, hash: KeyHash(7) }
    }

    #[test]
    fn happenings_are_kept_in_order_while_somebody_listens() {
        let mut effects = Effects::default();
        effects.happened(0, Event::SET, key(b"unheard"));
        effects.commit(0, None);
        assert!(!effects.has_happened());
        effects.listening = true;
        effects.happened(3, Event::SET, key(b"a"));
        effects.also(3, Event::EXPIRE, key(b"a"));
        effects.happened_to_all(2);
        effects.expired(0, key(b"bc"));
        let happened = effects.take_happened();
        let expected = [
            Happened::Key { db: 3, key: key(b"a"), event: Event::SET },
            Happened::Key { db: 3, key: key(b"a"), event: Event::EXPIRE },
            Happened::Database { db: 2 },
            Happened::Key { db: 0, key: key(b"bc"), event: Event::EXPIRED },
        ];
        assert_eq!(happened.iter().collect::<Vec<_>>(), expected);
        effects.reuse(happened);
        assert!(!effects.has_happened());
        effects.commit(0, None);
        assert_eq!(effects.changes, 4, "names beside the first do not count");
    }

    #[test]
    fn an_expired_key_is_stated_before_the_command_that_came_upon_it() {
        let mut effects = Effects { recording: true, ..Effects::default() };
        let request: Request = [&b"INCR"[..], b"k"].into_iter().collect();
        effects.expired(1, key(b"k"));
        effects.happened(1, Event::INCRBY, key(b"k"));
        effects.commit(1, Some(request.args()));
        let mut expected = Records::default();
        record::put_effect(&mut expected, 1, [&b"DEL"[..], b"k"].into_iter());
        record::put_effect(&mut expected, 1, request.args().iter());
        assert_eq!(effects.records().bytes, expected.bytes);
    }

    #[test]
    fn what_one_command_states_counts_together() {
        let mut effects = Effects { recording: true, ..Effects::default() };
        let set_both = |effects: &mut Effects| {
            effects.state(2, &[b"SET", b"k", b"v"]);
            effects.state(2, &[b"DEL", b"l"]);
            effects.happened(2, Event::SET, key(b"k"));
        };
        set_both(&mut effects);
        effects.commit(2, None);
        let (mut both, mut expected) = (Records::default(), Records::default());
        record::put_effect(&mut both, 2, [&b"SET"[..], b"k", b"v"].into_iter());
        record::put_effect(&mut both, 2, [&b"DEL"[..], b"l"].into_iter());
        record::put_group(&mut expected, &both);
        assert_eq!(effects.records().bytes, expected.bytes);
        let mark = effects.mark();
        effects.state(2, &[b"DEL", b"l"]);
        effects.abandon();
        set_both(&mut effects);
        effects.commit(2, None);
        assert_eq!(effects.split_off(mark).bytes, expected.bytes, "what failed has left nothing");
    }
}
