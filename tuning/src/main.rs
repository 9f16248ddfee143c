//! `corelane-doctor`: looks at a host and says what stands between it and its best latency.
//!
//! ```text
//! host.rs     reads /proc and /sys, below a root: the only file that touches the system
//! checks.rs   the table of checks; each verdict is a pure function of the texts that were read
//! report.rs   findings as text or JSON
//! ```
//!
//! `corelane-doctor [--json] [--root DIR]` changes nothing. It ends with 0 when nothing is bad, with 1 when something is, with 2 when
//! it was called wrongly, so that a deployment can stop on it. Every remedy names what to do, and leaves doing it to you.

mod checks;
mod host;
mod report;

use std::path::PathBuf;
use std::process::ExitCode;

const USAGE: &str = "usage: corelane-doctor [--json] [--root DIR]

Looks at this host's kernel, limits, memory, network and CPU settings and says what Corelane would suffer from.
  --json      one JSON document in place of text
  --root DIR  look below DIR in place of / (a copy of another host's /proc and /sys)";

enum Format {
    Text,
    Json,
}

struct Call {
    format: Format,
    root: PathBuf,
}

fn main() -> ExitCode {
    let call = match parse(std::env::args().skip(1)) {
        Ok(Some(call)) => call,
        Ok(None) => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(why) => {
            eprintln!("{why}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let findings = checks::run(&host::Host::below(call.root));
    match call.format {
        Format::Text => print!("{}", report::text(&findings)),
        Format::Json => println!("{}", report::json(&findings)),
    }
    let bad = findings.iter().any(|finding| finding.verdict == checks::Verdict::Bad);
    if bad { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// `None` asks for the usage.
fn parse(mut args: impl Iterator<Item = String>) -> Result<Option<Call>, String> {
    let mut call = Call { format: Format::Text, root: "/".into() };
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--json" => call.format = Format::Json,
            "--root" => call.root = args.next().ok_or("--root needs a folder")?.into(),
            "--help" | "-h" => return Ok(None),
            other => return Err(format!("unknown argument {other}")),
        }
    }
    Ok(Some(call))
}
