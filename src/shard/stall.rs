//! What held the lane: the longest turn and the command or background step that took most of it.
//!
//! A turn counts from its clock reading to its last step, the time of its system calls left out. A shared machine's scheduler
//! may take the core away in the middle of one. So a turn is as long as the processor time that the thread had in it: read after each long
//! turn, and before a turn if the last reading is older than `FRESH_NS`. Read only afterwards, a preempted turn was blamed for the time that
//! the kernel had taken before it to send megabytes (4 ms). Where the clock on the wall shows more, that was the scheduler, and is kept
//! apart. No turn is lost to a preemption, and none is blamed for one.

use crate::admin::info::StallFacts;

/// Below this no turn is worth asking for its processor time.
const WORTH_NS: u64 = 100_000;

/// How old the last reading may be at the start of a long turn: by so much may its length be overstated when it was preempted.
/// A reading is a system call of a quarter of a microsecond.
const FRESH_NS: u64 = 200_000;

/// By so much processor time may fall behind the wall without a preemption: the two clocks are read one after the other.
const TOLERANCE_NS: u64 = 20_000;

/// Requests of constant time are timed one in seventeen, so a turn may have no part with a name.
const NOTHING: (&str, u64) = ("requests", 0);

/// The longest turn and its heaviest part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Stall {
    turn_ns: u64,
    /// A command's name, or what background step it was.
    what: &'static str,
    part_ns: u64,
}

impl Stall {
    fn keep(&mut self, turn_ns: u64, (what, part_ns): (&'static str, u64)) {
        if turn_ns > self.turn_ns {
            *self = Self { turn_ns, what, part_ns };
        }
    }
}

#[derive(Debug)]
pub(super) struct Stalls {
    cpu_time_ns: fn() -> u64,
    /// Processor time at the last reading, and when that was.
    cpu_ns: u64,
    asked_ns: u64,
    /// The heaviest timed part of this turn.
    part: (&'static str, u64),
    /// By processor time.
    longest: Stall,
    /// By the wall, of turns in which the scheduler took the core away.
    longest_preempted: Stall,
}

impl Stalls {
    pub(super) fn new(cpu_time_ns: fn() -> u64) -> Self {
        Self {
            cpu_time_ns,
            cpu_ns: 0,
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

    /// A turn begins.
    #[inline]
    pub(super) fn begin_turn(&mut self, now_ns: u64) {
        if now_ns.saturating_sub(self.asked_ns) > FRESH_NS {
            (self.cpu_ns, self.asked_ns) = ((self.cpu_time_ns)(), now_ns);
        }
    }

    /// The turn that began at `began_ns` ends now. If it was long: what held it, and its processor time.
    #[inline]
    pub(super) fn end_turn(&mut self, now_ns: u64, began_ns: u64) -> Option<(&'static str, u64)> {
        let part = std::mem::replace(&mut self.part, NOTHING);
        let turn_ns = now_ns.saturating_sub(began_ns);
        if turn_ns <= WORTH_NS {
            return None;
        }
        let own_ns = self.judge(now_ns, turn_ns, part);
        (own_ns > WORTH_NS).then_some((part.0, own_ns))
    }

    fn judge(&mut self, now_ns: u64, turn_ns: u64, part: (&'static str, u64)) -> u64 {
        let cpu_ns = (self.cpu_time_ns)();
        let own_ns = turn_ns.min(cpu_ns.saturating_sub(self.cpu_ns));
        (self.cpu_ns, self.asked_ns) = (cpu_ns, now_ns);
        self.longest.keep(own_ns, part);
        if turn_ns - own_ns > TOLERANCE_NS {
            self.longest_preempted.keep(turn_ns, part);
        }
        own_ns
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
    use std::cell::Cell;

    thread_local! {
        static CPU_NS: Cell<u64> = const { Cell::new(0) };
    }

    /// A turn from `began_ns` to `now_ns` in which the thread had `cpu_ns`.
    fn turn(stalls: &mut Stalls, began_ns: u64, now_ns: u64, cpu_ns: u64) {
        stalls.begin_turn(began_ns);
        CPU_NS.set(CPU_NS.get() + cpu_ns);
        let long = stalls.end_turn(now_ns, began_ns);
        assert_eq!(long.map(|(_, own_ns)| own_ns), Some(cpu_ns).filter(|own_ns| *own_ns > WORTH_NS));
    }

    #[test]
    fn the_longest_turn_is_kept_with_its_heaviest_part() {
        let mut stalls = Stalls::new(|| CPU_NS.get());
        stalls.note("get", 10);
        stalls.note("keys", 400_000);
        stalls.note("set", 30);
        turn(&mut stalls, 1_000_000, 1_500_000, 500_000);
        turn(&mut stalls, 2_000_000, 2_200_000, 200_000);
        assert_eq!(stalls.longest, Stall { turn_ns: 500_000, what: "keys", part_ns: 400_000 });
        assert_eq!(stalls.longest_preempted, Stall::default());
        stalls.reset();
        assert_eq!(stalls.longest, Stall::default());
    }

    #[test]
    fn a_turn_whose_core_was_taken_away_counts_what_it_had_and_is_kept_apart() {
        let mut stalls = Stalls::new(|| CPU_NS.get());
        turn(&mut stalls, 1_000_000, 9_000_000, 300_000);
        assert_eq!((stalls.longest.turn_ns, stalls.longest_preempted.turn_ns), (300_000, 8_000_000));
        turn(&mut stalls, 10_000_000, 12_500_000, 2_500_000);
        assert_eq!((stalls.longest.turn_ns, stalls.longest_preempted.turn_ns), (2_500_000, 8_000_000));
    }

    #[test]
    fn a_turn_is_not_blamed_for_what_the_kernel_did_before_it() {
        let mut stalls = Stalls::new(|| CPU_NS.get());
        turn(&mut stalls, 1_000_000, 1_010_000, 10_000);
        CPU_NS.set(CPU_NS.get() + 4_000_000);
        turn(&mut stalls, 5_010_000, 9_010_000, 150_000);
        assert_eq!((stalls.longest.turn_ns, stalls.longest_preempted.turn_ns), (150_000, 4_000_000));
    }
}
