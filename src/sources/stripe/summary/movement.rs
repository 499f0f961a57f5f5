//! `Collected`: customers' money in the charge's currency, tax included, before all fees.
//!
//! In event mode each movement stands on exactly one event. The sum over all events of an account is what
//! was collected, and the sum over the events of a month is what was collected in it. In object mode the
//! page of a charge, refund or dispute shows what that object moved so far.

use super::dispute;
use super::figure::captured_amount;
use crate::domain::event::StoredEvent;
use crate::domain::money::Money;
use crate::sources::stripe::event_type::without_thin_prefix;
use crate::sources::stripe::json;
use crate::sources::stripe::object::{ObjectKind, StripeObject, currency, text};
use serde_json::Value;

/// How an event changes what was collected, in minor units of the object's currency.
pub(super) enum Movement {
    /// Not at all.
    Still,
    /// It adds this.
    Plus(fn(&StripeObject<'_>) -> Option<i64>),
    /// It takes this away.
    Minus(fn(&StripeObject<'_>) -> Option<i64>),
    /// By this, which depends on other events that were received.
    Moves {
        /// The object whose other events decide; `None` if the event itself says it.
        related: fn(&StripeObject<'_>) -> Option<String>,
        by: fn(&StripeObject<'_>, &[StoredEvent]) -> Option<i64>,
    },
}

/// A capture, which may be the last of several.
pub(super) const OF_LAST_CAPTURE: Movement = Movement::Moves {
    related: |charge| if of_capture(charge).is_some() { None } else { charge.id() },
    by: of_last_capture,
};

/// A failed payment, which may be one that came back.
pub(super) const OF_FAILED_CHARGE: Movement = Movement::Moves {
    related: |charge| if came_back(charge) { charge.id() } else { None },
    by: of_failed_charge,
};

/// A refund, which may be the uncaptured rest of its charge.
pub(super) const OF_REFUND: Movement =
    Movement::Moves { related: |refund| refund.reference(&["/charge"]), by: of_refund };

impl Movement {
    /// The movement of an event; `None` if nothing moved, or if the event does not say how much.
    pub(super) fn read(&self, object: &StripeObject<'_>, related: &[StoredEvent]) -> Option<Money> {
        let minor = match self {
            Self::Still => None,
            Self::Plus(amount) => amount(object),
            Self::Minus(amount) => amount(object).and_then(i64::checked_neg),
            Self::Moves { by, .. } => by(object, related),
        };
        Some(Money::from_minor(minor.filter(|minor| *minor != 0)?, currency(object)?))
    }

    /// The object whose other events decide about the movement.
    pub(super) fn related_object(&self, object: &StripeObject<'_>) -> Option<String> {
        match self {
            Self::Moves { related, .. } => related(object),
            Self::Still | Self::Plus(_) | Self::Minus(_) => None,
        }
    }
}

/// The change of what was captured. Several captures of one authorization each change it.
pub(super) fn of_capture(charge: &StripeObject<'_>) -> Option<i64> {
    let before = charge.previous_integer("amount_captured")?;
    captured_amount(charge)?.checked_sub(before)
}

/// A capture, or the last of several. If the event has no earlier value, what other events counted before is known.
fn of_last_capture(charge: &StripeObject<'_>, related: &[StoredEvent]) -> Option<i64> {
    of_capture(charge).or_else(|| {
        let captured = captured_amount(charge)?;
        let counted = related.iter().filter_map(counted_before).filter(|before| *before < captured).max();
        captured.checked_sub(counted.unwrap_or_default())
    })
}

/// What had been captured of a charge after an event that counted a part of it.
fn counted_before(update: &StoredEvent) -> Option<i64> {
    if !is_type(update, "charge.updated") {
        return None;
    }
    let payload = json::value(&update.payload);
    let charge = StripeObject::of(&payload, None, "charge.updated");
    of_capture(&charge).and_then(|_| captured_amount(&charge))
}

/// A bank payment that came back. It takes away only what was counted: since 2024 a payment that failed
/// while it was pending has a `failure_balance_transaction` too, and the body does not distinguish them. So
/// it counts if the charge succeeded before, or if nothing of the charge is known.
fn of_failed_charge(charge: &StripeObject<'_>, related: &[StoredEvent]) -> Option<i64> {
    let was_counted = related.is_empty() || related.iter().any(|event| is_type(event, "charge.succeeded"));
    if came_back(charge) && was_counted { charge.integer("/amount")?.checked_neg() } else { None }
}

fn came_back(charge: &StripeObject<'_>) -> bool {
    charge.reference(&["/failure_balance_transaction"]).is_some()
}

/// A refund, unless the same request captured a part of its charge: then it is the uncaptured rest. One that
/// has failed already counts too, because `refund.failed` gives it back.
fn of_refund(refund: &StripeObject<'_>, related: &[StoredEvent]) -> Option<i64> {
    let is_the_rest = related.iter().any(|event| releases_at_capture(event, refund));
    if is_the_rest { None } else { refund.integer("/amount")?.checked_neg() }
}

/// A refund that was canceled after it was counted.
pub(super) fn of_canceled_refund(refund: &StripeObject<'_>) -> Option<i64> {
    if is_of_uncaptured_money(refund) { None } else { refund.integer("/amount") }
}

/// Whether a refund is, as it stands, money that goes back to the customer.
pub(super) fn gives_back(refund: &StripeObject<'_>) -> bool {
    let is_ended = matches!(refund.status().as_deref(), Some("failed" | "canceled"));
    !is_ended && !is_of_uncaptured_money(refund)
}

/// Whether a Refund object exists only because versions before Basil report money that was never captured as
/// refunded: for a canceled or expired authorization it has no balance transaction.
pub(super) fn is_of_uncaptured_money(refund: &StripeObject<'_>) -> bool {
    let transaction = refund.value.pointer("/balance_transaction");
    let moved_nothing =
        transaction.is_some_and(Value::is_null) && refund.status().as_deref() == Some("succeeded");
    let is_reversal = transaction.and_then(|transaction| text(transaction, "/reporting_category"))
        == Some("partial_capture_reversal");
    moved_nothing || is_reversal || refund.text("/reason").as_deref() == Some("expired_uncaptured_charge")
}

/// Whether a capture released exactly this refund: Stripe creates both in one request. The last of several
/// captures may be a `charge.updated`; one that captures nothing is no capture.
fn releases_at_capture(capture: &StoredEvent, refund: &StripeObject<'_>) -> bool {
    let (is_captured, is_updated) = (is_type(capture, "charge.captured"), is_type(capture, "charge.updated"));
    if !is_captured && !is_updated {
        return false;
    }
    let payload = json::value(&capture.payload);
    let charge = StripeObject::of(&payload, None, "charge.captured");
    if is_updated && of_capture(&charge).is_none_or(|captured| captured <= 0) {
        return false;
    }
    let captured = captured_amount(&charge).filter(|captured| *captured > 0);
    let released =
        charge.integer("/amount").zip(captured).and_then(|(all, captured)| all.checked_sub(captured));
    charge.request.is_some() && charge.request == refund.request && released == refund.integer("/amount")
}

fn is_type(event: &StoredEvent, event_type: &str) -> bool {
    without_thin_prefix(&event.facts.event_type) == event_type
}

/// What the object of an event moved so far: what its own page shows in object mode.
pub(super) fn of_object(object: &StripeObject<'_>) -> Option<Money> {
    if !object.is_snapshot {
        return None;
    }
    let status = object.status();
    let minor = match object.kind {
        ObjectKind::Charge if status.as_deref().is_none_or(|status| status == "succeeded") => {
            captured_amount(object)?
        }
        ObjectKind::Refund if gives_back(object) => object.integer("/amount")?.checked_neg()?,
        ObjectKind::Charge | ObjectKind::Refund => 0,
        ObjectKind::Dispute => dispute::moved(object)?,
        _ => return None,
    };
    Some(Money::from_minor(minor, currency(object)?))
}
