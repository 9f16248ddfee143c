//! Requests of other lanes' connections, and requests of anybody that wait here for a key.
//!
//! ```text
//!  deliver   [Execute][Execute][Order][Done]      a parcel: its buckets and entries prefetched, then one after the other
//!     |           |
//!     |           +-- a key of it is held? -- park: waits in the key's queue, and with it the later requests of its connection
//!     |           `-- execute, the same door as for our own; the reply is written into the outbox of its home
//!     `- Done: redeems a ticket
//! ```
//!
//! Nothing here knows whether a command came from afar: `execute` is the same.

use std::collections::VecDeque;

use super::durable::withheld::Parting;
use super::locks::{ClaimId, Mode, Scope};
use super::message::{Message, Parcel, Piece, Ticket, TxId};
use super::probe::Times;
use super::{ConnId, Shard};
use crate::base::hash::KeyHash;
use crate::base::lanes::ShardId;
use crate::base::limits;
use crate::base::time::Millis;
use crate::command::sliced::{Effort, Job};
use crate::command::table::CommandId;
use crate::command::{Caller, Command};
use crate::persist::Position;
use crate::store::incoming::Incoming;
use crate::store::waiters::{Place, WaiterId};
use crate::types::Progress;
use crate::wire::output::Output;
use crate::wire::reply::Reply;
use crate::wire::request::{Args, Request};

/// What a claim on keys stands for.
#[derive(Debug)]
pub(super) enum Claimant {
    /// A request that waits for its keys.
    Request(Box<Parked>),
    /// A transaction's share.
    Guest(TxId),
    /// A request that waited and runs now, or a job that writes.
    Running,
    /// Those who wait until this key is written.
    Waiters(Place),
}

/// A request that waits.
#[derive(Debug)]
pub(super) struct Parked {
    caller: Caller,
    ticket: Ticket,
    command: CommandId,
    first: KeyHash,
    request: Request,
    longs: Incoming,
    /// The turn began in which it came.
    arrived_ns: u64,
}

/// Requests of one connection that wait on this lane, in its order.
#[derive(Debug, Default)]
pub(super) struct Line {
    /// The first of them stands in the queues of its keys, and no more among these.
    has_head: bool,
    rest: VecDeque<Behind>,
}

#[derive(Debug)]
enum Behind {
    Request(Box<Parked>),
    /// A transaction that may wait for its intents.
    Guest(TxId, Scope),
    /// The place of one that was refused, and will ask again as one that waits.
    Refused(TxId),
}

/// Who is to have the reply of a job that nobody's connection here waits for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Addressee {
    Ticket(ShardId, Ticket),
    Guest(TxId),
    /// Who waited for a key, which is held by the job's claim.
    Waiter(WaiterId),
}

/// A command under way on this lane for another one.
#[derive(Debug)]
pub(super) struct GuestJob {
    pub(super) job: Box<dyn Job>,
    pub(super) caller: Caller,
    pub(super) command: CommandId,
    pub(super) to: Addressee,
    effort: Effort,
    /// The time it sees, if not that of the turn: it writes, and is of one moment.
    at: Option<Millis>,
    /// What it writes is held until it is over.
    claim: Option<ClaimId>,
    /// Up to where the journal must be firm before its reply may leave.
    until: Position,
}

/// How many requests of a parcel are looked at ahead.
const AHEAD: usize = 32;

impl Shard {
    /// A parcel of a peer has come. Runs what it asks for, which counts against the turn.
    pub fn deliver(&mut self, from: ShardId, mut parcel: Box<Parcel>) {
        let mut messages = std::mem::take(&mut parcel.messages);
        self.plant.disturb(&mut messages);
        while !messages.is_empty() {
            self.look_ahead(&messages[..messages.len().min(AHEAD)]);
            for message in messages.drain(..messages.len().min(AHEAD)) {
                self.hear_message(from, message, &parcel);
            }
        }
        parcel.messages = messages;
        self.settle();
        self.release(&mut parcel.out);
        parcel.clear();
        if parcel.is_small() && self.parcels.len() < limits::SPARE_PARCELS_MAX {
            self.parcels.push(parcel);
        }
    }

    /// Starts loading what these requests will touch: the buckets of all, then, when they have arrived, the entries.
    fn look_ahead(&mut self, messages: &[Message]) {
        let mut spots = std::mem::take(&mut self.spots);
        spots.extend(messages.iter().filter_map(|message| match message {
            Message::Execute { caller, first, .. } => {
                self.approach(caller.db, *first).map(|spot| (caller.db, spot, *first))
            }
            _ => None,
        }));
        spots.drain(..).for_each(|(db, spot, first)| self.store.prefetch_entry(db, spot, first));
        self.spots = spots;
    }

    fn hear_message(&mut self, from: ShardId, message: Message, parcel: &Parcel) {
        match message {
            Message::Execute { ticket, caller, command, first, words } => {
                self.ran += 1;
                self.visit(ticket, &caller, command, parcel.args(words), first);
            }
            Message::Longs { longs } => self.longs = *longs,
            Message::Timed { ticket, times } => self.probe_timed(ticket, times),
            Message::Asked { lines } => self.show_others(&lines),
            Message::Watches { watches } => self.clients.monitors.hear(from, watches),
            Message::Slow { slow } => self.keep_slow(*slow),
            Message::Done { ticket, piece } => self.pay(ticket, |out| parcel.unpack(piece, out)),
            Message::Unwatch { keys } => keys.iter().for_each(|(db, key)| self.store.unwatch(*db, *key)),
            Message::Order { tx, order } => self.obey(tx, *order),
            Message::Report { tx, report } => self.hear(tx, from, *report),
            Message::May { block, claim } => {
                let is_moved = self.is_moved(block);
                if is_moved && self.take_to_move(block, (from, claim)) {
                    return;
                }
                let taken = !is_moved && self.take_block(block);
                self.outboxes[from.index()].messages.push(Message::Answer { claim, taken });
            }
            Message::Answer { claim, taken } => self.hear_answer(claim, taken),
            Message::Served { block, piece } => self.redeem(block, |out| parcel.unpack(piece, out)),
            Message::Forget { block } => {
                self.forget_waiter(WaiterId { home: from, block: block.0 });
            }
            Message::Synced { shares } => self.hear_shares(from, shares.into()),
            Message::Settled { until } => self.settle_shares(until),
            Message::Hurry => self.hear_hurry(),
            Message::WhenFirm { number, until, asks } => self.tell_when_firm(from, number, until, asks),
            Message::Told { number, fate } => self.told(number, fate),
            Message::Lost { ticket } => self.lose(ticket),
            Message::LostBlock { block } => self.lose_block(block),
            Message::DiskFailed { era, why } => self.disk_failed(era, why),
            Message::Full { is_full } => self.hear_full(from, is_full),
            Message::Grown { bytes, rewrites } => self.hear_size(from, bytes, rewrites),
        }
    }

    /// What is to go to a peer, if there is something.
    pub fn take_parcel(&mut self, to: ShardId) -> Option<Box<Parcel>> {
        let outbox = &mut self.outboxes[to.index()];
        if outbox.is_empty() {
            return None;
        }
        let spare = self.parcels.pop().unwrap_or_default();
        let parcel = std::mem::replace(outbox, spare);
        self.feed_starved();
        Some(parcel)
    }

    /// Runs a request of a connection that is another lane's, or that is ours and had no place to go at once.
    fn visit(&mut self, ticket: Ticket, caller: &Caller, command: CommandId, args: Args<'_>, first: KeyHash) {
        if self.longs.is_empty() && self.is_clear() {
            return self.visit_now(ticket, caller, command, args, first);
        }
        let longs = std::mem::take(&mut self.longs);
        if !self.is_clear() && self.must_wait(caller, command, args) {
            return self.park_own(ticket, caller, command, args, longs);
        }
        self.with_longs(longs, |shard| shard.visit_now(ticket, caller, command, args, first));
    }

    #[inline]
    fn visit_now(&mut self, ticket: Ticket, caller: &Caller, command: CommandId, args: Args<'_>, first: KeyHash) {
        let begun = self.run_visit(ticket, caller, command, args, first, self.now.mono_ns);
        if let Some(job) = begun {
            let claim = self.claim_for_job(command, args);
            self.go_on_for(ticket, job, caller, command, claim);
        }
    }

    /// Runs it; the job, if it takes more than this turn.
    fn run_visit(
        &mut self,
        ticket: Ticket,
        caller: &Caller,
        command: CommandId,
        args: Args<'_>,
        first: KeyHash,
        arrived_ns: u64,
    ) -> Option<Box<dyn Job>> {
        let found = self.table.found(command);
        let started_ns = caller.probed.then(|| (self.stopwatch)());
        let times =
            |clock: fn() -> u64| started_ns.map(|started_ns| Times { arrived_ns, started_ns, ended_ns: clock() });
        if caller.home == self.me || caller.fsyncs {
            let mut reply = Output::default();
            self.execute(caller, Some(found), args, first, &mut reply);
            if self.begun.is_none() {
                if let Some(times) = times(self.stopwatch).filter(|_| caller.home == self.me) {
                    self.probe_timed(ticket, times);
                }
                self.answer(caller.home, ticket, reply);
            }
        } else {
            // The reply is written where it leaves from.
            let home = caller.home.index();
            let mut out = std::mem::take(&mut self.outboxes[home].out);
            let mark = Piece::at(&out);
            self.execute(caller, Some(found), args, first, &mut out);
            self.outboxes[home].out = out;
            if self.begun.is_none() {
                let piece = self.outboxes[home].piece_since(mark);
                if let Some(times) = times(self.stopwatch) {
                    self.outboxes[home].messages.push(Message::Timed { ticket, times });
                }
                self.outboxes[home].messages.push(Message::Done { ticket, piece });
            }
        }
        self.begun.take()
    }

    /// Holds what a command writes that has just begun a job, or everything if it is led on by what it reads: nobody held any of it when it
    /// began.
    pub(super) fn claim_for_job(&mut self, command: CommandId, args: Args<'_>) -> Option<ClaimId> {
        let row = self.table.row(command);
        let scope = match self.scope(row, args)? {
            Scope::Keys(mut keys) => {
                keys.retain(|(_, mode)| *mode == Mode::Exclusive);
                Some(Scope::Keys(keys)).filter(|scope| *scope != Scope::Keys(Vec::new()))
            }
            scope => Some(scope).filter(|_| row.leads_elsewhere(args)),
        };
        Some(self.locks.take(scope?, Claimant::Running))
    }

    /// A command goes on as a job, for whoever has the ticket.
    pub(super) fn go_on_for(
        &mut self,
        ticket: Ticket,
        job: Box<dyn Job>,
        caller: &Caller,
        command: CommandId,
        claim: Option<ClaimId>,
    ) {
        let at = claim.is_some().then_some(self.at);
        self.go_on_as_job(job, caller, command, Addressee::Ticket(caller.home, ticket), at, claim);
    }

    pub(super) fn go_on_as_job(
        &mut self,
        job: Box<dyn Job>,
        caller: &Caller,
        command: CommandId,
        to: Addressee,
        at: Option<Millis>,
        claim: Option<ClaimId>,
    ) {
        let (effort, until) = (std::mem::take(&mut self.begun_effort), self.take_until());
        self.guest_jobs.push_back(GuestJob { job, caller: *caller, command, to, effort, at, claim, until });
    }

    /// Whether nobody holds or wants anything here, and nobody waits: then no request has to. A connection may have a place in line while
    /// nothing is held any more: its share was refused, and has yet to ask again.
    #[inline]
    pub(super) fn is_clear(&self) -> bool {
        self.locks.is_empty() && self.lines.is_empty()
    }

    /// Whether a request must not run now: its keys are held, or one before it of its connection waits.
    pub(super) fn must_wait(&self, caller: &Caller, command: CommandId, args: Args<'_>) -> bool {
        if self.lines.contains_key(&(caller.home, caller.conn)) {
            return true;
        }
        self.meets_holders(self.table.row(command), args)
    }

    /// Whether what a request looks at is held, or wanted first, by others.
    pub(super) fn meets_holders(&self, row: &Command, args: Args<'_>) -> bool {
        match self.scope(row, args) {
            None => false,
            Some(Scope::Whole(_) | Scope::Many(..)) => true,
            Some(Scope::Keys(keys)) => keys.iter().any(|(key, mode)| self.locks.blocks(*key, *mode)),
        }
    }

    /// Lets a request wait for its keys.
    pub(super) fn park_own(
        &mut self,
        ticket: Ticket,
        caller: &Caller,
        command: CommandId,
        args: Args<'_>,
        longs: Incoming,
    ) {
        let (request, arrived_ns) = (args.into(), self.now.mono_ns);
        let first = self.first_of(self.table.row(command), args);
        self.park(Box::new(Parked { caller: *caller, ticket, command, first, request, longs, arrived_ns }));
    }

    fn park(&mut self, parked: Box<Parked>) {
        let of = (parked.caller.home, parked.caller.conn);
        self.stand_in_line(of, Behind::Request(parked));
    }

    /// A share of a transaction waits for its keys, in its connection's line: at its old place if it was refused.
    pub(super) fn park_guest(&mut self, of: (ShardId, ConnId), tx: TxId, scope: Scope) {
        let line = self.lines.entry(of).or_default();
        let refused = line.rest.iter_mut().find(|other| matches!(other, Behind::Refused(same) if *same == tx));
        let Some(refused) = refused else { return self.stand_in_line(of, Behind::Guest(tx, scope)) };
        *refused = Behind::Guest(tx, scope);
        if !line.has_head {
            self.go_on_in_line(of);
        }
    }

    /// What comes later of this connection must not overtake a share that was refused.
    pub(super) fn keep_place(&mut self, of: (ShardId, ConnId), tx: TxId) {
        self.stand_in_line(of, Behind::Refused(tx));
    }

    fn stand_in_line(&mut self, of: (ShardId, ConnId), behind: Behind) {
        let line = self.lines.entry(of).or_default();
        let is_first = !line.has_head && line.rest.is_empty();
        line.rest.push_back(behind);
        if is_first {
            self.go_on_in_line(of);
        }
    }

    fn claim_parked(&mut self, parked: Box<Parked>) {
        let row = self.table.row(parked.command);
        let scope = self.scope(row, parked.request.args()).unwrap_or(Scope::Keys(Vec::new()));
        self.locks.claim(scope, Claimant::Request(parked));
    }

    /// Does what became possible: claims that were granted, what own orders led to.
    pub(super) fn settle(&mut self) {
        loop {
            if let Some(claim) = self.locks.next_granted() {
                match self.locks.what(claim) {
                    Claimant::Request(_) => self.run_parked(claim),
                    Claimant::Guest(tx) => {
                        let tx = *tx;
                        self.head_granted(tx, claim);
                    }
                    Claimant::Waiters(_) => self.serve_waiters(claim),
                    Claimant::Running => unreachable!("granted before it ran"),
                }
            } else if let Some((tx, report)) = self.own_reports.pop_front() {
                self.hear(tx, self.me, report);
            } else if self.store.waiters.has_ready() {
                self.serve_ready();
            } else {
                return;
            }
        }
    }

    fn run_parked(&mut self, claim: ClaimId) {
        // Held to its end: what it writes is for those who wait for the key, before it is for the next claim.
        let claimant = std::mem::replace(self.locks.what(claim), Claimant::Running);
        let Claimant::Request(parked) = claimant else { unreachable!("the caller has looked") };
        let Parked { mut caller, ticket, command, first, request, longs, arrived_ns } = *parked;
        if let Some(client) = self.client_of(&caller) {
            caller.clearance = client.clearance;
        }
        self.with_longs(longs, |shard| {
            let begun = shard.run_visit(ticket, &caller, command, request.args(), first, arrived_ns);
            if let Some(job) = begun {
                let row = shard.table.row(command);
                let is_held = row.is_write() || row.leads_elsewhere(request.args());
                let held = is_held.then_some(claim);
                shard.go_on_for(ticket, job, &caller, command, held);
                if held.is_none() {
                    shard.locks.release(claim);
                }
            } else {
                shard.locks.release(claim);
            }
        });
        self.go_on_in_line((caller.home, caller.conn));
    }

    /// The first of a connection's line is through: the next stands in the queues of its keys, unless it has still to ask.
    pub(super) fn go_on_in_line(&mut self, of: (ShardId, ConnId)) {
        let Some(line) = self.lines.get_mut(&of) else { return };
        line.has_head = false;
        if let Some(Behind::Refused(_)) = line.rest.front() {
            return;
        }
        let Some(next) = line.rest.pop_front() else {
            self.lines.remove(&of);
            return;
        };
        line.has_head = true;
        match next {
            Behind::Request(parked) => self.claim_parked(parked),
            Behind::Guest(tx, scope) => {
                self.locks.claim(scope, Claimant::Guest(tx));
            }
            Behind::Refused(_) => unreachable!("just looked at"),
        }
    }

    /// Takes a step of each command that is under way for others.
    pub(super) fn step_guest_jobs(&mut self) {
        if !self.guest_jobs.is_empty() {
            self.step_each_guest_job();
        }
        if !self.long_requests.is_empty() {
            self.step_long_requests();
        }
        if self.waiting.has_later() {
            self.serve_later();
        }
        self.settle();
    }

    #[cold]
    fn step_each_guest_job(&mut self) {
        for _ in 0..self.guest_jobs.len() {
            let Some(mut guest) = self.guest_jobs.pop_front() else { return };
            let mut output = Output::default();
            match self.step_guest_job(&mut guest, &mut output) {
                Progress::More => self.guest_jobs.push_back(guest),
                Progress::Done => self.end_guest_job(guest, output),
            }
        }
    }

    fn step_guest_job(&mut self, guest: &mut GuestJob, output: &mut Output) -> Progress {
        let GuestJob { job, caller, command, effort, at, to, until, .. } = guest;
        let turn = self.at;
        self.at = at.unwrap_or(turn);
        let (progress, reached) = match to {
            Addressee::Ticket(..) | Addressee::Waiter(_) => {
                (self.step_of(job, caller, Some(*command), effort, output), self.take_until())
            }
            Addressee::Guest(tx) => {
                let (progress, effects, reached) =
                    self.apart(|shard| shard.step_of(job, caller, Some(*command), effort, output));
                self.guest_stepped(*tx, effects, reached);
                (progress, reached)
            }
        };
        self.at = turn;
        *until = (*until).max(reached);
        progress
    }

    fn end_guest_job(&mut self, guest: GuestJob, output: Output) {
        self.put_until(guest.until);
        self.note_job_over(&guest.caller, Some(guest.command));
        let (home, ticket) = match guest.to {
            Addressee::Guest(tx) => return self.guest_ran(tx, output, guest.job),
            Addressee::Ticket(home, ticket) => (home, ticket),
            Addressee::Waiter(waiter) => {
                let claim = guest.claim.expect("a waiter is served while its key is held");
                self.note_job_written(&guest.caller, claim);
                return self.waiter_served(waiter, claim, output);
            }
        };
        if let Some(claim) = guest.claim {
            self.note_job_written(&guest.caller, claim);
            self.answer(home, ticket, output);
            self.locks.release(claim);
        } else {
            self.answer(home, ticket, output);
        }
    }

    /// A job's step, timed on top of what others took; its fault becomes the reply.
    pub(super) fn step_of(
        &mut self,
        job: &mut Box<dyn Job>,
        caller: &Caller,
        command: Option<CommandId>,
        effort: &mut Effort,
        output: &mut Output,
    ) -> Progress {
        let started = (self.stopwatch)();
        let mark = output.mark();
        let mut reply = Reply::new(output, caller.dialect);
        let progress = job.step(&mut self.ctx(caller, KeyHash::default()), &mut reply).unwrap_or_else(|fault| {
            reply.truncate(mark);
            self.refuse(&fault, &mut reply);
            Progress::Done
        });
        let took_ns = (self.stopwatch)().saturating_sub(started);
        self.stalls.note(command.map_or("a step", |id| self.table.row(id).name), took_ns);
        effort.ns += took_ns;
        if let Some(id) = command {
            self.state_effect(caller, self.table.row(id), None);
        }
        if let Some(command) = command.filter(|_| progress == Progress::Done) {
            self.note_duration(command, effort.ns);
            if let Some(request) = effort.request.take().filter(|_| effort.ns >= self.slowlog.threshold_ns) {
                self.note_slow_request(caller, self.table.row(command), *request, effort.ns);
            }
        }
        progress
    }

    fn answer(&mut self, home: ShardId, ticket: Ticket, reply: Output) {
        let parting = if home == self.me { Parting::Reply(ticket, reply) } else { Parting::Done(home, ticket, reply) };
        let until = self.take_until();
        self.withhold(until, parting);
    }
}
