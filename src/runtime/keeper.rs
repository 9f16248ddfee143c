//! The keeper: a thread of its own for what is done to the journal's directory while the lanes serve.
//!
//! ```text
//!  lanes    <------------- Opened         what each of them begins with (`opening.rs`): first of all, and nobody else asks anything before
//!
//!  lane 0   Prepare ------------------->  new files; the next log is named in the manifest     <-- before anybody turns to it
//!  lanes    <------------- Prepared       each its file of the new log
//!           Piece, Piece ... Last ----->  appended to the lane's base, synced now and then
//!           <---------------- Taken       the buffer comes back: one piece of a lane is on its way at a time
//!                                         when all lanes have said all: bases synced -> manifest [base, new log] -> old files deleted
//!  lanes    <-- Rewritten | Failed
//! ```
//!
//! It blocks wherever it likes and has the lowest priority: writing, syncing and deleting some hundred megabytes on a lane's ring would still copy
//! them on the lane's own processor. What cannot be written is taken all the same, so that the lanes come to the end of their snapshots; then they
//! are told that it came to nothing. At any moment the directory holds one whole journal: the manifest names it.

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::archive::{Archive, Refusal};
use super::boot::BootError;
use super::log::{Level, say};
use super::opening::{Beginning, Opening};
use super::segments::LogFile;
use super::stop::Stopper;
use super::sys;
use super::vault::{Appended, What};
use crate::persist::Position;
use crate::persist::manifest::{Kind, Manifest, Volume};
use crate::shard::{Ends, Piece, Preparation, Prepared, ShardId};

/// A base is synced each time so much of it was written: a sync of all at the end would hold up those of the journal.
const SYNC_BYTES: usize = 8 << 20;

/// From a lane to the keeper.
pub(super) enum Task {
    Prepare(Preparation),
    Base { lane: ShardId, bytes: Vec<u8>, piece: Piece },
}

/// From the keeper to a lane.
pub(super) enum News {
    /// To all lanes, before anything else.
    Opened(Box<Beginning>),
    /// To all lanes: what their journals turn to, if they do. It is there before the mark at which they do so.
    Prepared {
        prepared: Prepared,
        log: Option<LogFile>,
    },
    /// To lane 0: nothing was prepared.
    Refused,
    /// An empty buffer.
    Taken(Vec<u8>),
    Rewritten {
        /// For each lane.
        marks: Vec<Position>,
    },
    Failed,
}

/// A lane's end of the talk.
pub(super) struct Port {
    pub(super) tasks: Sender<Task>,
    pub(super) news: Receiver<News>,
}

/// The main thread's end of it.
pub(super) struct Keeping {
    thread: JoinHandle<Result<(), Refusal>>,
    /// Nothing comes of it before the directory is open, or refused; then it is closed.
    opening: Receiver<()>,
}

/// A directory that is opened within this time is open when the server listens: then nobody who comes at once is told that it loads.
const OPENING_PATIENCE: Duration = Duration::from_millis(50);

struct Keeper {
    dir: PathBuf,
    /// Once there is a journal.
    archive: Option<Archive>,
    lanes: Vec<Sender<News>>,
    rewrite: Option<Rewrite>,
}

/// A rewrite under way.
struct Rewrite {
    began: Instant,
    base: Volume,
    log: Option<Volume>,
    /// By lane; none when they cannot be written.
    files: Vec<BaseFile>,
    failure: Option<String>,
}

struct BaseFile {
    file: Appended,
    unsynced_bytes: usize,
    ends: Option<Ends>,
}

/// Starts the keeper of a journal in `dir`, which it opens first if one is kept from the start. It ends when the lanes' ports are gone; when it
/// cannot open the directory it stops them.
pub(super) fn start(
    dir: PathBuf,
    opening: Option<Opening>,
    lanes: usize,
    stopper: Stopper,
) -> Result<(Vec<Port>, Keeping), BootError> {
    let (tasks, inbox) = channel();
    let (senders, receivers): (Vec<Sender<News>>, Vec<Receiver<News>>) = (0..lanes).map(|_| channel()).unzip();
    let ports = receivers.into_iter().map(|news| Port { tasks: tasks.clone(), news }).collect();
    let mut keeper = Keeper { dir, archive: None, lanes: senders, rewrite: None };
    let (opens, is_opening) = channel::<()>();
    let keep = move || {
        let opened = opening.map_or(Ok(()), |opening| keeper.open(opening));
        drop(opens);
        if opened.is_err() {
            stopper.stop();
            return opened;
        }
        sys::lower_priority();
        while let Ok(task) = inbox.recv() {
            keeper.perform(task);
        }
        keeper.leave();
        Ok(())
    };
    let thread = std::thread::Builder::new().name("keeper".to_owned()).spawn(keep);
    let thread = thread.map_err(|error| BootError::Failed { what: "starting the keeper's thread", error })?;
    Ok((ports, Keeping { thread, opening: is_opening }))
}

impl Keeping {
    /// Waits a moment for the directory to be open.
    pub(super) fn wait_a_moment(&self) {
        // However it went, the keeper says so itself.
        let _ = self.opening.recv_timeout(OPENING_PATIENCE);
    }

    /// All lanes have ended: waits for the keeper, but not until it has read what nobody wants any more. A panic in it has ended the process.
    pub(super) fn end(self) -> Result<(), BootError> {
        if self.opening.try_recv() == Err(TryRecvError::Empty) {
            return Ok(());
        }
        self.thread.join().unwrap_or(Ok(())).map_err(BootError::Journal)
    }
}

impl Keeper {
    fn open(&mut self, opening: Opening) -> Result<(), Refusal> {
        let (archive, beginnings) = opening.perform()?;
        self.archive = Some(archive);
        for (lane, beginning) in beginnings.into_iter().enumerate() {
            self.tell(lane, News::Opened(Box::new(beginning)));
        }
        Ok(())
    }

    fn perform(&mut self, task: Task) {
        match task {
            Task::Prepare(preparation) => {
                if let Err(refusal) = self.prepare(preparation) {
                    say(Level::Warning, &format!("The journal cannot be rewritten: {refusal}"));
                    self.tell(0, News::Refused);
                }
            }
            Task::Base { lane, bytes, piece } => self.take(lane, bytes, piece),
        }
    }

    /// A lane that has ended hears nothing.
    fn tell(&self, lane: usize, news: News) {
        let _ = self.lanes[lane].send(news);
    }

    fn prepare(&mut self, Preparation { log, follows }: Preparation) -> Result<(), Refusal> {
        let lanes = u16::try_from(self.lanes.len()).map_err(|_| "too many lanes".to_owned())?;
        let archive = match &mut self.archive {
            Some(archive) => archive,
            none => none.insert(Archive::adopt(&self.dir)?),
        };
        let base = archive.new_volume(Kind::Base, lanes)?;
        let log = if log { Some(archive.new_volume(Kind::Log, lanes)?) } else { None };
        let made = make(archive, &base, log.as_ref(), if follows { log.as_ref() } else { None });
        let (files, mut logs) = made.inspect_err(|_| forget(archive, &base))?;
        for lane in (0..self.lanes.len()).rev() {
            let prepared = Prepared { base: base.id, log: log.as_ref().map(|log| log.id) };
            self.tell(lane, News::Prepared { prepared, log: logs.pop() });
        }
        say(Level::Notice, "Background append only file rewriting started");
        self.rewrite = Some(Rewrite { began: Instant::now(), base, log, files, failure: None });
        Ok(())
    }

    fn take(&mut self, lane: ShardId, mut bytes: Vec<u8>, piece: Piece) {
        let (Some(rewrite), Some(archive)) = (&mut self.rewrite, &mut self.archive) else { return };
        let base = &mut rewrite.files[lane.index()];
        if rewrite.failure.is_none()
            && let Err(error) = base.append(archive, &bytes)
        {
            say(Level::Warning, &format!("The journal cannot be rewritten: writing a base failed ({error})"));
            rewrite.failure = Some(error.to_string());
            forget(archive, &rewrite.base);
        }
        if let Piece::Last(ends) = piece {
            base.ends = Some(ends);
        }
        bytes.clear();
        let is_over = rewrite.files.iter().all(|base| base.ends.is_some());
        self.tell(lane.index(), News::Taken(bytes));
        if is_over {
            self.finish();
        }
    }

    /// All lanes have said all.
    fn finish(&mut self) {
        let (Some(mut rewrite), Some(archive)) = (self.rewrite.take(), &mut self.archive) else { return };
        let ends: Vec<Ends> = rewrite.files.iter().filter_map(|base| base.ends).collect();
        let marks: Vec<Position> = ends.iter().map(|ends| ends.mark).collect();
        let outcome = match rewrite.failure.take() {
            Some(failure) => Err(failure),
            None => commit(archive, rewrite.base, rewrite.log, rewrite.files, &ends),
        };
        let took_ms = rewrite.began.elapsed().as_millis();
        match &outcome {
            Ok(bytes) => say(
                Level::Notice,
                &format!("Background AOF rewrite finished successfully: {bytes} bytes in {took_ms} ms"),
            ),
            Err(why) => say(Level::Warning, &format!("Background AOF rewrite terminated with error: {why}")),
        }
        for lane in (0..self.lanes.len()).rev() {
            let marks = marks.clone();
            self.tell(lane, if outcome.is_ok() { News::Rewritten { marks } } else { News::Failed });
        }
    }

    /// The server ends: what is half done is of no use.
    fn leave(&mut self) {
        if let (Some(rewrite), Some(archive)) = (self.rewrite.take(), &mut self.archive) {
            forget(archive, &rewrite.base);
        }
    }
}

/// Makes the files of a rewrite; the log that goes on from the one that is written, if one does, is named in the manifest.
fn make(
    archive: &mut Archive,
    base: &Volume,
    log: Option<&Volume>,
    following: Option<&Volume>,
) -> Result<(Vec<BaseFile>, Vec<LogFile>), Refusal> {
    let files: std::io::Result<Vec<BaseFile>> = (0..base.lanes)
        .map(|lane| {
            let file = archive.vault.make_appended(&base.file_name(lane), What::Base)?;
            Ok(BaseFile { file, unsynced_bytes: 0, ends: None })
        })
        .collect();
    let files = files.map_err(|error| archive.cannot_make(&error))?;
    let Some(log) = log else {
        archive.vault.sync_names().map_err(|error| archive.cannot_make(&error))?;
        return Ok((files, Vec::new()));
    };
    // Empty logs that nothing names would be left behind with each further try. Those that a manifest may name stay, whatever became of it.
    let logs = archive.make_logs(log);
    let logs = logs.inspect_err(|_| forget(archive, log))?;
    let mut manifest = archive.manifest.clone();
    if following.is_some() && manifest.volumes.last().is_some_and(|last| last.can_be_followed(log)) {
        manifest.volumes.push(log.clone());
        archive.replace_manifest(manifest)?;
    }
    Ok((files, logs))
}

/// The new journal takes the place of the old one; its bytes.
fn commit(
    archive: &mut Archive,
    base: Volume,
    log: Option<Volume>,
    mut files: Vec<BaseFile>,
    ends: &[Ends],
) -> Result<u64, Refusal> {
    for base in &mut files {
        archive.vault.sync(&mut base.file).map_err(|error| format!("syncing a base failed ({error})"))?;
    }
    let sealed = |ends: fn(&Ends) -> Position, from: &[Ends]| Some(from.iter().map(ends).collect());
    let from = Some(vec![Position::default(); ends.len()]);
    let mut volumes = vec![Volume { from, to: sealed(|ends| ends.base, ends), ..base }];
    volumes.extend(log.map(|log| Volume { from: sealed(|ends| ends.mark, ends), ..log }));
    archive.replace_manifest(Manifest { volumes })?;
    archive.delete_leftovers();
    Ok(ends.iter().map(|ends| ends.base.0).sum())
}

/// Deletes the files of a volume that comes to nothing. What cannot be deleted is when the server starts again.
fn forget(archive: &mut Archive, volume: &Volume) {
    for lane in 0..volume.lanes {
        let _ = archive.vault.remove(&volume.file_name(lane));
    }
}

impl BaseFile {
    fn append(&mut self, archive: &mut Archive, bytes: &[u8]) -> std::io::Result<()> {
        archive.vault.append(&mut self.file, bytes)?;
        self.unsynced_bytes += bytes.len();
        if self.unsynced_bytes >= SYNC_BYTES {
            self.unsynced_bytes = 0;
            archive.vault.sync(&mut self.file)?;
        }
        Ok(())
    }
}
