//! The table of a keyspace: an ordered, extendible hash table of one-word entries.
//!
//! ```text
//!  KeyHash --> Directory (directory.rs) --> Segment (segment.rs) --> home bucket, one cache line --> entry
//!              2^n places of 4 bytes        up to 813 entries        8 words: 16 + 3 bits of hash, 45 of address
//! ```
//!
//! - **Growth is local.** A segment grows by a fifth at a time and splits alone; a directory copies at most 64 KiB. There is no step
//!   whose work depends on the size of the table.
//! - **Order is hash order**, from the top: keys of a cluster slot are neighbours, and a SCAN cursor is the prefix of the next hash to
//!   look at (53 bits), which means the same before and after any growth, split, merge or shrink.
//! - **Bytes**: 8 to 11 a key at 8/11 to 11/12 of load; nothing at all while empty.
//!
//! Full hashes are not stored: the 19 bits in a word give position and fingerprint, and a split in which they run out reads the keys again.
//! Absent: iterators that borrow the table (a scan is a sequence of steps), and any growth spread over later operations.
//!
//! From extendible hashing (Fagin et al. 1979) and CCEH (Nam et al. 2019: segments between directory and bucket); ours are the monotone
//! home bucket, the tag kept in the pointer, and segments that grow before they split.
#![expect(unsafe_code, reason = "entries are held as tagged addresses; `Thin` states the contract")]
#![expect(
    clippy::cast_possible_truncation,
    reason = "usize is 64 bits wherever io_uring runs; counts are far below 2^32"
)]

mod directory;
mod segment;
#[cfg(test)]
mod tests;

use crate::base::hash::{HASH_BITS, KeyHash};
use crate::base::rng::Rng;
use directory::{Directory, Half};
use segment::{BUCKETS_MAX, DEPTH_MAX, SLOTS, Segment};
use std::marker::PhantomData;

/// An owner that is one 8-aligned address below 2^48, such as a `Box`.
///
/// # Safety
/// `into_address` gives an address that is not 0, below 2^48, a multiple of 8 and different for different owners; `from_address` is its
/// inverse; `borrow` gives a view valid while the owner is neither changed nor dropped, `borrow_mut` likewise while it is not
/// looked at otherwise.
pub unsafe trait Thin: Sized {
    type Ref<'a>: Copy
    where
        Self: 'a;
    type Mut<'a>
    where
        Self: 'a;

    fn into_address(self) -> u64;

    /// # Safety
    /// `address` comes from `into_address` and is given back only once.
    unsafe fn from_address(address: u64) -> Self;

    /// # Safety
    /// `address` comes from `into_address`, was not given back, and its owner outlives `'a` unchanged.
    unsafe fn borrow<'a>(address: u64) -> Self::Ref<'a>
    where
        Self: 'a;

    /// # Safety
    /// As `borrow`, and nothing else looks at the owner during `'a`.
    unsafe fn borrow_mut<'a>(address: u64) -> Self::Mut<'a>
    where
        Self: 'a;
}

/// What the caches load at once.
pub(super) const LINE_BYTES: u64 = 64;

/// A prefix of the hash order: everything below was visited. 0 is both the start and the end of a scan. Below 2^53.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Cursor(pub u64);

impl Cursor {
    pub const START: Self = Self(0);
    const SHIFT: u32 = 11;

    const fn hash(self) -> u64 {
        self.0 << Self::SHIFT
    }

    /// Where the keys of a slot begin.
    pub const fn at_slot(slot: u16) -> Self {
        Self((slot as u64) << (HASH_BITS - Self::SHIFT))
    }

    /// A place at random.
    pub fn anywhere(rng: &mut Rng) -> Self {
        Self(rng.next_u64() >> Self::SHIFT)
    }

    /// The slot in which a scan goes on.
    pub const fn slot(self) -> u16 {
        KeyHash(self.hash()).slot()
    }
}

/// Where an entry is, until the table changes. A stale one gives another entry or a panic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct At {
    segment: u32,
    bucket: u32,
    slot: u32,
}

/// Where the bucket of a hash is, as a hint for [`Dict::prefetch_entry`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spot {
    segment: u32,
    bucket: u32,
}

/// Where a key that was not found would go, until the table changes.
#[derive(Clone, Copy, Debug)]
pub struct Gap {
    hash: KeyHash,
    segment: u32,
    bucket: u32,
}

pub struct Dict<E: Thin> {
    directory: Directory,
    segments: Pool,
    len: usize,
    bucket_count: usize,
    /// Buckets of the largest segment there has been since the table was empty: the bound of a random pick.
    widest: usize,
    /// See `take_moved`.
    moved: u32,
    owns: PhantomData<E>,
}

impl<E: Thin> Default for Dict<E> {
    fn default() -> Self {
        Self {
            directory: Directory::default(),
            segments: Pool::default(),
            len: 0,
            bucket_count: 0,
            widest: 0,
            moved: 0,
            owns: PhantomData,
        }
    }
}

impl<E: Thin> Dict<E> {
    pub const fn len(&self) -> usize {
        self.len
    }

    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes of the table itself, without its entries.
    pub fn bytes(&self) -> usize {
        self.bucket_count * 64 + self.segments.bytes() + self.directory.bytes()
    }

    /// The entry of this hash that `eq` accepts.
    #[inline]
    pub fn find(&self, hash: KeyHash, eq: impl FnMut(E::Ref<'_>) -> bool) -> Option<At> {
        self.find_or_gap(hash, eq).ok()
    }

    /// As `find`, when the entry is all that is wanted.
    #[inline]
    pub fn get(&self, hash: KeyHash, eq: impl FnMut(E::Ref<'_>) -> bool) -> Option<E::Ref<'_>> {
        let (_, address) = self.probe(hash, eq).ok()?;
        // SAFETY: a live entry's, and the table stays borrowed.
        Some(unsafe { E::borrow(address) })
    }

    #[inline]
    pub fn get_mut(&mut self, hash: KeyHash, eq: impl FnMut(E::Ref<'_>) -> bool) -> Option<E::Mut<'_>> {
        let (_, address) = self.probe(hash, eq).ok()?;
        // SAFETY: a live entry's, and the table stays borrowed for writing.
        Some(unsafe { E::borrow_mut(address) })
    }

    /// The entry, or the place for `insert`, from one probe.
    #[inline]
    pub fn find_or_gap(&self, hash: KeyHash, eq: impl FnMut(E::Ref<'_>) -> bool) -> Result<At, Gap> {
        self.probe(hash, eq).map(|(at, _)| at)
    }

    /// The entry's place and address, or the place for `insert`.
    #[inline]
    fn probe(&self, hash: KeyHash, mut eq: impl FnMut(E::Ref<'_>) -> bool) -> Result<(At, u64), Gap> {
        let Some(number) = self.directory.locate(hash.0) else { return Err(Gap { hash, segment: 0, bucket: 0 }) };
        let segment = self.segments.at(number);
        let want = segment.want(hash.0);
        let mut index = segment.home(want);
        while let Some(bucket) = segment.buckets.get(index) {
            for slot in bucket.matches(want) {
                let address = segment::address(bucket.0[slot]);
                // SAFETY: words hold addresses from `into_address`, and the table is borrowed while `eq` looks.
                if address != 0 && eq(unsafe { E::borrow(address) }) {
                    return Ok((At { segment: number, bucket: narrow(index), slot: narrow(slot) }, address));
                }
            }
            if !bucket.is_full() {
                break;
            }
            index = segment.after(index);
        }
        Err(Gap { hash, segment: number, bucket: narrow(index) })
    }

    #[inline]
    pub fn at(&self, at: At) -> E::Ref<'_> {
        // SAFETY: `word` is a live entry's, and the table stays borrowed.
        unsafe { E::borrow(segment::address(self.word(at))) }
    }

    #[inline]
    pub fn at_mut(&mut self, at: At) -> E::Mut<'_> {
        // SAFETY: `word` is a live entry's, and the table stays borrowed for writing.
        unsafe { E::borrow_mut(segment::address(self.word(at))) }
    }

    /// Puts `entry` in the place of another with the same hash and gives that back.
    pub fn replace(&mut self, at: At, entry: E) -> E {
        let old = self.word(at);
        let place = &mut self.segments.at_mut(at.segment).buckets[at.bucket as usize].0[at.slot as usize];
        *place = segment::readdressed(old, address_of(entry));
        // SAFETY: its only word was just overwritten.
        unsafe { E::from_address(segment::address(old)) }
    }

    /// Makes another entry of the same key out of the one in this place.
    pub fn rewrite(&mut self, at: At, change: impl FnOnce(E) -> E) {
        let old = self.word(at);
        let guard = AbortOnUnwind;
        // SAFETY: its word is overwritten below; until then nobody can look, and unwinding aborts.
        let address = address_of(change(unsafe { E::from_address(segment::address(old)) }));
        std::mem::forget(guard);
        let place = &mut self.segments.at_mut(at.segment).buckets[at.bucket as usize].0[at.slot as usize];
        *place = segment::readdressed(old, address);
    }

    /// Puts a new entry in. `rehash` reads the hash of any entry of this table: a split may need it.
    ///
    /// Work is bounded by one segment: see `segment::BUCKETS_MAX`.
    pub fn insert(&mut self, gap: Gap, entry: E, rehash: impl Fn(E::Ref<'_>) -> KeyHash) -> At {
        let Gap { hash, mut segment, bucket } = gap;
        let address = address_of(entry);
        self.len += 1;
        if self.segments.len() > 0 && self.segments.at(segment).has_room() {
            let segment_ref = self.segments.at_mut(segment);
            let word = segment_ref.want(hash.0) | address;
            let slot = segment_ref.push(bucket as usize, word);
            return At { segment, bucket, slot: narrow(slot) };
        }
        loop {
            segment = self.directory.locate(hash.0).unwrap_or_else(|| self.found());
            if self.segments.at(segment).has_room() {
                let segment_ref = self.segments.at_mut(segment);
                let (bucket, slot) = segment_ref.place(segment_ref.want(hash.0) | address);
                return At { segment, bucket: narrow(bucket), slot: narrow(slot) };
            }
            self.make_room(segment, &rehash);
        }
    }

    /// Takes an entry out. A segment that has become sparse shrinks, or joins its buddy.
    pub fn remove(&mut self, at: At) -> E {
        let word = self.word(at);
        let segment = self.segments.at_mut(at.segment);
        let taken = segment.take(at.bucket as usize, at.slot as usize);
        assert_eq!(taken, word);
        self.len -= 1;
        if self.len == 0 {
            *self = Self::default();
        } else if self.segments.at(at.segment).is_sparse() {
            self.tighten(at.segment);
        }
        // SAFETY: its only word was just taken out.
        unsafe { E::from_address(segment::address(word)) }
    }

    /// Starts loading the bucket of a hash; where that is. The first of two steps that let a batch of look-ups miss the caches
    /// together.
    #[inline]
    pub fn approach(&self, hash: KeyHash) -> Option<Spot> {
        let number = self.directory.locate(hash.0)?;
        let segment = self.segments.at(number);
        let index = segment.home(segment.want(hash.0));
        prefetch(std::ptr::from_ref(segment.buckets.get(index)?) as u64);
        Some(Spot { segment: number, bucket: narrow(index) })
    }

    /// Starts loading the entry whose fingerprint fits, when the bucket has arrived: the second step. A stale spot loads what nobody
    /// wants.
    #[inline]
    pub fn prefetch_entry(&self, spot: Spot, hash: KeyHash) {
        if spot.segment as usize >= self.segments.len() {
            return;
        }
        let segment = self.segments.at(spot.segment);
        let Some(bucket) = segment.buckets.get(spot.bucket as usize) else { return };
        if let Some(slot) = bucket.matches(segment.want(hash.0)).next() {
            let address = segment::address(bucket.0[slot]);
            // An entry of some tens of bytes lies across two lines: a quarter of the keys and most values end in the second.
            prefetch(address);
            prefetch(address + LINE_BYTES);
        }
    }

    /// Visits the entries after `cursor` until at least `count` were seen, and gives the cursor to go on from.
    ///
    /// An entry that is in the table from the first to the last call of a scan is visited at least once; exactly once if the table
    /// did not change its shape meanwhile. One call does work for some `8 * count` empty buckets at most.
    pub fn scan(&self, cursor: Cursor, count: usize, mut visit: impl FnMut(E::Ref<'_>)) -> Cursor {
        let mut seen = 0;
        let mut hash = Some(cursor.hash());
        for _ in 0..count.saturating_mul(8).max(64) {
            let Some(from) = hash.filter(|_| seen < count && !self.is_empty()) else { break };
            hash = self.visit_bucket(from, |_, entry| {
                seen += 1;
                visit(entry);
            });
        }
        self.cursor(hash)
    }

    /// As `scan`, for whoever changes what it is shown in place.
    pub fn scan_mut(&mut self, cursor: Cursor, count: usize, mut visit: impl FnMut(E::Mut<'_>)) -> Cursor {
        let (mut words, mut hash) = (Vec::with_capacity(count + SLOTS), Some(cursor.hash()));
        for _ in 0..count.saturating_mul(8).max(64) {
            let Some(from) = hash.filter(|_| words.len() < count && !self.is_empty()) else { break };
            hash = self.bucket_words(from, |_, word| {
                // Cold: all are on their way before the first is looked at.
                prefetch(segment::address(word));
                prefetch(segment::address(word) + LINE_BYTES);
                words.push(word);
            });
        }
        for word in words {
            // SAFETY: a live entry's word, each once, and the table stays borrowed for writing.
            visit(unsafe { E::borrow_mut(segment::address(word)) });
        }
        self.cursor(hash)
    }

    /// As `scan`, for the keys of one cluster slot only; from `Cursor::START` it begins at the slot's first key.
    pub fn scan_slot(&self, slot: u16, cursor: Cursor, count: usize, mut visit: impl FnMut(E::Ref<'_>)) -> Cursor {
        let mut seen = 0;
        let mut hash = Some(cursor.hash().max(u64::from(slot) << HASH_BITS));
        for _ in 0..count.saturating_mul(8).max(64) {
            let in_slot = |hash: &u64| KeyHash(*hash).slot() == slot;
            let Some(from) = hash.filter(in_slot).filter(|_| !self.is_empty()) else { return Cursor::START };
            if seen >= count {
                break;
            }
            hash = self.visit_bucket(from, |hash, entry| {
                if KeyHash(hash).slot() == slot {
                    seen += 1;
                    visit(entry);
                }
            });
        }
        self.cursor(hash.filter(|hash| KeyHash(*hash).slot() == slot))
    }

    /// How many keys a cluster slot has: adds up its segments, and walks only those it shares with other slots.
    pub fn count_in_slot(&self, slot: u16) -> usize {
        let mut count = 0;
        let mut hash = Some(u64::from(slot) << HASH_BITS);
        while let Some(from) = hash.filter(|hash| KeyHash(*hash).slot() == slot) {
            let Some(number) = self.directory.locate(from) else { break };
            let segment = self.segments.at(number);
            if u32::from(segment.depth) >= 64 - HASH_BITS {
                count += segment.count as usize;
                hash = segment.end();
            } else {
                hash = self.visit_bucket(from, |hash, _| count += usize::from(KeyHash(hash).slot() == slot));
            }
        }
        count
    }

    /// An entry picked at random, each as likely as any other.
    ///
    /// By rejection: any slot of any segment, as if all were as wide as the widest; taken if there is an entry. In the unlikely case that
    /// thousands of picks find nothing (a few entries left among many near-empty segments), the next entry after a random hash.
    pub fn random(&self, rng: &mut Rng) -> Option<At> {
        if self.is_empty() {
            return None;
        }
        let slots = (self.widest * SLOTS) as u64;
        for _ in 0..4096 {
            let pick = rng.below(self.segments.len() as u64 * slots);
            let (number, slot) = (narrow((pick / slots) as usize), (pick % slots) as usize);
            let bucket = self.segments.at(number).buckets.get(slot / SLOTS);
            if bucket.is_some_and(|bucket| bucket.0[slot % SLOTS] != 0) {
                return Some(At { segment: number, bucket: narrow(slot / SLOTS), slot: narrow(slot % SLOTS) });
            }
        }
        self.first_from(narrow(rng.below(self.segments.len() as u64) as usize))
    }

    /// Takes all out in O(1); the table is empty at once and the entries die in steps of `Detached`.
    pub fn detach(&mut self) -> Detached<E> {
        Detached { dict: std::mem::take(self), bucket: 0 }
    }

    #[inline]
    fn word(&self, at: At) -> u64 {
        let word = self.segments.at(at.segment).buckets[at.bucket as usize].0[at.slot as usize];
        assert!(word != 0, "a place from before a change of the table");
        word
    }

    /// Visits the entries whose home is the bucket of `from`, from `from` on, with as much of their hashes as is known; gives the
    /// lowest hash of the next bucket.
    fn visit_bucket(&self, from: u64, mut visit: impl FnMut(u64, E::Ref<'_>)) -> Option<u64> {
        // SAFETY: a live entry's word, and the table stays borrowed.
        self.bucket_words(from, |hash, word| visit(hash, unsafe { E::borrow(segment::address(word)) }))
    }

    /// The same of their words.
    fn bucket_words(&self, from: u64, mut visit: impl FnMut(u64, u64)) -> Option<u64> {
        let number = self.directory.locate(from)?;
        let segment = self.segments.at(number);
        if segment.count == 0 {
            return segment.end();
        }
        let want = segment.want(from);
        let (home, position) = (segment.home(want), segment.position(want));
        let mut index = home;
        loop {
            for &word in segment.buckets[index].0.iter().take_while(|&&word| word != 0) {
                if segment.home(word) == home && segment.position(word) >= position {
                    visit(segment.hash_at(segment.position(word)), word);
                }
            }
            if !segment.buckets[index].is_full() {
                break;
            }
            index = segment.after(index);
            if index == home {
                break;
            }
        }
        let next = segment.first_position(home + 1);
        if next > 0xFFFF { segment.end() } else { Some(segment.hash_at(next)) }
    }

    fn cursor(&self, hash: Option<u64>) -> Cursor {
        Cursor(hash.filter(|_| !self.is_empty()).unwrap_or(0) >> Cursor::SHIFT)
    }

    fn first_from(&self, start: u32) -> Option<At> {
        let all = narrow(self.segments.len());
        (0..all).map(|i| (start + i) % all).find_map(|number| {
            let buckets = &self.segments.at(number).buckets;
            let bucket = buckets.iter().position(|bucket| bucket.0[0] != 0)?;
            Some(At { segment: number, bucket: narrow(bucket), slot: 0 })
        })
    }

    /// The first segment of an empty table.
    fn found(&mut self) -> u32 {
        let number = self.segments.push(Segment::new(0, 0));
        self.directory.found(number);
        number
    }

    fn make_room(&mut self, number: u32, rehash: &impl Fn(E::Ref<'_>) -> KeyHash) {
        let segment = self.segments.at(number);
        let next = segment::next_size(segment.buckets.len());
        if next <= BUCKETS_MAX || segment.depth >= DEPTH_MAX {
            // As soon as it grows after a split: then half as many keys are to be read as at the next.
            if segment.lags() { self.retag(number, next, rehash) } else { self.resize(number, next) }
        } else {
            self.split(number, rehash);
        }
    }

    fn resize(&mut self, number: u32, buckets: usize) {
        let segment = self.segments.at_mut(number);
        let before = segment.buckets.len();
        self.moved += segment.count / 8;
        segment.resize(buckets);
        self.note_resized(before, buckets);
    }

    fn note_resized(&mut self, before: usize, buckets: usize) {
        self.bucket_count = self.bucket_count - before + buckets;
        self.widest = self.widest.max(buckets);
    }

    /// Divides a segment in two. Where all its keys share more bits (one cluster slot) it first moves down to where they differ.
    fn split(&mut self, number: u32, rehash: &impl Fn(E::Ref<'_>) -> KeyHash) {
        let (common, hash) = self.segments.at(number).common();
        let room = DEPTH_MAX - self.segments.at(number).depth;
        for _ in 0..common.min(room) {
            self.descend(number, hash);
        }
        let (depth, buckets) = (self.segments.at(number).depth, self.segments.at(number).buckets.len());
        if depth == DEPTH_MAX {
            self.retag(number, buckets, rehash);
            return;
        }
        // One half was so much the fuller that it has not grown since the last split.
        if self.segments.at(number).lags() {
            self.retag(number, buckets, rehash);
        }
        self.divide(number);
    }

    /// Halves the range of a segment whose keys all lie on the side of `hash`.
    fn descend(&mut self, number: u32, hash: u64) {
        let segment = self.segments.at(number);
        let (prefix, depth) = (segment.prefix, segment.depth);
        let bit = 1 << (63 - depth);
        let sibling = self.segments.push(Segment::new(prefix | (!hash & bit), depth + 1));
        let half = if hash & bit == 0 { Half::Lower } else { Half::Upper };
        self.directory.fork(prefix, depth, number, sibling, half);
        let segment = self.segments.at_mut(number);
        segment.prefix |= hash & bit;
        segment.depth += 1;
    }

    /// Entries moved since the last call by growing, splitting and shrinking: those whose key had to be read again count whole,
    /// the others, whose words alone moved, an eighth. For whoever bounds the work of a turn.
    #[inline]
    pub fn take_moved(&mut self) -> u32 {
        std::mem::take(&mut self.moved)
    }

    /// Reads all keys of a segment, makes its tags begin at its depth and gives it so many buckets. Prefetches the keys: they are cold.
    fn retag(&mut self, number: u32, buckets: usize, rehash: &impl Fn(E::Ref<'_>) -> KeyHash) {
        const AHEAD: usize = 16;
        let segment = self.segments.at_mut(number);
        let before = segment.buckets.len();
        let mut words: Vec<u64> = segment.take_all().collect();
        self.moved += narrow(words.len());
        segment.rebase();
        words.iter().take(AHEAD).for_each(|&word| prefetch(segment::address(word)));
        for i in 0..words.len() {
            if let Some(&word) = words.get(i + AHEAD) {
                prefetch(segment::address(word));
            }
            let address = segment::address(words[i]);
            // SAFETY: the entry is alive; its word is only on its way from one array to the other.
            let hash = rehash(unsafe { E::borrow(address) });
            words[i] = segment.want(hash.0) | address;
        }
        segment.fill(buckets, words.into_iter());
        self.note_resized(before, buckets);
    }

    fn divide(&mut self, number: u32) {
        let segment = self.segments.at_mut(number);
        let (prefix, depth) = (segment.prefix, segment.depth);
        let mut upper = Segment::new(prefix | 1 << (63 - depth), depth + 1);
        upper.tag_like(segment);
        let before = segment.buckets.len();
        self.moved += segment.count / 8;
        let (high, low): (Vec<u64>, Vec<u64>) = segment.take_all().partition(|&word| upper.takes(word));
        segment.depth += 1;
        for (half, words) in [(&mut *segment, low), (&mut upper, high)] {
            if !words.is_empty() {
                half.fill(segment::buckets_for(words.len()), words.into_iter());
            }
        }
        self.bucket_count = self.bucket_count - before + segment.buckets.len() + upper.buckets.len();
        let sibling = self.segments.push(upper);
        self.directory.fork(prefix, depth, number, sibling, Half::Lower);
    }

    /// Gives memory back: joins the buddy if both are small, otherwise shrinks.
    fn tighten(&mut self, number: u32) {
        if self.join(number) {
            return;
        }
        let segment = self.segments.at(number);
        let buckets = if segment.count == 0 { 0 } else { segment::buckets_for(segment.count as usize) };
        if buckets < segment.buckets.len() {
            self.resize(number, buckets);
        }
    }

    /// Merges a segment with its buddy when both together are far from splitting again.
    fn join(&mut self, number: u32) -> bool {
        let segment = self.segments.at(number);
        let (prefix, depth, count) = (segment.prefix, segment.depth, segment.count);
        let Some(buddy_number) = self.directory.buddy(prefix, depth) else { return false };
        let buddy = self.segments.at(buddy_number);
        if buddy.depth != depth || (count + buddy.count) as usize > BUCKETS_MAX * SLOTS / 3 {
            return false;
        }
        let buddy_left = Segment::new(buddy.prefix, depth);
        let mut buddy = std::mem::replace(self.segments.at_mut(buddy_number), buddy_left);
        let segment = self.segments.at_mut(number);
        let before = segment.buckets.len() + buddy.buckets.len();
        segment.absorb(&mut buddy);
        let (prefix, after) = (segment.prefix, segment.buckets.len());
        self.bucket_count = self.bucket_count - before + after;
        self.directory.join(prefix, depth - 1, number);
        self.release(buddy_number);
        true
    }

    /// Frees a segment's number; the last one takes it, so that numbers stay dense for random picks and for the memory.
    fn release(&mut self, number: u32) {
        if let Some(moved) = self.segments.swap_remove(number) {
            let (prefix, depth) = (moved.prefix, moved.depth);
            self.directory.renumber(prefix, depth, number);
        }
    }
}

impl<E: Thin> Drop for Dict<E> {
    fn drop(&mut self) {
        while let Some(mut segment) = self.segments.pop() {
            for word in segment.take_all() {
                // SAFETY: its segment is gone: nobody else has this word.
                drop(unsafe { E::from_address(segment::address(word)) });
            }
        }
    }
}

/// All entries of a table that was cleared, on their way out.
pub struct Detached<E: Thin> {
    dict: Dict<E>,
    /// Buckets of the last segment that are empty already.
    bucket: usize,
}

impl<E: Thin> Detached<E> {
    /// Entries left.
    pub const fn len(&self) -> usize {
        self.dict.len
    }

    pub const fn is_empty(&self) -> bool {
        self.dict.is_empty()
    }

    /// Hands out up to a bucket's worth more than `count` entries. Empty buckets are passed over at 8 for one entry.
    pub fn step(&mut self, count: usize, mut take: impl FnMut(E)) {
        let mut work = 0;
        while work < count {
            let Some(last) = self.dict.segments.last_mut() else { return };
            let Some(bucket) = last.buckets.get_mut(self.bucket) else {
                self.dict.bucket_count -= last.buckets.len();
                self.dict.segments.pop();
                self.bucket = 0;
                work += 1;
                continue;
            };
            self.bucket += 1;
            work += 1;
            for word in std::mem::take(&mut bucket.0).into_iter().filter(|&word| word != 0) {
                self.dict.len -= 1;
                work += 1;
                // SAFETY: its word was just taken out.
                take(unsafe { E::from_address(segment::address(word)) });
            }
        }
    }
}

/// Segments under dense numbers, in chunks, so that one more never copies all.
#[derive(Default)]
struct Pool {
    chunks: Vec<Vec<Segment>>,
    len: usize,
}

impl Pool {
    const CHUNK: usize = 256;

    const fn len(&self) -> usize {
        self.len
    }

    #[inline]
    fn at(&self, number: u32) -> &Segment {
        &self.chunks[number as usize / Self::CHUNK][number as usize % Self::CHUNK]
    }

    #[inline]
    fn at_mut(&mut self, number: u32) -> &mut Segment {
        &mut self.chunks[number as usize / Self::CHUNK][number as usize % Self::CHUNK]
    }

    fn last_mut(&mut self) -> Option<&mut Segment> {
        self.chunks.last_mut()?.last_mut()
    }

    fn push(&mut self, segment: Segment) -> u32 {
        let number = u32::try_from(self.len).expect("fewer segments than 2^31: memory ends before");
        if self.len == self.chunks.len() * Self::CHUNK {
            self.chunks.push(Vec::new());
        }
        let chunk = self.chunks.last_mut().expect("a chunk with room was just made sure of");
        if chunk.is_empty() {
            chunk.reserve_exact(1);
        }
        chunk.push(segment);
        self.len += 1;
        number
    }

    fn pop(&mut self) -> Option<Segment> {
        let chunk = self.chunks.last_mut()?;
        let segment = chunk.pop();
        if chunk.is_empty() {
            self.chunks.pop();
        }
        self.len -= 1;
        segment
    }

    /// Removes one; the last takes its number and is given if it is another.
    fn swap_remove(&mut self, number: u32) -> Option<&Segment> {
        let last = self.pop()?;
        if number as usize == self.len {
            return None;
        }
        *self.at_mut(number) = last;
        Some(self.at(number))
    }

    fn bytes(&self) -> usize {
        let heads: usize = self.chunks.iter().map(Vec::capacity).sum();
        heads * size_of::<Segment>() + self.chunks.capacity() * size_of::<Vec<Segment>>()
    }
}

/// While a word's entry is away, nothing may see the table.
struct AbortOnUnwind;

impl Drop for AbortOnUnwind {
    fn drop(&mut self) {
        std::process::abort();
    }
}

fn address_of<E: Thin>(entry: E) -> u64 {
    let address = entry.into_address();
    assert!(segment::is_address(address), "an address that leaves room for the fingerprint");
    address
}

/// Buckets, slots and segments are counted in less than 32 bits.
#[inline]
const fn narrow(number: usize) -> u32 {
    number as u32
}

/// The words whose sixteen top bits are `tag`: bit 4i + 3 for word i. The vectors that every x86-64 has compare all 32 numbers of 16 bits
/// at once, pack the answers to bytes and those to bits, of which each fourth is about a tag.
#[cfg(target_arch = "x86_64")]
#[inline]
fn tags_equal(words: &[u64; SLOTS], tag: u16) -> u32 {
    use std::arch::x86_64::{
        __m128i, _mm_cmpeq_epi16, _mm_loadu_si128, _mm_movemask_epi8, _mm_packs_epi16, _mm_set1_epi16,
    };
    let two = words.as_ptr().cast::<__m128i>();
    // SAFETY: eight words are four vectors, and SSE2 is part of x86-64.
    unsafe {
        let wanted = _mm_set1_epi16(tag.cast_signed());
        let same = |i: usize| _mm_cmpeq_epi16(_mm_loadu_si128(two.add(i)), wanted);
        let low = _mm_movemask_epi8(_mm_packs_epi16(same(0), same(1))).cast_unsigned();
        let high = _mm_movemask_epi8(_mm_packs_epi16(same(2), same(3))).cast_unsigned();
        (low | high << 16) & 0x8888_8888
    }
}

#[cfg(not(target_arch = "x86_64"))]
#[inline]
fn tags_equal(words: &[u64; SLOTS], tag: u16) -> u32 {
    words.iter().enumerate().fold(0, |hits, (i, word)| hits | u32::from((word >> 48) as u16 == tag) << (4 * i + 3))
}

/// Starts loading a line.
#[inline]
pub(super) fn prefetch(address: u64) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch touches no memory, whatever the address.
        unsafe { _mm_prefetch(std::ptr::without_provenance::<i8>(address as usize), _MM_HINT_T0) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}
