//! COMMAND and the HELPs: the table, told to clients.

use super::arguments;
use super::connection::FAST_HELP;
use super::flags::categories;
use super::places::{Access, Begin, Find, resolved};
use super::table::Found;
use super::{Command, Desk, Flags, Group, Keys, Merge, Outcome, Policy, Run};
use crate::base::ascii::is_word;
use crate::base::glob::{self, Case};
use crate::wire::fault::Fault;
use crate::wire::reply::Reply;
use crate::wire::request::Args;

const BASE: Flags = Flags::LOADING.and(Flags::STALE);
const ROW: Command = Command { group: Group::Server, ..Command::ROW };

pub const ROWS: &[Command] = &[Command {
    name: "command",
    syntax: "COMMAND",
    arity: -1,
    flags: BASE,
    since: "2.8.13",
    complexity: "O(N) where N is the total number of commands",
    summary: "Tells about every command.",
    tips: &["nondeterministic_output_order"],
    run: Run::Session(command),
    children: COMMAND,
    ..ROW
}];

const COMMAND: &[Command] = &[
    Command {
        name: "command|count",
        syntax: "COMMAND COUNT",
        arity: 2,
        flags: BASE,
        since: "2.8.13",
        summary: "Answers how many commands there are.",
        run: Run::Session(count),
        ..ROW
    },
    Command {
        name: "command|docs",
        syntax: "COMMAND DOCS [command-name [command-name ...]]",
        arity: -2,
        flags: BASE,
        since: "7.0.0",
        complexity: "O(N) where N is the number of commands to look up",
        summary: "Tells what commands do and how they are written.",
        tips: &["nondeterministic_output_order"],
        run: Run::Session(docs),
        ..ROW
    },
    Command {
        name: "command|getkeys",
        syntax: "COMMAND GETKEYS command [arg [arg ...]]",
        arity: -3,
        flags: BASE,
        since: "2.8.13",
        complexity: "O(N) where N is the number of arguments to the command",
        summary: "Answers the keys of a request.",
        run: Run::Session(getkeys),
        ..ROW
    },
    Command {
        name: "command|getkeysandflags",
        syntax: "COMMAND GETKEYSANDFLAGS command [arg [arg ...]]",
        arity: -3,
        flags: BASE,
        since: "7.0.0",
        complexity: "O(N) where N is the number of arguments to the command",
        summary: "Answers the keys of a request and what is done with each.",
        run: Run::Session(getkeysandflags),
        ..ROW
    },
    Command {
        name: "command|help",
        syntax: "COMMAND HELP",
        arity: 2,
        flags: FAST_HELP,
        since: "5.0.0",
        summary: "Lists the subcommands.",
        run: Run::Session(help),
        ..ROW
    },
    Command {
        name: "command|info",
        syntax: "COMMAND INFO [command-name [command-name ...]]",
        arity: -2,
        flags: BASE,
        since: "2.8.13",
        complexity: "O(N) where N is the number of commands to look up",
        summary: "Answers flags, arity and key positions of commands.",
        tips: &["nondeterministic_output_order"],
        run: Run::Session(info),
        ..ROW
    },
    Command {
        name: "command|list",
        syntax: "COMMAND LIST [FILTERBY <MODULE module-name | ACLCAT category | PATTERN pattern>]",
        arity: -2,
        flags: BASE,
        since: "7.0.0",
        complexity: "O(N) where N is the total number of commands",
        summary: "Answers the names of commands.",
        tips: &["nondeterministic_output_order"],
        run: Run::Session(list),
        ..ROW
    },
];

/// Any container's HELP, from its rows.
pub fn help(desk: &mut Desk<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let container = desk.table.find(args.at(0)).expect("HELP is the child of a container").row;
    let name = container.name.to_ascii_uppercase();
    // HELP itself is one of the children: Redis lists it last.
    reply.array(1 + container.children.len() * 2);
    reply.simple(&format!("{name} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"));
    let (help, others): (Vec<_>, Vec<_>) = container.children.iter().partition(|child| child.name.ends_with("|help"));
    for child in others.into_iter().chain(help) {
        reply.simple(child.syntax[name.len()..].trim_start());
        reply.simple(&format!("    {}", child.summary));
    }
    Ok(())
}

fn command(desk: &mut Desk<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    reply.array(desk.table.top().count());
    desk.table.top().for_each(|row| describe(row, reply));
    Ok(())
}

fn count(desk: &mut Desk<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    reply.count(desk.table.top().count());
    Ok(())
}

fn info(desk: &mut Desk<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    if args.len() == 2 {
        return command(desk, args, reply);
    }
    reply.array(args.len() - 2);
    for name in args.from(2).iter() {
        match desk.table.find_full(name) {
            Some(found) => describe(found.row, reply),
            None => reply.null(),
        }
    }
    Ok(())
}

/// The ten fields of COMMAND INFO.
fn describe(row: &Command, reply: &mut Reply<'_>) {
    reply.array(10);
    reply.text(row.name);
    reply.int(row.arity.into());
    let movable = (row.keys.are_movable() || row.leads.is_some()).then_some("movablekeys");
    let flags: Vec<&str> = row.flags.names().chain(movable).collect();
    reply.set(flags.len());
    flags.into_iter().for_each(|flag| reply.simple(flag));
    let (first, last, step) = row.keys.range();
    [first.into(), last.into(), step.into()].into_iter().for_each(|place: i64| reply.int(place));
    let labels: Vec<String> = categories(row.flags, row.group).map(|name| format!("@{name}")).collect();
    reply.set(labels.len());
    labels.iter().for_each(|label| reply.simple(label));
    let tips = tips(row);
    reply.set(tips.len());
    tips.iter().for_each(|tip| reply.text(tip));
    key_specifications(row, reply);
    reply.set(row.children.len());
    row.children.iter().for_each(|child| describe(child, reply));
}

/// Hints for clients and proxies, the routing policies among them.
fn tips(row: &Command) -> Vec<String> {
    let (request, merge) = match row.policy {
        Policy::Default => (None, None),
        Policy::MultiShard(merge) => (Some("multi_shard"), Some(merge)),
        Policy::AllShards(merge) => (Some("all_shards"), Some(merge)),
        Policy::AllNodes(merge) => (Some("all_nodes"), Some(merge)),
        Policy::Special => (Some("special"), None),
    };
    let response = merge.and_then(|merge| match merge {
        Merge::AllSucceeded => Some("all_succeeded"),
        Merge::Sum => Some("agg_sum"),
        Merge::Special => Some("special"),
        Merge::KeyOrder => None,
    });
    let policies = request.map(|name| format!("request_policy:{name}"));
    let merges = response.map(|name| format!("response_policy:{name}"));
    row.tips.iter().map(|tip| (*tip).to_owned()).chain(policies).chain(merges).collect()
}

/// One for each run of keys, in Redis's words.
fn key_specifications(row: &Command, reply: &mut Reply<'_>) {
    reply.set(row.keys.specs().count() + usize::from(row.leads.is_some()));
    for (number, spec) in row.keys.specs().enumerate() {
        specification_head(spec.access, reply);
        match spec.begin {
            Begin::Word(word) => typed("index", &[("index", word.into())], reply),
            // Redis has no words for options that others may hide.
            Begin::Option(keyword) if !keyword.passes.is_empty() => typed("unknown", &[], reply),
            Begin::Option(keyword) => {
                typed_head("keyword", 2, reply);
                reply.text("keyword");
                reply.text(keyword.word);
                reply.text("startfrom");
                reply.int(keyword.from.into());
            }
        }
        reply.text("find_keys");
        match (spec.begin, spec.find) {
            (Begin::Option(keyword), _) if !keyword.passes.is_empty() => typed("unknown", &[], reply),
            (_, Find::Range { last, step }) => {
                typed("range", &[("lastkey", last.into()), ("keystep", step.into()), ("limit", 0)], reply);
            }
            (_, Find::Count) => typed("keynum", &[("keynumidx", 0), ("firstkey", 1), ("keystep", 1)], reply),
        }
        if number == 0 && row.leads.is_some() {
            told_by_data(reply);
        }
    }
}

fn specification_head(access: Access, reply: &mut Reply<'_>) {
    reply.map(3);
    reply.text("flags");
    reply.set(access.len());
    access.iter().for_each(|word| reply.simple(word));
    reply.text("begin_search");
}

/// Keys that only the data tell, as those of SORT's BY and GET: between the one that holds these data and an option's.
fn told_by_data(reply: &mut Reply<'_>) {
    specification_head(Keys::READ, reply);
    typed("unknown", &[], reply);
    reply.text("find_keys");
    typed("unknown", &[], reply);
}

fn typed(kind: &str, numbers: &[(&str, i64)], reply: &mut Reply<'_>) {
    typed_head(kind, numbers.len(), reply);
    for (name, number) in numbers {
        reply.text(name);
        reply.int(*number);
    }
}

fn typed_head(kind: &str, fields: usize, reply: &mut Reply<'_>) {
    reply.map(2);
    reply.text("type");
    reply.text(kind);
    reply.text("spec");
    reply.map(fields);
}

fn docs(desk: &mut Desk<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let rows: Vec<&Command> = if args.len() == 2 {
        desk.table.top().collect()
    } else {
        args.from(2).iter().filter_map(|name| desk.table.find_full(name)).map(|found| found.row).collect()
    };
    reply.map(rows.len());
    rows.into_iter().for_each(|row| document(row, reply));
    Ok(())
}

fn document(row: &Command, reply: &mut Reply<'_>) {
    reply.text(row.name);
    let arguments = arguments::of_row(row);
    let fields = 4 + usize::from(!arguments.is_empty()) + usize::from(!row.children.is_empty());
    reply.map(fields);
    for (field, value) in
        [("summary", row.summary), ("since", row.since), ("group", row.group.name()), ("complexity", row.complexity)]
    {
        reply.text(field);
        reply.text(value);
    }
    if !arguments.is_empty() {
        reply.text("arguments");
        reply.array(arguments.len());
        arguments.iter().for_each(|argument| argument.write(reply));
    }
    if !row.children.is_empty() {
        reply.text("subcommands");
        reply.map(row.children.len());
        row.children.iter().for_each(|child| document(child, reply));
    }
}

fn getkeys(desk: &mut Desk<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let (found, words) = keyed_request(desk, args)?;
    let keys: Vec<usize> = found.row.keys.positions(words).collect();
    reply.array(keys.len());
    keys.into_iter().for_each(|at| reply.bulk(words.at(at)));
    Ok(())
}

fn getkeysandflags(desk: &mut Desk<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let (found, words) = keyed_request(desk, args)?;
    let keys: Vec<(usize, Access)> = found.row.keys.accessed(words).collect();
    reply.array(keys.len());
    for (at, access) in keys {
        let access = resolved(access, words);
        reply.array(2);
        reply.bulk(words.at(at));
        reply.set(access.len());
        access.iter().for_each(|word| reply.simple(word));
    }
    Ok(())
}

/// The request inside COMMAND GETKEYS, known, of the right length, and with keys.
fn keyed_request<'a>(desk: &Desk<'_>, args: Args<'a>) -> Result<(Found, Args<'a>), Fault> {
    let words = args.from(2);
    let top = desk.table.find(words.at(0)).ok_or(Fault::Fixed("ERR Invalid command specified"))?;
    let child = words.get(1).and_then(|word| desk.table.find_child(top, word));
    let found = child.unwrap_or(top);
    if found.row.keys.first == 0 {
        return Err(Fault::Fixed("ERR The command has no key arguments"));
    }
    if !found.row.arity_fits(words.len()) {
        return Err(Fault::Fixed("ERR Invalid number of arguments specified for command"));
    }
    if !found.row.keys.are_clear(words) {
        return Err(Fault::Fixed("ERR Invalid arguments specified for command"));
    }
    Ok((found, words))
}

fn list(desk: &mut Desk<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let names: Vec<&str> = match (args.len(), args.get(2), args.get(3)) {
        (2, ..) => desk.table.top().map(|row| row.name).collect(),
        (5, Some(word), Some(by)) if is_word(word, "FILTERBY") => filtered(desk, by, args.at(4))?,
        _ => return Err(Fault::Syntax),
    };
    reply.array(names.len());
    names.into_iter().for_each(|name| reply.text(name));
    Ok(())
}

fn filtered(desk: &Desk<'_>, by: &[u8], value: &[u8]) -> Result<Vec<&'static str>, Fault> {
    let all = desk.table.all().map(|found| found.row);
    if is_word(by, "MODULE") {
        return Ok(Vec::new());
    }
    if is_word(by, "ACLCAT") {
        let fits =
            |row: &&Command| categories(row.flags, row.group).any(|name| name.as_bytes().eq_ignore_ascii_case(value));
        return Ok(all.filter(fits).map(|row| row.name).collect());
    }
    if is_word(by, "PATTERN") {
        return Ok(all
            .filter(|row| glob::matches(value, row.name.as_bytes(), Case::Ignore))
            .map(|row| row.name)
            .collect());
    }
    Err(Fault::Syntax)
}
