//! Which key a request names: numbers below a count, drawn uniformly, by Zipf, or in order.
//!
//! Zipf follows the generator of Gray et al., "Quickly generating billion-record synthetic databases" (SIGMOD 1994), as
//! YCSB uses it, with its skew of 0.99. Ranks are not scrambled: stores hash their keys, so neighbours are as good as
//! any.

use std::ops::Range;

use fastrand::Rng;
use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Distribution {
    #[default]
    Uniform,
    Zipf,
    Sequential,
}

pub(crate) enum Keys {
    Uniform(u32),
    Zipf(Box<Zipf>),
    Sequential { range: Range<u32>, next: u32 },
}

impl Keys {
    pub(crate) fn new(distribution: Distribution, count: u32) -> Self {
        assert!(count > 0);
        match distribution {
            Distribution::Uniform => Self::Uniform(count),
            Distribution::Zipf => Self::Zipf(Box::new(Zipf::new(count))),
            Distribution::Sequential => Self::in_order(0..count),
        }
    }

    /// Every number of the range once, then again from its start.
    pub(crate) fn in_order(range: Range<u32>) -> Self {
        assert!(!range.is_empty());
        Self::Sequential { next: range.start, range }
    }

    pub(crate) fn draw(&mut self, rng: &mut Rng) -> u32 {
        match self {
            Self::Uniform(count) => rng.u32(0..*count),
            Self::Zipf(zipf) => zipf.draw(rng.f64()),
            Self::Sequential { range, next } => {
                let key = *next;
                *next = if key + 1 == range.end { range.start } else { key + 1 };
                key
            }
        }
    }
}

const SKEW: f64 = 0.99;

pub(crate) struct Zipf {
    count: u32,
    zeta: f64,
    eta: f64,
}

impl Zipf {
    fn new(count: u32) -> Self {
        let zeta: f64 = (1..=count).map(|rank| f64::from(rank).powf(-SKEW)).sum();
        let zeta_two = 1.0 + 0.5_f64.powf(SKEW);
        let eta = (1.0 - (2.0 / f64::from(count)).powf(1.0 - SKEW)) / (1.0 - zeta_two / zeta);
        Self { count, zeta, eta }
    }

    /// The rank at the point `uniform` (in [0, 1)) of the cumulative distribution.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "below count by construction, clamped")]
    fn draw(&self, uniform: f64) -> u32 {
        let scaled = uniform * self.zeta;
        if scaled < 1.0 || self.count == 1 {
            return 0;
        }
        if scaled < 1.0 + 0.5_f64.powf(SKEW) || self.count == 2 {
            return 1;
        }
        let rank = f64::from(self.count) * (self.eta * uniform - self.eta + 1.0).powf(1.0 / (1.0 - SKEW));
        (rank as u32).min(self.count - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_order_goes_round() {
        let mut keys = Keys::in_order(5..8);
        let mut rng = Rng::with_seed(1);
        let drawn: Vec<u32> = (0..5).map(|_| keys.draw(&mut rng)).collect();
        assert_eq!(drawn, [5, 6, 7, 5, 6]);
    }

    #[test]
    fn uniform_reaches_every_key_about_equally() {
        let mut keys = Keys::new(Distribution::Uniform, 10);
        let counts = histogram(&mut keys, 10);
        assert!(counts.iter().all(|count| (9_000..11_000).contains(count)), "{counts:?}");
    }

    #[test]
    fn zipf_ranks_fall_by_their_power() {
        let mut keys = Keys::new(Distribution::Zipf, 1000);
        let counts = histogram(&mut keys, 1000);
        let expected = 100_000.0 / (1..=1000).map(|rank| f64::from(rank).powf(-SKEW)).sum::<f64>();
        assert!((f64::from(counts[0]) / expected - 1.0).abs() < 0.05, "{} for {expected}", counts[0]);
        assert!((f64::from(counts[9]) / (expected / 10_f64.powf(SKEW)) - 1.0).abs() < 0.15, "{}", counts[9]);
        assert!(counts[500..].iter().any(|count| *count > 0));
    }

    fn histogram(keys: &mut Keys, len: usize) -> Vec<u32> {
        let mut rng = Rng::with_seed(7);
        let mut counts = vec![0; len];
        (0..100_000).for_each(|_| counts[keys.draw(&mut rng) as usize] += 1);
        counts
    }
}
