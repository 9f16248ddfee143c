//! The words of a command in a definition, read: text around at most one placeholder each.
//!
//! | in a word | becomes |
//! |---|---|
//! | `{key}` | a key drawn from the distribution; text may stand around it: `user:{key}` |
//! | `{same}` | the key that was drawn last |
//! | `{next}` | the key after the last one |
//! | `{new}` | a key that is not there yet; from then on it can be drawn |
//! | `{keys:N}` | N words `{key}` |
//! | `{run:N}` | `{key}` and N - 1 words `{next}` |
//! | `{value}` | the value of the key before it, of that key's own size |
//! | `{ttl}` | seconds, evenly from `ttl_seconds` |
//! | `{number:N}` | a number below N |

use super::sizes::Sizes;
use crate::wire::piece::KeyIndex;

/// How the number of a key comes about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Draw {
    Any,
    Same,
    Next,
    New,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Text,
    Key(KeyIndex),
    Value(KeyIndex),
    Ttl,
    Number(u32),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Word {
    pub(crate) before: String,
    pub(crate) part: Part,
    pub(crate) after: String,
}

impl Word {
    /// Bytes of the text around the placeholder.
    pub(crate) const fn around(&self) -> usize {
        self.before.len() + self.after.len()
    }
}

/// The words of one request and how each of its keys is drawn.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Words {
    pub(crate) words: Vec<Word>,
    pub(crate) draws: Vec<Draw>,
}

impl Words {
    pub(crate) fn read(texts: &[String]) -> Result<Self, String> {
        let mut words = Self::default();
        texts.iter().try_for_each(|text| words.push(text))?;
        if words.words.is_empty() { Err("a command has no words".to_owned()) } else { Ok(words) }
    }

    fn push(&mut self, text: &str) -> Result<(), String> {
        let Some((before, name, after)) = placeholder(text) else {
            self.words.push(Word { before: text.to_owned(), part: Part::Text, after: String::new() });
            return Ok(());
        };
        let (name, count) = match name.split_once(':') {
            Some((name, count)) => (name, Some(count.parse::<u32>().map_err(|_| format!("not a number: {text}"))?)),
            None => (name, None),
        };
        let around = (before, after);
        match (name, count) {
            ("key", None) => self.push_key(around, Draw::Any),
            ("same", None) => self.push_key(around, Draw::Same),
            ("next", None) => self.push_key(around, Draw::Next),
            ("new", None) => self.push_key(around, Draw::New),
            ("keys", Some(count)) => (0..count).for_each(|_| self.push_key(around, Draw::Any)),
            ("run", Some(count)) => {
                (0..count).for_each(|at| self.push_key(around, if at == 0 { Draw::Any } else { Draw::Next }))
            }
            ("value", None) if before.is_empty() && after.is_empty() => {
                let key = self.draws.len().checked_sub(1).ok_or("{value} needs a key before it")?;
                self.push_part(around, Part::Value(KeyIndex(key)));
            }
            ("ttl", None) if before.is_empty() && after.is_empty() => self.push_part(around, Part::Ttl),
            ("number", Some(bound)) if bound > 0 && before.is_empty() && after.is_empty() => {
                self.push_part(around, Part::Number(bound));
            }
            _ => return Err(format!("no such placeholder, or text around one that must stand alone: {text}")),
        }
        Ok(())
    }

    fn push_key(&mut self, around: (&str, &str), draw: Draw) {
        self.draws.push(draw);
        self.push_part(around, Part::Key(KeyIndex(self.draws.len() - 1)));
    }

    fn push_part(&mut self, (before, after): (&str, &str), part: Part) {
        self.words.push(Word { before: before.to_owned(), part, after: after.to_owned() });
    }

    /// The equal command of Memcached, if there is one.
    pub(crate) fn operation(&self) -> Option<Operation> {
        let plain = |word: &Word| (word.part == Part::Text).then(|| word.before.to_ascii_uppercase());
        let (name, rest) = self.words.split_first()?;
        let is_key = |word: &Word| matches!(word.part, Part::Key(_)) && word.around() == 0;
        let is_value = |word: &Word| matches!(word.part, Part::Value(_));
        let is_ttl = |word: &Word| word.part == Part::Ttl;
        let is_ex = |word: &Word| plain(word).is_some_and(|text| text == "EX");
        match (plain(name)?.as_str(), rest) {
            ("GET", [key]) if is_key(key) => Some(Operation::Get { keys: 1 }),
            ("MGET", keys) if !keys.is_empty() && keys.iter().all(is_key) => Some(Operation::Get { keys: keys.len() }),
            ("SET", [key, value]) if is_key(key) && is_value(value) => Some(Operation::Set { expires: false }),
            ("SET", [key, value, ex, ttl]) if is_key(key) && is_value(value) && is_ex(ex) && is_ttl(ttl) => {
                Some(Operation::Set { expires: true })
            }
            ("SET", [key, zero]) if is_key(key) && plain(zero).is_some_and(|text| text == "0") => {
                Some(Operation::SetZero)
            }
            ("DEL", [key]) if is_key(key) => Some(Operation::Delete),
            ("INCR", [key]) if is_key(key) => Some(Operation::Increment),
            ("EXPIRE", [key, ttl]) if is_key(key) && is_ttl(ttl) => Some(Operation::Touch),
            ("GETEX", [key, ex, ttl]) if is_key(key) && is_ex(ex) && is_ttl(ttl) => Some(Operation::GetAndTouch),
            ("PING", []) => Some(Operation::Ping),
            _ => None,
        }
    }
}

/// What both Redis and Memcached can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Get {
        keys: usize,
    },
    Set {
        expires: bool,
    },
    /// A counter's beginning.
    SetZero,
    Delete,
    Increment,
    Touch,
    GetAndTouch,
    Ping,
}

/// Text before, name, text after.
fn placeholder(text: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = text.split_once('{')?;
    let (name, after) = rest.split_once('}')?;
    Some((before, name, after))
}

/// What spelling a command needs to know of its workload.
#[derive(Clone, Copy)]
pub(crate) struct Spell<'a> {
    pub(crate) key_bytes: usize,
    pub(crate) sizes: &'a Sizes,
}

/// A key number is below 2^32; a key shorter than this plus its prefix goes without the prefix.
const KEY_DIGITS_MAX: usize = 10;

impl Spell<'_> {
    /// A key with its digits zero.
    pub(crate) fn key_shape(&self) -> String {
        key_shape(self.key_bytes)
    }
}

pub(crate) fn key_shape(key_bytes: usize) -> String {
    let prefix: String = "key:".chars().take(key_bytes.saturating_sub(KEY_DIGITS_MAX)).collect();
    format!("{prefix}{}", "0".repeat(key_bytes - prefix.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Words, String> {
        Words::read(&text.split(' ').map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn placeholders_are_read_with_what_surrounds_them() {
        let words = read("HSET user:{key}:h f{same} {value} {ttl} {number:9}").unwrap();
        assert_eq!(words.draws, [Draw::Any, Draw::Same]);
        assert_eq!((words.words[1].before.as_str(), words.words[1].after.as_str()), ("user:", ":h"));
        assert_eq!(words.words[3].part, Part::Value(KeyIndex(1)));
        assert_eq!(words.words[5].part, Part::Number(9));
        assert_eq!(read("MGET {run:3}").unwrap().draws, [Draw::Any, Draw::Next, Draw::Next]);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for wrong in ["SET {value} {key}", "GET {kee}", "GET {keys:x}", "SET {key} a{value}", "SET {key} {number:0}"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn equals_in_memcached_are_known() {
        let operation = |text| read(text).unwrap().operation();
        assert_eq!(operation("GET {key}"), Some(Operation::Get { keys: 1 }));
        assert_eq!(operation("mget {keys:4}"), Some(Operation::Get { keys: 4 }));
        assert_eq!(operation("SET {key} {value} EX {ttl}"), Some(Operation::Set { expires: true }));
        assert_eq!(operation("GET user:{key}"), None);
        assert_eq!(operation("HGETALL {key}"), None);
    }
}
