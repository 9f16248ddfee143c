//! Everything that may cross from one lane to another. If it is not in [`Message`], it does not cross cores.
//!
//! ```text
//!  Parcel   messages  [Execute 7][Execute 8][Done 3]...      what one lane has for another after one turn, in order
//!           spans     [..words of 7..][..words of 8..]
//!           out       bytes of requests and replies, large values beside them by reference
//!           cargo     what is not bytes: values that move, transactions' orders
//! ```
//!
//! A lane fills one parcel per peer and turn, and the ring between them carries a pointer: a hop costs one slot and one doorbell for
//! all that a turn has to say. Emptied parcels travel back full of answers, so that their memory is used again.
//!
//! Each message holds a ticket of its sender, a request that wants an answer, or is the answer to one. What can be under way is
//! therefore bounded by the tickets a lane gives out (`limits::TICKETS_PER_PEER`), and a parcel that finds the ring full waits in its
//! outbox without growing beyond that: two full lanes cannot block each other.

use std::ops::Range;

use super::durable::withheld::{Asks, Fate};
use super::errand::{Order, Report};
use super::locks::ClaimId;
use super::probe::Times;
use super::slow::Slow;
use crate::base::hash::KeyHash;
use crate::base::lanes::ShardId;
use crate::command::Caller;
use crate::command::clients::BlockId;
use crate::command::table::CommandId;
use crate::persist::Position;
use crate::persist::cut::Share;
use crate::store::incoming::Incoming;
use crate::wire::output::{Output, Splice};
use crate::wire::request::{Args, Span};

/// A place in the home lane's table of replies that are owed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Ticket(pub(super) u32);

/// A command under way over several lanes: its home, and its number there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct TxId {
    pub(super) home: ShardId,
    pub(super) number: u32,
}

/// One message. Its bytes lie in the parcel that brings it.
#[derive(Debug)]
pub(super) enum Message {
    /// Run this request and answer `Done`.
    Execute {
        ticket: Ticket,
        caller: Caller,
        command: CommandId,
        first: KeyHash,
        words: Words,
    },
    /// The long words of the request whose `Execute` is next.
    Longs {
        longs: Box<Incoming>,
    },
    /// The reply to an `Execute`.
    Done {
        ticket: Ticket,
        piece: Piece,
    },
    /// When the request ran whose `Done` is next: one that is followed.
    Timed {
        ticket: Ticket,
        times: Times,
    },
    /// A request of the receiver's connection took long, for SLOWLOG.
    Slow {
        slow: Box<Slow>,
    },
    /// Clients of the sender asked this, in lines for MONITOR.
    Asked {
        lines: Box<[u8]>,
    },
    /// Whether clients of the sender see what is asked on all lanes.
    Watches {
        watches: bool,
    },
    /// These keys are watched by one client less.
    Unwatch {
        keys: Box<[(u8, KeyHash)]>,
    },
    /// What a transaction's home wants of a participant; its answer is a `Report`.
    Order {
        tx: TxId,
        order: Box<Order>,
    },
    Report {
        tx: TxId,
        report: Box<Report>,
    },
    /// A key that this request waits for was written: may it be served? The claim on the key is held until the `Answer`.
    May {
        block: BlockId,
        claim: ClaimId,
    },
    Answer {
        claim: ClaimId,
        taken: bool,
    },
    /// The reply to a request that waited and was taken.
    Served {
        block: BlockId,
        piece: Piece,
    },
    /// This request of the sender waits no more.
    Forget {
        block: BlockId,
    },
    /// The sender has brought its part of these commands to the disk.
    Synced {
        shares: Box<[Share]>,
    },
    /// Up to here all commands over several lanes are durable on all of them.
    Settled {
        until: Position,
    },
    /// Somebody waits behind a command over several lanes until all have it on their disks: the receiver shall sync what it has.
    Hurry,
    /// The sender wants to know when the receiver's journal is firm up to there, or up to its end if that comes first.
    WhenFirm {
        number: u32,
        until: Position,
        asks: Asks,
    },
    Told {
        number: u32,
        fate: Fate,
    },
    /// A reply will not come: the disk failed under what it would have shown.
    Lost {
        ticket: Ticket,
    },
    LostBlock {
        block: BlockId,
    },
    /// The sender's journal can be written no more, in the words for whoever writes.
    DiskFailed {
        /// How many marks the sender had passed then.
        era: u32,
        why: Box<str>,
    },
    /// Whether more of the sender's journal waits to be written than may.
    Full {
        is_full: bool,
    },
    /// The sender's journal takes so many bytes, and it has seen so many rewrites.
    Grown {
        bytes: u64,
        rewrites: u32,
    },
}

const _: () = assert!(size_of::<Message>() <= 64, "a message is one cache line");

/// Where a request's words are in a parcel.
#[derive(Clone, Copy, Debug)]
pub(super) struct Words {
    start: u32,
    len: u32,
    spans: u32,
    count: u32,
}

/// Where a reply is in a parcel.
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece {
    start: u32,
    end: u32,
    splices: u32,
    splices_end: u32,
}

impl Piece {
    /// Where the next reply in `out` will begin.
    pub(super) fn at(out: &Output) -> Self {
        let (at, splices) = (narrow(out.bytes.len()), narrow(out.shared.len()));
        Self { start: at, end: at, splices, splices_end: splices }
    }
}

/// What one lane has for another after one turn.
#[derive(Debug, Default)]
pub struct Parcel {
    pub(super) messages: Vec<Message>,
    pub(super) out: Output,
    spans: Vec<Span>,
    /// Of the long words that it brings.
    long_bytes: usize,
}

/// Parcels are bounded by what connections may send in a turn, far below.
fn narrow(len: usize) -> u32 {
    u32::try_from(len).expect("a parcel holds less than 4 GiB")
}

impl Parcel {
    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Bytes it carries, large values included.
    pub(super) fn weight(&self) -> usize {
        self.out.len() + self.long_bytes
    }

    /// Long words of the request that is packed next.
    pub(super) fn push_longs(&mut self, longs: Incoming) {
        self.long_bytes += longs.bytes();
        self.messages.push(Message::Longs { longs: Box::new(longs) });
    }

    /// Copies a request in.
    pub(super) fn pack(&mut self, args: Args<'_>) -> Words {
        let words = Words {
            start: narrow(self.out.bytes.len()),
            len: narrow(args.extent()),
            spans: narrow(self.spans.len()),
            count: narrow(args.len()),
        };
        args.copy_to(&mut self.out.bytes, &mut self.spans);
        words
    }

    pub(super) fn args(&self, words: Words) -> Args<'_> {
        let bytes = &self.out.bytes[words.start as usize..(words.start + words.len) as usize];
        Args::new(bytes, &self.spans[words.spans as usize..(words.spans + words.count) as usize])
    }

    /// The reply that was written since `mark`.
    pub(super) fn piece_since(&self, mark: Piece) -> Piece {
        Piece { end: narrow(self.out.bytes.len()), splices_end: narrow(self.out.shared.len()), ..mark }
    }

    /// Copies a reply in, and adds the message that brings it.
    pub(super) fn push_reply(&mut self, reply: &Output, bring: impl FnOnce(Piece) -> Message) {
        let mark = Piece::at(&self.out);
        reply.copy_to(&mut self.out);
        let piece = self.piece_since(mark);
        self.messages.push(bring(piece));
    }

    /// Appends a reply that came with this parcel to `out`.
    pub(super) fn unpack(&self, piece: Piece, out: &mut Output) {
        let bytes: Range<usize> = piece.start as usize..piece.end as usize;
        let splices: &[Splice] = &self.out.shared[piece.splices as usize..piece.splices_end as usize];
        out.append_part(&self.out.bytes[bytes.clone()], splices, bytes.start);
    }

    /// Forgets everything but the memory.
    pub(super) fn clear(&mut self) {
        self.messages.clear();
        self.out.clear();
        self.spans.clear();
        self.long_bytes = 0;
    }

    /// Whether its memory is worth keeping.
    pub(super) fn is_small(&self) -> bool {
        self.out.bytes.capacity() <= SPARE_BYTES_MAX
    }
}

/// A parcel that grew beyond this for one large turn is freed.
const SPARE_BYTES_MAX: usize = 256 << 10;
