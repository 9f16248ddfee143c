//! CLUSTER, READONLY, READWRITE, ASKING. On a shard port the server is a cluster whose nodes are its lanes (`nodes.rs`), and answers as one.
//! On the ordinary port it is none: there only what can be said of slots is answered, which Redis refuses, so that tools can measure
//! slots without a second mode. Keys lie in slot order in the table: those of a slot are enumerated, not searched.
//!
//! Absent: what would change a cluster. Lanes are dealt their slots at the start.

use super::nodes::{Node, Nodes};
use super::numbers::integer;
use super::sliced::{Job, Pieces};
use super::{Command, Ctx, Desk, Flags, Group, Outcome, Run};
use crate::base::hash::SLOTS;
use crate::base::lanes::ShardId;
use crate::base::limits;
use crate::store::keyspace::Graveyard;
use crate::types::Progress;
use crate::types::dict::Cursor;
use crate::wire::fault::Fault;
use crate::wire::reply::Reply;
use crate::wire::request::Args;

const ROW: Command = Command { group: Group::Cluster, since: "3.0.0", ..Command::ROW };
/// Redis's manual has these among the cluster commands, its permissions among those of the connection, which matters more.
const MODE: Command =
    Command { group: Group::Connection, flags: Flags::LOADING.and(Flags::STALE).and(Flags::FAST), ..ROW };
const CHILD: Command = Command { flags: Flags::STALE, ..ROW };

pub const ROWS: &[Command] = &[
    Command {
        name: "asking",
        syntax: "ASKING",
        arity: 1,
        flags: Flags::FAST,
        summary: "Lets the next command have a slot that is on its way to this node. None ever is.",
        run: Run::Session(accepted),
        ..MODE
    },
    Command {
        name: "cluster",
        syntax: "CLUSTER",
        arity: -2,
        complexity: "Depends on subcommand.",
        summary: "Commands about slots and nodes.",
        children: CHILDREN,
        ..ROW
    },
    Command {
        name: "readonly",
        syntax: "READONLY",
        arity: 1,
        summary: "Lets this connection read from a replica. There are none.",
        run: Run::Session(accepted),
        ..MODE
    },
    Command {
        name: "readwrite",
        syntax: "READWRITE",
        arity: 1,
        summary: "Takes READONLY back.",
        run: Run::Session(accepted),
        ..MODE
    },
];

const CHILDREN: &[Command] = &[
    Command {
        name: "cluster|countkeysinslot",
        syntax: "CLUSTER COUNTKEYSINSLOT slot",
        arity: 3,
        complexity: "O(N / 1000) where N is the number of keys in the slot",
        summary: "Answers how many keys of the database are in a slot.",
        about: |args| slot_number(args.get(2)?, "").ok(),
        run: Run::Keys(count_keys_in_slot),
        ..CHILD
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
        ..CHILD
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
        name: "cluster|info",
        syntax: "CLUSTER INFO",
        arity: 2,
        summary: "Tells how the cluster does.",
        tips: &["nondeterministic_output"],
        run: Run::Session(info),
        ..CHILD
    },
    Command {
        name: "cluster|keyslot",
        syntax: "CLUSTER KEYSLOT string",
        arity: 3,
        complexity: "O(N) where N is the length of the key",
        summary: "Answers the slot of a key, or of its hash tag.",
        run: Run::Keys(key_slot),
        ..CHILD
    },
    Command {
        name: "cluster|links",
        syntax: "CLUSTER LINKS",
        arity: 2,
        since: "7.0.0",
        complexity: "O(1)",
        summary: "Lists the connections between nodes. Lanes have none.",
        tips: &["nondeterministic_output"],
        run: Run::Session(links),
        ..CHILD
    },
    Command {
        name: "cluster|myid",
        syntax: "CLUSTER MYID",
        arity: 2,
        summary: "Answers the id of the node.",
        run: Run::Session(my_id),
        ..CHILD
    },
    Command {
        name: "cluster|myshardid",
        syntax: "CLUSTER MYSHARDID",
        arity: 2,
        since: "7.2.0",
        summary: "Answers the id that the node shares with its replicas.",
        tips: &["nondeterministic_output"],
        run: Run::Session(my_shard_id),
        ..CHILD
    },
    Command {
        name: "cluster|nodes",
        syntax: "CLUSTER NODES",
        arity: 2,
        complexity: "O(N) where N is the number of nodes",
        summary: "Tells about every node, a line each.",
        tips: &["nondeterministic_output"],
        run: Run::Session(nodes),
        ..CHILD
    },
    Command {
        name: "cluster|replicas",
        syntax: "CLUSTER REPLICAS node-id",
        arity: 3,
        flags: Flags::ADMIN.and(Flags::STALE),
        since: "5.0.0",
        complexity: "O(N) where N is the number of replicas",
        summary: "Lists the replicas of a node. There are none.",
        tips: &["nondeterministic_output"],
        run: Run::Session(replicas),
        ..ROW
    },
    Command {
        name: "cluster|shards",
        syntax: "CLUSTER SHARDS",
        arity: 2,
        since: "7.0.0",
        complexity: "O(N) where N is the number of nodes",
        summary: "Answers which slots are whose, with all about each node.",
        tips: &["nondeterministic_output"],
        run: Run::Session(shards),
        ..CHILD
    },
    Command {
        name: "cluster|slots",
        syntax: "CLUSTER SLOTS",
        arity: 2,
        complexity: "O(N) where N is the number of nodes",
        summary: "Answers which slots are whose.",
        tips: &["nondeterministic_output"],
        run: Run::Session(slots),
        ..CHILD
    },
];

/// What the cluster looks like from the caller's shard port. A fault on the ordinary port.
fn cluster<'s>(desk: &'s Desk<'_>) -> Result<Nodes<'s>, Fault> {
    if !desk.caller.shard_port {
        return Err(Fault::Fixed("ERR This instance has cluster support disabled"));
    }
    let client = desk.clients.get(desk.caller.conn).expect("the caller's connection outlives its command");
    Ok(Nodes::seen_by(client, desk.config, desk.identity))
}

fn this_node(desk: &Desk<'_>) -> Result<Node, Fault> {
    Ok(cluster(desk)?.node(ShardId(desk.identity.lane)))
}

/// What matters only with replicas or slots on the move.
fn accepted(desk: &mut Desk<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    cluster(desk)?;
    reply.ok();
    Ok(())
}

fn slots(desk: &mut Desk<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let nodes = cluster(desk)?;
    reply.array(nodes.count());
    for node in nodes.all() {
        reply.array(3);
        slot_range(&node, reply);
        reply.array(4);
        reply.text(nodes.ip());
        reply.int(i64::from(node.port));
        reply.text(&node.id);
        // Host names, if there were any.
        reply.map(0);
    }
    Ok(())
}

fn slot_range(node: &Node, reply: &mut Reply<'_>) {
    [node.slots.start(), node.slots.end()].into_iter().for_each(|slot| reply.int(i64::from(*slot)));
}

fn shards(desk: &mut Desk<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let nodes = cluster(desk)?;
    reply.array(nodes.count());
    for node in nodes.all() {
        reply.map(2);
        reply.text("slots");
        reply.array(2);
        slot_range(&node, reply);
        reply.text("nodes");
        reply.array(1);
        reply.map(7);
        reply.text("id");
        reply.text(&node.id);
        reply.text("port");
        reply.int(i64::from(node.port));
        for (name, value) in [("ip", nodes.ip()), ("endpoint", nodes.ip()), ("role", "master")] {
            reply.text(name);
            reply.text(value);
        }
        reply.text("replication-offset");
        reply.int(0);
        reply.text("health");
        reply.text("online");
    }
    Ok(())
}

fn nodes(desk: &mut Desk<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let (nodes, me, now) = (cluster(desk)?, ShardId(desk.identity.lane), desk.now.millis());
    let line = |node: Node| {
        let (Node { id, port, .. }, ip, epoch) = (&node, nodes.ip(), epoch(node.lane));
        let (flags, heard_ms) = if node.lane == me { ("myself,master", 0) } else { ("master", now.0) };
        let (first, last) = (node.slots.start(), node.slots.end());
        let range = if first == last { first.to_string() } else { format!("{first}-{last}") };
        format!("{id} {ip}:{port}@{} {flags} - 0 {heard_ms} {epoch} connected {range}\n", node.bus_port())
    };
    reply.verbatim("txt", nodes.all().map(line).collect::<String>().as_bytes());
    Ok(())
}

/// In a cluster that grew of itself each node would have got another one.
fn epoch(lane: ShardId) -> u16 {
    lane.0 + 1
}

fn info(desk: &mut Desk<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let (count, mine) = (cluster(desk)?.count(), epoch(ShardId(desk.identity.lane)));
    let text = format!(
        "cluster_state:ok\r\ncluster_slots_assigned:{SLOTS}\r\ncluster_slots_ok:{SLOTS}\r\ncluster_slots_pfail:0\r\n\
         cluster_slots_fail:0\r\ncluster_known_nodes:{count}\r\ncluster_size:{count}\r\ncluster_current_epoch:{count}\r\n\
         cluster_my_epoch:{mine}\r\ncluster_stats_messages_sent:0\r\ncluster_stats_messages_received:0\r\n\
         total_cluster_links_buffer_limit_exceeded:0\r\n"
    );
    reply.verbatim("txt", text.as_bytes());
    Ok(())
}

fn my_id(desk: &mut Desk<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    reply.text(&this_node(desk)?.id);
    Ok(())
}

fn my_shard_id(desk: &mut Desk<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    reply.text(&this_node(desk)?.shard_id);
    Ok(())
}

fn links(desk: &mut Desk<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    cluster(desk)?;
    reply.array(0);
    Ok(())
}

fn replicas(desk: &mut Desk<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let (nodes, wanted) = (cluster(desk)?, args.at(2));
    if !nodes.all().any(|node| node.id.as_bytes() == wanted) {
        let wanted = String::from_utf8_lossy(wanted).replace(['\r', '\n'], " ");
        return Err(Fault::text(format!("ERR Unknown node {wanted}")));
    }
    reply.array(0);
    Ok(())
}

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

    fn abandon(self: Box<Self>, graves: &mut Graveyard) {
        self.pieces.bury(graves);
    }
}
