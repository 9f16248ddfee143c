//! Several lanes in one process: who serves a new connection, what is counted over all of them, and how they end together.

use corelane::base::hash::slot;

use crate::support::client::encode;
use crate::support::server::{consecutive_free_ports, info_field};
use crate::support::{Client, Server, Target, Value, eventually};

/// The lane that serves `client`, as its INFO tells.
fn lane_of(client: &mut Client) -> usize {
    info_field(client, "lane_id").parse().expect("a number")
}

/// Whether `client` is let in and answered.
fn is_served(client: &mut Client) -> bool {
    client.send(&["PING"]);
    client.try_read().is_ok_and(|answer| answer == Value::Simple("PONG".into()))
}

#[test]
fn a_new_connection_goes_to_the_lane_with_fewest() {
    if Target::from_env() == Target::Redis {
        return;
    }
    const EACH: usize = 20;
    let server = Server::start(&["--lanes", "2"]);
    // One after the other, each answered before the next: then the counts are known.
    let newcomer = || {
        let mut client = server.client();
        (lane_of(&mut client), client)
    };
    let (ones, zeros): (Vec<_>, Vec<_>) = (0..2 * EACH).map(|_| newcomer()).partition(|(lane, _)| *lane == 1);
    // The one that looked whether the server is up may have been counted out only in between.
    assert!(ones.len().abs_diff(zeros.len()) <= 2, "{} and {}", ones.len(), zeros.len());
    drop(zeros);
    let all_on_lane_0 =
        || (0..ones.len() - 1).map(|_| newcomer()).collect::<Vec<_>>().iter().all(|(lane, _)| *lane == 0);
    assert!(eventually(all_on_lane_0), "all that were left are on lane 1");
}

#[test]
fn maxclients_counts_all_lanes() {
    if Target::from_env() == Target::Redis {
        return;
    }
    const MAX: usize = 7;
    let server = Server::start(&["--lanes", "2", "--maxclients", &MAX.to_string()]);
    // The one that looked whether the server is up may not have been counted out yet.
    let mut clients = Vec::new();
    assert!(eventually(|| {
        clients = (0..MAX).map(|_| server.client()).collect();
        clients.iter_mut().all(is_served)
    }));
    for _ in 0..20 {
        let mut refused = server.client();
        assert_eq!(refused.read(), Value::Error("ERR max number of clients reached".into()));
        refused.expect_closed();
    }
    clients.pop();
    assert!(eventually(|| is_served(&mut server.client())), "a place is free again");
}

#[test]
fn each_lane_has_a_port_of_its_own() {
    if Target::from_env() == Target::Redis {
        return;
    }
    let first = consecutive_free_ports(2);
    let server = Server::start(&["--lanes", "2", "--shard-port", &first.to_string()]);
    for (lane, port) in [(0, first), (1, first + 1)] {
        let mut clients: Vec<Client> = (0..10).map(|_| Client::connect(port)).collect();
        assert!(clients.iter_mut().all(|client| lane_of(client) == lane), "what comes to a lane's port stays there");
    }
    assert!(is_served(&mut server.client()), "the port they share is still there");
}

/// All keys that a SCAN answers, each once.
fn scanned(client: &mut Client, count: usize) -> Vec<String> {
    let (mut keys, mut cursor) = (Vec::new(), "0".to_owned());
    loop {
        let page = client.words(&format!("SCAN {cursor} COUNT {count}"));
        let [next, found] = page.items() else { panic!("a cursor and keys, not {page:?}") };
        keys.extend(found.items().iter().map(Value::text));
        cursor = next.text();
        if cursor == "0" {
            break;
        }
    }
    keys.sort_unstable();
    keys
}

/// Where the slots of one lane end, its table's last bucket does not: a cursor behind that one had skipped the next lane's first keys.
#[test]
fn a_scan_visits_the_keys_of_all_lanes() {
    if Target::from_env() == Target::Redis {
        return;
    }
    for lanes in ["2", "3", "5"] {
        let server = Server::start(&["--lanes", lanes]);
        let mut client = server.client();
        for total in [10, 200, 3000] {
            assert_eq!(client.words("FLUSHALL"), Value::ok());
            let mut keys: Vec<String> = (0..total).map(|i| format!("key{i}")).collect();
            let pairs: Vec<&str> = keys.iter().flat_map(|key| [key.as_str(), "v"]).collect();
            assert_eq!(client.call(&[&["MSET"], &pairs[..]].concat()), Value::ok());
            keys.sort_unstable();
            for count in [1, 10, 1000] {
                assert_eq!(scanned(&mut client, count), keys, "{lanes} lanes, {total} keys, COUNT {count}");
            }
        }
    }
}

/// A connection of each of two lanes, in their order, and their CLIENT IDs.
fn one_of_each(first_port: u16) -> [(Client, i64); 2] {
    [first_port, first_port + 1].map(|port| {
        let mut client = Client::connect(port);
        let id = client.words("CLIENT ID").int();
        (client, id)
    })
}

/// The ids that CLIENT LIST tells of, with those of `known` only.
fn listed(client: &mut Client, known: &[i64]) -> Vec<i64> {
    let list = client.words("CLIENT LIST").text();
    let id = |line: &str| line.strip_prefix("id=")?.split(' ').next()?.parse().ok();
    list.lines().filter_map(id).filter(|id| known.contains(id)).collect()
}

#[test]
fn clients_of_all_lanes_are_listed_and_killed() {
    if Target::from_env() == Target::Redis {
        return;
    }
    let first = consecutive_free_ports(2);
    let _server = Server::start(&["--lanes", "2", "--shard-port", &first.to_string()]);
    let [(mut killer, me), (mut other, id)] = one_of_each(first);
    assert_eq!(listed(&mut killer, &[me, id]), [me, id]);
    assert_eq!(listed(&mut other, &[me, id]), [me, id]);
    assert_eq!(killer.words(&format!("CLIENT LIST ID {id}")).text().lines().count(), 1);

    // By number, on the other lane and on the own one.
    assert_eq!(killer.words(&format!("CLIENT KILL ID {id}")), Value::Int(1));
    other.expect_closed();
    assert_eq!(killer.words(&format!("CLIENT KILL ID {id}")), Value::Int(0), "killed once");
    let mut neighbour = Client::connect(first);
    let id = neighbour.words("CLIENT ID").int();
    assert_eq!(killer.words(&format!("CLIENT KILL ID {id} SKIPME no")), Value::Int(1));
    neighbour.expect_closed();

    // By address, with which no other lane may be confused.
    let [(mut second, _), (mut third, _)] = one_of_each(first);
    let address = third.stream().local_addr().expect("it is connected");
    assert_eq!(second.words(&format!("CLIENT KILL {address}")), Value::ok());
    third.expect_closed();
    let missed = Value::Error("ERR No such client".into());
    assert_eq!(second.words(&format!("CLIENT KILL {address}")), missed);

    // All at once: oneself only if that is said, and then after the reply.
    let [(mut fourth, _), (mut fifth, _)] = one_of_each(first);
    let killed = killer.words(&format!("CLIENT KILL LADDR 127.0.0.1:{first} SKIPME yes"));
    assert_eq!(killed, Value::Int(2));
    second.expect_closed();
    fourth.expect_closed();
    assert_eq!(fifth.words("CLIENT KILL TYPE normal SKIPME no"), Value::Int(2));
    fifth.expect_closed();
    killer.expect_closed();
}

#[test]
fn a_key_of_another_lane_is_found_where_moved_says() {
    if Target::from_env() == Target::Redis {
        return;
    }
    let first = consecutive_free_ports(3);
    let flags = ["--lanes", "3", "--shard-port", &first.to_string(), "--shard-port-moved", "yes"];
    let _server = Server::start(&flags);
    let mut nodes: Vec<Client> = (0..3).map(|lane| Client::connect(first + lane)).collect();
    let ids: Vec<String> = nodes.iter_mut().map(|node| node.words("CLUSTER MYID").text()).collect();
    assert!(ids.iter().all(|id| id.len() == 40), "{ids:?}");
    for (key, place) in [("foo", 12182), ("bar", 5061), ("{user1000}.following", 3443), ("b", 3300), ("c", 7365)] {
        let owner = usize::from(first) + place * 3 / 16384;
        for (at, node) in (usize::from(first)..).zip(&mut nodes) {
            let answer = node.call(&["APPEND", key, "x"]);
            let moved = Value::Error(format!("MOVED {place} 127.0.0.1:{owner}"));
            assert_eq!(answer, if at == owner { Value::Int(1) } else { moved }, "{key} at {at}");
        }
    }
    // A node has one database, and of a queue of several slots it runs nothing.
    let owner = &mut nodes[12182 * 3 / 16384];
    let refused = |words: &str| Value::Error(format!("ERR {words} is not allowed in cluster mode"));
    assert_eq!(owner.call(&["MOVE", "foo", "1"]), refused("MOVE"));
    assert_eq!(owner.call(&["COPY", "foo", "{foo}2", "DB", "1"]), refused("Copying to another database"));
    assert_eq!(owner.call(&["COPY", "foo", "{foo}2", "DB", "0"]), Value::Int(1));
    let queued = Value::Simple("QUEUED".into());
    assert_eq!(owner.words("MULTI"), Value::ok());
    assert_eq!(owner.words("SET foo 2"), queued);
    assert_eq!(owner.words("SET {user1000}.x{foo} 2"), Value::Error(format!("MOVED 3443 127.0.0.1:{first}")));
    assert_eq!(owner.words("EXEC"), Value::Error("EXECABORT Transaction discarded because of previous errors.".into()));
    assert_eq!(owner.words("MULTI"), Value::ok());
    assert_eq!(owner.words("SET foo 2"), queued);
    let near = (0..).map(|n: u32| format!("near{n}")).find(|key| (12000..12100).contains(&slot(key.as_bytes())));
    assert_eq!(owner.words(&format!("SET {} 2", near.expect("every slot has names"))), queued);
    assert_eq!(owner.words("EXEC"), Value::Error("CROSSSLOT Keys in request don't hash to the same slot".into()));
    assert_eq!(owner.words("GET foo"), Value::Bulk(b"x".into()));
    // All tell the same of all, and each of itself that it is itself.
    let map = nodes[0].words("CLUSTER SLOTS");
    assert!(nodes.iter_mut().all(|node| node.words("CLUSTER SLOTS") == map));
    let told: Vec<String> = map.items().iter().map(|range| range.items()[2].items()[2].text()).collect();
    assert_eq!(told, ids);
    for (node, id) in nodes.iter_mut().zip(&ids) {
        let text = node.words("CLUSTER NODES").text();
        let mine = text.lines().find(|line| line.contains("myself")).expect("each line is of a node");
        assert!(mine.starts_with(id), "{mine}");
    }
}

#[test]
fn all_lanes_answer_before_any_leaves() {
    if Target::from_env() == Target::Redis {
        return;
    }
    const COMMANDS: usize = 400;
    let mut server = Server::start(&["--lanes", "2"]);
    let mut clients: Vec<Client> = (0..10).map(|_| server.client()).collect();
    assert!(clients.iter_mut().all(is_served));
    // Half of the keys are the other lane's, and a write waits for those before it: most are still to be run when the end is ordered.
    let writes = |client: usize| (0..COMMANDS).flat_map(move |n| encode(&["INCR", &format!("{client}-{n}")]));
    for (number, client) in clients.iter_mut().enumerate() {
        client.raw(&writes(number).collect::<Vec<u8>>());
    }
    // The first answer shows that the bytes of all have come: they are less than a receive buffer.
    for client in &mut clients {
        assert_eq!(client.read(), Value::Int(1));
    }
    server.signal("TERM");
    for client in &mut clients {
        for _ in 1..COMMANDS {
            assert_eq!(client.read(), Value::Int(1));
        }
        client.expect_closed();
    }
    assert_eq!(server.exit().code(), Some(0), "{}", server.output());
}
