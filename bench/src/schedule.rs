//! Open loop: when each request is meant to start, and whether the generator kept to it.
//!
//! ```text
//!   intended start ──(slip: the generator was late)── sent ────────────── reply
//!   └───────────────────────── latency counts from here ────────────────────┘
//!
//!   rate   ▁▁▂▃▅▇█▁▁▁   phases: each a straight line from one multiple of the rate to another, then from the start again
//! ```
//!
//! Latency from the intended start does not forgive a stalled server (coordinated omission), but it also blames the
//! server for a stalled generator. So the slip is measured apart: the time between the moment a request could leave
//! (it was due, and a connection had room for it) and the moment it left. A run in which the slip explains what the
//! latencies show is refused; where it explains only the far tail, the report says from which percentile on.
//!
//! Arrivals are steps in expected requests (the integral of the rate), turned into time: one step each, or exponential ones
//! for Poisson, which keeps both exact while the rate changes.

use std::time::Duration;

use fastrand::Rng;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::clock::{Nanos, nanos_of};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Arrivals {
    Constant,
    #[default]
    Poisson,
    /// So many at one moment, the moments evenly apart.
    Burst,
}

/// Requests per second that are meant to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Rate(pub(crate) f64);

/// A straight piece of the rate's course, in multiples of the rate.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Phase {
    pub(crate) seconds: f64,
    pub(crate) from: f64,
    pub(crate) to: f64,
}

impl Phase {
    pub(crate) fn is_sound(self) -> bool {
        let numbers = [self.seconds, self.from, self.to];
        numbers.iter().all(|number| number.is_finite() && *number >= 0.0)
            && self.seconds > 0.0
            && self.from + self.to > 0.0
    }

    /// The integral from the beginning to `at` seconds.
    fn area(self, at: f64) -> f64 {
        self.from * at + (self.to - self.from) * at * at / (2.0 * self.seconds)
    }
}

/// What a schedule is made of.
#[derive(Clone, Debug)]
pub(crate) struct Course<'a> {
    pub(crate) arrivals: Arrivals,
    pub(crate) rate: Rate,
    pub(crate) burst: u32,
    pub(crate) phases: &'a [Phase],
}

impl Course<'_> {
    /// The part of one of `of` threads. Even arrivals of all threads together are even again.
    pub(crate) fn for_thread(&self, index: u32, of: u32, start: Nanos, rng: &mut Rng) -> Schedule {
        let rate = Rate(self.rate.0 / f64::from(of));
        let mut schedule = Schedule::new(self.arrivals, rate, self.burst.div_ceil(of), self.phases, start);
        match self.arrivals {
            Arrivals::Constant => schedule.advance(f64::from(index + 1) / f64::from(of)),
            Arrivals::Poisson | Arrivals::Burst => schedule.step(rng),
        }
        schedule
    }
}

/// The intended starts, one after the other. Kept in fractions of a nanosecond, so that rounding does not add up.
#[derive(Debug)]
pub(crate) struct Schedule {
    arrivals: Arrivals,
    rate: Rate,
    burst: u32,
    /// Requests of this moment's burst still to come.
    left: u32,
    phases: Vec<Phase>,
    phase: usize,
    /// Where the phase began, and how far in it the next request is.
    phase_ns: f64,
    seconds: f64,
}

impl Schedule {
    fn new(arrivals: Arrivals, rate: Rate, burst: u32, phases: &[Phase], start: Nanos) -> Self {
        assert!(rate.0 > 0.0 && burst > 0 && phases.iter().all(|phase| phase.is_sound()));
        let steady = [Phase { seconds: 1e9, from: 1.0, to: 1.0 }];
        let phases = if phases.is_empty() { &steady[..] } else { phases }.to_vec();
        Self { arrivals, rate, burst, left: 0, phases, phase: 0, phase_ns: float(start.0), seconds: 0.0 }
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "times are positive and below 2^53")]
    pub(crate) fn next(&self) -> Nanos {
        Nanos((self.phase_ns + self.seconds * 1e9) as u64)
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
        match self.arrivals {
            Arrivals::Constant => self.advance(1.0),
            // The gaps of a Poisson process are exponential; 1 - f64() is never 0.
            Arrivals::Poisson => self.advance(-(1.0 - rng.f64()).ln()),
            Arrivals::Burst if self.left > 0 => self.left -= 1,
            Arrivals::Burst => {
                self.left = self.burst - 1;
                self.advance(f64::from(self.burst));
            }
        }
    }

    /// Moves on by so many expected requests.
    fn advance(&mut self, mut requests: f64) {
        loop {
            let phase = self.phases[self.phase];
            let rest = (phase.area(phase.seconds) - phase.area(self.seconds)) * self.rate.0;
            if requests <= rest {
                let slope = (phase.to - phase.from) / phase.seconds * self.rate.0;
                let speed = phase.from * self.rate.0 + slope * self.seconds;
                // The solution of speed * t + slope * t^2 / 2 = requests that loses no digits when the slope is small.
                self.seconds += 2.0 * requests / (speed + (speed * speed + 2.0 * slope * requests).max(0.0).sqrt());
                return;
            }
            requests -= rest.max(0.0);
            self.phase_ns += phase.seconds * 1e9;
            self.seconds = 0.0;
            self.phase = (self.phase + 1) % self.phases.len();
        }
    }
}

/// When a request could have left: it was due, and from `room` on a connection could take it.
pub(crate) fn ready(intended: Nanos, room: Nanos) -> Nanos {
    intended.max(room)
}

/// How far the latencies are the server's and not the generator's.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Trust {
    /// Why the run does not count.
    pub(crate) fault: Option<String>,
    /// The generator's slip is much of the latency from this percentile on.
    pub(crate) slips_from: Option<f64>,
}

/// A slip below this is the grain of the generator's turns, whatever the latency.
const SLIP_FREE: Duration = Duration::from_micros(100);
/// The greatest part of the latency that the generator's own slip may be.
const SLIP_SHARE_MAX: f64 = 0.25;
/// Percentiles up to which a run must be the server's to be presented at all, and the further ones.
const MUST: [f64; 3] = [50.0, 90.0, 99.0];
const MAY: [f64; 3] = [99.9, 99.99, 100.0];

impl Trust {
    /// Judges what a generator knows about its own punctuality.
    pub(crate) fn of(latency: &Histogram<u64>, slip: &Histogram<u64>) -> Self {
        let slips = |percentile: f64| {
            let slip = slip.value_at_percentile(percentile);
            slip > nanos_of(SLIP_FREE) && float(slip) > SLIP_SHARE_MAX * float(latency.value_at_percentile(percentile))
        };
        let fault = MUST.into_iter().find(|percentile| slips(*percentile)).map(|percentile| {
            let at = |histogram: &Histogram<u64>| Duration::from_nanos(histogram.value_at_percentile(percentile));
            format!(
                "the generator and not the server was the limit: its own slip (p{percentile} {:?}) is much of the latency \
                 (p{percentile} {:?}); lower the rate, or give it more threads or a CPU of its own",
                at(slip),
                at(latency)
            )
        });
        Self { fault, slips_from: MAY.into_iter().find(|percentile| slips(*percentile)) }
    }
}

fn float(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEADY: Course<'static> = Course { arrivals: Arrivals::Constant, rate: Rate(3.0), burst: 1, phases: &[] };

    fn starts(course: &Course<'_>, count: usize) -> Vec<u64> {
        let mut rng = Rng::with_seed(1);
        let mut schedule = course.for_thread(0, 1, Nanos(1_000), &mut rng);
        (0..count).map(|_| schedule.take_due(Nanos(u64::MAX), &mut rng).unwrap().0).collect()
    }

    #[test]
    fn constant_arrivals_do_not_drift() {
        let starts = starts(&STEADY, 6);
        assert!(starts[2].abs_diff(1_000_001_000) <= 1 && starts[5].abs_diff(2_000_001_000) <= 1, "{starts:?}");
    }

    #[test]
    fn nothing_is_due_before_its_time() {
        let mut rng = Rng::with_seed(1);
        let mut schedule = Course { rate: Rate(1000.0), ..STEADY }.for_thread(0, 1, Nanos(0), &mut rng);
        assert_eq!(schedule.take_due(Nanos(999_999), &mut rng), None);
        assert_eq!(schedule.take_due(Nanos(1_000_000), &mut rng), Some(Nanos(1_000_000)));
        assert_eq!(schedule.take_due(Nanos(1_000_000), &mut rng), None);
        assert_eq!(schedule.next(), Nanos(2_000_000));
    }

    #[test]
    fn the_even_arrivals_of_all_threads_are_even() {
        let mut rng = Rng::with_seed(1);
        let course = Course { rate: Rate(1e3), ..STEADY };
        let mut all: Vec<u64> = (0..4)
            .flat_map(|index| {
                let mut schedule = course.for_thread(index, 4, Nanos(0), &mut rng);
                (0..50).map(|_| schedule.take_due(Nanos(u64::MAX), &mut rng).unwrap().0).collect::<Vec<_>>()
            })
            .collect();
        all.sort_unstable();
        assert!(all.windows(2).all(|pair| (pair[1] - pair[0]).abs_diff(1_000_000) <= 1), "{all:?}");
    }

    #[test]
    fn poisson_arrivals_have_the_mean_and_spread_of_their_rate() {
        let starts = starts(&Course { arrivals: Arrivals::Poisson, rate: Rate(1e6), ..STEADY }, 100_000);
        let gaps: Vec<f64> = starts.windows(2).map(|pair| (pair[1] - pair[0]) as f64).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let deviation = (gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64).sqrt();
        assert!((mean / 1000.0 - 1.0).abs() < 0.02 && (deviation / 1000.0 - 1.0).abs() < 0.03, "{mean} {deviation}");
    }

    #[test]
    fn bursts_come_together() {
        let starts = starts(&Course { arrivals: Arrivals::Burst, rate: Rate(100.0), burst: 5, ..STEADY }, 10);
        assert_eq!(starts[..5], [50_001_000; 5]);
        assert_eq!(starts[5..], [100_001_000; 5]);
    }

    /// A ramp from 0 to twice the rate: as many requests as without it, and the n-th at the root of its number.
    #[test]
    fn a_ramp_is_followed_exactly() {
        let phases = [Phase { seconds: 10.0, from: 0.0, to: 2.0 }, Phase { seconds: 10.0, from: 1.0, to: 1.0 }];
        let starts = starts(&Course { rate: Rate(100.0), phases: &phases, ..STEADY }, 2000);
        for number in [1_usize, 10, 500, 1000] {
            let expected = (number as f64 / 10.0).sqrt() * 1e9 + 1000.0;
            assert!(
                (starts[number - 1] as f64 - expected).abs() < 1000.0,
                "{number}: {} {expected}",
                starts[number - 1]
            );
        }
        assert!(starts[1999].abs_diff(20_000_001_000) < 1000, "{}", starts[1999]);
    }

    #[test]
    fn a_blocked_connection_is_not_the_generators_fault() {
        assert_eq!(ready(Nanos(5), Nanos(9)), Nanos(9));
        assert_eq!(ready(Nanos(9), Nanos(5)), Nanos(9));
    }

    #[test]
    fn a_run_counts_unless_the_generator_was_the_limit() {
        let histogram = |median: u64, tail: u64| {
            let mut histogram = Histogram::<u64>::new_with_bounds(1, 100_000_000_000, 3).unwrap();
            histogram.record_n(median, 9_950).unwrap();
            histogram.record_n(tail, 50).unwrap();
            histogram
        };
        let of = |latency, slip| Trust::of(&latency, &slip);
        assert_eq!(of(histogram(95_000, 95_000), histogram(90_000, 90_000)), Trust { fault: None, slips_from: None });
        assert_eq!(of(histogram(5_000_000, 9_000_000), histogram(500_000, 900_000)).fault, None);
        assert!(of(histogram(900_000, 900_000), histogram(500_000, 500_000)).fault.unwrap().contains("not the server"));
        let tail = of(histogram(95_000, 4_000_000), histogram(9_000, 3_000_000));
        assert_eq!(tail, Trust { fault: None, slips_from: Some(99.9) });
    }
}
