//! Time as data. Nothing below `runtime/` reads a clock: a turn's time comes in as a [`Now`].

/// A wall-clock instant in milliseconds since the Unix epoch. Redis's unit for every absolute expiry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Millis(pub u64);

impl Millis {
    pub const fn as_secs(self) -> u64 {
        self.0 / 1000
    }

    pub const fn saturating_add(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to `self`; 0 when `earlier` is later.
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// The time of one turn: a monotonic reading and the wall clock derived from it (start-up offset plus monotonic time), so
/// that a backward step of the system clock never revives a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Microseconds since the Unix epoch, never going back.
    pub unix_us: u64,
    /// Nanoseconds of the monotonic clock.
    pub mono_ns: u64,
}

impl Now {
    pub const fn millis(self) -> Millis {
        Millis(self.unix_us / 1000)
    }
}
