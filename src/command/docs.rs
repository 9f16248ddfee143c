//! COMMANDS.md, generated from the table. `tests/tidy.rs` fails when the file in the repository is stale.

use std::fmt::Write as _;

use super::flags::categories;
use super::{Command, Group, Log, Table};

const HEAD: &str =
    "# Commands\n\nGenerated from the command table (`corelane --commands-md > COMMANDS.md`); do not edit.\n";

/// The whole page.
pub fn commands_md() -> String {
    let table = Table::new();
    let mut page = HEAD.to_owned();
    for group in Group::ALL {
        let rows: Vec<&Command> =
            table.all().map(|found| found.row).filter(|row| row.group == *group && row.children.is_empty()).collect();
        if rows.is_empty() {
            continue;
        }
        write!(
            page,
            "\n## {}\n\n| command | since | cost | journalled | what it does |\n|---|---|---|---|---|\n",
            group.name()
        )
        .expect("writing to a String does not fail");
        for row in rows {
            line(&mut page, row);
        }
    }
    page
}

fn line(page: &mut String, row: &Command) {
    let syntax = row.syntax.replace('|', "\\|");
    let log = match row.log {
        Log::Verbatim => "as sent",
        Log::Effect => "its effect",
        Log::Never(why) => why,
    };
    let labels: Vec<String> = categories(row.flags, row.group).map(|name| format!("@{name}")).collect();
    writeln!(
        page,
        "| `{syntax}` | {} | {} | {log} | {} <br> {} |",
        row.since,
        row.complexity,
        row.summary,
        labels.join(" ")
    )
    .expect("writing to a String does not fail");
}
