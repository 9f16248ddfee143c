//! Who calls, and what a handler may touch.

use super::clients::{Client, Clients, ConnId, ReplyMode};
use super::table::Table;
use crate::admin::gauges::LaneGauges;
use crate::admin::info::{Identity, StallFacts};
use crate::admin::process::Process;
use crate::admin::stats::Stats;
use crate::base::ascii::{I64_TEXT_MAX, format_u64};
use crate::base::hash::KeyHash;
use crate::base::lanes::{Lanes, ShardId};
use crate::base::time::{Millis, Now};
use crate::config::Config;
use crate::store::Store;
use crate::store::entry::{EntryRef, Kind, Value};
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
    pub authenticated: bool,
    pub reply_mode: ReplyMode,
    /// Its requests are queued for EXEC.
    pub queues: bool,
    /// It came over the loopback interface.
    pub loopback: bool,
    /// It came by the port of this lane alone.
    pub shard_port: bool,
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
            authenticated: client.authenticated,
            reply_mode: client.reply_mode,
            queues: client.multi.is_some(),
            loopback: client.loopback,
            shard_port: client.shard_port,
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
}

/// A key and its place in the keyspace.
#[derive(Clone, Copy, Debug)]
pub struct Key<'a> {
    pub bytes: &'a [u8],
    pub hash: KeyHash,
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

    #[inline]
    pub fn keyspace(&mut self) -> &mut Keyspace {
        self.store.db(self.db)
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
    pub gauges: &'s LaneGauges,
    pub table: &'s Table,
    pub identity: &'s Identity,
    /// Reads what only the kernel knows.
    pub process: fn() -> Process,
    pub now: Now,
    /// What held this lane longest.
    pub stalls: StallFacts,
}

impl Desk<'_> {
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
        as_string(self.store.touch(self.db, key.bytes, key.hash, self.now))
    }

    /// Whether a key exists, for a write: no hit, no miss, no use.
    pub fn exists(&mut self, key: Key<'_>) -> bool {
        let now = self.now;
        self.keyspace().find(key.bytes, key.hash, now).is_some()
    }

    /// The entry, without using it; counts a hit or a miss.
    pub fn look(&mut self, key: Key<'_>) -> Option<EntryRef<'_>> {
        self.store.look(self.db, key.bytes, key.hash, self.now)
    }

    /// The entry, used; counts a hit or a miss.
    #[inline]
    pub fn read(&mut self, key: Key<'_>) -> Option<EntryRef<'_>> {
        self.store.read(self.db, key.bytes, key.hash, self.now)
    }

    /// Writes a string whatever the key held before.
    #[inline]
    pub fn store_string(&mut self, key: Key<'_>, value: &[u8], deadline: Deadline) {
        self.write_string(key, value, Write { deadline, ..Write::default() });
        self.store.effects.changed();
    }

    #[inline]
    pub fn write_string(&mut self, key: Key<'_>, value: &[u8], write: Write) {
        let write = Write { recency: self.store.recency, ..write };
        let (keys, graves) = self.store.db_and_graves(self.db);
        keys.set_string(key.bytes, key.hash, value, write, self.now, graves);
    }

    /// Writes a string as a rope however short, for whoever is about to grow it.
    pub fn write_rope(&mut self, key: Key<'_>, text: &[u8]) {
        let write = Write { deadline: Deadline::Keep, recency: self.store.recency, ..Write::default() };
        let value = Value::Object(Kind::String, Box::new(Object::Rope(Rope::from(text))));
        let (keys, graves) = self.store.db_and_graves(self.db);
        keys.set(key.bytes, key.hash, value, write, self.now, graves);
    }

    /// Changes a boxed value in place. `None`: no such key, or its value is embedded.
    pub fn update_object<R>(&mut self, key: Key<'_>, change: impl FnOnce(&mut Object) -> R) -> Option<R> {
        let now = self.now;
        self.keyspace().update_object(key.bytes, key.hash, now, change)
    }

    /// As [`Self::store_string`], for commands whose request is not their effect: `SET key value [PXAT at | KEEPTTL]` is.
    pub fn set_stating_effect(&mut self, key: Key<'_>, value: &[u8], deadline: Deadline) {
        if let Deadline::At(at) = deadline
            && at <= self.now
        {
            // It would be gone before anybody could read it.
            if self.bury(key) {
                self.store.effects.state(&[b"DEL", key.bytes]);
            }
            return;
        }
        self.write_string(key, value, Write { deadline, ..Write::default() });
        match deadline {
            Deadline::Clear => self.store.effects.state(&[b"SET", key.bytes, value]),
            Deadline::Keep => self.store.effects.state(&[b"SET", key.bytes, value, b"KEEPTTL"]),
            Deadline::At(at) => {
                let mut digits = [0; I64_TEXT_MAX];
                self.store.effects.state(&[b"SET", key.bytes, value, b"PXAT", format_u64(at.0, &mut digits)]);
            }
        }
    }

    /// Removes a key, which is a change; whether it was there to be seen.
    pub fn remove(&mut self, key: Key<'_>) -> bool {
        let seen = self.bury(key);
        if seen {
            self.store.effects.changed();
        }
        seen
    }

    /// Removes a key without stating it: the command's own effect says so.
    pub fn bury(&mut self, key: Key<'_>) -> bool {
        let (keys, graves) = self.store.db_and_graves(self.db);
        keys.remove(key.bytes, key.hash, self.now, graves)
    }

    /// `None`: no such key. `Some(None)`: it has no deadline.
    pub fn expiry(&mut self, key: Key<'_>) -> Option<Option<Millis>> {
        let now = self.now;
        self.keyspace().find(key.bytes, key.hash, now).map(EntryRef::expiry)
    }

    /// Gives a key that exists a deadline; one that has passed removes it.
    pub fn expire_at(&mut self, key: Key<'_>, at: Millis) {
        if at <= self.now {
            self.bury(key);
            self.store.effects.state(&[b"DEL", key.bytes]);
            return;
        }
        let now = self.now;
        self.keyspace().set_expiry(key.bytes, key.hash, now, Some(at));
        let mut digits = [0; I64_TEXT_MAX];
        self.store.effects.state(&[b"PEXPIREAT", key.bytes, format_u64(at.0, &mut digits)]);
    }

    /// Takes the deadline of a key that exists away.
    pub fn persist(&mut self, key: Key<'_>) {
        let now = self.now;
        self.keyspace().set_expiry(key.bytes, key.hash, now, None);
        self.store.effects.changed();
    }
}

/// Answers a string; what is large is shared with the output, not copied.
#[inline]
pub fn answer(text: Text<'_>, reply: &mut Reply<'_>) {
    match text {
        Text::Flat(flat) => reply.bulk(flat),
        Text::Rope(rope) => {
            reply.bulk_head(rope.len());
            rope.shared_chunks(0..rope.len()).for_each(|chunk| reply.bulk_shared(chunk));
            reply.bulk_end();
        }
    }
}

/// Answers a field or value of a collection.
#[inline]
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
