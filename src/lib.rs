//! Corelane: a thread-per-core in-memory data store.
pub mod base;
pub mod store;
pub mod types;
