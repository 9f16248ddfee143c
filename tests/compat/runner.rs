//! Runs the cases of a family against one server, each in RESP2 and again in RESP3.

use super::pattern::Pattern;
use super::script::{self, Case, Expected, Mark, Step};
use crate::support::resp::Dialect;
use crate::support::server::info_field;
use crate::support::{Client, Server, Target, Value};
use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

/// Who answers, as far as a mark depends on it.
struct Answerer {
    server: Server,
    target: Target,
    version: (u32, u32),
    lanes: Option<&'static str>,
}

/// How many lanes the server has: alone, and so many that keys of a case lie on several.
const LANES: [&str; 2] = ["1", "3"];

/// Runs all cases of a file and reports every failing one.
pub(super) fn run_family(name: &str, text: &str) {
    let cases = script::parse(text).unwrap_or_else(|why| panic!("cases/{name}.case: {why}"));
    assert!(!cases.is_empty(), "cases/{name}.case has no case");
    let mut failures = Vec::new();
    match Target::from_env() {
        Target::Redis => run_cases(name, &cases, Server::start(&[]), None, &mut failures),
        Target::Corelane => {
            for lanes in LANES {
                run_cases(name, &cases, Server::start(&["--lanes", lanes]), Some(lanes), &mut failures);
            }
        }
    }
    assert!(failures.is_empty(), "{} failures\n{}", failures.len(), failures.join("\n"));
}

fn run_cases(name: &str, cases: &[Case], server: Server, lanes: Option<&'static str>, failures: &mut Vec<String>) {
    let version = info_field(&mut server.client(), "redis_version");
    let version = script::parse_version(&version).expect("redis_version is a version");
    let answerer = Answerer { server, target: Target::from_env(), version, lanes };
    for case in cases.iter().filter(|case| answerer.answers(case)) {
        for dialect in [Dialect::Resp2, Dialect::Resp3] {
            if dialect == Dialect::Resp3 && case.marks.contains(&Mark::Resp2Only) {
                continue;
            }
            if let Err(why) = run_case(&answerer.server, case, dialect) {
                failures.push(format!(
                    "cases/{name}.case, {:?}, {dialect:?}, lanes {}: {why}",
                    case.name,
                    lanes.unwrap_or("of another server")
                ));
            }
        }
    }
}

impl Answerer {
    fn answers(&self, case: &Case) -> bool {
        case.marks.iter().all(|mark| match mark {
            Mark::Since(major, minor) => self.version >= (*major, *minor),
            Mark::CorelaneOnly => self.target == Target::Corelane,
            Mark::OneLane => self.lanes != Some(LANES[1]),
            Mark::Resp2Only => true,
        })
    }
}

fn run_case(server: &Server, case: &Case, dialect: Dialect) -> Result<(), String> {
    let mut first = server.client();
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
                    let mut client = server.client();
                    switch(&mut client, dialect);
                    client
                });
                run_call(client, args, expected).map_err(|why| format!("line {line}: {why}"))?;
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

fn run_call(client: &mut Client, args: &[Vec<u8>], expected: &Expected) -> Result<(), String> {
    client.send(args);
    match expected {
        Expected::Nothing => Ok(()),
        Expected::Reply(pattern) => check_reply(client, args, pattern),
        Expected::Closed(reply) => {
            if let Some(pattern) = reply {
                check_reply(client, args, pattern)?;
            }
            match client.try_read() {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(()),
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
