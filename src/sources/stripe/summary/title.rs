//! The readable lines about an event and about its object.

use super::figure::{Figured, is_partly_refunded, is_refunded, is_released};
use super::reason::words;
use crate::domain::humanize::capitalised;
use crate::domain::summary::{EventOutcome, EventSummary, TITLE_SEPARATOR};
use crate::sources::stripe::event_type::parents_and_verb;
use crate::sources::stripe::object::{ObjectKind, StripeObject};

/// What people call things, by the type of the event without its last part, or by the kind of the object. All
/// others are called by the words of their type.
const NOUNS: &[(&str, &str)] = &[
    ("account.application", "Application"),
    ("account.external_account", "External account"),
    ("apps.install", "App install"),
    ("charge.dispute", "Dispute"),
    ("charge.refund", "Refund"),
    ("customer.subscription", "Subscription"),
    ("customer.tax_id", "Customer tax ID"),
    ("entitlements.active_entitlement_summary", "Active entitlement summary"),
    ("financial_connections.account", "Financial Connections account"),
    ("financial_connections.authorization", "Financial Connections authorization"),
    ("invoiceitem", "Invoice item"),
    ("payment_intent", "Payment"),
    ("radar.early_fraud_warning", "Early fraud warning"),
    ("reporting.report_run", "Report run"),
    ("reporting.report_type", "Report type"),
    ("sigma.scheduled_query_run", "Scheduled query run"),
    ("tax_id", "Customer tax ID"),
    ("test_helpers.test_clock", "Test clock"),
    ("three_d_secure.authentication", "3D Secure authentication"),
    ("topup", "Top-up"),
];

/// What happened, how much, and to whom: `Invoice 0042 paid · EUR 120.00 · jane@example.com`. A thin event knows
/// only the object's id.
pub(super) fn of_event(
    summary: &EventSummary,
    object: &StripeObject<'_>,
    figure: Option<&Figured>,
) -> String {
    let (parents, verb) = parents_and_verb(&summary.event_type);
    let noun = noun(summary, object, parents);
    let mut said = words(verb);
    match object.kind {
        ObjectKind::PaymentIntent => said = said.strip_prefix("payment ").unwrap_or(&said).to_owned(),
        ObjectKind::Invoice if verb == "payment_failed" => {
            if let Some(attempts) = summary.object.attempts {
                said = format!("{said} (attempt {attempts})");
            }
        }
        ObjectKind::Invoice | ObjectKind::Other
            if verb == "paid" && summary.outcome == EventOutcome::PaidElsewhere =>
        {
            "paid outside Stripe".clone_into(&mut said);
        }
        _ => {}
    }
    line(summary, object, &noun, &said, figure.map(ToString::to_string), "Event")
}

/// What the object is, its state, how much, and whose: `Subscription past due · EUR 9.00 · cus_1`.
pub(super) fn of_object(summary: &EventSummary, object: &StripeObject<'_>) -> String {
    let (parents, verb) = parents_and_verb(&summary.event_type);
    let noun = noun(summary, object, summary.object.kind.as_deref().unwrap_or(parents));
    let state = if verb == "deleted" { "deleted".to_owned() } else { state(summary, object) };
    let figure = summary.object.amount.map(|amount| amount.to_string());
    line(summary, object, &noun, &state, figure, "Object")
}

/// The object's status. That of a charge stays `succeeded` when it is refunded or released, and that of an
/// inquiry repeats that it is one.
fn state(summary: &EventSummary, object: &StripeObject<'_>) -> String {
    let status = summary.object.status.as_deref().unwrap_or_default();
    match object.kind {
        ObjectKind::Charge if is_released(object) => "released".to_owned(),
        ObjectKind::Charge if is_refunded(object) => "refunded".to_owned(),
        ObjectKind::Charge if is_partly_refunded(object) => "partly refunded".to_owned(),
        ObjectKind::Dispute if status == "prevented" => String::new(),
        ObjectKind::Dispute => words(status.strip_prefix("warning_").unwrap_or(status)),
        _ => words(status),
    }
}

/// The parts that are known; `fallback` if both the noun and what is said are empty.
fn line(
    summary: &EventSummary,
    object: &StripeObject<'_>,
    noun: &str,
    said: &str,
    figure: Option<String>,
    fallback: &str,
) -> String {
    let headline = match (noun.is_empty(), said.is_empty()) {
        (false, false) => format!("{noun} {said}"),
        (false, true) => noun.to_owned(),
        (true, false) => capitalised(said),
        (true, true) => fallback.to_owned(),
    };
    let person = &summary.object.person;
    let who = [&person.email, &person.name, &person.id];
    let who = who.into_iter().flatten().next();
    let is_named = object.is_snapshot || object.kind == ObjectKind::Invoice;
    let id = summary.object.id.as_ref().filter(|id| !is_named && Some(*id) != who);
    let parts = [Some(headline), figure, who.cloned(), id.cloned()];
    parts.into_iter().flatten().collect::<Vec<_>>().join(TITLE_SEPARATOR)
}

fn noun(summary: &EventSummary, object: &StripeObject<'_>, name: &str) -> String {
    let status = object.status();
    match object.kind {
        ObjectKind::Invoice => match &summary.object.document_number {
            Some(number) => format!("Invoice {number}"),
            None => "Invoice".to_owned(),
        },
        ObjectKind::Dispute if status.as_deref() == Some("prevented") => "Prevented dispute".to_owned(),
        ObjectKind::Dispute if status.is_some_and(|status| status.starts_with("warning_")) => {
            "Inquiry".to_owned()
        }
        _ => match NOUNS.iter().find(|(known, _)| *known == name) {
            Some((_, noun)) => (*noun).to_owned(),
            None => capitalised(&words(without_area(name))),
        },
    }
}

/// `v2.money_management.payout_intent` as `payout_intent`.
fn without_area(name: &str) -> &str {
    let rest = name.strip_prefix("v2.").and_then(|rest| rest.split_once('.'));
    rest.map_or(name, |(_, rest)| rest)
}
