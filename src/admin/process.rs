//! Facts that only the kernel knows. The runtime reads them when INFO asks; nothing below it does.

/// The allocator of the process, handed in by whoever chose it.
#[derive(Clone, Copy, Debug)]
pub struct Allocator {
    /// What it tells about itself.
    pub report: fn() -> String,
    /// Gives back to the kernel what the calling thread does not use.
    pub purge: fn(),
}

impl Allocator {
    /// Tells nothing and keeps everything.
    pub const PLAIN: Self = Self { report: String::new, purge: || {} };
}

/// One reading.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Process {
    /// Resident memory of the whole process, bytes.
    pub rss_bytes: u64,
    /// The most it ever was.
    pub rss_peak_bytes: u64,
    pub cpu_user_us: u64,
    pub cpu_sys_us: u64,
    /// Memory of the machine, bytes.
    pub system_bytes: u64,
}
