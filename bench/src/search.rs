//! `search`: the highest rate at which a server keeps a latency goal, and how sure that is.
//!
//! ```text
//!   double until the goal is missed -> halve the gap (in ratio) until it is below 5 %, each rate tried up to three times
//!   -> confirm: ten more runs at the highest rate kept; fewer than nine keep it: 5 % lower, and again
//! ```
//!
//! A rate is kept by a run if the latency goal holds, the server answered nearly all that was due, and the generator was in time.
//! How sure: Wilson's bounds of the share of runs that keep the rate, and what the next rate above it did.

use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use crate::clock::nanos_of;
use crate::cpu::{Cpu, Pid};
use crate::load::address::Address;
use crate::load::live::{Live, thousands};
use crate::load::report::{Report, micros};
use crate::load::{LoadShape, Place, Plan, measure};
use crate::output::{hlog, html};
use crate::server::{Running, Server};
use crate::statistics::share::wilson;
use crate::wire::Dialect;
use crate::workload::definition::Workload;
use crate::workload::overrides::Overrides;

#[derive(clap::Args, Debug)]
pub(crate) struct Options {
    #[command(flatten)]
    overrides: Overrides,
    #[command(flatten)]
    load: LoadShape,
    #[command(flatten)]
    place: Place,
    /// Start this server, as `compare` does, instead of using one that runs.
    #[arg(long)]
    server: Option<Server>,
    #[arg(long, default_value = "0")]
    server_cpu: Cpu,
    /// The goal, as in 500us, 1ms. At least one of these.
    #[arg(long, value_parser = humantime::parse_duration)]
    p50: Option<Duration>,
    #[arg(long, value_parser = humantime::parse_duration)]
    p99: Option<Duration>,
    #[arg(long = "p99.9", value_parser = humantime::parse_duration)]
    p99_9: Option<Duration>,
    #[arg(long, value_parser = humantime::parse_duration)]
    max: Option<Duration>,
    /// Requests per second to begin with.
    #[arg(long, default_value_t = 10_000.0)]
    from: f64,
    /// Print all probes as JSON.
    #[arg(long)]
    json: bool,
    /// Write a page with the plot of latency against rate.
    #[arg(long)]
    html: Option<PathBuf>,
}

const OPEN_DEPTH: u32 = 64;
/// The search ends when the rates kept and missed are this close.
const RESOLUTION: f64 = 1.05;
const TRIES: u32 = 3;
const REPEATS: u32 = 10;
const REPEATS_KEPT: u32 = 9;
/// Steps down from a rate that is not kept reliably; lower than that, the machine is too noisy for the goal.
const STEPS_DOWN: u32 = 10;
const DOUBLINGS: u32 = 16;
/// The part of what was due that a server must have answered within the window.
const ANSWERED: f64 = 0.97;

/// One run at one rate.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Probe {
    pub(crate) rate: f64,
    /// At the percentile of the (first) goal.
    pub(crate) latency_us: f64,
    pub(crate) kept: bool,
    /// Why it does not count for the server, if the generator was the limit.
    pub(crate) generator: Option<String>,
}

#[derive(Debug, Serialize)]
struct Found {
    goal: String,
    rate: f64,
    kept: u32,
    repeats: u32,
    /// Of the share of runs that keep the rate, at 95 %.
    share: [f64; 2],
    above: Option<Above>,
    probes: Vec<Probe>,
}

/// What the first rate above the found one did.
#[derive(Debug, Serialize)]
struct Above {
    rate: f64,
    kept: u32,
    repeats: u32,
    generator: Option<String>,
}

pub(crate) fn run(options: &Options) -> Result<(), String> {
    let mut search = Search::new(options)?;
    let found = search.run(options.from)?;
    let text = found.to_string();
    match options.json {
        true => println!("{}", serde_json::to_string_pretty(&found).map_err(|error| error.to_string())?),
        false => println!("{text}"),
    }
    if let Some(path) = &options.html {
        let page = html::of_search(
            &format!("{}: {}", search.name, found.goal),
            &text,
            search.goals[0].limit_us,
            &found.probes,
        )?;
        std::fs::write(path, page).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(())
}

#[derive(Clone, Copy, Debug)]
struct Goal {
    percentile: f64,
    limit_us: f64,
}

impl Goal {
    fn all(options: &Options) -> Result<Vec<Self>, String> {
        let given = [(50.0, options.p50), (99.0, options.p99), (99.9, options.p99_9), (100.0, options.max)];
        let goals: Vec<Self> = given
            .into_iter()
            .filter_map(|(percentile, limit)| Some(Self { percentile, limit_us: micros(nanos_of(limit?)) }))
            .collect();
        if goals.is_empty() { Err("give a goal, such as --p99 1ms".to_owned()) } else { Ok(goals) }
    }
}

struct Search {
    name: String,
    goals: Vec<Goal>,
    plan: Plan,
    live: Live,
    probes: Vec<Probe>,
    /// Kept so that the server lives as long as the search.
    _running: Option<Running>,
}

impl Search {
    fn new(options: &Options) -> Result<Self, String> {
        let workload = options.overrides.workload()?;
        let (running, address, dialect, server, name) = target(options)?;
        let name = format!("{} on {name}", workload.name);
        let mut shape = options.load.clone();
        if running.is_some() && shape.cpus.is_empty() {
            shape.cpus = crate::compare::other_cpus(options.server_cpu);
        }
        let plan = Plan { address, workload, shape, depth: OPEN_DEPTH, dialect, server };
        let live = Live::for_terminal(&name);
        Ok(Self { name, goals: Goal::all(options)?, plan, live, probes: Vec::new(), _running: running })
    }

    fn run(&mut self, from: f64) -> Result<Found, String> {
        let (mut kept, missed) = self.bracket(from)?;
        let mut above = missed;
        while above / kept > RESOLUTION {
            let middle = (kept * above).sqrt();
            *(if self.is_kept(middle)? { &mut kept } else { &mut above }) = middle;
        }
        for _ in 0..STEPS_DOWN {
            let hits = self.repeat(kept, REPEATS)?;
            if hits >= REPEATS_KEPT {
                let next = self.repeat(above, REPEATS / 2)?;
                return Ok(self.found(kept, hits, Some((above, next))));
            }
            (above, kept) = (kept, kept / RESOLUTION);
        }
        Err(format!("no rate down to {} keeps the goal in {REPEATS_KEPT} of {REPEATS} runs", thousands(kept)))
    }

    /// A rate that is kept and a higher one that is missed.
    fn bracket(&mut self, from: f64) -> Result<(f64, f64), String> {
        let mut rate = from;
        let mut kept = None;
        for _ in 0..DOUBLINGS {
            match (self.is_kept(rate)?, kept) {
                (true, _) => (kept, rate) = (Some(rate), rate * 2.0),
                (false, Some(kept)) => return Ok((kept, rate)),
                // Nothing kept yet: the way down.
                (false, None) if self.is_kept(rate / 2.0)? => return Ok((rate / 2.0, rate)),
                (false, None) => rate /= 2.0,
            }
        }
        Err(format!("neither kept nor missed anywhere up to {}", thousands(rate)))
    }

    /// Two of three.
    fn is_kept(&mut self, rate: f64) -> Result<bool, String> {
        let (mut hits, mut misses) = (0, 0);
        while hits <= TRIES / 2 && misses <= TRIES / 2 {
            *(if self.probe(rate)? { &mut hits } else { &mut misses }) += 1;
        }
        Ok(hits > misses)
    }

    fn repeat(&mut self, rate: f64, times: u32) -> Result<u32, String> {
        let mut hits = 0;
        for _ in 0..times {
            hits += u32::from(self.probe(rate)?);
        }
        Ok(hits)
    }

    fn probe(&mut self, rate: f64) -> Result<bool, String> {
        self.live.entitle(&format!("{} at {}/s", self.name, thousands(rate)));
        self.plan.shape.rate = Some(rate);
        let report = measure(&self.plan, &mut self.live)?;
        self.plan.shape.no_fill = true;
        let probe = judge(&report, rate, &self.goals)?;
        let word = if probe.kept { "kept" } else { "missed" };
        eprintln!("{}/s: {word}, {} us", thousands(rate), thousands(probe.latency_us));
        self.probes.push(probe);
        Ok(self.probes[self.probes.len() - 1].kept)
    }

    fn found(&self, rate: f64, kept: u32, above: Option<(f64, u32)>) -> Found {
        let of = |rate: f64| self.probes.iter().rev().filter(move |probe| probe.rate == rate);
        let above = above.map(|(rate, kept)| {
            let generator = of(rate).find_map(|probe| probe.generator.clone());
            Above { rate, kept, repeats: REPEATS / 2, generator }
        });
        let goals: Vec<String> =
            self.goals.iter().map(|goal| format!("p{} <= {} us", goal.percentile, thousands(goal.limit_us))).collect();
        Found {
            goal: goals.join(", "),
            rate,
            kept,
            repeats: REPEATS,
            share: wilson(kept, REPEATS),
            above,
            probes: self.probes.clone(),
        }
    }
}

type Target = (Option<Running>, Address, Dialect, Option<Pid>, String);

fn target(options: &Options) -> Result<Target, String> {
    let Some(server) = &options.server else {
        let address = options.place.address()?;
        let name = address.to_string();
        return Ok((None, address, options.place.dialect, options.place.server_pid, name));
    };
    let running = server.start(options.server_cpu)?;
    let (address, pid) = (running.address.clone(), running.pid());
    Ok((Some(running), address, server.dialect, Some(pid), server.name.clone()))
}

fn judge(report: &Report, rate: f64, goals: &[Goal]) -> Result<Probe, String> {
    let latency = hlog::decode(&report.histogram)?;
    let at = |goal: &Goal| micros(latency.value_at_percentile(goal.percentile));
    // A generator that was late makes a run worse than the server is: one that keeps the goal all the same keeps it.
    let holds = goals.iter().all(|goal| at(goal) <= goal.limit_us);
    let answered = report.requests_per_second >= ANSWERED * rate;
    let kept = holds && answered;
    let generator = report.invalid.clone().filter(|_| !kept);
    Ok(Probe { rate, latency_us: at(&goals[0]), kept, generator })
}

impl std::fmt::Display for Found {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { goal, rate, kept, repeats, share, above, .. } = self;
        write!(to, "{} requests/s kept {goal} in {kept} of {repeats} runs: ", thousands(*rate))?;
        write!(to, "at 95 % confidence it keeps it in {:.0} to {:.0} % of runs.", share[0] * 100.0, share[1] * 100.0)?;
        if let Some(Above { rate, kept, repeats, generator }) = above {
            write!(to, " {} requests/s kept it in {kept} of {repeats}.", thousands(*rate))?;
            if generator.is_some() {
                write!(to, " There the load generator was the limit, so the server may be able to do more.")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that sleeps 1 ms for each request of its only connection keeps nothing near 10,000/s, and 100/s easily.
    #[test]
    fn the_rate_found_is_kept_and_the_one_above_is_not() {
        let server: Server = "redis".parse().unwrap();
        let running = server.start(Cpu(0)).unwrap();
        let command = crate::workload::definition::Command::of(
            1.0,
            "any",
            &["EVAL", "local n = 0 for i = 1, 200000 do n = n + i end return n", "0"],
        );
        let workload =
            Workload { connections: 4, keys: 1, seconds: 0.15, command: vec![command], ..Workload::default() };
        let shape = LoadShape {
            threads: 1,
            cpus: Vec::new(),
            rate: None,
            arrivals: None,
            spin_us: 0,
            no_fill: true,
            slots: false,
            warm_up: None,
        };
        let (address, server) = (running.address.clone(), Some(running.pid()));
        let plan = Plan { address, workload, shape, depth: OPEN_DEPTH, dialect: Dialect::Redis, server };
        let goals = vec![Goal { percentile: 50.0, limit_us: 20_000.0 }];
        let live = Live::silent("test");
        let mut search = Search { name: "test".to_owned(), goals, plan, live, probes: Vec::new(), _running: None };
        let found = search.run(200.0).unwrap();
        assert!((50.0..20_000.0).contains(&found.rate) && found.kept >= REPEATS_KEPT, "{found}");
        let above = found.above.as_ref().unwrap();
        assert!(above.rate > found.rate && above.rate / found.rate <= RESOLUTION + 1e-9, "{found}");
        assert!(found.share[0] > 0.5 && found.to_string().contains("requests/s kept p50 <= 20,000 us"), "{found}");
    }
}
