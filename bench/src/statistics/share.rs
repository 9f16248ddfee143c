//! How sure a share is that was seen in few tries: Wilson's interval.

/// Bounds of the true share, at 95 %, after `hits` of `tries`.
pub(crate) fn wilson(hits: u32, tries: u32) -> [f64; 2] {
    const Z: f64 = 1.959_963_984_540_054;
    if tries == 0 {
        return [0.0, 1.0];
    }
    let (n, p) = (f64::from(tries), f64::from(hits) / f64::from(tries));
    let middle = p + Z * Z / (2.0 * n);
    let half = Z * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
    let whole = 1.0 + Z * Z / n;
    [((middle - half) / whole).max(0.0), ((middle + half) / whole).min(1.0)]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Newcombe (1998), table I: 81 of 263, 15 of 148, 0 of 20.
    #[test]
    fn published_intervals_come_out() {
        for (hits, tries, low, high) in [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611)] {
            let [from, to] = wilson(hits, tries);
            assert!((from - low).abs() < 1e-4 && (to - high).abs() < 1e-4, "{hits}/{tries}: {from} {to}");
        }
        assert_eq!(wilson(0, 0), [0.0, 1.0]);
    }
}
