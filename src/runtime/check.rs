//! `corelane check DIR`: reads a journal as recovery would, changes nothing, and says what it found.
//!
//! ```text
//!  journal.3.log.0: 8123 records, positions 410 to 99120, whole
//!  journal.3.log.1: 8001 records, positions 388 to 97001, then a block with a wrong checksum at byte 98213: torn by a crash
//!  the keyspace is that of positions 99120 97001
//! ```

use std::path::Path;

use super::archive::{self, Refusal};
use crate::persist::manifest::Volume;
use crate::persist::record::Record;
use crate::persist::stream::Reader;

/// Reads everything the manifest names. Prints a line a file; an error is what recovery would refuse.
pub(super) fn check(dir: &Path) -> Result<(), Refusal> {
    let manifest = archive::read_manifest(dir)?;
    let mut refused = false;
    for volume in &manifest.volumes {
        for lane in 0..volume.lanes() {
            match check_file(dir, volume, lane) {
                Ok(line) => println!("{line}"),
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
    let open = archive::open_chain(&manifest);
    if let Some(first) = open.first() {
        let ends = archive::survey(dir, open, first.lanes(), archive::Torn::Accepted)?;
        let ends: Vec<String> = ends.iter().map(ToString::to_string).collect();
        println!("the last run counts up to position {}", ends.join(" "));
    }
    println!("{} holds a journal that can be loaded", dir.display());
    Ok(())
}

fn check_file(dir: &Path, volume: &Volume, lane: u16) -> Result<String, Refusal> {
    let name = volume.file_name(lane);
    let (from, to) = (volume.from[usize::from(lane)], volume.to.as_ref().map(|to| to[usize::from(lane)]));
    let (mut records, mut spans, mut bad) = (0_u64, Vec::new(), None);
    let ending = archive::read(&dir.join(&name), Reader::new(volume.origin(lane), from), |_, found| {
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
        (Some(torn), None) => format!("then {} at byte {}: the torn end that a crash leaves", torn.what, torn.offset),
        (_, Some(to)) => format!("of which those up to {to} count"),
        (None, None) => "whole".to_owned(),
    };
    Ok(format!("{name}: {records} records, positions {from} to {}, {how}", ending.end))
}
