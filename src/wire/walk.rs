//! Reads replies that were written here: the elements of an array, a number, a text. For whoever makes one reply of several.
//!
//! ```text
//!  bytes   *2\r\n $5\r\nhello\r\n $70000\r\n | \r\n           shared: [{ at, 70,000 bytes }]
//!                 [  element 0  ][   element 1, its payload by reference  ]
//! ```
//!
//! The replies are our own handlers', so that what breaks their grammar is a bug and panics. Heads stand in the bytes of an output, never
//! in what is shared; only `rest` also passes on arrays whose elements lie in shared pieces as a whole.

use std::ops::Range;

use super::output::{Output, Splice};
use super::reply::Reply;
use crate::base::ascii::parse_i64;

/// One value of a reply.
#[derive(Clone, Debug)]
pub struct Element<'o> {
    output: &'o Output,
    bytes: Range<usize>,
    splices: Range<usize>,
}

impl<'o> Element<'o> {
    fn head(&self) -> &'o [u8] {
        &self.output.bytes[self.bytes.clone()]
    }

    /// Null in either dialect.
    pub fn is_null(&self) -> bool {
        matches!(self.head(), b"_\r\n" | b"$-1\r\n" | b"*-1\r\n")
    }

    pub fn integer(&self) -> Option<i64> {
        let [b':', digits @ .., b'\r', b'\n'] = self.head() else { return None };
        parse_i64(digits)
    }

    /// The content of a bulk of which nothing is shared.
    pub fn text(&self) -> &'o [u8] {
        let (_, from) = line(self.head(), 0);
        &self.head()[from..self.head().len() - 2]
    }

    /// Those of an array.
    pub fn elements(&self) -> Walk<'o> {
        let (len, at) = line(&self.output.bytes, self.bytes.start);
        let left = usize::try_from(parse_i64(len).unwrap_or(0)).unwrap_or(0);
        Walk { output: self.output, at, splice: self.splices.start, left }
    }

    /// Writes it into another reply, large values by reference.
    pub fn copy_to(&self, reply: &mut Reply<'_>) {
        let splices: &[Splice] = &self.output.shared[self.splices.clone()];
        reply.append_part(self.head(), splices, self.bytes.start);
    }
}

/// The elements of an array, one after the other.
#[derive(Debug)]
pub struct Walk<'o> {
    output: &'o Output,
    at: usize,
    splice: usize,
    left: usize,
}

impl<'o> Walk<'o> {
    /// # Panics
    /// If the reply is no array.
    pub fn into_array(output: &'o Output) -> Self {
        let (len, at) = line(&output.bytes, 0);
        assert!(matches!(output.bytes.first(), Some(b'*' | b'~')), "only arrays have elements");
        Self { output, at, splice: 0, left: usize::try_from(parse_i64(len).unwrap_or(0)).unwrap_or(0) }
    }

    /// Elements that have not been read.
    pub fn len(&self) -> usize {
        self.left
    }

    pub fn is_empty(&self) -> bool {
        self.left == 0
    }

    /// All elements that have not been read, as one piece.
    pub fn rest(self) -> Element<'o> {
        Element {
            output: self.output,
            bytes: self.at..self.output.bytes.len(),
            splices: self.splice..self.output.shared.len(),
        }
    }

    /// Goes over one value, and over those inside it.
    fn skip(&mut self) {
        let bytes = &self.output.bytes;
        let kind = bytes[self.at];
        let (head, next) = line(bytes, self.at);
        self.at = next;
        let count = || usize::try_from(parse_i64(head).expect("a length of ours is a number"));
        match (kind, count) {
            (b'$' | b'=', count) => {
                if let Ok(len) = count() {
                    self.skip_payload(len);
                }
            }
            (b'*' | b'~' | b'>', count) => (0..count().unwrap_or(0)).for_each(|_| self.skip()),
            (b'%', count) => (0..2 * count().unwrap_or(0)).for_each(|_| self.skip()),
            _ => {}
        }
    }

    /// Goes over a bulk's content, some of which may be shared, and its line end.
    fn skip_payload(&mut self, len: usize) {
        let mut left = len;
        while left > 0 {
            match self.output.shared.get(self.splice) {
                Some(splice) if splice.at == self.at => {
                    left -= splice.value.len();
                    self.splice += 1;
                }
                Some(splice) if splice.at < self.at + left => {
                    left -= splice.at - self.at;
                    self.at = splice.at;
                }
                _ => {
                    self.at += left;
                    left = 0;
                }
            }
        }
        self.at += 2;
    }
}

impl<'o> Iterator for Walk<'o> {
    type Item = Element<'o>;

    fn next(&mut self) -> Option<Element<'o>> {
        self.left = self.left.checked_sub(1)?;
        let (at, splice) = (self.at, self.splice);
        self.skip();
        Some(Element { output: self.output, bytes: at..self.at, splices: splice..self.splice })
    }
}

/// What stands behind the kind in the line at `at`, and where the next one begins.
fn line(bytes: &[u8], at: usize) -> (&[u8], usize) {
    let end = memchr::memchr(b'\r', &bytes[at..]).expect("every line of ours ends");
    (&bytes[at + 1..at + end], at + end + 2)
}

/// The number a reply is.
pub fn integer(output: &Output) -> Option<i64> {
    let bytes = 0..output.bytes.len();
    Element { output, bytes, splices: 0..0 }.integer()
}

/// Whether a reply is null.
pub fn is_null(output: &Output) -> bool {
    let bytes = 0..output.bytes.len();
    Element { output, bytes, splices: 0..0 }.is_null()
}

/// The content of a bulk or verbatim text.
pub fn text(output: &Output) -> Vec<u8> {
    let flat = output.to_vec();
    let (_, from) = line(&flat, 0);
    let from = from + if flat.first() == Some(&b'=') { "txt:".len() } else { 0 };
    flat[from..flat.len() - 2].to_vec()
}

/// Whether a reply is an array.
pub fn is_array(output: &Output) -> bool {
    output.bytes.first() == Some(&b'*')
}

/// Whether a reply is an error.
pub fn is_error(output: &Output) -> bool {
    output.bytes.first() == Some(&b'-')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::reply::{Dialect, SHARE_BYTES_MIN};
    use bytes::Bytes;

    #[test]
    fn elements_are_told_apart_whatever_they_are() {
        for dialect in [Dialect::Resp2, Dialect::Resp3] {
            let mut out = Output::default();
            let mut reply = Reply::new(&mut out, dialect);
            let large = Bytes::from(vec![b'x'; SHARE_BYTES_MIN]);
            reply.array(7);
            reply.bulk(b"a\r\n$1");
            reply.null();
            reply.bulk_head(2 * large.len() + 3);
            reply.bulk_shared(large.clone());
            reply.bulk_piece(b"mid");
            reply.bulk_shared(large.clone());
            reply.bulk_end();
            reply.map(1);
            reply.int(-5);
            reply.array(2);
            reply.bulk(b"");
            reply.simple("in");
            reply.bulk_head(large.len());
            reply.bulk_shared(large);
            reply.bulk_end();
            reply.int(42);
            reply.boolean(true);
            let walk = Walk::into_array(&out);
            assert_eq!(walk.len(), 7);
            let elements: Vec<Element<'_>> = walk.collect();
            assert_eq!(elements.len(), 7);
            assert!(elements[1].is_null() && !elements[0].is_null());
            assert_eq!(elements[5].integer(), Some(42));
            let mut again = Output::default();
            let mut reply = Reply::new(&mut again, dialect);
            reply.array(7);
            elements.iter().for_each(|element| element.copy_to(&mut reply));
            assert_eq!(again.to_vec(), out.to_vec());
            assert_eq!(again.shared.len(), 3);
        }
    }
}
