//! Records: the effects of commands, in the order in which they happened on a lane.
//!
//! ```text
//!  effect   [len 6][kind 1][db 1] *3\r\n$3\r\nSET\r\n...              one command
//!  group    [len 6][kind 1][ 0  ] effect effect ...                  all of them or none
//!  share    [len 6][kind 1][ 0  ] [home 2][lanes n 2][number 8][lane 2] x n   effect effect ...
//!                                                                    a lane's part of a command over several lanes
//!  end      [len 6][kind 1][ 0  ]                                    the stream goes on in the next volume, or the server left in order
//! ```
//!
//! Lengths are of what follows the eight bytes, little-endian. An effect's body is the request as a client would send it, made
//! deterministic: whoever repeats it gets the same.

use crate::types::rope::Rope;
use crate::wire::output::Output;
use crate::wire::reply::{Dialect, Reply};
use crate::wire::request::{Args, Span};
use crate::wire::resp::{Bounds, Parser, Step};

/// What stands before each record.
pub const HEAD_BYTES: usize = 8;

const LEN_BYTES: usize = 6;

/// Longest body a head can tell.
const BODY_MAX: u64 = 1 << (8 * LEN_BYTES);

/// Kinds, as the byte in the file.
const EFFECT: u8 = 1;
const GROUP: u8 = 2;
const SHARE: u8 = 3;
const END: u8 = 4;

/// A command over several lanes, told apart from all others of its volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Transaction {
    /// The lane it was asked of.
    pub home: u16,
    /// Its number there.
    pub number: u64,
}

/// One record, borrowed from the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record<'r> {
    Effects(Effects<'r>),
    Share(Transaction, Lanes<'r>, Effects<'r>),
    End,
}

/// Effects one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effects<'r> {
    bytes: &'r [u8],
}

/// The lanes of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lanes<'r> {
    bytes: &'r [u8],
}

impl Lanes<'_> {
    pub fn iter(&self) -> impl Iterator<Item = u16> {
        self.bytes.as_chunks().0.iter().map(|lane| u16::from_le_bytes(*lane))
    }
}

/// Why bytes are no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadRecord {
    Kind(u8),
    /// A share, or an effect in a group, is longer than what holds it.
    Short,
    /// An effect is not one whole request.
    Request,
}

impl BadRecord {
    pub fn words(self) -> String {
        match self {
            Self::Kind(kind) => format!("a record of unknown kind {kind}"),
            Self::Short => "a record that is shorter than what it holds".to_owned(),
            Self::Request => "an effect that is not one whole request".to_owned(),
        }
    }
}

/// Records that were put one after the other. Long words are shared with the keyspace, not copied.
pub type Records = Output;

/// A word of an effect.
#[derive(Clone, Debug)]
pub enum Word<'w> {
    Bytes(&'w [u8]),
    Long(&'w Rope),
}

/// Appends an effect.
pub fn put_effect<'w>(out: &mut Records, db: u8, words: impl ExactSizeIterator<Item = &'w [u8]>) {
    put_long_effect(out, db, words.map(Word::Bytes));
}

/// Appends an effect of which some words may be long.
pub fn put_long_effect<'w>(out: &mut Records, db: u8, words: impl ExactSizeIterator<Item = Word<'w>>) {
    let begun = begin(out);
    // A request is an array of bulks, as a reply may be.
    let mut request = Reply::new(out, Dialect::Resp2);
    request.array(words.len());
    words.for_each(|word| match word {
        Word::Bytes(word) => request.bulk(word),
        Word::Long(rope) => request.bulk_rope(rope, 0..rope.len()),
    });
    end(out, begun, EFFECT, db);
}

/// Appends effects that count together, which were put into `effects`.
pub fn put_group(out: &mut Records, effects: &Records) {
    let begun = begin(out);
    effects.copy_to(out);
    end(out, begun, GROUP, 0);
}

/// Appends a lane's part of a transaction, which may be that it changed nothing here.
pub fn put_share(out: &mut Records, of: Transaction, lanes: impl ExactSizeIterator<Item = u16>, effects: &Records) {
    let begun = begin(out);
    let count = u16::try_from(lanes.len()).expect("lanes have numbers of 16 bits");
    let bytes = &mut out.bytes;
    bytes.extend_from_slice(&of.home.to_le_bytes());
    bytes.extend_from_slice(&count.to_le_bytes());
    bytes.extend_from_slice(&of.number.to_le_bytes());
    lanes.for_each(|lane| bytes.extend_from_slice(&lane.to_le_bytes()));
    effects.copy_to(out);
    end(out, begun, SHARE, 0);
}

/// Appends the end of the stream.
pub fn put_end(out: &mut Records) {
    let begun = begin(out);
    end(out, begun, END, 0);
}

/// Where the body of a record begins: among the bytes, and after how many shared words.
#[derive(Clone, Copy)]
struct Begun {
    at: usize,
    shared: usize,
}

fn begin(out: &mut Records) -> Begun {
    out.bytes.extend_from_slice(&[0; HEAD_BYTES]);
    Begun { at: out.bytes.len(), shared: out.shared.len() }
}

fn end(out: &mut Records, Begun { at, shared }: Begun, kind: u8, db: u8) {
    let long: usize = out.shared[shared..].iter().map(|splice| splice.value.len()).sum();
    let len = (out.bytes.len() - at + long) as u64;
    assert!(len < BODY_MAX, "a record fits in memory");
    let head = &mut out.bytes[at - HEAD_BYTES..at];
    head[..LEN_BYTES].copy_from_slice(&len.to_le_bytes()[..LEN_BYTES]);
    head[LEN_BYTES] = kind;
    head[LEN_BYTES + 1] = db;
}

/// Bytes of the body that follows this head.
pub fn body_len(head: [u8; HEAD_BYTES]) -> u64 {
    u64::from_le_bytes(head) & (BODY_MAX - 1)
}

/// The record whose head and whole body this is.
pub fn parse(bytes: &[u8]) -> Result<Record<'_>, BadRecord> {
    let (head, body) = bytes.split_first_chunk::<HEAD_BYTES>().ok_or(BadRecord::Short)?;
    if body_len(*head) != body.len() as u64 {
        return Err(BadRecord::Short);
    }
    let record = match head[LEN_BYTES] {
        EFFECT => Record::Effects(Effects { bytes }),
        GROUP => Record::Effects(Effects { bytes: body }),
        SHARE => share(body)?,
        END if body.is_empty() => Record::End,
        kind => return Err(BadRecord::Kind(kind)),
    };
    Ok(record)
}

fn share(body: &[u8]) -> Result<Record<'_>, BadRecord> {
    let (home, rest) = body.split_first_chunk().ok_or(BadRecord::Short)?;
    let (count, rest) = rest.split_first_chunk().ok_or(BadRecord::Short)?;
    let (number, rest) = rest.split_first_chunk().ok_or(BadRecord::Short)?;
    let lanes_len = 2 * usize::from(u16::from_le_bytes(*count));
    let (lanes, effects) = rest.split_at_checked(lanes_len).ok_or(BadRecord::Short)?;
    let of = Transaction { home: u16::from_le_bytes(*home), number: u64::from_le_bytes(*number) };
    Ok(Record::Share(of, Lanes { bytes: lanes }, Effects { bytes: effects }))
}

impl Effects<'_> {
    /// Calls `each` with the database and the words of every effect. `spans` is scratch.
    pub fn each(&self, spans: &mut Vec<Span>, mut each: impl FnMut(u8, Args<'_>)) -> Result<(), BadRecord> {
        let mut rest = self.bytes;
        while let Some((head, after)) = rest.split_first_chunk::<HEAD_BYTES>() {
            let len = usize::try_from(body_len(*head)).map_err(|_| BadRecord::Short)?;
            let (body, next) = after.split_at_checked(len).ok_or(BadRecord::Short)?;
            match head[LEN_BYTES] {
                EFFECT => {}
                // What counts together within what counts together: all of it does.
                GROUP => {
                    rest = after;
                    continue;
                }
                kind => return Err(BadRecord::Kind(kind)),
            }
            spans.clear();
            each(head[LEN_BYTES + 1], request(body, spans)?);
            rest = next;
        }
        if rest.is_empty() { Ok(()) } else { Err(BadRecord::Short) }
    }
}

/// A body is one request of the protocol, and nothing else.
fn request<'r>(body: &'r [u8], spans: &'r mut Vec<Span>) -> Result<Args<'r>, BadRecord> {
    let bounds = Bounds { args_max: usize::MAX, bulk_bytes_max: u32::MAX as usize, trusted: true };
    if body.first() != Some(&b'*') || body.len() >= u32::MAX as usize {
        return Err(BadRecord::Request);
    }
    match Parser::default().next(body, 0, spans, &bounds) {
        Step::Request { end } if end == body.len() => Ok(Args::new(body, spans)),
        _ => Err(BadRecord::Request),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn effects_of(effects: Effects<'_>) -> Vec<(u8, Vec<Vec<u8>>)> {
        let (mut found, mut spans) = (Vec::new(), Vec::new());
        let each = |db, args: Args<'_>| found.push((db, args.iter().map(<[u8]>::to_vec).collect()));
        effects.each(&mut spans, each).expect("what was put is found");
        found
    }

    fn words(text: &str) -> Vec<Vec<u8>> {
        text.split(' ').map(|word| word.as_bytes().to_vec()).collect()
    }

    fn put(out: &mut Records, db: u8, text: &str) {
        put_effect(out, db, words(text).iter().map(Vec::as_slice));
    }

    #[test]
    fn what_is_put_is_found() {
        let (mut one, mut both) = (Records::default(), Records::default());
        put(&mut one, 3, "SET k v");
        let Ok(Record::Effects(effects)) = parse(&one.bytes) else { panic!("an effect") };
        assert_eq!(effects_of(effects), [(3, words("SET k v"))]);

        put(&mut both, 0, "DEL k");
        put(&mut both, 15, "INCR n");
        let expected = [(0, words("DEL k")), (15, words("INCR n"))];
        let (mut group, mut outer, mut inner) = (Records::default(), Records::default(), Records::default());
        put_group(&mut group, &both);
        inner.append(group.clone());
        inner.append(one.clone());
        put_group(&mut outer, &inner);
        let Ok(Record::Effects(effects)) = parse(&group.bytes) else { panic!("a group") };
        assert_eq!(effects_of(effects), expected);
        let Ok(Record::Effects(effects)) = parse(&outer.bytes) else { panic!("a group") };
        assert_eq!(effects_of(effects)[2..], [(3, words("SET k v"))]);

        let of = Transaction { home: 2, number: 1 << 50 };
        let mut share = Records::default();
        put_share(&mut share, of, [0, 2, 300].into_iter(), &both);
        let Ok(Record::Share(found, lanes, effects)) = parse(&share.bytes) else { panic!("a share") };
        assert_eq!((found, lanes.iter().collect::<Vec<_>>()), (of, vec![0, 2, 300]));
        assert_eq!(effects_of(effects), expected);

        let mut end = Records::default();
        put_end(&mut end);
        assert_eq!(parse(&end.bytes), Ok(Record::End));
    }

    #[test]
    fn an_effect_is_one_whole_request() {
        for body in ["", "PING\r\n", "*1\r\n$4\r\nPING\r\nx", "*1\r\n$4\r\nPIN", "*0\r\n", "*-1\r\n"] {
            let mut records = Records::default();
            let begun = begin(&mut records);
            records.bytes.extend_from_slice(body.as_bytes());
            end(&mut records, begun, EFFECT, 0);
            let Ok(Record::Effects(effects)) = parse(&records.bytes) else { panic!("looked at when it is run") };
            assert_eq!(effects.each(&mut Vec::new(), |_, _| ()), Err(BadRecord::Request), "{body:?}");
        }
    }

    #[test]
    fn long_words_are_shared_and_read_the_same() {
        let long = vec![b'l'; 300_000];
        let (rope, mut shared, mut copied) = (Rope::from(&long[..]), Records::default(), Records::default());
        let words = [Word::Bytes(b"SET"), Word::Bytes(b"k"), Word::Long(&rope)];
        put_long_effect(&mut shared, 4, words.into_iter());
        assert!(shared.bytes.len() < 100, "the word is not copied");
        put_effect(&mut copied, 4, [&b"SET"[..], b"k", &long].into_iter());
        assert_eq!(shared.to_vec(), copied.bytes);
        let mut group = Records::default();
        put_group(&mut group, &shared);
        let group = group.to_vec();
        let Ok(Record::Effects(effects)) = parse(&group) else { panic!("a group") };
        assert_eq!(effects_of(effects)[0].1[2], long);
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_record_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..80), kind in 0..6_u8) {
            let mut framed = Records::default();
            let begun = begin(&mut framed);
            framed.bytes.extend_from_slice(&bytes);
            end(&mut framed, begun, kind, 0);
            for bytes in [&bytes, &framed.bytes] {
                if let Ok(Record::Effects(effects) | Record::Share(_, _, effects)) = parse(bytes) {
                    let _ = effects.each(&mut Vec::new(), |_, args| assert!(!args.is_empty()));
                }
            }
        }
    }
}
