//! Parts of strings: GETRANGE, SETRANGE and the longest common subsequence.

use super::{Command, Ctx, Flags, Group, Keys, Log, Outcome, Run};
use crate::command::numbers::integer;
use crate::store::entry::{EMBED_MAX, Form};
use crate::store::event::Event;
use crate::store::keyspace::{Deadline, Write};
use crate::store::text::Text;
use crate::types::Object;
use crate::wire::fault::Fault;
use crate::wire::reply::Reply;
use crate::wire::request::Args;

const ROW: Command = Command { group: Group::String, ..Command::ROW };

pub const ROWS: &[Command] = &[
    Command {
        name: "getrange",
        syntax: "GETRANGE key start end",
        arity: 4,
        keys: Keys::one(Keys::READ),
        flags: Flags::READONLY,
        since: "2.4.0",
        complexity: "O(N) where N is the length of the part; large parts are shared, not copied",
        summary: "Answers the part of a string between two offsets.",
        run: Run::Keys(getrange),
        ..ROW
    },
    Command {
        name: "setrange",
        syntax: "SETRANGE key offset value",
        arity: 4,
        keys: Keys::one(Keys::UPDATE),
        flags: Flags::WRITE.and(Flags::DENYOOM),
        since: "2.2.0",
        complexity: "O(N) where N is the length of the value",
        summary: "Overwrites part of a string, padding it with zero bytes as needed.",
        log: Log::Verbatim,
        run: Run::Keys(setrange),
        ..ROW
    },
    Command {
        name: "substr",
        syntax: "SUBSTR key start end",
        arity: 4,
        keys: Keys::one(Keys::READ),
        flags: Flags::READONLY,
        complexity: "O(N) where N is the length of the part",
        summary: "GETRANGE by its older name.",
        run: Run::Keys(getrange),
        ..ROW
    },
];

fn getrange(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let (start, end) = (integer(args.at(2))?, integer(args.at(3))?);
    let Some(text) = ctx.string(ctx.first(args))? else {
        reply.bulk(b"");
        return Ok(());
    };
    let range = clip(start, end, text.len());
    match text {
        Text::Flat(flat) => reply.bulk(&flat[range]),
        Text::Rope(rope) => reply.bulk_rope(rope, range),
    }
    Ok(())
}

/// Offsets of which negative ones count from the end, both included, as a range inside `len`.
fn clip(start: i64, end: i64, len: usize) -> std::ops::Range<usize> {
    if start < 0 && end < 0 && start > end {
        return 0..0;
    }
    let place = |offset: i64| {
        let far = usize::try_from(offset.unsigned_abs()).unwrap_or(usize::MAX);
        if offset < 0 { len.saturating_sub(far) } else { far }
    };
    let (start, end) = (place(start), place(end).saturating_add(1).min(len));
    if start < end { start..end } else { 0..0 }
}

fn setrange(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let offset = usize::try_from(integer(args.at(2))?).map_err(|_| Fault::OffsetOutOfRange)?;
    let (key, value) = (ctx.first(args), args.at(3));
    let (len, is_rope) = ctx.old_string(key)?.map_or((0, false), |old| (old.len(), matches!(old, Text::Rope(_))));
    if value.is_empty() {
        reply.count(len);
        return Ok(());
    }
    let total = len.max(offset.saturating_add(value.len()));
    ctx.check_length(total)?;
    if total > EMBED_MAX && !is_rope {
        // What is embedded is small; it moves into a rope once, which is then written like any other.
        let flat = ctx.old_string(key)?.map_or_else(Vec::new, |old| old.read(0..len));
        ctx.write_rope(key, &flat);
    }
    if total > EMBED_MAX {
        ctx.update_object(key, |object| {
            if let Object::Rope(rope) = object {
                rope.write_at(offset, value);
            }
        });
    } else {
        let mut whole = ctx.old_string(key)?.map_or_else(Vec::new, |old| old.read(0..len));
        whole.resize(total, 0);
        whole[offset..offset + value.len()].copy_from_slice(value);
        ctx.write_string(key, &whole, Write { deadline: Deadline::Keep, form: Form::Raw, ..Write::default() });
    }
    ctx.happened(Event::SETRANGE, key);
    reply.count(total);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_clipped_as_in_redis() {
        for ((start, end, len), expected) in [
            ((0, -1, 5), 0..5),
            ((-3, -1, 5), 2..5),
            ((0, 2, 5), 0..3),
            ((1, 100, 5), 1..5),
            ((5, 10, 5), 0..0),
            ((3, 1, 5), 0..0),
            ((-1, -3, 5), 0..0),
            ((-100, 2, 5), 0..3),
            ((0, -100, 5), 0..1),
            ((0, -1, 0), 0..0),
            ((i64::MIN, i64::MAX, 5), 0..5),
        ] {
            assert_eq!(clip(start, end, len), expected, "{start} {end} {len}");
        }
    }
}
