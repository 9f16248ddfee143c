//! A line of redis.conf into words: separated by spaces, quoted with "..." (escapes \n \r \t \b \a \xHH) or '...' (only \').
//! A closing quote must end its word.

/// A quote is open at the end, or a closing one is followed by more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unbalanced;

/// The words of `line`; none for a comment or an empty line.
pub fn line_words(line: &[u8]) -> Result<Vec<Vec<u8>>, Unbalanced> {
    let line = line.trim_ascii();
    if line.starts_with(b"#") { Ok(Vec::new()) } else { split_words(line) }
}

/// Splits `text` with the rules above, without comments.
pub fn split_words(text: &[u8]) -> Result<Vec<Vec<u8>>, Unbalanced> {
    let mut words = Vec::new();
    let mut rest = text;
    loop {
        rest = skip_space(rest);
        if rest.is_empty() {
            return Ok(words);
        }
        let (word, after) = take_word(rest)?;
        words.push(word);
        rest = after;
    }
}

/// What separates words.
pub fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | 0x0b | 0x0c)
}

fn skip_space(text: &[u8]) -> &[u8] {
    let spaces = text.iter().take_while(|byte| is_space(**byte)).count();
    text.get(spaces..).unwrap_or_default()
}

/// A quote may open in the middle of a word, as in Redis.
fn take_word(text: &[u8]) -> Result<(Vec<u8>, &[u8]), Unbalanced> {
    let mut word = Vec::new();
    let mut rest = text;
    while let [byte, after @ ..] = rest {
        match byte {
            b'"' | b'\'' => return closed(take_quoted(*byte, after, word)?),
            byte if is_space(*byte) => break,
            byte => word.push(*byte),
        }
        rest = after;
    }
    Ok((word, rest))
}

fn closed((word, rest): (Vec<u8>, &[u8])) -> Result<(Vec<u8>, &[u8]), Unbalanced> {
    match rest.first() {
        Some(byte) if !is_space(*byte) => Err(Unbalanced),
        _ => Ok((word, rest)),
    }
}

fn take_quoted(quote: u8, mut rest: &[u8], mut word: Vec<u8>) -> Result<(Vec<u8>, &[u8]), Unbalanced> {
    loop {
        rest = match rest {
            [] => return Err(Unbalanced),
            [byte, after @ ..] if *byte == quote => return Ok((word, after)),
            [b'\\', b'\'', after @ ..] if quote == b'\'' => {
                word.push(b'\'');
                after
            }
            [b'\\', b'x', high, low, after @ ..]
                if quote == b'"' && high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                word.push(hex(*high) << 4 | hex(*low));
                after
            }
            [b'\\', escaped, after @ ..] if quote == b'"' => {
                word.push(unescape(*escaped));
                after
            }
            [byte, after @ ..] => {
                word.push(*byte);
                after
            }
        }
    }
}

fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => digit.to_ascii_lowercase().wrapping_sub(b'a').wrapping_add(10),
    }
}

fn unescape(byte: u8) -> u8 {
    match byte {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 8,
        b'a' => 7,
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_split_as_in_redis() {
        for (line, words) in [
            ("", &[][..]),
            ("  # port 1", &[]),
            ("  port\t 7 \r", &["port", "7"]),
            (r#"a "b c" 'd e'"#, &["a", "b c", "d e"]),
            (r#"a "\x41\n\"\q" '\'\n'"#, &["a", "A\n\"q", "'\\n"]),
            (r#"a "" ''"#, &["a", "", ""]),
            (r#"a x"y z""#, &["a", "xy z"]),
            (r#"a "\xg""#, &["a", "xg"]),
        ] {
            let expected: Vec<Vec<u8>> = words.iter().map(|word| word.as_bytes().to_vec()).collect();
            assert_eq!(line_words(line.as_bytes()), Ok(expected), "{line}");
        }
        for line in [r#"a "b"#, r#"a "b"c"#, "a 'b", r#"a "b\"#, "a 'b'c"] {
            assert_eq!(line_words(line.as_bytes()), Err(Unbalanced), "{line}");
        }
    }
}
