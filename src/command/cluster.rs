//! CLUSTER: what can be said of slots by a server that is no node of a cluster. Keys lie in slot order in the table, so those of a
//! slot are enumerated, not searched. Redis answers these only in cluster mode; tools that measure slots need no other mode here.

use super::numbers::integer;
use super::sliced::{Job, Pieces};
use super::{Command, Ctx, Group, Outcome, Run};
use crate::base::hash::SLOTS;
use crate::base::limits;
use crate::types::Progress;
use crate::types::dict::Cursor;
use crate::wire::fault::Fault;
use crate::wire::reply::Reply;
use crate::wire::request::Args;

const ROW: Command = Command { group: Group::Cluster, since: "3.0.0", ..Command::ROW };

pub const ROWS: &[Command] = &[Command {
    name: "cluster",
    syntax: "CLUSTER",
    arity: -2,
    complexity: "Depends on subcommand.",
    summary: "Commands about slots.",
    children: CHILDREN,
    ..ROW
}];

const CHILDREN: &[Command] = &[
    Command {
        name: "cluster|countkeysinslot",
        syntax: "CLUSTER COUNTKEYSINSLOT slot",
        arity: 3,
        complexity: "O(N / 1000) where N is the number of keys in the slot",
        summary: "Answers how many keys of the database are in a slot.",
        about: |args| slot_number(args.get(2)?, "").ok(),
        run: Run::Keys(count_keys_in_slot),
        ..ROW
    },
    Command {
        name: "cluster|getkeysinslot",
        syntax: "CLUSTER GETKEYSINSLOT slot count",
        arity: 4,
        complexity: "O(N) where N is the count",
        summary: "Answers keys of the database that are in a slot, at most so many.",
        tips: &["nondeterministic_output"],
        about: |args| slot_number(args.get(2)?, "").ok(),
        run: Run::Sliced { start: |_, args| Ok(Box::new(KeysInSlot::new(args)?)) },
        ..ROW
    },
    Command {
        name: "cluster|help",
        syntax: "CLUSTER HELP",
        arity: 2,
        since: "5.0.0",
        flags: super::connection::FAST_HELP,
        summary: "Lists the subcommands.",
        run: Run::Session(super::introspect::help),
        ..ROW
    },
    Command {
        name: "cluster|keyslot",
        syntax: "CLUSTER KEYSLOT string",
        arity: 3,
        complexity: "O(N) where N is the length of the key",
        summary: "Answers the slot of a key, or of its hash tag.",
        run: Run::Keys(key_slot),
        ..ROW
    },
];

fn slot_number(arg: &[u8], fault: &'static str) -> Result<u16, Fault> {
    u16::try_from(integer(arg)?).ok().filter(|slot| *slot < SLOTS).ok_or(Fault::Fixed(fault))
}

/// By way of the whole hash: a second caller of the checksum alone would take it out of line on the hot path.
fn key_slot(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    reply.int(i64::from(ctx.key(args.at(2)).hash.slot()));
    Ok(())
}

/// Keys whose time has come but which are still there are counted, as in DBSIZE.
fn count_keys_in_slot(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let slot = slot_number(args.at(2), "ERR Invalid slot")?;
    reply.count(ctx.keyspace().count_in_slot(slot));
    Ok(())
}

/// GETKEYSINSLOT: walks the slot until enough are found.
#[derive(Debug)]
struct KeysInSlot {
    slot: u16,
    wanted: usize,
    found: usize,
    cursor: Cursor,
    pieces: Pieces,
}

impl KeysInSlot {
    fn new(args: Args<'_>) -> Result<Self, Fault> {
        const WRONG: &str = "ERR Invalid slot or number of keys";
        let slot = slot_number(args.at(2), WRONG)?;
        let wanted = usize::try_from(integer(args.at(3))?).map_err(|_| Fault::Fixed(WRONG))?;
        Ok(Self { slot, wanted, found: 0, cursor: Cursor::START, pieces: Pieces::default() })
    }
}

impl Job for KeysInSlot {
    fn step(&mut self, ctx: &mut Ctx<'_>, reply: &mut Reply<'_>) -> Result<Progress, Fault> {
        let (wanted, found, pieces) = (self.wanted, &mut self.found, &mut self.pieces);
        let (now, count) = (ctx.now, limits::SCAN_KEYS_PER_STEP.min(wanted - *found));
        if count > 0 {
            self.cursor = ctx.keyspace().scan_slot(self.slot, self.cursor, count, now, |entry| {
                if *found < wanted {
                    *found += 1;
                    pieces.writer().bulk(entry.key());
                }
            });
        }
        self.pieces.cut();
        if self.cursor != Cursor::START && self.found < self.wanted {
            return Ok(Progress::More);
        }
        reply.array(self.found);
        self.pieces.pour(reply);
        Ok(Progress::Done)
    }
}
