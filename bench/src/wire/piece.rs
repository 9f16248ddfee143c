//! A request as pieces: bytes with holes for key digits, and what differs in length from request to request.
//!
//! ```text
//!   Fixed  *3..$3..SET..$16..key:000000000000..     copied, then digits are written over the zeros at each patch
//!   Bulk   $100..0000000042xxxx..                   only where lengths differ; a fixed length lies in the Fixed piece
//! ```
//!
//! A value begins with the ten digits of its key if it is long enough, so that a reply with another key's value is seen.

use crate::workload::sizes::Sizes;

/// Digits of the key at the beginning of a value; shorter values go without.
pub(crate) const STAMP_BYTES: usize = 10;

/// Which of the keys of its request something belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeyIndex(pub(crate) usize);

/// The digits of a key's number are written backwards from `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Patch {
    pub(crate) key: KeyIndex,
    pub(crate) end: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    Fixed {
        bytes: Vec<u8>,
        patches: Vec<Patch>,
    },
    /// The value of a key, of its own length.
    Value(KeyIndex),
    /// The length of that value in decimal digits.
    ValueLength(KeyIndex),
    /// As four bytes, big endian, the length of the value and `more`.
    ValueLengthBinary {
        key: KeyIndex,
        more: u32,
    },
    /// A lifetime in seconds: plain digits, with RESP's length line before them, or as four bytes.
    Ttl(Form),
    /// A number below the bound, with RESP's length line before it or plain.
    Number(u32, Form),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Plain,
    Bulk,
    Binary,
}

/// Collects pieces, joining what is fixed.
#[derive(Debug, Default)]
pub(crate) struct Pieces(Vec<Piece>);

impl Pieces {
    pub(crate) fn text(&mut self, text: &[u8]) -> &mut Self {
        self.fixed().0.extend_from_slice(text);
        self
    }

    /// A key: `prefix` and as many zeros as make `key_bytes`, to be written over.
    pub(crate) fn key(&mut self, key: KeyIndex, shape: &str) -> &mut Self {
        let (bytes, patches) = self.fixed();
        bytes.extend_from_slice(shape.as_bytes());
        patches.push(Patch { key, end: bytes.len() });
        self
    }

    /// A value of a known length, with its stamp.
    pub(crate) fn fixed_value(&mut self, key: KeyIndex, len: usize) -> &mut Self {
        let (bytes, patches) = self.fixed();
        if len >= STAMP_BYTES {
            bytes.extend_from_slice(&[b'0'; STAMP_BYTES]);
            patches.push(Patch { key, end: bytes.len() });
            bytes.resize(bytes.len() + len - STAMP_BYTES, b'x');
        } else {
            bytes.resize(bytes.len() + len, b'x');
        }
        self
    }

    pub(crate) fn push(&mut self, piece: Piece) -> &mut Self {
        self.0.push(piece);
        self
    }

    pub(crate) fn finish(self) -> Vec<Piece> {
        self.0
    }

    fn fixed(&mut self) -> (&mut Vec<u8>, &mut Vec<Patch>) {
        if !matches!(self.0.last(), Some(Piece::Fixed { .. })) {
            self.0.push(Piece::Fixed { bytes: Vec::new(), patches: Vec::new() });
        }
        match self.0.last_mut() {
            Some(Piece::Fixed { bytes, patches }) => (bytes, patches),
            _ => unreachable!("pushed above"),
        }
    }
}

/// The numbers that one request is written with.
pub(crate) struct Numbers<'a> {
    pub(crate) keys: &'a [u32],
    pub(crate) ttl_seconds: u32,
    /// Any 32 random bits.
    pub(crate) random: u32,
}

/// Appends one request.
pub(crate) fn write(pieces: &[Piece], numbers: &Numbers<'_>, sizes: &Sizes, out: &mut Vec<u8>) {
    for piece in pieces {
        match piece {
            Piece::Fixed { bytes, patches } => {
                let start = out.len();
                out.extend_from_slice(bytes);
                for patch in patches {
                    write_digits(&mut out[..start + patch.end], numbers.keys[patch.key.0]);
                }
            }
            Piece::Value(key) => write_value(numbers.keys[key.0], sizes, out),
            Piece::ValueLength(key) => write_decimal(size(sizes, numbers, *key), out),
            Piece::ValueLengthBinary { key, more } => {
                out.extend_from_slice(&(size(sizes, numbers, *key) + more).to_be_bytes());
            }
            Piece::Ttl(form) => write_number(numbers.ttl_seconds, *form, out),
            Piece::Number(bound, form) => write_number(below(numbers.random, *bound), *form, out),
        }
    }
}

fn size(sizes: &Sizes, numbers: &Numbers<'_>, key: KeyIndex) -> u32 {
    sizes.of(numbers.keys[key.0])
}

/// Lemire's multiplication instead of a division.
fn below(random: u32, bound: u32) -> u32 {
    u32::try_from((u64::from(random) * u64::from(bound)) >> 32).expect("below the bound")
}

fn write_value(key: u32, sizes: &Sizes, out: &mut Vec<u8>) {
    let len = sizes.of(key) as usize;
    let start = out.len();
    if len >= STAMP_BYTES {
        out.extend_from_slice(&[b'0'; STAMP_BYTES]);
        write_digits(&mut out[start..], key);
    }
    out.resize(start + len, b'x');
}

fn write_number(number: u32, form: Form, out: &mut Vec<u8>) {
    match form {
        Form::Plain => write_decimal(number, out),
        Form::Binary => out.extend_from_slice(&number.to_be_bytes()),
        Form::Bulk => {
            out.push(b'$');
            write_decimal(decimal_digits(number), out);
            out.extend_from_slice(b"\r\n");
            write_decimal(number, out);
            out.extend_from_slice(b"\r\n");
        }
    }
}

fn write_decimal(number: u32, out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + decimal_digits(number) as usize, b'0');
    write_digits(&mut out[start..], number);
}

pub(crate) fn decimal_digits(number: u32) -> u32 {
    number.checked_ilog10().map_or(1, |log| log + 1)
}

/// Writes a number so that its last digit is the last byte; digits before it stay what they are.
pub(crate) fn write_digits(place: &mut [u8], mut number: u32) {
    for byte in place.iter_mut().rev() {
        *byte = b'0' + u8::try_from(number % 10).expect("a digit");
        number /= 10;
        if number == 0 {
            break;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fixed_text_is_one_piece_and_lengths_follow_their_key() {
        let mut pieces = Pieces::default();
        pieces.text(b"set ").key(KeyIndex(0), "k0000").text(b" 0 ").push(Piece::Ttl(Form::Plain)).text(b" ");
        pieces.push(Piece::ValueLength(KeyIndex(0))).text(b"\r\n").push(Piece::Value(KeyIndex(0)));
        let pieces = pieces.finish();
        assert_eq!(pieces.len(), 6);
        let mut out = Vec::new();
        let numbers = Numbers { keys: &[42], ttl_seconds: 60, random: 0 };
        write(&pieces, &numbers, &Sizes::fixed(12), &mut out);
        assert_eq!(out, b"set k0042 0 60 12\r\n0000000042xx");
    }

    #[test]
    fn numbers_take_each_form() {
        let mut out = Vec::new();
        write_number(105, Form::Bulk, &mut out);
        write_number(7, Form::Plain, &mut out);
        write_number(258, Form::Binary, &mut out);
        assert_eq!(out, b"$3\r\n105\r\n7\0\0\x01\x02");
        assert_eq!((below(0, 10), below(u32::MAX, 10)), (0, 9));
    }
}
