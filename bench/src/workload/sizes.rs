//! How large the value of a key is. A key keeps its size for the whole run, so that each reply's length is known.
//!
//! ```text
//!   key -> a fixed mixing of its number -> one of 4096 places -> bytes      90 % of the places 100, 10 % between 1 K and 10 K
//! ```

use serde::{Deserialize, Serialize};

/// One class of sizes: `bytes`, or anything from `bytes` to `to`, spread so that each doubling is equally likely.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SizeClass {
    pub(crate) weight: f64,
    pub(crate) bytes: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) to: Option<u32>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sizes {
    spread: Spread,
    stamped: bool,
}

#[derive(Clone, Debug, PartialEq)]
enum Spread {
    One(u32),
    Many(Box<[u32]>),
}

const PLACES: u32 = 4096;

impl Sizes {
    pub(crate) const fn fixed(bytes: u32) -> Self {
        Self { spread: Spread::One(bytes), stamped: true }
    }

    pub(crate) fn of_classes(classes: &[SizeClass]) -> Result<Self, String> {
        let total: f64 = classes.iter().map(|class| class.weight).sum();
        let is_bad = |class: &SizeClass| {
            class.weight.is_nan() || class.weight < 0.0 || class.to.is_some_and(|to| to < class.bytes)
        };
        if classes.iter().any(is_bad) || total.is_nan() || total <= 0.0 {
            return Err("value classes need weights above 0 and `to` not below `bytes`".to_owned());
        }
        let mut places = Vec::with_capacity(PLACES as usize);
        let mut sum = 0.0;
        for class in classes {
            let start = places.len();
            sum += class.weight;
            let end = part(sum / total, f64::from(PLACES)) as usize;
            let count = end.saturating_sub(start);
            places.extend((0..count).map(|at| class.size_at((at as f64 + 0.5) / count as f64)));
        }
        Ok(Self { spread: Spread::Many(places.into_boxed_slice()), stamped: true })
    }

    /// Values that others wrote, or that change: only their length can be checked.
    pub(crate) fn without_stamps(self) -> Self {
        Self { stamped: false, ..self }
    }

    pub(crate) const fn are_stamped(&self) -> bool {
        self.stamped
    }

    pub(crate) fn of(&self, key: u32) -> u32 {
        match &self.spread {
            Spread::One(bytes) => *bytes,
            // Fibonacci hashing: the upper bits of the product are well mixed.
            Spread::Many(places) => places[(key.wrapping_mul(0x9E37_79B1) >> 20) as usize],
        }
    }

    /// The size of all values, if there is one.
    pub(crate) const fn the_only_one(&self) -> Option<u32> {
        match self.spread {
            Spread::One(bytes) => Some(bytes),
            Spread::Many(_) => None,
        }
    }
}

impl SizeClass {
    fn size_at(&self, point: f64) -> u32 {
        let Some(to) = self.to else { return self.bytes };
        let from = f64::from(self.bytes.max(1));
        part((f64::from(to) / from).powf(point), from).clamp(self.bytes, to)
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a product of positive numbers of 32 bits")]
fn part(share: f64, of: f64) -> u32 {
    (share * of).round() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_come_by_weight_and_a_key_keeps_its_size() {
        let small = SizeClass { weight: 9.0, bytes: 100, to: None };
        let large = SizeClass { weight: 1.0, bytes: 1_000, to: Some(16_000) };
        let sizes = Sizes::of_classes(&[small, large]).unwrap();
        let all: Vec<u32> = (0..100_000).map(|key| sizes.of(key)).collect();
        let count = |range: std::ops::RangeInclusive<u32>| all.iter().filter(|size| range.contains(size)).count();
        assert!((89_000..91_000).contains(&count(100..=100)), "{}", count(100..=100));
        assert!(
            (1_900..3_100).contains(&count(2_001..=4_000)),
            "each of four doublings a quarter: {}",
            count(2_001..=4_000)
        );
        assert_eq!(count(100..=100) + count(1_000..=16_000), all.len());
        assert_eq!(sizes.of(77), sizes.of(77));
    }

    #[test]
    fn bad_classes_are_refused() {
        assert!(Sizes::of_classes(&[]).is_err());
        assert!(Sizes::of_classes(&[SizeClass { weight: 1.0, bytes: 9, to: Some(8) }]).is_err());
        assert!(Sizes::of_classes(&[SizeClass { weight: f64::NAN, bytes: 9, to: None }]).is_err());
    }
}
