//! The ports: one that all lanes share, and, if wanted, one for each lane.
//!
//! ```text
//!   ordinary port      every lane listens (SO_REUSEPORT: the kernel spreads connections by a hash), and the lane that accepts
//!                      hands a connection on to the lane with fewest
//!   shard-port + i     lane i alone listens, and what it accepts stays: a cluster client has chosen it
//! ```
//!
//! A port that allows sharing could be shared with a stranger, say another server started by the same user. So the ordinary port
//! is bound and listened on by one socket that shares with nobody, which fails if anybody else listens; only then are sharing
//! allowed and the other lanes' sockets added. All is bound before any lane begins and listens only when all are ready.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

use super::boot::{BootError, Settings};

/// Where a connection goes that comes in here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Placement {
    /// To the lane with fewest.
    Fewest,
    /// It stays on the lane whose port it came to.
    Here,
}

/// A listening socket of a lane.
#[derive(Debug)]
pub(super) struct Door {
    pub(super) socket: TcpListener,
    pub(super) placement: Placement,
}

/// Bound sockets, not yet listening.
pub(super) struct Ports {
    ordinary: Vec<Socket>,
    /// Of each lane.
    shard: Vec<Vec<Socket>>,
}

impl Ports {
    pub(super) fn bind(settings: &Settings) -> Result<Self, BootError> {
        let ordinary = if settings.port == 0 { Vec::new() } else { bind_all(settings, settings.port)? };
        let mut shard = Vec::new();
        for lane in 0..settings.lanes {
            shard.push(match shard_port(settings, lane)? {
                Some(port) => bind_all(settings, port)?,
                None => Vec::new(),
            });
        }
        if ordinary.is_empty() && shard.iter().any(Vec::is_empty) {
            return Err(BootError::NoAddress);
        }
        Ok(Self { ordinary, shard })
    }

    /// From here on clients can connect. The sockets of each lane.
    pub(super) fn listen(self, settings: &Settings) -> Result<Vec<Vec<Door>>, BootError> {
        let mut lanes = Vec::new();
        for sockets in self.shard {
            let mut doors = Vec::new();
            for socket in sockets {
                doors.push(listen(socket, Placement::Here, settings)?);
            }
            lanes.push(doors);
        }
        for first in self.ordinary {
            let address = address_of(&first);
            let first = listen(first, Placement::Fewest, settings)?;
            if lanes.len() > 1 {
                let shared = socket2::SockRef::from(&first.socket).set_reuse_port(true);
                shared.map_err(|error| refused(address, error))?;
            }
            for doors in lanes.iter_mut().skip(1) {
                let socket = bind(address, Sharing::WithOurOwn, settings)?;
                doors.push(listen(socket, Placement::Fewest, settings)?);
            }
            if let Some(doors) = lanes.first_mut() {
                doors.push(first);
            }
        }
        Ok(lanes)
    }
}

/// The port of one lane alone, if there are such.
fn shard_port(settings: &Settings, lane: usize) -> Result<Option<u16>, BootError> {
    if settings.shard_port == 0 {
        return Ok(None);
    }
    let (first, lanes) = (settings.shard_port, settings.lanes);
    let port = u16::try_from(usize::from(first) + lane);
    let port = port.map_err(|_| BootError::ShardPortsBeyondEnd { first, lanes })?;
    if port == settings.port {
        return Err(BootError::ShardPortIsPort { port, lane });
    }
    Ok(Some(port))
}

fn bind_all(settings: &Settings, port: u16) -> Result<Vec<Socket>, BootError> {
    let at = |ip: &IpAddr| bind(SocketAddr::new(*ip, port), Sharing::WithNobody, settings);
    let mut sockets = Vec::new();
    for ip in &settings.bind {
        sockets.push(at(ip)?);
    }
    for ip in &settings.bind_if_there {
        match at(ip) {
            Err(BootError::Bind { .. }) => {}
            bound => sockets.push(bound?),
        }
    }
    Ok(sockets)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sharing {
    WithNobody,
    WithOurOwn,
}

/// Accepted sockets inherit what is set here, so that an accept costs no further system call.
fn bind(address: SocketAddr, sharing: Sharing, settings: &Settings) -> Result<Socket, BootError> {
    let bound = || {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        if sharing == Sharing::WithOurOwn {
            socket.set_reuse_port(true)?;
        }
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.set_tcp_nodelay(true)?;
        settings.keepalive.set(&socket)?;
        socket.bind(&address.into())?;
        Ok(socket)
    };
    bound().map_err(|error| refused(address, error))
}

fn listen(socket: Socket, placement: Placement, settings: &Settings) -> Result<Door, BootError> {
    let backlog = i32::try_from(settings.tcp_backlog).unwrap_or(i32::MAX);
    socket.listen(backlog).map_err(|error| refused(address_of(&socket), error))?;
    Ok(Door { socket: socket.into(), placement })
}

fn address_of(socket: &Socket) -> SocketAddr {
    let address = socket.local_addr().ok().and_then(|address| address.as_socket());
    address.expect("a bound TCP socket has an address")
}

fn refused(address: SocketAddr, error: io::Error) -> BootError {
    match error.kind() {
        io::ErrorKind::AddrInUse => BootError::PortInUse { address },
        _ => BootError::Bind { address, error },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first of three ports in a row that are free now.
    fn free_row() -> u16 {
        let free = |port| TcpListener::bind(("127.0.0.1", port)).is_ok();
        let any = || TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
        std::iter::repeat_with(any).find(|first| *first < 65_000 && (*first..first + 3).all(free)).unwrap()
    }

    fn settings(port: u16, shard_port: u16) -> Settings {
        Settings { lanes: 2, port, shard_port, bind: vec![[127, 0, 0, 1].into()], ..Settings::default() }
    }

    fn doors(settings: &Settings) -> Result<Vec<Vec<Door>>, BootError> {
        Ports::bind(settings)?.listen(settings)
    }

    #[test]
    fn lanes_share_a_port_among_themselves_and_with_nobody_else() {
        let settings = settings(free_row(), 0);
        let lanes = doors(&settings).unwrap();
        assert!(lanes.iter().all(|doors| matches!(&doors[..], [Door { placement: Placement::Fewest, .. }])));
        assert!(matches!(doors(&settings), Err(BootError::PortInUse { .. })));
    }

    /// Both have bound before either listens: the second is refused all the same.
    #[test]
    fn two_that_start_at_the_same_moment_do_not_share() {
        let settings = settings(free_row(), 0);
        let (one, other) = (Ports::bind(&settings).unwrap(), Ports::bind(&settings).unwrap());
        let _lanes = one.listen(&settings).unwrap();
        assert!(matches!(other.listen(&settings), Err(BootError::PortInUse { .. })));
    }

    #[test]
    fn each_lane_has_a_port_of_its_own_if_wanted() {
        let port = free_row();
        let lanes = doors(&settings(port, port + 1)).unwrap();
        let ports: Vec<Vec<(u16, Placement)>> = lanes
            .iter()
            .map(|doors| doors.iter().map(|door| (door.socket.local_addr().unwrap().port(), door.placement)).collect())
            .collect();
        let (fewest, here) = (Placement::Fewest, Placement::Here);
        assert_eq!(ports, [[(port + 1, here), (port, fewest)], [(port + 2, here), (port, fewest)]]);
    }

    #[test]
    fn ports_that_cannot_be_are_refused() {
        assert!(matches!(doors(&settings(7001, 7000)), Err(BootError::ShardPortIsPort { port: 7001, lane: 1 })));
        assert!(matches!(doors(&settings(0, 65_535)), Err(BootError::ShardPortsBeyondEnd { .. })));
        assert!(matches!(doors(&settings(0, 0)), Err(BootError::NoAddress)));
    }
}
