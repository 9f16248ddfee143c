//! Which keys and channels a selector reaches: all, or those that one of its patterns matches.

use super::rule::RuleError;
use crate::base::glob::{self, Case};

/// What is done to a key, or may be done to those of a pattern.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dealing {
    /// Its content is shown.
    pub reads: bool,
    /// It is changed, made or removed.
    pub writes: bool,
}

impl Dealing {
    pub const READS: Self = Self { reads: true, writes: false };
    pub const WRITES: Self = Self { reads: false, writes: true };
    pub const BOTH: Self = Self { reads: true, writes: true };

    /// Whether it includes all of `other`. What neither reads nor writes, as EXISTS, is included in anything.
    const fn includes(self, other: Self) -> bool {
        (self.reads || !other.reads) && (self.writes || !other.writes)
    }

    const fn and(self, other: Self) -> Self {
        Self { reads: self.reads || other.reads, writes: self.writes || other.writes }
    }
}

/// `~pattern`, `%R~pattern`, `%W~pattern`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPattern {
    pub pattern: Box<[u8]>,
    pub dealing: Dealing,
}

impl KeyPattern {
    /// What stands before the pattern.
    pub fn sigil(&self) -> &'static str {
        match self.dealing {
            Dealing::READS => "%R~",
            Dealing::WRITES => "%W~",
            // `~*` would be all keys, to which no pattern can be added.
            _ if *self.pattern == *b"*" => "%RW~",
            _ => "~",
        }
    }
}

/// All, or what these match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach<P> {
    All,
    Only(Vec<P>),
}

impl<P> Default for Reach<P> {
    fn default() -> Self {
        Self::Only(Vec::new())
    }
}

impl<P> Reach<P> {
    pub const fn is_all(&self) -> bool {
        matches!(self, Self::All)
    }

    /// The patterns, unless it is all.
    pub fn patterns(&self) -> &[P] {
        match self {
            Self::All => &[],
            Self::Only(patterns) => patterns,
        }
    }
}

impl Reach<KeyPattern> {
    /// Adds a pattern, or what may be done to the keys of one that is there.
    pub fn add(&mut self, new: KeyPattern) -> Result<(), RuleError> {
        let Self::Only(patterns) = self else { return Err(RuleError::KeysAreAll) };
        match patterns.iter_mut().find(|old| old.pattern == new.pattern) {
            Some(old) => old.dealing = old.dealing.and(new.dealing),
            None => patterns.push(new),
        }
        Ok(())
    }

    /// Whether this may be done to a key.
    pub fn covers(&self, key: &[u8], dealing: Dealing) -> bool {
        let Self::Only(patterns) = self else { return true };
        let mut fitting = patterns.iter().filter(|pattern| pattern.dealing.includes(dealing));
        fitting.any(|pattern| glob::matches(&pattern.pattern, key, Case::Exact))
    }

    /// Whether it may be done to any key.
    pub fn covers_all(&self, dealing: Dealing) -> bool {
        let Self::Only(patterns) = self else { return true };
        patterns.iter().any(|pattern| &*pattern.pattern == b"*" && pattern.dealing.includes(dealing))
    }
}

/// How a channel is named in a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Naming {
    Channel,
    /// A pattern of channels, as in PSUBSCRIBE: only the very same pattern covers it.
    Pattern,
}

impl Reach<Box<[u8]>> {
    /// As for keys.
    pub fn add(&mut self, new: &[u8]) -> Result<(), RuleError> {
        let Self::Only(patterns) = self else { return Err(RuleError::ChannelsAreAll) };
        if !patterns.iter().any(|old| **old == *new) {
            patterns.push(new.into());
        }
        Ok(())
    }

    /// Whether a channel may be spoken or listened to.
    pub fn covers(&self, channel: &[u8], naming: Naming) -> bool {
        let Self::Only(patterns) = self else { return true };
        patterns.iter().any(|pattern| match naming {
            Naming::Channel => glob::matches(pattern, channel, Case::Exact),
            Naming::Pattern => **pattern == *channel,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(patterns: &[(&[u8], Dealing)]) -> Reach<KeyPattern> {
        let mut reach = Reach::<KeyPattern>::default();
        for (pattern, dealing) in patterns {
            reach.add(KeyPattern { pattern: (*pattern).into(), dealing: *dealing }).expect("not all yet");
        }
        reach
    }

    #[test]
    fn a_pattern_covers_what_it_says_and_no_more() {
        let reach = keys(&[(b"a*", Dealing::BOTH), (b"r*", Dealing::READS), (b"w*", Dealing::WRITES)]);
        let (look, read, write, both) = (Dealing::default(), Dealing::READS, Dealing::WRITES, Dealing::BOTH);
        for (key, covered) in [
            (&b"a1"[..], [true, true, true, true]),
            (b"r1", [true, true, false, false]),
            (b"w1", [true, false, true, false]),
            (b"x", [false; 4]),
            (b"", [false; 4]),
        ] {
            assert_eq!([look, read, write, both].map(|dealing| reach.covers(key, dealing)), covered, "{key:?}");
        }
        assert!(!reach.covers_all(read));
        assert!(keys(&[(b"*", read)]).covers_all(read) && !keys(&[(b"*", read)]).covers_all(both));
    }

    #[test]
    fn the_same_pattern_twice_is_one_that_may_more() {
        let reach = keys(&[(b"k", Dealing::READS), (b"k", Dealing::WRITES)]);
        assert_eq!(reach.patterns().len(), 1);
        assert!(reach.covers(b"k", Dealing::BOTH));
    }

    #[test]
    fn a_pattern_of_channels_is_covered_by_itself_alone() {
        let mut reach = Reach::<Box<[u8]>>::default();
        assert_eq!([reach.add(b"news.*"), reach.add(b"news.*")], [Ok(()), Ok(())]);
        assert_eq!(reach.patterns().len(), 1);
        assert!(reach.covers(b"news.it", Naming::Channel) && reach.covers(b"news.*", Naming::Pattern));
        assert!(!reach.covers(b"news.i*", Naming::Pattern) && !reach.covers(b"new", Naming::Channel));
        assert!(Reach::<Box<[u8]>>::All.covers(b"x", Naming::Pattern));
    }
}
