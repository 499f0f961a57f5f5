//! The figure of an event: the amount in the sense of its type.

use super::movement::gives_back;
use super::subscription;
use crate::domain::money::{Currency, Money};
use crate::sources::stripe::json::exact_integer;
use crate::sources::stripe::object::{ObjectKind, StripeObject, currency, currency_at};
use serde_json::Value;
use std::fmt;

/// Where the figure of an event is.
pub(super) enum Figure {
    /// The object has none.
    Nothing,
    /// `amount`, otherwise `amount_total`.
    Usual,
    /// The amount at a path.
    Of(&'static str),
    /// Nothing of a total at a path.
    ZeroOf(&'static str),
    /// The percentage at a path, and what follows it.
    Percent(&'static str, &'static str),
    /// What a function finds.
    Computed(fn(&StripeObject<'_>) -> Option<Amount>),
}

/// An amount, and the greater one of which it is a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Amount {
    pub(super) money: Money,
    pub(super) total: Option<Money>,
}

/// What a title shows as the figure: `USD 15.00 of 49.99`, `25% off`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Figured {
    Amount(Amount),
    Text(String),
}

impl Figure {
    /// The figure of an object.
    pub(super) fn read(&self, object: &StripeObject<'_>) -> Option<Figured> {
        let amount = match *self {
            Self::Nothing => None,
            Self::Usual => object.money("/amount").or_else(|| object.money("/amount_total")).map(Amount::of),
            Self::Of(path) => object.money(path).map(Amount::of),
            Self::ZeroOf(total) => {
                let total = object.money(total)?;
                Amount::part(Money::from_minor(0, total.currency()), Some(total))
            }
            Self::Percent(path, after) => {
                let percent = object.value.pointer(path)?.as_f64()?;
                return Some(Figured::Text(format!("{percent}%{after}")));
            }
            Self::Computed(compute) => compute(object),
        };
        amount.map(Figured::Amount)
    }
}

/// Why an object has no amount that this service can state, though its event is about one.
pub(super) fn why_unknown(object: &StripeObject<'_>) -> Option<String> {
    let why = match object.text("/currency") {
        Some(code) if code.parse::<Currency>().is_err() => {
            format!("the unit of {} is not known", code.to_uppercase())
        }
        _ if object.kind == ObjectKind::Subscription => subscription::why_unknown(object)?.to_owned(),
        _ => {
            let amounts = object.value.as_object()?.iter().filter(|(name, _)| is_amount(name));
            let mut unreadable =
                amounts.filter(|(_, value)| !value.is_null() && exact_integer(value).is_none());
            let (name, _) = unreadable.next()?;
            format!("{} is not a whole number of minor units", name.replace('_', " "))
        }
    };
    Some(format!("Amount unknown: {why}"))
}

/// Whether a field of this name holds an amount in minor units.
fn is_amount(name: &str) -> bool {
    name == "total" || name == "amount" || name.starts_with("amount_")
}

impl Figured {
    /// The amount, if the figure is one.
    pub(super) fn amount(&self) -> Option<Money> {
        match self {
            Self::Amount(amount) => Some(amount.money),
            Self::Text(_) => None,
        }
    }
}

impl fmt::Display for Figured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Amount(Amount { money, total: Some(total) }) => write!(f, "{money} of {}", total.grouped()),
            Self::Amount(Amount { money, total: None }) => write!(f, "{money}"),
            Self::Text(text) => f.write_str(text),
        }
    }
}

impl Amount {
    pub(super) fn of(money: Money) -> Self {
        Self { money, total: None }
    }

    /// An amount whose total is shown if it is greater.
    #[expect(clippy::unnecessary_wraps, reason = "what functions of the table return")]
    fn part(money: Money, total: Option<Money>) -> Option<Self> {
        Some(Self { money, total: total.filter(|total| total.minor() > money.minor()) })
    }
}

fn in_currency(object: &StripeObject<'_>, minor: i64, total: Option<i64>) -> Option<Amount> {
    let currency = currency(object)?;
    let money = |minor| Money::from_minor(minor, currency);
    Amount::part(money(minor), total.map(money))
}

/// The amount of an object, whatever its event is about: what its own page shows in object mode.
pub(super) fn of_object(object: &StripeObject<'_>, figured: Option<&Figured>) -> Option<Money> {
    let amount = match object.kind {
        ObjectKind::Charge if is_released(object) => in_currency(object, 0, None),
        ObjectKind::Charge if is_open_charge(object) => object.money("/amount").map(Amount::of),
        ObjectKind::Charge => captured(object),
        ObjectKind::PaymentIntent if object.status().as_deref() == Some("succeeded") => received(object),
        ObjectKind::PaymentIntent => object.money("/amount").map(Amount::of),
        ObjectKind::Invoice => of_invoice(object),
        _ if is_part_of_amount(object.event_type) => object.money("/amount").map(Amount::of),
        _ => return figured.and_then(Figured::amount),
    };
    amount.map(|amount| amount.money)
}

fn is_part_of_amount(event_type: &str) -> bool {
    matches!(event_type, "transfer.reversed" | "application_fee.refunded")
}

// Charges

/// Whether no money of it arrived yet: it is authorized only, pending, or it failed.
pub(super) fn is_open_charge(charge: &StripeObject<'_>) -> bool {
    has_no_capture(charge) || charge.status().is_some_and(|status| status != "succeeded")
}

/// Whether its authorization ended and nothing was captured.
pub(super) fn is_released(charge: &StripeObject<'_>) -> bool {
    let has_ended = charge.is("/refunded") || charge.event_type == "charge.expired";
    has_ended && has_no_capture(charge)
}

/// Whether nothing of it was captured. Of several captures all but the last leave the flag unset.
pub(super) fn has_no_capture(charge: &StripeObject<'_>) -> bool {
    charge.is_not("/captured") && captured_amount(charge).unwrap_or_default() == 0
}

/// What was captured of a charge so far, in minor units. Shapes of before 2020 capture all or nothing.
pub(super) fn captured_amount(charge: &StripeObject<'_>) -> Option<i64> {
    let all_or_nothing = || if charge.is_not("/captured") { Some(0) } else { charge.integer("/amount") };
    charge.integer_or("/amount_captured", all_or_nothing)
}

pub(super) fn captured(charge: &StripeObject<'_>) -> Option<Amount> {
    in_currency(charge, captured_amount(charge)?, charge.integer("/amount"))
}

/// What went back to the customer of a charge, in minor units. An authorization that was released is
/// nothing that went back.
pub(super) fn refunded_amount(charge: &StripeObject<'_>) -> Option<i64> {
    Some(charge.integer("/amount_refunded")?.saturating_sub(released_in(charge)?).max(0))
}

/// What went back to the customer: of a charge so far, or with a refund that neither failed nor was canceled.
pub(super) fn refunded(object: &StripeObject<'_>) -> Option<Money> {
    let minor = match object.kind {
        ObjectKind::Charge => refunded_amount(object)?,
        ObjectKind::Refund if gives_back(object) => object.integer("/amount")?,
        _ => return None,
    };
    Some(Money::from_minor(minor, currency(object)?))
}

/// How much of `amount_refunded` was released and never captured. Requests of versions before 2025-03-31.basil
/// count that as refunded (changelog: "Partially capturing or canceling payments no longer creates a Refund"). No
/// event names the version of the request. So what the event shows decides first, and then the version that shaped
/// it: that of the endpoint, which may be another one.
fn released_in(charge: &StripeObject<'_>) -> Option<i64> {
    const BASIL: &str = "2025-03-31";
    let captured = captured_amount(charge)?;
    let refunded = charge.integer("/amount_refunded")?;
    let released = charge.integer("/amount")?.saturating_sub(captured).max(0);
    let before = charge.previous_integer("amount_refunded");
    let adds_the_release = |before: i64| refunded.saturating_sub(before) == released;
    let counts = match captured {
        0 => true,
        // More than was captured cannot go back.
        _ if refunded > captured => true,
        // More captures may follow, so the rest is still authorized.
        _ if charge.is_not("/captured") && charge.event_type != "charge.expired" => false,
        _ if refunded < released => false,
        // All went back: all that was captured, or all of the authorization.
        _ if charge.is("/refunded") => refunded != captured,
        _ if refunded == released && charge.event_type == "charge.captured" => true,
        // The last capture counts the whole release at once; earlier ones count none.
        _ if before.is_some_and(|before| before < released && !adds_the_release(before)) => false,
        _ => charge.api_version.is_none_or(|version| version < BASIL),
    };
    Some(if counts { released.min(refunded) } else { 0 })
}

/// What this event refunded of a charge, in minor units. Without the earlier value it is all that was refunded so
/// far.
pub(super) fn refunded_now(charge: &StripeObject<'_>) -> Option<i64> {
    let before = charge.previous_integer("amount_refunded").unwrap_or_default();
    // The release is in the earlier value whole or not at all.
    let released = released_in(charge)?;
    let went_back = if before < released { before } else { before.saturating_sub(released) };
    refunded_amount(charge)?.checked_sub(went_back.max(0))
}

pub(super) fn refunded_change(charge: &StripeObject<'_>) -> Option<Amount> {
    in_currency(charge, refunded_now(charge)?, charge.integer("/amount"))
}

/// Whether all that was captured went back.
pub(super) fn is_refunded(charge: &StripeObject<'_>) -> bool {
    refunded_amount(charge)
        .zip(captured_amount(charge))
        .is_some_and(|(refunded, captured)| refunded > 0 && refunded >= captured)
}

/// Whether a part of what was captured went back.
pub(super) fn is_partly_refunded(charge: &StripeObject<'_>) -> bool {
    refunded_amount(charge).is_some_and(|refunded| refunded > 0) && !is_refunded(charge)
}

/// What was received of a payment. Shapes of before 2018 have the amount only.
pub(super) fn received(payment: &StripeObject<'_>) -> Option<Amount> {
    part_of_amount(payment, "/amount_received")
}

pub(super) fn capturable(payment: &StripeObject<'_>) -> Option<Amount> {
    part_of_amount(payment, "/amount_capturable")
}

fn part_of_amount(object: &StripeObject<'_>, path: &str) -> Option<Amount> {
    let amount = object.integer("/amount");
    in_currency(object, object.integer_or(path, || amount)?, amount)
}

/// The part of a payment that a bank transfer has funded.
pub(super) fn funded(payment: &StripeObject<'_>) -> Option<Amount> {
    let amount = payment.integer("/amount")?;
    let remaining = missing_funds(payment).map_or(0, |(minor, _)| minor);
    in_currency(payment, amount.checked_sub(remaining)?, Some(amount))
}

/// What a bank transfer still has to bring, in minor units.
pub(super) fn missing_funds(payment: &StripeObject<'_>) -> Option<(i64, Currency)> {
    let remaining = payment.integer("/next_action/display_bank_transfer_instructions/amount_remaining")?;
    Some((remaining, currency(payment)?))
}

// Invoices

/// What was paid of a paid invoice, otherwise what remains. A balance or a credit note may have paid a part.
pub(super) fn of_invoice(invoice: &StripeObject<'_>) -> Option<Amount> {
    let total = invoice.integer("/total");
    if invoice.status().as_deref() == Some("paid") {
        return in_currency(invoice, invoice.integer_or("/amount_paid", || total)?, total);
    }
    let due = || invoice.integer_or("/amount_due", || total);
    in_currency(invoice, invoice.integer_or("/amount_remaining", due)?, total)
}

// Tax rates

pub(super) fn flat_amount(rate: &StripeObject<'_>) -> Option<Amount> {
    money_of(rate.value, "/flat_amount/amount", "/flat_amount/currency").map(Amount::of)
}

// The account's own money

pub(super) fn reversed_change(transfer: &StripeObject<'_>) -> Option<Amount> {
    change_of_total(transfer, "amount_reversed")
}

pub(super) fn refunded_fee_change(fee: &StripeObject<'_>) -> Option<Amount> {
    change_of_total(fee, "amount_refunded")
}

/// The change of a part of `amount`. Without the earlier value it is all of the part.
fn change_of_total(object: &StripeObject<'_>, field: &str) -> Option<Amount> {
    let before = object.previous_integer(field).unwrap_or_default();
    let now = object.integer(&format!("/{field}"))?;
    in_currency(object, now.checked_sub(before)?, object.integer("/amount"))
}

/// What is available, if it is in one currency.
pub(super) fn available(balance: &StripeObject<'_>) -> Option<Amount> {
    let mut available = balance.list("/available");
    let only = available.next().filter(|_| available.next().is_none())?;
    money_of(only, "/amount", "/currency").map(Amount::of)
}

pub(super) fn available_cash(balance: &StripeObject<'_>) -> Option<Amount> {
    let (code, minor) = only_entry(balance.value.get("available")?)?;
    Some(Amount::of(Money::from_minor(exact_integer(minor)?, code.parse().ok()?)))
}

pub(super) fn price_of_a_ton(product: &StripeObject<'_>) -> Option<Amount> {
    let (code, price) = only_entry(product.value.get("current_prices_per_metric_ton")?)?;
    Some(Amount::of(Money::from_minor(exact_integer(price.get("amount_total")?)?, code.parse().ok()?)))
}

fn only_entry(map: &Value) -> Option<(&String, &Value)> {
    let mut entries = map.as_object()?.iter();
    entries.next().filter(|_| entries.next().is_none())
}

pub(super) fn credit_grant(grant: &StripeObject<'_>) -> Option<Amount> {
    money_of(grant.value, "/amount/monetary/value", "/amount/monetary/currency").map(Amount::of)
}

/// What a credit adds, or as a negative amount what a debit uses.
pub(super) fn credit_transaction(transaction: &StripeObject<'_>) -> Option<Amount> {
    let at = |side: &str| {
        let place = |field: &str| format!("/{side}/amount/monetary/{field}");
        money_of(transaction.value, &place("value"), &place("currency"))
    };
    at("credit").or_else(|| at("debit")?.checked_mul(-1)).map(Amount::of)
}

/// What a card was asked for.
pub(super) fn requested(authorization: &StripeObject<'_>) -> Option<Amount> {
    let pending = money_of(authorization.value, "/pending_request/amount", "/pending_request/currency");
    pending.or_else(|| authorization.money("/amount")).map(Amount::of)
}

pub(super) fn notified(notification: &StripeObject<'_>) -> Option<Amount> {
    money_of(notification.value, "/amount", "/source/currency").map(Amount::of)
}

fn money_of(value: &Value, amount: &str, currency: &str) -> Option<Money> {
    Some(Money::from_minor(exact_integer(value.pointer(amount)?)?, currency_at(value, currency)?))
}
