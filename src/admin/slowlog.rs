//! SLOWLOG's record: the latest requests that took long, each where the connection is that sent it.
//!
//! ```text
//!  lane 0   [6][4][0]   newest first; of n lanes lane i numbers its entries i, i + n, i + 2n, so that no two are alike
//!  lane 1   [5][3][1]   SLOWLOG GET merges them by time; so the newest `slowlog-max-len` of all are among those that the lanes keep
//! ```
//!
//! Of a request over several lanes each lane's share is an entry of its own, in the words of that share: what held a lane, and how long. Where
//! all have the same words (KEYS, FLUSHALL) they are one entry, with the longest.

use std::collections::VecDeque;
use std::net::SocketAddr;

use crate::wire::request::Request;

/// Kept of a request, as in Redis: so many words, and of each so many bytes.
pub const WORDS_MAX: usize = 32;
pub const WORD_BYTES_MAX: usize = 128;

#[derive(Clone, Debug)]
pub struct Entry {
    pub id: u64,
    /// When it was noted.
    pub unix_us: u64,
    pub took_ns: u64,
    /// Clipped, secrets left out.
    pub request: Request,
    /// Of the client; none if it was gone when this came to be known.
    pub peer: Option<SocketAddr>,
    pub name: Box<[u8]>,
    /// CLIENT ID and the number of the request, if other lanes may have a share in it.
    pub share_of: Option<(u64, u32)>,
}

impl Entry {
    fn is_of_one_with(&self, other: &Self) -> bool {
        self.share_of.is_some()
            && self.share_of == other.share_of
            && self.request.args().iter().eq(other.request.args().iter())
    }
}

#[derive(Debug, Default)]
pub struct Slowlog {
    /// Whatever takes so long is noted; `u64::MAX`: nothing.
    pub threshold_ns: u64,
    pub len_max: usize,
    entries: VecDeque<Entry>,
    noted: u64,
}

impl Slowlog {
    pub fn is_on(&self) -> bool {
        self.threshold_ns < u64::MAX
    }

    /// Whether calls of constant time have to be timed, too: those that are slow at all take some microseconds.
    pub fn is_fine(&self) -> bool {
        self.threshold_ns < FINE_NS
    }

    /// `slowlog-log-slower-than` in microseconds and `slowlog-max-len`.
    pub fn follow(&mut self, slower_than_us: i64, len_max: i64) {
        self.threshold_ns = u64::try_from(slower_than_us).map_or(u64::MAX, |us| us.saturating_mul(1000));
        self.len_max = usize::try_from(len_max).unwrap_or(0);
    }

    /// Keeps an entry as the newest and gives it its number, on this one of so many lanes.
    pub fn keep(&mut self, entry: Entry, lane: u16, lanes: u16) {
        if let Some(known) = self.entries.iter_mut().take(SHARES_NEAR).find(|known| known.is_of_one_with(&entry)) {
            known.took_ns = known.took_ns.max(entry.took_ns);
            return;
        }
        let id = self.noted * u64::from(lanes) + u64::from(lane);
        self.noted += 1;
        self.entries.push_front(Entry { id, ..entry });
        self.entries.truncate(self.len_max);
    }

    /// Newest first.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = &Entry> {
        self.entries.iter()
    }

    pub fn reset(&mut self) {
        self.entries.clear();
    }
}

/// Shares of one request are noted one soon after the other: among so many the first is looked for.
const SHARES_NEAR: usize = 64;

/// A call of constant time that takes a millisecond was held up by the machine, not by itself.
const FINE_NS: u64 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(took_ns: u64) -> Entry {
        let request = [&b"keys"[..]].into_iter().collect();
        Entry { id: 0, unix_us: 1, took_ns, request, peer: None, name: Box::default(), share_of: None }
    }

    #[test]
    fn the_newest_are_kept_and_numbered_by_lane() {
        let mut log = Slowlog { len_max: 3, ..Slowlog::default() };
        (0..5).for_each(|us| log.keep(entry(us), 1, 2));
        assert_eq!(log.entries().map(|entry| (entry.id, entry.took_ns)).collect::<Vec<_>>(), [(9, 4), (7, 3), (5, 2)]);
        log.reset();
        log.keep(entry(7), 1, 2);
        assert_eq!(log.entries().map(|entry| entry.id).collect::<Vec<_>>(), [11], "numbers go on");
    }

    #[test]
    fn equal_shares_of_a_request_are_one_entry() {
        let mut log = Slowlog { len_max: 9, ..Slowlog::default() };
        let share = |number, word: &'static [u8], took_ns| {
            let request = [&b"del"[..], word].into_iter().collect();
            Entry { request, share_of: Some((7, number)), ..entry(took_ns) }
        };
        [share(1, b"a", 20), share(1, b"a", 30), share(1, b"b", 10), share(2, b"a", 5), share(1, b"a", 9)]
            .into_iter()
            .for_each(|entry| log.keep(entry, 0, 3));
        assert_eq!(log.entries().map(|entry| entry.took_ns).collect::<Vec<_>>(), [5, 10, 30]);
    }

    #[test]
    fn the_threshold_follows_its_option() {
        let mut log = Slowlog::default();
        for (slower_than_us, on, fine) in
            [(-1, false, false), (0, true, true), (999, true, true), (10_000, true, false)]
        {
            log.follow(slower_than_us, 128);
            assert_eq!((log.is_on(), log.is_fine()), (on, fine), "{slower_than_us}");
        }
        log.follow(i64::MAX, 0);
        log.keep(entry(1), 0, 1);
        assert_eq!(log.entries().len(), 0);
    }
}
