//! redis-rs, in RESP2 and in RESP3.

use super::LANES;
use crate::support::Server;
use redis::{Client, Commands, Connection, ErrorKind, ProtocolVersion, RedisResult};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

fn connect(server: &Server, protocol: ProtocolVersion) -> Connection {
    let version = if protocol == ProtocolVersion::RESP3 { "?protocol=resp3" } else { "" };
    let client = Client::open(format!("redis://127.0.0.1:{}/{version}", server.port)).expect("a valid address");
    client.get_connection().expect("the server accepts")
}

#[test]
fn redis_rs() {
    for lanes in LANES {
        run_scenarios(&Server::start(&["--lanes", lanes]));
    }
}

fn run_scenarios(server: &Server) {
    for protocol in [ProtocolVersion::RESP2, ProtocolVersion::RESP3] {
        for scenario in [strings, expiry, pipelines, binary, errors, hashes, scanning] {
            let mut connection = connect(server, protocol);
            redis::cmd("FLUSHALL").exec(&mut connection).expect("FLUSHALL");
            scenario(&mut connection).expect("the server answers");
        }
        let mut both = [connect(server, protocol), connect(server, protocol)];
        transactions(&mut both).expect("the server answers");
    }
}

fn strings(c: &mut Connection) -> RedisResult<()> {
    let _: () = c.set("k", "v")?;
    assert_eq!(c.get::<_, String>("k")?, "v");
    assert_eq!(c.get::<_, Option<String>>("nokey")?, None);
    assert!(!c.set_nx::<_, _, bool>("k", "w")?);
    assert_eq!(c.append::<_, _, usize>("k", "xyz")?, 4);
    let _: () = c.mset(&[("a", 1), ("b", 2)])?;
    assert_eq!(c.mget::<_, Vec<Option<i64>>>(&["a", "b", "c"])?, [Some(1), Some(2), None]);
    assert_eq!(c.del::<_, usize>(&["a", "b"])?, 2);
    assert_eq!(c.incr::<_, _, i64>("n", 42)?, 42);
    assert!((c.incr::<_, _, f64>("n", 0.5)? - 42.5).abs() < f64::EPSILON);
    Ok(())
}

fn expiry(c: &mut Connection) -> RedisResult<()> {
    let _: () = c.pset_ex("k", "v", 60)?;
    assert!((1..=60).contains(&c.pttl::<_, i64>("k")?));
    std::thread::sleep(Duration::from_millis(90));
    assert!(!c.exists::<_, bool>("k")?);
    let _: () = c.set_ex("k", "v", 100)?;
    assert!(c.persist::<_, bool>("k")?);
    assert_eq!(c.ttl::<_, i64>("k")?, -1);
    Ok(())
}

fn pipelines(c: &mut Connection) -> RedisResult<()> {
    let mut pipe = redis::pipe();
    for i in 0..5_000 {
        pipe.cmd("SET").arg(format!("p{i}")).arg(i).ignore().cmd("GET").arg(format!("p{i}"));
    }
    assert_eq!(pipe.query::<Vec<i64>>(c)?, (0..5_000).collect::<Vec<_>>());
    Ok(())
}

fn binary(c: &mut Connection) -> RedisResult<()> {
    let every: Vec<u8> = (0..=255).collect();
    let _: () = c.set(&every, &every)?;
    assert_eq!(c.get::<_, Vec<u8>>(&every)?, every);
    let big = vec![7_u8; 3_000_000];
    let _: () = c.set("big", &big)?;
    assert!(c.get::<_, Vec<u8>>("big")? == big);
    Ok(())
}

fn errors(c: &mut Connection) -> RedisResult<()> {
    let _: () = c.set("k", "text")?;
    let error = c.incr::<_, _, i64>("k", 1).expect_err("text cannot be counted");
    assert_eq!(error.detail(), Some("value is not an integer or out of range"));
    let error = c.hget::<_, _, String>("k", "f").expect_err("a string is no hash");
    assert_eq!(error.code(), Some("WRONGTYPE"));
    assert_ne!(error.kind(), ErrorKind::Io);
    Ok(())
}

fn hashes(c: &mut Connection) -> RedisResult<()> {
    let _: () = c.hset_multiple("h", &[("f", "1"), ("g", "two")])?;
    let all: BTreeMap<String, String> = c.hgetall("h")?;
    assert_eq!(all, BTreeMap::from([("f".into(), "1".into()), ("g".into(), "two".into())]));
    assert_eq!(c.hincr::<_, _, _, i64>("h", "f", 4)?, 5);
    Ok(())
}

fn scanning(c: &mut Connection) -> RedisResult<()> {
    let keys: BTreeSet<String> = (0..1_000).map(|i| format!("scan{i}")).collect();
    let pairs: Vec<(&String, i32)> = keys.iter().map(|key| (key, 1)).collect();
    let _: () = c.mset(&pairs)?;
    let seen: BTreeSet<String> = c.scan_match::<_, String>("scan*")?.collect::<RedisResult<_>>()?;
    assert_eq!(seen, keys);
    Ok(())
}

fn transactions([one, other]: &mut [Connection; 2]) -> RedisResult<()> {
    let names: Vec<String> = (0..20).map(|i| format!("t{i}")).collect();
    let mut pipe = redis::pipe();
    pipe.atomic();
    names.iter().for_each(|name| {
        pipe.set(name, 1).ignore().incr(name, 1);
    });
    assert_eq!(pipe.query::<Vec<i64>>(one)?, [2; 20]);
    // The first attempt meets a conflict, the second does not.
    let mut attempts = 0;
    let read = redis::transaction(one, &names, |one, pipe| {
        attempts += 1;
        if attempts == 1 {
            let _: () = other.set("t7", 70)?;
        }
        let sum: i64 = one.mget::<_, Vec<i64>>(&names)?.iter().sum();
        pipe.set("t0", sum).ignore().get("t0").query::<Option<(i64,)>>(one)
    })?;
    assert_eq!((attempts, read), (2, (19 * 2 + 70,)));
    Ok(())
}
