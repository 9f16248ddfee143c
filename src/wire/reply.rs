//! The reply writer. Handlers say *what* they answer; how RESP2 and RESP3 spell it is decided here and nowhere else.

use std::ops::Range;

use bytes::Bytes;

use super::fault::Fault;
use super::output::{Mark, Output, Shared, Splice};
use crate::base::ascii::{I64_TEXT_MAX, format_i64, format_u64};
use crate::base::double;
use crate::types::rope::Rope;

/// How a connection wants its replies written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dialect {
    #[default]
    Resp2,
    Resp3,
}

/// A value of at least so many bytes is shared with the output instead of copied, if it can be: below, a copy is cheaper than
/// one more piece of a scattered send.
pub const SHARE_BYTES_MIN: usize = 16 << 10;

/// Writes the reply of one command into a connection's output.
pub struct Reply<'o> {
    out: &'o mut Output,
    dialect: Dialect,
}

impl<'o> Reply<'o> {
    pub fn new(out: &'o mut Output, dialect: Dialect) -> Self {
        Self { out, dialect }
    }

    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// HELLO answers in the dialect it has just chosen.
    pub fn set_dialect(&mut self, dialect: Dialect) {
        self.dialect = dialect;
    }

    /// For whoever runs a command inside another.
    pub fn output(&mut self) -> &mut Output {
        self.out
    }

    pub fn mark(&self) -> Mark {
        self.out.mark()
    }

    /// Takes back what was written since `mark`: the half reply of a handler that failed.
    pub fn truncate(&mut self, mark: Mark) {
        self.out.truncate(mark);
    }

    #[inline]
    pub fn ok(&mut self) {
        self.raw(b"+OK\r\n");
    }

    pub fn simple(&mut self, text: &str) {
        self.raw(b"+");
        self.raw(text.as_bytes());
        self.raw(b"\r\n");
    }

    #[inline]
    pub fn int(&mut self, value: i64) {
        let mut digits = [0; I64_TEXT_MAX];
        let text = format_i64(value, &mut digits);
        self.head(b':', text);
    }

    /// A count; every count of ours is far below `i64::MAX`.
    pub fn count(&mut self, value: usize) {
        self.int(i64::try_from(value).expect("a count of things in memory fits an i64"));
    }

    pub fn unsigned(&mut self, value: u64) {
        let mut digits = [0; I64_TEXT_MAX];
        let text = format_u64(value, &mut digits);
        self.head(b':', text);
    }

    #[inline]
    pub fn bulk(&mut self, value: &[u8]) {
        self.bulk_head(value.len());
        self.raw(value);
        self.raw(b"\r\n");
    }

    /// A bulk whose content comes in pieces, large ones shared: [`Self::bulk_head`], pieces, [`Self::bulk_end`].
    #[inline]
    pub fn bulk_head(&mut self, len: usize) {
        self.length(b'$', len);
    }

    pub fn bulk_piece(&mut self, piece: &[u8]) {
        self.raw(piece);
    }

    pub fn bulk_shared(&mut self, piece: Bytes) {
        if piece.len() < SHARE_BYTES_MIN {
            self.raw(&piece);
        } else {
            self.out.push_shared(Shared::Piece(piece));
        }
    }

    /// What another output has shared already.
    pub fn shared(&mut self, piece: Shared) {
        match piece {
            Shared::Piece(bytes) => self.bulk_shared(bytes),
            rope @ Shared::Rope(..) => self.out.push_shared(rope),
        }
    }

    /// A part of a rope, which lies inside it: shared as a whole, whatever its length.
    pub fn bulk_rope(&mut self, rope: &Rope, range: Range<usize>) {
        self.bulk_head(range.len());
        if range.len() < SHARE_BYTES_MIN {
            rope.read_into(range, &mut self.out.bytes);
        } else {
            self.out.push_shared(Shared::Rope(rope.clone(), range));
        }
        self.bulk_end();
    }

    pub fn bulk_end(&mut self) {
        self.raw(b"\r\n");
    }

    pub fn text(&mut self, value: &str) {
        self.bulk(value.as_bytes());
    }

    /// An integer as a bulk string, as CONFIG GET and GET on a number give it.
    pub fn bulk_int(&mut self, value: i64) {
        let mut digits = [0; I64_TEXT_MAX];
        let text = format_i64(value, &mut digits);
        self.bulk(text);
    }

    #[inline]
    pub fn double(&mut self, value: f64) {
        let mut digits = [0; double::TEXT_MAX];
        let text = double::write(value, &mut digits);
        match self.dialect {
            Dialect::Resp2 => self.bulk(text),
            Dialect::Resp3 => self.head(b',', text),
        }
    }

    #[inline]
    pub fn null(&mut self) {
        self.raw(match self.dialect {
            Dialect::Resp2 => b"$-1\r\n",
            Dialect::Resp3 => b"_\r\n",
        });
    }

    pub fn null_array(&mut self) {
        self.raw(match self.dialect {
            Dialect::Resp2 => b"*-1\r\n",
            Dialect::Resp3 => b"_\r\n",
        });
    }

    pub fn array(&mut self, len: usize) {
        self.length(b'*', len);
    }

    /// `pairs` keys, each followed by its value.
    pub fn map(&mut self, pairs: usize) {
        match self.dialect {
            Dialect::Resp2 => self.length(b'*', pairs * 2),
            Dialect::Resp3 => self.length(b'%', pairs),
        }
    }

    pub fn set(&mut self, len: usize) {
        self.length(if self.dialect == Dialect::Resp3 { b'~' } else { b'*' }, len);
    }

    pub fn boolean(&mut self, value: bool) {
        match (self.dialect, value) {
            (Dialect::Resp2, _) => self.int(i64::from(value)),
            (Dialect::Resp3, true) => self.raw(b"#t\r\n"),
            (Dialect::Resp3, false) => self.raw(b"#f\r\n"),
        }
    }

    /// `format` has three letters, such as `txt`.
    pub fn verbatim(&mut self, format: &str, value: &[u8]) {
        debug_assert_eq!(format.len(), 3);
        match self.dialect {
            Dialect::Resp2 => self.bulk(value),
            Dialect::Resp3 => {
                self.length(b'=', value.len() + 4);
                self.raw(format.as_bytes());
                self.raw(b":");
                self.raw(value);
                self.raw(b"\r\n");
            }
        }
    }

    pub fn error(&mut self, fault: &Fault) {
        let line = fault.line();
        debug_assert!(!line.contains(['\r', '\n']));
        self.head(b'-', line.as_bytes());
    }

    /// What was written elsewhere comes here; large pieces stay shared.
    pub fn append(&mut self, other: Output) {
        let mut from = 0;
        for splice in other.shared {
            self.raw(&other.bytes[from..splice.at]);
            from = splice.at;
            self.out.push_shared(splice.value);
        }
        self.raw(&other.bytes[from..]);
    }

    /// Copies a reply in that was written elsewhere.
    pub fn append_ref(&mut self, other: &Output) {
        other.copy_to(self.out);
    }

    /// Copies a part of a reply in: see [`Output::append_part`].
    pub fn append_part(&mut self, bytes: &[u8], splices: &[Splice], start: usize) {
        self.out.append_part(bytes, splices, start);
    }

    /// Lengths of one or two digits are written in one piece of fixed size.
    #[inline]
    fn length(&mut self, kind: u8, len: usize) {
        let digit = |value: usize| b"0123456789"[value % 10];
        let out = &mut self.out.bytes;
        if len < 10 {
            return out.extend_from_slice(&[kind, digit(len), b'\r', b'\n']);
        }
        if len < 100 {
            return out.extend_from_slice(&[kind, digit(len / 10), digit(len), b'\r', b'\n']);
        }
        let mut digits = [0; I64_TEXT_MAX];
        let text = format_u64(len as u64, &mut digits);
        self.head(kind, text);
    }

    #[inline]
    fn head(&mut self, kind: u8, text: &[u8]) {
        let out = &mut self.out.bytes;
        out.reserve(text.len() + 3);
        out.push(kind);
        out.extend_from_slice(text);
        out.extend_from_slice(b"\r\n");
    }

    #[inline]
    fn raw(&mut self, bytes: &[u8]) {
        self.out.bytes.extend_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(dialect: Dialect, say: impl FnOnce(&mut Reply<'_>)) -> String {
        let mut out = Output::default();
        say(&mut Reply::new(&mut out, dialect));
        String::from_utf8(out.to_vec()).expect("tests write text")
    }

    #[test]
    fn each_dialect_spells_each_kind() {
        type Say = fn(&mut Reply<'_>);
        let cases: &[(Say, &str, &str)] = &[
            (|r| r.ok(), "+OK\r\n", "+OK\r\n"),
            (|r| r.int(-7), ":-7\r\n", ":-7\r\n"),
            (|r| r.bulk(b"a\r\nb"), "$4\r\na\r\nb\r\n", "$4\r\na\r\nb\r\n"),
            (|r| r.bulk(b""), "$0\r\n\r\n", "$0\r\n\r\n"),
            (|r| r.double(0.5), "$3\r\n0.5\r\n", ",0.5\r\n"),
            (|r| r.double(f64::NEG_INFINITY), "$4\r\n-inf\r\n", ",-inf\r\n"),
            (|r| r.bulk_int(12), "$2\r\n12\r\n", "$2\r\n12\r\n"),
            (|r| r.null(), "$-1\r\n", "_\r\n"),
            (|r| r.null_array(), "*-1\r\n", "_\r\n"),
            (|r| r.array(2), "*2\r\n", "*2\r\n"),
            (|r| r.map(2), "*4\r\n", "%2\r\n"),
            (|r| r.set(2), "*2\r\n", "~2\r\n"),
            (|r| r.boolean(true), ":1\r\n", "#t\r\n"),
            (|r| r.verbatim("txt", b"hi"), "$2\r\nhi\r\n", "=6\r\ntxt:hi\r\n"),
            (|r| r.error(&Fault::Syntax), "-ERR syntax error\r\n", "-ERR syntax error\r\n"),
        ];
        for (say, resp2, resp3) in cases {
            assert_eq!(written(Dialect::Resp2, say), *resp2);
            assert_eq!(written(Dialect::Resp3, say), *resp3);
        }
    }

    #[test]
    fn a_large_piece_is_shared_and_goes_out_in_its_place() {
        let mut out = Output::default();
        let mut reply = Reply::new(&mut out, Dialect::Resp2);
        let large = Bytes::from(vec![b'x'; SHARE_BYTES_MIN]);
        reply.int(1);
        reply.bulk_head(large.len() + 1);
        reply.bulk_shared(large.clone());
        reply.bulk_piece(b"y");
        reply.bulk_end();
        let mark = reply.mark();
        reply.bulk_shared(large.clone());
        reply.truncate(mark);
        assert_eq!(out.shared.len(), 1);
        let expected = [format!(":1\r\n${}\r\n", large.len() + 1).as_bytes(), &large, b"y\r\n"].concat();
        assert_eq!(out.len(), expected.len());
        assert_eq!(out.to_vec(), expected);
    }
}
