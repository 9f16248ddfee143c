//! Histograms as text: one alone in base64, as records keep it, and in the log format that HdrHistogram's tools read.

use std::time::Duration;

use hdrhistogram::Histogram;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};
use hdrhistogram::serialization::{Deserializer, Serializer, V2DeflateSerializer};

use crate::load::report::Report;

/// The compressed form, base64 without line breaks.
pub(crate) fn encode(histogram: &Histogram<u64>) -> String {
    let mut bytes = Vec::new();
    V2DeflateSerializer::new().serialize(histogram, &mut bytes).expect("a Vec takes everything");
    base64::Engine::encode(&base64::engine::general_purpose::STANDARD, bytes)
}

pub(crate) fn decode(text: &str) -> Result<Histogram<u64>, String> {
    let bytes = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, text)
        .map_err(|error| format!("a histogram that is no base64: {error}"))?;
    Deserializer::new().deserialize(&mut &bytes[..]).map_err(|error| format!("a spoilt histogram: {error}"))
}

/// One interval: the whole window. Values are in nanoseconds; maxima are printed in milliseconds, as the format has it.
pub(crate) fn of_run(title: &str, report: &Report) -> Result<String, String> {
    of_runs(&[(title, report)])
}

/// One tagged interval for each run.
pub(crate) fn of_runs(runs: &[(&str, &Report)]) -> Result<String, String> {
    let mut bytes = Vec::new();
    let mut serializer = V2DeflateSerializer::new();
    let mut builder = IntervalLogWriterBuilder::new();
    builder.add_comment("corelane-bench: latency from the intended start, nanoseconds");
    builder.with_start_time(crate::clock::date()).with_max_value_divisor(1e6);
    let mut log = builder.begin_log_with(&mut bytes, &mut serializer).map_err(|error| error.to_string())?;
    let mut start = Duration::ZERO;
    for (title, report) in runs {
        let histogram = decode(&report.histogram)?;
        let seconds = Duration::from_secs_f64(report.seconds);
        // The format has no spaces and commas in a tag.
        let tag: String =
            title.chars().map(|letter| if letter == ',' || letter.is_whitespace() { '-' } else { letter }).collect();
        log.write_histogram(&histogram, start, seconds, Tag::new(&tag)).map_err(|error| format!("{error:?}"))?;
        start += seconds;
    }
    String::from_utf8(bytes).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::lane::histogram;
    use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

    #[test]
    fn a_histogram_survives_its_text() {
        let mut latencies = histogram();
        (1..5000_u64).for_each(|number| latencies.record(number * number).unwrap());
        assert_eq!(decode(&encode(&latencies)).unwrap(), latencies);
        assert!(decode("no").is_err());
    }

    #[test]
    fn a_log_is_read_by_its_own_reader() {
        let report = |base: u64| -> Report {
            let mut latencies = histogram();
            (1..1000).for_each(|number| latencies.record(base * number).unwrap());
            serde_json::from_value(serde_json::json!({
                "depth": 1, "connections": 1, "requests": 999, "seconds": 1.5, "requests_per_second": 666.0,
                "latency": { "p50_us": 0.0, "p90_us": 0.0, "p99_us": 0.0, "p99_9_us": 0.0, "p99_99_us": 0.0, "max_us": 0.0 },
                "histogram": encode(&latencies),
            }))
            .unwrap()
        };
        let (one, other) = (report(1000), report(7000));
        let text = of_runs(&[("get, set", &one), ("corelane", &other)]).unwrap();
        let entries: Vec<_> = IntervalLogIterator::new(text.as_bytes()).map(Result::unwrap).collect();
        let intervals: Vec<_> = entries
            .iter()
            .filter_map(|entry| match entry {
                LogEntry::Interval(interval) => Some(interval),
                _ => None,
            })
            .collect();
        for ((interval, report), (tag, start)) in
            intervals.iter().zip([&one, &other]).zip([("get--set", 0.0), ("corelane", 1.5)])
        {
            assert_eq!(interval.tag().map(|tag| tag.as_str()), Some(tag));
            let times = (interval.start_timestamp().as_secs_f64(), interval.duration().as_secs_f64());
            assert_eq!(times, (start, 1.5));
            let read: Histogram<u64> = decode(interval.encoded_histogram()).unwrap();
            assert_eq!(read, decode(&report.histogram).unwrap());
        }
        assert_eq!(intervals.len(), 2);
    }
}
