//! Unions, intersections and differences of sorted sets and sets, an element after the other.
//!
//! ```text
//!  union          every operand, the smallest first; equal members' scores are joined
//!  intersection   the smallest operand, each of its members looked up in the others
//!  difference     the first operand, each of its members looked up in the others
//! ```
//!
//! A member of a plain set has the score 1. The order in which scores are joined is Redis's, since sums of doubles depend on it; what is not a number
//! (infinity less infinity, nothing times infinity) counts as 0, as in Redis.

use super::{Limits, Zset};
use crate::base::hash::HashKey;
use crate::types::ranked::Way;
use crate::types::rope::Rope;
use crate::types::score::Score;
use crate::types::set::Set;
use crate::types::trie::{Stop, Value};
use crate::types::{Object, Progress};

/// What is mixed.
#[derive(Debug)]
pub enum Operand {
    Zset(Zset),
    Set(Set),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Union,
    Intersection,
    Difference,
}

/// How the scores of one member become one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Aggregate {
    #[default]
    Sum,
    Min,
    Max,
}

/// What becomes of the members of the result.
#[derive(Debug)]
pub enum Outcome {
    Kept(Zset, Limits),
    /// How many so far, and how many at most are counted.
    Counted(usize, usize),
}

/// An operation under way.
#[derive(Debug)]
pub struct Mix {
    operands: Vec<(Operand, f64)>,
    operation: Operation,
    aggregate: Aggregate,
    /// The operand that is walked, and how far.
    at: usize,
    cursor: u64,
    outcome: Outcome,
}

impl Operand {
    pub fn len(&self) -> usize {
        match self {
            Self::Zset(zset) => zset.len(),
            Self::Set(set) => set.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn score(&self, member: &[u8], hasher: &HashKey) -> Option<f64> {
        match self {
            Self::Zset(zset) => zset.score(member, hasher).map(Score::value),
            Self::Set(set) => set.contains(member, hasher).then_some(1.0),
        }
    }

    /// Visits about `count` members from `cursor` on (0: the beginning); where to go on, 0 being the end.
    fn walk(&self, cursor: u64, count: usize, hasher: &HashKey, mut visit: impl FnMut(Value<'_>, f64)) -> u64 {
        match self {
            Self::Set(set) => set.walk(cursor, count, Stop::AtLeaf, hasher, |member| visit(member, 1.0)),
            Self::Zset(zset) => {
                let from = usize::try_from(cursor).expect("a rank");
                let to = zset.len().min(from.saturating_add(count));
                zset.range(from..to, Way::Up, |member, score| visit(member, score.value()));
                if to == zset.len() { 0 } else { to as u64 }
            }
        }
    }

    fn into_object(self) -> Object {
        match self {
            Self::Zset(zset) => Object::Zset(zset),
            Self::Set(set) => Object::Set(set),
        }
    }
}

impl Aggregate {
    fn join(self, one: f64, other: f64) -> f64 {
        match self {
            Self::Sum => number(one + other),
            Self::Min if other < one => other,
            Self::Max if other > one => other,
            Self::Min | Self::Max => one,
        }
    }
}

fn number(value: f64) -> f64 {
    if value.is_nan() { 0.0 } else { value }
}

impl Mix {
    /// `operands`: with their weights, in the order of the request; what is missing is empty.
    pub fn new(
        operation: Operation,
        aggregate: Aggregate,
        mut operands: Vec<(Operand, f64)>,
        outcome: Outcome,
    ) -> Self {
        if operation != Operation::Difference {
            operands.sort_by_key(|(operand, _)| operand.len());
        }
        Self { operands, operation, aggregate, at: 0, cursor: 0, outcome }
    }

    /// Goes on by some `budget` look-ups.
    pub fn step(&mut self, budget: usize, hasher: &HashKey, graves: &mut Vec<Rope>) -> Progress {
        let Self { operands, operation, aggregate, at, cursor, outcome } = self;
        let (operation, aggregate) = (*operation, *aggregate);
        // What is empty on one side ends an intersection, since the smallest comes first.
        let walked = if operation == Operation::Union { operands.len() } else { operands.len().min(1) };
        let each = if operation == Operation::Union { 1 } else { operands.len() };
        let mut left = (budget / each).max(1);
        let mut text = Vec::new();
        while *at < walked && left > 0 && !outcome.is_full() {
            let (before, rest) = operands.split_at(*at + 1);
            let (operand, weight) = &before[*at];
            *cursor = operand.walk(*cursor, left, hasher, |member, score| {
                left = left.saturating_sub(1);
                text.clear();
                member.read_into(&mut text);
                let first = number(score * weight);
                let score = match operation {
                    Operation::Union => Some(first),
                    Operation::Intersection => rest.iter().try_fold(first, |sum, (operand, weight)| {
                        operand.score(&text, hasher).map(|score| aggregate.join(sum, score * weight))
                    }),
                    Operation::Difference => {
                        let is_elsewhere = rest.iter().any(|(operand, _)| operand.score(&text, hasher).is_some());
                        (!is_elsewhere).then_some(score)
                    }
                };
                if let Some(score) = score {
                    outcome.take(&text, score, aggregate, hasher, graves);
                }
            });
            if *cursor == 0 {
                *at += 1;
            }
            left = left.saturating_sub(1);
        }
        if *at < walked && !outcome.is_full() { Progress::More } else { Progress::Done }
    }

    /// What came of it, and what it was made of, for the caller to free in steps.
    pub fn finish(self) -> (Outcome, impl Iterator<Item = Object>) {
        (self.outcome, self.operands.into_iter().map(|(operand, _)| operand.into_object()))
    }

    /// All it holds, for the caller to free in steps.
    pub fn abandon(self) -> impl Iterator<Item = Object> {
        let (outcome, operands) = self.finish();
        let kept = if let Outcome::Kept(zset, _) = outcome { Some(Object::Zset(zset)) } else { None };
        operands.chain(kept)
    }
}

impl Outcome {
    fn is_full(&self) -> bool {
        matches!(self, Self::Counted(count, most) if count >= most)
    }

    fn take(&mut self, member: &[u8], score: f64, aggregate: Aggregate, hasher: &HashKey, graves: &mut Vec<Rope>) {
        match self {
            Self::Counted(count, most) => *count = (*count + 1).min(*most),
            Self::Kept(zset, limits) => {
                let joined = |old: Option<Score>| old.map_or(score, |old| aggregate.join(old.value(), score));
                zset.decide(member, *limits, hasher, graves, |old| Score::new(joined(old)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::set;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    type Model = BTreeMap<Vec<u8>, f64>;

    fn hasher() -> HashKey {
        HashKey::new([3, 5])
    }

    /// Scores that add up exactly in any order.
    fn operand(members: &[(u16, i8)], plain: bool) -> (Operand, Model) {
        let (mut zset, mut set, mut model, mut graves) = (Zset::default(), Set::default(), Model::new(), Vec::new());
        for (member, score) in members {
            let (name, score) = (format!("m{member}").into_bytes(), if plain { 1.0 } else { f64::from(*score) });
            set.add(&name, set::Limits::default(), &hasher());
            zset.set(&name, Score::new(score).expect("a number"), Limits::default(), &hasher(), &mut graves);
            model.insert(name, score);
        }
        (if plain { Operand::Set(set) } else { Operand::Zset(zset) }, model)
    }

    fn expected(operation: Operation, aggregate: Aggregate, models: &[(Model, f64)]) -> Model {
        let mut all = Model::new();
        for (place, (model, weight)) in models.iter().enumerate() {
            for (name, score) in model {
                let others = models.iter().enumerate().filter(|(other, _)| *other != place);
                let elsewhere = others.filter(|(_, (model, _))| model.contains_key(name)).count();
                let belongs = match operation {
                    Operation::Union => true,
                    Operation::Intersection => elsewhere + 1 == models.len(),
                    Operation::Difference => place == 0 && elsewhere == 0,
                };
                if belongs {
                    let score = score * weight;
                    all.entry(name.clone()).and_modify(|old| *old = aggregate.join(*old, score)).or_insert(score);
                }
            }
        }
        all
    }

    proptest! {
        #[test]
        fn a_mix_in_steps_is_what_counting_says(
            inputs in prop::collection::vec((prop::collection::vec((0..400u16, any::<i8>()), 0..300), any::<bool>(), -3..4i32), 1..5),
            operation in prop::sample::select(vec![Operation::Union, Operation::Intersection, Operation::Difference]),
            aggregate in prop::sample::select(vec![Aggregate::Sum, Aggregate::Min, Aggregate::Max]),
            budget in 1..200usize,
            most in 1..50usize,
        ) {
            let weight = |weight: i32| if operation == Operation::Difference { 1.0 } else { f64::from(weight) };
            let build = |outcome| {
                let made = inputs.iter().map(|(members, plain, w)| (operand(members, *plain), weight(*w)));
                let (operands, models): (Vec<_>, Vec<_>) = made.map(|((o, m), w)| ((o, w), (m, w))).unzip();
                (Mix::new(operation, aggregate, operands, outcome), models)
            };
            let (mut mix, models) = build(Outcome::Kept(Zset::default(), Limits::default()));
            let (mut steps, mut graves) = (0, Vec::new());
            while mix.step(budget, &hasher(), &mut graves) == Progress::More {
                steps += 1;
                prop_assert!(steps < 5000);
            }
            let Outcome::Kept(zset, _) = mix.finish().0 else { panic!("it was to be kept") };
            let expected = expected(operation, aggregate, &models);
            let mut found = Model::new();
            zset.range(0..zset.len(), Way::Up, |member, score| {
                let mut text = Vec::new();
                member.read_into(&mut text);
                found.insert(text, score.value());
            });
            prop_assert_eq!(&found, &expected);
            let (mut mix, _) = build(Outcome::Counted(0, most));
            while mix.step(budget, &hasher(), &mut graves) == Progress::More {}
            let Outcome::Counted(count, _) = mix.finish().0 else { panic!("it was to be counted") };
            if operation != Operation::Union {
                prop_assert_eq!(count, expected.len().min(most));
            }
        }
    }
}
