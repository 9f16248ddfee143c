//! What clients ask, shown to those who watch: a request is told by its home when it has its turn, to the watchers there and, as text, to
//! the lanes that have some. While anybody watches, no request takes a short way (`dispatch.rs`), so that nothing is asked for it otherwise.

use super::Shard;
use super::message::Message;
use crate::base::lanes::ShardId;
use crate::command::clients::ConnId;
use crate::command::monitor;
use crate::command::table::Found;
use crate::command::{Caller, Flags, Run, Verb};
use crate::store::incoming::Incoming;
use crate::wire::output::Output;
use crate::wire::request::Args;

impl Shard {
    /// A request has its turn, and somebody watches. EXEC stands behind what it runs, as in Redis. `out`: the replies to its connection, which
    /// may watch itself.
    #[cold]
    #[inline(never)]
    pub(super) fn tell_monitors(&mut self, caller: &Caller, found: Found, args: Args<'_>, out: &mut Output) {
        let mut lines = Vec::new();
        if matches!(found.row.run, Run::Verb(Verb::Exec)) {
            self.add_queue(caller, &mut lines);
        }
        self.add_line(caller, found, args, &self.store.incoming, &mut lines);
        if lines.is_empty() {
            return;
        }
        for lane in self.clients.monitors.lanes() {
            self.outboxes[lane.index()].messages.push(Message::Asked { lines: lines.as_slice().into() });
        }
        // Its own RESET it does not see.
        if self.clients.monitors.is_monitor(caller.client) && found.row.name != "reset" {
            out.bytes.extend_from_slice(&lines);
        }
        self.show(&lines, self.clients.monitors.here(false).filter(|conn| *conn != caller.conn).collect());
    }

    fn add_queue(&self, caller: &Caller, lines: &mut Vec<u8>) {
        let queue = self.clients.get(caller.conn).and_then(|client| client.multi.as_ref());
        for queued in queue.filter(|multi| !multi.is_broken).iter().flat_map(|multi| multi.queue.iter()) {
            let found = self.table.found(queued.command);
            self.add_line(caller, found, queued.request.args(), &queued.longs, lines);
        }
    }

    /// Nothing, of what administrates.
    fn add_line(&self, caller: &Caller, found: Found, args: Args<'_>, longs: &Incoming, lines: &mut Vec<u8>) {
        let client = self.clients.get(caller.conn);
        if let Some(client) = client.filter(|_| !found.row.flags.has(Flags::ADMIN.and(Flags::SKIP_MONITOR))) {
            lines.extend(monitor::line(self.now.unix_us, caller.db, client.peer, (found.row, args, longs)));
        }
    }

    /// Clients of another lane asked this.
    pub(super) fn show_others(&mut self, lines: &[u8]) {
        self.show(lines, self.clients.monitors.here(true).collect());
    }

    fn show(&mut self, lines: &[u8], watchers: Vec<ConnId>) {
        for conn in watchers {
            if let Some(client) = self.clients.get_mut(conn) {
                client.tail().bytes.extend_from_slice(lines);
                self.clients.order_flush(conn);
            }
        }
    }

    /// Somebody may have begun to watch here, or ceased to.
    pub(super) fn follow_monitors(&mut self) {
        let Some(watches) = self.clients.monitors.take_change() else { return };
        for lane in 0..self.lanes.count() {
            if lane != self.me.0 {
                self.outboxes[ShardId(lane).index()].messages.push(Message::Watches { watches });
            }
        }
    }
}
