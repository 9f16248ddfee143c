//! Intersection, union and difference of sets, in steps, over clones of their roots: the answer is of the moment at which these were taken.
//!
//! ```text
//!  inter   walk the smallest set, keep what all others have                               Sift
//!  union   add the members of all sets to one                                             Build, all added
//!  diff    walk the first set, keep what no other has                                     Sift
//!          or add the first set's members to one, take those of the others out            Build, the first added
//! ```
//!
//! Which of its two ways a difference goes is Redis's choice, by the number of look-ups each takes. Where it would begin by copying a large set,
//! the copy is a clone: a union costs what the other sets hold, and so does a difference from a large set of few members.
//! A clone keeps its form as it shrinks, so that it stands in only where Redis's copy ends in the same one.
//!
//! Absent: who the sets are, and what becomes of the outcome.

use super::Progress;
use super::rope::Rope;
use super::set::{Limits, Set, TextRoom, integer};
use super::trie::{Stop, Value};
use crate::base::hash::HashKey;

/// What is wanted of the outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Each member, told once.
    Members,
    /// The outcome as a set, to be stored.
    Set,
    /// The number of members, counted up to this one.
    Count(usize),
}

#[derive(Debug)]
pub struct Algebra {
    wanted: Wanted,
    plan: Plan,
    inputs: Vec<Set>,
    /// The input being walked, and how far.
    at: usize,
    cursor: u64,
    outcome: Set,
    count: usize,
    /// The outcome holds nothing else.
    integers_only: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Plan {
    Sift(Keep),
    /// So many of the inputs are added, those behind them taken out.
    Build {
        added: usize,
    },
    /// The outcome is told.
    Tell,
}

/// Which members of the first input are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keep {
    /// Those that all others have.
    Common,
    /// Those that no other has.
    Own,
}

/// What every step needs.
#[derive(Clone, Copy, Debug)]
pub struct Means<'m> {
    pub limits: Limits,
    pub hasher: &'m HashKey,
    /// About so many look-ups or changes to a step.
    pub budget: usize,
}

/// Budgets from which on a walk may go to the end of its leaf, which costs it less: who gives less has seen members that are long.
const LEAF_BUDGET_MIN: usize = 64;

impl Means<'_> {
    fn stop(&self) -> Stop {
        if self.budget < LEAF_BUDGET_MIN { Stop::AtCount } else { Stop::AtLeaf }
    }
}

impl Algebra {
    /// The members that all sets have; a missing set is empty.
    pub fn inter(sets: Vec<Option<Set>>, wanted: Wanted) -> Self {
        let mut inputs: Vec<Set> = sets.into_iter().map(Option::unwrap_or_default).collect();
        inputs.sort_by_key(Set::len);
        if inputs.first().is_none_or(Set::is_empty) {
            inputs.clear();
        }
        // What begins as integers is met in their order; anything else is quickest appended, and looked at in the end.
        let outcome = match inputs.first() {
            Some(Set::Packed(_) | Set::Trie(_)) => Set::unsorted(),
            _ => Set::default(),
        };
        Self { outcome, ..Self::new(Plan::Sift(Keep::Common), inputs, wanted) }
    }

    /// The members that any of the sets has.
    pub fn union(sets: Vec<Option<Set>>, wanted: Wanted, limits: Limits) -> Self {
        let mut inputs: Vec<Set> = sets.into_iter().flatten().collect();
        let largest = (0..inputs.len()).max_by_key(|at| inputs[*at].len());
        let base = largest.filter(|at| stays_large(&inputs[*at], 0, limits)).map(|at| inputs.remove(at));
        let plan = Plan::Build { added: inputs.len() };
        Self::new(plan, inputs, wanted).begun_with(base)
    }

    /// The members of the first set that no other has.
    pub fn diff(sets: Vec<Option<Set>>, wanted: Wanted, limits: Limits) -> Self {
        let mut sets = sets.into_iter();
        let Some(first) = sets.next().flatten() else { return Self::new(Plan::Sift(Keep::Own), Vec::new(), wanted) };
        let mut others: Vec<Set> = sets.flatten().collect();
        let in_others: usize = others.iter().map(Set::len).sum();
        let copies = stays_large(&first, in_others, limits) && in_others < first.len();
        // Redis counts the first set among those it looks into, and gives looking an advantage.
        let sifts = first.len().saturating_mul(others.len() + 1) / 2 <= first.len() + in_others;
        if copies || !sifts && stays_large(&first, 0, limits) {
            Self::new(Plan::Build { added: 0 }, others, wanted).begun_with(Some(first))
        } else {
            if sifts {
                others.sort_by_key(|set| std::cmp::Reverse(set.len()));
            }
            others.insert(0, first);
            let plan = if sifts { Plan::Sift(Keep::Own) } else { Plan::Build { added: 1 } };
            Self::new(plan, others, wanted)
        }
    }

    fn new(plan: Plan, inputs: Vec<Set>, wanted: Wanted) -> Self {
        Self { wanted, plan, inputs, at: 0, cursor: 0, outcome: Set::default(), count: 0, integers_only: true }
    }

    fn begun_with(self, base: Option<Set>) -> Self {
        Self { outcome: base.unwrap_or(self.outcome), ..self }
    }

    /// About `means.budget` look-ups or changes. `tell` is called once for each member if these are wanted. What is long and no longer
    /// held goes into `graves`.
    pub fn step(&mut self, means: Means<'_>, graves: &mut Vec<Rope>, mut tell: impl FnMut(Value<'_>)) -> Progress {
        let mut left = means.budget;
        loop {
            let mut spent = 1;
            let means = Means { budget: left, ..means };
            if self.walk_on(means, graves, &mut spent, &mut tell) == Progress::Done {
                return Progress::Done;
            }
            left = left.saturating_sub(spent);
            if left == 0 {
                return Progress::More;
            }
        }
    }

    /// A walk over some of the members of one set; `spent` is raised by what it took.
    fn walk_on(
        &mut self,
        means: Means<'_>,
        graves: &mut Vec<Rope>,
        spent: &mut usize,
        tell: &mut impl FnMut(Value<'_>),
    ) -> Progress {
        let progress = match self.plan {
            Plan::Sift(keep) => self.sift(keep, means, spent, tell),
            Plan::Build { added } => self.build(added, means, graves, spent),
            Plan::Tell => {
                self.cursor = self.outcome.walk(self.cursor, means.budget, means.stop(), means.hasher, |member| {
                    *spent += 1;
                    tell(member);
                });
                return if self.cursor == 0 { Progress::Done } else { Progress::More };
            }
        };
        if progress == Progress::More {
            return Progress::More;
        }
        if let Plan::Build { .. } = self.plan {
            self.count = self.outcome.len();
            if self.wanted == Wanted::Members {
                (self.plan, self.cursor) = (Plan::Tell, 0);
                return Progress::More;
            }
        } else if self.wanted == Wanted::Set && self.integers_only {
            self.outcome.sort_integers(means.limits);
        }
        Progress::Done
    }

    pub fn wanted(&self) -> Wanted {
        self.wanted
    }

    /// Members told, or counted.
    pub fn count(&self) -> usize {
        match self.wanted {
            Wanted::Count(most) => self.count.min(most),
            Wanted::Members | Wanted::Set => self.count,
        }
    }

    /// The outcome, and the sets that were looked into: they may be the last holders of their nodes by now.
    pub fn into_sets(self) -> (Set, Vec<Set>) {
        (self.outcome, self.inputs)
    }

    fn sift(&mut self, keep: Keep, means: Means<'_>, spent: &mut usize, tell: &mut impl FnMut(Value<'_>)) -> Progress {
        let [first, others @ ..] = &self.inputs[..] else { return Progress::Done };
        // Of many sets even one leaf of members would be too long a step.
        let stop = if others.len() > 3 { Stop::AtCount } else { means.stop() };
        let members = (means.budget / others.len().max(1)).max(1);
        let (mut room, outcome) = (TextRoom::default(), &mut self.outcome);
        let (wanted, count, integers_only) = (self.wanted, &mut self.count, &mut self.integers_only);
        self.cursor = first.walk(self.cursor, members, stop, means.hasher, |member| {
            let text = room.text(member);
            let mut has = |set: &Set| {
                *spent += 1;
                set.contains(text, means.hasher)
            };
            let kept = match keep {
                Keep::Common => others.iter().all(&mut has),
                Keep::Own => !others.iter().any(&mut has),
            };
            *spent += 1;
            if !kept {
                return;
            }
            *count += 1;
            match wanted {
                Wanted::Members => tell(member),
                Wanted::Count(_) => {}
                Wanted::Set => {
                    *integers_only = *integers_only && integer(member).is_some();
                    outcome.add(text, means.limits, means.hasher);
                }
            }
        });
        let enough = matches!(self.wanted, Wanted::Count(most) if self.count >= most);
        if self.cursor == 0 || enough { Progress::Done } else { Progress::More }
    }

    fn build(&mut self, added: usize, means: Means<'_>, graves: &mut Vec<Rope>, spent: &mut usize) -> Progress {
        let Some(input) = self.inputs.get(self.at) else { return Progress::Done };
        // Nothing can be taken out of nothing.
        if self.at >= added && self.outcome.is_empty() {
            return Progress::Done;
        }
        let (mut room, outcome) = (TextRoom::default(), &mut self.outcome);
        self.cursor = input.walk(self.cursor, means.budget, means.stop(), means.hasher, |member| {
            *spent += 1;
            let text = room.text(member);
            if self.at < added {
                outcome.add(text, means.limits, means.hasher);
            } else {
                outcome.remove(text, means.hasher, graves);
            }
        });
        self.at += usize::from(self.cursor == 0);
        if self.at < self.inputs.len() { Progress::More } else { Progress::Done }
    }
}

/// Whether a set is in its large form and would be, copied member by member, even without so many of them.
fn stays_large(set: &Set, without: usize, limits: Limits) -> bool {
    matches!(set, Set::Trie(_)) && set.len().saturating_sub(without) > limits.ints.max(limits.entries)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    type Model = BTreeSet<Vec<u8>>;

    fn hasher() -> HashKey {
        HashKey::new([3, 5])
    }

    const LIMITS: Limits = Limits { ints: 12, entries: 8, value_bytes: 16 };

    fn set_of(model: &Model) -> Set {
        let mut set = Set::default();
        model.iter().for_each(|member| assert!(set.add(member, LIMITS, &hasher())));
        set
    }

    fn owned(member: Value<'_>) -> Vec<u8> {
        TextRoom::default().text(member).to_vec()
    }

    fn members(set: &Set) -> Model {
        let mut all = Model::new();
        set.for_each(|member| assert!(all.insert(owned(member))));
        all
    }

    /// Runs to the end: what was told, what was counted, what was built, and the number of steps.
    fn run(mut algebra: Algebra, budget: usize) -> (Model, usize, Set, usize) {
        let (hasher, mut told, mut graves, mut steps) = (hasher(), Model::new(), Vec::new(), 1);
        let means = Means { limits: LIMITS, hasher: &hasher, budget };
        let tell = |told: &mut Model, member: Value<'_>| assert!(told.insert(owned(member)), "told twice");
        while algebra.step(means, &mut graves, |member| tell(&mut told, member)) == Progress::More {
            steps += 1;
        }
        (told, algebra.count(), algebra.into_sets().0, steps)
    }

    fn members_of() -> impl Strategy<Value = Option<Model>> {
        let member = prop_oneof![
            4 => (0..30u32).prop_map(|n| n.to_string().into_bytes()),
            2 => (0..30u32).prop_map(|n| format!("m{n}").into_bytes()),
            1 => (0..3usize).prop_map(|n| vec![b'l'; 600 + n]),
        ];
        let some = prop_oneof![
            proptest::collection::btree_set(member, 0..40),
            proptest::collection::btree_set((0..30u32).prop_map(|n| n.to_string().into_bytes()), 0..12),
            (0..2000u32).prop_map(|n| (0..n).map(|i| format!("m{i}").into_bytes()).collect()),
        ];
        proptest::option::weighted(0.9, some)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn the_outcome_is_that_of_the_model(models in proptest::collection::vec(members_of(), 1..6), budget in 1..300usize, most in 1..50usize) {
            let sets = || models.iter().map(|model| model.as_ref().map(set_of)).collect::<Vec<_>>();
            let all: Vec<Model> = models.iter().map(|model| model.clone().unwrap_or_default()).collect();
            let empty = Model::new();
            let (first, others) = all.split_first().expect("one at least");
            let inter: Model = first.iter().filter(|member| others.iter().all(|set| set.contains(*member))).cloned().collect();
            let diff: Model = first.iter().filter(|member| !others.iter().any(|set| set.contains(*member))).cloned().collect();
            let union: Model = all.iter().flatten().cloned().collect();
            type Make = fn(Vec<Option<Set>>, Wanted) -> Algebra;
            let ways: [(&Model, Make); 3] = [
                (&inter, Algebra::inter),
                (&union, |sets, wanted| Algebra::union(sets, wanted, LIMITS)),
                (&diff, |sets, wanted| Algebra::diff(sets, wanted, LIMITS)),
            ];
            for (outcome, make) in ways {
                let (told, count, ..) = run(make(sets(), Wanted::Members), budget);
                prop_assert_eq!((&told, count), (outcome, outcome.len()));
                let (told, _, built, _) = run(make(sets(), Wanted::Set), budget);
                prop_assert_eq!((&told, &members(&built)), (&empty, outcome));
                prop_assert_eq!(built.bytes(), built.recount_bytes());
                let (_, count, ..) = run(make(sets(), Wanted::Count(most)), budget);
                prop_assert_eq!(count, outcome.len().min(most));
            }
        }
    }

    fn numbers(range: std::ops::Range<u32>) -> Option<Set> {
        Some(set_of(&range.map(|n| n.to_string().into_bytes()).collect()))
    }

    fn names(range: std::ops::Range<u32>) -> Option<Set> {
        Some(set_of(&range.map(|n| format!("m{n}").into_bytes()).collect()))
    }

    /// OBJECT ENCODING of what is stored, as Redis 7.2 has it.
    #[test]
    fn the_outcome_has_the_form_that_redis_gives_it() {
        let inter = |sets| run(Algebra::inter(sets, Wanted::Set), 100).2.encoding();
        let diff = |sets| run(Algebra::diff(sets, Wanted::Set, LIMITS), 100).2.encoding();
        let union = |sets| run(Algebra::union(sets, Wanted::Set, LIMITS), 100).2.encoding();
        assert_eq!(inter(vec![numbers(0..9), numbers(3..6)]), "intset");
        assert_eq!(inter(vec![numbers(0..40), numbers(0..30)]), "hashtable");
        assert_eq!(inter(vec![numbers(0..40), numbers(28..50)]), "intset", "twelve integers, met in a hash table");
        assert_eq!(inter(vec![names(0..40), names(33..60)]), "listpack");
        assert_eq!(inter(vec![names(0..40), names(31..60)]), "hashtable");
        assert_eq!(union(vec![numbers(0..6), numbers(6..12)]), "intset");
        assert_eq!(union(vec![numbers(0..6), names(0..2)]), "listpack");
        assert_eq!(union(vec![numbers(0..6), names(0..3)]), "hashtable");
        assert_eq!(diff(vec![names(0..40), names(5..50)]), "listpack");
        assert_eq!(diff(vec![names(0..40), names(5..9)]), "hashtable");
        assert_eq!(
            diff(vec![names(0..40), names(2..15), names(15..28), names(28..40)]),
            "hashtable",
            "what was copied and shrank"
        );
    }

    #[test]
    fn a_large_set_is_copied_by_its_root() {
        let (large, few) = (names(0..20_000), names(19_995..20_003));
        let (_, _, union, steps) = run(Algebra::union(vec![few.clone(), large.clone()], Wanted::Set, LIMITS), 100);
        assert_eq!((union.len(), steps), (20_003, 1));
        let (_, _, diff, steps) = run(Algebra::diff(vec![large, few], Wanted::Set, LIMITS), 100);
        assert_eq!((diff.len(), steps), (19_995, 1));
    }

    #[test]
    fn every_step_is_bounded_and_counting_stops_early() {
        let (one, two) = (names(0..20_000), names(0..30_000));
        let (_, count, _, steps) = run(Algebra::inter(vec![one.clone(), two.clone()], Wanted::Count(usize::MAX)), 100);
        assert!(count == 20_000 && steps > 40, "{steps} steps");
        let (_, count, _, steps) = run(Algebra::inter(vec![one, two], Wanted::Count(10)), 100);
        assert_eq!((count, steps), (10, 1));
    }
}
