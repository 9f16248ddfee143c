//! One segment of the table: the words of all keys whose hash begins with `prefix`, in buckets of one cache line.
//!
//! ```text
//!  hash   | prefix: depth bits | position: 16 bits, less what `base` lags | ...          | 3 bits |
//!  word   63            48 47                                      3 2    0
//!        +----------------+----------------------------------------+------+
//!        | tag, 16 bits    |  address of the entry, 8-aligned        | low  |     0: an empty slot
//!        +----------------+----------------------------------------+------+
//!  bucket  8 words, filled from the front; a full one spills into the next (round the end to bucket 0)
//! ```
//!
//! The tag is the hash from bit `base` (counted from the top) on; `low` are the hash's last three bits. The tag is the fingerprint
//! of a slot and, without reading the key, gives its position in the segment: `home = position * buckets >> 16` is monotone in the hash, so
//! the order of buckets is the order of hashes for any number of buckets, and growing needs no key at all. A split makes `depth` run
//! ahead of `base`; after `LAG_MAX` splits the keys are read once, when the segment next grows, and the tags made anew.
//!
//! Probing is linear over buckets (Knuth 6.4, algorithm L, with bucket size 8), deletion moves spilled words back, so a word is found
//! by walking from its home to the first bucket that is not full, without tombstones and without overflow marks.

/// Slots of a bucket: eight words are one cache line.
pub(super) const SLOTS: usize = 8;

/// Buckets of the largest segment that still grows instead of splitting: at most 813 entries. Twice as many made both the longest
/// insert and the memory that resizing leaves in the allocator larger, half as many the latter too.
pub(super) const BUCKETS_MAX: usize = 111;

/// How many bits `base` may lag behind `depth`: 13 bits of position still spread evenly over `BUCKETS_MAX` buckets.
pub(super) const LAG_MAX: u8 = 3;

/// Deepest prefix: positions of 16 bits below it still fit a 53-bit cursor. 22 bits below the slot are seven billion keys in it.
pub(super) const DEPTH_MAX: u8 = 36;

const TAG: u64 = 0xFFFF << 48;
const LOW: u64 = 7;
const ADDRESS: u64 = !(TAG | LOW);

const _: () = assert!(size_of::<Bucket>() == 64 && align_of::<Bucket>() == 64);
const _: () = assert!(size_of::<Segment>() == 32);
const _: () = assert!(DEPTH_MAX as u32 + 16 < 53, "every bucket boundary is a cursor");

#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Bucket(pub(super) [u64; SLOTS]);

impl Bucket {
    const EMPTY: Self = Self([0; SLOTS]);

    #[inline]
    pub(super) const fn is_full(&self) -> bool {
        self.0[SLOTS - 1] != 0
    }

    /// The slots with the tag of `want`. An empty slot may match a tag of 0: the caller looks.
    #[inline]
    pub(super) fn matches(&self, want: u64) -> Hits {
        Hits(super::tags_equal(&self.0, (want >> 48) as u16))
    }

    fn len(&self) -> usize {
        self.0.iter().position(|&word| word == 0).unwrap_or(SLOTS)
    }
}

/// Slots of a bucket, lowest first: slot i is bit 4i + 3.
pub(super) struct Hits(u32);

impl Iterator for Hits {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        let bit = self.0.trailing_zeros() as usize;
        self.0 &= self.0.wrapping_sub(1);
        (bit < 32).then_some(bit / 4)
    }
}

/// The address part of a word.
#[inline]
pub(super) const fn address(word: u64) -> u64 {
    word & ADDRESS
}

/// Whether an address can be the middle of a word.
#[inline]
pub(super) const fn is_address(address: u64) -> bool {
    address != 0 && address & !ADDRESS == 0
}

/// A word with the fingerprint of `other` and an address of its own.
#[inline]
pub(super) const fn readdressed(other: u64, address: u64) -> u64 {
    other & !ADDRESS | address
}

pub(super) struct Segment {
    pub(super) buckets: Box<[Bucket]>,
    /// The hash bits that all keys here share, at the top; zeros below `depth`.
    pub(super) prefix: u64,
    pub(super) count: u32,
    pub(super) depth: u8,
    base: u8,
}

impl Segment {
    /// Without buckets, and so without cost beyond itself, until the first insert.
    pub(super) fn new(prefix: u64, depth: u8) -> Self {
        Self { buckets: Box::default(), prefix, count: 0, depth, base: depth }
    }

    /// The fingerprint of `hash` here: a word without address.
    #[inline]
    pub(super) const fn want(&self, hash: u64) -> u64 {
        (hash << self.base) & TAG | hash & LOW
    }

    /// Position of a word within the segment, 16 bits.
    #[inline]
    pub(super) const fn position(&self, word: u64) -> u64 {
        ((word & TAG) << (self.depth - self.base)) >> 48
    }

    /// Whether a word of the segment that was split in two belongs to the upper half, this one.
    pub(super) const fn takes(&self, word: u64) -> bool {
        (word << (self.depth - 1 - self.base)) >> 63 != 0
    }

    #[inline]
    pub(super) const fn home(&self, word: u64) -> usize {
        ((self.position(word) * self.buckets.len() as u64) >> 16) as usize
    }

    #[inline]
    pub(super) const fn after(&self, bucket: usize) -> usize {
        if bucket + 1 < self.buckets.len() { bucket + 1 } else { 0 }
    }

    /// Lowest hash whose position is `position`; what is known of a word's hash when `position` is that of the word.
    pub(super) const fn hash_at(&self, position: u64) -> u64 {
        self.prefix | position << (48 - self.depth as u32)
    }

    /// Lowest hash above this segment, None after the last one.
    pub(super) const fn end(&self) -> Option<u64> {
        if self.depth == 0 {
            return None;
        }
        self.prefix.checked_add(1 << (64 - self.depth as u32))
    }

    /// Lowest position that a word with home `bucket` can have: a multiple of what the lag leaves, so that a walk by positions
    /// always goes forward.
    pub(super) const fn first_position(&self, bucket: usize) -> u64 {
        ((bucket as u64) << 16).div_ceil(self.buckets.len() as u64).next_multiple_of(1 << (self.depth - self.base))
    }

    /// Whether one more word stays below the load at which a segment grows (11/12, less one: probing needs a slot free).
    #[inline]
    pub(super) const fn has_room(&self) -> bool {
        (self.count as usize) < count_max(self.buckets.len())
    }

    /// Whether so few words are left that a smaller segment should hold them.
    pub(super) const fn is_sparse(&self) -> bool {
        let slots = self.buckets.len() * SLOTS;
        self.count == 0 || (self.count as usize) * 5 < slots * 3 && slots > SLOTS
    }

    /// Puts a word where it belongs. There must be room.
    pub(super) fn place(&mut self, word: u64) -> (usize, usize) {
        let mut bucket = self.home(word);
        while self.buckets[bucket].is_full() {
            bucket = self.after(bucket);
        }
        (bucket, self.push(bucket, word))
    }

    /// Puts a word in `bucket`, which is the first with space on its way. Returns the slot.
    pub(super) fn push(&mut self, bucket: usize, word: u64) -> usize {
        let slot = self.buckets[bucket].len();
        self.buckets[bucket].0[slot] = word;
        self.count += 1;
        slot
    }

    /// Takes a word out and moves spilled words back over the gap.
    pub(super) fn take(&mut self, bucket: usize, slot: usize) -> u64 {
        let word = self.close_up(bucket, slot);
        self.count -= 1;
        let mut gap = bucket;
        // `close_up` left `gap` with a free slot; it mattered to others only if it was full.
        let mut was_full = self.buckets[gap].len() == SLOTS - 1;
        let mut look = gap;
        while was_full {
            look = self.after(look);
            if look == gap {
                break;
            }
            let full = self.buckets[look].is_full();
            if let Some(slot) = self.spilled_past(gap, look) {
                let moved = self.close_up(look, slot);
                let free = self.buckets[gap].len();
                self.buckets[gap].0[free] = moved;
                gap = look;
            }
            was_full = full;
        }
        word
    }

    /// Takes a word out of a bucket and keeps the bucket filled from the front.
    fn close_up(&mut self, bucket: usize, slot: usize) -> u64 {
        let last = self.buckets[bucket].len() - 1;
        let words = &mut self.buckets[bucket].0;
        let word = words[slot];
        words[slot] = words[last];
        words[last] = 0;
        word
    }

    /// A slot of bucket `look` whose word came past bucket `gap`.
    fn spilled_past(&self, gap: usize, look: usize) -> Option<usize> {
        let way = self.distance(gap, look);
        let words = &self.buckets[look].0;
        words.iter().take_while(|&&word| word != 0).position(|&word| self.distance(self.home(word), look) >= way)
    }

    const fn distance(&self, from: usize, to: usize) -> usize {
        if to >= from { to - from } else { to + self.buckets.len() - from }
    }

    /// Takes all words out.
    pub(super) fn take_all(&mut self) -> impl Iterator<Item = u64> + use<> {
        self.count = 0;
        let buckets = std::mem::take(&mut self.buckets);
        (0..buckets.len() * SLOTS).map(move |i| buckets[i / SLOTS].0[i % SLOTS]).filter(|&word| word != 0)
    }

    /// Moves all words to `buckets` new buckets.
    pub(super) fn resize(&mut self, buckets: usize) {
        let words = self.take_all();
        self.fill(buckets, words);
    }

    /// Makes new buckets and places `words` in them.
    pub(super) fn fill(&mut self, buckets: usize, words: impl Iterator<Item = u64>) {
        debug_assert_eq!(self.count, 0);
        self.buckets = vec![Bucket::EMPTY; buckets].into_boxed_slice();
        words.for_each(|word| {
            self.place(word);
        });
        assert!(self.count as usize <= self.buckets.len() * SLOTS);
    }

    /// How many bits below `depth` are the same in all words, as far as the tags tell; and the words' common hash.
    pub(super) fn common(&self) -> (u8, u64) {
        let mut words =
            self.buckets.iter().flat_map(|bucket| bucket.0).filter(|&word| word != 0).map(|w| self.position(w));
        let Some(first) = words.next() else { return (0, self.prefix) };
        let differ = words.fold(0, |differ, position| differ | (position ^ first));
        let known = 16 - (self.depth - self.base);
        let same = u8::try_from(differ.leading_zeros() - 48).expect("at most 16");
        (same.min(known), self.hash_at(first))
    }

    /// Whether a further split needs the keys to be read.
    pub(super) const fn lags(&self) -> bool {
        self.depth - self.base >= LAG_MAX
    }

    /// Makes `depth` the base of the tags; the words that come now must be tagged anew.
    pub(super) const fn rebase(&mut self) {
        self.base = self.depth;
    }

    /// Words move here from `other` as they are.
    pub(super) const fn tag_like(&mut self, other: &Self) {
        self.base = other.base;
    }

    /// Becomes the parent of itself and its buddy `other`: one bit less of depth, all words of both.
    pub(super) fn absorb(&mut self, other: &mut Self) {
        let base = self.base.min(other.base).min(self.depth - 1);
        let mut words: Vec<u64> = Vec::with_capacity((self.count + other.count) as usize);
        for segment in [&mut *self, other] {
            let (back, prefix) = (segment.base - base, segment.prefix);
            words.extend(segment.take_all().map(|word| retagged(word, prefix << base, back)));
        }
        self.depth -= 1;
        self.base = base;
        self.prefix &= !(u64::MAX.checked_shr(u32::from(self.depth)).unwrap_or(0));
        if !words.is_empty() {
            self.fill(buckets_for(words.len()), words.into_iter());
        }
    }
}

/// A word whose tag begins `back` bits earlier, with `above` supplying these bits.
const fn retagged(word: u64, above: u64, back: u8) -> u64 {
    let tag = ((word & TAG) >> back | above & !(u64::MAX >> back)) & TAG;
    tag | word & !TAG
}

/// Most words that so many buckets take.
const fn count_max(buckets: usize) -> usize {
    let slots = buckets * SLOTS;
    if slots == 0 { 0 } else { slots - slots / 12 - 1 }
}

/// The next size of a segment: one less than 1, 1.25, 1.5, 1.75 times a power of two, because allocators have these classes
/// and take up to 63 bytes more for the alignment.
pub(super) const fn next_size(buckets: usize) -> usize {
    let class = buckets + 1;
    if class < 8 { buckets + 1 } else { buckets + (1 << (class.ilog2() - 2)) }
}

/// The smallest size that holds so many words and a tenth more.
pub(super) const fn buckets_for(words: usize) -> usize {
    let mut buckets = 1;
    while count_max(buckets) * 10 < words * 11 {
        buckets = next_size(buckets);
    }
    buckets
}
