//! The intents of one lane: which keys are held by commands that are not over yet, and who waits for them.
//!
//! ```text
//!   keys    k1: [A shared] [B shared] | [C exclusive]          held | waiting, in the order of arrival
//!           k2: [C exclusive]
//!   gate    [D whole] [E k3] [F k1] ...                        behind one that wants everything, all wait
//! ```
//!
//! A claim takes its place in the queues of all its keys at once and is granted when it is at the head of each (beside others that
//! share). Within a lane claims are therefore granted in the order of their arrival wherever they meet: no deadlock, no starvation.
//! A claim on the whole keyspace waits until nothing of another kind is held; whoever comes later waits behind it, at the gate.
//!
//! A claim on very many keys is of constant time as well: it waits as one on the whole keyspace does, but while it is held it covers its
//! keys alone. Whoever is not concerned passes the gate then, since it may be held for hundreds of turns.
//!
//! Nothing here knows transactions or messages: `T` is whatever the claim stands for. Keys are told apart by their hash alone: the same
//! name in two databases (MOVE and COPY want both), or two keys of equal hash (2^-50 within a slot), wait for each other, which is harmless.
//!
//! Absent: deadlock between lanes. Whoever holds claims on several lanes either does not wait or takes them in the order of the lanes
//! (`txn.rs`).

use std::collections::VecDeque;
use std::sync::Arc;

use hashbrown::hash_map::Entry;
use hashbrown::{HashMap, HashSet};

use crate::base::hash::KeyHash;
use crate::base::slab::Slab;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Shared,
    Exclusive,
}

/// What a claim is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// Each key once.
    Keys(Vec<(KeyHash, Mode)>),
    /// Very many keys.
    Many(Arc<HashSet<KeyHash>>, Mode),
    Whole(Mode),
}

impl Scope {
    /// Whether whoever holds it may change anything.
    pub(super) fn is_exclusive(&self) -> bool {
        match self {
            Self::Whole(mode) | Self::Many(_, mode) => *mode == Mode::Exclusive,
            Self::Keys(keys) => keys.iter().any(|(_, mode)| *mode == Mode::Exclusive),
        }
    }

    /// Keys in any order and number; one that is wanted both ways is wanted exclusively.
    pub(super) fn of(keys: impl IntoIterator<Item = (KeyHash, Mode)>) -> Self {
        let mut keys: Vec<_> = keys.into_iter().collect();
        keys.sort_unstable_by_key(|(key, mode)| (*key, *mode == Mode::Shared));
        keys.dedup_by_key(|(key, _)| *key);
        Self::Keys(keys)
    }
}

/// Names a claim until it is released.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct ClaimId(u32);

#[derive(Debug)]
struct Claim<T> {
    scope: Scope,
    /// Keys at whose head it is not yet.
    missing: usize,
    what: T,
}

/// One key's claims in the order of their arrival; `held` of them, at the front, have it.
#[derive(Debug, Default)]
struct Queue {
    claims: VecDeque<(ClaimId, Mode)>,
    held: usize,
}

impl Queue {
    /// Whether a claim that comes now would have the key at once.
    fn admits(&self, mode: Mode) -> bool {
        self.held == self.claims.len() && (self.claims.is_empty() || mode == Mode::Shared && self.is_shared())
    }

    fn is_shared(&self) -> bool {
        self.claims.front().is_some_and(|(_, mode)| *mode == Mode::Shared)
    }

    /// Whether the first that waits can be let in.
    fn next(&self) -> Option<ClaimId> {
        let (claim, mode) = *self.claims.get(self.held)?;
        (self.held == 0 || mode == Mode::Shared && self.is_shared()).then_some(claim)
    }
}

/// A claim that is held on the whole keyspace, or on a set of keys.
#[derive(Debug)]
struct Wide {
    claim: ClaimId,
    mode: Mode,
    keys: Option<Arc<HashSet<KeyHash>>>,
}

impl Wide {
    fn covers(&self, key: KeyHash) -> bool {
        self.keys.as_ref().is_none_or(|keys| keys.contains(&key))
    }
}

/// Queues that are kept for keys to come.
const SPARE_QUEUES_MAX: usize = 1024;

#[derive(Debug)]
pub(super) struct Locks<T> {
    keys: HashMap<KeyHash, Queue>,
    /// Queues of no key, for the memory of their claims.
    spares: Vec<Queue>,
    claims: Slab<Claim<T>>,
    /// Claims that stand in the queues of keys, and those among them that want a key exclusively.
    keyed: usize,
    keyed_exclusive: usize,
    wide: Vec<Wide>,
    gate: VecDeque<ClaimId>,
    /// Granted since `next_granted` was last asked.
    granted: VecDeque<ClaimId>,
}

impl<T> Default for Locks<T> {
    fn default() -> Self {
        Self {
            keys: HashMap::new(),
            spares: Vec::new(),
            claims: Slab::default(),
            keyed: 0,
            keyed_exclusive: 0,
            wide: Vec::new(),
            gate: VecDeque::new(),
            granted: VecDeque::new(),
        }
    }
}

impl<T> Locks<T> {
    /// Nothing is held and nobody waits: the one branch that commands on single keys pay.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.claims.is_empty()
    }

    /// Whether a command on this key would have to wait.
    pub(super) fn blocks(&self, key: KeyHash, mode: Mode) -> bool {
        self.is_gate_shut(mode)
            || self.is_covered(key, mode)
            || self.keys.get(&key).is_some_and(|queue| !queue.admits(mode))
    }

    /// Whether whoever comes must wait behind those at the gate. Not while a set of keys is held, nor who only reads while everything is held
    /// for reading: who passes then neither holds up nor overtakes for long those who wait for its end.
    fn is_gate_shut(&self, mode: Mode) -> bool {
        let lets_pass = |wide: &Wide| wide.keys.is_some() || (mode, wide.mode) == (Mode::Shared, Mode::Shared);
        !self.gate.is_empty() && !self.wide.iter().any(lets_pass)
    }

    /// Whether a claim on more than single keys that is held stands in the way.
    fn is_covered(&self, key: KeyHash, mode: Mode) -> bool {
        let conflicts = |wide: &&Wide| mode == Mode::Exclusive || wide.mode == Mode::Exclusive;
        self.wide.iter().filter(conflicts).any(|wide| wide.covers(key))
    }

    /// Whether a key is held or wanted by anybody: then it must not expire under them.
    pub(super) fn concerns(&self, key: KeyHash) -> bool {
        self.wide.iter().any(|wide| wide.covers(key)) || self.keys.contains_key(&key)
    }

    /// Whether whoever holds a key is such a one.
    pub(super) fn is_held_by_none_but(&self, key: KeyHash, is_such: impl Fn(ClaimId, &T) -> bool) -> bool {
        let is_such =
            |claim: ClaimId| is_such(claim, &self.claims.get(claim.0).expect("who stands in a queue is alive").what);
        let held = self.keys.get(&key).into_iter().flat_map(|queue| queue.claims.iter().take(queue.held));
        !self.is_covered(key, Mode::Exclusive) && held.into_iter().all(|(claim, _)| is_such(*claim))
    }

    /// Whether nobody stands in the way of any of the scope.
    pub(super) fn is_free(&self, scope: &Scope) -> bool {
        match scope {
            _ if self.is_empty() => true,
            Scope::Keys(keys) => !keys.iter().any(|(key, mode)| self.blocks(*key, *mode)),
            Scope::Many(_, mode) | Scope::Whole(mode) => self.gate.is_empty() && self.admits_wide(*mode),
        }
    }

    /// Takes all of the scope if nobody stands in the way, or nothing.
    pub(super) fn try_claim(&mut self, scope: Scope, what: T) -> Result<ClaimId, T> {
        if self.is_free(&scope) { Ok(self.take(scope, what)) } else { Err(what) }
    }

    /// Takes all of a scope that is free.
    pub(super) fn take(&mut self, scope: Scope, what: T) -> ClaimId {
        let claim = self.insert(scope, what);
        self.enter(claim);
        let granted = self.granted.pop_back();
        assert_eq!(granted, Some(claim), "nobody stood in the way");
        claim
    }

    /// Takes a place behind whoever is there. The claim comes out of `next_granted` when it holds all of its scope.
    pub(super) fn claim(&mut self, scope: Scope, what: T) -> ClaimId {
        let claim = self.insert(scope, what);
        self.gate.push_back(claim);
        self.open_gate();
        claim
    }

    /// As `claim`, of one key, ahead of all who wait for it; for whoever has waited longer than they, and will let go of the key whatever
    /// others hold.
    pub(super) fn claim_ahead(&mut self, key: KeyHash, what: T) {
        let keys = vec![(key, Mode::Exclusive)];
        let claim = self.insert(Scope::Keys(keys.clone()), what);
        if self.is_covered(key, Mode::Exclusive) {
            return self.gate.push_front(claim);
        }
        let queue = self.keys.entry(key).or_default();
        let at_once = queue.claims.is_empty();
        queue.claims.insert(queue.held, (claim, Mode::Exclusive));
        queue.held += usize::from(at_once);
        self.count(&keys, true);
        if at_once {
            self.granted.push_back(claim);
        } else {
            self.claims.get_mut(claim.0).expect("just inserted").missing = 1;
        }
    }

    /// A granted claim on keys takes more of them if nobody stands in the way of any. Whether it did.
    pub(super) fn widen(&mut self, claim: ClaimId, more: &[(KeyHash, Mode)]) -> bool {
        let Scope::Keys(held) = self.scope(claim) else { unreachable!("only who holds single keys wants more") };
        let new: Vec<_> = more.iter().filter(|(key, _)| !held.iter().any(|(other, _)| other == key)).copied().collect();
        if new.iter().any(|(key, mode)| self.blocks(*key, *mode)) {
            return false;
        }
        let held = held.clone();
        self.count(&held, false);
        for (key, mode) in &new {
            let queue = self.keys.entry(*key).or_default();
            queue.claims.push_back((claim, *mode));
            queue.held += 1;
        }
        let wider = [held, new].concat();
        self.count(&wider, true);
        self.claims.get_mut(claim.0).expect("a claim lives until its release").scope = Scope::of(wider);
        true
    }

    /// A granted claim on keys gives back those it only reads.
    pub(super) fn narrow(&mut self, claim: ClaimId) {
        let Scope::Keys(held) = self.scope(claim).clone() else { return };
        self.count(&held, false);
        let (kept, read): (Vec<_>, Vec<_>) = held.into_iter().partition(|(_, mode)| *mode == Mode::Exclusive);
        read.iter().for_each(|(key, _)| self.leave(*key, claim));
        self.count(&kept, true);
        self.claims.get_mut(claim.0).expect("a claim lives until its release").scope = Scope::Keys(kept);
        self.open_gate();
    }

    /// What a claim holds.
    pub(super) fn scope(&self, claim: ClaimId) -> &Scope {
        &self.claims.get(claim.0).expect("a claim lives until its release").scope
    }

    /// A claim that has been granted; each comes out once.
    pub(super) fn next_granted(&mut self) -> Option<ClaimId> {
        self.granted.pop_front()
    }

    /// # Panics
    /// If the claim was released.
    pub(super) fn what(&mut self, claim: ClaimId) -> &mut T {
        &mut self.claims.get_mut(claim.0).expect("a claim lives until its release").what
    }

    /// Gives a granted claim up; those it stood in the way of are granted.
    pub(super) fn release(&mut self, claim: ClaimId) -> T {
        let Claim { scope, missing, what } = self.claims.remove(claim.0).expect("a claim is released once");
        assert_eq!(missing, 0, "only a granted claim is released");
        match scope {
            Scope::Keys(keys) => {
                self.count(&keys, false);
                keys.iter().for_each(|(key, _)| self.leave(*key, claim));
            }
            Scope::Many(..) | Scope::Whole(_) => self.wide.retain(|wide| wide.claim != claim),
        }
        self.open_gate();
        what
    }

    fn insert(&mut self, scope: Scope, what: T) -> ClaimId {
        ClaimId(self.claims.insert(Claim { scope, missing: 0, what }))
    }

    fn open_gate(&mut self) {
        while let Some(&claim) = self.gate.front() {
            let scope = &self.claims.get(claim.0).expect("who waits at the gate is alive").scope;
            if !self.admits(scope) {
                return;
            }
            self.gate.pop_front();
            self.enter(claim);
        }
    }

    /// Whether a claim may leave the gate, for the queues of its keys or for all of them.
    fn admits(&self, scope: &Scope) -> bool {
        match scope {
            Scope::Keys(keys) => !keys.iter().any(|(key, mode)| self.is_covered(*key, *mode)),
            Scope::Many(_, mode) | Scope::Whole(mode) => self.admits_wide(*mode),
        }
    }

    fn admits_wide(&self, mode: Mode) -> bool {
        match mode {
            Mode::Shared => self.keyed_exclusive == 0 && self.wide.iter().all(|wide| wide.mode == Mode::Shared),
            Mode::Exclusive => self.keyed == 0 && self.wide.is_empty(),
        }
    }

    /// A claim on more than single keys is granted.
    fn hold(&mut self, claim: ClaimId, mode: Mode, keys: Option<Arc<HashSet<KeyHash>>>) {
        self.wide.push(Wide { claim, mode, keys });
        self.granted.push_back(claim);
    }

    fn enter(&mut self, claim: ClaimId) {
        let entry = self.claims.get_mut(claim.0).expect("just admitted");
        let keys = match &mut entry.scope {
            Scope::Keys(keys) => std::mem::take(keys),
            Scope::Many(keys, mode) => {
                let (keys, mode) = (Arc::clone(keys), *mode);
                return self.hold(claim, mode, Some(keys));
            }
            Scope::Whole(mode) => {
                let mode = *mode;
                return self.hold(claim, mode, None);
            }
        };
        let mut missing = 0;
        for &(key, mode) in &keys {
            let queue = self.keys.entry(key).or_insert_with(|| self.spares.pop().unwrap_or_default());
            let at_once = queue.admits(mode);
            queue.claims.push_back((claim, mode));
            queue.held += usize::from(at_once);
            missing += usize::from(!at_once);
        }
        self.count(&keys, true);
        let entry = self.claims.get_mut(claim.0).expect("just admitted");
        (entry.missing, entry.scope) = (missing, Scope::Keys(keys));
        if missing == 0 {
            self.granted.push_back(claim);
        }
    }

    fn count(&mut self, keys: &[(KeyHash, Mode)], comes: bool) {
        let exclusive = usize::from(keys.iter().any(|(_, mode)| *mode == Mode::Exclusive));
        if comes {
            self.keyed += 1;
            self.keyed_exclusive += exclusive;
        } else {
            self.keyed -= 1;
            self.keyed_exclusive -= exclusive;
        }
    }

    /// Takes a claim out of a key's queue and lets in whoever is next.
    fn leave(&mut self, key: KeyHash, claim: ClaimId) {
        let Entry::Occupied(mut entry) = self.keys.entry(key) else { unreachable!("a claim stands in its queues") };
        let queue = entry.get_mut();
        let at = queue.claims.iter().position(|(other, _)| *other == claim).expect("a claim stands in its queues");
        assert!(at < queue.held, "a granted claim holds its keys");
        queue.claims.remove(at);
        queue.held -= 1;
        while let Some(next) = queue.next() {
            queue.held += 1;
            let waiting = self.claims.get_mut(next.0).expect("who waits is alive");
            waiting.missing -= 1;
            if waiting.missing == 0 {
                self.granted.push_back(next);
            }
        }
        if queue.claims.is_empty() {
            let spare = entry.remove();
            if self.spares.len() < SPARE_QUEUES_MAX {
                self.spares.push(spare);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Whether who wants `other` waits for whoever has `one`: a set that is wanted is as good as everything, one that is held is not.
    fn conflict(one: &Scope, other: &Scope) -> bool {
        let exclusive = |mode: &Mode| *mode == Mode::Exclusive;
        match (one, other) {
            (Scope::Whole(a) | Scope::Many(_, a), Scope::Whole(b) | Scope::Many(_, b)) => exclusive(a) || exclusive(b),
            (Scope::Many(set, a), Scope::Keys(keys)) => {
                keys.iter().any(|(key, b)| set.contains(key) && (exclusive(a) || exclusive(b)))
            }
            (Scope::Whole(mode), Scope::Keys(keys))
            | (Scope::Keys(keys), Scope::Whole(mode) | Scope::Many(_, mode)) => {
                exclusive(mode) || keys.iter().any(|(_, mode)| exclusive(mode))
            }
            (Scope::Keys(ours), Scope::Keys(theirs)) => {
                ours.iter().any(|(key, mode)| theirs.iter().any(|(k, m)| k == key && (exclusive(mode) || exclusive(m))))
            }
        }
    }

    fn any_scope() -> impl Strategy<Value = Scope> {
        let mode = || prop_oneof![Just(Mode::Shared), Just(Mode::Exclusive)];
        prop_oneof![
            8 => prop::collection::vec((0..5_u64, mode()), 1..4)
                .prop_map(|keys| Scope::of(keys.into_iter().map(|(hash, mode)| (KeyHash(hash), mode)))),
            1 => mode().prop_map(Scope::Whole),
            2 => (prop::collection::hash_set(0..5_u64, 1..4), mode())
                .prop_map(|(keys, mode)| Scope::Many(Arc::new(keys.into_iter().map(KeyHash).collect()), mode)),
        ]
    }

    #[test]
    fn who_claims_ahead_overtakes_those_who_wait_and_nobody_who_holds() {
        let key = |mode| Scope::of([(KeyHash(1), mode)]);
        let mut locks = Locks::default();
        let holds = locks.try_claim(key(Mode::Shared), "holds").expect("free");
        locks.claim(key(Mode::Exclusive), "waits");
        locks.claim(Scope::Whole(Mode::Exclusive), "wants all");
        locks.claim_ahead(KeyHash(1), "ahead");
        locks.claim_ahead(KeyHash(2), "free");
        let mut order = Vec::new();
        let free = locks.next_granted().expect("nobody holds this one");
        order.push(locks.release(free));
        assert!(locks.next_granted().is_none());
        locks.release(holds);
        let mut all = None;
        while let Some(claim) = locks.next_granted() {
            order.push(*locks.what(claim));
            if order.last() == Some(&"wants all") {
                locks.claim_ahead(KeyHash(1), "after all");
                all = Some(claim);
                break;
            }
            locks.release(claim);
        }
        assert!(locks.next_granted().is_none());
        locks.release(all.expect("all in turn"));
        let last = locks.next_granted().expect("nobody holds anything");
        order.push(locks.release(last));
        assert_eq!(order, ["free", "ahead", "waits", "wants all", "after all"]);
        assert!(locks.is_empty() && locks.keys.is_empty());
    }

    #[test]
    fn a_claim_takes_more_only_of_what_is_free() {
        let key = |hash: u64, mode| (KeyHash(hash), mode);
        let mut locks = Locks::default();
        let widens = locks.try_claim(Scope::of([key(1, Mode::Exclusive)]), "widens").expect("free");
        let other = locks.try_claim(Scope::of([key(2, Mode::Shared)]), "other").expect("free");
        assert!(!locks.widen(widens, &[key(3, Mode::Exclusive), key(2, Mode::Exclusive)]));
        assert!(!locks.blocks(KeyHash(3), Mode::Exclusive), "all of it or nothing");
        assert!(locks.widen(widens, &[key(1, Mode::Exclusive), key(3, Mode::Exclusive), key(2, Mode::Shared)]));
        locks.claim(Scope::of([key(3, Mode::Shared)]), "waits");
        locks.release(other);
        assert!(locks.next_granted().is_none() && locks.blocks(KeyHash(2), Mode::Exclusive));
        locks.narrow(widens);
        assert!(!locks.blocks(KeyHash(2), Mode::Exclusive) && locks.blocks(KeyHash(1), Mode::Shared));
        locks.release(widens);
        let waited = locks.next_granted().expect("nobody holds it");
        assert_eq!(locks.release(waited), "waits");
        assert!(locks.is_empty() && locks.keys.is_empty() && (locks.keyed, locks.keyed_exclusive) == (0, 0));
    }

    proptest! {
        /// Against a list of all claims: no two that conflict are ever held together, whoever waits is in the way of somebody
        /// before it or behind such a one, and everybody has its turn.
        #[test]
        fn claims_are_granted_in_order_and_never_together(steps in prop::collection::vec((any_scope(), any::<bool>(), 0..4_usize), 1..60)) {
            let mut locks = Locks::default();
            let mut waiting: Vec<(ClaimId, Scope)> = Vec::new();
            let mut held: Vec<(ClaimId, Scope)> = Vec::new();
            for (number, (scope, may_wait, releases)) in steps.into_iter().enumerate() {
                if may_wait {
                    let claim = locks.claim(scope.clone(), number);
                    waiting.push((claim, scope));
                } else {
                    let reads = matches!(&scope, Scope::Keys(keys) if keys.iter().all(|(_, mode)| *mode == Mode::Shared));
                    let passes = matches!(scope, Scope::Keys(_)) && held.iter().any(|(_, held)| match held {
                        Scope::Many(..) => true,
                        Scope::Whole(mode) => reads && *mode == Mode::Shared,
                        Scope::Keys(_) => false,
                    });
                    let in_the_way = held.iter().any(|(_, other)| conflict(other, &scope))
                        || !passes && waiting.iter().any(|(_, other)| conflict(other, &scope));
                    match locks.try_claim(scope.clone(), number) {
                        Ok(claim) => {
                            prop_assert!(!in_the_way);
                            held.push((claim, scope));
                        }
                        Err(_) => prop_assert!(in_the_way || !waiting.is_empty()),
                    }
                }
                for round in 0..=releases {
                    if round > 0 && !held.is_empty() {
                        let (claim, _) = held.remove(0);
                        locks.release(claim);
                    }
                    while let Some(claim) = locks.next_granted() {
                        let at = waiting.iter().position(|(other, _)| *other == claim).expect("granted once");
                        let (_, scope) = waiting.remove(at);
                        prop_assert!(!held.iter().any(|(_, other)| conflict(other, &scope)));
                        prop_assert!(!waiting[..at].iter().any(|(_, other)| conflict(other, &scope)), "nobody is overtaken");
                        held.push((claim, scope));
                    }
                    if let Some((_, first)) = waiting.first() {
                        prop_assert!(held.iter().any(|(_, other)| conflict(other, first)), "who is first waits for somebody");
                    }
                }
            }
            while !held.is_empty() {
                let (claim, _) = held.remove(0);
                locks.release(claim);
                while let Some(claim) = locks.next_granted() {
                    let at = waiting.iter().position(|(other, _)| *other == claim).expect("granted once");
                    held.push(waiting.remove(at));
                }
            }
            prop_assert!(waiting.is_empty() && locks.is_empty() && locks.keys.is_empty());
        }
    }
}
