//! The one door. Every command from whatever source runs through `execute`; timing, statistics, effects and notifications
//! happen here and nowhere else.

use super::{Ran, Shard};
use crate::admin::latency::Slow;
use crate::base::hash::KeyHash;
use crate::base::limits;
use crate::base::time::Millis;
use crate::command::merge::{self, MergeFn};
use crate::command::staged::Together;
use crate::command::table::{CommandId, Found};
use crate::command::{Caller, Command, Ctx, Desk, Flags, Log, Merging, Outcome, Part, Run, SessionFn};
use crate::command::{blocking, sliced, staged};
use crate::wire::fault::Fault;
use crate::wire::output::Output;
use crate::wire::reply::Reply;
use crate::wire::request::Args;

/// Constant-time commands are timed once in so many calls, a prime, so that no length of pipelines chooses always the same request of
/// them; the first call, and all others, always.
pub(super) const TIMED_ONE_IN: u8 = 17;

impl Shard {
    /// Runs one request and writes its reply to `out`: refuses what `admit` refuses, performs the rest.
    #[inline(always)]
    pub(super) fn execute(
        &mut self,
        caller: &Caller,
        found: Option<Found>,
        args: Args<'_>,
        first: KeyHash,
        out: &mut Output,
    ) {
        let found = match self.admit(caller, found, args) {
            Ok(found) => found,
            Err(fault) => return self.reject(caller, found, args, &fault, &mut Reply::new(out, caller.dialect)),
        };
        match self.afford(found) {
            Ok(()) => self.perform(caller, found, args, first, out),
            Err(fault) => self.reject(caller, Some(found), args, &fault, &mut Reply::new(out, caller.dialect)),
        }
    }

    /// Runs a request that was admitted.
    ///
    /// 1. Calls the handler; a fault replaces whatever it had written.
    /// 2. Counts and, when it is its turn, times the call; many words count against the turn.
    /// 3. States the effect of a write.
    #[inline(always)]
    pub(super) fn perform(&mut self, caller: &Caller, found: Found, args: Args<'_>, first: KeyHash, out: &mut Output) {
        self.perform_part(caller, found, args, first, out);
        // Afterwards, as in Redis: INFO does not count itself, CONFIG RESETSTAT does.
        self.stats.count_call(found.id.0);
    }

    /// As `perform`, for a lane's part of a command that is counted where it is merged.
    #[inline(always)]
    pub(super) fn perform_part(
        &mut self,
        caller: &Caller,
        found: Found,
        args: Args<'_>,
        first: KeyHash,
        out: &mut Output,
    ) {
        let mut reply = Reply::new(out, caller.dialect);
        let started = self.is_timed(found, args).then(|| self.start_timing(found, args));
        let mark = reply.mark();
        let outcome = self.call(caller, found.row, args, first, &mut reply);
        if let Some(started) = started {
            self.note_timed(caller, found, args, started);
        }
        self.remember(caller, found.row);
        match outcome {
            Ok(()) => self.state_effect(caller, found.row, Some(args)),
            Err(fault) => {
                reply.truncate(mark);
                self.stats.commands[usize::from(found.id.0)].failed += 1;
                self.store.effects.abandon();
                self.refuse(&fault, &mut reply);
            }
        }
        self.note_durability(caller, found.row, args, first);
    }

    /// Reads the clock for a call that is timed, and keeps what SLOWLOG may want of it and the call takes away.
    #[inline(never)]
    fn start_timing(&mut self, found: Found, args: Args<'_>) -> u64 {
        if !self.store.incoming.is_empty() {
            self.clip_long(found.row, args);
        }
        (self.stopwatch)()
    }

    /// A call that was timed is over, or has begun a job.
    #[inline(never)]
    fn note_timed(&mut self, caller: &Caller, found: Found, args: Args<'_>, started: u64) {
        let took_ns = (self.stopwatch)().saturating_sub(started);
        if self.begun.is_some() {
            self.begun_effort = self.begin_effort(found.row, args, took_ns);
        } else {
            self.note_duration(found.id, took_ns);
            if took_ns >= self.slowlog.threshold_ns {
                self.note_slow(caller, found.row, args, took_ns);
            }
        }
        self.clipped = None;
        // What takes many keys or fields is never of constant time, and so comes by here always.
        let per_request =
            if found.row.elements.is_some() { limits::ELEMENTS_PER_REQUEST } else { limits::WORDS_PER_REQUEST };
        let by_words = u32::try_from(args.len()).unwrap_or(u32::MAX) / per_request;
        let by_time = u32::try_from(took_ns / limits::NS_PER_REQUEST).unwrap_or(u32::MAX / 2);
        self.ran = self.ran.saturating_add(by_words.max(by_time));
        self.stalls.note(found.row.name, took_ns);
        let slow = if found.row.flags.has(Flags::FAST) { Slow::FastCommand } else { Slow::Command };
        self.stats.latency.note(slow, found.row.name, took_ns, self.now.unix_us);
    }

    #[inline(always)]
    pub(super) fn call(
        &mut self,
        caller: &Caller,
        row: &'static Command,
        args: Args<'_>,
        first: KeyHash,
        reply: &mut Reply<'_>,
    ) -> Outcome {
        match row.run {
            Run::Keys(run) | Run::Split { part: Part::Keys(run), merge: Merging::Several(_), .. } => {
                run(&mut self.ctx(caller, first), args, reply)
            }
            Run::Split { part: Part::Keys(run), merge: Merging::Always(merge), .. } => {
                let mut said = Output::default();
                run(&mut self.ctx(caller, first), args, &mut Reply::new(&mut said, caller.dialect))?;
                self.merge_alone(said, merge, reply)
            }
            Run::Sliced { start } | Run::Split { part: Part::Sliced(start), .. } => {
                self.begun = sliced::begin(start, &mut self.ctx(caller, first), args, reply)?;
                Ok(())
            }
            Run::Staged(stages) => {
                match staged::run_together(stages, &mut self.ctx(caller, first), args, reply)? {
                    Together::Done => {}
                    Together::Nothing => reply.null(),
                    Together::Job(job) => self.begun = Some(job),
                }
                Ok(())
            }
            Run::Split { part: Part::Desk(run), merge: Merging::Always(merge), .. } => {
                let mut said = Output::default();
                self.at_desk(caller, run, args, &mut Reply::new(&mut said, caller.dialect))?;
                self.merge_alone(said, merge, reply)
            }
            Run::Session(run) | Run::Filed(run) | Run::Split { part: Part::Desk(run), .. } => {
                self.at_desk(caller, run, args, reply)
            }
            Run::Verb(verb) => self.verb(verb, caller, args, reply),
            Run::Blocking(way) => {
                self.begun = blocking::serve_now(way, row.keys, &mut self.ctx(caller, first), args, reply)?;
                Ok(())
            }
            Run::Container => Err(Fault::Arity(row.name)),
        }
    }

    /// What this lane says is for the merge only, even if no other is asked.
    #[cold]
    fn merge_alone(&mut self, said: Output, merge: MergeFn, reply: &mut Reply<'_>) -> Outcome {
        if !self.lanes.is_one() {
            reply.append_ref(&said);
            return Ok(());
        }
        merge(&mut merge::Merging { parts: &[said], owners: &[], rng: &mut self.store.rng }, reply)
    }

    fn at_desk(&mut self, caller: &Caller, run: SessionFn, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
        let mut desk = Desk {
            caller: *caller,
            clients: &mut self.clients,
            config: &mut self.config,
            store: &mut self.store,
            stats: &mut self.stats,
            slowlog: &mut self.slowlog,
            rewrites: &mut self.rewrites.facts,
            gauges: &self.gauges,
            table: &self.table,
            acl: &mut self.acl,
            identity: &self.identity,
            process: self.process,
            allocator: self.allocator,
            room_for_clients: self.room_for_clients,
            replace_file: self.replace_file,
            can_journal: self.can_journal,
            entropy: self.entropy,
            begun: &mut self.begun,
            now: self.now,
            stalls: self.stalls.facts(),
        };
        let outcome = run(&mut desk, args, reply);
        self.rewrites.sleeps = false;
        let unwatched = std::mem::take(&mut self.clients.unwatched);
        self.unwatch(unwatched);
        let unblocked = std::mem::take(&mut self.clients.unblocked);
        unblocked.into_iter().for_each(|(block, parting)| self.part(block, parting));
        if self.clients.config_changed {
            self.follow_durability();
            self.follow_slowlog();
        }
        self.follow_monitors();
        if std::mem::take(&mut self.clients.stats_reset) {
            self.stalls.reset();
        }
        outcome
    }

    #[inline]
    pub(super) fn ctx(&mut self, caller: &Caller, first: KeyHash) -> Ctx<'_> {
        Ctx {
            store: &mut self.store,
            db: caller.db,
            now: self.at,
            first,
            config: &self.config,
            lanes: self.lanes,
            lane: self.me,
            shard_port: caller.shard_port,
        }
    }

    #[inline]
    fn is_timed(&mut self, found: Found, args: Args<'_>) -> bool {
        let row = found.row;
        // A few members or fields are as good as constant. Of many each call is timed, so that it counts against the turn: with one ZADD of a hundred
        // members in seventeen timed, a turn of five was seen to take 10 ms while a sorted set grew.
        let is_few = || args.len() <= limits::ELEMENTS_FEW && row.is_brief_of_few();
        if !row.is_constant_time() && !is_few() && !row.is_brief() {
            return true;
        }
        let left = &mut self.stats.commands[usize::from(found.id.0)].untimed_left;
        let is_due = *left == 0;
        *left = if is_due { self.untimed_gap } else { *left - 1 };
        is_due
    }

    /// A call of this command, all its steps together, took so long.
    pub(super) fn note_duration(&mut self, command: CommandId, ns: u64) {
        let stats = &mut self.stats.commands[usize::from(command.0)];
        stats.timed += 1;
        stats.timed_ns += ns;
        if self.config.latency_tracking() {
            self.stats.record_duration(command.0, ns);
        }
    }

    /// A write that changed something leaves its effect: the request itself, unless another was stated. A step of a job has no request.
    #[inline(always)]
    pub(super) fn state_effect(&mut self, caller: &Caller, row: &Command, request: Option<Args<'_>>) {
        if row.is_write() {
            self.ran += self.store.take_moved(caller.db) / limits::MOVED_PER_REQUEST;
            let verbatim = request.filter(|_| matches!(row.log, Log::Verbatim));
            self.store.effects.commit(caller.db, verbatim);
        }
        if self.store.effects.has_happened() {
            self.store.tell_watchers();
            self.serve_ready();
        }
    }

    /// Notes that a request touched the keyspace here, for whoever checks the order of several shards.
    #[inline]
    pub(super) fn remember(&mut self, caller: &Caller, row: &Command) {
        if self.history.is_some() {
            self.note_ran(caller, row);
        }
    }

    /// Notes that EXEC looked at what was watched here.
    pub(super) fn trace(&mut self, caller: &Caller, now: Millis) {
        if let Some(history) = &mut self.history {
            history.push(ran(caller, now, None));
        }
    }

    /// Notes that a request that had waited is served from the key at `word`.
    pub(super) fn trace_served(&mut self, caller: &Caller, word: usize) {
        let now = self.at;
        if let Some(history) = &mut self.history {
            history.push(ran(caller, now, Some(word)));
        }
    }

    #[cold]
    fn note_ran(&mut self, caller: &Caller, row: &Command) {
        let touches = row.keys.first > 0 || matches!(row.run, Run::Split { part: Part::Keys(_), .. });
        let Some(history) = self.history.as_mut().filter(|_| touches) else { return };
        let ran = Ran { choice: self.store.dice.take_latest(), ..ran(caller, self.at, None) };
        if history.last() != Some(&ran) {
            history.push(ran);
        }
    }

    #[cold]
    pub(super) fn refuse(&mut self, fault: &Fault, reply: &mut Reply<'_>) {
        self.stats.count_error(fault.code());
        reply.error(fault);
    }
}

fn ran(caller: &Caller, now: Millis, served: Option<usize>) -> Ran {
    Ran { home: caller.home, client: caller.client, number: caller.number, now, served, choice: None }
}
