//! A set against a model, its borders against Redis's, its picks against chance.

use super::super::packed::tests::element;
use super::*;
use crate::base::rng::Rng;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

type Model = BTreeSet<Vec<u8>>;

fn hasher() -> HashKey {
    HashKey::new([3, 5])
}

fn owned(member: Value<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    member.read_into(&mut out);
    assert_eq!(TextRoom::default().text(member), out);
    out
}

fn contents(set: &Set) -> Model {
    let mut all = Model::new();
    set.for_each(|member| assert!(all.insert(owned(member)), "each member once"));
    assert_eq!(all.len(), set.len());
    all
}

fn walked(set: &Set, count: usize) -> Model {
    let (mut all, mut cursor) = (Model::new(), 0);
    loop {
        let before = all.len();
        cursor = set.walk(cursor, count, Stop::AtLeaf, &hasher(), |member| {
            assert!(all.insert(owned(member)), "each member once")
        });
        assert!(set.encoding() == "hashtable" || all.len() - before <= count);
        if cursor == 0 {
            return all;
        }
    }
}

fn check(set: &Set, model: &Model) {
    assert_eq!(&contents(set), model);
    assert_eq!(set.bytes(), set.recount_bytes());
}

#[derive(Clone, Debug)]
enum Op {
    Add(Vec<u8>),
    Fill(u16),
    Remove(usize),
    Take(usize),
    Clear(u16),
    Expect(usize),
    Hold,
    FreeHeld(usize),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let long = prop_oneof![Just(512usize), Just(513), Just(40_000), 0..3000usize].prop_map(|n| vec![b'l'; n]);
    let integer = any::<i16>().prop_map(|n| n.to_string().into_bytes());
    let text = prop_oneof![6 => element(), 6 => integer, 1 => long];
    let op = prop_oneof![
        8 => text.prop_map(Op::Add),
        2 => (1..700u16).prop_map(Op::Fill),
        3 => any::<usize>().prop_map(Op::Remove),
        3 => any::<usize>().prop_map(Op::Take),
        1 => (0..700u16).prop_map(Op::Clear),
        1 => (0..600usize).prop_map(Op::Expect),
        1 => Just(Op::Hold),
        1 => (1..20usize).prop_map(Op::FreeHeld),
    ];
    proptest::collection::vec(op, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn a_set_is_a_set_and_its_clones_stand_still(ops in ops(), small in any::<bool>()) {
        let limits = if small { Limits { ints: 20, entries: 8, value_bytes: 12 } } else { Limits::default() };
        let (mut set, mut model, key, mut graves) = (Set::default(), Model::new(), hasher(), Vec::new());
        let mut held: Vec<(Set, Model)> = Vec::new();
        for op in ops {
            match op {
                Op::Add(member) => {
                    let fresh = set.add(&member, limits, &key);
                    prop_assert_eq!(fresh, model.insert(member));
                }
                Op::Fill(n) => for i in 0..n {
                    let member = i.to_string().into_bytes();
                    prop_assert_eq!(set.add(&member, limits, &key), model.insert(member));
                },
                Op::Remove(at) => {
                    let member = model.iter().nth(at % model.len().max(1)).cloned().unwrap_or_default();
                    prop_assert_eq!(set.remove(&member, &key, &mut graves), model.remove(&member));
                    prop_assert!(!set.contains(&member, &key));
                }
                Op::Take(at) => if !model.is_empty() {
                    let (at, mut taken) = (at % model.len(), Vec::new());
                    let there = set.nth(at).map(owned);
                    set.take_nth(at, &key, &mut graves, |member| taken = owned(member));
                    prop_assert_eq!(there, Some(taken.clone()));
                    prop_assert!(model.remove(&taken));
                },
                Op::Clear(n) => for i in 0..n {
                    let member = i.to_string().into_bytes();
                    prop_assert_eq!(set.remove(&member, &key, &mut graves), model.remove(&member));
                },
                Op::Expect(count) => set.expect(count, limits, &key),
                Op::Hold => held.push((set.clone(), model.clone())),
                Op::FreeHeld(mut budget) => if let Some((mut old, _)) = held.pop() {
                    old.free_step(&mut budget);
                },
            }
            check(&set, &model);
            prop_assert_eq!(set.nth(model.len()).map(owned), None);
            for member in model.iter().take(20) {
                prop_assert!(set.contains(member, &key));
            }
        }
        prop_assert_eq!(&walked(&set, 7), &model);
        let integers = model.iter().all(|member| parse_i64(member).is_some());
        let short = model.iter().all(|member| member.len() <= limits.value_bytes);
        match set {
            Set::Ints(_) => prop_assert!(integers && model.len() <= limits.ints),
            Set::Packed(_) => prop_assert!(short && model.len() <= limits.entries),
            Set::Trie(_) => {}
        }
        held.iter().for_each(|(set, model)| check(set, model));
    }

    /// What stays from the first call to the last is returned, and in a trie once, while other members come and go.
    #[test]
    fn a_scan_returns_what_stays(start in 0..2000usize, churn in 1..200usize, count in 1..50usize, growing in any::<bool>()) {
        let (mut set, key, limits, mut graves) = (Set::default(), hasher(), Limits::default(), Vec::new());
        for i in 0..start {
            set.add(format!("stay:{i}").as_bytes(), limits, &key);
            set.add(format!("go:{i}").as_bytes(), limits, &key);
        }
        let was_small = set.encoding() != "hashtable";
        let (mut seen, mut cursor, mut next) = (BTreeMap::new(), 0, 0);
        loop {
            let stop = if next % 3 == 0 { Stop::AtLeaf } else { Stop::AtCount };
            cursor = set.scan(cursor, count, stop, &key, |member| *seen.entry(owned(member)).or_insert(0) += 1);
            prop_assert!(cursor < 1 << 53);
            if cursor == 0 {
                break;
            }
            for i in next..next + churn {
                // Slower than the scan in the end, which would else never be over.
                if growing && i < 5000 {
                    set.add(format!("new:{i}").as_bytes(), limits, &key);
                } else {
                    set.remove(format!("go:{i}").as_bytes(), &key, &mut graves);
                }
            }
            next += churn;
        }
        for i in 0..start {
            let times = seen.get(format!("stay:{i}").as_bytes()).copied().unwrap_or(0);
            prop_assert!(times == 1 || was_small && times > 0, "stay:{} was seen {} times", i, times);
        }
    }
}

fn set_of(members: impl IntoIterator<Item = String>) -> Set {
    let mut set = Set::default();
    members.into_iter().for_each(|member| assert!(set.add(member.as_bytes(), Limits::default(), &hasher())));
    set
}

/// The same borders as Redis 7.2's.
#[test]
fn forms_change_where_redis_changes_encodings() {
    let numbers = |n: i64| set_of((0..n).map(|i| i.to_string()));
    let names = |n: i64| set_of((0..n).map(|i| format!("m{i}")));
    let with = |mut set: Set, member: &str| {
        set.add(member.as_bytes(), Limits::default(), &hasher());
        set.encoding()
    };
    assert_eq!((numbers(512).encoding(), numbers(513).encoding()), ("intset", "hashtable"));
    assert_eq!((names(128).encoding(), names(129).encoding()), ("listpack", "hashtable"));
    assert_eq!(with(numbers(127), "m"), "listpack");
    assert_eq!(with(numbers(128), "m"), "hashtable", "Redis asks whether fewer than the limit are there");
    assert_eq!(with(names(128), "m0"), "listpack", "nothing is added");
    assert_eq!((with(names(3), &"x".repeat(64)), with(names(3), &"x".repeat(65))), ("listpack", "hashtable"));
    assert_eq!((with(numbers(0), &"x".repeat(65)), with(numbers(0), "007")), ("hashtable", "listpack"));
    let limits = Limits::default();
    let expecting = |first: &str, count| Set::expecting(first.as_bytes(), count, limits).encoding();
    assert_eq!((expecting("1", 512), expecting("1", 513), expecting("x", 1)), ("intset", "hashtable", "listpack"));
    assert_eq!((expecting("x", 128), expecting("x", 129)), ("listpack", "hashtable"));
    let mut shrunk = numbers(513);
    shrunk.remove(b"7", &hasher(), &mut Vec::new());
    assert_eq!(shrunk.encoding(), "hashtable", "for good");
    shrunk.sort_integers(limits);
    assert_eq!((shrunk.encoding(), shrunk.len()), ("intset", 512));
    let mut many = numbers(513);
    many.sort_integers(limits);
    assert_eq!(many.encoding(), "hashtable");
}

#[test]
fn thresholds_beyond_the_bounds_of_the_small_forms_do_not_count() {
    let limits = Limits { ints: usize::MAX, entries: usize::MAX, value_bytes: usize::MAX };
    let (mut numbers, mut names) = (Set::default(), Set::default());
    for i in 0..20_000 {
        numbers.add(i.to_string().as_bytes(), limits, &hasher());
        names.add(format!("m{i}").as_bytes(), limits, &hasher());
    }
    assert_eq!(
        (numbers.encoding(), numbers.len(), names.encoding(), names.len()),
        ("hashtable", 20_000, "hashtable", 20_000)
    );
}

/// Taking at drawn places takes every member as often first, whatever the form.
#[test]
fn every_member_is_equally_likely_to_be_taken() {
    let sets = [set_of((0..40).map(|i| i.to_string())), set_of((0..40).map(|i| format!("m{i}")))];
    let large = {
        let mut large = sets[1].clone();
        large.expect(1000, Limits::default(), &hasher());
        large
    };
    let mut rng = Rng::new(11);
    for set in sets.iter().chain([&large]) {
        const ROUNDS: u32 = 8000;
        let mut seen = BTreeMap::new();
        for _ in 0..ROUNDS {
            let mut set = set.clone();
            for _ in 0..2 {
                let index = rng.place(set.len());
                set.take_nth(index, &hasher(), &mut Vec::new(), |member| *seen.entry(owned(member)).or_insert(0) += 1);
            }
        }
        let wanted = f64::from(2 * ROUNDS) / 40.0;
        let chi: f64 = seen.values().map(|&n| (f64::from(n) - wanted).powi(2) / wanted).sum();
        // 39 degrees of freedom: one in ten thousand exceeds 80.
        assert!(seen.len() == 40 && chi < 80.0, "{}: {chi}", set.encoding());
    }
}

#[test]
fn a_large_set_is_freed_in_steps_and_a_clone_costs_nothing() {
    let mut set = set_of((0..50_000).map(|i| format!("member:{i:09}")));
    let full = set.bytes();
    // Sixteen bytes of member and what it costs to find it.
    assert!(full / 50_000 < 27, "{} bytes a member", full / 50_000);
    let clone = set.clone();
    assert!(matches!((&set, &clone), (Set::Trie(_), Set::Trie(_))) && clone.bytes() == full);
    drop(clone);
    let mut steps = 0;
    loop {
        let mut budget = 10;
        steps += 1;
        if set.free_step(&mut budget) == Progress::Done {
            break;
        }
        assert_eq!(budget, 0);
    }
    assert!(steps > 30 && set.is_empty(), "{steps} steps");
}
