//! `all`: every ready workload on every server that this machine has, and the index made anew. One command remakes results/.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::clock::{Clock, Nanos};
use crate::compare::{Contest, keep};
use crate::cpu::Cpu;
use crate::index;
use crate::load::LoadShape;
use crate::record::Absent;
use crate::server::Server;
use crate::summary::table;
use crate::workload::definition::Workload;

#[derive(clap::Args, Debug)]
pub(crate) struct Options {
    /// The folder of the definitions.
    #[arg(long, default_value = "bench/definitions")]
    definitions: PathBuf,
    /// Only these workloads.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    #[arg(long = "server", default_values = ["corelane", "corelane2", "redis", "valkey", "memcached"])]
    servers: Vec<Server>,
    #[arg(long, default_value = "redis")]
    baseline: String,
    /// Overrides those of the definitions.
    #[arg(long)]
    rounds: Option<u32>,
    /// Overrides the length of the windows, except where something has its moments in them.
    #[arg(long)]
    seconds: Option<f64>,
    /// How long all of it may take, shared out by how much each workload has to run: what does not fit is rounds that are left out.
    #[arg(long)]
    minutes: Option<f64>,
    #[arg(long, default_value = "0")]
    server_cpu: Cpu,
    #[command(flatten)]
    load: LoadShape,
    #[arg(long, default_value = "results")]
    results: PathBuf,
}

pub(crate) fn run(options: &Options) -> Result<(), String> {
    let (servers, absent) = present(options)?;
    let mut failures = Vec::new();
    let workloads = workloads(options)?;
    let mut budget = Budget::of(options.minutes, &workloads, servers.len());
    for workload in workloads {
        let name = workload.name.clone();
        let until = budget.share_of(&workload);
        // One workload that fails does not take the others with it.
        if let Err(why) = hold(options, workload, servers.clone(), &absent, (budget.clock, until)) {
            eprintln!("{name}: {why}");
            failures.push(format!("{name}: {why}"));
        }
    }
    index::run(&index::Options { results: options.results.clone() })?;
    if failures.is_empty() { Ok(()) } else { Err(failures.join("\n")) }
}

fn hold(
    options: &Options,
    workload: Workload,
    servers: Vec<Server>,
    absent: &[Absent],
    (clock, until): (Clock, Option<Nanos>),
) -> Result<(), String> {
    let baseline =
        Some(options.baseline.as_str()).filter(|baseline| servers.iter().any(|server| server.name == *baseline));
    let mut contest = Contest::new(workload, servers, baseline, &options.load, options.server_cpu, None)?;
    contest.absent.extend_from_slice(absent);
    contest.until = until.map(|until| (clock, until));
    let record = contest.hold()?;
    print!("\n{}\n{}", record.workload.name, table(&record));
    keep(&record, &options.results)
}

/// What is left of the time that all may take.
struct Budget {
    clock: Clock,
    until: Option<Nanos>,
    /// What the workloads that are left would take, in seconds, and servers in each.
    wanted: f64,
    servers: usize,
}

/// What a run takes beside its window: a fresh server, its keys, warming up.
const BESIDE_SECONDS: f64 = 0.8;

impl Budget {
    fn of(minutes: Option<f64>, workloads: &[Workload], servers: usize) -> Self {
        let clock = Clock::start();
        let until = minutes.map(|minutes| clock.now() + Duration::from_secs_f64(minutes * 60.0));
        let mut budget = Self { clock, until, wanted: 0.0, servers };
        budget.wanted = workloads.iter().map(|workload| budget.wanted_by(workload)).sum();
        budget
    }

    fn wanted_by(&self, workload: &Workload) -> f64 {
        let runs = workload.rounds as usize * (workload.depths.len() + workload.rates.len()) * self.servers;
        runs as f64 * (workload.seconds + BESIDE_SECONDS)
    }

    /// Until when the next workload may begin rounds.
    fn share_of(&mut self, workload: &Workload) -> Option<Nanos> {
        let until = self.until?;
        let (now, wanted) = (self.clock.now(), self.wanted_by(workload));
        let share = until.since(now) as f64 / 1e9 * wanted / self.wanted;
        self.wanted -= wanted;
        Some(now + Duration::from_secs_f64(share.max(0.0)))
    }
}

/// Parts the servers that can run here from those that cannot, with the reason.
fn present(options: &Options) -> Result<(Vec<Server>, Vec<Absent>), String> {
    let (mut present, mut absent) = (Vec::new(), Vec::new());
    for server in &options.servers {
        let why = if !server.is_installed() {
            Some("it is not installed here")
        } else if server.has_separate_lanes(options.server_cpu)? {
            Some("the lanes of this build are stores of their own, so its figure would be that of one lane")
        } else {
            None
        };
        match why {
            Some(why) => absent.push(Absent { server: server.name.clone(), why: why.to_owned() }),
            None => present.push(server.clone()),
        }
    }
    Ok((present, absent))
}

fn workloads(options: &Options) -> Result<Vec<Workload>, String> {
    let mut workloads = read_folder(&options.definitions)?;
    if let Some(unknown) = options.only.iter().find(|name| !workloads.iter().any(|workload| workload.name == **name)) {
        return Err(format!("there is no definition of {unknown}"));
    }
    workloads.retain(|workload| options.only.is_empty() || options.only.contains(&workload.name));
    for workload in &mut workloads {
        workload.rounds = options.rounds.unwrap_or(workload.rounds);
        if workload.disturbance.is_empty() {
            workload.seconds = options.seconds.unwrap_or(workload.seconds);
        }
    }
    Ok(workloads)
}

fn read_folder(folder: &Path) -> Result<Vec<Workload>, String> {
    let entries = std::fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    paths.sort();
    paths.iter().map(|path| Workload::read(path)).collect()
}
