//! The ACL file: a line a user, `user NAME rules`. It is read as a whole or not at all, and what is wrong with it is told by line.
//!
//! Words are separated by single blanks and nothing is quoted, but inside of selectors; there are no comments, since the file is written by
//! ACL SAVE, which would lose them.

use super::rule::{RuleError, has_spaces};
use super::user::{Terms, User, merged};
use super::users::{DEFAULT_NAME, Users};

impl Users {
    /// All users, as the file has them.
    pub fn text(&self) -> Vec<u8> {
        self.iter().flat_map(|user| [user.line(), b"\n".to_vec()].concat()).collect()
    }
}

/// The users of a file, the default user among them whether the file has it or not.
///
/// # Errors
/// All that is wrong with it, in one line, in Redis's words.
pub fn parse(path: &str, text: &[u8], terms: Terms<'_>) -> Result<Vec<User>, String> {
    let mut users: Vec<User> = Vec::new();
    let mut names = std::collections::BTreeSet::new();
    let mut errors = String::new();
    for (at, line) in text.split(|byte| *byte == b'\n').enumerate() {
        let line = trimmed(line, b" \t\r\n");
        if line.is_empty() {
            continue;
        }
        match user_of(line, terms) {
            Ok(user) => {
                if names.insert(user.name.clone()) {
                    users.push(user);
                } else {
                    let name = String::from_utf8_lossy(&user.name);
                    errors += &format!("WARNING: Duplicate user '{name}' found on line {}. ", at + 1);
                }
            }
            Err(wrong) => errors += &wrong.text(path, at + 1),
        }
    }
    if !errors.is_empty() {
        errors += "WARNING: ACL errors detected, no change to the previously active ACL rules was performed";
        return Err(errors);
    }
    if !names.contains(DEFAULT_NAME) {
        users.push(User::open(DEFAULT_NAME, terms));
    }
    Ok(users)
}

/// What is wrong with a line.
enum Wrong {
    NoUser,
    Name(Vec<u8>),
    Open,
    /// Words of which nobody knows the command or category, and what else is wrong first.
    Words {
        unknown: Vec<Vec<u8>>,
        other: Option<RuleError>,
    },
}

impl Wrong {
    fn text(self, path: &str, line: usize) -> String {
        match self {
            Self::NoUser => format!("{path}:{line} should start with user keyword followed by the username. "),
            Self::Name(name) => {
                format!("'{path}:{line}: username '{}' contains invalid characters. ", String::from_utf8_lossy(&name))
            }
            Self::Open => format!("{path}:{line}: Unmatched parenthesis in selector definition."),
            Self::Words { unknown, other } => {
                let why = RuleError::Unknown.text();
                let unknown = unknown.iter().map(|word| {
                    let word = String::from_utf8_lossy(word);
                    format!("{path}:{line}: Error in applying operation '{word}': {why}. ")
                });
                let other = other.map(|why| format!("{path}:{line}: {}. ", why.text()));
                unknown.chain(other).collect()
            }
        }
    }
}

fn user_of(line: &[u8], terms: Terms<'_>) -> Result<User, Wrong> {
    let mut words = line.split(|byte| *byte == b' ');
    let (Some(b"user"), Some(name)) = (words.next(), words.next()) else { return Err(Wrong::NoUser) };
    if has_spaces(name) {
        return Err(Wrong::Name(name.to_vec()));
    }
    let mut user = User::new(name, terms);
    let (mut unknown, mut other) = (Vec::new(), None);
    for word in merged(words).map_err(|_| Wrong::Open)? {
        let word = trimmed(&word, b"\t\r\n");
        match user.apply(word, terms) {
            Ok(()) => {}
            Err(RuleError::Unknown) => unknown.push(word.to_vec()),
            Err(why) => other = other.or(Some(why)),
        }
    }
    if unknown.is_empty() && other.is_none() { Ok(user) } else { Err(Wrong::Words { unknown, other }) }
}

fn trimmed<'t>(text: &'t [u8], of: &[u8]) -> &'t [u8] {
    let is_content = |byte: &u8| !of.contains(byte);
    let (Some(first), Some(last)) = (text.iter().position(is_content), text.iter().rposition(is_content)) else {
        return &[];
    };
    &text[first..=last]
}
