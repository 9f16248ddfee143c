//! What clients see while a journal is loaded, whoever wrote it. `key-load-delay` makes it as long as a test wants.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::support::client::Client;
use crate::support::server::{Server, info_field, run_to_end, scratch_dir};
use crate::support::{Value, eventually};

const KEYS: usize = 400;
const LOADING: &str = "LOADING Redis is loading the dataset in memory";

/// Seconds for each record: it would take hours.
const FOR_EVER: &str = "5000000";

/// Fields of INFO that are there while it loads, as in Redis.
const FIELDS: [&str; 6] = [
    "loading_start_time",
    "loading_total_bytes",
    "loading_rdb_used_mem",
    "loading_loaded_bytes",
    "loading_loaded_perc",
    "loading_eta_seconds",
];

fn text(path: &Path) -> &str {
    path.to_str().expect("scratch folders have plain names")
}

fn server(dir: &Path, lanes: &str, delay_us: &str) -> Server {
    Server::start(&["--lanes", lanes, "--appendonly", "yes", "--dir", text(dir), "--key-load-delay", delay_us])
}

/// A directory in which so many lanes have written keys of a kilobyte.
fn written(lanes: &str) -> PathBuf {
    let dir = scratch_dir();
    let server = server(&dir, lanes, "0").loaded();
    let mut client = server.client();
    for i in 0..KEYS {
        client.call(&["SET", &format!("k{i}"), &format!("{i}").repeat(400)]);
    }
    server.stop();
    dir
}

fn number(client: &mut Client, field: &str) -> f64 {
    info_field(client, field).parse().unwrap_or_else(|_| panic!("{field} is a number"))
}

/// One that wrote it itself, others by which it must be parted first.
const LANES: [(&str, &str); 3] = [("2", "2"), ("2", "3"), ("3", "1")];

#[test]
fn clients_are_told_and_served_when_all_is_there() {
    for (wrote, loads) in LANES {
        let dir = written(wrote);
        let server = server(&dir, loads, "20000");
        let mut client = server.client();
        for refused in ["GET k1", "SET k1 v", "PING", "DBSIZE", "BGREWRITEAOF", "MGET k1 k2 k3", "WAITAOF 0 0 0"] {
            assert_eq!(client.words(refused), Value::Error(LOADING.into()), "{refused}");
        }
        for served in ["MULTI", "DISCARD", "CLIENT SETNAME me", "CLIENT DURABILITY FSYNC", "CLIENT DURABILITY DEFAULT"]
        {
            assert_eq!(client.words(served), Value::ok(), "{served}");
        }
        client.words("MULTI");
        assert_eq!(client.words("GET k1"), Value::Error(LOADING.into()));
        assert!(matches!(client.words("EXEC"), Value::Error(said) if said.starts_with("EXECABORT")));
        assert!(!server.output().contains("Ready to accept connections"), "{}", server.output());

        assert_eq!(info_field(&mut client, "loading"), "1");
        let total = number(&mut client, "loading_total_bytes");
        assert!(total > 400_000.0, "{total}");
        assert!(eventually(|| number(&mut client, "loading_loaded_bytes") > 0.0), "it does not come further");
        let of_all = FIELDS.map(|field| number(&mut client, field));
        let now_s = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
        let [start_s, total, _, loaded, percent, eta_s] = of_all;
        assert!((now_s - 60.0..=now_s).contains(&start_s), "{of_all:?}");
        assert!(loaded <= total && percent > 0.0 && percent <= 100.0 && (0.0..100.0).contains(&eta_s), "{of_all:?}");

        assert_eq!(client.words("CONFIG SET key-load-delay 0"), Value::ok());
        let last = format!("{}", KEYS - 1).repeat(400);
        assert!(
            eventually(|| client.words("GET k399") == Value::Bulk(last.clone().into_bytes())),
            "{}",
            server.output()
        );
        assert_eq!(client.words("DBSIZE"), Value::Int(i64::try_from(KEYS).unwrap()));
        assert_eq!(info_field(&mut client, "loading"), "0");
        let Value::Bulk(info) = client.words("INFO persistence") else { panic!("INFO is a bulk string") };
        assert!(!String::from_utf8(info).unwrap().contains("loading_start_time"));
        assert!(eventually(|| server.output().contains("Ready to accept connections")), "{}", server.output());
        if wrote != loads {
            assert!(eventually(|| info_field(&mut client, "aof_rewrites") == "1"), "{}", server.output());
        }
        server.stop();
        let _ = fs::remove_dir_all(&dir);
    }
}

/// Who ends a server that loads does not wait for it, and loses nothing.
#[test]
fn a_server_that_loads_can_be_ended() {
    for (wrote, loads) in LANES {
        let dir = written(wrote);
        let first = server(&dir, loads, FOR_EVER);
        let mut client = first.client();
        assert_eq!(client.words("GET k1"), Value::Error(LOADING.into()));
        let began = Instant::now();
        first.stop();
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
        let second = server(&dir, loads, "0").loaded();
        assert_eq!(second.client().words("DBSIZE"), Value::Int(i64::try_from(KEYS).unwrap()));
        second.stop();
        let _ = fs::remove_dir_all(&dir);
    }
}

/// The journal is switched off before it is loaded: then it is loaded all the same, and no more is written.
#[test]
fn what_is_loaded_may_be_the_last_of_its_journal() {
    let dir = written("2");
    let server = server(&dir, "2", "20000");
    let mut client = server.client();
    assert_eq!(client.words("CONFIG SET appendonly no key-load-delay 0"), Value::ok());
    let server = server.loaded();
    assert_eq!(client.words("DBSIZE"), Value::Int(i64::try_from(KEYS).unwrap()));
    assert_eq!(client.words("SET after off"), Value::ok());
    assert_eq!(client.words("CONFIG SET appendonly yes"), Value::ok());
    assert_eq!(client.words("WAITAOF 1 0 0"), Value::Array(vec![Value::Int(1), Value::Int(0)]));
    server.stop();
    let _ = fs::remove_dir_all(&dir);
}

/// What is found out when clients are connected already ends the server, with a line that says file and place.
#[test]
fn damage_that_is_found_while_loading_ends_the_server() {
    for (wrote, loads) in LANES {
        let dir = written(wrote);
        let path = dir.join("appendonlydir/journal.1.log.0");
        let mut bytes = fs::read(&path).unwrap();
        bytes[60] ^= 1;
        fs::write(&path, bytes).unwrap();
        let pidfile = dir.join("pid");
        let flags = ["--lanes", loads, "--appendonly", "yes", "--dir", text(&dir), "--port", "0", "--shard-port"];
        let port = crate::support::server::consecutive_free_ports(3).to_string();
        let ended = run_to_end(&[&flags[..], &[&port, "--pidfile", text(&pidfile)]].concat());
        assert_eq!(ended.code, Some(1), "{}", ended.output);
        assert!(ended.output.contains("journal.1.log.0") && ended.output.contains("byte 0"), "{}", ended.output);
        assert!(!pidfile.exists(), "a server that is gone leaves no file");
        let _ = fs::remove_dir_all(&dir);
    }
}
