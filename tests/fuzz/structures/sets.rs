//! Sets and their algebra.

use super::Input;
use corelane::base::hash::HashKey;
use corelane::types::Progress;
use corelane::types::algebra::{Algebra, Means, Wanted};
use corelane::types::set::{Limits, Set, TextRoom};
use corelane::types::trie::Stop;
use std::collections::BTreeSet;

type Model = BTreeSet<Vec<u8>>;

/// Small, so that few bytes reach every form.
const LIMITS: Limits = Limits { ints: 24, entries: 12, value_bytes: 20 };

const SETS: usize = 4;

/// Most members of one set: what a fill adds to stays quick.
const MEMBERS_MAX: usize = 3000;

fn texts(set: &Set) -> Model {
    let mut all = Model::new();
    set.for_each(|member| assert!(all.insert(TextRoom::default().text(member).to_vec()), "a member comes once"));
    all
}

/// Sets and their algebra against ordered sets of texts.
pub(crate) fn sets(data: &[u8]) -> u64 {
    let (hasher, mut graves, mut input, mut seen) = (HashKey::new([3, 5]), Vec::new(), Input::of(data), 0_u64);
    let mut sets: [(Set, Model); SETS] = Default::default();
    while !input.0.is_empty() {
        let (op, which) = (input.byte() % 14, input.which(SETS));
        let (set, model) = &mut sets[which];
        match op {
            0..4 => {
                let member = input.member();
                assert_eq!(set.add(&member, LIMITS, &hasher), model.insert(member));
            }
            4 => {
                let member = input.member();
                assert_eq!(set.remove(&member, &hasher, &mut graves), model.remove(&member));
            }
            5 => {
                let member = input.member();
                assert_eq!(set.contains(&member, &hasher), model.contains(&member));
            }
            6 => {
                let (index, mut taken) = (input.number(), Vec::new());
                if let Some(index) = index.checked_rem(model.len()) {
                    set.take_nth(index, &hasher, &mut graves, |member| {
                        taken = TextRoom::default().text(member).to_vec()
                    });
                    assert!(model.remove(&taken));
                }
            }
            7 => {
                let (from, count, named) = (input.number(), usize::from(input.byte()), input.byte() % 2 == 0);
                for i in from..from + count {
                    if model.len() == MEMBERS_MAX {
                        break;
                    }
                    let member = if named { format!("m{i}") } else { i.to_string() }.into_bytes();
                    assert_eq!(set.add(&member, LIMITS, &hasher), model.insert(member));
                }
            }
            8 => {
                let copy = sets[which].clone();
                sets[input.which(SETS)] = copy;
            }
            9..12 => {
                let named: Vec<usize> = (0..1 + input.byte() % 3).map(|_| input.which(SETS)).collect();
                let (outcome, wanted) = algebra(op, &named, &sets, &hasher, 1 + input.number());
                sets[which] = (outcome, wanted);
            }
            12 => scan(set, model, input.number(), &hasher),
            _ => {
                let budget = 1 + usize::from(input.byte());
                loop {
                    let mut left = budget;
                    if set.free_step(&mut left) == Progress::Done {
                        break;
                    }
                    assert_eq!(left, 0, "a step uses up its budget");
                }
                model.clear();
            }
        }
        let (set, model) = &sets[which];
        assert_eq!(set.len(), model.len());
        let form = u64::from(set.encoding().as_bytes()[0] % 4);
        seen = seen.rotate_left(7) ^ (u64::from(op) << 8 | form << 4 | u64::from(model.len().max(1).ilog2()));
    }
    for (set, model) in &sets {
        assert_eq!((&texts(set), set.bytes()), (model, set.recount_bytes()));
        assert!(model.iter().all(|member| set.contains(member, &hasher)));
    }
    seen % 65_536
}

/// The intersection, union or difference of these sets, and what it has to be.
fn algebra(op: u8, named: &[usize], sets: &[(Set, Model); SETS], hasher: &HashKey, budget: usize) -> (Set, Model) {
    let inputs = || named.iter().map(|which| Some(sets[*which].0.clone())).collect::<Vec<_>>();
    let (first, others) = named.split_first().expect("one at least");
    let (first, in_others) =
        (&sets[*first].1, |member: &&Vec<u8>| others.iter().any(|set| sets[*set].1.contains(*member)));
    type Make = fn(Vec<Option<Set>>, Wanted) -> Algebra;
    let (wanted, make): (Model, Make) = match op {
        9 => {
            let common = first.iter().filter(|member| others.iter().all(|set| sets[*set].1.contains(*member)));
            (common.cloned().collect(), Algebra::inter)
        }
        10 => {
            let all = named.iter().flat_map(|which| &sets[*which].1);
            (all.cloned().collect(), |sets, wanted| Algebra::union(sets, wanted, LIMITS))
        }
        _ => {
            let own = first.iter().filter(|member| !in_others(member));
            (own.cloned().collect(), |sets, wanted| Algebra::diff(sets, wanted, LIMITS))
        }
    };
    let (means, mut told, mut graves) = (Means { limits: LIMITS, hasher, budget }, Model::new(), Vec::new());
    let mut telling = make(inputs(), Wanted::Members);
    while telling.step(means, &mut graves, |member| {
        assert!(told.insert(TextRoom::default().text(member).to_vec()), "a member is told once");
    }) == Progress::More
    {}
    assert_eq!((&told, telling.count()), (&wanted, wanted.len()));
    let mut making = make(inputs(), Wanted::Set);
    while making.step(means, &mut graves, |_| unreachable!("nobody asked")) == Progress::More {}
    (making.into_sets().0, wanted)
}

fn scan(set: &Set, model: &Model, count: usize, hasher: &HashKey) {
    let (mut found, mut cursor) = (Model::new(), 0);
    loop {
        let stop = if count.is_multiple_of(2) { Stop::AtLeaf } else { Stop::AtCount };
        cursor = set.scan(cursor, count, stop, hasher, |member| {
            assert!(found.insert(TextRoom::default().text(member).to_vec()), "a set that stands still shows each once");
        });
        if cursor == 0 {
            break;
        }
    }
    assert_eq!(&found, model);
}
