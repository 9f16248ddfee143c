//! SLOWLOG: each lane tells of its own clients' requests (`admin/slowlog.rs`), what a client sees is made of all of them.

use super::connection::FAST_HELP;
use super::merge::Merging as Parts;
use super::{Command, Desk, Flags, Group, Merge, Merging, Outcome, Over, Part, Policy, Run, merge};
use crate::admin::slowlog::Entry;
use crate::base::ascii::parse_i64;
use crate::wire::fault::Fault;
use crate::wire::reply::Reply;
use crate::wire::request::Args;
use crate::wire::walk::{Element, Walk};

const CHILD: Command = Command {
    group: Group::Server,
    since: "2.2.12",
    flags: Flags::ADMIN.and(Flags::LOADING).and(Flags::STALE),
    ..Command::ROW
};

pub const ROWS: &[Command] = &[Command {
    name: "slowlog",
    syntax: "SLOWLOG",
    arity: -2,
    group: Group::Server,
    since: "2.2.12",
    complexity: "Depends on subcommand.",
    summary: "Commands about requests that took long.",
    children: CHILDREN,
    ..Command::ROW
}];

const CHILDREN: &[Command] = &[
    Command {
        name: "slowlog|get",
        syntax: "SLOWLOG GET [count]",
        arity: -2,
        complexity: "O(N) where N is the number of entries returned",
        summary: "Answers the latest requests that took long, ten if no number is given, all for -1.",
        policy: Policy::AllNodes(Merge::Special),
        tips: &["nondeterministic_output"],
        run: Run::Split { over: Over::Nodes, part: Part::Desk(dump), merge: Merging::Always(newest) },
        ..CHILD
    },
    Command {
        name: "slowlog|help",
        syntax: "SLOWLOG HELP",
        arity: 2,
        flags: FAST_HELP,
        since: "6.2.0",
        summary: "Lists the subcommands.",
        run: Run::Session(super::introspect::help),
        ..CHILD
    },
    Command {
        name: "slowlog|len",
        syntax: "SLOWLOG LEN",
        arity: 2,
        summary: "Answers how many requests SLOWLOG GET has.",
        policy: Policy::AllNodes(Merge::Sum),
        tips: &["nondeterministic_output"],
        run: Run::Split { over: Over::Nodes, part: Part::Desk(len), merge: Merging::Always(len_of_all) },
        ..CHILD
    },
    Command {
        name: "slowlog|reset",
        syntax: "SLOWLOG RESET",
        arity: 2,
        complexity: "O(N) where N is the number of entries in the slowlog",
        summary: "Forgets them.",
        policy: Policy::AllNodes(Merge::AllSucceeded),
        run: Run::Split { over: Over::Nodes, part: Part::Desk(reset), merge: Merging::Several(merge::all_succeeded) },
        ..CHILD
    },
];

/// What a lane knows, newest first: how many are wanted, then of each its time, number and entry.
fn dump(desk: &mut Desk<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let count = match (args.len(), args.get(2)) {
        (2, _) => 10,
        (3, Some(word)) => parse_i64(word)
            .filter(|count| *count >= -1)
            .ok_or(Fault::Fixed("ERR count should be greater than or equal to -1"))?,
        _ => return Err(Fault::subcommand(args.at(1), "SLOWLOG")),
    };
    let wanted = usize::try_from(count).unwrap_or(usize::MAX).min(desk.slowlog.len_max);
    let entries = desk.slowlog.entries();
    let told = wanted.min(entries.len());
    reply.array(1 + FIELDS * told);
    reply.count(wanted);
    for entry in entries.take(told) {
        reply.unsigned(entry.unix_us);
        reply.unsigned(entry.id);
        write(entry, reply);
    }
    Ok(())
}

const FIELDS: usize = 3;

fn write(entry: &Entry, reply: &mut Reply<'_>) {
    reply.array(6);
    reply.unsigned(entry.id);
    reply.unsigned(entry.unix_us / 1_000_000);
    reply.unsigned(entry.took_ns / 1000);
    reply.array(entry.request.args().len());
    entry.request.args().iter().for_each(|word| reply.bulk(word));
    reply.text(&entry.peer.map_or(String::new(), |peer| peer.to_string()));
    reply.bulk(&entry.name);
}

fn newest(parts: &mut Parts<'_>, reply: &mut Reply<'_>) -> Outcome {
    let mut wanted = 0;
    let mut entries: Vec<([i64; 2], Element<'_>)> = Vec::new();
    for part in parts.parts {
        let mut walk = Walk::into_array(part);
        let integer = |walk: &mut Walk<'_>| walk.next().and_then(|element| element.integer()).unwrap_or(0);
        wanted = usize::try_from(integer(&mut walk)).unwrap_or(0);
        while !walk.is_empty() {
            let order = [integer(&mut walk), integer(&mut walk)];
            entries.extend(walk.next().map(|entry| (order, entry)));
        }
    }
    entries.sort_by_key(|(order, _)| std::cmp::Reverse(*order));
    entries.truncate(wanted);
    reply.array(entries.len());
    entries.iter().for_each(|(_, entry)| entry.copy_to(reply));
    Ok(())
}

/// How many a lane knows, and how many there may be of all lanes together.
fn len(desk: &mut Desk<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    reply.array(2);
    reply.count(desk.slowlog.entries().len());
    reply.count(desk.slowlog.len_max);
    Ok(())
}

fn len_of_all(parts: &mut Parts<'_>, reply: &mut Reply<'_>) -> Outcome {
    let (mut sum, mut max) = (0, 0);
    for part in parts.parts {
        let mut numbers = Walk::into_array(part).filter_map(|element| element.integer());
        sum += numbers.next().unwrap_or(0);
        max = numbers.next().unwrap_or(0);
    }
    reply.int(sum.min(max));
    Ok(())
}

fn reset(desk: &mut Desk<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    desk.slowlog.reset();
    reply.ok();
    Ok(())
}
