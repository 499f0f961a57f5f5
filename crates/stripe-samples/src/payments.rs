//! Payments, charges, refunds and disputes.

use crate::identity::Identity;
use crate::{Change, with};
use serde_json::{Value, json};

pub(super) fn intent_created(of: &Identity) -> Change {
    Change { object: intent(of, "requires_payment_method"), previous: None }
}

pub(super) fn intent_succeeded(of: &Identity) -> Change {
    let changes = json!({
        "amount_received": of.amount(),
        "latest_charge": of.id("ch"),
        "payment_method": of.id("pm"),
    });
    Change { object: with(intent(of, "succeeded"), changes), previous: None }
}

pub(super) fn intent_failed(of: &Identity) -> Change {
    let changes = json!({
        "last_payment_error": {
            "type": "card_error",
            "code": "card_declined",
            "decline_code": "insufficient_funds",
            "message": "Your card has insufficient funds.",
            "charge": of.id("ch"),
        },
        "latest_charge": of.id("ch"),
    });
    Change { object: with(intent(of, "requires_payment_method"), changes), previous: None }
}

pub(super) fn charge_succeeded(of: &Identity) -> Change {
    Change { object: charge(of), previous: None }
}

pub(super) fn charge_refunded(of: &Identity) -> Change {
    let changes = json!({ "amount_refunded": of.amount(), "refunded": true });
    let previous = json!({ "amount_refunded": 0, "refunded": false });
    Change { object: with(charge(of), changes), previous: Some(previous) }
}

pub(super) fn refund_created(of: &Identity) -> Change {
    let object = json!({
        "id": of.id("re"),
        "object": "refund",
        "amount": of.amount(),
        "balance_transaction": of.id("txn"),
        "charge": of.id("ch"),
        "created": of.since(),
        "currency": of.currency(),
        "customer": of.id("cus"),
        "destination_details": { "type": "card", "card": { "type": "refund", "reference_status": "pending" } },
        "metadata": {},
        "payment_intent": of.id("pi"),
        "reason": "requested_by_customer",
        "receipt_number": null,
        "status": "succeeded",
    });
    Change { object, previous: None }
}

pub(super) fn dispute_created(of: &Identity) -> Change {
    const DAYS_TO_ANSWER: i64 = 14;
    let object = json!({
        "id": of.id("du"),
        "object": "dispute",
        "amount": of.amount(),
        "balance_transactions": [],
        "charge": of.id("ch"),
        "created": of.since(),
        "currency": of.currency(),
        "enhanced_eligibility_types": [],
        "evidence": { "customer_email_address": of.email(), "customer_name": of.name() },
        "evidence_details": {
            "due_by": of.since() + DAYS_TO_ANSWER * 86_400,
            "has_evidence": false,
            "past_due": false,
            "submission_count": 0,
        },
        "is_charge_refundable": false,
        "livemode": false,
        "metadata": {},
        "payment_intent": of.id("pi"),
        "payment_method_details": { "type": "card", "card": { "brand": "visa", "case_type": "chargeback" } },
        "reason": "fraudulent",
        "status": "needs_response",
    });
    Change { object, previous: None }
}

fn intent(of: &Identity, status: &str) -> Value {
    json!({
        "id": of.id("pi"),
        "object": "payment_intent",
        "amount": of.amount(),
        "amount_capturable": 0,
        "amount_details": { "tip": {} },
        "amount_received": 0,
        "automatic_payment_methods": { "allow_redirects": "always", "enabled": true },
        "canceled_at": null,
        "cancellation_reason": null,
        "capture_method": "automatic_async",
        "confirmation_method": "automatic",
        "created": of.since(),
        "currency": of.currency(),
        "customer": of.id("cus"),
        "description": "Sample order",
        "last_payment_error": null,
        "latest_charge": null,
        "livemode": false,
        "metadata": {},
        "next_action": null,
        "payment_method": null,
        "payment_method_types": ["card"],
        "receipt_email": of.email(),
        "status": status,
    })
}

fn charge(of: &Identity) -> Value {
    json!({
        "id": of.id("ch"),
        "object": "charge",
        "amount": of.amount(),
        "amount_captured": of.amount(),
        "amount_refunded": 0,
        "balance_transaction": of.id("txn"),
        "billing_details": {
            "address": null,
            "email": of.email(),
            "name": of.name(),
            "phone": null,
            "tax_id": null,
        },
        "captured": true,
        "created": of.since(),
        "currency": of.currency(),
        "customer": of.id("cus"),
        "description": "Sample order",
        "disputed": false,
        "failure_code": null,
        "failure_message": null,
        "livemode": false,
        "metadata": {},
        "outcome": { "network_status": "approved_by_network", "risk_level": "normal", "type": "authorized" },
        "paid": true,
        "payment_intent": of.id("pi"),
        "payment_method": of.id("pm"),
        "payment_method_details": { "type": "card", "card": { "brand": "visa", "last4": "4242" } },
        "receipt_email": null,
        "receipt_url": format!("https://pay.stripe.com/receipts/payment/{}", of.id("ch")),
        "refunded": false,
        "status": "succeeded",
    })
}
