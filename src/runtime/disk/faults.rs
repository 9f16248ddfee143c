//! Failures on purpose, for tests: in a build with assertions, one of the operations that go through here fails, by `CORELANE_DISK`:
//!
//! ```text
//!  keeper-fails:N      the Nth of the directory's keeper (`vault.rs`): nothing of it was done, and the disk is said to be full
//!  keeper-fails-late:N   all of it was done, and an error is reported
//!  maker-fails:N, maker-fails-late:N     the same of who makes segments (`segments.rs`)
//! ```

use std::io;

use super::wished;

#[derive(Debug)]
pub(in crate::runtime) struct Faults {
    /// Which operation fails, if one is to.
    at: Option<u32>,
    is_late: bool,
    operations: u32,
}

impl Faults {
    /// Those that this build is to have for `who`.
    pub(in crate::runtime) fn of_build(who: &str) -> Self {
        let (name, at) = wished();
        let how = name.strip_prefix(who).unwrap_or_default();
        let is_late = how == "-fails-late";
        Self { at: (is_late || how == "-fails").then_some(at), is_late, operations: 0 }
    }

    pub(in crate::runtime) fn operate<R>(&mut self, run: impl FnOnce() -> io::Result<R>) -> io::Result<R> {
        self.operations += 1;
        let fails = self.at == Some(self.operations);
        if fails && !self.is_late {
            return Err(io::Error::from_raw_os_error(libc::ENOSPC));
        }
        let done = run()?;
        if fails { Err(io::Error::from_raw_os_error(libc::EIO)) } else { Ok(done) }
    }
}
