//! A user: whether it may log in, by which passwords, and what it may do then.
//!
//! As text it is words from which the same user can be made again (`words`): in ACL LIST, the ACL file and the configuration file alike.

use super::catalog::Catalog;
use super::password::Password;
use super::pattern::{Dealing, Naming};
use super::rule::{Rule, RuleError};
use super::selector::{Asked, Channels, Lack, Selector};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    pub name: Box<[u8]>,
    is_on: bool,
    /// Any password will do.
    takes_any: bool,
    /// Kept and told, as Redis does; what is restored is always checked.
    sanitizing: Sanitizing,
    passwords: Vec<Password>,
    first: Selector,
    others: Vec<Selector>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sanitizing {
    Yes,
    No,
}

/// Whereby rules are understood.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'t> {
    pub catalog: &'t Catalog,
    /// `acl-pubsub-default`.
    pub channels: &'t Channels,
}

/// A word that cannot be taken, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadWord {
    pub word: Vec<u8>,
    pub why: RuleError,
}

impl User {
    /// One that may nothing, not even log in.
    pub fn new(name: &[u8], terms: Terms<'_>) -> Self {
        Self {
            name: name.into(),
            is_on: false,
            takes_any: false,
            sanitizing: Sanitizing::Yes,
            passwords: Vec::new(),
            first: Selector::new(terms.channels.clone()),
            others: Vec::new(),
        }
    }

    /// One that may everything, without a password.
    pub fn open(name: &[u8], terms: Terms<'_>) -> Self {
        let first = Selector::all(terms.catalog);
        Self { is_on: true, takes_any: true, first, ..Self::new(name, terms) }
    }

    /// Applies one word. An empty one does nothing.
    pub fn apply(&mut self, word: &[u8], terms: Terms<'_>) -> Result<(), RuleError> {
        if word.is_empty() {
            return Ok(());
        }
        match Rule::parse(word, terms.catalog)? {
            Rule::On => self.is_on = true,
            Rule::Off => self.is_on = false,
            Rule::NoPassword => (self.takes_any, self.passwords) = (true, Vec::new()),
            Rule::ResetPasswords => (self.takes_any, self.passwords) = (false, Vec::new()),
            Rule::AddPassword(password) => {
                self.takes_any = false;
                if !self.passwords.contains(&password) {
                    self.passwords.push(password);
                }
            }
            Rule::RemovePassword(password) => {
                let before = self.passwords.len();
                self.passwords.retain(|known| *known != password);
                if self.passwords.len() == before {
                    return Err(RuleError::NoSuchPassword);
                }
            }
            Rule::SanitizePayload => self.sanitizing = Sanitizing::Yes,
            Rule::SkipSanitizing => self.sanitizing = Sanitizing::No,
            Rule::ClearSelectors => self.others.clear(),
            Rule::Reset => *self = Self::new(&std::mem::take(&mut self.name), terms),
            Rule::Selector(grants) => {
                let mut selector = Selector::new(terms.channels.clone());
                grants.into_iter().try_for_each(|grant| selector.apply(grant, terms.catalog))?;
                self.others.push(selector);
            }
            Rule::First(grant) => self.first.apply(grant, terms.catalog)?,
        }
        Ok(())
    }

    /// Applies words one after the other, up to the first that cannot be taken.
    pub fn apply_all(&mut self, words: &[Vec<u8>], terms: Terms<'_>) -> Result<(), BadWord> {
        words.iter().try_for_each(|word| self.apply(word, terms).map_err(|why| BadWord { word: word.clone(), why }))
    }

    /// As `requirepass` says: this password alone, or any if it is empty.
    pub fn require(&mut self, password: &[u8]) {
        self.takes_any = password.is_empty();
        self.passwords = if password.is_empty() { Vec::new() } else { vec![Password::hash(password)] };
    }

    pub const fn is_on(&self) -> bool {
        self.is_on
    }

    /// Whether nobody needs to log in as this user.
    pub const fn is_open(&self) -> bool {
        self.is_on && self.takes_any
    }

    /// Whether any password will do, once it is on.
    pub const fn takes_any(&self) -> bool {
        self.takes_any
    }

    /// Whether a password is one of the user's. All are looked at, whichever it is.
    pub fn knows(&self, password: &[u8]) -> bool {
        if self.takes_any {
            return true;
        }
        let given = Password::hash(password);
        self.passwords.iter().fold(false, |known, password| known | password.is(&given))
    }

    /// Whether there is nothing that it may not.
    pub fn is_unlimited(&self, catalog: &Catalog) -> bool {
        self.selectors().any(|selector| selector.is_all(catalog))
    }

    /// Whether one of the selectors allows all of a request; if none does, what the one lacks that comes closest.
    pub fn allows<'k, K, C>(&self, asked: Asked<'_>, keys: impl Fn() -> K, channels: impl Fn() -> C) -> Result<(), Lack>
    where
        K: Iterator<Item = (usize, &'k [u8], Dealing)>,
        C: Iterator<Item = (usize, &'k [u8], Naming)>,
    {
        let mut lack = Lack::Command;
        for selector in self.selectors() {
            match selector.allows(asked, keys(), channels()) {
                Ok(()) => return Ok(()),
                Err(other) => lack = lack.max(other),
            }
        }
        Err(lack)
    }

    /// The same, of whatever keys: for a request that reads keys which only the data tell.
    pub fn allows_reading_all<'k, K, C>(&self, asked: Asked<'_>, keys: impl Fn() -> K, channels: impl Fn() -> C) -> bool
    where
        K: Iterator<Item = (usize, &'k [u8], Dealing)>,
        C: Iterator<Item = (usize, &'k [u8], Naming)>,
    {
        self.selectors().any(|selector| {
            selector.keys.covers_all(Dealing::READS) && selector.allows(asked, keys(), channels()).is_ok()
        })
    }

    pub fn selectors(&self) -> impl Iterator<Item = &Selector> {
        std::iter::once(&self.first).chain(&self.others)
    }

    /// Redis's flags.
    pub fn flags(&self) -> impl Iterator<Item = &'static str> {
        let flags = [
            (self.is_on, "on"),
            (!self.is_on, "off"),
            (self.takes_any, "nopass"),
            (self.sanitizing == Sanitizing::No, "skip-sanitize-payload"),
            (self.sanitizing == Sanitizing::Yes, "sanitize-payload"),
        ];
        flags.into_iter().filter(|(holds, _)| *holds).map(|(_, name)| name)
    }

    pub fn passwords(&self) -> impl ExactSizeIterator<Item = String> {
        self.passwords.iter().map(Password::to_string)
    }

    /// All of it but the name, as words.
    pub fn words(&self) -> Vec<Vec<u8>> {
        let flags = self.flags().map(|flag| flag.as_bytes().to_vec());
        let passwords = self.passwords().map(|hash| format!("#{hash}").into_bytes());
        let others = self.others.iter().map(|selector| in_parentheses(&selector.words()));
        flags.chain(passwords).chain(self.first.words()).chain(others).collect()
    }

    /// The line that stands for it in a file.
    pub fn line(&self) -> Vec<u8> {
        let words = [b"user".to_vec(), self.name.to_vec()].into_iter().chain(self.words());
        words.collect::<Vec<_>>().join(&b' ')
    }
}

/// A selector as one word. What would be read otherwise inside one is put in quotes.
fn in_parentheses(words: &[Vec<u8>]) -> Vec<u8> {
    let inside: Vec<Vec<u8>> = words.iter().map(|word| quoted(word)).collect();
    [&b"("[..], &inside.join(&b' '), b")"].concat()
}

fn quoted(word: &[u8]) -> Vec<u8> {
    if !word.ends_with(b")") && !word.iter().any(|byte| matches!(byte, b'"' | b'\'')) {
        return word.to_vec();
    }
    let escaped = word.iter().flat_map(|byte| match byte {
        b'"' | b'\\' => vec![b'\\', *byte],
        byte => vec![*byte],
    });
    [b'"'].into_iter().chain(escaped).chain([b'"']).collect()
}

/// Words in which a selector may be spread over several, as a file or a user writes it, with each selector as one.
///
/// # Errors
/// The word whose parenthesis is never closed.
pub(super) fn merged<'w>(words: impl Iterator<Item = &'w [u8]>) -> Result<Vec<Vec<u8>>, Vec<u8>> {
    let mut merged: Vec<Vec<u8>> = Vec::new();
    let mut open: Option<(Vec<u8>, &[u8])> = None;
    for word in words {
        match &mut open {
            Some((selector, _)) => {
                selector.push(b' ');
                selector.extend_from_slice(word);
                if word.ends_with(b")") {
                    merged.extend(open.take().map(|(selector, _)| selector));
                }
            }
            None if word.starts_with(b"(") && !word.ends_with(b")") => open = Some((word.to_vec(), word)),
            None => merged.push(word.to_vec()),
        }
    }
    match open {
        Some((_, first)) => Err(first.to_vec()),
        None => Ok(merged),
    }
}
