//! LAYER 2: everything one shard holds. No I/O; `now` is an argument.
pub mod entry;
pub mod expiry;
pub mod keyspace;
