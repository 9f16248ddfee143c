//! When warming up is over: what a request costs stands still.
//!
//! ```text
//!   cost per sample   9  7  5  4.1 4.0 | 4.0 4.1 4.0 3.9
//!                        earlier four --^  latest four: medians within 5 %: steady
//! ```
//!
//! The cost is server CPU time per reply, or wall time per reply where the server's pid is unknown.

use std::time::Duration;

/// How often the sampler looks while warming up.
pub(crate) const STEP: Duration = Duration::from_millis(50);
/// Samples on either side of the comparison.
const SIDE: usize = 4;
/// Medians closer than this are the same.
const NEAR: f64 = 0.05;
/// A load that is not steady by then is measured all the same, and said not to be.
pub(crate) const WARM_UP_MAX: Duration = Duration::from_secs(3);

#[derive(Debug, Default)]
pub(crate) struct Steadiness {
    costs: Vec<f64>,
}

impl Steadiness {
    /// Takes the cost of one more sample (`None`: nothing was answered) and says whether it stands still now.
    pub(crate) fn is_reached_with(&mut self, cost: Option<f64>) -> bool {
        match cost {
            Some(cost) => self.costs.push(cost),
            None => self.costs.clear(),
        }
        let len = self.costs.len();
        len >= 2 * SIDE && is_near(&self.costs[len - 2 * SIDE..len - SIDE], &self.costs[len - SIDE..])
    }
}

/// Whether the medians of two groups are the same.
fn is_near(one: &[f64], other: &[f64]) -> bool {
    match (crate::statistics::median(one), crate::statistics::median(other)) {
        (Some(one), Some(other)) => (one / other - 1.0).abs() <= NEAR,
        _ => false,
    }
}

/// How much the cost moved within a window, from its first third to its last: beyond a tenth, the window was not steady.
pub(crate) fn drift(costs: &[f64]) -> Option<f64> {
    let third = costs.len() / 3;
    let first = crate::statistics::median(costs.get(..third)?)?;
    let last = crate::statistics::median(costs.get(costs.len() - third..)?)?;
    Some(last / first - 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_falling_cost_is_not_steady_until_it_stands() {
        let mut steadiness = Steadiness::default();
        let falling = (0..12).map(|step| 10.0 * 0.9_f64.powi(step));
        assert!(falling.map(Some).all(|cost| !steadiness.is_reached_with(cost)));
        let standing: Vec<bool> = (0..8).map(|_| steadiness.is_reached_with(Some(2.8))).collect();
        assert!(!standing[1] && standing[7], "{standing:?}");
    }

    #[test]
    fn silence_starts_anew() {
        let mut steadiness = Steadiness::default();
        (0..7).for_each(|_| assert!(!steadiness.is_reached_with(Some(1.0))));
        assert!(!steadiness.is_reached_with(None));
        (0..7).for_each(|_| assert!(!steadiness.is_reached_with(Some(1.0))));
        assert!(steadiness.is_reached_with(Some(1.0)));
    }

    #[test]
    fn drift_compares_the_thirds() {
        assert_eq!(drift(&[1.0, 1.0, 5.0, 5.0, 2.0, 2.0]), Some(1.0));
        assert_eq!(drift(&[1.0, 2.0]), None);
    }
}
