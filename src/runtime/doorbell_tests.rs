//! No wake-up is lost: the two sides of the doorbell against each other, first bare, then over real rings and threads.

use std::hint::{black_box, spin_loop};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use super::doorbell::{Doorbell, doorbells};
use super::mesh::{Drain, Mesh, mesh};
use super::ring::{Ring, RingSizes};
use crate::base::rng::Rng;
use crate::shard::ShardId;

/// Both threads meet here at almost the same moment, over and over.
struct Meeting(AtomicU64);

impl Meeting {
    fn meet(&self, round: u64) {
        self.0.fetch_add(1, Ordering::AcqRel);
        let began = Instant::now();
        while self.0.load(Ordering::Acquire) < 2 * (round + 1) {
            spin_loop();
            // One that was put off its core has to get it back from the one that looks for it.
            if began.elapsed() > Duration::from_micros(50) {
                std::thread::yield_now();
            }
        }
    }
}

fn idle(steps: u64) {
    (0..steps).for_each(|step| {
        black_box(step);
    });
}

/// What the two threads of a litmus test share.
struct Table {
    meeting: Meeting,
    /// The last round, counted from one, in which the sender found the other waiting.
    rang: AtomicU64,
    over: AtomicBool,
}

/// One side announces that it will wait and looks once more, the other sends and looks whether to ring, both at the same moment. At
/// least one must see the other. Without either fence both look past each other within this time. (Without the second look the
/// tests over real rings below fail.)
#[test]
fn one_of_the_two_always_sees_the_other() {
    const ROUNDS_MAX: u64 = 2_000_000;
    const TIME_MAX: Duration = Duration::from_secs(3);
    // On a busy machine the two seldom run at once: then it takes longer until both orders have been seen.
    const PATIENCE: Duration = Duration::from_secs(60);
    let mut bells = doorbells(2);
    let mut ends = mesh::<u64>(2);
    let (bell, end) = (bells.remove(1), ends.remove(1));
    let table = Table { meeting: Meeting(AtomicU64::new(0)), rang: AtomicU64::new(0), over: AtomicBool::new(false) };
    let table = Arc::new(table);
    let sender = {
        let table = Arc::clone(&table);
        std::thread::spawn(move || send_rounds(&bell, end, &table))
    };
    let (bell, mut end) = (bells.remove(0), ends.remove(0));
    let mut rng = Rng::new(1);
    let (mut round, mut seen, mut missed) = (0, 0, 0);
    let began = Instant::now();
    while round < ROUNDS_MAX && began.elapsed() < if seen > 0 && seen < round { TIME_MAX } else { PATIENCE } {
        table.meeting.meet(2 * round);
        idle(rng.next_u64() % 16);
        bell.announce();
        let saw = end.has_mail();
        table.meeting.meet(2 * round + 1);
        let was_rung = table.rang.load(Ordering::Acquire) == round + 1;
        seen += u64::from(saw);
        missed += u64::from(!saw && !was_rung);
        end.drain(|_, _| Drain::On);
        round += 1;
    }
    table.over.store(true, Ordering::Release);
    table.meeting.meet(2 * round);
    sender.join().unwrap();
    assert_eq!(missed, 0, "of {round} times neither saw the other");
    assert!(seen > 0 && seen < round, "both orders must have occurred: {seen} of {round}");
}

fn send_rounds(bell: &Doorbell, mut end: Mesh<u64>, table: &Table) {
    let mut rng = Rng::new(2);
    for round in 0.. {
        table.meeting.meet(2 * round);
        if table.over.load(Ordering::Acquire) {
            return;
        }
        idle(rng.next_u64() % 16);
        end.post(ShardId(0), round).unwrap();
        if bell.sleepers(end.untold()).next().is_some() {
            table.rang.store(round + 1, Ordering::Release);
        }
        table.meeting.meet(2 * round + 1);
    }
}

/// A lane of the stress test.
struct Player {
    ring: Ring,
    bell: Doorbell,
    end: Mesh<u64>,
    rng: Rng,
}

impl Player {
    /// Passes what comes on to some lane, after a random time, until it has counted down to zero. Returns how often it really waited.
    fn play(&mut self, me: u16, lanes: u16, over: &AtomicBool) -> u64 {
        let mut waits = 0;
        while !over.load(Ordering::Relaxed) {
            let mut mail = Vec::new();
            self.end.drain(|_, left| {
                mail.push(left);
                Drain::On
            });
            if mail.contains(&0) {
                over.store(true, Ordering::Relaxed);
                self.bell.ring_all(&mut self.ring);
                break;
            }
            for left in mail {
                let hop = 1 + self.rng.next_u64() % u64::from(lanes - 1);
                let to = ShardId((me + u16::try_from(hop).unwrap()) % lanes);
                self.end.post(to, left - 1).unwrap();
            }
            self.bell.ring(self.end.untold(), &mut self.ring);
            if self.rng.next_u64().is_multiple_of(2) {
                self.ring.submit().unwrap();
                idle(self.rng.next_u64() % 2048);
            }
            waits += u64::from(self.rest());
        }
        self.ring.submit().unwrap();
        waits
    }

    fn rest(&mut self) -> bool {
        const LOST: Duration = Duration::from_secs(5);
        let Self { ring, bell, end, .. } = self;
        let began = Instant::now();
        bell.wait(ring, || end.has_mail(), Some(LOST)).unwrap();
        assert!(
            began.elapsed() < LOST,
            "a wake-up was lost{}",
            if end.has_mail() { ", and there is mail" } else { "" }
        );
        let mut woken = false;
        while ring.next_event().is_some() {
            woken = true;
        }
        woken
    }
}

/// A few numbers travel between `lanes` lanes until one of them has made `hops` hops; every wait in between ends by a doorbell.
fn pass_around(lanes: u16, balls: u64, hops: u64) {
    let over = Arc::new(AtomicBool::new(false));
    let (report, reports) = channel();
    let ends = mesh::<u64>(usize::from(lanes)).into_iter().zip(doorbells(usize::from(lanes)));
    let mut starts = Vec::new();
    let mut threads = Vec::new();
    for (me, (mut end, mut bell)) in (0..lanes).zip(ends) {
        let (start, started) = channel();
        starts.push(start);
        let (report, over) = (report.clone(), Arc::clone(&over));
        threads.push(std::thread::spawn(move || {
            let ring =
                Ring::new(RingSizes { completions: 1024, buffers: 4, long_buffers: 1, buffer_bytes: 4096, files: 0 })
                    .unwrap();
            report.send((me, ring.fd())).unwrap();
            bell.connect(started.recv().unwrap());
            if me == 0 {
                (0..balls).for_each(|ball| end.post(ShardId(1), hops + ball).unwrap());
            }
            Player { ring, bell, end, rng: Rng::new(u64::from(me)) }.play(me, lanes, &over)
        }));
    }
    let mut rings = vec![0; usize::from(lanes)];
    reports.iter().take(rings.len()).for_each(|(lane, fd): (u16, _)| rings[usize::from(lane)] = fd);
    starts.iter().for_each(|start| start.send(rings.clone()).unwrap());
    let waits: u64 = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
    assert!(waits > hops / 100, "lanes must have waited, not only looked: {waits}");
}

#[test]
fn two_rings_wake_each_other() {
    pass_around(2, 1, 100_000);
}

#[test]
fn three_rings_wake_each_other() {
    pass_around(3, 2, 100_000);
}
