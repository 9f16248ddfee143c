//! Writes to files, which are the journal's. As with sends, their bytes belong to the ring until the kernel is done with them.

use std::os::fd::RawFd;

use io_uring::types::{Fd, FsyncFlags};
use io_uring::{opcode, squeue};

use super::{Event, Ring, op, word};

/// Whether a write is on the disk when it completes, or only in the kernel's cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::runtime) enum Durable {
    Yes,
    No,
}

/// What writes past the page cache are made of: their memory, their place and their length are whole pages. Any device asks for that or less.
pub(in crate::runtime) const PAGE_BYTES: usize = 4096;

#[derive(Clone, Debug)]
#[repr(C, align(4096))]
pub(in crate::runtime) struct Page([u8; PAGE_BYTES]);

const _: () = assert!(size_of::<Page>() == PAGE_BYTES && align_of::<Page>() == PAGE_BYTES);

impl Page {
    pub(in crate::runtime) const fn zeroed() -> Self {
        Self([0; PAGE_BYTES])
    }

    pub(in crate::runtime) const fn bytes(&self) -> &[u8; PAGE_BYTES] {
        &self.0
    }

    pub(in crate::runtime) const fn bytes_mut(&mut self) -> &mut [u8; PAGE_BYTES] {
        &mut self.0
    }
}

/// Bytes to be written.
#[derive(Debug)]
pub(in crate::runtime) enum Buffer {
    Bytes(Vec<u8>),
    /// For a file that is written past the page cache.
    Pages(Vec<Page>),
}

impl Buffer {
    pub(in crate::runtime) fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Pages(pages) => pages.len() * PAGE_BYTES,
        }
    }

    fn as_ptr(&self) -> *const u8 {
        match self {
            Self::Bytes(bytes) => bytes.as_ptr(),
            Self::Pages(pages) => pages.as_ptr().cast(),
        }
    }

    /// Up to where what was written so far needs no second write.
    fn whole(&self, done: usize) -> usize {
        match self {
            Self::Bytes(_) => done,
            Self::Pages(_) => done - done % PAGE_BYTES,
        }
    }
}

/// A completed (maybe partial) write, to be answered with `take_buffer` or `write_rest`.
#[derive(Debug)]
pub(in crate::runtime) struct WriteId(u32);

/// `RWF_DSYNC`: the write returns when its data, and what is needed to find it, are on the disk.
const DSYNC: i32 = 2;

/// One write that a length of 32 bits tells, in whole pages.
const WRITE_BYTES_MAX: u32 = 1 << 31;

/// Bytes on their way to a file.
pub(super) struct Writing {
    fd: RawFd,
    buffer: Buffer,
    done: usize,
    offset: u64,
    durable: Durable,
}

impl Writing {
    fn left(&self) -> usize {
        self.buffer.len() - self.done
    }

    fn entry(&self) -> squeue::Entry {
        let rest = self.buffer.as_ptr().wrapping_add(self.done);
        let len = u32::try_from(self.left()).unwrap_or(WRITE_BYTES_MAX);
        let flags = if self.durable == Durable::Yes { DSYNC } else { 0 };
        let write = opcode::Write::new(Fd(self.fd), rest, len);
        write.offset(self.offset + self.done as u64).rw_flags(flags).build()
    }
}

impl Ring {
    /// Writes `buffer`, which is not empty, at `offset`. `fd` stays open until the completion.
    pub(in crate::runtime) fn write(&mut self, fd: RawFd, buffer: Buffer, offset: u64, durable: Durable) {
        assert!(buffer.len() > 0, "an empty write is nothing to wait for");
        let place = self.writes.insert(Writing { fd, buffer, done: 0, offset, durable });
        self.push_write(place);
    }

    /// Queues what a short write left.
    pub(in crate::runtime) fn write_rest(&mut self, write: WriteId) {
        self.push_write(write.0);
    }

    /// What a write that is over was made of.
    pub(in crate::runtime) fn take_buffer(&mut self, write: WriteId) -> Buffer {
        self.writes.remove(write.0).expect("a WriteId names a write that has completed and was not taken back").buffer
    }

    /// Brings all that was written to `fd` to the disk; comes as `Event::Synced`.
    pub(in crate::runtime) fn sync(&mut self, fd: RawFd) {
        let entry = opcode::Fsync::new(Fd(fd)).flags(FsyncFlags::DATASYNC).build();
        self.push(entry.user_data(word(op::SYNC, 0, 0)));
    }

    /// Does nothing, and says so as a sync would.
    pub(in crate::runtime) fn nothing(&mut self) {
        self.push(opcode::Nop::new().build().user_data(word(op::SYNC, 0, 0)));
    }

    fn push_write(&mut self, place: u32) {
        let entry = self.writes.get_mut(place).expect("queued writes are in the slab").entry();
        self.push(entry.user_data(word(op::WRITE, 0, place)));
    }

    pub(super) fn wrote(&mut self, place: u32, result: i32) -> Event {
        let writing = self.writes.get_mut(place).expect("the kernel completes only writes that are in flight");
        let write = WriteId(place);
        match usize::try_from(result) {
            // A write that takes nothing and gives no reason would be tried for ever.
            Ok(0) => Event::WriteFailed { write, errno: libc::ENOSPC },
            Ok(more) => {
                let done = writing.buffer.whole(writing.done + more);
                if std::mem::replace(&mut writing.done, done) == done {
                    return Event::WriteFailed { write, errno: libc::EIO };
                }
                Event::Wrote { write, left: writing.left() }
            }
            Err(_) if matches!(-result, libc::EINTR | libc::EAGAIN) => Event::Wrote { write, left: writing.left() },
            Err(_) => Event::WriteFailed { write, errno: -result },
        }
    }
}
