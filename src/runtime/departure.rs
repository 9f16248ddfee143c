//! The order of ending: no lane ends while another may still need it.
//!
//! A lane that was told to stop takes no more input, but goes on turning: it answers its own connections, for which it may need
//! its peers, and it answers its peers. It settles when it needs nobody any more: its connections are closed, no work is left
//! and no answer is owed to it. From then on it cannot come to need anybody again. When all lanes have settled, all may end;
//! the last one to settle wakes the others.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

#[derive(Debug)]
pub(super) struct Departure {
    lanes: usize,
    settled: Arc<AtomicUsize>,
    has_settled: bool,
}

/// What follows from settling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Settled {
    /// Others still need something.
    WaitForOthers,
    /// The last one: wake them all.
    WakeOthers,
}

/// One for each of so many lanes.
pub(super) fn departures(lanes: usize) -> Vec<Departure> {
    let settled = Arc::new(AtomicUsize::new(0));
    (0..lanes).map(|_| Departure { lanes, settled: Arc::clone(&settled), has_settled: false }).collect()
}

impl Departure {
    pub(super) fn has_settled(&self) -> bool {
        self.has_settled
    }

    /// This lane needs nobody any more. Once.
    pub(super) fn settle(&mut self) -> Settled {
        let again = std::mem::replace(&mut self.has_settled, true);
        assert!(!again, "a lane settles once");
        let before = self.settled.fetch_add(1, Ordering::AcqRel);
        if before + 1 == self.lanes { Settled::WakeOthers } else { Settled::WaitForOthers }
    }

    /// Whether no lane needs another any more.
    pub(super) fn is_over(&self) -> bool {
        self.settled.load(Ordering::Acquire) == self.lanes
    }
}

impl Drop for Departure {
    /// A lane that breaks settles too: the others must not wait for it.
    fn drop(&mut self) {
        if !self.has_settled {
            self.settle();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_over_when_the_last_has_settled() {
        let mut all = departures(3);
        assert_eq!(all[1].settle(), Settled::WaitForOthers);
        drop(all.pop());
        assert!(!all[1].is_over());
        assert_eq!(all[0].settle(), Settled::WakeOthers);
        assert!(all[0].is_over() && all[1].is_over());
    }
}
