//! Sorted sets against a map and an ordered set, while clones stand still.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::super::packed::tests::element;
use super::*;

/// Scores as a total order: equal zeros are equal.
type Key = (Score, Vec<u8>);

#[derive(Clone, Default)]
struct Model {
    scores: BTreeMap<Vec<u8>, Score>,
    order: BTreeSet<Key>,
}

impl Model {
    fn set(&mut self, member: &[u8], score: Score) -> Option<Score> {
        let before = self.remove(member);
        self.scores.insert(member.to_vec(), score);
        self.order.insert((score, member.to_vec()));
        before
    }

    fn remove(&mut self, member: &[u8]) -> Option<Score> {
        let before = self.scores.remove(member)?;
        self.order.remove(&(before, member.to_vec()));
        Some(before)
    }
}

fn hasher() -> HashKey {
    HashKey::new([3, 5])
}

fn score(value: f64) -> Score {
    Score::new(value).expect("a number")
}

fn bits(score: Score) -> u64 {
    score.value().to_bits()
}

fn owned(value: Value<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    value.read_into(&mut out);
    out
}

fn listed(zset: &Zset, ranks: Range<usize>, way: Way) -> Vec<(u64, Vec<u8>)> {
    let mut all = Vec::new();
    zset.range(ranks, way, |member, score| all.push((bits(score), owned(member))));
    all
}

fn check(zset: &Zset, model: &Model) {
    let expected: Vec<_> = model.order.iter().map(|(score, member)| (bits(*score), member.clone())).collect();
    assert_eq!(listed(zset, 0..zset.len(), Way::Up), expected);
    assert_eq!((zset.len(), zset.is_empty()), (expected.len(), expected.is_empty()));
    assert_eq!(zset.bytes(), zset.recount_bytes());
    if let Zset::Large(large) = zset {
        assert_eq!(large.index.len(), large.order.len());
    }
}

/// What the edges say must be what counting says.
fn check_edges(zset: &Zset, model: &Model, at: Score, member: &[u8]) {
    let one_score = model.order.iter().all(|(score, _)| *score == at);
    let element = (at, member.to_vec());
    let mut edges = vec![
        (Edge::Score(at), model.order.iter().filter(|(s, _)| *s < at).count()),
        (Edge::PastScore(at), model.order.iter().filter(|(s, _)| *s <= at).count()),
        (Edge::Element(at, member), model.order.iter().filter(|e| **e < element).count()),
        (Edge::PastElement(at, member), model.order.iter().filter(|e| **e <= element).count()),
    ];
    if one_score {
        edges.push((Edge::Member(member), model.order.iter().filter(|(_, m)| &m[..] < member).count()));
        edges.push((Edge::PastMember(member), model.order.iter().filter(|(_, m)| &m[..] <= member).count()));
    }
    for (edge, rank) in edges {
        assert_eq!(zset.rank(&edge), rank, "{edge:?}");
    }
}

#[derive(Clone, Debug)]
enum Op {
    Set(Vec<u8>, f64),
    /// Members of a row, with rising, falling or equal scores.
    Fill(u16, i8, Vec<u8>),
    Move(usize, f64),
    Remove(usize),
    Clear(u16, Vec<u8>),
    PopMin(u16),
    RemoveNth(usize),
    Hold,
    FreeHeld(usize),
}

fn number() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => (-5..5i32).prop_map(f64::from),
        2 => any::<f64>().prop_filter("a number", |value| !value.is_nan()),
        1 => proptest::sample::select(vec![0.0, -0.0, f64::INFINITY, f64::NEG_INFINITY, 0.1, 5e-324, 1e300]),
    ]
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let long = (prop_oneof![Just(64usize), Just(512), Just(513), Just(40_000), 0..3000usize], any::<u8>()).prop_map(
        |(len, last)| {
            let mut text = vec![b'l'; len];
            text.push(last);
            text
        },
    );
    let text = prop_oneof![6 => element(), 1 => long];
    let prefix = prop_oneof![Just(Vec::new()), Just(b"member:".to_vec()), Just(vec![b'p'; 70]), Just(vec![b'p'; 600])];
    let op = prop_oneof![
        6 => (text, number()).prop_map(|(member, score)| Op::Set(member, score)),
        3 => (1..700u16, -1..=1i8, prefix.clone()).prop_map(|(n, slope, prefix)| Op::Fill(n, slope, prefix)),
        3 => (any::<usize>(), number()).prop_map(|(at, score)| Op::Move(at, score)),
        4 => any::<usize>().prop_map(Op::Remove),
        1 => (0..700u16, prefix).prop_map(|(n, prefix)| Op::Clear(n, prefix)),
        1 => (0..500u16).prop_map(Op::PopMin),
        2 => any::<usize>().prop_map(Op::RemoveNth),
        1 => Just(Op::Hold),
        1 => (1..20usize).prop_map(Op::FreeHeld),
    ];
    proptest::collection::vec(op, 1..40)
}

fn name(prefix: &[u8], i: u16) -> Vec<u8> {
    [prefix, i.to_string().as_bytes()].concat()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn a_sorted_set_is_a_map_and_an_order_and_its_clones_stand_still(ops in ops(), at in number(), probe in element()) {
        let (mut zset, mut model, key) = (Zset::default(), Model::default(), hasher());
        let mut held: Vec<(Zset, Model)> = Vec::new();
        let (limits, mut graves) = (Limits::default(), Vec::new());
        for op in ops {
            match op {
                Op::Set(member, value) => {
                    let before = zset.set(&member, score(value), limits, &key, &mut graves);
                    prop_assert_eq!(before.map(bits), model.set(&member, score(value)).map(bits));
                }
                Op::Fill(n, slope, prefix) => for i in 0..n {
                    let (member, value) = (name(&prefix, i), score(f64::from(slope) * f64::from(i)));
                    let before = zset.set(&member, value, limits, &key, &mut graves);
                    prop_assert_eq!(before.map(bits), model.set(&member, value).map(bits));
                },
                Op::Move(place, value) => {
                    let member = model.scores.keys().nth(place % model.scores.len().max(1)).cloned().unwrap_or_default();
                    let before = zset.set(&member, score(value), limits, &key, &mut graves);
                    prop_assert_eq!(before.map(bits), model.set(&member, score(value)).map(bits));
                }
                Op::Remove(place) => {
                    let member = model.scores.keys().nth(place % model.scores.len().max(1)).cloned().unwrap_or_default();
                    prop_assert_eq!(zset.remove(&member, &key, &mut graves).map(bits), model.remove(&member).map(bits));
                    prop_assert!(zset.score(&member, &key).is_none());
                }
                Op::Clear(n, prefix) => for i in 0..n {
                    let member = name(&prefix, i);
                    prop_assert_eq!(zset.remove(&member, &key, &mut graves).map(bits), model.remove(&member).map(bits));
                },
                Op::PopMin(n) => for _ in 0..n {
                    let Some((_, member)) = model.order.first().cloned() else { break };
                    let mut seen = Vec::new();
                    zset.remove_nth(0, &key, &mut graves, |member, _| seen = owned(member));
                    prop_assert_eq!(&seen, &member);
                    model.remove(&member);
                },
                Op::RemoveNth(place) => if let Some(len @ 1..) = Some(model.order.len()) {
                    let (score, member) = model.order.iter().nth(place % len).cloned().expect("it has so many");
                    let mut seen = None;
                    zset.remove_nth(place % len, &key, &mut graves, |member, score| seen = Some((bits(score), owned(member))));
                    prop_assert_eq!(seen, Some((bits(score), member.clone())));
                    model.remove(&member);
                },
                Op::Hold => held.push((zset.clone(), model.clone())),
                Op::FreeHeld(mut budget) => if let Some((mut old, _)) = held.pop() {
                    old.free_step(&mut budget);
                },
            }
            check(&zset, &model);
            check_edges(&zset, &model, score(at), &probe);
            if let Some((score, member)) = model.order.iter().nth(probe.len()) {
                check_edges(&zset, &model, *score, member);
            }
            for (rank, (score, member)) in model.order.iter().enumerate().step_by(model.order.len() / 20 + 1) {
                let found = zset.rank_of(member, &key).map(|(rank, score)| (rank, bits(score)));
                prop_assert_eq!(found, Some((rank, bits(*score))));
                prop_assert_eq!(zset.score(member, &key).map(bits), Some(bits(*score)));
            }
            let (from, to) = (zset.len() / 3, zset.len() - zset.len() / 4);
            let mut down = listed(&zset, from..to.max(from), Way::Down);
            down.reverse();
            prop_assert_eq!(down, listed(&zset, from..to.max(from), Way::Up));
        }
        let packed_allowed = model.scores.len() <= 128 && model.scores.keys().all(|member| member.len() <= 64);
        prop_assert!(zset.encoding() == "skiplist" || packed_allowed);
        held.iter().for_each(|(zset, model)| check(zset, model));
        let mut steps = 0;
        while zset.free_step(&mut 10) == Progress::More {
            steps += 1;
            prop_assert!(steps < 100_000);
        }
        prop_assert!(zset.is_empty() && zset.bytes() == zset.recount_bytes());
    }
}

fn filled(count: u32, score_of: impl Fn(u32) -> f64) -> Zset {
    let (mut zset, mut graves) = (Zset::default(), Vec::new());
    for i in 0..count {
        let member = format!("member:{i:09}");
        zset.set(member.as_bytes(), score(score_of(i)), Limits::default(), &hasher(), &mut graves);
    }
    assert!(graves.is_empty());
    zset
}

/// A scatter of 32 bits.
fn scattered(i: u32) -> f64 {
    f64::from(i.wrapping_mul(0x9E37_79B1)) / 7.0
}

#[test]
fn a_large_set_weighs_what_its_head_says() {
    const MEMBERS: u32 = 300_000;
    for (score_of, most) in
        [(scattered as fn(u32) -> f64, 66), (|i| f64::from(i), 64), (|i| -f64::from(i), 64), (|_| 0.0, 64)]
    {
        let zset = filled(MEMBERS, score_of);
        let each = zset.bytes() / MEMBERS as usize;
        assert!(each <= most, "{each} bytes a member, {most} at most");
        assert_eq!(zset.bytes(), zset.recount_bytes());
    }
}

#[test]
fn ranks_and_texts_are_found_among_very_many_equal_scores() {
    const MEMBERS: u32 = 300_000;
    let zset = filled(MEMBERS, |_| 1.0);
    for i in (0..MEMBERS).step_by(997) {
        let (member, rank) = (format!("member:{i:09}"), i as usize);
        assert_eq!(zset.rank(&Edge::Member(member.as_bytes())), rank);
        assert_eq!(zset.rank(&Edge::PastMember(member.as_bytes())), rank + 1);
        assert_eq!(zset.rank_of(member.as_bytes(), &hasher()).map(|(rank, _)| rank), Some(rank));
        assert_eq!(listed(&zset, rank..rank + 1, Way::Up)[0].1, member.into_bytes());
    }
}

#[test]
fn deletion_gives_the_memory_back_and_a_clone_keeps_its_own() {
    let mut zset = filled(100_000, scattered);
    let (copy, full) = (zset.clone(), zset.bytes());
    let mut graves = Vec::new();
    for i in 0..99_999 {
        let member = format!("member:{:09}", (i * 7919) % 100_000);
        assert!(zset.remove(member.as_bytes(), &hasher(), &mut graves).is_some());
        if i % 9973 == 0 {
            assert_eq!(zset.bytes(), zset.recount_bytes());
        }
    }
    assert_eq!(zset.len(), 1);
    assert!(zset.bytes() < 700, "{} of {full}", zset.bytes());
    assert_eq!((copy.len(), copy.bytes(), copy.recount_bytes()), (100_000, full, full));
}

#[test]
fn freeing_keeps_to_its_budget_even_inside_long_members() {
    let (mut zset, mut graves) = (filled(2000, scattered), Vec::new());
    zset.set(&vec![b'x'; 20 << 20], Score::ZERO, Limits::default(), &hasher(), &mut graves);
    let shared = zset.clone();
    let (mut zset, mut steps) = (shared, {
        drop(zset);
        0
    });
    loop {
        let mut budget = 10;
        steps += 1;
        if zset.free_step(&mut budget) == Progress::Done {
            break;
        }
        assert_eq!(budget, 0);
    }
    assert!((130..200).contains(&steps), "1280 leaves of the long member and some tens of nodes: {steps}");
}

/// What stays from the first call to the last is returned, while its score and other members change.
#[test]
fn a_scan_returns_what_stays() {
    let (mut zset, mut graves, limits) = (filled(5000, scattered), Vec::new(), Limits::default());
    let (mut seen, mut cursor, mut turn) = (BTreeSet::new(), 0, 0_u32);
    loop {
        cursor = zset.scan(cursor, 50, Stop::AtCount, &hasher(), |member, _| {
            seen.insert(owned(member));
        });
        for i in 0..50 {
            let (stays, goes) = (format!("member:{:09}", (turn * 50 + i) % 2500), format!("member:{:09}", 2500 + turn));
            zset.set(stays.as_bytes(), score(f64::from(turn)), limits, &hasher(), &mut graves);
            zset.remove(goes.as_bytes(), &hasher(), &mut graves);
            zset.set(format!("new:{turn}:{i}").as_bytes(), score(0.5), limits, &hasher(), &mut graves);
        }
        turn += 1;
        if cursor == 0 {
            break;
        }
    }
    assert!((0..2500).all(|i| seen.contains(format!("member:{i:09}").as_bytes())));
}

/// Once a budget of one was spent on the empty order, again and again.
#[test]
fn freeing_ends_whatever_the_budget() {
    for budget in [1, 2, 3, 64] {
        let (mut zset, mut steps) = (filled(2000, scattered), 0);
        while zset.free_step(&mut { budget }) == Progress::More {
            steps += 1;
            assert!(steps < 10_000, "with {budget}");
        }
        assert_eq!((zset.len(), zset.bytes()), (0, Zset::default().bytes()));
    }
}
