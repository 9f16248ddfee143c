//! Connections that end at a bad moment, over and over: everything that was held for them is given back.

use crate::support::client::encode;
use crate::support::server::info_field;
use crate::support::{Client, Server, Target, eventually};
use std::io::Write;
use std::net::Shutdown;

/// What the server holds: connections, bytes of their buffers, descriptors.
#[derive(Debug, PartialEq)]
struct Held {
    clients: u64,
    client_bytes: u64,
    descriptors: usize,
}

fn held(server: &Server, observer: &mut Client) -> Held {
    let mut number = |field| info_field(observer, field).parse::<u64>().expect("a number");
    let (clients, client_bytes) = (number("connected_clients"), number("client_memory"));
    let descriptors = std::fs::read_dir(format!("/proc/{}/fd", server.pid())).expect("our own child").count();
    Held { clients, client_bytes, descriptors }
}

/// How a client leaves.
#[derive(Clone, Copy, Debug)]
enum Leave {
    /// FIN.
    Close,
    /// It stops writing, and closes later.
    HalfClose,
    /// With unread replies in its socket the kernel sends RST.
    Unread,
}

/// Writes `bytes` on each of some connections, leaves, and expects the server to hold what it held before.
#[track_caller]
fn nothing_is_left_of(bytes: &[u8], leave: Leave) {
    const CLIENTS: usize = 50;
    if Target::from_env() == Target::Redis {
        return;
    }
    let server = Server::start(&[]);
    let mut observer = server.client();
    observer.call(&["SET", "big", &"x".repeat(4 << 20)]);
    let alone = |held: &Held| held.clients == 1;
    assert!(eventually(|| alone(&held(&server, &mut observer))), "the one that looked whether it is up has gone");
    let before = held(&server, &mut observer);
    for _ in 0..CLIENTS {
        let mut client = server.client();
        // The server may close while we still write.
        let _ = client.stream().write_all(bytes);
        match leave {
            Leave::Close => {}
            Leave::HalfClose => drop(client.stream().shutdown(Shutdown::Write)),
            Leave::Unread => drop(client.try_read_byte()),
        }
    }
    let mut now = held(&server, &mut observer);
    let same = eventually(|| {
        now = held(&server, &mut observer);
        now == before
    });
    assert!(same, "before {before:?}, now {now:?}");
}

/// Half of a SET of a megabyte.
fn half_a_request() -> Vec<u8> {
    let mut bytes = encode(&["SET", "k", &"v".repeat(1 << 20)]);
    bytes.truncate(bytes.len() / 2);
    bytes
}

#[test]
fn a_client_that_closes_mid_command() {
    nothing_is_left_of(&half_a_request(), Leave::Close);
}

#[test]
fn a_client_that_stops_writing_mid_command() {
    nothing_is_left_of(&half_a_request(), Leave::HalfClose);
}

#[test]
fn a_client_that_closes_mid_header() {
    nothing_is_left_of(b"*3\r\n$3\r\nSET\r\n$1000", Leave::Close);
}

#[test]
fn a_client_that_does_not_wait_for_its_replies() {
    let bytes = [encode(&["GET", "big"]).repeat(8), encode(&["HGETALL", "none"]).repeat(1000)].concat();
    nothing_is_left_of(&bytes, Leave::Close);
}

#[test]
fn a_client_that_leaves_its_replies_unread_and_half_a_command_behind() {
    let bytes = [encode(&["GET", "big"]).repeat(8), half_a_request()].concat();
    nothing_is_left_of(&bytes, Leave::Unread);
}
