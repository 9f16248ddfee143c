//! The directory: which segment holds a hash prefix.
//!
//! ```text
//!  root  from 0, width w     [ seg 0 | seg 0 | seg 1 | dir 4 | ... ]    2^w places, indexed by the next w bits of the hash
//!                                                       |
//!  dir 4 from w, width v                                [ seg 7 | seg 9 | seg 9 | ... ]
//! ```
//!
//! A segment of depth d owns every place whose bits agree with its prefix. A directory doubles (extendible hashing; Fagin, Nievergelt,
//! Pippenger, Strong 1979) while its segments fill at least one place in eight; where keys crowd under one prefix ({tag} keys of
//! one slot) a small directory hangs below instead, so that a slot with ten million keys is only deeper. No step copies more than
//! 2^WIDTH_MAX places of four bytes.

/// Widest directory: 64 KiB of places, copied in some ten microseconds.
const WIDTH_MAX: u8 = 14;

/// A directory this narrow may be as empty as it likes.
const WIDTH_FREE: u8 = 4;

const DIRECTORY: u32 = 1 << 31;

#[derive(Default)]
pub(super) struct Directory {
    root: Level,
    levels: Vec<Level>,
    free: Vec<u32>,
}

#[derive(Default)]
struct Level {
    places: Vec<u32>,
    /// Hash bits consumed above.
    from: u8,
    width: u8,
    /// Different segments and levels among the places.
    parts: u32,
}

/// Which half of its range a forked segment keeps.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Half {
    Lower,
    Upper,
}

impl Level {
    #[inline]
    const fn index(&self, hash: u64) -> usize {
        (((hash << self.from) >> 1) >> (63 - self.width)) as usize
    }

    #[inline]
    fn place(&self, hash: u64) -> Option<u32> {
        self.places.get(self.index(hash)).copied()
    }

    fn bytes(&self) -> usize {
        self.places.capacity() * size_of::<u32>()
    }

    fn range(&self, prefix: u64, depth: u8) -> std::ops::Range<usize> {
        let first = self.index(prefix);
        first..first + (1 << (self.from + self.width - depth))
    }

    /// Whether a doubled directory would still be used well.
    fn may_double(&self) -> bool {
        self.width < WIDTH_FREE || self.width < WIDTH_MAX && self.parts as usize * 4 >= self.places.len()
    }

    fn double(&mut self) {
        let mut places = Vec::with_capacity(self.places.len() * 2);
        places.extend(self.places.iter().flat_map(|&place| [place, place]));
        self.places = places;
        self.width += 1;
    }

    /// Halves while no segment needs the last bit and the places are mostly repeats.
    fn halve(&mut self) {
        while self.width > 0 && self.parts as usize * 16 <= self.places.len() {
            if self.places.chunks_exact(2).any(|pair| pair[0] != pair[1]) {
                return;
            }
            self.places = self.places.iter().step_by(2).copied().collect();
            self.width -= 1;
        }
    }
}

impl Directory {
    /// The segment of a hash; None only while there is none at all.
    #[inline]
    pub(super) fn locate(&self, hash: u64) -> Option<u32> {
        let mut place = self.root.place(hash)?;
        while place & DIRECTORY != 0 {
            place = self.levels[(place & !DIRECTORY) as usize].place(hash)?;
        }
        Some(place)
    }

    /// The first segment, which covers everything.
    pub(super) fn found(&mut self, segment: u32) {
        assert!(self.root.places.is_empty());
        self.root.places = vec![segment];
        self.root.parts = 1;
    }

    /// Divides the range of `segment` between it and `sibling`; `half` stays with `segment`.
    pub(super) fn fork(&mut self, prefix: u64, depth: u8, segment: u32, sibling: u32, half: Half) {
        let mut holder = self.holder(prefix);
        let level = self.level_mut(holder);
        if depth == level.from + level.width {
            if level.may_double() {
                level.double();
            } else {
                holder = self.hang(holder, prefix, segment, depth);
            }
        }
        let level = self.level_mut(holder);
        let range = level.range(prefix, depth);
        let middle = range.start + range.len() / 2;
        let given = if half == Half::Lower { middle..range.end } else { range.start..middle };
        level.places[given].fill(sibling);
        level.parts += 1;
    }

    /// Gives the whole range of `prefix` to `segment`, which has absorbed its buddy.
    pub(super) fn join(&mut self, prefix: u64, depth: u8, segment: u32) {
        let holder = self.holder(prefix);
        let level = self.level_mut(holder);
        assert!(depth >= level.from && level.parts > 1);
        let range = level.range(prefix, depth);
        level.places[range].fill(segment);
        level.parts -= 1;
        match holder {
            Some(gone) if level.parts == 1 => self.unhang(gone, prefix, depth, segment),
            _ => level.halve(),
        }
    }

    /// The segment of this prefix has another number now.
    pub(super) fn renumber(&mut self, prefix: u64, depth: u8, segment: u32) {
        let holder = self.holder(prefix);
        let level = self.level_mut(holder);
        let range = level.range(prefix, depth);
        level.places[range].fill(segment);
    }

    /// The segment that shares the parent of a prefix of this depth, if it is one segment and not a level.
    pub(super) fn buddy(&self, prefix: u64, depth: u8) -> Option<u32> {
        let level = self.level(self.holder(prefix));
        if depth <= level.from {
            return None;
        }
        level.place(prefix ^ 1 << (64 - depth)).filter(|place| place & DIRECTORY == 0)
    }

    pub(super) fn bytes(&self) -> usize {
        self.root.bytes()
            + self.levels.iter().map(Level::bytes).sum::<usize>()
            + self.levels.capacity() * size_of::<Level>()
            + self.free.capacity() * size_of::<u32>()
    }

    /// The level (None: the root) whose place names the segment of `hash`.
    fn holder(&self, hash: u64) -> Option<u32> {
        let mut holder = None;
        while let Some(place) = self.level(holder).place(hash)
            && place & DIRECTORY != 0
        {
            holder = Some(place & !DIRECTORY);
        }
        holder
    }

    fn level(&self, number: Option<u32>) -> &Level {
        number.map_or(&self.root, |number| &self.levels[number as usize])
    }

    fn level_mut(&mut self, number: Option<u32>) -> &mut Level {
        match number {
            None => &mut self.root,
            Some(number) => &mut self.levels[number as usize],
        }
    }

    /// Hangs a level of two places under the place of `segment`.
    fn hang(&mut self, holder: Option<u32>, prefix: u64, segment: u32, depth: u8) -> Option<u32> {
        let level = Level { places: vec![segment; 2], from: depth, width: 1, parts: 1 };
        let number = match self.free.pop() {
            Some(number) => {
                self.levels[number as usize] = level;
                number
            }
            None => {
                self.levels.push(level);
                u32::try_from(self.levels.len() - 1).expect("fewer levels than segments")
            }
        };
        let above = self.level_mut(holder);
        let index = above.index(prefix);
        above.places[index] = number | DIRECTORY;
        Some(number)
    }

    /// Puts a segment in all places of a level: more than one, if the level above has doubled since.
    fn unhang(&mut self, gone: u32, prefix: u64, depth: u8, segment: u32) {
        self.levels[gone as usize] = Level::default();
        self.free.push(gone);
        let mut holder = None;
        loop {
            let level = self.level_mut(holder);
            let place = level.places[level.index(prefix)];
            assert!(place & DIRECTORY != 0, "a level hangs under a level");
            if place == gone | DIRECTORY {
                let range = level.range(prefix, depth);
                level.places[range].fill(segment);
                return;
            }
            holder = Some(place & !DIRECTORY);
        }
    }
}
