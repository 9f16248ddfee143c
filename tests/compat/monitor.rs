//! MONITOR, from several connections: on several lanes these are of different ones.

use crate::support::{Client, Server, Target, Value};

/// What a monitor is shown until a client says `ECHO end`, without the times and ports.
fn shown(monitor: &mut Client) -> Vec<String> {
    let mut lines = Vec::new();
    loop {
        let Value::Simple(line) = monitor.read() else { panic!("a line") };
        let (time, rest) = line.split_once(" [").expect(&line);
        assert!(time.split_once('.').is_some_and(|(s, us)| s.len() == 10 && us.len() == 6), "{line}");
        let (whose, request) = rest.split_once("] ").expect(&line);
        let (db, peer) = whose.split_once(' ').expect(&line);
        assert!(peer.starts_with("127.0.0.1:"), "{line}");
        if request == "\"ECHO\" \"end\"" {
            return lines;
        }
        lines.push(format!("{db} {request}"));
    }
}

fn lanes() -> &'static [&'static str] {
    if Target::from_env() == Target::Redis { &[] } else { &["1", "3"] }
}

fn servers() -> Vec<Server> {
    let of_lanes: Vec<Server> = lanes().iter().map(|lanes| Server::start(&["--lanes", lanes])).collect();
    if of_lanes.is_empty() { vec![Server::start(&[])] } else { of_lanes }
}

#[test]
fn what_clients_ask_is_shown_in_their_order() {
    for server in servers() {
        let mut monitor = server.client();
        assert_eq!(monitor.words("MONITOR"), Value::ok());
        for at in 0..4 {
            let mut client = server.client();
            let key = format!("key{at}");
            client.words(&format!("SET {key} 1"));
            client.words("SELECT 3");
            client.call(&[&b"get"[..], b"\x00\n\"\xff"]);
            client.words("NOSUCH command");
            client.words("GET too many");
            client.words("CONFIG GET maxmemory");
            client.words("AUTH secret");
            client.words("MULTI");
            client.words(&format!("LPUSH {key} b"));
            client.words(&format!("MGET {key} other third"));
            client.words("EXEC");
            client.words(&format!("BLPOP {key} 0"));
            client.words("ECHO end");
            let wanted = [
                format!("0 \"SET\" \"{key}\" \"1\""),
                format!("{} \"SELECT\" \"3\"", if Target::from_env() == Target::Redis { 3 } else { 0 }),
                "3 \"get\" \"\\x00\\n\\\"\\xff\"".into(),
                "3 \"AUTH\" \"(redacted)\"".into(),
                "3 \"MULTI\"".into(),
                format!("3 \"LPUSH\" \"{key}\" \"b\""),
                format!("3 \"MGET\" \"{key}\" \"other\" \"third\""),
                "3 \"EXEC\"".into(),
                format!("3 \"BLPOP\" \"{key}\" \"0\""),
            ];
            assert_eq!(shown(&mut monitor), wanted);
        }
    }
}

#[test]
fn a_monitor_may_cease_and_its_end_is_noticed() {
    for server in servers() {
        let (mut monitor, mut other, mut client) = (server.client(), server.client(), server.client());
        assert_eq!(monitor.words("MONITOR"), Value::ok());
        assert_eq!(other.words("MONITOR"), Value::ok());
        client.words("ECHO end");
        assert_eq!((shown(&mut monitor), shown(&mut other)), (Vec::new(), Vec::new()));
        assert_eq!(monitor.words("RESET"), Value::Simple("RESET".into()));
        other.read();
        client.words("ECHO 1");
        client.words("ECHO end");
        assert_eq!(shown(&mut other), ["0 \"ECHO\" \"1\""]);
        drop(other);
        assert_eq!(monitor.words("GET a"), Value::Null);
        assert_eq!(client.words("SET a 1"), Value::ok());
        assert_eq!(monitor.words("GET a"), Value::bulk("1"));
    }
}

#[test]
fn a_monitor_is_not_begun_in_a_transaction_and_is_known_by_its_flag() {
    for server in servers() {
        let mut client = server.client();
        client.words("MULTI");
        assert_eq!(client.words("MONITOR"), Value::Error("ERR Command not allowed inside a transaction".into()));
        client.words("DISCARD");
        let mut monitor = server.client();
        monitor.words("CLIENT SETNAME watcher");
        monitor.words("MONITOR");
        let list = client.words("CLIENT LIST").text();
        let line = list.lines().find(|line| line.contains("name=watcher")).expect(&list);
        assert!(line.contains("flags=O"), "{line}");
    }
}
