//! Is one server faster than another? The ratios of their rounds, judged without believing in any bell curve.
//!
//! ```text
//!   ratios of the rounds -> logarithms -> Wilcoxon's signed-rank test     how likely, if both were equal
//!                                      -> Walsh averages (of every pair)  the interval that the same test leaves, and their
//!                                                                         median: the Hodges-Lehmann estimate
//! ```
//!
//! Under equality the two servers of a round could be exchanged, so the logarithm of their ratio is as likely to be d as -d:
//! that symmetry is all the test needs, and it makes the interval one of the median. The distribution is counted exactly (no
//! normal approximation): rounds are few. Hollander, Wolfe, Chicken: Nonparametric Statistical Methods, 3.1 to 3.3.

use serde::{Deserialize, Serialize};

use super::median;

/// What is said to differ differs with this probability; fewer than eleven rounds cannot show it. At 0.99 one of 20 comparisons of two equal
/// servers was called a difference, as was to be expected of that many: too often for a verdict by which machines are bought.
pub(crate) const CONFIDENCE: f64 = 0.999;

/// What the rounds say about a ratio.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Comparison {
    /// The Hodges-Lehmann estimate of the median ratio.
    pub(crate) ratio: f64,
    /// Bounds of the median ratio; absent when the rounds are too few for any.
    pub(crate) interval: Option<[f64; 2]>,
    /// Of the interval and the verdict.
    #[serde(default = "of_former_records")]
    pub(crate) confidence: f64,
    /// Two-sided, of the signed-rank test.
    pub(crate) p_value: f64,
    pub(crate) verdict: Verdict,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    Higher,
    Lower,
    NoDifference,
    TooFewRounds,
}

impl Comparison {
    /// `None` of no ratios.
    pub(crate) fn of(ratios: &[f64]) -> Option<Self> {
        let logs: Vec<f64> = ratios.iter().map(|ratio| ratio.ln()).filter(|log| log.is_finite()).collect();
        let walsh = walsh_averages(&logs);
        let estimate = median(&walsh)?;
        let p_value = signed_rank(&logs);
        let interval = interval(&walsh, logs.len(), 1.0 - CONFIDENCE);
        let verdict = match interval {
            None => Verdict::TooFewRounds,
            Some([low, _]) if low > 0.0 && p_value < 1.0 - CONFIDENCE => Verdict::Higher,
            Some([_, high]) if high < 0.0 && p_value < 1.0 - CONFIDENCE => Verdict::Lower,
            Some(_) => Verdict::NoDifference,
        };
        let interval = interval.map(|bounds| bounds.map(f64::exp));
        Some(Self { ratio: estimate.exp(), interval, confidence: CONFIDENCE, p_value, verdict })
    }
}

/// The confidence of records that do not state it.
const fn of_former_records() -> f64 {
    0.99
}

/// The means of all pairs, each sample with itself too, in ascending order.
fn walsh_averages(samples: &[f64]) -> Vec<f64> {
    let mut averages: Vec<f64> = samples
        .iter()
        .enumerate()
        .flat_map(|(at, one)| samples[at..].iter().map(move |other| f64::midpoint(*one, *other)))
        .collect();
    averages.sort_by(f64::total_cmp);
    averages
}

/// Leaves out so many averages at either end as the test with this error would.
fn interval(walsh: &[f64], samples: usize, error: f64) -> Option<[f64; 2]> {
    let ranks: Vec<usize> = (1..=samples).collect();
    let mut below = 0.0;
    let mut left_out = 0_usize;
    for probability in sums(&ranks) {
        below += probability;
        if below > error / 2.0 {
            break;
        }
        left_out += 1;
    }
    // With none to leave out, even the extremes do not bound the median well enough.
    let at = left_out.checked_sub(1)?;
    Some([*walsh.get(at)?, *walsh.get(walsh.len() - 1 - at)?])
}

/// The probability of ranks at least as one-sided as these, if either sign were as likely.
fn signed_rank(samples: &[f64]) -> f64 {
    let mut nonzero: Vec<f64> = samples.iter().copied().filter(|sample| *sample != 0.0).collect();
    nonzero.sort_by(|one, other| one.abs().total_cmp(&other.abs()));
    // Ranks are doubled, so that those of ties, which share their mean, are whole numbers.
    let mut ranks = vec![0; nonzero.len()];
    let mut start = 0;
    while start < nonzero.len() {
        let tied = nonzero[start..].iter().take_while(|other| other.abs() == nonzero[start].abs()).count();
        ranks[start..start + tied].fill(2 * start + tied + 1);
        start += tied;
    }
    let positive: usize = nonzero.iter().zip(&ranks).filter(|(sample, _)| **sample > 0.0).map(|(_, rank)| rank).sum();
    let total: usize = ranks.iter().sum();
    let smaller = positive.min(total - positive);
    let tail: f64 = sums(&ranks).iter().take(smaller + 1).sum();
    (2.0 * tail).min(1.0)
}

/// The probability of each sum of a random subset of the ranks.
fn sums(ranks: &[usize]) -> Vec<f64> {
    let mut probabilities = vec![0.0; ranks.iter().sum::<usize>() + 1];
    probabilities[0] = 1.0;
    for rank in ranks {
        for sum in (0..probabilities.len()).rev() {
            let with = sum.checked_sub(*rank).map_or(0.0, |rest| probabilities[rest]);
            probabilities[sum] = f64::midpoint(probabilities[sum], with);
        }
    }
    probabilities
}

#[cfg(test)]
mod tests {
    use super::*;
    use fastrand::Rng;

    /// Tail probabilities from the tables of the signed-rank statistic: n = 5, 10, 20.
    #[test]
    fn the_distribution_is_that_of_the_tables() {
        let tail = |n: usize, most: usize| sums(&(1..=n).collect::<Vec<_>>()).iter().take(most + 1).sum::<f64>();
        assert!((tail(5, 0) - 0.03125).abs() < 1e-12);
        assert!((tail(10, 8) - 0.0244).abs() < 5e-5, "{}", tail(10, 8));
        assert!((tail(20, 52) - 0.0242).abs() < 5e-5, "{}", tail(20, 52));
    }

    /// Hollander and Wolfe's example 3.1 (Hamilton depression scale): T+ = 40 of n = 9 and p = 0.0391 two-sided,
    /// the estimate 0.46, the 96 % interval [0.010, 0.786].
    #[test]
    fn a_textbook_example_comes_out() {
        let differences = [0.952, -0.147, 1.022, 0.430, 0.620, 0.590, 0.490, -0.080, 0.010];
        assert!((signed_rank(&differences) - 0.0391).abs() < 1e-4, "{}", signed_rank(&differences));
        let walsh = walsh_averages(&differences);
        assert!((median(&walsh).unwrap() - 0.46).abs() < 1e-9);
        let [low, high] = interval(&walsh, 9, 0.04).unwrap();
        assert!((low - 0.010).abs() < 1e-9 && (high - 0.786).abs() < 1e-9, "{low} {high}");
    }

    #[test]
    fn ties_and_zeros_are_no_evidence() {
        assert_eq!(signed_rank(&[0.0, 0.0]), 1.0);
        assert_eq!(signed_rank(&[1.0, -1.0]), 1.0);
        assert_eq!(signed_rank(&[1.0; 8]), 2.0 / 256.0);
    }

    #[test]
    fn ten_rounds_are_too_few_for_a_verdict_and_eleven_are_not() {
        assert_eq!(Comparison::of(&[2.0; 10]).unwrap().verdict, Verdict::TooFewRounds);
        let eleven = Comparison::of(&[2.0; 11]).unwrap();
        assert_eq!((eleven.verdict, eleven.interval.map(|bounds| bounds[0] > 1.99)), (Verdict::Higher, Some(true)));
        assert_eq!(Comparison::of(&[]), None);
    }

    /// Rounds of a noisy machine: its speed wanders, one round in eight is hit hard, and each server has noise of its own.
    /// `slowdown` is what the second server really lacks.
    fn rounds(rng: &mut Rng, count: usize, slowdown: f64) -> Vec<f64> {
        let mut speed = 1.0;
        (0..count)
            .map(|_| {
                speed *= 1.0 + 0.1 * (rng.f64() - 0.5);
                let mut server = |cost: f64| {
                    let hit = if rng.f64() < 0.125 { 1.0 + 0.3 * rng.f64() } else { 1.0 };
                    let own = (0..4).map(|_| rng.f64() - 0.5).sum::<f64>() * 0.025;
                    speed / (cost * hit * (1.0 + own))
                };
                server(1.0) / server(slowdown)
            })
            .collect()
    }

    #[test]
    fn equal_servers_are_found_equal_in_20_of_20_comparisons() {
        let mut rng = Rng::with_seed(20);
        let verdicts: Vec<Verdict> =
            (0..20).map(|_| Comparison::of(&rounds(&mut rng, 15, 1.0)).unwrap().verdict).collect();
        assert_eq!(verdicts, [Verdict::NoDifference; 20]);
    }

    /// The stated confidence holds over many more: at most one in a thousand is wrong.
    #[test]
    fn wrong_verdicts_are_as_rare_as_stated() {
        let mut rng = Rng::with_seed(1);
        let wrong = (0..20_000)
            .filter(|_| Comparison::of(&rounds(&mut rng, 15, 1.0)).unwrap().verdict != Verdict::NoDifference)
            .count();
        assert!(wrong <= 30, "{wrong} of 20,000, where 20 are expected");
        assert!(wrong >= 2, "{wrong} of 20,000: a test that never errs is too blunt");
    }

    #[test]
    fn a_server_slowed_by_5_percent_is_found_slower_in_20_of_20() {
        let mut rng = Rng::with_seed(5);
        for _ in 0..20 {
            let found = Comparison::of(&rounds(&mut rng, 60, 1.05)).unwrap();
            assert_eq!(found.verdict, Verdict::Higher, "{found:?}");
            let [low, high] = found.interval.unwrap();
            assert!(low < 1.05 * 1.02 && high > 1.05 * 0.98, "the interval holds the truth or nearly: {found:?}");
        }
    }
}
