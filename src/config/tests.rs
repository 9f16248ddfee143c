//! The table against Redis 7.0's own CONFIG GET, Debian's redis.conf, and lines that must not be taken.

use super::*;
use proptest::prelude::*;

const DEBIAN: &[u8] = include_bytes!("../../tests/fixtures/redis-debian-7.0.conf");
/// `CONFIG GET *` of redis-server 7.0.15 started on port 17395 in /tmp/cfg.
const REDIS_7_0: &str = include_str!("../../tests/fixtures/redis-7.0-config-get.txt");
/// Where ours differs: loopback until asked otherwise; the port and directory of that run.
const DIFFERENT: &[&str] = &["bind", "port", "dir"];

fn no_files(_: Source<'_>) -> Result<Vec<(String, Vec<u8>)>, String> {
    Err("no such file".into())
}

fn load(text: &str) -> Result<(Config, Vec<Note>), String> {
    let mut config = Config::default();
    let notes = config.apply_file("x.conf", text.as_bytes(), &mut no_files).map_err(|error| error.to_string())?;
    Ok((config, notes))
}

fn shown(config: &Config, name: &str) -> String {
    config.get(&[name.as_bytes()]).first().map(|(_, value)| lossy(value)).unwrap_or_default()
}

#[test]
fn defaults_print_as_redis_prints_them() {
    let config = Config::default();
    for line in REDIS_7_0.lines() {
        let (name, value) = line.split_once('\t').unwrap();
        assert!(find(name.as_bytes()).is_some(), "{name} is unknown");
        if !DIFFERENT.contains(&name) {
            assert_eq!(shown(&config, name), value, "{name}");
        }
    }
}

#[test]
fn what_is_printed_parses_to_itself() {
    let config = Config::default();
    for (at, row) in ROWS.iter().enumerate().filter(|(_, row)| !matches!(row.kind, Kind::Directive(_))) {
        let text = value::print(row, &config.values[at]);
        assert_eq!(parse_text(row, &text, &Value::Nothing).as_ref(), Ok(&config.values[at]), "{}", row.name);
    }
}

#[test]
fn debians_file_loads_as_it_is() {
    let mut config = Config::default();
    let notes = config.apply_file("redis.conf", DEBIAN, &mut no_files).unwrap();
    assert!(config.daemonize() && config.port() == 6379);
    assert_eq!(config.pidfile(), b"/run/redis/redis-server.pid");
    assert!(notes.iter().any(|note| note.name == "rdbcompression" && note.line > 0));
}

#[test]
fn lines_give_values() {
    let text = "save 5 1\nsave 7 2\nunixsocketperm 700\nclient-output-buffer-limit replica 1mb 2mb 3 pubsub 1 2 3\n\
        maxmemory-policy NOEVICTION\nshutdown-on-sigterm now force\nTIMEOUT 7\n  hz  700 \nlist-max-ziplist-size 5\n\
        latency-tracking-info-percentiles 1 2.50 99.123456789\nreplicaof no one\nmaxmemory 1g";
    let (config, _) = load(text).unwrap();
    for (name, value) in [
        ("save", "5 1 7 2"),
        ("unixsocketperm", "700"),
        ("client-output-buffer-limit", "normal 0 0 0 slave 1048576 2097152 3 pubsub 1 2 3"),
        ("maxmemory-policy", "noeviction"),
        ("shutdown-on-sigterm", "now force"),
        ("timeout", "7"),
        ("hz", "500"),
        ("list-max-listpack-size", "5"),
        ("latency-tracking-info-percentiles", "1 2.5 99.123457"),
        ("maxmemory", "1000000000"),
    ] {
        assert_eq!(shown(&config, name), value, "{name}");
    }
}

#[test]
fn bad_lines_name_file_line_and_reason() {
    for (text, error) in [
        ("\nport", "x.conf:2: port: wrong number of arguments: it takes one value, as in 'port 6379', not 0"),
        ("timeuot 1", "x.conf:1: unknown option 'timeuot' (did you mean 'timeout'?)"),
        ("xyzzyplugh 1", "x.conf:1: unknown option 'xyzzyplugh' (corelane --help lists all)"),
        ("timeout \"1", "x.conf:1: Unbalanced quotes in configuration line"),
        ("save 1", "x.conf:1: save: Invalid save parameters"),
        ("databases 0", "x.conf:1: databases: argument must be between 1 and 2147483647 inclusive"),
        ("lanes 0", "x.conf:1: lanes: argument must be between 1 and 1024 inclusive"),
        ("user", "x.conf:1: user: wrong number of arguments"),
        (
            "user a on\nuser b\nuser a off",
            "x.conf:3: user 'a': Duplicate user found. A user can only be defined once in config files",
        ),
        ("include y.conf", "x.conf:1: include: no such file"),
    ] {
        assert_eq!(load(text).unwrap_err(), error);
    }
}

#[test]
fn bad_flags_are_shown_as_they_were_typed() {
    for (flags, error) in [
        ("--prot 7000", "--prot 7000: unknown option 'prot' (did you mean 'port'?)"),
        ("--port", "--port: wrong number of arguments: it takes one value, as in 'port 6379', not 0"),
        (
            "--timeout 1 --port 1 2",
            "--port 1 2: wrong number of arguments: it takes one value, as in 'port 6379', not 2",
        ),
        ("--port 99999", "--port 99999: argument must be between 0 and 65535 inclusive"),
        ("-port 7000", "-port 7000: this is no option: write --name value"),
        ("--include y.conf", "--include y.conf: no such file"),
        ("y.conf --port 7000", "no such file: give the path of a file to read, or options as --name value"),
    ] {
        let words: Vec<String> = flags.split(' ').map(str::to_owned).collect();
        assert_eq!(Config::from_flags(&words, &mut no_files).unwrap_err().to_string(), error);
    }
}

/// A server that was given no options has nothing to say about them.
#[test]
fn only_what_was_given_is_noted() {
    let notes = |flags: &[&str]| {
        let mut file = |_: Source<'_>| Ok(vec![("x.conf".to_owned(), b"save 60 1".to_vec())]);
        let words: Vec<String> = flags.iter().map(|&word| word.to_owned()).collect();
        let Start::Run(_, notes) = Config::from_flags(&words, &mut file).unwrap() else { panic!("it runs") };
        notes.into_iter().map(|note| note.name).collect::<Vec<_>>()
    };
    assert_eq!(notes(&[]), Vec::<&str>::new());
    assert_eq!(notes(&["--save", "60", "1"]), ["save"]);
    assert_eq!(notes(&["x.conf"]), ["save"]);
    assert_eq!(notes(&["x.conf", "--save", ""]), Vec::<&str>::new());
}

#[test]
fn includes_are_read_in_place_and_bounded() {
    let mut read = |_: Source<'_>| Ok(vec![("y.conf".to_owned(), b"port 7\nnope 1".to_vec())]);
    let error = Config::default().apply_file("x.conf", b"include y.conf", &mut read).unwrap_err();
    assert!(error.to_string().starts_with("y.conf:2: "), "{error}");
    let mut endless = |_: Source<'_>| Ok(vec![("x.conf".to_owned(), b"include x.conf".to_vec())]);
    assert!(Config::default().apply_file("x.conf", b"include x.conf", &mut endless).is_err());
}

#[test]
fn set_fails_in_the_words_of_redis_and_changes_nothing() {
    let failed =
        |name: &str, why: &str| format!("ERR CONFIG SET failed (possibly related to argument '{name}') - {why}");
    let cases: &[(&[(&str, &str)], String)] = &[
        (&[("nosuch", "1")], "ERR Unknown option or number of arguments for CONFIG SET - 'nosuch'".into()),
        (&[("timeout", "1"), ("timeout", "2")], failed("timeout", "duplicate parameter")),
        (&[("timeout", "9"), ("databases", "3")], failed("databases", "can't set immutable config")),
        (&[("dir", "/")], failed("dir", "can't set protected config")),
        (
            &[("timeout", "9"), ("maxclients", "0")],
            failed("maxclients", "argument must be between 1 and 4294967295 inclusive"),
        ),
        (&[("maxmemory", "1kk")], failed("maxmemory", "argument must be a memory value")),
        (&[("timeout", "010")], failed("timeout", "argument couldn't be parsed into an integer")),
        (&[("save", "1 2 3")], failed("save", "Invalid save parameters")),
        (&[("oom-score-adj-values", "1 2")], failed("oom-score-adj-values", "wrong number of arguments")),
        (
            &[("notify-keyspace-events", "Kzq")],
            failed("notify-keyspace-events", "Invalid event class character. Use 'Ag$lshzxeKEtmdn'."),
        ),
    ];
    for (pairs, error) in cases {
        let mut config = Config::default();
        let pairs: Vec<(&[u8], &[u8])> =
            pairs.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
        assert_eq!(config.set_all(&pairs, Rights::Ordinary).unwrap_err().to_string(), *error);
        assert_eq!(config, Config::default());
    }
}

#[test]
fn get_resolves_patterns_aliases_and_hidden_names() {
    let mut config = Config::default();
    config.set_all(&[(b"slave-priority", b"5")], Rights::Ordinary).unwrap();
    let pairs = |patterns: &[&[u8]]| -> Vec<String> {
        config.get(patterns).iter().map(|(name, value)| format!("{}={}", lossy(name), lossy(value))).collect()
    };
    assert_eq!(pairs(&[b"*-priority"]), ["replica-priority=5", "slave-priority=5"]);
    assert_eq!(pairs(&[b"TiMEOUT", b"timeout", b"TIME*"]), ["TiMEOUT=0"]);
    assert_eq!(pairs(&[b"key-load*"]), [""; 0]);
    assert_eq!(pairs(&[b"key-load-delay"]), ["key-load-delay=0"]);
    assert_eq!(pairs(&[b"rename-command"]), [""; 0]);
}

#[test]
fn flags_override_the_file() {
    let mut read = |_: Source<'_>| Ok(vec![("f".to_owned(), b"port 1\ntimeout 3".to_vec())]);
    let args = ["f", "--port", "7000", "--save", "--bind", "::1", "-::2"].map(String::from);
    let Start::Run(config, _) = Config::from_flags(&args, &mut read).unwrap() else { panic!("runs") };
    assert_eq!((config.port(), config.timeout_s()), (7000, 3));
    assert_eq!((shown(&config, "save"), shown(&config, "bind")), (String::new(), "::1 -::2".to_owned()));
    assert!(matches!(Config::from_flags(&["--help".into()], &mut no_files), Ok(Start::Help)));
    assert!(help().contains("--maxclients (10000)"));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(text in proptest::collection::vec(any::<u8>(), 0..200), row in 0..ROWS.len()) {
        let line = [ROWS[row].name.as_bytes(), b" ", &text].concat();
        let _ = Config::default().apply_file("x", &line, &mut no_files);
        let _ = Config::default().apply_file("x", &text, &mut no_files);
        let _ = Config::default().set_all(&[(ROWS[row].name.as_bytes(), &text)], Rights::Protected);
    }
}
