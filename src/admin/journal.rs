//! What INFO tells of the journal.

/// Of one lane, or of all together.
#[derive(Clone, Copy, Debug, Default)]
pub struct JournalFacts {
    /// Bytes of records since the journal was begun.
    pub bytes: u64,
    /// Of these, bytes that wait to be written, and that are not known to be durable on every lane.
    pub waiting_bytes: u64,
    pub unsure_bytes: u64,
    pub writes: u64,
    pub syncs: u64,
    pub failed: bool,
    pub loading: Option<LoadingFacts>,
}

/// How far loading has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LoadingFacts {
    /// Seconds since 1970.
    pub started_s: u64,
    pub bytes: u64,
    pub loaded_bytes: u64,
}

impl JournalFacts {
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self {
            bytes: self.bytes + other.bytes,
            waiting_bytes: self.waiting_bytes + other.waiting_bytes,
            unsure_bytes: self.unsure_bytes + other.unsure_bytes,
            writes: self.writes + other.writes,
            syncs: self.syncs + other.syncs,
            failed: self.failed || other.failed,
            // Lanes load together and know of each other.
            loading: self.loading.or(other.loading),
        }
    }
}
