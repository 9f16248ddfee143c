//! Who calls, and what a handler may touch.

use super::clients::{Client, Clients, ConnId, ReplyMode};
use super::table::Table;
use crate::admin::gauges::LaneGauges;
use crate::admin::info::Identity;
use crate::admin::process::Process;
use crate::admin::stats::Stats;
use crate::base::ascii::{I64_TEXT_MAX, format_u64};
use crate::base::hash::KeyHash;
use crate::base::time::{Millis, Now};
use crate::config::Config;
use crate::store::Store;
use crate::store::keyspace::{Keyspace, Ttl};
use crate::wire::fault::Fault;
use crate::wire::reply::Dialect;
use crate::wire::request::Args;

/// The origin of a command: a connection now; a peer lane, the journal and scripts later.
#[derive(Clone, Copy, Debug)]
pub struct Caller {
    pub conn: ConnId,
    pub db: u8,
    pub dialect: Dialect,
    pub authenticated: bool,
    pub reply_mode: ReplyMode,
}

impl Caller {
    pub fn of(conn: ConnId, client: &Client) -> Self {
        Self {
            conn,
            db: client.db,
            dialect: client.dialect,
            authenticated: client.authenticated,
            reply_mode: client.reply_mode,
        }
    }
}

/// All that a keyspace handler may touch.
pub struct Ctx<'s> {
    pub store: &'s mut Store,
    pub db: u8,
    pub now: Millis,
    /// Hash of the first key, which routing has computed already.
    pub first: KeyHash,
    pub config: &'s Config,
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
    pub me: ConnId,
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
}

impl Desk<'_> {
    /// The client that asks.
    ///
    /// # Panics
    /// If it is gone: a command runs only while its connection is in the slab.
    pub fn client(&mut self) -> &mut Client {
        self.clients.get_mut(self.me).expect("the caller's connection outlives its command")
    }
}

/// What handlers do with keys. Reads count hits and misses; writes state that they changed something.
impl Ctx<'_> {
    /// The string at `key`; a fault when it holds something else.
    #[inline]
    pub fn string(&mut self, key: Key<'_>) -> Result<Option<&[u8]>, Fault> {
        Ok(self.store.read(self.db, key.bytes, key.hash, self.now))
    }

    pub fn exists(&mut self, key: Key<'_>) -> bool {
        self.store.read(self.db, key.bytes, key.hash, self.now).is_some()
    }

    /// Writes a string whatever the key held before.
    #[inline]
    pub fn store_string(&mut self, key: Key<'_>, value: &[u8], ttl: Ttl) {
        self.keyspace().set(key.bytes, key.hash, value, ttl);
        self.store.effects.changed();
    }

    /// As [`Self::store_string`], for commands whose request is not their effect: `SET key value [PXAT at | KEEPTTL]` is.
    pub fn set_stating_effect(&mut self, key: Key<'_>, value: &[u8], ttl: Ttl) {
        if let Ttl::At(at) = ttl
            && at <= self.now
        {
            // It would be gone before anybody could read it.
            if self.keyspace().remove(key.bytes, key.hash) {
                self.store.effects.state(&[b"DEL", key.bytes]);
            }
            return;
        }
        self.keyspace().set(key.bytes, key.hash, value, ttl);
        match ttl {
            Ttl::Clear => self.store.effects.state(&[b"SET", key.bytes, value]),
            Ttl::Keep => self.store.effects.state(&[b"SET", key.bytes, value, b"KEEPTTL"]),
            Ttl::At(at) => {
                let mut digits = [0; I64_TEXT_MAX];
                self.store.effects.state(&[b"SET", key.bytes, value, b"PXAT", format_u64(at.0, &mut digits)]);
            }
        }
    }

    /// Removes a key; whether it was there to be seen.
    pub fn remove(&mut self, key: Key<'_>) -> bool {
        let now = self.now;
        let seen = self.keyspace().get(key.bytes, key.hash, now).is_some();
        if self.keyspace().remove(key.bytes, key.hash) {
            self.store.effects.changed();
        }
        seen
    }

    /// `None`: no such key. `Some(None)`: it has no deadline.
    pub fn expiry(&mut self, key: Key<'_>) -> Option<Option<Millis>> {
        let now = self.now;
        self.keyspace().expiry(key.bytes, key.hash, now)
    }

    /// Gives a key that exists a deadline; one that has passed removes it.
    pub fn expire_at(&mut self, key: Key<'_>, at: Millis) {
        if at <= self.now {
            self.keyspace().remove(key.bytes, key.hash);
            self.store.effects.state(&[b"DEL", key.bytes]);
            return;
        }
        self.keyspace().set_expiry(key.bytes, key.hash, Some(at));
        let mut digits = [0; I64_TEXT_MAX];
        self.store.effects.state(&[b"PEXPIREAT", key.bytes, format_u64(at.0, &mut digits)]);
    }

    /// Takes the deadline of a key that exists away.
    pub fn persist(&mut self, key: Key<'_>) {
        self.keyspace().set_expiry(key.bytes, key.hash, None);
        self.store.effects.changed();
    }
}
