//! Corelane: a thread-per-core in-memory data store.
pub mod base;
pub mod types;
