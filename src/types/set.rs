//! Sets: sorted integers while there is nothing else, packed while small, a trie of packed leaves when large.
//!
//! ```text
//!  Set::Ints      Ints            OBJECT ENCODING intset      integers only, up to set-max-intset-entries; in ascending order
//!  Set::Packed    Packed<1>       OBJECT ENCODING listpack    up to set-max-listpack-entries members of up to
//!                                                             set-max-listpack-value bytes; in the order they came
//!  Set::Trie      Box<Trie<1>>    OBJECT ENCODING hashtable   for good once it is one, as in Redis
//!
//!  Ints --a member that is no integer, and few--> Packed --too many, or a long one--> Trie
//!    '--too many, or both------------------------------------------------------------^
//! ```
//!
//! The borders are Redis 7.2's to the member, so that OBJECT ENCODING says the same after the same commands; beyond
//! some kilobytes the small forms give way whatever is configured. Integers stay numbers in all three.
//! The keyed hash of a member is computed only where it is needed: the small forms never do.
//! Absent: random choice (the caller draws an index for `nth` or `take_nth`), and algebra (`algebra.rs`).

use super::Progress;
use super::ints::Ints;
use super::packed::{Form, Packed};
use super::rope::Rope;
use super::trie::{INLINE_MAX, Stop, Trie, Value};
use crate::base::ascii::{I64_TEXT_MAX, parse_i64};
use crate::base::hash::HashKey;

#[derive(Clone, Debug)]
pub enum Set {
    Ints(Ints),
    Packed(Packed<1>),
    Trie(Box<Trie<1>>),
}

/// How large the small forms may grow.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// `set-max-intset-entries`
    pub ints: usize,
    /// `set-max-listpack-entries`
    pub entries: usize,
    /// `set-max-listpack-value`
    pub value_bytes: usize,
}

impl Default for Limits {
    /// Redis's defaults.
    fn default() -> Self {
        Self { ints: 512, entries: 128, value_bytes: 64 }
    }
}

impl Default for Set {
    fn default() -> Self {
        Self::Ints(Ints::default())
    }
}

impl Set {
    /// An empty set to which anything can be appended quickly.
    pub fn unsorted() -> Self {
        Self::Packed(Packed::new())
    }

    /// An empty set that will hold `first` and, as far as the caller knows, `count` members.
    pub fn expecting(first: &[u8], count: usize, limits: Limits) -> Self {
        if count <= limits.ints && parse_i64(first).is_some() {
            Self::Ints(Ints::default())
        } else if count <= limits.entries {
            Self::Packed(Packed::new())
        } else {
            Self::Trie(Box::default())
        }
    }

    /// Up to `count` members are about to be added: what is too small a form for them is left at once.
    pub fn expect(&mut self, count: usize, limits: Limits, hasher: &HashKey) {
        let most = match self {
            Self::Ints(_) => limits.ints,
            Self::Packed(_) => limits.entries,
            Self::Trie(_) => return,
        };
        if count > most {
            self.spread(hasher);
        }
    }

    /// As OBJECT ENCODING reports it.
    pub fn encoding(&self) -> &'static str {
        match self {
            Self::Ints(_) => "intset",
            Self::Packed(_) => "listpack",
            Self::Trie(_) => "hashtable",
        }
    }

    pub fn len(&self) -> usize {
        match self {
            Self::Ints(ints) => ints.len(),
            Self::Packed(packed) => packed.len(),
            Self::Trie(trie) => trie.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    #[inline]
    pub fn contains(&self, member: &[u8], hasher: &HashKey) -> bool {
        match self {
            Self::Ints(ints) => parse_i64(member).is_some_and(|number| ints.contains(number)),
            Self::Packed(packed) => packed.find(&Form::of(member)).is_some(),
            Self::Trie(trie) => trie.find(member, hasher).is_some(),
        }
    }

    /// Whether the member is new. Becomes another form where the present one cannot take it.
    pub fn add(&mut self, member: &[u8], limits: Limits, hasher: &HashKey) -> bool {
        match self {
            Self::Trie(trie) => return trie.add(member, hasher),
            Self::Ints(ints) => match parse_i64(member) {
                Some(number) if ints.contains(number) => return false,
                Some(number) if ints.has_room(number) => {
                    ints.insert(number);
                    if ints.len() > limits.ints {
                        self.spread(hasher);
                    }
                    return true;
                }
                Some(_) => {}
                None => {
                    if let Some(packed) = pack(ints, limits) {
                        *self = Self::Packed(packed);
                        return self.add(member, limits, hasher);
                    }
                }
            },
            Self::Packed(packed) => {
                let form = Form::of(member);
                if packed.find(&form).is_some() {
                    return false;
                }
                let fits = packed.len() < limits.entries && member.len() <= limits.longest();
                if fits && packed.has_room(&form, &Form::NOTHING) {
                    packed.push(&form, &Form::NOTHING);
                    return true;
                }
            }
        }
        self.spread(hasher).add(member, hasher)
    }

    /// Whether the member was there. A long one goes into `graves`.
    pub fn remove(&mut self, member: &[u8], hasher: &HashKey, graves: &mut Vec<Rope>) -> bool {
        match self {
            Self::Ints(ints) => parse_i64(member).is_some_and(|number| ints.remove(number)),
            Self::Trie(trie) => trie.remove(member, hasher, graves),
            Self::Packed(packed) => packed.remove_first(&Form::of(member)),
        }
    }

    /// The member at `index`, in the order of the form.
    pub fn nth(&self, index: usize) -> Option<Value<'_>> {
        match self {
            Self::Ints(ints) => ints.nth(index).map(Value::Short),
            Self::Packed(packed) => packed.iter().nth(index).map(|(_, row)| Value::Short(row.first)),
            Self::Trie(trie) => trie.nth(index).map(|pair| pair.first),
        }
    }

    /// Removes the member at `index`, after `visit` has seen it. A long one goes into `graves`.
    ///
    /// # Panics
    /// If there are not so many.
    pub fn take_nth(&mut self, index: usize, hasher: &HashKey, graves: &mut Vec<Rope>, visit: impl FnOnce(Value<'_>)) {
        match self {
            Self::Trie(trie) => trie.take_nth(index, hasher, graves, |pair| visit(pair.first)),
            Self::Ints(ints) => {
                visit(Value::Short(ints.nth(index).expect("drawn from what is there")));
                ints.remove_nth(index);
            }
            Self::Packed(packed) => {
                let (place, row) = packed.iter().nth(index).expect("drawn from what is there");
                visit(Value::Short(row.first));
                packed.remove(place);
            }
        }
    }

    pub fn for_each<'s>(&'s self, mut visit: impl FnMut(Value<'s>)) {
        match self {
            Self::Ints(ints) => ints.iter().for_each(|cell| visit(Value::Short(cell))),
            Self::Packed(packed) => packed.iter().for_each(|(_, row)| visit(Value::Short(row.first))),
            Self::Trie(trie) => trie.for_each(|pair| visit(pair.first)),
        }
    }

    /// Visits about `count` members from `cursor` on (0: the beginning) and returns the cursor to go on with (0: the end). A member that
    /// is there from the first call to the last is visited; the small forms come whole in one call, as in Redis.
    pub fn scan(
        &self,
        cursor: u64,
        count: usize,
        stop: Stop,
        hasher: &HashKey,
        mut visit: impl FnMut(Value<'_>),
    ) -> u64 {
        match self {
            Self::Trie(trie) => trie.scan(cursor, count, stop, hasher, |pair| visit(pair.first)),
            Self::Ints(_) | Self::Packed(_) => {
                self.for_each(visit);
                0
            }
        }
    }

    /// As `scan`, of a set that stands still: the small forms keep to the count as well.
    pub fn walk(&self, cursor: u64, count: usize, stop: Stop, hasher: &HashKey, visit: impl FnMut(Value<'_>)) -> u64 {
        let from = usize::try_from(cursor).unwrap_or(usize::MAX);
        match self {
            Self::Ints(ints) => {
                (from..ints.len()).take(count).filter_map(|at| ints.nth(at)).map(Value::Short).for_each(visit)
            }
            Self::Packed(packed) => {
                packed.iter().skip(from).take(count).map(|(_, row)| Value::Short(row.first)).for_each(visit);
            }
            Self::Trie(_) => return self.scan(cursor, count, stop, hasher, visit),
        }
        let next = from.saturating_add(count);
        if next < self.len() { next as u64 } else { 0 }
    }

    /// Becomes sorted integers again if it is small enough; the caller knows that it holds nothing else. Redis does so with what
    /// SINTERSTORE has made, and nowhere else.
    pub fn sort_integers(&mut self, limits: Limits) {
        if matches!(self, Self::Ints(_)) || self.len() > limits.ints {
            return;
        }
        let (mut ints, mut fits) = (Ints::default(), true);
        self.for_each(|member| {
            let number = integer(member).expect("the caller has looked");
            fits = fits && ints.has_room(number);
            if fits {
                ints.insert(number);
            }
        });
        if fits {
            *self = Self::Ints(ints);
        }
    }

    pub fn bytes(&self) -> usize {
        match self {
            Self::Ints(ints) => ints.bytes(),
            Self::Packed(packed) => packed.bytes(),
            Self::Trie(trie) => size_of::<Trie<1>>() + trie.bytes(),
        }
    }

    pub fn recount_bytes(&self) -> usize {
        match self {
            Self::Ints(_) | Self::Packed(_) => self.bytes(),
            Self::Trie(trie) => size_of::<Trie<1>>() + trie.recount_bytes(),
        }
    }

    /// Gives back at most `budget` nodes.
    pub fn free_step(&mut self, budget: &mut usize) -> Progress {
        let freed = match self {
            Self::Trie(trie) => trie.free_step(budget),
            Self::Ints(_) | Self::Packed(_) if *budget == 0 => Progress::More,
            Self::Ints(_) | Self::Packed(_) => {
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

    /// Becomes a trie.
    fn spread(&mut self, hasher: &HashKey) -> &mut Trie<1> {
        if !matches!(self, Self::Trie(_)) {
            let mut trie = Box::<Trie<1>>::default();
            self.for_each(|member| {
                let Value::Short(cell) = member else { unreachable!("the small forms hold no long members") };
                trie.add(cell.text(&mut [0; I64_TEXT_MAX]), hasher);
            });
            *self = Self::Trie(trie);
        }
        let Self::Trie(trie) = self else { unreachable!("it has just become one") };
        trie
    }
}

impl Limits {
    /// Beyond INLINE_MAX a member deserves a node of its own, whatever is configured.
    fn longest(self) -> usize {
        self.value_bytes.min(INLINE_MAX)
    }
}

/// The integer that a member's text is, if it is one.
pub fn integer(member: Value<'_>) -> Option<i64> {
    match member {
        Value::Short(cell) => cell.as_int().or_else(|| parse_i64(cell.text(&mut [0; I64_TEXT_MAX]))),
        Value::Long(_) => None,
    }
}

/// Room for the text of any member: digits here, a long one copied together.
#[derive(Debug, Default)]
pub struct TextRoom {
    digits: [u8; I64_TEXT_MAX],
    long: Vec<u8>,
}

impl TextRoom {
    pub fn text<'a>(&'a mut self, member: Value<'a>) -> &'a [u8] {
        match member {
            Value::Short(cell) => cell.text(&mut self.digits),
            Value::Long(rope) => {
                self.long.clear();
                rope.read_into(0..rope.len(), &mut self.long);
                &self.long
            }
        }
    }
}

/// The integers as a packed set that can take one member more, unless they are too many or too long for that.
fn pack(ints: &Ints, limits: Limits) -> Option<Packed<1>> {
    if ints.len() >= limits.entries {
        return None;
    }
    let mut packed = Packed::new();
    for cell in ints.iter() {
        let mut digits = [0; I64_TEXT_MAX];
        let text = cell.text(&mut digits);
        let form = Form::of(text);
        if text.len() > limits.value_bytes || !packed.has_room(&form, &Form::NOTHING) {
            return None;
        }
        packed.push(&form, &Form::NOTHING);
    }
    Some(packed)
}

#[cfg(test)]
mod tests;
