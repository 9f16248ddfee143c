//! LCS: the longest common subsequence of two strings, by the textbook table, in slices.

use super::sliced::Job;
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
    run: Run::Sliced { start: Lcs::start },
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
#[derive(Debug, Default)]
struct Cells {
    chunks: Vec<Box<[u32]>>,
    len: usize,
}

const CHUNK: usize = 1 << 14;

impl Cells {
    #[inline]
    fn get(&self, at: usize) -> u32 {
        self.chunks[at / CHUNK][at % CHUNK]
    }

    #[inline]
    fn push(&mut self, cell: u32) {
        if self.len.is_multiple_of(CHUNK) {
            self.chunks.push(vec![0; CHUNK].into_boxed_slice());
        }
        self.chunks[self.len / CHUNK][self.len % CHUNK] = cell;
        self.len += 1;
    }
}

/// The search: fills the table forwards, then reads the subsequence off it backwards.
#[derive(Debug)]
struct Search {
    a: Vec<u8>,
    b: Vec<u8>,
    cells: Cells,
    /// The way back: prefixes not yet walked. `None` while the table is being filled.
    back: Option<(usize, usize)>,
    /// The subsequence and its runs, the last one first.
    common: Vec<u8>,
    matches: Vec<Match>,
}

impl Search {
    fn new(a: Vec<u8>, b: Vec<u8>) -> Self {
        Self { a, b, cells: Cells::default(), back: None, common: Vec::new(), matches: Vec::new() }
    }

    /// About `budget` cells more.
    fn step(&mut self, budget: usize) -> Progress {
        match self.back {
            None => {
                self.fill(budget);
                Progress::More
            }
            Some((i, j)) => self.walk_back(i, j, budget),
        }
    }

    fn fill(&mut self, budget: usize) {
        let (width, height) = (self.b.len() + 1, self.a.len() + 1);
        let from = self.cells.len;
        let until = (from + budget).min(width * height);
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
        if until == width * height {
            self.back = Some((self.a.len(), self.b.len()));
        }
    }

    fn walk_back(&mut self, mut i: usize, mut j: usize, budget: usize) -> Progress {
        let width = self.b.len() + 1;
        for _ in 0..budget {
            if i == 0 || j == 0 {
                return Progress::Done;
            }
            if self.a[i - 1] == self.b[j - 1] {
                (i, j) = (i - 1, j - 1);
                self.common.push(self.a[i]);
                match self.matches.last_mut() {
                    Some(run) if run.a.0 == i + 1 && run.b.0 == j + 1 => (run.a.0, run.b.0) = (i, j),
                    _ => self.matches.push(Match { a: (i, i), b: (j, j) }),
                }
            } else if self.cells.get((i - 1) * width + j) > self.cells.get(i * width + j - 1) {
                i -= 1;
            } else {
                j -= 1;
            }
        }
        self.back = Some((i, j));
        Progress::More
    }

    fn subsequence(&mut self) -> Vec<u8> {
        let mut common = std::mem::take(&mut self.common);
        common.reverse();
        common
    }
}

#[derive(Debug)]
struct Lcs {
    options: Options,
    search: Search,
}

impl Lcs {
    fn start(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<Box<dyn Job>, Fault> {
        let not_strings = |_| Fault::Fixed("ERR The specified keys must contain string values");
        let mut len = |i: usize| -> Result<usize, Fault> {
            Ok(ctx.string(ctx.key(args.at(i))).map_err(not_strings)?.map_or(0, Text::len))
        };
        let (a, b) = (len(1)?, len(2)?);
        let options = Options::parse(args.from(3))?;
        if a.max(b) > limits::LCS_BYTES_MAX || (a + 1) * (b + 1) > limits::LCS_CELLS_MAX {
            return Err(Fault::Fixed("ERR String too long for LCS"));
        }
        let mut read = |i: usize| -> Result<Vec<u8>, Fault> {
            let text = ctx.old_string(ctx.key(args.at(i))).map_err(not_strings)?;
            Ok(text.map_or_else(Vec::new, |text| text.read(0..text.len())))
        };
        let search = Search::new(read(1)?, read(2)?);
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
