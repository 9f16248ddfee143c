//! SLOWLOG's entries on their way: noted where a request ran, kept where its connection is, since there one knows whose it is.

use super::Shard;
use super::execute::TIMED_ONE_IN;
use super::message::Message;
use crate::admin::slowlog::{Entry, Slowlog};
use crate::command::clients::ConnId;
use crate::command::clipped::clipped;
use crate::command::sliced::Effort;
use crate::command::{Caller, Command, Flags};
use crate::store::incoming::Incoming;
use crate::wire::request::{Args, Request};

/// A request that took long, as another lane tells its home.
#[derive(Debug)]
pub(super) struct Slow {
    conn: ConnId,
    client: u64,
    entry: Entry,
}

/// Calls of constant time that pass before the next of their command is timed: none where any may be slow enough.
pub(super) fn untimed_gap(slowlog: &Slowlog) -> u8 {
    if slowlog.is_fine() { 0 } else { TIMED_ONE_IN - 1 }
}

impl Shard {
    /// A request is about to run that is timed, and some of its words are too long to be still there afterwards.
    #[cold]
    pub(super) fn clip_long(&mut self, row: &Command, args: Args<'_>) {
        self.clipped = self.slowlog.is_on().then(|| Box::new(clipped(row, args, &self.store.incoming)));
    }

    fn take_clipped(&mut self, row: &Command, args: Args<'_>) -> Box<Request> {
        self.clipped.take().unwrap_or_else(|| Box::new(clipped(row, args, &Incoming::default())))
    }

    /// A request has begun a job.
    pub(super) fn begin_effort(&mut self, row: &Command, args: Args<'_>, ns: u64) -> Effort {
        Effort { ns, request: self.slowlog.is_on().then(|| self.take_clipped(row, args)) }
    }

    /// A request took long.
    #[cold]
    pub(super) fn note_slow(&mut self, caller: &Caller, row: &Command, args: Args<'_>, took_ns: u64) {
        let request = self.take_clipped(row, args);
        self.note_slow_request(caller, row, *request, took_ns);
    }

    #[cold]
    pub(super) fn note_slow_request(&mut self, caller: &Caller, row: &Command, request: Request, took_ns: u64) {
        // Nobody's are those that repeat a journal.
        if caller.client == 0 || row.flags.has(Flags::SKIP_SLOWLOG) {
            return;
        }
        let share_of = (!self.lanes.is_one() && !row.is_lone()).then_some((caller.client, caller.number));
        let entry = Entry { id: 0, unix_us: 0, took_ns, request, peer: None, name: Box::default(), share_of };
        let slow = Slow { conn: caller.conn, client: caller.client, entry };
        if caller.home == self.me {
            self.keep_slow(slow);
        } else {
            self.outboxes[caller.home.index()].messages.push(Message::Slow { slow: Box::new(slow) });
        }
    }

    pub(super) fn keep_slow(&mut self, Slow { conn, client, mut entry }: Slow) {
        // By the clock of one lane, as its client saw them.
        entry.unix_us = self.now.unix_us;
        if let Some(client) = self.clients.get(conn).filter(|known| known.id == client) {
            (entry.peer, entry.name) = (Some(client.peer), client.name.clone());
        }
        self.slowlog.keep(entry, self.me.0, self.lanes.count());
    }

    /// Follows the options. When calls of constant time are timed, too, the next of each is.
    pub(super) fn follow_slowlog(&mut self) {
        self.slowlog.follow(self.config.slowlog_slower_than_us(), self.config.slowlog_len_max());
        let gap = untimed_gap(&self.slowlog);
        if std::mem::replace(&mut self.untimed_gap, gap) > gap {
            self.stats.commands.iter_mut().for_each(|command| command.untimed_left = 0);
        }
    }
}
