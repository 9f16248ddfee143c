//! Commands about the connection itself: PING, HELLO, AUTH, SELECT, CLIENT and their kin.

use super::clients::{Closing, Durability, Parting, ReplyMode};
use super::numbers::database;
use super::{Caller, Command, Desk, Flags, Group, Merge, Merging, Outcome, Over, Part, Policy, Run, merge, roster};
use crate::admin::acl::{Context, DEFAULT_NAME, Denial, Proof, Reason, UserId};
use crate::base::ascii::{is_word, parse_i64};
use crate::wire::fault::Fault;
use crate::wire::reply::{Dialect, Reply};
use crate::wire::request::Args;

pub const BASE: Flags = Flags::NOSCRIPT.and(Flags::LOADING).and(Flags::STALE);
const FAST: Flags = Flags::LOADING.and(Flags::STALE).and(Flags::FAST);
const ROW: Command = Command { group: Group::Connection, ..Command::ROW };

pub const ROWS: &[Command] = &[
    Command {
        name: "auth",
        syntax: "AUTH [username] password",
        arity: -2,
        flags: BASE.and(Flags::FAST).and(Flags::NO_AUTH).and(Flags::ALLOW_BUSY),
        complexity: "O(N) where N is the number of passwords defined for the user",
        summary: "Proves who the client is by a password.",
        run: Run::Session(auth),
        ..ROW
    },
    Command {
        name: "client",
        syntax: "CLIENT",
        arity: -2,
        since: "2.4.0",
        complexity: "Depends on subcommand.",
        summary: "Commands about client connections.",
        children: CLIENT,
        ..ROW
    },
    Command {
        name: "echo",
        syntax: "ECHO message",
        arity: 2,
        flags: FAST,
        summary: "Answers its argument.",
        run: Run::Session(echo),
        ..ROW
    },
    Command {
        name: "hello",
        syntax: "HELLO [protover [AUTH username password] [SETNAME clientname]]",
        arity: -1,
        flags: BASE.and(Flags::FAST).and(Flags::NO_AUTH).and(Flags::ALLOW_BUSY),
        since: "6.0.0",
        summary: "Chooses the protocol version, may log in and name the connection, and tells about the server.",
        run: Run::Session(hello),
        ..ROW
    },
    Command {
        name: "ping",
        syntax: "PING [message]",
        arity: -1,
        flags: Flags::FAST,
        summary: "Answers PONG, or its argument.",
        policy: Policy::AllShards(Merge::AllSucceeded),
        run: Run::Session(ping),
        ..ROW
    },
    Command {
        name: "quit",
        syntax: "QUIT",
        arity: 1,
        flags: BASE.and(Flags::FAST).and(Flags::NO_AUTH).and(Flags::ALLOW_BUSY),
        summary: "Ends the connection once its replies have left.",
        run: Run::Session(quit),
        ..ROW
    },
    Command {
        name: "reset",
        syntax: "RESET",
        arity: 1,
        flags: BASE.and(Flags::FAST).and(Flags::NO_AUTH).and(Flags::ALLOW_BUSY),
        since: "6.2.0",
        summary: "Puts the connection back to how it was when it was made.",
        run: Run::Session(reset),
        ..ROW
    },
    Command {
        name: "select",
        syntax: "SELECT index",
        arity: 2,
        flags: FAST,
        summary: "Chooses the database of this connection.",
        run: Run::Session(select),
        ..ROW
    },
];

const CLIENT: &[Command] = &[
    Command {
        name: "client|durability",
        syntax: "CLIENT DURABILITY <DEFAULT | NONE | FSYNC>",
        arity: 3,
        flags: BASE,
        since: "7.2.0",
        summary: "Whether replies to this connection wait until what they show is on the disk.",
        run: Run::Session(client_durability),
        ..ROW
    },
    Command {
        name: "client|getname",
        syntax: "CLIENT GETNAME",
        arity: 2,
        flags: BASE,
        since: "2.6.9",
        summary: "Answers the name of the connection.",
        run: Run::Session(client_getname),
        ..ROW
    },
    Command {
        name: "client|getredir",
        syntax: "CLIENT GETREDIR",
        arity: 2,
        flags: BASE,
        since: "6.0.0",
        summary: "Answers where invalidations of tracked keys go to: -1, since no keys are tracked.",
        run: Run::Session(client_getredir),
        ..ROW
    },
    Command {
        name: "client|help",
        syntax: "CLIENT HELP",
        arity: 2,
        flags: FAST_HELP,
        since: "5.0.0",
        summary: "Lists the subcommands.",
        run: Run::Session(super::introspect::help),
        ..ROW
    },
    Command {
        name: "client|id",
        syntax: "CLIENT ID",
        arity: 2,
        flags: BASE,
        since: "5.0.0",
        summary: "Answers the number of the connection, which is never used twice.",
        run: Run::Session(client_id),
        ..ROW
    },
    Command {
        name: "client|info",
        syntax: "CLIENT INFO",
        arity: 2,
        flags: BASE,
        since: "6.2.0",
        summary: "Tells about this connection.",
        tips: &["nondeterministic_output"],
        run: Run::Session(roster::info),
        ..ROW
    },
    Command {
        name: "client|kill",
        syntax: "CLIENT KILL <ip:port | ID client-id | TYPE type | USER username | ADDR ip:port | LADDR ip:port | SKIPME yes-or-no | \
                 MAXAGE seconds> [filter value ...]",
        arity: -3,
        flags: BASE.and(Flags::ADMIN),
        since: "2.4.0",
        complexity: "O(N) where N is the number of client connections",
        summary: "Ends the connections that fit all filters.",
        run: Run::Split { over: Over::Nodes, part: Part::Desk(roster::kill), merge: Merging::Always(merge::killed) },
        ..ROW
    },
    Command {
        name: "client|list",
        syntax: "CLIENT LIST [TYPE <NORMAL | MASTER | REPLICA | PUBSUB>] [ID client-id [client-id ...]]",
        arity: -2,
        flags: BASE.and(Flags::ADMIN),
        since: "2.4.0",
        complexity: "O(N) where N is the number of client connections",
        summary: "Tells about every connection.",
        tips: &["nondeterministic_output"],
        run: Run::Split { over: Over::Nodes, part: Part::Desk(roster::list), merge: Merging::Several(merge::lines) },
        ..ROW
    },
    Command {
        name: "client|no-evict",
        syntax: "CLIENT NO-EVICT <ON | OFF>",
        arity: 3,
        flags: BASE.and(Flags::ADMIN),
        since: "7.0.0",
        summary: "Keeps the connection from being ended when clients hold too much memory.",
        run: Run::Session(client_no_evict),
        ..ROW
    },
    Command {
        name: "client|reply",
        syntax: "CLIENT REPLY <ON | OFF | SKIP>",
        arity: 3,
        flags: BASE,
        since: "3.2.0",
        summary: "Switches the replies to this connection on or off.",
        run: Run::Session(client_reply),
        ..ROW
    },
    Command {
        name: "client|setinfo",
        syntax: "CLIENT SETINFO <LIB-NAME libname | LIB-VER libver>",
        arity: 4,
        flags: BASE,
        since: "7.2.0",
        summary: "Notes the client library's name or version.",
        run: Run::Session(client_setinfo),
        ..ROW
    },
    Command {
        name: "client|setname",
        syntax: "CLIENT SETNAME connection-name",
        arity: 3,
        flags: BASE,
        since: "2.6.9",
        summary: "Names the connection.",
        run: Run::Session(client_setname),
        ..ROW
    },
    Command {
        name: "client|trackinginfo",
        syntax: "CLIENT TRACKINGINFO",
        arity: 2,
        flags: BASE,
        since: "6.2.0",
        summary: "Tells whether keys that this connection reads are tracked.",
        run: Run::Session(client_trackinginfo),
        ..ROW
    },
    Command {
        name: "client|unblock",
        syntax: "CLIENT UNBLOCK client-id [TIMEOUT | ERROR]",
        arity: -3,
        flags: BASE.and(Flags::ADMIN),
        since: "5.0.0",
        complexity: "O(log N) where N is the number of client connections",
        summary: "Ends the wait of a client, as if its time were over or with an error; answers whether it waited.",
        run: Run::Split { over: Over::Nodes, part: Part::Desk(client_unblock), merge: Merging::Several(merge::sum) },
        ..ROW
    },
];

/// What every HELP subcommand carries.
pub const FAST_HELP: Flags = Flags::LOADING.and(Flags::STALE);

fn ping(_: &mut Desk<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    match args.len() {
        1 => reply.simple("PONG"),
        2 => reply.bulk(args.at(1)),
        _ => return Err(Fault::Arity("ping")),
    }
    Ok(())
}

fn echo(_: &mut Desk<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    reply.bulk(args.at(1));
    Ok(())
}

fn quit(desk: &mut Desk<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    reply.ok();
    desk.clients.close(desk.caller.conn, Closing::AfterFlush);
    Ok(())
}

fn reset(desk: &mut Desk<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let acl = &*desk.acl;
    let client = desk.clients.get_mut(desk.caller.conn).expect("the caller's connection outlives its command");
    client.belong_to(UserId::DEFAULT, acl.proof_at_first(), acl);
    client.name = Box::default();
    let multi = client.multi.take();
    let watched = std::mem::take(&mut client.watched);
    client.dialect = Dialect::Resp2;
    client.db = 0;
    // What is being skipped stays so.
    if client.reply_mode == ReplyMode::Off {
        client.reply_mode = ReplyMode::On;
    }
    client.no_evict = false;
    desk.clients.unwatched.extend(watched);
    let conn = desk.caller.conn;
    desk.clients.monitors.remove(conn);
    if let Some(multi) = multi {
        multi.queue.bury(&mut desk.store.graves);
    }
    desk.set_durability(Durability::Default);
    reply.set_dialect(Dialect::Resp2);
    reply.simple("RESET");
    Ok(())
}

fn select(desk: &mut Desk<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let db = selected(&desk.caller, args, desk.store.databases())?;
    desk.client().db = db;
    reply.ok();
    Ok(())
}

/// The database that a SELECT chooses. On a shard port there is one only, as in a cluster.
pub fn selected(caller: &Caller, args: Args<'_>, databases: usize) -> Result<u8, Fault> {
    match database(args.at(1), databases) {
        Ok(0) => Ok(0),
        Ok(_) | Err(Fault::DbIndexOutOfRange) if caller.shard_port => {
            Err(Fault::Fixed("ERR SELECT is not allowed in cluster mode"))
        }
        db => db,
    }
}

fn auth(desk: &mut Desk<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    match args.len() {
        2 if desk.acl.users.default_user().takes_any() => return Err(Fault::NoAuthRequired),
        2 => log_in(desk, args.at(0), DEFAULT_NAME, args.at(1))?,
        3 => log_in(desk, args.at(0), args.at(1), args.at(2))?,
        _ => return Err(Fault::Syntax),
    }
    reply.ok();
    Ok(())
}

/// `command`: as it was typed, for ACL LOG.
fn log_in(desk: &mut Desk<'_>, command: &[u8], name: &[u8], password: &[u8]) -> Outcome {
    let acl = &mut *desk.acl;
    let client = desk.clients.get_mut(desk.caller.conn).expect("the caller's connection outlives its command");
    if let Some(user) = acl.users.recognize(name, password) {
        client.belong_to(user, Proof::Given, acl);
        return Ok(());
    }
    let context = if client.multi.is_some() { Context::Multi } else { Context::Toplevel };
    let client = roster::line_of(desk);
    let denial = Denial { reason: Reason::Auth, context, object: command.into(), user: name.into(), client };
    let max = usize::try_from(desk.config.acl_log_len_max()).unwrap_or(usize::MAX);
    desk.acl.log.note(denial, desk.now, max, (desk.identity.lane, desk.identity.lanes));
    desk.stats.denied[Reason::Auth as usize] += 1;
    Err(Fault::WrongPassword)
}

fn hello(desk: &mut Desk<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let mut dialect = None;
    if let Some(version) = args.get(1) {
        let not_a_number = Fault::Fixed("ERR Protocol version is not an integer or out of range");
        dialect = Some(match parse_i64(version).ok_or(not_a_number)? {
            2 => Dialect::Resp2,
            3 => Dialect::Resp3,
            _ => return Err(Fault::NoProto),
        });
    }
    let (mut name, mut login) = (None, None);
    let mut at = 2;
    while at < args.len() {
        let rest = args.len() - at - 1;
        if is_word(args.at(at), "AUTH") && rest >= 2 {
            login = Some((args.at(at + 1), args.at(at + 2)));
            at += 3;
        } else if is_word(args.at(at), "SETNAME") && rest >= 1 {
            name = Some(checked_name(args.at(at + 1))?);
            at += 2;
        } else {
            return Err(Fault::text(format!(
                "ERR Syntax error in HELLO option '{}'",
                String::from_utf8_lossy(args.at(at)).replace(['\r', '\n'], " ")
            )));
        }
    }
    if let Some((name, password)) = login {
        log_in(desk, args.at(0), name, password)?;
    }
    let client = desk.client();
    if !client.is_let_in() {
        return Err(Fault::Fixed(
            "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> \
             <pass> option can be used to authenticate the client and select the RESP protocol version at the same time",
        ));
    }
    if let Some(name) = name {
        client.name = name.into();
    }
    client.dialect = dialect.unwrap_or(client.dialect);
    reply.set_dialect(client.dialect);
    let (id, proto) = (client.id, if client.dialect == Dialect::Resp3 { 3 } else { 2 });
    let mode = if client.shard_port { "cluster" } else { "standalone" };
    reply.map(7);
    reply.text("server");
    reply.text("redis");
    reply.text("version");
    reply.text(super::server::REDIS_VERSION);
    reply.text("proto");
    reply.int(proto);
    reply.text("id");
    reply.unsigned(id);
    reply.text("mode");
    reply.text(mode);
    reply.text("role");
    reply.text("master");
    reply.text("modules");
    reply.array(0);
    Ok(())
}

fn client_id(desk: &mut Desk<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    reply.unsigned(desk.client().id);
    Ok(())
}

fn client_getname(desk: &mut Desk<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    match &*desk.client().name {
        b"" => reply.null(),
        name => reply.bulk(name),
    }
    Ok(())
}

/// Nobody can ask for tracking yet: what is told is what Redis tells a connection that has not.
fn client_getredir(_: &mut Desk<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    reply.int(-1);
    Ok(())
}

fn client_trackinginfo(_: &mut Desk<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    reply.map(3);
    reply.text("flags");
    reply.set(1);
    reply.text("off");
    reply.text("redirect");
    reply.int(-1);
    reply.text("prefixes");
    reply.array(0);
    Ok(())
}

fn client_setname(desk: &mut Desk<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    desk.client().name = checked_name(args.at(2))?.into();
    reply.ok();
    Ok(())
}

fn checked_name(name: &[u8]) -> Result<&[u8], Fault> {
    if is_printable(name) {
        return Ok(name);
    }
    Err(Fault::Fixed("ERR Client names cannot contain spaces, newlines or special characters."))
}

/// What may stand in a field of CLIENT LIST: its lines are split at blanks.
fn is_printable(text: &[u8]) -> bool {
    text.iter().all(|byte| (b'!'..=b'~').contains(byte))
}

fn client_setinfo(desk: &mut Desk<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let (option, value) = (args.at(2), args.at(3));
    let client = desk.client();
    let (field, shown) = if is_word(option, "LIB-NAME") {
        (&mut client.lib_name, "lib-name")
    } else if is_word(option, "LIB-VER") {
        (&mut client.lib_version, "lib-ver")
    } else {
        let option = String::from_utf8_lossy(option).replace(['\r', '\n'], " ");
        return Err(Fault::text(format!("ERR Unrecognized option '{option}'")));
    };
    if !is_printable(value) {
        return Err(Fault::text(format!("ERR {shown} cannot contain spaces, newlines or special characters.")));
    }
    *field = value.into();
    reply.ok();
    Ok(())
}

/// `maxmemory-clients` is unlimited: the mark is kept and shown, and nobody needs it.
fn client_no_evict(desk: &mut Desk<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    desk.client().no_evict = match args.at(2) {
        word if is_word(word, "ON") => true,
        word if is_word(word, "OFF") => false,
        _ => return Err(Fault::Syntax),
    };
    reply.ok();
    Ok(())
}

fn client_durability(desk: &mut Desk<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let durability = match args.at(2) {
        word if is_word(word, "DEFAULT") => Durability::Default,
        word if is_word(word, "NONE") => Durability::Never,
        word if is_word(word, "FSYNC") => Durability::Fsync,
        _ => return Err(Fault::Syntax),
    };
    if durability == Durability::Fsync && desk.config.journal_fsync().is_none() {
        return Err(Fault::Fixed("ERR CLIENT DURABILITY FSYNC cannot be used when appendonly is disabled."));
    }
    desk.set_durability(durability);
    reply.ok();
    Ok(())
}

fn client_reply(desk: &mut Desk<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let mode = args.at(2);
    let client = desk.client();
    if is_word(mode, "ON") {
        client.reply_mode = ReplyMode::On;
        reply.ok();
    } else if is_word(mode, "OFF") {
        client.reply_mode = ReplyMode::Off;
    } else if is_word(mode, "SKIP") {
        if client.reply_mode != ReplyMode::Off {
            client.reply_mode = ReplyMode::SkipNext;
        }
    } else {
        return Err(Fault::Syntax);
    }
    Ok(())
}

/// On every lane: the client is of one of them.
fn client_unblock(desk: &mut Desk<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let parting = match (args.len(), args.get(3)) {
        (3, _) => Parting::TimedOut,
        (4, Some(word)) if is_word(word, "TIMEOUT") => Parting::TimedOut,
        (4, Some(word)) if is_word(word, "ERROR") => Parting::Error,
        (4, _) => return Err(Fault::Fixed("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR")),
        _ => return Err(Fault::subcommand(args.at(1), "CLIENT")),
    };
    let id = parse_i64(args.at(2)).ok_or(Fault::NotInteger)?;
    let block = u64::try_from(id).ok().and_then(|id| desk.clients.blocked.remove(&id));
    desk.clients.unblocked.extend(block.map(|block| (block, parting)));
    reply.int(i64::from(block.is_some()));
    Ok(())
}
