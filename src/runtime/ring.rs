//! The lane's io_uring: every byte that a lane receives or sends, every accept, every wait and every wake goes through it.
//!
//! Why not glommio's sockets: they poll, then call recvfrom and sendto, five or more system calls a request; a lane that waits
//! in its own ring needs one (DESIGN 1). The ring is made on its lane's thread (SINGLE_ISSUER) and its completions are produced
//! only inside our own enter calls (DEFER_TASKRUN), so nothing interrupts a turn.
//!
//! ```text
//!   received bytes                                  sent bytes
//!   Buffers --give--> kernel                        shard's Output --send--> Sending (slab, owned here)
//!      ^                 | multishot recv                                       | SQE points into it
//!      |                 v                                                      v
//!   give_back <-- Lease in Event::Received          take_back <-- SendId in Event::Sent <-- kernel
//!                 (bytes() borrows it)                  |  `- send_rest: a partial send goes on from where it stopped
//!                                                       v
//!                                                   the lane's pool of spare outputs
//! ```
//!
//! The safe API rests on who owns what: a buffer the kernel may write is reachable only through a `Lease`, which exists only
//! between its completion and `give_back`; memory the kernel may read lies in a `Sending`, which leaves the slab only through a
//! `SendId`, which exists only between its completion and `take_back`. Neither can be copied or made elsewhere. A ring that is
//! dropped with anything in flight leaks that memory on purpose.
//!
//! Every user word carries what it is for, a number and that number's generation: a completion of a connection that has gone
//! can never be taken for one of its successor.
#![expect(unsafe_code, reason = "shared memory with the kernel; each block says why it is sound")]

mod writes;

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::io::{self, Write};
use std::net::TcpStream;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use io_uring::types::{BufRingEntry, CancelBuilder, Fd, Timespec};
use io_uring::{IoUring, Probe, cqueue, opcode, squeue};

use crate::base::slab::Slab;
use crate::wire::output::Output;
use writes::Writing;
pub(super) use writes::{Buffer, Durable, PAGE_BYTES, Page, WriteId};

/// Submission slots. A turn that needs more enters the kernel once more; 512 of 64 bytes stay in the first-level cache's shadow.
const SUBMISSIONS: u32 = 512;

/// Workers that a ring may have, of each of the kernel's two kinds.
const WORKERS_MAX: u32 = 2;

/// CPUs that a set holds.
const CPUS_MAX: usize = 8 * size_of::<libc::cpu_set_t>();

/// Which of a lane's receive buffers a receive fills; also the number of their group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pool {
    /// Requests.
    Common,
    /// Long words. They come as fast as the kernel has room for, and would leave no buffer to anybody else, nor time: each enter would copy
    /// as much as there are buffers, each turn work that off, while others' receives end for want of one.
    Long,
}

impl Pool {
    const ALL: [Self; 2] = [Self::Common, Self::Long];
}

/// One gathered send: the kernel's own limit (IOV_MAX). What is beyond goes with the next piece.
const PARTS_MAX: usize = 1024;

/// What one send gives the kernel at most: it copies all of it within the enter, during which nobody is served. A gigabyte in pieces of
/// sixteen megabytes, to a peer that reads as fast, was seen to take each enter 20 to 60 ms.
const SEND_BYTES_MAX: usize = 256 << 10;

/// Consecutive buffers start a cache line further than their size says, so that their first lines, which small requests use,
/// do not all fall into the same cache set.
const STAGGER: usize = 64;

/// The sizes of a ring.
#[derive(Clone, Copy, Debug)]
pub(super) struct RingSizes {
    /// Completion slots, at least as many as submission slots: beyond them the kernel queues on the side, which is correct but slow.
    pub(super) completions: u32,
    /// Receive buffers, and those for long words alone; powers of two.
    pub(super) buffers: u16,
    pub(super) long_buffers: u16,
    pub(super) buffer_bytes: u32,
    /// Connections whose sockets are in the ring's own file table, by their numbers: through it the kernel takes no reference to
    /// the file for each send. Those with higher numbers are reached by descriptor.
    pub(super) files: u32,
}

/// Why there is no ring. `runtime::boot` says what to do about it.
#[derive(Debug)]
pub(super) enum RingRefusal {
    /// EPERM or ENOSYS: a seccomp profile or kernel.io_uring_disabled.
    Blocked(io::Error),
    /// ENOMEM: the locked-memory limit.
    Memlock(io::Error),
    /// A feature this kernel lacks, and the Linux version that has it.
    Missing {
        feature: &'static str,
        since: &'static str,
    },
    Failed {
        what: &'static str,
        error: io::Error,
    },
}

/// Whose completion it is: a connection's number and the generation of that number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) conn: u32,
    pub(super) generation: u32,
}

impl Token {
    /// Generations wrap at 28 bits: 268 million closes of one number lie between two equal ones, and nothing of the first is in
    /// flight by then.
    pub(super) const GENERATION_MASK: u32 = (1 << 28) - 1;
}

/// A received piece: the ring's memory, lent until `give_back`.
#[derive(Debug)]
pub(super) struct Lease {
    pool: Pool,
    buffer: u16,
    len: u32,
}

/// A completed (maybe partial) send, to be answered with `take_back` or `send_rest`.
#[derive(Debug)]
pub(super) struct SendId(u32);

/// Names a send in flight, to cancel it and nothing else; worthless after its completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SendName(u32);

#[cfg(test)]
impl SendName {
    pub(super) const TEST: Self = Self(0);
}

#[derive(Debug)]
pub(super) enum RecvEnd {
    Eof,
    /// All buffers were lent out. Arm again: they are back by the end of the turn.
    NoBuffers,
    Cancelled,
    Failed,
}

#[derive(Debug)]
pub(super) enum Event {
    Accepted {
        listener: u32,
        stream: TcpStream,
        armed: bool,
    },
    AcceptEnded {
        listener: u32,
        errno: i32,
    },
    /// `armed`: the multishot receive goes on by itself.
    Received {
        token: Token,
        lease: Lease,
        armed: bool,
    },
    ReceiveEnded {
        token: Token,
        end: RecvEnd,
    },
    /// `left`: what the kernel has not taken yet; 0 when the send is complete.
    Sent {
        send: SendId,
        token: Token,
        left: usize,
    },
    SendFailed {
        send: SendId,
        token: Token,
    },
    /// `left`: what the kernel has not taken yet; 0 when the write is complete.
    Wrote {
        write: WriteId,
        left: usize,
    },
    WriteFailed {
        write: WriteId,
        errno: i32,
    },
    /// `errno`: 0 if all is on the disk.
    Synced {
        errno: i32,
    },
    /// A peer's doorbell.
    Rung,
    /// A watched descriptor became readable. One shot.
    Readable {
        watch: u32,
    },
    /// Completions that only had to happen: closes, cancels.
    Done,
}

/// What a completion is for: the top four bits of its user word.
mod op {
    pub(super) const ACCEPT: u64 = 1;
    pub(super) const RECV: u64 = 2;
    pub(super) const SEND: u64 = 3;
    pub(super) const RUNG: u64 = 4;
    pub(super) const WATCH: u64 = 5;
    pub(super) const IGNORE: u64 = 6;
    pub(super) const WRITE: u64 = 7;
    pub(super) const SYNC: u64 = 8;
    pub(super) const RECV_LONG: u64 = 9;
}

const fn word(op: u64, generation: u32, number: u32) -> u64 {
    op << 60 | (generation as u64) << 32 | number as u64
}

const fn receive_word(token: Token, pool: Pool) -> u64 {
    let op = match pool {
        Pool::Common => op::RECV,
        Pool::Long => op::RECV_LONG,
    };
    word(op, token.generation, token.conn)
}

fn generation_of(word: u64) -> u32 {
    u32::try_from(word >> 32 & u64::from(Token::GENERATION_MASK)).expect("masked")
}

pub(super) struct Ring {
    uring: IoUring,
    /// By `Pool`.
    buffers: [Buffers; 2],
    sends: Slab<Sending>,
    writes: Slab<Writing>,
    /// The descriptors in the file table. The kernel reads a place when it takes the submission that fills it.
    files: Box<[RawFd]>,
    /// Receives the kernel holds: while there is one, it may write into `buffers`.
    receiving: usize,
    entered: u64,
    enter: Enter,
}

impl Ring {
    /// Makes the ring on the calling thread, which must be the one that uses it, and proves each feature by using it once.
    pub(super) fn new(sizes: RingSizes) -> Result<Self, RingRefusal> {
        let uring = build(sizes.completions)?;
        probe(&uring)?;
        let buffers = [
            Buffers::register(&uring, Pool::Common, sizes.buffers, sizes.buffer_bytes)?,
            Buffers::register(&uring, Pool::Long, sizes.long_buffers, sizes.buffer_bytes)?,
        ];
        let enter = Enter::register(&uring);
        let (sends, writes, files) = (Slab::default(), Slab::default(), Box::default());
        let mut ring = Self { uring, buffers, sends, writes, files, receiving: 0, entered: 0, enter };
        ring.prove_multishot()?;
        // A table costs memory that the system may refuse; all goes by descriptor then.
        if sizes.files > 0 && ring.uring.submitter().register_files_sparse(sizes.files).is_ok() {
            ring.files = vec![NO_FILE; sizes.files as usize].into();
        }
        Ok(ring)
    }

    /// For `doorbell`: the address at which peers ring this lane.
    pub(super) fn fd(&self) -> RawFd {
        self.uring.as_raw_fd()
    }

    /// Times the kernel was entered.
    pub(super) fn entered(&self) -> u64 {
        self.entered
    }

    /// Accepts until told otherwise. `Event::AcceptEnded`, or `armed: false`, says that it stopped.
    pub(super) fn accept(&mut self, listener: u32, fd: RawFd) {
        let entry = opcode::AcceptMulti::new(Fd(fd)).flags(libc::SOCK_CLOEXEC).build();
        self.push(entry.user_data(word(op::ACCEPT, 0, listener)));
    }

    /// Makes the socket of a new connection known under its number, before anything else is done with it.
    pub(super) fn admit(&mut self, conn: u32, fd: RawFd) {
        if let Some(place) = self.files.get_mut(conn as usize) {
            *place = fd;
            let place = std::ptr::from_ref(place);
            self.update_files(conn, place);
        }
    }

    /// Submitted in order with what uses the table: a place that is emptied and filled again in one turn ends up filled.
    fn update_files(&mut self, conn: u32, place: *const RawFd) {
        let offset = i32::try_from(conn).expect("a table has some thousand places");
        let entry = opcode::FilesUpdate::new(place, 1).offset(offset).build();
        self.push(entry.user_data(word(op::IGNORE, 0, 0)).flags(squeue::Flags::SKIP_SUCCESS));
    }

    /// How operations name the socket of `conn`.
    #[inline]
    fn socket(&self, conn: u32, fd: RawFd) -> Socket {
        match i32::try_from(conn) {
            Ok(place) if (conn as usize) < self.files.len() => {
                Socket { fd: Fd(place), flags: squeue::Flags::FIXED_FILE }
            }
            _ => Socket { fd: Fd(fd), flags: squeue::Flags::empty() },
        }
    }

    /// Receives into the lane's buffers until told otherwise.
    pub(super) fn receive(&mut self, token: Token, fd: RawFd, pool: Pool) {
        self.receiving += 1;
        let socket = self.socket(token.conn, fd);
        let entry = opcode::RecvMulti::new(socket.fd, pool as u16).build().flags(socket.flags);
        self.push(entry.user_data(receive_word(token, pool)));
    }

    /// Ends the receive of `token` into these buffers; its end comes as `ReceiveEnded`.
    pub(super) fn cancel_receive(&mut self, token: Token, pool: Pool) {
        self.cancel(receive_word(token, pool));
    }

    /// Ends the accepts of `listener`; their end comes as `AcceptEnded`.
    pub(super) fn cancel_accept(&mut self, listener: u32) {
        self.cancel(word(op::ACCEPT, 0, listener));
    }

    /// By user word, which the kernel finds in a hash table. By descriptor it would look through all that is in flight on the
    /// ring, and cutting ten thousand readers would cost the square of that.
    fn cancel(&mut self, user: u64) {
        let target = CancelBuilder::user_data(user);
        self.push(opcode::AsyncCancel2::new(target).build().user_data(word(op::IGNORE, 0, 0)));
    }

    /// Closes a connection that was admitted. Nothing may be in flight on it: the caller waits for the ends first.
    pub(super) fn dismiss(&mut self, conn: u32, fd: OwnedFd) {
        if (conn as usize) < self.files.len() {
            self.update_files(conn, &raw const NO_FILE);
        }
        self.close(fd);
    }

    /// Closes with the turn's submission.
    pub(super) fn close(&mut self, fd: OwnedFd) {
        let entry = opcode::Close::new(Fd(fd.into_raw_fd())).build();
        self.push(entry.user_data(word(op::IGNORE, 0, 0)).flags(squeue::Flags::SKIP_SUCCESS));
    }

    /// Wakes the ring `peer`, whose lane sees `Event::Rung`. A ring that is gone hears nothing.
    pub(super) fn doorbell(&mut self, peer: RawFd) {
        let entry = opcode::MsgRingData::new(Fd(peer), 0, word(op::RUNG, 0, 0), None).build();
        self.push(entry.user_data(word(op::IGNORE, 0, 0)).flags(squeue::Flags::SKIP_SUCCESS));
    }

    /// Reports once when `fd` is readable.
    pub(super) fn watch(&mut self, watch: u32, fd: RawFd) {
        let entry = opcode::PollAdd::new(Fd(fd), libc::POLLIN as u32).build();
        self.push(entry.user_data(word(op::WATCH, 0, watch)));
    }

    /// Queues `output`, which is not empty. It belongs to the ring until `take_back`. Returns its length, and its name for
    /// `cancel_send`.
    pub(super) fn send(&mut self, token: Token, fd: RawFd, output: Output) -> (usize, SendName) {
        let sending = Sending::new(token, self.socket(token.conn, fd), output);
        let len = sending.left();
        assert!(len > 0, "an empty send would never say that it is done");
        let place = self.sends.insert(sending);
        self.push_send(place);
        (len, SendName(place))
    }

    /// Ends a send whose completion has not been seen; it comes as `SendFailed`, or as `Sent` if the kernel was faster.
    pub(super) fn cancel_send(&mut self, send: SendName) {
        self.cancel(word(op::SEND, 0, send.0));
    }

    /// Queues what a partial send left.
    pub(super) fn send_rest(&mut self, send: SendId) {
        self.push_send(send.0);
    }

    /// The output of a send that is over, emptied or not.
    pub(super) fn take_back(&mut self, send: SendId) -> Output {
        self.sends.remove(send.0).expect("a SendId names a send that has completed and was not taken back").output
    }

    pub(super) fn bytes(&self, lease: &Lease) -> &[u8] {
        self.buffers[lease.pool as usize].bytes(lease)
    }

    pub(super) fn give_back(&mut self, lease: Lease) {
        self.buffers[lease.pool as usize].give_back(lease);
    }

    /// Submits what is queued without waiting; also runs what the kernel deferred.
    pub(super) fn submit(&mut self) -> io::Result<()> {
        self.enter(0, None)
    }

    /// Submits what is queued and waits for a completion, at most `timeout`.
    pub(super) fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.enter(1, timeout)
    }

    fn enter(&mut self, want: u32, timeout: Option<Duration>) -> io::Result<()> {
        self.entered += 1;
        let queued = u32::try_from(self.uring.submission().len()).expect("the queue is small");
        forgive(self.enter.call(queued, want, timeout))
    }

    /// Whether completions are there, or deferred work that an enter would turn into some. Two loads: cheap enough to spin on.
    #[inline]
    pub(super) fn ready(&mut self) -> bool {
        let deferred = {
            let queue = self.uring.submission();
            queue.taskrun() || queue.cq_overflow()
        };
        deferred || !self.uring.completion().is_empty()
    }

    /// The completion queue was too small for a burst: the rest waits in the kernel until it is entered.
    pub(super) fn overflowed(&mut self) -> bool {
        self.uring.submission().cq_overflow()
    }

    /// The next completion that is already here.
    #[inline]
    pub(super) fn next_event(&mut self) -> Option<Event> {
        let entry = self.uring.completion().next()?;
        let user = entry.user_data();
        let number = u32::try_from(user & u64::from(u32::MAX)).expect("masked");
        let token = Token { conn: number, generation: generation_of(user) };
        Some(match user >> 60 {
            op::RECV => self.received(token, Pool::Common, entry.result(), entry.flags()),
            op::RECV_LONG => self.received(token, Pool::Long, entry.result(), entry.flags()),
            op::SEND => self.sent(number, entry.result()),
            op::ACCEPT => accepted(number, entry.result(), cqueue::more(entry.flags())),
            op::RUNG => Event::Rung,
            op::WATCH => Event::Readable { watch: number },
            op::WRITE => self.wrote(number, entry.result()),
            op::SYNC => Event::Synced { errno: (-entry.result()).max(0) },
            _ => Event::Done,
        })
    }

    fn received(&mut self, token: Token, pool: Pool, result: i32, flags: u32) -> Event {
        let armed = cqueue::more(flags);
        if !armed {
            self.receiving -= 1;
        }
        let lease = cqueue::buffer_select(flags).map(|buffer| self.buffers[pool as usize].lend(buffer, result));
        match (result, lease) {
            (1.., Some(lease)) => Event::Received { token, lease, armed },
            (0, lease) => {
                if let Some(lease) = lease {
                    self.give_back(lease);
                }
                Event::ReceiveEnded { token, end: RecvEnd::Eof }
            }
            (failure, lease) => {
                if let Some(lease) = lease {
                    self.give_back(lease);
                }
                let end = match -failure {
                    libc::ENOBUFS => RecvEnd::NoBuffers,
                    libc::ECANCELED => RecvEnd::Cancelled,
                    _ => RecvEnd::Failed,
                };
                Event::ReceiveEnded { token, end }
            }
        }
    }

    fn sent(&mut self, place: u32, result: i32) -> Event {
        let sending = self.sends.get_mut(place).expect("the kernel completes only sends that are in flight");
        let token = sending.token;
        match result {
            0.. => {
                sending.sent += result as usize;
                Event::Sent { send: SendId(place), token, left: sending.left() }
            }
            _ if -result == libc::EINTR => Event::Sent { send: SendId(place), token, left: sending.left() },
            _ => Event::SendFailed { send: SendId(place), token },
        }
    }

    fn push_send(&mut self, place: u32) {
        let sending = self.sends.get_mut(place).expect("queued sends are in the slab");
        let entry = sending.entry().flags(sending.socket.flags);
        self.push(entry.user_data(word(op::SEND, 0, place)));
    }

    #[inline]
    fn push(&mut self, entry: squeue::Entry) {
        // SAFETY: every entry's memory outlives it: receives use the registered buffers, sends and writes the `Sending` or
        // `Writing` that stays in its slab until its completion, file updates a place of `files` or a static, everything else only numbers.
        while unsafe { self.uring.submission().push(&entry) }.is_err() {
            self.submit().expect("a ring that was proven at start takes submissions");
        }
    }

    /// Workers of the ring, which do what must block (syncs, writes through the page cache), keep to these CPUs, and are few: one write is in flight
    /// at a time. A kernel that cannot be told lets them be.
    pub(super) fn bound_workers(&self, cpus: &[usize]) {
        let submitter = self.uring.submitter();
        let _ = submitter.register_iowq_max_workers(&mut [WORKERS_MAX; 2]);
        // SAFETY: a set of bits, for which all zero is the empty one; CPU_SET stays within it for numbers that the kernel gave.
        let set = unsafe {
            let mut set = std::mem::zeroed::<libc::cpu_set_t>();
            cpus.iter().filter(|cpu| **cpu < CPUS_MAX).for_each(|cpu| libc::CPU_SET(*cpu, &mut set));
            set
        };
        let _ = submitter.register_iowq_aff(&set);
    }

    /// Receives two bytes over a socket pair and hears its own doorbell: what is missing shows here, not under load.
    fn prove_multishot(&mut self) -> Result<(), RingRefusal> {
        let failed = |error| RingRefusal::Failed { what: "trying the ring on a socket pair", error };
        let (mut near, far) = UnixStream::pair().map_err(failed)?;
        let token = Token { conn: 0, generation: 0 };
        near.write_all(b"x").map_err(failed)?;
        self.receive(token, far.as_raw_fd(), Pool::Common);
        match self.proof().map_err(failed)? {
            Event::Received { lease, armed: true, .. } => {
                let same = self.bytes(&lease) == b"x";
                self.give_back(lease);
                assert!(same, "the kernel put other bytes into the buffer than were written");
            }
            _ => return Err(RingRefusal::Missing { feature: "multishot receive", since: "6.0" }),
        }
        drop(near);
        while !matches!(self.proof().map_err(failed)?, Event::ReceiveEnded { .. }) {}
        let own = self.fd();
        self.doorbell(own);
        match self.proof().map_err(failed)? {
            Event::Rung => Ok(()),
            _ => Err(RingRefusal::Missing { feature: "IORING_OP_MSG_RING", since: "5.18" }),
        }
    }

    fn proof(&mut self) -> io::Result<Event> {
        loop {
            match self.next_event() {
                Some(Event::Done) => {}
                Some(event) => return Ok(event),
                None => self.wait(None)?,
            }
        }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        if self.receiving > 0 {
            std::mem::forget(std::mem::replace(&mut self.buffers, Pool::ALL.map(Buffers::none)));
        }
        if !self.sends.is_empty() {
            std::mem::forget(std::mem::take(&mut self.sends));
        }
        if !self.writes.is_empty() {
            std::mem::forget(std::mem::take(&mut self.writes));
        }
    }
}

/// The enter call. Through a registered descriptor it saves the kernel a look-up and two atomic operations on the file, which
/// `io_uring`'s own calls do only for a `Submitter` that is kept.
struct Enter {
    fd: RawFd,
    flags: libc::c_uint,
}

impl Enter {
    const GETEVENTS: libc::c_uint = 1;
    const EXT_ARG: libc::c_uint = 1 << 3;
    const REGISTERED_RING: libc::c_uint = 1 << 4;
    const REGISTER_RING_FDS: libc::c_uint = 20;

    /// Falls back to the plain descriptor: it is only a little slower.
    fn register(uring: &IoUring) -> Self {
        /// `struct io_uring_rsrc_update`.
        #[repr(C)]
        struct Update {
            offset: u32,
            reserved: u32,
            data: u64,
        }
        let fd = uring.as_raw_fd();
        let mut update =
            Update { offset: u32::MAX, reserved: 0, data: u64::try_from(fd).expect("descriptors are positive") };
        // SAFETY: the kernel reads and writes one record of the shape it expects, which outlives the call.
        let registered =
            unsafe { libc::syscall(libc::SYS_io_uring_register, fd, Self::REGISTER_RING_FDS, &raw mut update, 1) };
        match i32::try_from(update.offset) {
            Ok(index) if registered == 1 => Self { fd: index, flags: Self::REGISTERED_RING },
            _ => Self { fd, flags: 0 },
        }
    }

    /// Submits `queued` entries, runs deferred work, waits for `want` completions, at most `timeout`.
    #[inline]
    fn call(&self, queued: u32, want: u32, timeout: Option<Duration>) -> io::Result<()> {
        /// `struct io_uring_getevents_arg`.
        #[repr(C)]
        struct Args {
            sigmask: u64,
            sigmask_bytes: u32,
            min_wait_us: u32,
            timeout: u64,
        }
        let span = timeout.map(Timespec::from);
        let timeout = span.as_ref().map_or(0, |span| std::ptr::from_ref(span) as u64);
        let args = Args { sigmask: 0, sigmask_bytes: 0, min_wait_us: 0, timeout };
        let flags = self.flags | Self::GETEVENTS | Self::EXT_ARG;
        // SAFETY: `args` and the time it points to outlive the call; the queue's entries are the caller's, see `Ring::push`.
        let result = unsafe {
            libc::syscall(libc::SYS_io_uring_enter, self.fd, queued, want, flags, &raw const args, size_of::<Args>())
        };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

/// What enter may say without anything being wrong: the time is up, a signal came, completions must be reaped first.
fn forgive(entered: io::Result<()>) -> io::Result<()> {
    match entered {
        Ok(()) => Ok(()),
        Err(error) => match error.raw_os_error() {
            Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN) => Ok(()),
            _ => Err(error),
        },
    }
}

fn accepted(listener: u32, result: i32, armed: bool) -> Event {
    if result < 0 {
        return Event::AcceptEnded { listener, errno: -result };
    }
    // SAFETY: a non-negative result of accept is a new descriptor that nobody else has.
    let stream = TcpStream::from(unsafe { OwnedFd::from_raw_fd(result) });
    Event::Accepted { listener, stream, armed }
}

fn build(completions: u32) -> Result<IoUring, RingRefusal> {
    assert!(completions >= SUBMISSIONS, "the kernel's rule");
    let mut builder = IoUring::builder();
    builder.setup_cqsize(completions).setup_clamp().setup_submit_all().setup_coop_taskrun().setup_taskrun_flag();
    builder.setup_single_issuer().setup_defer_taskrun().dontfork();
    let error = match builder.build(SUBMISSIONS) {
        Ok(uring) => return Ok(uring),
        Err(error) => error,
    };
    Err(match error.raw_os_error() {
        Some(libc::EPERM | libc::ENOSYS | libc::EACCES) => RingRefusal::Blocked(error),
        Some(libc::ENOMEM) => RingRefusal::Memlock(error),
        Some(libc::EINVAL) => RingRefusal::Missing { feature: first_missing_flag(), since: "6.1" },
        _ => RingRefusal::Failed { what: "making an io_uring", error },
    })
}

/// Tries the set-up flags one after the other, oldest first, to name the first that this kernel refuses.
fn first_missing_flag() -> &'static str {
    type Flag = (&'static str, fn(&mut io_uring::Builder));
    let flags: [Flag; 5] = [
        ("IORING_SETUP_SUBMIT_ALL", |b| _ = b.setup_submit_all()),
        ("IORING_SETUP_COOP_TASKRUN", |b| _ = b.setup_coop_taskrun()),
        ("IORING_SETUP_TASKRUN_FLAG", |b| _ = b.setup_taskrun_flag()),
        ("IORING_SETUP_SINGLE_ISSUER", |b| _ = b.setup_single_issuer()),
        ("IORING_SETUP_DEFER_TASKRUN", |b| _ = b.setup_defer_taskrun()),
    ];
    let mut builder = IoUring::builder();
    for (name, set) in flags {
        set(&mut builder);
        if builder.build(8).is_err() {
            return name;
        }
    }
    "a large completion queue"
}

fn probe(uring: &IoUring) -> Result<(), RingRefusal> {
    let params = uring.params();
    let features = [
        (params.is_feature_nodrop(), "IORING_FEAT_NODROP", "5.5"),
        (params.is_feature_fast_poll(), "IORING_FEAT_FAST_POLL", "5.7"),
        (params.is_feature_submit_stable(), "IORING_FEAT_SUBMIT_STABLE", "5.5"),
        (params.is_feature_ext_arg(), "IORING_FEAT_EXT_ARG", "5.11"),
        (params.is_feature_skip_cqe_on_success(), "IORING_FEAT_CQE_SKIP", "5.17"),
    ];
    let mut known = Probe::new();
    uring
        .submitter()
        .register_probe(&mut known)
        .map_err(|_| RingRefusal::Missing { feature: "IORING_REGISTER_PROBE", since: "5.6" })?;
    let ops = [
        (opcode::AcceptMulti::CODE, "IORING_OP_ACCEPT", "5.5"),
        (opcode::RecvMulti::CODE, "IORING_OP_RECV", "5.6"),
        (opcode::Send::CODE, "IORING_OP_SEND", "5.6"),
        (opcode::SendMsg::CODE, "IORING_OP_SENDMSG", "5.3"),
        (opcode::PollAdd::CODE, "IORING_OP_POLL_ADD", "5.1"),
        (opcode::Close::CODE, "IORING_OP_CLOSE", "5.6"),
        (opcode::FilesUpdate::CODE, "IORING_OP_FILES_UPDATE", "5.6"),
        (opcode::AsyncCancel2::CODE, "IORING_OP_ASYNC_CANCEL", "5.5"),
        (opcode::MsgRingData::CODE, "IORING_OP_MSG_RING", "5.18"),
        (opcode::Write::CODE, "IORING_OP_WRITE", "5.6"),
        (opcode::Fsync::CODE, "IORING_OP_FSYNC", "5.1"),
    ];
    let ops = ops.map(|(code, name, since)| (known.is_supported(code), name, since));
    match features.into_iter().chain(ops).find(|(there, ..)| !there) {
        Some((_, feature, since)) => Err(RingRefusal::Missing { feature, since }),
        None => Ok(()),
    }
}

/// A socket as an entry names it: by descriptor, or by its place in the file table.
#[derive(Clone, Copy)]
struct Socket {
    fd: Fd,
    flags: squeue::Flags,
}

/// What a place of the file table holds when it holds nothing.
static NO_FILE: RawFd = -1;

/// An output on its way out. Its heap memory does not move while it is in the slab, wherever the slab puts the value itself.
struct Sending {
    token: Token,
    socket: Socket,
    sent: usize,
    total: usize,
    output: Output,
    gather: Option<Box<Gather>>,
}

/// The kernel reads header and parts while it takes the submission, the bytes behind them until the completion.
struct Gather {
    header: libc::msghdr,
    parts: Vec<libc::iovec>,
}

impl Sending {
    fn new(token: Token, socket: Socket, output: Output) -> Self {
        let total = output.len();
        Self { token, socket, sent: 0, total, output, gather: None }
    }

    fn left(&self) -> usize {
        self.total - self.sent
    }

    fn entry(&mut self) -> squeue::Entry {
        if self.output.shared.is_empty() {
            let rest = self.output.bytes.get(self.sent..).unwrap_or_default();
            let len = u32::try_from(rest.len().min(SEND_BYTES_MAX)).expect("bounded");
            return opcode::Send::new(self.socket.fd, rest.as_ptr(), len).build();
        }
        let parts = bounded(gather(&self.output, self.sent));
        // SAFETY: msghdr is plain numbers and pointers, for which zero means absent.
        let header = unsafe { std::mem::zeroed::<libc::msghdr>() };
        let boxed = self.gather.insert(Box::new(Gather { header, parts }));
        boxed.header.msg_iov = boxed.parts.as_mut_ptr();
        boxed.header.msg_iovlen = boxed.parts.len();
        opcode::SendMsg::new(self.socket.fd, &raw const boxed.header).build()
    }
}

/// The first pieces of `output` in the order they go out, without `skip` bytes.
fn gather(output: &Output, skip: usize) -> Vec<libc::iovec> {
    let mut parts = Vec::with_capacity((output.shared.len() * 2 + 1).min(PARTS_MAX));
    let mut skip = skip;
    let mut from = 0;
    for splice in output.shared.iter() {
        if parts.len() >= PARTS_MAX {
            return parts;
        }
        let (text, len) = (&output.bytes[from..splice.at], splice.value.len());
        parts.extend(text.get(skip..).filter(|text| !text.is_empty()).map(part));
        skip = skip.saturating_sub(text.len());
        if skip < len {
            let room = PARTS_MAX - parts.len();
            parts.extend(splice.value.pieces(skip).take(room).map(part));
        }
        skip = skip.saturating_sub(len);
        from = splice.at;
    }
    if parts.len() < PARTS_MAX {
        parts.extend(output.bytes[from..].get(skip..).filter(|text| !text.is_empty()).map(part));
    }
    parts
}

/// As many of the parts as one send may have, the last of them cut.
fn bounded(mut parts: Vec<libc::iovec>) -> Vec<libc::iovec> {
    let mut room = SEND_BYTES_MAX;
    for part in &mut parts {
        part.iov_len = part.iov_len.min(room);
        room -= part.iov_len;
    }
    parts.retain(|part| part.iov_len > 0);
    parts
}

fn part(piece: &[u8]) -> libc::iovec {
    libc::iovec { iov_base: piece.as_ptr().cast_mut().cast(), iov_len: piece.len() }
}

/// The provided buffers: a ring of entries shared with the kernel, and the memory they point to.
struct Buffers {
    pool: Pool,
    entries: *mut BufRingEntry,
    memory: *mut u8,
    count: u16,
    bytes: u32,
    tail: u16,
}

impl Buffers {
    fn none(pool: Pool) -> Self {
        Self { pool, entries: std::ptr::null_mut(), memory: std::ptr::null_mut(), count: 0, bytes: 0, tail: 0 }
    }

    fn register(uring: &IoUring, pool: Pool, count: u16, bytes: u32) -> Result<Self, RingRefusal> {
        assert!(count.is_power_of_two() && count <= 1 << 15, "the kernel's rule for a buffer ring");
        let mut buffers = Self::none(pool);
        buffers.count = count;
        buffers.bytes = bytes;
        buffers.entries = allocate(buffers.entries_layout()).cast();
        buffers.memory = allocate(buffers.memory_layout());
        // SAFETY: page-aligned, zeroed memory for `count` entries that lives as long as the ring (`Ring` owns both and leaks this
        // one if the kernel may still use it).
        let registered =
            unsafe { uring.submitter().register_buf_ring_with_flags(buffers.entries as u64, count, pool as u16, 0) };
        registered.map_err(|error| match error.raw_os_error() {
            Some(libc::EINVAL) => RingRefusal::Missing { feature: "provided buffer rings", since: "5.19" },
            Some(libc::ENOMEM) => RingRefusal::Memlock(error),
            _ => RingRefusal::Failed { what: "registering receive buffers", error },
        })?;
        for buffer in 0..count {
            buffers.offer(buffer);
        }
        Ok(buffers)
    }

    fn stride(&self) -> usize {
        self.bytes as usize + STAGGER
    }

    fn entries_layout(&self) -> Layout {
        Layout::from_size_align(usize::from(self.count) * size_of::<BufRingEntry>(), 4096).expect("a few kilobytes")
    }

    fn memory_layout(&self) -> Layout {
        Layout::from_size_align(usize::from(self.count) * self.stride(), 4096).expect("a few megabytes")
    }

    fn lend(&self, buffer: u16, result: i32) -> Lease {
        let len = u32::try_from(result).unwrap_or(0);
        assert!(
            buffer < self.count && len <= self.bytes,
            "the kernel fills only buffers it was given, to their end at most"
        );
        Lease { pool: self.pool, buffer, len }
    }

    fn bytes(&self, lease: &Lease) -> &[u8] {
        let at = usize::from(lease.buffer) * self.stride();
        // SAFETY: `lend` checked that the range lies in this buffer; the kernel has filled it and does not touch it again
        // before `give_back`, which takes the lease away.
        unsafe { std::slice::from_raw_parts(self.memory.add(at), lease.len as usize) }
    }

    fn give_back(&mut self, lease: Lease) {
        self.offer(lease.buffer);
    }

    /// Puts a buffer at the tail of the kernel's ring.
    fn offer(&mut self, buffer: u16) {
        let slot = self.tail & (self.count - 1);
        // SAFETY: `slot < count` and `buffer < count`, so both pointers stay inside their allocations; the kernel reads entries
        // only below the tail, which is stored after the entry (release). Entry 0's last field is that tail: the setters
        // leave it alone.
        unsafe {
            let entry = &mut *self.entries.add(usize::from(slot));
            entry.set_addr(self.memory.add(usize::from(buffer) * self.stride()) as u64);
            entry.set_len(self.bytes);
            entry.set_bid(buffer);
            self.tail = self.tail.wrapping_add(1);
            let tail = BufRingEntry::tail(self.entries).cast::<AtomicU16>();
            (*tail).store(self.tail, Ordering::Release);
        }
    }
}

impl Drop for Buffers {
    fn drop(&mut self) {
        if self.count == 0 {
            return;
        }
        // SAFETY: both were allocated with these layouts; `Ring::drop` came first and kept them if anything was in flight.
        unsafe {
            dealloc(self.entries.cast(), self.entries_layout());
            dealloc(self.memory, self.memory_layout());
        }
    }
}

fn allocate(layout: Layout) -> *mut u8 {
    // SAFETY: no layout here is of size zero.
    let memory = unsafe { alloc_zeroed(layout) };
    if memory.is_null() {
        handle_alloc_error(layout);
    }
    memory
}
