//! What is foreseen changes nothing but the time it takes: two shards get the same pieces, one of them foresees each batch.

use proptest::prelude::*;

use super::{Driver, request};

const CONNECTIONS: usize = 3;

/// Streams that change what a later request of the same batch means, or break off in every way.
fn requests() -> impl Strategy<Value = Vec<u8>> {
    let words = |words: &'static [&'static str]| Just(request(words));
    prop_oneof![
        4 => words(&["GET", "a"]),
        4 => words(&["SET", "a", "1"]),
        2 => words(&["APPEND", "a", "{b}"]),
        2 => words(&["MGET", "a", "b", "c"]),
        1 => words(&["SET", "b", "2", "EX", "100", "GET"]),
        1 => words(&["DEL", "a", "b"]),
        1 => words(&["SELECT", "1"]),
        1 => words(&["SELECT", "0"]),
        1 => words(&["RESET"]),
        1 => words(&["HELLO", "3"]),
        1 => words(&["CLIENT", "REPLY", "SKIP"]),
        1 => words(&["KEYS", "*"]),
        1 => words(&["NOSUCH", "a"]),
        1 => words(&["GET"]),
        1 => words(&["FLUSHALL"]),
        1 => Just(b"GET a\r\n".to_vec()),
        1 => Just(b"*0\r\n\r\n".to_vec()),
        1 => words(&["QUIT"]),
        1 => Just(b"*1\r\n!\r\n".to_vec()),
    ]
}

/// A stream of each connection, cut into pieces of these lengths.
fn streams() -> impl Strategy<Value = Vec<(Vec<Vec<u8>>, Vec<usize>)>> {
    let stream = (prop::collection::vec(requests(), 0..12), prop::collection::vec(1..60_usize, 1..12));
    prop::collection::vec(stream, CONNECTIONS)
}

/// The next pieces that have arrived on some connections, in this order.
fn batches() -> impl Strategy<Value = Vec<Vec<usize>>> {
    prop::collection::vec(prop::collection::vec(0..CONNECTIONS, 1..6), 1..20)
}

fn pieces((requests, cuts): (Vec<Vec<u8>>, Vec<usize>)) -> Vec<Vec<u8>> {
    let (stream, mut at) = (requests.concat(), 0);
    let mut pieces = Vec::new();
    for cut in cuts.iter().cycle() {
        if at == stream.len() {
            break;
        }
        let end = stream.len().min(at + cut);
        pieces.push(stream[at..end].to_vec());
        at = end;
    }
    pieces.reverse();
    pieces
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// `unfed`: which input of a batch its connection does not live to see.
    #[test]
    fn foreseen_or_not_the_replies_are_the_same(streams in streams(), batches in batches(), unfed in 0..40_usize) {
        let (mut seer, mut plain) = (Driver::new(), Driver::new());
        let conns: Vec<_> = (0..CONNECTIONS).map(|_| (seer.connect(), plain.connect())).collect();
        let mut left: Vec<_> = streams.into_iter().map(pieces).collect();
        let mut fed = 0;
        let mut gone = [false; CONNECTIONS];
        for batch in batches {
            let arrived: Vec<(usize, Vec<u8>)> =
                batch.into_iter().filter_map(|conn| left[conn].pop().map(|piece| (conn, piece))).collect();
            seer.shard.foresee(arrived.iter().map(|(conn, piece)| (conns[*conn].0, &piece[..])));
            for (conn, piece) in &arrived {
                fed += 1;
                gone[*conn] |= fed == unfed;
                if !gone[*conn] {
                    seer.shard.feed(conns[*conn].0, piece);
                    plain.shard.feed(conns[*conn].1, piece);
                }
            }
            seer.turn();
            plain.turn();
        }
        while plain.shard.has_backlog() {
            seer.turn();
            plain.turn();
        }
        for (in_seer, in_plain) in conns {
            prop_assert_eq!(seer.replies(in_seer), plain.replies(in_plain));
        }
    }
}

#[test]
fn foreseeing_allocates_nothing() {
    let mut driver = Driver::new();
    let conns = [driver.connect(), driver.connect()];
    let inputs = [request(&["SET", "key:1", "value"]), request(&["GET", "key:1"])];
    let mut round = || {
        driver.shard.begin_turn(driver.now);
        driver.shard.foresee(conns.into_iter().zip(&inputs).map(|(conn, input)| (conn, &input[..])));
        for (conn, input) in conns.into_iter().zip(&inputs) {
            driver.feed_and_send(conn, input);
        }
    };
    (0..4).for_each(|_| round());
    let counted = allocation_counter::measure(|| (0..100).for_each(|_| round()));
    assert_eq!(counted.count_total, 0);
}
