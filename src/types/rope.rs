//! Stand-in until the collections are merged.
use super::Progress;

#[derive(Clone, Debug)]
pub struct Rope(Vec<u8>);

impl From<&[u8]> for Rope {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }
}

impl Rope {
    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn append(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    pub fn bytes(&self) -> usize {
        self.0.capacity()
    }

    pub fn free_step(&mut self, budget: &mut usize) -> Progress {
        let keep = self.0.len().saturating_sub(*budget << 14);
        *budget -= (*budget).min(self.0.len() >> 14);
        self.0.truncate(keep);
        if keep == 0 { Progress::Done } else { Progress::More }
    }
}
