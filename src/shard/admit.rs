//! The gate: refusals in a fixed order, and nothing else. Redis's order in `processCommand`.

use super::Shard;
use crate::admin::acl::Clearance;
use crate::command::nodes::Nodes;
use crate::command::table::Found;
use crate::command::{Caller, Command, Flags, Run, Verb};
use crate::config::Fsync;
use crate::wire::fault::{Fault, UnknownCommand};
use crate::wire::reply::Reply;
use crate::wire::request::Args;

/// To whoever has asked for the disk.
const NOT_YET: Fault =
    Fault::Fixed("MISCONF The journal is being begun: until it counts, CLIENT DURABILITY FSYNC cannot be kept");

impl Shard {
    /// The row that runs, a subcommand's rather than its container's, or why nothing does.
    #[inline(always)]
    pub(super) fn admit(&self, caller: &Caller, found: Option<Found>, args: Args<'_>) -> Result<Found, Fault> {
        let Some(mut found) = found else { return Err(unknown(args)) };
        if !found.row.children.is_empty() {
            found = self.child(found, args)?;
        }
        let refusal = self.refusal(caller, found, args);
        match refusal {
            None => Ok(found),
            Some(fault) => Err(fault),
        }
    }

    /// A request was refused for good: one that is refused before it is routed comes here only where it would have run.
    #[cold]
    pub(super) fn count_rejected(&mut self, caller: &Caller, found: Option<Found>, args: Args<'_>, fault: &Fault) {
        if let Fault::Denied(denied) = fault {
            self.note_denied(caller, denied, self.context_of(caller));
        }
        if let (Some(found), false) = (found, matches!(fault, Fault::UnknownSubcommand(_))) {
            let row = self.table.innermost(found, args);
            self.stats.commands[usize::from(row.id.0)].rejected += 1;
        }
    }

    /// Counts and says that a request is refused where it would have run.
    #[cold]
    pub(super) fn reject(
        &mut self,
        caller: &Caller,
        found: Option<Found>,
        args: Args<'_>,
        fault: &Fault,
        reply: &mut Reply<'_>,
    ) {
        self.count_rejected(caller, found, args, fault);
        match found {
            Some(found) if is_exec(found) => self.refuse(&exec_abort(fault), reply),
            _ => self.refuse(fault, reply),
        }
    }

    fn child(&self, container: Found, args: Args<'_>) -> Result<Found, Fault> {
        let Some(word) = args.get(1) else { return Ok(container) };
        self.table.find_child(container, word).ok_or_else(|| {
            let name = self.table.row(container.id).name;
            Fault::UnknownSubcommand(Box::new((word.to_vec(), name)))
        })
    }

    #[inline(always)]
    fn refusal(&self, caller: &Caller, found: Found, args: Args<'_>) -> Option<Fault> {
        let row = found.row;
        if !row.arity_fits(args.len()) {
            return Some(Fault::Arity(row.name));
        }
        // A way of its own, which does not come back to this one: who may everything pays for a comparison.
        if caller.clearance != Clearance::Full {
            return self.refusal_of_limited(caller, found, args);
        }
        self.refusal_by_state(caller, row, args)
    }

    #[cold]
    #[inline(never)]
    fn refusal_of_limited(&self, caller: &Caller, found: Found, args: Args<'_>) -> Option<Fault> {
        let by_user = self.refusal_of_user(caller, found, args);
        by_user.or_else(|| self.refusal_by_state(caller, found.row, args))
    }

    #[inline(always)]
    fn refusal_by_state(&self, caller: &Caller, row: &'static Command, args: Args<'_>) -> Option<Fault> {
        if self.is_restricted
            && let Some(fault) = self.restriction(caller, row)
        {
            return Some(fault);
        }
        if caller.shard_port { self.refusal_of_node(caller, row, args) } else { None }
    }

    /// What is refused while the keyspace is loaded, and when the journal cannot be written, or not yet.
    #[cold]
    fn restriction(&self, caller: &Caller, row: &'static Command) -> Option<Fault> {
        if self.loading.is_some() && !row.flags.has(Flags::LOADING) {
            return Some(Fault::Fixed("LOADING Redis is loading the dataset in memory"));
        }
        if !row.is_write() {
            return None;
        }
        if let Some((_, why)) = &self.disk_failure {
            return Some(Fault::text(why.clone()));
        }
        // Under `always` who asked for it is not told from who did not, of whom none is refused, as in Redis.
        let asked = caller.fsyncs && self.config.journal_fsync() != Some(Fsync::Always);
        (asked && self.lacks_journal()).then_some(NOT_YET)
    }

    /// What a node of a cluster refuses: databases other than the first, and, if `shard-port-moved` wants it, keys of several slots and
    /// those of other nodes, which are forwarded otherwise.
    #[inline(never)]
    fn refusal_of_node(&self, caller: &Caller, row: &'static Command, args: Args<'_>) -> Option<Fault> {
        if row.keys.first == 0 {
            return (row.name == "swapdb").then_some(Fault::Fixed("ERR SWAPDB is not allowed in cluster mode"));
        }
        // Before the keys are looked for: this is asked for each request of a shard port.
        if !self.config.shard_port_moved() {
            return None;
        }
        let first = row.keys.positions(args).next()?;
        let slot_of = |key: &[u8]| self.store.hash_key.key(key).slot();
        let slot = slot_of(args.at(first));
        if row.keys.positions(args).skip(1).any(|key| slot_of(args.at(key)) != slot) {
            return Some(Fault::CrossSlot);
        }
        let is_elsewhere = caller.home == self.me && self.lanes.owner(slot) != self.me;
        let client = self.clients.get(caller.conn).filter(|_| is_elsewhere)?;
        Some(Nodes::seen_by(client, &self.config, &self.identity).moved(slot))
    }

    /// Whether this lane has the memory that a command may need: its share of `maxmemory`.
    #[inline(always)]
    pub(super) fn afford(&self, found: Found) -> Result<(), Fault> {
        if found.row.flags.has(Flags::DENYOOM) && self.is_full() { Err(Fault::OutOfMemory) } else { Ok(()) }
    }

    #[inline]
    pub(super) fn is_full(&self) -> bool {
        let limit = self.config.maxmemory_bytes();
        limit > 0 && self.store.is_full(limit.div_ceil(u64::from(self.lanes.count())))
    }
}

pub(super) fn is_exec(found: Found) -> bool {
    matches!(found.row.run, Run::Verb(Verb::Exec))
}

/// Why an EXEC that was refused has aborted its transaction.
pub(super) fn exec_abort(fault: &Fault) -> Fault {
    let line = fault.line();
    let why = line.strip_prefix("ERR ").unwrap_or(&line);
    Fault::text(format!("EXECABORT Transaction discarded because of: {why}"))
}

#[cold]
fn unknown(args: Args<'_>) -> Fault {
    let shown = |arg: &[u8]| arg[..arg.len().min(128)].to_vec();
    let name = shown(args.get(0).unwrap_or_default());
    Fault::UnknownCommand(Box::new(UnknownCommand { name, args: args.from(1).iter().take(64).map(shown).collect() }))
}
