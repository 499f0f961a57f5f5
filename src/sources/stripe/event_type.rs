//! How Stripe writes the types of events (`invoice.paid`, and in thin events `v1.invoice.paid`), and the
//! presets: lists of types with a name.

use crate::domain::subscription::Preset;

/// The types that `Collected` needs to be complete: those that move customers' money, and `charge.pending`, which
/// shows that a bank payment had not been counted when it failed.
const COLLECTED: &[&str] = &[
    "charge.succeeded",
    "charge.captured",
    "charge.updated",
    "charge.pending",
    "charge.failed",
    "refund.created",
    "refund.updated",
    "refund.failed",
    "charge.dispute.funds_withdrawn",
    "charge.dispute.funds_reinstated",
];

/// Named lists of types, for filters.
pub(super) const PRESETS: &[Preset] = &[
    ("@payments", &["payment_intent.*", "charge.*", "refund.*", "checkout.session.*", "payment_link.*"]),
    ("@invoices", &["invoice.*", "invoiceitem.*", "invoice_payment.*", "credit_note.*"]),
    ("@subscriptions", &["customer.subscription.*", "subscription_schedule.*"]),
    ("@disputes", &["charge.dispute.*", "radar.early_fraud_warning.*", "review.*"]),
    ("@customers", &["customer.created", "customer.updated", "customer.deleted"]),
    ("@payouts", &["payout.*", "topup.*", "transfer.*", "balance.*"]),
    ("@collected", COLLECTED),
];

/// The type as snapshot events write it: thin events put `v1.` in front.
pub(super) fn without_thin_prefix(event_type: &str) -> &str {
    event_type.strip_prefix("v1.").unwrap_or(event_type)
}

/// The parts of the type before and after its last dot: `customer.subscription` and `deleted`.
pub(super) fn parents_and_verb(event_type: &str) -> (&str, &str) {
    let event_type = without_thin_prefix(event_type);
    event_type.rsplit_once('.').unwrap_or(("", event_type))
}
