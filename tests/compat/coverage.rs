//! No row without a case: the table of the server is held against the case files.

use super::FAMILIES;
use super::script::{Step, parse};
use crate::support::{Client, Server, Target, Value};
use std::collections::BTreeSet;

#[test]
fn every_row_has_a_case() {
    let covered = covered_names();
    let server = Server::start(&[]);
    let rows = row_names(&mut server.client());
    assert!(rows.contains("get"), "COMMAND LIST gives lower-case names: {rows:?}");
    let missing: Vec<_> = match Target::from_env() {
        Target::Corelane => rows.difference(&covered).collect(),
        // Redis has many more commands than we have cases: there it is the names in the files that are checked.
        Target::Redis => covered
            .difference(&rows)
            .filter(|name| !name.contains('|') && !NOT_IN_REDIS.contains(&name.as_str()))
            .collect(),
    };
    assert!(missing.is_empty(), "without a case (on Redis: without a command): {missing:?}");
}

/// Names in the case files that Redis 7.0 does not know: of newer servers, and one that no server knows.
const NOT_IN_REDIS: &[&str] = &[
    "bgetdel",
    "delifeq",
    "hexpire",
    "hexpireat",
    "hexpiretime",
    "hgetdel",
    "hgetex",
    "hpersist",
    "hpexpire",
    "hpexpireat",
    "hpexpiretime",
    "hpttl",
    "hsetex",
    "httl",
    "nosuch",
];

/// Some cases send what can be no command, to see it refused.
fn is_a_name(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// The command of every step, and `container|sub` of its first two words.
fn covered_names() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (family, text) in FAMILIES {
        for case in parse(text).unwrap_or_else(|why| panic!("cases/{family}.case: {why}")) {
            for step in &case.steps {
                let Step::Call { args, .. } = step else { continue };
                let mut words = args.iter().map(|arg| String::from_utf8_lossy(arg).to_lowercase());
                let Some(name) = words.next().filter(|name| is_a_name(name)) else { continue };
                if let Some(sub) = words.next() {
                    names.insert(format!("{name}|{sub}"));
                }
                names.insert(name);
            }
        }
    }
    names
}

/// COMMAND LIST, and of each container its subcommands by their full name.
fn row_names(client: &mut Client) -> BTreeSet<String> {
    let Value::Array(list) = client.words("COMMAND LIST") else { panic!("COMMAND LIST is an array") };
    let mut names: BTreeSet<String> = list.iter().map(Value::text).collect();
    let Value::Array(infos) = client.words("COMMAND") else { panic!("COMMAND is an array") };
    const SUBCOMMANDS: usize = 9;
    for info in &infos {
        for sub in info.items()[SUBCOMMANDS].items() {
            names.insert(sub.items()[0].text());
        }
    }
    names
}

/// A file that nobody names would be a promise that nobody holds.
#[test]
fn every_case_file_is_run() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/compat/cases");
    let files = std::fs::read_dir(folder).expect("the cases are part of the repository");
    let names: BTreeSet<String> = files
        .map(|file| file.expect("it can be listed").path())
        .map(|path| path.file_stem().expect("a file has a name").to_string_lossy().into_owned())
        .collect();
    let run: BTreeSet<String> = FAMILIES.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(names, run);
}
