//! A lane and its turn: the loop that moves bytes between the ring and the shard.
//!
//! ```text
//!        +----------------------------------- one io_uring_enter: submits all sends, waits -------------+
//!        v                                                                                              |
//!   read clock -> shard.begin_turn -> shard.run_backlog -> reap: a batch of completions -> shard.foresee     |
//!                                     |    each of them -> shard.feed / open / eof, until the turn is full;  |
//!                                     v    a received buffer is back in the pool when feed returns           |
//!        shard.tick -> orders: take_output -> send queued ---- spin, or wait -------------------------------+
//! ```
//!
//! Per request there is no allocation, lock, channel, task or clock read. Outputs come from and return to a pool of the lane.
//! A connection has one send in flight; what its shard has meanwhile waits for that one's completion. The turn never awaits:
//! the glommio executor under it owns the thread and would serve tasks that live on files.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::time::Duration;

use super::clock::Clock;
use super::conn::{Conns, Reading, Settle};
use super::keepalive::Keepalive;
use super::log::{Level, say};
use super::ring::{Event, Lease, RecvEnd, Ring, SendId, Token};
use super::spin::{Poll, Spin};
use super::stop::Stopper;
use super::sys;
use crate::shard::{ConnId, Opening, Order, Shard};
use crate::wire::output::Output;

/// An accept that failed for want of descriptors is tried again after this pause: at once would spin, the backlog keeps them.
const ACCEPT_PAUSE_NS: u64 = 100_000_000;

/// The same trouble is told once in so long.
const SAY_AGAIN_NS: u64 = 60_000_000_000;

/// After SIGTERM, readers have this long to take their last replies.
const DRAIN_NS: u64 = 5_000_000_000;

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

pub(super) struct Listener {
    pub(super) socket: TcpListener,
    /// When to accept again after a failure.
    pub(super) resume_ns: Option<u64>,
}

pub(super) struct Lane {
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
    pub(super) fn new(ring: Ring, shard: Shard, clock: Clock, spin: Spin, stopper: Stopper) -> Self {
        Self {
            ring,
            shard,
            conns: Conns::default(),
            events: VecDeque::with_capacity(BATCH),
            spares: Spares::default(),
            listeners: Vec::new(),
            clock,
            spin,
            stopper,
            signals: None,
            leaving_ns: None,
            said_exhausted_ns: None,
            turns: 0,
            freeing: false,
            now_ns: 0,
        }
    }

    /// Serves `listeners`, which already listen, until told to stop; then answers what it has read and returns.
    pub(super) fn run(&mut self, listeners: Vec<TcpListener>, signals: Option<std::fs::File>) -> io::Result<()> {
        self.listeners = listeners.into_iter().map(|socket| Listener { socket, resume_ns: None }).collect();
        for (number, listener) in (0..).zip(&self.listeners) {
            self.ring.accept(number, listener.socket.as_raw_fd());
        }
        self.ring.watch(WATCH_STOP, self.stopper.fd());
        if let Some(signals) = &signals {
            self.ring.watch(WATCH_SIGNAL, signals.as_raw_fd());
        }
        self.signals = signals;
        loop {
            let deadline_ns = self.turn();
            // Asked between the two: what the turn has closed last must not be waited for.
            if self.left() {
                return self.ring.submit();
            }
            self.rest(deadline_ns)?;
        }
    }

    /// One turn. Returns when the next is wanted at the latest.
    fn turn(&mut self) -> Option<u64> {
        self.turns += 1;
        let now = self.clock.read();
        self.now_ns = now.mono_ns;
        self.shard.begin_turn(now);
        self.shard.run_backlog();
        self.reap();
        let wanted_ns = self.shard.tick();
        self.follow_freeing();
        let resume_ns = self.resume_accepting();
        self.obey();
        if self.shard.take_config_changed() {
            self.follow_config();
        }
        let leave_ns = self.leaving_ns.map(|since| since + DRAIN_NS);
        [wanted_ns, resume_ns, leave_ns].into_iter().flatten().min()
    }

    /// What the lane keeps of the options: polling from now on, keepalive for connections accepted from now on.
    fn follow_config(&mut self) {
        let config = self.shard.config();
        self.spin.set_poll(Poll::of(config.poll_us()));
        let keepalive = Keepalive::of(config.tcp_keepalive_s());
        for listener in &self.listeners {
            if let Err(error) = keepalive.set(&listener.socket) {
                say(Level::Warning, &format!("cannot change tcp-keepalive of new connections: {error}"));
            }
        }
    }

    /// Tells the allocator when freed memory shall go back at once.
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
        let left_ns = deadline_ns.map(|deadline| deadline.saturating_sub(self.now_ns));
        if left_ns == Some(0) {
            return self.ring.submit();
        }
        let budget_ns = self.spin.budget_ns(self.now_ns, sys::involuntary_switches);
        if budget_ns > 0 {
            self.ring.submit()?;
            let caught = self.spin(budget_ns.min(left_ns.unwrap_or(u64::MAX)));
            self.spin.spun(caught);
            let gauges = self.shard.gauges();
            gauges.spins_paid += u64::from(caught);
            gauges.spins_wasted += u64::from(!caught);
        }
        self.shard.gauges().waits += 1;
        self.ring.wait(left_ns.map(Duration::from_nanos))
    }

    /// Looks at the ring's flags until something is there or the budget is spent.
    fn spin(&mut self, budget_ns: u64) -> bool {
        let until_ns = sys::monotonic_ns() + budget_ns;
        loop {
            for _ in 0..16 {
                if self.ring.ready() {
                    return true;
                }
                std::hint::spin_loop();
            }
            if sys::monotonic_ns() >= until_ns {
                return false;
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
                        self.spin.heard(token.conn);
                    }
                    self.received(token, lease, armed);
                }
                Event::Sent { send, token, left } => self.sent(send, token, left),
                Event::ReceiveEnded { token, end } => self.receive_ended(token, end),
                Event::SendFailed { send, token } => self.send_failed(send, token),
                Event::Accepted { listener, stream, armed } => self.accepted(listener, stream, armed),
                Event::AcceptEnded { listener, errno } => self.accept_ended(listener, errno),
                Event::Readable { watch } => self.readable(watch),
                Event::Rung { .. } | Event::Done => {}
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
        self.spares.put(self.ring.take_back(send));
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
                Order::StopReading(ConnId(number)) => {
                    let reading = self.conns.at(number).map_or(Reading::Leave, |conn| conn.stop_reading());
                    self.steer(number, reading);
                }
                Order::Read(ConnId(number)) => {
                    let reading = self.conns.at(number).map_or(Reading::Leave, |conn| conn.read());
                    self.steer(number, reading);
                }
                Order::Hold(span) => std::thread::sleep(span),
                Order::Stop => self.stopper.stop(),
            }
        }
    }

    fn steer(&mut self, number: u32, reading: Reading) {
        let Some(conn) = self.conns.at(number) else { return };
        match reading {
            Reading::Leave => {}
            Reading::Arm => self.ring.receive(conn.token(), conn.fd()),
            Reading::Cancel => self.ring.cancel_receive(conn.token()),
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
                if receive {
                    self.ring.cancel_receive(token);
                }
                if let Some(send) = send {
                    self.ring.cancel_send(send);
                }
            }
            Settle::Close => {
                let fd = self.conns.remove(number).expect("a connection is closed once");
                self.ring.close(fd);
                self.shard.closed(ConnId(number));
            }
        }
    }

    fn accepted(&mut self, listener: u32, stream: TcpStream, armed: bool) {
        if self.leaving_ns.is_none() {
            self.welcome(stream);
        }
        if !armed {
            self.accept_again(listener, self.now_ns);
        }
    }

    fn welcome(&mut self, stream: TcpStream) {
        // A peer that has already gone has no address.
        let (Ok(peer), Ok(local)) = (stream.peer_addr(), stream.local_addr()) else { return };
        match self.shard.open(&Opening { peer, local, fd: stream.as_raw_fd() }) {
            Ok(ConnId(number)) => {
                self.shard.gauges().accepted += 1;
                let reading = self.conns.insert(number, stream.into()).read();
                self.steer(number, reading);
            }
            Err(refusal) => {
                self.shard.gauges().refused += 1;
                // A fresh socket's buffer takes a line at once; if not, the peer sees only the close.
                let _ = stream.set_nonblocking(true);
                let _ = (&stream).write(refusal);
            }
        }
    }

    fn accept_ended(&mut self, listener: u32, errno: i32) {
        if self.leaving_ns.is_some() {
            return;
        }
        self.shard.gauges().accept_errors += 1;
        let exhausted = matches!(errno, libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM);
        let said_lately = self.said_exhausted_ns.is_some_and(|said_ns| self.now_ns < said_ns + SAY_AGAIN_NS);
        if exhausted && !said_lately {
            self.said_exhausted_ns = Some(self.now_ns);
            let error = io::Error::from_raw_os_error(errno);
            say(
                Level::Warning,
                &format!("Cannot accept connections: {error}. Raise the limit of open files (ulimit -n)."),
            );
        }
        // A single peer that vanished (ECONNABORTED) is no reason to pause.
        let pause_ns = if errno == libc::ECONNABORTED { 0 } else { ACCEPT_PAUSE_NS };
        self.accept_again(listener, self.now_ns + pause_ns);
    }

    fn accept_again(&mut self, listener: u32, at_ns: u64) {
        if let Some(listener) = self.listeners.get_mut(listener as usize) {
            listener.resume_ns = Some(at_ns);
        }
    }

    /// Arms the accepts whose pause is over. Returns when the next one is.
    fn resume_accepting(&mut self) -> Option<u64> {
        let mut next_ns = None;
        for (number, listener) in (0..).zip(&mut self.listeners) {
            match listener.resume_ns {
                Some(at_ns) if at_ns <= self.now_ns => {
                    listener.resume_ns = None;
                    self.ring.accept(number, listener.socket.as_raw_fd());
                }
                Some(at_ns) => next_ns = Some(next_ns.map_or(at_ns, |next: u64| next.min(at_ns))),
                None => {}
            }
        }
        next_ns
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
        for (number, listener) in (0..).zip(std::mem::take(&mut self.listeners)) {
            self.ring.cancel_accept(number);
            // The kernel holds the socket until the cancel, submitted before the close, has ended its accept.
            self.ring.close(listener.socket.into());
        }
        self.shard.drain();
    }

    /// All connections are closed, or the time for slow readers is over.
    fn left(&mut self) -> bool {
        let Some(since_ns) = self.leaving_ns else { return false };
        if self.conns.len() == 0 && !self.shard.has_backlog() {
            return true;
        }
        let late = self.now_ns >= since_ns + DRAIN_NS;
        if late {
            let text = format!("{} connections did not take their last replies in time", self.conns.len());
            say(Level::Warning, &text);
        }
        late
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
