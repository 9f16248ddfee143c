//! What every outer test needs: a server of its own and a client that is not the code under test.

pub(crate) mod client;
pub(crate) mod disks;
pub(crate) mod resp;
pub(crate) mod server;
pub(crate) mod text;

pub(crate) use client::Client;
pub(crate) use resp::Value;
pub(crate) use server::{Server, Target};

use std::time::{Duration, Instant};

/// Longer than anything healthy takes on a busy machine; reached only when a test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Calls `look` until it says yes. Returns whether it ever did, so that the caller can say what it was waiting for.
#[must_use]
pub(crate) fn eventually(mut look: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        if look() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    false
}
