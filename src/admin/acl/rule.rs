//! One word of ACL SETUSER, of a `user` line or of a line of the ACL file: what it grants or takes.
//!
//! ```text
//!  on  off  nopass  resetpass  >plain  <plain  #hash  !hash  reset  clearselectors  (...)      of the user
//!  ~pattern  %RW~pattern  allkeys  resetkeys  &pattern  allchannels  resetchannels              of a selector: of the first one, or of one in
//!  +command  +command|sub  +command|first-word  -command  +@category  -@category                 parentheses
//! ```
//!
//! A word that means nothing is told apart from one that cannot hold where it stands, which only the selector knows (`selector.rs`).
//! From Redis this differs where Redis could not read back what it writes: blanks in a first word and an open quote in parentheses are refused.

use super::catalog::{Catalog, Number};
use super::category::Categories;
use super::password::Password;
use super::pattern::{Dealing, KeyPattern};
use crate::config::parse::{is_space, split_words};

/// What a word does to a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Rule<'w> {
    On,
    Off,
    NoPassword,
    ResetPasswords,
    AddPassword(Password),
    RemovePassword(Password),
    SanitizePayload,
    SkipSanitizing,
    ClearSelectors,
    Reset,
    /// Another selector, made by these.
    Selector(Vec<Grant<'static>>),
    /// To the first selector.
    First(Grant<'w>),
}

/// What a word does to a selector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Grant<'w> {
    AllKeys,
    ResetKeys,
    Key(KeyPattern),
    AllChannels,
    ResetChannels,
    Channel(std::borrow::Cow<'w, [u8]>),
    AllCommands,
    NoCommands,
    /// A command and its subcommands.
    Command(Number, Verdict),
    /// A command with this first word, though it is not granted otherwise.
    FirstWord(Number, Box<[u8]>),
    Category(Categories, &'static str, Verdict),
}

/// Whether something is granted or taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Allow,
    Deny,
}

/// Why a word cannot be taken, in Redis's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleError {
    Unknown,
    Syntax,
    KeysAreAll,
    ChannelsAreAll,
    NoSuchPassword,
    BadHash,
    FirstWordOfSubcommand,
}

impl RuleError {
    pub const fn text(self) -> &'static str {
        match self {
            Self::Unknown => "Unknown command or category name in ACL",
            Self::Syntax => "Syntax error",
            Self::KeysAreAll => {
                "Adding a pattern after the * pattern (or the 'allkeys' flag) is not valid and does not have any effect. Try \
                 'resetkeys' to start with an empty list of patterns"
            }
            Self::ChannelsAreAll => {
                "Adding a pattern after the * pattern (or the 'allchannels' flag) is not valid and does not have any effect. Try \
                 'resetchannels' to start with an empty list of channels"
            }
            Self::NoSuchPassword => "The password you are trying to remove from the user does not exist",
            Self::BadHash => {
                "The password hash must be exactly 64 characters and contain only lowercase hexadecimal characters"
            }
            Self::FirstWordOfSubcommand => "Allowing first-arg of a subcommand is not supported",
        }
    }
}

impl<'w> Rule<'w> {
    pub(super) fn parse(word: &'w [u8], catalog: &Catalog) -> Result<Self, RuleError> {
        if let Some(rule) = Self::of_name(word) {
            return Ok(rule);
        }
        let hash = |digits: &[u8]| Password::parse(digits).ok_or(RuleError::BadHash);
        Ok(match word {
            [b'>', plain @ ..] => Self::AddPassword(Password::hash(plain)),
            [b'#', digits @ ..] => Self::AddPassword(hash(digits)?),
            [b'<', plain @ ..] => Self::RemovePassword(Password::hash(plain)),
            [b'!', digits @ ..] => Self::RemovePassword(hash(digits)?),
            [b'(', inside @ .., b')'] => {
                let words = split_words(inside).map_err(|_| RuleError::Syntax)?;
                let grants = words.iter().map(|word| Grant::parse(word, catalog).map(Grant::into_owned));
                Self::Selector(grants.collect::<Result<_, _>>()?)
            }
            _ => Self::First(Grant::parse(word, catalog)?),
        })
    }

    fn of_name(word: &[u8]) -> Option<Self> {
        const NAMES: [(&str, Rule<'static>); 8] = [
            ("on", Rule::On),
            ("off", Rule::Off),
            ("nopass", Rule::NoPassword),
            ("resetpass", Rule::ResetPasswords),
            ("sanitize-payload", Rule::SanitizePayload),
            ("skip-sanitize-payload", Rule::SkipSanitizing),
            ("clearselectors", Rule::ClearSelectors),
            ("reset", Rule::Reset),
        ];
        let found = NAMES.into_iter().find(|(name, _)| word.eq_ignore_ascii_case(name.as_bytes()));
        found.map(|(_, rule)| rule)
    }
}

impl<'w> Grant<'w> {
    fn parse(word: &'w [u8], catalog: &Catalog) -> Result<Self, RuleError> {
        if let Some(grant) = Self::of_name(word) {
            return Ok(grant);
        }
        match word {
            [b'~', pattern @ ..] => Self::key(pattern, Dealing::BOTH),
            [b'%', rest @ ..] => {
                let (pattern, dealing) = dealing(rest).ok_or(RuleError::Syntax)?;
                Self::key(pattern, dealing)
            }
            [b'&', pattern @ ..] => Ok(Self::Channel(spaceless(pattern)?.into())),
            [b'+', b'@', name @ ..] => Self::category(name, Verdict::Allow),
            [b'-', b'@', name @ ..] => Self::category(name, Verdict::Deny),
            [b'+', name @ ..] => Self::command(name, catalog),
            [b'-', name @ ..] => Ok(Self::Command(catalog.find(name).ok_or(RuleError::Unknown)?, Verdict::Deny)),
            _ => Err(RuleError::Syntax),
        }
    }

    fn of_name(word: &[u8]) -> Option<Self> {
        const NAMES: [(&str, Grant<'static>); 10] = [
            ("allkeys", Grant::AllKeys),
            ("~*", Grant::AllKeys),
            ("resetkeys", Grant::ResetKeys),
            ("allchannels", Grant::AllChannels),
            ("&*", Grant::AllChannels),
            ("resetchannels", Grant::ResetChannels),
            ("allcommands", Grant::AllCommands),
            ("+@all", Grant::AllCommands),
            ("nocommands", Grant::NoCommands),
            ("-@all", Grant::NoCommands),
        ];
        let found = NAMES.into_iter().find(|(name, _)| word.eq_ignore_ascii_case(name.as_bytes()));
        found.map(|(_, grant)| grant)
    }

    fn key(pattern: &[u8], dealing: Dealing) -> Result<Self, RuleError> {
        Ok(Self::Key(KeyPattern { pattern: spaceless(pattern)?.into(), dealing }))
    }

    fn category(name: &[u8], verdict: Verdict) -> Result<Self, RuleError> {
        let (category, name) = Categories::named(name).ok_or(RuleError::Unknown)?;
        Ok(Self::Category(category, name, verdict))
    }

    /// `name`, `container|name`, or `name|first-word` of a command without subcommands.
    fn command(name: &[u8], catalog: &Catalog) -> Result<Self, RuleError> {
        let Some(bar) = name.iter().rposition(|byte| *byte == b'|') else {
            return Ok(Self::Command(catalog.find(name).ok_or(RuleError::Unknown)?, Verdict::Allow));
        };
        let (command, word) = (&name[..bar], &name[bar + 1..]);
        let command = catalog.find(command).ok_or(RuleError::Unknown)?;
        if catalog.is_child(command) {
            return Err(RuleError::FirstWordOfSubcommand);
        }
        if word.is_empty() {
            return Err(RuleError::Syntax);
        }
        if catalog.children(command).next().is_some() {
            return Ok(Self::Command(catalog.find(name).ok_or(RuleError::Unknown)?, Verdict::Allow));
        }
        Ok(Self::FirstWord(command, spaceless(word)?.into()))
    }

    fn into_owned(self) -> Grant<'static> {
        match self {
            Self::AllKeys => Grant::AllKeys,
            Self::ResetKeys => Grant::ResetKeys,
            Self::Key(pattern) => Grant::Key(pattern),
            Self::AllChannels => Grant::AllChannels,
            Self::ResetChannels => Grant::ResetChannels,
            Self::Channel(pattern) => Grant::Channel(pattern.into_owned().into()),
            Self::AllCommands => Grant::AllCommands,
            Self::NoCommands => Grant::NoCommands,
            Self::Command(command, verdict) => Grant::Command(command, verdict),
            Self::FirstWord(command, word) => Grant::FirstWord(command, word),
            Self::Category(category, name, verdict) => Grant::Category(category, name, verdict),
        }
    }
}

/// `R~`, `W~` or both in front of a pattern, each once.
fn dealing(rest: &[u8]) -> Option<(&[u8], Dealing)> {
    let (letters, pattern) = rest.split_at(rest.iter().position(|byte| *byte == b'~')?);
    let mut dealing = Dealing::default();
    for letter in letters {
        let seen = match letter.to_ascii_uppercase() {
            b'R' => &mut dealing.reads,
            b'W' => &mut dealing.writes,
            _ => return None,
        };
        if std::mem::replace(seen, true) {
            return None;
        }
    }
    (dealing != Dealing::default()).then_some((&pattern[1..], dealing))
}

/// Without blanks and zeroes, which would end the word where it is read back.
fn spaceless(text: &[u8]) -> Result<&[u8], RuleError> {
    if has_spaces(text) { Err(RuleError::Syntax) } else { Ok(text) }
}

pub fn has_spaces(text: &[u8]) -> bool {
    text.iter().any(|byte| is_space(*byte) || *byte == 0)
}
