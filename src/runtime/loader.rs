//! Loading a lane's files: what they hold goes back into a keyspace, a piece at a time.
//!
//! ```text
//!  file -- READ_BYTES a step --> Reader --> records up to where the lane's stream counts --> Shard::repeat
//! ```

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use super::archive::{Part, Refusal};
use super::loading::Together;
use super::survey::{damaged, unreadable};
use crate::persist::Position;
use crate::persist::record::Record;
use crate::persist::stream::Reader;
use crate::shard::Shard;

/// Bytes read in a step: some hundred effects.
const READ_BYTES: usize = 32 << 10;

/// What came of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// So many were repeated.
    Records(u64),
    /// There is no more.
    Over,
}

pub(super) struct Loader {
    /// The next is the last.
    parts: Vec<Part>,
    open: Option<Open>,
    buffer: Vec<u8>,
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
    pub(super) fn new(mut parts: Vec<Part>) -> Self {
        parts.reverse();
        Self { parts, open: None, buffer: vec![0; READ_BYTES] }
    }

    /// Loads the next piece.
    pub(super) fn step(&mut self, shard: &mut Shard, together: &Together) -> Result<Step, Refusal> {
        let mut open = match self.open.take() {
            Some(open) => open,
            None => match self.parts.pop() {
                Some(part) => Open::new(part)?,
                None => return Ok(Step::Over),
            },
        };
        let len = open.file.read(&mut self.buffer).map_err(|error| unreadable(open.path(), &error))?;
        let (records, is_over) = if len > 0 {
            together.loaded(len as u64);
            let records = open.take(&self.buffer[..len], shard)?;
            // What is behind it does not count.
            (records, open.reader.position() >= open.part.to)
        } else {
            (0, !open.next_file()?)
        };
        if is_over {
            together.loaded(open.part.bytes.saturating_sub(open.loaded_bytes));
            open.finish()?;
        } else {
            self.open = Some(open);
        }
        Ok(Step::Records(records))
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

    /// Repeats what these bytes bring to its end; how many records.
    fn take(&mut self, bytes: &[u8], shard: &mut Shard) -> Result<u64, Refusal> {
        self.loaded_bytes += bytes.len() as u64;
        let (mut outcome, mut records, to) = (Ok(()), 0, self.part.to);
        let fed = self.reader.feed(bytes, |found| {
            if found.end > to || outcome.is_err() {
                return;
            }
            records += 1;
            if let Record::Effects(effects) | Record::Share(_, _, effects) = found.record {
                outcome = shard.repeat(effects).map_err(|what| (found.start, what));
            }
        });
        fed.map_err(|damage| damaged(&self.part.files, &damage))?;
        outcome.map(|()| records).map_err(|(at, what)| {
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
