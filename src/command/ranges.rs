//! Parts of strings: GETRANGE, SETRANGE and the longest common subsequence.

use super::{Command, Ctx, Flags, Group, Keys, Log, Outcome, Run};
use crate::base::ascii::is_word;
use crate::base::limits;
use crate::command::numbers::integer;
use crate::store::entry::{EMBED_MAX, Form};
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
        name: "lcs",
        syntax: "LCS key1 key2 [LEN] [IDX] [MINMATCHLEN min-match-len] [WITHMATCHLEN]",
        arity: -3,
        keys: Keys::two(Keys::READ),
        flags: Flags::READONLY,
        since: "7.0.0",
        complexity: "O(N*M) where N and M are the lengths of the strings",
        summary: "Finds the longest common subsequence of two strings.",
        run: Run::Keys(lcs),
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
        Text::Rope(rope) => {
            reply.bulk_head(range.len());
            rope.shared_chunks(range).for_each(|chunk| reply.bulk_shared(chunk));
            reply.bulk_end();
        }
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
    ctx.store.effects.changed();
    reply.count(total);
    Ok(())
}

/// What LCS is asked for.
#[derive(Debug, Default)]
struct LcsOptions {
    len: bool,
    indices: bool,
    min_match_len: usize,
    with_match_len: bool,
}

impl LcsOptions {
    fn parse(words: Args<'_>) -> Result<Self, Fault> {
        let mut options = Self::default();
        let mut i = 0;
        while let Some(word) = words.get(i) {
            if is_word(word, "LEN") {
                options.len = true;
            } else if is_word(word, "IDX") {
                options.indices = true;
            } else if is_word(word, "WITHMATCHLEN") {
                options.with_match_len = true;
            } else if is_word(word, "MINMATCHLEN") {
                i += 1;
                let least = integer(words.get(i).ok_or(Fault::Syntax)?)?;
                options.min_match_len = usize::try_from(least).unwrap_or(0);
            } else {
                return Err(Fault::Syntax);
            }
            i += 1;
        }
        if options.len && options.indices {
            return Err(Fault::Fixed("ERR If you want both the length and indexes, please just use IDX."));
        }
        Ok(options)
    }
}

/// A run of equal bytes: its first and last place in each string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Match {
    a: (usize, usize),
    b: (usize, usize),
}

impl Match {
    fn len(self) -> usize {
        self.a.1 - self.a.0 + 1
    }
}

fn lcs(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let not_strings = |_| Fault::Fixed("ERR The specified keys must contain string values");
    let mut len = |i: usize| -> Result<usize, Fault> {
        Ok(ctx.string(ctx.key(args.at(i))).map_err(not_strings)?.map_or(0, Text::len))
    };
    let cells = (len(1)? + 1).saturating_mul(len(2)? + 1);
    let options = LcsOptions::parse(args.from(3))?;
    if cells > limits::LCS_CELLS_MAX {
        return Err(Fault::Fixed("ERR String too long for LCS"));
    }
    let mut read = |i: usize| -> Result<Vec<u8>, Fault> {
        let text = ctx.string(ctx.key(args.at(i))).map_err(not_strings)?;
        Ok(text.map_or_else(Vec::new, |text| text.read(0..text.len())))
    };
    let (a, b) = (read(1)?, read(2)?);
    let (common, matches) = common_subsequence(&a, &b);
    if options.indices {
        let shown: Vec<Match> = matches.into_iter().filter(|found| found.len() >= options.min_match_len).collect();
        answer_indices(&shown, common.len(), &options, reply);
    } else if options.len {
        reply.count(common.len());
    } else {
        reply.bulk(&common);
    }
    Ok(())
}

fn answer_indices(matches: &[Match], len: usize, options: &LcsOptions, reply: &mut Reply<'_>) {
    reply.map(2);
    reply.text("matches");
    reply.array(matches.len());
    for found in matches {
        reply.array(if options.with_match_len { 3 } else { 2 });
        for (first, last) in [found.a, found.b] {
            reply.array(2);
            reply.count(first);
            reply.count(last);
        }
        if options.with_match_len {
            reply.count(found.len());
        }
    }
    reply.text("len");
    reply.count(len);
}

/// The subsequence and its runs, the last one first. The textbook table: a cell holds the length for two prefixes.
fn common_subsequence(a: &[u8], b: &[u8]) -> (Vec<u8>, Vec<Match>) {
    let width = b.len() + 1;
    let mut table = vec![0_u32; (a.len() + 1) * width];
    for (i, x) in a.iter().enumerate() {
        for (j, y) in b.iter().enumerate() {
            let (above, left) = (table[i * width + j + 1], table[(i + 1) * width + j]);
            table[(i + 1) * width + j + 1] = if x == y { table[i * width + j] + 1 } else { above.max(left) };
        }
    }
    let (mut i, mut j) = (a.len(), b.len());
    let (mut common, mut matches) = (Vec::new(), Vec::<Match>::new());
    while i > 0 && j > 0 {
        if a[i - 1] == b[j - 1] {
            (i, j) = (i - 1, j - 1);
            common.push(a[i]);
            match matches.last_mut() {
                Some(run) if run.a.0 == i + 1 && run.b.0 == j + 1 => (run.a.0, run.b.0) = (i, j),
                _ => matches.push(Match { a: (i, i), b: (j, j) }),
            }
        } else if table[(i - 1) * width + j] > table[i * width + j - 1] {
            i -= 1;
        } else {
            j -= 1;
        }
    }
    common.reverse();
    (common, matches)
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

    #[test]
    fn the_common_subsequence_and_its_runs_are_found() {
        let (common, matches) = common_subsequence(b"ohmytext", b"mynewtext");
        assert_eq!(common, b"mytext");
        assert_eq!(matches, [Match { a: (4, 7), b: (5, 8) }, Match { a: (2, 3), b: (0, 1) }]);
    }
}
