//! One key and its value: one allocation, eight bytes of header.
//!
//! ```text
//!  0     1      2          5        6           8
//! +------+------+----------+--------+-----------+--------+--------+----------+---------+---------+-----+-------+
//! | kind | flags| recency  | key len| value len | expiry | cas    | long key | object  | mc flags| key | value |
//! |  1   |  1   |    3     |   1    |     2     | 8 if E | 8 if C | 8 if len | 8 if O  | 4 if M  |     |       |
//! +------+------+----------+--------+-----------+--------+--------+-= 255 --+---------+---------+-----+-------+
//! ```
//!
//! A value up to `EMBED_MAX` bytes stands in the entry; a longer string and every collection is an [`Object`] in a box, owned through
//! the `object` field. Integers are text like any other string: the encoding "int" is derived by who asks.
//!
//! The size is rounded up to the classes of the allocator, so that what a class leaves over absorbs small changes: overwriting within
//! the class neither allocates nor moves. Which class an entry has follows from its header alone, so that it is freed with the layout
//! it was made with. Fields appear and vanish by making a new entry.
#![expect(unsafe_code, reason = "the layout above; every field is reached through offsets computed in `Shape`")]
#![expect(clippy::cast_possible_truncation, reason = "usize is 64 bits wherever io_uring runs")]

use crate::base::time::Millis;
use crate::types::Object;
use crate::types::dict::Thin;
use crate::types::packed::allocation_class;
use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::marker::PhantomData;
use std::ptr::NonNull;

/// Longest value inside an entry. Longer ones are ropes of shareable leaves of about this size.
pub const EMBED_MAX: usize = 16 << 10;

const LONG_KEY: u8 = u8::MAX;

const EXPIRY: u8 = 1;
const CAS: u8 = 2;
const OBJECT: u8 = 4;
const MC_FLAGS: u8 = 8;
const RAW: u8 = 16;
const EPOCH: u8 = 32;
/// All that is in the object has a deadline of its own: with the last of them the key is gone.
const FADES: u8 = 64;

const _: () = assert!(size_of::<Header>() == 8 && align_of::<Header>() <= 8);
const _: () = assert!(EMBED_MAX <= u16::MAX as usize);

/// The types of values, as TYPE names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Kind {
    String,
    List,
    Set,
    Zset,
    Hash,
    Stream,
}

impl Kind {
    pub const ALL: [Self; 6] = [Self::String, Self::List, Self::Set, Self::Zset, Self::Hash, Self::Stream];
}

/// How a string came to be: APPEND and SETRANGE leave it raw, and OBJECT ENCODING says so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    #[default]
    Plain,
    Raw,
}

/// 24 bits of a clock or of a frequency counter; what they mean is eviction's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recency(pub [u8; 3]);

impl Recency {
    /// Seconds of the clock, which wrap after half a year, as Redis's do.
    pub fn at(now: Millis) -> Self {
        let [_, _, _, _, _, high, middle, low] = now.as_secs().to_be_bytes();
        Self([high, middle, low])
    }
}

/// One of two, by which what was there at a moment is told from what was changed since (`snapshot.rs`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Epoch(u8);

impl Epoch {
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 ^ EPOCH)
    }

    /// As it stands among the flags of an entry.
    #[inline]
    const fn flag(self) -> u8 {
        self.0
    }
}

/// What an entry has beside key and value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fields {
    pub expiry: Option<Millis>,
    pub cas: Option<u64>,
    /// The client's own flags of the memcached protocol; 0 takes no space.
    pub mc_flags: u32,
    pub form: Form,
    pub recency: Recency,
}

/// Why a key is gone by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Death {
    /// Its own deadline has passed.
    Deadline,
    /// That of the last of so many fields has.
    Faded { fields: u32 },
}

/// A value on its way into an entry.
#[derive(Debug)]
pub enum Value<'v> {
    /// At most `EMBED_MAX` bytes.
    Embedded(&'v [u8]),
    Object(Kind, Box<Object>),
}

/// A value in an entry.
#[derive(Clone, Copy, Debug)]
pub enum ValueRef<'e> {
    Str(&'e [u8]),
    Object(&'e Object),
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Header {
    kind: Kind,
    flags: u8,
    recency: [u8; 3],
    key_len: u8,
    value_len: u16,
}

/// Where things are, from the header and (for a long key) the field behind it.
#[derive(Clone, Copy)]
struct Shape {
    flags: u8,
    key_len: usize,
    value_len: usize,
}

impl Shape {
    const fn has(self, flag: u8) -> usize {
        (self.flags & flag != 0) as usize
    }

    const fn cas(self) -> usize {
        8 + 8 * self.has(EXPIRY)
    }

    const fn long_key(self) -> usize {
        self.cas() + 8 * self.has(CAS)
    }

    const fn object(self) -> usize {
        self.long_key() + if self.key_len >= LONG_KEY as usize { 8 } else { 0 }
    }

    const fn mc_flags(self) -> usize {
        self.object() + 8 * self.has(OBJECT)
    }

    #[inline]
    const fn key(self) -> usize {
        self.mc_flags() + 4 * self.has(MC_FLAGS)
    }

    const fn value(self) -> usize {
        self.key() + self.key_len
    }

    const fn bytes(self) -> usize {
        allocation_class(self.value() + self.value_len)
    }

    fn layout(self) -> Layout {
        Layout::from_size_align(self.bytes(), 8).expect("keys and values are bounded far below isize::MAX")
    }
}

/// An owned entry. It may move to another lane: RENAME, COPY and MOVE over lanes send it, value, deadline, fields and all.
#[derive(Debug)]
pub struct Entry(NonNull<u8>);

// SAFETY: an entry owns its memory alone, and what it holds may move (asserted beside `Object`).
unsafe impl Send for Entry {}
// SAFETY: a shared entry gives out shared views, which change nothing.
unsafe impl Sync for Entry {}

/// A view of an entry.
#[derive(Clone, Copy, Debug)]
pub struct EntryRef<'e>(NonNull<u8>, PhantomData<&'e [u8]>);

/// A view for changes that keep the entry where it is.
#[derive(Debug)]
pub struct EntryMut<'e>(NonNull<u8>, PhantomData<&'e mut [u8]>);

impl Entry {
    /// # Panics
    /// If an embedded value is longer than `EMBED_MAX`.
    pub fn new(key: &[u8], value: Value<'_>, fields: Fields) -> Self {
        let (kind, object, bytes) = match value {
            Value::Embedded(bytes) => (Kind::String, None, bytes),
            Value::Object(kind, object) => (kind, Some(object), &[][..]),
        };
        assert!(bytes.len() <= EMBED_MAX, "longer strings are ropes");
        let flags = if fields.expiry.is_some() { EXPIRY } else { 0 }
            | if fields.cas.is_some() { CAS } else { 0 }
            | if object.is_some() { OBJECT } else { 0 }
            | if fields.mc_flags != 0 { MC_FLAGS } else { 0 }
            | if fields.form == Form::Raw { RAW } else { 0 }
            | if object.as_deref().is_some_and(fades) { FADES } else { 0 };
        let shape = Shape { flags, key_len: key.len(), value_len: bytes.len() };
        let header = Header {
            kind,
            flags,
            recency: fields.recency.0,
            key_len: u8::try_from(key.len()).unwrap_or(LONG_KEY),
            value_len: u16::try_from(bytes.len()).expect("EMBED_MAX fits"),
        };
        let layout = shape.layout();
        // SAFETY: the layout is not empty: a header at least.
        let Some(start) = NonNull::new(unsafe { alloc(layout) }) else { handle_alloc_error(layout) };
        // SAFETY: `Shape` places every field inside the allocation, which is nobody else's yet; the 8-byte fields are 8-aligned
        // because only they and the header stand before them, the 4-byte one likewise.
        unsafe {
            start.cast::<Header>().write(header);
            if let Some(expiry) = fields.expiry {
                start.add(8).cast::<u64>().write(expiry.0);
            }
            if let Some(cas) = fields.cas {
                start.add(shape.cas()).cast::<u64>().write(cas);
            }
            if header.key_len == LONG_KEY {
                start.add(shape.long_key()).cast::<usize>().write(key.len());
            }
            if let Some(object) = object {
                start.add(shape.object()).cast::<Box<Object>>().write(object);
            }
            if fields.mc_flags != 0 {
                start.add(shape.mc_flags()).cast::<u32>().write(fields.mc_flags);
            }
            start.add(shape.key()).copy_from_nonoverlapping(NonNull::from(key).cast(), key.len());
            start.add(shape.value()).copy_from_nonoverlapping(NonNull::from(bytes).cast(), bytes.len());
        }
        Self(start)
    }

    pub const fn view(&self) -> EntryRef<'_> {
        EntryRef(self.0, PhantomData)
    }

    /// The same, of this epoch; a new one is of the default.
    #[must_use]
    pub fn in_epoch(self, epoch: Epoch) -> Self {
        EntryMut(self.0, PhantomData).set_epoch(epoch);
        self
    }

    /// The same key and value with other fields.
    pub fn with_fields(self, fields: Fields) -> Self {
        let key = self.view().key();
        if let ValueRef::Str(text) = self.view().value() {
            return Self::new(key, Value::Embedded(text), fields);
        }
        // SAFETY: the new entry is made from the box and a copy of the key; the old memory is then freed without its box.
        unsafe {
            let this = std::mem::ManuallyDrop::new(self);
            let shape = this.view().shape();
            let object = this.0.add(shape.object()).cast::<Box<Object>>().read();
            let new = Self::new(this.view().key(), Value::Object(this.view().kind(), object), fields);
            dealloc(this.0.as_ptr(), shape.layout());
            new
        }
    }

    /// The boxed value, if there is one; the rest of the entry is freed.
    pub fn into_object(self) -> Option<Box<Object>> {
        let shape = self.view().shape();
        if shape.has(OBJECT) == 0 {
            return None;
        }
        let this = std::mem::ManuallyDrop::new(self);
        // SAFETY: the box is read once and the memory freed without dropping it again.
        unsafe {
            let object = this.0.add(shape.object()).cast::<Box<Object>>().read();
            dealloc(this.0.as_ptr(), shape.layout());
            Some(object)
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let shape = self.view().shape();
        // SAFETY: the entry is owned; `shape` gives the layout it was allocated with and where its box is.
        unsafe {
            if shape.has(OBJECT) != 0 {
                self.0.add(shape.object()).cast::<Box<Object>>().drop_in_place();
            }
            dealloc(self.0.as_ptr(), shape.layout());
        }
    }
}

// SAFETY: an allocation of alignment 8; user addresses on 64-bit Linux are below 2^47 (x86-64) or 2^48 (aarch64, unless a
// process asks for more by a hint). The table asserts it for each.
unsafe impl Thin for Entry {
    type Ref<'a> = EntryRef<'a>;
    type Mut<'a> = EntryMut<'a>;

    fn into_address(self) -> u64 {
        std::mem::ManuallyDrop::new(self).0.expose_provenance().get() as u64
    }

    unsafe fn from_address(address: u64) -> Self {
        // SAFETY: passed on from the caller.
        Self(unsafe { pointer(address) })
    }

    #[inline]
    unsafe fn borrow<'a>(address: u64) -> EntryRef<'a> {
        // SAFETY: passed on from the caller.
        EntryRef(unsafe { pointer(address) }, PhantomData)
    }

    #[inline]
    unsafe fn borrow_mut<'a>(address: u64) -> EntryMut<'a> {
        // SAFETY: passed on from the caller.
        EntryMut(unsafe { pointer(address) }, PhantomData)
    }
}

/// # Safety
/// `address` comes from `into_address`.
#[inline]
unsafe fn pointer(address: u64) -> NonNull<u8> {
    // SAFETY: `into_address` gives no null.
    unsafe { NonNull::new_unchecked(std::ptr::with_exposed_provenance_mut(address as usize)) }
}

impl<'e> EntryRef<'e> {
    #[inline]
    fn header(self) -> Header {
        // SAFETY: every entry begins with its header.
        unsafe { self.0.cast::<Header>().read() }
    }

    #[inline]
    fn shape(self) -> Shape {
        let header = self.header();
        let mut shape =
            Shape { flags: header.flags, key_len: header.key_len as usize, value_len: header.value_len as usize };
        if header.key_len == LONG_KEY {
            // SAFETY: a key length of LONG_KEY says that the field is there; its place does not depend on the length.
            shape.key_len = unsafe { self.0.add(shape.long_key()).cast::<usize>().read() };
        }
        shape
    }

    #[inline]
    pub fn key(self) -> &'e [u8] {
        let shape = self.shape();
        // SAFETY: inside the allocation by `Shape`, written by `new`.
        unsafe { std::slice::from_raw_parts(self.0.add(shape.key()).as_ptr(), shape.key_len) }
    }

    #[inline]
    pub fn value(self) -> ValueRef<'e> {
        let shape = self.shape();
        // SAFETY: the flag says whether a box stands there; otherwise the value's bytes are inside the allocation.
        unsafe {
            if shape.has(OBJECT) != 0 {
                return ValueRef::Object(self.0.add(shape.object()).cast::<Box<Object>>().as_ref());
            }
            ValueRef::Str(std::slice::from_raw_parts(self.0.add(shape.value()).as_ptr(), shape.value_len))
        }
    }

    pub fn kind(self) -> Kind {
        self.header().kind
    }

    #[inline]
    pub fn expiry(self) -> Option<Millis> {
        // SAFETY: the flag says that the field is there.
        (self.header().flags & EXPIRY != 0).then(|| unsafe { Millis(self.0.add(8).cast::<u64>().read()) })
    }

    /// Whether its time has come: the key is invisible, though perhaps not yet collected.
    #[inline]
    pub fn is_due(self, now: Millis) -> bool {
        let flags = self.header().flags;
        flags & (EXPIRY | FADES) != 0
            && (self.expiry().is_some_and(|expiry| expiry <= now) || flags & FADES != 0 && self.has_faded(now))
    }

    /// Why it is gone, if it is.
    #[inline]
    pub fn death(self, now: Millis) -> Option<Death> {
        self.is_due(now).then(|| self.cause(now))
    }

    #[cold]
    fn cause(self, now: Millis) -> Death {
        match self.value() {
            _ if self.expiry().is_some_and(|expiry| expiry <= now) => Death::Deadline,
            ValueRef::Object(Object::Hash(hash)) => {
                Death::Faded { fields: u32::try_from(hash.len()).unwrap_or(u32::MAX) }
            }
            _ => Death::Deadline,
        }
    }

    #[cold]
    fn has_faded(self, now: Millis) -> bool {
        matches!(self.value(), ValueRef::Object(object) if object.times().all_due(now))
    }

    /// When something in the value, such as a field of a hash, is due next.
    #[inline]
    pub fn next_inside(self) -> Option<Millis> {
        if self.kind() != Kind::Hash {
            return None;
        }
        match self.value() {
            ValueRef::Object(object) => object.times().next(),
            ValueRef::Str(_) => None,
        }
    }

    /// When what is seen of the value will have changed by itself.
    pub fn fades_after(self, now: Millis) -> Option<Millis> {
        match self.value() {
            ValueRef::Object(Object::Hash(hash)) => hash.next_after(now),
            _ => None,
        }
    }

    pub fn fields(self) -> Fields {
        let shape = self.shape();
        // SAFETY: the flags say which fields are there.
        unsafe {
            Fields {
                expiry: self.expiry(),
                cas: (shape.has(CAS) != 0).then(|| self.0.add(shape.cas()).cast::<u64>().read()),
                mc_flags: if shape.has(MC_FLAGS) != 0 { self.0.add(shape.mc_flags()).cast::<u32>().read() } else { 0 },
                form: if shape.has(RAW) != 0 { Form::Raw } else { Form::Plain },
                recency: self.recency(),
            }
        }
    }

    #[inline]
    pub fn epoch(self) -> Epoch {
        Epoch(self.header().flags & EPOCH)
    }

    pub fn recency(self) -> Recency {
        Recency(self.header().recency)
    }

    /// A copy of key, value and fields, the memcached version excepted: a copy is a value of its own. Large values share their nodes.
    pub fn duplicate(self) -> Entry {
        let fields = Fields { cas: None, ..self.fields() };
        match self.value() {
            ValueRef::Str(text) => Entry::new(self.key(), Value::Embedded(text), fields),
            ValueRef::Object(object) => {
                Entry::new(self.key(), Value::Object(self.kind(), Box::new(object.clone())), fields)
            }
        }
    }

    /// Bytes of the entry and of all that hangs on it.
    pub fn bytes(self) -> usize {
        let object = match self.value() {
            ValueRef::Str(_) => 0,
            ValueRef::Object(object) => size_of::<Object>() + object.bytes(),
        };
        self.shape().bytes() + object
    }
}

fn fades(object: &Object) -> bool {
    object.times().last().is_some()
}

impl<'e> EntryMut<'e> {
    pub const fn view(&self) -> EntryRef<'_> {
        EntryRef(self.0, PhantomData)
    }

    /// Gives the right to change up.
    pub const fn into_view(self) -> EntryRef<'e> {
        EntryRef(self.0, PhantomData)
    }

    #[inline]
    pub fn touch(&mut self, recency: Recency) {
        let header = self.view().header();
        // Most uses fall into the same second as the one before: then the line stays clean.
        if header.recency != recency.0 {
            // SAFETY: the header is there and this view is the only one.
            unsafe { self.0.cast::<Header>().write(Header { recency: recency.0, ..header }) }
        }
    }

    /// Writes an embedded string and its fields where they are, if the entry has exactly these fields and this size class; its epoch stays.
    /// The new bytes must not come from this entry: a borrow cannot.
    #[must_use]
    pub fn overwrite(&mut self, value: &[u8], fields: Fields) -> bool {
        let old = self.view().shape();
        let wanted = if fields.expiry.is_some() { EXPIRY } else { 0 }
            | if fields.cas.is_some() { CAS } else { 0 }
            | if fields.mc_flags != 0 { MC_FLAGS } else { 0 };
        let new = Shape { value_len: value.len(), ..old };
        if old.flags & !(RAW | EPOCH) != wanted || value.len() > EMBED_MAX || new.bytes() != old.bytes() {
            return false;
        }
        let raw = if fields.form == Form::Raw { RAW } else { 0 };
        // SAFETY: the fields are there as their flags say, the value fits the allocation, and this view is the only one.
        unsafe {
            let header = &mut *self.0.cast::<Header>().as_ptr();
            header.flags = wanted | raw | old.flags & EPOCH;
            header.recency = fields.recency.0;
            header.value_len = u16::try_from(value.len()).expect("EMBED_MAX fits");
            if let Some(expiry) = fields.expiry {
                self.0.add(8).cast::<u64>().write(expiry.0);
            }
            if let Some(cas) = fields.cas {
                self.0.add(old.cas()).cast::<u64>().write(cas);
            }
            if fields.mc_flags != 0 {
                self.0.add(old.mc_flags()).cast::<u32>().write(fields.mc_flags);
            }
            self.0.add(old.value()).copy_from_nonoverlapping(NonNull::from(value).cast(), value.len());
        }
        true
    }

    pub fn set_epoch(&mut self, epoch: Epoch) {
        let header = self.view().header();
        let flags = header.flags & !EPOCH | epoch.flag();
        // SAFETY: the header is there and this view is the only one.
        unsafe { self.0.cast::<Header>().write(Header { flags, ..header }) }
    }

    /// Moves the deadline, if there is a place for one.
    #[must_use]
    pub fn set_expiry(&mut self, expiry: Millis) -> bool {
        let has = self.view().expiry().is_some();
        if has {
            // SAFETY: the flag says that the field is there, and this view is the only one.
            unsafe { self.0.add(8).cast::<u64>().write(expiry.0) };
        }
        has
    }

    /// Changes the boxed value; its bytes may change, and when it dies by itself, which the keyspace counts. `change` is given none if the value
    /// is embedded.
    pub fn change_object<R>(&mut self, change: impl FnOnce(Option<&mut Object>) -> R) -> R {
        let shape = self.view().shape();
        if shape.has(OBJECT) == 0 {
            return change(None);
        }
        // SAFETY: the flag says that a box stands there, and this view is the only one; the header is apart from the box's place.
        unsafe {
            let object = &mut **self.0.add(shape.object()).cast::<Box<Object>>().as_mut();
            let result = change(Some(object));
            let flags = shape.flags & !FADES | if fades(object) { FADES } else { 0 };
            (*self.0.cast::<Header>().as_ptr()).flags = flags;
            result
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::rope::Rope;
    use proptest::prelude::*;

    fn any_fields() -> impl Strategy<Value = Fields> {
        (
            any::<Option<u64>>(),
            any::<Option<u64>>(),
            prop_oneof![Just(0), any::<u32>()],
            any::<bool>(),
            any::<[u8; 3]>(),
        )
            .prop_map(|(expiry, cas, mc_flags, raw, recency)| Fields {
                expiry: expiry.map(Millis),
                cas,
                mc_flags,
                form: if raw { Form::Raw } else { Form::Plain },
                recency: Recency(recency),
            })
    }

    fn text(entry: EntryRef<'_>) -> &[u8] {
        let ValueRef::Str(text) = entry.value() else { panic!("a string was stored") };
        text
    }

    proptest! {
        #[test]
        fn gives_back_what_was_put_in(key in prop::collection::vec(any::<u8>(), 0..600), old in prop::collection::vec(any::<u8>(), 0..300),
                                      new in prop::collection::vec(any::<u8>(), 0..300), fields in any_fields(), other in any_fields()) {
            let mut entry = Entry::new(&key, Value::Embedded(&old), fields);
            prop_assert_eq!((entry.view().key(), text(entry.view()), entry.view().fields()), (&key[..], &old[..], fields));
            let bytes = entry.view().bytes();
            prop_assert!(bytes >= 8 + key.len() + old.len() && bytes.is_multiple_of(8));
            let mut view = EntryMut(entry.0, PhantomData);
            if view.overwrite(&new, other) {
                prop_assert_eq!((entry.view().key(), text(entry.view()), entry.view().fields()), (&key[..], &new[..], other));
                prop_assert_eq!(entry.view().bytes(), bytes);
            } else {
                prop_assert_eq!((text(entry.view()), entry.view().fields()), (&old[..], fields));
            }
            let (was, next) = (entry.view().fields(), entry.view().epoch().next());
            view.set_epoch(next);
            prop_assert_eq!((entry.view().epoch(), entry.view().fields()), (next, was));
            prop_assert!(!view.overwrite(text(entry.view()).to_vec().as_slice(), was) || entry.view().epoch() == next, "it stays");
            entry = Entry::new(&key, Value::Object(Kind::String, Box::new(Object::Rope(Rope::from(&new[..])))), fields);
            prop_assert_eq!((entry.view().key(), entry.view().fields()), (&key[..], fields));
            let object = entry.into_object();
            prop_assert!(matches!(object.as_deref(), Some(Object::Rope(rope)) if rope.len() == new.len()));
        }
    }

    #[test]
    fn the_figure_of_the_readme() {
        let entry = Entry::new(&[b'k'; 16], Value::Embedded(&[b'v'; 32]), Fields::default());
        assert_eq!(entry.view().bytes(), 56);
    }
}
