//! A real load, kept and played again.
//!
//! ```text
//!   proxy (in front of any server) ─┐                        ┌─> replay: open loop, at 1x, 2x, ...
//!   monitor (Redis's MONITOR) ──────┴─> file of requests ────┘
//!
//!   the file: "corelane-capture 1 <dialect>\n", then for each request "<ns> <connection> <bytes>\n" and so many bytes and "\n"
//! ```

pub(crate) mod file;
pub(crate) mod monitor;
pub(crate) mod proxy;
pub(crate) mod record;
pub(crate) mod replay;

#[cfg(test)]
mod tests;
