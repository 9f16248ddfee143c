//! The directory of the journal: ours before anything listens, opened and judged before anything is served.
//!
//! ```text
//!  lock -> manifest -> survey: every stream of the last chain, its end and its shares
//!                   -> cut: how far each lane counts (persist/cut.rs)
//!                   -> new files -> manifest that says where the old ones end and names the new ones -> leftovers deleted
//!                   -> for each lane: what to load, and the file to write
//! ```
//!
//! A crash at any place leaves the manifest before or the one after, and both say the same keyspace. A lane's stream of one volume lies in as many
//! files as there are of its name (`segments.rs`).

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{MutexGuard, PoisonError};

use super::log::{Level, plain, say};
use super::segments::{self, LogFile, Stem};
use super::survey::{Span, Survey, Torn, open_chain, stream_files, survey, unreadable};
use super::sys::random_bytes;
use super::vault::{Vault, What};
use crate::base::lanes::Lanes;
use crate::persist::Position;
use crate::persist::block::Origin;
use crate::persist::manifest::{self, Kind, Manifest, Volume};

const LOCK_NAME: &str = "journal.lock";

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
    lock: Lock,
    pub(super) vault: Vault,
    pub(super) manifest: Manifest,
    /// Numbers up to here were used: of none of them is a file made twice, whatever became of the first.
    last_number: u32,
}

/// What a server begins with.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) archive: Archive,
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
    pub(super) file: LogFile,
    pub(super) origin: Origin,
    pub(super) start: Position,
    /// In this order.
    pub(super) load: Vec<Part>,
}

/// A lane's files of a volume, to be loaded up to a position.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) files: Vec<PathBuf>,
    pub(super) bytes: u64,
    pub(super) origin: Origin,
    pub(super) from: Position,
    pub(super) to: Position,
}

/// The lock of a directory.
#[derive(Debug)]
struct Lock {
    #[expect(dead_code, reason = "its lock is what it is for")]
    file: File,
    dir: PathBuf,
}

/// Directories that this process has locked: it would refuse itself.
#[expect(clippy::disallowed_types, reason = "of the process, and looked at when a journal is begun or given up")]
static OURS: std::sync::Mutex<Vec<PathBuf>> = std::sync::Mutex::new(Vec::new());

fn ours() -> MutexGuard<'static, Vec<PathBuf>> {
    OURS.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Lock {
    fn drop(&mut self) {
        ours().retain(|dir| *dir != self.dir);
    }
}

/// Whether a journal could be begun in this directory now, or is kept there by this process: it can be made and written to, nobody else has
/// it, and what it holds can be read.
pub(super) fn probe(dir: &Path) -> Result<(), Refusal> {
    make_directory(dir)?;
    let lock = {
        let mut ours = ours();
        if fs::canonicalize(dir).is_ok_and(|dir| ours.contains(&dir)) {
            return Ok(());
        }
        lock_for(dir, &mut ours)?
    };
    let outcome = read_manifest(dir).map(drop);
    drop(lock);
    outcome
}

/// Why a directory cannot be used: one line that says what to do.
pub(super) type Refusal = String;

impl Archive {
    /// Opens what the server before has left, and a new log behind it.
    pub(super) fn open(mut self, wish: &Wish) -> Result<Opened, Refusal> {
        let archive = &mut self;
        let before = archive.manifest.clone();
        let mut manifest = before.clone();
        let unused = seal(wish, &mut manifest)?;
        let mut groups = groups(wish, &manifest)?;
        // What this many lanes have written each lane loads for itself.
        let load = match &mut groups[..] {
            [only] if only.lanes.count() == wish.lanes => std::mem::take(&mut groups.remove(0).streams),
            _ => vec![Vec::new(); usize::from(wish.lanes)],
        };
        let start = next_start(wish, &manifest);
        let volume = Volume { from: Some(start.clone()), ..archive.new_volume(Kind::Log, wish.lanes)? };
        let files = archive.make_logs(&volume)?;
        manifest.volumes.push(volume.clone());
        archive.replace_manifest(manifest)?;
        // From the last on, so that none is ever missing in between. What stays does no harm.
        unused.iter().rev().for_each(|path| _ = segments::retire(path));
        // A log of the last run that nothing was written to goes without a word.
        let mut leftovers = archive.delete_leftovers();
        leftovers.retain(|name| !before.names(name));
        if !leftovers.is_empty() {
            say(Level::Notice, &format!("Removed what a rewrite of the journal has left: {}", leftovers.join(" ")));
        }
        let lanes = (0..).zip(files).zip(start).zip(load);
        let lanes =
            lanes.map(|(((lane, file), start), load)| LaneFiles { file, origin: volume.origin(lane), start, load });
        Ok(Opened { lanes: lanes.collect(), apart: groups, archive: self })
    }

    /// How long the files are that the manifest names.
    pub(super) fn bytes(&self) -> u64 {
        let named = |volume: &Volume| {
            (0..volume.lanes).flat_map(|lane| stream_files(self.vault.dir(), volume, lane)).collect::<Vec<_>>()
        };
        let files = self.manifest.volumes.iter().flat_map(named);
        files.filter_map(|path| fs::metadata(path).ok()).map(|file| file.len()).sum()
    }

    /// Makes the directory ours. For a journal that is begun while the server runs, what it holds is replaced when the first rewrite is over.
    pub(super) fn adopt(dir: &Path) -> Result<Self, Refusal> {
        let lock = make_directory(dir).and_then(|()| lock(dir))?;
        let manifest = read_manifest(dir)?;
        let last_number = manifest.next_number() - 1;
        let mut archive = Self { lock, vault: Vault::new(dir), manifest, last_number };
        // Files without a manifest are refused: there shall be none before the first is there.
        if archive.manifest.volumes.is_empty() {
            archive.replace_manifest(Manifest::default())?;
        }
        Ok(archive)
    }

    /// A volume under a new number, and an id that nobody can guess.
    pub(super) fn new_volume(&mut self, kind: Kind, lanes: u16) -> Result<Volume, Refusal> {
        self.last_number += 1;
        let id = u32::from_le_bytes(random_bytes()?);
        Ok(Volume { kind, number: self.last_number, id, lanes, from: None, to: None })
    }

    /// The files of a log, one for each lane.
    pub(super) fn make_logs(&mut self, volume: &Volume) -> Result<Vec<LogFile>, Refusal> {
        let names = (0..volume.lanes).map(|lane| volume.file_name(lane));
        let files: io::Result<Vec<LogFile>> = names
            .map(|name| Ok(LogFile { file: self.vault.make(&name)?, stem: Stem::new(self.vault.path(&name)) }))
            .collect();
        files.and_then(|files| self.vault.sync_names().map(|()| files)).map_err(|error| self.cannot_make(&error))
    }

    pub(super) fn cannot_make(&self, error: &io::Error) -> Refusal {
        let (dir, error) = (self.vault.dir().display(), plain(error));
        format!("cannot make files in {dir} ({error}): check the directory's owner and free space")
    }

    /// Puts another manifest in the place of the one that is there.
    pub(super) fn replace_manifest(&mut self, manifest: Manifest) -> Result<(), Refusal> {
        let Self { vault, .. } = self;
        let written = vault.make_appended(manifest::TEMPORARY_NAME, What::Manifest).and_then(|mut file| {
            vault.append(&mut file, manifest.to_text().as_bytes())?;
            vault.sync(&mut file)?;
            vault.rename(manifest::TEMPORARY_NAME, manifest::NAME)?;
            vault.sync_names()
        });
        let path = vault.path(manifest::NAME);
        written.map_err(|error| format!("cannot write {} ({}): check free space", path.display(), plain(&error)))?;
        self.manifest = manifest;
        Ok(())
    }

    /// Files of ours that the manifest does not name: of something that did not come to its end, or that it replaced.
    pub(super) fn delete_leftovers(&mut self) -> Vec<String> {
        let entries = fs::read_dir(self.vault.dir()).into_iter().flatten().filter_map(Result::ok);
        let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        let is_left = |name: &String| Manifest::is_ours(name) && !self.manifest.names(name);
        let mut left: Vec<String> = names.filter(is_left).collect();
        left.sort();
        left.retain(|name| match self.vault.remove(name) {
            Ok(()) => true,
            Err(error) => {
                say(Level::Warning, &format!("cannot delete {} ({})", self.vault.path(name).display(), plain(&error)));
                false
            }
        });
        left
    }
}

fn make_directory(dir: &Path) -> Result<(), Refusal> {
    match fs::create_dir(dir) {
        Ok(()) => sync_directory(dir.parent().unwrap_or_else(|| Path::new("."))),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => {
            let error = plain(&error);
            Err(format!("cannot make the journal's directory {} ({error}): check dir and its owner", dir.display()))
        }
    }
}

fn lock(dir: &Path) -> Result<Lock, Refusal> {
    lock_for(dir, &mut ours())
}

fn lock_for(dir: &Path, ours: &mut Vec<PathBuf>) -> Result<Lock, Refusal> {
    let path = dir.join(LOCK_NAME);
    let file = OpenOptions::new().create(true).write(true).truncate(false).open(&path);
    let file = file
        .map_err(|error| format!("cannot write {} ({}): check the directory's owner", path.display(), plain(&error)))?;
    match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {
            let dir = fs::canonicalize(dir).unwrap_or_else(|_| dir.to_owned());
            ours.push(dir.clone());
            Ok(Lock { file, dir })
        }
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
        Err(error) => Err(unreadable(&path, &error)),
    }
}

/// Without a manifest there must be nothing that one would name: an empty server must not take the place of lost data.
fn refuse_strangers(dir: &Path) -> Result<(), Refusal> {
    let entries = fs::read_dir(dir).map_err(|error| format!("cannot list {} ({})", dir.display(), plain(&error)))?;
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

/// Decides where the streams of the last run end. Which files of them were made ready for what never came.
fn seal(wish: &Wish, manifest: &mut Manifest) -> Result<Vec<PathBuf>, Refusal> {
    let chain = open_chain(manifest);
    let Some(lanes) = chain.first().map(|first| first.lanes) else { return Ok(Vec::new()) };
    let torn = if wish.load_truncated { Torn::Told } else { Torn::Refused };
    let Survey { spans, cuts, unused } = survey(&wish.dir, chain, lanes, torn)?;
    let first = manifest.volumes.len() - chain.len();
    let volumes = manifest.volumes.drain(first..).collect::<Vec<_>>();
    for (at, volume) in volumes.into_iter().enumerate() {
        let span = |lane: usize| spans[lane].get(at).copied().unwrap_or(Span { from: cuts[lane], to: cuts[lane] });
        let spans: Vec<Span> = (0..usize::from(lanes)).map(span).collect();
        let from: Vec<Position> = spans.iter().map(|span| span.from).collect();
        let to: Vec<Position> = spans.iter().zip(&cuts).map(|(span, cut)| span.to.min(*cut).max(span.from)).collect();
        // One that nothing was written to is not worth a file. One of which nothing counts stays until a rewrite takes its place.
        let is_written = spans.iter().any(|span| span.to > span.from);
        if to != from || is_written {
            manifest.volumes.push(Volume { from: Some(from), to: Some(to), ..volume });
        }
    }
    Ok(unused)
}

/// What is to be loaded, in its order.
fn groups(wish: &Wish, manifest: &Manifest) -> Result<Vec<Group>, Refusal> {
    let mut groups: Vec<Group> = Vec::new();
    for volume in &manifest.volumes {
        let lanes = Lanes::new(volume.lanes);
        if groups.last().is_none_or(|group| group.lanes != lanes) {
            groups.push(Group { lanes, streams: lanes.all().map(|_| Vec::new()).collect() });
        }
        let group = groups.last_mut().expect("just looked at");
        for (lane, stream) in (0..).zip(&mut group.streams) {
            stream.extend(part(wish, volume, lane)?);
        }
    }
    Ok(groups)
}

/// None: nothing of the file counts.
fn part(wish: &Wish, volume: &Volume, lane: u16) -> Result<Option<Part>, Refusal> {
    let at = |positions: &Option<Vec<Position>>| positions.as_ref().map(|positions| positions[usize::from(lane)]);
    let from = at(&volume.from).unwrap_or_default();
    let to = at(&volume.to).unwrap_or(Position::MAX);
    // Of what counts for nothing, nothing can be missing: `corelane check` says the same.
    if from == to {
        return Ok(None);
    }
    let files = stream_files(&wish.dir, volume, lane);
    let lens =
        files.iter().map(|path| fs::metadata(path).map(|file| file.len()).map_err(|error| unreadable(path, &error)));
    let bytes = lens.sum::<Result<u64, _>>()?;
    Ok(Some(Part { files, bytes, origin: volume.origin(lane), from, to }))
}

/// Where the streams go on.
fn next_start(wish: &Wish, manifest: &Manifest) -> Vec<Position> {
    let last = manifest.volumes.iter().rev().find(|volume| volume.kind == Kind::Log);
    match last.filter(|volume| volume.lanes == wish.lanes).and_then(|volume| volume.to.clone()) {
        Some(to) => to,
        None => vec![Position::default(); usize::from(wish.lanes)],
    }
}

fn sync_directory(dir: &Path) -> Result<(), Refusal> {
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    let synced = File::open(dir).and_then(|dir| dir.sync_all());
    synced.map_err(|error| format!("cannot sync {} ({})", dir.display(), plain(&error)))
}
