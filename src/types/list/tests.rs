//! Lists against a deque of texts, over sequences of operations and clones that stand still; and what their bytes, names and steps are.

use super::super::packed::tests::element;
use super::*;
use proptest::prelude::*;
use std::collections::VecDeque;

type Model = VecDeque<Vec<u8>>;

fn owned(value: Value<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    value.read_into(&mut out);
    out
}

fn contents(list: &List) -> Model {
    let mut all = Model::new();
    list.visit(0..list.len(), |value| all.push_back(owned(value)));
    all
}

fn check(list: &List, model: &Model) {
    assert_eq!(list.len(), model.len());
    assert_eq!(&contents(list), model);
    let mut back = Model::new();
    list.visit_back(0..list.len(), |value| back.push_front(owned(value)));
    assert_eq!(&back, model);
    assert_eq!(list.bytes(), list.recount_bytes());
    let listed: usize = model.iter().map(|text| listpack_entry_bytes(text)).sum();
    assert_eq!(list.measure().listed, listed, "what a listpack would take");
    assert_eq!(list.peek(End::Front).map(owned).as_ref(), model.front());
    assert_eq!(list.peek(End::Back).map(owned).as_ref(), model.back());
}

/// As Redis documents the listpack, from the text alone.
fn listpack_entry_bytes(text: &[u8]) -> usize {
    let number = std::str::from_utf8(text)
        .ok()
        .and_then(|text| text.parse::<i64>().ok())
        .filter(|n| n.to_string().as_bytes() == text);
    let body = match (number, text.len()) {
        (Some(0..=127), _) => 1,
        (Some(-4096..=4095), _) => 2,
        (Some(-32_768..=32_767), _) => 3,
        (Some(-8_388_608..=8_388_607), _) => 4,
        (Some(-2_147_483_648..=2_147_483_647), _) => 5,
        (Some(_), _) => 9,
        (None, len @ 0..64) => 1 + len,
        (None, len @ 64..4096) => 2 + len,
        (None, len) => 5 + len,
    };
    body + match body {
        0..=127 => 1,
        128..=16_382 => 2,
        _ => 3,
    }
}

fn push(list: &mut List, model: &mut Model, end: End, text: &[u8], limits: Limits) {
    list.expect(end, text.len(), 1, limits);
    list.push(end, Item::of(text));
    match end {
        End::Front => model.push_front(text.to_vec()),
        End::Back => model.push_back(text.to_vec()),
    }
}

fn pop(list: &mut List, model: &mut Model, end: End, graves: &mut Vec<Rope>) {
    let gone = match end {
        End::Front => model.pop_front(),
        End::Back => model.pop_back(),
    };
    assert_eq!(list.peek(end).map(owned), gone);
    if gone.is_some() {
        list.drop_outermost(end, graves);
    }
}

#[derive(Clone, Debug)]
enum Op {
    Push(End, Vec<u8>),
    Fill(End, u16, Vec<u8>),
    Pop(End),
    Drain(End, u16),
    /// Pushed at one end and popped at the other.
    Queue(End, u16, Vec<u8>),
    Set(usize, Vec<u8>),
    Insert(usize, u8, Vec<u8>),
    Cut(End, usize),
    Purge(End, usize, usize),
    Hold,
    FreeHeld(usize),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let long = prop_oneof![Just(512usize), Just(513), Just(40_000), 0..3000usize].prop_map(|n| vec![b'l'; n]);
    let text = prop_oneof![8 => element(), 1 => long];
    let end = prop_oneof![Just(End::Front), Just(End::Back)];
    let op = prop_oneof![
        6 => (end.clone(), text.clone()).prop_map(|(end, text)| Op::Push(end, text)),
        4 => (end.clone(), 1..700u16, text.clone()).prop_map(|(end, n, text)| Op::Fill(end, n, text)),
        4 => end.clone().prop_map(Op::Pop),
        2 => (end.clone(), 1..700u16).prop_map(|(end, n)| Op::Drain(end, n)),
        2 => (end.clone(), 1..300u16, text.clone()).prop_map(|(end, n, text)| Op::Queue(end, n, text)),
        4 => (any::<usize>(), text.clone()).prop_map(|(at, text)| Op::Set(at, text)),
        4 => (any::<usize>(), 1..60u8, text).prop_map(|(at, n, text)| Op::Insert(at, n, text)),
        1 => (end.clone(), any::<usize>()).prop_map(|(end, n)| Op::Cut(end, n)),
        2 => (end, any::<usize>(), prop_oneof![1..20usize, Just(usize::MAX)]).prop_map(|(end, at, n)| Op::Purge(end, at, n)),
        1 => Just(Op::Hold),
        1 => (1..20usize).prop_map(Op::FreeHeld),
    ];
    proptest::collection::vec(op, 1..60)
}

fn apply(list: &mut List, model: &mut Model, op: Op, limits: Limits, graves: &mut Vec<Rope>) {
    match op {
        Op::Push(end, text) => push(list, model, end, &text, limits),
        Op::Fill(end, n, text) => (0..n).for_each(|_| push(list, model, end, &text, limits)),
        Op::Pop(end) => pop(list, model, end, graves),
        Op::Drain(end, n) => (0..n).for_each(|_| pop(list, model, end, graves)),
        Op::Queue(end, n, text) => {
            let other = if end == End::Front { End::Back } else { End::Front };
            for _ in 0..n {
                push(list, model, end, &text, limits);
                pop(list, model, other, graves);
            }
        }
        Op::Set(at, text) if !model.is_empty() => {
            let at = at % model.len();
            assert_eq!(list.get(at).map(owned).as_ref(), model.get(at));
            list.set(at, &Item::of(&text), graves);
            model[at] = text;
        }
        Op::Insert(at, n, text) => {
            let at = at % (model.len() + 1);
            for _ in 0..n {
                list.insert(at, Item::of(&text));
                model.insert(at, text.clone());
            }
        }
        Op::Cut(end, n) => {
            let n = n % (model.len() + 1);
            let kept = list.clone();
            let mut piece = list.cut(end, n);
            let rest = match end {
                End::Front => model.split_off(n),
                End::Back => std::mem::take(model),
            };
            let gone = match end {
                End::Front => std::mem::replace(model, rest),
                End::Back => {
                    *model = rest;
                    model.split_off(model.len() - n)
                }
            };
            assert_eq!(contents(&piece), gone);
            assert_eq!(piece.bytes(), piece.recount_bytes());
            assert_eq!(kept.len(), model.len() + gone.len());
            drop(kept);
            while piece.free_step(&mut 7) == Progress::More {}
        }
        Op::Purge(end, at, most) if !model.is_empty() => {
            let text = model[at % model.len()].clone();
            let mut purge = Purge::of(end, most);
            while list.purge_step(&mut purge, Needle::of(&text), graves) == Progress::More {}
            let matches = model.iter().filter(|other| **other == text).count();
            let gone = matches.min(most);
            assert_eq!(purge.removed, gone);
            let mut seen = 0;
            model.retain(|other| {
                let is_match = *other == text;
                seen += usize::from(is_match);
                !is_match || if end == End::Front { seen > gone } else { seen <= matches - gone }
            });
        }
        Op::Set(..) | Op::Purge(..) | Op::Hold | Op::FreeHeld(_) => {}
    }
    list.settle(limits);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn a_list_is_a_deque_and_its_clones_stand_still(ops in ops(), number in prop_oneof![Just(-2i64), -6..30i64]) {
        let (mut list, mut model, limits) = (List::default(), Model::new(), Limits::of(number));
        let (mut held, mut graves) = (Vec::<(List, Model)>::new(), Vec::new());
        for op in ops {
            match op {
                Op::Hold => held.push((list.clone(), model.clone())),
                Op::FreeHeld(mut budget) => if let Some((mut old, _)) = held.pop() {
                    old.free_step(&mut budget);
                },
                op => apply(&mut list, &mut model, op, limits, &mut graves),
            }
            check(&list, &model);
        }
        held.iter().for_each(|(list, model)| check(list, model));
        while list.free_step(&mut 5) == Progress::More {}
        prop_assert_eq!(list.len(), 0);
    }

    /// From both ends and inside any range, against the plain search.
    #[test]
    fn a_search_finds_what_is_there_in_order(texts in proptest::collection::vec(0..4u8, 0..3000), start in any::<usize>(), end in any::<usize>()) {
        let (mut list, mut graves) = (List::default(), Vec::new());
        for (i, text) in texts.iter().enumerate() {
            list.push(if i % 3 == 0 { End::Front } else { End::Back }, Item::of(&[b'a' + text; 20]));
        }
        for index in (0..list.len() / 7).map(|i| i * 7) {
            list.set(index, &Item::of(b"other"), &mut graves);
        }
        let model = contents(&list);
        let (start, end) = (start % (model.len() + 1), end % (model.len() + 1));
        let range = start.min(end)..start.max(end);
        let matching: Vec<usize> = range.clone().filter(|i| model[*i] == [b'b'; 20]).collect();
        for from in [End::Front, End::Back] {
            let mut found = Vec::new();
            let all = list.search(range.clone(), from, Needle::of(&[b'b'; 20]), |index| {
                found.push(index);
                ControlFlow::Continue(())
            });
            prop_assert!(all.is_continue());
            if from == End::Back {
                found.reverse();
            }
            prop_assert_eq!(&found, &matching);
        }
    }
}

fn filled(count: usize) -> List {
    let mut list = List::default();
    for i in 0..count {
        list.expect(End::Back, 12, 1, Limits::default());
        list.push(End::Back, Item::of(format!("element:{i}").as_bytes()));
    }
    list
}

#[test]
fn the_name_changes_where_redis_changes_it() {
    // 64 bytes are 67 in a listpack: 7 + 122 * 67 = 8181, and a push counts its text alone.
    let (mut list, mut graves) = (List::default(), Vec::new());
    let text = [b'x'; 64];
    let grow = |list: &mut List| {
        list.expect(End::Back, text.len(), 1, Limits::default());
        list.push(End::Back, Item::of(&text));
    };
    (0..122).for_each(|_| grow(&mut list));
    assert_eq!(list.encoding(), "listpack");
    grow(&mut list);
    assert_eq!(list.encoding(), "quicklist");
    let mut lens = Vec::new();
    while !list.is_empty() {
        list.drop_outermost(End::Front, &mut graves);
        list.settle(Limits::default());
        lens.push((list.len(), list.encoding()));
    }
    assert!(lens.contains(&(62, "quicklist")) && lens.contains(&(61, "listpack")), "at half of the limit");
    for (number, count) in [(5, 5), (0, 1)] {
        let mut list = List::default();
        for n in 1..=count + 1 {
            list.expect(End::Front, 1, 1, Limits::of(number));
            list.push(End::Front, Item::of(b"1"));
            assert_eq!(list.encoding() == "listpack", n <= count);
        }
    }
    let sizes = [-1, -2, -3, -4, -5, -9].map(Limits::of);
    assert_eq!(sizes, [4, 8, 16, 32, 64, 64].map(|kib| Limits::Bytes(kib << 10)));
}

#[test]
fn sixty_four_bytes_take_about_sixty_seven() {
    let mut list = List::default();
    for i in 0..1_000_000u32 {
        let mut text = [b'x'; 64];
        text[..4].copy_from_slice(&i.to_be_bytes());
        list.push(End::Back, Item::of(&text));
    }
    let each = list.bytes() as f64 / 1e6;
    assert!(each < 68.5, "{each}");
}

#[test]
fn a_queue_of_a_few_allocates_nothing() {
    let (mut list, mut graves) = (List::default(), Vec::new());
    (0..20).for_each(|_| list.push(End::Front, Item::of(b"a job of some length, such as jobs have")));
    let mut most = 0;
    for round in 0..10_000 {
        let before = allocation_counter::measure(|| {
            list.push(End::Front, Item::of(b"a job of some length, such as jobs have"));
            list.drop_outermost(End::Back, &mut graves);
            list.settle(Limits::default());
        });
        if round > 20 {
            most = most.max(before.count_total);
        }
    }
    assert_eq!(most, 0);
}

#[test]
fn insertions_at_one_place_fill_their_leaves() {
    let mut list = filled(10_000);
    for _ in 0..100_000 {
        list.insert(5000, Item::of(&[b'y'; 60]));
    }
    assert!(list.bytes() < 100_000 * 62 * 9 / 4, "{}", list.bytes());
    assert_eq!(list.bytes(), list.recount_bytes());
}

#[test]
fn what_is_removed_everywhere_gives_its_memory_back() {
    let mut list = List::default();
    for i in 0..200_000 {
        list.push(End::Back, if i % 50 == 0 { Item::of(b"stay") } else { Item::of(b"an element that goes") });
    }
    let (mut purge, full) = (Purge::of(End::Front, usize::MAX), list.bytes());
    while list.purge_step(&mut purge, Needle::of(b"an element that goes"), &mut Vec::new()) == Progress::More {}
    assert_eq!((purge.removed, list.len()), (196_000, 4000));
    assert!(list.bytes() < 60_000, "{} of {full}", list.bytes());
    assert_eq!(list.bytes(), list.recount_bytes());
}

#[test]
fn freeing_keeps_to_its_budget_even_inside_long_elements() {
    let mut list = filled(100_000);
    list.insert(50_000, Item::of(&vec![b'x'; 20 << 20]));
    let mut shared = list.clone();
    let mut budget = 3;
    assert_eq!(list.free_step(&mut budget), Progress::Done, "a shared list is a few references");
    let mut steps = 0;
    loop {
        let mut budget = 10;
        steps += 1;
        if shared.free_step(&mut budget) == Progress::Done {
            break;
        }
        assert_eq!(budget, 0);
    }
    assert!((150..250).contains(&steps), "1280 leaves of the long element, 400 of the others: {steps}");
    assert_eq!((shared.len(), shared.bytes()), (0, shared.recount_bytes()));
}
