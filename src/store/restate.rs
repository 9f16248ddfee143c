//! A key and its value as requests that rebuild it: what a journal says of a value that came from another lane, and what its base says of all.
//!
//! ```text
//!  string   SET key text [PXAT at]                                 one request; a long text is a shared word, not copied
//!  hash     HSET key field value ...  HSET key ...  PEXPIREAT key at     some hundred fields each; long values are shared words
//!           HSETEX key PXAT at FIELDS n field value ...                  those of one piece that have this deadline
//!  list     RPUSH key element ...  RPUSH key ...  PEXPIREAT key at       likewise, in their order
//!  set      SADD key member ...  SADD key ...  PEXPIREAT key at          likewise
//!  zset     ZADD key score member ...  ZADD key ...  PEXPIREAT key at    likewise, in order
//! ```
//!
//! A restatement holds a clone of the value's root: making one takes constant time whatever the value weighs, later writes copy the nodes they
//! touch, and each request is rendered when it is asked for, so that a value of a gigabyte is written, and repeated, in slices. Its requests
//! expect that there is no such key. A shared word stands beside its request, as a long word of a client's does.
//!
//! Absent: what no request carries: recency, the form of a short string that APPEND made, the fields of memcached.

use super::entry::{EntryRef, ValueRef};
use super::incoming::Incoming;
use crate::base::ascii::{I64_TEXT_MAX, format_u64};
use crate::base::double;
use crate::base::hash::HashKey;
use crate::base::limits;
use crate::base::time::Millis;
use crate::persist::record::{self, Records};
use crate::types::Object;
use crate::types::hash::Hash;
use crate::types::list::List;
use crate::types::ranked::Way;
use crate::types::rope::Rope;
use crate::types::set::Set;
use crate::types::trie::{Stop, Value};
use crate::types::zset::Zset;
use crate::wire::request::Request;
use std::collections::{BTreeMap, VecDeque};

/// A request, an empty word standing for each that is shared.
#[derive(Clone, Debug, Default)]
pub struct Statement {
    pub request: Request,
    pub longs: Incoming,
}

/// What is left to say of a key.
#[derive(Clone, Debug)]
pub struct Restatement {
    key: Box<[u8]>,
    deadline: Option<Millis>,
    left: Left,
    /// A large value, held to the end: whoever holds it last must not free it in one go.
    held: Option<Object>,
    /// More of the piece of a hash that was looked at last.
    ready: VecDeque<Statement>,
}

#[derive(Clone, Debug)]
enum Left {
    Text(Box<[u8]>),
    Rope(Rope),
    /// From this cursor of its scan on.
    Fields(Hash, u64),
    /// From the element of this number on.
    Elements(List, usize),
    Members(Set, u64),
    /// From this rank on.
    Ranks(Zset, usize),
    Deadline,
    Nothing,
}

/// Smaller values are freed in some microseconds.
const HELD_BYTES_MIN: usize = 64 << 10;

/// Appends the one request that says an entry, if it is a short string; what is longer is left to be said in slices.
pub fn say(entry: EntryRef<'_>, db: u8, out: &mut Records) -> Option<Restatement> {
    let ValueRef::Str(text) = entry.value() else { return Some(Restatement::of(entry)) };
    let set = [&b"SET"[..], entry.key(), text];
    match entry.expiry() {
        None => record::put_effect(out, db, set.into_iter()),
        Some(at) => {
            let mut digits = [0; I64_TEXT_MAX];
            let until = [b"PXAT", format_u64(at.0, &mut digits)];
            let [name, key, text] = set;
            record::put_effect(out, db, [name, key, text, until[0], until[1]].into_iter());
        }
    }
    None
}

impl Restatement {
    pub fn of(entry: EntryRef<'_>) -> Self {
        let left = match entry.value() {
            ValueRef::Str(text) => Left::Text(text.into()),
            ValueRef::Object(Object::Rope(rope)) => Left::Rope(rope.clone()),
            ValueRef::Object(Object::Hash(hash)) => Left::Fields(hash.clone(), 0),
            ValueRef::Object(Object::List(list)) => Left::Elements(list.clone(), 0),
            ValueRef::Object(Object::Set(set)) => Left::Members(set.clone(), 0),
            ValueRef::Object(Object::Zset(zset)) => Left::Ranks(zset.clone(), 0),
        };
        let held = match entry.value() {
            ValueRef::Object(object) if object.bytes() > HELD_BYTES_MIN => Some(object.clone()),
            _ => None,
        };
        let (deadline, ready) = (entry.expiry(), VecDeque::new());
        Self { key: entry.key().into(), deadline, left, held, ready }
    }

    /// Bytes that it alone holds: nodes of a large value are the key's too.
    pub fn held_bytes(&self) -> usize {
        self.key.len() + if let Left::Text(text) = &self.left { text.len() } else { 0 }
    }

    /// All was said: the value, if it is large, to be freed in steps.
    pub fn into_held(self) -> Option<Object> {
        self.held
    }

    /// The next request, in their order.
    pub fn next(&mut self, hasher: &HashKey) -> Option<Statement> {
        if let Some(statement) = self.ready.pop_front() {
            return Some(statement);
        }
        match std::mem::replace(&mut self.left, Left::Nothing) {
            Left::Text(text) => Some(self.set(&text)),
            Left::Rope(rope) => {
                let mut statement = self.set(b"");
                statement.longs.push(2, rope);
                Some(statement)
            }
            Left::Fields(hash, cursor) => {
                self.fields(hash, cursor, hasher);
                self.next(hasher)
            }
            Left::Elements(list, from) => Some(self.elements(list, from)),
            Left::Members(set, cursor) => Some(self.members(set, cursor, hasher)),
            Left::Ranks(zset, rank) => Some(self.ranks(zset, rank)),
            Left::Deadline => self.deadline.map(|at| {
                let mut digits = [0; I64_TEXT_MAX];
                let words = [b"PEXPIREAT", &*self.key, format_u64(at.0, &mut digits)];
                Statement { request: words.into_iter().collect(), longs: Incoming::default() }
            }),
            Left::Nothing => None,
        }
    }

    fn set(&self, text: &[u8]) -> Statement {
        let mut request: Request = [b"SET", &*self.key, text].into_iter().collect();
        if let Some(at) = self.deadline {
            request.push(b"PXAT");
            request.push(format_u64(at.0, &mut [0; I64_TEXT_MAX]));
        }
        Statement { request, longs: Incoming::default() }
    }

    /// Makes the next piece of a hash ready: a request for each deadline in it, and one for the fields without.
    fn fields(&mut self, hash: Hash, cursor: u64, hasher: &HashKey) {
        let mut by_deadline: BTreeMap<Option<Millis>, (Statement, usize)> = BTreeMap::new();
        let next = hash.scan(cursor, limits::FIELDS_PER_STATEMENT, Stop::AtLeaf, Millis::default(), hasher, |pair| {
            let (pairs, count) = by_deadline.entry(pair.deadline).or_default();
            pairs.say(pair.first);
            pairs.say(pair.second);
            *count += 1;
        });
        for (deadline, (pairs, count)) in by_deadline {
            let (mut at_digits, mut count_digits) = ([0; I64_TEXT_MAX], [0; I64_TEXT_MAX]);
            let head: &[&[u8]] = match deadline {
                None => &[b"HSET", &self.key],
                Some(at) => &[
                    b"HSETEX",
                    &self.key,
                    b"PXAT",
                    format_u64(at.0, &mut at_digits),
                    b"FIELDS",
                    format_u64(count as u64, &mut count_digits),
                ],
            };
            self.ready.push_back(pairs.behind(head));
        }
        self.left = if next == 0 { Left::Deadline } else { Left::Fields(hash, next) };
    }

    fn elements(&mut self, list: List, from: usize) -> Statement {
        let mut statement = Statement::of(&[b"RPUSH", &self.key]);
        let end = list.len().min(from + limits::FIELDS_PER_STATEMENT);
        list.visit(from..end, |element| statement.say(element));
        self.left = if end == list.len() { Left::Deadline } else { Left::Elements(list, end) };
        statement
    }

    fn members(&mut self, set: Set, cursor: u64, hasher: &HashKey) -> Statement {
        let mut statement = Statement::of(&[b"SADD", &self.key]);
        let next = set.walk(cursor, limits::FIELDS_PER_STATEMENT, Stop::AtLeaf, hasher, |member| statement.say(member));
        self.left = if next == 0 { Left::Deadline } else { Left::Members(set, next) };
        statement
    }

    fn ranks(&mut self, zset: Zset, from: usize) -> Statement {
        let mut statement = Statement::of(&[b"ZADD", &self.key]);
        let next = zset.len().min(from + limits::FIELDS_PER_STATEMENT);
        zset.range(from..next, Way::Up, |member, score| {
            statement.request.push(double::write(score.value(), &mut [0; double::TEXT_MAX]));
            statement.say(member);
        });
        self.left = if next == zset.len() { Left::Deadline } else { Left::Ranks(zset, next) };
        statement
    }
}

impl Statement {
    /// Begins with these words.
    pub fn of(words: &[&[u8]]) -> Self {
        Self { request: words.iter().copied().collect(), longs: Incoming::default() }
    }

    /// One word more.
    pub fn say(&mut self, value: Value<'_>) {
        match value {
            Value::Short(cell) => self.request.push(cell.text(&mut [0; I64_TEXT_MAX])),
            Value::Long(rope) => {
                self.longs.push(self.request.args().len(), rope.clone());
                self.request.push(b"");
            }
        }
    }

    /// The same words behind others.
    fn behind(self, head: &[&[u8]]) -> Self {
        let mut request: Request = head.iter().copied().collect();
        self.request.args().iter().for_each(|word| request.push(word));
        let mut longs = Incoming::default();
        for (word, rope) in self.longs.words().collect::<Vec<_>>().into_iter().zip(self.longs.into_ropes()) {
            longs.push(head.len() + word, rope);
        }
        Self { request, longs }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::hash::HashKey;
    use crate::store::entry::{Entry, Fields, Kind};
    use crate::types::hash::{Limits, Until};

    fn hasher() -> HashKey {
        HashKey::new([1, 2])
    }

    fn said(entry: &Entry) -> Vec<Statement> {
        let mut restatement = Restatement::of(entry.view());
        std::iter::from_fn(|| restatement.next(&hasher())).collect()
    }

    /// With its shared words in their places.
    fn flat(statement: &Statement) -> Request {
        statement.longs.put_into(statement.request.args())
    }

    fn text(statement: &Statement) -> String {
        let words: Vec<String> = flat(statement).args().iter().map(|word| word.escape_ascii().to_string()).collect();
        words.join(" ")
    }

    #[test]
    fn a_string_is_one_request_and_a_long_one_is_shared() {
        let fields = Fields { expiry: Some(Millis(99)), ..Fields::default() };
        let short = Entry::new(b"k", crate::store::entry::Value::Embedded(b"v"), fields);
        assert_eq!(said(&short).iter().map(text).collect::<Vec<_>>(), ["SET k v PXAT 99"]);
        let rope = Rope::from(&vec![b'x'; 1 << 20][..]);
        let object = Box::new(Object::Rope(rope));
        let long = Entry::new(b"k", crate::store::entry::Value::Object(Kind::String, object), Fields::default());
        let statements = said(&long);
        assert_eq!(statements.len(), 1);
        assert!(statements[0].request.args().extent() < 10, "its bytes are not in the request");
        assert!(flat(&statements[0]).args().at(2) == [b'x'; 1 << 20]);
    }

    #[test]
    fn a_hash_comes_in_bounded_pieces_with_every_field_once() {
        let (mut hash, mut graves) = (Hash::default(), Vec::new());
        let long = vec![b'y'; 100_000];
        for i in 0..10_000u64 {
            let value: &[u8] = if i % 1000 == 0 { &long } else { b"v" };
            let until = if i % 7 == 0 { Until::At(Millis(1000 + i % 3)) } else { Until::Forever };
            hash.set(format!("field:{i}").as_bytes(), value, until, Limits::default(), &hasher(), &mut graves);
        }
        let fields = Fields { expiry: Some(Millis(7)), ..Fields::default() };
        let object = Box::new(Object::Hash(hash));
        let entry = Entry::new(b"h", crate::store::entry::Value::Object(Kind::Hash, object), fields);
        let mut statements = said(&entry);
        assert_eq!(statements.pop().as_ref().map(text).as_deref(), Some("PEXPIREAT h 7"));
        let mut seen = BTreeMap::new();
        for statement in &statements {
            assert!(statement.request.args().extent() < 64 << 10);
            let flat = flat(statement);
            let args = flat.args();
            assert_eq!((args.at(1), args.len() % 2), (&b"h"[..], 0));
            let (deadline, from) = match args.at(0) {
                b"HSET" => (b"none".to_vec(), 2),
                _ => {
                    let count = ((args.len() - 6) / 2).to_string();
                    assert_eq!(
                        [args.at(0), args.at(2), args.at(4), args.at(5)],
                        [&b"HSETEX"[..], b"PXAT", b"FIELDS", count.as_bytes()]
                    );
                    (args.at(3).to_vec(), 6)
                }
            };
            for i in (from..args.len()).step_by(2) {
                let said = (args.at(i + 1).len(), deadline.clone());
                assert!(seen.insert(args.at(i).to_vec(), said).is_none(), "said twice");
            }
        }
        assert_eq!(seen.len(), 10_000);
        let said = |i: u64| &seen[format!("field:{i}").as_bytes()];
        assert_eq!(said(3000), &(100_000, b"none".to_vec()));
        assert_eq!(said(7000), &(100_000, b"1001".to_vec()));
        assert_eq!(said(3003), &(1, b"1000".to_vec()));
        assert!(statements.len() > 50, "{} requests", statements.len());
    }
}
