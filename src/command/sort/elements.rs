//! The elements of a value, or of what was sorted, one after the other and a bounded number a step. Every lane that walks a clone of the same
//! root comes by them in the same order: so an element is known by its number.

use std::ops::Range;
use std::sync::Arc;

use super::Options;
use super::order::Ordered;
use super::pattern::with_text;
use crate::base::hash::HashKey;
use crate::command::staged::Source;
use crate::store::keyspace::Graveyard;
use crate::store::text::Text;
use crate::types::list::{End, List};
use crate::types::ranked::Way;
use crate::types::set::Set;
use crate::types::trie::Stop;
use crate::types::zset::Zset;
use crate::types::{Object, Progress};

#[derive(Debug)]
pub(super) enum Elements {
    None,
    List {
        list: List,
        left: Range<usize>,
        from: End,
    },
    /// Its members in the order of its form, which no random access finds.
    Set {
        set: Set,
        cursor: u64,
        skip: usize,
        left: usize,
    },
    Ranked {
        zset: Zset,
        left: Range<usize>,
        way: Way,
    },
    Ordered {
        order: Arc<Ordered>,
        left: Range<usize>,
    },
}

impl Elements {
    /// Those that SORT looks at: all that are to be sorted, or those in the window if nothing is.
    pub(super) fn of(source: Option<&Source>, options: &Options) -> Self {
        let Some(source) = source else { return Self::None };
        let (len, is_unsorted) = (len_of(source), options.is_unsorted());
        let window = if is_unsorted { options.window(len) } else { 0..len };
        let is_backward = is_unsorted && options.descends;
        let left = if is_backward { len - window.end..len - window.start } else { window.clone() };
        match source.object.clone() {
            Object::List(list) => Self::List { list, left, from: if is_backward { End::Back } else { End::Front } },
            Object::Zset(zset) => Self::Ranked { zset, left, way: if is_backward { Way::Down } else { Way::Up } },
            Object::Set(set) => Self::Set { set, cursor: 0, skip: window.start, left: window.len() },
            _ => unreachable!("other kinds were refused"),
        }
    }

    /// How many are to come.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::None => 0,
            Self::Set { left, .. } => *left,
            Self::List { left, .. } | Self::Ranked { left, .. } | Self::Ordered { left, .. } => left.len(),
        }
    }

    /// Visits about `count` of them.
    pub(super) fn step(&mut self, count: usize, hasher: &HashKey, mut visit: impl FnMut(Text<'_>)) -> Progress {
        match self {
            Self::None => {}
            Self::List { list, left, from: End::Front } => {
                list.visit(first(left, count), |value| with_text(value, &mut visit));
            }
            Self::List { list, left, from: End::Back } => {
                list.visit_back(last(left, count), |value| with_text(value, &mut visit));
            }
            Self::Ranked { zset, left, way: Way::Up } => {
                zset.range(first(left, count), Way::Up, |value, _| with_text(value, &mut visit));
            }
            Self::Ranked { zset, left, way: Way::Down } => {
                zset.range(last(left, count), Way::Down, |value, _| with_text(value, &mut visit));
            }
            Self::Ordered { order, left } => {
                first(left, count).for_each(|place| visit(order.text(place)));
            }
            Self::Set { set, cursor, skip, left } => {
                *cursor = set.walk(*cursor, count, Stop::AtLeaf, hasher, |value| match (&mut *skip, &mut *left) {
                    (0, 0) => {}
                    (0, left) => {
                        *left -= 1;
                        with_text(value, &mut visit);
                    }
                    (skip, _) => *skip -= 1,
                });
            }
        }
        if self.len() == 0 { Progress::Done } else { Progress::More }
    }

    /// The clone may be the last holder of its nodes by now.
    pub(super) fn bury(self, graves: &mut Graveyard) {
        match self {
            Self::None => {}
            Self::List { list, .. } => graves.bury_object(Object::List(list)),
            Self::Set { set, .. } => graves.bury_object(Object::Set(set)),
            Self::Ranked { zset, .. } => graves.bury_object(Object::Zset(zset)),
            Self::Ordered { order, .. } => Ordered::bury(order, graves),
        }
    }
}

/// Takes so many off the front of a range.
fn first(left: &mut Range<usize>, count: usize) -> Range<usize> {
    let part = left.start..left.end.min(left.start + count);
    left.start = part.end;
    part
}

/// Takes so many off its end.
fn last(left: &mut Range<usize>, count: usize) -> Range<usize> {
    let part = left.end - left.len().min(count)..left.end;
    left.end = part.start;
    part
}

/// How many elements a value has.
pub(super) fn len_of(source: &Source) -> usize {
    match &source.object {
        Object::List(list) => list.len(),
        Object::Set(set) => set.len(),
        Object::Zset(zset) => zset.len(),
        _ => unreachable!("other kinds were refused"),
    }
}
