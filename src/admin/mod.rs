//! Layer 3: what the operator sees and steers.
pub mod facts;
pub mod gauges;
pub mod info;
pub mod latency;
pub mod process;
pub mod stats;
