//! One database of one shard.

use hashbrown::HashMap;

use crate::base::hash::KeyHash;
use crate::base::time::Millis;

/// What becomes of a key's deadline when its value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ttl {
    Keep,
    Clear,
    At(Millis),
}

#[derive(Debug)]
struct Entry {
    value: Vec<u8>,
    expires: Option<Millis>,
}

#[derive(Debug, Default)]
pub struct Keyspace {
    map: HashMap<Box<[u8]>, Entry>,
    expires: usize,
}

impl Keyspace {
    pub fn len(&self) -> usize {
        self.map.len()
    }

    pub fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    /// Keys with a deadline.
    pub fn expires(&self) -> usize {
        self.expires
    }

    pub fn bytes(&self) -> usize {
        self.map.len() * 64
    }

    #[inline]
    pub fn get(&self, key: &[u8], _hash: KeyHash, now: Millis) -> Option<&[u8]> {
        self.map.get(key).filter(|entry| entry.expires.is_none_or(|at| at > now)).map(|entry| &*entry.value)
    }

    pub fn set(&mut self, key: &[u8], _hash: KeyHash, value: &[u8], ttl: Ttl) {
        let entry = match self.map.get_mut(key) {
            Some(entry) => entry,
            None => self.map.entry(key.into()).or_insert(Entry { value: Vec::new(), expires: None }),
        };
        entry.value.clear();
        entry.value.extend_from_slice(value);
        let before = entry.expires;
        entry.expires = match ttl {
            Ttl::Keep => before,
            Ttl::Clear => None,
            Ttl::At(at) => Some(at),
        };
        self.expires += usize::from(entry.expires.is_some());
        self.expires -= usize::from(before.is_some());
    }

    /// Removes an entry whatever its deadline; whether there was one.
    pub fn remove(&mut self, key: &[u8], _hash: KeyHash) -> bool {
        let removed = self.map.remove(key);
        self.expires -= usize::from(removed.as_ref().is_some_and(|entry| entry.expires.is_some()));
        removed.is_some()
    }

    /// `None`: no such key. `Some(None)`: it has no deadline.
    pub fn expiry(&self, key: &[u8], _hash: KeyHash, now: Millis) -> Option<Option<Millis>> {
        self.map.get(key).filter(|entry| entry.expires.is_none_or(|at| at > now)).map(|entry| entry.expires)
    }

    pub fn set_expiry(&mut self, key: &[u8], _hash: KeyHash, at: Option<Millis>) {
        let Some(entry) = self.map.get_mut(key) else { return };
        self.expires += usize::from(at.is_some());
        self.expires -= usize::from(entry.expires.is_some());
        entry.expires = at;
    }
}
