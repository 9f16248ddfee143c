//! ZUNION, ZINTER, ZDIFF, ZINTERCARD and their STORE forms.
//!
//! ```text
//!  sources    clones of the values, from the lanes that own them                    staged.rs
//!  mix        an element after the other, in slices                                 types/zset/mix.rs
//!  answer     the result, in slices      or: store it                               ranges.rs, storing.rs
//! ```

use super::super::places::{BadCount, Spec, count};
use super::super::sliced::Job;
use super::super::staged::{Cargo, Flow, On, Stage, gather};
use super::super::storing::{Made, Making, store};
use super::super::{Command, Ctx, Flags, Group, Keys, Log, Run};
use super::ranges::Walk;
use super::{Answer, Shape};
use crate::base::ascii::{is_word, parse_i64};
use crate::base::double;
use crate::store::entry::Kind;
use crate::store::event::Event;
use crate::store::keyspace::Graveyard;
use crate::types::ranked::Way;
use crate::types::zset::Zset;
use crate::types::zset::mix::{Aggregate, Mix, Operand, Operation, Outcome};
use crate::types::{Object, Progress};
use crate::wire::fault::Fault;
use crate::wire::reply::Reply;
use crate::wire::request::Args;

const ROW: Command = Command {
    group: Group::SortedSet,
    since: "6.2.0",
    arity: -3,
    keys: Keys::counted(1, Keys::READ),
    flags: Flags::READONLY,
    complexity: "O(N*log(N)) where N is the number of members of all inputs; in slices",
    ..Command::ROW
};
const STORE: Command = Command {
    arity: -4,
    keys: Keys::one(Keys::OVERWRITE).and(&[Spec::counted(2, Keys::READ)]),
    flags: Flags::WRITE.and(Flags::DENYOOM),
    log: Log::Verbatim,
    ..ROW
};

/// The stages of a row that answers.
macro_rules! answered {
    ($shape:ident) => {
        Run::Staged(&[
            Stage { on: On::Sources, run: |ctx, args, cargo, _| sources(ctx, args, cargo, &$shape) },
            Stage { on: On::Home, run: |ctx, args, cargo, reply| answer(ctx, args, cargo, reply, &$shape) },
        ])
    };
}

/// The stages of a row that stores.
macro_rules! stored {
    ($shape:ident, $event:ident) => {
        Run::Staged(&[
            Stage { on: On::Sources, run: |ctx, args, cargo, _| sources(ctx, args, cargo, &$shape) },
            Stage {
                on: On::Key(1),
                run: |ctx, args, cargo, _| {
                    let mix = mix(ctx, args, cargo, &$shape)?.0;
                    Ok(store(args.at(1), Box::new(mix), Event::$event, cargo))
                },
            },
        ])
    };
}

pub const ROWS: &[Command] = &[
    Command {
        name: "zdiff",
        syntax: "ZDIFF numkeys key [key ...] [WITHSCORES]",
        summary: "Answers the members of the first input that are in none of the others.",
        run: answered!(DIFF),
        ..ROW
    },
    Command {
        name: "zdiffstore",
        syntax: "ZDIFFSTORE destination numkeys key [key ...]",
        summary: "Stores the members of the first input that are in none of the others.",
        run: stored!(DIFFSTORE, ZDIFFSTORE),
        ..STORE
    },
    Command {
        name: "zinter",
        syntax: "ZINTER numkeys key [key ...] [WEIGHTS weight [weight ...]] [AGGREGATE <SUM | MIN | MAX>] [WITHSCORES]",
        summary: "Answers the members that are in all inputs.",
        run: answered!(INTER),
        ..ROW
    },
    Command {
        name: "zintercard",
        syntax: "ZINTERCARD numkeys key [key ...] [LIMIT limit]",
        since: "7.0.0",
        summary: "Answers how many members are in all inputs.",
        run: answered!(INTERCARD),
        ..ROW
    },
    Command {
        name: "zinterstore",
        syntax: "ZINTERSTORE destination numkeys key [key ...] [WEIGHTS weight [weight ...]] [AGGREGATE <SUM | MIN | MAX>]",
        since: "2.0.0",
        summary: "Stores the members that are in all inputs.",
        run: stored!(INTERSTORE, ZINTERSTORE),
        ..STORE
    },
    Command {
        name: "zunion",
        syntax: "ZUNION numkeys key [key ...] [WEIGHTS weight [weight ...]] [AGGREGATE <SUM | MIN | MAX>] [WITHSCORES]",
        summary: "Answers the members of all inputs.",
        run: answered!(UNION),
        ..ROW
    },
    Command {
        name: "zunionstore",
        syntax: "ZUNIONSTORE destination numkeys key [key ...] [WEIGHTS weight [weight ...]] [AGGREGATE <SUM | MIN | MAX>]",
        since: "2.0.0",
        summary: "Stores the members of all inputs.",
        run: stored!(UNIONSTORE, ZUNIONSTORE),
        ..STORE
    },
];

/// What a row does, and which options it has.
#[derive(Debug)]
struct Form {
    name: &'static str,
    operation: Operation,
    /// The word that is the number of keys.
    at: usize,
    weighs: bool,
    product: Product,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Product {
    Members,
    Count,
    Stored,
}

const fn form(name: &'static str, operation: Operation, product: Product) -> Form {
    let weighs = !matches!(operation, Operation::Difference) && !matches!(product, Product::Count);
    let at = if matches!(product, Product::Stored) { 2 } else { 1 };
    Form { name, operation, at, weighs, product }
}

const DIFF: Form = form("zdiff", Operation::Difference, Product::Members);
const DIFFSTORE: Form = form("zdiffstore", Operation::Difference, Product::Stored);
const INTER: Form = form("zinter", Operation::Intersection, Product::Members);
const INTERCARD: Form = form("zintercard", Operation::Intersection, Product::Count);
const INTERSTORE: Form = form("zinterstore", Operation::Intersection, Product::Stored);
const UNION: Form = form("zunion", Operation::Union, Product::Members);
const UNIONSTORE: Form = form("zunionstore", Operation::Union, Product::Stored);

/// What options say.
#[derive(Debug)]
struct Options {
    weights: Vec<f64>,
    aggregate: Aggregate,
    with_scores: bool,
    limit: usize,
}

impl Form {
    fn keys(&self, args: Args<'_>) -> Result<usize, Fault> {
        count(args, self.at).map_err(|bad| match bad {
            BadCount::NotANumber => Fault::NotInteger,
            BadCount::NotPositive => {
                Fault::text(format!("ERR at least 1 input key is needed for '{}' command", self.name))
            }
            BadCount::TooMany => Fault::Syntax,
        })
    }

    fn options(&self, words: Args<'_>, keys: usize) -> Result<Options, Fault> {
        let mut options =
            Options { weights: vec![1.0; keys], aggregate: Aggregate::Sum, with_scores: false, limit: usize::MAX };
        let mut i = 0;
        while let Some(word) = words.get(i) {
            let behind = words.len() - i - 1;
            if self.weighs && behind >= keys && is_word(word, "WEIGHTS") {
                for (place, weight) in options.weights.iter_mut().enumerate() {
                    const NO_FLOAT: Fault = Fault::Fixed("ERR weight value is not a float");
                    *weight = double::parse(words.at(i + 1 + place)).ok_or(NO_FLOAT)?;
                }
                i += keys;
            } else if self.weighs && behind >= 1 && is_word(word, "AGGREGATE") {
                options.aggregate = aggregate(words.at(i + 1)).ok_or(Fault::Syntax)?;
                i += 1;
            } else if self.product == Product::Members && is_word(word, "WITHSCORES") {
                options.with_scores = true;
            } else if self.product == Product::Count && behind >= 1 && is_word(word, "LIMIT") {
                let limit = parse_i64(words.at(i + 1)).and_then(|limit| usize::try_from(limit).ok());
                let limit = limit.ok_or(Fault::Fixed("ERR LIMIT can't be negative"))?;
                options.limit = if limit == 0 { usize::MAX } else { limit };
                i += 1;
            } else {
                return Err(Fault::Syntax);
            }
            i += 1;
        }
        Ok(options)
    }
}

fn aggregate(word: &[u8]) -> Option<Aggregate> {
    let names = [("SUM", Aggregate::Sum), ("MIN", Aggregate::Min), ("MAX", Aggregate::Max)];
    names.into_iter().find(|(name, _)| is_word(word, name)).map(|(_, aggregate)| aggregate)
}

fn sources(ctx: &mut Ctx<'_>, args: Args<'_>, cargo: &mut Cargo, form: &Form) -> Result<Flow, Fault> {
    let first = form.at + 1;
    gather(ctx, cargo, args, first..first + form.keys(args)?, &[Kind::Zset, Kind::Set])
}

/// The operation on what was gathered, and what options say of its answer.
fn mix(ctx: &Ctx<'_>, args: Args<'_>, cargo: &mut Cargo, form: &Form) -> Result<(Mixing, Options), Fault> {
    let keys = form.keys(args)?;
    let options = form.options(args.from(form.at + 1 + keys), keys)?;
    let mut operands: Vec<_> = options.weights.iter().map(|weight| (Operand::Zset(Zset::default()), *weight)).collect();
    for source in cargo.take_sources() {
        operands[source.word - form.at - 1].0 = match source.object {
            Object::Zset(zset) => Operand::Zset(zset),
            Object::Set(set) => Operand::Set(set),
            _ => unreachable!("only these kinds are gathered"),
        };
    }
    let outcome = match form.product {
        Product::Count => Outcome::Counted(0, options.limit),
        Product::Members | Product::Stored => Outcome::Kept(Zset::default(), ctx.zset_limits()),
    };
    Ok((Mixing(Mix::new(form.operation, options.aggregate, operands, outcome)), options))
}

fn answer(
    ctx: &mut Ctx<'_>,
    args: Args<'_>,
    cargo: &mut Cargo,
    reply: &mut Reply<'_>,
    form: &Form,
) -> Result<Flow, Fault> {
    let (mixing, options) = mix(ctx, args, cargo, form)?;
    let shape = if options.with_scores { Shape::with_scores(reply.dialect()) } else { Shape::Members };
    Ok(Flow::Job(Box::new(Answering::Mixing(mixing, Answer::new(shape, reply.dialect())))))
}

/// An operation in slices.
#[derive(Debug)]
struct Mixing(Mix);

impl Mixing {
    fn go_on(&mut self, ctx: &mut Ctx<'_>) -> Progress {
        let mut displaced = Vec::new();
        let progress = self.0.step(ctx.store.strides.removals, &ctx.store.hash_key, &mut displaced);
        displaced.into_iter().for_each(|rope| ctx.store.graves.bury_object(Object::Rope(rope)));
        progress
    }

    fn end(self, graves: &mut Graveyard) -> Outcome {
        let (outcome, operands) = self.0.finish();
        operands.for_each(|object| graves.bury_object(object));
        outcome
    }
}

impl Making for Mixing {
    fn step(&mut self, ctx: &mut Ctx<'_>) -> Result<Progress, Fault> {
        Ok(self.go_on(ctx))
    }

    fn finish(self: Box<Self>, graves: &mut Graveyard) -> Option<Made> {
        let Outcome::Kept(zset, _) = self.end(graves) else { unreachable!("what is stored is kept") };
        super::made(zset)
    }

    fn abandon(self: Box<Self>, graves: &mut Graveyard) {
        self.0.abandon().for_each(|object| graves.bury_object(object));
    }
}

/// The job of a command that answers.
#[derive(Debug)]
enum Answering {
    Mixing(Mixing, Answer),
    Telling(Walk),
    Over,
}

impl Job for Answering {
    fn step(&mut self, ctx: &mut Ctx<'_>, reply: &mut Reply<'_>) -> Result<Progress, Fault> {
        if let Self::Mixing(mixing, _) = self
            && mixing.go_on(ctx) == Progress::More
        {
            return Ok(Progress::More);
        }
        *self = match std::mem::replace(self, Self::Over) {
            Self::Mixing(mixing, answer) => match mixing.end(&mut ctx.store.graves) {
                Outcome::Counted(count, _) => {
                    reply.count(count);
                    return Ok(Progress::Done);
                }
                Outcome::Kept(zset, _) => Self::Telling(Walk::over(zset, Way::Up, answer)),
            },
            other => other,
        };
        let Self::Telling(walk) = self else { unreachable!("a job that is done takes no step") };
        walk.step(ctx, reply)
    }

    fn abandon(self: Box<Self>, graves: &mut Graveyard) {
        match *self {
            Self::Mixing(mixing, answer) => {
                answer.bury(graves);
                mixing.0.abandon().for_each(|object| graves.bury_object(object));
            }
            Self::Telling(walk) => Box::new(walk).abandon(graves),
            Self::Over => {}
        }
    }
}
