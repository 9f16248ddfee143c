//! What the kernel tells about this process, read from /proc when INFO asks.

use std::fs;

use crate::admin::process::Process;

/// /proc counts CPU time in hundredths of a second on every Linux there is.
const TICK_US: u64 = 10_000;

/// One reading; a file that cannot be read leaves its fields zero.
pub(super) fn read() -> Process {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let (cpu_user_us, cpu_sys_us) = cpu_times(&stat);
    Process {
        rss_bytes: kilobytes(&status, "VmRSS:"),
        rss_peak_bytes: kilobytes(&status, "VmHWM:"),
        cpu_user_us,
        cpu_sys_us,
        system_bytes: kilobytes(&meminfo, "MemTotal:"),
    }
}

fn kilobytes(text: &str, field: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(field)).unwrap_or_default();
    line.split_whitespace().next().and_then(|number| number.parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// User and system time stand twelfth and thirteenth after the command's name, which may itself hold blanks.
fn cpu_times(stat: &str) -> (u64, u64) {
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let mut times = fields.split_whitespace().skip(11).map(|ticks| ticks.parse::<u64>().unwrap_or(0) * TICK_US);
    (times.next().unwrap_or(0), times.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_where_proc_puts_them() {
        let stat = "1 (a b) c) S 1 2 3 4 5 6 7 8 9 10 150 25 0 0";
        assert_eq!(cpu_times(stat), (1_500_000, 250_000));
        assert_eq!(kilobytes("Name:\tx\nVmRSS:\t  12 kB\n", "VmRSS:"), 12 * 1024);
        assert_eq!(kilobytes("", "VmRSS:"), 0);
        assert!(read().rss_bytes > 0);
    }
}
