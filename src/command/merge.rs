//! How the answers of several shards become one: Redis's published response policies, as functions over RESP.
//!
//! ```text
//!  MGET a b c    lane 0: *2 [a][c]    lane 1: *1 [b]    in the order of the keys    *3 [a][b][c]
//!  DEL a b c     lane 0: :2           lane 1: :0        summed                      :2
//! ```
//!
//! An error of any shard is the answer. What shards say is read by `wire/walk.rs`; large values in it stay shared.

use super::Outcome;
use crate::base::rng::Rng;
use crate::wire::fault::Fault;
use crate::wire::output::Output;
use crate::wire::reply::Reply;
use crate::wire::walk::{self, Walk};

/// The answers of the shards that took part, in the order of the lanes.
pub struct Merging<'m> {
    pub parts: &'m [Output],
    /// For each key of the request, in order, the place of its shard among `parts`.
    pub owners: &'m [u16],
    pub rng: &'m mut Rng,
}

pub type MergeFn = fn(&mut Merging<'_>, &mut Reply<'_>) -> Outcome;

/// The first error if there is one, else what the first shard said.
pub fn all_succeeded(merging: &mut Merging<'_>, reply: &mut Reply<'_>) -> Outcome {
    if let Some(first) = merging.parts.first() {
        reply.append_ref(first);
    }
    Ok(())
}

/// Integers, added up.
pub fn sum(merging: &mut Merging<'_>, reply: &mut Reply<'_>) -> Outcome {
    reply.int(merging.parts.iter().filter_map(walk::integer).sum());
    Ok(())
}

/// Elements of arrays, in the order of the keys.
pub fn key_order(merging: &mut Merging<'_>, reply: &mut Reply<'_>) -> Outcome {
    let mut walks: Vec<Walk<'_>> = merging.parts.iter().map(Walk::into_array).collect();
    reply.array(merging.owners.len());
    for owner in merging.owners {
        let element = walks[usize::from(*owner)].next();
        element.expect("a shard answers each of its keys").copy_to(reply);
    }
    Ok(())
}

/// Elements of arrays, those of the first shard first.
pub fn concat(merging: &mut Merging<'_>, reply: &mut Reply<'_>) -> Outcome {
    let walks: Vec<Walk<'_>> = merging.parts.iter().map(Walk::into_array).collect();
    reply.array(walks.iter().map(Walk::len).sum());
    walks.into_iter().for_each(|walk| walk.rest().copy_to(reply));
    Ok(())
}

/// CLIENT KILL: how many each shard killed; or, of an address, the OK of the one that knew it.
pub fn killed(merging: &mut Merging<'_>, reply: &mut Reply<'_>) -> Outcome {
    if merging.parts.iter().all(|part| walk::integer(part).is_some()) {
        return sum(merging, reply);
    }
    let knew = merging.parts.iter().find(|part| !walk::is_null(part));
    reply.append_ref(knew.ok_or(Fault::Fixed("ERR No such client"))?);
    Ok(())
}

/// Bulks or verbatim texts, one after the other.
pub fn lines(merging: &mut Merging<'_>, reply: &mut Reply<'_>) -> Outcome {
    let text: Vec<u8> = merging.parts.iter().flat_map(walk::text).collect();
    reply.verbatim("txt", &text);
    Ok(())
}

/// `[keys, key or null]` of each shard: one of the keys, each of the whole keyspace as likely as any other.
pub fn weighted_pick(merging: &mut Merging<'_>, reply: &mut Reply<'_>) -> Outcome {
    let picks: Vec<(u64, walk::Element<'_>)> = merging
        .parts
        .iter()
        .filter_map(|part| {
            let mut walk = Walk::into_array(part);
            let keys = u64::try_from(walk.next()?.integer()?).ok()?;
            let key = walk.next()?;
            (!key.is_null()).then_some((keys, key))
        })
        .collect();
    let total: u64 = picks.iter().map(|(keys, _)| keys).sum();
    if total == 0 {
        reply.null();
        return Ok(());
    }
    let mut at = merging.rng.below(total);
    for (keys, key) in picks {
        if at < keys {
            key.copy_to(reply);
            break;
        }
        at -= keys;
    }
    Ok(())
}
