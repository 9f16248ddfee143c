//! Who waits for which key, in the order of arrival; and which of those keys were written since somebody looked.
//!
//! ```text
//!  keys    a: [1: w1][4: w3]   ready          waiters    w1: a
//!          b: [2: w2][5: w3]                             w3: a, b
//! ```
//!
//! What a waiter wants, and whether it still does, its lane knows (`shard/waiters.rs`). Keys are told apart by their names: a key on which
//! ten thousand wait is looked up once, not once for each of them.

use std::collections::{BTreeMap, VecDeque};

use hashbrown::{Equivalent, HashMap};

use crate::base::lanes::ShardId;

/// A request that waits: the lane of its connection, and its number there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WaiterId {
    pub home: ShardId,
    pub block: u64,
}

/// A key of a database.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    pub db: u8,
    pub key: Box<[u8]>,
}

#[derive(Hash)]
struct PlaceRef<'k> {
    db: u8,
    key: &'k [u8],
}

impl Equivalent<Place> for PlaceRef<'_> {
    fn equivalent(&self, place: &Place) -> bool {
        self.db == place.db && *self.key == *place.key
    }
}

#[derive(Debug, Default)]
struct Queue {
    /// By arrival: who, and which word of its request the key is.
    waiters: BTreeMap<u64, (WaiterId, usize)>,
    is_ready: bool,
}

/// The waiters of a shard.
#[derive(Debug, Default)]
pub struct Waiters {
    keys: HashMap<Place, Queue>,
    /// Where each waiter stands.
    places: HashMap<WaiterId, Vec<(Place, u64)>>,
    /// Keys that were written, each once.
    ready: VecDeque<Place>,
    arrivals: u64,
}

impl Waiters {
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Behind all who wait for this key already.
    pub fn enrol(&mut self, waiter: WaiterId, place: Place, word: usize) {
        self.arrivals += 1;
        self.keys.entry(place.clone()).or_default().waiters.insert(self.arrivals, (waiter, word));
        self.places.entry(waiter).or_default().push((place, self.arrivals));
    }

    /// It waits no more; nothing if it is not here.
    pub fn forget(&mut self, waiter: WaiterId) {
        for (place, arrival) in self.places.remove(&waiter).unwrap_or_default() {
            let queue = self.keys.get_mut(&place).expect("a waiter stands in the queues of its keys");
            queue.waiters.remove(&arrival);
            if queue.waiters.is_empty() {
                self.keys.remove(&place);
            }
        }
    }

    /// The key was written or removed.
    pub fn touched(&mut self, db: u8, key: &[u8]) {
        if let Some((place, queue)) = self.keys.get_key_value_mut(&PlaceRef { db, key })
            && !queue.is_ready
        {
            queue.is_ready = true;
            self.ready.push_back(place.clone());
        }
    }

    /// The database was emptied or swapped with another.
    pub fn swept(&mut self, db: u8) {
        for (place, queue) in self.keys.iter_mut().filter(|(place, queue)| place.db == db && !queue.is_ready) {
            queue.is_ready = true;
            self.ready.push_back(place.clone());
        }
    }

    pub fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// A key that was written since it was last looked at.
    pub fn next_ready(&mut self) -> Option<Place> {
        while let Some(place) = self.ready.pop_front() {
            if self.keys.get(&place).is_some_and(|queue| queue.is_ready) {
                self.seen(&place);
                return Some(place);
            }
        }
        None
    }

    /// Somebody looks at the key now.
    pub fn seen(&mut self, place: &Place) {
        if let Some(queue) = self.keys.get_mut(place) {
            queue.is_ready = false;
        }
    }

    /// Who waits for a key, in the order of arrival, with the word that it is of their requests.
    pub fn of(&self, place: &Place) -> impl Iterator<Item = (WaiterId, usize)> {
        self.keys.get(place).into_iter().flat_map(|queue| queue.waiters.values().copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    enum Act {
        Enrol(u64, Vec<u8>),
        Forget(u64),
        Touch(u8),
        Sweep,
        Look,
    }

    fn any_act() -> impl Strategy<Value = Act> {
        prop_oneof![
            4 => (0..20_u64, prop::collection::vec(0..4_u8, 1..4)).prop_map(|(block, keys)| Act::Enrol(block, keys)),
            3 => (0..20_u64).prop_map(Act::Forget),
            4 => (0..4_u8).prop_map(Act::Touch),
            1 => Just(Act::Sweep),
            3 => Just(Act::Look),
        ]
    }

    fn place(key: u8) -> Place {
        Place { db: key % 2, key: Box::new([key]) }
    }

    proptest! {
        /// Against a list of all who wait, in the order of arrival.
        #[test]
        fn queues_keep_the_order_of_arrival_and_every_write_is_told_once(acts in prop::collection::vec(any_act(), 1..80)) {
            let (mut waiters, mut model) = (Waiters::default(), Vec::<(u64, u8, usize)>::new());
            let mut written: Vec<u8> = Vec::new();
            for act in acts {
                match act {
                    Act::Enrol(block, keys) => {
                        if model.iter().any(|(other, ..)| *other == block) {
                            continue;
                        }
                        for (word, key) in keys.into_iter().enumerate() {
                            waiters.enrol(WaiterId { home: ShardId(3), block }, place(key), word);
                            model.push((block, key, word));
                        }
                    }
                    Act::Forget(block) => {
                        waiters.forget(WaiterId { home: ShardId(3), block });
                        model.retain(|(other, ..)| *other != block);
                        written.retain(|key| model.iter().any(|(_, of, _)| of == key));
                    }
                    Act::Touch(key) => {
                        waiters.touched(key % 2, &[key]);
                        waiters.touched(key % 2, b"nobody's");
                        if model.iter().any(|(_, of, _)| *of == key) && !written.contains(&key) {
                            written.push(key);
                        }
                    }
                    Act::Sweep => {
                        waiters.swept(1);
                        for key in [1, 3] {
                            if model.iter().any(|(_, of, _)| *of == key) && !written.contains(&key) {
                                written.push(key);
                            }
                        }
                    }
                    Act::Look => {
                        let mut told = Vec::new();
                        while let Some(place) = waiters.next_ready() {
                            told.push(place.key[0]);
                        }
                        told.sort_unstable();
                        written.sort_unstable();
                        prop_assert_eq!(told, std::mem::take(&mut written));
                    }
                }
                for key in 0..4 {
                    let of: Vec<(u64, usize)> = waiters.of(&place(key)).map(|(waiter, word)| (waiter.block, word)).collect();
                    let expected: Vec<(u64, usize)> =
                        model.iter().filter(|(_, other, _)| *other == key).map(|(block, _, word)| (*block, *word)).collect();
                    prop_assert_eq!(of, expected);
                }
                prop_assert_eq!(waiters.is_empty(), model.is_empty());
                prop_assert_eq!(waiters.keys.is_empty(), model.is_empty());
            }
        }
    }
}
