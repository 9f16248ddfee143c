//! Whole directories of a journal with something changed: what `corelane check` and the server itself make of them.
//!
//! ```text
//!  written   run 1, rewritten   base, log         sealed: the manifest says where they end
//!            run 2              log               sealed
//!            run 3, killed      log               its end is what is found
//!  changed   a bit, a page of zeroes, a file cut short, lengthened, missing, in the place of another
//!  judged    they agree; who refuses names a file and a place; what is loaded is all of runs 1 and 2, and of run 3 no half transaction
//!            and nothing that was never written
//! ```
//!
//! What the end of the last run lost without a trace nobody can know: a crash leaves the same.

use std::fs;
use std::path::{Path, PathBuf};

use corelane::base::rng::Rng;

use crate::sim::first_seed;
use crate::support::client::Client;
use crate::support::server::{Crashing, free_port, info_field, run_to_end, scratch_dir};
use crate::support::{Value, eventually};

/// Transactions of each run.
const OF_A_RUN: u64 = 12;

/// Of two lanes.
const PAIR: [&str; 2] = ["foo", "hello"];

const FLAGS: [&str; 6] = ["--lanes", "2", "--appendonly", "yes", "--appendfsync", "always"];

fn fill(number: u64) -> String {
    format!("{number}:").repeat(2000)
}

fn write(client: &mut Client, numbers: impl Iterator<Item = u64>) {
    for number in numbers {
        let text = number.to_string();
        assert_eq!(client.call(&["SET", &format!("fill:{number}"), &fill(number)]), Value::ok());
        assert_eq!(client.call(&["MSET", PAIR[0], &text, PAIR[1], &text]), Value::ok());
    }
}

/// The directory of a server that has run three times.
fn written() -> PathBuf {
    let mut server = Crashing::new(free_port(), &FLAGS, ("CORELANE_DISK", ""));
    for run in 0..3 {
        server.start();
        let mut client = Client::connect(server.port);
        write(&mut client, run * OF_A_RUN + 1..=run * OF_A_RUN + OF_A_RUN);
        if run == 0 {
            client.words("BGREWRITEAOF");
            assert!(eventually(|| info_field(&mut client, "aof_rewrites") == "1"), "the rewrite ends");
            client.words("SET behind it");
        }
        server.kill();
    }
    let dir = scratch_dir();
    copy(&server.journal_dir(), &dir);
    dir
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).expect("a directory").map(|entry| entry.expect("an entry").path());
    let mut files: Vec<PathBuf> = entries.filter(|path| !path.ends_with("journal.lock")).collect();
    files.sort();
    files
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for path in files(from) {
        fs::copy(&path, to.join(path.file_name().expect("a file"))).expect("a copy");
    }
}

/// Changes something; what.
fn change(dir: &Path, rng: &mut Rng) -> String {
    let files = files(dir);
    let mut pick = |count: usize| usize::try_from(rng.next_u64() % count.max(1) as u64).expect("small");
    // Spares say nothing.
    let named: Vec<&PathBuf> = files
        .iter()
        .filter(|path| !["spare", "retired"].iter().any(|word| path.to_string_lossy().contains(word)))
        .collect();
    let (one, other) = (named[pick(named.len())], named[pick(named.len())]);
    let (mut bytes, name) =
        (fs::read(one).expect("a file"), |path: &Path| path.file_name().expect("a file").display().to_string());
    // Most of a segment is zeroes behind its end.
    let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let at = pick(used);
    let what = match pick(8) {
        0..=2 if used > 0 => {
            let bit = 1 << pick(8);
            bytes[at] ^= bit;
            format!("{}: byte {at} ^ {bit}", name(one))
        }
        3 => {
            bytes.truncate(at);
            format!("{}: cut at {at}", name(one))
        }
        4 => {
            let (from, len) = (at / 4096 * 4096, bytes.len());
            bytes[from..len.min(from + 4096)].fill(0);
            format!("{}: zeroes from {from}", name(one))
        }
        5 => {
            fs::remove_file(one).expect("a file");
            return format!("{}: missing", name(one));
        }
        6 => {
            fs::copy(other, one).expect("a copy");
            return format!("{}: is {}", name(one), name(other));
        }
        _ => {
            let more = 1 + pick(100);
            bytes.truncate(used);
            bytes.extend((0..more).map(|i| b"CLb1 and more"[i % 13]));
            format!("{}: {more} bytes more behind {used}", name(one))
        }
    };
    fs::write(one, bytes).expect("a file");
    what
}

/// Whether a refusal says where.
fn says_where(said: &str) -> bool {
    let places =
        ["byte ", "position ", "line ", "cannot be read", "cannot read", "restore the manifest", "durable up to"];
    said.contains("journal") && places.iter().any(|place| said.contains(place))
}

#[test]
fn a_changed_directory_is_read_as_it_was_or_refused() {
    let count = std::env::var("CORELANE_FUZZ_DIRECTORIES").ok().and_then(|count| count.parse().ok()).unwrap_or(60);
    let (written, first) = (written(), first_seed());
    let (mut refused, mut loaded) = (0, 0);
    for seed in first..first + count {
        let mut rng = Rng::new(seed);
        let mut server = Crashing::new(free_port(), &FLAGS, ("CORELANE_DISK", ""));
        let dir = server.journal_dir();
        copy(&written, &dir);
        // One in eight is as it was: that it can be loaded is then not left to chance.
        let changes = if seed % 8 == 0 { 0 } else { 1 + seed % 2 };
        let changes: Vec<String> = (0..changes).map(|_| change(&dir, &mut rng)).collect();
        let told = format!("seed {seed}, {}", changes.join(", "));
        let checked = run_to_end(&["check", dir.to_str().expect("plain names")]);
        assert!(matches!(checked.code, Some(0 | 1)), "{told}: {:?} {}", checked.code, checked.output);
        match server.try_start() {
            Err(said) => {
                assert!(!changes.is_empty(), "{told}: {said}");
                assert!(says_where(&said) && !said.contains("panicked"), "{told}: {said}");
                assert!(checked.code == Some(1) && says_where(&checked.output), "{told}: {} {said}", checked.output);
                refused += 1;
            }
            Ok(()) => {
                assert_eq!(checked.code, Some(0), "{told}: {}", checked.output);
                judge(server.port, &told);
                loaded += 1;
            }
        }
    }
    println!("of {count} directories {refused} were refused, {loaded} loaded");
    assert!(count < 30 || refused > count / 5 && loaded > count / 10, "{refused} refused, {loaded} loaded");
    let _ = fs::remove_dir_all(&written);
}

fn judge(port: u16, told: &str) {
    let mut client = Client::connect(port);
    let pair = PAIR.map(|key| client.call(&["GET", key]).text().parse::<u64>().expect("a number"));
    assert_eq!(pair[0], pair[1], "{told}: half a transaction");
    assert!((2 * OF_A_RUN..=3 * OF_A_RUN).contains(&pair[0]), "{told}: {pair:?}");
    assert_eq!(client.words("GET behind"), Value::Bulk(b"it".to_vec()), "{told}");
    let mut keys = 3;
    for number in 1..=3 * OF_A_RUN {
        match client.call(&["GET", &format!("fill:{number}")]) {
            Value::Bulk(text) => {
                assert!(text == fill(number).into_bytes(), "{told}: fill:{number} is something else");
                keys += 1;
            }
            missing => assert!(number > 2 * OF_A_RUN, "{told}: fill:{number} is {missing:?}"),
        }
    }
    assert_eq!(client.words("DBSIZE"), Value::Int(keys), "{told}");
}
