//! Memcached's two text dialects: the classic one and the meta commands.
//!
//! | Redis's words | classic | meta |
//! |---|---|---|
//! | GET k, MGET k k | `get k k` | `mg k v` for each |
//! | SET k v [EX t], SETEX k t v | `set k 0 t len` | `ms k len [Tt]` |
//! | DEL k | `delete k` | `md k` |
//! | INCR k | `incr k 1` | `ma k v` |
//! | EXPIRE k t | `touch k t` | `mg k Tt` |
//! | GETEX k EX t | `gat t k` | `mg k v Tt` |
//! | PING | `version` | `mn` |

use super::expect::Reply;
use super::piece::{Form, KeyIndex, Piece, Pieces};
use super::resp::Halt;
use crate::workload::words::{Operation, Spell};

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flavour {
    Classic,
    Meta,
}

/// The request, and its reply where that differs from what the definition expects of Redis.
pub(crate) fn request(operation: &Operation, spell: &Spell<'_>, flavour: Flavour) -> (Vec<Piece>, Option<Reply>) {
    let mut pieces = Pieces::default();
    let reply = match flavour {
        Flavour::Classic => classic(&mut pieces, operation, spell),
        Flavour::Meta => meta(&mut pieces, operation, spell),
    };
    (pieces.finish(), reply)
}

fn classic(pieces: &mut Pieces, operation: &Operation, spell: &Spell<'_>) -> Option<Reply> {
    let shape = spell.key_shape();
    match *operation {
        Operation::Get { keys } => {
            pieces.text(b"get");
            for key in 0..keys {
                pieces.text(b" ").key(KeyIndex(key), &shape);
            }
            pieces.text(b"\r\n");
            None
        }
        Operation::Set { expires } => {
            pieces.text(b"set ").key(KeyIndex(0), &shape).text(b" 0 ");
            if expires {
                pieces.push(Piece::Ttl(Form::Plain))
            } else {
                pieces.text(b"0")
            };
            value(pieces.text(b" "), spell, b"\r\n");
            Some(Reply::exact("STORED"))
        }
        Operation::SetZero => {
            pieces.text(b"set ").key(KeyIndex(0), &shape).text(b" 0 0 1\r\n0\r\n");
            Some(Reply::exact("STORED"))
        }
        Operation::Delete => {
            pieces.text(b"delete ").key(KeyIndex(0), &shape).text(b"\r\n");
            Some(Reply::Any)
        }
        Operation::Increment => {
            pieces.text(b"incr ").key(KeyIndex(0), &shape).text(b" 1\r\n");
            Some(Reply::Integer)
        }
        Operation::Touch => {
            pieces.text(b"touch ").key(KeyIndex(0), &shape).text(b" ").push(Piece::Ttl(Form::Plain)).text(b"\r\n");
            Some(Reply::Any)
        }
        Operation::GetAndTouch => {
            pieces.text(b"gat ").push(Piece::Ttl(Form::Plain)).text(b" ").key(KeyIndex(0), &shape).text(b"\r\n");
            None
        }
        Operation::Ping => {
            pieces.text(b"version\r\n");
            Some(Reply::Any)
        }
    }
}

fn meta(pieces: &mut Pieces, operation: &Operation, spell: &Spell<'_>) -> Option<Reply> {
    let shape = spell.key_shape();
    match *operation {
        Operation::Get { keys } => {
            for key in 0..keys {
                pieces.text(b"mg ").key(KeyIndex(key), &shape).text(b" v\r\n");
            }
            None
        }
        Operation::Set { expires } => {
            pieces.text(b"ms ").key(KeyIndex(0), &shape).text(b" ");
            if expires {
                // The lifetime stands behind the length here.
                length(pieces, spell);
                pieces.text(b" T").push(Piece::Ttl(Form::Plain)).text(b"\r\n");
                data(pieces, spell);
            } else {
                value(pieces, spell, b"\r\n");
            }
            Some(Reply::exact("HD"))
        }
        Operation::SetZero => {
            pieces.text(b"ms ").key(KeyIndex(0), &shape).text(b" 1\r\n0\r\n");
            Some(Reply::exact("HD"))
        }
        Operation::Delete => {
            pieces.text(b"md ").key(KeyIndex(0), &shape).text(b"\r\n");
            Some(Reply::Any)
        }
        Operation::Increment => {
            pieces.text(b"ma ").key(KeyIndex(0), &shape).text(b" v\r\n");
            Some(Reply::Integer)
        }
        Operation::Touch => {
            pieces.text(b"mg ").key(KeyIndex(0), &shape).text(b" T").push(Piece::Ttl(Form::Plain)).text(b"\r\n");
            Some(Reply::Any)
        }
        Operation::GetAndTouch => {
            pieces.text(b"mg ").key(KeyIndex(0), &shape).text(b" v T").push(Piece::Ttl(Form::Plain)).text(b"\r\n");
            None
        }
        Operation::Ping => {
            pieces.text(b"mn\r\n");
            Some(Reply::exact("MN"))
        }
    }
}

/// `length`, what ends its line, and the data block.
fn value(pieces: &mut Pieces, spell: &Spell<'_>, line_end: &[u8]) {
    length(pieces, spell);
    pieces.text(line_end);
    data(pieces, spell);
}

fn length(pieces: &mut Pieces, spell: &Spell<'_>) {
    match spell.sizes.the_only_one() {
        Some(len) => pieces.text(len.to_string().as_bytes()),
        None => pieces.push(Piece::ValueLength(KeyIndex(0))),
    };
}

fn data(pieces: &mut Pieces, spell: &Spell<'_>) {
    match spell.sizes.the_only_one() {
        Some(len) => pieces.fixed_value(KeyIndex(0), len as usize),
        None => pieces.push(Piece::Value(KeyIndex(0))),
    };
    pieces.text(b"\r\n");
}

/// Where one reply ends, whatever it is: classic retrievals and statistics end with END, meta values carry a length.
pub(crate) fn reply_end(bytes: &[u8], start: usize) -> Result<usize, Halt> {
    let mut at = start;
    loop {
        let rest = bytes.get(at..).ok_or(Halt::Incomplete)?;
        let line_len = memchr::memchr(b'\n', rest).ok_or(Halt::Incomplete)?;
        let line = &rest[..line_len];
        let after = at + line_len + 1;
        if line.starts_with(b"VALUE ") {
            at = after + length_word(line, 3)? + 2;
        } else if line.starts_with(b"VA ") {
            let end = after + length_word(line, 1)? + 2;
            return if end <= bytes.len() { Ok(end) } else { Err(Halt::Incomplete) };
        } else if line.starts_with(b"STAT ") {
            at = after;
        } else {
            return Ok(after);
        }
    }
}

/// The number that is the `index`-th word of a line.
pub(crate) fn length_word(line: &[u8], index: usize) -> Result<usize, Halt> {
    let text = std::str::from_utf8(line).map_err(|_| Halt::Malformed)?;
    text.split_whitespace().nth(index).and_then(|word| word.parse().ok()).ok_or(Halt::Malformed)
}
