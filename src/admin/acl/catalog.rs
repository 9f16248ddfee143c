//! What commands there are, for whoever grants them. The table of commands is a layer above; it is told here once, when a lane is made.
//!
//! ```text
//!  0 acl         slow                 container: its subcommands follow it
//!  1 acl|cat     slow
//!  ...
//!  7 append      write string fast
//! ```

use super::category::Categories;

/// A command or subcommand, by its place in the table: that is its number in all sets of commands.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Lower case; a subcommand's is `container|name`.
    pub name: &'static str,
    pub categories: Categories,
}

/// All commands, sorted by name, subcommands behind their containers.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    entries: Box<[Entry]>,
}

/// A command's number.
pub(super) type Number = u16;

impl Catalog {
    pub fn new(entries: impl Iterator<Item = Entry>) -> Self {
        let entries: Box<[Entry]> = entries.collect();
        assert!(entries.len() < usize::from(Number::MAX), "some hundred commands");
        Self { entries }
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// By its full name, in whatever case.
    pub fn find(&self, name: &[u8]) -> Option<Number> {
        let at = self.entries.iter().position(|entry| name.eq_ignore_ascii_case(entry.name.as_bytes()))?;
        Some(number(at))
    }

    pub fn name(&self, command: Number) -> &'static str {
        self.entries[usize::from(command)].name
    }

    /// Those of one of these categories.
    pub fn within(&self, categories: Categories) -> impl Iterator<Item = Number> {
        let all = self.entries.iter().enumerate();
        all.filter(move |(_, entry)| entry.categories.overlap(categories)).map(|(at, _)| number(at))
    }

    /// The subcommands of a container; none of any other.
    pub fn children(&self, container: Number) -> impl Iterator<Item = Number> {
        let name = self.name(container);
        let first = usize::from(container) + 1;
        let is_child = move |entry: &&Entry| entry.name.strip_prefix(name).is_some_and(|rest| rest.starts_with('|'));
        let count = self.entries[first..].iter().take_while(is_child).count();
        (first..first + count).map(number)
    }

    pub fn is_child(&self, command: Number) -> bool {
        self.name(command).contains('|')
    }
}

fn number(at: usize) -> Number {
    Number::try_from(at).expect("asserted when it was made")
}
