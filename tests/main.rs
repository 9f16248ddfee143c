//! The outer tests: one binary, so that it links once.
//!
//! ```text
//! support/   start a server, speak to it byte for byte        compat/   what a client may rely on, as data
//! process/   start, refuse to start, stop                     clients/  unmodified client libraries against us
//! shard/     the shard driven with arrays                  sim/      shards, links and clients under a seed
//! fuzz/     bytes from outside, made up
//! linear/    whether a legal order explains what clients saw   tidy.rs   what the source itself must keep to
//! ```
//!
//! All of it can be pointed at another server, to check the expectations rather than the server:
//! `CORELANE_TEST_SERVER=redis-server cargo nextest run --test tests compat::`.

#![expect(
    clippy::disallowed_methods,
    reason = "a test waits, starts threads and reads the clock; the ban is for the server"
)]

mod clients;
mod compat;
mod crash;
mod fuzz;
mod linear;
mod process;
mod shard;
mod sim;
mod support;
mod tidy;
