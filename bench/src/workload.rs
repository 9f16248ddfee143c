//! What is asked of a server: the definition a person writes, and the request templates made of it.
//!
//! ```text
//!   definition (TOML, flags)  ->  Workload  ->  Mix: [ template bytes, where keys go, expected reply ] by weight
//!
//!   *2 $3 GET $16 key:000000000000      the template is copied, then the key's digits are written over its zeros
//! ```
//!
//! A command is given as words; `{key}` becomes a key of `key_bytes`, `{value}` a value of `value_bytes`. Neither
//! contains a `*`, on which the floor relies. Without commands of its own a workload is GET and SET by `set_ratio`.

use std::path::Path;

use fastrand::Rng;
use serde::{Deserialize, Serialize};

use crate::keys::{Distribution, Keys};
use crate::verify::Expect;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Workload {
    pub(crate) name: String,
    pub(crate) about: String,
    pub(crate) connections: u32,
    pub(crate) keys: u32,
    pub(crate) key_bytes: usize,
    pub(crate) value_bytes: usize,
    pub(crate) set_ratio: f64,
    pub(crate) distribution: Distribution,
    /// What `compare` runs, one after the other.
    pub(crate) depths: Vec<u32>,
    pub(crate) rounds: u32,
    pub(crate) seconds: f64,
    pub(crate) command: Vec<Command>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Command {
    pub(crate) weight: f64,
    pub(crate) request: Vec<String>,
    /// `+OK` and the like, `bulk`, `bulk:N` or `any`.
    pub(crate) reply: String,
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
            set_ratio: 0.1,
            distribution: Distribution::Uniform,
            depths: vec![1, 16, 64],
            rounds: 5,
            seconds: 2.0,
            command: Vec::new(),
        }
    }
}

/// Flags that override a definition.
#[derive(clap::Args, Clone, Debug, Default)]
pub(crate) struct Overrides {
    /// A TOML file of bench/definitions to start from.
    #[arg(long)]
    pub(crate) definition: Option<std::path::PathBuf>,
    #[arg(long)]
    pub(crate) connections: Option<u32>,
    #[arg(long)]
    pub(crate) keys: Option<u32>,
    #[arg(long)]
    pub(crate) key_bytes: Option<usize>,
    #[arg(long)]
    pub(crate) value_bytes: Option<usize>,
    /// Part of the requests that are SET; the rest are GET.
    #[arg(long)]
    pub(crate) set_ratio: Option<f64>,
    #[arg(long, value_enum)]
    pub(crate) distribution: Option<Distribution>,
    /// A raw command instead of GET and SET, as "WEIGHT REPLY WORD WORD...": "1 any LRANGE {key} 0 9". May be repeated.
    #[arg(long, value_parser = command_of)]
    pub(crate) command: Vec<Command>,
    #[arg(long)]
    pub(crate) seconds: Option<f64>,
}

impl Overrides {
    pub(crate) fn workload(&self) -> Result<Workload, String> {
        let mut workload = self.definition.as_deref().map_or_else(|| Ok(Workload::default()), Workload::read)?;
        set(&mut workload.connections, self.connections);
        set(&mut workload.keys, self.keys);
        set(&mut workload.key_bytes, self.key_bytes);
        set(&mut workload.value_bytes, self.value_bytes);
        set(&mut workload.set_ratio, self.set_ratio);
        set(&mut workload.distribution, self.distribution);
        set(&mut workload.seconds, self.seconds);
        if !self.command.is_empty() {
            workload.command.clone_from(&self.command);
        }
        workload.checked()
    }
}

fn set<T: Clone>(field: &mut T, flag: Option<T>) {
    if let Some(value) = flag {
        *field = value;
    }
}

fn command_of(text: &str) -> Result<Command, String> {
    let mut words = shlex::split(text).ok_or("unbalanced quotes")?.into_iter();
    let weight = words.next().and_then(|word| word.parse().ok()).ok_or("the first word is the weight, a number")?;
    let reply = words.next().ok_or("the second word is the expected reply")?;
    Ok(Command { weight, reply, request: words.collect() })
}

impl Workload {
    fn read(path: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        toml::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))
    }

    /// Refuses what cannot be run, in words that say what to change.
    fn checked(self) -> Result<Self, String> {
        let digits = decimal_digits(self.keys.saturating_sub(1));
        let refusals = [
            (self.keys == 0 || self.connections == 0, "keys and connections must be at least 1".to_owned()),
            (self.key_bytes < digits, format!("{} keys need key_bytes of at least {digits}", self.keys)),
            (!(0.0..=1.0).contains(&self.set_ratio), "set_ratio is between 0 and 1".to_owned()),
            (self.depths.contains(&0) || self.depths.is_empty(), "depths are at least 1".to_owned()),
            (self.seconds.is_nan() || self.seconds <= 0.0, "seconds must be above 0".to_owned()),
            (self.command.iter().any(|command| command.request.is_empty()), "a command has no words".to_owned()),
        ];
        match refusals.into_iter().find(|(refused, _)| *refused) {
            Some((_, why)) => Err(why),
            None => Ok(self),
        }
    }

    fn commands(&self) -> Vec<Command> {
        if !self.command.is_empty() {
            return self.command.clone();
        }
        let both = [command(1.0 - self.set_ratio, "bulk", &["GET", KEY]), command(self.set_ratio, "+OK", &SET)];
        both.into_iter().filter(|command| command.weight > 0.0).collect()
    }
}

/// What the requests and replies look like on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Dialect {
    #[default]
    Redis,
    /// RESP requests, each answered by one bulk of `value_bytes`: the floor.
    Fixed,
    /// Memcached's text protocol; GET and SET only.
    Memcache,
}

const KEY: &str = "{key}";
const VALUE: &str = "{value}";
const SET: [&str; 3] = ["SET", KEY, VALUE];

fn command(weight: f64, reply: &str, words: &[&str]) -> Command {
    let request = words.iter().map(|word| (*word).to_owned()).collect();
    Command { weight, request, reply: reply.to_owned() }
}

/// Which template of a mix a request was made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kind(u8);

/// Templates by weight.
#[derive(Debug)]
pub(crate) struct Mix {
    templates: Vec<Template>,
    /// Upper bounds of each template's share of the 32-bit numbers, ascending.
    bounds: Vec<u32>,
}

#[derive(Debug)]
struct Template {
    bytes: Vec<u8>,
    /// Where keys end; their digits are written backwards from there.
    key_ends: Vec<usize>,
    expect: Expect,
}

impl Mix {
    pub(crate) fn new(workload: &Workload, dialect: Dialect) -> Result<Self, String> {
        Self::of(&workload.commands(), workload, dialect)
    }

    /// SET alone: what fills a server before a run.
    pub(crate) fn filling(workload: &Workload, dialect: Dialect) -> Result<Self, String> {
        Self::of(&[command(1.0, "+OK", &SET)], workload, dialect)
    }

    fn of(commands: &[Command], workload: &Workload, dialect: Dialect) -> Result<Self, String> {
        let templates: Result<Vec<_>, _> =
            commands.iter().map(|command| Template::new(command, workload, dialect)).collect();
        let weights: Vec<f64> = commands.iter().map(|command| command.weight).collect();
        if commands.len() > usize::from(u8::MAX) {
            return Err("a workload has at most 255 commands".to_owned());
        }
        Ok(Self { templates: templates?, bounds: bounds(&weights)? })
    }

    /// Appends one request and says what kind it is.
    pub(crate) fn write(&self, rng: &mut Rng, keys: &mut Keys, out: &mut Vec<u8>) -> Kind {
        let point = rng.u32(..);
        let kind = self.bounds.iter().position(|bound| point <= *bound).expect("the last bound is the greatest number");
        self.templates[kind].write(rng, keys, out);
        Kind(u8::try_from(kind).expect("a mix has at most 255 templates"))
    }

    pub(crate) fn expect(&self, kind: Kind) -> &Expect {
        &self.templates[usize::from(kind.0)].expect
    }
}

impl Template {
    fn new(command: &Command, workload: &Workload, dialect: Dialect) -> Result<Self, String> {
        match dialect {
            Dialect::Redis => Self::resp(command, workload, Expect::parse(&command.reply, workload.value_bytes)?),
            Dialect::Fixed => Self::resp(command, workload, Expect::bulk(workload.value_bytes)),
            Dialect::Memcache => Self::memcache(command, workload),
        }
    }

    fn resp(command: &Command, workload: &Workload, expect: Expect) -> Result<Self, String> {
        let mut template = Self { bytes: Vec::new(), key_ends: Vec::new(), expect };
        template.bytes.extend_from_slice(format!("*{}\r\n", command.request.len()).as_bytes());
        for word in &command.request {
            let text = filled(word, workload);
            template.bytes.extend_from_slice(format!("${}\r\n", text.len()).as_bytes());
            if let Some(at) = word.find(KEY) {
                template.key_ends.push(template.bytes.len() + at + workload.key_bytes);
            }
            template.bytes.extend_from_slice(text.as_bytes());
            template.bytes.extend_from_slice(b"\r\n");
        }
        Ok(template)
    }

    fn memcache(command: &Command, workload: &Workload) -> Result<Self, String> {
        let key = filled(KEY, workload);
        let value_bytes = workload.value_bytes;
        let words: Vec<&str> = command.request.iter().map(String::as_str).collect();
        let (line, body, expect) = match words.as_slice() {
            ["GET", KEY] => ("get ", "\r\n".to_owned(), Expect::memcache_value(key.len(), value_bytes)),
            ["SET", KEY, VALUE] => {
                let body = format!(" 0 0 {value_bytes}\r\n{}\r\n", filled(VALUE, workload));
                ("set ", body, Expect::exact("STORED"))
            }
            _ => return Err(format!("memcached's text protocol has no {words:?} here: only GET and SET")),
        };
        let bytes = format!("{line}{key}{body}").into_bytes();
        Ok(Self { bytes, key_ends: vec![line.len() + key.len()], expect })
    }

    fn write(&self, rng: &mut Rng, keys: &mut Keys, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&self.bytes);
        for end in &self.key_ends {
            write_digits(&mut out[..start + end], keys.draw(rng));
        }
    }
}

/// A word with its key (digits zero) and value put in.
fn filled(word: &str, workload: &Workload) -> String {
    let prefix: String = "key:".chars().take(workload.key_bytes.saturating_sub(KEY_DIGITS_MAX)).collect();
    let key = format!("{prefix}{}", "0".repeat(workload.key_bytes - prefix.len()));
    word.replace(KEY, &key).replace(VALUE, &"x".repeat(workload.value_bytes))
}

/// A key number is below 2^32; a key shorter than this plus its prefix goes without the prefix.
const KEY_DIGITS_MAX: usize = 10;

/// Writes a number so that its last digit is the last byte; digits before it stay what they are.
fn write_digits(place: &mut [u8], mut number: u32) {
    for byte in place.iter_mut().rev() {
        *byte = b'0' + u8::try_from(number % 10).expect("a digit");
        number /= 10;
        if number == 0 {
            break;
        }
    }
}

fn decimal_digits(number: u32) -> usize {
    number.checked_ilog10().map_or(1, |log| log as usize + 1)
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

    fn one(workload: &Workload, dialect: Dialect) -> String {
        let mix = Mix::new(workload, dialect).unwrap();
        let mut out = Vec::new();
        mix.write(&mut Rng::with_seed(3), &mut Keys::in_order(99_999..100_000), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn get_and_set_are_written_with_their_keys() {
        let get = Workload { set_ratio: 0.0, ..Workload::default() };
        assert_eq!(one(&get, Dialect::Redis), "*2\r\n$3\r\nGET\r\n$16\r\nkey:000000099999\r\n");
        assert_eq!(one(&get, Dialect::Memcache), "get key:000000099999\r\n");
        let set = Workload { set_ratio: 1.0, value_bytes: 3, key_bytes: 6, ..Workload::default() };
        assert_eq!(one(&set, Dialect::Redis), "*3\r\n$3\r\nSET\r\n$6\r\n099999\r\n$3\r\nxxx\r\n");
        assert_eq!(one(&set, Dialect::Memcache), "set 099999 0 0 3\r\nxxx\r\n");
    }

    #[test]
    fn raw_commands_keep_what_surrounds_a_key() {
        let command = command_of("1 any LRANGE list:{key}:tail 0 9").unwrap();
        let workload = Workload { command: vec![command], key_bytes: 5, ..Workload::default() };
        let written = "*4\r\n$6\r\nLRANGE\r\n$15\r\nlist:99999:tail\r\n$1\r\n0\r\n$1\r\n9\r\n";
        assert_eq!(one(&workload, Dialect::Redis), written);
    }

    #[test]
    fn kinds_come_by_weight() {
        let mix = Mix::new(&Workload::default(), Dialect::Redis).unwrap();
        let (mut rng, mut keys, mut out) = (Rng::with_seed(9), Keys::new(Distribution::Uniform, 10), Vec::new());
        let sets = (0..100_000).filter(|_| mix.write(&mut rng, &mut keys, &mut out) == Kind(1)).count();
        assert!((9_500..10_500).contains(&sets), "{sets}");
    }

    #[test]
    fn what_cannot_run_is_refused() {
        let short = Overrides { keys: Some(1_000_001), key_bytes: Some(6), ..Overrides::default() };
        assert_eq!(short.workload().unwrap_err(), "1000001 keys need key_bytes of at least 7");
        let ratio = Overrides { set_ratio: Some(1.5), ..Overrides::default() };
        assert!(ratio.workload().is_err());
        assert!(bounds(&[0.0]).is_err() && bounds(&[-1.0, 2.0]).is_err());
    }
}
