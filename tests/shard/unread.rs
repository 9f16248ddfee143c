//! A client that sends and does not read: what waits for it is bounded, kept in order, and given back.

use super::{Driver, request};
use corelane::base::limits;
use corelane::shard::{ConnId, Order};

/// Takes no reply, as a socket whose reader sleeps; whether the shard wants to read on.
fn feed_unread(driver: &mut Driver, conn: ConnId, bytes: &[u8], reading: &mut bool) {
    driver.shard.feed(conn, bytes);
    while let Some(order) = driver.shard.next_order() {
        match order {
            Order::Flush(_) => {}
            Order::StopReading(_) => *reading = false,
            Order::Read(_) => *reading = true,
            other => panic!("{other:?}"),
        }
    }
    driver.turn();
}

/// So many numbered requests of a kilobyte, in pieces as a receive buffer holds them.
fn echoes(count: usize) -> (Vec<u8>, Vec<u8>) {
    let text = |i: usize| format!("{i:01000}");
    let input = (0..count).flat_map(|i| request(&["ECHO", &text(i)])).collect();
    let replies = (0..count).flat_map(|i| format!("$1000\r\n{}\r\n", text(i)).into_bytes()).collect();
    (input, replies)
}

#[test]
fn input_is_taken_up_to_a_bound_and_answered_in_order() {
    let (input, replies) = echoes(90_000);
    let (mut driver, mut reading) = (Driver::new(), true);
    let conn = driver.connect();
    let mut pieces = input.chunks(16 << 10);
    let mut taken = 0;
    for piece in pieces.by_ref() {
        feed_unread(&mut driver, conn, piece, &mut reading);
        taken += piece.len();
        if !reading {
            break;
        }
    }
    assert!((60 << 20..70 << 20).contains(&taken), "{taken} bytes are read while none is taken");
    let mut got = Vec::new();
    while got.len() < replies.len() {
        let before = got.len();
        let output = driver.shard.take_output(conn, Default::default());
        assert!(output.bytes.capacity() <= 4 << 20, "unsent replies take {} bytes", output.bytes.capacity());
        got.extend(output.bytes);
        driver.shard.in_flight(conn, 0);
        driver.turn();
        while let Some(order) = driver.shard.next_order() {
            reading |= order == Order::Read(conn);
        }
        if reading && let Some(piece) = pieces.next() {
            driver.shard.feed(conn, piece);
        }
        assert!(got.len() > before || driver.shard.has_backlog(), "{} of {} bytes", got.len(), replies.len());
    }
    assert!(got == replies, "the replies differ");
    assert!(!driver.shard.has_backlog());
}

#[test]
fn what_waited_for_a_client_that_is_gone_is_freed_in_steps() {
    let (input, _) = echoes(20_000);
    let (mut driver, mut reading) = (Driver::new(), true);
    let conn = driver.connect();
    for piece in input.chunks(16 << 10) {
        feed_unread(&mut driver, conn, piece, &mut reading);
    }
    driver.shard.closed(conn);
    assert!(driver.shard.is_freeing());
    let mut turns = 0;
    while driver.shard.is_freeing() {
        driver.turn();
        turns += 1;
    }
    assert!(turns > 20, "{turns} turns for {} bytes", input.len());
}

/// The share of a turn ended exactly at the end of the head, and what came next took its empty place, before the pieces that waited.
#[test]
fn what_comes_when_the_head_has_just_run_dry_stands_behind_the_pieces() {
    let share = limits::REQUESTS_PER_TURN as usize;
    let (input, replies) = echoes(2 * share + 2);
    let len = input.len() / (2 * share + 2);
    let mut driver = Driver::new();
    let conn = driver.connect();
    let (two_shares, later) = input.split_at(2 * share * len);
    let (piece, last) = later.split_at(len);
    driver.shard.feed(conn, two_shares);
    driver.shard.feed(conn, piece);
    driver.turn();
    assert!(driver.shard.has_backlog(), "the piece still waits");
    driver.shard.feed(conn, last);
    while driver.shard.has_backlog() {
        driver.turn();
    }
    assert!(driver.replies(conn) == replies, "the replies are not in the order of the requests");
}

/// A long value stands among the requests that wait: it becomes a rope as the pieces are taken up.
#[test]
fn a_long_value_that_waits_is_stored() {
    let (input, replies) = echoes(4_000);
    let value: String = (0..700_000).map(|i| char::from(b'a' + (i % 23) as u8)).collect();
    let (mut driver, mut reading) = (Driver::new(), true);
    let conn = driver.connect();
    let all = [input, request(&["SET", "long", &value]), request(&["STRLEN", "long"])].concat();
    for piece in all.chunks(16 << 10) {
        feed_unread(&mut driver, conn, piece, &mut reading);
    }
    let mut got = Vec::new();
    let mut idle = 0;
    while idle < 3 {
        let output = driver.shard.take_output(conn, Default::default());
        idle = if output.is_empty() && !driver.shard.has_backlog() { idle + 1 } else { 0 };
        got.extend(output.to_vec());
        driver.shard.in_flight(conn, 0);
        driver.turn();
    }
    assert!(got == [&replies[..], b"+OK\r\n:700000\r\n"].concat(), "{} bytes", got.len());
    let stored = driver.call(conn, &["GET", "long"]);
    assert!(stored == [b"$700000\r\n", value.as_bytes(), b"\r\n"].concat());
}

impl Driver {
    /// So many seconds later, in steps of half a second; whether the shard has closed `conn` by then.
    fn is_cut_off_after(&mut self, conn: ConnId, seconds: u64) -> bool {
        let mut closed = false;
        for _ in 0..2 * seconds {
            self.now.mono_ns += 500_000_000;
            self.now.unix_us += 500_000;
            self.turn();
            while let Some(order) = self.shard.next_order() {
                closed |= order == Order::Close(conn);
            }
        }
        closed
    }
}

#[test]
fn a_client_that_takes_nothing_for_a_minute_is_cut_off() {
    let (input, _) = echoes(2_000);
    let (mut driver, mut reading) = (Driver::new(), true);
    let (conn, idle) = (driver.connect(), driver.connect());
    for piece in input.chunks(16 << 10) {
        feed_unread(&mut driver, conn, piece, &mut reading);
    }
    let taken = driver.shard.take_output(conn, Default::default()).len();
    assert!(!driver.is_cut_off_after(conn, 50));
    driver.shard.in_flight(conn, taken - 1);
    assert!(!driver.is_cut_off_after(conn, 50), "a byte was taken meanwhile");
    assert!(driver.is_cut_off_after(conn, 15));
    assert!(!driver.is_cut_off_after(idle, 120), "who owes nothing may be idle for ever");
}

/// Hard and soft, as in Redis: at once, and after so many seconds without having come below.
#[test]
fn output_limits_cut_off() {
    let reply = request(&["ECHO", &"x".repeat(200_000)]);
    let with_limit = |limit: &str| {
        let mut driver = Driver::new();
        let conn = driver.connect();
        let set = driver.call(conn, &["CONFIG", "SET", "client-output-buffer-limit", limit]);
        assert_eq!(set, b"+OK\r\n");
        driver.shard.feed(conn, &reply);
        (driver, conn)
    };
    let (mut driver, conn) = with_limit("normal 100kb 0 0");
    assert!(driver.is_cut_off_after(conn, 1));
    let (mut driver, conn) = with_limit("normal 300kb 0 0");
    assert!(!driver.is_cut_off_after(conn, 100));
    let (mut driver, conn) = with_limit("normal 0 100kb 10");
    assert!(!driver.is_cut_off_after(conn, 9));
    driver.replies(conn);
    assert!(!driver.is_cut_off_after(conn, 100), "it has read in time");
    driver.shard.feed(conn, &reply);
    assert!(driver.is_cut_off_after(conn, 13));
}
