//! Servers under measurement: command lines as data, started pinned, ended by the process that started them.
//!
//! In a command line `{port}` is the port to listen on and `{bin}` the folder of this program, where cargo also puts
//! `corelane`. A child inherits the affinity of the thread that forks it, which pins also those servers that know
//! nothing of pinning, before their first instruction.

use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::str::FromStr;
use std::thread;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::sleep;
use crate::cpu::{Cpu, Pid};
use crate::workload::Dialect;

/// Servers that need no command line: name, command, dialect.
const BUILT_IN: [(&str, &str, Dialect); 4] = [
    ("corelane", "{bin}/corelane --port {port}", Dialect::Redis),
    ("floor", "{bin}/corelane-bench floor --port {port}", Dialect::Fixed),
    ("memcached", "memcached -l 127.0.0.1 -p {port} -U 0 -t 1 -m 4096 -u nobody", Dialect::Memcache),
    ("redis", "redis-server --port {port} --bind 127.0.0.1 --save '' --appendonly no", Dialect::Redis),
];

/// A server has this long from its start until it accepts.
const START_TRIES: u32 = 500;
const START_PAUSE: Duration = Duration::from_millis(20);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Server {
    pub(crate) name: String,
    pub(crate) command: String,
    pub(crate) dialect: Dialect,
}

/// `NAME` of a built-in, `NAME=COMMAND`, or `NAME:memcache=COMMAND`.
impl FromStr for Server {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some((name, command)) = text.split_once('=') else { return Self::built_in(text) };
        let (name, dialect) = match name.split_once(':') {
            None => (name, Dialect::Redis),
            Some((name, "redis")) => (name, Dialect::Redis),
            Some((name, "fixed")) => (name, Dialect::Fixed),
            Some((name, "memcache")) => (name, Dialect::Memcache),
            Some((_, other)) => return Err(format!("{other} is none of redis, memcache, fixed")),
        };
        if !command.contains("{port}") {
            return Err(format!("the command of {name} must say where {{port}} goes"));
        }
        Ok(Self { name: name.to_owned(), command: command.to_owned(), dialect })
    }
}

impl Server {
    fn built_in(name: &str) -> Result<Self, String> {
        let found = BUILT_IN.iter().find(|(built_in, ..)| *built_in == name);
        let (name, command, dialect) = found.ok_or_else(|| {
            let known = BUILT_IN.map(|(name, ..)| name).join(", ");
            format!("{name} is not built in ({known}): give NAME=COMMAND")
        })?;
        Ok(Self { name: (*name).to_owned(), command: (*command).to_owned(), dialect: *dialect })
    }

    /// What the program itself says its version is.
    pub(crate) fn version(&self) -> Option<String> {
        let program = self.words(0).ok()?.into_iter().next()?;
        let output = Command::new(program).arg("--version").stdin(Stdio::null()).output().ok()?;
        let line = String::from_utf8(output.stdout).ok()?.lines().next()?.to_owned();
        output.status.success().then_some(line)
    }

    /// Starts the server on one CPU and returns when it accepts connections.
    pub(crate) fn start(&self, cpu: Cpu) -> Result<Running, String> {
        let port = free_port().map_err(|error| format!("no free port: {error}"))?;
        let words = self.words(port)?;
        let (program, arguments) = words.split_first().ok_or_else(|| format!("{} has an empty command", self.name))?;
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null());
        let child =
            spawn_on(cpu, &mut command).map_err(|error| format!("starting {} ({program}): {error}", self.name))?;
        let mut running = Running { child, port };
        running.wait_until_it_accepts().map_err(|why| format!("{}: {why}", self.name))?;
        Ok(running)
    }

    fn words(&self, port: u16) -> Result<Vec<String>, String> {
        let own = std::env::current_exe().map_err(|error| error.to_string())?;
        let folder = own.parent().ok_or("this program has no folder")?.display().to_string();
        let words = shlex::split(&self.command).ok_or_else(|| format!("unbalanced quotes: {}", self.command))?;
        Ok(words.iter().map(|word| word.replace("{port}", &port.to_string()).replace("{bin}", &folder)).collect())
    }
}

/// A started server; dropping it ends the process, and only that one.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
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
            if TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok() {
                return Ok(());
            }
            sleep(START_PAUSE);
        }
        Err(format!("it did not accept on port {} within {:?}", self.port, START_PAUSE * START_TRIES))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // An error means that it has ended by itself, which the run has noticed already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Forks from a thread that is pinned and then ends, so that this thread's own affinity stays what it was.
fn spawn_on(cpu: Cpu, command: &mut Command) -> io::Result<Child> {
    thread::scope(|scope| {
        let forking = scope.spawn(|| {
            cpu.pin_this_thread()?;
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
        let redis: Server = "redis".parse().unwrap();
        assert_eq!((redis.dialect, redis.words(7).unwrap()[2].as_str()), (Dialect::Redis, "7"));
        assert_eq!(redis.words(7).unwrap()[6], "", "the quoted empty word of --save stays a word");
        let own: Server = "mc:memcache=/opt/mc --listen=127.0.0.1:{port}".parse().unwrap();
        assert_eq!((own.name.as_str(), own.dialect), ("mc", Dialect::Memcache));
        assert_eq!(own.words(80).unwrap(), ["/opt/mc", "--listen=127.0.0.1:80"]);
        assert!("nosuch".parse::<Server>().is_err());
        assert!("x=server without a place for its port".parse::<Server>().is_err());
        assert!("x:gopher=s {port}".parse::<Server>().is_err());
    }

    #[test]
    fn a_server_that_ends_at_once_is_reported() {
        let server: Server = "liar=true {port}".parse().unwrap();
        assert!(server.start(Cpu(0)).unwrap_err().contains("ended at once"));
    }
}
