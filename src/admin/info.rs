//! INFO: a table of sections, each a function that writes its fields. Field names are Redis's, which exporters and clients
//! read; fields of ours stand after them.

use std::fmt::Write as _;

use super::acl::Reason;
use super::durations::Durations;
use super::facts::LaneLine;
use super::gauges::LaneGauges;
use super::journal::{Asked, JournalFacts, LoadingFacts};
use super::memory::Sizes;
use super::process::Process;
use super::stats::{CommandStats, Stats};
use crate::base::lags::Lags;
use crate::base::time::Now;
use crate::config::Config;

/// Whatever INFO tells comes from here.
pub struct Facts<'a> {
    pub config: &'a Config,
    pub stats: &'a Stats,
    pub gauges: &'a LaneGauges,
    pub store: StoreFacts,
    pub stalls: StallFacts,
    pub process: Process,
    pub now: Now,
    pub clients: usize,
    pub client_memory: usize,
    pub blocked_clients: usize,
    pub journal: JournalFacts,
    pub identity: &'a Identity,
    /// Asked on the port of one lane, where the server looks like a cluster.
    pub cluster: bool,
    pub redis_version: &'static str,
    /// Name of the command with this number.
    pub command_names: &'a dyn Fn(u16) -> &'static str,
    /// Name of the family with this number.
    pub family_names: &'a dyn Fn(usize) -> &'static str,
    pub lanes: &'a [LaneLine],
}

/// What held the lane.
#[derive(Clone, Copy, Debug, Default)]
pub struct StallFacts {
    pub max_turn_us: u64,
    pub what: &'static str,
    pub part_us: u64,
    /// By the wall, the longest turn in which the scheduler took the core away; `max_turn_us` is processor time.
    pub max_turn_preempted_us: u64,
}

/// What the store counts.
#[derive(Clone, Debug, Default)]
pub struct StoreFacts {
    /// Keys, values, their tables and deadlines.
    pub bytes_used: usize,
    /// The most that was, as seen about once a second; of several lanes the sum.
    pub bytes_peak: usize,
    /// The tables and deadlines of it.
    pub overhead_bytes: usize,
    /// Entries and values: of strings, lists, sets, sorted sets, hashes, streams.
    pub bytes_by_kind: [usize; 6],
    pub is_freeing: bool,
    pub expired: u64,
    pub expired_fields: u64,
    pub evicted: u64,
    pub hits: u64,
    pub misses: u64,
    pub expire_lag_us: u64,
    pub expire_lag_max_us: u64,
    pub expire_lags: Lags,
    /// Those that hold any keys, in order.
    pub databases: Vec<DbFacts>,
}

/// A database that holds keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DbFacts {
    pub number: usize,
    pub keys: usize,
    /// Keys with a deadline.
    pub expiring: usize,
    /// Hashes of which fields have one.
    pub expiring_inside: usize,
    pub table_bytes: usize,
    /// Of the indices of deadlines.
    pub deadline_bytes: usize,
}

/// Facts of the process that do not change while it runs.
#[derive(Clone, Debug, Default)]
pub struct Identity {
    /// Forty hexadecimal digits, new in every run.
    pub run_id: String,
    pub pid: u32,
    pub started_ms: u64,
    pub lane: u16,
    pub lanes: u16,
    /// The port this lane's clients connect to.
    pub port: u16,
    pub executable: String,
    pub config_file: String,
    pub os: String,
}

/// The name of the ring, which only `runtime/` may otherwise speak.
const MULTIPLEXING_API: &str = concat!("io", "_uring");

struct Section {
    /// As a client names it, in lower case.
    name: &'static str,
    title: &'static str,
    /// Whether INFO without arguments shows it.
    default: bool,
    write: fn(&Facts<'_>, &mut Page),
}

const SECTIONS: &[Section] = &[
    Section { name: "server", title: "Server", default: true, write: server },
    Section { name: "clients", title: "Clients", default: true, write: clients },
    Section { name: "memory", title: "Memory", default: true, write: memory },
    Section { name: "persistence", title: "Persistence", default: true, write: persistence },
    Section { name: "stats", title: "Stats", default: true, write: stats },
    Section { name: "replication", title: "Replication", default: true, write: replication },
    Section { name: "cpu", title: "CPU", default: true, write: cpu },
    Section { name: "modules", title: "Modules", default: true, write: |_, _| {} },
    Section { name: "commandstats", title: "Commandstats", default: false, write: commandstats },
    Section { name: "errorstats", title: "Errorstats", default: true, write: errorstats },
    Section { name: "latencystats", title: "Latencystats", default: false, write: latencystats },
    Section {
        name: "cluster",
        title: "Cluster",
        default: true,
        write: |facts, page| page.line("cluster_enabled", u8::from(facts.cluster)),
    },
    Section { name: "keyspace", title: "Keyspace", default: true, write: keyspace },
    Section { name: "lane", title: "Lane", default: true, write: lane },
    Section { name: "lanes", title: "Lanes", default: true, write: lanes },
    Section { name: "stages", title: "Stages", default: false, write: stages },
];

/// The text of the wanted sections, or of the default ones when none is named.
pub fn page(facts: &Facts<'_>, wanted: &[&[u8]]) -> String {
    let named = |name: &str| wanted.iter().any(|word| word.eq_ignore_ascii_case(name.as_bytes()));
    let everything = named("all") || named("everything");
    let defaults = wanted.is_empty() || named("default");
    let mut page = Page(String::new());
    for section in SECTIONS {
        if everything || named(section.name) || (defaults && section.default) {
            page.begin(section.title);
            (section.write)(facts, &mut page);
        }
    }
    page.0
}

struct Page(String);

impl Page {
    fn begin(&mut self, title: &str) {
        let gap = if self.0.is_empty() { "" } else { "\r\n" };
        write!(self.0, "{gap}# {title}\r\n").expect("writing to a String does not fail");
    }

    fn line(&mut self, field: &str, value: impl std::fmt::Display) {
        write!(self.0, "{field}:{value}\r\n").expect("writing to a String does not fail");
    }
}

fn server(facts: &Facts<'_>, page: &mut Page) {
    let identity = facts.identity;
    let uptime = facts.now.millis().0.saturating_sub(identity.started_ms) / 1000;
    page.line("redis_version", facts.redis_version);
    page.line("server_name", "corelane");
    page.line("corelane_version", env!("CARGO_PKG_VERSION"));
    page.line("redis_mode", if facts.cluster { "cluster" } else { "standalone" });
    page.line("os", &identity.os);
    page.line("arch_bits", usize::BITS);
    page.line("multiplexing_api", MULTIPLEXING_API);
    page.line("process_id", identity.pid);
    page.line("run_id", &identity.run_id);
    page.line("tcp_port", identity.port);
    page.line("server_time_usec", facts.now.unix_us);
    page.line("uptime_in_seconds", uptime);
    page.line("uptime_in_days", uptime / 86_400);
    page.line("hz", 10);
    page.line("executable", &identity.executable);
    page.line("config_file", &identity.config_file);
    page.line("lanes", identity.lanes);
}

fn clients(facts: &Facts<'_>, page: &mut Page) {
    page.line("connected_clients", facts.clients);
    page.line("cluster_connections", 0);
    page.line("maxclients", facts.config.maxclients());
    page.line("client_memory", facts.client_memory);
    page.line("blocked_clients", facts.blocked_clients);
    page.line("tracking_clients", 0);
}

/// `used_memory` is what the store and the connections hold, exact to the allocator's classes; what the allocator holds beyond that is the
/// difference to the resident size.
fn memory(facts: &Facts<'_>, page: &mut Page) {
    let Sizes { used, peak, overhead, dataset, .. } = Sizes::of(facts);
    let (process, limit) = (facts.process, facts.config.maxmemory_bytes());
    let mut sizes = |field: &str, bytes: u64| {
        page.line(field, bytes);
        page.line(&format!("{field}_human"), human(bytes));
    };
    sizes("used_memory", used);
    sizes("used_memory_rss", process.rss_bytes);
    sizes("used_memory_peak", peak);
    page.line("used_memory_peak_perc", percent(used, peak));
    page.line("used_memory_peak_rss", process.rss_peak_bytes);
    page.line("used_memory_overhead", overhead);
    page.line("used_memory_startup", 0);
    page.line("used_memory_dataset", dataset);
    page.line("used_memory_dataset_perc", percent(dataset, used));
    page.line("used_memory_clients_normal", facts.client_memory);
    let kinds = ["strings", "lists", "sets", "zsets", "hashes", "streams"];
    for (kind, bytes) in kinds.iter().zip(facts.store.bytes_by_kind) {
        page.line(&format!("used_memory_{kind}"), bytes);
    }
    page.line("allocator_allocated", used);
    page.line("allocator_active", process.rss_bytes);
    page.line("allocator_resident", process.rss_bytes);
    page.line("total_system_memory", process.system_bytes);
    page.line("total_system_memory_human", human(process.system_bytes));
    page.line("maxmemory", limit);
    page.line("maxmemory_human", human(limit));
    page.line("maxmemory_policy", facts.config.maxmemory_policy());
    page.line("mem_fragmentation_ratio", format!("{:.2}", process.rss_bytes as f64 / used.max(1) as f64));
    page.line("mem_fragmentation_bytes", process.rss_bytes.saturating_sub(used));
    page.line("mem_clients_normal", facts.client_memory);
    page.line("mem_clients_slaves", 0);
    page.line("mem_replication_backlog", 0);
    page.line("mem_aof_buffer", 0);
    page.line("mem_allocator", "mimalloc");
    page.line("active_defrag_running", 0);
    page.line("lazyfree_pending_objects", u8::from(facts.store.is_freeing));
}

fn percent(part: u64, whole: u64) -> String {
    format!("{:.2}%", part as f64 * 100.0 / whole.max(1) as f64)
}

pub(super) fn human(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "K", "M", "G", "T"] {
        if value < 1024.0 || unit == "T" {
            return if unit == "B" { format!("{bytes}B") } else { format!("{value:.2}{unit}") };
        }
        value /= 1024.0;
    }
    unreachable!("the last unit takes whatever is left")
}

/// Fields that clients and exporters expect; there are no snapshots yet, nothing forks, and no sync holds up a write.
///
/// Without snapshots the last one is that which the server began with, as in Redis.
fn persistence(facts: &Facts<'_>, page: &mut Page) {
    let journal = &facts.journal;
    page.line("loading", u8::from(journal.loading.is_some()));
    page.line("async_loading", 0);
    for field in ["current_cow_peak", "current_cow_size", "current_cow_size_age"] {
        page.line(field, 0);
    }
    page.line("current_fork_perc", "0.00");
    for field in ["current_save_keys_processed", "current_save_keys_total", "rdb_bgsave_in_progress"] {
        page.line(field, 0);
    }
    page.line("rdb_last_save_time", facts.identity.started_ms / 1000);
    page.line("rdb_last_bgsave_status", "ok");
    page.line("rdb_last_bgsave_time_sec", -1);
    page.line("rdb_current_bgsave_time_sec", -1);
    for field in ["rdb_saves", "rdb_last_cow_size", "rdb_last_load_keys_expired", "rdb_last_load_keys_loaded"] {
        page.line(field, 0);
    }
    page.line("aof_enabled", u8::from(facts.config.appendonly()));
    let rewrite = &journal.rewrite;
    let seconds = |seconds: Option<u64>| seconds.map_or_else(|| "-1".to_owned(), |seconds| seconds.to_string());
    let running_s = rewrite.began_s.map(|began_s| (facts.now.unix_us / 1_000_000).saturating_sub(began_s));
    page.line("aof_rewrite_in_progress", u8::from(rewrite.is_under_way()));
    page.line("aof_rewrite_scheduled", u8::from(rewrite.asked == Asked::Later));
    page.line("aof_last_rewrite_time_sec", seconds(rewrite.last_took_s));
    page.line("aof_current_rewrite_time_sec", seconds(running_s));
    page.line("aof_last_bgrewrite_status", if rewrite.has_failed { "err" } else { "ok" });
    page.line("aof_rewrites", rewrite.count);
    page.line("aof_rewrites_consecutive_failures", rewrite.failures);
    page.line("aof_last_write_status", if journal.failed { "err" } else { "ok" });
    for field in ["aof_last_cow_size", "module_fork_in_progress", "module_fork_last_cow_size"] {
        page.line(field, 0);
    }
    if facts.config.appendonly() {
        page.line("aof_current_size", journal.bytes);
        page.line("aof_base_size", rewrite.base_bytes);
        page.line("aof_pending_rewrite", 0);
        page.line("aof_buffer_length", journal.waiting_bytes);
        page.line("aof_pending_bio_fsync", u8::from(journal.unsure_bytes > 0));
        page.line("aof_delayed_fsync", 0);
        page.line("journal_unsure_bytes", journal.unsure_bytes);
        page.line("journal_writes", journal.writes);
        page.line("journal_syncs", journal.syncs);
        page.line("journal_rewrite_kept_bytes", journal.kept_bytes);
    }
    if let Some(LoadingFacts { started_s, bytes, loaded_bytes }) = journal.loading {
        let took_s = (facts.now.unix_us / 1_000_000).saturating_sub(started_s);
        let share = if bytes == 0 { 0.0 } else { loaded_bytes as f64 / bytes as f64 };
        let eta_s = (took_s * bytes.saturating_sub(loaded_bytes)).checked_div(loaded_bytes);
        page.line("loading_start_time", started_s);
        page.line("loading_total_bytes", bytes);
        // There is no file of Redis's to say it.
        page.line("loading_rdb_used_mem", 0);
        page.line("loading_loaded_bytes", loaded_bytes);
        page.line("loading_loaded_perc", format_args!("{:.2}", share * 100.0));
        // Redis says one as long as it does not know.
        page.line("loading_eta_seconds", eta_s.filter(|_| took_s > 0).unwrap_or(1));
    }
}

fn stats(facts: &Facts<'_>, page: &mut Page) {
    let (stats, counters) = (facts.stats, &facts.store);
    page.line("total_connections_received", stats.connections);
    page.line("total_commands_processed", stats.processed);
    page.line("total_net_input_bytes", stats.net_input_bytes);
    page.line("total_net_output_bytes", stats.net_output_bytes);
    page.line("rejected_connections", stats.rejected_connections);
    page.line("expired_keys", counters.expired);
    // Redis's name and Valkey's.
    page.line("expired_subkeys", counters.expired_fields);
    page.line("expired_fields", counters.expired_fields);
    page.line("expire_lag_us", counters.expire_lag_us);
    page.line("expire_lag_p99_us", counters.expire_lags.permille_us(990));
    page.line("expire_lag_max_us", counters.expire_lag_max_us);
    page.line("evicted_keys", counters.evicted);
    page.line("keyspace_hits", counters.hits);
    page.line("keyspace_misses", counters.misses);
    page.line("pubsub_channels", 0);
    page.line("pubsub_patterns", 0);
    page.line("latest_fork_usec", 0);
    page.line("total_error_replies", stats.error_replies);
    page.line("client_query_buffer_limit_disconnections", stats.input_limit_closed);
    page.line("client_output_buffer_limit_disconnections", stats.output_limit_closed);
    page.line("idle_disconnections", stats.idle_closed);
    for reason in Reason::ALL {
        page.line(&format!("acl_access_denied_{}", name_in_info(reason)), stats.denied[reason as usize]);
    }
}

/// Redis shortens one of them here.
const fn name_in_info(reason: Reason) -> &'static str {
    match reason {
        Reason::Command => "cmd",
        other => other.name(),
    }
}

fn replication(facts: &Facts<'_>, page: &mut Page) {
    page.line("role", "master");
    page.line("connected_slaves", 0);
    page.line("master_failover_state", "no-failover");
    page.line("master_replid", &facts.identity.run_id);
    page.line("master_repl_offset", 0);
}

fn cpu(facts: &Facts<'_>, page: &mut Page) {
    let seconds = |us: u64| format!("{}.{:06}", us / 1_000_000, us % 1_000_000);
    page.line("used_cpu_sys", seconds(facts.process.cpu_sys_us));
    page.line("used_cpu_user", seconds(facts.process.cpu_user_us));
}

fn commandstats(facts: &Facts<'_>, page: &mut Page) {
    for (i, command) in facts.stats.commands.iter().enumerate() {
        if *command == CommandStats::default() {
            continue;
        }
        let name = (facts.command_names)(u16::try_from(i).expect("some hundred commands"));
        let total = command.total_us();
        let each = total as f64 / command.calls.max(1) as f64;
        page.line(
            &format!("cmdstat_{name}"),
            format!(
                "calls={},usec={total},usec_per_call={each:.2},rejected_calls={},failed_calls={}",
                command.calls, command.rejected, command.failed
            ),
        );
    }
}

/// Microseconds with three digits, as Redis prints percentiles.
fn micros(ns: u64) -> String {
    format!("{}.{:03}", ns / 1000, ns % 1000)
}

fn latencystats(facts: &Facts<'_>, page: &mut Page) {
    for (i, durations) in facts.stats.durations.iter().enumerate() {
        let Some(durations) = durations else { continue };
        let name = (facts.command_names)(u16::try_from(i).expect("some hundred commands"));
        page.line(&format!("latency_percentiles_usec_{name}"), percentiles(facts, durations));
    }
}

/// Those that `latency-tracking-info-percentiles` names.
fn percentiles(facts: &Facts<'_>, durations: &Durations) -> String {
    let wanted = facts.config.latency_percentiles().iter();
    let each: Vec<String> = wanted.map(|at| format!("p{at}={}", micros(durations.percentile_ns(*at)))).collect();
    each.join(",")
}

/// Where the time of sampled requests went; `admin/stages.rs` says what each stage is.
fn stages(facts: &Facts<'_>, page: &mut Page) {
    let mut line = |field: &str, durations: &Durations| {
        let (count, sum, max) = (durations.count(), micros(durations.sum_ns()), micros(durations.max_ns()));
        let text = percentiles(facts, durations);
        let gap = if text.is_empty() { "" } else { "," };
        page.line(field, format!("samples={count},usec={sum},{text}{gap}max={max}"));
    };
    line("queue_delay_usec", &facts.stats.stages.queue_delay);
    for (number, part, durations) in facts.stats.stages.parts() {
        line(&format!("stage_usec_{}_{part}", (facts.family_names)(number)), durations);
    }
}

fn errorstats(facts: &Facts<'_>, page: &mut Page) {
    let mut codes: Vec<_> = facts.stats.errors.iter().collect();
    codes.sort();
    for (code, count) in codes {
        page.line(&format!("errorstat_{code}"), format!("count={count}"));
    }
}

fn keyspace(facts: &Facts<'_>, page: &mut Page) {
    for DbFacts { number, keys, expiring, expiring_inside, .. } in &facts.store.databases {
        let line = format!("keys={keys},expires={expiring},avg_ttl=0,subexpiry={expiring_inside}");
        page.line(&format!("db{number}"), line);
    }
}

fn lane(facts: &Facts<'_>, page: &mut Page) {
    let gauges = facts.gauges;
    page.line("lane_id", facts.identity.lane);
    let mean = |of: fn(&LaneLine) -> f64| facts.lanes.iter().map(of).sum::<f64>() / facts.lanes.len().max(1) as f64;
    page.line("lane_busy_percent", format!("{:.2}", mean(|lane| lane.busy.busy_percent)));
    page.line("lane_polling_percent", format!("{:.2}", mean(|lane| lane.busy.polling_percent)));
    page.line("lane_busy_us", facts.lanes.iter().map(|lane| lane.busy.busy_us).sum::<u64>());
    page.line("lane_polled_us", facts.lanes.iter().map(|lane| lane.busy.polled_us).sum::<u64>());
    page.line("max_turn_us", facts.stalls.max_turn_us);
    page.line("max_turn_what", facts.stalls.what);
    page.line("max_turn_what_us", facts.stalls.part_us);
    page.line("max_turn_preempted_us", facts.stalls.max_turn_preempted_us);
    for (field, value) in [
        ("lane_turns", gauges.turns),
        ("lane_enters", gauges.enters),
        ("lane_waits", gauges.waits),
        ("lane_spins_paid", gauges.spins_paid),
        ("lane_spins_wasted", gauges.spins_wasted),
        ("lane_receives", gauges.receives),
        ("lane_sends", gauges.sends),
        ("lane_partial_sends", gauges.partial_sends),
        ("lane_accept_errors", gauges.accept_errors),
        ("lane_buffers_exhausted", gauges.buffers_exhausted),
        ("lane_completions_overflowed", gauges.completions_overflowed),
    ] {
        page.line(field, value);
    }
}

/// A line of each lane, as Redis has one of each replica.
fn lanes(facts: &Facts<'_>, page: &mut Page) {
    for lane in facts.lanes {
        let LaneLine { busy, queue_delay_ns: [p50, p99, p99_9], .. } = lane;
        let text = format!(
            "busy_percent={:.2},polling_percent={:.2},busy_us={},polled_us={},clients={},keys={},processed={},turns={},\
             max_turn_us={},queue_delay_p50_us={},queue_delay_p99_us={},queue_delay_p99.9_us={}",
            busy.busy_percent,
            busy.polling_percent,
            busy.busy_us,
            busy.polled_us,
            lane.clients,
            lane.keys,
            lane.processed,
            lane.turns,
            lane.max_turn_us,
            micros(*p50),
            micros(*p99),
            micros(*p99_9),
        );
        page.line(&format!("lane{}", lane.lane), text);
    }
}
