//! `corelane top`: asks a server for INFO again and again and shows what `admin/top.rs` makes of it, over itself on a terminal, page after
//! page elsewhere.

use std::io::{BufRead, BufReader, IsTerminal, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::admin::top::{SECTIONS, Snapshot, page};

const HELP: &str = "usage: corelane top [-h HOST] [-p PORT] [-a PASSWORD] [--interval SECONDS] [--count PAGES]

Shows the lanes of a running server, where its requests spend their time, and its commands.
The password may also be in REDISCLI_AUTH.
";

/// A server that does not answer for so long is taken for gone.
const PATIENCE: Duration = Duration::from_secs(5);

struct Options {
    host: String,
    port: u16,
    password: Option<String>,
    interval: Duration,
    pages: u64,
}

/// Runs with the words that follow `top`.
pub(super) fn run(args: &[String]) -> Result<(), String> {
    if args.iter().any(|arg| arg == "--help") {
        print!("{HELP}");
        return Ok(());
    }
    let options = parse(args)?;
    let place = format!("{}:{}", options.host, options.port);
    let mut server = Server::connect(&options).map_err(|error| format!("{place}: {error}"))?;
    let mut out = std::io::stdout();
    let over_itself = if out.is_terminal() { "\x1b[H\x1b[J" } else { "" };
    let mut before: Option<Snapshot> = None;
    for number in 0..options.pages {
        if number > 0 {
            std::thread::sleep(options.interval);
        }
        let info = server.ask(&["INFO"].into_iter().chain(SECTIONS.split(' ')).collect::<Vec<_>>());
        let now = Snapshot::of(&info.map_err(|error| format!("{place}: {error}"))?);
        let text = page(&place, &now, before.as_ref()).join("\n");
        if writeln!(out, "{over_itself}{text}\n").and_then(|()| out.flush()).is_err() {
            // Whoever read the pages has seen enough.
            return Ok(());
        }
        before = Some(now);
    }
    Ok(())
}

fn parse(args: &[String]) -> Result<Options, String> {
    let mut options = Options {
        host: "127.0.0.1".to_owned(),
        port: 6379,
        password: std::env::var("REDISCLI_AUTH").ok(),
        interval: Duration::from_secs(1),
        pages: u64::MAX,
    };
    let mut words = args.iter();
    while let Some(flag) = words.next() {
        let value = words.next().ok_or_else(|| format!("top: {flag} wants a value\n{HELP}"))?;
        let wrong = || format!("top: {value} is no value of {flag}\n{HELP}");
        match flag.as_str() {
            "-h" | "--host" => options.host.clone_from(value),
            "-p" | "--port" => options.port = value.parse().map_err(|_| wrong())?,
            "-a" | "--pass" => options.password = Some(value.clone()),
            "--interval" => {
                let seconds = value.parse().map_err(|_| wrong())?;
                options.interval = Duration::try_from_secs_f64(seconds).map_err(|_| wrong())?;
            }
            "--count" => options.pages = value.parse().map_err(|_| wrong())?,
            _ => return Err(format!("top: there is no {flag}\n{HELP}")),
        }
    }
    Ok(options)
}

struct Server {
    stream: BufReader<TcpStream>,
}

impl Server {
    fn connect(options: &Options) -> Result<Self, String> {
        let stream = TcpStream::connect((options.host.as_str(), options.port)).map_err(|error| error.to_string())?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(|error| error.to_string())?;
        let mut server = Self { stream: BufReader::new(stream) };
        if let Some(password) = &options.password {
            server.ask(&["AUTH", password])?;
        }
        Ok(server)
    }

    /// The answer as text; an error of the server's is one here too.
    fn ask(&mut self, words: &[&str]) -> Result<String, String> {
        let mut request = format!("*{}\r\n", words.len());
        words.iter().for_each(|word| request += &format!("${}\r\n{word}\r\n", word.len()));
        self.exchange(&request).map_err(|error| error.to_string())?
    }

    fn exchange(&mut self, request: &str) -> std::io::Result<Result<String, String>> {
        self.stream.get_mut().write_all(request.as_bytes())?;
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        let rest = line.get(1..).unwrap_or("").trim_end();
        match line.as_bytes().first() {
            Some(b'-') => Ok(Err(rest.to_owned())),
            Some(b'+') => Ok(Ok(rest.to_owned())),
            Some(b'$') => {
                let mut text = vec![0; rest.parse::<usize>().unwrap_or(0) + 2];
                self.stream.read_exact(&mut text)?;
                Ok(Ok(String::from_utf8_lossy(&text).into_owned()))
            }
            Some(_) => Ok(Err("this is no Redis protocol".to_owned())),
            None => Ok(Err("the server has closed the connection".to_owned())),
        }
    }
}
