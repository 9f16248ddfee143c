//! Rewriting the journal: the keyspace as it is at one moment replaces all that led to it, while the lanes go on.
//!
//! ```text
//!  lane 0   Idle --asked for, grown, switched on, failed--> Preparing     the keeper makes files, and names the next log in the manifest
//!                                                              v
//!           a transaction that holds everything  ----------> the mark     each lane: its journal turns the page, its snapshot begins
//!                                                              v
//!  lanes    Saying: slices of the snapshot -> base -> pieces to the keeper, one at a time
//!                                                              v          the keeper syncs all bases, then the manifest, deletes what is old
//!  lanes    rewritten: what was before the mark is firm; what had failed counts again
//! ```
//!
//! The mark is one serial point of all lanes, so that the bases are one moment of the keyspace and the logs behind them go on from it. The lanes
//! never wait: a slice is short, and the next one comes after a pause that grows with what the lane has to do for its clients. `appendonly`
//! is switched by the same transaction: on by a rewrite that has a log, off by a mark after which nothing is recorded.
//!
//! The snapshot goes on to its end whatever becomes of its base (`store/snapshot.rs`): the keeper takes pieces it cannot write, too.

use super::super::errand::Marking;
use super::super::message::Message;
use super::super::{Shard, ShardId};
use super::journal::Standing;
use super::{Durable, Keeping};
use crate::admin::journal::{Asked, RewriteFacts};
use crate::base::limits;
use crate::command::clients::BlockId;
use crate::persist::Position;
use crate::persist::block::Origin;
use crate::persist::record::Records;
use crate::persist::tail::{Known, Tail};
use crate::types::Progress;

/// What the keeper is to make files for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preparation {
    /// Whether the lanes turn to a new log.
    pub log: bool,
    /// Whether that goes on from the one that is written, which counts, at the mark already.
    pub follows: bool,
}

/// Files are there, by the ids of their volumes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prepared {
    pub base: u32,
    pub log: Option<u32>,
}

/// A piece of a base; of the last one, where everything ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece {
    More,
    Last(Ends),
}

/// Of one lane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ends {
    /// Of the stream of the base.
    pub base: Position,
    /// Where the log goes on from what the base holds.
    pub mark: Position,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Idle,
    Preparing,
    Saying,
}

/// What lane 0 knows of rewrites.
#[derive(Debug)]
pub(in crate::shard) struct Rewrites {
    /// There is no journal, and nobody wants one.
    pub(in crate::shard) sleeps: bool,
    phase: Phase,
    /// The keeper is to be told.
    preparation: Option<Preparation>,
    /// Files are there, but another mark is under way.
    prepared: Option<Prepared>,
    is_marking: bool,
    pub(in crate::shard) facts: RewriteFacts,
    /// When it is tried again at the earliest, unless somebody asks.
    not_before_ns: u64,
    /// By lane, the size of its journal and how many rewrites it has seen the end of.
    sizes: Vec<(u64, u32)>,
    /// All that when the last rewrite was over.
    base_bytes: Option<u64>,
    /// What this lane has told of its own.
    told: (u64, u32),
    /// Rewrites that are over.
    over: u32,
    /// Marks that this lane has passed, and the one of the last rewrite that was completed.
    era: u32,
    mended: u32,
    /// WAITAOFs of this lane that came before there was a journal, and lanes that want to know when what is not promised yet is firm.
    pub(in crate::shard) unasked: Vec<BlockId>,
    pub(in crate::shard) curious: Vec<(ShardId, u32)>,
}

/// A lane's base in the making.
#[derive(Debug)]
pub(in crate::shard) struct Base {
    tail: Tail,
    mark: Position,
    era: u32,
    is_said: bool,
    /// The keeper has a piece.
    is_out: bool,
    /// It has the last one.
    is_over: bool,
    /// When the next slice may come, and the last one did.
    not_before_ns: u64,
    last_ns: u64,
}

/// A lane tells lane 0 when its journal has grown by so much.
const TELL_BYTES: u64 = 1 << 20;

/// After a rewrite that failed, and twice as long after each further one.
const RETRY_NS: u64 = 1_000_000_000;
const RETRY_NS_MAX: u64 = 60_000_000_000;

/// What writers are told when a journal that was switched on could not be begun.
const NOT_BEGUN: &str = "MISCONF Errors writing to the AOF file: the journal could not be begun, the log says why";

/// How often a lane that waits for the keeper looks whether it has answered.
const LOOK_NS: u64 = 1_000_000;

/// A slice is followed by so many times its length, and by so many times of what the turn took before it: who is busy says less.
const PAUSE_SHARE: u64 = 3;
const PAUSE_SHARE_OF_TURN: u64 = 4;

/// A full turn leaves the slice out, but not for longer than this.
const STARVED_NS: u64 = 2_000_000;

impl Rewrites {
    /// `is_kept`: whether a journal is kept from the start.
    pub(in crate::shard) fn new(lanes: u16, is_kept: bool) -> Self {
        // Without a journal there is nothing to be told.
        let told = (0, if is_kept { u32::MAX } else { 0 });
        Self {
            sleeps: false,
            phase: Phase::Idle,
            preparation: None,
            prepared: None,
            is_marking: false,
            facts: RewriteFacts::default(),
            not_before_ns: 0,
            sizes: vec![told; lanes.into()],
            base_bytes: None,
            told,
            over: 0,
            era: 0,
            mended: 0,
            unasked: Vec::new(),
            curious: Vec::new(),
        }
    }

    fn begin(&mut self, preparation: Preparation, now_s: u64) {
        self.phase = Phase::Preparing;
        self.preparation = Some(preparation);
        self.facts.asked = Asked::No;
        self.facts.began_s = Some(now_s);
    }

    fn end(&mut self, now_s: u64, is_done: bool) {
        self.phase = Phase::Idle;
        let began_s = self.facts.began_s.take();
        self.facts.last_took_s = began_s.map(|began_s| now_s.saturating_sub(began_s));
        self.facts.has_failed = !is_done;
        self.facts.failures = if is_done { 0 } else { self.facts.failures + 1 };
    }

    /// By how many percent the journal has grown since the last rewrite, if that is known.
    fn growth(&self) -> Option<(u64, u64)> {
        let size: u64 = self.sizes.iter().map(|(bytes, _)| bytes).sum();
        let base = self.base_bytes?.max(1);
        Some((size, (u128::from(size) * 100 / u128::from(base)).saturating_sub(100).try_into().unwrap_or(u64::MAX)))
    }
}

impl Base {
    fn new(origin: Origin, mark: Position, era: u32) -> Self {
        let (is_said, is_out, is_over, not_before_ns, last_ns) = Default::default();
        Self { tail: Tail::new(origin, Position(0)), mark, era, is_said, is_out, is_over, not_before_ns, last_ns }
    }
}

/// For the driver.
impl Shard {
    /// Whether the keeper may have something for this lane.
    #[inline]
    pub fn awaits_keeper(&self) -> bool {
        self.base.is_some() || self.rewrites.phase == Phase::Preparing
    }

    /// Lane 0: what the keeper is to prepare.
    pub fn next_preparation(&mut self) -> Option<Preparation> {
        self.rewrites.preparation.take()
    }

    /// Lane 0: what was asked for is there.
    pub fn prepared(&mut self, prepared: Prepared) {
        self.rewrites.prepared = Some(prepared);
    }

    /// Lane 0: it could not be made.
    pub fn not_prepared(&mut self) {
        self.end_rewrite(false);
        self.refuse_without_journal();
    }

    /// The next piece of this lane's base, if it is time for one; its bytes are appended to `out`. The keeper has one at a time.
    pub fn next_piece(&mut self, out: &mut Vec<u8>) -> Option<Piece> {
        let base = self.base.as_mut()?;
        if base.is_out || base.is_over || !base.is_said && base.tail.backlog() < limits::BASE_PIECE_BYTES {
            return None;
        }
        base.tail.take(Known::default(), limits::BASE_PIECE_BYTES, out);
        self.store.graves.bury_shared(base.tail.take_spent());
        base.is_out = true;
        base.is_over = base.is_said && base.tail.is_empty();
        let ends = Ends { base: base.tail.end(), mark: base.mark };
        Some(if base.is_over { Piece::Last(ends) } else { Piece::More })
    }

    pub fn piece_taken(&mut self) {
        if let Some(base) = &mut self.base {
            base.is_out = false;
        }
    }

    /// The rewrite is over: what all lanes had before these marks is in their bases.
    pub fn rewritten(&mut self, marks: &[Position]) {
        let base = self.base.take().expect("a rewrite is over when this lane has said its base");
        if let Some(durable) = self.durable.as_mut().filter(|_| base.mark != Position::MAX) {
            durable.journal.commit(base.mark, base.tail.end().0);
            durable.written.note_all(durable.journal.end().after(self.store.effects.len()));
            if let Some(notary) = &mut durable.notary {
                notary.begin_at(marks);
            }
            self.mend(base.era);
        }
        self.rewrites.over += 1;
        self.end_rewrite(true);
        self.judge_restriction();
        self.answer_curious();
        self.firm_moved();
    }

    /// It came to nothing: what is old still counts.
    pub fn not_rewritten(&mut self) {
        self.base = None;
        if let Some(durable) = &mut self.durable {
            durable.journal.abandon();
        }
        self.rewrites.over += 1;
        self.end_rewrite(false);
        self.refuse_without_journal();
        self.firm_moved();
    }

    /// The id of the volume that the last write of the journal is for.
    pub fn journal_volume(&self) -> Option<u32> {
        self.durable.as_ref().map(|durable| durable.journal.volume())
    }
}

/// Steering, on lane 0.
impl Shard {
    /// Begins what is due; when it wants to be asked again.
    pub(in crate::shard) fn steer_rewrites(&mut self) -> Option<u64> {
        // What there is is known when it is loaded.
        if self.loading.is_some() {
            return None;
        }
        self.tell_size();
        self.rewrites.sleeps = self.may_sleep();
        if self.me.0 != 0 || self.draining {
            return None;
        }
        if self.rewrites.is_marking {
            return None;
        }
        if let Some(prepared) = self.rewrites.prepared.take() {
            self.rewrites.phase = Phase::Saying;
            self.begin_mark(Marking::Rewrite(prepared));
            return None;
        }
        let standing = self.durable.as_ref().map(|durable| durable.journal.standing());
        let is_open = standing.is_some_and(|standing| standing != Standing::Closed);
        if is_open && !self.config.appendonly() && self.rewrites.phase != Phase::Preparing {
            self.begin_mark(Marking::Close);
            return None;
        }
        match self.rewrites.phase {
            Phase::Idle => self.begin_if_due(standing == Some(Standing::Counts)),
            Phase::Preparing | Phase::Saying => Some(self.now.mono_ns + LOOK_NS),
        }
    }

    /// Whether nothing is to be steered until a command of the connection's or the keeper's word changes that.
    fn may_sleep(&self) -> bool {
        let rewrites = &self.rewrites;
        let is_idle = rewrites.phase == Phase::Idle && !rewrites.is_marking && rewrites.facts.asked == Asked::No;
        self.durable.is_none() && !self.config.appendonly() && is_idle
    }

    fn begin_if_due(&mut self, counts: bool) -> Option<u64> {
        let (wants, now_ns) = (self.config.appendonly(), self.now.mono_ns);
        let must = wants && (!counts || self.disk_failure.is_some());
        let (over, asked) = (self.rewrites.over, self.rewrites.facts.asked != Asked::No);
        let all_know = self.rewrites.sizes.iter().all(|(_, seen)| *seen == over);
        let is_due = all_know && (counts && self.has_grown() || asked || must);
        if !is_due {
            return None;
        }
        if !asked && now_ns < self.rewrites.not_before_ns {
            return must.then_some(self.rewrites.not_before_ns);
        }
        let follows = counts && self.disk_failure.is_none();
        self.rewrites.begin(Preparation { log: wants, follows }, self.now.unix_us / 1_000_000);
        Some(now_ns + LOOK_NS)
    }

    /// `auto-aof-rewrite-percentage`, `auto-aof-rewrite-min-size`.
    fn has_grown(&mut self) -> bool {
        let rewrites = &mut self.rewrites;
        let size = || rewrites.sizes.iter().map(|(bytes, _)| bytes).sum();
        rewrites.base_bytes.get_or_insert_with(size);
        let Some((size, growth)) = rewrites.growth() else { return false };
        rewrites.facts.base_bytes = rewrites.base_bytes.unwrap_or_default();
        let percentage = self.config.rewrite_percentage();
        percentage > 0 && size > self.config.rewrite_bytes_min() && growth >= percentage
    }

    fn tell_size(&mut self) {
        let (size, over) = (self.durable.as_ref().map_or(0, |durable| durable.journal.size()), self.rewrites.over);
        let (told, seen) = self.rewrites.told;
        if seen == over && size.abs_diff(told) < TELL_BYTES {
            return;
        }
        self.rewrites.told = (size, over);
        if self.me.0 == 0 {
            self.hear_size(self.me, size, over);
        } else {
            self.outboxes[0].messages.push(Message::Grown { bytes: size, rewrites: over });
        }
    }

    pub(in crate::shard) fn hear_size(&mut self, from: ShardId, bytes: u64, rewrites: u32) {
        self.rewrites.sizes[from.index()] = (bytes, rewrites);
    }

    fn begin_mark(&mut self, marking: Marking) {
        self.rewrites.is_marking = true;
        self.begin_marking(marking);
        self.settle();
    }

    /// Lane 0: all lanes have passed the mark.
    pub(in crate::shard) fn marked(&mut self) {
        self.rewrites.is_marking = false;
    }

    fn end_rewrite(&mut self, is_done: bool) {
        let now_ns = self.now.mono_ns;
        let rewrites = &mut self.rewrites;
        rewrites.sleeps = false;
        rewrites.end(self.now.unix_us / 1_000_000, is_done);
        if is_done {
            rewrites.base_bytes = None;
            rewrites.facts.count += 1;
        }
        let pause_ns = RETRY_NS.saturating_mul(1 << rewrites.facts.failures.min(6)).min(RETRY_NS_MAX);
        rewrites.not_before_ns = if is_done { 0 } else { now_ns + pause_ns };
    }
}

/// On each lane.
impl Shard {
    /// The serial point that all lanes pass together: nobody else holds anything.
    pub(in crate::shard) fn pass_mark(&mut self, marking: Marking) {
        self.collect_effects();
        self.rewrites.sleeps = false;
        self.rewrites.era += 1;
        let (lane, lanes) = (self.me.0, self.lanes.count());
        match marking {
            Marking::Rewrite(Prepared { base, log }) => {
                let mark = log.map(|log| self.turn_page(Origin { volume: log, lane, lanes }));
                self.store.begin_snapshot();
                let origin = Origin { volume: base, lane, lanes };
                let base = Base::new(origin, mark.unwrap_or(Position::MAX), self.rewrites.era);
                self.base = Some(Box::new(base));
                if log.is_some() {
                    let unasked = std::mem::take(&mut self.rewrites.unasked);
                    unasked.into_iter().for_each(|block| self.tell_block_when_firm(block));
                }
            }
            Marking::Close => {
                if let Some(durable) = &mut self.durable {
                    durable.journal.close();
                }
                self.store.effects.recording = false;
                self.disappoint_curious();
                self.mend(self.rewrites.era);
                self.firm_moved();
            }
        }
        self.judge_restriction();
    }

    fn turn_page(&mut self, origin: Origin) -> Position {
        self.store.effects.recording = true;
        let now_ns = self.now.mono_ns;
        if let Some(durable) = &mut self.durable {
            return durable.journal.turn_page(origin, now_ns);
        }
        let fsync = self.config.fsync();
        let keeping = Keeping { origin, start: Position(0), fsync, held_bytes: 0, rewrite: false };
        self.durable = Some(Box::new(Durable::new(keeping, self.lanes, self.me, Standing::Pending)));
        Position(0)
    }

    /// What failed before this era does not matter any more.
    fn mend(&mut self, era: u32) {
        self.rewrites.mended = era;
        if self.disk_failure.as_ref().is_some_and(|(failed, _)| *failed < era) {
            self.disk_failure = None;
        }
        self.judge_restriction();
    }

    /// A journal is wanted and does not count, nor can it be begun: writers are told, as when one fails, until a rewrite has made one.
    fn refuse_without_journal(&mut self) {
        self.judge_restriction();
        let counts = self.durable.as_ref().is_some_and(|durable| durable.journal.standing() == Standing::Counts);
        if counts || !self.config.appendonly() || self.disk_failure.is_some() {
            return;
        }
        let era = self.era();
        for lane in self.lanes.all().filter(|lane| *lane != self.me) {
            self.outboxes[lane.index()].messages.push(Message::DiskFailed { era, why: NOT_BEGUN.into() });
        }
        self.disk_failed(era, NOT_BEGUN.into());
    }

    /// Whether a journal is wanted of which nothing is promised.
    pub(in crate::shard) fn lacks_journal(&self) -> bool {
        self.config.appendonly() && !self.durable.as_ref().is_some_and(|durable| durable.is_promised())
    }

    /// What admits requests has to look closer at some.
    pub(in crate::shard) fn judge_restriction(&mut self) {
        self.is_restricted = self.loading.is_some() || self.disk_failure.is_some() || self.lacks_journal();
    }

    /// Whether the disk has failed, and no rewrite has mended that.
    pub fn is_journal_broken(&self) -> bool {
        self.disk_failure.is_some()
    }

    /// The disk has failed: a rewrite mends that, when the disk has had time to do so.
    pub(in crate::shard) fn mend_later(&mut self) {
        self.rewrites.not_before_ns = self.rewrites.not_before_ns.max(self.now.mono_ns + RETRY_NS);
    }

    /// How many marks this lane has passed: what a failure of the disk is counted by.
    pub(in crate::shard) fn era(&self) -> u32 {
        self.rewrites.era
    }

    pub(in crate::shard) fn is_mended(&self, failed: u32) -> bool {
        failed < self.rewrites.mended
    }

    /// Says a slice of the base; when the next one is due.
    pub(in crate::shard) fn say_some(&mut self) -> Option<u64> {
        if self.base.is_none() { None } else { self.say_slice() }
    }

    #[cold]
    fn say_slice(&mut self) -> Option<u64> {
        let (now_ns, is_full) = (self.now.mono_ns, self.turn_is_full());
        // Looked at whether or not there is a slice: writers go on while the keeper has its piece.
        let kept_bytes = self.store.kept_bytes();
        self.kept_bytes = kept_bytes;
        let base = self.base.as_mut()?;
        if base.is_said || base.tail.backlog() >= limits::BASE_PIECE_BYTES {
            return Some(now_ns + LOOK_NS);
        }
        let starved = now_ns.saturating_sub(base.last_ns) > STARVED_NS;
        if now_ns < base.not_before_ns || is_full && !starved {
            return Some(base.not_before_ns.max(now_ns + 1));
        }
        let began_ns = (self.stopwatch)();
        let mut records = Records::default();
        base.is_said = self.store.step_snapshot(limits::BASE_UNITS_PER_SLICE, &mut records) == Progress::Done;
        base.tail.append(&records);
        let took_ns = (self.stopwatch)().saturating_sub(began_ns);
        let turn_ns = began_ns.saturating_sub(now_ns);
        let is_pressed = kept_bytes > limits::KEPT_BYTES_MAX / 2;
        let pause_ns = if is_pressed { 0 } else { took_ns * PAUSE_SHARE + turn_ns * PAUSE_SHARE_OF_TURN };
        base.not_before_ns = now_ns + turn_ns + took_ns + pause_ns;
        base.last_ns = now_ns;
        let next_ns = base.not_before_ns;
        self.stalls.note("rewriting the journal", took_ns);
        self.kept_bytes = self.store.kept_bytes();
        if kept_bytes > limits::KEPT_BYTES_MAX && self.kept_bytes <= limits::KEPT_BYTES_MAX {
            self.feed_starved();
        }
        Some(next_ns)
    }
}
