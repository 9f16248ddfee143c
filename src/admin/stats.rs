//! What a shard counts. Plain numbers, written by one thread, read by INFO.

use hashbrown::HashMap;

use super::durations::Durations;
use super::latency::Latency;
use super::stages::Stages;

/// Counters of one command.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CommandStats {
    /// Calls that reached the handler.
    pub calls: u64,
    /// Calls among them that were timed, and their time. Constant-time commands are timed one in seventeen, and the first.
    pub timed: u64,
    pub timed_ns: u64,
    /// Calls until the next that is timed, of a command of constant time.
    pub untimed_left: u8,
    /// Refused before the handler: arity, authentication, memory.
    pub rejected: u64,
    /// The handler answered an error.
    pub failed: u64,
}

impl CommandStats {
    /// Time of all calls, extrapolated from those timed.
    pub fn total_us(&self) -> u64 {
        if self.timed == 0 {
            return 0;
        }
        let total = u128::from(self.timed_ns) * u128::from(self.calls) / u128::from(self.timed) / 1000;
        u64::try_from(total).unwrap_or(u64::MAX)
    }
}

/// Kinds of error that INFO errorstats lists at most, as in Redis: clients choose some codes through scripts.
const ERROR_CODES_MAX: usize = 128;

#[derive(Clone, Debug, Default)]
pub struct Stats {
    /// By `CommandId`.
    pub commands: Vec<CommandStats>,
    pub processed: u64,
    pub connections: u64,
    pub rejected_connections: u64,
    pub net_input_bytes: u64,
    pub net_output_bytes: u64,
    pub output_limit_closed: u64,
    pub input_limit_closed: u64,
    pub idle_closed: u64,
    pub errors: HashMap<String, u64>,
    pub error_replies: u64,
    /// By `acl::Reason`.
    pub denied: [u64; 4],
    /// What took long.
    pub latency: Latency,
    /// By `CommandId`: how long calls took that were timed. Empty until one was.
    pub durations: Vec<Option<Box<Durations>>>,
    pub stages: Box<Stages>,
}

impl Stats {
    /// With an eye on whatever takes so long; 0: on nothing.
    pub fn watching(commands: usize, latency_threshold_ms: u64) -> Self {
        let latency = Latency { threshold_ms: latency_threshold_ms, ..Latency::default() };
        Self { latency, ..Self::new(commands) }
    }

    pub fn new(commands: usize) -> Self {
        let (commands, durations) = (vec![CommandStats::default(); commands], vec![None; commands]);
        Self { commands, durations, ..Self::default() }
    }

    /// A command has run. One over several lanes is counted once; its parts were timed where they ran.
    #[inline]
    pub fn count_call(&mut self, command: u16) {
        self.commands[usize::from(command)].calls += 1;
        self.processed += 1;
    }

    /// A call took so long.
    #[inline]
    pub fn record_duration(&mut self, command: u16, ns: u64) {
        self.durations[usize::from(command)].get_or_insert_default().record(ns);
    }

    pub fn count_error(&mut self, code: String) {
        self.error_replies += 1;
        if self.errors.len() < ERROR_CODES_MAX || self.errors.contains_key(&code) {
            *self.errors.entry(code).or_default() += 1;
        }
    }

    /// CONFIG RESETSTAT, which leaves what LATENCY records of events to LATENCY RESET.
    pub fn reset(&mut self) {
        *self = Self { latency: std::mem::take(&mut self.latency), ..Self::new(self.commands.len()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sampled_time_is_extrapolated_to_all_calls() {
        let stats = CommandStats { calls: 160, timed: 10, timed_ns: 20_000, ..CommandStats::default() };
        assert_eq!(stats.total_us(), 320);
        assert_eq!(CommandStats::default().total_us(), 0);
    }

    #[test]
    fn error_codes_are_bounded() {
        let mut stats = Stats::new(1);
        (0..1000).for_each(|i| stats.count_error(format!("E{i}")));
        assert_eq!(stats.errors.len(), ERROR_CODES_MAX);
        assert_eq!(stats.error_replies, 1000);
    }
}
