//! A server that does what it is told to, badly, and keeps a log of it: delays before each reply, or stalls.
//!
//! A thread for each connection, a reply for each request, in order. Its log is by its own clock and knows nothing of the load.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use crate::clock::{Clock, Nanos};
use crate::load::report::micros;
use crate::wire::frame::request_len;

#[derive(Clone, Copy, Debug)]
pub(super) enum Behaviour {
    /// Each reply is delayed; every doubling of the delay is equally likely.
    Delays { from_us: f64, to_us: f64 },
    /// Each reply takes `service`; in each `period` nothing happens for the length of `stall`.
    Stalls { service: Duration, stall: Duration, period: Duration },
}

pub(super) struct Toy {
    pub(super) port: u16,
    state: Arc<State>,
    delays: Receiver<u64>,
    replies: Receiver<Replied>,
}

/// A reply in the log of stalls: which key was asked for, and when the answer had been written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Replied {
    pub(super) key: u32,
    pub(super) at_us: f64,
}

struct State {
    behaviour: Behaviour,
    clock: Clock,
    stalled_until: AtomicU64,
    /// Requests so far: the place in the sequence of delays.
    count: AtomicU64,
    over: AtomicBool,
}

const REPLY: &[u8] = b"$64\r\nxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n";

impl Toy {
    pub(super) fn start(behaviour: Behaviour) -> Result<Self, String> {
        Self::try_start(behaviour).map_err(|error| format!("the toy server: {error}"))
    }

    fn try_start(behaviour: Behaviour) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        let (stalled_until, count, over) = (AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(false));
        let state = Arc::new(State { behaviour, clock: Clock::start(), stalled_until, count, over });
        let (to_delays, delays) = channel();
        let (to_replies, replies) = channel();
        let accepting = state.clone();
        thread::Builder::new().spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if accepting.over.load(Ordering::Relaxed) {
                    break;
                }
                let (state, log) = (accepting.clone(), Log { delays: to_delays.clone(), replies: to_replies.clone() });
                let started = thread::Builder::new().spawn(move || serve(&state, stream, &log));
                started.expect("a hundred threads can be had");
            }
        })?;
        let stalling = state.clone();
        thread::Builder::new().spawn(move || stalling.stall())?;
        Ok(Self { port, state, delays, replies })
    }

    /// How long each reply so far was held back, ascending.
    pub(super) fn delays_us(&self) -> Vec<f64> {
        let mut delays: Vec<f64> = self.delays.try_iter().map(micros).collect();
        delays.sort_by(f64::total_cmp);
        delays
    }

    /// All replies so far.
    pub(super) fn replies(&self) -> Vec<Replied> {
        self.replies.try_iter().collect()
    }
}

struct Log {
    delays: Sender<u64>,
    replies: Sender<Replied>,
}

impl Drop for Toy {
    fn drop(&mut self) {
        self.state.over.store(true, Ordering::Relaxed);
        // Wakes the accepting thread, which then ends.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
    }
}

fn serve(state: &State, mut stream: TcpStream, log: &Log) {
    let (mut begun, mut chunk) = (Vec::new(), [0; 4096]);
    while let Ok(len @ 1..) = stream.read(&mut chunk) {
        begun.extend_from_slice(&chunk[..len]);
        let mut read = state.clock.now();
        while let Ok(len) = request_len(&begun) {
            let key = key(&begun[..len]);
            begun.drain(..len);
            state.work(read);
            if stream.write_all(REPLY).is_err() {
                return;
            }
            let now = state.clock.now();
            // The toy's end may come first.
            let _ = log.delays.send(now.since(read));
            let _ = log.replies.send(Replied { key, at_us: micros(now.0) });
            read = now;
        }
    }
}

/// The digits at the end of the request's last word.
fn key(request: &[u8]) -> u32 {
    let digits: Vec<u8> = request.iter().rev().skip(2).take_while(|byte| byte.is_ascii_digit()).copied().collect();
    digits.iter().rev().fold(0, |number: u32, digit| number.wrapping_mul(10).wrapping_add(u32::from(digit - b'0')))
}

impl State {
    fn work(&self, read: Nanos) {
        match self.behaviour {
            Behaviour::Delays { from_us, to_us } => {
                // Steps of the golden ratio: any stretch of them is spread evenly, as random numbers would be only in the long run.
                let point = (self.count.fetch_add(1, Ordering::Relaxed) as f64 * 0.618_033_988_749_895).fract();
                let delay_us = from_us * (to_us / from_us).powf(point);
                self.clock.sleep_until(read + Duration::from_secs_f64(delay_us / 1e6));
            }
            Behaviour::Stalls { service, .. } => {
                self.sit_out();
                self.clock.sleep_until(self.clock.now() + service);
                self.sit_out();
            }
        }
    }

    fn sit_out(&self) {
        self.clock.sleep_until(Nanos(self.stalled_until.load(Ordering::Relaxed)));
    }

    fn stall(&self) {
        let Behaviour::Stalls { stall, period, .. } = self.behaviour else { return };
        let mut next = self.clock.now();
        while !self.over.load(Ordering::Relaxed) {
            self.clock.sleep_until(next);
            self.stalled_until.store((self.clock.now() + stall).0, Ordering::Relaxed);
            next = next + period;
        }
    }
}
