//! Corelane: a thread-per-core in-memory data store that speaks the Redis protocol.
//!
//! Imports point down only, and nothing below [`runtime`] reads a clock, awaits, or touches a socket or file:
//!
//! ```text
//!  runtime    7  lanes, rings, turns: the driver                  one enter of the kernel a turn
//!  shard      6  the state machine: bytes in, orders out          the one door of every command
//!  command    5  the table and the handlers                       one row says everything about a command
//!  store      4  keyspaces, deadlines, effects                    admin   4  statistics, INFO
//!  persist    3  the formats of files, sans-IO
//!  wire       2  RESP, sans-IO
//!  types      1  data structures      config  1  the option table
//!  base       0  words and numbers, limits, time as data
//! ```
//!
//! What must hold: a request for a local key allocates nothing, locks nothing and reads no clock; no step holds a lane longer than
//! its budget; bad input gets a clear error; everything has a limit, and all limits are in [`base::limits`].
pub mod admin;
pub mod base;
pub mod command;
pub mod config;
pub mod persist;
pub mod runtime;
pub mod shard;
pub mod store;
pub mod types;
pub mod wire;
