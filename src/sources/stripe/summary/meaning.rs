//! What each type of event says: one table.
//!
//! The first row whose types and condition match decides: the amount in the sense of the type, the outcome,
//! the reason, and how much of the customers' money the event moves. A type that Stripe adds later is in no row:
//! it never claims that a customer paid and never moves money.
//!
//! A thin event contains no object, so every path is empty there and every condition on the object is
//! false. Its type is matched without `v1.`, so it needs no rows of its own.
//!
//! Source: Stripe's list of event types and API reference (2026-10-28.endive). `tests/expectations` states
//! what the page of each type must show.

use super::figure::{
    self, Figure, Figured, captured_amount, is_open_charge, is_partly_refunded, is_refunded, refunded_change,
};
use super::movement::{self, Movement, OF_FAILED_CHARGE, OF_LAST_CAPTURE, OF_REFUND, is_of_uncaptured_money};
use super::reason::{self, Reason};
use super::{dispute, subscription};
use crate::domain::summary::EventOutcome;
use crate::sources::stripe::event_type::without_thin_prefix;
use crate::sources::stripe::object::StripeObject;

use EventOutcome::{
    ActionRequired, Canceled, Disputed, Failed, Info, Lost, Paid, PaidElsewhere, PartlyRefunded, PastDue,
    Payout, Refunded, Reversed, TopUp, Transfer, Won,
};
use Figure::{Computed, Nothing, Of, Percent, Usual, ZeroOf};
use Movement::{Minus, Plus, Still};
use Outcome::{ByStatus, Is};
use Reason::{Asks, First, Found, FoundOr, Says, Unsaid};

/// A row of the table.
pub(super) struct Row {
    /// The types, without `v1.`: alternatives between `|`, and `*` for any text.
    types: &'static str,
    /// What else must be true of the object.
    when: Condition,
    /// The amount in the sense of the type.
    pub(super) figure: Figure,
    outcome: Outcome,
    /// Why it failed, what was given as the reason, or who must act.
    reason: Reason,
    /// How the event changes what was collected from customers.
    pub(super) movement: Movement,
}

const NOT_IN_A_THIN_EVENT: &str = "Amount, customer and reason unknown: a thin event does not contain them";

type Condition = fn(&StripeObject<'_>) -> bool;

/// The outcome of a row.
enum Outcome {
    Is(EventOutcome),
    /// By the object's status, and for any other status the last one.
    ByStatus(&'static [(&'static str, EventOutcome)], EventOutcome),
}

impl Row {
    const fn when(self, when: Condition) -> Self {
        Self { when, ..self }
    }

    const fn because(self, reason: Reason) -> Self {
        Self { reason, ..self }
    }

    const fn moving(self, movement: Movement) -> Self {
        Self { movement, ..self }
    }

    /// The first row that matches, and otherwise the one for all unknown types.
    pub(super) fn of(object: &StripeObject<'_>) -> &'static Self {
        EVENTS
            .iter()
            .find(|row| is_among(object.event_type, row.types) && (row.when)(object))
            .unwrap_or(&UNKNOWN)
    }

    /// The reason for an object with this figure. If there is no other, it is why something is unknown.
    pub(super) fn reason(&self, object: &StripeObject<'_>, figure: Option<&Figured>) -> Option<String> {
        self.reason.read(object).or_else(|| match (&self.figure, &self.reason) {
            (Nothing, Unsaid) => None,
            _ if object.is_thin() => Some(NOT_IN_A_THIN_EVENT.to_owned()),
            (Nothing, _) => None,
            _ => figure::why_unknown(object).filter(|_| figure.is_none()),
        })
    }

    /// The outcome for an object.
    pub(super) fn outcome(&self, object: &StripeObject<'_>) -> EventOutcome {
        match self.outcome {
            Is(outcome) => outcome,
            ByStatus(words, otherwise) => {
                let status = object.status().unwrap_or_default();
                words.iter().find(|(name, _)| *name == status).map_or(otherwise, |(_, outcome)| *outcome)
            }
        }
    }
}

/// Whether an event of this type may depend on other events.
pub(super) fn may_need_others(event_type: &str) -> bool {
    let is_it = |row: &Row| is_among(without_thin_prefix(event_type), row.types);
    EVENTS.iter().any(|row| matches!(row.movement, Movement::Moves { .. }) && is_it(row))
}

/// Whether a type is among alternatives such as `invoice.*|credit_note.created`.
fn is_among(event_type: &str, types: &str) -> bool {
    types.split('|').any(|pattern| fits(event_type, pattern))
}

fn fits(text: &str, pattern: &str) -> bool {
    // Most rows are ruled out by their first letter.
    if pattern
        .as_bytes()
        .first()
        .is_some_and(|first| *first != b'*' && text.as_bytes().first() != Some(first))
    {
        return false;
    }
    match pattern.split_once('*') {
        None => text == pattern,
        Some((before, after)) => text.strip_prefix(before).is_some_and(|rest| {
            let mut ends = rest.char_indices().map(|(place, _)| place).chain([rest.len()]);
            ends.any(|place| rest.get(place..).is_some_and(|rest| fits(rest, after)))
        }),
    }
}

/// A row without a condition and a reason, of events that move nothing.
const fn row(types: &'static str, figure: Figure, outcome: Outcome) -> Row {
    Row { types, when: always, figure, outcome, reason: Unsaid, movement: Still }
}

/// What an event says whose type is in no row: an amount if it has one, and nothing about money that moved.
const UNKNOWN: Row = row("*", Usual, Is(Info)).because(GIVEN);

const REFUND: &[(&str, EventOutcome)] = &[
    ("succeeded", Refunded),
    ("pending", Info),
    ("requires_action", ActionRequired),
    ("failed", Failed),
    ("canceled", Canceled),
];
const DISPUTE: &[(&str, EventOutcome)] = &[
    ("won", Won),
    ("lost", Lost),
    ("needs_response", Disputed),
    ("under_review", Disputed),
    ("prevented", Info),
    ("warning_needs_response", ActionRequired),
    ("warning_under_review", Info),
    ("warning_closed", Info),
    ("charge_refunded", Refunded),
];
const INVOICE: &[(&str, EventOutcome)] = &[("paid", Paid), ("void", Canceled), ("uncollectible", Failed)];
const SUBSCRIPTION: &[(&str, EventOutcome)] =
    &[("past_due", PastDue), ("unpaid", PastDue), ("canceled", Canceled), ("incomplete_expired", Canceled)];
const OWN_MONEY: &[(&str, EventOutcome)] =
    &[("failed", Failed), ("canceled", Canceled), ("reversed", Reversed)];
const ISSUING_DISPUTE: &[(&str, EventOutcome)] = &[("won", Won), ("lost", Lost), ("expired", Lost)];

const AMOUNT: Figure = Of("/amount");
const FAILURE: Reason = First(&["/failure_message", "/failure_code", "/failure_reason"]);
const GIVEN: Reason = First(&["/reason"]);
const REFUND_ACTION: Reason = Says("Customer: provide the details for the refund");
const REFUND_REASON: Reason = First(&["/failure_reason", "/reason"]);

/// The table. Types of one kind stand together, and a narrower row stands above a wider one.
const EVENTS: &[Row] = &[
    // Charges: customers' money. `Collected` has it here, in refunds and in disputes, and nowhere else.
    row("charge.succeeded", AMOUNT, Is(Info)).when(figure::has_no_capture),
    row("charge.succeeded", captured(), Is(Paid)).moving(Plus(captured_amount)),
    row("charge.captured", captured(), Is(Paid)).moving(OF_LAST_CAPTURE),
    row("charge.updated", AMOUNT, Is(Info)).when(is_open_charge),
    row("charge.updated", captured(), Is(Refunded)).when(is_refunded).moving(Plus(movement::of_capture)),
    row("charge.updated", captured(), Is(PartlyRefunded))
        .when(is_partly_refunded)
        .moving(Plus(movement::of_capture)),
    row("charge.updated", captured(), Is(Paid)).when(has_object).moving(Plus(movement::of_capture)),
    row("charge.refunded", ZeroOf("/amount"), Is(Canceled)).when(figure::has_no_capture),
    row("charge.refunded", captured(), Is(Paid)).when(only_releases),
    row("charge.refunded", Computed(refunded_change), Is(PartlyRefunded)).when(is_partly_refunded),
    row("charge.refunded", Computed(refunded_change), Is(Refunded)),
    // Of several captures the last may never come: then what was captured stays.
    row("charge.expired", captured(), Is(Refunded)).when(is_refunded),
    row("charge.expired", captured(), Is(PartlyRefunded)).when(is_partly_refunded),
    row("charge.expired", captured(), Is(Paid)).when(has_captures),
    row("charge.expired", ZeroOf("/amount"), Is(Canceled)),
    row("charge.failed", AMOUNT, Is(Failed)).because(FAILURE).moving(OF_FAILED_CHARGE),
    row("charge.pending", AMOUNT, Is(Info)),
    // Refunds. Versions before Basil also create them for money that was never captured.
    row("refund.created", AMOUNT, Is(Canceled)).when(is_of_uncaptured_money).because(GIVEN),
    row("refund.created", AMOUNT, Is(ActionRequired))
        .when(requires_action)
        .because(REFUND_ACTION)
        .moving(OF_REFUND),
    row("refund.created", AMOUNT, ByStatus(REFUND, Refunded)).because(REFUND_REASON).moving(OF_REFUND),
    row("refund.failed", AMOUNT, Is(Canceled)).when(is_canceled).because(REFUND_REASON),
    row("refund.failed", AMOUNT, Is(Failed)).when(is_of_uncaptured_money).because(REFUND_REASON),
    row("refund.failed", AMOUNT, Is(Failed)).because(REFUND_REASON).moving(Plus(amount)),
    row("refund.updated", AMOUNT, Is(Canceled))
        .when(becomes_canceled)
        .because(REFUND_REASON)
        .moving(Plus(movement::of_canceled_refund)),
    row("refund.*|charge.refund.updated", AMOUNT, Is(ActionRequired))
        .when(requires_action)
        .because(REFUND_ACTION),
    row("refund.*|charge.refund.updated", AMOUNT, ByStatus(REFUND, Info)).because(REFUND_REASON),
    // Disputes. An inquiry and a prevented dispute move no money.
    row("charge.dispute.*", AMOUNT, Is(ActionRequired))
        .when(is_open_inquiry)
        .because(Asks("Merchant: answer the inquiry", "/reason")),
    row("charge.dispute.funds_withdrawn", AMOUNT, ByStatus(DISPUTE, Disputed))
        .because(GIVEN)
        .moving(Minus(amount)),
    row("charge.dispute.funds_reinstated", AMOUNT, ByStatus(DISPUTE, Info))
        .because(Found(reason::of_reinstatement))
        .moving(Plus(dispute::of_reinstatement)),
    row("charge.dispute.created", AMOUNT, ByStatus(DISPUTE, Disputed)).because(GIVEN),
    row("charge.dispute.*", AMOUNT, ByStatus(DISPUTE, Info)).because(Found(reason::of_dispute)),
    row("charge.*", AMOUNT, Is(Info)),
    // Payments and checkouts repeat what charges say.
    row("payment_intent.succeeded", Computed(figure::received), Is(Paid)),
    row("payment_intent.payment_failed", AMOUNT, Is(Failed)).because(reason::PAYMENT_ERROR),
    row("payment_intent.canceled", AMOUNT, Is(Canceled)).because(First(&["/cancellation_reason"])),
    row("payment_intent.requires_action", AMOUNT, Is(ActionRequired))
        .because(FoundOr(reason::of_next_action, "Customer: complete the next step of the payment")),
    row("payment_intent.partially_funded", Computed(figure::funded), Is(ActionRequired))
        .because(FoundOr(reason::of_missing_funds, "Customer: send the rest by bank transfer")),
    row("payment_intent.amount_capturable_updated", Computed(figure::capturable), Is(ActionRequired))
        .because(Says("Merchant: capture or cancel the authorized amount")),
    row("payment_intent.*", AMOUNT, Is(Info)),
    row("checkout.session.async_payment_succeeded", Of("/amount_total"), Is(Paid)),
    row("checkout.session.async_payment_failed", Of("/amount_total"), Is(Failed))
        .because(reason::PAYMENT_ERROR),
    row("checkout.session.expired", Of("/amount_total"), Is(Canceled)),
    row("checkout.session.*", Of("/amount_total"), Is(Paid)).when(is_paid_session),
    row("checkout.session.*", Of("/amount_total"), Is(Info)),
    // Invoices: what was paid, otherwise what remains.
    row("invoice.overdue", invoice(), Is(PastDue)),
    row("invoice.payment_failed", invoice(), Is(Failed)).because(reason::PAYMENT_ERROR),
    row("invoice.finalization_failed", invoice(), Is(Failed))
        .because(First(&["/last_finalization_error/message", "/last_finalization_error/code"])),
    row("invoice.marked_uncollectible", invoice(), Is(Failed))
        .because(First(&["/status_details/uncollectible/reason"])),
    row("invoice.voided|invoice.deleted", invoice(), Is(Canceled)),
    row("invoice.payment_action_required", invoice(), Is(ActionRequired))
        .because(Says("Customer: authenticate the payment")),
    row("invoice.payment_attempt_required", invoice(), Is(ActionRequired))
        .because(Says("Merchant: collect the payment outside Stripe")),
    row("invoice.overpaid", Of("/amount_overpaid"), Is(Paid)),
    row("invoice.*", invoice(), Is(PaidElsewhere)).when(is_paid_outside_stripe),
    row("invoice.paid|invoice.payment_succeeded", invoice(), Is(Paid)).because(Found(reason::of_settlement)),
    row("invoice.*", invoice(), ByStatus(INVOICE, Info)).because(Found(reason::of_settlement)),
    row("invoice_payment.paid", Of("/amount_paid"), Is(PaidElsewhere)).when(is_payment_record),
    row("invoice_payment.paid", Of("/amount_paid"), Is(Paid)),
    row("invoice_payment.*canceled", Of("/amount_requested"), Is(Canceled)),
    row("invoice_payment.*", Of("/amount_paid"), Is(Info)),
    // Subscriptions and the catalog: a price for each interval.
    row(
        "customer.subscription.deleted|customer.subscription.incomplete_expired",
        subscription(),
        Is(Canceled),
    )
    .because(Found(reason::of_subscription)),
    row("customer.subscription.past_due|customer.subscription.unpaid", subscription(), Is(PastDue))
        .because(Found(reason::of_subscription)),
    row("customer.subscription.*", subscription(), ByStatus(SUBSCRIPTION, Info))
        .because(Found(reason::of_subscription)),
    row("subscription_schedule.aborted", Nothing, Is(Canceled)),
    row("price.*|plan.*", Computed(subscription::price), Is(Info)),
    row("coupon.*", Percent("/percent_off", " off"), Is(Info)).when(has_percent_off),
    row("coupon.*", Of("/amount_off"), Is(Info)),
    row("tax_rate.*", Computed(figure::flat_amount), Is(Info)).when(is_flat_rate),
    row("tax_rate.*", Percent("/percentage", ""), Is(Info)),
    // The account's own money: never a customer's payment.
    row("payout.failed", AMOUNT, Is(Failed)).because(FAILURE),
    row("payout.canceled", AMOUNT, Is(Canceled)),
    row("payout.*", AMOUNT, ByStatus(OWN_MONEY, Payout)).because(reason::OF_ENDED),
    row("topup.reversed", AMOUNT, Is(Reversed)),
    row("topup.failed", AMOUNT, Is(Failed)).because(FAILURE),
    row("topup.canceled", AMOUNT, Is(Canceled)),
    row("topup.*", AMOUNT, ByStatus(OWN_MONEY, TopUp)).because(reason::OF_ENDED),
    row("transfer.reversed", Computed(figure::reversed_change), Is(Reversed)),
    row("transfer.*", AMOUNT, Is(Transfer)),
    row("application_fee.refunded", Computed(figure::refunded_fee_change), Is(PartlyRefunded))
        .when(is_partly_refunded_fee),
    row("application_fee.refunded", Computed(figure::refunded_fee_change), Is(Refunded)),
    row("application_fee.refund.updated", AMOUNT, Is(Refunded)),
    row("balance.available", Computed(figure::available), Is(Info)),
    row("cash_balance.funds_available", Computed(figure::available_cash), Is(Info)),
    row("customer_cash_balance_transaction.*", Of("/net_amount"), Is(Info)),
    row("billing.credit_grant.*", Computed(figure::credit_grant), Is(Info)),
    row("billing.credit_balance_transaction.*", Computed(figure::credit_transaction), Is(Info)),
    row("reserve.plan.*", Percent("/percent", ""), Is(Info)),
    row("climate.product.*", Computed(figure::price_of_a_ton), Is(Info)),
    // Treasury and money management.
    row("treasury.financial_account.closed", Nothing, Is(Info))
        .because(First(&["/status_details/closed/reasons/0"])),
    row("treasury.financial_account.*", Nothing, Is(Info)),
    row("treasury.credit_reversal.posted|treasury.debit_reversal.completed", AMOUNT, Is(Reversed)),
    row("treasury.credit_reversal.*|treasury.debit_reversal.*", AMOUNT, Is(Info)),
    row("treasury.*.failed", AMOUNT, Is(Failed)).because(First(&["/failure_details/code", "/failure_code"])),
    row("treasury.*.canceled", AMOUNT, Is(Canceled)),
    row("treasury.*.returned", AMOUNT, Is(Reversed)).because(First(&["/returned_details/code"])),
    row("treasury.*", AMOUNT, Is(Transfer)),
    row("v2.money_management.payout_intent.requires_action", Nothing, Is(ActionRequired))
        .because(Says("Merchant: see at Stripe what the payout requires")),
    row("v2.money_management.payout_intent.canceled", Nothing, Is(Canceled)),
    row("v2.money_management.payout_intent.*failed", Nothing, Is(Failed)),
    row("v2.money_management.payout_intent.*", Nothing, Is(Payout)),
    row("v2.money_management.*returned", Nothing, Is(Reversed)).when(is_money_movement),
    row("v2.money_management.*failed", Nothing, Is(Failed)).when(is_money_movement),
    row("v2.money_management.*.canceled", Nothing, Is(Canceled)).when(is_money_movement),
    row("v2.money_management.*", Nothing, Is(Transfer)).when(is_money_movement),
    // Issuing: this account's own purchases.
    row("issuing_authorization.request", Computed(figure::requested), Is(Info)),
    row("issuing_authorization.*", AMOUNT, Is(Failed))
        .when(is_declined)
        .because(Found(reason::of_declined_authorization)),
    row("issuing_dispute.closed", AMOUNT, ByStatus(ISSUING_DISPUTE, Info))
        .because(First(&["/evidence/reason"])),
    row("issuing_dispute.*", AMOUNT, Is(Info)).because(First(&["/evidence/reason"])),
    row("issuing_personalization_design.rejected", Nothing, Is(Failed))
        .because(Found(reason::of_rejected_design)),
    // Setups, identity, fraud, accounts.
    row("setup_intent.requires_action", Nothing, Is(ActionRequired))
        .because(Says("Customer: complete the authentication")),
    row("setup_intent.setup_failed", Nothing, Is(Failed)).because(First(&[
        "/last_setup_error/message",
        "/last_setup_error/decline_code",
        "/last_setup_error/code",
    ])),
    row("setup_intent.canceled", Nothing, Is(Canceled)).because(First(&["/cancellation_reason"])),
    row("source.refund_attributes_required", AMOUNT, Is(ActionRequired))
        .because(Says("Customer: provide the details for the refund")),
    row("source.mandate_notification", Computed(figure::notified), Is(Info)).because(GIVEN),
    row("three_d_secure.authentication.errored|three_d_secure.authentication.failed", AMOUNT, Is(Failed))
        .because(First(&["/outcome_details/reason", "/outcome"])),
    row(
        "three_d_secure.authentication.requires_challenge|three_d_secure.authentication.challenge_started",
        AMOUNT,
        Is(ActionRequired),
    )
    .because(Says("Customer: complete the 3D Secure challenge")),
    row("three_d_secure.authentication.requires_submission", AMOUNT, Is(ActionRequired))
        .because(Says("Merchant: submit the authentication")),
    row("identity.verification_session.requires_input", Nothing, Is(ActionRequired))
        .because(Asks("Customer: provide the verification details", "/last_error/code")),
    row("radar.early_fraud_warning.*", Nothing, Is(ActionRequired))
        .when(is_actionable)
        .because(Asks("Merchant: decide on a refund before a dispute", "/fraud_type")),
    row("review.opened", Nothing, Is(ActionRequired))
        .because(Asks("Merchant: approve or refund the payment", "/reason")),
    row("review.closed", Nothing, Is(Info)).because(First(&["/closed_reason", "/reason"])),
    row("account.updated|capability.updated", Nothing, Is(ActionRequired))
        .when(has_requirements)
        .because(Found(reason::of_requirements)),
    row("financial_connections.*", Nothing, Is(ActionRequired))
        .when(must_be_relinked)
        .because(Says("Customer: reconnect the bank account")),
    row("terminal.reader.action_failed", Nothing, Is(Failed))
        .because(First(&["/action/failure_message", "/action/failure_code"])),
    row("test_helpers.test_clock.internal_failure", Nothing, Is(Failed)),
    // Endings that mean the same of everything, and of types that Stripe adds later.
    row("*failed", Usual, Is(Failed)).because(First(&[
        "/failure_message",
        "/failure_code",
        "/failure_reason",
        "/error/message",
        "/error",
    ])),
    row("*canceled|*voided", Usual, Is(Canceled)).because(GIVEN),
    row("*.requires_*|*_required", Usual, Is(ActionRequired))
        .because(Asks("Merchant: see at Stripe who must do what", "/reason")),
    row("*reversed", Usual, Is(Reversed)).because(GIVEN),
    // What has an amount and moves nothing.
    row("invoiceitem.*|credit_note.*|quote.*|application_fee.*|source.*", Usual, Is(Info)).because(GIVEN),
    row("issuing_authorization.*|issuing_transaction.*|climate.order.*|three_d_secure.*", Usual, Is(Info)),
    row("reserve.hold.*|reserve.release.*", Usual, Is(Info)).because(GIVEN),
    // What has no amount.
    row("customer.*|person.*|account.*|capability.*|mandate.*|payment_method.*", Nothing, Is(Info)),
    row(
        "product.*|payment_link.*|promotion_code.*|subscription_schedule.*|setup_intent.*",
        Nothing,
        Is(Info),
    ),
    row(
        "billing.alert.*|billing.meter.*|billing_portal.*|entitlements.*|balance_settings.*",
        Nothing,
        Is(Info),
    ),
    row(
        "issuing_card.*|issuing_cardholder.*|issuing_personalization_design.*|issuing_token.*",
        Nothing,
        Is(Info),
    ),
    row("identity.*|radar.*|financial_connections.*|terminal.*|apps.*|file.*", Nothing, Is(Info)),
    row("reporting.*|sigma.*|tax.settings.*|test_helpers.*", Nothing, Is(Info)),
    row("v2.core.*|v2.commerce.*|v2.money_management.*", Nothing, Is(Info)),
];

const fn captured() -> Figure {
    Computed(figure::captured)
}

const fn invoice() -> Figure {
    Computed(figure::of_invoice)
}

const fn subscription() -> Figure {
    Computed(subscription::of_subscription)
}

fn always(_: &StripeObject<'_>) -> bool {
    true
}

fn has_object(object: &StripeObject<'_>) -> bool {
    object.is_snapshot
}

fn amount(object: &StripeObject<'_>) -> Option<i64> {
    object.integer("/amount")
}

fn has_captures(charge: &StripeObject<'_>) -> bool {
    charge.integer("/amount_captured").is_some_and(|captured| captured > 0)
}

/// Versions before Basil report money that was never captured as refunded.
fn only_releases(charge: &StripeObject<'_>) -> bool {
    figure::refunded_now(charge) == Some(0)
}

fn is_canceled(object: &StripeObject<'_>) -> bool {
    object.status().as_deref() == Some("canceled")
}

fn becomes_canceled(refund: &StripeObject<'_>) -> bool {
    let before = refund.previous_text("status");
    is_canceled(refund) && before.is_some_and(|status| status != "canceled")
}

fn requires_action(refund: &StripeObject<'_>) -> bool {
    refund.status().as_deref() == Some("requires_action")
}

fn is_open_inquiry(dispute: &StripeObject<'_>) -> bool {
    dispute.status().as_deref() == Some("warning_needs_response")
}

fn is_paid_session(session: &StripeObject<'_>) -> bool {
    session.text("/payment_status").as_deref() == Some("paid")
}

/// All that was paid came in elsewhere. Versions before Basil have a flag for it.
fn is_paid_outside_stripe(invoice: &StripeObject<'_>) -> bool {
    let elsewhere = invoice.integer("/amount_paid_off_stripe").zip(invoice.integer("/amount_paid"));
    let all_of_it = elsewhere.is_some_and(|(elsewhere, paid)| paid > 0 && elsewhere >= paid);
    invoice.status().as_deref() == Some("paid") && (all_of_it || invoice.is("/paid_out_of_band"))
}

fn is_payment_record(payment: &StripeObject<'_>) -> bool {
    payment.text("/payment/type").as_deref() == Some("payment_record")
}

fn has_percent_off(coupon: &StripeObject<'_>) -> bool {
    coupon.value.pointer("/percent_off").is_some_and(serde_json::Value::is_number)
}

fn is_flat_rate(rate: &StripeObject<'_>) -> bool {
    rate.text("/rate_type").as_deref() == Some("flat_amount")
}

fn is_partly_refunded_fee(fee: &StripeObject<'_>) -> bool {
    fee.integer("/amount_refunded").zip(amount(fee)).is_some_and(|(refunded, all)| refunded < all)
}

fn is_money_movement(object: &StripeObject<'_>) -> bool {
    const KINDS: &str = "v2.money_management.inbound_transfer.*|v2.money_management.outbound_payment.*\
                         |v2.money_management.outbound_transfer.*|v2.money_management.received_credit.*\
                         |v2.money_management.received_debit.*";
    is_among(object.event_type, KINDS)
}

fn is_declined(authorization: &StripeObject<'_>) -> bool {
    authorization.is_not("/approved") && authorization.status().as_deref() == Some("closed")
}

fn is_actionable(warning: &StripeObject<'_>) -> bool {
    warning.is("/actionable")
}

fn has_requirements(account: &StripeObject<'_>) -> bool {
    account.list("/requirements/currently_due").next().is_some()
}

fn must_be_relinked(account: &StripeObject<'_>) -> bool {
    account.text("/status_details/active/action").as_deref() == Some("relink_required")
}

#[cfg(test)]
mod tests;
