//! The definition of a workload, as bench/definitions/*.toml has it and every record repeats it.
//!
//! A command is given as words (`words.rs` lists the placeholders) and the reply that must come (`wire/expect.rs`). Without
//! commands of its own a workload is GET and SET by `set_ratio`. Neither keys nor values contain a `*`, on which the floor relies.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::keys::Distribution;
use super::sizes::{SizeClass, Sizes};
use crate::load::disturbance::Disturbance;
use crate::schedule::{Arrivals, Phase};
use crate::wire::piece::decimal_digits;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Workload {
    pub(crate) name: String,
    pub(crate) about: String,
    pub(crate) connections: u32,
    pub(crate) keys: u32,
    pub(crate) key_bytes: usize,
    pub(crate) value_bytes: usize,
    /// Classes of sizes instead of the one of `value_bytes`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) value: Vec<SizeClass>,
    pub(crate) set_ratio: f64,
    pub(crate) distribution: Distribution,
    pub(crate) zipf_skew: f64,
    /// Distribution `hot`: this part of the keys gets `hot_share` of the requests.
    pub(crate) hot_keys: f64,
    pub(crate) hot_share: f64,
    /// Bounds of `{ttl}`.
    pub(crate) ttl_seconds: [u32; 2],
    /// Churn: a connection is closed and made anew after so many requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) requests_per_connection: Option<u32>,
    /// Closed loops that `compare` runs, one after the other: requests sent together on a connection.
    pub(crate) depths: Vec<u32>,
    /// Open loops that `compare` runs: requests per second.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) rates: Vec<u32>,
    pub(crate) arrivals: Arrivals,
    /// Requests that start at one moment, if `arrivals` is `burst`.
    pub(crate) burst: u32,
    /// The course of an open loop's rate, as multiples of it; again from the start after the last.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) phase: Vec<Phase>,
    pub(crate) rounds: u32,
    pub(crate) seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) fill: Option<Step>,
    pub(crate) command: Vec<Command>,
    /// What else happens on the server during a run.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) disturbance: Vec<Disturbance>,
}

/// A request and what must come back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Step {
    pub(crate) request: Vec<String>,
    pub(crate) reply: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Command {
    pub(crate) weight: f64,
    pub(crate) request: Vec<String>,
    pub(crate) reply: String,
    /// Requests sent together with the first one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) then: Vec<Step>,
}

impl Command {
    pub(crate) fn of(weight: f64, reply: &str, words: &[&str]) -> Self {
        let request = words.iter().map(|word| (*word).to_owned()).collect();
        Self { weight, request, reply: reply.to_owned(), then: Vec::new() }
    }

    pub(crate) fn steps(&self) -> Vec<Step> {
        let first = Step { request: self.request.clone(), reply: self.reply.clone() };
        std::iter::once(first).chain(self.then.iter().cloned()).collect()
    }
}

impl Default for Workload {
    fn default() -> Self {
        Self {
            name: "get-set".to_owned(),
            about: String::new(),
            connections: 50,
            keys: 100_000,
            key_bytes: 16,
            value_bytes: 64,
            value: Vec::new(),
            set_ratio: 0.1,
            distribution: Distribution::Uniform,
            zipf_skew: 0.99,
            hot_keys: 0.01,
            hot_share: 0.9,
            ttl_seconds: [3600, 3600],
            requests_per_connection: None,
            depths: vec![1, 16, 64],
            rates: Vec::new(),
            arrivals: Arrivals::Poisson,
            burst: 1,
            phase: Vec::new(),
            rounds: 5,
            seconds: 2.0,
            fill: None,
            command: Vec::new(),
            disturbance: Vec::new(),
        }
    }
}

const GET: [&str; 2] = ["GET", "{key}"];
const SET: [&str; 3] = ["SET", "{key}", "{value}"];

impl Workload {
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        toml::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))
    }

    /// Refuses what cannot be run, in words that say what to change.
    pub(crate) fn checked(self) -> Result<Self, String> {
        let digits = decimal_digits(self.keys.saturating_sub(1)) as usize;
        let is_share = |share: f64| share > 0.0 && share <= 1.0;
        let is_skew = self.zipf_skew > 0.0 && self.zipf_skew < 1.0;
        let refusals = [
            (self.keys == 0 || self.connections == 0, "keys and connections must be at least 1".to_owned()),
            (self.key_bytes < digits, format!("{} keys need key_bytes of at least {digits}", self.keys)),
            (self.key_bytes > 250, "key_bytes are at most 250".to_owned()),
            (!(0.0..=1.0).contains(&self.set_ratio), "set_ratio is between 0 and 1".to_owned()),
            (self.depths.contains(&0), "depths are at least 1".to_owned()),
            (self.rates.contains(&0), "rates are at least 1".to_owned()),
            (self.depths.is_empty() && self.rates.is_empty(), "a workload needs depths or rates".to_owned()),
            (self.seconds.is_nan() || self.seconds <= 0.0, "seconds must be above 0".to_owned()),
            (
                !is_share(self.hot_keys) || !is_share(self.hot_share),
                "hot_keys and hot_share are above 0, at most 1".to_owned(),
            ),
            (!is_skew, "zipf_skew is above 0 and below 1".to_owned()),
            (self.ttl_seconds[0] > self.ttl_seconds[1], "ttl_seconds are [least, most]".to_owned()),
            (
                self.burst == 0 || self.requests_per_connection == Some(0),
                "burst and requests_per_connection are at least 1".to_owned(),
            ),
            (
                self.phase.iter().any(|phase| !phase.is_sound()),
                "a phase lasts longer than 0 s at rates of 0 or more, not all 0".to_owned(),
            ),
        ];
        match refusals.into_iter().find(|(refused, _)| *refused) {
            Some((_, why)) => Err(why),
            None => self.sizes().map(|_| self),
        }
    }

    pub(crate) fn sizes(&self) -> Result<Sizes, String> {
        match &self.value[..] {
            [] => {
                u32::try_from(self.value_bytes).map(Sizes::fixed).map_err(|_| "value_bytes are below 4 GiB".to_owned())
            }
            classes => Sizes::of_classes(classes),
        }
    }

    pub(crate) fn commands(&self) -> Vec<Command> {
        if !self.command.is_empty() {
            return self.command.clone();
        }
        let both = [Command::of(1.0 - self.set_ratio, "value", &GET), Command::of(self.set_ratio, "+OK", &SET)];
        both.into_iter().filter(|command| command.weight > 0.0).collect()
    }

    pub(crate) fn filling(&self) -> Command {
        match &self.fill {
            Some(step) => {
                Command { weight: 1.0, request: step.request.clone(), reply: step.reply.clone(), then: Vec::new() }
            }
            None => Command::of(1.0, "+OK", &SET),
        }
    }
}
