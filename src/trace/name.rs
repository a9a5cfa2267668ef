//! Words that thousands of dialogues share: accounts, numbers, causes. Each is kept once.

use std::{borrow::Borrow, collections::HashSet, fmt, ops::Deref, sync::Arc};

use super::hash::Keyed;

/// A word of a dialogue: one pointer, to a text that others may share.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Name(Arc<Box<str>>);

impl Name {
    /// A word of its own.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(Arc::new(text.into()))
    }
}

impl Deref for Name {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Name {
    fn borrow(&self) -> &str {
        self
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// So many are shared; a capture with more of them has hardly any that come again.
const MOST: usize = 20_000;

/// The words that were seen.
#[derive(Debug)]
pub(super) struct Names(HashSet<Name, Keyed>);

impl Names {
    pub(super) fn new(keyed: Keyed) -> Self {
        Self(HashSet::with_hasher(keyed))
    }

    /// Puts the word that is known already in the place of an equal one.
    pub(super) fn share(&mut self, place: &mut Option<Name>) {
        let Some(name) = place else {
            return;
        };
        if let Some(known) = self.0.get(&**name) {
            *name = known.clone();
        } else if self.0.len() < MOST {
            self.0.insert(name.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_words_are_kept_once() {
        assert_eq!(size_of::<Option<Name>>(), size_of::<usize>());
        let mut names = Names::new(Keyed::new([1, 2]));
        let mut places = ["alice", "bob", "alice"].map(|word| Some(Name::new(word)));
        for place in &mut places {
            names.share(place);
        }
        let [first, other, again] = places.map(|place| place.unwrap());
        assert!(Arc::ptr_eq(&first.0, &again.0) && !Arc::ptr_eq(&first.0, &other.0));
        assert_eq!(&*other, "bob");
    }
}
