//! The table of checks, and their verdicts.
//!
//! A row names the files it wants and a function from their texts to a finding. The functions are pure: same texts, same
//! verdict; `run` does the reading. A file that is not there gives an empty list, about which the function says what that means.
//!
//! Bad: the server will not start, or the limit will stop it in ordinary use. Warn: it works and the tail suffers, or the
//! figure cannot be had. Absent: checks that need a privilege or a tool, such as IRQ affinity.

use crate::host::{Host, Text};
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Ok,
    Warn,
    Bad,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) name: &'static str,
    pub(crate) verdict: Verdict,
    pub(crate) seen: String,
    /// What to do; empty when there is nothing to do.
    pub(crate) remedy: String,
}

/// What a judge says; `run` adds the name.
type Judgement = (Verdict, String, String);

struct Check {
    name: &'static str,
    reads: &'static [&'static str],
    judge: fn(&Facts) -> Judgement,
}

/// The texts of one check: of each pattern those found, and again after a short while for what only a difference shows.
struct Facts {
    first: Vec<Vec<Text>>,
    later: Vec<Vec<Text>>,
}

const CHECKS: &[Check] = &[
    Check { name: "kernel", reads: &["proc/sys/kernel/osrelease"], judge: kernel },
    Check { name: "io_uring", reads: &["proc/sys/kernel/io_uring_disabled"], judge: io_uring },
    Check { name: "seccomp", reads: &["proc/self/status"], judge: seccomp },
    Check { name: "memlock", reads: &["proc/self/limits"], judge: memlock },
    Check { name: "nofile", reads: &["proc/self/limits"], judge: nofile },
    Check { name: "somaxconn", reads: &["proc/sys/net/core/somaxconn"], judge: somaxconn },
    Check { name: "tcp_max_syn_backlog", reads: &["proc/sys/net/ipv4/tcp_max_syn_backlog"], judge: syn_backlog },
    Check { name: "transparent_hugepage", reads: &["sys/kernel/mm/transparent_hugepage/enabled"], judge: huge_pages },
    Check { name: "overcommit", reads: &["proc/sys/vm/overcommit_memory"], judge: overcommit },
    Check { name: "swap", reads: &["proc/meminfo", "proc/sys/vm/swappiness"], judge: swap },
    Check { name: "cpus", reads: &["proc/self/status", "sys/devices/system/cpu/online"], judge: cpus },
    Check { name: "cpu.max", reads: &["sys/fs/cgroup{cgroup}/cpu.max"], judge: cpu_max },
    Check { name: "isolated", reads: &["sys/devices/system/cpu/isolated"], judge: isolated },
    Check { name: "governor", reads: &["sys/devices/system/cpu/cpu*/cpufreq/scaling_governor"], judge: governor },
    Check { name: "steal", reads: &["proc/stat"], judge: steal },
    Check { name: "numa", reads: &["sys/devices/system/node/node*/cpulist"], judge: numa },
    Check {
        name: "clocksource",
        reads: &["sys/devices/system/clocksource/clocksource0/current_clocksource"],
        judge: clocksource,
    },
];

/// Long enough for a hundred ticks of a CPU's accounting, short enough to wait for.
const LATER: Duration = Duration::from_secs(1);

pub(crate) fn run(host: &Host) -> Vec<Finding> {
    let read = || -> Vec<Vec<Vec<Text>>> {
        CHECKS.iter().map(|check| check.reads.iter().map(|pattern| host.read(pattern)).collect()).collect()
    };
    let first = read();
    host.wait(LATER);
    let facts = first.into_iter().zip(read()).map(|(first, later)| Facts { first, later });
    CHECKS.iter().zip(facts).map(|(check, facts)| check.find(&facts)).collect()
}

impl Check {
    fn find(&self, facts: &Facts) -> Finding {
        let (verdict, seen, remedy) = (self.judge)(facts);
        assert_eq!(
            verdict == Verdict::Ok,
            remedy.is_empty(),
            "{}: a remedy when and only when there is something to mend",
            self.name
        );
        Finding { name: self.name, verdict, seen, remedy }
    }
}

impl Facts {
    /// The one text of a pattern without a star.
    fn text(&self, at: usize) -> Option<&str> {
        Some(self.all(at).first()?.body.trim())
    }

    fn all(&self, at: usize) -> &[Text] {
        self.first.get(at).map_or(&[], Vec::as_slice)
    }

    fn number(&self, at: usize) -> Option<u64> {
        self.text(at)?.parse().ok()
    }
}

fn ok(seen: impl Into<String>) -> Judgement {
    (Verdict::Ok, seen.into(), String::new())
}

fn warn(seen: impl Into<String>, remedy: impl Into<String>) -> Judgement {
    (Verdict::Warn, seen.into(), remedy.into())
}

fn bad(seen: impl Into<String>, remedy: impl Into<String>) -> Judgement {
    (Verdict::Bad, seen.into(), remedy.into())
}

/// What a missing file means where the kernel always has it.
fn unreadable(what: &str) -> Judgement {
    warn(format!("{what} cannot be read"), "run where /proc and /sys are mounted")
}

/// DEFER_TASKRUN, on which each lane's ring is built, came with Linux 6.1.
const KERNEL_NEEDED: (u32, u32) = (6, 1);

fn kernel(facts: &Facts) -> Judgement {
    let Some(release) = facts.text(0) else { return unreadable("the kernel's version") };
    let mut numbers = release.split(['.', '-']).map(|part| part.parse::<u32>());
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) if (major, minor) >= KERNEL_NEEDED => ok(release),
        (Some(Ok(_)), Some(Ok(_))) => bad(release, "use Linux 6.1 or newer: the lanes' rings need DEFER_TASKRUN"),
        _ => warn(release, "this version cannot be read; Corelane needs Linux 6.1 or newer"),
    }
}

fn io_uring(facts: &Facts) -> Judgement {
    match facts.text(0) {
        // The switch itself came with Linux 6.6: before that there was none to turn.
        None | Some("0") => ok("allowed"),
        Some("1") => warn(
            "for members of kernel.io_uring_group only",
            "sysctl kernel.io_uring_disabled=0, or put the user into that group",
        ),
        Some(other) => bad(format!("kernel.io_uring_disabled={other}"), "sysctl kernel.io_uring_disabled=0"),
    }
}

fn seccomp(facts: &Facts) -> Judgement {
    match field(facts.text(0).unwrap_or_default(), "Seccomp:") {
        Some("0") => ok("no filter"),
        Some("2") => warn(
            "a system call filter is active",
            "container defaults forbid io_uring: allow io_uring_setup, io_uring_enter and io_uring_register in the profile",
        ),
        Some(other) => bad(format!("mode {other}"), "run without strict seccomp"),
        None => unreadable("the seccomp mode"),
    }
}

/// glommio asks for this much locked memory before it starts an executor.
const MEMLOCK_NEEDED_BYTES: u64 = 512 << 10;

fn memlock(facts: &Facts) -> Judgement {
    match limit(facts.text(0).unwrap_or_default(), "Max locked memory") {
        Some(Limit::Unlimited) => ok("unlimited"),
        Some(Limit::At(bytes)) if bytes >= MEMLOCK_NEEDED_BYTES => ok(format!("{} KiB", bytes >> 10)),
        Some(Limit::At(bytes)) => {
            bad(format!("{} KiB", bytes >> 10), "ulimit -l 512, or LimitMEMLOCK=512K in the unit: more per lane")
        }
        None => unreadable("the limit of locked memory"),
    }
}

/// maxclients of the default configuration and what the server itself holds open.
const NOFILE_NEEDED: u64 = 10_032;

fn nofile(facts: &Facts) -> Judgement {
    match limit(facts.text(0).unwrap_or_default(), "Max open files") {
        Some(Limit::Unlimited) => ok("unlimited"),
        Some(Limit::At(files)) if files >= NOFILE_NEEDED => ok(files.to_string()),
        Some(Limit::At(files)) => warn(
            files.to_string(),
            format!("ulimit -n {NOFILE_NEEDED}, or LimitNOFILE={NOFILE_NEEDED} in the unit: else maxclients shrinks"),
        ),
        None => unreadable("the limit of open files"),
    }
}

/// tcp-backlog of the default configuration.
const BACKLOG_NEEDED: u64 = 511;

fn somaxconn(facts: &Facts) -> Judgement {
    at_least(
        facts.number(0),
        BACKLOG_NEEDED,
        "net.core.somaxconn",
        "the kernel shortens tcp-backlog to this, and bursts of connections are dropped",
    )
}

fn syn_backlog(facts: &Facts) -> Judgement {
    at_least(
        facts.number(0),
        BACKLOG_NEEDED,
        "net.ipv4.tcp_max_syn_backlog",
        "bursts of new connections wait for a retry",
    )
}

fn at_least(number: Option<u64>, needed: u64, name: &str, else_what: &str) -> Judgement {
    match number {
        Some(number) if number >= needed => ok(number.to_string()),
        Some(number) => warn(number.to_string(), format!("sysctl {name}={needed}: {else_what}")),
        None => unreadable(name),
    }
}

fn huge_pages(facts: &Facts) -> Judgement {
    let Some(modes) = facts.text(0) else { return ok("not built into this kernel") };
    match modes.split_whitespace().find_map(|mode| mode.strip_prefix('[')?.strip_suffix(']')) {
        Some("always") => warn(
            "always",
            "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled: the kernel's own collapsing and splitting of pages shows in the tail",
        ),
        Some(mode) => ok(mode),
        None => warn(modes, "this cannot be read; madvise or never is wanted"),
    }
}

fn overcommit(facts: &Facts) -> Judgement {
    match facts.text(0) {
        // Nothing here forks, so that the usual heuristic does no harm.
        Some("0") => ok("heuristic"),
        Some("1") => ok("always"),
        Some(mode) => {
            warn(format!("mode {mode}"), "sysctl vm.overcommit_memory=1: strict accounting refuses large reservations")
        }
        None => unreadable("vm.overcommit_memory"),
    }
}

fn swap(facts: &Facts) -> Judgement {
    let kib = |name| -> Option<u64> { field(facts.text(0)?, name)?.trim_end_matches(" kB").parse().ok() };
    match (kib("SwapTotal:"), kib("SwapFree:"), facts.number(1)) {
        (Some(0), ..) => ok("none"),
        (Some(total), Some(free), _) if free < total => warn(
            format!("{} MiB in use", (total - free) >> 10),
            "swapoff -a, or give the server MemorySwapMax=0: a swapped page costs milliseconds",
        ),
        (Some(_), Some(_), Some(swappiness)) if swappiness <= 1 => ok("unused, and swappiness is at most 1"),
        (Some(total), Some(_), _) => {
            warn(format!("{} MiB, unused", total >> 10), "sysctl vm.swappiness=1, or swapoff -a")
        }
        _ => unreadable("the swap"),
    }
}

fn cpus(facts: &Facts) -> Judgement {
    let allowed = field(facts.text(0).unwrap_or_default(), "Cpus_allowed_list:");
    match (allowed.and_then(count_list), facts.text(1).and_then(count_list)) {
        (Some(1), Some(all)) => warn(
            format!("1 of {all} allowed"),
            "allow two CPUs at least: one for a lane and one for the kernel and the keeper",
        ),
        (Some(allowed), Some(all)) => ok(format!("{allowed} of {all} allowed")),
        _ => unreadable("the allowed CPUs"),
    }
}

fn cpu_max(facts: &Facts) -> Judgement {
    let limited = facts.all(0).iter().find_map(|text| {
        let (quota, period) = text.body.trim().split_once(' ')?;
        let (quota, period): (u64, u64) = (quota.parse().ok()?, period.parse().ok()?);
        (period > 0)
            .then(|| (format!("{}.{:02} CPUs ({})", quota / period, quota % period * 100 / period, text.path), period))
    });
    match limited {
        None => ok("no limit"),
        Some((seen, period)) => warn(
            seen,
            format!(
                "give whole CPUs by cpuset in place of cpu.max: a lane that has used up its share stands still for up to {} ms",
                period / 1_000
            ),
        ),
    }
}

fn isolated(facts: &Facts) -> Judgement {
    match facts.text(0) {
        None | Some("") => ok("none (isolcpus= or a cpuset partition would keep other work off the lanes)"),
        Some(list) => ok(format!("{list}: give them to the lanes with --cpus")),
    }
}

fn governor(facts: &Facts) -> Judgement {
    let slow = facts.all(0).iter().find(|text| text.body.trim() != "performance");
    match slow {
        None if facts.all(0).is_empty() => ok("the host decides (no cpufreq here)"),
        None => ok("performance"),
        Some(text) => {
            warn(text.body.trim(), "cpupower frequency-set -g performance: a clock that rises late shows in the tail")
        }
    }
}

/// Above this part of its time taken away, in percent, a machine cannot show a tail.
const STEAL_PERCENT_MAX: u64 = 1;

fn steal(facts: &Facts) -> Judgement {
    let total = |texts: &[Vec<Text>]| cpu_times(&texts.first()?.first()?.body);
    let (Some(before), Some(after)) = (total(&facts.first), total(&facts.later)) else {
        return unreadable("/proc/stat");
    };
    let all = after.all.saturating_sub(before.all);
    let stolen = after.steal.saturating_sub(before.steal);
    // In a copy of another host nothing has passed: then what it counted since its start is the best there is.
    let (all, stolen, since) =
        if all == 0 { (after.all, after.steal, "since boot") } else { (all, stolen, "just now") };
    let percent = stolen * 100 / all.max(1);
    let seen = format!("{percent} % {since}");
    if percent > STEAL_PERCENT_MAX {
        warn(seen, "other guests take this time: use dedicated CPUs, or read no tail from this machine")
    } else {
        ok(seen)
    }
}

struct CpuTimes {
    all: u64,
    steal: u64,
}

/// The first line of /proc/stat: user nice system idle iowait irq softirq steal, in ticks. What follows is counted in these.
fn cpu_times(stat: &str) -> Option<CpuTimes> {
    const FIELDS: usize = 8;
    let line = stat.lines().next()?.strip_prefix("cpu ")?;
    let ticks: Vec<u64> = line.split_whitespace().take(FIELDS).map_while(|tick| tick.parse().ok()).collect();
    (ticks.len() == FIELDS).then(|| CpuTimes { all: ticks.iter().sum(), steal: ticks[FIELDS - 1] })
}

fn numa(facts: &Facts) -> Judgement {
    match facts.all(0).len() {
        0 | 1 => ok("one node"),
        nodes => warn(
            format!("{nodes} nodes"),
            "run one server a node, each with --cpus of its node and numactl --membind: memory of another node is slower",
        ),
    }
}

fn clocksource(facts: &Facts) -> Judgement {
    match facts.text(0) {
        Some(source @ ("tsc" | "kvm-clock" | "arch_sys_counter")) => ok(source),
        Some(source) => warn(
            source,
            "reading this clock may be a system call; boot with clocksource=tsc if the machine's is stable",
        ),
        None => unreadable("the clock source"),
    }
}

enum Limit {
    Unlimited,
    At(u64),
}

/// The soft limit in a line of /proc/self/limits.
fn limit(limits: &str, name: &str) -> Option<Limit> {
    match field(limits, name)?.split_whitespace().next()? {
        "unlimited" => Some(Limit::Unlimited),
        number => number.parse().ok().map(Limit::At),
    }
}

fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim)
}

/// How many CPUs a list such as `0-3,8` names.
fn count_list(list: &str) -> Option<u64> {
    list.split(',').try_fold(0, |count, part| {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        let (from, to): (u64, u64) = (from.parse().ok()?, to.parse().ok()?);
        Some(count + to.checked_sub(from)? + 1)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn judged(name: &str, bodies: &[&str]) -> Verdict {
        let check = CHECKS.iter().find(|check| check.name == name).expect("a check of that name");
        let texts: Vec<Vec<Text>> =
            bodies.iter().map(|body| vec![Text { path: "x".into(), body: (*body).into() }]).collect();
        check.find(&Facts { first: texts.clone(), later: texts }).verdict
    }

    /// What each check makes of a text: at least one of each verdict it can give.
    #[test]
    fn verdicts() {
        use Verdict::{Bad, Ok, Warn};
        let limits = |memlock: &str, nofile: &str| {
            format!(
                "Limit  Soft Limit\nMax open files            {nofile}  524288  files\nMax locked memory         {memlock}  {memlock}  bytes\n"
            )
        };
        let stat = |steal: u64| format!("cpu  100 0 100 800 0 0 0 {steal} 0 0\ncpu0 1\n");
        let rows: &[(&str, &[&str], Verdict)] = &[
            ("kernel", &["6.18.3-generic\n"], Ok),
            ("kernel", &["6.1.0\n"], Ok),
            ("kernel", &["5.15.0-91\n"], Bad),
            ("kernel", &["strange"], Warn),
            ("io_uring", &["0\n"], Ok),
            ("io_uring", &["1\n"], Warn),
            ("io_uring", &["2\n"], Bad),
            ("seccomp", &["Name:\tx\nSeccomp:\t0\n"], Ok),
            ("seccomp", &["Name:\tx\nSeccomp:\t2\n"], Warn),
            ("seccomp", &["Seccomp:\t1\n"], Bad),
            ("memlock", &[&limits("unlimited", "1")], Ok),
            ("memlock", &[&limits("65536", "1")], Bad),
            ("nofile", &[&limits("1", "20000")], Ok),
            ("nofile", &[&limits("1", "1024")], Warn),
            ("somaxconn", &["4096\n"], Ok),
            ("somaxconn", &["128\n"], Warn),
            ("tcp_max_syn_backlog", &["256\n"], Warn),
            ("transparent_hugepage", &["always [madvise] never\n"], Ok),
            ("transparent_hugepage", &["[always] madvise never\n"], Warn),
            ("overcommit", &["1\n"], Ok),
            ("overcommit", &["2\n"], Warn),
            ("swap", &["SwapTotal:  0 kB\nSwapFree:  0 kB\n", "60\n"], Ok),
            ("swap", &["SwapTotal:  9000 kB\nSwapFree:  9000 kB\n", "1\n"], Ok),
            ("swap", &["SwapTotal:  9000 kB\nSwapFree:  9000 kB\n", "60\n"], Warn),
            ("swap", &["SwapTotal:  9000 kB\nSwapFree:  10 kB\n", "1\n"], Warn),
            ("cpus", &["Cpus_allowed_list:\t0-3,8\n", "0-15\n"], Ok),
            ("cpus", &["Cpus_allowed_list:\t2\n", "0-15\n"], Warn),
            ("cpu.max", &["max 100000\n"], Ok),
            ("cpu.max", &["150000 100000\n"], Warn),
            ("isolated", &["2-3\n"], Ok),
            ("governor", &["performance\n"], Ok),
            ("governor", &["powersave\n"], Warn),
            ("steal", &[&stat(1)], Ok),
            ("steal", &[&stat(200)], Warn),
            ("numa", &["0-3\n"], Ok),
            ("clocksource", &["tsc\n"], Ok),
            ("clocksource", &["hpet\n"], Warn),
        ];
        for (name, bodies, verdict) in rows {
            assert_eq!(judged(name, bodies), *verdict, "{name} of {bodies:?}");
        }
        let untested: Vec<_> =
            CHECKS.iter().filter(|check| !rows.iter().any(|row| row.0 == check.name)).map(|check| check.name).collect();
        assert!(untested.is_empty(), "{untested:?}");
    }

    #[test]
    fn a_difference_tells_what_is_stolen_now() {
        let stat = |steal| {
            vec![vec![Text {
                path: "proc/stat".into(),
                body: format!("cpu  0 0 0 {} 0 0 0 {steal} 0 0\n", 1_000 - steal),
            }]]
        };
        let facts = Facts {
            first: stat(0),
            later: vec![vec![Text { path: "proc/stat".into(), body: "cpu  0 0 0 1050 0 0 0 50 0 0\n".into() }]],
        };
        let (verdict, seen, _) = steal(&facts);
        assert_eq!((verdict, seen.as_str()), (Verdict::Warn, "50 % just now"));
    }

    /// A host in a folder of its own, removed when the test ends.
    struct Fixture(PathBuf);

    impl Fixture {
        fn new(name: &str, files: &[(&str, &str)]) -> Self {
            let root = std::env::temp_dir().join(format!("corelane-doctor-{name}-{}", std::process::id()));
            for (path, body) in files {
                let path = root.join(path);
                std::fs::create_dir_all(path.parent().expect("below the root")).expect("a fixture folder");
                std::fs::write(path, body).expect("a fixture file");
            }
            Self(root)
        }
    }

    impl Drop for Fixture {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_whole_host_is_read() {
        let fixture = Fixture::new(
            "whole",
            &[
                ("proc/sys/kernel/osrelease", "6.8.0\n"),
                ("proc/self/cgroup", "0::/pod/server\n"),
                ("sys/fs/cgroup/pod/server/cpu.max", "max 100000\n"),
                ("sys/fs/cgroup/pod/cpu.max", "50000 100000\n"),
                ("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "performance\n"),
                ("sys/devices/system/cpu/cpu1/cpufreq/scaling_governor", "powersave\n"),
                ("sys/devices/system/cpu/cpufreq/scaling_governor", "a folder that is no CPU\n"),
                ("sys/devices/system/node/node0/cpulist", "0\n"),
                ("sys/devices/system/node/node1/cpulist", "1\n"),
            ],
        );
        let findings = run(&Host::below(fixture.0.clone()));
        let seen =
            |name: &str| findings.iter().find(|finding| finding.name == name).map(|finding| finding.seen.as_str());
        assert_eq!(findings.len(), CHECKS.len());
        assert_eq!(seen("kernel"), Some("6.8.0"));
        assert_eq!(seen("cpu.max"), Some("0.50 CPUs (sys/fs/cgroup/pod/cpu.max)"));
        assert_eq!(seen("governor"), Some("powersave"));
        assert_eq!(seen("numa"), Some("2 nodes"));
        assert_eq!(seen("somaxconn"), Some("net.core.somaxconn cannot be read"));
    }

    #[test]
    fn names_are_unique() {
        let mut names: Vec<_> = CHECKS.iter().map(|check| check.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), CHECKS.len());
    }
}
