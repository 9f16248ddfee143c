//! `compare`: several servers under the same load, interleaved, in rounds.
//!
//! ```text
//!   for each round: for each case: for each server, in an order shuffled anew:
//!       start it fresh on its CPU -> fill -> warm up -> measure from the load's CPU -> end it
//! ```
//!
//! One server runs at a time, and each measurement begins with a fresh one: nothing of a rival stays in memory or
//! wakes up in between. The servers of one case and round follow each other within seconds, so their ratios survive a
//! machine whose speed drifts over minutes. A run in which the generator was the limit is kept, counted, and left out
//! of every figure; a wrong answer ends the comparison.

use std::path::{Path, PathBuf};
use std::time::Duration;

use fastrand::Rng;

use crate::clock::{Clock, Nanos, date};
use crate::cpu::Cpu;
use crate::goal::Goal;
use crate::load::live::{Live, thousands};
use crate::load::report::Report;
use crate::load::{LoadShape, Plan, measure};
use crate::machine::{Machine, commit};
use crate::output::{csv, html};
use crate::record::{Absent, Case, FORMAT, Record, RunRecord, ServerRecord};
use crate::server::Server;
use crate::summary::{summary, table};
use crate::workload::definition::Workload;
use crate::workload::mix::Mix;
use crate::workload::overrides::Overrides;

/// The most requests outstanding on a connection of an open loop.
const OPEN_DEPTH: u32 = 64;

#[derive(clap::Args, Debug)]
pub(crate) struct Options {
    #[command(flatten)]
    overrides: Overrides,
    #[command(flatten)]
    load: LoadShape,
    /// A built-in server, NAME=BUILT-IN, or NAME=COMMAND with {port} or {socket} in it (NAME:memcache@2=COMMAND for that
    /// dialect and two CPUs).
    #[arg(long = "server", required = true)]
    servers: Vec<Server>,
    /// The server that ratios are to; the first one if not given.
    #[arg(long)]
    baseline: Option<String>,
    /// Closed loops instead of the definition's cases: requests sent together on a connection.
    #[arg(long, value_delimiter = ',')]
    depths: Vec<u32>,
    /// Open loops instead of the definition's cases: requests per second.
    #[arg(long, value_delimiter = ',')]
    rates: Vec<u32>,
    #[arg(long)]
    rounds: Option<u32>,
    /// CPU of the servers, or the first of them.
    #[arg(long, default_value = "0")]
    server_cpu: Cpu,
    /// Also measure round trips per second of a single connection.
    #[arg(long)]
    one_connection: bool,
    /// A goal such as corelane/redis>=1.3@16 (or @one, or <=1@20000/s); the command fails if the median ratio misses it.
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
    let contest = Contest::of(options)?;
    let record = contest.hold()?;
    print!("{}", table(&record));
    if !options.no_record {
        keep(&record, &options.results)?;
    }
    judge(&options.goals, &record)
}

/// Writes the record and what is made of it: a page with plots, and every run as a line of CSV.
pub(crate) fn keep(record: &Record, results: &Path) -> Result<(), String> {
    let path = record.write(results).map_err(|error| format!("writing the record: {error}"))?;
    let beside = |extension: &str, text: String| {
        let path = path.with_extension(extension);
        std::fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))
    };
    beside("html", html::of_record(record)?)?;
    beside("csv", csv::of_record(record))?;
    println!("record: {}", path.display());
    Ok(())
}

/// Servers, what they are given to do, and in which ways.
pub(crate) struct Contest {
    pub(crate) servers: Vec<Server>,
    pub(crate) absent: Vec<Absent>,
    pub(crate) workload: Workload,
    pub(crate) load: LoadShape,
    pub(crate) cases: Vec<Case>,
    pub(crate) baseline: String,
    pub(crate) server_cpu: Cpu,
    /// No round begins that would not be over by then, but for the first.
    pub(crate) until: Option<(Clock, Nanos)>,
}

impl Contest {
    fn of(options: &Options) -> Result<Self, String> {
        let mut workload = options.overrides.workload()?;
        if !options.depths.is_empty() || !options.rates.is_empty() {
            workload.depths.clone_from(&options.depths);
            workload.rates.clone_from(&options.rates);
        }
        workload.rounds = options.rounds.unwrap_or(workload.rounds);
        let one = options.one_connection.then_some(Case::OneConnection);
        let baseline = options.baseline.as_deref();
        Self::new(workload, options.servers.clone(), baseline, &options.load, options.server_cpu, one)
    }

    pub(crate) fn new(
        workload: Workload,
        servers: Vec<Server>,
        baseline: Option<&str>,
        load: &LoadShape,
        server_cpu: Cpu,
        more: Option<Case>,
    ) -> Result<Self, String> {
        let workload = workload.checked()?;
        if workload.rounds == 0 {
            return Err("rounds are at least 1".to_owned());
        }
        let names: Vec<&str> = servers.iter().map(|server| server.name.as_str()).collect();
        if names.iter().enumerate().any(|(at, name)| names[..at].contains(name)) {
            return Err("two servers have the same name".to_owned());
        }
        if let Some(baseline) = baseline.filter(|baseline| !names.contains(baseline)) {
            return Err(format!("the baseline {baseline} is not among the servers"));
        }
        let (servers, absent) = able(servers, &workload);
        let first = servers.first().ok_or_else(|| {
            let why: Vec<&str> = absent.iter().map(|absent| absent.why.as_str()).collect();
            format!("no server can run {}: {}", workload.name, why.join("; "))
        })?;
        let chosen = servers.iter().find(|server| Some(server.name.as_str()) == baseline).unwrap_or(first);
        let baseline = chosen.name.clone();
        let depths = workload.depths.iter().copied().map(Case::Depth);
        let cases = depths.chain(more).chain(workload.rates.iter().copied().map(Case::Rate)).collect();
        Ok(Self {
            servers,
            absent,
            load: load_shape(load, server_cpu),
            workload,
            cases,
            baseline,
            server_cpu,
            until: None,
        })
    }

    pub(crate) fn hold(&self) -> Result<Record, String> {
        let mut record = self.empty_record();
        let mut live = Live::for_terminal(&self.workload.name);
        let mut rng = Rng::new();
        let began = self.until.map(|(clock, _)| clock.now()).unwrap_or_default();
        for round in 0..self.workload.rounds {
            if !self.has_time_for(round, began) {
                record.workload.rounds = round;
                break;
            }
            for case in &self.cases {
                let mut order: Vec<&Server> = self.servers.iter().collect();
                rng.shuffle(&mut order);
                for (position, server) in order.into_iter().enumerate() {
                    live.entitle(&self.title(round, *case, server));
                    let report = self.measure(server, *case, &mut live)?;
                    eprintln!("{}: {}", self.title(round, *case, server), outcome(*case, &report));
                    record.runs.push(RunRecord { round, position, case: *case, server: server.name.clone(), report });
                }
            }
        }
        record.summary = summary(&record);
        Ok(record)
    }

    /// Whether a round fits that takes as long as those before it did on the average.
    fn has_time_for(&self, round: u32, began: Nanos) -> bool {
        let Some((clock, until)) = self.until.filter(|_| round > 0) else { return true };
        let now = clock.now();
        now + Duration::from_nanos(now.since(began) / u64::from(round)) <= until
    }

    fn title(&self, round: u32, case: Case, server: &Server) -> String {
        format!("{} · round {} of {} · {case} · {}", self.workload.name, round + 1, self.workload.rounds, server.name)
    }

    fn empty_record(&self) -> Record {
        let servers = self.servers.iter();
        let servers =
            servers.map(|server| ServerRecord { version: server.version(), server: server.clone() }).collect();
        Record {
            format: FORMAT,
            date: humantime::format_rfc3339_seconds(date()).to_string(),
            commit: commit(),
            command: std::env::args().collect(),
            machine: Machine::this(),
            server_cpu: self.server_cpu.0,
            load: self.load.clone(),
            workload: self.workload.clone(),
            servers,
            absent: self.absent.clone(),
            baseline: self.baseline.clone(),
            summary: Vec::new(),
            runs: Vec::new(),
        }
    }

    fn measure(&self, server: &Server, case: Case, live: &mut Live) -> Result<Report, String> {
        let running = server.start(self.server_cpu)?;
        let mut plan = Plan {
            address: running.address.clone(),
            workload: self.workload.clone(),
            shape: LoadShape { rate: None, ..self.load.clone() },
            depth: 1,
            dialect: server.dialect,
            server: Some(running.pid()),
        };
        match case {
            Case::Depth(depth) => plan.depth = depth,
            Case::OneConnection => (plan.workload.connections, plan.shape.threads) = (1, 1),
            Case::Rate(rate) => (plan.shape.rate, plan.depth) = (Some(f64::from(rate)), OPEN_DEPTH),
        }
        let mut report = measure(&plan, live).map_err(|why| format!("{}, {case}: {why}", server.name))?;
        // The course of a closed loop says little that its figures do not; a record keeps that of open loops.
        if !matches!(case, Case::Rate(_)) {
            report.course = crate::load::report::Course::default();
        }
        Ok(report)
    }
}

fn outcome(case: Case, report: &Report) -> String {
    match (case.figure(report), &report.invalid) {
        (_, Some(why)) => format!("does not count: {why}"),
        (figure, None) => format!("{} {}", thousands(figure.unwrap_or(0.0)), case.unit()),
    }
}

/// Parts those servers that can do all of a workload from those that cannot.
fn able(servers: Vec<Server>, workload: &Workload) -> (Vec<Server>, Vec<Absent>) {
    let (mut able, mut absent) = (Vec::new(), Vec::new());
    for server in servers {
        let disturbed = !workload.disturbance.is_empty() && !server.dialect.is_resp();
        let mixes = Mix::new(workload, server.dialect).and_then(|_| Mix::filling(workload, server.dialect));
        let why = match mixes {
            _ if disturbed => Some("the disturbances are commands of Redis".to_owned()),
            Err(why) => Some(why),
            Ok(_) => None,
        };
        match why {
            Some(why) => absent.push(Absent { server: server.name, why }),
            None => able.push(server),
        }
    }
    (able, absent)
}

/// Without CPUs for the load given, it runs on those next to the server's.
fn load_shape(shape: &LoadShape, server_cpu: Cpu) -> LoadShape {
    let mut shape = shape.clone();
    if shape.cpus.is_empty() {
        shape.cpus = other_cpus(server_cpu);
    }
    shape
}

/// All CPUs but one; none where there is only that one.
pub(crate) fn other_cpus(server_cpu: Cpu) -> Vec<usize> {
    (0..Machine::this().cores).filter(|cpu| *cpu != server_cpu.0).collect()
}

fn judge(goals: &[Goal], record: &Record) -> Result<(), String> {
    let verdicts: Result<Vec<_>, String> = goals.iter().map(|goal| goal.judge(record)).collect();
    let verdicts = verdicts?;
    verdicts.iter().for_each(|verdict| println!("{verdict}"));
    let missed = verdicts.iter().filter(|verdict| !verdict.is_met).count();
    if missed == 0 { Ok(()) } else { Err(format!("{missed} of {} goals missed", goals.len())) }
}
