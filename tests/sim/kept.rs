//! Seeds that once failed, each with its story. They run with every test run.

/// Seed, steps, most lanes, and what had gone wrong.
pub(crate) const KEPT: &[(u64, u64, u16, &str)] = &[
    (
        471,
        3875,
        5,
        "RANDOMKEY looked between two commands of an EXEC over two lanes, of which one makes a key and another removes it: it waited for \
         no intents. It now has the keyspace to itself like DBSIZE, and SCAN its lane's",
    ),
    (2, 52, 5, "WAIT stood in the list of those who wait for keys and was never taken off it, since it waits for none"),
    (
        210,
        263,
        5,
        "a client hung up before its WAIT could wait, and what it had sent behind that was run and answered in its place",
    ),
    (
        1327,
        167,
        5,
        "a client hung up while it waited, with half a request behind the wait: the half was dropped and the parser went on with it",
    ),
    (
        2380,
        2718,
        5,
        "BGETDEL with a bad timeout in an EXEC over two lanes was served: only one lane alone looked at the timeout",
    ),
    (
        1_892_812_802,
        2062,
        5,
        "a share of a turn ended exactly at the end of the head of what waited, and what came next took its empty place before the pieces behind it",
    ),
    (
        279_349_181,
        2179,
        5,
        "an EXEC in slices made room for its keys after it had noted those that were watched, and forgot them: another wrote one before it was over",
    ),
    (
        306_481,
        2484,
        5,
        "a waiter that moves an element was served, and who stood behind it was looked at while it still stood there: what it left was nobody's",
    ),
    (
        504_867,
        1687,
        5,
        "a share of an MSET over two lanes was refused and asked again, now lane by lane; the UNLINK behind it in its line ran once the share was \
         granted, before the other lane had been asked, and a third client saw it without the MSET",
    ),
];
