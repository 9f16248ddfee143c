//! Open loop: when each request is meant to start, and whether the generator kept to it.
//!
//! ```text
//!   intended start ──(slip: the generator was late)── sent ────────────── reply
//!   └───────────────────────── latency counts from here ────────────────────┘
//! ```
//!
//! Latency from the intended start does not forgive a stalled server (coordinated omission), but it also blames the
//! server for a stalled generator. So the slip is measured apart: the time between the moment a request could leave
//! (it was due, and a connection had room for it) and the moment it left. A run in which the slip explains what the
//! latencies show is reported as invalid.

use std::time::Duration;

use fastrand::Rng;
use serde::{Deserialize, Serialize};

use crate::clock::{Nanos, nanos_of};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Arrivals {
    Constant,
    #[default]
    Poisson,
}

/// Requests per second that are meant to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Rate(pub(crate) f64);

/// The intended starts, one after the other. Kept in fractions of a nanosecond, so that rounding does not add up.
#[derive(Debug)]
pub(crate) struct Schedule {
    arrivals: Arrivals,
    gap_ns: f64,
    next_ns: f64,
}

impl Schedule {
    /// The first request is due one gap after `start`.
    pub(crate) fn new(arrivals: Arrivals, rate: Rate, start: Nanos, rng: &mut Rng) -> Self {
        assert!(rate.0 > 0.0);
        let mut schedule = Self { arrivals, gap_ns: 1e9 / rate.0, next_ns: float(start.0) };
        schedule.step(rng);
        schedule
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "times are positive and below 2^53")]
    pub(crate) fn next(&self) -> Nanos {
        Nanos(self.next_ns as u64)
    }

    /// The intended start of the next request if it is due, which is then taken.
    pub(crate) fn take_due(&mut self, now: Nanos, rng: &mut Rng) -> Option<Nanos> {
        let due = self.next();
        (due <= now).then(|| {
            self.step(rng);
            due
        })
    }

    fn step(&mut self, rng: &mut Rng) {
        self.next_ns += match self.arrivals {
            Arrivals::Constant => self.gap_ns,
            // The gaps of a Poisson process are exponential; 1 - f64() is never 0.
            Arrivals::Poisson => self.gap_ns * -(1.0 - rng.f64()).ln(),
        };
    }
}

/// When a request could have left: it was due, and from `room` on a connection could take it.
pub(crate) fn ready(intended: Nanos, room: Nanos) -> Nanos {
    intended.max(room)
}

/// What a generator knows about its own punctuality after a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Punctuality {
    pub(crate) slip_p99: Duration,
    pub(crate) latency_p99: Duration,
    /// Requests that had been due and not been sent at the end, though a connection had room.
    pub(crate) unsent: u64,
    pub(crate) sent: u64,
}

/// A slip below this is the grain of the generator's turns, whatever the latency.
const SLIP_FREE: Duration = Duration::from_micros(100);
/// The greatest part of the latency that the generator's own slip may be.
const SLIP_SHARE_MAX: f64 = 0.25;
/// The greatest part of the schedule that may be left over.
const UNSENT_SHARE_MAX: f64 = 0.01;

impl Punctuality {
    /// Why the run does not count, if the generator and not the server was the limit.
    pub(crate) fn fault(self) -> Option<String> {
        if float(self.unsent) > UNSENT_SHARE_MAX * float(self.sent + self.unsent) {
            return Some(format!("the generator left {} of its requests unsent: give it more threads", self.unsent));
        }
        let late = self.slip_p99 > SLIP_FREE
            && nanos_of(self.slip_p99) as f64 > SLIP_SHARE_MAX * nanos_of(self.latency_p99) as f64;
        late.then(|| {
            format!(
                "the generator's own slip (p99 {:?}) is much of the latency (p99 {:?})",
                self.slip_p99, self.latency_p99
            )
        })
    }
}

fn float(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constant_arrivals_do_not_drift() {
        let mut rng = Rng::with_seed(1);
        let mut schedule = Schedule::new(Arrivals::Constant, Rate(3.0), Nanos(1_000), &mut rng);
        let starts: Vec<u64> = (0..6).map(|_| schedule.take_due(Nanos(u64::MAX), &mut rng).unwrap().0).collect();
        assert!(starts[2].abs_diff(1_000_001_000) <= 1 && starts[5].abs_diff(2_000_001_000) <= 1, "{starts:?}");
    }

    #[test]
    fn nothing_is_due_before_its_time() {
        let mut rng = Rng::with_seed(1);
        let mut schedule = Schedule::new(Arrivals::Constant, Rate(1000.0), Nanos(0), &mut rng);
        assert_eq!(schedule.take_due(Nanos(999_999), &mut rng), None);
        assert_eq!(schedule.take_due(Nanos(1_000_000), &mut rng), Some(Nanos(1_000_000)));
        assert_eq!(schedule.take_due(Nanos(1_000_000), &mut rng), None);
        assert_eq!(schedule.next(), Nanos(2_000_000));
    }

    #[test]
    fn poisson_arrivals_have_the_mean_and_spread_of_their_rate() {
        let mut rng = Rng::with_seed(5);
        let mut schedule = Schedule::new(Arrivals::Poisson, Rate(1e6), Nanos(0), &mut rng);
        let mut last = 0;
        let gaps: Vec<f64> = (0..100_000)
            .map(|_| {
                let start = schedule.take_due(Nanos(u64::MAX), &mut rng).unwrap().0;
                let gap = start - last;
                last = start;
                gap as f64
            })
            .collect();
        let mean = gaps.iter().sum::<f64>() / 1e5;
        let deviation = (gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / 1e5).sqrt();
        assert!((mean / 1000.0 - 1.0).abs() < 0.02 && (deviation / 1000.0 - 1.0).abs() < 0.03, "{mean} {deviation}");
    }

    #[test]
    fn a_blocked_connection_is_not_the_generators_fault() {
        assert_eq!(ready(Nanos(5), Nanos(9)), Nanos(9));
        assert_eq!(ready(Nanos(9), Nanos(5)), Nanos(9));
    }

    #[test]
    fn a_run_counts_unless_the_generator_was_the_limit() {
        let micros = Duration::from_micros;
        let good = Punctuality { slip_p99: micros(90), latency_p99: micros(95), unsent: 0, sent: 1000 };
        assert_eq!(good.fault(), None);
        assert_eq!(Punctuality { slip_p99: micros(500), latency_p99: micros(5000), ..good }.fault(), None);
        assert!(Punctuality { slip_p99: micros(500), latency_p99: micros(900), ..good }.fault().is_some());
        assert!(Punctuality { unsent: 100, ..good }.fault().is_some());
    }
}
