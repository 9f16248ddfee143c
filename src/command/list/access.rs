//! How a list is reached from a handler.

use super::Side;
use crate::command::Ctx;
use crate::command::caller::Key;
use crate::store::entry::{EntryRef, Kind, Value, ValueRef};
use crate::store::event::Event;
use crate::store::incoming::Incoming;
use crate::store::keyspace::Write;
use crate::types::Object;
use crate::types::list::{Item, Limits, List};
use crate::types::rope::Rope;
use crate::wire::fault::Fault;
use crate::wire::request::Args;

/// What becomes of a push when there is no list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Absent {
    Make,
    Leave,
}

/// Words of a request on their way into a list; long ones came as ropes, an empty word standing for each.
#[derive(Debug)]
pub(super) struct Words<'a, 'l> {
    pub(super) args: Args<'a>,
    /// The next one.
    pub(super) from: usize,
    pub(super) longs: &'l mut Incoming,
}

impl<'a> Words<'a, '_> {
    fn len(&self) -> usize {
        self.args.len() - self.from
    }

    fn bytes(&self) -> usize {
        self.args.from(self.from).iter().map(<[u8]>::len).sum::<usize>() + self.longs.bytes()
    }

    #[inline]
    pub(super) fn next(&mut self) -> Item<'a> {
        let word = self.from;
        self.from += 1;
        let flat = self.args.at(word);
        if flat.is_empty()
            && let Some(rope) = self.longs.take(word)
        {
            return Item::Long(rope);
        }
        Item::of(flat)
    }
}

/// What an entry holds, if that is a list; a fault when it is something else.
fn as_list(entry: Option<EntryRef<'_>>) -> Result<Option<&List>, Fault> {
    match entry.map(EntryRef::value) {
        None => Ok(None),
        Some(ValueRef::Object(Object::List(list))) => Ok(Some(list)),
        Some(_) => Err(Fault::WrongType),
    }
}

impl Ctx<'_> {
    /// The list at `key`; a fault when it holds something else.
    pub(super) fn list(&mut self, key: Key<'_>) -> Result<Option<&List>, Fault> {
        as_list(self.read(key))
    }

    /// The list that a write is about to change; counts no hit and no miss.
    pub(super) fn old_list(&mut self, key: Key<'_>) -> Result<Option<&List>, Fault> {
        as_list(self.store.touch(self.db, key, self.now))
    }

    #[inline]
    pub(super) fn list_limits(&self) -> Limits {
        Limits::of(self.config.list_node_size())
    }

    /// Pushes words to the list at `key` and tells so; how many elements there are then.
    #[inline]
    pub(super) fn push_to_list(
        &mut self,
        key: Key<'_>,
        side: &Side,
        words: &mut Words<'_, '_>,
        absent: Absent,
    ) -> Result<usize, Fault> {
        let limits = self.list_limits();
        let (count, bytes) = (words.len(), words.bytes());
        let mut push_all = |list: &mut List| {
            list.expect(side.end, bytes, count, limits);
            (0..count).for_each(|_| list.push(side.end, words.next()));
            list.len()
        };
        let pushed = self.store.edit(self.db, key, self.now, |object| match object {
            Some(Object::List(list)) => Ok(push_all(list)),
            _ => Err(Fault::WrongType),
        });
        let len = match pushed {
            Some(len) => len?,
            None if absent == Absent::Leave => return Ok(0),
            None => {
                let mut list = List::with_room(bytes, count);
                push_all(&mut list);
                let value = Value::Object(Kind::List, Box::new(Object::List(list)));
                self.store.set(self.db, key, value, Write::default(), self.now);
                count
            }
        };
        self.happened(side.push, key);
        Ok(len)
    }

    /// Changes the list at `key`, which is not empty afterwards. What it displaces that is long dies in steps. The caller says what happened.
    pub(super) fn edit_list<R>(
        &mut self,
        key: Key<'_>,
        edit: impl FnOnce(&mut List, &mut Vec<Rope>) -> R,
    ) -> Result<Option<R>, Fault> {
        let mut displaced = Vec::new();
        let edited = self.store.edit(self.db, key, self.now, |object| match object {
            Some(Object::List(list)) => Ok(edit(list, &mut displaced)),
            _ => Err(Fault::WrongType),
        });
        displaced.into_iter().for_each(|rope| self.store.graves.bury_object(Object::Rope(rope)));
        edited.transpose()
    }

    /// The same of a change after which elements may be missing: nothing is left of a list that is empty.
    pub(super) fn edit_and_tell<R>(
        &mut self,
        key: Key<'_>,
        event: Event,
        edit: impl FnOnce(&mut List, &mut Vec<Rope>) -> R,
    ) -> Result<Option<R>, Fault> {
        self.take_from_list(key, event, |list, graves| (edit(list, graves), 1))
    }

    /// Takes elements out of the list at `key` and tells so; `take` says how many. Nothing is left of a list that is empty.
    #[inline]
    pub(super) fn take_from_list<R>(
        &mut self,
        key: Key<'_>,
        event: Event,
        take: impl FnOnce(&mut List, &mut Vec<Rope>) -> (R, usize),
    ) -> Result<Option<R>, Fault> {
        let limits = self.list_limits();
        let taken = self.edit_list(key, |list, graves| {
            let (result, count) = take(list, graves);
            list.settle(limits);
            (result, count, list.is_empty())
        })?;
        let Some((result, count, is_empty)) = taken else { return Ok(None) };
        if count > 0 {
            self.happened(event, key);
        }
        if is_empty {
            self.bury(key);
            self.store.effects.also(self.db, Event::DEL, key);
        }
        Ok(Some(result))
    }
}
