//! The keys of a run: a few that everybody wants and many that are seldom touched, in names that spread over the slots.

use corelane::base::rng::Rng;
use corelane::command::Group;

use super::grammar::pick;

/// How many there are, drawn per seed.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    hot: usize,
    cold: usize,
    fields: usize,
    /// Keys of one kind of value begin with the same letter, so that requests mostly meet the type they want.
    letter: char,
    /// One in so many is of the other letter.
    strangers: u64,
}

impl Keys {
    pub(crate) fn draw(rng: &mut Rng) -> Self {
        Self {
            hot: 1 + pick(rng, 6),
            cold: 1 + pick(rng, 80),
            fields: 1 + pick(rng, 30),
            letter: 'k',
            strangers: 2 + rng.below(30),
        }
    }

    pub(crate) fn of_group(&self, group: Group) -> Self {
        let letter = match group {
            Group::Hash => 'h',
            Group::List => 'l',
            Group::Set => 's',
            Group::SortedSet => 'z',
            _ => 'k',
        };
        Self { letter, ..self.clone() }
    }

    pub(crate) fn key(&self, rng: &mut Rng) -> Vec<u8> {
        let letters = ['k', 'h', 'l', 's', 'z'];
        let other = letters[pick(rng, letters.len())];
        let letter = if rng.one_in(self.strangers) { other } else { self.letter };
        let number = if rng.one_in(4) { self.hot + pick(rng, self.cold) } else { pick(rng, self.hot) };
        // Some share a slot by a tag: then a command over several keys has only one lane to ask.
        if rng.one_in(6) { format!("{letter}{{tag}}{number}") } else { format!("{letter}{number}") }.into_bytes()
    }

    /// Of a set: a number as often as a name.
    pub(crate) fn member(&self, rng: &mut Rng) -> Vec<u8> {
        let number = pick(rng, self.fields);
        if rng.one_in(2) { number.to_string() } else { format!("f{number}") }.into_bytes()
    }

    pub(crate) fn field(&self, rng: &mut Rng) -> Vec<u8> {
        format!("f{}", pick(rng, self.fields)).into_bytes()
    }
}
