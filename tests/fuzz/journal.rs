//! The readers of the journal, over bytes made up. Targets like those in `targets.rs`.
//!
//! ```text
//!  [0] bytes             the file of a lane, whoever its first block says that it is of
//!  [1] bytes             bodies of blocks that are as they should be: records made up
//!  [2] [where 2][what 1] ...   what was written, in two segments, changed there
//! ```
//!
//! Whatever they read, it ends or is refused with its place, in the same way however the bytes come; of what was written only a beginning is
//! found, and never less than what a block that is whole says was synced.

use corelane::base::time::Now;
use corelane::persist::Position;
use corelane::persist::block::{HEADER_BYTES, Header, Origin};
use corelane::persist::cut::{Settled, Share, Streams};
use corelane::persist::manifest::Manifest;
use corelane::persist::record::{Record, Records, Transaction, put_effect, put_end, put_group, put_share};
use corelane::persist::stream::{Damage, Ending, Reader};
use corelane::persist::tail::{Known, Tail};

use super::targets::{digest, shard};

const ORIGIN: Origin = Origin { volume: 0x1234_5678, lane: 1, lanes: 2 };
const START: Position = Position(100);

/// Whose files these are, and from where on.
#[derive(Clone, Copy)]
struct Whose {
    origin: Origin,
    start: Position,
}

const OURS: Whose = Whose { origin: ORIGIN, start: START };

/// What came of reading: where each record ends, and how it ended.
type Read = (Vec<Position>, Result<Ending, Damage>);

/// A manifest, as it is and with the checksum that belongs to it.
pub(crate) fn manifest(data: &[u8]) -> u64 {
    let text = String::from_utf8_lossy(data).into_owned();
    let body = format!("{}\n", text.rsplit_once("sum ").map_or(&*text, |(body, _)| body).trim_end());
    // Longer ones than a body can be are not worth looking at.
    if body.len() > 100_000 {
        return 0;
    }
    let crc = Header::of(ORIGIN, START, START, START, body.as_bytes()).body_crc;
    judge_manifest(&text) ^ judge_manifest(&format!("{body}sum {crc:08x}\n")).rotate_left(8)
}

fn judge_manifest(text: &str) -> u64 {
    match Manifest::parse(text) {
        Ok(manifest) => {
            assert_eq!(Manifest::parse(&manifest.to_text()), Ok(manifest.clone()));
            let last = manifest.volumes.iter().map(|volume| volume.number).max();
            assert!(last.is_none_or(|last| last < manifest.next_number()), "a number is used once");
            manifest.volumes.iter().fold(1, |all, volume| all * 7 + u64::from(volume.lanes % 7))
        }
        Err(bad) => {
            assert!(!bad.what.is_empty() && !bad.what.contains('\n'), "{bad:?}");
            assert!(bad.line <= text.lines().count(), "{bad:?}");
            let kind = bad.what.split('\'').next().unwrap_or_default();
            1000 + digest(kind.as_bytes()) % 1000
        }
    }
}

/// The files of a lane.
pub(crate) fn journal(data: &[u8]) -> u64 {
    let Some((mode, rest)) = data.split_first() else { return 0 };
    match mode % 3 {
        0 => {
            let header = rest.first_chunk::<HEADER_BYTES>().and_then(|head| Header::parse(head).ok());
            let whose = header.map_or(OURS, |header| Whose { origin: header.origin, start: header.position });
            // Where a file begins is said by the manifest, which takes no positions of that size.
            let is_sane = whose.start < Position(1 << 60) && whose.origin.lane < whose.origin.lanes;
            outcome(&judge(if is_sane { whose } else { OURS }, &[rest.to_vec()]))
        }
        1 => outcome(&judge(OURS, &[blocks(rest)])),
        _ => changed(rest),
    }
}

/// Blocks as they should be around these bytes.
fn blocks(data: &[u8]) -> Vec<u8> {
    let (mut file, mut position) = (Vec::new(), START);
    for body in data.chunks(300) {
        file.extend_from_slice(&Header::of(ORIGIN, position, position, START, body).to_bytes());
        file.extend_from_slice(body);
        position = position.after(body.len());
    }
    file
}

/// What was written and then changed.
fn changed(changes: &[u8]) -> u64 {
    let (whole, ends) = written();
    let mut files = whole.clone();
    let len: usize = whole.iter().map(Vec::len).sum();
    for change in changes.as_chunks::<3>().0.iter().take(8) {
        let [low, high, what] = *change;
        let at = usize::from(u16::from_le_bytes([low, high])) % len;
        let (file, at) = if at < whole[0].len() { (0, at) } else { (1, at - whole[0].len()) };
        match what {
            0 => files[file].truncate(at),
            what => files[file].get_mut(at).into_iter().for_each(|byte| *byte ^= what),
        }
    }
    let read = judge(OURS, &files);
    assert!(ends.starts_with(&read.0), "what is found was written");
    if let Ok(ending) = &read.1 {
        for (before, after) in whole.iter().zip(&files) {
            let synced = untouched(before, after).map(|header| header.synced).max().unwrap_or_default();
            assert!(synced <= ending.end, "up to {synced} was synced, but {ending:?}");
        }
    }
    outcome(&read)
}

/// The headers of a file that are still there.
fn untouched<'f>(before: &'f [u8], after: &'f [u8]) -> impl Iterator<Item = Header> + 'f {
    let mut at = 0;
    std::iter::from_fn(move || {
        let head = before.get(at..)?.first_chunk::<HEADER_BYTES>()?;
        let header = Header::parse(head).ok()?;
        let (from, len) = (at, HEADER_BYTES + header.len as usize);
        at += len;
        Some((header, before[from..from + len] == *after.get(from..from + len).unwrap_or_default()))
    })
    .filter_map(|(header, is_whole)| is_whole.then_some(header))
}

/// Two segments, each block synced before the next was made; where each record ends.
fn written() -> (Vec<Vec<u8>>, Vec<Position>) {
    let (mut tail, mut known) = (Tail::new(ORIGIN, START), Known::default());
    let (mut files, mut ends) = (vec![Vec::new(), Vec::new()], Vec::new());
    for i in 0..12_usize {
        let mut records = Records::default();
        let value = vec![b'v'; i * i * 7];
        put_effect(&mut records, 0, [&b"SET"[..], b"key", &value].into_iter());
        match i % 4 {
            _ if i == 11 => {
                records = Records::default();
                put_end(&mut records);
            }
            1 => {
                let effects = std::mem::take(&mut records);
                put_group(&mut records, &effects);
            }
            2 => {
                let effects = std::mem::take(&mut records);
                put_share(&mut records, Transaction { home: 0, number: i as u64 }, [0, 1].into_iter(), &effects);
            }
            _ => {}
        }
        tail.append(&records);
        ends.push(tail.end());
        tail.take(known, usize::MAX, &mut files[i / 6]);
        known.synced = tail.taken();
    }
    // As a segment that was made before, and used before.
    files[0].extend_from_slice(&[0; 200]);
    files[1].extend_from_slice(&[0; HEADER_BYTES]);
    files[1].extend_from_slice(b"CLb1 what was here before");
    (files, ends)
}

/// Reads it in one piece and in others.
fn judge(whose: Whose, files: &[Vec<u8>]) -> Read {
    let whole = read(whose, files, usize::MAX);
    for piece in [1, 61, 4096] {
        assert_eq!(read(whose, files, piece), whole, "in pieces of {piece}");
    }
    let len = |segment: usize| files[segment].len() as u64;
    match &whole.1 {
        Ok(ending) => {
            assert_eq!(ending.end, whole.0.last().copied().unwrap_or(whose.start));
            let told =
                ending.torn.as_ref().is_none_or(|torn| torn.offset <= len(torn.segment) && !torn.what.is_empty());
            assert!(told, "{ending:?}");
        }
        Err(damage) => assert!(damage.offset <= len(damage.segment) && !damage.what.is_empty(), "{damage:?}"),
    }
    whole
}

fn read(Whose { origin, start }: Whose, files: &[Vec<u8>], piece: usize) -> Read {
    let (mut ends, mut streams, mut shard) = (Vec::new(), Streams::new(origin.lanes), shard());
    shard.begin_turn(Now { unix_us: 1_700_000_000_000_000, mono_ns: 1_000_000_000 });
    let mut reader = Reader::new(origin, start);
    let mut read = || {
        for (segment, file) in files.iter().enumerate() {
            if segment > 0 {
                reader.next_segment()?;
            }
            for bytes in file.chunks(piece) {
                reader.feed(bytes, |found| {
                    ends.push(found.end);
                    if let Record::Share(of, lanes, _) = found.record {
                        let lanes: Box<[u16]> = lanes.iter().collect();
                        assert!(lanes.iter().all(|lane| *lane < origin.lanes), "a lane that there is");
                        streams.share(origin.lane, Share { of, start: found.start, end: found.end, lanes });
                    }
                    if let Record::Effects(effects) | Record::Share(_, _, effects) = found.record
                        && let Err(what) = shard.repeat(effects)
                    {
                        assert!(!what.is_empty());
                    }
                })?;
            }
        }
        Ok::<(), Damage>(())
    };
    let outcome = read().and_then(|()| reader.finish());
    if let Ok(ending) = &outcome {
        streams.reach(origin.lane, ending.end);
        let cut = streams.cut(&Settled::default());
        assert!(cut[usize::from(origin.lane)] <= ending.end);
    }
    (ends, outcome)
}

fn outcome((ends, outcome): &Read) -> u64 {
    let kind = match outcome {
        Ok(Ending { torn: None, ended, .. }) => u64::from(*ended),
        Ok(Ending { torn: Some(torn), .. }) => 2 + digest(torn.what.as_bytes()) % 500,
        Err(damage) => 502 + digest(damage.what.as_bytes()) % 500,
    };
    kind << 8 | ends.len().min(20) as u64
}
