//! Requests by weight, ready to be written: the definition's commands spelled in one dialect.
//!
//! ```text
//!   weight 9  GET {key}                               one choice, one step
//!   weight 1  GET {key}, then SET {same} {value}      one choice, two steps: sent together, answered one by one
//! ```

use fastrand::Rng;

use super::definition::{Command, Step, Workload};
use super::keys::Keys;
use super::sizes::Sizes;
use super::words::{Draw, Spell, Words};
use crate::wire::checker::Awaited;
use crate::wire::expect::Reply;
use crate::wire::memcache::Flavour;
use crate::wire::piece::{Numbers, Piece};
use crate::wire::{Dialect, binary, memcache, piece, resp};

/// Which step of a mix a request was made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kind(u16);

#[derive(Debug)]
pub(crate) struct Mix {
    dialect: Dialect,
    sizes: Sizes,
    ttl_seconds: [u32; 2],
    steps: Vec<Spelled>,
    /// The steps of each choice, and the upper bound of its share of the 32-bit numbers, ascending.
    choices: Vec<(std::ops::Range<u16>, u32)>,
}

#[derive(Debug)]
struct Spelled {
    pieces: Vec<Piece>,
    draws: Vec<Draw>,
    expect: Reply,
    /// Whether any piece needs a random number.
    rolls: bool,
}

/// Memory that writing uses again and again.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    keys: Vec<u32>,
    last: u32,
}

impl Mix {
    pub(crate) fn new(workload: &Workload, dialect: Dialect) -> Result<Self, String> {
        Self::of(&workload.commands(), workload, dialect)
    }

    /// What fills a server before a run.
    pub(crate) fn filling(workload: &Workload, dialect: Dialect) -> Result<Self, String> {
        Self::of(&[workload.filling()], workload, dialect)
    }

    /// One kind of request whose bytes others wrote; whatever comes back passes.
    pub(crate) fn foreign(dialect: Dialect) -> Self {
        let expect = Reply::Anything;
        let step = Spelled { pieces: Vec::new(), draws: Vec::new(), expect, rolls: false };
        let sizes = Sizes::fixed(0);
        Self { dialect, sizes, ttl_seconds: [1, 1], steps: vec![step], choices: vec![(0..1, u32::MAX)] }
    }

    fn of(commands: &[Command], workload: &Workload, dialect: Dialect) -> Result<Self, String> {
        let sizes = match dialect {
            Dialect::Fixed => workload.sizes()?.without_stamps(),
            _ => workload.sizes()?,
        };
        let spell = Spell { key_bytes: workload.key_bytes, sizes: &sizes };
        let weights: Vec<f64> = commands.iter().map(|command| command.weight).collect();
        let (mut steps, mut choices) = (Vec::new(), Vec::new());
        for (command, bound) in commands.iter().zip(bounds(&weights)?) {
            let start = index(steps.len())?;
            for step in command.steps() {
                steps.push(
                    Spelled::new(&step, &spell, dialect).map_err(|why| format!("{}: {why}", step.request.join(" ")))?,
                );
            }
            choices.push((start..index(steps.len())?, bound));
        }
        Ok(Self { dialect, ttl_seconds: workload.ttl_seconds, steps, choices, sizes })
    }

    pub(crate) const fn dialect(&self) -> Dialect {
        self.dialect
    }

    pub(crate) const fn sizes(&self) -> &Sizes {
        &self.sizes
    }

    pub(crate) fn expect(&self, kind: Kind) -> &Reply {
        &self.steps[usize::from(kind.0)].expect
    }

    /// The only kind of a foreign mix.
    pub(crate) const FOREIGN: Kind = Kind(0);

    /// Appends the requests of one choice, notes what they await, and returns how many there are.
    pub(crate) fn write(
        &self,
        rng: &mut Rng,
        keys: &mut Keys,
        scratch: &mut Scratch,
        out: &mut Vec<u8>,
        awaited: &mut Awaited,
    ) -> u32 {
        let steps = match &self.choices[..] {
            [(steps, _)] => steps.clone(),
            choices => {
                let point = rng.u32(..);
                let choice = choices.iter().find(|(_, bound)| point <= *bound);
                choice.expect("the last bound is the greatest number").0.clone()
            }
        };
        for at in steps.clone() {
            let step = &self.steps[usize::from(at)];
            scratch.keys.clear();
            for draw in &step.draws {
                scratch.last = match draw {
                    Draw::Any => keys.draw(rng),
                    Draw::Same => scratch.last,
                    Draw::Next => keys.after(scratch.last),
                    Draw::New => keys.insert(),
                };
                scratch.keys.push(scratch.last);
            }
            let [ttl_from, ttl_to] = self.ttl_seconds;
            let (ttl_seconds, random) = if step.rolls { (rng.u32(ttl_from..=ttl_to), rng.u32(..)) } else { (0, 0) };
            let numbers = Numbers { keys: &scratch.keys, ttl_seconds, random };
            piece::write(&step.pieces, &numbers, &self.sizes, out);
            awaited.kinds.push_back(Kind(at));
            awaited.keys.extend(&scratch.keys[..step.expect.keys()]);
        }
        u32::from(steps.end - steps.start)
    }
}

fn index(len: usize) -> Result<u16, String> {
    u16::try_from(len).map_err(|_| "a workload has at most 65,535 commands".to_owned())
}

impl Spelled {
    fn new(step: &Step, spell: &Spell<'_>, dialect: Dialect) -> Result<Self, String> {
        let words = Words::read(&step.request)?;
        let expect = Reply::parse(&step.reply, words.draws.len())?;
        if expect.keys() > words.draws.len() {
            return Err(format!("{} needs a key in the request", step.reply));
        }
        let (pieces, differs) = match dialect {
            Dialect::Redis | Dialect::Resp3 => (resp::request(&words.words, spell), None),
            Dialect::Fixed => (resp::request(&words.words, spell), Some(fixed(spell)?)),
            Dialect::Memcache | Dialect::Meta | Dialect::Binary => {
                let operation = words.operation().ok_or("Memcached has no equal of this command")?;
                match dialect {
                    Dialect::Memcache => memcache::request(&operation, spell, Flavour::Classic),
                    Dialect::Meta => memcache::request(&operation, spell, Flavour::Meta),
                    _ => binary::request(&operation, spell),
                }
            }
        };
        let rolls = pieces.iter().any(|piece| matches!(piece, Piece::Ttl(_) | Piece::Number(..)));
        Ok(Self { pieces, draws: words.draws, expect: differs.unwrap_or(expect), rolls })
    }
}

fn fixed(spell: &Spell<'_>) -> Result<Reply, String> {
    let len = spell.sizes.the_only_one().ok_or("a fixed reply has one size")?;
    Ok(Reply::Bulk(len as usize))
}

/// Cumulative shares of the 32-bit numbers, the last being all of them.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of u32::MAX fits u32")]
fn bounds(weights: &[f64]) -> Result<Vec<u32>, String> {
    let total: f64 = weights.iter().sum();
    if weights.iter().any(|weight| !weight.is_finite() || *weight < 0.0) || total <= 0.0 {
        return Err("weights must be positive numbers".to_owned());
    }
    let mut sum = 0.0;
    let mut bounds: Vec<u32> = Vec::with_capacity(weights.len());
    for weight in weights {
        sum += weight;
        bounds.push((sum / total * f64::from(u32::MAX)) as u32);
    }
    if let Some(last) = bounds.last_mut() {
        *last = u32::MAX;
    }
    Ok(bounds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::keys::Distribution;

    fn one(workload: &Workload, dialect: Dialect) -> String {
        let mix = Mix::new(workload, dialect).unwrap();
        let mut out = Vec::new();
        let mut keys = Keys::in_order(99_999..100_000);
        mix.write(&mut Rng::with_seed(3), &mut keys, &mut Scratch::default(), &mut out, &mut Awaited::default());
        out.escape_ascii().to_string()
    }

    fn of(words: &str) -> Workload {
        let command = Command::of(1.0, "any", &words.split(' ').collect::<Vec<_>>());
        Workload { command: vec![command], key_bytes: 6, value_bytes: 3, ttl_seconds: [60, 60], ..Workload::default() }
    }

    #[test]
    fn requests_are_spelled_in_each_dialect() {
        let get = of("GET {key}");
        assert_eq!(one(&get, Dialect::Redis), r"*2\r\n$3\r\nGET\r\n$6\r\n099999\r\n");
        assert_eq!(one(&get, Dialect::Memcache), r"get 099999\r\n");
        assert_eq!(one(&get, Dialect::Meta), r"mg 099999 v\r\n");
        let zeros = r"\x00".repeat(12);
        let head = r"\x80\x00\x00\x06\x00\x00\x00\x00\x00\x00\x00\x06";
        assert_eq!(one(&get, Dialect::Binary), format!("{head}{zeros}099999"));
        let set = of("SET {key} {value} EX {ttl}");
        let redis = r"*5\r\n$3\r\nSET\r\n$6\r\n099999\r\n$3\r\nxxx\r\n$2\r\nEX\r\n$2\r\n60\r\n";
        assert_eq!(one(&set, Dialect::Redis), redis);
        assert_eq!(one(&set, Dialect::Memcache), r"set 099999 0 60 3\r\nxxx\r\n");
        assert_eq!(one(&set, Dialect::Meta), r"ms 099999 3 T60\r\nxxx\r\n");
        let head = r"\x80\x01\x00\x06\x08\x00\x00\x00\x00\x00\x00\x11";
        let extras = r"\x00\x00\x00\x00\x00\x00\x00<";
        assert_eq!(one(&set, Dialect::Binary), format!("{head}{zeros}{extras}099999xxx"));
    }

    #[test]
    fn what_has_no_equal_is_refused_by_name() {
        let why = Mix::new(&of("HGETALL {key}"), Dialect::Memcache).unwrap_err();
        assert!(why.contains("HGETALL") && why.contains("no equal"), "{why}");
        let why = Mix::new(
            &Workload { command: vec![Command::of(1.0, "value", &["PING"])], ..Workload::default() },
            Dialect::Redis,
        );
        assert!(why.unwrap_err().contains("needs a key"));
    }

    #[test]
    fn steps_go_together_and_name_the_same_key() {
        let then = vec![Step { request: vec!["DEL".to_owned(), "{same}".to_owned()], reply: "int".to_owned() }];
        let command = Command { then, ..Command::of(1.0, "value", &["GET", "{key}"]) };
        let workload = Workload { command: vec![command], key_bytes: 6, ..Workload::default() };
        assert_eq!(one(&workload, Dialect::Memcache), r"get 099999\r\ndelete 099999\r\n");
    }

    #[test]
    fn kinds_come_by_weight() {
        let mix = Mix::new(&Workload::default(), Dialect::Redis).unwrap();
        let (mut rng, mut out, mut awaited) = (Rng::with_seed(9), Vec::new(), Awaited::default());
        let mut keys =
            Keys::new(&Workload { keys: 10, distribution: Distribution::Uniform, ..Workload::default() }, 10);
        (0..100_000).for_each(|_| {
            mix.write(&mut rng, &mut keys, &mut Scratch::default(), &mut out, &mut awaited);
            out.clear();
        });
        let sets = awaited.kinds.iter().filter(|kind| **kind == Kind(1)).count();
        assert!((9_500..10_500).contains(&sets), "{sets}");
    }

    #[test]
    fn weights_must_be_positive() {
        assert!(bounds(&[0.0]).is_err() && bounds(&[-1.0, 2.0]).is_err());
    }
}
