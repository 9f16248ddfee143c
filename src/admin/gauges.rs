//! What a lane's runtime counts, written there, read by INFO. Plain numbers: one writer, the lane itself.

/// Counters grow for ever; `connections` and `spinning` say what is now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LaneGauges {
    /// Turns, and how often the kernel was entered: their ratio is near 1 when all goes well.
    pub turns: u64,
    pub enters: u64,
    /// Waits in the ring, and how spinning before them went.
    pub waits: u64,
    pub spins_paid: u64,
    pub spins_wasted: u64,
    /// What all spinning took, nanoseconds.
    pub polled_ns: u64,
    pub received_bytes: u64,
    pub sent_bytes: u64,
    pub receives: u64,
    pub sends: u64,
    /// Sends that the kernel took only in part: slow readers or large replies.
    pub partial_sends: u64,
    pub accepted: u64,
    pub refused: u64,
    /// Accepts that failed, most often for want of descriptors.
    pub accept_errors: u64,
    /// Receives that found no free buffer, and times the completion queue was too small.
    pub buffers_exhausted: u64,
    pub completions_overflowed: u64,
    pub connections: u64,
}
