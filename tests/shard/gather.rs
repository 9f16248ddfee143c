//! Long words, which become ropes as they arrive: the same as short ones, however they are cut.

use super::{Driver, request};
use corelane::shard::ConnId;
use proptest::prelude::*;

const LONG: usize = 200_000;

fn long(seed: u8) -> Vec<u8> {
    (0..LONG + usize::from(seed)).map(|i| (i % 251).to_le_bytes()[0] ^ seed).collect()
}

fn bulk(text: &[u8]) -> Vec<u8> {
    [format!("${}\r\n", text.len()).as_bytes(), text, b"\r\n"].concat()
}

impl Driver {
    fn feed_in_pieces(&mut self, conn: ConnId, bytes: &[u8], sizes: &[usize]) -> Vec<u8> {
        let (mut rest, mut sizes, mut replies) = (bytes, sizes.iter().cycle(), Vec::new());
        while !rest.is_empty() {
            let (piece, later) = rest.split_at((*sizes.next().expect("some sizes")).clamp(1, rest.len()));
            self.shard.feed(conn, piece);
            rest = later;
            while self.shard.has_backlog() {
                self.turn();
            }
            replies.extend(self.replies(conn));
        }
        replies
    }
}

/// Words of a request and what answers it.
fn conversation() -> Vec<(Vec<Vec<u8>>, Vec<u8>)> {
    let words = |words: &[&[u8]]| words.iter().map(|word| word.to_vec()).collect::<Vec<_>>();
    let (one, other) = (long(1), long(2));
    let appended = [&one[..], &other[..]].concat();
    vec![
        (words(&[b"SET", b"k", &one]), b"+OK\r\n".to_vec()),
        (words(&[b"GET", b"k"]), bulk(&one)),
        (words(&[b"SET", b"k", &other, b"NX"]), b"$-1\r\n".to_vec()),
        (words(&[b"SET", b"k", &other, b"XX", b"GET", b"EX", b"100"]), bulk(&one)),
        (words(&[b"TTL", b"k"]), b":100\r\n".to_vec()),
        (words(&[b"MSET", b"a", &one, b"b", b"", b"c", &other, b"d", b"short"]), b"+OK\r\n".to_vec()),
        (
            words(&[b"MGET", b"a", b"b", b"c", b"d"]),
            [b"*4\r\n".to_vec(), bulk(&one), bulk(b""), bulk(&other), bulk(b"short")].concat(),
        ),
        (words(&[b"APPEND", b"a", &other]), format!(":{}\r\n", appended.len()).into_bytes()),
        (words(&[b"GETSET", b"a", &one]), bulk(&appended)),
        (words(&[b"SETEX", b"e", b"10", &other]), b"+OK\r\n".to_vec()),
        (words(&[b"STRLEN", b"e"]), format!(":{}\r\n", other.len()).into_bytes()),
        (words(&[b"SETNX", b"n", &other]), b":1\r\n".to_vec()),
        (words(&[b"HSET", b"h", b"f", &one]), b":1\r\n".to_vec()),
        (words(&[b"HGET", b"h", b"f"]), bulk(&one)),
        (words(&[b"SET", &one, b"a long key"]), b"+OK\r\n".to_vec()),
        (words(&[b"GET", &one]), bulk(b"a long key")),
        (words(&[b"SET", b"k", &one, b"NONSENSE"]), b"-ERR syntax error\r\n".to_vec()),
        (words(&[b"SET", b"k", b"v", b"IFEQ", &other]), b"+OK\r\n".to_vec()),
        (words(&[b"SET", b"k", b"v", &other]), b"-ERR syntax error\r\n".to_vec()),
        (words(&[b"SET", b"k", &other, b"IFEQ", &one]), b"$-1\r\n".to_vec()),
        (words(&[b"ECHO", &other]), bulk(&other)),
        (words(&[b"MULTI"]), b"+OK\r\n".to_vec()),
        (words(&[b"SET", b"m", &other]), b"+QUEUED\r\n".to_vec()),
        (words(&[b"STRLEN", b"m"]), b"+QUEUED\r\n".to_vec()),
        (words(&[b"EXEC"]), format!("*2\r\n+OK\r\n:{}\r\n", other.len()).into_bytes()),
        (words(&[b"GET", b"c"]), bulk(&other)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn long_words_are_as_short_ones(sizes in prop::collection::vec(prop_oneof![1..200_usize, 1..300_000_usize, Just(65_536)], 1..12),
                                    recording in any::<bool>()) {
        // Pieces of some bytes only would take long over megabytes.
        prop_assume!(sizes.iter().sum::<usize>() / sizes.len() > 2000);
        let mut driver = Driver::new();
        driver.shard.effects().recording = recording;
        let conn = driver.connect();
        let (asked, expected): (Vec<_>, Vec<_>) = conversation().into_iter().map(|(words, reply)| (request(&words), reply)).unzip();
        let replies = driver.feed_in_pieces(conn, &asked.concat(), &sizes);
        let mut rest = &replies[..];
        for ((words, _), reply) in conversation().iter().zip(&expected) {
            let head = rest[..rest.len().min(40)].escape_ascii().to_string();
            let next = rest.strip_prefix(&reply[..]);
            prop_assert!(next.is_some(), "{}: {head}", words[0].escape_ascii());
            rest = next.unwrap_or_default();
        }
        prop_assert!(rest.is_empty());
        let db = driver.shard.store().db(0);
        prop_assert_eq!(db.recount(), corelane::store::entry::Kind::ALL.map(|kind| db.usage(kind)));
    }
}

#[test]
fn a_connection_that_ends_half_way_leaves_nothing() {
    let mut driver = Driver::new();
    let conn = driver.connect();
    let bytes = request(&[&b"SET"[..], b"k", &vec![b'x'; 10 << 20]]);
    driver.feed_in_pieces(conn, &bytes[..9 << 20], &[65_536]);
    driver.shard.eof(conn);
    driver.shard.closed(conn);
    let mut turns = 0;
    while driver.shard.is_freeing() {
        driver.turn();
        turns += 1;
    }
    assert!(turns > 10, "freed in steps: {turns}");
    let other = driver.connect();
    assert_eq!(driver.call(other, &["EXISTS", "k"]), b":0\r\n");
}
