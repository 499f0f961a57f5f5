//! What subscriptions and prices cost for one interval.

use super::figure::Amount;
use crate::domain::money::{Currency, Money};
use crate::sources::stripe::envelope;
use crate::sources::stripe::json::exact_integer;
use crate::sources::stripe::object::{ObjectKind, StripeObject, currency, text};
use chrono::{DateTime, Utc};
use serde_json::Value;

/// Why a cost is unknown; none if the event does not contain a subscription's items at all.
type Unknown = Option<&'static str>;

const PRICE: Unknown = Some("the event does not contain a price or quantity");
const CURRENCIES: Unknown = Some("the items have several currencies");
const DISCOUNT: Unknown = Some("the discount has another currency or cannot be read");

/// What a subscription costs for one interval.
pub(super) fn of_subscription(subscription: &StripeObject<'_>) -> Option<Amount> {
    recurring(subscription).ok().map(Amount::of)
}

/// Why it is unknown what a subscription costs.
pub(super) fn why_unknown(subscription: &StripeObject<'_>) -> Unknown {
    recurring(subscription).err().flatten()
}

/// What recurs: the prices of all items less the discounts that last. A partial sum would be a wrong amount, so it
/// is unknown if one price, quantity or discount is, or if the intervals differ.
fn recurring(subscription: &StripeObject<'_>) -> Result<Money, Unknown> {
    let currency = currency(subscription).ok_or(None)?;
    let (value, at) = (subscription.value, subscription.happened_at());
    let sum = match items(value) {
        [] => cost(value, currency)?,
        _ if subscription.is("/items/has_more") => return Err(Some("the event does not contain all items")),
        items if has_several_intervals(items) => return Err(Some("the items recur differently")),
        items => items.iter().try_fold(Money::from_minor(0, currency), |sum, item| {
            sum.checked_add(discounted(cost(item, currency)?, item, at)?).ok_or(CURRENCIES)
        })?,
    };
    discounted(sum, value, at)
}

fn has_several_intervals(items: &[Value]) -> bool {
    let first = items.first().and_then(interval_of);
    items.iter().any(|item| interval_of(item) != first)
}

fn items(subscription: &Value) -> &[Value] {
    subscription.pointer("/items/data").and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Price × quantity of one item, or of an old subscription with a single plan.
fn cost(item: &Value, fallback: Currency) -> Result<Money, Unknown> {
    let prices = || ["/price", "/plan"].iter().filter_map(|path| item.pointer(path));
    let currency = match prices().find_map(|price| text(price, "/currency")) {
        Some(code) => code.parse().map_err(|_unnamed| PRICE)?,
        None => fallback,
    };
    let usage = ["/recurring/usage_type", "/usage_type"];
    if prices().any(|price| usage.iter().any(|path| text(price, path) == Some("metered"))) {
        // A metered item costs nothing until it is used; the invoice will have the amount.
        return Ok(Money::from_minor(0, currency));
    }
    if prices().any(|price| text(price, "/billing_scheme") == Some("tiered")) {
        return Err(Some("the price has tiers"));
    }
    let unit = prices().find_map(|price| unit_amount(price, currency));
    unit.zip(packages(item)).and_then(|(unit, packages)| unit.checked_mul(packages)).ok_or(PRICE)
}

/// The quantity of an item, in packages if its price is that of a package. One that cannot be read is unknown.
fn packages(item: &Value) -> Option<i64> {
    let quantity = match item.pointer("/quantity") {
        None | Some(Value::Null) => 1,
        Some(quantity) => exact_integer(quantity)?,
    };
    match ["/price", "/plan"].iter().find_map(|path| package(item.pointer(path)?)) {
        Some(package) => package.of(quantity),
        None => Some(quantity),
    }
}

/// How a quantity becomes a number of packages (`transform_quantity`).
struct Package {
    divide_by: i64,
    rounds_up: bool,
}

fn package(price: &Value) -> Option<Package> {
    let transform =
        ["/transform_quantity", "/transform_usage"].iter().find_map(|path| price.pointer(path))?;
    Some(Package {
        divide_by: exact_integer(transform.get("divide_by")?)?,
        rounds_up: text(transform, "/round") == Some("up"),
    })
}

impl Package {
    fn of(&self, quantity: i64) -> Option<i64> {
        let whole = quantity.checked_div(self.divide_by)?;
        let has_rest = quantity.checked_rem(self.divide_by)? > 0;
        whole.checked_add(i64::from(has_rest && self.rounds_up))
    }
}

/// The whole number, or the decimal beside it, which Stripe gives for finer prices. Plans call it `amount`.
fn unit_amount(price: &Value, currency: Currency) -> Option<Money> {
    ["/unit_amount", "/amount"].iter().find_map(|path| match price.pointer(path).and_then(exact_integer) {
        Some(minor) => Some(Money::from_minor(minor, currency)),
        None => Money::from_minor_decimal(text(price, &format!("{path}_decimal"))?, currency),
    })
}

/// A cost less the discounts of an item or subscription that last.
fn discounted(cost: Money, owner: &Value, at: Option<DateTime<Utc>>) -> Result<Money, Unknown> {
    discounts(owner).filter(|discount| !has_ended(discount, at)).try_fold(cost, |cost, discount| {
        let coupon = coupon(discount).ok_or(Some("the event does not contain the discount"))?;
        if text(coupon, "/duration") == Some("once") { Ok(cost) } else { less(cost, coupon).ok_or(DISCOUNT) }
    })
}

fn less(cost: Money, coupon: &Value) -> Option<Money> {
    let minor = cost.rounded()?;
    let off = match coupon.get("percent_off").and_then(Value::as_f64) {
        Some(percent) => share(minor, percent)?,
        None => amount_off(coupon, cost.currency())?,
    };
    Some(Money::from_minor(minor.checked_sub(off)?.max(0), cost.currency()))
}

/// Whether a discount, of a coupon that repeats, ended before the event.
fn has_ended(discount: &Value, at: Option<DateTime<Utc>>) -> bool {
    let end = discount.get("end").and_then(envelope::time);
    end.zip(at).is_some_and(|(end, at)| end <= at)
}

fn coupon(discount: &Value) -> Option<&Value> {
    let places = ["/coupon", "/source/coupon"];
    places.iter().find_map(|path| discount.pointer(path).filter(|coupon| coupon.is_object()))
}

/// The discounts of an item or subscription. Those that were not expanded are ids, except for one that versions
/// before 2024 contain beside the list.
fn discounts(owner: &Value) -> impl Iterator<Item = &Value> {
    let list = owner.pointer("/discounts").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let whole = owner.pointer("/discount").filter(|discount| discount.is_object());
    let is_whole = move |id: &Value| id.is_string() && whole.and_then(|whole| whole.get("id")) == Some(id);
    let listed = list.iter().map(move |discount| whole.filter(|_| is_whole(discount)).unwrap_or(discount));
    listed.chain(whole.filter(|_| list.is_empty()))
}

/// A percentage of an amount in minor units, rounded half up, as Stripe rounds a discount.
#[expect(clippy::cast_possible_truncation, reason = "the limits are checked")]
fn share(minor: i64, percent: f64) -> Option<i64> {
    const HUNDREDTHS: i128 = 10_000;
    let hundredths = (percent * 100.0).round();
    if !(0.0..=10_000.0).contains(&hundredths) {
        return None;
    }
    let exact = i128::from(minor) * i128::from(hundredths as i64);
    i64::try_from((exact + HUNDREDTHS / 2).div_euclid(HUNDREDTHS)).ok()
}

fn amount_off(coupon: &Value, currency: Currency) -> Option<i64> {
    let is_in_currency = text(coupon, "/currency").and_then(|code| code.parse().ok()) == Some(currency);
    let other =
        || coupon.pointer(&format!("/currency_options/{}/amount_off", currency.to_string().to_lowercase()));
    let off = if is_in_currency { coupon.get("amount_off") } else { other() };
    off.and_then(exact_integer)
}

/// A price of the catalog; of a package, what one package costs.
pub(super) fn price(price: &StripeObject<'_>) -> Option<Amount> {
    unit_amount(price.value, currency(price)?).map(Amount::of)
}

/// `month`, `3 months`: the interval of a price, or the one that all items of a subscription have.
pub(super) fn interval(object: &StripeObject<'_>) -> Option<String> {
    if !matches!(object.kind, ObjectKind::Subscription | ObjectKind::Price | ObjectKind::Plan) {
        return None;
    }
    match items(object.value) {
        [] => interval_of(object.value),
        items if has_several_intervals(items) => None,
        [first, ..] => interval_of(first),
    }
}

fn interval_of(item: &Value) -> Option<String> {
    let places = ["/price/recurring", "/plan", "/recurring", ""];
    let recurring = places.iter().filter_map(|path| item.pointer(path));
    recurring.into_iter().find_map(|recurring| {
        let unit = text(recurring, "/interval")?;
        match recurring.get("interval_count").and_then(exact_integer) {
            None | Some(1) => Some(unit.to_owned()),
            Some(count) => Some(format!("{count} {unit}s")),
        }
    })
}
