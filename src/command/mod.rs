//! Layer 4: what a command is, and the table of all of them.
//!
//! One row says everything about a command. Dispatch, arity, COMMAND and its subcommands, HELP, ACL categories, the refusals of
//! the gate, statistics, journalling, routing and COMMANDS.md are read from it; nothing is said twice. Rows stand at the top of
//! the file of their family, their handlers below them.

pub mod acl;
pub mod algebra;
pub mod arguments;
pub mod blocking;
pub mod caller;
pub mod clients;
pub mod clipped;
pub mod cluster;
pub mod connection;
pub mod docs;
pub mod exchange;
pub mod expire;
pub mod flags;
pub mod gathering;
pub mod hash;
pub mod inbound;
pub mod introspect;
pub mod keys;
pub mod latency;
pub mod lcs;
pub mod list;
pub mod memory;
pub mod merge;
pub mod monitor;
pub mod multi;
pub mod nodes;
pub mod numbers;
pub mod object;
pub mod order;
pub mod owed;
pub mod pick;
pub mod places;
pub mod ranges;
pub mod roster;
pub mod scan;
pub mod server;
pub mod set;
pub mod sliced;
pub mod slowlog;
pub mod sort;
pub mod staged;
pub mod storing;
pub mod string;
pub mod syntax;
pub mod table;
pub mod zset;

pub use caller::{Caller, Ctx, Desk, Key};
pub use flags::{Flags, Group};
pub use places::Keys;
pub use table::Table;

use crate::config::Config;
use crate::wire::fault::Fault;
use crate::wire::reply::Reply;
use crate::wire::request::Args;

/// Outcome of a handler: `Err` becomes the whole reply, whatever the handler had written before.
pub type Outcome = Result<(), Fault>;

/// A row of the table.
#[derive(Debug)]
pub struct Command {
    /// Lower case; a subcommand's is `container|name`, as COMMAND INFO shows it.
    pub name: &'static str,
    /// The syntax line of the manual, in Redis's notation. `arity` follows from it, and a test re-derives it.
    pub syntax: &'static str,
    /// Number of words with the name (and the container's); negative: at least so many.
    pub arity: i16,
    pub keys: Keys,
    pub flags: Flags,
    pub group: Group,
    /// The Redis (or Valkey) version that brought it.
    pub since: &'static str,
    pub complexity: &'static str,
    /// One sentence, our own words.
    pub summary: &'static str,
    pub log: Log,
    pub policy: Policy,
    /// Hints for clients beyond the policies, in Redis's words.
    pub tips: &'static [&'static str],
    /// The slot that a command without keys is about, if it is about one.
    pub about: fn(Args<'_>) -> Option<u16>,
    /// What of one key a request may name by the thousand.
    pub elements: Option<Elements>,
    /// Whether a request leads to keys that only the data tell: then it holds the whole keyspace.
    pub leads: Option<fn(Args<'_>) -> bool>,
    /// A file that it wants: what that holds is one more word of the request when it runs. Empty: it does without.
    pub reads: Option<fn(&Config) -> &[u8]>,
    pub run: Run,
    pub children: &'static [Self],
}

/// Words behind a key, in groups, each of which could as well be a request of its own: fields with their values. A request of very many of
/// them is worked off in slices, of one moment all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elements {
    pub first: u8,
    pub step: u8,
    pub said: Said,
}

/// What the slices of a request say together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    Sum,
    /// One array of all theirs.
    Concat,
    /// What each of them says.
    Same,
}

impl Elements {
    pub const fn new(first: u8, step: u8, said: Said) -> Option<Self> {
        Some(Self { first, step, said })
    }

    fn are_whole(self, words: usize) -> bool {
        (words - usize::from(self.first)).is_multiple_of(usize::from(self.step))
    }
}

impl Command {
    /// What a row need not say.
    pub const ROW: Self = Self {
        name: "",
        syntax: "",
        arity: 0,
        keys: Keys::NONE,
        flags: Flags::NONE,
        group: Group::Generic,
        since: "1.0.0",
        complexity: "O(1)",
        summary: "",
        log: Log::Never("reads only"),
        policy: Policy::Default,
        tips: &[],
        about: |_| None,
        elements: None,
        leads: None,
        reads: None,
        run: Run::Container,
        children: &[],
    };

    pub fn arity_fits(&self, words: usize) -> bool {
        self.counts_fit(words) && (self.arity >= 0 || self.keys.are_whole(words))
    }

    /// Whether a request has words enough, but a key lacks its value: Redis lets it pass into a queue.
    pub fn lacks_a_value(&self, words: usize) -> bool {
        self.counts_fit(words) && !self.keys.are_whole(words)
    }

    fn counts_fit(&self, words: usize) -> bool {
        let wanted = usize::from(self.arity.unsigned_abs());
        if self.arity >= 0 { words == wanted } else { words >= wanted }
    }

    /// Whether the manual gives its cost as constant.
    #[inline]
    pub fn is_constant_time(&self) -> bool {
        self.complexity == "O(1)"
    }

    /// Whether a call is brief whatever it is asked: what would be long goes on as a job, whose steps are timed.
    pub fn is_brief(&self) -> bool {
        match self.run {
            Run::Sliced { .. } => true,
            Run::Staged(stages) => stages.len() == 1,
            _ => false,
        }
    }

    /// Whether a call of a few words is brief: they name members or fields, or places in an order.
    pub fn is_brief_of_few(&self) -> bool {
        self.elements.is_some() || self.complexity.starts_with("O(log(N)) ")
    }

    /// Whether it can change its connection: then whoever runs requests looks at it again.
    #[inline]
    pub fn concerns_session(&self) -> bool {
        let is_of_keys = matches!(
            self.run,
            Run::Keys(_) | Run::Split { part: Part::Keys(_), .. } | Run::Staged(_) | Run::Sliced { .. }
        );
        !is_of_keys
    }

    /// Whether nothing is left of a request when its handler has returned: no job, nothing held, its connection as it was.
    #[inline]
    pub fn ends_at_once(&self) -> bool {
        matches!(self.run, Run::Keys(_) | Run::Split { part: Part::Keys(_), .. })
    }

    /// Whether it is of one key, which its first word names, and no more.
    #[inline]
    pub fn is_lone(&self) -> bool {
        matches!(self.run, Run::Keys(_)) && self.keys.first == 1 && self.keys.is_single()
    }

    /// Whether each owner of its keys does its part at once.
    pub fn is_split_by_keys(&self) -> bool {
        matches!(self.run, Run::Split { over: Over::Keys, part: Part::Keys(_), .. })
    }

    /// Whether a request, of very many words, can be worked off in slices.
    pub fn is_divisible(&self, words: usize) -> bool {
        let by_elements = self.elements.is_some_and(|elements| elements.are_whole(words));
        (by_elements || self.is_split_by_keys() || self.is_staged_by_owners()) && self.arity_fits(words)
    }

    /// Whether a request leads to keys that only the data tell.
    #[inline]
    pub fn leads_elsewhere(&self, args: Args<'_>) -> bool {
        self.leads.is_some_and(|leads| leads(args))
    }

    /// Whether it is a sequence of stages each of which every owner of keys runs for its own.
    pub fn is_staged_by_owners(&self) -> bool {
        matches!(self.run, Run::Staged(stages) if stages.iter().all(|stage| stage.on == staged::On::EachOwner))
    }

    pub fn is_write(&self) -> bool {
        self.flags.has(Flags::WRITE)
    }
}

/// Whether and how a command's effect is journalled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Log {
    /// The request itself is its deterministic effect: the same bytes are appended.
    Verbatim,
    /// The handler states the effect: absolute times, chosen members, results of arithmetic on floats.
    Effect,
    /// Nothing is ever written, and why.
    Never(&'static str),
}

/// How a proxy, and so our lanes, must treat a command whose keys live on several of them: Redis's published
/// request and response policies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// All keys on one lane, or no key at all.
    Default,
    MultiShard(Merge),
    AllShards(Merge),
    AllNodes(Merge),
    Special,
}

/// How the parts of an answer become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Merge {
    AllSucceeded,
    Sum,
    /// Values in the order of the keys in the request.
    KeyOrder,
    Special,
}

pub type SessionFn = fn(&mut Desk<'_>, Args<'_>, &mut Reply<'_>) -> Outcome;
pub type KeysFn = fn(&mut Ctx<'_>, Args<'_>, &mut Reply<'_>) -> Outcome;
pub type StartFn = fn(&mut Ctx<'_>, Args<'_>) -> Result<Box<dyn sliced::Job>, Fault>;

/// How a command runs.
#[derive(Clone, Copy, Debug)]
pub enum Run {
    /// No keys: it concerns the connection or the server.
    Session(SessionFn),
    /// The same, and it lasts as long as a disk takes: `Desk::begun`.
    Filed(SessionFn),
    /// All keys on one shard: nine commands in ten.
    Keys(KeysFn),
    /// Several shards each run `part` on what they own, and `merge` makes one answer of theirs. With one shard `part` is the command.
    Split { over: Over, part: Part, merge: Merging },
    /// Reads here, writes there: one stage after the other, each on the shard that owns its key.
    Staged(&'static [staged::Stage]),
    /// Work too long for one turn: `start` makes the job whose steps do it.
    Sliced { start: StartFn },
    /// Served from the first of its keys that can serve it, waiting for one if need be.
    Blocking(&'static blocking::Blocking),
    /// Needs the shard itself.
    Verb(Verb),
    /// Only its subcommands run.
    Container,
}

/// Among which shards a command is split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// Those that own its keys, which it holds meanwhile.
    Keys,
    /// All, the whole keyspace being held meanwhile.
    Keyspace,
    /// All, each for itself: the answer is of no single moment.
    Nodes,
}

/// How the answers of a split command become one.
#[derive(Clone, Copy, Debug)]
pub enum Merging {
    /// A shard that is asked alone gives the answer itself.
    Several(merge::MergeFn),
    /// What shards say is for the merge only.
    Always(merge::MergeFn),
}

/// What each shard does of a split command.
#[derive(Clone, Copy, Debug)]
pub enum Part {
    Keys(KeysFn),
    Sliced(StartFn),
    /// The connection that asks may be another lane's: `Desk::caller` is all that is known of it.
    Desk(SessionFn),
}

/// Commands that steer the shard: one exhaustive match in `shard/verbs.rs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    Discard,
    Exec,
    /// Tells what all lanes know.
    Facts(FactsPage),
    Multi,
    Unwatch,
    WaitAof,
    Watch,
}

/// Pages made of what all lanes know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FactsPage {
    Info,
    MemoryDoctor,
    MemoryStats,
}
