//! Clients that send and never read, with the limits of a server that nobody configured.

use super::resident_bytes;
use crate::support::client::encode;
use crate::support::server::info_field;
use crate::support::{Client, Server, Target, Value, eventually};
use std::io::{ErrorKind, Write};
use std::time::{Duration, Instant};

/// What may wait for one client: its input, its replies, and what the allocator adds to them.
const WAITING_BYTES_MAX: u64 = 100 << 20;

const FLOOD_BYTES: usize = 400 << 20;

/// A step that takes too long does so in every flood; what a hypervisor takes away counts as processor time, and seldom comes thrice.
const FLOODS: u32 = 3;

/// The budget is some hundred microseconds, also in a build without all optimization: 350 to 700 were seen beside a busy machine's other work.
const TURN_US_MAX: u64 = 1_000;

/// Writes requests until the server has taken nothing for a second; how many bytes that was.
fn flood(client: &mut Client, requests: &[u8], bytes_max: usize) -> usize {
    client.stream().set_nonblocking(true).expect("a socket");
    let (mut written, mut at, mut progressed) = (0, 0, Instant::now());
    while written < bytes_max && progressed.elapsed() < Duration::from_secs(1) {
        match client.stream().write(&requests[at..]) {
            Ok(count) => {
                (written, at) = (written + count, (at + count) % requests.len());
                progressed = Instant::now();
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::sleep(Duration::from_millis(1)),
            Err(error) => panic!("the server closed after {written} bytes: {error}"),
        }
    }
    written
}

/// It was once taken at its word up to `client-query-buffer-limit`: a gigabyte, with turns of a second, and two gigabytes stayed resident.
#[test]
fn a_client_that_never_reads_costs_little_and_nothing_once_it_is_gone() {
    if Target::from_env() == Target::Redis {
        return;
    }
    let server = Server::start(&[]);
    let mut other = server.client();
    other.call(&["SET", "k", &"v".repeat(1000)]);
    let before = resident_bytes(&server);
    let longest_us = (0..FLOODS).map(|_| longest_turn_us(&server, &mut other, before)).min().expect("floods");
    assert!(longest_us < TURN_US_MAX, "{longest_us} us in {}", info_field(&mut other, "max_turn_what"));
}

/// What the server's longest turn took while a client flooded it and when that had gone.
fn longest_turn_us(server: &Server, other: &mut Client, before: u64) -> u64 {
    assert_eq!(other.words("CONFIG RESETSTAT"), Value::ok());
    let mut lazy = server.client();
    let written = flood(&mut lazy, &encode(&["GET", "k"]).repeat(10_000), FLOOD_BYTES);
    assert!(written < FLOOD_BYTES, "the server stops reading");
    let grown = resident_bytes(server).saturating_sub(before);
    assert!(grown < WAITING_BYTES_MAX, "{grown} bytes for {written} that were sent");
    assert_eq!(other.call(&["GET", "k"]), Value::bulk(&"v".repeat(1000)));
    drop(lazy);
    assert!(eventually(|| info_field(other, "connected_clients") == "1"));
    let mut left = 0;
    let is_back = eventually(|| {
        left = resident_bytes(server).saturating_sub(before);
        left < 10 << 20
    });
    assert!(is_back, "{left} bytes stay resident");
    let longest_us = info_field(other, "max_turn_us").parse().expect("a number");
    println!("longest turn {longest_us} us in {}", info_field(other, "max_turn_what"));
    longest_us
}
