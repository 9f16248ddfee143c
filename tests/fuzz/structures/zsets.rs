//! Sorted sets: scores, ranks, ranges.

use super::Input;
use corelane::base::hash::HashKey;
use corelane::types::Progress;
use corelane::types::ranked::{Edge, Way};
use corelane::types::score::Score;
use corelane::types::trie::{Stop, Value};
use corelane::types::zset::{Limits, Zset};
use std::collections::BTreeMap;

/// Scores by member; few different ones, so that ties are frequent.
type Model = BTreeMap<Vec<u8>, Score>;

/// Small, so that few bytes reach every form.
const LIMITS: Limits = Limits { entries: 12, member_bytes: 20 };

const ZSETS: usize = 3;

/// Most members of one: the model sorts them all.
const MEMBERS_MAX: usize = 500;

#[derive(Clone, Default)]
struct Twin {
    zset: Zset,
    model: Model,
    is_large: bool,
}

fn score(byte: u8) -> Score {
    let value = match byte {
        0 => f64::NEG_INFINITY,
        1 => f64::INFINITY,
        2 => -0.0,
        3 => f64::MIN_POSITIVE / 2.0,
        4 => 1e308,
        _ => f64::from(byte % 16) / 4.0 - 2.0,
    };
    Score::new(value).expect("no NaN")
}

fn text(value: Value<'_>) -> Vec<u8> {
    let mut text = Vec::new();
    value.read_into(&mut text);
    text
}

impl Twin {
    fn set(&mut self, member: &[u8], score: Score, hasher: &HashKey) {
        let before = self.zset.set(member, score, LIMITS, hasher, &mut Vec::new());
        assert_eq!(before, self.model.insert(member.to_vec(), score));
        self.is_large |= member.len() > LIMITS.member_bytes || self.model.len() > LIMITS.entries;
    }

    /// In the order of scores, then of members.
    fn ordered(&self) -> Vec<(Vec<u8>, Score)> {
        let mut all: Vec<_> = self.model.iter().map(|(member, score)| (member.clone(), *score)).collect();
        all.sort_by(|one, other| {
            one.1.value().partial_cmp(&other.1.value()).expect("no NaN").then_with(|| one.0.cmp(&other.0))
        });
        all
    }

    fn range(&self, from: usize, to: usize, way: Way) -> Vec<(Vec<u8>, Score)> {
        let mut shown = Vec::new();
        self.zset.range(from..to, way, |member, score| shown.push((text(member), score)));
        shown
    }

    fn check_all(&self, hasher: &HashKey) {
        let ordered = self.ordered();
        assert_eq!(self.range(0, self.zset.len(), Way::Up), ordered);
        assert_eq!(self.zset.bytes(), self.zset.recount_bytes());
        for (rank, (member, score)) in ordered.iter().enumerate() {
            assert_eq!(self.zset.rank_of(member, hasher), Some((rank, *score)));
            assert_eq!(self.zset.rank(&Edge::Element(*score, member)), rank);
        }
    }
}

/// Sorted sets against maps that are sorted when they are looked at.
pub(crate) fn zsets(data: &[u8]) -> u64 {
    let (hasher, mut input, mut seen) = (HashKey::new([3, 5]), Input::of(data), 0_u64);
    let mut twins: [Twin; ZSETS] = Default::default();
    while !input.0.is_empty() {
        let (op, which) = (input.byte() % 12, input.which(ZSETS));
        let twin = &mut twins[which];
        match op {
            0..4 => {
                let (member, score) = (input.member(), score(input.byte()));
                twin.set(&member, score, &hasher);
            }
            4 => {
                let member = input.member();
                let removed = twin.zset.remove(&member, &hasher, &mut Vec::new());
                assert_eq!(removed, twin.model.remove(&member));
            }
            5 => {
                let (from, count) = (input.number(), usize::from(input.byte()));
                for i in from..(from + count).min(from + MEMBERS_MAX.saturating_sub(twin.model.len())) {
                    let [low, ..] = i.to_le_bytes();
                    twin.set(format!("m{i}").as_bytes(), score(low), &hasher);
                }
            }
            6 => {
                let member = input.member();
                assert_eq!(twin.zset.score(&member, &hasher), twin.model.get(&member).copied());
            }
            7 => {
                let len = twin.model.len();
                let (from, to) = (input.number() % (len + 1), input.number() % (len + 1));
                let (from, to) = (from.min(to), from.max(to));
                let mut wanted = twin.ordered()[from..to].to_vec();
                assert_eq!(twin.range(from, to, Way::Up), wanted);
                wanted.reverse();
                assert_eq!(twin.range(from, to, Way::Down), wanted);
            }
            8 => {
                let copy = twins[which].clone();
                twins[input.which(ZSETS)] = copy;
            }
            9 => scan(twin, input.number(), &hasher),
            10 => twin.check_all(&hasher),
            _ => {
                let budget = 1 + usize::from(input.byte());
                while twin.zset.free_step(&mut { budget }) == Progress::More {}
                *twin = Twin::default();
            }
        }
        let twin = &twins[which];
        assert_eq!(twin.zset.len(), twin.model.len());
        assert_eq!(twin.zset.encoding(), if twin.is_large { "skiplist" } else { "listpack" });
        seen = seen.rotate_left(7)
            ^ (u64::from(op) << 8 | u64::from(twin.is_large) << 4 | u64::from(twin.model.len().max(1).ilog2()));
    }
    twins.iter().for_each(|twin| twin.check_all(&hasher));
    seen % 65_536
}

fn scan(twin: &Twin, count: usize, hasher: &HashKey) {
    let (mut found, mut cursor) = (Model::new(), 0);
    loop {
        let stop = if count.is_multiple_of(2) { Stop::AtLeaf } else { Stop::AtCount };
        cursor = twin.zset.scan(cursor, count, stop, hasher, |member, score| {
            assert!(found.insert(text(member), score).is_none(), "one that stands still shows each once");
        });
        if cursor == 0 {
            break;
        }
    }
    assert_eq!(found, twin.model);
}
