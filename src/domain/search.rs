//! The search terms of an event, and the possible meanings of a search text.

use crate::domain::destination_summary::{DestinationSummary, remote_ids};
use crate::domain::event::{EventFacts, bounded};
use crate::domain::money::{Currency, Money};

/// The largest number of search terms of one event.
const TERMS_MAX: usize = 16;

/// An event's entry in the search index: its terms, and its money facts. The event's source builds it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IndexEntry {
    /// The amount that it is about.
    pub amount: Option<Money>,
    /// The currency, even if there is no amount.
    pub currency: Option<Currency>,
    /// The customer's id.
    pub customer: Option<String>,
    /// The customer's e-mail address.
    pub customer_email: Option<String>,
    /// The invoice's number, or its id if it has no number.
    pub invoice_number: Option<String>,
    /// The search terms, normalised by [`term`], without duplicates.
    pub terms: Vec<String>,
}

impl IndexEntry {
    /// The entry of an event whose body is unknown: only the id of its object finds it.
    pub fn from_facts(facts: &EventFacts) -> Self {
        let mut entry = Self::default();
        entry.add_terms(facts.object_id.clone());
        entry
    }

    /// Adds terms up to the limit, normalised by [`term`] and without duplicates.
    pub fn add_terms(&mut self, words: impl IntoIterator<Item = String>) {
        for word in words.into_iter().map(|word| term(&word)).filter(|word| !word.is_empty()) {
            if self.terms.len() < TERMS_MAX && !self.terms.contains(&word) {
                self.terms.push(word);
            }
        }
    }
}

/// Normalises a term: trimmed, in lower case, bounded, without NUL.
pub fn term(word: &str) -> String {
    bounded(&word.trim().to_lowercase())
}

/// A search text in each of its possible meanings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SearchText {
    /// The sender's id of an event.
    pub event_id: String,
    /// A search term of events.
    pub term: String,
    /// The remote ids that it names, such as a link to what a destination wrote.
    pub remote_ids: Vec<String>,
}

impl SearchText {
    /// Reads a search text; `None` if it is blank. The destinations recognize their own links.
    pub fn read(text: &str, destinations: &[DestinationSummary]) -> Option<Self> {
        let text = text.trim();
        (!text.is_empty()).then(|| Self {
            event_id: bounded(text),
            term: term(text),
            remote_ids: remote_ids(destinations, text),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_names_each_word_once_and_bounded() {
        let long = "É".repeat(300);
        let mut entry = IndexEntry::default();
        entry.add_terms([" A ", "a", "", long.as_str(), "b\0"].map(str::to_owned));
        assert_eq!((entry.terms[0].as_str(), entry.terms[2].as_str(), entry.terms.len()), ("a", "b", 3));
        entry.add_terms((0..100).map(|number| number.to_string()));
        assert_eq!(entry.terms.len(), TERMS_MAX);
    }

    #[test]
    fn what_is_typed_may_be_an_id_or_a_word() {
        let sought = |text: &str| SearchText::read(text, &[]).expect("not blank");
        assert_eq!(SearchText::read(" \t", &[]), None);
        let email = sought(" Jane@Example.com ");
        assert_eq!((email.term.as_str(), email.remote_ids.len()), ("jane@example.com", 0));
        assert_eq!(sought("evt_1Q0a").event_id, "evt_1Q0a");
    }
}
