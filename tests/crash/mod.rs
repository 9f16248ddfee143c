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
use std::time::{Duration, Instant};

use corelane::base::hash::slot;
use corelane::base::lanes::Lanes;

use crate::support::client::encode;
use crate::support::server::{Crashing, free_port, info_field, run_to_end};
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

/// Which acknowledgements the server may not take back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Promise {
    /// `appendfsync always`.
    Each,
    /// Those of every other writer and reader, who ask for that.
    Asked,
    /// Those that are so old.
    Aged(Duration),
}

impl Promise {
    fn is_asked(self, writer: usize) -> bool {
        self == Self::Asked && writer.is_multiple_of(2)
    }

    /// Whether what this writer was told `before` the kill is sure.
    fn holds(self, writer: usize, before: Duration) -> bool {
        match self {
            Self::Each => true,
            Self::Asked => self.is_asked(writer),
            Self::Aged(age) => before > age,
        }
    }
}

/// One run of the server.
#[derive(Clone, Copy, Debug)]
struct Run {
    port: u16,
    promise: Promise,
    began: Instant,
    lasts: Duration,
}

impl Run {
    fn connect(&self, writer: usize) -> io::Result<Wire> {
        let mut wire = Wire::connect(self.port)?;
        if self.promise.is_asked(writer) {
            wire.send(&[b"CLIENT", b"DURABILITY", b"FSYNC"])?;
            assert_eq!(wire.line()?, "+OK");
        }
        Ok(wire)
    }

    /// Whether what is told now is sure.
    fn holds(&self, writer: usize) -> bool {
        self.promise.holds(writer, self.lasts.saturating_sub(self.began.elapsed()))
    }
}

/// Writes numbers that grow until the server is gone.
fn write(run: Run, kind: Kind, writer: usize, known: &mut Known) -> io::Result<()> {
    let mut wire = run.connect(writer)?;
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
        if run.holds(writer) {
            known.sure = next;
        }
    }
}

/// Reads what others write; the last it was shown.
fn read(run: Run, kind: Kind, writer: usize, shown: &mut [u64; 2]) -> io::Result<()> {
    let mut wire = run.connect(writer)?;
    let mut last = *shown;
    loop {
        for (key, (last, shown)) in keys(kind, writer).iter().zip(last.iter_mut().zip(&mut *shown)) {
            let found = wire.number(key)?;
            assert!(found >= *last, "{key} went from {last} back to {found}");
            *last = found;
            if run.holds(writer) {
                *shown = found;
            }
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
    (promise, millis): (Promise, u64),
    stories: &mut [(Kind, usize, Story)],
    rewrites: Rewrites,
    begun: &mut u32,
) {
    let (port, over) = (server.port, AtomicBool::new(false));
    let run = Run { port, promise, began: Instant::now(), lasts: Duration::from_millis(millis) };
    std::thread::scope(|scope| {
        for (kind, writer, Story { known, shown }) in stories {
            let (kind, writer, over) = (*kind, *writer, &over);
            scope.spawn(move || assert_over(write(run, kind, writer, known), over));
            scope.spawn(move || assert_over(read(run, kind, writer, shown), over));
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
fn crash(lanes: &str, disk: &str, kills: u32, rewrites: Rewrites) -> Vec<String> {
    crash_under(lanes, Promise::Each, disk, kills, rewrites)
}

/// The same, with what `appendfsync` this promises, or less.
fn crash_under(lanes: &str, promise: Promise, disk: &str, kills: u32, rewrites: Rewrites) -> Vec<String> {
    let (fsync, shortest, longer) = match promise {
        Promise::Each => ("always", 5, 90),
        Promise::Asked => ("no", 5, 90),
        Promise::Aged(age) => ("everysec", u64::try_from(age.as_millis()).expect("short") + 300, 900),
    };
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
        let millis = shortest + (moment >> 33) % longer;
        run_and_kill(&mut server, (promise, millis), &mut stories, rewrites, &mut begun);
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
    assert_eq!(crash("1", "lossy", kills(60), Rewrites::No), Vec::<String>::new());
}

#[test]
fn several_lanes_lose_nothing_that_they_acknowledged() {
    assert_eq!(crash("3", "lossy", kills(140), Rewrites::No), Vec::<String>::new());
}

/// Connections that want the disk, among others that do not, under `appendfsync no`: on whichever lanes they and their keys are.
#[test]
fn whoever_asks_for_the_disk_loses_nothing_on_several_lanes() {
    assert_eq!(crash_under("3", Promise::Asked, "lossy", kills(60), Rewrites::No), Vec::<String>::new());
}

/// A consistent cut that is at most about a second old.
#[test]
fn every_second_several_lanes_lose_the_last_second_at_most() {
    let promise = Promise::Aged(Duration::from_millis(1500));
    assert_eq!(crash_under("3", promise, "lossy", kills(6), Rewrites::No), Vec::<String>::new());
}

/// Whether what was found is a loss, of keys, or of what the journal knows to have held: not any other reason why a server does not start.
fn tells_of_loss(found: &[String]) -> bool {
    let is_loss = |what: &String| {
        let of_keys = ["was acknowledged", "was shown", "half a transaction", "that lie about"];
        let of_files = ["from a backup", "restore the manifest"];
        !what.starts_with("after 0 kills") && of_keys.iter().chain(&of_files).any(|words| what.contains(words))
    };
    found.iter().any(is_loss)
}

#[test]
fn a_disk_that_forgets_is_found_out() {
    let found = crash("3", "forgetful", 40, Rewrites::No);
    assert!(tells_of_loss(&found), "a sync that does not happen must show: {found:?}");
}

#[test]
fn one_lane_loses_nothing_while_its_journal_is_rewritten() {
    assert_eq!(crash("1", "lossy", kills(60), Rewrites::Always), Vec::<String>::new());
}

#[test]
fn several_lanes_lose_nothing_while_their_journals_are_rewritten() {
    assert_eq!(crash("3", "lossy", kills(140), Rewrites::Always), Vec::<String>::new());
}

/// Leaving out the sync of the bases, of the manifest, or of names.
#[test]
fn a_rewrite_that_leaves_out_a_sync_is_found_out() {
    for disk in ["no-base-sync", "no-manifest-sync", "no-name-sync"] {
        let found = crash("2", disk, 20, Rewrites::Always);
        assert!(tells_of_loss(&found), "{disk} must show: {found:?}");
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

/// A rewrite that failed leaves a log behind a log. The last block of the first was synced, as the second shows, which was begun after it: a bit of it
/// that has changed is no torn end, after which the second would be left out, and deleted.
#[test]
fn damage_at_the_end_of_a_log_that_another_follows_is_refused() {
    for lanes in ["1", "2"] {
        let (mut server, sure) =
            (1..60).find_map(|at| with_two_logs(lanes, at)).expect("a rewrite that fails with its logs made");
        let dir = server.journal_dir();
        let held = |name: &str| std::fs::read(dir.join(name)).unwrap_or_default();
        let names = || {
            let entries =
                std::fs::read_dir(&dir).expect("it is there").map(|entry| entry.expect("an entry").file_name());
            entries.map(|name| name.into_string().expect("plain names")).collect::<Vec<_>>()
        };
        let manifest = String::from_utf8(held("journal.manifest")).expect("text");
        let first = manifest.lines().find_map(|line| line.strip_prefix("log ")?.split(' ').next()).expect("a log");
        let of_first = |name: &String| {
            let stem = format!("journal.{first}.log.0");
            (*name == stem || name.starts_with(&format!("{stem}."))) && last_block(&held(name)).is_some()
        };
        let last = names()
            .into_iter()
            .filter(of_first)
            .max_by_key(|name| name.matches('.').count())
            .expect("it was written to");
        let whole = held(&last);
        let mut bytes = whole.clone();
        bytes[last_block(&whole).expect("just seen") + 50] ^= 1;
        std::fs::write(dir.join(&last), &bytes).expect("it can be written");
        let before = names();
        let checked = run_to_end(&["check", dir.to_str().expect("plain names")]);
        assert!(
            checked.code == Some(1) && checked.output.contains(&format!("{last} is damaged")),
            "{}",
            checked.output
        );
        server.heal();
        let why = server.try_start().expect_err("what was acknowledged is not there");
        assert!(why.contains("is damaged") && why.contains("backup"), "{why}");
        server.kill();
        assert!(before.iter().all(|name| names().contains(name)), "{before:?} {:?}", names());
        std::fs::write(dir.join(&last), &whole).expect("it can be written");
        server.start();
        let mut wire = Wire::connect(server.port).expect("it is up");
        assert_eq!(PAIR.map(|key| wire.number(key).expect("it answers")), [sure; 2], "{lanes} lanes");
    }
}

fn last_block(bytes: &[u8]) -> Option<usize> {
    memchr::memmem::rfind(bytes, b"CLb1")
}

/// A killed server whose rewrite failed so that a log follows a log, if that is so when this operation of the keeper fails; and what was written last.
fn with_two_logs(lanes: &str, at: u32) -> Option<(Crashing, u64)> {
    let flags = ["--lanes", lanes, "--appendonly", "yes", "--appendfsync", "always"];
    let mut server = Crashing::new(free_port(), &flags, ("CORELANE_DISK", &format!("keeper-fails:{at}")));
    server.try_start().ok()?;
    let mut client = Client::connect(server.port);
    let mut sure = (1..=20).fold(0, |_, number| set_pair(&mut client, number));
    assert!(matches!(client.words("BGREWRITEAOF"), Value::Simple(_)));
    let mut is_over = || {
        ["aof_rewrite_in_progress", "aof_rewrite_scheduled"].iter().all(|field| info_field(&mut client, field) == "0")
    };
    assert!(eventually(&mut is_over), "the rewrite does not end");
    for _ in 0..20 {
        sure = set_pair(&mut client, sure + 1);
    }
    let has_failed = info_field(&mut client, "aof_last_bgrewrite_status") == "err";
    server.kill();
    let manifest = std::fs::read_to_string(server.journal_dir().join("journal.manifest")).ok()?;
    let mut logs = manifest.lines().filter_map(|line| line.strip_prefix("log ")?.split(' ').next());
    let (_, second) = (logs.next()?, logs.next()?);
    let of_second = server.journal_dir().join(format!("journal.{second}.log.0"));
    // Else it was not begun.
    let is_written = last_block(&std::fs::read(of_second).ok()?).is_some();
    (has_failed && is_written && logs.next().is_none()).then_some((server, sure))
}

/// Each operation of who makes segments fails once, in turn: the journal goes on without, and nothing is lost.
#[test]
fn a_segment_that_cannot_be_made_is_done_without() {
    for how in ["maker-fails", "maker-fails-late"] {
        for at in 1..=12 {
            let flags = ["--lanes", "2", "--appendonly", "yes", "--appendfsync", "always"];
            let mut server = Crashing::new(free_port(), &flags, ("CORELANE_DISK", &format!("{how}:{at}")));
            server.start();
            let mut client = Client::connect(server.port);
            let (mut sure, filler) = (0, "x".repeat(10_000));
            // Some segments of each lane.
            while sure < 40 || !server.output().contains("no segments can be made") && sure < 400 {
                sure = set_pair(&mut client, sure + 1);
                PAIR.iter().for_each(|key| {
                    let key = format!("{{{key}}}:{}", sure % 20);
                    assert_eq!(client.call(&["SET", &key, &filler]), Value::ok());
                });
            }
            assert!(server.output().contains("no segments can be made"), "{how}:{at}: {}", server.output());
            assert_eq!(info_field(&mut client, "aof_last_write_status"), "ok");
            server.kill();
            server.heal();
            server.start();
            let mut wire = Wire::connect(server.port).expect("it is up");
            assert_eq!(PAIR.map(|key| wire.number(key).expect("it answers")), [sure; 2], "{how}:{at}");
        }
    }
}

/// A disk that is full stays so: writes are refused in words that say why, reads go on, what was acknowledged is there when there is room again.
#[test]
fn a_full_disk_is_told_and_nothing_acknowledged_is_lost() {
    for (at, fsync) in [(1, "always"), (6, "always"), (9, "everysec"), (30, "everysec")] {
        let flags = ["--lanes", "2", "--appendonly", "yes", "--appendfsync", fsync];
        let mut server = Crashing::new(free_port(), &flags, ("CORELANE_DISK", &format!("full:{at}")));
        server.start();
        let (sure, refusal) = write_until_refused(server.port, fsync);
        assert_eq!(refusal, "-MISCONF Errors writing to the AOF file: No space left on device", "full:{at}");
        // Whoever asks when the disk fails may be among those that wait for it.
        let info = |field| {
            eventually(|| {
                let said = Client::try_connect(server.port).and_then(|mut client| {
                    client.stream().write_all(b"INFO persistence\r\n")?;
                    client.try_read()
                });
                matches!(said, Ok(Value::Bulk(text)) if String::from_utf8_lossy(&text).contains(field))
            })
        };
        assert!(info("aof_last_write_status:err"), "INFO says so: {}", server.output());
        assert!(info("aof_last_bgrewrite_status:err"), "no rewrite can make it whole: {}", server.output());
        let mut client = Client::connect(server.port);
        assert!(matches!(client.call(&["SET", PAIR[0], "1"]), Value::Error(said) if said.starts_with("MISCONF ")));
        let mut wire = Wire::connect(server.port).expect("reads go on");
        assert!(wire.number(PAIR[0]).expect("they do") >= sure, "full:{at}");
        let said = server.output();
        assert!(said.contains("cannot be written any more: No space left on device"), "{said}");
        server.kill();
        server.heal();
        server.start();
        let mut wire = Wire::connect(server.port).expect("it is up");
        let found = PAIR.map(|key| wire.number(key).expect("it answers"));
        assert!(found[0] == found[1] && (sure..=sure + 1).contains(&found[0]), "full:{at}: {found:?} {sure}");
    }
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

/// What is lost is not passed over in silence by a server that ends.
#[test]
fn a_server_that_ends_without_its_disk_says_so() {
    for lanes in ["1", "2"] {
        let flags = ["--lanes", lanes, "--appendonly", "yes", "--appendfsync", "always"];
        let mut server = Crashing::new(free_port(), &flags, ("CORELANE_DISK", "fails:3"));
        server.start();
        write_until_refused(server.port, "always");
        let (code, said) = server.terminate();
        assert!(code == Some(1) && said.contains("is lost") && !said.contains("Bye"), "{lanes} lanes: {code:?} {said}");
        let names_its_file =
            said.lines().any(|line| line.contains("cannot be written any more") && line.contains("/journal.1.log."));
        assert!(names_its_file, "{said}");
    }
}

/// A journal that was switched on and cannot be begun: writes are refused, reads go on.
#[test]
fn a_journal_that_cannot_be_begun_is_no_journal() {
    let flags = ["--lanes", "2", "--appendfsync", "everysec"];
    // The first operation of each try.
    let mut server = Crashing::new(free_port(), &flags, ("CORELANE_DISK", "keeper-fails:1"));
    server.start();
    let mut client = Client::connect(server.port);
    set_pair(&mut client, 1);
    assert_eq!(client.words("CONFIG SET appendonly yes"), Value::ok());
    assert!(eventually(|| info_field(&mut client, "aof_last_bgrewrite_status") == "err"), "it was to fail");
    let Value::Error(refusal) = client.words("MSET foo 2 hello 2") else { panic!("it is no journal") };
    assert!(refusal.starts_with("MISCONF "), "{refusal}");
    assert_eq!(info_field(&mut client, "aof_last_write_status"), "err");
    assert_eq!(client.words("GET foo"), Value::Bulk(b"1".to_vec()));
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
