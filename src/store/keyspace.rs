//! One database of one lane: the table of entries, their deadlines, and what they weigh.
//!
//! ```text
//!  key, hash --> Dict (types/dict) --> Entry (entry.rs): expiry, flags, key, value
//!            |-> Deadlines (expiry.rs): in order of time, for the keys that have one
//!            \-> Deadlines: the next in each hash of which fields have some
//!
//!  whatever dies --> small: freed at once;  large, or a whole table --> Graveyard --> freed in steps by the lane's tick
//! ```
//!
//! A key whose deadline has passed is invisible to every look-up; it leaves when `expire_step` comes to it, which tells its caller so
//! that an effect can be written. So it is with a hash all of whose fields are due; of one with others `expire_fields_step` takes the due
//! ones. All figures are kept as things change; `recount` gets them anew for tests. Time is an argument.
//! Absent: eviction, effects, watchers: they sit above.

use super::entry::{Death, EMBED_MAX, Entry, EntryRef, Epoch, Fields, Form, Kind, Recency, Value, ValueRef};
use super::expiry::Deadlines;
use super::snapshot::Moment;
use crate::base::hash::{HashKey, KeyHash};
use crate::base::limits;
use crate::base::rng::Rng;
use crate::base::time::Millis;
use crate::types::dict::{At, Cursor, Detached, Dict, Spot};
use crate::types::rope::Rope;
use crate::types::trie::Value as Element;
use crate::types::{Object, Progress};
use crate::wire::output::Shared;
use bytes::Bytes;
use std::collections::VecDeque;

/// Values up to this size are freed in place: some nodes, a few microseconds. So many bytes of them in a turn: what overwrites them brings
/// little more, but a DEL of a thousand names or a moment in which hundreds expire would.
const FREE_AT_ONCE_BYTES: usize = 64 << 10;
const FREE_AT_ONCE_BYTES_PER_TURN: usize = 1 << 20;

/// A piece of a work table is as large as some nodes.
const CELLS_PIECE_COST: usize = 8;

/// A piece of a reply is some tens of kilobytes, and a few of them are freed in place.
const PIECE_COST: usize = 4;
const PIECES_FREED_AT_ONCE: usize = 4;

/// Random picks that may hit a due key before a random key is looked for among its neighbours, and how many of those: due keys are few, they
/// leave every turn, but for a moment they may be nearly all.
const RANDOM_TRIES: usize = 64;
const RANDOM_NEIGHBOURS: usize = 4096;

pub struct Keyspace {
    table: Dict<Entry>,
    deadlines: Deadlines,
    /// For each hash of which fields have deadlines the next of them.
    inside: Deadlines,
    hasher: HashKey,
    usage: [Usage; Kind::ALL.len()],
    /// What is written now is of this, and while there is no moment, all there is.
    epoch: Epoch,
    /// While a snapshot of it is being taken: whatever is about to change is kept as it was.
    pub(super) moment: Option<Box<Moment>>,
}

/// Keys of one type, and the bytes of their entries and values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub keys: usize,
    pub bytes: usize,
}

/// What becomes of a key's deadline when its value is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Deadline {
    #[default]
    Clear,
    Keep,
    At(Millis),
}

/// What a write found under its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Before {
    Missing,
    /// A key whose time had passed: nobody could see it, but whoever repeats the write would. It is gone now.
    Due(Death),
    Present,
}

/// What the collection of due fields comes upon.
#[derive(Clone, Copy, Debug)]
pub enum Collected<'c> {
    /// A field of this hash goes.
    Field { key: &'c [u8], field: Element<'c> },
    /// So many fields of this hash have gone, the first of them due since then.
    Some { key: &'c [u8], hash: KeyHash, deadline: Millis, fields: usize },
    /// The hash goes with all that was in it.
    Whole { key: &'c [u8], hash: KeyHash, deadline: Millis, gone: Death },
}

/// Where a key is, for a write.
#[derive(Clone, Copy, Debug)]
pub(super) enum Sought {
    Missing,
    Due(At, Death),
    Present(At),
}

/// What is written beside a value.
#[derive(Clone, Copy, Debug, Default)]
pub struct Write {
    pub deadline: Deadline,
    pub cas: Option<u64>,
    pub mc_flags: u32,
    pub form: Form,
    pub recency: Recency,
}

impl Write {
    fn fields(self, before: Option<Millis>) -> Fields {
        let expiry = match self.deadline {
            Deadline::Clear => None,
            Deadline::Keep => before,
            Deadline::At(deadline) => Some(deadline),
        };
        Fields { expiry, cas: self.cas, mc_flags: self.mc_flags, form: self.form, recency: self.recency }
    }
}

impl Keyspace {
    pub fn new(hasher: HashKey) -> Self {
        let (table, deadlines, inside, usage, epoch) = Default::default();
        Self { table, deadlines, inside, hasher, usage, epoch, moment: None }
    }

    /// The key's entry, unless its deadline has passed.
    #[inline]
    pub fn find(&self, key: &[u8], hash: KeyHash, now: Millis) -> Option<EntryRef<'_>> {
        self.table.get(hash, |entry| entry.key() == key).filter(|entry| !entry.is_due(now))
    }

    /// As `find`, and stamps the entry as used: one probe for both.
    #[inline]
    pub fn find_and_touch(&mut self, key: &[u8], hash: KeyHash, now: Millis, recency: Recency) -> Option<EntryRef<'_>> {
        let mut entry = self.table.get_mut(hash, |entry| entry.key() == key)?;
        if entry.view().is_due(now) {
            return None;
        }
        entry.touch(recency);
        Some(entry.into_view())
    }

    /// Changes a boxed value in place and counts its bytes anew. None: no such key, or its value is embedded.
    pub fn update_object<R>(
        &mut self,
        key: &[u8],
        hash: KeyHash,
        now: Millis,
        change: impl FnOnce(&mut Object) -> R,
    ) -> Option<R> {
        let at = self.visible(key, hash, now)?;
        let recency = self.table.at(at).recency();
        self.edit_at(at, hash, recency, |object| object.map(change))
    }

    /// Stamps the entry at a place that `seek` gave and changes its boxed value, if it has one; counts its bytes and deadlines anew.
    pub(super) fn edit_at<R>(
        &mut self,
        at: At,
        hash: KeyHash,
        recency: Recency,
        change: impl FnOnce(Option<&mut Object>) -> R,
    ) -> R {
        self.keep(at);
        let mut entry = self.table.at_mut(at);
        entry.touch(recency);
        let (kind, next) = (entry.view().kind(), entry.view().next_inside());
        let bytes = &mut self.usage[kind as usize].bytes;
        let result = entry.change_object(|object| {
            let Some(object) = object else { return change(None) };
            let before = object.bytes();
            let result = change(Some(object));
            *bytes = *bytes - before + object.bytes();
            result
        });
        self.inside.change(hash, next, entry.view().next_inside());
        result
    }

    /// Stores a string: embedded if short, a rope otherwise. A short one of the size class of what it replaces is written in place.
    pub fn set_string(
        &mut self,
        key: &[u8],
        hash: KeyHash,
        text: &[u8],
        write: Write,
        now: Millis,
        graves: &mut Graveyard,
    ) -> Before {
        let value = if text.len() <= EMBED_MAX {
            Value::Embedded(text)
        } else {
            Value::Object(Kind::String, Box::new(Object::Rope(Rope::from(text))))
        };
        self.set(key, hash, value, write, now, graves)
    }

    /// Stores a value under a key, whether it exists or not. Side effects:
    /// 1. what was there dies, in the graveyard if large;
    /// 2. the deadline follows `write.deadline`; that of a key whose time had passed is not kept.
    pub fn set(
        &mut self,
        key: &[u8],
        hash: KeyHash,
        value: Value<'_>,
        write: Write,
        now: Millis,
        graves: &mut Graveyard,
    ) -> Before {
        let at = match self.table.find_or_gap(hash, |entry| entry.key() == key) {
            Ok(at) => at,
            Err(gap) => {
                let fields = write.fields(None);
                let entry = Entry::new(key, value, fields).in_epoch(self.epoch);
                count_in(&mut self.usage, entry.view());
                self.inside.change(hash, None, entry.view().next_inside());
                let hasher = self.hasher;
                self.table.insert(gap, entry, |entry| hasher.key(entry.key()));
                self.deadlines.change(hash, None, fields.expiry);
                return Before::Missing;
            }
        };
        self.keep(at);
        let old = self.table.at(at);
        let before = old.expiry();
        let found = Before::of(old, now);
        let fields = write.fields(before.filter(|_| matches!(found, Before::Present)));
        self.deadlines.change(hash, before, fields.expiry);
        if let Value::Embedded(text) = value
            && self.table.at_mut(at).overwrite(text, fields)
        {
            return found;
        }
        let entry = Entry::new(key, value, fields).in_epoch(self.epoch);
        count_out(&mut self.usage, self.table.at(at));
        count_in(&mut self.usage, entry.view());
        self.inside.change(hash, self.table.at(at).next_inside(), entry.view().next_inside());
        graves.bury(self.table.replace(at, entry));
        found
    }

    /// Removes a key.
    pub fn remove(&mut self, key: &[u8], hash: KeyHash, now: Millis, graves: &mut Graveyard) -> Before {
        let Some(entry) = self.take(key, hash) else { return Before::Missing };
        let found = Before::of(entry.view(), now);
        graves.bury(entry);
        found
    }

    /// Where a key is, for whoever is about to change it.
    #[inline]
    pub(super) fn seek(&self, key: &[u8], hash: KeyHash, now: Millis) -> Sought {
        match self.position(key, hash) {
            None => Sought::Missing,
            Some(at) => match Before::of(self.table.at(at), now) {
                Before::Due(death) => Sought::Due(at, death),
                _ => Sought::Present(at),
            },
        }
    }

    /// The entry at a place that `seek` gave.
    #[inline]
    pub(super) fn entry_at(&self, at: At) -> EntryRef<'_> {
        self.table.at(at)
    }

    /// The same, stamped as used.
    #[inline]
    pub(super) fn touch_at(&mut self, at: At, recency: Recency) -> EntryRef<'_> {
        let mut entry = self.table.at_mut(at);
        entry.touch(recency);
        entry.into_view()
    }

    /// Removes the entry at a place that `seek` gave.
    pub(super) fn remove_at(&mut self, at: At, hash: KeyHash, graves: &mut Graveyard) {
        graves.bury(self.take_at(at, hash));
    }

    /// Takes a key out with its value, due or not; for whoever moves it, or buries it.
    pub fn take(&mut self, key: &[u8], hash: KeyHash) -> Option<Entry> {
        let at = self.position(key, hash)?;
        Some(self.take_at(at, hash))
    }

    /// Puts the value and the fields of an entry that was taken from anywhere under a key; what was there dies.
    pub fn put(&mut self, key: &[u8], hash: KeyHash, entry: Entry, now: Millis, graves: &mut Graveyard) -> Before {
        let fields = entry.view().fields();
        let write = Write {
            deadline: fields.expiry.map_or(Deadline::Clear, Deadline::At),
            cas: fields.cas,
            mc_flags: fields.mc_flags,
            form: fields.form,
            recency: fields.recency,
        };
        let kind = entry.view().kind();
        if let ValueRef::Str(text) = entry.view().value() {
            return self.set(key, hash, Value::Embedded(text), write, now, graves);
        }
        let object = entry.into_object().expect("what is not embedded is an object");
        self.set(key, hash, Value::Object(kind, object), write, now, graves)
    }

    /// Sets or clears the deadline. False if there is no such key.
    pub fn set_expiry(&mut self, key: &[u8], hash: KeyHash, now: Millis, deadline: Option<Millis>) -> bool {
        let Some(at) = self.visible(key, hash, now) else { return false };
        if self.table.at(at).expiry() == deadline {
            return true;
        }
        self.keep(at);
        let fields = self.table.at(at).fields();
        self.deadlines.change(hash, fields.expiry, deadline);
        if deadline.is_none_or(|deadline| !self.table.at_mut(at).set_expiry(deadline)) {
            count_out(&mut self.usage, self.table.at(at));
            let epoch = self.epoch;
            let with = Fields { expiry: deadline, ..fields };
            self.table.rewrite(at, |entry| entry.with_fields(with).in_epoch(epoch));
            count_in(&mut self.usage, self.table.at(at));
        }
        true
    }

    /// Entries that the table has moved since the last call; see `Dict::take_moved`.
    #[inline]
    pub fn take_moved(&mut self) -> u32 {
        self.table.take_moved()
    }

    /// When the next key, or the next field of a hash, dies.
    #[inline]
    pub fn next_deadline(&self) -> Option<Millis> {
        Deadlines::soonest(self.schedules().into_iter())
    }

    /// The deadlines of keys, and of what is inside them.
    #[inline]
    pub const fn schedules(&self) -> [&Deadlines; 2] {
        [&self.deadlines, &self.inside]
    }

    /// Whether a key or a field of a hash is due.
    #[inline]
    pub fn has_due(&self, now: Millis) -> bool {
        self.next_deadline().is_some_and(|due| due <= now)
    }

    /// Removes keys whose time has come, up to `count`; tells of each before it goes. Those that `held` says somebody holds stay until
    /// they are let go. How many were looked at: fewer than `count` if no others are due.
    pub fn expire_step(
        &mut self,
        now: Millis,
        count: usize,
        graves: &mut Graveyard,
        held: impl Fn(KeyHash) -> bool,
        mut tell: impl FnMut(KeyHash, EntryRef<'_>),
    ) -> usize {
        let (mut kept, mut looked_at) = (Vec::new(), 0);
        while looked_at < count {
            let Some((deadline, hash)) = self.deadlines.peek_due(now) else { break };
            looked_at += 1;
            let at = self.table.find(hash, |entry| entry.expiry() == Some(deadline));
            if at.is_none() || held(hash) {
                kept.extend(self.deadlines.pop_due(now).filter(|_| at.is_some()));
                continue;
            }
            if let Some(at) = at {
                tell(hash, self.table.at(at));
                graves.bury(self.take_at(at, hash));
            }
        }
        kept.into_iter().for_each(|(deadline, hash)| self.deadlines.change(hash, None, Some(deadline)));
        looked_at
    }

    /// Removes fields whose time has come from their hashes, about `count` of them, as `expire_step` does keys: tells of each field before it
    /// goes, and then of the hash. One in which nothing else is goes whole, as one. So many were looked at.
    pub fn expire_fields_step(
        &mut self,
        now: Millis,
        count: usize,
        graves: &mut Graveyard,
        held: impl Fn(KeyHash) -> bool,
        mut tell: impl FnMut(Collected<'_>),
    ) -> usize {
        let (mut kept, mut looked_at, hasher) = (Vec::new(), 0, self.hasher);
        while looked_at < count {
            let Some((deadline, hash)) = self.inside.peek_due(now) else { break };
            looked_at += 1;
            let at = self.table.find(hash, |entry| entry.next_inside() == Some(deadline));
            let Some(at) = at.filter(|_| !held(hash)) else {
                kept.extend(self.inside.pop_due(now).filter(|_| at.is_some()));
                continue;
            };
            let entry = self.table.at(at);
            let key: Box<[u8]> = entry.key().into();
            if entry.is_due(now) {
                let gone = entry.death(now).expect("it is due");
                tell(Collected::Whole { key: &key, hash, deadline, gone });
                graves.bury(self.take_at(at, hash));
                continue;
            }
            let mut displaced = Vec::new();
            let recency = entry.recency();
            let gone = self.edit_at(at, hash, recency, |object| match object {
                Some(Object::Hash(fields)) => {
                    fields.expire(now, count - looked_at + 1, &hasher, &mut displaced, |pair| {
                        tell(Collected::Field { key: &key, field: pair.first });
                    })
                }
                _ => unreachable!("only hashes have deadlines inside"),
            });
            tell(Collected::Some { key: &key, hash, deadline, fields: gone });
            displaced.into_iter().for_each(|rope| graves.bury_object(Object::Rope(rope)));
            looked_at += gone.saturating_sub(1);
        }
        kept.into_iter().for_each(|(deadline, hash)| self.inside.change(hash, None, Some(deadline)));
        looked_at
    }

    /// Keys after `cursor`, at least `count` of them looked at; see `Dict::scan` for the guarantee.
    pub fn scan(&self, cursor: Cursor, count: usize, now: Millis, mut visit: impl FnMut(EntryRef<'_>)) -> Cursor {
        self.table.scan(cursor, count, |entry| {
            if !entry.is_due(now) {
                visit(entry);
            }
        })
    }

    /// As `scan`, over one cluster slot.
    pub fn scan_slot(
        &self,
        slot: u16,
        cursor: Cursor,
        count: usize,
        now: Millis,
        mut visit: impl FnMut(EntryRef<'_>),
    ) -> Cursor {
        self.table.scan_slot(slot, cursor, count, |entry| {
            if !entry.is_due(now) {
                visit(entry);
            }
        })
    }

    pub fn count_in_slot(&self, slot: u16) -> usize {
        self.table.count_in_slot(slot)
    }

    /// Any key, each as likely as any other.
    pub fn random(&self, rng: &mut Rng, now: Millis) -> Option<EntryRef<'_>> {
        (0..RANDOM_TRIES)
            .map_while(|_| self.table.random(rng))
            .map(|at| self.table.at(at))
            .find(|entry| !entry.is_due(now))
            .or_else(|| self.near(rng, now))
    }

    /// A key near a random place, where nearly all are due.
    #[cold]
    fn near(&self, rng: &mut Rng, now: Millis) -> Option<EntryRef<'_>> {
        const STRIDE: usize = 64;
        let (mut name, mut cursor) = (None, Cursor::anywhere(rng));
        for _ in 0..RANDOM_NEIGHBOURS / STRIDE {
            cursor = self.scan(cursor, STRIDE, now, |entry| _ = name.get_or_insert_with(|| entry.key().to_vec()));
            if let Some(name) = &name {
                return self.find(name, self.hasher.key(name), now);
            }
        }
        None
    }

    /// Empties the database in O(1); the dead wait in the graveyard. What a snapshot has still to look at is given back.
    #[must_use]
    pub fn clear(&mut self, graves: &mut Graveyard) -> Option<Self> {
        let empty = Self { epoch: self.epoch, ..Self::new(self.hasher) };
        let old = std::mem::replace(self, empty);
        if old.moment.is_some() {
            return Some(old);
        }
        graves.bury_all(old);
        None
    }

    /// A snapshot of the database, which is of this number now, begins: all that is here is of the past.
    pub(super) fn begin_moment(&mut self, db: u8) {
        self.epoch = self.epoch.next();
        self.moment = (!self.is_empty()).then(|| Box::new(Moment::new(db)));
    }

    /// Looks at about so many entries for the snapshot, and says to it which of them are as they were; `Done`: all have been looked at.
    pub(super) fn step_moment(&mut self, count: usize, mut say: impl FnMut(EntryRef<'_>)) -> Progress {
        let Some(moment) = &mut self.moment else { return Progress::Done };
        let epoch = self.epoch;
        moment.cursor = self.table.scan_mut(moment.cursor, count, |mut entry| {
            if entry.view().epoch() != epoch {
                say(entry.view());
                entry.set_epoch(epoch);
            }
        });
        if moment.cursor == Cursor::START { Progress::Done } else { Progress::More }
    }

    /// Whoever is about to change an entry lets a snapshot have it first.
    #[inline]
    fn keep(&mut self, at: At) {
        if self.moment.is_some() {
            self.keep_as_it_was(at);
        }
    }

    #[cold]
    fn keep_as_it_was(&mut self, at: At) {
        let Some(moment) = &mut self.moment else { return };
        let mut entry = self.table.at_mut(at);
        if entry.view().epoch() != self.epoch {
            moment.keep(entry.view());
            entry.set_epoch(self.epoch);
        }
    }

    /// Starts loading what a look-up of this hash reads first. [`Self::prefetch_entry`] is the second step, when that has arrived.
    #[inline]
    pub fn approach(&self, hash: KeyHash) -> Option<Spot> {
        self.table.approach(hash)
    }

    #[inline]
    pub fn prefetch_entry(&self, spot: Spot, hash: KeyHash) {
        self.table.prefetch_entry(spot, hash);
    }

    /// Keys, those due but not yet collected included.
    pub const fn len(&self) -> usize {
        self.table.len()
    }

    pub const fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Keys with a deadline.
    pub fn expiring(&self) -> usize {
        self.deadlines.len()
    }

    /// Hashes of which fields have a deadline.
    pub fn expiring_inside(&self) -> usize {
        self.inside.len()
    }

    pub const fn usage(&self, kind: Kind) -> Usage {
        self.usage[kind as usize]
    }

    /// Everything: entries, values, table, deadlines.
    pub fn bytes(&self) -> usize {
        self.usage.iter().map(|usage| usage.bytes).sum::<usize>() + self.overhead_bytes()
    }

    pub fn table_bytes(&self) -> usize {
        self.table.bytes()
    }

    /// Table and deadlines.
    pub fn overhead_bytes(&self) -> usize {
        self.table.bytes() + self.deadlines.bytes() + self.inside.bytes()
    }

    /// The usage by type, from the entries themselves: what `usage` must say.
    pub fn recount(&self) -> [Usage; Kind::ALL.len()] {
        let mut usage = [Usage::default(); Kind::ALL.len()];
        let mut cursor = Cursor::START;
        loop {
            cursor = self.table.scan(cursor, 1000, |entry| count_in(&mut usage, entry));
            if cursor == Cursor::START {
                return usage;
            }
        }
    }

    #[inline]
    fn position(&self, key: &[u8], hash: KeyHash) -> Option<At> {
        self.table.find(hash, |entry| entry.key() == key)
    }

    #[inline]
    fn visible(&self, key: &[u8], hash: KeyHash, now: Millis) -> Option<At> {
        self.position(key, hash).filter(|&at| !self.table.at(at).is_due(now))
    }

    fn take_at(&mut self, at: At, hash: KeyHash) -> Entry {
        self.keep(at);
        self.deadlines.change(hash, self.table.at(at).expiry(), None);
        self.inside.change(hash, self.table.at(at).next_inside(), None);
        count_out(&mut self.usage, self.table.at(at));
        self.table.remove(at)
    }
}

impl Before {
    fn of(entry: EntryRef<'_>, now: Millis) -> Self {
        entry.death(now).map_or(Self::Present, Self::Due)
    }
}

fn count_in(usage: &mut [Usage], entry: EntryRef<'_>) {
    let usage = &mut usage[entry.kind() as usize];
    usage.keys += 1;
    usage.bytes += entry.bytes();
}

fn count_out(usage: &mut [Usage], entry: EntryRef<'_>) {
    let usage = &mut usage[entry.kind() as usize];
    usage.keys -= 1;
    usage.bytes -= entry.bytes();
}

/// What is dead and too large to be freed in one go.
#[derive(Default)]
pub struct Graveyard {
    objects: VecDeque<Box<Object>>,
    databases: VecDeque<Remains>,
    /// Work tables of jobs that are over.
    cells: Vec<Vec<u32>>,
    /// Pieces of replies that have left or never will.
    pieces: Vec<Bytes>,
    /// Pieces of input that has been run or never will.
    bytes: Vec<Vec<u8>>,
    /// Anything else, each of which is dropped in the time of some nodes.
    heaps: Vec<Box<dyn Send>>,
    /// Bytes that were freed in place in this turn.
    freed_at_once: usize,
}

struct Remains {
    entries: Detached<Entry>,
    deadlines: Deadlines,
    inside: Deadlines,
}

impl Graveyard {
    /// Another turn, in which as much may be freed in place.
    pub fn begin_turn(&mut self) {
        self.freed_at_once = 0;
    }

    /// Frees an entry now, or keeps its value to be freed in steps.
    pub fn bury(&mut self, entry: Entry) {
        if let ValueRef::Object(object) = entry.view().value()
            && !self.frees_at_once(object)
        {
            self.objects.extend(entry.into_object());
        }
    }

    /// Frees a value now if it is small, or in steps.
    pub fn bury_object(&mut self, object: Object) {
        if !self.frees_at_once(&object) {
            self.objects.push_back(Box::new(object));
        }
    }

    fn frees_at_once(&mut self, object: &Object) -> bool {
        let bytes = object.bytes();
        if bytes > FREE_AT_ONCE_BYTES || self.freed_at_once > FREE_AT_ONCE_BYTES_PER_TURN {
            return false;
        }
        self.freed_at_once += bytes;
        true
    }

    /// Frees a job's work table now if it is a single piece, or piece by piece.
    pub fn bury_cells(&mut self, pieces: Vec<Vec<u32>>) {
        if pieces.len() > 1 {
            self.cells.extend(pieces);
        }
    }

    /// Takes what an output or a journal held together with others: it may be the last to do so.
    pub fn bury_shared(&mut self, shared: impl ExactSizeIterator<Item = Shared>) {
        let few = shared.len() <= PIECES_FREED_AT_ONCE;
        for value in shared {
            match value {
                Shared::Rope(rope, _) if rope.is_alone() => self.bury_object(Object::Rope(rope)),
                Shared::Piece(piece) if !few => self.pieces.push(piece),
                Shared::Rope(..) | Shared::Piece(_) => {}
            }
        }
    }

    /// Keeps whatever it is, each to be dropped in a step; a single one at once.
    pub fn bury_heaps(&mut self, heaps: impl ExactSizeIterator<Item = Box<dyn Send>>) {
        if heaps.len() > 1 {
            self.heaps.extend(heaps);
        }
    }

    /// Keeps a piece of bytes to be freed in a step.
    pub fn bury_piece(&mut self, piece: Vec<u8>) {
        self.bytes.push(piece);
    }

    /// Frees pieces of bytes now if they are few, or in steps.
    pub fn bury_pieces(&mut self, pieces: impl Iterator<Item = Vec<u8>>) {
        let before = self.bytes.len();
        self.bytes.extend(pieces.filter(|piece| piece.capacity() > 0));
        if self.bytes.iter().skip(before).map(Vec::capacity).sum::<usize>() <= FREE_AT_ONCE_BYTES {
            self.bytes.truncate(before);
        }
    }

    pub(super) fn bury_all(&mut self, mut dead: Keyspace) {
        let Keyspace { table, deadlines, inside, .. } = &mut dead;
        let (deadlines, inside) = (std::mem::take(deadlines), std::mem::take(inside));
        self.databases.push_back(Remains { entries: table.detach(), deadlines, inside });
    }

    /// Frees up to about `budget` nodes, entries or deadlines.
    pub fn step(&mut self, mut budget: usize) -> Progress {
        while budget > 0 {
            if let Some(object) = self.objects.front_mut() {
                let before = budget;
                if object.free_step(&mut budget) == Progress::Done {
                    self.objects.pop_front();
                    budget = budget.min(before - 1);
                }
            } else if let Some(remains) = self.databases.front_mut() {
                let count = (budget * limits::ENTRIES_PER_NODE).min(256);
                budget -= count.div_ceil(limits::ENTRIES_PER_NODE);
                let objects = &mut self.objects;
                if remains.entries.is_empty() && remains.deadlines.is_empty() && remains.inside.is_empty() {
                    self.databases.pop_front();
                } else {
                    remains.deadlines.free_step(count);
                    remains.inside.free_step(count);
                    remains.entries.step(count, |entry| {
                        if let ValueRef::Object(object) = entry.view().value()
                            && object.bytes() > FREE_AT_ONCE_BYTES / 64
                        {
                            objects.extend(entry.into_object());
                        }
                    });
                }
            } else if self.pieces.pop().is_some() {
                budget = budget.saturating_sub(PIECE_COST);
            } else if self.cells.pop().is_some() || self.bytes.pop().is_some() || self.heaps.pop().is_some() {
                budget = budget.saturating_sub(CELLS_PIECE_COST);
            } else {
                break;
            }
        }
        if self.is_empty() { Progress::Done } else { Progress::More }
    }

    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
            && self.databases.is_empty()
            && self.cells.is_empty()
            && self.pieces.is_empty()
            && self.bytes.is_empty()
            && self.heaps.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    const HASHER: [u64; 2] = [1, 2];

    #[derive(Clone, Debug)]
    enum Step {
        Set(u8, usize, Deadline),
        Remove(u8),
        Rename(u8, u8),
        Expire(u8, Option<u64>),
        Grow(u8),
        Pass(u64),
        Clear,
    }

    #[test]
    fn what_an_output_held_last_dies_in_steps() {
        let long = vec![b'x'; 64 << 20];
        let (rope, held) = (Rope::from(&long[..]), Rope::from(&long[..]));
        let piece = || Shared::Piece(long[..70_000].to_vec().into());
        let whole = |rope| Shared::Rope(rope, 0..long.len());
        let mut graves = Graveyard::default();
        graves.bury_shared([whole(held.clone()), piece()].into_iter());
        assert!(graves.is_empty(), "another holds the rope, and one piece is little");
        assert!(held.equals(&long));
        let many: Vec<Shared> = std::iter::once(whole(rope)).chain((0..1000).map(|_| piece())).collect();
        graves.bury_shared(many.into_iter());
        let mut steps = 0;
        while graves.step(limits::FREE_NODES_PER_TURN) == Progress::More {
            steps += 1;
        }
        assert!(graves.is_empty() && steps > 4096 / limits::FREE_NODES_PER_TURN, "{steps}");
    }

    /// Each of them alone would be freed in place.
    #[test]
    fn what_dies_small_but_in_numbers_dies_in_steps() {
        let hasher = HashKey::new(HASHER);
        let (mut db, mut graves) = (Keyspace::new(hasher), Graveyard::default());
        let names: Vec<Vec<u8>> = (0..256_u32).map(|i| i.to_le_bytes().to_vec()).collect();
        let at = |ms| Write { deadline: Deadline::At(Millis(ms)), ..Write::default() };
        for (name, ms) in names.iter().zip(1..) {
            db.set_string(name, hasher.key(name), &[b'x'; 60_000], at(ms), Millis(0), &mut graves);
        }
        assert_eq!(db.expire_step(Millis(10), 256, &mut graves, |_| false, |_, _| ()), 10);
        assert!(graves.is_empty(), "a few of them are little");
        assert_eq!(db.expire_step(Millis(256), 256, &mut graves, |_| false, |_, _| ()), 246);
        let mut steps = 0;
        while graves.step(limits::FREE_NODES_PER_TURN) == Progress::More {
            steps += 1;
        }
        assert!(steps > 30, "{steps}");
        graves.begin_turn();
        db.set_string(b"k", hasher.key(b"k"), &[b'x'; 60_000], at(999), Millis(256), &mut graves);
        db.remove(b"k", hasher.key(b"k"), Millis(256), &mut graves);
        assert!(graves.is_empty(), "another turn");
    }

    /// A live key is found although those whose time has come are a thousand times as many.
    #[test]
    fn a_random_key_is_found_among_many_that_are_due() {
        let hasher = HashKey::new(HASHER);
        let (mut db, mut graves, mut rng) =
            (Keyspace::new(hasher), Graveyard::default(), crate::base::rng::Rng::new(1));
        let due = Write { deadline: Deadline::At(Millis(1)), ..Write::default() };
        for i in 0..20_000_u32 {
            let write = if i % 1000 == 0 { Write::default() } else { due };
            let name = i.to_le_bytes();
            db.set_string(&name, hasher.key(&name), b"v", write, Millis(0), &mut graves);
        }
        let found = (0..200).filter(|_| db.random(&mut rng, Millis(1)).is_some()).count();
        assert!(found > 150, "{found} of 200");
    }

    fn any_step() -> impl Strategy<Value = Step> {
        let len = prop_oneof![8 => 0..200_usize, 1 => 16_000..17_000_usize, 1 => 100_000..200_000_usize];
        let deadline = prop_oneof![
            Just(Deadline::Clear),
            Just(Deadline::Keep),
            (1..300_u64).prop_map(|ms| Deadline::At(Millis(ms)))
        ];
        prop_oneof![
            20 => (any::<u8>(), len, deadline).prop_map(|(key, len, deadline)| Step::Set(key, len, deadline)),
            6 => any::<u8>().prop_map(Step::Remove),
            4 => any::<(u8, u8)>().prop_map(|(from, to)| Step::Rename(from, to)),
            6 => (any::<u8>(), prop::option::of(1..300_u64)).prop_map(|(key, ms)| Step::Expire(key, ms)),
            4 => any::<u8>().prop_map(Step::Grow),
            4 => (1..40_u64).prop_map(Step::Pass),
            1 => Just(Step::Clear),
        ]
    }

    fn len_of(value: ValueRef<'_>) -> usize {
        match value {
            ValueRef::Str(text) => text.len(),
            ValueRef::Object(Object::Rope(rope)) => rope.len(),
            ValueRef::Object(_) => panic!("only strings here"),
        }
    }

    proptest! {
           #![proptest_config(ProptestConfig::with_cases(64))]

           #[test]
           fn behaves_as_a_map_with_deadlines(steps in prop::collection::vec(any_step(), 1..300), collect in any::<bool>()) {
               let hasher = HashKey::new(HASHER);
               let (mut db, mut graves, mut now) = (Keyspace::new(hasher), Graveyard::default(), Millis(0));
               let mut model = BTreeMap::<Vec<u8>, (usize, Option<Millis>)>::new();
               let name = |key: u8| vec![b'k'; key as usize + usize::from(key > 250) * 300];
               for step in steps {
                   model.retain(|_, (_, deadline)| deadline.is_none_or(|deadline| deadline > now));
                   match step {
                       Step::Set(key, len, deadline) => {
                           let key = name(key);
                           let write = Write { deadline, ..Write::default() };
                           db.set_string(&key, hasher.key(&key), &vec![b'x'; len], write, now, &mut graves);
                           let before = model.get(&key).and_then(|(_, deadline)| *deadline);
                           model.insert(key, (len, write.fields(before).expiry));
                       }
                       Step::Remove(key) => {
                           let key = name(key);
                           let removed = db.remove(&key, hasher.key(&key), now, &mut graves) == Before::Present;
                           prop_assert_eq!(removed, model.remove(&key).is_some());
                       }
                       Step::Rename(from, to) => {
                           let (from, to) = (name(from), name(to));
                           let renamed = db.find(&from, hasher.key(&from), now).is_some();
                           if renamed && let Some(entry) = db.take(&from, hasher.key(&from)) {
                               db.put(&to, hasher.key(&to), entry, now, &mut graves);
                           }
                           let taken = model.remove(&from);
                           prop_assert_eq!(renamed, taken.is_some());
                           model.extend(taken.map(|value| (to, value)));
                       }
                       Step::Expire(key, ms) => {
                           let (key, deadline) = (name(key), ms.map(Millis));
                           let there = model.get_mut(&key).map(|(_, old)| *old = deadline).is_some();
                           prop_assert_eq!(db.set_expiry(&key, hasher.key(&key), now, deadline), there);
                       }
                       Step::Grow(key) => {
                           let key = name(key);
                           let grown = db.update_object(&key, hasher.key(&key), now, |object| {
    if let Object::Rope(rope) = object { rope.append(&[b'y'; 20_000]); } });
                           if grown.is_some() {
                               model.get_mut(&key).expect("visible in both").0 += 20_000;
                           }
                       }
                       Step::Pass(ms) => now = now.saturating_add(ms),
                       Step::Clear => {
                           prop_assert!(db.clear(&mut graves).is_none());
                           model.clear();
                       }
                   }
                   model.retain(|_, (_, deadline)| deadline.is_none_or(|deadline| deadline > now));
                   if collect {
                       while db.expire_step(now, 3, &mut graves, |_| false, |_, entry| assert!(entry.is_due(now))) == 3 {}
                       prop_assert_eq!(db.len(), model.len());
                       prop_assert_eq!(db.expiring(), model.values().filter(|(_, deadline)| deadline.is_some()).count());
                       prop_assert_eq!(db.next_deadline(), model.values().filter_map(|(_, deadline)| *deadline).min());
                       graves.step(5);
                   }
                   let mut seen = BTreeMap::new();
                   let mut cursor = Cursor::START;
                   loop {
                       cursor = db.scan(cursor, 10, now, |entry| {
                           seen.insert(entry.key().to_vec(), (len_of(entry.value()), entry.expiry()));
                       });
                       if cursor == Cursor::START {
                           break;
                       }
                   }
                   prop_assert_eq!(&seen, &model);
                   prop_assert_eq!(db.recount(), Kind::ALL.map(|kind| db.usage(kind)));
                   prop_assert_eq!(db.deadlines.bytes(), db.deadlines.recount_bytes());
                   prop_assert_eq!(db.inside.len(), 0);
                   for (key, value) in &model {
                       let entry = db.find(key, hasher.key(key), now).expect("in the model");
                       prop_assert_eq!((len_of(entry.value()), entry.expiry()), *value);
                   }
               }
               let mut steps = 0;
               while graves.step(100) == Progress::More {
                   steps += 1;
                   prop_assert!(steps < 10_000, "every step frees something");
               }
           }
       }
}
