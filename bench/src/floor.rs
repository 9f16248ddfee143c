//! `floor`: a bare io_uring server with a fixed reply, the honest ceiling of any server on this machine.
//!
//! ```text
//!   turn: enter (all sends + wait) -> received buffers: count the requests that became complete
//!         -> per connection one send of that many replies, cut from one static block
//! ```
//!
//! It does what a real server cannot avoid (accept, receive, know how many requests came, send) and nothing else. A
//! request begins with `*`, which neither keys nor values of our workloads contain, so counting is one pass of
//! memchr's vector code; only the last request of a buffer is looked at closer, to see whether it is whole.
//!
//! Absent: everything else. A request with a `*` inside is counted wrongly; the workloads here have none.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::Duration;

use memchr::{memchr, memchr_iter, memrchr};
use rustix::time::{ClockId, clock_gettime};
use socket2::{Domain, Protocol, Socket, Type};

use crate::cpu::Cpu;
use crate::ring::{Event, Ring, Shape, Slot, Storage, Wait};

/// 16 KiB hold a whole pipeline of depth 64 with values of 64 bytes, so that one receive is one buffer.
const SHAPE: Shape = Shape { slots: 1024, buffers: 256, buffer_bytes: 16 << 10 };
const BACKLOG: i32 = 1024;
/// Bytes of replies in the static block: the most that one send carries, unless one reply alone is larger.
const BLOCK_BYTES: usize = 1 << 20;

#[derive(clap::Args, Debug)]
pub(crate) struct Options {
    /// Port on 127.0.0.1.
    #[arg(long)]
    pub(crate) port: u16,
    /// CPU to run on.
    #[arg(long)]
    pub(crate) cpu: Option<Cpu>,
    /// Bytes in the value of the fixed reply.
    #[arg(long, default_value_t = 64)]
    pub(crate) value_bytes: usize,
    /// Burn this part of the CPU time used on top of it: a server that is known to be slower by so much.
    #[arg(long, default_value_t = 0.0)]
    pub(crate) slower_percent: f64,
}

pub(crate) fn run(options: &Options) -> io::Result<()> {
    if let Some(cpu) = options.cpu {
        cpu.pin_this_thread()?;
    }
    let mut floor = Floor::new(options)?;
    let mut ballast = Ballast { share: options.slower_percent / 100.0, used: cpu_time() };
    loop {
        floor.turn()?;
        ballast.burn();
    }
}

/// Makes a floor slower by a known share: after each turn it burns that part of the CPU time of the turn.
struct Ballast {
    share: f64,
    /// CPU time of this thread when it had burnt what it owed.
    used: Duration,
}

impl Ballast {
    fn burn(&mut self) {
        if self.share > 0.0 {
            let now = cpu_time();
            let until = now + now.saturating_sub(self.used).mul_f64(self.share);
            while cpu_time() < until {
                std::hint::spin_loop();
            }
            self.used = until;
        }
    }
}

fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

struct Floor {
    ring: Ring,
    events: Vec<Event>,
    connections: Vec<Connection>,
    /// Connections that were given requests in this turn.
    touched: Vec<Slot>,
    block: &'static [u8],
    reply_bytes: usize,
}

#[derive(Default)]
struct Connection {
    counter: Counter,
    owed: usize,
}

impl Floor {
    fn new(options: &Options) -> io::Result<Self> {
        let reply = fixed_reply(options.value_bytes);
        let mut ring = Ring::new(SHAPE)?;
        ring.listen(listener(options.port)?)?;
        Ok(Self {
            ring,
            events: Vec::new(),
            connections: (0..SHAPE.slots).map(|_| Connection::default()).collect(),
            touched: Vec::new(),
            block: Box::leak(reply.repeat((BLOCK_BYTES / reply.len()).max(1)).into_boxed_slice()),
            reply_bytes: reply.len(),
        })
    }

    fn turn(&mut self) -> io::Result<()> {
        let mut events = std::mem::take(&mut self.events);
        self.ring.turn(Wait::Forever, &mut events)?;
        for event in events.drain(..) {
            match event {
                Event::Accepted(slot) => self.connections[slot.index()] = Connection::default(),
                Event::Received(slot, buffer) => {
                    let connection = &mut self.connections[slot.index()];
                    connection.owed += connection.counter.feed(self.ring.bytes(&buffer));
                    self.ring.recycle(buffer);
                    self.touched.push(slot);
                }
                Event::Sent(slot, _) => self.touched.push(slot),
                Event::Closed(slot) => self.connections[slot.index()].owed = 0,
            }
        }
        self.events = events;
        self.flush()
    }

    fn flush(&mut self) -> io::Result<()> {
        for slot in self.touched.drain(..) {
            let connection = &mut self.connections[slot.index()];
            let replies = connection.owed.min(self.block.len() / self.reply_bytes);
            if replies > 0 && !self.ring.is_sending(slot) {
                connection.owed -= replies;
                self.ring.send(slot, Storage::Static(&self.block[..replies * self.reply_bytes]))?;
            }
        }
        Ok(())
    }
}

/// Counts requests as they become whole, over any cutting of the stream.
#[derive(Debug, Default)]
struct Counter {
    /// The bytes of a request that began in an earlier buffer and is not whole yet.
    begun: Vec<u8>,
}

impl Counter {
    fn feed(&mut self, bytes: &[u8]) -> usize {
        if self.begun.is_empty() {
            return self.feed_fresh(bytes);
        }
        let end = memchr(b'*', bytes).unwrap_or(bytes.len());
        let (rest, fresh) = bytes.split_at(end);
        self.begun.extend_from_slice(rest);
        if !is_whole(&self.begun) {
            return 0;
        }
        self.begun.clear();
        1 + self.feed_fresh(fresh)
    }

    fn feed_fresh(&mut self, bytes: &[u8]) -> usize {
        let Some(last) = memrchr(b'*', bytes) else { return 0 };
        let (before, tail) = bytes.split_at(last);
        let whole = memchr_iter(b'*', before).count();
        if is_whole(tail) {
            return whole + 1;
        }
        self.begun.extend_from_slice(tail);
        whole
    }
}

/// Whether one multibulk request that begins at the first byte is complete.
fn is_whole(request: &[u8]) -> bool {
    let Some((arguments, mut at)) = header(request, 0) else { return false };
    for _ in 0..arguments {
        let Some((len, after)) = header(request, at) else { return false };
        at = after + len + 2;
    }
    at <= request.len()
}

/// Reads `*N\r\n` or `$N\r\n` at `at`: the number, and the position behind it.
fn header(request: &[u8], at: usize) -> Option<(usize, usize)> {
    let mut number = 0_usize;
    for (index, byte) in request.get(at + 1..)?.iter().enumerate() {
        match byte {
            b'0'..=b'9' => number = number.saturating_mul(10).saturating_add(usize::from(byte - b'0')),
            b'\n' => return Some((number, at + 1 + index + 1)),
            _ => {}
        }
    }
    None
}

fn fixed_reply(value_bytes: usize) -> Vec<u8> {
    let mut reply = format!("${value_bytes}\r\n").into_bytes();
    reply.resize(reply.len() + value_bytes, b'x');
    reply.extend_from_slice(b"\r\n");
    reply
}

fn listener(port: u16) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    // Accepted sockets inherit it, which saves a call per connection.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &[u8] = b"*2\r\n$3\r\nGET\r\n$4\r\nkey1\r\n\
          *3\r\n$3\r\nSET\r\n$4\r\nkey2\r\n$12\r\nvalue\r\nvalue\r\n\
          *1\r\n$4\r\nPING\r\n";

    #[test]
    fn every_cut_into_three_counts_each_request_once() {
        for first in 0..=STREAM.len() {
            for second in first..=STREAM.len() {
                let mut counter = Counter::default();
                let parts = [&STREAM[..first], &STREAM[first..second], &STREAM[second..]];
                let counted: usize = parts.iter().map(|part| counter.feed(part)).sum();
                assert_eq!((counted, counter.begun.len()), (3, 0), "cut at {first} and {second}");
            }
        }
    }

    #[test]
    fn a_request_counts_only_when_its_last_byte_is_there() {
        let mut counter = Counter::default();
        let counted: Vec<usize> = STREAM.iter().map(|byte| counter.feed(&[*byte])).collect();
        let ends: Vec<usize> = counted.iter().enumerate().filter(|(_, n)| **n > 0).map(|(at, _)| at + 1).collect();
        assert_eq!(ends, [23, 65, STREAM.len()]);
    }

    #[test]
    fn the_fixed_reply_is_one_bulk() {
        assert_eq!(fixed_reply(3), b"$3\r\nxxx\r\n");
    }
}
