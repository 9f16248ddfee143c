//! `load`: one run against one server, and what it says about it.
//!
//! ```text
//!   threads: connect -> fill their part of the keys -> (all ready) -> warm up ──────── window ────────> drain -> records
//!   sampler:                                             until steady   usage, replies ... usage, replies
//!   disturber:                         prepare                          acts at its moments
//! ```
//!
//! The figure to compare servers by is requests per second of *server CPU time*: it holds on a noisy machine, where
//! wall figures do not. Requests and server usage are sampled at the same two moments by the thread that waits.

pub(crate) mod address;
pub(crate) mod client;
pub(crate) mod cluster;
pub(crate) mod disturbance;
pub(crate) mod lane;
pub(crate) mod live;
pub(crate) mod report;
pub(crate) mod sampler;
pub(crate) mod slices;
pub(crate) mod steady;

use std::path::PathBuf;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use fastrand::Rng;
use serde::{Deserialize, Serialize};

use crate::capture::replay::{Playback, Replay};
use crate::clock::Clock;
use crate::cpu::{Cpu, Pid};
use crate::output::Outputs;
use crate::schedule::{Arrivals, Course, Rate};
use crate::wire::Dialect;
use crate::workload::definition::Workload;
use crate::workload::keys::Keys;
use crate::workload::mix::Mix;
use crate::workload::overrides::Overrides;
use address::Address;
use cluster::{Node, Toward};
use disturbance::{Disturber, Happened};
use lane::{Drive, Fault, Lane, Record, Target, Window, Work};
use live::Live;
use report::Report;
use sampler::{Sampled, Sampler};
use slices::Slices;

const FILL_DEPTH: u32 = 64;

#[derive(clap::Args, Debug)]
pub(crate) struct Options {
    #[command(flatten)]
    pub(crate) place: Place,
    #[command(flatten)]
    overrides: Overrides,
    #[command(flatten)]
    shape: LoadShape,
    /// Requests sent in one write (closed loop), or the most outstanding on a connection (open loop).
    #[arg(long, default_value_t = 1)]
    depth: u32,
    #[command(flatten)]
    outputs: Outputs,
}

/// Which server, for commands that drive one that is already running.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Place {
    /// TCP port of the server.
    #[arg(long)]
    port: Option<u16>,
    #[arg(long, default_value = "127.0.0.1")]
    host: String,
    /// Path of the server's unix socket, instead of TCP.
    #[arg(long, conflicts_with = "port")]
    unix: Option<PathBuf>,
    #[arg(long, value_enum, default_value_t)]
    pub(crate) dialect: Dialect,
    /// The process whose CPU time, memory and switches are reported.
    #[arg(long)]
    pub(crate) server_pid: Option<Pid>,
}

impl Place {
    pub(crate) fn address(&self) -> Result<Address, String> {
        match (&self.unix, self.port) {
            (Some(path), _) => Ok(Address::Unix(path.clone())),
            (None, Some(port)) => Address::host(&self.host, port),
            (None, None) => Err("give --port or --unix".to_owned()),
        }
    }
}

#[derive(clap::Args, Clone, Debug, Serialize, Deserialize, PartialEq)]
pub(crate) struct LoadShape {
    #[arg(long, default_value_t = 1)]
    pub(crate) threads: u32,
    /// CPUs of the load's threads, in turn.
    #[arg(long, value_delimiter = ',')]
    pub(crate) cpus: Vec<usize>,
    /// Open loop at this many requests per second; without it the loop is closed.
    #[arg(long)]
    pub(crate) rate: Option<f64>,
    /// Overrides the definition's.
    #[arg(long, value_enum)]
    #[serde(default)]
    pub(crate) arrivals: Option<Arrivals>,
    /// Spin this long on the ring before waiting in it.
    #[arg(long, default_value_t = 0)]
    pub(crate) spin_us: u64,
    /// Do not write the keys before the run.
    #[arg(long)]
    pub(crate) no_fill: bool,
    /// Ask CLUSTER SLOTS, connect to every node, and send each key to the node that owns it, or to the one after that.
    #[arg(long = "slots", value_enum, num_args = 0..=1, default_missing_value = "owner")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) toward: Option<Toward>,
    /// Warm up for so many seconds, instead of until the cost of a request stands still.
    #[arg(long)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) warm_up: Option<f64>,
}

/// Everything one run needs to know.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) address: Address,
    pub(crate) workload: Workload,
    pub(crate) shape: LoadShape,
    pub(crate) depth: u32,
    pub(crate) dialect: Dialect,
    pub(crate) server: Option<Pid>,
}

/// Runs, prints, and says whether the run counts.
pub(crate) fn run(options: &Options) -> Result<(), String> {
    let plan = Plan {
        address: options.place.address()?,
        workload: options.overrides.workload()?,
        shape: options.shape.clone(),
        depth: options.depth,
        dialect: options.place.dialect,
        server: options.place.server_pid,
    };
    let report = measure(&plan, &mut Live::for_terminal(&plan.workload.name))?;
    options.outputs.write(&plan.workload.name, &report)
}

pub(crate) fn measure(plan: &Plan, live: &mut Live) -> Result<Report, String> {
    check(plan)?;
    let mix = Mix::new(&plan.workload, plan.dialect)?;
    let filling = Mix::filling(&plan.workload, plan.dialect)?;
    let nodes = match plan.shape.toward {
        Some(toward) => cluster::nodes(&plan.address, &plan.workload, toward)?,
        None => Vec::new(),
    };
    Run::new(plan, mix, Some(filling), nodes, None)?.go(live)
}

/// Plays a recorded load instead of a workload's.
pub(crate) fn replay(plan: &Plan, recorded: &Replay, live: &mut Live) -> Result<Report, String> {
    check(plan)?;
    Run::new(plan, Mix::foreign(plan.dialect), None, Vec::new(), Some(recorded))?.go(live)
}

fn check(plan: &Plan) -> Result<(), String> {
    let shape = &plan.shape;
    match () {
        () if plan.depth == 0 => Err("the depth is at least 1".to_owned()),
        () if shape.threads == 0 || shape.threads > plan.workload.connections => {
            Err("threads are at least 1 and at most the connections".to_owned())
        }
        () if shape.warm_up.is_some_and(|seconds| seconds.is_nan() || seconds < 0.0) => {
            Err("the warm-up is 0 s or more".to_owned())
        }
        () if shape.rate.is_some_and(|rate| rate.is_nan() || rate <= 0.0) => Err("the rate is above 0".to_owned()),
        () => Ok(()),
    }
}

pub(crate) struct Run<'a> {
    pub(crate) plan: &'a Plan,
    mix: Mix,
    filling: Option<Mix>,
    nodes: Vec<Node>,
    recorded: Option<&'a Replay>,
    pub(crate) clock: Clock,
    /// All lanes have filled their keys (or failed to).
    filled: Barrier,
    pub(crate) window: Window,
    pub(crate) replies: AtomicU64,
    /// A lane has ended before its time.
    pub(crate) failed: AtomicBool,
    targets: Vec<Target>,
}

impl<'a> Run<'a> {
    fn new(
        plan: &'a Plan,
        mix: Mix,
        filling: Option<Mix>,
        nodes: Vec<Node>,
        recorded: Option<&'a Replay>,
    ) -> Result<Self, String> {
        let connections = plan.workload.connections as usize;
        let targets: Vec<Target> = match &nodes[..] {
            [] => vec![Target { address: plan.address.clone(), node: 0 }; connections],
            nodes if connections < nodes.len() => {
                return Err(format!("{} nodes need as many connections", nodes.len()));
            }
            nodes => {
                let each = nodes.iter().enumerate().map(|(node, at)| Target { address: at.address.clone(), node });
                each.cycle().take(connections).collect()
            }
        };
        let filled = Barrier::new(plan.shape.threads as usize + 1);
        let (window, replies, failed) = (Window::never(), AtomicU64::new(0), AtomicBool::new(false));
        Ok(Self {
            plan,
            mix,
            filling,
            nodes,
            recorded,
            clock: Clock::start(),
            filled,
            window,
            replies,
            failed,
            targets,
        })
    }

    fn go(&self, live: &mut Live) -> Result<Report, String> {
        let mut slices = Slices::new(sampler::tick(self.plan.workload.seconds));
        thread::scope(|scope| {
            let lanes: Vec<_> = (0..self.plan.shape.threads)
                .map(|index| {
                    let writer = slices.writer();
                    scope.spawn(move || {
                        self.lane(index, writer).inspect_err(|_| self.failed.store(true, Ordering::Relaxed))
                    })
                })
                .collect();
            // On a thread of its own: it is pinned, and what it pins must not outlive the run.
            let sampled = thread::scope(|inner| inner.spawn(|| self.sample(&mut slices, live)).join());
            let sampled = sampled.map_err(|_| "the sampling thread panicked".to_owned()).and_then(|sampled| sampled);
            let records: Result<Vec<Record>, String> =
                lanes.into_iter().map(|lane| lane.join().map_err(|_| "a load thread panicked".to_owned())?).collect();
            live.end();
            // A lane's own words (a wrong reply, a closed connection) say more than what the sampler then met.
            let records = records?;
            let (sampled, happened) = sampled?;
            slices.collect();
            Ok(Report::of(self.plan, &sampled, &slices, &happened, &records))
        })
    }

    fn sample(&self, slices: &mut Slices, live: &mut Live) -> Result<(Sampled, Vec<Happened>), String> {
        live.stage("filling");
        self.filled.wait();
        let sampler = Sampler { run: self, slices, live };
        let disturbances = &self.plan.workload.disturbance;
        if disturbances.is_empty() {
            self.filled.wait();
            return Ok((sampler.sample(None)?, Vec::new()));
        }
        let opens = self.clock.now() + Duration::from_secs_f64(disturbance::LEAD_SECONDS);
        let disturber = Disturber::connect(disturbances, &self.plan.address, self.clock, opens);
        let disturber = disturber.and_then(|mut disturber| disturber.prepare().map(|()| disturber));
        // The lanes wait at the second barrier whatever has happened here.
        self.filled.wait();
        let disturber = disturber.inspect_err(|_| self.window.set(self.clock.now(), self.clock.now()))?;
        thread::scope(|scope| {
            let acting = scope.spawn(|| disturber.act());
            let sampled = sampler.sample(Some(opens))?;
            let happened = acting.join().map_err(|_| "the disturbing thread panicked".to_owned())??;
            Ok((sampled, happened))
        })
    }

    fn lane(&self, index: u32, slices: slices::SliceWriter) -> Result<Record, String> {
        let ready = self.prepare(index);
        // Both barriers are passed also after a failure: the others wait there.
        self.filled.wait();
        self.filled.wait();
        let mut lane = ready?;
        lane.write_slices(slices);
        let mut work = self.work(index);
        lane.run(&mut work, self.drive(index), &self.window).map_err(|fault| fault.to_string())?;
        Ok(lane.into_record())
    }

    fn work(&self, index: u32) -> Work<'_> {
        let Plan { workload, shape, .. } = self.plan;
        let keys = match &self.nodes[..] {
            [] => vec![Keys::new(workload, workload.keys)],
            nodes => nodes.iter().map(|node| Keys::among(workload, node.keys.clone())).collect(),
        };
        let keys = keys.into_iter().map(|keys| keys.for_thread(index, shape.threads)).collect();
        Work { mix: &self.mix, keys, requests_per_connection: workload.requests_per_connection }
    }

    fn prepare(&self, index: u32) -> Result<Lane<'_>, String> {
        let shape = &self.plan.shape;
        if let Some(cpu) = shape.cpus.get(index as usize % shape.cpus.len().max(1)) {
            Cpu(*cpu).pin_this_thread().map_err(|error| error.to_string())?;
        }
        if !shape.no_fill {
            self.fill(index).map_err(|fault| format!("while filling: {fault}"))?;
        }
        let targets = match self.recorded {
            Some(_) => self.targets.iter().skip(index as usize).step_by(shape.threads as usize).cloned().collect(),
            None => self.targets[share(self.plan.workload.connections, index, shape.threads)].to_vec(),
        };
        let mut lane = Lane::connect(targets, self.plan.depth, &self.mix, self.clock, &self.replies)
            .map_err(|error| format!("connecting to {}: {error}", self.plan.address))?;
        lane.spin_for(Duration::from_micros(shape.spin_us));
        Ok(lane)
    }

    /// Writes this thread's part of the keys, over one connection to each node.
    fn fill(&self, index: u32) -> Result<(), Fault> {
        let Some(filling) = &self.filling else { return Ok(()) };
        let threads = self.plan.shape.threads;
        if self.nodes.is_empty() {
            let part = share(self.plan.workload.keys, index, threads);
            let count = part.len() as u64;
            return if count == 0 {
                Ok(())
            } else {
                let part =
                    u32::try_from(part.start).expect("from 32 bits")..u32::try_from(part.end).expect("from 32 bits");
                self.fill_at(&self.plan.address, filling, Keys::in_order(part), count)
            };
        }
        for node in self.nodes.iter().skip(index as usize).step_by(threads as usize) {
            let in_order =
                Workload { distribution: crate::workload::keys::Distribution::Sequential, ..Workload::default() };
            let keys = Keys::among(&in_order, node.keys.clone());
            self.fill_at(&node.address, filling, keys, node.keys.len() as u64)?;
        }
        Ok(())
    }

    fn fill_at(&self, address: &Address, filling: &Mix, keys: Keys, count: u64) -> Result<(), Fault> {
        let uncounted = AtomicU64::new(0);
        let target = Target { address: address.clone(), node: 0 };
        let mut lane = Lane::connect(vec![target], FILL_DEPTH, filling, self.clock, &uncounted)?;
        let mut work = Work { mix: filling, keys: vec![keys], requests_per_connection: None };
        lane.run(&mut work, Drive::Count(count), &Window::never())
    }

    fn drive(&self, index: u32) -> Drive<'_> {
        let Plan { shape, workload, .. } = self.plan;
        if let Some(recorded) = self.recorded {
            return Drive::Replay(Playback::new(recorded, index, shape.threads, self.clock.now()));
        }
        let Some(rate) = shape.rate else { return Drive::Closed };
        let arrivals = shape.arrivals.unwrap_or(workload.arrivals);
        let course = Course { arrivals, rate: Rate(rate), burst: workload.burst, phases: &workload.phase };
        Drive::Open(course.for_thread(index, shape.threads, self.clock.now(), &mut Rng::new()))
    }

    /// A replay has its own end; it starts at once and counts from its first request.
    pub(crate) const fn recorded(&self) -> Option<&Replay> {
        self.recorded
    }
}

/// The part of `0..total` that belongs to one of `parts`.
fn share(total: u32, index: u32, parts: u32) -> std::ops::Range<usize> {
    let bound = |index: u32| {
        let bound = u64::from(total) * u64::from(index) / u64::from(parts);
        usize::try_from(bound).expect("at most the total")
    };
    bound(index)..bound(index + 1)
}

#[cfg(test)]
mod tests;
