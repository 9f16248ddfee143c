//! The one door. Every command from whatever source runs through `execute`; timing, statistics, effects and notifications
//! happen here and nowhere else.

use super::Shard;
use crate::base::hash::KeyHash;
use crate::base::limits;
use crate::command::sliced;
use crate::command::table::Found;
use crate::command::{Caller, Command, Ctx, Desk, Log, Outcome, Run};
use crate::wire::fault::Fault;
use crate::wire::output::Output;
use crate::wire::reply::Reply;
use crate::wire::request::Args;

/// Constant-time commands are timed once in so many calls; all others always.
const TIMED_ONE_IN: u8 = 16;

impl Shard {
    /// Runs one request and writes its reply to `out`.
    ///
    /// 1. Refuses what `admit` refuses.
    /// 2. Calls the handler; a fault replaces whatever it had written.
    /// 3. Counts and, when it is its turn, times the call.
    /// 4. States the effect of a write.
    #[inline]
    pub(super) fn execute(
        &mut self,
        caller: &Caller,
        found: Option<Found>,
        args: Args<'_>,
        first: KeyHash,
        out: &mut Output,
    ) {
        let mut reply = Reply::new(out, caller.dialect);
        let found = match self.admit(caller, found, args) {
            Ok(found) => found,
            Err(fault) => return self.refuse(&fault, &mut reply),
        };
        let started = self.is_timed(found.row).then(|| (self.stopwatch)());
        let mark = reply.mark();
        let outcome = self.call(caller, found.row, args, first, &mut reply);
        let stats = &mut self.stats.commands[usize::from(found.id.0)];
        stats.calls += 1;
        if let Some(started) = started {
            let took_ns = (self.stopwatch)().saturating_sub(started);
            stats.timed += 1;
            stats.timed_ns += took_ns;
            self.stalls.note(found.row.name, took_ns);
        }
        self.stats.processed += 1;
        match outcome {
            Ok(()) => self.state_effect(caller, found.row, args),
            Err(fault) => {
                reply.truncate(mark);
                self.stats.commands[usize::from(found.id.0)].failed += 1;
                self.store.effects.abandon();
                self.refuse(&fault, &mut reply);
            }
        }
    }

    #[inline]
    fn call(
        &mut self,
        caller: &Caller,
        row: &Command,
        args: Args<'_>,
        first: KeyHash,
        reply: &mut Reply<'_>,
    ) -> Outcome {
        match row.run {
            Run::Keys(run) | Run::Split { part: run } => run(&mut self.ctx(caller, first), args, reply),
            Run::Sliced { start } => {
                let job = sliced::begin(start, &mut self.ctx(caller, first), args, reply)?;
                if let Some(client) = self.clients.get_mut(caller.conn) {
                    client.job = job;
                }
                Ok(())
            }
            Run::Session(run) => {
                let mut desk = Desk {
                    me: caller.conn,
                    clients: &mut self.clients,
                    config: &mut self.config,
                    store: &mut self.store,
                    stats: &mut self.stats,
                    gauges: &self.gauges,
                    table: &self.table,
                    identity: &self.identity,
                    process: self.process,
                    now: self.now,
                    stalls: self.stalls.facts(),
                };
                let outcome = run(&mut desk, args, reply);
                if std::mem::take(&mut self.clients.stats_reset) {
                    self.stalls.reset();
                }
                outcome
            }
            Run::Container => Err(Fault::Arity(row.name)),
        }
    }

    #[inline]
    pub(super) fn ctx(&mut self, caller: &Caller, first: KeyHash) -> Ctx<'_> {
        Ctx { store: &mut self.store, db: caller.db, now: self.now.millis(), first, config: &self.config }
    }

    #[inline]
    fn is_timed(&mut self, row: &Command) -> bool {
        if !row.is_constant_time() {
            return true;
        }
        self.stats.sample = self.stats.sample.wrapping_add(1);
        self.stats.sample.is_multiple_of(TIMED_ONE_IN)
    }

    /// A write that changed something leaves its effect: the request itself, unless the handler stated another.
    #[inline]
    fn state_effect(&mut self, caller: &Caller, row: &Command, args: Args<'_>) {
        if row.is_write() {
            self.ran += self.store.take_moved(caller.db) / limits::MOVED_PER_REQUEST;
            let verbatim = matches!(row.log, Log::Verbatim).then_some(args);
            self.store.effects.commit(caller.db, verbatim);
        }
    }

    #[cold]
    pub(super) fn refuse(&mut self, fault: &Fault, reply: &mut Reply<'_>) {
        self.stats.count_error(fault.code());
        reply.error(fault);
    }
}
