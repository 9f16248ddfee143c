//! Corelane: a thread-per-core in-memory data store that speaks the Redis protocol.
//!
//! Imports point down only, and nothing below [`runtime`] reads a clock, awaits, or touches a socket or file:
//!
//! ```text
//!  runtime    5  lanes, rings, turns: the driver                  one enter of the kernel a turn
//!  shard      4  the state machine: bytes in, orders out          the one door of every command
//!  command    3  the table and the handlers                       one row says everything about a command
//!  store      2  keyspaces, deadlines, effects                    admin   2  statistics, INFO
//!  wire       1  RESP, sans-IO        types  1  data structures   config  1  the option table
//!  base       0  words and numbers, limits, time as data
//! ```
//!
//! What must hold: a request for a local key allocates nothing, locks nothing and reads no clock; no step holds a lane longer than
//! its budget; bad input gets a clear error; everything has a limit, and all limits are in [`base::limits`].
pub mod admin;
pub mod base;
pub mod command;
pub mod config;
pub mod runtime;
pub mod shard;
pub mod store;
pub mod types;
pub mod wire;
