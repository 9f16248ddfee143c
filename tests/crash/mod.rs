//! The real server, killed at any moment, keeps what it has acknowledged.
//!
//! ```text
//!  writers  SET own 7   INCR own   MSET one n other n   MULTI .. EXEC      each knows what was sent last and what was acknowledged last
//!  readers  GET own                                                         and what they were shown
//!  another  BGREWRITEAOF, again and again, in some of the tests; two thousand keys lie about, so that one takes a while
//!     SIGKILL at a random moment; what was not synced is gone: the disk is lossy (src/runtime/disk/medium.rs)
//!  restart  acknowledged <= found <= sent, shown <= found, of each pair both or none
//! ```
//!
//! `CORELANE_CRASH_KILLS` makes it longer. A disk that forgets one sync in ten must be found out, or these tests prove nothing.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use corelane::base::hash::slot;
use corelane::base::lanes::Lanes;

use crate::support::client::encode;
use crate::support::server::{Crashing, free_port, info_field};
use crate::support::{Client, Value, eventually};

/// Writers of each kind.
const WRITERS: usize = 3;

/// What one writer knows of its number.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    /// The last that was sent, acknowledged or not.
    sent: u64,
    /// The last that was acknowledged.
    sure: u64,
}

/// What is written, by whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// One key.
    Single,
    /// Two keys, which lie on different lanes if there are several, by one MSET.
    Pair,
    /// The same by EXEC, with an INCR beside.
    Exec,
}

const KINDS: [Kind; 3] = [Kind::Single, Kind::Pair, Kind::Exec];

/// A connection that may break at any moment.
struct Wire(TcpStream);

impl Wire {
    fn connect(port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port)))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        Ok(Self(stream))
    }

    fn send(&mut self, words: &[&[u8]]) -> io::Result<()> {
        self.0.write_all(&encode(words))
    }

    fn line(&mut self) -> io::Result<String> {
        let (mut line, mut byte) = (Vec::new(), [0]);
        while !line.ends_with(b"\r\n") {
            self.0.read_exact(&mut byte)?;
            line.push(byte[0]);
        }
        Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
    }

    fn number(&mut self, key: &str) -> io::Result<u64> {
        self.send(&[b"GET", key.as_bytes()])?;
        let head = self.line()?;
        if head == "$-1" {
            return Ok(0);
        }
        assert!(head.starts_with('$'), "GET {key} says {head}");
        Ok(self.line()?.parse().expect("a number was written"))
    }
}

fn keys(kind: Kind, writer: usize) -> [String; 2] {
    let one = format!("{kind:?}{writer}:one").to_lowercase();
    // On another lane, however many there are.
    let lane = |key: &str, lanes| Lanes::new(lanes).owner(slot(key.as_bytes()));
    let differs = |other: &String| [2, 3].iter().all(|lanes| lane(&one, *lanes) != lane(other, *lanes));
    let other = (0..).map(|i| format!("{one}:{i}")).find(differs).expect("there are other lanes");
    [one, other]
}

/// Writes numbers that grow until the server is gone.
fn write(port: u16, kind: Kind, writer: usize, known: &mut Known) -> io::Result<()> {
    let mut wire = Wire::connect(port)?;
    let [one, other] = keys(kind, writer);
    loop {
        let next = known.sent + 1;
        let text = next.to_string();
        let (text, one, other) = (text.as_bytes(), one.as_bytes(), other.as_bytes());
        known.sent = next;
        match kind {
            Kind::Single => {
                wire.send(&[b"SET", one, text])?;
                assert_eq!(wire.line()?, "+OK");
            }
            Kind::Pair => {
                wire.send(&[b"MSET", one, text, other, text])?;
                assert_eq!(wire.line()?, "+OK");
            }
            Kind::Exec => {
                wire.send(&[b"MULTI"])?;
                wire.send(&[b"SET", one, text])?;
                wire.send(&[b"INCR", other])?;
                wire.send(&[b"EXEC"])?;
                let lines: Vec<String> = (0..6).map(|_| wire.line()).collect::<io::Result<_>>()?;
                assert_eq!(lines[..5], ["+OK", "+QUEUED", "+QUEUED", "*2", "+OK"]);
                assert_eq!(lines[5], format!(":{next}"));
            }
        }
        known.sure = next;
    }
}

/// Reads what others write; the last it was shown.
fn read(port: u16, kind: Kind, writer: usize, shown: &mut [u64; 2]) -> io::Result<()> {
    let mut wire = Wire::connect(port)?;
    loop {
        for (key, shown) in keys(kind, writer).iter().zip(&mut *shown) {
            let found = wire.number(key)?;
            assert!(found >= *shown, "{key} went from {shown} back to {found}");
            *shown = found;
        }
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Story {
    known: Known,
    shown: [u64; 2],
}

/// Keys that nobody writes again.
const LYING: usize = 2000;

/// Whether the journal is rewritten all the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rewrites {
    No,
    Always,
}

/// Lets keys lie about.
fn lay(port: u16) {
    let mut wire = Wire::connect(port).expect("it is up");
    let names: Vec<Vec<u8>> = (0..LYING).map(|i| format!("lies:{i}").into_bytes()).collect();
    let pairs = names.iter().flat_map(|name| [name.as_slice(), b"there"]);
    let words: Vec<&[u8]> = std::iter::once(&b"MSET"[..]).chain(pairs).collect();
    wire.send(&words).expect("it takes them");
    assert_eq!(wire.line().expect("it answers"), "+OK");
}

/// How many of them are there.
fn lying(port: u16) -> String {
    let mut wire = Wire::connect(port).expect("it is up");
    let names: Vec<Vec<u8>> = (0..LYING).map(|i| format!("lies:{i}").into_bytes()).collect();
    let words: Vec<&[u8]> = std::iter::once(&b"EXISTS"[..]).chain(names.iter().map(Vec::as_slice)).collect();
    wire.send(&words).and_then(|()| wire.line()).expect("it answers")
}

/// Has the journal rewritten until the server is gone; how often it was begun.
fn rewrite(port: u16, begun: &mut u32) -> io::Result<()> {
    let mut wire = Wire::connect(port)?;
    loop {
        wire.send(&[b"BGREWRITEAOF"])?;
        let line = wire.line()?;
        let is_begun = line.starts_with("+Background append only file rewriting");
        *begun += u32::from(is_begun);
        assert!(is_begun || line.ends_with("already in progress"), "{line}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Lets the load run for so long, kills the server, and returns when all clients have noticed.
fn run_and_kill(
    server: &mut Crashing,
    millis: u64,
    stories: &mut [(Kind, usize, Story)],
    rewrites: Rewrites,
    begun: &mut u32,
) {
    let (port, over) = (server.port, AtomicBool::new(false));
    std::thread::scope(|scope| {
        for (kind, writer, Story { known, shown }) in stories {
            let (kind, writer, over) = (*kind, *writer, &over);
            scope.spawn(move || assert_over(write(port, kind, writer, known), over));
            scope.spawn(move || assert_over(read(port, kind, writer, shown), over));
        }
        if rewrites == Rewrites::Always {
            let over = &over;
            scope.spawn(move || assert_over(rewrite(port, begun), over));
        }
        std::thread::sleep(Duration::from_millis(millis));
        over.store(true, Ordering::SeqCst);
        server.kill();
    });
}

fn assert_over(ended: io::Result<()>, over: &AtomicBool) {
    assert!(over.load(Ordering::SeqCst), "the server let a client go: {ended:?}");
}

/// What is wrong with what was found after the restart.
fn judge(port: u16, stories: &mut [(Kind, usize, Story)]) -> Vec<String> {
    let mut wire = Wire::connect(port).expect("it is up");
    let mut wrong = Vec::new();
    for (kind, writer, story) in stories {
        let keys = keys(*kind, *writer);
        let found = [0, 1].map(|i| wire.number(&keys[i]).expect("it answers"));
        let Story { known, shown } = *story;
        let pair = if *kind == Kind::Single { [found[0]; 2] } else { found };
        if pair[0] != pair[1] {
            wrong.push(format!("{keys:?} are {found:?}: half a transaction"));
        }
        if found[0] < known.sure {
            wrong.push(format!("{} is {}, but {} was acknowledged", keys[0], found[0], known.sure));
        }
        if found[0] > known.sent {
            wrong.push(format!("{} is {}, but at most {} was sent", keys[0], found[0], known.sent));
        }
        for (key, (found, shown)) in keys.iter().zip(found.iter().zip(shown)) {
            if *found < shown {
                wrong.push(format!("{key} is {found}, but {shown} was shown"));
            }
        }
        *story = Story { known: Known { sent: found[0], sure: found[0] }, shown: found };
        if *kind == Kind::Single {
            story.shown[1] = 0;
        }
    }
    wrong
}

/// Kills a server so often; the first faults that were found.
fn crash(lanes: &str, fsync: &str, disk: &str, kills: u32, rewrites: Rewrites) -> Vec<String> {
    let flags = ["--lanes", lanes, "--appendonly", "yes", "--appendfsync", fsync];
    let mut server = Crashing::new(free_port(), &flags, ("CORELANE_DISK", disk));
    let mut stories: Vec<(Kind, usize, Story)> =
        KINDS.iter().flat_map(|kind| (0..WRITERS).map(|writer| (*kind, writer, Story::default()))).collect();
    let (mut moment, mut begun) = (7_u64, 0);
    for kill in 0..kills {
        if let Err(why) = server.try_start() {
            return vec![format!("after {kill} kills it does not start: {why}")];
        }
        let mut wrong = judge(server.port, &mut stories);
        if rewrites == Rewrites::Always {
            if kill == 0 {
                lay(server.port);
            }
            let there = lying(server.port);
            if there != format!(":{LYING}") {
                wrong.push(format!("of the keys that lie about there are {there}"));
            }
        }
        if !wrong.is_empty() {
            return wrong.into_iter().map(|what| format!("after {kill} kills: {what}")).collect();
        }
        moment = moment.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        run_and_kill(&mut server, 5 + (moment >> 33) % 90, &mut stories, rewrites, &mut begun);
    }
    server.start();
    let done: u64 = stories.iter().map(|(.., story)| story.known.sure).sum();
    assert!(done > u64::from(kills), "hardly anything was written: {done}");
    // A busy machine begins fewer before it is killed.
    assert!(rewrites == Rewrites::No || begun > kills / 4, "hardly anything was rewritten: {begun}");
    judge(server.port, &mut stories)
}

fn kills(bounded: u32) -> u32 {
    std::env::var("CORELANE_CRASH_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(bounded)
}

#[test]
fn one_lane_loses_nothing_that_it_acknowledged() {
    assert_eq!(crash("1", "always", "lossy", kills(60), Rewrites::No), Vec::<String>::new());
}

#[test]
fn several_lanes_lose_nothing_that_they_acknowledged() {
    assert_eq!(crash("3", "always", "lossy", kills(140), Rewrites::No), Vec::<String>::new());
}

#[test]
fn a_disk_that_forgets_is_found_out() {
    let found = crash("3", "always", "forgetful", 40, Rewrites::No);
    assert!(!found.is_empty(), "a sync that does not happen must show");
}

#[test]
fn one_lane_loses_nothing_while_its_journal_is_rewritten() {
    assert_eq!(crash("1", "always", "lossy", kills(60), Rewrites::Always), Vec::<String>::new());
}

#[test]
fn several_lanes_lose_nothing_while_their_journals_are_rewritten() {
    assert_eq!(crash("3", "always", "lossy", kills(140), Rewrites::Always), Vec::<String>::new());
}

/// Leaving out the sync of the bases, of the manifest, or of names.
#[test]
fn a_rewrite_that_leaves_out_a_sync_is_found_out() {
    for disk in ["no-base-sync", "no-manifest-sync", "no-name-sync"] {
        let found = crash("2", "always", disk, 20, Rewrites::Always);
        assert!(!found.is_empty(), "{disk} must show");
    }
}

/// Each operation on the directory fails once, in turn, before or after it was done: the server says so and goes on, or does not start;
/// what was acknowledged is there after a kill, and a later rewrite is as good as any.
#[test]
fn a_rewrite_that_fails_anywhere_loses_nothing() {
    let mut failed = 0;
    for how in ["keeper-fails", "keeper-fails-late"] {
        for at in 1..=32 {
            let flags = ["--lanes", "2", "--appendonly", "yes", "--appendfsync", "always"];
            let mut server = Crashing::new(free_port(), &flags, ("CORELANE_DISK", &format!("{how}:{at}")));
            let mut sure = 0;
            if let Err(why) = server.try_start() {
                assert!(why.contains("cannot"), "{how}:{at}: {why}");
            } else {
                let mut client = Client::connect(server.port);
                for _ in 0..2 {
                    (0..20).for_each(|_| sure = set_pair(&mut client, sure + 1));
                    let over = |client: &mut Client| info_field(client, "aof_rewrite_in_progress") == "0";
                    assert!(matches!(client.words("BGREWRITEAOF"), Value::Simple(_)));
                    (0..20).for_each(|_| sure = set_pair(&mut client, sure + 1));
                    let is_over =
                        eventually(|| over(&mut client) && info_field(&mut client, "aof_rewrite_scheduled") == "0");
                    assert!(is_over, "{how}:{at}: it does not end");
                    failed += u32::from(info_field(&mut client, "aof_last_bgrewrite_status") == "err");
                }
            }
            server.kill();
            server.heal();
            server.start();
            let mut wire = Wire::connect(server.port).expect("it is up");
            assert_eq!(PAIR.map(|key| wire.number(key).expect("it answers")), [sure; 2], "{how}:{at}");
        }
    }
    assert!(failed > 20, "hardly any rewrite failed: {failed}");
}

fn set_pair(client: &mut Client, number: u64) -> u64 {
    let text = number.to_string();
    assert_eq!(client.call(&["MSET", PAIR[0], &text, PAIR[1], &text]), Value::ok());
    number
}

/// A failed disk that works again: a rewrite makes the journal whole, without anybody's help.
#[test]
fn what_failed_is_mended_by_a_rewrite() {
    for at in [3, 8] {
        let flags = ["--lanes", "2", "--appendonly", "yes", "--appendfsync", "always"];
        let mut server = Crashing::new(free_port(), &flags, ("CORELANE_DISK", &format!("fails:{at}")));
        server.start();
        let (sure, _) = write_until_refused(server.port, "always");
        let mut client = Client::connect(server.port);
        let number = (sure + 1).to_string();
        let mended = || client.call(&["MSET", PAIR[0], &number, PAIR[1], &number]) == Value::ok();
        assert!(eventually(mended), "writes are taken again");
        assert_eq!(info_field(&mut client, "aof_last_write_status"), "ok");
        server.kill();
        server.heal();
        server.start();
        let mut wire = Wire::connect(server.port).expect("it is up");
        assert_eq!(PAIR.map(|key| wire.number(key).expect("it answers")), [sure + 1; 2]);
    }
}

/// Each write and each sync of the journal fails once, in turn, before or after it has reached the disk: whoever waited for it loses its connection,
/// later writes are refused, reads go on, and after a restart all that was acknowledged is there. With `everysec` there are writes whose sync comes
/// later, for those clients that want it.
#[test]
fn a_write_that_fails_is_told_and_nothing_acknowledged_is_lost() {
    for (how, fsync) in
        [("fails", "always"), ("fails-late", "always"), ("fails", "everysec"), ("fails-late", "everysec")]
    {
        for at in 1..=12 {
            let flags = ["--lanes", "2", "--appendonly", "yes", "--appendfsync", fsync];
            let mut server = Crashing::new(free_port(), &flags, ("CORELANE_DISK", &format!("{how}:{at}")));
            server.start();
            let (sure, refusal) = write_until_refused(server.port, fsync);
            assert!(refusal.starts_with("-MISCONF Errors writing to the AOF file: "), "{how}:{at}: {refusal}");
            let mut wire = Wire::connect(server.port).expect("reads go on");
            assert!(wire.number(PAIR[0]).expect("they do") >= sure, "{how}:{at}");
            server.kill();
            server.heal();
            server.start();
            let mut wire = Wire::connect(server.port).expect("it is up");
            let found = PAIR.map(|key| wire.number(key).expect("it answers"));
            assert_eq!(found[0], found[1], "{how}:{at}: half a transaction");
            assert!(found[0] == sure || found[0] == sure + 1, "{how}:{at}: {found:?}, {sure} was acknowledged");
        }
    }
}

/// Of two lanes: slots 12182 and 866.
const PAIR: [&str; 2] = ["foo", "hello"];

/// The last number that was acknowledged, and what was said when no more could be written.
fn write_until_refused(port: u16, fsync: &str) -> (u64, String) {
    let mut sure = 0;
    for _ in 0..1000 {
        let mut wire = Wire::connect(port).expect("connections are accepted");
        wire.send(&[b"CLIENT", b"DURABILITY", b"FSYNC"]).and_then(|()| wire.line()).expect("reads go on");
        loop {
            if fsync == "everysec" {
                write_unsynced(port);
            }
            let text = (sure + 1).to_string();
            let (text, [one, other]) = (text.as_bytes(), PAIR.map(str::as_bytes));
            // A connection that ends says nothing of the outcome; the next attempt writes the same.
            let Ok(line) = wire.send(&[b"MSET", one, text, other, text]).and_then(|()| wire.line()) else { break };
            if line != "+OK" {
                return (sure, line);
            }
            sure += 1;
        }
    }
    panic!("the disk fails and nobody is told");
}

/// Writes on both lanes for which nobody waits, and lets them be under way.
fn write_unsynced(port: u16) {
    let mut wire = Wire::connect(port).expect("connections are accepted");
    for key in PAIR {
        wire.send(&[b"SET", format!("{{{key}}}:other").as_bytes(), b"1"])
            .and_then(|()| wire.line())
            .expect("an answer");
    }
    std::thread::sleep(Duration::from_millis(3));
}
