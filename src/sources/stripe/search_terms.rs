//! The search terms of a Stripe event, and its money facts.

use super::json;
use super::object::{StripeObject, currency};
use super::summary::amount;
use crate::domain::event::{EventFacts, bounded};
use crate::domain::search::IndexEntry;

/// The fields in which an object names others, by which people search for it too.
const REFERENCES: &[&[&str]] = &[
    &["/invoice", "/charge/invoice", "/payment_intent/invoice"],
    &["/payment_intent", "/charge/payment_intent"],
    &["/charge", "/latest_charge", "/payment_intent/latest_charge"],
    &["/subscription", "/parent/subscription_details/subscription"],
    &["/payment_link"],
    &["/payout"],
];

/// Reads a body leniently: it omits missing values and never panics.
pub(super) fn index_entry(facts: &EventFacts, body: &[u8]) -> IndexEntry {
    let payload = json::value(body);
    let object = StripeObject::of(&payload, facts.object_type.as_deref(), &facts.event_type);
    let mut entry = IndexEntry {
        amount: amount(&object),
        currency: currency(&object),
        customer: object.customer().map(|id| bounded(&id)),
        customer_email: object.customer_email().map(|email| bounded(&email)),
        invoice_number: object.invoice_number().map(|number| bounded(&number)),
        terms: Vec::new(),
    };
    let known = [&facts.object_id, &entry.customer, &entry.invoice_number].map(Clone::clone);
    let references = REFERENCES.iter().map(|places| object.reference(places));
    entry.add_terms(known.into_iter().chain(references).flatten().chain(object.customer_emails()));
    entry
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::event::TEXT_BYTES_MAX;
    use serde_json::{Value, json};

    fn read(object: &Value) -> IndexEntry {
        let facts = EventFacts {
            event_type: "invoice.paid".into(),
            object_id: object["id"].as_str().map(str::to_owned),
            object_type: object["object"].as_str().map(str::to_owned),
            ..EventFacts::default()
        };
        index_entry(&facts, json!({"data": {"object": object}}).to_string().as_bytes())
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
            assert_eq!(index_entry(&EventFacts::default(), body.as_bytes()), IndexEntry::default(), "{body}");
        }
    }
}
