//! The readable line for a title that is not the event's id.

use crate::destinations::notion::facts::Facts;
use crate::destinations::notion::facts::object::{ObjectKind, StripeObject};
use crate::domain::subscription::without_thin_prefix;

/// What happened, how much, and to whom: `Invoice 0042 paid · EUR 120.00 · jane@example.com`.
pub(super) fn line(facts: &Facts, object: &StripeObject<'_>) -> String {
    let amount = facts.amount.map(|amount| amount.to_string());
    let who = [&facts.customer_email, &facts.customer_name, &facts.customer];
    let who = who.into_iter().flatten().next().cloned();
    let parts = [Some(headline(facts, object)), amount, who];
    parts.into_iter().flatten().collect::<Vec<_>>().join(" · ")
}

fn headline(facts: &Facts, object: &StripeObject<'_>) -> String {
    let event_type = without_thin_prefix(&facts.event_type);
    let (parents, verb) = event_type.rsplit_once('.').unwrap_or(("", event_type));
    let noun = match object.kind {
        ObjectKind::Invoice => match &facts.invoice_number {
            Some(number) => format!("Invoice {number}"),
            None => "Invoice".to_owned(),
        },
        ObjectKind::PaymentIntent => "Payment".to_owned(),
        ObjectKind::Dispute => "Dispute".to_owned(),
        ObjectKind::Refund => "Refund".to_owned(),
        ObjectKind::Subscription => "Subscription".to_owned(),
        _ => capitalised(&spaced(parents)),
    };
    let verb = spaced(verb);
    let said = match object.kind {
        ObjectKind::PaymentIntent => verb.strip_prefix("payment ").unwrap_or(&verb),
        _ => &verb,
    };
    match (noun.is_empty(), said.is_empty()) {
        (false, false) => format!("{noun} {said}"),
        (false, true) => noun,
        (true, false) => capitalised(said),
        (true, true) => "Event".to_owned(),
    }
}

fn spaced(name: &str) -> String {
    name.replace(['.', '_'], " ").trim().to_owned()
}

fn capitalised(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect())
}
