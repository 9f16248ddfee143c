//! Probes: one request in some hundreds is followed on its way, and the clock read where it passes from one stage to the next
//! (`admin/stages.rs`). All others cost a comparison.
//!
//! ```text
//!  choose     a stage of input that may hold the next one due reads the clock before and after it is parsed
//!  Waits      parsed; it has not had its turn, or had it and must wait: then it is the next of its connection that runs
//!  Runs       a command of several turns
//!  Owed       under way elsewhere; another lane's clock comes with `Message::Timed`, the monotonic one of the machine
//!  Replied    its reply is written, behind so many that are owed
//!  Leaves     it was taken for sending; when the send is over, what it spent is noted
//! ```
//!
//! A connection has one probe at a time, and a lane some tens, so that one which takes long does not hide the others: what a sample
//! would say of a slow client is then still said of all. Commands that wait for a key have none: that time is their client's.

use super::dispatch::Flow;
use super::message::Ticket;
use super::{ConnId, Shard};
use crate::admin::latency::Slow;
use crate::admin::stages::{Spent, Stage};
use crate::base::limits;
use crate::base::rng::Rng;
use crate::base::slab::Slab;
use crate::command::clients::{Client, ReplyMode};
use crate::command::{Caller, Group, Run, Verb};

/// Of so many requests one is followed, on the average; the distance varies, or a pipeline's length would choose always the same of it.
/// At depth 16 a request takes 450 ns and a probe as much or more.
const ONE_IN: u64 = 256;

/// Requests followed at a time.
const PROBES_MAX: usize = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// So many requests of its connection have their turn before it.
    Waits {
        ahead: usize,
    },
    Runs,
    Owed,
    Replied,
    Leaves,
}

#[derive(Debug)]
struct Probe {
    family: usize,
    spent: Spent,
    /// Up to when `spent` is told.
    until_ns: u64,
    state: State,
    /// Places for replies that its connection had opened when its own was written or owed: those are before it, and its own.
    opened: u64,
}

impl Probe {
    /// It leaves a stage now. Clocks of several turns and lanes meet here: none runs backwards.
    fn pass(&mut self, stage: Stage, now_ns: u64) {
        self.spent.add(stage, now_ns.saturating_sub(self.until_ns));
        self.until_ns = self.until_ns.max(now_ns);
    }

    fn replied(&mut self, opened: u64) {
        (self.state, self.opened) = (State::Replied, opened);
    }
}

#[derive(Debug)]
pub(super) struct Probes {
    slab: Slab<Probe>,
    /// Requests that pass before the next is followed.
    left: u64,
    rng: Rng,
}

/// What another lane's clock said of a request that it ran.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    /// The turn began in which it arrived.
    pub(super) arrived_ns: u64,
    pub(super) started_ns: u64,
    pub(super) ended_ns: u64,
}

impl Probes {
    pub(super) fn new(seed: u64) -> Self {
        Self { slab: Slab::default(), left: 0, rng: Rng::new(seed) }
    }

    #[cold]
    fn is_waiting(&self, number: u32) -> bool {
        self.slab.get(number).is_some_and(|probe| matches!(probe.state, State::Waits { .. }))
    }

    /// So many requests have run.
    #[inline]
    fn count(&mut self, ran: u32) {
        match self.left.checked_sub(u64::from(ran)) {
            Some(left) => self.left = left,
            None => self.left = ONE_IN / 2 + self.rng.below(ONE_IN),
        }
    }
}

impl Shard {
    /// Before input is parsed: the time, if one of its requests may be followed.
    #[inline]
    pub(super) fn probe_due_ns(&self, client: &Client) -> Option<u64> {
        let may_be = self.probes.left < limits::STAGE_REQUESTS as u64
            || client.probe.is_some_and(|number| self.probes.is_waiting(number));
        may_be.then(|| (self.stopwatch)())
    }

    /// Input was parsed, from `parse_ns` on, which had come at `arrived_ns`: which of its requests is followed.
    #[cold]
    pub(super) fn choose(&mut self, conn: ConnId, arrived_ns: u64, parse_ns: u64) -> Option<usize> {
        let client = self.clients.get_mut(conn)?;
        if let Some(number) = client.probe {
            let probe = self.probes.slab.get(number).expect("a client's probe is there");
            return match probe.state {
                State::Waits { ahead } => Some(ahead).filter(|ahead| *ahead < self.staged.len()),
                _ => None,
            };
        }
        let at = usize::try_from(self.probes.left).ok()?;
        let row = self.staged.get(at)?.found?.row;
        let may_wait = matches!(row.run, Run::Blocking(_) | Run::Verb(Verb::WaitAof));
        let is_wanted = !may_wait && client.reply_mode == ReplyMode::On;
        if !is_wanted || !self.config.latency_tracking() || self.probes.slab.len() >= PROBES_MAX {
            return None;
        }
        let (spent, state) = (Spent::default(), State::Waits { ahead: at });
        let mut probe = Probe { family: row.group as usize, spent, until_ns: arrived_ns, state, opened: 0 };
        probe.pass(Stage::Ready, parse_ns);
        probe.pass(Stage::Parse, (self.stopwatch)());
        client.probe = Some(self.probes.slab.insert(probe));
        Some(at)
    }

    /// So many of the staged requests had their turn.
    #[inline]
    pub(super) fn count_for_probes(&mut self, conn: ConnId, ran: u32, probed: Option<usize>) {
        self.probes.count(ran);
        if let Some(at) = probed {
            self.step_back(conn, at.checked_sub(ran as usize));
        }
    }

    /// The one that is followed did not come to its turn; so many are before it.
    #[cold]
    fn step_back(&mut self, conn: ConnId, ahead: Option<usize>) {
        if let (Some(ahead), Some(probe)) = (ahead, self.probe_of(conn)) {
            probe.state = State::Waits { ahead };
        }
    }

    fn probe_of(&mut self, conn: ConnId) -> Option<&mut Probe> {
        self.probes.slab.get_mut(self.clients.get(conn)?.probe?)
    }

    /// The request that is followed comes to its turn.
    #[cold]
    pub(super) fn probe_starts(&mut self, caller: &mut Caller) {
        let now_ns = (self.stopwatch)();
        let Some(opened) = self.clients.get(caller.conn).map(|client| client.owed.opened()) else { return };
        let Some(probe) = self.probe_of(caller.conn) else { return };
        probe.pass(Stage::Queue, now_ns);
        probe.opened = opened;
        caller.probed = true;
    }

    /// It has had its turn, or must wait for another.
    #[cold]
    pub(super) fn probe_ran(&mut self, caller: &mut Caller, flow: Flow) {
        caller.probed = false;
        let now_ns = (self.stopwatch)();
        let Some(client) = self.clients.get(caller.conn) else { return };
        let (runs, opened, heard) = (client.job.is_some(), client.owed.opened(), client.reply_mode == ReplyMode::On);
        if !heard {
            return self.drop_probe(caller.conn);
        }
        let Some(probe) = self.probe_of(caller.conn) else { return };
        if flow == Flow::Wait {
            probe.state = State::Waits { ahead: 0 };
        } else if runs {
            probe.state = State::Runs;
        } else if opened > probe.opened {
            (probe.state, probe.opened) = (State::Owed, opened);
        } else {
            probe.pass(Stage::Execute, now_ns);
            probe.replied(opened);
        }
    }

    /// A command of several turns is over.
    #[cold]
    pub(super) fn probe_finished(&mut self, conn: ConnId) {
        let now_ns = (self.stopwatch)();
        let Some(opened) = self.clients.get(conn).map(|client| client.owed.opened()) else { return };
        if let Some(probe) = self.probe_of(conn).filter(|probe| probe.state == State::Runs) {
            probe.pass(Stage::Execute, now_ns);
            probe.replied(opened);
        }
    }

    /// Another lane has run it, or this one after it had waited for a key; its reply is next.
    #[cold]
    pub(super) fn probe_timed(&mut self, ticket: Ticket, times: Times) {
        let Some(debt) = self.debts.get(ticket.0) else { return };
        let (conn, number, id) = (debt.conn, debt.number, debt.client);
        if self.clients.get(conn).is_none_or(|client| client.id != id) {
            return;
        }
        if let Some(probe) = self.probe_of(conn).filter(|probe| probe.is_owed(number)) {
            probe.pass(Stage::Hop, times.arrived_ns);
            probe.pass(Stage::Queue, times.started_ns);
            probe.pass(Stage::Execute, times.ended_ns);
        }
    }

    /// The reply with this number has come.
    #[cold]
    pub(super) fn probe_paid(&mut self, conn: ConnId, number: u64) {
        let now_ns = (self.stopwatch)();
        if let Some(probe) = self.probe_of(conn).filter(|probe| probe.is_owed(number)) {
            probe.pass(Stage::Hop, now_ns);
            probe.replied(number + 1);
        }
    }

    /// All that is ready to leave was taken for sending.
    #[cold]
    pub(super) fn probe_taken(&mut self, conn: ConnId) {
        let Some(first) = self.clients.get(conn).map(|client| client.owed.first()) else { return };
        if let Some(probe) = self.probe_of(conn).filter(|probe| probe.state == State::Replied && probe.opened <= first)
        {
            probe.state = State::Leaves;
        }
    }

    /// What was taken has left.
    #[cold]
    pub(super) fn probe_sent(&mut self, conn: ConnId) {
        let now_ns = self.now.mono_ns;
        let Some(probe) = self.probe_of(conn).filter(|probe| probe.state == State::Leaves) else { return };
        probe.pass(Stage::Send, now_ns);
        let (family, spent) = (probe.family, probe.spent);
        self.stats.stages.note(family, &spent);
        self.stats.latency.note(Slow::QueueDelay, Group::ALL[family].name(), spent.queue_delay_ns(), self.now.unix_us);
        self.drop_probe(conn);
    }

    /// Nobody follows it any more.
    #[cold]
    pub(super) fn drop_probe(&mut self, conn: ConnId) {
        let number = self.clients.get_mut(conn).and_then(|client| client.probe.take());
        number.and_then(|number| self.probes.slab.remove(number));
    }
}

impl Probe {
    /// Whether it waits for the reply with this number.
    fn is_owed(&self, number: u64) -> bool {
        self.state == State::Owed && self.opened == number + 1
    }
}
