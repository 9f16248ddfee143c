//! Goals of a comparison: `corelane/redis>=1.3@16` wants the median of the within-round ratios at depth 16 to be at
//! least 1.3; `@one` stands for the single connection. A `<=` states the opposite, for what is better when it is less:
//! `corelane/redis<=1@20000/s` compares p99 of the open loop at 20,000 requests per second.

use std::str::FromStr;

use crate::record::{Case, Record};
use crate::statistics::Spread;

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Goal {
    server: String,
    rival: String,
    bound: Bound,
    case: Case,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

#[derive(Debug)]
pub(crate) struct Verdict {
    goal: Goal,
    ratio: Spread,
    pub(crate) is_met: bool,
}

impl FromStr for Goal {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::parse(text).ok_or_else(|| {
            format!("{text} is not SERVER/RIVAL>=NUMBER@CASE (or <=), the case being a depth, one, or RATE/s")
        })
    }
}

impl Goal {
    fn parse(text: &str) -> Option<Self> {
        let (pair, rest, bound): (_, _, fn(f64) -> Bound) = match text.split_once(">=") {
            Some((pair, rest)) => (pair, rest, Bound::AtLeast),
            None => text.split_once("<=").map(|(pair, rest)| (pair, rest, Bound::AtMost as fn(f64) -> Bound))?,
        };
        let (server, rival) = pair.split_once('/')?;
        let (number, case) = rest.split_once('@')?;
        let case = match case.strip_suffix("/s") {
            Some(rate) => Case::Rate(rate.parse().ok()?),
            None if case == "one" => Case::OneConnection,
            None => Case::Depth(case.parse().ok()?),
        };
        Some(Self { server: server.to_owned(), rival: rival.to_owned(), bound: bound(number.parse().ok()?), case })
    }

    pub(crate) fn judge(&self, record: &Record) -> Result<Verdict, String> {
        let ratios = ratios(record, self.case, &self.server, &self.rival);
        let ratio = Spread::of(&ratios)
            .ok_or_else(|| format!("no rounds of {} and {} at {}", self.server, self.rival, self.case))?;
        let is_met = match self.bound {
            Bound::AtLeast(least) => ratio.median >= least,
            Bound::AtMost(most) => ratio.median <= most,
        };
        Ok(Verdict { goal: self.clone(), ratio, is_met })
    }
}

/// One server's figure over another's, round by round.
pub(crate) fn ratios(record: &Record, case: Case, server: &str, rival: &str) -> Vec<f64> {
    let figure = |name: &str, round: u32| {
        let mut runs = record.runs.iter();
        let run = runs.find(|run| run.case == case && run.server == name && run.round == round)?;
        case.figure(&run.report)
    };
    (0..record.workload.rounds).filter_map(|round| Some(figure(server, round)? / figure(rival, round)?)).collect()
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Goal { server, rival, bound, case } = &self.goal;
        let bound = match bound {
            Bound::AtLeast(least) => format!("at least {least}"),
            Bound::AtMost(most) => format!("at most {most}"),
        };
        let word = if self.is_met { "met   " } else { "MISSED" };
        let Spread { median, min, max, .. } = self.ratio;
        write!(to, "{word} {server}/{rival} at {case}: {median:.3} ({min:.3}..{max:.3}), wanted {bound}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goals_are_read_as_written() {
        let goal: Goal = "corelane/redis>=1.3@16".parse().unwrap();
        assert_eq!((goal.server.as_str(), goal.rival.as_str()), ("corelane", "redis"));
        assert_eq!((goal.bound, goal.case), (Bound::AtLeast(1.3), Case::Depth(16)));
        let tail: Goal = "a/b<=0.9@20000/s".parse().unwrap();
        assert_eq!((tail.bound, tail.case), (Bound::AtMost(0.9), Case::Rate(20_000)));
        assert_eq!("a/b>=3@one".parse::<Goal>().unwrap().case, Case::OneConnection);
        for wrong in ["corelane>=1@1", "a/b>1@1", "a/b>=x@1", "a/b>=1", "a/b>=1@deep"] {
            assert!(wrong.parse::<Goal>().is_err(), "{wrong}");
        }
    }
}
