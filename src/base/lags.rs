//! How long after their deadlines keys were collected: a histogram of constant size.
//!
//! Four buckets to a power of two, so that a percentile is at most a quarter too high: enough to hold an expiry to its bound. The bench
//! uses hdrhistogram; here a fixed array keeps it plain and costs an increment a key.

/// Lags below 4 us have buckets of their own; above `2^32` us all are one.
const BUCKETS: usize = 4 * 32;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lags {
    counts: [u64; BUCKETS],
}

impl Default for Lags {
    fn default() -> Self {
        Self { counts: [0; BUCKETS] }
    }
}

impl Lags {
    #[inline]
    pub fn note(&mut self, lag_us: u64) {
        self.counts[bucket(lag_us)] += 1;
    }

    pub fn add(&mut self, other: &Self) {
        self.counts.iter_mut().zip(other.counts).for_each(|(sum, more)| *sum += more);
    }

    /// The lag, rounded up, that so many of a thousand keys did not exceed; 0 when none has expired.
    pub fn permille_us(&self, permille: u64) -> u64 {
        let total: u64 = self.counts.iter().sum();
        let wanted = (total * permille).div_ceil(1000);
        let mut seen = 0;
        let reached = self.counts.iter().position(|count| {
            seen += count;
            seen >= wanted && wanted > 0
        });
        reached.map_or(0, highest)
    }
}

fn bucket(lag_us: u64) -> usize {
    let number = if lag_us < 4 {
        lag_us
    } else {
        let exponent = lag_us.ilog2();
        4 * (u64::from(exponent) - 1) + (lag_us >> (exponent - 2) & 3)
    };
    usize::try_from(number).map_or(BUCKETS - 1, |number| number.min(BUCKETS - 1))
}

/// The highest lag of a bucket.
fn highest(bucket: usize) -> u64 {
    if bucket < 4 {
        return bucket as u64;
    }
    let (exponent, quarter) = (bucket / 4 + 1, bucket as u64 % 4);
    ((4 + quarter + 1) << (exponent - 2)) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_lag_is_at_most_a_quarter_below_the_top_of_its_bucket() {
        for lag in (0..100_000).chain((17..32).map(|bits| 1 << bits)) {
            let top = highest(bucket(lag));
            assert!(top >= lag && top <= lag + lag / 4, "{lag} in {top}");
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn a_percentile_covers_that_part_of_all() {
        let mut lags = Lags::default();
        assert_eq!(lags.permille_us(990), 0);
        (0..990).for_each(|_| lags.note(100));
        (0..10).for_each(|_| lags.note(5000));
        assert_eq!((lags.permille_us(990), lags.permille_us(991)), (111, 5119));
        let mut twice = lags;
        twice.add(&lags);
        assert_eq!(twice.permille_us(990), 111);
    }
}
