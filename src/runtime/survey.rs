//! Reading the journal's files as a recovery does: how far each lane's stream goes, and how far it counts.
//!
//! ```text
//!  chain   log 3 ends -> log 5 ends -> log 7       each begins where the one before says that it ends
//!          every share of a command over several lanes -> persist/cut.rs -> cuts
//! ```

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use hashbrown::HashSet;

use super::archive::Refusal;
use super::log::{Level, say};
use crate::persist::Position;
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
}

/// Reads all streams of a chain of volumes.
pub(super) fn survey(dir: &Path, chain: &[Volume], lanes: u16, torn: Torn) -> Result<Survey, Refusal> {
    let mut streams = Streams::new(lanes);
    let mut firm = vec![Position::default(); usize::from(lanes)];
    let mut spans = Vec::new();
    for lane in 0..lanes {
        let of_lane = follow(dir, chain, lane, torn, |share, known| {
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
    let missing = streams.missing();
    let settled = if missing.is_empty() { HashSet::new() } else { search(dir, chain, &missing)? };
    let cuts = streams.cut(&settled);
    for (lane, (cut, firm)) in cuts.iter().zip(&firm).enumerate() {
        if cut < firm {
            return Err(format!(
                "the journal of lane {lane} was durable up to {firm}, but the files of the others hold it up to {cut} only: \
                 files are missing or of different times; restore {} from a backup",
                dir.display()
            ));
        }
    }
    Ok(Survey { spans, cuts })
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
        follow(dir, chain, lane, Torn::Accepted, |share, _| {
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
    mut each: impl FnMut(Share, Position),
) -> Result<Vec<(Span, Position)>, Refusal> {
    let mut spans: Vec<(Span, Position)> = Vec::new();
    for volume in chain {
        let last = spans.last().map(|(span, _)| span.to);
        let from = volume.from.as_ref().map(|from| from[usize::from(lane)]).or(last);
        let from = from.expect("the first of a chain says where it begins");
        let path = dir.join(volume.file_name(lane));
        let mut firm = Position::default();
        let ending = read(&path, Reader::new(volume.origin(lane), from), |known, found| {
            firm = firm.max(known);
            if let Record::Share(of, lanes, _) = found.record {
                each(Share { of, start: found.start, end: found.end, lanes: lanes.iter().collect() }, firm);
            }
        })?;
        spans.push((Span { from, to: ending.end }, firm.max(ending.firm)));
        if let Some(end) = &ending.torn {
            let text = format!("{}: {} at byte {}; the journal ends before it", path.display(), end.what, end.offset);
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

pub(super) fn read(
    path: &Path,
    mut reader: Reader,
    mut each: impl FnMut(Position, Found<'_>),
) -> Result<Ending, Refusal> {
    let failed = |error: io::Error| format!("cannot read {} ({error})", path.display());
    let mut file = File::open(path).map_err(failed)?;
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let len = file.read(&mut buffer).map_err(failed)?;
        if len == 0 {
            break;
        }
        let firm = reader.firm();
        reader.feed(&buffer[..len], |found| each(firm, found)).map_err(|damage| damaged(path, &damage))?;
    }
    reader.finish().map_err(|damage| damaged(path, &damage))
}

pub(super) fn damaged(path: &Path, damage: &Damage) -> Refusal {
    format!(
        "{} is damaged: {} at byte {}, before data that was synced later: see 'corelane check {}', and restore the directory \
         from a backup",
        path.display(),
        damage.what,
        damage.offset,
        path.parent().unwrap_or_else(|| Path::new(".")).display()
    )
}
