//! Pages with plots: one of a single run, one of a comparison. One file each, without scripts and without anything from elsewhere;
//! light or dark as the reader's system is, and readable on a phone.

use std::fmt::Write;

use hdrhistogram::Histogram;

use super::hlog;
use super::plot::{Axes, COLOURS, Scale, Series, lines};
use crate::load::lane::histogram;
use crate::load::live::thousands;
use crate::load::report::{Course, Disturbed, Report, micros};
use crate::record::{Case, Record};
use crate::search::Probe;
use crate::summary::{cases, interval, interval_head, runs, verdict};

const STYLE: &str = include_str!("page.css");

pub(crate) fn of_run(title: &str, report: &Report) -> Result<String, String> {
    let mut page = Page::new(title);
    page.line(&format!(
        "{} requests in {:.1} s over {} connections; {}",
        thousands(report.requests as f64),
        report.seconds,
        report.connections,
        report.rate.map_or_else(
            || format!("closed loop, {} at a time", report.depth),
            |rate| format!("open loop at {}/s", thousands(rate))
        )
    ));
    report.notes.iter().for_each(|note| page.note(note));
    page.tiles(&tiles(report));
    let name = "this run";
    page.plots(&[
        ("Latency by percentile", percentiles(&[(name.to_owned(), hlog::decode(&report.histogram)?)])?),
        ("Latency over time", over_time(&report.course)?),
        (
            "Requests per second over time",
            course(name, &report.course, "requests/s", |course| &course.replies_per_second)?,
        ),
        ("Server CPU time a request", course(name, &report.course, "us", |course| &course.cpu_us)?),
        ("Resident memory", course(name, &report.course, "MiB", |course| &course.rss_mib)?),
    ]);
    page.disturbed(&report.disturbed.iter().map(|one| (name, one)).collect::<Vec<_>>());
    Ok(page.finish())
}

pub(crate) fn of_record(record: &Record) -> Result<String, String> {
    let mut page = Page::new(&record.workload.name);
    page.line(&record.workload.about);
    let machine = &record.machine;
    page.line(&format!(
        "{} rounds of {} s, {} connections. {}, {} cores, kernel {}; {}, commit {}.",
        record.workload.rounds,
        record.workload.seconds,
        record.workload.connections,
        machine.cpu,
        machine.cores,
        machine.kernel,
        record.date,
        record.commit
    ));
    let versions = record
        .servers
        .iter()
        .filter_map(|server| Some(format!("{}: {}", server.server.name, server.version.as_ref()?)));
    page.line(&versions.collect::<Vec<_>>().join(" · "));
    for absent in &record.absent {
        page.note(&format!("{} does not take part: {}", absent.server, absent.why));
    }
    page.heading("What the rounds say");
    page.line(&format!(
        "A ratio is the median of those within each round, to {}; a server is called better or worse when the signed-rank test and \
         its interval leave less than 1 % of doubt.",
        record.baseline
    ));
    page.summary(record);
    for case in cases(record) {
        page.heading(&match case {
            Case::Rate(rate) => format!("Open loop, {} requests a second", thousands(f64::from(rate))),
            other => format!("Closed loop, {other}"),
        });
        page.legend(record);
        page.plots(&case_plots(record, case)?);
        let all = record.runs.iter().filter(|run| run.case == case && run.report.invalid.is_none());
        page.disturbed(
            &all.flat_map(|run| run.report.disturbed.iter().map(|one| (run.server.as_str(), one))).collect::<Vec<_>>(),
        );
    }
    page.heading("Throughput against latency");
    page.legend(record);
    page.plots(&[("Each point is one case: requests per second of the wall, and their p99", throughput(record)?)]);
    Ok(page.finish())
}

/// A search for the highest rate that keeps a goal: every probe as a point.
pub(crate) fn of_search(title: &str, verdict: &str, goal_us: f64, probes: &[Probe]) -> Result<String, String> {
    let mut page = Page::new(title);
    page.line(verdict);
    let mut points: Vec<(f64, f64)> = probes.iter().map(|probe| (probe.rate, probe.latency_us)).collect();
    points.sort_by(|one, other| one.0.total_cmp(&other.0));
    let most = points.iter().map(|point| point.0).fold(0.0, f64::max);
    let goal = Series { name: "goal".to_owned(), points: vec![(0.0, goal_us), (most, goal_us)] };
    let seen = Series { name: "probes".to_owned(), points };
    let axes = Axes { x: "requests/s", y: "us", scale: Scale::LogY };
    page.plots(&[("Latency against rate; the level line is the goal", lines(&axes, &[seen, goal])?)]);
    Ok(page.finish())
}

fn case_plots(record: &Record, case: Case) -> Result<Vec<(&'static str, String)>, String> {
    let servers = || record.servers.iter().map(|server| server.server.name.as_str());
    let mut plots = vec![];
    let merged: Result<Vec<_>, String> =
        servers().map(|name| Ok((name.to_owned(), merged(record, case, name)?))).collect();
    plots.push(("Latency by percentile, all rounds", percentiles(&merged?)?));
    let per_round = |figure: fn(&Report) -> Option<f64>| -> Vec<Series> {
        servers()
            .map(|name| {
                let points =
                    runs(record, case, name).filter_map(|run| Some((f64::from(run.round + 1), figure(&run.report)?)));
                Series { name: name.to_owned(), points: points.collect() }
            })
            .collect()
    };
    let round = |y| Axes { x: "round", y, scale: Scale::Rounds };
    let cpu = |report: &Report| Some(1e6 / report.requests_per_server_cpu_second?);
    plots.push(("Server CPU time a request, by round", lines(&round("us"), &per_round(cpu))?));
    let memory = |report: &Report| Some(report.server?.rss_bytes as f64 / f64::from(1 << 20));
    plots.push(("Resident memory at the end, by round", lines(&round("MiB"), &per_round(memory))?));
    match case {
        Case::Rate(_) => {
            let last = |name: &str| runs(record, case, name).last();
            let over_time = servers().map(|name| {
                let course = last(name).map(|run| &run.report.course);
                let points =
                    course.map(|course| course.seconds.iter().copied().zip(course.max_us.iter().copied()).collect());
                Series { name: name.to_owned(), points: points.unwrap_or_default() }
            });
            let axes = Axes { x: "seconds", y: "us", scale: Scale::LogY };
            plots.push(("Worst latency over time, last round", lines(&axes, &over_time.collect::<Vec<_>>())?));
        }
        Case::Depth(_) | Case::OneConnection => {
            let wall = |report: &Report| Some(report.requests_per_second);
            plots.push(("Requests per second of the wall, by round", lines(&round("requests/s"), &per_round(wall))?));
        }
    }
    Ok(plots)
}

fn merged(record: &Record, case: Case, server: &str) -> Result<Histogram<u64>, String> {
    let mut all = histogram();
    for run in runs(record, case, server).filter(|run| !run.report.histogram.is_empty()) {
        all.add(&hlog::decode(&run.report.histogram)?).map_err(|error| format!("{error:?}"))?;
    }
    Ok(all)
}

/// The level axis is 1 / (1 - percentile), so that each further nine takes as much room as the one before.
fn percentiles(all: &[(String, Histogram<u64>)]) -> Result<String, String> {
    let series = all.iter().map(|(name, histogram)| {
        let most = (histogram.len() as f64).clamp(10.0, 1e6);
        let steps = (0..=60_i32).map(|step| most.powf(f64::from(step) / 60.0));
        let points = steps.map(|odds| (odds, micros(histogram.value_at_quantile(1.0 - 1.0 / odds)).max(0.1)));
        Series { name: name.clone(), points: if histogram.is_empty() { Vec::new() } else { points.collect() } }
    });
    lines(&Axes { x: "percentile", y: "us", scale: Scale::Percentile }, &series.collect::<Vec<_>>())
}

fn over_time(course: &Course) -> Result<String, String> {
    let of = |name: &str, list: &[f64]| {
        let points = course.seconds.iter().copied().zip(list.iter().map(|us| us.max(0.1))).collect();
        Series { name: name.to_owned(), points }
    };
    let series = [of("p50", &course.p50_us), of("p99", &course.p99_us), of("max", &course.max_us)];
    lines(&Axes { x: "seconds; from below p50, p99, max", y: "us", scale: Scale::LogY }, &series)
}

fn course(name: &str, course: &Course, unit: &str, list: fn(&Course) -> &Vec<f64>) -> Result<String, String> {
    let points = course.seconds.iter().copied().zip(list(course).iter().copied()).collect();
    lines(&Axes { x: "seconds", y: unit, scale: Scale::Linear }, &[Series { name: name.to_owned(), points }])
}

fn throughput(record: &Record) -> Result<String, String> {
    let series = record.servers.iter().map(|server| {
        let name = &server.server.name;
        let of_server = record.summary.iter().filter(|line| line.server == *name && line.case != Case::OneConnection);
        let mut points: Vec<(f64, f64)> =
            of_server.map(|line| (line.requests_per_second.median, line.latency_p99_us.median)).collect();
        points.sort_by(|one, other| one.0.total_cmp(&other.0));
        Series { name: name.clone(), points }
    });
    let axes = Axes { x: "requests/s", y: "p99, us", scale: Scale::LogY };
    lines(&axes, &series.collect::<Vec<_>>())
}

fn tiles(report: &Report) -> Vec<(&'static str, String)> {
    let mut tiles = vec![
        ("requests/s", thousands(report.requests_per_second)),
        ("p50, us", thousands(report.latency.p50_us)),
        ("p99, us", thousands(report.latency.p99_us)),
        ("p99.9, us", thousands(report.latency.p99_9_us)),
        ("worst, us", thousands(report.latency.max_us)),
    ];
    if let Some(figure) = report.requests_per_server_cpu_second {
        tiles.insert(1, ("requests/server-CPU-s", thousands(figure)));
    }
    tiles
}

struct Page(String);

impl Page {
    fn new(title: &str) -> Self {
        let title = escaped(title);
        Self(format!(
            "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width, \
             initial-scale=1\">\n<meta name=\"color-scheme\" content=\"light dark\">\n<title>{title}</title>\n<style>\n{STYLE}</style>\n\
             <main>\n<h1>{title}</h1>\n"
        ))
    }

    fn add(&mut self, html: &str) {
        writeln!(self.0, "{html}").expect("a String takes everything");
    }

    fn line(&mut self, text: &str) {
        self.add(&format!("<p>{}</p>", escaped(text)));
    }

    fn note(&mut self, text: &str) {
        self.add(&format!("<p class=\"note\">{}</p>", escaped(text)));
    }

    fn heading(&mut self, text: &str) {
        self.add(&format!("<h2>{}</h2>", escaped(text)));
    }

    fn tiles(&mut self, tiles: &[(&str, String)]) {
        self.add("<div class=\"tiles\">");
        for (name, value) in tiles {
            self.add(&format!("<div><b>{}</b><span>{}</span></div>", escaped(value), escaped(name)));
        }
        self.add("</div>");
    }

    fn legend(&mut self, record: &Record) {
        self.add("<ul class=\"legend\">");
        for (at, server) in record.servers.iter().enumerate() {
            self.add(&format!("<li style=\"--c:var(--s{})\">{}</li>", at % COLOURS, escaped(&server.server.name)));
        }
        self.add("</ul>");
    }

    /// Those that have something to show, side by side where there is room.
    fn plots(&mut self, plots: &[(&str, String)]) {
        self.add("<div class=\"plots\">");
        for (caption, svg) in plots.iter().filter(|(_, svg)| !svg.is_empty()) {
            self.add(&format!("<figure><figcaption>{}</figcaption>{svg}</figure>", escaped(caption)));
        }
        self.add("</div>");
    }

    fn summary(&mut self, record: &Record) {
        let heads = [
            "case",
            "server",
            "figure",
            "min to max",
            "ratio",
            &interval_head(record),
            "",
            "req/s",
            "p99 us",
            "CPU us",
            "switches /1000",
            "RSS MiB",
        ];
        self.table(
            &heads,
            record.summary.iter().map(|line| {
                let comparison = line.comparison.as_ref();
                let optional = |spread: Option<crate::statistics::Spread>| {
                    spread.map_or_else(String::new, |spread| format!("{:.2}", spread.median))
                };
                let refused =
                    if line.refused > 0 { format!(", {} rounds refused", line.refused) } else { String::new() };
                vec![
                    format!("{}, {}", line.case, line.case.unit()),
                    format!("{}{refused}", line.server),
                    thousands(line.figure.median),
                    format!("{} to {}", thousands(line.figure.min), thousands(line.figure.max)),
                    comparison.map_or_else(String::new, |found| format!("{:.3}", found.ratio)),
                    interval(comparison),
                    comparison.map_or("", |found| verdict(line.case, found.verdict)).to_owned(),
                    thousands(line.requests_per_second.median),
                    thousands(line.latency_p99_us.median),
                    optional(line.cpu_us_per_request),
                    optional(line.switches_per_1000),
                    format!("{:.1}", line.rss_bytes.median / f64::from(1 << 20)),
                ]
            }),
        );
    }

    fn disturbed(&mut self, all: &[(&str, &Disturbed)]) {
        if all.is_empty() {
            return;
        }
        let names = distinct(all.iter().map(|(_, one)| one.name.as_str()));
        let servers = distinct(all.iter().map(|(server, _)| *server));
        let heads = ["while", "server", "worst, us (median of the rounds)", "p99, us", "it took, ms"];
        let rows = names.iter().flat_map(|name| servers.iter().map(move |server| (*name, *server)));
        self.table(
            &heads,
            rows.map(|(name, server)| {
                let of = |figure: fn(&Disturbed) -> f64| {
                    let figures: Vec<f64> = all
                        .iter()
                        .filter(|(by, one)| *by == server && one.name == name)
                        .map(|(_, one)| figure(one))
                        .collect();
                    crate::statistics::median(&figures).map_or_else(String::new, thousands)
                };
                vec![
                    name.to_owned(),
                    server.to_owned(),
                    of(|one| one.max_us),
                    of(|one| one.p99_us),
                    of(|one| one.lasted_seconds * 1000.0),
                ]
            }),
        );
    }

    fn table(&mut self, heads: &[&str], rows: impl Iterator<Item = Vec<String>>) {
        let cells = |tag: &str, texts: &[&str]| {
            texts.iter().map(|text| format!("<{tag}>{}</{tag}>", escaped(text))).collect::<String>()
        };
        self.add(&format!("<div class=\"wide\"><table><thead><tr>{}</tr></thead><tbody>", cells("th", heads)));
        for row in rows {
            let texts: Vec<&str> = row.iter().map(String::as_str).collect();
            self.add(&format!("<tr>{}</tr>", cells("td", &texts)));
        }
        self.add("</tbody></table></div>");
    }

    fn finish(mut self) -> String {
        self.add("<footer>Made by corelane-bench. Latency counts from the intended start of a request.</footer>\n</main>\n</html>");
        self.0
    }
}

/// Each once, in the order of their first appearance.
fn distinct<'t>(names: impl Iterator<Item = &'t str>) -> Vec<&'t str> {
    let mut distinct: Vec<&str> = Vec::new();
    for name in names {
        if !distinct.contains(&name) {
            distinct.push(name);
        }
    }
    distinct
}

pub(crate) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
