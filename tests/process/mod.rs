//! The server as a process: what it refuses to start with, and how it leaves.

use crate::support::client::encode;
use crate::support::server::{run_to_end, scratch_dir};
use crate::support::{Client, Server, Target, Value, eventually};
use std::io::Write;
use std::net::TcpListener;

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
    refuses(&["--port", "70000"], &["port"]);
    refuses(&["--maxclients", "0"], &["maxclients"]);
}

#[test]
fn an_unreadable_config_is_refused() {
    refuses(&["/nonexistent/corelane.conf"], &["/nonexistent/corelane.conf"]);
}

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

#[test]
fn version_and_help() {
    let version = run_to_end(&["--version"]);
    assert_eq!(version.code, Some(0), "{}", version.output);
    assert!(version.output.chars().any(|c| c.is_ascii_digit()), "{}", version.output);
    let help = run_to_end(&["--help"]);
    assert!(help.code.is_some(), "--help ends");
    assert!(help.output.contains("--port"), "{}", help.output);
}
