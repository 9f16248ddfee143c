//! Who calls, and what a handler may touch.

use super::clients::{Client, Clients, ConnId, Durability, ReplyMode};
use super::sliced::Job;
use super::table::Table;
use crate::admin::acl::{Acl, Clearance, UserId};
use crate::admin::file;
use crate::admin::gauges::LaneGauges;
use crate::admin::info::{Identity, StallFacts};
use crate::admin::journal::RewriteFacts;
use crate::admin::process::{Allocator, Process};
use crate::admin::slowlog::Slowlog;
use crate::admin::stats::Stats;
use crate::base::ascii::{I64_TEXT_MAX, format_u64};
use crate::base::hash::KeyHash;
use crate::base::lanes::{Lanes, ShardId};
use crate::base::time::{Millis, Now};
use crate::config::Config;
pub use crate::store::Key;
use crate::store::Store;
use crate::store::entry::{EntryRef, Kind, Value};
use crate::store::event::Event;
use crate::store::incoming::Content;
use crate::store::journal::Over;
use crate::store::keyspace::{Deadline, Keyspace, Write};
use crate::store::text::Text;
use crate::types::Object;
use crate::types::rope::Rope;
use crate::types::trie::Value as Element;
use crate::wire::fault::Fault;
use crate::wire::reply::{Dialect, Reply};
use crate::wire::request::Args;

/// The origin of a command: a connection, of this lane or of another; the journal and scripts later.
#[derive(Clone, Copy, Debug)]
pub struct Caller {
    /// CLIENT ID.
    pub client: u64,
    /// How many requests of the connection ran before this one; wraps.
    pub number: u32,
    pub conn: ConnId,
    /// The lane that has the connection.
    pub home: ShardId,
    pub db: u8,
    pub dialect: Dialect,
    pub clearance: Clearance,
    pub reply_mode: ReplyMode,
    /// Its requests are queued for EXEC.
    pub queues: bool,
    /// This is one of those that EXEC runs.
    pub in_exec: bool,
    /// It came over the loopback interface.
    pub loopback: bool,
    /// It came by the port of this lane alone.
    pub shard_port: bool,
    /// Its replies leave when what they show is on the disk.
    pub fsyncs: bool,
    /// Its way is followed (`shard/probe.rs`).
    pub probed: bool,
}

impl Caller {
    pub fn of(home: ShardId, conn: ConnId, client: &Client) -> Self {
        Self {
            client: client.id,
            number: client.requests,
            conn,
            home,
            db: client.db,
            dialect: client.dialect,
            clearance: client.clearance,
            reply_mode: client.reply_mode,
            queues: client.multi.is_some(),
            in_exec: false,
            loopback: client.loopback,
            shard_port: client.shard_port,
            fsyncs: client.fsyncs,
            probed: false,
        }
    }

    /// Nobody: whoever repeats a journal on this lane.
    pub fn nobody(home: ShardId, db: u8) -> Self {
        Self {
            client: 0,
            number: 0,
            conn: ConnId(u32::MAX),
            home,
            db,
            dialect: Dialect::Resp2,
            clearance: Clearance::Full,
            reply_mode: ReplyMode::On,
            queues: false,
            in_exec: false,
            loopback: true,
            shard_port: false,
            fsyncs: false,
            probed: false,
        }
    }
}

const _: () = assert!(size_of::<Caller>() <= 32, "it travels with each request");

/// All that a keyspace handler may touch.
pub struct Ctx<'s> {
    pub store: &'s mut Store,
    pub db: u8,
    pub now: Millis,
    /// Hash of the first key, which routing has computed already.
    pub first: KeyHash,
    pub config: &'s Config,
    pub lanes: Lanes,
    /// The lane this is.
    pub lane: ShardId,
    /// Whoever asks takes this lane for a node by itself.
    pub shard_port: bool,
}

impl Ctx<'_> {
    /// The first key of the request, whose hash is known.
    #[inline]
    pub fn first<'a>(&self, args: Args<'a>) -> Key<'a> {
        Key { bytes: args.at(1), hash: self.first }
    }

    pub fn key<'a>(&self, bytes: &'a [u8]) -> Key<'a> {
        Key { bytes, hash: self.store.hash_key.key(bytes) }
    }

    /// Visits many keys in their order; while one is visited, the next are on their way from memory.
    pub fn each_key<'a>(
        &mut self,
        mut names: impl Iterator<Item = &'a [u8]>,
        mut visit: impl FnMut(&mut Self, Key<'a>),
    ) {
        const AHEAD: usize = 16;
        if names.size_hint() == (1, Some(1)) {
            return names.for_each(|name| {
                let key = self.key(name);
                visit(self, key);
            });
        }
        loop {
            let mut group = [(Key { bytes: b"", hash: KeyHash(0) }, None); AHEAD];
            let mut count = 0;
            for (place, name) in group.iter_mut().zip(names.by_ref()) {
                let key = self.key(name);
                *place = (key, self.store.approach(self.db, key.hash));
                count += 1;
            }
            for (key, spot) in &group[..count] {
                if let Some(spot) = spot {
                    self.store.prefetch_entry(self.db, *spot, key.hash);
                }
            }
            group[..count].iter().for_each(|(key, _)| visit(self, *key));
            if count < AHEAD {
                return;
            }
        }
    }

    /// The database to look into.
    #[inline]
    pub fn keyspace(&self) -> &Keyspace {
        self.store.db(self.db)
    }

    /// Says what a handler did to a key: every change does.
    #[inline]
    pub fn happened(&mut self, event: Event, key: Key<'_>) {
        self.store.effects.happened(self.db, event, key);
    }

    /// Refuses a string that would grow beyond `proto-max-bulk-len`.
    pub fn check_length(&self, len: usize) -> Result<(), Fault> {
        if len > self.config.bulk_bytes_max() { Err(Fault::StringTooLong) } else { Ok(()) }
    }
}

/// All that a command without keys may touch: the connection, the other clients, the server.
pub struct Desk<'s> {
    /// Whoever asks. Only a command that is split over lanes is ever asked for by a connection of another one.
    pub caller: Caller,
    pub clients: &'s mut Clients,
    pub config: &'s mut Config,
    pub store: &'s mut Store,
    pub stats: &'s mut Stats,
    pub slowlog: &'s mut Slowlog,
    pub rewrites: &'s mut RewriteFacts,
    pub gauges: &'s LaneGauges,
    pub table: &'s Table,
    pub acl: &'s mut Acl,
    pub identity: &'s Identity,
    /// Reads what only the kernel knows.
    pub process: fn() -> Process,
    pub allocator: Allocator,
    /// Makes room for so many clients of a server of so many lanes; for how many there is room.
    pub room_for_clients: fn(usize, u16) -> usize,
    /// Replaces a file beside the lanes.
    pub replace_file: file::Replace,
    /// Whether a journal can be begun in this directory; the log says why not.
    pub can_journal: fn(&[u8]) -> bool,
    /// Random bytes that nobody can guess.
    pub entropy: fn() -> Result<[u8; 32], String>,
    /// The command takes more turns: its reply is the job's.
    pub begun: &'s mut Option<Box<dyn Job>>,
    pub now: Now,
    /// What held this lane longest.
    pub stalls: StallFacts,
}

impl Desk<'_> {
    /// CLIENT DURABILITY of the caller.
    pub fn set_durability(&mut self, durability: Durability) {
        self.clients.set_durability(self.caller.conn, durability, self.config.journal_fsync());
    }

    /// Users have other rights now, or are gone: what this lane's connections may follows from that, and those of whoever is gone end.
    pub fn users_changed(&mut self, gone: &[UserId]) {
        self.clients.users_changed(self.acl, gone, self.caller.client);
    }

    /// The client that asks.
    ///
    /// # Panics
    /// If it is gone: a command runs only while its connection is in the slab. If it is another lane's.
    pub fn client(&mut self) -> &mut Client {
        self.clients.get_mut(self.caller.conn).expect("the caller's connection outlives its command")
    }
}

#[inline]
fn as_string(entry: Option<EntryRef<'_>>) -> Result<Option<Text<'_>>, Fault> {
    match entry {
        None => Ok(None),
        Some(entry) => Text::of(entry).map(Some).ok_or(Fault::WrongType),
    }
}

/// What handlers do with keys. Reads count hits and misses; writes state that they changed something.
impl Ctx<'_> {
    /// The string at `key`; a fault when it holds something else.
    #[inline]
    pub fn string(&mut self, key: Key<'_>) -> Result<Option<Text<'_>>, Fault> {
        as_string(self.read(key))
    }

    /// The string that a write is about to change; counts no hit and no miss.
    pub fn old_string(&mut self, key: Key<'_>) -> Result<Option<Text<'_>>, Fault> {
        as_string(self.store.touch(self.db, key, self.now))
    }

    /// Whether a key exists, for a write: no hit, no miss, no use.
    pub fn exists(&mut self, key: Key<'_>) -> bool {
        self.store.peek(self.db, key, self.now).is_some()
    }

    /// The entry, without using it; counts a hit or a miss.
    pub fn look(&mut self, key: Key<'_>) -> Option<EntryRef<'_>> {
        self.store.look(self.db, key, self.now)
    }

    /// The entry, used; counts a hit or a miss.
    #[inline]
    pub fn read(&mut self, key: Key<'_>) -> Option<EntryRef<'_>> {
        self.store.read(self.db, key, self.now)
    }

    /// Writes a string whatever the key held before.
    #[inline]
    pub fn store_string(&mut self, key: Key<'_>, value: &[u8], deadline: Deadline, event: Event) {
        self.write_string(key, value, Write { deadline, ..Write::default() });
        self.happened(event, key);
    }

    /// A word of the request that is to be stored: long ones came as ropes, an empty word standing for them.
    #[inline]
    pub fn content<'a>(&mut self, args: Args<'a>, word: usize) -> Content<'a> {
        let flat = args.at(word);
        if flat.is_empty()
            && let Some(rope) = self.store.incoming.take(word)
        {
            return Content::Long(rope);
        }
        Content::Flat(flat)
    }

    /// As [`Self::store_string`], of whatever length.
    #[inline]
    pub fn store_content(&mut self, key: Key<'_>, content: Content<'_>, deadline: Deadline, event: Event) {
        self.write_content(key, content, deadline);
        self.happened(event, key);
    }

    #[inline]
    fn write_content(&mut self, key: Key<'_>, content: Content<'_>, deadline: Deadline) {
        let write = Write { deadline, ..Write::default() };
        match content {
            Content::Flat(flat) => self.write_string(key, flat, write),
            Content::Long(rope) => {
                let value = Value::Object(Kind::String, Box::new(Object::Rope(rope)));
                self.store.set(self.db, key, value, write, self.now);
            }
        }
    }

    /// As [`Self::store_string`]; the caller says what happened.
    #[inline]
    pub fn write_string(&mut self, key: Key<'_>, value: &[u8], write: Write) {
        self.store.set_string(self.db, key, value, write, self.now);
    }

    /// Writes a string as a rope however short, for whoever is about to grow it.
    pub fn write_rope(&mut self, key: Key<'_>, text: &[u8]) {
        let write = Write { deadline: Deadline::Keep, ..Write::default() };
        let value = Value::Object(Kind::String, Box::new(Object::Rope(Rope::from(text))));
        self.store.set(self.db, key, value, write, self.now);
    }

    /// Changes a boxed value in place; the caller says what happened. `None`: no such key, or its value is embedded.
    pub fn update_object<R>(&mut self, key: Key<'_>, change: impl FnOnce(&mut Object) -> R) -> Option<R> {
        self.store.update_object(self.db, key, self.now, change)
    }

    /// As [`Self::store_string`], for commands whose request is not their effect: `SET key value [PXAT at | KEEPTTL]` is. A value
    /// whose deadline has passed already is set and expires before anybody could read it.
    pub fn set_stating_effect(&mut self, key: Key<'_>, value: Content<'_>, deadline: Deadline, event: Event) {
        let expired = matches!(deadline, Deadline::At(at) if at <= self.now);
        if expired {
            if self.bury(key) {
                self.store.effects.state(self.db, &[b"DEL", key.bytes]);
            }
        } else {
            self.state_set(key, &value, deadline);
            self.write_content(key, value, deadline);
        }
        self.happened(event, key);
        if matches!(deadline, Deadline::At(_)) {
            self.store.effects.also(self.db, Event::EXPIRE, key);
        }
        if expired {
            self.store.effects.also(self.db, Event::EXPIRED, key);
        }
    }

    /// States a SET as the effect; a long value is shared with it.
    #[inline]
    pub fn state_set(&mut self, key: Key<'_>, value: &Content<'_>, deadline: Deadline) {
        if self.store.effects.recording {
            self.record_set(key, value, deadline);
        }
    }

    #[cold]
    fn record_set(&mut self, key: Key<'_>, value: &Content<'_>, deadline: Deadline) {
        let mut digits = [0; I64_TEXT_MAX];
        let flat = if let Content::Flat(flat) = value { flat } else { &b""[..] };
        let set = [b"SET", key.bytes, flat];
        let words: &[&[u8]] = match deadline {
            Deadline::Clear => &set,
            Deadline::Keep => &[set[0], set[1], set[2], b"KEEPTTL"],
            Deadline::At(at) => &[set[0], set[1], set[2], b"PXAT", format_u64(at.0, &mut digits)],
        };
        match value {
            Content::Flat(_) => self.store.effects.state(self.db, words),
            Content::Long(rope) => self.store.effects.state_long(self.db, words, 2, rope),
        }
    }

    /// Removes a key; whether it was there to be seen.
    pub fn remove(&mut self, key: Key<'_>) -> bool {
        let seen = self.bury(key);
        if seen {
            self.happened(Event::DEL, key);
        }
        seen
    }

    /// As [`Self::remove`]; the caller says what happened.
    pub fn bury(&mut self, key: Key<'_>) -> bool {
        self.store.remove(self.db, key, self.now)
    }

    /// States that a key holds what it does now, for commands whose request is not their effect.
    pub fn state_value(&mut self, key: Key<'_>, over: Over) {
        self.store.state_value(self.db, key, over, self.now);
    }

    /// `None`: no such key. `Some(None)`: it has no deadline.
    pub fn expiry(&mut self, key: Key<'_>) -> Option<Option<Millis>> {
        self.store.peek(self.db, key, self.now).map(EntryRef::expiry)
    }

    /// Gives a key that exists a deadline; one that has passed removes it.
    pub fn expire_at(&mut self, key: Key<'_>, at: Millis) {
        if at <= self.now {
            self.remove(key);
            self.store.effects.state(self.db, &[b"DEL", key.bytes]);
            return;
        }
        self.store.set_expiry(self.db, key, self.now, Some(at));
        self.happened(Event::EXPIRE, key);
        let mut digits = [0; I64_TEXT_MAX];
        self.store.effects.state(self.db, &[b"PEXPIREAT", key.bytes, format_u64(at.0, &mut digits)]);
    }

    /// Takes the deadline of a key that exists away.
    pub fn persist(&mut self, key: Key<'_>) {
        self.store.set_expiry(self.db, key, self.now, None);
        self.happened(Event::PERSIST, key);
    }
}

/// Answers a string; what is large is shared with the output, not copied.
#[inline]
pub fn answer(text: Text<'_>, reply: &mut Reply<'_>) {
    match text {
        Text::Flat(flat) => reply.bulk(flat),
        Text::Rope(rope) => reply.bulk_rope(rope, 0..rope.len()),
    }
}

/// Answers a field or value of a collection.
#[inline(always)]
pub fn answer_value(value: Element<'_>, reply: &mut Reply<'_>) {
    match value {
        Element::Short(cell) => reply.bulk(cell.text(&mut [0; I64_TEXT_MAX])),
        Element::Long(rope) => answer(Text::Rope(rope), reply),
    }
}

/// Answers a string, or null.
#[inline]
pub fn answer_or_null(text: Option<Text<'_>>, reply: &mut Reply<'_>) {
    match text {
        Some(text) => answer(text, reply),
        None => reply.null(),
    }
}
