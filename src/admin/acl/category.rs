//! Categories of commands, in the order in which ACL CAT tells them, and sets of them.

/// Redis's names; a set has a bit for each.
pub const NAMES: [&str; 21] = [
    "keyspace",
    "read",
    "write",
    "set",
    "sortedset",
    "list",
    "hash",
    "string",
    "bitmap",
    "hyperloglog",
    "geo",
    "stream",
    "pubsub",
    "admin",
    "fast",
    "slow",
    "blocking",
    "dangerous",
    "connection",
    "transaction",
    "scripting",
];

/// A set of categories.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Categories(u32);

const _: () = assert!(NAMES.len() <= 32, "a bit each");

impl Categories {
    /// The one of this name, in whatever case, and the name as it is written.
    pub fn named(name: &[u8]) -> Option<(Self, &'static str)> {
        let at = NAMES.iter().position(|known| name.eq_ignore_ascii_case(known.as_bytes()))?;
        Some((Self(1 << at), NAMES[at]))
    }

    /// Those of these names.
    ///
    /// # Panics
    /// If one is unknown: the table of commands has no others.
    pub fn of(names: impl Iterator<Item = &'static str>) -> Self {
        names.fold(Self::default(), |all, name| {
            let (one, _) = Self::named(name.as_bytes()).expect("a category of the command table");
            Self(all.0 | one.0)
        })
    }

    pub const fn overlap(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}
