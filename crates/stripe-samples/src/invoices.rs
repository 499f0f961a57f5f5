//! The stages of an invoice: created, finalized, payment failed, paid.

use crate::identity::Identity;
use crate::{Change, with};
use serde_json::{Value, json};

const RETRIED_AFTER_SECONDS: i64 = 3 * 86_400;

pub(super) fn created(of: &Identity) -> Change {
    Change { object: draft(of), previous: None }
}

pub(super) fn finalized(of: &Identity) -> Change {
    let previous = json!({ "hosted_invoice_url": null, "number": null, "status": "draft" });
    Change { object: open(of), previous: Some(previous) }
}

/// As in Stripe's events, the reason is only in the event of the payment.
pub(super) fn payment_failed(of: &Identity) -> Change {
    let changes = json!({ "attempt_count": 1, "attempted": true, "next_payment_attempt": next_attempt(of) });
    let previous = json!({ "attempt_count": 0, "attempted": false, "next_payment_attempt": null });
    Change { object: with(open(of), changes), previous: Some(previous) }
}

pub(super) fn paid(of: &Identity) -> Change {
    let changes = json!({
        "amount_paid": of.amount(),
        "amount_remaining": 0,
        "attempt_count": 2,
        "attempted": true,
        "status": "paid",
        "status_transitions": transitions(Some(of.since()), Some(of.created())),
    });
    let previous = json!({
        "amount_paid": 0,
        "amount_remaining": of.amount(),
        "attempt_count": 1,
        "next_payment_attempt": next_attempt(of),
        "status": "open",
    });
    Change { object: with(open(of), changes), previous: Some(previous) }
}

/// When Stripe tries again after the failed payment.
fn next_attempt(of: &Identity) -> i64 {
    of.since() + RETRIED_AFTER_SECONDS
}

fn open(of: &Identity) -> Value {
    let changes = json!({
        "hosted_invoice_url": format!("https://invoice.stripe.com/i/{}", of.id("in")),
        "invoice_pdf": format!("https://pay.stripe.com/invoice/{}/pdf", of.id("in")),
        "number": of.invoice_number(),
        "status": "open",
        "status_transitions": transitions(Some(of.since()), None),
    });
    with(draft(of), changes)
}

fn draft(of: &Identity) -> Value {
    json!({
        "id": of.id("in"),
        "object": "invoice",
        "account_country": "DE",
        "amount_due": of.amount(),
        "amount_overpaid": 0,
        "amount_paid": 0,
        "amount_remaining": of.amount(),
        "attempt_count": 0,
        "attempted": false,
        "auto_advance": true,
        "automatic_tax": { "enabled": false, "liability": null, "status": null },
        "billing_reason": "subscription_cycle",
        "collection_method": "charge_automatically",
        "created": of.since(),
        "currency": of.currency(),
        "customer": of.id("cus"),
        "customer_email": of.email(),
        "customer_name": of.name(),
        "description": null,
        "due_date": null,
        "hosted_invoice_url": null,
        "invoice_pdf": null,
        "lines": {
            "object": "list",
            "data": [line(of)],
            "has_more": false,
            "total_count": 1,
            "url": format!("/v1/invoices/{}/lines", of.id("in")),
        },
        "livemode": false,
        "metadata": {},
        "next_payment_attempt": null,
        "number": null,
        "parent": {
            "quote_details": null,
            "subscription_details": { "metadata": {}, "subscription": of.id("sub") },
            "type": "subscription_details",
        },
        "status": "draft",
        "status_transitions": transitions(None, None),
        "subtotal": of.amount(),
        "total": of.amount(),
        "total_taxes": [],
    })
}

fn transitions(finalized_at: Option<i64>, paid_at: Option<i64>) -> Value {
    json!({
        "finalized_at": finalized_at,
        "marked_uncollectible_at": null,
        "paid_at": paid_at,
        "voided_at": null,
    })
}

fn line(of: &Identity) -> Value {
    json!({
        "id": of.id("il"),
        "object": "line_item",
        "amount": of.amount(),
        "currency": of.currency(),
        "description": "1 × Sample plan",
        "invoice": of.id("in"),
        "livemode": false,
        "metadata": {},
        "pricing": {
            "price_details": { "price": of.id("price"), "product": of.id("prod") },
            "type": "price_details",
            "unit_amount_decimal": of.amount().to_string(),
        },
        "quantity": 1,
    })
}
