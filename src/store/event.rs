//! What happens to keys, by the names and classes of Redis's keyspace notifications.
//!
//! A write says what it did to which key (`Effects::happened`). WATCH, client-side caching, blocked clients and notifications all rest
//! on that: no key changes without an event, and a test over all rows of the command table holds them to it.

/// A letter of `notify-keyspace-events`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    Generic,
    String,
    List,
    Set,
    Hash,
    Zset,
    Expired,
    Evicted,
    Stream,
    /// Generic to whoever listens: the key is gone because the last thing in it was due, which nobody did.
    Faded,
    /// Of hashes: fields are gone because they were due.
    FieldsFaded,
    /// A look-up that found nothing: no change.
    Miss,
    /// Told beside the event of the write that made the key.
    New,
}

impl Class {
    pub const fn letter(self) -> char {
        match self {
            Self::Generic | Self::Faded => 'g',
            Self::String => '$',
            Self::List => 'l',
            Self::Set => 's',
            Self::Hash | Self::FieldsFaded => 'h',
            Self::Zset => 'z',
            Self::Expired => 'x',
            Self::Evicted => 'e',
            Self::Stream => 't',
            Self::Miss => 'm',
            Self::New => 'n',
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    pub class: Class,
    pub name: &'static str,
}

impl Event {
    pub const APPEND: Self = Self::of(Class::String, "append");
    pub const COPY_TO: Self = Self::of(Class::Generic, "copy_to");
    pub const DEL: Self = Self::of(Class::Generic, "del");
    pub const EVICTED: Self = Self::of(Class::Evicted, "evicted");
    pub const EXPIRE: Self = Self::of(Class::Generic, "expire");
    pub const EXPIRED: Self = Self::of(Class::Expired, "expired");
    pub const FADED: Self = Self::of(Class::Faded, "del");
    pub const HDEL: Self = Self::of(Class::Hash, "hdel");
    pub const HEXPIRE: Self = Self::of(Class::Hash, "hexpire");
    pub const HEXPIRED: Self = Self::of(Class::FieldsFaded, "hexpired");
    pub const HINCRBY: Self = Self::of(Class::Hash, "hincrby");
    pub const HINCRBYFLOAT: Self = Self::of(Class::Hash, "hincrbyfloat");
    pub const HPERSIST: Self = Self::of(Class::Hash, "hpersist");
    pub const HSET: Self = Self::of(Class::Hash, "hset");
    pub const INCRBY: Self = Self::of(Class::String, "incrby");
    pub const INCRBYFLOAT: Self = Self::of(Class::String, "incrbyfloat");
    pub const KEYMISS: Self = Self::of(Class::Miss, "keymiss");
    pub const LINSERT: Self = Self::of(Class::List, "linsert");
    pub const LPOP: Self = Self::of(Class::List, "lpop");
    pub const LPUSH: Self = Self::of(Class::List, "lpush");
    pub const LREM: Self = Self::of(Class::List, "lrem");
    pub const LSET: Self = Self::of(Class::List, "lset");
    pub const LTRIM: Self = Self::of(Class::List, "ltrim");
    pub const MOVE_FROM: Self = Self::of(Class::Generic, "move_from");
    pub const MOVE_TO: Self = Self::of(Class::Generic, "move_to");
    pub const NEW: Self = Self::of(Class::New, "new");
    pub const PERSIST: Self = Self::of(Class::Generic, "persist");
    pub const RENAME_FROM: Self = Self::of(Class::Generic, "rename_from");
    pub const RENAME_TO: Self = Self::of(Class::Generic, "rename_to");
    pub const RPOP: Self = Self::of(Class::List, "rpop");
    pub const RPUSH: Self = Self::of(Class::List, "rpush");
    pub const SADD: Self = Self::of(Class::Set, "sadd");
    pub const SDIFFSTORE: Self = Self::of(Class::Set, "sdiffstore");
    pub const SET: Self = Self::of(Class::String, "set");
    pub const SETRANGE: Self = Self::of(Class::String, "setrange");
    pub const SINTERSTORE: Self = Self::of(Class::Set, "sinterstore");
    pub const SPOP: Self = Self::of(Class::Set, "spop");
    pub const SREM: Self = Self::of(Class::Set, "srem");
    pub const SORTSTORE: Self = Self::of(Class::List, "sortstore");
    pub const SUNIONSTORE: Self = Self::of(Class::Set, "sunionstore");

    pub const ZADD: Self = Self::of(Class::Zset, "zadd");
    pub const ZDIFFSTORE: Self = Self::of(Class::Zset, "zdiffstore");
    pub const ZINCR: Self = Self::of(Class::Zset, "zincr");
    pub const ZINTERSTORE: Self = Self::of(Class::Zset, "zinterstore");
    pub const ZPOPMAX: Self = Self::of(Class::Zset, "zpopmax");
    pub const ZPOPMIN: Self = Self::of(Class::Zset, "zpopmin");
    pub const ZRANGESTORE: Self = Self::of(Class::Zset, "zrangestore");
    pub const ZREM: Self = Self::of(Class::Zset, "zrem");
    pub const ZREMRANGEBYLEX: Self = Self::of(Class::Zset, "zremrangebylex");
    pub const ZREMRANGEBYRANK: Self = Self::of(Class::Zset, "zremrangebyrank");
    pub const ZREMRANGEBYSCORE: Self = Self::of(Class::Zset, "zremrangebyscore");
    pub const ZUNIONSTORE: Self = Self::of(Class::Zset, "zunionstore");

    const fn of(class: Class, name: &'static str) -> Self {
        Self { class, name }
    }

    /// Whether it comes by time alone, whatever clients do: who watches a key sees it by what is there.
    pub const fn is_by_itself(self) -> bool {
        matches!(self.class, Class::Expired | Class::Faded | Class::FieldsFaded)
    }

    /// Whether the key is another one now: a miss changes nothing.
    pub const fn is_change(self) -> bool {
        !matches!(self.class, Class::Miss)
    }
}
