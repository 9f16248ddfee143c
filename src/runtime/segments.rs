//! Segments: files of the journal that are on the disk in full before a lane writes to them. A write that changes nothing but bytes needs no
//! worker of the ring and no journal of the file system: direct and synced it takes two thirds of the time and a third of the processor
//! (`results/amd-epyc-2-cores/2026-11-25-journal.md`).
//!
//! ```text
//!  lane: Supply --want: journal.7.log.0, the 3rd--> maker, a thread of low priority
//!               <--the file, opened past the page cache-- a spare, renamed to journal.7.log.0.3; the directory is synced
//!                                                          ^
//!                        journal.spare.N: zeroes, a slice at a time     or journal.retired.*: what the last run made and did not use
//! ```
//!
//! Files that a rewrite replaces while the server runs are deleted, not used again: a write under way may still come for them.
//!
//! A lane asks for its next segment when it begins the one it has. What a spare held before does no harm: its first page is cleared, each write
//! of a lane clears what follows it (`disk/pages.rs`), and blocks of other volumes have other ids. Where the file system takes no direct writes the maker
//! ends, and lanes go on with their first file through the page cache, as they do until their first segment comes.

use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use super::disk::Faults;
use super::log::{Level, plain, say};
use super::ring::{PAGE_BYTES, Page};
use super::sys;
use crate::persist::manifest::{self, RETIRED, SPARE};

/// The length of a segment. A build with assertions has small ones, so that tests see many.
pub(super) const SEGMENT_BYTES: u64 = if cfg!(debug_assertions) { 128 << 10 } else { 16 << 20 };

/// Zeroes that are written at once, and the pause after them while no lane waits: at most 32 MiB a second beside what lanes write.
const FILL_PAGES: usize = 32;
const FILL_PAUSE: Duration = Duration::from_millis(4);

/// Without room on the disk, or on another failure, so long until the next attempt.
const RETRY_PAUSE: Duration = Duration::from_secs(5);

/// Spares beside those that lanes hold.
const SPARES: usize = 1;

/// Retired files that are kept to be used again.
const RETIRED_MAX: usize = 8;

const _: () = assert!(SEGMENT_BYTES.is_multiple_of((FILL_PAGES * PAGE_BYTES) as u64));

/// The first file of a lane's stream in a volume, by which the others are called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stem(PathBuf);

impl Stem {
    pub(super) fn new(first: PathBuf) -> Self {
        Self(first)
    }

    pub(super) fn file(&self, segment: usize) -> PathBuf {
        let name = self.0.file_name().and_then(|name| name.to_str()).expect("names of ours are text");
        self.0.with_file_name(manifest::segment_name(name, segment))
    }
}

/// An empty first file, and what it is called.
#[derive(Debug)]
pub(super) struct LogFile {
    pub(super) file: File,
    pub(super) stem: Stem,
}

/// A file that a lane may write to from its beginning on, in whole pages.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) file: File,
    stem: Stem,
}

/// What a lane asks for: this file of that stream.
struct Want {
    stem: Stem,
    segment: usize,
    answer: Sender<Segment>,
}

/// A lane's side.
#[derive(Debug)]
pub(super) struct Supply {
    wants: Option<Sender<Want>>,
    answer: Sender<Segment>,
    segments: Receiver<Segment>,
    /// None before the lane has a journal.
    stem: Option<Stem>,
    /// The number of the file that is asked for next.
    next: usize,
    is_asked: bool,
}

impl Supply {
    fn new(wants: Option<Sender<Want>>) -> Self {
        let (answer, segments) = channel();
        Self { wants, answer, segments, stem: None, next: 1, is_asked: false }
    }

    /// From now on the lane writes to another volume, whose first file it has.
    pub(super) fn follow(&mut self, stem: Stem) {
        (self.stem, self.next, self.is_asked) = (Some(stem), 1, false);
    }

    /// The first file of the volume, in words.
    pub(super) fn place(&self) -> String {
        self.stem.as_ref().map_or_else(String::new, |stem| stem.file(0).display().to_string())
    }

    /// Asks for the next segment, once.
    pub(super) fn ask(&mut self) {
        if std::mem::replace(&mut self.is_asked, true) {
            return;
        }
        let Some(stem) = self.stem.clone() else { return };
        let want = Want { stem, segment: self.next, answer: self.answer.clone() };
        // A maker that is gone has said why.
        if self.wants.as_ref().is_some_and(|wants| wants.send(want).is_err()) {
            self.wants = None;
        }
    }

    /// The next segment, if it was asked for and is there.
    pub(super) fn take(&mut self) -> Option<File> {
        loop {
            let Segment { file, stem } = self.segments.try_recv().ok()?;
            // One of a volume that is over stays in that, and goes with it.
            if self.stem.as_ref() == Some(&stem) {
                self.next += 1;
                self.is_asked = false;
                return Some(file);
            }
        }
    }

    /// What was asked for is not needed.
    pub(super) fn give_back(&mut self) {
        if self.take().is_some()
            && let Some(stem) = &self.stem
        {
            // What is left is found at the next start.
            let _ = retire(&stem.file(self.next - 1));
        }
    }
}

/// Makes segments for all lanes.
pub(super) struct Maker {
    dir: PathBuf,
    wants: Receiver<Want>,
    waiting: Vec<Want>,
    spares: Vec<Spare>,
    filling: Option<Filling>,
    /// The number of the next spare.
    next: u64,
    zeroes: Vec<Page>,
    faults: Faults,
}

struct Spare {
    file: File,
    path: PathBuf,
}

/// A spare that is not yet filled.
struct Filling {
    spare: Spare,
    done: u64,
}

enum Filled {
    Part,
    Whole,
}

/// Starts a maker for so many lanes, in `dir`, which it touches when a lane has a journal there. Without a thread of its own there is none, which
/// is no reason not to start.
pub(super) fn supplies(dir: &Path, lanes: usize) -> Vec<Supply> {
    let (wants, asked) = channel();
    let maker = Maker {
        dir: dir.to_owned(),
        wants: asked,
        waiting: Vec::new(),
        spares: Vec::new(),
        filling: None,
        next: 0,
        zeroes: Vec::new(),
        faults: Faults::of_build("maker"),
    };
    let started = std::thread::Builder::new().name("segments".to_owned()).spawn(move || maker.run());
    let wants = started.is_ok().then_some(wants);
    (0..lanes).map(|_| Supply::new(wants.clone())).collect()
}

/// A file that is not needed any more, or gone already: it becomes a spare, or goes.
pub(super) fn retire(path: &Path) -> io::Result<()> {
    let is_whole = fs::metadata(path).is_ok_and(|file| file.len() == SEGMENT_BYTES);
    let dir = path.parent().unwrap_or_else(|| Path::new("."));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let kept = is_whole
        && named(dir, RETIRED).len() < RETIRED_MAX
        && fs::rename(path, dir.join(format!("{RETIRED}{name}"))).is_ok();
    match fs::remove_file(path) {
        Err(error) if !kept && error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Why there is no segment.
enum Failure {
    /// The file system takes no direct writes.
    Unsupported,
    Io(io::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.raw_os_error() == Some(libc::EINVAL) { Self::Unsupported } else { Self::Io(error) }
    }
}

impl Maker {
    fn run(mut self) {
        sys::lower_priority();
        let (mut is_told, mut is_first) = (false, true);
        while self.hear() {
            if std::mem::take(&mut is_first) {
                // Spares of the last run may be of any age and length.
                named(&self.dir, SPARE).iter().for_each(|path| _ = retire(path));
            }
            let Err(failure) = self.step() else {
                is_told = false;
                continue;
            };
            let (why, is_final) = match failure {
                Failure::Unsupported => ("its file system takes no direct writes".to_owned(), true),
                Failure::Io(error) => (plain(&error), false),
            };
            if !std::mem::replace(&mut is_told, true) {
                let dir = self.dir.display();
                say(
                    Level::Notice,
                    &format!("no segments can be made in {dir} ({why}): the journal is written without, more slowly"),
                );
            }
            if is_final {
                return;
            }
            std::thread::sleep(RETRY_PAUSE);
        }
    }

    /// Hears what lanes want; waits for that if there is nothing else to do. False: all are gone.
    fn hear(&mut self) -> bool {
        let pause = match &self.filling {
            _ if !self.waiting.is_empty() => Duration::ZERO,
            Some(_) => FILL_PAUSE,
            // Nothing is made before anybody has written anything.
            None if self.next > 0 && self.spares.len() < SPARES => Duration::ZERO,
            None => Duration::MAX,
        };
        match self.wants.recv_timeout(pause) {
            Ok(want) => self.waiting.push(want),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return false,
        }
        true
    }

    /// Hands out a spare, or comes nearer to one.
    fn step(&mut self) -> Result<(), Failure> {
        if let Some(filling) = self.filling.take() {
            self.fill(filling)?;
        } else if self.spares.len() < SPARES {
            self.begin()?;
        }
        if !self.waiting.is_empty()
            && let Some(spare) = self.spares.pop()
        {
            let want = self.waiting.remove(0);
            self.hand_out(spare, want)?;
        }
        Ok(())
    }

    /// Takes a retired file, or begins a new one.
    fn begin(&mut self) -> Result<(), Failure> {
        self.next += 1;
        let path = self.dir.join(format!("{SPARE}{}", self.next));
        let retired = named(&self.dir, RETIRED).into_iter().next();
        let is_new = retired.is_none();
        if let Some(retired) = retired {
            self.faults.operate(|| fs::rename(retired, &path))?;
        }
        match self.open(&path, is_new) {
            Ok(file) if is_new => {
                self.zeroes.resize_with(FILL_PAGES, Page::zeroed);
                self.filling = Some(Filling { spare: Spare { file, path }, done: 0 });
            }
            Ok(file) => self.spares.push(Spare { file, path }),
            Err(error) => {
                // What cannot be opened now is not needed later.
                let _ = fs::remove_file(&path);
                return Err(error.into());
            }
        }
        Ok(())
    }

    /// A new file, or one that was used, of which the first page is cleared.
    fn open(&mut self, path: &Path, is_new: bool) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.write(true).create(is_new).truncate(is_new).custom_flags(libc::O_DIRECT);
        let file = self.faults.operate(|| options.open(path))?;
        if !is_new {
            self.faults.operate(|| file.write_all_at(Page::zeroed().bytes(), 0))?;
            self.faults.operate(|| file.sync_all())?;
        }
        Ok(file)
    }

    fn fill(&mut self, mut filling: Filling) -> Result<(), Failure> {
        match self.fill_some(&mut filling) {
            Ok(Filled::Whole) => self.spares.push(filling.spare),
            Ok(Filled::Part) => self.filling = Some(filling),
            Err(error) => {
                let _ = fs::remove_file(&filling.spare.path);
                return Err(error.into());
            }
        }
        Ok(())
    }

    fn fill_some(&mut self, filling: &mut Filling) -> io::Result<Filled> {
        let slices: Vec<IoSlice<'_>> = self.zeroes.iter().map(|page| IoSlice::new(page.bytes())).collect();
        let mut file = &filling.spare.file;
        match self.faults.operate(|| file.write_vectored(&slices))? {
            0 => return Err(io::Error::from_raw_os_error(libc::ENOSPC)),
            more => filling.done += more as u64,
        }
        if filling.done < SEGMENT_BYTES {
            return Ok(Filled::Part);
        }
        self.faults.operate(|| file.sync_all())?;
        Ok(Filled::Whole)
    }

    /// What fails is tried again: under the name of the segment, whatever that is of, or with another spare.
    fn hand_out(&mut self, spare: Spare, want: Want) -> Result<(), Failure> {
        let path = want.stem.file(want.segment);
        if let Err(error) = self.faults.operate(|| fs::rename(&spare.path, &path)) {
            // If it is there all the same, the next one takes its place.
            self.waiting.insert(0, want);
            if spare.path.exists() {
                self.spares.push(spare);
            }
            return Err(error.into());
        }
        // What is written to it counts only if it is found there after a crash.
        let dir = &self.dir;
        if let Err(error) = self.faults.operate(|| File::open(dir)?.sync_all()) {
            self.waiting.insert(0, want);
            self.spares.push(Spare { path, ..spare });
            return Err(error.into());
        }
        // A lane that is gone wants nothing any more.
        let _ = want.answer.send(Segment { file: spare.file, stem: want.stem });
        Ok(())
    }
}

/// The files in `dir` whose names begin like that.
fn named(dir: &Path, prefix: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok);
    let ours = entries.filter(|entry| entry.file_name().to_str().is_some_and(|name| name.starts_with(prefix)));
    ours.map(|entry| entry.path()).collect()
}
