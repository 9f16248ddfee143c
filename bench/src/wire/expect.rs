//! What a reply must be. All replies are checked: a server that answers wrongly must not look fast.
//!
//! | a definition says | Redis must answer | Memcached |
//! |---|---|---|
//! | `value` (or `bulk`) | the key's value: its length, and its key's digits at the front | the same |
//! | `value?` | that, or a null | that, or a miss |
//! | `values`, `values?` | an array of the values of all the keys (`?`: or nulls) | all of them; `?`: some of them |
//! | `nil` | a null | a miss |
//! | `int` | an integer | a number |
//! | `bulk:N` | a bulk of N bytes | |
//! | `+OK`, `:1`, `-ERR ...` | this line | STORED and the like, whatever the line |
//! | `any` | anything but an error | anything but an error |
//! | `anything` | anything; errors are counted | the same |
//!
//! The rest of a value is not compared: it is the same filling everywhere, and the client must stay cheaper than the server.

use super::memcache::{length_word, reply_end};
use super::piece::{STAMP_BYTES, write_digits};
use super::resp::{Halt, value_end};
use super::{Dialect, binary};
use crate::workload::sizes::Sizes;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    Exact(Vec<u8>),
    Value(Miss),
    Values { keys: usize, miss: Miss },
    Nil,
    Integer,
    Bulk(usize),
    Any,
    Anything,
}

/// Whether a key may be missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Miss {
    Fails,
    Passes,
}

impl Reply {
    pub(crate) fn parse(text: &str, keys: usize) -> Result<Self, String> {
        if let Some(len) = text.strip_prefix("bulk:") {
            return len.parse().map(Self::Bulk).map_err(|_| format!("bulk:N wants a number, not {len}"));
        }
        match text {
            "value" | "bulk" => Ok(Self::Value(Miss::Fails)),
            "value?" => Ok(Self::Value(Miss::Passes)),
            "values" => Ok(Self::Values { keys, miss: Miss::Fails }),
            "values?" => Ok(Self::Values { keys, miss: Miss::Passes }),
            "nil" => Ok(Self::Nil),
            "int" => Ok(Self::Integer),
            "any" => Ok(Self::Any),
            "anything" => Ok(Self::Anything),
            _ if text.starts_with(['+', '-', ':', '_', '#', ',']) => Ok(Self::exact(text)),
            _ => Err(format!(
                "an expected reply is value, value?, values, values?, nil, int, bulk:N, any or a whole line such as +OK, not {text}"
            )),
        }
    }

    pub(crate) fn exact(line: &str) -> Self {
        Self::Exact(format!("{line}\r\n").into_bytes())
    }

    /// How many keys of its request the check looks at.
    pub(crate) const fn keys(&self) -> usize {
        match self {
            Self::Value(_) => 1,
            Self::Values { keys, .. } => *keys,
            _ => 0,
        }
    }
}

/// The beginning of a reply that is not what was expected.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Wrong(pub(crate) String);

impl Wrong {
    pub(crate) fn of(bytes: &[u8]) -> Self {
        const SHOWN: usize = 80;
        Self(bytes.iter().take(SHOWN).map(|byte| byte.escape_ascii().to_string()).collect())
    }
}

/// A reply that is there whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) len: usize,
    pub(crate) is_error: bool,
}

/// What one check looks at.
#[derive(Clone, Copy)]
pub(crate) struct Context<'a> {
    pub(crate) dialect: Dialect,
    pub(crate) sizes: &'a Sizes,
}

/// The reply at the beginning of `bytes`, `None` if it is not whole yet. `keys` are those of its request.
pub(crate) fn check(
    reply: &Reply,
    bytes: &[u8],
    keys: impl Iterator<Item = u32>,
    context: Context<'_>,
) -> Result<Option<Answer>, Wrong> {
    let found = match context.dialect {
        Dialect::Redis | Dialect::Resp3 | Dialect::Fixed => resp(reply, bytes, keys, context),
        Dialect::Memcache => classic(reply, bytes, keys, context),
        Dialect::Meta => meta(reply, bytes, keys, context),
        Dialect::Binary => binary_reply(reply, bytes, keys, context),
    };
    match found {
        Ok(len) => {
            Ok(Some(Answer { len, is_error: matches!(reply, Reply::Anything) && is_error(bytes, context.dialect) }))
        }
        Err(Halt::Incomplete) => Ok(None),
        Err(Halt::Malformed) => Err(Wrong::of(bytes)),
    }
}

fn resp(reply: &Reply, bytes: &[u8], mut keys: impl Iterator<Item = u32>, context: Context<'_>) -> Result<usize, Halt> {
    match reply {
        Reply::Exact(line) => exact(line, bytes),
        Reply::Value(miss) => resp_value(bytes, 0, keys.next().ok_or(Halt::Malformed)?, *miss, context.sizes),
        Reply::Values { keys: count, miss } => {
            let (got, mut at) = header(bytes, 0, b'*')?;
            if got != *count {
                return Err(Halt::Malformed);
            }
            for key in keys {
                at = resp_value(bytes, at, key, *miss, context.sizes)?;
            }
            Ok(at)
        }
        Reply::Nil => null(bytes, 0),
        Reply::Integer => first(bytes, 0, b":").and_then(|()| value_end(bytes, 0)),
        Reply::Bulk(len) => {
            let (got, at) = header(bytes, 0, b'$')?;
            if got == *len { line_after(bytes, at + len) } else { Err(Halt::Malformed) }
        }
        Reply::Any if is_error(bytes, context.dialect) => Err(Halt::Malformed),
        Reply::Any | Reply::Anything => value_end(bytes, 0),
    }
}

fn resp_value(bytes: &[u8], at: usize, key: u32, miss: Miss, sizes: &Sizes) -> Result<usize, Halt> {
    if miss == Miss::Passes {
        match null(bytes, at) {
            // `$` alone may become either.
            Err(Halt::Malformed) => {}
            found => return found,
        }
    }
    let (len, start) = header(bytes, at, b'$')?;
    value(bytes, start, len, key, sizes).and_then(|end| line_after(bytes, end))
}

fn null(bytes: &[u8], at: usize) -> Result<usize, Halt> {
    let rest = bytes.get(at..).ok_or(Halt::Incomplete)?;
    match rest.first() {
        Some(b'_') => exact(b"_\r\n", rest).map(|len| at + len),
        _ => exact(b"$-1\r\n", rest).map(|len| at + len),
    }
}

fn classic(reply: &Reply, bytes: &[u8], keys: impl Iterator<Item = u32>, context: Context<'_>) -> Result<usize, Halt> {
    let miss = match reply {
        Reply::Exact(line) => return exact(line, bytes),
        Reply::Value(miss) | Reply::Values { miss, .. } => *miss,
        Reply::Nil => return exact(b"END\r\n", bytes),
        Reply::Integer => return digits(bytes),
        Reply::Any | Reply::Bulk(_) if is_error(bytes, context.dialect) => return Err(Halt::Malformed),
        Reply::Any | Reply::Anything | Reply::Bulk(_) => return reply_end(bytes, 0),
    };
    // VALUE <key> <flags> <bytes>, the found keys in the order asked for, then END.
    let mut at = 0;
    for key in keys {
        let rest = bytes.get(at..).ok_or(Halt::Incomplete)?;
        if miss == Miss::Passes && (rest.starts_with(b"E") || !names_key(rest, key)?) {
            continue;
        }
        agrees(rest, b"VALUE ")?;
        let line_len = memchr::memchr(b'\n', rest).ok_or(Halt::Incomplete)?;
        let len = length_word(&rest[..line_len], 3)?;
        at = line_after(bytes, value(bytes, at + line_len + 1, len, key, context.sizes)?)?;
    }
    exact(b"END\r\n", bytes.get(at..).ok_or(Halt::Incomplete)?).map(|len| at + len)
}

/// Whether the VALUE line here is of this key, told by its digits.
fn names_key(line: &[u8], key: u32) -> Result<bool, Halt> {
    let line_len = memchr::memchr(b'\n', line).ok_or(Halt::Incomplete)?;
    let name = line[..line_len].split(|byte| *byte == b' ').nth(1).ok_or(Halt::Malformed)?;
    let digits = name.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    let number = std::str::from_utf8(&name[name.len() - digits..]).ok().and_then(|text| text.parse::<u32>().ok());
    Ok(number == Some(key))
}

fn meta(reply: &Reply, bytes: &[u8], keys: impl Iterator<Item = u32>, context: Context<'_>) -> Result<usize, Halt> {
    let miss = match reply {
        Reply::Exact(line) => return exact(line, bytes),
        Reply::Value(miss) | Reply::Values { miss, .. } => *miss,
        Reply::Nil => return exact(b"EN\r\n", bytes),
        Reply::Integer => return agrees(bytes, b"VA ").and_then(|()| reply_end(bytes, 0)),
        Reply::Any | Reply::Bulk(_) if is_error(bytes, context.dialect) => return Err(Halt::Malformed),
        Reply::Any | Reply::Anything | Reply::Bulk(_) => return reply_end(bytes, 0),
    };
    let mut at = 0;
    for key in keys {
        let rest = bytes.get(at..).ok_or(Halt::Incomplete)?;
        if miss == Miss::Passes && rest.starts_with(b"E") {
            at += exact(b"EN\r\n", rest)?;
            continue;
        }
        agrees(rest, b"VA ")?;
        let line_len = memchr::memchr(b'\n', rest).ok_or(Halt::Incomplete)?;
        let len = length_word(&rest[..line_len], 1)?;
        at = line_after(bytes, value(bytes, at + line_len + 1, len, key, context.sizes)?)?;
    }
    Ok(at)
}

fn binary_reply(
    reply: &Reply,
    bytes: &[u8],
    keys: impl Iterator<Item = u32>,
    context: Context<'_>,
) -> Result<usize, Halt> {
    const NOT_FOUND: u16 = 1;
    let miss = match reply {
        Reply::Value(miss) | Reply::Values { miss, .. } => *miss,
        Reply::Any | Reply::Integer | Reply::Bulk(_) | Reply::Exact(_) if is_error(bytes, context.dialect) => {
            return Err(Halt::Malformed);
        }
        _ => return binary::message_end(bytes, 0),
    };
    let mut at = 0;
    for key in keys {
        let rest = bytes.get(at..).ok_or(Halt::Incomplete)?;
        let head = binary::head(rest)?.ok_or(Halt::Incomplete)?;
        let end = at + binary::HEADER_BYTES + head.body;
        match head.status {
            0 if head.extras == binary::GET_EXTRAS && head.body >= head.extras => {
                let start = at + binary::HEADER_BYTES + head.extras;
                value(bytes, start, head.body - head.extras, key, context.sizes)?;
            }
            NOT_FOUND if miss == Miss::Passes && end <= bytes.len() => {}
            NOT_FOUND if miss == Miss::Passes => return Err(Halt::Incomplete),
            _ => return Err(Halt::Malformed),
        }
        at = end;
    }
    Ok(at)
}

fn is_error(bytes: &[u8], dialect: Dialect) -> bool {
    match dialect {
        Dialect::Redis | Dialect::Resp3 | Dialect::Fixed => matches!(bytes.first(), Some(b'-' | b'!')),
        Dialect::Memcache | Dialect::Meta => {
            [&b"ERROR"[..], b"CLIENT_ERROR", b"SERVER_ERROR"].iter().any(|word| bytes.starts_with(word))
        }
        Dialect::Binary => binary::head(bytes).is_ok_and(|head| head.is_some_and(|head| head.status != 0)),
    }
}

/// The value of a key begins at `start`: its length and its stamp. Returns where it ends.
fn value(bytes: &[u8], start: usize, len: usize, key: u32, sizes: &Sizes) -> Result<usize, Halt> {
    if len != sizes.of(key) as usize {
        return Err(Halt::Malformed);
    }
    if len >= STAMP_BYTES && sizes.are_stamped() {
        let seen = bytes.get(start..start + STAMP_BYTES).ok_or(Halt::Incomplete)?;
        let mut stamp = [b'0'; STAMP_BYTES];
        write_digits(&mut stamp, key);
        if seen != stamp {
            return Err(Halt::Malformed);
        }
    }
    if start + len <= bytes.len() { Ok(start + len) } else { Err(Halt::Incomplete) }
}

/// `\r\n` at `at`, and the position behind it.
fn line_after(bytes: &[u8], at: usize) -> Result<usize, Halt> {
    match bytes.get(at..at + 2) {
        Some(b"\r\n") => Ok(at + 2),
        Some(_) => Err(Halt::Malformed),
        None => Err(Halt::Incomplete),
    }
}

/// `$N\r\n` or `*N\r\n`: the number, and the position behind it.
fn header(bytes: &[u8], at: usize, kind: u8) -> Result<(usize, usize), Halt> {
    first(bytes, at, &[kind])?;
    let mut number = 0_usize;
    for (index, byte) in bytes[at + 1..].iter().enumerate() {
        match byte {
            b'0'..=b'9' => number = number.saturating_mul(10).saturating_add(usize::from(byte - b'0')),
            b'\r' if index > 0 => return line_after(bytes, at + 1 + index).map(|after| (number, after)),
            _ => return Err(Halt::Malformed),
        }
    }
    Err(Halt::Incomplete)
}

fn digits(bytes: &[u8]) -> Result<usize, Halt> {
    let Some(end) = memchr::memchr(b'\n', bytes) else {
        // A refusal that is still on its way must not be waited on for ever.
        let may_become_one = bytes.iter().all(|byte| byte.is_ascii_digit() || *byte == b'\r');
        return Err(if may_become_one { Halt::Incomplete } else { Halt::Malformed });
    };
    let is_number = end > 1 && bytes[..end - 1].iter().all(u8::is_ascii_digit);
    if is_number { Ok(end + 1) } else { Err(Halt::Malformed) }
}

fn first(bytes: &[u8], at: usize, kinds: &[u8]) -> Result<(), Halt> {
    match bytes.get(at) {
        None => Err(Halt::Incomplete),
        Some(kind) if kinds.contains(kind) => Ok(()),
        Some(_) => Err(Halt::Malformed),
    }
}

/// These very bytes; a shorter reply that differs already is wrong, or an error would be waited on for ever.
fn exact(line: &[u8], bytes: &[u8]) -> Result<usize, Halt> {
    agrees(bytes, line).map(|()| line.len())
}

fn agrees(bytes: &[u8], line: &[u8]) -> Result<(), Halt> {
    let seen = bytes.len().min(line.len());
    match () {
        () if bytes[..seen] != line[..seen] => Err(Halt::Malformed),
        () if seen < line.len() => Err(Halt::Incomplete),
        () => Ok(()),
    }
}
