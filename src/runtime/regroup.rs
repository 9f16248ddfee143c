//! Loading a journal that another number of lanes has written: each of its streams is repeated by a shard of its own, as it was written,
//! and when all is there the keys go to the lanes that own them now, by pointer.
//!
//! ```text
//!  volumes of 1 lane      [0]                       all of it, then
//!                         keys by owner of 3 ---> [0][1][2]
//!  volumes of 3 lanes     [0][1][2]                 all of it, then
//!                         keys by owner of 2 ---> [0][1]          the lanes of this server
//! ```
//!
//! So an effect that concerns all keys of its lane (FLUSHALL) concerns the same ones as before. Nobody is served meanwhile.

use super::archive::{Group, Refusal};
use super::loader::{Loader, Progress, Together};
use crate::base::lanes::Lanes;
use crate::base::time::Now;
use crate::shard::{Moving, Shard, ShardId};

/// What each of `lanes` lanes is to begin with. `make`: a shard without a journal, one of so many lanes.
pub(super) fn load(
    groups: Vec<Group>,
    lanes: Lanes,
    make: impl Fn(ShardId, Lanes) -> Shard,
) -> Result<Vec<Moving>, Refusal> {
    let mut nexts: Vec<Lanes> = groups.iter().skip(1).map(|group| group.lanes).collect();
    nexts.push(lanes);
    // By the lanes of the next group; nothing before the first.
    let mut held: Vec<Moving> = Vec::new();
    for (Group { lanes, streams }, next) in groups.into_iter().zip(nexts) {
        let mut shards: Vec<Shard> = lanes.all().map(|lane| make(lane, lanes)).collect();
        shards.iter_mut().zip(held).for_each(|(shard, moving)| shard.adopt(moving));
        for (shard, parts) in shards.iter_mut().zip(streams) {
            let mut loader = Loader::new(parts, Together::new(1, 0));
            while loader.step(shard, Now::default())? == Progress::More {}
        }
        held = next.all().map(|_| Moving::default()).collect();
        for shard in shards {
            held.iter_mut().zip(shard.hand_over(next)).for_each(|(held, more)| held.extend(more));
        }
    }
    Ok(held)
}
