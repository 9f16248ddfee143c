//! Walks over a whole hash: HKEYS, HVALS and HGETALL are one job over a clone of the root, which costs nothing to take and lets others
//! write on; HSCAN goes call by call.

use crate::base::glob::{self, Case};
use crate::base::limits;
use crate::base::time::Millis;
use crate::command::caller::answer_value;
use crate::command::scan::{ScanOptions, parse_cursor};
use crate::command::sliced::{Job, Pieces};
use crate::command::{Ctx, Outcome};
use crate::store::keyspace::Graveyard;
use crate::types::hash::Hash;
use crate::types::trie::Stop;
use crate::types::{Object, Progress};
use crate::wire::fault::Fault;
use crate::wire::output::Output;
use crate::wire::reply::{Dialect, Reply};
use crate::wire::request::Args;

pub(super) fn hscan(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    parse_cursor(args.at(2)).ok_or(Fault::InvalidCursor)?;
    let (mut found, mut count, mut name, now) = (Output::default(), 0, Vec::new(), ctx.now);
    // The options of a scan of nothing are not looked at, as in Redis.
    let Some((hash, hasher)) = ctx.hash(ctx.first(args))? else {
        reply.array(2);
        reply.text("0");
        reply.array(0);
        return Ok(());
    };
    let options = ScanOptions::parse(args.at(2), args.from(3), ScanOptions::HASH)?;
    let (mut cursor, mut left) = (options.cursor, options.count);
    // COUNT is a hint: values that are copied end the call as well.
    while left > 0 && found.bytes.len() < limits::STEP_BYTES {
        let stride = left.min(STRIDE);
        left -= stride;
        cursor = hash.scan(cursor, stride, Stop::AtCount, now, &hasher, |pair| {
            name.clear();
            pair.first.read_into(&mut name);
            if options.pattern.is_some_and(|pattern| !glob::matches(pattern, &name, Case::Exact)) {
                return;
            }
            let mut into = Reply::new(&mut found, Dialect::Resp2);
            into.bulk(&name);
            count += 1;
            if !options.no_values {
                answer_value(pair.second, &mut into);
                count += 1;
            }
        });
        if cursor == 0 {
            break;
        }
    }
    reply.array(2);
    reply.text(&cursor.to_string());
    reply.array(count);
    reply.append(found);
    Ok(())
}

/// What a walk over a hash answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parts {
    Fields,
    Values,
    Pairs,
}

/// HKEYS, HVALS, HGETALL: what the hash held when they began.
#[derive(Debug)]
pub(super) struct Walk {
    hash: Hash,
    now: Millis,
    parts: Parts,
    cursor: u64,
    count: usize,
    /// Fields of the next step, by what those of the last weighed.
    stride: usize,
    pieces: Pieces,
}

/// Fields of a step when nothing is known yet of what they weigh.
pub(super) const STRIDE: usize = 64;

/// Fields of a step, when one of this stride wrote so many bytes.
pub(super) const fn next_stride(stride: usize, bytes: usize) -> usize {
    if bytes > limits::STEP_BYTES {
        if stride < 2 { 1 } else { stride / 2 }
    } else if bytes < limits::STEP_BYTES / 4 && stride < limits::FIELDS_PER_STEP {
        stride * 2
    } else {
        stride
    }
}

impl Walk {
    pub(super) fn start(ctx: &mut Ctx<'_>, args: Args<'_>, parts: Parts) -> Result<Box<dyn Job>, Fault> {
        let hash = ctx.hash(ctx.first(args))?.map(|(hash, _)| hash.clone()).unwrap_or_default();
        Ok(Box::new(Self { hash, now: ctx.now, parts, cursor: 0, count: 0, stride: STRIDE, pieces: Pieces::default() }))
    }
}

impl Job for Walk {
    fn step(&mut self, ctx: &mut Ctx<'_>, reply: &mut Reply<'_>) -> Result<Progress, Fault> {
        let hasher = ctx.store.hash_key;
        let before = self.pieces.written();
        // A leaf may stand for megabytes of values that are copied.
        let stop = if self.stride < limits::FIELDS_PER_STEP { Stop::AtCount } else { Stop::AtLeaf };
        let (parts, pieces, count) = (self.parts, &mut self.pieces, &mut self.count);
        self.cursor = self.hash.scan(self.cursor, self.stride, stop, self.now, &hasher, |pair| {
            *count += 1;
            let mut into = pieces.writer();
            if parts != Parts::Values {
                answer_value(pair.first, &mut into);
            }
            if parts != Parts::Fields {
                answer_value(pair.second, &mut into);
            }
        });
        self.stride = next_stride(self.stride, self.pieces.written() - before);
        self.pieces.cut();
        if self.cursor != 0 {
            return Ok(Progress::More);
        }
        match self.parts {
            Parts::Pairs => reply.map(self.count),
            Parts::Fields | Parts::Values => reply.array(self.count),
        }
        self.pieces.pour(reply);
        ctx.store.graves.bury_object(Object::Hash(std::mem::take(&mut self.hash)));
        Ok(Progress::Done)
    }

    /// The clone may be the last holder of its nodes by now.
    fn abandon(self: Box<Self>, graves: &mut Graveyard) {
        self.pieces.bury(graves);
        graves.bury_object(Object::Hash(self.hash));
    }
}
