//! One io_uring for a thread's sockets: the only file of this crate with `unsafe`.
//!
//! Both ends of a measurement use it, so that neither the floor nor the load pays for a slower way into the kernel:
//!
//! ```text
//!   accept (multishot) ─┐                        ┌─> Event::Accepted(slot)
//!   recv (multishot) ───┼─> one enter per turn ──┼─> Event::Received(slot, buffer)   bytes(&buffer), recycle(buffer)
//!   send ───────────────┘                        ├─> Event::Sent(slot, storage)
//!                                                └─> Event::Closed(slot)
//! ```
//!
//! Sockets live in the ring's file table (a send then takes no file reference), received bytes in a provided buffer
//! ring, and everything a turn wants to send enters the kernel together with the wait.
//!
//! What makes the API safe: bytes to be sent are either `'static` or owned by the ring until their completion; a
//! `Buffer` can neither be copied nor used after `recycle`; the ring never leaves its thread (`SINGLE_ISSUER`), and
//! dropping it closes the io_uring first. Sockets are TCP or unix; the ring does not care.
//!
//! Absent on purpose: zero-copy sends, timeouts per request, more than one send in flight per socket.
#![expect(
    unsafe_code,
    reason = "submission entries and the provided buffer ring are raw memory shared with the kernel"
)]

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use io_uring::types::{BufRingEntry, Fd, Fixed, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode, squeue};

/// The one buffer group of a ring.
const GROUP: u16 = 0;
/// Memory shared with the kernel is page aligned.
const PAGE_BYTES: usize = 4096;
/// A turn may submit one send per socket; a fuller queue is submitted in parts.
const SUBMISSIONS: u32 = 1024;
/// Completions that may wait while a turn runs: two per socket at most, with room for re-armed receives.
const COMPLETIONS_PER_SLOT: u32 = 4;

/// A socket's place in the ring's file table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot(u32);

impl Slot {
    pub(crate) const fn index(self) -> usize {
        self.0 as usize
    }
}

/// Sizes of a ring; `buffers` must be a power of two (the kernel masks with it).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) slots: u32,
    pub(crate) buffers: u16,
    pub(crate) buffer_bytes: u32,
}

/// Received bytes, still in the memory the kernel put them into.
#[derive(Debug)]
pub(crate) struct Buffer {
    id: u16,
    len: u32,
}

/// What a send takes its bytes from.
#[derive(Debug)]
pub(crate) enum Storage {
    Static(&'static [u8]),
    Owned(Vec<u8>),
}

impl Storage {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Static(bytes) => bytes,
            Self::Owned(bytes) => bytes,
        }
    }
}

#[derive(Debug)]
pub(crate) enum Event {
    Accepted(Slot),
    Received(Slot, Buffer),
    /// The whole storage has been handed to the socket and comes back.
    Sent(Slot, Storage),
    /// The peer ended the connection, or it broke. The slot is free again after this.
    Closed(Slot),
}

/// How long `turn` may wait for the first completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    Forever,
    AtMost(Duration),
    No,
}

#[derive(Default)]
struct Socket {
    sending: Option<Storage>,
    sent: usize,
    receiving: bool,
    closing: bool,
}

pub(crate) struct Ring {
    // Declared first and so dropped first: the kernel lets go of buffers and storages before they are freed.
    uring: IoUring,
    pool: Pool,
    sockets: Vec<Socket>,
    /// Receives that ended without the connection ending (buffers ran out); armed again once buffers are back.
    rearm: Vec<Slot>,
    adopted: u32,
    listener: Option<TcpListener>,
}

impl Ring {
    pub(crate) fn new(shape: Shape) -> io::Result<Self> {
        assert!(shape.slots > 0 && shape.buffers.is_power_of_two());
        let uring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_coop_taskrun()
            .setup_taskrun_flag()
            .setup_submit_all()
            .setup_clamp()
            .setup_cqsize((shape.slots * COMPLETIONS_PER_SLOT).max(2 * SUBMISSIONS))
            .build(SUBMISSIONS)?;
        uring.submitter().register_ring_fd()?;
        uring.submitter().register_files_sparse(shape.slots)?;
        let pool = Pool::new(shape);
        // SAFETY: the entries are page aligned, `shape.buffers` long, and live in `pool`, which outlives `uring`.
        unsafe { uring.submitter().register_buf_ring_with_flags(pool.entries as u64, shape.buffers, GROUP, 0)? };
        let sockets = (0..shape.slots).map(|_| Socket::default()).collect();
        Ok(Self { uring, pool, sockets, rearm: Vec::new(), adopted: 0, listener: None })
    }

    /// Accepts from this listener for as long as the ring lives.
    pub(crate) fn listen(&mut self, listener: TcpListener) -> io::Result<()> {
        assert!(self.listener.is_none() && self.adopted == 0, "slots are handed out either by accept or by adopt");
        self.listener = Some(listener);
        self.accept()
    }

    /// Takes over a connected socket and begins to receive on it. Not to be mixed with `listen` on one ring: there the
    /// kernel hands out the slots.
    pub(crate) fn adopt(&mut self, socket: OwnedFd) -> io::Result<Slot> {
        assert!(self.listener.is_none(), "slots are handed out either by accept or by adopt");
        assert!((self.adopted as usize) < self.sockets.len());
        let slot = Slot(self.adopted);
        self.adopted += 1;
        self.adopt_at(slot, socket)?;
        Ok(slot)
    }

    /// Takes over a connected socket in the place of one that is closed.
    pub(crate) fn adopt_at(&mut self, slot: Slot, socket: OwnedFd) -> io::Result<()> {
        self.uring.submitter().register_files_update(slot.0, &[socket.as_raw_fd()])?;
        self.sockets[slot.index()] = Socket::default();
        self.receive(slot)
    }

    /// Ends a connection from this side; `Closed` follows once the slot is free.
    pub(crate) fn shut_down(&mut self, slot: Slot) -> io::Result<()> {
        let entry = opcode::Shutdown::new(Fixed(slot.0), libc::SHUT_RDWR).build();
        self.push(&entry.user_data(Tag::Shutdown.of(slot.0)))
    }

    pub(crate) fn is_sending(&self, slot: Slot) -> bool {
        self.sockets[slot.index()].sending.is_some()
    }

    /// Queues one send; the bytes leave with the next `turn`. A connection that the peer has ended takes none: its slot
    /// may belong to another one by the time the bytes would leave.
    pub(crate) fn send(&mut self, slot: Slot, storage: Storage) -> io::Result<()> {
        let socket = &mut self.sockets[slot.index()];
        assert!(socket.sending.is_none(), "one send in flight per socket");
        assert!(!storage.bytes().is_empty());
        if socket.closing {
            return Ok(());
        }
        socket.sending = Some(storage);
        socket.sent = 0;
        self.send_rest(slot)
    }

    /// Submits what is queued, waits for at least one completion as `wait` allows, and appends the events.
    pub(crate) fn turn(&mut self, wait: Wait, events: &mut Vec<Event>) -> io::Result<()> {
        for slot in std::mem::take(&mut self.rearm) {
            self.receive(slot)?;
        }
        self.enter(wait)?;
        self.reap(events)
    }

    pub(crate) fn bytes(&self, buffer: &Buffer) -> &[u8] {
        self.pool.bytes(buffer)
    }

    pub(crate) fn recycle(&mut self, buffer: Buffer) {
        self.pool.offer(buffer.id);
    }

    fn accept(&mut self) -> io::Result<()> {
        let fd = Fd(self.listener.as_ref().expect("only a listening ring accepts").as_raw_fd());
        self.push(&opcode::AcceptMulti::new(fd).allocate_file_index(true).build().user_data(Tag::Accept.of(0)))
    }

    fn receive(&mut self, slot: Slot) -> io::Result<()> {
        self.sockets[slot.index()].receiving = true;
        self.push(&opcode::RecvMulti::new(Fixed(slot.0), GROUP).build().user_data(Tag::Receive.of(slot.0)))
    }

    fn send_rest(&mut self, slot: Slot) -> io::Result<()> {
        let socket = &self.sockets[slot.index()];
        let bytes = socket.sending.as_ref().expect("a send is in flight").bytes();
        let rest = &bytes[socket.sent..];
        let len = u32::try_from(rest.len()).expect("a send is below 4 GiB");
        // WAITALL lets the kernel retry a short send itself, so that one send is one completion.
        let entry = opcode::Send::new(Fixed(slot.0), rest.as_ptr(), len)
            .flags(libc::MSG_WAITALL | libc::MSG_NOSIGNAL)
            .build()
            .user_data(Tag::Send.of(slot.0));
        self.push(&entry)
    }

    fn push(&mut self, entry: &squeue::Entry) -> io::Result<()> {
        // SAFETY: sends point into storages that `sockets` keeps until their completion; nothing else points anywhere.
        while unsafe { self.uring.submission().push(entry) }.is_err() {
            self.uring.submit()?;
        }
        Ok(())
    }

    fn enter(&mut self, wait: Wait) -> io::Result<()> {
        let entered = match wait {
            Wait::Forever => self.uring.submit_and_wait(1),
            Wait::AtMost(limit) => {
                let limit = Timespec::from(limit);
                self.uring.submitter().submit_with_args(1, &SubmitArgs::new().timespec(&limit))
            }
            Wait::No => self.poll(),
        };
        match entered {
            Ok(_) => Ok(()),
            Err(error) if matches!(error.raw_os_error(), Some(libc::ETIME | libc::EINTR | libc::EBUSY)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Enters only if there is something to submit or the kernel has deferred work for this thread.
    fn poll(&mut self) -> io::Result<usize> {
        const GETEVENTS: u32 = 1;
        let queue = self.uring.submission();
        let queued = u32::try_from(queue.len()).expect("the queue has at most SUBMISSIONS entries");
        let work = queue.taskrun() || queue.cq_overflow();
        drop(queue);
        if queued == 0 && !work {
            return Ok(0);
        }
        // SAFETY: no argument is passed to the kernel; entries are covered by `push`.
        unsafe { self.uring.submitter().enter::<libc::sigset_t>(queued, 0, GETEVENTS, None) }
    }

    fn reap(&mut self, events: &mut Vec<Event>) -> io::Result<()> {
        let Self { uring, sockets, rearm, pool, .. } = self;
        let mut again = Vec::new();
        for done in uring.completion() {
            let (tag, slot) = Tag::from_user_data(done.user_data());
            match tag {
                Tag::Accept if done.result() >= 0 => {
                    let slot = Slot(done.result().unsigned_abs());
                    sockets[slot.index()] = Socket::default();
                    again.push(Again::Receive(slot));
                    events.push(Event::Accepted(slot));
                    if !cqueue::more(done.flags()) {
                        again.push(Again::Accept);
                    }
                }
                Tag::Accept => return Err(io::Error::from_raw_os_error(-done.result())),
                Tag::Receive => {
                    let socket = &mut sockets[slot.index()];
                    socket.receiving = cqueue::more(done.flags());
                    if let Some(id) = cqueue::buffer_select(done.flags()) {
                        let len = done.result().max(0).unsigned_abs();
                        assert!(len <= pool.shape.buffer_bytes && id < pool.shape.buffers);
                        match len {
                            0 => pool.offer(id),
                            _ => events.push(Event::Received(slot, Buffer { id, len })),
                        }
                    }
                    if done.result() == -libc::ENOBUFS || (done.result() > 0 && !socket.receiving) {
                        rearm.push(slot);
                    } else if done.result() <= 0 {
                        socket.closing = true;
                        again.push(Again::Close(slot));
                    }
                }
                Tag::Send => {
                    let socket = &mut sockets[slot.index()];
                    let storage = socket.sending.take().expect("a completion belongs to a send in flight");
                    socket.sent += done.result().max(0).unsigned_abs() as usize;
                    if done.result() > 0 && socket.sent < storage.bytes().len() {
                        socket.sending = Some(storage);
                        again.push(Again::Send(slot));
                    } else if done.result() > 0 {
                        events.push(Event::Sent(slot, storage));
                    }
                    if socket.closing && socket.sending.is_none() {
                        again.push(Again::Close(slot));
                    }
                }
                // The receive ends with it, and that is what closes.
                Tag::Shutdown => {}
                Tag::Close => events.push(Event::Closed(slot)),
            }
        }
        again.into_iter().try_for_each(|next| self.follow(next))
    }

    fn follow(&mut self, next: Again) -> io::Result<()> {
        match next {
            Again::Accept => self.accept(),
            Again::Receive(slot) => self.receive(slot),
            Again::Send(slot) => self.send_rest(slot),
            Again::Close(slot) => {
                let socket = &self.sockets[slot.index()];
                if socket.sending.is_some() || socket.receiving {
                    return Ok(()); // the last of the two to complete closes
                }
                self.push(&opcode::Close::new(Fixed(slot.0)).build().user_data(Tag::Close.of(slot.0)))
            }
        }
    }
}

/// What a completion asks to be submitted next.
enum Again {
    Accept,
    Receive(Slot),
    Send(Slot),
    Close(Slot),
}

/// Which operation a completion belongs to: the upper half of `user_data`, the slot being the lower.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tag {
    Accept,
    Receive,
    Send,
    Shutdown,
    Close,
}

impl Tag {
    const ALL: [Self; 5] = [Self::Accept, Self::Receive, Self::Send, Self::Shutdown, Self::Close];

    const fn of(self, slot: u32) -> u64 {
        (self as u64) << 32 | slot as u64
    }

    #[expect(clippy::cast_possible_truncation, reason = "the halves of a word are what is wanted")]
    fn from_user_data(data: u64) -> (Self, Slot) {
        let tag = Self::ALL.get((data >> 32) as usize).copied();
        (tag.expect("only `of` makes user_data"), Slot(data as u32))
    }
}

/// The provided buffer ring: `entries` tell the kernel which buffers are free, `memory` holds their bytes.
struct Pool {
    shape: Shape,
    entries: *mut BufRingEntry,
    memory: *mut u8,
    tail: u16,
}

impl Pool {
    fn new(shape: Shape) -> Self {
        let entries = zeroed(Self::entries_layout(shape)).cast::<BufRingEntry>();
        let memory = zeroed(Self::memory_layout(shape));
        let mut pool = Self { shape, entries, memory, tail: 0 };
        (0..shape.buffers).for_each(|id| pool.offer(id));
        pool
    }

    fn bytes(&self, buffer: &Buffer) -> &[u8] {
        assert!(buffer.id < self.shape.buffers && buffer.len <= self.shape.buffer_bytes);
        // SAFETY: inside `memory` by the assert; the kernel does not write to a buffer between its completion and
        // `offer`, which consumes the `Buffer`.
        unsafe { std::slice::from_raw_parts(self.start(buffer.id), buffer.len as usize) }
    }

    fn offer(&mut self, id: u16) {
        let at = usize::from(self.tail & (self.shape.buffers - 1));
        let start = self.start(id) as u64;
        // SAFETY: `at` is masked to the ring's length; the kernel reads an entry only after the tail has passed it.
        let entry = unsafe { &mut *self.entries.add(at) };
        entry.set_addr(start);
        entry.set_len(self.shape.buffer_bytes);
        entry.set_bid(id);
        self.tail = self.tail.wrapping_add(1);
        // SAFETY: `entries` is the base of the ring; its tail is an aligned u16 that only this thread writes.
        let tail = unsafe { AtomicU16::from_ptr(BufRingEntry::tail(self.entries).cast_mut()) };
        tail.store(self.tail, Ordering::Release);
    }

    fn start(&self, id: u16) -> *mut u8 {
        assert!(id < self.shape.buffers);
        // SAFETY: inside the allocation of `buffers * buffer_bytes`.
        unsafe { self.memory.add(usize::from(id) * self.shape.buffer_bytes as usize) }
    }

    fn entries_layout(shape: Shape) -> Layout {
        page_aligned(usize::from(shape.buffers) * size_of::<BufRingEntry>())
    }

    fn memory_layout(shape: Shape) -> Layout {
        page_aligned(usize::from(shape.buffers) * shape.buffer_bytes as usize)
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        // SAFETY: both were allocated in `new` with the same layouts.
        unsafe {
            dealloc(self.entries.cast(), Self::entries_layout(self.shape));
            dealloc(self.memory, Self::memory_layout(self.shape));
        }
    }
}

fn page_aligned(bytes: usize) -> Layout {
    Layout::from_size_align(bytes, PAGE_BYTES).expect("a pool is far below isize::MAX")
}

fn zeroed(layout: Layout) -> *mut u8 {
    assert!(layout.size() > 0);
    // SAFETY: the size is not zero.
    let memory = unsafe { alloc_zeroed(layout) };
    if memory.is_null() {
        handle_alloc_error(layout);
    }
    memory
}
