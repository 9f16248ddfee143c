//! How busy a lane is. A lane that polls uses its core without being busy, so the processor time of its thread says too much; what it
//! spent looking for work is taken off. Processor time has what the scheduler and the hypervisor took away left out already.

/// One reading of a lane's clocks, nanoseconds since some start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    pub at_ns: u64,
    /// Processor time of its thread.
    pub cpu_ns: u64,
    /// Of that, looking for work.
    pub polled_ns: u64,
}

/// A share is taken over at least so long.
const SPAN_NS: u64 = 1_000_000_000;

/// The latest share, and what the next is counted from.
#[derive(Clone, Copy, Debug, Default)]
pub struct Busy {
    since: Reading,
    facts: BusyFacts,
}

/// What INFO tells.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct BusyFacts {
    /// Of the last second, or of the time since the last look if that is longer.
    pub busy_percent: f64,
    pub polling_percent: f64,
    pub busy_us: u64,
    pub polled_us: u64,
}

impl Busy {
    /// Whether a reading would be of use: it costs a system call.
    #[inline]
    pub fn is_due(&self, now_ns: u64) -> bool {
        now_ns.saturating_sub(self.since.at_ns) >= SPAN_NS
    }

    /// `started_ns`: when the lane began, for the first reading.
    pub fn note(&mut self, now: Reading, started_ns: u64) -> BusyFacts {
        if self.since == Reading::default() {
            self.since.at_ns = started_ns;
        }
        let busy_ns = now.cpu_ns.saturating_sub(now.polled_ns);
        self.facts.busy_us = busy_ns / 1000;
        self.facts.polled_us = now.polled_ns / 1000;
        let span_ns = now.at_ns.saturating_sub(self.since.at_ns);
        if span_ns >= SPAN_NS {
            let percent = |ns: u64| (ns as f64 * 100.0 / span_ns as f64).min(100.0);
            let busy_before_ns = self.since.cpu_ns.saturating_sub(self.since.polled_ns);
            self.facts.busy_percent = percent(busy_ns.saturating_sub(busy_before_ns));
            self.facts.polling_percent = percent(now.polled_ns.saturating_sub(self.since.polled_ns));
            self.since = now;
        }
        self.facts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn polling_is_not_being_busy() {
        let mut busy = Busy::default();
        let at = |ms: u64, cpu_ms: u64, polled_ms: u64| Reading {
            at_ns: ms * MS,
            cpu_ns: cpu_ms * MS,
            polled_ns: polled_ms * MS,
        };
        assert!(busy.is_due(2000 * MS));
        let first = busy.note(at(2000, 1000, 900), 1000 * MS);
        assert_eq!((first.busy_percent, first.polling_percent, first.busy_us), (10.0, 90.0, 100_000));
        assert!(!busy.is_due(2500 * MS));
        let early = busy.note(at(2500, 1500, 900), 1000 * MS);
        assert_eq!((early.busy_percent, early.busy_us), (10.0, 600_000), "half a second says too little");
        let next = busy.note(at(4000, 2000, 900), 1000 * MS);
        assert_eq!((next.busy_percent, next.polling_percent), (50.0, 0.0));
    }
}
