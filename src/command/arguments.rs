//! The arguments of a command as COMMAND DOCS tells them, read off the syntax line.
//!
//! ```text
//!  SET key value [NX | XX] [EX seconds | KEEPTTL]       key, string, one of two tokens, one of (token EX: integer, token)
//!  MSET key value [key value ...]                        one block of key and string, multiple
//! ```

use super::Command;
use super::syntax::{COUNT_WORD, is_key_word, tokens};
use crate::wire::reply::Reply;

/// One argument; choices and blocks have parts.
#[derive(Debug, PartialEq, Eq)]
pub struct Argument {
    name: String,
    kind: &'static str,
    /// The word that stands before it.
    token: Option<String>,
    optional: bool,
    multiple: bool,
    parts: Vec<Self>,
    /// Of a key: which of the row's key specifications finds it.
    specification: usize,
}

/// Names that are not strings, by the type Redis gives them.
const KINDS: &[(&str, &[&str])] = &[
    ("pattern", &["pattern"]),
    ("double", &["score", "timeout"]),
    ("unix-time", &["unix-time-seconds", "unix-time-milliseconds"]),
    (
        "integer",
        &[
            "seconds",
            "milliseconds",
            "count",
            "index",
            "index1",
            "index2",
            "db",
            "destination-db",
            "increment",
            "decrement",
            "offset",
            "start",
            "stop",
            "end",
            "limit",
            "len",
            "rank",
            "num-matches",
            "weight",
            "numreplicas",
            "cursor",
            "protover",
            "client-id",
            "min-match-len",
            "numfields",
            COUNT_WORD,
        ],
    ),
];

/// The arguments of a row.
pub fn of_row(row: &Command) -> Vec<Argument> {
    let mut arguments = of(row.syntax, row.name.split('|').count());
    // A run of keys is one argument, and so are two that one specification finds together.
    let last = row.keys.specs().count().saturating_sub(1);
    // What only the data tell has its specification behind the first, and no argument that is a key.
    let told_by_data = usize::from(row.leads.is_some());
    let mut nth = 0;
    arguments.iter_mut().for_each(|argument| {
        argument.number_keys(&mut |key| {
            let place = nth.min(last);
            key.specification = if place == 0 { 0 } else { place + told_by_data };
            nth += 1;
        });
    });
    arguments
}

/// The arguments after the command's own words.
fn of(syntax: &str, own_words: usize) -> Vec<Argument> {
    sequence(&mut tokens(syntax).skip(own_words))
}

fn sequence(words: &mut dyn Iterator<Item = &str>) -> Vec<Argument> {
    let mut found: Vec<Argument> = Vec::new();
    let mut token: Option<&str> = None;
    for word in words {
        let optional = word.starts_with('[');
        if optional && word.ends_with("...]") {
            repeat(&mut found, word.split(' ').count() - 1);
            continue;
        }
        let next = if word.starts_with(['[', '<']) {
            Argument { optional, ..bracketed(&word[1..word.len() - 1]) }
        } else if is_token(word) {
            flush(&mut found, token.replace(word));
            continue;
        } else {
            plain(word)
        };
        // A token belongs to the plain argument behind it; before a bracket it stands for itself.
        if optional {
            flush(&mut found, token.take());
        }
        let token = token.take().map(str::to_owned).or_else(|| next.token.clone());
        found.push(Argument { token, ..next });
    }
    flush(&mut found, token);
    found
}

/// The last `count` arguments may be repeated.
fn repeat(found: &mut Vec<Argument>, count: usize) {
    let parts = found.split_off(found.len().saturating_sub(count));
    match <[Argument; 1]>::try_from(parts) {
        Ok([only]) => found.push(Argument { multiple: true, ..only }),
        Err(parts) => found.push(Argument { multiple: true, parts, ..named("data", "block") }),
    }
}

fn bracketed(inner: &str) -> Argument {
    let choices: Vec<&str> = split_choices(inner);
    if let [only] = choices[..] {
        return one(only);
    }
    let parts: Vec<Argument> = choices.into_iter().map(one).collect();
    let name = parts.iter().map(|part| part.name.as_str()).collect::<Vec<_>>().join("-or-");
    Argument { parts, ..named(&name, "oneof") }
}

/// A choice: a single argument, or a block of several.
fn one(text: &str) -> Argument {
    let mut parts = sequence(&mut tokens(text));
    match parts.len() {
        1 => parts.remove(0),
        _ => Argument { parts, ..named("block", "block") },
    }
}

/// Splits at the bars that are inside no bracket.
fn split_choices(inner: &str) -> Vec<&str> {
    let (mut choices, mut depth, mut from) = (Vec::new(), 0, 0);
    for (at, byte) in inner.bytes().enumerate() {
        match byte {
            b'[' | b'<' => depth += 1,
            b']' | b'>' => depth -= 1,
            b'|' if depth == 0 => {
                choices.push(inner[from..at].trim());
                from = at + 1;
            }
            _ => {}
        }
    }
    choices.push(inner[from..].trim());
    choices
}

fn flush(found: &mut Vec<Argument>, token: Option<&str>) {
    if let Some(token) = token {
        found.push(Argument { token: Some(token.to_owned()), ..named(&token.to_ascii_lowercase(), "pure-token") });
    }
}

fn is_token(word: &str) -> bool {
    word.bytes().any(|byte| byte.is_ascii_uppercase())
}

fn plain(word: &str) -> Argument {
    let listed = KINDS.iter().find(|(_, names)| names.contains(&word)).map(|(kind, _)| *kind);
    named(word, if is_key_word(word) { "key" } else { listed.unwrap_or("string") })
}

fn named(name: &str, kind: &'static str) -> Argument {
    let (token, parts) = (None, Vec::new());
    Argument { name: name.to_owned(), kind, token, optional: false, multiple: false, parts, specification: 0 }
}

impl Argument {
    fn number_keys(&mut self, number: &mut dyn FnMut(&mut Self)) {
        if self.kind == "key" {
            number(self);
        }
        self.parts.iter_mut().for_each(|part| part.number_keys(number));
    }

    /// Whether a block or a choice in it has no parts: clients index into those without asking.
    pub fn is_hollow(&self) -> bool {
        let compound = matches!(self.kind, "block" | "oneof");
        compound && self.parts.is_empty() || self.parts.iter().any(Self::is_hollow)
    }

    /// The fields and their order are those of Redis 7.2.
    pub fn write(&self, reply: &mut Reply<'_>) {
        let is_leaf = self.parts.is_empty();
        let is_key = self.kind == "key";
        let shows_text = is_leaf && self.kind != "pure-token";
        let flags: Vec<&str> =
            [(self.optional, "optional"), (self.multiple, "multiple")].iter().filter(|f| f.0).map(|f| f.1).collect();
        let extra = [shows_text, is_key, self.token.is_some(), !flags.is_empty(), !is_leaf];
        reply.map(2 + extra.iter().filter(|there| **there).count());
        text(reply, "name", &self.name);
        text(reply, "type", self.kind);
        if shows_text {
            text(reply, "display_text", &self.name);
        }
        if is_key {
            reply.text("key_spec_index");
            reply.count(self.specification);
        }
        if let Some(token) = &self.token {
            text(reply, "token", token);
        }
        if !flags.is_empty() {
            reply.text("flags");
            reply.array(flags.len());
            flags.iter().for_each(|flag| reply.simple(flag));
        }
        if !is_leaf {
            reply.text("arguments");
            reply.array(self.parts.len());
            self.parts.iter().for_each(|part| part.write(reply));
        }
    }
}

fn text(reply: &mut Reply<'_>, field: &str, value: &str) {
    reply.text(field);
    reply.text(value);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::Table;

    fn shape(arguments: &[Argument]) -> String {
        let each = |argument: &Argument| {
            let token = argument.token.as_deref().map_or_else(String::new, |token| format!("{token}:"));
            let parts = if argument.parts.is_empty() { String::new() } else { format!("({})", shape(&argument.parts)) };
            let marks =
                format!("{}{}", if argument.optional { "?" } else { "" }, if argument.multiple { "*" } else { "" });
            format!("{token}{}{parts}{marks}", argument.kind)
        };
        arguments.iter().map(each).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn arguments_follow_from_lines() {
        for (line, own, expected) in [
            ("GET key", 1, "key"),
            ("PING [message]", 1, "string?"),
            ("DEL key [key ...]", 1, "key*"),
            ("INFO [section [section ...]]", 1, "string?*"),
            ("MSET key value [key value ...]", 1, "block(key string)*"),
            (
                "SET key value [NX | XX] [GET] [EX seconds | KEEPTTL]",
                1,
                "key string oneof(NX:pure-token XX:pure-token)? GET:pure-token? oneof(EX:integer KEEPTTL:pure-token)?",
            ),
            ("SCAN cursor [MATCH pattern] [COUNT count]", 1, "integer MATCH:pattern? COUNT:integer?"),
            ("CLIENT REPLY <ON | OFF | SKIP>", 2, "oneof(ON:pure-token OFF:pure-token SKIP:pure-token)"),
            ("RENAME key newkey", 1, "key key"),
        ] {
            assert_eq!(shape(&of(line, own)), expected, "{line}");
        }
    }

    #[test]
    fn keys_are_told_with_the_specification_that_finds_them() {
        let specifications = |name: &[u8]| {
            let mut found = Vec::new();
            let mut arguments = of_row(Table::new().find(name).expect("a row").row);
            let mut note = |key: &mut Argument| found.push(key.specification);
            arguments.iter_mut().for_each(|argument| argument.number_keys(&mut note));
            found
        };
        for (name, expected) in [
            ("get", &[0][..]),
            ("mset", &[0]),
            ("lcs", &[0, 0]),
            ("rename", &[0, 1]),
            ("sinterstore", &[0, 1]),
            ("zunionstore", &[0, 1]),
            ("sort", &[0, 2]),
        ] {
            assert_eq!(specifications(name.as_bytes()), expected, "{name}");
        }
    }
}
