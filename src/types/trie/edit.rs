//! What is done to one leaf. Each either succeeds or, where that would exceed the largest leaf, has changed nothing.

use super::leaf::Leaf;
use super::room::{make_mut, tighten, with_room};
use super::row::NewRow;
use super::{Full, Pair, Victim, Work, Written};
use crate::base::time::Millis;
use crate::types::packed::{Form, row_size};

/// Adds or replaces in one leaf, or changes nothing if that would exceed the largest leaf.
pub(super) fn set_in_leaf<const COLUMNS: usize>(
    leaf: &mut Leaf,
    row: &NewRow<'_>,
    work: &mut Work<'_>,
) -> Result<Written, Full> {
    let before = leaf.bytes();
    let found = leaf.find::<COLUMNS>(row.hash, row.text).map(|(slot, old)| (slot, old.size));
    let written = match found {
        None => {
            let mut leaf = with_room::<COLUMNS>(leaf, row.size)?;
            leaf.push::<COLUMNS>(row);
            Written::Added
        }
        Some((slot, size)) if row.second.is_none() => {
            restamp_in_leaf::<COLUMNS>(leaf, slot, size, row)?;
            Written::Updated
        }
        Some((slot, size)) if size == row.size => {
            let mut leaf = make_mut::<COLUMNS>(leaf);
            leaf.bury::<COLUMNS>(slot, work.graves);
            let start = leaf.offset(slot);
            leaf.write::<COLUMNS>(start, row);
            Written::Updated
        }
        Some((slot, _)) => {
            let mut leaf = with_room::<COLUMNS>(leaf, row.size)?;
            leaf.bury::<COLUMNS>(slot, work.graves);
            leaf.forget::<COLUMNS>(slot);
            leaf.push::<COLUMNS>(row);
            Written::Updated
        }
    };
    *work.bytes = *work.bytes + leaf.bytes() - before;
    Ok(written)
}

/// Gives the record in `slot`, which has `size` bytes, the deadline of `row`.
fn restamp_in_leaf<const COLUMNS: usize>(
    leaf: &mut Leaf,
    slot: usize,
    size: usize,
    row: &NewRow<'_>,
) -> Result<(), Full> {
    let old = leaf.row::<COLUMNS>(slot);
    let wanted = row_size::<COLUMNS>(&Form::from(old.first), &Form::from(old.second).until(row.deadline));
    if wanted == size {
        let leaf = make_mut::<COLUMNS>(leaf);
        let (bytes, start) = (leaf.restamped::<COLUMNS>(slot, row.deadline), leaf.offset(slot));
        leaf.data[start..start + size].copy_from_slice(&bytes);
        return Ok(());
    }
    let mut leaf = with_room::<COLUMNS>(leaf, wanted)?;
    // Long elements may have other places in a leaf that was made anew.
    let bytes = leaf.restamped::<COLUMNS>(slot, row.deadline);
    leaf.forget::<COLUMNS>(slot);
    let start = leaf.open(row.hash, wanted);
    leaf.data[start..start + wanted].copy_from_slice(&bytes);
    Ok(())
}

/// Removes the records whose time has come; how many.
pub(super) fn expire_in_leaf<const COLUMNS: usize>(
    leaf: &mut Leaf,
    now: Millis,
    work: &mut Work<'_>,
    tell: &mut dyn FnMut(Pair<'_>),
) -> usize {
    let before = leaf.bytes();
    let slots = 0..usize::from(leaf.count);
    let due: Vec<usize> = slots.filter(|&slot| leaf.row::<COLUMNS>(slot).is_due(now)).collect();
    due.iter().for_each(|&slot| tell(leaf.pair(leaf.row::<COLUMNS>(slot))));
    let mut writing = make_mut::<COLUMNS>(leaf);
    // From the last on: the slot that takes the place of a forgotten one has been looked at.
    for &slot in due.iter().rev() {
        writing.bury::<COLUMNS>(slot, work.graves);
        writing.forget::<COLUMNS>(slot);
    }
    tighten::<COLUMNS>(leaf);
    *work.bytes = *work.bytes + leaf.bytes() - before;
    due.len()
}

pub(super) fn remove_in_leaf<const COLUMNS: usize>(
    leaf: &mut Leaf,
    victim: Victim<'_>,
    work: &mut Work<'_>,
    visit: impl FnOnce(Pair<'_>),
) {
    let before = leaf.bytes();
    let slot = match victim {
        Victim::Named(name) => leaf.find::<COLUMNS>(name.hash, name.text).expect("the caller found the record").0,
        Victim::Nth(slot) => slot,
    };
    visit(leaf.pair(leaf.row::<COLUMNS>(slot)));
    let mut writing = make_mut::<COLUMNS>(leaf);
    writing.bury::<COLUMNS>(slot, work.graves);
    writing.forget::<COLUMNS>(slot);
    tighten::<COLUMNS>(leaf);
    *work.bytes = *work.bytes + leaf.bytes() - before;
}
