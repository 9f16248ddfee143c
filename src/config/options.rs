//! Every option there is, one row each. The file parser, the command line, CONFIG GET and SET and `--help` all walk this
//! table and nothing else knows an option by name, except the typed accessors in `mod.rs`, whose names are looked up here
//! at compile time.
//!
//! ```text
//!   row(group, name, alias, kind, default, change, effect, help)
//!                      |      |      |        |       `- what the option does here: it works, is accepted without meaning,
//!                      |      |      |        |          or is refused because what it promises is not built yet
//!                      |      |      |        `--------- when a new value takes hold, and so whether CONFIG SET may set it
//!                      |      |      `------------------ as text, parsed by the same code as a line of the file
//!                      |      `------------------------- the syntax and its bounds
//!                      `-------------------------------- the older name; Redis lists both in CONFIG GET, and so do we
//! ```
//!
//! Names, bounds and defaults are those of Redis 7.2, so that its redis.conf loads as it is. Where a default or a right to
//! change differs on purpose, the help of the row says why.

use crate::base::limits::LANES_MAX;

/// One option.
#[derive(Debug)]
pub struct Row {
    pub group: Group,
    pub name: &'static str,
    /// The older spelling, empty if there is none.
    pub alias: &'static str,
    pub kind: Kind,
    pub default: &'static str,
    pub change: Change,
    pub effect: Effect,
    pub help: &'static str,
}

/// The headings of `--help`, in its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    Lanes,
    Network,
    Security,
    Process,
    Clients,
    Memory,
    Encodings,
    Observation,
    Persistence,
    Replication,
    Cluster,
    Scripts,
    Tls,
    Internal,
}

/// How the value is written.
#[derive(Debug)]
pub enum Kind {
    /// `yes` or `no`.
    Bool,
    Integer {
        min: i64,
        max: i64,
    },
    /// An integer that is moved into its bounds instead of refused, if it is not negative.
    Clamped {
        min: i64,
        max: i64,
    },
    /// Bytes, with the units b k kb m mb g gb.
    Memory {
        min: u64,
    },
    /// Bytes, or a share of maxmemory as `5%`.
    MemoryOrPercent,
    /// `auto`, or an integer.
    Auto {
        min: i64,
        max: i64,
    },
    /// File permission bits in octal.
    Octal,
    Choice(&'static [&'static str]),
    /// Several words of a set, as in `save now`.
    Choices(&'static [&'static str]),
    Text,
    /// What a file or directory of this kind is called, which lies in `dir`.
    PlainName(&'static str),
    /// Text with variables in braces, all of which must be known.
    Template(&'static [&'static str]),
    /// Any number of words up to a bound.
    Words {
        max: usize,
    },
    /// A host and a port, or `no one`.
    HostPort,
    Save,
    OutputLimits,
    Events,
    Percentiles,
    OomScores,
    /// A line of the file that is no option: CONFIG GET and SET do not know it.
    Directive(Directive),
}

/// Lines that do something else than give an option its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Directive {
    Include,
    RenameCommand,
    User,
    /// Promises something that is not built yet.
    Refused,
    /// Meant something in a release of Redis long ago.
    Obsolete,
}

/// When a new value takes hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// With the next request.
    Live,
    /// For connections that come after it.
    NewClients,
    /// At start only.
    Start,
    /// As `Live`, but a client may set it only if `enable-protected-configs` lets it.
    Protected,
    /// As `Live`, and CONFIG GET shows it only to those who name it.
    Hidden,
}

/// What the option does in this server.
#[derive(Debug)]
pub enum Effect {
    Works,
    /// Any legal value is taken and changes nothing, for this reason.
    Accepted(&'static str),
    /// The default is taken; another value is refused, since the server would not keep the promise.
    Later(&'static str),
}

use Change::{Hidden, Live, NewClients, Protected, Start};
use Effect::{Accepted, Later, Works};
use Group::{
    Clients, Cluster, Encodings, Internal, Lanes, Memory, Network, Observation, Persistence, Process, Replication,
    Scripts, Security, Tls,
};
use Kind::{Bool, Choice, Choices, Text};

/// The largest `int` and `long long` of C, which are Redis's bounds for most numbers.
const INT: i64 = i32::MAX as i64;
const LONG: i64 = i64::MAX;

const fn int(min: i64, max: i64) -> Kind {
    Kind::Integer { min, max }
}

const fn mem(min: u64) -> Kind {
    Kind::Memory { min }
}

const fn words(max: usize) -> Kind {
    Kind::Words { max }
}

#[expect(clippy::too_many_arguments, reason = "the columns of the table, in order; only the table calls it")]
const fn row(
    group: Group,
    name: &'static str,
    alias: &'static str,
    kind: Kind,
    default: &'static str,
    change: Change,
    effect: Effect,
    help: &'static str,
) -> Row {
    Row { group, name, alias, kind, default, change, effect, help }
}

/// The row of `name`, at compile time: a misspelt name does not build.
pub(super) const fn index(name: &str) -> usize {
    let mut at = 0;
    while at < ROWS.len() {
        if same(ROWS[at].name, name) {
            return at;
        }
        at += 1;
    }
    panic!("no such option");
}

const fn same(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    if a.len() != b.len() {
        return false;
    }
    let mut at = 0;
    while at < a.len() {
        if a[at] != b[at] {
            return false;
        }
        at += 1;
    }
    true
}

const YES_LOCAL: &[&str] = &["no", "yes", "local"];
const SHUTDOWN: &[&str] = &["default", "save", "nosave", "now", "force"];
const FACILITIES: &[&str] = &["user", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7"];
const POLICIES: &[&str] = &[
    "volatile-lru",
    "volatile-lfu",
    "volatile-random",
    "volatile-ttl",
    "allkeys-lru",
    "allkeys-lfu",
    "allkeys-random",
    "noeviction",
];
const TITLE_VARIABLES: &[&str] =
    &["title", "listen-addr", "server-mode", "port", "tls-port", "unixsocket", "config-file"];

const NO_JOURNAL: &str = "the journal is Corelane's own, which does without it";
const NO_EVICTION: &str = "eviction is not built yet; above maxmemory writes are refused";
const NO_TYPE: &str = "the type is not built yet";
const FOREGROUND: &str = "the server stays in the foreground; run it under a supervisor";
const NO_SNAPSHOT: &str = "snapshots are not written yet";
const NO_REPLICA: &str = "replication is not built yet";
const NO_CLUSTER: &str = "cluster mode is not built yet";
const NO_TLS: &str = "TLS is not built yet";
const NO_FORK: &str = "nothing is forked here";
const IN_SLICES: &str = "values are always freed in slices here";
const NO_DEFRAG: &str = "there is no defragmentation pass";
const BY_DEADLINE: &str = "keys expire by an exact index of deadlines, not by sampling";
const PINNED: &str = "lanes are pinned by `cpus`";
const TEST_ONLY: &str = "a switch of Redis's own tests";

/// The table, grouped as `--help` prints it.
#[rustfmt::skip]
pub const ROWS: &[Row] = &[
    row(Lanes, "lanes", "", Kind::Auto { min: 1, max: LANES_MAX as i64 }, "auto", Start, Works, "Number of lanes, each one pinned thread; auto: one for each CPU that the affinity mask allows and the cgroup's quota pays for"),
    row(Lanes, "cpus", "", Text, "", Start, Works, "CPUs for the lanes, as 0-3,8; empty: every CPU the process may use"),
    row(Lanes, "shard-port", "", int(0, 65535), "0", Start, Works, "Lane i also listens on this port + i, for cluster clients, which then send each key to the lane that owns it; 0: off"),
    row(Lanes, "shard-port-moved", "", Bool, "no", Live, Works, "Answer MOVED on a shard port for keys of other lanes instead of forwarding them"),
    row(Lanes, "pipeline-order", "", Choice(&["strict", "relaxed"]), "strict", Live, Works, "Whether a write waits until earlier requests of its connection on other lanes are answered; relaxed: it does not"),
    row(Lanes, "poll-us", "", Kind::Auto { min: 0, max: 1_000_000 }, "auto", Live, Works, "Microseconds a lane spins before it sleeps; auto adapts to the load"),
    row(Lanes, "io-threads", "", int(1, 128), "1", Start, Accepted("every lane does its own input and output: see `lanes`"), "Threads for socket I/O in Redis"),
    row(Lanes, "io-threads-do-reads", "", Bool, "no", Start, Accepted("every lane does its own input and output"), "Whether Redis's I/O threads read too"),
    row(Lanes, "server_cpulist", "server-cpulist", Text, "", Start, Accepted(PINNED), "CPUs of Redis's main thread"),
    row(Lanes, "bio_cpulist", "bio-cpulist", Text, "", Start, Accepted(PINNED), "CPUs of Redis's background threads"),
    row(Lanes, "aof_rewrite_cpulist", "aof-rewrite-cpulist", Text, "", Start, Accepted(NO_FORK), "CPUs of Redis's journal rewrite"),
    row(Lanes, "bgsave_cpulist", "bgsave-cpulist", Text, "", Start, Accepted(NO_FORK), "CPUs of Redis's snapshot process"),

    row(Network, "bind", "", words(16), "127.0.0.1 -::1", Start, Works, "Addresses to listen on; a leading - makes one optional (Redis: all addresses; here only loopback until asked)"),
    row(Network, "port", "", int(0, 65535), "6379", Start, Works, "TCP port; 0 listens on none (Redis can move it while running; here listeners are bound once)"),
    row(Network, "tcp-backlog", "", int(0, INT), "511", Start, Works, "Connections the kernel queues before they are accepted"),
    row(Network, "timeout", "", int(0, INT), "0", Live, Works, "Seconds after which an idle connection is closed; 0: never"),
    row(Network, "tcp-keepalive", "", int(0, INT), "300", NewClients, Works, "Seconds between TCP keepalive probes; 0: none"),
    row(Network, "unixsocket", "", Text, "", Start, Later("unix sockets are not built yet"), "Path of a unix socket"),
    row(Network, "unixsocketperm", "", Kind::Octal, "0", Start, Accepted("unix sockets are not built yet"), "Permission bits of the unix socket"),
    row(Network, "bind-source-addr", "", Text, "", Live, Accepted(NO_REPLICA), "Address that outgoing connections come from"),
    row(Network, "socket-mark-id", "", int(0, u32::MAX as i64), "0", Start, Later("socket marks are not set yet"), "Mark put on every socket"),
    row(Network, "max-new-connections-per-cycle", "", int(1, 1000), "10", Live, Accepted("the ring accepts in batches"), "Connections Redis accepts per event loop"),
    row(Network, "max-new-tls-connections-per-cycle", "", int(1, 1000), "1", Live, Accepted(NO_TLS), "TLS connections Redis accepts per event loop"),

    row(Security, "protected-mode", "", Bool, "yes", Live, Works, "Refuse clients from elsewhere while there is no password and no explicit bind"),
    row(Security, "requirepass", "", Text, "", Live, Works, "Password of the default user"),
    row(Security, "aclfile", "", Text, "", Start, Works, "File with the users and their rights"),
    row(Security, "acllog-max-len", "", int(0, LONG), "128", Live, Works, "Entries kept by ACL LOG"),
    row(Security, "acl-pubsub-default", "", Choice(&["allchannels", "resetchannels"]), "resetchannels", Live, Works, "Channels a new user may reach"),
    row(Security, "enable-protected-configs", "", Choice(YES_LOCAL), "no", Start, Works, "Who may change protected options"),
    row(Security, "enable-debug-command", "", Choice(YES_LOCAL), "no", Start, Works, "Who may call DEBUG"),
    row(Security, "enable-module-command", "", Choice(YES_LOCAL), "no", Start, Accepted("there are no modules"), "Who may call MODULE"),
    row(Security, "user", "", Kind::Directive(Directive::User), "", Start, Works, "A user and its rights"),
    row(Security, "rename-command", "", Kind::Directive(Directive::RenameCommand), "", Start, Works, "Another name for a command, or \"\" to remove it"),

    row(Process, "include", "", Kind::Directive(Directive::Include), "", Start, Works, "Read another file at this place"),
    row(Process, "loadmodule", "", Kind::Directive(Directive::Refused), "", Start, Later("modules are not supported"), "Load a module"),
    row(Process, "daemonize", "", Bool, "no", Start, Accepted(FOREGROUND), "Run in the background"),
    row(Process, "supervised", "", Choice(&["upstart", "systemd", "auto", "no"]), "no", Start, Accepted(FOREGROUND), "Report readiness to this supervisor"),
    row(Process, "pidfile", "", Text, "", Start, Works, "File to write the process id to"),
    row(Process, "loglevel", "", Choice(&["debug", "verbose", "notice", "warning"]), "notice", Live, Accepted("there are only lines of level notice and above"), "Least important line to log"),
    row(Process, "logfile", "", Text, "", Start, Works, "File to log to; empty: standard output"),
    row(Process, "dir", "", Text, ".", Protected, Works, "Working directory (Redis prints it as an absolute path)"),
    row(Process, "databases", "", int(1, INT), "16", Start, Works, "Number of databases"),
    row(Process, "syslog-enabled", "", Bool, "no", Start, Later("logging to syslog is not built yet"), "Log to syslog too"),
    row(Process, "syslog-ident", "", Text, "redis", Start, Accepted("logging to syslog is not built yet"), "Name in syslog"),
    row(Process, "syslog-facility", "", Choice(FACILITIES), "local0", Start, Accepted("logging to syslog is not built yet"), "Facility in syslog"),
    row(Process, "always-show-logo", "", Bool, "no", Start, Accepted("there is no logo"), "Print the logo at start"),
    row(Process, "set-proc-title", "", Bool, "yes", Start, Accepted("the process keeps its own title"), "Change the title of the process"),
    row(Process, "proc-title-template", "", Kind::Template(TITLE_VARIABLES), "{title} {listen-addr} {server-mode}", Live, Accepted("the process keeps its own title"), "Title of the process"),
    row(Process, "locale-collate", "", Text, "", Live, Accepted("strings are compared by bytes"), "Locale that strings are sorted by"),
    row(Process, "disable-thp", "", Bool, "yes", Start, Works, "Turn transparent huge pages off"),
    row(Process, "oom-score-adj", "", Choice(&["no", "yes", "relative", "absolute"]), "no", Live, Accepted(NO_FORK), "Tell the kernel whom to kill first"),
    row(Process, "oom-score-adj-values", "", Kind::OomScores, "0 200 800", Live, Accepted(NO_FORK), "Scores of primary, replica and child"),
    row(Process, "crash-log-enabled", "", Bool, "yes", Live, Accepted("a panic always reports"), "Write a report on a crash"),
    row(Process, "crash-memcheck-enabled", "", Bool, "yes", Live, Accepted("memory is not tested on a crash"), "Test memory on a crash"),
    row(Process, "use-exit-on-panic", "", Bool, "no", Hidden, Accepted(TEST_ONLY), "Exit instead of abort on a panic"),
    row(Process, "ignore-warnings", "", Text, "", Live, Accepted("the kernel bug it silences is in fork"), "Warnings to start in spite of"),
    row(Process, "shutdown-timeout", "", int(0, INT), "10", Live, Accepted(NO_REPLICA), "Seconds a shutdown waits for replicas"),
    row(Process, "shutdown-on-sigint", "", Choices(SHUTDOWN), "default", Live, Accepted(NO_SNAPSHOT), "How SIGINT shuts down"),
    row(Process, "shutdown-on-sigterm", "", Choices(SHUTDOWN), "default", Live, Accepted(NO_SNAPSHOT), "How SIGTERM shuts down"),
    row(Process, "hz", "", Kind::Clamped { min: 1, max: 500 }, "10", Live, Accepted("timers fire at their deadline"), "Background runs per second in Redis"),
    row(Process, "dynamic-hz", "", Bool, "yes", Live, Accepted("timers fire at their deadline"), "Let hz follow the number of clients"),

    row(Clients, "maxclients", "", int(1, u32::MAX as i64), "10000", Live, Works, "Connections at one time, over all lanes"),
    row(Clients, "client-output-buffer-limit", "", Kind::OutputLimits, "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60", Live, Works, "Unread output that closes a connection: class, hard, soft, seconds"),
    row(Clients, "client-query-buffer-limit", "", mem(1 << 20), "1073741824", Live, Works, "Unparsed input one connection may hold"),
    row(Clients, "proto-max-bulk-len", "", mem(1 << 20), "536870912", Live, Works, "Longest single argument"),
    row(Clients, "tracking-table-max-keys", "", int(0, LONG), "1000000", Live, Accepted("client tracking is not built yet"), "Keys remembered for client caches"),

    row(Memory, "maxmemory", "", mem(0), "0", Live, Works, "Bytes of data at which keys are evicted or writes refused; 0: no limit"),
    row(Memory, "maxmemory-policy", "", Choice(POLICIES), "noeviction", Live, Later(NO_EVICTION), "Which keys are evicted"),
    row(Memory, "maxmemory-samples", "", int(1, INT), "5", Live, Accepted(NO_EVICTION), "Keys compared to find one to evict"),
    row(Memory, "maxmemory-eviction-tenacity", "", int(0, 100), "10", Live, Accepted(NO_EVICTION), "How long one eviction run may last"),
    row(Memory, "maxmemory-clients", "", Kind::MemoryOrPercent, "0", Live, Later("evicting clients is not built yet"), "Memory of all connections at which the greediest is closed"),
    row(Memory, "lfu-log-factor", "", int(0, INT), "10", Live, Accepted(NO_EVICTION), "How slowly the use counter saturates"),
    row(Memory, "lfu-decay-time", "", int(0, INT), "1", Live, Accepted(NO_EVICTION), "Minutes after which the use counter falls by one"),
    row(Memory, "active-expire-effort", "", int(1, 10), "1", Live, Accepted(BY_DEADLINE), "Effort of Redis's expiry sampling"),
    row(Memory, "activerehashing", "", Bool, "yes", Live, Accepted("tables grow one segment at a time"), "Rehash in idle time"),
    row(Memory, "lazyfree-lazy-eviction", "", Bool, "no", Live, Accepted(IN_SLICES), "Free evicted values in the background"),
    row(Memory, "lazyfree-lazy-expire", "", Bool, "no", Live, Accepted(IN_SLICES), "Free expired values in the background"),
    row(Memory, "lazyfree-lazy-server-del", "", Bool, "no", Live, Accepted(IN_SLICES), "Free overwritten values in the background"),
    row(Memory, "lazyfree-lazy-user-del", "", Bool, "no", Live, Accepted(IN_SLICES), "Let DEL free in the background"),
    row(Memory, "lazyfree-lazy-user-flush", "", Bool, "no", Live, Accepted(IN_SLICES), "Let FLUSHALL free in the background"),
    row(Memory, "activedefrag", "", Bool, "no", Live, Later(NO_DEFRAG), "Move values to fill holes in memory"),
    row(Memory, "active-defrag-cycle-max", "", int(1, 99), "25", Live, Accepted(NO_DEFRAG), "Most CPU percent for it"),
    row(Memory, "active-defrag-cycle-min", "", int(1, 99), "1", Live, Accepted(NO_DEFRAG), "Least CPU percent for it"),
    row(Memory, "active-defrag-ignore-bytes", "", mem(1), "104857600", Live, Accepted(NO_DEFRAG), "Waste below which it does nothing"),
    row(Memory, "active-defrag-max-scan-fields", "", int(1, LONG), "1000", Live, Accepted(NO_DEFRAG), "Fields it handles at once"),
    row(Memory, "active-defrag-threshold-lower", "", int(0, 1000), "10", Live, Accepted(NO_DEFRAG), "Percent of waste at which it starts"),
    row(Memory, "active-defrag-threshold-upper", "", int(0, 1000), "100", Live, Accepted(NO_DEFRAG), "Percent of waste at which it works hardest"),
    row(Memory, "jemalloc-bg-thread", "", Bool, "yes", Live, Accepted("the allocator has no background thread"), "Let jemalloc return memory in the background"),

    row(Encodings, "hash-max-listpack-entries", "hash-max-ziplist-entries", int(0, LONG), "512", Live, Works, "Most fields of a packed hash"),
    row(Encodings, "hash-max-listpack-value", "hash-max-ziplist-value", mem(0), "64", Live, Works, "Longest field or value of a packed hash"),
    row(Encodings, "list-max-listpack-size", "list-max-ziplist-size", int(i32::MIN as i64, INT), "-2", Live, Works, "Size up to which a list is a listpack: elements, or -1 to -5 for 4 to 64 KiB"),
    row(Encodings, "list-compress-depth", "", int(0, INT), "0", Live, Accepted("list nodes are not compressed"), "Nodes at each end of a list left uncompressed"),
    row(Encodings, "set-max-intset-entries", "", int(0, LONG), "512", Live, Works, "Most members of a set kept as sorted integers"),
    row(Encodings, "set-max-listpack-entries", "", int(0, LONG), "128", Live, Works, "Most members of a packed set"),
    row(Encodings, "set-max-listpack-value", "", mem(0), "64", Live, Works, "Longest member of a packed set"),
    row(Encodings, "zset-max-listpack-entries", "zset-max-ziplist-entries", int(0, LONG), "128", Live, Works, "Most members of a packed sorted set"),
    row(Encodings, "zset-max-listpack-value", "zset-max-ziplist-value", mem(0), "64", Live, Works, "Longest member of a packed sorted set"),
    row(Encodings, "hll-sparse-max-bytes", "", mem(0), "3000", Live, Accepted(NO_TYPE), "Longest sparse HyperLogLog"),
    row(Encodings, "stream-node-max-bytes", "", mem(0), "4096", Live, Accepted(NO_TYPE), "Bytes of a stream node"),
    row(Encodings, "stream-node-max-entries", "", int(0, LONG), "100", Live, Accepted(NO_TYPE), "Entries of a stream node"),
    row(Encodings, "list-max-ziplist-entries", "", Kind::Directive(Directive::Obsolete), "", Start, Accepted("Redis dropped it in 3.2"), "Once the size of a packed list"),
    row(Encodings, "list-max-ziplist-value", "", Kind::Directive(Directive::Obsolete), "", Start, Accepted("Redis dropped it in 3.2"), "Once the size of a packed list's value"),

    row(Observation, "slowlog-log-slower-than", "", int(-1, LONG), "10000", Live, Works, "Microseconds from which SLOWLOG has a command; 0: all, -1: none"),
    row(Observation, "slowlog-max-len", "", int(0, LONG), "128", Live, Works, "Entries kept by SLOWLOG"),
    row(Observation, "latency-monitor-threshold", "", int(0, LONG), "0", Live, Works, "Milliseconds from which LATENCY records an event; 0: none"),
    row(Observation, "latency-tracking", "", Bool, "yes", Live, Works, "Keep latency histograms of commands and their stages"),
    row(Observation, "latency-tracking-info-percentiles", "", Kind::Percentiles, "50 99 99.9", Live, Works, "Percentiles that INFO latencystats prints"),
    row(Observation, "notify-keyspace-events", "", Kind::Events, "", Live, Later("keyspace notifications are not built yet"), "Classes of keyspace events to publish"),

    row(Persistence, "save", "", Kind::Save, "3600 1 300 100 60 10000", Live, Accepted(NO_SNAPSHOT), "Snapshot after these seconds and changes; \"\": never"),
    row(Persistence, "dbfilename", "", Text, "dump.rdb", Protected, Accepted(NO_SNAPSHOT), "File of the snapshot"),
    row(Persistence, "stop-writes-on-bgsave-error", "", Bool, "yes", Live, Accepted(NO_SNAPSHOT), "Refuse writes after a failed snapshot"),
    row(Persistence, "rdbcompression", "", Bool, "yes", Live, Accepted(NO_SNAPSHOT), "Compress strings in the snapshot"),
    row(Persistence, "rdbchecksum", "", Bool, "yes", Start, Accepted(NO_SNAPSHOT), "Add a checksum to the snapshot"),
    row(Persistence, "rdb-del-sync-files", "", Bool, "no", Live, Accepted(NO_REPLICA), "Delete snapshots used for replication"),
    row(Persistence, "rdb-save-incremental-fsync", "", Bool, "yes", Live, Accepted(NO_SNAPSHOT), "Sync the snapshot while writing it"),
    row(Persistence, "rdb-key-save-delay", "", int(i32::MIN as i64, INT), "0", Hidden, Accepted(TEST_ONLY), "Delay per key saved"),
    row(Persistence, "key-load-delay", "", int(i32::MIN as i64, INT), "0", Hidden, Works, "Microseconds of delay for each record loaded; below 0: one for as many records"),
    row(Persistence, "loading-process-events-interval-bytes", "", int(1024, INT), "2097152", Hidden, Accepted(TEST_ONLY), "Bytes loaded between two looks at clients"),
    row(Persistence, "sanitize-dump-payload", "", Choice(&["no", "yes", "clients"]), "no", Live, Accepted("payloads are always checked in full"), "Check RESTORE payloads in depth"),
    row(Persistence, "appendonly", "", Bool, "no", Live, Works, "Write every change to the journal"),
    row(Persistence, "appendfilename", "", Kind::PlainName("appendfilename can't be a path, just a filename"), "appendonly.aof", Start, Accepted(NO_JOURNAL), "Name of the journal's files"),
    row(Persistence, "appenddirname", "", Kind::PlainName("appenddirname can't be a path, just a dirname"), "appendonlydir", Start, Works, "Directory of the journal"),
    row(Persistence, "appendfsync", "", Choice(&["everysec", "always", "no"]), "everysec", Live, Works, "When the journal is synced"),
    row(Persistence, "no-appendfsync-on-rewrite", "", Bool, "no", Live, Accepted(NO_JOURNAL), "Do not sync during a rewrite"),
    row(Persistence, "auto-aof-rewrite-percentage", "", int(0, INT), "100", Live, Works, "Growth at which the journal is rewritten"),
    row(Persistence, "auto-aof-rewrite-min-size", "", mem(0), "67108864", Live, Works, "Size below which it is not"),
    row(Persistence, "aof-load-truncated", "", Bool, "yes", Live, Works, "Load a journal whose end is missing"),
    row(Persistence, "aof-use-rdb-preamble", "", Bool, "yes", Live, Accepted(NO_JOURNAL), "Begin a rewritten journal with a snapshot"),
    row(Persistence, "aof-timestamp-enabled", "", Bool, "no", Live, Accepted(NO_JOURNAL), "Write times into the journal"),
    row(Persistence, "aof-rewrite-incremental-fsync", "", Bool, "yes", Live, Accepted(NO_JOURNAL), "Sync a rewrite while writing it"),
    row(Persistence, "aof-disable-auto-gc", "", Bool, "no", Live, Accepted(NO_JOURNAL), "Keep the files of old generations"),

    row(Replication, "replicaof", "slaveof", Kind::HostPort, "", Start, Later(NO_REPLICA), "Host and port of the primary"),
    row(Replication, "masterauth", "", Text, "", Live, Accepted(NO_REPLICA), "Password at the primary"),
    row(Replication, "masteruser", "", Text, "", Live, Accepted(NO_REPLICA), "User at the primary"),
    row(Replication, "replica-announce-ip", "slave-announce-ip", Text, "", Live, Accepted(NO_REPLICA), "Address told to the primary"),
    row(Replication, "replica-announce-port", "slave-announce-port", int(0, 65535), "0", Live, Accepted(NO_REPLICA), "Port told to the primary"),
    row(Replication, "replica-announced", "", Bool, "yes", Live, Accepted(NO_REPLICA), "Whether sentinels list the replica"),
    row(Replication, "replica-ignore-disk-write-errors", "", Bool, "no", Live, Accepted(NO_REPLICA), "Go on after a failed write to disk"),
    row(Replication, "replica-ignore-maxmemory", "slave-ignore-maxmemory", Bool, "yes", Live, Accepted(NO_REPLICA), "Leave eviction to the primary"),
    row(Replication, "replica-lazy-flush", "slave-lazy-flush", Bool, "no", Live, Accepted(IN_SLICES), "Flush in the background before a full sync"),
    row(Replication, "replica-priority", "slave-priority", int(0, INT), "100", Live, Accepted(NO_REPLICA), "Rank when a new primary is chosen"),
    row(Replication, "replica-read-only", "slave-read-only", Bool, "yes", Live, Accepted(NO_REPLICA), "Refuse writes on a replica"),
    row(Replication, "replica-serve-stale-data", "slave-serve-stale-data", Bool, "yes", Live, Accepted(NO_REPLICA), "Answer while the primary is away"),
    row(Replication, "min-replicas-to-write", "min-slaves-to-write", int(0, INT), "0", Live, Later(NO_REPLICA), "Replicas needed to accept writes"),
    row(Replication, "min-replicas-max-lag", "min-slaves-max-lag", int(0, INT), "10", Live, Accepted(NO_REPLICA), "Seconds after which a replica does not count"),
    row(Replication, "repl-backlog-size", "", mem(1), "1048576", Live, Accepted(NO_REPLICA), "Bytes kept for replicas that come back"),
    row(Replication, "repl-backlog-ttl", "", int(0, LONG), "3600", Live, Accepted(NO_REPLICA), "Seconds it is kept without replicas"),
    row(Replication, "repl-disable-tcp-nodelay", "", Bool, "no", Live, Accepted(NO_REPLICA), "Send fewer, larger packets"),
    row(Replication, "repl-diskless-load", "", Choice(&["disabled", "on-empty-db", "swapdb"]), "disabled", Live, Accepted(NO_REPLICA), "Load a full sync from the socket"),
    row(Replication, "repl-diskless-sync", "", Bool, "yes", Live, Accepted(NO_REPLICA), "Send a full sync without a file"),
    row(Replication, "repl-diskless-sync-delay", "", int(0, INT), "5", Live, Accepted(NO_REPLICA), "Seconds to wait for more replicas"),
    row(Replication, "repl-diskless-sync-max-replicas", "", int(0, INT), "0", Live, Accepted(NO_REPLICA), "Replicas not to wait beyond"),
    row(Replication, "repl-ping-replica-period", "repl-ping-slave-period", int(1, INT), "10", Live, Accepted(NO_REPLICA), "Seconds between pings"),
    row(Replication, "repl-timeout", "", int(1, INT), "60", Live, Accepted(NO_REPLICA), "Seconds until a silent link is closed"),
    row(Replication, "propagation-error-behavior", "", Choice(&["ignore", "panic", "panic-on-replicas"]), "ignore", Live, Accepted(NO_REPLICA), "What to do when a replicated command fails"),

    row(Cluster, "cluster-enabled", "", Bool, "no", Start, Later(NO_CLUSTER), "Be a node of a cluster"),
    row(Cluster, "cluster-config-file", "", Text, "nodes.conf", Start, Accepted(NO_CLUSTER), "File of the node's state"),
    row(Cluster, "cluster-port", "", int(0, 65535), "0", Start, Accepted(NO_CLUSTER), "Port of the cluster bus"),
    row(Cluster, "cluster-node-timeout", "", int(0, LONG), "15000", Live, Accepted(NO_CLUSTER), "Milliseconds until a node counts as gone"),
    row(Cluster, "cluster-announce-ip", "", Text, "", Live, Works, "Address told to cluster clients on shard ports; empty: the one they connected to"),
    row(Cluster, "cluster-announce-port", "", int(0, 65535), "0", Live, Accepted(NO_CLUSTER), "Port told to clients"),
    row(Cluster, "cluster-announce-bus-port", "", int(0, 65535), "0", Live, Accepted(NO_CLUSTER), "Bus port told to nodes"),
    row(Cluster, "cluster-announce-tls-port", "", int(0, 65535), "0", Live, Accepted(NO_CLUSTER), "TLS port told to clients"),
    row(Cluster, "cluster-announce-hostname", "", Text, "", Live, Accepted(NO_CLUSTER), "Host name told to clients"),
    row(Cluster, "cluster-announce-human-nodename", "", Text, "", Live, Accepted(NO_CLUSTER), "Name of the node in logs"),
    row(Cluster, "cluster-preferred-endpoint-type", "", Choice(&["ip", "hostname", "unknown-endpoint"]), "ip", Live, Accepted(NO_CLUSTER), "What redirections name"),
    row(Cluster, "cluster-allow-pubsubshard-when-down", "", Bool, "yes", Live, Accepted(NO_CLUSTER), "Sharded channels while the cluster is down"),
    row(Cluster, "cluster-allow-reads-when-down", "", Bool, "no", Live, Accepted(NO_CLUSTER), "Reads while the cluster is down"),
    row(Cluster, "cluster-allow-replica-migration", "", Bool, "yes", Live, Accepted(NO_CLUSTER), "Let replicas move to orphaned primaries"),
    row(Cluster, "cluster-migration-barrier", "", int(0, INT), "1", Live, Accepted(NO_CLUSTER), "Replicas a primary keeps"),
    row(Cluster, "cluster-replica-no-failover", "cluster-slave-no-failover", Bool, "no", Live, Accepted(NO_CLUSTER), "Never take over"),
    row(Cluster, "cluster-replica-validity-factor", "cluster-slave-validity-factor", int(0, INT), "10", Live, Accepted(NO_CLUSTER), "How stale a replica may be to take over"),
    row(Cluster, "cluster-require-full-coverage", "", Bool, "yes", Live, Accepted(NO_CLUSTER), "Stop when slots have no owner"),
    row(Cluster, "cluster-link-sendbuf-limit", "", mem(0), "0", Live, Accepted(NO_CLUSTER), "Most bytes queued for a node"),

    row(Scripts, "busy-reply-threshold", "lua-time-limit", int(0, LONG), "5000", Live, Accepted("scripts are not built yet"), "Milliseconds after which others hear BUSY"),
    row(Scripts, "lua-enable-deprecated-api", "", Bool, "no", Hidden, Accepted("scripts are not built yet"), "Offer the API of old scripts"),

    row(Tls, "tls-port", "", int(0, 65535), "0", Live, Later(NO_TLS), "Port for TLS"),
    row(Tls, "tls-auth-clients", "", Choice(&["no", "yes", "optional"]), "yes", Live, Accepted(NO_TLS), "Ask clients for a certificate"),
    row(Tls, "tls-ca-cert-dir", "", Text, "", Live, Accepted(NO_TLS), "Directory of trusted authorities"),
    row(Tls, "tls-ca-cert-file", "", Text, "", Live, Accepted(NO_TLS), "File of trusted authorities"),
    row(Tls, "tls-cert-file", "", Text, "", Live, Accepted(NO_TLS), "Certificate of the server"),
    row(Tls, "tls-key-file", "", Text, "", Live, Accepted(NO_TLS), "Private key of the server"),
    row(Tls, "tls-key-file-pass", "", Text, "", Live, Accepted(NO_TLS), "Password of the private key"),
    row(Tls, "tls-client-cert-file", "", Text, "", Live, Accepted(NO_TLS), "Certificate for outgoing connections"),
    row(Tls, "tls-client-key-file", "", Text, "", Live, Accepted(NO_TLS), "Private key for outgoing connections"),
    row(Tls, "tls-client-key-file-pass", "", Text, "", Live, Accepted(NO_TLS), "Password of that key"),
    row(Tls, "tls-dh-params-file", "", Text, "", Live, Accepted(NO_TLS), "Diffie-Hellman parameters"),
    row(Tls, "tls-protocols", "", Text, "", Live, Accepted(NO_TLS), "Versions of TLS to offer"),
    row(Tls, "tls-ciphers", "", Text, "", Live, Accepted(NO_TLS), "Ciphers up to TLS 1.2"),
    row(Tls, "tls-ciphersuites", "", Text, "", Live, Accepted(NO_TLS), "Ciphers of TLS 1.3"),
    row(Tls, "tls-prefer-server-ciphers", "", Bool, "no", Live, Accepted(NO_TLS), "Let the server choose the cipher"),
    row(Tls, "tls-session-caching", "", Bool, "yes", Live, Accepted(NO_TLS), "Let clients resume sessions"),
    row(Tls, "tls-session-cache-size", "", int(0, INT), "20480", Live, Accepted(NO_TLS), "Sessions remembered"),
    row(Tls, "tls-session-cache-timeout", "", int(0, INT), "300", Live, Accepted(NO_TLS), "Seconds a session is remembered"),
    row(Tls, "tls-replication", "", Bool, "no", Live, Accepted(NO_TLS), "TLS towards the primary"),
    row(Tls, "tls-cluster", "", Bool, "no", Live, Accepted(NO_TLS), "TLS on the cluster bus"),

    row(Internal, "enable-debug-assert", "", Bool, "no", Hidden, Accepted(TEST_ONLY), "Check more invariants"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique_and_lower_case() {
        let mut seen = BTreeSet::new();
        for name in ROWS.iter().flat_map(|row| [row.name, row.alias]).filter(|name| !name.is_empty()) {
            assert!(seen.insert(name), "{name} twice");
            assert_eq!(name, name.to_ascii_lowercase());
        }
    }

    #[test]
    fn every_row_says_what_it_is_and_why() {
        for row in ROWS {
            assert!(!row.help.is_empty() && !row.help.ends_with('.'), "{}", row.name);
            if let Accepted(why) | Later(why) = row.effect {
                assert!(why.len() > 10, "{}", row.name);
            }
        }
    }

    #[test]
    fn rows_of_a_group_stand_together() {
        let mut left: Vec<Group> = Vec::new();
        for pair in ROWS.windows(2) {
            let [before, after] = pair else { unreachable!("windows of two") };
            if before.group != after.group {
                left.push(before.group);
            }
            assert!(!left.contains(&after.group), "{} is apart from its group", after.name);
        }
    }
}
