//! Reading a lane's stream: bytes of a file in, records out, and in the end a verdict.
//!
//! ```text
//!  feed   [header|body][header|bo   dy][header|body]...       any pieces
//!            |  checksums, origin, position
//!            v
//!         [record][rec   ord][record]...                      each as soon as it is whole
//!
//!  a block that is not what its header says, or no header where one must be:
//!         search on for headers ---- one says that all before was synced at a place behind the break?  damage: refuse
//!                               `--- none does: the torn end that a crash leaves; the stream ends before it
//! ```
//!
//! A record counts when all of it is there: one that the end of the stream cuts in two is torn as well.
//!
//! The stream of a volume may lie in several files, its *segments*, one after the other. A block lies in one of them. Zeroes where a block would
//! begin are the end of a segment: what stands behind them is of its earlier use.

use super::Position;
use super::block::{BadHeader, HEADER_BYTES, Header, Origin, is_blank};
use super::record::{self, HEAD_BYTES, Record};

/// A record and where it stands.
#[derive(Clone, Copy, Debug)]
pub struct Found<'r> {
    pub start: Position,
    pub end: Position,
    pub record: Record<'r>,
}

/// The file is not what was written, and it is not the end that a crash leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// In which of the stream's files, and where in that.
    pub segment: usize,
    pub offset: u64,
    pub what: String,
}

/// How a stream ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// After the last whole record.
    pub end: Position,
    /// What the last good block knew to be durable everywhere.
    pub firm: Position,
    /// An `End` record was read.
    pub ended: bool,
    /// The last file that holds a block of the stream.
    pub segment: usize,
    /// What stands behind the end and does not count.
    pub torn: Option<Damage>,
}

/// Reads one volume of a stream.
#[derive(Debug)]
pub struct Reader {
    origin: Origin,
    /// Bytes read that are not understood yet, in which file, and where in it they begin.
    bytes: Vec<u8>,
    segment: usize,
    offset: u64,
    /// The file of the last block.
    last_segment: usize,
    /// Where the next block belongs.
    position: Position,
    firm: Position,
    /// The head of a record whose rest is in later blocks.
    partial: Vec<u8>,
    /// Where `partial`, or the next record, begins.
    start: Position,
    ended: bool,
    broken: Option<Break>,
}

/// Where the stream cannot be followed any further.
#[derive(Debug)]
struct Break {
    at: Position,
    damage: Damage,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// The end of what was written to this file: the stream may go on in the next.
    Blank,
    Torn,
}

impl Reader {
    /// Reads the stream of `origin` from `start` on, which is where the file begins.
    pub fn new(origin: Origin, start: Position) -> Self {
        Self {
            origin,
            bytes: Vec::new(),
            segment: 0,
            offset: 0,
            last_segment: 0,
            position: start,
            firm: Position::default(),
            partial: Vec::new(),
            start,
            ended: false,
            broken: None,
        }
    }

    /// What the blocks so far knew to be durable everywhere.
    pub fn firm(&self) -> Position {
        self.firm
    }

    /// Blocks were read up to here.
    pub fn position(&self) -> Position {
        self.position
    }

    /// The next bytes of the file. Calls `each` with every record that became whole.
    pub fn feed(&mut self, bytes: &[u8], mut each: impl FnMut(Found<'_>)) -> Result<(), Damage> {
        self.bytes.extend_from_slice(bytes);
        while self.broken.is_none() && self.next_block(&mut each)? {}
        self.search()
    }

    /// The file has no more bytes, and there is another one.
    pub fn next_segment(&mut self) -> Result<(), Damage> {
        self.end_segment()?;
        self.bytes.clear();
        (self.segment, self.offset) = (self.segment + 1, 0);
        Ok(())
    }

    /// The last file has no more bytes.
    pub fn finish(mut self) -> Result<Ending, Damage> {
        self.end_segment()?;
        if self.broken.is_none() && !self.partial.is_empty() {
            self.break_off("a record that is cut short", Kind::Torn);
        }
        let torn = self.broken.map(|broken| broken.damage);
        Ok(Ending { end: self.start, firm: self.firm, ended: self.ended, segment: self.last_segment, torn })
    }

    fn end_segment(&mut self) -> Result<(), Damage> {
        if self.broken.is_none() && !is_blank(&self.bytes) {
            self.break_off("a block that is cut short", Kind::Torn);
        }
        self.search()?;
        self.broken.take_if(|broken| broken.kind == Kind::Blank);
        Ok(())
    }

    /// Takes a block off the bytes; whether there was a whole one.
    fn next_block(&mut self, each: &mut impl FnMut(Found<'_>)) -> Result<bool, Damage> {
        let Some((head, rest)) = self.bytes.split_first_chunk::<HEADER_BYTES>() else { return Ok(false) };
        if is_blank(head) {
            self.break_off("zeroes where a block must begin", Kind::Blank);
            return Ok(false);
        }
        let header = match Header::parse(head) {
            Ok(header) => header,
            Err(bad) => {
                let what = match bad {
                    BadHeader::NoMagic => "no block where one must begin",
                    BadHeader::Checksum => "a block's header with a wrong checksum",
                    BadHeader::Length => "a block's header with an impossible length",
                };
                self.break_off(what, Kind::Torn);
                return Ok(false);
            }
        };
        if header.origin != self.origin {
            self.break_off("a block of another stream", Kind::Torn);
            return Ok(false);
        }
        if header.position != self.position {
            self.break_off("a block that belongs to another place", Kind::Torn);
            return Ok(false);
        }
        let len = header.len as usize;
        let Some(body) = rest.get(..len) else { return Ok(false) };
        if crc32c::crc32c(body) != header.body_crc {
            self.break_off("a block with a wrong checksum", Kind::Torn);
            return Ok(false);
        }
        let bytes = std::mem::take(&mut self.bytes);
        self.firm = self.firm.max(header.firm);
        self.position = self.position.after(len);
        self.last_segment = self.segment;
        let done = self.read_records(&bytes[HEADER_BYTES..HEADER_BYTES + len], each);
        self.bytes = bytes;
        done?;
        self.consume(HEADER_BYTES + len);
        Ok(true)
    }

    /// Hands out the records that a block's body completes.
    fn read_records(&mut self, mut body: &[u8], each: &mut impl FnMut(Found<'_>)) -> Result<(), Damage> {
        while !body.is_empty() {
            if self.ended {
                return Err(self.damage("records behind the end of the stream".to_owned()));
            }
            if self.partial.is_empty()
                && let Some(len) = whole_len(body)
                && let Some((bytes, rest)) = body.split_at_checked(len)
            {
                self.hand_out(bytes, each)?;
                body = rest;
                continue;
            }
            let wanted = whole_len(&self.partial).unwrap_or(HEAD_BYTES);
            let taken = body.len().min(wanted - self.partial.len());
            self.partial.extend_from_slice(&body[..taken]);
            body = &body[taken..];
            if whole_len(&self.partial) == Some(self.partial.len()) {
                let bytes = std::mem::take(&mut self.partial);
                self.hand_out(&bytes, each)?;
            }
        }
        Ok(())
    }

    fn hand_out(&mut self, bytes: &[u8], each: &mut impl FnMut(Found<'_>)) -> Result<(), Damage> {
        let record = record::parse(bytes).map_err(|bad| self.damage(bad.words()))?;
        if let Record::Share(_, lanes, _) = record
            && lanes.iter().any(|lane| lane >= self.origin.lanes)
        {
            return Err(self.damage("a share of a lane that there is none of".to_owned()));
        }
        let end = self.start.after(bytes.len());
        self.ended |= record == Record::End;
        each(Found { start: self.start, end, record });
        self.start = end;
        Ok(())
    }

    fn damage(&self, what: String) -> Damage {
        Damage { segment: self.segment, offset: self.offset, what }
    }

    fn break_off(&mut self, what: &str, kind: Kind) {
        self.broken = Some(Break { at: self.position, damage: self.damage(what.to_owned()), kind });
    }

    /// Behind a break: a header that knows of more tells that the break is no end.
    fn search(&mut self) -> Result<(), Damage> {
        let Some(Break { at, damage, .. }) = &self.broken else { return Ok(()) };
        let mut from = 0;
        while let Some(found) = Header::find(&self.bytes[from..]) {
            from += found;
            let Some(head) = self.bytes[from..].first_chunk::<HEADER_BYTES>() else { break };
            if Header::parse(head).is_ok_and(|header| header.origin == self.origin && header.synced > *at) {
                return Err(damage.clone());
            }
            from += 1;
        }
        let rest = self.bytes.len() - from;
        let keep = rest.min(HEADER_BYTES);
        self.consume(if Header::find(&self.bytes[from..]).is_some() { from } else { from + rest - keep });
        Ok(())
    }

    fn consume(&mut self, len: usize) {
        self.bytes.drain(..len);
        self.offset += len as u64;
    }
}

/// How long the record is that begins here, if its head is there and it can be in memory.
fn whole_len(bytes: &[u8]) -> Option<usize> {
    let len = record::body_len(*bytes.first_chunk()?);
    usize::try_from(len).ok()?.checked_add(HEAD_BYTES)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tail::{Known, Tail};
    use super::*;

    const ORIGIN: Origin = Origin { volume: 0x1234_5678, lane: 1, lanes: 2 };

    /// Records of these lengths, each taken into blocks of its own together with the next `group`; what was synced when each block was made.
    fn written(lens: &[usize], group: usize, synced_blocks: bool) -> (Vec<u8>, Vec<Position>, Vec<(usize, Position)>) {
        let mut tail = Tail::new(ORIGIN, Position(100));
        let (mut file, mut ends, mut blocks, mut known) = (Vec::new(), Vec::new(), Vec::new(), Known::default());
        for (i, len) in lens.iter().enumerate() {
            let mut record = record::Records::default();
            record::put_effect(&mut record, 0, [&b"SET"[..], &vec![b'x'; *len]].into_iter());
            tail.append(&record);
            ends.push(tail.end());
            if (i + 1) % group == 0 || i + 1 == lens.len() {
                blocks.push((file.len(), tail.taken()));
                tail.take(known, usize::MAX, &mut file);
                if synced_blocks {
                    known.synced = tail.taken();
                }
            }
        }
        (file, ends, blocks)
    }

    fn read(file: &[u8], piece: usize) -> Result<(Vec<Position>, Ending), Damage> {
        let mut reader = Reader::new(ORIGIN, Position(100));
        let mut ends = Vec::new();
        for piece in file.chunks(piece.max(1)) {
            reader.feed(piece, |found| ends.push(found.end))?;
        }
        reader.finish().map(|ending| (ends, ending))
    }

    #[test]
    fn records_longer_than_blocks_are_read() {
        let (file, ends, _) = written(&[10, 1_000_000, 3], 2, true);
        let (found, ending) = read(&file, 4096).unwrap();
        assert_eq!(found, ends);
        assert_eq!((ending.end, ending.torn, ending.ended), (ends[2], None, false));
    }

    #[test]
    fn a_stream_that_ended_takes_no_more() {
        let mut tail = Tail::new(ORIGIN, Position(100));
        let mut records = record::Records::default();
        record::put_end(&mut records);
        tail.append(&records);
        let mut file = Vec::new();
        tail.take(Known::default(), usize::MAX, &mut file);
        assert!(read(&file, 7).unwrap().1.ended);
        tail.append(&records);
        tail.take(Known::default(), usize::MAX, &mut file);
        assert!(read(&file, 7).unwrap_err().what.contains("behind the end"));
    }

    /// Files that go on one after the other, each with zeroes behind its last block and what was there before.
    fn segments(cut: usize) -> (Vec<Vec<u8>>, Vec<Position>) {
        let (file, ends, blocks) = written(&[100, 3000, 40, 90, 5], 1, true);
        let (mut files, mut from) = (Vec::new(), 0);
        for (at, _) in blocks.iter().skip(cut).chain(&[(file.len(), Position(0))]) {
            let stale = Header::of(Origin { volume: 3, ..ORIGIN }, Position(100), Position(9000), Position(0), b"x");
            files.push([&file[from..*at], &[0; HEADER_BYTES], &[b'C', 0, 7], &stale.to_bytes()[..], b"x"].concat());
            from = *at;
        }
        (files, ends)
    }

    fn read_all(files: &[Vec<u8>], piece: usize) -> Result<(Vec<Position>, Ending), Damage> {
        let (mut reader, mut ends) = (Reader::new(ORIGIN, Position(100)), Vec::new());
        for (i, file) in files.iter().enumerate() {
            if i > 0 {
                reader.next_segment()?;
            }
            for piece in file.chunks(piece) {
                reader.feed(piece, |found| ends.push(found.end))?;
            }
        }
        reader.finish().map(|ending| (ends, ending))
    }

    #[test]
    fn a_stream_goes_on_in_the_next_file_behind_zeroes() {
        for piece in [1, 47, 4096] {
            let (mut files, ends) = segments(1);
            // One that was made ready and not used.
            files.push(vec![0; 100]);
            let (found, ending) = read_all(&files, piece).unwrap();
            assert_eq!((found, ending.torn, ending.segment), (ends, None, files.len() - 2));
        }
    }

    #[test]
    fn what_is_missing_in_a_file_before_the_last_is_damage_or_torn() {
        let (mut files, _) = segments(1);
        files[1].fill(0);
        let damage = read_all(&files, 100).unwrap_err();
        assert_eq!(
            (damage.segment, damage.offset),
            (2, 0),
            "the third file begins behind where the first ends: {damage:?}"
        );
        files.truncate(3);
        let (mut unsynced, ends, blocks) = written(&[100, 3000, 40], 1, false);
        let rest = unsynced.split_off(blocks[2].0);
        unsynced.truncate(blocks[1].0);
        let (found, ending) = read_all(&[unsynced, vec![0; 500], rest], 100).unwrap();
        assert_eq!((found, ending.end), (vec![ends[0]], ends[0]));
        assert_eq!(ending.torn.map(|torn| (torn.segment, torn.offset)), Some((2, 0)));
    }

    #[test]
    fn blocks_of_another_stream_are_no_part_of_it() {
        let (file, ..) = written(&[10], 1, true);
        for origin in [Origin { volume: 1, ..ORIGIN }, Origin { lane: 0, ..ORIGIN }, Origin { lanes: 3, ..ORIGIN }] {
            let mut reader = Reader::new(origin, Position(100));
            reader.feed(&file, |_| panic!("not ours")).unwrap();
            assert_eq!(reader.finish().unwrap().end, Position(100));
        }
    }

    proptest! {
        /// Cut anywhere: all records before are read, in whatever pieces, and none behind.
        #[test]
        fn a_torn_end_loses_what_is_not_whole(
            lens in proptest::collection::vec(0..200_usize, 1..12), group in 1..4_usize, at in any::<prop::sample::Index>(),
            piece in 1..300_usize
        ) {
            let (file, ends, blocks) = written(&lens, group, true);
            let at = at.index(file.len() + 1);
            let (found, ending) = read(&file[..at], piece).unwrap();
            let whole_blocks = blocks.iter().skip(1).filter(|(offset, _)| *offset <= at).map(|(_, position)| *position);
            let reached = whole_blocks.max().unwrap_or(Position(100));
            let reached = if at == file.len() { *ends.last().unwrap() } else { reached };
            let expected: Vec<Position> = ends.iter().copied().filter(|end| *end <= reached).collect();
            prop_assert_eq!(ending.end, expected.last().copied().unwrap_or(Position(100)));
            prop_assert_eq!(found, expected);
            prop_assert_eq!(ending.torn.is_some(), at != file.len() && !blocks.iter().any(|(offset, _)| *offset == at));
        }

        /// A changed byte: what was synced before a later block was made is damage, the rest is a torn end.
        #[test]
        fn damage_is_told_from_a_torn_end(
            lens in proptest::collection::vec(0..200_usize, 1..12), group in 1..4_usize, at in any::<prop::sample::Index>(),
            bit in 0..8_u8, piece in 1..300_usize, synced in any::<bool>()
        ) {
            let (mut file, ends, blocks) = written(&lens, group, synced);
            let at = at.index(file.len());
            file[at] ^= 1 << bit;
            let block = blocks.iter().rposition(|(offset, _)| *offset <= at).unwrap();
            let result = read(&file, piece);
            // A later block was made when this one had been synced.
            if synced && block + 1 < blocks.len() {
                prop_assert_eq!(result.unwrap_err().offset, blocks[block].0 as u64);
            } else {
                let (found, ending) = result.unwrap();
                prop_assert_eq!(ending.torn.unwrap().offset, blocks[block].0 as u64);
                let expected: Vec<Position> = ends.iter().copied().filter(|end| *end <= blocks[block].1).collect();
                prop_assert_eq!(found, expected);
            }
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400), piece in 1..50_usize,
                                              headed in any::<bool>()) {
            let mut file = Vec::new();
            if headed {
                file.extend_from_slice(&Header::of(ORIGIN, Position(100), Position(0), Position(0), &bytes).to_bytes());
            }
            file.extend_from_slice(&bytes);
            let _ = read(&file, piece);
        }
    }
}
