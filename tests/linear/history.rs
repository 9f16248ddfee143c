//! What clients asked and were told, and when: the input of the checker.

use std::collections::BTreeMap;

/// Few keys, so that clients meet; their names fall to different lanes.
pub(crate) const KEYS: [&str; 4] = ["a", "b", "c", "d"];

/// A key by its place in [`KEYS`].
pub(crate) type Key = usize;

/// What each key holds.
pub(crate) type Store = BTreeMap<Key, i64>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    Get(Key),
    Set(Key, i64),
    Incr(Key),
    Del(Vec<Key>),
    MSet(Vec<(Key, i64)>),
    MGet(Vec<Key>),
    /// MULTI, these, EXEC.
    Exec(Vec<Self>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Ok,
    Number(i64),
    Value(Option<i64>),
    Several(Vec<Self>),
}

/// One operation of one client, with the times at which it was sent and answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Operation {
    pub(crate) ask: Ask,
    pub(crate) told: Told,
    pub(crate) start: u64,
    pub(crate) end: u64,
}

impl Ask {
    /// What a lone store answers, and becomes.
    pub(crate) fn apply(&self, store: &mut Store) -> Told {
        match self {
            Self::Get(key) => Told::Value(store.get(key).copied()),
            Self::Set(key, value) => {
                store.insert(*key, *value);
                Told::Ok
            }
            Self::Incr(key) => {
                let value = store.entry(*key).or_insert(0);
                *value += 1;
                Told::Number(*value)
            }
            Self::Del(keys) => {
                let removed = keys.iter().filter(|key| store.remove(*key).is_some()).count();
                Told::Number(i64::try_from(removed).expect("few keys"))
            }
            Self::MSet(pairs) => {
                store.extend(pairs.iter().copied());
                Told::Ok
            }
            Self::MGet(keys) => Told::Several(keys.iter().map(|key| Told::Value(store.get(key).copied())).collect()),
            Self::Exec(asks) => Told::Several(asks.iter().map(|ask| ask.apply(store)).collect()),
        }
    }

    pub(crate) fn keys(&self) -> Vec<Key> {
        match self {
            Self::Get(key) | Self::Set(key, _) | Self::Incr(key) => vec![*key],
            Self::Del(keys) | Self::MGet(keys) => keys.clone(),
            Self::MSet(pairs) => pairs.iter().map(|(key, _)| *key).collect(),
            Self::Exec(asks) => asks.iter().flat_map(Self::keys).collect(),
        }
    }

    /// As it goes over the wire. An EXEC has words of its own.
    pub(crate) fn words(&self) -> Vec<String> {
        let name = |key: &Key| KEYS[*key].to_owned();
        let with = |word: &str, rest: Vec<String>| std::iter::once(word.to_owned()).chain(rest).collect();
        match self {
            Self::Get(key) => with("GET", vec![name(key)]),
            Self::Set(key, value) => with("SET", vec![name(key), value.to_string()]),
            Self::Incr(key) => with("INCR", vec![name(key)]),
            Self::Del(keys) => with("DEL", keys.iter().map(name).collect()),
            Self::MSet(pairs) => {
                with("MSET", pairs.iter().flat_map(|(key, value)| [name(key), value.to_string()]).collect())
            }
            Self::MGet(keys) => with("MGET", keys.iter().map(name).collect()),
            Self::Exec(_) => vec!["EXEC".to_owned()],
        }
    }
}
