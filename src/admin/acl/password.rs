//! Passwords, of which only a hash is kept.

use sha2::{Digest as _, Sha256};

/// The SHA-256 of a password: what Redis keeps, writes into its files and takes back from them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Password([u8; 32]);

impl Password {
    pub(super) fn hash(plain: &[u8]) -> Self {
        Self(Sha256::digest(plain).into())
    }

    /// Sixty-four hexadecimal digits, of which letters are small.
    pub(super) fn parse(digits: &[u8]) -> Option<Self> {
        let digits: &[u8; 64] = digits.try_into().ok()?;
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Some(Self(bytes))
    }

    /// Whether both are the same, without telling by its time where they differ.
    pub(super) fn is(&self, other: &Self) -> bool {
        let differing = self.0.iter().zip(&other.0).fold(0, |sum, (one, other)| sum | (one ^ other));
        std::hint::black_box(differing) == 0
    }
}

impl std::fmt::Display for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

const fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_what_everybody_computes() {
        let known = "148de9c5a7a44d19e56cd9ae1a554bf67847afb0c58f6e12fa29ac7ddfca9940";
        let hash = Password::hash(b"p");
        assert_eq!(hash.to_string(), known);
        assert!(Password::parse(known.as_bytes()).is_some_and(|parsed| parsed.is(&hash)));
        assert!(!hash.is(&Password::hash(b"P")));
    }

    #[test]
    fn what_is_no_hash_is_refused() {
        let known = Password::hash(b"p").to_string();
        for wrong in [known[1..].to_owned(), format!("{known}0"), known.to_uppercase(), known.replace('1', "g")] {
            assert!(Password::parse(wrong.as_bytes()).is_none(), "{wrong}");
        }
    }
}
