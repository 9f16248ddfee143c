//! The replies of a connection that others owe, in the order of its requests.
//!
//! ```text
//!  output [ready to leave]   owed  [? | replies after it][done | after][? | after]
//!                                   ^ front: when it comes, it and all that are ready behind it go to the output
//! ```
//!
//! A request that another lane runs, or that waits for a key, opens a place here; replies of later requests are written behind it. So
//! replies leave in the order of the requests, whatever the order in which they come.

use std::collections::VecDeque;

use crate::base::lanes::ShardId;
use crate::wire::output::Output;

#[derive(Debug, Default)]
struct Slot {
    /// The reply, once it has come before its turn.
    reply: Option<Output>,
    /// Nobody wants it (CLIENT REPLY).
    silent: bool,
    /// Replies of later requests, up to the next slot.
    after: Output,
}

/// Where a request that is under way runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Where {
    Lane(ShardId),
    /// On its home and this one, which was sent all of it at once: there it runs after what was sent before it, and before what is sent
    /// after it.
    Pair(ShardId),
    /// On several lanes. Nothing of its connection that writes runs beside it.
    Several,
    /// Nowhere: it has run, and what follows the place waits for the disk.
    Disk,
}

/// Whether later requests wait for this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Barrier {
    No,
    Yes,
}

/// What is owed to one connection.
#[derive(Debug, Default)]
pub struct Owed {
    slots: VecDeque<Slot>,
    /// The number of the front slot.
    first: u64,
    /// The lane on which all that are under way run, if it is one.
    lane: Option<ShardId>,
    /// Commands over several lanes among them.
    several: usize,
    /// Requests that have not been answered; what waits for the disk has been.
    under_way: usize,
    /// Commands of this lane and one other among them, all with the same other.
    pairs: usize,
    companion: Option<ShardId>,
    /// Later requests wait until nothing is owed.
    barrier: bool,
    bytes: usize,
}

impl Owed {
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Bytes of replies that cannot leave yet.
    #[inline]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    #[inline]
    pub fn is_barred(&self) -> bool {
        self.barrier
    }

    /// Whether any request has not been answered. Replies may still wait for the disk if not.
    #[inline]
    pub fn is_under_way(&self) -> bool {
        self.under_way > 0
    }

    /// Nothing more of its connection runs until nothing is owed.
    pub fn bar(&mut self) {
        self.barrier = self.is_under_way();
    }

    pub fn has_several(&self) -> bool {
        self.several > 0
    }

    pub fn has_pairs(&self) -> bool {
        self.pairs > 0
    }

    /// Whether commands of the home and a lane other than this one are under way.
    pub fn has_other_pairs(&self, companion: ShardId) -> bool {
        self.pairs > 0 && self.companion != Some(companion)
    }

    /// Whether something is under way that was not sent to this lane.
    pub fn is_elsewhere_than(&self, lane: ShardId) -> bool {
        self.is_under_way() && self.lane != Some(lane)
    }

    /// How many places were ever opened, and how many of them have left.
    #[inline]
    pub fn opened(&self) -> u64 {
        self.first + self.slots.len() as u64
    }

    #[inline]
    pub fn first(&self) -> u64 {
        self.first
    }

    /// Where replies go that follow what is owed last.
    #[inline]
    pub fn tail(&mut self) -> Option<&mut Output> {
        self.slots.back_mut().map(|slot| &mut slot.after)
    }

    /// Opens a place for a reply that others owe; its number.
    pub fn open(&mut self, place: Where, barrier: Barrier, silent: bool) -> u64 {
        self.lane = match (place, self.lane) {
            (Where::Disk, lane) => lane,
            (Where::Lane(lane) | Where::Pair(lane), _) if !self.is_under_way() => Some(lane),
            (Where::Lane(lane) | Where::Pair(lane), Some(same)) if lane == same => Some(lane),
            _ => None,
        };
        match place {
            Where::Lane(_) | Where::Disk => {}
            Where::Pair(companion) => {
                self.pairs += 1;
                self.companion = Some(companion);
            }
            Where::Several => self.several += 1,
        }
        self.under_way += usize::from(place != Where::Disk);
        self.barrier |= barrier == Barrier::Yes;
        self.slots.push_back(Slot { silent, ..Slot::default() });
        self.opened() - 1
    }

    /// A reply has come: `write` puts it where it belongs, into `output` if all before it have left. Buffers that became empty go to
    /// `spares`. A reply that nobody wants is given back.
    ///
    /// # Panics
    /// If the place was never opened: each is paid once.
    pub fn pay(
        &mut self,
        number: u64,
        place: Where,
        output: &mut Output,
        spares: &mut Vec<Output>,
        write: impl FnOnce(&mut Output),
    ) -> Option<Output> {
        match place {
            Where::Lane(_) | Where::Disk => {}
            Where::Pair(_) => self.pairs -= 1,
            Where::Several => self.several -= 1,
        }
        self.under_way -= usize::from(place != Where::Disk);
        if self.under_way == 0 {
            self.lane = None;
            self.barrier = false;
        }
        let at = usize::try_from(number - self.first).expect("no more slots than fit in memory");
        let slot = &mut self.slots[at];
        assert!(slot.reply.is_none(), "a reply is owed once");
        let mut unwanted = None;
        if slot.silent {
            write(unwanted.get_or_insert_default());
            slot.reply = Some(Output::default());
        } else if at > 0 {
            let mut reply = spares.pop().unwrap_or_default();
            write(&mut reply);
            self.bytes += reply.len();
            slot.reply = Some(reply);
        } else {
            write(output);
            self.shift(output, spares);
        }
        while self.slots.front().is_some_and(|slot| slot.reply.is_some()) {
            self.shift(output, spares);
        }
        unwanted
    }

    /// The connection is gone: what has been written for it.
    pub fn into_outputs(self) -> impl Iterator<Item = Output> {
        self.slots.into_iter().flat_map(|slot| slot.reply.into_iter().chain([slot.after]))
    }

    /// Takes the front slot, whose reply is there or has been written.
    #[inline]
    fn shift(&mut self, output: &mut Output, spares: &mut Vec<Output>) {
        let Some(Slot { reply, after, .. }) = self.slots.pop_front() else { return };
        self.first += 1;
        if let Some(reply) = reply {
            self.pour(reply, output, spares);
        }
        self.pour(after, output, spares);
    }

    #[inline]
    fn pour(&mut self, mut part: Output, output: &mut Output, spares: &mut Vec<Output>) {
        // What holds nothing and never did: no local request came behind the place.
        if part.bytes.capacity() == 0 && part.shared.is_empty() {
            return;
        }
        self.bytes -= part.len().min(self.bytes);
        if output.is_empty() && output.bytes.capacity() < part.bytes.capacity() {
            std::mem::swap(output, &mut part);
        } else {
            part.copy_to(output);
            part.clear();
        }
        spares.push(part);
    }

    /// Replies were written behind what is owed.
    pub fn count(&mut self, bytes: usize) {
        self.bytes += bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: Where = Where::Lane(ShardId(1));

    fn say(text: &'static str) -> impl FnOnce(&mut Output) {
        move |output| output.bytes.extend_from_slice(text.as_bytes())
    }

    #[test]
    fn replies_leave_in_the_order_of_their_requests() {
        let (mut owed, mut output, mut spares) = (Owed::default(), Output::default(), Vec::new());
        let first = owed.open(HERE, Barrier::No, false);
        say("b")(owed.tail().expect("open"));
        let second = owed.open(Where::Lane(ShardId(2)), Barrier::No, false);
        let third = owed.open(HERE, Barrier::No, true);
        say("d")(owed.tail().expect("open"));
        assert!(owed.is_elsewhere_than(ShardId(1)));
        owed.pay(third, HERE, &mut output, &mut spares, say("silent"));
        owed.pay(second, HERE, &mut output, &mut spares, say("c"));
        assert!(output.is_empty());
        owed.pay(first, HERE, &mut output, &mut spares, say("a"));
        assert_eq!(output.bytes, b"abcd");
        assert!(owed.is_empty() && owed.tail().is_none() && owed.bytes() == 0);
        let gate = owed.open(Where::Disk, Barrier::No, false);
        assert!(!owed.is_under_way() && !owed.is_empty());
        owed.pay(gate, Where::Disk, &mut output, &mut spares, |_| ());
        let next = owed.open(Where::Several, Barrier::Yes, false);
        assert!(owed.is_barred() && owed.has_several());
        owed.pay(next, Where::Several, &mut output, &mut spares, say("e"));
        assert!(!owed.is_barred() && !owed.has_several());
        assert_eq!(output.bytes, b"abcde");
        let pair = Where::Pair(ShardId(2));
        let last = owed.open(pair, Barrier::No, false);
        assert!(owed.has_pairs() && !owed.is_elsewhere_than(ShardId(2)) && owed.is_elsewhere_than(ShardId(1)));
        assert!(owed.has_other_pairs(ShardId(1)) && !owed.has_other_pairs(ShardId(2)));
        owed.bar();
        assert!(owed.is_barred());
        owed.pay(last, pair, &mut output, &mut spares, say("f"));
        owed.bar();
        assert!(!owed.is_barred() && !owed.has_pairs());
    }
}
