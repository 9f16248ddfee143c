//! Layer 1: the data structures behind the values. No keyspace, no clock, no protocol.
//!
//! The contract of a collection: every type here whose size a client chooses keeps it.
//!
//! ```text
//!  clone()              O(1): a reference to the root, or a copy of the single bounded node that is the whole value
//!  a write              make-mut: a node owned alone is changed in place, a shared one is copied; only nodes on the path
//!  walk in steps        by a cursor that survives writes; of hashes and sets with SCAN's guarantee
//!  free_step(budget)    gives back at most `budget` nodes and says whether more remain; a shared node only loses a reference
//!  bytes()              heap bytes reachable from the value (not `size_of` the value itself), kept while writing, O(1)
//!  recount_bytes()      the same by walking everything; tests compare the two
//! ```
//!
//! Nodes are some KiB, so that no single write copies or frees more, and reference-counted. A snapshot or a COPY holds a
//! clone; nodes that two holders share count in the bytes of both. After the first `free_step` a value may only be freed on.
//! Dropping a value instead is correct, only not sliced. What a write displaces that is itself large (a long value of a
//! hash) is handed out into a `Vec<Rope>` for the same reason.

pub mod algebra;
pub mod dict;
pub mod hash;
pub mod ints;
pub mod list;
pub mod packed;
pub mod ranked;
pub mod rope;
pub mod score;
pub mod set;
pub mod times;
pub mod trie;
pub mod zset;

use crate::base::hash::HashKey;
use hash::Hash;
use list::List;
use rope::Rope;
use set::Set;
use trie::Name;
use zset::Zset;

/// A value that does not fit in its entry.
#[derive(Clone, Debug)]
pub enum Object {
    Rope(Rope),
    Hash(Hash),
    List(List),
    Set(Set),
    Zset(Zset),
}

/// How a step of sliced work ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    Done,
    More,
}

/// What the reference count adds to an allocation behind `triomphe::Arc`, which keeps no count of weak references.
pub(crate) const RC_BYTES: usize = 8;

/// A value may move to another lane, and another thread may walk a clone of it.
const _: () = {
    const fn is_shareable<T: Send + Sync>() {}
    is_shareable::<Object>();
};

impl Object {
    /// Starts loading what a look-up of this field or member reads, if that is far from the object's own memory.
    #[inline]
    pub fn foresee(&self, element: &[u8], hasher: &HashKey) {
        match self {
            Self::Hash(hash) => hash.foresee(element, hasher),
            Self::Set(Set::Trie(trie)) => trie.foresee(Name::of(element, hasher)),
            Self::Zset(Zset::Large(large)) => large.foresee(element, hasher),
            _ => {}
        }
    }

    pub fn bytes(&self) -> usize {
        match self {
            Self::Rope(rope) => rope.bytes(),
            Self::Hash(hash) => hash.bytes(),
            Self::List(list) => list.bytes(),
            Self::Set(set) => set.bytes(),
            Self::Zset(zset) => zset.bytes(),
        }
    }

    pub fn recount_bytes(&self) -> usize {
        match self {
            Self::Rope(rope) => rope.recount_bytes(),
            Self::Hash(hash) => hash.recount_bytes(),
            Self::List(list) => list.recount_bytes(),
            Self::Set(set) => set.recount_bytes(),
            Self::Zset(zset) => zset.recount_bytes(),
        }
    }

    /// When what is in it dies by itself, deadlines of its own: the fields of hashes have some.
    pub fn times(&self) -> times::Times {
        match self {
            Self::Hash(hash) => hash.times(),
            _ => times::Times::UNTIMED,
        }
    }

    /// Gives back at most `budget` nodes and lowers it by as many.
    pub fn free_step(&mut self, budget: &mut usize) -> Progress {
        match self {
            Self::Rope(rope) => rope.free_step(budget),
            Self::Hash(hash) => hash.free_step(budget),
            Self::List(list) => list.free_step(budget),
            Self::Set(set) => set.free_step(budget),
            Self::Zset(zset) => zset.free_step(budget),
        }
    }
}

// An entry points at a boxed Object; every small collection pays for it. One type may have a tag of its own beside sixteen bytes, in
// whose spare values the compiler then keeps the type.
const _: () = assert!(size_of::<Object>() == 24);
