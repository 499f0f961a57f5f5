//! Under which words an event is found, and what a person who searches may mean.

use crate::domain::destination_summary::{DestinationSummary, remote_ids};
use crate::domain::event::{EventFacts, bounded};
use crate::domain::money::{Currency, Money};
use crate::domain::object::{StripeObject, amount, currency};
use serde_json::Value;

/// The most words under which one event is found.
const TERMS_MAX: usize = 16;

/// What an event's body tells to those who look for it and to those who count money.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
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

impl Findings {
    /// Reads a body leniently: what is not there is not found, and nothing panics.
    pub fn read(facts: &EventFacts, body: &[u8]) -> Self {
        let payload: Value = serde_json::from_slice(body).unwrap_or_default();
        let object = StripeObject::of(&payload, facts.object_type.as_deref(), &facts.event_type);
        let mut found = Self {
            amount: amount(&object),
            currency: currency(&object),
            customer: object.customer().map(|id| bounded(&id)),
            customer_email: object.customer_email().map(|email| bounded(&email)),
            invoice_number: object.invoice_number().map(|number| bounded(&number)),
            terms: Vec::new(),
        };
        let known = [&facts.object_id, &found.customer, &found.invoice_number].map(Clone::clone);
        let references = REFERENCES.iter().map(|places| object.reference(places));
        let words = known.into_iter().chain(references).flatten().chain(object.customer_emails());
        for word in words.map(|word| term(&word)).filter(|word| !word.is_empty()) {
            if found.terms.len() < TERMS_MAX && !found.terms.contains(&word) {
                found.terms.push(word);
            }
        }
        found
    }
}

/// Where an object names others that people know it by.
const REFERENCES: &[&[&str]] = &[
    &["/invoice", "/charge/invoice", "/payment_intent/invoice"],
    &["/payment_intent", "/charge/payment_intent"],
    &["/charge", "/latest_charge", "/payment_intent/latest_charge"],
    &["/subscription", "/parent/subscription_details/subscription"],
    &["/payment_link"],
    &["/payout"],
];

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
    use crate::domain::event::TEXT_BYTES_MAX;
    use serde_json::json;

    fn read(object: &Value) -> Findings {
        let facts = EventFacts {
            event_type: "invoice.paid".into(),
            object_id: object["id"].as_str().map(str::to_owned),
            object_type: object["object"].as_str().map(str::to_owned),
            ..EventFacts::default()
        };
        Findings::read(&facts, json!({"data": {"object": object}}).to_string().as_bytes())
    }

    #[test]
    fn an_invoice_is_found_by_all_that_people_know_it_by() {
        let found = read(&json!({
            "id": "in_1A", "object": "invoice", "customer": {"id": "cus_9"}, "customer_email": "Jane@Example.com",
            "number": "ACME-0042", "currency": "eur", "status": "paid", "amount_paid": 12_000, "total": 99,
            "payment_intent": "pi_3", "charge": {"id": "ch_4"},
            "parent": {"subscription_details": {"subscription": "sub_5"}}
        }));
        assert_eq!(found.terms, ["in_1a", "cus_9", "acme-0042", "pi_3", "ch_4", "sub_5", "jane@example.com"]);
        assert_eq!(found.amount.and_then(|amount| amount.minor()), Some(12_000));
        assert_eq!(found.customer_email.as_deref(), Some("Jane@Example.com"));
        assert_eq!(found.invoice_number.as_deref(), Some("ACME-0042"));
    }

    #[test]
    fn a_customer_is_its_own_customer_and_named_once() {
        let found = read(&json!({"id": "cus_1", "object": "customer", "email": " a@b.c "}));
        assert_eq!(found.terms, ["cus_1", "a@b.c"]);
    }

    #[test]
    fn odd_bodies_have_bounded_terms_and_no_nul() {
        let long = "É".repeat(300);
        let found =
            read(&json!({"id": long, "object": "charge", "receipt_email": "a\0b@c.d", "customer": " "}));
        assert!(found.terms.iter().all(|term| term.len() <= TEXT_BYTES_MAX && !term.contains('\0')));
        assert_eq!(found.terms.last().map(String::as_str), Some("ab@c.d"));
        for body in
            ["", "null", "[1]", "{\"data\":7}", "{\"data\":{\"object\":{\"customer\":{\"id\":{}}}}}", "\u{0}"]
        {
            assert_eq!(
                Findings::read(&EventFacts::default(), body.as_bytes()),
                Findings::default(),
                "{body}"
            );
        }
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
