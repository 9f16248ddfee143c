//! ACL LOG: what was denied lately, to whom. The same again within a minute is counted, not listed.
//!
//! A lane keeps what was denied on it; ACL LOG brings the lists of all lanes together ([`merged`]) as if there were one.

use std::collections::VecDeque;

use crate::base::limits;
use crate::base::time::{Millis, Now};

/// What was denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    Auth,
    Command,
    Key,
    Channel,
}

impl Reason {
    pub const ALL: [Self; 4] = [Self::Auth, Self::Command, Self::Key, Self::Channel];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::Command => "command",
            Self::Key => "key",
            Self::Channel => "channel",
        }
    }
}

/// Where it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Context {
    Toplevel,
    Multi,
}

impl Context {
    pub const ALL: [Self; 2] = [Self::Toplevel, Self::Multi];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Toplevel => "toplevel",
            Self::Multi => "multi",
        }
    }
}

/// What is noted of one denial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    pub reason: Reason,
    pub context: Context,
    /// The command, key or channel.
    pub object: Box<[u8]>,
    pub user: Box<[u8]>,
    /// As CLIENT LIST shows whoever asked.
    pub client: Box<[u8]>,
}

/// One or more of the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The latest of them.
    pub denial: Denial,
    pub count: u64,
    pub id: u64,
    pub created: Millis,
    pub updated: Millis,
    /// The same in microseconds, by which lists are ordered.
    pub updated_us: u64,
}

const SAME_MS_MAX: u64 = 60_000;
/// So many of the latest entries are looked at for the same, as in Redis.
const SAME_AMONG: usize = 10;

impl Entry {
    fn is_same(&self, denial: &Denial, at: Millis) -> bool {
        let (one, other) = (&self.denial, denial);
        one.reason == other.reason
            && one.context == other.context
            && one.object == other.object
            && one.user == other.user
            && at.since(self.updated).max(self.updated.since(at)) <= SAME_MS_MAX
    }
}

#[derive(Clone, Debug, Default)]
pub struct Log {
    /// The latest first.
    entries: VecDeque<Entry>,
    made: u64,
}

impl Log {
    /// Notes a denial; the list keeps so many entries at most. `lane` of `lanes`: numbers of entries are unique over all of them.
    pub fn note(&mut self, mut denial: Denial, now: Now, max: usize, (lane, lanes): (u16, u16)) {
        let (now, updated_us) = (now.millis(), now.unix_us);
        // What a client sends may be long, and stays for long.
        for text in [&mut denial.object, &mut denial.user] {
            if text.len() > limits::ACL_LOG_TEXT_BYTES_MAX {
                *text = text[..limits::ACL_LOG_TEXT_BYTES_MAX].into();
            }
        }
        let same = self.entries.iter().take(SAME_AMONG).position(|entry| entry.is_same(&denial, now));
        let entry = match same.and_then(|at| self.entries.remove(at)) {
            Some(old) => Entry { denial, count: old.count + 1, updated: now, updated_us, ..old },
            None => {
                let id = self.made * u64::from(lanes) + u64::from(lane);
                self.made += 1;
                Entry { denial, count: 1, id, created: now, updated: now, updated_us }
            }
        };
        self.entries.push_front(entry);
        self.entries.truncate(max);
    }

    /// Forgets all but the latest so many.
    pub fn truncate(&mut self, max: usize) {
        self.entries.truncate(max);
    }

    /// The latest first.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = &Entry> {
        self.entries.iter()
    }
}

/// The lists of several lanes as one, the latest first, the same among them as one entry.
pub fn merged(entries: Vec<Entry>) -> Vec<Entry> {
    let mut entries = entries;
    entries.sort_by_key(|entry| std::cmp::Reverse(entry.updated_us));
    let mut merged: Vec<Entry> = Vec::new();
    for entry in entries {
        match merged.iter_mut().find(|other| other.is_same(&entry.denial, entry.updated)) {
            Some(later) => {
                later.count += entry.count;
                if entry.created < later.created {
                    (later.created, later.id) = (entry.created, entry.id);
                }
            }
            None => merged.push(entry),
        }
    }
    merged
}
