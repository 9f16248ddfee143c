//! The few system calls that neither the standard library nor the ring offers: signals and events as descriptors, the
//! monotonic clock, the scheduler's count. Each a safe function of one call.
#![expect(unsafe_code, reason = "libc calls; each block says why it is sound")]

use std::ffi::{CStr, c_char, c_void};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::FromRawFd;

use crate::admin::process::Allocator;

/// Bytes from the kernel that nobody can guess, at most 256. It takes no descriptor, of which there may be none left.
pub(super) fn random_bytes<const N: usize>() -> Result<[u8; N], String> {
    const { assert!(N <= 256, "more may come in parts") };
    let mut bytes = [0; N];
    // SAFETY: the kernel writes at most the N bytes that are there.
    let len = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), N, 0) };
    if usize::try_from(len) == Ok(N) {
        return Ok(bytes);
    }
    Err(format!("the kernel gives no random bytes ({})", io::Error::last_os_error()))
}

/// An eventfd that every lane watches: once it is readable it stays so, and each lane sees it.
pub(super) fn eventfd() -> io::Result<File> {
    // SAFETY: no pointers; a non-negative result is a new descriptor that nobody else has.
    unsafe {
        let fd = libc::eventfd(0, libc::EFD_CLOEXEC);
        if fd < 0 { Err(io::Error::last_os_error()) } else { Ok(File::from_raw_fd(fd)) }
    }
}

/// Blocks SIGTERM and SIGINT for this thread and all it starts, and turns them into a readable descriptor; ignores SIGHUP.
pub(super) fn signalfd() -> io::Result<File> {
    // SAFETY: the set is initialised by sigemptyset before use; a non-negative result is a new descriptor of ours alone.
    unsafe {
        let mut set = std::mem::zeroed::<libc::sigset_t>();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGTERM);
        libc::sigaddset(&raw mut set, libc::SIGINT);
        // A terminal that closes is no reason to end, as in Redis.
        libc::signal(libc::SIGHUP, libc::SIG_IGN);
        let refused = libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
        if refused != 0 {
            return Err(io::Error::from_raw_os_error(refused));
        }
        let fd = libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC);
        if fd < 0 { Err(io::Error::last_os_error()) } else { Ok(File::from_raw_fd(fd)) }
    }
}

/// Turns transparent huge pages off for this process. Clearing two megabytes on a first touch holds a lane for milliseconds
/// where clearing four kilobytes takes a microsecond.
pub(super) fn disable_huge_pages() -> io::Result<()> {
    // SAFETY: no pointers; the unused arguments are zero as the call demands.
    let refused = unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, 1, 0, 0, 0) };
    if refused == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// When freed memory goes back to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purge {
    /// As it becomes free, piece by piece: while a lane frees what a flush or a large value left.
    AtOnce,
    /// Rarely: what a growing table leaves is taken again soon, and a page given back costs a fault each.
    Lazily,
}

/// The calling thread works when nobody else wants to.
pub(super) fn lower_priority() {
    const LOWEST: libc::c_int = 19;
    // SAFETY: sets a number of this thread; what comes of it does not matter.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, LOWEST) };
}

/// For the whole process; lanes that want different things at a time cost each other some page faults, nothing else.
pub(super) fn set_purge(purge: Purge) {
    let delay_ms = match purge {
        Purge::AtOnce => 0,
        Purge::Lazily => 1000,
    };
    // SAFETY: sets a number inside the allocator; the option exists in the version that is compiled in.
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, delay_ms) }
}

/// What MEMORY asks of it.
pub(super) const ALLOCATOR: Allocator = Allocator { report: allocator_report, purge: give_back_memory };

/// Takes as long as there are free pages of this thread.
fn give_back_memory() {
    // SAFETY: looks through the calling thread's own heap.
    unsafe { libmimalloc_sys::mi_collect(true) }
}

fn allocator_report() -> String {
    extern "C" fn keep(line: *const c_char, text: *mut c_void) {
        // SAFETY: the allocator passes on the string below, which nobody else holds meanwhile, and a line of its own that ends in zero.
        let (line, text) = unsafe { (CStr::from_ptr(line), &mut *text.cast::<String>()) };
        text.push_str(&line.to_string_lossy());
    }
    let mut text = String::new();
    // SAFETY: `keep` is called with `text` and only before this returns.
    unsafe { libmimalloc_sys::mi_stats_print_out(Some(keep), (&raw mut text).cast()) };
    text
}

/// `mi_option_purge_delay` of mimalloc 2, which the bindings do not name.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;

/// Which signal a readable signalfd holds.
pub(super) fn signal_name(signals: &mut File) -> &'static str {
    let mut record = [0_u8; size_of::<libc::signalfd_siginfo>()];
    let number = match signals.read(&mut record) {
        Ok(_) => u32::from_ne_bytes([record[0], record[1], record[2], record[3]]),
        Err(_) => 0,
    };
    match i32::try_from(number) {
        Ok(libc::SIGINT) => "SIGINT",
        Ok(libc::SIGTERM) => "SIGTERM",
        _ => "a signal",
    }
}

/// Times this thread was put off its core although it wanted to run.
pub(super) fn involuntary_switches() -> u64 {
    // SAFETY: the kernel fills the record, which outlives the call.
    unsafe {
        let mut usage = std::mem::zeroed::<libc::rusage>();
        libc::getrusage(libc::RUSAGE_THREAD, &raw mut usage);
        u64::try_from(usage.ru_nivcsw).unwrap_or(0)
    }
}

/// Nanoseconds of CLOCK_MONOTONIC.
pub(super) fn monotonic_ns() -> u64 {
    read_clock(libc::CLOCK_MONOTONIC)
}

/// Processor time of the calling thread: a system call, unlike the other.
pub(super) fn thread_cpu_ns() -> u64 {
    read_clock(libc::CLOCK_THREAD_CPUTIME_ID)
}

fn read_clock(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel fills the record, which outlives the call.
    let refused = unsafe { libc::clock_gettime(clock, &raw mut time) };
    assert_eq!(refused, 0, "Linux has the clock");
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Raises the soft limit of open files to `wanted` as far as the hard limit allows, and returns what it is now.
pub(super) fn raise_open_files(wanted: u64) -> u64 {
    let limit = limit_of(libc::RLIMIT_NOFILE);
    if limit.rlim_cur >= wanted {
        return limit.rlim_cur;
    }
    let raised = libc::rlimit { rlim_cur: wanted.min(limit.rlim_max), ..limit };
    // SAFETY: the kernel reads the record, which outlives the call.
    let refused = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const raised) };
    if refused == 0 { raised.rlim_cur } else { limit.rlim_cur }
}

/// How much memory this process may lock.
pub(super) fn memlock_bytes() -> u64 {
    limit_of(libc::RLIMIT_MEMLOCK).rlim_cur
}

fn limit_of(resource: libc::__rlimit_resource_t) -> libc::rlimit {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the kernel fills the record, which outlives the call.
    unsafe { libc::getrlimit(resource, &raw mut limit) };
    limit
}
