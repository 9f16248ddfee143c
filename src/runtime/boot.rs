//! From settings to running lanes, and back.
//!
//! ```text
//!   main thread                              each lane's thread
//!   choose cpus, bind all ports
//!   start threads ------------------------>  pin, make ring (proving each feature), executor, first park
//!   collect: all ready, or the first refusal <---
//!   listen on all ports
//!   say go, with doors and all rings ------>  turn, turn, turn ... until the Stopper
//!   collect: all left                        <---
//! ```
//!
//! Ports are bound before any thread starts and listen only after every lane is ready: whoever can connect is served at once.
//! Every refusal is one line that says what to do.

mod error;

use std::io;
use std::net::IpAddr;
use std::os::fd::RawFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use core_affinity::CoreId;
use glommio::{GlommioError, LocalExecutorBuilder, Placement};

use super::archive::{Archive, Wish};
use super::census::Census;
use super::clock::Clock;
use super::cpus;
use super::crash::abort_on_panic;
use super::departure::{Departure, departures};
use super::doorbell::{Doorbell, doorbells};
use super::keepalive::Keepalive;
use super::keeper::{self, Port};
use super::loading::{Loading, Together};
use super::log::{Level, say};
use super::mesh::{Mesh, mesh};
use super::opening::Opening;
use super::ports::{Door, Ports};
use super::ring::{Ring, RingSizes};
use super::segments::{Supply, supplies};
use super::spin::{Poll, Spin};
use super::stop::Stopper;
use super::sys;
use super::turn::{Lane, Outfit, Post};
use crate::base::lanes::Lanes;
use crate::shard::{Shard, ShardId};
pub use error::BootError;

/// glommio registers this much for file I/O per lane; lanes leave files to the keeper.
const GLOMMIO_IO_BYTES: usize = 64 << 10;

/// What glommio asks of the memlock limit for each executor.
const MEMLOCK_BYTES_MIN: u64 = 512 << 10;

/// Descriptors besides the connections: streams, log, files; and rings, events and listeners of each lane.
const DESCRIPTORS_OF_OURS: u64 = 32;
const DESCRIPTORS_PER_LANE: u64 = 16;

/// How long a port may be in use before that is a refusal, and how often it is tried.
const PORT_PATIENCE: Duration = Duration::from_secs(1);
const PORT_PAUSE: Duration = Duration::from_millis(10);

/// Receive buffers of a lane. The kernel cycles through all of them, so they should stay in the second-level cache.
const BUFFERS: u16 = 64;

/// Those for long words: 128 KiB an enter, half of a turn.
const LONG_BUFFERS: u16 = 8;
const BUFFER_BYTES: u32 = 16 << 10;

/// Places in a lane's file table, eight bytes each: all its connections, up to half a megabyte.
const FILES_MAX: u32 = 1 << 16;

/// What a server says that ends while its disk has failed.
const LOST: &str = "the journal could not be written when the server ended: what was written after the last sync before the disk failed is lost, \
                    the log says when that was and why";

/// What the runtime needs to know. The configuration file's words for it are the configuration's business.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    pub lanes: usize,
    /// The CPU of each lane in order; empty: the first ones this process may use.
    pub cpus: Vec<usize>,
    pub bind: Vec<IpAddr>,
    /// Addresses whose absence is no error (`-::1` in redis.conf).
    pub bind_if_there: Vec<IpAddr>,
    /// The port that all lanes share; 0: none.
    pub port: u16,
    /// Lane i has a port of its own, so many above this; 0: none has.
    pub shard_port: u16,
    pub tcp_backlog: u32,
    pub keepalive: Keepalive,
    /// For the sizes of the rings.
    pub connections_max: usize,
    pub poll: Poll,
    pub pidfile: Option<PathBuf>,
    pub journal: JournalSettings,
}

/// The journal's directory.
#[derive(Clone, Debug, Default)]
pub struct JournalSettings {
    /// Whether one is kept from the start.
    pub is_kept: bool,
    pub dir: PathBuf,
    /// Whether the torn end that a crash leaves is cut off, or refused.
    pub load_truncated: bool,
    /// `key-load-delay`.
    pub load_delay_us: i64,
}

/// Which lane a shard is made for.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    pub lane: ShardId,
    /// Of so many.
    pub lanes: Lanes,
}

/// Serves until SIGTERM, SIGINT or a shard's `Order::Stop`. In effect from here on: the two signals are blocked, a panic in any
/// thread ends the process.
///
/// # Errors
/// Each [`BootError`], before the first connection; after that only what breaks a lane's ring.
pub fn boot(settings: Settings, make_shard: impl Fn(Place) -> Shard + Send + Sync + 'static) -> Result<(), BootError> {
    let signals = sys::signalfd().map_err(|error| BootError::Failed { what: "making a signalfd", error })?;
    abort_on_panic();
    let stopper = stopper()?;
    serve(settings, make_shard, stopper, Some(signals))
}

/// Serves until `stopper` is told, without touching the process's signals: for tests and for whoever embeds a server.
///
/// # Errors
/// As [`boot`].
pub fn boot_until(
    settings: Settings,
    stopper: Stopper,
    make_shard: impl Fn(Place) -> Shard + Send + Sync + 'static,
) -> Result<(), BootError> {
    serve(settings, make_shard, stopper, None)
}

fn stopper() -> Result<Stopper, BootError> {
    Stopper::new().map_err(|error| BootError::Failed { what: "making an eventfd", error })
}

/// What a lane's thread needs to begin.
struct Birth {
    id: ShardId,
    lanes: Lanes,
    cpu: CoreId,
    sizes: RingSizes,
    poll: Poll,
    clock: Clock,
    stopper: Stopper,
    signals: Option<std::fs::File>,
    mesh: Mesh<Post>,
    doorbell: Doorbell,
    departure: Departure,
    census: Census,
    supply: Supply,
    /// Where the workers of the ring may run.
    worker_cpus: Vec<usize>,
    /// If there is a journal from the start.
    loading: Option<Loading>,
    keeper: Option<Port>,
    /// Lane 0 says for all that they serve.
    ready: Option<String>,
}

/// What it is told when all are ready.
struct Go {
    doors: Vec<Door>,
    rings: Vec<RawFd>,
}

/// From a lane to the main thread.
enum Report {
    Ready { lane: ShardId, ring: RawFd },
    Over(Result<(), BootError>),
}

fn serve(
    settings: Settings,
    make_shard: impl Fn(Place) -> Shard + Send + Sync + 'static,
    stopper: Stopper,
    signals: Option<std::fs::File>,
) -> Result<(), BootError> {
    if sys::memlock_bytes() < MEMLOCK_BYTES_MIN {
        return Err(BootError::RingMemory(io::Error::from_raw_os_error(libc::ENOMEM)));
    }
    let mut births = births(&settings, &stopper, signals)?;
    let ports = bind_patiently(&settings)?;
    let make_shard = Arc::new(make_shard);
    let opening = open_archive(&settings, &mut births, &make_shard)?;
    let (keepers, keeper) = keeper::start(settings.journal.dir.clone(), opening, settings.lanes, stopper.clone())?;
    births.iter_mut().zip(keepers).for_each(|(birth, port)| birth.keeper = Some(port));
    let (report, reports) = channel();
    let mut starts = Vec::new();
    for birth in births {
        let (start, started) = channel();
        starts.push(start);
        start_lane(birth, Arc::clone(&make_shard), report.clone(), started)?;
    }
    drop(report);
    let rings = collect_ready(&reports, starts.len())?;
    keeper.wait_a_moment();
    let doors = ports.listen(&settings)?;
    write_pidfile(&settings)?;
    for (start, doors) in starts.iter().zip(doors) {
        // A lane that is gone has reported why.
        let _ = start.send(Go { doors, rings: rings.clone() });
    }
    let outcome = collect_over(&reports, &stopper);
    let kept = keeper.end();
    let outcome = outcome.and(kept);
    if let Some(path) = &settings.pidfile {
        let _ = std::fs::remove_file(path);
    }
    match &outcome {
        Ok(()) => say(Level::Notice, "Bye"),
        Err(error) => say(Level::Warning, &error.to_string()),
    }
    outcome
}

/// Everything that lanes share is made here and handed out.
fn births(settings: &Settings, stopper: &Stopper, mut signals: Option<std::fs::File>) -> Result<Vec<Birth>, BootError> {
    let cpus = cpus::choose(settings.lanes, &settings.cpus)?;
    let (clock, census) = (Clock::start(), Census::new(settings.lanes));
    let sizes = RingSizes {
        completions: completions(settings),
        buffers: BUFFERS,
        long_buffers: LONG_BUFFERS,
        buffer_bytes: BUFFER_BYTES,
        files: u32::try_from(settings.connections_max).map_or(FILES_MAX, |all| all.min(FILES_MAX)),
    };
    let worker_cpus = cpus::beside(&cpus);
    let supplies = supplies(&settings.journal.dir, settings.lanes);
    let shared = mesh(settings.lanes).into_iter().zip(doorbells(settings.lanes)).zip(departures(settings.lanes));
    let birth = |(((cpu, lane), supply), ((mesh, doorbell), departure)): (((CoreId, u16), Supply), _)| Birth {
        id: ShardId(lane),
        lanes: Lanes::new(u16::try_from(settings.lanes).unwrap_or(u16::MAX)),
        supply,
        worker_cpus: worker_cpus.clone().unwrap_or_else(|| vec![cpu.id]),
        cpu,
        sizes,
        poll: settings.poll,
        clock,
        stopper: stopper.clone(),
        // Lane 0 hears them for all.
        signals: signals.take(),
        mesh,
        doorbell,
        departure,
        census: census.clone(),
        loading: None,
        keeper: None,
        ready: (lane == 0).then(|| ready(settings)),
    };
    Ok(cpus.into_iter().zip(0..).zip(supplies).zip(shared).map(birth).collect())
}

/// Makes the journal's directory ours, if there is a journal, and has all lanes load what is there before they serve.
fn open_archive(
    settings: &Settings,
    births: &mut [Birth],
    make_shard: &Arc<impl Fn(Place) -> Shard + Send + Sync + 'static>,
) -> Result<Option<Opening>, BootError> {
    let JournalSettings { dir, load_truncated, is_kept, load_delay_us } = settings.journal.clone();
    if !is_kept {
        return Ok(None);
    }
    let lanes = u16::try_from(settings.lanes).map_err(|_| BootError::Lanes)?;
    let archive = Archive::adopt(&dir).map_err(BootError::Journal)?;
    let together = Together::new(settings.lanes, load_delay_us);
    births.iter_mut().for_each(|birth| birth.loading = Some(Loading::new(together.clone())));
    let make_shard = Arc::clone(make_shard);
    let make = Box::new(move |lane, lanes| make_shard(Place { lane, lanes }));
    Ok(Some(Opening::new(archive, Wish { dir, lanes, load_truncated }, together, make)))
}

fn ready(settings: &Settings) -> String {
    let lanes = settings.lanes;
    let shared = if settings.port == 0 { String::new() } else { format!(" on port {}", settings.port) };
    match settings.shard_port {
        0 => format!("Ready to accept connections{shared}, {lanes} lanes"),
        first => {
            format!("Ready to accept connections{shared}, {lanes} lanes, each on a port of its own from {first} on")
        }
    }
}

/// A server that was killed holds its ports for some tens of milliseconds more, until the kernel has taken its rings apart: whoever
/// starts another at once need not try twice.
fn bind_patiently(settings: &Settings) -> Result<Ports, BootError> {
    let mut tries = PORT_PATIENCE.as_millis() / PORT_PAUSE.as_millis();
    loop {
        match Ports::bind(settings) {
            Err(BootError::PortInUse { .. }) if tries > 0 => std::thread::sleep(PORT_PAUSE),
            outcome => return outcome,
        }
        tries -= 1;
    }
}

/// Raises the limit of open files to what the connections need; for how many it suffices. Too little for all of them is no refusal: fewer
/// clients are better than none.
pub(super) fn provide_descriptors(settings: &Settings) -> Result<usize, BootError> {
    let (own, clients) = (own_descriptors(settings.lanes), settings.connections_max);
    let limit = sys::raise_open_files(own + clients as u64);
    if limit <= own {
        return Err(BootError::OpenFiles { limit, needed: own + 1 });
    }
    let wanted = own + clients as u64;
    if limit >= wanted {
        return Ok(clients);
    }
    let room = usize::try_from(limit - own).unwrap_or(clients);
    say(
        Level::Warning,
        &format!(
            "the limit of open files is {limit}, but maxclients {clients} needs {wanted}: maxclients is {room} now. Raise the limit \
             (ulimit -n {wanted}, LimitNOFILE={wanted} in the systemd unit) or lower maxclients"
        ),
    );
    Ok(room)
}

fn own_descriptors(lanes: usize) -> u64 {
    DESCRIPTORS_OF_OURS + lanes as u64 * DESCRIPTORS_PER_LANE
}

/// Raises the limit of open files for so many clients; for how many it suffices now.
pub(super) fn room_for_clients(wanted: usize, lanes: u16) -> usize {
    let own = own_descriptors(lanes.into());
    let limit = sys::raise_open_files(own + wanted as u64);
    usize::try_from(limit.saturating_sub(own)).unwrap_or(usize::MAX).min(wanted)
}

/// The ring of each lane, or the first refusal. On a refusal the other lanes end with the process or when their channel closes.
fn collect_ready(reports: &Receiver<Report>, lanes: usize) -> Result<Vec<RawFd>, BootError> {
    let mut rings = vec![-1; lanes];
    for _ in 0..lanes {
        match reports.recv() {
            Ok(Report::Ready { lane, ring }) => rings[usize::from(lane.0)] = ring,
            Ok(Report::Over(Err(error))) => return Err(error),
            Ok(Report::Over(Ok(()))) | Err(_) => {
                return Err(BootError::Executor("a lane ended before it began".into()));
            }
        }
    }
    assert!(!rings.contains(&-1), "each lane reports once");
    Ok(rings)
}

/// Waits for every lane; one that breaks stops the others.
fn collect_over(reports: &Receiver<Report>, stopper: &Stopper) -> Result<(), BootError> {
    let mut outcome = Ok(());
    while let Ok(report) = reports.recv() {
        if let Report::Over(Err(error)) = report {
            outcome = Err(error);
            stopper.stop();
        }
    }
    outcome
}

fn start_lane(
    birth: Birth,
    make_shard: Arc<impl Fn(Place) -> Shard + Send + Sync + 'static>,
    report: Sender<Report>,
    started: Receiver<Go>,
) -> Result<(), BootError> {
    let name = format!("lane-{}", birth.id.0);
    let live = move || {
        let outcome = live(birth, &*make_shard, &report, &started);
        // The main thread may have left already, after another lane's refusal.
        let _ = report.send(Report::Over(outcome));
    };
    let started = std::thread::Builder::new().name(name).spawn(live);
    started.map(drop).map_err(|error| BootError::Failed { what: "starting a lane's thread", error })
}

/// A lane's life on its own thread.
fn live(
    birth: Birth,
    make_shard: &impl Fn(Place) -> Shard,
    report: &Sender<Report>,
    started: &Receiver<Go>,
) -> Result<(), BootError> {
    if !core_affinity::set_for_current(birth.cpu) {
        return Err(BootError::Cpu { cpu: birth.cpu.id, allowed: cpus::allowed() });
    }
    // Before glommio makes its own rings: what the kernel refuses is then known by name, with its remedy.
    let ring = Ring::new(birth.sizes)?;
    ring.bound_workers(&birth.worker_cpus);
    let executor = LocalExecutorBuilder::new(Placement::Unbound).io_memory(GLOMMIO_IO_BYTES).make();
    let executor = executor.map_err(|error: GlommioError<()>| match error {
        GlommioError::IoError(error) if error.raw_os_error() == Some(libc::ENOMEM) => BootError::RingMemory(error),
        other => BootError::Executor(other.to_string()),
    })?;
    executor.run(async move {
        // The executor's first park is slow by tens of milliseconds: have it over before anybody can connect.
        glommio::timer::sleep(Duration::from_millis(1)).await;
        let ready = Report::Ready { lane: birth.id, ring: ring.fd() };
        let shard = make_shard(Place { lane: birth.id, lanes: birth.lanes });
        if report.send(ready).is_err() {
            return Ok(());
        }
        let Ok(go) = started.recv() else { return Ok(()) };
        let mut doorbell = birth.doorbell;
        doorbell.connect(go.rings);
        let mut lane = Lane::new(Outfit {
            id: birth.id,
            ring,
            shard,
            clock: birth.clock,
            spin: Spin::new(birth.poll),
            stopper: birth.stopper,
            mesh: birth.mesh,
            doorbell,
            departure: birth.departure,
            census: birth.census,
            supply: birth.supply,
            loading: birth.loading,
            keeper: birth.keeper.expect("each lane has a port to it"),
            ready: birth.ready,
        });
        lane.run(go.doors, birth.signals)?;
        if lane.is_journal_broken() { Err(BootError::Journal(LOST.to_owned())) } else { Ok(()) }
    })
}

/// Enough completion slots that a burst from every connection at once does not overflow.
fn completions(settings: &Settings) -> u32 {
    let per_lane = settings.connections_max / settings.lanes;
    u32::try_from((per_lane * 2).next_power_of_two().clamp(1 << 12, 1 << 16)).expect("clamped")
}

fn write_pidfile(settings: &Settings) -> Result<(), BootError> {
    let Some(path) = &settings.pidfile else { return Ok(()) };
    let written = std::fs::write(path, format!("{}\n", std::process::id()));
    written.map_err(|error| BootError::Pidfile { path: path.clone(), error })
}
