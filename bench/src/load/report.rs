//! What a run says: figures, the whole distribution, the course, and how far to believe them.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::Plan;
use super::disturbance::Happened;
use super::lane::{Record, histogram};
use super::sampler::{Sampled, cost};
use super::slices::Slices;
use super::steady::drift;
use crate::cpu::Usage;
use crate::noise::Noise;
use crate::output::hlog;
use crate::schedule::Trust;

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
    /// The generator's slip is much of the latency from this percentile on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) slips_from: Option<f64>,
    /// What a reader must know before believing the figures.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) notes: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) noise: Option<Noise>,
    #[serde(default)]
    pub(crate) warm_up_seconds: f64,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) errors: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) reconnects: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) disturbed: Vec<Disturbed>,
    /// All latencies: an HdrHistogram in its compressed form, base64.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) histogram: String,
    #[serde(default, skip_serializing_if = "Course::is_empty")]
    pub(crate) course: Course,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
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
    pub(crate) fn of(histogram: &Histogram<u64>) -> Self {
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

pub(crate) fn micros(nanos: u64) -> f64 {
    nanos as f64 / 1000.0
}

/// What a disturbance did to the load that went on beside it.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub(crate) struct Disturbed {
    pub(crate) name: String,
    pub(crate) at_seconds: f64,
    pub(crate) lasted_seconds: f64,
    pub(crate) p99_us: f64,
    pub(crate) max_us: f64,
}

/// The window in slices of time, one number of each list a slice.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
pub(crate) struct Course {
    /// The end of each slice.
    pub(crate) seconds: Vec<f64>,
    pub(crate) replies_per_second: Vec<f64>,
    pub(crate) p50_us: Vec<f64>,
    pub(crate) p99_us: Vec<f64>,
    pub(crate) max_us: Vec<f64>,
    /// Server CPU microseconds a request; empty without the server's pid.
    pub(crate) cpu_us: Vec<f64>,
    pub(crate) rss_mib: Vec<f64>,
}

impl Course {
    fn is_empty(&self) -> bool {
        self.seconds.is_empty()
    }

    fn of(sampled: &Sampled, slices: &Slices) -> Self {
        let mut course = Self::default();
        let Some(first) = sampled.samples.first() else { return course };
        let round = |number: f64| (number * 1000.0).round() / 1000.0;
        for pair in sampled.samples.windows(2) {
            let (earlier, later) = (&pair[0], &pair[1]);
            let range = slices.index(earlier.at)..slices.index(later.at).max(slices.index(earlier.at));
            let mut latency = histogram();
            slices.whole.range(range).for_each(|(_, slice)| latency.add(slice).expect("same bounds"));
            let seconds = later.at.since(earlier.at).max(1) as f64 / 1e9;
            course.seconds.push(round(later.at.since(first.at) as f64 / 1e9));
            course.replies_per_second.push(((later.replies - earlier.replies) as f64 / seconds).round());
            course.p50_us.push(round(micros(latency.value_at_percentile(50.0))));
            course.p99_us.push(round(micros(latency.value_at_percentile(99.0))));
            course.max_us.push(round(micros(latency.max())));
            if let Some((server, before)) = later.server.zip(earlier.server) {
                let replies = (later.replies - earlier.replies).max(1) as f64;
                course.cpu_us.push(round(server.since(before).cpu_ns as f64 / 1000.0 / replies));
                course.rss_mib.push(round(server.rss_bytes as f64 / f64::from(1 << 20)));
            }
        }
        course
    }
}

/// A cost that moves by more than this through the window is no steady one.
const DRIFT_MAX: f64 = 0.1;
/// A server less busy than this, while the load's threads are all but fully so, was not at its limit.
const BUSY: f64 = 0.9;
/// Shares of the window beyond which a crowd is the generator's doing: catching up after a stall of the server is not.
const CROWD_MAX: f64 = 0.25;

/// Shares of the window in which requests waited for room: in all, while replies lay there unread, and (of the whole window) in which the
/// generator was runnable and something else had its CPU.
#[derive(Clone, Copy, Debug)]
struct Crowd {
    crowded: f64,
    behind: f64,
    waited: f64,
}

impl Report {
    pub(super) fn of(
        plan: &Plan,
        sampled: &Sampled,
        slices: &Slices,
        happened: &[Happened],
        records: &[Record],
    ) -> Self {
        let (mut latency, mut slip) = (histogram(), histogram());
        for record in records {
            latency.add(&record.latency).expect("same bounds");
            slip.add(&record.slip).expect("same bounds");
        }
        let (first, last) = (sampled.samples[0], sampled.samples[sampled.samples.len() - 1]);
        let requests = last.replies - first.replies;
        let seconds = last.at.since(first.at).max(1) as f64 / 1e9;
        let server = last.server.zip(first.server).map(|(last, first)| last.since(first));
        let is_open = plan.shape.rate.is_some() || !slip.is_empty();
        let trust = Trust::of(&latency, &slip);
        let silent = (requests == 0).then(|| "not one request was answered".to_owned());
        let noise = Noise::of(sampled.times[0], sampled.times[1], seconds, server, sampled.load);
        let sum = |count: fn(&Record) -> u64| records.iter().map(count).sum::<u64>();
        let mut report = Self {
            depth: plan.depth,
            connections: plan.workload.connections,
            requests,
            seconds,
            requests_per_second: requests as f64 / seconds,
            requests_per_server_cpu_second: server.map(|usage| requests as f64 * 1e9 / usage.cpu_ns.max(1) as f64),
            server,
            latency: Percentiles::of(&latency),
            slip: is_open.then(|| Percentiles::of(&slip)),
            rate: plan.shape.rate,
            invalid: silent.or(if is_open { trust.fault } else { None }),
            slips_from: if is_open { trust.slips_from } else { None },
            notes: noise.words(),
            noise: Some(noise),
            warm_up_seconds: sampled.warm_up.as_secs_f64(),
            errors: sum(|record| record.errors),
            reconnects: sum(|record| record.reconnects),
            disturbed: happened.iter().map(|what| Disturbed::of(what, sampled, slices)).collect(),
            histogram: hlog::encode(&latency),
            course: Course::of(sampled, slices),
        };
        let share = |ns: u64| ns as f64 / 1e9 / seconds / f64::from(plan.shape.threads);
        let crowd = Crowd {
            crowded: share(sum(|record| record.crowded_ns)),
            behind: share(sum(|record| record.behind_ns)),
            waited: share(sampled.load.waiting_ns),
        };
        report.invalid = report.invalid.take().or_else(|| report.outrun(crowd));
        report.notes.extend(report.doubts(plan, sampled, sum(|record| record.unanswered)));
        report
    }

    /// Why the generator or the machine under it was the limit, if it was; not if the server is known to have been as busy as it can be.
    fn outrun(&self, Crowd { crowded, behind, waited }: Crowd) -> Option<String> {
        let percent = |share: f64| format!("{:.0} %", share * 100.0);
        let server = self.server.map(|usage| (usage.cpu_ns + usage.waiting_ns) as f64 / 1e9 / self.seconds);
        let is_ours = crowded > CROWD_MAX && behind + waited > CROWD_MAX && server.is_none_or(|server| server < BUSY);
        is_ours.then(|| {
            let server = server.map_or_else(
                || "whether the server was at its limit too is not known without --server-pid".to_owned(),
                |server| format!("the server wanted its CPU only {} of the time", percent(server)),
            );
            format!(
                "the generator and not the server was the limit: requests waited for room {} of the time, in {} replies lay there unread, \
                 in {} the generator waited for its CPU, and {server}; lower the rate, or give it more threads or a CPU of its own",
                percent(crowded),
                percent(behind),
                percent(waited)
            )
        })
    }

    fn doubts(&self, plan: &Plan, sampled: &Sampled, unanswered: u64) -> Vec<String> {
        let costs: Vec<f64> = sampled.samples.windows(2).filter_map(|pair| cost(&pair[0], &pair[1])).collect();
        let drift = drift(&costs).filter(|drift| drift.abs() > DRIFT_MAX && plan.workload.disturbance.is_empty());
        let load_busy = sampled.load.cpu_ns as f64 / 1e9 / self.seconds / f64::from(plan.shape.threads);
        let server_busy = self.server.map(|usage| usage.cpu_ns as f64 / 1e9 / self.seconds);
        let said = [
            (!sampled.steady).then(|| "the cost of a request had not come to rest when the window opened".to_owned()),
            drift.map(|drift| format!("the cost of a request moved by {:+.0} % through the window", drift * 100.0)),
            (unanswered > 0).then(|| {
                format!("the rate was not kept: {unanswered} requests were unanswered 5 s after the window, and count with the time they had waited")
            }),
            server_busy.filter(|server| self.rate.is_none() && load_busy > BUSY && *server < BUSY).map(|server| {
                format!("the load was the limit of wall figures (load {:.0} % busy, server {:.0} %); those per server CPU second stand", load_busy * 100.0, server * 100.0)
            }),
            self.slips_from.map(|percentile| format!("from p{percentile} on the latency is the generator's own slip to a good part")),
            (self.errors > 0).then(|| format!("{} replies were errors", self.errors)),
        ];
        said.into_iter().flatten().collect()
    }
}

/// A stall is seen in the replies that come when it ends: look this much further.
const AFTERMATH: Duration = Duration::from_millis(300);

impl Disturbed {
    fn of(what: &Happened, sampled: &Sampled, slices: &Slices) -> Self {
        let window = sampled.samples[0].at;
        let mut latency = histogram();
        let range = slices.index(what.from)..=slices.index(what.until + AFTERMATH);
        slices.whole.range(range).for_each(|(_, slice)| latency.add(slice).expect("same bounds"));
        Self {
            name: what.name.clone(),
            at_seconds: what.from.since(window) as f64 / 1e9,
            lasted_seconds: what.until.since(what.from) as f64 / 1e9,
            p99_us: micros(latency.value_at_percentile(99.0)),
            max_us: micros(latency.max()),
        }
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(
            to,
            "requests            {} in {:.3} s, after {:.2} s of warming up",
            self.requests, self.seconds, self.warm_up_seconds
        )?;
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
        if let Some(slip) = self.slip {
            let rate = self.rate.map_or_else(|| "as recorded".to_owned(), |rate| format!("{rate:.0}/s"));
            writeln!(to, "intended rate       {rate}, latency from the intended start")?;
            writeln!(to, "generator slip      {slip}")?;
        }
        for Disturbed { name, at_seconds, lasted_seconds, p99_us, max_us } in &self.disturbed {
            writeln!(
                to,
                "disturbed           {name} (at {at_seconds:.1} s, {lasted_seconds:.3} s): p99 {p99_us:.0} max {max_us:.0} us"
            )?;
        }
        self.notes.iter().try_for_each(|note| writeln!(to, "note                {note}"))
    }
}

impl std::fmt::Display for Percentiles {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { p50_us, p90_us, p99_us, p99_9_us, p99_99_us, max_us } = self;
        write!(to, "p50 {p50_us:.1} p90 {p90_us:.1} p99 {p99_us:.1} ")?;
        write!(to, "p99.9 {p99_9_us:.1} p99.99 {p99_99_us:.1} max {max_us:.1} us")
    }
}
