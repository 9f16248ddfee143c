//! Lane 0 tells all lanes which commands over several of them are durable: the greatest consistent cut over what the lanes have synced, by
//! the code that recovery uses. So many shares of each lane are looked at in a turn; more only if what is missing may be behind them.

use hashbrown::HashSet;

use crate::base::lanes::{Lanes, ShardId};
use crate::base::limits::SHARES_AT_ONCE;
use crate::persist::Position;
use crate::persist::cut::{Cut, Share, Streams};

#[derive(Debug)]
pub(in crate::shard) struct Notary {
    streams: Streams,
    told: Vec<Position>,
    /// What is before stands in a base.
    floor: Vec<Position>,
    has_news: bool,
    /// How many shares of each lane are looked at.
    sight: usize,
}

impl Notary {
    pub(in crate::shard) fn new(lanes: Lanes) -> Self {
        let told = vec![Position::default(); usize::from(lanes.count())];
        Self { streams: Streams::new(lanes.count()), floor: told.clone(), told, has_news: false, sight: SHARES_AT_ONCE }
    }

    /// A lane has synced these shares, and all before them.
    pub(in crate::shard) fn hear(&mut self, lane: ShardId, shares: Vec<Share>) {
        let floor = self.floor[lane.index()];
        for share in shares.into_iter().filter(|share| share.end > floor) {
            self.streams.reach(lane.0, share.end);
            self.streams.share(lane.0, share);
            self.has_news = true;
        }
    }

    /// What each lane has before these places stands in a base now, and needs no share.
    pub(in crate::shard) fn begin_at(&mut self, marks: &[Position]) {
        for (lane, mark) in (0..).zip(marks) {
            self.streams.settle(lane, *mark);
            let floor = &mut self.floor[usize::from(lane)];
            *floor = mark.max(floor).to_owned();
        }
        self.has_news = true;
    }

    /// Up to where the shares of which lane are settled now, for lanes that do not know it yet.
    pub(in crate::shard) fn judge(&mut self) -> Vec<(ShardId, Position)> {
        if !std::mem::take(&mut self.has_news) {
            return Vec::new();
        }
        // Settled on all its lanes at once, so that no share is missing because it was settled.
        let Cut { cuts, has_more, is_short_sighted } = self.streams.cut_within(&HashSet::new(), self.sight);
        let mut news = Vec::new();
        for (lane, cut) in (0..).zip(cuts) {
            let told = &mut self.told[usize::from(lane)];
            if cut > *told {
                *told = cut;
                self.streams.settle(lane, cut);
                news.push((ShardId(lane), cut));
            }
        }
        self.has_news = if news.is_empty() { is_short_sighted } else { has_more };
        self.sight = if news.is_empty() && is_short_sighted { self.sight * 2 } else { SHARES_AT_ONCE };
        news
    }

    /// Whether there is more to be judged.
    pub(in crate::shard) fn has_news(&self) -> bool {
        self.has_news
    }

    /// Nothing waits for another lane's share.
    pub(in crate::shard) fn is_quiet(&self) -> bool {
        !self.streams.has_shares()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::persist::record::Transaction;

    #[test]
    fn what_stands_in_a_base_waits_for_nobody() {
        let mut notary = Notary::new(Lanes::new(2));
        notary.hear(ShardId(0), vec![share(1, 0, &[0, 1]), share(2, 20, &[0, 1])]);
        notary.hear(ShardId(1), vec![share(2, 50, &[0, 1])]);
        assert_eq!(notary.judge(), [(ShardId(1), Position(50))], "lane 1 has lost its part of the first");
        notary.begin_at(&[Position(15), Position(40)]);
        assert_eq!(notary.judge(), [(ShardId(0), Position(30)), (ShardId(1), Position(60))]);
        notary.hear(ShardId(1), vec![share(1, 30, &[0, 1])]);
        assert!(notary.is_quiet() && notary.judge().is_empty(), "too late to matter");
    }

    fn share(number: u64, at: u64, lanes: &[u16]) -> Share {
        let of = Transaction { home: 0, number };
        Share { of, start: Position(at), end: Position(at + 10), lanes: lanes.into() }
    }

    #[test]
    fn many_are_judged_in_turns_in_whatever_orders_they_stand() {
        let many = 20 * SHARES_AT_ONCE as u64;
        let mut notary = Notary::new(Lanes::new(2));
        let at = |numbers: &mut dyn Iterator<Item = u64>| {
            (0..).zip(numbers).map(|(i, of)| share(of, i * 10, &[0, 1])).collect()
        };
        notary.hear(ShardId(0), at(&mut (0..many)));
        assert!(notary.judge().is_empty() && !notary.has_news(), "nothing is there that looking further would find");
        // The other way round: the first share of the one lane is the last of the other.
        notary.hear(ShardId(1), at(&mut (0..many).rev()));
        let mut told = 0;
        while notary.has_news() {
            told += notary.judge().len();
        }
        assert!(notary.is_quiet() && told == 2);
        let mut notary = Notary::new(Lanes::new(2));
        notary.hear(ShardId(0), at(&mut (0..many)));
        notary.hear(ShardId(1), at(&mut (0..many)));
        for turn in 1..=many / SHARES_AT_ONCE as u64 {
            let until = Position(10 * turn * SHARES_AT_ONCE as u64);
            assert_eq!(notary.judge(), [(ShardId(0), until), (ShardId(1), until)]);
        }
        assert!(notary.is_quiet() && !notary.has_news());
    }

    #[test]
    fn a_command_is_durable_when_all_it_stands_on_is() {
        let mut notary = Notary::new(Lanes::new(3));
        notary.hear(ShardId(0), vec![share(1, 0, &[0, 1]), share(2, 20, &[0, 2])]);
        assert_eq!(notary.judge(), [], "of neither has another lane been heard");
        notary.hear(ShardId(2), vec![share(2, 5, &[0, 2])]);
        assert_eq!(
            notary.judge(),
            [(ShardId(2), Position(5))],
            "before the second stands the first, which may be undone"
        );
        assert!(notary.judge().is_empty(), "told once");
        notary.hear(ShardId(1), vec![share(1, 7, &[0, 1])]);
        let expected = [(0, 30), (1, 17), (2, 15)].map(|(lane, until)| (ShardId(lane), Position(until)));
        assert_eq!(notary.judge(), expected);
        assert!(notary.is_quiet());
    }
}
