//! What disturbed a measurement from outside: CPU time stolen by the hypervisor, and taken by other processes.
//!
//! ```text
//!   /proc/stat  cpuN  user nice system idle iowait irq softirq steal      per CPU, in ticks
//! ```
//!
//! A figure is not corrected by any of this; the report says it, so that nobody takes a noisy one for a quiet one.

use std::io;

use serde::{Deserialize, Serialize};

use crate::cpu::Usage;

/// Ticks of all CPUs together since the machine started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CpuTimes {
    pub(crate) busy: u64,
    pub(crate) idle: u64,
    pub(crate) stolen: u64,
}

impl CpuTimes {
    pub(crate) fn now() -> io::Result<Self> {
        std::fs::read_to_string("/proc/stat").map(|text| Self::of(&text))
    }

    fn of(stat: &str) -> Self {
        let Some(line) = stat.lines().find_map(|line| line.strip_prefix("cpu ")) else { return Self::default() };
        let mut numbers = line.split_whitespace().map(|word| word.parse::<u64>().unwrap_or(0));
        let mut next = || numbers.next().unwrap_or(0);
        let (user, nice, system, idle, iowait, irq, softirq, stolen) =
            (next(), next(), next(), next(), next(), next(), next(), next());
        Self { busy: user + nice + system + irq + softirq, idle: idle + iowait, stolen }
    }

    const fn since(self, earlier: Self) -> Self {
        Self {
            busy: self.busy.saturating_sub(earlier.busy),
            idle: self.idle.saturating_sub(earlier.idle),
            stolen: self.stolen.saturating_sub(earlier.stolen),
        }
    }
}

/// Shares of the window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Noise {
    /// Of the time of all CPUs, taken by the hypervisor for others.
    pub(crate) stolen: f64,
    /// The server was ready to run and something else had its CPU; above 1 if several threads waited.
    pub(crate) server_waited: f64,
    /// The same of the load.
    pub(crate) load_waited: f64,
    /// Of the time of all CPUs, used by neither server nor load.
    pub(crate) others: f64,
}

/// Ticks of /proc/stat are hundredths of a second on every Linux that this runs on.
const TICK_NS: f64 = 1e7;

impl Noise {
    pub(crate) fn of(first: CpuTimes, last: CpuTimes, seconds: f64, server: Option<Usage>, load: Usage) -> Self {
        let ticks = last.since(first);
        let all = (ticks.busy + ticks.idle + ticks.stolen).max(1) as f64;
        let ours = load.cpu_ns + server.map_or(0, |usage| usage.cpu_ns);
        // Without the server's pid, what it used cannot be told from what others did.
        let others = server.map_or(0.0, |_| (ticks.busy as f64 - ours as f64 / TICK_NS) / all);
        let waited = |usage: Usage| usage.waiting_ns as f64 / (seconds * 1e9);
        Self {
            stolen: ticks.stolen as f64 / all,
            server_waited: server.map_or(0.0, waited),
            load_waited: waited(load),
            others: others.max(0.0),
        }
    }

    /// What a reader must know, in words.
    pub(crate) fn words(self) -> Vec<String> {
        let percent = |share: f64| format!("{:.1} %", share * 100.0);
        let said = [
            (self.stolen > 0.01, format!("the hypervisor took {} of the CPUs' time for others", percent(self.stolen))),
            (
                self.server_waited > 0.03,
                format!("the server waited {} of the time for a CPU that others had", percent(self.server_waited)),
            ),
            (
                self.load_waited > 0.03,
                format!("the load waited {} of the time for a CPU that others had", percent(self.load_waited)),
            ),
            (self.others > 0.05, format!("others used {} of the CPUs' time", percent(self.others))),
        ];
        said.into_iter().filter(|(is_much, _)| *is_much).map(|(_, words)| words).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_of_all_cpus() {
        let first = CpuTimes::of("cpu  100 0 50 1000 10 1 2 5 0 0\ncpu0 1 1 1 1\n");
        assert_eq!(first, CpuTimes { busy: 153, idle: 1010, stolen: 5 });
        let last = CpuTimes { busy: 153 + 150, idle: 1010 + 40, stolen: 5 + 10 };
        let usage = Usage { cpu_ns: 600_000_000, waiting_ns: 100_000_000, ..Usage::default() };
        let noise = Noise::of(first, last, 1.0, Some(usage), usage);
        assert_eq!((noise.stolen, noise.server_waited), (0.05, 0.1));
        assert!((noise.others - 0.15).abs() < 1e-9, "{noise:?}");
        assert_eq!(noise.words().len(), 4);
        assert_eq!(Noise::default().words(), [""; 0]);
    }
}
