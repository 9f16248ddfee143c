//! How every lane learns that the server stops, whoever says so: an eventfd that all lanes watch in their rings. It becomes
//! readable once and stays so, so no lane can miss it and nobody needs to know who else listens.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;

use super::sys;

/// Stops all lanes that watch it, as SIGTERM does.
#[derive(Clone, Debug)]
pub struct Stopper(Arc<File>);

impl Stopper {
    /// # Errors
    /// When the process has no descriptors left.
    pub fn new() -> io::Result<Self> {
        Ok(Self(Arc::new(sys::eventfd()?)))
    }

    pub fn stop(&self) {
        (&*self.0).write_all(&1_u64.to_ne_bytes()).expect("an eventfd takes a few small numbers");
    }

    pub(super) fn fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}
