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
//! Whose fault is it that nothing has room? A generator that is the limit finds replies lying there whenever it looks; one that
//! waits for its server does not. So while no connection has room it looks first, and counts the time in which it was behind.
//!
//! A run ends when everything that was due in its window is answered: a stall at the very end is not forgotten. What is not
//! answered `DRAIN_MAX` later is recorded with the time it has waited by then, and said to be so.
//!
//! The client must be cheaper than the fastest server: one system call a turn, one clock read for all replies of a
//! turn and one for all sends, requests by copying a template.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fastrand::Rng;
use hdrhistogram::Histogram;

use super::address::Address;
use super::slices::SliceWriter;
use crate::capture::replay::Playback;
use crate::clock::{Clock, Nanos};
use crate::ring::{Event, Ring, Shape, Slot, Storage, Wait};
use crate::schedule::{Schedule, ready};
use crate::wire::checker::{Awaited, Checker};
use crate::wire::expect::Wrong;
use crate::workload::keys::Keys;
use crate::workload::mix::{Mix, Scratch};

/// A thread looks at the clock at least this often, so that it ends in time also when the server is silent.
const SILENCE_MAX: Duration = Duration::from_millis(20);
/// A server that leaves every connection without a reply for this long has failed the run.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long after its window a run waits for what was due in it.
const DRAIN_MAX: Duration = Duration::from_secs(5);
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
pub(crate) enum Drive<'a> {
    Closed,
    Open(Schedule),
    Replay(Playback<'a>),
    /// This many requests, closed loop, and then the end.
    Count(u64),
}

impl Drive<'_> {
    /// When the next request is due, of those that follow a clock.
    fn next(&self) -> Option<Nanos> {
        match self {
            Self::Open(schedule) => Some(schedule.next()),
            Self::Replay(playback) => playback.next(),
            Self::Closed | Self::Count(_) => None,
        }
    }
}

/// When lanes measure and when they stop: set by the sampler while they run.
#[derive(Debug)]
pub(crate) struct Window {
    from: AtomicU64,
    until: AtomicU64,
}

impl Window {
    pub(crate) const fn never() -> Self {
        Self { from: AtomicU64::new(u64::MAX), until: AtomicU64::new(u64::MAX) }
    }

    pub(crate) fn set(&self, from: Nanos, until: Nanos) {
        self.until.store(until.0, Ordering::Relaxed);
        self.from.store(from.0, Ordering::Release);
    }

    pub(crate) fn until(&self) -> Nanos {
        Nanos(self.until.load(Ordering::Relaxed))
    }

    fn holds(&self, moment: Nanos) -> bool {
        (self.from.load(Ordering::Acquire)..self.until.load(Ordering::Relaxed)).contains(&moment.0)
    }
}

/// What is asked: the mix, and for each node of a cluster (or for the only server) which keys.
pub(crate) struct Work<'a> {
    pub(crate) mix: &'a Mix,
    pub(crate) keys: Vec<Keys>,
    pub(crate) requests_per_connection: Option<u32>,
}

/// What a lane knows at the end.
pub(crate) struct Record {
    /// Of the requests that were due in the window.
    pub(crate) latency: Histogram<u64>,
    pub(crate) slip: Histogram<u64>,
    /// Requests of the window without an answer by the end of the drain.
    pub(crate) unanswered: u64,
    /// Time of the window in which requests waited for room, and the part of it in which replies lay there unread.
    pub(crate) crowded_ns: u64,
    pub(crate) behind_ns: u64,
    pub(crate) errors: u64,
    pub(crate) reconnects: u64,
}

/// Where a connection goes: which address, and the node whose keys it asks for.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) address: Address,
    pub(crate) node: usize,
}

pub(crate) struct Lane<'a> {
    ring: Ring,
    links: Vec<Link>,
    slots: Vec<Slot>,
    touched: Vec<Slot>,
    depth: u32,
    rng: Rng,
    clock: Clock,
    scratch: Scratch,
    /// How long to spin on the ring before waiting in it.
    spin: Duration,
    /// Replies so far, for the thread that samples the server.
    replies: &'a AtomicU64,
    /// Latencies by the time of the reply, for the course of the run.
    slices: Option<SliceWriter>,
    /// Open loop: whose turn it is, and since when there is room.
    turn: usize,
    room: Nanos,
    record: Record,
}

struct Link {
    target: Target,
    awaited: Awaited,
    /// Starts of the outstanding requests, runs of equal ones together.
    starts: VecDeque<(Nanos, u32)>,
    checker: Checker,
    outbox: Vec<u8>,
    /// Requests in the outbox of a closed loop, whose start is the moment of sending.
    fresh: u32,
    spare: Vec<u8>,
    /// Requests since the connection was made.
    age: u32,
    /// It is being closed, to be made anew.
    retiring: bool,
}

impl<'a> Lane<'a> {
    pub(crate) fn connect(
        targets: Vec<Target>,
        depth: u32,
        mix: &Mix,
        clock: Clock,
        replies: &'a AtomicU64,
    ) -> io::Result<Self> {
        let slots = u32::try_from(targets.len()).expect("connections are counted by 32 bits");
        let mut ring = Ring::new(Shape { slots, buffers: BUFFERS, buffer_bytes: BUFFER_BYTES })?;
        let (mut slots, mut links) = (Vec::new(), Vec::new());
        for target in targets {
            slots.push(ring.adopt(target.address.greet(mix.dialect())?)?);
            links.push(Link::to(target));
        }
        Ok(Self {
            ring,
            links,
            slots,
            touched: Vec::new(),
            depth,
            rng: Rng::new(),
            clock,
            scratch: Scratch::default(),
            spin: Duration::ZERO,
            replies,
            slices: None,
            turn: 0,
            room: Nanos(0),
            record: Record {
                latency: histogram(),
                slip: histogram(),
                unanswered: 0,
                crowded_ns: 0,
                behind_ns: 0,
                errors: 0,
                reconnects: 0,
            },
        })
    }

    pub(crate) fn spin_for(&mut self, spin: Duration) {
        self.spin = spin;
    }

    pub(crate) fn write_slices(&mut self, slices: SliceWriter) {
        self.slices = Some(slices);
    }

    /// Drives the connections until the window (or the count) ends, and until every reply is there.
    pub(crate) fn run(&mut self, work: &mut Work<'_>, mut drive: Drive<'_>, window: &Window) -> Result<(), Fault> {
        let mut events = Vec::new();
        let mut heard = self.clock.now();
        self.start(work, &mut drive);
        let mut looked = heard;
        loop {
            self.flush()?;
            let is_crowded = self.room == FULL;
            let is_behind = is_crowded && self.finds_replies(&mut events)?;
            if events.is_empty() {
                let wait = self.wait(&drive, self.clock.now());
                self.turn_ring(wait, &mut events)?;
            }
            let now = self.clock.now();
            if is_crowded && window.holds(now) {
                self.record.crowded_ns += now.since(looked);
                self.record.behind_ns += if is_behind { now.since(looked) } else { 0 };
            }
            looked = now;
            if !events.is_empty() {
                heard = now;
            } else if now > heard + PATIENCE && self.is_busy() {
                return Err(Fault::Silent);
            }
            for event in events.drain(..) {
                self.handle(event, now, work, window)?;
            }
            if let Some(slices) = &mut self.slices {
                slices.turn_over(now);
            }
            self.refill(work, &mut drive, now, window);
            if self.is_over(&drive, now, window) {
                break;
            }
            if now > window.until() + DRAIN_MAX {
                self.give_up(&mut drive, now, window);
                break;
            }
        }
        self.record.errors = self.links.iter().map(|link| link.checker.errors).sum();
        Ok(())
    }

    pub(crate) fn into_record(self) -> Record {
        self.record
    }

    fn is_over(&self, drive: &Drive<'_>, now: Nanos, window: &Window) -> bool {
        let all_left = match drive {
            Drive::Closed => now >= window.until(),
            Drive::Open(schedule) => schedule.next() >= window.until(),
            Drive::Replay(playback) => playback.next().is_none_or(|next| next >= window.until()),
            Drive::Count(left) => *left == 0,
        };
        all_left && !self.is_busy()
    }

    /// Records what has no answer as having taken until now: it took at least that.
    fn give_up(&mut self, drive: &mut Drive<'_>, now: Nanos, window: &Window) {
        let outstanding = self.links.iter().flat_map(|link| link.starts.iter().copied());
        let mut late: Vec<(Nanos, u32)> = outstanding.collect();
        if let Drive::Open(schedule) = drive {
            while schedule.next() < window.until() {
                late.extend(schedule.take_due(now, &mut self.rng).map(|due| (due, 1)));
            }
        }
        for (start, count) in late.into_iter().filter(|(start, _)| window.holds(*start)) {
            self.record.latency.saturating_record_n(now.since(start).max(1), u64::from(count));
            self.record.unanswered += u64::from(count);
        }
    }

    fn start(&mut self, work: &mut Work<'_>, drive: &mut Drive<'_>) {
        if drive.next().is_none() {
            for index in 0..self.links.len() {
                self.refill_closed(self.slots[index], work, drive);
            }
        }
        self.touched.clear();
        self.touched.extend_from_slice(&self.slots);
    }

    /// Submits and looks without waiting: whether replies are there.
    fn finds_replies(&mut self, events: &mut Vec<Event>) -> io::Result<bool> {
        self.ring.turn(Wait::No, events)?;
        Ok(events.iter().any(|event| matches!(event, Event::Received(..))))
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

    fn wait(&self, drive: &Drive<'_>, now: Nanos) -> Wait {
        let Some(next) = drive.next() else { return Wait::AtMost(SILENCE_MAX) };
        if self.room == FULL {
            return Wait::AtMost(SILENCE_MAX); // only a reply makes room for what is due
        }
        match Duration::from_nanos(next.since(now)).checked_sub(TIMER_GRAIN) {
            Some(time) if !time.is_zero() => Wait::AtMost(time.min(SILENCE_MAX)),
            _ => Wait::No,
        }
    }

    fn handle(&mut self, event: Event, now: Nanos, work: &Work<'_>, window: &Window) -> Result<(), Fault> {
        match event {
            Event::Received(slot, buffer) => {
                let link = &mut self.links[slot.index()];
                let fed = link.checker.feed(self.ring.bytes(&buffer), work.mix, &mut link.awaited);
                self.ring.recycle(buffer);
                self.account(slot, fed.map_err(Fault::Wrong)?, now, window);
                self.retire_if_old(slot, work)?;
                self.touched.push(slot);
            }
            Event::Sent(slot, storage) => {
                if let Storage::Owned(mut bytes) = storage {
                    bytes.clear();
                    self.links[slot.index()].spare = bytes;
                }
                self.touched.push(slot);
            }
            Event::Closed(slot) if self.links[slot.index()].retiring => self.renew(slot, work)?,
            Event::Closed(_) => return Err(Fault::Closed),
            Event::Accepted(_) => unreachable!("the load listens on nothing"),
        }
        Ok(())
    }

    /// Takes the starts of so many replies and records how long each took.
    fn account(&mut self, slot: Slot, replies: usize, now: Nanos, window: &Window) {
        let link = &mut self.links[slot.index()];
        let mut left = u32::try_from(replies).expect("a buffer holds fewer replies than 2^32");
        self.replies.fetch_add(u64::from(left), Ordering::Relaxed);
        while left > 0 {
            let (start, run) = link.starts.front_mut().expect("every outstanding request has a start");
            let taken = left.min(*run);
            let latency = now.since(*start).max(1);
            if window.holds(*start) {
                self.record.latency.saturating_record_n(latency, u64::from(taken));
            }
            if let Some(slices) = &mut self.slices {
                slices.record(latency, u64::from(taken));
            }
            left -= taken;
            *run -= taken;
            if *run == 0 {
                link.starts.pop_front();
            }
        }
    }

    /// Churn: a connection that has served its number of requests is closed as soon as it is idle.
    fn retire_if_old(&mut self, slot: Slot, work: &Work<'_>) -> io::Result<()> {
        let link = &mut self.links[slot.index()];
        let is_old = work.requests_per_connection.is_some_and(|most| link.age >= most);
        if is_old && !link.retiring && link.awaited.kinds.is_empty() && link.outbox.is_empty() {
            link.retiring = true;
            self.ring.shut_down(slot)?;
        }
        Ok(())
    }

    fn renew(&mut self, slot: Slot, work: &Work<'_>) -> io::Result<()> {
        let link = &mut self.links[slot.index()];
        self.ring.adopt_at(slot, link.target.address.greet(work.mix.dialect())?)?;
        link.checker.restart();
        (link.age, link.retiring) = (0, false);
        self.record.reconnects += 1;
        self.touched.push(slot);
        Ok(())
    }

    fn refill(&mut self, work: &mut Work<'_>, drive: &mut Drive<'_>, now: Nanos, window: &Window) {
        match drive {
            Drive::Open(schedule) => self.refill_open(schedule, work, now, window),
            Drive::Replay(playback) => self.refill_replay(playback, now, window),
            Drive::Closed if now >= window.until() => {}
            Drive::Closed | Drive::Count(_) => {
                for index in 0..self.touched.len() {
                    self.refill_closed(self.touched[index], work, drive);
                }
            }
        }
    }

    fn refill_closed(&mut self, slot: Slot, work: &mut Work<'_>, drive: &mut Drive<'_>) {
        let link = &mut self.links[slot.index()];
        if !link.awaited.kinds.is_empty() || link.retiring {
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
        let mut written = 0;
        while written < requests {
            let keys = &mut work.keys[link.target.node];
            written += work.mix.write(&mut self.rng, keys, &mut self.scratch, &mut link.outbox, &mut link.awaited);
        }
        link.fresh += written;
        link.age += written;
    }

    fn refill_open(&mut self, schedule: &mut Schedule, work: &mut Work<'_>, now: Nanos, window: &Window) {
        while schedule.next() <= now && schedule.next() < window.until() {
            let Some(slot) = self.next_with_room(work.requests_per_connection) else {
                // Until a reply comes, being late is not this generator's doing.
                self.room = FULL;
                return;
            };
            if self.room == FULL {
                self.room = now;
            }
            let due = schedule.take_due(now, &mut self.rng).expect("checked by the loop");
            let link = &mut self.links[slot.index()];
            let keys = &mut work.keys[link.target.node];
            let written = work.mix.write(&mut self.rng, keys, &mut self.scratch, &mut link.outbox, &mut link.awaited);
            link.age += written;
            self.note_sent(slot, due, written, now, window);
        }
    }

    fn refill_replay(&mut self, playback: &mut Playback<'_>, now: Nanos, window: &Window) {
        while let Some((due, request)) = playback.take_due(now) {
            let slot = self.slots[request.link];
            let link = &mut self.links[slot.index()];
            link.outbox.extend_from_slice(request.bytes);
            link.awaited.kinds.push_back(Mix::FOREIGN);
            self.note_sent(slot, due, 1, now, window);
        }
    }

    fn note_sent(&mut self, slot: Slot, due: Nanos, count: u32, now: Nanos, window: &Window) {
        self.links[slot.index()].starts.push_back((due, count));
        self.touched.push(slot);
        if window.holds(due) {
            self.record.slip.saturating_record(now.since(ready(due, self.room)).max(1));
        }
    }

    /// The next connection in turn that has fewer than `depth` requests outstanding.
    fn next_with_room(&mut self, requests_per_connection: Option<u32>) -> Option<Slot> {
        for _ in 0..self.slots.len() {
            self.turn = (self.turn + 1) % self.slots.len();
            let link = &self.links[self.turn];
            let is_old = requests_per_connection.is_some_and(|most| link.age >= most);
            if link.awaited.kinds.len() < self.depth as usize && !link.retiring && !is_old {
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
        self.links.iter().any(|link| !link.awaited.kinds.is_empty())
    }
}

impl Link {
    fn to(target: Target) -> Self {
        Self {
            target,
            awaited: Awaited::default(),
            starts: VecDeque::new(),
            checker: Checker::default(),
            outbox: Vec::new(),
            fresh: 0,
            spare: Vec::new(),
            age: 0,
            retiring: false,
        }
    }
}

pub(crate) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_MAX_NS, 3).expect("the bounds are constants that hdrhistogram accepts")
}
