//! What is asked of a server: the definition a person writes, and what the load makes of it.
//!
//! ```text
//!   bench/definitions/*.toml, flags -> definition::Workload -> mix::Mix (commands by weight, as pieces of the wire)
//!                                                              keys::Keys (which key), sizes::Sizes (how large)
//! ```

pub(crate) mod definition;
pub(crate) mod keys;
pub(crate) mod mix;
pub(crate) mod overrides;
pub(crate) mod sizes;
pub(crate) mod words;
