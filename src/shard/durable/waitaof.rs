//! WAITAOF: a connection waits until what it has written is on the disk, whatever `appendfsync` says.
//!
//! ```text
//!  its earlier requests are all answered --> every lane is asked: when is your journal firm up to where it ends now? --> all have told
//!                                            (each syncs at once: somebody waits)                                         [1, 0]
//! ```
//!
//! What others have written meanwhile is waited for as well, which costs no more: a sync takes all there is. There are no replicas, so that
//! who wants any waits for its time to be over.

use super::super::Shard;
use super::super::blocking::DiskWait;
use super::journal::Standing;
use super::withheld::{Asks, Fate, Parting as Leaving};
use crate::command::blocking::{Patience, WaitAof, waitaof};
use crate::command::clients::{BlockId, Parting};
use crate::command::owed::{Barrier, Where};
use crate::command::table::Found;
use crate::command::{Caller, Outcome};
use crate::persist::Position;
use crate::wire::fault::Fault;
use crate::wire::output::Output;
use crate::wire::reply::Reply;
use crate::wire::request::Args;

const NO_JOURNAL: Fault = Fault::Fixed("ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.");

impl DiskWait {
    pub(in crate::shard) fn reply(self, caller: &Caller) -> Output {
        let mut out = Output::default();
        self.write(&mut Reply::new(&mut out, caller.dialect));
        out
    }

    fn write(self, reply: &mut Reply<'_>) {
        reply.array(2);
        reply.int(i64::from(self.is_firm));
        reply.int(0);
    }
}

impl Shard {
    /// `out` holds the replies before it.
    pub(in crate::shard) fn begin_waitaof(
        &mut self,
        caller: &Caller,
        found: Found,
        args: Args<'_>,
        silent: bool,
        out: &mut Output,
    ) {
        let wish = match self.read_waitaof(args) {
            Ok(wish) => wish,
            Err(fault) => {
                return self.answer_at_once(silent, out, |shard, out| shard.fail(found.id, &fault, caller, out));
            }
        };
        self.stats.count_call(found.id.0);
        let is_firm = self.is_all_firm();
        if !wish.replicas && (!wish.local || is_firm) {
            let known = DiskWait { is_firm, wants_replicas: false };
            return self.answer_at_once(silent, out, |_, out| known.write(&mut Reply::new(out, caller.dialect)));
        }
        let ticket = self.owe(caller, Where::Several, Barrier::Yes, silent, out);
        let patience = if wish.patience == Patience::None { Patience::Forever } else { wish.patience };
        let block = self.open_block(caller, found, args, ticket, patience);
        self.blocks.wait_for_disk(block, DiskWait { is_firm: false, wants_replicas: wish.replicas });
        self.begin_waiting(block);
        if self.keeps_journal() {
            self.tell_block_when_firm(block);
        } else {
            self.rewrites.unasked.push(block);
        }
    }

    /// As it is: within EXEC nobody waits.
    pub(in crate::shard) fn waitaof_now(&mut self, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
        self.read_waitaof(args)?;
        DiskWait { is_firm: self.is_all_firm(), wants_replicas: false }.write(reply);
        Ok(())
    }

    fn read_waitaof(&self, args: Args<'_>) -> Result<WaitAof, Fault> {
        let wish = waitaof(args, self.at)?;
        if wish.local && !self.config.appendonly() { Err(NO_JOURNAL) } else { Ok(wish) }
    }

    /// Whether this lane knows that all is on the disk: of others it does not.
    fn is_all_firm(&self) -> bool {
        let end = self.journal_end();
        let is_written =
            |durable: &super::Durable| durable.journal.standing() == Standing::Counts && end <= durable.journal.firm();
        self.lanes.is_one() && self.durable.as_deref().is_some_and(is_written)
    }

    /// The journal counts now: those who asked before are told when what there is then is firm.
    pub(super) fn answer_curious(&mut self) {
        for (home, number) in std::mem::take(&mut self.rewrites.curious) {
            self.tell_when_firm(home, number, Position::MAX, Asks::WaitAof);
        }
    }

    /// The journal is switched off: nobody learns any more when it is firm.
    pub(super) fn disappoint_curious(&mut self) {
        for (home, number) in std::mem::take(&mut self.rewrites.curious) {
            self.depart(Leaving::Tell(home, number), Fate::Lost);
        }
        for block in std::mem::take(&mut self.rewrites.unasked) {
            self.end_waitaof(block, Fate::Lost);
        }
    }

    /// All lanes have told.
    pub(super) fn end_waitaof(&mut self, block: BlockId, fate: Fate) {
        let Some(wait) = self.blocks.disk_wait(block) else { return };
        wait.is_firm = fate == Fate::Firm;
        if !wait.wants_replicas || fate == Fate::Lost {
            self.part(block, Parting::TimedOut);
        }
    }
}
