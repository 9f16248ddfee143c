//! SCAN and what its kin share: cursor and options.

use super::numbers::integer;
use super::{Command, Ctx, Flags, Group, Outcome, Policy, Run};
use crate::base::ascii::is_word;
use crate::base::glob::{self, Case};
use crate::base::limits;
use crate::store::entry::Kind;
use crate::types::dict::Cursor;
use crate::wire::fault::Fault;
use crate::wire::output::Output;
use crate::wire::reply::{Dialect, Reply};
use crate::wire::request::Args;

pub const ROWS: &[Command] = &[Command {
    name: "scan",
    syntax: "SCAN cursor [MATCH pattern] [COUNT count] [TYPE type]",
    arity: -2,
    flags: Flags::READONLY,
    group: Group::Generic,
    since: "2.8.0",
    complexity: "O(1) for every call, O(N) for a whole iteration",
    summary: "Iterates over the keys of the database.",
    policy: Policy::Special,
    tips: &["nondeterministic_output"],
    about: |args| parse_cursor(args.get(1)?).map(|cursor| Cursor(cursor).slot()),
    run: Run::Keys(scan),
    ..Command::ROW
}];

/// What one of the SCAN commands is asked for.
#[derive(Debug)]
pub struct ScanOptions<'a> {
    pub cursor: u64,
    pub pattern: Option<&'a [u8]>,
    pub count: usize,
    pub kind: Option<&'a [u8]>,
    pub no_values: bool,
}

/// The option that only one of the commands knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extra {
    Type,
    NoValues,
    None,
}

impl<'a> ScanOptions<'a> {
    pub const KEYS: Extra = Extra::Type;
    pub const HASH: Extra = Extra::NoValues;
    pub const SET: Extra = Extra::None;
    pub const ZSET: Extra = Extra::None;

    pub fn parse(cursor: &[u8], words: Args<'a>, extra: Extra) -> Result<Self, Fault> {
        let cursor = parse_cursor(cursor).ok_or(Fault::InvalidCursor)?;
        let mut options = Self { cursor, pattern: None, count: 10, kind: None, no_values: false };
        let mut i = 0;
        while let Some(word) = words.get(i) {
            let next = words.get(i + 1);
            if is_word(word, "MATCH") {
                options.pattern = Some(next.ok_or(Fault::Syntax)?).filter(|pattern| *pattern != b"*");
            } else if is_word(word, "COUNT") {
                let count = integer(next.ok_or(Fault::Syntax)?)?;
                let count = usize::try_from(count).ok().filter(|count| *count > 0).ok_or(Fault::Syntax)?;
                options.count = count.min(limits::SCAN_COUNT_MAX);
            } else if extra == Extra::Type && is_word(word, "TYPE") {
                options.kind = Some(next.ok_or(Fault::Syntax)?);
            } else if extra == Extra::NoValues && is_word(word, "NOVALUES") {
                options.no_values = true;
                i += 1;
                continue;
            } else {
                return Err(Fault::Syntax);
            }
            i += 2;
        }
        Ok(options)
    }
}

/// As strtoul, which Redis asks: nothing is zero, zeros and a sign may lead, and a negative number wraps to a place behind all
/// others.
pub fn parse_cursor(text: &[u8]) -> Option<u64> {
    let (negative, digits) = match text {
        [] => return Some(0),
        [sign @ (b'-' | b'+'), digits @ ..] => (*sign == b'-', digits),
        digits => (false, digits),
    };
    if digits.is_empty() {
        return None;
    }
    let number = digits.iter().try_fold(0_u64, |number, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })?;
    Some(if negative { number.wrapping_neg() } else { number })
}

/// The name TYPE answers.
pub const fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::String => "string",
        Kind::List => "list",
        Kind::Set => "set",
        Kind::Zset => "zset",
        Kind::Hash => "hash",
        Kind::Stream => "stream",
    }
}

/// No cursor of ours is above it: clients that keep numbers as floats hold all of them.
const CURSOR_MAX: u64 = (1 << 53) - 1;

/// COUNT is a hint, here as in Redis: one call never looks at more than a turn has time for.
fn scan(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let options = ScanOptions::parse(args.at(1), args.from(2), ScanOptions::KEYS)?;
    let (mut found, mut count) = (Output::default(), 0);
    let now = ctx.now;
    if options.cursor > CURSOR_MAX {
        reply.array(2);
        reply.text("0");
        reply.array(0);
        return Ok(());
    }
    let next = ctx.keyspace().scan(Cursor(options.cursor), options.count, now, |entry| {
        let name_fits = options.pattern.is_none_or(|pattern| glob::matches(pattern, entry.key(), Case::Exact));
        let kind = kind_name(entry.kind()).as_bytes();
        if name_fits && options.kind.is_none_or(|wanted| wanted.eq_ignore_ascii_case(kind)) {
            Reply::new(&mut found, Dialect::Resp2).bulk(entry.key());
            count += 1;
        }
    });
    // A shard that has shown all of its keys hands over to the next one's, which a client on a shard port asks by itself. The last bucket
    // of a sparse table reaches beyond the shard's slots: from there the next one's first keys would be missed.
    let next = match ctx.lanes.after(ctx.lane).filter(|_| !ctx.shard_port).map(Cursor::at_slot) {
        Some(neighbour) if next == Cursor::START || next.0 > neighbour.0 => neighbour,
        _ => next,
    };
    reply.array(2);
    reply.text(&next.0.to_string());
    reply.array(count);
    reply.append(found);
    Ok(())
}
