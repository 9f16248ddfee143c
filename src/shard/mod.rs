//! Layer 5: the shard, a plain value that owns a slice of the keyspace and the clients of its lane.
//!
//! No I/O, no clock, no thread, nothing `async`. Bytes come in, orders and reply bytes go out:
//!
//! ```text
//!          open  feed  eof  closed  begin_turn  run_backlog  tick
//!            |     |    |      |        |            |         |
//!            v     v    v      v        v            v         v
//!        +-----------------------------------------------------------+
//!        | Shard   input: stage -> admit -> execute -> handler        |
//!        +-----------------------------------------------------------+
//!                 |                |                     |
//!                 v                v                     v
//!            next_order       take_output          next deadline
//! ```
//!
//! `input` parses and stages requests, `admit` refuses, `execute` is the one door to the handlers, `sweep` looks after timeouts
//! and output limits. The runtime drives it with sockets, the tests with arrays.

mod access;
mod admit;
mod blocking;
mod dispatch;
mod durable;
mod errand;
mod execute;
mod fetch;
mod foresight;
mod gather;
mod input;
mod locks;
mod long;
mod message;
mod monitor;
mod pending;
mod plan;
mod planted;
mod probe;
mod report;
mod route;
mod slow;
mod stall;
mod steps;
mod sweep;
mod txn;
mod verbs;
mod visit;
mod waiters;

use std::collections::VecDeque;

use hashbrown::HashMap;

pub use crate::base::lanes::ShardId;
pub use crate::command::clients::{ConnId, Opening};
pub use crate::command::order::Order;
pub use durable::Keeping;
pub use durable::journal::Sync;
pub use durable::replay::Moving;
pub use durable::rewrite::{Ends, Piece, Preparation, Prepared};
pub use long::Slicing;
pub use message::Parcel;
pub use planted::Planted;

use crate::admin::acl::{Acl, User};
use crate::admin::busy::Busy;
use crate::admin::file;
use crate::admin::gauges::LaneGauges;
use crate::admin::info::Identity;
use crate::admin::journal::LoadingFacts;
use crate::admin::latency::Slow;
use crate::admin::process::{Allocator, Process};
use crate::admin::slowlog::Slowlog;
use crate::admin::stats::Stats;
use crate::base::hash::KeyHash;
use crate::base::lanes::Lanes;
use crate::base::limits;
use crate::base::slab::Slab;
use crate::base::time::{Millis, Now};
use crate::command::acl::catalog;
use crate::command::clients::{Client, Clients, Closing, Parting};
use crate::command::sliced::{Effort, Job};
use crate::command::{Command, Table};
use crate::config::Config;
use crate::store::incoming::Incoming;
use crate::store::journal::Effects;
use crate::store::{Spot, Store, Work};
use crate::wire::output::Output;
use crate::wire::request::{Request, Span};

/// What a shard is made of. Everything that could differ between two runs is in here.
pub struct Setup {
    pub identity: Identity,
    pub config: Config,
    /// Seeds the keyed hash and every random choice. All lanes have the same: hash tables move between them.
    pub seed: [u64; 2],
    /// Whether to keep what ran, for `take_history`.
    pub trace: bool,
    /// Nanoseconds of some monotonic clock, for timing commands. The simulator gives a constant.
    pub stopwatch: fn() -> u64,
    pub process: fn() -> Process,
    pub allocator: Allocator,
    /// Makes room for so many clients of a server of so many lanes; for how many there is room.
    pub room_for_clients: fn(usize, u16) -> usize,
    pub replace_file: file::Replace,
    /// Whether a journal can be begun in this directory; the log says why not.
    pub can_journal: fn(&[u8]) -> bool,
    pub read_file: file::Read,
    /// Random bytes that nobody can guess.
    pub entropy: fn() -> Result<[u8; 32], String>,
    /// None at all: the default user, as the configuration says.
    pub users: Vec<User>,
    /// Processor time that this thread has had, for telling a long turn from a preempted one.
    pub cpu_time_ns: fn() -> u64,
    /// Which requests are worked off in slices, and how large these are.
    pub slicing: Slicing,
    /// Rows beside those of the table, for tests.
    pub rows: &'static [Command],
    /// A defect on purpose, for tests; a release build knows none.
    pub planted: Option<Planted>,
}

impl Setup {
    /// Of a shard without a machine around it, lane `lane` of `lanes`: all clocks stand still, nothing is random, there are no files.
    pub fn plain(lane: u16, lanes: u16) -> Self {
        Self {
            identity: Identity { lane, lanes, ..Identity::default() },
            config: Config::default(),
            seed: [1, 2],
            trace: false,
            stopwatch: || 0,
            process: Default::default,
            room_for_clients: |wanted, _| wanted,
            can_journal: |_| true,
            allocator: Allocator::PLAIN,
            replace_file: file::no_disk,
            read_file: file::no_file,
            entropy: || Ok([7; 32]),
            users: Vec::new(),
            cpu_time_ns: || 0,
            slicing: Slicing::default(),
            rows: &[],
            planted: None,
        }
    }
}

/// A request that touched the keyspace of a shard. The same request may have done so on several shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ran {
    pub home: ShardId,
    /// CLIENT ID.
    pub client: u64,
    /// How many requests of that client ran before it.
    pub number: u32,
    /// The time it saw.
    pub now: Millis,
    /// It had waited, and was served from the key that is this word of it.
    pub served: Option<usize>,
    /// What its random choice began with, if it had one.
    pub choice: Option<u64>,
}

pub struct Shard {
    identity: Identity,
    lanes: Lanes,
    me: ShardId,
    config: Config,
    table: Table,
    acl: Acl,
    store: Store,
    clients: Clients,
    stats: Stats,
    gauges: LaneGauges,
    now: Now,
    /// What came before this turn came about then: while the lane was at work, in the middle of that.
    ready_ns: u64,
    /// The time commands see: that of the turn, or of the transaction they are part of.
    at: Millis,
    /// The latest time anything here ran at: lanes read their clocks one after the other, and what was seen to have expired stays so.
    seen: Millis,
    /// Counts turns; quotas are per turn.
    turn: u64,
    /// Requests run in this turn.
    ran: u32,
    /// Connections with requests left from earlier turns, in the order in which they get their next.
    backlog: VecDeque<ConnId>,
    staged: Vec<input::Staged>,
    /// Long words of the first request that is staged.
    longs: Incoming,
    spans: Vec<Span>,
    foresight: foresight::Foresight,
    /// Empty output buffers, warm from their last use.
    spares: Vec<Output>,
    stalls: stall::Stalls,
    probes: probe::Probes,
    busy: Busy,
    sweep: sweep::Sweep,
    draining: bool,
    /// A command that was just begun and takes more turns, on its way to whoever waits for it.
    begun: Option<Box<dyn Job>>,
    begun_effort: Effort,
    slowlog: Slowlog,
    /// The request that runs, for SLOWLOG, if it has long words.
    clipped: Option<Box<Request>>,
    /// Calls of constant time that pass before the next of their command is timed.
    untimed_gap: u8,

    /// What is to go to each lane.
    #[expect(clippy::vec_box, reason = "the ring between lanes takes the box")]
    outboxes: Vec<Box<Parcel>>,
    /// Empty ones.
    #[expect(clippy::vec_box, reason = "the ring between lanes takes the box")]
    parcels: Vec<Box<Parcel>>,
    /// To whom replies are owed, by ticket, and how many of them each lane owes.
    debts: Slab<pending::Debt>,
    under_way: Vec<usize>,
    /// Connections with replies that wait for others, and since when, in nanoseconds of the monotonic clock.
    lingering: VecDeque<(ConnId, u64)>,
    /// Connections whose next request is for a lane that has as much to do as it may.
    starved: Vec<ConnId>,

    locks: locks::Locks<visit::Claimant>,
    /// What waits here of each connection.
    lines: HashMap<(ShardId, ConnId), visit::Line>,
    /// Shares of transactions in this lane's keys, and transactions whose home it is.
    guests: HashMap<message::TxId, txn::Guest>,
    txns: Slab<txn::Txn>,
    own_reports: VecDeque<(message::TxId, errand::Report)>,
    guest_jobs: VecDeque<visit::GuestJob>,
    /// Requests of very many keys that are to go on.
    long_requests: VecDeque<long::Due>,
    slicing: Slicing,
    /// The latest of them waits for its request, and for its words.
    adopts: bool,
    adopted: Option<Vec<Span>>,
    /// Requests of this lane's connections that wait, and those of anybody that wait for keys of this lane.
    blocks: blocking::Blocks,
    waiting: waiters::Waiting,
    /// Where the next requests of a parcel will look.
    spots: Vec<(u8, Spot, KeyHash)>,

    durable: Option<Box<durable::Durable>>,
    /// How many commands over several lanes began here.
    serial: u64,
    rewrites: durable::rewrite::Rewrites,
    /// While the journal is rewritten.
    base: Option<Box<durable::rewrite::Base>>,
    /// What it keeps as it was, as last seen.
    kept_bytes: usize,
    /// The journal cannot be written any more since this era, in the words for whoever writes.
    disk_failure: Option<(u32, Box<str>)>,
    loading: Option<LoadingFacts>,
    /// One of the two is there, or a journal that is wanted is not.
    is_restricted: bool,

    history: Option<Vec<Ran>>,
    plant: planted::Plant,
    stopwatch: fn() -> u64,
    process: fn() -> Process,
    allocator: Allocator,
    cpu_time_ns: fn() -> u64,
    room_for_clients: fn(usize, u16) -> usize,
    replace_file: file::Replace,
    can_journal: fn(&[u8]) -> bool,
    read_file: file::Read,
    entropy: fn() -> Result<[u8; 32], String>,
}

const TOO_MANY: &[u8] = b"-ERR max number of clients reached\r\n";
const PROTECTED: &[u8] = b"-DENIED Corelane is running in protected mode: it has no password and this connection does not come \
from the loopback interface. Set a password with 'requirepass', or, if nobody else can reach this port, send 'CONFIG SET \
protected-mode no' from this machine or start the server with '--protected-mode no'.\r\n";

impl Shard {
    pub fn new(setup: Setup) -> Self {
        let table = Table::with(setup.rows);
        let (lanes, me) = (Lanes::new(setup.identity.lanes), ShardId(setup.identity.lane));
        let rewrites = durable::rewrite::Rewrites::new(lanes.count(), setup.config.appendonly());
        let each = || (0..lanes.count()).map(|_| Box::<Parcel>::default()).collect();
        let mut store = Store::new(setup.config.database_count(), setup.seed, setup.identity.lane);
        store.strides = setup.slicing.strides;
        let mut slowlog = Slowlog::default();
        slowlog.follow(setup.config.slowlog_slower_than_us(), setup.config.slowlog_len_max());
        let untimed_gap = slow::untimed_gap(&slowlog);
        Self {
            lanes,
            me,
            store,
            stats: Stats::watching(table.len(), setup.config.latency_monitor_threshold_ms().unsigned_abs()),
            acl: Acl::new(catalog(&table), setup.users, &setup.config),
            identity: setup.identity,
            config: setup.config,
            table,
            clients: Clients::default(),
            gauges: LaneGauges::default(),
            now: Now::default(),
            ready_ns: 0,
            at: Millis::default(),
            seen: Millis::default(),
            turn: 0,
            ran: 0,
            backlog: VecDeque::new(),
            staged: Vec::new(),
            longs: Incoming::default(),
            spans: Vec::new(),
            foresight: foresight::Foresight::default(),
            spares: Vec::new(),
            stalls: stall::Stalls::new(setup.cpu_time_ns),
            probes: probe::Probes::new(u64::from(me.0)),
            busy: Busy::default(),
            cpu_time_ns: setup.cpu_time_ns,
            sweep: sweep::Sweep::default(),
            draining: false,
            begun: None,
            begun_effort: Effort::default(),
            slowlog,
            clipped: None,
            untimed_gap,
            outboxes: each(),
            parcels: Vec::new(),
            debts: Slab::default(),
            under_way: vec![0; usize::from(lanes.count())],
            lingering: VecDeque::new(),
            starved: Vec::new(),
            locks: locks::Locks::default(),
            lines: HashMap::new(),
            guests: HashMap::new(),
            txns: Slab::default(),
            own_reports: VecDeque::new(),
            guest_jobs: VecDeque::new(),
            long_requests: VecDeque::new(),
            slicing: setup.slicing,
            adopts: false,
            adopted: None,
            blocks: blocking::Blocks::default(),
            waiting: waiters::Waiting::default(),
            spots: Vec::new(),
            durable: None,
            serial: 0,
            rewrites,
            base: None,
            kept_bytes: 0,
            disk_failure: None,
            loading: None,
            is_restricted: false,
            history: setup.trace.then(Vec::new),
            plant: planted::Plant::new(setup.planted),
            stopwatch: setup.stopwatch,
            process: setup.process,
            allocator: setup.allocator,
            room_for_clients: setup.room_for_clients,
            replace_file: setup.replace_file,
            can_journal: setup.can_journal,
            read_file: setup.read_file,
            entropy: setup.entropy,
        }
    }

    /// Once per turn, before anything else. The only source of time.
    #[inline]
    pub fn begin_turn(&mut self, now: Now) {
        self.stalls.begin_turn(now.mono_ns);
        self.ready_ns = if self.ran > 0 { self.now.mono_ns.midpoint(now.mono_ns) } else { now.mono_ns };
        self.now = now;
        self.at = self.clock();
        self.turn += 1;
        self.ran = 0;
        self.store.begin_turn(now);
    }

    /// The time of what begins now.
    #[inline]
    fn clock(&self) -> Millis {
        self.now.millis().max(self.seen)
    }

    /// Whether this turn has had its share of requests: then the runtime lets the replies leave before it feeds more.
    #[inline]
    pub fn turn_is_full(&self) -> bool {
        self.ran >= limits::LANE_REQUESTS_PER_TURN
    }

    /// `Err`: the refusal to write to the socket, which is then closed.
    pub fn open(&mut self, opening: &Opening) -> Result<ConnId, &'static [u8]> {
        self.stats.connections += 1;
        let open = self.acl.users.default_user().takes_any();
        let refusal = if opening.open_connections > self.config.clients_max() {
            TOO_MANY
        } else if open && self.config.protected_mode() && !opening.peer.ip().to_canonical().is_loopback() {
            PROTECTED
        } else {
            // Client numbers of one lane are congruent to it, so that KILL and UNBLOCK know where to go.
            self.clients.last_id += 1;
            let id = self.clients.last_id * u64::from(self.lanes.count()) + u64::from(self.me.0);
            let client = Client::new(id, opening, &self.acl, self.now.millis());
            let fsyncs = client.durability.fsyncs(self.config.journal_fsync());
            return Ok(ConnId(self.clients.slab.insert(Client { fsyncs, ..client })));
        };
        self.stats.rejected_connections += 1;
        Err(refusal)
    }

    /// The peer sends no more. What it has sent is run and answered, then the connection ends.
    pub fn eof(&mut self, conn: ConnId) {
        let Some(client) = self.clients.get(conn) else { return };
        if let Some(block) = self.clients.blocked.get(&client.id) {
            // Nobody would hear what comes of it, and what it took would be lost.
            self.part(*block, Parting::Gone);
            return self.hang_up(conn);
        }
        let waits = client.queued || client.waits || client.stalled_since.is_some();
        self.clients.close(conn, if waits { Closing::AfterInput } else { Closing::AfterFlush });
    }

    /// The socket is gone: frees all that the connection had.
    pub fn closed(&mut self, conn: ConnId) {
        self.drop_probe(conn);
        self.clients.monitors.remove(conn);
        self.follow_monitors();
        let Some(mut client) = self.clients.slab.remove(conn.0) else { return };
        self.release(&mut client.output);
        client.owed.into_outputs().for_each(|mut output| self.release(&mut output));
        self.store.graves.bury_pieces(client.inbound.into_pieces().chain([client.output.bytes]));
        if let Some(block) = self.clients.blocked.get(&client.id) {
            self.part(*block, Parting::Gone);
        }
        if let Some(multi) = client.multi {
            multi.queue.bury(&mut self.store.graves);
        }
        self.unwatch(client.watched);
        if let Some(gathering) = client.gathering {
            self.bury_longs(gathering.into_ropes());
        }
        if let Some(job) = client.job {
            job.abandon(&mut self.store.graves);
        }
    }

    /// Whether peers owe this shard answers, or it owes them some: then its lane may not end yet.
    pub fn awaits_answers(&self) -> bool {
        !self.debts.is_empty()
            || !self.txns.is_empty()
            || !self.guests.is_empty()
            || !self.guest_jobs.is_empty()
            || self.waiting.has_asked()
            || !self.is_written()
            || self.durable.as_ref().is_some_and(|durable| !durable.is_quiet())
    }

    /// Nothing is under way: no reply owed, no key held, nothing to tell another lane.
    pub fn is_quiet(&self) -> bool {
        self.debts.is_empty()
            && self.locks.is_empty()
            && self.lines.is_empty()
            && self.guests.is_empty()
            && self.txns.is_empty()
            && self.own_reports.is_empty()
            && self.guest_jobs.is_empty()
            && self.blocks.is_empty()
            && self.waiting.is_empty()
            && self.store.waiters.is_empty()
            && self.backlog.is_empty()
            && self.outboxes.iter().all(|outbox| outbox.is_empty())
    }

    /// What ran here since the last call, in its order; nothing unless the shard was set up to keep it.
    pub fn take_history(&mut self) -> Vec<Ran> {
        self.history.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// SIGTERM and SHUTDOWN: no more input is taken, what has been read is run, then every connection is closed.
    pub fn drain(&mut self) {
        self.draining = true;
        let conns: Vec<ConnId> = self.clients.slab.iter().map(|(key, _)| ConnId(key)).collect();
        conns.into_iter().for_each(|conn| self.eof(conn));
    }

    #[inline]
    pub fn next_order(&mut self) -> Option<Order> {
        self.clients.orders.pop_front()
    }

    /// Takes all output of `conn`. The empty `spare` goes to whichever connection next has something to say: one that is idle
    /// holds no buffer.
    #[inline]
    pub fn take_output(&mut self, conn: ConnId, spare: Output) -> Output {
        debug_assert!(spare.is_empty());
        let Some(client) = self.clients.get_mut(conn) else { return spare };
        client.flush_ordered = false;
        let output = std::mem::take(&mut client.output);
        let len = output.len();
        client.in_flight += len;
        let is_followed = client.probe.is_some();
        self.stats.net_output_bytes += len as u64;
        if is_followed {
            self.probe_taken(conn);
        }
        self.keep_spare(spare);
        output
    }

    /// An output has left or never will. What it was the last to hold dies in steps, if it is large.
    pub fn release(&mut self, output: &mut Output) {
        self.store.graves.bury_shared(output.shared.take_from(0).map(|splice| splice.value));
    }

    /// How many bytes of the taken output the kernel has not taken yet.
    #[inline]
    pub fn in_flight(&mut self, conn: ConnId, bytes: usize) {
        let Some(client) = self.clients.get_mut(conn) else { return };
        let progressed = bytes < client.in_flight;
        client.in_flight = bytes;
        let (is_stalled, is_followed) = (client.stalled_since.is_some(), client.probe.is_some());
        if progressed && is_stalled {
            self.output_progressed(conn);
        }
        if is_followed && bytes == 0 {
            self.probe_sent(conn);
        }
    }

    /// Background work within its budget; when it wants to be called again, in nanoseconds of the monotonic clock.
    pub fn tick(&mut self) -> Option<u64> {
        self.step_guest_jobs();
        let waits = self.end_overdue_waits();
        let store = self.tick_store();
        let base = self.say_some();
        let sweep = self.sweep_clients();
        let long = self.stalls.end_turn((self.stopwatch)(), self.now.mono_ns);
        if let Some((what, own_ns)) = long {
            self.stats.latency.note(Slow::Turn, what, own_ns, self.now.unix_us);
        }
        let linger = self.end_lingering();
        let journal = if self.keeps_journal() { self.tick_journal() } else { None };
        let rewrite = if self.rewrites.sleeps { None } else { self.steer_rewrites() };
        [store, sweep, waits, linger, journal, base, rewrite].into_iter().flatten().min()
    }

    /// Expires and frees; timed only when there is something to do.
    fn tick_store(&mut self) -> Option<u64> {
        if let Work::At(next) = self.store.next_work(self.now) {
            return next;
        }
        // Nothing expires by the clock before all is there: what is still to come may have made a key last longer.
        if self.loading.is_some() {
            return self.store.free(self.now);
        }
        let started = (self.stopwatch)();
        let locks = &self.locks;
        let next = self.store.tick(self.now, |key| locks.concerns(key));
        let took_ns = (self.stopwatch)().saturating_sub(started);
        self.stalls.note("expiring and freeing", took_ns);
        self.stats.latency.note(Slow::ExpireCycle, "expiring and freeing", took_ns, self.now.unix_us);
        next
    }

    /// Whether something large is being freed: then its memory shall go back as it becomes free.
    #[inline]
    pub fn is_freeing(&self) -> bool {
        !self.store.graves.is_empty()
    }

    pub fn config(&self) -> &Config {
        &self.config
    }

    /// What this shard holds.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// What the next random choice is to begin with, for whoever repeats what another shard ran.
    pub fn dictate_choice(&mut self, seed: Option<u64>) {
        self.store.dice.dictate(seed);
    }

    /// What its commands do, for the journal and for whoever must know.
    pub fn effects(&mut self) -> &mut Effects {
        &mut self.store.effects
    }

    /// Whether an option was set since the last call, for whoever keeps a copy of one.
    pub fn take_config_changed(&mut self) -> bool {
        std::mem::take(&mut self.clients.config_changed)
    }

    pub fn gauges(&mut self) -> &mut LaneGauges {
        &mut self.gauges
    }
}
