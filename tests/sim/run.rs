//! A run from its seed to its verdict; a failing one is made shorter and told.
//!
//! ```text
//!  CORELANE_SIM_SEED=17 CORELANE_SIM_STEPS=900 cargo nextest run --test tests sim::one --no-capture     that one again, told in full
//!  tests/sim/long                                                                                       many, and a line about them
//! ```

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::judge::{Sum, judge};
use super::log::{Call, CallId};
use super::world::{Plan, World};

/// The last lines of a story that are shown.
const STORY_LINES: usize = 120;

/// What a passing run leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Passed {
    pub(crate) sum: Sum,
    /// Stands for all bytes of the run.
    pub(crate) digest: u64,
}

/// Runs a plan. A panic is a failure like any other.
pub(crate) fn run(plan: Plan) -> Result<Passed, String> {
    play(plan).map_err(|(why, _)| why)
}

/// As `run`; a failure is a panic with its story and the way to see it again.
pub(crate) fn must_pass(plan: Plan) -> Passed {
    match run(plan) {
        Ok(passed) => passed,
        Err(why) => panic!("{}", report(plan, &why)),
    }
}

fn play(plan: Plan) -> Result<Passed, (String, Vec<String>)> {
    let mut world = World::new(plan);
    let played = catch_unwind(AssertUnwindSafe(|| {
        world.run()?;
        judge(&world)
    }));
    let outcome = played.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(format!("a panic: {}", text.unwrap_or_default()))
    });
    match outcome {
        Ok(sum) => Ok(Passed { sum, digest: world.digest_now() }),
        Err(why) => Err((why + &about(&world), world.story().to_vec())),
    }
}

/// `CORELANE_SIM_ABOUT=' k0 '`: all requests whose description holds this text, or that are about everything, with when and where they ran.
fn about(world: &World) -> String {
    let Ok(word) = std::env::var("CORELANE_SIM_ABOUT") else { return String::new() };
    let concerns = |call: &Call, text: &str| {
        text.contains(&word) || matches!(call.name(), "exec" | "flushall" | "flushdb" | "swapdb")
    };
    let mut lines = Vec::new();
    for (client, calls) in world.log.clients.iter().enumerate() {
        for (number, call) in calls.calls.iter().enumerate() {
            let id = CallId { client, number };
            let text = world.log.describe(id);
            if !concerns(call, &text) {
                continue;
            }
            let ran = world.log.runs.iter().enumerate().flat_map(|(lane, runs)| {
                let of_it = runs.iter().filter(|(_, ran)| world.log.find(ran) == Some(id));
                of_it.map(move |(moment, ran)| format!(" {lane}@{}={}ms", moment.0, ran.now.0 % 1_000_000))
            });
            lines.push((call.sent, format!("{text} ran{}", ran.collect::<String>())));
        }
    }
    lines.sort();
    format!("\n\nabout {word}:\n{}", lines.into_iter().map(|(_, line)| line).collect::<Vec<_>>().join("\n"))
}

/// Shortens a failing run and tells it.
fn report(plan: Plan, why: &str) -> String {
    let short = shortest(plan);
    let told = play(Plan { tells: true, ..short });
    let (why_short, story) = told.err().unwrap_or_default();
    let shown = crate::sim::number_from_env("CORELANE_SIM_STORY").and_then(|lines| usize::try_from(lines).ok());
    let skipped = story.len().saturating_sub(shown.unwrap_or(STORY_LINES));
    format!(
        "{why}\n\nshortened to {} steps: {why_short}\n\n{skipped} lines before these:\n{}\n\nagain: CORELANE_SIM_SEED={} CORELANE_SIM_STEPS={} \
         CORELANE_SIM_LANES={} cargo nextest run --test tests sim::one --no-capture",
        short.steps,
        story[skipped..].join("\n"),
        plan.seed,
        short.steps,
        plan.lanes_max,
    )
}

/// The fewest steps, as far as halving finds them, after which the run fails.
fn shortest(plan: Plan) -> Plan {
    let (mut passes, mut fails) = (0, plan.steps);
    while fails - passes > 1 + fails / 50 {
        let steps = passes.midpoint(fails);
        if run(Plan { steps, ..plan }).is_err() { fails = steps } else { passes = steps }
    }
    Plan { steps: fails, ..plan }
}
