//! The words under which an event is found, and what a person who searches may mean.

use crate::domain::destination_summary::{DestinationSummary, remote_ids};
use crate::domain::event::{EventFacts, bounded};
use crate::domain::money::{Currency, Money};

/// The most words under which one event is found.
const TERMS_MAX: usize = 16;

/// What the search index keeps of an event: the words that find it, and what it says about money. Its
/// source builds it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IndexEntry {
    /// The amount that it is about.
    pub amount: Option<Money>,
    /// The currency, also where there is no amount.
    pub currency: Option<Currency>,
    /// The customer's id.
    pub customer: Option<String>,
    /// The customer's e-mail address.
    pub customer_email: Option<String>,
    /// The invoice's number, or its id where it has none.
    pub invoice_number: Option<String>,
    /// The words under which it is found, each as [`term`] writes it and none twice.
    pub terms: Vec<String>,
}

impl IndexEntry {
    /// The entry of an event of whose body nothing is known: its object's id finds it.
    pub fn from_facts(facts: &EventFacts) -> Self {
        let mut entry = Self::default();
        entry.add_terms(facts.object_id.clone());
        entry
    }

    /// Adds words that find the event, as far as there is room: each once, as [`term`] writes it.
    pub fn add_terms(&mut self, words: impl IntoIterator<Item = String>) {
        for word in words.into_iter().map(|word| term(&word)).filter(|word| !word.is_empty()) {
            if self.terms.len() < TERMS_MAX && !self.terms.contains(&word) {
                self.terms.push(word);
            }
        }
    }
}

/// A word as it is looked up: without blanks around it, in lower case, bounded, without NUL.
pub fn term(word: &str) -> String {
    bounded(&word.trim().to_lowercase())
}

/// What somebody looks for, in every sense that the text may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sought {
    /// The sender's id of an event.
    pub event_id: String,
    /// A word under which events are found.
    pub term: String,
    /// The remote ids that it names, such as a link to what a destination wrote.
    pub remote_ids: Vec<String>,
}

impl Sought {
    /// Reads what was typed or pasted; nothing if it is blank. These destinations know their own links.
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
        let sought = |text: &str| Sought::read(text, &[]).expect("not blank");
        assert_eq!(Sought::read(" \t", &[]), None);
        let email = sought(" Jane@Example.com ");
        assert_eq!((email.term.as_str(), email.remote_ids.len()), ("jane@example.com", 0));
        assert_eq!(sought("evt_1Q0a").event_id, "evt_1Q0a");
    }
}
