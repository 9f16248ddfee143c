//! The hot path allocates nothing: counted, not believed.

use super::{Driver, request};
use corelane::shard::ConnId;

/// Sixteen requests in one receive, as a pipelining client sends them.
fn pipeline(words: &[&str]) -> Vec<u8> {
    request(words).repeat(16)
}

fn allocations_of(bytes: &[u8]) -> u64 {
    let mut driver = Driver::new();
    let conn = driver.connect();
    allocations_on(&mut driver, conn, bytes)
}

fn allocations_on(driver: &mut Driver, conn: ConnId, bytes: &[u8]) -> u64 {
    let value = "v".repeat(64);
    driver.call(conn, &["SET", "key:00000000001", &value]);
    // Buffers reach their size, and histograms are made, in the first rounds; from then on nothing grows.
    for _ in 0..64 {
        driver.exchange(conn, bytes);
    }
    let counted = allocation_counter::measure(|| {
        for _ in 0..100 {
            assert!(driver.exchange(conn, bytes) > 0);
        }
    });
    counted.count_total
}

#[test]
fn a_get_allocates_nothing() {
    assert_eq!(allocations_of(&pipeline(&["GET", "key:00000000001"])), 0);
    assert_eq!(allocations_of(&request(&["GET", "key:00000000001"])), 0);
}

#[test]
fn a_get_of_a_missing_key_allocates_nothing() {
    assert_eq!(allocations_of(&pipeline(&["GET", "nosuch"])), 0);
}

#[test]
fn an_overwriting_set_of_equal_size_allocates_nothing() {
    let value = "w".repeat(64);
    assert_eq!(allocations_of(&pipeline(&["SET", "key:00000000001", &value])), 0);
}

/// Rights are looked at for each of its requests, and kept so that this takes no memory.
#[test]
fn a_user_who_may_some_things_allocates_nothing() {
    let mut driver = Driver::new();
    let (admin, conn) = (driver.connect(), driver.connect());
    let rules = ["ACL", "SETUSER", "u", "on", "nopass", "~x*", "%R~r*", "~key:*", "+@read", "+set", "(+del ~y)"];
    assert_eq!(driver.call(admin, &rules), b"+OK\r\n");
    assert_eq!(driver.call(conn, &["AUTH", "u", "p"]), b"+OK\r\n");
    let value = "w".repeat(64);
    for words in [&["GET", "key:00000000001"][..], &["SET", "key:00000000001", &value]] {
        assert_eq!(allocations_on(&mut driver, conn, &pipeline(words)), 0, "{words:?}");
    }
}

#[test]
fn the_counter_counts() {
    assert!(allocation_counter::measure(|| drop(std::hint::black_box(vec![1_u8]))).count_total > 0);
}
