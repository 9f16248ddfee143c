//! The mesh: how lanes hand things to each other. One wait-free ring (rtrb) for each ordered pair of lanes, so that every ring
//! has one writer and one reader and nobody locks or waits.
//!
//! ```text
//!                 to 0      to 1      to 2
//!    from 0        .      [#### ]   [     ]      flush: at the end of a turn, one parcel for each peer that is owed one
//!    from 1     [#    ]     .       [##   ]      drain: one parcel at a time, from all peers in turn, until the lane's turn
//!    from 2     [     ]   [     ]     .                 is full; the rest stays where it is
//! ```
//!
//! A ring that is full takes nothing: the parcel stays with its shard and is tried again. That is no deadlock, because every
//! lane empties its inboxes whatever its outboxes hold, and no growth, because every message holds or answers a ticket, of
//! which there is a bounded number. Waking the reader is `doorbell.rs`.

use rtrb::{Consumer, Producer, PushError, RingBuffer};

use crate::base::limits;
use crate::shard::ShardId;

/// One lane's end of the mesh: a ring to each peer and one from each.
pub(super) struct Mesh<T> {
    /// By lane; its own place is empty.
    outboxes: Box<[Option<Outbox<T>>]>,
    inboxes: Box<[Option<Consumer<T>>]>,
    /// The inbox that is drained first the next time.
    first: usize,
}

struct Outbox<T> {
    ring: Producer<T>,
    /// Something was put in that the peer has not been told of.
    untold: bool,
}

/// Whether a drain goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Drain {
    On,
    Enough,
}

/// The ends of a mesh of `lanes`, in their order.
pub(super) fn mesh<T>(lanes: usize) -> Vec<Mesh<T>> {
    let empty = |_| Mesh {
        outboxes: (0..lanes).map(|_| None).collect(),
        inboxes: (0..lanes).map(|_| None).collect(),
        first: 0,
    };
    let mut ends: Vec<Mesh<T>> = (0..lanes).map(empty).collect();
    let slots = limits::mesh_ring_slots(lanes);
    for from in 0..lanes {
        for to in (0..lanes).filter(|to| *to != from) {
            let (ring, inbox) = RingBuffer::new(slots);
            ends[from].outboxes[to] = Some(Outbox { ring, untold: false });
            ends[to].inboxes[from] = Some(inbox);
        }
    }
    ends
}

impl<T> Mesh<T> {
    /// Puts something into the ring to `to`, or gives it back when that is full.
    pub(super) fn post(&mut self, to: ShardId, item: T) -> Result<(), T> {
        let outbox = self.outboxes[usize::from(to.0)].as_mut().expect("a lane posts to its peers only");
        match outbox.ring.push(item) {
            Ok(()) => {
                outbox.untold = true;
                Ok(())
            }
            Err(PushError::Full(item)) => Err(item),
        }
    }

    /// Posts what `take` has for each peer whose ring has room. Whether all rings had.
    #[inline]
    pub(super) fn flush(&mut self, mut take: impl FnMut(ShardId) -> Option<T>) -> bool {
        let mut had_room = true;
        for (peer, outbox) in peers(&mut self.outboxes) {
            if outbox.ring.is_full() {
                had_room = false;
            } else if let Some(item) = take(peer) {
                assert!(outbox.ring.push(item).is_ok(), "a ring with one writer that has room keeps it");
                outbox.untold = true;
            }
        }
        had_room
    }

    /// The peers that were sent something since they were last told, each once.
    #[inline]
    pub(super) fn untold(&mut self) -> impl Iterator<Item = ShardId> {
        peers(&mut self.outboxes).filter_map(|(peer, outbox)| std::mem::take(&mut outbox.untold).then_some(peer))
    }

    #[inline]
    pub(super) fn has_untold(&self) -> bool {
        self.outboxes.iter().flatten().any(|outbox| outbox.untold)
    }

    /// Whether any peer has sent something.
    #[inline]
    pub(super) fn has_mail(&self) -> bool {
        self.inboxes.iter().flatten().any(|inbox| !inbox.is_empty())
    }

    /// Takes one thing from each peer in turn until nothing is left or `each` has enough. The next drain begins where this one
    /// stopped, so that no peer comes first for ever.
    #[inline]
    pub(super) fn drain(&mut self, mut each: impl FnMut(ShardId, T) -> Drain) {
        let lanes = self.inboxes.len();
        let mut empty = 0;
        while empty < lanes {
            let from = self.first;
            self.first = if from + 1 == lanes { 0 } else { from + 1 };
            let Some(item) = self.inboxes[from].as_mut().and_then(|inbox| inbox.pop().ok()) else {
                empty += 1;
                continue;
            };
            empty = 0;
            if each(id(from), item) == Drain::Enough {
                return;
            }
        }
    }
}

fn peers<O>(places: &mut [Option<O>]) -> impl Iterator<Item = (ShardId, &mut O)> {
    places.iter_mut().enumerate().filter_map(|(lane, place)| Some((id(lane), place.as_mut()?)))
}

fn id(lane: usize) -> ShardId {
    ShardId(u16::try_from(lane).expect("lanes are bounded by an option"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ZERO: ShardId = ShardId(0);

    #[test]
    fn a_full_ring_takes_nothing_and_loses_nothing() {
        let mut ends = mesh::<usize>(2);
        let [near, far] = &mut ends[..] else { panic!("two") };
        let mut next = 0..;
        let mut flushed = 0;
        while near.flush(|_| next.next()) {
            flushed += 1;
        }
        assert_eq!(flushed, limits::mesh_ring_slots(2), "it takes as many as the limit says");
        assert_eq!(near.post(ShardId(1), 999), Err(999));
        let mut got = Vec::new();
        far.drain(|from, item| {
            assert_eq!(from, ZERO);
            got.push(item);
            Drain::On
        });
        assert_eq!(got, (0..flushed).collect::<Vec<_>>(), "in order, and nothing was taken for a full ring");
        assert!(near.flush(|_| next.next()), "and then there is room");
    }

    #[test]
    fn a_peer_is_told_once_of_all_it_was_sent() {
        let mut ends = mesh::<u8>(3);
        ends[1].post(ZERO, 1).unwrap();
        ends[1].flush(|to| (to == ZERO).then_some(2));
        assert!(ends[1].has_untold());
        assert_eq!(ends[1].untold().collect::<Vec<_>>(), [ZERO]);
        assert!(!ends[1].has_untold() && ends[1].untold().next().is_none());
        assert!(ends[0].has_mail() && !ends[2].has_mail());
    }

    #[test]
    fn a_drain_that_stops_goes_on_with_the_next_peer() {
        let mut ends = mesh::<u16>(4);
        for from in 1..4 {
            (0..3).for_each(|item| ends[usize::from(from)].post(ZERO, from * 10 + item).unwrap());
        }
        let mut got = Vec::new();
        while ends[0].has_mail() {
            ends[0].drain(|_, item| {
                got.push(item);
                Drain::Enough
            });
        }
        assert_eq!(got, [10, 20, 30, 11, 21, 31, 12, 22, 32]);
    }

    /// Every lane fills every ring before it takes anything out; then all of it arrives, in order.
    #[test]
    fn all_rings_full_at_once_is_no_deadlock() {
        const LANES: usize = 4;
        const EACH: usize = 10_000;
        let mut ends = mesh::<usize>(LANES);
        let mut sent = [[0; LANES]; LANES];
        let mut got = [[0; LANES]; LANES];
        let mut was_full = 0;
        while got.iter().flatten().sum::<usize>() < LANES * (LANES - 1) * EACH {
            for from in 0..LANES {
                while ends[from].flush(|to| {
                    let next = &mut sent[from][usize::from(to.0)];
                    *next += 1;
                    (*next <= EACH).then_some(*next)
                }) && sent[from].iter().any(|next| (1..=EACH).contains(next))
                {}
                was_full += usize::from(ends[from].outboxes.iter().flatten().all(|outbox| outbox.ring.is_full()));
            }
            for (to, end) in ends.iter_mut().enumerate() {
                end.drain(|from, item| {
                    let last = &mut got[usize::from(from.0)][to];
                    assert_eq!(item, *last + 1);
                    *last = item;
                    Drain::On
                });
            }
        }
        assert!(was_full > LANES, "the test must have filled all rings");
    }
}
