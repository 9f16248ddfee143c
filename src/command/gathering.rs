//! The long words of a request that is still arriving: what its connection keeps of them (`shard/gather.rs` fills it).

use crate::store::incoming::Incoming;
use crate::types::rope::Rope;

/// The bytes that end a word.
pub const LINE_END: usize = 2;

/// The long words of the request at the head of a connection's input.
#[derive(Debug, Default)]
pub struct Gathering {
    /// The one that is arriving.
    pub arriving: Option<Arriving>,
    /// Those that are there.
    pub done: Incoming,
    /// The runtime was told that a long word is on its way.
    pub told: bool,
}

#[derive(Debug)]
pub struct Arriving {
    /// Its place among the words of its request.
    pub word: usize,
    pub rope: Rope,
    /// Bytes of it still to come, the line end included.
    pub left: usize,
}

impl Gathering {
    pub fn bytes(&self) -> usize {
        self.done.bytes() + self.arriving.as_ref().map_or(0, |arriving| arriving.rope.bytes())
    }

    pub fn into_ropes(self) -> impl Iterator<Item = Rope> {
        self.done.into_ropes().chain(self.arriving.map(|arriving| arriving.rope))
    }
}
