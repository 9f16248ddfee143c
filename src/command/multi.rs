//! MULTI, EXEC, DISCARD, WATCH and UNWATCH: their rows, and what a connection remembers between them. How EXEC runs over lanes is the
//! shard's business.

use super::{Command, Flags, Group, Keys, Run, Verb};
use crate::base::hash::KeyHash;
use crate::base::time::Millis;
use crate::command::table::CommandId;
use crate::store::incoming::Incoming;
use crate::store::keyspace::Graveyard;
use crate::store::watchers::Version;
use crate::types::Object;
use crate::wire::request::Request;

const ROW: Command = Command {
    group: Group::Transactions,
    flags: Flags::NOSCRIPT.and(Flags::LOADING).and(Flags::STALE).and(Flags::FAST).and(Flags::ALLOW_BUSY),
    ..Command::ROW
};

pub const ROWS: &[Command] = &[
    Command {
        name: "discard",
        syntax: "DISCARD",
        arity: 1,
        since: "2.0.0",
        complexity: "O(N) where N is the number of queued commands",
        summary: "Forgets the queued commands and what is watched.",
        run: Run::Verb(Verb::Discard),
        ..ROW
    },
    Command {
        name: "exec",
        syntax: "EXEC",
        arity: 1,
        flags: Flags::NOSCRIPT.and(Flags::LOADING).and(Flags::STALE).and(Flags::SKIP_SLOWLOG),
        since: "1.2.0",
        complexity: "Depends on the queued commands",
        summary: "Runs the queued commands, nothing of others in between.",
        run: Run::Verb(Verb::Exec),
        ..ROW
    },
    Command {
        name: "multi",
        syntax: "MULTI",
        arity: 1,
        since: "1.2.0",
        summary: "From here on, commands are queued for EXEC.",
        run: Run::Verb(Verb::Multi),
        ..ROW
    },
    Command {
        name: "unwatch",
        syntax: "UNWATCH",
        arity: 1,
        since: "2.2.0",
        summary: "Watches nothing any more.",
        run: Run::Verb(Verb::Unwatch),
        ..ROW
    },
    Command {
        name: "watch",
        syntax: "WATCH key [key ...]",
        arity: -2,
        keys: Keys::all(Keys::LOOK),
        since: "2.2.0",
        complexity: "O(N) where N is the number of keys",
        summary: "Lets the next EXEC fail if one of the keys changes until then.",
        run: Run::Verb(Verb::Watch),
        ..ROW
    },
];

/// Commands waiting for EXEC.
#[derive(Debug, Default)]
pub struct Multi {
    pub queue: Queue,
    /// One of them was refused: EXEC refuses all.
    pub is_broken: bool,
    /// One of them wants a file that has not been read yet.
    pub reads: Option<CommandId>,
}

/// Commands in their order, in pieces that never move: one list would be copied as it grows, megabytes at a time.
#[derive(Debug, Default)]
pub struct Queue {
    pieces: Vec<Vec<Queued>>,
    len: usize,
    words: usize,
    has_longs: bool,
}

pub type Each = std::iter::Flatten<std::vec::IntoIter<Vec<Queued>>>;

/// Commands of a piece: made and freed in some ten microseconds.
const PIECE: usize = 256;

impl Queue {
    pub fn push(&mut self, queued: Queued) {
        self.len += 1;
        self.words += queued.request.args().len();
        self.has_longs |= !queued.longs.is_empty();
        match self.pieces.last_mut().filter(|piece| piece.len() < PIECE) {
            Some(piece) => piece.push(queued),
            None => self.pieces.push(vec![queued]),
        }
    }

    pub const fn len(&self) -> usize {
        self.len
    }

    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Words of all commands.
    pub const fn words(&self) -> usize {
        self.words
    }

    pub fn iter(&self) -> impl Iterator<Item = &Queued> {
        self.pieces.iter().flatten()
    }

    /// Puts this in the place of each request of a command.
    pub fn put(&mut self, command: CommandId, request: &Request) {
        let of_it = self.pieces.iter_mut().flatten().filter(|queued| queued.command == command);
        of_it.for_each(|queued| queued.request = request.clone());
    }

    /// One after the other.
    pub fn into_each(self) -> Each {
        self.pieces.into_iter().flatten()
    }

    /// Nobody will run them.
    pub fn bury(mut self, graves: &mut Graveyard) {
        if self.has_longs {
            let longs = self.pieces.iter_mut().flatten().map(|queued| std::mem::take(&mut queued.longs));
            longs.flat_map(Incoming::into_ropes).for_each(|rope| graves.bury_object(Object::Rope(rope)));
        }
        graves.bury_heaps(self.pieces.into_iter().map(|piece| Box::new(piece) as Box<dyn Send>));
    }
}

/// One of them.
#[derive(Debug)]
pub struct Queued {
    pub command: CommandId,
    pub request: Request,
    pub longs: Incoming,
}

/// A key the connection watches, as it was then.
#[derive(Clone, Debug)]
pub struct WatchedKey {
    pub db: u8,
    pub key: Box<[u8]>,
    pub hash: KeyHash,
    pub version: Version,
    /// Whether it was there: if it is not any more, it has changed even if nobody wrote it.
    pub existed: bool,
    /// When the first field of a hash dies by itself, which changes it too.
    pub fades: Option<Millis>,
}
