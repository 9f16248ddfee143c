//! LATENCY: each lane gives its record as text, what a client sees is made of all of them (`admin/latency.rs`).

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::connection::FAST_HELP;
use super::merge::Merging as Parts;
use super::table::Found;
use super::{Command, Desk, Flags, Group, Merge, Merging, Outcome, Over, Part, Policy, Run, SessionFn, merge};
use crate::admin::durations::Durations;
use crate::admin::latency::{Latency, Sample};
use crate::admin::stats::{CommandStats, Stats};
use crate::wire::fault::Fault;
use crate::wire::reply::Reply;
use crate::wire::request::Args;
use crate::wire::walk;

const ADMIN: Flags = Flags::ADMIN.and(Flags::NOSCRIPT).and(Flags::LOADING).and(Flags::STALE);
const CHILD: Command = Command {
    group: Group::Server,
    since: "2.8.13",
    flags: ADMIN,
    policy: Policy::AllNodes(Merge::Special),
    tips: &["nondeterministic_output"],
    ..Command::ROW
};

pub const ROWS: &[Command] = &[Command {
    name: "latency",
    syntax: "LATENCY",
    arity: -2,
    group: Group::Server,
    since: "2.8.13",
    complexity: "Depends on subcommand.",
    summary: "Commands about what took long.",
    children: CHILDREN,
    ..Command::ROW
}];

const CHILDREN: &[Command] = &[
    Command {
        name: "latency|doctor",
        syntax: "LATENCY DOCTOR",
        arity: 2,
        summary: "Tells what took long and what to do about it.",
        run: over_lanes(dump, doctor),
        ..CHILD
    },
    Command {
        name: "latency|graph",
        syntax: "LATENCY GRAPH event",
        arity: 3,
        summary: "Draws the samples of an event.",
        run: over_lanes(dump, graph),
        ..CHILD
    },
    Command {
        name: "latency|help",
        syntax: "LATENCY HELP",
        arity: 2,
        flags: FAST_HELP,
        summary: "Lists the subcommands.",
        policy: Policy::Default,
        tips: &[],
        run: Run::Session(super::introspect::help),
        ..CHILD
    },
    Command {
        name: "latency|histogram",
        syntax: "LATENCY HISTOGRAM [command [command ...]]",
        arity: -2,
        since: "7.0.0",
        complexity: "O(N) where N is the number of commands with latency information being retrieved.",
        summary: "Answers of commands, or of all that were called, how many calls took at most how long.",
        run: over_lanes(dump_durations, histogram),
        ..CHILD
    },
    Command {
        name: "latency|history",
        syntax: "LATENCY HISTORY event",
        arity: 3,
        summary: "Answers time and latency of the samples of an event.",
        run: over_lanes(dump, history),
        ..CHILD
    },
    Command {
        name: "latency|latest",
        syntax: "LATENCY LATEST",
        arity: 2,
        summary: "Answers the latest sample of each event, and the longest.",
        run: over_lanes(dump, latest),
        ..CHILD
    },
    Command {
        name: "latency|reset",
        syntax: "LATENCY RESET [event [event ...]]",
        arity: -2,
        summary: "Forgets the samples of events, or of all; answers of how many.",
        policy: Policy::AllNodes(Merge::Sum),
        tips: &[],
        run: over_lanes(reset, count_reset),
        ..CHILD
    },
];

const fn over_lanes(part: SessionFn, merge: merge::MergeFn) -> Run {
    Run::Split { over: Over::Nodes, part: Part::Desk(part), merge: Merging::Always(merge) }
}

/// One line on what is asked, then the record of this lane.
fn dump(desk: &mut Desk<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let events: Vec<&[u8]> = args.from(2).iter().collect();
    let mut text = format!("{} ", desk.now.unix_us / 1_000_000).into_bytes();
    text.extend(
        events.iter().flat_map(|event| event.iter()).map(|byte| if byte.is_ascii_control() { b' ' } else { *byte }),
    );
    text.push(b'\n');
    text.extend(desk.stats.latency.to_text(&events).into_bytes());
    reply.bulk(&text);
    Ok(())
}

fn reset(desk: &mut Desk<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    dump(desk, args, reply)?;
    desk.stats.latency.reset(&args.from(2).iter().collect::<Vec<_>>());
    Ok(())
}

/// What all lanes said.
struct Asked {
    now_s: u64,
    event: String,
    record: Latency,
}

impl Asked {
    fn of(parts: &Parts<'_>) -> Self {
        let texts: Vec<Vec<u8>> = parts.parts.iter().map(walk::text).collect();
        let split = |text: &[u8]| {
            let (head, rest) = text.split_at(memchr::memchr(b'\n', text).map_or(text.len(), |end| end + 1));
            (String::from_utf8_lossy(head).trim_end().to_owned(), rest.to_vec())
        };
        let head = texts.first().map(|text| split(text).0).unwrap_or_default();
        let (now_s, event) = head.split_once(' ').unwrap_or((&head, ""));
        Self {
            now_s: now_s.parse().unwrap_or(0),
            event: event.to_owned(),
            record: Latency::of_texts(texts.iter().map(|text| split(text).1)),
        }
    }
}

fn doctor(parts: &mut Parts<'_>, reply: &mut Reply<'_>) -> Outcome {
    reply.verbatim("txt", Asked::of(parts).record.report().as_bytes());
    Ok(())
}

fn graph(parts: &mut Parts<'_>, reply: &mut Reply<'_>) -> Outcome {
    let Asked { now_s, event, record } = Asked::of(parts);
    let Some((name, series)) = record.series.first_key_value() else {
        return Err(Fault::text(format!("ERR No samples available for event '{event}'")));
    };
    reply.verbatim("txt", series.graph(name, now_s).as_bytes());
    Ok(())
}

fn history(parts: &mut Parts<'_>, reply: &mut Reply<'_>) -> Outcome {
    let samples: Vec<Sample> = Asked::of(parts).record.series.into_values().flat_map(|series| series.samples).collect();
    reply.array(samples.len());
    for sample in samples {
        reply.array(2);
        reply.unsigned(sample.unix_s);
        reply.unsigned(sample.ms);
    }
    Ok(())
}

fn latest(parts: &mut Parts<'_>, reply: &mut Reply<'_>) -> Outcome {
    let record = Asked::of(parts).record;
    reply.array(record.series.len());
    for (event, series) in &record.series {
        let last = series.samples.last().expect("a series begins with a sample");
        reply.array(4);
        reply.text(event);
        reply.unsigned(last.unix_s);
        reply.unsigned(last.ms);
        reply.unsigned(series.max_ms);
    }
    Ok(())
}

fn count_reset(parts: &mut Parts<'_>, reply: &mut Reply<'_>) -> Outcome {
    reply.count(Asked::of(parts).record.series.len());
    Ok(())
}

/// What each lane says: a line of each wanted command that was called there, in the order in which they are wanted.
fn dump_durations(desk: &mut Desk<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let mut text = String::new();
    if args.len() == 2 {
        desk.table.all().for_each(|found| add_durations(desk.stats, found, 0, &mut text));
    }
    for (place, word) in args.from(2).iter().enumerate() {
        let wanted = desk.table.all().filter(|found| is_under(word, found.row.name));
        wanted.for_each(|found| add_durations(desk.stats, found, place, &mut text));
        add_stages(desk.stats, desk.identity.lane, (word, place), &mut text);
    }
    reply.bulk(text.as_bytes());
    Ok(())
}

/// Whether the word is the name, or its first part or parts: `config` and `config|get` of `config|get`.
fn is_under(word: &[u8], name: &str) -> bool {
    let Some((head, rest)) = name.as_bytes().split_at_checked(word.len()) else { return false };
    head.eq_ignore_ascii_case(word) && matches!(rest, [] | [b'|', ..])
}

fn add_durations(stats: &Stats, Found { id, row }: Found, place: usize, text: &mut String) {
    let Some(durations) = &stats.durations[usize::from(id.0)] else { return };
    let CommandStats { calls, timed, .. } = stats.commands[usize::from(id.0)];
    add_line((place, usize::from(id.0)), row.name, [calls, timed], durations, text);
}

/// The stages by their names: `stage|string|hop` is that of all lanes, `lane0|string|hop` that of one. Its calls are those that were
/// followed. They come only if they are asked for, since whoever asks for everything expects commands.
fn add_stages(stats: &Stats, lane: u16, (word, place): (&[u8], usize), text: &mut String) {
    let scopes = [(0, "stage".to_owned()), (usize::from(lane) + 1, format!("lane{lane}"))];
    for (number, scope) in &scopes {
        for (order, (family, part, durations)) in stats.stages.parts().enumerate() {
            let name = format!("{scope}|{}|{part}", Group::ALL[family].name());
            if is_under(word, &name) && !durations.is_empty() {
                let followed = durations.count();
                add_line((place, number << 16 | order), &name, [followed; 2], durations, text);
            }
        }
    }
}

/// Its place in the reply, name, calls, those of them that were timed, and how many of these took at most how many nanoseconds.
fn add_line((place, order): (usize, usize), name: &str, [calls, timed]: [u64; 2], of: &Durations, text: &mut String) {
    write!(text, "{place} {order} {name} {calls} {timed}").expect("writing to a String does not fail");
    for (ns, count) in of.doublings() {
        write!(text, " {ns}:{count}").expect("writing to a String does not fail");
    }
    text.push('\n');
}

/// What all lanes know of one command: its name, calls, those that were timed, and how many of these took at most so many nanoseconds,
/// and longer than the step before.
#[derive(Default)]
struct Called {
    name: String,
    calls: u64,
    timed: u64,
    steps: BTreeMap<u64, u64>,
}

impl Called {
    /// Takes in what a lane says.
    fn take_in<'l>(&mut self, [name, calls, timed]: [&str; 3], steps: impl Iterator<Item = &'l str>) {
        name.clone_into(&mut self.name);
        self.calls += calls.parse().unwrap_or(0);
        self.timed += timed.parse().unwrap_or(0);
        let mut before = 0;
        let numbers = steps.filter_map(|step| step.split_once(':'));
        for (ns, count) in numbers.filter_map(|(ns, count)| Some((ns.parse().ok()?, count.parse::<u64>().ok()?))) {
            *self.steps.entry(ns).or_default() += count - before;
            before = count;
        }
    }

    fn write(&self, reply: &mut Reply<'_>) {
        reply.text(&self.name);
        reply.map(2);
        reply.text("calls");
        reply.unsigned(self.calls_of(self.steps.values().sum()));
        reply.text("histogram_usec");
        reply.map(self.steps.len());
        let mut up_to = 0;
        for (ns, count) in &self.steps {
            up_to += count;
            reply.unsigned(ns / 1000);
            reply.unsigned(self.calls_of(up_to));
        }
    }

    /// How many calls so many that were timed stand for.
    fn calls_of(&self, timed: u64) -> u64 {
        let (calls, of) = (u128::from(self.calls), u128::from(self.timed.max(1)));
        u64::try_from((u128::from(timed) * calls + of / 2) / of).unwrap_or(u64::MAX)
    }
}

fn histogram(parts: &mut Parts<'_>, reply: &mut Reply<'_>) -> Outcome {
    let mut commands: BTreeMap<(usize, usize), Called> = BTreeMap::new();
    for text in parts.parts.iter().map(walk::text) {
        for line in String::from_utf8_lossy(&text).lines() {
            let mut words = line.split(' ');
            let mut number = || words.next().and_then(|word| word.parse::<usize>().ok());
            let (Some(place), Some(order)) = (number(), number()) else { continue };
            let (Some(name), Some(calls), Some(timed)) = (words.next(), words.next(), words.next()) else { continue };
            commands.entry((place, order)).or_default().take_in([name, calls, timed], words);
        }
    }
    reply.map(commands.len());
    commands.values().for_each(|called| called.write(reply));
    Ok(())
}
