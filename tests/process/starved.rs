//! A journal's directory that cannot be used as it should: no descriptors left, nobody may write there, it is gone. A line says so, INFO does, and
//! nothing that was acknowledged is lost.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use crate::support::client::Client;
use crate::support::server::{Server, Target, free_port, info_field, run_program, scratch_dir};
use crate::support::{Value, eventually};

fn server(dir: &Path) -> Server {
    let dir = dir.to_str().expect("scratch folders have plain names");
    let flags =
        ["--lanes", "2", "--appendonly", "yes", "--appendfsync", "always", "--auto-aof-rewrite-percentage", "0"];
    Server::start(&[&flags[..], &["--dir", dir]].concat()).loaded()
}

/// Several segments of each lane.
fn fill(client: &mut Client, round: u32) {
    let value = format!("{round}:").repeat(4000);
    for i in 0..100 {
        assert_eq!(client.call(&["SET", &format!("k{i}"), &value]), Value::ok());
    }
}

fn assert_filled(dir: &Path, round: u32) {
    let server = server(dir);
    let value = Value::Bulk(format!("{round}:").repeat(4000).into_bytes());
    let mut client = server.client();
    (0..100).for_each(|i| assert_eq!(client.call(&["GET", &format!("k{i}")]), value, "k{i}"));
    server.stop();
}

fn rewrite(client: &mut Client) -> String {
    let before = info_field(client, "aof_rewrites_consecutive_failures");
    let rewritten = info_field(client, "aof_rewrites");
    assert!(matches!(client.words("BGREWRITEAOF"), Value::Simple(_)));
    let is_over = |client: &mut Client| {
        info_field(client, "aof_rewrite_in_progress") == "0"
            && (info_field(client, "aof_rewrites_consecutive_failures") != before
                || info_field(client, "aof_rewrites") != rewritten)
    };
    assert!(eventually(|| is_over(client)), "the rewrite does not end");
    info_field(client, "aof_last_bgrewrite_status")
}

/// The soft limit of open files, so that the next one is refused; or as before.
fn limit(server: &Server, soft: Option<usize>) {
    let soft = soft.unwrap_or(1024);
    let limited =
        Command::new("prlimit").args(["--pid", &server.pid().to_string(), &format!("--nofile={soft}:")]).status();
    assert!(limited.is_ok_and(|status| status.success()), "prlimit of util-linux");
}

/// The number that the next file would get.
fn next_descriptor(server: &Server) -> usize {
    let entries = fs::read_dir(format!("/proc/{}/fd", server.pid())).expect("our own process");
    let open: BTreeSet<usize> = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
    (0..).find(|number| !open.contains(number)).expect("there is always one more")
}

#[test]
fn without_descriptors_it_goes_on_in_the_files_it_has() {
    let dir = scratch_dir();
    let server = server(&dir);
    let mut client = server.client();
    fill(&mut client, 1);
    limit(&server, Some(next_descriptor(&server)));
    assert_eq!(rewrite(&mut client), "err", "{}", server.output());
    let said = server.output();
    assert!(said.contains("cannot make files in ") && said.contains("appendonlydir (Too many open files)"), "{said}");
    let lacks_segments = |said: &str| {
        said.lines().any(|line| line.contains("no segments can be made") && line.contains("(Too many open files)"))
    };
    // Some are there from before; how many depends on how far the maker was ahead.
    let filled = eventually(|| {
        fill(&mut client, 2);
        lacks_segments(&server.output())
    });
    assert!(filled, "{}", server.output());
    assert_eq!(info_field(&mut client, "aof_last_write_status"), "ok");
    limit(&server, None);
    assert_eq!(rewrite(&mut client), "ok", "{}", server.output());
    fill(&mut client, 3);
    server.stop();
    assert_filled(&dir, 3);
    let _ = fs::remove_dir_all(&dir);
}

#[test]
fn a_directory_that_is_gone_is_missed_by_rewrites_only() {
    let dir = scratch_dir();
    let server = server(&dir);
    let mut client = server.client();
    fill(&mut client, 1);
    fs::rename(dir.join("appendonlydir"), dir.join("elsewhere")).unwrap();
    assert_eq!(rewrite(&mut client), "err", "{}", server.output());
    let said = server.output();
    assert!(
        said.contains("cannot make files in ") && said.contains("appendonlydir (No such file or directory)"),
        "{said}"
    );
    fill(&mut client, 2);
    fs::rename(dir.join("elsewhere"), dir.join("appendonlydir")).unwrap();
    assert_eq!(rewrite(&mut client), "ok", "{}", server.output());
    fill(&mut client, 3);
    server.stop();
    assert_filled(&dir, 3);
    let _ = fs::remove_dir_all(&dir);
}

/// Root may write anywhere, unless it gives that up.
fn as_others(args: &[&str]) -> (Option<i32>, String) {
    let program = Target::program();
    let program = program.to_str().expect("plain names");
    let without = ["--bounding-set", "-dac_override,-dac_read_search", program];
    let ended = run_program("setpriv", &[&without[..], args].concat());
    (ended.code, ended.output)
}

#[test]
fn a_directory_nobody_may_write_to_is_refused_at_start() {
    let dir = scratch_dir();
    let first = server(&dir);
    fill(&mut first.client(), 1);
    first.stop();
    let journal = dir.join("appendonlydir");
    let port = free_port().to_string();
    let args = ["--port", &port, "--lanes", "2", "--appendonly", "yes", "--dir", dir.to_str().unwrap()];
    let (_, free) = as_others(&["--version"]);
    assert!(free.starts_with("corelane "), "setpriv of util-linux: {free}");
    fs::set_permissions(&journal, Permissions::from_mode(0o555)).unwrap();
    let (code, said) = as_others(&args);
    assert!(code == Some(1) && said.contains("appendonlydir (Permission denied)"), "{said}");
    fs::set_permissions(&journal, Permissions::from_mode(0o755)).unwrap();
    assert_filled(&dir, 1);
    let _ = fs::remove_dir_all(&dir);
}
