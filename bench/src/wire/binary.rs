//! Memcached's binary protocol: 24 bytes of header, then extras, key, value.
//!
//! ```text
//!   request   80 op  key length(2)  extras length, 0, 0 0,  body length(4)  opaque(4)  cas(8)   extras key value
//!   reply     81 op  key length(2)  extras length, 0, status(2)  body length(4)  ...
//! ```
//!
//! Several keys are so many GETs in a row.

use super::expect::Reply;
use super::piece::{Form, KeyIndex, Piece, Pieces};
use super::resp::Halt;
use crate::workload::words::{Operation, Spell};

pub(crate) const HEADER_BYTES: usize = 24;
pub(crate) const REPLY_MAGIC: u8 = 0x81;
pub(crate) const REQUEST_MAGIC: u8 = 0x80;
/// The flags before a value.
pub(crate) const GET_EXTRAS: usize = 4;

const GET: u8 = 0x00;
const SET: u8 = 0x01;
const DELETE: u8 = 0x04;
const INCREMENT: u8 = 0x05;
const NO_OPERATION: u8 = 0x0a;
const TOUCH: u8 = 0x1c;
const GET_AND_TOUCH: u8 = 0x1d;

pub(crate) fn request(operation: &Operation, spell: &Spell<'_>) -> (Vec<Piece>, Option<Reply>) {
    let shape = spell.key_shape();
    let mut pieces = Pieces::default();
    let reply = match *operation {
        Operation::Get { keys } => {
            for key in 0..keys {
                header(&mut pieces, GET, shape.len(), &[], shape.len());
                pieces.key(KeyIndex(key), &shape);
            }
            None
        }
        Operation::Set { expires } => {
            set(&mut pieces, expires, &shape, spell);
            Some(Reply::Any)
        }
        Operation::SetZero => {
            header(&mut pieces, SET, shape.len(), &[0; 8], shape.len() + 1);
            pieces.key(KeyIndex(0), &shape).text(b"0");
            Some(Reply::Any)
        }
        Operation::Delete => {
            header(&mut pieces, DELETE, shape.len(), &[], shape.len());
            pieces.key(KeyIndex(0), &shape);
            Some(Reply::Any)
        }
        Operation::Increment => {
            // By 1, from 1 if it is new, without a lifetime.
            let mut extras = [0; 20];
            (extras[7], extras[15]) = (1, 1);
            header(&mut pieces, INCREMENT, shape.len(), &extras, shape.len());
            pieces.key(KeyIndex(0), &shape);
            Some(Reply::Integer)
        }
        Operation::Touch | Operation::GetAndTouch => {
            let touch = matches!(operation, Operation::Touch);
            let opcode = if touch { TOUCH } else { GET_AND_TOUCH };
            start(&mut pieces, opcode, shape.len(), 4);
            pieces
                .text(&length(4 + shape.len()))
                .text(&[0; 12])
                .push(Piece::Ttl(Form::Binary))
                .key(KeyIndex(0), &shape);
            touch.then_some(Reply::Any)
        }
        Operation::Ping => {
            header(&mut pieces, NO_OPERATION, 0, &[], 0);
            Some(Reply::Any)
        }
    };
    (pieces.finish(), reply)
}

fn set(pieces: &mut Pieces, expires: bool, shape: &str, spell: &Spell<'_>) {
    let around = 8 + shape.len();
    start(pieces, SET, shape.len(), 8);
    match spell.sizes.the_only_one() {
        Some(len) => pieces.text(&length(around + len as usize)),
        None => {
            let more = u32::try_from(around).expect("a key is short");
            pieces.push(Piece::ValueLengthBinary { key: KeyIndex(0), more })
        }
    };
    pieces.text(&[0; 12]).text(&[0; 4]);
    if expires {
        pieces.push(Piece::Ttl(Form::Binary))
    } else {
        pieces.text(&[0; 4])
    };
    pieces.key(KeyIndex(0), shape);
    match spell.sizes.the_only_one() {
        Some(len) => pieces.fixed_value(KeyIndex(0), len as usize),
        None => pieces.push(Piece::Value(KeyIndex(0))),
    };
}

/// A header whose body has a known length, and its extras.
fn header(pieces: &mut Pieces, opcode: u8, key_bytes: usize, extras: &[u8], rest: usize) {
    start(pieces, opcode, key_bytes, extras.len());
    pieces.text(&length(extras.len() + rest)).text(&[0; 12]).text(extras);
}

/// The first eight bytes.
fn start(pieces: &mut Pieces, opcode: u8, key_bytes: usize, extras: usize) {
    let key = u16::try_from(key_bytes).expect("keys of Memcached are at most 250 bytes").to_be_bytes();
    let extras = u8::try_from(extras).expect("extras are at most 20 bytes");
    pieces.text(&[REQUEST_MAGIC, opcode, key[0], key[1], extras, 0, 0, 0]);
}

fn length(bytes: usize) -> [u8; 4] {
    u32::try_from(bytes).expect("a body is below 4 GiB").to_be_bytes()
}

/// A reply that is there whole.
pub(crate) struct Head {
    pub(crate) status: u16,
    pub(crate) extras: usize,
    pub(crate) body: usize,
}

/// The header of a reply, `None` while it is not whole.
pub(crate) fn head(bytes: &[u8]) -> Result<Option<Head>, Halt> {
    match bytes.first() {
        Some(&REPLY_MAGIC | &REQUEST_MAGIC) | None => {}
        Some(_) => return Err(Halt::Malformed),
    }
    let Some(header) = bytes.first_chunk::<HEADER_BYTES>() else { return Ok(None) };
    let body = u32::from_be_bytes([header[8], header[9], header[10], header[11]]) as usize;
    Ok(Some(Head { status: u16::from_be_bytes([header[6], header[7]]), extras: usize::from(header[4]), body }))
}

/// Where the message (request or reply) that begins at `at` ends.
pub(crate) fn message_end(bytes: &[u8], at: usize) -> Result<usize, Halt> {
    let rest = bytes.get(at..).ok_or(Halt::Incomplete)?;
    match head(rest)? {
        Some(head) if at + HEADER_BYTES + head.body <= bytes.len() => Ok(at + HEADER_BYTES + head.body),
        _ => Err(Halt::Incomplete),
    }
}
