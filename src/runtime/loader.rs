//! Loading: what a journal held goes back into the keyspace, a piece a turn, while clients are told to wait.
//!
//! ```text
//!  file -- READ_BYTES a turn --> Reader --> records up to where the lane's stream counts --> Shard::repeat
//! ```

use std::fs::File;
use std::io::{self, Read as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::archive::{Part, Refusal};
use super::survey::damaged;
use crate::admin::journal::LoadingFacts;
use crate::base::time::Now;
use crate::persist::Position;
use crate::persist::record::Record;
use crate::persist::stream::Reader;
use crate::shard::Shard;

/// Bytes read in a turn: some hundred effects.
const READ_BYTES: usize = 32 << 10;

/// What lanes know of each other while they load.
#[derive(Clone, Debug)]
pub(super) struct Together {
    loading: Arc<AtomicUsize>,
    loaded_bytes: Arc<AtomicU64>,
    bytes: u64,
}

impl Together {
    /// So many lanes load so many bytes in all.
    pub(super) fn new(lanes: usize, bytes: u64) -> Self {
        Self { loading: Arc::new(AtomicUsize::new(lanes)), loaded_bytes: Arc::default(), bytes }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    More,
    /// All lanes have loaded all.
    Done,
}

pub(super) struct Loader {
    together: Together,
    /// The next is the last.
    parts: Vec<Part>,
    open: Option<Open>,
    buffer: Vec<u8>,
    started_s: Option<u64>,
    /// This lane has loaded its own.
    is_over: bool,
}

struct Open {
    file: File,
    reader: Reader,
    part: Part,
}

impl Loader {
    /// Loads these files in their order.
    pub(super) fn new(mut parts: Vec<Part>, together: Together) -> Self {
        parts.reverse();
        Self { together, parts, open: None, buffer: vec![0; READ_BYTES], started_s: None, is_over: false }
    }

    /// Loads the next piece.
    pub(super) fn step(&mut self, shard: &mut Shard, now: Now) -> Result<Progress, Refusal> {
        let started_s = *self.started_s.get_or_insert(now.unix_us / 1_000_000);
        if !self.is_over {
            self.load_some(shard)?;
            if self.open.is_none() && self.parts.is_empty() {
                self.is_over = true;
                self.together.loading.fetch_sub(1, Ordering::AcqRel);
            }
        }
        if self.together.loading.load(Ordering::Acquire) == 0 {
            shard.set_loading(None);
            return Ok(Progress::Done);
        }
        let loaded_bytes = self.together.loaded_bytes.load(Ordering::Relaxed);
        shard.set_loading(Some(LoadingFacts { started_s, bytes: self.together.bytes, loaded_bytes }));
        Ok(Progress::More)
    }

    fn load_some(&mut self, shard: &mut Shard) -> Result<(), Refusal> {
        let mut open = match self.open.take() {
            Some(open) => open,
            None => match self.parts.pop() {
                Some(part) => Open::new(part)?,
                None => return Ok(()),
            },
        };
        let failed = |open: &Open, error: io::Error| format!("cannot read {} ({error})", open.part.path.display());
        let len = open.file.read(&mut self.buffer).map_err(|error| failed(&open, error))?;
        if len == 0 {
            return open.finish();
        }
        self.together.loaded_bytes.fetch_add(len as u64, Ordering::Relaxed);
        open.take(&self.buffer[..len], shard)?;
        self.open = Some(open);
        Ok(())
    }
}

impl Open {
    fn new(part: Part) -> Result<Self, Refusal> {
        let file = File::open(&part.path);
        let file = file.map_err(|error| format!("cannot read {} ({error})", part.path.display()))?;
        Ok(Self { file, reader: Reader::new(part.origin, part.from), part })
    }

    fn take(&mut self, bytes: &[u8], shard: &mut Shard) -> Result<(), Refusal> {
        let (mut outcome, to) = (Ok(()), self.part.to);
        let fed = self.reader.feed(bytes, |found| {
            if found.end > to || outcome.is_err() {
                return;
            }
            if let Record::Effects(effects) | Record::Share(_, _, effects) = found.record {
                outcome = shard.repeat(effects).map_err(|what| (found.start, what));
            }
        });
        fed.map_err(|damage| damaged(&self.part.path, &damage))?;
        outcome.map_err(|(at, what)| {
            format!("{} holds at position {at} {what}: was it written by a newer version?", self.part.path.display())
        })
    }

    /// The file has no more: it must have held all that counts.
    fn finish(self) -> Result<(), Refusal> {
        let Self { reader, part, .. } = self;
        let ending = reader.finish().map_err(|damage| damaged(&part.path, &damage))?;
        if ending.end < part.to && part.to != Position::MAX {
            return Err(format!(
                "{} ends at position {}, but the manifest says {}: restore the directory from a backup",
                part.path.display(),
                ending.end,
                part.to
            ));
        }
        Ok(())
    }
}
