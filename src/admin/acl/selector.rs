//! A selector: some commands, on some keys, with some channels. A user has one or more, and may do what any of them allows as a whole.
//!
//! ```text
//!  ~cache:* %R~user:* resetchannels &news.* -@all +@read +set -get +select|0
//!  `--- keys ------'  `- channels ------'  `--- commands --------------'
//! ```
//!
//! Which commands these are is kept twice: as a set of numbers, which is looked at for each request, and as the rules that made it, in their
//! order, which are told as they were given (Redis 7.2; 7.0 made up others of the set). A rule takes the place of earlier ones about the same
//! command or its subcommands.

use std::collections::BTreeMap;

use super::catalog::{Catalog, Number};
use super::pattern::{Dealing, KeyPattern, Naming, Reach};
use super::rule::{Grant, RuleError, Verdict};

/// What a new selector reaches before any rule: `acl-pubsub-default`.
pub type Channels = Reach<Box<[u8]>>;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    pub keys: Reach<KeyPattern>,
    pub channels: Channels,
    commands: Commands,
}

/// Commands, by number and by rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Commands {
    /// A bit for each; none at all: no command.
    bits: Box<[u64]>,
    /// The rules stand behind `+@all`, not `-@all`.
    from_all: bool,
    /// With their signs.
    rules: Vec<Box<[u8]>>,
    /// Of commands that are not granted: first words with which they are.
    first_words: BTreeMap<Number, Vec<Box<[u8]>>>,
}

/// What a selector lacks for a request: the word that it must not touch. Of two selectors, what the one that lacks more comes to counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lack {
    Command,
    Key(usize),
    Channel(usize),
}

/// A command as it was asked for.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    pub command: Number,
    /// It is anybody's, whatever was granted: AUTH, HELLO, QUIT, RESET.
    pub is_free: bool,
    /// The word behind the command's name.
    pub first_word: Option<&'a [u8]>,
}

impl Selector {
    pub fn new(channels: Channels) -> Self {
        Self { channels, ..Self::default() }
    }

    /// With all rights.
    pub fn all(catalog: &Catalog) -> Self {
        Self { keys: Reach::All, channels: Reach::All, commands: Commands::all(catalog) }
    }

    pub fn is_all(&self, catalog: &Catalog) -> bool {
        self.keys.is_all() && self.channels.is_all() && self.commands.bits == Commands::all(catalog).bits
    }

    pub fn apply(&mut self, grant: Grant<'_>, catalog: &Catalog) -> Result<(), RuleError> {
        match grant {
            Grant::AllKeys => self.keys = Reach::All,
            Grant::ResetKeys => self.keys = Reach::default(),
            Grant::AllChannels => self.channels = Reach::All,
            Grant::ResetChannels => self.channels = Reach::default(),
            Grant::Key(pattern) => self.keys.add(pattern)?,
            Grant::Channel(pattern) => self.channels.add(&pattern)?,
            Grant::AllCommands => self.commands = Commands::all(catalog),
            Grant::NoCommands => self.commands = Commands::default(),
            Grant::Command(command, verdict) => {
                self.commands.set(command, verdict, catalog);
                self.commands.note(catalog.name(command).as_bytes(), verdict);
            }
            Grant::FirstWord(command, word) => {
                self.commands.note(&[catalog.name(command).as_bytes(), b"|", &word].concat(), Verdict::Allow);
                let words = self.commands.first_words.entry(command).or_default();
                let word = word.to_ascii_lowercase();
                words.retain(|known| **known != *word);
                words.push(word.into());
            }
            Grant::Category(category, name, verdict) => {
                let within: Vec<Number> = catalog.within(category).collect();
                within.into_iter().for_each(|command| self.commands.set(command, verdict, catalog));
                self.commands.note(format!("@{name}").as_bytes(), verdict);
            }
        }
        Ok(())
    }

    /// Whether all of a request is allowed: the command, each key with what is done to it, each channel.
    pub fn allows<'k>(
        &self,
        asked: Asked<'_>,
        mut keys: impl Iterator<Item = (usize, &'k [u8], Dealing)>,
        mut channels: impl Iterator<Item = (usize, &'k [u8], Naming)>,
    ) -> Result<(), Lack> {
        if !asked.is_free && !self.commands.include(asked) {
            return Err(Lack::Command);
        }
        if !self.keys.is_all()
            && let Some((word, ..)) = keys.find(|(_, key, dealing)| !self.keys.covers(key, *dealing))
        {
            return Err(Lack::Key(word));
        }
        if !self.channels.is_all()
            && let Some((word, ..)) = channels.find(|(_, channel, naming)| !self.channels.covers(channel, *naming))
        {
            return Err(Lack::Channel(word));
        }
        Ok(())
    }

    /// The rules for commands, which together with the first make the same set again.
    pub fn command_rules(&self) -> Vec<u8> {
        let base: &[u8] = if self.commands.from_all { b"+@all" } else { b"-@all" };
        let rules = self.commands.rules.iter().map(|rule| &**rule);
        std::iter::once(base).chain(rules).collect::<Vec<_>>().join(&b' ')
    }

    /// As ACL GETUSER shows them.
    pub fn key_rules(&self) -> Vec<u8> {
        match &self.keys {
            Reach::All => b"~*".to_vec(),
            Reach::Only(patterns) => patterns.iter().map(key_rule).collect::<Vec<_>>().join(&b' '),
        }
    }

    pub fn channel_rules(&self) -> Vec<u8> {
        match &self.channels {
            Reach::All => b"&*".to_vec(),
            Reach::Only(patterns) => {
                patterns.iter().map(|pattern| channel_rule(pattern)).collect::<Vec<_>>().join(&b' ')
            }
        }
    }

    /// All rules, as words from which the same selector can be made, whatever the default for channels is.
    pub fn words(&self) -> Vec<Vec<u8>> {
        let mut words: Vec<Vec<u8>> = match &self.keys {
            Reach::All => vec![b"~*".to_vec()],
            Reach::Only(patterns) => patterns.iter().map(key_rule).collect(),
        };
        match &self.channels {
            Reach::All => words.push(b"&*".to_vec()),
            Reach::Only(patterns) => {
                words.push(b"resetchannels".to_vec());
                words.extend(patterns.iter().map(|pattern| channel_rule(pattern)));
            }
        }
        words.push(if self.commands.from_all { b"+@all".to_vec() } else { b"-@all".to_vec() });
        words.extend(self.commands.rules.iter().map(|rule| rule.to_vec()));
        words
    }
}

impl Commands {
    fn all(catalog: &Catalog) -> Self {
        let mut bits = vec![0; catalog.len().div_ceil(64)].into_boxed_slice();
        (0..catalog.len()).for_each(|at| bits[at / 64] |= 1 << (at % 64));
        Self { bits, from_all: true, ..Self::default() }
    }

    fn has(&self, command: Number) -> bool {
        let at = usize::from(command);
        self.bits.get(at / 64).is_some_and(|word| word >> (at % 64) & 1 == 1)
    }

    fn include(&self, asked: Asked<'_>) -> bool {
        self.has(asked.command)
            || self.first_words.get(&asked.command).is_some_and(|known| {
                asked.first_word.is_some_and(|word| known.iter().any(|known| known.eq_ignore_ascii_case(word)))
            })
    }

    /// A command, and its subcommands with it.
    fn set(&mut self, command: Number, verdict: Verdict, catalog: &Catalog) {
        if self.bits.is_empty() {
            self.bits = vec![0; catalog.len().div_ceil(64)].into_boxed_slice();
        }
        self.first_words.remove(&command);
        for number in std::iter::once(command).chain(catalog.children(command)) {
            let (word, bit) = (&mut self.bits[usize::from(number) / 64], 1 << (number % 64));
            match verdict {
                Verdict::Allow => *word |= bit,
                Verdict::Deny => *word &= !bit,
            }
        }
    }

    /// Adds a rule, which takes the place of those about the same command or category and about its subcommands.
    fn note(&mut self, what: &[u8], verdict: Verdict) {
        let what = what.to_ascii_lowercase();
        let is_about = |rule: &[u8]| match rule[1..].strip_prefix(&what[..]) {
            Some(rest) => rest.is_empty() || rest[0] == b'|',
            None => false,
        };
        self.rules.retain(|rule| !is_about(rule));
        let sign = if verdict == Verdict::Allow { b"+" } else { b"-" };
        self.rules.push([sign, &what[..]].concat().into());
    }
}

fn key_rule(pattern: &KeyPattern) -> Vec<u8> {
    [pattern.sigil().as_bytes(), &pattern.pattern].concat()
}

fn channel_rule(pattern: &[u8]) -> Vec<u8> {
    [b"&", pattern].concat()
}
