//! Long arguments become ropes as they arrive.
//!
//! ```text
//!  *3 SET k $1000000000        the parser waits for more than LONG_BYTES_MIN
//!    | begin_gathering          what has come of the value leaves the inbound buffer
//!    v
//!  inbound  *3 SET k            rope  [leaf][leaf][lea...      each receive is appended, so many bytes a turn
//!    | the last byte is there
//!    v
//!  inbound  *3 SET k $0         longs [(2, rope)]              the request is whole: an empty word stands for the value
//! ```
//!
//! So a value of a gigabyte is never in one piece, neither copied nor freed in one turn. While much of it is to come, it is received through few
//! buffers of its own (`Order::ReadLong`), so that others have theirs. A row of `Flags::LONG` takes its words from
//! `Ctx::content`; what is recorded shares it, and a request that is queued, waits, or goes to other lanes takes them along. For all others the words
//! are put in place again: a copy, as ever.

use super::dispatch::Flow;
use super::{ConnId, Order, Shard};
use crate::base::hash::KeyHash;
use crate::base::limits;
use crate::command::gathering::{Arriving, LINE_END};
use crate::command::table::Found;
use crate::command::{Caller, Command, Flags};
use crate::store::incoming::Incoming;
use crate::types::Object;
use crate::types::rope::Rope;
use crate::wire::output::Output;
use crate::wire::request::Args;
use crate::wire::resp::Parser;

impl Shard {
    /// Received bytes that belong to a long word go there; what is left of them. When the word is whole, so may be its request.
    pub(super) fn gather<'b>(&mut self, conn: ConnId, bytes: &'b [u8]) -> &'b [u8] {
        let Some(client) = self.clients.slab.get_mut(conn.0) else { return &[] };
        let Some(gathering) = &mut client.gathering else { return bytes };
        let Some(arriving) = &mut gathering.arriving else { return bytes };
        let (taken, rest) = bytes.split_at(arriving.left.min(bytes.len()));
        let content = arriving.left.saturating_sub(LINE_END).min(taken.len());
        arriving.rope.append(&taken[..content]);
        arriving.left -= taken.len();
        self.ran += u32::try_from(taken.len() / limits::LONG_BYTES_PER_REQUEST).unwrap_or(u32::MAX);
        if arriving.left == 0
            && let Some(Arriving { word, rope, .. }) = gathering.arriving.take()
        {
            gathering.done.push(word, rope);
            if std::mem::take(&mut gathering.told) {
                self.clients.orders.push_back(Order::ReadShort(conn));
            }
            client.inbound.bytes.extend_from_slice(b"$0\r\n\r\n");
            client.parser = Parser::default();
        }
        rest
    }

    /// Whether a long word is arriving: then received bytes are for it alone.
    #[inline]
    pub(super) fn is_gathering(&self, conn: ConnId) -> bool {
        let client = self.clients.slab.get(conn.0);
        client.and_then(|client| client.gathering.as_ref()).is_some_and(|gathering| gathering.arriving.is_some())
    }

    /// If the parser waits for a long word, what has come of it leaves the inbound buffer.
    #[inline]
    pub(super) fn begin_gathering(&mut self, conn: ConnId) {
        let Some(client) = self.clients.slab.get(conn.0) else { return };
        if client.parser.awaited().is_some_and(|awaited| awaited.len >= self.slicing.long_bytes_min) {
            self.take_out(conn);
        }
    }

    #[cold]
    fn take_out(&mut self, conn: ConnId) {
        let Some(client) = self.clients.slab.get_mut(conn.0) else { return };
        let Some(awaited) = client.parser.awaited() else { return };
        let start = client.inbound.at;
        let content = start + awaited.at;
        let (mut rope, left) = (Rope::default(), awaited.len + LINE_END - (client.inbound.bytes.len() - content));
        let there = client.inbound.bytes.len().min(content + awaited.len);
        rope.append(&client.inbound.bytes[content..there]);
        // The word's own header goes too: its `$` is the last byte of that kind before the content.
        let header = memchr::memrchr(b'$', &client.inbound.bytes[..content]).unwrap_or(start);
        client.inbound.bytes.truncate(header);
        client.inbound.bytes.shrink_to(limits::BACKLOG_BYTES_MAX);
        client.parser = Parser::default();
        let gathering = client.gathering.get_or_insert_default();
        gathering.arriving = Some(Arriving { word: awaited.word, rope, left });
        if left > limits::READ_APART_BYTES_MIN {
            gathering.told = true;
            self.clients.orders.push_back(Order::ReadLong(conn));
        }
    }

    /// Its request did not run: it keeps them.
    pub(super) fn keep_longs(&mut self, conn: ConnId, longs: Incoming) {
        match self.clients.slab.get_mut(conn.0) {
            Some(client) => client.gathering.get_or_insert_default().done = longs,
            None => self.bury_longs(longs.into_ropes()),
        }
    }

    pub(super) fn bury_longs(&mut self, ropes: impl Iterator<Item = Rope>) {
        ropes.for_each(|rope| self.store.graves.bury_object(Object::Rope(rope)));
    }

    /// Runs a request that has long words.
    #[cold]
    pub(super) fn run_long(
        &mut self,
        caller: &mut Caller,
        found: Option<Found>,
        args: Args<'_>,
        first: KeyHash,
        out: &mut Output,
    ) -> Flow {
        let longs = std::mem::take(&mut self.longs);
        if found.is_some_and(|found| takes_long(found.row, args, &longs)) {
            self.lend(longs);
            let flow = self.run_routed(caller, found, args, first, out);
            // Taken by the handler, or by whoever carries the request on.
            let left = self.take_back();
            return self.after_long(flow, left);
        }
        let whole = longs.put_into(args);
        // The key itself may be long.
        let first = found.map_or(first, |found| self.first_of(found.row, whole.args()));
        let flow = self.run_routed(caller, found, whole.args(), first, out);
        if std::mem::take(&mut self.adopts) {
            self.keep_whole(whole);
        }
        self.after_long(flow, longs)
    }

    /// Runs something with these long words in reach; what of them is not taken dies.
    #[inline]
    pub(super) fn with_longs(&mut self, longs: Incoming, run: impl FnOnce(&mut Self)) {
        if longs.is_empty() {
            return run(self);
        }
        self.lend(longs);
        run(self);
        let left = self.take_back();
        self.bury_longs(left.into_ropes());
    }

    fn lend(&mut self, longs: Incoming) {
        if self.store.effects.recording {
            self.store.effects.longs = longs.clone();
        }
        self.store.incoming = longs;
    }

    fn take_back(&mut self) -> Incoming {
        let stated = std::mem::take(&mut self.store.effects.longs);
        self.bury_longs(stated.into_ropes());
        std::mem::take(&mut self.store.incoming)
    }

    fn after_long(&mut self, flow: Flow, left: Incoming) -> Flow {
        if flow == Flow::Wait {
            self.longs = left;
        } else {
            self.bury_longs(left.into_ropes());
        }
        flow
    }
}

/// Whether all long words are values that the handler takes by `Ctx::content`: of a pair, or the second or third word of a request. What
/// is a key or may be an option's value is wanted in one piece.
fn takes_long(row: &Command, args: Args<'_>, longs: &Incoming) -> bool {
    let is_key = |word: usize| row.keys.positions(args).any(|key| key == word);
    let is_value = |word: usize| row.keys.step == 2 || word == 2 || word == 3;
    row.flags.has(Flags::LONG) && longs.words().all(|word| !is_key(word) && is_value(word))
}
