//! Goals of a comparison: `corelane/redis>=1.3@16` wants the median of the within-round ratios at depth 16 to be at
//! least 1.3; `@one` stands for the single connection.

use std::str::FromStr;

use crate::record::{Case, Record};
use crate::statistics::Spread;

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Goal {
    server: String,
    rival: String,
    least: f64,
    case: Case,
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
        Self::parse(text).ok_or_else(|| format!("{text} is not SERVER/RIVAL>=NUMBER@DEPTH"))
    }
}

impl Goal {
    fn parse(text: &str) -> Option<Self> {
        let (pair, rest) = text.split_once(">=")?;
        let (server, rival) = pair.split_once('/')?;
        let (least, case) = rest.split_once('@')?;
        let case = if case == "one" { Case::OneConnection } else { Case::Depth(case.parse().ok()?) };
        Some(Self { server: server.to_owned(), rival: rival.to_owned(), least: least.parse().ok()?, case })
    }

    pub(crate) fn judge(&self, record: &Record) -> Result<Verdict, String> {
        let ratios = ratios(record, self.case, &self.server, &self.rival);
        let ratio = Spread::of(&ratios)
            .ok_or_else(|| format!("no rounds of {} and {} at {}", self.server, self.rival, self.case))?;
        Ok(Verdict { goal: self.clone(), ratio, is_met: ratio.median >= self.least })
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
        let Goal { server, rival, least, case } = &self.goal;
        let word = if self.is_met { "met   " } else { "MISSED" };
        let Spread { median, min, max, .. } = self.ratio;
        write!(to, "{word} {server}/{rival} at {case}: {median:.3} ({min:.3}..{max:.3}), wanted {least}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goals_are_read_as_written() {
        let goal: Goal = "corelane/redis>=1.3@16".parse().unwrap();
        assert_eq!((goal.server.as_str(), goal.rival.as_str()), ("corelane", "redis"));
        assert_eq!((goal.least, goal.case), (1.3, Case::Depth(16)));
        assert_eq!("a/b>=3@one".parse::<Goal>().unwrap().case, Case::OneConnection);
        for wrong in ["corelane>=1@1", "a/b>1@1", "a/b>=x@1", "a/b>=1", "a/b>=1@deep"] {
            assert!(wrong.parse::<Goal>().is_err(), "{wrong}");
        }
    }
}
