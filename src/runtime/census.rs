//! How many connections there are: on each lane, to give the next one to the lane with fewest, and in all, for `maxclients`.
//! One of the few things that lanes share; it is touched when a connection comes or goes, never by a request.
//!
//! A connection is counted before it is known whether there is room: two lanes that accept the last one at the same moment get
//! different totals, so exactly one of them is within the limit. Whoever is refused is counted out again.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crate::shard::ShardId;

#[derive(Clone, Debug)]
pub(super) struct Census(Arc<Counts>);

#[derive(Debug)]
struct Counts {
    all: AtomicUsize,
    lanes: Box<[AtomicUsize]>,
}

impl Census {
    pub(super) fn new(lanes: usize) -> Self {
        Self(Arc::new(Counts { all: AtomicUsize::new(0), lanes: (0..lanes).map(|_| AtomicUsize::new(0)).collect() }))
    }

    /// The lane with fewest connections; `here` if no other has fewer, since handing over costs a message.
    pub(super) fn fewest(&self, here: ShardId) -> ShardId {
        let mut best = (self.of(here).load(Relaxed), here);
        for (lane, count) in (0..).map(ShardId).zip(&self.0.lanes) {
            let count = count.load(Relaxed);
            if count < best.0 {
                best = (count, lane);
            }
        }
        best.1
    }

    /// Counts a connection in; how many there are with it.
    pub(super) fn enter(&self, lane: ShardId) -> usize {
        self.of(lane).fetch_add(1, Relaxed);
        self.0.all.fetch_add(1, Relaxed) + 1
    }

    /// A connection that was meant for `from` stays on `to`.
    pub(super) fn moved(&self, from: ShardId, to: ShardId) {
        self.of(from).fetch_sub(1, Relaxed);
        self.of(to).fetch_add(1, Relaxed);
    }

    pub(super) fn leave(&self, lane: ShardId) {
        let before = self.of(lane).fetch_sub(1, Relaxed);
        assert!(before > 0, "only what was counted in leaves");
        self.0.all.fetch_sub(1, Relaxed);
    }

    fn of(&self, lane: ShardId) -> &AtomicUsize {
        &self.0.lanes[usize::from(lane.0)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_connection_goes_where_fewest_are_and_stays_on_a_tie() {
        let census = Census::new(3);
        assert_eq!(census.fewest(ShardId(1)), ShardId(1));
        census.enter(ShardId(1));
        assert_eq!(census.fewest(ShardId(1)), ShardId(0));
        assert_eq!((census.enter(ShardId(0)), census.enter(ShardId(2))), (2, 3));
        census.moved(ShardId(2), ShardId(1));
        assert_eq!(census.fewest(ShardId(1)), ShardId(2));
        census.leave(ShardId(1));
        census.leave(ShardId(1));
        assert_eq!(census.fewest(ShardId(2)), ShardId(2));
        assert_eq!(census.enter(ShardId(2)), 2);
    }

    #[test]
    fn the_last_place_is_given_once() {
        const PLACES: usize = 1000;
        let census = Census::new(2);
        let within = |lane: u16| {
            let census = census.clone();
            std::thread::spawn(move || (0..PLACES).filter(|_| census.enter(ShardId(lane)) <= PLACES).count())
        };
        let (a, b) = (within(0), within(1));
        assert_eq!(a.join().unwrap() + b.join().unwrap(), PLACES);
    }
}
