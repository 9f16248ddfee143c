//! Defects on purpose: what the simulator must find, or it proves nothing (`tests/sim/`). A release build has none.

use super::message::Message;

/// What goes wrong, now and then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planted {
    /// A share of a transaction gives its intents back as soon as it has them.
    DropIntent,
    /// Two answers of another lane change places.
    SwapAnswers,
    /// One lane's part of an MSET is not done, and said to be.
    HalfTransaction,
    /// Of those who wait for a key the second is served first.
    Overtake,
    /// A share that was refused keeps no place in its connection's line.
    LosePlace,
    /// A request of very many keys does not claim one of them.
    ForgetKey,
    /// A waiter that moves an element is served though somebody holds the key that it moves it to.
    MoveThrough,
}

/// So many occasions pass before it goes wrong again.
const ONE_IN: u32 = 5;

#[derive(Debug)]
pub(super) struct Plant {
    planted: Option<Planted>,
    occasions: u32,
}

impl Plant {
    pub(super) fn new(planted: Option<Planted>) -> Self {
        Self { planted, occasions: 0 }
    }

    /// Whether this goes wrong now.
    #[inline]
    pub(super) fn strikes(&mut self, what: Planted) -> bool {
        if !cfg!(debug_assertions) || self.planted != Some(what) {
            return false;
        }
        self.occasions += 1;
        self.occasions % ONE_IN == 1
    }

    /// Answers of a parcel, of which two that follow each other change places.
    #[inline]
    pub(super) fn disturb(&mut self, messages: &mut [Message]) {
        if cfg!(debug_assertions) && self.planted == Some(Planted::SwapAnswers) {
            self.swap_answers(messages);
        }
    }

    fn swap_answers(&mut self, messages: &mut [Message]) {
        let mut answers = messages.iter_mut().filter_map(|message| match message {
            Message::Done { ticket, .. } => Some(ticket),
            _ => None,
        });
        if let (Some(one), Some(other)) = (answers.next(), answers.next())
            && self.strikes(Planted::SwapAnswers)
        {
            std::mem::swap(one, other);
        }
    }
}
