//! Facts that only the kernel knows. The runtime reads them when INFO asks; nothing below it does.

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
