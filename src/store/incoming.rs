//! Words of the running request that are too long to stand among the others: they came as ropes, and who stores one takes it as it is.

use std::ops::Range;

use crate::persist::record::Word;
use crate::types::rope::Rope;
use crate::wire::request::{Args, Request};

#[derive(Clone, Debug, Default)]
pub struct Incoming(Vec<(usize, Rope)>);

/// A word to be stored as a string.
#[derive(Debug)]
pub enum Content<'c> {
    Flat(&'c [u8]),
    /// Longer than `limits::LONG_BYTES_MIN`.
    Long(Rope),
}

impl Incoming {
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The rope is the request's word of that number.
    pub fn push(&mut self, word: usize, rope: Rope) {
        self.0.push((word, rope));
    }

    /// The numbers of the long words.
    pub fn words(&self) -> impl Iterator<Item = usize> {
        self.0.iter().map(|(word, _)| *word)
    }

    pub fn at(&self, word: usize) -> Option<&Rope> {
        self.0.iter().find(|(place, _)| *place == word).map(|(_, rope)| rope)
    }

    pub fn take(&mut self, word: usize) -> Option<Rope> {
        let at = self.0.iter().position(|(place, _)| *place == word)?;
        Some(self.0.swap_remove(at).1)
    }

    /// All words of a request, the long ones among them.
    pub fn words_of<'w>(&'w self, args: Args<'w>) -> impl ExactSizeIterator<Item = Word<'w>> {
        args.iter().enumerate().map(|(i, word)| self.at(i).map_or(Word::Bytes(word), Word::Long))
    }

    /// The request with its long words in their places: a copy.
    pub fn put_into(&self, args: Args<'_>) -> Request {
        let mut request = Request::default();
        for (i, word) in args.iter().enumerate() {
            match self.at(i) {
                None => request.push(word),
                Some(rope) => {
                    let mut flat = Vec::with_capacity(rope.len());
                    rope.read_into(0..rope.len(), &mut flat);
                    request.push(&flat);
                }
            }
        }
        request
    }

    /// Those of a range of words, which are to stand behind `head` others: shared, not taken.
    pub fn part(&self, words: Range<usize>, head: usize) -> Self {
        let of_it = self.0.iter().filter(|(word, _)| words.contains(word));
        Self(of_it.map(|(word, rope)| (word - words.start + head, rope.clone())).collect())
    }

    pub fn bytes(&self) -> usize {
        self.0.iter().map(|(_, rope)| rope.bytes()).sum()
    }

    pub fn into_ropes(self) -> impl Iterator<Item = Rope> {
        self.0.into_iter().map(|(_, rope)| rope)
    }
}
