//! Medians, spreads and ratios of few samples, some of which a noisy machine has spoilt.
//!
//! Ratios are taken within a round, where both servers met the same noise, and only then is their median taken; the
//! ratio of two medians would compare different moments.

pub(crate) mod paired;
pub(crate) mod share;

use serde::{Deserialize, Serialize};

/// Median, extremes, and the median distance from the median (MAD).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
    pub(crate) mad: f64,
}

impl Spread {
    /// `None` of no samples.
    pub(crate) fn of(samples: &[f64]) -> Option<Self> {
        let median = median(samples)?;
        let distances: Vec<f64> = samples.iter().map(|sample| (sample - median).abs()).collect();
        Some(Self {
            median,
            min: samples.iter().copied().fold(f64::INFINITY, f64::min),
            max: samples.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            mad: self::median(&distances)?,
        })
    }
}

/// The middle sample, or the mean of the middle two.
pub(crate) fn median(samples: &[f64]) -> Option<f64> {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let upper = *sorted.get(middle)?;
    if sorted.len() % 2 == 1 { Some(upper) } else { Some(f64::midpoint(sorted[middle - 1], upper)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0]), Some(3.0));
        assert_eq!(median(&[3.0, 1.0]), Some(2.0));
        assert_eq!(median(&[9.0, 1.0, 2.0]), Some(2.0));
    }

    #[test]
    fn one_spoilt_sample_moves_the_extremes_alone() {
        let spread = Spread::of(&[10.0, 11.0, 12.0, 13.0, 1000.0]).unwrap();
        assert_eq!(spread, Spread { median: 12.0, min: 10.0, max: 1000.0, mad: 1.0 });
    }
}
