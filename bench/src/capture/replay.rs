//! `replay`: a recorded load once more, open loop: each request at its recorded moment divided by the speed, on the connection
//! that corresponds to its own. Latency counts from the intended start, as everywhere; error replies are counted, not refused,
//! for the recorded load may have met some too.

use std::collections::BTreeMap;
use std::io::BufReader;
use std::path::PathBuf;

use super::file::{Seen, read};
use crate::clock::Nanos;
use crate::load::live::Live;
use crate::load::{LoadShape, Place, Plan};
use crate::output::Outputs;
use crate::wire::Dialect;
use crate::workload::definition::Workload;

#[derive(clap::Args, Debug)]
pub(crate) struct Options {
    /// What `record` wrote.
    file: PathBuf,
    #[command(flatten)]
    place: Place,
    /// 2 plays twice as fast as it was recorded.
    #[arg(long, default_value_t = 1.0)]
    speed: f64,
    #[arg(long, default_value_t = 1)]
    threads: u32,
    /// CPUs of the load's threads, in turn.
    #[arg(long, value_delimiter = ',')]
    cpus: Vec<usize>,
    #[command(flatten)]
    outputs: Outputs,
}

pub(crate) fn run(options: &Options) -> Result<(), String> {
    let name = options.file.display().to_string();
    let file = std::fs::File::open(&options.file).map_err(|error| format!("{name}: {error}"))?;
    let (dialect, seen) = read(&mut BufReader::new(file)).map_err(|why| format!("{name}: {why}"))?;
    let replay = Replay::new(seen, options.speed)?;
    let plan = replay.plan(options.place.address()?, dialect, options.threads, &options.cpus);
    let plan = Plan { server: options.place.server_pid, ..plan };
    let report = crate::load::replay(&plan, &replay, &mut Live::for_terminal(&name))?;
    options.outputs.write(&format!("replay of {name} at {}x", options.speed), &report)
}

/// All requests in order, their connections numbered from 0 without gaps.
#[derive(Debug)]
pub(crate) struct Replay {
    seen: Vec<Seen>,
    speed: f64,
    connections: u32,
}

/// A thread begins to send this much after it is ready, so that none is late at its first request.
const HEAD_START_NS: u64 = 100_000_000;
/// How long the window stays open after the last request.
const TAIL_SECONDS: f64 = 0.1;

impl Replay {
    pub(crate) fn new(mut seen: Vec<Seen>, speed: f64) -> Result<Self, String> {
        if !speed.is_finite() || speed <= 0.0 {
            return Err("the speed is above 0".to_owned());
        }
        let first = seen.first().ok_or("there is no request in it")?.at_ns;
        let mut names: BTreeMap<u32, usize> = BTreeMap::new();
        for request in &mut seen {
            let fresh = names.len();
            let link = *names.entry(request.connection).or_insert(fresh);
            request.connection = u32::try_from(link).expect("as many as names of 32 bits");
            request.at_ns -= first;
        }
        let connections = u32::try_from(names.len()).expect("as many as names of 32 bits");
        Ok(Self { seen, speed, connections })
    }

    pub(crate) fn plan(
        &self,
        address: crate::load::address::Address,
        dialect: Dialect,
        threads: u32,
        cpus: &[usize],
    ) -> Plan {
        let threads = threads.min(self.connections);
        let seconds = self.due_ns(self.seen.len() - 1) as f64 / 1e9 + TAIL_SECONDS;
        let workload = Workload { connections: self.connections, seconds, ..Workload::default() };
        let cpus = cpus.to_vec();
        let shape = LoadShape {
            threads,
            cpus,
            rate: None,
            arrivals: None,
            spin_us: 0,
            no_fill: true,
            toward: None,
            warm_up: None,
        };
        Plan { address, workload, shape, depth: u32::MAX, dialect, server: None }
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a recording is shorter than 2^53 ns")]
    fn due_ns(&self, at: usize) -> u64 {
        (self.seen[at].at_ns as f64 / self.speed) as u64 + HEAD_START_NS
    }
}

/// One thread's part of a replay: the connections whose number is `index` modulo the threads.
pub(crate) struct Playback<'a> {
    replay: &'a Replay,
    index: usize,
    threads: usize,
    at: usize,
    start: Nanos,
}

/// A request to be sent, and on which of the thread's own connections.
pub(crate) struct Due<'a> {
    pub(crate) link: usize,
    pub(crate) bytes: &'a [u8],
}

impl<'a> Playback<'a> {
    pub(crate) fn new(replay: &'a Replay, index: u32, threads: u32, start: Nanos) -> Self {
        let mut playback = Self { replay, index: index as usize, threads: threads as usize, at: 0, start };
        playback.skip();
        playback
    }

    pub(crate) fn next(&self) -> Option<Nanos> {
        (self.at < self.replay.seen.len()).then(|| Nanos(self.start.0 + self.replay.due_ns(self.at)))
    }

    pub(crate) fn take_due(&mut self, now: Nanos) -> Option<(Nanos, Due<'a>)> {
        let due = self.next().filter(|due| *due <= now)?;
        let seen = &self.replay.seen[self.at];
        self.at += 1;
        self.skip();
        Some((due, Due { link: seen.connection as usize / self.threads, bytes: &seen.bytes }))
    }

    /// Moves on to the next request of this thread.
    fn skip(&mut self) {
        let is_ours = |seen: &Seen| seen.connection as usize % self.threads == self.index;
        let rest = &self.replay.seen[self.at..];
        self.at += rest.iter().position(is_ours).unwrap_or(rest.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_thread_plays_its_connections_in_time() {
        let seen = |at_ns, connection| Seen { at_ns, connection, bytes: vec![u8::try_from(connection).unwrap()] };
        let replay = Replay::new(vec![seen(100, 7), seen(300, 9), seen(500, 7), seen(700, 11)], 2.0).unwrap();
        assert_eq!(replay.connections, 3);
        let mut playback = Playback::new(&replay, 0, 2, Nanos(1000));
        assert_eq!(playback.next(), Some(Nanos(1000 + HEAD_START_NS)));
        assert!(playback.take_due(Nanos(1000)).is_none());
        let later = Nanos(u64::MAX);
        let taken: Vec<(u64, usize, u8)> = std::iter::from_fn(|| playback.take_due(later))
            .map(|(due, request)| (due.0, request.link, request.bytes[0]))
            .collect();
        let at = |ns: u64| 1000 + HEAD_START_NS + ns;
        assert_eq!(taken, [(at(0), 0, 7), (at(200), 0, 7), (at(300), 1, 11)]);
        assert!(Replay::new(Vec::new(), 1.0).is_err() && Replay::new(vec![seen(0, 0)], 0.0).is_err());
    }
}
