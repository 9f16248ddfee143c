//! Work too long for one turn. A handler of shape `Sliced` only begins; the shard goes on with its job turn by turn, while the
//! other connections are served between the steps. The job's own connection waits: its later requests run after it.

use bytes::Bytes;

use super::staged::Cargo;
use super::table::CommandId;
use super::{Command, Ctx, Flags, Group, Merge, Merging, Over, Part, Policy, Run, merge};
use crate::base::glob::{self, Case};
use crate::base::limits;
use crate::store::keyspace::Graveyard;
use crate::types::Progress;
use crate::types::dict::Cursor;
use crate::wire::fault::Fault;
use crate::wire::output::{Output, Shared, Splice, Splices};
use crate::wire::reply::{Dialect, Reply};
use crate::wire::request::{Args, Request};

/// A command under way. Each step is bounded and runs to completion; the last one writes the reply.
pub trait Job: std::fmt::Debug {
    /// # Errors
    /// The fault that becomes the whole reply.
    fn step(&mut self, ctx: &mut Ctx<'_>, reply: &mut Reply<'_>) -> Result<Progress, Fault>;

    /// Of a stage (`Flow::Work`) that is over: what it has found.
    fn hand_on(&mut self, _: &mut Cargo) {}

    /// Of one that has read a file for a command: what came of it. Then the command runs.
    fn fetched(&mut self) -> Option<Fetched> {
        None
    }

    /// Its connection is gone. What it held that may be large dies in steps, the reply so far first of all.
    fn abandon(self: Box<Self>, graves: &mut Graveyard);
}

/// What a job has taken so far, and the request that it began with, if SLOWLOG may want it.
#[derive(Debug, Default)]
pub struct Effort {
    pub ns: u64,
    pub request: Option<Box<Request>>,
}

/// A file that a command wanted.
#[derive(Debug)]
pub struct Fetched {
    /// Or why it could not be read.
    pub content: Result<Vec<u8>, String>,
    pub command: CommandId,
    /// The command is in its connection's queue, and EXEC waits.
    pub is_queued: bool,
}

pub const ROWS: &[Command] = &[Command {
    name: "keys",
    syntax: "KEYS pattern",
    arity: 2,
    flags: Flags::READONLY.and(Flags::DANGEROUS),
    group: Group::Generic,
    complexity: "O(N) where N is the number of keys in the database",
    summary: "Answers all keys that match a pattern, in slices: a key that is there all the while is answered once, as by SCAN.",
    policy: Policy::AllShards(Merge::Special),
    tips: &["nondeterministic_output_order"],
    run: Run::Split {
        over: Over::Nodes,
        part: Part::Sliced(|_, args| Ok(Box::new(Keys::new(args)))),
        merge: Merging::Several(merge::concat),
    },
    ..Command::ROW
}];

/// A reply that grows over many steps, in pieces that are shared with the output at the end: one of hundreds of megabytes is
/// never copied, and a piece never moves, since growing one would touch fresh pages by the hundred in one step.
#[derive(Debug, Default)]
pub struct Pieces {
    done: Vec<Shared>,
    current: Output,
    /// Bytes of pieces that are closed.
    written: usize,
}

/// Large enough that a reply of millions of keys has thousands of pieces, not more.
const PIECE_BYTES: usize = 64 << 10;

impl Pieces {
    /// Writes on. A bulk or an integer is the same in both dialects.
    pub fn writer(&mut self) -> Reply<'_> {
        Reply::new(&mut self.current, Dialect::Resp2)
    }

    /// Writes on, whatever it is.
    pub fn output(&mut self) -> &mut Output {
        &mut self.current
    }

    /// Between two steps: begins a new piece when the current one is large.
    pub fn cut(&mut self) {
        if self.current.bytes.len() >= PIECE_BYTES {
            self.close();
        }
    }

    fn close(&mut self) {
        let fresh = Output { bytes: Vec::with_capacity(PIECE_BYTES + PIECE_BYTES / 8), shared: Splices::default() };
        let Output { bytes, shared } = std::mem::replace(&mut self.current, fresh);
        self.written += bytes.len();
        let bytes = Bytes::from(bytes);
        let mut from = 0;
        for Splice { at, value } in shared {
            self.done.push(Shared::Piece(bytes.slice(from..at)));
            self.done.push(value);
            from = at;
        }
        self.done.push(Shared::Piece(bytes.slice(from..)));
    }

    /// How many bytes were written, what is shared aside.
    pub fn written(&self) -> usize {
        self.written + self.current.bytes.len()
    }

    /// Nobody wants it any more.
    pub fn bury(self, graves: &mut Graveyard) {
        graves.bury_shared(self.done.into_iter());
        graves.bury_shared(self.current.shared.into_iter().map(|splice| splice.value));
    }

    /// All of it, in pieces.
    pub fn into_output(mut self) -> Output {
        self.close();
        let mut output = Output::default();
        self.done.into_iter().for_each(|piece| output.push_shared(piece));
        output
    }

    /// Puts all of it into the reply.
    pub fn pour(&mut self, reply: &mut Reply<'_>) {
        self.done.drain(..).for_each(|piece| reply.shared(piece));
        reply.append(std::mem::take(&mut self.current));
    }
}

/// KEYS: walks the keyspace by SCAN's cursor and keeps the names.
#[derive(Debug)]
struct Keys {
    pattern: Box<[u8]>,
    cursor: Cursor,
    count: usize,
    pieces: Pieces,
}

impl Keys {
    fn new(args: Args<'_>) -> Self {
        Self { pattern: args.at(1).into(), cursor: Cursor::START, count: 0, pieces: Pieces::default() }
    }
}

impl Job for Keys {
    fn step(&mut self, ctx: &mut Ctx<'_>, reply: &mut Reply<'_>) -> Result<Progress, Fault> {
        let (pattern, pieces, count) = (&self.pattern, &mut self.pieces, &mut self.count);
        let now = ctx.now;
        self.cursor = ctx.keyspace().scan(self.cursor, limits::SCAN_KEYS_PER_STEP, now, |entry| {
            if glob::matches(pattern, entry.key(), Case::Exact) {
                pieces.writer().bulk(entry.key());
                *count += 1;
            }
        });
        self.pieces.cut();
        if self.cursor != Cursor::START {
            return Ok(Progress::More);
        }
        reply.array(self.count);
        self.pieces.pour(reply);
        Ok(Progress::Done)
    }

    fn abandon(self: Box<Self>, graves: &mut Graveyard) {
        self.pieces.bury(graves);
    }
}

/// Begins a job and takes its first step; the job, if that was not the last.
pub fn begin(
    start: super::StartFn,
    ctx: &mut Ctx<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<Option<Box<dyn Job>>, Fault> {
    let mut job = start(ctx, args)?;
    let progress = job.step(ctx, reply)?;
    Ok((progress == Progress::More).then_some(job))
}
