//! Where a request ends, for those who pass requests on without having made them: the recording proxy.

use memchr::memchr;

use super::binary;
use super::memcache::length_word;
use super::resp::{Halt, value_end};

/// The length of the first request in `bytes`, told by its first byte: RESP's `*`, the binary protocol's magic, or a
/// line of text (inline RESP, Memcached), which a data block may follow.
pub(crate) fn request_len(bytes: &[u8]) -> Result<usize, Halt> {
    match bytes.first() {
        None => Err(Halt::Incomplete),
        Some(b'*') => value_end(bytes, 0),
        Some(&binary::REQUEST_MAGIC) => binary::message_end(bytes, 0),
        Some(_) => text_len(bytes),
    }
}

fn text_len(bytes: &[u8]) -> Result<usize, Halt> {
    let line_len = memchr(b'\n', bytes).ok_or(Halt::Incomplete)?;
    let line = &bytes[..line_len];
    let data = match line.split(|byte| *byte == b' ').next() {
        Some(b"set" | b"add" | b"replace" | b"append" | b"prepend" | b"cas") => length_word(line, 4)? + 2,
        Some(b"ms") => length_word(line, 2)? + 2,
        _ => 0,
    };
    let end = line_len + 1 + data;
    if end <= bytes.len() { Ok(end) } else { Err(Halt::Incomplete) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_request_is_cut_where_it_ends() {
        let mut get = vec![0x80, 0, 0, 1];
        get.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, b'k']);
        let requests: [&[u8]; 6] = [
            b"*2\r\n$3\r\nGET\r\n$1\r\n\n\r\n",
            b"PING\r\n",
            b"get a b\r\n",
            b"set k 0 0 3\r\na\nb\r\n",
            b"ms k 2 T9\r\nab\r\n",
            &get,
        ];
        for request in requests {
            let followed = [request, b"*1\r\n$4\r\nPING\r\n"].concat();
            assert_eq!(request_len(&followed), Ok(request.len()), "{}", request.escape_ascii());
            for cut in 0..request.len() {
                assert_eq!(request_len(&request[..cut]), Err(Halt::Incomplete), "{} to {cut}", request.escape_ascii());
            }
        }
    }
}
