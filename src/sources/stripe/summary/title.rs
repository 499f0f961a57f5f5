//! The readable lines about an event and about its object.

use crate::domain::summary::{EventOutcome, EventSummary, TITLE_SEPARATOR};
use crate::sources::stripe::event_type::parents_and_verb;
use crate::sources::stripe::object::{ObjectKind, StripeObject};

/// What happened, how much, and to whom: `Invoice 0042 paid · EUR 120.00 · jane@example.com`.
pub(super) fn of_event(summary: &EventSummary, object: &StripeObject<'_>) -> String {
    let (parents, verb) = parents_and_verb(&summary.event_type);
    let noun = noun(summary, object, parents);
    let verb = spaced(verb);
    let said = match object.kind {
        ObjectKind::PaymentIntent => verb.strip_prefix("payment ").unwrap_or(&verb),
        _ => &verb,
    };
    line(summary, &noun, said, "Event")
}

/// What the object is, its state, how much, and whose: `Subscription past due · EUR 9.00 · cus_1`.
pub(super) fn of_object(summary: &EventSummary, object: &StripeObject<'_>) -> String {
    let (parents, verb) = parents_and_verb(&summary.event_type);
    let noun = noun(summary, object, summary.object.kind.as_deref().unwrap_or(parents));
    let state = if verb == "deleted" { "deleted".to_owned() } else { state(summary, object) };
    line(summary, &noun, &state, "Object")
}

/// The object's status. The status of a charge stays `succeeded` when it is refunded or disputed.
fn state(summary: &EventSummary, object: &StripeObject<'_>) -> String {
    match (object.kind, summary.outcome) {
        (
            ObjectKind::Charge,
            outcome @ (EventOutcome::Refunded | EventOutcome::PartlyRefunded | EventOutcome::Disputed),
        ) => outcome.as_str().to_lowercase(),
        _ => spaced(summary.object.status.as_deref().unwrap_or_default()),
    }
}

/// The parts that are known; `fallback` if both the noun and the headline's verb are empty.
fn line(summary: &EventSummary, noun: &str, said: &str, fallback: &str) -> String {
    let headline = match (noun.is_empty(), said.is_empty()) {
        (false, false) => format!("{noun} {said}"),
        (false, true) => noun.to_owned(),
        (true, false) => capitalised(said),
        (true, true) => fallback.to_owned(),
    };
    let amount = summary.object.amount.map(|amount| amount.to_string());
    let person = &summary.object.person;
    let who = [&person.email, &person.name, &person.id];
    let who = who.into_iter().flatten().next().cloned();
    let parts = [Some(headline), amount, who];
    parts.into_iter().flatten().collect::<Vec<_>>().join(TITLE_SEPARATOR)
}

fn noun(summary: &EventSummary, object: &StripeObject<'_>, name: &str) -> String {
    match object.kind {
        ObjectKind::Invoice => match &summary.object.document_number {
            Some(number) => format!("Invoice {number}"),
            None => "Invoice".to_owned(),
        },
        ObjectKind::PaymentIntent => "Payment".to_owned(),
        ObjectKind::Dispute => "Dispute".to_owned(),
        ObjectKind::Refund => "Refund".to_owned(),
        ObjectKind::Subscription => "Subscription".to_owned(),
        _ => capitalised(&spaced(name)),
    }
}

fn spaced(name: &str) -> String {
    name.replace(['.', '_'], " ").trim().to_owned()
}

fn capitalised(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect())
}
