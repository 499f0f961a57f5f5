//! Payouts, top-ups and the balance.

use super::View;
use crate::money::Currency;
use crate::payouts::{Payout, TopUp, failure_transaction};
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
        "failure_balance_transaction": failed.then(|| failure_transaction(of)),
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

/// The balance in one currency, in minor units.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BalancePart {
    pub(crate) currency: Currency,
    pub(crate) available: i64,
    pub(crate) pending: i64,
}

pub(crate) fn balance(parts: &[BalancePart], view: View) -> Value {
    let list = |amount: fn(&BalancePart) -> i64| -> Value {
        let part = |part: &BalancePart| {
            let minor = amount(part);
            json!({ "amount": minor, "currency": part.currency.code(), "source_types": { "card": minor } })
        };
        parts.iter().map(part).collect()
    };
    json!({
        "object": "balance",
        "available": list(|part| part.available),
        "connect_reserved": [],
        "livemode": view.livemode,
        "pending": list(|part| part.pending),
    })
}
