//! The summary of a Stripe event, read leniently from its body.
//!
//! A body may have the shape of any API version since 2011, be a thin event, or not be JSON at all. A
//! missing value is `None`, and nothing panics. No I/O, no clock.

mod outcome;
mod status;
mod title;

use super::object::{StripeObject, amount, currency, flag, refunded, text};
use super::{envelope, json, links};
use crate::domain::event::StoredEvent;
use crate::domain::summary::{EventSummary, Links, ObjectSummary, Person, is_writable};
use serde_json::Value;

/// Reads an event's body. Values that were stored at intake take precedence.
pub fn summarize(event: &StoredEvent) -> EventSummary {
    let payload = json::value(&event.payload);
    let facts = &event.facts;
    let event_type = if facts.event_type.is_empty() {
        text(&payload, "/type").unwrap_or_default().to_owned()
    } else {
        facts.event_type.clone()
    };
    let object = StripeObject::of(&payload, facts.object_type.as_deref(), &event_type);
    let livemode =
        facts.livemode.or_else(|| flag(&payload, "/livemode")).or_else(|| flag(object.value, "/livemode"));
    let account = facts.account.clone().or_else(|| connected_account(&payload));
    let reason = object.reason();
    let description = object.purpose().or_else(|| reason.clone()).or_else(|| object.purpose_of_first_line());
    let dashboard = links::of_summary(&object, &event.event_id, account.as_deref(), livemode);
    let mut summary = EventSummary {
        event_id: event.event_id.clone(),
        source: event.source.clone(),
        title: String::new(),
        status: status::of(&event_type),
        outcome: outcome::of(&event_type, &object),
        reason,
        occurred_at: facts
            .created
            .or_else(|| envelope::time(payload.get("created")?))
            .filter(|at| is_writable(*at)),
        received_at: event.received_at,
        livemode,
        account,
        object: ObjectSummary {
            kind: facts.object_type.clone().or_else(|| object.type_name()),
            id: facts.object_id.clone().or_else(|| object.id()),
            status: object.status(),
            title: String::new(),
            currency: currency(&object),
            amount: amount(&object),
            amount_refunded: refunded(&object),
            person: Person {
                id: object.customer(),
                name: object.customer_name(),
                email: object.customer_email(),
            },
            document_number: object.invoice_number(),
            description,
            links: Links { invoice: object.invoice_url(), receipt: object.receipt_url(), dashboard },
        },
        event_type,
    };
    summary.title = title::of_event(&summary, &object);
    summary.object.title = title::of_object(&summary, &object);
    summary
}

fn connected_account(payload: &Value) -> Option<String> {
    let context = || text(payload, "/context").filter(|context| context.starts_with("acct_"));
    text(payload, "/account").or_else(context).map(str::to_owned)
}

#[cfg(test)]
mod tests;
