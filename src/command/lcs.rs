//! LCS: the longest common subsequence of two strings, by the textbook table, in slices.

use super::sliced::Job;
use super::staged::{Flow, On, Stage};
use super::{Command, Ctx, Flags, Group, Keys, Run};
use crate::base::ascii::is_word;
use crate::base::limits;
use crate::command::numbers::integer;
use crate::store::keyspace::Graveyard;
use crate::store::text::Text;
use crate::types::Progress;
use crate::wire::fault::Fault;
use crate::wire::reply::Reply;
use crate::wire::request::Args;

pub const ROWS: &[Command] = &[Command {
    name: "lcs",
    syntax: "LCS key1 key2 [LEN] [IDX] [MINMATCHLEN min-match-len] [WITHMATCHLEN]",
    arity: -3,
    keys: Keys::two(Keys::READ),
    flags: Flags::READONLY,
    since: "7.0.0",
    complexity: "O(N*M) where N and M are the lengths of the strings",
    summary: "Finds the longest common subsequence of two strings.",
    run: Run::Staged(STAGES),
    group: Group::String,
    ..Command::ROW
}];

/// What LCS is asked for.
#[derive(Debug, Default)]
struct Options {
    len: bool,
    indices: bool,
    min_match_len: usize,
    with_match_len: bool,
}

impl Options {
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

/// The table's cells row by row, in chunks, so that no step takes or gives back more than a few: a cell holds the length for two
/// prefixes.
#[derive(Debug)]
struct Cells {
    chunks: Vec<Vec<u32>>,
    len: usize,
    /// How many there will be.
    total: usize,
}

const CHUNK: usize = 1 << 14;

impl Cells {
    fn new(total: usize) -> Self {
        Self { chunks: Vec::new(), len: 0, total }
    }

    #[inline]
    fn get(&self, at: usize) -> u32 {
        self.chunks[at / CHUNK][at % CHUNK]
    }

    #[inline]
    fn push(&mut self, cell: u32) {
        if self.len.is_multiple_of(CHUNK) {
            self.chunks.push(Vec::with_capacity(CHUNK.min(self.total - self.len)));
        }
        self.chunks[self.len / CHUNK].push(cell);
        self.len += 1;
    }
}

/// The search: fills the table forwards, then reads the subsequence off it backwards.
#[derive(Debug)]
struct Search {
    a: Vec<u8>,
    b: Vec<u8>,
    cells: Cells,
    /// The prefixes that the way back has yet to walk.
    i: usize,
    j: usize,
    /// The subsequence and its runs, the last one first.
    common: Vec<u8>,
    matches: Vec<Match>,
}

impl Search {
    fn new(a: Vec<u8>, b: Vec<u8>) -> Self {
        let (i, j) = (a.len(), b.len());
        let cells = Cells::new((i + 1) * (j + 1));
        Self { a, b, cells, i, j, common: Vec::new(), matches: Vec::new() }
    }

    /// At most `budget` cells more, and as many places of the way back.
    fn step(&mut self, budget: usize) -> Progress {
        self.fill(budget);
        if self.cells.len < self.cells.total { Progress::More } else { self.walk_back(budget) }
    }

    fn fill(&mut self, budget: usize) {
        let width = self.b.len() + 1;
        let from = self.cells.len;
        let until = from.saturating_add(budget).min(self.cells.total);
        let (mut i, mut j) = (from / width, from % width);
        for at in from..until {
            let cell = if i == 0 || j == 0 {
                0
            } else if self.a[i - 1] == self.b[j - 1] {
                self.cells.get(at - width - 1) + 1
            } else {
                self.cells.get(at - width).max(self.cells.get(at - 1))
            };
            self.cells.push(cell);
            j += 1;
            if j == width {
                (i, j) = (i + 1, 0);
            }
        }
    }

    fn walk_back(&mut self, budget: usize) -> Progress {
        for _ in 0..budget {
            if self.i == 0 || self.j == 0 {
                return Progress::Done;
            }
            self.walk_one();
        }
        Progress::More
    }

    fn walk_one(&mut self) {
        let (i, j, width) = (self.i, self.j, self.b.len() + 1);
        if self.a[i - 1] == self.b[j - 1] {
            (self.i, self.j) = (i - 1, j - 1);
            self.common.push(self.a[i - 1]);
            match self.matches.last_mut() {
                Some(run) if run.a.0 == i && run.b.0 == j => (run.a.0, run.b.0) = (i - 1, j - 1),
                _ => self.matches.push(Match { a: (i - 1, i - 1), b: (j - 1, j - 1) }),
            }
        } else if self.cells.get((i - 1) * width + j) > self.cells.get(i * width + j - 1) {
            self.i -= 1;
        } else {
            self.j -= 1;
        }
    }

    fn subsequence(&mut self) -> Vec<u8> {
        let mut common = std::mem::take(&mut self.common);
        common.reverse();
        common
    }
}

/// In the words that Redis has for a table that is too large; ours is bounded by time.
const TOO_LONG: Fault = Fault::Fixed("ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len");

/// A copy of a string; `None`: it is too long for that.
fn read(ctx: &mut Ctx<'_>, name: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
    let text = ctx.string(ctx.key(name));
    let text = text.map_err(|_| Fault::Fixed("ERR The specified keys must contain string values"))?;
    let len = text.map_or(0, Text::len);
    Ok((len <= limits::LCS_BYTES_MAX).then(|| text.map_or_else(Vec::new, |text| text.read(0..len))))
}

#[derive(Debug)]
struct Lcs {
    options: Options,
    search: Search,
}

/// Redis looks at the keys before the options, and at the lengths after them.
const STAGES: &[Stage] = &[
    Stage {
        on: On::Key(1),
        run: |ctx, args, cargo, _| {
            cargo.text = read(ctx, args.at(1))?;
            Ok(Flow::On)
        },
    },
    Stage {
        on: On::Key(2),
        run: |ctx, args, cargo, _| Lcs::start(cargo.text.take(), read(ctx, args.at(2))?, args).map(Flow::Job),
    },
];

impl Lcs {
    fn start(a: Option<Vec<u8>>, b: Option<Vec<u8>>, args: Args<'_>) -> Result<Box<dyn Job>, Fault> {
        let options = Options::parse(args.from(3))?;
        let (Some(a), Some(b)) = (a, b) else { return Err(TOO_LONG) };
        if (a.len() + 1) * (b.len() + 1) > limits::LCS_CELLS_MAX {
            return Err(TOO_LONG);
        }
        let search = Search::new(a, b);
        Ok(Box::new(Self { options, search }))
    }
}

impl Job for Lcs {
    fn step(&mut self, ctx: &mut Ctx<'_>, reply: &mut Reply<'_>) -> Result<Progress, Fault> {
        if self.search.step(limits::LCS_CELLS_PER_STEP) == Progress::More {
            return Ok(Progress::More);
        }
        ctx.store.graves.bury_cells(std::mem::take(&mut self.search.cells.chunks));
        let common = self.search.subsequence();
        if self.options.indices {
            let least = self.options.min_match_len;
            let shown: Vec<Match> = self.search.matches.iter().copied().filter(|found| found.len() >= least).collect();
            answer_indices(&shown, common.len(), &self.options, reply);
        } else if self.options.len {
            reply.count(common.len());
        } else {
            reply.bulk(&common);
        }
        Ok(Progress::Done)
    }

    fn abandon(self: Box<Self>, graves: &mut Graveyard) {
        graves.bury_cells(self.search.cells.chunks);
    }
}

fn answer_indices(matches: &[Match], len: usize, options: &Options, reply: &mut Reply<'_>) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn found(a: &[u8], b: &[u8], budget: usize) -> (Vec<u8>, Vec<Match>) {
        let mut search = Search::new(a.to_vec(), b.to_vec());
        while search.step(budget) == Progress::More {}
        (search.subsequence(), search.matches)
    }

    #[test]
    fn the_common_subsequence_and_its_runs_are_found() {
        let (common, matches) = found(b"ohmytext", b"mynewtext", 7);
        assert_eq!(common, b"mytext");
        assert_eq!(matches, [Match { a: (4, 7), b: (5, 8) }, Match { a: (2, 3), b: (0, 1) }]);
    }

    #[test]
    fn a_table_of_many_chunks_holds_together() {
        let (a, b) = (vec![b'a'; 500], [vec![b'b'; 300], vec![b'a'; 200]].concat());
        assert_eq!(found(&a, &b, 1000).0.len(), 200);
    }

    fn is_subsequence(part: &[u8], whole: &[u8]) -> bool {
        let mut rest = whole.iter();
        part.iter().all(|byte| rest.any(|other| other == byte))
    }

    proptest! {
        #[test]
        fn slices_do_not_change_the_answer(a in "[abc]{0,40}", b in "[abc]{0,40}", budget in 1..200_usize) {
            let (a, b) = (a.as_bytes(), b.as_bytes());
            let (common, matches) = found(a, b, budget);
            prop_assert_eq!(&(common.clone(), matches.clone()), &found(a, b, usize::MAX / 2));
            prop_assert!(is_subsequence(&common, a) && is_subsequence(&common, b));
            prop_assert_eq!(matches.iter().map(|found| found.len()).sum::<usize>(), common.len());
            for found in matches {
                prop_assert_eq!(&a[found.a.0..=found.a.1], &b[found.b.0..=found.b.1]);
            }
        }
    }
}
