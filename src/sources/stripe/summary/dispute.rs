//! What a dispute moved, by its list of balance transactions.
//!
//! The list has everything so far, in the currency in which the account settles. It does not contain how much of
//! the disputed amount an entry is. Shapes without the list have the status only.

use crate::domain::money::{Currency, Money};
use crate::sources::stripe::json::exact_integer;
use crate::sources::stripe::object::{ObjectKind, StripeObject, currency, text};
use serde_json::Value;

/// What the newest reversal brings back: a reinstatement reports only that one.
pub(super) fn of_reinstatement(dispute: &StripeObject<'_>) -> Option<i64> {
    let entries = entries(dispute);
    if entries.is_empty() {
        // Shapes without the list report a whole reinstatement.
        return dispute.integer("/amount");
    }
    let newest = entries.iter().rposition(|entry| is_reversal(entry))?;
    let withdrawal = entries.get(..newest)?.iter().rfind(|entry| !is_reversal(entry));
    reinstated(dispute, entries.get(newest)?, withdrawal.copied())
}

/// Why it can be unknown how much came back.
pub(super) const IN_ANOTHER_CURRENCY: &str = "it came back in another currency, and perhaps in part";

/// Whether something came back of which the amount is unknown.
pub(super) fn has_unknown_return(dispute: &StripeObject<'_>) -> bool {
    entries(dispute).into_iter().any(is_reversal) && of_reinstatement(dispute).is_none()
}

/// Why it is unknown how much a reinstatement brings back.
pub(super) fn why_unknown(dispute: &StripeObject<'_>) -> Option<&'static str> {
    if !dispute.is_snapshot || of_reinstatement(dispute).is_some() {
        None
    } else if has_unknown_return(dispute) {
        Some(IN_ANOTHER_CURRENCY)
    } else {
        Some("the event does not list what came back")
    }
}

/// What a dispute moved so far: each withdrawal takes the amount, and each reversal brings back what is known of
/// it.
pub(super) fn moved(dispute: &StripeObject<'_>) -> Option<i64> {
    let entries = entries(dispute);
    let taken = || dispute.integer("/amount").and_then(i64::checked_neg);
    if entries.is_empty() {
        return if is_withdrawn(dispute) { taken() } else { Some(0) };
    }
    let mut sum = 0_i64;
    let mut withdrawal = None;
    for entry in entries {
        let change = if is_reversal(entry) {
            reinstated(dispute, entry, withdrawal).unwrap_or_default()
        } else {
            withdrawal = Some(entry);
            taken()?
        };
        sum = sum.checked_add(change)?;
    }
    Some(sum)
}

/// Whether the money is withdrawn, as far as an event says it that lists no movement.
fn is_withdrawn(dispute: &StripeObject<'_>) -> bool {
    let is_empty_list = dispute.value.pointer("/balance_transactions").is_some_and(Value::is_array);
    match dispute.event_type {
        "charge.dispute.funds_withdrawn" => true,
        "charge.dispute.funds_reinstated" => false,
        _ if is_empty_list => false,
        _ => matches!(dispute.status().as_deref(), Some("needs_response" | "under_review" | "lost")),
    }
}

/// The fees so far; `None` if there are none, or if they have several currencies.
pub(super) fn fee(dispute: &StripeObject<'_>) -> Option<Money> {
    let fees = dispute.list("/balance_transactions").map(|entry| {
        Some(Money::from_minor(exact_integer(entry.get("fee")?)?, text(entry, "/currency")?.parse().ok()?))
    });
    fees.reduce(|sum, fee| sum?.checked_add(fee?)).flatten().filter(|_| dispute.kind == ObjectKind::Dispute)
}

/// The withdrawals and reversals, the oldest first. Stripe does not document the order of the list. In one second
/// a reversal follows what it reverses. If an entry has no time, the list's order is all there is.
fn entries<'a>(dispute: &StripeObject<'a>) -> Vec<&'a Value> {
    let time = |entry: &Value| entry.get("created").and_then(exact_integer);
    let mut entries: Vec<_> =
        dispute.list("/balance_transactions").filter(|entry| is_movement(entry)).collect();
    if entries.iter().all(|entry| time(entry).is_some()) {
        entries.sort_by_key(|entry| (time(entry), is_reversal(entry)));
    }
    entries
}

/// Whether an entry moves the amount. A fee may be an entry of its own.
fn is_movement(entry: &Value) -> bool {
    let category = text(entry, "/reporting_category");
    entry.is_object() && category.is_none_or(|category| matches!(category, "dispute" | "dispute_reversal"))
}

fn is_reversal(entry: &Value) -> bool {
    match text(entry, "/reporting_category") {
        Some(category) => category == "dispute_reversal",
        None => minor(entry).is_some_and(|minor| minor > 0),
    }
}

fn minor(entry: &Value) -> Option<i64> {
    exact_integer(entry.get("amount")?)
}

/// What a reversal brings back in the currency of the dispute. In another currency it is known only if that is all
/// of it: it undoes the whole withdrawal before it, or its own exchange rate makes it the disputed amount. A part
/// could be computed, but not to the minor unit.
fn reinstated(dispute: &StripeObject<'_>, reversal: &Value, withdrawal: Option<&Value>) -> Option<i64> {
    if text(reversal, "/currency") == dispute.text("/currency").as_deref() {
        return minor(reversal);
    }
    let undoes_all = withdrawal.is_some_and(|withdrawal| {
        text(withdrawal, "/currency") == text(reversal, "/currency")
            && minor(withdrawal).and_then(i64::checked_neg) == minor(reversal)
    });
    dispute.integer("/amount").filter(|_| undoes_all || is_worth_all(reversal, dispute))
}

/// Whether the exchange rate of a reversal makes it the disputed amount, rounded to a minor unit. Stripe does not
/// document whether the rate is one of minor or of major units, which differ for a currency without decimals. Only
/// a return of exactly a hundredth or a thousandth could be misread.
#[expect(clippy::cast_precision_loss, reason = "amounts have fewer digits than a float keeps")]
fn is_worth_all(reversal: &Value, dispute: &StripeObject<'_>) -> bool {
    let fits = || {
        let rate = reversal.get("exchange_rate")?.as_f64()?;
        let (amount, back) = (dispute.money("/amount")?, minor(reversal)? as f64);
        let into: Currency = text(reversal, "/currency")?.parse().ok()?;
        let digits = |currency: Currency| i32::try_from(currency.minor_digits()).ok();
        let major = 10_f64.powi(digits(into)? - digits(currency(dispute)?)?);
        let all = amount.minor()? as f64 * rate;
        Some([all, all * major].iter().any(|all| (all - back).abs() <= 1.0))
    };
    fits().unwrap_or(false)
}
