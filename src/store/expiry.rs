//! When keys die: every deadline of a database, in order.
//!
//! ```text
//!  Deadlines -> chunks [ first | blocks ]   ->   [ first | records ]   ->   (deadline, key hash) (deadline, key hash) ...
//!               latest first                     up to 128                  up to 128, the next to expire is the last of all
//! ```
//!
//! Exact in both directions: no sampling, no key that outlives its time unseen, and a deadline that moves takes its record along, so
//! that a session refreshed a thousand times a second still has one. The hash stands for the key (8 bytes instead of a copy); who pops a
//! record looks for an entry of that hash with that deadline. Keys of equal hash and deadline have a record each.
//!
//! Two binary searches over inline firsts and one in a block of 2 KiB; records leave and databases are freed from the end, where
//! nothing moves. Deadlines that come in their order fill their blocks, since only a block in the middle is halved. Unlike the
//! standard library's set it knows what it weighs. A timing wheel would add in less time, but it keeps the records of moved deadlines
//! until they fire, or pays for each key a place to find them by. Absent: a fourth level; ten million keys are a thousand chunks.

use crate::base::hash::KeyHash;
use crate::base::time::Millis;

/// Records of a block and blocks of a chunk.
const WIDTH: usize = 128;

type Record = (Millis, KeyHash);

const _: () = assert!(size_of::<Record>() == 16);

#[derive(Debug)]
pub struct Deadlines {
    /// Latest deadline first, as on all levels.
    chunks: Vec<Part<Part<Record>>>,
    len: usize,
    bytes: usize,
    /// The first of all, or `NEVER`: kept beside them, since every turn asks for it in each database.
    first: Millis,
}

/// No deadline is as late.
const NEVER: Millis = Millis(u64::MAX);

impl Default for Deadlines {
    fn default() -> Self {
        Self { chunks: Vec::new(), len: 0, bytes: 0, first: NEVER }
    }
}

/// A run of items and the first of all records in it.
#[derive(Debug)]
struct Part<T> {
    first: Record,
    items: Vec<T>,
}

impl Deadlines {
    /// A key's deadline was `old` and is `new`.
    #[inline]
    pub fn change(&mut self, hash: KeyHash, old: Option<Millis>, new: Option<Millis>) {
        if old == new {
            return;
        }
        if let Some(old) = old {
            self.remove((old, hash));
        }
        if let Some(new) = new {
            self.insert((new, hash));
        }
        self.note_first();
    }

    /// When the next key dies.
    #[inline]
    pub fn next(&self) -> Option<Millis> {
        Self::soonest([self].into_iter())
    }

    /// When the next key of all these dies.
    #[inline]
    pub fn soonest<'d>(all: impl Iterator<Item = &'d Self>) -> Option<Millis> {
        let first = all.fold(NEVER, |first, deadlines| first.min(deadlines.first));
        (first != NEVER).then_some(first)
    }

    /// The first record, if its time has come.
    #[inline]
    pub fn peek_due(&self, now: Millis) -> Option<(Millis, KeyHash)> {
        let first = *self.chunks.last()?.items.last()?.items.last()?;
        (first.0 <= now).then_some(first)
    }

    /// Takes out the first record, if its time has come.
    pub fn pop_due(&mut self, now: Millis) -> Option<(Millis, KeyHash)> {
        if self.next()? > now {
            return None;
        }
        let (chunk, block) = (self.chunks.len() - 1, self.chunks.last()?.items.len() - 1);
        let at = self.chunks[chunk].items[block].items.len() - 1;
        let record = self.remove_at(chunk, block, at);
        self.note_first();
        Some(record)
    }

    /// Keys that have a deadline.
    pub const fn len(&self) -> usize {
        self.len
    }

    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes of all parts.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// The same by walking everything.
    pub fn recount_bytes(&self) -> usize {
        let chunks =
            self.chunks.iter().map(|chunk| chunk.weight() + chunk.items.iter().map(Part::weight).sum::<usize>());
        self.chunks.capacity() * size_of::<Part<Part<Record>>>() + chunks.sum::<usize>()
    }

    /// Drops about `count` records; for a database that is gone.
    pub fn free_step(&mut self, count: usize) {
        for _ in 0..count.div_ceil(WIDTH) {
            let Some(last) = self.chunks.last() else { break };
            let (chunk, block) = (self.chunks.len() - 1, last.items.len() - 1);
            self.len -= last.items[block].items.len();
            self.drop_block(chunk, block);
        }
        self.note_first();
    }

    fn note_first(&mut self) {
        let last = |chunk: &Part<Part<Record>>| Some(chunk.items.last()?.items.last()?.0);
        self.first = self.chunks.last().and_then(last).unwrap_or(NEVER);
    }

    fn insert(&mut self, record: Record) {
        self.len += 1;
        if self.chunks.is_empty() {
            let mut block = Part { first: record, items: Vec::new() };
            block.edit(&mut self.bytes, |records| records.push(record));
            self.add_chunk(0, vec![block]);
            return;
        }
        let chunk = covering(&self.chunks, record);
        let blocks = &mut self.chunks[chunk];
        let block = covering(&blocks.items, record);
        let part = &mut blocks.items[block];
        let at = part.items.partition_point(|&other| other > record);
        if part.items.len() < WIDTH {
            part.edit(&mut self.bytes, |records| records.insert(at, record));
        } else if at == 0 {
            // In front of all: a new block, and the full one stays full.
            let mut fresh = Part { first: record, items: Vec::new() };
            fresh.edit(&mut self.bytes, |records| records.push(record));
            blocks.edit(&mut self.bytes, |blocks| blocks.insert(block, fresh));
        } else {
            let tail = part.edit(&mut self.bytes, |records| records.split_off(WIDTH / 2));
            let mut upper = Part { first: tail[0], items: Vec::new() };
            upper.edit(&mut self.bytes, |records| *records = tail);
            let (into, at) = if at <= WIDTH / 2 { (&mut *part, at) } else { (&mut upper, at - WIDTH / 2) };
            into.edit(&mut self.bytes, |records| records.insert(at, record));
            into.first = into.items[0];
            part.first = part.items[0];
            blocks.edit(&mut self.bytes, |blocks| blocks.insert(block + 1, upper));
        }
        self.settle_firsts(chunk, block);
        self.halve_chunk(chunk);
    }

    fn remove(&mut self, record: Record) {
        if self.chunks.is_empty() {
            return;
        }
        let chunk = covering(&self.chunks, record);
        let block = covering(&self.chunks[chunk].items, record);
        let records = &self.chunks[chunk].items[block].items;
        let at = records.partition_point(|&other| other > record);
        if records.get(at) == Some(&record) {
            self.remove_at(chunk, block, at);
        }
    }

    fn remove_at(&mut self, chunk: usize, block: usize, at: usize) -> Record {
        self.len -= 1;
        let blocks = &mut self.chunks[chunk].items;
        let record = blocks[block].items.remove(at);
        if blocks[block].items.is_empty() {
            self.drop_block(chunk, block);
            return record;
        }
        // Sparse neighbours become one, so that memory follows what is left.
        if let Some(after) = blocks.get(block + 1)
            && blocks[block].items.len() + after.items.len() <= WIDTH / 2
        {
            let after = blocks.remove(block + 1);
            self.bytes -= after.weight();
            blocks[block].edit(&mut self.bytes, |records| records.extend(after.items));
        }
        self.settle_firsts(chunk, block);
        record
    }

    fn drop_block(&mut self, chunk: usize, block: usize) {
        self.bytes -= self.chunks[chunk].items.remove(block).weight();
        if self.chunks[chunk].items.is_empty() {
            self.bytes -= self.chunks.remove(chunk).weight();
            if self.chunks.is_empty() {
                *self = Self::default();
            }
        } else {
            self.settle_firsts(chunk, 0);
        }
    }

    /// After a change in front of a block or a chunk.
    fn settle_firsts(&mut self, chunk: usize, block: usize) {
        let part = &mut self.chunks[chunk];
        part.items[block].first = part.items[block].items[0];
        part.first = part.items[0].first;
    }

    fn halve_chunk(&mut self, chunk: usize) {
        let part = &mut self.chunks[chunk];
        if part.items.len() > WIDTH {
            let upper = part.edit(&mut self.bytes, |blocks| blocks.split_off(WIDTH / 2));
            self.add_chunk(chunk + 1, upper);
        }
    }

    fn add_chunk(&mut self, at: usize, blocks: Vec<Part<Record>>) {
        let part = Part { first: blocks[0].first, items: blocks };
        self.bytes += part.weight();
        let before = self.chunks.capacity();
        self.chunks.insert(at, part);
        self.bytes += (self.chunks.capacity() - before) * size_of::<Part<Part<Record>>>();
    }
}

impl<T> Part<T> {
    fn weight(&self) -> usize {
        self.items.capacity() * size_of::<T>()
    }

    /// Changes the items and counts what their allocation gains or loses.
    fn edit<R>(&mut self, bytes: &mut usize, change: impl FnOnce(&mut Vec<T>) -> R) -> R {
        let before = self.weight();
        let result = change(&mut self.items);
        *bytes = *bytes + self.weight() - before;
        result
    }
}

/// The part in which a record is, or would be: the last that begins no later in the order.
#[inline]
fn covering<T>(parts: &[Part<T>], record: Record) -> usize {
    parts.partition_point(|part| part.first >= record).saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::rng::Rng;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[test]
    fn records_move_with_their_keys_and_fire_in_order() {
        let mut deadlines = Deadlines::default();
        for key in 0..1000 {
            deadlines.change(KeyHash(key), None, Some(Millis(5000 - key)));
        }
        deadlines.change(KeyHash(7), Some(Millis(4993)), Some(Millis(1)));
        deadlines.change(KeyHash(8), Some(Millis(4992)), None);
        assert_eq!((deadlines.len(), deadlines.next()), (999, Some(Millis(1))));
        assert_eq!(deadlines.pop_due(Millis(0)), None);
        assert_eq!(deadlines.pop_due(Millis(1)), Some((Millis(1), KeyHash(7))));
        let fired: Vec<_> = std::iter::from_fn(|| deadlines.pop_due(Millis(4500))).collect();
        assert_eq!(fired.len(), 500);
        assert!(fired.is_sorted());
        while !deadlines.is_empty() {
            deadlines.free_step(100);
            assert_eq!(deadlines.bytes(), deadlines.recount_bytes());
        }
        assert_eq!(deadlines.bytes(), 0);
    }

    #[test]
    fn keys_of_equal_hash_and_deadline_have_a_record_each() {
        let mut deadlines = Deadlines::default();
        for _ in 0..300 {
            deadlines.change(KeyHash(1), None, Some(Millis(9)));
        }
        deadlines.change(KeyHash(1), Some(Millis(9)), None);
        assert_eq!(std::iter::from_fn(|| deadlines.pop_due(Millis(9))).count(), 299);
    }

    #[test]
    fn deadlines_in_their_order_fill_their_blocks() {
        let (mut rising, mut random, mut rng) = (Deadlines::default(), Deadlines::default(), Rng::new(1));
        for key in 0..200_000 {
            rising.change(KeyHash(key), None, Some(Millis(key)));
            random.change(KeyHash(key), None, Some(Millis(rng.below(1 << 40))));
        }
        let each = |deadlines: &Deadlines| deadlines.bytes() as f64 / deadlines.len() as f64;
        assert!(each(&rising) < 17.5, "{}", each(&rising));
        assert!(each(&random) < 28.0, "{}", each(&random));
    }

    #[derive(Clone, Debug)]
    enum Step {
        Change(u64, Option<u64>),
        Many(u64, u64),
        Pop(u64),
        Free(usize),
    }

    fn any_step() -> impl Strategy<Value = Step> {
        prop_oneof![
            8 => (0..50_u64, prop::option::of(0..300_u64)).prop_map(|(key, at)| Step::Change(key, at)),
            4 => (50..2000_u64, 0..1500_u64).prop_map(|(count, from)| Step::Many(count, from)),
            4 => (0..1500_u64).prop_map(Step::Pop),
            1 => (1..1000_usize).prop_map(Step::Free),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn is_an_ordered_set_that_knows_what_it_weighs(steps in prop::collection::vec(any_step(), 1..60), stride in 1..40_u64) {
            let (mut deadlines, mut model) = (Deadlines::default(), BTreeMap::<(Millis, KeyHash), ()>::new());
            let mut of = BTreeMap::<u64, Millis>::new();
            for step in steps {
                let mut change = |key: u64, new: Option<u64>| {
                    let (old, new) = (of.remove(&key), new.map(Millis));
                    deadlines.change(KeyHash(key), old, new);
                    old.map(|old| model.remove(&(old, KeyHash(key))));
                    if let Some(new) = new {
                        of.insert(key, new);
                        model.insert((new, KeyHash(key)), ());
                    }
                };
                match step {
                    Step::Change(key, at) => change(key, at),
                    Step::Many(count, from) => (0..count).for_each(|i| change(1000 + i * stride % 2003, Some((from + i * 7) % 1501))),
                    Step::Pop(now) => while let Some((at, key)) = deadlines.pop_due(Millis(now)) {
                        let first = model.pop_first().map(|(record, ())| record);
                        prop_assert_eq!(first, Some((at, key)));
                        of.remove(&key.0);
                    },
                    Step::Free(count) => if count > 900 {
                        while !deadlines.is_empty() { deadlines.free_step(count); }
                        of.clear();
                        model.clear();
                    },
                }
                prop_assert_eq!(deadlines.len(), model.len());
                prop_assert_eq!(deadlines.next(), model.keys().next().map(|(at, _)| *at));
                prop_assert_eq!(deadlines.bytes(), deadlines.recount_bytes());
            }
        }
    }
}
