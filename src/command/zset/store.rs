//! ZRANGESTORE: a range of a sorted set as another one, made in slices from a clone of the root.

use std::ops::Range;

use super::super::places::Spec;
use super::super::staged::{On, Stage, gather};
use super::super::storing::{Made, Making, store};
use super::super::{Command, Ctx, Flags, Group, Keys, Log, Run};
use super::ranges::{Form, Scores, Wanted, next_slice};
use crate::store::entry::Kind;
use crate::store::event::Event;
use crate::store::keyspace::Graveyard;
use crate::types::ranked::Way;
use crate::types::zset::{Limits, Zset};
use crate::types::{Object, Progress};
use crate::wire::fault::Fault;
use crate::wire::request::Args;

pub const ROWS: &[Command] = &[Command {
    name: "zrangestore",
    syntax: "ZRANGESTORE dst src min max [BYSCORE | BYLEX] [REV] [LIMIT offset count]",
    arity: -5,
    keys: Keys::one(Keys::OVERWRITE).and(&[Spec::word(2, Keys::READ)]),
    flags: Flags::WRITE.and(Flags::DENYOOM),
    group: Group::SortedSet,
    since: "6.2.0",
    complexity: "O(log(N)+M) where N is the number of members, M of those stored; in slices",
    summary: "Stores a range of a sorted set under another key.",
    log: Log::Verbatim,
    run: Run::Staged(&[
        Stage {
            on: On::Sources,
            run: |ctx, args, cargo, _| {
                wanted(args)?;
                gather(ctx, cargo, args, std::iter::once(2), &[Kind::Zset])
            },
        },
        Stage {
            on: On::Key(1),
            run: |ctx, args, cargo, _| {
                let wanted = wanted(args)?;
                let zset = match cargo.take_sources().pop().map(|source| source.object) {
                    Some(Object::Zset(zset)) => zset,
                    _ => Zset::default(),
                };
                let (ranks, limits) = (wanted.ranks(&zset), ctx.zset_limits());
                let making = Copying { zset, ranks, limits, made: Zset::default() };
                Ok(store(args.at(1), Box::new(making), Event::ZRANGESTORE, cargo))
            },
        },
    ]),
    ..Command::ROW
}];

fn wanted(args: Args<'_>) -> Result<Wanted<'_>, Fault> {
    Wanted::parse(args.from(3), Form { by: None, way: None }, Scores::Implied)
}

/// A range being copied.
#[derive(Debug)]
struct Copying {
    zset: Zset,
    /// Those still to come.
    ranks: Range<usize>,
    limits: Limits,
    made: Zset,
}

impl Making for Copying {
    fn step(&mut self, ctx: &mut Ctx<'_>) -> Result<Progress, Fault> {
        let now = next_slice(&mut self.ranks, Way::Up, ctx.store.strides.removals);
        let (hasher, limits, made) = (ctx.store.hash_key, self.limits, &mut self.made);
        let (mut member, mut displaced) = (Vec::new(), Vec::new());
        self.zset.range(now, Way::Up, |found, score| {
            member.clear();
            found.read_into(&mut member);
            made.set(&member, score, limits, &hasher, &mut displaced);
        });
        assert!(displaced.is_empty(), "every member is new");
        Ok(if self.ranks.is_empty() { Progress::Done } else { Progress::More })
    }

    fn finish(self: Box<Self>, graves: &mut Graveyard) -> Option<Made> {
        graves.bury_object(Object::Zset(self.zset));
        super::made(self.made)
    }

    fn abandon(self: Box<Self>, graves: &mut Graveyard) {
        graves.bury_object(Object::Zset(self.zset));
        graves.bury_object(Object::Zset(self.made));
    }
}
