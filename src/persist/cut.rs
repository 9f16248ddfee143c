//! How far each lane's stream counts after a crash: the greatest consistent cut.
//!
//! ```text
//!  lane 0   ....[T1]......[T2]..[T3]|            T3's other share was not written: lane 0 is cut before T3
//!  lane 1   .......[T1]..[T4]|                   T4's other share is on lane 2, which has it: it stays
//!  lane 2   ..[T4].....[T2]|
//! ```
//!
//! A transaction counts only if every lane that took part has its share within its cut. To cut one lane may undo others' shares, and so on;
//! since cuts only become smaller there is one greatest that holds for all. The same rule read forward says when a write is durable:
//! when the cut over what is synced includes it. So recovery and the running server ask the same code.

use std::collections::VecDeque;

use hashbrown::{HashMap, HashSet};

use super::Position;
use super::record::Transaction;

/// A share in a lane's stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    pub of: Transaction,
    /// Where it begins and ends.
    pub start: Position,
    pub end: Position,
    /// Who takes part.
    pub lanes: Box<[u16]>,
}

/// Shares that were found in what is settled: a lane and a transaction each.
pub type Settled = HashSet<(u16, Transaction)>;

/// What is known of the streams of all lanes, without what is settled.
#[derive(Debug)]
pub struct Streams {
    lanes: Vec<Lane>,
    remembers: bool,
}

/// A cut among the first shares of each lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// By lane.
    pub cuts: Vec<Position>,
    /// There are more shares than were looked at.
    pub has_more: bool,
    /// What is missing may be among those.
    pub is_short_sighted: bool,
}

#[derive(Debug, Default)]
struct Lane {
    /// So far there are bytes.
    end: Position,
    /// In order.
    shares: VecDeque<Share>,
    /// The latest of those that are settled, if they are remembered.
    settled: VecDeque<Share>,
}

/// So many settled shares of a lane are remembered: more than commands are ever under way at once, so that of a stream that lost its end
/// one at least is missed.
const REMEMBERED_MAX: usize = 1 << 16;

impl Streams {
    pub fn new(lanes: u16) -> Self {
        Self { lanes: (0..lanes).map(|_| Lane::default()).collect(), remembers: false }
    }

    /// As `new`, of one that can say later which settled shares are [`missed`](Self::missed).
    pub fn remembering(lanes: u16) -> Self {
        Self { remembers: true, ..Self::new(lanes) }
    }

    /// The next share of a lane.
    ///
    /// # Panics
    /// If it begins before the one before it ends.
    pub fn share(&mut self, lane: u16, share: Share) {
        let lane = &mut self.lanes[usize::from(lane)];
        assert!(lane.shares.back().is_none_or(|last| last.end <= share.start), "a stream is told in its order");
        lane.shares.push_back(share);
    }

    /// A lane's stream reaches to `end`.
    pub fn reach(&mut self, lane: u16, end: Position) {
        let lane = &mut self.lanes[usize::from(lane)];
        lane.end = lane.end.max(end);
    }

    /// Shares before this position of a lane are durable everywhere, and nothing can undo them.
    pub fn settle(&mut self, lane: u16, firm: Position) {
        let Lane { shares, settled, .. } = &mut self.lanes[usize::from(lane)];
        while shares.front().is_some_and(|share| share.end <= firm) {
            let share = shares.pop_front();
            settled.extend(share.filter(|_| self.remembers));
            if settled.len() > REMEMBERED_MAX {
                settled.pop_front();
            }
        }
    }

    /// Shares that would have to be on these lanes, since a lane holds that they are, and were not told of them: with the lane that says so, and
    /// where.
    pub fn missed(&self) -> Vec<(u16, Transaction, u16, Position)> {
        let numbered = || (0..).zip(&self.lanes);
        let there: HashSet<(u16, Transaction)> = numbered()
            .flat_map(|(number, lane)| lane.settled.iter().chain(&lane.shares).map(move |share| (number, share.of)))
            .collect();
        let claims = |(number, lane): (u16, &Lane)| {
            let of_share = move |share: &Share| {
                let (of, start) = (share.of, share.start);
                share.lanes.iter().map(move |other| (*other, of, number, start)).collect::<Vec<_>>()
            };
            lane.settled.iter().flat_map(of_share).collect::<Vec<_>>()
        };
        numbered().flat_map(claims).filter(|(other, of, ..)| !there.contains(&(*other, *of))).collect()
    }

    /// Whether any share is not settled.
    pub fn has_shares(&self) -> bool {
        self.lanes.iter().any(|lane| !lane.shares.is_empty())
    }

    /// Shares that would have to be on these lanes and are not among those that are not settled there. Who reads files looks for them in
    /// what is settled, before asking for the cut.
    pub fn missing(&self) -> Settled {
        self.missing_within(usize::MAX)
    }

    fn missing_within(&self, many: usize) -> Settled {
        let there: HashSet<(u16, Transaction)> = self.shares(many).map(|(lane, share)| (lane, share.of)).collect();
        let wanted = self.shares(many).flat_map(|(_, share)| share.lanes.iter().map(|lane| (*lane, share.of)));
        wanted.filter(|place| !there.contains(place)).collect()
    }

    /// The greatest consistent cut. `settled`: which of the missing shares are in what is settled.
    pub fn cut(&self, settled: &Settled) -> Vec<Position> {
        self.cut_within(settled, usize::MAX).cuts
    }

    /// The greatest consistent cut among so many shares of each lane.
    pub fn cut_within(&self, settled: &Settled, many: usize) -> Cut {
        let mut cuts: Vec<Position> = self.lanes.iter().map(|lane| lane.end_within(many)).collect();
        let mut kept: Vec<usize> = self.lanes.iter().map(|lane| lane.shares.len().min(many)).collect();
        let mut places: HashMap<Transaction, Vec<(u16, Position)>> = HashMap::new();
        for (lane, share) in self.shares(many) {
            places.entry(share.of).or_default().push((lane, share.start));
        }
        let missing = self.missing_within(many);
        let is_missing = |lane: u16, of| missing.contains(&(lane, of)) && !settled.contains(&(lane, of));
        let is_whole = |lane: u16, share: &Share| {
            share.end <= self.lanes[usize::from(lane)].end
                && !share.lanes.iter().any(|other| is_missing(*other, share.of))
        };
        let mut undone: Vec<Transaction> =
            self.shares(many).filter(|(lane, share)| !is_whole(*lane, share)).map(|(_, share)| share.of).collect();
        while let Some(of) = undone.pop() {
            for (lane, start) in places.remove(&of).unwrap_or_default() {
                let lane = usize::from(lane);
                cuts[lane] = cuts[lane].min(start);
                // What stood behind it on this lane is undone with it.
                while let Some(last) = kept[lane].checked_sub(1)
                    && self.lanes[lane].shares[last].start >= start
                {
                    undone.push(self.lanes[lane].shares[last].of);
                    kept[lane] = last;
                }
            }
        }
        let is_longer = |lane: u16| self.lanes[usize::from(lane)].shares.len() > many;
        let is_short_sighted = missing.iter().any(|(lane, _)| is_longer(*lane));
        let has_more = self.lanes.iter().any(|lane| lane.shares.len() > many);
        Cut { cuts, has_more, is_short_sighted }
    }

    /// So many of each lane.
    fn shares(&self, many: usize) -> impl Iterator<Item = (u16, &Share)> {
        let numbered = (0..).zip(&self.lanes);
        numbered.flat_map(move |(number, lane)| lane.shares.iter().take(many).map(move |share| (number, share)))
    }
}

impl Lane {
    fn end_within(&self, many: usize) -> Position {
        let last = if self.shares.len() > many { self.shares.get(many.saturating_sub(1)) } else { None };
        last.map_or(self.end, |last| last.end)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn of(number: u64) -> Transaction {
        Transaction { home: 0, number }
    }

    /// Lanes as lists of shares ten bytes long, each with its lanes.
    fn streams(lanes: &[&[(u64, &[u16])]]) -> Streams {
        let mut streams = Streams::new(u16::try_from(lanes.len()).unwrap());
        for (lane, shares) in (0..).zip(lanes) {
            for (i, (number, with)) in (0..).zip(*shares) {
                let (start, end) = (Position(i * 10), Position(i * 10 + 10));
                streams.share(lane, Share { of: of(*number), start, end, lanes: (*with).into() });
                streams.reach(lane, end);
            }
        }
        streams
    }

    fn cut(streams: &Streams) -> Vec<u64> {
        streams.cut(&HashSet::new()).into_iter().map(|at| at.0).collect()
    }

    #[test]
    fn what_is_whole_stays() {
        let (both, all): (&[u16], &[u16]) = (&[0, 1], &[0, 1, 2]);
        // In different orders, which those do that share no key.
        assert_eq!(cut(&streams(&[&[(1, both), (2, both)], &[(2, both), (1, both)]])), [20, 20]);
        assert_eq!(cut(&streams(&[&[(1, all)], &[(1, all)], &[(1, all)]])), [10, 10, 10]);
    }

    #[test]
    fn a_half_transaction_takes_with_it_what_came_after_it() {
        let (low, high): (&[u16], &[u16]) = (&[0, 1], &[1, 2]);
        // 9 is missing on lane 1; on lane 0, 2 stood behind it, whose other share is on lane 1 before 3, whose other share is on lane 2.
        let streams =
            streams(&[&[(1, low), (9, low), (2, low)], &[(1, low), (2, low), (3, high)], &[(4, &[2]), (3, high)]]);
        assert_eq!(cut(&streams), [10, 10, 10]);
        assert_eq!(streams.missing(), HashSet::from_iter([(1, of(9))]));
        let found = streams.cut(&streams.missing());
        assert_eq!(found, [Position(30), Position(30), Position(20)], "unless it is in what is settled");
    }

    #[test]
    fn a_settled_share_is_missed_where_it_is_not() {
        let both: &[u16] = &[0, 1];
        let mut streams = Streams::remembering(2);
        for (number, lanes) in (1..).zip([&[0, 1][..], &[0, 1], &[0], &[1]]) {
            for lane in lanes {
                let (start, end) = (Position(number * 10), Position(number * 10 + 10));
                streams.share(*lane, Share { of: of(number), start, end, lanes: both.into() });
            }
        }
        streams.settle(0, Position(30));
        streams.settle(1, Position(20));
        assert_eq!(streams.missed(), [], "what is not settled may be missing");
        streams.settle(0, Position(40));
        assert_eq!(streams.missed(), [(1, of(3), 0, Position(30))]);
        streams.settle(1, Position(50));
        assert_eq!(streams.missed(), [(1, of(3), 0, Position(30)), (0, of(4), 1, Position(40))]);
    }

    #[test]
    fn a_share_counts_when_the_stream_reaches_its_end() {
        let both: &[u16] = &[0, 1];
        let mut streams = Streams::new(2);
        streams.share(0, Share { of: of(1), start: Position(5), end: Position(15), lanes: both.into() });
        streams.share(1, Share { of: of(1), start: Position(0), end: Position(10), lanes: both.into() });
        streams.reach(0, Position(15));
        streams.reach(1, Position(9));
        assert_eq!(cut(&streams), [5, 0]);
        streams.reach(1, Position(12));
        assert_eq!(cut(&streams), [15, 12]);
        streams.settle(0, Position(15));
        streams.settle(1, Position(12));
        assert!(!streams.has_shares());
    }

    proptest! {
        /// Against the definition: of all cuts at the places where shares begin, the greatest in which each share is whole.
        #[test]
        fn it_is_consistent_and_the_greatest(
            transactions in proptest::collection::vec((1..8_u8, any::<[u8; 3]>(), 0..8_u8), 0..7)
        ) {
            // Which lanes take part, in which order their shares stand, which shares were written.
            let mut lanes: [Vec<(u8, u64, Vec<u16>)>; 3] = Default::default();
            for (number, (with, order, written)) in (0..).zip(&transactions) {
                let takes: Vec<u16> = (0..3).filter(|lane| with & (1 << lane) != 0).collect();
                for lane in takes.iter().filter(|lane| written >> **lane & 1 != 0) {
                    lanes[usize::from(*lane)].push((order[usize::from(*lane)], number, takes.clone()));
                }
            }
            lanes.iter_mut().for_each(|lane| lane.sort());
            let told: Vec<Vec<(u64, &[u16])>> = lanes.iter()
                .map(|lane| lane.iter().map(|(_, number, takes)| (*number, takes.as_slice())).collect()).collect();
            let told: Vec<&[(u64, &[u16])]> = told.iter().map(Vec::as_slice).collect();
            let found = cut(&streams(&told));
            let is_consistent = |cuts: &[usize]| (0..3).all(|lane| lanes[lane][..cuts[lane]].iter().all(|(_, number, takes)| {
                takes.iter().all(|other| lanes[usize::from(*other)][..cuts[usize::from(*other)]].iter().any(|share| share.1 == *number))
            }));
            let mut greatest = [0; 3];
            for a in 0..=lanes[0].len() {
                for b in 0..=lanes[1].len() {
                    for c in 0..=lanes[2].len() {
                        if is_consistent(&[a, b, c]) {
                            greatest = [greatest[0].max(a), greatest[1].max(b), greatest[2].max(c)];
                        }
                    }
                }
            }
            prop_assert_eq!(&found, &greatest.map(|shares| shares as u64 * 10));
            // A look at the first few is consistent too, goes no further, and knows whether that was for want of sight.
            for many in 1..8 {
                let Cut { cuts, has_more, is_short_sighted } = streams(&told).cut_within(&HashSet::new(), many);
                let few: Vec<usize> = cuts.iter().map(|at| usize::try_from(at.0 / 10).unwrap()).collect();
                prop_assert!(is_consistent(&few) && (0..3).all(|lane| few[lane] <= greatest[lane].min(many)));
                prop_assert!(few == greatest || has_more);
                prop_assert!(is_short_sighted || (0..3).all(|lane| few[lane] == greatest[lane].min(many)) || has_more);
            }
        }
    }
}
