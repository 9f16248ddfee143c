//! One shard alone, asked the same in one order, must say the same.
//!
//! ```text
//!  order   [GET a @12ms]  [EXEC @15ms]  [MSET a b @14ms] ...     each at the time its lanes gave it
//!              |              |
//!     the client's data       the client's session connection: everything that ran on no lane (SELECT, MULTI, what is queued,
//!     connection, set to      errors) goes there in the order it was sent, up to here; then the EXEC
//!     the call's db and
//!     protocol                         replies equal, byte for byte; in the end the keyspace does too
//! ```
//!
//! The oracle's background work never runs: a key whose time has passed is invisible to it as to the lanes, whatever these have
//! collected. So a count of keys may lie between those alive and those not yet overwritten. INFO-like answers are not asked for.

use std::collections::BTreeSet;

use corelane::base::time::{Millis, Now};
use corelane::command::places::{Begin, Find};
use corelane::shard::{ConnId, Opening, Order, Shard};
use corelane::wire::output::Output;
use corelane::wire::request::Request;

use super::content::content;
use super::footprint::{Footprint, LOOSE, is_loose, of_call, owner, queue};
use super::frames;
use super::guarantee::Lives;
use super::log::{Call, CallId, Log, short};
use super::order::{Node, Part, moves};
use crate::support::client::encode;

/// Requests that choose at random.
const CHOOSERS: &[&str] = &["hrandfield", "spop", "srandmember", "zrandmember"];

/// Requests that tell of a hash, and how many words of each field. Its order depends on when due fields were collected.
const UNORDERED: &[(&str, usize)] = &[("hgetall", 2), ("hkeys", 1), ("hscan", 2), ("hvals", 1)];

/// Requests on the same keys that are told with a difference.
const ALIKE_TOLD: usize = 10;

/// Turns within which one request must be answered when there is no other.
const TURNS_MAX: usize = 10_000;

pub(crate) struct Oracle<'l> {
    pub(crate) shard: Shard,
    log: &'l Log,
    order: &'l [Node],
    /// How much of the order has been replayed.
    done: usize,
    clients: Vec<Twin>,
    now: Millis,
    /// Requests that waited and were served.
    served: BTreeSet<CallId>,
}

/// What stands for a client here.
struct Twin {
    session: ConnId,
    data: ConnId,
    /// The database and protocol of `data`.
    db: u8,
    resp3: bool,
    /// The next request that `session` has not had.
    next: usize,
    /// Requests that have a place in the order.
    placed: Vec<bool>,
}

impl<'l> Oracle<'l> {
    pub(crate) fn new(shard: Shard, log: &'l Log, order: &'l [Node]) -> Self {
        let served = order.iter().filter(|node| matches!(node.part, Part::Served(_))).map(|node| node.call).collect();
        let mut oracle = Self { shard, log, order, done: 0, clients: Vec::new(), now: Millis(0), served };
        for client in &log.clients {
            let (session, data) = (oracle.connect(), oracle.connect());
            let placed = vec![false; client.calls.len()];
            oracle.clients.push(Twin { session, data, db: 0, resp3: false, next: 0, placed });
        }
        for node in order {
            oracle.clients[node.call.client].placed[node.call.number] = true;
        }
        oracle
    }

    /// Replays everything; the lives of keys come back, for who checks what has no place.
    pub(crate) fn replay(&mut self) -> Result<Lives, String> {
        let mut lives = Lives::default();
        for (position, node) in self.order.iter().enumerate() {
            self.done = position;
            self.now = node.now.unwrap_or(self.now);
            self.run(node)?;
            lives.note(position, &node.footprint, &self.shard);
        }
        for client in 0..self.clients.len() {
            let answered = self.log.clients[client].calls.iter().rposition(|call| call.answered.is_some());
            self.catch_up(client, answered.map_or(0, |last| last + 1))?;
        }
        Ok(lives)
    }

    fn run(&mut self, node: &Node) -> Result<(), String> {
        let CallId { client, number } = node.call;
        let call = self.log.call(node.call);
        if let Part::Served(word) | Part::Tried(word, _) = node.part {
            return self.serve(node, word);
        }
        if let Part::Watch(lane) = node.part {
            self.catch_up(client, number)?;
            let lanes = self.log.runs.len();
            let mut words = vec![b"WATCH".to_vec()];
            words.extend(call.words[1..].iter().filter(|key| owner(key, lanes) == lane).cloned());
            let reply = self.ask(self.clients[client].session, &words);
            return self.compare(node.call, &reply);
        }
        if call.is("exec") {
            self.catch_up(client, number)?;
            let reply = self.ask(self.clients[client].session, &call.words);
            return self.compare_exec(node.call, &reply);
        }
        let conn = self.data_connection(client, call);
        if call.may_wait() {
            return self.look(node.call, conn);
        }
        if CHOOSERS.contains(&call.name()) {
            return self.choose(node, conn);
        }
        let least = content_size(&self.shard, call.db, self.now);
        let reply = self.ask(conn, &call.words);
        // Recency is stamped by the lane's clock; what a long value takes depends on the pieces it came in.
        let is_loose = call.is("object|idletime") || call.is("memory|usage");
        if is_loose && is_number(&call.reply) && is_number(&reply) {
            // The lane stamped the key by its own clock, which the command's time may exceed.
            return Ok(());
        }
        if call.is("dbsize") { self.compare_size(node.call, &reply, least) } else { self.compare(node.call, &reply) }
    }

    /// A request with a random choice makes the one that its lane made; whether that is one it may make is looked at here.
    fn choose(&mut self, node: &Node, conn: ConnId) -> Result<(), String> {
        let call = self.log.call(node.call);
        let key = call.words.get(1).cloned().unwrap_or_default();
        let (look, count) = match call.name() {
            "hrandfield" => (&[&b"HKEYS"[..], &key][..], b"HLEN".to_vec()),
            "zrandmember" => (&[&b"ZRANGE"[..], &key, b"0", b"-1"][..], b"ZCARD".to_vec()),
            _ => (&[&b"SMEMBERS"[..], &key][..], b"SCARD".to_vec()),
        };
        let there = self.ask(conn, &look.iter().map(|word| word.to_vec()).collect::<Vec<_>>());
        self.shard.dictate_choice(node.choice);
        let reply = self.ask(conn, &call.words);
        self.shard.dictate_choice(None);
        // Which field a number means depends on the order of the fields.
        let reply = match call.is("hrandfield") && !frames::is_error(&reply) && call.answered.is_some() {
            true if frames::is_error(&call.reply) => return Err(self.differs(node.call, &reply)),
            true => call.reply.clone(),
            false => reply,
        };
        self.compare(node.call, &reply)?;
        let Some(there) = frames::items(&there).filter(|_| !frames::is_error(&reply)) else { return Ok(()) };
        let chosen = match frames::items(&reply) {
            // Members with their scores: flat, or in pairs.
            Some(items) if call.words.len() == 4 && !call.resp3 => items.into_iter().step_by(2).collect(),
            Some(items) if call.words.len() == 4 => {
                items.into_iter().filter_map(|pair| frames::items(pair)?.first().copied()).collect()
            }
            Some(items) => items,
            None if frames::is_null(&reply) => Vec::new(),
            None => vec![&reply[..]],
        };
        let wanted = call.words.get(2).and_then(|word| std::str::from_utf8(word).ok()?.parse().ok()).unwrap_or(1_i64);
        let most = if wanted < 0 && !there.is_empty() { usize::MAX } else { there.len() };
        let different: BTreeSet<&[u8]> = chosen.iter().copied().collect();
        let is_legal = chosen.len() == usize::try_from(wanted.unsigned_abs()).unwrap_or(usize::MAX).min(most)
            && chosen.iter().all(|member| there.contains(member))
            && (wanted < 0 || different.len() == chosen.len());
        let left = if call.is("spop") { there.len() - chosen.len() } else { there.len() };
        let counted = self.ask(conn, &[count, key]);
        if is_legal && counted == format!(":{left}\r\n").as_bytes() {
            return Ok(());
        }
        Err(format!("no such choice could be made: {}", self.differs(node.call, &reply)))
    }

    /// A request that may wait, at the moment at which it looks at its keys: inside MULTI it says what it would without waiting.
    fn look(&mut self, id: CallId, conn: ConnId) -> Result<(), String> {
        let call = self.log.call(id);
        self.ask(conn, &[b"MULTI".to_vec()]);
        self.ask(conn, &call.words);
        let reply = self.ask(conn, &[b"EXEC".to_vec()]);
        let said = frames::items(&reply).and_then(|items| items.first().copied()).unwrap_or(&reply);
        let waited = call.is_unblocked() || self.served.contains(&id);
        match call.answered {
            _ if waited && frames::is_null(said) => Ok(()),
            _ if waited => Err(format!("it waited for what was there: {}", self.differs(id, said))),
            Some(_) => self.compare_waited(id, said),
            None => Ok(()),
        }
    }

    /// It had waited and takes what is under a key now: as if that were its only one.
    fn serve(&mut self, node: &Node, word: usize) -> Result<(), String> {
        let id = node.call;
        let call = self.log.call(id);
        let conn = self.data_connection(id.client, call);
        self.ask(conn, &[b"MULTI".to_vec()]);
        self.ask(conn, &with_one_key(call, word));
        let reply = self.ask(conn, &[b"EXEC".to_vec()]);
        let said = frames::items(&reply).and_then(|items| items.first().copied()).unwrap_or(&reply);
        match node.part {
            Part::Tried(..) if frames::is_null(said) => Ok(()),
            Part::Tried(..) => Err(format!("it found nothing where there was something: {}", self.differs(id, said))),
            _ => self.compare_waited(id, said),
        }
    }

    /// That its time was over Redis says otherwise than that there is nothing, if it was to move an element: see `Blocking::time_out`.
    fn compare_waited(&self, id: CallId, said: &[u8]) -> Result<(), String> {
        let call = self.log.call(id);
        let is_nothing = call.row.is_some_and(moves) && frames::is_null(said) && frames::is_null(&call.reply);
        if is_nothing { Ok(()) } else { self.compare(id, said) }
    }

    /// A request that may wait and ran on no lane: WAIT, or what was refused at once, which `catch_up` asks again. Whether that is all.
    fn has_waited(&self, id: CallId) -> Result<bool, String> {
        let call = self.log.call(id);
        match call.answered {
            None => Ok(true),
            Some(_) if call.is("wait") && call.is_unblocked() => Ok(true),
            Some(_) if frames::is_error(&call.reply) => Ok(false),
            Some(_) if call.is("wait") => self.compare(id, b":0\r\n").map(|()| true),
            Some(_) => Err(format!("no lane says that it ran this: {}", self.log.describe(id))),
        }
    }

    /// Gives the session connection what it has not had before request `end`.
    fn catch_up(&mut self, client: usize, end: usize) -> Result<(), String> {
        while self.clients[client].next < end {
            let number = self.clients[client].next;
            self.clients[client].next += 1;
            let id = CallId { client, number };
            let call = self.log.call(id);
            if self.clients[client].placed[number] || call.is("client|reply") || call.is("quit") {
                continue;
            }
            if is_loose(call) && !frames::is_error(&call.reply) {
                continue;
            }
            if call.may_wait() && self.has_waited(id)? {
                continue;
            }
            let reply = self.ask(self.clients[client].session, &call.words);
            let touches = of_call(call, call.db) != Footprint::Keys(Vec::new());
            if touches && !call.is_queued && !call.is_misplaced && !frames::is_error(&reply) {
                return Err(format!("no lane says that it ran this: {}", self.log.describe(id)));
            }
            if call.answered.is_some() {
                self.compare_session(id, &reply)?;
            }
        }
        Ok(())
    }

    /// The client's connection for requests that may stand at any place of its pipeline.
    fn data_connection(&mut self, client: usize, call: &Call) -> ConnId {
        let Twin { data, db, resp3, .. } = self.clients[client];
        if db != call.db {
            self.ask(data, &[b"SELECT".to_vec(), call.db.to_string().into_bytes()]);
        }
        if resp3 != call.resp3 {
            self.ask(data, &[b"HELLO".to_vec(), if call.resp3 { b"3" } else { b"2" }.to_vec()]);
        }
        let twin = &mut self.clients[client];
        (twin.db, twin.resp3) = (call.db, call.resp3);
        data
    }

    fn compare(&self, id: CallId, reply: &[u8]) -> Result<(), String> {
        let call = self.log.call(id);
        let is_same = call.answered.is_none() || is_alike(call, &call.reply, reply);
        if is_same { Ok(()) } else { Err(self.differs(id, reply)) }
    }

    /// What tells of the connection itself is another here.
    fn compare_session(&self, id: CallId, reply: &[u8]) -> Result<(), String> {
        let call = self.log.call(id);
        match call.name() {
            "client|id" if !call.is_queued && !frames::is_error(reply) => {
                let own = format!(":{}\r\n", self.log.clients[id.client].id);
                if call.reply == own.as_bytes() { Ok(()) } else { Err(self.differs(id, own.as_bytes())) }
            }
            // Nobody waits here.
            "client|unblock" if is_number(reply) && is_number(&call.reply) => Ok(()),
            "hello" if !frames::is_error(reply) && call.reply.first() == reply.first() => Ok(()),
            _ => self.compare(id, reply),
        }
    }

    /// Keys that are due may have been collected or not.
    fn compare_size(&self, id: CallId, reply: &[u8], least: usize) -> Result<(), String> {
        let call = self.log.call(id);
        let number = |reply: &[u8]| std::str::from_utf8(frames::text(reply)?).ok()?.parse::<usize>().ok();
        match (number(&call.reply), number(reply)) {
            (Some(said), Some(most)) if said >= least && said <= most => Ok(()),
            _ => self.compare(id, reply),
        }
    }

    /// Item by item, since some commands may answer differently.
    fn compare_exec(&self, id: CallId, reply: &[u8]) -> Result<(), String> {
        let call = self.log.call(id);
        let (Some(said), Some(wanted)) = (frames::items(&call.reply), frames::items(reply)) else {
            return self.compare(id, reply);
        };
        let queue = queue(self.log, id);
        if said.len() != wanted.len() || said.len() != queue.len() {
            return self.compare(id, reply);
        }
        let calls = &self.log.clients[id.client].calls;
        for ((said, wanted), (number, _)) in said.iter().zip(&wanted).zip(queue) {
            let is_same = match calls[number].name() {
                "object|idletime" | "memory|usage" if is_number(said) && is_number(wanted) => true,
                name if LOOSE.contains(&name) || matches!(name, "dbsize" | "client|id" | "client|unblock") => {
                    frames::is_error(said) == frames::is_error(wanted)
                }
                _ => is_alike(&calls[number], said, wanted),
            };
            if !is_same {
                return Err(format!(
                    "{}\n  in it: {}\n  is {} and was to be {}",
                    self.differs(id, reply),
                    calls[number].text(),
                    short(said),
                    short(wanted)
                ));
            }
        }
        Ok(())
    }

    fn differs(&self, id: CallId, reply: &[u8]) -> String {
        let before = self.touched_alike(id).join("\n    ");
        let call = self.log.describe(id);
        format!("{call}\n  one shard says {} at {} ms, after\n    {before}", short(reply), self.now.0)
    }

    /// The latest requests in the order that share a key with this one.
    fn touched_alike(&self, id: CallId) -> Vec<String> {
        let Some(node) = self.order.iter().find(|node| node.call == id) else { return Vec::new() };
        let alike = self.order[..self.done].iter().rev().filter(|before| before.footprint.meets(&node.footprint));
        let told = |node: &Node| format!("{} ran {}..{}", self.log.describe(node.call), node.first.0, node.last.0);
        let mut lines: Vec<String> = alike.take(ALIKE_TOLD).map(told).collect();
        lines.reverse();
        lines
    }

    fn connect(&mut self) -> ConnId {
        let address = "127.0.0.1:1".parse().expect("an address");
        self.shard
            .open(&Opening { peer: address, local: address, fd: 0, open_connections: 1, shard_port: false })
            .expect("room for a client")
    }

    /// Runs one request to its end.
    fn ask(&mut self, conn: ConnId, words: &[Vec<u8>]) -> Vec<u8> {
        let now = Now { unix_us: self.now.0 * 1000, mono_ns: self.now.0 * 1_000_000 };
        self.shard.begin_turn(now);
        self.shard.feed(conn, &encode(words));
        let mut output = self.shard.take_output(conn, Output::default());
        for _ in 0..TURNS_MAX {
            if !output.is_empty() {
                break;
            }
            // What takes several turns goes on in a turn before all deadlines, in which nothing expires.
            self.shard.begin_turn(now);
            self.shard.run_backlog();
            self.shard.begin_turn(Now::default());
            self.shard.tick();
            output = self.shard.take_output(conn, Output::default());
        }
        while let Some(order) = self.shard.next_order() {
            assert_eq!(order, Order::Flush(conn), "nothing that is replayed ends a connection");
        }
        drop(self.shard.take_history());
        self.shard.in_flight(conn, 0);
        output.to_vec()
    }
}

/// A request that waits for several keys, of this one alone.
fn with_one_key(call: &Call, word: usize) -> Vec<Vec<u8>> {
    let request: Request = call.words.iter().map(Vec::as_slice).collect();
    let Some(row) = call.row.filter(|row| !moves(row)) else { return call.words.clone() };
    let keys: Vec<usize> = row.keys.positions(request.args()).collect();
    let mut words = call.words.clone();
    for spec in row.keys.specs() {
        if let (Begin::Word(count), Find::Count) = (spec.begin, spec.find) {
            words[usize::from(count)] = b"1".to_vec();
        }
    }
    let mut place = 0;
    words.retain(|_| {
        place += 1;
        place - 1 == word || !keys.contains(&(place - 1))
    });
    words
}

/// Whether two replies to a request say the same.
fn is_alike(call: &Call, one: &[u8], other: &[u8]) -> bool {
    let Some((_, each)) = UNORDERED.iter().find(|(unordered, _)| call.is(unordered)) else { return one == other };
    let is_without_values = call.words.iter().any(|word| word.eq_ignore_ascii_case(b"NOVALUES"));
    let each = if is_without_values { 1 } else { *each };
    one == other || sorted(one, each).is_some_and(|one| Some(one) == sorted(other, each))
}

/// The type of a reply and its elements of so many words, sorted; of a scan those behind the cursor.
fn sorted(reply: &[u8], each: usize) -> Option<(u8, Vec<Vec<&[u8]>>)> {
    let items = frames::items(reply)?;
    let mut elements = match &items[..] {
        [cursor, fields] if fields.starts_with(b"*") => {
            let (_, mut elements) = sorted(fields, each)?;
            elements.push(vec![cursor]);
            return Some((reply[0], elements));
        }
        items => items.chunks(each).map(<[_]>::to_vec).collect::<Vec<_>>(),
    };
    elements.sort_unstable();
    Some((reply[0], elements))
}

fn is_number(reply: &[u8]) -> bool {
    reply.starts_with(b":")
}

/// How many keys of a database are alive.
fn content_size(shard: &Shard, db: u8, now: Millis) -> usize {
    content(shard, now).keys().filter(|(of, _)| *of == db).count()
}
