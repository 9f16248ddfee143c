//! The request side of RESP: multibulk and inline requests, parsed where they lie.
//!
//! ```text
//!  bytes   ...*2\r\n$3\r\nGET\r\n$1\r\nk\r\n*1\r\n$4\r\nPI
//!             ^ start        ^^^        ^   ^ the next request: Incomplete, its state kept for the rest
//!  spans   appended           0          1
//! ```
//!
//! The parser never copies an argument: it appends where each one stands. What is known of an incomplete request is kept, so
//! that a value arriving in ten thousand pieces is looked at once, not ten thousand times. As in Redis, line ends are found by
//! their `\r`, the byte after it and the two bytes after an argument are skipped unseen, and `*0` and empty lines are nothing.
//! Inline requests are rare and may hold quotes, so they alone are copied. A NUL hides the end of its line, as from Redis's C string: such a
//! line never ends, until it is too long.

use super::request::{Request, Span};
use crate::base::ascii::parse_i64;
use crate::base::limits;

/// What a connection may send now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Most arguments of a request.
    pub args_max: usize,
    /// Longest argument in bytes.
    pub bulk_bytes_max: usize,
    /// Before AUTH the limits are tight, and exceeding them has words of its own.
    pub trusted: bool,
}

impl Bounds {
    pub const UNAUTHENTICATED: Self = Self {
        args_max: limits::UNAUTHENTICATED_ARGS_MAX,
        bulk_bytes_max: limits::UNAUTHENTICATED_BULK_BYTES_MAX,
        trusted: false,
    };

    pub const fn authenticated(bulk_bytes_max: usize) -> Self {
        Self { args_max: limits::ARGS_MAX, bulk_bytes_max, trusted: true }
    }
}

/// One step of the parser; `end` is where in the bytes the next request begins.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// The spans of a request were appended.
    Request { end: usize },
    /// An inline request, which owns its bytes.
    Inline { request: Request, end: usize },
    /// Bytes that ask for nothing: an empty line, `*0`, `*-1`.
    Nothing { end: usize },
    /// More bytes are needed. Nothing stays appended.
    Incomplete,
    /// The connection speaks no RESP: answer with this and close.
    Broken(ProtocolFault),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProtocolFault {
    BigInline,
    BigCount,
    BigBulkCount,
    BadCount,
    UntrustedCount,
    BadBulk,
    UntrustedBulk,
    UnbalancedQuotes,
    /// Another byte stood where a `$` must.
    NoDollar(u8),
}

impl ProtocolFault {
    /// The error line without `-` and line end.
    pub fn line(self) -> String {
        let what = match self {
            Self::BigInline => "too big inline request",
            Self::BigCount => "too big mbulk count string",
            Self::BigBulkCount => "too big bulk count string",
            Self::BadCount => "invalid multibulk length",
            Self::UntrustedCount => "unauthenticated multibulk length",
            Self::BadBulk => "invalid bulk length",
            Self::UntrustedBulk => "unauthenticated bulk length",
            Self::UnbalancedQuotes => "unbalanced quotes in request",
            Self::NoDollar(byte) => {
                let shown = if matches!(byte, b'\r' | b'\n') { ' ' } else { char::from(byte) };
                return format!("ERR Protocol error: expected '$', got '{shown}'");
            }
        };
        format!("ERR Protocol error: {what}")
    }
}

/// A word of which only the header is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Awaited {
    /// Where its content begins, relative to the request.
    pub at: usize,
    pub len: usize,
    /// Its number among the words.
    pub word: usize,
}

/// Words of a request for which no room is made in advance, and for how many it is at most: eight megabytes.
const KEPT_UNASKED: usize = 1024;
const KEPT_AHEAD_MAX: usize = 1 << 20;

/// What is known of the request at the head of a connection's input.
#[derive(Debug, Default)]
pub struct Parser {
    /// Bytes of this request already understood (or, for an inline one, already searched).
    at: usize,
    /// Arguments still to come; 0 while the header is unread.
    args_left: usize,
    /// Length of the argument whose header was read.
    bulk: Option<usize>,
    /// Spans found so far, relative to the request's start; empty unless a request is incomplete.
    kept: Vec<Span>,
}

impl Parser {
    /// Whether part of a request has been understood and is remembered.
    pub fn is_resuming(&self) -> bool {
        self.at > 0
    }

    /// How many bytes of the incomplete request at `start` must be there before another step can succeed, or, of one of many words, will
    /// be there in the end if they are as long as those so far; a hint for reserving.
    pub fn wanted(&self) -> usize {
        let known = self.kept.len();
        let rest = if known > KEPT_UNASKED { (self.at / known).saturating_mul(self.args_left) } else { 0 };
        (self.at + self.bulk.map_or(0, |len| len + 2)).saturating_add(rest)
    }

    /// The word that is still incomplete though its header was read.
    pub fn awaited(&self) -> Option<Awaited> {
        self.bulk.map(|len| Awaited { at: self.at, len, word: self.kept.len() })
    }

    /// Parses the request that starts at `bytes[start]`, appending its spans, relative to `bytes`.
    #[inline]
    pub fn next(&mut self, bytes: &[u8], start: usize, spans: &mut Vec<Span>, bounds: &Bounds) -> Step {
        if self.at == 0
            && let Some(end) = whole_request(bytes, start, spans, bounds)
        {
            return Step::Request { end };
        }
        self.next_piecewise(bytes, start, spans, bounds)
    }

    /// Any request, from what is known of it.
    fn next_piecewise(&mut self, bytes: &[u8], start: usize, spans: &mut Vec<Span>, bounds: &Bounds) -> Step {
        let mut at = start + self.at;
        if self.args_left == 0 {
            match bytes.get(start) {
                None => return Step::Incomplete,
                Some(b'*') => {}
                Some(_) => return self.inline(bytes, start),
            }
            match line_number(bytes, start + 1) {
                Line::Number(count, end) => {
                    if count <= 0 {
                        return Step::Nothing { end };
                    }
                    let count = usize::try_from(count).unwrap_or(usize::MAX);
                    if count > bounds.args_max {
                        return Step::Broken(pick(bounds, ProtocolFault::BadCount, ProtocolFault::UntrustedCount));
                    }
                    self.args_left = count;
                    at = end;
                }
                Line::Partial => return Step::Incomplete,
                Line::TooLong => return Step::Broken(ProtocolFault::BigCount),
                Line::Bad => return Step::Broken(ProtocolFault::BadCount),
            }
        }
        // Its first words may have come earlier: they are touched again only when it is whole, however many there are.
        let first = spans.len();
        while self.args_left > 0 {
            let len = match self.bulk {
                Some(len) => len,
                None => match bulk_header(bytes, at, bounds) {
                    Ok(Some((len, end))) => {
                        at = end;
                        len
                    }
                    Ok(None) => return self.suspend(start, at, None, first, spans),
                    Err(fault) => return Step::Broken(fault),
                },
            };
            if bytes.len() - at < len + 2 {
                return self.suspend(start, at, Some(len), first, spans);
            }
            spans.push(span(at, len));
            self.bulk = None;
            self.args_left -= 1;
            at += len + 2;
        }
        self.at = 0;
        self.restore(start, first, spans);
        Step::Request { end: at }
    }

    /// Puts the words that were kept before those just found.
    #[inline]
    fn restore(&mut self, start: usize, first: usize, spans: &mut Vec<Span>) {
        if self.kept.is_empty() {
            return;
        }
        // Nothing but pointers moves where it is the first request, as one of very many words is.
        if first == 0 && start == 0 {
            self.kept.append(spans);
            return std::mem::swap(&mut self.kept, spans);
        }
        let kept = self.kept.drain(..).map(|kept| span(start + kept.start as usize, kept.len as usize));
        spans.splice(first..first, kept);
    }

    #[cold]
    fn suspend(&mut self, start: usize, at: usize, bulk: Option<usize>, first: usize, spans: &mut Vec<Span>) -> Step {
        self.at = at - start;
        self.bulk = bulk;
        // Untouched room costs nothing, and growing step by step would copy what is there again and again.
        if self.args_left > KEPT_UNASKED {
            self.kept.reserve_exact((spans.len() - first + self.args_left).min(KEPT_AHEAD_MAX));
        }
        self.kept.extend(spans.drain(first..).map(|found| span(found.start as usize - start, found.len as usize)));
        Step::Incomplete
    }

    #[cold]
    fn inline(&mut self, bytes: &[u8], start: usize) -> Step {
        let searched = start + self.at;
        let unsearched = bytes.get(searched..).unwrap_or_default();
        let newline = memchr::memchr2(b'\n', 0, unsearched);
        let Some(newline) = newline.filter(|at| unsearched.get(*at) == Some(&b'\n')) else {
            if bytes.len() - start > limits::INLINE_BYTES_MAX {
                return Step::Broken(ProtocolFault::BigInline);
            }
            self.at = newline.map_or(bytes.len() - start, |nul| searched + nul - start);
            return Step::Incomplete;
        };
        self.at = 0;
        let line = &bytes[start..searched + newline];
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let end = searched + newline + 1;
        match split_words(line) {
            None => Step::Broken(ProtocolFault::UnbalancedQuotes),
            Some(request) if request.args().is_empty() => Step::Nothing { end },
            Some(request) => Step::Inline { request, end },
        }
    }
}

/// Splits a line into words as Redis's `sdssplitargs`: blanks between, `"..."` with escapes, `'...'` with `\'`. `None` when a
/// quote is left open or is followed by something other than a blank.
pub fn split_words(line: &[u8]) -> Option<Request> {
    let mut request = Request::default();
    let mut rest = line;
    let mut word = Vec::new();
    loop {
        let blanks = rest.iter().take_while(|byte| is_blank(**byte)).count();
        rest = &rest[blanks..];
        if rest.is_empty() {
            return Some(request);
        }
        word.clear();
        rest = word_end(rest, &mut word)?;
        request.push(&word);
    }
}

/// Reads one word into `word`; what follows it.
fn word_end<'a>(mut rest: &'a [u8], word: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        match *rest {
            [] => return Some(rest),
            [byte, ..] if is_blank(byte) => return Some(rest),
            [b'"', ref tail @ ..] => return blank_follows(double_quoted(tail, word)?),
            [b'\'', ref tail @ ..] => return blank_follows(single_quoted(tail, word)?),
            [byte, ref tail @ ..] => {
                word.push(byte);
                rest = tail;
            }
        }
    }
}

fn blank_follows(rest: &[u8]) -> Option<&[u8]> {
    rest.first().is_none_or(|byte| is_blank(*byte)).then_some(rest)
}

fn double_quoted<'a>(mut rest: &'a [u8], word: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        match *rest {
            [] => return None,
            [b'"', ref tail @ ..] => return Some(tail),
            [b'\\', b'x', high, low, ref tail @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                word.push(hex(high) << 4 | hex(low));
                rest = tail;
            }
            [b'\\', escaped, ref tail @ ..] => {
                word.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 0x08,
                    b'a' => 0x07,
                    other => other,
                });
                rest = tail;
            }
            [byte, ref tail @ ..] => {
                word.push(byte);
                rest = tail;
            }
        }
    }
}

fn single_quoted<'a>(mut rest: &'a [u8], word: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        match *rest {
            [] => return None,
            [b'\'', ref tail @ ..] => return Some(tail),
            [b'\\', b'\'', ref tail @ ..] => {
                word.push(b'\'');
                rest = tail;
            }
            [byte, ref tail @ ..] => {
                word.push(byte);
                rest = tail;
            }
        }
    }
}

/// C's `isspace`.
fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\n' | b'\r' | b'\t' | 0x0b | 0x0c)
}

fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => digit - b'A' + 10,
    }
}

/// The end of the request at `start` if all of it is there and nothing is wrong with it; its spans are then appended. Nearly every request
/// is parsed by this loop, which keeps no state and so has none to write back.
#[inline]
fn whole_request(bytes: &[u8], start: usize, spans: &mut Vec<Span>, bounds: &Bounds) -> Option<usize> {
    let first = spans.len();
    let end = append_whole(bytes, start, spans, bounds);
    if end.is_none() {
        spans.truncate(first);
    }
    end
}

#[inline]
fn append_whole(bytes: &[u8], start: usize, spans: &mut Vec<Span>, bounds: &Bounds) -> Option<usize> {
    let (count, mut at) = short_header(bytes, start, b'*')?;
    if count > bounds.args_max || bytes.len() > u32::MAX as usize {
        return None;
    }
    for _ in 0..count {
        let (len, from) = short_header(bytes, at, b'$')?;
        at = from + len + 2;
        if at > bytes.len() || len > bounds.bulk_bytes_max {
            return None;
        }
        #[expect(
            clippy::cast_possible_truncation,
            reason = "both lie within `bytes`, which is no longer than a u32 counts"
        )]
        spans.push(Span { start: from as u32, len: len as u32 });
    }
    Some(at)
}

/// Reads `kind`, one to three digits of a number above zero and a line end at `at`: the number, and where the next line begins.
#[inline]
fn short_header(bytes: &[u8], at: usize, kind: u8) -> Option<(usize, usize)> {
    let digit = |byte: u8| usize::from(byte - b'0');
    match *bytes.get(at..)? {
        [head, a @ b'1'..=b'9', b'\r', _, ..] if head == kind => Some((digit(a), at + 4)),
        [head, a @ b'1'..=b'9', b @ b'0'..=b'9', b'\r', _, ..] if head == kind => {
            Some((digit(a) * 10 + digit(b), at + 5))
        }
        [head, a @ b'1'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', b'\r', _, ..] if head == kind => {
            Some((digit(a) * 100 + digit(b) * 10 + digit(c), at + 6))
        }
        _ => None,
    }
}

enum Line {
    /// The number and where the next line begins.
    Number(i64, usize),
    Partial,
    TooLong,
    Bad,
}

/// Reads `digits\r\n` at `at`. A positive number of up to ten digits takes one pass over them.
#[inline]
fn line_number(bytes: &[u8], at: usize) -> Line {
    let rest = bytes.get(at..).unwrap_or_default();
    if let [first @ b'1'..=b'9', tail @ ..] = rest {
        let mut value = i64::from(first - b'0');
        for (i, &byte) in tail.iter().take(9).enumerate() {
            let digit = byte.wrapping_sub(b'0');
            if digit > 9 {
                if byte == b'\r' && i + 1 < tail.len() {
                    return Line::Number(value, at + i + 3);
                }
                break;
            }
            value = value * 10 + i64::from(digit);
        }
    }
    line_number_slow(rest, at)
}

#[cold]
fn line_number_slow(rest: &[u8], at: usize) -> Line {
    let window = &rest[..rest.len().min(limits::INLINE_BYTES_MAX)];
    let Some(len) = memchr::memchr(b'\r', window) else {
        return if rest.len() > limits::INLINE_BYTES_MAX { Line::TooLong } else { Line::Partial };
    };
    if len + 1 >= rest.len() {
        return Line::Partial;
    }
    parse_i64(&rest[..len]).map_or(Line::Bad, |value| Line::Number(value, at + len + 2))
}

/// Reads `$len\r\n` at `at`: the length and where the argument begins; `None` when more bytes are needed.
#[inline]
fn bulk_header(bytes: &[u8], at: usize, bounds: &Bounds) -> Result<Option<(usize, usize)>, ProtocolFault> {
    match bytes.get(at) {
        Some(b'$') => {}
        None => return Ok(None),
        Some(&byte) => {
            // Redis judges the byte only once it has a whole line.
            return match line_number(bytes, at) {
                Line::Partial => Ok(None),
                Line::TooLong => Err(ProtocolFault::BigBulkCount),
                _ => Err(ProtocolFault::NoDollar(byte)),
            };
        }
    }
    match line_number(bytes, at + 1) {
        Line::Number(len, end) => match usize::try_from(len) {
            Ok(len) if len <= bounds.bulk_bytes_max => Ok(Some((len, end))),
            Ok(len) if len <= limits::BULK_BYTES_MAX && !bounds.trusted => Err(ProtocolFault::UntrustedBulk),
            _ => Err(ProtocolFault::BadBulk),
        },
        Line::Partial => Ok(None),
        Line::TooLong => Err(ProtocolFault::BigBulkCount),
        Line::Bad => Err(ProtocolFault::BadBulk),
    }
}

fn pick(bounds: &Bounds, trusted: ProtocolFault, untrusted: ProtocolFault) -> ProtocolFault {
    if bounds.trusted { trusted } else { untrusted }
}

#[inline]
fn span(start: usize, len: usize) -> Span {
    let narrow = |value: usize| u32::try_from(value).expect("a connection's input is bounded below 4 GiB");
    Span { start: narrow(start), len: narrow(len) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::request::Args;

    const BOUNDS: Bounds = Bounds::authenticated(limits::BULK_BYTES_MAX);

    /// Feeds `pieces` one after the other; the requests found, and the fault that ended the connection.
    fn parse(pieces: &[&[u8]], bounds: &Bounds) -> (Vec<Vec<Vec<u8>>>, Option<ProtocolFault>) {
        let (mut parser, mut input, mut found) = (Parser::default(), Vec::new(), Vec::new());
        let mut start = 0;
        for piece in pieces {
            input.extend_from_slice(piece);
            loop {
                let mut spans = Vec::new();
                let owned = |args: Args<'_>| args.iter().map(<[u8]>::to_vec).collect();
                start = match parser.next(&input, start, &mut spans, bounds) {
                    Step::Request { end } => {
                        found.push(owned(Args::new(&input, &spans)));
                        end
                    }
                    Step::Inline { request, end } => {
                        found.push(owned(request.args()));
                        end
                    }
                    Step::Nothing { end } => end,
                    Step::Incomplete => {
                        assert!(spans.is_empty());
                        break;
                    }
                    Step::Broken(fault) => return (found, Some(fault)),
                };
            }
        }
        (found, None)
    }

    fn words(text: &str) -> Vec<Vec<u8>> {
        text.split(' ').map(|word| word.as_bytes().to_vec()).collect()
    }

    #[test]
    fn every_split_of_a_stream_gives_the_same_requests() {
        let stream = b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\nPING\r\n*0\r\n\r\n*3\r\n$3\r\nSET\r\n$0\r\n\r\n$12\r\nab\r\n$5\r\n\r\n*1\r\nx\r\n*1\r\n$4\r\nLAST\r\n";
        let whole = parse(&[stream], &BOUNDS);
        assert_eq!(whole.0.len(), 5);
        assert_eq!(whole.1, None);
        assert_eq!(whole.0[2][2], b"ab\r\n$5\r\n\r\n*1");
        for first in 0..=stream.len() {
            for second in first..=stream.len() {
                let pieces = [&stream[..first], &stream[first..second], &stream[second..]];
                assert_eq!(parse(&pieces, &BOUNDS), whole, "split at {first} and {second}");
            }
        }
        let single: Vec<&[u8]> = stream.chunks(1).collect();
        assert_eq!(parse(&single, &BOUNDS), whole);
    }

    #[test]
    fn protocol_faults_are_those_of_redis() {
        let long = [b'1'; 70_000];
        let open = Bounds::UNAUTHENTICATED;
        let cases: &[(&[u8], &Bounds, ProtocolFault)] = &[
            (b"*a\r\n", &BOUNDS, ProtocolFault::BadCount),
            (b"*99999999999\r\n", &BOUNDS, ProtocolFault::BadCount),
            (b"*01\r\n", &BOUNDS, ProtocolFault::BadCount),
            (b"*11\r\n", &open, ProtocolFault::UntrustedCount),
            (b"*1\r\n$16385\r\n", &open, ProtocolFault::UntrustedBulk),
            (b"*1\r\n$-1\r\n", &BOUNDS, ProtocolFault::BadBulk),
            (b"*1\r\n$x\r\n", &BOUNDS, ProtocolFault::BadBulk),
            (b"*1\r\n$536870913\r\n", &BOUNDS, ProtocolFault::BadBulk),
            (b"*1\r\n$99999999999999999999\r\n", &BOUNDS, ProtocolFault::BadBulk),
            (b"*1\r\n:5\r\n", &BOUNDS, ProtocolFault::NoDollar(b':')),
            (b"SET \"a\r\n", &BOUNDS, ProtocolFault::UnbalancedQuotes),
            (b"SET 'a'b\r\n", &BOUNDS, ProtocolFault::UnbalancedQuotes),
            (&long, &BOUNDS, ProtocolFault::BigInline),
        ];
        for (bytes, bounds, fault) in cases {
            assert_eq!(
                parse(&[bytes], bounds).1,
                Some(*fault),
                "{:?}",
                String::from_utf8_lossy(&bytes[..bytes.len().min(40)])
            );
        }
        assert_eq!(parse(&[&[b"*", &long[..]].concat()], &BOUNDS).1, Some(ProtocolFault::BigCount));
        assert_eq!(parse(&[&[b"*1\r\n$", &long[..]].concat()], &BOUNDS).1, Some(ProtocolFault::BigBulkCount));
        assert_eq!(parse(&[b"*2147483648\r\n"], &BOUNDS).1, Some(ProtocolFault::BadCount));
        assert_eq!(parse(&[b"*2147483647\r\n"], &BOUNDS), (vec![], None));
    }

    /// A line is too long while its end has not come; where that is in the same piece, it may be longer. A NUL hides the end.
    #[test]
    fn inline_lines_end_as_in_redis() {
        let long = [&b"PING "[..], &[b'x'; 70_000], b"\r\n"].concat();
        assert_eq!(parse(&[&long], &BOUNDS).0.len(), 1);
        assert_eq!(parse(&[&long[..66_000], &long[66_000..]], &BOUNDS).1, Some(ProtocolFault::BigInline));
        assert_eq!(parse(&[b"PI\0NG\r\n", b"PING\r\n"], &BOUNDS), (vec![], None));
        assert_eq!(parse(&[b"PI\0NG\r\n", &long], &BOUNDS), (vec![], Some(ProtocolFault::BigInline)));
    }

    /// Once, each piece that came touched all words that had come before.
    #[test]
    fn many_words_in_many_pieces_are_touched_once() {
        const WORDS: usize = 1 << 21;
        let bytes = [format!("*{WORDS}\r\n").into_bytes(), b"$1\r\nx\r\n".repeat(WORDS)].concat();
        let (mut parser, mut spans) = (Parser::default(), Vec::new());
        for end in (1000..bytes.len()).step_by(1000) {
            assert_eq!(parser.next(&bytes[..end], 0, &mut spans, &BOUNDS), Step::Incomplete);
            assert!(spans.is_empty());
        }
        assert_eq!(parser.next(&bytes, 0, &mut spans, &BOUNDS), Step::Request { end: bytes.len() });
        assert!(spans.len() == WORDS && Args::new(&bytes, &spans).iter().all(|word| word == b"x"));
    }

    #[test]
    fn inline_words_follow_sdssplitargs() {
        for (line, expected) in [
            ("SET a b", vec!["SET", "a", "b"]),
            ("  SET\ta  ", vec!["SET", "a"]),
            (r#"ECHO "a b\n\x41\"""#, vec!["ECHO", "a b\nA\""]),
            (r"ECHO 'a\'b' x", vec!["ECHO", "a'b", "x"]),
            (r#"a"b" c"#, vec!["ab", "c"]),
            (r#"ECHO """#, vec!["ECHO", ""]),
        ] {
            let request = split_words(line.as_bytes()).expect(line);
            let got: Vec<&[u8]> = request.args().iter().collect();
            assert_eq!(got, expected.iter().map(|word| word.as_bytes()).collect::<Vec<_>>(), "{line}");
        }
        assert_eq!(split_words(b"ECHO \"a"), None);
    }

    #[test]
    fn a_request_without_arguments_asks_for_nothing() {
        let (found, fault) = parse(&[b"*-1\r\n*0\r\n\r\n   \r\nPING\r\n"], &BOUNDS);
        assert_eq!((found, fault), (vec![words("PING")], None));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic_and_split_alike(bytes in proptest::collection::vec(prop_oneof![
            Just(b'*'), Just(b'$'), Just(b'\r'), Just(b'\n'), Just(b'1'), Just(b'2'), Just(b'0'), Just(b'"'), any::<u8>()], 0..200),
            cut in 0usize..200) {
            let cut = cut.min(bytes.len());
            prop_assert_eq!(parse(&[&bytes[..cut], &bytes[cut..]], &BOUNDS), parse(&[&bytes], &BOUNDS));
        }

        #[test]
        fn what_is_written_is_read(requests in proptest::collection::vec(proptest::collection::vec(
            proptest::collection::vec(any::<u8>(), 0..40), 1..6), 0..8), piece in 1usize..64) {
            let mut stream = Vec::new();
            for request in &requests {
                stream.extend(format!("*{}\r\n", request.len()).bytes());
                for arg in request {
                    stream.extend(format!("${}\r\n", arg.len()).bytes());
                    stream.extend(arg);
                    stream.extend(b"\r\n");
                }
            }
            let pieces: Vec<&[u8]> = stream.chunks(piece).collect();
            prop_assert_eq!(parse(&pieces, &BOUNDS), (requests, None));
        }
    }
}
