//! Payouts, top-ups and the balance.

use super::View;
use crate::money::Currency;
use crate::payouts::{Payout, TopUp};
use serde_json::{Value, json};

pub(crate) fn payout(of: &Payout, view: View) -> Value {
    let failed = of.status == "failed";
    json!({
        "id": of.id,
        "object": "payout",
        "amount": of.amount,
        "arrival_date": of.arrival,
        "automatic": true,
        "balance_transaction": of.balance_transaction,
        "created": of.created,
        "currency": of.currency.code(),
        "description": "STRIPE PAYOUT",
        "destination": "ba_Sample",
        "failure_balance_transaction": failed.then(|| format!("{}f", of.balance_transaction)),
        "failure_code": failed.then_some("account_closed"),
        "failure_message": failed.then_some("The bank account has been closed."),
        "livemode": view.livemode,
        "metadata": {},
        "method": "standard",
        "original_payout": null,
        "reconciliation_status": if of.status == "paid" { "completed" } else { "in_progress" },
        "reversed_by": null,
        "source_type": "card",
        "statement_descriptor": null,
        "status": of.status,
        "type": "bank_account",
    })
}

pub(crate) fn topup(of: &TopUp, view: View) -> Value {
    json!({
        "id": of.id,
        "object": "topup",
        "amount": of.amount,
        "balance_transaction": (of.status == "succeeded").then_some(&of.balance_transaction),
        "created": of.created,
        "currency": of.currency.code(),
        "description": "Top-up for refunds",
        "expected_availability_date": of.created + 3 * 86_400,
        "failure_code": null,
        "failure_message": null,
        "livemode": view.livemode,
        "metadata": {},
        "source": null,
        "statement_descriptor": null,
        "status": of.status,
        "transfer_group": null,
    })
}

pub(crate) fn balance(currency: Currency, amount: i64, view: View) -> Value {
    let part = |amount: i64| json!([{ "amount": amount, "currency": currency.code(), "source_types": { "card": amount } }]);
    json!({
        "object": "balance",
        "available": part(amount),
        "connect_reserved": [],
        "livemode": view.livemode,
        "pending": part(amount / 3),
    })
}
