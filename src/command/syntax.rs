//! What follows from a syntax line. The line is the source; arity and key positions of a row are checked against it.
//!
//! ```text
//!  SET key value [NX | XX] [EX seconds | PX milliseconds]      at least 3 words, first key 1, last key 1
//!  DEL key [key ...]                                            at least 2 words, keys 1 to the last
//!  MSET key value [key value ...]                               at least 3 words, keys 1 to the last, every second
//! ```
//!
//! `[...]` may be left out, `<a | b>` is a choice, `...` repeats what stands before it in its brackets.

/// Words that stand for a key, in the names the manual uses.
const KEY_WORDS: &[&str] = &["key", "key1", "key2", "newkey", "source", "destination", "destkey", "dst", "src"];

/// The word that stands for the number of the keys behind it.
pub const COUNT_WORD: &str = "numkeys";

/// Whether a word of a syntax line stands for a key.
pub fn is_key_word(word: &str) -> bool {
    KEY_WORDS.contains(&word)
}

/// Arity as Redis counts it: with the name, negative when more may follow.
pub fn arity(syntax: &str) -> i16 {
    let parts = parts(syntax);
    let least: usize = parts.iter().map(|part| part.least()).sum();
    let least = i16::try_from(least).expect("a syntax line has some words");
    if parts.iter().all(|part| part.is_fixed()) { least } else { -least }
}

/// Where a line has keys.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Places<'s> {
    /// First key, last key and step, as in COMMAND INFO; zeros without keys.
    pub range: (u8, i8, u8),
    /// The word of a number that keys follow.
    pub count: Option<u8>,
    /// Options with a key.
    pub options: Vec<&'s str>,
}

/// Where the keys are.
pub fn places(syntax: &str) -> Places<'_> {
    let parts = parts(syntax);
    let count = parts.iter().position(|part| matches!(part, Part::Word(COUNT_WORD)));
    Places {
        range: range(&parts[..count.unwrap_or(parts.len())]),
        count: count.map(narrow),
        options: parts.iter().filter_map(Part::option_with_key).collect(),
    }
}

/// The word that names a field or a member, if there is one: 0 stands for none. With options left out in front of it.
pub fn element(syntax: &str) -> u8 {
    let words = parts(syntax);
    let mut words = words.iter().filter_map(|part| if let Part::Word(word) = part { Some(*word) } else { None });
    words.position(|word| matches!(word, "field" | "member")).map_or(0, narrow)
}

fn narrow(at: usize) -> u8 {
    u8::try_from(at).expect("a syntax line has some words")
}

fn range(parts: &[Part<'_>]) -> (u8, i8, u8) {
    let is_key = |part: &Part<'_>| matches!(part, Part::Word(word) if is_key_word(word));
    let Some(first) = parts.iter().position(is_key) else { return (0, 0, 0) };
    for (at, part) in parts.iter().enumerate().skip(first) {
        let Part::Optional(inner) = part else { continue };
        let words: Vec<&str> = inner.split(' ').collect();
        if is_key_word(words[0]) && words.last() == Some(&"...") {
            // What is not repeated may follow: the timeout of a command that waits.
            let behind = parts[at + 1..].iter().filter(|part| matches!(part, Part::Word(_))).count();
            let last = -1 - i8::try_from(behind).expect("a syntax line has some words");
            return (narrow(first), last, narrow(words.len() - 1));
        }
    }
    let last = parts.iter().take_while(|part| matches!(part, Part::Word(_))).count();
    let last = (first..last).rev().find(|at| is_key(&parts[*at])).unwrap_or(first);
    (narrow(first), i8::try_from(last).expect("a syntax line has some words"), 1)
}

#[derive(Debug)]
enum Part<'a> {
    Word(&'a str),
    Optional(&'a str),
    Choice(&'a str),
}

impl<'a> Part<'a> {
    fn of(token: &'a str) -> Self {
        match token.as_bytes()[0] {
            b'[' => Self::Optional(&token[1..token.len() - 1]),
            b'<' => Self::Choice(&token[1..token.len() - 1]),
            _ => Self::Word(token),
        }
    }

    /// The name of an option whose argument is a key.
    fn option_with_key(&self) -> Option<&'a str> {
        let Self::Optional(inner) = self else { return None };
        let (name, word) = inner.split_once(' ')?;
        (is_key_word(word) && !is_key_word(name)).then_some(name)
    }

    fn least(&self) -> usize {
        match self {
            Self::Word(_) => 1,
            Self::Optional(_) => 0,
            Self::Choice(inner) => alternatives(inner).map(|one| arity(one).unsigned_abs()).min().unwrap_or(0).into(),
        }
    }

    fn is_fixed(&self) -> bool {
        match self {
            Self::Word(_) => true,
            Self::Optional(_) => false,
            Self::Choice(inner) => {
                let mut arities = alternatives(inner).map(arity);
                let first = arities.next().unwrap_or(0);
                first >= 0 && arities.all(|other| other == first)
            }
        }
    }
}

fn alternatives(inner: &str) -> impl Iterator<Item = &str> {
    inner.split(" | ")
}

fn parts(line: &str) -> Vec<Part<'_>> {
    tokens(line).map(Part::of).collect()
}

/// Splits a line at its blanks, brackets kept together.
pub fn tokens(line: &str) -> impl Iterator<Item = &str> {
    let mut rest = line.trim();
    std::iter::from_fn(move || {
        let (token, tail) = rest.split_at(token_end(rest));
        rest = tail.trim_start();
        (!token.is_empty()).then_some(token)
    })
}

fn token_end(line: &str) -> usize {
    let mut depth = 0;
    for (at, byte) in line.bytes().enumerate() {
        match byte {
            b'[' | b'<' => depth += 1,
            b']' | b'>' => depth -= 1,
            b' ' if depth == 0 => return at,
            _ => {}
        }
    }
    line.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_field_or_member_is_found_behind_what_may_be_left_out() {
        assert_eq!(element("SADD key member [member ...]"), 2);
        assert_eq!(element("ZADD key [NX | XX] [GT | LT] [CH] [INCR] score member [score member ...]"), 3);
        assert_eq!(element("SMOVE source destination member"), 3);
        assert_eq!(element("HGETALL key"), 0);
        assert_eq!(element("HSCAN key cursor [MATCH pattern]"), 0);
    }
    use crate::command::Table;
    use crate::command::places::{Begin, Find};

    #[test]
    fn arity_and_keys_follow_from_lines() {
        for (line, wanted, places) in [
            ("GET key", 2, (1, 1, 1)),
            ("SET key value [NX | XX] [EX seconds]", -3, (1, 1, 1)),
            ("DEL key [key ...]", -2, (1, -1, 1)),
            ("MSET key value [key value ...]", -3, (1, -1, 2)),
            ("RENAME key newkey", 3, (1, 2, 1)),
            ("BLPOP key [key ...] timeout", -3, (1, -2, 1)),
            ("LMOVE source destination <LEFT | RIGHT> <LEFT | RIGHT>", 5, (1, 2, 1)),
            ("PING [message]", -1, (0, 0, 0)),
            ("CONFIG GET parameter [parameter ...]", -3, (0, 0, 0)),
            ("OBJECT ENCODING key", 3, (2, 2, 1)),
        ] {
            assert_eq!((arity(line), super::places(line).range), (wanted, places), "{line}");
        }
    }

    #[test]
    fn numbers_of_keys_and_options_with_keys_are_told_apart() {
        for (line, range, count, options) in [
            ("LMPOP numkeys key [key ...] <LEFT | RIGHT> [COUNT count]", (0, 0, 0), Some(1), &[][..]),
            ("BLMPOP timeout numkeys key [key ...] <LEFT | RIGHT>", (0, 0, 0), Some(2), &[]),
            ("ZUNIONSTORE destination numkeys key [key ...] [AGGREGATE <SUM | MIN>]", (1, 1, 1), Some(2), &[]),
            ("SINTERSTORE destination key [key ...]", (1, -1, 1), None, &[]),
            ("SORT key [BY pattern] [ALPHA] [STORE destination]", (1, 1, 1), None, &["STORE"]),
        ] {
            assert_eq!(places(line), Places { range, count, options: options.to_vec() }, "{line}");
        }
    }

    #[test]
    fn every_row_states_what_its_line_gives() {
        for found in Table::new().all() {
            let row = found.row;
            if !row.children.is_empty() {
                continue;
            }
            assert_eq!(row.arity, arity(row.syntax), "{}: {}", row.name, row.syntax);
            let mut stated = Places { range: row.keys.range(), ..Places::default() };
            for spec in row.keys.specs() {
                match (spec.begin, spec.find) {
                    (Begin::Word(word), Find::Count) => stated.count = Some(word),
                    (Begin::Option(keyword), _) => stated.options.push(keyword.word),
                    _ => {}
                }
            }
            assert_eq!(stated, places(row.syntax), "{}: {}", row.name, row.syntax);
            let words = row.name.to_ascii_uppercase().replace('|', " ");
            assert!(row.syntax.starts_with(&words), "{}: the line begins with the name", row.name);
        }
    }
}
