//! Where the keys of a request stand among its words. Whoever routes, holds, refuses, enrols or journals a request asks here, and clients are
//! told the same (COMMAND INFO, GETKEYS).
//!
//! ```text
//!  GET key                                              Keys::one(Keys::READ)
//!  MSET key value [key value ...]                       Keys::pairs(Keys::OVERWRITE)
//!  BLPOP key [key ...] timeout                          Keys::before(1, Keys::TAKE)
//!  LMPOP numkeys key [key ...] <LEFT | RIGHT>           Keys::counted(1, Keys::TAKE)
//!  BLMPOP timeout numkeys key [key ...] ...             Keys::counted(2, Keys::TAKE)
//!  SINTERSTORE destination key [key ...]                Keys::one(Keys::OVERWRITE).and(&[Spec::from(2, Keys::READ)])
//!  ZUNIONSTORE destination numkeys key [key ...] ...    Keys::one(Keys::OVERWRITE).and(&[Spec::counted(2, Keys::READ)])
//!  SORT key ... [STORE destination]                     Keys::one(Keys::READ).and(&[Spec::option(&STORE, Keys::OVERWRITE)])
//! ```
//!
//! Each `Spec` is one of Redis's key specifications. What a client may write in the place of a number is never trusted: a count that is none, or
//! for which there are not so many words, stands for no keys, and the handler, which reads it by [`count`] as this file does, says what is wrong
//! with it. So no handler touches a key that was not found here.
//!
//! Absent: keys that only the data tell (BY and GET of SORT).

use crate::base::ascii::{is_word, parse_i64};
use crate::wire::request::Args;

/// Where the keys of a request stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keys {
    /// The word at which the first key stands, if there is one; 0: a row without keys.
    pub first: u8,
    /// From one key to the next, as 2 in MSET.
    pub step: u8,
    /// It is one key and no more, whatever the request.
    single: bool,
    lead: Spec,
    more: &'static [Spec],
}

/// A run of keys, and what is done with them in the words of Redis's key specifications.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spec {
    pub begin: Begin,
    pub find: Find,
    pub access: Access,
}

pub type Access = &'static [&'static str];

/// Where a run begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    Word(u8),
    /// Behind an option, if the request has it.
    Option(&'static Keyword),
}

/// An option whose argument is a key. Of several, the last one counts.
#[derive(Debug, PartialEq, Eq)]
pub struct Keyword {
    pub word: &'static str,
    /// The first word at which an option may stand.
    pub from: u8,
    /// Options with arguments that must not be taken for it, and how many.
    pub passes: &'static [(&'static str, usize)],
}

/// How far a run reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Find {
    /// `last` counts from the beginning of the run; negative: from the end of the request.
    Range { last: i8, step: u8 },
    /// A number stands where the run begins, and so many keys follow it.
    Count,
}

/// What a command does to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Touch {
    Read,
    Write,
}

/// Why a number of keys is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadCount {
    NotANumber,
    NotPositive,
    /// There are not so many words behind it.
    TooMany,
}

/// The number of keys that stands at `word`, all of which follow it.
pub fn count(args: Args<'_>, word: usize) -> Result<usize, BadCount> {
    let number = args.get(word).and_then(parse_i64).ok_or(BadCount::NotANumber)?;
    match usize::try_from(number) {
        Err(_) | Ok(0) => Err(BadCount::NotPositive),
        Ok(count) if count >= args.len() - word => Err(BadCount::TooMany),
        Ok(count) => Ok(count),
    }
}

impl Keys {
    pub const READ: Access = &["RO", "access"];
    pub const LOOK: Access = &["RO"];
    pub const UPDATE: Access = &["RW", "update"];
    pub const MODIFY: Access = &["RW", "access", "update"];
    pub const REMOVE: Access = &["RM", "delete"];
    pub const DELETE_FROM: Access = &["RW", "delete"];
    pub const TAKE: Access = &["RW", "access", "delete"];
    pub const OVERWRITE: Access = &["OW", "update"];
    pub const INSERT: Access = &["OW", "insert"];
    pub const INSERT_MODIFY: Access = &["RW", "insert"];
    pub const SET: Access = &["RW", "access", "update", "variable_flags"];

    pub const NONE: Self = Self {
        first: 0,
        step: 1,
        single: false,
        lead: Spec { begin: Begin::Word(0), find: Find::Range { last: 0, step: 1 }, access: &[] },
        more: &[],
    };

    pub const fn one(access: Access) -> Self {
        Self::led_by(1, Spec::word(1, access))
    }

    pub const fn second(access: Access) -> Self {
        Self::led_by(2, Spec::word(2, access))
    }

    pub const fn two(access: Access) -> Self {
        Self::led_by(1, Spec { begin: Begin::Word(1), find: Find::Range { last: 1, step: 1 }, access })
    }

    pub const fn all(access: Access) -> Self {
        Self::led_by(1, Spec::from(1, access))
    }

    /// All words but so many at the end.
    pub const fn before(rest: i8, access: Access) -> Self {
        Self::led_by(1, Spec { begin: Begin::Word(1), find: Find::Range { last: -1 - rest, step: 1 }, access })
    }

    /// Keys with one argument between them, as in MSET.
    pub const fn pairs(access: Access) -> Self {
        Self::led_by(1, Spec { begin: Begin::Word(1), find: Find::Range { last: -1, step: 2 }, access })
    }

    /// So many as the number at this word says, behind it.
    pub const fn counted(word: u8, access: Access) -> Self {
        Self::led_by(word + 1, Spec::counted(word, access))
    }

    /// And these, which are touched otherwise.
    pub const fn and(self, more: &'static [Spec]) -> Self {
        Self { more, single: false, ..self }
    }

    const fn led_by(first: u8, lead: Spec) -> Self {
        let (step, single) = match lead.find {
            Find::Range { last, step } => (step, last == 0),
            Find::Count => (1, false),
        };
        Self { first, step, single, lead, more: &[] }
    }

    #[inline]
    pub fn is_single(self) -> bool {
        self.single
    }

    /// The runs of keys, in Redis's order.
    pub fn specs(self) -> impl Iterator<Item = Spec> {
        let lead = (self.first > 0).then_some(self.lead);
        lead.into_iter().chain(self.more.iter().copied())
    }

    /// Whether each key has what belongs to it, as its value in MSET.
    pub const fn are_whole(self, words: usize) -> bool {
        self.step < 2 || (words - self.first as usize).is_multiple_of(self.step as usize)
    }

    /// The words that are keys of a request that passed the arity check.
    pub fn positions(self, args: Args<'_>) -> impl Iterator<Item = usize> {
        self.specs().flat_map(move |spec| spec.positions(args))
    }

    /// The same, with what is done to each.
    pub fn accessed(self, args: Args<'_>) -> impl Iterator<Item = (usize, Access)> {
        self.specs().flat_map(move |spec| spec.positions(args).map(move |word| (word, spec.access)))
    }

    /// The same, as reads and writes.
    pub fn touched(self, args: Args<'_>) -> impl Iterator<Item = (usize, Touch)> {
        self.accessed(args).map(|(word, access)| (word, Touch::of(access)))
    }

    /// Whether all that has to stand there for the keys to be found does.
    pub fn are_clear(self, args: Args<'_>) -> bool {
        self.specs().all(|spec| match (spec.begin, spec.find) {
            (Begin::Word(word), Find::Count) => count(args, word.into()).is_ok(),
            _ => true,
        })
    }

    /// First key, last key and step as clients of old know them: what is in single words or in runs that follow each other.
    pub fn range(self) -> (u8, i8, u8) {
        let mut range: Option<(u8, i8, u8)> = None;
        for spec in self.specs() {
            let Spec { begin: Begin::Word(word), find: Find::Range { last, step }, .. } = spec else { continue };
            let last = if last < 0 { last } else { last.saturating_add_unsigned(word) };
            range = match range {
                None => Some((word, last, step)),
                Some((first, before, 1)) if step == 1 && i16::from(before) + 1 == i16::from(word) => {
                    Some((first, last, 1))
                }
                other => other,
            };
        }
        range.unwrap_or((0, 0, 0))
    }

    /// Whether there are keys that `range` does not tell.
    pub fn are_movable(self) -> bool {
        let plain = |spec: Spec| matches!((spec.begin, spec.find), (Begin::Word(_), Find::Range { .. }));
        !self.specs().all(plain)
    }
}

/// What a request does to a key whose access depends on its options, as that of SET does on GET.
pub fn resolved(access: Access, args: Args<'_>) -> Access {
    if access != Keys::SET {
        return access;
    }
    if args.iter().skip(3).any(|word| is_word(word, "GET")) { Keys::MODIFY } else { Keys::OVERWRITE }
}

impl Touch {
    pub fn of(access: Access) -> Self {
        if access.first() == Some(&"RO") { Self::Read } else { Self::Write }
    }
}

impl Spec {
    pub const fn word(word: u8, access: Access) -> Self {
        Self { begin: Begin::Word(word), find: Find::Range { last: 0, step: 1 }, access }
    }

    /// All words from this one on.
    pub const fn from(word: u8, access: Access) -> Self {
        Self { begin: Begin::Word(word), find: Find::Range { last: -1, step: 1 }, access }
    }

    /// So many as the number at this word says, behind it.
    pub const fn counted(word: u8, access: Access) -> Self {
        Self { begin: Begin::Word(word), find: Find::Count, access }
    }

    /// The argument of an option.
    pub const fn option(keyword: &'static Keyword, access: Access) -> Self {
        Self { begin: Begin::Option(keyword), find: Find::Range { last: 0, step: 1 }, access }
    }

    fn positions(self, args: Args<'_>) -> impl Iterator<Item = usize> + use<> {
        let first = match self.begin {
            Begin::Word(word) => usize::from(word),
            Begin::Option(keyword) => keyword.argument(args).unwrap_or(args.len()),
        };
        let (first, end, step) = match self.find {
            Find::Count => (first + 1, first + 1 + count(args, first).unwrap_or(0), 1),
            Find::Range { last, step } => {
                let last = match last {
                    last @ 0.. => first + usize::from(last.unsigned_abs()),
                    back => args.len().saturating_sub(usize::from(back.unsigned_abs())),
                };
                (first, last.saturating_add(1).min(args.len()), step)
            }
        };
        (first..end.max(first)).step_by(usize::from(step.max(1)))
    }
}

impl Keyword {
    /// The word behind the last one that is this.
    fn argument(&self, args: Args<'_>) -> Option<usize> {
        let (mut at, mut found) = (usize::from(self.from), None);
        while let Some(word) = args.get(at) {
            if is_word(word, self.word) {
                at += 1;
                found = Some(at).filter(|at| *at < args.len()).or(found);
            } else if let Some((_, passed)) = self.passes.iter().find(|(name, _)| is_word(word, name)) {
                at += passed;
            }
            at += 1;
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::request::Request;
    use proptest::prelude::*;

    static STORE: Keyword = Keyword { word: "STORE", from: 2, passes: &[("LIMIT", 2), ("BY", 1), ("GET", 1)] };
    static SORT: Keys = Keys::one(Keys::READ).and(&[Spec::option(&STORE, Keys::OVERWRITE)]);
    static ZUNIONSTORE: Keys = Keys::one(Keys::OVERWRITE).and(&[Spec::counted(2, Keys::READ)]);

    static RENAME: Keys = Keys::one(Keys::TAKE).and(&[Spec::word(2, Keys::OVERWRITE)]);
    static SINTERSTORE: Keys = Keys::one(Keys::OVERWRITE).and(&[Spec::from(2, Keys::READ)]);

    fn found(keys: Keys, line: &str) -> Vec<(usize, Touch)> {
        let request: Request = line.split(' ').map(str::as_bytes).collect();
        keys.touched(request.args()).collect()
    }

    fn words(keys: Keys, line: &str) -> Vec<usize> {
        found(keys, line).into_iter().map(|(word, _)| word).collect()
    }

    #[test]
    fn keys_are_found_by_place_by_number_and_behind_options() {
        assert_eq!(words(Keys::one(Keys::READ), "GET a"), [1]);
        assert_eq!(words(Keys::pairs(Keys::OVERWRITE), "MSET a 1 b 2"), [1, 3]);
        assert_eq!(words(Keys::before(1, Keys::TAKE), "BLPOP a b c 0"), [1, 2, 3]);
        assert_eq!(words(Keys::counted(1, Keys::TAKE), "LMPOP 2 a b LEFT"), [2, 3]);
        assert_eq!(words(Keys::counted(2, Keys::TAKE), "BLMPOP 0 1 a LEFT"), [3]);
        let (read, write) = (Touch::Read, Touch::Write);
        assert_eq!(found(ZUNIONSTORE, "ZUNIONSTORE d 2 a b WEIGHTS 1 2"), [(1, write), (3, read), (4, read)]);
        assert_eq!(found(SORT, "SORT a LIMIT 0 1 ALPHA store d"), [(1, read), (7, write)]);
        assert_eq!(words(SORT, "SORT a BY STORE GET STORE"), [1]);
        assert_eq!(words(SORT, "SORT a STORE STORE STORE d"), [1, 5]);
        assert_eq!(words(SORT, "SORT a STORE"), [1]);
        assert_eq!(words(Keys::NONE, "PING"), [0; 0]);
    }

    #[test]
    fn a_hostile_number_stands_for_no_keys() {
        for number in ["0", "-1", "x", "", "3", "1.0", "+2", " 2", "9223372036854775807", "-9223372036854775808"] {
            assert_eq!(words(ZUNIONSTORE, &format!("ZUNIONSTORE d {} a b", number.replace(' ', "_"))), [1], "{number}");
        }
        let request: Request = [&b"ZUNIONSTORE"[..], b"d"].into_iter().collect();
        assert_eq!(count(request.args(), 2), Err(BadCount::NotANumber));
        let request: Request = [&b"LMPOP"[..], b"0", b"a"].into_iter().collect();
        assert_eq!(count(request.args(), 1), Err(BadCount::NotPositive));
        let request: Request = [&b"LMPOP"[..], b"2", b"a"].into_iter().collect();
        assert_eq!(count(request.args(), 1), Err(BadCount::TooMany));
    }

    #[test]
    fn clients_of_old_are_told_the_range_there_is() {
        let told = |keys: Keys| (keys.range(), keys.are_movable());
        assert_eq!(told(Keys::NONE), ((0, 0, 0), false));
        assert_eq!(told(Keys::before(1, Keys::TAKE)), ((1, -2, 1), false));
        assert_eq!(told(RENAME), ((1, 2, 1), false));
        assert_eq!(told(SINTERSTORE), ((1, -1, 1), false));
        assert_eq!(told(ZUNIONSTORE), ((1, 1, 1), true));
        assert_eq!(told(Keys::counted(1, Keys::TAKE)), ((0, 0, 0), true));
        assert_eq!(told(SORT), ((1, 1, 1), true));
    }

    proptest! {
        /// Whatever the words: each place is one of the request, and none is before the first.
        #[test]
        fn every_place_is_a_word(words in prop::collection::vec("(STORE|LIMIT|BY|[0-9]{1,20}|-1|k)", 1..8)) {
            let request: Request = words.iter().map(String::as_bytes).collect();
            let all = [
                Keys::one(Keys::READ), Keys::second(Keys::READ), Keys::two(Keys::READ), Keys::all(Keys::READ),
                Keys::before(1, Keys::READ), Keys::pairs(Keys::READ), Keys::counted(1, Keys::READ),
                Keys::counted(2, Keys::READ), ZUNIONSTORE, SORT, Keys::NONE,
            ];
            for keys in all {
                let places: Vec<usize> = keys.positions(request.args()).collect();
                prop_assert!(places.iter().all(|place| *place > 0 && *place < words.len()), "{places:?}");
            }
        }
    }
}
