//! Commands over several lanes: one at a time for whoever looks, without any lane waiting for another.
//!
//! ```text
//!  home                                       participants
//!  begin     claim own keys, ask the others at once ---- Claim, do not wait --->  all of the keys, or none
//!              all granted?                   <--- Granted | Refused ---
//!              no: give all back, then ask one lane after the other, in order ---- Claim, wait --->  in the keys' queues
//!  run       step after step, on each lane that has a part in it  ---- Run --->   <--- Ran ---
//!  end       intents given back with the last step of each lane; the reply
//! ```
//!
//! *Serial*: no part runs before the intents of all keys are held, and none is given back before that: two-phase locking, so that the order of
//! any two commands is the same wherever they meet. *Real time*: what was answered is over everywhere it will be looked for.
//! *No deadlock*: who asks all lanes at once does not wait; who waits asks in the order of the lanes, and holds only lower ones.
//! *No starvation*: who waits stands in the keys' queues, which nobody overtakes (`locks.rs`).
//!
//! With one other lane, and a single step, the claim brings the work along: it runs there as soon as the keys are held, since all others are
//! held already. So MSET over two lanes is one message and its answer.
//!
//! Time: intents are granted with the participant's time; the command runs everywhere at the greatest of these, and no held key expires.
//! The own share takes the same way as the others', by `order` and `report`, without a parcel.

use std::collections::VecDeque;
use std::sync::Arc;

use hashbrown::HashSet;

use super::Shard;
use super::durable::Signature;
use super::errand::{Errand, Marking, Order, Ran, Report, Then, What, Why};
use super::locks::{ClaimId, Mode, Scope};
use super::message::{Message, Ticket, TxId};
use super::plan::{Pace, Plan};
use super::planted::Planted;
use super::steps::Step;
use super::visit::{Addressee, Claimant};
use crate::base::hash::KeyHash;
use crate::base::lanes::ShardId;
use crate::base::time::Millis;
use crate::command::Caller;
use crate::command::clients::BlockId;
use crate::command::multi::WatchedKey;
use crate::command::sliced::{Job, Pieces};
use crate::command::staged::Cargo;
use crate::persist::Position;
use crate::persist::record::Records;
use crate::store::waiters::WaiterId;
use crate::store::watchers::Since;
use crate::wire::fault::Fault;
use crate::wire::output::Output;
use crate::wire::reply::Reply;

/// A lane's part in a transaction.
#[derive(Debug)]
pub(super) struct Share {
    pub(super) lane: ShardId,
    /// The keys it holds meanwhile; `None` for commands that hold nothing.
    pub(super) scope: Option<Scope>,
    pub(super) watched: Vec<WatchedKey>,
    /// It is part of a command that writes, here or with what it reads here: then its journal says so, lest a restart keep the one without
    /// the other.
    pub(super) signs: bool,
    /// The lane holds a part of it already, by this claim.
    pub(super) held: Option<ClaimId>,
    pub(super) state: Held,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Held {
    No,
    Asked,
    Yes,
    Refused,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// All lanes were asked at once.
    Trying,
    /// The lanes before this place among the shares are held, it is asked.
    Waiting(usize),
    Running,
}

/// A command over several lanes, at its home.
#[derive(Debug)]
pub(super) struct Txn {
    pub(super) caller: Caller,
    ticket: Ticket,
    /// In the order of the lanes.
    shares: Vec<Share>,
    phase: Phase,
    /// Reports that have not come.
    waiting: usize,
    steps: VecDeque<Step>,
    /// The step under way, or one whose work was sent along with a claim.
    pub(super) doing: Option<Step>,
    /// Replies of steps that are over, and how many there were. Very many are put together as they come.
    replies: Vec<Output>,
    pieces: Pieces,
    answered: usize,
    form: Form,
    pace: Pace,
    /// It may need memory.
    grows: bool,
    /// Why it does not run.
    fault: Option<Fault>,
    /// A watched key has changed, or there is no memory: nothing is to run.
    is_stale: bool,
    pub(super) now: Millis,
    /// When the first of the watched keys will be gone by itself.
    until: Option<Millis>,
    /// What it leaves in the journals of several lanes.
    signature: Option<Signature>,
    /// Up to where the journals of which lanes must be firm before the reply may leave.
    untils: Vec<(ShardId, Position)>,
}

/// How the reply is made of those of the steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// The one reply.
    Bare,
    /// EXEC: an array of all.
    Array,
    /// The one reply, or none: then it waits.
    Blocking(BlockId),
    /// Nobody's.
    Mark,
    /// It has waited: the one reply, or none, and it waits on.
    Serving(BlockId),
}

/// A transaction's share of this lane, on the participant's side.
#[derive(Debug)]
pub(super) struct Guest {
    pub(super) caller: Caller,
    claim: Option<ClaimId>,
    watched: Vec<WatchedKey>,
    has_watched: bool,
    errands: VecDeque<Errand>,
    cargo: Cargo,
    now: Millis,
    then: Then,
    ran: Vec<Ran>,
    /// The claim was sent with its work.
    at_once: bool,
    /// It was granted at the head of its connection's line, which goes on when its work has come: not before it holds its keys on all lanes.
    holds_line: bool,
    grows: bool,
    signature: Option<Signature>,
    /// What its errands have left for the journal.
    effects: Records,
    /// Up to where the journal must be firm before what it showed may be seen.
    until: Position,
}

impl Shard {
    /// Begins a command over several lanes, or in slices; the reply redeems `ticket`.
    pub(super) fn begin_txn(&mut self, ticket: Ticket, mut plan: Plan, form: Form) {
        let shares = plan.take_shares();
        let Plan { caller, steps, grows, pace, .. } = plan;
        let signature = if form == Form::Mark { None } else { self.signature(&shares) };
        let number = self.txns.insert(Txn {
            signature,
            untils: Vec::new(),
            caller,
            ticket,
            shares,
            phase: Phase::Trying,
            waiting: 0,
            steps,
            doing: None,
            replies: Vec::new(),
            pieces: Pieces::default(),
            answered: 0,
            form,
            pace,
            grows,
            fault: None,
            is_stale: false,
            until: None,
            now: self.clock(),
        });
        let tx = TxId { home: self.me, number };
        if self.txn(tx).shares.iter().all(|share| share.scope.is_none()) {
            return self.run_steps(tx);
        }
        self.try_all(tx);
    }

    /// Begins a mark: a transaction of nobody that holds everything on all lanes.
    pub(super) fn begin_marking(&mut self, marking: Marking) {
        let caller = Caller::nobody(self.me, 0);
        let mut plan = Plan::of(caller, Pace::AtOnce);
        self.lanes.all().for_each(|lane| plan.share(lane).hold_whole(Mode::Exclusive));
        plan.steps.push_back(self.mark_everywhere(&caller, marking));
        self.begin_txn(Ticket(u32::MAX), plan, Form::Mark);
    }

    /// What a command leaves in the journals of the lanes that it may change, if these are several. Whether there is a journal is known when it
    /// runs: `appendonly` may be switched until then.
    fn signature(&mut self, shares: &[Share]) -> Option<Signature> {
        let lanes: Box<[u16]> =
            shares.iter().filter(|share| share.signs || share.writes()).map(|share| share.lane.0).collect();
        if lanes.len() < 2 {
            return None;
        }
        Some(Signature { number: self.next_serial(), lanes })
    }

    pub(super) fn txn(&mut self, tx: TxId) -> &mut Txn {
        self.txns.get_mut(tx.number).expect("a transaction lives until its last report")
    }

    /// Claims the own keys, then asks the others; with a single other one its work goes along.
    fn try_all(&mut self, tx: TxId) {
        let me = self.me;
        let own = self.txn(tx).shares.iter().position(|share| share.lane == me);
        match own.map(|own| self.try_own(tx, own)) {
            Some(Held::Refused) => return self.wait_in_order(tx),
            Some(Held::No) => return self.give_up(tx),
            _ => {}
        }
        let others: Vec<usize> = (0..self.txn(tx).shares.len()).filter(|i| Some(*i) != own).collect();
        let fused = match others[..] {
            [only] => self.work_to_send_along(tx, only),
            _ => None,
        };
        let txn = self.txn(tx);
        txn.waiting = others.len();
        let now = txn.now;
        let mut orders = Vec::with_capacity(others.len());
        let mut run = fused.unwrap_or_default();
        for i in others {
            let share = &mut txn.shares[i];
            share.state = Held::Asked;
            // To wait is right only where it is in order.
            let wait = !run.is_empty() && own.is_none_or(|own| own < i);
            let (scope, watched) = (share.scope.clone().unwrap_or(Scope::Keys(Vec::new())), share.watched.clone());
            let run = std::mem::take(&mut run);
            let held = share.held.take();
            let (caller, grows, signature) = (txn.caller, txn.grows, txn.signature.clone());
            orders.push((share.lane, Order::Claim { caller, held, grows, wait, scope, watched, now, run, signature }));
        }
        if orders.is_empty() {
            return self.run_steps(tx);
        }
        orders.into_iter().for_each(|(lane, order)| self.order(tx, lane, order));
    }

    /// Claims this lane's keys if nobody holds them. `No`: a watched one has changed.
    fn try_own(&mut self, tx: TxId, own: usize) -> Held {
        let txn = self.txn(tx);
        let (scope, watched) = (txn.shares[own].scope.clone(), txn.shares[own].watched.clone());
        let (of, now) = ((txn.caller.home, txn.caller.conn), self.clock());
        let scope = scope.unwrap_or(Scope::Keys(Vec::new()));
        let held = self.txn(tx).shares[own].held.take();
        if held.is_none() && self.lines.contains_key(&of) {
            return Held::Refused;
        }
        // Looked at only when it is held: others may be in the middle of something.
        let claim = match held {
            Some(held) => self.take_over(tx, held, &scope),
            None => self.locks.try_claim(scope, Claimant::Guest(tx)).ok(),
        };
        let Some(claim) = claim else { return Held::Refused };
        let (caller, signature) = (self.txn(tx).caller, self.txn(tx).signature.clone());
        let has_watched = !watched.is_empty();
        self.guests.insert(tx, Guest { has_watched, signature, ..Guest::new(caller, Some(claim), now) });
        if watched.iter().any(|key| self.has_changed(key, now)) {
            self.trace(&caller, now);
            self.txn(tx).is_stale = true;
        } else if self.txn(tx).grows && self.is_full() {
            self.txn(tx).fault = Some(Fault::OutOfMemory);
        } else {
            let until = self.first_deadline(&watched, now);
            let txn = self.txn(tx);
            txn.until = earlier(txn.until, until);
            txn.shares[own].state = Held::Yes;
            return Held::Yes;
        }
        self.dismiss(tx, Why::Retry);
        Held::No
    }

    /// Gives back what is held and asks one lane after the other.
    fn wait_in_order(&mut self, tx: TxId) {
        self.release_all(tx, Why::Retry);
        let held = self.txn(tx).shares.iter_mut().filter_map(|share| Some((share.lane, share.held.take()?)));
        let held: Vec<(ShardId, ClaimId)> = held.collect();
        held.into_iter().for_each(|(lane, claim)| self.order(tx, lane, Order::Yield(claim)));
        let Caller { conn, client: id, .. } = self.txn(tx).caller;
        if let Some(client) = self.clients.get_mut(conn).filter(|client| client.id == id) {
            client.owed.bar();
        }
        self.txn(tx).phase = Phase::Waiting(0);
        self.ask_next(tx);
    }

    fn ask_next(&mut self, tx: TxId) {
        let txn = self.txn(tx);
        let Phase::Waiting(at) = txn.phase else { unreachable!("asked in order only") };
        if at == txn.shares.len() {
            return self.run_steps(tx);
        }
        txn.waiting = 1;
        let now = txn.now;
        let share = &mut txn.shares[at];
        share.state = Held::Asked;
        let (lane, watched) = (share.lane, share.watched.clone());
        let scope = share.scope.clone().unwrap_or(Scope::Keys(Vec::new()));
        let (caller, grows, signature, run) = (txn.caller, txn.grows, txn.signature.clone(), Vec::new());
        let claim = Order::Claim { caller, held: None, grows, wait: true, scope, watched, now, run, signature };
        self.order(tx, lane, claim);
    }

    /// A participant's report has come to the home.
    pub(super) fn hear(&mut self, tx: TxId, from: ShardId, report: Report) {
        let txn = self.txn(tx);
        txn.waiting -= 1;
        let at = txn.shares.iter().position(|share| share.lane == from).expect("only participants report");
        match report {
            Report::Granted { now, until } => {
                txn.now = txn.now.max(now);
                txn.until = earlier(txn.until, until);
                txn.shares[at].state = Held::Yes;
            }
            Report::Refused { run } => {
                txn.shares[at].state = Held::Refused;
                if let Some(doing) = &mut txn.doing {
                    doing.give_back(from, run);
                }
            }
            Report::Changed | Report::Full => {
                if matches!(report, Report::Full) {
                    txn.fault = Some(Fault::OutOfMemory);
                }
                txn.shares[at].state = Held::No;
                txn.is_stale = true;
                txn.steps.clear();
                txn.doing = None;
            }
            Report::Ran { ran, cargo, now, until } => {
                txn.now = txn.now.max(now);
                if until > Position::default() {
                    txn.untils.push((from, until));
                }
                // Work that came with its claim has given it back.
                if txn.phase != Phase::Running {
                    txn.shares[at].state = Held::No;
                }
                return self.hear_ran(tx, from, ran, cargo);
            }
        }
        if txn.waiting == 0 {
            self.go_on_claiming(tx);
        }
    }

    fn go_on_claiming(&mut self, tx: TxId) {
        let txn = self.txn(tx);
        if txn.is_stale {
            return self.give_up(tx);
        }
        let (phase, is_refused) = (txn.phase, txn.shares.iter().any(|share| share.state == Held::Refused));
        match phase {
            Phase::Trying if is_refused && !self.moves_through(tx) => self.wait_in_order(tx),
            Phase::Trying => self.run_steps(tx),
            Phase::Waiting(at) => {
                self.txn(tx).phase = Phase::Waiting(at + 1);
                self.ask_next(tx);
            }
            Phase::Running => unreachable!("nothing is claimed any more"),
        }
    }

    /// A planted defect: a request that moves an element does so though somebody holds the other key.
    fn moves_through(&mut self, tx: TxId) -> bool {
        let strikes = matches!(self.txn(tx).form, Form::Serving(_)) && self.plant.strikes(Planted::MoveThrough);
        if strikes {
            self.txn(tx).shares.iter_mut().for_each(|share| share.state = Held::Yes);
        }
        strikes
    }

    /// A watched key has changed, or there is no memory: nothing ran.
    fn give_up(&mut self, tx: TxId) {
        // What one lane found decided it: what others have looked at is of no moment.
        let why = if self.txn(tx).is_stale { Why::Retry } else { Why::Over };
        let txn = self.txn(tx);
        if !txn.is_stale && txn.fault.is_none() {
            // The time of all lanes has decided, which none of the others knows.
            let (caller, now) = (txn.caller, txn.now);
            self.trace(&caller, now);
        }
        self.release_all(tx, why);
        let Txn { caller, ticket, shares, fault, form, is_stale, .. } =
            self.txns.remove(tx.number).expect("just looked at");
        // That a watched key was changed shows what somebody wrote.
        let waits = is_stale && caller.fsyncs && self.keeps_journal();
        let shows = |share: &&Share| waits && !share.watched.is_empty();
        let shown: Vec<ShardId> = shares.iter().filter(shows).map(|share| share.lane).collect();
        shares.into_iter().for_each(|share| self.unwatch(share.watched));
        if let Form::Blocking(block) = form {
            self.blocks.remove(block);
        }
        let mut reply = Output::default();
        match fault {
            Some(fault) => self.refuse(&fault, &mut Reply::new(&mut reply, caller.dialect)),
            None => Reply::new(&mut reply, caller.dialect).null_array(),
        }
        self.pay_when_shown(ticket, reply, shown.into_iter());
    }

    fn release_all(&mut self, tx: TxId, why: Why) {
        let held: Vec<ShardId> = self
            .txn(tx)
            .shares
            .iter_mut()
            .filter(|share| share.state == Held::Yes)
            .map(|share| {
                share.state = Held::No;
                share.lane
            })
            .collect();
        held.into_iter().for_each(|lane| self.order(tx, lane, Order::Release(why)));
        self.txn(tx).shares.iter_mut().for_each(|share| share.state = Held::No);
    }

    /// The work of the only other lane, if it can run as soon as its keys are held: the only step, with nothing before it.
    fn work_to_send_along(&mut self, tx: TxId, other: usize) -> Option<Vec<Errand>> {
        let txn = self.txn(tx);
        let lane = txn.shares[other].lane;
        // Watched keys of several lanes are judged at one time, which is known when all have been heard.
        if txn.steps.len() != 1 || txn.until.is_some() {
            return None;
        }
        if !txn.steps.front().is_some_and(Step::can_begin_anywhere) {
            return None;
        }
        let mut step = txn.steps.pop_front()?;
        let errands = step.take_errands(lane);
        txn.doing = Some(step);
        Some(errands)
    }

    /// All is held: goes on with what is to be done, up to where others must be heard.
    pub(super) fn run_steps(&mut self, tx: TxId) {
        loop {
            let txn = self.txn(tx);
            if txn.phase != Phase::Running && txn.doing.is_none() && txn.until.is_some_and(|until| until <= txn.now) {
                return self.give_up(tx);
            }
            txn.phase = Phase::Running;
            if txn.doing.is_none() {
                txn.doing = txn.steps.pop_front();
            }
            match &txn.doing {
                None => return self.finish(tx),
                Some(step) if step.has_errands() => return self.send_errands(tx),
                Some(_) => self.conclude(tx),
            }
            if self.must_pause(tx) {
                return self.later(tx);
            }
        }
    }

    /// Sends what the step under way has for each lane, and gives back the intents of lanes that have no more to do.
    fn send_errands(&mut self, tx: TxId) {
        let txn = self.txn(tx);
        let step = txn.doing.as_mut().expect("a step is under way");
        let lanes = step.lanes();
        let mut cargoes = step.cargoes(lanes.len()).into_iter();
        let last = txn.steps.is_empty() && step.is_last();
        let now = txn.now;
        let mut orders: Vec<(ShardId, Order)> = Vec::with_capacity(txn.shares.len());
        for lane in lanes {
            let errands = step.take_errands(lane);
            let then = if last { Then::Release } else { Then::Hold };
            orders.push((
                lane,
                Order::Run { errands, cargo: cargoes.next().unwrap_or_else(Cargo::between_shards), now, then },
            ));
        }
        txn.waiting = orders.len();
        if last {
            for share in txn.shares.iter_mut().filter(|share| share.state == Held::Yes) {
                share.state = Held::No;
                if !orders.iter().any(|(lane, _)| *lane == share.lane) {
                    orders.push((share.lane, Order::Release(Why::Over)));
                }
            }
        }
        orders.into_iter().for_each(|(lane, order)| self.order(tx, lane, order));
    }

    fn hear_ran(&mut self, tx: TxId, from: ShardId, ran: Vec<Ran>, cargo: Cargo) {
        let txn = self.txn(tx);
        let step = txn.doing.as_mut().expect("errands belong to a step");
        step.hear(from, ran, cargo);
        // Work that was sent along with its claim leaves ours to be done; a staged command may have a further stage.
        if txn.waiting == 0 {
            self.advance(tx);
            if self.txn(tx).doing.as_ref().is_some_and(Step::goes_on_later) || self.must_pause(tx) {
                return self.later(tx);
            }
            self.run_steps(tx);
        }
    }

    /// Of very many steps those that follow wait for the next turn when this one has had its share.
    fn must_pause(&mut self, tx: TxId) -> bool {
        if self.txn(tx).pace == Pace::AtOnce {
            return false;
        }
        self.ran += 1;
        self.turn_is_full()
    }

    fn finish(&mut self, tx: TxId) {
        self.release_all(tx, Why::Over);
        let txn = self.txns.remove(tx.number).expect("just looked at");
        let untils = txn.untils();
        let Txn { caller, ticket, shares, mut replies, mut pieces, answered, form, .. } = txn;
        shares.into_iter().for_each(|share| self.unwatch(share.watched));
        match form {
            Form::Mark => return self.marked(),
            Form::Blocking(block) => return self.conclude_block(block, replies.pop(), &untils),
            Form::Serving(block) => return self.conclude_serving(block, replies.pop(), &untils),
            Form::Bare | Form::Array => {}
        }
        let mut out = Output::default();
        let mut reply = Reply::new(&mut out, caller.dialect);
        if form == Form::Array {
            reply.array(answered);
        }
        pieces.pour(&mut reply);
        replies.into_iter().for_each(|reply| out.append(reply));
        self.pay_when_durable(ticket, out, &untils);
    }

    /// To a participant, which may be this lane itself.
    fn order(&mut self, tx: TxId, lane: ShardId, order: Order) {
        if lane == self.me {
            return self.obey(tx, order);
        }
        self.outboxes[lane.index()].messages.push(Message::Order { tx, order: Box::new(order) });
    }

    /// To the home, which may be this lane itself.
    fn report(&mut self, tx: TxId, report: Report) {
        if tx.home == self.me {
            return self.own_reports.push_back((tx, report));
        }
        self.outboxes[tx.home.index()].messages.push(Message::Report { tx, report: Box::new(report) });
    }
}

/// The participant's side.
impl Shard {
    pub(super) fn obey(&mut self, tx: TxId, order: Order) {
        match order {
            Order::Claim { caller, held, grows, wait, scope, watched, now, run, signature } => {
                let (at_once, errands) = (!run.is_empty(), run.into());
                let guest = Guest { watched, errands, at_once, grows, signature, ..Guest::new(caller, None, now) };
                match held {
                    Some(held) => self.claim_more_for(tx, held, &scope, guest),
                    None => self.claim_for(tx, wait, scope, guest),
                }
            }
            Order::Run { errands, cargo, now, then } => {
                let caller = errands.first().expect("only lanes with errands are asked to run").caller;
                let guest = self.guests.entry(tx).or_insert_with(|| Guest::new(caller, None, now));
                (guest.now, guest.then, guest.cargo) = (now, then, cargo);
                guest.errands = errands.into();
                let (held_line, of) = (std::mem::take(&mut guest.holds_line), (tx.home, guest.caller.conn));
                self.run_guest(tx);
                if held_line {
                    self.go_on_in_line(of);
                }
            }
            Order::Release(why) => {
                if why == Why::Over
                    && let Some(Guest { caller, now, has_watched: true, .. }) = self.guests.get(&tx)
                {
                    let (caller, now) = (*caller, *now);
                    self.trace(&caller, now);
                }
                self.dismiss(tx, why);
            }
            Order::Yield(claim) => {
                self.hand_over_claim(tx, claim);
                self.locks.release(claim);
            }
        }
    }

    fn claim_for(&mut self, tx: TxId, wait: bool, scope: Scope, guest: Guest) {
        let of = (tx.home, guest.caller.conn);
        // Requests of the same connection that wait here come first.
        if !self.lines.contains_key(&of) && self.locks.is_free(&scope) {
            if self.runs_through(&guest) {
                return self.run_through(tx, guest, scope);
            }
            let claim = self.locks.take(scope, Claimant::Guest(tx));
            self.guests.insert(tx, guest);
            self.guest_granted(tx, claim);
        } else if wait {
            self.guests.insert(tx, guest);
            self.park_guest(of, tx, scope);
        } else {
            if guest.at_once && !self.plant.strikes(Planted::LosePlace) {
                self.keep_place(of, tx);
            }
            self.report(tx, Report::Refused { run: guest.errands.into() });
        }
    }

    /// As `claim_for`, of one that takes over what is held for those who wait.
    fn claim_more_for(&mut self, tx: TxId, held: ClaimId, scope: &Scope, guest: Guest) {
        match self.take_over(tx, held, scope) {
            Some(claim) => {
                self.guests.insert(tx, guest);
                self.guest_granted(tx, claim);
            }
            None => self.report(tx, Report::Refused { run: guest.errands.into() }),
        }
    }

    /// Whether work that came with its claim, and finds its keys free, is over before anybody could find them held.
    fn runs_through(&self, guest: &Guest) -> bool {
        let is_part = |errand: &Errand| errand.what == What::Part && self.table.row(errand.command).is_split_by_keys();
        guest.at_once && guest.watched.is_empty() && self.store.waiters.is_empty() && guest.errands.iter().all(is_part)
    }

    fn run_through(&mut self, tx: TxId, guest: Guest, scope: Scope) {
        if guest.grows && self.is_full() {
            return self.report(tx, Report::Full);
        }
        let (now, mut cargo) = (guest.now.max(self.clock()), Cargo::default());
        let mut ran = Vec::with_capacity(guest.errands.len());
        let ((), effects, until) = self.apart(|shard| {
            for errand in guest.errands {
                shard.ran += 1;
                ran.push(shard.run_errand(tx, &errand, &mut cargo, now));
            }
        });
        let end = self.append_guest(tx, guest.signature.as_ref(), &effects);
        if let Some(durable) = &mut self.durable {
            durable.note_written(&scope, end);
        }
        self.report(tx, Report::Ran { ran, cargo, now, until: until.max(end) });
    }

    /// The claim of the head of a line is granted. What stands behind it was sent when the share was thought to run on coming here. A share that
    /// was refused then runs when all lanes have been asked again, and nothing of its connection may be seen before that.
    pub(super) fn head_granted(&mut self, tx: TxId, claim: ClaimId) {
        let of = (tx.home, self.guests[&tx].caller.conn);
        self.guest_granted(tx, claim);
        match self.guests.get_mut(&tx).filter(|guest| !guest.at_once) {
            Some(guest) => guest.holds_line = true,
            None => self.go_on_in_line(of),
        }
    }

    /// The claim of a share is granted: says so, or does its work at once.
    fn guest_granted(&mut self, tx: TxId, claim: ClaimId) {
        let at = self.clock();
        let is_dropped = self.plant.strikes(Planted::DropIntent);
        if is_dropped {
            self.locks.release(claim);
        }
        let guest = self.guests.get_mut(&tx).expect("who claims is a guest");
        guest.claim = (!is_dropped).then_some(claim);
        guest.now = guest.now.max(at);
        let (now, at_once, grows) = (guest.now, guest.at_once, guest.grows);
        guest.has_watched = !guest.watched.is_empty();
        let (watched, caller) = (std::mem::take(&mut guest.watched), guest.caller);
        if watched.iter().any(|key| self.has_changed(key, now)) {
            self.trace(&caller, now);
            self.dismiss(tx, Why::Retry);
            self.report(tx, Report::Changed);
        } else if grows && self.is_full() {
            self.dismiss(tx, Why::Retry);
            self.report(tx, Report::Full);
        } else if at_once {
            self.run_guest(tx);
        } else {
            let until = self.first_deadline(&watched, now);
            self.report(tx, Report::Granted { now, until });
        }
    }

    /// Works on a guest's errands until all are done or one takes more turns.
    fn run_guest(&mut self, tx: TxId) {
        loop {
            let guest = self.guests.get_mut(&tx).expect("a guest is here until it is dismissed");
            let Some(errand) = guest.errands.pop_front() else { break };
            if let What::Mark(marking) = errand.what {
                guest.ran.push(Ran { reply: Output::default(), next: None, facts: None, watched: Vec::new() });
                self.pass_mark(marking);
                continue;
            }
            let (now, mut cargo) = (guest.now, std::mem::take(&mut guest.cargo));
            self.ran += 1;
            let (ran, effects, until) = self.apart(|shard| shard.run_errand(tx, &errand, &mut cargo, now));
            let guest = self.guests.get_mut(&tx).expect("still here");
            guest.cargo = cargo;
            guest.ran.push(ran);
            guest.effects.append(effects);
            guest.until = guest.until.max(until);
            if let Some(job) = self.begun.take() {
                // It works on clones of what it only reads, unless that leads it on.
                let guest = self.guests.get(&tx).expect("still here");
                let is_last = guest.then == Then::Release && guest.errands.is_empty();
                let leads = self.table.row(errand.command).leads_elsewhere(errand.request.args());
                if let Some(claim) = guest.claim.filter(|_| is_last && !leads) {
                    self.locks.narrow(claim);
                }
                return self.go_on_as_job(job, &errand.caller, errand.command, Addressee::Guest(tx), Some(now), None);
            }
        }
        let guest = self.guests.get_mut(&tx).expect("still here");
        let (ran, cargo, now) = (std::mem::take(&mut guest.ran), std::mem::take(&mut guest.cargo), guest.now);
        // What is not in the journal yet will be when the home asks.
        let mut until = if guest.effects.is_empty() { guest.until } else { Position::MAX };
        if guest.then == Then::Release {
            until = self.dismiss(tx, Why::Over);
        }
        self.report(tx, Report::Ran { ran, cargo, now, until });
    }

    /// A step of the job of a guest's errand has left this for the journal.
    pub(super) fn guest_stepped(&mut self, tx: TxId, effects: Records, until: Position) {
        let guest = self.guests.get_mut(&tx).expect("a job's guest waits for it");
        guest.effects.append(effects);
        guest.until = guest.until.max(until);
    }

    /// The job of a guest's errand is over. That of a stage, which has others after it, has nothing to say unless it failed.
    pub(super) fn guest_ran(&mut self, tx: TxId, reply: Output, mut job: Box<dyn Job>) {
        let until = self.take_until();
        let guest = self.guests.get_mut(&tx).expect("a job's guest waits for it");
        guest.until = guest.until.max(until);
        let ran = guest.ran.last_mut().expect("the errand that began the job");
        if reply.is_empty() {
            job.hand_on(&mut guest.cargo);
        } else {
            (ran.reply, ran.next) = (reply, None);
        }
        self.run_guest(tx);
    }

    /// Gives a share's intents back; first, if it is over, what it did goes into the journal. Up to where that must be firm before what it
    /// showed may be seen.
    fn dismiss(&mut self, tx: TxId, why: Why) -> Position {
        let guest = self.guests.remove(&tx).expect("dismissed once");
        let of = guest.holds_line.then_some((tx.home, guest.caller.conn));
        let Guest { claim, signature, effects, until, .. } = guest;
        let mut until = until;
        if why == Why::Over {
            let end = self.append_guest(tx, signature.as_ref(), &effects);
            if let Some(durable) = &mut self.durable {
                // Who holds nothing may have changed anything.
                let everything = Scope::Whole(Mode::Exclusive);
                durable.note_written(claim.map_or(&everything, |claim| self.locks.scope(claim)), end);
            }
            until = until.max(end);
        }
        if let Some(claim) = claim {
            self.locks.release(claim);
        }
        if let Some(of) = of {
            self.go_on_in_line(of);
        }
        until
    }

    /// When the first of these keys will be gone by itself, which is a change too.
    fn first_deadline(&self, watched: &[WatchedKey], now: Millis) -> Option<Millis> {
        let deadline = |key: &WatchedKey| self.store.db(key.db).find(&key.key, key.hash, now)?.expiry();
        watched.iter().filter_map(deadline).chain(watched.iter().filter_map(|key| key.fades)).min()
    }

    pub(super) fn has_changed(&self, key: &WatchedKey, now: Millis) -> bool {
        let exists = self.store.db(key.db).find(&key.key, key.hash, now).is_some();
        match self.store.watchers.since(key.db, key.hash, key.version) {
            Since::Untouched => key.existed && (!exists || key.fades.is_some_and(|at| at <= now)),
            Since::Swept => key.existed || exists,
            Since::Changed => true,
        }
    }

    fn run_errand(&mut self, tx: TxId, errand: &Errand, cargo: &mut Cargo, now: Millis) -> Ran {
        let mut ran = None;
        // Shared with it: an errand that is refused goes back with all it had.
        self.with_longs(errand.longs.clone(), |shard| ran = Some(shard.run_errand_here(tx, errand, cargo, now)));
        ran.expect("it has run")
    }

    fn run_errand_here(&mut self, tx: TxId, errand: &Errand, cargo: &mut Cargo, now: Millis) -> Ran {
        let mut reply = self.spares.pop().unwrap_or_default();
        // One lane alone has read all times itself, and a replay may want them in another order.
        if !self.lanes.is_one() {
            self.seen = self.seen.max(now);
        }
        self.at = now;
        let (mut next, mut facts, mut watched) = (None, None, Vec::new());
        let is_lost = self.table.row(errand.command).name == "mset" && self.plant.strikes(Planted::HalfTransaction);
        match errand.what {
            What::Part if is_lost => {
                Reply::new(&mut reply, errand.caller.dialect).ok();
                self.remember(&errand.caller, self.table.row(errand.command));
            }
            What::Whole => self.perform(
                &errand.caller,
                self.table.found(errand.command),
                errand.request.args(),
                errand.first,
                &mut reply,
            ),
            What::Part => self.perform_part(
                &errand.caller,
                self.table.found(errand.command),
                errand.request.args(),
                errand.first,
                &mut reply,
            ),
            What::Stage(from) => next = self.run_stages_here(errand, from, cargo, &mut reply),
            What::Move(from) => {
                next = self.run_stages_here(errand, from, cargo, &mut reply);
                self.note_moved(tx, next, errand.command);
            }
            What::Serve(from) => next = self.serve_errand(errand, from, &mut reply),
            What::Enrol(block) => {
                let waiter = WaiterId { home: errand.caller.home, block: block.0 };
                self.enrol(waiter, &errand.caller, errand.command, errand.request.clone());
            }
            What::Mark(_) => unreachable!("no command runs at a mark"),
            What::Facts => {
                facts = Some(Box::new(self.lane_facts()));
                self.note_everything_shown(&errand.caller);
            }
            What::Watch => {
                watched = self.watch_here(errand.caller.db, errand.request.args());
                self.remember(&errand.caller, self.table.row(errand.command));
            }
        }
        self.at = self.clock();
        Ran { reply, next, facts, watched }
    }
}

impl Guest {
    fn new(caller: Caller, claim: Option<ClaimId>, now: Millis) -> Self {
        Self {
            caller,
            claim,
            watched: Vec::new(),
            has_watched: false,
            errands: VecDeque::new(),
            cargo: Cargo::default(),
            now,
            then: Then::Release,
            ran: Vec::new(),
            at_once: false,
            holds_line: false,
            grows: false,
            signature: None,
            effects: Records::default(),
            until: Position::default(),
        }
    }
}

impl Txn {
    /// A step is over and says this.
    pub(super) fn say(&mut self, reply: Output) {
        self.answered += 1;
        if self.form == Form::Array && self.pace == Pace::InSlices {
            reply.copy_to(self.pieces.writer().output());
            self.pieces.cut();
        } else {
            self.replies.push(reply);
        }
    }

    /// Which journals the reply waits for, and up to where; none unless its client wants that.
    fn untils(&self) -> Vec<(ShardId, Position)> {
        if !self.caller.fsyncs {
            return Vec::new();
        }
        let signed = self.signature.iter().flat_map(|signature| &signature.lanes);
        let signed = signed.map(|lane| (ShardId(*lane), Position::MAX));
        let mut untils: Vec<(ShardId, Position)> = signed.chain(self.untils.iter().copied()).collect();
        // Of each lane the furthest.
        untils.sort_unstable_by_key(|(lane, until)| (*lane, std::cmp::Reverse(*until)));
        untils.dedup_by_key(|(lane, _)| *lane);
        untils
    }
}

impl Share {
    /// Whether it may change anything.
    fn writes(&self) -> bool {
        self.scope.as_ref().is_some_and(Scope::is_exclusive)
    }

    pub(super) fn new(lane: ShardId) -> Self {
        Self { lane, scope: None, watched: Vec::new(), signs: false, held: None, state: Held::No }
    }

    /// Holds more keys, or everything.
    pub(super) fn hold(&mut self, keys: impl IntoIterator<Item = (KeyHash, Mode)>) {
        match &mut self.scope {
            Some(Scope::Many(..)) => unreachable!("who holds a set needs no more keys"),
            Some(Scope::Whole(held)) => {
                if keys.into_iter().any(|(_, mode)| mode == Mode::Exclusive) {
                    *held = Mode::Exclusive;
                }
            }
            scope => {
                let before = match scope.take() {
                    Some(Scope::Keys(before)) => before,
                    _ => Vec::new(),
                };
                *scope = Some(Scope::of(before.into_iter().chain(keys)));
            }
        }
    }

    /// Holds very many keys, unless it holds everything.
    pub(super) fn hold_many(&mut self, keys: Arc<HashSet<KeyHash>>, mode: Mode) {
        match &mut self.scope {
            Some(Scope::Whole(_)) => self.hold_whole(mode),
            scope => *scope = Some(Scope::Many(keys, mode)),
        }
    }

    pub(super) fn hold_whole(&mut self, mode: Mode) {
        let exclusive = mode == Mode::Exclusive || self.writes();
        self.scope = Some(Scope::Whole(if exclusive { Mode::Exclusive } else { Mode::Shared }));
    }
}

fn earlier(one: Option<Millis>, other: Option<Millis>) -> Option<Millis> {
    one.into_iter().chain(other).min()
}

/// A fault as a reply of its own.
pub(super) fn fault_reply(fault: &Fault, caller: &Caller) -> Output {
    let mut output = Output::default();
    Reply::new(&mut output, caller.dialect).error(fault);
    output
}
