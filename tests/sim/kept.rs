//! Seeds that once failed, each with its story. They run with every test run.

/// Seed, steps, most lanes, and what had gone wrong.
pub(crate) const KEPT: &[(u64, u64, u16, &str)] = &[];
