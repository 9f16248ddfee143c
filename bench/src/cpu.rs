//! CPUs to pin to, and a process's own account of what it used.
//!
//! ```text
//!   /proc/PID/task/*/schedstat   nanoseconds on a CPU, nanoseconds runnable but waiting for one, per thread (summed)
//!   /proc/PID/task/*/status      context switches, per thread (summed)
//!   /proc/PID/status             VmRSS
//! ```
//!
//! Threads that ended between two samples take their time with them. The servers measured here keep their threads.

use std::io;
use std::str::FromStr;

use rustix::thread::{CpuSet, sched_setaffinity};
use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cpu(pub(crate) usize);

impl Cpu {
    pub(crate) fn pin_this_thread(self) -> io::Result<()> {
        pin_this_thread_to(&[self])
    }

    /// So many CPUs from this one on.
    pub(crate) fn and_next(self, count: usize) -> Vec<Self> {
        (self.0..self.0 + count).map(Self).collect()
    }
}

/// Restricts this thread, and every process that it starts, to these CPUs.
pub(crate) fn pin_this_thread_to(cpus: &[Cpu]) -> io::Result<()> {
    let mut set = CpuSet::new();
    for Cpu(cpu) in cpus {
        if *cpu >= CpuSet::MAX_CPU {
            return Err(io::Error::other(format!("there is no CPU {cpu}")));
        }
        set.set(*cpu);
    }
    let names = || cpus.iter().map(|cpu| cpu.0.to_string()).collect::<Vec<_>>().join(", ");
    sched_setaffinity(None, &set).map_err(|error| io::Error::other(format!("cannot pin to CPU {}: {error}", names())))
}

impl FromStr for Cpu {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pid(pub(crate) u32);

impl FromStr for Pid {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

/// What a process has used since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Usage {
    pub(crate) cpu_ns: u64,
    /// Runnable, but something else had the CPU: how much others disturbed the run.
    pub(crate) waiting_ns: u64,
    pub(crate) rss_bytes: u64,
    pub(crate) voluntary_switches: u64,
    pub(crate) involuntary_switches: u64,
}

impl Usage {
    pub(crate) fn of(pid: Pid) -> io::Result<Self> {
        let mut usage = Self { rss_bytes: rss_bytes(pid)?, ..Self::default() };
        for task in std::fs::read_dir(format!("/proc/{}/task", pid.0))? {
            let path = task?.path();
            // A thread may end between the listing and the reading.
            let (Ok(schedstat), Ok(status)) =
                (std::fs::read_to_string(path.join("schedstat")), std::fs::read_to_string(path.join("status")))
            else {
                continue;
            };
            let mut times = schedstat.split_whitespace().map_while(|word| word.parse::<u64>().ok());
            usage.cpu_ns += times.next().unwrap_or(0);
            usage.waiting_ns += times.next().unwrap_or(0);
            usage.voluntary_switches += field(&status, "voluntary_ctxt_switches:").unwrap_or(0);
            usage.involuntary_switches += field(&status, "nonvoluntary_ctxt_switches:").unwrap_or(0);
        }
        Ok(usage)
    }

    /// What was used between an earlier sample and this one; the resident size is a level and stays.
    pub(crate) fn since(self, earlier: Self) -> Self {
        Self {
            cpu_ns: self.cpu_ns.saturating_sub(earlier.cpu_ns),
            waiting_ns: self.waiting_ns.saturating_sub(earlier.waiting_ns),
            rss_bytes: self.rss_bytes,
            voluntary_switches: self.voluntary_switches.saturating_sub(earlier.voluntary_switches),
            involuntary_switches: self.involuntary_switches.saturating_sub(earlier.involuntary_switches),
        }
    }
}

fn rss_bytes(pid: Pid) -> io::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", pid.0))?;
    Ok(field(&status, "VmRSS:").unwrap_or(0) * 1024)
}

/// The first number of the line that begins with `name`.
fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)).and_then(first_number)
}

fn first_number(text: &str) -> Option<u64> {
    text.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_the_beginning_of_their_line() {
        let status = "VmRSS:\t    1234 kB\nvoluntary_ctxt_switches:\t7\nnonvoluntary_ctxt_switches:\t9\n";
        assert_eq!(field(status, "VmRSS:"), Some(1234));
        assert_eq!(field(status, "voluntary_ctxt_switches:"), Some(7));
        assert_eq!(field(status, "nonvoluntary_ctxt_switches:"), Some(9));
        assert_eq!(field(status, "VmSwap:"), None);
    }

    #[test]
    fn this_process_has_used_something() {
        let usage = Usage::of(Pid(std::process::id())).unwrap();
        assert!(usage.cpu_ns > 0 && usage.rss_bytes > 0);
    }
}
