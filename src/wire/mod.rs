//! Layer 2: protocols, sans-IO. Bytes in, a request out; values in, bytes out.
pub mod fault;
pub mod output;
pub mod reply;
pub mod request;
pub mod resp;
pub mod walk;
