//! RESP: writing commands as arrays of bulks, and where a value of whatever shape ends.

use memchr::memchr;

use super::piece::{Form, Piece, Pieces};
use crate::workload::words::{Part, Spell, Word};

/// The command as one multibulk request.
pub(crate) fn request(words: &[Word], spell: &Spell<'_>) -> Vec<Piece> {
    let mut pieces = Pieces::default();
    pieces.text(format!("*{}\r\n", words.len()).as_bytes());
    for word in words {
        match &word.part {
            Part::Text => {
                header(&mut pieces, word.around()).text(word.before.as_bytes());
            }
            Part::Key(key) => {
                let shape = spell.key_shape();
                header(&mut pieces, word.around() + shape.len()).text(word.before.as_bytes());
                pieces.key(*key, &shape).text(word.after.as_bytes());
            }
            Part::Value(key) => match spell.sizes.the_only_one() {
                Some(len) => {
                    header(&mut pieces, len as usize).fixed_value(*key, len as usize);
                }
                None => {
                    pieces.text(b"$").push(Piece::ValueLength(*key)).text(b"\r\n").push(Piece::Value(*key));
                }
            },
            Part::Ttl => {
                pieces.push(Piece::Ttl(Form::Bulk));
                continue; // it has its own end of line
            }
            Part::Number(bound) => {
                pieces.push(Piece::Number(*bound, Form::Bulk));
                continue;
            }
        }
        pieces.text(b"\r\n");
    }
    pieces.finish()
}

fn header(pieces: &mut Pieces, len: usize) -> &mut Pieces {
    pieces.text(format!("${len}\r\n").as_bytes())
}

/// Why a value has no end.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Halt {
    Incomplete,
    Malformed,
}

/// Deepest nesting of a reply; deeper ones are taken for garbage.
const DEPTH_MAX: u32 = 32;

/// Where the value that begins at `at` ends.
pub(crate) fn value_end(bytes: &[u8], at: usize) -> Result<usize, Halt> {
    nested_end(bytes, at, 0)
}

fn nested_end(bytes: &[u8], at: usize, depth: u32) -> Result<usize, Halt> {
    let kind = *bytes.get(at).ok_or(Halt::Incomplete)?;
    let line = bytes.get(at + 1..).ok_or(Halt::Incomplete)?;
    let line_len = memchr(b'\n', line).ok_or(Halt::Incomplete)?;
    let after = at + 1 + line_len + 1;
    match kind {
        b'+' | b'-' | b':' | b'_' | b'#' | b',' | b'(' => Ok(after),
        b'$' | b'=' | b'!' => match number(&line[..line_len])? {
            None => Ok(after),
            Some(len) if after + len + 2 <= bytes.len() => Ok(after + len + 2),
            Some(_) => Err(Halt::Incomplete),
        },
        b'*' | b'~' | b'>' | b'%' | b'|' if depth < DEPTH_MAX => {
            let count = number(&line[..line_len])?.unwrap_or(0);
            let values = if matches!(kind, b'%' | b'|') { 2 * count } else { count };
            let end = (0..values).try_fold(after, |end, _| nested_end(bytes, end, depth + 1))?;
            // An attribute only precedes the value it belongs to.
            if kind == b'|' { nested_end(bytes, end, depth + 1) } else { Ok(end) }
        }
        _ => Err(Halt::Malformed),
    }
}

/// The length in a header line that still has its `\r`; -1 is a null.
fn number(line: &[u8]) -> Result<Option<usize>, Halt> {
    let text = line.strip_suffix(b"\r").ok_or(Halt::Malformed)?;
    match std::str::from_utf8(text).map_err(|_| Halt::Malformed)? {
        "-1" => Ok(None),
        digits => digits.parse().map(Some).map_err(|_| Halt::Malformed),
    }
}
