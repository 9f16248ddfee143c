//! Arguments from syntax lines: whatever row the table has, a request for it can be made up.
//!
//! ```text
//!  SET key value [NX | XX] [EX seconds | KEEPTTL]     ->   SET k3 17 EX 2
//!      |   |      |         |  |
//!      |   |      choice, left out half the time
//!      |   a short number, a text, rarely a long text
//!      a hot key or a cold one
//! ```
//!
//! Lower-case words stand for something and have a generator here; all else is said as it is. A word without a generator is a
//! complaint of [`unknown_words`], which a test shows, so that a new row cannot go unsimulated unseen.

use corelane::base::rng::Rng;
use corelane::command::Command;
use corelane::command::syntax::{COUNT_WORD, is_key_word, tokens};

use super::keys::Keys;
use super::log::EPOCH;

/// What a word of a syntax line may be replaced by.
type Generator = fn(&mut Rng, &Keys) -> Vec<u8>;

const WORDS: &[(&[&str], Generator)] = &[
    (&["value", "comparison-value", "element", "message", "string"], |rng, _| value(rng)),
    (&["field"], |rng, keys| keys.field(rng)),
    (&["member"], |rng, keys| keys.member(rng)),
    (&["score", "weight"], |rng, _| score(rng)),
    (&["limit"], |rng, _| number(rng.below(6))),
    (&["min", "max", "stop"], |rng, _| bound(rng)),
    (&["pivot"], |rng, _| number(rng.below(100))),
    (&["rank"], |rng, _| format!("{}", rng.below(9).cast_signed() - 4).into_bytes()),
    (&["num-matches", "len"], |rng, _| number(rng.below(6))),
    (&["increment", "decrement"], |rng, _| increment(rng)),
    (&["seconds"], |rng, _| number(rng.below(4))),
    (&["milliseconds"], |rng, _| number(rng.below(3000))),
    (&["unix-time-seconds"], |rng, _| number(EPOCH.unix_us / 1_000_000 + rng.below(30))),
    (&["unix-time-milliseconds"], |rng, _| number(EPOCH.unix_us / 1000 + rng.below(30_000))),
    (&["db", "destination-db", "index", "index1", "index2"], |rng, _| database(rng)),
    (&["start", "end"], |rng, _| format!("{}", rng.below(30).cast_signed() - 15).into_bytes()),
    (&["offset"], |rng, _| number(rng.below(40))),
    (&["pattern"], |rng, _| PATTERNS[pick(rng, PATTERNS.len())].into()),
    (&["count"], |rng, _| number(1 + rng.below(20))),
    (&["limit"], |rng, _| number(rng.below(6))),
    (&["cursor"], |_, _| b"0".to_vec()),
    (&["timeout"], |rng, _| TIMEOUTS[pick(rng, TIMEOUTS.len())].into()),
    (&["numreplicas"], |rng, _| number(rng.below(3))),
    (&["client-id"], |rng, _| number(rng.below(50))),
    (&["username", "password"], |_, _| b"default".to_vec()),
    (&["type"], |rng, _| TYPES[pick(rng, TYPES.len())].into()),
    (&["min-match-len"], |rng, _| number(rng.below(5))),
    (&["protover"], |rng, _| number(2 + rng.below(2))),
    (&["connection-name", "clientname"], |rng, _| format!("name{}", rng.below(9)).into_bytes()),
];

const TYPES: &[&str] = &["string", "hash", "list", "set", "zset"];

const PATTERNS: &[&str] = &["*", "k*", "h*", "s*", "f1*", "*1*", "k?", "[kh][0-9]", "nothing", "#", "h*->f1", "k*"];

/// Seconds of BGETDEL, milliseconds of WAIT; nothing that is waited for comes to everybody, so that the longest is seldom.
const TIMEOUTS: &[&str] = &["0", "0.001", "0.02", "0.1", "1", "2", "15"];

/// The words of a request for `row`.
pub(crate) fn request(row: &Command, keys: &Keys, rng: &mut Rng) -> Vec<Vec<u8>> {
    let keys = keys.of_group(row.group);
    let mut words = Vec::new();
    let own = row.name.split('|').count();
    // A lower-case name now and then: it is the same command.
    let shout = !rng.one_in(8);
    for name in row.name.split('|') {
        words.push(if shout { name.to_ascii_uppercase() } else { name.to_owned() }.into_bytes());
    }
    let rest: Vec<&str> = tokens(row.syntax).skip(own).collect();
    sequence(&rest, &keys, rng, &mut words);
    words
}

fn sequence(parts: &[&str], keys: &Keys, rng: &mut Rng, words: &mut Vec<Vec<u8>>) {
    // Where a number of keys stands, once there is one; where one of fields, or of fields with values.
    let (mut count, mut fields) = (None, None);
    for part in parts {
        if !part.contains("key")
            && let Some(at) = count.take()
        {
            count_keys(at, words, rng);
        }
        match part.as_bytes()[0] {
            _ if *part == "numfields" => {
                fields = Some(words.len());
                words.push(Vec::new());
            }
            _ if *part == COUNT_WORD => {
                count = Some(words.len());
                words.push(Vec::new());
            }
            b'[' if part.ends_with("...]") => {
                let inner: Vec<&str> = tokens(part[1..part.len() - 4].trim()).collect();
                for _ in 0..repeats(rng) {
                    sequence(&inner, keys, rng, words);
                }
            }
            b'[' if rng.one_in(2) => {}
            b'[' | b'<' => {
                let choices = choices(&part[1..part.len() - 1]);
                let chosen: Vec<&str> = tokens(choices[pick(rng, choices.len())]).collect();
                sequence(&chosen, keys, rng, words);
            }
            _ => words.push(word(part, keys, rng)),
        }
    }
    if let Some(at) = count {
        count_keys(at, words, rng);
    }
    if let Some(at) = fields {
        count_fields(at, if parts.contains(&"value") { 2 } else { 1 }, words, rng);
    }
}

/// Says at `at` how many fields there are behind it, each of so many words; seldom something else.
fn count_fields(at: usize, each: usize, words: &mut [Vec<u8>], rng: &mut Rng) {
    let count = (words.len() - at - 1) / each;
    words[at] = number(if rng.one_in(30) { rng.below(4) } else { count as u64 });
}

/// Says at `at` how many words there are behind it; seldom something else.
fn count_keys(at: usize, words: &mut [Vec<u8>], rng: &mut Rng) {
    let count = words.len() - at - 1;
    words[at] = match rng.below(40) {
        0 => b"0".to_vec(),
        1 => number(count as u64 + 1),
        2 => b"many".to_vec(),
        3 => b"1".to_vec(),
        _ => number(count as u64),
    };
}

fn word(word: &str, keys: &Keys, rng: &mut Rng) -> Vec<u8> {
    if is_key_word(word) {
        return keys.key(rng);
    }
    match WORDS.iter().find(|(words, _)| words.contains(&word)) {
        Some((_, generator)) => generator(rng, keys),
        None => word.as_bytes().to_vec(),
    }
}

/// Words of a row's syntax line that stand for something unknown here.
pub(crate) fn unknown_words(row: &Command) -> Vec<&'static str> {
    let own = row.name.split('|').count();
    let plain = |c: char| matches!(c, '[' | ']' | '<' | '>' | '|' | ' ' | '.');
    row.syntax
        .split(plain)
        .filter(|word| !word.is_empty())
        .skip(own)
        .filter(|word| word.bytes().any(|byte| byte.is_ascii_lowercase()))
        .filter(|word| {
            *word != COUNT_WORD
                && !is_key_word(word)
                && *word != "numfields"
                && !WORDS.iter().any(|(words, _)| words.contains(word))
        })
        .collect()
}

/// Splits at the bars that are inside no bracket.
fn choices(inner: &str) -> Vec<&str> {
    let (mut found, mut depth, mut from) = (Vec::new(), 0, 0);
    for (at, byte) in inner.bytes().enumerate() {
        match byte {
            b'[' | b'<' => depth += 1,
            b']' | b'>' => depth -= 1,
            b'|' if depth == 0 => {
                found.push(inner[from..at].trim());
                from = at + 1;
            }
            _ => {}
        }
    }
    found.push(inner[from..].trim());
    found
}

/// Mostly few, sometimes many.
fn repeats(rng: &mut Rng) -> u64 {
    if rng.one_in(20) { rng.below(40) } else { rng.below(5) }
}

fn value(rng: &mut Rng) -> Vec<u8> {
    match rng.below(40) {
        0 => vec![b'x'; 16_000 + pick(rng, 2000)],
        1 => vec![b'y'; 100 + pick(rng, 200)],
        2..10 => format!("text{}", rng.below(50)).into_bytes(),
        10..13 => format!("{}.5", rng.below(50)).into_bytes(),
        13 => b"\0\r\n \xff".to_vec(),
        14 => Vec::new(),
        _ => number(rng.below(100)),
    }
}

fn score(rng: &mut Rng) -> Vec<u8> {
    match rng.below(30) {
        0 => b"inf".to_vec(),
        1 => b"-inf".to_vec(),
        2 => b"0.1".to_vec(),
        3 => b"much".to_vec(),
        4 => b"-0".to_vec(),
        n => format!("{}", n / 4).into_bytes(),
    }
}

/// Of a range by rank, by score or by member.
fn bound(rng: &mut Rng) -> Vec<u8> {
    const BOUNDS: &[&str] = &["-inf", "+inf", "0", "(2", "3", "-1", "-", "+", "[f3", "(f5", "[f"];
    BOUNDS[pick(rng, BOUNDS.len())].into()
}

fn increment(rng: &mut Rng) -> Vec<u8> {
    match rng.below(12) {
        0 => b"1.25".to_vec(),
        1 => b"9223372036854775807".to_vec(),
        2 => b"much".to_vec(),
        n => format!("{}", 7 - n.cast_signed()).into_bytes(),
    }
}

/// Few are in use, so that clients meet.
fn database(rng: &mut Rng) -> Vec<u8> {
    match rng.below(16) {
        0 => b"16".to_vec(),
        1 => b"x".to_vec(),
        n => number(n % 3),
    }
}

fn number(n: u64) -> Vec<u8> {
    n.to_string().into_bytes()
}

/// A place in something of `len` items.
pub(crate) fn pick(rng: &mut Rng, len: usize) -> usize {
    usize::try_from(rng.below(len as u64)).expect("an index")
}
