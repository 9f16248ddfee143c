//! What is fuzzed: plain functions over bytes that panic when something is wrong. The harness of `tests/fuzz/` calls them, and so do
//! the coverage-guided ones in `fuzz/`. Each answers a number that stands for what it saw, so that inputs with a new one are kept.

use corelane::admin::acl::{User, parse_file, terms};
use corelane::base::rng::Rng;
use corelane::base::time::Now;
use corelane::command::Table;
use corelane::command::acl::{catalog, rights};
use corelane::config::{Config, ConfigError, Start, parse};
use corelane::shard::{ConnId, Opening, Order, Setup, Shard};
use corelane::wire::request::{Args, Request};
use corelane::wire::resp::{Bounds, Parser, ProtocolFault, Step, split_words};

/// The size of the server's receive buffers.
const RECEIVE_BYTES: usize = 16 << 10;

/// Up to here a line is never too long, so that it does not matter where it is cut.
const LINE_BYTES_SAFE: usize = 60 << 10;

/// The parser alone: however the bytes are cut, the same requests come out.
pub(crate) fn requests(data: &[u8]) -> u64 {
    let mut rng = Rng::new(digest(data));
    let bounds = if rng.one_in(4) { Bounds::UNAUTHENTICATED } else { Bounds::authenticated(1 << 20) };
    let whole = parse_pieces(&[data], &bounds);
    if data.len() <= LINE_BYTES_SAFE {
        for _ in 0..3 {
            assert_eq!(parse_pieces(&cut(data, &mut rng), &bounds), whole);
        }
    } else {
        parse_pieces(&cut(data, &mut rng), &bounds);
    }
    let shapes = whole.0.iter().take(8).fold(0, |all, words| all * 31 + words.len().min(20) as u64);
    shapes * 64 + whole.1.map_or(0, |fault| 1 + digest(fault.line().as_bytes()) % 63)
}

/// A whole shard: whatever is sent in whatever pieces, it answers the same, goes on, and keeps nothing of a client that is gone.
pub(crate) fn connection(data: &[u8]) -> u64 {
    let mut rng = Rng::new(digest(data));
    let (replies, open) = converse(&data.chunks(RECEIVE_BYTES).collect::<Vec<_>>());
    let again = converse(&cut(data, &mut rng));
    // These tell of bytes, buffers and numbers of commands so far, which depend on the pieces.
    let tells = [&b"info"[..], b"client", b"memory", b"hello"];
    let lower = data.to_ascii_lowercase();
    if data.len() <= LINE_BYTES_SAFE && !tells.iter().any(|word| memchr::memmem::find(&lower, word).is_some()) {
        assert_eq!((lossy(&again.0), again.1), (lossy(&replies), open));
    }
    let kinds = replies.split(|byte| *byte == b'\n').take(12).fold(0, |all, line| {
        let word = line.split(|byte| *byte == b' ').take(3).collect::<Vec<_>>().concat();
        (digest(&word) % 1024) ^ u64::rotate_left(all, 5)
    });
    kinds << 1 | u64::from(open)
}

/// A configuration file: taken, or refused by one line that names a place in it.
pub(crate) fn config(data: &[u8]) -> u64 {
    let mut config = Config::default();
    let mut no_files = |_: corelane::config::Source<'_>| Err("no such file".to_owned());
    match config.apply_file("x.conf", data, &mut no_files) {
        Ok(notes) => {
            let lines = data.split(|byte| *byte == b'\n').count();
            assert!(notes.iter().all(|note| (1..=lines).contains(&note.line)));
            let names: Vec<String> = notes.iter().map(|note| note.name.to_owned()).collect();
            digest(names.concat().as_bytes()) % 4096
        }
        Err(error) => {
            let ConfigError::Line { line, why, .. } = &error else { panic!("{error}") };
            assert!((1..=data.split(|byte| *byte == b'\n').count()).contains(line), "{error}");
            assert!(!why.is_empty() && !error.to_string().contains('\n'), "{error:?}");
            let kind = why.split(' ').filter(|word| !word.contains('\'')).take(4).collect::<Vec<_>>().concat();
            4096 + digest(kind.as_bytes()) % 4096
        }
    }
}

/// Rules of a user, and a file of users: taken or refused, and what was taken is told so that it makes the same again.
pub(crate) fn acl(data: &[u8]) -> u64 {
    let (catalog, config) = (catalog(&Table::new()), Config::default());
    let terms = terms(&catalog, &config);
    let mut user = User::new(b"u", terms);
    let taken = data.split(|byte| matches!(byte, b'\n' | b';')).map(|rule| user.apply(rule, terms));
    let outcomes =
        taken.fold(0, |all: u64, outcome| all.rotate_left(3) ^ outcome.map_or_else(|why| why as u64 + 1, |()| 0));
    let mut again = User::new(b"u", terms);
    again.apply_all(&user.words(), terms).expect("what is told is legal");
    assert_eq!(again, user);
    assert_eq!(parse_file("x", &user.line(), terms).expect("a legal line")[0], user);
    let request: Request = data.split(|byte| *byte == b' ').collect();
    let may = Table::new().find(request.args().at(0)).map(|found| rights::check(&user, found, request.args()).is_ok());
    let file = match parse_file("x", data, terms) {
        Ok(users) => users.len() as u64,
        Err(why) => {
            assert!(!why.contains('\n') && why.ends_with("was performed"), "{why}");
            100 + why.len() as u64 % 1000
        }
    };
    (outcomes % 4096) << 12 ^ file << 2 ^ may.map_or(0, |may| 1 + u64::from(may))
}

/// Command lines: as `config`, word for word.
pub(crate) fn flags(data: &[u8]) -> u64 {
    let words: Vec<String> = data.split(|byte| *byte == b' ').map(lossy).collect();
    let mut no_files = |_: corelane::config::Source<'_>| Err("no such file".to_owned());
    match Config::from_flags(&words, &mut no_files) {
        Ok(Start::Run(_, notes)) => notes.len() as u64,
        Ok(Start::Help | Start::Version) => 100,
        Err(error) => {
            let text = error.to_string();
            101 + digest(text.rsplit(": ").next().unwrap_or_default().as_bytes()) % 4096
        }
    }
}

/// The two readers of words, that of inline requests and that of files and flags, agree, and what is quoted is read back.
pub(crate) fn inline(data: &[u8]) -> u64 {
    let own = |request: &Request| request.args().iter().map(<[u8]>::to_vec).collect::<Vec<_>>();
    let words = split_words(data).as_ref().map(own);
    assert_eq!(words, parse::split_words(data).ok());
    let quoted: Vec<u8> = words.iter().flatten().flat_map(|word| quote(word)).collect();
    assert_eq!(split_words(&quoted).as_ref().map(own).unwrap_or_default(), words.clone().unwrap_or_default());
    words.map_or(0, |words| words.iter().take(8).fold(1, |all, word| all * 31 + word.len().min(20) as u64))
}

fn quote(word: &[u8]) -> Vec<u8> {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| HEX[usize::from(nibble)];
    let inner = word.iter().flat_map(|byte| [b'\\', b'x', digit(byte >> 4), digit(byte & 15)]);
    std::iter::once(b'"').chain(inner).chain(*b"\" ").collect()
}

fn parse_pieces(pieces: &[&[u8]], bounds: &Bounds) -> (Vec<Vec<Vec<u8>>>, Option<ProtocolFault>) {
    let (mut parser, mut input, mut found, mut start) = (Parser::default(), Vec::new(), Vec::new(), 0);
    let own = |args: Args<'_>| args.iter().map(<[u8]>::to_vec).collect();
    for piece in pieces {
        input.extend_from_slice(piece);
        loop {
            let mut spans = Vec::new();
            start = match parser.next(&input, start, &mut spans, bounds) {
                Step::Request { end } => {
                    found.push(own(Args::new(&input, &spans)));
                    end
                }
                Step::Inline { request, end } => {
                    found.push(own(request.args()));
                    end
                }
                Step::Nothing { end } => end,
                Step::Incomplete => {
                    assert!(spans.is_empty(), "nothing stays of what is incomplete");
                    break;
                }
                Step::Broken(fault) => return (found, Some(fault)),
            };
            assert!(start <= input.len());
        }
    }
    (found, None)
}

/// All replies to what is sent in these pieces, and whether the connection is still open then.
fn converse(pieces: &[&[u8]]) -> (Vec<u8>, bool) {
    let mut shard = shard();
    let now = Now { unix_us: 1_700_000_000_000_000, mono_ns: 1_000_000_000 };
    shard.begin_turn(now);
    let address = "127.0.0.1:1".parse().expect("an address");
    let opening = Opening { peer: address, local: address, fd: 0, open_connections: 1, shard_port: false };
    let conn = shard.open(&opening).expect("room for a client");
    let (mut replies, mut open) = (Vec::new(), true);
    for piece in pieces {
        if open {
            shard.feed(conn, piece);
        }
        open &= settle(&mut shard, conn, &mut replies);
        for _ in 0..10_000 {
            shard.begin_turn(now);
            if !shard.has_backlog() {
                break;
            }
            shard.run_backlog();
            open &= settle(&mut shard, conn, &mut replies);
        }
    }
    assert!(!shard.has_backlog(), "work comes to an end");
    shard.closed(conn);
    for _ in 0..100 {
        shard.begin_turn(now);
        shard.run_backlog();
        shard.tick();
    }
    assert!(shard.is_quiet() && !shard.is_freeing(), "nothing is left of a client that is gone");
    (replies, open)
}

/// Ends a turn: what is to be sent is, at once. Whether the connection goes on.
fn settle(shard: &mut Shard, conn: ConnId, replies: &mut Vec<u8>) -> bool {
    let mut open = true;
    shard.tick();
    while let Some(order) = shard.next_order() {
        open &= !matches!(order, Order::Close(_) | Order::CloseAfterFlush(_));
    }
    replies.extend(shard.take_output(conn, Default::default()).to_vec());
    shard.in_flight(conn, 0);
    open
}

pub(crate) fn shard() -> Shard {
    // So that SETRANGE and APPEND stay quick.
    let small = ["--proto-max-bulk-len", "1mb"].map(str::to_owned);
    let Ok(Start::Run(config, _)) = Config::from_flags(&small, &mut |_| Ok(Vec::new())) else { panic!("legal flags") };
    Shard::new(Setup { config, ..Setup::plain(0, 1) })
}

/// Pieces of all sizes, most of them small.
fn cut<'d>(mut data: &'d [u8], rng: &mut Rng) -> Vec<&'d [u8]> {
    let most = [3, 40, 1500, RECEIVE_BYTES as u64];
    let most = most[usize::try_from(rng.below(most.len() as u64)).expect("small")];
    // Of much input, no thousands of pieces.
    let least = data.len() as u64 / 200;
    let mut pieces = Vec::new();
    while !data.is_empty() {
        let len = usize::try_from(1 + least + rng.below(most)).expect("small");
        let (piece, rest) = data.split_at(len.min(RECEIVE_BYTES).min(data.len()));
        pieces.push(piece);
        data = rest;
    }
    pieces
}

/// FNV-1a: the same input is always cut the same way.
pub(crate) fn digest(data: &[u8]) -> u64 {
    data.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
