//! Commands that wait for a key: what such a row says, and the rows of no other family.
//!
//! ```text
//!  BGETDEL a b 5    serve a? serve b? --neither--> waits, in the queue of each key, until one is written or the time is over
//! ```
//!
//! A row only knows how to serve its request from one key (`Serve::FromKey`: BLPOP, BZPOPMIN; `Serve::Many`: BLMPOP, which may leave a job behind), or by which stages (`Serve::Moving`:
//! BLMOVE, whose other key may be another lane's). That it looks at its keys in their order, waits at their owners, is served once
//! and in the order of arrival, and is let go in time, is done for all of them by `shard/blocking.rs` and `shard/waiters.rs`. Inside EXEC
//! nothing waits: such a command is served at once or gives up.
//!
//! The stages of `Serve::Moving` are those of LMOVE (`staged.rs`): it waits for its first key, and a stage that finds nothing there says
//! `Flow::Nothing`, before anything was changed. They state their own effects, so that the row is of `Log::Effect`. `patience` checks
//! whatever of the request must be right before a key is looked at; it is called once for each request.

use super::caller::answer;
use super::sliced::Job;
use super::staged::{self, Stage, Together};
use super::{Command, Ctx, Flags, Group, Keys, Log, Run, Verb};
use crate::base::ascii::parse_i64;
use crate::base::time::Millis;
use crate::store::entry::Kind;
use crate::wire::fault::Fault;
use crate::wire::reply::Reply;
use crate::wire::request::Args;

/// A row that may wait.
#[derive(Debug)]
pub struct Blocking {
    /// What a key that is written must hold for a waiter to be served from it: then `serve` does so, or faults.
    pub awaits: Kind,
    pub serve: Serve,
    /// How long it waits.
    pub patience: fn(Args<'_>, Millis) -> Result<Patience, Fault>,
    /// The reply when nothing came.
    pub give_up: fn(&mut Reply<'_>),
}

/// How it is served.
#[derive(Clone, Copy, Debug)]
pub enum Serve {
    /// From the key that is this word of the request. A fault has changed nothing.
    FromKey(fn(&mut Ctx<'_>, Args<'_>, usize, &mut Reply<'_>) -> Result<Served, Fault>),
    /// The same, of so much that it may take more than a turn.
    Many(fn(&mut Ctx<'_>, Args<'_>, usize, &mut Reply<'_>) -> Result<Served, Fault>),
    /// From its first key alone, by stages, of which others are elsewhere. More than one.
    Moving(&'static [Stage]),
}

impl Blocking {
    /// The keys that it waits for.
    pub fn awaited(&self, keys: Keys, args: Args<'_>) -> impl Iterator<Item = usize> {
        let most = if matches!(self.serve, Serve::Moving(_)) { 1 } else { usize::MAX };
        keys.positions(args).take(most)
    }

    /// The reply when its time is over. Redis spells that one way for all that move elements, and another way where they do not wait.
    pub fn time_out(&self, reply: &mut Reply<'_>) {
        match self.serve {
            Serve::Moving(_) => reply.null_array(),
            Serve::FromKey(_) | Serve::Many(_) => (self.give_up)(reply),
        }
    }

    /// Tries one of them.
    pub fn serve(
        &self,
        ctx: &mut Ctx<'_>,
        args: Args<'_>,
        word: usize,
        reply: &mut Reply<'_>,
    ) -> Result<Served, Fault> {
        match self.serve {
            Serve::FromKey(serve) => serve(ctx, args, word, reply),
            // Its first step is taken at once, as that of any job.
            Serve::Many(serve) => match serve(ctx, args, word, reply)? {
                Served::Job(job) => Ok(staged::begin(job, ctx, reply)?.map_or(Served::Yes, Served::Job)),
                other => Ok(other),
            },
            Serve::Moving(stages) => match staged::run_together(stages, ctx, args, reply)? {
                Together::Done => Ok(Served::Yes),
                Together::Nothing => Ok(Served::No),
                Together::Job(_) => unreachable!("to move an element is no long work"),
            },
        }
    }
}

#[derive(Debug)]
pub enum Served {
    Yes,
    /// There is nothing under this key.
    No,
    /// What it takes is no longer there, or stated; to answer it is left to do, and the key is held until then.
    Job(Box<dyn Job>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// It has what it wants.
    None,
    Millis(u64),
    Forever,
}

pub const ROWS: &[Command] = &[
    Command {
        name: "bgetdel",
        syntax: "BGETDEL key [key ...] timeout",
        arity: -3,
        keys: Keys::before(1, Keys::TAKE),
        flags: Flags::WRITE.and(Flags::BLOCKING),
        group: Group::String,
        since: "0.1.0",
        complexity: "O(N) where N is the number of keys",
        summary: "Answers the first key that holds a string, with the string, and removes it; waits for one if need be. Corelane's own.",
        log: Log::Effect,
        run: Run::Blocking(&Blocking {
            awaits: Kind::String,
            serve: Serve::FromKey(bgetdel),
            patience: |args, now| seconds(args.at(args.len() - 1), now),
            give_up: |reply| reply.null_array(),
        }),
        ..Command::ROW
    },
    Command {
        name: "wait",
        syntax: "WAIT numreplicas timeout",
        arity: 3,
        flags: Flags::BLOCKING,
        since: "3.0.0",
        summary: "Waits until so many replicas have all earlier writes of this connection; answers how many have.",
        tips: &["request_policy:all_shards", "response_policy:agg_min"],
        run: Run::Blocking(&Blocking {
            awaits: Kind::String,
            serve: Serve::FromKey(|_, _, _, _| Ok(Served::No)),
            patience: wait,
            give_up: |reply| reply.int(0),
        }),
        ..Command::ROW
    },
    Command {
        name: "waitaof",
        syntax: "WAITAOF numlocal numreplicas timeout",
        arity: 4,
        flags: Flags::BLOCKING,
        since: "7.2.0",
        summary: "Waits until all earlier writes of this connection are on the disk, here and on so many replicas; answers where they are.",
        tips: &["request_policy:all_shards", "response_policy:agg_min"],
        run: Run::Verb(Verb::WaitAof),
        ..Command::ROW
    },
];

/// What WAITAOF waits for (`shard/durable/waitaof.rs`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitAof {
    pub local: bool,
    /// There are no replicas: who wants any waits for its time to be over.
    pub replicas: bool,
    pub patience: Patience,
}

/// Reads its words, in Redis's order of refusals.
pub fn waitaof(args: Args<'_>, now: Millis) -> Result<WaitAof, Fault> {
    let number = |word| parse_i64(args.at(word)).ok_or(Fault::NotInteger);
    let local = match number(1)? {
        0 => false,
        1 => true,
        _ => return Err(Fault::Fixed("ERR value is out of range, value must between 0 and 1")),
    };
    let replicas = number(2)?;
    if replicas < 0 {
        return Err(Fault::Fixed("ERR value is out of range, must be positive"));
    }
    Ok(WaitAof { local, replicas: replicas > 0, patience: millis(args.at(3), now)? })
}

/// A request that must not wait: served now, or not. What is left to do, if that is not all.
pub fn serve_now(
    blocking: &Blocking,
    keys: Keys,
    ctx: &mut Ctx<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<Option<Box<dyn Job>>, Fault> {
    (blocking.patience)(args, ctx.now)?;
    for word in blocking.awaited(keys, args) {
        match blocking.serve(ctx, args, word, reply)? {
            Served::Yes => return Ok(None),
            Served::Job(job) => return Ok(Some(job)),
            Served::No => {}
        }
    }
    (blocking.give_up)(reply);
    Ok(None)
}

/// A timeout in seconds, of which parts of a millisecond count as a whole one; 0 is for ever.
pub fn seconds(word: &[u8], now: Millis) -> Result<Patience, Fault> {
    const NO_FLOAT: Fault = Fault::Fixed("ERR timeout is not a float or out of range");
    let seconds: f64 = std::str::from_utf8(word).ok().and_then(|text| text.parse().ok()).ok_or(NO_FLOAT)?;
    if seconds.is_nan() {
        return Err(NO_FLOAT);
    }
    let millis = seconds * 1000.0;
    // A decimal fraction is not exact in binary: 0.07 times 1000 shall be 70, not a little more.
    let near = millis.round();
    let whole = if (millis - near).abs() <= near.abs() * 2.0 * f64::EPSILON { near } else { millis.ceil() };
    if whole >= i64::MAX as f64 {
        return Err(TOO_LONG);
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a whole number below the largest; below the least it saturates"
    )]
    let whole = whole as i64;
    until(whole, now)
}

/// A timeout in milliseconds; 0 is for ever.
pub fn millis(word: &[u8], now: Millis) -> Result<Patience, Fault> {
    let millis = parse_i64(word).ok_or(Fault::Fixed("ERR timeout is not an integer or out of range"))?;
    until(millis, now)
}

const TOO_LONG: Fault = Fault::Fixed("ERR timeout is out of range");

fn until(millis: i64, now: Millis) -> Result<Patience, Fault> {
    match u64::try_from(millis) {
        Err(_) => Err(Fault::Fixed("ERR timeout is negative")),
        Ok(0) => Ok(Patience::Forever),
        Ok(millis) if millis > i64::MAX.unsigned_abs().saturating_sub(now.0) => Err(TOO_LONG),
        Ok(millis) => Ok(Patience::Millis(millis)),
    }
}

fn bgetdel(ctx: &mut Ctx<'_>, args: Args<'_>, word: usize, reply: &mut Reply<'_>) -> Result<Served, Fault> {
    let key = ctx.key(args.at(word));
    let Some(text) = ctx.string(key)? else { return Ok(Served::No) };
    reply.array(2);
    reply.bulk(key.bytes);
    answer(text, reply);
    ctx.remove(key);
    ctx.store.effects.state(ctx.db, &[b"DEL", key.bytes]);
    Ok(Served::Yes)
}

/// There are no replicas: none have the writes, whoever wants none has them at once.
fn wait(args: Args<'_>, now: Millis) -> Result<Patience, Fault> {
    let wanted = parse_i64(args.at(1)).ok_or(Fault::NotInteger)?;
    let patience = millis(args.at(2), now)?;
    Ok(if wanted <= 0 { Patience::None } else { patience })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_read_as_redis_reads_them() {
        let now = Millis(1_700_000_000_000);
        for (word, patience) in [
            ("0", Patience::Forever),
            ("-0.0", Patience::Forever),
            ("1", Patience::Millis(1000)),
            (".5", Patience::Millis(500)),
            ("0.07", Patience::Millis(70)),
            ("0.0001", Patience::Millis(1)),
            ("1.0011", Patience::Millis(1002)),
            ("1e3", Patience::Millis(1_000_000)),
        ] {
            assert_eq!(seconds(word.as_bytes(), now), Ok(patience), "{word}");
        }
        for (word, line) in [
            ("x", "ERR timeout is not a float or out of range"),
            ("", "ERR timeout is not a float or out of range"),
            ("nan", "ERR timeout is not a float or out of range"),
            (" 1", "ERR timeout is not a float or out of range"),
            ("-1", "ERR timeout is negative"),
            ("-inf", "ERR timeout is negative"),
            ("1e300", "ERR timeout is out of range"),
            ("9223372036854775", "ERR timeout is out of range"),
        ] {
            assert_eq!(
                seconds(word.as_bytes(), now).map_err(|fault| fault.line().into_owned()),
                Err(line.into()),
                "{word}"
            );
        }
        assert_eq!(millis(b"250", now), Ok(Patience::Millis(250)));
        assert!(millis(b"0.5", now).is_err() && millis(b"-1", now).is_err());
    }
}
