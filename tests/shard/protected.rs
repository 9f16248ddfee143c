//! Protected mode: without a password only this machine may speak to the server, wherever it listens.

use super::Driver;
use corelane::shard::Opening;

/// Whether a connection from `peer` is let in.
fn lets_in(driver: &mut Driver, peer: &str) -> bool {
    let local = "127.0.0.1:6379".parse().expect("an address");
    let peer = format!("{peer}:1000").parse().expect("an address");
    match driver.shard.open(&Opening { peer, local, fd: 0, open_connections: 1, shard_port: false }) {
        Ok(_) => true,
        Err(refusal) => {
            assert!(refusal.starts_with(b"-DENIED ") && refusal.ends_with(b"\r\n"));
            false
        }
    }
}

const HERE: [&str; 4] = ["127.0.0.1", "127.0.0.2", "[::1]", "[::ffff:127.0.0.1]"];
const ELSEWHERE: [&str; 4] = ["192.0.2.1", "10.0.0.1", "[2001:db8::1]", "[::ffff:192.0.2.1]"];

#[test]
fn strangers_are_refused_until_there_is_a_password() {
    let mut driver = Driver::new();
    let conn = driver.connect();
    for peer in HERE {
        assert!(lets_in(&mut driver, peer), "{peer}");
    }
    for peer in ELSEWHERE {
        assert!(!lets_in(&mut driver, peer), "{peer}");
    }
    assert_eq!(driver.call(conn, &["CONFIG", "SET", "requirepass", "secret"]), b"+OK\r\n");
    assert!(ELSEWHERE.iter().all(|peer| lets_in(&mut driver, peer)), "they need the password instead");
    assert_eq!(driver.call(conn, &["CONFIG", "SET", "requirepass", ""]), b"+OK\r\n");
    assert!(ELSEWHERE.iter().all(|peer| !lets_in(&mut driver, peer)));
    assert_eq!(driver.call(conn, &["CONFIG", "SET", "protected-mode", "no"]), b"+OK\r\n");
    assert!(ELSEWHERE.iter().all(|peer| lets_in(&mut driver, peer)));
}
