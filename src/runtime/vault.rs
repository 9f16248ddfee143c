//! What is done to the journal's directory beside the lanes' own writes: files made, appended to, renamed, deleted, and all of it brought to
//! the disk. What was not synced may be lost, the names of files like their bytes.
//!
//! A build with assertions has worse directories, for tests, by `CORELANE_DISK`: `lossy` (and `forgetful`) keep what was not synced in memory, names
//! too, and it dies with the process; `no-base-sync`, `no-manifest-sync` and `no-name-sync` are lossy and leave out one of the syncs; with
//! `full` nothing can be appended to a base; `disk/faults.rs` has one operation fail.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::disk::{self, Faults};

/// A directory.
#[derive(Debug)]
pub(super) struct Vault {
    dir: PathBuf,
    fidelity: Fidelity,
    faults: Faults,
    /// Names that a lossy directory has not got.
    unsynced: Vec<(PathBuf, PathBuf)>,
}

/// A file that is appended to.
#[derive(Debug)]
pub(super) struct Appended {
    file: File,
    /// What a lossy one has not written.
    held: Vec<u8>,
    what: What,
}

/// What a file is, which says what is lost with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    Base,
    Manifest,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fidelity {
    Real,
    Lossy { forgets: Option<Forgets> },
    Full,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Forgets {
    File(What),
    Names,
}

impl Fidelity {
    fn of_build() -> Self {
        let (name, _) = disk::wished();
        match &*name {
            "lossy" | "forgetful" => Self::Lossy { forgets: None },
            "no-base-sync" => Self::Lossy { forgets: Some(Forgets::File(What::Base)) },
            "no-manifest-sync" => Self::Lossy { forgets: Some(Forgets::File(What::Manifest)) },
            "no-name-sync" => Self::Lossy { forgets: Some(Forgets::Names) },
            "full" => Self::Full,
            _ => Self::Real,
        }
    }

    fn is_lossy(self) -> bool {
        matches!(self, Self::Lossy { .. })
    }

    fn forgets(self, what: Forgets) -> bool {
        self == Self::Lossy { forgets: Some(what) }
    }
}

impl Vault {
    pub(super) fn new(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
            fidelity: Fidelity::of_build(),
            faults: Faults::of_build("keeper"),
            unsynced: Vec::new(),
        }
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Makes an empty file; its name is sure after [`Self::sync_names`].
    pub(super) fn make(&mut self, name: &str) -> io::Result<File> {
        let path = self.path(name);
        let lossy = self.fidelity.is_lossy();
        let made = if lossy { self.path(&format!("unsynced.{name}")) } else { path.clone() };
        let file = self.faults.operate(|| OpenOptions::new().create(true).write(true).truncate(true).open(&made))?;
        if lossy {
            self.unsynced.push((made, path));
        }
        Ok(file)
    }

    /// As `make`, of a file that is appended to.
    pub(super) fn make_appended(&mut self, name: &str, what: What) -> io::Result<Appended> {
        Ok(Appended { file: self.make(name)?, held: Vec::new(), what })
    }

    pub(super) fn append(&mut self, to: &mut Appended, bytes: &[u8]) -> io::Result<()> {
        let lossy = self.fidelity.is_lossy();
        if self.fidelity == Fidelity::Full && to.what == What::Base {
            return Err(io::Error::from_raw_os_error(libc::ENOSPC));
        }
        self.faults.operate(|| {
            if lossy {
                to.held.extend_from_slice(bytes);
                return Ok(());
            }
            to.file.write_all(bytes)
        })
    }

    pub(super) fn sync(&mut self, file: &mut Appended) -> io::Result<()> {
        if self.fidelity.forgets(Forgets::File(file.what)) {
            return Ok(());
        }
        self.faults.operate(|| {
            file.file.write_all(&std::mem::take(&mut file.held))?;
            file.file.sync_data()
        })
    }

    /// Puts one file in the place of another; sure after [`Self::sync_names`].
    pub(super) fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        let (from, to) = (self.path(from), self.path(to));
        if self.fidelity.is_lossy() {
            self.unsynced.push((from, to));
            return Ok(());
        }
        self.faults.operate(|| fs::rename(from, to))
    }

    /// Files that were made, and renamed, have their names for good.
    pub(super) fn sync_names(&mut self) -> io::Result<()> {
        if self.fidelity.forgets(Forgets::Names) {
            return Ok(());
        }
        let unsynced = std::mem::take(&mut self.unsynced);
        let dir = self.dir.clone();
        self.faults.operate(|| {
            unsynced.into_iter().try_for_each(|(from, to)| fs::rename(from, to))?;
            File::open(dir)?.sync_all()
        })
    }

    /// Deletes a file, which may be gone already.
    pub(super) fn remove(&mut self, name: &str) -> io::Result<()> {
        let path = self.path(name);
        self.unsynced.retain(|(_, to)| *to != path);
        self.faults.operate(|| match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        })
    }
}
