//! Servers under measurement: command lines as data, started pinned, ended by the process that started them.
//!
//! In a command line `{port}` is the port to listen on, `{socket}` the path of a unix socket instead, and `{bin}` the folder
//! of this program, where cargo also puts `corelane`. A child inherits the affinity of the thread that forks it, which pins also those servers that know
//! nothing of pinning, before their first instruction.

use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::str::FromStr;
use std::thread;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::sleep;
use crate::cpu::{Cpu, Pid, pin_this_thread_to};
use crate::load::address::Address;
use crate::wire::Dialect;

/// A server that needs no command line.
struct BuiltIn {
    name: &'static str,
    command: &'static str,
    dialect: Dialect,
    cpus: usize,
}

const MEMCACHED: &str = "memcached -l 127.0.0.1 -p {port} -U 0 -t 1 -m 8192 -u nobody";
const REDIS: &str = "redis-server --port {port} --bind 127.0.0.1 --save '' --appendonly no";

const BUILT_IN: [BuiltIn; 11] = [
    built_in("corelane", "{bin}/corelane --port {port} --lanes 1", Dialect::Redis, 1),
    built_in("corelane-resp3", "{bin}/corelane --port {port} --lanes 1", Dialect::Resp3, 1),
    built_in("corelane2", "{bin}/corelane --port {port} --lanes 2", Dialect::Redis, 2),
    built_in("floor", "{bin}/corelane-bench floor --port {port}", Dialect::Fixed, 1),
    built_in("memcached", MEMCACHED, Dialect::Memcache, 1),
    built_in("memcached-binary", MEMCACHED, Dialect::Binary, 1),
    built_in("memcached-meta", MEMCACHED, Dialect::Meta, 1),
    built_in("redis", REDIS, Dialect::Redis, 1),
    built_in("redis-resp3", REDIS, Dialect::Resp3, 1),
    built_in("redis-unix", "redis-server --port 0 --unixsocket {socket} --save '' --appendonly no", Dialect::Redis, 1),
    built_in("valkey", "valkey-server --port {port} --bind 127.0.0.1 --save '' --appendonly no", Dialect::Redis, 1),
];

const fn built_in(name: &'static str, command: &'static str, dialect: Dialect, cpus: usize) -> BuiltIn {
    BuiltIn { name, command, dialect, cpus }
}

/// A server has this long from its start until it accepts.
const START_TRIES: u32 = 500;
const START_PAUSE: Duration = Duration::from_millis(20);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Server {
    pub(crate) name: String,
    pub(crate) command: String,
    pub(crate) dialect: Dialect,
    /// How many CPUs it is given.
    #[serde(default = "one")]
    pub(crate) cpus: usize,
}

fn one() -> usize {
    1
}

/// `NAME` of a built-in, `NAME=COMMAND`, `NAME:memcache=COMMAND`, `NAME@2=COMMAND` for one on two CPUs.
impl FromStr for Server {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some((name, command)) = text.split_once('=') else { return Self::built_in(text) };
        let (name, cpus) = match name.split_once('@') {
            None => (name, 1),
            Some((name, cpus)) => (name, cpus.parse().map_err(|_| format!("{cpus} is no number of CPUs"))?),
        };
        let (name, dialect) = match name.split_once(':') {
            None => (name, Dialect::Redis),
            Some((name, dialect)) => (name, dialect.parse()?),
        };
        // `NAME=BUILT-IN` runs a built-in server under another name.
        if let Ok(known) = Self::built_in(command) {
            return Ok(Self { name: name.to_owned(), ..known });
        }
        if !command.contains("{port}") && !command.contains("{socket}") {
            return Err(format!("the command of {name} must say where {{port}} or {{socket}} goes"));
        }
        Ok(Self { name: name.to_owned(), command: command.to_owned(), dialect, cpus })
    }
}

impl Server {
    pub(crate) fn built_in(name: &str) -> Result<Self, String> {
        let found = BUILT_IN.iter().find(|known| known.name == name);
        let BuiltIn { command, dialect, cpus, .. } = found.ok_or_else(|| {
            let known = BUILT_IN.map(|known| known.name).join(", ");
            format!("{name} is not built in ({known}): give NAME=COMMAND")
        })?;
        Ok(Self { name: name.to_owned(), command: (*command).to_owned(), dialect: *dialect, cpus: *cpus })
    }

    /// Whether its program is there at all.
    pub(crate) fn is_installed(&self) -> bool {
        let words = self.words(&Place { port: 0, socket: PathBuf::new() });
        let Some(program) = words.ok().and_then(|words| words.into_iter().next()) else { return false };
        let folders = std::env::var_os("PATH").unwrap_or_default();
        let mut candidates = std::env::split_paths(&folders).map(|folder| folder.join(&program));
        if program.contains('/') { Path::new(&program).is_file() } else { candidates.any(|path| path.is_file()) }
    }

    /// What the program itself says its version is.
    pub(crate) fn version(&self) -> Option<String> {
        let program = self.words(&Place { port: 0, socket: PathBuf::new() }).ok()?.into_iter().next()?;
        let output = Command::new(program).arg("--version").stdin(Stdio::null()).output().ok()?;
        let line = String::from_utf8(output.stdout).ok()?.lines().next()?.to_owned();
        output.status.success().then_some(line)
    }

    /// Starts the server on its CPUs, from `first` on, and returns when it accepts connections.
    pub(crate) fn start(&self, first: Cpu) -> Result<Running, String> {
        let place = Place::new().map_err(|error| format!("no free port: {error}"))?;
        let words = self.words(&place)?;
        let (program, arguments) = words.split_first().ok_or_else(|| format!("{} has an empty command", self.name))?;
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null());
        let child = spawn_on(&first.and_next(self.cpus), &mut command)
            .map_err(|error| format!("starting {} ({program}): {error}", self.name))?;
        let address =
            if self.command.contains("{socket}") { Address::Unix(place.socket) } else { Address::local(place.port) };
        let mut running = Running { child, address, port: place.port };
        running.wait_until_it_accepts().map_err(|why| format!("{}: {why}", self.name))?;
        Ok(running)
    }

    /// Whether lanes are stores of their own on ports of their own: then a figure of several would be one of a single lane.
    pub(crate) fn has_separate_lanes(&self, first: Cpu) -> Result<bool, String> {
        if self.cpus == 1 || !self.command.contains("--lanes") {
            return Ok(false);
        }
        let running = self.start(first)?;
        Ok(Address::local(running.port + 1).connect().is_ok())
    }

    fn words(&self, place: &Place) -> Result<Vec<String>, String> {
        let own = std::env::current_exe().map_err(|error| error.to_string())?;
        let folder = own.parent().ok_or("this program has no folder")?.display().to_string();
        let words = shlex::split(&self.command).ok_or_else(|| format!("unbalanced quotes: {}", self.command))?;
        let (port, socket) = (place.port.to_string(), place.socket.display().to_string());
        let fill = |word: &String| word.replace("{port}", &port).replace("{socket}", &socket).replace("{bin}", &folder);
        Ok(words.iter().map(fill).collect())
    }
}

/// Where a server may listen.
struct Place {
    port: u16,
    socket: PathBuf,
}

impl Place {
    fn new() -> io::Result<Self> {
        let port = free_port()?;
        let socket = std::env::temp_dir().join(format!("corelane-bench-{}-{port}.sock", std::process::id()));
        Ok(Self { port, socket })
    }
}

/// A started server; dropping it ends the process, and only that one.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    pub(crate) address: Address,
    pub(crate) port: u16,
}

impl Running {
    pub(crate) fn pid(&self) -> Pid {
        Pid(self.child.id())
    }

    fn wait_until_it_accepts(&mut self) -> Result<(), String> {
        for _ in 0..START_TRIES {
            if let Some(status) = self.child.try_wait().map_err(|error| error.to_string())? {
                return Err(format!("it ended at once with {status}"));
            }
            if self.address.connect().is_ok() {
                return Ok(());
            }
            sleep(START_PAUSE);
        }
        Err(format!("it did not accept on {} within {:?}", self.address, START_PAUSE * START_TRIES))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // An error means that it has ended by itself, which the run has noticed already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Address::Unix(path) = &self.address {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Forks from a thread that is pinned and then ends, so that this thread's own affinity stays what it was.
fn spawn_on(cpus: &[Cpu], command: &mut Command) -> io::Result<Child> {
    thread::scope(|scope| {
        let forking = scope.spawn(|| {
            pin_this_thread_to(cpus)?;
            command.spawn()
        });
        forking.join().map_err(|_| io::Error::other("the forking thread panicked"))?
    })
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_named_or_given_whole() {
        let place = |port| Place { port, socket: PathBuf::from("/s") };
        let redis: Server = "redis".parse().unwrap();
        assert_eq!((redis.dialect, redis.words(&place(7)).unwrap()[2].as_str()), (Dialect::Redis, "7"));
        assert_eq!(redis.words(&place(7)).unwrap()[6], "", "the quoted empty word of --save stays a word");
        let twin: Server = "other=redis".parse().unwrap();
        assert_eq!((twin.name.as_str(), &twin.command), ("other", &redis.command));
        let wide: Server = "w:resp3@2=s {socket}".parse().unwrap();
        assert_eq!((wide.cpus, wide.dialect, wide.words(&place(7)).unwrap()[1].as_str()), (2, Dialect::Resp3, "/s"));
        let own: Server = "mc:memcache=/opt/mc --listen=127.0.0.1:{port}".parse().unwrap();
        assert_eq!((own.name.as_str(), own.dialect), ("mc", Dialect::Memcache));
        assert_eq!(own.words(&place(80)).unwrap(), ["/opt/mc", "--listen=127.0.0.1:80"]);
        assert!("nosuch".parse::<Server>().is_err());
        assert!("x=server without a place for its port".parse::<Server>().is_err());
        assert!("x:gopher=s {port}".parse::<Server>().is_err() && "x@many=s {port}".parse::<Server>().is_err());
    }

    #[test]
    fn a_server_that_ends_at_once_is_reported() {
        let server: Server = "liar=true {port}".parse().unwrap();
        assert!(server.start(Cpu(0)).unwrap_err().contains("ended at once"));
    }
}
