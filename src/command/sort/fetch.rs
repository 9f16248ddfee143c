//! What BY or GET asks for: on each lane those of the keys that are its own.
//!
//! The elements go to the keys, not the keys to the lanes: every lane walks all elements and makes all keys, which costs it a hash each, and no
//! lane has to be told a million keys by another.

use super::elements::Elements;
use super::pattern::Place;
use super::texts::{Column, Piece};
use crate::base::limits;
use crate::command::Ctx;
use crate::command::sliced::Job;
use crate::command::staged::Cargo;
use crate::store::keyspace::Graveyard;
use crate::store::text::Text;
use crate::types::Progress;
use crate::wire::fault::Fault;
use crate::wire::reply::Reply;

/// Reads what belongs to each element.
#[derive(Debug)]
pub(super) struct Fetch {
    elements: Elements,
    /// Each with its number among the patterns of the request, of which there are so many.
    patterns: Vec<(u64, Place)>,
    count: u64,
    /// Of the next element.
    number: u64,
    column: Column,
}

impl Fetch {
    pub(super) fn of(elements: Elements, patterns: Vec<(u64, Place)>, count: usize) -> Self {
        Self { elements, patterns, count: count as u64, number: 0, column: Column::default() }
    }
}

impl Job for Fetch {
    fn step(&mut self, ctx: &mut Ctx<'_>, _: &mut Reply<'_>) -> Result<Progress, Fault> {
        let (mut piece, mut looked_at, mut key) = (Piece::default(), 0, Vec::new());
        let hasher = ctx.store.hash_key;
        while self.elements.len() > 0 && looked_at < limits::SORT_KEYS_PER_STEP && piece.bytes() < limits::STEP_BYTES {
            let (patterns, count, number) = (&self.patterns, self.count, &mut self.number);
            self.elements.step(BATCH, &hasher, |element| {
                for (nth, pattern) in patterns {
                    pattern.write_key(element, &mut key);
                    looked_at += 1;
                    look(ctx, pattern, &key, |text| piece.push(*number * count + nth, text));
                }
                *number += 1;
            });
        }
        self.column.push(piece);
        if self.elements.len() > 0 {
            return Ok(Progress::More);
        }
        std::mem::replace(&mut self.elements, Elements::None).bury(&mut ctx.store.graves);
        Ok(Progress::Done)
    }

    fn hand_on(&mut self, cargo: &mut Cargo) {
        cargo.found.push(std::mem::take(&mut self.column));
    }

    fn abandon(self: Box<Self>, graves: &mut Graveyard) {
        self.elements.bury(graves);
        self.column.bury(graves);
    }
}

/// Elements that are looked at between two looks at what they weigh.
const BATCH: usize = 8;

fn look(ctx: &mut Ctx<'_>, pattern: &Place, key: &[u8], show: impl FnOnce(Text<'_>)) {
    let key = ctx.key(key);
    if ctx.lanes.owner(key.hash.slot()) == ctx.lane {
        pattern.look(ctx, key, show);
    }
}
