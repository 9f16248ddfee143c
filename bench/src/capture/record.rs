//! `record`: keeps the load of a running server, by a proxy in front of it or from its MONITOR.

use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::time::Duration;

use super::{monitor, proxy};
use crate::load::Place;
use crate::load::live::thousands;

#[derive(clap::Args, Debug)]
pub(crate) struct Options {
    /// The file to write.
    file: PathBuf,
    /// The server whose load it is.
    #[command(flatten)]
    place: Place,
    /// Stand in front of it on this port of 127.0.0.1: clients connect here instead.
    #[arg(long, required_unless_present = "monitor")]
    listen: Option<u16>,
    /// Follow MONITOR of the server instead.
    #[arg(long, conflicts_with = "listen")]
    monitor: bool,
    /// For how long.
    #[arg(long, value_parser = humantime::parse_duration, default_value = "10s")]
    time: Duration,
}

pub(crate) fn run(options: &Options) -> Result<(), String> {
    let server = options.place.address()?;
    let recorded = match options.listen {
        None => monitor::record(&server, &options.file, options.time)?,
        Some(port) => {
            let listener =
                TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map_err(|error| format!("port {port}: {error}"))?;
            proxy::record(listener, server, options.place.dialect, &options.file, options.time)?
        }
    };
    println!(
        "{} requests of {} connections in {}",
        thousands(recorded.requests as f64),
        recorded.connections,
        options.file.display()
    );
    match recorded.lost {
        0 => Ok(()),
        lost => Err(format!(
            "{lost} connections sent what is no request of a known protocol; they are recorded only up to there"
        )),
    }
}
