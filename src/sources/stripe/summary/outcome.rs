//! What an event means for the money, in one of ten words.
//!
//! The type decides first, since it names what happened. If it reports no end, the object's status decides.

use crate::domain::summary::EventOutcome;
use crate::sources::stripe::event_type::parents_and_verb;
use crate::sources::stripe::object::{ObjectKind, StripeObject};

/// What an event of this type about this object means.
pub(super) fn of(event_type: &str, object: &StripeObject<'_>) -> EventOutcome {
    let (_, verb) = parents_and_verb(event_type);
    let status = object.status();
    let status = status.as_deref().unwrap_or_default();
    match object.kind {
        ObjectKind::Charge => charge(verb, status, object),
        ObjectKind::CheckoutSession => checkout_session(verb, status, object),
        ObjectKind::Dispute => dispute(status),
        ObjectKind::Invoice => invoice(verb, status),
        ObjectKind::PaymentIntent => payment_intent(verb, status),
        ObjectKind::Payout => payout(verb, status),
        ObjectKind::Refund => refund(verb, status),
        ObjectKind::Subscription => subscription(verb, status),
        ObjectKind::Customer | ObjectKind::Other => other(verb),
    }
}

/// A refund or a dispute takes precedence over the charge's earlier outcome.
fn charge(verb: &str, status: &str, object: &StripeObject<'_>) -> EventOutcome {
    let has_refunds = object.integer("/amount_refunded").is_some_and(|minor| minor > 0);
    let is_uncaptured = object.value.get("captured").is_some() && !object.is("/captured");
    match verb {
        _ if object.is("/refunded") => EventOutcome::Refunded,
        _ if has_refunds => EventOutcome::PartlyRefunded,
        _ if object.is("/disputed") => EventOutcome::Disputed,
        "failed" => EventOutcome::Failed,
        "expired" => EventOutcome::Canceled,
        "captured" => EventOutcome::Paid,
        _ if status == "failed" => EventOutcome::Failed,
        _ if is_uncaptured => EventOutcome::Info,
        "succeeded" => EventOutcome::Paid,
        _ if status == "succeeded" || object.is("/paid") => EventOutcome::Paid,
        _ => EventOutcome::Info,
    }
}

fn checkout_session(verb: &str, status: &str, object: &StripeObject<'_>) -> EventOutcome {
    match verb {
        "async_payment_succeeded" => EventOutcome::Paid,
        "async_payment_failed" => EventOutcome::Failed,
        _ if verb == "expired" || status == "expired" => EventOutcome::Canceled,
        _ if object.text("/payment_status").as_deref() == Some("paid") => EventOutcome::Paid,
        _ => EventOutcome::Info,
    }
}

fn dispute(status: &str) -> EventOutcome {
    match status {
        "won" => EventOutcome::Won,
        "lost" => EventOutcome::Lost,
        "warning_closed" => EventOutcome::Info,
        _ => EventOutcome::Disputed,
    }
}

fn invoice(verb: &str, status: &str) -> EventOutcome {
    match verb {
        "paid" | "payment_succeeded" => EventOutcome::Paid,
        "voided" | "deleted" => EventOutcome::Canceled,
        "overdue" => EventOutcome::PastDue,
        "marked_uncollectible" => EventOutcome::Failed,
        _ if verb.ends_with("failed") => EventOutcome::Failed,
        _ => match status {
            "paid" => EventOutcome::Paid,
            "void" | "deleted" => EventOutcome::Canceled,
            "uncollectible" => EventOutcome::Failed,
            _ => EventOutcome::Info,
        },
    }
}

fn payment_intent(verb: &str, status: &str) -> EventOutcome {
    match if matches!(verb, "succeeded" | "payment_failed" | "canceled") { verb } else { status } {
        "succeeded" => EventOutcome::Paid,
        "payment_failed" => EventOutcome::Failed,
        "canceled" => EventOutcome::Canceled,
        _ => EventOutcome::Info,
    }
}

fn payout(verb: &str, status: &str) -> EventOutcome {
    match if matches!(verb, "paid" | "failed" | "canceled") { verb } else { status } {
        "paid" => EventOutcome::Paid,
        "failed" => EventOutcome::Failed,
        "canceled" => EventOutcome::Canceled,
        _ => EventOutcome::Info,
    }
}

/// A refund has only its own amount, so it is unknown whether all of the payment was refunded.
fn refund(verb: &str, status: &str) -> EventOutcome {
    match (verb, status) {
        ("failed", _) | (_, "failed") => EventOutcome::Failed,
        (_, "canceled") => EventOutcome::Canceled,
        (_, "succeeded") => EventOutcome::Refunded,
        _ => EventOutcome::Info,
    }
}

fn subscription(verb: &str, status: &str) -> EventOutcome {
    match (verb, status) {
        ("deleted", _) | (_, "canceled" | "incomplete_expired") => EventOutcome::Canceled,
        (_, "past_due" | "unpaid") => EventOutcome::PastDue,
        _ => EventOutcome::Info,
    }
}

fn other(verb: &str) -> EventOutcome {
    match verb {
        "paid" => EventOutcome::Paid,
        "canceled" | "voided" => EventOutcome::Canceled,
        _ if verb.ends_with("failed") => EventOutcome::Failed,
        _ => EventOutcome::Info,
    }
}
