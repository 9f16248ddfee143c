//! RESP2 and RESP3 values, and a parser that knows nothing of the server's own.
//!
//! It is stricter than any client: a lone LF, a length with a sign or a leading zero, or a type that the dialect does not
//! have is a failure of the server, not something to be lenient about.

use std::fmt;
use std::io::{self, Read};

#[derive(Clone, PartialEq)]
pub(crate) enum Value {
    Simple(String),
    Error(String),
    Int(i64),
    Bulk(Vec<u8>),
    /// `$-1` in RESP2, `_` in RESP3.
    Null,
    /// `*-1`, which only RESP2 has.
    NullArray,
    Array(Vec<Self>),
    Map(Vec<Self>),
    Set(Vec<Self>),
    Push(Vec<Self>),
    /// As text, because the text is what a client shows.
    Double(String),
    Bool(bool),
    Verbatim(Vec<u8>),
    BigNumber(String),
}

impl Value {
    pub(crate) fn bulk(text: &str) -> Self {
        Self::Bulk(text.as_bytes().to_vec())
    }

    pub(crate) fn ok() -> Self {
        Self::Simple("OK".into())
    }

    /// The text of a string of whatever kind; panics on others, because a test asked for it.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Bulk(bytes) | Self::Verbatim(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            Self::Simple(text) | Self::Error(text) | Self::Double(text) => text.clone(),
            other => panic!("a string was expected, not {other:?}"),
        }
    }

    pub(crate) fn int(&self) -> i64 {
        match self {
            Self::Int(number) => *number,
            other => panic!("an integer was expected, not {other:?}"),
        }
    }

    /// The items of an aggregate; a map gives keys and values in turn.
    pub(crate) fn items(&self) -> &[Self] {
        match self {
            Self::Array(items) | Self::Map(items) | Self::Set(items) | Self::Push(items) => items,
            other => panic!("an aggregate was expected, not {other:?}"),
        }
    }
}

/// In the notation of the case files, so that a failure reads like the expectation.
impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let aggregate = |f: &mut fmt::Formatter<'_>, open: &str, items: &[Self], close: &str| {
            write!(f, "{open}")?;
            items.iter().try_for_each(|item| write!(f, " {item:?}"))?;
            write!(f, " {close}")
        };
        match self {
            Self::Simple(text) => write!(f, "+{text}"),
            Self::Error(text) => write!(f, "-{text}"),
            Self::Int(number) => write!(f, ":{number}"),
            Self::Bulk(text) => write!(f, "\"{}\"", text.escape_ascii()),
            Self::Verbatim(text) => write!(f, "=\"{}\"", text.escape_ascii()),
            Self::Null => write!(f, "(nil)"),
            Self::NullArray => write!(f, "(nil-array)"),
            Self::Array(items) => aggregate(f, "[", items, "]"),
            Self::Map(items) => aggregate(f, "{", items, "}"),
            Self::Set(items) => aggregate(f, "~[", items, "]"),
            Self::Push(items) => aggregate(f, ">[", items, "]"),
            Self::Double(text) => write!(f, ",{text}"),
            Self::Bool(yes) => write!(f, "#{}", if *yes { 't' } else { 'f' }),
            Self::BigNumber(text) => write!(f, "({text}"),
        }
    }
}

/// Which types may appear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    Resp2,
    Resp3,
}

/// Reads exactly one value.
///
/// # Errors
/// `UnexpectedEof` when the server closed; `InvalidData` when the bytes are not RESP of that dialect.
pub(crate) fn read_value(input: &mut impl Read, dialect: Dialect) -> io::Result<Value> {
    let line = read_line(input)?;
    let (kind, rest) = line.split_at(1);
    let resp3_only = matches!(kind, "%" | "~" | ">" | "," | "#" | "=" | "(" | "_");
    if resp3_only && dialect == Dialect::Resp2 {
        return Err(broken(format!("RESP3 type in RESP2: {line:?}")));
    }
    match kind {
        "+" => Ok(Value::Simple(rest.into())),
        "-" => Ok(Value::Error(rest.into())),
        ":" => Ok(Value::Int(integer(rest)?)),
        "$" if rest == "-1" && dialect == Dialect::Resp2 => Ok(Value::Null),
        "*" if rest == "-1" && dialect == Dialect::Resp2 => Ok(Value::NullArray),
        "$" => Ok(Value::Bulk(read_body(input, length(rest)?)?)),
        "*" => Ok(Value::Array(read_items(input, dialect, length(rest)?)?)),
        "%" => Ok(Value::Map(read_items(input, dialect, length(rest)? * 2)?)),
        "~" => Ok(Value::Set(read_items(input, dialect, length(rest)?)?)),
        ">" => Ok(Value::Push(read_items(input, dialect, length(rest)?)?)),
        "," => Ok(Value::Double(rest.into())),
        "#" if rest == "t" || rest == "f" => Ok(Value::Bool(rest == "t")),
        "(" => Ok(Value::BigNumber(rest.into())),
        "_" if rest.is_empty() => Ok(Value::Null),
        "=" => verbatim(&read_body(input, length(rest)?)?),
        _ => Err(broken(format!("not RESP: {line:?}"))),
    }
}

fn read_items(input: &mut impl Read, dialect: Dialect, count: usize) -> io::Result<Vec<Value>> {
    (0..count).map(|_| read_value(input, dialect)).collect()
}

fn read_body(input: &mut impl Read, length: usize) -> io::Result<Vec<u8>> {
    let mut body = vec![0; length + 2];
    input.read_exact(&mut body)?;
    if !body.ends_with(b"\r\n") {
        return Err(broken("a bulk string does not end with CRLF".into()));
    }
    body.truncate(length);
    Ok(body)
}

fn verbatim(body: &[u8]) -> io::Result<Value> {
    match body.strip_prefix(b"txt:") {
        Some(text) => Ok(Value::Verbatim(text.to_vec())),
        None => Err(broken("a verbatim string that is not txt".into())),
    }
}

fn read_line(input: &mut impl Read) -> io::Result<String> {
    let mut line = Vec::new();
    let mut byte = [0];
    loop {
        input.read_exact(&mut byte)?;
        match byte[0] {
            b'\n' => return Err(broken(format!("LF without CR after {:?}", String::from_utf8_lossy(&line)))),
            b'\r' => break,
            other => line.push(other),
        }
    }
    input.read_exact(&mut byte)?;
    if byte[0] != b'\n' || line.is_empty() {
        return Err(broken(format!("bad line {:?}", String::from_utf8_lossy(&line))));
    }
    String::from_utf8(line).map_err(|_| broken("a line that is not UTF-8".into()))
}

fn length(text: &str) -> io::Result<usize> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| plain).ok_or_else(|| broken(format!("bad length {text:?}")))
}

fn integer(text: &str) -> io::Result<i64> {
    let number: i64 = text.parse().map_err(|_| broken(format!("bad integer {text:?}")))?;
    if number.to_string() == text { Ok(number) } else { Err(broken(format!("odd integer {text:?}"))) }
}

fn broken(why: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}
