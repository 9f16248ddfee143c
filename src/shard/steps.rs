//! What a command over several lanes has to do, as steps of which each is a round of errands.
//!
//! ```text
//!  MSET           [Split: lane 0 | lane 1]
//!  RENAME         [Staged: lane 0 take] -> [lane 1 put]
//!  BGETDEL        [Try: lane 0 serve] -> [lane 1 serve] -> [lane 0 enrol | lane 1 enrol]
//!  BLMOVE         [Staged: lane 1 look] -> [lane 0 pop] -> [lane 1 push], or after the first two [lane 0 enrol]
//!  MSET of many   [Long: a slice of the keys, lane 0 | lane 1] -> [the next slice] ...            (long.rs)
//!  EXEC           [Batch: commands of one lane each] [Split] [Batch] ...      in the order of the queue
//! ```

use std::collections::{BTreeSet, VecDeque};

use super::Shard;
use super::blocking::{given_up, way_of};
use super::errand::{Errand, Marking, Ran, What};
use super::long::Long;
use super::message::TxId;
use super::route::Spread;
use super::txn::fault_reply;
use crate::admin::facts::LaneFacts;
use crate::base::lanes::ShardId;
use crate::command::Caller;
use crate::command::blocking::{Blocking, Serve};
use crate::command::clients::BlockId;
use crate::command::merge::Merging;
use crate::command::places::Touch;
use crate::command::sliced::Job;
use crate::command::staged::{Cargo, Flow, On, Stage, begin, begin_work};
use crate::command::table::CommandId;
use crate::command::{Command, Merging as Merge, Run, Verb};
use crate::store::incoming::Incoming;
use crate::wire::output::Output;
use crate::wire::reply::Reply;
use crate::wire::request::{Args, Request};
use crate::wire::walk;

/// A lane's part in a step.
#[derive(Debug)]
struct Part {
    lane: ShardId,
    errands: Vec<Errand>,
    ran: VecDeque<Ran>,
}

/// One step: its errands by lane, in the order of the lanes, and what their replies make.
#[derive(Debug)]
pub(super) struct Step {
    parts: Vec<Part>,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    /// Commands of one lane each: where the reply of each comes from.
    Batch(Vec<ShardId>),
    /// Parts of one command. For each key the place of its owner among the parts.
    Split { command: CommandId, owners: Vec<u16> },
    Staged {
        command: CommandId,
        stages: &'static [Stage],
        caller: Caller,
        request: Request,
        longs: Incoming,
        stage: usize,
        cargo: Cargo,
        wait: Wait,
    },
    /// A command that may wait: one owner of keys after the other tries to serve it; if none could, all of them enrol it as `block`, or
    /// it gives up.
    Try { command: CommandId, caller: Caller, request: Request, block: Option<BlockId>, enrols: bool },
    /// Slices of one command, one after the other; the errands are those of one of them.
    Long(Box<Long>),
    /// WATCH.
    Watch,
    /// The journals' serial point.
    Mark,
    /// INFO, of which sections.
    Facts { command: CommandId, request: Request },
    /// A command that concerns the connection.
    Home { command: CommandId, request: Request },
    /// A command that its user may not run any more: what is said of it.
    Said(Output),
}

/// What becomes of a staged command that finds nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    /// It does not wait: it gives up.
    No,
    /// It waits as this.
    As(BlockId),
    /// It has been enrolled.
    Enrolled,
    /// It has waited, and does so again.
    Again,
}

impl Step {
    pub(super) fn batch() -> Self {
        Self { parts: Vec::new(), kind: Kind::Batch(Vec::new()) }
    }

    pub(super) fn home(command: CommandId, request: Request) -> Self {
        Self { parts: Vec::new(), kind: Kind::Home { command, request } }
    }

    pub(super) fn said(said: Output) -> Self {
        Self { parts: Vec::new(), kind: Kind::Said(said) }
    }

    /// Whether commands of one lane each can be added.
    pub(super) fn is_batch(&self) -> bool {
        matches!(self.kind, Kind::Batch(_))
    }

    /// Adds a command to a batch.
    pub(super) fn add(&mut self, lane: ShardId, errand: Errand) {
        let Kind::Batch(order) = &mut self.kind else { unreachable!("only a batch takes errands") };
        order.push(lane);
        self.part(lane).errands.push(errand);
    }

    fn part(&mut self, lane: ShardId) -> &mut Part {
        let at = match self.parts.binary_search_by_key(&lane, |part| part.lane) {
            Ok(at) => at,
            Err(at) => {
                self.parts.insert(at, Part { lane, errands: Vec::new(), ran: VecDeque::new() });
                at
            }
        };
        &mut self.parts[at]
    }

    /// Whether the errands of one lane can run before those of the others are sent: nothing goes from one to the next.
    pub(super) fn can_begin_anywhere(&self) -> bool {
        matches!(self.kind, Kind::Batch(_) | Kind::Split { .. })
    }

    pub(super) fn has_errands(&self) -> bool {
        self.parts.iter().any(|part| !part.errands.is_empty())
    }

    /// Lanes that have something to do.
    pub(super) fn lanes(&self) -> Vec<ShardId> {
        self.parts.iter().filter(|part| !part.errands.is_empty()).map(|part| part.lane).collect()
    }

    pub(super) fn take_errands(&mut self, lane: ShardId) -> Vec<Errand> {
        std::mem::take(&mut self.part(lane).errands)
    }

    /// Errands that a participant refused.
    pub(super) fn give_back(&mut self, lane: ShardId, errands: Vec<Errand>) {
        if !errands.is_empty() {
            self.part(lane).errands = errands;
        }
    }

    /// What the lanes of a stage are given: all of it where it is one lane, a loan each where they all do the same.
    pub(super) fn cargoes(&mut self, lanes: usize) -> Vec<Cargo> {
        let Kind::Staged { cargo, stages, stage, .. } = &mut self.kind else { return Vec::new() };
        let is_everywhere = stages.get(*stage).is_some_and(|stage| stage.on == On::Everywhere);
        if is_everywhere && lanes > 1 {
            return (0..lanes).map(|_| cargo.lend()).collect();
        }
        vec![std::mem::take(cargo)]
    }

    /// Whether no errand can follow those that are there.
    pub(super) fn is_last(&self) -> bool {
        match &self.kind {
            Kind::Staged { stages, stage, wait, .. } => *wait == Wait::Enrolled || stage + 1 == stages.len(),
            Kind::Try { enrols, .. } => *enrols,
            Kind::Long(long) => long.is_over(),
            _ => true,
        }
    }

    /// Whether it has more to do, but not at once.
    pub(super) fn goes_on_later(&self) -> bool {
        matches!(self.kind, Kind::Long(_)) && !self.is_last()
    }

    pub(super) fn hear(&mut self, from: ShardId, ran: Vec<Ran>, brought: Cargo) {
        if let Kind::Staged { cargo, .. } = &mut self.kind {
            cargo.join(brought);
        }
        self.part(from).ran.extend(ran);
    }
}

/// Making steps.
impl Shard {
    /// A command whose keys are of several lanes: each runs its part of them.
    pub(super) fn split_by_keys(
        &mut self,
        caller: &Caller,
        command: CommandId,
        args: Args<'_>,
        longs: &Incoming,
        spread: &Spread,
    ) -> Step {
        let row = self.table.row(command);
        let mut step = Step { parts: Vec::new(), kind: Kind::Split { command, owners: Vec::new() } };
        for (lane, request, longs) in parts_of(row, args, longs, spread) {
            let first = self.first_of(row, request.args());
            let errand = Errand { caller: *caller, command, first, request, longs, what: What::Part };
            step.part(lane).errands.push(errand);
        }
        let place = |lane: ShardId| step.parts.iter().position(|part| part.lane == lane);
        let places = spread.0.iter().map(|(lane, ..)| u16::try_from(place(*lane).unwrap_or(0)).unwrap_or(0)).collect();
        step.kind = Kind::Split { command, owners: places };
        step
    }

    /// A command that all lanes run.
    pub(super) fn split_over_all(&mut self, caller: &Caller, command: CommandId, args: Args<'_>) -> Step {
        let mut step = Step { parts: Vec::new(), kind: Kind::Split { command, owners: Vec::new() } };
        for lane in self.lanes.all() {
            let (first, longs) = Default::default();
            let errand = Errand { caller: *caller, command, first, request: args.into(), longs, what: What::Part };
            step.part(lane).errands.push(errand);
        }
        step
    }

    pub(super) fn facts_of_all(&mut self, caller: &Caller, command: CommandId, args: Args<'_>) -> Step {
        let mut step = Step { parts: Vec::new(), kind: Kind::Facts { command, request: args.into() } };
        for lane in self.lanes.all() {
            let (first, request, longs) = Default::default();
            step.part(lane).errands.push(Errand { caller: *caller, command, first, request, longs, what: What::Facts });
        }
        step
    }

    /// The journals' serial point.
    pub(super) fn mark_everywhere(&mut self, caller: &Caller, marking: Marking) -> Step {
        let mut step = Step { parts: Vec::new(), kind: Kind::Mark };
        let command = self.table.find(b"bgrewriteaof").expect("it is in the table").id;
        for lane in self.lanes.all() {
            let (first, request, longs) = Default::default();
            let what = What::Mark(marking);
            step.part(lane).errands.push(Errand { caller: *caller, command, first, request, longs, what });
        }
        step
    }

    /// WATCH: each lane notes its own of the keys.
    pub(super) fn watch_by_keys(&mut self, caller: &Caller, command: CommandId, args: Args<'_>) -> Step {
        let spread = self.spread(self.table.row(command), args);
        let mut step = self.split_by_keys(caller, command, args, &Incoming::default(), &spread);
        step.kind = Kind::Watch;
        step.parts.iter_mut().flat_map(|part| &mut part.errands).for_each(|errand| errand.what = What::Watch);
        step
    }

    /// A command of very many keys: its first slice, for all lanes that have keys of it.
    pub(super) fn in_slices(&mut self, long: Long) -> Step {
        let mut step = Step { parts: Vec::new(), kind: Kind::Long(Box::new(long)) };
        self.enter_slice(&mut step);
        step
    }

    /// Gives the errands of the next slice to the lanes.
    pub(super) fn enter_slice(&mut self, step: &mut Step) {
        let Kind::Long(long) = &mut step.kind else { return };
        let row = self.table.row(long.command);
        let (slice, longs) = long.take_slice(self.slicing.keys_per_step);
        if row.elements.is_some() {
            let (caller, command, first) = (long.caller, long.command, self.first_of(row, slice.args()));
            let lane = self.lanes.owner(first.slot());
            step.part(lane).errands = vec![Errand { caller, command, first, request: slice, longs, what: What::Part }];
            return;
        }
        let spread = self.spread(row, slice.args());
        let Step { parts, kind } = self.split_by_keys(&long.caller, long.command, slice.args(), &longs, &spread);
        step.parts = parts;
        step.parts.iter_mut().flat_map(|part| &mut part.errands).for_each(|errand| errand.what = long.what(row));
        if let Kind::Split { owners, .. } = kind {
            long.owners = owners;
        }
    }

    pub(super) fn staged(
        &mut self,
        caller: &Caller,
        command: CommandId,
        args: Args<'_>,
        longs: Incoming,
        wait: Wait,
    ) -> Step {
        let cargo = Cargo::between_shards();
        let stages = stages(self.table.row(command));
        let (caller, request) = (*caller, args.into());
        let kind = Kind::Staged { command, stages, caller, request, longs, stage: 0, cargo, wait };
        let mut step = Step { parts: Vec::new(), kind };
        self.enter_stage(&mut step);
        step
    }

    /// Gives the errands of the stage to the lanes it is on.
    fn enter_stage(&self, step: &mut Step) {
        let Kind::Staged { command, stages, caller, request, longs, stage, wait, .. } = &mut step.kind else { return };
        let (command, stages, caller, stage) = (*command, *stages, *caller, *stage);
        let row = self.table.row(command);
        let errand = |request: Request, longs: Incoming| {
            let first = self.first_of(row, request.args());
            let what = match (stage == stages.len(), *wait) {
                (true, Wait::As(block)) => What::Enrol(block),
                (_, Wait::Again) => What::Move(stage),
                _ => What::Stage(stage),
            };
            Errand { caller, command, first, request, longs, what }
        };
        let whole = || errand(request.clone(), longs.clone());
        let Some(stage) = stages.get(stage) else {
            // It found nothing.
            if let Wait::As(_) = wait {
                let (lane, enrol) = (self.owner_of(request.args().at(usize::from(row.keys.first))), whole());
                *wait = Wait::Enrolled;
                step.parts.clear();
                step.part(lane).errands.push(enrol);
            }
            return;
        };
        let errands: Vec<(ShardId, Errand)> = match stage.on {
            On::Key(word) => vec![(self.owner_of(request.args().at(word)), whole())],
            On::Everywhere if row.leads_elsewhere(request.args()) => {
                self.lanes.all().map(|lane| (lane, whole())).collect()
            }
            On::Home | On::Target | On::Everywhere => {
                let lane = self.lane_of_stage(stage.on, row, request.args(), self.me);
                vec![(lane.expect("it is on one lane"), whole())]
            }
            On::Sources => {
                let reads = |(word, touch)| (touch == Touch::Read).then_some(word);
                let words = row.keys.touched(request.args()).filter_map(reads);
                let owners: BTreeSet<ShardId> = words.map(|word| self.owner_of(request.args().at(word))).collect();
                owners.into_iter().map(|lane| (lane, whole())).collect()
            }
            On::EachOwner => {
                let args = request.args();
                parts_of(row, args, longs, &self.spread(row, args))
                    .into_iter()
                    .map(|(lane, part, longs)| (lane, errand(part, longs)))
                    .collect()
            }
        };
        step.parts.clear();
        errands.into_iter().for_each(|(lane, errand)| step.part(lane).errands.push(errand));
    }

    pub(super) fn tries(
        &mut self,
        caller: &Caller,
        command: CommandId,
        args: Args<'_>,
        block: Option<BlockId>,
    ) -> Step {
        let kind = Kind::Try { command, caller: *caller, request: args.into(), block, enrols: false };
        let mut step = Step { parts: Vec::new(), kind };
        self.try_from(&mut step, usize::from(self.table.row(command).keys.first));
        step
    }

    /// Lets the owner of the key at this word try next; after the last key all owners enrol the request.
    fn try_from(&self, step: &mut Step, word: usize) {
        let Kind::Try { command, caller, request, block, enrols } = &mut step.kind else { return };
        let (row, args) = (self.table.row(*command), request.args());
        let errand = |what| Errand {
            caller: *caller,
            command: *command,
            first: self.first_of(row, args),
            request: request.clone(),
            longs: Incoming::default(),
            what,
        };
        let owners = || way_of(row).awaited(row.keys, args).map(|i| self.owner_of(args.at(i)));
        let errands: Vec<(ShardId, Errand)> = match (args.get(word), *block) {
            (Some(key), _) => vec![(self.owner_of(key), errand(What::Serve(word)))],
            (None, None) => Vec::new(),
            (None, Some(block)) => {
                *enrols = true;
                let owners: BTreeSet<ShardId> = owners().collect();
                owners.into_iter().map(|lane| (lane, errand(What::Enrol(block)))).collect()
            }
        };
        step.parts.clear();
        errands.into_iter().for_each(|(lane, errand)| step.part(lane).errands.push(errand));
    }

    /// The lane of a stage that is on one alone.
    fn lane_of_stage(&self, on: On, row: &Command, args: Args<'_>, home: ShardId) -> Option<ShardId> {
        match on {
            On::Key(word) => Some(self.owner_of(args.at(word))),
            On::Home => Some(home),
            On::Everywhere if row.leads_elsewhere(args) => None,
            On::Target | On::Everywhere => {
                let written = row.keys.touched(args).find(|(_, touch)| *touch == Touch::Write);
                Some(written.map_or(home, |(word, _)| self.owner_of(args.at(word))))
            }
            On::EachOwner | On::Sources => None,
        }
    }

    pub(super) fn owner_of(&self, key: &[u8]) -> ShardId {
        self.lanes.owner(self.store.hash_key.key(key).slot())
    }
}

/// Running and ending them.
impl Shard {
    /// Of a command that goes from lane to lane and whose lanes have all been heard: the next stage or key, if it is not over.
    pub(super) fn advance(&mut self, tx: TxId) {
        let Some(mut step) = self.txn(tx).doing.take() else { return };
        if let Kind::Long(long) = &mut step.kind {
            let row = self.table.row(long.command);
            let mut ran = std::mem::take(&mut step.parts).into_iter().flat_map(|part| part.ran);
            if let Run::Staged(_) = row.run {
                long.hear_stage(ran.collect());
            } else if row.elements.is_some() {
                long.hear(row, ran.next().expect("its only errand has run").reply);
            } else {
                let replies: Vec<Output> = ran.map(|ran| ran.reply).collect();
                let reply = self.merged(&long.caller, long.command, &replies, &long.owners);
                long.hear(row, reply);
            }
        }
        let next = step.parts.iter().flat_map(|part| &part.ran).map(|ran| ran.next).min().flatten();
        if let Some(next) = next
            && !step.has_errands()
        {
            match &mut step.kind {
                Kind::Staged { stage, .. } => {
                    *stage = next;
                    self.enter_stage(&mut step);
                }
                Kind::Try { .. } => self.try_from(&mut step, next),
                _ => {}
            }
        }
        self.txn(tx).doing = Some(step);
    }

    /// This stage, and those after it that are on this lane; the next one, or none if the command is over.
    pub(super) fn run_stages_here(
        &mut self,
        errand: &Errand,
        from: usize,
        cargo: &mut Cargo,
        out: &mut Output,
    ) -> Option<usize> {
        let (args, stages) = (errand.request.args(), stages(self.table.row(errand.command)));
        let mut at = from;
        let row = self.table.row(errand.command);
        if let What::Move(_) = errand.what {
            self.trace_served(&errand.caller, usize::from(row.keys.first));
        } else {
            self.remember(&errand.caller, row);
        }
        // From the queue of an EXEC it comes as it was sent.
        if let Run::Blocking(way) = row.run
            && let Err(fault) = (way.patience)(args, self.at)
        {
            self.fail(errand.command, &fault, &errand.caller, out);
            return None;
        }
        loop {
            let mut reply = Reply::new(out, errand.caller.dialect);
            let mark = reply.mark();
            let ctx = &mut self.ctx(&errand.caller, errand.first);
            let ran = (stages[at].run)(ctx, args, cargo, &mut reply).and_then(|flow| match flow {
                Flow::On => Ok(Ended::On),
                Flow::Nothing => Ok(Ended::Nothing),
                Flow::Done => Ok(Ended::Over(None)),
                Flow::Job(job) => begin(job, ctx, &mut reply).map(Ended::Over),
                Flow::Work(job) => {
                    begin_work(job, cargo, ctx, &mut reply).map(|job| job.map_or(Ended::On, Ended::Working))
                }
            });
            match ran {
                Ok(ran) => {
                    self.state_effect(&errand.caller, row, Some(args));
                    self.note_durability(&errand.caller, row, args, errand.first);
                    match ran {
                        Ended::On => at += 1,
                        Ended::Working(job) => {
                            self.begun = Some(job);
                            return Some(at + 1);
                        }
                        Ended::Nothing if matches!(row.run, Run::Blocking(_)) => return Some(stages.len()),
                        Ended::Nothing => {
                            Reply::new(out, errand.caller.dialect).null();
                            return None;
                        }
                        Ended::Over(job) => {
                            self.begun = job;
                            return None;
                        }
                    }
                }
                Err(fault) => {
                    reply.truncate(mark);
                    self.store.effects.abandon();
                    self.refuse(&fault, &mut reply);
                    return None;
                }
            }
            let lane_of = |on| self.lane_of_stage(on, row, args, errand.caller.home);
            // What several lanes hand on comes together at home.
            if lane_of(stages[from].on).is_none() || lane_of(stages[at].on) != Some(self.me) {
                return Some(at);
            }
        }
    }

    /// The step is over: its replies.
    pub(super) fn conclude(&mut self, tx: TxId) {
        let step = self.txn(tx).doing.take().expect("a step is under way");
        let caller = self.txn(tx).caller;
        let Step { mut parts, kind } = step;
        match kind {
            Kind::Batch(order) => {
                for lane in order {
                    let part = parts.iter_mut().find(|part| part.lane == lane);
                    let ran = part.and_then(|part| part.ran.pop_front()).expect("each errand has run");
                    self.txn(tx).say(ran.reply);
                }
            }
            Kind::Split { command, owners } => {
                self.stats.count_call(command.0);
                let replies: Vec<Output> = parts.into_iter().flat_map(|part| part.ran).map(|ran| ran.reply).collect();
                let reply = self.merged(&caller, command, &replies, &owners);
                self.txn(tx).say(reply);
                for mut part in replies {
                    part.clear();
                    self.keep_spare(part);
                }
            }
            Kind::Long(long) => {
                self.stats.count_call(long.command.0);
                let row = self.table.row(long.command);
                self.txn(tx).say(long.reply(row));
            }
            Kind::Staged { command, mut cargo, wait, .. } => {
                if wait == Wait::No {
                    self.stats.count_call(command.0);
                }
                // Of a command that failed; what they were cloned from may be gone.
                cargo.bury(&mut self.store.graves);
                let mut ran = parts.into_iter().flat_map(|part| part.ran);
                let reply = match ran.find(|ran| ran.next.is_none()) {
                    _ if wait == Wait::Enrolled => None,
                    None if wait == Wait::Again => None,
                    None => Some(given_up(self.table.row(command), &caller)),
                    Some(ran) => Some(ran.reply),
                };
                if let Some(reply) = reply {
                    self.txn(tx).say(reply);
                }
            }
            Kind::Try { command, block, enrols, .. } => {
                let served = parts.into_iter().flat_map(|part| part.ran).find(|ran| ran.next.is_none());
                if block.is_none() {
                    self.stats.count_call(command.0);
                }
                if !enrols {
                    let gave_up = || given_up(self.table.row(command), &caller);
                    let reply = served.map_or_else(gave_up, |ran| ran.reply);
                    self.txn(tx).say(reply);
                }
            }
            Kind::Facts { command, request } => {
                self.stats.count_call(command.0);
                let facts = parts.into_iter().flat_map(|part| part.ran).filter_map(|ran| ran.facts);
                let facts: Vec<LaneFacts> = facts.map(|facts| *facts).collect();
                let mut out = Output::default();
                if let Run::Verb(Verb::Facts(page)) = self.table.row(command).run {
                    let mut reply = Reply::new(&mut out, caller.dialect);
                    self.write_facts(page, facts, request.args(), caller.shard_port, &mut reply);
                }
                self.txn(tx).say(out);
            }
            Kind::Watch => {
                let watched = parts.into_iter().flat_map(|part| part.ran).flat_map(|ran| ran.watched).collect();
                self.remember_watched(&caller, watched);
                let mut out = Output::default();
                Reply::new(&mut out, caller.dialect).ok();
                self.txn(tx).say(out);
            }
            Kind::Home { command, request } => self.run_home_step(tx, command, &request),
            Kind::Said(said) => self.txn(tx).say(said),
            Kind::Mark => {}
        }
    }

    /// A command of EXEC that concerns its connection, which may have gone; it may change how later ones are answered.
    fn run_home_step(&mut self, tx: TxId, command: CommandId, request: &Request) {
        let mut out = Output::default();
        let caller = self.txn(tx).caller;
        let here = self.clients.get(caller.conn).is_some_and(|client| client.id == caller.client);
        if here {
            self.perform_queued(&caller, self.table.found(command), request.args(), Default::default(), &mut out);
            if let Some(client) = self.clients.get(caller.conn) {
                let Caller { number, in_exec, .. } = caller;
                self.txn(tx).caller = Caller { number, in_exec, ..Caller::of(self.me, caller.conn, client) };
            }
        }
        self.txn(tx).say(out);
    }

    fn merged(&mut self, caller: &Caller, command: CommandId, parts: &[Output], owners: &[u16]) -> Output {
        if let Some(error) = parts.iter().find(|part| walk::is_error(part)) {
            return error.clone();
        }
        let Run::Split { merge: Merge::Several(merge) | Merge::Always(merge), .. } = self.table.row(command).run else {
            unreachable!("only split commands are split")
        };
        let mut out = self.spares.pop().unwrap_or_default();
        let mut merging = Merging { parts, owners, rng: &mut self.store.rng };
        match merge(&mut merging, &mut Reply::new(&mut out, caller.dialect)) {
            Ok(()) => out,
            Err(fault) => fault_reply(&fault, caller),
        }
    }
}

/// How a stage ended here.
enum Ended {
    On,
    Nothing,
    /// The stage takes more turns.
    Working(Box<dyn Job>),
    /// The command is over, but for the job if there is one.
    Over(Option<Box<dyn Job>>),
}

pub(super) fn stages(row: &'static Command) -> &'static [Stage] {
    match row.run {
        Run::Staged(stages) => stages,
        Run::Blocking(Blocking { serve: Serve::Moving(stages), .. }) => stages,
        _ => unreachable!("only staged commands have stages"),
    }
}

/// For each owner of keys a request with only those, whatever belongs to a key (as its value in MSET) going with it.
fn parts_of(row: &Command, args: Args<'_>, longs: &Incoming, spread: &Spread) -> Vec<(ShardId, Request, Incoming)> {
    let mut parts: Vec<(ShardId, Request, Incoming)> = Vec::with_capacity(2);
    let step = usize::from(row.keys.step.max(1));
    for (key, (owner, ..)) in row.keys.positions(args).zip(&spread.0) {
        let at = parts.iter().position(|(lane, ..)| lane == owner).unwrap_or_else(|| {
            // Half of the whole is a guess that grows once at most.
            let mut request = Request::with_capacity(args.extent() / 2, args.len().div_ceil(2) + 1);
            args.iter().take(usize::from(row.keys.first)).for_each(|word| request.push(word));
            parts.push((*owner, request, Incoming::default()));
            parts.len() - 1
        });
        let (_, request, of_part) = &mut parts[at];
        for i in key..(key + step).min(args.len()) {
            if !longs.is_empty()
                && let Some(rope) = longs.at(i)
            {
                of_part.push(request.args().len(), rope.clone());
            }
            request.push(args.at(i));
        }
    }
    parts
}
