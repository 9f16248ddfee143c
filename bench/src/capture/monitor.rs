//! `record --monitor`: what MONITOR tells of a server's load, as requests with their times.
//!
//! ```text
//!   +1700000000.123456 [0 127.0.0.1:50000] "SET" "k" "a\x00b"      ->  time, connection, *3 $3 SET $1 k $3 a.b
//! ```
//!
//! Times are those of the server, to the microsecond, and better than a proxy's; but the server works for it, and what it does on
//! its own (scripts, `lua` in the place of the address) is not a request and is left out. A database other than 0 is selected once
//! for its connection. Clients of a unix socket have no address that tells them apart: they are recorded as one connection.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use super::file::{write, write_head};
use super::proxy::Recorded;
use crate::clock::Clock;
use crate::load::address::Address;
use crate::load::client::append_command;
use crate::wire::Dialect;

pub(crate) fn record(server: &Address, file: &Path, time: Duration) -> Result<Recorded, String> {
    let wrong = |error: io::Error| format!("{}: {error}", file.display());
    let mut out = BufWriter::new(std::fs::File::create(file).map_err(wrong)?);
    write_head(&mut out, Dialect::Redis).map_err(wrong)?;
    let recorded = follow(server, &mut out, time)?;
    out.flush().map_err(wrong)?;
    Ok(recorded)
}

fn follow(server: &Address, out: &mut impl Write, time: Duration) -> Result<Recorded, String> {
    let wrong = |error: io::Error| format!("{server}: {error}");
    // Of a unix socket too it is only read and written.
    let mut stream = TcpStream::from(server.connect().map_err(wrong)?);
    stream.write_all(b"*1\r\n$7\r\nMONITOR\r\n").map_err(wrong)?;
    stream.set_read_timeout(Some(Duration::from_millis(100))).map_err(wrong)?;
    let mut lines = BufReader::new(stream);
    let clock = Clock::start();
    let until = clock.now() + time;
    let (mut line, mut tape) = (Vec::new(), Tape::default());
    let mut begun = false;
    while clock.now() < until {
        match lines.read_until(b'\n', &mut line) {
            Ok(0) => break,
            // A line may be cut by the timeout; its rest comes with the next reading.
            Ok(_) if !line.ends_with(b"\n") => continue,
            Ok(_) => {}
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => continue,
            Err(error) => return Err(wrong(error)),
        }
        if begun {
            tape.add(&line, out).map_err(wrong)?;
        } else if line != b"+OK\r\n" {
            return Err(format!("{server} has no MONITOR: {}", String::from_utf8_lossy(&line).trim_end()));
        }
        begun = true;
        line.clear();
    }
    Ok(Recorded { requests: tape.requests, connections: tape.count(), lost: 0 })
}

/// What has been written so far.
#[derive(Debug, Default)]
struct Tape {
    first_us: Option<u64>,
    /// By its name, the number and the database of each connection seen.
    connections: BTreeMap<String, (u32, u32)>,
    requests: u64,
}

impl Tape {
    fn add(&mut self, line: &[u8], out: &mut impl Write) -> io::Result<()> {
        let Some(Told { at_us, database, connection, words }) = told(line) else { return Ok(()) };
        let at_ns = at_us.saturating_sub(*self.first_us.get_or_insert(at_us)) * 1000;
        let fresh = self.count();
        let (number, selected) = self.connections.entry(connection).or_insert((fresh, 0));
        let (number, changed) = (*number, std::mem::replace(selected, database) != database);
        let mut bytes = Vec::new();
        if changed {
            append_command(&["SELECT".to_owned(), database.to_string()], &mut bytes);
            write(out, at_ns, number, &bytes)?;
            bytes.clear();
        }
        append_command(&words, &mut bytes);
        self.requests += 1;
        write(out, at_ns, number, &bytes)
    }

    fn count(&self) -> u32 {
        u32::try_from(self.connections.len()).expect("connections are counted by 32 bits")
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Told {
    at_us: u64,
    database: u32,
    connection: String,
    words: Vec<Vec<u8>>,
}

/// One line of MONITOR; `None` of what no client asked for.
fn told(line: &[u8]) -> Option<Told> {
    let text = line.strip_prefix(b"+")?;
    let open = memchr::memchr(b'[', text)?;
    let close = memchr::memchr(b']', text)?;
    let time = std::str::from_utf8(text.get(..open)?).ok()?.trim();
    let (seconds, micros) = time.split_once('.')?;
    let at_us = seconds.parse::<u64>().ok()? * 1_000_000 + micros.parse::<u64>().ok()?;
    let (database, connection) = std::str::from_utf8(text.get(open + 1..close)?).ok()?.split_once(' ')?;
    let words = words(text.get(close + 1..)?)?;
    let is_client = connection != "lua" && !words.is_empty();
    is_client.then_some(Told { at_us, database: database.parse().ok()?, connection: connection.to_owned(), words })
}

/// Quoted words with \n, \r, \t, \a, \b, \\, \" and \xHH in them.
fn words(mut text: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut words = Vec::new();
    while let Some(start) = memchr::memchr(b'"', text) {
        let mut word = Vec::new();
        let mut rest = text.get(start + 1..)?;
        loop {
            match rest {
                [b'"', after @ ..] => {
                    text = after;
                    break;
                }
                [b'\\', b'x', high, low, after @ ..] => {
                    let digits = [*high, *low];
                    word.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
                    rest = after;
                }
                [b'\\', letter, after @ ..] => {
                    word.push(match letter {
                        b'n' => b'\n',
                        b'r' => b'\r',
                        b't' => b'\t',
                        b'a' => 7,
                        b'b' => 8,
                        other => *other,
                    });
                    rest = after;
                }
                [byte, after @ ..] => {
                    word.push(*byte);
                    rest = after;
                }
                [] => return None,
            }
        }
        words.push(word);
    }
    Some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_request_with_its_time() {
        let told = told(b"+1700000000.123456 [3 127.0.0.1:50000] \"set\" \"k y\" \"a\\x00\\\"\\\\\\n]\"\r\n").unwrap();
        assert_eq!(
            (told.at_us, told.database, told.connection.as_str()),
            (1_700_000_000_123_456, 3, "127.0.0.1:50000")
        );
        assert_eq!(told.words, [b"set".to_vec(), b"k y".to_vec(), b"a\0\"\\\n]".to_vec()]);
    }

    #[test]
    fn what_is_no_request_is_left_out() {
        for line in [&b"+OK\r\n"[..], b"+1.5 [0 lua] \"get\" \"k\"\r\n", b"+1.5 [0 a] \"cut", b"+x [0 a] \"get\"\r\n"] {
            assert_eq!(told(line), None, "{}", line.escape_ascii());
        }
    }

    #[test]
    fn a_database_is_selected_once() {
        let (mut tape, mut out) = (Tape::default(), Vec::new());
        for line in [&b"+1.000001 [2 a] \"get\" \"k\"\r\n"[..], b"+1.000003 [2 a] \"get\" \"k\"\r\n"] {
            tape.add(line, &mut out).unwrap();
        }
        let mut file = Vec::new();
        write_head(&mut file, Dialect::Redis).unwrap();
        file.extend_from_slice(&out);
        let (_, seen) = super::super::file::read(&mut &file[..]).unwrap();
        let times: Vec<u64> = seen.iter().map(|seen| seen.at_ns).collect();
        assert_eq!(
            (times, tape.requests, seen[0].bytes.starts_with(b"*2\r\n$6\r\nSELECT")),
            (vec![0, 0, 2000], 2, true)
        );
    }
}
