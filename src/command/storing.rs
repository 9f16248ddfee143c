//! Values that a command makes of others and puts under a key: SUNIONSTORE, ZRANGESTORE, SORT with STORE.
//!
//! ```text
//!  making    the row's own steps: the value grows outside of the keyspace
//!  stating   its effect, a slice of it a step; only where the request itself cannot be repeated, see below
//!  placing   one step: the key holds it, or is gone if it is empty; the reply is its size
//! ```
//!
//! Nobody sees a part of it: the key is held from the first step to the last (`shard/visit.rs`). *Effect*: if it was over in its first step
//! and all keys are of this lane, the request (`Log::Verbatim`), which gives the same when it is repeated. Else the sources may have changed
//! since they were read, or are others': then the value is stated, as requests that rebuild it.

use super::sliced::{Job, Pieces};
use super::staged::{Cargo, Flow};
use super::{Ctx, Key};
use crate::base::limits;
use crate::persist::record;
use crate::store::entry::{Entry, Fields, Kind, Value};
use crate::store::event::Event;
use crate::store::journal::Over;
use crate::store::keyspace::{Graveyard, Write};
use crate::store::restate::{Restatement, Statement};
use crate::types::{Object, Progress};
use crate::wire::fault::Fault;
use crate::wire::reply::Reply;

/// How a value is made, a bounded step after the other.
pub trait Making: std::fmt::Debug {
    /// # Errors
    /// The fault that becomes the reply; nothing is stored then.
    fn step(&mut self, ctx: &mut Ctx<'_>) -> Result<Progress, Fault>;

    /// What was made, when a step has said that it is done; `None` if it is empty. What it was made of is to be buried.
    fn finish(self: Box<Self>, graves: &mut Graveyard) -> Option<Made>;

    /// Nothing is to be made after all. What it was made of, and what there is of it, is to be buried.
    fn abandon(self: Box<Self>, graves: &mut Graveyard);
}

/// A value on its way to its key.
#[derive(Debug)]
pub struct Made {
    pub kind: Kind,
    pub object: Object,
    /// Its elements.
    pub len: usize,
}

/// A job that stores what `making` makes under a key. `event`: how that is told to those who watch it.
pub fn store(key: &[u8], making: Box<dyn Making>, event: Event, cargo: &Cargo) -> Flow {
    let state = State::Making(making);
    let effect = if cargo.apart { Effect::Value } else { Effect::Request };
    Flow::Job(Box::new(Storing { key: key.into(), event, effect, state }))
}

#[derive(Debug)]
struct Storing {
    key: Box<[u8]>,
    event: Event,
    effect: Effect,
    state: State,
}

/// What is stated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    Request,
    Value,
}

#[derive(Debug)]
enum State {
    Making(Box<dyn Making>),
    Stating(Made, Box<Statements>),
    Over,
}

/// A value as requests, as far as they are written.
#[derive(Debug)]
struct Statements {
    rest: Restatement,
    records: Pieces,
    count: usize,
}

impl Job for Storing {
    fn step(&mut self, ctx: &mut Ctx<'_>, reply: &mut Reply<'_>) -> Result<Progress, Fault> {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Making(mut making) => {
                match making.step(ctx) {
                    Ok(Progress::Done) => {}
                    Ok(Progress::More) => {
                        self.state = State::Making(making);
                        self.effect = Effect::Value;
                        return Ok(Progress::More);
                    }
                    Err(fault) => {
                        making.abandon(&mut ctx.store.graves);
                        return Err(fault);
                    }
                }
                let made = making.finish(&mut ctx.store.graves);
                if let Some(made) = made {
                    if self.effect == Effect::Value && ctx.store.effects.recording && is_large(&made) {
                        let rest = self.restatement(&made);
                        let statements = Box::new(Statements { rest, records: Pieces::default(), count: 0 });
                        self.state = State::Stating(made, statements);
                        return Ok(Progress::More);
                    }
                    self.place(ctx, made, None, reply);
                } else {
                    self.clear(ctx, reply);
                }
            }
            State::Stating(made, mut statements) => {
                if statements.step(ctx) == Progress::More {
                    self.state = State::Stating(made, statements);
                    return Ok(Progress::More);
                }
                self.place(ctx, made, Some(*statements), reply);
            }
            State::Over => unreachable!("a job that is done takes no step"),
        }
        Ok(Progress::Done)
    }

    fn abandon(self: Box<Self>, graves: &mut Graveyard) {
        match self.state {
            State::Making(making) => making.abandon(graves),
            State::Stating(made, statements) => {
                graves.bury_object(made.object);
                statements.records.bury(graves);
            }
            State::Over => {}
        }
    }
}

impl Storing {
    fn restatement(&self, made: &Made) -> Restatement {
        // The clone shares its nodes, and dies at once.
        let value = Value::Object(made.kind, Box::new(made.object.clone()));
        Restatement::of(Entry::new(&self.key, value, Fields::default()).view())
    }

    fn place(&self, ctx: &mut Ctx<'_>, made: Made, statements: Option<Statements>, reply: &mut Reply<'_>) {
        let key = ctx.key(&self.key);
        let over = if ctx.exists(key) { Over::Another } else { Over::Nothing };
        let Made { kind, object, len } = made;
        ctx.store.set(ctx.db, key, Value::Object(kind, Box::new(object)), Write::default(), ctx.now);
        ctx.happened(self.event, key);
        match statements {
            Some(Statements { records, count, .. }) => {
                ctx.store.effects.state_records(ctx.db, key, over, &records.into_output(), count);
            }
            None if self.effect == Effect::Value => ctx.state_value(key, over),
            None => {}
        }
        reply.count(len);
    }

    /// Nothing was made: nothing is there.
    fn clear(&self, ctx: &mut Ctx<'_>, reply: &mut Reply<'_>) {
        let key: Key<'_> = ctx.key(&self.key);
        if ctx.remove(key) && self.effect == Effect::Value {
            ctx.store.effects.state(ctx.db, &[b"DEL", key.bytes]);
        }
        reply.int(0);
    }
}

/// Whether stating it takes its time.
fn is_large(made: &Made) -> bool {
    made.len > limits::STATEMENTS_PER_STEP * limits::FIELDS_PER_STATEMENT
}

impl Statements {
    fn step(&mut self, ctx: &Ctx<'_>) -> Progress {
        for _ in 0..limits::STATEMENTS_PER_STEP {
            let Some(Statement { request, longs }) = self.rest.next(&ctx.store.hash_key) else { return Progress::Done };
            record::put_long_effect(self.records.output(), ctx.db, longs.words_of(request.args()));
            self.count += 1;
        }
        self.records.cut();
        Progress::More
    }
}
