//! What the runtime knows of a connection, and what it decides about it. No I/O here: each function changes the state and
//! says what to do, the turn does it.
//!
//! ```text
//!            open                    CloseAfterFlush                    last send done
//!   accept --------> Open ---------------------------> AfterFlush --------------------+
//!                      |                                   |                           v
//!                      +---- Close, send or receive failed-+----------------------> Severed
//!                                                                                      |  cancel what is in flight,
//!                                                                                      v  wait for its end
//!                                                              shard.closed, close <- gone
//! ```
//!
//! The shard's number is freed only when nothing of the connection is in flight any more, and each number carries a generation
//! that changes with every use: a late completion finds nobody.

use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use super::ring::{Pool, SendName, Token};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Recv {
    Idle,
    Armed(Pool),
    /// A cancel is on its way; the receive's own end has not been seen.
    Cancelling,
    /// The peer has closed its side: never armed again.
    Ended,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    Open,
    AfterFlush,
    Severed,
}

/// What to do next for a connection that is being closed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Settle {
    Nothing,
    /// Cancel the receive and the send that are in flight; each end comes back here.
    Cancel {
        receive: Option<Pool>,
        send: Option<SendName>,
    },
    /// Nothing is in flight: tell the shard, close the socket.
    Close,
}

/// What to do about the receive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    Leave,
    Arm(Pool),
    Cancel(Pool),
}

#[derive(Debug)]
pub(super) struct Conn {
    fd: OwnedFd,
    token: Token,
    recv: Recv,
    /// Where the next receive goes.
    pool: Pool,
    life: Life,
    wants_input: bool,
    sending: Option<SendName>,
    /// The shard announced more output while a send was in flight.
    flush_again: bool,
}

impl Conn {
    pub(super) fn fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }

    pub(super) fn token(&self) -> Token {
        self.token
    }

    /// Whether input and its end still interest the shard.
    pub(super) fn is_open(&self) -> bool {
        self.life == Life::Open
    }

    /// The shard has output. True: take and send it now; false: later, or never.
    pub(super) fn flush(&mut self) -> bool {
        if self.life == Life::Severed {
            return false;
        }
        self.flush_again = self.sending.is_some();
        self.sending.is_none()
    }

    /// As `flush`, and then no more. True: take and send it now.
    pub(super) fn close_after_flush(&mut self) -> bool {
        if self.life == Life::Open {
            self.life = Life::AfterFlush;
        }
        self.flush()
    }

    pub(super) fn send_started(&mut self, send: SendName) {
        let before = self.sending.replace(send);
        assert!(before.is_none(), "one send in flight per connection");
    }

    /// The send is over. True: there is more to take and send.
    pub(super) fn send_ended(&mut self) -> bool {
        let ended = self.sending.take();
        assert!(ended.is_some(), "only a send in flight ends");
        std::mem::take(&mut self.flush_again) && self.life != Life::Severed
    }

    /// The send in flight failed: what is unsent stays so, and `settle` will sever the connection.
    pub(super) fn send_failed(&mut self) {
        if self.life == Life::Open {
            self.life = Life::AfterFlush;
        }
        self.flush_again = false;
    }

    /// A partial send goes on unless the connection is being cut.
    pub(super) fn send_continues(&self) -> bool {
        self.life != Life::Severed
    }

    pub(super) fn read(&mut self) -> Reading {
        self.wants_input = true;
        self.rearm()
    }

    pub(super) fn stop_reading(&mut self) -> Reading {
        self.wants_input = false;
        self.interrupt()
    }

    /// From now on input goes to these buffers.
    pub(super) fn read_into(&mut self, pool: Pool) -> Reading {
        if self.pool == pool {
            return Reading::Leave;
        }
        self.pool = pool;
        self.interrupt()
    }

    fn interrupt(&mut self) -> Reading {
        let Recv::Armed(pool) = self.recv else { return Reading::Leave };
        self.recv = Recv::Cancelling;
        Reading::Cancel(pool)
    }

    /// The multishot receive ended, for a reason that lets it begin again.
    pub(super) fn receive_stopped(&mut self) -> Reading {
        self.recv = Recv::Idle;
        self.rearm()
    }

    /// The peer closed its side.
    pub(super) fn receive_ended(&mut self) {
        self.recv = Recv::Ended;
    }

    fn rearm(&mut self) -> Reading {
        if self.recv != Recv::Idle || !self.wants_input || self.life != Life::Open {
            return Reading::Leave;
        }
        self.recv = Recv::Armed(self.pool);
        Reading::Arm(self.pool)
    }

    /// Cuts the connection now, whatever is unsent.
    pub(super) fn sever(&mut self) -> Settle {
        self.life = Life::Severed;
        self.flush_again = false;
        if !self.in_flight() {
            return Settle::Close;
        }
        let receive = match self.interrupt() {
            Reading::Cancel(pool) => Some(pool),
            _ => None,
        };
        Settle::Cancel { receive, send: self.sending }
    }

    /// After anything ended: is a closing connection done?
    pub(super) fn settle(&mut self) -> Settle {
        match self.life {
            Life::Open => Settle::Nothing,
            Life::AfterFlush if self.sending.is_some() || self.flush_again => Settle::Nothing,
            Life::AfterFlush => self.sever(),
            Life::Severed if self.in_flight() => Settle::Nothing,
            Life::Severed => Settle::Close,
        }
    }

    fn in_flight(&self) -> bool {
        self.sending.is_some() || matches!(self.recv, Recv::Armed(_) | Recv::Cancelling)
    }
}

/// The connections of a lane under the shard's numbers.
#[derive(Debug, Default)]
pub(super) struct Conns {
    places: Vec<Place>,
    len: usize,
}

#[derive(Debug)]
struct Place {
    generation: u32,
    conn: Option<Conn>,
}

impl Conns {
    /// A connection that wants input, nothing of it in flight yet.
    pub(super) fn insert(&mut self, number: u32, fd: OwnedFd) -> &mut Conn {
        let index = number as usize;
        if index >= self.places.len() {
            self.places.resize_with(index + 1, || Place { generation: 0, conn: None });
        }
        let place = &mut self.places[index];
        assert!(place.conn.is_none(), "the shard gives out a number only after `closed`");
        place.generation = (place.generation + 1) & Token::GENERATION_MASK;
        self.len += 1;
        place.conn.insert(Conn {
            fd,
            token: Token { conn: number, generation: place.generation },
            recv: Recv::Idle,
            pool: Pool::Common,
            life: Life::Open,
            wants_input: false,
            sending: None,
            flush_again: false,
        })
    }

    /// The connection a completion belongs to, if it is still that one.
    #[inline]
    pub(super) fn of(&mut self, token: Token) -> Option<&mut Conn> {
        self.at(token.conn).filter(|conn| conn.token == token)
    }

    #[inline]
    pub(super) fn at(&mut self, number: u32) -> Option<&mut Conn> {
        self.places.get_mut(number as usize)?.conn.as_mut()
    }

    pub(super) fn remove(&mut self, number: u32) -> Option<OwnedFd> {
        let conn = self.places.get_mut(number as usize)?.conn.take()?;
        self.len -= 1;
        Some(conn.fd)
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }
}

/// Ten thousand idle connections cost the runtime a quarter of a megabyte.
const _: () = assert!(size_of::<Place>() <= 32);

#[cfg(test)]
mod tests {
    use super::*;

    fn conns() -> Conns {
        let mut conns = Conns::default();
        conns.insert(3, super::super::sys::eventfd().unwrap().into());
        conns
    }

    #[test]
    fn a_completion_of_a_closed_connection_finds_nobody() {
        let mut conns = conns();
        let old = conns.at(3).unwrap().token();
        drop(conns.remove(3));
        assert!(conns.of(old).is_none());
        let new = conns.insert(3, super::super::sys::eventfd().unwrap().into()).token();
        assert!(conns.of(old).is_none() && conns.of(new).is_some());
        assert_eq!(conns.len(), 1);
    }

    #[test]
    fn generations_wrap_and_still_differ() {
        let mut conns = conns();
        conns.places[3].generation = Token::GENERATION_MASK - 1;
        let mut seen = Vec::new();
        for _ in 0..4 {
            drop(conns.remove(3));
            let token = conns.insert(3, super::super::sys::eventfd().unwrap().into()).token();
            assert!(seen.iter().all(|old| conns.of(*old).is_none()), "{seen:?} and {token:?}");
            seen.push(token);
        }
        let generations: Vec<u32> = seen.iter().map(|token| token.generation).collect();
        assert_eq!(generations, [Token::GENERATION_MASK, 0, 1, 2]);
    }

    #[test]
    fn closing_waits_for_what_is_in_flight() {
        let mut conns = conns();
        let conn = conns.at(3).unwrap();
        assert_eq!(conn.read(), Reading::Arm(Pool::Common));
        assert!(conn.flush());
        conn.send_started(SendName::TEST);
        assert!(!conn.close_after_flush(), "the output waits for the send in flight");
        assert_eq!(conn.settle(), Settle::Nothing);
        assert!(conn.send_ended(), "and is then taken");
        conn.send_started(SendName::TEST);
        assert!(!conn.send_ended());
        assert_eq!(conn.settle(), Settle::Cancel { receive: Some(Pool::Common), send: None });
        assert_eq!(conn.settle(), Settle::Nothing, "cancelled once");
        assert_eq!(conn.receive_stopped(), Reading::Leave);
        assert_eq!(conn.settle(), Settle::Close);
    }

    #[test]
    fn reading_stops_and_starts_across_a_cancel() {
        let mut conns = conns();
        let conn = conns.at(3).unwrap();
        assert_eq!(conn.read(), Reading::Arm(Pool::Common));
        assert_eq!(conn.stop_reading(), Reading::Cancel(Pool::Common));
        assert_eq!(conn.read(), Reading::Leave, "the cancel is on its way");
        assert_eq!(conn.receive_stopped(), Reading::Arm(Pool::Common), "and its end arms again");
        assert_eq!(conn.read_into(Pool::Long), Reading::Cancel(Pool::Common));
        assert_eq!(conn.read_into(Pool::Common), Reading::Leave, "the cancel is on its way");
        assert_eq!(conn.read_into(Pool::Long), Reading::Leave);
        assert_eq!(conn.receive_stopped(), Reading::Arm(Pool::Long), "and its end arms where the last word said");
        assert_eq!(conn.read_into(Pool::Long), Reading::Leave);
        conn.receive_ended();
        assert_eq!(conn.read(), Reading::Leave, "never after the peer's end");
    }
}
