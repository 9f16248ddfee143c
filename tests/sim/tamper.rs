//! Defects on purpose. Each of them must be reported by the judges within some seeds, or the simulator proves nothing.

use corelane::base::rng::Rng;
use corelane::shard::{Parcel, Ran};

use super::grammar::pick;

/// What goes wrong, once in some dozens of occasions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tamper {
    Nothing,
    /// Two replies of a connection change places.
    SwapReplies,
    /// A reply has another digit or letter.
    ChangeReply,
    /// A reply does not come.
    LoseReply,
    /// A shard does not say that it ran a request.
    ForgetRun,
    /// A shard gives its order wrongly.
    SwapRuns,
    /// A parcel between two lanes is lost.
    LoseParcel,
}

impl Tamper {
    pub(crate) fn replies(self, replies: &mut Vec<Vec<u8>>, rng: &mut Rng) {
        if replies.is_empty() || !matches!(self, Self::SwapReplies | Self::ChangeReply | Self::LoseReply) {
            return;
        }
        if !rng.one_in(20) {
            return;
        }
        let at = pick(rng, replies.len());
        match self {
            Self::SwapReplies if at + 1 < replies.len() => replies.swap(at, at + 1),
            Self::LoseReply => drop(replies.remove(at)),
            Self::ChangeReply => change(&mut replies[at]),
            _ => {}
        }
    }

    pub(crate) fn runs(self, runs: &mut Vec<Ran>, rng: &mut Rng) {
        if runs.len() < 2 || !matches!(self, Self::ForgetRun | Self::SwapRuns) || !rng.one_in(20) {
            return;
        }
        let at = pick(rng, runs.len() - 1);
        if self == Self::SwapRuns {
            runs.swap(at, at + 1);
        } else {
            runs.remove(at);
        }
    }

    /// The parcel, unless it is lost.
    pub(crate) fn parcel(self, parcel: Box<Parcel>, rng: &mut Rng) -> Option<Box<Parcel>> {
        if self == Self::LoseParcel && rng.one_in(50) { None } else { Some(parcel) }
    }
}

/// The last byte before the end of the line becomes another.
fn change(reply: &mut [u8]) {
    if let Some(byte) = reply.len().checked_sub(3).and_then(|at| reply.get_mut(at)) {
        *byte = match *byte {
            b'9' => b'0',
            b'0'..=b'8' | b'a'..=b'y' => *byte + 1,
            other => other,
        };
    }
}
