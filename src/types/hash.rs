//! Hashes: fields and values, packed while small (in insertion order, as Redis), a trie of packed leaves when large.
//!
//! ```text
//!  Hash::Packed     Packed<2>    OBJECT ENCODING listpack      up to hash-max-listpack-entries fields
//!                                                              of up to hash-max-listpack-value bytes
//!  Boxed::Timed     Packed<2>    OBJECT ENCODING listpackex    the same once a field has had a deadline
//!  Boxed::Trie      Trie<2>      OBJECT ENCODING hashtable     for good once it is one, as in Redis
//! ```
//!
//! The keyed hash of a field is computed only where it is needed: a packed hash never does.
//!
//! A field may have a deadline, which stands in its record; hashes without any pay nothing for it. From its deadline on a field is *due*:
//! who looks says what time it is and does not find it, though it stays until `expire` collects it. `times` says when there is something to
//! collect, and from when on the whole hash is nothing. `len` and `nth` count what is there, due or not.
//! Absent: arithmetic (the caller parses, adds and sets) and random choice (the caller draws an index for `nth`).

use super::Progress;
use super::packed::{Form, Packed, Place, Row};
use super::rope::Rope;
use super::times::Times;
use super::trie::{INLINE_MAX, Name, Pair, Stop, Trie, Value, Written};
use crate::base::hash::HashKey;
use crate::base::limits;
use crate::base::time::Millis;

/// Two variants, so that an `Object` needs no room for which of them it is.
#[derive(Clone, Debug)]
pub enum Hash {
    Packed(Packed<2>),
    Boxed(Box<Boxed>),
}

#[derive(Clone, Debug)]
pub enum Boxed {
    Timed(Timed),
    Trie(Trie<2>),
}

/// Either by reference.
enum View<'h> {
    Packed(&'h Packed<2>),
    Timed(&'h Timed),
    Trie(&'h Trie<2>),
}

enum ViewMut<'h> {
    Packed(&'h mut Packed<2>),
    Timed(&'h mut Timed),
    Trie(&'h mut Trie<2>),
}

/// A packed hash of which fields have, or had, deadlines.
#[derive(Clone, Debug)]
pub struct Timed {
    packed: Packed<2>,
    times: Times,
}

/// How large a packed hash may grow.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// `hash-max-listpack-entries`
    pub entries: usize,
    /// `hash-max-listpack-value`
    pub value_bytes: usize,
}

impl Default for Limits {
    /// Redis's defaults.
    fn default() -> Self {
        Self { entries: 128, value_bytes: 64 }
    }
}

/// What becomes of a field's deadline when its value is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Until {
    #[default]
    Forever,
    /// As it was; a new field has none.
    AsBefore,
    At(Millis),
}

impl Default for Hash {
    fn default() -> Self {
        Self::Packed(Packed::new())
    }
}

impl Hash {
    /// As OBJECT ENCODING reports it.
    pub fn encoding(&self) -> &'static str {
        match self.view() {
            View::Packed(_) => "listpack",
            View::Timed(_) => "listpackex",
            View::Trie(_) => "hashtable",
        }
    }

    /// Fields, due ones included.
    pub fn len(&self) -> usize {
        match self.view() {
            View::Packed(packed) => packed.len(),
            View::Timed(timed) => timed.packed.len(),
            View::Trie(trie) => trie.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Fields that are not due: exact unless more leaves than `limits::LEAVES_COUNTED` hold both, which only the collection of very many
    /// at once leaves behind for a while.
    pub fn living(&self, now: Millis) -> usize {
        match self.view() {
            View::Packed(packed) => packed.len(),
            View::Timed(timed) => living_rows(&timed.packed, now).count(),
            View::Trie(trie) => trie.len() - trie.due(now, limits::LEAVES_COUNTED),
        }
    }

    /// When fields are due.
    #[inline]
    pub fn times(&self) -> Times {
        match self.view() {
            View::Packed(_) => Times::UNTIMED,
            View::Timed(timed) => timed.times,
            View::Trie(trie) => trie.times(),
        }
    }

    /// When the next field that is not due will be.
    pub fn next_after(&self, now: Millis) -> Option<Millis> {
        match self.view() {
            View::Packed(_) => None,
            View::Timed(timed) => living_rows(&timed.packed, now).filter_map(|row| row.deadline).min(),
            View::Trie(trie) => trie.next_after(now, limits::LEAVES_COUNTED),
        }
    }

    /// A field with its value and deadline.
    #[inline]
    pub fn pair(&self, field: &[u8], hasher: &HashKey, now: Millis) -> Option<Pair<'_>> {
        let pair = match self.view() {
            View::Packed(packed) => return packed.find(&Form::of(field)).map(|(_, row)| Pair::short(row)),
            View::Timed(timed) => timed.packed.find(&Form::of(field)).map(|(_, row)| Pair::short(row)),
            View::Trie(trie) => trie.find(field, hasher),
        };
        pair.filter(|pair| !pair.is_due(now))
    }

    #[inline]
    pub fn find(&self, field: &[u8], hasher: &HashKey, now: Millis) -> Option<Value<'_>> {
        self.pair(field, hasher, now).map(|pair| pair.second)
    }

    pub fn contains(&self, field: &[u8], hasher: &HashKey, now: Millis) -> bool {
        self.pair(field, hasher, now).is_some()
    }

    /// Adds or replaces a field:
    /// 1. becomes a trie if the packed form would exceed `limits` (or its own bound in bytes);
    /// 2. puts a displaced long value into `graves`, for the caller to free in steps.
    pub fn set(
        &mut self,
        field: &[u8],
        value: &[u8],
        until: Until,
        limits: Limits,
        hasher: &HashKey,
        graves: &mut Vec<Rope>,
    ) -> Written {
        let deadline = match until {
            Until::Forever => None,
            Until::At(at) => Some(at),
            Until::AsBefore if !self.times().any() => None,
            Until::AsBefore => self.pair(field, hasher, Millis::default()).and_then(|pair| pair.deadline),
        };
        if deadline.is_some() {
            self.prepare_for_times();
        }
        if let Some(packed) = self.packed_mut() {
            if let Some(written) = set_packed(packed, field, value, deadline, limits) {
                self.note_times();
                return written;
            }
            self.unpack(hasher);
        }
        let ViewMut::Trie(trie) = self.view_mut() else { unreachable!("a packed hash was unpacked above") };
        trie.set_until(field, value, deadline, hasher, graves)
    }

    /// Gives a field another deadline, or takes it away. Whether there is such a field.
    pub fn restamp(&mut self, field: &[u8], deadline: Option<Millis>, hasher: &HashKey) -> bool {
        if !self.contains(field, hasher, Millis::default()) {
            return false;
        }
        if deadline.is_some() {
            self.prepare_for_times();
        }
        if let Some(packed) = self.packed_mut() {
            let first = Form::of(field);
            let (place, row) = packed.find(&first).expect("it was found above");
            let mut text = [0; crate::base::ascii::I64_TEXT_MAX];
            let value = row.second.text(&mut text).to_vec();
            let second = Form::of(&value).until(deadline);
            if packed.has_room(&first, &second) {
                packed.replace(place, &first, &second);
                self.note_times();
                return true;
            }
            self.unpack(hasher);
        }
        let ViewMut::Trie(trie) = self.view_mut() else { unreachable!("a packed hash was unpacked above") };
        trie.restamp(field, deadline, hasher);
        true
    }

    /// Whether there was such a field. A long value goes into `graves`.
    pub fn remove(&mut self, field: &[u8], hasher: &HashKey, graves: &mut Vec<Rope>) -> bool {
        let packed = match self.view_mut() {
            ViewMut::Trie(trie) => return trie.remove(field, hasher, graves),
            ViewMut::Packed(packed) => packed,
            ViewMut::Timed(timed) => &mut timed.packed,
        };
        let found = packed.remove_first(&Form::of(field));
        self.note_times();
        found
    }

    /// Removes due fields, at least `count` unless there are fewer, and a leaf's more at most; tells of each before it goes. How many are gone.
    pub fn expire(
        &mut self,
        now: Millis,
        count: usize,
        hasher: &HashKey,
        graves: &mut Vec<Rope>,
        mut tell: impl FnMut(Pair<'_>),
    ) -> usize {
        match self.view_mut() {
            ViewMut::Packed(_) => 0,
            ViewMut::Trie(trie) => trie.expire(now, count, hasher, graves, tell),
            ViewMut::Timed(timed) => {
                let due: Vec<Place> =
                    timed.packed.iter().filter(|(_, row)| row.is_due(now)).map(|(place, _)| place).collect();
                timed.packed.iter().filter(|(_, row)| row.is_due(now)).for_each(|(_, row)| tell(Pair::short(row)));
                // From the last on: a removal moves what is behind it.
                due.iter().rev().for_each(|place| timed.packed.remove(*place));
                self.note_times();
                due.len()
            }
        }
    }

    /// Removes those of `fields` that are due, and of a packed hash all that are; tells of each before it goes.
    pub fn settle<'f>(
        &mut self,
        fields: impl Iterator<Item = &'f [u8]>,
        now: Millis,
        hasher: &HashKey,
        graves: &mut Vec<Rope>,
        mut tell: impl FnMut(Pair<'_>),
    ) {
        let ViewMut::Trie(trie) = self.view_mut() else {
            self.expire(now, usize::MAX, hasher, graves, tell);
            return;
        };
        for field in fields {
            if let Some(pair) = trie.find(field, hasher).filter(|pair| pair.is_due(now)) {
                tell(pair);
                trie.remove(field, hasher, graves);
            }
        }
    }

    /// The field at `index`, be it due: in insertion order while packed, in hash order afterwards.
    pub fn nth(&self, index: usize) -> Option<Pair<'_>> {
        match self.packed() {
            Some(packed) => packed.iter().nth(index).map(|(_, row)| Pair::short(row)),
            None => self.trie()?.nth(index),
        }
    }

    /// Visits all fields, due ones included.
    pub fn for_each<'s>(&'s self, mut visit: impl FnMut(Pair<'s>)) {
        match self.view() {
            View::Packed(packed) => packed.iter().for_each(|(_, row)| visit(Pair::short(row))),
            View::Timed(timed) => timed.packed.iter().for_each(|(_, row)| visit(Pair::short(row))),
            View::Trie(trie) => trie.for_each(visit),
        }
    }

    /// Visits about `count` fields that are not due from `cursor` on (0: the beginning) and returns the cursor to go on with (0: the end). A
    /// field that is there from the first call to the last is visited; a packed hash comes whole in one call, as in Redis.
    pub fn scan(
        &self,
        cursor: u64,
        count: usize,
        stop: Stop,
        now: Millis,
        hasher: &HashKey,
        mut visit: impl FnMut(Pair<'_>),
    ) -> u64 {
        match self.view() {
            View::Trie(trie) => return trie.scan_living(cursor, count, stop, now, hasher, visit),
            View::Packed(packed) => living_rows(packed, now).for_each(|row| visit(Pair::short(row))),
            View::Timed(timed) => living_rows(&timed.packed, now).for_each(|row| visit(Pair::short(row))),
        }
        0
    }

    pub fn bytes(&self) -> usize {
        match self.view() {
            View::Packed(packed) => packed.bytes(),
            View::Timed(timed) => size_of::<Boxed>() + timed.packed.bytes(),
            View::Trie(trie) => size_of::<Boxed>() + trie.bytes(),
        }
    }

    pub fn recount_bytes(&self) -> usize {
        match self.view() {
            View::Packed(packed) => {
                assert!(packed.iter().all(|(_, row)| row.deadline.is_none()), "deadlines make it another hash");
                packed.bytes()
            }
            View::Timed(timed) => {
                assert_eq!(timed.times, times_of(&timed.packed), "a packed hash knows its deadlines");
                size_of::<Boxed>() + timed.packed.bytes()
            }
            View::Trie(trie) => size_of::<Boxed>() + trie.recount_bytes(),
        }
    }

    /// Gives back at most `budget` nodes.
    pub fn free_step(&mut self, budget: &mut usize) -> Progress {
        let freed = match self.view_mut() {
            ViewMut::Trie(trie) => trie.free_step(budget),
            _ if *budget == 0 => Progress::More,
            _ => {
                *budget -= 1;
                Progress::Done
            }
        };
        if freed == Progress::More {
            return Progress::More;
        }
        *self = Self::default();
        Progress::Done
    }

    #[inline]
    fn view(&self) -> View<'_> {
        match self {
            Self::Packed(packed) => View::Packed(packed),
            Self::Boxed(boxed) => match &**boxed {
                Boxed::Timed(timed) => View::Timed(timed),
                Boxed::Trie(trie) => View::Trie(trie),
            },
        }
    }

    #[inline]
    fn view_mut(&mut self) -> ViewMut<'_> {
        match self {
            Self::Packed(packed) => ViewMut::Packed(packed),
            Self::Boxed(boxed) => match &mut **boxed {
                Boxed::Timed(timed) => ViewMut::Timed(timed),
                Boxed::Trie(trie) => ViewMut::Trie(trie),
            },
        }
    }

    /// Starts loading what a look-up of this field reads, if that is far.
    #[inline]
    pub(super) fn foresee(&self, field: &[u8], hasher: &HashKey) {
        if let View::Trie(trie) = self.view() {
            trie.foresee(Name::of(field, hasher));
        }
    }

    fn packed(&self) -> Option<&Packed<2>> {
        match self.view() {
            View::Packed(packed) => Some(packed),
            View::Timed(timed) => Some(&timed.packed),
            View::Trie(_) => None,
        }
    }

    fn trie(&self) -> Option<&Trie<2>> {
        if let View::Trie(trie) = self.view() { Some(trie) } else { None }
    }

    #[inline]
    fn packed_mut(&mut self) -> Option<&mut Packed<2>> {
        match self.view_mut() {
            ViewMut::Packed(packed) => Some(packed),
            ViewMut::Timed(timed) => Some(&mut timed.packed),
            ViewMut::Trie(_) => None,
        }
    }

    /// A packed hash that never had deadlines becomes one that may.
    fn prepare_for_times(&mut self) {
        if let Self::Packed(packed) = self {
            let packed = std::mem::take(packed);
            let times = times_of(&packed);
            *self = Self::Boxed(Box::new(Boxed::Timed(Timed { packed, times })));
        }
    }

    /// After a write of a packed hash.
    #[inline]
    fn note_times(&mut self) {
        if let ViewMut::Timed(timed) = self.view_mut() {
            timed.times = times_of(&timed.packed);
        }
    }

    fn unpack(&mut self, hasher: &HashKey) {
        let packed = self.packed().expect("only a packed hash is unpacked");
        let (mut trie, mut graves) = (Trie::default(), Vec::new());
        for (_, row) in packed.iter() {
            let (mut a, mut b) = ([0; 20], [0; 20]);
            trie.set_until(row.first.text(&mut a), row.second.text(&mut b), row.deadline, hasher, &mut graves);
        }
        assert!(graves.is_empty(), "a packed hash has no long elements");
        *self = Self::Boxed(Box::new(Boxed::Trie(trie)));
    }
}

fn living_rows(packed: &Packed<2>, now: Millis) -> impl Iterator<Item = Row<'_>> {
    packed.iter().map(|(_, row)| row).filter(move |row| !row.is_due(now))
}

fn times_of(packed: &Packed<2>) -> Times {
    packed.iter().map(|(_, row)| Times::of(row.deadline)).collect()
}

/// `None`, and nothing changed, if the hash must become a trie first.
fn set_packed(
    packed: &mut Packed<2>,
    field: &[u8],
    value: &[u8],
    deadline: Option<Millis>,
    limits: Limits,
) -> Option<Written> {
    // Beyond INLINE_MAX an element deserves a node of its own, whatever is configured.
    if field.len().max(value.len()) > limits.value_bytes.min(INLINE_MAX) {
        return None;
    }
    let (first, second) = (Form::of(field), Form::of(value).until(deadline));
    if !packed.has_room(&first, &second) {
        return None;
    }
    match packed.find(&first) {
        Some((place, _)) => {
            packed.replace(place, &first, &second);
            Some(Written::Updated)
        }
        None if packed.len() < limits.entries => {
            packed.push(&first, &second);
            Some(Written::Added)
        }
        None => None,
    }
}

#[cfg(test)]
mod tests;
