//! Members and their scores.
//!
//! ZADD leaves itself as its effect, and a ZADD of the resulting score where it added to one.

use super::super::scan::{ScanOptions, parse_cursor};
use super::super::{Command, Ctx, Flags, Group, Keys, Log, Outcome, Run};
use super::Left;
use crate::base::ascii::is_word;
use crate::base::double;
use crate::base::glob::{self, Case};
use crate::command::caller::{Key, answer_value};
use crate::store::event::Event;
use crate::types::score::Score;
use crate::types::trie::Stop;
use crate::types::zset::Zset;
use crate::wire::fault::Fault;
use crate::wire::output::Output;
use crate::wire::reply::{Dialect, Reply};
use crate::wire::request::Args;

const READ: Flags = Flags::READONLY.and(Flags::FAST);
const GROW: Flags = Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST);
const ROW: Command = Command {
    group: Group::SortedSet,
    since: "1.2.0",
    keys: Keys::one(Keys::READ),
    flags: READ,
    complexity: "O(log(N)) where N is the number of members",
    ..Command::ROW
};

pub const ROWS: &[Command] = &[
    Command {
        name: "zadd",
        syntax: "ZADD key [NX | XX] [GT | LT] [CH] [INCR] score member [score member ...]",
        arity: -4,
        keys: Keys::one(Keys::UPDATE),
        flags: GROW,
        complexity: "O(log(N)) for each member, where N is the number of members",
        summary: "Adds members, or gives them other scores; answers how many are new.",
        log: Log::Verbatim,
        run: Run::Keys(zadd),
        ..ROW
    },
    Command {
        name: "zcard",
        syntax: "ZCARD key",
        arity: 2,
        keys: Keys::one(Keys::LOOK),
        complexity: "O(1)",
        summary: "Answers the number of members.",
        run: Run::Keys(zcard),
        ..ROW
    },
    Command {
        name: "zincrby",
        syntax: "ZINCRBY key increment member",
        arity: 4,
        keys: Keys::one(Keys::MODIFY),
        flags: GROW,
        summary: "Adds to the score of a member; answers the sum.",
        log: Log::Effect,
        run: Run::Keys(zincrby),
        ..ROW
    },
    Command {
        name: "zmscore",
        syntax: "ZMSCORE key member [member ...]",
        arity: -3,
        since: "6.2.0",
        complexity: "O(N) where N is the number of members named",
        summary: "Answers the scores of members.",
        run: Run::Keys(zmscore),
        ..ROW
    },
    Command {
        name: "zrank",
        syntax: "ZRANK key member [WITHSCORE]",
        arity: -3,
        since: "2.0.0",
        summary: "Answers how many members come before one, by ascending score.",
        run: Run::Keys(|ctx, args, reply| rank(ctx, args, reply, |rank, _| rank)),
        ..ROW
    },
    Command {
        name: "zrem",
        syntax: "ZREM key member [member ...]",
        arity: -3,
        keys: Keys::one(Keys::DELETE_FROM),
        flags: Flags::WRITE.and(Flags::FAST),
        complexity: "O(M*log(N)) where M is the number of members named, N of all",
        summary: "Removes members, and the sorted set when none is left.",
        log: Log::Verbatim,
        run: Run::Keys(zrem),
        ..ROW
    },
    Command {
        name: "zrevrank",
        syntax: "ZREVRANK key member [WITHSCORE]",
        arity: -3,
        since: "2.0.0",
        summary: "Answers how many members come before one, by descending score.",
        run: Run::Keys(|ctx, args, reply| rank(ctx, args, reply, |rank, len| len - 1 - rank)),
        ..ROW
    },
    Command {
        name: "zscan",
        syntax: "ZSCAN key cursor [MATCH pattern] [COUNT count]",
        arity: -3,
        flags: Flags::READONLY,
        since: "2.8.0",
        complexity: "O(1) for every call, O(N) for a whole iteration",
        summary: "Iterates over members and their scores.",
        tips: &["nondeterministic_output"],
        run: Run::Keys(zscan),
        ..ROW
    },
    Command {
        name: "zscore",
        syntax: "ZSCORE key member",
        arity: 3,
        complexity: "O(1)",
        summary: "Answers the score of a member.",
        run: Run::Keys(zscore),
        ..ROW
    },
];

const NOT_A_NUMBER: Fault = Fault::Fixed("ERR resulting score is not a number (NaN)");

/// What ZADD is to do, beside the members.
#[derive(Clone, Copy, Debug, Default)]
struct Conditions {
    only_new: bool,
    only_old: bool,
    only_greater: bool,
    only_less: bool,
    count_changed: bool,
    adds: bool,
}

/// What becomes of a member.
#[derive(Clone, Copy, Debug)]
enum Verdict {
    /// The conditions do not hold.
    Refused,
    /// It has this score already.
    Same(Score),
    Set(Score),
}

/// What was done to some members.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    added: usize,
    updated: usize,
    /// Of the last member that was not refused.
    score: Option<Score>,
}

impl Conditions {
    /// Takes the option in; false if it is none.
    fn take(&mut self, word: &[u8]) -> bool {
        // Most often it is a score.
        if !word.first().is_some_and(u8::is_ascii_alphabetic) {
            return false;
        }
        let options: [(&str, &mut bool); 6] = [
            ("NX", &mut self.only_new),
            ("XX", &mut self.only_old),
            ("CH", &mut self.count_changed),
            ("INCR", &mut self.adds),
            ("GT", &mut self.only_greater),
            ("LT", &mut self.only_less),
        ];
        let Some((_, flag)) = options.into_iter().find(|(name, _)| is_word(word, name)) else { return false };
        *flag = true;
        true
    }

    fn check(&self, pairs: Args<'_>) -> Outcome {
        if !pairs.len().is_multiple_of(2) || pairs.is_empty() {
            return Err(Fault::Syntax);
        }
        if self.only_new && self.only_old {
            return Err(Fault::Fixed("ERR XX and NX options at the same time are not compatible"));
        }
        if self.only_new && (self.only_greater || self.only_less) || self.only_greater && self.only_less {
            return Err(Fault::Fixed("ERR GT, LT, and/or NX options at the same time are not compatible"));
        }
        if self.adds && pairs.len() > 2 {
            return Err(Fault::Fixed("ERR INCR option supports a single increment-element pair"));
        }
        Ok(())
    }

    #[inline]
    fn judge(&self, old: Option<Score>, given: Score) -> Result<Verdict, Fault> {
        let Some(old) = old else {
            return Ok(if self.only_old { Verdict::Refused } else { Verdict::Set(given) });
        };
        if self.only_new {
            return Ok(Verdict::Refused);
        }
        let new = if self.adds { Score::new(old.value() + given.value()).ok_or(NOT_A_NUMBER)? } else { given };
        if self.only_less && new >= old || self.only_greater && new <= old {
            return Ok(Verdict::Refused);
        }
        Ok(if new == old { Verdict::Same(new) } else { Verdict::Set(new) })
    }
}

fn zadd(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let mut conditions = Conditions::default();
    let options = args.from(2).iter().take_while(|word| conditions.take(word)).count();
    let pairs = args.from(2 + options);
    conditions.check(pairs)?;
    let tally = add(ctx, ctx.first(args), conditions, pairs)?;
    match (conditions.adds, tally.score) {
        (true, Some(score)) => reply.double(score.value()),
        (true, None) => reply.null(),
        (false, _) if conditions.count_changed => reply.count(tally.added + tally.updated),
        (false, _) => reply.count(tally.added),
    }
    Ok(())
}

fn zincrby(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    // To Redis an option of ZADD is one here too, with too few words behind it.
    if Conditions::default().take(args.at(2)) {
        return Err(Fault::Syntax);
    }
    let conditions = Conditions { adds: true, ..Conditions::default() };
    let tally = add(ctx, ctx.first(args), conditions, args.from(2))?;
    reply.double(tally.score.expect("without a condition nothing is refused").value());
    Ok(())
}

/// Adds scores and members, of which each second word is one. All scores are read before anything changes.
fn add(ctx: &mut Ctx<'_>, key: Key<'_>, conditions: Conditions, pairs: Args<'_>) -> Result<Tally, Fault> {
    let first = score(pairs.at(0))?;
    let rest: Vec<Score> = (2..pairs.len()).step_by(2).map(|i| score(pairs.at(i))).collect::<Result<_, _>>()?;
    let (mut tally, mut fault) = (Tally::default(), None);
    ctx.grow_zset(key, |edit| {
        for (i, given) in std::iter::once(first).chain(rest.iter().copied()).enumerate() {
            let mut verdict = Verdict::Refused;
            let old = edit.decide(pairs.at(2 * i + 1), |old| {
                verdict = conditions.judge(old, given).unwrap_or_else(|unfit| {
                    fault = Some(unfit);
                    Verdict::Refused
                });
                if let Verdict::Set(score) = verdict { Some(score) } else { None }
            });
            match (verdict, old) {
                (Verdict::Refused, _) => continue,
                (Verdict::Same(score), _) => tally.score = Some(score),
                (Verdict::Set(score), None) => {
                    tally.added += 1;
                    tally.score = Some(score);
                }
                (Verdict::Set(score), Some(_)) => {
                    tally.updated += 1;
                    tally.score = Some(score);
                }
            }
        }
    })?;
    if let Some(fault) = fault {
        return Err(fault);
    }
    if tally.added + tally.updated > 0 {
        ctx.happened(if conditions.adds { Event::ZINCR } else { Event::ZADD }, key);
        if let (true, Some(sum)) = (conditions.adds, tally.score) {
            let mut digits = [0; double::TEXT_MAX];
            let words = [b"ZADD", key.bytes, double::write(sum.value(), &mut digits), pairs.at(1)];
            ctx.store.effects.state(ctx.db, &words);
        }
    }
    Ok(tally)
}

fn score(word: &[u8]) -> Result<Score, Fault> {
    double::parse(word).and_then(Score::new).ok_or(Fault::NotFloat)
}

fn zrem(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let key = ctx.first(args);
    let edited = ctx.edit_zset_if(key, |edit| {
        let removed = args.from(2).iter().filter(|member| edit.remove(member).is_some()).count();
        (removed, Left::of(edit.zset))
    })?;
    let Some((removed, left)) = edited else {
        reply.int(0);
        return Ok(());
    };
    if removed > 0 {
        ctx.taken_from_zset(key, Event::ZREM, left);
    }
    reply.count(removed);
    Ok(())
}

fn zcard(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let len = ctx.zset(ctx.first(args))?.map_or(0, |(zset, _)| zset.len());
    reply.count(len);
    Ok(())
}

fn zscore(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let found = ctx.zset(ctx.first(args))?.and_then(|(zset, hasher)| zset.score(args.at(2), &hasher));
    answer_score(found, reply);
    Ok(())
}

fn zmscore(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let found = ctx.zset(ctx.first(args))?;
    reply.array(args.len() - 2);
    for member in args.from(2).iter() {
        answer_score(found.and_then(|(zset, hasher)| zset.score(member, &hasher)), reply);
    }
    Ok(())
}

fn answer_score(score: Option<Score>, reply: &mut Reply<'_>) {
    match score {
        Some(score) => reply.double(score.value()),
        None => reply.null(),
    }
}

/// `from` makes the rank that is asked for of the rank by ascending score and the number of members.
fn rank(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>, from: impl FnOnce(usize, usize) -> usize) -> Outcome {
    let with_score = match args.len() {
        3 => false,
        4 if is_word(args.at(3), "WITHSCORE") => true,
        4 => return Err(Fault::Syntax),
        _ => return Err(Fault::Arity(if is_word(args.at(0), "ZRANK") { "zrank" } else { "zrevrank" })),
    };
    let found = ctx.zset(ctx.first(args))?.and_then(|(zset, hasher)| {
        let (rank, score) = zset.rank_of(args.at(2), &hasher)?;
        Some((from(rank, zset.len()), score))
    });
    match found {
        Some((rank, score)) if with_score => {
            reply.array(2);
            reply.count(rank);
            reply.double(score.value());
        }
        Some((rank, _)) => reply.count(rank),
        None if with_score => reply.null_array(),
        None => reply.null(),
    }
    Ok(())
}

/// Redis prints what its table holds in seventeen digits, and what its listpack holds as it was packed.
fn zscan(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    parse_cursor(args.at(2)).ok_or(Fault::InvalidCursor)?;
    let (mut found, mut count, mut name, mut next) = (Output::default(), 0, Vec::new(), 0);
    // The options of a scan of nothing are not looked at, as in Redis.
    if let Some((zset, hasher)) = ctx.zset(ctx.first(args))? {
        let options = ScanOptions::parse(args.at(2), args.from(3), ScanOptions::ZSET)?;
        let spell = match zset {
            Zset::Packed(_) => double::write,
            Zset::Large(_) => double::write_17,
        };
        next = zset.scan(options.cursor, options.count, Stop::AtCount, &hasher, |member, score| {
            name.clear();
            member.read_into(&mut name);
            if options.pattern.is_some_and(|pattern| !glob::matches(pattern, &name, Case::Exact)) {
                return;
            }
            let mut into = Reply::new(&mut found, Dialect::Resp2);
            answer_value(member, &mut into);
            into.bulk(spell(score.value(), &mut [0; double::TEXT_MAX]));
            count += 2;
        });
    }
    reply.array(2);
    reply.text(&next.to_string());
    reply.array(count);
    reply.append(found);
    Ok(())
}
