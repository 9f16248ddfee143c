//! `corelane check DIR`: reads a journal as recovery would, changes nothing, and says what it found.
//!
//! ```text
//!  journal.3.log.0: 8123 records, positions 410 to 99120, whole
//!  journal.3.log.1: 8001 records, positions 388 to 97001, then a block with a wrong checksum at byte 98213: torn by a crash
//!  the keyspace is that of positions 99120 97001
//! ```

use std::fs;
use std::path::{Path, PathBuf};

use hashbrown::HashMap;

use super::archive::{self, Refusal};
use super::log::plain;
use super::survey::{self, Torn};
use crate::persist::Position;
use crate::persist::manifest::{NAME, Volume};
use crate::persist::record::Record;
use crate::persist::stream::Reader;

/// Reads everything the manifest names. Prints a line a file; an error is what recovery would refuse.
pub(super) fn check(dir: &Path) -> Result<(), Refusal> {
    let dir = &journal_in(dir)?;
    let manifest = archive::read_manifest(dir)?;
    let mut refused = false;
    // Where the last file of each lane says that its stream goes on.
    let mut goes_on: HashMap<u16, Position> = HashMap::new();
    for volume in &manifest.volumes {
        for lane in 0..volume.lanes {
            match check_file(dir, volume, lane, goes_on.remove(&lane)) {
                Ok((line, ended)) => {
                    println!("{line}");
                    goes_on.extend(ended.map(|at| (lane, at)));
                }
                Err(refusal) => {
                    println!("{refusal}");
                    refused = true;
                }
            }
        }
    }
    if refused {
        return Err(format!("{} holds a journal that cannot be loaded: restore it from a backup", dir.display()));
    }
    let open = survey::open_chain(&manifest);
    if let Some(first) = open.first() {
        let found = survey::survey(dir, open, first.lanes, Torn::Accepted)?;
        let ends: Vec<String> = found.cuts.iter().map(ToString::to_string).collect();
        println!("the last run counts up to position {}", ends.join(" "));
    }
    println!("{} holds a journal that can be loaded", dir.display());
    Ok(())
}

/// Where the journal is: in the directory, or, if that is a server's, in one of its own there.
fn journal_in(dir: &Path) -> Result<PathBuf, Refusal> {
    if dir.join(NAME).exists() {
        return Ok(dir.to_owned());
    }
    let entries = fs::read_dir(dir).map_err(|error| format!("cannot list {} ({})", dir.display(), plain(&error)))?;
    let mut found: Vec<PathBuf> = entries.filter_map(Result::ok).map(|entry| entry.path()).collect();
    found.retain(|path| path.join(NAME).exists());
    match (found.pop(), found.is_empty()) {
        (Some(only), true) => Ok(only),
        (Some(_), false) => Err(format!("{} holds several journals: name the directory of one", dir.display())),
        // Of what lies there without a manifest it says more.
        (None, _) => archive::read_manifest(dir).and_then(|_| {
            Err(format!("{} holds no journal: there is no {NAME} in it, nor in a directory in it", dir.display()))
        }),
    }
}

fn check_file(
    dir: &Path,
    volume: &Volume,
    lane: u16,
    before: Option<Position>,
) -> Result<(String, Option<Position>), Refusal> {
    let (files, name) = (survey::stream_files(dir, volume, lane), volume.file_name(lane));
    let at = |positions: &Option<Vec<Position>>| positions.as_ref().map(|positions| positions[usize::from(lane)]);
    let to = at(&volume.to);
    let Some(from) = at(&volume.from).or(before).filter(|from| Some(*from) != to) else {
        return Ok((format!("{name}: nothing of it counts"), None));
    };
    let (mut records, mut spans, mut bad) = (0_u64, Vec::new(), None);
    let ending = survey::read(&files, Reader::new(volume.origin(lane), from), |_, found| {
        records += 1;
        if let Record::Effects(effects) | Record::Share(_, _, effects) = found.record
            && let Err(what) = effects.each(&mut spans, |_, _| ())
        {
            bad.get_or_insert_with(|| (found.start, what.words()));
        }
    })?;
    if let Some((at, what)) = bad {
        return Err(format!("{name} holds {what} at position {at}"));
    }
    if let Some(to) = to.filter(|to| *to > ending.end) {
        return Err(format!("{name} ends at position {}, but the manifest says {to}: it was cut short", ending.end));
    }
    let how = match (&ending.torn, to) {
        (Some(torn), None) => {
            let file = volume.segment_name(lane, torn.segment);
            format!("then {} at byte {} of {file}: the torn end that a crash leaves", torn.what, torn.offset)
        }
        (_, Some(to)) => format!("of which those up to {to} count"),
        (None, None) => "whole".to_owned(),
    };
    let name = match ending.segment {
        0 => name,
        last => format!("{name} to .{last}"),
    };
    let line = format!("{name}: {records} records, positions {from} to {}, {how}", ending.end);
    Ok((line, ending.ended.then_some(ending.end)))
}
