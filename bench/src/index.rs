//! `index`: results/index.md, made from the records alone: the latest record of each workload and machine as a table, the
//! older ones as a list. Pages with plots are drawn anew.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use crate::load::live::thousands;
use crate::machine::slug;
use crate::output::html;
use crate::record::{Line, Record};
use crate::statistics::Spread;
use crate::summary::{interval, interval_head, verdict};

#[derive(clap::Args, Debug)]
pub(crate) struct Options {
    /// Where records are kept.
    #[arg(long, default_value = "results")]
    pub(crate) results: PathBuf,
}

pub(crate) fn run(options: &Options) -> Result<(), String> {
    let paths = record_paths(&options.results).map_err(|error| format!("{}: {error}", options.results.display()))?;
    let records: Result<Vec<_>, String> = paths.into_iter().map(|path| Ok((Record::read(&path)?, path))).collect();
    let mut records = records?;
    records.sort_by(|(one, _), (other, _)| other.date.cmp(&one.date));
    for (record, path) in &records {
        redraw(record, path)?;
    }
    let text = page(&options.results, &records);
    let path = options.results.join("index.md");
    std::fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))
}

/// Pages are made of records, so those of older ones gain by what pages have learnt since. The oldest records, which kept no
/// distributions, have none.
fn redraw(record: &Record, path: &Path) -> Result<(), String> {
    if record.runs.iter().all(|run| run.report.histogram.is_empty()) {
        return Ok(());
    }
    let path = path.with_extension("html");
    std::fs::write(&path, html::of_record(record)?).map_err(|error| format!("{}: {error}", path.display()))
}

fn record_paths(results: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for machine in std::fs::read_dir(results)? {
        let machine = machine?.path();
        if machine.is_dir() {
            for record in std::fs::read_dir(machine)? {
                paths.push(record?.path());
            }
        }
    }
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    Ok(paths)
}

const HEAD: &str = "# Results

Made by `corelane-bench index` from the records beside it; [README.md](README.md) says how to read and remake them. The latest
record of each workload stands in full, older ones are listed at the end.
";

fn page(results: &Path, records: &[(Record, PathBuf)]) -> String {
    let is_same =
        |one: &Record, other: &Record| one.workload.name == other.workload.name && one.machine.cpu == other.machine.cpu;
    let is_latest = |at: usize| !records[..at].iter().any(|(newer, _)| is_same(newer, &records[at].0));
    let (latest, older): (Vec<usize>, Vec<usize>) = (0..records.len()).partition(|at| is_latest(*at));
    let mut text = format!("{HEAD}\n");
    for at in &latest {
        let record = &records[*at].0;
        let anchor = slug(&record.workload.name);
        add(&mut text, &format!("- [{}](#{anchor}): {}", record.workload.name, record.workload.about));
    }
    for at in latest {
        section(&mut text, results, &records[at]);
    }
    if !older.is_empty() {
        add(&mut text, "\n## Older records\n");
        for at in older {
            let (record, path) = &records[at];
            let link = path.strip_prefix(results).unwrap_or(path).display();
            add(&mut text, &format!("- [{} · {} · {}]({link})", record.date, record.workload.name, record.commit));
        }
    }
    text
}

fn section(text: &mut String, results: &Path, (record, path): &(Record, PathBuf)) {
    let link = path.strip_prefix(results).unwrap_or(path);
    let Record { date, commit, machine, workload, baseline, .. } = record;
    let page = link.with_extension("html");
    let plots = if results.join(&page).exists() { format!(" · [plots]({})", page.display()) } else { String::new() };
    add(text, &format!("\n## {}\n", workload.name));
    add(
        text,
        &format!(
            "{}. {} connections, {} rounds of {} s. {date}, commit {commit}, {}, {} cores, kernel {}. [record]({}){plots}\n",
            workload.about.trim_end_matches('.'),
            workload.connections,
            workload.rounds,
            workload.seconds,
            machine.cpu,
            machine.cores,
            machine.kernel,
            link.display()
        ),
    );
    add(
        text,
        &format!(
            "| case | server | figure | min to max | of {baseline} | {} | verdict | wall req/s | p99 us | CPU us | switches/1000 | RSS MiB |",
            interval_head(record)
        ),
    );
    add(text, "|---|---|--:|--:|--:|--:|---|--:|--:|--:|--:|--:|");
    record.summary.iter().for_each(|line| row(text, line));
    for absent in &record.absent {
        add(text, &format!("\n{} does not take part: {}", absent.server, absent.why));
    }
}

fn row(text: &mut String, line: &Line) {
    let Line { case, server, figure, ratio, comparison, requests_per_second, latency_p99_us, rss_bytes, .. } = line;
    let optional = |spread: Option<Spread>| spread.map_or_else(String::new, |spread| format!("{:.2}", spread.median));
    let refused = if line.refused > 0 { format!(" ({} rounds refused)", line.refused) } else { String::new() };
    add(
        text,
        &format!(
            "| {case}, {} | {server}{refused} | {} | {} to {} | {:.3} | {} | {} | {} | {} | {} | {} | {:.1} |",
            case.unit(),
            thousands(figure.median),
            thousands(figure.min),
            thousands(figure.max),
            comparison.map_or(ratio.median, |comparison| comparison.ratio),
            interval(comparison.as_ref()),
            comparison.map_or("", |comparison| verdict(*case, comparison.verdict)),
            thousands(requests_per_second.median),
            thousands(latency_p99_us.median),
            optional(line.cpu_us_per_request),
            optional(line.switches_per_1000),
            rss_bytes.median / f64::from(1 << 20),
        ),
    );
}

fn add(text: &mut String, line: &str) {
    writeln!(text, "{line}").expect("writing to a String cannot fail");
}
