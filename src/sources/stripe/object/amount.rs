//! The amount that an event is about, per kind of object.

use super::{ObjectKind, StripeObject, text};
use crate::domain::money::{Currency, Money};
use crate::sources::stripe::json::exact_integer;
use serde_json::Value;

/// The amount; `None` if the kind has none or the object does not contain it.
pub(in crate::sources::stripe) fn amount(object: &StripeObject<'_>) -> Option<Money> {
    let minor = match object.kind {
        ObjectKind::PaymentIntent
        | ObjectKind::Charge
        | ObjectKind::Refund
        | ObjectKind::Dispute
        | ObjectKind::Payout => object.integer("/amount"),
        ObjectKind::Invoice if object.status().as_deref() == Some("paid") => {
            object.integer("/amount_paid").or_else(|| object.integer("/total"))
        }
        ObjectKind::Invoice => object.integer("/total"),
        ObjectKind::CheckoutSession => object.integer("/amount_total"),
        ObjectKind::Subscription => return subscription_sum(object),
        ObjectKind::Customer | ObjectKind::Other => None,
    };
    Some(Money::from_minor(minor?, currency(object)?))
}

/// The refunded amount: of a charge so far, or of a refund that neither failed nor was canceled.
pub(in crate::sources::stripe) fn refunded(object: &StripeObject<'_>) -> Option<Money> {
    let minor = match object.kind {
        ObjectKind::Charge => object.integer("/amount_refunded"),
        ObjectKind::Refund if !matches!(object.status().as_deref(), Some("failed" | "canceled")) => {
            object.integer("/amount")
        }
        _ => None,
    };
    Some(Money::from_minor(minor?, currency(object)?))
}

/// The currency; subscriptions of older shapes name it in their prices only.
pub(in crate::sources::stripe) fn currency(object: &StripeObject<'_>) -> Option<Currency> {
    ["/currency", "/items/data/0/price/currency", "/items/data/0/plan/currency", "/plan/currency"]
        .iter()
        .find_map(|place| text(object.value, place)?.parse().ok())
}

/// The sum of price × quantity, before discounts, taxes and packages. If one price is unknown (tiers, a
/// truncated list), the sum is `None`, because a partial sum would be a wrong amount.
fn subscription_sum(object: &StripeObject<'_>) -> Option<Money> {
    let currency = currency(object)?;
    let items = object.value.pointer("/items/data").and_then(Value::as_array);
    match items {
        Some(items) if !items.is_empty() => {
            if object.is("/items/has_more") {
                return None;
            }
            items
                .iter()
                .try_fold(Money::from_minor(0, currency), |sum, item| sum.checked_add(cost(item, currency)?))
        }
        _ => cost(object.value, currency),
    }
}

/// Price × quantity of one item, or of an old subscription with a single plan.
fn cost(item: &Value, fallback: Currency) -> Option<Money> {
    let price = ["/price", "/plan"].iter().filter_map(|place| item.pointer(place));
    let is_metered = price.clone().any(|price| {
        [text(price, "/recurring/usage_type"), text(price, "/usage_type")].contains(&Some("metered"))
    });
    let currency = price
        .clone()
        .find_map(|price| text(price, "/currency"))
        .map_or(Some(fallback), |code| code.parse().ok())?;
    if is_metered {
        // A metered item costs nothing until it is used; the invoice will have the amount.
        return Some(Money::from_minor(0, currency));
    }
    // A quantity that cannot be read leaves the amount unknown.
    let quantity = match item.pointer("/quantity") {
        None | Some(Value::Null) => 1,
        Some(quantity) => exact_integer(quantity)?,
    };
    price
        .flat_map(|price| [(price, "/unit_amount"), (price, "/amount")])
        .find_map(|(price, place)| unit_amount(price, place, currency))?
        .checked_mul(quantity)
}

/// The whole number at `place`, or the decimal next to it, which Stripe gives for finer prices.
fn unit_amount(price: &Value, place: &str, currency: Currency) -> Option<Money> {
    match price.pointer(place).and_then(exact_integer) {
        Some(minor) => Some(Money::from_minor(minor, currency)),
        None => Money::from_minor_decimal(text(price, &format!("{place}_decimal"))?, currency),
    }
}
