//! A blocking connection: commands in, checked values out, or raw bytes both ways.

use super::PATIENCE;
use super::resp::{Dialect, Value, read_value};
use std::io::{self, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

pub(crate) struct Client {
    input: BufReader<TcpStream>,
    pub(crate) dialect: Dialect,
}

impl Client {
    pub(crate) fn connect(port: u16) -> Self {
        Self::try_connect(port).expect("the server accepts")
    }

    pub(crate) fn try_connect(port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port)))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { input: BufReader::new(stream), dialect: Dialect::Resp2 })
    }

    /// Sends one command and reads its reply.
    pub(crate) fn call<A: AsRef<[u8]>>(&mut self, args: &[A]) -> Value {
        self.send(args);
        self.read()
    }

    /// `words("SET a 1")`: for commands whose arguments hold no spaces.
    pub(crate) fn words(&mut self, line: &str) -> Value {
        self.call(&line.split(' ').collect::<Vec<_>>())
    }

    pub(crate) fn send<A: AsRef<[u8]>>(&mut self, args: &[A]) {
        self.raw(&encode(args));
    }

    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.stream().write_all(bytes).expect("the server takes the bytes");
    }

    pub(crate) fn read(&mut self) -> Value {
        self.try_read().expect("a reply")
    }

    pub(crate) fn try_read(&mut self) -> io::Result<Value> {
        read_value(&mut self.input, self.dialect)
    }

    pub(crate) fn try_read_byte(&mut self) -> io::Result<u8> {
        let mut byte = [0];
        self.input.read_exact(&mut byte).map(|()| byte[0])
    }

    /// Exactly these bytes come next.
    #[track_caller]
    pub(crate) fn expect_raw(&mut self, expected: &[u8]) {
        let mut got = vec![0; expected.len()];
        let outcome = self.input.read_exact(&mut got);
        assert!(outcome.is_ok(), "{outcome:?} while waiting for {:?}", String::from_utf8_lossy(expected));
        assert_eq!(String::from_utf8_lossy(&got), String::from_utf8_lossy(expected));
    }

    /// The server closes, and says nothing more before.
    #[track_caller]
    pub(crate) fn expect_closed(&mut self) {
        let mut rest = Vec::new();
        match self.input.read_to_end(&mut rest) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {}
            Err(error) => panic!("the connection was to be closed: {error}"),
        }
        assert_eq!(String::from_utf8_lossy(&rest), "");
    }

    /// Everything until the server closes; a reset counts as closing.
    pub(crate) fn read_until_closed(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        match self.input.read_to_end(&mut all) {
            Err(error) if error.kind() != io::ErrorKind::ConnectionReset => panic!("not closed: {error}"),
            _ => all,
        }
    }

    pub(crate) fn half_close(&mut self) {
        self.stream().shutdown(Shutdown::Write).expect("half-close");
    }

    pub(crate) fn stream(&mut self) -> &mut TcpStream {
        self.input.get_mut()
    }
}

/// The multibulk form of a command.
pub(crate) fn encode<A: AsRef<[u8]>>(args: &[A]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", args.len()).into_bytes();
    for arg in args {
        let arg = arg.as_ref();
        out.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
        out.extend_from_slice(arg);
        out.extend_from_slice(b"\r\n");
    }
    out
}
