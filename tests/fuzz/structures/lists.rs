//! Lists: both ends, the middle, pieces that are cut off.

use super::Input;
use corelane::types::Progress;
use corelane::types::list::{End, Item, Limits, List, Needle, Purge};
use corelane::types::trie::Value;
use std::collections::VecDeque;
use std::ops::ControlFlow;

type Model = VecDeque<Vec<u8>>;

/// Small, so that few bytes reach both names.
const LIMITS: [Limits; 2] = [Limits::Elements(12), Limits::Bytes(256)];

const LISTS: usize = 3;

/// Most elements of one list: what a fill adds to stays quick.
const ELEMENTS_MAX: usize = 2000;

fn text(value: Value<'_>) -> Vec<u8> {
    let mut text = Vec::new();
    value.read_into(&mut text);
    text
}

fn texts(list: &List) -> Model {
    let mut all = Model::new();
    list.visit(0..list.len(), |value| all.push_back(text(value)));
    all
}

fn end(byte: u8) -> End {
    if byte.is_multiple_of(2) { End::Front } else { End::Back }
}

fn push(list: &mut List, model: &mut Model, end: End, element: &[u8], limits: Limits) {
    list.expect(end, element.len(), 1, limits);
    list.push(end, Item::of(element));
    match end {
        End::Front => model.push_front(element.to_vec()),
        End::Back => model.push_back(element.to_vec()),
    }
}

/// Lists against deques of texts. Each list of the three may hold nodes of another, as COPY makes them.
pub(crate) fn lists(data: &[u8]) -> u64 {
    let (mut input, mut graves, mut seen) = (Input::of(data), Vec::new(), 0_u64);
    let limits = LIMITS[usize::from(input.byte() % 2)];
    let mut lists: [(List, Model); LISTS] = Default::default();
    while !input.0.is_empty() {
        let (op, which) = (input.byte() % 14, input.which(LISTS));
        let (list, model) = &mut lists[which];
        match op {
            0..3 => {
                let (end, element) = (end(input.byte()), input.member());
                push(list, model, end, &element, limits);
            }
            3 => {
                let (end, count) = (end(input.byte()), usize::from(input.byte() % 8));
                for _ in 0..count.min(model.len()) {
                    let gone = if end == End::Front { model.pop_front() } else { model.pop_back() };
                    assert_eq!(list.peek(end).map(text), gone);
                    list.drop_outermost(end, &mut graves);
                    list.settle(limits);
                }
            }
            4 => {
                let (end, from, count) = (end(input.byte()), input.number(), usize::from(input.byte()));
                for i in from..(from + count).min(from + ELEMENTS_MAX.saturating_sub(model.len())) {
                    push(list, model, end, format!("m{i}").as_bytes(), limits);
                }
            }
            5 => {
                let (at, element) = (input.number(), input.member());
                if let Some(at) = at.checked_rem(model.len()) {
                    list.expect(End::Back, element.len(), 1, limits);
                    list.set(at, &Item::of(&element), &mut graves);
                    list.settle(limits);
                    model[at] = element;
                }
            }
            6 => {
                let (at, element) = (input.number() % (model.len() + 1), input.member());
                list.expect(End::Back, element.len(), 1, limits);
                list.insert(at, Item::of(&element));
                model.insert(at, element);
            }
            7 => {
                let (end, count) = (end(input.byte()), input.number() % (model.len() + 1));
                let piece = list.cut(end, count);
                list.settle(limits);
                let rest = model.split_off(if end == End::Front { count } else { model.len() - count });
                let gone = if end == End::Front { std::mem::replace(model, rest) } else { rest };
                assert_eq!((texts(&piece), piece.bytes()), (gone, piece.recount_bytes()));
                // What was cut off lives on as another list, and shares nodes with none.
                let other = input.which(LISTS);
                lists[other] = (piece, Model::new());
                lists[other].1 = texts(&lists[other].0);
                lists[other].0.settle(limits);
            }
            8 => {
                let (end, most) = (end(input.byte()), usize::from(input.byte() % 5));
                purge(list, model, end, &input.member(), if most == 0 { usize::MAX } else { most });
                list.settle(limits);
            }
            9 => {
                let copy = lists[which].clone();
                lists[input.which(LISTS)] = copy;
            }
            10 => search(list, model, end(input.byte()), input.number(), input.number(), &input.member()),
            11 => {
                let index = input.number();
                assert_eq!(
                    list.get(index % (model.len() + 3)).map(text).as_ref(),
                    model.get(index % (model.len() + 3))
                );
            }
            12 => assert_eq!((&texts(list), list.bytes()), (&*model, list.recount_bytes())),
            _ => {
                let budget = 1 + usize::from(input.byte());
                while list.free_step(&mut { budget }) == Progress::More {}
                *list = List::default();
                model.clear();
            }
        }
        let (list, model) = &lists[which];
        assert_eq!(list.len(), model.len());
        let is_large = list.encoding() == "quicklist";
        seen = seen.rotate_left(7)
            ^ (u64::from(op) << 8 | u64::from(is_large) << 4 | u64::from(model.len().max(1).ilog2()));
    }
    for (list, model) in &lists {
        assert_eq!((&texts(list), list.bytes()), (model, list.recount_bytes()));
    }
    seen % 65_536
}

/// LREM, in steps.
fn purge(list: &mut List, model: &mut Model, from: End, element: &[u8], most: usize) {
    let (mut purge, mut graves) = (Purge::of(from, most), Vec::new());
    while list.purge_step(&mut purge, Needle::of(element), &mut graves) == Progress::More {}
    let matches: Vec<usize> = (0..model.len()).filter(|at| model[*at] == element).collect();
    let gone = match from {
        End::Front => &matches[..matches.len().min(most)],
        End::Back => &matches[matches.len().saturating_sub(most)..],
    };
    assert_eq!(purge.removed, gone.len());
    gone.iter().rev().for_each(|at| drop(model.remove(*at)));
}

/// LPOS within a range, from either end.
fn search(list: &List, model: &Model, from: End, one: usize, other: usize, element: &[u8]) {
    let (one, other) = (one % (model.len() + 1), other % (model.len() + 1));
    let range = one.min(other)..one.max(other);
    let mut wanted: Vec<usize> = range.clone().filter(|at| model[*at] == element).collect();
    if from == End::Back {
        wanted.reverse();
    }
    let mut found = Vec::new();
    let _ = list.search(range, from, Needle::of(element), |at| {
        found.push(at);
        ControlFlow::Continue(())
    });
    assert_eq!(found, wanted);
}
