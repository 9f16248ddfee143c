//! What `corelane top` shows, made from INFO: a page of a server's lanes, of where its requests spend their time, and of its commands.
//!
//! ```text
//!  corelane 0.1.0 · 127.0.0.1:6379 · up 1 d 02:03:04
//!  412,345 requests/s   1,204 clients   2,000,412 keys   used 128.4M   RSS 150.2M   CPU 1.32 cores
//!
//!  lane  busy                     polling   requests/s  clients       keys   queue delay p50     p99   p99.9   max turn
//!     0  ▇▇▇▇▇▇▇············ 43 %     3 %      201,345      602  1,000,200             1.2    12.3    45.0        412
//!
//!  us             ready    parse    queue      hop  execute     send    total   samples/s
//!  string           1.2      0.1      0.4      2.1      0.3      8.8     12.9       1,570
//!    p99           12.3      0.4      3.9     16.2      0.9     44.1     63.2
//!
//!  command          calls/s   us a call      p50      p99    p99.9
//!  get              390,112        0.21      0.2      0.4      1.1
//! ```
//!
//! Rates and means are of the time since the page before; percentiles are since the counters began (CONFIG RESETSTAT).

use hashbrown::HashMap;

use super::stages::Stage;

/// The sections that are asked for.
pub const SECTIONS: &str = "server clients memory cpu keyspace lanes stages commandstats latencystats";

/// One INFO.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    fields: HashMap<String, String>,
    /// Names in the order in which they came.
    names: Vec<String>,
}

const BAR: usize = 20;
/// Commands that are shown: those called most.
const COMMANDS_MAX: usize = 12;

impl Snapshot {
    pub fn of(info: &str) -> Self {
        let mut snapshot = Self::default();
        for (name, value) in info.lines().filter_map(|line| line.trim_end().split_once(':')) {
            snapshot.names.push(name.to_owned());
            snapshot.fields.insert(name.to_owned(), value.to_owned());
        }
        snapshot
    }

    fn text(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }

    fn number(&self, name: &str) -> f64 {
        self.text(name).parse().unwrap_or(0.0)
    }

    /// `part` of a field that holds several, as `calls` of `cmdstat_get:calls=2,usec=1`.
    fn part(&self, name: &str, part: &str) -> Option<f64> {
        let mut parts = self.text(name).split(',').filter_map(|pair| pair.split_once('='));
        parts.find(|(key, _)| *key == part).and_then(|(_, value)| value.parse().ok())
    }

    /// What follows `prefix` in the names of fields that begin with it.
    fn suffixes<'s>(&'s self, prefix: &'s str) -> impl Iterator<Item = &'s str> {
        self.names.iter().filter_map(move |name| name.strip_prefix(prefix))
    }

    fn lanes(&self) -> Vec<&str> {
        self.suffixes("lane").filter(|rest| rest.parse::<u16>().is_ok()).collect()
    }

    fn families(&self) -> Vec<&str> {
        self.suffixes("stage_usec_").filter_map(|rest| rest.strip_suffix("_total")).collect()
    }

    /// Seconds between two, by the server's clock; since it began, if there is none before.
    fn since(&self, before: Option<&Self>) -> f64 {
        let began = || self.number("uptime_in_seconds").max(1.0);
        before.map_or_else(began, |before| {
            ((self.number("server_time_usec") - before.number("server_time_usec")) / 1e6).max(1e-3)
        })
    }
}

/// Two snapshots of one server, and what lies between.
#[derive(Debug)]
struct Span<'s> {
    now: &'s Snapshot,
    before: Option<&'s Snapshot>,
    seconds: f64,
}

impl Span<'_> {
    /// By how much a part of a field grew.
    fn grew(&self, name: &str, part: &str) -> f64 {
        let before = self.before.and_then(|before| before.part(name, part)).unwrap_or(0.0);
        let now = self.now.part(name, part).unwrap_or(0.0);
        // Counters that were reset begin anew.
        if now < before { now } else { now - before }
    }

    fn share(&self, name: &str, part: &str) -> f64 {
        (self.grew(name, part) / self.seconds / 1e4).min(100.0)
    }
}

/// The lines of a page about the server at `place`; `before` is the snapshot of the page before it.
pub fn page(place: &str, now: &Snapshot, before: Option<&Snapshot>) -> Vec<String> {
    let span = Span { now, before, seconds: now.since(before) };
    let mut lines = head(place, &span);
    lines.push(String::new());
    lines.extend(lane_table(&span));
    lines.push(String::new());
    lines.extend(stage_table(&span));
    lines.push(String::new());
    lines.extend(command_table(&span));
    lines
}

fn head(place: &str, span: &Span<'_>) -> Vec<String> {
    let now = span.now;
    let lanes = now.lanes();
    let rate: f64 = lanes.iter().map(|lane| span.grew(&format!("lane{lane}"), "processed")).sum::<f64>() / span.seconds;
    let keys: f64 = now.suffixes("db").filter_map(|db| now.part(&format!("db{db}"), "keys")).sum();
    let cpu = |snapshot: &Snapshot| snapshot.number("used_cpu_sys") + snapshot.number("used_cpu_user");
    let cores = (cpu(now) - span.before.map_or(0.0, cpu)) / span.seconds;
    vec![
        format!(
            "{} {} · {place} · up {}",
            now.text("server_name"),
            now.text("corelane_version"),
            uptime(now.number("uptime_in_seconds"))
        ),
        format!(
            "{} requests/s   {} clients   {} keys   used {}   RSS {}   CPU {cores:.2} cores",
            grouped(rate),
            grouped(now.number("connected_clients")),
            grouped(keys),
            now.text("used_memory_human"),
            now.text("used_memory_rss_human"),
        ),
    ]
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "seconds of some years")]
fn uptime(seconds: f64) -> String {
    let seconds = seconds as u64;
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    let days = if days > 0 { format!("{days} d ") } else { String::new() };
    format!("{days}{hours:02}:{minutes:02}:{:02}", seconds % 60)
}

fn lane_table(span: &Span<'_>) -> Vec<String> {
    let lanes = span.now.lanes();
    if lanes.is_empty() {
        return vec!["This server tells of no lanes.".to_owned()];
    }
    let mut lines = vec![format!(
        "{:>4}  {:<26} {:>8} {:>12} {:>8} {:>11} {:>16} {:>8} {:>8} {:>9}",
        "lane", "busy", "polling", "requests/s", "clients", "keys", "queue delay p50", "p99", "p99.9", "max turn"
    )];
    lines.extend(lanes.into_iter().map(|lane| lane_line(span, lane)));
    lines
}

fn lane_line(span: &Span<'_>, lane: &str) -> String {
    let name = format!("lane{lane}");
    let part = |part: &str| span.now.part(&name, part).unwrap_or(0.0);
    let (busy, polling) = (span.share(&name, "busy_us"), span.share(&name, "polled_us"));
    format!(
        "{lane:>4}  {} {busy:3.0} % {polling:>6.0} % {:>12} {:>8} {:>11} {:>16} {:>8} {:>8} {:>9}",
        bar(busy / 100.0),
        grouped(span.grew(&name, "processed") / span.seconds),
        grouped(part("clients")),
        grouped(part("keys")),
        short(part("queue_delay_p50_us")),
        short(part("queue_delay_p99_us")),
        short(part("queue_delay_p99.9_us")),
        grouped(part("max_turn_us")),
    )
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a small number, clamped")]
fn bar(share: f64) -> String {
    let filled = (share.clamp(0.0, 1.0) * BAR as f64).round() as usize;
    format!("{}{}", "▇".repeat(filled), "·".repeat(BAR - filled))
}

/// Two lines a family: the means of this span, and the 99th percentiles.
fn stage_table(span: &Span<'_>) -> Vec<String> {
    let stages: Vec<&str> = Stage::ALL.into_iter().map(Stage::name).chain(["total"]).collect();
    let cells = |texts: &[String]| texts.iter().map(|text| format!("{text:>9}")).collect::<String>();
    let titles: Vec<String> = stages.iter().map(|stage| (*stage).to_owned()).collect();
    let mut lines = vec![format!("{:<13}{} {:>11}", "us, mean", cells(&titles), "samples/s")];
    for family in span.now.families() {
        let name = |stage: &str| format!("stage_usec_{family}_{stage}");
        let samples = span.grew(&name("total"), "samples");
        // What the stages of a request that does not hop spend in it is nothing: means are over all.
        let mean = |stage: &&str| short(span.grew(&name(stage), "usec") / samples.max(1.0));
        let p99 = |stage: &&str| span.now.part(&name(stage), "p99").map_or_else(String::new, short);
        let means: Vec<String> = stages.iter().map(mean).collect();
        let percentiles: Vec<String> = stages.iter().map(p99).collect();
        lines.push(format!("{family:<13}{} {:>11}", cells(&means), grouped(samples / span.seconds)));
        lines.push(format!("{:<13}{}", "  p99", cells(&percentiles)).trim_end().to_owned());
    }
    lines
}

fn command_table(span: &Span<'_>) -> Vec<String> {
    let stat = |command: &str| format!("cmdstat_{command}");
    let mut commands: Vec<(&str, f64)> =
        span.now.suffixes("cmdstat_").map(|command| (command, span.grew(&stat(command), "calls"))).collect();
    commands.retain(|(_, calls)| *calls > 0.0);
    commands.sort_by(|(_, one), (_, other)| other.total_cmp(one));
    commands.truncate(COMMANDS_MAX);
    let mut lines = vec![format!(
        "{:<20} {:>12} {:>11} {:>9} {:>9} {:>9}",
        "command", "calls/s", "us a call", "p50", "p99", "p99.9"
    )];
    lines.extend(commands.into_iter().map(|(command, calls)| {
        let each = span.grew(&stat(command), "usec") / calls;
        let durations = format!("latency_percentiles_usec_{command}");
        let at = |part: &str| span.now.part(&durations, part).map_or_else(String::new, short);
        let rate = grouped(calls / span.seconds);
        let (p50, p99, p99_9) = (at("p50"), at("p99"), at("p99.9"));
        format!("{command:<20} {rate:>12} {each:>11.2} {p50:>9} {p99:>9} {p99_9:>9}").trim_end().to_owned()
    }));
    lines
}

/// One digit behind the point as long as that says something; groups of three from there on.
fn short(number: f64) -> String {
    if number < 100.0 { format!("{number:.1}") } else { grouped(number) }
}

/// Without what is behind the point, in groups of three digits. The sum of no numbers is -0, which is told as 0.
fn grouped(number: f64) -> String {
    let digits = format!("{:.0}", number + 0.0);
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(seconds: u64, calls: u64, busy_us: u64) -> Snapshot {
        Snapshot::of(&format!(
            "# Server\r\nserver_name:corelane\r\ncorelane_version:1.2.3\r\nuptime_in_seconds:{seconds}\r\n\
             server_time_usec:{}\r\nconnected_clients:1204\r\nused_memory_human:1.00M\r\nused_memory_rss_human:2.00M\r\n\
             used_cpu_sys:{seconds}.5\r\nused_cpu_user:0.5\r\ndb0:keys=2000,expires=0,avg_ttl=0\r\ndb3:keys=1,expires=0,avg_ttl=0\r\n\
             lane_id:0\r\nlane0:busy_percent=1.0,busy_us={busy_us},polled_us=0,clients=600,keys=1001,processed={calls},turns=1,\
             max_turn_us=412,queue_delay_p50_us=1.200,queue_delay_p99_us=12.300,queue_delay_p99.9_us=1045.000\r\n\
             stage_usec_string_ready:samples={calls},usec={}.000,p50=1.000,p99=12.300,max=1.000\r\n\
             stage_usec_string_total:samples={calls},usec={}.000,p50=1.000,p99=63.200,max=1.000\r\n\
             cmdstat_get:calls={calls},usec={calls},usec_per_call=1.00,rejected_calls=0,failed_calls=0\r\n\
             cmdstat_info:calls=3,usec=9,usec_per_call=3.00,rejected_calls=0,failed_calls=0\r\n\
             latency_percentiles_usec_get:p50=0.200,p99=0.400,p99.9=1.100\r\n",
            seconds * 1_000_000,
            calls * 2,
            calls * 7,
        ))
    }

    #[test]
    fn a_page_is_about_the_time_since_the_last() {
        let (before, now) = (info(93_782, 1_000_000, 5_000_000), info(93_784, 1_800_000, 6_000_000));
        let page = page("here:1", &now, Some(&before));
        let text = page.join("\n");
        assert_eq!(page[0], "corelane 1.2.3 · here:1 · up 1 d 02:03:04");
        assert_eq!(
            page[1],
            "400,000 requests/s   1,204 clients   2,001 keys   used 1.00M   RSS 2.00M   CPU 1.00 cores"
        );
        assert!(text.contains(&format!("   0  {}{}  50 %", "▇".repeat(10), "·".repeat(10))), "{text}");
        assert!(text.contains("1,001              1.2     12.3    1,045       412"), "{text}");
        assert!(text.contains("\nstring             2.0      0.0"), "{text}");
        assert!(text.contains("7.0     400,000\n  p99             12.3"), "{text}");
        assert!(text.contains("get                       400,000        1.00       0.2       0.4       1.1"), "{text}");
        assert!(!text.contains("info"), "what was not called is not shown: {text}");
        assert!(page.iter().all(|line| line.chars().count() <= 120), "{text}");
    }

    #[test]
    fn the_first_page_is_about_all_the_time_and_a_reset_begins_anew() {
        let first = page("x", &info(2, 1000, 0), None);
        assert!(first[1].starts_with("500 requests/s"), "{}", first[1]);
        let after_reset = page("x", &info(3, 100, 0), Some(&info(2, 1000, 0)));
        assert!(after_reset[1].starts_with("100 requests/s"), "{}", after_reset[1]);
        assert!(page("x", &Snapshot::default(), None).join("\n").contains("tells of no lanes"));
    }

    #[test]
    fn the_sum_of_no_keys_is_told_as_none() {
        assert_eq!([grouped(std::iter::empty::<f64>().sum()), grouped(1234.5)], ["0", "1,234"]);
    }
}
