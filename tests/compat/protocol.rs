//! What needs raw bytes, odd timing, several sockets or a server with flags of its own.

use crate::support::client::encode;
use crate::support::server::info_field;
use crate::support::{Client, Server, Value, eventually};
use std::io::{Read, Write};
use std::net::Shutdown;
use std::time::Duration;

const MIB: usize = 1 << 20;

/// Bytes that no parser may forgive: what is said before the connection closes.
const BROKEN: &[(&str, &[u8], &str)] = &[
    ("unbalanced double quote", b"SET a \"b\r\n", "unbalanced quotes in request"),
    ("unbalanced single quote", b"SET a 'b\r\n", "unbalanced quotes in request"),
    ("text after a closing quote", b"SET a \"b\"c\r\n", "unbalanced quotes in request"),
    ("multibulk length of letters", b"*abc\r\n", "invalid multibulk length"),
    ("multibulk length with a plus", b"*+1\r\n", "invalid multibulk length"),
    ("multibulk length too large", b"*2147483648\r\n$4\r\nPING\r\n", "invalid multibulk length"),
    ("multibulk length beyond 64 bits", b"*99999999999999999999\r\n", "invalid multibulk length"),
    ("a colon where a dollar belongs", b"*1\r\n:4\r\nPING\r\n", "expected '$', got ':'"),
    ("a letter where a dollar belongs", b"*2\r\n$3\r\nGET\r\nk\r\n", "expected '$', got 'k'"),
    ("an empty line where a dollar belongs", b"*1\r\n\r\n", "expected '$', got '\r'"),
    ("bulk length of letters", b"*1\r\n$abc\r\n", "invalid bulk length"),
    ("bulk length missing", b"*1\r\n$\r\n", "invalid bulk length"),
    ("negative bulk length", b"*1\r\n$-1\r\n", "invalid bulk length"),
    ("more negative bulk length", b"*1\r\n$-2\r\n", "invalid bulk length"),
    ("bulk length beyond 64 bits", b"*1\r\n$99999999999999999999\r\n", "invalid bulk length"),
    ("multibulk length below 64 bits", b"*-9223372036854775809\r\n", "invalid multibulk length"),
    ("bulk length too large", b"*1\r\n$536870913\r\n", "invalid bulk length"),
    ("bulk length with a leading zero", b"*1\r\n$04\r\nPING\r\n", "invalid bulk length"),
];

#[test]
fn broken_requests_are_named_and_the_connection_closes() {
    let server = Server::start(&[]);
    for (what, bytes, said) in BROKEN {
        let mut client = server.client();
        client.raw(bytes);
        let expected = format!("-ERR Protocol error: {}\r\n", said.replace('\r', " "));
        let got = String::from_utf8_lossy(&client.read_until_closed()).into_owned();
        assert_eq!(got, expected, "{what}");
    }
    assert_eq!(server.client().words("PING"), Value::Simple("PONG".into()));
}

#[test]
fn what_came_before_a_broken_request_is_answered() {
    let server = Server::start(&[]);
    let mut client = server.client();
    client.raw(b"*1\r\n$4\r\nPING\r\n*1\r\n$4\r\nPING\r\n*x\r\n*1\r\n$4\r\nPING\r\n");
    client.expect_raw(b"+PONG\r\n+PONG\r\n-ERR Protocol error: invalid multibulk length\r\n");
    client.expect_closed();
}

#[test]
fn lines_without_an_end_are_refused() {
    let server = Server::start(&[]);
    let long = vec![b'a'; 70_000];
    for (start, said) in
        [("", "too big inline request"), ("*", "too big mbulk count string"), ("*1\r\n$", "too big bulk count string")]
    {
        let mut client = server.client();
        client.raw(start.as_bytes());
        // The server may close while we still send: what counts is what it said.
        let _ = client.stream().write_all(&long);
        client.expect_raw(format!("-ERR Protocol error: {said}\r\n").as_bytes());
    }
}

/// The end of a line counts when it is there, wherever it is; behind a NUL it is not seen.
#[test]
fn inline_lines_end_where_redis_sees_the_end() {
    let server = Server::start(&[]);
    let long = "a".repeat(70_000);
    let mut client = server.client();
    client.raw(format!("ECHO {long}\r\n").as_bytes());
    assert_eq!(client.read(), Value::bulk(&long));
    client.raw(b"PING\r\nPI\0NG\r\nPING\r\n");
    client.expect_raw(b"+PONG\r\n");
    client.raw(long.as_bytes());
    client.expect_raw(b"-ERR Protocol error: too big inline request\r\n");
    client.expect_closed();
}

#[test]
fn more_than_a_million_words_are_a_request() {
    const WORDS: usize = (1 << 20) + 1;
    let server = Server::start(&[]);
    let mut client = server.client();
    client.raw(&[format!("*{WORDS}\r\n$6\r\nEXISTS\r\n").as_bytes(), &b"$1\r\nk\r\n".repeat(WORDS - 1)].concat());
    assert_eq!(client.read(), Value::Int(0));
    assert_eq!(client.words("PING"), Value::Simple("PONG".into()));
}

#[test]
fn empty_requests_are_passed_over() {
    let server = Server::start(&[]);
    let mut client = server.client();
    client.raw(b"\r\n*0\r\n*-1\r\n\r\n*-5\r\n   \r\nPING\r\n");
    client.expect_raw(b"+PONG\r\n");
}

#[test]
fn inline_commands() {
    let server = Server::start(&[]);
    let mut client = server.client();
    let spoken: &[(&[u8], &[u8])] = &[
        (b"PING\r\n", b"+PONG\r\n"),
        (b"PING\n", b"+PONG\r\n"),
        (b"  PING  \r\n", b"+PONG\r\n"),
        (b"SET key value\r\n", b"+OK\r\n"),
        (b"GET\tkey\r\n", b"$5\r\nvalue\r\n"),
        (b"SET \"a b\" \"x\\r\\n\\x00\\xff\\t\\\\\\\"\"\r\n", b"+OK\r\n"),
        (b"GET 'a b'\r\n", b"$8\r\nx\r\n\x00\xff\t\\\"\r\n"),
        (b"SET 'it\\'s' ''\r\n", b"+OK\r\n"),
        (b"GET it's\r\n", b"-ERR Protocol error: unbalanced quotes in request\r\n"),
    ];
    for (sent, expected) in spoken {
        client.raw(sent);
        client.expect_raw(expected);
    }
    client.expect_closed();
}

/// Requests whose every split must come to the same: all forms of a request, binary, empty, inline, and empty lines.
const SPLIT: (&[u8], &[u8]) = (
    b"*3\r\n$3\r\nSET\r\n$3\r\na\r\n\r\n$5\r\n\r\n$1\r\r\n*2\r\n$3\r\nGET\r\n$3\r\na\r\n\r\n*0\r\n\r\nPING\r\n*1\r\n$4\r\nPING\r\n*2\r\n$4\r\nECHO\r\n$0\r\n\r\n",
    b"+OK\r\n$5\r\n\r\n$1\r\r\n+PONG\r\n+PONG\r\n$0\r\n\r\n",
);

#[test]
fn a_request_split_anywhere_is_the_same_request() {
    let server = Server::start(&[]);
    let (sent, expected) = SPLIT;
    let mut client = server.client();
    for at in 0..=sent.len() {
        client.raw(&sent[..at]);
        // Long enough that the server mostly sees two pieces; correct whether it does or not.
        std::thread::sleep(Duration::from_micros(300));
        client.raw(&sent[at..]);
        client.expect_raw(expected);
    }
}

#[test]
fn a_request_byte_by_byte() {
    let server = Server::start(&[]);
    let (sent, expected) = SPLIT;
    let mut client = server.client();
    for byte in sent {
        client.raw(&[*byte]);
        std::thread::sleep(Duration::from_micros(200));
    }
    client.expect_raw(expected);
}

#[test]
fn a_hundred_thousand_commands_in_one_write() {
    const COMMANDS: usize = 100_000;
    let server = Server::start(&[]);
    let mut client = server.client();
    let sent = encode(&["INCR", "n"]).repeat(COMMANDS);
    let mut writer = client.stream().try_clone().expect("a second handle");
    let writing = std::thread::spawn(move || writer.write_all(&sent).expect("the server takes the bytes"));
    for turn in 1..=COMMANDS {
        assert_eq!(client.read().int(), i64::try_from(turn).expect("a small number"));
    }
    writing.join().expect("the writer ends");
    assert_eq!(client.words("GET n"), Value::bulk(&COMMANDS.to_string()));
}

#[test]
fn a_pipeline_does_not_hold_up_the_others() {
    let server = Server::start(&[]);
    let mut flood = server.client();
    let bytes = encode(&["PING"]).repeat(200_000);
    let mut writer = flood.stream().try_clone().expect("a second handle");
    let writing = std::thread::spawn(move || writer.write_all(&bytes).expect("the server takes the bytes"));
    let mut other = server.client();
    for turn in 0..200 {
        let text = turn.to_string();
        assert_eq!(other.call(&["ECHO", &text]), Value::bulk(&text));
    }
    for _ in 0..200_000 {
        flood.expect_raw(b"+PONG\r\n");
    }
    writing.join().expect("the writer ends");
}

#[test]
fn a_large_value_in_many_pieces() {
    let server = Server::start(&[]);
    let mut client = server.client();
    let value: Vec<u8> = (0..8 * MIB).map(|i| u8::try_from(i % 251).expect("below 251")).collect();
    let request = encode(&[b"SET".as_slice(), b"big", &value]);
    for piece in request.chunks(100_003) {
        client.raw(piece);
    }
    assert_eq!(client.read(), Value::ok());
    assert!(client.words("GET big") == Value::Bulk(value), "the value comes back whole");
}

#[test]
fn clients_that_leave_in_the_middle_leave_nothing_behind() {
    let server = Server::start(&[]);
    let mut watcher = server.client();
    let before = settle(&mut watcher);
    for turn in 0..200 {
        let mut client = server.client();
        match turn % 4 {
            0 => client.raw(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$100000\r\nhalf"),
            1 => client.raw(&encode(&["SET", "k", &"x".repeat(50_000)])[..40_000]),
            2 => client.raw(b"SET k"),
            _ => client.raw(&encode(&["PING"]).repeat(1_000)),
        }
    }
    let gone = eventually(|| info_field(&mut watcher, "connected_clients") == "1");
    assert!(gone, "connected_clients stays at {}", info_field(&mut watcher, "connected_clients"));
    let mut after = 0;
    let returned = eventually(|| {
        after = settle(&mut watcher);
        after < before + MIB
    });
    assert!(returned, "used_memory was {before} and stays at {after}");
    assert_eq!(watcher.words("EXISTS k").int(), 0);
}

fn settle(client: &mut Client) -> usize {
    info_field(client, "used_memory").parse().expect("used_memory is a number")
}

#[test]
fn a_half_closed_connection_still_gets_its_replies() {
    let server = Server::start(&[]);
    let mut client = server.client();
    client.raw(&encode(&["SET", "big", &"x".repeat(3 * MIB)]));
    client.raw(&encode(&["GET", "big"]));
    client.raw(&encode(&["PING"]));
    client.half_close();
    assert_eq!(client.read(), Value::ok());
    assert_eq!(client.read(), Value::Bulk(vec![b'x'; 3 * MIB]));
    assert_eq!(client.read(), Value::Simple("PONG".into()));
    client.expect_closed();
}

#[test]
fn a_reader_that_never_reads_is_cut_off_and_costs_the_others_nothing() {
    let server = Server::start(&["--client-output-buffer-limit", "normal 4mb 0 0"]);
    let mut other = server.client();
    other.call(&["SET", "big", &"x".repeat(MIB)]);
    let mut lazy = server.client();
    // A server that stops reading before it cuts off leaves us with bytes it does not take: send from a thread of its own.
    let mut writer = lazy.stream().try_clone().expect("a second handle");
    let sending = std::thread::spawn(move || {
        let gets = encode(&["GET", "big"]).repeat(64);
        // It may well be cut off while we send.
        let _ = writer.write_all(&gets);
    });
    let cut = eventually(|| {
        assert_eq!(other.words("PING"), Value::Simple("PONG".into()));
        info_field(&mut other, "connected_clients") == "1"
    });
    assert!(cut, "a reader with more than 4 MiB unread stays connected");
    sending.join().expect("the sender ends");
    let mut rest = Vec::new();
    // A reset may come in place of the end; either way not all 64 values have come.
    let _ = lazy.stream().read_to_end(&mut rest);
    assert!(rest.len() < 64 * MIB);
}

#[test]
fn maxclients_refuses_with_a_reason() {
    let server = Server::start(&["--maxclients", "5"]);
    let clients: Vec<Client> = (0..5)
        .map(|_| {
            let mut client = server.client();
            assert_eq!(client.words("PING"), Value::Simple("PONG".into()));
            client
        })
        .collect();
    let mut sixth = server.client();
    sixth.expect_raw(b"-ERR max number of clients reached\r\n");
    sixth.expect_closed();
    drop(clients);
    let again = eventually(|| {
        let mut client = server.client();
        client.send(&["PING"]);
        matches!(client.try_read(), Ok(Value::Simple(_)))
    });
    assert!(again, "places become free again");
}

#[test]
fn idle_clients_are_closed_after_the_timeout() {
    let server = Server::start(&["--timeout", "1"]);
    let mut idle = server.client();
    let mut busy = server.client();
    assert_eq!(idle.words("PING"), Value::Simple("PONG".into()));
    idle.stream().set_nonblocking(true).expect("non-blocking");
    let closed = eventually(|| {
        assert_eq!(busy.words("PING"), Value::Simple("PONG".into()));
        matches!(idle.stream().read(&mut [0]), Ok(0))
    });
    assert!(closed, "an idle client stays connected beyond the timeout");
}

#[test]
fn a_client_that_resets_harms_nobody() {
    let server = Server::start(&[]);
    for _ in 0..50 {
        let mut client = server.client();
        client.raw(&encode(&["PING"]).repeat(2_000));
        client.stream().shutdown(Shutdown::Both).expect("shutdown");
    }
    assert_eq!(server.client().words("PING"), Value::Simple("PONG".into()));
}

#[test]
fn before_auth_only_a_few_commands_answer() {
    let server = Server::start(&["--requirepass", "secret"]);
    let mut client = server.client();
    let refused = Value::Error("NOAUTH Authentication required.".into());
    for command in ["PING", "GET k", "SELECT 1", "CLIENT ID", "COMMAND COUNT", "INFO", "NOSUCH"] {
        let reply = client.words(command);
        let unknown = matches!(&reply, Value::Error(text) if text.starts_with("ERR unknown command"));
        assert!(reply == refused || (command == "NOSUCH" && unknown), "{command}: {reply:?}");
    }
    let wrong = "WRONGPASS invalid username-password pair or user is disabled.";
    assert_eq!(client.words("AUTH wrong"), Value::Error(wrong.into()));
    assert_eq!(client.words("AUTH default wrong"), Value::Error(wrong.into()));
    assert_eq!(client.words("AUTH nobody secret"), Value::Error(wrong.into()));
    assert_eq!(client.words("PING"), refused);
    assert_eq!(client.words("AUTH secret"), Value::ok());
    assert_eq!(client.words("PING"), Value::Simple("PONG".into()));
    assert_eq!(client.words("AUTH wrong"), Value::Error(wrong.into()));
    assert_eq!(client.words("PING"), Value::Simple("PONG".into()), "a failed AUTH takes nothing away");
    assert_eq!(client.words("RESET"), Value::Simple("RESET".into()));
    assert_eq!(client.words("PING"), refused, "RESET takes the authentication away");
    let Value::Array(_) = client.words("HELLO 2 AUTH default secret") else { panic!("HELLO with AUTH") };
    assert_eq!(client.words("PING"), Value::Simple("PONG".into()));
    assert_eq!(
        client.words("CONFIG GET requirepass"),
        Value::Array(vec![Value::bulk("requirepass"), Value::bulk("secret")])
    );
}

#[test]
fn hello_before_auth() {
    let server = Server::start(&["--requirepass", "secret"]);
    let mut client = server.client();
    for hello in ["HELLO 3", "HELLO 2", "HELLO 3 SETNAME x"] {
        let Value::Error(text) = client.words(hello) else { panic!("{hello} is accepted") };
        // Redis has changed the middle of this sentence between versions; clients look at its first word.
        assert!(
            text.starts_with("NOAUTH HELLO must be called with the client already authenticated, otherwise"),
            "{text}"
        );
    }
    let wrong = "WRONGPASS invalid username-password pair or user is disabled.";
    assert_eq!(client.words("HELLO 3 AUTH default wrong"), Value::Error(wrong.into()));
    assert_eq!(client.words("HELLO 4"), Value::Error("NOPROTO unsupported protocol version".into()));
    assert_eq!(client.words("QUIT"), Value::ok());
    client.expect_closed();
}

#[test]
fn limits_are_tighter_before_auth() {
    let server = Server::start(&["--requirepass", "secret"]);
    let mut many = server.client();
    many.raw(b"*11\r\n");
    many.expect_raw(b"-ERR Protocol error: unauthenticated multibulk length\r\n");
    many.expect_closed();
    let mut large = server.client();
    large.raw(b"*2\r\n$4\r\nECHO\r\n$16385\r\n");
    large.expect_raw(b"-ERR Protocol error: unauthenticated bulk length\r\n");
    large.expect_closed();
    let mut authenticated = server.client();
    assert_eq!(authenticated.words("AUTH secret"), Value::ok());
    let long = "x".repeat(16_385);
    assert_eq!(authenticated.call(&["ECHO", &long]), Value::bulk(&long));
}

#[test]
fn client_reply_off_and_skip_byte_for_byte() {
    let server = Server::start(&[]);
    let mut client = server.client();
    client.raw(b"CLIENT REPLY OFF\r\nPING\r\nNOSUCH\r\nCLIENT REPLY ON\r\nCLIENT REPLY SKIP\r\nPING\r\nECHO after\r\n");
    client.expect_raw(b"+OK\r\n$5\r\nafter\r\n");
    client.raw(b"CLIENT REPLY SKIP\r\nCLIENT REPLY ON\r\nECHO again\r\n");
    client.expect_raw(b"+OK\r\n$5\r\nagain\r\n");
}

#[test]
fn debug_sleep_holds_the_lane_for_that_long() {
    let server = Server::start(&[]);
    let mut sleeper = server.client();
    let mut other = server.client();
    assert_eq!(other.words("PING"), Value::Simple("PONG".into()));
    let start = std::time::Instant::now();
    sleeper.send(&["DEBUG", "SLEEP", "0.3"]);
    assert_eq!(sleeper.read(), Value::ok());
    assert!(start.elapsed() >= Duration::from_millis(300));
    assert_eq!(other.words("PING"), Value::Simple("PONG".into()));
}

#[test]
fn ten_thousand_arguments_in_one_command() {
    let server = Server::start(&[]);
    let mut client = server.client();
    let mut sets = vec!["MSET".to_owned()];
    let mut gets = vec!["MGET".to_owned()];
    for i in 0..10_000 {
        sets.extend([format!("key{i}"), format!("value{i}")]);
        gets.push(format!("key{i}"));
    }
    assert_eq!(client.call(&sets), Value::ok());
    let reply = client.call(&gets);
    assert!(reply.items().iter().enumerate().all(|(i, value)| *value == Value::bulk(&format!("value{i}"))));
    assert_eq!(reply.items().len(), 10_000);
}

#[test]
fn a_browser_is_hung_up_on() {
    let server = Server::start(&[]);
    for request in [&b"POST / HTTP/1.1\r\nHost: x\r\n\r\nSET page 1\r\n"[..], b"Host: x\r\nSET page 1\r\n"] {
        let mut client = server.client();
        client.raw(request);
        client.expect_closed();
    }
    assert_eq!(server.client().words("GET page"), Value::Null);
}
