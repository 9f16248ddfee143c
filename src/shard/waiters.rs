//! Requests that wait for keys of this lane, whoever's they are.
//!
//! ```text
//!  SET a 1 --> ready: a --> claim a, exclusively --> the first in a's queue --- May? --->  its home
//!                                                     serve it, if it was taken <- Answer -
//!                                                     the reply ------------- Served --->
//!                             release a <-- nothing left in a, or nobody who waits for it
//! ```
//!
//! The key is held from the write on, ahead of all who claimed it meanwhile, so that nobody takes in between what the first in the queue has a right to, and while its home is
//! asked: whoever was let go must not be served, and what was taken must reach somebody. Homes answer at once and hold nothing for it.
//! The time is that of the question, lest the key expire before the answer. A waiter whose home is here is served before the next request
//! runs, as in Redis; inside EXEC, after it.

use std::collections::VecDeque;

use hashbrown::HashMap;

use super::Shard;
use super::blocking::way_of;
use super::durable::withheld::Parting;
use super::errand::Errand;
use super::locks::{ClaimId, Mode, Scope};
use super::message::{Message, TxId};
use super::planted::Planted;
use super::route::Route;
use super::steps::stages;
use super::visit::{Addressee, Claimant};
use crate::base::limits;
use crate::base::time::Millis;
use crate::command::Caller;
use crate::command::clients::BlockId;
use crate::command::table::CommandId;
use crate::store::waiters::{Place, WaiterId};
use crate::types::Progress;
use crate::wire::output::Output;
use crate::wire::request::Request;

/// What a waiter asked for.
#[derive(Debug)]
struct Wish {
    caller: Caller,
    command: CommandId,
    request: Request,
}

/// A home is asked whether its request still waits.
#[derive(Debug)]
struct Asked {
    waiter: WaiterId,
    word: usize,
    at: Millis,
}

#[derive(Debug, Default)]
pub(super) struct Waiting {
    wishes: HashMap<WaiterId, Box<Wish>>,
    /// By the claim that holds the key meanwhile.
    asked: HashMap<ClaimId, Asked>,
    /// Who is being served by a transaction, and the key it waited for: nobody behind it is served from there meanwhile.
    moving: HashMap<TxId, (WaiterId, Place)>,
    /// Claims on keys for whose waiters there is more, in a later turn.
    later: VecDeque<ClaimId>,
    /// Commands under way at whose end those who wait are served.
    held_back: u32,
}

impl Waiting {
    pub(super) fn is_empty(&self) -> bool {
        self.wishes.is_empty() && self.asked.is_empty() && self.moving.is_empty() && self.later.is_empty()
    }

    pub(super) fn has_asked(&self) -> bool {
        !self.asked.is_empty()
    }

    pub(super) fn has_later(&self) -> bool {
        !self.later.is_empty()
    }

    /// Nobody is served until `go_on`.
    pub(super) fn hold_back(&mut self) {
        self.held_back += 1;
    }

    pub(super) fn go_on(&mut self) {
        self.held_back -= 1;
    }
}

impl Shard {
    /// A request waits for those of its keys that are this lane's.
    pub(super) fn enrol(&mut self, waiter: WaiterId, caller: &Caller, command: CommandId, request: Request) {
        let (row, args) = (self.table.row(command), request.args());
        self.remember(caller, row);
        for word in way_of(row).awaited(row.keys, args) {
            let key = args.at(word);
            if self.owner_of(key) == self.me {
                self.store.enrol(waiter, Place { db: caller.db, key: key.into() }, word);
            }
        }
        self.waiting.wishes.insert(waiter, Box::new(Wish { caller: *caller, command, request }));
    }

    /// An errand that tries the keys from a word on: see [`Self::serve_from`].
    pub(super) fn serve_errand(&mut self, errand: &Errand, from: usize, out: &mut Output) -> Option<usize> {
        let args = errand.request.args();
        // From the queue of an EXEC it comes as it was sent.
        if let Err(fault) = (way_of(self.table.row(errand.command)).patience)(args, self.at) {
            self.remember(&errand.caller, self.table.row(errand.command));
            self.fail(errand.command, &fault, &errand.caller, out);
            return None;
        }
        self.serve_from(&errand.caller, errand.command, args, from, out)
    }

    pub(super) fn forget_waiter(&mut self, waiter: WaiterId) {
        self.take_waiter(waiter);
    }

    fn take_waiter(&mut self, waiter: WaiterId) -> Option<Box<Wish>> {
        let wish = self.waiting.wishes.remove(&waiter)?;
        self.store.forget(waiter);
        Some(wish)
    }

    /// Serves those who wait for keys that were written; where a key is held, as soon as it is free.
    #[cold]
    pub(super) fn serve_ready(&mut self) {
        if self.waiting.held_back > 0 {
            return;
        }
        while let Some(place) = self.store.waiters.next_ready() {
            if self.first_to_serve(&place, self.clock()).is_none() {
                continue;
            }
            let key = self.store.hash_key.key(&place.key);
            match self.locks.try_claim(Scope::of([(key, Mode::Exclusive)]), Claimant::Waiters(place)) {
                Ok(claim) => self.serve_waiters(claim),
                Err(claimant) => self.locks.claim_ahead(key, claimant),
            }
        }
    }

    /// Goes on with keys that had more waiters than one step serves.
    #[cold]
    #[inline(never)]
    pub(super) fn serve_later(&mut self) {
        for claim in std::mem::take(&mut self.waiting.later) {
            self.serve_waiters(claim);
        }
    }

    /// The key is held: serves one waiter after the other while there is something to serve from. Ends early when a home must be asked, and
    /// for this turn when it has served many.
    pub(super) fn serve_waiters(&mut self, claim: ClaimId) {
        let Claimant::Waiters(place) = self.locks.what(claim) else { unreachable!("the caller has looked") };
        let place = place.clone();
        let at = self.clock();
        for served in 0.. {
            if served == limits::WAITERS_PER_STEP {
                return self.waiting.later.push_back(claim);
            }
            self.store.waiters.seen(&place);
            let Some(mut first) = self.first_to_serve(&place, at) else { break };
            if self.plant.strikes(Planted::Overtake) {
                first = self.store.waiters.of(&place).nth(1).unwrap_or(first);
            }
            let (waiter, word) = first;
            let block = BlockId(waiter.block);
            if waiter.home == self.me && self.is_moved(block) && !self.has_all_here(claim, waiter) {
                self.waiting.asked.insert(claim, Asked { waiter, word, at });
                if self.take_to_move(block, (self.me, claim)) {
                    return;
                }
                self.waiting.asked.remove(&claim);
                self.forget_waiter(waiter);
                continue;
            }
            if waiter.home != self.me {
                self.waiting.asked.insert(claim, Asked { waiter, word, at });
                return self.outboxes[waiter.home.index()].messages.push(Message::May { block, claim });
            }
            if self.take_block(block) {
                let word = self.first_filled(claim, waiter, word, at);
                if self.serve_waiter(waiter, word, at, claim) == Progress::More {
                    return;
                }
            } else {
                self.forget_waiter(waiter);
            }
        }
        self.locks.release(claim);
    }

    /// The key that a request which waits for several is served from: the first in its own order that holds anything, of those that are this
    /// lane's, though others may wait for it longer. Redis runs the request anew, which comes to that. Not one that somebody holds, or that is
    /// promised to another waiter, whose home has been asked.
    fn first_filled(&self, claim: ClaimId, waiter: WaiterId, word: usize, at: Millis) -> usize {
        let wish = self.waiting.wishes.get(&waiter).expect("who stands in a queue has a wish");
        let (row, args) = (self.table.row(wish.command), wish.request.args());
        let is_promised = |holder: ClaimId| self.waiting.asked.get(&holder).is_some_and(|asked| asked.waiter != waiter);
        let is_ours = |holder: ClaimId, what: &Claimant| {
            holder == claim || matches!(what, Claimant::Waiters(_)) && !is_promised(holder)
        };
        let serves = |word: &usize| {
            let (key, hash) = (args.at(*word), self.store.hash_key.key(args.at(*word)));
            self.lanes.owner(hash.slot()) == self.me
                && self.store.db(wish.caller.db).find(key, hash, at).is_some()
                && self.locks.is_held_by_none_but(hash, is_ours)
        };
        let mut before = way_of(row).awaited(row.keys, args).take_while(|before| *before < word);
        before.find(serves).unwrap_or(word)
    }

    /// Whether all keys of a request that waits are of this lane and free, or held already: then they are held by this claim.
    fn has_all_here(&mut self, claim: ClaimId, waiter: WaiterId) -> bool {
        let wish = self.waiting.wishes.get(&waiter).expect("who stands in a queue has a wish");
        let (row, args) = (self.table.row(wish.command), wish.request.args());
        if self.route_of_keys(row, args) != Route::Here {
            return false;
        }
        let Some(Scope::Keys(keys)) = self.scope(row, args) else { return false };
        self.locks.widen(claim, &keys)
    }

    /// A transaction takes over the key that is held for a request which it is to serve, and takes what else it wants of this lane. `None`:
    /// somebody has that, and all is given back.
    pub(super) fn take_over(&mut self, tx: TxId, claim: ClaimId, scope: &Scope) -> Option<ClaimId> {
        self.hand_over_claim(tx, claim);
        let Scope::Keys(keys) = scope else { unreachable!("it wants single keys") };
        if self.locks.widen(claim, keys) {
            return Some(claim);
        }
        self.locks.release(claim);
        None
    }

    /// The claim on a key is a transaction's from now on, which serves the request that it was asked for.
    pub(super) fn hand_over_claim(&mut self, tx: TxId, claim: ClaimId) {
        let Asked { waiter, .. } = self.waiting.asked.remove(&claim).expect("it was asked for by this claim");
        let Claimant::Waiters(place) = std::mem::replace(self.locks.what(claim), Claimant::Guest(tx)) else {
            unreachable!("a key is held for who waits")
        };
        self.waiting.moving.insert(tx, (waiter, place));
    }

    /// A transaction that serves a request has had its part here. If it waited here it is done with, unless there was nothing for it.
    pub(super) fn note_moved(&mut self, tx: TxId, next: Option<usize>, command: CommandId) {
        let Some((waiter, place)) = self.waiting.moving.remove(&tx) else { return };
        if next != Some(stages(self.table.row(command)).len()) {
            self.forget_waiter(waiter);
        }
        // Whoever stands behind it may be served from what came since, or from what it has left.
        self.store.waiters.touched(place.db, &place.key);
    }

    /// The first in the queue of a key that waits for what it holds.
    fn first_to_serve(&self, place: &Place, at: Millis) -> Option<(WaiterId, usize)> {
        let hash = self.store.hash_key.key(&place.key);
        let kind = self.store.db(place.db).find(&place.key, hash, at)?.kind();
        let awaits = |waiter: &WaiterId| {
            let wish = self.waiting.wishes.get(waiter).expect("who stands in a queue has a wish");
            way_of(self.table.row(wish.command)).awaits
        };
        let first = self.store.waiters.of(place).find(|(waiter, _)| awaits(waiter) == kind)?;
        let is_moving = self.waiting.moving.values().any(|(waiter, _)| *waiter == first.0);
        (!is_moving).then_some(first)
    }

    /// A home has said whether the request that was asked for may be served.
    pub(super) fn hear_answer(&mut self, claim: ClaimId, taken: bool) {
        let Asked { waiter, word, at } = self.waiting.asked.remove(&claim).expect("an answer follows a question");
        if taken {
            let word = self.first_filled(claim, waiter, word, at);
            if self.serve_waiter(waiter, word, at, claim) == Progress::More {
                return;
            }
        } else {
            self.forget_waiter(waiter);
        }
        self.serve_waiters(claim);
    }

    /// Serves it from a key that this claim holds. `More`: by a job, at whose end the others have their turn.
    fn serve_waiter(&mut self, waiter: WaiterId, word: usize, at: Millis, claim: ClaimId) -> Progress {
        let wish = self.take_waiter(waiter).expect("who was taken is forgotten by nobody else");
        let Wish { caller, command, request } = *wish;
        let mut out = Output::default();
        let before = std::mem::replace(&mut self.at, at);
        let outer = self.take_until();
        self.waiting.hold_back();
        self.trace_served(&caller, word);
        let is_served = self.serve_word(&caller, command, request.args(), word, &mut out);
        assert!(is_served, "the key is held and has what was awaited");
        self.waiting.go_on();
        self.at = before;
        self.ran += 1;
        if let Some(job) = self.begun.take() {
            self.go_on_as_job(job, &caller, command, Addressee::Waiter(waiter), Some(at), Some(claim));
            self.put_until(outer);
            return Progress::More;
        }
        let until = self.take_until();
        self.put_until(outer);
        self.withhold(until, Parting::Served(waiter.home, BlockId(waiter.block), out));
        Progress::Done
    }

    /// The job that served a waiter is over: its reply leaves, and the others who wait for the key have their turn.
    pub(super) fn waiter_served(&mut self, waiter: WaiterId, claim: ClaimId, reply: Output) {
        let until = self.take_until();
        self.withhold(until, Parting::Served(waiter.home, BlockId(waiter.block), reply));
        self.serve_waiters(claim);
    }
}
