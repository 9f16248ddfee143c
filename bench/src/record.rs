//! The record of a comparison: everything that was measured, raw, and what was made of it.
//!
//! ```text
//!   results/<machine>/<date>-<commit>-<workload>.json      only ever added to
//!   results/index.md                                       made from all of them by `corelane-bench index`
//! ```

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::load::LoadShape;
use crate::load::report::Report;
use crate::machine::{Machine, slug};
use crate::server::Server;
use crate::statistics::Spread;
use crate::statistics::paired::Comparison;
use crate::workload::definition::Workload;

/// Raised when a field changes its meaning.
pub(crate) const FORMAT: u32 = 1;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) format: u32,
    /// Start of the comparison, UTC, to the second.
    pub(crate) date: String,
    pub(crate) commit: String,
    pub(crate) command: Vec<String>,
    pub(crate) machine: Machine,
    pub(crate) server_cpu: usize,
    pub(crate) load: LoadShape,
    pub(crate) workload: Workload,
    pub(crate) servers: Vec<ServerRecord>,
    /// Servers that do not take part, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) absent: Vec<Absent>,
    pub(crate) baseline: String,
    pub(crate) summary: Vec<Line>,
    pub(crate) runs: Vec<RunRecord>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ServerRecord {
    #[serde(flatten)]
    pub(crate) server: Server,
    pub(crate) version: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Absent {
    pub(crate) server: String,
    pub(crate) why: String,
}

/// What all rounds say about one server in one case.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Line {
    pub(crate) case: Case,
    pub(crate) server: String,
    /// In the case's own unit: requests per server CPU second, or round trips per wall second.
    pub(crate) figure: Spread,
    /// To the baseline, taken within each round.
    pub(crate) ratio: Spread,
    /// How sure that ratio is; not of the baseline itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) comparison: Option<Comparison>,
    /// Server CPU time a request, and switches to other threads a thousand requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cpu_us_per_request: Option<Spread>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) switches_per_1000: Option<Spread>,
    /// Rounds in which the generator or the machine and not the server was measured.
    #[serde(default, skip_serializing_if = "is_none")]
    pub(crate) refused: usize,
    pub(crate) requests_per_second: Spread,
    pub(crate) latency_p99_us: Spread,
    pub(crate) rss_bytes: Spread,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_none(count: &usize) -> bool {
    *count == 0
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct RunRecord {
    pub(crate) round: u32,
    /// Position in the order of its round.
    pub(crate) position: usize,
    pub(crate) case: Case,
    pub(crate) server: String,
    pub(crate) report: Report,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Case {
    Depth(u32),
    /// One connection at depth 1, by the wall clock: what a client that waits for each reply sees.
    OneConnection,
    /// Open loop at so many requests per second: what a user of a loaded server waits.
    Rate(u32),
}

/// Which way a figure is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Better {
    More,
    Less,
}

impl Case {
    /// The figure that counts in this case; none of a run that does not count.
    pub(crate) fn figure(self, report: &Report) -> Option<f64> {
        match self {
            _ if report.invalid.is_some() => None,
            Self::Depth(_) => report.requests_per_server_cpu_second,
            Self::OneConnection => Some(report.requests_per_second),
            Self::Rate(_) => Some(report.latency.p99_us),
        }
    }

    pub(crate) const fn better(self) -> Better {
        match self {
            Self::Depth(_) | Self::OneConnection => Better::More,
            Self::Rate(_) => Better::Less,
        }
    }

    pub(crate) const fn unit(self) -> &'static str {
        match self {
            Self::Depth(_) => "requests/server-cpu-s",
            Self::OneConnection => "round trips/s",
            Self::Rate(_) => "us, p99",
        }
    }
}

impl std::fmt::Display for Case {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Depth(depth) => write!(to, "depth {depth}"),
            Self::OneConnection => write!(to, "one connection"),
            Self::Rate(rate) => write!(to, "{rate}/s"),
        }
    }
}

impl Record {
    /// Where this record goes; a second one of the same second would be the same comparison.
    pub(crate) fn path(&self, results: &Path) -> PathBuf {
        let date = self.date.replace(':', "");
        let name = format!("{date}-{}-{}.json", self.commit, slug(&self.workload.name));
        results.join(self.machine.folder()).join(name)
    }

    pub(crate) fn write(&self, results: &Path) -> io::Result<PathBuf> {
        let path = self.path(results);
        std::fs::create_dir_all(path.parent().expect("a record lies in its machine's folder"))?;
        let text = serde_json::to_string_pretty(self).map_err(io::Error::other)?;
        std::fs::write(&path, text + "\n")?;
        Ok(path)
    }

    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))
    }
}
