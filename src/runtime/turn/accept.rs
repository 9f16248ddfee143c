//! How connections come to a lane: through its own doors, or from a peer that accepted them and found this lane emptier.

use std::io::{self, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;

use super::{Lane, Post};
use crate::runtime::keepalive::Keepalive;
use crate::runtime::log::{Level, say};
use crate::runtime::ports::{Door, Placement};
use crate::shard::{ConnId, Opening};

/// An accept that failed for want of descriptors is tried again after this pause: at once would spin, the backlog keeps them.
const ACCEPT_PAUSE_NS: u64 = 100_000_000;

/// The same trouble is told once in so long.
const SAY_AGAIN_NS: u64 = 60_000_000_000;

pub(super) struct Listener {
    socket: TcpListener,
    placement: Placement,
    /// When to accept again after a failure.
    resume_ns: Option<u64>,
}

impl Lane {
    pub(super) fn open_doors(&mut self, doors: Vec<Door>) {
        let listener = |Door { socket, placement }| Listener { socket, placement, resume_ns: None };
        self.listeners = doors.into_iter().map(listener).collect();
        for (number, listener) in (0..).zip(&self.listeners) {
            self.ring.accept(number, listener.socket.as_raw_fd());
        }
    }

    pub(super) fn close_doors(&mut self) {
        for (number, listener) in (0..).zip(std::mem::take(&mut self.listeners)) {
            self.ring.cancel_accept(number);
            // The kernel holds the socket until the cancel, submitted before the close, has ended its accept.
            self.ring.close(listener.socket.into());
        }
    }

    /// For connections accepted from now on.
    pub(super) fn follow_keepalive(&self, keepalive: Keepalive) {
        for listener in &self.listeners {
            if let Err(error) = keepalive.set(&listener.socket) {
                say(Level::Warning, &format!("cannot change tcp-keepalive of new connections: {error}"));
            }
        }
    }

    pub(super) fn accepted(&mut self, listener: u32, stream: TcpStream, armed: bool) {
        // A lane that is leaving has no listeners, and closes what was still on its way.
        if let Some(&Listener { placement, .. }) = self.listeners.get(listener as usize) {
            self.place(stream, placement);
        }
        if !armed {
            self.accept_again(listener, self.now_ns);
        }
    }

    /// Counts a connection in where it belongs and opens it there.
    fn place(&mut self, stream: TcpStream, placement: Placement) {
        let here = self.id;
        let home = match placement {
            Placement::Fewest => self.census.fewest(here),
            Placement::Here => here,
        };
        let open_connections = self.census.enter(home);
        if home == here {
            return self.welcome(stream, open_connections, placement);
        }
        if let Err(Post::Adopt { stream, .. }) = self.mesh.post(home, Post::Adopt { stream, open_connections }) {
            self.census.moved(home, here);
            self.welcome(stream, open_connections, placement);
        }
    }

    /// Takes a connection that a peer has accepted and counted in for this lane.
    pub(super) fn adopt(&mut self, stream: TcpStream, open_connections: usize) {
        if self.leaving_ns.is_some() {
            return self.census.leave(self.id);
        }
        self.welcome(stream, open_connections, Placement::Fewest);
    }

    fn welcome(&mut self, stream: TcpStream, open_connections: usize, placement: Placement) {
        // A peer that has already gone has no address.
        let (Ok(peer), Ok(local)) = (stream.peer_addr(), stream.local_addr()) else {
            return self.census.leave(self.id);
        };
        let shard_port = placement == Placement::Here;
        match self.shard.open(&Opening { peer, local, fd: stream.as_raw_fd(), open_connections, shard_port }) {
            Ok(ConnId(number)) => {
                self.shard.gauges().accepted += 1;
                self.ring.admit(number, stream.as_raw_fd());
                let reading = self.conns.insert(number, stream.into()).read();
                self.steer(number, reading);
            }
            Err(refusal) => {
                self.shard.gauges().refused += 1;
                self.census.leave(self.id);
                // A fresh socket's buffer takes a line at once; if not, the peer sees only the close.
                let _ = stream.set_nonblocking(true);
                let _ = (&stream).write(refusal);
            }
        }
    }

    pub(super) fn accept_ended(&mut self, listener: u32, errno: i32) {
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
    pub(super) fn resume_accepting(&mut self) -> Option<u64> {
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
}
