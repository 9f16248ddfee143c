//! What a figure was measured on: without it a record says nothing.

use std::process::Command;
use std::thread::available_parallelism;

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) cpu: String,
    pub(crate) cores: usize,
    pub(crate) kernel: String,
}

impl Machine {
    pub(crate) fn this() -> Self {
        let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        Self {
            cpu: cpu_model(&cpuinfo).unwrap_or("unknown CPU").to_owned(),
            cores: available_parallelism().map_or(1, usize::from),
            kernel: kernel.trim().to_owned(),
        }
    }

    /// The name of its folder in results/.
    pub(crate) fn folder(&self) -> String {
        format!("{}-{}-cores", slug(&self.cpu), self.cores)
    }
}

fn cpu_model(cpuinfo: &str) -> Option<&str> {
    cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ").map(|(_, model)| model.trim()))
}

/// Lower case letters and digits, everything else one dash.
pub(crate) fn slug(text: &str) -> String {
    let words = text.split(|letter: char| !letter.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_ascii_lowercase).collect::<Vec<_>>().join("-")
}

/// The commit that was measured, with `-dirty` if files differ from it; results do not count as a difference.
pub(crate) fn commit() -> String {
    let head = git(&["rev-parse", "--short=10", "HEAD"]).unwrap_or_else(|| "unknown".to_owned());
    let changes = git(&["status", "--porcelain", "--untracked-files=no", "--", ".", ":(top,exclude)results"]);
    if changes.is_some_and(|changes| !changes.is_empty()) { format!("{head}-dirty") } else { head }
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_plain_words() {
        let machine = Machine { cpu: "AMD EPYC(tm) 7R13".to_owned(), cores: 2, kernel: String::new() };
        assert_eq!(machine.folder(), "amd-epyc-tm-7r13-2-cores");
        assert_eq!(cpu_model("processor\t: 0\nmodel name\t: AMD EPYC\n"), Some("AMD EPYC"));
    }
}
