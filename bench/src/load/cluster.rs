//! Slot-aware load: which node owns which slots, asked of the server, and which of our keys those are.
//!
//! ```text
//!   CLUSTER SLOTS -> [ first, last, [ip, port, ...] ] ...  -> nodes; key -> CRC16 % 16384 -> node -> its list of keys
//! ```
//!
//! Each connection belongs to one node and draws among that node's keys, as a cluster-aware client would send them.

use std::net::SocketAddr;
use std::sync::Arc;

use crc::{CRC_16_XMODEM, Crc};

use super::address::Address;
use super::client::{Client, Value};
use crate::wire::piece::write_digits;
use crate::workload::definition::{Command, Workload};
use crate::workload::words::{Part, Words, key_shape};

const SLOTS: u16 = 16384;
const CRC16: Crc<u16> = Crc::<u16>::new(&CRC_16_XMODEM);

/// Which node the requests for a key are sent to.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Toward {
    /// The one that owns it, as a cluster client does.
    Owner,
    /// The one after its owner: every request has to be forwarded, which is what a hop costs.
    Other,
}

/// One node, and the numbers of the keys that are asked of it.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) address: Address,
    pub(crate) keys: Arc<[u32]>,
}

/// Asks the server at `seed` for its nodes and deals the workload's keys out to them.
pub(crate) fn nodes(seed: &Address, workload: &Workload, toward: Toward) -> Result<Vec<Node>, String> {
    let socket = seed.connect().map_err(|error| format!("connecting to {seed}: {error}"))?;
    let reply = Client::over(socket).call(&["CLUSTER", "SLOTS"])?;
    let ranges = ranges(&reply, seed).ok_or("CLUSTER SLOTS was answered by something that is no list of ranges")?;
    let (before, after) = surroundings(workload)?;
    let mut nodes: Vec<(Address, Vec<u32>)> = Vec::new();
    let mut owner = vec![usize::MAX; usize::from(SLOTS)];
    for (first, last, address) in ranges {
        let known = nodes.iter().position(|(known, _)| *known == address);
        let node = known.unwrap_or_else(|| {
            nodes.push((address, Vec::new()));
            nodes.len() - 1
        });
        owner[usize::from(first)..=usize::from(last)].fill(node);
    }
    let mut name = format!("{before}{}", key_shape(workload.key_bytes)).into_bytes();
    let end = name.len();
    name.extend_from_slice(after.as_bytes());
    for key in 0..workload.keys {
        name[end - workload.key_bytes.min(10)..end].fill(b'0');
        write_digits(&mut name[..end], key);
        let node = owner[usize::from(slot(&name))];
        nodes.get_mut(node).ok_or("some slots are served by no node")?.1.push(key);
    }
    nodes.retain(|(_, keys)| !keys.is_empty());
    let (addresses, mut keys): (Vec<Address>, Vec<Vec<u32>>) = nodes.into_iter().unzip();
    match toward {
        Toward::Owner => {}
        Toward::Other if keys.len() < 2 => return Err("there is no other node to ask".to_owned()),
        Toward::Other => keys.rotate_right(1),
    }
    Ok(addresses.into_iter().zip(keys).map(|(address, keys)| Node { address, keys: keys.into() }).collect())
}

/// What stands around the key in all commands: with different names for one key, its slot would depend on the command.
fn surroundings(workload: &Workload) -> Result<(String, String), String> {
    let mut found: Option<(String, String)> = None;
    for step in workload.commands().iter().flat_map(Command::steps) {
        for word in Words::read(&step.request)?.words {
            let around = (word.before, word.after);
            match (&word.part, &found) {
                (Part::Key(_), None) => found = Some(around),
                (Part::Key(_), Some(known)) if *known != around => {
                    return Err("slot-aware load wants all commands to name keys alike".to_owned());
                }
                _ => {}
            }
        }
    }
    Ok(found.unwrap_or_default())
}

fn ranges(reply: &Value, seed: &Address) -> Option<Vec<(u16, u16, Address)>> {
    let range = |entry: &Value| {
        let [first, last, node, ..] = entry.list()? else { return None };
        let slot =
            |value: &Value| value.integer().and_then(|slot| u16::try_from(slot).ok()).filter(|slot| *slot < SLOTS);
        let [ip, port, ..] = node.list()? else { return None };
        let port = u16::try_from(port.integer()?).ok()?;
        let address = match (ip.text().and_then(|ip| ip.parse().ok()), seed) {
            (Some(ip), _) => Address::Tcp(SocketAddr::new(ip, port)),
            // A null or empty address means: the one you asked.
            (None, Address::Tcp(seed)) => Address::Tcp(SocketAddr::new(seed.ip(), port)),
            (None, Address::Unix(_)) => return None,
        };
        Some((slot(first)?, slot(last)?, address))
    };
    reply.list()?.iter().map(range).collect()
}

/// The slot of a key, of its first non-empty {tag} if it has one.
pub(crate) fn slot(key: &[u8]) -> u16 {
    CRC16.checksum(tag(key).unwrap_or(key)) % SLOTS
}

fn tag(key: &[u8]) -> Option<&[u8]> {
    let open = memchr::memchr(b'{', key)?;
    let len = memchr::memchr(b'}', &key[open + 1..])?;
    (len > 0).then(|| &key[open + 1..open + 1 + len])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values that Redis's documentation and CLUSTER KEYSLOT give.
    #[test]
    fn slots_are_those_of_redis() {
        assert_eq!(slot(b"123456789"), 0x31c3 % SLOTS);
        assert_eq!(slot(b"foo"), 12182);
        assert_eq!(slot(b"{foo}.bar"), 12182);
        assert_eq!(slot(b"{}.foo"), slot(b"{}.foo".as_slice()));
        assert_ne!(slot(b"{}.foo"), slot(b""));
    }

    #[test]
    fn ranges_are_read_and_a_missing_host_is_the_seeds() {
        let text = |text: &str| Value::Text(text.as_bytes().to_vec());
        let entry = |first, last, ip, port| {
            Value::List(vec![Value::Integer(first), Value::Integer(last), Value::List(vec![ip, Value::Integer(port)])])
        };
        let reply = Value::List(vec![entry(0, 8191, text("127.0.0.2"), 7000), entry(8192, 16383, text(""), 7001)]);
        let ranges = ranges(&reply, &Address::local(6379)).unwrap();
        assert_eq!(ranges[0], (0, 8191, Address::host("127.0.0.2", 7000).unwrap()));
        assert_eq!(ranges[1], (8192, 16383, Address::local(7001)));
        assert!(super::ranges(&Value::List(vec![entry(0, 99999, text(""), 1)]), &Address::local(1)).is_none());
    }
}
