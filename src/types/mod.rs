//! LAYER 1: data structures. No keyspace, no clock, no protocol.
pub mod dict;
