//! Tickets: which reply of which connection an answer from elsewhere belongs to.
//!
//! A ticket is given out for each request that another lane runs or that waits for a key here, and is redeemed exactly once, even if its
//! connection has gone meanwhile. Tickets are what bounds all that can be under way between lanes.

use super::message::Ticket;
use super::{ConnId, Shard};
use crate::base::lanes::ShardId;
use crate::base::limits;
use crate::command::Caller;
use crate::command::clients::{Client, Closing};
use crate::command::owed::{Barrier, Where};
use crate::wire::output::Output;

/// To whom a reply is owed.
#[derive(Debug)]
pub(super) struct Debt {
    pub(super) conn: ConnId,
    /// CLIENT ID: the connection's number may be somebody else's by now.
    pub(super) client: u64,
    pub(super) number: u64,
    place: Where,
}

impl Shard {
    /// Opens a place for the reply to the caller's request. `out` holds what goes before it and is then where the next replies go.
    #[inline]
    pub(super) fn owe(
        &mut self,
        caller: &Caller,
        place: Where,
        barrier: Barrier,
        silent: bool,
        out: &mut Output,
    ) -> Ticket {
        let client = self.clients.get_mut(caller.conn).expect("a caller of this lane is connected");
        // Mostly the request before this one went to another lane too.
        if !out.is_empty() {
            put_tail(client, std::mem::replace(out, self.spares.pop().unwrap_or_default()));
        }
        let number = client.owed.open(place, barrier, silent);
        if let Where::Lane(lane) | Where::Pair(lane) = place {
            self.under_way[lane.index()] += 1;
        }
        Ticket(self.debts.insert(Debt { conn: caller.conn, client: caller.client, number, place }))
    }

    /// Whose reply it is.
    pub(super) fn conn_of(&self, ticket: Ticket) -> ConnId {
        self.debts.get(ticket.0).expect("a ticket is redeemed once").conn
    }

    /// The reply has come.
    #[inline]
    pub(super) fn pay(&mut self, ticket: Ticket, write: impl FnOnce(&mut Output)) {
        let Debt { conn, client: id, number, place } = self.debts.remove(ticket.0).expect("a ticket is redeemed once");
        if let Where::Lane(lane) | Where::Pair(lane) = place {
            self.under_way[lane.index()] -= 1;
        }
        self.feed_starved();
        let Some(client) = self.clients.get_mut(conn).filter(|client| client.id == id) else {
            let mut unwanted = Output::default();
            write(&mut unwanted);
            return self.release(&mut unwanted);
        };
        let Client { owed, output, .. } = client;
        if let Some(mut unwanted) = owed.pay(number, place, output, &mut self.spares, write) {
            self.store.graves.bury_shared(unwanted.shared.take_from(0).map(|splice| splice.value));
        }
        self.spares.truncate(limits::SPARE_OUTPUTS_MAX);
        let (under_way, withheld) = (client.owed.is_under_way(), !client.owed.is_empty());
        let (waits, closing) = (client.waits, client.closing);
        if client.probe.is_some() {
            self.probe_paid(conn, number);
        }
        if withheld {
            self.linger(conn);
        } else {
            self.clients.order_flush(conn);
        }
        if under_way {
            return;
        }
        if closing == Closing::AfterReplies && !withheld {
            self.clients.close(conn, Closing::AfterFlush);
        } else if waits {
            self.resume(conn);
        }
    }

    /// Replies are ready in front of some that are owed: those are mostly there within a turn or two, and all leave by one send.
    pub(super) fn linger(&mut self, conn: ConnId) {
        let since_ns = self.now.mono_ns;
        let Some(client) = self.clients.get_mut(conn) else { return };
        if client.output.len() > limits::LINGER_BYTES_MAX {
            self.clients.order_flush(conn);
        } else if !client.lingers && !client.output.is_empty() {
            client.lingers = true;
            self.lingering.push_back((conn, since_ns));
        }
    }

    /// Lets those leave that have lingered long enough; when the next have.
    pub(super) fn end_lingering(&mut self) -> Option<u64> {
        while let Some(&(conn, since_ns)) = self.lingering.front() {
            let until_ns = since_ns + limits::LINGER_NS;
            if until_ns > self.now.mono_ns {
                return Some(until_ns);
            }
            self.lingering.pop_front();
            if let Some(client) = self.clients.get_mut(conn) {
                client.lingers = false;
                self.clients.order_flush(conn);
            }
        }
        None
    }

    /// Lets a connection's input go on that had to wait.
    pub(super) fn resume(&mut self, conn: ConnId) {
        let Some(client) = self.clients.get_mut(conn) else { return };
        client.waits = false;
        if !client.queued {
            client.queued = true;
            self.backlog.push_back(conn);
        }
    }

    /// Whether a lane has as much to do for this one as it may.
    pub(super) fn is_congested(&self, lane: ShardId) -> bool {
        self.under_way[lane.index()] >= limits::TICKETS_PER_PEER
            || self.outboxes[lane.index()].weight() > limits::OUTBOX_BYTES_MAX
    }

    /// Connections that found a lane congested try again.
    #[inline]
    pub(super) fn feed_starved(&mut self) {
        while let Some(conn) = self.starved.pop() {
            self.resume(conn);
        }
    }
}

/// Puts replies where they belong that were written while the connection's tail was lent.
pub(super) fn put_tail(client: &mut Client, replies: Output) {
    let len = replies.len();
    match client.owed.tail() {
        Some(tail) => {
            tail.append(replies);
            client.owed.count(len);
        }
        None => client.output.append(replies),
    }
}
