//! `record --to`: a proxy in front of any server, which keeps what passes from clients to it.
//!
//! ```text
//!   client ──bytes──> thread: cut into requests, stamp, keep, pass on ──bytes──> server
//!          <──────────────────── thread: pass on ────────────────────────────────
//! ```
//!
//! Two threads for each connection and one that writes the file. RESP, inline commands and the three Memcached dialects are told
//! apart by the first byte of a request. What cannot be cut is still passed on: the client is served, the recording of that
//! connection ends, and the end says so.

use std::io::{self, BufWriter, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use super::file::{Seen, write, write_head};
use crate::clock::{Clock, Nanos};
use crate::load::address::Address;
use crate::wire::Dialect;
use crate::wire::frame::request_len;
use crate::wire::resp::Halt;

/// What a finished recording says of itself.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Recorded {
    pub(crate) requests: u64,
    pub(crate) connections: u32,
    /// Connections whose bytes could not be cut into requests.
    pub(crate) lost: u32,
}

struct Shared {
    server: Address,
    clock: Clock,
    connections: AtomicU32,
    lost: AtomicU32,
    /// When the first request came, plus one; nothing yet is 0.
    first: AtomicU64,
}

/// Serves on a port and records for so long.
pub(crate) fn record(
    listener: TcpListener,
    server: Address,
    dialect: Dialect,
    file: &Path,
    time: Duration,
) -> Result<Recorded, String> {
    let wrong = |error: io::Error| format!("{}: {error}", file.display());
    let mut out = BufWriter::new(std::fs::File::create(file).map_err(wrong)?);
    write_head(&mut out, dialect).map_err(wrong)?;
    let zero = AtomicU32::new;
    let shared = Arc::new(Shared {
        server,
        clock: Clock::start(),
        connections: zero(0),
        lost: zero(0),
        first: AtomicU64::new(0),
    });
    let (to, seen) = channel();
    let accepting = shared.clone();
    let port = listener.local_addr().map_err(wrong)?.port();
    let accept = move || accept(&listener, &accepting, &to);
    thread::Builder::new().spawn(accept).map_err(|error| error.to_string())?;
    let until = shared.clock.now() + time;
    let requests = keep(&seen, &mut out, &shared, until).map_err(wrong)?;
    out.flush().map_err(wrong)?;
    let count = |counter: &AtomicU32| counter.load(Ordering::Relaxed);
    let recorded = Recorded { requests, connections: count(&shared.connections), lost: count(&shared.lost) };
    // Wakes the accepting thread, which finds nobody to send to. It is no client, and comes after all were counted.
    let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, port));
    Ok(recorded)
}

fn keep(seen: &Receiver<Seen>, out: &mut impl Write, shared: &Shared, until: Nanos) -> io::Result<u64> {
    let mut requests = 0;
    loop {
        let left = Duration::from_nanos(until.since(shared.clock.now()));
        match seen.recv_timeout(left) {
            Ok(Seen { at_ns, connection, bytes }) => {
                write(out, at_ns, connection, &bytes)?;
                requests += 1;
            }
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return Ok(requests),
        }
        if left.is_zero() {
            return Ok(requests);
        }
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>, to: &Sender<Seen>) {
    for client in listener.incoming().map_while(Result::ok) {
        let (shared, to) = (shared.clone(), to.clone());
        let number = shared.connections.fetch_add(1, Ordering::Relaxed);
        // A connection that cannot be served is closed by being dropped, which its client sees.
        let _ = thread::Builder::new().spawn(move || carry(&client, &shared, number, &to));
    }
}

fn carry(client: &TcpStream, shared: &Shared, number: u32, to: &Sender<Seen>) -> io::Result<()> {
    // Of a unix socket too it is only read, written and shut down.
    let server = TcpStream::from(shared.server.connect()?);
    client.set_nodelay(true)?;
    thread::scope(|scope| {
        let back = scope.spawn(|| {
            let copied = io::copy(&mut &server, &mut &*client);
            let _ = client.shutdown(Shutdown::Both);
            copied
        });
        let there = forward(client, &server, shared, number, to);
        let _ = server.shutdown(Shutdown::Write);
        back.join().map_err(|_| io::Error::other("a proxy thread panicked"))??;
        there
    })
}

fn forward(
    mut client: &TcpStream,
    mut server: &TcpStream,
    shared: &Shared,
    number: u32,
    to: &Sender<Seen>,
) -> io::Result<()> {
    let mut cutter = Cutter::default();
    let mut chunk = vec![0; 64 << 10];
    loop {
        let len = client.read(&mut chunk)?;
        if len == 0 {
            return Ok(());
        }
        let now = shared.clock.now().0;
        server.write_all(&chunk[..len])?;
        let first = shared.first.compare_exchange(0, now + 1, Ordering::Relaxed, Ordering::Relaxed);
        let at_ns = now.saturating_sub(first.map_or_else(|first| first - 1, |_| now));
        if cutter.feed(&chunk[..len], |bytes| drop(to.send(Seen { at_ns, connection: number, bytes }))).is_err() {
            shared.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Cuts the bytes of a connection into requests until it meets one that is none.
#[derive(Debug, Default)]
struct Cutter {
    begun: Vec<u8>,
    lost: bool,
}

impl Cutter {
    /// An error the first time that something cannot be cut; from then on nothing is.
    fn feed(&mut self, bytes: &[u8], mut each: impl FnMut(Vec<u8>)) -> Result<(), ()> {
        if self.lost {
            return Ok(());
        }
        self.begun.extend_from_slice(bytes);
        let mut used = 0;
        loop {
            match request_len(&self.begun[used..]) {
                Ok(len) => {
                    each(self.begun[used..used + len].to_vec());
                    used += len;
                }
                Err(Halt::Incomplete) => break,
                Err(Halt::Malformed) => {
                    self.lost = true;
                    self.begun = Vec::new();
                    return Err(());
                }
            }
        }
        self.begun.drain(..used);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_cut_over_every_cutting() {
        let stream = b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\nPING\r\nset k 0 0 2\r\nab\r\n";
        for cut in 0..=stream.len() {
            let mut cutter = Cutter::default();
            let mut seen = Vec::new();
            for part in [&stream[..cut], &stream[cut..]] {
                cutter.feed(part, |bytes| seen.push(bytes)).unwrap();
            }
            assert_eq!((seen.len(), seen.concat().as_slice()), (3, &stream[..]), "cut at {cut}");
        }
    }

    #[test]
    fn what_is_no_request_ends_the_recording_once() {
        let mut cutter = Cutter::default();
        assert_eq!(cutter.feed(b"*x\r\n", |_| panic!("nothing is whole")), Err(()));
        assert_eq!(cutter.feed(b"PING\r\n", |_| panic!("it has ended")), Ok(()));
    }
}
