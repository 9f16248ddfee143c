//! What of this lane is on its way to the disk, and who waits for it. Decisions only: the driver writes and syncs.
//!
//! ```text
//!  records --append--> tail --next_write--> [ in flight ] --done--> synced      this lane's stream is on the disk so far
//!                                                                    | shares of commands over several lanes, told to the notary
//!                                                                    v
//!                                                                  firm         and nothing before here can be undone by a
//!                                                                     |         recovery, whatever happens to other lanes
//!                                     replies that show what is not firm: withheld until it is
//! ```
//!
//! One write is in flight at a time; what arrives meanwhile goes in the next (group commit). `journal.rs` is that, `notary.rs` what lane 0 does
//! for all, `written.rs` knows which keys were written last where, `withheld.rs` who waits, `replay.rs` repeats what was written, `rewrite.rs`
//! makes it short.

pub(super) mod journal;
pub(super) mod notary;
pub(super) mod replay;
pub(super) mod rewrite;
pub(super) mod waitaof;
pub(super) mod withheld;
pub(super) mod written;

use self::journal::{Journal, Pace, Standing, Sync};
use self::notary::Notary;
use self::withheld::Withheld;
use self::written::Written;
use super::locks::{ClaimId, Mode, Scope};
use super::message::{Message, Ticket, TxId};
use super::route::Route;
use super::{ConnId, Shard, ShardId};
use crate::admin::journal::{Asked, JournalFacts};
use crate::base::hash::KeyHash;
use crate::base::lanes::Lanes;
use crate::command::clients::{Closing, Durability};
use crate::command::table::CommandId;
use crate::command::{Caller, Command, Part, Run, Verb};
use crate::config::Fsync;
use crate::persist::Position;
use crate::persist::block::Origin;
use crate::persist::cut::Share;
use crate::persist::record::{self, Records, Transaction};
use crate::wire::request::Args;

/// So long after the last request of somebody whose replies wait for the disk it is noted which keys are written.
const ATTENTION_NS: u64 = 1_000_000_000;

/// So long somebody waits behind the same command over several lanes until the others are told; again so long, and they are told again: they may not
/// have had it yet.
const HURRY_NS: u64 = 1_000_000;

/// A journal that a shard is to keep.
#[derive(Clone, Copy, Debug)]
pub struct Keeping {
    pub origin: Origin,
    /// Where its stream goes on.
    pub start: Position,
    pub fsync: Fsync,
    /// Bytes of files that hold what is before.
    pub held_bytes: u64,
    /// It is to be rewritten as soon as it is loaded: another number of lanes wrote it.
    pub rewrite: bool,
}

#[derive(Debug)]
pub(super) struct Durable {
    journal: Journal,
    /// On lane 0, if there are others.
    notary: Option<Notary>,
    written: Written,
    withheld: Withheld,
    /// Bytes of records among the effects that were looked at, so that what the running command left can be told.
    noted: usize,
    /// Up to where the stream must be firm before the replies of the running request may leave.
    until: Position,
    /// The empty place that the run under way has opened, and up to where the stream must be firm before it is paid.
    gate: Option<(Ticket, Position)>,
    /// Where which key is written is noted, since somebody whose replies wait for the disk has asked something lately, last at that time.
    is_tracking: bool,
    attended_ns: u64,
    /// Another lane waits for what was there until then.
    hurried: Position,
    /// Which command over several lanes somebody waits behind, by its place, and since when, or since the others were told of it.
    behind: (Position, u64),
    /// Which other lanes say that more waits to be written there than may, and whether this one has said so.
    full: Vec<bool>,
    is_told_full: bool,
}

/// What a command over several lanes leaves in the journal of each that it may change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Signature {
    pub(super) number: u64,
    /// Those lanes.
    pub(super) lanes: Box<[u16]>,
}

impl Durable {
    pub(super) fn new(keeping: Keeping, lanes: Lanes, me: ShardId, standing: Standing) -> Self {
        let notary = (me.0 == 0 && !lanes.is_one()).then(|| Notary::new(lanes));
        let mut journal = Journal::new(keeping.origin, keeping.start, keeping.fsync, standing);
        journal.hold(keeping.held_bytes);
        Self {
            journal,
            notary,
            written: Written::default(),
            withheld: Withheld::default(),
            noted: 0,
            until: Position::default(),
            gate: None,
            is_tracking: false,
            attended_ns: 0,
            hurried: Position::default(),
            behind: (Position::default(), 0),
            full: vec![false; usize::from(lanes.count())],
            is_told_full: false,
        }
    }

    /// Up to where the stream is to be synced soon: somebody waits for it, or the server ends.
    fn wanted(&self, draining: bool) -> Position {
        if draining || self.journal.standing() == Standing::Closed {
            self.journal.end()
        } else {
            self.withheld.last().max(self.hurried)
        }
    }

    /// Somebody whose replies wait for the disk asks something, on whichever lane that is: from now on, `end`, it is noted which keys are
    /// written. Of what was written before that is not known.
    fn attend(&mut self, end: Position, now_ns: u64) {
        self.attended_ns = now_ns;
        if !self.is_tracking {
            self.is_tracking = true;
            self.written.note_all(end);
        }
    }

    /// Nothing is noted any more when nobody has asked for a while.
    fn rest(&mut self, now_ns: u64) {
        if self.is_tracking && now_ns > self.attended_ns + ATTENTION_NS {
            self.is_tracking = false;
            self.written.clear();
        }
    }

    /// Whether anything is promised of the stream: not while only a rewrite that is under way will make it count.
    fn is_promised(&self) -> bool {
        !matches!(self.journal.standing(), Standing::Pending | Standing::Void)
    }

    /// Whether what is shown may have to wait for the disk: when nothing more can be written, what is here is shown, whose writers were told that
    /// they cannot rely on it.
    fn shows_unsure(&self) -> bool {
        self.is_promised() && !self.journal.has_failed()
    }

    /// Whether what is synced is what a recovery finds, or never will be.
    fn is_decided(&self) -> bool {
        matches!(self.journal.standing(), Standing::Counts | Standing::Failed)
    }

    /// Nobody waits for the disk.
    pub(super) fn is_quiet(&self) -> bool {
        self.withheld.is_empty() && self.notary.as_ref().is_none_or(Notary::is_quiet)
    }

    /// Whoever held this exclusively has changed it, and the record of that ends there; 0: it left none.
    pub(super) fn note_written(&mut self, scope: &Scope, end: Position) {
        if end == Position::default() || !self.is_tracking {
            return;
        }
        match scope {
            Scope::Keys(keys) => {
                let written = keys.iter().filter(|(_, mode)| *mode == Mode::Exclusive);
                written.for_each(|(key, _)| self.written.note(*key, end));
            }
            // Of very many keys none is noted by itself, which would take its time.
            Scope::Many(..) | Scope::Whole(_) => self.written.note_all(end),
        }
    }
}

/// For the driver.
impl Shard {
    /// Goes on with a journal. To be called before anything is served: what was written to it is loaded, or will be.
    pub fn begin_journal(&mut self, keeping: Keeping) {
        if keeping.rewrite {
            self.rewrites.facts.asked = Asked::Later;
        }
        self.durable = Some(Box::new(Durable::new(keeping, self.lanes, self.me, Standing::Counts)));
        self.store.effects.recording = true;
    }

    /// The next write of the journal, if it is time for one; its bytes are appended to `out`, none if only what was written before is to be
    /// synced. Its end is told by [`Self::write_done`] or [`Self::write_failed`].
    pub fn next_write(&mut self, out: &mut Vec<u8>) -> Option<Sync> {
        self.collect_effects();
        let durable = self.durable.as_mut()?;
        let pace = if self.ran > 0 { Pace::Busy } else { Pace::Idle };
        let wanted = durable.wanted(self.draining);
        let sync = durable.journal.next_write(self.now.mono_ns, pace, wanted, out)?;
        self.store.graves.bury_shared(durable.journal.take_spent());
        if durable.is_tracking {
            durable.written.seal(durable.journal.end());
        }
        Some(sync)
    }

    pub fn write_done(&mut self) {
        let Some(durable) = &mut self.durable else { return };
        durable.journal.done();
        self.tell_synced_shares();
        self.firm_moved();
    }

    /// The disk failed, in these words. Replies that wait for it never leave: whether their writes are on the disk is not known.
    pub fn write_failed(&mut self, why: &str) {
        let Some(durable) = &mut self.durable else { return };
        let was_closed = durable.journal.standing() == Standing::Closed;
        durable.journal.fail();
        if was_closed {
            return self.lose_withheld();
        }
        let era = self.era();
        let text = format!("MISCONF Errors writing to the AOF file: {why}");
        for lane in self.lanes.all().filter(|lane| *lane != self.me) {
            self.outboxes[lane.index()].messages.push(Message::DiskFailed { era, why: text.as_str().into() });
        }
        self.disk_failed(era, text.into());
    }

    /// Nothing of the journal is left to be written or synced.
    pub fn is_written(&self) -> bool {
        self.durable.as_ref().is_none_or(|durable| durable.journal.is_quiet() && self.store.effects.is_empty())
    }

    pub(super) fn journal_facts(&self) -> JournalFacts {
        let facts = self.durable.as_ref().map(|durable| durable.journal.facts()).unwrap_or_default();
        let rewrite = self.rewrites.facts;
        let failed = facts.failed || self.disk_failure.is_some();
        JournalFacts { loading: self.loading, kept_bytes: self.kept_bytes as u64, rewrite, failed, ..facts }
    }

    /// When the journal wants to be asked again, in nanoseconds of the monotonic clock.
    #[cold]
    pub(super) fn tick_journal(&mut self) -> Option<u64> {
        self.tell_synced_shares();
        self.judge_shares();
        self.collect_effects();
        self.tell_full();
        let hurry = self.hurry_others();
        let (now_ns, draining) = (self.now.mono_ns, self.draining);
        let durable = self.durable.as_mut()?;
        durable.rest(now_ns);
        let has_more = durable.journal.has_synced_shares() || durable.notary.as_ref().is_some_and(Notary::has_news);
        let more = has_more.then_some(now_ns);
        [more, hurry, durable.journal.deadline_ns(durable.wanted(draining))].into_iter().flatten().min()
    }

    /// An option has changed: which clients wait for the disk.
    pub(super) fn follow_durability(&mut self) {
        let fsync = self.config.journal_fsync();
        self.clients.slab.iter_mut().for_each(|(_, client)| client.fsyncs = client.durability.fsyncs(fsync));
        if let (Some(durable), Some(fsync)) = (&mut self.durable, fsync) {
            durable.journal.set_fsync(fsync);
        }
        if fsync.is_none() {
            self.leave_insisting();
            // A mark mends what failed, unless there never was a journal.
            self.disk_failure = self.disk_failure.take().filter(|_| self.durable.is_some());
        }
        self.judge_restriction();
    }

    /// There is to be no journal any more. Whoever has asked for the disk would be told that things are there which are not: those connections end.
    fn leave_insisting(&mut self) {
        let insisting = self.clients.slab.iter().filter(|(_, client)| client.durability == Durability::Fsync);
        let insisting: Vec<(ConnId, bool)> =
            insisting.map(|(key, client)| (ConnId(key), client.owed.is_empty())).collect();
        for (conn, is_answered) in insisting {
            self.clients.close(conn, if is_answered { Closing::AfterReplies } else { Closing::Now });
        }
    }

    /// Moves what the turn's commands have left into the journal.
    fn collect_effects(&mut self) {
        let Some(durable) = &mut self.durable else { return };
        if !self.store.effects.is_empty() {
            durable.journal.append(self.store.effects.records(), self.now.mono_ns);
            self.store.effects.clear();
        }
        durable.noted = 0;
    }
}

/// For commands.
impl Shard {
    /// Where the next record will begin.
    fn journal_end(&self) -> Position {
        let before = self.durable.as_ref().map_or_else(Position::default, |durable| durable.journal.end());
        before.after(self.store.effects.len())
    }

    /// A request has run here: notes where its keys were written, and up to where the stream must be firm before its reply may leave.
    #[inline(always)]
    pub(super) fn note_durability(&mut self, caller: &Caller, row: &Command, args: Args<'_>, first: KeyHash) {
        if self.keeps_journal() {
            self.track(caller, row, args, first);
        }
    }

    #[cold]
    fn track(&mut self, caller: &Caller, row: &Command, args: Args<'_>, first: KeyHash) {
        let waits = caller.fsyncs;
        if !self.durable.as_ref().is_some_and(|durable| (durable.is_tracking || waits) && durable.is_promised()) {
            return;
        }
        let (end, now_ns) = (self.journal_end(), self.now.mono_ns);
        let everything = shows_everything(row) || row.leads_elsewhere(args);
        let hash_key = self.store.hash_key;
        let Some(durable) = &mut self.durable else { return };
        if waits {
            durable.attend(end, now_ns);
        }
        let wrote = self.store.effects.len() > std::mem::replace(&mut durable.noted, self.store.effects.len());
        if !wrote && !waits || durable.journal.has_failed() && !(wrote && row.is_write()) {
            return;
        }
        let mut until = if everything { end } else { Position::default() };
        let mut note = |key: KeyHash| {
            if wrote {
                durable.written.note(key, end);
            } else {
                until = until.max(durable.written.last(key));
            }
        };
        let mut keys = row.keys.positions(args);
        // The hash of the first is known.
        if let Some(word) = keys.next() {
            note(if word == 1 { first } else { hash_key.key(args.at(word)) });
        }
        keys.for_each(|at| note(hash_key.key(args.at(at))));
        if wrote {
            until = end;
            if everything {
                durable.written.note_all(end);
            }
        }
        if waits {
            durable.until = durable.until.max(until);
        }
    }

    /// A reply shows these keys, which are not words of its request.
    pub(super) fn note_shown(&mut self, caller: &Caller, keys: impl Iterator<Item = KeyHash>) {
        let (end, now_ns) = (self.journal_end(), self.now.mono_ns);
        let Some(durable) = self.durable.as_mut().filter(|durable| caller.fsyncs && durable.shows_unsure()) else {
            return;
        };
        durable.attend(end, now_ns);
        let last = keys.map(|key| durable.written.last(key)).max();
        durable.until = durable.until.max(last.unwrap_or_default());
    }

    /// A reply shows what all keys of this lane are, or how many.
    pub(super) fn note_everything_shown(&mut self, caller: &Caller) {
        let end = self.journal_end();
        if let Some(durable) = self.durable.as_mut().filter(|durable| caller.fsyncs && durable.shows_unsure()) {
            durable.until = durable.until.max(end);
        }
    }

    /// A command that took many turns is over. One that walked over all keys has seen what was written meanwhile.
    pub(super) fn note_job_over(&mut self, caller: &Caller, command: Option<CommandId>) {
        if command.is_some_and(|command| shows_everything(self.table.row(command))) {
            self.note_everything_shown(caller);
        }
    }

    #[inline(always)]
    pub fn keeps_journal(&self) -> bool {
        self.durable.is_some()
    }

    /// Runs something of which the effects shall stand in the journal later, all together; with up to where the stream must be firm before
    /// its reply may leave.
    pub(super) fn apart<R>(&mut self, run: impl FnOnce(&mut Self) -> R) -> (R, Records, Position) {
        let before = self.store.effects.mark();
        let ran = run(self);
        let effects = self.store.effects.split_off(before);
        let until = self.take_until();
        if let Some(durable) = &mut self.durable {
            durable.noted = self.store.effects.len();
        }
        (ran, effects, until)
    }

    /// What `run` leaves in the journal counts together.
    pub(super) fn together<R>(&mut self, run: impl FnOnce(&mut Self) -> R) -> R {
        let before = self.store.effects.mark();
        let ran = run(self);
        self.store.effects.group_since(before);
        if let Some(durable) = &mut self.durable {
            durable.noted = self.store.effects.len();
        }
        ran
    }

    /// A job that writes is over, what it has written being held by this claim.
    pub(super) fn note_job_written(&mut self, caller: &Caller, claim: ClaimId) {
        let end = self.journal_end();
        let Some(durable) = &mut self.durable else { return };
        durable.note_written(self.locks.scope(claim), end);
        if caller.fsyncs {
            durable.until = durable.until.max(end);
        }
    }

    /// The keys of a request that is served apart from what runs: see [`Self::note_durability`].
    pub(super) fn put_until(&mut self, until: Position) {
        if let Some(durable) = &mut self.durable {
            durable.until = durable.until.max(until);
        }
    }

    /// Up to where the stream must be firm before the replies since the last call may leave.
    #[inline]
    pub(super) fn take_until(&mut self) -> Position {
        self.durable.as_mut().map_or_else(Position::default, |durable| std::mem::take(&mut durable.until))
    }

    pub(super) fn is_firm(&self, until: Position) -> bool {
        self.durable.as_ref().is_none_or(|durable| until <= durable.journal.firm() || !durable.is_promised())
    }

    /// The number of a command over several lanes among all in the journal.
    pub(super) fn next_serial(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    /// What a guest has done is over, and its keys are given back now: its part goes into the journal, in one record. Where that ends.
    pub(super) fn append_guest(&mut self, tx: TxId, signature: Option<&Signature>, effects: &Records) -> Position {
        // A lane that only reads has no part in it: nobody waits for its share, and it would wait for those who are settled.
        let signature = signature.filter(|signature| signature.lanes.contains(&self.me.0));
        if signature.is_none() && effects.is_empty() {
            return Position::default();
        }
        // What others have left stands before it.
        self.collect_effects();
        let now_ns = self.now.mono_ns;
        let Some(durable) = &mut self.durable else {
            // Recorded for somebody else.
            self.store.effects.put(effects);
            return Position::default();
        };
        match signature {
            Some(Signature { number, lanes }) => {
                let of = Transaction { home: tx.home.0, number: *number };
                durable.journal.append_share(of, lanes, effects, now_ns);
            }
            None => {
                let mut group = Records::default();
                record::put_group(&mut group, effects);
                durable.journal.append(&group, now_ns);
            }
        }
        durable.journal.end()
    }

    /// More waits to be written than may, here or where a request goes: whoever would add to it waits.
    #[inline(always)]
    pub(super) fn is_journal_congested(&self, route: Route) -> bool {
        (self.keeps_journal() || self.base.is_some()) && (self.has_too_much() || self.meets_full(route))
    }

    /// More of this lane waits to be written than may.
    #[cold]
    fn has_too_much(&self) -> bool {
        self.kept_bytes > crate::base::limits::KEPT_BYTES_MAX
            || self.durable.as_ref().is_some_and(|durable| durable.journal.is_congested())
    }

    #[cold]
    fn meets_full(&self, route: Route) -> bool {
        let Some(durable) = &self.durable else { return false };
        match route {
            Route::Here => false,
            Route::Lane(lane) => durable.full[lane.index()],
            Route::Several => durable.full.contains(&true),
        }
    }
}

/// Whether the reply tells of keys that are not words of the request.
fn shows_everything(row: &Command) -> bool {
    let walks = matches!(
        row.run,
        Run::Keys(_) | Run::Split { part: Part::Keys(_) | Part::Sliced(_), .. } | Run::Verb(Verb::Facts(_))
    );
    row.keys.first == 0 && walks
}

/// Between lanes.
impl Shard {
    /// Tells the others when there is no room any more for what they would forward, and when there is again. What is under way meanwhile, as much
    /// as there are tickets, is taken.
    fn tell_full(&mut self) {
        let is_full = self.has_too_much();
        let Some(durable) = &mut self.durable else { return };
        if std::mem::replace(&mut durable.is_told_full, is_full) != is_full {
            for lane in self.lanes.all().filter(|lane| *lane != self.me) {
                self.outboxes[lane.index()].messages.push(Message::Full { is_full });
            }
        }
    }

    pub(super) fn hear_full(&mut self, from: ShardId, is_full: bool) {
        if let Some(durable) = &mut self.durable {
            durable.full[from.index()] = is_full;
        }
        if !is_full {
            self.feed_starved();
        }
    }

    /// Tells what this lane has on its disk of commands over several, so many in a turn.
    fn tell_synced_shares(&mut self) {
        let Some(durable) = &mut self.durable else { return };
        let shares = durable.journal.take_synced_shares();
        if !shares.is_empty() {
            self.tell_notary(shares);
        }
    }

    /// Whoever waits here behind a command over several lanes waits for the disks of others, which may have no reason of their own to sync it, nor
    /// what it stands on there: all are told. When they are to be told again.
    fn hurry_others(&mut self) -> Option<u64> {
        let durable = self.durable.as_mut()?;
        let wanted = durable.withheld.last();
        // Under `always` they sync at once.
        if durable.journal.fsync() == Fsync::Always {
            return None;
        }
        let (first, now_ns) = (durable.journal.share_before(wanted)?, self.now.mono_ns);
        let (seen, since_ns) = durable.behind;
        if seen != first {
            durable.behind = (first, now_ns);
            return Some(now_ns + HURRY_NS);
        }
        if now_ns < since_ns + HURRY_NS {
            return Some(since_ns + HURRY_NS);
        }
        durable.behind.1 = now_ns;
        for lane in self.lanes.all().filter(|lane| *lane != self.me) {
            self.outboxes[lane.index()].messages.push(Message::Hurry);
        }
        Some(now_ns + HURRY_NS)
    }

    pub(super) fn hear_hurry(&mut self) {
        let end = self.journal_end();
        if let Some(durable) = &mut self.durable {
            durable.hurried = end;
        }
    }

    fn tell_notary(&mut self, shares: Vec<Share>) {
        if self.me.0 == 0 {
            return self.hear_shares(self.me, shares);
        }
        self.outboxes[0].messages.push(Message::Synced { shares: shares.into() });
    }

    /// A lane has synced its part of these commands.
    pub(super) fn hear_shares(&mut self, from: ShardId, shares: Vec<Share>) {
        let notary = self.durable.as_mut().and_then(|durable| durable.notary.as_mut());
        notary.expect("lane 0 has one, and all lanes keep a journal or none").hear(from, shares);
    }

    /// Tells the lanes what has become durable by what was heard in this turn.
    pub(super) fn judge_shares(&mut self) {
        let Some(notary) = self.durable.as_mut().and_then(|durable| durable.notary.as_mut()) else { return };
        for (lane, until) in notary.judge() {
            if lane == self.me {
                self.settle_shares(until);
            } else {
                self.outboxes[lane.index()].messages.push(Message::Settled { until });
            }
        }
    }

    pub(super) fn settle_shares(&mut self, until: Position) {
        if let Some(durable) = &mut self.durable {
            durable.journal.settle(until);
        }
        self.firm_moved();
    }

    fn firm_moved(&mut self) {
        let Some(durable) = &mut self.durable else { return };
        durable.written.forget(durable.journal.firm());
        self.let_go();
        self.feed_starved();
    }
}
