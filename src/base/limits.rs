//! Every bound of the server in one place, each with its reason, and asserts between those that depend on each other.

/// Longest single argument: `proto-max-bulk-len`'s default, as in Redis.
pub const BULK_BYTES_MAX: usize = 512 << 20;

/// Most arguments of one request, as in Redis (`INT_MAX` there; one million and a bit bounds what a header may reserve).
pub const ARGS_MAX: usize = 1 << 20;

/// Longest inline request and longest protocol line, as in Redis.
pub const INLINE_BYTES_MAX: usize = 64 << 10;

/// Before AUTH, one request has at most this many arguments of at most `UNAUTHENTICATED_BULK_BYTES_MAX` each, as in Redis.
pub const UNAUTHENTICATED_ARGS_MAX: usize = 10;
pub const UNAUTHENTICATED_BULK_BYTES_MAX: usize = 16 << 10;

/// Databases: Redis's default.
pub const DATABASES: usize = 16;

const _: () = assert!(UNAUTHENTICATED_BULK_BYTES_MAX < BULK_BYTES_MAX);
const _: () = assert!(BULK_BYTES_MAX < u32::MAX as usize, "spans are 32-bit");
