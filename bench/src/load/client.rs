//! A plain blocking client of RESP for what is not measured: the topology of a cluster, the making of disturbances.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;

use crate::wire::resp::{Halt, value_end};

/// A reply, as far as this tool looks into one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    Null,
    Integer(i64),
    Text(Vec<u8>),
    List(Vec<Self>),
}

impl Value {
    pub(crate) fn list(&self) -> Option<&[Self]> {
        if let Self::List(values) = self { Some(values) } else { None }
    }

    pub(crate) fn integer(&self) -> Option<i64> {
        if let Self::Integer(number) = self { Some(*number) } else { None }
    }

    pub(crate) fn text(&self) -> Option<&str> {
        if let Self::Text(bytes) = self { std::str::from_utf8(bytes).ok() } else { None }
    }
}

pub(crate) struct Client {
    /// A socket reads and writes like any file.
    socket: File,
    begun: Vec<u8>,
}

impl Client {
    pub(crate) fn over(socket: OwnedFd) -> Self {
        Self { socket: File::from(socket), begun: Vec::new() }
    }

    pub(crate) fn into_socket(self) -> OwnedFd {
        self.socket.into()
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.socket.write_all(bytes)
    }

    /// The next reply; an error reply is the inner error.
    pub(crate) fn receive(&mut self) -> io::Result<Result<Value, String>> {
        let mut chunk = [0; 16 << 10];
        loop {
            match value_end(&self.begun, 0) {
                Ok(end) => {
                    let reply = read(&self.begun[..end], &mut 0);
                    self.begun.drain(..end);
                    return reply.ok_or_else(|| io::Error::other("a reply that is no RESP"));
                }
                Err(Halt::Malformed) => return Err(io::Error::other("a reply that is no RESP")),
                Err(Halt::Incomplete) => match self.socket.read(&mut chunk)? {
                    0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                    len => self.begun.extend_from_slice(&chunk[..len]),
                },
            }
        }
    }

    pub(crate) fn call(&mut self, words: &[&str]) -> Result<Value, String> {
        let mut bytes = Vec::new();
        append_command(words, &mut bytes);
        self.send(&bytes).and_then(|()| self.receive()).map_err(|error| format!("{}: {error}", words.join(" ")))?
    }
}

pub(crate) fn append_command(words: &[impl AsRef<[u8]>], out: &mut Vec<u8>) {
    out.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
    for word in words {
        let word = word.as_ref();
        out.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
}

/// The value at `at`, which is whole; `at` moves behind it. `None` of what only looks whole.
fn read(bytes: &[u8], at: &mut usize) -> Option<Result<Value, String>> {
    let line_len = memchr::memchr(b'\n', bytes.get(*at..)?)?;
    let line = bytes.get(*at..*at + line_len)?.strip_suffix(b"\r")?;
    let (kind, text) = line.split_first()?;
    *at += line_len + 1;
    let number = || std::str::from_utf8(text).ok()?.parse::<i64>().ok();
    Some(Ok(match kind {
        b':' => Value::Integer(number()?),
        b'-' => return Some(Err(String::from_utf8_lossy(text).into_owned())),
        b'$' | b'=' => match usize::try_from(number()?) {
            Err(_) => Value::Null,
            Ok(len) => {
                let data = bytes.get(*at..*at + len)?.to_vec();
                *at += len + 2;
                Value::Text(data)
            }
        },
        b'*' | b'%' | b'~' | b'>' => {
            let count = usize::try_from(number()?).unwrap_or(0) * if *kind == b'%' { 2 } else { 1 };
            let mut values = Vec::new();
            for _ in 0..count {
                match read(bytes, at)? {
                    Ok(value) => values.push(value),
                    Err(error) => return Some(Err(error)),
                }
            }
            Value::List(values)
        }
        b'_' => Value::Null,
        _ => Value::Text(text.to_vec()),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_become_values() {
        let value = |bytes: &[u8]| read(bytes, &mut 0).unwrap();
        assert_eq!(value(b"$2\r\nab\r\n"), Ok(Value::Text(b"ab".to_vec())));
        assert_eq!(value(b"*2\r\n:7\r\n$-1\r\n"), Ok(Value::List(vec![Value::Integer(7), Value::Null])));
        assert_eq!(value(b"%1\r\n+a\r\n_\r\n").unwrap().list().unwrap().len(), 2);
        assert_eq!(value(b"-ERR no\r\n"), Err("ERR no".to_owned()));
    }
}
