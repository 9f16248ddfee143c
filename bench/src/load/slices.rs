//! The course of a run: one histogram of latencies per slice of time, handed from the lanes to the sampler.
//!
//! ```text
//!   lane 0  |--slice 0--|--slice 1--|     ──> channel ──>  sampler: adds those of one number
//!   lane 1  |--slice 0--|--slice 1--|     <── emptied histograms come back: a lane never allocates one while it runs
//! ```
//!
//! A latency belongs to the slice in which its reply came.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use hdrhistogram::Histogram;

use super::lane::histogram;
use crate::clock::{Nanos, nanos_of};

/// A slice's place in the order of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SliceIndex(pub(crate) u64);

pub(crate) struct Slice {
    index: SliceIndex,
    latency: Histogram<u64>,
    back: Sender<Histogram<u64>>,
}

pub(crate) struct SliceWriter {
    length_ns: u64,
    index: SliceIndex,
    current: Histogram<u64>,
    to: Sender<Slice>,
    back: Sender<Histogram<u64>>,
    spare: Receiver<Histogram<u64>>,
}

/// Histograms in circulation for each lane.
const SPARES: usize = 4;

impl SliceWriter {
    fn new(length: Duration, to: Sender<Slice>) -> Self {
        let (back, spare) = channel();
        (0..SPARES).for_each(|_| back.send(touched()).expect("the other end is in hand"));
        Self { length_ns: nanos_of(length), index: SliceIndex(0), current: touched(), to, back, spare }
    }

    pub(crate) fn record(&mut self, latency_ns: u64, count: u64) {
        self.current.saturating_record_n(latency_ns, count);
    }

    /// Hands the current slice over if its time is up.
    pub(crate) fn turn_over(&mut self, now: Nanos) {
        let index = SliceIndex(now.0 / self.length_ns);
        if index == self.index {
            return;
        }
        if !self.current.is_empty() {
            let fresh = self.spare.try_recv().unwrap_or_else(|_| histogram());
            let latency = std::mem::replace(&mut self.current, fresh);
            // Without a receiver the run is over.
            let _ = self.to.send(Slice { index: self.index, latency, back: self.back.clone() });
        }
        self.index = index;
    }
}

impl Drop for SliceWriter {
    fn drop(&mut self) {
        self.turn_over(Nanos(u64::MAX));
    }
}

/// A histogram whose memory has been written to, so that no page fault is met while measuring.
fn touched() -> Histogram<u64> {
    let mut histogram = histogram();
    for power in 0..37 {
        histogram.record(1 << power).expect("within the bounds");
    }
    histogram.reset();
    histogram
}

/// All lanes' slices, put together.
pub(crate) struct Slices {
    length: Duration,
    to: Sender<Slice>,
    from: Receiver<Slice>,
    pub(crate) whole: BTreeMap<SliceIndex, Histogram<u64>>,
}

impl Slices {
    pub(crate) fn new(length: Duration) -> Self {
        let (to, from) = channel();
        Self { length, to, from, whole: BTreeMap::new() }
    }

    pub(crate) fn writer(&self) -> SliceWriter {
        SliceWriter::new(self.length, self.to.clone())
    }

    pub(crate) fn index(&self, moment: Nanos) -> SliceIndex {
        SliceIndex(moment.0 / nanos_of(self.length))
    }

    /// Adds what the lanes have handed over.
    pub(crate) fn collect(&mut self) {
        while let Ok(Slice { index, mut latency, back }) = self.from.try_recv() {
            self.whole.entry(index).or_insert_with(histogram).add(&latency).expect("same bounds");
            latency.reset();
            let _ = back.send(latency);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_of_all_lanes_come_together() {
        let mut slices = Slices::new(Duration::from_millis(1));
        let mut writers = [slices.writer(), slices.writer()];
        for writer in &mut writers {
            writer.record(100, 3);
            writer.turn_over(Nanos(999_999));
            writer.record(100, 1);
            writer.turn_over(Nanos(2_500_000));
            writer.record(7_000, 1);
        }
        drop(writers);
        slices.collect();
        let counts: Vec<(u64, u64)> = slices.whole.iter().map(|(index, whole)| (index.0, whole.len())).collect();
        assert_eq!(counts, [(0, 8), (2, 2)]);
        assert_eq!(slices.index(Nanos(2_500_000)), SliceIndex(2));
    }
}
