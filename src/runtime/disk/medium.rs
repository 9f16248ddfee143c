//! What the journal's files are on. A build with assertions has worse media, for tests, by `CORELANE_DISK`:
//!
//! ```text
//!  lossy          what was not synced stays in memory, and dies with the process; a synced write reaches the file in parts, its last page first
//!  forgetful      the same, and one sync in ten says that it is done and is not
//!  fails:N        the Nth write or sync fails, and nothing of it was done; fails-late:N  all of it was
//!  full:N         from the Nth on nothing can be written any more, nor can bases
//! ```

use std::fs::File;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::time::Duration;

use crate::runtime::ring::{Buffer, Durable, PAGE_BYTES, Ring};

#[derive(Debug)]
pub(super) struct Medium {
    fidelity: Fidelity,
    /// What a lossy medium has not written, in its order.
    held: Vec<Held>,
    /// Writes and syncs so far.
    count: u32,
}

#[derive(Debug)]
struct Held {
    file: File,
    buffer: Buffer,
    offset: u64,
}

/// Whether the disk keeps what it was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fidelity {
    Real,
    Lossy,
    Forgetful,
    Fails { at: u32 },
    FailsLate { at: u32 },
    Full { from: u32 },
}

impl Fidelity {
    fn of_build() -> Self {
        let (name, at) = wished();
        match &*name {
            "lossy" => Self::Lossy,
            "forgetful" => Self::Forgetful,
            "fails" => Self::Fails { at },
            "fails-late" => Self::FailsLate { at },
            "full" => Self::Full { from: at },
            _ => Self::Real,
        }
    }
}

/// Which fault a debug build is to have, `CORELANE_DISK=NAME:NUMBER`, and at which of its calls; none in a release.
pub(in crate::runtime) fn wished() -> (String, u32) {
    let wish = if cfg!(debug_assertions) { std::env::var("CORELANE_DISK").unwrap_or_default() } else { String::new() };
    let (name, at) = wish.split_once(':').unwrap_or((&wish, ""));
    (name.to_owned(), at.parse().unwrap_or(1))
}

/// The time in which a kill may fall between the parts of a write.
const PART_PAUSE: Duration = Duration::from_micros(200);

/// A forgetful medium forgets one in so many.
const FORGETS_ONE_IN: u32 = 10;

impl Medium {
    pub(super) fn of_build() -> Self {
        Self { fidelity: Fidelity::of_build(), held: Vec::new(), count: 0 }
    }

    /// Starts a write, which completes as a write or as a sync.
    pub(super) fn write(&mut self, ring: &mut Ring, file: &File, buffer: Buffer, offset: u64, durable: Durable) {
        if self.fidelity != Fidelity::Real {
            match self.mishap(durable == Durable::Yes) {
                Mishap::None => self.write_in_parts(file, &buffer, offset),
                Mishap::Held => {
                    let file = file.try_clone().expect("a test has descriptors");
                    self.held.push(Held { file, buffer, offset });
                    return ring.nothing();
                }
                Mishap::Nothing => return ring.nothing(),
            }
        }
        ring.write(file.as_raw_fd(), buffer, offset, durable);
    }

    /// Starts a sync of all that was written to the file.
    pub(super) fn sync(&mut self, ring: &mut Ring, file: &File) {
        if self.fidelity != Fidelity::Real {
            if self.mishap(true) != Mishap::None {
                return ring.nothing();
            }
            self.write_held(file);
        }
        ring.sync(file.as_raw_fd());
    }

    /// What was held back is not needed any more.
    pub(super) fn forget(&mut self) {
        self.held.clear();
    }

    /// How the write or sync that is over has failed, if it is one that does.
    pub(super) fn failure(&self) -> Option<i32> {
        match self.fidelity {
            Fidelity::Fails { at } | Fidelity::FailsLate { at } if self.count == at => Some(libc::EIO),
            Fidelity::Full { from } if self.count >= from => Some(libc::ENOSPC),
            _ => None,
        }
    }

    /// What goes wrong with the next write or sync.
    fn mishap(&mut self, is_durable: bool) -> Mishap {
        self.count += 1;
        match self.fidelity {
            Fidelity::Fails { at } if self.count == at => Mishap::Nothing,
            Fidelity::Full { from } if self.count >= from => Mishap::Nothing,
            Fidelity::Lossy | Fidelity::Forgetful if !is_durable => Mishap::Held,
            Fidelity::Forgetful if self.count.is_multiple_of(FORGETS_ONE_IN) => Mishap::Held,
            Fidelity::Real
            | Fidelity::Lossy
            | Fidelity::Forgetful
            | Fidelity::Fails { .. }
            | Fidelity::FailsLate { .. }
            | Fidelity::Full { .. } => Mishap::None,
        }
    }

    /// What was held back of this file reaches it; what was forgotten, whatever file it was for.
    fn write_held(&mut self, file: &File) {
        let node = |file: &File| file.metadata().expect("an open file has a node").ino();
        let (of, forgets) = (node(file), self.fidelity == Fidelity::Forgetful);
        for Held { file, buffer, offset } in self.held.extract_if(.., |held| forgets || node(&held.file) == of) {
            put(&file, &buffer, offset, 0);
        }
    }

    fn write_in_parts(&mut self, file: &File, buffer: &Buffer, offset: u64) {
        if !matches!(self.fidelity, Fidelity::Lossy | Fidelity::Forgetful) {
            return;
        }
        self.write_held(file);
        if buffer.len() > PAGE_BYTES && self.count.is_multiple_of(2) {
            put(file, buffer, offset, buffer.len() / PAGE_BYTES * PAGE_BYTES - PAGE_BYTES);
            std::thread::sleep(PART_PAUSE);
        }
    }
}

/// What goes wrong with a write or sync.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mishap {
    None,
    /// It stays in memory.
    Held,
    /// It does not happen.
    Nothing,
}

/// Writes a buffer, which belongs at `offset`, from its `skip`th byte on.
fn put(file: &File, buffer: &Buffer, offset: u64, skip: usize) {
    let done = match buffer {
        Buffer::Bytes(bytes) => file.write_all_at(&bytes[skip..], offset + skip as u64),
        Buffer::Pages(pages) => pages
            .iter()
            .zip((offset..).step_by(PAGE_BYTES))
            .skip(skip / PAGE_BYTES)
            .try_for_each(|(page, at)| file.write_all_at(page.bytes(), at)),
    };
    done.expect("a test's disk has room");
}
