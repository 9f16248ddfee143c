//! Cuts the byte stream of a connection into replies and checks each against what its request expects.

use std::collections::VecDeque;

use super::expect::{Context, Wrong, check};
use crate::workload::mix::{Kind, Mix};

/// What a connection still waits for: the kinds of its requests, and the keys that their checks want, each in order.
#[derive(Debug, Default)]
pub(crate) struct Awaited {
    pub(crate) kinds: VecDeque<Kind>,
    pub(crate) keys: VecDeque<u32>,
}

#[derive(Debug, Default)]
pub(crate) struct Checker {
    /// The beginning of a reply whose end has not come yet.
    begun: Vec<u8>,
    /// Error replies to requests that may be answered by one.
    pub(crate) errors: u64,
}

impl Checker {
    /// Checks what is whole, takes it off `awaited`, and returns how many replies there were.
    pub(crate) fn feed(&mut self, bytes: &[u8], mix: &Mix, awaited: &mut Awaited) -> Result<usize, Wrong> {
        let begun = std::mem::take(&mut self.begun);
        if begun.is_empty() {
            let (replies, used) = self.check_all(bytes, mix, awaited)?;
            self.begun = begun;
            self.begun.extend_from_slice(&bytes[used..]);
            return Ok(replies);
        }
        let mut joined = begun;
        joined.extend_from_slice(bytes);
        let (replies, used) = self.check_all(&joined, mix, awaited)?;
        joined.drain(..used);
        self.begun = joined;
        Ok(replies)
    }

    /// A new connection begins; what the old one had not finished is gone.
    pub(crate) fn restart(&mut self) {
        self.begun.clear();
    }

    fn check_all(&mut self, bytes: &[u8], mix: &Mix, awaited: &mut Awaited) -> Result<(usize, usize), Wrong> {
        let context = Context { dialect: mix.dialect(), sizes: mix.sizes() };
        let (mut replies, mut keys, mut used) = (0, 0, 0);
        while used < bytes.len() {
            // More than was asked for is wrong too.
            let kind = awaited.kinds.get(replies).ok_or_else(|| Wrong::of(&bytes[used..]))?;
            let reply = mix.expect(*kind);
            let next = keys + reply.keys();
            let Some(answer) = check(reply, &bytes[used..], awaited.keys.range(keys..next).copied(), context)? else {
                break;
            };
            self.errors += u64::from(answer.is_error);
            (replies, keys, used) = (replies + 1, next, used + answer.len);
        }
        awaited.kinds.drain(..replies);
        awaited.keys.drain(..keys);
        Ok((replies, used))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Dialect;
    use crate::workload::definition::{Command, Workload};
    use crate::workload::keys::Keys;
    use crate::workload::mix::Scratch;
    use fastrand::Rng;

    /// A mix of one command over key 7 of 10, values of 12 bytes, and so many requests awaited.
    fn asked(dialect: Dialect, request: &str, reply: &str, count: usize) -> (Mix, Awaited) {
        let command = Command::of(1.0, reply, &request.split(' ').collect::<Vec<_>>());
        let workload = Workload { command: vec![command], keys: 10, value_bytes: 12, ..Workload::default() };
        let mix = Mix::new(&workload, dialect).unwrap();
        let (mut awaited, mut out) = (Awaited::default(), Vec::new());
        let mut keys = Keys::in_order(7..8);
        for _ in 0..count {
            mix.write(&mut Rng::with_seed(1), &mut keys, &mut Scratch::default(), &mut out, &mut awaited);
        }
        (mix, awaited)
    }

    fn passes(dialect: Dialect, request: &str, reply: &str, stream: &[u8], count: usize) {
        for cut in 0..=stream.len() {
            let (mix, mut awaited) = asked(dialect, request, reply, count);
            let mut checker = Checker::default();
            let parts = [&stream[..cut], &stream[cut..]];
            let seen: usize = parts.iter().map(|part| checker.feed(part, &mix, &mut awaited).unwrap()).sum();
            assert_eq!((seen, checker.begun.len(), awaited.keys.len()), (count, 0, 0), "{reply} cut at {cut}");
        }
    }

    #[test]
    fn replies_of_redis_are_found_over_every_cut() {
        let redis = |request, reply, stream: &[u8], count| passes(Dialect::Redis, request, reply, stream, count);
        redis("GET {key}", "value", b"$12\r\n0000000007xx\r\n$12\r\n0000000007\r\n\r\n", 2);
        redis("GET {key}", "value?", b"$-1\r\n$12\r\n0000000007xx\r\n_\r\n", 3);
        redis("MGET {keys:2}", "values?", b"*2\r\n$12\r\n0000000007xx\r\n$-1\r\n", 1);
        redis("X", "bulk:2", b"$2\r\nab\r\n", 1);
        redis("X", "+OK", b"+OK\r\n+OK\r\n+OK\r\n", 3);
        redis("X", "nil", b"$-1\r\n_\r\n", 2);
        redis("X", "int", b":5\r\n:-1\r\n", 2);
        redis("X", "any", b"*2\r\n$1\r\na\r\n*-1\r\n:5\r\n%1\r\n+a\r\n,1.5\r\n$-1\r\n_\r\n", 5);
        redis("X", "any", b"|1\r\n+ttl\r\n:3\r\n$2\r\nxy\r\n", 1);
    }

    #[test]
    fn replies_of_memcached_are_found_over_every_cut() {
        let value = b"VALUE key:000000000007 0 12\r\n0000000007xx\r\nEND\r\n";
        passes(Dialect::Memcache, "GET {key}", "value", value, 1);
        passes(Dialect::Memcache, "GET {key}", "value?", &[b"END\r\n", &value[..]].concat(), 2);
        passes(Dialect::Memcache, "SET {key} {value}", "+OK", b"STORED\r\nSTORED\r\n", 2);
        passes(Dialect::Memcache, "INCR {key}", "int", b"41\r\n42\r\n", 2);
        passes(Dialect::Meta, "GET {key}", "value?", b"EN\r\nVA 12\r\n0000000007xx\r\n", 2);
        passes(Dialect::Meta, "MGET {keys:2}", "values", b"VA 12\r\n0000000007xx\r\nVA 12\r\n0000000007xx\r\n", 1);
        let head = |status, body| [&[0x81, 0, 0, 0, 4, 0, 0, status, 0, 0, 0, body][..], &[0; 12]].concat();
        let found = [&head(0, 16)[..], &[0; 4], b"0000000007xx"].concat();
        let missed = [&head(1, 9)[..], b"Not found"].concat();
        passes(Dialect::Binary, "GET {key}", "value?", &[&found[..], &missed].concat(), 2);
    }

    #[test]
    fn wrong_replies_fail_at_once() {
        let cases: [(Dialect, &str, &str, &[u8]); 14] = [
            (Dialect::Redis, "GET {key}", "value", b"$-1\r\n"),
            (Dialect::Redis, "GET {key}", "value", b"$11\r\n0000000007x\r\n"),
            (Dialect::Redis, "GET {key}", "value", b"$12\r\n0000000008xx\r\n"),
            (Dialect::Redis, "GET {key}", "value", b"-ERR unknown command\r\n"),
            (Dialect::Redis, "GET {key}", "value", b"$12\r\n0000000007xxyy"),
            (Dialect::Redis, "GET {key}", "value?", b"-MOVED 1 x\r\n"),
            (Dialect::Redis, "MGET {keys:2}", "values", b"*1\r\n"),
            (Dialect::Redis, "X", "+OK", b"-OOM\r\n"),
            (Dialect::Redis, "X", "any", b"-ERR wrong\r\n"),
            (Dialect::Redis, "X", "any", b"?\r\n"),
            (Dialect::Memcache, "GET {key}", "value", b"END\r\n"),
            (Dialect::Memcache, "GET {key}", "value", b"VALUE key:000000000007 0 12\r\n0000000003xx\r\nEND\r\n"),
            (Dialect::Memcache, "INCR {key}", "int", b"NOT_FOUND\r\n"),
            (Dialect::Meta, "GET {key}", "value", b"EN\r\n"),
        ];
        for (dialect, request, reply, bytes) in cases {
            let (mix, mut awaited) = asked(dialect, request, reply, 1);
            let fed = Checker::default().feed(bytes, &mix, &mut awaited);
            assert!(fed.is_err(), "{reply} took {}", bytes.escape_ascii());
        }
    }

    #[test]
    fn a_reply_too_many_fails() {
        let (mix, mut awaited) = asked(Dialect::Redis, "X", "+OK", 1);
        let fed = Checker::default().feed(b"+OK\r\n+OK\r\n", &mix, &mut awaited);
        assert_eq!(fed, Err(Wrong("+OK\\r\\n".to_owned())));
    }

    #[test]
    fn errors_are_counted_where_they_may_be() {
        let (mix, mut awaited) = asked(Dialect::Redis, "X", "anything", 2);
        let mut checker = Checker::default();
        assert_eq!(checker.feed(b"+OK\r\n-ERR no\r\n", &mix, &mut awaited), Ok(2));
        assert_eq!(checker.errors, 1);
    }
}
