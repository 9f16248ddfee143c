//! Replies that wait for the disk, by how far it must have come.
//!
//! ```text
//!  own connection          its replies stand behind an empty place (command/owed.rs), which is paid when the stream is firm
//!  another lane's          the answer waits here, with its reply
//!  a command over several  its home asks every lane that took part to tell when it is firm; the reply waits at home
//! ```

use std::collections::BTreeMap;

use super::super::message::{Message, Ticket};
use super::super::{Shard, ShardId};
use crate::base::slab::Slab;
use crate::command::Caller;
use crate::command::clients::{BlockId, Closing};
use crate::command::owed::{Barrier, Where};
use crate::persist::Position;
use crate::wire::output::{Mark, Output};

/// What leaves when the stream is firm.
#[derive(Debug)]
pub(in crate::shard) enum Parting {
    /// What stands behind an empty place of our own connection.
    Gate(Ticket),
    /// A reply to our own connection.
    Reply(Ticket, Output),
    /// The answer to another lane.
    Done(ShardId, Ticket, Output),
    /// The reply to a request that waited for a key, wherever it is from.
    Served(ShardId, BlockId, Output),
    /// A home asked to be told, by its number for it.
    Tell(ShardId, u32),
}

/// What comes when all lanes have told.
#[derive(Debug)]
enum Settles {
    /// The reply of a command over several lanes.
    Reply(Ticket, Output),
    /// WAITAOF.
    Block(BlockId),
}

#[derive(Debug)]
struct Settling {
    settles: Settles,
    /// Lanes that have not told.
    waiting: usize,
    lost: bool,
}

#[derive(Debug, Default)]
pub(in crate::shard) struct Withheld {
    waiting: BTreeMap<Position, Vec<Parting>>,
    settling: Slab<Settling>,
}

impl Withheld {
    /// Up to where somebody waits.
    pub(super) fn last(&self) -> Position {
        self.waiting.last_key_value().map_or_else(Position::default, |(until, _)| *until)
    }

    pub(in crate::shard) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.settling.is_empty()
    }

    fn insert(&mut self, until: Position, parting: Parting) {
        self.waiting.entry(until).or_default().push(parting);
    }
}

impl Shard {
    /// Lets something leave when the stream is firm up to `until`, which without a journal it is.
    pub(in crate::shard) fn withhold(&mut self, until: Position, parting: Parting) {
        if self.is_firm(until) {
            return self.depart(parting, Fate::Firm);
        }
        let Some(durable) = &mut self.durable else { return };
        if durable.journal.has_failed() {
            return self.depart(parting, Fate::Lost);
        }
        durable.withheld.insert(until, parting);
    }

    /// The replies since `mark` belong to what just ran for `caller`: if they show what is not on the disk, they stand behind an empty place
    /// from now on, one for all of a run over the connection's input.
    #[cold]
    pub(in crate::shard) fn gate(&mut self, caller: &Caller, mark: Mark, out: &mut Output) {
        let until = self.take_until();
        // A request that waits has taken along what stood before it, and says nothing yet.
        if !caller.fsyncs || !out.reaches(mark) || self.is_firm(until) {
            return;
        }
        if let Some((_, last)) = self.durable.as_mut().and_then(|durable| durable.gate.as_mut()) {
            *last = until.max(*last);
            return;
        }
        let withheld = out.split_off(mark);
        let ticket = self.owe(caller, Where::Disk, Barrier::No, false, out);
        let spare = std::mem::replace(out, withheld);
        self.keep_spare(spare);
        if let Some(durable) = &mut self.durable {
            durable.gate = Some((ticket, until));
        }
    }

    /// The run over the connection's input is over.
    #[cold]
    pub(in crate::shard) fn close_gate(&mut self) {
        if let Some((ticket, until)) = self.durable.as_mut().and_then(|durable| durable.gate.take()) {
            self.withhold(until, Parting::Gate(ticket));
        }
    }

    /// The stream is firm up to a further place.
    pub(super) fn let_go(&mut self) {
        loop {
            let Some(durable) = &mut self.durable else { return };
            if !durable.is_promised() {
                return;
            }
            let firm = durable.journal.firm();
            let Some(first) = durable.withheld.waiting.first_entry().filter(|first| *first.key() <= firm) else {
                return;
            };
            first.remove().into_iter().for_each(|parting| self.depart(parting, Fate::Firm));
        }
    }

    /// The disk has failed here or on another lane, which had passed so many marks: from now on nothing is written, and what waits is lost.
    pub(in crate::shard) fn disk_failed(&mut self, era: u32, why: Box<str>) {
        if self.durable.as_ref().is_some_and(|durable| durable.journal.has_failed()) {
            self.lose_withheld();
        }
        if self.is_mended(era) || self.disk_failure.as_ref().is_some_and(|(known, _)| *known >= era) {
            return;
        }
        self.disk_failure = Some((era, why));
        self.is_restricted = true;
        self.mend_later();
        // Who waited for room is told now.
        self.feed_starved();
    }

    /// What waits for the disk waits in vain.
    pub(super) fn lose_withheld(&mut self) {
        let Some(durable) = &mut self.durable else { return };
        let waiting = std::mem::take(&mut durable.withheld.waiting);
        waiting.into_values().flatten().for_each(|parting| self.depart(parting, Fate::Lost));
    }

    pub(super) fn depart(&mut self, parting: Parting, fate: Fate) {
        match (parting, fate) {
            (Parting::Gate(ticket), Fate::Firm) => self.pay(ticket, |_| ()),
            (Parting::Reply(ticket, reply), Fate::Firm) => self.pay(ticket, |out| out.append(reply)),
            (Parting::Gate(ticket) | Parting::Reply(ticket, _), Fate::Lost) => self.lose(ticket),
            (Parting::Done(home, ticket, reply), Fate::Firm) => {
                self.outboxes[home.index()].push_reply(&reply, |piece| Message::Done { ticket, piece });
            }
            (Parting::Done(home, ticket, _), Fate::Lost) => {
                self.outboxes[home.index()].messages.push(Message::Lost { ticket });
            }
            (Parting::Served(home, block, reply), Fate::Firm) if home == self.me => {
                self.redeem(block, |out| out.append(reply));
            }
            (Parting::Served(home, block, _), Fate::Lost) if home == self.me => self.lose_block(block),
            (Parting::Served(home, block, reply), Fate::Firm) => {
                self.outboxes[home.index()].push_reply(&reply, |piece| Message::Served { block, piece });
            }
            (Parting::Served(home, block, _), Fate::Lost) => {
                self.outboxes[home.index()].messages.push(Message::LostBlock { block });
            }
            (Parting::Tell(home, number), fate) if home == self.me => self.told(number, fate),
            (Parting::Tell(home, number), fate) => {
                self.outboxes[home.index()].messages.push(Message::Told { number, fate });
            }
        }
    }

    /// A reply whose write may be lost: its connection ends, and learns by that that the outcome is unknown.
    pub(in crate::shard) fn lose(&mut self, ticket: Ticket) {
        let conn = self.conn_of(ticket);
        // Closed first: what stands behind must not leave either.
        self.clients.close(conn, Closing::Now);
        self.pay(ticket, |_| ());
    }

    /// A command over several lanes is over: its reply leaves when the journals are firm on these lanes, up to there each.
    pub(in crate::shard) fn pay_when_durable(&mut self, ticket: Ticket, reply: Output, lanes: &[(ShardId, Position)]) {
        if lanes.is_empty() {
            return self.pay(ticket, |out| out.append(reply));
        }
        self.settle_when_firm(Settles::Reply(ticket, reply), lanes, Asks::Reply);
    }

    /// As [`Self::pay_when_durable`], for a reply that shows what others have written, of these lanes everything.
    pub(in crate::shard) fn pay_when_shown(
        &mut self,
        ticket: Ticket,
        reply: Output,
        lanes: impl Iterator<Item = ShardId>,
    ) {
        let lanes: Vec<(ShardId, Position)> = lanes.map(|lane| (lane, Position::MAX)).collect();
        if lanes.is_empty() {
            return self.pay(ticket, |out| out.append(reply));
        }
        self.settle_when_firm(Settles::Reply(ticket, reply), &lanes, Asks::Shown);
    }

    /// WAITAOF is told when the journals of all lanes are firm up to where they end now.
    pub(super) fn tell_block_when_firm(&mut self, block: BlockId) {
        let lanes: Vec<(ShardId, Position)> = self.lanes.all().map(|lane| (lane, Position::MAX)).collect();
        self.settle_when_firm(Settles::Block(block), &lanes, Asks::WaitAof);
    }

    fn settle_when_firm(&mut self, settles: Settles, lanes: &[(ShardId, Position)], asks: Asks) {
        let settling = Settling { settles, waiting: lanes.len(), lost: false };
        let durable = self.durable.as_mut().expect("who waits for the disk keeps a journal");
        let number = durable.withheld.settling.insert(settling);
        for (lane, until) in lanes {
            if *lane == self.me {
                self.tell_when_firm(self.me, number, *until, asks);
            } else {
                self.outboxes[lane.index()].messages.push(Message::WhenFirm { number, until: *until, asks });
            }
        }
    }

    /// A home wants to know when the stream is firm. What was not in the journal when it asked for all of it is by now: orders and
    /// questions come in their order.
    pub(in crate::shard) fn tell_when_firm(&mut self, home: ShardId, number: u32, until: Position, asks: Asks) {
        let (until, parting) = (until.min(self.journal_end()), Parting::Tell(home, number));
        if asks == Asks::WaitAof && self.durable.as_ref().is_none_or(|durable| !durable.is_decided()) {
            return self.rewrites.curious.push((home, number));
        }
        if asks == Asks::Shown && self.durable.as_ref().is_none_or(|durable| !durable.shows_unsure()) {
            return self.depart(parting, Fate::Firm);
        }
        self.withhold(until, parting);
    }

    pub(in crate::shard) fn told(&mut self, number: u32, fate: Fate) {
        let Some(durable) = &mut self.durable else { return };
        let settling = durable.withheld.settling.get_mut(number).expect("told by each lane once");
        settling.waiting -= 1;
        settling.lost |= fate == Fate::Lost;
        if settling.waiting > 0 {
            return;
        }
        let Settling { settles, lost, .. } = durable.withheld.settling.remove(number).expect("just looked at");
        match settles {
            Settles::Reply(ticket, _) if lost => self.lose(ticket),
            Settles::Reply(ticket, reply) => self.pay(ticket, |out| out.append(reply)),
            Settles::Block(block) => self.end_waitaof(block, if lost { Fate::Lost } else { Fate::Firm }),
        }
    }
}

/// Who asks when a journal is firm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::shard) enum Asks {
    /// Somebody whose reply waits, if anything is promised.
    Reply,
    /// The same, of a reply that shows only what others have written.
    Shown,
    /// Somebody who wants to know, however long it takes.
    WaitAof,
}

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::shard) enum Fate {
    Firm,
    /// It may be on the disk or not.
    Lost,
}
