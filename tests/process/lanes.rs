//! Several lanes in one process: who serves a new connection, what is counted over all of them, and how they end together.

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
