//! The hot path allocates nothing: counted, not believed.

use super::{Driver, request};

/// Sixteen requests in one receive, as a pipelining client sends them.
fn pipeline(words: &[&str]) -> Vec<u8> {
    request(words).repeat(16)
}

fn allocations_of(bytes: &[u8]) -> u64 {
    let mut driver = Driver::new();
    let conn = driver.connect();
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

#[test]
fn the_counter_counts() {
    assert!(allocation_counter::measure(|| drop(std::hint::black_box(vec![1_u8]))).count_total > 0);
}
