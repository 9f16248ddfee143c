//! Commands that steer the shard: MULTI and its kin, INFO.
//!
//! ```text
//!  MULTI  GET a  SET b 1  EXEC
//!           |      |        |   all keys here, nobody in the way:  one after the other, at once
//!           `queue-'        `-- else: a transaction (txn.rs) over the owners of all keys and of the watched ones
//! ```

use std::collections::VecDeque;

use super::locks::{Mode, Scope};
use super::message::{Message, Ticket};
use super::route::{Route, Spread, mode};
use super::steps::Step;
use super::txn::{Errand, Form, Share, What};
use super::{ConnId, Shard};
use crate::base::hash::KeyHash;
use crate::base::lanes::ShardId;
use crate::command::clients::BlockId;
use crate::command::connection::selected;
use crate::command::multi::{Multi, Queued, WatchedKey};
use crate::command::owed::{Barrier, Where};
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
            Verb::Info => {
                let facts = vec![self.lane_facts()];
                self.write_info(facts, args, caller.shard_port, reply);
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
        if client.and_then(|client| client.multi.take()).is_none() {
            return Err(Fault::Fixed("ERR DISCARD without MULTI"));
        }
        self.forget_watched(caller.conn);
        Ok(())
    }

    /// Queues a request for EXEC, or breaks the queue if it was refused. False: it runs at once, as those that end or steer a queue do.
    pub(super) fn enqueue(
        &mut self,
        caller: &Caller,
        admitted: Result<Found, Fault>,
        args: Args<'_>,
        reply: &mut Reply<'_>,
    ) -> bool {
        let admitted = admitted.and_then(|found| match found.row.flags.has(Flags::NO_MULTI) {
            true => Err(NOT_INSIDE),
            false => Ok(found),
        });
        let Some(multi) = self.clients.get_mut(caller.conn).and_then(|client| client.multi.as_mut()) else {
            return false;
        };
        match admitted {
            Ok(found) if is_immediate(found.row) => false,
            Ok(found) => {
                multi.queue.push(Queued { command: found.id, request: args.into() });
                reply.simple("QUEUED");
                true
            }
            Err(fault) => {
                multi.is_broken = true;
                self.refuse(&fault, reply);
                true
            }
        }
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

    fn run_queue(&mut self, caller: &Caller, queue: Vec<Queued>, reply: &mut Reply<'_>) {
        let mut caller = Caller { queues: false, ..*caller };
        for Queued { command, request } in queue {
            let found = self.table.found(command);
            let first = self.first_of(found.row, request.args());
            self.perform(&caller, found, request.args(), first, reply.output());
            if let Some(client) = self.clients.get(caller.conn) {
                caller = Caller::of(self.me, caller.conn, client);
            }
        }
    }

    /// Ends the queue: what is in it, or why it does not run.
    fn take_queue(&mut self, caller: &Caller) -> Result<Box<Multi>, Fault> {
        let multi = self.clients.get_mut(caller.conn).and_then(|client| client.multi.take());
        let multi = multi.ok_or(Fault::Fixed("ERR EXEC without MULTI"))?;
        if multi.is_broken {
            self.forget_watched(caller.conn);
            return Err(ABORTED);
        }
        if caller.shard_port && self.config.shard_port_moved() && self.is_of_several_slots(&multi) {
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
        client.watched.iter().all(|key| here(key.hash) && free(key.hash))
            && multi.queue.iter().all(|queued| self.is_simple(&caller, queued))
            && (self.locks.is_empty() || self.has_no_holders(&multi.queue))
    }

    fn is_simple(&self, caller: &Caller, queued: &Queued) -> bool {
        let (row, args) = (self.table.row(queued.command), queued.request.args());
        let ends_at_once = match row.run {
            Run::Keys(_) | Run::Session(_) | Run::Verb(_) | Run::Blocking(_) => true,
            Run::Split { part, .. } => !matches!(part, Part::Sliced(_)),
            Run::Staged(_) => row.is_write(),
            Run::Sliced { .. } | Run::Container => false,
        };
        let everywhere = matches!(row.run, Run::Verb(Verb::Info)) && self.asks_all_lanes(caller);
        ends_at_once && !everywhere && self.route(caller, row, args, self.first_of(row, args)) == Route::Here
    }

    fn has_no_holders(&self, queue: &[Queued]) -> bool {
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
        let mut plan = Plan::of(Caller { queues: false, ..*caller });
        for key in self.take_watched(caller.conn) {
            let lane = self.lanes.owner(key.hash.slot());
            plan.keys.push((lane, key.hash, Mode::Shared));
            plan.share(lane).watched.push(key);
        }
        for queued in multi.queue {
            self.plan(&mut plan, queued);
        }
        let ticket = self.owe(caller, Where::Several, Barrier::Yes, silent, out);
        let shares = plan.shares();
        self.begin_txn(&plan.caller, ticket, shares, plan.steps, Form::Array, plan.grows);
    }

    fn plan(&mut self, plan: &mut Plan, Queued { command, request }: Queued) {
        let (row, args, caller) = (self.table.row(command), request.args(), plan.caller);
        let first = self.first_of(row, args);
        plan.grows |= row.flags.has(Flags::DENYOOM);
        match (row.run, self.route(&caller, row, args, first)) {
            (Run::Verb(Verb::Info), _) if self.asks_all_lanes(&caller) => {
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
                let spread = self.spread(row, args);
                plan.hold(&spread, row);
                let step = match run {
                    Run::Staged(_) => self.staged(&caller, command, args),
                    Run::Blocking(_) => self.tries(&caller, command, args, None),
                    _ => self.split_by_keys(&caller, command, args, &spread),
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
                plan.add(lane, Errand { caller, command, first, request, what: What::Whole });
            }
        }
    }

    /// Notes which keys a command holds, by their owners.
    fn hold_keys(&self, plan: &mut Plan, row: &Command, args: Args<'_>) {
        plan.hold(&self.spread(row, args), row);
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
        let mut plan = Plan::of(*caller);
        let place = spread.companion(self.me).map_or(Where::Several, Where::Pair);
        let barrier = if place != Where::Several || overtakes(found.row) { Barrier::No } else { Barrier::Yes };
        let step = match found.row.run {
            Run::Verb(Verb::Info) => {
                plan.join_all(self.lanes.all());
                self.facts_of_all(caller, found.id, args)
            }
            Run::Verb(_) => {
                self.hold_keys(&mut plan, found.row, args);
                self.watch_by_keys(caller, found.id, args)
            }
            Run::Staged(_) => {
                self.hold_keys(&mut plan, found.row, args);
                self.staged(caller, found.id, args)
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
                self.split_by_keys(caller, found.id, args, spread)
            }
        };
        plan.steps.push_back(step);
        let ticket = self.owe(caller, place, barrier, silent, out);
        let grows = found.row.flags.has(Flags::DENYOOM);
        let shares = plan.shares();
        self.begin_txn(caller, ticket, shares, plan.steps, Form::Bare, grows);
    }

    /// A command that may wait, where its keys are not all here and free.
    pub(super) fn begin_tries(
        &mut self,
        caller: &Caller,
        found: Found,
        args: Args<'_>,
        ticket: Ticket,
        block: BlockId,
    ) {
        let mut plan = Plan::of(*caller);
        self.hold_keys(&mut plan, found.row, args);
        plan.steps.push_back(self.tries(caller, found.id, args, Some(block)));
        let grows = found.row.flags.has(Flags::DENYOOM);
        let shares = plan.shares();
        self.begin_txn(caller, ticket, shares, plan.steps, Form::Blocking(block), grows);
    }

    /// Notes keys of this lane as watched.
    pub(super) fn watch_here(&mut self, db: u8, args: Args<'_>) -> Vec<WatchedKey> {
        let now = self.at;
        let watch = |name: &[u8]| {
            let hash = self.store.hash_key.key(name);
            let existed = self.store.db(db).find(name, hash, now).is_some();
            WatchedKey { db, key: name.into(), hash, version: self.store.watch(db, hash), existed }
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
    matches!(row.run, Run::Verb(Verb::Info))
        || matches!(row.run, Run::Split { over: Over::Nodes, part: Part::Sliced(_), .. })
}

/// What runs at once although a queue is open.
fn is_immediate(row: &Command) -> bool {
    matches!(row.run, Run::Verb(Verb::Exec | Verb::Discard | Verb::Multi | Verb::Watch))
        || matches!(row.name, "quit" | "reset")
}

/// A transaction in the making.
struct Plan {
    caller: Caller,
    shares: Vec<Share>,
    /// What is held, in any order: sorted once, since a queue may be long.
    keys: Vec<(ShardId, KeyHash, Mode)>,
    /// Lanes with keys of commands that write.
    writers: Vec<ShardId>,
    steps: VecDeque<Step>,
    /// It may need memory.
    grows: bool,
}

impl Plan {
    fn of(caller: Caller) -> Self {
        let (shares, keys, writers, steps) = Default::default();
        Self { caller, shares, keys, writers, steps, grows: false }
    }

    fn share(&mut self, lane: ShardId) -> &mut Share {
        let at = match self.shares.binary_search_by_key(&lane, |share| share.lane) {
            Ok(at) => at,
            Err(at) => {
                self.shares.insert(at, Share::new(lane));
                at
            }
        };
        &mut self.shares[at]
    }

    /// Holds the keys of a command.
    fn hold(&mut self, spread: &Spread, row: &Command) {
        self.keys.extend(&spread.0);
        if row.is_write() {
            self.writers.extend(spread.0.iter().map(|(lane, ..)| *lane));
            self.writers.dedup();
        }
    }

    /// The shares, with all that they hold.
    fn shares(&mut self) -> Vec<Share> {
        let mut keys = std::mem::take(&mut self.keys);
        keys.sort_unstable_by_key(|(lane, key, _)| (*lane, *key));
        for keys in keys.chunk_by(|one, other| one.0 == other.0) {
            let share = self.share(keys[0].0);
            share.hold(keys.iter().map(|(_, key, mode)| (*key, *mode)));
        }
        for lane in std::mem::take(&mut self.writers) {
            self.share(lane).signs = true;
        }
        std::mem::take(&mut self.shares)
    }

    /// Lanes that take part and hold nothing.
    fn join_all(&mut self, lanes: impl Iterator<Item = ShardId>) {
        lanes.for_each(|lane| {
            self.share(lane);
        });
    }

    /// A command of one lane: beside those before it, as far as they are of one lane each.
    fn add(&mut self, lane: ShardId, errand: Errand) {
        let errand = match self.steps.back_mut() {
            None => errand,
            Some(step) => match step.add(lane, errand) {
                Ok(()) => return,
                Err(errand) => errand,
            },
        };
        let mut step = Step::batch();
        let added = step.add(lane, errand);
        assert!(added.is_ok(), "a batch takes errands");
        self.steps.push_back(step);
    }
}
