//! Numbers for other tools. No field holds a comma or a quote, so none is quoted.

use std::fmt::Write;

use crate::load::report::Report;
use crate::record::Record;

/// The course of a run, a slice a line.
pub(crate) fn of_run(report: &Report) -> String {
    let course = &report.course;
    let mut text =
        "seconds,replies_per_second,p50_us,p99_us,max_us,server_cpu_us_per_request,server_rss_mib\n".to_owned();
    for (at, seconds) in course.seconds.iter().enumerate() {
        let number = |list: &[f64]| list.get(at).map_or_else(String::new, f64::to_string);
        let lists = [
            &course.replies_per_second,
            &course.p50_us,
            &course.p99_us,
            &course.max_us,
            &course.cpu_us,
            &course.rss_mib,
        ];
        let line = lists.map(|list| number(list)).join(",");
        writeln!(text, "{seconds},{line}").expect("a String takes everything");
    }
    text
}

/// Every run of a comparison, a line each.
pub(crate) fn of_record(record: &Record) -> String {
    let mut text = "case,server,round,position,requests,seconds,requests_per_second,requests_per_server_cpu_second,\
                    p50_us,p90_us,p99_us,p99_9_us,p99_99_us,max_us,server_cpu_ns,server_waiting_ns,server_rss_bytes,\
                    voluntary_switches,involuntary_switches,valid\n"
        .to_owned();
    for run in &record.runs {
        let report = &run.report;
        let per_cpu = report.requests_per_server_cpu_second.map_or_else(String::new, |figure| format!("{figure:.0}"));
        let usage = report.server.unwrap_or_default();
        let latency = report.latency;
        let latencies =
            [latency.p50_us, latency.p90_us, latency.p99_us, latency.p99_9_us, latency.p99_99_us, latency.max_us];
        let numbers =
            [usage.cpu_ns, usage.waiting_ns, usage.rss_bytes, usage.voluntary_switches, usage.involuntary_switches];
        let line = format!(
            "{},{},{},{},{},{:.3},{:.0},{per_cpu},{},{},{}",
            run.case,
            run.server,
            run.round + 1,
            run.position,
            report.requests,
            report.seconds,
            report.requests_per_second,
            latencies.map(|number| format!("{number:.1}")).join(","),
            numbers.map(|number| number.to_string()).join(","),
            report.invalid.is_none(),
        );
        writeln!(text, "{line}").expect("a String takes everything");
    }
    text
}
