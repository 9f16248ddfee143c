//! Access control: users, what they may do, and what was denied.
//!
//! ```text
//!  ACL SETUSER x on >p ~a* +get      rule.rs        a word -> what it grants or takes
//!  user x on ... (config, aclfile)     |
//!                                      v
//!                                    selector.rs    commands (catalog.rs, category.rs), keys and channels (pattern.rs)
//!                                    user.rs        selectors, passwords (password.rs); and back into words
//!                                    users.rs       by name and by number          file.rs, startup.rs   all of them, from files
//!  a request -- shard/admit.rs -->   User::allows   no -> log.rs
//! ```
//!
//! Each lane has all users, and asks them where a connection's request comes in; no lane asks for another. A user that may everything, as
//! the default user if nobody changed it, is never asked: its connections are marked.
//!
//! Nothing here knows the table of commands, which is a layer above: it is told as a [`Catalog`]. Absent: rights by database.

mod catalog;
mod category;
mod file;
mod log;
mod password;
mod pattern;
mod rule;
mod selector;
mod startup;
mod user;
mod users;

#[cfg(test)]
mod tests;

pub use catalog::{Catalog, Entry};
pub use category::{Categories, NAMES as CATEGORY_NAMES};
pub use file::parse as parse_file;
pub use log::{Context, Denial, Entry as LogEntry, Log, Reason, merged as merged_log};
pub use pattern::{Dealing, Naming};
pub use rule::{RuleError, has_spaces};
pub use selector::{Asked, Channels, Lack, Selector};
pub use startup::{of_line as user_of_line, users as users_at_start};
pub use user::{BadWord, Terms, User};
pub use users::{DEFAULT_NAME, SetError, UserId, Users};

use crate::config::{Config, NewChannels};

/// What a lane knows of users.
#[derive(Debug)]
pub struct Acl {
    pub catalog: Catalog,
    pub users: Users,
    pub log: Log,
}

/// How much of what a connection asks has to be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clearance {
    /// It has to log in first.
    Nobody,
    /// Its user may some things.
    Limited,
    /// Its user may everything.
    Full,
}

/// Whether a connection has proven whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    Given,
    Missing,
}

impl Acl {
    /// Of a connection of this user. Without a proof it is the default user's, as far as that needs none.
    pub fn clearance(&self, user: UserId, proof: Proof) -> Clearance {
        if proof == Proof::Missing && !self.users.default_user().is_open() {
            Clearance::Nobody
        } else if self.users.get(user).is_unlimited(&self.catalog) {
            Clearance::Full
        } else {
            Clearance::Limited
        }
    }

    /// What a connection has that has just been made.
    pub fn proof_at_first(&self) -> Proof {
        if self.users.default_user().is_open() { Proof::Given } else { Proof::Missing }
    }

    /// With these users, or with the default user alone as `requirepass` says.
    pub fn new(catalog: Catalog, users: Vec<User>, config: &Config) -> Self {
        let users = if users.is_empty() { vec![default_user(config, &catalog)] } else { users };
        Self { users: Users::of(users), catalog, log: Log::default() }
    }

    /// How rules are understood now.
    pub fn terms<'t>(&'t self, config: &Config) -> Terms<'t> {
        terms(&self.catalog, config)
    }
}

/// How rules are understood under this configuration.
pub fn terms<'t>(catalog: &'t Catalog, config: &Config) -> Terms<'t> {
    static ALL: Channels = Channels::All;
    static NONE: Channels = Channels::Only(Vec::new());
    let channels = match config.acl_pubsub_default() {
        NewChannels::All => &ALL,
        NewChannels::None => &NONE,
    };
    Terms { catalog, channels }
}

/// The default user, of whom only `requirepass` says anything.
pub fn default_user(config: &Config, catalog: &Catalog) -> User {
    let mut user = User::open(DEFAULT_NAME, terms(catalog, config));
    user.require(config.requirepass());
    user
}
