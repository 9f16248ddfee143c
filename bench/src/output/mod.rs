//! Where figures go: a terminal, JSON, CSV, an HdrHistogram log, an HTML page with plots.

pub(crate) mod csv;
pub(crate) mod hlog;
pub(crate) mod html;
pub(crate) mod plot;

use std::path::{Path, PathBuf};

use crate::load::report::Report;

/// What one run writes.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Outputs {
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
    /// Write the course of the run as CSV.
    #[arg(long)]
    csv: Option<PathBuf>,
    /// Write all latencies as an HdrHistogram log.
    #[arg(long)]
    hlog: Option<PathBuf>,
    /// Write a page with plots.
    #[arg(long)]
    html: Option<PathBuf>,
    /// Present a run in which the generator was the limit all the same.
    #[arg(long)]
    even_if_invalid: bool,
}

impl Outputs {
    /// Presents a report, or refuses to.
    pub(crate) fn write(&self, title: &str, report: &Report) -> Result<(), String> {
        let refused = report.invalid.as_ref().filter(|_| !self.even_if_invalid);
        if self.json {
            // Programs find the reason in the field `invalid`.
            println!("{}", serde_json::to_string_pretty(report).map_err(|error| error.to_string())?);
        }
        if let Some(why) = refused {
            return Err(format!("this run does not count: {why}"));
        }
        if !self.json {
            print!("{report}");
        }
        write_if(self.csv.as_deref(), || Ok(csv::of_run(report)))?;
        write_if(self.hlog.as_deref(), || hlog::of_run(title, report))?;
        write_if(self.html.as_deref(), || html::of_run(title, report))
    }
}

fn write_if(path: Option<&Path>, text: impl FnOnce() -> Result<String, String>) -> Result<(), String> {
    let Some(path) = path else { return Ok(()) };
    std::fs::write(path, text()?).map_err(|error| format!("{}: {error}", path.display()))
}
