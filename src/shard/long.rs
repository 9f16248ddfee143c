//! Requests of very many keys: in slices, and still at one moment.
//!
//! ```text
//!  MSET of 200,000 keys
//!    begin_long   the request is copied, its connection waits
//!    prepare      its keys are noted by their owners                    KEYS_PER_STEP a turn
//!    begin_txn    on each lane a claim on the set of its keys           constant time (locks.rs)
//!    go_on        a slice of the keys over the lanes                    KEYS_PER_STEP a turn
//!    end          the intents given back; what the slices said, put together
//! ```
//!
//! Whoever wants a key of them, or the keyspace as a whole, waits for the end; all others are served between the slices. Copying the request
//! is the only thing that takes the longer the more keys there are.
//!
//! Absent: such requests inside MULTI, which run with their EXEC.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use hashbrown::HashSet;

use super::Shard;
use super::locks::Scope;
use super::message::{Ticket, TxId};
use super::route::mode;
use super::txn::{Form, Share};
use crate::base::hash::KeyHash;
use crate::base::lanes::ShardId;
use crate::base::limits;
use crate::command::owed::{Barrier, Where};
use crate::command::sliced::Pieces;
use crate::command::table::{CommandId, Found};
use crate::command::{Caller, Command, Flags, Merge, Policy};
use crate::wire::output::Output;
use crate::wire::reply::Reply;
use crate::wire::request::{Args, Request};
use crate::wire::walk::{self, Walk};

/// What is to be done for one of them, a step at a time.
#[derive(Debug)]
pub(super) enum Due {
    Prepare(Box<Preparing>),
    /// Its next slice.
    GoOn(TxId),
}

/// A request whose keys are being noted.
#[derive(Debug)]
pub(super) struct Preparing {
    caller: Caller,
    ticket: Ticket,
    command: CommandId,
    request: Request,
    keys: BTreeMap<ShardId, HashSet<KeyHash>>,
    noted: usize,
}

/// A request whose slices run.
#[derive(Debug)]
pub(super) struct Long {
    pub(super) caller: Caller,
    pub(super) command: CommandId,
    request: Request,
    /// The first word of the next slice.
    next: usize,
    /// For each key of the slice under way the place of its owner.
    pub(super) owners: Vec<u16>,
    said: Said,
}

/// What the slices have said so far.
#[derive(Debug, Default)]
struct Said {
    /// The sum of numbers, or the number of elements.
    total: i64,
    elements: Pieces,
    /// What is said as it is: OK, or an error.
    plain: Option<Output>,
}

/// Whether a request is of so many keys that it is worked off in slices.
pub(super) fn is_long(row: &Command, args: Args<'_>) -> bool {
    args.len() > limits::KEYS_AT_ONCE_MAX && row.is_split_by_keys()
}

impl Shard {
    #[cold]
    #[inline(never)]
    pub(super) fn begin_long(&mut self, caller: &Caller, found: Found, args: Args<'_>, silent: bool, out: &mut Output) {
        let ticket = self.owe(caller, Where::Several, Barrier::Yes, silent, out);
        let (keys, noted) = Default::default();
        let preparing = Preparing { caller: *caller, ticket, command: found.id, request: args.into(), keys, noted };
        self.charge(args.extent());
        self.long_requests.push_back(Due::Prepare(Box::new(preparing)));
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
                Some(Due::Prepare(preparing)) => self.prepare(preparing),
                Some(Due::GoOn(tx)) => self.go_on(tx),
                None => return,
            }
            if self.turn_is_full() {
                return;
            }
        }
    }

    fn prepare(&mut self, mut preparing: Box<Preparing>) {
        let started = (self.stopwatch)();
        let row = self.table.row(preparing.command);
        let Preparing { request, keys, noted, .. } = &mut *preparing;
        let args = request.args();
        let room = args.len() / usize::from(row.keys.step.max(1) * if self.lanes.is_one() { 1 } else { 2 });
        let before = *noted;
        for i in row.keys.positions(args).skip(before).take(limits::KEYS_PER_STEP) {
            let key = self.store.hash_key.key(args.at(i));
            let set = keys.entry(self.lanes.owner(key.slot())).or_insert_with(|| HashSet::with_capacity(room));
            set.insert(key);
            *noted += 1;
        }
        let count = *noted - before;
        self.ran += u32::try_from(count / limits::KEYS_NOTED_PER_REQUEST).unwrap_or(u32::MAX);
        let took_ns = (self.stopwatch)().saturating_sub(started);
        self.stalls.note(row.name, took_ns);
        if count == limits::KEYS_PER_STEP {
            self.long_requests.push_back(Due::Prepare(preparing));
        } else {
            self.begin_slices(row, *preparing);
        }
    }

    fn begin_slices(&mut self, row: &Command, preparing: Preparing) {
        let Preparing { caller, ticket, command, request, keys, .. } = preparing;
        let hold = |(lane, keys)| Share { scope: Some(Scope::Many(Arc::new(keys), mode(row))), ..Share::new(lane) };
        let shares = keys.into_iter().map(hold).collect();
        let (owners, said) = Default::default();
        let next = usize::from(row.keys.first);
        let step = self.in_slices(Long { caller, command, request, next, owners, said });
        let grows = row.flags.has(Flags::DENYOOM);
        self.begin_txn(&caller, ticket, shares, VecDeque::from([step]), Form::Bare, grows);
    }

    fn go_on(&mut self, tx: TxId) {
        let mut step = self.txn(tx).doing.take().expect("a step is under way");
        self.enter_slice(&mut step);
        self.txn(tx).doing = Some(step);
        self.run_steps(tx);
    }
}

impl Long {
    /// Whether all slices were taken.
    pub(super) fn is_over(&self) -> bool {
        self.next >= self.request.args().len()
    }

    /// The next keys as a request of their own, whatever belongs to a key going with it.
    pub(super) fn take_slice(&mut self, row: &Command) -> Request {
        let args = self.request.args();
        let words = limits::KEYS_PER_STEP * usize::from(row.keys.step.max(1));
        let slice = args.iter().take(usize::from(row.keys.first)).chain(args.from(self.next).iter().take(words));
        let request = slice.collect();
        self.next += words;
        request
    }

    /// A slice was run everywhere and said this.
    pub(super) fn said(&mut self, row: &Command, reply: Output) {
        let said = &mut self.said;
        match row.policy {
            _ if walk::is_error(&reply) => said.plain = Some(reply),
            Policy::MultiShard(Merge::Sum) => said.total += walk::integer(&reply).unwrap_or(0),
            Policy::MultiShard(Merge::KeyOrder) => {
                let elements = Walk::into_array(&reply);
                said.total += i64::try_from(elements.len()).unwrap_or(0);
                elements.rest().copy_to(&mut said.elements.writer());
                said.elements.cut();
            }
            _ => said.plain = said.plain.take().or(Some(reply)),
        }
    }

    /// The reply to the whole.
    pub(super) fn reply(mut self, row: &Command) -> Output {
        if let Some(plain) = self.said.plain {
            return plain;
        }
        let mut out = Output::default();
        let mut reply = Reply::new(&mut out, self.caller.dialect);
        match row.policy {
            Policy::MultiShard(Merge::KeyOrder) => {
                reply.array(usize::try_from(self.said.total).unwrap_or(0));
                self.said.elements.pour(&mut reply);
            }
            _ => reply.int(self.said.total),
        }
        out
    }
}
