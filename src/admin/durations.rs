//! A histogram of durations: the buckets of HdrHistogram with two digits, as in Redis, so that percentiles are at most 0.8 % too high.
//!
//! Twelve kilobytes each, taken when something is first recorded. A record is an increment.

use hdrhistogram::Histogram;

/// Longer ones count as this long, as in Redis.
const LONGEST_NS: u64 = 1_000_000_000;
const DIGITS: u8 = 2;

/// The finest step of [`Durations::doublings`], Redis's.
const FIRST_STEP_NS: u64 = 1024;

#[derive(Clone, Debug)]
pub struct Durations {
    counts: Histogram<u32>,
    sum_ns: u64,
}

impl Default for Durations {
    fn default() -> Self {
        let counts = Histogram::new_with_bounds(1, LONGEST_NS, DIGITS).expect("bounds that a histogram can have");
        Self { counts, sum_ns: 0 }
    }
}

impl Durations {
    #[inline]
    pub fn record(&mut self, ns: u64) {
        self.counts.saturating_record(ns.min(LONGEST_NS));
        self.sum_ns += ns;
    }

    pub fn add(&mut self, other: &Self) {
        self.counts.add(&other.counts).expect("all have the same bounds");
        self.sum_ns += other.sum_ns;
    }

    pub fn count(&self) -> u64 {
        self.counts.len()
    }

    pub fn sum_ns(&self) -> u64 {
        self.sum_ns
    }

    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// What so many of a hundred did not exceed; 0 when nothing was recorded.
    pub fn percentile_ns(&self, percentile: f64) -> u64 {
        if self.is_empty() { 0 } else { self.counts.value_at_percentile(percentile) }
    }

    pub fn max_ns(&self) -> u64 {
        self.counts.max()
    }

    /// How many were at most so long, in steps of twice the length up to the longest: `(nanoseconds, count)`. Steps at which no more are
    /// counted are left out.
    pub fn doublings(&self) -> Vec<(u64, u64)> {
        let (mut steps, mut before, mut step_ns) = (Vec::new(), 0, FIRST_STEP_NS);
        while before < self.count() {
            let up_to_ns = self.counts.highest_equivalent(step_ns);
            let count = self.counts.count_between(0, up_to_ns);
            if count > before {
                steps.push((up_to_ns, count));
            }
            (before, step_ns) = (count, step_ns * 2);
        }
        steps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_at_most_a_hundredth_too_high() {
        let mut durations = Durations::default();
        assert_eq!((durations.percentile_ns(50.0), durations.max_ns()), (0, 0));
        (1..=10_000).for_each(|us| durations.record(us * 1000));
        for (percentile, exact) in [(1.0, 100_000.0), (50.0, 5_000_000.0), (99.0, 9_900_000.0), (99.9, 9_990_000.0)] {
            let ratio = durations.percentile_ns(percentile) as f64 / exact;
            assert!((1.0..1.01).contains(&ratio), "p{percentile}: {ratio}");
        }
        assert_eq!(durations.sum_ns(), (1..=10_000).sum::<u64>() * 1000);
        durations.record(u64::MAX / 2);
        assert!(durations.max_ns() >= LONGEST_NS, "what is beyond the longest is counted");
    }

    #[test]
    fn steps_are_those_of_redis() {
        let mut durations = Durations::default();
        [1000, 1000, 3000, 60_000, 4_000_000].into_iter().for_each(|ns| durations.record(ns));
        assert_eq!(durations.doublings(), [(1031, 2), (4127, 3), (66_047, 4), (4_227_071, 5)]);
        let mut twice = durations.clone();
        twice.add(&durations);
        assert_eq!((twice.count(), twice.doublings()[0], twice.sum_ns()), (10, (1031, 4), 2 * durations.sum_ns()));
    }
}
