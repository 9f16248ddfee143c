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
//! So an effect that concerns all keys of its lane (FLUSHALL) concerns the same ones as before. Each stream has a thread of its own. The lanes refuse
//! meanwhile with -LOADING.

use std::thread;

use super::archive::{Group, Part, Refusal};
use super::loader::{Loader, Step};
use super::loading::Together;
use crate::admin::journal::LoadingFacts;
use crate::base::lanes::Lanes;
use crate::base::time::Now;
use crate::shard::{Moving, Shard, ShardId};

/// What each of `lanes` lanes is to begin with. `make`: a shard without a journal, one of so many lanes.
pub(super) fn load(
    groups: Vec<Group>,
    lanes: Lanes,
    together: &Together,
    make: impl Fn(ShardId, Lanes) -> Shard + Sync,
) -> Result<Vec<Moving>, Refusal> {
    let mut nexts: Vec<Lanes> = groups.iter().skip(1).map(|group| group.lanes).collect();
    nexts.push(lanes);
    // By the lanes of the group; before the first there is nothing.
    let mut held: Vec<Moving> = Vec::new();
    for (Group { lanes, streams }, next) in groups.into_iter().zip(nexts) {
        held.resize_with(lanes.count().into(), Moving::default);
        let begins = lanes.all().zip(streams).zip(held);
        let repeated: Vec<Result<Vec<Moving>, Refusal>> = thread::scope(|scope| {
            let make = &make;
            let start =
                |((lane, parts), moving)| scope.spawn(move || repeat(make(lane, lanes), moving, parts, next, together));
            let threads: Vec<_> = begins.map(start).collect();
            threads.into_iter().map(|thread| thread.join().expect("a panic ends the process")).collect()
        });
        held = next.all().map(|_| Moving::default()).collect();
        for handed in repeated {
            held.iter_mut().zip(handed?).for_each(|(held, more)| held.extend(more));
        }
    }
    Ok(held)
}

/// One stream, behind what its lane had before: all its keys by their next owners.
fn repeat(
    mut shard: Shard,
    mut moving: Moving,
    parts: Vec<Part>,
    next: Lanes,
    together: &Together,
) -> Result<Vec<Moving>, Refusal> {
    // As for a lane that loads, nothing expires by the clock; what dies is freed between the pieces, which are its turns.
    shard.set_loading(Some(LoadingFacts::default()));
    shard.adopt(&mut moving, usize::MAX);
    let (mut loader, mut now) = (Loader::new(parts), Now::default());
    loop {
        now.mono_ns += 1;
        shard.begin_turn(now);
        match loader.step(&mut shard, together)? {
            Step::Records(records) => thread::sleep(together.delay(records)),
            Step::Over => return Ok(shard.hand_over(next)),
        }
        shard.tick();
    }
}
