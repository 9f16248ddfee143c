//! Layer 6, the driver: the only folder that names glommio, io_uring, core_affinity, that reads a clock, starts a thread,
//! touches a socket or a file. Everything below it takes bytes and time as arguments.
#![expect(clippy::disallowed_methods, reason = "this is the layer that may start threads, read clocks and wait")]

mod archive;
mod boot;
mod census;
mod check;
mod clock;
mod conn;
mod cpus;
mod crash;
mod departure;
mod disk;
mod doorbell;
#[cfg(test)]
mod doorbell_tests;
mod keepalive;
mod keeper;
mod loader;
mod loading;
pub mod log;
mod mesh;
mod opening;
mod ports;
mod process;
mod regroup;
mod replace;
mod ring;
#[cfg(test)]
mod ring_tests;
mod segments;
mod spin;
mod start;
mod stop;
mod survey;
mod sys;
mod top;
mod turn;
mod vault;

pub use boot::{BootError, Settings, boot, boot_until};
pub use keepalive::Keepalive;
pub use spin::Poll;
pub use start::run;
pub use stop::Stopper;
