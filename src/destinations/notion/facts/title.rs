//! The readable lines for a title that is not the page's key.

use crate::destinations::notion::facts::{EventOutcome, Facts};
use crate::destinations::notion::key_filter::SEPARATOR;
use crate::domain::object::{ObjectKind, StripeObject};
use crate::domain::subscription::without_thin_prefix;

/// What happened, how much, and to whom: `Invoice 0042 paid · EUR 120.00 · jane@example.com`.
pub(super) fn event_line(facts: &Facts, object: &StripeObject<'_>) -> String {
    let (parents, verb) = type_parts(&facts.event_type);
    let noun = noun(facts, object, parents);
    let verb = spaced(verb);
    let said = match object.kind {
        ObjectKind::PaymentIntent => verb.strip_prefix("payment ").unwrap_or(&verb),
        _ => &verb,
    };
    line(facts, &noun, said, "Event")
}

/// What the object is, how it stands, how much, and whose: `Subscription past due · EUR 9.00 · cus_1`.
pub(super) fn object_line(facts: &Facts, object: &StripeObject<'_>) -> String {
    let (parents, verb) = type_parts(&facts.event_type);
    let noun = noun(facts, object, facts.object_type.as_deref().unwrap_or(parents));
    let standing = if verb == "deleted" { "deleted".to_owned() } else { standing(facts, object) };
    line(facts, &noun, &standing, "Object")
}

/// The object's status; a charge keeps `succeeded` when its money is given back or disputed.
fn standing(facts: &Facts, object: &StripeObject<'_>) -> String {
    match (object.kind, facts.outcome) {
        (
            ObjectKind::Charge,
            outcome @ (EventOutcome::Refunded | EventOutcome::PartlyRefunded | EventOutcome::Disputed),
        ) => outcome.as_str().to_lowercase(),
        _ => spaced(facts.object_status.as_deref().unwrap_or_default()),
    }
}

/// The parts that are known; `fallback` where neither the thing nor what is said of it has a name.
fn line(facts: &Facts, noun: &str, said: &str, fallback: &str) -> String {
    let headline = match (noun.is_empty(), said.is_empty()) {
        (false, false) => format!("{noun} {said}"),
        (false, true) => noun.to_owned(),
        (true, false) => capitalised(said),
        (true, true) => fallback.to_owned(),
    };
    let amount = facts.amount.map(|amount| amount.to_string());
    let who = [&facts.customer_email, &facts.customer_name, &facts.customer];
    let who = who.into_iter().flatten().next().cloned();
    let parts = [Some(headline), amount, who];
    parts.into_iter().flatten().collect::<Vec<_>>().join(SEPARATOR)
}

fn noun(facts: &Facts, object: &StripeObject<'_>, name: &str) -> String {
    match object.kind {
        ObjectKind::Invoice => match &facts.invoice_number {
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

fn type_parts(event_type: &str) -> (&str, &str) {
    let event_type = without_thin_prefix(event_type);
    event_type.rsplit_once('.').unwrap_or(("", event_type))
}

fn spaced(name: &str) -> String {
    name.replace(['.', '_'], " ").trim().to_owned()
}

fn capitalised(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect())
}
