//! Reads the texts that a check asks for. Paths are relative to a root, so that tests bring hosts of their own.
//!
//! A path may hold one `*` for the rest of a name (`cpu*/`), and `{cgroup}` for the folder of our own control group; of a
//! control group its ancestors are read too, because any of them may set the limit that counts.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub(crate) struct Host {
    root: PathBuf,
}

/// One file as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Text {
    pub(crate) path: String,
    pub(crate) body: String,
}

impl Host {
    pub(crate) fn below(root: PathBuf) -> Self {
        Self { root }
    }

    /// All files that the pattern names and that can be read, in order of their names. None at all is not an error: a kernel
    /// without the feature has no file for it.
    pub(crate) fn read(&self, pattern: &str) -> Vec<Text> {
        match pattern.split_once("{cgroup}") {
            Some((before, after)) => self
                .control_groups()
                .iter()
                .flat_map(|group| self.read_plain(&format!("{before}{group}{after}")))
                .collect(),
            None => self.read_plain(pattern),
        }
    }

    /// The kernel counts on while we wait. Only `/` changes by itself: a copy of another host is not waited for.
    #[expect(clippy::disallowed_methods, reason = "a tool for operators may wait; the ban is for the server")]
    pub(crate) fn wait(&self, time: Duration) {
        if self.root == Path::new("/") {
            std::thread::sleep(time);
        }
    }

    fn read_plain(&self, pattern: &str) -> Vec<Text> {
        self.expand(pattern)
            .into_iter()
            .filter_map(|path| {
                let body = fs::read_to_string(self.root.join(&path)).ok()?;
                Some(Text { path, body })
            })
            .collect()
    }

    fn expand(&self, pattern: &str) -> Vec<String> {
        let Some((before, after)) = pattern.split_once('*') else { return vec![pattern.to_owned()] };
        let (folder, start) = before.rsplit_once('/').unwrap_or(("", before));
        let Ok(entries) = fs::read_dir(self.root.join(folder)) else { return Vec::new() };
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let mut paths: Vec<String> = names
            .filter(|name| name.strip_prefix(start).is_some_and(is_number))
            .map(|name| format!("{folder}/{name}{after}"))
            .collect();
        paths.sort();
        paths
    }

    /// Our control group and its ancestors, as they follow on `sys/fs/cgroup`: `/a/b`, `/a`, and the empty one of the root.
    fn control_groups(&self) -> Vec<String> {
        let own = fs::read_to_string(self.root.join("proc/self/cgroup")).unwrap_or_default();
        let path = own.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or("/").trim_end_matches('/');
        let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
        let mut groups: Vec<String> = ends.map(|end| path[..end].to_owned()).collect();
        groups.dedup();
        groups.reverse();
        groups
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}
