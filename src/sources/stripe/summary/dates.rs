//! What must happen by when.

use crate::domain::summary::is_writable;
use crate::sources::stripe::envelope;
use crate::sources::stripe::object::{ObjectKind, StripeObject};
use chrono::{DateTime, Utc};
use serde_json::Value;

/// By when an invoice must be paid, a dispute answered, or an account completed, while that is still open.
pub(super) fn due_at(object: &StripeObject<'_>) -> Option<DateTime<Utc>> {
    match (object.kind, object.status().as_deref()) {
        (ObjectKind::Invoice, _) if is_open(object) => time(object, "/due_date"),
        (ObjectKind::Dispute, Some("needs_response" | "warning_needs_response")) => {
            time(object, "/evidence_details/due_by")
        }
        (ObjectKind::Account, _) => time(object, "/requirements/current_deadline"),
        _ => None,
    }
}

/// When Stripe charges an invoice next.
pub(super) fn next_attempt_at(object: &StripeObject<'_>) -> Option<DateTime<Utc>> {
    let is_charged = object.text("/collection_method").is_none_or(|method| method == "charge_automatically");
    let is_waiting = object.kind == ObjectKind::Invoice && is_open(object) && is_charged;
    if is_waiting { time(object, "/next_payment_attempt") } else { None }
}

/// How often Stripe tried to charge an invoice.
pub(super) fn attempts(object: &StripeObject<'_>) -> Option<u32> {
    let count = object.integer("/attempt_count").filter(|count| *count > 0)?;
    if object.kind == ObjectKind::Invoice { u32::try_from(count).ok() } else { None }
}

/// When a subscription that has not ended will end.
pub(super) fn cancels_at(object: &StripeObject<'_>) -> Option<DateTime<Utc>> {
    let has_ended = matches!(object.status().as_deref(), Some("canceled" | "incomplete_expired"));
    if object.kind != ObjectKind::Subscription || has_ended {
        return None;
    }
    let at_period_end = || {
        let ends =
            object.list("/items/data").filter_map(|item| time_of(item.get("current_period_end")?)).max();
        ends.or_else(|| time(object, "/current_period_end")).filter(|_| object.is("/cancel_at_period_end"))
    };
    time(object, "/cancel_at").or_else(at_period_end)
}

fn is_open(invoice: &StripeObject<'_>) -> bool {
    let is_deleted = invoice.event_type.ends_with(".deleted") || invoice.is("/deleted");
    matches!(invoice.status().as_deref(), None | Some("draft" | "open")) && !is_deleted
}

fn time(object: &StripeObject<'_>, path: &str) -> Option<DateTime<Utc>> {
    time_of(object.value.pointer(path)?)
}

fn time_of(value: &Value) -> Option<DateTime<Utc>> {
    envelope::time(value).filter(|at| is_writable(*at))
}
