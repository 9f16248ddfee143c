//! Which key a request names: a number below a count.
//!
//! | distribution | draws |
//! |---|---|
//! | `uniform` | every key alike |
//! | `zipf` | rank r by r^-skew, as YCSB does |
//! | `hot` | `hot_share` of the requests among the first `hot_keys` of the keys, the rest among the others |
//! | `latest` | by Zipf, the newest key being the most popular (YCSB's D); `{new}` adds keys |
//! | `sequential` | in order, again and again |
//!
//! Zipf follows the generator of Gray et al., "Quickly generating billion-record synthetic databases" (SIGMOD 1994). Ranks
//! are not scrambled: stores hash their keys, so neighbours are as good as any. A connection to one node of a cluster draws
//! among the keys of that node: the numbers drawn are places in its list.

use std::ops::Range;
use std::sync::Arc;

use fastrand::Rng;
use serde::{Deserialize, Serialize};

use super::definition::Workload;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Distribution {
    #[default]
    Uniform,
    Zipf,
    Hot,
    Latest,
    Sequential,
}

#[derive(Clone, Debug)]
pub(crate) struct Keys {
    pick: Pick,
    /// How many there are to pick from.
    count: u32,
    /// Keys made during the run are `fresh`, `fresh + stride`, ...: each thread has its own.
    fresh: u32,
    stride: u32,
    /// The keys of one node of a cluster.
    listed: Option<Arc<[u32]>>,
}

#[derive(Clone, Debug)]
enum Pick {
    Uniform,
    Zipf(Zipf),
    Hot { keys: u32, share: f64 },
    Latest(Zipf),
    Sequential { range: Range<u32>, next: u32 },
}

impl Keys {
    /// Draws below `count`, by the workload's distribution.
    pub(crate) fn new(workload: &Workload, count: u32) -> Self {
        assert!(count > 0);
        let pick = match workload.distribution {
            Distribution::Uniform => Pick::Uniform,
            Distribution::Zipf => Pick::Zipf(Zipf::new(count, workload.zipf_skew)),
            Distribution::Hot => Pick::Hot { keys: hot(count, workload.hot_keys), share: workload.hot_share },
            Distribution::Latest => Pick::Latest(Zipf::new(count, workload.zipf_skew)),
            Distribution::Sequential => Pick::Sequential { range: 0..count, next: 0 },
        };
        Self { pick, count, fresh: count, stride: 1, listed: None }
    }

    /// Draws among these keys.
    pub(crate) fn among(workload: &Workload, listed: Arc<[u32]>) -> Self {
        let count = u32::try_from(listed.len()).expect("keys are numbers of 32 bits");
        Self { listed: Some(listed), ..Self::new(workload, count) }
    }

    /// Every number of the range once, then again from its start.
    pub(crate) fn in_order(range: Range<u32>) -> Self {
        assert!(!range.is_empty());
        let (count, fresh) = (range.end - range.start, range.end);
        Self { pick: Pick::Sequential { next: range.start, range }, count, fresh, stride: 1, listed: None }
    }

    /// One of `of` threads, each of which makes new keys of its own.
    pub(crate) fn for_thread(mut self, index: u32, of: u32) -> Self {
        self.fresh += index;
        self.stride = of;
        if let Pick::Sequential { range, next } = &mut self.pick {
            *next = range.start
                + u32::try_from(u64::from(range.end - range.start) * u64::from(index) / u64::from(of))
                    .expect("below the end");
        }
        self
    }

    pub(crate) fn draw(&mut self, rng: &mut Rng) -> u32 {
        let place = match &mut self.pick {
            Pick::Uniform => rng.u32(0..self.count),
            Pick::Zipf(zipf) => zipf.draw(rng.f64()),
            Pick::Hot { keys, share } if rng.f64() < *share || *keys == self.count => rng.u32(0..*keys),
            Pick::Hot { keys, .. } => rng.u32(*keys..self.count),
            Pick::Latest(zipf) => {
                let age = zipf.draw(rng.f64());
                return self.aged(age);
            }
            Pick::Sequential { range, next } => {
                let key = *next;
                *next = if key + 1 == range.end { range.start } else { key + 1 };
                key
            }
        };
        self.at(place)
    }

    /// The key after one that was drawn.
    pub(crate) fn after(&self, key: u32) -> u32 {
        let next = key.wrapping_add(1);
        if self.listed.is_none() && next < self.count { next } else { self.at(0) }
    }

    /// A key that was not there.
    pub(crate) fn insert(&mut self) -> u32 {
        let key = self.fresh;
        self.fresh += self.stride;
        key
    }

    /// The key that is so many younger ones old, made by this thread or before the run.
    fn aged(&self, age: u32) -> u32 {
        let made = (self.fresh - self.count) / self.stride;
        match age.checked_sub(made) {
            None => self.fresh - self.stride * (age + 1),
            Some(older) => self.count - 1 - older.min(self.count - 1),
        }
    }

    fn at(&self, place: u32) -> u32 {
        self.listed.as_ref().map_or(place, |listed| listed[place as usize])
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a part of a number of 32 bits")]
fn hot(count: u32, part: f64) -> u32 {
    ((f64::from(count) * part) as u32).clamp(1, count)
}

#[derive(Clone, Debug)]
struct Zipf {
    count: u32,
    skew: f64,
    zeta: f64,
    eta: f64,
}

impl Zipf {
    fn new(count: u32, skew: f64) -> Self {
        let zeta: f64 = (1..=count).map(|rank| f64::from(rank).powf(-skew)).sum();
        let zeta_two = 1.0 + 0.5_f64.powf(skew);
        let eta = (1.0 - (2.0 / f64::from(count)).powf(1.0 - skew)) / (1.0 - zeta_two / zeta);
        Self { count, skew, zeta, eta }
    }

    /// The rank at the point `uniform` (in [0, 1)) of the cumulative distribution.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "below count by construction, clamped")]
    fn draw(&self, uniform: f64) -> u32 {
        let scaled = uniform * self.zeta;
        if scaled < 1.0 || self.count == 1 {
            return 0;
        }
        if scaled < 1.0 + 0.5_f64.powf(self.skew) || self.count == 2 {
            return 1;
        }
        let rank = f64::from(self.count) * (self.eta * uniform - self.eta + 1.0).powf(1.0 / (1.0 - self.skew));
        (rank as u32).min(self.count - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(distribution: Distribution, count: u32) -> Keys {
        Keys::new(&Workload { distribution, ..Workload::default() }, count)
    }

    #[test]
    fn in_order_goes_round() {
        let mut keys = Keys::in_order(5..8);
        let mut rng = Rng::with_seed(1);
        let drawn: Vec<u32> = (0..5).map(|_| keys.draw(&mut rng)).collect();
        assert_eq!(drawn, [5, 6, 7, 5, 6]);
    }

    #[test]
    fn uniform_reaches_every_key_about_equally() {
        let counts = histogram(&mut keys(Distribution::Uniform, 10), 10);
        assert!(counts.iter().all(|count| (9_000..11_000).contains(count)), "{counts:?}");
    }

    #[test]
    fn zipf_ranks_fall_by_their_power() {
        let counts = histogram(&mut keys(Distribution::Zipf, 1000), 1000);
        let expected = 100_000.0 / (1..=1000).map(|rank| f64::from(rank).powf(-0.99)).sum::<f64>();
        assert!((f64::from(counts[0]) / expected - 1.0).abs() < 0.05, "{} for {expected}", counts[0]);
        assert!((f64::from(counts[9]) / (expected / 10_f64.powf(0.99)) - 1.0).abs() < 0.15, "{}", counts[9]);
        assert!(counts[500..].iter().any(|count| *count > 0));
    }

    #[test]
    fn a_hot_set_gets_its_share() {
        let workload =
            Workload { distribution: Distribution::Hot, hot_keys: 0.1, hot_share: 0.8, ..Workload::default() };
        let counts = histogram(&mut Keys::new(&workload, 100), 100);
        let hot: u32 = counts[..10].iter().sum();
        assert!((79_000..81_000).contains(&hot), "{hot}");
        assert!(counts[10..].iter().all(|count| *count > 100));
    }

    #[test]
    fn the_latest_keys_are_the_popular_ones() {
        let mut keys = keys(Distribution::Latest, 100).for_thread(1, 2);
        assert_eq!([keys.insert(), keys.insert()], [101, 103]);
        assert_eq!([keys.aged(0), keys.aged(1), keys.aged(2), keys.aged(101)], [103, 101, 99, 0]);
        let counts = histogram(&mut keys, 104);
        assert!(counts[103] > counts[99] && counts[99] > counts[50] && counts[100] + counts[102] == 0, "{counts:?}");
    }

    #[test]
    fn the_keys_of_a_node_are_drawn_alone() {
        let listed: Arc<[u32]> = vec![3, 9, 27].into();
        let mut keys = Keys::among(&Workload::default(), listed);
        let counts = histogram(&mut keys, 28);
        assert_eq!(counts[3] + counts[9] + counts[27], 100_000);
    }

    fn histogram(keys: &mut Keys, len: usize) -> Vec<u32> {
        let mut rng = Rng::with_seed(7);
        let mut counts = vec![0; len];
        (0..100_000).for_each(|_| counts[keys.draw(&mut rng) as usize] += 1);
        counts
    }
}
