//! What a client may rely on, byte for byte.
//!
//! ```text
//! cases/*.case   conversations as data, one file a command family      script.rs    reads them
//! pattern.rs     the notation of expected replies                      runner.rs    holds them against a server
//! coverage.rs    each row of the command table has a case              protocol.rs  what needs raw bytes or several sockets
//! differential/  random requests, to redis-server and to us                  events.rs    what happens to keys, as redis-server tells it
//! monitor.rs     MONITOR, from several connections
//! ```

mod coverage;
mod differential;
mod events;
mod monitor;
mod pattern;
mod protocol;
mod runner;
pub(crate) mod script;

/// One test a family, so that a failure names it and families run in parallel.
macro_rules! families {
    ($($name:ident)*) => {
        /// Name and text of every family.
        pub(crate) const FAMILIES: &[(&str, &str)] =
            &[$((stringify!($name), include_str!(concat!("cases/", stringify!($name), ".case")))),*];
        $(
            #[test]
            fn $name() {
                runner::run_family(stringify!($name), include_str!(concat!("cases/", stringify!($name), ".case")));
            }
        )*
    };
}

families! {
    acl blocking waiting strings counters connection client info config command expire keys lookups scan more_strings object hash_fields hashes sets set_algebra set_picks slots cluster
    transactions latency slowlog lists list_moves sort zsets zset_algebra zset_store zset_ranges zset_pops zset_random
}
