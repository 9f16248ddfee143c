//! The manifest: which files together hold the keyspace, in the order in which they are read.
//!
//! ```text
//!  corelane-journal 2
//!  base 4 id 91834519 lanes 2 from 0 0
//!  log 3 id 18231123 lanes 2 from 410 388 to 8123 9916        sealed: what is behind these positions was undone by a recovery
//!  log 5 id 77812301 lanes 2 from 8123 9916                   ends where it says so itself, or is being written
//!  log 7 id 11239912 lanes 2 follows                          begins where the one before it says that it ends, if it does
//!  sum 1f00ab12
//! ```
//!
//! A *volume* is one file per lane: `journal.<number>.<base|log>.<lane>`. A base holds a keyspace, a log what happened to it. Since version 2 a log
//! may go on in further files of a lane, its segments: `journal.<number>.log.<lane>.<1, 2, ...>`, as many as there are. The manifest is
//! replaced as a whole, by renaming, so that there is always exactly one truth; files it does not name are leftovers of something that did
//! not come to its end, and are deleted. The id is drawn at random and stands in each block: no client can put into a value what would
//! look like one.

use std::fmt::Write;

use super::Position;
use super::block::Origin;

const TITLE: &str = "corelane-journal";
const VERSION: u32 = 2;

/// What a file is called that was of a volume, and one that is on its way to be of one; a number follows.
pub const RETIRED: &str = "journal.retired.";
pub const SPARE: &str = "journal.spare.";

/// What the manifest is called, and what it is called while it is written.
pub const NAME: &str = "journal.manifest";
pub const TEMPORARY_NAME: &str = "journal.manifest.new";

/// Most lanes a volume can have: a bound for whoever reads a broken manifest.
const LANES_MAX: u16 = 4096;

/// No stream comes that far: what is added to a position stays one.
const POSITION_MAX: u64 = 1 << 60;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Base,
    Log,
}

impl Kind {
    const fn word(self) -> &'static str {
        match self {
            Self::Base => "base",
            Self::Log => "log",
        }
    }
}

/// One file per lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    pub kind: Kind,
    pub number: u32,
    pub id: u32,
    pub lanes: u16,
    /// Where each lane's stream begins in it; none: where it ended in the log before. A log is named before the moment is known at which
    /// the lanes turn to it, so that nobody has to wait for the manifest then.
    pub from: Option<Vec<Position>>,
    /// Where each lane's stream ends, if that was decided.
    pub to: Option<Vec<Position>>,
}

impl Volume {
    pub fn file_name(&self, lane: u16) -> String {
        format!("journal.{}.{}.{lane}", self.number, self.kind.word())
    }

    /// One of the files in which a lane's stream goes on; the first is [`Self::file_name`].
    pub fn segment_name(&self, lane: u16, segment: usize) -> String {
        segment_name(&self.file_name(lane), segment)
    }

    /// Whether `next` may begin where this one says that it ends.
    pub fn can_be_followed(&self, next: &Self) -> bool {
        let are_open = [self, next].iter().all(|volume| volume.kind == Kind::Log && volume.to.is_none());
        are_open && self.lanes == next.lanes
    }

    pub fn origin(&self, lane: u16) -> Origin {
        Origin { volume: self.id, lane, lanes: self.lanes }
    }
}

/// What the files are called in which the stream goes on that begins in a file of this name.
pub fn segment_name(first: &str, segment: usize) -> String {
    if segment == 0 { first.to_owned() } else { format!("{first}.{segment}") }
}

/// All volumes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    pub volumes: Vec<Volume>,
}

/// Why a manifest cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadManifest {
    /// Counted from one; 0 if it is about the whole.
    pub line: usize,
    pub what: String,
}

impl Manifest {
    /// The number of the next volume.
    pub fn next_number(&self) -> u32 {
        self.volumes.iter().map(|volume| volume.number).max().map_or(1, |last| last + 1)
    }

    /// Whether it names a file of this name.
    pub fn names(&self, file: &str) -> bool {
        let is_of = |first: &str| {
            file.strip_prefix(first)
                .is_some_and(|rest| rest.is_empty() || rest.strip_prefix('.').is_some_and(is_number))
        };
        self.volumes.iter().any(|volume| (0..volume.lanes).any(|lane| is_of(&volume.file_name(lane))))
    }

    /// Whether a file of this name is of our making, whatever volume it was of.
    pub fn is_ours(file: &str) -> bool {
        let parts: Vec<&str> = file.split('.').collect();
        let (["journal", number, "base" | "log", lane] | ["journal", number, "log", lane, _]) = parts[..] else {
            return false;
        };
        [number, lane].into_iter().chain(parts.get(4).copied()).all(is_number)
    }

    pub fn to_text(&self) -> String {
        let mut text = format!("{TITLE} {VERSION}\n");
        for Volume { kind, number, id, lanes, from, to } in &self.volumes {
            let _ = write!(text, "{} {number} id {id} lanes {lanes}", kind.word());
            if from.is_none() {
                text.push_str(" follows");
            }
            for (word, positions) in [("from", from), ("to", to)] {
                let Some(positions) = positions else { continue };
                let _ = write!(text, " {word}");
                positions.iter().for_each(|position| _ = write!(text, " {position}"));
            }
            text.push('\n');
        }
        let sum = crc32c::crc32c(text.as_bytes());
        let _ = writeln!(text, "sum {sum:08x}");
        text
    }

    pub fn parse(text: &str) -> Result<Self, BadManifest> {
        let whole = |what: &str| BadManifest { line: 0, what: what.to_owned() };
        let body_len = text.trim_end_matches('\n').rfind('\n').ok_or_else(|| whole("it is cut short"))? + 1;
        let (body, sum) = text.split_at(body_len);
        let mut lines = (1..).zip(body.lines());
        let title = lines.next().map_or("", |(_, line)| line);
        match title.strip_prefix(TITLE).map(|version| version.trim().parse::<u32>()) {
            Some(Ok(1..=VERSION)) => {}
            Some(Ok(newer)) => {
                return Err(whole(&format!("it is of version {newer}, this server reads those up to {VERSION}")));
            }
            _ => return Err(whole("it is no manifest of a journal")),
        }
        let expected = format!("sum {:08x}\n", crc32c::crc32c(body.as_bytes()));
        if sum != expected {
            return Err(whole("its checksum is wrong"));
        }
        let mut volumes: Vec<Volume> = Vec::new();
        for (line, text) in lines {
            let volume = volume(text).map_err(|what| BadManifest { line, what })?;
            if volume.from.is_none() && !volumes.last().is_some_and(|last| last.can_be_followed(&volume)) {
                return Err(BadManifest { line, what: "it follows no log".to_owned() });
            }
            volumes.push(volume);
        }
        Ok(Self { volumes })
    }
}

fn is_number(part: &str) -> bool {
    part.parse::<u32>().is_ok()
}

fn volume(line: &str) -> Result<Volume, String> {
    let mut words = line.split_ascii_whitespace();
    let kind = match words.next() {
        Some("base") => Kind::Base,
        Some("log") => Kind::Log,
        other => return Err(format!("a volume is a base or a log, not '{}'", other.unwrap_or_default())),
    };
    let number = number(&mut words, "a number")?;
    if number == u32::MAX {
        return Err(format!("no number comes after {number}"));
    }
    expect(&mut words, "id")?;
    let id = self::number(&mut words, "an id")?;
    expect(&mut words, "lanes")?;
    let lanes = self::number(&mut words, "a number of lanes")?;
    if !(1..=LANES_MAX).contains(&lanes) {
        return Err(format!("{lanes} lanes are out of range"));
    }
    let from = match words.next() {
        Some("from") => Some(positions(&mut words, lanes)?),
        Some("follows") => None,
        _ => return Err("'from' is missing".to_owned()),
    };
    let to = match words.next() {
        None => None,
        Some("to") => Some(positions(&mut words, lanes)?),
        Some(other) => return Err(format!("'{other}' is unknown")),
    };
    match words.next() {
        None => Ok(Volume { kind, number, id, lanes, from, to }),
        Some(other) => Err(format!("'{other}' is unknown")),
    }
}

fn positions<'w>(words: &mut impl Iterator<Item = &'w str>, lanes: u16) -> Result<Vec<Position>, String> {
    let position = |at: u64| {
        (at <= POSITION_MAX).then_some(Position(at)).ok_or_else(|| format!("the position {at} is out of range"))
    };
    (0..lanes).map(|_| number(words, "a position for each lane").and_then(position)).collect()
}

fn expect<'w>(words: &mut impl Iterator<Item = &'w str>, word: &str) -> Result<(), String> {
    match words.next() {
        Some(found) if found == word => Ok(()),
        _ => Err(format!("'{word}' is missing")),
    }
}

fn number<'w, N: std::str::FromStr>(words: &mut impl Iterator<Item = &'w str>, what: &str) -> Result<N, String> {
    words.next().and_then(|word| word.parse().ok()).ok_or_else(|| format!("{what} is missing"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        let two = |one, other| vec![Position(one), Position(other)];
        let (lanes, from) = (2, Some(two(410, 0)));
        let base =
            Volume { kind: Kind::Base, number: 4, id: u32::MAX, lanes: 1, from: Some(vec![Position(0)]), to: None };
        let log = Volume { kind: Kind::Log, number: 3, id: 7, lanes, from, to: Some(two(8123, 0)) };
        let open = Volume { number: 5, to: None, ..log.clone() };
        let next = Volume { number: 6, from: None, ..open.clone() };
        Manifest { volumes: vec![base, log, open, next] }
    }

    #[test]
    fn it_says_what_it_was_told() {
        let manifest = manifest();
        assert_eq!(Manifest::parse(&manifest.to_text()), Ok(manifest.clone()));
        assert_eq!(Manifest::parse(&Manifest::default().to_text()), Ok(Manifest::default()));
        assert_eq!(manifest.next_number(), 7);
        assert!(manifest.names("journal.3.log.1") && !manifest.names("journal.3.log.2"));
        assert!(manifest.names("journal.3.log.1.17") && !manifest.names("journal.3.log.12"));
        assert!(Manifest::is_ours("journal.3.log.1.17") && !Manifest::is_ours("journal.3.log.1.x"));
        assert!(!Manifest::is_ours(&format!("{SPARE}1")) && !Manifest::is_ours(&format!("{RETIRED}1")));
        assert!(
            Manifest::is_ours("journal.9.base.0") && !Manifest::is_ours(NAME) && !Manifest::is_ours("journal.9.x.0")
        );
    }

    #[test]
    fn every_change_of_a_byte_is_refused() {
        let text = manifest().to_text().into_bytes();
        for at in 0..text.len() {
            for byte in [b'0', b'1', b'x', b' ', b'\n'] {
                let mut changed = text.clone();
                changed[at] = byte;
                if changed != text
                    && let Ok(changed) = std::str::from_utf8(&changed)
                {
                    assert!(Manifest::parse(changed).is_err(), "byte {at} as {byte}");
                }
            }
            assert!(Manifest::parse(std::str::from_utf8(&text[..at]).unwrap()).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn a_log_follows_only_an_open_log_of_as_many_lanes() {
        let whole = manifest();
        for at in 0..whole.volumes.len() - 1 {
            let mut manifest = Manifest { volumes: whole.volumes[..=at].to_vec() };
            manifest.volumes.push(whole.volumes[3].clone());
            assert_eq!(Manifest::parse(&manifest.to_text()).is_ok(), at == 2, "behind {at}");
        }
    }

    #[test]
    fn a_newer_version_is_named() {
        let bad = Manifest::parse("corelane-journal 3\nsum 0\n").unwrap_err();
        assert!(bad.what.contains("version 3"), "{bad:?}");
    }

    #[test]
    fn the_first_version_is_read() {
        let text = manifest().to_text();
        let (body, _) = text.split_at(text.find("sum ").unwrap());
        let body = body.replace("corelane-journal 2", "corelane-journal 1");
        let text = format!("{body}sum {:08x}\n", crc32c::crc32c(body.as_bytes()));
        assert_eq!(Manifest::parse(&text), Ok(manifest()));
    }
}
