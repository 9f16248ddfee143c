//! The patterns of BY and GET: where the value stands that belongs to an element.
//!
//! ```text
//!  #               the element itself
//!  weight_*        the string at "weight_" and the element
//!  user_*->name    the field "name" of the hash at "user_" and the element
//!  nosort          no star: nothing
//! ```

use crate::command::Ctx;
use crate::command::caller::Key;
use crate::store::text::Text;
use crate::types::trie::Value;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Pattern {
    Element,
    Nothing,
    Elsewhere(Place),
}

/// A key that is made of an element, and a field of the hash there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    before: Box<[u8]>,
    after: Box<[u8]>,
    field: Option<Box<[u8]>>,
}

impl Pattern {
    pub(super) fn of(word: &[u8]) -> Self {
        if word == b"#" {
            return Self::Element;
        }
        let Some(star) = memchr::memchr(b'*', word) else { return Self::Nothing };
        let (before, rest) = (&word[..star], &word[star + 1..]);
        // An arrow with nothing behind it is part of the key.
        let arrow = memchr::memmem::find(rest, b"->").filter(|at| at + 2 < rest.len());
        let (after, field) = arrow.map_or((rest, None), |at| (&rest[..at], Some(rest[at + 2..].into())));
        Self::Elsewhere(Place { before: before.into(), after: after.into(), field })
    }

    pub(super) fn elsewhere(&self) -> Option<&Place> {
        if let Self::Elsewhere(place) = self { Some(place) } else { None }
    }
}

impl Place {
    /// Writes the key that belongs to an element.
    pub(super) fn write_key(&self, element: Text<'_>, key: &mut Vec<u8>) {
        key.clear();
        key.extend_from_slice(&self.before);
        match element {
            Text::Flat(flat) => key.extend_from_slice(flat),
            Text::Rope(rope) => rope.read_into(0..rope.len(), key),
        }
        key.extend_from_slice(&self.after);
    }

    /// Shows what stands at a key, if that is what the pattern asks for.
    pub(super) fn look(&self, ctx: &mut Ctx<'_>, key: Key<'_>, show: impl FnOnce(Text<'_>)) {
        let Some(field) = &self.field else {
            if let Some(text) = ctx.read(key).and_then(Text::of) {
                show(text);
            }
            return;
        };
        let now = ctx.now;
        if let Ok(Some((hash, hasher))) = ctx.hash(key)
            && let Some(value) = hash.find(field, &hasher, now)
        {
            with_text(value, show);
        }
    }
}

/// Shows an element, or the value of a field, as the text that it is.
pub(super) fn with_text<R>(value: Value<'_>, show: impl FnOnce(Text<'_>) -> R) -> R {
    match value {
        Value::Short(cell) => show(Text::Flat(cell.text(&mut [0; crate::base::ascii::I64_TEXT_MAX]))),
        Value::Long(rope) => show(Text::Rope(rope)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_read_as_redis_reads_them() {
        let place = |before: &[u8], after: &[u8], field: Option<&[u8]>| {
            Pattern::Elsewhere(Place { before: before.into(), after: after.into(), field: field.map(Into::into) })
        };
        for (word, pattern) in [
            (&b"#"[..], Pattern::Element),
            (b"nosort", Pattern::Nothing),
            (b"", Pattern::Nothing),
            (b"w->f", Pattern::Nothing),
            (b"#*", place(b"#", b"", None)),
            (b"*", place(b"", b"", None)),
            (b"w_*", place(b"w_", b"", None)),
            (b"w_*_z*", place(b"w_", b"_z*", None)),
            (b"u_*->name", place(b"u_", b"", Some(b"name"))),
            (b"u_*_x->a->b", place(b"u_", b"_x", Some(b"a->b"))),
            (b"u_*->", place(b"u_", b"->", None)),
            (b"u->f_*", place(b"u->f_", b"", None)),
        ] {
            assert_eq!(Pattern::of(word), pattern, "{}", word.escape_ascii());
        }
        let mut key = b"old".to_vec();
        let Pattern::Elsewhere(place) = Pattern::of(b"u_*_x->f") else { panic!("it has a star") };
        place.write_key(Text::Flat(b"12"), &mut key);
        assert_eq!(key, b"u_12_x");
    }
}
