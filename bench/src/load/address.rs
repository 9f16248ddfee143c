//! Where a server listens: TCP or a unix socket.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::{fmt, io};

use crate::wire::Dialect;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl Address {
    pub(crate) fn local(port: u16) -> Self {
        Self::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
    }

    pub(crate) fn host(host: &str, port: u16) -> Result<Self, String> {
        let ip: IpAddr = host.parse().map_err(|_| format!("{host} is not an IP address"))?;
        Ok(Self::Tcp(SocketAddr::from((ip, port))))
    }

    /// A connected socket.
    pub(crate) fn connect(&self) -> io::Result<OwnedFd> {
        match self {
            Self::Tcp(address) => {
                let stream = TcpStream::connect(address)?;
                stream.set_nodelay(true)?;
                Ok(stream.into())
            }
            Self::Unix(path) => Ok(UnixStream::connect(path)?.into()),
        }
    }

    /// A connected socket on which the dialect has been agreed.
    pub(crate) fn greet(&self, dialect: Dialect) -> io::Result<OwnedFd> {
        let socket = self.connect()?;
        if dialect.greeting().is_empty() {
            return Ok(socket);
        }
        let mut client = super::client::Client::over(socket);
        client.send(dialect.greeting())?;
        client.receive()?.map_err(io::Error::other)?;
        Ok(client.into_socket())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(to, "{address}"),
            Self::Unix(path) => write!(to, "{}", path.display()),
        }
    }
}
