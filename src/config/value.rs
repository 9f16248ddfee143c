//! A value of an option: parsed from words, printed as Redis's CONFIG GET prints it. The error texts are Redis's, word for word,
//! since clients and tests match them.

use super::options::{Kind, Row};
use crate::base::ascii::{parse_i64, parse_u64};

/// One parsed value. Which variant a row holds follows from its `Kind`.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Bool(bool),
    Integer(i64),
    Bytes(u64),
    /// A share of maxmemory, at most 100.
    Percent(u8),
    /// `None` stands for `auto`.
    Auto(Option<i64>),
    Octal(u32),
    /// The place in the row's list of choices.
    Choice(usize),
    /// One bit for each of the row's choices.
    Choices(u32),
    Text(Box<[u8]>),
    Words(Box<[Box<[u8]>]>),
    Save(Box<[SavePoint]>),
    OutputLimits([OutputLimit; 3]),
    Events(u32),
    Percentiles(Box<[f64]>),
    OomScores([i32; 3]),
    /// A directive has no value.
    Nothing,
}

/// Snapshot when this many seconds have passed with this many changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SavePoint {
    pub seconds: i64,
    pub changes: i64,
}

/// Unread output that closes a connection: at once beyond `hard`, after `seconds` beyond `soft`. Zero: no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutputLimit {
    pub hard_bytes: u64,
    pub soft_bytes: u64,
    pub soft_seconds: u64,
}

/// The printed name of each class, and its other spelling.
const CLASSES: [(&str, &str); 3] = [("normal", "normal"), ("slave", "replica"), ("pubsub", "pubsub")];

/// Bits of `notify-keyspace-events`, in the order in which Redis prints them. `A` is all up to and including `d`.
const EVENTS: [u8; 14] = *b"g$lshzxetdKEmn";
const EVENTS_ALL: u32 = (1 << 10) - 1;

type Why = String;

/// Parses `words` as the value of `row`. `old` is what stands now: a line about one output class leaves the others.
pub(super) fn parse(row: &Row, words: &[&[u8]], old: &Value) -> Result<Value, Why> {
    match row.kind {
        Kind::Words { max } if words.len() <= max => {
            Ok(Value::Words(words.iter().map(|word| Box::from(*word)).collect()))
        }
        Kind::Save => save(words),
        Kind::OutputLimits => output_limits(words, old),
        Kind::Percentiles => percentiles(words),
        Kind::OomScores => oom_scores(words),
        Kind::Choices(names) => choices(names, words),
        Kind::HostPort => host_port(words),
        Kind::Events => parse_events(words),
        _ => match words {
            [word] => single(&row.kind, word),
            _ => Err("wrong number of arguments".into()),
        },
    }
}

/// Whether a value of this kind is a list of words: CONFIG SET then splits its one argument.
pub(super) fn takes_words(kind: &Kind) -> bool {
    matches!(
        kind,
        Kind::Words { .. }
            | Kind::Save
            | Kind::OutputLimits
            | Kind::Percentiles
            | Kind::OomScores
            | Kind::Choices(_)
            | Kind::HostPort
    )
}

fn single(kind: &Kind, word: &[u8]) -> Result<Value, Why> {
    match *kind {
        Kind::Bool => yes_or_no(word),
        Kind::Integer { min, max } => Ok(Value::Integer(integer(word, min, max)?)),
        Kind::Clamped { min, max } => Ok(Value::Integer(integer(word, 0, i64::from(i32::MAX))?.clamp(min, max))),
        Kind::Memory { min } => memory(word, min),
        Kind::MemoryOrPercent => memory_or_percent(word),
        Kind::Auto { .. } if word.eq_ignore_ascii_case(b"auto") => Ok(Value::Auto(None)),
        Kind::Auto { min, max } => Ok(Value::Auto(Some(integer(word, min, max)?))),
        Kind::Octal => octal(word),
        Kind::Choice(names) => position(names, word).map(Value::Choice).ok_or_else(|| one_of(names)),
        Kind::Template(variables) => template(variables, word),
        Kind::PlainName(why) => plain_name(why, word),
        _ => Ok(Value::Text(word.into())),
    }
}

/// Redis takes `.` and `..` for names.
fn plain_name(why: &'static str, word: &[u8]) -> Result<Value, Why> {
    if word.is_empty() {
        let name = why.split(' ').next().unwrap_or_default();
        return Err(format!("{name} can't be empty"));
    }
    let is_path = word.iter().any(|byte| matches!(byte, b'/' | b'\\')) || matches!(word, b"." | b"..");
    if is_path { Err(why.into()) } else { Ok(Value::Text(word.into())) }
}

fn yes_or_no(word: &[u8]) -> Result<Value, Why> {
    match word.to_ascii_lowercase().as_slice() {
        b"yes" => Ok(Value::Bool(true)),
        b"no" => Ok(Value::Bool(false)),
        _ => Err("argument must be 'yes' or 'no'".into()),
    }
}

fn integer(word: &[u8], min: i64, max: i64) -> Result<i64, Why> {
    let value = parse_i64(word).ok_or("argument couldn't be parsed into an integer")?;
    if (min..=max).contains(&value) { Ok(value) } else { Err(between(min, max)) }
}

fn between(min: impl std::fmt::Display, max: impl std::fmt::Display) -> Why {
    format!("argument must be between {min} and {max} inclusive")
}

fn memory(word: &[u8], min: u64) -> Result<Value, Why> {
    let bytes = bytes(word).ok_or("argument must be a memory value")?;
    let max = i64::MAX.unsigned_abs();
    if (min..=max).contains(&bytes) { Ok(Value::Bytes(bytes)) } else { Err(between(min, max)) }
}

/// Digits and a unit. No digits at all is zero, as in Redis, whose `maxmemory ""` lifts the limit.
fn bytes(word: &[u8]) -> Option<u64> {
    let digits = word.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, unit) = word.split_at_checked(digits)?;
    let scale: u64 = match unit.to_ascii_lowercase().as_slice() {
        b"" | b"b" => 1,
        b"k" => 1000,
        b"kb" => 1 << 10,
        b"m" => 1_000_000,
        b"mb" => 1 << 20,
        b"g" => 1_000_000_000,
        b"gb" => 1 << 30,
        _ => return None,
    };
    let zeros = digits.iter().take_while(|byte| **byte == b'0').count();
    let significant = digits.get(zeros..)?;
    let count = if significant.is_empty() { 0 } else { parse_u64(significant)? };
    count.checked_mul(scale)
}

fn memory_or_percent(word: &[u8]) -> Result<Value, Why> {
    const WHY: &str = "argument must be a memory or percent value";
    match word {
        [digits @ .., b'%'] => match u8::try_from(parse_u64(digits).ok_or(WHY)?) {
            Ok(percent @ 0..=100) => Ok(Value::Percent(percent)),
            _ => Err("percentage argument must be less or equal to 100".into()),
        },
        _ => memory(word, 0).map_err(|_| WHY.into()),
    }
}

fn octal(word: &[u8]) -> Result<Value, Why> {
    let text = std::str::from_utf8(word).unwrap_or_default();
    let bits = u32::from_str_radix(text, 8).map_err(|_| "argument couldn't be parsed as an octal number")?;
    if bits <= 0o777 { Ok(Value::Octal(bits)) } else { Err("argument must be between 0 and 777 inclusive".into()) }
}

fn position(names: &[&str], word: &[u8]) -> Option<usize> {
    names.iter().position(|name| word.eq_ignore_ascii_case(name.as_bytes()))
}

fn one_of(names: &[&str]) -> Why {
    format!("argument(s) must be one of the following: {}", names.join(", "))
}

fn choices(names: &[&str], words: &[&[u8]]) -> Result<Value, Why> {
    if words.is_empty() {
        return Err("wrong number of arguments".into());
    }
    let bit = |word: &&[u8]| position(names, word).map(|at| 1 << at).ok_or_else(|| one_of(names));
    words.iter().map(bit).try_fold(0, |bits, bit| Ok(bits | bit?)).map(Value::Choices)
}

fn template(variables: &[&str], word: &[u8]) -> Result<Value, Why> {
    let bad = || Err("template format is invalid or contains unknown variables".into());
    let mut parts = word.split(|byte| *byte == b'{');
    if parts.next().is_some_and(|literal| literal.contains(&b'}')) {
        return bad();
    }
    for part in parts {
        let name = part.split(|byte| *byte == b'}').next().unwrap_or_default();
        let closed_once = part.iter().filter(|byte| **byte == b'}').count() == 1;
        if !closed_once || !variables.iter().any(|known| known.as_bytes() == name) {
            return bad();
        }
    }
    Ok(Value::Text(word.into()))
}

/// `no one` and the empty word leave the server a primary.
fn host_port(words: &[&[u8]]) -> Result<Value, Why> {
    match words {
        [host, port] if host.eq_ignore_ascii_case(b"no") && port.eq_ignore_ascii_case(b"one") => {
            Ok(Value::Text([].into()))
        }
        [] | [b""] => Ok(Value::Text([].into())),
        [host, port] => {
            integer(port, 0, 65535).map_err(|_| "Invalid master port")?;
            Ok(Value::Text([*host, port].join(&b' ').into()))
        }
        _ => Err("wrong number of arguments".into()),
    }
}

fn save(words: &[&[u8]]) -> Result<Value, Why> {
    let point = |pair: &[&[u8]]| match pair {
        [seconds, changes] => {
            let seconds = parse_i64(seconds).filter(|seconds| *seconds >= 1)?;
            let changes = parse_i64(changes).filter(|changes| *changes >= 0)?;
            Some(SavePoint { seconds, changes })
        }
        _ => None,
    };
    if matches!(words, [] | [b""]) {
        return Ok(Value::Save([].into()));
    }
    let points: Option<Box<[SavePoint]>> = words.chunks(2).map(point).collect();
    points.map(Value::Save).ok_or_else(|| "Invalid save parameters".into())
}

fn output_limits(words: &[&[u8]], old: &Value) -> Result<Value, Why> {
    let mut limits = match old {
        Value::OutputLimits(limits) => *limits,
        _ => Default::default(),
    };
    if words.is_empty() || !words.len().is_multiple_of(4) {
        return Err("Wrong number of arguments in buffer limit configuration.".into());
    }
    for four in words.chunks(4) {
        let [class, hard, soft, seconds] = four else { unreachable!("a multiple of four was checked above") };
        let is = |name: &str| class.eq_ignore_ascii_case(name.as_bytes());
        let place = CLASSES.iter().position(|(name, other)| is(name) || is(other));
        let limit = place
            .and_then(|at| limits.get_mut(at))
            .ok_or("Invalid client class specified in buffer limit configuration.")?;
        let numbers = (bytes(hard), bytes(soft), parse_u64(seconds));
        let (Some(hard_bytes), Some(soft_bytes), Some(soft_seconds)) = numbers else {
            return Err("Error in hard, soft or soft_seconds setting in buffer limit configuration.".into());
        };
        *limit = OutputLimit { hard_bytes, soft_bytes, soft_seconds };
    }
    Ok(Value::OutputLimits(limits))
}

/// The classes of events that `letters` names; `None` if one is unknown.
fn events(letters: &[u8]) -> Option<u32> {
    letters.iter().try_fold(0, |bits, letter| match letter {
        b'A' => Some(bits | EVENTS_ALL),
        _ => EVENTS.iter().position(|known| known == letter).map(|at| bits | 1 << at),
    })
}

fn percentiles(words: &[&[u8]]) -> Result<Value, Why> {
    if matches!(words, [] | [b""]) {
        return Ok(Value::Percentiles([].into()));
    }
    let parse = |word: &&[u8]| {
        let text = std::str::from_utf8(word).unwrap_or_default();
        let number: f64 =
            text.parse().map_err(|_| "Invalid latency-tracking-info-percentiles parameters".to_owned())?;
        if (0.0..=100.0).contains(&number) {
            Ok(number)
        } else {
            Err("latency-tracking-info-percentiles parameters should sit between [0.0,100.0]".into())
        }
    };
    words.iter().map(parse).collect::<Result<Box<[f64]>, Why>>().map(Value::Percentiles)
}

fn oom_scores(words: &[&[u8]]) -> Result<Value, Why> {
    let [primary, replica, child] = words else { return Err("wrong number of arguments".into()) };
    let score = |word: &[u8]| parse_i64(word).and_then(|n| i32::try_from(n).ok()).filter(|n| n.abs() <= 2000);
    match (score(primary), score(replica), score(child)) {
        (Some(a), Some(b), Some(c)) if a <= b && b <= c => Ok(Value::OomScores([a, b, c])),
        (Some(_), Some(_), Some(_)) => Err("Invalid oom-score-adj-values, elements must not decrease.".into()),
        _ => Err("Invalid oom-score-adj-values, elements must be between -2000 and 2000.".into()),
    }
}

/// Prints `value` as CONFIG GET does.
pub(super) fn print(row: &Row, value: &Value) -> Vec<u8> {
    let text = match (value, &row.kind) {
        (Value::Bool(yes), _) => (if *yes { "yes" } else { "no" }).to_owned(),
        (Value::Integer(number), _) | (Value::Auto(Some(number)), _) => number.to_string(),
        (Value::Auto(None), _) => "auto".to_owned(),
        (Value::Bytes(bytes), _) => bytes.to_string(),
        (Value::Percent(percent), _) => format!("{percent}%"),
        (Value::Octal(bits), _) => format!("{bits:o}"),
        (Value::Choice(at), Kind::Choice(names)) => names.get(*at).copied().unwrap_or_default().to_owned(),
        (Value::Choices(bits), Kind::Choices(names)) => chosen(names, *bits).join(" "),
        (Value::Text(text), _) => return text.to_vec(),
        (Value::Words(words), _) => return words.join(&b' '),
        (Value::Save(points), _) => join(points.iter().map(|point| format!("{} {}", point.seconds, point.changes))),
        (Value::OutputLimits(limits), _) => join(CLASSES.iter().zip(limits).map(|((name, _), limit)| {
            format!("{name} {} {} {}", limit.hard_bytes, limit.soft_bytes, limit.soft_seconds)
        })),
        (Value::Events(bits), _) => print_events(*bits),
        (Value::Percentiles(numbers), _) => join(numbers.iter().map(|number| print_percentile(*number))),
        (Value::OomScores(scores), _) => join(scores.iter().map(i32::to_string)),
        (Value::Nothing | Value::Choice(_) | Value::Choices(_), _) => String::new(),
    };
    text.into_bytes()
}

fn join(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join(" ")
}

fn chosen<'n>(names: &[&'n str], bits: u32) -> Vec<&'n str> {
    names.iter().enumerate().filter(|(at, _)| bits & (1 << at) != 0).map(|(_, name)| *name).collect()
}

/// At most six decimals, without zeros at the end.
fn print_percentile(number: f64) -> String {
    let text = format!("{number:.6}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn print_events(bits: u32) -> String {
    let all = bits & EVENTS_ALL == EVENTS_ALL;
    let mut text = String::from(if all { "A" } else { "" });
    // `n` is no part of `A`, and Redis prints it before the K and E that follow the classes.
    for letter in *b"g$lshzxetdnKEm" {
        let bit = events(&[letter]).unwrap_or_default();
        if bits & bit != 0 && !(all && bit & EVENTS_ALL != 0) {
            text.push(char::from(letter));
        }
    }
    text
}

/// Parses the classes of keyspace events.
fn parse_events(words: &[&[u8]]) -> Result<Value, Why> {
    let [letters] = words else { return Err("wrong number of arguments".into()) };
    let why = "Invalid event class character. Use 'Ag$lshzxeKEtmdn'.";
    events(letters).map(Value::Events).ok_or_else(|| why.into())
}
