//! The server as a process: what it refuses to start with, and how it leaves.

mod config;
mod journal;
mod lanes;
mod leaks;
mod loading;
mod rewrite;
mod starved;
mod top;
mod unread;
mod users;

use crate::support::client::encode;
use crate::support::server::{free_port, info_field, run_program, run_to_end, scratch_dir};
use crate::support::{Client, Server, Target, Value, eventually};
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

/// Refusals end with a status other than 0, at once, and say what is wrong in words an operator can act on.
#[track_caller]
fn refuses(args: &[&str], said: &[&str]) {
    let ended = run_to_end(args);
    let output = ended.output.to_lowercase();
    assert!(ended.code.is_some_and(|code| code != 0), "{args:?} ends with {:?}:\n{}", ended.code, ended.output);
    for word in said {
        assert!(output.contains(&word.to_lowercase()), "{args:?}: {word:?} is missing in:\n{}", ended.output);
    }
}

#[test]
fn a_used_port_is_refused() {
    let taken = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let port = taken.local_addr().expect("it is bound").port().to_string();
    refuses(&["--port", &port], &["in use", &port]);
}

#[test]
fn two_servers_do_not_share_a_port() {
    let server = Server::start(&[]);
    refuses(&["--port", &server.port.to_string()], &["in use"]);
}

#[test]
fn bad_options_are_refused() {
    refuses(&["--nosuchoption", "1"], &["nosuchoption"]);
    refuses(&["--port", "abc"], &["port"]);
    refuses(&["--port", "70000"], &["port", "between 0 and 65535"]);
    refuses(&["--maxclients", "0"], &["maxclients"]);
}

#[test]
fn an_unreadable_config_is_refused() {
    refuses(&["/nonexistent/corelane.conf"], &["/nonexistent/corelane.conf"]);
}

/// Corelane's refusals: this one line and nothing else.
#[track_caller]
fn refuses_in_one_line(args: &[&str], line: &str) {
    if Target::from_env() == Target::Redis {
        return;
    }
    let ended = run_to_end(args);
    assert_eq!(ended.output, format!("corelane: {line}\n"), "{args:?}");
    assert_eq!(ended.code, Some(1), "{args:?}");
}

#[test]
fn every_refusal_is_one_line_with_the_remedy() {
    let dir = scratch_dir();
    let loop_conf = dir.join("loop.conf");
    let name = loop_conf.to_str().expect("our own path is UTF-8");
    std::fs::write(&loop_conf, format!("port 0\ninclude {name}\n")).expect("a config file");
    refuses_in_one_line(
        &[name],
        &format!("{name}:2: include: {name} would be the 16th file within another: do files include each other?"),
    );
    std::fs::write(&loop_conf, "include /nonexistent/y.conf\n").expect("a config file");
    let missing = "cannot read configuration file /nonexistent/y.conf (No such file or directory)";
    refuses_in_one_line(&[name], &format!("{name}:1: include: {missing}"));
    refuses_in_one_line(
        &["/nonexistent/y.conf"],
        &format!("{missing}: give the path of a file to read, or options as --name value"),
    );
    refuses_in_one_line(&["--prot", "7000"], "--prot 7000: unknown option 'prot' (did you mean 'port'?)");
    refuses_in_one_line(&["--port", "70000"], "--port 70000: argument must be between 0 and 65535 inclusive");
    refuses_in_one_line(
        &["--logfile", "/nonexistent/log"],
        "cannot write logfile /nonexistent/log (No such file or directory): check the directory and its owner, or give another logfile",
    );
    refuses_in_one_line(
        &["--dir", "/nonexistent"],
        "cannot change to dir /nonexistent (No such file or directory): create it or give another dir",
    );
    std::fs::remove_dir_all(&dir).expect("our own folder");
}

/// A pattern includes what it matches, which may be nothing; a file stands where it is included.
#[test]
fn files_are_included_in_place() {
    let dir = scratch_dir();
    let path = |name: &str| dir.join(name).to_str().expect("our own path is UTF-8").to_owned();
    let write = |name: &str, text: String| std::fs::write(path(name), text).expect("our own folder");
    write("main.conf", format!("timeout 1\ninclude {}\ninclude {}\ntcp-keepalive 9\n", path("*.inc"), path("no*")));
    write("a.inc", "timeout 2\nmaxclients 70\n".into());
    write("b.inc", "timeout 3\ntcp-keepalive 8\n".into());
    let server = Server::start_with_config(&dir.join("main.conf"), &[]);
    let mut client = server.client();
    for (name, value) in [("timeout", "3"), ("maxclients", "70"), ("tcp-keepalive", "9")] {
        assert_eq!(client.words(&format!("CONFIG GET {name}")).items()[1], Value::bulk(value));
    }
    drop(server);
    std::fs::remove_dir_all(&dir).expect("our own folder");
}

/// The kernel takes a ring apart some tens of milliseconds after its process was killed, and the listening socket with it.
#[test]
fn a_killed_server_can_be_started_again_at_once() {
    let port = free_port();
    for _ in 0..5 {
        let mut command = Command::new(Target::program());
        command.args(["--port", &port.to_string()]).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        let mut clients = Vec::new();
        // The socket of the one before takes connections until the kernel has taken its ring apart.
        let mut answers = || {
            let Ok(mut client) = Client::try_connect(port) else { return false };
            let answered = client.stream().write_all(&encode(&["PING"])).is_ok()
                && client.try_read().is_ok_and(|reply| reply == Value::Simple("PONG".into()));
            clients.push(client);
            answered
        };
        let up = eventually(|| answers() || child.try_wait().is_ok_and(|ended| ended.is_some()));
        let answers = up && child.try_wait().is_ok_and(|ended| ended.is_none());
        child.kill().expect("our own child");
        let ended = child.wait_with_output().expect("our own child");
        assert!(answers, "{}", String::from_utf8_lossy(&[ended.stdout, ended.stderr].concat()));
    }
}

/// Through a socket; `tests/shard/protected.rs` has every kind of address.
#[test]
fn protected_mode_lets_in_this_machine_alone() {
    let allowed = Command::new("unshare").args(["-rn", "true"]).status().is_ok_and(|status| status.success());
    if !allowed {
        eprintln!("skipped: no network namespaces here");
        return;
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/process/stranger.py");
    let program = Target::program();
    let said = |flags: &[&str]| {
        let words = ["-rn", "/usr/bin/python3", script, program.to_str().expect("our own path is UTF-8")];
        run_program("unshare", &[&words[..], flags].concat()).output
    };
    let closed = said(&[]);
    assert!(closed.contains("127.0.0.2: +PONG") && closed.contains("192.0.2.7: -DENIED "), "{closed}");
    let open = said(&["--protected-mode", "no"]);
    assert!(open.contains("127.0.0.2: +PONG") && open.contains("192.0.2.7: +PONG"), "{open}");
    let locked = said(&["--requirepass", "secret"]);
    assert!(locked.contains("192.0.2.7: -NOAUTH "), "{locked}");
}

/// As Redis's DEBUG PANIC: what a bug leaves behind.
#[test]
fn a_panic_leaves_a_report_and_no_process() {
    let mut server = Server::start(&[]);
    let mut client = server.client();
    client.send(&["DEBUG", "PANIC"]);
    client.expect_closed();
    let ended = server.exit();
    assert_eq!(ended.signal(), Some(SIGABRT), "{ended:?}:\n{}", server.output());
    if Target::from_env() == Target::Corelane {
        let said = server.output();
        for part in [
            "BUG REPORT START",
            "panicked in thread lane-0 at src/",
            "DEBUG PANIC",
            "src/command/server.rs",
            "BUG REPORT END",
        ] {
            assert!(said.contains(part), "{part:?} is missing in:\n{said}");
        }
    }
}

const SIGABRT: i32 = 6;

#[test]
fn a_bad_line_is_refused_with_its_place() {
    let dir = scratch_dir();
    let file = dir.join("bad.conf");
    std::fs::write(&file, "port 0\n# a remark\n\nnosuchdirective yes\n").expect("a config file");
    let name = file.to_str().expect("our own path is UTF-8");
    let place = match Target::from_env() {
        Target::Corelane => "bad.conf:4",
        Target::Redis => "at line 4",
    };
    refuses(&[name], &[place, "nosuchdirective"]);
    std::fs::write(&file, "timeout 1\nport \"6379\n").expect("a config file");
    refuses(&[name], &[if Target::from_env() == Target::Corelane { "bad.conf:2" } else { "at line 2" }]);
    std::fs::remove_dir_all(&dir).expect("our own folder");
}

#[test]
fn a_config_file_and_flags_after_it() {
    let dir = scratch_dir();
    let file = dir.join("good.conf");
    std::fs::write(&file, "timeout 77\nmaxclients 50\nsave \"\"\n").expect("a config file");
    let server = Server::start_with_config(&file, &["--maxclients", "60"]);
    let mut client = server.client();
    assert_eq!(client.words("CONFIG GET timeout").items()[1], Value::bulk("77"));
    assert_eq!(client.words("CONFIG GET maxclients").items()[1], Value::bulk("60"));
    drop(server);
    std::fs::remove_dir_all(&dir).expect("our own folder");
}

/// The file is Debian's, as its package installs it or as tests/run copies it where only root may read it; flags only move it to where a test may write.
#[test]
fn the_redis_conf_of_debian_is_accepted() {
    let readable = ["/etc/redis/redis.conf", concat!(env!("CARGO_TARGET_TMPDIR"), "/../redis-debian.conf")]
        .into_iter()
        .find_map(|path| std::fs::read(path).ok())
        .expect("tests/run installs redis-server, which brings its redis.conf");
    let copy_dir = scratch_dir();
    let copy = copy_dir.join("redis.conf");
    std::fs::write(&copy, readable).expect("our own folder");
    let flags = ["--daemonize", "no", "--supervised", "no", "--pidfile", "", "--logfile", "", "--bind", "127.0.0.1"];
    let server = Server::start_with_config(&copy, &flags);
    assert_eq!(server.client().words("PING"), Value::Simple("PONG".into()));
    drop(server);
    std::fs::remove_dir_all(&copy_dir).expect("our own folder");
}

#[test]
fn signals_end_it_with_0() {
    for signal in ["TERM", "INT"] {
        let mut server = Server::start(&[]);
        let mut client = server.client();
        assert_eq!(client.words("SET k v"), Value::ok());
        server.signal(signal);
        assert_eq!(server.exit().code(), Some(0), "SIG{signal}:\n{}", server.output());
        client.expect_closed();
        assert!(Client::try_connect(server.port).is_err(), "nobody listens any more");
    }
}

#[test]
fn shutdown_ends_it_with_0() {
    for command in ["SHUTDOWN", "SHUTDOWN NOSAVE", "SHUTDOWN NOW", "SHUTDOWN NOSAVE NOW FORCE"] {
        let mut server = Server::start(&[]);
        let mut client = server.client();
        client.raw(&encode(&command.split(' ').collect::<Vec<_>>()));
        client.expect_closed();
        assert_eq!(server.exit().code(), Some(0), "{command}:\n{}", server.output());
    }
}

/// A promise of our own: Redis closes without sending the replies that it already has.
#[test]
fn what_was_read_is_answered_before_it_leaves() {
    if Target::from_env() == Target::Redis {
        return;
    }
    const COMMANDS: usize = 1_000;
    let mut server = Server::start(&[]);
    let mut client = server.client();
    let mut bytes = encode(&["INCR", "n"]).repeat(COMMANDS);
    bytes.extend(encode(&["SHUTDOWN", "NOSAVE"]));
    client.raw(&bytes);
    for turn in 1..=COMMANDS {
        assert_eq!(client.read().int(), i64::try_from(turn).expect("a small number"));
    }
    client.expect_closed();
    assert_eq!(server.exit().code(), Some(0));
}

#[test]
fn a_reader_that_never_reads_does_not_keep_it_from_leaving() {
    let mut server = Server::start(&[]);
    let mut lazy = server.client();
    lazy.call(&["SET", "big", &"x".repeat(1 << 20)]);
    let mut writer = lazy.stream().try_clone().expect("a second handle");
    // Fewer requests than any socket buffer, so that writing them never waits for the server.
    writer.write_all(&encode(&["GET", "big"]).repeat(64)).expect("small requests are taken");
    let mut other = server.client();
    assert!(eventually(|| other.words("PING") == Value::Simple("PONG".into())));
    server.signal("TERM");
    assert_eq!(server.exit().code(), Some(0));
}

/// It asks for COMMAND DOCS before the first command, and redis-cli 7.0 crashes on an argument that is a block of nothing.
#[test]
fn redis_cli_reads_commands_from_a_pipe() {
    let server = Server::start(&[]);
    let port = server.port.to_string();
    let mut cli = Command::new("redis-cli");
    cli.args(["-p", &port]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = cli.spawn().expect("tests/run installs redis-cli");
    child.stdin.take().expect("it is piped").write_all(b"PING\nCOMMAND DOCS\nECHO over\n").expect("it reads");
    let ended = child.wait_with_output().expect("our own child");
    let said = String::from_utf8_lossy(&ended.stdout);
    assert!(ended.status.success(), "{:?}\n{}", ended.status, String::from_utf8_lossy(&ended.stderr));
    assert!(said.starts_with("PONG\n") && said.ends_with("over\n"), "{} bytes", said.len());
}

/// Corelane, started by way of a program that narrows what it may do, refuses with these words.
#[track_caller]
fn refuses_under(wrapper: &str, its_args: &[&str], said: &[&str]) {
    if Target::from_env() == Target::Redis {
        return;
    }
    let (program, port) = (Target::program(), free_port().to_string());
    let program = program.to_str().expect("our own path is UTF-8");
    let ended = run_program(wrapper, &[its_args, &[program, "--port", &port]].concat());
    assert_eq!(ended.code, Some(1), "{}", ended.output);
    for word in said {
        assert!(ended.output.contains(word), "{word:?} is missing in:\n{}", ended.output);
    }
}

/// The wrapper installs a filter that refuses `what` and becomes the server.
#[track_caller]
fn refuses_without(what: &str, said: &[&str]) {
    let wrapper = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/process/refusing.py");
    refuses_under("/usr/bin/python3", &[wrapper, what], said);
}

/// A container's seccomp profile that knows no io_uring.
#[test]
fn blocked_io_uring_is_refused_with_the_remedy() {
    refuses_without("io_uring", &["io_uring is blocked", "seccomp"]);
}

/// What a kernel before 5.19 says.
#[test]
fn a_missing_ring_feature_is_refused_by_name() {
    refuses_without("buffer_rings", &["this kernel lacks provided buffer rings of io_uring: use Linux 5.19 or later"]);
}

#[test]
fn too_little_lockable_memory_is_refused_with_the_remedy() {
    refuses_under("prlimit", &["--memlock=65536:65536"], &["memlock", "ulimit -l"]);
}

#[test]
fn too_few_open_files_are_refused_with_the_remedy() {
    refuses_under("prlimit", &["--nofile=8:8"], &["corelane: the limit of open files is 8,", "ulimit -n"]);
}

/// Raising `maxclients` raises the limit of open files; what that does not allow is refused in Redis's words.
#[test]
fn maxclients_beyond_the_open_files_is_refused() {
    let server = Server::start(&["--maxclients", "100"]);
    let mut client = server.client();
    let Value::Error(said) = client.words("CONFIG SET timeout 5 maxclients 4000000000") else {
        panic!("too many clients")
    };
    let expected = "ERR CONFIG SET failed (possibly related to argument 'maxclients') - The operating system is not able to \
                    handle the specified number of clients, try with ";
    assert!(said.strip_prefix(expected).is_some_and(|number| number.parse::<u64>().is_ok()), "{said}");
    assert_eq!(client.words("CONFIG GET maxclients").items()[1], Value::bulk("100"));
    assert_eq!(client.words("CONFIG GET timeout").items()[1], Value::bulk("0"));
    assert_eq!(client.words("CONFIG SET maxclients 150"), Value::ok());
}

/// The limit is raised as far as allowed, and what is still missing is said.
#[test]
fn open_files_follow_maxclients() {
    if Target::from_env() == Target::Redis {
        return;
    }
    let (limit, said) = open_files("--nofile=100:4096");
    assert!(limit >= 300 && !said.contains("limit of open files"), "{limit}: {said}");
    let (limit, said) = open_files("--nofile=100:200");
    assert!(limit == 200 && said.contains("limit of open files is 200"), "{limit}: {said}");
}

/// Who comes beyond what the limit has room for is told so; it was once left waiting in the backlog of the listening socket.
#[test]
fn maxclients_shrinks_to_what_the_open_files_have_room_for() {
    if Target::from_env() == Target::Redis {
        return;
    }
    let port = free_port();
    let mut command = Command::new("prlimit");
    command.arg("--nofile=100:100").arg(Target::program()).args(["--port", &port.to_string(), "--lanes", "1"]);
    let mut child = command.stdout(Stdio::null()).spawn().expect("Debian has util-linux");
    let up = eventually(|| Client::try_connect(port).is_ok());
    let outcome = std::panic::catch_unwind(|| {
        assert!(up, "it does not start");
        let mut first = Client::connect(port);
        let room = first.words("CONFIG GET maxclients").items()[1].text().parse::<usize>().expect("a number");
        assert!((20..100).contains(&room), "maxclients {room}");
        let mut clients: Vec<Client> = (1..room).map(|_| Client::connect(port)).collect();
        assert!(clients.iter_mut().all(|client| client.words("PING") == Value::Simple("PONG".into())));
        let refusal = Client::connect(port).read();
        assert_eq!(refusal, Value::Error("ERR max number of clients reached".into()));
    });
    child.kill().expect("our own child");
    child.wait().expect("our own child");
    outcome.expect("what was seen while it ran");
}

/// The soft limit that a server for 300 clients ends up with when it starts under `limits`, and what it said until then.
fn open_files(limits: &str) -> (u64, String) {
    let port = free_port();
    let mut command = Command::new("prlimit");
    command.arg(limits).arg(Target::program()).args(["--port", &port.to_string(), "--maxclients", "300"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("Debian has util-linux");
    let up = eventually(|| Client::try_connect(port).is_ok());
    let pid = child.id().to_string();
    let asked = Command::new("prlimit").args(["--pid", &pid, "--nofile", "--noheadings", "--output", "SOFT"]).output();
    child.kill().expect("our own child");
    let ended = child.wait_with_output().expect("our own child");
    let said = String::from_utf8_lossy(&[ended.stdout, ended.stderr].concat()).into_owned();
    assert!(up, "it does not start: {said}");
    let limit = String::from_utf8_lossy(&asked.expect("it was there before").stdout).trim().parse();
    (limit.expect("a number"), said)
}

/// The lane keeps copies of two options; what CONFIG SET changes must reach them.
#[test]
fn the_lane_follows_its_options() {
    if Target::from_env() == Target::Redis {
        return;
    }
    let server = Server::start(&["--poll-us", "0"]);
    let mut client = server.client();
    let spins = |client: &mut Client| -> u64 {
        ["lane_spins_paid", "lane_spins_wasted"]
            .iter()
            .map(|field| info_field(client, field).parse::<u64>().expect("a number"))
            .sum()
    };
    for _ in 0..20 {
        client.words("PING");
    }
    assert_eq!(spins(&mut client), 0);
    assert_eq!(client.words("CONFIG SET poll-us 50 tcp-keepalive 7"), Value::ok());
    for _ in 0..20 {
        client.words("PING");
    }
    assert!(spins(&mut client) > 10);
    // The kernel shows the timer of a resend in its place until the last reply is acknowledged.
    let mut newcomer = server.client();
    newcomer.words("PING");
    let inherited = |newcomer: &mut Client| keepalive_ticks(newcomer).is_some_and(|ticks| ticks <= 700);
    assert!(eventually(|| inherited(&mut newcomer)), "{:?}", keepalive_ticks(&mut newcomer));
}

/// What `ss` calls Send-Q of a listening socket is how many connections may wait to be accepted, up to the kernel's own bound.
#[test]
fn the_backlog_is_as_wanted() {
    let somaxconn = std::fs::read_to_string("/proc/sys/net/core/somaxconn").expect("the kernel's bound");
    for wanted in [None, Some("77")] {
        let flags: Vec<&str> = wanted.iter().flat_map(|wanted| ["--tcp-backlog", wanted]).collect();
        let server = Server::start(&flags);
        let filter = format!("sport = :{}", server.port);
        let Ok(output) = Command::new("ss").args(["-Hltn", &filter]).output() else {
            eprintln!("skipped: no ss");
            return;
        };
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let backlog: u32 = text.split_whitespace().nth(2).and_then(|field| field.parse().ok()).expect(&text);
        let expected = wanted.unwrap_or("511").parse::<u32>().expect("a number");
        assert_eq!(backlog, expected.min(somaxconn.trim().parse().expect("a number")), "{text}");
    }
}

/// Hundredths of a second until the kernel's next probe on the server's side of `client`, out of the table of sockets.
fn keepalive_ticks(client: &mut Client) -> Option<u64> {
    const KEEPALIVE_TIMER: &str = "02";
    let port = client.stream().local_addr().expect("it is connected").port();
    let server_port = client.stream().peer_addr().expect("it is connected").port();
    // The same port may be in use beside for a connection to another server.
    let is_end = |place: usize, port: u16, fields: &[&str]| {
        fields.get(place).is_some_and(|address| address.ends_with(&format!(":{port:04X}")))
    };
    let table = std::fs::read_to_string("/proc/net/tcp").expect("the kernel's table");
    let fields: Vec<&str> = table
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .find(|fields| is_end(1, server_port, fields) && is_end(2, port, fields))?;
    let (kind, when) = fields.get(5)?.split_once(':')?;
    (kind == KEEPALIVE_TIMER).then(|| u64::from_str_radix(when, 16).ok()).flatten()
}

#[test]
fn version_and_help() {
    let version = run_to_end(&["--version"]);
    assert_eq!(version.code, Some(0), "{}", version.output);
    assert!(version.output.chars().any(|c| c.is_ascii_digit()), "{}", version.output);
    let help = run_to_end(&["--help"]);
    assert!(help.code.is_some(), "--help ends");
    assert!(help.output.contains("--port"), "{}", help.output);
}

/// Ten thousand clients that said a word and then nothing: what each of them keeps resident.
#[test]
fn idle_connections_are_small() {
    const WANTED: usize = 10_000;
    const BYTES_MAX: u64 = 4096;
    if Target::from_env() == Target::Redis {
        return;
    }
    // This process holds the other ends. Where the machine does not allow so many, fewer tell the same.
    let own = std::process::id().to_string();
    let _ = Command::new("prlimit").args(["--pid", &own, "--nofile=12000:"]).status();
    let server = Server::start(&["--maxclients", "10100"]);
    let mut first = server.client();
    first.words("PING");
    let before = resident_bytes(&server);
    let mut clients = Vec::new();
    while clients.len() < WANTED
        && let Ok(client) = Client::try_connect(server.port)
    {
        clients.push(client);
    }
    assert!(clients.len() > 500, "{} connections", clients.len());
    for client in &mut clients {
        assert_eq!(client.words("PING"), Value::Simple("PONG".into()));
    }
    let each = resident_bytes(&server).saturating_sub(before) / clients.len() as u64;
    assert!(each <= BYTES_MAX, "{each} bytes for each of {}", clients.len());
    drop(clients);
    assert!(eventually(|| info_field(&mut first, "connected_clients") == "1"), "all of them are counted out");
}

fn resident_bytes(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("the kernel tells it");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") << 10
}
