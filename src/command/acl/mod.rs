//! ACL: users and their rights, as clients see and change them. What rights are is in `admin/acl/`; here they meet the table of commands.
//!
//! What changes users runs on every lane, the whole keyspace being held meanwhile (`Over::Keyspace`), so that of two changes each lane has
//! the same one last. A user's connections end when the user goes.

mod change;
mod log;
pub mod rights;
mod show;

pub use log::merge as merge_log;

use super::connection::FAST_HELP;
use super::flags::categories;
use super::{Command, Flags, Group, Merging, Over, Part, Run, Table, introspect, merge};
use crate::admin::acl::{Catalog, Categories, Entry};

const BASE: Flags = Flags::NOSCRIPT.and(Flags::LOADING).and(Flags::STALE);
const ADMIN: Flags = BASE.and(Flags::ADMIN);
const ROW: Command = Command { group: Group::Server, since: "6.0.0", ..Command::ROW };

pub const ROWS: &[Command] = &[Command {
    name: "acl",
    syntax: "ACL",
    arity: -2,
    summary: "A container for the commands about users and their rights.",
    complexity: "Depends on the subcommand",
    children: CHILDREN,
    ..ROW
}];

const CHILDREN: &[Command] = &[
    Command {
        name: "acl|cat",
        syntax: "ACL CAT [category]",
        arity: -2,
        flags: BASE,
        complexity: "O(N) where N is the number of commands",
        summary: "Lists the categories, or the commands of one.",
        run: Run::Session(show::cat),
        ..ROW
    },
    Command {
        name: "acl|deluser",
        syntax: "ACL DELUSER username [username ...]",
        arity: -3,
        flags: ADMIN,
        complexity: "O(N) where N is the number of connections",
        summary: "Removes users and ends their connections; answers how many there were.",
        run: Run::Split { over: Over::Keyspace, part: Part::Desk(change::deluser), merge: CHANGED },
        ..ROW
    },
    Command {
        name: "acl|dryrun",
        syntax: "ACL DRYRUN username command [arg [arg ...]]",
        arity: -4,
        flags: ADMIN,
        since: "7.0.0",
        complexity: "O(N) where N is the number of keys of the command",
        summary: "Whether a user may run a command, which is not run.",
        run: Run::Session(show::dryrun),
        ..ROW
    },
    Command {
        name: "acl|genpass",
        syntax: "ACL GENPASS [bits]",
        arity: -2,
        flags: BASE,
        summary: "Makes up a password of 256 random bits, or of so many, in hexadecimal digits.",
        run: Run::Session(show::genpass),
        ..ROW
    },
    Command {
        name: "acl|getuser",
        syntax: "ACL GETUSER username",
        arity: 3,
        flags: ADMIN,
        complexity: "O(N) where N is the number of rules",
        summary: "Tells all about a user.",
        run: Run::Session(show::getuser),
        ..ROW
    },
    Command {
        name: "acl|help",
        syntax: "ACL HELP",
        arity: 2,
        flags: FAST_HELP,
        summary: "Lists the subcommands.",
        run: Run::Session(introspect::help),
        ..ROW
    },
    Command {
        name: "acl|list",
        syntax: "ACL LIST",
        arity: 2,
        flags: ADMIN,
        complexity: "O(N) where N is the number of users",
        summary: "Lists the users as they stand in a file.",
        run: Run::Session(show::list),
        ..ROW
    },
    Command {
        name: "acl|load",
        syntax: "ACL LOAD",
        arity: 2,
        flags: ADMIN,
        complexity: "O(N) where N is the number of users; the file is read in the background",
        summary: "Takes the users of the ACL file in the place of all there are, or none of them; ends the connections of all but the default user.",
        reads: Some(|config| config.aclfile()),
        run: Run::Split { over: Over::Keyspace, part: Part::Desk(change::load), merge: CHANGED },
        ..ROW
    },
    Command {
        name: "acl|log",
        syntax: "ACL LOG [count | RESET]",
        arity: -2,
        flags: ADMIN,
        complexity: "O(N) where N is the number of entries",
        summary: "Tells what was denied lately, or forgets it.",
        run: Run::Split { over: Over::Nodes, part: Part::Desk(log::tell), merge: Merging::Always(log::merge) },
        ..ROW
    },
    Command {
        name: "acl|save",
        syntax: "ACL SAVE",
        arity: 2,
        flags: ADMIN,
        complexity: "O(N) where N is the number of users; the file is written in the background",
        summary: "Writes all users into the ACL file.",
        run: Run::Filed(change::save),
        ..ROW
    },
    Command {
        name: "acl|setuser",
        syntax: "ACL SETUSER username [rule [rule ...]]",
        arity: -3,
        flags: ADMIN,
        complexity: "O(N) where N is the number of rules, and of connections",
        summary: "Makes a user, or changes what one may do: all rules are applied or none.",
        run: Run::Split { over: Over::Keyspace, part: Part::Desk(change::setuser), merge: CHANGED },
        ..ROW
    },
    Command {
        name: "acl|users",
        syntax: "ACL USERS",
        arity: 2,
        flags: ADMIN,
        complexity: "O(N) where N is the number of users",
        summary: "Lists the names of the users.",
        run: Run::Session(show::users),
        ..ROW
    },
    Command {
        name: "acl|whoami",
        syntax: "ACL WHOAMI",
        arity: 2,
        flags: BASE,
        summary: "The name of the user of this connection.",
        run: Run::Session(show::whoami),
        ..ROW
    },
];

/// All lanes do the same, and say so.
const CHANGED: Merging = Merging::Several(merge::all_succeeded);

/// The table of commands, for whoever grants them.
pub fn catalog(table: &Table) -> Catalog {
    let entry =
        |row: &'static Command| Entry { name: row.name, categories: Categories::of(categories(row.flags, row.group)) };
    Catalog::new(table.all().map(|found| entry(found.row)))
}
