//! The world: shards, the links between them, clients, clocks, and one seed that decides everything.
//!
//! ```text
//!                 +-- step: one of --------------------------------------------------------------+
//!                 |  a turn of one shard, with a random part of what could be done in it         |
//!                 |  a client makes up requests      a ring is full for a while                  |
//!                 |  a connection is torn off        a clock jumps                               |
//!                 +------------------------------------------------------------------------------+
//!
//!  clients --pieces--> shard 0 ==link==> shard 1 <--pieces-- clients      a link keeps its order and holds few parcels
//!          <-replies--    |    <==link==     |    --replies->
//!                         v                  v
//!                     what it ran        what it ran         -> Log -> order, oracle, guarantee
//! ```
//!
//! Nothing here depends on anything but the seed: the same seed gives the same bytes, which [`World::digest`] stands for.

use std::collections::VecDeque;

use corelane::base::limits::Strides;
use corelane::base::rng::Rng;
use corelane::base::time::{Millis, Now};
use corelane::command::{Command, Run, Table};
use corelane::config::{Config, Rights};
use corelane::shard::{Opening, Order, Parcel, Planted, Setup, Shard, ShardId, Slicing};
use corelane::wire::output::Output;
use corelane::wire::request::Request;

use super::client::{Client, End, waits};
use super::content::content;
use super::footprint::owner;
use super::grammar::pick;
use super::log::{Call, ClientLog, EPOCH, Log, Moment};
use super::tamper::Tamper;
use super::workload::Workload;

/// What a run is made of besides its seed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) steps: u64,
    /// Most lanes; how many there are is drawn.
    pub(crate) lanes_max: u16,
    pub(crate) tamper: Tamper,
    /// A defect inside the shards.
    pub(crate) planted: Option<Planted>,
    /// Whether to tell what happens.
    pub(crate) tells: bool,
}

pub(crate) struct World {
    lanes: Vec<Lane>,
    /// From lane `i` to lane `j` at `i * lanes + j`.
    links: Vec<Link>,
    clients: Vec<Client>,
    sockets: Vec<Socket>,
    table: Table,
    workload: Workload,
    mood: Mood,
    moment: Moment,
    step: u64,
    scans: usize,
    rng: Rng,
    plan: Plan,
    digest: u64,
    /// Of the keyed hash, the same on all lanes.
    pub(crate) seed: [u64; 2],
    pub(crate) slicing: Slicing,
    story: Vec<String>,
    pub(crate) log: Log,
}

struct Lane {
    shard: Shard,
    now: Now,
    opened: u64,
    /// The lane's thread does not run before this step.
    asleep_until: u64,
}

#[derive(Default)]
struct Link {
    parcels: VecDeque<Box<Parcel>>,
    /// Nothing more fits in before this step.
    full_until: u64,
}

/// The server's side of a connection: what a runtime keeps of it.
#[derive(Default)]
struct Socket {
    /// Taken for sending, not yet with the client.
    sending: Vec<u8>,
    wants_flush: bool,
    closes_after_flush: bool,
    is_paused: bool,
    eof_told: bool,
}

/// How a run likes to behave, drawn per seed.
struct Mood {
    clients: usize,
    ring_parcels: usize,
    /// One in so many pieces is short.
    short_pieces: u64,
    /// One in so many steps tears something off, fills a ring, puts a lane to sleep, moves time on.
    trouble: u64,
    /// The longest stride of a clock between two turns.
    stride_us: u64,
    /// One in so many sends is taken by the kernel only in part.
    slow_sends: u64,
}

/// How much of what could be done in a turn is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Zeal {
    Some,
    All,
}

/// Rounds of full turns after which everything must have been answered.
const ROUNDS_TO_QUIET: usize = 3000;

/// Then everybody's time is over who does not wait for ever; in the second half of these rounds it leaps.
const ROUNDS_OF_WAITS: usize = 200;

/// When nothing has been sent, run or answered for so many rounds, nothing is under way any more.
const ROUNDS_OF_STILLNESS: usize = 20;

impl World {
    pub(crate) fn new(plan: Plan) -> Self {
        let mut rng = Rng::new(plan.seed);
        let table = Table::new();
        let lanes = 1 + u16::try_from(rng.below(u64::from(plan.lanes_max))).expect("few lanes");
        let slicing = draw_slicing(plan.seed);
        let (config, is_strict) = draw_config(&mut rng, slicing);
        let seed = [rng.next_u64(), rng.next_u64()];
        let lane = |id: u16| Lane {
            shard: shard(id, lanes, seed, config.clone(), slicing, plan.planted),
            now: EPOCH,
            opened: 0,
            asleep_until: 0,
        };
        let mood = Mood::draw(&mut rng);
        let workload = Workload::draw(&table, &mut rng);
        let mut world = Self {
            lanes: (0..lanes).map(lane).collect(),
            links: (0..usize::from(lanes) * usize::from(lanes)).map(|_| Link::default()).collect(),
            clients: Vec::new(),
            sockets: Vec::new(),
            table,
            workload,
            mood,
            moment: Moment(0),
            step: 0,
            scans: 0,
            rng,
            plan,
            digest: 0xcbf2_9ce4_8422_2325,
            seed,
            slicing,
            story: Vec::new(),
            log: Log { clients: Vec::new(), runs: (0..lanes).map(|_| Vec::new()).collect(), is_strict },
        };
        world.lanes.iter_mut().for_each(|lane| lane.shard.begin_turn(lane.now));
        (0..world.mood.clients).for_each(|_| world.connect());
        world
    }

    /// Takes all steps, then lets everything come to rest.
    pub(crate) fn run(&mut self) -> Result<(), String> {
        while self.step < self.plan.steps {
            self.step()?;
        }
        self.come_to_rest()
    }

    /// Does one thing.
    pub(crate) fn step(&mut self) -> Result<(), String> {
        self.step += 1;
        if self.rng.one_in(self.mood.trouble) {
            return self.make_trouble();
        }
        if self.rng.one_in(3) {
            let at = pick(&mut self.rng, self.clients.len());
            self.ask(at);
            return Ok(());
        }
        let lane = pick(&mut self.rng, self.lanes.len());
        if self.lanes[lane].asleep_until > self.step { Ok(()) } else { self.turn(lane, Zeal::Some) }
    }

    fn ask(&mut self, at: usize) {
        let client = &mut self.clients[at];
        if client.is_open() {
            if client.wants_to_ask() {
                let log = &mut self.log.clients[at];
                client.ask(log, &self.workload, &self.table, &mut self.scans, &mut self.rng);
            }
        } else if self.clients.iter().filter(|client| client.is_open()).count() < self.mood.clients {
            self.connect();
        }
    }

    fn connect(&mut self) {
        let at = pick(&mut self.rng, self.lanes.len());
        let lanes = self.lanes.len() as u64;
        let lane = &mut self.lanes[at];
        let address = "127.0.0.1:1".parse().expect("an address");
        let conn = lane
            .shard
            .open(&Opening { peer: address, local: address, fd: 0, open_connections: 1, shard_port: false })
            .expect("room for a client");
        lane.opened += 1;
        let home = ShardId(u16::try_from(at).expect("few lanes"));
        // The numbers of a lane's clients are congruent to it.
        let id = lane.opened * lanes + at as u64;
        self.clients.push(Client::new(self.clients.len(), home, conn, &mut self.rng));
        self.sockets.push(Socket::default());
        self.log.clients.push(ClientLog { home, id, calls: Vec::new() });
        self.tell(|_| format!("client {id} connects to lane {at}"));
    }

    fn make_trouble(&mut self) -> Result<(), String> {
        let lane = pick(&mut self.rng, self.lanes.len());
        match self.rng.below(5) {
            0 => {
                let us = self.rng.below(3_000_000);
                pass(&mut self.lanes[lane].now, us);
                self.tell(|_| format!("lane {lane}: its clock goes {us} us"));
            }
            1 => {
                let link = pick(&mut self.rng, self.links.len());
                self.links[link].full_until = self.step + self.rng.below(100);
                self.tell(|world| format!("link {link} is full until step {}", world.links[link].full_until));
            }
            2 => {
                self.lanes[lane].asleep_until = self.step + self.rng.below(60);
                self.tell(|world| format!("lane {lane} sleeps until step {}", world.lanes[lane].asleep_until));
            }
            3 => self.tear_off(),
            _ => self.half_close(),
        }
        Ok(())
    }

    /// A connection is gone at once, whatever was under way.
    fn tear_off(&mut self) {
        let at = pick(&mut self.rng, self.clients.len());
        if self.clients[at].is_open() {
            self.clients[at].lose();
            let (home, conn) = (usize::from(self.clients[at].home.0), self.clients[at].conn);
            self.lanes[home].shard.closed(conn);
            self.tell(|world| format!("client {} is torn off", world.log.clients[at].id));
        }
    }

    /// A client says that it sends no more, perhaps in the middle of a request.
    fn half_close(&mut self) {
        let at = pick(&mut self.rng, self.clients.len());
        if self.clients[at].end == End::None {
            let further = pick(&mut self.rng, self.clients[at].unsent() + 1);
            self.clients[at].half_close(further, &self.log.clients[at]);
            self.tell(|world| format!("client {} sends {further} further bytes and no more", world.log.clients[at].id));
        }
    }

    /// One turn of a lane, as a runtime takes it.
    fn turn(&mut self, at: usize, zeal: Zeal) -> Result<(), String> {
        let stride = self.rng.below(self.mood.stride_us);
        let lane = &mut self.lanes[at];
        pass(&mut lane.now, stride);
        lane.shard.begin_turn(lane.now);
        self.tell(|world| format!("lane {at}: a turn at {} us", world.lanes[at].now.unix_us - EPOCH.unix_us));
        self.deliver(at, zeal);
        self.lanes[at].shard.run_backlog();
        self.feed(at, zeal);
        self.lanes[at].shard.tick();
        self.note_runs(at);
        self.obey(at)?;
        self.send(at, zeal)?;
        self.forward(at);
        Ok(())
    }

    /// Parcels of each link arrive, the oldest first, some or all.
    fn deliver(&mut self, to: usize, zeal: Zeal) {
        let lanes = self.lanes.len();
        for from in (0..lanes).filter(|from| *from != to) {
            let waiting = self.links[from * lanes + to].parcels.len();
            let count = if zeal == Zeal::All { waiting } else { pick(&mut self.rng, waiting + 1) };
            for _ in 0..count {
                let Some(parcel) = self.links[from * lanes + to].parcels.pop_front() else { break };
                self.tell(|_| format!("  from lane {from}: {parcel:?}"));
                let Some(parcel) = self.plan.tamper.parcel(parcel, &mut self.rng) else { continue };
                self.lanes[to].shard.deliver(ShardId(u16::try_from(from).expect("few lanes")), parcel);
            }
        }
    }

    /// Clients of the lane send pieces.
    fn feed(&mut self, at: usize, zeal: Zeal) {
        for i in 0..self.clients.len() {
            if usize::from(self.clients[i].home.0) != at || !self.clients[i].is_open() || self.sockets[i].is_paused {
                continue;
            }
            if self.lanes[at].shard.turn_is_full() {
                return;
            }
            let unsent = self.clients[i].unsent();
            if unsent > 0 && (zeal == Zeal::All || self.rng.one_in(2)) {
                let len = if zeal == Zeal::All { unsent } else { self.piece(unsent) };
                self.feed_one(at, i, len);
            }
            if self.clients[i].end == End::HalfClosed && self.clients[i].unsent() == 0 && !self.sockets[i].eof_told {
                self.sockets[i].eof_told = true;
                self.lanes[at].shard.eof(self.clients[i].conn);
            }
        }
    }

    fn piece(&mut self, unsent: usize) -> usize {
        if self.rng.one_in(self.mood.short_pieces) { 1 + pick(&mut self.rng, unsent.min(40)) } else { unsent }
    }

    fn feed_one(&mut self, at: usize, i: usize, len: usize) {
        let earliest = self.earliest();
        let moment = &mut self.moment;
        let bytes = self.clients[i].send(
            len,
            &mut self.log.clients[i],
            || {
                moment.0 += 1;
                *moment
            },
            earliest,
        );
        self.digest(&bytes);
        self.tell(|world| format!("  client {} sends {}", world.log.clients[i].id, super::log::short(&bytes)));
        self.lanes[at].shard.feed(self.clients[i].conn, &bytes);
    }

    fn note_runs(&mut self, at: usize) {
        let mut runs = self.lanes[at].shard.take_history();
        self.plan.tamper.runs(&mut runs, &mut self.rng);
        for ran in runs {
            self.moment.0 += 1;
            self.digest(format!("{at} {ran:?}").as_bytes());
            self.tell(|_| {
                format!("  ran client {} #{} at {} ms", ran.client, ran.number, ran.now.0 - EPOCH.millis().0)
            });
            self.log.runs[at].push((self.moment, ran));
        }
    }

    fn obey(&mut self, at: usize) -> Result<(), String> {
        while let Some(order) = self.lanes[at].shard.next_order() {
            match order {
                Order::Flush(conn) => self.socket(at, conn, |socket| socket.wants_flush = true),
                Order::CloseAfterFlush(conn) => self.socket(at, conn, |socket| {
                    socket.wants_flush = true;
                    socket.closes_after_flush = true;
                }),
                Order::StopReading(conn) => self.socket(at, conn, |socket| socket.is_paused = true),
                Order::ReadLong(_) | Order::ReadShort(_) => {}
                Order::Read(conn) => self.socket(at, conn, |socket| socket.is_paused = false),
                Order::Close(_) | Order::Hold(_) | Order::Stop => return Err(format!("lane {at} orders {order:?}")),
            }
        }
        Ok(())
    }

    /// The socket of a connection that has not been torn off.
    fn socket(&mut self, at: usize, conn: corelane::shard::ConnId, change: impl FnOnce(&mut Socket)) {
        let is_it = |client: &Client| usize::from(client.home.0) == at && client.conn == conn && client.is_open();
        if let Some(i) = self.clients.iter().position(is_it) {
            change(&mut self.sockets[i]);
        }
    }

    /// Replies go to the clients, all or a part; then connections that are to be closed are.
    fn send(&mut self, at: usize, zeal: Zeal) -> Result<(), String> {
        for i in 0..self.clients.len() {
            if usize::from(self.clients[i].home.0) != at || !self.clients[i].is_open() {
                continue;
            }
            self.send_one(at, i, zeal)?;
            let socket = &self.sockets[i];
            if socket.closes_after_flush && !socket.wants_flush && socket.sending.is_empty() {
                self.lanes[at].shard.closed(self.clients[i].conn);
                self.tell(|world| format!("  client {} is closed", world.log.clients[i].id));
                self.clients[i].closed(&self.log.clients[i])?;
            }
        }
        Ok(())
    }

    fn send_one(&mut self, at: usize, i: usize, zeal: Zeal) -> Result<(), String> {
        let (shard, socket, conn) = (&mut self.lanes[at].shard, &mut self.sockets[i], self.clients[i].conn);
        if socket.wants_flush && socket.sending.is_empty() {
            socket.wants_flush = false;
            socket.sending = shard.take_output(conn, Output::default()).to_vec();
        }
        if socket.sending.is_empty() {
            return Ok(());
        }
        let is_slow = zeal == Zeal::Some && self.rng.one_in(self.mood.slow_sends);
        let len = if is_slow { pick(&mut self.rng, socket.sending.len()) } else { socket.sending.len() };
        let bytes: Vec<u8> = socket.sending.drain(..len).collect();
        shard.in_flight(conn, socket.sending.len());
        self.digest(&bytes);
        self.read(i, &bytes)
    }

    fn read(&mut self, i: usize, bytes: &[u8]) -> Result<(), String> {
        let latest = self.latest();
        let id = self.log.clients[i].id;
        let mut replies = self.clients[i].receive(bytes).map_err(|why| format!("client {id}: {why}"))?;
        self.plan.tamper.replies(&mut replies, &mut self.rng);
        for reply in replies {
            self.moment.0 += 1;
            self.tell(|_| format!("  client {id} reads {}", super::log::short(&reply)));
            self.clients[i].answer(reply, &mut self.log.clients[i], self.moment, latest)?;
        }
        Ok(())
    }

    /// Parcels for the peers enter the links, as far as those have room.
    fn forward(&mut self, from: usize) {
        let lanes = self.lanes.len();
        for to in (0..lanes).filter(|to| *to != from) {
            let link = &mut self.links[from * lanes + to];
            while link.full_until <= self.step && link.parcels.len() < self.mood.ring_parcels {
                let to = ShardId(u16::try_from(to).expect("few lanes"));
                let Some(parcel) = self.lanes[from].shard.take_parcel(to) else { break };
                link.parcels.push_back(parcel);
            }
        }
    }

    /// Nobody asks any more, nothing is in the way: in bounded time everybody has his answers and every shard is quiet.
    fn come_to_rest(&mut self) -> Result<(), String> {
        self.tell(|_| "nobody asks any more".to_owned());
        self.links.iter_mut().for_each(|link| link.full_until = 0);
        let (mut still, mut before) = (0, self.digest);
        for round in 0..ROUNDS_TO_QUIET {
            for at in 0..self.lanes.len() {
                self.turn(at, Zeal::All)?;
                if (ROUNDS_OF_WAITS / 2..ROUNDS_OF_WAITS).contains(&round) {
                    pass(&mut self.lanes[at].now, 15_000_000);
                }
            }
            if self.is_at_rest() {
                return Ok(());
            }
            still = if self.digest == before { still + 1 } else { 0 };
            before = self.digest;
            if round > ROUNDS_OF_WAITS && still > ROUNDS_OF_STILLNESS {
                self.end_waits()?;
                still = 0;
            }
        }
        Err(self.who_waits())
    }

    /// Who waits still has said that he would for ever: what he waits for must not be there. His connection ends.
    fn end_waits(&mut self) -> Result<(), String> {
        for at in 0..self.clients.len() {
            let log = &self.log.clients[at];
            if !self.clients[at].is_open() || waits(log).next().is_none() {
                continue;
            }
            // One whose reply nobody wants may be what he waits for.
            let oldest = self.clients[at].waits_for().map(|number| &log.calls[number]);
            let is_first = |call: &&Call| waits(log).next().is_some_and(|first| std::ptr::eq(first, *call));
            if let Some(call) = oldest.filter(is_first) {
                self.must_lack(call)?;
            }
            self.clients[at].lose();
            let (home, conn) = (usize::from(self.clients[at].home.0), self.clients[at].conn);
            self.lanes[home].shard.closed(conn);
        }
        Ok(())
    }

    fn must_lack(&self, call: &Call) -> Result<(), String> {
        let Some(Command { keys, run: Run::Blocking(way), .. }) = call.row else { return Ok(()) };
        let request: Request = call.words.iter().map(Vec::as_slice).collect();
        for key in way.awaited(*keys, request.args()).map(|word| &call.words[word]) {
            let lane = &self.lanes[owner(key, self.lanes.len())];
            let is_there = content(&lane.shard, lane.now.millis())
                .get(&(call.db, key.clone()))
                .is_some_and(|holding| holding.kind == way.awaits);
            if is_there {
                return Err(format!("{} waits for what is there", call.text()));
            }
        }
        Ok(())
    }

    fn is_at_rest(&self) -> bool {
        self.clients.iter().all(Client::is_done)
            && self.links.iter().all(|link| link.parcels.is_empty())
            && self.lanes.iter().all(|lane| lane.shard.is_quiet())
    }

    fn who_waits(&self) -> String {
        let mut lines = vec!["there is no end to it".to_owned()];
        for (i, client) in self.clients.iter().enumerate().filter(|(_, client)| !client.is_done()) {
            let log = &self.log.clients[i];
            let call = client.waits_for().map_or_else(|| "its end".to_owned(), |number| log.calls[number].text());
            lines.push(format!("client {} of lane {} waits for {call}", log.id, log.home.0));
        }
        for (at, lane) in self.lanes.iter().enumerate().filter(|(_, lane)| !lane.shard.is_quiet()) {
            lines.push(format!(
                "lane {at} is not quiet{}",
                if lane.shard.has_backlog() { ", it has a backlog" } else { "" }
            ));
        }
        lines.join("\n")
    }

    pub(crate) fn shards(&self) -> impl Iterator<Item = &Shard> {
        self.lanes.iter().map(|lane| &lane.shard)
    }

    fn earliest(&self) -> Millis {
        self.lanes.iter().map(|lane| lane.now.millis()).min().unwrap_or_default()
    }

    /// The latest clock of any lane.
    pub(crate) fn latest(&self) -> Millis {
        self.lanes.iter().map(|lane| lane.now.millis()).max().unwrap_or_default()
    }

    pub(crate) fn config(&self) -> Config {
        self.lanes[0].shard.config().clone()
    }

    /// Stands for all bytes that went in and came out, and for what was run.
    pub(crate) const fn digest_now(&self) -> u64 {
        self.digest
    }

    pub(crate) fn story(&self) -> &[String] {
        &self.story
    }

    /// FNV-1a.
    fn digest(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.digest = (self.digest ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    fn tell(&mut self, what: impl FnOnce(&Self) -> String) {
        if self.plan.tells {
            // A turn in which nothing happened is not told.
            let is_turn = |line: &String| line.contains(": a turn at ");
            let line = format!("{:>6} {}", self.step, what(self));
            if !line[7..].starts_with("  ") && self.story.last().is_some_and(is_turn) {
                self.story.pop();
            }
            self.story.push(line);
        }
    }
}

impl Mood {
    fn draw(rng: &mut Rng) -> Self {
        Self {
            clients: 1 + pick(rng, 10),
            ring_parcels: 1 + pick(rng, 16),
            short_pieces: 1 + rng.below(12),
            trouble: [30, 100, 1000][pick(rng, 3)],
            stride_us: [200, 2000, 200_000][pick(rng, 3)],
            slow_sends: [2, 20, 200][pick(rng, 3)],
        }
    }
}

/// A shard of a server of `lanes` lanes.
pub(crate) fn shard(
    id: u16,
    lanes: u16,
    seed: [u64; 2],
    config: Config,
    slicing: Slicing,
    planted: Option<Planted>,
) -> Shard {
    Shard::new(Setup { config, seed, slicing, planted, trace: true, ..Setup::plain(id, lanes) })
}

/// What is worked off in slices: in one run nothing, in another whatever has more than two words. Drawn apart from all else, so that seeds
/// that were kept stay what they are.
fn draw_slicing(seed: u64) -> Slicing {
    let mut rng = Rng::new(!seed);
    let words_at_once_max = [2, 5, 12, 1024][pick(&mut rng, 4)];
    let (keys_per_step, long_bytes_min) = ([1, 2, 5][pick(&mut rng, 3)], [64, 1000, 128 << 10][pick(&mut rng, 3)]);
    // In three runs of four what is done to members goes in steps of a few. Not so set algebra: how far a step goes decides the order in which a
    // small set is walked, and so that of the reply.
    let strides = match rng.below(4) {
        0 => Strides::default(),
        n => {
            let few = usize::try_from(n).expect("few");
            Strides { pops_at_once: few, pops: few, removals: few, ..Strides::default() }
        }
    };
    Slicing { words_at_once_max, keys_per_step, long_bytes_min, strides }
}

/// Options that make small data cross the borders that only large data would, and whether pipelines are strict.
fn draw_config(rng: &mut Rng, slicing: Slicing) -> (Config, bool) {
    let mut config = Config::default();
    let entries = 1 + rng.below(16);
    let are_small = entries > 8;
    let (entries, integers) = (entries.to_string(), (1 + rng.below(8)).to_string());
    // The first slice of an SADD expects fewer members than the whole does, and so may leave a set in a smaller form than the oracle's: then
    // the order of the members differs, and whom a random choice means. Where there are slices, all sets are of one form.
    let is_sliced = slicing.words_at_once_max < Slicing::default().words_at_once_max;
    let (set_entries, integers) = match (is_sliced, are_small) {
        (true, true) => ("512", "512"),
        (true, false) => ("0", "0"),
        (false, _) => (&*entries, &*integers),
    };
    let small = [
        (&b"hash-max-listpack-entries"[..], entries.as_bytes()),
        (b"set-max-listpack-entries", set_entries.as_bytes()),
        (b"zset-max-listpack-entries", entries.as_bytes()),
        (b"set-max-intset-entries", integers.as_bytes()),
    ];
    config.set_all(&small, Rights::Protected).expect("an option of Redis");
    let relaxed = [(&b"pipeline-order"[..], &b"relaxed"[..])];
    let is_relaxed = rng.one_in(4) && config.set_all(&relaxed, Rights::Protected).is_ok();
    (config, !is_relaxed)
}

fn pass(now: &mut Now, us: u64) {
    now.unix_us += us;
    now.mono_ns += us * 1000;
}
