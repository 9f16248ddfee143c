//! Requests that wait, at the home of their connection.
//!
//! ```text
//!  BLPOP a b 5   all keys here and free     serve a? serve b? ----------------> served
//!                                             | neither: enrolled here
//!                else: a transaction         holding a and b, their owners try in turn; if none can, each enrols it: then the
//!                  Looking                   intents are given back, so that no write slips between looking and waiting
//!                     v
//!                  Waiting  --the time is over, CLIENT UNBLOCK, the connection ends--> its reply; the owners forget it
//!                     v   a key was written: its owner asks, the first who asks is told to serve it
//!                  Taken    --Served--> its reply; the other owners forget it
//!
//!  BLMOVE a b 5     Waiting for a --a was written: its owner asks--> Taken: a transaction over a, which its owner hands over as it holds it, and b
//! ```
//!
//! Such a transaction does not wait while it holds out of order, as no other does: if b is held by somebody it gives a back and asks again in
//! the order of the lanes. Meanwhile others may come upon what is in a, and if it is gone then the request waits on at its old place.
//!
//! Everything about a wait that must happen once is decided here, so that a value is taken for a client only while that client wants it.
//! The rest is at the owners: `waiters.rs`.

use std::collections::BTreeSet;

use hashbrown::HashMap;

use super::locks::ClaimId;
use super::message::{Message, Ticket};
use super::route::Route;
use super::{ConnId, Shard};
use crate::base::lanes::ShardId;
use crate::command::blocking::{Blocking, Patience, Serve, Served};
use crate::command::clients::{BlockId, Closing, Parting};
use crate::command::owed::{Barrier, Where};
use crate::command::table::{CommandId, Found};
use crate::command::{Caller, Command, Run};
use crate::persist::Position;
use crate::store::waiters::WaiterId;
use crate::wire::fault::Fault;
use crate::wire::output::Output;
use crate::wire::reply::Reply;
use crate::wire::request::{Args, Request};

const UNBLOCKED: Fault = Fault::Fixed("UNBLOCKED client unblocked via CLIENT UNBLOCK");

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Its keys are being looked at, by a transaction: that must be over before the wait can end.
    Looking,
    Waiting,
    /// An owner serves it.
    Taken,
}

#[derive(Debug)]
struct Blocked {
    caller: Caller,
    ticket: Ticket,
    command: CommandId,
    /// Nanoseconds of the monotonic clock.
    deadline_ns: Option<u64>,
    /// Where it is enrolled.
    lanes: BTreeSet<ShardId>,
    state: State,
    /// It waits for the disk, not for a key.
    pub(super) disk: Option<DiskWait>,
    /// What it asks for, if it waits for keys.
    request: Option<Request>,
}

/// What a request that waits for the disk has been told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct DiskWait {
    pub(super) is_firm: bool,
    /// It waits for replicas too, of which there are none.
    pub(super) wants_replicas: bool,
}

/// The requests of this lane's connections that wait: one of each connection at most.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    all: HashMap<BlockId, Blocked>,
    deadlines: BTreeSet<(u64, BlockId)>,
    last: u64,
}

impl Blocks {
    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    fn insert(&mut self, blocked: Blocked) -> BlockId {
        self.last += 1;
        self.all.insert(BlockId(self.last), blocked);
        BlockId(self.last)
    }

    pub(super) fn remove(&mut self, block: BlockId) -> Option<(Caller, Ticket)> {
        self.take_out(block).map(|blocked| (blocked.caller, blocked.ticket))
    }

    /// What a request that waits for the disk has been told, while it waits.
    pub(super) fn disk_wait(&mut self, block: BlockId) -> Option<&mut DiskWait> {
        self.all.get_mut(&block).and_then(|blocked| blocked.disk.as_mut())
    }

    pub(super) fn wait_for_disk(&mut self, block: BlockId, wait: DiskWait) {
        if let Some(blocked) = self.all.get_mut(&block) {
            blocked.disk = Some(wait);
        }
    }

    fn take_out(&mut self, block: BlockId) -> Option<Blocked> {
        let blocked = self.all.remove(&block)?;
        self.forget_deadline(block, &blocked);
        Some(blocked)
    }

    fn forget_deadline(&mut self, block: BlockId, blocked: &Blocked) {
        if let Some(deadline) = blocked.deadline_ns {
            self.deadlines.remove(&(deadline, block));
        }
    }

    fn overdue(&self, now_ns: u64) -> Option<BlockId> {
        self.deadlines.first().filter(|(deadline, _)| *deadline <= now_ns).map(|(_, block)| *block)
    }
}

impl Shard {
    /// Runs a request that may wait. `out` holds the replies before it.
    #[expect(clippy::too_many_arguments, reason = "a request, its connection and its row")]
    pub(super) fn begin_blocking(
        &mut self,
        caller: &Caller,
        found: Found,
        way: &'static Blocking,
        route: Route,
        args: Args<'_>,
        silent: bool,
        out: &mut Output,
    ) {
        let mark = out.mark();
        let afforded = self.afford(found);
        if let Err(fault) = &afforded {
            self.count_rejected(caller, Some(found), args, fault);
        }
        let patience = afforded.and_then(|()| (way.patience)(args, self.at));
        let patience = match patience {
            Ok(patience) => patience,
            Err(fault) => {
                return self.answer_at_once(silent, out, |shard, out| shard.fail(found.id, &fault, caller, out));
            }
        };
        let keyless = found.row.keys.first == 0;
        let here = keyless || route == Route::Here && !self.must_wait_here(caller, found.id, args);
        if patience == Patience::None && !here {
            // One round over the owners of its keys; counted where that ends.
            let ticket = self.owe(caller, Where::Several, Barrier::Yes, silent, out);
            return self.begin_tries(caller, found, args, ticket, None);
        }
        self.stats.count_call(found.id.0);
        if here && self.serve_from(caller, found.id, args, usize::from(found.row.keys.first), out).is_none() {
            if let Some(job) = self.begun.take() {
                let claim = self.claim_for_job(found.id, args);
                let ticket = self.owe(caller, Where::Lane(self.me), Barrier::Yes, silent, out);
                return self.go_on_for(ticket, job, caller, found.id, claim);
            }
            if silent {
                out.truncate(mark);
            }
            return;
        }
        if patience == Patience::None {
            return self.answer_at_once(silent, out, |_, out| (way.give_up)(&mut Reply::new(out, caller.dialect)));
        }
        let ticket = self.owe(caller, Where::Several, Barrier::Yes, silent, out);
        let block = self.open_block(caller, found, args, ticket, patience);
        if here {
            // Who waits for no key is served by nobody, and so enrolled nowhere.
            if !keyless {
                let waiter = WaiterId { home: self.me, block: block.0 };
                self.enrol(waiter, caller, found.id, args.into());
            }
            self.begin_waiting(block);
        } else {
            self.begin_tries(caller, found, args, ticket, Some(block));
        }
    }

    fn must_wait_here(&self, caller: &Caller, command: CommandId, args: Args<'_>) -> bool {
        !self.is_clear() && self.must_wait(caller, command, args)
    }

    pub(super) fn answer_at_once(
        &mut self,
        silent: bool,
        out: &mut Output,
        write: impl FnOnce(&mut Self, &mut Output),
    ) {
        let mark = out.mark();
        write(self, out);
        if silent {
            out.truncate(mark);
        }
    }

    pub(super) fn fail(&mut self, command: CommandId, fault: &Fault, caller: &Caller, out: &mut Output) {
        self.stats.commands[usize::from(command.0)].failed += 1;
        self.refuse(fault, &mut Reply::new(out, caller.dialect));
    }

    pub(super) fn open_block(
        &mut self,
        caller: &Caller,
        found: Found,
        args: Args<'_>,
        ticket: Ticket,
        patience: Patience,
    ) -> BlockId {
        let after = |millis: u64| self.now.mono_ns.saturating_add(millis.saturating_mul(1_000_000));
        let deadline_ns = match patience {
            Patience::Millis(millis) => Some(after(millis)),
            Patience::Forever | Patience::None => None,
        };
        // Who waits for the disk waits for no key.
        let way = if let Run::Blocking(way) = found.row.run { Some(way) } else { None };
        let awaited = way.into_iter().flat_map(|way| way.awaited(found.row.keys, args));
        let lanes = awaited.map(|i| self.owner_of(args.at(i))).collect();
        let (state, command, disk) = (State::Looking, found.id, None);
        let request = way.filter(|_| found.row.keys.first > 0).map(|_| args.into());
        self.blocks.insert(Blocked { caller: *caller, ticket, command, deadline_ns, lanes, state, disk, request })
    }

    /// Tries the keys from this word of the request on, as far as they are this lane's. The word at which others must go on, beyond the
    /// last one if there is none; `None`: it was served, if only to be answered by a job (`begun`), or failed, which is an answer too.
    pub(super) fn serve_from(
        &mut self,
        caller: &Caller,
        command: CommandId,
        args: Args<'_>,
        from: usize,
        out: &mut Output,
    ) -> Option<usize> {
        let row = self.table.row(command);
        for word in way_of(row).awaited(row.keys, args).filter(|word| *word >= from) {
            if self.owner_of(args.at(word)) != self.me {
                return Some(word);
            }
            self.remember(caller, row);
            if self.serve_word(caller, command, args, word, out) {
                return None;
            }
        }
        Some(args.len())
    }

    /// Tries one key; whether there was anything. What takes more than this turn has `begun`.
    pub(super) fn serve_word(
        &mut self,
        caller: &Caller,
        command: CommandId,
        args: Args<'_>,
        word: usize,
        out: &mut Output,
    ) -> bool {
        let row = self.table.row(command);
        let mark = out.mark();
        let first = self.first_of(row, args);
        let served = way_of(row).serve(&mut self.ctx(caller, first), args, word, &mut Reply::new(out, caller.dialect));
        match served {
            Ok(served) => {
                self.state_effect(caller, row, Some(args));
                self.note_durability(caller, row, args, first);
                let is_served = !matches!(served, Served::No);
                if let Served::Job(job) = served {
                    self.begun = Some(job);
                }
                is_served
            }
            Err(fault) => {
                out.truncate(mark);
                self.store.effects.abandon();
                self.fail(command, &fault, caller, out);
                self.note_durability(caller, row, args, first);
                true
            }
        }
    }

    /// The transaction that looked at the keys is over: its reply, or none if the request is to wait.
    pub(super) fn conclude_block(&mut self, block: BlockId, reply: Option<Output>, untils: &[(ShardId, Position)]) {
        match reply {
            Some(reply) => {
                let (_, ticket) = self.blocks.remove(block).expect("it is enrolled nowhere, so nobody has taken it");
                self.pay_when_durable(ticket, reply, untils);
            }
            None => self.begin_waiting(block),
        }
    }

    /// It is enrolled everywhere, unless it was taken already.
    pub(super) fn begin_waiting(&mut self, block: BlockId) {
        let Some(blocked) = self.blocks.all.get_mut(&block) else { return };
        if blocked.state != State::Looking {
            return;
        }
        blocked.state = State::Waiting;
        let (conn, client, deadline) = (blocked.caller.conn, blocked.caller.client, blocked.deadline_ns);
        if !self.is_open(conn, client) || self.draining {
            self.part(block, Parting::Gone);
            if self.clients.get(conn).is_some_and(|other| other.id == client) {
                self.hang_up(conn);
            }
            return;
        }
        self.clients.blocked.insert(client, block);
        self.blocks.deadlines.extend(deadline.map(|deadline| (deadline, block)));
    }

    fn is_open(&self, conn: ConnId, client: u64) -> bool {
        self.clients.get(conn).is_some_and(|other| other.id == client && other.closing == Closing::No)
    }

    /// Ends a connection whose wait was cut short: what it was sent before leaves, what stands behind the wait is not run.
    pub(super) fn hang_up(&mut self, conn: ConnId) {
        if let Some(client) = self.clients.get_mut(conn) {
            client.parser = Default::default();
            let inbound = std::mem::take(&mut client.inbound);
            self.store.graves.bury_pieces(inbound.into_pieces());
            if let Some(gathering) = client.gathering.take() {
                self.bury_longs(gathering.into_ropes());
            }
        }
        self.clients.close(conn, Closing::AfterFlush);
    }

    /// Whether an owner may serve it: the first that asks, while its client is there. From then on nothing else ends the wait.
    pub(super) fn take_block(&mut self, block: BlockId) -> bool {
        let Some(blocked) = self.blocks.all.get(&block) else { return false };
        let (conn, client) = (blocked.caller.conn, blocked.caller.client);
        if blocked.state == State::Taken || !self.is_open(conn, client) {
            return false;
        }
        if blocked.state == State::Waiting
            && let Some(request) = &blocked.request
            && let Some(lack) = self.lack_of_waiter(&blocked.caller, blocked.command, request.args())
        {
            self.part(block, Parting::Denied(lack));
            return false;
        }
        self.clients.blocked.remove(&client);
        let blocked = self.blocks.all.get_mut(&block).expect("just looked at");
        blocked.state = State::Taken;
        if let Some(deadline) = blocked.deadline_ns {
            self.blocks.deadlines.remove(&(deadline, block));
        }
        true
    }

    /// An owner that holds a key by this claim asks for a request that is served by a transaction. Whether that begins.
    pub(super) fn take_to_move(&mut self, block: BlockId, from: (ShardId, ClaimId)) -> bool {
        if !self.take_block(block) {
            return false;
        }
        let blocked = self.blocks.all.get_mut(&block).expect("just looked at");
        let (caller, ticket, command) = (blocked.caller, blocked.ticket, blocked.command);
        let request = blocked.request.take().expect("it was kept for this");
        self.begin_moving(&caller, self.table.found(command), request.args(), ticket, block, from);
        if let Some(blocked) = self.blocks.all.get_mut(&block) {
            blocked.request = Some(request);
        }
        true
    }

    /// Whether such a request is served by a transaction that its home begins.
    pub(super) fn is_moved(&self, block: BlockId) -> bool {
        let way = |blocked: &Blocked| match self.table.row(blocked.command).run {
            Run::Blocking(way) => Some(way),
            _ => None,
        };
        let way = self.blocks.all.get(&block).and_then(way);
        way.is_some_and(|way| matches!(way.serve, Serve::Moving(_)))
    }

    /// The transaction that was to serve it is over: its reply, or none if somebody was there before it.
    pub(super) fn conclude_serving(&mut self, block: BlockId, reply: Option<Output>, untils: &[(ShardId, Position)]) {
        let Some(reply) = reply else {
            self.blocks.all.get_mut(&block).expect("only this ends it").state = State::Looking;
            return self.begin_waiting(block);
        };
        let blocked = self.blocks.take_out(block).expect("only this ends it");
        self.forget_everywhere(block, &blocked.lanes);
        self.pay_when_durable(blocked.ticket, reply, untils);
    }

    /// It was served: the reply, which may find its connection gone.
    pub(super) fn redeem(&mut self, block: BlockId, write: impl FnOnce(&mut Output)) {
        let blocked = self.blocks.take_out(block).expect("whoever is taken is served once");
        assert_eq!(blocked.state, State::Taken, "only an owner that was told so serves");
        self.forget_everywhere(block, &blocked.lanes);
        self.pay(blocked.ticket, write);
    }

    /// It was served, and what it took may be lost: its connection ends.
    pub(super) fn lose_block(&mut self, block: BlockId) {
        let ticket = self.blocks.all.get(&block).expect("whoever is taken is served once").ticket;
        let conn = self.conn_of(ticket);
        self.clients.close(conn, Closing::Now);
        self.redeem(block, |_| ());
    }

    /// Ends a wait that nothing came of.
    pub(super) fn part(&mut self, block: BlockId, parting: Parting) {
        let blocked = self.blocks.take_out(block).expect("only who waits is let go");
        assert_eq!(blocked.state, State::Waiting, "only who waits is let go");
        let Blocked { caller, ticket, command, lanes, disk, request, .. } = blocked;
        self.clients.blocked.remove(&caller.client);
        self.forget_everywhere(block, &lanes);
        let reply = match parting {
            Parting::TimedOut => match disk {
                Some(disk) => disk.reply(&caller),
                None => {
                    let mut reply = Output::default();
                    way_of(self.table.row(command)).time_out(&mut Reply::new(&mut reply, caller.dialect));
                    // That there was nothing may be the work of whoever deleted it.
                    if caller.fsyncs && self.keeps_journal() {
                        return self.pay_when_shown(ticket, reply, lanes.iter().copied());
                    }
                    reply
                }
            },
            Parting::Error => {
                let mut reply = Output::default();
                self.refuse(&UNBLOCKED, &mut Reply::new(&mut reply, caller.dialect));
                reply
            }
            Parting::Denied(lack) => {
                let request = request.expect("only who waits for keys is looked at again");
                let fault = self.denied_waiter(&caller, command, request.args(), lack);
                let mut reply = Output::default();
                self.refuse(&fault, &mut Reply::new(&mut reply, caller.dialect));
                reply
            }
            Parting::Gone => Output::default(),
        };
        self.pay(ticket, |out| out.append(reply));
    }

    fn forget_everywhere(&mut self, block: BlockId, lanes: &BTreeSet<ShardId>) {
        for lane in lanes {
            if *lane == self.me {
                self.forget_waiter(WaiterId { home: self.me, block: block.0 });
            } else {
                self.outboxes[lane.index()].messages.push(Message::Forget { block });
            }
        }
    }

    /// Lets go whose time is over; when the next one's is, in nanoseconds of the monotonic clock.
    #[inline]
    pub(super) fn end_overdue_waits(&mut self) -> Option<u64> {
        if self.blocks.deadlines.is_empty() {
            return None;
        }
        self.end_overdue()
    }

    #[cold]
    fn end_overdue(&mut self) -> Option<u64> {
        while let Some(block) = self.blocks.overdue(self.now.mono_ns) {
            self.part(block, Parting::TimedOut);
        }
        self.blocks.deadlines.first().map(|(deadline, _)| *deadline)
    }
}

/// The reply of a request that nothing came of.
pub(super) fn given_up(row: &'static Command, caller: &Caller) -> Output {
    let mut reply = Output::default();
    (way_of(row).give_up)(&mut Reply::new(&mut reply, caller.dialect));
    reply
}

pub(super) fn way_of(row: &'static Command) -> &'static Blocking {
    let Run::Blocking(way) = row.run else { unreachable!("only rows that may wait do") };
    way
}
