//! Hashes: fields and values, packed while small (in insertion order, as Redis), a trie of packed leaves when large.
//!
//! ```text
//!  Hash::Packed   Packed<2>       OBJECT ENCODING listpack    up to hash-max-listpack-entries fields
//!                                                             of up to hash-max-listpack-value bytes
//!  Hash::Trie     Box<Trie<2>>    OBJECT ENCODING hashtable   for good once it is one, as in Redis
//! ```
//!
//! The keyed hash of a field is computed only where it is needed: a packed hash never does.
//! Absent: arithmetic (the caller parses, adds and sets), random choice (the caller draws an index for `nth`), and the expiry of
//! fields, for which the record format has a tag in reserve.

use super::Progress;
use super::packed::{Form, Packed};
use super::rope::Rope;
use super::trie::{INLINE_MAX, Pair, Stop, Trie, Value, Written};
use crate::base::hash::HashKey;

#[derive(Clone, Debug)]
pub enum Hash {
    Packed(Packed<2>),
    Trie(Box<Trie<2>>),
}

/// How large a packed hash may grow.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// `hash-max-listpack-entries`
    pub entries: usize,
    /// `hash-max-listpack-value`
    pub value_bytes: usize,
}

impl Default for Limits {
    /// Redis's defaults.
    fn default() -> Self {
        Self { entries: 128, value_bytes: 64 }
    }
}

impl Default for Hash {
    fn default() -> Self {
        Self::Packed(Packed::new())
    }
}

impl Hash {
    /// As OBJECT ENCODING reports it.
    pub fn encoding(&self) -> &'static str {
        match self {
            Self::Packed(_) => "listpack",
            Self::Trie(_) => "hashtable",
        }
    }

    pub fn len(&self) -> usize {
        match self {
            Self::Packed(packed) => packed.len(),
            Self::Trie(trie) => trie.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    #[inline]
    pub fn find(&self, field: &[u8], hasher: &HashKey) -> Option<Value<'_>> {
        match self {
            Self::Packed(packed) => packed.find(&Form::of(field)).map(|(_, row)| Value::Short(row.second)),
            Self::Trie(trie) => trie.find(field, hasher).map(|pair| pair.second),
        }
    }

    pub fn contains(&self, field: &[u8], hasher: &HashKey) -> bool {
        self.find(field, hasher).is_some()
    }

    /// Adds or replaces a field:
    /// 1. becomes a trie if the packed form would exceed `limits` (or its own bound in bytes);
    /// 2. puts a displaced long value into `graves`, for the caller to free in steps.
    pub fn set(
        &mut self,
        field: &[u8],
        value: &[u8],
        limits: Limits,
        hasher: &HashKey,
        graves: &mut Vec<Rope>,
    ) -> Written {
        if let Self::Packed(packed) = self {
            if let Some(written) = set_packed(packed, field, value, limits) {
                return written;
            }
            *self = Self::Trie(Box::new(unpack(packed, hasher)));
        }
        let Self::Trie(trie) = self else { unreachable!("a packed hash was unpacked above") };
        trie.set(field, value, hasher, graves)
    }

    /// Whether there was such a field. A long value goes into `graves`.
    pub fn remove(&mut self, field: &[u8], hasher: &HashKey, graves: &mut Vec<Rope>) -> bool {
        match self {
            Self::Trie(trie) => trie.remove(field, hasher, graves),
            Self::Packed(packed) => packed.remove_first(&Form::of(field)),
        }
    }

    /// The field at `index`: in insertion order while packed, in hash order afterwards.
    pub fn nth(&self, index: usize) -> Option<Pair<'_>> {
        match self {
            Self::Packed(packed) => packed.iter().nth(index).map(|(_, row)| Pair::short(row)),
            Self::Trie(trie) => trie.nth(index),
        }
    }

    pub fn for_each<'s>(&'s self, mut visit: impl FnMut(Pair<'s>)) {
        match self {
            Self::Packed(packed) => packed.iter().for_each(|(_, row)| visit(Pair::short(row))),
            Self::Trie(trie) => trie.for_each(visit),
        }
    }

    /// Visits about `count` fields from `cursor` on (0: the beginning) and returns the cursor to go on with (0: the end). A field
    /// that is there from the first call to the last is visited; a packed hash comes whole in one call, as in Redis.
    pub fn scan(
        &self,
        cursor: u64,
        count: usize,
        stop: Stop,
        hasher: &HashKey,
        mut visit: impl FnMut(Pair<'_>),
    ) -> u64 {
        match self {
            Self::Trie(trie) => trie.scan(cursor, count, stop, hasher, visit),
            Self::Packed(packed) => {
                packed.iter().for_each(|(_, row)| visit(Pair::short(row)));
                0
            }
        }
    }

    pub fn bytes(&self) -> usize {
        match self {
            Self::Packed(packed) => packed.bytes(),
            Self::Trie(trie) => size_of::<Trie<2>>() + trie.bytes(),
        }
    }

    pub fn recount_bytes(&self) -> usize {
        match self {
            Self::Packed(packed) => packed.bytes(),
            Self::Trie(trie) => size_of::<Trie<2>>() + trie.recount_bytes(),
        }
    }

    /// Gives back at most `budget` nodes.
    pub fn free_step(&mut self, budget: &mut usize) -> Progress {
        let freed = match self {
            Self::Trie(trie) => trie.free_step(budget),
            Self::Packed(_) if *budget == 0 => Progress::More,
            Self::Packed(_) => {
                *budget -= 1;
                Progress::Done
            }
        };
        if freed == Progress::More {
            return Progress::More;
        }
        *self = Self::default();
        Progress::Done
    }
}

/// `None`, and nothing changed, if the hash must become a trie first.
fn set_packed(packed: &mut Packed<2>, field: &[u8], value: &[u8], limits: Limits) -> Option<Written> {
    // Beyond INLINE_MAX an element deserves a node of its own, whatever is configured.
    if field.len().max(value.len()) > limits.value_bytes.min(INLINE_MAX) {
        return None;
    }
    let (first, second) = (Form::of(field), Form::of(value));
    if !packed.has_room(&first, &second) {
        return None;
    }
    match packed.find(&first) {
        Some((place, _)) => {
            packed.replace(place, &first, &second);
            Some(Written::Updated)
        }
        None if packed.len() < limits.entries => {
            packed.push(&first, &second);
            Some(Written::Added)
        }
        None => None,
    }
}

fn unpack(packed: &Packed<2>, hasher: &HashKey) -> Trie<2> {
    let (mut trie, mut graves) = (Trie::default(), Vec::new());
    for (_, row) in packed.iter() {
        let (mut a, mut b) = ([0; 20], [0; 20]);
        trie.set(row.first.text(&mut a), row.second.text(&mut b), hasher, &mut graves);
    }
    assert!(graves.is_empty(), "a packed hash has no long elements");
    trie
}

#[cfg(test)]
mod tests {
    use super::super::packed::tests::element;
    use super::*;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};

    type Model = BTreeMap<Vec<u8>, Vec<u8>>;

    fn hasher() -> HashKey {
        HashKey::new([3, 5])
    }

    fn owned(value: Value<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        value.read_into(&mut out);
        assert_eq!(out.len(), value.len());
        out
    }

    fn contents(hash: &Hash) -> Model {
        let mut all = Model::new();
        hash.for_each(|pair| assert!(all.insert(owned(pair.first), owned(pair.second)).is_none(), "each field once"));
        assert_eq!(all.len(), hash.len());
        all
    }

    fn check(hash: &Hash, model: &Model) {
        assert_eq!(&contents(hash), model);
        assert_eq!(hash.bytes(), hash.recount_bytes());
    }

    #[derive(Clone, Debug)]
    enum Op {
        Set(Vec<u8>, Vec<u8>),
        Fill(u16, Vec<u8>),
        Remove(usize),
        Clear(u16),
        Hold,
        FreeHeld(usize),
    }

    fn ops() -> impl Strategy<Value = Vec<Op>> {
        let long = prop_oneof![Just(512usize), Just(513), Just(40_000), 0..3000usize].prop_map(|n| vec![b'l'; n]);
        let text = prop_oneof![6 => element(), 1 => long];
        let op = prop_oneof![
            6 => (text.clone(), text.clone()).prop_map(|(f, v)| Op::Set(f, v)),
            2 => (1..400u16, text).prop_map(|(n, v)| Op::Fill(n, v)),
            4 => any::<usize>().prop_map(Op::Remove),
            1 => (0..400u16).prop_map(Op::Clear),
            1 => Just(Op::Hold),
            1 => (1..20usize).prop_map(Op::FreeHeld),
        ];
        proptest::collection::vec(op, 1..60)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(96))]
        #[test]
        fn a_hash_is_a_map_and_its_clones_stand_still(ops in ops()) {
            let (mut hash, mut model, key) = (Hash::default(), Model::new(), hasher());
            let mut held: Vec<(Hash, Model)> = Vec::new();
            let (limits, mut graves) = (Limits::default(), Vec::new());
            for op in ops {
                match op {
                    Op::Set(field, value) => {
                        let written = hash.set(&field, &value, limits, &key, &mut graves);
                        let fresh = model.insert(field, value).is_none();
                        prop_assert_eq!(written == Written::Added, fresh);
                    }
                    Op::Fill(n, value) => for i in 0..n {
                        let field = format!("field:{i}").into_bytes();
                        hash.set(&field, &value, limits, &key, &mut graves);
                        model.insert(field, value.clone());
                    },
                    Op::Remove(at) => {
                        let field = model.keys().nth(at % model.len().max(1)).cloned().unwrap_or_default();
                        prop_assert_eq!(hash.remove(&field, &key, &mut graves), model.remove(&field).is_some());
                        prop_assert!(!hash.contains(&field, &key));
                    }
                    Op::Clear(n) => for i in 0..n {
                        let field = format!("field:{i}").into_bytes();
                        prop_assert_eq!(hash.remove(&field, &key, &mut graves), model.remove(&field).is_some());
                    },
                    Op::Hold => held.push((hash.clone(), model.clone())),
                    Op::FreeHeld(mut budget) => if let Some((mut old, _)) = held.pop() {
                        old.free_step(&mut budget);
                    },
                }
                check(&hash, &model);
                for (field, value) in model.iter().take(20) {
                    prop_assert_eq!(hash.find(field, &key).map(owned), Some(value.clone()));
                }
            }
            let packed_allowed = model.len() <= 128 && model.iter().all(|(f, v)| f.len().max(v.len()) <= 64);
            prop_assert!(hash.encoding() == "hashtable" || packed_allowed);
            held.iter().for_each(|(hash, model)| check(hash, model));
        }

        /// What stays from the first call to the last is returned, and in a trie once, while other fields come and go.
        #[test]
        fn a_scan_returns_what_stays(start in 0..3000usize, churn in 1..200usize, count in 1..50usize, growing in any::<bool>()) {
            let (mut hash, key, limits) = (Hash::default(), hasher(), Limits::default());
            let mut graves = Vec::new();
            for i in 0..start {
                hash.set(format!("stay:{i}").as_bytes(), b"v", limits, &key, &mut graves);
                hash.set(format!("go:{i}").as_bytes(), b"v", limits, &key, &mut graves);
            }
            let was_packed = hash.encoding() == "listpack";
            let (mut seen, mut cursor, mut next) = (BTreeMap::new(), 0, 0);
            loop {
                let stop = if next % 3 == 0 { Stop::AtLeaf } else { Stop::AtCount };
                let mut visited = 0;
                cursor = hash.scan(cursor, count, stop, &key, |pair| {
                    visited += 1;
                    *seen.entry(owned(pair.first)).or_insert(0) += 1;
                });
                prop_assert!(cursor < 1 << 53);
                prop_assert!(was_packed || stop == Stop::AtLeaf || visited <= count, "{} of {}", visited, count);
                if cursor == 0 { break; }
                for _ in 0..churn {
                    let name = if growing { format!("new:{next}") } else { format!("go:{next}") };
                    if growing && next < 20_000 {
                        hash.set(name.as_bytes(), b"v", limits, &key, &mut graves);
                    } else {
                        hash.remove(name.as_bytes(), &key, &mut graves);
                    }
                    next += 1;
                }
            }
            for i in 0..start {
                prop_assert_eq!(seen.get(format!("stay:{i}").as_bytes()), Some(&1));
            }
        }
    }

    #[test]
    fn a_packed_hash_keeps_insertion_order_and_leaves_at_redis_thresholds() {
        let (mut hash, key, mut graves) = (Hash::default(), hasher(), Vec::new());
        let mut order = Vec::new();
        for i in (0..128).rev() {
            hash.set(format!("f{i}").as_bytes(), &[b'v'; 64], Limits::default(), &key, &mut graves);
            order.push(format!("f{i}").into_bytes());
        }
        let mut fields = Vec::new();
        hash.for_each(|pair| fields.push(owned(pair.first)));
        assert_eq!((fields, hash.encoding()), (order, "listpack"));
        assert_eq!(owned(hash.nth(0).expect("the first").first), b"f127");
        hash.set(b"f5", b"again", Limits::default(), &key, &mut graves);
        assert_eq!(hash.encoding(), "listpack");
        let mut other = hash.clone();
        hash.set(b"one more", b"v", Limits::default(), &key, &mut graves);
        assert_eq!((hash.encoding(), hash.len()), ("hashtable", 129));
        other.set(b"f5", &[b'v'; 65], Limits::default(), &key, &mut graves);
        assert_eq!((other.encoding(), other.len()), ("hashtable", 128));
        let names = |hash: &Hash| contents(hash).into_keys().collect::<BTreeSet<_>>();
        assert!(names(&other).is_subset(&names(&hash)));
    }

    #[test]
    fn displaced_long_values_come_out_to_be_freed_in_steps() {
        let (mut hash, key, mut graves) = (Hash::default(), hasher(), Vec::new());
        let long = vec![b'x'; 1 << 20];
        hash.set(b"f", &long, Limits::default(), &key, &mut graves);
        assert!(graves.is_empty());
        hash.set(b"f", b"short", Limits::default(), &key, &mut graves);
        assert_eq!(graves.len(), 1);
        hash.set(b"f", &long, Limits::default(), &key, &mut graves);
        hash.remove(b"f", &key, &mut graves);
        assert_eq!(graves.iter().map(Rope::len).collect::<Vec<_>>(), [1 << 20, 1 << 20]);
        assert_eq!(hash.bytes(), hash.recount_bytes());
    }
}
