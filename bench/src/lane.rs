//! One thread of the load: its connections, its ring, and the turn that keeps them busy.
//!
//! ```text
//!   turn: enter (all sends + wait) -> now -> replies: check, record -> closed: refill   open: what is due
//!         -> one send per connection that has something
//! ```
//!
//! Closed loop: a connection sends `depth` requests in one write, and the next ones when all replies are there, as
//! redis-benchmark does. Open loop: requests leave when they are due, on whichever connection is next in turn, at
//! most `depth` outstanding on each; what finds no room waits, and its latency counts from when it was due.
//!
//! The client must be cheaper than the fastest server: one system call a turn, one clock read for all replies of a
//! turn and one for all sends, requests by copying a template.

use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fastrand::Rng;
use hdrhistogram::Histogram;

use crate::clock::{Clock, Nanos};
use crate::keys::Keys;
use crate::ring::{Event, Ring, Shape, Slot, Storage, Wait};
use crate::schedule::{Schedule, ready};
use crate::verify::{Checker, Wrong};
use crate::workload::{Kind, Mix};

/// A thread looks at the clock at least this often, so that it ends in time also when the server is silent.
const SILENCE_MAX: Duration = Duration::from_millis(100);
/// A server that leaves every connection without a reply for this long has failed the run.
const PATIENCE: Duration = Duration::from_secs(20);
/// Waking by a timer is late by about this much; the rest of the way to a due request is spun.
const TIMER_GRAIN: Duration = Duration::from_micros(60);
/// Stands for "room since" while no connection has any.
const FULL: Nanos = Nanos(u64::MAX);
const BUFFER_BYTES: u32 = 32 << 10;
const BUFFERS: u16 = 256;
/// Latencies from 1 ns to 100 s with three digits.
const LATENCY_MAX_NS: u64 = 100_000_000_000;

/// Why a run failed.
#[derive(Debug)]
pub(crate) enum Fault {
    Io(io::Error),
    Wrong(Wrong),
    Closed,
    Silent,
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Io(error) => write!(to, "{error}"),
            Self::Wrong(Wrong(reply)) => write!(to, "wrong reply from the server, beginning with: {reply}"),
            Self::Closed => write!(to, "the server closed a connection"),
            Self::Silent => write!(to, "the server did not answer for {PATIENCE:?}"),
        }
    }
}

/// What makes requests start.
pub(crate) enum Drive {
    Closed,
    Open(Schedule),
    /// This many requests, closed loop, and then the end.
    Count(u64),
}

/// When a lane measures and when it stops.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    pub(crate) from: Nanos,
    pub(crate) until: Nanos,
}

impl Window {
    fn holds(self, moment: Nanos) -> bool {
        (self.from..self.until).contains(&moment)
    }
}

pub(crate) struct Record {
    pub(crate) latency: Histogram<u64>,
    pub(crate) slip: Histogram<u64>,
    pub(crate) unsent: u64,
}

pub(crate) struct Lane<'a> {
    ring: Ring,
    links: Vec<Link>,
    slots: Vec<Slot>,
    touched: Vec<Slot>,
    depth: u32,
    rng: Rng,
    clock: Clock,
    /// How long to spin on the ring before waiting in it.
    spin: Duration,
    /// Replies so far, for the thread that samples the server.
    replies: &'a AtomicU64,
    /// Open loop: whose turn it is, and since when there is room.
    turn: usize,
    room: Nanos,
    record: Record,
}

#[derive(Default)]
struct Link {
    expected: VecDeque<Kind>,
    /// Starts of the outstanding requests, runs of equal ones together.
    starts: VecDeque<(Nanos, u32)>,
    checker: Checker,
    outbox: Vec<u8>,
    /// Requests in the outbox of a closed loop, whose start is the moment of sending.
    fresh: u32,
    spare: Vec<u8>,
}

impl<'a> Lane<'a> {
    pub(crate) fn connect(
        port: u16,
        connections: u32,
        depth: u32,
        clock: Clock,
        replies: &'a AtomicU64,
    ) -> io::Result<Self> {
        let mut ring = Ring::new(Shape { slots: connections, buffers: BUFFERS, buffer_bytes: BUFFER_BYTES })?;
        let mut slots = Vec::new();
        for _ in 0..connections {
            let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
            stream.set_nodelay(true)?;
            slots.push(ring.adopt(stream)?);
        }
        Ok(Self {
            ring,
            links: slots.iter().map(|_| Link::default()).collect(),
            slots,
            touched: Vec::new(),
            depth,
            rng: Rng::new(),
            clock,
            spin: Duration::ZERO,
            replies,
            turn: 0,
            room: Nanos(0),
            record: Record { latency: histogram(), slip: histogram(), unsent: 0 },
        })
    }

    pub(crate) fn spin_for(&mut self, spin: Duration) {
        self.spin = spin;
    }

    /// Drives the connections until the window (or the count) ends, and until every reply is there.
    pub(crate) fn run(&mut self, mix: &Mix, keys: &mut Keys, mut drive: Drive, window: Window) -> Result<(), Fault> {
        let mut events = Vec::new();
        let mut heard = self.clock.now();
        self.start(mix, keys, &mut drive);
        loop {
            self.flush()?;
            let wait = self.wait(&drive, self.clock.now());
            self.turn_ring(wait, &mut events)?;
            let now = self.clock.now();
            if !events.is_empty() {
                heard = now;
            } else if now > heard + PATIENCE && self.is_busy() {
                return Err(Fault::Silent);
            }
            let over = now >= window.until;
            for event in events.drain(..) {
                self.handle(event, now, mix, window)?;
            }
            if over && matches!(drive, Drive::Open(_) | Drive::Closed) {
                break;
            }
            self.refill(mix, keys, &mut drive, now, window);
            if matches!(drive, Drive::Count(0)) && !self.is_busy() {
                break;
            }
        }
        if let Drive::Open(schedule) = &mut drive {
            self.count_unsent(schedule, window);
        }
        Ok(())
    }

    pub(crate) fn into_record(self) -> Record {
        self.record
    }

    fn start(&mut self, mix: &Mix, keys: &mut Keys, drive: &mut Drive) {
        if !matches!(drive, Drive::Open(_)) {
            for index in 0..self.links.len() {
                self.refill_closed(self.slots[index], mix, keys, drive);
            }
        }
        self.touched.clear();
        self.touched.extend_from_slice(&self.slots);
    }

    /// Spins on the ring's flags first if asked to, then waits in it.
    fn turn_ring(&mut self, wait: Wait, events: &mut Vec<Event>) -> io::Result<()> {
        if wait != Wait::No && !self.spin.is_zero() {
            let limit = self.clock.now() + self.spin;
            while events.is_empty() && self.clock.now() < limit {
                self.ring.turn(Wait::No, events)?;
                std::hint::spin_loop();
            }
            if !events.is_empty() {
                return Ok(());
            }
        }
        self.ring.turn(wait, events)
    }

    fn wait(&self, drive: &Drive, now: Nanos) -> Wait {
        let Drive::Open(schedule) = drive else { return Wait::AtMost(SILENCE_MAX) };
        let due = Duration::from_nanos(schedule.next().since(now));
        if self.room == FULL {
            return Wait::AtMost(SILENCE_MAX); // only a reply makes room for what is due
        }
        match due.checked_sub(TIMER_GRAIN) {
            Some(time) if !time.is_zero() => Wait::AtMost(time.min(SILENCE_MAX)),
            _ => Wait::No,
        }
    }

    fn handle(&mut self, event: Event, now: Nanos, mix: &Mix, window: Window) -> Result<(), Fault> {
        match event {
            Event::Received(slot, buffer) => {
                let link = &mut self.links[slot.index()];
                let replies = link
                    .checker
                    .feed(self.ring.bytes(&buffer), mix, link.expected.iter().copied())
                    .map_err(Fault::Wrong)?;
                self.ring.recycle(buffer);
                link.expected.drain(..replies);
                self.account(slot, replies, now, window);
                self.touched.push(slot);
            }
            Event::Sent(slot, storage) => {
                if let Storage::Owned(mut bytes) = storage {
                    bytes.clear();
                    self.links[slot.index()].spare = bytes;
                }
                self.touched.push(slot);
            }
            Event::Closed(_) => return Err(Fault::Closed),
            Event::Accepted(_) => unreachable!("the load listens on nothing"),
        }
        Ok(())
    }

    /// Takes the starts of so many replies and records how long each took.
    fn account(&mut self, slot: Slot, replies: usize, now: Nanos, window: Window) {
        let link = &mut self.links[slot.index()];
        let mut left = u32::try_from(replies).expect("a buffer holds fewer replies than 2^32");
        self.replies.fetch_add(u64::from(left), Ordering::Relaxed);
        while left > 0 {
            let (start, run) = link.starts.front_mut().expect("every outstanding request has a start");
            let taken = left.min(*run);
            if window.holds(*start) {
                self.record.latency.saturating_record_n(now.since(*start).max(1), u64::from(taken));
            }
            left -= taken;
            *run -= taken;
            if *run == 0 {
                link.starts.pop_front();
            }
        }
    }

    fn refill(&mut self, mix: &Mix, keys: &mut Keys, drive: &mut Drive, now: Nanos, window: Window) {
        if let Drive::Open(schedule) = drive {
            return self.refill_open(schedule, mix, keys, now, window);
        }
        for index in 0..self.touched.len() {
            self.refill_closed(self.touched[index], mix, keys, drive);
        }
    }

    fn refill_closed(&mut self, slot: Slot, mix: &Mix, keys: &mut Keys, drive: &mut Drive) {
        let link = &mut self.links[slot.index()];
        if !link.expected.is_empty() {
            return;
        }
        let requests = match drive {
            Drive::Count(left) => {
                let taken = u64::from(self.depth).min(*left);
                *left -= taken;
                u32::try_from(taken).expect("at most the depth")
            }
            _ => self.depth,
        };
        for _ in 0..requests {
            link.expected.push_back(mix.write(&mut self.rng, keys, &mut link.outbox));
        }
        link.fresh += requests;
    }

    fn refill_open(&mut self, schedule: &mut Schedule, mix: &Mix, keys: &mut Keys, now: Nanos, window: Window) {
        while schedule.next() <= now {
            let Some(slot) = self.next_with_room() else {
                // Until a reply comes, being late is not this generator's doing.
                self.room = FULL;
                return;
            };
            if self.room == FULL {
                self.room = now;
            }
            let due = schedule.take_due(now, &mut self.rng).expect("checked by the loop");
            let link = &mut self.links[slot.index()];
            link.expected.push_back(mix.write(&mut self.rng, keys, &mut link.outbox));
            link.starts.push_back((due, 1));
            self.touched.push(slot);
            if window.holds(due) {
                self.record.slip.saturating_record(now.since(ready(due, self.room)).max(1));
            }
        }
    }

    /// The next connection in turn that has fewer than `depth` requests outstanding.
    fn next_with_room(&mut self) -> Option<Slot> {
        for _ in 0..self.slots.len() {
            self.turn = (self.turn + 1) % self.slots.len();
            if self.links[self.turn].expected.len() < self.depth as usize {
                return Some(self.slots[self.turn]);
            }
        }
        None
    }

    /// Sends what the touched connections have, one send each; a connection still sending does it when that is done.
    fn flush(&mut self) -> io::Result<()> {
        if self.touched.is_empty() {
            return Ok(());
        }
        let now = self.clock.now();
        for slot in self.touched.drain(..) {
            let link = &mut self.links[slot.index()];
            if link.outbox.is_empty() || self.ring.is_sending(slot) {
                continue;
            }
            if link.fresh > 0 {
                link.starts.push_back((now, std::mem::take(&mut link.fresh)));
            }
            let bytes = std::mem::replace(&mut link.outbox, std::mem::take(&mut link.spare));
            self.ring.send(slot, Storage::Owned(bytes))?;
        }
        Ok(())
    }

    fn is_busy(&self) -> bool {
        self.links.iter().any(|link| !link.expected.is_empty())
    }

    /// What was due inside the window and neither left nor was held back by full connections.
    fn count_unsent(&mut self, schedule: &mut Schedule, window: Window) {
        if self.next_with_room().is_some() {
            while schedule.take_due(Nanos(window.until.0 - 1), &mut self.rng).is_some() {
                self.record.unsent += 1;
            }
        }
    }
}

pub(crate) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_MAX_NS, 3).expect("the bounds are constants that hdrhistogram accepts")
}
