//! Corelane: a thread-per-core in-memory data store.
pub mod admin;
pub mod base;
pub mod command;
pub mod config;
pub mod runtime;
pub mod shard;
pub mod store;
pub mod types;
pub mod wire;
