//! From received bytes to executed requests.
//!
//! ```text
//!  bytes of one receive, or the connection's inbound buffer
//!    |  stage: parse up to STAGE_REQUESTS, look each name up, hash its first key, prefetch: the bucket of request n,
//!    |         the entry of request n - ENTRY_LAG, whose bucket has arrived
//!    v
//!  staged [GET a][SET b][GET c]...        spans, all relative to the same bytes
//!    |  run_staged: admit, execute, reply into the connection's output
//!    v
//!  the next stage, until the input, the connection's quota of this turn, or its output's patience ends
//! ```
//!
//! Requests run where they were received: nothing is copied but what must outlive the receive buffer, the head of an incomplete
//! request or what exceeds the quota. A stage holds requests of one connection; what waits at the head of other inputs is
//! foreseen (`foresight.rs`).

use super::dispatch::{Flow, Ground};
use super::pending::put_tail;
use super::{ConnId, Shard};
use crate::base::ascii::is_word;
use crate::base::hash::KeyHash;
use crate::base::limits;
use crate::command::clients::{Client, Closing, ReplyMode};
use crate::command::owed::{Barrier, Where};
use crate::command::table::{CommandId, Found};
use crate::command::{Caller, Command, Run, Verb};
use crate::store::Spot;
use crate::types::Progress;
use crate::wire::fault::Fault;
use crate::wire::output::Output;
use crate::wire::reply::Reply;
use crate::wire::request::{Args, Request, Span};
use crate::wire::resp::{Bounds, Parser, ProtocolFault, Step};

/// A parsed request that waits for its execution a few hundred nanoseconds later.
pub(super) struct Staged {
    pub(super) found: Option<Found>,
    /// Its words among the shard's spans.
    pub(super) spans: std::ops::Range<usize>,
    pub(super) first: KeyHash,
    /// Where the first key's bucket is, if it is on its way.
    pub(super) spot: Option<Spot>,
    /// Where the next request begins.
    pub(super) end: usize,
    /// An inline request brings its own bytes.
    pub(super) inline: Option<Box<Request>>,
}

/// So many requests after its bucket an entry is prefetched. Parsing one takes some 50 ns, a line from memory twice that or more.
const ENTRY_LAG: usize = 4;

/// Parsed input: the bytes, and where their words are.
#[derive(Clone, Copy)]
struct Input<'i> {
    bytes: &'i [u8],
    spans: &'i [Span],
}

/// Why a stage ended.
enum StageEnd {
    /// As many requests as a stage or the quota takes.
    Full,
    /// The input holds no further whole request.
    Dry,
    Broken(ProtocolFault),
}

/// Why a run over input ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RunEnd {
    Dry,
    Quota,
    /// Too much output waits to be sent.
    Stalled,
    /// A command takes more turns than this one.
    Busy,
    /// The next request waits for replies that are owed.
    Waits,
    /// The connection is closing: what follows is not run.
    Closed,
}

/// What a connection lends to a run over its input.
struct Lent {
    parser: Parser,
    output: Output,
}

impl Shard {
    /// Bytes received. Whole requests run at once, within the connection's quota of this turn; what stays is copied, so that
    /// the buffer can return to its pool.
    pub fn feed(&mut self, conn: ConnId, bytes: &[u8]) {
        let Some(client) = self.clients.slab.get_mut(conn.0) else { return };
        self.stats.net_input_bytes += bytes.len() as u64;
        client.active = self.now.millis();
        if self.draining || client.closing != Closing::No {
            return;
        }
        if client.queued || client.waits || client.stalled_since.is_some() {
            client.inbound.comes_behind(self.ready_ns);
            client.inbound.push(bytes);
            self.charge(bytes.len());
            return self.bound_inbound(conn);
        }
        // A request that lacked these bytes is whole only now.
        client.inbound.arrived_ns = self.ready_ns;
        if !client.inbound.is_empty() {
            let bytes = self.gather(conn, bytes);
            if self.is_gathering(conn) {
                return self.bound_inbound(conn);
            }
            let Some(client) = self.clients.slab.get_mut(conn.0) else { return };
            client.inbound.bytes.extend_from_slice(bytes);
            self.run_inbound(conn);
        } else {
            let (used, end) = self.run_input(conn, bytes, self.ready_ns);
            if let Some(spans) = self.adopted.take() {
                self.keep_whole(Args::new(bytes, &spans).into());
            }
            if used < bytes.len()
                && end != RunEnd::Closed
                && let Some(client) = self.clients.slab.get_mut(conn.0)
            {
                client.inbound.push(&bytes[used..]);
                self.begin_gathering(conn);
            }
            self.after_run(conn, end);
        }
        self.bound_inbound(conn);
    }

    /// Copying counts against the turn.
    pub(super) fn charge(&mut self, bytes: usize) {
        self.ran += u32::try_from(bytes / limits::LONG_BYTES_PER_REQUEST).unwrap_or(u32::MAX);
    }

    /// Whether [`Self::run_backlog`] has work: then the lane must not wait.
    #[inline]
    pub fn has_backlog(&self) -> bool {
        !self.backlog.is_empty()
            || !self.guest_jobs.is_empty()
            || !self.long_requests.is_empty()
            || self.waiting.has_later()
    }

    /// Goes on, in turn, with connections whose input exceeded their quota or the turn. To be called before new input is fed:
    /// what waits longest is served first, but half of the turn is left for what is new, so that neither starves.
    pub fn run_backlog(&mut self) {
        for _ in 0..self.backlog.len().min(limits::BACKLOG_CONNECTIONS_PER_TURN) {
            if self.ran >= limits::BACKLOG_REQUESTS_PER_TURN {
                return;
            }
            let Some(conn) = self.backlog.pop_front() else { return };
            let Some(client) = self.clients.slab.get_mut(conn.0) else { continue };
            if client.quota_turn == self.turn && client.quota_left == 0 {
                // It has had its share of this turn already.
                self.backlog.push_back(conn);
                continue;
            }
            client.queued = false;
            if client.job.is_some() {
                self.step_job(conn);
            } else {
                self.run_inbound(conn);
            }
            self.bound_inbound(conn);
        }
    }

    /// The peer has taken output of a connection whose requests wait for that.
    pub(super) fn output_progressed(&mut self, conn: ConnId) {
        let now = self.now.millis();
        let Some(client) = self.clients.slab.get_mut(conn.0) else { return };
        if client.unsent() > limits::OUTPUT_PAUSE_BYTES / 2 {
            client.stalled_since = Some(now);
            return;
        }
        client.stalled_since = None;
        if !client.queued {
            client.queued = true;
            self.backlog.push_back(conn);
        }
    }

    /// Runs the head of what waits, and what is behind it, as far as it goes.
    fn run_inbound(&mut self, conn: ConnId) {
        let end = loop {
            let end = self.run_head(conn);
            // A head that was run to its end is followed at once, whatever ended the run: what comes next stands behind all that waits.
            let followed = (end == RunEnd::Dry || self.has_dry_head(conn)) && self.take_up_next(conn);
            if end != RunEnd::Dry || !followed {
                break end;
            }
        };
        self.after_run(conn, end);
    }

    fn has_dry_head(&self, conn: ConnId) -> bool {
        self.clients.slab.get(conn.0).is_some_and(|client| client.inbound.is_empty())
    }

    fn run_head(&mut self, conn: ConnId) -> RunEnd {
        let Some(client) = self.clients.slab.get_mut(conn.0) else { return RunEnd::Closed };
        let mut inbound = std::mem::take(&mut client.inbound);
        let (used, end) = self.run_input(conn, inbound.head(), inbound.arrived_ns);
        match self.adopted.take() {
            None => inbound.consume(used),
            // A request of very many words keeps the memory it came in.
            Some(spans) => {
                let (bytes, at) = inbound.take_head(used);
                self.keep_whole(Request::adopted(bytes, spans, at));
            }
        }
        let Some(client) = self.clients.slab.get_mut(conn.0).filter(|_| end != RunEnd::Closed) else {
            self.store.graves.bury_pieces(inbound.into_pieces());
            return RunEnd::Closed;
        };
        if !inbound.has_later() {
            let wanted = client.parser.wanted().saturating_sub(inbound.head().len());
            // A large value's room is made as it arrives, never on the word of its header alone.
            inbound.bytes.reserve(wanted.min(limits::HEAD_GROWTH * inbound.head().len()));
        }
        client.inbound = inbound;
        self.begin_gathering(conn);
        end
    }

    /// The head is dry: moves on to the next piece of what waits behind it, if there is one.
    fn take_up_next(&mut self, conn: ConnId) -> bool {
        let gathers = self.is_gathering(conn);
        let Some(client) = self.clients.slab.get_mut(conn.0) else { return false };
        let Some(piece) = client.inbound.take_piece() else { return false };
        let waiting = client.inbound.len();
        let over = if gathers {
            let rest = self.gather(conn, piece.content());
            if let Some(client) = self.clients.slab.get_mut(conn.0) {
                client.inbound.bytes.extend_from_slice(rest);
            }
            piece.into_bytes()
        } else {
            client.inbound.join(piece)
        };
        // Of much, each piece goes back to the system as it is run.
        if waiting > limits::BACKLOG_BYTES_MAX {
            self.store.graves.bury_piece(over);
        }
        true
    }

    /// Runs what stands at the head of `bytes`, which came at `arrived_ns`; how many bytes that was and why it ended.
    fn run_input(&mut self, conn: ConnId, bytes: &[u8], arrived_ns: u64) -> (usize, RunEnd) {
        let turn = self.turn;
        let Some(client) = self.clients.slab.get_mut(conn.0) else { return (0, RunEnd::Closed) };
        if client.quota_turn != turn {
            client.quota_turn = turn;
            client.quota_left = limits::REQUESTS_PER_TURN;
        }
        if let Some(gathering) = &mut client.gathering {
            self.longs = std::mem::take(&mut gathering.done);
        }
        let mut lent = Lent { parser: std::mem::take(&mut client.parser), output: std::mem::take(client.tail()) };
        if lent.output.is_empty()
            && lent.output.bytes.capacity() == 0
            && let Some(spare) = self.spares.pop()
        {
            lent.output = spare;
        }
        let (used, end) = self.run_stages(conn, bytes, arrived_ns, &mut lent);
        if !self.longs.is_empty() {
            let longs = std::mem::take(&mut self.longs);
            self.keep_longs(conn, longs);
        }
        if let Some(client) = self.clients.slab.get_mut(conn.0) {
            client.parser = lent.parser;
            if lent.output.is_empty() {
                self.keep_spare(lent.output);
            } else {
                put_tail(client, lent.output);
            }
        }
        (used, end)
    }

    pub(super) fn keep_spare(&mut self, spare: Output) {
        if spare.bytes.capacity() > 0 && self.spares.len() < limits::SPARE_OUTPUTS_MAX {
            self.spares.push(spare);
        }
    }

    fn run_stages(&mut self, conn: ConnId, bytes: &[u8], arrived_ns: u64, lent: &mut Lent) -> (usize, RunEnd) {
        let mut at = 0;
        loop {
            let Some(client) = self.clients.slab.get(conn.0) else { return (at, RunEnd::Closed) };
            if client.quota_left == 0 || self.turn_is_full() {
                return (at, RunEnd::Quota);
            }
            if client.waits {
                return (at, RunEnd::Waits);
            }
            if lent.output.len() + client.owed.bytes() + client.in_flight > limits::OUTPUT_PAUSE_BYTES {
                return (at, RunEnd::Stalled);
            }
            let caller = Caller::of(self.me, conn, client);
            let bounds = bounds(client, self.config.bulk_bytes_max());
            let stage_max = if client.is_let_in() { limits::STAGE_REQUESTS.min(client.quota_left as usize) } else { 1 };
            let parse_ns = self.probe_due_ns(client);
            let (parsed, end) = self.stage(caller.db, bytes, at, &mut lent.parser, &bounds, stage_max);
            let probed = parse_ns.and_then(|parse_ns| self.choose(conn, arrived_ns, parse_ns));
            let ran = self.run_staged(caller, bytes, probed, &mut lent.output);
            self.count_for_probes(conn, ran, probed);
            let Some(client) = self.clients.slab.get_mut(conn.0) else { return (at, RunEnd::Closed) };
            client.quota_left = client.quota_left.saturating_sub(ran);
            let last = (ran as usize).checked_sub(1).and_then(|last| self.staged.get(last));
            // One that concerns its connection has noted that itself.
            if let Some(found) = last.and_then(|last| last.found).filter(|found| !found.row.concerns_session()) {
                client.last_command = Some(found.id);
            }
            if client.closing >= Closing::AfterReplies {
                lent.parser = Parser::default();
                return (bytes.len(), RunEnd::Closed);
            }
            let is_busy = client.job.is_some();
            if is_busy || (ran as usize) < self.staged.len() {
                // What was parsed ahead is parsed again when its time has come.
                lent.parser = Parser::default();
                let end = match (is_busy, client.waits) {
                    (true, _) => RunEnd::Busy,
                    (_, true) => RunEnd::Waits,
                    _ => RunEnd::Quota,
                };
                return (last.map_or(at, |last| last.end), end);
            }
            at = parsed;
            match end {
                StageEnd::Full => {}
                StageEnd::Dry => return (at, RunEnd::Dry),
                StageEnd::Broken(fault) => {
                    self.refuse_protocol(caller, fault, &mut lent.output);
                    return (bytes.len(), RunEnd::Closed);
                }
            }
        }
    }

    /// Parses ahead. Returns where the input goes on after what was staged.
    fn stage(
        &mut self,
        db: u8,
        bytes: &[u8],
        mut at: usize,
        parser: &mut Parser,
        bounds: &Bounds,
        stage_max: usize,
    ) -> (usize, StageEnd) {
        self.staged.clear();
        self.spans.clear();
        if at == 0
            && bounds.trusted
            && let Some(request) = self.foresight.take(bytes, &mut self.spans)
        {
            debug_assert!(!parser.is_resuming(), "what goes on is in the inbound buffer, not where it was received");
            at = request.end;
            self.staged.push(request);
        }
        let end = loop {
            if self.staged.len() >= stage_max || self.spans.len() >= limits::STAGE_ARGS {
                break StageEnd::Full;
            }
            let first_span = self.spans.len();
            match parser.next(bytes, at, &mut self.spans, bounds) {
                Step::Request { end } => {
                    let spans = first_span..self.spans.len();
                    let (found, first) = self.look_up(Args::new(bytes, &self.spans[spans.clone()]));
                    let is_alone = end == bytes.len() && self.staged.is_empty();
                    let spot = if is_alone { None } else { self.lead(db, first) };
                    self.staged.push(Staged { found, spans, first, spot, end, inline: None });
                    at = end;
                }
                Step::Inline { request, end } => {
                    let (found, first) = self.look_up(request.args());
                    self.staged.push(Staged {
                        found,
                        spans: 0..0,
                        first,
                        spot: None,
                        end,
                        inline: Some(Box::new(request)),
                    });
                    at = end;
                }
                Step::Nothing { end } => at = end,
                Step::Incomplete => break StageEnd::Dry,
                Step::Broken(fault) => break StageEnd::Broken(fault),
            }
        };
        let late = self.staged.len().saturating_sub(ENTRY_LAG);
        self.staged[late..].iter().for_each(|request| self.prefetch_entry(db, request));
        // The last stands for all: most pipelines are of one kind, and no other pays for more than this question.
        if let [_, .., last] = &self.staged[..]
            && last.found.is_some_and(|found| self.table.element(found.id) > 0)
        {
            self.foresee_elements(db, bytes);
        }
        (at, end)
    }

    /// Starts loading the bucket of the request that is staged next, and the entry of one whose bucket has arrived.
    #[inline]
    fn lead(&self, db: u8, first: KeyHash) -> Option<Spot> {
        if let Some(earlier) = self.staged.len().checked_sub(ENTRY_LAG) {
            self.prefetch_entry(db, &self.staged[earlier]);
        }
        self.approach(db, first)
    }

    /// Starts loading the bucket of a request's first key, if it has one and it is here.
    #[inline]
    pub(super) fn approach(&self, db: u8, first: KeyHash) -> Option<Spot> {
        let is_here = first != KeyHash::default() && (self.lanes.is_one() || self.lanes.owner(first.slot()) == self.me);
        if is_here { self.store.approach(db, first) } else { None }
    }

    #[inline]
    pub(super) fn prefetch_entry(&self, db: u8, request: &Staged) {
        if let Some(spot) = request.spot {
            self.store.prefetch_entry(db, spot, request.first);
        }
    }

    #[inline]
    pub(super) fn look_up(&self, args: Args<'_>) -> (Option<Found>, KeyHash) {
        let found = self.table.find(args.at(0));
        let first = found.map_or(0, |found| usize::from(found.row.keys.first));
        let key = if first == 0 { None } else { args.get(first) };
        (found, key.map(|key| self.store.hash_key.key(key)).unwrap_or_default())
    }

    /// Runs what was staged, of which one may be followed; how many requests that was. Ends early when one of them ends or holds up the
    /// connection, or the turn is full.
    fn run_staged(&mut self, mut caller: Caller, bytes: &[u8], probed: Option<usize>, out: &mut Output) -> u32 {
        // Taken, not borrowed: a handler may touch anything of the shard but its scratch.
        let staged = std::mem::take(&mut self.staged);
        let mut spans = std::mem::take(&mut self.spans);
        let input = Input { bytes, spans: &spans };
        let mut ran = 0;
        match probed {
            None => {
                self.run_each(&mut caller, &staged, input, &mut ran, out);
            }
            Some(at) => self.run_around(&mut caller, &staged, at, input, &mut ran, out),
        }
        if std::mem::take(&mut self.adopts) {
            match &staged[ran as usize - 1] {
                Staged { inline: Some(whole), .. } => self.keep_whole((**whole).clone()),
                Staged { spans: which, .. } => self.adopted = Some(own(&mut spans, which)),
            }
        }
        self.staged = staged;
        self.spans = spans;
        if self.keeps_journal() {
            self.close_gate();
        }
        ran
    }

    /// Runs requests; whether all of them, and what came of the last that ran. Counts them in `ran`.
    #[inline(always)]
    fn run_each(
        &mut self,
        caller: &mut Caller,
        staged: &[Staged],
        input: Input<'_>,
        ran: &mut u32,
        out: &mut Output,
    ) -> Option<Flow> {
        let mut ground = self.ground(caller, input.spans.len());
        let keeps = self.keeps_journal();
        for request in staged {
            let args = match &request.inline {
                None => Args::new(input.bytes, &input.spans[request.spans.clone()]),
                Some(owned) => {
                    // Its words are not among those that were counted.
                    if owned.args().len() > self.slicing.words_at_once_max {
                        ground = Ground::Rough;
                    }
                    owned.args()
                }
            };
            let mark = if keeps { Some(out.mark()) } else { None };
            let flow = if !self.longs.is_empty() {
                self.run_long(caller, request.found, args, request.first, out)
            } else if ground == Ground::Plain {
                self.run_one(caller, request.found, args, request.first, out)
            } else if ground == Ground::Open
                && let Some(flow) = self.run_direct(caller, request.found, args, request.first, out)
            {
                flow
            } else {
                let flow = self.run_routed(caller, request.found, args, request.first, out);
                ground = self.ground(caller, input.spans.len());
                flow
            };
            if flow == Flow::Wait {
                return Some(flow);
            }
            *ran += 1;
            self.ran += 1;
            if let Some(mark) = mark {
                self.gate(caller, mark, out);
            }
            if flow == Flow::Stop || self.turn_is_full() {
                return Some(flow);
            }
            if ground == Ground::Plain && request.found.is_some_and(|found| !found.row.ends_at_once()) {
                ground = self.ground(caller, input.spans.len());
            }
        }
        None
    }

    /// As `run_each`, with an eye on the request at `at`.
    #[cold]
    #[inline(never)]
    fn run_around(
        &mut self,
        caller: &mut Caller,
        staged: &[Staged],
        at: usize,
        input: Input<'_>,
        ran: &mut u32,
        out: &mut Output,
    ) {
        let (before, rest) = staged.split_at(at);
        let (followed, after) = rest.split_at(1);
        for (part, is_followed) in [(before, false), (followed, true), (after, false)] {
            if is_followed {
                self.probe_starts(caller);
            }
            let end = self.run_each(caller, part, input, ran, out);
            if is_followed {
                self.probe_ran(caller, end.unwrap_or(Flow::Next));
            }
            if end.is_some() {
                return;
            }
        }
    }

    /// Runs one request here. Inlined by order, or the second place that runs requests, beside a probe, would make it a call for all.
    #[inline(always)]
    fn run_one(
        &mut self,
        caller: &mut Caller,
        found: Option<Found>,
        args: Args<'_>,
        first: KeyHash,
        out: &mut Output,
    ) -> Flow {
        if caller.reply_mode == ReplyMode::On
            && let Some(of_keys) = found.filter(|found| !found.row.concerns_session())
        {
            self.execute(caller, found, args, first, out);
            return if self.begun.is_none() { Flow::Next } else { self.go_on_with_job(caller, of_keys, args, out) };
        }
        if found.is_some_and(|found| may_wait(found.row)) {
            return self.run_routed(caller, found, args, first, out);
        }
        self.run_for_session(caller, found, args, first, out)
    }

    /// As `run_one`, for a request that was admitted but for the memory it may need.
    #[inline]
    pub(super) fn run_admitted(
        &mut self,
        caller: &mut Caller,
        found: Found,
        args: Args<'_>,
        first: KeyHash,
        out: &mut Output,
    ) -> Flow {
        let run = |shard: &mut Self, caller: &Caller, out: &mut Output| match shard.afford(found) {
            Ok(()) => shard.perform(caller, found, args, first, out),
            Err(fault) => shard.reject(caller, Some(found), args, &fault, &mut Reply::new(out, caller.dialect)),
        };
        if caller.reply_mode != ReplyMode::On || found.row.concerns_session() {
            return self.run_in_session(caller, Some(found), args, out, run);
        }
        run(self, caller, out);
        if self.begun.is_none() { Flow::Next } else { self.go_on_with_job(caller, found, args, out) }
    }

    /// A request has left a job behind.
    #[inline(never)]
    fn go_on_with_job(&mut self, caller: &mut Caller, found: Found, args: Args<'_>, out: &mut Output) -> Flow {
        let Some(client) = self.clients.get_mut(caller.conn) else { return Flow::Stop };
        client.last_command = Some(found.id);
        *caller = Caller::of(self.me, caller.conn, client);
        self.keep_job(caller, Some(found.id), args, false, out)
    }

    /// Runs a request that may change its connection, or whose reply may be unwanted.
    #[inline(never)]
    fn run_for_session(
        &mut self,
        caller: &mut Caller,
        found: Option<Found>,
        args: Args<'_>,
        first: KeyHash,
        out: &mut Output,
    ) -> Flow {
        self.run_in_session(caller, found, args, out, |shard, caller, out| {
            shard.execute(caller, found, args, first, out);
        })
    }

    pub(super) fn run_in_session(
        &mut self,
        caller: &mut Caller,
        found: Option<Found>,
        args: Args<'_>,
        out: &mut Output,
        run: impl FnOnce(&mut Self, &Caller, &mut Output),
    ) -> Flow {
        if found.is_none() && is_http(args.at(0)) {
            self.clients.close(caller.conn, Closing::Now);
            return Flow::Stop;
        }
        let skipped = caller.reply_mode == ReplyMode::SkipNext;
        let innermost = found.map(|found| self.table.innermost(found, args).id);
        let Some(client) = self.clients.get_mut(caller.conn) else { return Flow::Stop };
        client.last_command = innermost.or(client.last_command);
        if skipped {
            client.reply_mode = ReplyMode::Skipping;
        }
        let mark = out.mark();
        run(self, caller, out);
        let Some(client) = self.clients.get_mut(caller.conn) else {
            self.begun = None;
            return Flow::Stop;
        };
        let silent = skipped && client.reply_mode != ReplyMode::On || client.reply_mode == ReplyMode::Off;
        if silent {
            self.store.graves.bury_shared(out.cut_off(mark).map(|splice| splice.value));
        }
        if client.reply_mode == ReplyMode::Skipping {
            client.reply_mode = ReplyMode::On;
        }
        *caller = Caller::of(self.me, caller.conn, client);
        self.keep_job(caller, innermost, args, silent, out)
    }

    /// Keeps the job, if there is one, that a request has left behind.
    fn keep_job(
        &mut self,
        caller: &mut Caller,
        command: Option<CommandId>,
        args: Args<'_>,
        silent: bool,
        out: &mut Output,
    ) -> Flow {
        let begun = self.begun.take();
        let is_held = |row: &Command| row.is_write() || row.leads_elsewhere(args);
        if let Some(command) = command.filter(|id| begun.is_some() && is_held(self.table.row(*id)))
            && let Some(job) = begun
        {
            // It goes on whatever becomes of its connection, and holds what it writes.
            let claim = self.claim_for_job(command, args);
            let ticket = self.owe(caller, Where::Lane(self.me), Barrier::Yes, silent, out);
            self.go_on_for(ticket, job, caller, command, claim);
            return Flow::Next;
        }
        let Some(client) = self.clients.get_mut(caller.conn) else { return Flow::Stop };
        client.job = begun;
        client.job_effort = std::mem::take(&mut self.begun_effort);
        client.job_is_silent = client.job.is_some() && silent;
        if client.closing < Closing::AfterReplies && client.job.is_none() { Flow::Next } else { Flow::Stop }
    }

    /// Takes the next step of a connection's command; with the last one its reply leaves and its later requests run.
    #[inline(never)]
    fn step_job(&mut self, conn: ConnId) {
        let Some(client) = self.clients.get_mut(conn) else { return };
        let Some(mut job) = client.job.take() else { return };
        let (caller, silent, command) = (Caller::of(self.me, conn, client), client.job_is_silent, client.last_command);
        let mut effort = std::mem::take(&mut client.job_effort);
        let mut output = std::mem::take(client.tail());
        let mark = output.mark();
        let progress = self.step_of(&mut job, &caller, command, &mut effort, &mut output);
        if silent {
            self.store.graves.bury_shared(output.cut_off(mark).map(|splice| splice.value));
        }
        if progress == Progress::Done && self.keeps_journal() {
            self.note_job_over(&caller, command);
            self.gate(&caller, mark, &mut output);
            self.close_gate();
        }
        let Some(client) = self.clients.get_mut(conn) else { return };
        put_tail(client, output);
        if progress == Progress::More {
            (client.job, client.job_effort) = (Some(job), effort);
            self.after_run(conn, RunEnd::Busy);
        } else {
            if client.probe.is_some() {
                self.probe_finished(conn);
            }
            if let Some(fetched) = job.fetched() {
                self.run_fetched(conn, fetched, silent);
            }
            self.clients.order_flush(conn);
            self.run_inbound(conn);
        }
    }

    #[cold]
    fn refuse_protocol(&mut self, caller: Caller, fault: ProtocolFault, out: &mut Output) {
        let fault = Fault::text(fault.line());
        self.stats.count_error(fault.code());
        Reply::new(out, caller.dialect).error(&fault);
        self.clients.close(caller.conn, Closing::AfterFlush);
    }

    /// What follows from how a run ended: the next quota, a pause, the end of the connection; and the flush.
    fn after_run(&mut self, conn: ConnId, end: RunEnd) {
        let now = self.now.millis();
        let Some(client) = self.clients.slab.get_mut(conn.0) else { return };
        if client.owed.is_empty() {
            self.clients.order_flush(conn);
        } else {
            self.linger(conn);
        }
        let Some(client) = self.clients.slab.get_mut(conn.0) else { return };
        match end {
            RunEnd::Quota | RunEnd::Busy if !client.queued => {
                client.queued = true;
                self.backlog.push_back(conn);
            }
            RunEnd::Stalled => client.stalled_since = client.stalled_since.or(Some(now)),
            RunEnd::Dry if client.closing == Closing::AfterInput => {
                self.clients.close(conn, Closing::AfterFlush);
                return;
            }
            _ => {}
        }
        self.check_output_limit(conn);
    }

    /// Keeps what waits in front of a connection's quota within bounds.
    fn bound_inbound(&mut self, conn: ConnId) {
        let Some(client) = self.clients.slab.get_mut(conn.0) else { return };
        // A word that is arriving is bounded by `proto-max-bulk-len` already.
        let waiting = client.inbound.len() + client.gathering.as_ref().map_or(0, |gathering| gathering.done.bytes());
        let proven = self.config.client_query_buffer_limit_bytes().min(limits::INPUT_BYTES_CEILING);
        let most = if client.is_let_in() { proven } else { proven.min(limits::UNAUTHENTICATED_INPUT_BYTES_MAX as u64) };
        if waiting as u64 > most {
            self.stats.input_limit_closed += 1;
            return self.clients.close(conn, Closing::Now);
        }
        let room = match client.stalled_since {
            Some(_) => limits::STALLED_INPUT_BYTES_MAX,
            None if client.queued || client.waits => limits::BACKLOG_BYTES_MAX,
            None => usize::MAX,
        };
        if waiting > room && !client.reading_stopped {
            client.reading_stopped = true;
            self.clients.orders.push_back(super::Order::StopReading(conn));
        } else if client.reading_stopped && waiting < room - limits::BACKLOG_BYTES_MAX / 2 {
            client.reading_stopped = false;
            self.clients.orders.push_back(super::Order::Read(conn));
        }
    }
}

/// Whether a request may have to wait for something, a file among others: then it takes the long way. Not inlined: the loop that asks has no
/// registers left.
#[cold]
#[inline(never)]
fn may_wait(row: &Command) -> bool {
    matches!(row.run, Run::Blocking(_) | Run::Verb(Verb::WaitAof))
        || row.children.iter().any(|child| child.reads.is_some())
}

/// These of the spans: all of them, mostly.
#[cold]
fn own(spans: &mut Vec<Span>, which: &std::ops::Range<usize>) -> Vec<Span> {
    if *which == (0..spans.len()) { std::mem::take(spans) } else { spans[which.clone()].to_vec() }
}

/// Whether a browser speaks: a page must not send commands to a server that its user can reach. Redis closes such connections too.
fn is_http(word: &[u8]) -> bool {
    is_word(word, "POST") || is_word(word, "HOST:")
}

pub(super) fn bounds(client: &Client, bulk_bytes_max: usize) -> Bounds {
    if client.is_let_in() { Bounds::authenticated(bulk_bytes_max) } else { Bounds::UNAUTHENTICATED }
}
