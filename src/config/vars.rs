//! The map of names and texts that settings are read from.

use std::collections::{BTreeMap, BTreeSet};

/// Names and texts, such as the environment's. A name set to nothing counts as not set.
#[derive(Clone, Default)]
pub struct Vars {
    texts: BTreeMap<String, String>,
    /// Why the text of a name is not available although one was given.
    unreadable: BTreeMap<String, String>,
    /// The names whose text had quotes around it.
    quoted: BTreeSet<String>,
}

impl Vars {
    /// The text of a name, trimmed; `None` if it is absent or blank.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.texts.get(name).map(|text| text.trim()).filter(|text| !text.is_empty())
    }

    /// Whether the name was given at all, even if it was set to nothing.
    pub fn is_given(&self, name: &str) -> bool {
        self.texts.contains_key(name) || self.unreadable.contains_key(name)
    }

    /// Whether the name has a text, or has one that cannot be read.
    pub fn is_meant(&self, name: &str) -> bool {
        self.get(name).is_some() || self.unreadable.contains_key(name)
    }

    /// Sets a name.
    pub fn set(&mut self, name: impl Into<String>, text: impl Into<String>) {
        self.texts.insert(name.into(), text.into());
    }

    /// Removes a name, as if it had never been given.
    pub fn unset(&mut self, name: &str) {
        self.texts.remove(name);
        self.unreadable.remove(name);
        self.quoted.remove(name);
    }

    /// Sets a name to a text that had quotes around it. A [`Reader`](super::Reader) warns of this when the name
    /// is read.
    pub fn set_unquoted(&mut self, name: impl Into<String>, text: impl Into<String>) {
        let name = name.into();
        self.quoted.insert(name.clone());
        self.set(name, text);
    }

    /// Whether the text of a name had quotes around it.
    pub(super) fn was_quoted(&self, name: &str) -> bool {
        self.quoted.contains(name)
    }

    /// Records why a name's text cannot be read. A [`Reader`](super::Reader) reports this when the name is read.
    pub fn set_unreadable(&mut self, name: impl Into<String>, why: impl Into<String>) {
        self.unreadable.insert(name.into(), why.into());
    }

    /// Why a name's text cannot be read, if it cannot.
    pub(super) fn why_unreadable(&self, name: &str) -> Option<&str> {
        self.unreadable.get(name).map(String::as_str)
    }
}

impl<N: Into<String>, T: Into<String>> FromIterator<(N, T)> for Vars {
    fn from_iter<I: IntoIterator<Item = (N, T)>>(pairs: I) -> Self {
        let texts = pairs.into_iter().map(|(name, text)| (name.into(), text.into())).collect();
        Self { texts, ..Self::default() }
    }
}
