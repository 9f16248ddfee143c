//! The ring against real sockets: what a connection can do to it, and what it must survive.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::channel;
use std::time::Duration;

use super::ring::{Event, Pool, RecvEnd, Ring, RingSizes, SendName, Token};
use crate::types::rope::Rope;
use crate::wire::output::{Output, Shared};

const TOKEN: Token = Token { conn: 5, generation: 9 };

fn ring(buffers: u16, buffer_bytes: u32) -> Ring {
    Ring::new(RingSizes { completions: 1024, buffers, long_buffers: 4, buffer_bytes, files: 0 }).unwrap()
}

/// The next event that is one; waits for it.
fn next(ring: &mut Ring) -> Event {
    loop {
        match ring.next_event() {
            Some(Event::Done) => {}
            Some(event) => return event,
            None => ring.wait(Some(Duration::from_secs(5))).unwrap(),
        }
    }
}

fn tcp_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (near, listener.accept().unwrap().0)
}

/// Ten megabytes: text with a shared piece in its middle and a rope at its end.
fn large_output() -> (Output, Vec<u8>) {
    let text: Vec<u8> = (0..4 << 20).map(|i: u32| (i % 251) as u8).collect();
    let pieces = [vec![b'x'; 3 << 20], vec![b'y'; 3 << 20]];
    let expected = [&text[..1000], &pieces[0], &text[1000..], &pieces[1]].concat();
    let [piece, end] = pieces;
    let mut output = Output::default();
    output.bytes.extend_from_slice(&text[..1000]);
    output.push_shared(Shared::Piece(piece.into()));
    output.bytes.extend_from_slice(&text[1000..]);
    output.push_shared(Shared::Rope(Rope::from(&end[..]), 0..end.len()));
    (output, expected)
}

#[test]
fn a_doorbell_wakes_a_waiting_ring() {
    let (report, rings) = channel();
    let sleeper = std::thread::spawn(move || {
        let mut ring = ring(4, 4096);
        report.send(ring.fd()).unwrap();
        matches!(next(&mut ring), Event::Rung)
    });
    let mut ring = ring(4, 4096);
    let peer = rings.recv().unwrap();
    std::thread::sleep(Duration::from_millis(20));
    ring.doorbell(peer);
    ring.submit().unwrap();
    assert!(sleeper.join().unwrap());
}

#[test]
fn a_wait_ends_at_its_deadline() {
    let mut ring = ring(4, 4096);
    let began = std::time::Instant::now();
    ring.wait(Some(Duration::from_millis(20))).unwrap();
    assert!(ring.next_event().is_none());
    assert!((20..500).contains(&began.elapsed().as_millis()));
}

#[test]
fn a_flood_beyond_all_buffers_arrives_whole() {
    let mut ring = ring(4, 1024);
    let (mut near, far) = UnixStream::pair().unwrap();
    let sent: Vec<u8> = (0..100_000_u32).map(|i| (i % 241) as u8).collect();
    let copy = sent.clone();
    let writer = std::thread::spawn(move || near.write_all(&copy).unwrap());
    let (mut got, mut exhausted, mut held) = (Vec::new(), 0, Vec::new());
    ring.receive(TOKEN, far.as_raw_fd(), Pool::Common);
    while got.len() < sent.len() {
        match next(&mut ring) {
            Event::Received { token, lease, armed } => {
                assert_eq!(token, TOKEN);
                got.extend_from_slice(ring.bytes(&lease));
                held.push(lease);
                if !armed {
                    held.drain(..).for_each(|lease| ring.give_back(lease));
                    ring.receive(TOKEN, far.as_raw_fd(), Pool::Common);
                }
            }
            Event::ReceiveEnded { end: RecvEnd::NoBuffers, .. } => {
                exhausted += 1;
                held.drain(..).for_each(|lease| ring.give_back(lease));
                ring.receive(TOKEN, far.as_raw_fd(), Pool::Common);
            }
            Event::ReceiveEnded { end: RecvEnd::Eof, .. } => break,
            other => panic!("{other:?}"),
        }
    }
    writer.join().unwrap();
    assert!(got == sent, "bytes lost or out of order");
    assert!(exhausted > 0, "the test must have run out of buffers");
}

#[test]
fn a_slow_reader_gets_a_large_output_in_order() {
    let mut ring = ring(4, 4096);
    let (near, mut far) = tcp_pair();
    let (output, expected) = large_output();
    let reader = std::thread::spawn(move || {
        let (mut got, mut piece) = (Vec::new(), vec![0; 300_000]);
        loop {
            match far.read(&mut piece).unwrap() {
                0 => return got,
                n => got.extend_from_slice(&piece[..n]),
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    });
    assert_eq!(ring.send(TOKEN, near.as_raw_fd(), output).0, expected.len());
    let mut partial = 0;
    loop {
        match next(&mut ring) {
            Event::Sent { send, left: 0, token } => {
                assert_eq!(token, TOKEN);
                assert_eq!(ring.take_back(send).shared.len(), 2);
                break;
            }
            Event::Sent { send, .. } => {
                partial += 1;
                ring.send_rest(send);
            }
            other => panic!("{other:?}"),
        }
    }
    drop(near);
    assert!(reader.join().unwrap() == expected, "bytes lost or out of order");
    assert!(partial > 0, "the test must have sent in parts");
}

/// Sends ten megabytes to a peer that does not read and lets `end` end it; true if the output came back unsent.
fn ends_mid_send(end: impl FnOnce(&mut Ring, SendName, TcpStream)) -> bool {
    let mut ring = ring(4, 4096);
    let (near, far) = tcp_pair();
    let (_, name) = ring.send(TOKEN, near.as_raw_fd(), large_output().0);
    let mut end = Some(end);
    let mut far = Some(far);
    loop {
        match next(&mut ring) {
            Event::Sent { send, left, .. } if left > 0 => {
                ring.send_rest(send);
                ring.submit().unwrap();
                // When the socket takes no more, the send is in flight.
                if !ring.ready()
                    && let (Some(end), Some(far)) = (end.take(), far.take())
                {
                    end(&mut ring, name, far);
                }
            }
            Event::SendFailed { send, token } => {
                assert_eq!(token, TOKEN);
                return ring.take_back(send).bytes.len() == 4 << 20;
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_cancelled_send_gives_its_output_back() {
    assert!(ends_mid_send(|ring, name, far| {
        ring.cancel_send(name);
        std::mem::forget(far);
    }));
}

#[test]
fn a_peer_that_closes_mid_send_fails_it() {
    assert!(ends_mid_send(|_, _, far| drop(far)));
}

#[test]
fn a_cancelled_receive_ends_and_can_begin_again() {
    let mut ring = ring(4, 4096);
    let (mut near, far) = tcp_pair();
    ring.receive(TOKEN, far.as_raw_fd(), Pool::Common);
    ring.submit().unwrap();
    ring.cancel_receive(TOKEN, Pool::Common);
    assert!(matches!(next(&mut ring), Event::ReceiveEnded { token: TOKEN, end: RecvEnd::Cancelled }));
    near.write_all(b"late").unwrap();
    ring.receive(TOKEN, far.as_raw_fd(), Pool::Common);
    match next(&mut ring) {
        Event::Received { lease, .. } => {
            assert_eq!(ring.bytes(&lease), b"late");
            ring.give_back(lease);
        }
        other => panic!("{other:?}"),
    }
    drop(near);
    assert!(matches!(next(&mut ring), Event::ReceiveEnded { end: RecvEnd::Eof, .. }));
}

/// A long word that comes faster than it is worked off holds all buffers set aside for such, and a request of somebody else still has one. Bytes
/// stay in order where a receive changes its buffers.
#[test]
fn a_flood_through_its_own_buffers_leaves_others_theirs() {
    const OTHER: Token = Token { conn: 6, generation: 1 };
    let mut ring = ring(4, 4096);
    let ((mut near, far), (mut quick, quick_far)) = (tcp_pair(), tcp_pair());
    let sent: Vec<u8> = (0..60_000_u32).map(|i| (i % 239) as u8).collect();
    near.write_all(&sent).unwrap();
    ring.receive(TOKEN, far.as_raw_fd(), Pool::Long);
    let (mut held, mut got) = (Vec::new(), Vec::new());
    loop {
        match next(&mut ring) {
            Event::Received { lease, armed, .. } => {
                held.push(lease);
                if !armed {
                    break;
                }
            }
            Event::ReceiveEnded { token: TOKEN, end: RecvEnd::NoBuffers } => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(held.len(), 4);
    quick.write_all(b"PING").unwrap();
    ring.receive(OTHER, quick_far.as_raw_fd(), Pool::Common);
    let Event::Received { token: OTHER, lease, .. } = next(&mut ring) else { panic!("it has a buffer") };
    assert_eq!(ring.bytes(&lease), b"PING");
    ring.give_back(lease);
    for lease in held {
        got.extend_from_slice(ring.bytes(&lease));
        ring.give_back(lease);
    }
    ring.receive(TOKEN, far.as_raw_fd(), Pool::Common);
    while got.len() < sent.len() {
        match next(&mut ring) {
            Event::Received { token: TOKEN, lease, armed } => {
                got.extend_from_slice(ring.bytes(&lease));
                ring.give_back(lease);
                if !armed {
                    ring.receive(TOKEN, far.as_raw_fd(), Pool::Common);
                }
            }
            Event::ReceiveEnded { end: RecvEnd::NoBuffers, .. } => ring.receive(TOKEN, far.as_raw_fd(), Pool::Common),
            other => panic!("{other:?}"),
        }
    }
    assert!(got == sent, "lost or out of order");
}

/// The greatest numbers there are come back as they went in.
#[test]
fn tokens_survive_the_kernel_at_the_wrap() {
    let mut ring = ring(4, 4096);
    let (mut near, far) = tcp_pair();
    let token = Token { conn: u32::MAX, generation: Token::GENERATION_MASK };
    ring.receive(token, far.as_raw_fd(), Pool::Common);
    near.write_all(b"x").unwrap();
    let Event::Received { token: back, lease, .. } = next(&mut ring) else { panic!("it receives") };
    ring.give_back(lease);
    assert_eq!(back, token);
    drop(near);
    assert!(matches!(next(&mut ring), Event::ReceiveEnded { token: back, end: RecvEnd::Eof } if back == token));
}

/// More completions than the queue holds wait in the kernel; none is lost, and a receive that had to stop goes on.
#[test]
fn an_overflowing_completion_queue_loses_nothing() {
    const WATCHES: u32 = 3000;
    let mut ring =
        Ring::new(RingSizes { completions: 512, buffers: 1024, long_buffers: 1, buffer_bytes: 64, files: 0 }).unwrap();
    let (mut near, far) = UnixStream::pair().unwrap();
    let sent: Vec<u8> = (0..50_000_u32).map(|i| (i % 241) as u8).collect();
    near.write_all(&sent).unwrap();
    let readable = far.try_clone().unwrap();
    (0..WATCHES).for_each(|watch| ring.watch(watch, readable.as_raw_fd()));
    ring.receive(TOKEN, far.as_raw_fd(), Pool::Common);
    ring.submit().unwrap();
    assert!(ring.overflowed(), "the test must have filled the queue");
    let (mut seen, mut got, mut stopped) = (vec![0; WATCHES as usize], Vec::new(), 0);
    while got.len() < sent.len() || seen.contains(&0) {
        match next(&mut ring) {
            Event::Readable { watch } => seen[watch as usize] += 1,
            Event::Received { lease, armed, .. } => {
                got.extend_from_slice(ring.bytes(&lease));
                ring.give_back(lease);
                if !armed {
                    stopped += 1;
                    ring.receive(TOKEN, far.as_raw_fd(), Pool::Common);
                }
            }
            Event::ReceiveEnded { end: RecvEnd::NoBuffers, .. } => ring.receive(TOKEN, far.as_raw_fd(), Pool::Common),
            other => panic!("{other:?}"),
        }
    }
    assert!(seen.iter().all(|times| *times == 1) && got == sent, "lost, doubled or out of order");
    assert!(stopped > 0, "a receive must have been stopped by the full queue");
}

/// A place of the file table is emptied and filled again within one submission, and what goes through it reaches the new socket.
#[test]
fn the_file_table_follows_connections_that_change_places() {
    let mut ring =
        Ring::new(RingSizes { completions: 1024, buffers: 4, long_buffers: 1, buffer_bytes: 4096, files: 8 }).unwrap();
    let (mut old_far, old) = tcp_pair();
    let (mut new_far, new) = tcp_pair();
    let hello = || Output { bytes: b"hello".to_vec(), ..Output::default() };
    ring.admit(TOKEN.conn, old.as_raw_fd());
    ring.send(TOKEN, old.as_raw_fd(), hello());
    match next(&mut ring) {
        Event::Sent { send, left: 0, .. } => drop(ring.take_back(send)),
        other => panic!("{other:?}"),
    }
    ring.dismiss(TOKEN.conn, old.into());
    ring.admit(TOKEN.conn, new.as_raw_fd());
    ring.receive(TOKEN, new.as_raw_fd(), Pool::Common);
    ring.submit().unwrap();
    let mut all = Vec::new();
    old_far.read_to_end(&mut all).unwrap();
    assert_eq!(all, b"hello", "the old one got its bytes, and is really closed");
    new_far.write_all(b"news").unwrap();
    match next(&mut ring) {
        Event::Received { lease, .. } => {
            assert_eq!(ring.bytes(&lease), b"news");
            ring.give_back(lease);
        }
        other => panic!("{other:?}"),
    }
    // Beyond the table, by descriptor.
    let beyond = Token { conn: 8, ..TOKEN };
    let (mut far, near) = tcp_pair();
    ring.admit(beyond.conn, near.as_raw_fd());
    ring.send(beyond, near.as_raw_fd(), hello());
    match next(&mut ring) {
        Event::Sent { send, left: 0, .. } => drop(ring.take_back(send)),
        other => panic!("{other:?}"),
    }
    ring.dismiss(beyond.conn, near.into());
    ring.submit().unwrap();
    all.clear();
    far.read_to_end(&mut all).unwrap();
    assert_eq!(all, b"hello");
}
