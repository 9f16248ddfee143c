//! All judges in turn over a world that has come to rest.

use std::collections::BTreeMap;

use corelane::shard::Slicing;

use super::content::{audit, content, difference};
use super::footprint::queue;
use super::guarantee;
use super::log::CallId;
use super::oracle::Oracle;
use super::order::{Part, serial_order};
use super::waits;
use super::world::{World, shard};

/// What a run came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sum {
    pub(crate) lanes: usize,
    pub(crate) calls: usize,
    /// Requests that have a place in the order.
    pub(crate) placed: usize,
    pub(crate) on_several_lanes: usize,
    pub(crate) keys: usize,
    /// Requests that waited and were served.
    pub(crate) served: usize,
    /// Requests, or EXECs with their queues, that were worked off in slices.
    pub(crate) in_slices: usize,
}

/// Finds the one order, replays it, and compares everything there is.
pub(crate) fn judge(world: &World) -> Result<Sum, String> {
    let log = &world.log;
    let order = serial_order(log)?;
    // The oracle takes each request at once: its later turns are before all deadlines.
    let whole = Slicing { words_at_once_max: usize::MAX, ..Slicing::default() };
    let lone = shard(0, 1, world.seed, world.config(), whole, None);
    let mut oracle = Oracle::new(lone, log, &order);
    let lives = oracle.replay()?;
    guarantee::check(log, &order, &lives)?;
    waits::check(log)?;
    let at = world.latest();
    let mut lanes = BTreeMap::new();
    for (lane, shard) in world.shards().enumerate() {
        audit(shard).map_err(|why| format!("lane {lane}: {why}"))?;
        lanes.extend(content(shard, at));
    }
    if let Some(difference) = difference(&lanes, &content(&oracle.shard, at)) {
        return Err(difference);
    }
    Ok(Sum {
        lanes: log.runs.len(),
        calls: log.clients.iter().map(|client| client.calls.len()).sum(),
        placed: order.len(),
        on_several_lanes: order.iter().filter(|node| node.first != node.last).count(),
        keys: lanes.len(),
        served: order.iter().filter(|node| matches!(node.part, Part::Served(_))).count(),
        in_slices: order.iter().filter(|node| is_in_slices(world, node.call)).count(),
    })
}

fn is_in_slices(world: &World, id: CallId) -> bool {
    let call = world.log.call(id);
    let calls = &world.log.clients[id.client].calls;
    let words = match call.row {
        Some(row) if row.is_divisible(call.words.len()) => call.words.len(),
        Some(row) if row.name == "exec" => {
            queue(&world.log, id).into_iter().map(|(call, _)| calls[call].words.len()).sum()
        }
        _ => 0,
    };
    words > world.slicing.words_at_once_max
}
