//! `all`: every ready workload on every server that this machine has, and the index made anew. One command remakes results/.

use std::path::{Path, PathBuf};

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
    for workload in workloads(options)? {
        let name = workload.name.clone();
        // One workload that fails does not take the others with it.
        if let Err(why) = hold(options, workload, servers.clone(), &absent) {
            eprintln!("{name}: {why}");
            failures.push(format!("{name}: {why}"));
        }
    }
    index::run(&index::Options { results: options.results.clone() })?;
    if failures.is_empty() { Ok(()) } else { Err(failures.join("\n")) }
}

fn hold(options: &Options, mut workload: Workload, servers: Vec<Server>, absent: &[Absent]) -> Result<(), String> {
    workload.rounds = options.rounds.unwrap_or(workload.rounds);
    let baseline =
        Some(options.baseline.as_str()).filter(|baseline| servers.iter().any(|server| server.name == *baseline));
    let mut contest = Contest::new(workload, servers, baseline, &options.load, options.server_cpu, None)?;
    contest.absent.extend_from_slice(absent);
    let record = contest.hold()?;
    print!("\n{}\n{}", record.workload.name, table(&record));
    keep(&record, &options.results)
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
    Ok(workloads)
}

fn read_folder(folder: &Path) -> Result<Vec<Workload>, String> {
    let entries = std::fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    paths.sort();
    paths.iter().map(|path| Workload::read(path)).collect()
}
