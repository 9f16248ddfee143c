//! A trie of members: its picks, its memory, what its nodes share.

use super::*;
use crate::base::rng::Rng;
use triomphe::Arc;

fn hasher() -> HashKey {
    HashKey::new([7, 11])
}

fn filled(count: usize) -> Trie<1> {
    let (mut trie, mut graves) = (Trie::default(), Vec::new());
    for i in 0..count {
        trie.set(format!("member:{i}").as_bytes(), b"", &hasher(), &mut graves);
    }
    trie
}

#[test]
fn every_pick_is_equally_likely() {
    const MEMBERS: usize = 3000;
    let (trie, mut rng) = (filled(MEMBERS), Rng::new(1));
    let mut seen = std::collections::BTreeMap::new();
    for _ in 0..MEMBERS * 50 {
        let index = rng.place(MEMBERS);
        let mut member = Vec::new();
        trie.nth(index).expect("below the length").first.read_into(&mut member);
        *seen.entry(member).or_insert(0u32) += 1;
    }
    assert!(trie.nth(MEMBERS).is_none());
    let chi: f64 = seen.values().map(|&n| (f64::from(n) - 50.0).powi(2) / 50.0).sum();
    // 2999 degrees of freedom: mean 2999, deviation 77.
    assert!(seen.len() == MEMBERS && chi < 3400.0, "{chi}");
}

#[test]
fn what_is_taken_by_its_place_is_what_stood_there() {
    let (mut trie, mut rng, mut graves) = (filled(5000), Rng::new(2), Vec::new());
    trie.add(&[b'x'; 2000], &hasher());
    let copy = trie.clone();
    let mut gone = std::collections::BTreeSet::new();
    while let Some(last) = trie.len().checked_sub(1) {
        let index = rng.place(last + 1);
        let (mut there, mut taken) = (Vec::new(), Vec::new());
        trie.nth(index).expect("below the length").first.read_into(&mut there);
        trie.take_nth(index, &hasher(), &mut graves, |pair| pair.first.read_into(&mut taken));
        assert!(there == taken && trie.find(&taken, &hasher()).is_none() && gone.insert(taken));
        if last % 499 == 0 {
            assert_eq!((trie.len(), trie.bytes()), (last, trie.recount_bytes()));
        }
    }
    assert_eq!((gone.len(), graves.len(), copy.len()), (5001, 1, 5001));
    assert!(trie.bytes() < 200);
}

#[test]
fn adding_what_is_there_copies_nothing() {
    let mut trie = filled(1000);
    let copy = trie.clone();
    assert!(!trie.add(b"member:7", &hasher()));
    let (Node::Inner(mine), Node::Inner(theirs)) = (&trie.root.node, &copy.root.node) else {
        panic!("two inner nodes")
    };
    assert!(Arc::ptr_eq(mine, theirs));
}

#[test]
fn deletion_gives_the_memory_back_and_a_write_copies_one_path() {
    let mut trie = filled(100_000);
    let full = trie.bytes();
    let copy = trie.clone();
    let mut graves = Vec::new();
    trie.set(b"one more", b"", &hasher(), &mut graves);
    let Node::Inner(mine) = &trie.root.node else { panic!("100,000 members are not one leaf") };
    let Node::Inner(theirs) = &copy.root.node else { panic!("100,000 members are not one leaf") };
    let differing = mine.branches.iter().zip(&theirs.branches).filter(|(a, b)| match (&a.node, &b.node) {
        (Node::Inner(a), Node::Inner(b)) => !Arc::ptr_eq(a, b),
        (Node::Leaf(a), Node::Leaf(b)) => !Arc::ptr_eq(&a.0, &b.0),
        _ => true,
    });
    assert_eq!(differing.count(), 1);
    for i in 0..100_000 {
        assert!(trie.remove(format!("member:{i}").as_bytes(), &hasher(), &mut graves));
        if i % 9973 == 0 {
            assert_eq!(trie.bytes(), trie.recount_bytes());
        }
    }
    assert_eq!(trie.len(), 1);
    assert!(trie.bytes() < 200, "{} of {full}", trie.bytes());
    assert_eq!((copy.len(), copy.bytes(), copy.recount_bytes()), (100_000, full, full));
}

#[test]
fn freeing_keeps_to_its_budget_even_inside_long_elements() {
    let (mut trie, mut graves) = (filled(0), Vec::new());
    for i in 0..2000 {
        trie.set(format!("m{i}").as_bytes(), b"", &hasher(), &mut graves);
    }
    trie.set(&vec![b'x'; 20 << 20], b"", &hasher(), &mut graves);
    let shared = trie.clone();
    let mut budget = 3;
    assert_eq!(trie.free_step(&mut budget), Progress::Done, "a shared root is one reference");
    let (mut trie, mut steps) = (shared, 0);
    loop {
        let mut budget = 10;
        steps += 1;
        if trie.free_step(&mut budget) == Progress::Done {
            break;
        }
        assert_eq!(budget, 0);
    }
    assert!((130..200).contains(&steps), "1280 leaves of the long member and some tens of nodes: {steps}");
    assert_eq!(trie.recount_bytes(), trie.bytes());
}
