//! The table: every row, sorted by name, and the index by which a request finds its row.
//!
//! Names are matched without regard to case as numbers: the first and the last eight bytes, lower-cased, and the length. They select
//! a slot and, for the names of up to sixteen bytes that nearly all commands have, they are the name: equal numbers, equal names.
//! Subcommands are found in their container's few children.

use crate::base::ascii::{head_word, lower_word};
use crate::wire::request::{Args, Span};

use super::arguments::{self, Argument};
use super::{Command, Flags, Run, syntax};
use super::{
    acl, algebra, blocking, cluster, connection, exchange, expire, hash, introspect, keys, latency, lcs, list, memory,
    monitor, multi, object, pick, ranges, scan, server, set, sliced, slowlog, sort, string, zset,
};

/// A row's place in the sorted table: the index of its statistics. Subcommands follow their containers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommandId(pub u16);

impl CommandId {
    fn at(place: usize) -> Self {
        Self(u16::try_from(place).expect("some hundred rows"))
    }
}

/// A row and its number.
#[derive(Clone, Copy, Debug)]
pub struct Found {
    pub id: CommandId,
    pub row: &'static Command,
}

/// All rows. Built once per shard: it is data, not state.
#[derive(Debug)]
pub struct Table {
    /// Sorted by name; a container is followed by its children.
    rows: Vec<&'static Command>,
    /// The name of each row as numbers.
    names: Vec<Name>,
    /// Open addressing over `Name::slot`; `EMPTY` or an index into `rows`.
    index: Box<[u16; INDEX_SLOTS]>,
    /// Of each row the word that names a field or a member (`syntax::element`).
    elements: Vec<u8>,
}

const INDEX_SLOTS: usize = 4096;
const EMPTY: u16 = u16::MAX;

const FAMILIES: &[&[Command]] = &[
    acl::ROWS,
    algebra::ROWS,
    blocking::ROWS,
    cluster::ROWS,
    connection::ROWS,
    exchange::ROWS,
    expire::ROWS,
    hash::ROWS,
    hash::times::ROWS,
    introspect::ROWS,
    keys::ROWS,
    latency::ROWS,
    lcs::ROWS,
    list::ROWS,
    list::search::ROWS,
    list::moves::ROWS,
    memory::ROWS,
    monitor::ROWS,
    multi::ROWS,
    object::ROWS,
    pick::ROWS,
    ranges::ROWS,
    scan::ROWS,
    server::ROWS,
    set::ROWS,
    sliced::ROWS,
    slowlog::ROWS,
    sort::ROWS,
    string::ROWS,
    zset::algebra::ROWS,
    zset::pops::ROWS,
    zset::random::ROWS,
    zset::ranges::ROWS,
    zset::removal::ROWS,
    zset::scores::ROWS,
    zset::store::ROWS,
];

impl Default for Table {
    fn default() -> Self {
        Self::new()
    }
}

impl Table {
    pub fn new() -> Self {
        Self::with(&[])
    }

    /// With rows beside those there are: tests bring some of shapes that no command has.
    pub fn with(more: &'static [Command]) -> Self {
        let mut top: Vec<&'static Command> = FAMILIES.iter().copied().flatten().chain(more).collect();
        top.sort_by_key(|row| row.name);
        let rows: Vec<&'static Command> =
            top.iter().flat_map(|row| std::iter::once(*row).chain(row.children)).collect();
        assert!(rows.len() * 4 < INDEX_SLOTS, "the index must stay sparse");
        let names: Vec<Name> = rows.iter().map(|row| Name::of(row.name.as_bytes())).collect();
        let mut index = Box::new([EMPTY; INDEX_SLOTS]);
        for (i, _) in rows.iter().enumerate().filter(|(_, row)| !row.name.contains('|')) {
            let mut slot = names[i].slot();
            while index[slot] != EMPTY {
                slot = (slot + 1) % INDEX_SLOTS;
            }
            index[slot] = CommandId::at(i).0;
        }
        let elements = rows.iter().map(|row| syntax::element(row.syntax)).collect();
        Self { rows, names, index, elements }
    }

    /// Rows with their subcommands.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub fn row(&self, id: CommandId) -> &'static Command {
        self.rows[usize::from(id.0)]
    }

    /// The word of a request that names a field or a member, the first if there are several; 0: none does.
    #[inline]
    pub fn element(&self, id: CommandId) -> usize {
        usize::from(self.elements[usize::from(id.0)])
    }

    pub fn found(&self, id: CommandId) -> Found {
        Found { id, row: self.row(id) }
    }

    /// Every row that is not a subcommand, sorted by name.
    pub fn top(&self) -> impl Iterator<Item = &'static Command> {
        self.rows.iter().copied().filter(|row| !row.name.contains('|'))
    }

    /// Every row, subcommands after their container.
    pub fn all(&self) -> impl Iterator<Item = Found> {
        self.rows.iter().enumerate().map(|(i, row)| Found { id: CommandId::at(i), row })
    }

    /// The row of a command by the first word of a request.
    #[inline]
    pub fn find(&self, name: &[u8]) -> Option<Found> {
        let wanted = Name::of(name);
        let mut slot = wanted.slot();
        loop {
            let i = self.index[slot];
            if i == EMPTY {
                return None;
            }
            let row = self.rows[usize::from(i)];
            if self.names[usize::from(i)] == wanted
                && (name.len() <= Name::WHOLE_MAX || row.name.as_bytes().eq_ignore_ascii_case(name))
            {
                return Some(Found { id: CommandId(i), row });
            }
            slot = (slot + 1) % INDEX_SLOTS;
        }
    }

    /// The row that a request's second word names inside a container.
    pub fn find_child(&self, container: Found, word: &[u8]) -> Option<Found> {
        let prefix = container.row.name.len() + 1;
        let first = usize::from(container.id.0) + 1;
        (first..first + container.row.children.len())
            .find(|i| self.rows[*i].name.as_bytes()[prefix..].eq_ignore_ascii_case(word))
            .map(|i| Found { id: CommandId::at(i), row: self.rows[i] })
    }

    /// The subcommand's row when `args` name one, else the row itself.
    pub fn innermost(&self, found: Found, args: Args<'_>) -> Found {
        args.get(1).and_then(|word| self.find_child(found, word)).unwrap_or(found)
    }

    /// By the name COMMAND INFO takes: `get`, `config|get`.
    pub fn find_full(&self, name: &[u8]) -> Option<Found> {
        match memchr::memchr(b'|', name) {
            None => self.find(name),
            Some(bar) => self.find_child(self.find(&name[..bar])?, &name[bar + 1..]),
        }
    }
}

/// A name without its case: the first and last eight bytes, which overlap in a short one, and the length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Name {
    head: u64,
    tail: u64,
    len: usize,
}

impl Name {
    /// Up to this length the numbers hold every byte.
    const WHOLE_MAX: usize = 16;

    #[inline]
    fn of(name: &[u8]) -> Self {
        let tail = name.last_chunk().map_or(0, |tail| lower_word(u64::from_le_bytes(*tail)));
        Self { head: lower_word(head_word(name)), tail, len: name.len() }
    }

    #[inline]
    fn slot(self) -> usize {
        let mixed = (self.head ^ self.tail.rotate_left(29) ^ self.len as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        (mixed >> 52) as usize
    }
}

const _: () = assert!(INDEX_SLOTS == 1 << 12, "`Name::slot` gives twelve bits");

/// Rules that each row must keep; the table test walks them.
pub fn complaints(row: &Command) -> Vec<String> {
    let mut found = Vec::new();
    let mut rule = |broken: bool, what: &str| {
        if broken {
            found.push(format!("{}: {what}", row.name));
        }
    };
    let write = row.flags.has(Flags::WRITE);
    rule(row.name.bytes().any(|b| b.is_ascii_uppercase()), "the name is written in lower case");
    rule(row.summary.is_empty() || row.complexity.is_empty(), "summary and complexity are stated");
    rule(write && row.flags.has(Flags::READONLY), "a command reads or writes");
    rule(write && matches!(row.log, super::Log::Never("reads only")), "a write is journalled or says why not");
    rule(!write && !matches!(row.log, super::Log::Never(_)), "only writes are journalled");
    rule(matches!(row.run, Run::Container) != (!row.children.is_empty() && row.arity == -2), "containers run children");
    rule(row.keys.specs().any(|spec| spec.access.is_empty()), "key access is stated");
    let arguments = arguments::of_row(row);
    rule(arguments.iter().any(Argument::is_hollow), "blocks and choices of the syntax have parts");
    // SCAN goes from one shard to the next by its cursor.
    let by_slot = (row.about)(Args::new(b"0", &[Span { start: 0, len: 1 }; 4])).is_some();
    let one_shard = matches!(row.run, Run::Keys(_)) && !by_slot;
    rule(row.policy != super::Policy::Default && one_shard, "policies belong to split rows");
    let one_key = row.keys.first == 0 || row.keys.is_single();
    let one_owner = matches!(row.run, Run::Keys(_) | Run::Sliced { .. });
    rule(one_owner && !one_key, "a row whose keys may be of several shards is split or staged");
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_every_row_is_found_in_any_case() {
        let table = Table::new();
        let mut names: Vec<&str> = table.all().map(|found| found.row.name).collect();
        for found in table.all() {
            let upper = found.row.name.to_ascii_uppercase();
            let again = table.find_full(upper.as_bytes()).expect(found.row.name);
            assert_eq!(again.row.name, found.row.name);
            assert_eq!(again.id, found.id);
        }
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
        for strange in
            [&b"nosuch"[..], b"gets", b"ge", b"\x47\x45\x74\0", b"georadiusbymemberxro", b"g\x05t", b"hincrby\x7f"]
        {
            assert!(table.find(strange).is_none(), "{}", strange.escape_ascii());
        }
        assert!(table.find(b"").is_none());
    }

    #[test]
    fn every_row_keeps_the_rules() {
        let broken: Vec<String> = Table::new().all().flat_map(|found| complaints(found.row)).collect();
        assert_eq!(broken, Vec::<String>::new());
    }
}
