//! Whether to spin before waiting. Waking a halted core costs more than all of our code, so a lane whose next request comes
//! within tens of microseconds does better to look for it; one whose requests come later, or in crowds, burns its core.
//!
//! Adaptive: spin while spinning pays. A spin that ends empty, or that catches one request of a crowd which waiting would have
//! served in one batch, doubles how many waits pass before the next try; one that pays resets it. Spinning also stops while
//! the scheduler takes this core away from us: then somebody else needs it.

use crate::shard::ShardId;

/// How long a lane spins before it waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Poll {
    #[default]
    Adaptive,
    /// Always so many microseconds; 0 never spins.
    Fixed(u32),
}

impl Poll {
    /// The option `poll-us`; `auto` is `None`.
    pub fn of(us: Option<i64>) -> Self {
        us.map_or(Self::Adaptive, |us| Self::Fixed(u32::try_from(us).unwrap_or(u32::MAX)))
    }
}

/// Who gives a lane work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Talker {
    Conn(u32),
    Lane(ShardId),
}

/// Long enough for a round trip to a client on another core (some 45 us), short enough to waste little.
const BUDGET_NS: u64 = 60_000;

/// After ever more misses: one try in so many waits.
const SKIP_MAX: u32 = 1024;

/// A lane with more talkers than this is served better in batches.
const TALKERS_MAX: usize = 4;

/// How often the scheduler is asked, and how many involuntary switches in that time mean that the core is contended.
const SAMPLE_NS: u64 = 50_000_000;
const SWITCHES_MAX: u64 = 5;
/// How long a contended core is left alone.
const REST_NS: u64 = 1_000_000_000;

#[derive(Debug)]
pub(super) struct Spin {
    poll: Poll,
    /// Waits to pass before the next try, and what it was last.
    skip: u32,
    skip_last: u32,
    /// The last few that sent something, and how many turns in a row knew theirs.
    talkers: [Option<Talker>; TALKERS_MAX],
    strangers: u32,
    sampled_ns: u64,
    switches: u64,
    rest_until_ns: u64,
}

impl Spin {
    pub(super) fn new(poll: Poll) -> Self {
        Self {
            poll,
            skip: 0,
            skip_last: 0,
            talkers: [None; TALKERS_MAX],
            strangers: 0,
            sampled_ns: 0,
            switches: 0,
            rest_until_ns: 0,
        }
    }

    pub(super) fn set_poll(&mut self, poll: Poll) {
        self.poll = poll;
    }

    /// `talker` sent something this turn. Asked for the first only: a second one in the same turn is a crowd by itself.
    #[inline]
    pub(super) fn heard(&mut self, talker: Talker) {
        if self.talkers.contains(&Some(talker)) {
            self.strangers /= 2;
            return;
        }
        self.talkers.rotate_right(1);
        self.talkers[0] = Some(talker);
        self.strangers = (self.strangers + 8).min(64);
    }

    /// How many nanoseconds to spin now; 0: wait at once. `switches` is asked at most once per `SAMPLE_NS`.
    pub(super) fn budget_ns(&mut self, now_ns: u64, switches: impl FnOnce() -> u64) -> u64 {
        if let Poll::Fixed(us) = self.poll {
            return u64::from(us) * 1000;
        }
        if self.strangers > 32 {
            return 0;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return 0;
        }
        if self.contended(now_ns, switches) { 0 } else { BUDGET_NS }
    }

    /// What came of it: whether something arrived in time.
    pub(super) fn spun(&mut self, caught: bool) {
        self.skip_last = if caught { 0 } else { (self.skip_last * 2).clamp(1, SKIP_MAX) };
        self.skip = self.skip_last;
    }

    fn contended(&mut self, now_ns: u64, switches: impl FnOnce() -> u64) -> bool {
        if now_ns < self.rest_until_ns {
            return true;
        }
        let since = now_ns.saturating_sub(self.sampled_ns);
        if since < SAMPLE_NS {
            return false;
        }
        let switches = switches();
        let rose = switches.saturating_sub(self.switches);
        // A first or long past sample says nothing about now.
        let recent = since < 4 * SAMPLE_NS;
        self.sampled_ns = now_ns;
        self.switches = switches;
        let contended = recent && rose > SWITCHES_MAX;
        if contended {
            self.rest_until_ns = now_ns + REST_NS;
        }
        contended
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spinning_that_never_pays_fades_to_a_rare_try() {
        let mut spin = Spin::new(Poll::Adaptive);
        spin.heard(Talker::Conn(1));
        let tries = (0..10_000).filter(|_| {
            let spins = spin.budget_ns(1, || 0) > 0;
            if spins {
                spin.spun(false);
            }
            spins
        });
        assert!((11..30).contains(&tries.count()));
        spin.skip = 0;
        spin.spun(true);
        assert!(spin.budget_ns(1, || 0) > 0, "one that pays brings it back at once");
    }

    #[test]
    fn a_crowd_is_not_worth_spinning_for() {
        let mut spin = Spin::new(Poll::Adaptive);
        (0..100).for_each(|turn| spin.heard(Talker::Conn(turn % 50)));
        assert_eq!(spin.budget_ns(1, || 0), 0);
        (0..20).for_each(|_| spin.heard(Talker::Lane(ShardId(7))));
        assert!(spin.budget_ns(1, || 0) > 0);
    }

    #[test]
    fn a_contended_core_is_left_alone_for_a_while() {
        let mut spin = Spin::new(Poll::Adaptive);
        assert!(spin.budget_ns(10 * SAMPLE_NS, || 100) > 0, "a first sample says nothing");
        assert_eq!(spin.budget_ns(11 * SAMPLE_NS, || 200), 0);
        assert_eq!(spin.budget_ns(12 * SAMPLE_NS, || 200), 0);
        assert!(spin.budget_ns(11 * SAMPLE_NS + REST_NS, || 200) > 0);
    }

    #[test]
    fn a_fixed_budget_is_kept() {
        assert_eq!(Spin::new(Poll::Fixed(25)).budget_ns(1, || 0), 25_000);
        assert_eq!(Spin::new(Poll::Fixed(0)).budget_ns(1, || 0), 0);
    }
}
