//! The directory of the journal: opened and judged before anything listens.
//!
//! ```text
//!  lock -> manifest -> survey: every stream of the last chain, its end and its shares
//!                   -> cut: how far each lane counts (persist/cut.rs)
//!                   -> new files -> manifest that says where the old ones end and names the new ones -> leftovers deleted
//!                   -> for each lane: what to load, and the file to write
//! ```
//!
//! A crash at any place leaves the manifest before or the one after, and both say the same keyspace.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use hashbrown::HashSet;

use super::log::{Level, say};
use super::sys::random_bytes;
use crate::base::lanes::Lanes;
use crate::persist::Position;
use crate::persist::block::Origin;
use crate::persist::cut::{Share, Streams};
use crate::persist::manifest::{self, Kind, Manifest, Volume};
use crate::persist::record::{Record, Transaction};
use crate::persist::stream::{Ending, Reader};

const LOCK_NAME: &str = "journal.lock";

/// Bytes read at once.
const READ_BYTES: usize = 256 << 10;

/// What a directory was opened for.
#[derive(Clone, Debug)]
pub(super) struct Wish {
    pub(super) dir: PathBuf,
    pub(super) lanes: u16,
    /// `aof-load-truncated`: whether the torn end that a crash leaves is cut off, or refused.
    pub(super) load_truncated: bool,
}

/// A directory that is ours.
#[derive(Debug)]
pub(super) struct Archive {
    /// Held as long as the server runs.
    #[expect(dead_code, reason = "its lock is what it is for")]
    pub(super) lock: File,
    pub(super) lanes: Vec<LaneFiles>,
    /// What another number of lanes has written, and then all of it: to be loaded before anybody is served.
    pub(super) apart: Vec<Group>,
}

/// Volumes that the same number of lanes has written, one after the other.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) lanes: Lanes,
    /// For each of those lanes.
    pub(super) streams: Vec<Vec<Part>>,
}

/// What one lane begins with.
#[derive(Debug)]
pub(super) struct LaneFiles {
    pub(super) file: File,
    pub(super) origin: Origin,
    pub(super) start: Position,
    /// In this order.
    pub(super) load: Vec<Part>,
}

/// A file to be loaded, up to a position.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) path: PathBuf,
    pub(super) bytes: u64,
    pub(super) origin: Origin,
    pub(super) from: Position,
    pub(super) to: Position,
}

/// Why a directory cannot be used: one line that says what to do.
pub(super) type Refusal = String;

impl Archive {
    pub(super) fn open(wish: &Wish) -> Result<Self, Refusal> {
        let lock = make_directory(&wish.dir).and_then(|()| lock(&wish.dir))?;
        let mut manifest = read_manifest(&wish.dir)?;
        seal(wish, &mut manifest)?;
        let mut groups = groups(wish, &manifest)?;
        // What this many lanes have written each lane loads for itself.
        let load = match &mut groups[..] {
            [] => vec![Vec::new(); usize::from(wish.lanes)],
            [only] if only.lanes.count() == wish.lanes => std::mem::take(&mut groups.remove(0).streams),
            _ => vec![Vec::new(); usize::from(wish.lanes)],
        };
        let start = next_start(wish, &manifest);
        let volume = Volume {
            kind: Kind::Log,
            number: manifest.next_number(),
            id: u32::from_le_bytes(random_bytes()?),
            from: start.clone(),
            to: None,
        };
        let files = (0..wish.lanes).map(|lane| create(&wish.dir.join(volume.file_name(lane))));
        let files: Vec<File> = files.collect::<Result<_, _>>()?;
        manifest.volumes.push(volume.clone());
        write_manifest(&wish.dir, &manifest)?;
        delete_leftovers(&wish.dir, &manifest);
        let lanes = (0..).zip(files).zip(start).zip(load);
        let lanes =
            lanes.map(|(((lane, file), start), load)| LaneFiles { file, origin: volume.origin(lane), start, load });
        Ok(Self { lock, lanes: lanes.collect(), apart: groups })
    }
}

fn make_directory(dir: &Path) -> Result<(), Refusal> {
    match fs::create_dir(dir) {
        Ok(()) => sync_directory(dir.parent().unwrap_or_else(|| Path::new("."))),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => {
            Err(format!("cannot make the journal's directory {} ({error}): check dir and its owner", dir.display()))
        }
    }
}

fn lock(dir: &Path) -> Result<File, Refusal> {
    let path = dir.join(LOCK_NAME);
    let file = OpenOptions::new().create(true).write(true).truncate(false).open(&path);
    let file =
        file.map_err(|error| format!("cannot write {} ({error}): check the directory's owner", path.display()))?;
    match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(_) => Err(format!(
            "another server writes its journal to {}: stop it, or give this one another dir or appenddirname",
            dir.display()
        )),
    }
}

pub(super) fn read_manifest(dir: &Path) -> Result<Manifest, Refusal> {
    let path = dir.join(manifest::NAME);
    match fs::read_to_string(&path) {
        Ok(text) => Manifest::parse(&text).map_err(|bad| {
            let line = if bad.line > 0 { format!(", line {}", bad.line) } else { String::new() };
            format!(
                "{}{line} cannot be read: {}: restore it, or the whole directory, from a backup",
                path.display(),
                bad.what
            )
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => refuse_strangers(dir).map(|()| Manifest::default()),
        Err(error) => Err(format!("cannot read {} ({error})", path.display())),
    }
}

/// Without a manifest there must be nothing that one would name: an empty server must not take the place of lost data.
fn refuse_strangers(dir: &Path) -> Result<(), Refusal> {
    let entries = fs::read_dir(dir).map_err(|error| format!("cannot list {} ({error})", dir.display()))?;
    for entry in entries.filter_map(Result::ok) {
        let name = entry.file_name().to_string_lossy().into_owned();
        if Manifest::is_ours(&name) {
            return Err(format!(
                "{} holds {name} but no {}: restore the manifest, or move the files away to begin with no data",
                dir.display(),
                manifest::NAME
            ));
        }
        if name.ends_with(".manifest") && name != manifest::NAME || name.ends_with(".aof") {
            return Err(format!(
                "{} holds {name}, a journal of Redis, which this server does not read: move it away, or load it with a Redis \
                 server and copy the keys",
                dir.display()
            ));
        }
    }
    Ok(())
}

/// Decides where the streams of the last run end.
fn seal(wish: &Wish, manifest: &mut Manifest) -> Result<(), Refusal> {
    let chain = open_chain(manifest);
    let Some(lanes) = chain.first().map(Volume::lanes) else { return Ok(()) };
    let torn = if wish.load_truncated { Torn::Told } else { Torn::Refused };
    let ends = survey(&wish.dir, chain, lanes, torn)?;
    let first = manifest.volumes.len() - chain.len();
    let volumes = manifest.volumes.drain(first..).collect::<Vec<_>>();
    for (at, volume) in volumes.iter().enumerate() {
        let next = volumes.get(at + 1).map(|next| &next.from);
        let to = (0..usize::from(lanes)).map(|lane| {
            let (from, cut) = (volume.from[lane], ends[lane]);
            next.map_or(cut, |next| cut.min(next[lane])).max(from)
        });
        let to: Vec<Position> = to.collect();
        // One that nothing was written to is not worth a file.
        if to != volume.from {
            manifest.volumes.push(Volume { to: Some(to), ..volume.clone() });
        }
    }
    Ok(())
}

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

/// Reads all streams of a chain of volumes; how far each lane's counts.
pub(super) fn survey(dir: &Path, chain: &[Volume], lanes: u16, torn: Torn) -> Result<Vec<Position>, Refusal> {
    let mut streams = Streams::new(lanes);
    let mut firm = vec![Position::default(); usize::from(lanes)];
    for lane in 0..lanes {
        let end = follow(dir, chain, lane, torn, |share, known| {
            firm[usize::from(lane)] = known;
            streams.share(lane, share);
            streams.settle(lane, known);
        })?;
        firm[usize::from(lane)] = firm[usize::from(lane)].max(end.firm);
        streams.settle(lane, firm[usize::from(lane)]);
        streams.reach(lane, end.end);
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
    Ok(cuts)
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

/// Reads a lane's stream through a chain of volumes, calling `each` with every share and what was firm when it was read.
fn follow(
    dir: &Path,
    chain: &[Volume],
    lane: u16,
    torn: Torn,
    mut each: impl FnMut(Share, Position),
) -> Result<Ending, Refusal> {
    let mut firm = Position::default();
    let mut ending = Ending { end: chain[0].from[usize::from(lane)], firm, ended: true, torn: None };
    for volume in chain {
        if !ending.ended || ending.torn.is_some() {
            break;
        }
        let from = volume.from[usize::from(lane)];
        let path = dir.join(volume.file_name(lane));
        ending = read(&path, Reader::new(volume.origin(lane), from), |reader, found| {
            firm = firm.max(reader);
            if let Record::Share(of, lanes, _) = found.record {
                each(Share { of, start: found.start, end: found.end, lanes: lanes.iter().collect() }, firm);
            }
        })?;
        ending.firm = ending.firm.max(firm);
        if let Some(end) = &ending.torn {
            let text = format!("{}: {} at byte {}; the journal ends before it", path.display(), end.what, end.offset);
            match torn {
                Torn::Refused => return Err(format!("{text}: set aof-load-truncated yes to load what is before it")),
                Torn::Told => say(Level::Warning, &text),
                Torn::Accepted => {}
            }
        }
    }
    Ok(ending)
}

pub(super) fn read(
    path: &Path,
    mut reader: Reader,
    mut each: impl FnMut(Position, crate::persist::stream::Found<'_>),
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

pub(super) fn damaged(path: &Path, damage: &crate::persist::stream::Damage) -> Refusal {
    format!(
        "{} is damaged: {} at byte {}, before data that was synced later: see 'corelane check {}', and restore the directory \
         from a backup",
        path.display(),
        damage.what,
        damage.offset,
        path.parent().unwrap_or_else(|| Path::new(".")).display()
    )
}

/// What is to be loaded, in its order.
fn groups(wish: &Wish, manifest: &Manifest) -> Result<Vec<Group>, Refusal> {
    let mut groups: Vec<Group> = Vec::new();
    for volume in &manifest.volumes {
        let lanes = Lanes::new(volume.lanes());
        if groups.last().is_none_or(|group| group.lanes != lanes) {
            groups.push(Group { lanes, streams: lanes.all().map(|_| Vec::new()).collect() });
        }
        let group = groups.last_mut().expect("just looked at");
        for (lane, stream) in (0..).zip(&mut group.streams) {
            stream.push(part(wish, volume, lane)?);
        }
    }
    Ok(groups)
}

fn part(wish: &Wish, volume: &Volume, lane: u16) -> Result<Part, Refusal> {
    let path = wish.dir.join(volume.file_name(lane));
    let bytes = fs::metadata(&path).map_err(|error| format!("cannot read {} ({error})", path.display()))?.len();
    let to = volume.to.as_ref().map_or(Position::MAX, |to| to[usize::from(lane)]);
    Ok(Part { path, bytes, origin: volume.origin(lane), from: volume.from[usize::from(lane)], to })
}

/// Where the streams go on.
fn next_start(wish: &Wish, manifest: &Manifest) -> Vec<Position> {
    let last = manifest.volumes.iter().rev().find(|volume| volume.kind == Kind::Log);
    match last.filter(|volume| volume.lanes() == wish.lanes).and_then(|volume| volume.to.clone()) {
        Some(to) => to,
        None => vec![Position::default(); usize::from(wish.lanes)],
    }
}

fn create(path: &Path) -> Result<File, Refusal> {
    let file = OpenOptions::new().create(true).write(true).truncate(true).open(path);
    file.map_err(|error| {
        format!("cannot create {} ({error}): check the directory's owner and free space", path.display())
    })
}

fn write_manifest(dir: &Path, manifest: &Manifest) -> Result<(), Refusal> {
    let (path, temporary) = (dir.join(manifest::NAME), dir.join(manifest::TEMPORARY_NAME));
    let written = File::create(&temporary)
        .and_then(|mut file| file.write_all(manifest.to_text().as_bytes()).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&temporary, &path));
    written.map_err(|error| format!("cannot write {} ({error}): check free space", path.display()))?;
    sync_directory(dir)
}

fn sync_directory(dir: &Path) -> Result<(), Refusal> {
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    let synced = File::open(dir).and_then(|dir| dir.sync_all());
    synced.map_err(|error| format!("cannot sync {} ({error})", dir.display()))
}

/// Files of ours that the manifest does not name: of something that did not come to its end.
fn delete_leftovers(dir: &Path, manifest: &Manifest) {
    for entry in fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok) {
        let name = entry.file_name().to_string_lossy().into_owned();
        if Manifest::is_ours(&name) && !manifest.names(&name) {
            let _ = fs::remove_file(entry.path());
        }
    }
}
