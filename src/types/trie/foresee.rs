//! What a look-up will read, loaded before its turn has come.
//!
//! A way down a large trie is two or three lines of memory of which each says where the next is, and then those of the leaf. Of many look-ups that
//! are known beforehand, the ways are gone one right behind the other, so that the processor waits for several of them at once; the lines of
//! the leaves are only asked for.

use super::branch::Node;
use super::leaf::{Head, Leaf};
use super::{Name, Trie, slot_of};
use crate::types::dict::{LINE_BYTES, prefetch};

/// A leaf has about as many fingerprints as it has room for records of so many bytes.
const BYTES_PER_FINGERPRINT: usize = 11;

impl<const COLUMNS: usize> Trie<COLUMNS> {
    /// Starts loading what a look-up reads.
    #[inline]
    pub fn foresee(&self, name: Name<'_>) {
        let (mut node, mut level) = (&self.root.node, 0);
        while let Node::Inner(inner) = node {
            node = &inner.branches[inner.rank(slot_of(name.hash, level))].node;
            level += 1;
        }
        if let Node::Leaf(leaf) = node {
            leaf.prefetch();
        }
    }
}

impl Leaf {
    /// Starts loading the head and the fingerprints.
    #[inline]
    fn prefetch(&self) {
        let mut line = std::ptr::from_ref(&self.0.header).addr() as u64;
        let end = line + (size_of::<Head>() + self.data().len() / BYTES_PER_FINGERPRINT) as u64;
        while line < end {
            prefetch(line);
            line += LINE_BYTES;
        }
    }
}
