//! The table against `BTreeMap`, over chosen hashes: uniform, all in one slot, equal but for the last bits.

use super::*;
use crate::base::rng::Rng;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// A boxed hash, unique per key.
struct Item(Box<u64>);

// SAFETY: a box's address is 8-aligned, below 2^48 on the platforms this runs on, and owned.
unsafe impl Thin for Item {
    type Ref<'a> = &'a u64;
    type Mut<'a> = &'a mut u64;

    fn into_address(self) -> u64 {
        Box::into_raw(self.0).expose_provenance() as u64
    }

    unsafe fn from_address(address: u64) -> Self {
        // SAFETY: the caller's promise.
        Self(unsafe { Box::from_raw(std::ptr::with_exposed_provenance_mut(address as usize)) })
    }

    unsafe fn borrow<'a>(address: u64) -> &'a u64 {
        // SAFETY: the caller's promise.
        unsafe { &*std::ptr::with_exposed_provenance(address as usize) }
    }

    unsafe fn borrow_mut<'a>(address: u64) -> &'a mut u64 {
        // SAFETY: the caller's promise.
        unsafe { &mut *std::ptr::with_exposed_provenance_mut(address as usize) }
    }
}

fn insert(dict: &mut Dict<Item>, hash: u64) -> bool {
    match dict.find_or_gap(KeyHash(hash), |&item| item == hash) {
        Ok(_) => false,
        Err(gap) => {
            let at = dict.insert(gap, Item(Box::new(hash)), |&item| KeyHash(item));
            assert_eq!(*dict.at(at), hash);
            true
        }
    }
}

fn remove(dict: &mut Dict<Item>, hash: u64) -> bool {
    let at = dict.find(KeyHash(hash), |&item| item == hash);
    at.is_some_and(|at| *dict.remove(at).0 == hash)
}

fn scan_all(dict: &Dict<Item>, count: usize) -> Vec<u64> {
    let (mut cursor, mut all) = (Cursor::START, Vec::new());
    loop {
        cursor = dict.scan(cursor, count, |&item| all.push(item));
        assert!(cursor.0 < 1 << 53);
        if cursor == Cursor::START {
            return all;
        }
    }
}

/// Counts from the structure itself what the fields claim.
fn check(dict: &Dict<Item>) {
    let (mut len, mut buckets) = (0, 0);
    for number in 0..narrow(dict.segments.len()) {
        let segment = dict.segments.at(number);
        let words: Vec<u64> = segment.buckets.iter().flat_map(|b| b.0).filter(|&w| w != 0).collect();
        assert_eq!(words.len(), segment.count as usize);
        assert_eq!(dict.directory.locate(segment.prefix), Some(number));
        let last = segment.end().map_or(u64::MAX, |end| end - 1);
        assert_eq!(dict.directory.locate(last), Some(number));
        for word in words {
            // SAFETY: a live word.
            let hash = *unsafe { Item::borrow(segment::address(word)) };
            assert!((segment.prefix..=last).contains(&hash));
            assert_eq!(segment.want(hash), word & !((1 << 48) - 8));
        }
        len += segment.count as usize;
        buckets += segment.buckets.len();
    }
    assert_eq!((len, buckets), (dict.len, dict.bucket_count));
}

fn hashes(kind: u8, n: u64, seed: u64) -> Vec<u64> {
    let mut rng = Rng::new(seed);
    let mut next = || rng.next_u64();
    let hash = |i: u64, r: u64| match kind {
        0 => r,
        1 => 7777 << HASH_BITS | r >> 14,
        2 => 0xABCD_EF01_0000_0000 | i,
        3 => (r % 40 * 400) << HASH_BITS | r >> 14 & 0xFFFF_0000_0007,
        _ => r << 44,
    };
    (0..n).map(|i| hash(i, next())).collect::<BTreeSet<_>>().into_iter().collect()
}

#[test]
fn all_shapes_of_hashes_grow_scan_and_shrink() {
    for kind in 0..5 {
        let mut all = hashes(kind, if kind == 2 { 3_000 } else { 60_000 }, 5);
        let mut rng = Rng::new(9);
        for i in (1..all.len()).rev() {
            all.swap(i, rng.below(i as u64 + 1) as usize);
        }
        let mut dict = Dict::default();
        assert!(all.iter().all(|&hash| insert(&mut dict, hash)));
        check(&dict);
        assert!(all.iter().all(|&hash| !insert(&mut dict, hash)));
        let mut scanned = scan_all(&dict, 10);
        scanned.sort_unstable();
        let mut sorted = all.clone();
        sorted.sort_unstable();
        assert_eq!(scanned, sorted, "once each while nothing changes, kind {kind}");
        let bytes = dict.bytes();
        let (gone, kept) = all.split_at(all.len() * 9 / 10);
        assert!(gone.iter().all(|&hash| remove(&mut dict, hash)));
        check(&dict);
        assert!(kept.iter().all(|&hash| dict.find(KeyHash(hash), |&item| item == hash).is_some()));
        assert!(gone.iter().all(|&hash| dict.find(KeyHash(hash), |&item| item == hash).is_none()));
        assert!(dict.bytes() * 4 < bytes, "kind {kind}: {} of {bytes}", dict.bytes());
        assert!(kept.iter().all(|&hash| remove(&mut dict, hash)));
        assert_eq!((dict.len(), dict.bytes()), (0, 0));
    }
}

#[test]
fn a_small_table_is_small() {
    let mut dict = Dict::default();
    assert_eq!(dict.bytes(), 0);
    hashes(0, 10, 1).into_iter().for_each(|hash| assert!(insert(&mut dict, hash)));
    assert!(dict.bytes() <= 400, "{}", dict.bytes());
}

#[test]
fn slots_are_counted_and_listed() {
    for kind in [0, 1, 3] {
        let mut dict = Dict::default();
        let all = hashes(kind, 40_000, 3);
        all.iter().for_each(|&hash| assert!(insert(&mut dict, hash)));
        let mut slots = BTreeMap::<u16, Vec<u64>>::new();
        all.iter().for_each(|&hash| slots.entry(KeyHash(hash).slot()).or_default().push(hash));
        for slot in [0, 400, 800, 7777, 15_600, 16_383, KeyHash(all[0]).slot()] {
            let expected = slots.get(&slot).cloned().unwrap_or_default();
            assert_eq!(dict.count_in_slot(slot), expected.len());
            let (mut cursor, mut seen) = (Cursor::START, Vec::new());
            loop {
                let before = seen.len();
                cursor = dict.scan_slot(slot, cursor, 10, |&item| seen.push(item));
                assert!(kind == 3 || seen.len() - before < 10 + SLOTS * 4, "COUNT holds unless positions collide");
                if cursor == Cursor::START {
                    break;
                }
            }
            seen.sort_unstable();
            assert_eq!(seen, expected);
        }
    }
}

#[test]
fn random_picks_are_fair() {
    for kind in [0, 1] {
        let mut dict = Dict::default();
        let mut all = hashes(kind, 6_000, 11);
        all.iter().for_each(|&hash| assert!(insert(&mut dict, hash)));
        all.drain(..5_000).for_each(|hash| assert!(remove(&mut dict, hash)));
        let mut rng = Rng::new(1);
        let mut picks: BTreeMap<u64, f64> = all.iter().map(|&hash| (hash, 0.0)).collect();
        let rounds = 200_000;
        for _ in 0..rounds {
            let at = dict.random(&mut rng).expect("there are entries");
            *picks.get_mut(dict.at(at)).expect("a kept entry") += 1.0;
        }
        let expected = f64::from(rounds) / all.len() as f64;
        let chi_squared: f64 = picks.values().map(|n| (n - expected) * (n - expected) / expected).sum();
        let freedom = all.len() as f64 - 1.0;
        // Five standard deviations of the distribution: sqrt(2 * freedom) is one.
        assert!((chi_squared - freedom).abs() < 5.0 * (2.0 * freedom).sqrt(), "{chi_squared} for {freedom}");
    }
}

#[test]
fn a_detached_table_dies_in_steps() {
    let mut dict = Dict::default();
    let all = hashes(0, 20_000, 2);
    all.iter().for_each(|&hash| assert!(insert(&mut dict, hash)));
    let mut detached = dict.detach();
    assert_eq!((dict.len(), dict.bytes(), detached.len()), (0, 0, all.len()));
    let mut seen = Vec::new();
    while !detached.is_empty() && seen.len() < 15_000 {
        let before = seen.len();
        detached.step(100, |item| seen.push(*item.0));
        assert!(seen.len() - before <= 100 + SLOTS);
    }
    drop(detached);
    seen.sort_unstable();
    seen.dedup();
    assert!(seen.len() >= 15_000);
    assert!(insert(&mut dict, 1), "the table goes on");
}

#[derive(Clone, Debug)]
enum Step {
    Insert(u16, u16),
    Remove(u16, u16),
    Scan(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let range = || (0..12_000_u16, 1..2_500_u16);
    let step = prop_oneof![
        3 => range().prop_map(|(from, n)| Step::Insert(from, n)),
        2 => range().prop_map(|(from, n)| Step::Remove(from, n)),
        3 => (1..200_u8).prop_map(Step::Scan),
    ];
    prop::collection::vec(step, 1..24)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// A scan runs all through inserts and removals; what was there throughout must have been seen.
    #[test]
    fn behaves_as_a_map_and_scans_see_what_stays(kind in 0..5_u8, seed in 0..1000_u64, steps in steps()) {
        let mut all = hashes(kind, if kind == 2 { 1_000 } else { 14_000 }, seed);
        let mut rng = Rng::new(seed);
        for i in (1..all.len()).rev() {
            all.swap(i, rng.below(i as u64 + 1) as usize);
        }
        let mut dict = Dict::default();
        let mut model = BTreeSet::new();
        let mut stayed: Option<BTreeSet<u64>> = None;
        let (mut cursor, mut seen) = (Cursor::START, BTreeSet::new());
        for step in steps {
            match step {
                Step::Insert(from, n) => all.iter().cycle().skip(from as usize).take(n as usize).for_each(|&hash| {
                    assert_eq!(insert(&mut dict, hash), model.insert(hash));
                }),
                Step::Remove(from, n) => all.iter().cycle().skip(from as usize).take(n as usize).for_each(|&hash| {
                    assert_eq!(remove(&mut dict, hash), model.remove(&hash));
                    stayed.iter_mut().for_each(|stayed| { stayed.remove(&hash); });
                }),
                Step::Scan(count) => {
                    if stayed.is_none() {
                        stayed = Some(model.clone());
                        seen.clear();
                    }
                    cursor = dict.scan(cursor, count as usize * 8, |&item| { seen.insert(item); });
                    if cursor == Cursor::START {
                        prop_assert!(stayed.take().is_some_and(|stayed| stayed.is_subset(&seen)));
                    }
                }
            }
            check(&dict);
            prop_assert_eq!(dict.len(), model.len());
        }
        while stayed.is_some() && cursor != Cursor::START {
            cursor = dict.scan(cursor, 100, |&item| { seen.insert(item); });
        }
        prop_assert!(stayed.is_none_or(|stayed| stayed.is_subset(&seen)));
        let mut listed = scan_all(&dict, 7);
        listed.sort_unstable();
        prop_assert_eq!(listed, model.into_iter().collect::<Vec<_>>());
    }
}
