//! ZRANDMEMBER: choices at random, each exactly fair, since a sorted set finds its n-th member.
//!
//! ```text
//!  key             one member
//!  key -n          n draws, of which some may be the same
//!  key n           n different ones: few of many    draws, what comes again does not count
//!                                    many           each rank in turn, with the chance that is left to it (Knuth's algorithm S,
//!                                                   The Art of Computer Programming 3.4.2), so by ascending score
//! ```
//!
//! It works on a clone of the root, in steps: a choice is of one moment.

use hashbrown::HashSet;

use super::super::sliced::Job;
use super::super::staged::{Flow, On, Stage};
use super::super::{Command, Ctx, Flags, Group, Keys, Run};
use super::{Answer, Shape};
use crate::base::ascii::is_word;
use crate::base::limits;
use crate::base::rng::Rng;
use crate::command::caller::answer_value;
use crate::command::numbers::integer;
use crate::store::keyspace::Graveyard;
use crate::types::ranked::Way as Order;
use crate::types::zset::Zset;
use crate::types::{Object, Progress};
use crate::wire::fault::Fault;
use crate::wire::reply::Reply;
use crate::wire::request::Args;

pub const ROWS: &[Command] = &[Command {
    name: "zrandmember",
    syntax: "ZRANDMEMBER key [count [WITHSCORES]]",
    arity: -2,
    keys: Keys::one(Keys::READ),
    flags: Flags::READONLY,
    group: Group::SortedSet,
    since: "6.2.0",
    complexity: "O(log(N)) without a count, O(M*log(N)) for M members of N",
    summary: "Answers members at random, each choice as likely as any other.",
    tips: &["nondeterministic_output"],
    run: Run::Staged(&[Stage { on: On::Key(1), run: |ctx, args, _, reply| zrandmember(ctx, args, reply) }]),
    ..Command::ROW
}];

/// Different members are drawn up to this many, and up to a third of all: then it takes half as many draws again at most.
const DRAWN_ONCE_MAX: usize = 1024;

fn zrandmember(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Result<Flow, Fault> {
    let count = args.get(2).map(integer).transpose()?;
    if count == Some(i64::MIN) {
        return Err(Fault::Fixed(BEYOND_LONG));
    }
    let with_scores = match args.len() {
        ..=3 => false,
        4 if is_word(args.at(3), "WITHSCORES") => true,
        _ => return Err(Fault::Syntax),
    };
    if with_scores && count.is_some_and(|count| count.unsigned_abs() > i64::MAX.unsigned_abs() / 2) {
        return Err(Fault::OutOfRange);
    }
    let mut rng = ctx.dice();
    let shape = if with_scores { Shape::with_scores(reply.dialect()) } else { Shape::Members };
    let answer = Answer::new(shape, reply.dialect());
    match (ctx.zset(ctx.first(args))?, count) {
        (None, None) => reply.null(),
        (None, Some(_)) => reply.array(0),
        (Some((zset, _)), None) => {
            let rank = rng.place(zset.len());
            zset.range(rank..rank + 1, Order::Up, |member, _| answer_value(member, reply));
        }
        (Some((zset, _)), Some(count)) => {
            return Ok(Flow::Job(Box::new(Draw::new(zset.clone(), count, rng, answer)?)));
        }
    }
    Ok(Flow::Done)
}

const BEYOND_LONG: &str = "ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807";

/// Members being drawn from what a sorted set held.
#[derive(Debug)]
struct Draw {
    zset: Zset,
    way: Way,
    rng: Rng,
    /// How many are still to come.
    left: usize,
    answer: Answer,
}

#[derive(Debug)]
enum Way {
    /// A member may come again.
    Again,
    /// One whose rank is among these has come already.
    Once(HashSet<usize>),
    /// Up to this rank all have had their chance.
    InTurn(usize),
}

impl Draw {
    fn new(zset: Zset, count: i64, rng: Rng, answer: Answer) -> Result<Self, Fault> {
        let wanted = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX);
        if count < 0 && wanted > limits::DRAWS_MAX {
            return Err(Fault::OutOfRange);
        }
        let (way, left) = match count {
            ..0 => (Way::Again, wanted),
            _ if wanted <= DRAWN_ONCE_MAX.min(zset.len() / 3) => (Way::Once(HashSet::new()), wanted),
            _ => (Way::InTurn(0), wanted.min(zset.len())),
        };
        Ok(Self { zset, way, rng, left, answer })
    }

    fn draw(&mut self) {
        let Self { zset, rng, left, answer, way } = self;
        let len = zset.len();
        let mut show = |rank: usize| zset.range(rank..rank + 1, Order::Up, |member, score| answer.push(member, score));
        for _ in 0..limits::DRAWS_PER_STEP {
            if *left == 0 {
                return;
            }
            match way {
                Way::Again => show(rng.place(len)),
                Way::Once(chosen) => {
                    let rank = rng.place(len);
                    if !chosen.insert(rank) {
                        continue;
                    }
                    show(rank);
                }
                Way::InTurn(rank) => {
                    let here = *rank;
                    *rank += 1;
                    if rng.place(len - here) >= *left {
                        continue;
                    }
                    show(here);
                }
            }
            *left -= 1;
        }
    }
}

impl Job for Draw {
    fn step(&mut self, ctx: &mut Ctx<'_>, reply: &mut Reply<'_>) -> Result<Progress, Fault> {
        self.draw();
        if self.left > 0 {
            self.answer.cut();
            return Ok(Progress::More);
        }
        self.answer.pour(reply);
        ctx.store.graves.bury_object(Object::Zset(std::mem::take(&mut self.zset)));
        Ok(Progress::Done)
    }

    /// The clone may be the last holder of its nodes by now.
    fn abandon(self: Box<Self>, graves: &mut Graveyard) {
        self.answer.bury(graves);
        graves.bury_object(Object::Zset(self.zset));
    }
}
