//! The live view on a terminal: one block of lines, drawn over itself.
//!
//! ```text
//!   cache · redis, depth 16, round 2 of 5                 measuring
//!   ████████████████████░░░░░░░░░░░░░░░░░░░░  52 %
//!   182,401 requests/s   server CPU 97.2 %   RSS 29.0 MiB
//!   p50 81.2   p99 190.1   p99.9 402.0   max 1,203 us      p99 ▁▁▂▁▁▇▁▁
//! ```
//!
//! It goes to standard error, and only if that is a terminal; what is piped stays clean.

use std::io::{IsTerminal, Write, stderr};

use hdrhistogram::Histogram;

use super::report::micros;

/// What one frame shows.
pub(crate) struct Moment<'a> {
    /// 0 to 1 of the window.
    pub(crate) progress: f64,
    pub(crate) replies_per_second: f64,
    /// Of the latest slice.
    pub(crate) latency: Option<&'a Histogram<u64>>,
    pub(crate) cpu_share: Option<f64>,
    pub(crate) rss_bytes: Option<u64>,
}

pub(crate) struct Live {
    title: String,
    stage: String,
    on: bool,
    /// Lines on the screen that the next frame goes over.
    drawn: usize,
    history: Vec<f64>,
}

const BAR: usize = 40;
const HISTORY: usize = 32;

impl Live {
    pub(crate) fn for_terminal(title: &str) -> Self {
        Self { on: stderr().is_terminal(), ..Self::silent(title) }
    }

    pub(crate) fn silent(title: &str) -> Self {
        Self { title: title.to_owned(), stage: String::new(), on: false, drawn: 0, history: Vec::new() }
    }

    pub(crate) fn entitle(&mut self, title: &str) {
        title.clone_into(&mut self.title);
        self.history.clear();
    }

    pub(crate) fn stage(&mut self, stage: &str) {
        stage.clone_into(&mut self.stage);
        self.draw(&[self.heading()]);
    }

    pub(crate) fn show(&mut self, moment: &Moment<'_>) {
        "measuring".clone_into(&mut self.stage);
        if let Some(latency) = moment.latency {
            self.history.push(micros(latency.value_at_percentile(99.0)));
            let surplus = self.history.len().saturating_sub(HISTORY);
            self.history.drain(..surplus);
        }
        self.draw(&frame(&self.heading(), moment, &self.history));
    }

    /// Leaves the screen as it was before the first frame.
    pub(crate) fn end(&mut self) {
        self.draw(&[]);
    }

    fn heading(&self) -> String {
        format!("\x1b[1m{}\x1b[0m  \x1b[2m{}\x1b[0m", self.title, self.stage)
    }

    fn draw(&mut self, lines: &[String]) {
        if !self.on {
            return;
        }
        let mut text = String::new();
        if self.drawn > 0 {
            text += &format!("\x1b[{}A", self.drawn);
        }
        text += "\x1b[J";
        lines.iter().for_each(|line| text += &format!("{line}\n"));
        // A terminal that has gone away is not worth ending a measurement for.
        let _ = stderr().write_all(text.as_bytes());
        self.drawn = lines.len();
    }
}

fn frame(heading: &str, moment: &Moment<'_>, history: &[f64]) -> Vec<String> {
    let filled = part(moment.progress, BAR);
    let bar = format!("\x1b[36m{}\x1b[2m{}\x1b[0m", "█".repeat(filled), "░".repeat(BAR - filled));
    let cpu = moment.cpu_share.map_or_else(String::new, |share| format!("   server CPU {:.1} %", share * 100.0));
    let rss = moment
        .rss_bytes
        .map_or_else(String::new, |bytes| format!("   RSS {:.1} MiB", bytes as f64 / f64::from(1 << 20)));
    let mut lines = vec![
        heading.to_owned(),
        format!("{bar} {:3.0} %", moment.progress.clamp(0.0, 1.0) * 100.0),
        format!("{} requests/s{cpu}{rss}", thousands(moment.replies_per_second)),
    ];
    if let Some(latency) = moment.latency {
        let at = |percentile| thousands(micros(latency.value_at_percentile(percentile)));
        let max = thousands(micros(latency.max()));
        let line = format!("p50 {}   p99 {}   p99.9 {}   max {max} us", at(50.0), at(99.0), at(99.9));
        lines.push(format!("{line}   \x1b[2mp99\x1b[0m {}", sparkline(history)));
    }
    lines
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a small number, clamped")]
fn part(share: f64, of: usize) -> usize {
    (share.clamp(0.0, 1.0) * of as f64).round() as usize
}

/// Digits in groups of three; one decimal below a hundred.
pub(crate) fn thousands(number: f64) -> String {
    if number < 100.0 {
        return format!("{number:.1}");
    }
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Eight heights from nothing to the highest.
fn sparkline(numbers: &[f64]) -> String {
    const HEIGHTS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let most = numbers.iter().copied().fold(0.0, f64::max);
    numbers.iter().map(|number| HEIGHTS[part(number / most.max(f64::MIN_POSITIVE), 7)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_has_all_lines_and_no_more_width_than_a_terminal() {
        let mut latency = super::super::lane::histogram();
        latency.record(1_234_567).unwrap();
        let moment = Moment {
            progress: 0.5,
            replies_per_second: 182_401.0,
            latency: Some(&latency),
            cpu_share: Some(0.972),
            rss_bytes: Some(29 << 20),
        };
        let lines = frame("title", &moment, &[1.0, 7.0, 14.0]);
        assert_eq!(lines.len(), 4);
        assert!(
            lines[1].contains(&format!("{}\x1b[2m{}", "█".repeat(20), "░".repeat(20))) && lines[1].ends_with(" 50 %")
        );
        assert_eq!(lines[2], "182,401 requests/s   server CPU 97.2 %   RSS 29.0 MiB");
        assert!(lines[3].contains("p99 1,235") && lines[3].ends_with("▂▅█"), "{}", lines[3]);
    }

    #[test]
    fn digits_come_in_groups() {
        assert_eq!([12.34, 123.4, 1234.0, 1_234_567.0].map(thousands), ["12.3", "123", "1,234", "1,234,567"]);
    }
}
