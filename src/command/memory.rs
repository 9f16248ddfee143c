//! MEMORY: what a key takes, where all memory is, and the allocator.

use super::connection::FAST_HELP;
use super::merge;
use super::numbers::integer;
use super::{
    Command, Ctx, Desk, FactsPage, Flags, Group, Keys, Merge, Merging, Outcome, Over, Part, Policy, Run, Verb,
};
use crate::base::ascii::is_word;
use crate::wire::fault::Fault;
use crate::wire::reply::Reply;
use crate::wire::request::Args;

const ROW: Command = Command { group: Group::Server, since: "4.0.0", arity: 2, ..Command::ROW };

pub const ROWS: &[Command] = &[Command {
    name: "memory",
    syntax: "MEMORY",
    arity: -2,
    complexity: "Depends on subcommand.",
    summary: "Commands about memory.",
    children: CHILDREN,
    ..ROW
}];

const CHILDREN: &[Command] = &[
    Command {
        name: "memory|doctor",
        syntax: "MEMORY DOCTOR",
        summary: "Tells what is odd about the memory and what to do about it.",
        policy: Policy::AllShards(Merge::Special),
        tips: &["nondeterministic_output"],
        run: Run::Verb(Verb::Facts(FactsPage::MemoryDoctor)),
        ..ROW
    },
    Command {
        name: "memory|help",
        syntax: "MEMORY HELP",
        flags: FAST_HELP,
        summary: "Lists the subcommands.",
        run: Run::Session(super::introspect::help),
        ..ROW
    },
    Command {
        name: "memory|malloc-stats",
        syntax: "MEMORY MALLOC-STATS",
        complexity: "Depends on how much memory is allocated",
        summary: "Answers what the allocator tells about itself.",
        policy: Policy::AllShards(Merge::Special),
        tips: &["nondeterministic_output"],
        run: Run::Session(malloc_stats),
        ..ROW
    },
    Command {
        name: "memory|purge",
        syntax: "MEMORY PURGE",
        complexity: "Depends on how much memory is free",
        summary: "Gives free memory back to the kernel.",
        policy: Policy::AllShards(Merge::AllSucceeded),
        run: Run::Split { over: Over::Nodes, part: Part::Desk(purge), merge: Merging::Several(merge::all_succeeded) },
        ..ROW
    },
    Command {
        name: "memory|stats",
        syntax: "MEMORY STATS",
        summary: "Tells where the memory is.",
        policy: Policy::AllShards(Merge::Special),
        tips: &["nondeterministic_output"],
        run: Run::Verb(Verb::Facts(FactsPage::MemoryStats)),
        ..ROW
    },
    Command {
        name: "memory|usage",
        syntax: "MEMORY USAGE key [SAMPLES count]",
        arity: -3,
        flags: Flags::READONLY,
        keys: Keys::second(Keys::LOOK),
        summary: "Answers the bytes a key and its value take, counted, not sampled.",
        run: Run::Keys(usage),
        ..ROW
    },
];

fn usage(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let mut options = args.from(3).iter();
    while let Some(word) = options.next() {
        let count = options.next().filter(|_| is_word(word, "SAMPLES")).ok_or(Fault::Syntax)?;
        if integer(count)? < 0 {
            return Err(Fault::Syntax);
        }
    }
    let (key, now) = (ctx.key(args.at(2)), ctx.now);
    match ctx.keyspace().find(key.bytes, key.hash, now) {
        Some(entry) => reply.count(entry.bytes()),
        None => reply.null(),
    }
    Ok(())
}

/// Of the whole process, whichever lane is asked.
fn malloc_stats(desk: &mut Desk<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    reply.verbatim("txt", (desk.allocator.report)().as_bytes());
    Ok(())
}

/// Each lane what it has.
fn purge(desk: &mut Desk<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    (desk.allocator.purge)();
    reply.ok();
    Ok(())
}
