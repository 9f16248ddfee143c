//! Sequences of operations on the data structures, read off bytes and held against a model. Targets like those in `targets.rs`.
//!
//! ```text
//!  [op][which][member ...] [op] ...        what is missing at the end is zeros
//! ```

mod hashes;
mod lists;
mod sets;
mod zsets;

pub(crate) use hashes::hashes;
pub(crate) use lists::lists;
pub(crate) use sets::sets;
pub(crate) use zsets::zsets;

struct Input<'d>(&'d [u8]);

/// Some hundred operations: models are compared whole again and again.
const INPUT_BYTES_MAX: usize = 1500;

impl<'d> Input<'d> {
    fn of(data: &'d [u8]) -> Self {
        Self(&data[..data.len().min(INPUT_BYTES_MAX)])
    }

    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn number(&mut self) -> usize {
        usize::from(self.byte()) << 8 | usize::from(self.byte())
    }

    /// One of so many collections.
    fn which(&mut self, count: usize) -> usize {
        usize::from(self.byte()) % count
    }

    fn member(&mut self) -> Vec<u8> {
        match self.byte() % 8 {
            0..3 => i64::from(self.byte().cast_signed()).to_string().into_bytes(),
            3 => {
                let wide: [u8; 8] = std::array::from_fn(|_| self.byte());
                i64::from_le_bytes(wide).to_string().into_bytes()
            }
            4 => format!("{:03}", self.byte()).into_bytes(),
            5 => vec![b'l'; 500 + usize::from(self.byte() % 32)],
            6 => (0..self.byte() % 40).map(|_| self.byte()).collect(),
            _ => format!("m{}", self.byte()).into_bytes(),
        }
    }
}
