//! What else happens on a server while the load is steady: something large is freed, expires, is flushed, listed, saved.
//!
//! ```text
//!   fill, prepare ......... warm up ... | window: at 2 s DEL big | at 4 s everything below e: expires | ...
//!   `lead_seconds` from the first preparation to the window, so that a deadline can be prepared: {at_ms}
//! ```
//!
//! Placeholders: `{n}` counts the repetitions of a request from 0, `{at_ms}` is the moment of the disturbance in
//! milliseconds since 1970. A connection of its own does it; the report names the worst latency of each.

use serde::{Deserialize, Serialize};

use super::address::Address;
use super::client::{Client, append_command};
use crate::clock::{Clock, Nanos, nanos_of};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Disturbance {
    pub(crate) name: String,
    /// Seconds from the beginning of the window.
    pub(crate) at: f64,
    /// What happens by itself at that moment (an expiry) takes about so long.
    #[serde(default)]
    pub(crate) lasts: f64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) prepare: Vec<Batch>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) act: Vec<Batch>,
}

/// One request, so many times.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Batch {
    pub(crate) request: Vec<String>,
    #[serde(default = "once")]
    pub(crate) times: u32,
}

fn once() -> u32 {
    1
}

/// When a disturbance happened.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Happened {
    pub(crate) name: String,
    pub(crate) from: Nanos,
    pub(crate) until: Nanos,
}

/// From the first preparation to the beginning of the window.
pub(crate) const LEAD_SECONDS: f64 = 8.0;
/// Requests sent together by the one who disturbs.
const PIPELINE: u32 = 500;

pub(crate) struct Disturber<'a> {
    disturbances: &'a [Disturbance],
    client: Client,
    clock: Clock,
    /// The beginning of the window.
    window: Nanos,
    /// The same moment by the calendar, in milliseconds.
    window_ms: u64,
}

impl<'a> Disturber<'a> {
    pub(crate) fn connect(
        disturbances: &'a [Disturbance],
        address: &Address,
        clock: Clock,
        window: Nanos,
    ) -> Result<Self, String> {
        let socket = address.connect().map_err(|error| format!("connecting to {address}: {error}"))?;
        let ahead_ms = window.since(clock.now()) / 1_000_000;
        let window_ms = crate::clock::unix_ms() + ahead_ms;
        Ok(Self { disturbances, client: Client::over(socket), clock, window, window_ms })
    }

    pub(crate) fn prepare(&mut self) -> Result<(), String> {
        for disturbance in self.disturbances {
            for batch in &disturbance.prepare {
                self.send(batch, disturbance.at).map_err(|why| format!("preparing {}: {why}", disturbance.name))?;
            }
        }
        if self.clock.now() >= self.window {
            return Err(format!("preparing the disturbances took longer than {LEAD_SECONDS} s: make them smaller"));
        }
        Ok(())
    }

    /// Does them all, each at its moment.
    pub(crate) fn act(mut self) -> Result<Vec<Happened>, String> {
        let mut happened = Vec::new();
        for disturbance in self.disturbances {
            let from = self.moment(disturbance.at);
            self.clock.sleep_until(from);
            let from = self.clock.now();
            for batch in &disturbance.act {
                self.send(batch, disturbance.at).map_err(|why| format!("{}: {why}", disturbance.name))?;
            }
            let until = self.clock.now() + std::time::Duration::from_secs_f64(disturbance.lasts);
            happened.push(Happened { name: disturbance.name.clone(), from, until });
        }
        Ok(happened)
    }

    fn moment(&self, at: f64) -> Nanos {
        self.window + std::time::Duration::from_secs_f64(at)
    }

    fn send(&mut self, batch: &Batch, at: f64) -> Result<(), String> {
        let at_ms = self.window_ms + nanos_of(std::time::Duration::from_secs_f64(at)) / 1_000_000;
        let (mut sent, mut bytes) = (0, Vec::new());
        while sent < batch.times {
            let count = PIPELINE.min(batch.times - sent);
            bytes.clear();
            for number in sent..sent + count {
                let fill =
                    |word: &String| word.replace("{n}", &number.to_string()).replace("{at_ms}", &at_ms.to_string());
                append_command(&batch.request.iter().map(fill).collect::<Vec<_>>(), &mut bytes);
            }
            self.client.send(&bytes).map_err(|error| error.to_string())?;
            for _ in 0..count {
                self.client.receive().map_err(|error| error.to_string())??;
            }
            sent += count;
        }
        Ok(())
    }
}
