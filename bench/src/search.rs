//! `search`: the highest rate at which a server keeps a latency goal, and how sure that is.
//!
//! ```text
//!   double until the goal is missed -> halve the gap (in ratio) until it is below 5 %, each rate tried up to three times
//!   -> confirm: ten more runs at the highest rate kept; fewer than nine keep it: 5 % lower, and again
//! ```
//!
//! A rate is kept by a run if the latency goal holds, the server answered nearly all that was due, and the generator was in time.
//! A run that misses because the generator was late says nothing of the server, and is made again, up to three times.
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
    let goals = Goal::all(options)?;
    let mut bench = Bench::new(options, goals.clone())?;
    let name = bench.name.clone();
    let mut search = Search { probe: |rate: f64| bench.probe(rate), probes: Vec::new() };
    let found = search.run(options.from, &goals)?;
    let text = found.to_string();
    match options.json {
        true => println!("{}", serde_json::to_string_pretty(&found).map_err(|error| error.to_string())?),
        false => println!("{text}"),
    }
    if let Some(path) = &options.html {
        let page = html::of_search(&format!("{name}: {}", found.goal), &text, goals[0].limit_us, &found.probes)?;
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

/// What probes: a server, and the load on it.
struct Bench {
    name: String,
    goals: Vec<Goal>,
    plan: Plan,
    live: Live,
    /// Kept so that the server lives as long as the search.
    _running: Option<Running>,
}

impl Bench {
    fn new(options: &Options, goals: Vec<Goal>) -> Result<Self, String> {
        let workload = options.overrides.workload()?;
        let (running, address, dialect, server, name) = target(options)?;
        let name = format!("{} on {name}", workload.name);
        let mut shape = options.load.clone();
        if running.is_some() && shape.cpus.is_empty() {
            shape.cpus = crate::compare::other_cpus(options.server_cpu);
        }
        let plan = Plan { address, workload, shape, depth: OPEN_DEPTH, dialect, server };
        let live = Live::for_terminal(&name);
        Ok(Self { name, goals, plan, live, _running: running })
    }

    fn probe(&mut self, rate: f64) -> Result<Probe, String> {
        self.live.entitle(&format!("{} at {}/s", self.name, thousands(rate)));
        self.plan.shape.rate = Some(rate);
        let report = measure(&self.plan, &mut self.live)?;
        self.plan.shape.no_fill = true;
        let probe = judge(&report, rate, &self.goals)?;
        let word = match &probe.generator {
            _ if probe.kept => "kept",
            None => "missed",
            Some(_) => "spoilt by the generator",
        };
        eprintln!("{}/s: {word}, {} us", thousands(rate), thousands(probe.latency_us));
        Ok(probe)
    }
}

/// The search itself, whatever it is that probes.
struct Search<P> {
    probe: P,
    probes: Vec<Probe>,
}

impl<P: FnMut(f64) -> Result<Probe, String>> Search<P> {
    fn run(&mut self, from: f64, goals: &[Goal]) -> Result<Found, String> {
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
                return Ok(self.found(kept, hits, (above, next), goals));
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

    /// Whether a run keeps the rate; of those in which the generator was late, the last.
    fn probe(&mut self, rate: f64) -> Result<bool, String> {
        let mut kept = false;
        for _ in 0..TRIES {
            let probe = (self.probe)(rate)?;
            kept = probe.kept;
            let counts = kept || probe.generator.is_none();
            self.probes.push(probe);
            if counts {
                break;
            }
        }
        Ok(kept)
    }

    fn found(&self, rate: f64, kept: u32, (next, next_kept): (f64, u32), goals: &[Goal]) -> Found {
        let generator =
            self.probes.iter().rev().filter(|probe| probe.rate == next).find_map(|probe| probe.generator.clone());
        let above = Some(Above { rate: next, kept: next_kept, repeats: REPEATS / 2, generator });
        let words = goals.iter().map(|goal| format!("p{} <= {} us", goal.percentile, thousands(goal.limit_us)));
        let goal = words.collect::<Vec<_>>().join(", ");
        Found { goal, rate, kept, repeats: REPEATS, share: wilson(kept, REPEATS), above, probes: self.probes.clone() }
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
    use fastrand::Rng;

    const GOALS: [Goal; 1] = [Goal { percentile: 99.0, limit_us: 1000.0 }];

    /// A server that keeps any rate below a limit which wavers by some percent from run to run.
    fn found(limit: f64, wavers: f64, from: f64) -> Result<Found, String> {
        let mut rng = Rng::with_seed(3);
        let probe = move |rate: f64| {
            let kept = rate < limit * (1.0 + wavers * (rng.f64() - 0.5));
            Ok(Probe { rate, latency_us: rate / limit * 1000.0, kept, generator: None })
        };
        Search { probe, probes: Vec::new() }.run(from, &GOALS)
    }

    /// Every second run is spoilt by its generator.
    #[test]
    fn a_late_generator_does_not_lower_what_is_found() {
        let mut runs = 0;
        let probe = |rate: f64| {
            runs += 1;
            let generator = (runs % 2 == 0).then(|| "late".to_owned());
            Ok(Probe { rate, latency_us: 0.0, kept: rate < 73_000.0 && generator.is_none(), generator })
        };
        let found = Search { probe, probes: Vec::new() }.run(10_000.0, &GOALS).unwrap();
        assert!(found.rate <= 73_000.0 && found.rate * RESOLUTION >= 73_000.0, "{found}");
        assert!(found.above.unwrap().generator.is_some() && found.kept == REPEATS);
    }

    #[test]
    fn the_highest_rate_is_found_from_below_and_from_above() {
        for from in [100.0, 10_000.0, 900_000.0] {
            let found = found(73_000.0, 0.0, from).unwrap();
            assert!(found.rate <= 73_000.0 && found.rate * RESOLUTION >= 73_000.0, "{found}");
            let above = found.above.unwrap();
            assert!((above.kept, found.kept) == (0, REPEATS) && above.rate / found.rate <= RESOLUTION + 1e-9);
        }
    }

    #[test]
    fn a_wavering_limit_lowers_what_is_promised() {
        let found = found(73_000.0, 0.3, 10_000.0).unwrap();
        assert!(found.rate < 73_000.0 && found.rate > 73_000.0 * 0.7 && found.kept >= REPEATS_KEPT, "{found}");
        assert!(found.to_string().contains("requests/s kept p99 <= 1,000 us in"), "{found}");
    }

    #[test]
    fn a_goal_that_nothing_keeps_is_said_to_be_so() {
        assert!(found(0.0, 0.0, 10_000.0).unwrap_err().contains("neither kept nor missed"));
    }

    /// Runs as they are, judged: an answer too late, too few answers, a generator that was late.
    #[test]
    fn a_run_keeps_a_rate_only_in_all_respects() {
        let mut latency = crate::load::lane::histogram();
        latency.record_n(900_000, 1000).unwrap();
        let report: Report = serde_json::from_value(serde_json::json!({
            "depth": 1, "connections": 1, "requests": 1000, "seconds": 1.0, "requests_per_second": 1000.0,
            "latency": { "p50_us": 0.0, "p90_us": 0.0, "p99_us": 0.0, "p99_9_us": 0.0, "p99_99_us": 0.0, "max_us": 0.0 },
            "histogram": hlog::encode(&latency),
        }))
        .unwrap();
        assert!(judge(&report, 1000.0, &GOALS).unwrap().kept);
        assert!(!judge(&report, 1100.0, &GOALS).unwrap().kept, "a tenth is unanswered");
        assert!(!judge(&report, 1000.0, &[Goal { percentile: 50.0, limit_us: 800.0 }]).unwrap().kept);
        let late = Report { invalid: Some("late".to_owned()), ..report };
        assert_eq!(judge(&late, 1100.0, &GOALS).unwrap().generator.as_deref(), Some("late"));
    }
}
