//! Random choices: SPOP and SRANDMEMBER. Every choice is exactly fair, since a set finds its n-th member.
//!
//! ```text
//!  SPOP key              one member goes
//!  SPOP key n            n different ones, one after the other           journalled: SREM of those that were chosen
//!                        n is many: the same of a clone, in steps, which then takes the place of what it was taken from
//!                        n is all of them, or more: the value as a whole             DEL
//!  SRANDMEMBER key -n    n draws, of which some may be the same
//!  SRANDMEMBER key n     n different ones: few of many   draws, what comes again does not count
//!                                          many          each member in turn, with the chance that is left to it (Knuth's
//!                                                        algorithm S, The Art of Computer Programming 3.4.2)
//! ```
//!
//! SRANDMEMBER works on a clone of the root, in steps: its choice is of one moment. What SPOP of a whole set answers, it walks when it is no longer
//! in the keyspace. Nobody sees a part of an SPOP of many: its key is held from the first step to the last (`shard/visit.rs`).

use super::caller::{Key, answer_value};
use super::numbers::integer;
use super::set::{Found, Walk};
use super::sliced::{Job, Pieces};
use super::staged::{Cargo, Flow, On, Stage};
use super::{Command, Ctx, Flags, Group, Keys, Log, Run};
use crate::base::ascii::{I64_TEXT_MAX, format_u64, parse_i64};
use crate::base::hash::HashKey;
use crate::base::limits;
use crate::base::rng::Rng;
use crate::persist::record;
use crate::store::event::Event;
use crate::store::journal::Over;
use crate::store::keyspace::Graveyard;
use crate::store::restate::Statement;
use crate::types::set::{Limits, Set};
use crate::types::{Object, Progress};
use crate::wire::fault::Fault;
use crate::wire::reply::Reply;
use crate::wire::request::Args;

const ROW: Command = Command {
    group: Group::Set,
    since: "1.0.0",
    complexity: "O(1) without a count, O(N) where N is the count",
    tips: &["nondeterministic_output"],
    ..Command::ROW
};

pub const ROWS: &[Command] = &[
    Command {
        name: "spop",
        syntax: "SPOP key [count]",
        arity: -2,
        keys: Keys::one(Keys::TAKE),
        flags: Flags::WRITE.and(Flags::FAST),
        summary: "Removes members at random and answers them, each choice as likely as any other.",
        log: Log::Effect,
        run: Run::Staged(&[Stage { on: On::Key(1), run: spop }]),
        ..ROW
    },
    Command {
        name: "srandmember",
        syntax: "SRANDMEMBER key [count]",
        arity: -2,
        keys: Keys::one(Keys::READ),
        flags: Flags::READONLY,
        summary: "Answers members at random, each choice as likely as any other.",
        run: Run::Staged(&[Stage { on: On::Key(1), run: srandmember }]),
        ..ROW
    },
];

fn spop(ctx: &mut Ctx<'_>, args: Args<'_>, _: &mut Cargo, reply: &mut Reply<'_>) -> Result<Flow, Fault> {
    let key = ctx.first(args);
    let wanted = match args.len() {
        2 => None,
        // Not even a number: Redis says the same of it.
        3 => Some(
            parse_i64(args.at(2)).and_then(|count| usize::try_from(count).ok()).ok_or(Fault::NotPositive("value"))?,
        ),
        _ => return Err(Fault::Syntax),
    };
    let held = ctx.old_set(key)?.map_or(0, |(set, _)| set.len());
    match wanted {
        None if held == 0 => reply.null(),
        None => pop(ctx, key, 1, reply),
        Some(0) => reply.set(0),
        Some(_) if held == 0 => reply.set(0),
        Some(count) if count >= held => return Ok(pop_all(ctx, key)),
        Some(count) if count > ctx.store.strides.pops_at_once => return Popping::start(ctx, key, count),
        Some(count) => {
            reply.set(count);
            pop(ctx, key, count, reply);
        }
    }
    Ok(Flow::Done)
}

/// Removes `count` members of a set that has so many.
fn pop(ctx: &mut Ctx<'_>, key: Key<'_>, count: usize, reply: &mut Reply<'_>) {
    let (mut rng, hasher) = (ctx.dice(), ctx.store.hash_key);
    let mut statement = ctx.store.effects.recording.then(|| Statement::of(&[b"SREM", key.bytes]));
    ctx.take_members(key, Event::SPOP, |set, displaced| {
        for _ in 0..count {
            let index = rng.place(set.len());
            set.take_nth(index, &hasher, displaced, |member| {
                if let Some(statement) = &mut statement {
                    statement.say(member);
                }
                answer_value(member, reply);
            });
        }
        count
    });
    if let Some(statement) = statement {
        ctx.store.effects.state_all(ctx.db, &statement);
    }
}

/// Takes the whole set, which is answered while nobody has it any more.
fn pop_all(ctx: &mut Ctx<'_>, key: Key<'_>) -> Flow {
    let entry = ctx.store.take(ctx.db, key, ctx.now).expect("the caller has found it");
    let Some(Object::Set(set)) = entry.into_object().map(|object| *object) else {
        unreachable!("the caller has looked at the type")
    };
    ctx.happened(Event::SPOP, key);
    ctx.store.effects.also(ctx.db, Event::DEL, key);
    ctx.store.effects.state(ctx.db, &[b"DEL", key.bytes]);
    Flow::Job(Box::new(Walk::over(set)))
}

/// SPOP of many.
#[derive(Debug)]
struct Popping {
    key: Box<[u8]>,
    /// What is left of the set.
    set: Set,
    left: usize,
    rng: Rng,
    found: Found,
    /// The effect, as so many requests.
    records: Pieces,
    requests: usize,
}

impl Popping {
    fn start(ctx: &mut Ctx<'_>, key: Key<'_>, left: usize) -> Result<Flow, Fault> {
        let rng = ctx.dice();
        let set = ctx.old_set(key)?.map(|(set, _)| set.clone()).unwrap_or_default();
        let (key, found, records) = (key.bytes.into(), Found::within(&set), Pieces::default());
        Ok(Flow::Job(Box::new(Self { key, set, left, rng, found, records, requests: 0 })))
    }

    fn pop(&mut self, ctx: &mut Ctx<'_>) {
        let (hasher, mut displaced) = (ctx.store.hash_key, Vec::new());
        let mut statement = ctx.store.effects.recording.then(|| Statement::of(&[b"SREM", &self.key]));
        let Self { set, rng, found, left, .. } = self;
        for _ in 0..found.stride(ctx.store.strides.pops).min(*left) {
            set.take_nth(rng.place(set.len()), &hasher, &mut displaced, |member| {
                if let Some(statement) = &mut statement {
                    statement.say(member);
                }
                found.push(member);
            });
            *left -= 1;
        }
        if let Some(Statement { request, longs }) = statement {
            record::put_long_effect(self.records.output(), ctx.db, longs.words_of(request.args()));
            self.requests += 1;
        }
        displaced.into_iter().for_each(|rope| ctx.store.graves.bury_object(Object::Rope(rope)));
    }
}

impl Job for Popping {
    fn step(&mut self, ctx: &mut Ctx<'_>, reply: &mut Reply<'_>) -> Result<Progress, Fault> {
        self.pop(ctx);
        self.found.cut();
        self.records.cut();
        if self.left > 0 {
            return Ok(Progress::More);
        }
        let key = ctx.key(&self.key);
        let records = std::mem::take(&mut self.records).into_output();
        ctx.store.effects.state_records(ctx.db, key, Over::Nothing, &records, self.requests);
        ctx.replace_set(key, Event::SPOP, std::mem::take(&mut self.set));
        reply.set(self.found.count);
        self.found.pour(reply);
        Ok(Progress::Done)
    }

    fn abandon(self: Box<Self>, graves: &mut Graveyard) {
        self.found.bury(graves);
        self.records.bury(graves);
        graves.bury_object(Object::Set(self.set));
    }
}

fn srandmember(ctx: &mut Ctx<'_>, args: Args<'_>, _: &mut Cargo, reply: &mut Reply<'_>) -> Result<Flow, Fault> {
    let key = ctx.first(args);
    let wanted = match args.len() {
        2 => None,
        3 => Some(integer(args.at(2))?),
        _ => return Err(Fault::Syntax),
    };
    if wanted == Some(i64::MIN) {
        return Err(Fault::Fixed(BEYOND_LONG));
    }
    let mut rng = ctx.dice();
    let (set, _) = match (ctx.set(key)?, wanted) {
        (Some(found), Some(_)) => found,
        (Some((set, _)), None) => {
            let member = set.nth(rng.place(set.len())).expect("a place below the length");
            answer_value(member, reply);
            return Ok(Flow::Done);
        }
        (None, None) => {
            reply.null();
            return Ok(Flow::Done);
        }
        (None, Some(_)) => {
            reply.array(0);
            return Ok(Flow::Done);
        }
    };
    let draw = Draw::new(set.clone(), wanted.unwrap_or_default(), rng)?;
    Ok(Flow::Job(Box::new(draw)))
}

const BEYOND_LONG: &str = "ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807";

impl Ctx<'_> {
    /// A generator for the choice of this command, which can be used while the store is being written.
    pub(super) fn dice(&mut self) -> Rng {
        self.store.dice.throw(&mut self.store.rng)
    }
}

/// Members being drawn from what a set held.
#[derive(Debug)]
struct Draw {
    set: Set,
    way: Way,
    rng: Rng,
    /// How many are still to come.
    left: usize,
    found: Found,
}

#[derive(Debug)]
enum Way {
    /// A member may come again.
    Again,
    /// One whose place is among these has come already.
    Once(Set),
    /// Each member in turn: up to the cursor so many have been looked at.
    InTurn { cursor: u64, seen: usize },
}

impl Draw {
    fn new(set: Set, wanted: i64, rng: Rng) -> Result<Self, Fault> {
        let count = usize::try_from(wanted.unsigned_abs()).unwrap_or(usize::MAX);
        if wanted < 0 && count > limits::DRAWS_MAX {
            return Err(Fault::OutOfRange);
        }
        let (way, left) = match wanted {
            ..0 => (Way::Again, count),
            // Up to a third it takes half as many draws again at most.
            _ if count < set.len() / 3 => (Way::Once(Set::default()), count),
            _ => (Way::InTurn { cursor: 0, seen: 0 }, count.min(set.len())),
        };
        Ok(Self { found: Found::within(&set), set, way, rng, left })
    }

    /// Draws about `budget` times.
    fn draw(&mut self, budget: usize, hasher: &HashKey) {
        let Self { set, rng, left, found, .. } = self;
        let stop = found.stop();
        match &mut self.way {
            Way::Again => {
                for _ in 0..budget.min(*left) {
                    found.push(set.nth(rng.place(set.len())).expect("a place below the length"));
                    *left -= 1;
                }
            }
            Way::Once(chosen) => {
                for _ in 0..budget {
                    if *left == 0 {
                        break;
                    }
                    let place = rng.place(set.len());
                    if chosen.add(format_u64(place as u64, &mut [0; I64_TEXT_MAX]), Limits::default(), hasher) {
                        found.push(set.nth(place).expect("a place below the length"));
                        *left -= 1;
                    }
                }
            }
            Way::InTurn { cursor, seen } => {
                *cursor = set.walk(*cursor, budget, stop, hasher, |member| {
                    if rng.place(set.len() - *seen) < *left {
                        found.push(member);
                        *left -= 1;
                    }
                    *seen += 1;
                });
            }
        }
    }
}

impl Job for Draw {
    fn step(&mut self, ctx: &mut Ctx<'_>, reply: &mut Reply<'_>) -> Result<Progress, Fault> {
        self.draw(self.found.stride(limits::DRAWS_PER_STEP), &ctx.store.hash_key);
        if self.left > 0 {
            self.found.cut();
            return Ok(Progress::More);
        }
        reply.array(self.found.count);
        self.found.pour(reply);
        self.bury(&mut ctx.store.graves);
        Ok(Progress::Done)
    }

    fn abandon(mut self: Box<Self>, graves: &mut Graveyard) {
        self.bury(graves);
        self.found.bury(graves);
    }
}

impl Draw {
    /// The clone may be the last holder of its nodes by now.
    fn bury(&mut self, graves: &mut Graveyard) {
        graves.bury_object(Object::Set(std::mem::take(&mut self.set)));
        if let Way::Once(chosen) = &mut self.way {
            graves.bury_object(Object::Set(std::mem::take(chosen)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    const MEMBERS: usize = 60;

    fn set() -> Set {
        let mut set = Set::default();
        (0..MEMBERS).for_each(|i| assert!(set.add(format!("m{i}").as_bytes(), Limits::default(), &hasher())));
        set.expect(1000, Limits::default(), &hasher());
        set
    }

    fn hasher() -> HashKey {
        HashKey::new([7, 11])
    }

    /// How often each member came in `rounds` draws of so many.
    fn drawn(wanted: i64, rounds: u64) -> BTreeMap<Vec<u8>, u32> {
        let (set, mut seen) = (set(), BTreeMap::new());
        for round in 0..rounds {
            let mut draw = Draw::new(set.clone(), wanted, Rng::new(round)).expect("in range");
            while draw.left > 0 {
                draw.draw(7, &hasher());
            }
            let mut output = crate::wire::output::Output::default();
            draw.found.pour(&mut Reply::new(&mut output, crate::wire::reply::Dialect::Resp2));
            let text = output.to_vec();
            let members: Vec<&[u8]> = text.split(|byte| *byte == b'\n').filter(|line| line.starts_with(b"m")).collect();
            assert_eq!((members.len(), draw.found.count), (draw.found.count, draw.found.count));
            let mut once = members.clone();
            once.sort_unstable();
            once.dedup();
            assert!(wanted < 0 || once.len() == members.len(), "{wanted}: one comes twice");
            members.iter().for_each(|member| *seen.entry(member.to_vec()).or_insert(0) += 1);
        }
        seen
    }

    /// Whichever way they are drawn.
    #[test]
    fn every_member_is_equally_likely() {
        for wanted in [-20, 1, 10, 19, 20, 40, 59] {
            const ROUNDS: u64 = 3000;
            let seen = drawn(wanted, ROUNDS);
            let total = f64::from(seen.values().sum::<u32>());
            assert_eq!(total, ROUNDS as f64 * wanted.unsigned_abs() as f64);
            let mean = total / MEMBERS as f64;
            let chi: f64 = seen.values().map(|&n| (f64::from(n) - mean).powi(2) / mean).sum();
            // 59 degrees of freedom: one in ten thousand exceeds 108; different members make it less.
            assert!(seen.len() == MEMBERS && chi < 108.0, "{wanted}: {chi}");
        }
        assert_eq!(drawn(60, 2).values().sum::<u32>(), 120);
        assert_eq!(drawn(i64::MAX, 1).len(), MEMBERS);
    }

    #[test]
    fn pairs_are_as_likely_as_their_members_say() {
        // Of four members two: six pairs.
        let mut set = Set::default();
        (0..4).for_each(|i| assert!(set.add(format!("m{i}").as_bytes(), Limits::default(), &hasher())));
        let mut seen = BTreeMap::new();
        for round in 0..6000 {
            let mut draw = Draw::new(set.clone(), 2, Rng::new(round)).expect("in range");
            while draw.left > 0 {
                draw.draw(1, &hasher());
            }
            let mut output = crate::wire::output::Output::default();
            draw.found.pour(&mut Reply::new(&mut output, crate::wire::reply::Dialect::Resp2));
            *seen.entry(output.to_vec()).or_insert(0u32) += 1;
        }
        let chi: f64 = seen.values().map(|&n| (f64::from(n) - 1000.0).powi(2) / 1000.0).sum();
        assert!(seen.len() == 6 && chi < 26.0, "{chi} with 5 degrees of freedom");
    }
}
