//! Inputs out of other inputs.

use corelane::base::rng::Rng;

/// What a protocol turns upon.
const TOKENS: &[&[u8]] = &[
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b"*",
    b"$",
    b"\"",
    b"'",
    b"\\x41",
    b"\\",
    b" ",
    b"#",
    b"*1\r\n",
    b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n",
    b"$0\r\n\r\n",
    b"$-1\r\n",
    b"*-1\r\n",
    b"*0\r\n",
    b"PING\r\n",
    b"GET k\r\n",
    b"MULTI\r\n",
    b"EXEC\r\n",
    b"CLIENT REPLY OFF\r\n",
    b"CONFIG SET requirepass a\r\n",
    b"AUTH a\r\n",
    b"KEYS *\r\n",
    b"FLUSHALL\r\n",
    b"HELLO 3\r\n",
    b"BGETDEL k 0\r\n",
    b"DEBUG PANI\r\n",
    b"\xff",
    b"save 1 1\n",
    b"include x\n",
    b"rename-command GET \"\"\n",
    b"--port 1",
];

const NUMBERS: &[&[u8]] = &[
    b"0",
    b"-1",
    b"1",
    b"10",
    b"11",
    b"999",
    b"1000",
    b"16384",
    b"16385",
    b"131072",
    b"1048576",
    b"1048577",
    b"536870912",
    b"536870913",
    b"2147483647",
    b"2147483648",
    b"4294967296",
    b"9223372036854775807",
    b"9223372036854775808",
    b"-9223372036854775808",
    b"99999999999999999999999",
    b"1e400",
    b"nan",
    b"+1",
    b"01",
    b"0x10",
];

const LENGTHS: &[u64] = &[3, 100, 1000, 17_000, 70_000, 140_000];

/// One input, changed in some places.
pub(crate) fn mutated(corpus: &[Vec<u8>], rng: &mut Rng) -> Vec<u8> {
    let mut data = pick(corpus, rng).clone();
    for _ in 0..=rng.below(6) {
        change(&mut data, corpus, rng);
    }
    data.truncate(400_000);
    data
}

fn change(data: &mut Vec<u8>, corpus: &[Vec<u8>], rng: &mut Rng) {
    let at = place(data, rng);
    let most = LENGTHS[below(rng, 3)];
    let end = (at + usize::try_from(rng.below(1 + most)).unwrap_or(0)).min(data.len());
    match rng.below(9) {
        0 => data.splice(at..at, pick(TOKENS, rng).iter().copied()).for_each(drop),
        1 => data.drain(at..end).for_each(drop),
        2 => {
            let twice = data[at..end].to_vec();
            data.splice(end..end, twice);
        }
        3 => replace_number(data, at, rng),
        4 => {
            let (byte, count) = (rng.next_u64().to_le_bytes()[0], pick(LENGTHS, rng));
            let count = if rng.one_in(8) { *count } else { 1 + rng.below(20) };
            data.splice(at..at, std::iter::repeat_n(byte, usize::try_from(count).unwrap_or(0)));
        }
        5 => data.truncate(at),
        6 => {
            let other = pick(corpus, rng);
            let from = place(other, rng);
            data.truncate(at);
            data.extend_from_slice(&other[from..]);
        }
        7 => {
            // A bulk word whose header is true.
            let len = usize::try_from(*pick(LENGTHS, rng)).unwrap_or(0);
            let word = [format!("${len}\r\n").as_bytes(), &vec![b'v'; len], b"\r\n"].concat();
            data.splice(at..at, word);
        }
        _ => {
            if let Some(byte) = data.get_mut(at) {
                *byte = if rng.one_in(2) { rng.next_u64().to_le_bytes()[0] } else { byte.wrapping_add(1) };
            }
        }
    }
}

/// The next run of digits becomes a number that matters.
fn replace_number(data: &mut Vec<u8>, at: usize, rng: &mut Rng) {
    let Some(start) = data[at..].iter().position(u8::is_ascii_digit).map(|from| at + from) else { return };
    let len = data[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    data.splice(start..start + len, pick(NUMBERS, rng).iter().copied());
}

fn place(data: &[u8], rng: &mut Rng) -> usize {
    below(rng, data.len() + 1)
}

fn pick<'t, T>(all: &'t [T], rng: &mut Rng) -> &'t T {
    &all[below(rng, all.len())]
}

fn below(rng: &mut Rng, bound: usize) -> usize {
    usize::try_from(rng.below(bound as u64)).expect("below a usize")
}
