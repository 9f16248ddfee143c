//! The notation of expected replies, and how a value is held against it.
//!
//! ```text
//! +OK   -ERR text   :1          as on the wire; at the top level the text goes to the end of the line
//! -"ERR text "                  an error whose ends need to be seen, as inside of an array
//! -glob"ERR *"                  an error that fits the glob
//! :*    :5..10                  any integer, one within bounds
//! "a\x00"  glob"redis_*"  "x"*9 a bulk string, one that fits the glob, a repeated one
//! (nil)  (nil-array)            $-1 and *-1; in RESP3 both are _
//! [ .. ]   ?[ .. ]              an array; in any order
//! { k v }  ~[ .. ]              a map, a set: in RESP2 an array; keys, members in any order
//! ,1.5  #t                      a double, a boolean: in RESP2 a bulk string, 1
//! =glob                         (as ="glob") verbatim text that fits the glob: in RESP2 a bulk string
//! [..]                          an array with whatever in it
//! *                             anything but an error
//! ```
//! Types are exact: a bulk string never stands for a simple one, nor in RESP3 an array for a map.

use crate::support::Value;
use crate::support::resp::Dialect;
use crate::support::text::{matches_glob, unquote};
use std::fmt;

#[derive(Clone, PartialEq)]
pub(crate) enum Pattern {
    Exactly(Value),
    IntWithin(i64, i64),
    Glob(Vec<u8>),
    VerbatimGlob(Vec<u8>),
    ErrorGlob(Vec<u8>),
    Array(Vec<Self>),
    AnyOrder(Vec<Self>),
    Map(Vec<Self>),
    Set(Vec<Self>),
    SomeArray,
    Anything,
}

impl Pattern {
    pub(super) fn fits(&self, value: &Value, dialect: Dialect) -> bool {
        let resp2 = dialect == Dialect::Resp2;
        match (self, value) {
            (Self::Anything, other) => !matches!(other, Value::Error(_)),
            (Self::IntWithin(low, high), Value::Int(number)) => (low..=high).contains(&number),
            (Self::ErrorGlob(glob), Value::Error(text)) => matches_glob(glob, text.as_bytes()),
            (Self::Glob(glob), Value::Bulk(text)) => matches_glob(glob, text),
            (Self::VerbatimGlob(glob), Value::Bulk(text)) if resp2 => matches_glob(glob, text),
            (Self::VerbatimGlob(glob), Value::Verbatim(text)) if !resp2 => matches_glob(glob, text),
            (Self::SomeArray, Value::Array(_)) => true,
            (Self::Array(expected), Value::Array(items)) => in_order(expected, items, dialect),
            (Self::AnyOrder(expected), Value::Array(items)) => in_any_order(expected, items, 1, dialect),
            (Self::Map(expected), Value::Array(items)) if resp2 => in_any_order(expected, items, 2, dialect),
            (Self::Map(expected), Value::Map(items)) if !resp2 => in_any_order(expected, items, 2, dialect),
            (Self::Set(expected), Value::Array(items)) if resp2 => in_any_order(expected, items, 1, dialect),
            (Self::Set(expected), Value::Set(items)) if !resp2 => in_any_order(expected, items, 1, dialect),
            (Self::Exactly(expected), value) => as_sent(expected, dialect) == *value,
            _ => false,
        }
    }
}

/// In the notation it was read from.
impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let aggregate = |f: &mut fmt::Formatter<'_>, open: &str, items: &[Self], close: &str| {
            write!(f, "{open}")?;
            items.iter().try_for_each(|item| write!(f, " {item:?}"))?;
            write!(f, " {close}")
        };
        match self {
            Self::Exactly(value) => write!(f, "{value:?}"),
            Self::IntWithin(low, high) => write!(f, ":{low}..{high}"),
            Self::Glob(glob) => write!(f, "glob\"{}\"", glob.escape_ascii()),
            Self::ErrorGlob(glob) => write!(f, "-glob\"{}\"", glob.escape_ascii()),
            Self::VerbatimGlob(glob) => write!(f, "=\"{}\"", glob.escape_ascii()),
            Self::Array(items) => aggregate(f, "[", items, "]"),
            Self::AnyOrder(items) => aggregate(f, "?[", items, "]"),
            Self::Map(items) => aggregate(f, "{", items, "}"),
            Self::Set(items) => aggregate(f, "~[", items, "]"),
            Self::SomeArray => write!(f, "[..]"),
            Self::Anything => write!(f, "*"),
        }
    }
}

/// What a typed value looks like in a dialect that lacks the type.
fn as_sent(value: &Value, dialect: Dialect) -> Value {
    match (value, dialect) {
        (Value::Double(text), Dialect::Resp2) => Value::bulk(text),
        (Value::Bool(yes), Dialect::Resp2) => Value::Int(i64::from(*yes)),
        (Value::NullArray, Dialect::Resp3) => Value::Null,
        (other, _) => other.clone(),
    }
}

fn in_order(expected: &[Pattern], items: &[Value], dialect: Dialect) -> bool {
    expected.len() == items.len() && expected.iter().zip(items).all(|(pattern, item)| pattern.fits(item, dialect))
}

/// Groups of `width` (a member, or a key with its value) each matched by exactly one group; greedy, which the exact keys of
/// our cases make sufficient.
fn in_any_order(expected: &[Pattern], items: &[Value], width: usize, dialect: Dialect) -> bool {
    let mut left: Vec<&[Value]> = items.chunks(width).collect();
    expected.len() == items.len()
        && expected.chunks(width).all(|wanted| {
            let found = left.iter().position(|group| in_order(wanted, group, dialect));
            found.map(|at| left.swap_remove(at)).is_some()
        })
}

/// Reads a whole expectation.
pub(super) fn parse(text: &str) -> Result<Pattern, String> {
    if let Some(status) = text.strip_prefix('+') {
        return Ok(Pattern::Exactly(Value::Simple(status.into())));
    }
    if let Some(quoted) = text.strip_prefix("-glob\"") {
        let (glob, rest) = unquote(&text[text.len() - quoted.len() - 1..])?;
        return if rest.is_empty() { Ok(Pattern::ErrorGlob(glob)) } else { Err(format!("left over: {rest}")) };
    }
    if let Some(error) = text.strip_prefix('-') {
        let text = match unquote(error) {
            Ok((quoted, "")) => String::from_utf8(quoted).map_err(|_| "errors are UTF-8")?,
            _ => error.into(),
        };
        return Ok(Pattern::Exactly(Value::Error(text)));
    }
    let (pattern, rest) = parse_one(text)?;
    if rest.trim().is_empty() { Ok(pattern) } else { Err(format!("left over: {rest}")) }
}

/// What an opening and its closing bracket make of the patterns between them.
type Bracket = (&'static str, &'static str, fn(Vec<Pattern>) -> Pattern);

const OPENINGS: &[Bracket] =
    &[("?[", "]", Pattern::AnyOrder), ("~[", "]", Pattern::Set), ("[", "]", Pattern::Array), ("{", "}", Pattern::Map)];

fn parse_one(text: &str) -> Result<(Pattern, &str), String> {
    let text = text.trim_start();
    if let Some(rest) = text.strip_prefix("[..]") {
        return Ok((Pattern::SomeArray, rest));
    }
    for (open, close, build) in OPENINGS {
        if let Some(inner) = text.strip_prefix(open) {
            let (items, rest) = parse_items(inner, close)?;
            return Ok((build(items), rest));
        }
    }
    if let Some(quoted) = text.strip_prefix("glob") {
        return unquote(quoted).map(|(glob, rest)| (Pattern::Glob(glob), rest));
    }
    if let Some(quoted) = text.strip_prefix('=') {
        return unquote(quoted).map(|(glob, rest)| (Pattern::VerbatimGlob(glob), rest));
    }
    if text.starts_with('"') {
        return parse_bulk(text);
    }
    if let Some(quoted) = text.strip_prefix('-') {
        let (error, rest) = unquote(quoted)?;
        let error = String::from_utf8(error).map_err(|_| "errors are UTF-8")?;
        return Ok((Pattern::Exactly(Value::Error(error)), rest));
    }
    let end = text.find([' ', '\n', ']', '}']).unwrap_or(text.len());
    let (word, rest) = text.split_at(end);
    Ok((parse_word(word)?, rest))
}

fn parse_items<'a>(mut text: &'a str, close: &str) -> Result<(Vec<Pattern>, &'a str), String> {
    let mut items = Vec::new();
    loop {
        text = text.trim_start();
        if let Some(rest) = text.strip_prefix(close) {
            return Ok((items, rest));
        }
        if text.is_empty() {
            return Err(format!("a missing {close}"));
        }
        let (item, rest) = parse_one(text)?;
        items.push(item);
        text = rest;
    }
}

fn parse_bulk(text: &str) -> Result<(Pattern, &str), String> {
    let (piece, rest) = unquote(text)?;
    let Some(count) = rest.strip_prefix('*') else { return Ok((Pattern::Exactly(Value::Bulk(piece)), rest)) };
    let (digits, rest) = count.split_at(count.find(|c: char| !c.is_ascii_digit()).unwrap_or(count.len()));
    let bytes = piece.repeat(digits.parse().map_err(|_| "a number after *")?);
    Ok((Pattern::Exactly(Value::Bulk(bytes)), rest))
}

fn parse_word(word: &str) -> Result<Pattern, String> {
    let value = match word {
        "*" => return Ok(Pattern::Anything),
        "(nil)" => Value::Null,
        "(nil-array)" => Value::NullArray,
        "#t" => Value::Bool(true),
        "#f" => Value::Bool(false),
        _ => match word.split_at_checked(1) {
            Some(("+", rest)) => Value::Simple(rest.into()),
            Some((",", rest)) => Value::Double(rest.into()),
            Some((":", number)) => return parse_int(number),
            _ => return Err(format!("not in the notation: {word}")),
        },
    };
    Ok(Pattern::Exactly(value))
}

fn parse_int(text: &str) -> Result<Pattern, String> {
    let number = |text: &str| text.parse::<i64>().map_err(|_| format!("not an integer: {text}"));
    if text == "*" {
        return Ok(Pattern::IntWithin(i64::MIN, i64::MAX));
    }
    match text.split_once("..") {
        Some((low, high)) => Ok(Pattern::IntWithin(number(low)?, number(high)?)),
        None => Ok(Pattern::Exactly(Value::Int(number(text)?))),
    }
}

#[test]
fn notation() {
    let map = parse("{ \"a\" :1 \"b\" [ (nil) :2..3 ] }").expect("the notation");
    let inner = Value::Array(vec![Value::Null, Value::Int(3)]);
    let items = vec![Value::bulk("b"), inner, Value::bulk("a"), Value::Int(1)];
    assert!(map.fits(&Value::Array(items.clone()), Dialect::Resp2));
    assert!(map.fits(&Value::Map(items.clone()), Dialect::Resp3));
    assert!(!map.fits(&Value::Array(items), Dialect::Resp3));
    let fits = |pattern: &str, value: &Value| parse(pattern).expect("the notation").fits(value, Dialect::Resp2);
    assert!(!fits("?[ :1 :1 ]", &Value::Array(vec![Value::Int(1), Value::Int(2)])));
    assert!(!fits("*", &Value::Error("ERR".into())));
    assert!(!fits("\"OK\"", &Value::ok()));
    assert!(parse("[ :1").is_err());
}
