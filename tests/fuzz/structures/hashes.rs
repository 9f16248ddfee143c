//! Hashes of which fields have deadlines, as the clock goes on.

use super::Input;
use corelane::base::hash::HashKey;
use corelane::base::time::Millis;
use corelane::types::Progress;
use corelane::types::hash::{Hash, Limits, Until};
use corelane::types::trie::{Pair, Stop, Value, Written};
use std::collections::BTreeMap;

/// Fields that are not due, each with its value and deadline.
type Model = BTreeMap<Vec<u8>, (Vec<u8>, Option<Millis>)>;

/// Small, so that few bytes reach every form.
const LIMITS: Limits = Limits { entries: 12, value_bytes: 20 };

const HASHES: usize = 3;

/// Most fields of one hash: what a fill adds to stays quick, and leaves that hold due fields are few enough to be counted.
const FIELDS_MAX: usize = 500;

#[derive(Clone, Default)]
struct Twin {
    hash: Hash,
    model: Model,
    /// What OBJECT ENCODING must say.
    is_large: bool,
    is_timed: bool,
}

fn text(value: Value<'_>) -> Vec<u8> {
    let mut text = Vec::new();
    value.read_into(&mut text);
    text
}

fn whole(pair: Pair<'_>) -> (Vec<u8>, (Vec<u8>, Option<Millis>)) {
    (text(pair.first), (text(pair.second), pair.deadline))
}

impl Twin {
    /// As a write does: what it touches and is due goes first.
    fn settle(&mut self, field: &[u8], now: Millis, hasher: &HashKey) {
        let model = &self.model;
        self.hash.settle([field].into_iter(), now, hasher, &mut Vec::new(), |pair| {
            assert!(pair.is_due(now) && !model.contains_key(&text(pair.first)));
        });
    }

    fn set(&mut self, field: &[u8], value: &[u8], until: Until, now: Millis, hasher: &HashKey) {
        self.settle(field, now, hasher);
        let before = self.model.get(field).and_then(|(_, deadline)| *deadline);
        let deadline = match until {
            Until::Forever => None,
            Until::AsBefore => before,
            Until::At(at) => Some(at),
        };
        let written = self.hash.set(field, value, until, LIMITS, hasher, &mut Vec::new());
        let is_new = self.model.insert(field.to_vec(), (value.to_vec(), deadline)).is_none();
        assert_eq!(written == Written::Added, is_new);
        self.is_timed |= deadline.is_some();
        self.is_large |=
            field.len().max(value.len()) > LIMITS.value_bytes || is_new && self.model.len() > LIMITS.entries;
    }

    fn check(&self, now: Millis) {
        let wanted = match (self.is_large, self.is_timed) {
            (true, _) => "hashtable",
            (false, true) => "listpackex",
            (false, false) => "listpack",
        };
        assert_eq!((self.hash.encoding(), self.hash.living(now)), (wanted, self.model.len()));
        assert_eq!(self.hash.times().all_due(now), self.hash.times().any() && self.model.is_empty());
    }

    fn check_all(&self, now: Millis, hasher: &HashKey) {
        let mut seen = Model::new();
        self.hash.for_each(|pair| {
            if !pair.is_due(now) {
                let (field, rest) = whole(pair);
                assert!(seen.insert(field, rest).is_none(), "a field comes once");
            }
        });
        assert_eq!(seen, self.model);
        let next = self.model.values().filter_map(|(_, deadline)| *deadline).min();
        assert_eq!(self.hash.next_after(now), next);
        assert_eq!(self.hash.bytes(), self.hash.recount_bytes());
        let mut by_place =
            (0..self.hash.len()).filter_map(|place| self.hash.nth(place)).filter(|pair| !pair.is_due(now));
        assert!(by_place.by_ref().all(|pair| self.model.contains_key(&text(pair.first))));
        for (field, rest) in &self.model {
            assert_eq!(self.hash.pair(field, hasher, now).map(whole).as_ref().map(|pair| &pair.1), Some(rest));
        }
    }
}

/// Hashes against ordered maps from which what is due vanishes by itself.
pub(crate) fn hashes(data: &[u8]) -> u64 {
    let (hasher, mut input, mut seen, mut now) = (HashKey::new([3, 5]), Input::of(data), 0_u64, Millis(1000));
    let mut twins: [Twin; HASHES] = Default::default();
    while !input.0.is_empty() {
        let (op, which) = (input.byte() % 13, input.which(HASHES));
        let twin = &mut twins[which];
        match op {
            0..4 => {
                let (field, value) = (input.member(), input.member());
                let until = match input.byte() {
                    0..128 => Until::Forever,
                    128..170 => Until::AsBefore,
                    later => Until::At(now.saturating_add(u64::from(later - 169))),
                };
                twin.set(&field, &value, until, now, &hasher);
            }
            4 => {
                let field = input.member();
                twin.settle(&field, now, &hasher);
                let was = twin.hash.remove(&field, &hasher, &mut Vec::new());
                assert_eq!(was, twin.model.remove(&field).is_some());
            }
            5 => {
                let (field, later) = (input.member(), input.byte());
                let deadline = (later > 60).then(|| now.saturating_add(u64::from(later)));
                twin.settle(&field, now, &hasher);
                let was = twin.hash.restamp(&field, deadline, &hasher);
                let old = twin.model.get_mut(&field).map(|(_, old)| *old = deadline);
                assert_eq!(was, old.is_some());
                twin.is_timed |= was && deadline.is_some();
            }
            6 => {
                let (from, count, later) = (input.number(), usize::from(input.byte()), u64::from(input.byte()));
                for i in from..(from + count).min(from + FIELDS_MAX.saturating_sub(twin.model.len())) {
                    let until = if later > 100 {
                        Until::At(now.saturating_add(1 + later * (i as u64 % 7)))
                    } else {
                        Until::Forever
                    };
                    twin.set(format!("m{i}").as_bytes(), b"v", until, now, &hasher);
                }
            }
            7 => {
                now = now.saturating_add(u64::from(input.byte()));
                for twin in &mut twins {
                    twin.model.retain(|_, (_, deadline)| deadline.is_none_or(|at| at > now));
                }
            }
            8 => {
                let (count, due, mut told) = (1 + input.number() % 300, twin.hash.len() - twin.model.len(), 0);
                let gone = twin.hash.expire(now, count, &hasher, &mut Vec::new(), |pair| {
                    assert!(pair.is_due(now));
                    told += 1;
                });
                assert!(gone == told && gone >= count.min(due) && gone <= due, "{gone} of {due}, {count} wanted");
            }
            9 => {
                let copy = twins[which].clone();
                twins[input.which(HASHES)] = copy;
            }
            10 => scan(twin, input.number(), now, &hasher),
            11 => twin.check_all(now, &hasher),
            _ => {
                let budget = 1 + usize::from(input.byte());
                while twin.hash.free_step(&mut { budget }) == Progress::More {}
                *twin = Twin::default();
            }
        }
        let twin = &twins[which];
        twin.check(now);
        let form = u64::from(twin.hash.encoding().as_bytes()[0] % 4) | u64::from(twin.is_timed) << 2;
        seen = seen.rotate_left(7) ^ (u64::from(op) << 8 | form << 4 | u64::from(twin.model.len().max(1).ilog2()));
    }
    twins.iter().for_each(|twin| twin.check_all(now, &hasher));
    seen % 65_536
}

fn scan(twin: &Twin, count: usize, now: Millis, hasher: &HashKey) {
    let (mut found, mut cursor) = (Model::new(), 0);
    loop {
        let stop = if count.is_multiple_of(2) { Stop::AtLeaf } else { Stop::AtCount };
        cursor = twin.hash.scan(cursor, count, stop, now, hasher, |pair| {
            let (field, rest) = whole(pair);
            assert!(found.insert(field, rest).is_none(), "a hash that stands still shows each once");
        });
        if cursor == 0 {
            break;
        }
    }
    assert_eq!(found, twin.model);
}
