//! The clients of a lane: everything known of each connection, from its name to its unsent replies.

use std::collections::VecDeque;
use std::net::SocketAddr;

use hashbrown::HashMap;

use super::gathering::Gathering;
use super::inbound::Inbound;
use super::monitor::Monitors;
use super::multi::{Multi, WatchedKey};
use super::order::Order;
use super::owed::Owed;
use super::sliced::{Effort, Job};
use super::table::CommandId;
use crate::admin::acl::{Acl, Clearance, Lack, Proof, UserId};
use crate::base::slab::Slab;
use crate::base::time::Millis;
use crate::config::Fsync;
use crate::wire::output::Output;
use crate::wire::reply::Dialect;
use crate::wire::resp::Parser;

/// A connection's number within its lane: a slab index, dense, reused after the connection is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnId(pub u32);

/// A request that waits for a key, for time or for replicas, at the home of its connection. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockId(pub u64);

/// How a wait ends that nothing came of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parting {
    /// As if its time were over.
    TimedOut,
    /// By CLIENT UNBLOCK with ERROR.
    Error,
    /// Its user may not do it any more.
    Denied(Lack),
    /// Its connection ends: nobody hears the reply.
    Gone,
}

/// Facts of a freshly accepted socket.
#[derive(Clone, Copy, Debug)]
pub struct Opening {
    pub peer: SocketAddr,
    pub local: SocketAddr,
    pub fd: i32,
    /// Connections of the whole server, this one included.
    pub open_connections: usize,
    /// It was accepted on the port of this lane alone, where the server looks like a cluster.
    pub shard_port: bool,
}

/// CLIENT REPLY: which replies the client wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReplyMode {
    #[default]
    On,
    Off,
    /// The reply of the next command is left out.
    SkipNext,
    /// That of the command that runs now is, unless it is CLIENT REPLY ON.
    Skipping,
}

/// CLIENT DURABILITY: whether a client waits for the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// As `appendfsync` says.
    #[default]
    Default,
    Never,
    Fsync,
}

impl Durability {
    /// Whether replies wait for the disk, under this `appendfsync`.
    pub fn fsyncs(self, fsync: Option<Fsync>) -> bool {
        match (self, fsync) {
            (_, None) | (Self::Never, _) => false,
            (Self::Fsync, Some(_)) => true,
            (Self::Default, Some(fsync)) => fsync == Fsync::Always,
        }
    }
}

/// How far the end of a connection has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Closing {
    #[default]
    No,
    /// The peer sends no more; what it has sent is still run.
    AfterInput,
    /// No more is run; the replies that are owed still come, and leave.
    AfterReplies,
    /// No more is run; replies still leave.
    AfterFlush,
    Now,
}

/// One connection.
#[derive(Debug)]
pub struct Client {
    pub id: u64,
    pub peer: SocketAddr,
    pub local: SocketAddr,
    pub fd: i32,
    pub name: Box<[u8]>,
    pub lib_name: Box<[u8]>,
    pub lib_version: Box<[u8]>,
    pub dialect: Dialect,
    pub db: u8,
    pub user: UserId,
    pub proof: Proof,
    /// What follows from these two.
    pub clearance: Clearance,
    pub reply_mode: ReplyMode,
    pub closing: Closing,
    pub created: Millis,
    /// When its input was last run.
    pub active: Millis,
    pub last_command: Option<CommandId>,
    pub loopback: bool,
    pub shard_port: bool,
    /// CLIENT NO-EVICT.
    pub no_evict: bool,
    pub durability: Durability,
    /// What follows from that and `appendfsync`: its replies leave when what they show is on the disk.
    pub fsyncs: bool,
    /// Requests that were run; wraps.
    pub requests: u32,
    /// What MULTI has queued, while it does.
    pub multi: Option<Box<Multi>>,
    pub watched: Vec<WatchedKey>,

    pub parser: Parser,
    pub inbound: Inbound,
    /// Long words of the request at the head of the input.
    pub gathering: Option<Box<Gathering>>,
    pub output: Output,
    /// Replies that others owe, and what follows them.
    pub owed: Owed,
    /// Replies of it wait for those that are owed before them, so that all leave together.
    pub lingers: bool,
    /// Its input waits until replies that are owed have come.
    pub waits: bool,
    /// Bytes taken for sending that the kernel has not taken yet.
    pub in_flight: usize,
    /// Since when the soft output limit is exceeded.
    pub over_soft_since: Option<Millis>,
    /// Since when there is more unsent output than a connection may have while its requests are run.
    pub stalled_since: Option<Millis>,
    pub flush_ordered: bool,
    /// A command under way, whose steps take turns; later requests wait for it.
    pub job: Option<Box<dyn Job>>,
    /// Nobody wants the reply of `job`.
    pub job_is_silent: bool,
    /// Waits in the backlog for its turn.
    pub queued: bool,
    pub reading_stopped: bool,
    /// Its request whose way is followed, if one is: a number of the shard's.
    pub probe: Option<u32>,
    pub job_effort: Effort,
    /// The turn whose quota `quota_left` is.
    pub quota_turn: u64,
    pub quota_left: u32,
}

impl Client {
    pub fn new(id: u64, opening: &Opening, acl: &Acl, now: Millis) -> Self {
        let (user, proof) = (UserId::DEFAULT, acl.proof_at_first());
        Self {
            id,
            peer: opening.peer,
            local: opening.local,
            fd: opening.fd,
            name: Box::default(),
            lib_name: Box::default(),
            lib_version: Box::default(),
            dialect: Dialect::Resp2,
            db: 0,
            user,
            proof,
            clearance: acl.clearance(user, proof),
            reply_mode: ReplyMode::On,
            closing: Closing::No,
            created: now,
            active: now,
            last_command: None,
            loopback: opening.peer.ip().to_canonical().is_loopback(),
            shard_port: opening.shard_port,
            no_evict: false,
            durability: Durability::Default,
            fsyncs: false,
            requests: 0,
            multi: None,
            watched: Vec::new(),
            parser: Parser::default(),
            inbound: Inbound::default(),
            gathering: None,
            output: Output::default(),
            owed: Owed::default(),
            lingers: false,
            waits: false,
            in_flight: 0,
            over_soft_since: None,
            stalled_since: None,
            flush_ordered: false,
            job: None,
            job_is_silent: false,
            queued: false,
            reading_stopped: false,
            probe: None,
            job_effort: Effort::default(),
            quota_turn: 0,
            quota_left: 0,
        }
    }

    /// Whether it may do more than log in.
    #[inline]
    pub fn is_let_in(&self) -> bool {
        self.clearance != Clearance::Nobody
    }

    /// It is this user's from now on.
    pub fn belong_to(&mut self, user: UserId, proof: Proof, acl: &Acl) {
        (self.user, self.proof, self.clearance) = (user, proof, acl.clearance(user, proof));
    }

    /// Replies that the kernel has not taken.
    pub fn unsent(&self) -> usize {
        self.output.len() + self.owed.bytes() + self.in_flight
    }

    /// Where the reply of its next request goes.
    #[inline]
    pub fn tail(&mut self) -> &mut Output {
        self.owed.tail().unwrap_or(&mut self.output)
    }

    /// Bytes of memory this connection holds.
    pub fn memory(&self) -> usize {
        size_of::<Self>()
            + self.inbound.capacity()
            + self.gathering.as_ref().map_or(0, |gathering| gathering.bytes())
            + self.output.bytes.capacity()
            + self.owed.bytes()
            + self.in_flight
            + self.name.len()
            + self.lib_name.len()
            + self.lib_version.len()
    }
}

/// The clients of a lane and what the lane has to do for them.
#[derive(Debug, Default)]
pub struct Clients {
    pub slab: Slab<Client>,
    pub orders: VecDeque<Order>,
    pub last_id: u64,
    /// An option was set: whoever keeps a copy of one reads it again.
    pub config_changed: bool,
    /// Keys that are watched by one client less: their owners are to be told.
    pub unwatched: Vec<WatchedKey>,
    /// Clients that wait, by CLIENT ID.
    pub blocked: HashMap<u64, BlockId>,
    /// Those among them that CLIENT UNBLOCK lets go.
    pub unblocked: Vec<(BlockId, Parting)>,
    pub monitors: Monitors,
    /// CONFIG RESETSTAT was called: whoever else counts begins anew.
    pub stats_reset: bool,
}

impl Clients {
    #[inline]
    pub fn get(&self, conn: ConnId) -> Option<&Client> {
        self.slab.get(conn.0)
    }

    #[inline]
    pub fn get_mut(&mut self, conn: ConnId) -> Option<&mut Client> {
        self.slab.get_mut(conn.0)
    }

    /// Whether a client waits for the disk from now on. `fsync`: when the journal is synced, if one is kept.
    pub fn set_durability(&mut self, conn: ConnId, durability: Durability, fsync: Option<Fsync>) {
        let Some(client) = self.slab.get_mut(conn.0) else { return };
        (client.durability, client.fsyncs) = (durability, durability.fsyncs(fsync));
    }

    /// What all connections may follows from their users anew; those of users who are `gone` end, that of `caller` when it has heard so.
    pub fn users_changed(&mut self, acl: &Acl, gone: &[UserId], caller: u64) {
        let mut ended = Vec::new();
        // Connections are many and users few: one question for a run of connections of the same user.
        let mut latest: Option<(UserId, Proof, Clearance)> = None;
        for (number, client) in self.slab.iter_mut() {
            if gone.contains(&client.user) {
                ended.push((ConnId(number), client.id));
                client.belong_to(UserId::DEFAULT, Proof::Missing, acl);
                // Until it has ended it may nothing, whatever the default user may.
                client.clearance = Clearance::Nobody;
            } else {
                let same = latest.filter(|(user, proof, _)| (*user, *proof) == (client.user, client.proof));
                client.clearance = same.map_or_else(|| acl.clearance(client.user, client.proof), |(.., known)| known);
                latest = Some((client.user, client.proof, client.clearance));
            }
        }
        for (conn, id) in ended {
            self.close(conn, if id == caller { Closing::AfterFlush } else { Closing::Now });
        }
    }

    /// Sees to it that `conn`'s output is sent at the end of this turn.
    #[inline]
    pub fn order_flush(&mut self, conn: ConnId) {
        let Some(client) = self.slab.get_mut(conn.0) else { return };
        if !client.flush_ordered && !client.output.is_empty() {
            client.flush_ordered = true;
            self.orders.push_back(Order::Flush(conn));
        }
    }

    /// Begins or hastens the end of a connection. An end once begun is never taken back.
    pub fn close(&mut self, conn: ConnId, how: Closing) {
        let Some(client) = self.slab.get_mut(conn.0) else { return };
        let how = if how == Closing::AfterFlush && !client.owed.is_empty() { Closing::AfterReplies } else { how };
        if client.closing >= how {
            return;
        }
        client.closing = how;
        match how {
            Closing::No | Closing::AfterInput | Closing::AfterReplies => {}
            Closing::AfterFlush => self.orders.push_back(Order::CloseAfterFlush(conn)),
            Closing::Now => self.orders.push_back(Order::Close(conn)),
        }
    }
}
