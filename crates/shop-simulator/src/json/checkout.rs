//! Checkout sessions.

use super::View;
use crate::sessions::Session;
use crate::world::DAY;
use serde_json::{Value, json};

pub(crate) fn session(of: &Session, view: View) -> Value {
    let buyer = &of.buyer;
    json!({
        "id": of.id,
        "object": "checkout.session",
        "amount_subtotal": of.amount,
        "amount_total": of.amount,
        "automatic_tax": { "enabled": false, "liability": null, "status": null },
        "cancel_url": "https://example.com/cancel",
        "client_reference_id": null,
        "created": of.created,
        "currency": of.currency.code(),
        "customer": buyer.customer,
        "customer_details": {
            "address": null,
            "email": buyer.email,
            "name": buyer.name,
            "phone": null,
            "tax_exempt": "none",
            "tax_ids": [],
        },
        "customer_email": null,
        "expires_at": of.created + DAY,
        "invoice": of.invoice,
        "livemode": view.livemode,
        "locale": null,
        "metadata": {},
        "mode": if of.subscription.is_some() { "subscription" } else { "payment" },
        "payment_intent": of.intent,
        "payment_link": null,
        "payment_method_types": ["card"],
        "payment_status": of.payment_status,
        "setup_intent": null,
        "status": of.status,
        "subscription": of.subscription,
        "success_url": "https://example.com/success",
        "total_details": { "amount_discount": 0, "amount_shipping": 0, "amount_tax": 0 },
        "url": null,
    })
}
