//! Commands that steer the shard: MULTI and its kin, INFO.
//!
//! ```text
//!  MULTI  GET a  SET b 1  EXEC
//!           |      |        |   all keys here, nobody in the way:  one after the other, at once
//!           `queue-'        `-- else: a transaction (txn.rs) over the owners of all keys and of the watched ones
//! ```

use super::admit::{exec_abort, is_exec};
use super::blocking::way_of;
use super::errand::{Errand, What};
use super::locks::{ClaimId, Mode, Scope};
use super::message::{Message, Ticket};
use super::plan::{Pace, Plan};
use super::route::{Route, Spread, mode};
use super::steps::{Step, Wait, stages};
use super::txn::Form;
use super::{ConnId, Shard};
use crate::base::hash::KeyHash;
use crate::base::lanes::ShardId;
use crate::command::blocking::{Blocking, Serve};
use crate::command::clients::BlockId;
use crate::command::connection::selected;
use crate::command::multi::{Multi, Queue, Queued, WatchedKey};
use crate::command::owed::{Barrier, Where};
use crate::command::places::Touch;
use crate::command::staged::{may_be_long, may_come_home};
use crate::command::table::Found;
use crate::command::{Caller, Command, Flags, Outcome, Over, Part, Run, Verb};
use crate::wire::fault::Fault;
use crate::wire::output::Output;
use crate::wire::reply::Reply;
use crate::wire::request::Args;

const NOT_INSIDE: Fault = Fault::Fixed("ERR Command not allowed inside a transaction");
const ABORTED: Fault = Fault::Fixed("EXECABORT Transaction discarded because of previous errors.");

impl Shard {
    /// A verb where it can run at once: see [`Self::run_verb`].
    pub(super) fn verb(&mut self, verb: Verb, caller: &Caller, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
        match verb {
            Verb::Multi => self.multi(caller)?,
            Verb::Discard => self.discard(caller)?,
            Verb::Unwatch => self.forget_watched(caller.conn),
            Verb::Watch if caller.queues => return Err(Fault::Fixed("ERR WATCH inside MULTI is not allowed")),
            Verb::Watch => {
                let watched = self.watch_here(caller.db, args);
                self.remember_watched(caller, watched);
            }
            Verb::Exec => return self.exec_here(caller, reply),
            Verb::WaitAof => return self.waitaof_now(args, reply),
            Verb::Facts(page) => {
                let facts = vec![self.lane_facts()];
                self.write_facts(page, facts, args, caller.shard_port, reply);
                return Ok(());
            }
        }
        reply.ok();
        Ok(())
    }

    fn multi(&mut self, caller: &Caller) -> Outcome {
        let Some(client) = self.clients.get_mut(caller.conn) else { return Ok(()) };
        if client.multi.is_some() {
            return Err(Fault::Fixed("ERR MULTI calls can not be nested"));
        }
        client.multi = Some(Box::default());
        Ok(())
    }

    fn discard(&mut self, caller: &Caller) -> Outcome {
        let client = self.clients.get_mut(caller.conn);
        let multi = client.and_then(|client| client.multi.take());
        multi.ok_or(Fault::Fixed("ERR DISCARD without MULTI"))?.queue.bury(&mut self.store.graves);
        self.forget_watched(caller.conn);
        Ok(())
    }

    /// Queues a request for EXEC, or breaks the queue if it was refused. False: it runs at once, as those that end or steer a queue do.
    pub(super) fn enqueue(
        &mut self,
        caller: &Caller,
        found: Option<Found>,
        admitted: Result<Found, Fault>,
        args: Args<'_>,
        reply: &mut Reply<'_>,
    ) -> bool {
        let lacking = found.filter(|found| found.row.lacks_a_value(args.len()));
        let admitted = admitted.and_then(|found| match found.row.flags.has(Flags::NO_MULTI) {
            true => Err(NOT_INSIDE),
            false => Ok(found),
        });
        let Some(multi) = self.clients.get_mut(caller.conn).and_then(|client| client.multi.as_mut()) else {
            return false;
        };
        match (admitted, lacking) {
            (Ok(found), _) if is_immediate(found.row) => false,
            (Ok(found), _) | (Err(Fault::Arity(_)), Some(found)) => {
                let longs = std::mem::take(&mut self.store.incoming);
                multi.reads = multi.reads.or_else(|| found.row.reads.map(|_| found.id));
                multi.queue.push(Queued { command: found.id, request: args.into(), longs });
                reply.simple("QUEUED");
                true
            }
            // An EXEC that is refused ends its queue.
            (Err(fault), _) if found.is_some_and(is_exec) => {
                let discarded = self.discard(caller);
                debug_assert!(discarded.is_ok(), "a queue is open");
                self.refuse(&exec_abort(&fault), reply);
                true
            }
            (Err(fault), _) => {
                multi.is_broken = true;
                self.refuse(&fault, reply);
                true
            }
        }
    }

    /// Runs a request that was queued: a key of it may lack its value.
    pub(super) fn perform_queued(
        &mut self,
        caller: &Caller,
        found: Found,
        args: Args<'_>,
        first: KeyHash,
        out: &mut Output,
    ) {
        if !found.row.lacks_a_value(args.len()) {
            return self.perform(caller, found, args, first, out);
        }
        self.reject(caller, Some(found), args, &Fault::Arity(found.row.name), &mut Reply::new(out, caller.dialect));
    }

    /// EXEC where everything it needs is on this lane and free.
    fn exec_here(&mut self, caller: &Caller, reply: &mut Reply<'_>) -> Outcome {
        let multi = self.take_queue(caller)?;
        let now = self.at;
        let watched = self.take_watched(caller.conn);
        if !watched.is_empty() {
            self.trace(caller, now);
        }
        let changed = watched.iter().any(|key| self.has_changed(key, now));
        if changed {
            self.note_shown(caller, watched.iter().map(|key| key.hash));
        }
        self.unwatch(watched);
        if changed {
            reply.null_array();
            return Ok(());
        }
        reply.array(multi.queue.len());
        // Who waits sees it all at once.
        self.waiting.hold_back();
        self.together(|shard| shard.run_queue(caller, multi.queue, reply));
        self.waiting.go_on();
        self.serve_ready();
        Ok(())
    }

    fn run_queue(&mut self, caller: &Caller, queue: Queue, reply: &mut Reply<'_>) {
        let refusals = self.refusals_of_queue(caller, &queue);
        let mut caller = Caller { queues: false, in_exec: true, ..*caller };
        for (at, Queued { command, request, longs }) in queue.into_each().enumerate() {
            if let Some(Some(fault)) = refusals.get(at) {
                let fault = self.refuse_at_exec(&caller, fault);
                self.refuse(&fault, reply);
                self.bury_longs(longs.into_ropes());
                continue;
            }
            let found = self.table.found(command);
            let first = self.first_of(found.row, request.args());
            self.with_longs(longs, |shard| {
                shard.perform_queued(&caller, found, request.args(), first, reply.output());
            });
            if let Some(client) = self.clients.get(caller.conn) {
                caller = Caller { in_exec: true, ..Caller::of(self.me, caller.conn, client) };
            }
        }
    }

    /// Ends the queue: what is in it, or why it does not run.
    fn take_queue(&mut self, caller: &Caller) -> Result<Box<Multi>, Fault> {
        let multi = self.clients.get_mut(caller.conn).and_then(|client| client.multi.take());
        let multi = multi.ok_or(Fault::Fixed("ERR EXEC without MULTI"))?;
        if multi.is_broken {
            multi.queue.bury(&mut self.store.graves);
            self.forget_watched(caller.conn);
            return Err(ABORTED);
        }
        if caller.shard_port && self.config.shard_port_moved() && self.is_of_several_slots(&multi) {
            multi.queue.bury(&mut self.store.graves);
            self.forget_watched(caller.conn);
            return Err(Fault::CrossSlot);
        }
        Ok(multi)
    }

    /// Whether the keys of a queue are of several slots, for which a node of a cluster runs none of it.
    fn is_of_several_slots(&self, multi: &Multi) -> bool {
        let keys = |queued: &Queued| {
            let (row, args) = (self.table.row(queued.command), queued.request.args());
            row.keys.positions(args).map(|i| self.store.hash_key.key(args.at(i)).slot()).collect::<Vec<u16>>()
        };
        let mut slots = multi.queue.iter().flat_map(keys);
        slots.next().is_some_and(|first| slots.any(|slot| slot != first))
    }

    /// Whether EXEC finds all it needs here and free, and ends within this turn.
    pub(super) fn can_exec_here(&self, conn: ConnId) -> bool {
        let Some(client) = self.clients.get(conn) else { return true };
        let Some(multi) = client.multi.as_ref().filter(|multi| !multi.is_broken) else { return true };
        let caller = Caller::of(self.me, conn, client);
        let here = |hash: KeyHash| self.lanes.owner(hash.slot()) == self.me;
        let free = |hash: KeyHash| !self.locks.blocks(hash, Mode::Shared);
        multi.queue.words() <= self.slicing.words_at_once_max
            && client.watched.iter().all(|key| here(key.hash) && free(key.hash))
            && multi.queue.iter().all(|queued| self.is_simple(&caller, queued))
            && (self.locks.is_empty() || self.has_no_holders(&multi.queue))
    }

    fn is_simple(&self, caller: &Caller, queued: &Queued) -> bool {
        let (row, args) = (self.table.row(queued.command), queued.request.args());
        let ends_at_once = match row.run {
            Run::Keys(_) | Run::Session(_) | Run::Verb(_) => true,
            Run::Blocking(way) => !matches!(way.serve, Serve::Many(_)),
            Run::Split { part, .. } => !matches!(part, Part::Sliced(_)),
            Run::Staged(stages) => row.is_write() && !may_be_long(stages),
            Run::Sliced { .. } | Run::Filed(_) | Run::Container => false,
        };
        let everywhere = matches!(row.run, Run::Verb(Verb::Facts(_))) && self.asks_all_lanes(caller);
        ends_at_once && !everywhere && self.route(caller, row, args, self.first_of(row, args)) == Route::Here
    }

    fn has_no_holders(&self, queue: &Queue) -> bool {
        !queue.iter().any(|queued| self.meets_holders(self.table.row(queued.command), queued.request.args()))
    }

    /// EXEC over whatever lanes its keys are on.
    pub(super) fn begin_exec(&mut self, caller: &Caller, silent: bool, out: &mut Output) {
        let multi = match self.take_queue(caller) {
            Ok(multi) => multi,
            Err(fault) => return self.refuse(&fault, &mut Reply::new(out, caller.dialect)),
        };
        let exec = self.table.find(b"exec").expect("it is being run").id;
        self.stats.count_call(exec.0);
        let is_long = multi.queue.words() > self.slicing.words_at_once_max;
        let pace = if is_long { Pace::InSlices } else { Pace::AtOnce };
        let mut plan = Plan::of(Caller { queues: false, in_exec: true, ..*caller }, pace);
        for key in self.take_watched(caller.conn) {
            let lane = self.lanes.owner(key.hash.slot());
            plan.watch(lane, key);
        }
        let ticket = self.owe(caller, Where::Several, Barrier::Yes, silent, out);
        if is_long {
            return self.plan_in_slices(exec, ticket, Form::Array, plan, multi.queue);
        }
        for queued in multi.queue.into_each() {
            self.plan(&mut plan, queued);
        }
        self.begin_txn(ticket, plan, Form::Array);
    }

    /// Adds a command to what is to be done.
    pub(super) fn plan(&mut self, plan: &mut Plan, Queued { command, request, longs }: Queued) {
        let (row, args, caller) = (self.table.row(command), request.args(), plan.caller);
        let first = self.first_of(row, args);
        if row.lacks_a_value(args.len()) {
            return plan.steps.push_back(Step::home(command, request));
        }
        if let Some(refused) = self.refused_step(&caller, self.table.found(command), args) {
            self.bury_longs(longs.into_ropes());
            return plan.steps.push_back(refused);
        }
        plan.grows |= row.flags.has(Flags::DENYOOM);
        match (row.run, self.route(&caller, row, args, first)) {
            (Run::Verb(Verb::Facts(_)), _) if self.asks_all_lanes(&caller) => {
                self.lanes.all().for_each(|lane| plan.share(lane).hold([]));
                plan.steps.push_back(self.facts_of_all(&caller, command, args));
            }
            (Run::Session(_) | Run::Verb(_) | Run::Container, _) => {
                if row.name == "select"
                    && let Ok(db) = selected(&caller, args, self.store.databases())
                {
                    plan.caller.db = db;
                }
                plan.steps.push_back(Step::home(command, request));
            }
            (Run::Filed(_), _) => {
                // As a guest of its own lane, so that it may take more turns; what is queued behind it waits.
                plan.share(self.me).hold([]);
                let errand = Errand { caller, command, first, request, longs, what: What::Whole };
                plan.add(self.me, errand, self.slicing.keys_per_step);
            }
            (Run::Split { over: over @ (Over::Keyspace | Over::Nodes), .. }, Route::Several) => {
                for lane in self.lanes.all() {
                    match over {
                        Over::Keyspace => plan.share(lane).hold_whole(mode(row)),
                        _ => plan.share(lane).hold([]),
                    }
                }
                plan.steps.push_back(self.split_over_all(&caller, command, args));
            }
            (run, Route::Several) => {
                self.hold_keys(plan, row, args);
                let step = match run {
                    Run::Staged(_) | Run::Blocking(Blocking { serve: Serve::Moving(_), .. }) => {
                        self.join_home(plan, row);
                        self.staged(&caller, command, args, longs, Wait::No)
                    }
                    Run::Blocking(_) => self.tries(&caller, command, args, None),
                    _ => {
                        let spread = self.spread(row, args);
                        self.split_by_keys(&caller, command, args, &longs, &spread)
                    }
                };
                plan.steps.push_back(step);
            }
            (_, route) => {
                self.hold_keys(plan, row, args);
                let lane = if let Route::Lane(lane) = route { lane } else { self.me };
                match self.scope(row, args) {
                    Some(Scope::Whole(mode)) => plan.share(lane).hold_whole(mode),
                    _ => plan.share(lane).hold([]),
                }
                let words_max = self.slicing.keys_per_step;
                plan.add(lane, Errand { caller, command, first, request, longs, what: What::Whole }, words_max);
            }
        }
    }

    /// In the place of a queued command that its user may not run any more: what is said of it.
    pub(super) fn refused_step(&mut self, caller: &Caller, found: Found, args: Args<'_>) -> Option<Step> {
        let fault = self.refusal_at_exec(caller, found, args)?;
        let fault = self.refuse_at_exec(caller, &fault);
        let mut said = Output::default();
        self.refuse(&fault, &mut Reply::new(&mut said, caller.dialect));
        Some(Step::said(said))
    }

    /// Notes which keys a command holds, by their owners.
    fn hold_keys(&self, plan: &mut Plan, row: &Command, args: Args<'_>) {
        if row.leads_elsewhere(args) {
            // What it writes follows from what others have: their journals must not be without it.
            let writes = row.keys.touched(args).any(|(_, touch)| touch == Touch::Write);
            for lane in self.lanes.all() {
                plan.share(lane).hold_whole(Mode::Shared);
                plan.share(lane).signs |= writes;
            }
        }
        plan.hold(&self.spread(row, args), row);
    }

    /// Home takes part in a command that has a stage there, whether it owns any of the keys or none.
    fn join_home(&self, plan: &mut Plan, row: &'static Command) {
        if may_come_home(stages(row)) {
            plan.join_all(std::iter::once(self.me));
        }
    }

    /// A command over several lanes that is no EXEC; `spread` over them if each does a part of it for its keys. `out` holds the replies
    /// before it.
    pub(super) fn begin_several(
        &mut self,
        caller: &Caller,
        found: Found,
        args: Args<'_>,
        spread: &Spread,
        silent: bool,
        out: &mut Output,
    ) {
        let mut plan = Plan::of(*caller, Pace::AtOnce);
        let longs = std::mem::take(&mut self.store.incoming);
        let place = spread.companion(self.me).map_or(Where::Several, Where::Pair);
        let barrier = if place != Where::Several || overtakes(found.row) { Barrier::No } else { Barrier::Yes };
        let step = match found.row.run {
            Run::Verb(Verb::Facts(_)) => {
                plan.join_all(self.lanes.all());
                self.facts_of_all(caller, found.id, args)
            }
            Run::Verb(_) => {
                self.hold_keys(&mut plan, found.row, args);
                self.watch_by_keys(caller, found.id, args)
            }
            Run::Staged(_) => {
                self.hold_keys(&mut plan, found.row, args);
                self.join_home(&mut plan, found.row);
                self.staged(caller, found.id, args, longs, Wait::No)
            }
            Run::Split { over: Over::Keyspace, .. } => {
                self.lanes.all().for_each(|lane| plan.share(lane).hold_whole(mode(found.row)));
                self.split_over_all(caller, found.id, args)
            }
            Run::Split { over: Over::Nodes, .. } => {
                plan.join_all(self.lanes.all());
                self.split_over_all(caller, found.id, args)
            }
            _ => {
                plan.hold(spread, found.row);
                self.split_by_keys(caller, found.id, args, &longs, spread)
            }
        };
        plan.steps.push_back(step);
        plan.grows = found.row.flags.has(Flags::DENYOOM);
        let ticket = self.owe(caller, place, barrier, silent, out);
        self.begin_txn(ticket, plan, Form::Bare);
    }

    /// A command that may wait, where its keys are not all here and free.
    pub(super) fn begin_tries(
        &mut self,
        caller: &Caller,
        found: Found,
        args: Args<'_>,
        ticket: Ticket,
        block: Option<BlockId>,
    ) {
        let mut plan = Plan::of(*caller, Pace::AtOnce);
        self.hold_keys(&mut plan, found.row, args);
        plan.steps.push_back(match way_of(found.row).serve {
            Serve::FromKey(_) | Serve::Many(_) => self.tries(caller, found.id, args, block),
            Serve::Moving(_) => {
                self.staged(caller, found.id, args, Default::default(), block.map_or(Wait::No, Wait::As))
            }
        });
        plan.grows = found.row.flags.has(Flags::DENYOOM);
        self.begin_txn(ticket, plan, block.map_or(Form::Bare, Form::Blocking));
    }

    /// A command that has waited is served by its stages. `from` holds the key it waited for.
    pub(super) fn begin_moving(
        &mut self,
        caller: &Caller,
        found: Found,
        args: Args<'_>,
        ticket: Ticket,
        block: BlockId,
        from: (ShardId, ClaimId),
    ) {
        let mut plan = Plan::of(*caller, Pace::AtOnce);
        self.hold_keys(&mut plan, found.row, args);
        plan.steps.push_back(self.staged(caller, found.id, args, Default::default(), Wait::Again));
        plan.share(from.0).held = Some(from.1);
        self.begin_txn(ticket, plan, Form::Serving(block));
    }

    /// Notes keys of this lane as watched.
    pub(super) fn watch_here(&mut self, db: u8, args: Args<'_>) -> Vec<WatchedKey> {
        let now = self.at;
        let watch = |name: &[u8]| {
            let hash = self.store.hash_key.key(name);
            let entry = self.store.db(db).find(name, hash, now);
            let (existed, fades) = (entry.is_some(), entry.and_then(|entry| entry.fades_after(now)));
            WatchedKey { db, key: name.into(), hash, version: self.store.watch(db, hash), existed, fades }
        };
        args.from(1).iter().map(watch).collect()
    }

    /// The connection watches more keys, unless it has gone meanwhile.
    pub(super) fn remember_watched(&mut self, caller: &Caller, watched: Vec<WatchedKey>) {
        match self.clients.get_mut(caller.conn).filter(|client| client.id == caller.client) {
            Some(client) => client.watched.extend(watched),
            None => self.unwatch(watched),
        }
    }

    fn take_watched(&mut self, conn: ConnId) -> Vec<WatchedKey> {
        self.clients.get_mut(conn).map(|client| std::mem::take(&mut client.watched)).unwrap_or_default()
    }

    pub(super) fn forget_watched(&mut self, conn: ConnId) {
        let watched = self.take_watched(conn);
        self.unwatch(watched);
    }

    /// Tells the owners that these keys are watched by one client less.
    pub(super) fn unwatch(&mut self, watched: Vec<WatchedKey>) {
        if watched.is_empty() {
            return;
        }
        for lane in self.lanes.all() {
            let of = |key: &&WatchedKey| self.lanes.owner(key.hash.slot()) == lane;
            let keys: Box<[(u8, KeyHash)]> = watched.iter().filter(of).map(|key| (key.db, key.hash)).collect();
            if lane == self.me {
                keys.iter().for_each(|(db, key)| self.store.unwatch(*db, *key));
            } else if !keys.is_empty() {
                self.outboxes[lane.index()].messages.push(Message::Unwatch { keys });
            }
        }
    }
}

/// Whether later requests of its connection need not wait for a command over several lanes: it holds nothing on them, and is of no single
/// moment anyway.
fn overtakes(row: &Command) -> bool {
    matches!(row.run, Run::Verb(Verb::Facts(_)))
        || matches!(row.run, Run::Split { over: Over::Nodes, part: Part::Sliced(_), .. })
}

/// What runs at once although a queue is open.
fn is_immediate(row: &Command) -> bool {
    matches!(row.run, Run::Verb(Verb::Exec | Verb::Discard | Verb::Multi | Verb::Watch))
        || matches!(row.name, "quit" | "reset")
}
