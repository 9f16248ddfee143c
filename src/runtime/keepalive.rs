//! TCP keepalive of a listening socket. The connections it accepts inherit it, so that an accept costs no further system call.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};

/// How long a connection may be silent before the kernel asks whether its peer still lives; `None`: never asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keepalive(Option<Duration>);

/// The kernel's bound on both of its times.
const SECS_MAX: u64 = 32_767;

impl Keepalive {
    /// `tcp-keepalive` in seconds; 0 turns it off.
    pub fn of(secs: i64) -> Self {
        let secs = u64::try_from(secs).unwrap_or(0).min(SECS_MAX);
        Self((secs > 0).then(|| Duration::from_secs(secs)))
    }

    /// First probe after the interval, then three at a third of it, as Redis sets them.
    pub(super) fn set(self, socket: &impl AsFd) -> io::Result<()> {
        let socket = SockRef::from(socket);
        let Some(interval) = self.0 else { return socket.set_keepalive(false) };
        let third = (interval / 3).max(Duration::from_secs(1));
        socket.set_keepalive(true)?;
        socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(interval).with_interval(third).with_retries(3))
    }
}
