//! The clock: read once per turn. Wall time is monotonic time plus an offset fixed at start, so that a backward step of the
//! system clock never revives a key; all lanes share the offset.

use std::time::{SystemTime, UNIX_EPOCH};

use super::sys::monotonic_ns;
use crate::base::time::Now;

#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    /// What to add to a monotonic reading for nanoseconds since the Unix epoch.
    offset_ns: u64,
}

impl Clock {
    pub(super) fn start() -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let unix_ns = u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX);
        Self { offset_ns: unix_ns.saturating_sub(monotonic_ns()) }
    }

    #[inline]
    pub(super) fn read(self) -> Now {
        let mono_ns = monotonic_ns();
        Now { unix_us: (mono_ns + self.offset_ns) / 1000, mono_ns }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wall_time_follows_the_monotonic_clock() {
        let clock = Clock::start();
        let (a, b) = (clock.read(), clock.read());
        assert!(b.mono_ns >= a.mono_ns && b.unix_us >= a.unix_us);
        let system = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros();
        assert!(system.abs_diff(u128::from(b.unix_us)) < 1_000_000);
    }
}
