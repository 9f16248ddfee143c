//! Quoted text as the case files write it: `"a\r\n\xff"`, and a glob for what a server may choose.

/// Reads a quoted string at the start of `text`. Returns its bytes and what follows it.
pub(crate) fn unquote(text: &str) -> Result<(Vec<u8>, &str), String> {
    let inner = text.strip_prefix('"').ok_or("a quote was expected")?;
    let mut out = Vec::new();
    let mut rest = inner;
    loop {
        let mut chars = rest.chars();
        match chars.next().ok_or("an unclosed quote")? {
            '"' => return Ok((out, chars.as_str())),
            '\\' => rest = escape(chars.as_str(), &mut out)?,
            plain => {
                out.extend_from_slice(plain.to_string().as_bytes());
                rest = chars.as_str();
            }
        }
    }
}

fn escape<'a>(text: &'a str, out: &mut Vec<u8>) -> Result<&'a str, String> {
    let mut chars = text.chars();
    let byte = match chars.next() {
        Some('n') => b'\n',
        Some('r') => b'\r',
        Some('t') => b'\t',
        Some('\\') => b'\\',
        Some('"') => b'"',
        Some('x') => {
            let digits = chars.as_str().get(..2).ok_or("two hex digits after \\x")?;
            out.push(u8::from_str_radix(digits, 16).map_err(|_| "two hex digits after \\x")?);
            return Ok(&chars.as_str()[2..]);
        }
        other => return Err(format!("an unknown escape {other:?}")),
    };
    out.push(byte);
    Ok(chars.as_str())
}

/// `*` stands for any run of bytes; everything else for itself.
pub(crate) fn matches_glob(pattern: &[u8], text: &[u8]) -> bool {
    match pattern.split_first() {
        None => text.is_empty(),
        Some((b'*', rest)) => (0..=text.len()).any(|skip| matches_glob(rest, &text[skip..])),
        Some((byte, rest)) => text.split_first().is_some_and(|(first, tail)| first == byte && matches_glob(rest, tail)),
    }
}

#[test]
fn quoted_text_and_globs() {
    assert_eq!(unquote(r#""a\r\n\xff\"" rest"#), Ok((b"a\r\n\xff\"".to_vec(), " rest")));
    assert!(unquote("\"open").is_err());
    assert!(matches_glob(b"a*c*", b"abbc"));
    assert!(!matches_glob(b"a*d", b"abbc"));
}
