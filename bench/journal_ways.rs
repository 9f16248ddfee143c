//! Three ways to bring a write of the journal to the disk, through one ring, one at a time as a lane does.
//!
//! ```text
//!  cargo bench --bench journal_ways -- DIR
//! ```
//!
//! Printed per way and size: the median and p99 in microseconds from submission to durability, and the processor time this thread spent for each.
//!
//! - `append + fdatasync`: a write at the end of the file, linked with an fdatasync
//! - `append dsync`: the same as one write with RWF_DSYNC
//! - `recycled + fdatasync`: into a file whose blocks were written before, so that no metadata changes
//! - `recycled direct dsync`: the same with O_DIRECT and RWF_DSYNC, past the page cache

#![expect(unsafe_code, clippy::disallowed_methods, clippy::cast_possible_truncation, reason = "a measurement")]

use std::alloc::{Layout, alloc_zeroed};
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use io_uring::{IoUring, opcode, squeue, types};

const FILE_BYTES: u64 = 256 << 20;
const BLOCK: usize = 4096;
const FOR: Duration = Duration::from_secs(2);
const DSYNC: i32 = 2;

#[derive(Clone, Copy)]
struct Way {
    name: &'static str,
    recycled: bool,
    direct: bool,
    linked: bool,
}

const WAYS: [Way; 4] = [
    Way { name: "append + fdatasync", recycled: false, direct: false, linked: true },
    Way { name: "append dsync", recycled: false, direct: false, linked: false },
    Way { name: "recycled + fdatasync", recycled: true, direct: false, linked: true },
    Way { name: "recycled direct dsync", recycled: true, direct: true, linked: false },
];

fn main() {
    let Some(dir) = std::env::args().skip(1).find(|arg| !arg.starts_with('-')) else { return };
    let path = Path::new(&dir).join("corelane-journal-ways.tmp");
    for bytes in [512, 4 << 10, 64 << 10, 512 << 10] {
        for way in WAYS {
            let mut lags = run(&path, way, bytes);
            let cpu_us = lags.1 / lags.0.len() as f64;
            lags.0.sort_unstable();
            let at = |part: f64| lags.0[((lags.0.len() - 1) as f64 * part) as usize].as_micros();
            println!(
                "{:>7} bytes  {:<22} {:>6} writes  p50 {:>6} us  p99 {:>6} us  cpu {:>5.1} us",
                bytes,
                way.name,
                lags.0.len(),
                at(0.5),
                at(0.99),
                cpu_us
            );
        }
    }
    let _ = std::fs::remove_file(&path);
}

fn run(path: &Path, way: Way, bytes: usize) -> (Vec<Duration>, f64) {
    let file = open(path, way);
    let len = if way.direct { bytes.next_multiple_of(BLOCK) } else { bytes };
    let buffer = aligned(len);
    let mut ring = IoUring::new(8).expect("a ring");
    let (started, cpu) = (Instant::now(), cpu_us());
    let (mut lags, mut at) = (Vec::new(), 0_u64);
    while started.elapsed() < FOR {
        let begun = Instant::now();
        let fd = types::Fd(file.as_raw_fd());
        let flags = if way.linked { 0 } else { DSYNC };
        let mut write =
            opcode::Write::new(fd, buffer, u32::try_from(len).expect("small")).offset(at).rw_flags(flags).build();
        if way.linked {
            write = write.flags(squeue::Flags::IO_LINK);
        }
        push(&mut ring, &write);
        if way.linked {
            push(&mut ring, &opcode::Fsync::new(fd).flags(types::FsyncFlags::DATASYNC).build());
        }
        let expected = 1 + usize::from(way.linked);
        ring.submit_and_wait(expected).expect("to wait");
        ring.completion().for_each(|done| assert!(done.result() >= 0, "{}", done.result()));
        lags.push(begun.elapsed());
        at += len as u64;
        if way.recycled && at + len as u64 > FILE_BYTES {
            at = 0;
        }
    }
    (lags, cpu_us() - cpu)
}

fn open(path: &Path, way: Way) -> File {
    let _ = std::fs::remove_file(path);
    if way.recycled {
        let mut file = File::create(path).expect("a file");
        let zeroes = vec![1; 1 << 20];
        (0..FILE_BYTES >> 20).for_each(|_| file.write_all(&zeroes).expect("room"));
        file.sync_all().expect("to sync");
    }
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false);
    if way.direct {
        options.custom_flags(libc::O_DIRECT);
    }
    options.open(path).expect("to open")
}

/// Lives for the run of the program.
fn aligned(len: usize) -> *const u8 {
    let layout = Layout::from_size_align(len, BLOCK).expect("a layout");
    // SAFETY: the layout is not empty.
    unsafe { alloc_zeroed(layout) }
}

fn push(ring: &mut IoUring, entry: &squeue::Entry) {
    // SAFETY: the buffer lives for the run of the program.
    unsafe { ring.submission().push(entry) }.expect("room");
}

fn cpu_us() -> f64 {
    let mut usage = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel fills the record.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut usage) };
    usage.tv_sec as f64 * 1e6 + usage.tv_nsec as f64 / 1e3
}
