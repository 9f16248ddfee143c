//! Reading the journal's files as a recovery does: how far each lane's stream goes, and how far it counts.
//!
//! ```text
//!  chain   log 3 ends -> log 5 ends -> log 7       each begins where the one before says that it ends
//!          one that does not end, though a later one holds blocks: damage, since nothing is written to a log before the one before it is whole on
//!          the disk
//!          every share of a command over several lanes -> persist/cut.rs -> cuts
//! ```

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use hashbrown::HashSet;

use super::archive::Refusal;
use super::log::{Level, plain, say};
use crate::persist::Position;
use crate::persist::block::{HEADER_BYTES, Header, Origin};
use crate::persist::cut::{Share, Streams};
use crate::persist::manifest::{Kind, Manifest, Volume};
use crate::persist::record::{Record, Transaction};
use crate::persist::stream::{Damage, Ending, Found, Reader};

/// Bytes read at once.
const READ_BYTES: usize = 256 << 10;

/// What becomes of the torn end that a crash leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Torn {
    Refused,
    /// Cut off, and the operator is told.
    Told,
    Accepted,
}

/// The volumes of the last run, of which it is not decided where they end.
pub(super) fn open_chain(manifest: &Manifest) -> &[Volume] {
    let open = manifest.volumes.iter().position(|volume| volume.kind == Kind::Log && volume.to.is_none());
    &manifest.volumes[open.unwrap_or(manifest.volumes.len())..]
}

/// Where a lane's stream begins in a volume, and ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) from: Position,
    pub(super) to: Position,
}

/// What the streams of a chain hold, by lane.
pub(super) struct Survey {
    /// In the volumes of the chain, as far as the stream goes on in them.
    pub(super) spans: Vec<Vec<Span>>,
    /// How far each counts.
    pub(super) cuts: Vec<Position>,
    /// Files that nothing was written to.
    pub(super) unused: Vec<PathBuf>,
}

/// Reads all streams of a chain of volumes.
pub(super) fn survey(dir: &Path, chain: &[Volume], lanes: u16, torn: Torn) -> Result<Survey, Refusal> {
    if let Some(other) = chain.iter().find(|volume| volume.lanes != lanes) {
        return Err(format!(
            "the manifest in {} names journal.{}.log, which {} lanes wrote, behind a log of {lanes} that has no end: restore the directory from \
             a backup",
            dir.display(),
            other.number,
            other.lanes
        ));
    }
    let mut streams = Streams::remembering(lanes);
    let mut firm = vec![Position::default(); usize::from(lanes)];
    let (mut spans, mut unused) = (Vec::new(), Vec::new());
    for lane in 0..lanes {
        let of_lane = follow(dir, chain, lane, torn, &mut unused, |share, known| {
            firm[usize::from(lane)] = known;
            streams.share(lane, share);
            streams.settle(lane, known);
        })?;
        let end = of_lane.last().map_or_else(Position::default, |(span, _)| span.to);
        let known = of_lane.iter().map(|(_, known)| *known).max().unwrap_or_default();
        firm[usize::from(lane)] = firm[usize::from(lane)].max(known);
        streams.settle(lane, firm[usize::from(lane)]);
        streams.reach(lane, end);
        spans.push(of_lane.into_iter().map(|(span, _)| span).collect());
    }
    let (mut missing, missed) = (streams.missing(), streams.missed());
    missing.extend(missed.iter().map(|(lane, of, ..)| (*lane, *of)));
    let settled = if missing.is_empty() { HashSet::new() } else { search(dir, chain, &missing)? };
    if let Some((lane, _, by, at)) = missed.iter().find(|(lane, of, ..)| !settled.contains(&(*lane, *of))) {
        let names = |lane: u16| chain.last().map_or_else(String::new, |volume| volume.file_name(lane));
        return Err(format!(
            "the journal of lane {lane} ({}) lacks a command over several lanes that was durable there, as that of lane {by} ({}) says at \
             position {at}: files are missing or of different times; restore {} from a backup",
            names(*lane),
            names(*by),
            dir.display()
        ));
    }
    let cuts = streams.cut(&settled);
    for (lane, (cut, firm)) in cuts.iter().zip(&firm).enumerate() {
        if cut < firm {
            return Err(format!(
                "the journal of lane {lane} was durable up to position {firm}, but the files of the others hold it up to {cut} only: \
                 files are missing or of different times; restore {} from a backup",
                dir.display()
            ));
        }
    }
    Ok(Survey { spans, cuts, unused })
}

/// Which of these shares are in the streams.
fn search(
    dir: &Path,
    chain: &[Volume],
    missing: &HashSet<(u16, Transaction)>,
) -> Result<HashSet<(u16, Transaction)>, Refusal> {
    let mut found = HashSet::new();
    let lanes: HashSet<u16> = missing.iter().map(|(lane, _)| *lane).collect();
    for lane in lanes {
        follow(dir, chain, lane, Torn::Accepted, &mut Vec::new(), |share, _| {
            if missing.contains(&(lane, share.of)) {
                found.insert((lane, share.of));
            }
        })?;
    }
    Ok(found)
}

/// Reads a lane's stream through a chain of volumes, calling `each` with every share and what was firm when it was read. Its span in each
/// volume that it reaches, and what was firm there.
fn follow(
    dir: &Path,
    chain: &[Volume],
    lane: u16,
    torn: Torn,
    unused: &mut Vec<PathBuf>,
    mut each: impl FnMut(Share, Position),
) -> Result<Vec<(Span, Position)>, Refusal> {
    let mut spans: Vec<(Span, Position)> = Vec::new();
    for (at, volume) in chain.iter().enumerate() {
        let last = spans.last().map(|(span, _)| span.to);
        let from = volume.from.as_ref().map(|from| from[usize::from(lane)]).or(last);
        let from = from.expect("the first of a chain says where it begins");
        let files = stream_files(dir, volume, lane);
        let mut firm = Position::default();
        let ending = read(&files, Reader::new(volume.origin(lane), from), |known, found| {
            firm = firm.max(known);
            if let Record::Share(of, lanes, _) = found.record {
                each(Share { of, start: found.start, end: found.end, lanes: lanes.iter().collect() }, firm);
            }
        })?;
        spans.push((Span { from, to: ending.end }, firm.max(ending.firm)));
        unused.extend(files[ending.segment + 1..].iter().cloned());
        if !ending.ended {
            refuse_goes_on(dir, &chain[at + 1..], lane, &files, &ending)?;
        }
        if let Some(end) = &ending.torn {
            let path = files[end.segment].display();
            let text = format!("{path}: {} at byte {}; the journal ends before it", end.what, end.offset);
            match torn {
                Torn::Refused => return Err(format!("{text}: set aof-load-truncated yes to load what is before it")),
                Torn::Told => say(Level::Warning, &text),
                Torn::Accepted => {}
            }
        }
        if !ending.ended || ending.torn.is_some() {
            break;
        }
    }
    Ok(spans)
}

/// A stream that breaks off in `files` goes on in no later volume, or what is missing between is damage.
fn refuse_goes_on(dir: &Path, later: &[Volume], lane: u16, files: &[PathBuf], ending: &Ending) -> Result<(), Refusal> {
    for volume in later {
        for path in stream_files(dir, volume, lane) {
            if !holds_block(&path, volume.origin(lane))? {
                continue;
            }
            let (broken, what) = match &ending.torn {
                Some(torn) => (torn.segment, format!("{} at byte {}", torn.what, torn.offset)),
                None => {
                    (ending.segment, format!("it breaks off at position {} without a record of its end", ending.end))
                }
            };
            return Err(format!(
                "{} is damaged: {what}, though it was synced to its end before {} was begun: see 'corelane check {}', and restore the \
                 directory from a backup",
                files[broken].display(),
                path.display(),
                dir.display()
            ));
        }
    }
    Ok(())
}

/// Whether there is a header of a block of this stream anywhere in a file.
fn holds_block(path: &Path, origin: Origin) -> Result<bool, Refusal> {
    let bytes = fs::read(path).map_err(|error| unreadable(path, &error))?;
    let mut rest = &bytes[..];
    while let Some(at) = Header::find(rest) {
        let Some(head) = rest[at..].first_chunk::<HEADER_BYTES>() else { break };
        if Header::parse(head).is_ok_and(|header| header.origin == origin) {
            return Ok(true);
        }
        rest = &rest[at + 1..];
    }
    Ok(false)
}

/// The files of a lane's stream in a volume, in their order, up to the last that is there: one that is missing before it is found out when it is
/// opened.
pub(super) fn stream_files(dir: &Path, volume: &Volume, lane: u16) -> Vec<PathBuf> {
    let first = format!("{}.", volume.file_name(lane));
    let names = fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok).map(|entry| entry.file_name());
    let last = names.filter_map(|name| name.to_str()?.strip_prefix(&first)?.parse::<usize>().ok()).max();
    (0..=last.unwrap_or(0)).map(|segment| dir.join(volume.segment_name(lane, segment))).collect()
}

/// Reads files that hold one stream. `each`: what was firm so far, and a record.
pub(super) fn read(
    files: &[PathBuf],
    mut reader: Reader,
    mut each: impl FnMut(Position, Found<'_>),
) -> Result<Ending, Refusal> {
    let mut buffer = vec![0; READ_BYTES];
    for (segment, path) in files.iter().enumerate() {
        if segment > 0 {
            reader.next_segment().map_err(|damage| damaged(files, &damage))?;
        }
        let mut file = File::open(path).map_err(|error| unreadable(path, &error))?;
        loop {
            let len = file.read(&mut buffer).map_err(|error| unreadable(path, &error))?;
            if len == 0 {
                break;
            }
            let firm = reader.firm();
            reader.feed(&buffer[..len], |found| each(firm, found)).map_err(|damage| damaged(files, &damage))?;
        }
    }
    reader.finish().map_err(|damage| damaged(files, &damage))
}

pub(super) fn unreadable(path: &Path, error: &io::Error) -> Refusal {
    format!(
        "cannot read {} ({}): check its owner, or restore the directory from a backup",
        path.display(),
        plain(error)
    )
}

pub(super) fn damaged(files: &[PathBuf], damage: &Damage) -> Refusal {
    let path = &files[damage.segment];
    format!(
        "{} is damaged: {} at byte {}, before data that was synced later: see 'corelane check {}', and restore the directory \
         from a backup",
        path.display(),
        damage.what,
        damage.offset,
        path.parent().unwrap_or_else(|| Path::new(".")).display()
    )
}
