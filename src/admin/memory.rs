//! MEMORY STATS and MEMORY DOCTOR, and the sizes that INFO memory shows: where the memory is, and what is odd about it. All sizes are bytes.

use std::fmt::Write as _;

use super::info::{DbFacts, Facts, human};
use crate::wire::reply::Reply;

/// Of so little nothing can be said.
const TOO_LITTLE_BYTES: u64 = 5 << 20;

/// What the facts say of memory.
pub(super) struct Sizes {
    pub(super) used: u64,
    pub(super) peak: u64,
    clients: u64,
    /// All but the entries and values: tables, deadlines, clients.
    pub(super) overhead: u64,
    pub(super) dataset: u64,
    keys: u64,
    rss: u64,
}

impl Sizes {
    pub(super) fn of(facts: &Facts<'_>) -> Self {
        let (store, clients) = (&facts.store, facts.client_memory as u64);
        let used = store.bytes_used as u64 + clients;
        let overhead = store.overhead_bytes as u64 + clients;
        Self {
            used,
            peak: (store.bytes_peak as u64).max(used),
            clients,
            overhead,
            dataset: used - overhead,
            keys: store.databases.iter().map(|db| db.keys as u64).sum(),
            rss: facts.process.rss_bytes,
        }
    }
}

enum Field {
    Bytes(u64),
    Ratio(f64),
}

/// Fields and their order are Redis's. Nothing is taken at start that is told apart here, and no replica, script or cluster link holds any.
pub fn stats(facts: &Facts<'_>, reply: &mut Reply<'_>) {
    use Field::{Bytes, Ratio};
    let sizes = Sizes::of(facts);
    let share = |part: u64, of: u64| Ratio(part as f64 * 100.0 / of.max(1) as f64);
    let ratio = |part: u64, of: u64| Ratio(part as f64 / of.max(1) as f64);
    let before = [
        ("peak.allocated", Bytes(sizes.peak)),
        ("total.allocated", Bytes(sizes.used)),
        ("startup.allocated", Bytes(0)),
        ("replication.backlog", Bytes(0)),
        ("clients.slaves", Bytes(0)),
        ("clients.normal", Bytes(sizes.clients)),
        ("cluster.links", Bytes(0)),
        ("aof.buffer", Bytes(0)),
        ("lua.caches", Bytes(0)),
        ("functions.caches", Bytes(0)),
    ];
    let after = [
        ("overhead.total", Bytes(sizes.overhead)),
        ("keys.count", Bytes(sizes.keys)),
        ("keys.bytes-per-key", Bytes(sizes.used / sizes.keys.max(1) * u64::from(sizes.keys > 0))),
        ("dataset.bytes", Bytes(sizes.dataset)),
        ("dataset.percentage", share(sizes.dataset, sizes.used)),
        ("peak.percentage", share(sizes.used, sizes.peak)),
        ("allocator.allocated", Bytes(sizes.used)),
        ("allocator.active", Bytes(sizes.rss)),
        ("allocator.resident", Bytes(sizes.rss)),
        ("allocator-fragmentation.ratio", ratio(sizes.rss, sizes.used)),
        ("allocator-fragmentation.bytes", Bytes(sizes.rss.saturating_sub(sizes.used))),
        ("allocator-rss.ratio", Ratio(1.0)),
        ("allocator-rss.bytes", Bytes(0)),
        ("rss-overhead.ratio", Ratio(1.0)),
        ("rss-overhead.bytes", Bytes(0)),
        ("fragmentation", ratio(sizes.rss, sizes.used)),
        ("fragmentation.bytes", Bytes(sizes.rss.saturating_sub(sizes.used))),
    ];
    let databases = &facts.store.databases;
    reply.map(before.len() + databases.len() + after.len());
    before.into_iter().for_each(|(name, field)| write(name, field, reply));
    for DbFacts { number, table_bytes, deadline_bytes, .. } in databases {
        reply.text(&format!("db.{number}"));
        reply.map(2);
        write("overhead.hashtable.main", Bytes(*table_bytes as u64), reply);
        write("overhead.hashtable.expires", Bytes(*deadline_bytes as u64), reply);
    }
    after.into_iter().for_each(|(name, field)| write(name, field, reply));
}

fn write(name: &str, field: Field, reply: &mut Reply<'_>) {
    reply.text(name);
    match field {
        Field::Bytes(bytes) => reply.unsigned(bytes),
        Field::Ratio(ratio) => reply.double(ratio),
    }
}

/// What is odd, and what to do about it.
pub fn report(facts: &Facts<'_>) -> String {
    let sizes = Sizes::of(facts);
    if sizes.used < TOO_LITTLE_BYTES {
        return "This server holds next to nothing: of so little memory nothing can be said.\n".into();
    }
    let per_client = sizes.clients / (facts.clients as u64).max(1);
    let limit = facts.config.maxmemory_bytes();
    let idle = sizes.rss.saturating_sub(sizes.used);
    let findings = [
        (
            sizes.peak > sizes.used / 2 * 3,
            format!(
                "Peak: {} were held once and {} are now. What the difference took is given back lazily; MEMORY PURGE asks for it at once.",
                human(sizes.peak),
                human(sizes.used)
            ),
        ),
        (
            idle > 10 << 20 && idle > sizes.used / 5 * 2,
            format!(
                "Fragmentation: {} are resident, {} more than is in use. Values of changing sizes leave gaps; MEMORY PURGE gives back whole pages.",
                human(sizes.rss),
                human(idle)
            ),
        ),
        (
            per_client > 200 << 10,
            format!(
                "Clients: each holds {} on the average. Look in CLIENT LIST for those with a large qbuf or omem, who send much at once or do not \
                 read; client-output-buffer-limit and client-query-buffer-limit bound them.",
                human(per_client)
            ),
        ),
        (
            limit > 0 && sizes.used > limit / 10 * 9,
            format!("Limit: {} of maxmemory {} are in use; soon writes are refused.", human(sizes.used), human(limit)),
        ),
        (
            limit == 0 && facts.process.system_bytes > 0 && sizes.rss > facts.process.system_bytes / 10 * 8,
            format!(
                "Machine: {} of {} are this process's, and there is no maxmemory; when there is no more, the kernel ends it.",
                human(sizes.rss),
                human(facts.process.system_bytes)
            ),
        ),
    ];
    let mut text = String::new();
    for (_, finding) in findings.iter().filter(|(holds, _)| *holds) {
        writeln!(text, "* {finding}").expect("writing to a String does not fail");
    }
    if text.is_empty() { "Nothing about the memory of this server is odd.\n".into() } else { text }
}
