//! `redis-cli -c`: follows MOVED where a node answers it, and needs to follow nothing where keys are forwarded.

use super::{NODES, nodes_of};
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};

const KEYS: u32 = 60;

/// What it prints for lines typed into it, connected to the first node.
fn typed(first_port: u16, lines: &str) -> Vec<String> {
    let mut command = Command::new("redis-cli");
    command.args(["-c", "-p", &first_port.to_string()]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("redis-cli runs");
    child.stdin.take().expect("it is piped").write_all(lines.as_bytes()).expect("it takes its lines");
    let output = child.wait_with_output().expect("it ends with its input");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("all is text").lines().map(str::to_owned).collect()
}

/// Writes and reads keys of all nodes; the values come back in their order.
fn script() -> String {
    let mut lines = String::new();
    for i in 0..KEYS {
        write!(lines, "SET key{i} value{i}\nGET key{i}\n").expect("a String takes all");
    }
    lines
}

fn expected() -> Vec<String> {
    (0..KEYS).flat_map(|i| ["OK".to_owned(), format!("value{i}")]).collect()
}

#[test]
fn redis_cli_is_forwarded() {
    for nodes in NODES {
        let (_server, first) = nodes_of(nodes, &[]);
        assert_eq!(typed(first, &script()), expected());
        let several = "MSET a 1 b 2 c 3\nMGET a b c\nMULTI\nINCR a\nINCR b\nINCR c\nEXEC\n";
        let said = typed(first, several);
        assert_eq!(said, ["OK", "1", "2", "3", "OK", "QUEUED", "QUEUED", "QUEUED", "2", "3", "4"]);
    }
}

#[test]
fn redis_cli_follows_moved() {
    for nodes in NODES {
        let (server, first) = nodes_of(nodes, &["--shard-port-moved", "yes"]);
        let said = typed(first, &script());
        let (followed, rest): (Vec<_>, Vec<_>) = said.into_iter().partition(|line| line.starts_with("-> Redirected"));
        assert_eq!(rest, expected());
        assert!(followed.len() > 10, "keys are on all {nodes} nodes: {followed:?}");
        // Each node holds what it was sent, and all of them everything.
        let of_node = |node: u16| typed(first + node, "DBSIZE\n")[0].parse::<u32>().expect("a number");
        let sizes: Vec<u32> = (0..nodes).map(of_node).collect();
        assert!(sizes.iter().all(|size| *size > 0) && sizes.iter().sum::<u32>() == KEYS, "{sizes:?}");
        assert_eq!(server.client().words("DBSIZE").int(), i64::from(KEYS));
    }
}
