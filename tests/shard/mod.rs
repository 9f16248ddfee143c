//! The shard driven with arrays instead of sockets: what holds for bytes in and bytes out, without a kernel between.

mod algebra;
mod allocations;
mod blocking;
mod crowds;
mod durable;
mod effects;
mod fairness;
mod filing;
mod foresight;
mod gather;
mod hash_fields;
mod instructions;
mod iterating;
mod moving;
mod options;
mod pops;
mod protected;
mod rewriting;
mod sets;
mod slices;
mod sorting;
mod stages;
mod starvation;
mod unread;
mod users;
mod waits;

use corelane::base::time::Now;
use corelane::shard::{ConnId, Opening, Order, Setup, Shard};
use corelane::wire::output::Output;

/// A shard and the little of a runtime that a test needs.
pub(crate) struct Driver {
    pub(crate) shard: Shard,
    pub(crate) now: Now,
    spare: Output,
}

impl Driver {
    pub(crate) fn new() -> Self {
        Self::made(Setup::plain(0, 1))
    }

    pub(crate) fn made(setup: Setup) -> Self {
        let shard = Shard::new(setup);
        let now = Now { unix_us: 1_700_000_000_000_000, mono_ns: 1_000_000_000 };
        let mut driver = Self { shard, now, spare: Output::default() };
        driver.shard.begin_turn(now);
        driver
    }

    pub(crate) fn connect(&mut self) -> ConnId {
        let address = "127.0.0.1:1".parse().expect("an address");
        self.shard
            .open(&Opening { peer: address, local: address, fd: 0, open_connections: 1, shard_port: false })
            .expect("room for a client")
    }

    /// A turn later.
    pub(crate) fn turn(&mut self) {
        self.now.mono_ns += 1_000_000;
        self.now.unix_us += 1000;
        self.shard.begin_turn(self.now);
        self.shard.run_backlog();
        self.shard.tick();
    }

    /// What `conn` is sent now.
    pub(crate) fn replies(&mut self, conn: ConnId) -> Vec<u8> {
        while self.shard.next_order().is_some() {}
        let output = self.shard.take_output(conn, Output::default());
        self.shard.in_flight(conn, 0);
        output.to_vec()
    }

    /// Runs requests and throws the replies away, as a runtime that sends them at once would, reusing its buffer.
    pub(crate) fn exchange(&mut self, conn: ConnId, bytes: &[u8]) -> usize {
        self.shard.begin_turn(self.now);
        let sent = self.feed_and_send(conn, bytes);
        self.shard.tick();
        sent
    }

    /// As `exchange`, within a turn.
    pub(crate) fn feed_and_send(&mut self, conn: ConnId, bytes: &[u8]) -> usize {
        self.shard.feed(conn, bytes);
        let mut sent = 0;
        while let Some(order) = self.shard.next_order() {
            assert_eq!(order, Order::Flush(conn));
            let spare = std::mem::take(&mut self.spare);
            let mut output = self.shard.take_output(conn, spare);
            sent += output.len();
            self.shard.in_flight(conn, 0);
            output.clear();
            self.spare = output;
        }
        sent
    }

    /// Turns until all that was begun is over; each of them also answers a PING of `quick`. How many.
    pub(crate) fn turns_beside(&mut self, quick: ConnId) -> usize {
        let mut turns = 0;
        while self.shard.has_backlog() {
            self.shard.feed(quick, &request(&["PING"]));
            self.turn();
            assert_eq!(self.replies(quick), b"+PONG\r\n", "others are served meanwhile");
            turns += 1;
        }
        turns
    }

    /// Runs one request to its end and answers what it replied.
    pub(crate) fn call<W: AsRef<[u8]>>(&mut self, conn: ConnId, words: &[W]) -> Vec<u8> {
        self.shard.feed(conn, &request(words));
        while self.shard.has_backlog() {
            self.turn();
        }
        self.replies(conn)
    }
}

pub(crate) fn request<W: AsRef<[u8]>>(words: &[W]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words.iter().map(AsRef::as_ref) {
        bytes.extend(format!("${}\r\n", word.len()).bytes());
        bytes.extend(word);
        bytes.extend(b"\r\n");
    }
    bytes
}
