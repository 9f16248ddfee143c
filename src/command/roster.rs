//! CLIENT LIST, INFO and KILL: who is connected. Each lane tells of, or ends, its own; who asks is told apart by its CLIENT ID, which is
//! unique over all lanes.

use super::clients::{Client, Clients, Closing, ConnId};
use super::{Desk, Outcome, Table};
use crate::admin::acl::{UserId, Users};
use crate::base::ascii::{is_word, parse_i64};
use crate::base::time::Millis;
use crate::wire::fault::Fault;
use crate::wire::reply::{Dialect, Reply};
use crate::wire::request::Args;

pub fn info(desk: &mut Desk<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let client = desk.clients.get(desk.caller.conn).expect("the caller's connection outlives its command");
    reply.verbatim("txt", describe(client, Seen::from(desk)).as_bytes());
    Ok(())
}

/// A lane's lines, the oldest connection first.
pub fn list(desk: &mut Desk<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let wanted = listed(args)?;
    let now = desk.now.millis();
    let mut clients: Vec<&Client> = open(desk).map(|(_, client)| client).collect();
    clients.retain(|client| wanted.includes(client, now));
    clients.sort_unstable_by_key(|client| client.id);
    let lines: String = clients.into_iter().map(|client| describe(client, Seen::from(desk))).collect();
    reply.verbatim("txt", lines.as_bytes());
    Ok(())
}

/// How many of a lane's were killed. In the old form, by address alone, OK or nothing.
pub fn kill(desk: &mut Desk<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let by_address = args.len() == 3;
    let (wanted, me) = (killed(args, &desk.acl.users)?, desk.caller.client);
    let (now, spared) = (desk.now.millis(), wanted.skips_caller.then_some(me));
    let conns: Vec<(ConnId, u64)> = open(desk)
        .filter(|(_, client)| wanted.includes(client, now) && spared != Some(client.id))
        .map(|(conn, client)| (conn, client.id))
        .collect();
    for (conn, id) in &conns {
        // Whoever kills itself still hears of it.
        desk.clients.close(*conn, if *id == me { Closing::AfterFlush } else { Closing::Now });
    }
    match (by_address, conns.len()) {
        (true, 0) => reply.null(),
        (true, _) => reply.ok(),
        (false, count) => reply.count(count),
    }
    Ok(())
}

/// Those that nobody has killed in this turn.
fn open<'d>(desk: &'d Desk<'_>) -> impl Iterator<Item = (ConnId, &'d Client)> {
    let all = desk.clients.slab.iter().map(|(number, client)| (ConnId(number), client));
    all.filter(|(_, client)| client.closing != Closing::Now)
}

/// Which clients: all that fit every filter given.
#[derive(Debug, Default)]
struct Filter<'a> {
    ids: Option<Vec<u64>>,
    address: Option<&'a [u8]>,
    local_address: Option<&'a [u8]>,
    kind: Option<Kind>,
    age_s: Option<u64>,
    user: Option<UserId>,
    skips_caller: bool,
}

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Normal,
    /// No client of this kind can exist yet.
    Other,
}

impl Filter<'_> {
    fn includes(&self, client: &Client, now: Millis) -> bool {
        let is_at = |wanted: Option<&[u8]>, address: std::net::SocketAddr| {
            wanted.is_none_or(|wanted| wanted == address.to_string().as_bytes())
        };
        self.ids.as_ref().is_none_or(|ids| ids.contains(&client.id))
            && self.kind.is_none_or(|kind| kind == Kind::Normal)
            && self.user.is_none_or(|user| user == client.user)
            && self.age_s.is_none_or(|age_s| now.since(client.created) / 1000 >= age_s)
            && is_at(self.address, client.peer)
            && is_at(self.local_address, client.local)
    }
}

/// `CLIENT LIST [TYPE type] [ID id ...]`
fn listed(args: Args<'_>) -> Result<Filter<'_>, Fault> {
    match (args.len(), args.get(2)) {
        (2, _) => Ok(Filter::default()),
        (4, Some(word)) if is_word(word, "TYPE") => {
            Ok(Filter { kind: Some(kind_named(args.at(3))?), ..Filter::default() })
        }
        (4.., Some(word)) if is_word(word, "ID") => {
            let number = |id| positive(id).ok_or(Fault::Fixed("ERR Invalid client ID"));
            let ids = args.from(3).iter().map(number).collect::<Result<_, _>>()?;
            Ok(Filter { ids: Some(ids), ..Filter::default() })
        }
        _ => Err(Fault::Syntax),
    }
}

/// `CLIENT KILL ip:port`, or filters with their values; of one that is given twice the latter counts.
fn killed<'a>(args: Args<'a>, users: &Users) -> Result<Filter<'a>, Fault> {
    if args.len() == 3 {
        return Ok(Filter { address: Some(args.at(2)), ..Filter::default() });
    }
    let mut filter = Filter { skips_caller: true, ..Filter::default() };
    for i in (2..args.len()).step_by(2) {
        let (word, value) = (args.at(i), args.get(i + 1).ok_or(Fault::Syntax)?);
        if is_word(word, "ID") {
            let id = positive(value).ok_or(Fault::Fixed("ERR client-id should be greater than 0"))?;
            filter.ids = Some(vec![id]);
        } else if is_word(word, "TYPE") {
            filter.kind = Some(kind_named(value)?);
        } else if is_word(word, "ADDR") {
            filter.address = Some(value);
        } else if is_word(word, "LADDR") {
            filter.local_address = Some(value);
        } else if is_word(word, "USER") {
            let unknown = || Fault::text(format!("ERR No such user '{}'", shown(value)));
            filter.user = Some(users.find(value).ok_or_else(unknown)?);
        } else if is_word(word, "MAXAGE") {
            let age = parse_i64(value).ok_or(Fault::Fixed("ERR maxage is not an integer or out of range"))?;
            let age = u64::try_from(age).ok().filter(|age| *age > 0);
            filter.age_s = Some(age.ok_or(Fault::Fixed("ERR maxage should be greater than 0"))?);
        } else if is_word(word, "SKIPME") {
            filter.skips_caller = match value {
                word if is_word(word, "YES") => true,
                word if is_word(word, "NO") => false,
                _ => return Err(Fault::Syntax),
            };
        } else {
            return Err(Fault::Syntax);
        }
    }
    Ok(filter)
}

fn positive(arg: &[u8]) -> Option<u64> {
    parse_i64(arg).and_then(|number| u64::try_from(number).ok()).filter(|number| *number > 0)
}

fn kind_named(name: &[u8]) -> Result<Kind, Fault> {
    if is_word(name, "NORMAL") {
        return Ok(Kind::Normal);
    }
    if ["MASTER", "REPLICA", "SLAVE", "PUBSUB"].iter().any(|other| is_word(name, other)) {
        return Ok(Kind::Other);
    }
    Err(Fault::text(format!("ERR Unknown client type '{}'", shown(name))))
}

fn shown(word: &[u8]) -> String {
    String::from_utf8_lossy(word).replace(['\r', '\n'], " ")
}

/// What a line tells of beside the client itself.
#[derive(Clone, Copy)]
pub struct Seen<'s> {
    pub now: Millis,
    pub table: &'s Table,
    pub clients: &'s Clients,
    pub users: &'s Users,
}

impl<'s> Seen<'s> {
    fn from(desk: &'s Desk<'_>) -> Self {
        Self { now: desk.now.millis(), table: desk.table, clients: desk.clients, users: &desk.acl.users }
    }
}

/// The caller's line, for ACL LOG.
pub fn line_of(desk: &Desk<'_>) -> Box<[u8]> {
    let client = desk.clients.get(desk.caller.conn).expect("the caller's connection outlives its command");
    describe(client, Seen::from(desk)).trim_end().as_bytes().into()
}

/// A line of CLIENT LIST, with Redis's fields in Redis's order.
pub fn describe(client: &Client, seen: Seen<'_>) -> String {
    let now = seen.now;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let command = client.last_command.map_or("NULL", |id| seen.table.row(id).name);
    let queued = client.multi.as_ref().map_or(-1, |multi| i64::try_from(multi.queue.len()).unwrap_or(i64::MAX));
    format!(
        "id={} addr={} laddr={} fd={} name={} age={} idle={} flags={} db={} sub=0 psub=0 ssub=0 multi={} qbuf={} qbuf-free={} \
         argv-mem=0 multi-mem=0 rbs={} rbp={} obl={} oll={} omem={} tot-mem={} events=r cmd={} user={} redir=-1 \
         resp={} lib-name={} lib-ver={}\n",
        client.id,
        client.peer,
        client.local,
        client.fd,
        text(&client.name),
        now.since(client.created) / 1000,
        now.since(client.active) / 1000,
        flags(client, seen.clients),
        client.db,
        queued,
        client.inbound.len(),
        client.inbound.capacity() - client.inbound.len(),
        client.output.bytes.capacity(),
        client.output.bytes.capacity(),
        client.output.bytes.len(),
        client.output.shared.len(),
        client.unsent(),
        client.memory(),
        command,
        text(&seen.users.get(client.user).name),
        if client.dialect == Dialect::Resp3 { 3 } else { 2 },
        text(&client.lib_name),
        text(&client.lib_version),
    )
}

/// Redis's letters for the state of a connection.
fn flags(client: &Client, clients: &Clients) -> String {
    let waits = clients.blocked.contains_key(&client.id);
    let letters = [
        (clients.monitors.is_monitor(client.id), 'O'),
        (client.multi.is_some(), 'x'),
        (waits, 'b'),
        (client.closing >= Closing::AfterReplies, 'c'),
        (client.no_evict, 'e'),
    ];
    let flags: String = letters.iter().filter(|(holds, _)| *holds).map(|(_, letter)| letter).collect();
    if flags.is_empty() { "N".into() } else { flags }
}
