//! Where the time of a request goes, stage by stage, of a sample of all requests, by family of commands.
//!
//! ```text
//!  bytes came      parsing      parsed          runs           ran                    the kernel has its reply
//!    |--- ready ----|--- parse --|---- queue ----|--- execute --|-------- send ----------|
//!                                         \--- hop ---/    \--- hop ---/      where another lane runs it
//! ```
//!
//! | stage | from what to what |
//! |---|---|
//! | ready | its bytes came, until they are looked at. What came while a lane was at work is taken to have come in the middle of that turn: the kernel does not say when |
//! | parse | its input is parsed, with up to 31 requests beside it |
//! | queue | it waits for those before it, for a key, or for replies that must come first |
//! | hop | between lanes, there and back; all of its way if several lanes take part |
//! | execute | from the gate to the end of its reply; of long work, its last step |
//! | send | until the kernel has taken the reply, waiting for replies that are owed before it included |
//!
//! The stages of a request add up to its whole. `queue delay` is ready and queue together: what a lane without anything else to do
//! would have saved.

use super::durations::Durations;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Ready,
    Parse,
    Queue,
    Hop,
    Execute,
    Send,
}

const COUNT: usize = 6;

impl Stage {
    pub const ALL: [Self; COUNT] = [Self::Ready, Self::Parse, Self::Queue, Self::Hop, Self::Execute, Self::Send];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Parse => "parse",
            Self::Queue => "queue",
            Self::Hop => "hop",
            Self::Execute => "execute",
            Self::Send => "send",
        }
    }
}

/// What one request spent in each stage, nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent([u64; COUNT]);

impl Spent {
    pub fn add(&mut self, stage: Stage, ns: u64) {
        self.0[stage as usize] += ns;
    }

    pub const fn of(&self, stage: Stage) -> u64 {
        self.0[stage as usize]
    }

    pub fn total_ns(&self) -> u64 {
        self.0.iter().sum()
    }

    pub const fn queue_delay_ns(&self) -> u64 {
        self.of(Stage::Ready) + self.of(Stage::Queue)
    }
}

/// One family's histograms.
#[derive(Clone, Debug, Default)]
struct Family {
    stages: [Durations; COUNT],
    total: Durations,
}

impl Family {
    fn stage(&self, stage: Stage) -> &Durations {
        &self.stages[stage as usize]
    }
}

/// What a lane knows of all its families.
#[derive(Clone, Debug, Default)]
pub struct Stages {
    /// By the family's number; empty until one of its requests was sampled.
    families: Vec<Option<Box<Family>>>,
    pub queue_delay: Durations,
}

impl Stages {
    /// A request of the family with this number is over. A stage that it did not pass is not counted.
    pub fn note(&mut self, family: usize, spent: &Spent) {
        if self.families.len() <= family {
            self.families.resize(family + 1, None);
        }
        let family = self.families[family].get_or_insert_default();
        for stage in Stage::ALL {
            if stage != Stage::Hop || spent.of(stage) > 0 {
                family.stages[stage as usize].record(spent.of(stage));
            }
        }
        family.total.record(spent.total_ns());
        self.queue_delay.record(spent.queue_delay_ns());
    }

    pub fn add(&mut self, other: &Self) {
        if self.families.len() < other.families.len() {
            self.families.resize(other.families.len(), None);
        }
        for (sum, more) in self.families.iter_mut().zip(&other.families) {
            let Some(more) = more else { continue };
            let sum = sum.get_or_insert_default();
            sum.stages.iter_mut().zip(&more.stages).for_each(|(sum, more)| sum.add(more));
            sum.total.add(&more.total);
        }
        self.queue_delay.add(&other.queue_delay);
    }

    /// The families of which something is known, by their numbers.
    fn known(&self) -> impl Iterator<Item = (usize, &Family)> {
        self.families.iter().enumerate().filter_map(|(number, family)| Some((number, family.as_deref()?)))
    }

    /// What is known of each family, by its number: every stage by name, and the total.
    pub fn parts(&self) -> impl Iterator<Item = (usize, &'static str, &Durations)> {
        self.known().flat_map(|(number, family)| {
            let stages = Stage::ALL.into_iter().map(|stage| (stage.name(), family.stage(stage)));
            stages.chain([("total", &family.total)]).map(move |(name, durations)| (number, name, durations))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_are_summed_family_by_family() {
        let spent = |ns: u64| {
            let mut spent = Spent::default();
            Stage::ALL.into_iter().for_each(|stage| spent.add(stage, ns));
            spent
        };
        let (mut one, mut other) = (Stages::default(), Stages::default());
        one.note(1, &spent(1000));
        other.note(1, &spent(3000));
        other.note(4, &Spent::default());
        one.add(&other);
        let known: Vec<(usize, u64)> = one.known().map(|(number, family)| (number, family.total.count())).collect();
        assert_eq!(known, [(1, 2), (4, 1)]);
        let (_, first) = one.known().next().expect("two are known");
        assert_eq!((first.total.sum_ns(), first.stage(Stage::Hop).sum_ns()), (24_000, 4000));
        assert_eq!((one.queue_delay.count(), one.queue_delay.sum_ns()), (3, 8000));
        let (_, last) = one.known().last().expect("two are known");
        assert_eq!(last.stage(Stage::Hop).count(), 0, "what never left its lane has no hop");
    }
}
