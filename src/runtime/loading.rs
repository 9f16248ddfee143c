//! A lane from its first turn until the keyspace is whole: it serves what may be served meanwhile, and refuses the rest with -LOADING.
//!
//! ```text
//!  the keeper opens the directory   AwaitsKeeper    reads how far the last run's streams count; what another number of lanes wrote it loads whole
//!  gives each lane its part         Adopts          keys that were loaded for it, some hundred a turn
//!                                   Loads           its own files, a piece a turn (`loader.rs`)
//!                                   AwaitsOthers    until all lanes are here; then all serve
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use super::archive::Refusal;
use super::loader::{Loader, Step};
use crate::admin::journal::LoadingFacts;
use crate::base::time::Now;
use crate::shard::{Moving, Shard};

/// How often a lane looks whether others have come further.
const LOOK_NS: u64 = 1_000_000;

/// Keys adopted in a turn.
const ADOPTED_AT_ONCE: usize = 500;

/// What lanes and the keeper know of each other while they load.
#[derive(Clone, Debug)]
pub(super) struct Together(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    /// Lanes that have not loaded all of theirs.
    loading: AtomicUsize,
    bytes: AtomicU64,
    loaded_bytes: AtomicU64,
    /// `key-load-delay`, as a lane saw it last.
    delay_us: AtomicI64,
}

impl Together {
    /// `delay_us`: `key-load-delay` until a lane says something else.
    pub(super) fn new(lanes: usize, delay_us: i64) -> Self {
        let (loading, delay_us) = (AtomicUsize::new(lanes), AtomicI64::new(delay_us));
        Self(Arc::new(Shared { loading, delay_us, ..Shared::default() }))
    }

    /// So many bytes are to be loaded in all.
    pub(super) fn expect(&self, bytes: u64) {
        self.0.bytes.store(bytes, Ordering::Relaxed);
    }

    pub(super) fn loaded(&self, bytes: u64) {
        self.0.loaded_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// How long to wait after so many records: for each so many microseconds, or, if that is negative, one for as many records.
    pub(super) fn delay(&self, records: u64) -> Duration {
        let delay_us = self.0.delay_us.load(Ordering::Relaxed);
        let of_each = delay_us.unsigned_abs();
        Duration::from_micros(if delay_us < 0 { records / of_each } else { records.saturating_mul(of_each) })
    }

    fn facts(&self, started_s: u64) -> LoadingFacts {
        let loaded_bytes = self.0.loaded_bytes.load(Ordering::Relaxed);
        LoadingFacts { started_s, bytes: self.0.bytes.load(Ordering::Relaxed).max(loaded_bytes), loaded_bytes }
    }

    fn one_has_loaded(&self) {
        self.0.loading.fetch_sub(1, Ordering::AcqRel);
    }

    fn all_have_loaded(&self) -> bool {
        self.0.loading.load(Ordering::Acquire) == 0
    }
}

/// When a lane wants to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    At(u64),
    /// All is there.
    Done,
}

pub(super) struct Loading {
    together: Together,
    phase: Phase,
    started_s: Option<u64>,
    /// `key-load-delay`: the next piece comes then.
    not_before_ns: u64,
}

enum Phase {
    AwaitsKeeper,
    Adopts(Moving, Loader),
    Loads(Loader),
    AwaitsOthers,
}

impl Loading {
    pub(super) fn new(together: Together) -> Self {
        Self { together, phase: Phase::AwaitsKeeper, started_s: None, not_before_ns: 0 }
    }

    pub(super) fn awaits_keeper(&self) -> bool {
        matches!(self.phase, Phase::AwaitsKeeper)
    }

    /// The keeper has opened the directory: these keys are the lane's already, and this it loads.
    pub(super) fn begin(&mut self, moving: Moving, loader: Loader) {
        assert!(self.awaits_keeper(), "the directory is opened once");
        self.phase = Phase::Adopts(moving, loader);
    }

    /// Whether all lanes have loaded all: then nobody refuses what another lane does not refuse any more.
    pub(super) fn is_over(&self) -> bool {
        self.together.all_have_loaded()
    }

    /// Loads the next piece.
    pub(super) fn step(&mut self, shard: &mut Shard, now: Now) -> Result<Next, Refusal> {
        self.together.0.delay_us.store(shard.config().key_load_delay_us(), Ordering::Relaxed);
        if now.mono_ns >= self.not_before_ns {
            let phase = std::mem::replace(&mut self.phase, Phase::AwaitsOthers);
            self.phase = self.advance(phase, shard, now)?;
        }
        if self.is_over() {
            shard.set_loading(None);
            return Ok(Next::Done);
        }
        let started_s = *self.started_s.get_or_insert(now.unix_us / 1_000_000);
        shard.set_loading(Some(self.together.facts(started_s)));
        Ok(Next::At(match self.phase {
            Phase::AwaitsKeeper | Phase::AwaitsOthers => now.mono_ns + LOOK_NS,
            Phase::Adopts(..) | Phase::Loads(_) => self.not_before_ns.max(now.mono_ns),
        }))
    }

    fn advance(&mut self, phase: Phase, shard: &mut Shard, now: Now) -> Result<Phase, Refusal> {
        Ok(match phase {
            Phase::AwaitsKeeper | Phase::AwaitsOthers => phase,
            Phase::Adopts(mut moving, loader) => {
                shard.adopt(&mut moving, ADOPTED_AT_ONCE);
                if moving.is_empty() { Phase::Loads(loader) } else { Phase::Adopts(moving, loader) }
            }
            Phase::Loads(mut loader) => match loader.step(shard, &self.together)? {
                Step::Records(records) => {
                    let delay = self.together.delay(records).as_nanos();
                    self.not_before_ns = now.mono_ns + u64::try_from(delay).unwrap_or(u64::MAX / 2);
                    Phase::Loads(loader)
                }
                Step::Over => {
                    self.together.one_has_loaded();
                    Phase::AwaitsOthers
                }
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delay_is_for_each_record_or_for_as_many() {
        let delay_us = |delay_us, records| Together::new(1, delay_us).delay(records).as_micros();
        assert_eq!([delay_us(0, 9), delay_us(3, 9), delay_us(-3, 9), delay_us(-20, 9)], [0, 27, 3, 0]);
    }
}
