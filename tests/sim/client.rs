//! One simulated connection, from the client's side.
//!
//! ```text
//!  requests -> outgoing ....|SET k 1|GET|      -> a random piece ->  shard
//!                     sent here ^   ^ marks: where each request begins
//!
//!  incoming +OK|$1... -> whole replies -> the oldest call that wants one
//! ```
//!
//! Its habits differ: some wait for every answer, some pipeline twenty requests and more on top.

use std::collections::VecDeque;

use corelane::base::rng::Rng;
use corelane::base::time::Millis;
use corelane::command::table::Table;
use corelane::shard::{ConnId, ShardId};

use super::frames::{self, frame};
use super::grammar::pick;
use super::log::{Call, ClientLog, Moment, row_of};
use super::session::Session;
use super::workload::Workload;
use crate::support::client::encode;

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It goes on.
    None,
    /// The client sends no more, perhaps in the middle of a request, and reads on.
    HalfClosed,
    /// The server has closed it, as asked.
    Over,
    /// It was torn off with answers under way.
    Lost,
}

pub(crate) struct Client {
    pub(crate) place: usize,
    pub(crate) home: ShardId,
    pub(crate) conn: ConnId,
    pub(crate) end: End,
    session: Session,
    outgoing: Vec<u8>,
    /// How much of `outgoing` has been sent.
    sent: usize,
    /// Where in `outgoing` the requests that are not all sent begin, with their numbers.
    marks: VecDeque<(usize, usize)>,
    incoming: Vec<u8>,
    /// Requests that want an answer, oldest first.
    waiting: VecDeque<usize>,
    burst_max: usize,
    waiting_max: usize,
    scan: Option<Scan>,
}

/// An iteration of SCAN that the client goes on with.
struct Scan {
    iteration: usize,
    db: u8,
    /// The words after the cursor.
    options: Vec<Vec<u8>>,
    /// None while an answer is under way.
    cursor: Option<Vec<u8>>,
}

impl Client {
    pub(crate) fn new(place: usize, home: ShardId, conn: ConnId, rng: &mut Rng) -> Self {
        let burst_max = [1, 1, 4, 20][pick(rng, 4)];
        let waiting_max = if rng.one_in(2) { 1 } else { 1 + pick(rng, 40) };
        Self {
            place,
            home,
            conn,
            end: End::None,
            session: Session::default(),
            outgoing: Vec::new(),
            sent: 0,
            marks: VecDeque::new(),
            incoming: Vec::new(),
            waiting: VecDeque::new(),
            burst_max,
            waiting_max,
            scan: None,
        }
    }

    /// Whether it would make up more requests now.
    pub(crate) fn wants_to_ask(&self) -> bool {
        self.end == End::None
            && !self.session.has_quit
            && !self.session.must_wait()
            && self.unsent() < 100_000
            && self.waiting.len() < self.waiting_max
    }

    pub(crate) fn unsent(&self) -> usize {
        self.outgoing.len() - self.sent
    }

    /// The oldest request without its answer.
    pub(crate) fn waits_for(&self) -> Option<usize> {
        self.waiting.front().copied()
    }

    /// Nothing more will come of it.
    pub(crate) fn is_done(&self) -> bool {
        match self.end {
            End::None => self.unsent() == 0 && self.waiting.is_empty() && !self.session.has_quit,
            End::HalfClosed => false,
            End::Over | End::Lost => true,
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        matches!(self.end, End::None | End::HalfClosed)
    }

    /// Makes up some requests.
    pub(crate) fn ask(
        &mut self,
        log: &mut ClientLog,
        workload: &Workload,
        table: &Table,
        scans: &mut usize,
        rng: &mut Rng,
    ) {
        for _ in 0..1 + pick(rng, self.burst_max) {
            let words = workload.next(&self.session, rng);
            self.push(log, words, table, scans, rng);
            if self.session.has_quit || self.session.must_wait() {
                return;
            }
        }
    }

    fn push(&mut self, log: &mut ClientLog, words: Vec<Vec<u8>>, table: &Table, scans: &mut usize, rng: &mut Rng) {
        let row = row_of(table, &words);
        let (words, scan) = match row {
            Some(row) if row.name == "scan" && row.arity_fits(words.len()) => self.iterate(words, scans, rng),
            _ => (words, None),
        };
        let name = row.map_or("", |row| row.name);
        let fits = row.is_some_and(|row| row.arity_fits(words.len()));
        let standing = self.session.send(if fits { name } else { "" }, &words);
        let number = log.calls.len();
        self.marks.push_back((self.outgoing.len(), number));
        self.outgoing.extend_from_slice(&form(&words, rng));
        if standing.wants_reply {
            self.waiting.push_back(number);
        }
        log.calls.push(Call {
            words,
            row: row.filter(|_| fits),
            db: standing.db,
            resp3: standing.resp3,
            is_queued: standing.is_queued,
            is_misplaced: standing.is_misplaced,
            scan: scan.filter(|_| standing.wants_reply),
            sent: None,
            sent_ms: Millis(0),
            answered_ms: Millis(0),
            answered: None,
            reply: Vec::new(),
        });
    }

    /// Makes a SCAN the next of an iteration: one under way, or a new one.
    fn iterate(&mut self, mut words: Vec<Vec<u8>>, scans: &mut usize, rng: &mut Rng) -> (Vec<Vec<u8>>, Option<usize>) {
        let db = self.session.db;
        if let Some(scan) = &mut self.scan
            && scan.db == db
            && !rng.one_in(20)
        {
            // While an answer is under way its cursor is not known: another SCAN is one by itself.
            let Some(cursor) = scan.cursor.take() else { return (words, None) };
            words.truncate(1);
            words.push(cursor);
            words.extend(scan.options.iter().cloned());
            return (words, Some(scan.iteration));
        }
        let iteration = *scans;
        *scans += 1;
        self.scan = Some(Scan { iteration, db, options: words[2..].to_vec(), cursor: None });
        (words, Some(iteration))
    }

    /// Sends up to `len` bytes: what they are.
    pub(crate) fn send(
        &mut self,
        len: usize,
        log: &mut ClientLog,
        mut moment: impl FnMut() -> Moment,
        now: Millis,
    ) -> Vec<u8> {
        let to = (self.sent + len).min(self.outgoing.len());
        let bytes = self.outgoing[self.sent..to].to_vec();
        self.sent = to;
        while let Some(&(begin, number)) = self.marks.front()
            && begin < to
        {
            self.marks.pop_front();
            log.calls[number].sent = Some(moment());
            log.calls[number].sent_ms = now;
        }
        if self.sent == self.outgoing.len() {
            self.outgoing.clear();
            self.sent = 0;
        }
        bytes
    }

    /// Sends no more after `len` further bytes; what is cut off is never answered.
    pub(crate) fn half_close(&mut self, len: usize, log: &ClientLog) {
        self.end = End::HalfClosed;
        let to = (self.sent + len).min(self.outgoing.len());
        let is_between = to == self.outgoing.len() || self.marks.iter().any(|(begin, _)| *begin == to);
        let begun = self.marks.iter().filter(|(begin, _)| *begin < to).count();
        let next = self.marks.get(begun).map_or(log.calls.len(), |(_, number)| *number);
        let first_lost = if is_between { next } else { next - 1 };
        self.waiting.retain(|number| *number < first_lost);
        self.marks.truncate(begun);
        self.outgoing.truncate(to);
    }

    /// Whole replies among what has come so far with `bytes`.
    pub(crate) fn receive(&mut self, bytes: &[u8]) -> Result<Vec<Vec<u8>>, String> {
        self.incoming.extend_from_slice(bytes);
        let (mut whole, mut at) = (Vec::new(), 0);
        while let Some(len) = frame(&self.incoming[at..])? {
            whole.push(self.incoming[at..at + len].to_vec());
            at += len;
        }
        self.incoming.drain(..at);
        Ok(whole)
    }

    /// Gives a reply to the request that has waited longest; which one that is.
    pub(crate) fn answer(
        &mut self,
        reply: Vec<u8>,
        log: &mut ClientLog,
        moment: Moment,
        now: Millis,
    ) -> Result<usize, String> {
        let Some(number) = self.waiting.pop_front() else {
            return Err(format!("client {} is answered unasked: {}", log.id, reply.escape_ascii()));
        };
        let call = &mut log.calls[number];
        if call.sent.is_none() {
            return Err(format!(
                "client {} #{number} is answered before it was sent: {}",
                log.id,
                reply.escape_ascii()
            ));
        }
        self.session.answered(call.name(), &reply);
        call.answered = Some(moment);
        call.answered_ms = now;
        call.reply = reply;
        if let Some(scan) = &mut self.scan
            && call.scan == Some(scan.iteration)
        {
            let next = frames::items(&call.reply).and_then(|items| frames::text(items.first()?).map(<[u8]>::to_vec));
            scan.cursor = next.filter(|cursor| cursor != b"0");
            if scan.cursor.is_none() {
                self.scan = None;
            }
        }
        Ok(number)
    }

    /// The server has closed the connection.
    pub(crate) fn closed(&mut self, log: &ClientLog) -> Result<(), String> {
        // Whoever hangs up while he waits hears no more, nor does what stands behind the wait run.
        if self.end == End::HalfClosed && waits(log).next().is_some() {
            self.end = End::Lost;
            return Ok(());
        }
        let asked = self.session.has_quit || self.end == End::HalfClosed;
        let answered = self.waiting.is_empty() && self.incoming.is_empty();
        self.end = End::Over;
        match (asked, answered) {
            (false, _) => Err(format!("client at {} was closed without asking for it", self.place)),
            (_, false) => Err(format!("client at {} was closed with #{:?} unanswered", self.place, self.waits_for())),
            _ => Ok(()),
        }
    }

    pub(crate) fn lose(&mut self) {
        self.end = End::Lost;
    }
}

/// Requests that may be waiting: sent, and not answered.
pub(crate) fn waits(log: &ClientLog) -> impl Iterator<Item = &Call> {
    log.calls.iter().filter(|call| call.may_wait() && call.sent.is_some() && call.answered.is_none())
}

/// Multibulk mostly; inline now and then, where the words allow it.
fn form(words: &[Vec<u8>], rng: &mut Rng) -> Vec<u8> {
    let plain = |word: &Vec<u8>| !word.is_empty() && word.iter().all(u8::is_ascii_alphanumeric);
    if rng.one_in(12) && words.iter().all(plain) {
        let mut line = words.join(&b' ');
        line.extend_from_slice(b"\r\n");
        return line;
    }
    encode(words)
}
