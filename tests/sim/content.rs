//! What a keyspace holds, as plain data: to compare the lanes with the oracle, and a shard's accounts with a recount.

use std::collections::BTreeMap;

use corelane::base::time::Millis;
use corelane::shard::Shard;
use corelane::store::entry::{EntryRef, Kind, ValueRef};
use corelane::types::Object;
use corelane::types::dict::Cursor;
use corelane::types::ranked::Way;
use corelane::types::set::TextRoom;

use super::footprint::Place;
use super::log::short;

/// A value and when it dies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Holding {
    pub(crate) kind: Kind,
    value: Vec<Vec<u8>>,
    expiry: Option<Millis>,
}

pub(crate) type Content = BTreeMap<Place, Holding>;

/// Every key that is alive at `now`.
pub(crate) fn content(shard: &Shard, now: Millis) -> Content {
    let mut content = Content::new();
    for (db, keys) in shard.store().open_databases() {
        let db = u8::try_from(db).expect("databases are numbered by bytes");
        let mut cursor = Cursor::START;
        loop {
            cursor = keys
                .scan(cursor, 1000, now, |entry| drop(content.insert((db, entry.key().to_vec()), holding(entry, now))));
            if cursor == Cursor::START {
                break;
            }
        }
    }
    content
}

fn holding(entry: EntryRef<'_>, now: Millis) -> Holding {
    let mut value = Vec::new();
    match entry.value() {
        ValueRef::Str(text) => value.push(text.to_vec()),
        ValueRef::Object(Object::Rope(rope)) => {
            let mut text = Vec::new();
            rope.read_into(0..rope.len(), &mut text);
            value.push(text);
        }
        ValueRef::Object(Object::Set(set)) => {
            set.for_each(|member| value.push(TextRoom::default().text(member).to_vec()));
            value.sort_unstable();
        }
        ValueRef::Object(Object::Hash(hash)) => {
            let mut fields = Vec::new();
            hash.for_each(|pair| {
                let (mut field, mut text) = (Vec::new(), Vec::new());
                pair.first.read_into(&mut field);
                pair.second.read_into(&mut text);
                let deadline = pair.deadline.map_or_else(Vec::new, |at| at.0.to_string().into_bytes());
                if !pair.is_due(now) {
                    fields.push([field, text, deadline]);
                }
            });
            // What was moved between lanes has its fields in another order.
            fields.sort_unstable();
            value.extend(fields.into_iter().flatten());
        }
        ValueRef::Object(Object::List(list)) => list.visit(0..list.len(), |element| {
            let mut text = Vec::new();
            element.read_into(&mut text);
            value.push(text);
        }),
        ValueRef::Object(Object::Zset(zset)) => zset.range(0..zset.len(), Way::Up, |member, score| {
            let mut text = Vec::new();
            member.read_into(&mut text);
            value.extend([text, score.value().to_string().into_bytes()]);
        }),
    }
    Holding { kind: entry.kind(), value, expiry: entry.expiry() }
}

/// Where two keyspaces differ, if they do.
pub(crate) fn difference(lanes: &Content, oracle: &Content) -> Option<String> {
    let places = lanes.keys().chain(oracle.keys().filter(|place| !lanes.contains_key(*place)));
    let mut differing = places.filter(|place| lanes.get(*place) != oracle.get(*place));
    let (db, key) = differing.next()?;
    let tell = |content: &Content| match content.get(&(*db, key.clone())) {
        None => "nothing".to_owned(),
        Some(Holding { kind, value, expiry }) => {
            let words: Vec<String> = value.iter().map(|word| short(word)).collect();
            format!("{kind:?} {} until {expiry:?}", words.join(" "))
        }
    };
    Some(format!("in the end {} of db {db} is {} on its lane and {} in order", short(key), tell(lanes), tell(oracle)))
}

/// Whether the figures a shard keeps are what a count gives.
pub(crate) fn audit(shard: &Shard) -> Result<(), String> {
    for (db, keys) in shard.store().open_databases() {
        let kept = Kind::ALL.map(|kind| keys.usage(kind));
        let counted = keys.recount();
        if kept != counted {
            return Err(format!("db {db} keeps {kept:?} and has {counted:?}"));
        }
        let deadlines = content(shard, Millis(0))
            .iter()
            .filter(|((of, _), holding)| usize::from(*of) == db && holding.expiry.is_some())
            .count();
        if keys.expiring() != deadlines {
            return Err(format!("db {db} keeps {} deadlines and has {deadlines}", keys.expiring()));
        }
    }
    Ok(())
}
