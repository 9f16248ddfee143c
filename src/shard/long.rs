//! Requests of very many keys, and EXECs of very many words: in slices, and still at one moment.
//!
//! ```text
//!  MSET of 200,000 keys
//!    begin_long   its connection waits; the request keeps the memory it came in (`Shard::keep_whole`)
//!    plan_on      its keys are noted by their owners                    keys_per_step a turn
//!    begin_txn    on each lane a claim on the set of its keys           constant time (locks.rs)
//!    go_on        a slice of the keys over the lanes                    keys_per_step a turn
//!    end          the intents given back; what the slices said, put together
//!  EXEC           the same: what its commands hold is noted, and its steps are of so many words; a long command in it is a step in slices
//!  MSETNX         a slice of the keys looked at after the other; if none is there, a slice set after the other
//!  HSET           a slice of the fields after the other (`Command::elements`)
//! ```
//!
//! Whoever wants a key of them, or the keyspace as a whole, waits for the end; all others are served between the slices.

use super::Shard;
use super::errand::{Ran, What};
use super::message::{Ticket, TxId};
use super::plan::{Pace, Plan};
use super::planted::Planted;
use super::route::mode;
use super::txn::Form;
use crate::base::limits::{self, Strides};
use crate::command::multi::{Each, Queue, Queued};
use crate::command::owed::{Barrier, Where};
use crate::command::sliced::Pieces;
use crate::command::table::{CommandId, Found};
use crate::command::{Caller, Command, Flags, Merge, Policy, Run, Said};
use crate::store::incoming::Incoming;
use crate::wire::output::Output;
use crate::wire::reply::Reply;
use crate::wire::request::{Args, Request};
use crate::wire::walk::{self, Walk};

/// What is worked off in slices, and how large these are; the simulator, whose requests are short, has smaller ones.
#[derive(Clone, Copy, Debug)]
pub struct Slicing {
    pub words_at_once_max: usize,
    pub keys_per_step: usize,
    /// From this length on a word becomes a rope as it arrives (`gather.rs`).
    pub long_bytes_min: usize,
    pub strides: Strides,
}

impl Default for Slicing {
    fn default() -> Self {
        Self {
            words_at_once_max: limits::WORDS_AT_ONCE_MAX,
            keys_per_step: limits::KEYS_PER_STEP,
            long_bytes_min: limits::LONG_BYTES_MIN,
            strides: Strides::default(),
        }
    }
}

/// What is to be done for one of them, a step at a time.
#[derive(Debug)]
pub(super) enum Due {
    Plan(Box<Planning>),
    /// Its next slice.
    GoOn(TxId),
}

/// What is to become a transaction of very many keys.
#[derive(Debug)]
pub(super) struct Planning {
    command: CommandId,
    ticket: Ticket,
    form: Form,
    plan: Plan,
    left: Each,
    noting: Option<Noting>,
}

/// A request of very many keys, so many of which have been noted.
#[derive(Debug)]
struct Noting {
    queued: Queued,
    noted: usize,
}

/// A request whose slices run.
#[derive(Debug)]
pub(super) struct Long {
    pub(super) caller: Caller,
    pub(super) command: CommandId,
    request: Request,
    longs: Incoming,
    /// Words before the first slice, which all have, and words that stay together.
    head: usize,
    step: usize,
    /// The first word of the next slice.
    next: usize,
    /// Rounds over all keys: one for each stage of a staged command, one for all others.
    round: usize,
    rounds: usize,
    /// For each key of the slice under way the place of its owner.
    pub(super) owners: Vec<u16>,
    heard: Heard,
}

/// What the slices have said so far.
#[derive(Debug, Default)]
struct Heard {
    /// The sum of numbers, or the number of elements.
    total: i64,
    elements: Pieces,
    /// What is said as it is: OK, or an error.
    plain: Option<Output>,
    /// No further slice is to run.
    is_final: bool,
}

impl Shard {
    /// Whether a request is of so many keys that it is worked off in slices.
    #[inline]
    pub(super) fn is_long(&self, row: &Command, args: Args<'_>) -> bool {
        args.len() > self.slicing.words_at_once_max && row.is_divisible(args.len())
    }

    #[cold]
    #[inline(never)]
    pub(super) fn begin_long(&mut self, caller: &Caller, found: Found, args: Args<'_>, silent: bool, out: &mut Output) {
        let ticket = self.owe(caller, Where::Several, Barrier::Yes, silent, out);
        let (longs, request) = (std::mem::take(&mut self.store.incoming), Request::default());
        let queued = Queued { command: found.id, request, longs };
        let mut plan = Plan::of(*caller, Pace::InSlices);
        self.expect_keys(&mut plan, keys_of(found.row, args.len()));
        let (left, noting) = (Queue::default().into_each(), Some(Noting { queued, noted: 0 }));
        let planning = Planning { command: found.id, ticket, form: Form::Bare, plan, left, noting };
        self.long_requests.push_back(Due::Plan(Box::new(planning)));
        self.adopts = true;
    }

    /// What `begin_long` has begun is of this request.
    pub(super) fn keep_whole(&mut self, whole: Request) {
        match self.long_requests.back_mut() {
            Some(Due::Plan(planning)) => {
                planning.noting.as_mut().expect("begun just now").queued.request = whole;
            }
            _ => unreachable!("begun just now"),
        }
    }

    /// Begins to plan what is in the queue.
    pub(super) fn plan_in_slices(
        &mut self,
        command: CommandId,
        ticket: Ticket,
        form: Form,
        mut plan: Plan,
        queue: Queue,
    ) {
        self.expect_keys(&mut plan, queue.words() / 2);
        let planning = Planning { command, ticket, form, plan, left: queue.into_each(), noting: None };
        self.long_requests.push_back(Due::Plan(Box::new(planning)));
    }

    fn expect_keys(&self, plan: &mut Plan, keys: usize) {
        // Half of them on each of several lanes is a guess that grows once at most.
        plan.expect_keys(self.lanes.all(), keys / if self.lanes.is_one() { 1 } else { 2 });
    }

    /// The next slice of a transaction has to wait for the next turn.
    pub(super) fn later(&mut self, tx: TxId) {
        self.long_requests.push_back(Due::GoOn(tx));
    }

    /// Takes a step of each that is due, of one of them even if the turn is full.
    #[cold]
    #[inline(never)]
    pub(super) fn step_long_requests(&mut self) {
        for _ in 0..self.long_requests.len() {
            match self.long_requests.pop_front() {
                Some(Due::Plan(planning)) => self.plan_on(planning),
                Some(Due::GoOn(tx)) => self.go_on(tx),
                None => return,
            }
            if self.turn_is_full() {
                return;
            }
        }
    }

    fn plan_on(&mut self, mut planning: Box<Planning>) {
        let started = (self.stopwatch)();
        let is_whole = self.plan_some(&mut planning);
        let took_ns = (self.stopwatch)().saturating_sub(started);
        self.stalls.note(self.table.row(planning.command).name, took_ns);
        if is_whole {
            let Planning { ticket, form, plan, .. } = *planning;
            self.begin_txn(ticket, plan, form);
        } else {
            self.long_requests.push_back(Due::Plan(planning));
        }
    }

    /// Plans as many words as a turn has time for; whether that was all.
    fn plan_some(&mut self, planning: &mut Planning) -> bool {
        let mut room = self.slicing.keys_per_step;
        while room > 0 {
            let next = || planning.left.next().map(|queued| Noting { queued, noted: 0 });
            let Some(noting) = planning.noting.take().or_else(next) else { return true };
            let Queued { command, request, .. } = &noting.queued;
            let count = if self.is_long(self.table.row(*command), request.args()) {
                self.note_keys(planning, noting, room)
            } else {
                let words = request.args().len();
                self.plan(&mut planning.plan, noting.queued);
                words
            };
            self.ran += u32::try_from(count / limits::KEYS_NOTED_PER_REQUEST).unwrap_or(u32::MAX);
            room = room.saturating_sub(count);
        }
        false
    }

    /// Notes up to `room` keys of a request; how many. With the last its slices are a step.
    fn note_keys(&mut self, planning: &mut Planning, mut noting: Noting, room: usize) -> usize {
        let row = self.table.row(noting.queued.command);
        let is_of_queue = noting.noted == 0 && planning.form == Form::Array;
        let found = self.table.found(noting.queued.command);
        if is_of_queue
            && let Some(refused) = self.refused_step(&planning.plan.caller, found, noting.queued.request.args())
        {
            planning.plan.steps.push_back(refused);
            self.bury_longs(noting.queued.longs.into_ropes());
            return 1;
        }
        let (args, mut count) = (noting.queued.request.args(), 0);
        // All words behind the first key are keys, or belong to one; elements have one key.
        let first = usize::from(row.keys.first);
        let end = if row.elements.is_some() { first + 1 } else { args.len() };
        for i in (first..end).step_by(usize::from(row.keys.step.max(1))).skip(noting.noted).take(room) {
            let key = self.store.hash_key.key(args.at(i));
            count += 1;
            if !self.plant.strikes(Planted::ForgetKey) {
                planning.plan.hold_one(row, self.lanes.owner(key.slot()), key, mode(row));
            }
        }
        noting.noted += count;
        if count == room {
            planning.noting = Some(noting);
            return count;
        }
        planning.plan.grows |= row.flags.has(Flags::DENYOOM);
        let step = self.in_slices(Long::new(planning.plan.caller, noting.queued, row));
        planning.plan.steps.push_back(step);
        count
    }

    fn go_on(&mut self, tx: TxId) {
        if let Some(mut step) = self.txn(tx).doing.take() {
            if step.goes_on_later() && !step.has_errands() {
                self.enter_slice(&mut step);
            }
            self.txn(tx).doing = Some(step);
        }
        self.run_steps(tx);
    }
}

impl Long {
    fn new(caller: Caller, Queued { command, request, longs }: Queued, row: &Command) -> Self {
        let rounds = if let Run::Staged(stages) = row.run { stages.len() } else { 1 };
        let (head, step) =
            row.elements.map_or((row.keys.first, row.keys.step), |elements| (elements.first, elements.step));
        let (head, step) = (usize::from(head), usize::from(step.max(1)));
        let (owners, heard) = Default::default();
        Self { caller, command, request, longs, head, step, next: head, round: 0, rounds, owners, heard }
    }

    /// Whether all slices were taken, or no further one is wanted.
    pub(super) fn is_over(&self) -> bool {
        self.heard.is_final || self.next >= self.request.args().len() && self.round + 1 == self.rounds
    }

    /// The next keys or fields as a request of their own, whatever belongs to one going with it.
    pub(super) fn take_slice(&mut self, count: usize) -> (Request, Incoming) {
        let args = self.request.args();
        if self.next >= args.len() {
            self.round += 1;
            self.next = self.head;
        }
        let words = count * self.step;
        let slice = args.iter().take(self.head).chain(args.from(self.next).iter().take(words));
        let request = slice.collect();
        let longs = self.longs.part(self.next..self.next + words, self.head);
        self.next += words;
        (request, longs)
    }

    /// What of its command a slice is.
    pub(super) fn what(&self, row: &Command) -> What {
        if matches!(row.run, Run::Staged(_)) { What::Stage(self.round) } else { What::Part }
    }

    /// A slice was run everywhere and said this.
    pub(super) fn hear(&mut self, row: &Command, reply: Output) {
        let heard = &mut self.heard;
        match said(row) {
            _ if walk::is_error(&reply) => {
                heard.plain = Some(reply);
                heard.is_final = true;
            }
            Said::Sum => heard.total += walk::integer(&reply).unwrap_or(0),
            Said::Concat => {
                let elements = Walk::into_array(&reply);
                heard.total += i64::try_from(elements.len()).unwrap_or(0);
                elements.rest().copy_to(&mut heard.elements.writer());
                heard.elements.cut();
            }
            Said::Same => heard.plain = Some(reply),
        }
    }

    /// A stage was run everywhere for the keys of a slice: who ends the command there says what it is.
    pub(super) fn hear_stage(&mut self, ran: Vec<Ran>) {
        if let Some(ended) = ran.into_iter().find(|ran| ran.next.is_none()) {
            self.heard.plain = Some(ended.reply);
            self.heard.is_final = self.round + 1 < self.rounds;
        }
    }

    /// The reply to the whole.
    pub(super) fn reply(mut self, row: &Command) -> Output {
        if let Some(plain) = self.heard.plain {
            return plain;
        }
        let mut out = Output::default();
        let mut reply = Reply::new(&mut out, self.caller.dialect);
        if said(row) == Said::Concat {
            reply.array(usize::try_from(self.heard.total).unwrap_or(0));
            self.heard.elements.pour(&mut reply);
        } else {
            reply.int(self.heard.total);
        }
        out
    }
}

/// How many keys a divisible request of so many words has.
fn keys_of(row: &Command, words: usize) -> usize {
    if row.elements.is_some() { 1 } else { words / usize::from(row.keys.step.max(1)) }
}

fn said(row: &Command) -> Said {
    match (row.elements, row.policy) {
        (Some(elements), _) => elements.said,
        (None, Policy::MultiShard(Merge::Sum)) => Said::Sum,
        (None, Policy::MultiShard(Merge::KeyOrder)) => Said::Concat,
        _ => Said::Same,
    }
}
