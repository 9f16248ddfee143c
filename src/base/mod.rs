//! Layer 0: words and numbers. No project imports, no I/O.
pub mod ascii;
pub mod decimal;
pub mod double;
pub mod glob;
pub mod hash;
pub mod lags;
pub mod lanes;
pub mod limits;
pub mod rng;
pub mod slab;
pub mod time;
