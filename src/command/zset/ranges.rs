//! ZRANGE and its older forms, and counting.
//!
//! ```text
//!  ZRANGE key low high [BYSCORE | BYLEX] [REV] [LIMIT offset count] [WITHSCORES]      Form { by, way } found among the options
//!  ZREVRANGEBYSCORE key high low [WITHSCORES] [LIMIT offset count]                    Form { by, way } given by the row
//!       \--> a range of ranks --> a few: at once    --> many: a job over a clone of the root
//! ```

use std::ops::Range;

use super::super::sliced::Job;
use super::super::staged::{Flow, On, Stage};
use super::super::{Command, Ctx, Flags, Group, Keys, Outcome, Run};
use super::bounds::{By, Limit, Span};
use super::{Answer, Shape};
use crate::base::ascii::is_word;
use crate::base::limits;
use crate::command::numbers::integer;
use crate::store::keyspace::Graveyard;
use crate::types::ranked::Way;
use crate::types::zset::Zset;
use crate::types::{Object, Progress};
use crate::wire::fault::Fault;
use crate::wire::reply::Reply;
use crate::wire::request::Args;

const ROW: Command = Command {
    group: Group::SortedSet,
    since: "1.2.0",
    keys: Keys::one(Keys::READ),
    flags: Flags::READONLY,
    complexity: "O(log(N)+M) where N is the number of members, M of those answered; in slices",
    ..Command::ROW
};
const COUNT: Command = Command {
    flags: Flags::READONLY.and(Flags::FAST),
    arity: 4,
    complexity: "O(log(N)) where N is the number of members",
    ..ROW
};

/// A row whose stages are one that answers a range of this form.
macro_rules! range {
    ($by:ident, $way:ident) => {
        Run::Staged(&[Stage {
            on: On::Key(1),
            run: |ctx, args, _, reply| range(ctx, args, Form { by: Some(By::$by), way: Some(Way::$way) }, reply),
        }])
    };
}

pub const ROWS: &[Command] = &[
    Command {
        name: "zcount",
        syntax: "ZCOUNT key min max",
        since: "2.0.0",
        summary: "Answers how many members have a score in a range.",
        run: Run::Keys(|ctx, args, reply| count(ctx, args, By::Score, reply)),
        ..COUNT
    },
    Command {
        name: "zlexcount",
        syntax: "ZLEXCOUNT key min max",
        since: "2.8.9",
        summary: "Answers how many members lie in a range of texts, all scores being equal.",
        run: Run::Keys(|ctx, args, reply| count(ctx, args, By::Member, reply)),
        ..COUNT
    },
    Command {
        name: "zrange",
        syntax: "ZRANGE key start stop [BYSCORE | BYLEX] [REV] [LIMIT offset count] [WITHSCORES]",
        arity: -4,
        summary: "Answers the members of a range of ranks, scores or texts, in either order.",
        run: Run::Staged(&[Stage {
            on: On::Key(1),
            run: |ctx, args, _, reply| range(ctx, args, Form { by: None, way: None }, reply),
        }]),
        ..ROW
    },
    Command {
        name: "zrangebylex",
        syntax: "ZRANGEBYLEX key min max [LIMIT offset count]",
        arity: -4,
        since: "2.8.9",
        summary: "Answers the members of a range of texts, all scores being equal.",
        run: range!(Member, Up),
        ..ROW
    },
    Command {
        name: "zrangebyscore",
        syntax: "ZRANGEBYSCORE key min max [WITHSCORES] [LIMIT offset count]",
        arity: -4,
        since: "1.0.5",
        summary: "Answers the members whose scores lie in a range.",
        run: range!(Score, Up),
        ..ROW
    },
    Command {
        name: "zrevrange",
        syntax: "ZREVRANGE key start stop [WITHSCORES]",
        arity: -4,
        summary: "Answers the members of a range of ranks, the highest score first.",
        run: range!(Rank, Down),
        ..ROW
    },
    Command {
        name: "zrevrangebylex",
        syntax: "ZREVRANGEBYLEX key max min [LIMIT offset count]",
        arity: -4,
        since: "2.8.9",
        summary: "Answers the members of a range of texts in descending order, all scores being equal.",
        run: range!(Member, Down),
        ..ROW
    },
    Command {
        name: "zrevrangebyscore",
        syntax: "ZREVRANGEBYSCORE key max min [WITHSCORES] [LIMIT offset count]",
        arity: -4,
        since: "2.2.0",
        summary: "Answers the members whose scores lie in a range, the highest score first.",
        run: range!(Score, Down),
        ..ROW
    },
];

/// What a row says of its range; what it leaves open, options may say.
#[derive(Clone, Copy, Debug)]
pub(super) struct Form {
    pub(super) by: Option<By>,
    pub(super) way: Option<Way>,
}

/// Whether WITHSCORES is an option: a command that stores knows scores anyway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scores {
    Optional,
    Implied,
}

/// A range that was asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted<'w> {
    span: Span<'w>,
    pub(super) way: Way,
    limit: Limit,
    pub(super) with_scores: bool,
}

impl<'w> Wanted<'w> {
    /// `words`: the two ends of the range, then the options.
    pub(super) fn parse(words: Args<'w>, form: Form, scores: Scores) -> Result<Self, Fault> {
        let (mut form, mut limit, mut with_scores, mut i) = (form, Limit::NONE, false, 2);
        while let Some(word) = words.get(i) {
            if scores == Scores::Optional && is_word(word, "WITHSCORES") {
                with_scores = true;
            } else if words.len() - i > 2 && is_word(word, "LIMIT") {
                limit = Limit { offset: integer(words.at(i + 1))?, count: integer(words.at(i + 2))? };
                i += 2;
            } else if form.way.is_none() && is_word(word, "REV") {
                form.way = Some(Way::Down);
            } else if form.by.is_none() && is_word(word, "BYLEX") {
                form.by = Some(By::Member);
            } else if form.by.is_none() && is_word(word, "BYSCORE") {
                form.by = Some(By::Score);
            } else {
                return Err(Fault::Syntax);
            }
            i += 1;
        }
        let (by, way) = (form.by.unwrap_or(By::Rank), form.way.unwrap_or(Way::Up));
        if limit.count != -1 && by == By::Rank {
            return Err(Fault::Fixed(
                "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX",
            ));
        }
        if with_scores && by == By::Member {
            return Err(Fault::Fixed("ERR syntax error, WITHSCORES not supported in combination with BYLEX"));
        }
        let is_turned = way == Way::Down && by != By::Rank;
        let (low, high) = if is_turned { (1, 0) } else { (0, 1) };
        let span = by.span(words.at(low), words.at(high))?;
        // Ranks are never limited: what stands there is -1, whatever the offset.
        let limit = if by == By::Rank { Limit::NONE } else { limit };
        Ok(Self { span, way, limit, with_scores })
    }

    /// The ranks, from the lowest score on.
    pub(super) fn ranks(&self, zset: &Zset) -> Range<usize> {
        match self.way {
            Way::Up => self.limit.cut(self.span.ranks(zset), Way::Up),
            Way::Down => self.limit.cut(self.span.ranks_down(zset), Way::Down),
        }
    }
}

fn range(ctx: &mut Ctx<'_>, args: Args<'_>, form: Form, reply: &mut Reply<'_>) -> Result<Flow, Fault> {
    let wanted = Wanted::parse(args.from(2), form, Scores::Optional)?;
    let Some((zset, _)) = ctx.zset(ctx.first(args))? else {
        reply.array(0);
        return Ok(Flow::Done);
    };
    let (ranks, way) = (wanted.ranks(zset), wanted.way);
    let shape = if wanted.with_scores { Shape::with_scores(reply.dialect()) } else { Shape::Members };
    if ranks.len() > limits::FIELDS_PER_STEP {
        let answer = Answer::new(shape, reply.dialect());
        return Ok(Flow::Job(Box::new(Walk { zset: zset.clone(), ranks, way, answer })));
    }
    shape.head(ranks.len(), reply);
    zset.range(ranks, way, |member, score| shape.element(member, score, reply));
    Ok(Flow::Done)
}

fn count(ctx: &mut Ctx<'_>, args: Args<'_>, by: By, reply: &mut Reply<'_>) -> Outcome {
    let span = by.span(args.at(2), args.at(3))?;
    let count = ctx.zset(ctx.first(args))?.map_or(0, |(zset, _)| span.ranks(zset).len());
    reply.count(count);
    Ok(())
}

/// A long range: what the sorted set held when it was asked for.
#[derive(Debug)]
pub(super) struct Walk {
    zset: Zset,
    /// Those still to come.
    ranks: Range<usize>,
    way: Way,
    answer: Answer,
}

impl Walk {
    /// All of it.
    pub(super) fn over(zset: Zset, way: Way, answer: Answer) -> Self {
        Self { ranks: 0..zset.len(), zset, way, answer }
    }
}

impl Job for Walk {
    fn step(&mut self, ctx: &mut Ctx<'_>, reply: &mut Reply<'_>) -> Result<Progress, Fault> {
        let now = next_slice(&mut self.ranks, self.way, limits::FIELDS_PER_STEP);
        let answer = &mut self.answer;
        self.zset.range(now, self.way, |member, score| answer.push(member, score));
        if !self.ranks.is_empty() {
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

/// Takes the ranks of the next step off those still to come.
pub(super) fn next_slice(ranks: &mut Range<usize>, way: Way, most: usize) -> Range<usize> {
    let count = ranks.len().min(most);
    match way {
        Way::Up => {
            let now = ranks.start..ranks.start + count;
            ranks.start = now.end;
            now
        }
        Way::Down => {
            let now = ranks.end - count..ranks.end;
            ranks.end = now.start;
            now
        }
    }
}
