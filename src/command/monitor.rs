//! MONITOR: who watches on a lane, and the lines they see.
//!
//! ```text
//!  +1700000000.123456 [0 127.0.0.1:50000] "set" "key" "a\x00b"
//! ```

use std::fmt::Write as _;
use std::net::SocketAddr;

use super::clients::ConnId;
use super::clipped::{clip, is_secret};
use super::connection::BASE;
use super::{Command, Desk, Flags, Group, Merging, Outcome, Over, Part, Run, merge};
use crate::base::lanes::ShardId;
use crate::store::incoming::Incoming;
use crate::wire::reply::Reply;
use crate::wire::request::Args;

/// Shown of a word: a longer one is cut, since it is copied while its request waits.
const WORD_BYTES_MAX: usize = 64 << 10;

pub const ROWS: &[Command] = &[Command {
    name: "monitor",
    syntax: "MONITOR",
    arity: 1,
    group: Group::Server,
    since: "1.0.0",
    flags: Flags::ADMIN.and(BASE).and(Flags::NO_MULTI),
    summary: "Shows from here on what all clients ask.",
    run: Run::Split { over: Over::Nodes, part: Part::Desk(monitor), merge: Merging::Several(merge::all_succeeded) },
    ..Command::ROW
}];

/// Who watches.
#[derive(Debug, Default)]
pub struct Monitors {
    /// Connections of this lane.
    here: Vec<Monitor>,
    /// Lanes that have some who watch all lanes.
    lanes: Vec<ShardId>,
    /// There are any, here or elsewhere.
    is_watched: bool,
    /// Somebody began or ceased here: the other lanes may have to know.
    changed: bool,
}

#[derive(Clone, Copy, Debug)]
struct Monitor {
    conn: ConnId,
    /// CLIENT ID.
    client: u64,
    /// What one lane's clients ask, as of a node by itself.
    one_lane: bool,
}

impl Monitors {
    #[inline]
    pub fn is_watched(&self) -> bool {
        self.is_watched
    }

    /// Connections of this lane that see what its clients ask, or those of another lane.
    pub fn here(&self, of_other: bool) -> impl Iterator<Item = ConnId> {
        self.here.iter().filter(move |monitor| !of_other || !monitor.one_lane).map(|monitor| monitor.conn)
    }

    /// Other lanes where somebody sees what is asked here.
    pub fn lanes(&self) -> impl Iterator<Item = ShardId> {
        self.lanes.iter().copied()
    }

    /// Whether the client of this CLIENT ID watches.
    pub fn is_monitor(&self, client: u64) -> bool {
        self.here.iter().any(|monitor| monitor.client == client)
    }

    fn add(&mut self, conn: ConnId, client: u64, one_lane: bool) {
        self.here.push(Monitor { conn, client, one_lane });
        (self.changed, self.is_watched) = (true, true);
    }

    pub fn remove(&mut self, conn: ConnId) {
        let before = self.here.len();
        self.here.retain(|monitor| monitor.conn != conn);
        self.changed |= self.here.len() < before;
        self.look();
    }

    /// Whether this lane has some who watch all lanes, if that may have changed.
    pub fn take_change(&mut self) -> Option<bool> {
        std::mem::take(&mut self.changed).then(|| self.here.iter().any(|monitor| !monitor.one_lane))
    }

    /// Another lane says whether it has some.
    pub fn hear(&mut self, lane: ShardId, watches: bool) {
        self.lanes.retain(|known| *known != lane);
        self.lanes.extend(watches.then_some(lane));
        self.look();
    }

    fn look(&mut self) {
        self.is_watched = !self.here.is_empty() || !self.lanes.is_empty();
    }
}

/// On the other lanes nothing: they hear of it beside this, and all of them have when OK is said.
fn monitor(desk: &mut Desk<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let caller = desk.caller;
    let is_ours = desk.clients.get(caller.conn).is_some_and(|client| client.id == caller.client);
    if caller.home.0 == desk.identity.lane && is_ours && !desk.clients.monitors.is_monitor(caller.client) {
        desk.clients.monitors.add(caller.conn, caller.client, caller.shard_port);
    }
    reply.ok();
    Ok(())
}

/// What is asked, by whom and when.
pub fn line(unix_us: u64, db: u8, peer: SocketAddr, (row, args, longs): (&Command, Args<'_>, &Incoming)) -> Vec<u8> {
    let mut line = format!("+{}.{:06} [{db} {peer}]", unix_us / 1_000_000, unix_us % 1_000_000);
    for (i, word) in args.iter().enumerate() {
        line.push(' ');
        if is_secret(row, args, i) {
            line.push_str("\"(redacted)\"");
        } else {
            let (head, rest) = clip(word, longs.at(i), WORD_BYTES_MAX);
            line.push('"');
            escape(&head, &mut line);
            line.extend([rest.as_str(), "\""]);
        }
    }
    line.push_str("\r\n");
    line.into_bytes()
}

/// As within a string of C.
fn escape(bytes: &[u8], line: &mut String) {
    for byte in bytes {
        match byte {
            b'\\' | b'"' => line.extend(['\\', char::from(*byte)]),
            b'\n' => line.push_str("\\n"),
            b'\r' => line.push_str("\\r"),
            b'\t' => line.push_str("\\t"),
            0x07 => line.push_str("\\a"),
            0x08 => line.push_str("\\b"),
            b' '..=b'~' => line.push(char::from(*byte)),
            byte => write!(line, "\\x{byte:02x}").expect("writing to a String does not fail"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::table::Table;
    use crate::wire::request::Request;

    #[test]
    fn a_line_is_redis_s() {
        let table = Table::new();
        let peer = "127.0.0.1:50000".parse().expect("an address");
        let shown = |words: &[&[u8]]| {
            let request: Request = words.iter().copied().collect();
            let row = table.find(words[0]).expect("a command").row;
            String::from_utf8(line(1_700_000_000_000_042, 3, peer, (row, request.args(), &Incoming::default())))
                .expect("text")
        };
        assert_eq!(
            shown(&[b"seT", b"k \"\\", b"a\r\n\t\x07\x08\x00\xff"]),
            "+1700000000.000042 [3 127.0.0.1:50000] \"seT\" \"k \\\"\\\\\" \"a\\r\\n\\t\\a\\b\\x00\\xff\"\r\n"
        );
        assert_eq!(shown(&[b"AUTH", b"x"]), "+1700000000.000042 [3 127.0.0.1:50000] \"AUTH\" \"(redacted)\"\r\n");
        let long = shown(&[b"echo", &[b'x'; WORD_BYTES_MAX + 7]]);
        assert!(long.ends_with("x... (7 more bytes)\"\r\n"), "{}", &long[long.len() - 40..]);
    }

    #[test]
    fn lanes_hear_when_the_first_begins_and_the_last_ceases() {
        let mut monitors = Monitors::default();
        assert_eq!((monitors.take_change(), monitors.is_watched()), (None, false));
        monitors.add(ConnId(1), 1, false);
        monitors.add(ConnId(2), 2, true);
        assert_eq!((monitors.take_change(), monitors.take_change()), (Some(true), None));
        assert_eq!(monitors.here(true).collect::<Vec<_>>(), [ConnId(1)]);
        assert_eq!(monitors.here(false).count(), 2);
        monitors.remove(ConnId(3));
        assert_eq!(monitors.take_change(), None);
        monitors.remove(ConnId(1));
        assert_eq!((monitors.take_change(), monitors.is_watched()), (Some(false), true));
        monitors.remove(ConnId(2));
        monitors.hear(ShardId(4), true);
        monitors.hear(ShardId(4), true);
        assert_eq!(monitors.lanes().collect::<Vec<_>>(), [ShardId(4)]);
        monitors.hear(ShardId(4), false);
        assert!(!monitors.is_watched());
    }
}
