//! What SORT says in the end, or puts under a key: of each element in the window itself, or what GET has found.

use super::elements::Elements;
use super::pattern::Pattern;
use super::texts::Columns;
use crate::base::hash::HashKey;
use crate::base::limits;
use crate::command::Ctx;
use crate::command::caller::answer_or_null;
use crate::command::sliced::{Job, Pieces};
use crate::command::storing::{Made, Making};
use crate::store::entry::Kind;
use crate::store::keyspace::Graveyard;
use crate::store::text::Text;
use crate::types::list::{End, Item, Limits, List};
use crate::types::{Object, Progress};
use crate::wire::fault::Fault;
use crate::wire::reply::Reply;

/// What is said, a bounded part of it a step.
#[derive(Debug)]
pub(super) struct Lines {
    elements: Elements,
    gets: Vec<Pattern>,
    found: Columns,
    /// Of the next element.
    number: u64,
}

impl Lines {
    pub(super) fn of(elements: Elements, gets: Vec<Pattern>, found: Columns) -> Self {
        Self { elements, gets, found, number: 0 }
    }

    fn len(&self) -> usize {
        self.elements.len() * self.gets.len().max(1)
    }

    /// Tells what the next elements come to; `None` where there is nothing.
    fn step(&mut self, hasher: &HashKey, mut tell: impl FnMut(Option<Text<'_>>)) {
        let Self { elements, gets, found, number } = self;
        let count = gets.len() as u64;
        elements.step(BATCH, hasher, |element| {
            if gets.is_empty() {
                tell(Some(element));
            }
            for (nth, get) in (0..).zip(gets.iter()) {
                match get {
                    Pattern::Element => tell(Some(element)),
                    Pattern::Nothing => tell(None),
                    Pattern::Elsewhere(_) => tell(found.at(*number * count + nth)),
                }
            }
            *number += 1;
        });
    }

    fn bury(self, graves: &mut Graveyard) {
        self.elements.bury(graves);
        self.found.bury(graves);
    }
}

/// Elements between two looks at what they weigh.
const BATCH: usize = 16;

/// The reply.
#[derive(Debug)]
pub(super) struct Answer {
    lines: Option<Lines>,
    len: usize,
    pieces: Pieces,
}

impl Answer {
    pub(super) fn of(lines: Lines) -> Self {
        Self { len: lines.len(), lines: Some(lines), pieces: Pieces::default() }
    }
}

impl Job for Answer {
    fn step(&mut self, ctx: &mut Ctx<'_>, reply: &mut Reply<'_>) -> Result<Progress, Fault> {
        let lines = self.lines.as_mut().expect("a job that is done takes no step");
        let (before, mut told) = (self.pieces.written(), 0);
        let dialect = reply.dialect();
        while lines.elements.len() > 0
            && told < limits::FIELDS_PER_STEP
            && self.pieces.written() - before < limits::REPLY_BYTES_PER_STEP
        {
            let mut into = Reply::new(self.pieces.output(), dialect);
            lines.step(&ctx.store.hash_key, |text| {
                answer_or_null(text, &mut into);
                told += 1;
            });
        }
        self.pieces.cut();
        if lines.elements.len() > 0 {
            return Ok(Progress::More);
        }
        reply.array(self.len);
        self.pieces.pour(reply);
        self.lines.take().expect("just looked at").bury(&mut ctx.store.graves);
        Ok(Progress::Done)
    }

    fn abandon(self: Box<Self>, graves: &mut Graveyard) {
        self.pieces.bury(graves);
        if let Some(lines) = self.lines {
            lines.bury(graves);
        }
    }
}

/// The list that STORE makes. What is missing is an empty element there.
#[derive(Debug)]
pub(super) struct Listing {
    lines: Lines,
    list: List,
    limits: Limits,
}

impl Listing {
    pub(super) fn of(lines: Lines, limits: Limits) -> Self {
        Self { lines, list: List::default(), limits }
    }
}

impl Making for Listing {
    fn step(&mut self, ctx: &mut Ctx<'_>) -> Result<Progress, Fault> {
        let Self { lines, list, limits: encoding } = self;
        let (mut told, mut bytes) = (0, 0);
        while lines.elements.len() > 0 && told < limits::FIELDS_PER_STEP && bytes < limits::STEP_BYTES {
            lines.step(&ctx.store.hash_key, |text| {
                let item = match text {
                    None => Item::of(b""),
                    Some(Text::Flat(flat)) => Item::of(flat),
                    Some(Text::Rope(rope)) => Item::Long(rope.clone()),
                };
                bytes += item.len();
                told += 1;
                list.expect(End::Back, item.len(), 1, *encoding);
                list.push(End::Back, item);
            });
        }
        Ok(if lines.elements.len() > 0 { Progress::More } else { Progress::Done })
    }

    fn finish(self: Box<Self>, graves: &mut Graveyard) -> Option<Made> {
        self.lines.bury(graves);
        let len = self.list.len();
        (len > 0).then_some(Made { kind: Kind::List, object: Object::List(self.list), len })
    }

    fn abandon(self: Box<Self>, graves: &mut Graveyard) {
        self.lines.bury(graves);
        graves.bury_object(Object::List(self.list));
    }
}
