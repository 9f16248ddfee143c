//! Sorting in slices: the elements come in runs, each sorted when it is full, and the runs are merged from a heap of their first elements, as far
//! as anybody wants to see.
//!
//! ```text
//!  elements -> [run][run][run] ...  sorted, one a step or two      heap of runs -> order: (run, row), (run, row) ... of the window
//! ```
//!
//! Nothing is moved once it is in a run, and no run grows: a step costs its own elements alone. What is equal by its weight is in the order of
//! the elements themselves, so that there is one order; Redis leaves it open where weights are compared as texts.

use std::cmp::Ordering;
use std::sync::Arc;

use super::Options;
use super::elements::Elements;
use super::texts::{Columns, Kept, Texts};
use crate::base::hash::HashKey;
use crate::base::limits;
use crate::command::Ctx;
use crate::command::sliced::Job;
use crate::command::staged::Cargo;
use crate::store::keyspace::Graveyard;
use crate::store::text::Text;
use crate::types::Progress;
use crate::wire::fault::Fault;
use crate::wire::reply::Reply;

const NO_NUMBER: Fault = Fault::Fixed("ERR One or more scores can't be converted into double");

/// The elements of a window, in their order.
#[derive(Debug, Default)]
pub struct Ordered {
    runs: Vec<Run>,
    order: Vec<(u32, u32)>,
}

#[derive(Debug, Default)]
struct Run {
    texts: Texts,
    rows: Vec<Row>,
    /// The first row that was not merged yet.
    next: u32,
}

#[derive(Debug)]
struct Row {
    element: Kept,
    weight: Weight,
}

/// What an element is sorted by.
#[derive(Debug)]
enum Weight {
    Number(f64),
    Text(Kept),
    /// There is nothing where the pattern points to.
    Missing,
    /// Itself.
    Own,
}

impl Ordered {
    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    pub(super) fn text(&self, place: usize) -> Text<'_> {
        let (run, row) = self.order[place];
        let run = &self.runs[run as usize];
        run.texts.text(&run.rows[row as usize].element)
    }

    /// Each run dies in a step, unless another lane still looks at it.
    pub fn bury(order: Arc<Self>, graves: &mut Graveyard) {
        if let Some(Self { runs, .. }) = Arc::into_inner(order) {
            graves.bury_heaps(runs.into_iter().map(|run| Box::new(run) as Box<dyn Send>));
        }
    }
}

/// Compares two elements by what they weigh, then by themselves.
fn compare_rows((texts, one): (&Texts, &Row), (other_texts, two): (&Texts, &Row)) -> Ordering {
    let by_weight = match (&one.weight, &two.weight) {
        (Weight::Number(one), Weight::Number(two)) => one.partial_cmp(two).expect("NaN is no number here"),
        (Weight::Text(one), Weight::Text(two)) => compare(texts.text(one), other_texts.text(two)),
        (Weight::Missing, Weight::Text(_)) => Ordering::Less,
        (Weight::Text(_), Weight::Missing) => Ordering::Greater,
        _ => Ordering::Equal,
    };
    by_weight.then_with(|| compare(texts.text(&one.element), other_texts.text(&two.element)))
}

/// Compares two texts byte by byte.
fn compare(one: Text<'_>, two: Text<'_>) -> Ordering {
    match (one, two) {
        (Text::Flat(one), Text::Flat(two)) => one.cmp(two),
        _ => bytes(one).cmp(bytes(two)),
    }
}

fn bytes<'t>(text: Text<'t>) -> impl Iterator<Item = &'t u8> {
    let (flat, rope) = match text {
        Text::Flat(flat) => (flat, None),
        Text::Rope(rope) => (&b""[..], Some(rope)),
    };
    flat.iter().chain(rope.into_iter().flat_map(|rope| rope.chunks(0..rope.len())).flatten())
}

/// A text as C's `strtod` reads it, as far as Redis lets it pass: empty is 0, what is too large or too small is none, nor is NaN.
fn number(text: &[u8]) -> Option<f64> {
    // A zero byte ends a string of C.
    let text = memchr::memchr(0, text).map_or(text, |end| &text[..end]);
    if text.is_empty() {
        return Some(0.0);
    }
    let blanks = text.iter().take_while(|byte| matches!(byte, b' ' | b'\t'..=b'\r')).count();
    let text = std::str::from_utf8(&text[blanks..]).ok()?;
    let (digits, is_negative) = match text.as_bytes().first()? {
        b'-' => (&text[1..], true),
        b'+' => (&text[1..], false),
        _ => (text, false),
    };
    // Rust would take a second sign.
    if digits.starts_with(['+', '-']) {
        return None;
    }
    let value = if digits.len() > 1 && digits.as_bytes()[..2].eq_ignore_ascii_case(b"0x") {
        hexadecimal(&digits.as_bytes()[2..])?
    } else {
        digits.parse::<f64>().ok()?
    };
    let is_named = digits.as_bytes()[0].is_ascii_alphabetic();
    let is_lost = match value {
        _ if value.is_infinite() => !is_named,
        _ if value == 0.0 => has_digits(digits),
        _ => !value.is_normal(),
    };
    (!is_lost).then_some(if is_negative { -value } else { value })
}

/// Whether a number is not zero, however small.
fn has_digits(digits: &str) -> bool {
    let mantissa = digits.bytes().take_while(|byte| !matches!(byte, b'e' | b'E' | b'p' | b'P'));
    mantissa.into_iter().any(|byte| byte.is_ascii_hexdigit() && byte != b'0')
}

/// Digits of a hexadecimal number, perhaps with a point and an exponent of two.
fn hexadecimal(text: &[u8]) -> Option<f64> {
    let (digits, exponent) = match text.iter().position(|byte| byte.eq_ignore_ascii_case(&b'p')) {
        Some(at) => (&text[..at], std::str::from_utf8(&text[at + 1..]).ok()?.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (mut value, mut behind, mut seen) = (0.0, None, false);
    for byte in digits {
        match (char::from(*byte).to_digit(16), byte) {
            (Some(digit), _) => {
                value = value * 16.0 + f64::from(digit);
                behind = behind.map(|behind: i32| behind + 4);
                seen = true;
            }
            (None, b'.') if behind.is_none() => behind = Some(0),
            _ => return None,
        }
    }
    seen.then(|| value * 2.0_f64.powi(exponent - behind.unwrap_or(0)))
}

/// The job that sorts.
#[derive(Debug)]
pub(super) struct Sorting {
    elements: Elements,
    /// What BY has found.
    weights: Columns,
    by: By,
    descends: bool,
    /// Of the next element.
    number: u64,
    ordered: Ordered,
    /// Runs by their next rows, what comes first on top.
    heap: Vec<u32>,
    /// Elements in front of the window, and in it, that are left to be merged.
    skip: usize,
    wanted: usize,
}

/// What elements are sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    OwnNumber,
    OwnText,
    Number,
    Text,
}

impl Sorting {
    pub(super) fn of(elements: Elements, weights: Columns, options: &Options) -> Self {
        let by = match (options.by.elsewhere().is_some(), options.alpha) {
            (false, false) => By::OwnNumber,
            (false, true) => By::OwnText,
            (true, false) => By::Number,
            (true, true) => By::Text,
        };
        let window = options.window(elements.len());
        // Room is only taken here, and touched as it is filled.
        let ordered = Ordered { runs: Vec::new(), order: Vec::with_capacity(window.len()) };
        let (descends, skip, wanted) = (options.descends, window.start, window.len());
        Self { elements, weights, by, descends, number: 0, ordered, heap: Vec::new(), skip, wanted }
    }

    /// Makes a run of the next elements.
    fn gather(&mut self, hasher: &HashKey) -> Result<(), Fault> {
        let (mut run, mut fault) = (Run::default(), false);
        let Run { texts, rows, .. } = &mut run;
        while self.elements.len() > 0 && rows.len() < limits::SORTED_PER_STEP && texts.bytes() < limits::STEP_BYTES {
            let (weights, at, by) = (&mut self.weights, &mut self.number, self.by);
            self.elements.step(BATCH, hasher, |element| {
                let weight = match (by, weights.at(*at)) {
                    (By::OwnText, _) => Weight::Own,
                    (By::Text, None) => Weight::Missing,
                    (By::Text, Some(text)) => Weight::Text(texts.keep(text)),
                    (By::Number, None) => Weight::Number(0.0),
                    (By::OwnNumber, _) => weigh(element, &mut fault),
                    (By::Number, Some(text)) => weigh(text, &mut fault),
                };
                rows.push(Row { element: texts.keep(element), weight });
                *at += 1;
            });
        }
        if fault {
            return Err(NO_NUMBER);
        }
        let descends = self.descends;
        rows.sort_unstable_by(|one, two| turned(descends, compare_rows((texts, one), (texts, two))));
        let number = u32::try_from(self.ordered.runs.len()).expect("runs have hundreds of rows");
        self.ordered.runs.push(run);
        self.heap.push(number);
        self.sift_up(self.heap.len() - 1);
        Ok(())
    }

    /// Takes the next elements off the runs.
    fn merge(&mut self) {
        for _ in 0..limits::MERGED_PER_STEP {
            if self.wanted == 0 {
                return;
            }
            let number = self.heap[0];
            let run = &mut self.ordered.runs[number as usize];
            let row = run.next;
            run.next += 1;
            if run.next as usize == run.rows.len() {
                self.heap.swap_remove(0);
            }
            self.sift_down();
            if self.skip > 0 {
                self.skip -= 1;
            } else {
                self.wanted -= 1;
                self.ordered.order.push((number, row));
            }
        }
    }

    /// Whether the next row of one run comes before that of another.
    fn comes_first(&self, one: u32, two: u32) -> bool {
        let head = |number: u32| {
            let run = &self.ordered.runs[number as usize];
            (&run.texts, &run.rows[run.next as usize])
        };
        turned(self.descends, compare_rows(head(one), head(two))) == Ordering::Less
    }

    fn sift_up(&mut self, mut at: usize) {
        while at > 0 && self.comes_first(self.heap[at], self.heap[(at - 1) / 2]) {
            self.heap.swap(at, (at - 1) / 2);
            at = (at - 1) / 2;
        }
    }

    fn sift_down(&mut self) {
        let mut at = 0;
        loop {
            let below = [2 * at + 1, 2 * at + 2].into_iter().filter(|below| *below < self.heap.len());
            let first = below.reduce(
                |left, right| {
                    if self.comes_first(self.heap[right], self.heap[left]) { right } else { left }
                },
            );
            match first {
                Some(first) if self.comes_first(self.heap[first], self.heap[at]) => {
                    self.heap.swap(at, first);
                    at = first;
                }
                _ => return,
            }
        }
    }

    fn bury_rest(&mut self, graves: &mut Graveyard) {
        std::mem::replace(&mut self.elements, Elements::None).bury(graves);
        std::mem::take(&mut self.weights).bury(graves);
    }
}

/// Elements that are looked at between two looks at what they weigh.
const BATCH: usize = 32;

fn turned(descends: bool, order: Ordering) -> Ordering {
    if descends { order.reverse() } else { order }
}

fn weigh(text: Text<'_>, fault: &mut bool) -> Weight {
    let number = text.as_number().and_then(|text| number(&text));
    *fault |= number.is_none();
    Weight::Number(number.unwrap_or(0.0))
}

impl Job for Sorting {
    fn step(&mut self, ctx: &mut Ctx<'_>, _: &mut Reply<'_>) -> Result<Progress, Fault> {
        if self.elements.len() > 0 {
            if let Err(fault) = self.gather(&ctx.store.hash_key) {
                self.bury_rest(&mut ctx.store.graves);
                Ordered::bury(Arc::new(std::mem::take(&mut self.ordered)), &mut ctx.store.graves);
                return Err(fault);
            }
            if self.elements.len() > 0 || self.ordered.runs.len() > 1 {
                return Ok(Progress::More);
            }
        }
        self.merge();
        if self.wanted > 0 {
            return Ok(Progress::More);
        }
        self.bury_rest(&mut ctx.store.graves);
        Ok(Progress::Done)
    }

    fn hand_on(&mut self, cargo: &mut Cargo) {
        cargo.order = Some(Arc::new(std::mem::take(&mut self.ordered)));
    }

    fn abandon(mut self: Box<Self>, graves: &mut Graveyard) {
        self.bury_rest(graves);
        Ordered::bury(Arc::new(self.ordered), graves);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::rope::Rope;

    #[test]
    fn numbers_are_read_as_leniently_as_redis_does() {
        for (text, value) in [
            ("", 0.0),
            (" 5", 5.0),
            ("\t\r\n 5", 5.0),
            ("5\0x", 5.0),
            ("0x10", 16.0),
            ("-0x1p3", -8.0),
            ("0x.8", 0.5),
            ("inf", f64::INFINITY),
            ("-Infinity", f64::NEG_INFINITY),
            ("5.", 5.0),
            (".5", 0.5),
            ("+3", 3.0),
            ("0e999", 0.0),
            ("1e308", 1e308),
        ] {
            assert_eq!(number(text.as_bytes()), Some(value), "{text:?}");
        }
        for text in
            ["1e400", "1e-310", "1e-400", "nan", "5 ", "  ", "1_0", "x", "+-5", "--5", "0x", "0xg", ".", "1e", "0x1p"]
        {
            assert_eq!(number(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn texts_are_compared_whatever_their_form() {
        let long = Rope::from(&[b'b'; 40_000][..]);
        let longer = Rope::from(&[b'b'; 40_001][..]);
        assert_eq!(compare(Text::Flat(b"a"), Text::Rope(&long)), Ordering::Less);
        assert_eq!(compare(Text::Rope(&long), Text::Flat(b"bb")), Ordering::Greater);
        assert_eq!(compare(Text::Rope(&long), Text::Rope(&longer)), Ordering::Less);
        assert_eq!(compare(Text::Rope(&long), Text::Flat(&[b'b'; 40_000])), Ordering::Equal);
    }
}
