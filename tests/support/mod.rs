//! What every outer test needs: a server of its own and a client that is not the code under test.

pub(crate) mod client;
pub(crate) mod disks;
pub(crate) mod resp;
pub(crate) mod server;
pub(crate) mod text;

pub(crate) use client::Client;
pub(crate) use resp::Value;
pub(crate) use server::{Server, Target};

use corelane::admin::info::Identity;
use corelane::config::Config;
use corelane::shard::{Setup, Slicing};
use std::time::{Duration, Instant};

/// Longer than anything healthy takes on a busy machine; reached only when a test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// What a shard without a machine around it is made of: lane `lane` of `lanes`, all clocks standing still.
pub(crate) fn setup(lane: u16, lanes: u16) -> Setup {
    Setup {
        identity: Identity { lane, lanes, ..Identity::default() },
        config: Config::default(),
        seed: [1, 2],
        trace: false,
        stopwatch: || 0,
        process: Default::default,
        room_for_clients: |wanted, _| wanted,
        can_journal: |_| true,
        allocator: corelane::admin::process::Allocator::PLAIN,
        replace_file: corelane::admin::file::no_disk,
        read_file: corelane::admin::file::no_file,
        entropy: || Ok([7; 32]),
        users: Vec::new(),
        cpu_time_ns: || 0,
        slicing: Slicing::default(),
        rows: &[],
        planted: None,
    }
}

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
