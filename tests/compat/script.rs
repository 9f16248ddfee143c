//! The case files. A file is a list of cases; each begins with `==` and starts from an empty server and fresh connections.
//!
//! ```text
//! == SET with NX                      a case, named
//! @ since 7.2                         only where redis_version is at least that
//! @ corelane                          only on Corelane
//! @ resp2                             not repeated after HELLO 3
//! @ onelane                           not repeated on several lanes, each of which a SCAN visits by itself
//! @ lanes                             only on several lanes
//! @ shardport                         asked on the port of lane 0 alone; of Redis, where it is the only node of a cluster
//! > SET k "a\r\n\xff" NX              a command; words, or quoted with the escapes \n \r \t \" \\ \xHH
//! > SET k "x"*1000                    a repeated string
//! b> GET k                            the same, on a second connection called b
//! +OK                                 the expected reply, until the next command (pattern.rs has the notation)
//! (none)                              no reply at all (seen when the next reply is the wrong one)
//! (closed)                            the server closes this connection
//! b<                                  a further reply on connection b, to what had none yet
//! ~ 20                                wait so many milliseconds
//! # a remark                          on a line of its own
//! ```

use super::pattern::{self, Pattern};
use crate::support::text::unquote;

pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) marks: Vec<Mark>,
    pub(crate) steps: Vec<Step>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Mark {
    Since(u32, u32),
    CorelaneOnly,
    Resp2Only,
    OneLane,
    /// Not with a journal, or with one only.
    NoJournal,
    Journal,
    SeveralLanes,
    ShardPort,
}

pub(crate) enum Step {
    Call { line: usize, conn: String, args: Vec<Vec<u8>>, expected: Expected },
    Hear { line: usize, conn: String, expected: Expected },
    Wait { millis: u64 },
}

pub(crate) enum Expected {
    Reply(Pattern),
    Nothing,
    Closed(Option<Pattern>),
}

/// Reads a whole file; the error names the line.
pub(crate) fn parse(text: &str) -> Result<Vec<Case>, String> {
    let mut cases: Vec<Case> = Vec::new();
    let mut lines = text.lines().enumerate().map(|(i, line)| (i + 1, line.trim())).peekable();
    while let Some((number, line)) = lines.next() {
        let at = |why: String| format!("line {number}: {why}");
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(name) = line.strip_prefix("== ") {
            cases.push(Case { name: name.into(), marks: Vec::new(), steps: Vec::new() });
            continue;
        }
        let case = cases.last_mut().ok_or_else(|| at("a case must begin with ==".into()))?;
        if let Some(mark) = line.strip_prefix("@ ") {
            case.marks.push(parse_mark(mark).map_err(at)?);
        } else if let Some(millis) = line.strip_prefix("~ ") {
            case.steps.push(Step::Wait { millis: millis.parse().map_err(|_| at("milliseconds".into()))? });
        } else {
            let heard = split_hear(line);
            let (conn, words) = heard
                .map(|conn| (conn, ""))
                .or_else(|| split_call(line))
                .ok_or_else(|| at(format!("neither command nor mark: {line}")))?;
            let args = parse_args(words).map_err(at)?;
            let mut reply = String::new();
            while let Some((_, line)) = lines.next_if(|(_, line)| belongs_to_reply(line)) {
                reply.push_str(line);
                reply.push('\n');
            }
            let expected = parse_expected(reply.trim()).map_err(at)?;
            let conn = conn.into();
            case.steps.push(match heard {
                Some(_) => Step::Hear { line: number, conn, expected },
                None => Step::Call { line: number, conn, args, expected },
            });
        }
    }
    Ok(cases)
}

fn belongs_to_reply(line: &str) -> bool {
    let other = line.is_empty() || ["== ", "@ ", "~ ", "# "].iter().any(|start| line.starts_with(start));
    !other && split_call(line).is_none() && split_hear(line).is_none()
}

/// `b> GET k` is connection `b` and `GET k`.
fn split_call(line: &str) -> Option<(&str, &str)> {
    let (conn, words) = line.split_once("> ")?;
    conn.bytes().all(|b| b.is_ascii_lowercase()).then_some((conn, words))
}

/// `b<` is connection `b`.
fn split_hear(line: &str) -> Option<&str> {
    let conn = line.strip_suffix('<')?;
    conn.bytes().all(|b| b.is_ascii_lowercase()).then_some(conn)
}

fn parse_mark(mark: &str) -> Result<Mark, String> {
    match mark.split_once(' ') {
        None if mark == "corelane" => Ok(Mark::CorelaneOnly),
        None if mark == "resp2" => Ok(Mark::Resp2Only),
        None if mark == "onelane" => Ok(Mark::OneLane),
        None if mark == "nojournal" => Ok(Mark::NoJournal),
        None if mark == "journal" => Ok(Mark::Journal),
        None if mark == "lanes" => Ok(Mark::SeveralLanes),
        None if mark == "shardport" => Ok(Mark::ShardPort),
        Some(("since", version)) => {
            let (major, minor) = parse_version(version).ok_or("since MAJOR.MINOR")?;
            Ok(Mark::Since(major, minor))
        }
        _ => Err(format!("unknown mark {mark}")),
    }
}

/// The first two numbers of a version.
pub(crate) fn parse_version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split('.').map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

fn parse_args(words: &str) -> Result<Vec<Vec<u8>>, String> {
    let mut args = Vec::new();
    let mut rest = words.trim_start();
    while !rest.is_empty() {
        let arg;
        (arg, rest) = if rest.starts_with('"') { repeated(rest)? } else { plain_word(rest) };
        args.push(arg);
        rest = rest.trim_start();
    }
    Ok(args)
}

fn plain_word(text: &str) -> (Vec<u8>, &str) {
    let (word, rest) = text.split_at(text.find(' ').unwrap_or(text.len()));
    (word.as_bytes().to_vec(), rest)
}

fn repeated(text: &str) -> Result<(Vec<u8>, &str), String> {
    let (piece, rest) = unquote(text)?;
    let Some(count) = rest.strip_prefix('*') else { return Ok((piece, rest)) };
    let (digits, rest) = count.split_at(count.find(' ').unwrap_or(count.len()));
    Ok((piece.repeat(digits.parse().map_err(|_| "a number after *")?), rest))
}

fn parse_expected(text: &str) -> Result<Expected, String> {
    match text {
        "" => Err("a command without an expected reply".into()),
        "(none)" => Ok(Expected::Nothing),
        "(closed)" => Ok(Expected::Closed(None)),
        _ => match text.strip_suffix("(closed)") {
            Some(reply) => Ok(Expected::Closed(Some(pattern::parse(reply.trim())?))),
            None => Ok(Expected::Reply(pattern::parse(text)?)),
        },
    }
}
