//! Runs the cases of a family against one server, each in RESP2 and again in RESP3.

use super::pattern::Pattern;
use super::script::{self, Case, Expected, Mark, Step};
use crate::support::resp::Dialect;
use crate::support::server::{consecutive_free_ports, info_field};
use crate::support::{Client, Server, Target, Value, eventually};
use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

/// Who answers, as far as a mark depends on it.
struct Answerer {
    /// Ends when this is dropped.
    _server: Server,
    /// Where cases connect.
    port: u16,
    target: Target,
    version: (u32, u32),
    kind: Kind,
}

/// What kind of server is asked.
#[derive(Clone, Copy, Debug)]
struct Kind {
    /// `None`: another server.
    lanes: Option<&'static str>,
    journal: bool,
}

const JOURNAL: [&str; 4] = ["--appendonly", "yes", "--appendfsync", "always"];

/// How many lanes the server has: alone, and so many that keys of a case lie on several.
const LANES: [&str; 2] = ["1", "3"];

/// Runs all cases of a file and reports every failing one.
pub(super) fn run_family(name: &str, text: &str) {
    let cases = script::parse(text).unwrap_or_else(|why| panic!("cases/{name}.case: {why}"));
    assert!(!cases.is_empty(), "cases/{name}.case has no case");
    let mut failures = Vec::new();
    let is_for_node = |case: &&Case| case.marks.contains(&Mark::ShardPort);
    let (at_node, plain): (Vec<&Case>, Vec<&Case>) = cases.iter().partition(is_for_node);
    let kinds = match Target::from_env() {
        Target::Redis => vec![Kind { lanes: None, journal: false }],
        Target::Corelane => {
            [false, true].map(|journal| LANES.map(|lanes| Kind { lanes: Some(lanes), journal })).concat()
        }
    };
    for kind in kinds {
        run_cases(name, &plain, || Answerer::new(kind), &mut failures);
        run_cases(name, &at_node, || Answerer::node(kind), &mut failures);
    }
    assert!(failures.is_empty(), "{} failures\n{}", failures.len(), failures.join("\n"));
}

fn run_cases(name: &str, cases: &[&Case], start: impl Fn() -> Answerer, failures: &mut Vec<String>) {
    if cases.is_empty() {
        return;
    }
    let answerer = start();
    for case in cases.iter().filter(|case| answerer.answers(case)) {
        for dialect in [Dialect::Resp2, Dialect::Resp3] {
            if dialect == Dialect::Resp3 && case.marks.contains(&Mark::Resp2Only) {
                continue;
            }
            if let Err(why) = run_case(answerer.port, case, dialect) {
                failures.push(format!("cases/{name}.case, {:?}, {dialect:?}, {:?}: {why}", case.name, answerer.kind));
            }
        }
    }
}

impl Kind {
    fn flags(self) -> Vec<&'static str> {
        if self.journal { JOURNAL.to_vec() } else { Vec::new() }
    }
}

impl Answerer {
    fn new(kind: Kind) -> Self {
        let lanes = kind.lanes.map_or(vec![], |lanes| vec!["--lanes", lanes]);
        Self::of(Server::start(&[lanes, kind.flags()].concat()), kind)
    }

    /// One that is asked as a node of a cluster.
    fn node(kind: Kind) -> Self {
        let Some(lanes) = kind.lanes else { return Self::redis_node() };
        let port = consecutive_free_ports(LANES[1].parse().expect("a number")).to_string();
        let server = Server::start(&[vec!["--lanes", lanes, "--shard-port", &port], kind.flags()].concat());
        Self { port: port.parse().expect("a port"), ..Self::of(server, kind) }
    }

    /// Redis as the only node, so that it knows no address of its own but the one it is told.
    fn redis_node() -> Self {
        let server = Server::start(&["--cluster-enabled", "yes", "--cluster-announce-ip", "127.0.0.1"]);
        let mut client = server.client();
        assert_eq!(client.words("CLUSTER ADDSLOTSRANGE 0 16383"), Value::ok());
        assert!(eventually(|| client.words("CLUSTER INFO").text().contains("cluster_state:ok")));
        Self::of(server, Kind { lanes: None, journal: false })
    }

    fn of(server: Server, kind: Kind) -> Self {
        let server = server.loaded();
        let version = info_field(&mut server.client(), "redis_version");
        let version = script::parse_version(&version).expect("redis_version is a version");
        Self { port: server.port, _server: server, target: Target::from_env(), version, kind }
    }

    fn answers(&self, case: &Case) -> bool {
        case.marks.iter().all(|mark| match mark {
            Mark::Since(major, minor) => self.version >= (*major, *minor),
            Mark::CorelaneOnly => self.target == Target::Corelane,
            Mark::OneLane => self.kind.lanes != Some(LANES[1]),
            Mark::SeveralLanes => self.kind.lanes == Some(LANES[1]),
            Mark::NoJournal => !self.kind.journal,
            Mark::Journal => self.kind.journal,
            Mark::Resp2Only | Mark::ShardPort => true,
        })
    }
}

fn run_case(port: u16, case: &Case, dialect: Dialect) -> Result<(), String> {
    let mut first = Client::connect(port);
    if first.words("FLUSHALL") != Value::ok() {
        return Err("FLUSHALL is refused".into());
    }
    switch(&mut first, dialect);
    let mut conns = BTreeMap::from([(String::new(), first)]);
    for step in &case.steps {
        match step {
            Step::Wait { millis } => std::thread::sleep(Duration::from_millis(*millis)),
            Step::Call { line, conn, args, expected } => {
                let client = conns.entry(conn.clone()).or_insert_with(|| {
                    let mut client = Client::connect(port);
                    switch(&mut client, dialect);
                    client
                });
                client.send(args);
                hear(client, args, expected).map_err(|why| format!("line {line}: {why}"))?;
            }
            Step::Hear { line, conn, expected } => {
                let client = conns.get_mut(conn).ok_or_else(|| format!("line {line}: nothing was asked"))?;
                hear(client, &[], expected).map_err(|why| format!("line {line}: {why}"))?;
            }
        }
    }
    Ok(())
}

fn switch(client: &mut Client, dialect: Dialect) {
    if dialect == Dialect::Resp3 {
        client.dialect = Dialect::Resp3;
        let Value::Map(_) = client.words("HELLO 3") else { panic!("HELLO 3 is refused") };
    }
}

fn hear(client: &mut Client, args: &[Vec<u8>], expected: &Expected) -> Result<(), String> {
    match expected {
        Expected::Nothing => Ok(()),
        Expected::Reply(pattern) => check_reply(client, args, pattern),
        Expected::Closed(reply) => {
            if let Some(pattern) = reply {
                check_reply(client, args, pattern)?;
            }
            match client.try_read() {
                // It is reset if what was sent last had not been read.
                Err(error) if matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset) => {
                    Ok(())
                }
                other => Err(format!("the connection was to be closed, but: {other:?}")),
            }
        }
    }
}

fn check_reply(client: &mut Client, args: &[Vec<u8>], pattern: &Pattern) -> Result<(), String> {
    // The reply to a switch is already in the new dialect. A refused switch answers with an error, which both have.
    let before = client.dialect;
    client.dialect = dialect_after(before, args);
    let value = client.try_read().map_err(|error| error.to_string())?;
    if matches!(value, Value::Error(_)) {
        client.dialect = before;
    }
    if pattern.fits(&value, client.dialect) {
        return Ok(());
    }
    let command = args.iter().map(|arg| shown(arg)).collect::<Vec<_>>().join(" ");
    let (expected, got) = (format!("{pattern:?}"), format!("{value:?}"));
    Err(format!("{command}\n    expected {}\n    got      {}", cut(&expected), cut(&got)))
}

fn dialect_after(before: Dialect, args: &[Vec<u8>]) -> Dialect {
    let word = |at: usize| args.get(at).map(|arg| arg.to_ascii_uppercase());
    match (word(0).as_deref(), word(1).as_deref()) {
        (Some(b"HELLO"), Some(b"3")) => Dialect::Resp3,
        (Some(b"HELLO"), Some(b"2")) | (Some(b"RESET"), None) => Dialect::Resp2,
        _ => before,
    }
}

fn shown(arg: &[u8]) -> String {
    cut(&arg.escape_ascii().to_string())
}

/// Enough of a long text to see what is wrong. Case files are ASCII once escaped, so any place is a character's border.
fn cut(text: &str) -> String {
    const SHOWN: usize = 1000;
    text.get(..SHOWN).map_or_else(|| text.to_owned(), |start| format!("{start}..."))
}
