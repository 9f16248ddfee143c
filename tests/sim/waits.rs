//! What those who wait are promised beside a place in the order: the longest wait is served first, and only CLIENT UNBLOCK cuts one short.

use std::collections::BTreeMap;

use corelane::command::{Command, Run};
use corelane::store::entry::Kind;
use corelane::wire::request::Request;

use super::log::{Call, CallId, ClientLog, Log};

/// Checks all that waited.
pub(crate) fn check(log: &Log) -> Result<(), String> {
    (0..log.runs.len()).try_for_each(|lane| check_queues(log, lane))?;
    check_unblocked(log)
}

/// One that was served on a lane, and where among what ran there it began to wait and its wait ended.
struct Served {
    call: CallId,
    enrolled: usize,
    served: usize,
    word: usize,
}

/// Of two that wait for a key, and are both served on its lane, the one that came first is served first.
fn check_queues(log: &Log, lane: usize) -> Result<(), String> {
    let (mut enrolled, mut all) = (BTreeMap::new(), Vec::<Served>::new());
    for (place, (_, ran)) in log.runs[lane].iter().enumerate() {
        let Some(call) = log.find(ran).filter(|call| log.call(*call).may_wait()) else { continue };
        match ran.served {
            None => drop(enrolled.insert(call, place)),
            Some(word) => {
                let enrolled = *enrolled.get(&call).ok_or_else(|| format!("never enrolled: {}", log.describe(call)))?;
                all.push(Served { call, enrolled, served: place, word });
            }
        }
    }
    // Who waits for several keys is served from the first in its own order that holds something, whoever waits for that.
    for early in all.iter().filter(|early| awaited(log.call(early.call)).len() == 1) {
        let key = &log.call(early.call).words[early.word];
        let wants_it = |late: &&Served| {
            let call = log.call(late.call);
            let early = log.call(early.call);
            call.db == early.db && kind(call) == kind(early) && awaited(call).contains(key)
        };
        let overtaken =
            all.iter().filter(wants_it).find(|late| late.served > early.served && late.enrolled < early.enrolled);
        if let Some(late) = overtaken {
            return Err(format!("{}\n  was served before\n  {}", log.describe(early.call), log.describe(late.call)));
        }
    }
    Ok(())
}

/// What a request waits for.
fn kind(call: &Call) -> Option<Kind> {
    let Some(Command { run: Run::Blocking(way), .. }) = call.row else { return None };
    Some(way.awaits)
}

/// The keys that a request waits for.
fn awaited(call: &Call) -> Vec<Vec<u8>> {
    let Some(Command { keys, run: Run::Blocking(way), .. }) = call.row else { return Vec::new() };
    let request: Request = call.words.iter().map(Vec::as_slice).collect();
    way.awaited(*keys, request.args()).map(|word| call.words[word].clone()).collect()
}

/// Who is told to be unblocked was, and who is said to have unblocked somebody did.
fn check_unblocked(log: &Log) -> Result<(), String> {
    for (client, of_client) in log.clients.iter().enumerate() {
        for (number, call) in of_client.calls.iter().enumerate() {
            let id = CallId { client, number };
            let fits = match call.name() {
                "client|unblock" if call.reply == b":1\r\n" => target(log, call).is_some_and(|waiter| {
                    waiter.calls.iter().any(|waited| waited.may_wait() && overlap(waited, call) && was_cut(waited))
                }),
                _ if call.may_wait() && call.is_unblocked() => {
                    log.clients.iter().flat_map(|other| &other.calls).any(|other| {
                        let is_it = other.is("client|unblock") && other.reply != b":0\r\n";
                        // One from a queue runs with its EXEC.
                        is_it
                            && (other.is_queued || overlap(other, call))
                            && target(log, other).is_some_and(|it| it.id == of_client.id)
                    })
                }
                _ => true,
            };
            if !fits {
                return Err(format!("nothing else is known of it: {}", log.describe(id)));
            }
        }
    }
    Ok(())
}

/// What CLIENT UNBLOCK leaves of a wait; or its client has gone, or wants no replies.
fn was_cut(call: &Call) -> bool {
    call.answered.is_none() || call.is_unblocked() || super::frames::is_null(&call.reply) || call.reply == b":0\r\n"
}

fn target<'l>(log: &'l Log, unblock: &Call) -> Option<&'l ClientLog> {
    let id: u64 = std::str::from_utf8(unblock.words.get(2)?).ok()?.parse().ok()?;
    log.clients.iter().find(|client| client.id == id)
}

/// Whether both were under way at one moment.
fn overlap(one: &Call, other: &Call) -> bool {
    let begins_before_end = |one: &Call, other: &Call| {
        one.sent.is_some() && other.answered.is_none_or(|answered| one.sent.is_some_and(|sent| sent < answered))
    };
    begins_before_end(one, other) && begins_before_end(other, one)
}
