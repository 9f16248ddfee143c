//! Seeds that once failed, each with its story. They run with every test run.

/// Seed, steps, most lanes, and what had gone wrong.
pub(crate) const KEPT: &[(u64, u64, u16, &str)] = &[(
    471,
    3875,
    5,
    "RANDOMKEY looked between two commands of an EXEC over two lanes, of which one makes a key and another removes it: it waited for no \
     intents. It now has the keyspace to itself like DBSIZE, and SCAN its lane's",
)];
