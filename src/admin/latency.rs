//! LATENCY's record: what took longer than `latency-monitor-threshold`, by event and second.
//!
//! ```text
//!  command        1732400000:12  1732400003:40  ...      at most 160 samples an event; of one second the longest
//!  expire-cycle                                          worst ever, and what that was
//!  fast-command
//!  queue-delay    of requests that are followed (`admin/stages.rs`), by their family
//!  turn           whatever held the lane longer, by processor time; `worst` says what it was doing
//! ```
//!
//! Commands of constant time are timed one in seventeen, so that a single slow one may be missed there; `turn` misses nothing. Each lane
//! keeps its own record. What several know travels as text and is merged.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Samples kept of an event, as in Redis.
const SAMPLES_MAX: usize = 160;

/// What may be slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slow {
    Command,
    FastCommand,
    ExpireCycle,
    QueueDelay,
    Turn,
}

impl Slow {
    const fn name(self) -> &'static str {
        match self {
            Self::Command => "command",
            Self::FastCommand => "fast-command",
            Self::ExpireCycle => "expire-cycle",
            Self::QueueDelay => "queue-delay",
            Self::Turn => "turn",
        }
    }
}

/// The longest of one second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    pub unix_s: u64,
    pub ms: u64,
}

/// What is known of one event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Series {
    /// Oldest first; never empty.
    pub samples: Vec<Sample>,
    pub max_ms: u64,
    /// What it was that took `max_ms`: a command's name, or a step's.
    pub worst: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Latency {
    pub threshold_ms: u64,
    pub series: BTreeMap<String, Series>,
}

impl Latency {
    /// Something took `took_ns`; kept if that is too long. `what` names it.
    #[inline]
    pub fn note(&mut self, slow: Slow, what: &str, took_ns: u64, unix_us: u64) {
        if self.threshold_ms > 0 && took_ns >= self.threshold_ms.saturating_mul(1_000_000) {
            self.keep(slow.name(), what, Sample { unix_s: unix_us / 1_000_000, ms: took_ns / 1_000_000 });
        }
    }

    #[cold]
    fn keep(&mut self, event: &str, what: &str, sample: Sample) {
        let series = self.series.entry(event.to_owned()).or_default();
        if series.samples.is_empty() || sample.ms > series.max_ms {
            what.clone_into(&mut series.worst);
        }
        series.max_ms = series.max_ms.max(sample.ms);
        match series.samples.last_mut() {
            Some(last) if last.unix_s == sample.unix_s => last.ms = last.ms.max(sample.ms),
            _ => series.samples.push(sample),
        }
        let surplus = series.samples.len().saturating_sub(SAMPLES_MAX);
        series.samples.drain(..surplus);
    }

    /// The record of the named events, or of all, as text.
    pub fn to_text(&self, events: &[&[u8]]) -> String {
        let mut text = format!("{}\n", self.threshold_ms);
        for (event, series) in self.series.iter().filter(|(event, _)| names(events, event)) {
            write!(text, "{event}\t{}\t{}\t", series.max_ms, series.worst).expect("writing to a String does not fail");
            for Sample { unix_s, ms } in &series.samples {
                write!(text, "{unix_s}:{ms} ").expect("writing to a String does not fail");
            }
            text.push('\n');
        }
        text
    }

    /// What several lanes know: the longest of each second, whoever saw it.
    pub fn of_texts(texts: impl IntoIterator<Item = Vec<u8>>) -> Self {
        let mut all = Self::default();
        for text in texts {
            all.take_in(&String::from_utf8_lossy(&text));
        }
        for series in all.series.values_mut() {
            series.samples.sort_unstable_by_key(|sample| (sample.unix_s, std::cmp::Reverse(sample.ms)));
            series.samples.dedup_by_key(|sample| sample.unix_s);
            let surplus = series.samples.len().saturating_sub(SAMPLES_MAX);
            series.samples.drain(..surplus);
        }
        all
    }

    fn take_in(&mut self, text: &str) {
        let mut lines = text.lines();
        self.threshold_ms = lines.next().and_then(|line| line.parse().ok()).unwrap_or(0);
        for line in lines {
            let mut fields = line.split('\t');
            let (Some(event), Some(max_ms), Some(worst), Some(samples)) =
                (fields.next(), fields.next(), fields.next(), fields.next())
            else {
                continue;
            };
            let max_ms = max_ms.parse().unwrap_or(0);
            let series = self.series.entry(event.to_owned()).or_default();
            if series.samples.is_empty() || max_ms > series.max_ms {
                (series.max_ms, series.worst) = (max_ms, worst.to_owned());
            }
            let pairs = samples.split_whitespace().filter_map(|sample| sample.split_once(':'));
            series.samples.extend(
                pairs.filter_map(|(unix_s, ms)| Some(Sample { unix_s: unix_s.parse().ok()?, ms: ms.parse().ok()? })),
            );
        }
    }

    /// Forgets the named events, or all.
    pub fn reset(&mut self, events: &[&[u8]]) {
        self.series.retain(|event, _| !names(events, event));
    }

    /// What the operator should know.
    pub fn report(&self) -> String {
        if self.threshold_ms == 0 {
            return "Latency is not monitored. CONFIG SET latency-monitor-threshold <milliseconds> switches it on.\n"
                .into();
        }
        if self.series.is_empty() {
            return format!("Nothing took {} ms or longer since the record began.\n", self.threshold_ms);
        }
        let mut text = String::from("Latency spikes, by event:\n\n");
        for (i, (event, series)) in self.series.iter().enumerate() {
            let line = series.summary();
            writeln!(text, "{}. {event}: {line}", i + 1).expect("writing to a String does not fail");
        }
        text.push_str("\nWhat to do:\n\n");
        for (event, advice) in ADVICE {
            if self.series.contains_key(*event) {
                writeln!(text, "- {event}: {advice}").expect("writing to a String does not fail");
            }
        }
        text
    }
}

const ADVICE: &[(&str, &str)] = &[
    ("command", "look at SLOWLOG and at the commands named above; ask for less at once, or with SCAN and its kin."),
    ("expire-cycle", "many large values expire together; spread their deadlines."),
    (
        "fast-command",
        "a command of constant time took long: its value is large, or the machine had no time for this process.",
    ),
    ("queue-delay", "requests waited for their turn; INFO, section lanes, says which lane has more to do than it can."),
    (
        "turn",
        "a lane was held; INFO, section lane, says by what. If the machine is shared, compare max_turn_preempted_us.",
    ),
];

impl Series {
    fn summary(&self) -> String {
        let count = self.samples.len() as u64;
        let average = self.samples.iter().map(|sample| sample.ms).sum::<u64>() / count.max(1);
        let deviation = self.samples.iter().map(|sample| sample.ms.abs_diff(average)).sum::<u64>() / count.max(1);
        let span = match (self.samples.first(), self.samples.last()) {
            (Some(first), Some(last)) => last.unix_s - first.unix_s,
            _ => 0,
        };
        let period = span as f64 / count.max(1) as f64;
        format!(
            "{count} latency spikes (average {average}ms, mean deviation {deviation}ms, period {period:.2} sec). \
             Worst all time event {}ms ({}).",
            self.max_ms, self.worst
        )
    }

    /// Redis's picture: heights in four rows, how long ago below them.
    pub fn graph(&self, event: &str, now_s: u64) -> String {
        let (low, high) =
            self.samples.iter().fold((u64::MAX, 0), |(low, high), sample| (low.min(sample.ms), high.max(sample.ms)));
        let mut text = format!("{event} - high {high} ms, low {low} ms (all time high {} ms)\n", self.max_ms);
        text.push_str(&"-".repeat(80));
        text.push('\n');
        for samples in self.samples.chunks(80) {
            let heights: Vec<u64> =
                samples.iter().map(|sample| (sample.ms - low) * STEPS / (high - low).max(1)).collect();
            for row in (0..ROWS).rev() {
                let mark = |height: &u64| mark_of((*height).min(STEPS - 1), row);
                text.extend(heights.iter().map(mark).chain(['\n']));
            }
            text.push('\n');
            let labels: Vec<String> = samples.iter().map(|sample| age(now_s.saturating_sub(sample.unix_s))).collect();
            for line in 0..labels.iter().map(String::len).max().unwrap_or(0) {
                text.extend(labels.iter().map(|label| label.chars().nth(line).unwrap_or(' ')).chain(['\n']));
            }
        }
        text
    }
}

const ROWS: u64 = 4;
/// Heights within a row, lowest first, and what stands below a higher one.
const MARKS: [char; 3] = ['_', 'o', '#'];
const BELOW: char = '|';
const STEPS: u64 = ROWS * 3;

fn mark_of(height: u64, row: u64) -> char {
    match height.checked_sub(row * 3) {
        None => ' ',
        Some(0) => MARKS[0],
        Some(1) => MARKS[1],
        Some(2) => MARKS[2],
        Some(_) => BELOW,
    }
}

fn age(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

fn names(events: &[&[u8]], event: &str) -> bool {
    events.is_empty() || events.iter().any(|name| name.eq_ignore_ascii_case(event.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000;
    const MS: u64 = 1_000_000;

    fn record(samples: &[(Slow, &str, u64, u64)]) -> Latency {
        let mut latency = Latency { threshold_ms: 5, ..Latency::default() };
        samples.iter().for_each(|&(slow, what, ms, at)| latency.note(slow, what, ms * MS, at * SECOND));
        latency
    }

    #[test]
    fn the_longest_of_a_second_is_kept_if_it_is_too_long() {
        let latency = record(&[
            (Slow::Command, "keys", 4, 1),
            (Slow::Command, "keys", 9, 1),
            (Slow::Command, "sort", 7, 1),
            (Slow::Command, "lcs", 5, 3),
        ]);
        let series = &latency.series["command"];
        assert_eq!(series.samples, [Sample { unix_s: 1, ms: 9 }, Sample { unix_s: 3, ms: 5 }]);
        assert_eq!((series.max_ms, series.worst.as_str()), (9, "keys"));
        let mut off = Latency::default();
        off.note(Slow::Turn, "set", u64::MAX, 1);
        assert!(off.series.is_empty());
        let many: Vec<_> = (0..1000).map(|at| (Slow::Turn, "set", 6, at)).collect();
        assert_eq!(record(&many).series["turn"].samples.len(), SAMPLES_MAX);
    }

    #[test]
    fn lanes_are_merged_by_the_second() {
        let one = record(&[(Slow::Turn, "keys", 9, 1), (Slow::Turn, "set", 6, 5)]);
        let other = record(&[(Slow::Turn, "flushall", 20, 1), (Slow::FastCommand, "get", 6, 2)]);
        let text = |latency: &Latency| latency.to_text(&[]).into_bytes();
        let both = Latency::of_texts([text(&one), text(&other)]);
        assert_eq!(both.series["turn"].samples, [Sample { unix_s: 1, ms: 20 }, Sample { unix_s: 5, ms: 6 }]);
        assert_eq!(both.series["turn"].worst, "flushall");
        assert_eq!(both.series.len(), 2);
        assert_eq!(Latency::of_texts([text(&one)]), one);
        assert_eq!(Latency::of_texts([one.to_text(&[b"nosuch"]).into_bytes()]).series.len(), 0);
    }

    #[test]
    fn reset_forgets_what_is_named() {
        let mut latency = record(&[(Slow::Turn, "keys", 9, 1), (Slow::Command, "keys", 9, 1)]);
        latency.reset(&[b"TURN", b"nosuch"]);
        assert_eq!(latency.series.keys().collect::<Vec<_>>(), ["command"]);
        latency.reset(&[]);
        assert!(latency.series.is_empty());
    }

    #[test]
    fn the_report_and_the_picture_say_what_was_seen() {
        let latency = record(&[(Slow::Turn, "keys", 10, 1), (Slow::Turn, "lcs", 30, 61), (Slow::Turn, "set", 20, 121)]);
        let report = latency.report();
        assert!(
            report.contains("turn: 3 latency spikes (average 20ms, mean deviation 6ms, period 40.00 sec)"),
            "{report}"
        );
        assert!(report.contains("Worst all time event 30ms (lcs)"), "{report}");
        let graph = latency.series["turn"].graph("turn", 130);
        let expected = " # \n |_\n ||\n_||\n\n219\nmms\n";
        assert!(
            graph.starts_with("turn - high 30 ms, low 10 ms (all time high 30 ms)\n") && graph.ends_with(expected),
            "{graph}"
        );
    }
}
