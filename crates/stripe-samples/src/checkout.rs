//! A completed session of the hosted checkout.

use crate::Change;
use crate::identity::Identity;
use serde_json::json;

pub(super) fn completed(of: &Identity) -> Change {
    let object = json!({
        "id": of.id("cs_test"),
        "object": "checkout.session",
        "amount_subtotal": of.amount(),
        "amount_total": of.amount(),
        "created": of.since(),
        "currency": of.currency(),
        "customer": of.id("cus"),
        "customer_details": {
            "address": null,
            "email": of.email(),
            "name": of.name(),
            "phone": null,
            "tax_exempt": "none",
            "tax_ids": [],
        },
        "customer_email": null,
        "invoice": null,
        "livemode": false,
        "metadata": {},
        "mode": "payment",
        "payment_intent": of.id("pi"),
        "payment_method_types": ["card"],
        "payment_status": "paid",
        "status": "complete",
        "subscription": null,
        "success_url": "https://example.com/thanks",
        "ui_mode": "hosted",
        "url": null,
    });
    Change { object, previous: None }
}
