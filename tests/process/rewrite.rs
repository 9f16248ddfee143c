//! Rewriting the journal, as an operator meets it: asked for, by itself, switched on and off, left half done; and WAITAOF.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use crate::support::client::Client;
use crate::support::server::{Crashing, Server, free_port, info_field, run_to_end, scratch_dir};
use crate::support::{Value, eventually};

fn server(dir: &Path, flags: &[&str]) -> Server {
    let dir = dir.to_str().expect("scratch folders have plain names");
    Server::start(&[&["--dir", dir, "--auto-aof-rewrite-percentage", "0"], flags].concat()).loaded()
}

fn files(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir.join("appendonlydir")).into_iter().flatten();
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn bytes(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir.join("appendonlydir")).into_iter().flatten();
    entries.map(|entry| entry.and_then(|entry| entry.metadata()).map_or(0, |file| file.len())).sum()
}

fn rewrite(client: &mut Client) {
    let before: u64 = info_field(client, "aof_rewrites").parse().expect("a number");
    assert_eq!(client.words("BGREWRITEAOF"), Value::Simple("Background append only file rewriting started".into()));
    let after = (before + 1).to_string();
    assert!(eventually(|| info_field(client, "aof_rewrites") == after), "the rewrite does not end");
}

/// Something of everything, in several databases.
fn fill(client: &mut Client) {
    for i in 0..3000 {
        client.call(&["SET", &format!("k{i}"), "first"]);
    }
    for i in 0..2000 {
        client.call(&["HSET", "hash", &format!("f{i}"), "value"]);
    }
    for line in ["SET timed 1 EX 1000", "SELECT 3", "SET other 3", "SELECT 0", "INCR counter", "INCR counter"] {
        client.words(line);
    }
    client.call(&["SET", "long", &"x".repeat(1_000_000)]);
    for i in 0..3000 {
        client.call(&["SET", &format!("k{i}"), "last"]);
    }
}

fn assert_filled(client: &mut Client) {
    assert_eq!(client.words("GET k2999"), Value::Bulk(b"last".to_vec()));
    assert_eq!(client.words("HLEN hash"), Value::Int(2000));
    assert_eq!(client.words("STRLEN long"), Value::Int(1_000_000));
    assert_eq!(client.words("GET counter"), Value::Bulk(b"2".to_vec()));
    let Value::Int(left) = client.words("TTL timed") else { panic!("a number") };
    assert!((1..=1000).contains(&left), "{left}");
    client.words("SELECT 3");
    assert_eq!(client.words("GET other"), Value::Bulk(b"3".to_vec()));
    client.words("SELECT 0");
    assert_eq!(client.words("DBSIZE"), Value::Int(3004));
}

#[test]
fn a_rewritten_journal_is_short_and_holds_the_same() {
    let dir = scratch_dir();
    for (run, lanes) in ["2", "2", "3", "1"].into_iter().enumerate() {
        let server = server(&dir, &["--appendonly", "yes", "--lanes", lanes]);
        let mut client = server.client();
        if run == 0 {
            fill(&mut client);
        }
        assert_filled(&mut client);
        let before = bytes(&dir);
        if run < 2 {
            rewrite(&mut client);
        } else {
            // Another number of lanes wrote it: the server rewrites it by itself.
            assert!(eventually(|| info_field(&mut client, "aof_rewrites") == "1"), "{}", server.output());
        }
        if run == 0 {
            assert!(bytes(&dir) < before * 9 / 10, "{} of {before}", bytes(&dir));
        }
        assert_filled(&mut client);
        let lanes: usize = lanes.parse().unwrap();
        let of = |kind: &str| files(&dir).iter().filter(|name| name.contains(kind)).count();
        assert_eq!((of(".base."), of(".log.")), (lanes, lanes), "{:?}", files(&dir));
        assert_eq!(info_field(&mut client, "aof_last_bgrewrite_status"), "ok");
        rewrite(&mut client);
        client.words("SET counter 2");
        server.stop();
        let checked = run_to_end(&["check", dir.join("appendonlydir").to_str().expect("plain names")]);
        assert!(checked.code == Some(0) && checked.output.contains(".base.0: "), "{}", checked.output);
    }
    let server = server(&dir, &["--appendonly", "yes", "--lanes", "2"]);
    assert_filled(&mut server.client());
    server.stop();
    let _ = fs::remove_dir_all(&dir);
}

/// As in Redis: within EXEC it comes later, and while one is under way there is no other.
#[test]
fn who_asks_for_a_rewrite_is_told_what_becomes_of_it() {
    for lanes in ["1", "2"] {
        let dir = scratch_dir();
        let server = server(&dir, &["--appendonly", "yes", "--lanes", lanes]);
        let mut client = server.client();
        client.words("MULTI");
        client.words("BGREWRITEAOF");
        let scheduled = Value::Simple("Background append only file rewriting scheduled".into());
        assert_eq!(client.words("EXEC"), Value::Array(vec![scheduled]));
        assert!(eventually(|| info_field(&mut client, "aof_rewrites") == "1"), "the rewrite does not come");
        let pipeline = "BGREWRITEAOF\r\nBGREWRITEAOF\r\nMULTI\r\nBGREWRITEAOF\r\nEXEC\r\nINFO persistence\r\n";
        client.stream().write_all(pipeline.as_bytes()).expect("it takes them");
        let refused = Value::Error("ERR Background append only file rewriting already in progress".into());
        assert_eq!(client.read(), Value::Simple("Background append only file rewriting started".into()));
        assert_eq!(client.read(), refused);
        assert_eq!([client.read(), client.read()], [Value::ok(), Value::Simple("QUEUED".into())]);
        assert_eq!(client.read(), Value::Array(vec![refused]));
        let Value::Bulk(info) = client.read() else { panic!("INFO is a bulk string") };
        assert!(String::from_utf8(info).unwrap().contains("aof_rewrite_in_progress:1\r\naof_rewrite_scheduled:0\r\n"));
        assert!(eventually(|| info_field(&mut client, "aof_rewrites") == "2"), "the rewrite does not end");
        assert_eq!(info_field(&mut client, "aof_rewrite_in_progress"), "0");
        server.stop();
        let _ = fs::remove_dir_all(&dir);
    }
}

#[test]
fn a_journal_that_has_grown_is_rewritten_by_itself() {
    let dir = scratch_dir();
    let flags = ["--appendonly", "yes", "--lanes", "2", "--auto-aof-rewrite-min-size", "2mb"];
    let server = server(&dir, &[&flags[..], &["--auto-aof-rewrite-percentage", "100"]].concat());
    let mut client = server.client();
    let value = "v".repeat(10_000);
    let rewritten = eventually(|| {
        (0..200).for_each(|i| _ = client.call(&["SET", &format!("k{}", i % 10), &value]));
        info_field(&mut client, "aof_rewrites") != "0"
    });
    assert!(rewritten, "{}", server.output());
    let size: u64 = info_field(&mut client, "aof_current_size").parse().unwrap();
    assert!(size < 40_000_000, "{size}");
    server.stop();
    let _ = fs::remove_dir_all(&dir);
}

#[test]
fn the_journal_is_switched_on_and_off_while_the_server_runs() {
    for lanes in ["1", "3"] {
        let dir = scratch_dir();
        let off = server(&dir, &["--lanes", lanes, "--appendfsync", "always"]);
        let mut client = off.client();
        fill(&mut client);
        let refusal = "ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.";
        assert_eq!(client.words("WAITAOF 1 0 0"), Value::Error(refusal.into()));
        for round in 1..=3_u32 {
            assert_eq!(client.words("CONFIG SET appendonly yes"), Value::ok());
            assert_eq!(client.call(&["SET", "round", &round.to_string()]), Value::ok());
            // It waits until the journal counts.
            assert_eq!(client.words("WAITAOF 1 0 0"), Value::Array(vec![Value::Int(1), Value::Int(0)]));
            assert_eq!(info_field(&mut client, "aof_rewrites"), round.to_string());
            assert_eq!(client.words("MSET a 1 b 2 c 3"), Value::ok());
            assert_eq!(client.words("CONFIG SET appendonly no"), Value::ok());
            assert_eq!(info_field(&mut client, "aof_enabled"), "0");
            assert_eq!(client.words("SET after off"), Value::ok());
            assert_eq!(client.words("DEL after"), Value::Int(1));
        }
        assert_eq!(client.words("CONFIG SET appendonly yes"), Value::ok());
        assert_eq!(client.words("WAITAOF 1 0 0"), Value::Array(vec![Value::Int(1), Value::Int(0)]));
        assert_eq!(client.words("DEL a b c round"), Value::Int(4));
        off.stop();
        let on = server(&dir, &["--lanes", lanes, "--appendonly", "yes"]);
        assert_filled(&mut on.client());
        on.stop();
        let _ = fs::remove_dir_all(&dir);
    }
}

#[test]
fn what_a_rewrite_left_is_removed_at_start() {
    let dir = scratch_dir();
    let first = server(&dir, &["--appendonly", "yes", "--lanes", "1"]);
    first.client().words("SET k v");
    first.stop();
    let left = ["journal.77.base.0", "journal.78.log.0", "journal.78.log.1"];
    left.iter().for_each(|name| fs::write(dir.join("appendonlydir").join(name), "half").unwrap());
    let second = server(&dir, &["--appendonly", "yes", "--lanes", "1"]);
    assert!(second.output().contains(&left.join(" ")), "{}", second.output());
    assert!(!files(&dir).iter().any(|name| left.contains(&name.as_str())), "{:?}", files(&dir));
    assert_eq!(second.client().words("GET k"), Value::Bulk(b"v".to_vec()));
    second.stop();
    let _ = fs::remove_dir_all(&dir);
}

/// A journal that cannot be begun is no reason to stop, nor to forget what is there.
#[test]
fn a_directory_that_cannot_be_used_is_refused_and_may_be_tried_again() {
    let dir = scratch_dir();
    let path: PathBuf = dir.join("appendonlydir");
    fs::write(&path, "in the way").unwrap();
    let server = server(&dir, &["--lanes", "2"]);
    let mut client = server.client();
    client.words("SET k v");
    assert!(
        matches!(client.words("CONFIG SET appendonly yes"), Value::Error(said) if said.contains("Unable to turn on AOF"))
    );
    assert!(server.output().contains("check the directory's owner"), "{}", server.output());
    assert_eq!(client.words("SET k w"), Value::ok());
    fs::remove_file(&path).unwrap();
    assert_eq!(client.words("CONFIG SET appendonly yes"), Value::ok());
    assert!(eventually(|| info_field(&mut client, "aof_rewrites") == "1"), "{}", server.output());
    server.stop();
    let _ = fs::remove_dir_all(&dir);
}

/// On a disk that loses what was not synced, killed at once after WAITAOF.
#[test]
fn waitaof_answers_when_the_write_is_on_the_disk() {
    for lanes in ["1", "3"] {
        let flags = ["--lanes", lanes, "--appendonly", "yes", "--appendfsync", "no"];
        let mut server = Crashing::new(free_port(), &flags, ("CORELANE_DISK", "lossy"));
        for round in 1..=5_u32 {
            server.start();
            let mut client = Client::connect(server.port);
            let last = (round - 1).to_string();
            for key in ["foo", "hello", "bar"] {
                let found = client.call(&["GET", key]);
                if round > 1 {
                    assert_eq!(found, Value::Bulk(last.clone().into_bytes()), "{key}");
                }
                assert_eq!(client.call(&["SET", key, &round.to_string()]), Value::ok());
            }
            assert_eq!(client.words("WAITAOF 1 0 5000"), Value::Array(vec![Value::Int(1), Value::Int(0)]));
            assert_eq!(client.words("WAITAOF 1 1 30"), Value::Array(vec![Value::Int(1), Value::Int(0)]));
            server.kill();
        }
    }
}
