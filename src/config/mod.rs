//! Layer 1: the configuration. Text in, `Config` out; nothing here opens a file.
//!
//! ```text
//!   redis.conf, --flags --> parse.rs: words --.
//!                                             +--> options.rs: the row --> value.rs: Value --> Config
//!   CONFIG SET name value --------------------'                                                 |- typed accessors
//!                                                                                               `- CONFIG GET, --help
//! ```
//!
//! A later line wins, except `save`, whose lines add up after the first has dropped the default, and
//! `client-output-buffer-limit`, whose lines each set their classes. `rewrite.rs` goes the way back: `Config` in, text out.

pub mod options;
pub mod parse;
pub mod rewrite;
pub mod value;

use crate::base::glob::{self, Case};
use crate::base::limits::{BULK_BYTES_CEILING, DATABASES_MAX};
use options::{Change, Directive, Effect, Kind, ROWS, Row, index};
pub use value::{OutputLimit, SavePoint, Value};

/// How deep files may include each other: far beyond any use, and a file that includes itself ends in an error.
const INCLUDE_DEPTH_MAX: usize = 16;

/// Where a text comes from, for whoever reads it.
#[derive(Clone, Copy, Debug)]
pub enum Source<'a> {
    /// A path, or in `include` a glob over paths.
    File(&'a str),
    Stdin,
}

/// Reads a source: each file's name and text, several where a glob matches several.
pub type Reader<'r> = dyn FnMut(Source<'_>) -> Result<Vec<(String, Vec<u8>)>, String> + 'r;

/// One value for each row of the table.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    values: Box<[Value]>,
    renames: Vec<Rename>,
    users: Vec<UserLine>,
    /// Whether a `save` line was read since the last default or `save ""`.
    saves_given: bool,
    /// Rows that a client has set since the start, whatever to.
    touched: Vec<usize>,
}

/// `rename-command from to`; an empty `to` removes the command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rename {
    pub from: Vec<u8>,
    pub to: Vec<u8>,
}

/// `user name rules`: what the rules mean is not known here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserLine {
    pub file: String,
    pub line: usize,
    pub name: Vec<u8>,
    pub rules: Vec<Vec<u8>>,
}

/// `acl-pubsub-default`: the channels of a new user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewChannels {
    All,
    None,
}

/// `pipeline-order`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PipelineOrder {
    /// A write waits for the answers to its connection's earlier requests on other lanes.
    Strict,
    /// It does not.
    Relaxed,
}

/// `appendfsync`: when the journal is synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fsync {
    /// Before the reply to a write leaves.
    Always,
    EverySecond,
    /// The kernel writes back when it likes.
    Never,
}

/// What the command line asks for.
#[derive(Debug)]
pub enum Start {
    Run(Config, Vec<Note>),
    Help,
    Version,
}

/// An option was accepted that means nothing here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    pub file: String,
    pub line: usize,
    pub name: &'static str,
    pub why: &'static str,
}

/// A line, a flag or a source that cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigError {
    Line {
        file: String,
        line: usize,
        why: String,
    },
    /// As it was typed.
    Flag {
        typed: String,
        why: String,
    },
    Source {
        why: String,
    },
}

impl std::fmt::Display for ConfigError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Line { file, line, why } => write!(f, "{file}:{line}: {why}"),
            Self::Flag { typed, why } => write!(f, "{typed}: {why}"),
            Self::Source { why } => write!(f, "{why}: give the path of a file to read, or options as --name value"),
        }
    }
}

impl std::error::Error for ConfigError {}

/// Why CONFIG SET changed nothing. Shown in Redis's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SetError {
    Unknown(String),
    Failed { name: String, why: String },
}

impl std::fmt::Display for SetError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unknown(name) => write!(f, "ERR Unknown option or number of arguments for CONFIG SET - '{name}'"),
            Self::Failed { name, why } => {
                write!(f, "ERR CONFIG SET failed (possibly related to argument '{name}') - {why}")
            }
        }
    }
}

/// Whether the client may set options that Redis protects: the caller knows `enable-protected-configs` and the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rights {
    Ordinary,
    Protected,
}

/// Accessors by row, resolved at compile time: reading one is an indexed load and a match on its kind.
macro_rules! plain {
    ($($name:ident: $type:ty = $option:literal as $variant:ident;)*) => {
        impl Config {
            $(#[doc = concat!("`", $option, "`")]
            pub fn $name(&self) -> $type {
                const AT: usize = index($option);
                match &self.values[AT] {
                    Value::$variant(value) => *value,
                    _ => unreachable!("the kind of the row decides the variant"),
                }
            })*
        }
    };
}

/// The same for values that are lent.
macro_rules! texts {
    ($($name:ident: $type:ty = $option:literal as $variant:ident;)*) => {
        impl Config {
            $(#[doc = concat!("`", $option, "`")]
            pub fn $name(&self) -> $type {
                const AT: usize = index($option);
                match &self.values[AT] {
                    Value::$variant(value) => value,
                    _ => unreachable!("the kind of the row decides the variant"),
                }
            })*
        }
    };
}

plain! {
    lanes: Option<i64> = "lanes" as Auto;
    poll_us: Option<i64> = "poll-us" as Auto;
    port: i64 = "port" as Integer;
    shard_port: i64 = "shard-port" as Integer;
    shard_port_moved: bool = "shard-port-moved" as Bool;
    tcp_backlog: i64 = "tcp-backlog" as Integer;
    timeout_s: i64 = "timeout" as Integer;
    tcp_keepalive_s: i64 = "tcp-keepalive" as Integer;
    protected_mode: bool = "protected-mode" as Bool;
    daemonize: bool = "daemonize" as Bool;
    appendonly: bool = "appendonly" as Bool;
    rewrite_growth_percent: i64 = "auto-aof-rewrite-percentage" as Integer;
    rewrite_bytes_min: u64 = "auto-aof-rewrite-min-size" as Bytes;
    aof_load_truncated: bool = "aof-load-truncated" as Bool;
    key_load_delay_us: i64 = "key-load-delay" as Integer;
    disable_thp: bool = "disable-thp" as Bool;
    databases: i64 = "databases" as Integer;
    maxclients: i64 = "maxclients" as Integer;
    client_query_buffer_limit_bytes: u64 = "client-query-buffer-limit" as Bytes;
    proto_max_bulk_bytes: u64 = "proto-max-bulk-len" as Bytes;
    output_limits: [OutputLimit; 3] = "client-output-buffer-limit" as OutputLimits;
    maxmemory_bytes: u64 = "maxmemory" as Bytes;
    maxmemory_samples: i64 = "maxmemory-samples" as Integer;
    lfu_log_factor: i64 = "lfu-log-factor" as Integer;
    lfu_decay_time_min: i64 = "lfu-decay-time" as Integer;
    hash_packed_entries_max: i64 = "hash-max-listpack-entries" as Integer;
    hash_packed_value_bytes_max: u64 = "hash-max-listpack-value" as Bytes;
    list_node_size: i64 = "list-max-listpack-size" as Integer;
    set_intset_entries_max: i64 = "set-max-intset-entries" as Integer;
    set_packed_entries_max: i64 = "set-max-listpack-entries" as Integer;
    set_packed_value_bytes_max: u64 = "set-max-listpack-value" as Bytes;
    zset_packed_entries_max: i64 = "zset-max-listpack-entries" as Integer;
    zset_packed_value_bytes_max: u64 = "zset-max-listpack-value" as Bytes;
    slowlog_slower_than_us: i64 = "slowlog-log-slower-than" as Integer;
    acl_log_len_max: i64 = "acllog-max-len" as Integer;
    slowlog_len_max: i64 = "slowlog-max-len" as Integer;
    latency_monitor_threshold_ms: i64 = "latency-monitor-threshold" as Integer;
    latency_tracking: bool = "latency-tracking" as Bool;
    notify_events: u32 = "notify-keyspace-events" as Events;
}

texts! {
    bind: &[Box<[u8]>] = "bind" as Words;
    cpus: &[u8] = "cpus" as Text;
    requirepass: &[u8] = "requirepass" as Text;
    aclfile: &[u8] = "aclfile" as Text;
    pidfile: &[u8] = "pidfile" as Text;
    logfile: &[u8] = "logfile" as Text;
    dir: &[u8] = "dir" as Text;
    appenddirname: &[u8] = "appenddirname" as Text;
    cluster_announce_ip: &[u8] = "cluster-announce-ip" as Text;
    latency_percentiles: &[f64] = "latency-tracking-info-percentiles" as Percentiles;
}

/// Options whose values nobody but who sets them may read in a log.
const SECRETS: &[&str] = &["masterauth", "masteruser", "requirepass", "tls-client-key-file-pass", "tls-key-file-pass"];

/// Whether an option's value is a secret.
pub fn is_secret(name: &[u8]) -> bool {
    SECRETS.iter().any(|secret| secret.as_bytes().eq_ignore_ascii_case(name))
}

impl Default for Config {
    fn default() -> Self {
        let values = ROWS.iter().map(default_value).collect();
        Self { values, renames: Vec::new(), users: Vec::new(), saves_given: false, touched: Vec::new() }
    }
}

fn default_value(row: &Row) -> Value {
    if matches!(row.kind, Kind::Directive(_)) {
        return Value::Nothing;
    }
    parse_text(row, row.default.as_bytes(), &Value::Nothing)
        .expect("the default of each row is legal: a test parses all")
}

/// Parses one text, which for lists holds several words.
fn parse_text(row: &Row, text: &[u8], old: &Value) -> Result<Value, String> {
    if !value::takes_words(&row.kind) {
        return value::parse(row, &[text], old);
    }
    let words = parse::split_words(text).map_err(|_| "Unbalanced quotes in configuration line".to_owned())?;
    let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
    value::parse(row, &words, old)
}

impl Config {
    /// `databases`, of which a client can name 256.
    pub fn database_count(&self) -> usize {
        usize::try_from(self.databases()).map_or(DATABASES_MAX, |count| count.clamp(1, DATABASES_MAX))
    }

    /// `maxclients` as a count of connections.
    pub fn clients_max(&self) -> usize {
        usize::try_from(self.maxclients()).unwrap_or(usize::MAX)
    }

    /// `proto-max-bulk-len` as a length; spans bound it below 4 GiB.
    pub fn bulk_bytes_max(&self) -> usize {
        usize::try_from(self.proto_max_bulk_bytes()).unwrap_or(usize::MAX).min(BULK_BYTES_CEILING)
    }

    /// `client-output-buffer-limit normal`.
    pub fn output_limit_normal(&self) -> OutputLimit {
        self.output_limits()[0]
    }

    /// The word chosen for an option of several, as `loglevel` or `maxmemory-policy`.
    pub fn loglevel(&self) -> &'static str {
        self.choice(const { index("loglevel") })
    }

    pub fn maxmemory_policy(&self) -> &'static str {
        self.choice(const { index("maxmemory-policy") })
    }

    pub fn pipeline_order(&self) -> PipelineOrder {
        match self.choice(const { index("pipeline-order") }) {
            "strict" => PipelineOrder::Strict,
            _ => PipelineOrder::Relaxed,
        }
    }

    /// When the journal is synced; `None`: there is none.
    pub fn journal_fsync(&self) -> Option<Fsync> {
        self.appendonly().then(|| self.fsync())
    }

    /// When a journal is synced, if there is one.
    pub fn fsync(&self) -> Fsync {
        match self.choice(const { index("appendfsync") }) {
            "always" => Fsync::Always,
            "everysec" => Fsync::EverySecond,
            _ => Fsync::Never,
        }
    }

    /// `auto-aof-rewrite-percentage`; 0: never by itself.
    pub fn rewrite_percentage(&self) -> u64 {
        self.rewrite_growth_percent().unsigned_abs()
    }

    pub fn supervised(&self) -> &'static str {
        self.choice(const { index("supervised") })
    }

    pub fn enable_debug_command(&self) -> &'static str {
        self.choice(const { index("enable-debug-command") })
    }

    pub fn enable_protected_configs(&self) -> &'static str {
        self.choice(const { index("enable-protected-configs") })
    }

    pub fn acl_pubsub_default(&self) -> NewChannels {
        match self.choice(const { index("acl-pubsub-default") }) {
            "allchannels" => NewChannels::All,
            _ => NewChannels::None,
        }
    }

    /// The `user` lines, in their order.
    pub fn users(&self) -> &[UserLine] {
        &self.users
    }

    pub fn renames(&self) -> &[Rename] {
        &self.renames
    }

    fn choice(&self, at: usize) -> &'static str {
        match (&ROWS[at].kind, &self.values[at]) {
            (Kind::Choice(names), Value::Choice(chosen)) => names[*chosen],
            _ => unreachable!("the kind of the row decides the variant"),
        }
    }

    /// Takes the command line after the program's name: `[file] [--name value ...] [-]`.
    pub fn from_flags(args: &[String], read: &mut Reader<'_>) -> Result<Start, ConfigError> {
        match args.first().map(String::as_str) {
            Some("--help" | "-h") => return Ok(Start::Help),
            Some("--version" | "-v") => return Ok(Start::Version),
            _ => {}
        }
        let mut config = Self::default();
        let mut notes = Vec::new();
        let mut flags = args;
        if let Some((file, rest)) = args.split_first().filter(|(first, _)| !first.starts_with('-')) {
            config
                .read_source(Source::File(file), read, &mut notes, 0)
                .map_err(|why| ConfigError::Source { why })??;
            flags = rest;
        }
        if let Some(at) = flags.iter().position(|flag| flag == "-") {
            config.read_source(Source::Stdin, read, &mut notes, 0).map_err(|why| ConfigError::Source { why })??;
            let without: Vec<String> =
                [flags.get(..at), flags.get(at + 1..)].into_iter().flatten().flatten().cloned().collect();
            config.apply_flags(&without, read, &mut notes)?;
        } else {
            config.apply_flags(flags, read, &mut notes)?;
        }
        config.forget_idle_saves(&mut notes);
        Ok(Start::Run(config, notes))
    }

    /// Each `--name` takes the words up to the next one; `--save` alone stands for `save ""`.
    fn apply_flags(
        &mut self,
        flags: &[String],
        read: &mut Reader<'_>,
        notes: &mut Vec<Note>,
    ) -> Result<(), ConfigError> {
        let mut rest = flags;
        self.saves_given = false;
        while let Some((flag, after)) = rest.split_first() {
            let count = after.iter().take_while(|word| !word.starts_with("--")).count();
            let (values, next) = after.split_at(count);
            let name = flag.trim_start_matches('-');
            let fail = |why: String| {
                let typed = std::iter::once(flag).chain(values).map(String::as_str).collect::<Vec<_>>().join(" ");
                let why = why.strip_prefix(name).and_then(|rest| rest.strip_prefix(": ")).unwrap_or(&why).to_owned();
                ConfigError::Flag { typed, why }
            };
            if !flag.starts_with("--") {
                return Err(fail("this is no option: write --name value".into()));
            }
            let mut words: Vec<Vec<u8>> =
                parse::split_words(name.as_bytes()).map_err(|_| fail("unbalanced quotes".into()))?;
            match values {
                // `--client-output-buffer-limit "normal 1mb 1mb 5"`: one argument of the shell, several words of the option.
                [only] if takes_several(&words) => {
                    let several = parse::split_words(only.as_bytes()).map_err(|_| fail("unbalanced quotes".into()))?;
                    words.extend(several);
                }
                _ => words.extend(values.iter().map(|value| value.as_bytes().to_vec())),
            }
            if words == [b"save"] {
                words.push(Vec::new());
            }
            self.apply_words(&words, Place { file: "command line", line: 0, depth: 0 }, read, notes).map_err(
                |error| match error {
                    LineError::Here(why) => fail(why),
                    LineError::Elsewhere(error) => error,
                },
            )?;
            rest = next;
        }
        Ok(())
    }

    /// Takes the text of a file. `read` resolves its `include` lines.
    pub fn apply_file(&mut self, name: &str, text: &[u8], read: &mut Reader<'_>) -> Result<Vec<Note>, ConfigError> {
        let mut notes = Vec::new();
        self.apply_text(name, text, read, &mut notes, 0)?;
        Ok(notes)
    }

    fn apply_text(
        &mut self,
        file: &str,
        text: &[u8],
        read: &mut Reader<'_>,
        notes: &mut Vec<Note>,
        depth: usize,
    ) -> Result<(), ConfigError> {
        for (at, line) in text.split(|byte| *byte == b'\n').enumerate() {
            let place = Place { file, line: at + 1, depth };
            let fail = |why| ConfigError::Line { file: file.into(), line: place.line, why };
            let words = parse::line_words(line).map_err(|_| fail("Unbalanced quotes in configuration line".into()))?;
            if words.is_empty() {
                continue;
            }
            self.apply_words(&words, place, read, notes).map_err(|error| match error {
                LineError::Here(why) => fail(why),
                LineError::Elsewhere(error) => error,
            })?;
        }
        Ok(())
    }

    /// Reads all files of `source`. The outer error is that of reading, the inner one that of a line.
    fn read_source(
        &mut self,
        source: Source<'_>,
        read: &mut Reader<'_>,
        notes: &mut Vec<Note>,
        depth: usize,
    ) -> Result<Result<(), ConfigError>, String> {
        for (name, text) in read(source)? {
            if let Err(error) = self.apply_text(&name, &text, read, notes, depth) {
                return Ok(Err(error));
            }
        }
        Ok(Ok(()))
    }

    fn apply_words(
        &mut self,
        words: &[Vec<u8>],
        place: Place<'_>,
        read: &mut Reader<'_>,
        notes: &mut Vec<Note>,
    ) -> Result<(), LineError> {
        let Some((name, arguments)) = words.split_first() else { return Ok(()) };
        let found = find(name).ok_or_else(|| LineError::Here(unknown(name)))?;
        let row = &ROWS[found.at];
        if let Effect::Accepted(why) = row.effect {
            notes.push(Note { file: place.file.into(), line: place.line, name: row.name, why });
        }
        let arguments: Vec<&[u8]> = arguments.iter().map(Vec::as_slice).collect();
        if let Kind::Directive(directive) = row.kind {
            return self.direct(directive, row, &arguments, place, read, notes);
        }
        if arguments.len() != 1 && !value::takes_words(&row.kind) {
            return Err(LineError::Here(wants_one_value(row, arguments.len())));
        }
        let parsed = value::parse(row, &arguments, &self.values[found.at])
            .map_err(|why| LineError::Here(format!("{}: {why}", row.name)))?;
        refuse_later(row, &parsed).map_err(LineError::Here)?;
        self.values[found.at] = self.with_earlier_saves(parsed, found.at);
        Ok(())
    }

    /// `save` lines add up once one was given; an empty one starts over.
    fn with_earlier_saves(&mut self, parsed: Value, at: usize) -> Value {
        let Value::Save(new) = parsed else { return parsed };
        let points = match &self.values[at] {
            Value::Save(old) if self.saves_given && !new.is_empty() => [&old[..], &new[..]].concat().into(),
            _ => new,
        };
        self.saves_given = true;
        Value::Save(points)
    }

    fn direct(
        &mut self,
        directive: Directive,
        row: &Row,
        arguments: &[&[u8]],
        place: Place<'_>,
        read: &mut Reader<'_>,
        notes: &mut Vec<Note>,
    ) -> Result<(), LineError> {
        match (directive, arguments) {
            (Directive::Include, [path]) if place.depth < INCLUDE_DEPTH_MAX => {
                let path = String::from_utf8_lossy(path);
                self.read_source(Source::File(&path), read, notes, place.depth + 1)
                    .map_err(|why| LineError::Here(format!("include: {why}")))?
                    .map_err(LineError::Elsewhere)
            }
            (Directive::Include, [path]) => Err(LineError::Here(format!(
                "include: {} would be the {INCLUDE_DEPTH_MAX}th file within another: do files include each other?",
                lossy(path)
            ))),
            (Directive::RenameCommand, [from, to]) => {
                self.renames.push(Rename { from: from.to_vec(), to: to.to_vec() });
                Ok(())
            }
            (Directive::User, [name, ..]) if self.users.iter().any(|user| user.name == *name) => {
                Err(LineError::Here(format!(
                    "user '{}': Duplicate user found. A user can only be defined once in config files",
                    lossy(name)
                )))
            }
            (Directive::User, [name, rules @ ..]) => {
                let rules = rules.iter().map(|rule| rule.to_vec()).collect();
                let (file, line) = (place.file.into(), place.line);
                self.users.push(UserLine { file, line, name: name.to_vec(), rules });
                Ok(())
            }
            (Directive::Obsolete, [_]) => Ok(()),
            (Directive::Refused, _) => match row.effect {
                Effect::Later(why) => Err(LineError::Here(format!("{}: {why}: remove this line", row.name))),
                _ => unreachable!("a refused directive says why"),
            },
            _ => Err(LineError::Here(format!("{}: wrong number of arguments", row.name))),
        }
    }

    /// Who asked for no snapshots after all misses none.
    fn forget_idle_saves(&self, notes: &mut Vec<Note>) {
        if matches!(&self.values[const { index("save") }], Value::Save(points) if points.is_empty()) {
            notes.retain(|note| note.name != "save");
        }
    }

    /// CONFIG GET: every name and value that one of `patterns` names, each once. An exact name answers as it was spelt and
    /// shows hidden options; a pattern answers in table order.
    pub fn get(&self, patterns: &[&[u8]]) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut seen = Vec::new();
        let mut found = Vec::new();
        for pattern in patterns {
            for (at, name) in names().filter(|(at, name)| asked(pattern, &ROWS[*at], name)) {
                if !seen.contains(&name) {
                    seen.push(name);
                    let shown = if is_glob(pattern) { name.as_bytes() } else { pattern };
                    found.push((shown.to_vec(), value::print(&ROWS[at], &self.values[at])));
                }
            }
        }
        found
    }

    /// CONFIG SET: all or nothing. Answers the rows that have another value now.
    pub fn set_all(&mut self, pairs: &[(&[u8], &[u8])], rights: Rights) -> Result<Vec<&'static Row>, SetError> {
        let found = settable(pairs, rights)?;
        let mut next = self.values.clone();
        let mut changed = Vec::new();
        for (&at, (name, text)) in found.iter().zip(pairs) {
            let row = &ROWS[at];
            let parsed = parse_text(row, text, &next[at])
                .and_then(|parsed| refuse_later(row, &parsed).map(|()| parsed))
                .map_err(|why| SetError::Failed { name: lossy(name), why })?;
            if parsed != self.values[at] {
                changed.push(row);
            }
            next[at] = parsed;
        }
        self.values = next;
        self.touched.retain(|at| !found.contains(at));
        self.touched.extend(found);
        Ok(changed)
    }
}

/// The rows of all names, or the first that may not be set: names are checked before any value is.
fn settable(pairs: &[(&[u8], &[u8])], rights: Rights) -> Result<Vec<usize>, SetError> {
    let mut seen: Vec<&str> = Vec::new();
    let mut rows = Vec::new();
    for (name, _) in pairs {
        let failed = |why: &str| Err(SetError::Failed { name: lossy(name), why: why.into() });
        let found = find(name).filter(|found| !matches!(ROWS[found.at].kind, Kind::Directive(_)));
        let Some(found) = found else { return Err(SetError::Unknown(lossy(name))) };
        match ROWS[found.at].change {
            Change::Start => return failed("can't set immutable config"),
            Change::Protected if rights == Rights::Ordinary => return failed("can't set protected config"),
            _ if seen.contains(&found.name) => return failed("duplicate parameter"),
            _ => {}
        }
        seen.push(found.name);
        rows.push(found.at);
    }
    Ok(rows)
}

/// A value whose promise the server would not keep is refused, by file and by CONFIG SET alike.
fn refuse_later(row: &Row, parsed: &Value) -> Result<(), String> {
    match row.effect {
        Effect::Later(why) if *parsed != default_value(row) => {
            let default = if row.default.is_empty() { "\"\"" } else { row.default };
            Err(format!("{} {}: {why}: set {} {default}", row.name, lossy(&value::print(row, parsed)), row.name))
        }
        _ => Ok(()),
    }
}

/// Where a line stands.
#[derive(Clone, Copy)]
struct Place<'a> {
    file: &'a str,
    line: usize,
    depth: usize,
}

/// An error of this line, or of a line of a file that it includes.
enum LineError {
    Here(String),
    Elsewhere(ConfigError),
}

/// Whether the option named by the first word is a list.
fn takes_several(words: &[Vec<u8>]) -> bool {
    words.first().and_then(|name| find(name)).is_some_and(|found| value::takes_words(&ROWS[found.at].kind))
}

fn wants_one_value(row: &Row, given: usize) -> String {
    let example = if row.default.is_empty() { "\"\"" } else { row.default };
    format!("{}: wrong number of arguments: it takes one value, as in '{} {example}', not {given}", row.name, row.name)
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

struct Found {
    at: usize,
    name: &'static str,
}

/// Every name and alias with its row, in table order.
fn names() -> impl Iterator<Item = (usize, &'static str)> {
    let both = |(at, row): (usize, &'static Row)| [(at, row.name), (at, row.alias)];
    ROWS.iter().enumerate().flat_map(both).filter(|(_, name)| !name.is_empty())
}

fn find(name: &[u8]) -> Option<Found> {
    let mut all = names();
    all.find(|(_, known)| name.eq_ignore_ascii_case(known.as_bytes())).map(|(at, name)| Found { at, name })
}

fn is_glob(pattern: &[u8]) -> bool {
    pattern.iter().any(|byte| matches!(byte, b'*' | b'?' | b'['))
}

fn asked(pattern: &[u8], row: &Row, name: &str) -> bool {
    match row.kind {
        Kind::Directive(_) => false,
        _ if !is_glob(pattern) => pattern.eq_ignore_ascii_case(name.as_bytes()),
        _ => row.change != Change::Hidden && glob::matches(pattern, name.as_bytes(), Case::Ignore),
    }
}

fn unknown(name: &[u8]) -> String {
    let typed = lossy(name);
    let nearest = names().map(|(_, known)| (distance(name, known.as_bytes()), known)).min();
    match nearest {
        Some((far, known)) if far <= 1 + name.len() / 4 => {
            format!("unknown option '{typed}' (did you mean '{known}'?)")
        }
        _ => format!("unknown option '{typed}' (corelane --help lists all)"),
    }
}

/// How many letters must be added, removed or changed (Levenshtein), over two rows; overlong names are far from all.
fn distance(typed: &[u8], known: &[u8]) -> usize {
    if typed.len() > 2 * known.len() + 8 {
        return usize::MAX;
    }
    let mut above: Vec<usize> = (0..=known.len()).collect();
    for (at, letter) in typed.iter().enumerate() {
        let mut left = at + 1;
        let mut diagonal = std::mem::replace(&mut above[0], left);
        for (slot, other) in above.iter_mut().skip(1).zip(known) {
            let changed = diagonal + usize::from(!letter.eq_ignore_ascii_case(other));
            diagonal = *slot;
            left = changed.min(diagonal + 1).min(left + 1);
            *slot = left;
        }
    }
    above.last().copied().unwrap_or_default()
}

/// The text of `--help`, from the table.
pub fn help() -> String {
    let mut text = String::from(
        "Usage: corelane [file] [--name value ...] [-]\n       corelane top [--help]: watch a running server\n       corelane check DIR: read a journal and say whether it can be loaded\n       corelane --help | --version\n",
    );
    let mut group = None;
    for row in ROWS.iter().filter(|row| row.change != Change::Hidden) {
        if group != Some(row.group) {
            group = Some(row.group);
            text.push_str(&format!("\n{:?}:\n", row.group));
        }
        let remark = match row.effect {
            Effect::Works => String::new(),
            Effect::Accepted(why) => format!(" [no effect: {why}]"),
            Effect::Later(why) => format!(" [not yet: {why}]"),
        };
        let default = if row.default.is_empty() { "\"\"" } else { row.default };
        text.push_str(&format!("  --{} ({default})\n      {}{remark}\n", row.name, row.help));
    }
    text
}

#[cfg(test)]
mod tests;
