//! Writes past the page cache: blocks laid out on whole pages.
//!
//! ```text
//!  page       |blocks......|blk|....block|0000|             what is written at once; the first page repeats what it held
//!             ^ offset     ^ end so far       ^ zeroes: at least as long as a header, so that a reader knows the end
//!  next write              |blk|....block|block|000|        begins with the last page that is not full
//! ```
//!
//! A page that is written again holds the same bytes as before up to the end so far, whatever part of it a crash lets reach the disk.

use crate::persist::block::HEADER_BYTES;
use crate::runtime::ring::{PAGE_BYTES, Page};

/// The end of what was written to a file.
#[derive(Debug)]
pub(super) struct End {
    /// Where the next block belongs.
    offset: u64,
    /// What the page holds in which that is.
    page: Box<Page>,
}

impl End {
    /// Of a file that nothing was written to.
    pub(super) fn start() -> Self {
        Self { offset: 0, page: Box::new(Page::zeroed()) }
    }

    pub(super) const fn offset(&self) -> u64 {
        self.offset
    }

    /// Up to where a write of so many bytes would fill the file.
    pub(super) fn after(&self, bytes: usize) -> u64 {
        (self.offset + (bytes + HEADER_BYTES) as u64).next_multiple_of(PAGE_BYTES as u64)
    }

    /// The pages that bring `bytes` to the end of the file, and where in it they belong. `spare` becomes them.
    pub(super) fn lay_out(&mut self, bytes: &[u8], mut spare: Vec<Page>) -> (Vec<Page>, u64) {
        let filled = usize::try_from(self.offset % PAGE_BYTES as u64).expect("less than a page");
        let begin = self.offset - filled as u64;
        let end = filled + bytes.len();
        spare.resize_with((end + HEADER_BYTES).div_ceil(PAGE_BYTES), Page::zeroed);
        let (mut at, mut rest) = (filled, bytes);
        spare[0].bytes_mut()[..filled].copy_from_slice(&self.page.bytes()[..filled]);
        for page in &mut spare {
            let (now, later) = rest.split_at(rest.len().min(PAGE_BYTES - at));
            let page = page.bytes_mut();
            page[at..at + now.len()].copy_from_slice(now);
            page[at + now.len()..].fill(0);
            (at, rest) = (0, later);
        }
        self.offset += bytes.len() as u64;
        self.page.bytes_mut().copy_from_slice(spare[end / PAGE_BYTES].bytes());
        (spare, begin)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever was in the file and however much is written at once: the bytes stand one after the other, zeroes behind them.
        #[test]
        fn what_is_laid_out_is_in_the_file(lens in proptest::collection::vec(1..10_000_usize, 1..12), before in any::<u8>()) {
            let (mut file, mut end, mut expected) = (vec![before; 128 << 10], End::start(), Vec::new());
            for (i, len) in lens.into_iter().enumerate() {
                let bytes = vec![u8::try_from(i).unwrap() + 1; len];
                let after = end.after(len);
                let (pages, at) = end.lay_out(&bytes, vec![Page::zeroed(); i]);
                prop_assert_eq!(at + (pages.len() * PAGE_BYTES) as u64, after);
                for (page, at) in pages.iter().zip((usize::try_from(at).unwrap()..).step_by(PAGE_BYTES)) {
                    prop_assert!(file[at..].starts_with(&expected[at.min(expected.len())..][..expected.len().saturating_sub(at).min(PAGE_BYTES)]));
                    file[at..at + PAGE_BYTES].copy_from_slice(page.bytes());
                }
                expected.extend(bytes);
                prop_assert_eq!(end.offset(), expected.len() as u64);
                prop_assert!(file.starts_with(&expected));
                prop_assert!(file[expected.len()..][..HEADER_BYTES].iter().all(|byte| *byte == 0));
            }
        }
    }
}
