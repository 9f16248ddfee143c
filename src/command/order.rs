//! What the shard asks of the runtime for connections and the process.

use super::clients::ConnId;

/// Drained once per turn, in order; at most one `Flush` per connection and turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// There is output: take and send it. While an earlier send is in flight, do so when that has completed.
    Flush(ConnId),
    /// Send what output there is, close the socket, then report it closed.
    CloseAfterFlush(ConnId),
    /// Close at once (killed, over its output limit), then report it closed.
    Close(ConnId),
    /// Stop receiving; bytes still on their way are fed as ever.
    StopReading(ConnId),
    /// Receive again.
    Read(ConnId),
    /// Much of one word is still to come: receive it through the few buffers set aside for such, so that it takes neither all buffers nor
    /// all time.
    ReadLong(ConnId),
    /// The word is there.
    ReadShort(ConnId),
    /// Hold the lane for so long (DEBUG SLEEP).
    Hold(std::time::Duration),
    /// Stop the whole server as SIGTERM does (SHUTDOWN).
    Stop,
}
