//! Deadlines of fields by the thousand, collected in slices while nobody sees them any more.

use super::Driver;

const MANY: usize = 40_000;

/// A hash in which every second field dies at the same moment.
fn half_dying() -> (Driver, corelane::shard::ConnId) {
    let mut driver = Driver::new();
    let conn = driver.connect();
    for from in (0..MANY).step_by(100) {
        for (first, words) in [(from, vec!["HSET", "h"]), (from + 1, vec!["HSETEX", "h", "PX", "500", "FIELDS", "50"])]
        {
            let mut words: Vec<String> = words.into_iter().map(String::from).collect();
            words.extend((first..from + 100).step_by(2).flat_map(|i| [format!("field:{i}"), "v".to_owned()]));
            driver.call(conn, &words);
        }
    }
    assert_eq!(driver.call(conn, &["HLEN", "h"]), format!(":{MANY}\r\n").as_bytes());
    (driver, conn)
}

#[test]
fn fields_that_die_together_are_gone_at_once_and_collected_in_slices() {
    let (mut driver, conn) = half_dying();
    driver.now.unix_us += 1_000_000;
    driver.shard.begin_turn(driver.now);
    let living = format!(":{}\r\n", MANY / 2);
    assert_eq!(driver.call_now(conn, &["HLEN", "h"]), living.as_bytes());
    assert_eq!(driver.call_now(conn, &["HGET", "h", "field:1"]), b"$-1\r\n");
    let held = |driver: &Driver| {
        let store = driver.shard.store();
        let key = store.hash_key.key(b"h");
        store.db(0).find(b"h", key, driver.now.millis()).map_or(0, |entry| match entry.value() {
            corelane::store::entry::ValueRef::Object(corelane::types::Object::Hash(hash)) => hash.len(),
            _ => 0,
        })
    };
    let (mut turns, mut left) = (0, held(&driver));
    assert_eq!(left, MANY, "nothing is collected yet");
    while left > MANY / 2 {
        driver.shard.tick();
        let now = held(&driver);
        assert!(left - now <= 256 + 400, "{} in one turn", left - now);
        assert_eq!(driver.call_now(conn, &["HLEN", "h"]), living.as_bytes());
        (left, turns) = (now, turns + 1);
        assert!(turns < 1000, "it comes to an end");
    }
    assert!(turns > 50, "{turns} turns");
    let info = String::from_utf8(driver.call_now(conn, &["INFO"])).expect("text");
    assert!(info.contains(&format!("expired_subkeys:{}\r\n", MANY / 2)), "{info}");
    assert!(info.contains("subexpiry=0\r\n"));
    let db = driver.shard.store().db(0);
    assert_eq!(db.recount(), corelane::store::entry::Kind::ALL.map(|kind| db.usage(kind)));
}

/// All at once, as one effect, and what it weighed is freed in slices.
#[test]
fn a_hash_whose_fields_all_die_goes_whole() {
    let (mut driver, conn) = half_dying();
    driver.shard.effects().recording = true;
    for from in (0..MANY).step_by(1000) {
        let mut words: Vec<String> = ["HPEXPIRE", "h", "400", "FIELDS", "1000"].map(String::from).to_vec();
        words.extend((from..from + 1000).map(|i| format!("field:{i}")));
        driver.call(conn, &words);
    }
    driver.shard.effects().take();
    driver.now.unix_us += 1_000_000;
    driver.shard.begin_turn(driver.now);
    assert_eq!(driver.call_now(conn, &["EXISTS", "h"]), b":0\r\n");
    driver.shard.tick();
    assert_eq!(driver.shard.store().db(0).len(), 0);
    assert!(driver.shard.effects().take().bytes.ends_with(b"*2\r\n$3\r\nDEL\r\n$1\r\nh\r\n"));
    assert!(!driver.shard.store().graves.is_empty(), "it is freed in steps");
}
