//! Thin events: they name the changed object, and the receiver fetches it.

use crate::identity::Identity;
use serde_json::{Value, json};

pub(super) fn event(of: &Identity, event_id: &str, event_type: &str, related_object: &Value) -> Value {
    json!({
        "id": event_id,
        "object": "v2.core.event",
        "created": of.created_text(),
        "livemode": false,
        "related_object": related_object,
        "type": event_type,
    })
}

pub(super) fn invoice(of: &Identity) -> Value {
    let id = of.id("in");
    json!({ "id": id, "type": "invoice", "url": format!("/v1/invoices/{id}") })
}

pub(super) fn meter(of: &Identity) -> Value {
    let id = of.id("mtr");
    json!({ "id": id, "type": "billing.meter", "url": format!("/v1/billing/meters/{id}") })
}
