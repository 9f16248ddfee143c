//! The thread that waits: it decides when the load is steady, opens the window, and samples the server through it.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Run;
use super::live::{Live, Moment};
use super::slices::Slices;
use super::steady::{STEP, Steadiness, WARM_UP_MAX};
use crate::clock::Nanos;
use crate::cpu::{Cpu, Pid, Usage};
use crate::noise::CpuTimes;

/// What was seen at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    pub(crate) at: Nanos,
    pub(crate) replies: u64,
    pub(crate) server: Option<Usage>,
}

/// What was seen of a run.
#[derive(Debug)]
pub(crate) struct Sampled {
    /// From the opening of the window to its end.
    pub(crate) samples: Vec<Sample>,
    pub(crate) warm_up: Duration,
    pub(crate) steady: bool,
    pub(crate) times: [CpuTimes; 2],
    /// What this process used in the window.
    pub(crate) load: Usage,
}

pub(crate) struct Sampler<'r, 'a> {
    pub(crate) run: &'r Run<'a>,
    pub(crate) slices: &'r mut Slices,
    pub(crate) live: &'r mut Live,
}

/// Time between two samples of a window: some twenty of them, and not so many that sampling is felt.
pub(crate) fn tick(seconds: f64) -> Duration {
    Duration::from_secs_f64((seconds / 20.0).clamp(0.1, 1.0))
}

impl Sampler<'_, '_> {
    /// Warms up, opens the window (at `opens` if that is given) and samples it.
    pub(crate) fn sample(mut self, opens: Option<Nanos>) -> Result<Sampled, String> {
        // Away from the server's CPU.
        if let Some(cpu) = self.run.plan.shape.cpus.last() {
            Cpu(*cpu).pin_this_thread().map_err(|error| error.to_string())?;
        }
        let begun = self.run.clock.now();
        let is_replay = self.run.recorded().is_some();
        let steady = if is_replay { true } else { self.warm_up(begun, opens)? };
        // A little ahead, so that every lane knows of the window before it opens.
        let from =
            opens.unwrap_or_else(|| if is_replay { Nanos(0) } else { self.run.clock.now() + Duration::from_millis(5) });
        let seconds = Duration::from_secs_f64(self.run.plan.workload.seconds);
        let until = if is_replay { begun + seconds } else { from + seconds };
        self.run.window.set(from, until);
        let (times, load) = (times()?, own_usage()?);
        let samples = self.window(from, until)?;
        let times = [times, self::times()?];
        let load = own_usage()?.since(load);
        Ok(Sampled { samples, warm_up: Duration::from_nanos(from.since(begun)), steady, times, load })
    }

    /// Waits until the cost of a reply stands still. Says whether it does.
    fn warm_up(&mut self, begun: Nanos, opens: Option<Nanos>) -> Result<bool, String> {
        self.live.stage("warming up");
        let fixed = self.run.plan.shape.warm_up.map(|seconds| begun + Duration::from_secs_f64(seconds));
        let end = opens.or(fixed).unwrap_or(begun + WARM_UP_MAX);
        let may_end_early = opens.or(fixed).is_none();
        let mut steadiness = Steadiness::default();
        let mut last = self.look()?;
        let mut is_steady = false;
        while self.run.clock.now() + STEP < end && !(is_steady && may_end_early) && !self.has_failed() {
            self.run.clock.sleep_until(last.at + STEP);
            let next = self.look()?;
            is_steady = steadiness.is_reached_with(cost(&last, &next));
            last = next;
        }
        // Who sets the time knows what for.
        Ok(is_steady || fixed.is_some())
    }

    fn window(&mut self, from: Nanos, until: Nanos) -> Result<Vec<Sample>, String> {
        let tick = tick(self.run.plan.workload.seconds);
        self.run.clock.sleep_until(from);
        let mut samples = vec![self.look()?];
        let begun = samples[0].at;
        while self.run.clock.now() < until && !self.has_failed() {
            let last = samples[samples.len() - 1];
            // The last tick takes what is left, so that none is tiny.
            let next = last.at + tick;
            self.run.clock.sleep_until(if next + tick > until + tick / 2 { until } else { next });
            let sample = self.look()?;
            samples.push(sample);
            self.slices.collect();
            self.show(begun, until, &last, &sample);
        }
        Ok(samples)
    }

    fn show(&mut self, begun: Nanos, until: Nanos, last: &Sample, now: &Sample) {
        let latest = self.slices.whole.last_key_value().map(|(_, latency)| latency);
        let seconds = now.at.since(last.at).max(1) as f64 / 1e9;
        self.live.show(&Moment {
            progress: now.at.since(begun) as f64 / until.since(begun).max(1) as f64,
            replies_per_second: (now.replies - last.replies) as f64 / seconds,
            latency: latest,
            cpu_share: now.server.zip(last.server).map(|(now, last)| now.since(last).cpu_ns as f64 / 1e9 / seconds),
            rss_bytes: now.server.map(|usage| usage.rss_bytes),
        });
    }

    fn look(&self) -> Result<Sample, String> {
        let server = self.run.plan.server.map(Usage::of).transpose();
        let server = server.map_err(|error| format!("reading the server's /proc entry: {error}"))?;
        Ok(Sample { at: self.run.clock.now(), replies: self.run.replies.load(Ordering::Relaxed), server })
    }

    fn has_failed(&self) -> bool {
        self.run.failed.load(Ordering::Relaxed)
    }
}

/// What one reply cost between two samples.
pub(crate) fn cost(earlier: &Sample, later: &Sample) -> Option<f64> {
    let replies = later.replies.saturating_sub(earlier.replies);
    let used = later.server.zip(earlier.server).map(|(later, earlier)| later.since(earlier).cpu_ns);
    let nanos = used.unwrap_or_else(|| later.at.since(earlier.at));
    (replies > 0 && nanos > 0).then(|| nanos as f64 / replies as f64)
}

fn times() -> Result<CpuTimes, String> {
    CpuTimes::now().map_err(|error| format!("/proc/stat: {error}"))
}

fn own_usage() -> Result<Usage, String> {
    Usage::of(Pid(std::process::id())).map_err(|error| format!("/proc/self: {error}"))
}
