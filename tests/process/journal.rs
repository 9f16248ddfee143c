//! The journal's directory, as an operator meets it: started again, with another number of lanes, torn, damaged, not alone.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use corelane::persist::Position;
use corelane::persist::manifest::{Kind, Manifest, Volume};

use crate::support::client::Client;
use crate::support::server::{Crashing, Server, free_port, info_field, run_to_end, scratch_dir};
use crate::support::{Value, eventually};

fn text(path: &Path) -> &str {
    path.to_str().expect("scratch folders have plain names")
}

fn server(lanes: &str, dir: &Path) -> Server {
    let dir = text(dir);
    Server::start(&["--lanes", lanes, "--appendonly", "yes", "--dir", dir]).loaded()
}

fn lines(client: &mut Client, lines: &[&str]) {
    for line in lines {
        let said = client.words(line);
        assert!(!matches!(said, Value::Error(_)), "{line}: {said:?}");
    }
}

/// The files of logs that anything was written to, in the order of their names.
fn logs(dir: &Path) -> Vec<PathBuf> {
    let is_log = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        name.contains(".log.") && !name.contains("retired")
    };
    let is_written = |path: &PathBuf| fs::read(path).is_ok_and(|bytes| bytes.iter().any(|byte| *byte != 0));
    let entries = fs::read_dir(dir.join("appendonlydir")).expect("the journal's directory");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let mut found: Vec<PathBuf> = paths.filter(is_log).filter(is_written).collect();
    found.sort();
    found
}

/// The record that makes the key stay is many turns of loading behind the one that would let it go.
#[test]
fn nothing_expires_while_a_journal_is_loaded() {
    let dir = scratch_dir();
    let first = server("1", &dir);
    let mut client = first.client();
    client.words("SET kept v PX 60000");
    let filler = "x".repeat(10_000);
    for i in 0..400 {
        client.call(&["SET", &format!("filler:{i}"), &filler]);
    }
    // Its deadline is past when the journal is loaded, the record behind takes it away.
    client.words("PEXPIRE kept 700");
    for i in 0..400 {
        client.call(&["SET", &format!("filler:{i}"), &filler]);
    }
    assert_eq!(client.words("PERSIST kept"), Value::Int(1));
    first.stop();
    std::thread::sleep(std::time::Duration::from_millis(800));
    let second = server("1", &dir);
    assert_eq!(second.client().words("GET kept"), Value::Bulk(b"v".to_vec()));
    second.stop();
}

#[test]
fn what_was_written_is_there_again_whatever_the_number_of_lanes() {
    let dir = scratch_dir();
    let mut expected: Vec<(String, String)> = Vec::new();
    for (run, lanes) in ["1", "3", "3", "2", "1"].into_iter().enumerate() {
        let server = server(lanes, &dir);
        let mut client = server.client();
        for (key, value) in &expected {
            assert_eq!(
                client.call(&["GET", key.as_str()]),
                Value::Bulk(value.clone().into_bytes()),
                "{key}, run {run}"
            );
        }
        if run > 0 {
            assert_eq!(client.words("HGETALL h"), client.words("HGETALL copy"));
            assert_eq!(client.words("HGET h f"), Value::Bulk(b"v".to_vec()));
            assert_eq!(client.words("EXISTS gone flushed expired"), Value::Int(0));
            let Value::Int(left) = client.words("PTTL timed") else { panic!("a number") };
            assert!((1..=1_000_000).contains(&left), "{left}");
            assert_eq!(client.words("INCR counter"), Value::Int(i64::try_from(run).unwrap() + 1));
        } else {
            lines(
                &mut client,
                &["SET flushed 1", "FLUSHALL", "HSET h f v g w", "SET timed x PX 1000000", "INCR counter"],
            );
            lines(
                &mut client,
                &["SET gone 1", "DEL gone", "SET expired 1 PX 1", "SET b 1", "RENAME b renamed", "COPY h copy"],
            );
            expected.push(("renamed".to_owned(), "1".to_owned()));
        }
        for i in 0..50 {
            let (key, value) = (format!("k:{run}:{i}"), format!("{i}"));
            client.call(&["SET", &key, &value]);
            expected.push((key, value));
        }
        lines(&mut client, &["SELECT 3", "SET other db3", "SWAPDB 3 4", "SELECT 4"]);
        assert_eq!(client.words("GET other"), Value::Bulk(b"db3".to_vec()));
        lines(&mut client, &["SWAPDB 3 4"]);
        server.stop();
    }
    let _ = fs::remove_dir_all(&dir);
}

/// Files of every version of the format that there ever was, with a torn end, are loaded for ever, by any number of lanes.
#[test]
fn a_journal_of_each_version_is_read() {
    for version in ["journal-1", "journal-2"] {
        for lanes in ["3", "2"] {
            let (from, dir) =
                (Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(version), scratch_dir());
            fs::create_dir(dir.join("appendonlydir")).unwrap();
            for entry in fs::read_dir(from.join("appendonlydir")).unwrap() {
                let path = entry.unwrap().path();
                fs::copy(&path, dir.join("appendonlydir").join(path.file_name().unwrap())).unwrap();
            }
            let (code, said) = check(&dir);
            assert!(code == Some(0) && said.contains("the torn end that a crash leaves"), "{version}: {said}");
            let server = server(lanes, &dir);
            let mut client = server.client();
            for line in fs::read_to_string(from.join("expected.txt")).unwrap().lines() {
                let (asked, expected) = line.split_once(" => ").unwrap();
                client.send(&asked.split(' ').collect::<Vec<_>>());
                client.expect_raw(expected.replace("\\r\\n", "\r\n").as_bytes());
            }
            server.stop();
            let _ = fs::remove_dir_all(&dir);
        }
    }
}

#[test]
fn a_directory_belongs_to_one_server() {
    let dir = scratch_dir();
    let first = server("1", &dir);
    let path = text(&dir);
    let second = run_to_end(&["--port", &free_port().to_string(), "--appendonly", "yes", "--dir", path]);
    assert_eq!(second.code, Some(1));
    assert!(second.output.contains("another server writes its journal"), "{}", second.output);
    first.stop();
    let _ = fs::remove_dir_all(&dir);
}

/// The command that would do what cannot be done says so, and nobody is promised anything.
#[test]
fn a_journal_is_not_switched_on_in_a_directory_of_another_server() {
    let dir = scratch_dir();
    let (first, second) = (server("1", &dir), Server::start(&["--lanes", "2", "--dir", text(&dir)]));
    let mut client = second.client();
    let is_refused = |said: &Value, why: &str| matches!(said, Value::Error(said) if said.contains(why));
    let said = client.words("CONFIG SET appendonly yes");
    let why =
        "ERR CONFIG SET failed (possibly related to argument 'appendonly') - Unable to turn on AOF. Check server logs.";
    assert!(is_refused(&said, why), "{said:?}");
    assert!(second.output().contains("another server writes its journal"), "{}", second.output());
    assert_eq!(info_field(&mut client, "aof_enabled"), "0");
    assert!(is_refused(&client.words("CLIENT DURABILITY FSYNC"), "appendonly is disabled"));
    assert_eq!(client.words("SET a 1"), Value::ok());
    first.stop();
    assert_eq!(client.words("CONFIG SET appendonly yes"), Value::ok());
    assert_eq!(client.words("WAITAOF 1 0 5000"), Value::Array(vec![Value::Int(1), Value::Int(0)]));
    assert_eq!(client.words("CLIENT DURABILITY FSYNC"), Value::ok());
    assert_eq!(client.words("SET a 2"), Value::ok());
    // Who has asked for the disk does not learn that it cannot be had from a reply that says it was.
    let mut other = second.client();
    assert_eq!(other.words("CONFIG SET appendonly no"), Value::ok());
    let mut ends = || client.stream().write_all(b"PING\r\n").is_err() || client.try_read().is_err();
    assert!(eventually(&mut ends), "it is still there");
    assert_eq!(other.words("SET a 3"), Value::ok());
    second.stop();
    let _ = fs::remove_dir_all(&dir);
}

#[test]
fn the_directory_of_the_journal_is_a_name() {
    for name in ["a/b", "..", "/tmp"] {
        let ended = run_to_end(&["--port", &free_port().to_string(), "--appenddirname", name]);
        let says = ended.output.contains("appenddirname can't be a path, just a dirname");
        assert!(ended.code == Some(1) && says, "{name}: {}", ended.output);
    }
}

#[test]
fn what_holds_no_journal_is_none_that_can_be_loaded() {
    let dir = scratch_dir();
    let ended = run_to_end(&["check", text(&dir)]);
    assert!(ended.code == Some(1) && ended.output.contains("holds no journal"), "{}", ended.output);
    let _ = fs::remove_dir_all(&dir);
    // The server's directory does as well as the journal's.
    let dir = written();
    let ended = run_to_end(&["check", text(&dir)]);
    assert!(
        ended.code == Some(0) && ended.output.contains("appendonlydir holds a journal that can be loaded"),
        "{}",
        ended.output
    );
    let _ = fs::remove_dir_all(&dir);
}

/// Whatever a manifest says: a server that cannot load does not panic.
#[test]
fn logs_of_one_run_with_different_numbers_of_lanes_are_refused() {
    for (before, behind) in [(2, 1), (1, 2)] {
        let dir = scratch_dir();
        let journal = dir.join("appendonlydir");
        fs::create_dir(&journal).unwrap();
        let volume = |number, lanes: u16| {
            let from = Some(vec![Position(0); usize::from(lanes)]);
            Volume { kind: Kind::Log, number, id: number, lanes, from, to: None }
        };
        let manifest = Manifest { volumes: vec![volume(1, before), volume(2, behind)] };
        for volume in &manifest.volumes {
            (0..volume.lanes).for_each(|lane| fs::write(journal.join(volume.file_name(lane)), "").unwrap());
        }
        fs::write(journal.join("journal.manifest"), manifest.to_text()).unwrap();
        let said = refused(&dir, &[]);
        assert!(said.contains("restore the directory from a backup") && !said.contains("panicked"), "{said}");
        let (code, said) = check(&dir);
        assert!(code == Some(1) && !said.contains("panicked"), "{said}");
        let _ = fs::remove_dir_all(&dir);
    }
}

/// A directory with a journal of which all was synced.
fn written() -> PathBuf {
    let dir = scratch_dir();
    let server =
        Server::start(&["--lanes", "1", "--appendonly", "yes", "--appendfsync", "always", "--dir", text(&dir)]);
    let mut client = server.client();
    (0..100).for_each(|i| lines(&mut client, &[&format!("SET k{i} {i}")]));
    server.stop();
    dir
}

fn check(dir: &Path) -> (Option<i32>, String) {
    let ended = run_to_end(&["check", text(&dir.join("appendonlydir"))]);
    (ended.code, ended.output)
}

fn refused(dir: &Path, flags: &[&str]) -> String {
    let port = free_port().to_string();
    let args = [&["--port", &port, "--lanes", "1", "--appendonly", "yes", "--dir", text(dir)], flags].concat();
    let ended = run_to_end(&args);
    assert_eq!(ended.code, Some(1), "{}", ended.output);
    ended.output
}

#[test]
fn a_torn_end_is_cut_off_or_refused_as_told() {
    let dir = written();
    let logs = logs(&dir);
    let file = logs.last().unwrap();
    let bytes = fs::read(file).unwrap();
    fs::write(file, &bytes[..bytes.len() - 3]).unwrap();
    let (code, said) = check(&dir);
    assert!(code == Some(0) && said.contains("the torn end that a crash leaves"), "{said}");
    let said = refused(&dir, &["--aof-load-truncated", "no"]);
    assert!(said.contains("aof-load-truncated yes"), "{said}");
    let server = server("1", &dir);
    assert!(server.output().contains("the journal ends before it"), "{}", server.output());
    let mut client = server.client();
    assert_eq!(client.words("GET k98"), Value::Bulk(b"98".to_vec()));
    server.stop();
    let _ = fs::remove_dir_all(&dir);
}

#[test]
fn damage_before_what_was_synced_is_refused_with_its_place() {
    let dir = written();
    let file = &logs(&dir)[0];
    let mut bytes = fs::read(file).unwrap();
    bytes[60] ^= 1;
    fs::write(file, &bytes).unwrap();
    let name = file.file_name().unwrap().to_str().unwrap();
    let said = refused(&dir, &[]);
    assert!(said.contains(name) && said.contains("at byte 0") && said.contains("backup"), "{said}");
    let (code, said) = check(&dir);
    assert!(code == Some(1) && said.contains(name), "{said}");
    let _ = fs::remove_dir_all(&dir);
}

#[test]
fn lost_or_foreign_files_are_refused() {
    let dir = written();
    let manifest = dir.join("appendonlydir/journal.manifest");
    let text = fs::read_to_string(&manifest).unwrap();
    fs::write(&manifest, text.replace("lanes", "lames")).unwrap();
    assert!(refused(&dir, &[]).contains("checksum"));
    fs::remove_file(&manifest).unwrap();
    assert!(refused(&dir, &[]).contains("restore the manifest"));
    let _ = fs::remove_dir_all(&dir);
    let dir = scratch_dir();
    fs::create_dir(dir.join("appendonlydir")).unwrap();
    fs::write(dir.join("appendonlydir/appendonly.aof.manifest"), "").unwrap();
    assert!(refused(&dir, &[]).contains("a journal of Redis"));
    let _ = fs::remove_dir_all(&dir);
}

/// With `everysec` a killed server has lost at most the last second or so, and of no transaction half.
#[test]
fn every_second_is_on_the_disk_a_second_later() {
    let flags = ["--lanes", "2", "--appendonly", "yes", "--appendfsync", "everysec"];
    let mut server = Crashing::new(free_port(), &flags, ("CORELANE_DISK", "lossy"));
    let mut floor = 0_i64;
    for round in 0..3 {
        server.start();
        let mut client = Client::connect(server.port);
        let number = |value| match value {
            Value::Bulk(text) => String::from_utf8(text).unwrap().parse::<i64>().unwrap(),
            _ => 0,
        };
        let found = number(client.words("GET foo"));
        assert_eq!(found, number(client.words("GET hello")), "round {round}: half a transaction");
        assert!(found >= floor, "round {round}: {found}, but {floor} was written more than a second before the end");
        let started = std::time::Instant::now();
        let mut sent = found;
        while started.elapsed().as_millis() < 2400 {
            sent += 1;
            let text = sent.to_string();
            assert_eq!(client.call(&["MSET", "foo", &text, "hello", &text]), Value::ok());
            if started.elapsed().as_millis() < 1000 {
                floor = sent;
            }
        }
        server.kill();
    }
}
