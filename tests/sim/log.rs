//! What happened in a run: the only thing the judges (`order`, `oracle`, `guarantee`) are given.
//!
//! ```text
//!  moments  ---1----2----3----4----5----6----7----8--->      one counter over everything of interest
//!              |    |         |         |    |
//!            sent  sent      ran       ran  answered          first byte leaves, a shard runs it, the whole reply is read
//! ```
//!
//! A moment orders what the simulator saw from outside. A [`Ran`] is what a shard says of itself; the judges believe it only as far as
//! the replies bear it out.

use corelane::base::time::{Millis, Now};
use corelane::command::table::Table;
use corelane::command::{Command, Run};
use corelane::shard::{Ran, ShardId};
use corelane::wire::request::{Args, Span};

/// A point in the order of everything that was seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(pub(crate) u64);

/// One request of one client.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) words: Vec<Vec<u8>>,
    /// The innermost row: that of OBJECT ENCODING, not of OBJECT.
    pub(crate) row: Option<&'static Command>,
    /// The connection's database and protocol when it is run.
    pub(crate) db: u8,
    pub(crate) resp3: bool,
    /// It becomes part of a MULTI.
    pub(crate) is_queued: bool,
    /// MULTI or WATCH inside a MULTI, which is refused.
    pub(crate) is_misplaced: bool,
    /// The iteration of SCAN it belongs to.
    pub(crate) scan: Option<usize>,
    pub(crate) sent: Option<Moment>,
    /// The earliest clock of any lane when it was sent, the latest when it was answered.
    pub(crate) sent_ms: Millis,
    pub(crate) answered_ms: Millis,
    pub(crate) answered: Option<Moment>,
    pub(crate) reply: Vec<u8>,
}

impl Call {
    pub(crate) fn name(&self) -> &'static str {
        self.row.map_or("?", |row| row.name)
    }

    pub(crate) fn is(&self, name: &str) -> bool {
        self.name() == name
    }

    /// Whether it may wait: outside of MULTI only.
    pub(crate) fn may_wait(&self) -> bool {
        !self.is_queued && !self.is_misplaced && self.row.is_some_and(|row| matches!(row.run, Run::Blocking(_)))
    }

    /// CLIENT UNBLOCK ERROR has ended its wait.
    pub(crate) fn is_unblocked(&self) -> bool {
        self.reply.starts_with(b"-UNBLOCKED ")
    }

    /// As a person would type it; long words are cut.
    pub(crate) fn text(&self) -> String {
        let words: Vec<String> = self.words.iter().map(|word| short(word)).collect();
        words.join(" ")
    }
}

/// Bytes for a story.
pub(crate) fn short(bytes: &[u8]) -> String {
    const SHOWN: usize = 120;
    let head = bytes[..bytes.len().min(SHOWN)].escape_ascii();
    if bytes.len() > SHOWN { format!("{head}...({})", bytes.len()) } else { head.to_string() }
}

/// A connection from its beginning to its end.
#[derive(Debug)]
pub(crate) struct ClientLog {
    pub(crate) home: ShardId,
    /// CLIENT ID
    pub(crate) id: u64,
    pub(crate) calls: Vec<Call>,
}

#[derive(Debug, Default)]
pub(crate) struct Log {
    pub(crate) clients: Vec<ClientLog>,
    /// Of each lane, in its order.
    pub(crate) runs: Vec<Vec<(Moment, Ran)>>,
    /// Whether a write waits for its connection's earlier requests on other lanes.
    pub(crate) is_strict: bool,
}

impl Log {
    pub(crate) fn call(&self, at: CallId) -> &Call {
        &self.clients[at.client].calls[at.number]
    }

    /// The request that a shard says it ran.
    pub(crate) fn find(&self, ran: &Ran) -> Option<CallId> {
        let client = self.clients.iter().position(|client| client.home == ran.home && client.id == ran.client)?;
        let number = usize::try_from(ran.number).ok()?;
        (number < self.clients[client].calls.len()).then_some(CallId { client, number })
    }

    pub(crate) fn describe(&self, at: CallId) -> String {
        let call = self.call(at);
        let id = self.clients[at.client].id;
        let moment = |at: Option<Moment>| at.map_or_else(|| "-".to_owned(), |at| at.0.to_string());
        format!(
            "client {id} #{} [db {}] {}  (sent {}, answered {}) -> {}",
            at.number,
            call.db,
            call.text(),
            moment(call.sent),
            moment(call.answered),
            short(&call.reply)
        )
    }
}

/// A request's place in the log: the client's place and its n-th request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct CallId {
    pub(crate) client: usize,
    pub(crate) number: usize,
}

/// The innermost row of a request.
pub(crate) fn row_of(table: &Table, words: &[Vec<u8>]) -> Option<&'static Command> {
    let (bytes, spans) = flatten(words);
    let found = table.find(words.first()?)?;
    Some(table.innermost(found, Args::new(&bytes, &spans)).row)
}

fn flatten(words: &[Vec<u8>]) -> (Vec<u8>, Vec<Span>) {
    let (mut bytes, mut spans) = (Vec::new(), Vec::new());
    for word in words {
        let narrow = |n: usize| u32::try_from(n).expect("the words of a test are short");
        spans.push(Span { start: narrow(bytes.len()), len: narrow(word.len()) });
        bytes.extend_from_slice(word);
    }
    (bytes, spans)
}

/// The clock of a lane begins here.
pub(crate) const EPOCH: Now = Now { unix_us: 1_700_000_000_000_000, mono_ns: 1_000_000_000 };
