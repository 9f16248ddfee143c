//! Replies are checked, all of them: a server that answers wrongly must not look fast.
//!
//! ```text
//!   fixed: the reply's length is known, so checking is two short comparisons   $64\r\n ................ \r\n
//!                                                                              head      (any bytes)    tail
//!   any:   one RESP2 or RESP3 value of whatever shape, walked; error replies fail
//! ```
//!
//! Values are not compared byte by byte (the load writes the same value everywhere, and the client must stay cheaper
//! than the server); type, length and frame are.

use crate::workload::{Kind, Mix};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Expect {
    Fixed { head: Vec<u8>, len: usize, tail: Vec<u8> },
    Any,
}

impl Expect {
    /// `bulk` is a bulk of `value_bytes`, `bulk:N` one of N, `any` anything but an error, else an exact line.
    pub(crate) fn parse(text: &str, value_bytes: usize) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("bulk", len)) => len.parse().map(Self::bulk).map_err(|_| format!("bulk:N wants a number, not {len}")),
            _ if text == "bulk" => Ok(Self::bulk(value_bytes)),
            _ if text == "any" => Ok(Self::Any),
            _ if text.starts_with(['+', '-', ':', '_', '#']) => Ok(Self::exact(text)),
            _ => Err(format!("an expected reply is bulk, bulk:N, any or a whole line such as +OK, not {text}")),
        }
    }

    pub(crate) fn exact(line: &str) -> Self {
        let head = format!("{line}\r\n").into_bytes();
        Self::Fixed { len: head.len(), head, tail: Vec::new() }
    }

    pub(crate) fn bulk(value_bytes: usize) -> Self {
        let head = format!("${value_bytes}\r\n").into_bytes();
        Self::Fixed { len: head.len() + value_bytes + 2, head, tail: b"\r\n".to_vec() }
    }

    /// `VALUE <key> 0 <bytes>\r\n<data>\r\nEND\r\n`
    pub(crate) fn memcache_value(key_bytes: usize, value_bytes: usize) -> Self {
        let digits = value_bytes.to_string().len();
        let (head, tail) = (b"VALUE ".to_vec(), b"\r\nEND\r\n".to_vec());
        Self::Fixed { len: head.len() + key_bytes + 3 + digits + 2 + value_bytes + tail.len(), head, tail }
    }

    /// The length of the reply at the beginning of `bytes`, `None` if it is not whole yet.
    fn check(&self, bytes: &[u8]) -> Result<Option<usize>, Wrong> {
        match self {
            Self::Fixed { head, len, tail } => check_fixed(bytes, head, *len, tail),
            Self::Any => match value_end(bytes, 0, 0) {
                _ if bytes.first().is_some_and(|byte| matches!(byte, b'-' | b'!')) => Err(Wrong::of(bytes)),
                Ok(end) => Ok(Some(end)),
                Err(Halt::Incomplete) => Ok(None),
                Err(Halt::Malformed) => Err(Wrong::of(bytes)),
            },
        }
    }
}

/// The beginning of a reply that is not what was expected.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Wrong(pub(crate) String);

impl Wrong {
    fn of(bytes: &[u8]) -> Self {
        const SHOWN: usize = 80;
        Self(bytes.iter().take(SHOWN).map(|byte| byte.escape_ascii().to_string()).collect())
    }
}

fn check_fixed(bytes: &[u8], head: &[u8], len: usize, tail: &[u8]) -> Result<Option<usize>, Wrong> {
    let Some(reply) = bytes.get(..len) else {
        // What is there already must agree, or a short error reply would be waited on for ever.
        let seen = bytes.len().min(head.len());
        return if bytes[..seen] == head[..seen] { Ok(None) } else { Err(Wrong::of(bytes)) };
    };
    if reply.starts_with(head) && reply.ends_with(tail) { Ok(Some(len)) } else { Err(Wrong::of(bytes)) }
}

/// Checks the replies of one connection over any cutting of the stream.
#[derive(Debug, Default)]
pub(crate) struct Checker {
    /// The beginning of a reply whose end has not come yet.
    begun: Vec<u8>,
}

impl Checker {
    /// Checks what is whole, asking `expected` for the kind of each reply in turn. Returns how many there were.
    pub(crate) fn feed(
        &mut self,
        bytes: &[u8],
        mix: &Mix,
        expected: impl IntoIterator<Item = Kind>,
    ) -> Result<usize, Wrong> {
        if self.begun.is_empty() {
            let (replies, used) = check_all(bytes, mix, expected)?;
            self.begun.extend_from_slice(&bytes[used..]);
            return Ok(replies);
        }
        self.begun.extend_from_slice(bytes);
        let (replies, used) = check_all(&self.begun, mix, expected)?;
        self.begun.drain(..used);
        Ok(replies)
    }
}

fn check_all(bytes: &[u8], mix: &Mix, expected: impl IntoIterator<Item = Kind>) -> Result<(usize, usize), Wrong> {
    let (mut replies, mut used) = (0, 0);
    for kind in expected {
        let Some(len) = mix.expect(kind).check(&bytes[used..])? else { return Ok((replies, used)) };
        replies += 1;
        used += len;
        if used == bytes.len() {
            return Ok((replies, used));
        }
    }
    Err(Wrong::of(&bytes[used..])) // more than was asked for
}

enum Halt {
    Incomplete,
    Malformed,
}

/// Deepest nesting of a reply; deeper ones are taken for garbage.
const DEPTH_MAX: u32 = 32;

/// Where the RESP value that begins at `at` ends.
fn value_end(bytes: &[u8], at: usize, depth: u32) -> Result<usize, Halt> {
    let kind = *bytes.get(at).ok_or(Halt::Incomplete)?;
    let line = bytes.get(at + 1..).ok_or(Halt::Incomplete)?;
    let line_len = memchr::memchr(b'\n', line).ok_or(Halt::Incomplete)?;
    let after = at + 1 + line_len + 1;
    match kind {
        b'+' | b'-' | b':' | b'_' | b'#' | b',' | b'(' => Ok(after),
        b'$' | b'=' | b'!' => match number(&line[..line_len])? {
            None => Ok(after),
            Some(len) if after + len + 2 <= bytes.len() => Ok(after + len + 2),
            Some(_) => Err(Halt::Incomplete),
        },
        b'*' | b'~' | b'>' | b'%' | b'|' if depth < DEPTH_MAX => {
            let count = number(&line[..line_len])?.unwrap_or(0);
            let values = if matches!(kind, b'%' | b'|') { 2 * count } else { count };
            let end = (0..values).try_fold(after, |end, _| value_end(bytes, end, depth + 1))?;
            // An attribute only precedes the value it belongs to.
            if kind == b'|' { value_end(bytes, end, depth + 1) } else { Ok(end) }
        }
        _ => Err(Halt::Malformed),
    }
}

/// The length in a header line that still has its `\r`; -1 is a null.
fn number(line: &[u8]) -> Result<Option<usize>, Halt> {
    let text = line.strip_suffix(b"\r").ok_or(Halt::Malformed)?;
    match std::str::from_utf8(text).map_err(|_| Halt::Malformed)? {
        "-1" => Ok(None),
        digits => digits.parse().map(Some).map_err(|_| Halt::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::{Distribution, Keys};
    use crate::workload::{Command, Dialect, Workload};
    use fastrand::Rng;

    fn mix_of(reply: &str) -> (Mix, Kind) {
        let command = Command { weight: 1.0, request: vec!["X".to_owned()], reply: reply.to_owned() };
        let workload = Workload { command: vec![command], value_bytes: 4, ..Workload::default() };
        let mix = Mix::new(&workload, Dialect::Redis).unwrap();
        let kind = mix.write(&mut Rng::with_seed(1), &mut Keys::new(Distribution::Uniform, 1), &mut Vec::new());
        (mix, kind)
    }

    fn feed_in_two(reply: &str, stream: &[u8], count: usize) {
        let (mix, kind) = mix_of(reply);
        for cut in 0..=stream.len() {
            let mut checker = Checker::default();
            let (first, second) = stream.split_at(cut);
            let mut seen = 0;
            for part in [first, second].into_iter().filter(|part| !part.is_empty()) {
                seen += checker.feed(part, &mix, std::iter::repeat_n(kind, count - seen)).unwrap();
            }
            assert_eq!((seen, checker.begun.len()), (count, 0), "{reply} cut at {cut}");
        }
    }

    #[test]
    fn replies_are_found_over_every_cut() {
        feed_in_two("bulk", b"$4\r\nabcd\r\n$4\r\n\r\n\r\n\r\n", 2);
        feed_in_two("bulk:2", b"$2\r\nab\r\n", 1);
        feed_in_two("+OK", b"+OK\r\n+OK\r\n+OK\r\n", 3);
        feed_in_two("any", b"*2\r\n$1\r\na\r\n*-1\r\n:5\r\n%1\r\n+a\r\n,1.5\r\n$-1\r\n_\r\n", 5);
        feed_in_two("any", b"|1\r\n+ttl\r\n:3\r\n$2\r\nxy\r\n", 1);
    }

    #[test]
    fn wrong_replies_fail_at_once() {
        let cases: [(&str, &[u8]); 7] = [
            ("bulk", b"$-1\r\n"),
            ("bulk", b"$5\r\nabcde\r\n"),
            ("bulk", b"-ERR unknown command\r\n"),
            ("bulk", b"$4\r\nabcdef"),
            ("+OK", b"-OOM\r\n"),
            ("any", b"-ERR wrong\r\n"),
            ("any", b"?\r\n"),
        ];
        for (reply, bytes) in cases {
            let (mix, kind) = mix_of(reply);
            assert!(Checker::default().feed(bytes, &mix, [kind]).is_err(), "{reply} took {bytes:?}");
        }
    }

    #[test]
    fn a_reply_too_many_fails() {
        let (mix, kind) = mix_of("+OK");
        assert_eq!(Checker::default().feed(b"+OK\r\n+OK\r\n", &mix, [kind]), Err(Wrong("+OK\\r\\n".to_owned())));
    }

    #[test]
    fn a_memcached_value_has_the_length_of_its_text() {
        let text = b"VALUE key:000000000001 0 4\r\nabcd\r\nEND\r\n";
        assert_eq!(Expect::memcache_value(20, 4).check(text), Ok(None), "it waits for more");
        assert_eq!(Expect::memcache_value(16, 4).check(text), Ok(Some(text.len())));
        assert!(Expect::memcache_value(16, 4).check(b"END\r\n").is_err());
    }
}
