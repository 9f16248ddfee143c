//! A server process of one test: own port, own folder, ended by its process id.
//!
//! `CORELANE_TEST_SERVER` names another program (`redis`, or a path). Flags are Redis's own, so the same start line suits both.

use super::{Client, Value, eventually};
use std::ffi::OsStr;
use std::fs::File;
use std::io::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Who is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Corelane,
    Redis,
}

impl Target {
    pub(crate) fn from_env() -> Self {
        if std::env::var_os("CORELANE_TEST_SERVER").is_some() { Self::Redis } else { Self::Corelane }
    }

    pub(crate) fn program() -> PathBuf {
        Self::from_env().path()
    }

    fn path(self) -> PathBuf {
        match (self, std::env::var("CORELANE_TEST_SERVER")) {
            (Self::Corelane, _) => env!("CARGO_BIN_EXE_corelane").into(),
            (Self::Redis, Ok(path)) if path != "redis" => path.into(),
            (Self::Redis, _) => "redis-server".into(),
        }
    }
}

pub(crate) struct Server {
    child: Child,
    pub(crate) port: u16,
    dir: PathBuf,
}

impl Server {
    /// Starts with the given flags and waits until it accepts.
    pub(crate) fn start(flags: &[&str]) -> Self {
        Self::start_from(Target::from_env(), None, flags)
    }

    /// Redis, whoever else is tested: to compare with.
    pub(crate) fn start_redis(flags: &[&str]) -> Self {
        Self::start_from(Target::Redis, None, flags)
    }

    /// The same with a config file; the flags come after it and win.
    pub(crate) fn start_with_config(file: &Path, flags: &[&str]) -> Self {
        Self::start_from(Target::from_env(), Some(file), flags)
    }

    fn start_from(target: Target, config: Option<&Path>, flags: &[&str]) -> Self {
        // Another test may take the free port between our look and the server's bind: then the server exits and we look again.
        for _ in 0..5 {
            let mut server = Self::launch(target, config, flags);
            if server.accepts() {
                return server;
            }
            eprintln!("{}", server.output());
        }
        panic!("{:?} does not start with {flags:?}", target.path());
    }

    fn launch(target: Target, config: Option<&Path>, flags: &[&str]) -> Self {
        let dir = scratch_dir();
        let port = free_port();
        let mut command = Command::new(target.path());
        command
            .args(config)
            .args(["--port", &port.to_string(), "--dir"])
            .arg(&dir)
            .args(["--enable-debug-command", "yes"]);
        match target {
            Target::Corelane => command.args(["--lanes", "1"]),
            Target::Redis => command.args(["--save", "", "--appendonly", "no"]),
        };
        let child = spawn_logged(command.args(flags), &dir);
        Self { child, port, dir }
    }

    fn accepts(&mut self) -> bool {
        let mut gone = false;
        let up = eventually(|| {
            gone = self.child.try_wait().expect("the child can be asked").is_some();
            gone || Client::try_connect(self.port).is_ok()
        });
        up && !gone
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(self.port)
    }

    /// What it printed so far, both streams.
    pub(crate) fn output(&self) -> String {
        read_log(&self.dir)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by name, to this process only.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.pid().to_string()]).status();
        assert!(sent.is_ok_and(|status| status.success()), "kill -{name} {}", self.pid());
    }

    /// Waits for its end.
    pub(crate) fn exit(&mut self) -> ExitStatus {
        let mut status = None;
        let ended = eventually(|| {
            status = self.child.try_wait().expect("the child can be asked");
            status.is_some()
        });
        assert!(ended, "the server does not end:\n{}", self.output());
        status.expect("it has ended")
    }

    /// Waits until it has loaded its journal.
    pub(crate) fn loaded(self) -> Self {
        let mut client = self.client();
        assert!(eventually(|| matches!(client.words("DBSIZE"), Value::Int(_))), "it does not end loading");
        self
    }

    /// Ends it as an operator does.
    pub(crate) fn stop(mut self) {
        self.signal("TERM");
        assert!(self.exit().success());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let running = matches!(self.child.try_wait(), Ok(None));
        if running {
            // The process may end by itself in between; either way it is gone afterwards.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if std::thread::panicking() {
            eprintln!("server output:\n{}", self.output());
        }
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// A server that is killed and started again in the same place.
pub(crate) struct Crashing {
    pub(crate) port: u16,
    dir: PathBuf,
    flags: Vec<String>,
    env: (String, String),
    child: Option<Child>,
}

impl Crashing {
    pub(crate) fn new(port: u16, flags: &[&str], env: (&str, &str)) -> Self {
        let flags = flags.iter().map(ToString::to_string).collect();
        Self { port, dir: scratch_dir(), flags, env: (env.0.to_owned(), env.1.to_owned()), child: None }
    }

    /// Starts it and waits until it serves.
    pub(crate) fn start(&mut self) {
        self.try_start().unwrap_or_else(|why| panic!("it does not come up, {why}"));
    }

    /// The same; what it said if it does not come up.
    pub(crate) fn try_start(&mut self) -> Result<(), String> {
        let mut command = Command::new(Target::program());
        command.args(["--port", &self.port.to_string(), "--dir"]).arg(&self.dir).args(&self.flags);
        command.env(&self.env.0, &self.env.1);
        self.child = Some(spawn_logged(&mut command, &self.dir));
        let mut last = String::new();
        let mut gone = false;
        let up = eventually(|| {
            gone = self.child.as_mut().is_some_and(|child| child.try_wait().is_ok_and(|status| status.is_some()));
            let answer = Client::try_connect(self.port).and_then(|mut client| {
                // Whom the killed one had let in is turned away.
                client.stream().write_all(b"*1\r\n$6\r\nDBSIZE\r\n")?;
                client.try_read()
            });
            last = format!("{answer:?}");
            gone || matches!(answer, Ok(Value::Int(_)))
        });
        if up && !gone {
            return Ok(());
        }
        Err(format!("{last}:\n{}", read_log(&self.dir)))
    }

    /// Where its journal is.
    pub(crate) fn journal_dir(&self) -> PathBuf {
        self.dir.join("appendonlydir")
    }

    /// What it printed since it was started.
    pub(crate) fn output(&self) -> String {
        read_log(&self.dir)
    }

    /// Without what made it fail, from the next start on.
    pub(crate) fn heal(&mut self) {
        self.env.1.clear();
    }

    /// SIGTERM; with which code it ends, and what it has said.
    pub(crate) fn terminate(&mut self) -> (Option<i32>, String) {
        let mut child = self.child.take().expect("it runs");
        let sent = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
        assert!(sent.is_ok_and(|status| status.success()), "kill -TERM {}", child.id());
        let mut status = None;
        let ended = eventually(|| {
            status = child.try_wait().expect("our own child");
            status.is_some()
        });
        assert!(ended, "the server does not end:\n{}", read_log(&self.dir));
        (status.and_then(|status| status.code()), read_log(&self.dir))
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        // It may have ended by itself.
        let _ = child.kill();
        child.wait().expect("our own child");
    }
}

impl Drop for Crashing {
    fn drop(&mut self) {
        if self.child.is_some() {
            self.kill();
        }
        if std::thread::panicking() {
            eprintln!("server output:\n{}", read_log(&self.dir));
        }
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// One field of INFO, asked on this connection.
pub(crate) fn info_field(client: &mut Client, field: &str) -> String {
    let Value::Bulk(text) = client.words("INFO everything") else { panic!("INFO is a bulk string") };
    let text = String::from_utf8(text).expect("INFO is text");
    let prefix = format!("{field}:");
    let line = text.lines().find_map(|line| line.strip_prefix(&prefix));
    line.unwrap_or_else(|| panic!("INFO has no {field}")).to_owned()
}

/// The end of a program that was expected to refuse: its exit code and all it printed.
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) output: String,
}

/// Runs the server where it is expected to end by itself at once.
pub(crate) fn run_to_end(args: &[&str]) -> Ended {
    run_program(Target::program(), args)
}

/// The same with another program, which becomes the server under some condition.
pub(crate) fn run_program(program: impl AsRef<OsStr>, args: &[&str]) -> Ended {
    let dir = scratch_dir();
    let mut child = spawn_logged(Command::new(program).args(args), &dir);
    let deadline = Instant::now() + Duration::from_secs(5);
    let code = loop {
        match child.try_wait().expect("the child can be asked") {
            Some(status) => break status.code(),
            None if Instant::now() > deadline => {
                child.kill().expect("our own child");
                child.wait().expect("our own child");
                break None;
            }
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    };
    let output = read_log(&dir);
    let _ = std::fs::remove_dir_all(&dir);
    Ended { code, output }
}

fn spawn_logged(command: &mut Command, dir: &Path) -> Child {
    let log = File::create(dir.join("output")).expect("a log file");
    let copy = log.try_clone().expect("a second handle");
    command.stdin(Stdio::null()).stdout(log).stderr(copy);
    command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

fn read_log(dir: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(dir.join("output")).unwrap_or_default()).into_owned()
}

/// A fresh folder below target/, named by process and turn so that parallel tests never share one.
pub(crate) fn scratch_dir() -> PathBuf {
    static TURN: AtomicU32 = AtomicU32::new(0);
    let name = format!("server-{}-{}", std::process::id(), TURN.fetch_add(1, Ordering::Relaxed));
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&dir).expect("a scratch folder");
    dir
}

/// The first of so many ports in a row that are free now.
pub(crate) fn consecutive_free_ports(count: u16) -> u16 {
    let free = |port| TcpListener::bind(("127.0.0.1", port)).is_ok();
    let row = |first: u16| first.checked_add(count).is_some_and(|end| (first..end).all(free));
    std::iter::repeat_with(free_port).find(|first| row(*first)).expect("it looks until there is one")
}

pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    listener.local_addr().expect("it is bound").port()
}
