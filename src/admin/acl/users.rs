//! The users of the server, as one lane knows them: all lanes know the same.
//!
//! A connection keeps the number of its user. A number is given to another user only after all connections of the old one were ended or
//! set back to the default user, which is there always, under the first number.

use std::collections::BTreeMap;

use super::user::{BadWord, Terms, User, merged};
use crate::base::slab::Slab;

/// A user's number on this lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserId(u32);

impl UserId {
    /// Whose connections those are that have not logged in.
    pub const DEFAULT: Self = Self(0);
}

pub const DEFAULT_NAME: &[u8] = b"default";

#[derive(Debug)]
pub struct Users {
    all: Slab<User>,
    names: BTreeMap<Box<[u8]>, UserId>,
}

/// Why a user could not be changed; it is as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SetError {
    /// A selector that begins with this word is never closed.
    Open(Vec<u8>),
    Word(BadWord),
}

impl Users {
    /// The default user alone, which may everything.
    pub fn new(terms: Terms<'_>) -> Self {
        Self::of(vec![User::open(DEFAULT_NAME, terms)])
    }

    /// # Panics
    /// If the default user is not among them.
    pub(super) fn of(users: Vec<User>) -> Self {
        let mut made = Self { all: Slab::default(), names: BTreeMap::new() };
        let (default, others): (Vec<_>, Vec<_>) = users.into_iter().partition(|user| &*user.name == DEFAULT_NAME);
        assert_eq!(default.len(), 1, "the default user is there always");
        default.into_iter().chain(others).for_each(|user| made.insert(user));
        made
    }

    fn insert(&mut self, user: User) {
        let name = user.name.clone();
        self.names.insert(name, UserId(self.all.insert(user)));
    }

    pub fn find(&self, name: &[u8]) -> Option<UserId> {
        self.names.get(name).copied()
    }

    /// # Panics
    /// If there is no such user: whoever keeps a number is told when its user goes.
    pub fn get(&self, id: UserId) -> &User {
        self.all.get(id.0).expect("a connection's user is there")
    }

    pub fn named(&self, name: &[u8]) -> Option<&User> {
        self.find(name).map(|id| self.get(id))
    }

    pub fn default_user(&self) -> &User {
        self.get(UserId::DEFAULT)
    }

    /// In the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &User> {
        self.names.values().map(|id| self.get(*id))
    }

    pub fn len(&self) -> usize {
        self.names.len()
    }

    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Applies rules to a user, who is made if there is none of the name: all of them or none.
    pub fn set<'w>(
        &mut self,
        name: &[u8],
        words: impl Iterator<Item = &'w [u8]>,
        terms: Terms<'_>,
    ) -> Result<(), SetError> {
        let words = merged(words).map_err(SetError::Open)?;
        let id = self.find(name);
        let mut user = id.map_or_else(|| User::new(name, terms), |id| self.get(id).clone());
        user.apply_all(&words, terms).map_err(SetError::Word)?;
        match id.and_then(|id| self.all.get_mut(id.0)) {
            Some(place) => *place = user,
            None => self.insert(user),
        }
        Ok(())
    }

    /// `requirepass`.
    pub fn require(&mut self, password: &[u8]) {
        self.all.get_mut(UserId::DEFAULT.0).expect("it is there always").require(password);
    }

    /// Removes a user; its number, if there was one. The default user stays.
    pub fn delete(&mut self, name: &[u8]) -> Option<UserId> {
        if name == DEFAULT_NAME {
            return None;
        }
        let id = self.names.remove(name)?;
        self.all.remove(id.0);
        Some(id)
    }

    /// Takes these users in the place of those there are; the numbers of those who went, which are all but the default user's, as in Redis
    /// 7.2, be they among the new ones or not.
    pub fn replace(&mut self, users: Vec<User>) -> Vec<UserId> {
        let gone: Vec<UserId> = self.names.values().copied().filter(|id| *id != UserId::DEFAULT).collect();
        *self = Self::of(users);
        gone
    }

    /// Whose name and password these are, if that user may log in.
    pub fn recognize(&self, name: &[u8], password: &[u8]) -> Option<UserId> {
        let id = self.find(name)?;
        let user = self.get(id);
        (user.is_on() && user.knows(password)).then_some(id)
    }
}
