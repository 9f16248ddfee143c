//! The lanes as nodes of a cluster: what they are called, where they are reached, which slots are theirs. Only clients on shard ports
//! are told; for all others the server is one.
//!
//! ```text
//!  lane 0   shard-port        slots     0 ..  5461     id: forty digits, from the run and the lane
//!  lane 1   shard-port + 1          5462 .. 10922     ip: cluster-announce-ip, or whatever the client itself connected to
//!  lane 2   shard-port + 2         10923 .. 16383
//! ```
//!
//! There are no replicas, no bus between them and no slots that move: a node is up as long as the process is.

use std::ops::RangeInclusive;

use super::clients::Client;
use crate::admin::info::Identity;
use crate::base::hash::HashKey;
use crate::base::lanes::{Lanes, ShardId};
use crate::config::Config;
use crate::wire::fault::Fault;

/// All of them, as one client sees them.
#[derive(Debug)]
pub struct Nodes<'s> {
    run_id: &'s str,
    lanes: Lanes,
    first_port: u32,
    ip: String,
}

/// One of them.
#[derive(Debug)]
pub struct Node {
    pub lane: ShardId,
    pub id: String,
    /// That of the node and its replicas, of which there are none.
    pub shard_id: String,
    pub port: u32,
    /// First and last.
    pub slots: RangeInclusive<u16>,
}

impl Node {
    /// Where the nodes of a Redis cluster would talk to each other.
    pub fn bus_port(&self) -> u32 {
        self.port + 10_000
    }
}

impl<'s> Nodes<'s> {
    pub fn seen_by(client: &Client, config: &Config, identity: &'s Identity) -> Self {
        let ip = match config.cluster_announce_ip() {
            b"" => client.local.ip().to_canonical().to_string(),
            announced => String::from_utf8_lossy(announced).into_owned(),
        };
        let first_port = u32::try_from(config.shard_port()).unwrap_or(0);
        Self { run_id: &identity.run_id, lanes: Lanes::new(identity.lanes), first_port, ip }
    }

    pub fn ip(&self) -> &str {
        &self.ip
    }

    pub fn count(&self) -> usize {
        usize::from(self.lanes.count())
    }

    pub fn node(&self, lane: ShardId) -> Node {
        let slots = self.lanes.slots(lane);
        Node {
            lane,
            id: self.digits(lane, 0),
            shard_id: self.digits(lane, 1),
            port: self.first_port + u32::from(lane.0),
            slots: slots.start..=slots.end - 1,
        }
    }

    pub fn all(&self) -> impl Iterator<Item = Node> {
        self.lanes.all().map(|lane| self.node(lane))
    }

    /// Where a client finds the keys of a slot.
    pub fn moved(&self, slot: u16) -> Fault {
        let node = self.node(self.lanes.owner(slot));
        Fault::text(format!("MOVED {slot} {}:{}", self.ip, node.port))
    }

    /// Forty hexadecimal digits, the same as long as the process runs.
    fn digits(&self, lane: ShardId, purpose: u64) -> String {
        const DIGITS: usize = 40;
        let word = |i: u64| HashKey::new([u64::from(lane.0), purpose << 8 | i]).bytes(self.run_id.as_bytes());
        let mut digits: String = (0..3).map(|i| format!("{:016x}", word(i))).collect();
        digits.truncate(DIGITS);
        digits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_are_told_apart_and_share_out_all_slots() {
        let nodes = Nodes { run_id: "abc", lanes: Lanes::new(3), first_port: 7000, ip: "::1".into() };
        let all: Vec<Node> = nodes.all().collect();
        assert_eq!(all.iter().map(|node| node.port).collect::<Vec<_>>(), [7000, 7001, 7002]);
        assert_eq!((*all[0].slots.start(), *all[2].slots.end()), (0, 16383));
        assert!(all.windows(2).all(|two| two[0].slots.end() + 1 == *two[1].slots.start()));
        let mut ids: Vec<&String> = all.iter().flat_map(|node| [&node.id, &node.shard_id]).collect();
        assert!(ids.iter().all(|id| id.len() == 40 && id.bytes().all(|digit| digit.is_ascii_hexdigit())));
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), 6, "each has an id and a shard id of its own");
        assert_eq!(nodes.node(ShardId(1)).id, all[1].id, "asked again, they are the same");
        assert_eq!(nodes.moved(12182).line(), "MOVED 12182 ::1:7002");
    }
}
