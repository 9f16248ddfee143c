//! Commands that wait for a disk: it may take as long as it likes, and nobody but their own connection waits with them.

use super::{Driver, request};
use corelane::admin::file::{Make, Outcome};
use corelane::shard::Setup;
use std::cell::RefCell;
use std::sync::mpsc::{Sender, channel};

type Done = Sender<Result<(), String>>;

thread_local! {
    /// What the disk was asked for and has not done; a lane is one thread, and so is a test.
    static ASKED: RefCell<Vec<(Make, Done)>> = const { RefCell::new(Vec::new()) };
}

fn slow_disk(_: &str, make: Make) -> Outcome {
    let (done, outcome) = channel();
    ASKED.with_borrow_mut(|asked| asked.push((make, done)));
    outcome
}

fn driver() -> Driver {
    let plain = Setup::plain(0, 1);
    let mut identity = plain.identity.clone();
    identity.config_file = "/x.conf".into();
    Driver::made(Setup { identity, replace_file: slow_disk, ..plain })
}

/// The disk does the first thing it was asked for; what it writes.
fn work(outcome: Result<(), String>) -> Vec<u8> {
    let (make, done) = ASKED.with_borrow_mut(|asked| asked.remove(0));
    // Whoever asked may be gone.
    let _ = done.send(outcome);
    make(b"# mine\n")
}

fn turns(driver: &mut Driver) {
    (0..10).for_each(|_| driver.turn());
}

#[test]
fn only_its_own_connection_waits_for_the_file() {
    for queue in [false, true] {
        let mut driver = driver();
        let (admin, other) = (driver.connect(), driver.connect());
        assert_eq!(driver.call(admin, &["CONFIG", "SET", "timeout", "7"]), b"+OK\r\n");
        let lines: &[&[&str]] = if queue {
            &[&["MULTI"], &["SET", "k", "1"], &["CONFIG", "REWRITE"], &["GET", "k"], &["EXEC"]]
        } else {
            &[&["CONFIG", "REWRITE"]]
        };
        let bytes: Vec<u8> = lines.iter().flat_map(|line| request(line)).chain(request(&["PING"])).collect();
        driver.shard.feed(admin, &bytes);
        turns(&mut driver);
        let before: &[u8] = if queue { b"+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n" } else { b"" };
        assert_eq!(driver.replies(admin), before, "what it asked for is not done");
        driver.shard.feed(other, &request(&["SET", "elsewhere", "1"]));
        turns(&mut driver);
        assert_eq!(driver.replies(other), b"+OK\r\n", "nobody else waits");
        let written = work(Ok(()));
        assert!(String::from_utf8_lossy(&written).contains("\ntimeout 7\n"));
        turns(&mut driver);
        let after: &[u8] = if queue { b"*3\r\n+OK\r\n+OK\r\n$1\r\n1\r\n+PONG\r\n" } else { b"+OK\r\n+PONG\r\n" };
        assert_eq!(driver.replies(admin), after);
        assert!(driver.shard.is_quiet());
    }
}

#[test]
fn what_the_disk_refuses_is_the_reply() {
    let mut driver = driver();
    let conn = driver.connect();
    driver.shard.feed(conn, &request(&["CONFIG", "REWRITE"]));
    turns(&mut driver);
    work(Err("No space left".into()));
    turns(&mut driver);
    assert_eq!(driver.replies(conn), b"-ERR Rewriting config file: No space left\r\n");
}

#[test]
fn a_connection_that_goes_meanwhile_takes_nothing_with_it() {
    let mut driver = driver();
    let conn = driver.connect();
    driver.shard.feed(conn, &[request(&["MULTI"]), request(&["CONFIG", "REWRITE"]), request(&["EXEC"])].concat());
    turns(&mut driver);
    driver.shard.closed(conn);
    turns(&mut driver);
    work(Ok(()));
    turns(&mut driver);
    assert!(driver.shard.is_quiet());
}
