//! Deadlines. The eight commands that set or tell one are thin forms of `set_deadline` and `tell`.

use super::numbers::{Moment, integer};
use super::{Command, Ctx, Flags, Group, Keys, Log, Outcome, Run};
use crate::base::ascii::is_word;
use crate::base::time::Millis;
use crate::store::entry::EntryRef;
use crate::wire::fault::Fault;
use crate::wire::reply::Reply;
use crate::wire::request::Args;

const WRITE: Command = Command {
    group: Group::Generic,
    keys: Keys::one(Keys::UPDATE),
    flags: Flags::WRITE.and(Flags::FAST),
    log: Log::Effect,
    ..Command::ROW
};
const READ: Command = Command {
    group: Group::Generic,
    keys: Keys::one(Keys::READ),
    flags: Flags::READONLY.and(Flags::FAST),
    arity: 2,
    ..Command::ROW
};

pub const ROWS: &[Command] = &[
    Command {
        name: "expire",
        syntax: "EXPIRE key seconds [NX | XX | GT | LT]",
        arity: -3,
        summary: "Sets a deadline so many seconds from now.",
        run: Run::Keys(|ctx, args, reply| set_deadline(ctx, args, Moment::SECONDS, "expire", reply)),
        ..WRITE
    },
    Command {
        name: "expireat",
        syntax: "EXPIREAT key unix-time-seconds [NX | XX | GT | LT]",
        arity: -3,
        since: "1.2.0",
        summary: "Sets a deadline in seconds since 1970.",
        run: Run::Keys(|ctx, args, reply| set_deadline(ctx, args, Moment::UNIX_SECONDS, "expireat", reply)),
        ..WRITE
    },
    Command {
        name: "expiretime",
        syntax: "EXPIRETIME key",
        since: "7.0.0",
        summary: "Answers the deadline in seconds since 1970.",
        run: Run::Keys(|ctx, args, reply| tell(ctx, args, Moment::UNIX_SECONDS, reply)),
        ..READ
    },
    Command {
        name: "persist",
        syntax: "PERSIST key",
        arity: 2,
        since: "2.2.0",
        summary: "Removes the deadline.",
        log: Log::Verbatim,
        run: Run::Keys(persist),
        ..WRITE
    },
    Command {
        name: "pexpire",
        syntax: "PEXPIRE key milliseconds [NX | XX | GT | LT]",
        arity: -3,
        since: "2.6.0",
        summary: "Sets a deadline so many milliseconds from now.",
        run: Run::Keys(|ctx, args, reply| set_deadline(ctx, args, Moment::MILLIS, "pexpire", reply)),
        ..WRITE
    },
    Command {
        name: "pexpireat",
        syntax: "PEXPIREAT key unix-time-milliseconds [NX | XX | GT | LT]",
        arity: -3,
        since: "2.6.0",
        summary: "Sets a deadline in milliseconds since 1970.",
        run: Run::Keys(|ctx, args, reply| set_deadline(ctx, args, Moment::UNIX_MILLIS, "pexpireat", reply)),
        ..WRITE
    },
    Command {
        name: "pexpiretime",
        syntax: "PEXPIRETIME key",
        since: "7.0.0",
        summary: "Answers the deadline in milliseconds since 1970.",
        run: Run::Keys(|ctx, args, reply| tell(ctx, args, Moment::UNIX_MILLIS, reply)),
        ..READ
    },
    Command {
        name: "pttl",
        syntax: "PTTL key",
        since: "2.6.0",
        summary: "Answers the milliseconds left to live.",
        tips: &["nondeterministic_output"],
        run: Run::Keys(|ctx, args, reply| tell(ctx, args, Moment::MILLIS, reply)),
        ..READ
    },
    Command {
        name: "ttl",
        syntax: "TTL key",
        summary: "Answers the seconds left to live.",
        tips: &["nondeterministic_output"],
        run: Run::Keys(|ctx, args, reply| tell(ctx, args, Moment::SECONDS, reply)),
        ..READ
    },
];

/// When a deadline may be set.
#[derive(Clone, Copy, Debug, Default)]
struct Only {
    missing: bool,
    present: bool,
    greater: bool,
    less: bool,
}

impl Only {
    fn parse(words: Args<'_>) -> Result<Self, Fault> {
        let mut only = Self::default();
        for word in words.iter() {
            let flag = [
                ("NX", &mut only.missing),
                ("XX", &mut only.present),
                ("GT", &mut only.greater),
                ("LT", &mut only.less),
            ]
            .into_iter()
            .find(|(name, _)| is_word(word, name));
            let Some((_, flag)) = flag else {
                let word = String::from_utf8_lossy(word).replace(['\r', '\n'], " ");
                return Err(Fault::text(format!("ERR Unsupported option {word}")));
            };
            *flag = true;
        }
        if only.missing && (only.present || only.greater || only.less) {
            return Err(Fault::NxAndXx);
        }
        if only.greater && only.less {
            return Err(Fault::Fixed("ERR GT and LT options at the same time are not compatible"));
        }
        Ok(only)
    }

    /// No deadline counts as infinitely late.
    fn allows(self, old: Option<Millis>, new: i64) -> bool {
        let later = old.is_some_and(|old| u64::try_from(new).is_ok_and(|new| new > old.0));
        let earlier = old.is_none_or(|old| u64::try_from(new).is_ok_and(|new| new < old.0) || new < 0);
        (!self.missing || old.is_none())
            && (!self.present || old.is_some())
            && (!self.greater || later)
            && (!self.less || earlier)
    }
}

fn set_deadline(
    ctx: &mut Ctx<'_>,
    args: Args<'_>,
    moment: Moment,
    command: &'static str,
    reply: &mut Reply<'_>,
) -> Outcome {
    let key = ctx.first(args);
    let only = Only::parse(args.from(3))?;
    let at = moment.at(integer(args.at(2))?, ctx.now, command)?;
    let allowed = ctx.expiry(key).is_some_and(|old| only.allows(old, at));
    if allowed {
        ctx.expire_at(key, Millis(u64::try_from(at).unwrap_or(0)));
    }
    reply.int(i64::from(allowed));
    Ok(())
}

fn persist(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let key = ctx.first(args);
    let had = ctx.expiry(key).flatten().is_some();
    if had {
        ctx.persist(key);
    }
    reply.int(i64::from(had));
    Ok(())
}

/// -2: no such key; -1: no deadline. Seconds, be they left or a moment, are rounded to the nearest, as Redis does.
fn tell(ctx: &mut Ctx<'_>, args: Args<'_>, moment: Moment, reply: &mut Reply<'_>) -> Outcome {
    let answer = match ctx.look(ctx.first(args)).map(EntryRef::expiry) {
        None => -2,
        Some(None) => -1,
        Some(Some(at)) => {
            let ms = if moment.from_now { at.since(ctx.now) } else { at.0 };
            let unit_ms = moment.unit_ms.unsigned_abs();
            i64::try_from((ms + unit_ms / 2) / unit_ms).unwrap_or(i64::MAX)
        }
    };
    reply.int(answer);
    Ok(())
}
