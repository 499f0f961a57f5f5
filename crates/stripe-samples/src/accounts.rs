//! Customers, their subscriptions, and payouts.

use crate::identity::Identity;
use crate::{Change, with};
use serde_json::{Value, json};

const MONTH_SECONDS: i64 = 30 * 86_400;

pub(super) fn customer_created(of: &Identity) -> Change {
    let object = json!({
        "id": of.id("cus"),
        "object": "customer",
        "address": null,
        "balance": 0,
        "created": of.since(),
        "currency": null,
        "delinquent": false,
        "description": null,
        "email": of.email(),
        "invoice_prefix": "SAMPLE",
        "livemode": false,
        "metadata": {},
        "name": of.name(),
        "phone": null,
        "tax_exempt": "none",
    });
    Change { object, previous: None }
}

pub(super) fn subscription_created(of: &Identity) -> Change {
    Change { object: subscription(of, 1), previous: None }
}

pub(super) fn subscription_updated(of: &Identity) -> Change {
    let previous = json!({ "items": { "data": [item(of, 1)] }, "quantity": 1 });
    Change { object: subscription(of, 3), previous: Some(previous) }
}

pub(super) fn subscription_deleted(of: &Identity) -> Change {
    let changes = json!({ "canceled_at": of.created(), "ended_at": of.created(), "status": "canceled" });
    Change { object: with(subscription(of, 1), changes), previous: None }
}

pub(super) fn payout_paid(of: &Identity) -> Change {
    let object = json!({
        "id": of.id("po"),
        "object": "payout",
        "amount": of.amount(),
        "arrival_date": of.created(),
        "automatic": true,
        "balance_transaction": of.id("txn"),
        "created": of.since(),
        "currency": of.currency(),
        "description": "STRIPE PAYOUT",
        "destination": of.id("ba"),
        "failure_code": null,
        "failure_message": null,
        "livemode": false,
        "metadata": {},
        "method": "standard",
        "reconciliation_status": "completed",
        "source_type": "card",
        "status": "paid",
        "type": "bank_account",
    });
    Change { object, previous: None }
}

fn subscription(of: &Identity, quantity: u32) -> Value {
    json!({
        "id": of.id("sub"),
        "object": "subscription",
        "billing_cycle_anchor": of.since(),
        "billing_mode": { "type": "classic" },
        "cancel_at": null,
        "cancel_at_period_end": false,
        "canceled_at": null,
        "collection_method": "charge_automatically",
        "created": of.since(),
        "currency": of.currency(),
        "customer": of.id("cus"),
        "description": null,
        "ended_at": null,
        "items": {
            "object": "list",
            "data": [item(of, quantity)],
            "has_more": false,
            "total_count": 1,
            "url": format!("/v1/subscription_items?subscription={}", of.id("sub")),
        },
        "latest_invoice": of.id("in"),
        "livemode": false,
        "metadata": {},
        "quantity": quantity,
        "start_date": of.since(),
        "status": "active",
    })
}

fn item(of: &Identity, quantity: u32) -> Value {
    json!({
        "id": of.id("si"),
        "object": "subscription_item",
        "created": of.since(),
        "current_period_end": of.since() + MONTH_SECONDS,
        "current_period_start": of.since(),
        "metadata": {},
        "price": {
            "id": of.id("price"),
            "object": "price",
            "active": true,
            "billing_scheme": "per_unit",
            "currency": of.currency(),
            "product": of.id("prod"),
            "recurring": { "interval": "month", "interval_count": 1, "meter": null, "usage_type": "licensed" },
            "type": "recurring",
            "unit_amount": of.amount(),
            "unit_amount_decimal": of.amount().to_string(),
        },
        "quantity": quantity,
        "subscription": of.id("sub"),
    })
}
