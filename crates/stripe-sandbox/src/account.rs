//! The account itself and its balance.

use crate::calls::Caller;
use crate::state::State;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The account as its owner sees it.
pub fn account(state: &State, caller: &Caller) -> Value {
    let name =
        if caller.key.is_foreign(&state.options.account) { "Another account" } else { "Simulated shop" };
    json!({
        "id": caller.account,
        "object": "account",
        "business_profile": {
            "mcc": "5734",
            "name": name,
            "product_description": null,
            "support_address": null,
            "support_email": null,
            "support_phone": null,
            "support_url": null,
            "url": null,
        },
        "business_type": "company",
        "capabilities": { "card_payments": "active", "transfers": "active" },
        "charges_enabled": true,
        "controller": { "type": "account" },
        "country": "DE",
        "created": 1_600_000_000,
        "default_currency": "eur",
        "details_submitted": true,
        "email": "owner@example.com",
        "metadata": {},
        "payouts_enabled": true,
        "settings": {
            "dashboard": { "display_name": name, "timezone": "Etc/UTC" },
            "payouts": {
                "debit_negative_balances": false,
                "schedule": { "delay_days": 2, "interval": "daily" },
                "statement_descriptor": null,
            },
        },
        "type": "standard",
    })
}

/// What the account has now: the sum of all balance transactions, by currency.
pub fn balance(state: &State, caller: &Caller, now: i64) -> Value {
    let mut sums: BTreeMap<&str, (i64, i64)> = BTreeMap::from([("eur", (0, 0))]);
    let transactions = state.objects.list("/v1/balance_transactions").filter(|_| !caller.sees_nothing);
    for transaction in transactions {
        let number = |name: &str| transaction.get(name).and_then(Value::as_i64).unwrap_or(0);
        let currency = transaction.get("currency").and_then(Value::as_str).unwrap_or_default();
        let (available, pending) = sums.entry(currency).or_default();
        *if number("available_on") <= now { available } else { pending } += number("net");
    }
    let part = |amount: fn(&(i64, i64)) -> i64| -> Value {
        let line = |(currency, sum): (&&str, &(i64, i64))| json!({ "amount": amount(sum), "currency": currency, "source_types": { "card": amount(sum) } });
        sums.iter().map(line).collect()
    };
    json!({
        "object": "balance",
        "available": part(|sum| sum.0),
        "livemode": caller.key.is_live(),
        "pending": part(|sum| sum.1),
    })
}

impl State {
    /// The object with this id, as the API shows it now.
    pub fn present(&self, id: &str, now: i64) -> Option<Value> {
        self.objects.get(id).map(|object| shown(object, now))
    }

    /// Whether a balance transaction is in a payout.
    pub fn is_of_payout(&self, transaction: &Value, payout: &str) -> bool {
        let text = |name: &str| transaction.get(name).and_then(Value::as_str).unwrap_or_default();
        let is_in = self.payouts.get(text("id")).is_some_and(|own| own == payout);
        is_in || (self.options.payout_lists_itself && text("type") == "payout" && text("source") == payout)
    }
}

/// An object, as the API shows it now: money becomes available without an event.
pub fn shown(object: &Arc<Value>, now: i64) -> Value {
    let mut shown = object.as_ref().clone();
    let is_transaction = object.get("object").and_then(Value::as_str) == Some("balance_transaction");
    if let Some(fields) = shown.as_object_mut().filter(|_| is_transaction) {
        let available_on = object.get("available_on").and_then(Value::as_i64).unwrap_or(0);
        let status = if available_on <= now { "available" } else { "pending" };
        fields.insert("status".to_owned(), status.into());
    }
    shown
}
