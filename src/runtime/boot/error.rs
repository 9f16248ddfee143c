//! Why a server does not start, in one line that says what to do.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::runtime::log::plain;
use crate::runtime::ring::RingRefusal;

/// Why the server did not start (or stopped): one line that says what to do.
#[derive(Debug)]
pub enum BootError {
    RingBlocked(io::Error),
    RingMemory(io::Error),
    FeatureMissing { feature: &'static str, since: &'static str },
    Cpu { cpu: usize, allowed: Vec<usize> },
    Lanes,
    ShardPortsBeyondEnd { first: u16, lanes: usize },
    ShardPortIsPort { port: u16, lane: usize },
    PortInUse { address: SocketAddr },
    OpenFiles { limit: u64, needed: u64 },
    Bind { address: SocketAddr, error: io::Error },
    NoAddress,
    Executor(String),
    Pidfile { path: PathBuf, error: io::Error },
    Journal(String),
    Failed { what: &'static str, error: io::Error },
}

impl fmt::Display for BootError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RingBlocked(error) => write!(
                f,
                "io_uring is blocked ({error}): set sysctl kernel.io_uring_disabled=0; in a container, allow the io_uring \
                 system calls (docker run --security-opt seccomp=unconfined, or a profile that adds io_uring_setup, \
                 io_uring_enter and io_uring_register)"
            ),
            Self::RingMemory(error) => write!(
                f,
                "not enough lockable memory for io_uring ({error}): raise the memlock limit to 8 MiB or more (ulimit -l 8192, \
                 LimitMEMLOCK=8M in the systemd unit, docker run --ulimit memlock=8388608)"
            ),
            Self::FeatureMissing { feature, since } => {
                write!(
                    f,
                    "this kernel lacks {feature} of io_uring: use Linux {since} or later (6.1 has all that is needed)"
                )
            }
            Self::Cpu { cpu, allowed } => {
                write!(f, "CPU {cpu} is not one this process may use: give --cpus a list out of {allowed:?}")
            }
            Self::Lanes => write!(f, "a server needs at least one lane: give --lanes 1 or more"),
            Self::ShardPortsBeyondEnd { first, lanes } => {
                write!(
                    f,
                    "{lanes} lanes need the shard ports from {first} on, which end at 65535: choose a lower --shard-port"
                )
            }
            Self::ShardPortIsPort { port, lane } => {
                write!(
                    f,
                    "{port} is --port and would also be the shard port of lane {lane}: choose another --shard-port"
                )
            }
            Self::PortInUse { address } => {
                write!(f, "{address} is in use: stop the server that listens there or choose another --port")
            }
            Self::OpenFiles { limit, needed } => write!(
                f,
                "the limit of open files is {limit}, and the server itself needs {needed}: raise it (ulimit -n 10240, LimitNOFILE=10240 in \
                 the systemd unit)"
            ),
            Self::Bind { address, error } => {
                let error = plain(error);
                write!(f, "cannot listen on {address} ({error}): check bind and port in the configuration")
            }
            Self::NoAddress => {
                write!(
                    f,
                    "no address to listen on: give bind at least one address, and a port or shard-port other than 0"
                )
            }
            Self::Executor(error) => write!(f, "cannot start the executor of a lane: {error}"),
            Self::Pidfile { path, error } => {
                let error = plain(error);
                write!(f, "cannot write the pidfile {} ({error}): check the directory and its owner", path.display())
            }
            Self::Journal(line) => f.write_str(line),
            Self::Failed { what, error } => write!(f, "{what} failed: {}", plain(error)),
        }
    }
}

impl std::error::Error for BootError {}

impl From<RingRefusal> for BootError {
    fn from(refusal: RingRefusal) -> Self {
        match refusal {
            RingRefusal::Blocked(error) => Self::RingBlocked(error),
            RingRefusal::Memlock(error) => Self::RingMemory(error),
            RingRefusal::Missing { feature, since } => Self::FeatureMissing { feature, since },
            RingRefusal::Failed { what, error } => Self::Failed { what, error },
        }
    }
}
