//! The disks of some lanes and the directory of their journal, as plain values: what was written, what of it is sure to stay, and what a recovery
//! makes of what is left when the power fails. One model for all tests that lose something.
//!
//! ```text
//!  lane    next_write -> begin_write | end_write: synced, or said to be -> write_done
//!  keeper  keep: files named | each base synced | the manifest switched -> news        take_piece: a piece of a base
//!  lose    synced bytes of each file that is named, and any part of the others, perhaps with a hole
//!  recover blocks -> the greatest consistent cut -> replay
//! ```

use std::collections::VecDeque;

use hashbrown::HashMap;

use corelane::base::rng::Rng;
use corelane::base::time::Now;
use corelane::persist::Position;
use corelane::persist::block::Origin;
use corelane::persist::cut::{Settled, Share, Streams};
use corelane::persist::record::Record;
use corelane::persist::stream::{Found, Reader};
use corelane::shard::{Ends, Piece, Prepared, Shard, Sync};

/// The volume that all begin with.
pub(crate) const FIRST: u32 = 1;

/// A lane's file of a volume, in all its segments.
#[derive(Clone, Default)]
pub(crate) struct File {
    pub(crate) written: Vec<u8>,
    synced: usize,
}

/// A sync that is left out, though everybody is told that it was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Forgets {
    /// One in so many of the lanes'.
    OneIn(u32),
    /// That of a base, each time.
    Base,
}

pub(crate) struct Disks {
    lanes: u16,
    /// By volume and lane, all there ever was.
    pub(crate) files: HashMap<(u32, usize), File>,
    in_flight: Vec<Option<(u32, Sync)>>,
    pub(crate) keeper: Keeper,
    pub(crate) forgets: Option<Forgets>,
    syncs: u32,
}

/// What the directory holds for good, and what is under way in it.
pub(crate) struct Keeper {
    /// The base that the manifest names, and where it ends.
    base: Option<(u32, Vec<Position>)>,
    /// Where each lane's first log begins, and all logs from there on.
    marks: Vec<Position>,
    pub(crate) logs: Vec<u32>,
    pub(crate) last_id: u32,
    under_way: Option<Rewrite>,
    pub(crate) rewritten: u32,
    /// What lanes have not been told yet.
    news: VecDeque<(usize, News)>,
}

#[derive(Clone)]
pub(crate) enum News {
    Rewritten(Vec<Position>),
    Failed,
    Taken,
}

struct Rewrite {
    prepared: Prepared,
    ends: Vec<Option<Ends>>,
    synced: usize,
}

/// What the keeper has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    Nothing,
    Named,
    BaseSynced,
    Switched,
    /// The rewrite came to nothing.
    GivenUp,
}

/// What is left of each file that counts.
pub(crate) type Left = HashMap<(u32, usize), Vec<u8>>;

impl News {
    pub(crate) fn tell(self, shard: &mut Shard) {
        match self {
            Self::Taken => shard.piece_taken(),
            Self::Rewritten(marks) => shard.rewritten(&marks),
            Self::Failed => shard.not_rewritten(),
        }
    }
}

impl Disks {
    /// `is_kept`: whether there is a journal from the start.
    pub(crate) fn new(lanes: u16, is_kept: bool) -> Self {
        let count = usize::from(lanes);
        let keeper = Keeper {
            base: None,
            marks: vec![Position(0); count],
            logs: if is_kept { vec![FIRST] } else { Vec::new() },
            last_id: FIRST,
            under_way: None,
            rewritten: 0,
            news: VecDeque::new(),
        };
        Self { lanes, files: HashMap::new(), in_flight: vec![None; count], keeper, forgets: None, syncs: 0 }
    }

    pub(crate) fn origin(&self, volume: u32, lane: u16) -> Origin {
        Origin { volume, lane, lanes: self.lanes }
    }

    /// Starts what the lane wants written, if it wants anything.
    pub(crate) fn begin_write(&mut self, lane: usize, shard: &mut Shard) {
        if self.in_flight[lane].is_some() {
            return;
        }
        let mut bytes = Vec::new();
        if let Some(sync) = shard.next_write(&mut bytes) {
            let volume = shard.journal_volume().expect("who writes has a journal");
            self.files.entry((volume, lane)).or_default().written.extend(bytes);
            self.in_flight[lane] = Some((volume, sync));
        }
    }

    /// The write under way is done, if there is one; the lane is to be told.
    pub(crate) fn end_write(&mut self, lane: usize) -> bool {
        let Some((volume, sync)) = self.in_flight[lane].take() else { return false };
        if sync != Sync::No {
            self.syncs += 1;
            let is_left_out = matches!(self.forgets, Some(Forgets::OneIn(many)) if self.syncs.is_multiple_of(many));
            if !is_left_out {
                let file = self.files.get_mut(&(volume, lane)).expect("it was written to");
                file.synced = file.written.len();
            }
        }
        true
    }

    /// The write under way fails, if there is one.
    pub(crate) fn fail_write(&mut self, lane: usize) -> bool {
        self.in_flight[lane].take().is_some()
    }

    /// The keeper takes a piece of a base, if there is one.
    pub(crate) fn take_piece(&mut self, lane: usize, shard: &mut Shard) -> bool {
        let mut bytes = Vec::new();
        let Some(piece) = shard.next_piece(&mut bytes) else { return false };
        let rewrite = self.keeper.under_way.as_mut().expect("pieces are of a rewrite");
        self.files.entry((rewrite.prepared.base, lane)).or_default().written.extend(bytes);
        if let Piece::Last(ends) = piece {
            rewrite.ends[lane] = Some(ends);
        }
        self.keeper.news.push_back((lane, News::Taken));
        true
    }

    /// The oldest news, and for whom.
    pub(crate) fn next_news(&mut self) -> Option<(usize, News)> {
        self.keeper.news.pop_front()
    }

    /// The keeper does the next thing. `fails`: whether it cannot switch the manifest.
    pub(crate) fn keep(&mut self, lane_0: &mut Shard, fails: impl FnOnce() -> bool) -> Kept {
        if let Some(preparation) = lane_0.next_preparation() {
            assert!(self.keeper.under_way.is_none(), "one at a time");
            self.keeper.last_id += 2;
            let base = self.keeper.last_id;
            let log = preparation.log.then_some(base + 1);
            // What was never kept, or closed, is not followed.
            if !self.keeper.logs.is_empty() {
                self.keeper.logs.extend(log);
            }
            let prepared = Prepared { base, log };
            self.keeper.under_way = Some(Rewrite { prepared, ends: vec![None; self.lanes.into()], synced: 0 });
            self.keeper.last_id += 1;
            lane_0.prepared(prepared);
            return Kept::Named;
        }
        let rests = self.keeper.news.is_empty();
        let all_said = |rewrite: &&mut Rewrite| rewrite.ends.iter().all(Option::is_some);
        let Some(rewrite) = self.keeper.under_way.as_mut().filter(all_said).filter(|_| rests) else {
            return Kept::Nothing;
        };
        let lanes = usize::from(self.lanes);
        if rewrite.synced < lanes {
            let file = self.files.entry((rewrite.prepared.base, rewrite.synced)).or_default();
            if self.forgets != Some(Forgets::Base) {
                file.synced = file.written.len();
            }
            rewrite.synced += 1;
            return Kept::BaseSynced;
        }
        let fails = fails();
        let Rewrite { prepared, ends, .. } = self.keeper.under_way.take().expect("just looked at");
        let marks: Vec<Position> = ends.iter().flatten().map(|ends| ends.mark).collect();
        if !fails {
            self.keeper.base = Some((prepared.base, ends.iter().flatten().map(|ends| ends.base).collect()));
            self.keeper.marks.clone_from(&marks);
            self.keeper.logs = prepared.log.into_iter().collect();
            self.keeper.rewritten += 1;
        }
        let news = if fails { News::Failed } else { News::Rewritten(marks) };
        self.keeper.news.extend((0..lanes).map(|lane| (lane, news.clone())));
        if fails { Kept::GivenUp } else { Kept::Switched }
    }

    /// Nothing is under way but what the lanes have yet to ask for.
    pub(crate) fn is_quiet(&self) -> bool {
        self.keeper.under_way.is_none() && self.keeper.news.is_empty() && self.in_flight.iter().all(Option::is_none)
    }

    /// The power fails now: of what was not synced any part may be there, and any part not.
    pub(crate) fn lose(&self, rng: &mut Rng) -> Left {
        let mut below = |count: usize| usize::try_from(rng.next_u64() % count as u64).expect("small");
        let base = self.keeper.base.iter().map(|(base, _)| *base);
        let volumes: Vec<u32> = base.chain(self.keeper.logs.iter().copied()).collect();
        let mut left = Left::new();
        for lane in 0..usize::from(self.lanes) {
            for volume in &volumes {
                let File { written, synced } = self.files.get(&(*volume, lane)).cloned().unwrap_or_default();
                let reaches = synced + below(written.len() - synced + 1);
                let mut bytes = written[..reaches].to_vec();
                if reaches > synced && below(2) == 0 {
                    let hole = synced + below(reaches - synced);
                    bytes[hole] = !bytes[hole];
                }
                left.insert((*volume, lane), bytes);
            }
        }
        left
    }

    /// As if all that was written had reached the disk.
    pub(crate) fn all(&self) -> Left {
        let base = self.keeper.base.iter().map(|(base, _)| *base);
        let volumes = base.chain(self.keeper.logs.iter().copied());
        let places = volumes.flat_map(|volume| (0..usize::from(self.lanes)).map(move |lane| (volume, lane)));
        places.map(|place| (place, self.files.get(&place).cloned().unwrap_or_default().written)).collect()
    }

    /// What a recovery finds in the files that the manifest names: how far each lane counts, and what it holds. `replica`: an empty lane.
    ///
    /// # Panics
    /// If it would refuse.
    pub(crate) fn recover(&self, left: &Left, replica: impl Fn(u16) -> Shard) -> (Vec<Position>, Vec<Shard>) {
        let mut streams = Streams::new(self.lanes);
        for lane in 0..self.lanes {
            let mark = self.keeper.marks[usize::from(lane)];
            let end = self.follow(&self.keeper.logs, mark, lane, left, &mut |found| {
                if let Record::Share(of, lanes, _) = found.record {
                    let share = Share { of, start: found.start, end: found.end, lanes: lanes.iter().collect() };
                    streams.share(lane, share);
                }
            });
            streams.reach(lane, end.expect("no damage"));
        }
        let cuts = streams.cut(&Settled::default());
        let shards = (0..self.lanes).map(|lane| {
            let mut shard = blank(&replica, lane);
            if let Some((base, ends)) = &self.keeper.base {
                let mut reader = Reader::new(self.origin(*base, lane), Position(0));
                reader.feed(&left[&(*base, lane.into())], |found| repeat(&mut shard, &found)).expect("no damage");
                let end = reader.finish().expect("no damage").end;
                assert_eq!(end, ends[usize::from(lane)], "a base that is named is there");
            }
            let (cut, mark) = (cuts[usize::from(lane)], self.keeper.marks[usize::from(lane)]);
            let repeated = self.follow(&self.keeper.logs, mark, lane, left, &mut |found| {
                if found.end <= cut {
                    repeat(&mut shard, &found);
                }
            });
            repeated.expect("no damage");
            shard
        });
        let shards = shards.collect();
        (cuts, shards)
    }

    /// All that ever happened on a lane up to there, if all of it was written.
    pub(crate) fn history(&self, lane: usize, cut: Position, replica: impl Fn(u16) -> Shard) -> Option<Shard> {
        let number = u16::try_from(lane).expect("few");
        let mut shard = blank(&replica, number);
        let logs: Vec<u32> = (FIRST..=self.keeper.last_id).filter(|id| self.is_log(*id, lane)).collect();
        let files = logs.iter().map(|id| ((*id, lane), self.files[&(*id, lane)].written.clone())).collect();
        let end = self.follow(&logs, Position(0), number, &files, &mut |found| {
            if found.end <= cut {
                repeat(&mut shard, &found);
            }
        });
        (end? >= cut).then_some(shard)
    }

    /// Reads a lane's stream through these volumes; where it ends, if all of it is there.
    fn follow(
        &self,
        volumes: &[u32],
        from: Position,
        lane: u16,
        files: &Left,
        each: &mut dyn FnMut(Found<'_>),
    ) -> Option<Position> {
        let mut end = from;
        for volume in volumes {
            let mut reader = Reader::new(self.origin(*volume, lane), end);
            reader.feed(&files[&(*volume, usize::from(lane))], &mut *each).ok()?;
            let ending = reader.finish().ok()?;
            end = ending.end;
            if !ending.ended || ending.torn.is_some() {
                break;
            }
        }
        Some(end)
    }

    fn is_log(&self, id: u32, lane: usize) -> bool {
        // The first, and the second of each pair that was prepared.
        (id == FIRST || (id - FIRST).is_multiple_of(3)) && self.files.contains_key(&(id, lane))
    }
}

fn blank(replica: impl Fn(u16) -> Shard, lane: u16) -> Shard {
    let mut shard = replica(lane);
    shard.begin_turn(Now { unix_us: 1, mono_ns: 1 });
    shard
}

fn repeat(shard: &mut Shard, found: &Found<'_>) {
    if let Record::Effects(effects) | Record::Share(_, _, effects) = found.record {
        shard.repeat(effects).unwrap_or_else(|what| panic!("at {}: {what}", found.start));
    }
}
