//! The objects of Stripe's API as JSON, in the shape of an endpoint's API version.
//!
//! Shapes follow Stripe's published fixtures and its changelog. Where a version removed a field, older
//! versions have it; fields that no version needs here are left out.

mod billing;
mod checkout;
mod disputes;
mod payments;
mod payouts;

pub(crate) use billing::{credit_note, invoice, invoice_payment, price, product, subscription};
pub(crate) use checkout::session;
pub(crate) use disputes::dispute;
pub(crate) use payments::{DECLINES, Failure, charge, customer, intent, refund};
pub(crate) use payouts::{BalancePart, balance, payout, topup};

use crate::ledger::Entry;
use crate::money::Currency;
use crate::version::ApiVersion;
use serde_json::{Map, Value, json};

/// How objects look at a point in time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View {
    pub(crate) version: ApiVersion,
    pub(crate) livemode: bool,
    /// Whether `amount_refunded` and `refunded` of a charge include money that was never captured.
    pub(crate) releases_are_refunds: bool,
}

/// What the object had before, of all that differs: as in `previous_attributes`. Objects inside are compared
/// field by field, lists as a whole.
pub(crate) fn difference(before: &Value, after: &Value) -> Value {
    let mut previous = Map::new();
    if let (Value::Object(before), Value::Object(after)) = (before, after) {
        for (key, new) in after {
            let old = before.get(key).unwrap_or(&Value::Null);
            if old != new {
                let inner = old.is_object() && new.is_object();
                previous.insert(key.clone(), if inner { difference(old, new) } else { old.clone() });
            }
        }
    }
    Value::Object(previous)
}

/// The object with some more fields, or other values of fields.
fn with(mut object: Value, changes: Value) -> Value {
    if let (Some(fields), Value::Object(changes)) = (object.as_object_mut(), changes) {
        fields.extend(changes);
    }
    object
}

/// A list, as inside an object. Its fixtures have no count any more.
fn list(data: &[Value], url: &str, view: View) -> Value {
    let list = json!({ "object": "list", "data": data, "has_more": false, "url": url });
    if view.version < ApiVersion::Endive { with(list, json!({ "total_count": data.len() })) } else { list }
}

/// A reference: null, the id, or the object with that id.
fn reference(id: Option<&str>, expanded: bool, object: impl FnOnce(&str) -> Value) -> Value {
    match id {
        None => Value::Null,
        Some(id) if expanded => object(id),
        Some(id) => id.into(),
    }
}

/// A balance transaction inside another object.
struct BalanceTransaction<'a> {
    id: &'a str,
    source: &'a str,
    created: i64,
    currency: Currency,
    amount: i64,
    fee: i64,
    exchange_rate: Option<f64>,
    /// Its `type` and its `reporting_category`.
    kind: (&'static str, &'static str),
}

fn balance_transaction(of: &BalanceTransaction) -> Value {
    let fees = match of.fee {
        0 => json!([]),
        fee => json!([{
            "amount": fee,
            "application": null,
            "currency": of.currency.code(),
            "description": "Stripe processing fees",
            "type": "stripe_fee",
        }]),
    };
    json!({
        "id": of.id,
        "object": "balance_transaction",
        "amount": of.amount,
        "available_on": of.created + 2 * 86_400,
        "created": of.created,
        "currency": of.currency.code(),
        "description": null,
        "exchange_rate": of.exchange_rate,
        "fee": of.fee,
        "fee_details": fees,
        "net": of.amount - of.fee,
        "reporting_category": of.kind.1,
        "source": of.source,
        "status": "pending",
        "type": of.kind.0,
    })
}

/// An entry of the ledger, as it is when it is made.
pub(crate) fn entry(of: &Entry) -> Value {
    let (paid_in, currency) = of.currencies;
    let object = balance_transaction(&BalanceTransaction {
        id: &of.id,
        source: of.source.as_deref().unwrap_or_default(),
        created: of.created,
        currency,
        amount: of.amount,
        fee: of.fee,
        exchange_rate: exchange_rate(paid_in, currency),
        kind: of.kind,
    });
    let changes = json!({
        "available_on": of.available_on,
        "balance_type": "payments",
        "description": of.description,
        "source": of.source,
    });
    with(object, changes)
}

/// The rate between two currencies, as in a balance transaction, or null if they are the same.
fn exchange_rate(from: Currency, into: Currency) -> Option<f64> {
    const MILLION: i64 = 1_000_000;
    // Of major units: the amounts of a million major units are whole in all currencies.
    let converted = from.convert(MILLION * from.divisor(), into);
    let exact = i32::try_from(converted / into.divisor()).map(f64::from).ok();
    exact.filter(|_| from != into).map(|major| major / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn previous_attributes_hold_only_what_differs() {
        let before = json!({ "a": 1, "b": { "c": 2, "d": 3 }, "list": [1], "same": null });
        let after = json!({ "a": 1, "b": { "c": 2, "d": 4 }, "list": [1, 2], "same": null, "new": 5 });
        let previous = json!({ "b": { "d": 3 }, "list": [1], "new": null });
        assert_eq!(difference(&before, &after), previous);
    }

    #[test]
    fn a_rate_is_in_major_units() {
        assert_eq!(exchange_rate(Currency::Eur, Currency::Eur), None);
        assert_eq!(exchange_rate(Currency::Jpy, Currency::Eur), Some(0.00625));
        assert_eq!(exchange_rate(Currency::Kwd, Currency::Eur), Some(3.0));
    }
}
