//! Which CPUs the lanes get, and how many lanes that makes: the smaller of what the affinity mask allows and what the cgroup's
//! quota pays for. A lane beyond the quota would be stopped by the scheduler again and again, and all that wait for its keys
//! with it.

use std::fs;
use std::path::{Path, PathBuf};

use core_affinity::CoreId;

use super::boot::BootError;
use super::log::{Level, say};

/// The CPUs this process may run on.
pub(super) fn allowed() -> Vec<usize> {
    core_affinity::get_core_ids().unwrap_or_default().into_iter().map(|core| core.id).collect()
}

/// One lane for each CPU that is both given (or, if none is, allowed) and paid for.
pub(super) fn lanes_by_default(given: &[usize]) -> usize {
    let there = if given.is_empty() { allowed().len() } else { given.len() };
    there.min(quota().unwrap_or(usize::MAX)).max(1)
}

/// `0-3,8`.
pub(super) fn parse(list: &str) -> Result<Vec<usize>, String> {
    let wrong = || format!("cpus: '{list}' is no list of CPUs: write it as 0-3,8");
    let mut cpus = Vec::new();
    for part in list.split(',').filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let parse = |text: &str| text.trim().parse::<usize>().ok().filter(|cpu| *cpu < 4096);
        let (first, last) = (parse(first).ok_or_else(wrong)?, parse(last).ok_or_else(wrong)?);
        if first > last {
            return Err(wrong());
        }
        for cpu in first..=last {
            if !cpus.contains(&cpu) {
                cpus.push(cpu);
            }
        }
    }
    Ok(cpus)
}

/// A CPU for each of `lanes`: of those given, or else of those allowed, the first ones. Lanes beyond their number share, as a test on a
/// small machine may want it.
pub(super) fn choose(lanes: usize, given: &[usize]) -> Result<Vec<CoreId>, BootError> {
    if lanes == 0 {
        return Err(BootError::Lanes);
    }
    let allowed = allowed();
    if let Some(&cpu) = given.iter().find(|cpu| !allowed.contains(cpu)) {
        return Err(BootError::Cpu { cpu, allowed });
    }
    let cpus = if given.is_empty() { &allowed } else { given };
    if cpus.len() < lanes {
        let text =
            format!("{lanes} lanes share {} CPUs: each waits for the others, so expect a worse tail", cpus.len());
        say(Level::Warning, &text);
    }
    Ok(cpus.iter().cycle().take(lanes).map(|&id| CoreId { id }).collect())
}

/// The CPUs this process may use beside those of its lanes, if there are any.
pub(super) fn beside(lanes: &[CoreId]) -> Option<Vec<usize>> {
    let free = allowed().into_iter().filter(|cpu| !lanes.iter().any(|lane| lane.id == *cpu));
    Some(free.collect::<Vec<_>>()).filter(|free| !free.is_empty())
}

/// Whole CPUs that the tightest quota above this process pays for; `None`: no quota.
fn quota() -> Option<usize> {
    quota_below(Path::new("/sys/fs/cgroup"), &fs::read_to_string("/proc/self/cgroup").unwrap_or_default())
}

/// `memberships` is /proc/self/cgroup: `0::/path` for version 2, `n:controllers:/path` for version 1.
fn quota_below(root: &Path, memberships: &str) -> Option<usize> {
    let of_line = |line: &str| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?);
        if controllers.is_empty() {
            return tightest(root, path, quota_v2);
        }
        if !controllers.split(',').any(|controller| controller == "cpu") {
            return None;
        }
        // Mounted under the names of all controllers of the hierarchy, and mostly also under each.
        tightest(&root.join(controllers), path, quota_v1).or_else(|| tightest(&root.join("cpu"), path, quota_v1))
    };
    memberships.lines().filter_map(of_line).min()
}

/// The least quota of a group and those above it. In a container that sees only its own part of the tree the path may lead
/// nowhere; the root is then the container's group.
fn tightest(root: &Path, path: &str, quota: fn(&Path) -> Option<usize>) -> Option<usize> {
    let group = root.join(path.trim_start_matches('/'));
    group.ancestors().take_while(|group| group.starts_with(root)).filter_map(quota).min()
}

/// `cpu.max`: quota and period in microseconds, or `max`.
fn quota_v2(group: &Path) -> Option<usize> {
    let text = fs::read_to_string(group.join("cpu.max")).ok()?;
    let (quota, period) = text.trim().split_once(' ')?;
    whole_cpus(quota, period)
}

fn quota_v1(group: &Path) -> Option<usize> {
    let read = |name: &str| fs::read_to_string(PathBuf::from(group).join(name)).ok();
    whole_cpus(read("cpu.cfs_quota_us")?.trim(), read("cpu.cfs_period_us")?.trim())
}

/// `None` for `max` and for -1, which both mean no quota. A part of a CPU carries no lane, but one lane there must be.
fn whole_cpus(quota: &str, period: &str) -> Option<usize> {
    let (quota, period) = (quota.parse::<usize>().ok()?, period.parse::<usize>().ok()?);
    Some(quota.checked_div(period)?.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_lists_are_read() {
        assert_eq!(parse("0-2,5,1"), Ok(vec![0, 1, 2, 5]));
        assert_eq!(parse(""), Ok(vec![]));
        for wrong in ["a", "3-1", "1-", "99999999"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    /// A tree of cgroups in a folder of its own.
    fn tree(name: &str, files: &[(&str, &str)]) -> PathBuf {
        let root = std::env::temp_dir().join(format!("corelane-cgroup-{name}-{}", std::process::id()));
        for (path, text) in files {
            let file = root.join(path);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }
        root
    }

    #[test]
    fn the_tightest_quota_above_counts() {
        let root = tree("v2", &[("a/b/cpu.max", "max 100000\n"), ("a/cpu.max", "350000 100000\n")]);
        assert_eq!(quota_below(&root, "0::/a/b\n"), Some(3));
        assert_eq!(quota_below(&root, "0::/elsewhere\n"), None);
        assert_eq!(quota_below(&root, "2:memory:/a\n"), None);
        fs::write(root.join("cpu.max"), "50000 100000").unwrap();
        assert_eq!(quota_below(&root, "0::/elsewhere\n"), Some(1), "half a CPU still has a lane");
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn quotas_of_version_1_are_read_where_they_are_mounted() {
        let files = |quota| [("cpu.cfs_quota_us", quota), ("cpu.cfs_period_us", "100000\n")];
        let place =
            |dir: &str, quota: &'static str| files(quota).map(|(name, text)| (format!("{dir}/{name}"), text)).to_vec();
        let all = [place("cpu,cpuacct/x", "-1\n"), place("cpu,cpuacct", "200000\n"), place("cpu", "400000\n")].concat();
        let all: Vec<(&str, &str)> = all.iter().map(|(path, text)| (path.as_str(), *text)).collect();
        let root = tree("v1", &all);
        assert_eq!(quota_below(&root, "4:cpu,cpuacct:/x\n0::/\n"), Some(2));
        assert_eq!(quota_below(&root, "1:cpu:/y\n"), Some(4));
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn there_is_always_a_lane() {
        assert!(lanes_by_default(&[]) >= 1);
        assert_eq!(lanes_by_default(&[0]), 1);
    }
}
