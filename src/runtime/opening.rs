//! From a journal's directory that is ours to what each lane begins with. The keeper does it while the lanes answer with -LOADING.
//!
//! ```text
//!  new      sums up what is there            before anything listens
//!  perform  Archive::open: survey, cut, new files, manifest
//!           regroup::load: what another number of lanes has written
//! ```

use super::archive::{Archive, LaneFiles, Opened, Refusal, Wish};
use super::loading::Together;
use super::log::{Level, say};
use super::regroup;
use crate::base::lanes::Lanes;
use crate::shard::{Moving, Shard, ShardId};

pub(super) struct Opening {
    archive: Archive,
    wish: Wish,
    together: Together,
    /// A shard without a journal, one of so many lanes.
    make_shard: Box<dyn Fn(ShardId, Lanes) -> Shard + Send + Sync>,
}

/// What one lane begins with.
#[derive(Debug)]
pub(super) struct Beginning {
    pub(super) files: LaneFiles,
    /// Bytes of files that hold what is before.
    pub(super) held_bytes: u64,
    /// Another number of lanes wrote them.
    pub(super) is_foreign: bool,
    /// Its keys of those.
    pub(super) moving: Moving,
}

impl Opening {
    pub(super) fn new(
        archive: Archive,
        wish: Wish,
        together: Together,
        make_shard: Box<dyn Fn(ShardId, Lanes) -> Shard + Send + Sync>,
    ) -> Self {
        together.expect(archive.bytes());
        Self { archive, wish, together, make_shard }
    }

    /// For each lane.
    pub(super) fn perform(self) -> Result<(Archive, Vec<Beginning>), Refusal> {
        let Self { archive, wish, together, make_shard } = self;
        let Opened { archive, lanes: files, apart: groups } = archive.open(&wish)?;
        let own_bytes = |files: &LaneFiles| files.load.iter().map(|part| part.bytes).sum::<u64>();
        let foreign = groups.iter().flat_map(|group| group.streams.iter().flatten());
        let foreign_bytes: u64 = foreign.map(|part| part.bytes).sum();
        together.expect(foreign_bytes + files.iter().map(own_bytes).sum::<u64>());
        let (lanes, is_foreign) = (Lanes::new(wish.lanes), !groups.is_empty());
        if is_foreign {
            say(Level::Notice, "The journal was written by another number of lanes: it will be rewritten for these");
        }
        let moving = regroup::load(groups, lanes, &together, make_shard)?;
        let mut moving = moving.into_iter();
        let begin = |files: LaneFiles| Beginning {
            held_bytes: own_bytes(&files) + foreign_bytes / u64::from(wish.lanes),
            is_foreign,
            moving: moving.next().unwrap_or_default(),
            files,
        };
        Ok((archive, files.into_iter().map(begin).collect()))
    }
}
