//! A record on its way into a leaf: hashed, and its size known, once for all the leaves it is tried in.

use super::{INLINE_MAX, Rope};
use crate::base::hash::HashKey;
use crate::base::time::Millis;
use crate::types::packed::{Form, row_size};

/// A first column with its hash, for whoever looks a record up and then changes it.
#[derive(Clone, Copy, Debug)]
pub struct Name<'a> {
    pub(super) hash: u64,
    pub(super) text: &'a [u8],
}

impl<'a> Name<'a> {
    #[inline]
    pub fn of(text: &'a [u8], hasher: &HashKey) -> Self {
        Self { hash: hasher.bytes(text), text }
    }

    #[inline]
    pub fn text(self) -> &'a [u8] {
        self.text
    }
}

pub(super) struct NewRow<'a> {
    pub(super) hash: u64,
    pub(super) text: &'a [u8],
    pub(super) first: Input<'a>,
    /// `None`: it stays, only the deadline changes.
    pub(super) second: Option<Input<'a>>,
    pub(super) deadline: Option<Millis>,
    /// Bytes of the record, if it is a new one.
    pub(super) size: usize,
}

/// An element on its way in.
pub(super) enum Input<'a> {
    Short(Form<'a>),
    Long(Long),
}

#[derive(Clone, Debug)]
pub(super) struct Long {
    pub(super) rope: Rope,
    /// Of a first column; 0 for a second.
    pub(super) hash: u64,
}

impl<'a> NewRow<'a> {
    pub(super) fn of<const COLUMNS: usize>(
        first: &'a [u8],
        second: &'a [u8],
        deadline: Option<Millis>,
        hash: u64,
    ) -> Self {
        let (text, first, second) = (first, Input::of(first, hash), Input::of(second, 0));
        let size = row_size::<COLUMNS>(&first.shape(), &second.shape().until(deadline));
        Self { hash, text, first, second: Some(second), deadline, size }
    }
}

impl<'a> Input<'a> {
    pub(super) fn of(text: &'a [u8], hash: u64) -> Self {
        if text.len() <= INLINE_MAX {
            Self::Short(Form::of(text))
        } else {
            Self::Long(Long { rope: Rope::from(text), hash })
        }
    }

    /// A form of the size that the stored one will have.
    fn shape(&self) -> Form<'a> {
        match self {
            Self::Short(form) => *form,
            Self::Long(_) => Form::elsewhere(0),
        }
    }
}
