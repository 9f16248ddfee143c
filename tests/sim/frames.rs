//! Where a reply ends: RESP2 and RESP3 without their meaning, so that replies can be told apart and compared byte for byte.

/// The length of the first whole reply in `bytes`, if there is one.
///
/// # Errors
/// When the bytes cannot be RESP.
pub(crate) fn frame(bytes: &[u8]) -> Result<Option<usize>, String> {
    let (mut at, mut pending) = (0, 1_usize);
    while pending > 0 {
        let Some(line) = line_at(bytes, at)? else { return Ok(None) };
        at += line.len() + 2;
        pending -= 1;
        let kind = line.first().copied().ok_or("an empty line")?;
        match kind {
            b'$' | b'=' => {
                if let Some(len) = count(&line[1..])? {
                    at += len + 2;
                    if at > bytes.len() {
                        return Ok(None);
                    }
                    if &bytes[at - 2..at] != b"\r\n" {
                        return Err("a bulk string does not end where it said".into());
                    }
                }
            }
            b'*' | b'~' | b'>' => pending += count(&line[1..])?.unwrap_or(0),
            b'%' => pending += 2 * count(&line[1..])?.unwrap_or(0),
            b'+' | b'-' | b':' | b'_' | b',' | b'#' | b'(' => {}
            _ => return Err(format!("no reply begins with {}", line.escape_ascii())),
        }
    }
    Ok(Some(at))
}

/// The items of an array, set, push or map, which has two an entry; none if it is something else.
pub(crate) fn items(reply: &[u8]) -> Option<Vec<&[u8]>> {
    let line = line_at(reply, 0).ok()??;
    let each = match line.first()? {
        b'*' | b'~' | b'>' => 1,
        b'%' => 2,
        _ => return None,
    };
    let wanted = each * count(&line[1..]).ok()??;
    let mut at = line.len() + 2;
    let mut found = Vec::new();
    for _ in 0..wanted {
        let len = frame(reply.get(at..)?).ok()??;
        found.push(&reply[at..at + len]);
        at += len;
    }
    Some(found)
}

/// The text of a bulk or simple string, or the digits of an integer.
pub(crate) fn text(reply: &[u8]) -> Option<&[u8]> {
    let line = line_at(reply, 0).ok()??;
    match line.first()? {
        b'$' => {
            let len = count(&line[1..]).ok()??;
            reply.get(line.len() + 2..line.len() + 2 + len)
        }
        b'+' | b':' => Some(&line[1..]),
        _ => None,
    }
}

pub(crate) fn is_error(reply: &[u8]) -> bool {
    reply.starts_with(b"-")
}

/// Null of either dialect, string or array.
pub(crate) fn is_null(reply: &[u8]) -> bool {
    matches!(reply, b"$-1\r\n" | b"*-1\r\n" | b"_\r\n")
}

fn line_at(bytes: &[u8], at: usize) -> Result<Option<&[u8]>, String> {
    let Some(rest) = bytes.get(at..) else { return Ok(None) };
    let Some(end) = rest.iter().position(|&byte| byte == b'\n') else { return Ok(None) };
    match rest[..end].strip_suffix(b"\r") {
        Some(line) => Ok(Some(line)),
        None => Err("LF without CR".into()),
    }
}

fn count(digits: &[u8]) -> Result<Option<usize>, String> {
    if digits == b"-1" {
        return Ok(None);
    }
    let text = std::str::from_utf8(digits).map_err(|_| "a length is digits")?;
    text.parse().map(Some).map_err(|_| format!("a length is digits, not {text:?}"))
}

#[test]
fn replies_end_where_they_end() {
    for whole in
        ["+OK\r\n", "$-1\r\n", "$3\r\na\r\n\r\n", "*2\r\n:1\r\n*1\r\n$0\r\n\r\n", "%1\r\n+a\r\n_\r\n", "*0\r\n"]
    {
        let mut bytes = whole.as_bytes().to_vec();
        for cut in 0..bytes.len() {
            assert_eq!(frame(&bytes[..cut]), Ok(None), "{whole:?} cut at {cut}");
        }
        bytes.extend_from_slice(b"+more\r\n");
        assert_eq!(frame(&bytes), Ok(Some(whole.len())));
    }
    assert!(frame(b"hello\r\n").is_err() && frame(b"$1\r\nab\r\n").is_err() && frame(b"+a\n").is_err());
    assert_eq!(items(b"*2\r\n:1\r\n$1\r\nx\r\n").map(|items| items.len()), Some(2));
    assert_eq!(text(b"$1\r\nx\r\n"), Some(&b"x"[..]));
}
