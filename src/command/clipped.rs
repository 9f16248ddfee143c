//! A request as an operator sees it, in SLOWLOG and MONITOR: clipped, and without secrets.

use std::borrow::Cow;

use super::Command;
use crate::admin::slowlog::{WORD_BYTES_MAX, WORDS_MAX};
use crate::base::ascii::is_word;
use crate::config;
use crate::store::incoming::Incoming;
use crate::types::rope::Rope;
use crate::wire::request::{Args, Request};

const HIDDEN: &[u8] = b"(redacted)";

/// The words of a request; those that are too many or too long end in how much is missing, as in Redis. `longs`: those of its words that
/// came as ropes.
pub fn clipped(row: &Command, args: Args<'_>, longs: &Incoming) -> Request {
    let mut request = Request::default();
    let shown = if args.len() > WORDS_MAX { WORDS_MAX - 1 } else { args.len() };
    for (i, word) in args.iter().enumerate().take(shown) {
        if is_secret(row, args, i) {
            request.push(HIDDEN);
        } else {
            let (head, rest) = clip(word, longs.at(i), WORD_BYTES_MAX);
            request.push(&[&head, rest.as_bytes()].concat());
        }
    }
    if shown < args.len() {
        request.push(format!("... ({} more arguments)", args.len() - shown).as_bytes());
    }
    request
}

/// The head of a word, `long` if it came as that, and how much is missing, if any.
pub fn clip<'w>(word: &'w [u8], long: Option<&Rope>, bytes_max: usize) -> (Cow<'w, [u8]>, String) {
    let (head, len) = match long {
        None => (Cow::Borrowed(&word[..word.len().min(bytes_max)]), word.len()),
        Some(rope) => {
            let mut head = Vec::new();
            rope.read_into(0..bytes_max.min(rope.len()), &mut head);
            (Cow::Owned(head), rope.len())
        }
    };
    let missing = len - head.len();
    (head, if missing > 0 { format!("... ({missing} more bytes)") } else { String::new() })
}

/// Whether nobody but who sent it may read this word of a request: passwords, and what tells of users.
pub fn is_secret(row: &Command, args: Args<'_>, word: usize) -> bool {
    let before = |distance: usize| word.checked_sub(distance).and_then(|at| args.get(at)).unwrap_or_default();
    match row.name {
        "auth" => word > 0,
        "hello" => word > 2 && (is_word(before(1), "AUTH") || word > 3 && is_word(before(2), "AUTH")),
        "acl|setuser" | "acl|getuser" | "acl|deluser" | "acl|load" => word > 1,
        "config|set" => word > 2 && word % 2 == 1 && config::is_secret(before(1)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::table::Table;

    fn shown(line: &str) -> String {
        let request: Request = line.split(' ').map(str::as_bytes).collect();
        let (args, table) = (request.args(), Table::new());
        let found = table.find(args.at(0)).expect(line);
        let clipped = clipped(table.innermost(found, args).row, args, &Incoming::default());
        let words: Vec<String> = clipped.args().iter().map(|word| String::from_utf8_lossy(word).into_owned()).collect();
        words.join(" ")
    }

    #[test]
    fn secrets_are_hidden() {
        for (line, wanted) in [
            ("AUTH secret", "AUTH (redacted)"),
            ("AUTH me secret", "AUTH (redacted) (redacted)"),
            ("HELLO 3 AUTH me secret SETNAME me", "HELLO 3 AUTH (redacted) (redacted) SETNAME me"),
            ("HELLO 3 SETNAME auth", "HELLO 3 SETNAME auth"),
            ("CONFIG SET maxmemory 1 requirepass secret", "CONFIG SET maxmemory 1 requirepass (redacted)"),
            ("CONFIG SET MasterAuth secret port 2", "CONFIG SET MasterAuth (redacted) port 2"),
            ("ACL SETUSER me on >secret", "ACL SETUSER (redacted) (redacted) (redacted)"),
            ("SET auth secret", "SET auth secret"),
        ] {
            assert_eq!(shown(line), wanted);
        }
    }

    #[test]
    fn long_requests_are_clipped() {
        let (word, table) = ("x".repeat(129), Table::new());
        assert_eq!(shown(&format!("ECHO {word}")), format!("ECHO {}... (1 more bytes)", "x".repeat(128)));
        let many = (0..33).map(|i| i.to_string()).collect::<Vec<_>>().join(" ");
        assert!(shown(&format!("DEL {many}")).ends_with(" 29 ... (3 more arguments)"));
        let few = (0..31).map(|i| i.to_string()).collect::<Vec<_>>().join(" ");
        assert!(shown(&format!("DEL {few}")).ends_with(" 30"));
        let mut longs = Incoming::default();
        longs.push(2, Rope::from(&[b'y'; 1000][..]));
        let request: Request = [&b"SET"[..], b"k", b""].into_iter().collect();
        let row = table.find(b"set").expect("a command").row;
        let clipped = clipped(row, request.args(), &longs);
        assert_eq!(clipped.args().at(2), format!("{}... (872 more bytes)", "y".repeat(128)).as_bytes());
    }
}
