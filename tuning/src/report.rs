//! Findings for a person and for a program.

use crate::checks::{Finding, Verdict};
use serde_json::json;
use std::fmt::Write;

/// One line a finding, its remedy below it, and a line of counts at the end.
pub(crate) fn text(findings: &[Finding]) -> String {
    let width = findings.iter().map(|finding| finding.name.len()).max().unwrap_or(0);
    let mut out = String::new();
    for finding in findings {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{:<4}  {:<width$}  {}", word(finding.verdict), finding.name, finding.seen);
        if !finding.remedy.is_empty() {
            let _ = writeln!(out, "      {:<width$}  -> {}", "", finding.remedy);
        }
    }
    let count = |verdict| findings.iter().filter(|finding| finding.verdict == verdict).count();
    let _ = writeln!(out, "\n{} ok, {} warn, {} bad", count(Verdict::Ok), count(Verdict::Warn), count(Verdict::Bad));
    out
}

/// `{"checks": [{"name", "verdict", "seen", "remedy"}]}`.
pub(crate) fn json(findings: &[Finding]) -> String {
    let checks: Vec<_> = findings
        .iter()
        .map(|finding| json!({ "name": finding.name, "verdict": word(finding.verdict), "seen": finding.seen, "remedy": finding.remedy }))
        .collect();
    format!("{:#}", json!({ "checks": checks }))
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Ok => "ok",
        Verdict::Warn => "warn",
        Verdict::Bad => "bad",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings() -> [Finding; 2] {
        [
            Finding { name: "kernel", verdict: Verdict::Ok, seen: "6.8".into(), remedy: String::new() },
            Finding { name: "io_uring", verdict: Verdict::Bad, seen: "a \"quote\"".into(), remedy: "mend it".into() },
        ]
    }

    #[test]
    fn text_lines_up() {
        let expected =
            "ok    kernel    6.8\nbad   io_uring  a \"quote\"\n                -> mend it\n\n1 ok, 0 warn, 1 bad\n";
        assert_eq!(text(&findings()), expected);
    }

    #[test]
    fn json_is_json() {
        let parsed: serde_json::Value = serde_json::from_str(&json(&findings())).expect("JSON");
        assert_eq!(parsed["checks"][1]["seen"], "a \"quote\"");
        assert_eq!(parsed["checks"][1]["verdict"], "bad");
    }
}
