//! Every bound of the server in one place, each with its reason, and asserts between those that depend on each other.

/// Longest single argument: `proto-max-bulk-len`'s default, as in Redis.
pub const BULK_BYTES_MAX: usize = 512 << 20;

/// Most arguments of one request, as in Redis 7. A header reserves nothing: what they take is bounded by `client-query-buffer-limit`.
pub const ARGS_MAX: usize = i32::MAX as usize;

/// Longest protocol line, and the most of an inline request that may come without its end, as in Redis.
pub const INLINE_BYTES_MAX: usize = 64 << 10;

/// Before AUTH, one request has at most this many arguments of at most `UNAUTHENTICATED_BULK_BYTES_MAX` each, as in Redis.
pub const UNAUTHENTICATED_ARGS_MAX: usize = 10;
pub const UNAUTHENTICATED_BULK_BYTES_MAX: usize = 16 << 10;

/// Most input of a connection that waits, whatever `client-query-buffer-limit` says: spans are 32-bit.
pub const INPUT_BYTES_CEILING: u64 = 3 << 30;

/// Before AUTH, so much may wait unsent, and so much unrun: some replies that refuse, one request of the size above.
pub const UNAUTHENTICATED_OUTPUT_BYTES_MAX: usize = 16 << 10;
pub const UNAUTHENTICATED_INPUT_BYTES_MAX: usize = 1 << 20;

/// Most databases: their numbers are bytes.
pub const DATABASES_MAX: usize = 256;

/// Highest `proto-max-bulk-len`: spans are 32-bit, and a request holds more than one argument.
pub const BULK_BYTES_CEILING: usize = 1 << 30;

const _: () = assert!(UNAUTHENTICATED_BULK_BYTES_MAX < BULK_BYTES_MAX);
const _: () =
    assert!(BULK_BYTES_MAX <= BULK_BYTES_CEILING && BULK_BYTES_CEILING < u32::MAX as usize / 2, "spans are 32-bit");

/// From this length on a word becomes a rope as it arrives: copying a shorter one takes some tens of microseconds.
pub const LONG_BYTES_MIN: usize = 128 << 10;

/// When more of a word than this is still to come, it is received apart from everybody else's requests: less comes in a turn or two.
pub const READ_APART_BYTES_MIN: usize = 1 << 20;

/// Bytes of long words, or of input that waits, that are taken in in the time of a request: a quarter of a page, since a page that is touched for the first time takes two
/// microseconds, or four where the hypervisor has to find it. A turn of 128 whole pages was seen to take 0.83 ms.
pub const LONG_BYTES_PER_REQUEST: usize = 1 << 10;

/// Requests of one connection that run in one turn before the others have theirs.
pub const REQUESTS_PER_TURN: u32 = 128;

/// Requests of all connections in one turn. The rest stays in the completion queue while the replies leave: between 150 ns for
/// a hit in the cache and a microsecond for a key that is new, that is a quarter of a millisecond at most. Growth counts as well.
pub const LANE_REQUESTS_PER_TURN: u32 = 256;

/// Words of one request that are worked off in the time of a request, such as the keys of MGET: each may be a wait for memory. Counted as one
/// each, 128 requests of a hundred keys were one turn.
pub const WORDS_PER_REQUEST: u32 = 4;

/// The same of members and fields, which are looked up and added deep in large values: 2,000 members that were added to one of 12,000,000 in one
/// turn took 2.3 ms.
pub const ELEMENTS_PER_REQUEST: u32 = 2;

/// Nanoseconds of a call that was timed which count as a request, if that is more than its words do: fresh pages are to be had at any price. So a turn is
/// over after an eighth of a millisecond of such calls, and at most one of them longer.
pub const NS_PER_REQUEST: u64 = 500;

/// Words up to which a request that names members or fields is timed as seldom as one of constant time: a member or two, a field with its value.
pub const ELEMENTS_FEW: usize = 4;

/// Keys of one request that are worked off in one turn: 512 take 60 us (DEL) to 130 us (MSET of new keys).
pub const KEYS_PER_STEP: usize = 512;

/// Words of a request, or of an EXEC, above which its keys are claimed as a set and worked off in steps. The way there is longer: below, one
/// turn is cheaper for everybody.
pub const WORDS_AT_ONCE_MAX: usize = 1024;

/// Who waits for a key that is served in one step when it is written: some hundred microseconds. The key is held for the others.
pub const WAITERS_PER_STEP: usize = 64;

/// Keys that are hashed and noted in the time of a request.
pub const KEYS_NOTED_PER_REQUEST: usize = 4;

/// The part of those that goes to what earlier turns left.
pub const BACKLOG_REQUESTS_PER_TURN: u32 = LANE_REQUESTS_PER_TURN / 2;

/// Entries that a growing table moves in the time of a request, by which such work counts against the turn. Segments grow at about the
/// same time, so that a turn could otherwise meet a dozen. One whose keys are read again (some 120 us) ends its turn: at eight to a request, three
/// of them were seen in one (350 us).
pub const MOVED_PER_REQUEST: u32 = 2;

/// Requests that a lane may have under way on another: what a turn may send, some turns of it.
pub const TICKETS_PER_PEER: usize = 4096;

/// Bytes of journal that may wait for the disk before connections that write are held up: some seconds of a slow disk.
pub const JOURNAL_BACKLOG_BYTES_MAX: usize = 64 << 20;

/// Bytes of one write of the journal: summing and copying them takes some tens of microseconds.
pub const JOURNAL_WRITE_BYTES_MAX: usize = 512 << 10;

/// Keys whose last write is known apart while it is not on the disk, in how many writes of the journal: a look at a key asks each.
pub const WRITTEN_KEYS_MAX: usize = 1 << 14;
pub const WRITTEN_WRITES_MAX: usize = 16;

/// Commands over several lanes that a journal keeps in mind before it syncs for their sake, whatever `appendfsync` says.
pub const UNSYNCED_SHARES_MAX: usize = 1 << 13;

/// So many of them are told, or judged, at once.
pub const SHARES_AT_ONCE: usize = 128;

/// Bytes of a base that go to the keeper at once: copying and summing them takes some tens of microseconds.
pub const BASE_PIECE_BYTES: usize = 128 << 10;

/// A slice of a base: so many entries are looked at, or what that takes is said.
pub const BASE_UNITS_PER_SLICE: usize = 128;

/// Bytes that a rewrite keeps as they were, since they changed before it came to them, before connections that write are held up.
pub const KEPT_BYTES_MAX: usize = 8 << 20;

/// Bytes that may wait to go to another lane before connections that want it are held up.
pub const OUTBOX_BYTES_MAX: usize = 8 << 20;

/// How long, and how many, replies that are ready wait for those that other lanes owe before them: some turns.
pub const LINGER_NS: u64 = 100_000;
pub const LINGER_BYTES_MAX: usize = 64 << 10;

/// Emptied parcels a lane keeps for the next.
pub const SPARE_PARCELS_MAX: usize = 64;

const _: () = assert!(TICKETS_PER_PEER > 4 * LANE_REQUESTS_PER_TURN as usize);
/// Most lanes: more than any machine has CPUs, and what their numbers are sized for.
pub const LANES_MAX: usize = 1024;

/// Slots of the mesh over all pairs of lanes, sixteen bytes each: 16 MiB at most, whatever the number of lanes.
pub const MESH_SLOTS_MAX: usize = 1 << 20;

/// Slots of the ring from one lane to another. A lane posts one parcel a turn to each peer: so many turns of the writer pass
/// before it has to wait for a reader that is held.
pub const MESH_RING_SLOTS_MAX: usize = 64;

/// What one ring has among so many lanes.
pub const fn mesh_ring_slots(lanes: usize) -> usize {
    let pairs = lanes * lanes.saturating_sub(1);
    match MESH_SLOTS_MAX.checked_div(pairs) {
        Some(share) if share < MESH_RING_SLOTS_MAX => share,
        _ => MESH_RING_SLOTS_MAX,
    }
}

const _: () = assert!(mesh_ring_slots(LANES_MAX) >= 1, "a ring without a slot would never move");
const _: () = assert!(LANES_MAX <= u16::MAX as usize, "lanes are numbered with 16 bits");

/// Requests parsed ahead of their execution, so that the memory they will touch is on its way.
pub const STAGE_REQUESTS: usize = 32;

/// Arguments after which a stage ends early: a stage of MSETs shall not be a thousand keys deep.
pub const STAGE_ARGS: usize = 512;

/// Backlogged connections that are looked at in one turn.
pub const BACKLOG_CONNECTIONS_PER_TURN: usize = 64;

/// Input that may wait behind a connection's quota before its socket is no longer read. TCP then slows the sender down.
pub const BACKLOG_BYTES_MAX: usize = 256 << 10;

/// Unsent replies after which a connection's requests wait: they lie in one piece, and a piece that grows is copied.
pub const OUTPUT_PAUSE_BYTES: usize = 512 << 10;

/// An incomplete request has room made for so many times what is there of it, if it wants that: growing copies it.
pub const HEAD_GROWTH: usize = 8;

/// A client may send its whole pipeline before it reads, so its input is still accepted while its requests wait for that, up to so much.
/// Then its socket is no longer read.
pub const STALLED_INPUT_BYTES_MAX: usize = 64 << 20;

/// A client that has so much unsent (`OUTPUT_PAUSE_BYTES`) and takes none of it for so long never reads: it is cut off.
pub const OUTPUT_STALL_MS: u64 = 60_000;

/// Empty output buffers a shard keeps for the next replies.
pub const SPARE_OUTPUTS_MAX: usize = 256;

/// Keys, or fields of hashes, that expire in one turn, and nodes or leaves that are freed, each of which may give a page or four back to the kernel: 64 of them
/// were seen to take 0.8 ms. An entry of a dead database weighs half a node: entries die in the order of their hashes, all over memory, so that
/// towards the end of a flush each is the last of its 64 KiB, which then go back to the kernel. 96 of them were seen to take 1.0 ms.
pub const EXPIRE_KEYS_PER_TURN: usize = 256;
pub const FREE_NODES_PER_TURN: usize = 24;
pub const ENTRIES_PER_NODE: usize = 2;

/// Leaves in which HLEN counts fields that are due and not collected yet: half a microsecond each. Only when some fifty thousand of a hash are
/// due at once, beside others that are not, there may be more, for as long as their collection takes.
pub const LEAVES_COUNTED: usize = 512;

/// Cells of LCS's table: Redis bounds it by memory; this bounds it by time, some hundred milliseconds in slices.
pub const LCS_CELLS_MAX: usize = 64 << 20;

/// Each of LCS's strings, which are copied in one step.
pub const LCS_BYTES_MAX: usize = 1 << 20;

/// Cells that one step fills: some hundred microseconds.
pub const LCS_CELLS_PER_STEP: usize = 32 << 10;

/// Most keys or fields that one SCAN looks at, whatever its COUNT: a hint must not hold a lane.
pub const SCAN_COUNT_MAX: usize = 4096;

/// Fields that one step of a walk over a hash answers, and bytes that it copies: fresh pages for them are some tens of microseconds.
pub const FIELDS_PER_STEP: usize = 512;
pub const STEP_BYTES: usize = 128 << 10;

/// How much one step of long work on members does: some hundred microseconds. The simulator, whose collections are small, has shorter ones.
#[derive(Clone, Copy, Debug)]
pub struct Strides {
    /// Look-ups and changes of set algebra, give or take a leaf.
    pub algebra: usize,
    /// Most members that SPOP takes out in one turn, and in one step if they are more: each copies a leaf, the first time, and rewrites it.
    pub pops_at_once: usize,
    pub pops: usize,
    /// Members taken out of a sorted set: each is a descent of two trees, some of it from memory.
    pub removals: usize,
}

impl Default for Strides {
    fn default() -> Self {
        Self { algebra: 256, pops_at_once: 512, pops: 128, removals: 96 }
    }
}

/// Members that one step of SRANDMEMBER draws: each is a way down a tree, some hundred microseconds in all.
pub const DRAWS_PER_STEP: usize = 512;

/// Most draws with repetition of one SRANDMEMBER: an array has no more elements in any client.
pub const DRAWS_MAX: usize = i32::MAX as usize;

/// Elements that SORT puts in order in one step, or merges with others of the million it has, and keys that it looks up: some hundred
/// microseconds.
pub const SORTED_PER_STEP: usize = 1024;
pub const MERGED_PER_STEP: usize = 256;
pub const SORT_KEYS_PER_STEP: usize = 256;

/// Bytes that one step of a walk over a list answers, give or take an element that is copied.
pub const REPLY_BYTES_PER_STEP: usize = 128 << 10;

/// Elements of a list that one step compares with a text, at some nanoseconds each; of a long text fewer, since all that are as long may begin
/// as it does.
pub const ELEMENTS_COMPARED_PER_STEP: usize = 16 << 10;
pub const COMPARED_BYTES_PER_STEP: usize = 1 << 20;

/// Fields that one request of a journal or its base restates: of the longest that are not shared, 64 KiB.
pub const FIELDS_PER_STATEMENT: usize = 64;

/// Such requests that one step writes of a value that a command has made.
pub const STATEMENTS_PER_STEP: usize = 8;

/// Keys that one step of a walk over the keyspace looks at: at a cache miss or two each, some hundred microseconds.
pub const SCAN_KEYS_PER_STEP: usize = 512;

/// An object or a name in ACL LOG: what a client sends may be long, and stays there for long.
pub const ACL_LOG_TEXT_BYTES_MAX: usize = 4 << 10;

/// Connections looked at in one tick for timeouts and output limits, and how often all have been looked at.
pub const SWEEP_CONNECTIONS: u32 = 256;
pub const SWEEP_NS: u64 = 1_000_000_000;

const _: () = assert!(STAGE_REQUESTS <= REQUESTS_PER_TURN as usize);
const _: () =
    assert!(BACKLOG_BYTES_MAX < STALLED_INPUT_BYTES_MAX, "who is stalled may send more than who only has to wait");
