//! The clock of a run: nanoseconds since one instant that all threads of the run share.
//!
//! Everything else in this crate takes a time as an argument, which is what makes schedules and verdicts testable.
#![expect(clippy::disallowed_methods, reason = "a measuring tool needs one file that reads clocks and waits")]

use std::thread;
use std::time::{Duration, Instant, SystemTime};

/// Nanoseconds since the start of the run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Nanos(pub(crate) u64);

impl Nanos {
    pub(crate) const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl std::ops::Add<Duration> for Nanos {
    type Output = Self;

    fn add(self, step: Duration) -> Self {
        // `u64::MAX` stands for never, and stays that.
        Self(self.0.saturating_add(nanos_of(step)))
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock(Instant);

impl Clock {
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn now(self) -> Nanos {
        Nanos(nanos_of(self.0.elapsed()))
    }

    pub(crate) fn sleep_until(self, moment: Nanos) {
        thread::sleep(Duration::from_nanos(moment.since(self.now())));
    }
}

pub(crate) fn sleep(time: Duration) {
    thread::sleep(time);
}

pub(crate) fn date() -> SystemTime {
    SystemTime::now()
}

pub(crate) fn unix_ms() -> u64 {
    let since = date().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).expect("far in the future")
}

pub(crate) fn nanos_of(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).expect("a run is shorter than 584 years")
}
