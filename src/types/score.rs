//! The score of a member: a double that is a number, ordered as Redis orders it (-0 and 0 are equal).

use std::cmp::Ordering;

/// Bytes of a score that is stored in full.
pub(crate) const SCORE_BYTES: usize = 8;

#[derive(Clone, Copy, Debug)]
pub struct Score(f64);

impl Score {
    pub const ZERO: Self = Self(0.0);

    /// `None`: not a number.
    #[inline]
    pub fn new(value: f64) -> Option<Self> {
        (!value.is_nan()).then_some(Self(value))
    }

    #[inline]
    pub fn value(self) -> f64 {
        self.0
    }

    /// It equals zero all the same.
    #[inline]
    pub fn is_negative_zero(self) -> bool {
        self.0 == 0.0 && self.0.is_sign_negative()
    }

    #[inline]
    pub(crate) fn to_bytes(self) -> [u8; SCORE_BYTES] {
        self.0.to_bits().to_be_bytes()
    }

    #[inline]
    pub(crate) fn from_whole(bytes: [u8; SCORE_BYTES]) -> Self {
        Self(f64::from_bits(u64::from_be_bytes(bytes)))
    }

    /// The first bytes; zeros follow them. Small whole numbers and simple fractions have few others.
    #[inline]
    pub(crate) fn from_bytes(head: &[u8]) -> Self {
        let mut bytes = [0; SCORE_BYTES];
        bytes[..head.len()].copy_from_slice(head);
        Self::from_whole(bytes)
    }
}

impl PartialEq for Score {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for Score {}

impl PartialOrd for Score {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Score {
    #[inline]
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.partial_cmp(&other.0).expect("a score is a number")
    }
}
