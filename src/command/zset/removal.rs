//! ZREMRANGEBYRANK, ZREMRANGEBYSCORE, ZREMRANGEBYLEX.
//!
//! A range that is everything is taken out of the keyspace as it is. Another one leaves in slices, with its key held from the first to the last, so
//! that nobody sees a part of it; the request is the effect, and is stated with the first slice: whatever else happens to the key is stated
//! later, and whoever repeats the request finds what it found.

use std::ops::Range;

use super::super::sliced::Job;
use super::super::{Command, Ctx, Flags, Group, Keys, Log, Run};
use super::Left;
use super::bounds::By;
use super::ranges::next_slice;
use crate::store::event::Event;
use crate::store::keyspace::Graveyard;
use crate::types::Progress;
use crate::types::ranked::Way;
use crate::wire::fault::Fault;
use crate::wire::reply::Reply;
use crate::wire::request::Args;

const ROW: Command = Command {
    group: Group::SortedSet,
    arity: 4,
    keys: Keys::one(Keys::DELETE_FROM),
    flags: Flags::WRITE,
    complexity: "O(log(N)+M*log(N)) where N is the number of members, M of those removed; in slices",
    log: Log::Verbatim,
    ..Command::ROW
};

pub const ROWS: &[Command] = &[
    Command {
        name: "zremrangebylex",
        syntax: "ZREMRANGEBYLEX key min max",
        since: "2.8.9",
        summary: "Removes the members of a range of texts, all scores being equal.",
        run: Run::Sliced { start: |ctx, args| start(ctx, args, By::Member, Event::ZREMRANGEBYLEX) },
        ..ROW
    },
    Command {
        name: "zremrangebyrank",
        syntax: "ZREMRANGEBYRANK key start stop",
        since: "2.0.0",
        summary: "Removes the members of a range of ranks.",
        run: Run::Sliced { start: |ctx, args| start(ctx, args, By::Rank, Event::ZREMRANGEBYRANK) },
        ..ROW
    },
    Command {
        name: "zremrangebyscore",
        syntax: "ZREMRANGEBYSCORE key min max",
        since: "1.2.0",
        summary: "Removes the members whose scores lie in a range.",
        run: Run::Sliced { start: |ctx, args| start(ctx, args, By::Score, Event::ZREMRANGEBYSCORE) },
        ..ROW
    },
];

fn start(ctx: &mut Ctx<'_>, args: Args<'_>, by: By, event: Event) -> Result<Box<dyn Job>, Fault> {
    let span = by.span(args.at(2), args.at(3))?;
    let (ranks, held) = ctx.old_zset(ctx.first(args))?.map_or((0..0, 0), |(zset, _)| (span.ranks(zset), zset.len()));
    let whole = if ranks.len() == held { Left::Nothing } else { Left::Some };
    Ok(Box::new(Removal { key: args.at(1).into(), count: ranks.len(), ranks, left: whole, event: Some(event) }))
}

/// A range that is being removed.
#[derive(Debug)]
struct Removal {
    key: Box<[u8]>,
    count: usize,
    /// Those still to be removed.
    ranks: Range<usize>,
    /// What will be left in the end.
    left: Left,
    /// To be told with the first slice.
    event: Option<Event>,
}

impl Job for Removal {
    fn step(&mut self, ctx: &mut Ctx<'_>, reply: &mut Reply<'_>) -> Result<Progress, Fault> {
        let key = ctx.key(&self.key);
        if self.left == Left::Nothing {
            self.ranks = 0..0;
        } else if !self.ranks.is_empty() {
            // From the end, so that the ranks before stay what they are.
            let now = next_slice(&mut self.ranks, Way::Down, ctx.store.strides.removals);
            ctx.edit_zset(key, |edit| edit.remove_ranks(now, Way::Down, |_, _| ()));
        }
        if let Some(event) = self.event.take().filter(|_| self.count > 0) {
            ctx.taken_from_zset(key, event, self.left);
        }
        if !self.ranks.is_empty() {
            return Ok(Progress::More);
        }
        reply.count(self.count);
        Ok(Progress::Done)
    }

    fn abandon(self: Box<Self>, _: &mut Graveyard) {}
}
