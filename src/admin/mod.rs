//! Layer 3: what the operator sees and steers.
pub mod acl;
pub mod busy;
pub mod durations;
pub mod facts;
pub mod file;
pub mod gauges;
pub mod info;
pub mod journal;
pub mod latency;
pub mod memory;
pub mod process;
pub mod slowlog;
pub mod stages;
pub mod stats;
pub mod top;
