//! Work too long for one turn. A handler of shape `Sliced` only begins; the shard goes on with its job turn by turn, while the
//! other connections are served between the steps. The job's own connection waits: its later requests run after it.

use bytes::Bytes;

use super::{Command, Ctx, Flags, Group, Merge, Policy, Run};
use crate::base::glob::{self, Case};
use crate::base::limits;
use crate::types::Progress;
use crate::types::dict::Cursor;
use crate::wire::fault::Fault;
use crate::wire::output::Output;
use crate::wire::reply::{Dialect, Reply};
use crate::wire::request::Args;

/// A command under way. Each step is bounded and runs to completion; the last one writes the reply.
pub trait Job: std::fmt::Debug {
    /// # Errors
    /// The fault that becomes the whole reply.
    fn step(&mut self, ctx: &mut Ctx<'_>, reply: &mut Reply<'_>) -> Result<Progress, Fault>;
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
    run: Run::Sliced { start: |_, args| Ok(Box::new(Keys::new(args))) },
    ..Command::ROW
}];

/// KEYS: walks the keyspace by SCAN's cursor and keeps the names, already written as bulk strings.
#[derive(Debug)]
struct Keys {
    pattern: Box<[u8]>,
    cursor: Cursor,
    count: usize,
    /// Pieces that are shared with the output at the end: a reply of hundreds of megabytes is never copied.
    pieces: Vec<Bytes>,
    piece: Output,
}

/// Large enough that a reply of millions of keys has thousands of pieces, not more. A piece never moves: growing one would touch
/// fresh pages by the hundred in one step.
const PIECE_BYTES: usize = 64 << 10;

impl Keys {
    fn new(args: Args<'_>) -> Self {
        Self {
            pattern: args.at(1).into(),
            cursor: Cursor::START,
            count: 0,
            pieces: Vec::new(),
            piece: Output::default(),
        }
    }

    fn cut_piece(&mut self) {
        let fresh = Vec::with_capacity(PIECE_BYTES + PIECE_BYTES / 8);
        self.pieces.push(Bytes::from(std::mem::replace(&mut self.piece.bytes, fresh)));
    }
}

impl Job for Keys {
    fn step(&mut self, ctx: &mut Ctx<'_>, reply: &mut Reply<'_>) -> Result<Progress, Fault> {
        let (pattern, piece, count) = (&self.pattern, &mut self.piece, &mut self.count);
        let now = ctx.now;
        self.cursor = ctx.keyspace().scan(self.cursor, limits::SCAN_KEYS_PER_STEP, now, |entry| {
            if glob::matches(pattern, entry.key(), Case::Exact) {
                Reply::new(piece, Dialect::Resp2).bulk(entry.key());
                *count += 1;
            }
        });
        if self.piece.bytes.len() >= PIECE_BYTES {
            self.cut_piece();
        }
        if self.cursor != Cursor::START {
            return Ok(Progress::More);
        }
        self.cut_piece();
        reply.array(self.count);
        self.pieces.drain(..).for_each(|piece| reply.bulk_shared(piece));
        Ok(Progress::Done)
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
