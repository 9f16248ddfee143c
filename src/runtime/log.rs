//! What the server tells its operator: one line each, on standard output, in the shape Redis users' tools read.

use std::io::Write;

use super::clock::Clock;

/// How much a line matters, as the mark Redis gives it.
#[derive(Clone, Copy, Debug)]
pub enum Level {
    Notice,
    Warning,
}

/// Writes one line; a closed standard output is nobody's fault.
pub fn say(level: Level, text: &str) {
    let unix_us = Clock::start().read().unix_us;
    let mark = match level {
        Level::Notice => '*',
        Level::Warning => '#',
    };
    let line = format!("{}:M {} {mark} {text}\n", std::process::id(), timestamp(unix_us));
    let _ = std::io::stdout().lock().write_all(line.as_bytes());
}

/// What went wrong in words, without the number that the standard library adds.
pub(super) fn plain(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.find(" (os error").and_then(|end| text.get(..end)).map_or_else(|| text.clone(), str::to_owned)
}

/// Sends standard output and standard error, panic reports among them, to the end of a file from here on.
pub fn log_to_file(path: &str) -> std::io::Result<()> {
    let file = std::fs::File::options().append(true).create(true).open(path)?;
    rustix::stdio::dup2_stdout(&file)?;
    rustix::stdio::dup2_stderr(&file)?;
    Ok(())
}

/// `22 Nov 2026 23:17:05.123`, in UTC. The civil date is Howard Hinnant's days algorithm.
fn timestamp(unix_us: u64) -> String {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (secs, ms) = (unix_us / 1_000_000, unix_us / 1000 % 1000);
    let (days, second) = (secs / 86_400 + 719_468, secs % 86_400);
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = (shifted + 2) % 12;
    let year = era * 400 + year_of_era + u64::from(month < 2);
    let month = MONTHS[usize::try_from(month).unwrap_or(0)];
    format!("{day:02} {month} {year} {:02}:{:02}:{:02}.{ms:03}", second / 3600, second / 60 % 60, second % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_right_at_the_edges() {
        assert_eq!(timestamp(0), "01 Jan 1970 00:00:00.000");
        assert_eq!(timestamp(951_782_400_000_000), "29 Feb 2000 00:00:00.000");
        assert_eq!(timestamp(1_735_689_599_999_000), "31 Dec 2024 23:59:59.999");
        assert_eq!(timestamp(1_735_689_600_000_000), "01 Jan 2025 00:00:00.000");
    }
}
