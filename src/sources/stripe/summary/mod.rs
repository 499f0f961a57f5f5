//! The summary of a Stripe event, read leniently from its body.
//!
//! A body may have the shape of any API version since 2011, be a thin event, or not be JSON at all. A
//! missing value is `None`, and nothing panics. No I/O, no clock.

mod dates;
mod dispute;
mod figure;
mod meaning;
mod movement;
mod reason;
mod status;
mod subscription;
mod title;

use super::envelope;
use super::object::{StripeObject, currency, flag, text};
use super::{json, links};
use crate::domain::event::StoredEvent;
use crate::domain::money::Money;
use crate::domain::summary::{EventSummary, Links, ObjectSummary, Person, is_writable};
use figure::Figured;
use meaning::Row;
use serde_json::Value;

/// Reads an event's body. Values that were stored at intake take precedence. `related` are other events of
/// its related object.
pub fn summarize(event: &StoredEvent, related: &[StoredEvent]) -> EventSummary {
    summarize_at(event, related, None)
}

/// The same. Links name this account if the event names none.
pub(super) fn summarize_at(event: &StoredEvent, related: &[StoredEvent], own: Option<&str>) -> EventSummary {
    let payload = json::value(&event.payload);
    let facts = &event.facts;
    let event_type = if facts.event_type.is_empty() {
        text(&payload, "/type").unwrap_or_default()
    } else {
        &facts.event_type
    };
    let object = StripeObject::of(&payload, facts.object_type.as_deref(), event_type);
    let row = Row::of(&object);
    let figure = row.figure.read(&object);
    let livemode =
        facts.livemode.or_else(|| flag(&payload, "/livemode")).or_else(|| flag(object.value, "/livemode"));
    let account = facts.account.clone().or_else(|| connected_account(&payload));
    let dashboard = links::of_summary(&object, &event.event_id, account.as_deref().or(own), livemode);
    let mut summary = EventSummary {
        event_id: event.event_id.clone(),
        source: event.source.clone(),
        title: String::new(),
        status: status::of(event_type),
        outcome: row.outcome(&object),
        reason: row.reason(&object, figure.as_ref()),
        amount: figure.as_ref().and_then(Figured::amount),
        collected: row.movement.read(&object, related),
        occurred_at: event.happened_at().or_else(|| object.happened_at()).filter(|at| is_writable(*at)),
        received_at: event.received_at,
        livemode,
        account,
        object: ObjectSummary {
            kind: facts.object_type.clone().or_else(|| object.type_name()),
            id: facts.object_id.clone().or_else(|| object.id()),
            status: object.status(),
            title: String::new(),
            currency: figure
                .as_ref()
                .and_then(Figured::amount)
                .map_or_else(|| currency(&object), |amount| Some(amount.currency())),
            amount: figure::of_object(&object, figure.as_ref()),
            amount_refunded: figure::refunded(&object),
            collected: movement::of_object(&object),
            due_at: dates::due_at(&object),
            next_attempt_at: dates::next_attempt_at(&object),
            attempts: dates::attempts(&object),
            interval: subscription::interval(&object),
            cancels_at: dates::cancels_at(&object),
            dispute_fee: dispute::fee(&object),
            person: Person {
                id: object.customer(),
                name: object.customer_name(),
                email: object.customer_email(),
            },
            document_number: object.invoice_number(),
            description: object.purpose().or_else(|| object.purpose_of_first_line()),
            links: Links { invoice: object.invoice_url(), receipt: object.receipt_url(), dashboard },
        },
        event_type: event_type.to_owned(),
    };
    summary.title = title::of_event(&summary, &object, figure.as_ref());
    summary.object.title = title::of_object(&summary, &object);
    summary
}

/// The object whose other events decide how much this event moved. Of most types none do, and then the body is
/// not read.
pub(super) fn related_object(event: &StoredEvent) -> Option<String> {
    if !meaning::may_need_others(&event.facts.event_type) {
        return None;
    }
    let payload = json::value(&event.payload);
    let object = StripeObject::of(&payload, None, &event.facts.event_type);
    Row::of(&object).movement.related_object(&object)
}

/// The amount of an event, in the sense of its type.
pub(super) fn amount(object: &StripeObject<'_>) -> Option<Money> {
    Row::of(object).figure.read(object)?.amount()
}

/// The connected account.
fn connected_account(payload: &Value) -> Option<String> {
    let context = || envelope::account_of(text(payload, "/context")?);
    text(payload, "/account").map(str::to_owned).or_else(context)
}

#[cfg(test)]
mod money_tests;
#[cfg(test)]
mod terms_tests;
#[cfg(test)]
mod tests;
