//! A slab: values under small, reused numbers. Connections, waiters and tickets live in slabs, because their numbers travel
//! through kernel completions and peers' messages, where a pointer must not.

/// Values of type `T` under `u32` keys; a freed key is the next to be given out, so a quiet slab stays dense.
#[derive(Debug)]
pub struct Slab<T> {
    places: Vec<Place<T>>,
    free: Option<u32>,
    len: usize,
}

#[derive(Debug)]
enum Place<T> {
    Taken(T),
    Free(Option<u32>),
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { places: Vec::new(), free: None, len: 0 }
    }
}

impl<T> Slab<T> {
    /// # Panics
    /// If 2^32 values are held: every user of a slab has a limit far below.
    pub fn insert(&mut self, value: T) -> u32 {
        self.len += 1;
        if let Some(key) = self.free {
            let place = &mut self.places[key as usize];
            let Place::Free(next) = *place else { unreachable!("the free list holds only free places") };
            self.free = next;
            *place = Place::Taken(value);
            return key;
        }
        let key = narrow(self.places.len());
        self.places.push(Place::Taken(value));
        key
    }

    pub fn remove(&mut self, key: u32) -> Option<T> {
        let place = self.places.get_mut(key as usize)?;
        if matches!(place, Place::Free(_)) {
            return None;
        }
        let Place::Taken(value) = std::mem::replace(place, Place::Free(self.free)) else { unreachable!("just looked") };
        self.free = Some(key);
        self.len -= 1;
        Some(value)
    }

    #[inline]
    pub fn get(&self, key: u32) -> Option<&T> {
        match self.places.get(key as usize) {
            Some(Place::Taken(value)) => Some(value),
            _ => None,
        }
    }

    #[inline]
    pub fn get_mut(&mut self, key: u32) -> Option<&mut T> {
        match self.places.get_mut(key as usize) {
            Some(Place::Taken(value)) => Some(value),
            _ => None,
        }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    /// One above the greatest key ever given out.
    pub fn places(&self) -> u32 {
        narrow(self.places.len())
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        self.places.iter().enumerate().filter_map(|(key, place)| match place {
            Place::Taken(value) => Some((narrow(key), value)),
            Place::Free(_) => None,
        })
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = (u32, &mut T)> {
        self.places.iter_mut().enumerate().filter_map(|(key, place)| match place {
            Place::Taken(value) => Some((narrow(key), value)),
            Place::Free(_) => None,
        })
    }
}

fn narrow(key: usize) -> u32 {
    u32::try_from(key).expect("a slab's user bounds it")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn freed_keys_are_reused_and_nothing_is_lost() {
        let mut slab = Slab::default();
        let keys: Vec<u32> = (0..10).map(|i| slab.insert(i)).collect();
        assert_eq!(slab.remove(keys[3]), Some(3));
        assert_eq!(slab.remove(keys[3]), None);
        assert_eq!(slab.remove(keys[7]), Some(7));
        assert_eq!(slab.insert(70), keys[7]);
        assert_eq!(slab.insert(30), keys[3]);
        assert_eq!(slab.insert(100), 10);
        assert_eq!(slab.len(), 11);
        assert_eq!(slab.iter().map(|(_, v)| *v).sum::<i32>(), (0..10).sum::<i32>() - 10 + 70 + 30 + 100);
        assert_eq!(slab.get(99), None);
    }
}
