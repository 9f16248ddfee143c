//! What one lane counts, owned, so that it can travel to the lane that answers INFO, and the sum over lanes.

use super::busy::BusyFacts;
use super::gauges::LaneGauges;
use super::info::{DbFacts, StallFacts, StoreFacts};
use super::journal::JournalFacts;
use super::stats::{CommandStats, Stats};

/// One lane's counters, or the sum of several.
#[derive(Debug, Default)]
pub struct LaneFacts {
    pub stats: Stats,
    pub gauges: LaneGauges,
    pub store: StoreFacts,
    pub stalls: StallFacts,
    pub clients: usize,
    pub client_memory: usize,
    pub blocked_clients: usize,
    pub journal: JournalFacts,
    /// One line of each lane, for what sums do not tell.
    pub lines: Vec<LaneLine>,
}

/// What INFO tells of a lane by itself.
#[derive(Clone, Debug, Default)]
pub struct LaneLine {
    pub lane: u16,
    pub busy: BusyFacts,
    pub clients: usize,
    pub keys: usize,
    pub processed: u64,
    pub turns: u64,
    pub max_turn_us: u64,
    /// Median, 99th and 99.9th percentile.
    pub queue_delay_ns: [u64; 3],
}

impl LaneFacts {
    /// Counters are added up; of what was longest, the longest stays.
    pub fn sum(lanes: impl IntoIterator<Item = Self>) -> Self {
        lanes.into_iter().reduce(Self::with).unwrap_or_default()
    }

    fn with(mut self, other: Self) -> Self {
        self.clients += other.clients;
        self.client_memory += other.client_memory;
        self.blocked_clients += other.blocked_clients;
        self.journal = self.journal.with(other.journal);
        self.lines.extend(other.lines);
        self.stats.add(&other.stats);
        self.gauges.add(&other.gauges);
        self.store.add(other.store);
        let slower = if other.stalls.max_turn_us > self.stalls.max_turn_us { other.stalls } else { self.stalls };
        let preempted_us = self.stalls.max_turn_preempted_us.max(other.stalls.max_turn_preempted_us);
        self.stalls = StallFacts { max_turn_preempted_us: preempted_us, ..slower };
        self
    }
}

impl Stats {
    fn add(&mut self, other: &Self) {
        let pairs = [
            (&mut self.processed, other.processed),
            (&mut self.connections, other.connections),
            (&mut self.rejected_connections, other.rejected_connections),
            (&mut self.net_input_bytes, other.net_input_bytes),
            (&mut self.net_output_bytes, other.net_output_bytes),
            (&mut self.output_limit_closed, other.output_limit_closed),
            (&mut self.input_limit_closed, other.input_limit_closed),
            (&mut self.idle_closed, other.idle_closed),
            (&mut self.error_replies, other.error_replies),
        ];
        self.denied.iter_mut().zip(other.denied).for_each(|(sum, more)| *sum += more);
        pairs.into_iter().for_each(|(sum, more)| *sum += more);
        self.commands.iter_mut().zip(&other.commands).for_each(|(sum, more)| sum.add(more));
        for (sum, more) in self.durations.iter_mut().zip(&other.durations) {
            if let Some(more) = more {
                sum.get_or_insert_default().add(more);
            }
        }
        self.stages.add(&other.stages);
        for (code, count) in &other.errors {
            *self.errors.entry(code.clone()).or_default() += count;
        }
    }
}

impl CommandStats {
    fn add(&mut self, other: &Self) {
        self.calls += other.calls;
        self.timed += other.timed;
        self.timed_ns += other.timed_ns;
        self.rejected += other.rejected;
        self.failed += other.failed;
    }
}

impl LaneGauges {
    fn add(&mut self, other: &Self) {
        let pairs = [
            (&mut self.turns, other.turns),
            (&mut self.enters, other.enters),
            (&mut self.waits, other.waits),
            (&mut self.spins_paid, other.spins_paid),
            (&mut self.spins_wasted, other.spins_wasted),
            (&mut self.polled_ns, other.polled_ns),
            (&mut self.received_bytes, other.received_bytes),
            (&mut self.sent_bytes, other.sent_bytes),
            (&mut self.receives, other.receives),
            (&mut self.sends, other.sends),
            (&mut self.partial_sends, other.partial_sends),
            (&mut self.accepted, other.accepted),
            (&mut self.refused, other.refused),
            (&mut self.accept_errors, other.accept_errors),
            (&mut self.buffers_exhausted, other.buffers_exhausted),
            (&mut self.completions_overflowed, other.completions_overflowed),
            (&mut self.connections, other.connections),
        ];
        pairs.into_iter().for_each(|(sum, more)| *sum += more);
    }
}

impl StoreFacts {
    fn add(&mut self, other: Self) {
        self.bytes_used += other.bytes_used;
        self.bytes_peak += other.bytes_peak;
        self.overhead_bytes += other.overhead_bytes;
        self.bytes_by_kind.iter_mut().zip(other.bytes_by_kind).for_each(|(sum, more)| *sum += more);
        self.expire_lags.add(&other.expire_lags);
        self.is_freeing |= other.is_freeing;
        self.expired += other.expired;
        self.expired_fields += other.expired_fields;
        self.evicted += other.evicted;
        self.hits += other.hits;
        self.misses += other.misses;
        self.expire_lag_us = self.expire_lag_us.max(other.expire_lag_us);
        self.expire_lag_max_us = self.expire_lag_max_us.max(other.expire_lag_max_us);
        for db in other.databases {
            match self.databases.iter_mut().find(|known| known.number == db.number) {
                Some(sum) => sum.add(db),
                None => self.databases.push(db),
            }
        }
        self.databases.sort_unstable_by_key(|db| db.number);
    }
}

impl DbFacts {
    fn add(&mut self, other: Self) {
        self.keys += other.keys;
        self.expiring += other.expiring;
        self.expiring_inside += other.expiring_inside;
        self.table_bytes += other.table_bytes;
        self.deadline_bytes += other.deadline_bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_are_summed_and_the_longest_turn_is_kept_with_its_name() {
        let lane = |keys: usize, turn_us: u64, what: &'static str| LaneFacts {
            stats: Stats {
                processed: 10,
                commands: vec![CommandStats { calls: 2, ..Default::default() }],
                ..Default::default()
            },
            store: StoreFacts {
                databases: vec![DbFacts { number: keys % 2, keys, expiring: 1, ..Default::default() }],
                ..Default::default()
            },
            stalls: StallFacts { max_turn_us: turn_us, what, part_us: 1, max_turn_preempted_us: keys as u64 },
            clients: 3,
            ..Default::default()
        };
        let sum = LaneFacts::sum([lane(1, 10, "get"), lane(2, 30, "keys"), lane(3, 20, "set")]);
        assert_eq!((sum.clients, sum.stats.processed, sum.stats.commands[0].calls), (9, 30, 6));
        let databases: Vec<_> = sum.store.databases.iter().map(|db| (db.number, db.keys, db.expiring)).collect();
        assert_eq!(databases, [(0, 2, 1), (1, 4, 2)]);
        assert_eq!((sum.stalls.max_turn_us, sum.stalls.what, sum.stalls.max_turn_preempted_us), (30, "keys", 3));
    }
}
