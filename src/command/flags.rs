//! Flags, groups and the ACL categories that follow from them: Redis's words, stated once.

/// A set of command flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flags(u32);

/// Flag, its name in COMMAND INFO.
const NAMES: &[(Flags, &str)] = &[
    (Flags::WRITE, "write"),
    (Flags::READONLY, "readonly"),
    (Flags::DENYOOM, "denyoom"),
    (Flags::ADMIN, "admin"),
    (Flags::PUBSUB, "pubsub"),
    (Flags::NOSCRIPT, "noscript"),
    (Flags::BLOCKING, "blocking"),
    (Flags::LOADING, "loading"),
    (Flags::STALE, "stale"),
    (Flags::SKIP_MONITOR, "skip_monitor"),
    (Flags::SKIP_SLOWLOG, "skip_slowlog"),
    (Flags::FAST, "fast"),
    (Flags::NO_AUTH, "no_auth"),
    (Flags::MAY_REPLICATE, "may_replicate"),
    (Flags::NO_ASYNC_LOADING, "no_async_loading"),
    (Flags::NO_MULTI, "no_multi"),
    (Flags::ALLOW_BUSY, "allow_busy"),
];

impl Flags {
    pub const NONE: Self = Self(0);
    pub const WRITE: Self = Self(1);
    pub const READONLY: Self = Self(1 << 1);
    pub const DENYOOM: Self = Self(1 << 2);
    pub const ADMIN: Self = Self(1 << 3);
    pub const PUBSUB: Self = Self(1 << 4);
    pub const NOSCRIPT: Self = Self(1 << 5);
    pub const BLOCKING: Self = Self(1 << 6);
    pub const LOADING: Self = Self(1 << 7);
    pub const STALE: Self = Self(1 << 8);
    pub const SKIP_MONITOR: Self = Self(1 << 9);
    pub const SKIP_SLOWLOG: Self = Self(1 << 10);
    pub const FAST: Self = Self(1 << 11);
    pub const NO_AUTH: Self = Self(1 << 12);
    pub const MAY_REPLICATE: Self = Self(1 << 13);
    pub const NO_ASYNC_LOADING: Self = Self(1 << 14);
    pub const NO_MULTI: Self = Self(1 << 15);
    pub const ALLOW_BUSY: Self = Self(1 << 16);
    /// Dangerous without being administrative, such as FLUSHALL, KEYS, SORT: an ACL category only, not shown among the flags.
    pub const DANGEROUS: Self = Self(1 << 17);
    /// Its handler takes long values by `Ctx::content`; not shown either.
    pub const LONG: Self = Self(1 << 19);
    /// Counts among the categories of lists, sets and sorted sets instead of its group's; not shown.
    pub const COLLECTIONS: Self = Self(1 << 20);
    /// Counts among the keyspace category though its group is another's.
    pub const KEYSPACE: Self = Self(1 << 18);

    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// The names COMMAND INFO shows, in Redis's order.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        NAMES.iter().filter(move |(flag, _)| self.has(*flag)).map(|(_, name)| *name)
    }
}

/// The manual's groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    Generic,
    String,
    Hash,
    List,
    Set,
    SortedSet,
    Connection,
    Server,
    Cluster,
    Transactions,
}

impl Group {
    pub const ALL: &'static [Self] = &[
        Self::Generic,
        Self::String,
        Self::Hash,
        Self::List,
        Self::Set,
        Self::SortedSet,
        Self::Connection,
        Self::Server,
        Self::Cluster,
        Self::Transactions,
    ];

    /// As COMMAND DOCS prints it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Generic => "generic",
            Self::String => "string",
            Self::Hash => "hash",
            Self::List => "list",
            Self::Set => "set",
            Self::SortedSet => "sorted-set",
            Self::Connection => "connection",
            Self::Server => "server",
            Self::Cluster => "cluster",
            Self::Transactions => "transactions",
        }
    }

    /// The ACL category a group brings to its commands.
    const fn category(self) -> Option<&'static str> {
        match self {
            Self::Generic => Some("keyspace"),
            Self::String => Some("string"),
            Self::Hash => Some("hash"),
            Self::List => Some("list"),
            Self::Set => Some("set"),
            Self::SortedSet => Some("sortedset"),
            Self::Connection => Some("connection"),
            Self::Transactions => Some("transaction"),
            Self::Server | Self::Cluster => None,
        }
    }
}

/// The ACL categories, without `@`, of a command with these flags in this group; Redis derives them likewise.
pub fn categories(flags: Flags, group: Group) -> impl Iterator<Item = &'static str> {
    let keyspace = flags.has(Flags::KEYSPACE).then_some("keyspace");
    let own = group.category().filter(|_| !flags.has(Flags::COLLECTIONS));
    let collections = ["set", "sortedset", "list"].into_iter().filter(move |_| flags.has(Flags::COLLECTIONS));
    let by_flag = [
        (flags.has(Flags::READONLY), "read"),
        (flags.has(Flags::WRITE), "write"),
        (flags.has(Flags::ADMIN), "admin"),
        (flags.has(Flags::ADMIN.and(Flags::DANGEROUS)), "dangerous"),
        (flags.has(Flags::PUBSUB), "pubsub"),
        (flags.has(Flags::FAST), "fast"),
        (!flags.has(Flags::FAST), "slow"),
        (flags.has(Flags::BLOCKING), "blocking"),
    ];
    keyspace
        .into_iter()
        .chain(own)
        .chain(collections)
        .chain(by_flag.into_iter().filter(|(holds, _)| *holds).map(|(_, name)| name))
}
