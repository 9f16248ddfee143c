//! The keyspace as it was at one moment, said in slices while it goes on changing.
//!
//! ```text
//!  begin    every entry is of the epoch before; what is written from now on is of the next
//!
//!  step     walk in the order of SCAN -----> entry of the epoch before?  said, and made one of this
//!                                                          of this one?  passed over: new, or said already
//!
//!  a change of an entry of the epoch before -> first kept as it was: a short text is copied, a large value's root cloned;
//!                                              said before the walk goes on (`Keyspace::keep`)
//!  FLUSHDB  the old table is walked on, out of sight, and dies when it has been said        SWAPDB  a table takes its walk along
//! ```
//!
//! One bit in an entry tells the two apart, so that each entry of the moment is said exactly once whatever the table does meanwhile, and
//! nothing that came later is: not a set beside the table that grows with what is written. The two memories it takes are what is kept and not yet
//! said, which whoever writes is held up for (`kept_bytes`), and nodes of large values that are copied because a clone holds them.
//!
//! What is said expects an empty keyspace and names databases as they were numbered at the moment. A snapshot always comes to its end.

use std::collections::VecDeque;

use super::Store;
use super::entry::EntryRef;
use super::keyspace::Keyspace;
use super::restate::{self, Restatement, Statement};
use crate::persist::record::{self, Records};
use crate::types::Progress;
use crate::types::dict::Cursor;

/// Entries that are looked at together: their waits for memory overlap.
const LOOKED_AT: usize = 16;

/// Bytes that are said in the time of looking at an entry.
const BYTES_PER_UNIT: usize = 256;

/// What a kept value takes beside its bytes.
const KEPT_BYTES: usize = 112;

/// Of one database.
#[derive(Debug)]
pub struct Moment {
    /// Its number then.
    db: u8,
    pub(super) cursor: Cursor,
    /// What has changed before the walk came to it, as it was.
    kept: VecDeque<Restatement>,
    kept_bytes: usize,
}

impl Moment {
    pub(super) fn new(db: u8) -> Self {
        Self { db, cursor: Cursor::START, kept: VecDeque::new(), kept_bytes: 0 }
    }

    pub(super) fn keep(&mut self, entry: EntryRef<'_>) {
        let restatement = Restatement::of(entry);
        self.kept_bytes += restatement.held_bytes() + KEPT_BYTES;
        self.kept.push_back(restatement);
    }

    fn take_kept(&mut self) -> Option<(u8, Restatement)> {
        let first = self.kept.pop_front()?;
        self.kept_bytes -= first.held_bytes() + KEPT_BYTES;
        Some((self.db, first))
    }
}

/// Of all databases.
#[derive(Default)]
pub struct Snapshot {
    is_open: bool,
    /// Tables that were flushed before all in them was said.
    inherited: VecDeque<Keyspace>,
    /// A value of which a part was said.
    begun: VecDeque<(u8, Restatement)>,
}

impl Snapshot {
    pub(super) fn inherit(&mut self, unsaid: Keyspace) {
        self.inherited.push_back(unsaid);
    }
}

impl Store {
    /// # Panics
    /// If another snapshot has not come to its end.
    pub fn begin_snapshot(&mut self) {
        assert!(!self.snapshot.is_open, "one snapshot at a time");
        self.snapshot.is_open = true;
        for (number, db) in (0..).zip(&mut self.dbs) {
            db.begin_moment(number);
        }
    }

    #[inline]
    pub fn has_snapshot(&self) -> bool {
        self.snapshot.is_open
    }

    /// Bytes that are held as they were, because they changed before the walk came to them.
    pub fn kept_bytes(&self) -> usize {
        let all = self.dbs.iter().chain(&self.snapshot.inherited);
        all.filter_map(|keys| keys.moment.as_ref()).map(|moment| moment.kept_bytes).sum()
    }

    /// Says a slice of the snapshot, of about the time that looking at `units` entries takes. `Done`: it is all said, and the snapshot over.
    pub fn step_snapshot(&mut self, units: usize, out: &mut Records) -> Progress {
        let Self { dbs, snapshot, graves, hash_key, .. } = self;
        let mut left = units;
        while left > 0 {
            let before = out.len();
            if let Some((db, value)) = snapshot.begun.front_mut() {
                match value.next(hash_key) {
                    Some(Statement { request, longs }) => {
                        record::put_long_effect(out, *db, longs.words_of(request.args()));
                    }
                    None => {
                        let said = snapshot.begun.pop_front();
                        if let Some(value) = said.and_then(|(_, value)| value.into_held()) {
                            graves.bury_object(value);
                        }
                    }
                }
            } else if let Some(kept) = first_kept(dbs, &mut snapshot.inherited) {
                snapshot.begun.push_back(kept);
            } else if let Some(old) = snapshot.inherited.front_mut() {
                if walk(old, &mut left, &mut snapshot.begun, out) == Progress::Done
                    && snapshot.begun.is_empty()
                    && let Some(old) = snapshot.inherited.pop_front()
                {
                    graves.bury_all(old);
                }
            } else if let Some(db) = dbs.iter_mut().find(|db| db.moment.is_some()) {
                if walk(db, &mut left, &mut snapshot.begun, out) == Progress::Done {
                    db.moment = None;
                }
            } else {
                snapshot.is_open = false;
                return Progress::Done;
            }
            left = left.saturating_sub((out.bytes.len().saturating_sub(before)) / BYTES_PER_UNIT + 1);
        }
        Progress::More
    }
}

fn first_kept(dbs: &mut [Keyspace], inherited: &mut VecDeque<Keyspace>) -> Option<(u8, Restatement)> {
    let mut moments = dbs.iter_mut().chain(inherited).filter_map(|keys| keys.moment.as_mut());
    moments.find_map(|moment| moment.take_kept())
}

/// Looks at the next entries of a table: short strings are said, what is longer is begun. `Done`: there are no more.
fn walk(keys: &mut Keyspace, left: &mut usize, begun: &mut VecDeque<(u8, Restatement)>, out: &mut Records) -> Progress {
    let Some(db) = keys.moment.as_ref().map(|moment| moment.db) else { return Progress::Done };
    *left = left.saturating_sub(LOOKED_AT);
    keys.step_moment(LOOKED_AT, |entry| begun.extend(restate::say(entry, db, out).map(|value| (db, value))))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::base::time::{Millis, Now};
    use crate::persist::record::Record;
    use crate::store::Key;
    use crate::store::entry::{Kind, Value};
    use crate::store::keyspace::{Deadline, Write};
    use crate::types::Object;
    use crate::types::hash::{Hash, Limits, Until};
    use crate::types::rope::Rope;

    const DATABASES: usize = 3;

    /// What a key holds, as the requests that say it hold it.
    type Held = BTreeMap<(u8, Vec<u8>), (BTreeMap<Vec<u8>, Vec<u8>>, Option<u64>)>;

    #[derive(Clone, Debug)]
    enum Step {
        Text(u8, u16, usize, Option<u64>),
        Field(u8, u16, u16),
        Expire(u8, u16, Option<u64>),
        Remove(u8, u16),
        Move(u8, u16, u8, u16),
        Flush(u8),
        Swap(u8, u8),
        Tick(u64),
        Say(usize),
    }

    fn any_step() -> impl Strategy<Value = Step> {
        let (db, key) = (0..3_u8, 0..400_u16);
        let at = proptest::option::of(1..2000_u64);
        prop_oneof![
            6 => (db.clone(), key.clone(), prop_oneof![0..60_usize, Just(20_000)], at.clone()).prop_map(|(db, key, len, at)| Step::Text(db, key, len, at)),
            6 => (db.clone(), key.clone(), 0..300_u16).prop_map(|(db, key, field)| Step::Field(db, key, field)),
            2 => (db.clone(), key.clone(), at).prop_map(|(db, key, at)| Step::Expire(db, key, at)),
            3 => (db.clone(), key.clone()).prop_map(|(db, key)| Step::Remove(db, key)),
            3 => (db.clone(), key.clone(), db.clone(), key).prop_map(|(db, key, to, name)| Step::Move(db, key, to, name)),
            1 => db.clone().prop_map(Step::Flush),
            1 => (db.clone(), db).prop_map(|(one, other)| Step::Swap(one, other)),
            1 => (1..2000_u64).prop_map(Step::Tick),
            6 => (1..40_usize).prop_map(Step::Say),
        ]
    }

    /// Every key, as it is now; those whose time has come are there until they are collected.
    fn held(store: &Store) -> Held {
        let mut held = Held::new();
        for (db, keys) in store.open_databases() {
            let mut cursor = Cursor::START;
            loop {
                cursor = keys.scan(cursor, 100, Millis(0), |entry| {
                    let mut fields = BTreeMap::new();
                    let mut restatement = Restatement::of(entry);
                    while let Some(statement) = restatement.next(&store.hash_key) {
                        note(
                            &statement.longs.put_into(statement.request.args()).args().iter().collect::<Vec<_>>(),
                            &mut fields,
                        );
                    }
                    let at = entry.expiry().map(|at| at.0);
                    held.insert((u8::try_from(db).unwrap(), entry.key().to_vec()), (fields, at));
                });
                if cursor == Cursor::START {
                    break;
                }
            }
        }
        held
    }

    fn note(words: &[&[u8]], fields: &mut BTreeMap<Vec<u8>, Vec<u8>>) -> Option<u64> {
        match words[0] {
            b"SET" => {
                assert!(fields.insert(Vec::new(), words[2].to_vec()).is_none(), "said twice");
                words.get(4).map(|at| std::str::from_utf8(at).unwrap().parse().unwrap())
            }
            b"HSET" => {
                for pair in words[2..].chunks(2) {
                    assert!(fields.insert(pair[0].to_vec(), pair[1].to_vec()).is_none(), "said twice");
                }
                None
            }
            b"PEXPIREAT" => Some(std::str::from_utf8(words[2]).unwrap().parse().unwrap()),
            other => panic!("{}", other.escape_ascii()),
        }
    }

    /// What the records say.
    fn said(records: &Records) -> Held {
        let (mut held, mut spans, bytes) = (Held::new(), Vec::new(), records.to_vec());
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let len = record::HEAD_BYTES + usize::try_from(record::body_len(*rest.first_chunk().unwrap())).unwrap();
            let Ok(Record::Effects(effects)) = record::parse(&rest[..len]) else { panic!("an effect") };
            effects
                .each(&mut spans, |db, args| {
                    let (fields, at) = held.entry((db, args.at(1).to_vec())).or_default();
                    let words: Vec<&[u8]> = args.iter().collect();
                    if let Some(time) = note(&words, fields) {
                        *at = Some(time);
                    }
                })
                .unwrap();
            rest = &rest[len..];
        }
        held
    }

    fn apply(store: &mut Store, step: Step, now: &mut Millis) {
        let name = |key: u16| format!("key:{key}").into_bytes();
        let hash_key = store.hash_key;
        let named = |name: &[u8]| hash_key.key(name);
        match step {
            Step::Text(db, key, len, at) => {
                let name = name(key);
                let deadline = at.map_or(Deadline::Clear, |at| Deadline::At(Millis(at)));
                let write = Write { deadline, ..Write::default() };
                store.set_string(db, Key { bytes: &name, hash: named(&name) }, &vec![b'v'; len], write, *now);
            }
            Step::Field(db, key, field) => {
                let name = name(key);
                let key = Key { bytes: &name, hash: named(&name) };
                let set = |hash: &mut Hash| {
                    let text = format!("field:{field}");
                    hash.set(
                        text.as_bytes(),
                        b"value",
                        Until::Forever,
                        Limits { entries: 8, value_bytes: 64 },
                        &hash_key,
                        &mut Vec::<Rope>::new(),
                    );
                };
                let done = store.update_object(db, key, *now, |object| match object {
                    Object::Hash(hash) => set(hash),
                    Object::Rope(rope) => rope.append(b"more"),
                    _ => {}
                });
                if done.is_none() && store.peek(db, key, *now).is_none() {
                    let mut hash = Hash::default();
                    set(&mut hash);
                    let value = Value::Object(Kind::Hash, Box::new(Object::Hash(hash)));
                    store.set(db, key, value, Write::default(), *now);
                }
            }
            Step::Expire(db, key, at) => {
                let name = name(key);
                store.set_expiry(db, Key { bytes: &name, hash: named(&name) }, *now, at.map(Millis));
            }
            Step::Remove(db, key) => {
                let name = name(key);
                store.remove(db, Key { bytes: &name, hash: named(&name) }, *now);
            }
            Step::Move(db, key, to, other) => {
                let (one, two) = (name(key), name(other));
                if let Some(entry) = store.take(db, Key { bytes: &one, hash: named(&one) }, *now) {
                    store.put(to, Key { bytes: &two, hash: named(&two) }, entry, *now);
                }
            }
            Step::Flush(db) => store.flush(db),
            Step::Swap(one, other) => store.swap(one, other),
            Step::Tick(ms) => {
                *now = Millis(now.0 + ms);
                store.tick(Now { unix_us: now.0 * 1000, mono_ns: now.0 * 1_000_000 }, |_| false);
            }
            Step::Say(_) => {}
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]
        /// Whatever happens meanwhile, what is said is what was there when it began: all of it, once, and nothing else; three times in a row.
        #[test]
        fn it_says_what_was_there_at_the_moment(before in prop::collection::vec(any_step(), 0..400),
                                                during in prop::collection::vec(any_step(), 0..300)) {
            let (mut store, mut now) = (Store::new(DATABASES, [1, 2], 0), Millis(1));
            before.into_iter().for_each(|step| apply(&mut store, step, &mut now));
            for round in 0..3 {
                let (expected, mut records) = (held(&store), Records::default());
                store.begin_snapshot();
                let (mut progress, mut kept) = (Progress::More, 0);
                for step in during.iter().skip(round * 90).cloned() {
                    if let Step::Say(units) = step && progress == Progress::More {
                        progress = store.step_snapshot(units, &mut records);
                    }
                    apply(&mut store, step, &mut now);
                    kept = kept.max(store.kept_bytes());
                }
                while progress == Progress::More {
                    progress = store.step_snapshot(7, &mut records);
                }
                prop_assert_eq!(said(&records), expected);
                prop_assert!(!store.has_snapshot() && store.kept_bytes() == 0 && kept < 10_000_000);
                prop_assert!((0..DATABASES).all(|db| store.db(u8::try_from(db).unwrap()).moment.is_none()));
            }
        }
    }
}
