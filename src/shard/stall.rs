//! What held the lane: the longest turn and the command or background step that took most of it.
//!
//! A turn counts from its clock reading to its last step, the time of its system calls left out. A shared machine's scheduler
//! may take the core away in the middle of one; such turns are told apart by the kernel's count of involuntary switches, which
//! is read a thousand times a second at most, and after each long turn.

use crate::admin::info::StallFacts;

/// Below this no turn is worth asking the scheduler about.
const WORTH_NS: u64 = 100_000;

/// How old the known count of switches may be at the start of a long turn.
const FRESH_NS: u64 = 1_000_000;

/// Requests of constant time are timed one in sixteen, so a turn may have no part with a name.
const NOTHING: (&str, u64) = ("requests", 0);

/// The longest turn and its heaviest part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Stall {
    turn_ns: u64,
    /// A command's name, or what background step it was.
    what: &'static str,
    part_ns: u64,
}

#[derive(Debug)]
pub(super) struct Stalls {
    involuntary_switches: fn() -> u64,
    switches: u64,
    asked_ns: u64,
    /// The heaviest timed part of this turn.
    part: (&'static str, u64),
    /// Turns that had the core to themselves.
    longest: Stall,
    /// Turns in which the scheduler may have taken the core away.
    longest_preempted: Stall,
}

impl Stalls {
    pub(super) fn new(involuntary_switches: fn() -> u64) -> Self {
        Self {
            involuntary_switches,
            switches: 0,
            asked_ns: 0,
            part: NOTHING,
            longest: Stall::default(),
            longest_preempted: Stall::default(),
        }
    }

    /// A part of this turn took so long.
    #[inline]
    pub(super) fn note(&mut self, what: &'static str, took_ns: u64) {
        if took_ns > self.part.1 {
            self.part = (what, took_ns);
        }
    }

    /// The turn that began at `began_ns` ends now.
    #[inline]
    pub(super) fn end_turn(&mut self, now_ns: u64, began_ns: u64) {
        let part = std::mem::replace(&mut self.part, NOTHING);
        let turn_ns = now_ns.saturating_sub(began_ns);
        if turn_ns > WORTH_NS || now_ns.saturating_sub(self.asked_ns) > FRESH_NS {
            self.judge(now_ns, turn_ns, part);
        }
    }

    fn judge(&mut self, now_ns: u64, turn_ns: u64, part: (&'static str, u64)) {
        let switches = (self.involuntary_switches)();
        let preempted = switches != self.switches;
        (self.switches, self.asked_ns) = (switches, now_ns);
        let kept = if preempted { &mut self.longest_preempted } else { &mut self.longest };
        if turn_ns > kept.turn_ns {
            *kept = Stall { turn_ns, what: part.0, part_ns: part.1 };
        }
    }

    pub(super) fn facts(&self) -> StallFacts {
        StallFacts {
            max_turn_us: self.longest.turn_ns / 1000,
            what: self.longest.what,
            part_us: self.longest.part_ns / 1000,
            max_turn_preempted_us: self.longest_preempted.turn_ns / 1000,
        }
    }

    /// CONFIG RESETSTAT.
    pub(super) fn reset(&mut self) {
        (self.longest, self.longest_preempted) = Default::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_turn_is_kept_with_its_heaviest_part() {
        let mut stalls = Stalls::new(|| 0);
        stalls.note("get", 10);
        stalls.note("keys", 400_000);
        stalls.note("set", 30);
        stalls.end_turn(1_500_000, 1_000_000);
        stalls.end_turn(2_200_000, 2_000_000);
        assert_eq!(stalls.longest, Stall { turn_ns: 500_000, what: "keys", part_ns: 400_000 });
        assert_eq!(stalls.longest_preempted, Stall::default());
        stalls.reset();
        assert_eq!(stalls.longest, Stall::default());
    }

    #[test]
    fn a_turn_whose_core_was_taken_away_is_kept_apart() {
        let mut stalls = Stalls::new(|| 1);
        stalls.end_turn(9_000_000, 1_000_000);
        assert_eq!((stalls.longest.turn_ns, stalls.longest_preempted.turn_ns), (0, 8_000_000));
        stalls.end_turn(10_500_000, 10_000_000);
        assert_eq!(stalls.longest.turn_ns, 500_000);
    }
}
