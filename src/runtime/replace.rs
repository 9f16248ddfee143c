//! Replacing a file whole, on a thread of its own: a lane must not wait for a disk.
//!
//! ```text
//!  read -> make -> write FILE.PID.N.tmp, sync -> rename over FILE, sync its directory
//! ```
//!
//! Whoever crashes in between leaves the old file. Threads are few: each is the work of one administrator's command. One waits for
//! another that replaces, so that none makes its content from what another is about to replace.

#![expect(clippy::disallowed_types, reason = "these threads belong to no lane, and are to take turns")]

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::mpsc::channel;

use super::log::plain;
use crate::admin::file::{Content, Make, Outcome};

/// A password may stand in it.
const NEW_MODE: u32 = 0o600;

/// One at a time.
static TURN: Mutex<()> = Mutex::new(());

/// Begins to replace `path`.
pub(super) fn replace(path: &str, make: Make) -> Outcome {
    let (tell, outcome) = channel();
    let path = PathBuf::from(path);
    let work = {
        let tell = tell.clone();
        move || {
            let done = replace_now(&path, make).map_err(|error| plain(&error));
            // Whoever asked may be gone.
            let _ = tell.send(done);
        }
    };
    if let Err(error) = std::thread::Builder::new().name("replace".into()).spawn(work) {
        let _ = tell.send(Err(plain(&error)));
    }
    outcome
}

/// Begins to read `path`.
pub(super) fn read(path: &str) -> Content {
    let (tell, content) = channel();
    let path = PathBuf::from(path);
    let work = {
        let tell = tell.clone();
        move || {
            // Whoever asked may be gone.
            let _ = tell.send(fs::read(path).map_err(|error| plain(&error)));
        }
    };
    if let Err(error) = std::thread::Builder::new().name("read".into()).spawn(work) {
        let _ = tell.send(Err(plain(&error)));
    }
    content
}

fn replace_now(path: &Path, make: Make) -> io::Result<()> {
    // The content it guards is in the file, whole at any moment: a panic of another says nothing about it.
    let _turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    // What a link names is replaced, not the link.
    let path = &match fs::canonicalize(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => path.to_owned(),
        found => found?,
    };
    let (old, mode) = match fs::read(path) {
        // As in Redis, one that was deleted is made anew.
        Err(error) if error.kind() == io::ErrorKind::NotFound => (Vec::new(), NEW_MODE),
        old => (old?, fs::metadata(path)?.mode()),
    };
    let new = make(&old);
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let beside = PathBuf::from(name);
    let written = write(&beside, &new, mode).and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        let _ = fs::remove_file(&beside);
    }
    written?;
    File::open(path.parent().unwrap_or_else(|| Path::new("/")))?.sync_all()
}

fn write(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    // Nobody else may read it at any moment.
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(NEW_MODE).open(path)?;
    file.write_all(content)?;
    file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(mode & 0o7777))?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("corelane-replace-{}-{name}", std::process::id()));
        fs::create_dir_all(&dir).expect("a directory");
        dir
    }

    #[test]
    fn a_file_is_replaced_whole_and_keeps_its_rights() {
        let dir = scratch("whole");
        let (path, link) = (dir.join("x.conf"), dir.join("link"));
        fs::write(&path, "old").expect("written");
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o640)).expect("set");
        std::os::unix::fs::symlink(&path, &link).expect("linked");
        let done = replace(link.to_str().expect("UTF-8"), Box::new(|old| [old, b" new"].concat())).recv();
        assert_eq!(done, Ok(Ok(())));
        assert_eq!(fs::read(&path).expect("read"), b"old new");
        assert_eq!(fs::metadata(&path).expect("there").mode() & 0o777, 0o640);
        assert!(fs::symlink_metadata(&link).expect("there").is_symlink());
        assert_eq!(fs::read_dir(&dir).expect("read").count(), 2, "nothing is left beside it");
        fs::remove_dir_all(dir).expect("removed");
    }

    #[test]
    fn of_many_at_once_none_is_lost() {
        let dir = scratch("many");
        let path = dir.join("x.conf");
        fs::write(&path, "").expect("written");
        let name = path.to_str().expect("UTF-8");
        let outcomes: Vec<_> = (0..20).map(|_| replace(name, Box::new(|old| [old, b"x"].concat()))).collect();
        assert!(outcomes.into_iter().all(|outcome| outcome.recv() == Ok(Ok(()))));
        assert_eq!(fs::read(&path).expect("read"), b"x".repeat(20));
        fs::remove_dir_all(dir).expect("removed");
    }

    #[test]
    fn what_cannot_be_replaced_is_said() {
        let done = replace("/nonexistent/x.conf", Box::new(<[u8]>::to_vec)).recv().expect("an answer");
        assert!(done.expect_err("no such file").contains("No such file"));
    }
}
