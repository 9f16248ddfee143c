//! The journal of one lane, between the commands and the disk.

use std::collections::VecDeque;

use crate::admin::journal::JournalFacts;
use crate::base::limits;
use crate::config::Fsync;
use crate::persist::Position;
use crate::persist::block::Origin;
use crate::persist::cut::Share;
use crate::persist::record::{self, Records, Transaction};
use crate::persist::tail::{Known, Tail};
use crate::wire::output::Shared;

/// What of a write is to be on the disk when it is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sync {
    No,
    /// The write itself: all before it is there already.
    This,
    /// Whatever was written so far.
    All,
}

/// With `Fsync::EverySecond` so often.
const SYNC_EVERY_NS: u64 = 1_000_000_000;

/// What is not urgent waits so long, or until there is a block of it: a write costs as much as some dozen requests.
const GATHER_NS: u64 = 2_000_000;
const GATHER_BYTES: usize = 64 << 10;

/// A busy lane gathers what is to be synced for so long: each sync costs the processor as much as ten requests, and on a busy lane those who
/// wait for it come in by the dozen. A lane with nothing else to do syncs at once.
const GATHER_SYNC_NS: u64 = 400_000;

/// Whether the lane has anything else to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::shard) enum Pace {
    Idle,
    Busy,
}

/// What the stream is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::shard) enum Standing {
    /// A recovery finds what is written.
    Counts,
    /// It will, when the rewrite under way is over: until then nobody waits for it.
    Pending,
    /// A rewrite that would have made it count came to nothing: nothing is written.
    Void,
    /// The disk failed: nothing more is written.
    Failed,
    /// `appendonly no`: what is there is brought to the disk, nothing more comes.
    Closed,
}

/// A write that the disk has not answered.
#[derive(Clone, Copy, Debug)]
struct InFlight {
    until: Position,
    /// The last place in it behind which no record is cut in two.
    whole: Position,
    sync: Sync,
    since_ns: u64,
}

/// ```text
///  turn_page   tail [..........end]  next [...                     the old volume is brought to the disk whole, then
///              tail [...                                           the next one is written to
/// ```
#[derive(Debug)]
pub(in crate::shard) struct Journal {
    tail: Tail,
    /// The stream of the volume that comes next, while the one before is not whole on the disk.
    next: Option<Tail>,
    standing: Standing,
    /// The stream before this one was not brought to its end: until a base says what it lacks, nothing may stand behind it.
    holds_back: bool,
    /// Long words of volumes that were given up.
    spent: Vec<Shared>,
    /// Bytes of files before this stream, and where it began.
    held_bytes: u64,
    begun: Position,
    fsync: Fsync,
    in_flight: Option<InFlight>,
    synced: Position,
    /// As far as records are synced that were appended together: what counts together is never on the disk in part up to there.
    whole: Position,
    /// Where appends end that are not in any write yet, and where the last ended that is.
    ends: VecDeque<Position>,
    written_whole: Position,
    /// When the sync that made `synced` what it is was asked for, and when the oldest bytes that are not taken came.
    synced_ns: u64,
    pending_since_ns: u64,
    /// Commands over several lanes that are not known to be durable on all of them, and how many of them the notary knows.
    shares: VecDeque<Share>,
    told: usize,
    writes: u64,
    syncs: u64,
}

impl Journal {
    /// A stream that goes on at `start`; all before is on the disk.
    pub(in crate::shard) fn new(origin: Origin, start: Position, fsync: Fsync, standing: Standing) -> Self {
        Self {
            tail: Tail::new(origin, start),
            next: None,
            standing,
            holds_back: false,
            spent: Vec::new(),
            held_bytes: 0,
            begun: start,
            fsync,
            in_flight: None,
            synced: start,
            whole: start,
            ends: VecDeque::new(),
            written_whole: start,
            synced_ns: 0,
            pending_since_ns: 0,
            shares: VecDeque::new(),
            told: 0,
            writes: 0,
            syncs: 0,
        }
    }

    pub(in crate::shard) fn fsync(&self) -> Fsync {
        self.fsync
    }

    pub(in crate::shard) fn set_fsync(&mut self, fsync: Fsync) {
        self.fsync = fsync;
    }

    /// Where the next record will begin.
    #[inline]
    pub(in crate::shard) fn end(&self) -> Position {
        self.next.as_ref().unwrap_or(&self.tail).end()
    }

    pub(in crate::shard) fn standing(&self) -> Standing {
        self.standing
    }

    /// The volume that the last write was for.
    pub(in crate::shard) fn volume(&self) -> u32 {
        self.tail.origin().volume
    }

    /// Bytes of files that hold what is before this stream.
    pub(in crate::shard) fn hold(&mut self, bytes: u64) {
        self.held_bytes = bytes;
    }

    /// All bytes of files.
    pub(in crate::shard) fn size(&self) -> u64 {
        self.held_bytes + (self.end().0 - self.begun.0)
    }

    /// The stream goes on in a new volume from here on, where that ends is returned. The old one ends, unless it cannot be written any more; then what it
    /// lacks is in the rewrite.
    pub(in crate::shard) fn turn_page(&mut self, origin: Origin, now_ns: u64) -> Position {
        if self.standing == Standing::Counts {
            let mut records = Records::default();
            record::put_end(&mut records);
            self.append(&records, now_ns);
            let at = self.end();
            self.give_up_old_volume();
            self.next = Some(Tail::new(origin, at));
            return at;
        }
        let at = self.end();
        let old = std::mem::replace(&mut self.tail, Tail::new(origin, at));
        let next = self.next.take().into_iter().flat_map(Tail::into_shared);
        self.spent.extend(old.into_shared().chain(next));
        (self.synced, self.whole, self.written_whole) = (at, at, at);
        self.ends.clear();
        self.shares.clear();
        self.told = 0;
        self.holds_back = self.standing == Standing::Failed;
        self.standing = Standing::Pending;
        at
    }

    /// A rewrite is over: all before `mark` is in its base, which takes so many bytes.
    pub(in crate::shard) fn commit(&mut self, mark: Position, base_bytes: u64) {
        if self.standing == Standing::Pending {
            self.standing = Standing::Counts;
        }
        self.holds_back = false;
        self.give_up_old_volume();
        (self.synced, self.whole) = (self.synced.max(mark), self.whole.max(mark));
        self.settle_before(mark);
        (self.held_bytes, self.begun) = (base_bytes, mark);
    }

    /// A rewrite came to nothing.
    pub(in crate::shard) fn abandon(&mut self) {
        if self.standing == Standing::Pending {
            self.standing = Standing::Void;
        }
    }

    /// Nothing more comes; what is there is brought to the disk.
    pub(in crate::shard) fn close(&mut self) {
        self.standing = match self.standing {
            Standing::Counts => Standing::Closed,
            Standing::Pending => Standing::Void,
            other => other,
        };
    }

    /// Nothing needs the volume before the next one any more.
    fn give_up_old_volume(&mut self) {
        if let Some(next) = self.next.take() {
            let old = std::mem::replace(&mut self.tail, next);
            self.spent.extend(old.into_shared());
        }
    }

    /// Whether what is appended is kept.
    fn takes_records(&self) -> bool {
        matches!(self.standing, Standing::Counts | Standing::Pending)
    }

    fn can_write(&self) -> bool {
        !self.holds_back && !matches!(self.standing, Standing::Failed | Standing::Void)
    }

    /// Up to here nothing can be lost.
    #[inline]
    pub(in crate::shard) fn firm(&self) -> Position {
        self.shares.front().map_or(self.whole, |share| share.start.min(self.whole))
    }

    pub(in crate::shard) fn has_failed(&self) -> bool {
        self.standing == Standing::Failed
    }

    /// Appends records of this lane alone.
    #[inline]
    pub(in crate::shard) fn append(&mut self, records: &Records, now_ns: u64) {
        if !self.takes_records() {
            return;
        }
        if self.tail.is_empty() {
            self.pending_since_ns = now_ns;
        }
        let tail = self.next.as_mut().unwrap_or(&mut self.tail);
        tail.append(records);
        self.ends.push_back(tail.end());
    }

    /// Appends this lane's part of a command over several.
    pub(in crate::shard) fn append_share(&mut self, of: Transaction, lanes: &[u16], effects: &Records, now_ns: u64) {
        if !self.takes_records() {
            return;
        }
        let start = self.end();
        let mut records = Records::default();
        record::put_share(&mut records, of, lanes.iter().copied(), effects);
        self.append(&records, now_ns);
        self.shares.push_back(Share { of, start, end: self.end(), lanes: lanes.into() });
    }

    /// More waits to be written than may: whoever would add to it waits.
    #[inline]
    pub(in crate::shard) fn is_congested(&self) -> bool {
        self.can_write() && !self.tail.is_empty() && self.backlog() > limits::JOURNAL_BACKLOG_BYTES_MAX
    }

    fn backlog(&self) -> usize {
        self.tail.backlog() + self.next.as_ref().map_or(0, Tail::backlog)
    }

    /// The next write, if it is time for one: its bytes are appended to `out`, possibly none when only a sync is due. `wanted`: up to where
    /// somebody waits for a sync.
    pub(in crate::shard) fn next_write(
        &mut self,
        now_ns: u64,
        pace: Pace,
        wanted: Position,
        out: &mut Vec<u8>,
    ) -> Option<Sync> {
        if self.in_flight.is_some() || !self.can_write() {
            return None;
        }
        if self.next.is_some() && self.tail.is_empty() && self.synced >= self.tail.end() {
            self.give_up_old_volume();
        }
        let gathered = pace == Pace::Idle || now_ns >= self.pending_since_ns + GATHER_SYNC_NS;
        let syncs = gathered && self.sync_is_due(now_ns, wanted);
        if !syncs && !self.write_is_due(now_ns) {
            return None;
        }
        let sync = match syncs {
            false => Sync::No,
            true if self.tail.taken() == self.synced => Sync::This,
            true => Sync::All,
        };
        self.tail.take(Known { synced: self.synced, firm: self.firm() }, limits::JOURNAL_WRITE_BYTES_MAX, out);
        self.pending_since_ns = now_ns;
        let until = self.tail.taken();
        let mut whole = self.written_whole;
        while let Some(end) = self.ends.front().copied().filter(|end| *end <= until) {
            whole = end;
            self.ends.pop_front();
        }
        self.written_whole = whole;
        self.in_flight = Some(InFlight { until, whole, sync, since_ns: now_ns });
        Some(sync)
    }

    /// Long words that were written since the last call: this may be the last to hold them.
    pub(in crate::shard) fn take_spent(&mut self) -> impl ExactSizeIterator<Item = Shared> + '_ {
        self.spent.extend(self.tail.take_spent());
        self.spent.drain(..)
    }

    fn sync_is_due(&self, now_ns: u64, wanted: Position) -> bool {
        let lacks = self.end() > self.synced;
        if self.is_ending() {
            return lacks;
        }
        let due = match self.fsync {
            Fsync::Always => lacks,
            Fsync::EverySecond => lacks && now_ns >= self.synced_ns + SYNC_EVERY_NS,
            Fsync::Never => false,
        };
        due || lacks && (wanted > self.whole || self.has_many_unsynced_shares())
    }

    /// A volume is to be whole on the disk soon.
    fn is_ending(&self) -> bool {
        self.next.is_some() || self.standing == Standing::Closed
    }

    fn write_is_due(&self, now_ns: u64) -> bool {
        let is_old = now_ns >= self.pending_since_ns + GATHER_NS;
        !self.tail.is_empty() && (is_old || self.tail.backlog() >= GATHER_BYTES)
    }

    /// When [`Self::next_write`] should be asked again at the latest, if nothing else happens.
    pub(in crate::shard) fn deadline_ns(&self, wanted: Position) -> Option<u64> {
        if self.in_flight.is_some() || !self.can_write() {
            return None;
        }
        // At once, to see whether there is anything else to do.
        let lacks = self.end() > self.synced;
        let soon = self.fsync == Fsync::Always || self.is_ending();
        if lacks && (wanted > self.whole || soon || self.has_many_unsynced_shares()) {
            return Some(self.pending_since_ns);
        }
        let write = (!self.tail.is_empty()).then_some(self.pending_since_ns + GATHER_NS);
        let syncs = self.fsync == Fsync::EverySecond && lacks;
        let sync = syncs.then_some(self.synced_ns + SYNC_EVERY_NS);
        write.into_iter().chain(sync).min()
    }

    /// The write in flight, and its sync if it had one, is done.
    pub(in crate::shard) fn done(&mut self) {
        let InFlight { until, whole, sync, since_ns } = self.in_flight.take().expect("a write is done once");
        self.writes += 1;
        self.syncs += u64::from(sync != Sync::No);
        if sync != Sync::No {
            (self.synced, self.whole) = (self.synced.max(until), self.whole.max(whole));
            self.synced_ns = since_ns;
        }
    }

    /// The write in flight failed. What is on the disk is unknown, so nothing may follow it.
    pub(in crate::shard) fn fail(&mut self) {
        self.in_flight = None;
        self.standing = Standing::Failed;
    }

    /// Shares that have been synced since the last call, for the notary.
    pub(in crate::shard) fn take_synced_shares(&mut self) -> Vec<Share> {
        let synced = self.synced;
        let news = self.shares.range(self.told..).take_while(|share| share.end <= synced);
        let news: Vec<Share> = news.take(limits::SHARES_AT_ONCE).cloned().collect();
        self.told += news.len();
        news
    }

    /// Whether there are more of them.
    pub(in crate::shard) fn has_synced_shares(&self) -> bool {
        self.shares.get(self.told).is_some_and(|share| share.end <= self.synced)
    }

    /// The first command over several lanes before this place that is not known to be durable on all of them.
    pub(in crate::shard) fn share_before(&self, place: Position) -> Option<Position> {
        self.shares.front().map(|share| share.start).filter(|start| *start < place)
    }

    /// So many commands over several lanes are not synced that they are not to become more.
    fn has_many_unsynced_shares(&self) -> bool {
        self.shares.get(self.told + limits::UNSYNCED_SHARES_MAX).is_some_and(|share| share.end > self.synced)
    }

    /// What is before `mark` is in a base: whether the notary knows its shares does not matter any more.
    fn settle_before(&mut self, mark: Position) {
        while self.shares.front().is_some_and(|share| share.end <= mark) {
            self.shares.pop_front();
            self.told = self.told.saturating_sub(1);
        }
    }

    /// Shares up to here are durable on all their lanes.
    pub(in crate::shard) fn settle(&mut self, until: Position) {
        while self.shares.front().is_some_and(|share| share.end <= until) {
            assert!(self.told > 0, "only what was told is settled");
            self.shares.pop_front();
            self.told -= 1;
        }
    }

    pub(in crate::shard) fn facts(&self) -> JournalFacts {
        JournalFacts {
            bytes: self.size(),
            waiting_bytes: self.backlog() as u64,
            unsure_bytes: self.end().0 - self.firm().0,
            writes: self.writes,
            syncs: self.syncs,
            failed: self.has_failed(),
            ..JournalFacts::default()
        }
    }

    /// Nothing is left to be written or synced.
    pub(in crate::shard) fn is_quiet(&self) -> bool {
        let is_written = self.tail.is_empty() && self.next.is_none();
        !self.can_write() || self.in_flight.is_none() && is_written && self.firm() == self.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORIGIN: Origin = Origin { volume: 9, lane: 0, lanes: 2 };
    const SECOND: u64 = 1_000_000_000;
    const NOBODY: Position = Position(0);

    fn bytes(bytes: &[u8]) -> Records {
        Records { bytes: bytes.to_vec(), ..Records::default() }
    }

    fn write(journal: &mut Journal, now_ns: u64, wanted: Position) -> Option<(Sync, usize)> {
        let mut bytes = Vec::new();
        journal.next_write(now_ns, Pace::Idle, wanted, &mut bytes).map(|sync| (sync, bytes.len()))
    }

    #[test]
    fn always_syncs_what_came_while_the_last_was_under_way_together() {
        let mut journal = Journal::new(ORIGIN, Position(0), Fsync::Always, Standing::Counts);
        assert_eq!(write(&mut journal, 0, NOBODY), None);
        journal.append(&bytes(b"first"), 0);
        assert_eq!(write(&mut journal, 0, NOBODY), Some((Sync::This, 48 + 5)));
        journal.append(&bytes(b"second"), 1);
        journal.append(&bytes(b"third"), 2);
        assert_eq!(write(&mut journal, 2, NOBODY), None, "one at a time");
        assert_eq!(journal.firm(), Position(0));
        journal.done();
        assert_eq!(journal.firm(), Position(5));
        assert_eq!(write(&mut journal, 3, NOBODY), Some((Sync::This, 48 + 11)));
        journal.done();
        assert!(journal.is_quiet());
    }

    #[test]
    fn a_busy_lane_gathers_what_is_to_be_synced() {
        let mut journal = Journal::new(ORIGIN, Position(0), Fsync::Always, Standing::Counts);
        journal.append(&bytes(b"first"), SECOND);
        let mut out = Vec::new();
        let mut busy = |journal: &mut Journal, now_ns| journal.next_write(now_ns, Pace::Busy, NOBODY, &mut out);
        assert_eq!(busy(&mut journal, SECOND), None);
        assert_eq!(journal.deadline_ns(NOBODY), Some(SECOND), "asked again at once, lest it has become idle");
        assert_eq!(busy(&mut journal, SECOND + GATHER_SYNC_NS), Some(Sync::This));
    }

    #[test]
    fn every_second_writes_soon_and_syncs_each_second_or_when_somebody_waits() {
        let mut journal = Journal::new(ORIGIN, Position(0), Fsync::EverySecond, Standing::Counts);
        journal.append(&bytes(b"first"), 2 * SECOND);
        assert_eq!(write(&mut journal, 2 * SECOND, NOBODY), Some((Sync::This, 53)), "the last one is long ago");
        journal.done();
        journal.append(&bytes(b"second"), 2 * SECOND + 1);
        assert_eq!(write(&mut journal, 2 * SECOND + 1, NOBODY), None);
        assert_eq!(journal.deadline_ns(NOBODY), Some(2 * SECOND + 1 + GATHER_NS));
        assert_eq!(write(&mut journal, 2 * SECOND + 1 + GATHER_NS, NOBODY), Some((Sync::No, 54)));
        journal.done();
        assert_eq!((journal.firm(), journal.deadline_ns(NOBODY)), (Position(5), Some(3 * SECOND)));
        assert_eq!(write(&mut journal, 3 * SECOND - 1, NOBODY), None);
        assert_eq!(write(&mut journal, 3 * SECOND - 1, Position(11)), Some((Sync::All, 0)));
        journal.done();
        assert_eq!((journal.firm(), journal.deadline_ns(NOBODY)), (Position(11), None));
    }

    #[test]
    fn what_was_appended_together_is_firm_together() {
        let mut journal = Journal::new(ORIGIN, Position(0), Fsync::Always, Standing::Counts);
        journal.append(&bytes(b"first"), 0);
        let long = vec![b'x'; limits::JOURNAL_WRITE_BYTES_MAX];
        journal.append(&bytes(&long), 0);
        write(&mut journal, 0, NOBODY).expect("something to write");
        journal.done();
        assert!(journal.synced > Position(5) && journal.synced < journal.end(), "{:?}", journal.synced);
        assert_eq!(journal.firm(), Position(5), "a part of the second is on the disk, which counts for nothing");
        write(&mut journal, 0, NOBODY).expect("the rest");
        journal.done();
        assert_eq!(journal.firm(), journal.end());
    }

    #[test]
    fn a_share_holds_up_what_is_firm_until_it_is_settled() {
        let mut journal = Journal::new(ORIGIN, Position(0), Fsync::Always, Standing::Counts);
        journal.append(&bytes(b"before"), 0);
        journal.append_share(Transaction { home: 1, number: 5 }, &[0, 1], &Records::default(), 0);
        let (end, before) = (journal.end(), Position(6));
        assert!(journal.take_synced_shares().is_empty());
        write(&mut journal, 0, NOBODY).expect("something to write");
        journal.done();
        assert_eq!((journal.synced, journal.firm()), (end, before));
        assert_eq!(journal.take_synced_shares().len(), 1);
        assert!(journal.take_synced_shares().is_empty(), "told once");
        journal.settle(end);
        assert_eq!(journal.firm(), end);
    }

    const NEXT: Origin = Origin { volume: 10, lane: 0, lanes: 2 };

    #[test]
    fn the_next_volume_is_begun_when_the_one_before_is_whole_on_the_disk() {
        let mut journal = Journal::new(ORIGIN, Position(0), Fsync::Never, Standing::Counts);
        journal.append(&bytes(b"first"), 0);
        assert_eq!(write(&mut journal, GATHER_NS, NOBODY), Some((Sync::No, 53)));
        journal.append(&bytes(b"second"), 0);
        let mark = journal.turn_page(NEXT, 0);
        assert_eq!(mark, Position(5 + 6 + 8));
        journal.append(&bytes(b"third"), 0);
        journal.done();
        assert_eq!((write(&mut journal, 0, NOBODY), journal.volume()), (Some((Sync::All, 48 + 14)), 9));
        assert_eq!(write(&mut journal, GATHER_NS, NOBODY), None);
        journal.done();
        assert_eq!((write(&mut journal, GATHER_NS, NOBODY), journal.volume()), (Some((Sync::No, 53)), 10));
        journal.done();
        assert_eq!((journal.firm(), journal.end()), (mark, mark.after(5)));
        journal.commit(mark, 1000);
        assert_eq!(journal.size(), 1005);
    }

    #[test]
    fn commands_over_lanes_are_synced_now_and_then_though_nobody_wants_that() {
        let mut journal = Journal::new(ORIGIN, Position(0), Fsync::Never, Standing::Counts);
        let (mut now_ns, mut open_max) = (0, 0);
        for number in 0..5 * limits::UNSYNCED_SHARES_MAX as u64 {
            now_ns += 2 * GATHER_NS;
            journal.append_share(Transaction { home: 0, number }, &[0, 1], &Records::default(), now_ns);
            let sync = write(&mut journal, now_ns + GATHER_NS, NOBODY).expect("it is time for a write").0;
            journal.done();
            let mut told = 0;
            while journal.has_synced_shares() {
                told += journal.take_synced_shares().len();
            }
            assert!(sync == Sync::No && told == 0 || told == limits::UNSYNCED_SHARES_MAX + 1, "{sync:?} {told}");
            journal.settle(if told == 0 { NOBODY } else { journal.end() });
            open_max = open_max.max(journal.shares.len());
        }
        assert_eq!((open_max, journal.facts().syncs), (limits::UNSYNCED_SHARES_MAX, 4));
    }

    #[test]
    fn a_base_is_as_good_as_the_volume_before_it() {
        let mut journal = Journal::new(ORIGIN, Position(0), Fsync::Always, Standing::Counts);
        journal.append(&bytes(b"first"), 0);
        write(&mut journal, 0, NOBODY).expect("something to write");
        journal.append_share(Transaction { home: 1, number: 5 }, &[0, 1], &Records::default(), 0);
        let mark = journal.turn_page(NEXT, 0);
        journal.append(&bytes(b"second"), 0);
        journal.commit(mark, 0);
        assert_eq!((journal.firm(), journal.volume()), (mark, 10));
        journal.done();
        assert_eq!(journal.firm(), mark, "a late sync of the old volume takes nothing back");
        assert_eq!(write(&mut journal, 0, NOBODY), Some((Sync::This, 54)));
    }

    #[test]
    fn what_failed_counts_again_from_a_rewrite_on() {
        let mut journal = Journal::new(ORIGIN, Position(0), Fsync::Always, Standing::Counts);
        journal.append(&bytes(b"first"), 0);
        write(&mut journal, 0, NOBODY).expect("something to write");
        journal.fail();
        journal.append(&bytes(b"lost"), 0);
        let mark = journal.turn_page(NEXT, 0);
        assert_eq!((mark, journal.standing(), journal.volume()), (Position(5), Standing::Pending, 10));
        journal.append(&bytes(b"second"), 0);
        assert_eq!(write(&mut journal, SECOND, NOBODY), None, "a recovery would find it behind what is missing");
        assert!(journal.is_quiet());
        journal.abandon();
        journal.append(&bytes(b"lost"), 0);
        assert_eq!((write(&mut journal, SECOND, NOBODY), journal.standing()), (None, Standing::Void));
        let mark = journal.turn_page(ORIGIN, 0);
        journal.append(&bytes(b"third"), 0);
        journal.commit(mark, 0);
        assert_eq!((journal.firm(), journal.standing()), (mark, Standing::Counts));
        assert_eq!(write(&mut journal, 0, NOBODY), Some((Sync::This, 53)));
    }

    #[test]
    fn a_journal_that_is_closed_is_brought_to_the_disk() {
        let mut journal = Journal::new(ORIGIN, Position(0), Fsync::Never, Standing::Counts);
        journal.append(&bytes(b"first"), 0);
        journal.close();
        journal.append(&bytes(b"not kept"), 0);
        assert_eq!(write(&mut journal, 0, NOBODY), Some((Sync::This, 53)));
        journal.done();
        assert!(journal.is_quiet());
    }

    #[test]
    fn nothing_is_written_behind_a_write_that_failed() {
        let mut journal = Journal::new(ORIGIN, Position(0), Fsync::Always, Standing::Counts);
        journal.append(&bytes(b"first"), 0);
        write(&mut journal, 0, NOBODY).expect("something to write");
        journal.append(&bytes(b"second"), 0);
        journal.fail();
        assert_eq!(write(&mut journal, SECOND, Position(100)), None);
        assert_eq!((journal.firm(), journal.deadline_ns(NOBODY)), (Position(0), None));
        journal.append(&bytes(b"third"), 0);
        assert_eq!(journal.facts().waiting_bytes, 6, "nothing is kept of what comes then");
        assert!(journal.is_quiet() && journal.has_failed() && !journal.is_congested());
    }
}
