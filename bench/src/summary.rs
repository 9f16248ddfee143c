//! What all rounds of a comparison say: a line for each case and server, and the table of them.

use crate::goal::ratios;
use crate::load::live::thousands;
use crate::load::report::Report;
use crate::record::{Better, Case, Line, Record, RunRecord};
use crate::statistics::Spread;
use crate::statistics::paired::{Comparison, Verdict};

pub(crate) fn summary(record: &Record) -> Vec<Line> {
    let lines = cases(record)
        .into_iter()
        .flat_map(|case| record.servers.iter().filter_map(move |server| line(record, case, &server.server.name)));
    lines.collect()
}

/// The cases in the order of their first runs.
pub(crate) fn cases(record: &Record) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for run in &record.runs {
        if !cases.contains(&run.case) {
            cases.push(run.case);
        }
    }
    cases
}

/// Runs of one server in one case that count.
pub(crate) fn runs<'r>(record: &'r Record, case: Case, server: &str) -> impl Iterator<Item = &'r RunRecord> {
    record.runs.iter().filter(move |run| run.case == case && run.server == server && run.report.invalid.is_none())
}

fn line(record: &Record, case: Case, server: &str) -> Option<Line> {
    let reports: Vec<&Report> = runs(record, case, server).map(|run| &run.report).collect();
    let all = record.runs.iter().filter(|run| run.case == case && run.server == server).count();
    let of = |figure: fn(&Report) -> f64| Spread::of(&reports.iter().map(|report| figure(report)).collect::<Vec<_>>());
    let some = |figure: fn(&Report) -> Option<f64>| {
        Spread::of(&reports.iter().filter_map(|report| figure(report)).collect::<Vec<_>>())
    };
    let figures: Vec<f64> = reports.iter().filter_map(|report| case.figure(report)).collect();
    let ratios = ratios(record, case, server, &record.baseline);
    Some(Line {
        case,
        server: server.to_owned(),
        figure: Spread::of(&figures)?,
        ratio: Spread::of(&ratios)?,
        comparison: Comparison::of(&ratios).filter(|_| server != record.baseline),
        requests_per_second: of(|report| report.requests_per_second)?,
        latency_p99_us: of(|report| report.latency.p99_us)?,
        rss_bytes: of(|report| report.server.map_or(0.0, |usage| usage.rss_bytes as f64))?,
        cpu_us_per_request: some(|report| Some(1e6 / report.requests_per_server_cpu_second?)),
        switches_per_1000: some(|report| {
            let usage = report.server?;
            let switches = (usage.voluntary_switches + usage.involuntary_switches) as f64;
            Some(switches * 1000.0 / report.requests.max(1) as f64)
        }),
        refused: all - reports.len(),
    })
}

pub(crate) fn table(record: &Record) -> String {
    let mut text = format!(
        "{:<15} {:<16} {:>11} {:>23} | {:>7} {:>15} {:<14} | {:>10} {:>8} {:>8} {:>7} {:>8}\n",
        "case",
        "server",
        "median",
        "min..max",
        "ratio",
        interval_head(record),
        "verdict",
        "wall req/s",
        "p99 us",
        "cpu us",
        "sw/1000",
        "RSS MiB"
    );
    for line in &record.summary {
        let Line { case, server, figure, ratio, comparison, requests_per_second, latency_p99_us, rss_bytes, .. } = line;
        let optional =
            |spread: Option<Spread>| spread.map_or_else(|| "-".to_owned(), |spread| format!("{:.2}", spread.median));
        text += &format!(
            "{:<15} {server:<16} {:>11} {:>23} | {:>7.3} {:>15} {:<14} | {:>10} {:>8} {:>8} {:>7} {:>8.1}{}\n",
            case.to_string(),
            thousands(figure.median),
            format!("{}..{}", thousands(figure.min), thousands(figure.max)),
            comparison.map_or(ratio.median, |comparison| comparison.ratio),
            interval(comparison.as_ref()),
            comparison.map_or("", |comparison| verdict(*case, comparison.verdict)),
            thousands(requests_per_second.median),
            thousands(latency_p99_us.median),
            optional(line.cpu_us_per_request),
            optional(line.switches_per_1000),
            rss_bytes.median / f64::from(1 << 20),
            if line.refused > 0 { format!("  ({} rounds refused)", line.refused) } else { String::new() },
        );
    }
    for absent in &record.absent {
        text += &format!("{} does not take part: {}\n", absent.server, absent.why);
    }
    text
}

/// The head of the column of intervals.
pub(crate) fn interval_head(record: &Record) -> String {
    let stated = record.summary.iter().find_map(|line| line.comparison.map(|comparison| comparison.confidence));
    stated.map_or_else(
        || "interval".to_owned(),
        |confidence| format!("{} % interval", (confidence * 1000.0).round() / 10.0),
    )
}

pub(crate) fn interval(comparison: Option<&Comparison>) -> String {
    let bounds = comparison.and_then(|comparison| comparison.interval);
    bounds.map_or_else(String::new, |[low, high]| format!("{low:.3}..{high:.3}"))
}

/// A verdict in the words of its case: more requests are better, more latency is worse.
pub(crate) const fn verdict(case: Case, verdict: Verdict) -> &'static str {
    match (verdict, case.better()) {
        (Verdict::Higher, Better::More) | (Verdict::Lower, Better::Less) => "better",
        (Verdict::Lower, Better::More) | (Verdict::Higher, Better::Less) => "worse",
        (Verdict::NoDifference, _) => "no difference",
        (Verdict::TooFewRounds, _) => "too few rounds",
    }
}
