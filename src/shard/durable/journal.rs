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

/// A write that the disk has not answered.
#[derive(Clone, Copy, Debug)]
struct InFlight {
    until: Position,
    sync: Sync,
    since_ns: u64,
}

#[derive(Debug)]
pub(in crate::shard) struct Journal {
    tail: Tail,
    fsync: Fsync,
    in_flight: Option<InFlight>,
    synced: Position,
    /// When the sync that made `synced` what it is was asked for, and when the oldest bytes that are not taken came.
    synced_ns: u64,
    pending_since_ns: u64,
    /// Commands over several lanes that are not known to be durable on all of them, and how many of them the notary knows.
    shares: VecDeque<Share>,
    told: usize,
    /// The disk failed: nothing more is written.
    failed: bool,
    writes: u64,
    syncs: u64,
}

impl Journal {
    /// A stream that goes on at `start`; all before is on the disk.
    pub(in crate::shard) fn new(origin: Origin, start: Position, fsync: Fsync) -> Self {
        Self {
            tail: Tail::new(origin, start),
            fsync,
            in_flight: None,
            synced: start,
            synced_ns: 0,
            pending_since_ns: 0,
            shares: VecDeque::new(),
            told: 0,
            failed: false,
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
        self.tail.end()
    }

    /// Up to here nothing can be lost.
    #[inline]
    pub(in crate::shard) fn firm(&self) -> Position {
        self.shares.front().map_or(self.synced, |share| share.start.min(self.synced))
    }

    pub(in crate::shard) fn has_failed(&self) -> bool {
        self.failed
    }

    /// Appends records of this lane alone.
    #[inline]
    pub(in crate::shard) fn append(&mut self, records: &Records, now_ns: u64) {
        if self.tail.is_empty() {
            self.pending_since_ns = now_ns;
        }
        self.tail.append(records);
    }

    /// Appends this lane's part of a command over several.
    pub(in crate::shard) fn append_share(&mut self, of: Transaction, lanes: &[u16], effects: &Records, now_ns: u64) {
        let start = self.end();
        let mut records = Records::default();
        record::put_share(&mut records, of, lanes.iter().copied(), effects);
        self.append(&records, now_ns);
        self.shares.push_back(Share { of, start, end: self.end(), lanes: lanes.into() });
    }

    /// More waits to be written than may: whoever would add to it waits.
    #[inline]
    pub(in crate::shard) fn is_congested(&self) -> bool {
        !self.tail.is_empty() && self.tail.backlog() > limits::JOURNAL_BACKLOG_BYTES_MAX
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
        if self.in_flight.is_some() || self.failed {
            return None;
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
        self.in_flight = Some(InFlight { until: self.tail.taken(), sync, since_ns: now_ns });
        Some(sync)
    }

    /// Long words that were written since the last call: this may be the last to hold them.
    pub(in crate::shard) fn take_spent(&mut self) -> impl ExactSizeIterator<Item = Shared> + '_ {
        self.tail.take_spent()
    }

    fn sync_is_due(&self, now_ns: u64, wanted: Position) -> bool {
        let lacks = self.end() > self.synced;
        let due = match self.fsync {
            Fsync::Always => lacks,
            Fsync::EverySecond => lacks && now_ns >= self.synced_ns + SYNC_EVERY_NS,
            Fsync::Never => false,
        };
        due || wanted > self.synced
    }

    fn write_is_due(&self, now_ns: u64) -> bool {
        let is_old = now_ns >= self.pending_since_ns + GATHER_NS;
        !self.tail.is_empty() && (is_old || self.tail.backlog() >= GATHER_BYTES)
    }

    /// When [`Self::next_write`] should be asked again at the latest, if nothing else happens.
    pub(in crate::shard) fn deadline_ns(&self, wanted: Position) -> Option<u64> {
        if self.in_flight.is_some() || self.failed {
            return None;
        }
        // At once, to see whether there is anything else to do.
        if wanted > self.synced || self.fsync == Fsync::Always && self.end() > self.synced {
            return Some(self.pending_since_ns);
        }
        let write = (!self.tail.is_empty()).then_some(self.pending_since_ns + GATHER_NS);
        let lacks = self.fsync == Fsync::EverySecond && self.end() > self.synced;
        let sync = lacks.then_some(self.synced_ns + SYNC_EVERY_NS);
        write.into_iter().chain(sync).min()
    }

    /// The write in flight, and its sync if it had one, is done.
    pub(in crate::shard) fn done(&mut self) {
        let InFlight { until, sync, since_ns } = self.in_flight.take().expect("a write is done once");
        self.writes += 1;
        self.syncs += u64::from(sync != Sync::No);
        if sync != Sync::No {
            self.synced = until;
            self.synced_ns = since_ns;
        }
    }

    /// The write in flight failed. What is on the disk is unknown, so nothing may follow it.
    pub(in crate::shard) fn fail(&mut self) {
        self.in_flight = None;
        self.failed = true;
    }

    /// Shares that have been synced since the last call, for the notary.
    pub(in crate::shard) fn take_synced_shares(&mut self) -> Vec<Share> {
        let synced = self.synced;
        let news: Vec<Share> =
            self.shares.iter().skip(self.told).take_while(|share| share.end <= synced).cloned().collect();
        self.told += news.len();
        news
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
            bytes: self.end().0,
            waiting_bytes: self.tail.backlog() as u64,
            unsure_bytes: self.end().0 - self.firm().0,
            writes: self.writes,
            syncs: self.syncs,
            failed: self.failed,
            loading: None,
        }
    }

    /// Nothing is left to be written or synced.
    pub(in crate::shard) fn is_quiet(&self) -> bool {
        self.failed || self.in_flight.is_none() && self.tail.is_empty() && self.firm() == self.end()
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
        let mut journal = Journal::new(ORIGIN, Position(0), Fsync::Always);
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
        let mut journal = Journal::new(ORIGIN, Position(0), Fsync::Always);
        journal.append(&bytes(b"first"), SECOND);
        let mut out = Vec::new();
        let mut busy = |journal: &mut Journal, now_ns| journal.next_write(now_ns, Pace::Busy, NOBODY, &mut out);
        assert_eq!(busy(&mut journal, SECOND), None);
        assert_eq!(journal.deadline_ns(NOBODY), Some(SECOND), "asked again at once, lest it has become idle");
        assert_eq!(busy(&mut journal, SECOND + GATHER_SYNC_NS), Some(Sync::This));
    }

    #[test]
    fn every_second_writes_soon_and_syncs_each_second_or_when_somebody_waits() {
        let mut journal = Journal::new(ORIGIN, Position(0), Fsync::EverySecond);
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
    fn a_share_holds_up_what_is_firm_until_it_is_settled() {
        let mut journal = Journal::new(ORIGIN, Position(0), Fsync::Always);
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

    #[test]
    fn nothing_is_written_behind_a_write_that_failed() {
        let mut journal = Journal::new(ORIGIN, Position(0), Fsync::Always);
        journal.append(&bytes(b"first"), 0);
        write(&mut journal, 0, NOBODY).expect("something to write");
        journal.append(&bytes(b"second"), 0);
        journal.fail();
        assert_eq!(write(&mut journal, SECOND, Position(100)), None);
        assert_eq!((journal.firm(), journal.deadline_ns(NOBODY)), (Position(0), None));
        assert!(journal.is_quiet() && journal.has_failed());
    }
}
