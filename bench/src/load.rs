//! `load`: one run against one server, and what it says about it.
//!
//! ```text
//!   threads: connect -> fill their part of the keys -> (all ready) -> warm up ──── window ────> records
//!   sampler:                                                        usage, replies   usage, replies
//! ```
//!
//! The figure to compare servers by is requests per second of *server CPU time*: it holds on a noisy machine, where
//! wall figures do not. Requests and server usage are sampled at the same two moments by the thread that waits.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Barrier, OnceLock};
use std::thread;
use std::time::Duration;

use fastrand::Rng;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::clock::{Clock, Nanos};
use crate::cpu::{Cpu, Pid, Usage};
use crate::keys::Keys;
use crate::lane::{Drive, Fault, Lane, Record, Window, histogram};
use crate::schedule::{Arrivals, Punctuality, Rate, Schedule};
use crate::workload::{Dialect, Mix, Overrides, Workload};

/// Long enough for caches, branch predictors and the CPU's clock; the server's first touches of memory are the fill's.
const WARM_UP: Duration = Duration::from_millis(300);
const FILL_DEPTH: u32 = 64;

#[derive(clap::Args, Debug)]
pub(crate) struct Options {
    /// Port on 127.0.0.1.
    #[arg(long)]
    port: u16,
    #[command(flatten)]
    overrides: Overrides,
    #[command(flatten)]
    shape: LoadShape,
    /// Requests sent in one write (closed loop), or the most outstanding on a connection (open loop).
    #[arg(long, default_value_t = 1)]
    depth: u32,
    #[arg(long, value_enum, default_value_t)]
    dialect: Dialect,
    /// The process whose CPU time, memory and switches are reported.
    #[arg(long)]
    server_pid: Option<Pid>,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
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
    #[arg(long, value_enum, default_value_t)]
    pub(crate) arrivals: Arrivals,
    /// Spin this long on the ring before waiting in it.
    #[arg(long, default_value_t = 0)]
    pub(crate) spin_us: u64,
    /// Do not write the keys before the run.
    #[arg(long)]
    pub(crate) no_fill: bool,
}

/// Everything one run needs to know.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) port: u16,
    pub(crate) workload: Workload,
    pub(crate) shape: LoadShape,
    pub(crate) depth: u32,
    pub(crate) dialect: Dialect,
    pub(crate) server: Option<Pid>,
}

#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub(crate) struct Report {
    pub(crate) depth: u32,
    pub(crate) connections: u32,
    pub(crate) requests: u64,
    pub(crate) seconds: f64,
    pub(crate) requests_per_second: f64,
    pub(crate) requests_per_server_cpu_second: Option<f64>,
    /// Of the window; the resident size at its end.
    pub(crate) server: Option<Usage>,
    pub(crate) latency: Percentiles,
    /// Open loop only: how late the generator itself was.
    pub(crate) slip: Option<Percentiles>,
    pub(crate) rate: Option<f64>,
    /// Why the run does not count, if it does not.
    pub(crate) invalid: Option<String>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq)]
pub(crate) struct Percentiles {
    pub(crate) p50_us: f64,
    pub(crate) p90_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) p99_9_us: f64,
    pub(crate) p99_99_us: f64,
    pub(crate) max_us: f64,
}

impl Percentiles {
    fn of(histogram: &Histogram<u64>) -> Self {
        let at = |percentile| micros(histogram.value_at_percentile(percentile));
        Self {
            p50_us: at(50.0),
            p90_us: at(90.0),
            p99_us: at(99.0),
            p99_9_us: at(99.9),
            p99_99_us: at(99.99),
            max_us: micros(histogram.max()),
        }
    }
}

fn micros(nanos: u64) -> f64 {
    nanos as f64 / 1000.0
}

/// Runs, prints, and says whether the run counts.
pub(crate) fn run(options: &Options) -> Result<(), String> {
    let plan = Plan {
        port: options.port,
        workload: options.overrides.workload()?,
        shape: options.shape.clone(),
        depth: options.depth,
        dialect: options.dialect,
        server: options.server_pid,
    };
    let report = measure(&plan)?;
    match options.json {
        true => println!("{}", serde_json::to_string_pretty(&report).map_err(|error| error.to_string())?),
        false => print!("{report}"),
    }
    report.invalid.map_or(Ok(()), |why| Err(format!("this run does not count: {why}")))
}

pub(crate) fn measure(plan: &Plan) -> Result<Report, String> {
    check(plan)?;
    let mix = Mix::new(&plan.workload, plan.dialect)?;
    let filling = Mix::filling(&plan.workload, plan.dialect)?;
    let threads = plan.shape.threads;
    let run = Run {
        plan,
        mix,
        filling,
        clock: Clock::start(),
        filled: Barrier::new(threads as usize + 1),
        window: OnceLock::new(),
        replies: AtomicU64::new(0),
    };
    thread::scope(|scope| {
        let run = &run;
        let lanes: Vec<_> = (0..threads).map(|index| scope.spawn(move || run.lane(index))).collect();
        let sampled = run.sample();
        let records: Result<Vec<Record>, String> =
            lanes.into_iter().map(|lane| lane.join().map_err(|_| "a load thread panicked".to_owned())?).collect();
        // A lane's own words (a wrong reply, a closed connection) say more than what the sampler then met.
        let records = records?;
        Ok(report(plan, sampled?, &records))
    })
}

fn check(plan: &Plan) -> Result<(), String> {
    let shape = &plan.shape;
    match () {
        () if plan.depth == 0 => Err("the depth is at least 1".to_owned()),
        () if shape.threads == 0 || shape.threads > plan.workload.connections => {
            Err("threads are at least 1 and at most the connections".to_owned())
        }
        () if shape.rate.is_some_and(|rate| rate.is_nan() || rate <= 0.0) => Err("the rate is above 0".to_owned()),
        () => Ok(()),
    }
}

struct Run<'a> {
    plan: &'a Plan,
    mix: Mix,
    filling: Mix,
    clock: Clock,
    /// All lanes have filled their keys (or failed to).
    filled: Barrier,
    /// Set by the sampler once all lanes are ready.
    window: OnceLock<Window>,
    replies: AtomicU64,
}

struct Sampled {
    requests: u64,
    seconds: f64,
    server: Option<Usage>,
}

impl Run<'_> {
    fn lane(&self, index: u32) -> Result<Record, String> {
        let ready = self.prepare(index);
        // Both barriers are passed also after a failure: the others wait there.
        self.filled.wait();
        self.filled.wait();
        let mut lane = ready?;
        let window = *self.window.get().expect("set between the barriers");
        let mut keys = Keys::new(self.plan.workload.distribution, self.plan.workload.keys);
        lane.run(&self.mix, &mut keys, self.drive(), window).map_err(|fault| fault.to_string())?;
        Ok(lane.into_record())
    }

    fn prepare(&self, index: u32) -> Result<Lane<'_>, String> {
        let Plan { port, workload, shape, .. } = self.plan;
        if let Some(cpu) = shape.cpus.get(index as usize % shape.cpus.len().max(1)) {
            Cpu(*cpu).pin_this_thread().map_err(|error| error.to_string())?;
        }
        if !shape.no_fill {
            self.fill(index).map_err(|fault| format!("while filling: {fault}"))?;
        }
        let connections = share(workload.connections, index, shape.threads).len();
        let connections = u32::try_from(connections).expect("a share of a u32");
        let mut lane = Lane::connect(*port, connections, self.plan.depth, self.clock, &self.replies)
            .map_err(|error| format!("connecting to port {port}: {error}"))?;
        lane.spin_for(Duration::from_micros(shape.spin_us));
        Ok(lane)
    }

    /// Writes this thread's part of the keys over one connection.
    fn fill(&self, index: u32) -> Result<(), Fault> {
        let part = share(self.plan.workload.keys, index, self.plan.shape.threads);
        if part.is_empty() {
            return Ok(());
        }
        let uncounted = AtomicU64::new(0);
        let count = u64::from(part.end - part.start);
        let mut lane = Lane::connect(self.plan.port, 1, FILL_DEPTH, self.clock, &uncounted)?;
        let never = Window { from: Nanos(u64::MAX), until: Nanos(u64::MAX) };
        lane.run(&self.filling, &mut Keys::in_order(part), Drive::Count(count), never)
    }

    fn drive(&self) -> Drive {
        let shape = &self.plan.shape;
        let Some(rate) = shape.rate else { return Drive::Closed };
        let each = Rate(rate / f64::from(shape.threads));
        Drive::Open(Schedule::new(shape.arrivals, each, self.clock.now(), &mut Rng::new()))
    }

    /// Opens the window when all lanes are ready, and samples the server at its two ends.
    fn sample(&self) -> Result<Sampled, String> {
        self.filled.wait();
        let from = self.clock.now() + WARM_UP;
        let until = from + Duration::from_secs_f64(self.plan.workload.seconds);
        self.window.set(Window { from, until }).expect("set once");
        self.filled.wait();
        let (from, first, usage_first) = self.sample_at(from)?;
        let (until, last, usage_last) = self.sample_at(until)?;
        Ok(Sampled {
            requests: last - first,
            seconds: until.since(from) as f64 / 1e9,
            server: usage_last.zip(usage_first).map(|(last, first)| last.since(first)),
        })
    }

    fn sample_at(&self, moment: Nanos) -> Result<(Nanos, u64, Option<Usage>), String> {
        self.clock.sleep_until(moment);
        let usage = self.plan.server.map(Usage::of).transpose();
        let usage = usage.map_err(|error| format!("reading the server's /proc entry: {error}"))?;
        Ok((self.clock.now(), self.replies.load(Ordering::Relaxed), usage))
    }
}

/// The part of `0..total` that belongs to one of `parts`.
fn share(total: u32, index: u32, parts: u32) -> std::ops::Range<u32> {
    let bound = |index: u32| {
        let bound = u64::from(total) * u64::from(index) / u64::from(parts);
        u32::try_from(bound).expect("at most the total")
    };
    bound(index)..bound(index + 1)
}

fn report(plan: &Plan, sampled: Sampled, records: &[Record]) -> Report {
    let (mut latency, mut slip) = (histogram(), histogram());
    for record in records {
        latency.add(&record.latency).expect("same bounds");
        slip.add(&record.slip).expect("same bounds");
    }
    let requests = sampled.requests as f64;
    let punctuality = Punctuality {
        slip_p99: Duration::from_nanos(slip.value_at_percentile(99.0)),
        latency_p99: Duration::from_nanos(latency.value_at_percentile(99.0)),
        unsent: records.iter().map(|record| record.unsent).sum(),
        sent: slip.len(),
    };
    let open = plan.shape.rate.is_some();
    let silent = (sampled.requests == 0).then(|| "not one request was answered".to_owned());
    Report {
        depth: plan.depth,
        connections: plan.workload.connections,
        requests: sampled.requests,
        seconds: sampled.seconds,
        requests_per_second: requests / sampled.seconds,
        requests_per_server_cpu_second: sampled.server.map(|usage| requests * 1e9 / usage.cpu_ns.max(1) as f64),
        server: sampled.server,
        latency: Percentiles::of(&latency),
        slip: open.then(|| Percentiles::of(&slip)),
        rate: plan.shape.rate,
        invalid: silent.or_else(|| if open { punctuality.fault() } else { None }),
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(to, "requests            {} in {:.3} s", self.requests, self.seconds)?;
        writeln!(to, "requests/s          {:.0}", self.requests_per_second)?;
        if let (Some(per_cpu), Some(usage)) = (self.requests_per_server_cpu_second, self.server) {
            writeln!(to, "requests/cpu-s      {per_cpu:.0}")?;
            let share = |nanos: u64| nanos as f64 / self.seconds / 1e7;
            let (busy, waiting) = (share(usage.cpu_ns), share(usage.waiting_ns));
            writeln!(to, "server CPU          {busy:.1} %, and {waiting:.1} % waiting while others had it")?;
            writeln!(to, "server RSS          {:.1} MiB", usage.rss_bytes as f64 / f64::from(1 << 20))?;
            let (voluntary, involuntary) = (usage.voluntary_switches, usage.involuntary_switches);
            writeln!(to, "server switches     {voluntary} voluntary, {involuntary} involuntary")?;
        }
        writeln!(to, "latency             {}", self.latency)?;
        if let (Some(rate), Some(slip)) = (self.rate, self.slip) {
            writeln!(to, "intended rate       {rate:.0}/s, latency from the intended start")?;
            writeln!(to, "generator slip      {slip}")?;
        }
        Ok(())
    }
}

impl std::fmt::Display for Percentiles {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { p50_us, p90_us, p99_us, p99_9_us, p99_99_us, max_us } = self;
        write!(to, "p50 {p50_us:.1} p90 {p90_us:.1} p99 {p99_us:.1} ")?;
        write!(to, "p99.9 {p99_9_us:.1} p99.99 {p99_99_us:.1} max {max_us:.1} us")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::floor;
    use crate::server::free_port;

    /// The load against a floor in this process, whose thread ends with it.
    fn against_floor(served: usize, depth: u32, rate: Option<f64>, value_bytes: usize) -> Result<Report, String> {
        let port = free_port().unwrap();
        let options = floor::Options { port, cpu: None, value_bytes: served };
        thread::Builder::new().spawn(move || floor::run(&options)).unwrap();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            thread::yield_now();
        }
        let arrivals = Arrivals::Poisson;
        let shape = LoadShape { threads: 2, cpus: Vec::new(), rate, arrivals, spin_us: 0, no_fill: false };
        let workload = Workload { connections: 5, keys: 1000, value_bytes, seconds: 0.3, ..Workload::default() };
        let server = Some(Pid(std::process::id()));
        measure(&Plan { port, workload, shape, depth, dialect: Dialect::Fixed, server })
    }

    #[test]
    fn a_closed_loop_is_answered_and_accounted() {
        let report = against_floor(64, 7, None, 64).unwrap();
        assert_eq!(report.invalid, None);
        assert!(report.requests > 100 && report.requests_per_server_cpu_second.unwrap() > 0.0, "{report:?}");
        assert!(report.latency.p50_us > 0.0 && report.latency.p50_us <= report.latency.max_us, "{report:?}");
    }

    /// Replies of many buffers each: receives cut anywhere, sends that do not fit the socket, buffers that run out.
    #[test]
    fn large_replies_arrive_whole() {
        let report = against_floor(300_000, 8, None, 300_000).unwrap();
        assert!(report.requests > 8 && report.invalid.is_none(), "{report:?}");
    }

    #[test]
    fn an_open_loop_keeps_its_rate() {
        let report = against_floor(64, 16, Some(2000.0), 64).unwrap();
        assert!((300..1200).contains(&report.requests), "{report:?}");
        assert!(report.slip.is_some());
    }

    #[test]
    fn a_wrong_answer_fails_the_run() {
        let why = against_floor(63, 1, None, 64).unwrap_err();
        assert!(why.contains("wrong reply") && why.contains("$63"), "{why}");
    }

    #[test]
    fn shares_cover_everything_once() {
        for parts in 1..7 {
            let shares: Vec<_> = (0..parts).map(|index| share(50, index, parts)).collect();
            assert_eq!((shares[0].start, shares[shares.len() - 1].end), (0, 50));
            assert!(shares.windows(2).all(|pair| pair[0].end == pair[1].start));
        }
        assert_eq!(share(u32::MAX, 2, 3).end, u32::MAX);
    }
}
