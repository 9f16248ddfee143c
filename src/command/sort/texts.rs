//! Texts that outlive the keyspace they were read from: short ones together in one piece of memory for each step, long ones as clones of
//! their ropes. So what was read in a thousand steps is a thousand pieces, none of which ever grows beyond one step's.
//!
//! ```text
//!  Column    what one lane has found:  [Found at place 0, 1, 4 ...] [Found at 512 ...] ...     a piece a step, in order
//!  Columns   those of all lanes, read side by side
//! ```

use crate::store::keyspace::Graveyard;
use crate::store::text::Text;
use crate::types::rope::Rope;

/// Short texts, one behind the other.
#[derive(Debug, Default)]
pub(super) struct Texts(Vec<u8>);

/// A text that is kept.
#[derive(Debug)]
pub(super) enum Kept {
    Flat { from: u32, len: u32 },
    Long(Rope),
}

impl Texts {
    pub(super) fn keep(&mut self, text: Text<'_>) -> Kept {
        match text {
            Text::Rope(rope) => Kept::Long(rope.clone()),
            Text::Flat(flat) => {
                let narrow = |len: usize| u32::try_from(len).expect("one step's texts are few");
                let from = narrow(self.0.len());
                self.0.extend_from_slice(flat);
                Kept::Flat { from, len: narrow(flat.len()) }
            }
        }
    }

    #[inline]
    pub(super) fn text<'t>(&'t self, kept: &'t Kept) -> Text<'t> {
        match kept {
            Kept::Flat { from, len } => Text::Flat(&self.0[*from as usize..][..*len as usize]),
            Kept::Long(rope) => Text::Rope(rope),
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.0.len()
    }
}

/// What one step has found.
#[derive(Debug, Default)]
pub(super) struct Piece {
    texts: Texts,
    found: Vec<(u64, Kept)>,
}

/// What one lane has found, by places that ascend.
#[derive(Debug, Default)]
pub struct Column(Vec<Piece>);

impl Piece {
    pub(super) fn push(&mut self, place: u64, text: Text<'_>) {
        let kept = self.texts.keep(text);
        self.found.push((place, kept));
    }

    pub(super) fn bytes(&self) -> usize {
        self.texts.bytes()
    }
}

impl Column {
    pub(super) fn push(&mut self, piece: Piece) {
        if !piece.found.is_empty() {
            self.0.push(piece);
        }
    }

    /// Each step's texts die in a step.
    pub fn bury(self, graves: &mut Graveyard) {
        graves.bury_heaps(self.0.into_iter().map(|piece| Box::new(piece) as Box<dyn Send>));
    }
}

/// The columns of all lanes, read from the first place to the last.
#[derive(Debug, Default)]
pub(super) struct Columns(Vec<Reader>);

#[derive(Debug)]
struct Reader {
    column: Column,
    piece: usize,
    row: usize,
}

impl Columns {
    pub(super) fn of(columns: Vec<Column>) -> Self {
        Self(columns.into_iter().map(|column| Reader { column, piece: 0, row: 0 }).collect())
    }

    /// What was found at a place, none of which is asked for out of order.
    pub(super) fn at(&mut self, place: u64) -> Option<Text<'_>> {
        let reader = self.0.iter_mut().find(|reader| reader.next_place() == Some(place))?;
        Some(reader.take())
    }

    pub(super) fn bury(self, graves: &mut Graveyard) {
        self.0.into_iter().for_each(|reader| reader.column.bury(graves));
    }
}

impl Reader {
    fn next_place(&self) -> Option<u64> {
        self.column.0.get(self.piece).map(|piece| piece.found[self.row].0)
    }

    fn take(&mut self) -> Text<'_> {
        let (at, row) = (self.piece, self.row);
        let piece = &self.column.0[at];
        (self.piece, self.row) = if row + 1 == piece.found.len() { (at + 1, 0) } else { (at, row + 1) };
        piece.texts.text(&piece.found[row].1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_read_side_by_side() {
        let mut columns = [Column::default(), Column::default(), Column::default()];
        let long = Rope::from(&[b'x'; 1000][..]);
        for (lane, places) in [(0, &[&[0, 3][..], &[], &[7]][..]), (1, &[&[1], &[4]]), (2, &[])] {
            for places in places {
                let mut piece = Piece::default();
                for place in *places {
                    match place {
                        4 => piece.push(4, Text::Rope(&long)),
                        place => piece.push(*place, Text::Flat(place.to_string().as_bytes())),
                    }
                }
                columns[lane].push(piece);
            }
        }
        let mut columns = Columns::of(columns.into());
        let read: Vec<Option<usize>> = (0..9).map(|place| columns.at(place).map(Text::len)).collect();
        assert_eq!(read, [Some(1), Some(1), None, Some(1), Some(1000), None, None, Some(1), None]);
        columns.bury(&mut Graveyard::default());
    }
}
