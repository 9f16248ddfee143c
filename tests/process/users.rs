//! Users of files: `user` lines, the ACL file, the default user's password; what is saved and loaded; and what those learn who may nothing.

use super::refuses;
use crate::support::server::scratch_dir;
use crate::support::{Client, Server, Target, Value, eventually};
use std::fs;
use std::path::{Path, PathBuf};

const HASH_OF_P: &str = "148de9c5a7a44d19e56cd9ae1a554bf67847afb0c58f6e12fa29ac7ddfca9940";

fn file(name: &str, text: &str) -> PathBuf {
    let path = scratch_dir().join(name);
    fs::write(&path, text).expect("a file");
    path
}

fn flags(lanes: &str) -> Vec<&str> {
    if Target::from_env() == Target::Corelane { vec!["--lanes", lanes] } else { Vec::new() }
}

fn start(config: &Path, lanes: &str) -> Server {
    Server::start_with_config(config, &flags(lanes))
}

fn as_user(server: &Server, user: &str, password: &str) -> Client {
    let mut client = server.client();
    assert_eq!(client.call(&["AUTH", user, password]), Value::ok());
    client
}

#[track_caller]
fn says(value: Value, text: &str) {
    match value {
        Value::Error(error) => assert!(error.contains(text), "{error}"),
        other => panic!("{other:?} is no error that says {text}"),
    }
}

fn text_of(path: &Path) -> String {
    fs::read_to_string(path).expect("the file")
}

#[test]
fn lines_of_the_configuration_are_users_and_stay_so() {
    let text = "# ours\nuser a on >p ~k* +get +set (~x +del)\nuser b on nopass +@all ~* &*\nuser default on >d ~* &* +@all\n# end\n";
    for lanes in ["1", "3"] {
        let path = file("server.conf", text);
        let server = start(&path, lanes);
        let mut nobody = server.client();
        assert_eq!(nobody.words("GET k"), Value::Error("NOAUTH Authentication required.".into()));
        let mut a = as_user(&server, "a", "p");
        assert_eq!(a.words("SET k1 1"), Value::ok());
        says(a.words("SET x 1"), "NOPERM");
        assert_eq!(a.words("DEL x"), Value::Int(0));
        let mut admin = as_user(&server, "default", "d");
        assert_eq!(admin.words("CONFIG REWRITE"), Value::ok());
        assert!(text_of(&path).starts_with(text), "what is right stays as it is");
        assert_eq!(admin.words("ACL SETUSER a -set"), Value::ok());
        assert_eq!(admin.words("ACL SETUSER new on >p allkeys +ping"), Value::ok());
        assert_eq!(admin.words("ACL DELUSER b"), Value::Int(1));
        assert_eq!(admin.words("CONFIG REWRITE"), Value::ok());
        let after = text_of(&path);
        assert!(after.starts_with("# ours\nuser a on sanitize-payload #148d"), "{after}");
        assert!(!after.contains("user b") && after.contains("user default on >d ~* &* +@all\n# end\n"), "{after}");
        assert!(after.contains(&format!("user new on sanitize-payload #{HASH_OF_P} ~* resetchannels -@all +ping\n")));
        assert_eq!(admin.words("ACL SETUSER a +set"), Value::ok());
        assert_eq!(admin.words("CONFIG REWRITE"), Value::ok());
        assert!(text_of(&path).contains("+get +set"), "and back again");
        drop(server);
        let server = start(&path, lanes);
        let mut a = as_user(&server, "a", "p");
        assert_eq!(a.words("SET k1 1"), Value::ok());
        says(server.client().words("AUTH b x"), "WRONGPASS");
        assert_eq!(as_user(&server, "new", "p").words("PING"), Value::Simple("PONG".into()));
    }
}

#[test]
fn what_is_wrong_with_users_is_told_at_the_start() {
    if Target::from_env() == Target::Redis {
        return;
    }
    for (text, wrong) in [
        ("user a foo", "1: Error in user declaration 'foo': Syntax error"),
        ("port 0\nuser a +nosuch", "2: Error in user declaration '+nosuch': Unknown command or category name in ACL"),
        ("user a (+get", "1: Error in user declaration '(+get': Unmatched parenthesis"),
        ("user a on\nuser a off", "2: user 'a': Duplicate user found"),
        ("user \"a b\" on", "1: user 'a b': usernames can't contain spaces"),
        ("user", "1: user: wrong number of arguments"),
    ] {
        let path = file("bad.conf", text);
        refuses(&[path.to_str().expect("UTF-8")], &[&format!("bad.conf:{wrong}")]);
    }
    let acl = file("users.acl", "user a on\nuser b foo\n");
    let name = acl.to_str().expect("UTF-8");
    refuses(&["--aclfile", name], &["users.acl:2: Syntax error. WARNING: ACL errors detected"]);
    refuses(&["--aclfile", "/nonexistent/users.acl"], &["Error loading ACLs, opening file '/nonexistent/users.acl'"]);
    let both = file("both.conf", &format!("aclfile {name}\nuser a on\n"));
    refuses(&[both.to_str().expect("UTF-8")], &["keep either the 'user' lines or aclfile"]);
}

#[test]
fn a_file_of_users_is_loaded_whole_or_not_at_all_and_saved() {
    for lanes in ["1", "3"] {
        let acl = file("users.acl", "user a on >p ~* +get +acl|whoami\n\nuser adm on >p ~* &* +@all\n");
        let server = Server::start(&[&flags(lanes)[..], &["--aclfile", acl.to_str().expect("UTF-8")]].concat());
        let (mut a, mut admin) = (as_user(&server, "a", "p"), server.client());
        assert_eq!(admin.words("ACL WHOAMI"), Value::bulk("default"));
        assert_eq!(admin.words("SET k 1"), Value::ok());
        assert_eq!(a.words("GET k"), Value::bulk("1"));
        fs::write(&acl, "user a on >p ~* +get\nuser c +nosuch\nuser d foo\n").expect("written");
        let wrong = admin.words("ACL LOAD");
        let name = acl.to_str().expect("UTF-8");
        let unknown = "Unknown command or category name in ACL. ";
        if Target::from_env() == Target::Corelane {
            let told = format!(
                "ERR {name}:2: Error in applying operation '+nosuch': {unknown}{name}:3: Syntax error. WARNING: ACL errors \
                 detected, no change to the previously active ACL rules was performed"
            );
            assert_eq!(wrong, Value::Error(told));
        }
        assert_eq!(a.words("ACL WHOAMI"), Value::bulk("a"), "nothing has changed");
        fs::write(&acl, "user a on >q ~k +get\nuser e on nopass +ping\n").expect("written");
        let mut others: Vec<Client> = (0..8).map(|_| as_user(&server, "a", "p")).collect();
        others.iter_mut().for_each(|client| client.send(&["SUBSCRIBE"]));
        others.iter_mut().for_each(|client| says(client.read(), "ERR"));
        assert_eq!(admin.words("ACL LOAD"), Value::ok());
        a.expect_closed();
        others.iter_mut().for_each(Client::expect_closed);
        says(server.client().words("AUTH a p"), "WRONGPASS");
        says(server.client().words("AUTH adm p"), "WRONGPASS");
        for _ in 0..8 {
            let mut again = as_user(&server, "a", "q");
            assert_eq!(again.words("GET k"), Value::bulk("1"));
            says(again.words("GET other"), "NOPERM");
        }
        assert_eq!(admin.words("ACL WHOAMI"), Value::bulk("default"));
        assert_eq!(admin.words("ACL SETUSER f on >p +@read"), Value::ok());
        assert_eq!(admin.words("ACL SAVE"), Value::ok());
        let saved = text_of(&acl);
        let lines: Vec<&str> = saved.lines().map(|line| line.split(' ').nth(1).expect("a name")).collect();
        assert_eq!(lines, ["a", "default", "e", "f"], "{saved}");
        // In a queue the file is read before anything of it runs.
        fs::write(&acl, "user g on nopass ~* +@all\n").expect("written");
        for line in ["MULTI", "SET k 2", "ACL LOAD", "GET k"] {
            admin.words(line);
        }
        assert_eq!(admin.words("EXEC"), Value::Array(vec![Value::ok(), Value::ok(), Value::bulk("2")]));
        assert_eq!(admin.words("ACL USERS"), Value::Array(vec![Value::bulk("default"), Value::bulk("g")]));
        // Whoever loads users and is none of them hears of it.
        let mut g = as_user(&server, "g", "x");
        assert_eq!(g.words("ACL LOAD"), Value::ok());
        g.expect_closed();
        fs::remove_file(&acl).expect("removed");
        says(admin.words("ACL LOAD"), "Error loading ACLs, opening file");
        assert_eq!(admin.words("ACL SAVE"), Value::ok());
        assert!(text_of(&acl).contains("user g on nopass"));
    }
}

#[test]
fn requirepass_is_the_password_of_the_default_user() {
    for lanes in ["1", "3"] {
        let server = Server::start(&[&flags(lanes)[..], &["--requirepass", "secret"]].concat());
        let mut client = server.client();
        says(client.words("PING"), "NOAUTH");
        says(client.words("AUTH wrong"), "WRONGPASS");
        assert_eq!(client.words("AUTH secret"), Value::ok());
        says(server.client().words("AUTH default wrong"), "WRONGPASS");
        let mut early = server.client();
        says(early.words("PING"), "NOAUTH");
        assert_eq!(client.words("CONFIG SET requirepass other"), Value::ok());
        assert_eq!(client.words("PING"), Value::Simple("PONG".into()), "who has logged in stays so");
        assert_eq!(as_user(&server, "default", "other").words("PING"), Value::Simple("PONG".into()));
        for _ in 0..6 {
            says(server.client().words("AUTH secret"), "WRONGPASS");
        }
        assert_eq!(client.words("ACL SETUSER default >more"), Value::ok());
        as_user(&server, "default", "more");
        as_user(&server, "default", "other");
        // Now nobody needs a password, whenever they came.
        assert_eq!(client.call(&["CONFIG", "SET", "requirepass", ""]), Value::ok());
        assert_eq!(early.words("PING"), Value::Simple("PONG".into()));
        assert_eq!(server.client().words("PING"), Value::Simple("PONG".into()));
        // A default user who is off lets nobody in, but whoever is in.
        assert_eq!(client.words("ACL SETUSER admin on >p ~* &* +@all"), Value::ok());
        assert_eq!(client.words("ACL SETUSER default off"), Value::ok());
        assert_eq!(client.words("PING"), Value::Simple("PONG".into()));
        let mut late = server.client();
        says(late.words("PING"), "NOAUTH");
        says(late.words("AUTH default x"), "WRONGPASS");
        assert_eq!(late.words("AUTH admin p"), Value::ok());
        assert_eq!(late.words("ACL SETUSER default on -@all +ping"), Value::ok());
        assert_eq!(server.client().words("PING"), Value::Simple("PONG".into()));
        says(server.client().words("GET k"), "NOPERM");
        says(client.words("GET k"), "NOPERM");
    }
}

/// Whoever may not use a key is told the same, whether it is there, what it holds and whose lane it is.
#[test]
fn who_may_nothing_learns_nothing_of_keys() {
    for lanes in ["1", "3"] {
        let server = Server::start(&flags(lanes));
        let mut admin = server.client();
        for line in [
            "SET s 1",
            "RPUSH l a b",
            "HSET h f 1",
            "SADD set a",
            "ZADD z 1 a",
            "ACL SETUSER u on nopass +@all ~mine*",
            "ACL SETUSER v on nopass ~*",
        ] {
            admin.words(line);
        }
        let (mut u, mut v) = (as_user(&server, "u", "x"), as_user(&server, "v", "x"));
        let keys = ["s", "l", "h", "set", "z", "none1", "none2", "none3"];
        for command in [
            "GET KEY",
            "STRLEN KEY",
            "TYPE KEY",
            "EXISTS KEY",
            "TTL KEY",
            "LLEN KEY",
            "HGETALL KEY",
            "SCARD KEY",
            "ZCARD KEY",
            "OBJECT ENCODING KEY",
            "SETNX KEY 1",
            "INCR KEY",
            "APPEND KEY x",
            "LPUSH KEY x",
            "DEL KEY",
            "RENAME KEY mine",
            "RENAME mine KEY",
            "COPY KEY mine",
            "MGET mine KEY",
            "SUNION mine KEY",
            "LMPOP 2 mine KEY LEFT",
            "BLPOP KEY 1",
            "SORT KEY",
            "WATCH KEY",
            "MSETNX mine 1 KEY 2",
            "TOUCH KEY",
        ] {
            let told: Vec<Value> = keys.iter().map(|key| u.words(&command.replace("KEY", key))).collect();
            says(told[0].clone(), "NOPERM No permissions to access a key");
            assert!(told.iter().all(|one| *one == told[0]), "{command}: {told:?}");
            let told: Vec<Value> = keys.iter().map(|key| v.words(&command.replace("KEY", key))).collect();
            says(told[0].clone(), "NOPERM User v has no permissions to run the '");
            assert!(told.iter().all(|one| *one == told[0]), "{command}: {told:?}");
        }
        for command in ["KEYS *", "SCAN 0", "RANDOMKEY", "DBSIZE", "FLUSHALL", "INFO keyspace", "SWAPDB 0 1"] {
            says(v.words(command), "NOPERM User v has no permissions to run the '");
        }
        assert_eq!(admin.words("DBSIZE"), Value::Int(5), "nothing was touched");
        let hits = admin.words("INFO stats").text();
        assert!(
            hits.contains("keyspace_hits:0\r\n") && hits.contains("keyspace_misses:0\r\n"),
            "nothing was looked up: {hits}"
        );
    }
}

/// Rights are taken on all lanes at once: from the reply on, nobody has them any more.
#[test]
fn a_right_that_is_taken_is_gone_on_all_lanes_when_that_is_said() {
    let server = Server::start(&flags("3"));
    let mut admin = server.client();
    assert_eq!(admin.words("ACL SETUSER u on nopass ~* +@all"), Value::ok());
    let mut users: Vec<Client> = (0..9).map(|_| as_user(&server, "u", "x")).collect();
    for round in 0..20 {
        assert_eq!(admin.words("ACL SETUSER u ~*"), Value::ok());
        assert!(users.iter_mut().all(|user| user.words("SET k 1") == Value::ok()), "{round}");
        assert_eq!(admin.words("ACL SETUSER u resetkeys"), Value::ok());
        users.iter_mut().for_each(|user| says(user.words("SET k 1"), "NOPERM No permissions"));
    }
    users.iter_mut().for_each(|user| user.send(&["BLPOP", "list", "0"]));
    assert_eq!(admin.words("ACL SETUSER u ~*"), Value::ok());
    users.iter_mut().for_each(|user| says(user.read(), "NOPERM"));
    users.iter_mut().for_each(|user| user.send(&["BLPOP", "list", "0"]));
    assert!(eventually(|| admin.words("INFO clients").text().contains("blocked_clients:9")));
    assert_eq!(admin.words("ACL DELUSER u"), Value::Int(1));
    users.iter_mut().for_each(Client::expect_closed);
    assert_eq!(admin.words("RPUSH list 1"), Value::Int(1));
    assert_eq!(admin.words("LLEN list"), Value::Int(1), "nobody took it");
}
