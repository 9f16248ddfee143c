//! A lane and its turn: the loop that moves bytes between the ring, the mesh and the shard.
//!
//! ```text
//!        +----------------------------------- one io_uring_enter: submits all, waits -----------------------+
//!        v                                                                                              |
//!   read clock -> shard.begin_turn -> shard.run_backlog -> reap: a batch of completions -> shard.foresee     |
//!                                     |    each of them -> shard.feed / open / eof, until the turn is full;  |
//!                                     |    a received buffer is back in the pool when feed returns           |
//!                                     |  collect: what peers sent -> shard.deliver, until the turn is full   |
//!                                     v                                                                      |
//!        shard.tick -> orders: take_output -> send queued -> parcels to peers, doorbells ---- spin, or wait -+
//! ```
//!
//! Per request there is no allocation, lock, channel, task or clock read. Outputs come from and return to a pool of the lane.
//! A connection has one send in flight; what its shard has meanwhile waits for that one's completion. Sockets and peers come
//! first in turn, so that a flood of the one does not starve the other. The turn never awaits: the glommio executor under it
//! owns the thread and would serve tasks that live on files.

mod accept;

use std::collections::VecDeque;
use std::io;
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::time::Duration;

use super::archive::{LaneFiles, Refusal};
use super::boot::BootError;
use super::census::Census;
use super::clock::Clock;
use super::conn::{Conn, Conns, Reading, Settle};
use super::departure::{Departure, Settled};
use super::disk::{Disk, Outcome};
use super::doorbell::Doorbell;
use super::keepalive::Keepalive;
use super::keeper::{News, Port, Task};
use super::loader::Loader;
use super::loading::{Loading, Next};
use super::log::{Level, plain, say};
use super::mesh::{Drain, Mesh};
use super::opening::Beginning;
use super::ports::Door;
use super::ring::{Event, Lease, Pool, RecvEnd, Ring, SendId, Token};
use super::segments::{LogFile, Supply};
use super::spin::{Poll, Spin, Talker};
use super::stop::Stopper;
use super::sys;
use crate::base::time::Now;
use crate::shard::{ConnId, Keeping, Order, Parcel, Shard, ShardId};
use crate::wire::output::Output;
use accept::Listener;

/// After SIGTERM, readers have this long to take their last replies.
const DRAIN_NS: u64 = 5_000_000_000;

/// A peer whose ring is full does not say when it has room again: so long until it is tried again.
const RETRY_NS: u64 = 100_000;

/// Spare outputs: a larger one is freed (it grew for one reply), more in number or total are not kept.
const SPARE_BYTES_MAX: usize = 64 << 10;
const SPARES_MAX: usize = 1024;
const SPARES_BYTES_MAX: usize = 4 << 20;

/// Completions taken from the ring at once. Their inputs are foreseen together: as many as hide each other's waits for memory,
/// not so many that what was loaded is gone again when it is used.
const BATCH: usize = 32;

/// Watch numbers.
const WATCH_STOP: u32 = 0;
const WATCH_SIGNAL: u32 = 1;

/// What one lane may send to another.
pub(super) enum Post {
    Parcel(Box<Parcel>),
    /// A connection, counted in for its new lane: how many there were with it.
    Adopt {
        stream: TcpStream,
        open_connections: usize,
    },
}

/// A post is moved twice; what is large goes by pointer.
const _: () = assert!(size_of::<Post>() <= 16);

/// What a lane is made of.
pub(super) struct Outfit {
    pub(super) id: ShardId,
    pub(super) ring: Ring,
    pub(super) shard: Shard,
    pub(super) clock: Clock,
    pub(super) spin: Spin,
    pub(super) stopper: Stopper,
    pub(super) mesh: Mesh<Post>,
    pub(super) doorbell: Doorbell,
    pub(super) departure: Departure,
    pub(super) census: Census,
    pub(super) supply: Supply,
    /// If there is a journal from the start.
    pub(super) loading: Option<Loading>,
    pub(super) keeper: Port,
    /// To be said when this lane serves.
    pub(super) ready: Option<String>,
}

pub(super) struct Lane {
    id: ShardId,
    ring: Ring,
    shard: Shard,
    conns: Conns,
    /// Completions of a batch that were not acted on yet: a full turn leaves some to the next.
    events: VecDeque<Event>,
    spares: Spares,
    listeners: Vec<Listener>,
    clock: Clock,
    spin: Spin,
    stopper: Stopper,
    mesh: Mesh<Post>,
    doorbell: Doorbell,
    departure: Departure,
    census: Census,
    disk: Option<Disk>,
    /// The volume of the journal that the disk's file is of, and files of those to come.
    volume: Option<u32>,
    logs: VecDeque<(u32, LogFile)>,
    /// What makes segments for it, until there is a disk.
    supply: Option<Supply>,
    loading: Option<Loading>,
    keeper: Port,
    ready: Option<String>,
    /// Why the journal cannot be loaded.
    refusal: Option<Refusal>,
    /// An empty buffer for a piece of a base.
    spare_piece: Vec<u8>,
    /// A peer's ring was full, and there may be more for it.
    held_back: bool,
    /// Lane 0 also hears the process's signals.
    signals: Option<std::fs::File>,
    /// Since when this lane is leaving.
    leaving_ns: Option<u64>,
    /// When the operator was last told that descriptors are out.
    said_exhausted_ns: Option<u64>,
    turns: u64,
    /// Whether the shard was freeing something large in the last turn.
    freeing: bool,
    now_ns: u64,
}

impl Lane {
    pub(super) fn new(outfit: Outfit) -> Self {
        Self {
            id: outfit.id,
            ring: outfit.ring,
            shard: outfit.shard,
            conns: Conns::default(),
            events: VecDeque::with_capacity(BATCH),
            spares: Spares::default(),
            listeners: Vec::new(),
            clock: outfit.clock,
            spin: outfit.spin,
            stopper: outfit.stopper,
            mesh: outfit.mesh,
            doorbell: outfit.doorbell,
            departure: outfit.departure,
            census: outfit.census,
            disk: None,
            volume: None,
            logs: VecDeque::new(),
            supply: Some(outfit.supply),
            loading: outfit.loading,
            keeper: outfit.keeper,
            ready: outfit.ready,
            refusal: None,
            spare_piece: Vec::new(),
            held_back: false,
            signals: None,
            leaving_ns: None,
            said_exhausted_ns: None,
            turns: 0,
            freeing: false,
            now_ns: 0,
        }
    }

    /// Serves what comes in at `doors`, which already listen, until told to stop; then answers what it has read and returns.
    ///
    /// # Errors
    /// What breaks its ring, and why the journal cannot be loaded.
    pub(super) fn run(&mut self, doors: Vec<Door>, signals: Option<std::fs::File>) -> Result<(), BootError> {
        let ring = |error| BootError::Failed { what: "a lane's ring", error };
        if self.loading.is_none() {
            self.say_ready();
        }
        self.open_doors(doors);
        self.ring.watch(WATCH_STOP, self.stopper.fd());
        if let Some(signals) = &signals {
            self.ring.watch(WATCH_SIGNAL, signals.as_raw_fd());
        }
        self.signals = signals;
        loop {
            let deadline_ns = self.turn();
            // Asked between the two: what the turn has closed last must not be waited for.
            if self.left() {
                self.disk.take().into_iter().for_each(Disk::close);
                self.ring.submit().map_err(ring)?;
                return self.refusal.take().map_or(Ok(()), |refusal| Err(BootError::Journal(refusal)));
            }
            self.rest(deadline_ns).map_err(ring)?;
        }
    }

    /// Whether the journal lacks something, for whoever asks at the end.
    pub(super) fn is_journal_broken(&self) -> bool {
        self.shard.is_journal_broken()
    }

    /// One turn. Returns when the next is wanted at the latest.
    fn turn(&mut self) -> Option<u64> {
        self.turns += 1;
        let now = self.clock.read();
        self.now_ns = now.mono_ns;
        self.shard.begin_turn(now);
        let load_ns = if self.loading.is_some() { self.load(now) } else { None };
        if self.shard.awaits_keeper() {
            self.hear_keeper();
        }
        self.shard.run_backlog();
        if self.turns.is_multiple_of(2) {
            self.reap();
            self.collect();
        } else {
            self.collect();
            self.reap();
        }
        self.follow_freeing();
        let wanted_ns = self.shard.tick();
        let resume_ns = self.resume_accepting();
        self.obey();
        if self.shard.take_config_changed() {
            self.follow_config();
        }
        self.keep_journal();
        if self.shard.awaits_keeper() {
            self.ask_keeper();
        }
        self.dispatch();
        let leave_ns = self.leaving_ns.map(|since| since + DRAIN_NS);
        let retry_ns = self.held_back.then_some(self.now_ns + RETRY_NS);
        [wanted_ns, resume_ns, leave_ns, retry_ns, load_ns].into_iter().flatten().min()
    }

    /// Takes what peers have sent. What a full turn leaves comes in the next.
    #[inline]
    fn collect(&mut self) {
        if self.shard.turn_is_full() || !self.mesh.has_mail() {
            return;
        }
        let Self { mesh, shard, spin, loading, .. } = self;
        let mut adopted = Vec::new();
        mesh.drain(|from, post| {
            match post {
                Post::Parcel(parcel) => {
                    spin.heard(Talker::Lane(from));
                    // Who sent it may have seen that all is loaded when this lane had not yet looked.
                    if loading.as_ref().is_some_and(Loading::is_over) {
                        shard.set_loading(None);
                    }
                    shard.deliver(from, parcel);
                }
                Post::Adopt { stream, open_connections } => adopted.push((stream, open_connections)),
            }
            if shard.turn_is_full() { Drain::Enough } else { Drain::On }
        });
        for (stream, open_connections) in adopted {
            self.adopt(stream, open_connections);
        }
    }

    /// Hands each peer what the turn has for it, and rings those that wait.
    #[inline]
    fn dispatch(&mut self) {
        let Self { mesh, shard, doorbell, ring, .. } = self;
        self.held_back = !mesh.flush(|peer| shard.take_parcel(peer).map(Post::Parcel));
        if mesh.has_untold() {
            doorbell.ring(mesh.untold(), ring);
        }
    }

    /// Starts the next write of the journal, if it is time for one.
    #[inline]
    fn keep_journal(&mut self) {
        if self.shard.keeps_journal() {
            self.write_journal();
        }
    }

    fn write_journal(&mut self) {
        let mut bytes = self.disk.as_mut().map(Disk::spare).unwrap_or_default();
        let sync = self.shard.next_write(&mut bytes);
        if sync.is_some() && self.shard.journal_volume() != self.volume {
            self.turn_page();
        }
        let Some(disk) = &mut self.disk else { return };
        match sync {
            Some(sync) => disk.write(&mut self.ring, bytes, sync),
            None => disk.put_back(bytes),
        }
    }

    /// The next write of the journal begins a file, which the keeper has sent before the lanes came to the mark.
    fn turn_page(&mut self) {
        self.volume = self.shard.journal_volume();
        let file = loop {
            match self.logs.pop_front() {
                Some((volume, file)) if Some(volume) == self.volume => break file,
                // Nothing was written to one before it.
                Some(_) => {}
                None => {
                    let news = self.keeper.news.recv().expect("the keeper lives as long as the lanes");
                    self.heard_keeper(news);
                }
            }
        };
        match &mut self.disk {
            Some(disk) => disk.turn(file),
            None => {
                let supply = self.supply.take().expect("it is the disk's from the first file on");
                self.disk = Some(Disk::new(file, supply));
            }
        }
    }

    #[cold]
    fn hear_keeper(&mut self) {
        while let Ok(news) = self.keeper.news.try_recv() {
            self.heard_keeper(news);
        }
    }

    fn heard_keeper(&mut self, news: News) {
        match news {
            News::Opened(beginning) => self.begin_journal(*beginning),
            News::Prepared { prepared, log } => {
                self.logs.extend(prepared.log.zip(log));
                if self.id.0 == 0 {
                    self.shard.prepared(prepared);
                }
            }
            News::Refused => self.shard.not_prepared(),
            News::Taken(spare) => {
                self.spare_piece = spare;
                self.shard.piece_taken();
            }
            News::Rewritten { marks } => self.shard.rewritten(&marks),
            News::Failed => self.shard.not_rewritten(),
        }
    }

    #[cold]
    fn ask_keeper(&mut self) {
        if let Some(preparation) = self.shard.next_preparation() {
            self.tell_keeper(Task::Prepare(preparation));
        }
        let mut bytes = std::mem::take(&mut self.spare_piece);
        match self.shard.next_piece(&mut bytes) {
            Some(piece) => self.tell_keeper(Task::Base { lane: self.id, bytes, piece }),
            None => self.spare_piece = bytes,
        }
    }

    fn tell_keeper(&mut self, task: Task) {
        let told = self.keeper.tasks.send(task);
        assert!(told.is_ok(), "the keeper lives as long as the lanes");
    }

    /// A write of the journal has come to its end, or one step nearer.
    fn written(&mut self, step: impl FnOnce(&mut Disk, &mut Ring) -> Outcome) {
        let disk = self.disk.as_mut().expect("writes are the journal's");
        match step(disk, &mut self.ring) {
            Outcome::Pending => {}
            Outcome::Done => self.shard.write_done(),
            Outcome::Failed { errno } => {
                let why = plain(&io::Error::from_raw_os_error(errno));
                let at = disk.place();
                let text = format!(
                    "the journal of lane {} cannot be written any more: {why} ({at}): free space, or see what the kernel says of the disk; \
                     writes are refused until the journal, which is tried again and again, has been rewritten",
                    self.id.0
                );
                say(Level::Warning, &text);
                self.shard.write_failed(&why);
            }
        }
    }

    /// The journal's directory is open.
    fn begin_journal(&mut self, Beginning { files, held_bytes, is_foreign, moving }: Beginning) {
        let LaneFiles { file, origin, start, load } = files;
        let fsync = self.shard.config().fsync();
        self.shard.begin_journal(Keeping { origin, start, fsync, held_bytes, rewrite: is_foreign });
        let supply = self.supply.take().expect("it is the disk's from the first file on");
        (self.volume, self.disk) = (Some(origin.volume), Some(Disk::new(file, supply)));
        self.loading.as_mut().expect("it waits for this").begin(moving, Loader::new(load));
    }

    /// Loads a piece of what the journal held; when all lanes have loaded all, commands are served. When the next piece may come.
    #[cold]
    fn load(&mut self, now: Now) -> Option<u64> {
        if self.loading.as_ref().is_some_and(Loading::awaits_keeper) {
            self.hear_keeper();
        }
        match self.loading.as_mut()?.step(&mut self.shard, now) {
            Ok(Next::At(next_ns)) => Some(next_ns),
            Ok(Next::Done) => {
                self.loading = None;
                self.say_ready();
                None
            }
            Err(refusal) => {
                self.loading = None;
                self.refusal = Some(refusal);
                self.stopper.stop();
                None
            }
        }
    }

    fn say_ready(&mut self) {
        self.ready.take().into_iter().for_each(|line| say(Level::Notice, &line));
    }

    /// What the lane keeps of the options: polling from now on, keepalive for connections accepted from now on.
    fn follow_config(&mut self) {
        let config = self.shard.config();
        self.spin.set_poll(Poll::of(config.poll_us()));
        self.follow_keepalive(Keepalive::of(config.tcp_keepalive_s()));
    }

    /// Tells the allocator when freed memory shall go back at once: before the tick that frees it.
    #[inline]
    fn follow_freeing(&mut self) {
        let freeing = self.shard.is_freeing();
        if freeing != self.freeing {
            self.freeing = freeing;
            sys::set_purge(if freeing { sys::Purge::AtOnce } else { sys::Purge::Lazily });
        }
    }

    /// Submits the turn's work and waits for more, unless there is some already.
    fn rest(&mut self, deadline_ns: Option<u64>) -> io::Result<()> {
        if self.shard.has_backlog() || self.shard.turn_is_full() {
            return self.ring.submit();
        }
        if self.mesh.has_mail() {
            return self.ring.submit();
        }
        let left_ns = deadline_ns.map(|deadline| deadline.saturating_sub(self.now_ns));
        if left_ns == Some(0) {
            return self.ring.submit();
        }
        let budget_ns = self.spin.budget_ns(self.now_ns, sys::involuntary_switches);
        if budget_ns > 0 {
            self.ring.submit()?;
            let (caught, spun_ns) = self.spin(budget_ns.min(left_ns.unwrap_or(u64::MAX)));
            self.spin.spun(caught);
            let gauges = self.shard.gauges();
            gauges.polled_ns += spun_ns;
            gauges.spins_paid += u64::from(caught);
            gauges.spins_wasted += u64::from(!caught);
        }
        self.shard.gauges().waits += 1;
        let Self { doorbell, ring, mesh, .. } = self;
        doorbell.wait(ring, || mesh.has_mail(), left_ns.map(Duration::from_nanos))
    }

    /// Looks at the ring's flags and the inboxes until something is there or the budget is spent: whether something is, and how long that
    /// took. What is beyond the budget was somebody else's time on this core.
    fn spin(&mut self, budget_ns: u64) -> (bool, u64) {
        let began_ns = sys::monotonic_ns();
        let spun_ns = || (sys::monotonic_ns() - began_ns).min(budget_ns);
        loop {
            for _ in 0..16 {
                if self.ring.ready() || self.mesh.has_mail() {
                    return (true, spun_ns());
                }
                std::hint::spin_loop();
            }
            if spun_ns() >= budget_ns {
                return (false, budget_ns);
            }
        }
    }

    fn reap(&mut self) {
        let mut heard = false;
        // What a full turn leaves comes first in the next.
        while !self.shard.turn_is_full()
            && let Some(event) = self.next_event()
        {
            match event {
                Event::Received { token, lease, armed } => {
                    if !std::mem::replace(&mut heard, true) {
                        self.spin.heard(Talker::Conn(token.conn));
                    }
                    self.received(token, lease, armed);
                }
                Event::Sent { send, token, left } => self.sent(send, token, left),
                Event::ReceiveEnded { token, end } => self.receive_ended(token, end),
                Event::SendFailed { send, token } => self.send_failed(send, token),
                Event::Wrote { write, left } => self.written(|disk, ring| disk.wrote(ring, write, left)),
                Event::WriteFailed { write, errno } => {
                    self.written(|disk, ring| disk.write_failed(ring, write, errno));
                }
                Event::Synced { errno } => self.written(|disk, ring| disk.synced(ring, errno)),
                Event::Accepted { listener, stream, armed } => self.accepted(listener, stream, armed),
                Event::AcceptEnded { listener, errno } => self.accept_ended(listener, errno),
                Event::Readable { watch } => self.readable(watch),
                Event::Rung | Event::Done => {}
            }
        }
        let (turns, entered, connections) = (self.turns, self.ring.entered(), self.conns.len() as u64);
        let overflowed = u64::from(self.ring.overflowed());
        let gauges = self.shard.gauges();
        gauges.turns = turns;
        gauges.enters = entered;
        gauges.connections = connections;
        gauges.completions_overflowed += overflowed;
    }

    /// The next completion; the first of a batch has the inputs of all foreseen.
    #[inline]
    fn next_event(&mut self) -> Option<Event> {
        if self.events.is_empty() {
            self.gather();
        }
        self.events.pop_front()
    }

    fn gather(&mut self) {
        let Self { ring, shard, events, .. } = self;
        while events.len() < BATCH
            && let Some(event) = ring.next_event()
        {
            events.push_back(event);
        }
        if events.len() > 1 {
            shard.foresee(events.iter().filter_map(|event| match event {
                Event::Received { token, lease, .. } => Some((ConnId(token.conn), ring.bytes(lease))),
                _ => None,
            }));
        }
    }

    #[inline]
    fn received(&mut self, token: Token, lease: Lease, armed: bool) {
        if let Some(conn) = self.conns.of(token) {
            if conn.is_open() {
                let bytes = self.ring.bytes(&lease);
                let gauges = self.shard.gauges();
                gauges.receives += 1;
                gauges.received_bytes += bytes.len() as u64;
                self.shard.feed(ConnId(token.conn), bytes);
            }
            if !armed {
                let reading = conn.receive_stopped();
                self.steer(token.conn, reading);
                self.settle(token.conn);
            }
        }
        self.ring.give_back(lease);
    }

    fn receive_ended(&mut self, token: Token, end: RecvEnd) {
        let Some(conn) = self.conns.of(token) else { return };
        match end {
            RecvEnd::Eof => {
                conn.receive_ended();
                if conn.is_open() {
                    self.shard.eof(ConnId(token.conn));
                }
            }
            RecvEnd::NoBuffers | RecvEnd::Cancelled => {
                let reading = conn.receive_stopped();
                self.shard.gauges().buffers_exhausted += u64::from(matches!(end, RecvEnd::NoBuffers));
                self.steer(token.conn, reading);
            }
            RecvEnd::Failed => {
                conn.receive_ended();
                let settle = conn.sever();
                return self.perform(token.conn, settle);
            }
        }
        self.settle(token.conn);
    }

    #[inline]
    fn sent(&mut self, send: SendId, token: Token, left: usize) {
        let conn = self.conns.of(token).expect("a connection outlives its send in flight");
        if left > 0 && conn.send_continues() {
            self.ring.send_rest(send);
            self.shard.gauges().partial_sends += 1;
            return self.shard.in_flight(ConnId(token.conn), left);
        }
        self.send_over(send, token.conn);
    }

    fn send_failed(&mut self, send: SendId, token: Token) {
        let conn = self.conns.of(token).expect("a connection outlives its send in flight");
        conn.send_failed();
        self.send_over(send, token.conn);
    }

    fn send_over(&mut self, send: SendId, number: u32) {
        let mut output = self.ring.take_back(send);
        if !output.shared.is_empty() {
            self.shard.release(&mut output);
        }
        self.spares.put(output);
        self.shard.in_flight(ConnId(number), 0);
        let conn = self.conns.at(number).expect("looked up by the caller");
        if conn.send_ended() {
            self.send(number);
        }
        self.settle(number);
    }

    /// Takes the shard's output of a connection and queues it.
    #[inline]
    fn send(&mut self, number: u32) {
        let Some(conn) = self.conns.at(number) else { return };
        let output = self.shard.take_output(ConnId(number), self.spares.take());
        if output.bytes.is_empty() && output.shared.is_empty() {
            return self.spares.put(output);
        }
        let (len, name) = self.ring.send(conn.token(), conn.fd(), output);
        conn.send_started(name);
        self.shard.in_flight(ConnId(number), len);
        let gauges = self.shard.gauges();
        gauges.sends += 1;
        gauges.sent_bytes += len as u64;
    }

    fn obey(&mut self) {
        while let Some(order) = self.shard.next_order() {
            match order {
                Order::Flush(ConnId(number)) => {
                    if self.conns.at(number).is_some_and(|conn| conn.flush()) {
                        self.send(number);
                    }
                }
                Order::CloseAfterFlush(ConnId(number)) => {
                    if self.conns.at(number).is_some_and(|conn| conn.close_after_flush()) {
                        self.send(number);
                    }
                    self.settle(number);
                }
                Order::Close(ConnId(number)) => self.sever(number),
                Order::StopReading(conn) => self.change_reading(conn, Conn::stop_reading),
                Order::Read(conn) => self.change_reading(conn, Conn::read),
                Order::ReadLong(conn) => self.change_reading(conn, |conn| conn.read_into(Pool::Long)),
                Order::ReadShort(conn) => self.change_reading(conn, |conn| conn.read_into(Pool::Common)),
                Order::Hold(span) => std::thread::sleep(span),
                Order::Stop => self.stopper.stop(),
            }
        }
    }

    fn change_reading(&mut self, ConnId(number): ConnId, change: impl FnOnce(&mut Conn) -> Reading) {
        let reading = self.conns.at(number).map_or(Reading::Leave, change);
        self.steer(number, reading);
    }

    fn steer(&mut self, number: u32, reading: Reading) {
        let Some(conn) = self.conns.at(number) else { return };
        match reading {
            Reading::Leave => {}
            Reading::Arm(pool) => self.ring.receive(conn.token(), conn.fd(), pool),
            Reading::Cancel(pool) => self.ring.cancel_receive(conn.token(), pool),
        }
    }

    fn sever(&mut self, number: u32) {
        let Some(conn) = self.conns.at(number) else { return };
        let settle = conn.sever();
        self.perform(number, settle);
    }

    fn settle(&mut self, number: u32) {
        let Some(conn) = self.conns.at(number) else { return };
        let settle = conn.settle();
        self.perform(number, settle);
    }

    fn perform(&mut self, number: u32, settle: Settle) {
        match settle {
            Settle::Nothing => {}
            Settle::Cancel { receive, send } => {
                let token = self.conns.at(number).expect("a connection in flight exists").token();
                if let Some(pool) = receive {
                    self.ring.cancel_receive(token, pool);
                }
                if let Some(send) = send {
                    self.ring.cancel_send(send);
                }
            }
            Settle::Close => {
                let fd = self.conns.remove(number).expect("a connection is closed once");
                self.ring.dismiss(number, fd);
                self.shard.closed(ConnId(number));
                self.census.leave(self.id);
            }
        }
    }

    fn readable(&mut self, watch: u32) {
        match watch {
            WATCH_SIGNAL => {
                let Some(signals) = &mut self.signals else { return };
                say(Level::Notice, &format!("Received {}, shutting down", sys::signal_name(signals)));
                self.stopper.stop();
            }
            _ => self.leave(),
        }
    }

    /// Stops accepting, lets the shard finish what was read, and sends it.
    fn leave(&mut self) {
        self.leaving_ns = Some(self.now_ns);
        self.close_doors();
        self.shard.drain();
    }

    /// Whether this lane may end: nobody needs it any more, or the time for slow readers is over.
    fn left(&mut self) -> bool {
        let Some(since_ns) = self.leaving_ns else { return false };
        if self.now_ns >= since_ns + DRAIN_NS {
            let text = format!("{} connections did not take their last replies in time", self.conns.len());
            say(Level::Warning, &text);
            return true;
        }
        let needs_nobody = self.conns.len() == 0 && !self.shard.has_backlog() && !self.shard.awaits_answers();
        if needs_nobody && !self.departure.has_settled() && self.departure.settle() == Settled::WakeOthers {
            self.doorbell.ring_all(&mut self.ring);
        }
        self.departure.is_over()
    }
}

/// Empty outputs with their capacity, last returned first out: it is the warmest.
#[derive(Default)]
struct Spares {
    outputs: Vec<Output>,
    bytes: usize,
}

impl Spares {
    #[inline]
    fn take(&mut self) -> Output {
        let output = self.outputs.pop().unwrap_or_default();
        self.bytes -= output.bytes.capacity();
        output
    }

    #[inline]
    fn put(&mut self, mut output: Output) {
        let capacity = output.bytes.capacity();
        if capacity > SPARE_BYTES_MAX || self.outputs.len() >= SPARES_MAX || self.bytes + capacity > SPARES_BYTES_MAX {
            return;
        }
        output.bytes.clear();
        output.shared.clear();
        self.bytes += capacity;
        self.outputs.push(output);
    }
}
