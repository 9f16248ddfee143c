//! The files a lane writes its journal to. One write is in flight at a time; the shard decides what is in it.
//!
//! ```text
//!  Sync::No     write
//!  Sync::This   write with RWF_DSYNC                  one request: all before it is on the disk already
//!  Sync::All    write, and when it is done fdatasync  of all files that were written to since the last one
//!
//!  journal.7.log.0    from its beginning on, through the page cache, until a segment comes          (Way::Cached)
//!  journal.7.log.0.1  zeroed before (`segments.rs`), in whole pages past the cache (`pages.rs`),    (Way::Direct)
//!                     until it is full: then the next, or if that is not there yet, on beyond the end
//! ```
//!
//! All go through the lane's ring and complete like anything else; where the kernel must block, a worker of the ring does, which a direct write
//! into a segment needs no more than a send does. `medium.rs` has worse disks, for tests.

mod faults;
mod medium;
mod pages;

use std::fs::File;

pub(super) use self::faults::Faults;
use self::medium::Medium;
pub(super) use self::medium::wished;
use self::pages::End;
use super::ring::{Buffer, Durable, Page, Ring, WriteId};
use super::segments::{LogFile, SEGMENT_BYTES, Supply};
use crate::shard::Sync;

#[derive(Debug)]
pub(super) struct Disk {
    medium: Medium,
    current: Current,
    supply: Supply,
    /// Files before the current one that were written to since the last sync, and the one that is being synced.
    unsynced: Vec<File>,
    syncing: Option<File>,
    /// What is left to be done after what is in flight.
    then: Then,
    is_idle: bool,
    spare: Vec<u8>,
    spare_pages: Vec<Page>,
}

/// The file that is written to.
#[derive(Debug)]
struct Current {
    file: File,
    way: Way,
    /// Something was written to it since the last sync.
    is_dirty: bool,
}

#[derive(Debug)]
enum Way {
    Cached { offset: u64 },
    Direct { end: End },
}

/// How far the write in flight is to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    Nothing,
    SyncAll,
}

/// What came of a completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Pending,
    Done,
    Failed { errno: i32 },
}

/// Buffers that grew beyond this for one large write are freed.
const SPARE_BYTES_MAX: usize = 1 << 20;
const SPARE_PAGES_MAX: usize = 256;

impl Disk {
    /// Writes from the beginning of an empty file on.
    pub(super) fn new(LogFile { file, stem }: LogFile, mut supply: Supply) -> Self {
        supply.follow(stem);
        Self {
            medium: Medium::of_build(),
            current: Current::first(file),
            supply,
            unsynced: Vec::new(),
            syncing: None,
            then: Then::Nothing,
            is_idle: true,
            spare: Vec::new(),
            spare_pages: Vec::new(),
        }
    }

    /// The next write begins another volume. All of the one before is on the disk, or nobody needs it.
    pub(super) fn turn(&mut self, LogFile { file, stem }: LogFile) {
        self.current = Current::first(file);
        self.unsynced.clear();
        self.medium.forget();
        self.supply.follow(stem);
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
        let is_clean = !self.current.is_dirty && self.unsynced.is_empty();
        assert!(sync != Sync::This || is_clean, "one write is all there is to sync");
        self.is_idle = false;
        self.then = if sync == Sync::All { Then::SyncAll } else { Then::Nothing };
        if bytes.is_empty() {
            keep(&mut self.spare, bytes);
            return self.sync_next(ring);
        }
        self.make_room(bytes.len());
        let Self { medium, current, spare_pages, .. } = self;
        let (buffer, offset) = match &mut current.way {
            Way::Cached { offset } => {
                let begin = *offset;
                *offset += bytes.len() as u64;
                (Buffer::Bytes(bytes), begin)
            }
            Way::Direct { end } => {
                let (pages, begin) = end.lay_out(&bytes, std::mem::take(spare_pages));
                keep(&mut self.spare, bytes);
                (Buffer::Pages(pages), begin)
            }
        };
        let durable = if sync == Sync::This { Durable::Yes } else { Durable::No };
        current.is_dirty |= durable == Durable::No;
        medium.write(ring, &current.file, buffer, offset, durable);
    }

    /// Goes on in the next segment, if it is there and this write would not find its place prepared.
    fn make_room(&mut self, bytes: usize) {
        self.supply.ask();
        let is_prepared = match &self.current.way {
            Way::Cached { .. } => false,
            Way::Direct { end } => end.after(bytes) <= SEGMENT_BYTES,
        };
        if !is_prepared && let Some(file) = self.supply.take() {
            let next = Current { file, way: Way::Direct { end: End::start() }, is_dirty: false };
            let last = std::mem::replace(&mut self.current, next);
            if last.is_dirty {
                self.unsynced.push(last.file);
            }
            self.supply.ask();
        }
    }

    pub(super) fn wrote(&mut self, ring: &mut Ring, write: WriteId, left: usize) -> Outcome {
        if left > 0 {
            ring.write_rest(write);
            return Outcome::Pending;
        }
        self.take_back(ring, write);
        self.go_on(ring)
    }

    pub(super) fn write_failed(&mut self, ring: &mut Ring, write: WriteId, errno: i32) -> Outcome {
        self.take_back(ring, write);
        Outcome::Failed { errno }
    }

    /// A sync is over, or a write that was none.
    pub(super) fn synced(&mut self, ring: &mut Ring, errno: i32) -> Outcome {
        match errno {
            0 => self.go_on(ring),
            _ => Outcome::Failed { errno },
        }
    }

    /// What was in flight is done, if the disk is not to fail here.
    fn go_on(&mut self, ring: &mut Ring) -> Outcome {
        if let Some(errno) = self.medium.failure() {
            return Outcome::Failed { errno };
        }
        self.syncing = None;
        if self.then == Then::SyncAll && (self.current.is_dirty || !self.unsynced.is_empty()) {
            self.sync_next(ring);
            return Outcome::Pending;
        }
        self.is_idle = true;
        Outcome::Done
    }

    fn sync_next(&mut self, ring: &mut Ring) {
        let Self { medium, current, unsynced, syncing, .. } = self;
        match unsynced.pop() {
            Some(file) => medium.sync(ring, syncing.insert(file)),
            None => {
                current.is_dirty = false;
                medium.sync(ring, &current.file);
            }
        }
    }

    /// The first file of the volume that is written, in words.
    pub(super) fn place(&self) -> String {
        self.supply.place()
    }

    /// The lane ends: what was made ready for more is given back.
    pub(super) fn close(mut self) {
        if self.is_idle
            && let Way::Direct { end } = &self.current.way
        {
            // If that fails the zeroes behind the end say the same.
            let _ = self.current.file.set_len(end.offset());
        }
        self.supply.give_back();
    }

    fn take_back(&mut self, ring: &mut Ring, write: WriteId) {
        match ring.take_buffer(write) {
            Buffer::Bytes(bytes) => keep(&mut self.spare, bytes),
            Buffer::Pages(pages) if pages.capacity() <= SPARE_PAGES_MAX => self.spare_pages = pages,
            Buffer::Pages(_) => {}
        }
    }
}

impl Current {
    const fn first(file: File) -> Self {
        Self { file, way: Way::Cached { offset: 0 }, is_dirty: false }
    }
}

/// A buffer of bytes for the next write, unless it grew for a large one.
fn keep(spare: &mut Vec<u8>, mut bytes: Vec<u8>) {
    if bytes.capacity() <= SPARE_BYTES_MAX {
        bytes.clear();
        *spare = bytes;
    }
}
