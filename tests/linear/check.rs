//! Whether a history has a legal order: one in which each operation takes effect at some point between its start and its end.
//!
//! ```text
//!  client 0   |--SET a 1--|        |--GET a: 2--|            next of each client: the only candidates
//!  client 1        |------INCR a: 2------|                   one may go if no other candidate ended before it began
//! ```
//!
//! A depth-first search over "how many operations of each client have gone, and what the store then holds", each such state visited once
//! (Wing and Gong 1993; Lowe 2017). Keys that no operation joins are searched apart. Each client does one thing at a time, so that a
//! state is one number for each client instead of a set of operations.

use std::collections::{BTreeMap, BTreeSet};

use super::history::{Key, Operation, Store};

/// `Err`: the longest way that was found, and the operations none of which can follow it.
pub(crate) fn check(clients: &[Vec<Operation>]) -> Result<(), String> {
    for keys in joined_keys(clients) {
        let concerned = |operation: &&Operation| operation.ask.keys().iter().any(|key| keys.contains(key));
        let part: Vec<Vec<&Operation>> =
            clients.iter().map(|client| client.iter().filter(concerned).collect()).collect();
        search(&part)?;
    }
    Ok(())
}

/// Groups of keys that some operation names together.
fn joined_keys(clients: &[Vec<Operation>]) -> Vec<BTreeSet<Key>> {
    let mut groups: Vec<BTreeSet<Key>> = Vec::new();
    for operation in clients.iter().flatten() {
        let mut joined: BTreeSet<Key> = operation.ask.keys().into_iter().collect();
        groups.retain(|group| {
            let meets = !group.is_disjoint(&joined);
            if meets {
                joined.extend(group);
            }
            !meets
        });
        groups.push(joined);
    }
    groups
}

type State = (Vec<usize>, Store);

fn search(clients: &[Vec<&Operation>]) -> Result<(), String> {
    let begin: State = (vec![0; clients.len()], BTreeMap::new());
    let mut seen = BTreeSet::from([begin.clone()]);
    let (mut open, mut furthest) = (vec![begin.clone()], begin);
    while let Some((gone, store)) = open.pop() {
        if gone.iter().zip(clients).all(|(gone, client)| *gone == client.len()) {
            return Ok(());
        }
        if gone.iter().sum::<usize>() > furthest.0.iter().sum::<usize>() {
            furthest = (gone.clone(), store.clone());
        }
        for (at, operation) in candidates(clients, &gone) {
            let mut next = (gone.clone(), store.clone());
            if operation.ask.apply(&mut next.1) == operation.told {
                next.0[at] += 1;
                if seen.insert(next.clone()) {
                    open.push(next);
                }
            }
        }
    }
    let stuck: Vec<String> =
        candidates(clients, &furthest.0).map(|(at, one)| format!("  client {at}: {one:?}")).collect();
    Err(format!("no order: with {:?} in the store none of these can follow\n{}", furthest.1, stuck.join("\n")))
}

/// The operations that may go next, with their clients.
fn candidates<'c>(clients: &'c [Vec<&'c Operation>], gone: &[usize]) -> impl Iterator<Item = (usize, &'c Operation)> {
    let next: Vec<(usize, &Operation)> = clients
        .iter()
        .zip(gone)
        .enumerate()
        .filter_map(|(at, (client, gone))| Some((at, *client.get(*gone)?)))
        .collect();
    let first_end = next.iter().map(|(_, operation)| operation.end).min().unwrap_or(u64::MAX);
    next.into_iter().filter(move |(_, operation)| operation.start <= first_end)
}
