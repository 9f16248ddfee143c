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

/// A completed (maybe partial) write, to be answered with `take_bytes` or `write_rest`.
#[derive(Debug)]
pub(in crate::runtime) struct WriteId(u32);

/// `RWF_DSYNC`: the write returns when its data, and what is needed to find it, are on the disk.
const DSYNC: i32 = 2;

/// Bytes on their way to a file.
pub(super) struct Writing {
    fd: RawFd,
    bytes: Vec<u8>,
    done: usize,
    offset: u64,
    durable: Durable,
}

impl Writing {
    fn left(&self) -> usize {
        self.bytes.len() - self.done
    }

    fn entry(&self) -> squeue::Entry {
        let rest = &self.bytes[self.done..];
        let len = u32::try_from(rest.len()).unwrap_or(u32::MAX);
        let flags = if self.durable == Durable::Yes { DSYNC } else { 0 };
        let write = opcode::Write::new(Fd(self.fd), rest.as_ptr(), len);
        write.offset(self.offset + self.done as u64).rw_flags(flags).build()
    }
}

impl Ring {
    /// Writes `bytes`, which are not empty, at `offset`. `fd` stays open until the completion.
    pub(in crate::runtime) fn write(&mut self, fd: RawFd, bytes: Vec<u8>, offset: u64, durable: Durable) {
        assert!(!bytes.is_empty(), "an empty write is nothing to wait for");
        let place = self.writes.insert(Writing { fd, bytes, done: 0, offset, durable });
        self.push_write(place);
    }

    /// Queues what a short write left.
    pub(in crate::runtime) fn write_rest(&mut self, write: WriteId) {
        self.push_write(write.0);
    }

    /// The bytes of a write that is over.
    pub(in crate::runtime) fn take_bytes(&mut self, write: WriteId) -> Vec<u8> {
        self.writes.remove(write.0).expect("a WriteId names a write that has completed and was not taken back").bytes
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
                writing.done += more;
                Event::Wrote { write, left: writing.left() }
            }
            Err(_) if matches!(-result, libc::EINTR | libc::EAGAIN) => Event::Wrote { write, left: writing.left() },
            Err(_) => Event::WriteFailed { write, errno: -result },
        }
    }
}
