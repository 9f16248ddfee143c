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
    /// Bytes that a rewrite keeps as they were until it has said them.
    pub kept_bytes: u64,
    /// As lane 0 knows it.
    pub rewrite: RewriteFacts,
    pub loading: Option<LoadingFacts>,
}

/// What came of rewrites. One lane, the first, steers them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RewriteFacts {
    pub asked: Asked,
    /// Seconds since 1970, while one is under way.
    pub began_s: Option<u64>,
    pub last_took_s: Option<u64>,
    /// Of the last one.
    pub has_failed: bool,
    /// In a row.
    pub failures: u32,
    /// That were completed.
    pub count: u64,
    /// Bytes of the journal when the last one was over.
    pub base_bytes: u64,
}

/// Whether somebody wants a rewrite that has not begun.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Asked {
    #[default]
    No,
    /// It was said to be scheduled.
    Later,
    /// It was said to have begun, which it will within this turn or so.
    Now,
}

impl RewriteFacts {
    /// Whether one is under way, as far as anybody was told.
    pub fn is_under_way(&self) -> bool {
        self.began_s.is_some() || self.asked == Asked::Now
    }
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
            kept_bytes: self.kept_bytes + other.kept_bytes,
            rewrite: self.rewrite,
            // Lanes load together and know of each other.
            loading: self.loading.or(other.loading),
        }
    }
}
