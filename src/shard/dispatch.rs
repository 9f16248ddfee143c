//! Each request to where it runs, in its place among those of its connection.
//!
//! ```text
//!  Ground::Plain   one lane, nothing in the way             execute (input.rs)
//!  Ground::Open    several lanes, nothing in the way        run_direct: a request with one key; all others as below
//!  Ground::Rough   keys held, a queue, many words, MONITOR  run_routed: admit -> route -> wait? -> here | forward | several lanes
//! ```
//!
//! `route.rs` decides where; this acts on it.

use super::message::Message;
use super::route::{Route, Spread, is_barrier};
use super::{Shard, ShardId};
use crate::base::hash::KeyHash;
use crate::command::clients::{Closing, ReplyMode};
use crate::command::owed::{Barrier, Owed, Where};
use crate::command::table::{CommandId, Found};
use crate::command::{Caller, Command, Part, Run, Verb};
use crate::config::PipelineOrder;
use crate::wire::fault::Fault;
use crate::wire::output::Output;
use crate::wire::reply::Reply;
use crate::wire::request::Args;

/// How freely a connection's requests run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ground {
    /// They need only be executed: all keys are here, nobody holds any, nothing is queued or noted, none has very many words.
    Plain,
    /// The same, but keys may be other lanes'.
    Open,
    /// Each is looked at from all sides.
    Rough,
}

/// What came of a request's turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    /// It ran, or is under way elsewhere; the next follows.
    Next,
    /// It ran; the next does not follow at once.
    Stop,
    /// It must wait, and with it all behind it.
    Wait,
}

impl Shard {
    /// What stands in the way of a connection's requests, of so many words together.
    #[inline]
    pub(super) fn ground(&self, caller: &Caller, words: usize) -> Ground {
        let is_open = self.is_clear()
            && !caller.queues
            && !self.clients.monitors.is_watched()
            && !self.is_journal_congested(Route::Here)
            && words <= self.slicing.words_at_once_max;
        match is_open {
            false => Ground::Rough,
            true if self.lanes.is_one() && self.history.is_none() => Ground::Plain,
            true if caller.reply_mode == ReplyMode::On => Ground::Open,
            true => Ground::Rough,
        }
    }

    /// As `run_routed`, for what is most of all traffic: a request with one key, to its owner. `None`: it is not that, or has to wait.
    #[inline]
    pub(super) fn run_direct(
        &mut self,
        caller: &mut Caller,
        found: Option<Found>,
        args: Args<'_>,
        first: KeyHash,
        out: &mut Output,
    ) -> Option<Flow> {
        let found = found.filter(|found| found.row.is_lone())?;
        let owner = self.lanes.owner(first.slot());
        let route = if owner == self.me { Route::Here } else { Route::Lane(owner) };
        let owed = &self.clients.get(caller.conn)?.owed;
        if owed.is_under_way() && (owed.is_barred() || self.is_behind(owed, found.row, route, None)) {
            return None;
        }
        // A request may have left its key held, for those who wait for it.
        if route == Route::Here && !self.is_clear() || self.is_held_up(found.row, route, None) {
            return None;
        }
        let found = self.admit(caller, Some(found), args).ok()?;
        if route == Route::Here {
            let flow = self.run_admitted(caller, found, args, first, out);
            self.passed(caller);
            return Some(flow);
        }
        self.forward(owner, caller, found.id, args, first, false, out);
        Some(self.passed(caller))
    }

    /// Runs one request wherever it belongs, in its place among those of its connection.
    #[inline(never)]
    pub(super) fn run_routed(
        &mut self,
        caller: &mut Caller,
        found: Option<Found>,
        args: Args<'_>,
        first: KeyHash,
        out: &mut Output,
    ) -> Flow {
        let Some(client) = self.clients.get_mut(caller.conn) else { return Flow::Stop };
        if client.owed.is_barred() {
            client.waits = true;
            return Flow::Wait;
        }
        let admitted = self.admit(caller, found, args);
        if caller.queues && self.run_queued(caller, found, &admitted, args, out) {
            if let Err(fault) = &admitted {
                self.count_rejected(caller, found, args, fault);
            }
            return self.passed(caller);
        }
        let found = match admitted {
            Ok(found) => found,
            Err(fault) => {
                let flow = self.run_in_session(caller, found, args, out, |shard, caller, out| {
                    shard.reject(caller, found, args, &fault, &mut Reply::new(out, caller.dialect));
                });
                self.passed(caller);
                return flow;
            }
        };
        let first = if found.row.keys.first > 1 { self.first_of(found.row, args) } else { first };
        let is_long = self.is_long(found.row, args);
        let route = if is_long { Route::Several } else { self.route_of(caller, found, args, first) };
        let is_split = route == Route::Several && !is_long && found.row.is_split_by_keys();
        let spread = if is_split { self.spread(found.row, args) } else { Spread::default() };
        let companion = spread.companion(self.me);
        if self.waits_for_replies(caller, found.row, route, companion) {
            return Flow::Wait;
        }
        let wanted = self.wanted_file(caller, found, args);
        // An EXEC that waits for a file comes by here again.
        let comes_again = wanted.as_ref().is_some_and(|(command, _)| *command != found.id);
        if self.clients.monitors.is_watched() && !comes_again {
            self.tell_monitors(caller, found, args, out);
        }
        if let Some(wanted) = wanted {
            return self.read_first(caller, found, args, wanted, out);
        }
        let silent = caller.reply_mode != ReplyMode::On;
        if let Run::Blocking(way) = found.row.run {
            self.begin_blocking(caller, found, way, route, args, silent, out);
            self.note_last(caller, found.id);
            return self.passed_to_wait(caller);
        }
        if let Run::Verb(Verb::WaitAof) = found.row.run {
            self.begin_waitaof(caller, found, args, silent, out);
            self.note_last(caller, found.id);
            return self.passed_to_wait(caller);
        }
        match route {
            _ if is_long => self.begin_long(caller, found, args, silent, out),
            Route::Here
                if self.is_clear() || concerns_connection(found.row) || !self.must_wait(caller, found.id, args) =>
            {
                let flow = self.run_admitted(caller, found, args, first, out);
                self.passed(caller);
                return flow;
            }
            Route::Here => {
                let ticket = self.owe(caller, Where::Lane(self.me), Barrier::No, silent, out);
                let longs = std::mem::take(&mut self.store.incoming);
                self.park_own(ticket, caller, found.id, args, longs);
            }
            Route::Lane(lane) => self.forward(lane, caller, found.id, args, first, silent, out),
            Route::Several if matches!(found.row.run, Run::Verb(Verb::Exec)) => self.begin_exec(caller, silent, out),
            Route::Several => {
                // CLIENT LIST tells of itself.
                if let Some(client) = self.clients.get_mut(caller.conn) {
                    client.last_command = Some(found.id);
                }
                self.begin_several(caller, found, args, &spread, silent, out);
            }
        }
        self.note_last(caller, found.id);
        self.passed(caller)
    }

    /// The request has had its turn.
    pub(super) fn passed(&mut self, caller: &mut Caller) -> Flow {
        let Some(client) = self.clients.get_mut(caller.conn) else { return Flow::Stop };
        client.requests = client.requests.wrapping_add(1);
        caller.number = client.requests;
        Flow::Next
    }

    /// As `passed`, for a request that may wait now: then so does all behind it.
    fn passed_to_wait(&mut self, caller: &mut Caller) -> Flow {
        let flow = self.passed(caller);
        match self.clients.get_mut(caller.conn) {
            Some(client) if client.owed.is_barred() => {
                client.waits = true;
                Flow::Stop
            }
            // It hung up before it could wait.
            Some(client) if client.closing >= Closing::AfterReplies => Flow::Stop,
            _ => flow,
        }
    }

    /// A request of a connection that is queueing: whether that was all.
    fn run_queued(
        &mut self,
        caller: &Caller,
        found: Option<Found>,
        admitted: &Result<Found, Fault>,
        args: Args<'_>,
        out: &mut Output,
    ) -> bool {
        let mark = out.mark();
        let was_queued = self.enqueue(caller, found, admitted.clone(), args, &mut Reply::new(out, caller.dialect));
        if was_queued && caller.reply_mode != ReplyMode::On {
            out.truncate(mark);
        }
        was_queued
    }

    /// As `route`, for verbs too, which depend on what their connection has queued and watched.
    fn route_of(&self, caller: &Caller, found: Found, args: Args<'_>, first: KeyHash) -> Route {
        match found.row.run {
            Run::Verb(Verb::Exec) if self.can_exec_here(caller.conn) => Route::Here,
            Run::Verb(Verb::Exec) => Route::Several,
            Run::Verb(Verb::Facts(_)) if self.asks_all_lanes(caller) => Route::Several,
            Run::Verb(Verb::Watch) if caller.queues => Route::Here,
            Run::Verb(Verb::Watch) => match self.route_of_keys(found.row, args) {
                Route::Here if self.is_clear() || !self.must_wait(caller, found.id, args) => Route::Here,
                _ => Route::Several,
            },
            _ => self.route(caller, found.row, args, first),
        }
    }

    /// Whether a request must wait, for its connection's earlier ones or for a lane that has too much to do. If so it is noted as waiting.
    fn waits_for_replies(&mut self, caller: &Caller, row: &Command, route: Route, companion: Option<ShardId>) -> bool {
        let is_held_up = self.is_held_up(row, route, companion);
        let Some(client) = self.clients.get(caller.conn) else { return true };
        let is_behind = self.is_behind(&client.owed, row, route, companion);
        if is_held_up && !is_behind {
            self.starved.push(caller.conn);
        }
        let waits = is_behind || is_held_up;
        if waits && let Some(client) = self.clients.get_mut(caller.conn) {
            client.waits = true;
        }
        waits
    }

    /// Whether the connection's earlier requests must be answered first.
    ///
    /// 1. Nobody shall see a later write without an earlier one: what writes waits for what is under way on other lanes, unless
    ///    `pipeline-order` is relaxed.
    /// 2. What writes, or steers the connection, waits for what is under way on several.
    /// 3. What is under way here and on one other lane has its moment when that lane gets to it. What is sent there later comes after it
    ///    by itself, be it of that lane or of both; all else that concerns either waits.
    #[inline(always)]
    fn is_behind(&self, owed: &Owed, row: &Command, route: Route, companion: Option<ShardId>) -> bool {
        let is_verb = matches!(row.run, Run::Verb(verb) if !matches!(verb, Verb::Facts(_)));
        let behind_pairs = match (route, companion) {
            (Route::Lane(_), _) => false,
            (Route::Several, Some(companion)) => owed.has_other_pairs(companion),
            _ => owed.has_pairs(),
        };
        let elsewhere = || match route {
            _ if is_verb => owed.is_under_way(),
            Route::Here => owed.is_elsewhere_than(self.me),
            Route::Lane(lane) => owed.is_elsewhere_than(lane),
            Route::Several => companion.map_or_else(|| owed.is_under_way(), |lane| owed.is_elsewhere_than(lane)),
        };
        let relaxed = || self.config.pipeline_order() == PipelineOrder::Relaxed && !is_verb && route != Route::Several;
        behind_pairs
            || (is_barrier(row) || is_verb) && (elsewhere() || owed.has_several()) && (owed.has_several() || !relaxed())
    }

    /// Whether a lane that it needs has as much to do, or its journal to write, as it may.
    #[inline(always)]
    fn is_held_up(&self, row: &Command, route: Route, companion: Option<ShardId>) -> bool {
        let is_congested = match route {
            Route::Lane(lane) => self.is_congested(lane),
            _ => companion.is_some_and(|lane| self.is_congested(lane)),
        };
        // What is queued for EXEC may write.
        let writes = || row.is_write() || matches!(row.run, Run::Verb(Verb::Exec));
        is_congested || writes() && self.is_journal_congested(route)
    }

    /// Sends a request to the lane that owns its keys.
    #[expect(clippy::too_many_arguments, reason = "a request and its connection, as everywhere in this file")]
    fn forward(
        &mut self,
        lane: ShardId,
        caller: &Caller,
        command: CommandId,
        args: Args<'_>,
        first: KeyHash,
        silent: bool,
        out: &mut Output,
    ) {
        let ticket = self.owe(caller, Where::Lane(lane), Barrier::No, silent, out);
        let outbox = &mut self.outboxes[lane.index()];
        if !self.store.incoming.is_empty() {
            outbox.push_longs(std::mem::take(&mut self.store.incoming));
        }
        let words = outbox.pack(args);
        outbox.messages.push(Message::Execute { ticket, caller: *caller, command, first, words });
    }

    /// CLIENT LIST shows the last command; CLIENT REPLY SKIP is over.
    fn note_last(&mut self, caller: &mut Caller, command: CommandId) {
        let Some(client) = self.clients.get_mut(caller.conn) else { return };
        client.last_command = Some(command);
        if client.reply_mode == ReplyMode::SkipNext {
            client.reply_mode = ReplyMode::On;
        }
        *caller = Caller::of(self.me, caller.conn, client);
    }
}

/// Whether a command is about the connection or the server, not about keys: then it never waits for any.
fn concerns_connection(row: &Command) -> bool {
    matches!(
        row.run,
        Run::Session(_) | Run::Filed(_) | Run::Verb(_) | Run::Container | Run::Split { part: Part::Desk(_), .. }
    )
}
