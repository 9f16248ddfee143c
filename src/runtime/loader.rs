//! Loading: what a journal held goes back into the keyspace, a piece a turn, while clients are told to wait.
//!
//! ```text
//!  file -- READ_BYTES a turn --> Reader --> records up to where the lane's stream counts --> Shard::repeat
//! ```

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::archive::{Part, Refusal};
use super::survey::{damaged, unreadable};
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
    /// Which of the part's files that is.
    segment: usize,
    reader: Reader,
    part: Part,
    loaded_bytes: u64,
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
        let len = open.file.read(&mut self.buffer).map_err(|error| unreadable(open.path(), &error))?;
        let loaded_bytes = &self.together.loaded_bytes;
        let is_over = if len > 0 {
            loaded_bytes.fetch_add(len as u64, Ordering::Relaxed);
            open.take(&self.buffer[..len], shard)?;
            // What is behind it does not count.
            open.reader.position() >= open.part.to
        } else {
            !open.next_file()?
        };
        if is_over {
            loaded_bytes.fetch_add(open.part.bytes.saturating_sub(open.loaded_bytes), Ordering::Relaxed);
            return open.finish();
        }
        self.open = Some(open);
        Ok(())
    }
}

impl Open {
    fn new(part: Part) -> Result<Self, Refusal> {
        let path = &part.files[0];
        let file = File::open(path).map_err(|error| unreadable(path, &error))?;
        Ok(Self { file, segment: 0, reader: Reader::new(part.origin, part.from), part, loaded_bytes: 0 })
    }

    fn path(&self) -> &Path {
        &self.part.files[self.segment]
    }

    /// Goes on with the part's next file, if there is one.
    fn next_file(&mut self) -> Result<bool, Refusal> {
        let Some(path) = self.part.files.get(self.segment + 1) else { return Ok(false) };
        self.reader.next_segment().map_err(|damage| damaged(&self.part.files, &damage))?;
        self.file = File::open(path).map_err(|error| unreadable(path, &error))?;
        self.segment += 1;
        Ok(true)
    }

    fn take(&mut self, bytes: &[u8], shard: &mut Shard) -> Result<(), Refusal> {
        self.loaded_bytes += bytes.len() as u64;
        let (mut outcome, to) = (Ok(()), self.part.to);
        let fed = self.reader.feed(bytes, |found| {
            if found.end > to || outcome.is_err() {
                return;
            }
            if let Record::Effects(effects) | Record::Share(_, _, effects) = found.record {
                outcome = shard.repeat(effects).map_err(|what| (found.start, what));
            }
        });
        fed.map_err(|damage| damaged(&self.part.files, &damage))?;
        outcome.map_err(|(at, what)| {
            format!("{} holds at position {at} {what}: was it written by a newer version?", self.path().display())
        })
    }

    /// The file has no more: it must have held all that counts.
    fn finish(self) -> Result<(), Refusal> {
        let Self { reader, part, segment, .. } = self;
        let ending = reader.finish().map_err(|damage| damaged(&part.files, &damage))?;
        if ending.end < part.to && part.to != Position::MAX {
            return Err(format!(
                "{} ends at position {}, but the manifest says {}: restore the directory from a backup",
                part.files[segment].display(),
                ending.end,
                part.to
            ));
        }
        Ok(())
    }
}
