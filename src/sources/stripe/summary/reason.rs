//! Why something failed, what was given as its reason, or who must act.

use super::dispute;
use super::figure::missing_funds;
use crate::domain::humanize::capitalised;
use crate::domain::money::{Currency, Money};
use crate::sources::stripe::object::{StripeObject, currency};

/// Where the reason of an event is.
pub(super) enum Reason {
    /// It has none.
    Unsaid,
    /// The first of these paths that has a text. A code such as `insufficient_funds` becomes words.
    First(&'static [&'static str]),
    /// Who must do what.
    Says(&'static str),
    /// The same, with the code at a path in parentheses, if there is one.
    Asks(&'static str, &'static str),
    /// What a function finds.
    Found(fn(&StripeObject<'_>) -> Option<String>),
    /// The same, and otherwise who must do what.
    FoundOr(fn(&StripeObject<'_>) -> Option<String>, &'static str),
}

/// Why a payment failed.
pub(super) const PAYMENT_ERROR: Reason = Reason::First(&[
    "/last_payment_error/message",
    "/last_payment_error/decline_code",
    "/last_payment_error/code",
    "/payment_intent/last_payment_error/message",
]);

/// Why a payout or top-up failed, in an event that does not report the failure itself.
pub(super) const OF_ENDED: Reason = Reason::Found(of_ended);

impl Reason {
    /// The reason of an object. A thin event has only what its type says.
    pub(super) fn read(&self, object: &StripeObject<'_>) -> Option<String> {
        match self {
            Self::Unsaid => None,
            Self::First(paths) => paths.iter().find_map(|path| said(object, path)),
            Self::Says(what) => Some((*what).to_owned()),
            Self::Asks(what, path) => Some(match object.text(path) {
                Some(code) => format!("{what} ({})", words(&code)),
                None => (*what).to_owned(),
            }),
            Self::Found(find) => find(object),
            Self::FoundOr(find, what) => Some(find(object).unwrap_or_else(|| (*what).to_owned())),
        }
    }
}

/// The text at a path: a message as it is, a code in words.
fn said(object: &StripeObject<'_>, path: &str) -> Option<String> {
    object.text(path).map(|text| if is_code(&text) { capitalised(&words(&text)) } else { text })
}

fn is_code(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'.'))
}

/// `insufficient_funds` as `insufficient funds`.
pub(super) fn words(code: &str) -> String {
    code.replace(['.', '_', '[', ']'], " ").split_whitespace().collect::<Vec<_>>().join(" ")
}

fn of_ended(object: &StripeObject<'_>) -> Option<String> {
    let paths = ["/failure_message", "/failure_code"];
    let has_ended = matches!(object.status().as_deref(), Some("failed" | "canceled" | "reversed"));
    paths.iter().filter(|_| has_ended).find_map(|path| said(object, path))
}

/// The reason of the dispute, or why the amount that came back is unknown.
pub(super) fn of_reinstatement(dispute: &StripeObject<'_>) -> Option<String> {
    if let Some(why) = dispute::why_unknown(dispute) {
        return Some(format!("Collected unknown: {why}"));
    }
    said(dispute, "/reason")
}

/// The reason of a dispute, or what its `Collected` lacks.
pub(super) fn of_dispute(dispute: &StripeObject<'_>) -> Option<String> {
    if dispute::has_unknown_return(dispute) {
        return Some(format!("Collected lacks what came back: {}", dispute::IN_ANOTHER_CURRENCY));
    }
    said(dispute, "/reason")
}
/// What the customer must do for a payment (`next_action.type`), if it is a known step.
pub(super) fn of_next_action(payment: &StripeObject<'_>) -> Option<String> {
    let action = payment.text("/next_action/type")?;
    let what = match action.as_str() {
        "use_stripe_sdk" | "redirect_to_url" => "authenticate the payment",
        "display_bank_transfer_instructions" => return Some(send_funds(missing_funds(payment))),
        "verify_with_microdeposits" => "verify the bank account",
        action if action.ends_with("_display_details") => "pay with the voucher",
        _ => return None,
    };
    Some(format!("Customer: {what}"))
}

pub(super) fn of_missing_funds(payment: &StripeObject<'_>) -> Option<String> {
    Some(send_funds(Some(missing_funds(payment)?)))
}

fn send_funds(missing: Option<(i64, Currency)>) -> String {
    match missing {
        Some((minor, currency)) => {
            format!("Customer: send the remaining {} by bank transfer", Money::from_minor(minor, currency))
        }
        None => "Customer: send the amount by bank transfer".to_owned(),
    }
}

/// What paid an invoice beside the payment, and where its credit went. Its amount stays what was paid.
pub(super) fn of_settlement(invoice: &StripeObject<'_>) -> Option<String> {
    if invoice.status().as_deref() != Some("paid") {
        return None;
    }
    let currency = currency(invoice)?;
    // A credit is a negative balance.
    let balances = invoice.integer("/ending_balance").zip(invoice.integer("/starting_balance"));
    let from_balance = balances.and_then(|(ending, starting)| ending.checked_sub(starting));
    let parts = [
        ("From the customer's balance", from_balance),
        ("To the customer's balance", from_balance.and_then(i64::checked_neg)),
        ("Credit notes before payment", invoice.integer("/pre_payment_credit_notes_amount")),
        ("Credit notes after payment", invoice.integer("/post_payment_credit_notes_amount")),
    ];
    let parts: Vec<_> = parts
        .into_iter()
        .filter_map(|(what, minor)| Some((what, minor.filter(|minor| *minor > 0)?)))
        .map(|(what, minor)| format!("{what}: {}", Money::from_minor(minor, currency)))
        .collect();
    (!parts.is_empty()).then(|| parts.join("; "))
}

/// Why a subscription ends.
pub(super) fn of_subscription(subscription: &StripeObject<'_>) -> Option<String> {
    let mut reason = capitalised(&words(&subscription.text("/cancellation_details/reason")?));
    if let Some(feedback) = subscription.text("/cancellation_details/feedback") {
        reason = format!("{reason} ({})", words(&feedback));
    }
    if let Some(comment) = subscription.text("/cancellation_details/comment") {
        reason = format!("{reason}: {comment}");
    }
    Some(reason)
}

pub(super) fn of_declined_authorization(authorization: &StripeObject<'_>) -> Option<String> {
    let last = authorization.list("/request_history").next_back()?;
    last.get("reason")?.as_str().map(|code| capitalised(&words(code)))
}

pub(super) fn of_rejected_design(design: &StripeObject<'_>) -> Option<String> {
    let places = ["/rejection_reasons/card_logo", "/rejection_reasons/carrier_text"];
    let codes =
        places.iter().flat_map(|place| design.list(place)).filter_map(|code| code.as_str().map(words));
    let codes: Vec<_> = codes.collect();
    (!codes.is_empty()).then(|| capitalised(&codes.join(", ")))
}

pub(super) fn of_requirements(account: &StripeObject<'_>) -> Option<String> {
    let wanted = account.list("/requirements/currently_due").filter_map(|name| name.as_str().map(words));
    let wanted: Vec<_> = wanted.collect();
    (!wanted.is_empty()).then(|| format!("Merchant: provide {}", wanted.join(", ")))
}
