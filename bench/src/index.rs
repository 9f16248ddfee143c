//! `index`: results/index.md, one table per record, the newest first, made from the records alone.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use crate::record::{Line, Record};

#[derive(clap::Args, Debug)]
pub(crate) struct Options {
    /// Where records are kept.
    #[arg(long, default_value = "results")]
    results: PathBuf,
}

pub(crate) fn run(options: &Options) -> Result<(), String> {
    let paths = record_paths(&options.results).map_err(|error| format!("{}: {error}", options.results.display()))?;
    let records: Result<Vec<_>, String> = paths.into_iter().map(|path| Ok((Record::read(&path)?, path))).collect();
    let mut records = records?;
    records.sort_by(|(one, _), (other, _)| other.date.cmp(&one.date));
    let text = page(&options.results, &records);
    let path = options.results.join("index.md");
    std::fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))
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

fn page(results: &Path, records: &[(Record, PathBuf)]) -> String {
    let mut text =
        "# Results\n\nMade by `corelane-bench index` from the records beside it; README.md says how to read \
                    them. Newest first.\n"
            .to_owned();
    for (record, path) in records {
        let link = path.strip_prefix(results).unwrap_or(path).display();
        let Record { date, commit, machine, workload, baseline, .. } = record;
        let heading = format!("\n## {date} · {} · {commit}\n\n", workload.name);
        let about = format!(
            "{}, {} cores, kernel {}; {} connections, {} rounds of {} s; [record]({link})\n\n",
            machine.cpu, machine.cores, machine.kernel, workload.connections, workload.rounds, workload.seconds
        );
        let head = format!(
            "| case | server | figure | min to max | of {baseline} | min to max | wall req/s | p99 us | RSS MiB |\n\
             |---|---|--:|--:|--:|--:|--:|--:|--:|\n"
        );
        text += &(heading + &about + &head);
        record.summary.iter().for_each(|line| row(&mut text, line));
    }
    text
}

fn row(text: &mut String, line: &Line) {
    let Line { case, server, figure, ratio, requests_per_second, latency_p99_us, rss_bytes } = line;
    let written = writeln!(
        text,
        "| {case}, {} | {server} | {:.0} | {:.0} to {:.0} | {:.3} | {:.2} to {:.2} | {:.0} | {:.0} | {:.1} |",
        case.unit(),
        figure.median,
        figure.min,
        figure.max,
        ratio.median,
        ratio.min,
        ratio.max,
        requests_per_second.median,
        latency_p99_us.median,
        rss_bytes.median / f64::from(1 << 20),
    );
    written.expect("writing to a String cannot fail");
}
