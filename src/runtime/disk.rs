//! The file a lane writes its journal to. One write is in flight at a time; the shard decides what is in it.
//!
//! ```text
//!  Sync::No     write
//!  Sync::This   write with RWF_DSYNC                  one request: half the latency of a write and an fdatasync here
//!  Sync::All    write, and when it is done fdatasync  what was written before is not on the disk yet
//! ```
//!
//! Both go through the lane's ring and complete like anything else; where the kernel must block, a worker of the ring does.
//!
//! A build with assertions has worse disks, for tests, by `CORELANE_DISK`: with `lossy` what was not synced stays in memory, and dies with the
//! process; with `forgetful` one sync in ten says that it is done and is not; with `fails:N` the Nth write fails and nothing of it was written,
//! with `fails-late:N` all of it was.

use std::fs::File;
use std::os::fd::AsRawFd;

use super::ring::{Durable, Ring, WriteId};
use crate::shard::Sync;

#[derive(Debug)]
pub(super) struct Disk {
    file: File,
    /// Where the next write begins.
    offset: u64,
    /// The write in flight is followed by a sync.
    syncs: bool,
    spare: Vec<u8>,
    fidelity: Fidelity,
    /// What a lossy disk has not written.
    held: Vec<u8>,
    writes: u32,
}

/// Whether the disk keeps what it was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fidelity {
    Real,
    Lossy,
    Forgetful,
    Fails { at: u32 },
    FailsLate { at: u32 },
}

impl Fidelity {
    fn of_build() -> Self {
        let (name, at) = wished();
        match &*name {
            "lossy" => Self::Lossy,
            "forgetful" => Self::Forgetful,
            "fails" => Self::Fails { at },
            "fails-late" => Self::FailsLate { at },
            _ => Self::Real,
        }
    }
}

/// Which fault a debug build is to have, `CORELANE_DISK=NAME:NUMBER`, and at which of its calls; none in a release.
pub(super) fn wished() -> (String, u32) {
    let wish = if cfg!(debug_assertions) { std::env::var("CORELANE_DISK").unwrap_or_default() } else { String::new() };
    let (name, at) = wish.split_once(':').unwrap_or((&wish, ""));
    (name.to_owned(), at.parse().unwrap_or(1))
}

/// What came of a completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Pending,
    Done,
    Failed { errno: i32 },
}

/// A buffer that grew beyond this for one large write is freed.
const SPARE_BYTES_MAX: usize = 1 << 20;

impl Disk {
    /// Writes from the beginning of an empty file on.
    pub(super) fn new(file: File) -> Self {
        let fidelity = Fidelity::of_build();
        Self { file, offset: 0, syncs: false, spare: Vec::new(), fidelity, held: Vec::new(), writes: 0 }
    }

    /// The next write begins another file.
    pub(super) fn turn(&mut self, file: File) {
        (self.file, self.offset) = (file, 0);
        self.held.clear();
    }

    /// An empty buffer for the next write.
    pub(super) fn spare(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.spare)
    }

    /// The buffer was not needed.
    pub(super) fn put_back(&mut self, spare: Vec<u8>) {
        self.spare = spare;
    }

    /// Starts a write, of nothing if only what was written before is to be synced.
    pub(super) fn write(&mut self, ring: &mut Ring, bytes: Vec<u8>, sync: Sync) {
        let Some(bytes) = self.lose(bytes, sync) else { return ring.nothing() };
        let fd = self.file.as_raw_fd();
        self.syncs = sync == Sync::All;
        if bytes.is_empty() {
            self.spare = bytes;
            return ring.sync(fd);
        }
        let offset = self.offset;
        self.offset += bytes.len() as u64;
        ring.write(fd, bytes, offset, if sync == Sync::This { Durable::Yes } else { Durable::No });
    }

    pub(super) fn wrote(&mut self, ring: &mut Ring, write: WriteId, left: usize) -> Outcome {
        if left > 0 {
            ring.write_rest(write);
            return Outcome::Pending;
        }
        self.take_back(ring, write);
        if self.syncs {
            ring.sync(self.file.as_raw_fd());
            return Outcome::Pending;
        }
        self.done()
    }

    /// A write is done, if the disk is not to fail here.
    fn done(&self) -> Outcome {
        match self.fidelity {
            Fidelity::Fails { at } | Fidelity::FailsLate { at } if self.writes == at => {
                Outcome::Failed { errno: libc::EIO }
            }
            _ => Outcome::Done,
        }
    }

    pub(super) fn write_failed(&mut self, ring: &mut Ring, write: WriteId, errno: i32) -> Outcome {
        self.take_back(ring, write);
        Outcome::Failed { errno }
    }

    pub(super) fn synced(&self, errno: i32) -> Outcome {
        if errno == 0 { self.done() } else { Outcome::Failed { errno } }
    }

    /// What of these bytes, and of those before them, is written now; `None`: nothing is.
    fn lose(&mut self, bytes: Vec<u8>, sync: Sync) -> Option<Vec<u8>> {
        if self.fidelity == Fidelity::Real {
            return Some(bytes);
        }
        self.writes += 1;
        match self.fidelity {
            Fidelity::Fails { at } => return (self.writes != at).then_some(bytes),
            Fidelity::FailsLate { .. } => return Some(bytes),
            _ => {}
        }
        self.held.extend_from_slice(&bytes);
        let forgets = self.fidelity == Fidelity::Forgetful && self.writes.is_multiple_of(10);
        (sync != Sync::No && !forgets).then(|| std::mem::take(&mut self.held))
    }

    fn take_back(&mut self, ring: &mut Ring, write: WriteId) {
        let mut bytes = ring.take_bytes(write);
        if bytes.capacity() <= SPARE_BYTES_MAX {
            bytes.clear();
            self.spare = bytes;
        }
    }
}
