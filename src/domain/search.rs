//! Under which words an event is found, and what a person who searches may mean.

use crate::domain::event::{EventFacts, bounded};
use crate::domain::money::{Currency, Money};
use crate::domain::object::{StripeObject, amount, currency};
use serde_json::Value;

/// The most words under which one event is found.
const TERMS_MAX: usize = 16;

/// The most pages that one search can name.
const PAGES_MAX: usize = 4;

/// The digits of a page's id, dashes aside.
const PAGE_DIGITS: usize = 32;

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
    /// The pages that it names, each id with its dashes and without them.
    pub pages: Vec<String>,
}

impl Sought {
    /// Reads what was typed or pasted; nothing where it is blank.
    pub fn read(text: &str) -> Option<Self> {
        let text = text.trim();
        (!text.is_empty()).then(|| Self { event_id: bounded(text), term: term(text), pages: pages(text) })
    }
}

/// The ids of pages in a text: 32 hexadecimal digits, with dashes or without, at the end of a part of
/// a link, where a page's title may stand before them.
fn pages(text: &str) -> Vec<String> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-')
        .filter_map(|part| {
            let letters: Vec<char> = part.chars().filter(|c| *c != '-').collect();
            let id: String = letters.get(letters.len().checked_sub(PAGE_DIGITS)?..)?.iter().collect();
            id.chars().all(|c| c.is_ascii_hexdigit()).then(|| id.to_lowercase())
        })
        .take(PAGES_MAX)
        .flat_map(|id| [with_dashes(&id), id])
        .collect()
}

/// 8, 4, 4, 4 and 12 digits.
fn with_dashes(id: &str) -> String {
    let mut dashed = String::with_capacity(PAGE_DIGITS + 4);
    for (place, digit) in id.chars().enumerate() {
        if matches!(place, 8 | 12 | 16 | 20) {
            dashed.push('-');
        }
        dashed.push(digit);
    }
    dashed
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
    fn what_is_typed_may_be_an_id_a_word_or_a_link() {
        let sought = |text: &str| Sought::read(text).expect("not blank");
        assert_eq!(Sought::read(" \t"), None);
        let email = sought(" Jane@Example.com ");
        assert_eq!((email.term.as_str(), email.pages.len()), ("jane@example.com", 0));
        assert_eq!(sought("evt_1Q0a").event_id, "evt_1Q0a");
        let dashed = "1f2e3d4c-5b6a-4978-8695-a4b3c2d1e0ff";
        let plain = dashed.replace('-', "");
        for link in [
            dashed.to_owned(),
            plain.to_uppercase(),
            format!("https://www.notion.so/acme/Invoice-Feed-0042-paid-{plain}?pvs=4"),
            format!("https://www.notion.so/{dashed}#block"),
            format!("https://www.notion.so/acme/db?p={plain}&pm=s"),
        ] {
            assert_eq!(sought(&link).pages, [dashed.to_owned(), plain.clone()], "{link}");
        }
        assert!(sought("https://www.notion.so/not-a-page").pages.is_empty());
    }
}
