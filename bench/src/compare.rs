//! `compare`: several servers under the same load, interleaved, in rounds.
//!
//! ```text
//!   for each round: for each case: for each server, in an order shuffled anew:
//!       start it fresh on its CPU -> fill -> warm up -> measure from the load's CPU -> end it
//! ```
//!
//! One server runs at a time, and each measurement begins with a fresh one: nothing of a rival stays in memory or
//! wakes up in between. The servers of one case and round follow each other within seconds, so their ratios survive a
//! machine whose speed drifts over minutes.

use std::path::PathBuf;

use fastrand::Rng;

use crate::clock::date;
use crate::cpu::Cpu;
use crate::expect::{Goal, ratios};
use crate::load::{LoadShape, Plan, Report, measure};
use crate::machine::{Machine, commit};
use crate::record::{Case, FORMAT, Line, Record, RunRecord, ServerRecord};
use crate::server::Server;
use crate::statistics::Spread;
use crate::workload::{Overrides, Workload};

#[derive(clap::Args, Debug)]
pub(crate) struct Options {
    #[command(flatten)]
    overrides: Overrides,
    #[command(flatten)]
    load: LoadShape,
    /// corelane, floor, memcached, redis, or NAME=COMMAND with {port} in it (NAME:memcache=COMMAND for that protocol).
    #[arg(long = "server", required = true)]
    servers: Vec<Server>,
    /// The server that ratios are to; the first one if not given.
    #[arg(long)]
    baseline: Option<String>,
    #[arg(long, value_delimiter = ',')]
    depths: Vec<u32>,
    #[arg(long)]
    rounds: Option<u32>,
    /// CPU of the servers.
    #[arg(long, default_value = "0")]
    server_cpu: Cpu,
    /// Also measure round trips per second of a single connection.
    #[arg(long)]
    one_connection: bool,
    /// A goal such as corelane/redis>=1.3@16 (or @one); the command fails if the median ratio misses it.
    #[arg(long = "expect")]
    goals: Vec<Goal>,
    /// Where records are kept.
    #[arg(long, default_value = "results")]
    results: PathBuf,
    /// Print only; keep no record.
    #[arg(long)]
    no_record: bool,
}

pub(crate) fn run(options: &Options) -> Result<(), String> {
    let comparison = Comparison::new(options)?;
    let mut record = comparison.empty_record();
    comparison.rounds(&mut record)?;
    record.summary = summary(&record);
    print!("{}", table(&record));
    if !options.no_record {
        let path = record.write(&options.results).map_err(|error| format!("writing the record: {error}"))?;
        println!("record: {}", path.display());
    }
    judge(&options.goals, &record)
}

struct Comparison<'a> {
    options: &'a Options,
    workload: Workload,
    load: LoadShape,
    cases: Vec<Case>,
    baseline: String,
}

impl<'a> Comparison<'a> {
    fn new(options: &'a Options) -> Result<Self, String> {
        let mut workload = options.overrides.workload()?;
        if !options.depths.is_empty() {
            workload.depths.clone_from(&options.depths);
        }
        workload.rounds = options.rounds.unwrap_or(workload.rounds);
        if workload.rounds == 0 || workload.depths.contains(&0) {
            return Err("rounds and depths are at least 1".to_owned());
        }
        let names: Vec<&str> = options.servers.iter().map(|server| server.name.as_str()).collect();
        if names.iter().enumerate().any(|(at, name)| names[..at].contains(name)) {
            return Err("two servers have the same name".to_owned());
        }
        let baseline = options.baseline.clone().unwrap_or_else(|| names[0].to_owned());
        if !names.contains(&baseline.as_str()) {
            return Err(format!("the baseline {baseline} is not among the servers"));
        }
        let one = options.one_connection.then_some(Case::OneConnection);
        let cases = workload.depths.iter().copied().map(Case::Depth).chain(one).collect();
        Ok(Self { options, load: load_shape(options), workload, cases, baseline })
    }

    fn empty_record(&self) -> Record {
        let servers = self.options.servers.iter();
        let servers =
            servers.map(|server| ServerRecord { version: server.version(), server: server.clone() }).collect();
        Record {
            format: FORMAT,
            date: humantime::format_rfc3339_seconds(date()).to_string(),
            commit: commit(),
            command: std::env::args().collect(),
            machine: Machine::this(),
            server_cpu: self.options.server_cpu.0,
            load: self.load.clone(),
            workload: self.workload.clone(),
            servers,
            baseline: self.baseline.clone(),
            summary: Vec::new(),
            runs: Vec::new(),
        }
    }

    fn rounds(&self, record: &mut Record) -> Result<(), String> {
        let mut rng = Rng::new();
        for round in 0..self.workload.rounds {
            for case in &self.cases {
                let mut order: Vec<&Server> = self.options.servers.iter().collect();
                rng.shuffle(&mut order);
                for (position, server) in order.into_iter().enumerate() {
                    let report = self.measure(server, *case)?;
                    let figure = case.figure(&report).unwrap_or(0.0);
                    eprintln!("round {} {case}: {} {figure:.0} {}", round + 1, server.name, case.unit());
                    record.runs.push(RunRecord { round, position, case: *case, server: server.name.clone(), report });
                }
            }
        }
        Ok(())
    }

    fn measure(&self, server: &Server, case: Case) -> Result<Report, String> {
        let running = server.start(self.options.server_cpu)?;
        let mut plan = Plan {
            port: running.port,
            workload: self.workload.clone(),
            shape: self.load.clone(),
            depth: 1,
            dialect: server.dialect,
            server: Some(running.pid()),
        };
        match case {
            Case::Depth(depth) => plan.depth = depth,
            Case::OneConnection => (plan.workload.connections, plan.shape.threads) = (1, 1),
        }
        let report = measure(&plan).map_err(|why| format!("{}, {case}: {why}", server.name))?;
        match report.invalid {
            Some(why) => Err(format!("{}, {case}: this run does not count: {why}", server.name)),
            None => Ok(report),
        }
    }
}

/// Without CPUs for the load given, it runs on those next to the server's.
fn load_shape(options: &Options) -> LoadShape {
    let mut shape = options.load.clone();
    let cores = Machine::this().cores;
    if shape.cpus.is_empty() && cores > 1 {
        shape.cpus = (0..cores).filter(|cpu| *cpu != options.server_cpu.0).collect();
    }
    shape
}

fn summary(record: &Record) -> Vec<Line> {
    let mut cases: Vec<Case> = Vec::new();
    for run in &record.runs {
        if !cases.contains(&run.case) {
            cases.push(run.case);
        }
    }
    let lines = cases
        .iter()
        .flat_map(|case| record.servers.iter().filter_map(|server| line(record, *case, &server.server.name)));
    lines.collect()
}

fn line(record: &Record, case: Case, server: &str) -> Option<Line> {
    let reports: Vec<&RunRecord> = runs(record, case, server).collect();
    let of =
        |figure: fn(&Report) -> f64| Spread::of(&reports.iter().map(|run| figure(&run.report)).collect::<Vec<_>>());
    let figures: Vec<f64> = reports.iter().filter_map(|run| case.figure(&run.report)).collect();
    let ratios = ratios(record, case, server, &record.baseline);
    Some(Line {
        case,
        server: server.to_owned(),
        figure: Spread::of(&figures)?,
        ratio: Spread::of(&ratios)?,
        requests_per_second: of(|report| report.requests_per_second)?,
        latency_p99_us: of(|report| report.latency.p99_us)?,
        rss_bytes: of(|report| report.server.map_or(0.0, |usage| usage.rss_bytes as f64))?,
    })
}

fn runs<'r>(record: &'r Record, case: Case, server: &str) -> impl Iterator<Item = &'r RunRecord> {
    record.runs.iter().filter(move |run| run.case == case && run.server == server)
}

fn table(record: &Record) -> String {
    let mut text = format!(
        "{:<15} {:<12} {:>12} {:>25} {:>8} | {:>7} {:>13} | {:>10} {:>9} {:>8}\n",
        "case", "server", "median", "min..max", "mad", "ratio", "min..max", "wall req/s", "p99 us", "RSS MiB"
    );
    for line in &record.summary {
        let Line { case, server, figure, ratio, requests_per_second, latency_p99_us, rss_bytes } = line;
        text += &format!(
            "{:<15} {server:<12} {:>12.0} {:>25} {:>8.0} | {:>7.3} {:>13} | {:>10.0} {:>9.0} {:>8.1}\n",
            case.to_string(),
            figure.median,
            format!("{:.0}..{:.0}", figure.min, figure.max),
            figure.mad,
            ratio.median,
            format!("{:.2}..{:.2}", ratio.min, ratio.max),
            requests_per_second.median,
            latency_p99_us.median,
            rss_bytes.median / f64::from(1 << 20),
        );
    }
    text
}

fn judge(goals: &[Goal], record: &Record) -> Result<(), String> {
    let verdicts: Result<Vec<_>, String> = goals.iter().map(|goal| goal.judge(record)).collect();
    let verdicts = verdicts?;
    verdicts.iter().for_each(|verdict| println!("{verdict}"));
    let missed = verdicts.iter().filter(|verdict| !verdict.is_met).count();
    if missed == 0 { Ok(()) } else { Err(format!("{missed} of {} goals missed", goals.len())) }
}
