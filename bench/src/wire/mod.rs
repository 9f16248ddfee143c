//! What goes over the wire, in each protocol: how a command is written and how its reply is told right from wrong.
//!
//! ```text
//!   ["SET", "{key}", "{value}"] --(words)--> Command --(dialect)--> pieces   *3 $3 SET $16 key:..........  $64 x....
//!                                                                   reply    +OK | STORED | HD | a header with status 0
//! ```
//!
//! Definitions are written in Redis's words. The three Memcached dialects take those commands that they have an equal
//! of (GET, MGET, SET, DEL, INCR, EXPIRE, GETEX, PING); the others are refused by name, never left out silently.

pub(crate) mod binary;
pub(crate) mod checker;
pub(crate) mod expect;
pub(crate) mod frame;
pub(crate) mod memcache;
pub(crate) mod piece;
pub(crate) mod resp;

use serde::{Deserialize, Serialize};

/// What the requests and replies look like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Dialect {
    /// RESP2.
    #[default]
    Redis,
    /// RESP3, asked for by HELLO 3 on each connection.
    Resp3,
    /// RESP requests, each answered by one bulk of `value_bytes`: the floor.
    Fixed,
    /// Memcached's classic text protocol.
    Memcache,
    /// Memcached's meta commands (mg, ms, md, ma).
    Meta,
    /// Memcached's binary protocol.
    Binary,
}

impl Dialect {
    pub(crate) const fn is_resp(self) -> bool {
        matches!(self, Self::Redis | Self::Resp3 | Self::Fixed)
    }

    /// What a new connection says before anything else.
    pub(crate) const fn greeting(self) -> &'static [u8] {
        match self {
            Self::Resp3 => b"*2\r\n$5\r\nHELLO\r\n$1\r\n3\r\n",
            _ => b"",
        }
    }
}

impl std::str::FromStr for Dialect {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        clap::ValueEnum::from_str(text, false).map_err(|_| {
            let names = <Self as clap::ValueEnum>::value_variants();
            format!("{text} is none of {names:?} in lower case")
        })
    }
}
