//! Commands about the server: INFO, CONFIG, TIME, SHUTDOWN, DEBUG and those over the whole keyspace.

use std::sync::mpsc::TryRecvError;
use std::time::Duration;

use super::connection::FAST_HELP;
use super::numbers::integer;
use super::order::Order;
use super::sliced::Job;
use super::{
    Command, Ctx, Desk, FactsPage, Flags, Group, Log, Merge, Merging, Outcome, Over, Part, Policy, Run, Verb, merge,
};
use crate::admin::acl::{User, default_user, user_of_line};
use crate::admin::file;
use crate::admin::journal::Asked;
use crate::base::ascii::is_word;
use crate::config::rewrite::UserNow;
use crate::config::{Rights, SetError};
use crate::store::keyspace::Graveyard;
use crate::types::Progress;
use crate::wire::fault::Fault;
use crate::wire::reply::Reply;
use crate::wire::request::Args;

/// The Redis version whose behaviour clients may expect.
pub const REDIS_VERSION: &str = "7.2.4";

const ADMIN: Flags = Flags::ADMIN.and(Flags::NOSCRIPT).and(Flags::LOADING).and(Flags::STALE);
const ROW: Command = Command { group: Group::Server, ..Command::ROW };
const SUCCEEDED: Merging = Merging::Several(merge::all_succeeded);

pub const ROWS: &[Command] = &[
    Command {
        name: "bgrewriteaof",
        syntax: "BGREWRITEAOF",
        arity: 1,
        flags: Flags::NO_ASYNC_LOADING.and(Flags::ADMIN).and(Flags::NOSCRIPT),
        complexity: "O(1); the journal is rewritten in the background",
        summary: "Replaces the journal by what the keyspace holds now.",
        run: Run::Split {
            over: Over::Nodes,
            part: Part::Desk(bgrewriteaof),
            merge: Merging::Always(merge::all_succeeded),
        },
        ..ROW
    },
    Command {
        name: "config",
        syntax: "CONFIG",
        arity: -2,
        since: "2.0.0",
        complexity: "Depends on subcommand.",
        summary: "Commands about the configuration.",
        children: CONFIG,
        ..ROW
    },
    Command {
        name: "dbsize",
        syntax: "DBSIZE",
        arity: 1,
        flags: Flags::READONLY.and(Flags::FAST).and(Flags::KEYSPACE),
        summary: "Answers how many keys the database holds.",
        policy: Policy::AllShards(Merge::Sum),
        run: Run::Split { over: Over::Keyspace, part: Part::Keys(dbsize), merge: Merging::Several(merge::sum) },
        ..ROW
    },
    Command {
        name: "debug",
        syntax: "DEBUG subcommand [arg [arg ...]]",
        arity: -2,
        flags: ADMIN,
        complexity: "Depends on subcommand.",
        summary: "Commands for testing.",
        run: Run::Split { over: Over::Nodes, part: Part::Desk(debug), merge: SUCCEEDED },
        ..ROW
    },
    Command {
        name: "flushall",
        syntax: "FLUSHALL [ASYNC | SYNC]",
        arity: -1,
        flags: Flags::WRITE.and(Flags::DANGEROUS).and(Flags::KEYSPACE),
        complexity: "O(1); the memory is freed in the background",
        summary: "Removes all keys of all databases.",
        log: Log::Verbatim,
        policy: Policy::AllShards(Merge::AllSucceeded),
        run: Run::Split { over: Over::Keyspace, part: Part::Keys(flushall), merge: SUCCEEDED },
        ..ROW
    },
    Command {
        name: "flushdb",
        syntax: "FLUSHDB [ASYNC | SYNC]",
        arity: -1,
        flags: Flags::WRITE.and(Flags::DANGEROUS).and(Flags::KEYSPACE),
        complexity: "O(1); the memory is freed in the background",
        summary: "Removes all keys of the database.",
        log: Log::Verbatim,
        policy: Policy::AllShards(Merge::AllSucceeded),
        run: Run::Split { over: Over::Keyspace, part: Part::Keys(flushdb), merge: SUCCEEDED },
        ..ROW
    },
    Command {
        name: "info",
        syntax: "INFO [section [section ...]]",
        arity: -1,
        flags: Flags::LOADING.and(Flags::STALE).and(Flags::DANGEROUS),
        summary: "Tells how the server does.",
        policy: Policy::AllShards(Merge::Special),
        tips: &["nondeterministic_output"],
        run: Run::Verb(Verb::Facts(FactsPage::Info)),
        ..ROW
    },
    Command {
        name: "lolwut",
        syntax: "LOLWUT [VERSION version]",
        arity: -1,
        flags: Flags::READONLY.and(Flags::FAST),
        since: "5.0.0",
        summary: "Answers with the version, and a picture of where keys go.",
        run: Run::Session(lolwut),
        ..ROW
    },
    Command {
        name: "role",
        syntax: "ROLE",
        arity: 1,
        flags: ADMIN.and(Flags::FAST),
        since: "2.8.12",
        summary: "Answers whether the server is a master, its offset and its replicas.",
        run: Run::Session(role),
        ..ROW
    },
    Command {
        name: "shutdown",
        syntax: "SHUTDOWN [NOSAVE | SAVE] [NOW] [FORCE] [ABORT]",
        arity: -1,
        flags: ADMIN.and(Flags::NO_MULTI).and(Flags::ALLOW_BUSY),
        summary: "Answers what was read and ends the server.",
        run: Run::Session(shutdown),
        ..ROW
    },
    Command {
        name: "time",
        syntax: "TIME",
        arity: 1,
        flags: Flags::LOADING.and(Flags::STALE).and(Flags::FAST),
        since: "2.6.0",
        summary: "Answers the server's time in seconds and microseconds.",
        tips: &["nondeterministic_output"],
        run: Run::Session(time),
        ..ROW
    },
];

const CONFIG: &[Command] = &[
    Command {
        name: "config|get",
        syntax: "CONFIG GET parameter [parameter ...]",
        arity: -3,
        flags: ADMIN,
        since: "2.0.0",
        complexity: "O(N) where N is the number of options that match",
        summary: "Answers the values of options, which may be patterns.",
        run: Run::Session(config_get),
        ..ROW
    },
    Command {
        name: "config|help",
        syntax: "CONFIG HELP",
        arity: 2,
        flags: FAST_HELP,
        since: "5.0.0",
        summary: "Lists the subcommands.",
        run: Run::Session(super::introspect::help),
        ..ROW
    },
    Command {
        name: "config|resetstat",
        syntax: "CONFIG RESETSTAT",
        arity: 2,
        flags: ADMIN,
        since: "2.0.0",
        summary: "Sets the counters of INFO back to zero.",
        policy: Policy::AllNodes(Merge::AllSucceeded),
        run: Run::Split { over: Over::Nodes, part: Part::Desk(config_resetstat), merge: SUCCEEDED },
        ..ROW
    },
    Command {
        name: "config|rewrite",
        syntax: "CONFIG REWRITE",
        arity: 2,
        flags: ADMIN,
        since: "2.8.0",
        complexity: "O(N) where N is the length of the file; it is written in the background",
        summary: "Writes the configuration into the file it was read from, whose comments and order stay.",
        run: Run::Filed(config_rewrite),
        ..ROW
    },
    Command {
        name: "config|set",
        syntax: "CONFIG SET parameter value [parameter value ...]",
        arity: -4,
        flags: ADMIN,
        since: "2.0.0",
        complexity: "O(N) where N is the number of options given",
        summary: "Sets options, all of them or none.",
        policy: Policy::AllNodes(Merge::AllSucceeded),
        run: Run::Split { over: Over::Keyspace, part: Part::Desk(config_set), merge: SUCCEEDED },
        ..ROW
    },
];

/// Lane 0 steers rewrites, and is the first to answer.
fn bgrewriteaof(desk: &mut Desk<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    if desk.identity.lane > 0 {
        reply.ok();
        return Ok(());
    }
    if desk.rewrites.is_under_way() {
        return Err(Fault::Fixed("ERR Background append only file rewriting already in progress"));
    }
    // Within EXEC Redis does not fork.
    if desk.caller.in_exec {
        desk.rewrites.asked = Asked::Later;
        reply.simple("Background append only file rewriting scheduled");
    } else {
        desk.rewrites.asked = Asked::Now;
        reply.simple("Background append only file rewriting started");
    }
    Ok(())
}

fn config_get(desk: &mut Desk<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let patterns: Vec<&[u8]> = args.from(2).iter().collect();
    let found = desk.config.get(&patterns);
    reply.map(found.len());
    for (name, value) in found {
        reply.bulk(&name);
        reply.bulk(&value);
    }
    Ok(())
}

fn config_set(desk: &mut Desk<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let words = args.from(2);
    if !words.len().is_multiple_of(2) {
        return Err(Fault::Syntax);
    }
    let pairs: Vec<(&[u8], &[u8])> = (0..words.len()).step_by(2).map(|i| (words.at(i), words.at(i + 1))).collect();
    let loopback = desk.caller.loopback;
    let rights = match desk.config.enable_protected_configs() {
        "yes" => Rights::Protected,
        "local" if loopback => Rights::Protected,
        _ => Rights::Ordinary,
    };
    let before = desk.config.clone();
    let changed = desk.config.set_all(&pairs, rights).map_err(|error| Fault::text(error.to_string()))?;
    let (wanted, had) = (desk.config.clients_max(), before.clients_max());
    let room = if wanted > had { (desk.room_for_clients)(wanted, desk.identity.lanes) } else { wanted };
    if room < wanted {
        *desk.config = before;
        let why =
            format!("The operating system is not able to handle the specified number of clients, try with {room}");
        return Err(Fault::text(SetError::Failed { name: "maxclients".into(), why }.to_string()));
    }
    let is_begun = desk.config.appendonly() && !before.appendonly();
    if is_begun && !(desk.can_journal)(desk.config.appenddirname()) {
        *desk.config = before;
        let why = "Unable to turn on AOF. Check server logs.".to_owned();
        return Err(Fault::text(SetError::Failed { name: "appendonly".into(), why }.to_string()));
    }
    if changed.iter().any(|row| row.name == "requirepass") {
        desk.acl.users.require(desk.config.requirepass());
        desk.users_changed(&[]);
    }
    desk.acl.log.truncate(usize::try_from(desk.config.acl_log_len_max()).unwrap_or(usize::MAX));
    desk.clients.config_changed = true;
    desk.stats.latency.threshold_ms = desk.config.latency_monitor_threshold_ms().unsigned_abs();
    reply.ok();
    Ok(())
}

/// The reply comes when the file is on the disk; meanwhile the lane serves others.
fn config_rewrite(desk: &mut Desk<'_>, _: Args<'_>, _: &mut Reply<'_>) -> Outcome {
    let path = &desk.identity.config_file;
    if path.is_empty() {
        return Err(Fault::Fixed("ERR The server is running without a config file"));
    }
    let config = desk.config.clone();
    let users = users_now(desk);
    let outcome = (desk.replace_file)(path, Box::new(move |text| config.rewritten(text, &users)));
    *desk.begun = Some(Box::new(Rewriting::of(outcome, "Rewriting config file")));
    Ok(())
}

/// The users as the configuration is to have them: none if they have a file of their own.
fn users_now(desk: &Desk<'_>) -> Vec<UserNow> {
    let (acl, config) = (&desk.acl, &desk.config);
    if !config.aclfile().is_empty() {
        return Vec::new();
    }
    let now = |user: &User| {
        let line = config.users().iter().find(|line| line.name == *user.name);
        let as_read = match line {
            Some(line) => {
                let is_same = user_of_line(line, config, &acl.catalog).is_ok_and(|read| read == *user);
                is_same.then(|| line.rules.clone())
            }
            // Nothing says anything of the default user but `requirepass`.
            None => (*user == default_user(config, &acl.catalog)).then(Vec::new),
        };
        UserNow { name: user.name.to_vec(), rules: user.words(), as_read }
    };
    acl.users.iter().map(now).collect()
}

/// A file that is being written, while the disk is at work.
#[derive(Debug)]
pub struct Rewriting {
    outcome: file::Outcome,
    /// What stands before the reason if it fails.
    about: &'static str,
}

impl Rewriting {
    pub fn of(outcome: file::Outcome, about: &'static str) -> Self {
        Self { outcome, about }
    }
}

impl Job for Rewriting {
    fn step(&mut self, _: &mut Ctx<'_>, reply: &mut Reply<'_>) -> Result<Progress, Fault> {
        let about = self.about;
        match self.outcome.try_recv() {
            Err(TryRecvError::Empty) => return Ok(Progress::More),
            Ok(Ok(())) => reply.ok(),
            Ok(Err(why)) => return Err(Fault::text(format!("ERR {about}: {why}"))),
            Err(TryRecvError::Disconnected) => return Err(Fault::text(format!("ERR {about}: nobody writes it"))),
        }
        Ok(Progress::Done)
    }

    fn abandon(self: Box<Self>, _: &mut Graveyard) {}
}

fn config_resetstat(desk: &mut Desk<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    desk.stats.reset();
    desk.store.counters = Default::default();
    desk.clients.stats_reset = true;
    reply.ok();
    Ok(())
}

/// There is no replication yet: a master that nobody follows.
fn role(_: &mut Desk<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    reply.array(3);
    reply.text("master");
    reply.int(0);
    reply.array(0);
    Ok(())
}

/// A row for each lane, with its share of the slots; whatever version is asked for.
fn lolwut(desk: &mut Desk<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    if args.get(1).is_some_and(|word| is_word(word, "VERSION")) {
        integer(args.get(2).unwrap_or_default())?;
    }
    const WIDTH: u32 = 64;
    let lanes = u32::from(desk.identity.lanes);
    let mut text = String::new();
    for lane in 0..lanes {
        let (from, to) = (lane * WIDTH / lanes, (lane + 1) * WIDTH / lanes);
        text.extend((0..WIDTH).map(|at| if (from..to).contains(&at) { '\u{2588}' } else { '\u{2591}' }).chain(['\n']));
    }
    text.push_str(concat!("\nCorelane ver. ", env!("CARGO_PKG_VERSION"), "\n"));
    reply.verbatim("txt", text.as_bytes());
    Ok(())
}

fn time(desk: &mut Desk<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    reply.array(2);
    reply.text(&(desk.now.unix_us / 1_000_000).to_string());
    reply.text(&(desk.now.unix_us % 1_000_000).to_string());
    Ok(())
}

fn dbsize(ctx: &mut Ctx<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    reply.count(ctx.keyspace().len());
    Ok(())
}

/// ASYNC and SYNC are one: the keys are gone at once and their memory follows in slices.
fn flush_option(args: Args<'_>) -> Outcome {
    match args.get(1) {
        None => Ok(()),
        Some(word) if args.len() == 2 && (is_word(word, "ASYNC") || is_word(word, "SYNC")) => Ok(()),
        Some(_) => Err(Fault::Syntax),
    }
}

fn flushall(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    flush_option(args)?;
    for db in 0..ctx.store.databases() {
        ctx.store.flush(u8::try_from(db).expect("at most 256 databases"));
    }
    reply.ok();
    Ok(())
}

fn flushdb(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    flush_option(args)?;
    ctx.store.flush(ctx.db);
    reply.ok();
    Ok(())
}

/// SAVE is refused, since there are no snapshots to write yet: a server must not end as if it had saved. FORCE overrides.
fn shutdown(desk: &mut Desk<'_>, args: Args<'_>, _: &mut Reply<'_>) -> Outcome {
    let words: Vec<&[u8]> = args.from(1).iter().collect();
    let given = |name| words.iter().any(|word| is_word(word, name));
    let known = ["SAVE", "NOSAVE", "NOW", "FORCE", "ABORT"];
    let unknown = words.iter().any(|word| !known.iter().any(|name| is_word(word, name)));
    if unknown || (given("SAVE") && given("NOSAVE")) || (given("ABORT") && words.len() > 1) {
        return Err(Fault::Syntax);
    }
    if given("ABORT") {
        return Err(Fault::Fixed("ERR No shutdown in progress."));
    }
    if given("SAVE") && !given("FORCE") {
        return Err(Fault::Fixed("ERR Errors trying to SHUTDOWN. Snapshots are not available: use SHUTDOWN NOSAVE."));
    }
    desk.clients.orders.push_back(Order::Stop);
    Ok(())
}

/// DEBUG's subcommands are no rows of the table, in Redis as here.
fn debug(desk: &mut Desk<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    check_debug_allowed(desk)?;
    match (args.at(1), args.len()) {
        (word, 2) if is_word(word, "HELP") => debug_help(reply),
        (word, 2) if is_word(word, "PANIC") => panic!("a client called DEBUG PANIC"),
        (word, 3) if is_word(word, "SLEEP") => return debug_sleep(desk, args, reply),
        (word, _) => return Err(Fault::subcommand(word, "DEBUG")),
    }
    Ok(())
}

fn debug_help(reply: &mut Reply<'_>) {
    let lines = [
        "DEBUG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "PANIC",
        "    End the server as a bug would: with a report and SIGABRT.",
        "SLEEP <seconds>",
        "    Hold every lane for so many seconds; decimals are allowed.",
        "HELP",
        "    Print this help.",
    ];
    reply.array(lines.len());
    lines.iter().for_each(|line| reply.simple(line));
}

/// `enable-debug-command`: nobody by default, since DEBUG can hold or harm the server.
fn check_debug_allowed(desk: &mut Desk<'_>) -> Outcome {
    let loopback = desk.caller.loopback;
    match desk.config.enable_debug_command() {
        "yes" => Ok(()),
        "local" if loopback => Ok(()),
        _ => Err(Fault::Fixed(
            "ERR DEBUG command not allowed. If the enable-debug-command option is set to \"local\", you can run it from a \
             local connection, otherwise you need to set this option in the configuration file, and then restart the server.",
        )),
    }
}

fn debug_sleep(desk: &mut Desk<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    // What is no number of seconds is none, as in Redis.
    let seconds = std::str::from_utf8(args.at(2)).ok().and_then(|text| text.parse::<f64>().ok());
    let pause = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()).unwrap_or_default();
    desk.clients.orders.push_back(Order::Hold(pause));
    reply.ok();
    Ok(())
}
