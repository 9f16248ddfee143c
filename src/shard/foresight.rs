//! Requests recognised before their turn has come, so that the memory of many keys is loaded at once.
//!
//! ```text
//!  completions of a batch    [A: GET a] [B: GET b] [C: SET c ..]     one receive each
//!    foresee                  parse, look up, hash, load the bucket; then, for all of them, load the entry
//!    feed A, feed B, feed C   each finds its first request staged already
//! ```
//!
//! Clients that send one request and wait for its reply have no pipeline to prefetch from. Run one after the other, each of their
//! requests waits alone for its bucket and its entry; over a batch of them these waits overlap. Nothing is done twice: the stage of an
//! input begins with what was foreseen of it. What was foreseen is a function of the bytes alone, and used only for these very bytes as
//! the head of a connection's input, so that nothing which happens in between can make it wrong.

use std::collections::VecDeque;

use super::input::{Staged, bounds};
use super::{ConnId, Shard};
use crate::command::clients::Closing;
use crate::store::entry::ValueRef;
use crate::wire::request::{Args, Span};
use crate::wire::resp::{Parser, Step};

/// The first requests of the inputs that will be fed next, in that order.
#[derive(Default)]
pub(super) struct Foresight {
    requests: VecDeque<Foreseen>,
    spans: Vec<Span>,
}

struct Foreseen {
    /// Where the input lies. Two inputs of one batch never lie in the same place.
    address: usize,
    db: u8,
    request: Staged,
}

impl Foresight {
    /// The request at the head of `bytes`, its words among `spans`, if it was foreseen.
    #[inline]
    pub(super) fn take(&mut self, bytes: &[u8], spans: &mut Vec<Span>) -> Option<Staged> {
        while let Some(Foreseen { address, mut request, .. }) = self.requests.pop_front() {
            // Others are of connections that were closed meanwhile: their input is not fed.
            if address == bytes.as_ptr().addr() {
                let first = spans.len();
                spans.extend_from_slice(&self.spans[request.spans.clone()]);
                request.spans = first..spans.len();
                // Its entry is on its way already.
                request.spot = None;
                return Some(request);
            }
        }
        None
    }
}

impl Shard {
    /// Requests of a pipeline that follow each other and have one key: if it holds a large collection, starts loading the leaves in which they
    /// will look for their fields or members. Each by itself waits for two or three lines of memory, one after the other.
    #[cold]
    #[inline(never)]
    pub(super) fn foresee_elements(&self, db: u8, bytes: &[u8]) {
        for alike in self.staged.chunk_by(|one, next| one.first == next.first) {
            if let [_, second, ..] = alike
                && second.spot.is_some()
            {
                self.foresee_elements_of(alike, db, bytes);
            }
        }
    }

    fn foresee_elements_of(&self, alike: &[Staged], db: u8, bytes: &[u8]) {
        let elements = alike.iter().filter_map(|request| {
            let (found, args) = (request.found?, Args::new(bytes, &self.spans[request.spans.clone()]));
            let word = self.table.element(found.id);
            Some((args.get(usize::from(found.row.keys.first))?, args.get(word).filter(|_| word > 0)?))
        });
        let mut elements = elements.peekable();
        let Some((key, _)) = elements.peek() else { return };
        let Some(entry) = self.store.db(db).find(key, alike[0].first, self.at) else { return };
        if let ValueRef::Object(object) = entry.value() {
            elements.for_each(|(_, element)| object.foresee(element, &self.store.hash_key));
        }
    }

    /// Recognises the first request of each input and starts loading what it will touch. To be called with the inputs that are fed
    /// next, in their order; one that is not fed after all does no harm.
    pub fn foresee<'a>(&mut self, inputs: impl Iterator<Item = (ConnId, &'a [u8])>) {
        let mut foresight = std::mem::take(&mut self.foresight);
        foresight.requests.clear();
        foresight.spans.clear();
        foresight
            .requests
            .extend(inputs.filter_map(|(conn, bytes)| self.first_request(conn, bytes, &mut foresight.spans)));
        foresight.requests.iter().for_each(|foreseen| self.prefetch_entry(foreseen.db, &foreseen.request));
        self.foresight = foresight;
    }

    #[inline]
    fn first_request(&self, conn: ConnId, bytes: &[u8], spans: &mut Vec<Span>) -> Option<Foreseen> {
        let client = self.clients.slab.get(conn.0)?;
        // Input behind other input goes to the inbound buffer and is never taken from here.
        if !client.inbound.is_empty() || !client.is_let_in() || client.closing != Closing::No {
            return None;
        }
        let first_span = spans.len();
        let bounds = bounds(client, self.config.bulk_bytes_max());
        let Step::Request { end } = Parser::default().next(bytes, 0, spans, &bounds) else { return None };
        let (found, first) = self.look_up(Args::new(bytes, &spans[first_span..]));
        let spot = self.approach(client.db, first);
        let request = Staged { found, spans: first_span..spans.len(), first, spot, end, inline: None };
        Some(Foreseen { address: bytes.as_ptr().addr(), db: client.db, request })
    }
}
