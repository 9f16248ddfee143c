//! From the command line to serving lanes: reads the files that the configuration names and hands the rest to [`boot`].

use std::fs;
use std::io::Read as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::archive;
use super::boot::{JournalSettings, Settings, boot, provide_descriptors, room_for_clients};
use super::check::check;
use super::clock::Clock;
use super::cpus;
use super::keepalive::Keepalive;
use super::log::{Level, log_to_file, plain, say};
use super::process;
use super::replace::{read, replace};
use super::spin::Poll;
use super::sys::{ALLOCATOR, Purge, disable_huge_pages, monotonic_ns, random_bytes, set_purge, thread_cpu_ns};
use super::top;
use crate::admin::acl::{User, users_at_start};
use crate::admin::info::Identity;
use crate::base::rng::Rng;
use crate::command::Table;
use crate::command::acl::catalog;
use crate::command::docs::commands_md;
use crate::config::{Config, Note, Rights, Source, Start, help};
use crate::shard::{Setup, Shard, Slicing};

/// Runs the program with the arguments that follow its name.
pub fn run(args: &[String]) -> ExitCode {
    if args.first().is_some_and(|arg| arg == "--commands-md") {
        print!("{}", commands_md());
        return ExitCode::SUCCESS;
    }
    if let Some(("top", rest)) = args.split_first().map(|(first, rest)| (first.as_str(), rest)) {
        return told(top::run(rest));
    }
    if let [word, dir] = args
        && word == "check"
    {
        return told(check(Path::new(dir)));
    }
    let outcome = match Config::from_flags(args, &mut read_source) {
        Err(error) => Err(error.to_string()),
        Ok(Start::Help) => {
            print!("{}", help());
            Ok(())
        }
        Ok(Start::Version) => {
            println!("corelane {}", env!("CARGO_PKG_VERSION"));
            Ok(())
        }
        Ok(Start::Run(config, notes)) => serve(config, &notes, args),
    };
    told(outcome)
}

fn told(outcome: Result<(), String>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(line) => {
            eprintln!("corelane: {line}");
            ExitCode::FAILURE
        }
    }
}

fn serve(mut config: Config, notes: &[Note], args: &[String]) -> Result<(), String> {
    let mut settings = settings(&config)?;
    // What it is relative to is gone with the next step.
    let config_file = config_file(args);
    let dir = text(config.dir());
    std::env::set_current_dir(&dir)
        .map_err(|error| format!("cannot change to dir {dir} ({}): create it or give another dir", plain(&error)))?;
    // Whatever is said of its files says where they are.
    if let Ok(whole) = std::path::absolute(&settings.journal.dir) {
        settings.journal.dir = whole;
    }
    let logfile = text(config.logfile());
    if !logfile.is_empty() {
        log_to_file(&logfile).map_err(|error| {
            let error = plain(&error);
            format!(
                "cannot write logfile {logfile} ({error}): check the directory and its owner, or give another logfile"
            )
        })?;
    }
    tell_notes(notes);
    fit_clients(&mut config, &mut settings)?;
    tune_memory(&config);
    let identity = identity(&settings, config_file)?;
    let seed = seed()?;
    let users = users(&config)?;
    boot(settings, move |place| {
        let identity = Identity { lane: place.lane.0, lanes: place.lanes.count(), ..identity.clone() };
        Shard::new(Setup {
            identity,
            config: config.clone(),
            seed,
            trace: false,
            stopwatch: monotonic_ns,
            process: process::read,
            allocator: ALLOCATOR,
            room_for_clients,
            replace_file: replace,
            can_journal,
            read_file: read,
            entropy: random_bytes,
            users: users.clone(),
            cpu_time_ns: thread_cpu_ns,
            slicing: Slicing::default(),
            rows: &[],
            planted: None,
        })
    })
    .map_err(|error| error.to_string())
}

/// The users of `user` lines or of the ACL file, whose path is relative to `dir`.
fn users(config: &Config) -> Result<Vec<User>, String> {
    let path = text(config.aclfile());
    let read =
        || fs::read(&path).map_err(|error| format!("Error loading ACLs, opening file '{path}': {}", plain(&error)));
    let file = if path.is_empty() { None } else { Some(read()?) };
    users_at_start(config, file.as_deref(), &catalog(&Table::new()))
}

/// Whether a journal can be begun in this directory, for CONFIG SET.
fn can_journal(dir: &[u8]) -> bool {
    let outcome = archive::probe(Path::new(&text(dir)));
    outcome.inspect_err(|refusal| say(Level::Warning, &format!("The journal cannot be begun: {refusal}"))).is_ok()
}

/// As in Redis, `maxclients` is at most what the limit of open files has room for: who comes beyond it is told so and not left waiting.
fn fit_clients(config: &mut Config, settings: &mut Settings) -> Result<(), String> {
    let room = provide_descriptors(settings).map_err(|error| error.to_string())?;
    if room < settings.connections_max {
        settings.connections_max = room;
        let fitting = room.to_string();
        config
            .set_all(&[(b"maxclients", fitting.as_bytes())], Rights::Ordinary)
            .map_err(|error| format!("maxclients {fitting}: {error}"))?;
    }
    Ok(())
}

/// What holds a lane longer than its budget if left to its defaults: huge pages on first touch, memory given back and taken again.
fn tune_memory(config: &Config) {
    if config.disable_thp()
        && let Err(error) = disable_huge_pages()
    {
        say(
            Level::Warning,
            &format!("cannot disable transparent huge pages ({error}): expect stalls while memory grows"),
        );
    }
    set_purge(Purge::Lazily);
}

/// One line for all, so that a stock redis.conf does not fill the log.
fn tell_notes(notes: &[Note]) {
    let mut names: Vec<&str> = notes.iter().map(|note| note.name).collect();
    names.sort_unstable();
    names.dedup();
    if !names.is_empty() {
        say(Level::Notice, &format!("options accepted without effect here: {} (see --help)", names.join(", ")));
    }
}

/// The runtime's part of the configuration.
fn settings(config: &Config) -> Result<Settings, String> {
    let cpus = cpus::parse(&text(config.cpus()))?;
    let lanes = config.lanes().map(|lanes| usize::try_from(lanes).unwrap_or(1));
    let lanes = lanes.unwrap_or_else(|| cpus::lanes_by_default(&cpus));
    let port = |name, port| u16::try_from(port).map_err(|_| format!("{name}: must be between 0 and 65535"));
    let (mut bind, mut bind_if_there) = (Vec::new(), Vec::new());
    for address in config.bind() {
        let address = text(address);
        match address.strip_prefix('-') {
            Some(optional) => bind_if_there.extend(ip(optional)?),
            None => bind.extend(ip(&address)?),
        }
    }
    let pidfile = text(config.pidfile());
    Ok(Settings {
        lanes,
        cpus,
        bind,
        bind_if_there,
        port: port("port", config.port())?,
        shard_port: port("shard-port", config.shard_port())?,
        tcp_backlog: u32::try_from(config.tcp_backlog()).unwrap_or(u32::MAX),
        keepalive: Keepalive::of(config.tcp_keepalive_s()),
        connections_max: config.clients_max(),
        poll: Poll::of(config.poll_us()),
        journal: JournalSettings {
            is_kept: config.appendonly(),
            dir: PathBuf::from(text(config.appenddirname())),
            load_truncated: config.aof_load_truncated(),
            load_delay_us: config.key_load_delay_us(),
        },
        pidfile: (!pidfile.is_empty()).then(|| PathBuf::from(pidfile)),
    })
}

/// `*` is every IPv4 address, `::*` every IPv6 one.
fn ip(address: &str) -> Result<Option<IpAddr>, String> {
    match address {
        "*" => Ok(Some(Ipv4Addr::UNSPECIFIED.into())),
        "::*" => Ok(Some(Ipv6Addr::UNSPECIFIED.into())),
        "" => Ok(None),
        _ => match address.parse() {
            Ok(ip) => Ok(Some(ip)),
            Err(_) => Err(format!("bind: '{address}' is no IP address: write numbers, such as 127.0.0.1 or ::1")),
        },
    }
}

/// The whole path of the file that the first argument names, empty if it names none.
fn config_file(args: &[String]) -> String {
    args.first().filter(|first| !first.starts_with('-')).map_or_else(String::new, |file| {
        std::path::absolute(file).map_or_else(|_| file.clone(), |path| path.display().to_string())
    })
}

fn identity(settings: &Settings, config_file: String) -> Result<Identity, String> {
    let mut rng = Rng::new(seed()?[0]);
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    Ok(Identity {
        run_id: (0..3).map(|_| format!("{:016x}", rng.next_u64())).collect::<String>()[..40].to_owned(),
        pid: std::process::id(),
        started_ms: Clock::start().read().millis().0,
        lane: 0,
        lanes: u16::try_from(settings.lanes).map_err(|_| "lanes: too many".to_owned())?,
        port: settings.port,
        executable: std::env::current_exe().map_or_else(|_| String::new(), |path| path.display().to_string()),
        config_file,
        os: format!("Linux {} {}", release.trim(), std::env::consts::ARCH),
    })
}

/// Secret, from the kernel: the keyed hash of the keyspace must not be guessed.
fn seed() -> Result<[u64; 2], String> {
    let bytes = random_bytes::<16>()?;
    let (low, high) = bytes.split_at(8);
    let word = |half: &[u8]| half.iter().fold(0, |word, byte| word << 8 | u64::from(*byte));
    Ok([word(low), word(high)])
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Reads configuration files; in `include` lines a path may be a pattern over one directory's files.
fn read_source(source: Source<'_>) -> Result<Vec<(String, Vec<u8>)>, String> {
    match source {
        Source::Stdin => {
            let mut text = Vec::new();
            std::io::stdin()
                .read_to_end(&mut text)
                .map_err(|error| format!("cannot read standard input ({})", plain(&error)))?;
            Ok(vec![("standard input".to_owned(), text)])
        }
        Source::File(path) => matching(path)
            .into_iter()
            .map(|path| match fs::read(&path) {
                Ok(text) => Ok((path.display().to_string(), text)),
                Err(error) => Err(format!("cannot read configuration file {} ({})", path.display(), plain(&error))),
            })
            .collect(),
    }
}

fn matching(path: &str) -> Vec<PathBuf> {
    use crate::base::glob::{Case, matches};
    if !path.contains(['*', '?', '[']) {
        return vec![PathBuf::from(path)];
    }
    let whole = PathBuf::from(path);
    let dir =
        whole.parent().filter(|dir| !dir.as_os_str().is_empty()).map_or_else(|| PathBuf::from("."), PathBuf::from);
    let pattern = whole.file_name().unwrap_or_default().as_encoded_bytes().to_vec();
    // As in Redis, a pattern that nothing matches is no error.
    let Ok(entries) = fs::read_dir(&dir) else { return Vec::new() };
    let mut found: Vec<PathBuf> = entries
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .filter(|path| matches(&pattern, path.file_name().unwrap_or_default().as_encoded_bytes(), Case::Exact))
        .collect();
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_configuration_binds_loopback() {
        let settings = settings(&Config::default()).expect("defaults are legal");
        assert_eq!(settings.bind, [IpAddr::from(Ipv4Addr::LOCALHOST)]);
        assert_eq!((settings.port, settings.shard_port), (6379, 0));
        assert_eq!(settings.lanes, cpus::lanes_by_default(&[]));
    }
}
