//! Hashes against maps: of values, and of values with deadlines.

use super::*;
use crate::types::packed::tests::element;
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
                    let written = hash.set(&field, &value, Until::Forever, limits, &key, &mut graves);
                    let fresh = model.insert(field, value).is_none();
                    prop_assert_eq!(written == Written::Added, fresh);
                }
                Op::Fill(n, value) => for i in 0..n {
                    let field = format!("field:{i}").into_bytes();
                    hash.set(&field, &value, Until::Forever, limits, &key, &mut graves);
                    model.insert(field, value.clone());
                },
                Op::Remove(at) => {
                    let field = model.keys().nth(at % model.len().max(1)).cloned().unwrap_or_default();
                    prop_assert_eq!(hash.remove(&field, &key, &mut graves), model.remove(&field).is_some());
                    prop_assert!(!hash.contains(&field, &key, Millis(0)));
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
                prop_assert_eq!(hash.find(field, &key, Millis(0)).map(owned), Some(value.clone()));
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
            hash.set(format!("stay:{i}").as_bytes(), b"v", Until::Forever, limits, &key, &mut graves);
            hash.set(format!("go:{i}").as_bytes(), b"v", Until::Forever, limits, &key, &mut graves);
        }
        let was_packed = hash.encoding() == "listpack";
        let (mut seen, mut cursor, mut next) = (BTreeMap::new(), 0, 0);
        loop {
            let stop = if next % 3 == 0 { Stop::AtLeaf } else { Stop::AtCount };
            let mut visited = 0;
            cursor = hash.scan(cursor, count, stop, Millis(0), &key, |pair| {
                visited += 1;
                *seen.entry(owned(pair.first)).or_insert(0) += 1;
            });
            prop_assert!(cursor < 1 << 53);
            prop_assert!(was_packed || stop == Stop::AtLeaf || visited <= count, "{} of {}", visited, count);
            if cursor == 0 { break; }
            for _ in 0..churn {
                let name = if growing { format!("new:{next}") } else { format!("go:{next}") };
                if growing && next < 20_000 {
                    hash.set(name.as_bytes(), b"v", Until::Forever, limits, &key, &mut graves);
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
        hash.set(format!("f{i}").as_bytes(), &[b'v'; 64], Until::Forever, Limits::default(), &key, &mut graves);
        order.push(format!("f{i}").into_bytes());
    }
    let mut fields = Vec::new();
    hash.for_each(|pair| fields.push(owned(pair.first)));
    assert_eq!((fields, hash.encoding()), (order, "listpack"));
    assert_eq!(owned(hash.nth(0).expect("the first").first), b"f127");
    hash.set(b"f5", b"again", Until::Forever, Limits::default(), &key, &mut graves);
    assert_eq!(hash.encoding(), "listpack");
    let mut other = hash.clone();
    hash.set(b"one more", b"v", Until::Forever, Limits::default(), &key, &mut graves);
    assert_eq!((hash.encoding(), hash.len()), ("hashtable", 129));
    other.set(b"f5", &[b'v'; 65], Until::Forever, Limits::default(), &key, &mut graves);
    assert_eq!((other.encoding(), other.len()), ("hashtable", 128));
    let names = |hash: &Hash| contents(hash).into_keys().collect::<BTreeSet<_>>();
    assert!(names(&other).is_subset(&names(&hash)));
}

#[test]
fn displaced_long_values_come_out_to_be_freed_in_steps() {
    let (mut hash, key, mut graves) = (Hash::default(), hasher(), Vec::new());
    let long = vec![b'x'; 1 << 20];
    hash.set(b"f", &long, Until::Forever, Limits::default(), &key, &mut graves);
    assert!(graves.is_empty());
    hash.set(b"f", b"short", Until::Forever, Limits::default(), &key, &mut graves);
    assert_eq!(graves.len(), 1);
    hash.set(b"f", &long, Until::Forever, Limits::default(), &key, &mut graves);
    hash.remove(b"f", &key, &mut graves);
    assert_eq!(graves.iter().map(Rope::len).collect::<Vec<_>>(), [1 << 20, 1 << 20]);
    assert_eq!(hash.bytes(), hash.recount_bytes());
}

/// What is there, due or not, with its deadline.
type Raw = BTreeMap<Vec<u8>, (Vec<u8>, Option<Millis>)>;

#[derive(Clone, Debug)]
enum Timed {
    Set(Vec<u8>, Vec<u8>, Until),
    Fill(u16, Until),
    Restamp(usize, Option<Millis>),
    Remove(usize),
    Pass(u64),
    Expire(usize),
    Settle(usize),
    Hold,
    FreeHeld(usize),
}

fn timed_ops() -> impl Strategy<Value = Vec<Timed>> {
    let until = prop_oneof![
        2 => Just(Until::Forever),
        2 => Just(Until::AsBefore),
        4 => (1..400u64).prop_map(|at| Until::At(Millis(at))),
    ];
    let deadline = prop::option::weighted(0.7, (1..400u64).prop_map(Millis));
    let text = prop_oneof![8 => element(), 1 => Just(vec![b'l'; 40_000])];
    let op = prop_oneof![
        6 => (text.clone(), text, until.clone()).prop_map(|(f, v, u)| Timed::Set(f, v, u)),
        2 => (1..500u16, until).prop_map(|(n, until)| Timed::Fill(n, until)),
        5 => (any::<usize>(), deadline).prop_map(|(at, deadline)| Timed::Restamp(at, deadline)),
        2 => any::<usize>().prop_map(Timed::Remove),
        3 => (1..120u64).prop_map(Timed::Pass),
        3 => (1..300usize).prop_map(Timed::Expire),
        2 => any::<usize>().prop_map(Timed::Settle),
        1 => Just(Timed::Hold),
        1 => (1..20usize).prop_map(Timed::FreeHeld),
    ];
    proptest::collection::vec(op, 1..60)
}

fn raw_contents(hash: &Hash) -> Raw {
    let mut all = Raw::new();
    hash.for_each(|pair| drop(all.insert(owned(pair.first), (owned(pair.second), pair.deadline))));
    assert_eq!(all.len(), hash.len());
    all
}

fn check_times(hash: &Hash, raw: &Raw, now: Millis) {
    assert_eq!(&raw_contents(hash), raw);
    assert_eq!(hash.bytes(), hash.recount_bytes());
    let deadlines = || raw.values().filter_map(|(_, deadline)| *deadline);
    let is_due = |deadline: &Option<Millis>| deadline.is_some_and(|at| at <= now);
    let all_timed = !raw.is_empty() && deadlines().count() == raw.len();
    assert_eq!(hash.times().next(), deadlines().min());
    assert_eq!(hash.times().last(), deadlines().max().filter(|_| all_timed));
    assert_eq!(hash.next_after(now), deadlines().filter(|at| *at > now).min());
    let living: BTreeSet<Vec<u8>> =
        raw.iter().filter(|(_, (_, deadline))| !is_due(deadline)).map(|(field, _)| field.clone()).collect();
    assert_eq!(hash.living(now), living.len());
    let (mut seen, mut cursor) = (BTreeSet::new(), 0);
    loop {
        cursor = hash.scan(cursor, 50, Stop::AtCount, now, &hasher(), |pair| {
            assert!(seen.insert(owned(pair.first)), "each field once");
        });
        if cursor == 0 {
            break;
        }
    }
    assert_eq!(seen, living);
    for (field, (value, deadline)) in raw.iter().take(20) {
        let found = hash.pair(field, &hasher(), now).map(|pair| (owned(pair.second), pair.deadline));
        assert_eq!(found, (!is_due(deadline)).then(|| (value.clone(), *deadline)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    /// Against a map of values and deadlines; clones stand still with theirs.
    #[test]
    fn fields_die_in_their_time_and_not_before(ops in timed_ops()) {
        let (mut hash, mut raw, key) = (Hash::default(), Raw::new(), hasher());
        let (mut now, mut held) = (Millis(0), Vec::<(Hash, Raw)>::new());
        let (limits, mut graves) = (Limits::default(), Vec::new());
        let any_field = |raw: &Raw, at: usize| raw.keys().nth(at % raw.len().max(1)).cloned().unwrap_or_default();
        for op in ops {
            let mut set = |hash: &mut Hash, raw: &mut Raw, field: Vec<u8>, value: Vec<u8>, until| {
                hash.set(&field, &value, until, limits, &key, &mut graves);
                let deadline = match until {
                    Until::Forever => None,
                    Until::AsBefore => raw.get(&field).and_then(|(_, deadline)| *deadline),
                    Until::At(at) => Some(at),
                };
                raw.insert(field, (value, deadline));
            };
            match op {
                Timed::Set(field, value, until) => set(&mut hash, &mut raw, field, value, until),
                Timed::Fill(n, until) => for i in 0..n {
                    let until = match until {
                        Until::At(at) if i % 3 == 0 => Until::At(Millis(at.0 + u64::from(i % 60))),
                        until => until,
                    };
                    set(&mut hash, &mut raw, format!("field:{i}").into_bytes(), b"value".to_vec(), until);
                },
                Timed::Restamp(at, deadline) => {
                    let field = any_field(&raw, at);
                    let there = raw.get_mut(&field).map(|(_, old)| *old = deadline).is_some();
                    prop_assert_eq!(hash.restamp(&field, deadline, &key), there);
                }
                Timed::Remove(at) => {
                    let field = any_field(&raw, at);
                    prop_assert_eq!(hash.remove(&field, &key, &mut graves), raw.remove(&field).is_some());
                }
                Timed::Pass(ms) => now = now.saturating_add(ms),
                Timed::Expire(count) => {
                    let mut told = Vec::new();
                    let gone = hash.expire(now, count, &key, &mut graves, |pair| {
                        told.push((owned(pair.first), pair.deadline));
                    });
                    prop_assert_eq!(told.len(), gone);
                    prop_assert!(gone >= count || !hash.times().some_due(now));
                    for (field, deadline) in told {
                        prop_assert!(deadline.is_some_and(|at| at <= now));
                        prop_assert_eq!(raw.remove(&field).map(|(_, deadline)| deadline), Some(deadline));
                    }
                }
                Timed::Settle(at) => {
                    let field = any_field(&raw, at);
                    hash.settle([&*field, b"nothing"].into_iter(), now, &key, &mut graves, |pair| {
                        assert!(pair.is_due(now));
                        raw.remove(&owned(pair.first));
                    });
                    prop_assert!(raw.get(&field).is_none_or(|(_, deadline)| deadline.is_none_or(|at| at > now)));
                }
                Timed::Hold => held.push((hash.clone(), raw.clone())),
                Timed::FreeHeld(mut budget) => if let Some((mut old, _)) = held.pop() {
                    old.free_step(&mut budget);
                },
            }
            check_times(&hash, &raw, now);
        }
        held.iter().for_each(|(hash, raw)| check_times(hash, raw, now));
    }
}

#[test]
fn deadlines_cost_only_the_hashes_that_have_them() {
    let (mut hash, key, mut graves) = (Hash::default(), hasher(), Vec::new());
    for i in 0..10 {
        let (field, value) = (format!("field-{i:02}"), format!("value-{i:010}"));
        hash.set(field.as_bytes(), value.as_bytes(), Until::Forever, Limits::default(), &key, &mut graves);
    }
    let plain = hash.bytes();
    assert_eq!((hash.encoding(), plain), ("listpack", 256));
    let mut timed = hash.clone();
    timed.restamp(b"field-03", Some(Millis(5)), &key);
    assert_eq!((timed.encoding(), timed.times().next(), timed.times().last()), ("listpackex", Some(Millis(5)), None));
    timed.restamp(b"field-03", None, &key);
    assert_eq!((timed.encoding(), timed.times()), ("listpackex", Times::UNTIMED));
    for i in 10..200_000 {
        hash.set(format!("field:{i}").as_bytes(), b"value", Until::Forever, Limits::default(), &key, &mut graves);
    }
    let before = hash.bytes();
    hash.restamp(b"field:100", Some(Millis(5)), &key);
    assert!(hash.bytes() - before < 5000, "the times of one path: {}", hash.bytes() - before);
    assert_eq!(hash.expire(Millis(5), 10, &key, &mut graves, |_| {}), 1);
    assert_eq!((hash.times(), hash.len()), (Times::UNTIMED, 199_999));
    assert_eq!(hash.bytes(), hash.recount_bytes());
}
