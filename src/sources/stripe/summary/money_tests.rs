//! Cases of money that are easily got wrong and that no recorded event has. The values are from Stripe's
//! documentation.

use super::*;
use crate::domain::event::{EventFacts, EventKey};
use chrono::DateTime;
use serde_json::json;

const BEFORE_BASIL: &str = "2024-06-20";
const SINCE_BASIL: &str = "2025-03-31.basil";

/// An event about an object that was different before.
pub(super) struct Case {
    event_type: &'static str,
    object: Value,
    previous: Value,
    version: &'static str,
    request: Option<&'static str>,
}

impl Case {
    fn stored(&self) -> StoredEvent {
        let mut object = self.object.clone();
        object.as_object_mut().expect("an object").entry("currency").or_insert(json!("usd"));
        let payload = json!({
            "id": "evt_1", "type": self.event_type, "api_version": self.version, "created": 1_764_000_000,
            "request": {"id": self.request},
            "data": {"object": object, "previous_attributes": self.previous},
        });
        StoredEvent {
            key: EventKey(1),
            source: "stripe".to_owned(),
            event_id: "evt_1".to_owned(),
            facts: EventFacts { event_type: self.event_type.to_owned(), ..EventFacts::default() },
            carries_state: true,
            received_at: DateTime::UNIX_EPOCH,
            payload: payload.to_string().into(),
        }
    }

    pub(super) fn read(&self) -> EventSummary {
        summarize(&self.stored(), &[])
    }
}

pub(super) fn event(event_type: &'static str, object: Value, previous: Value) -> Case {
    Case { event_type, object, previous, version: SINCE_BASIL, request: None }
}

fn old(event_type: &'static str, object: Value, previous: Value) -> Case {
    Case { version: BEFORE_BASIL, ..event(event_type, object, previous) }
}

/// The outcome, the figure in the title, and the movement.
fn said(case: &Case) -> (&'static str, String, Option<i64>) {
    let summary = case.read();
    let figure = summary.title.split(" · ").nth(1).unwrap_or_default().to_owned();
    (summary.outcome.as_str(), figure, summary.collected.and_then(|money| money.minor()))
}

fn charge(amount: i64, captured: i64, refunded: i64) -> Value {
    json!({
        "object": "charge", "id": "ch_1", "status": "succeeded", "captured": captured > 0, "amount": amount,
        "amount_captured": captured, "amount_refunded": refunded, "refunded": refunded > 0 && refunded >= captured,
    })
}

#[test]
fn a_charge_says_what_was_captured_and_what_went_back() {
    let none = json!({});
    for (case, outcome, figure, collected) in [
        (event("charge.succeeded", charge(4999, 0, 0), none.clone()), "Info", "USD 49.99", None),
        (
            event("charge.captured", charge(10_000, 6_000, 0), none.clone()),
            "Paid",
            "USD 60.00 of 100.00",
            Some(6_000),
        ),
        (
            old("charge.captured", charge(10_000, 6_000, 4_000), none.clone()),
            "Paid",
            "USD 60.00 of 100.00",
            Some(6_000),
        ),
        (
            event("charge.updated", charge(10_000, 10_000, 0), json!({"amount_captured": 6_000})),
            "Paid",
            "USD 100.00",
            Some(4_000),
        ),
        // The first of several captures leaves the charge marked as not captured.
        (
            event(
                "charge.updated",
                json!({"object": "charge", "status": "succeeded", "captured": false, "amount": 10_000, "amount_captured": 6_000, "amount_refunded": 0}),
                json!({"amount_captured": null}),
            ),
            "Paid",
            "USD 60.00 of 100.00",
            Some(6_000),
        ),
        (
            old(
                "charge.refunded",
                json!({"object": "charge", "status": "succeeded", "captured": false, "amount": 4_999, "amount_captured": 0, "amount_refunded": 4_999, "refunded": true}),
                none.clone(),
            ),
            "Canceled",
            "USD 0.00 of 49.99",
            None,
        ),
        (
            old("charge.refunded", charge(10_000, 6_000, 4_000), json!({"amount_refunded": 0})),
            "Paid",
            "USD 60.00 of 100.00",
            None,
        ),
        (
            old("charge.refunded", charge(10_000, 6_000, 5_500), json!({"amount_refunded": 4_000})),
            "Partly refunded",
            "USD 15.00 of 100.00",
            None,
        ),
        (
            event("charge.refunded", charge(10_000, 6_000, 1_000), json!({"amount_refunded": 0})),
            "Partly refunded",
            "USD 10.00 of 100.00",
            None,
        ),
        (
            event("charge.refunded", charge(10_000, 6_000, 6_000), json!({"amount_refunded": 1_000})),
            "Refunded",
            "USD 50.00 of 100.00",
            None,
        ),
    ] {
        assert_eq!(
            said(&case),
            (outcome, figure.to_owned(), collected),
            "{} {}",
            case.event_type,
            case.object
        );
    }
}

/// A charge of 100.00 with captures, of which the last is still to come.
fn captured_in_part(captured: i64, refunded: i64) -> Value {
    json!({
        "object": "charge", "id": "ch_1", "status": "succeeded", "captured": false, "amount": 10_000,
        "amount_captured": captured, "amount_refunded": refunded, "refunded": false,
    })
}

#[test]
fn a_refund_before_the_last_capture_gives_back_what_was_captured() {
    for (refunded, before, outcome, figure) in [
        (2_000, 0, "Partly refunded", "USD 20.00 of 100.00"),
        (5_000, 2_000, "Partly refunded", "USD 30.00 of 100.00"),
        (6_000, 5_000, "Refunded", "USD 10.00 of 100.00"),
    ] {
        let previous = json!({ "amount_refunded": before });
        for case in [
            event("charge.refunded", captured_in_part(6_000, refunded), previous.clone()),
            old("charge.refunded", captured_in_part(6_000, refunded), previous),
        ] {
            assert_eq!(said(&case), (outcome, figure.to_owned(), None), "{} {}", case.version, case.object);
        }
    }
}

#[test]
fn a_rest_that_is_released_after_a_refund_is_told_apart_from_it_by_the_version() {
    let previous = || json!({"amount_refunded": 1_000});
    // 10.00 went back between the captures, and the last one released 40.00.
    let released = old("charge.refunded", charge(10_000, 6_000, 5_000), previous());
    assert_eq!(said(&released), ("Paid", "USD 60.00 of 100.00".to_owned(), None));
    let refunded = event("charge.refunded", charge(10_000, 6_000, 5_000), previous());
    assert_eq!(said(&refunded), ("Partly refunded", "USD 40.00 of 100.00".to_owned(), None));
    let later = old("charge.refunded", charge(10_000, 6_000, 6_500), json!({"amount_refunded": 5_000}));
    assert_eq!(said(&later), ("Partly refunded", "USD 15.00 of 100.00".to_owned(), None));
}

#[test]
fn an_authorization_that_expires_after_a_capture_leaves_what_was_captured() {
    for (captured, refunded, outcome, figure) in [
        (0, 0, "Canceled", "USD 0.00 of 100.00"),
        (6_000, 0, "Paid", "USD 60.00 of 100.00"),
        (6_000, 2_000, "Partly refunded", "USD 60.00 of 100.00"),
        (6_000, 6_000, "Refunded", "USD 60.00 of 100.00"),
    ] {
        let case = event("charge.expired", captured_in_part(captured, refunded), json!({}));
        assert_eq!(said(&case), (outcome, figure.to_owned(), None), "{captured} {refunded}");
    }
    // Before Basil, what was never captured counts as refunded.
    let case = old("charge.expired", captured_in_part(6_000, 4_000), json!({}));
    assert_eq!(said(&case), ("Paid", "USD 60.00 of 100.00".to_owned(), None));
}

#[test]
fn what_was_released_is_decided_by_the_event_itself_before_its_api_version() {
    for (event_type, previous, refunded, expected) in [
        // Nothing can be refunded before the capture, so this is the rest.
        ("charge.captured", json!({}), 4_000, 0),
        // A release counts before any refund does: a smaller earlier value has none.
        ("charge.refunded", json!({"amount_refunded": 1_000}), 5_500, 5_500),
        ("charge.refunded", json!({"amount_refunded": 0}), 5_500, 5_500),
    ] {
        for version in [BEFORE_BASIL, SINCE_BASIL] {
            let object = charge(10_000, 6_000, refunded);
            let summary = Case { version, ..event(event_type, object, previous.clone()) }.read();
            let found = summary.object.amount_refunded.and_then(|money| money.minor());
            assert_eq!(found, Some(expected), "{event_type} {previous} {version}");
        }
    }
    // Nothing in these bodies decides: the version does.
    for previous in [json!({}), json!({"amount_refunded": 4_500})] {
        let refunded = |case: Case| case.read().object.amount_refunded.and_then(|money| money.minor());
        let object = || charge(10_000, 6_000, 5_500);
        assert_eq!(refunded(old("charge.updated", object(), previous.clone())), Some(1_500));
        assert_eq!(refunded(event("charge.updated", object(), previous)), Some(5_500));
    }
}

#[test]
fn an_amount_in_no_currency_that_we_can_name_does_not_turn_a_refund_into_a_payment() {
    let mut object = charge(4_999, 4_999, 4_999);
    object["currency"] = json!("usdc");
    let summary = event("charge.refunded", object, json!({"amount_refunded": 0})).read();
    assert_eq!((summary.outcome.as_str(), summary.amount), ("Refunded", None));
}

#[test]
fn a_bank_payment_that_failed_takes_away_what_was_counted_only() {
    let failed = json!({
        "object": "charge", "id": "py_1", "status": "failed", "amount": 4_999, "failure_balance_transaction": "txn_2",
    });
    let failed = event("charge.failed", failed, json!({})).stored();
    let collected =
        |related: &[StoredEvent]| summarize(&failed, related).collected.and_then(|money| money.minor());
    let earlier =
        |event_type| event(event_type, json!({"object": "charge", "id": "py_1"}), json!({})).stored();
    assert_eq!(related_object(&failed).as_deref(), Some("py_1"));
    assert_eq!(collected(&[earlier("charge.pending")]), None, "it never arrived");
    assert_eq!(collected(&[earlier("charge.pending"), earlier("charge.succeeded")]), Some(-4_999));
    assert_eq!(collected(&[]), Some(-4_999), "nothing is known of it");
}

#[test]
fn the_last_of_several_captures_counts_what_the_others_have_not() {
    let last = event("charge.captured", charge(10_000, 10_000, 0), json!({})).stored();
    let collected =
        |related: &[StoredEvent]| summarize(&last, related).collected.and_then(|money| money.minor());
    let update = |captured, previous| event("charge.updated", charge(10_000, captured, 0), previous).stored();
    let part = || update(6_000, json!({"amount_captured": 0}));
    assert_eq!(related_object(&last).as_deref(), Some("ch_1"));
    assert_eq!(collected(&[]), Some(10_000));
    assert_eq!(collected(&[part()]), Some(4_000));
    let later = update(10_000, json!({"metadata": {}}));
    assert_eq!(collected(&[part(), later]), Some(4_000), "an update that counted nothing changes nothing");
}

#[test]
fn only_an_event_that_needs_others_asks_for_them() {
    let charge_with = |field: &str, value: Value| {
        let mut object = charge(10_000, 6_000, 0);
        object[field] = value;
        object
    };
    let refund = |transaction: Value| {
        json!({
            "object": "refund", "id": "re_1", "status": "succeeded", "amount": 1_500, "charge": "ch_1",
            "balance_transaction": transaction,
        })
    };
    let none = || json!({});
    for (case, needed) in [
        (event("charge.captured", charge(10_000, 6_000, 0), none()), Some("ch_1")),
        (event("charge.captured", charge(10_000, 6_000, 0), json!({"amount_captured": 0})), None),
        (event("charge.failed", charge(10_000, 0, 0), none()), None),
        (
            event("charge.failed", charge_with("failure_balance_transaction", json!("txn_1")), none()),
            Some("ch_1"),
        ),
        (event("v1.refund.created", refund(json!("txn_1")), none()), Some("ch_1")),
        (event("refund.created", refund(Value::Null), none()), None),
        (event("refund.failed", refund(json!("txn_1")), none()), None),
        (event("charge.succeeded", charge(10_000, 6_000, 0), none()), None),
    ] {
        assert_eq!(related_object(&case.stored()).as_deref(), needed, "{} {}", case.event_type, case.object);
    }
}

#[test]
fn a_refund_counts_when_it_is_created_and_back_when_it_ends() {
    let refund = |status: &str, transaction: Value| {
        json!({
            "object": "refund", "id": "re_1", "status": status, "amount": 1_500, "charge": "ch_1",
            "balance_transaction": transaction,
        })
    };
    let real = || json!("txn_1");
    for (case, outcome, collected) in [
        (event("refund.created", refund("succeeded", real()), json!({})), "Refunded", Some(-1_500)),
        (old("refund.created", refund("succeeded", Value::Null), json!({})), "Canceled", None),
        (event("refund.created", refund("pending", Value::Null), json!({})), "Info", Some(-1_500)),
        (
            event("refund.created", refund("requires_action", real()), json!({})),
            "Action required",
            Some(-1_500),
        ),
        // `refund.failed` gives it back.
        (event("refund.created", refund("failed", real()), json!({})), "Failed", Some(-1_500)),
        (
            event("refund.updated", refund("canceled", real()), json!({"status": "requires_action"})),
            "Canceled",
            Some(1_500),
        ),
        (event("refund.updated", refund("canceled", real()), json!({"metadata": {}})), "Canceled", None),
        (
            event("refund.updated", refund("succeeded", real()), json!({"status": "pending"})),
            "Refunded",
            None,
        ),
        (event("refund.updated", refund("failed", real()), json!({"status": "pending"})), "Failed", None),
        (event("refund.failed", refund("failed", real()), json!({})), "Failed", Some(1_500)),
        (event("refund.failed", refund("canceled", real()), json!({})), "Canceled", None),
    ] {
        let (found, _, moved) = said(&case);
        assert_eq!((found, moved), (outcome, collected), "{} {}", case.event_type, case.object);
    }
}

#[test]
fn the_uncaptured_rest_of_a_capture_is_no_refund() {
    let refund = json!({
        "object": "refund", "status": "succeeded", "amount": 4_000, "charge": "ch_1", "balance_transaction": "txn_1",
    });
    let refund = Case { request: Some("req_1"), ..old("refund.created", refund, json!({})) }.stored();
    assert_eq!(related_object(&refund).as_deref(), Some("ch_1"));
    let capture = |request| {
        Case { request, ..old("charge.captured", charge(10_000, 6_000, 4_000), json!({})) }.stored()
    };
    let collected =
        |related: &[StoredEvent]| summarize(&refund, related).collected.and_then(|money| money.minor());
    assert_eq!(collected(&[capture(Some("req_1"))]), None);
    assert_eq!(collected(&[capture(Some("req_2"))]), Some(-4_000), "another request is another refund");
    assert_eq!(collected(&[capture(None)]), Some(-4_000));
    let update = |previous: Value| {
        let update = old("charge.updated", charge(10_000, 6_000, 4_000), previous);
        Case { request: Some("req_1"), ..update }.stored()
    };
    assert_eq!(collected(&[update(json!({"amount_captured": 2_000}))]), None, "the last of several captures");
    for previous in [json!({}), json!({"amount_refunded": 0}), json!({"amount_captured": 6_000})] {
        assert_eq!(collected(&[update(previous.clone())]), Some(-4_000), "{previous} is no capture");
    }
}

#[test]
fn an_invoice_says_what_came_from_the_customers_balance_and_what_went_there() {
    let paid = |total: i64, paid: i64, starting: i64, ending: i64| {
        let invoice = json!({
            "object": "invoice", "number": "7", "status": "paid", "total": total, "amount_paid": paid,
            "starting_balance": starting, "ending_balance": ending,
        });
        event("invoice.paid", invoice, json!({})).read().reason
    };
    let to = |sum: &str| Some(format!("To the customer's balance: USD {sum}"));
    // A credit is a negative balance.
    assert_eq!(paid(-1_000, 0, 0, -1_000), to("10.00"));
    assert_eq!(paid(-1_000, 0, -500, -1_500), to("10.00"));
    // The invoice settles what the customer owed.
    assert_eq!(paid(1_000, 1_200, 200, 0), to("2.00"));
    assert_eq!(paid(1_000, 0, -5_000, -4_000), Some("From the customer's balance: USD 10.00".to_owned()));
    assert_eq!(paid(1_000, 1_000, -300, -300), None);
    assert_eq!(paid(1_000, 1_000, 1, i64::MIN), None, "no such balance");
    assert_eq!(paid(1_000, 1_000, 0, i64::MIN), None, "no such balance");
}

#[test]
fn an_invoice_says_what_remains_and_one_that_was_paid_elsewhere_says_so() {
    let open = json!({"object": "invoice", "number": "7", "status": "open", "total": 10_000, "amount_remaining": 6_000});
    assert_eq!(
        said(&event("invoice.overdue", open, json!({}))),
        ("Past due", "USD 60.00 of 100.00".to_owned(), None)
    );
    let elsewhere = json!({
        "object": "invoice", "number": "7", "status": "paid", "total": 100, "amount_paid": 100, "paid_out_of_band": true,
    });
    let summary = old("invoice.paid", elsewhere, json!({})).read();
    assert_eq!(summary.outcome.as_str(), "Paid outside Stripe");
    assert_eq!(summary.title, "Invoice 7 paid outside Stripe · USD 1.00");
}

#[test]
fn a_payment_that_waits_for_its_customer_says_for_what() {
    for (action, reason) in [
        ("use_stripe_sdk", "Customer: authenticate the payment"),
        ("redirect_to_url", "Customer: authenticate the payment"),
        ("verify_with_microdeposits", "Customer: verify the bank account"),
        ("boleto_display_details", "Customer: pay with the voucher"),
        ("display_bank_transfer_instructions", "Customer: send the amount by bank transfer"),
        ("something_new", "Customer: complete the next step of the payment"),
        ("", "Customer: complete the next step of the payment"),
    ] {
        let object = json!({"object": "payment_intent", "amount": 100, "next_action": {"type": action}});
        let summary = event("payment_intent.requires_action", object, json!({})).read();
        assert_eq!((summary.outcome.as_str(), summary.reason.as_deref()), ("Action required", Some(reason)));
    }
}

#[test]
fn an_action_that_a_later_type_requires_is_the_merchants_to_look_at() {
    for event_type in [
        "three_d_secure.authentication.requires_something_new",
        "payment_attempt_record.approval_required",
        "v2.money_management.payout_intent.requires_action",
    ] {
        let summary = event(event_type, json!({"amount": 100}), json!({})).read();
        assert_eq!(summary.outcome.as_str(), "Action required", "{event_type}");
        let reason = summary.reason.unwrap_or_default();
        assert!(reason.starts_with("Merchant: see at Stripe"), "{event_type} {reason}");
    }
}

#[test]
fn a_thin_event_says_what_it_does_not_contain_or_who_must_act() {
    let missing = Some("Amount, customer and reason unknown: a thin event does not contain them");
    for (event_type, reason) in [
        ("v1.charge.succeeded", missing),
        ("v1.payment_intent.payment_failed", missing),
        ("v1.setup_intent.setup_failed", missing),
        ("v1.charge.dispute.funds_reinstated", missing),
        ("v1.product.created", None),
        ("v2.core.account.updated", None),
        ("v1.setup_intent.requires_action", Some("Customer: complete the authentication")),
        ("v1.payment_intent.requires_action", Some("Customer: complete the next step of the payment")),
        ("v1.payment_intent.partially_funded", Some("Customer: send the rest by bank transfer")),
        ("v1.review.opened", Some("Merchant: approve or refund the payment")),
    ] {
        let body = json!({"id": "evt_1", "type": event_type, "related_object": {"id": "x_1", "type": "x"}});
        let stored =
            StoredEvent { payload: body.to_string().into(), ..event("", json!({}), json!({})).stored() };
        assert_eq!(summarize(&stored, &[]).reason.as_deref(), reason, "{event_type}");
        let neither = json!({"id": "evt_1", "type": event_type}).to_string();
        let stored = StoredEvent { payload: neither.into(), ..stored };
        assert_ne!(summarize(&stored, &[]).reason.as_deref(), missing, "{event_type}");
    }
}

#[test]
fn a_page_of_an_object_shows_its_own_amount_whatever_the_event_was_about() {
    let refunded =
        event("charge.refunded", charge(4_999, 4_999, 1_500), json!({"amount_refunded": 0})).read();
    let updated = event("charge.updated", charge(4_999, 4_999, 1_500), json!({"metadata": {}})).read();
    assert_eq!(refunded.amount.and_then(|amount| amount.minor()), Some(1_500));
    for summary in [refunded, updated] {
        let page = summary.of_its_object();
        assert_eq!(page.amount.and_then(|amount| amount.minor()), Some(4_999));
        assert_eq!(page.collected.and_then(|amount| amount.minor()), Some(4_999));
    }
}

#[test]
fn the_largest_integers_overflow_nothing() {
    for event_type in [
        "charge.captured",
        "charge.refunded",
        "charge.failed",
        "refund.created",
        "refund.failed",
        "charge.dispute.funds_withdrawn",
        "charge.dispute.funds_reinstated",
        "transfer.reversed",
        "invoice.paid",
    ] {
        for kind in ["charge", "refund", "dispute", "transfer", "invoice"] {
            let object = json!({
                "object": kind, "amount": i64::MIN, "amount_captured": i64::MAX, "amount_refunded": i64::MIN,
                "amount_reversed": i64::MIN, "captured": true, "failure_balance_transaction": "txn_1",
                "balance_transactions": [{"amount": i64::MIN, "fee": i64::MIN, "currency": "usd"}, {"amount": i64::MAX, "fee": i64::MIN, "currency": "usd"}],
            });
            let previous = json!({"amount_captured": i64::MIN, "amount_refunded": i64::MAX, "amount_reversed": i64::MAX});
            let _read = event(event_type, object, previous).read();
        }
    }
}

#[test]
fn a_figure_that_cannot_be_read_is_unknown_and_no_other_one_takes_its_place() {
    let charge = json!({
        "object": "charge", "amount": 10_000, "amount_captured": "6000.5", "captured": true, "status": "succeeded",
    });
    let payment =
        json!({"object": "payment_intent", "amount": 10_000, "amount_received": 1.5, "status": "succeeded"});
    let paid = json!({"object": "invoice", "total": 10_000, "amount_paid": "x", "status": "paid"});
    let open = json!({
        "object": "invoice", "total": 10_000, "amount_due": 9_000, "amount_remaining": 0.5, "status": "open",
    });
    for (event_type, object, name) in [
        ("charge.succeeded", charge, "amount captured"),
        ("payment_intent.succeeded", payment, "amount received"),
        ("invoice.paid", paid, "amount paid"),
        ("invoice.overdue", open, "amount remaining"),
        (
            "checkout.session.completed",
            json!({"object": "checkout.session", "amount_total": "?"}),
            "amount total",
        ),
    ] {
        let summary = event(event_type, object, json!({})).read();
        assert_eq!((summary.amount, summary.collected), (None, None), "{event_type}");
        let reason = format!("Amount unknown: {name} is not a whole number of minor units");
        assert_eq!(summary.reason, Some(reason), "{event_type}");
    }
}

#[test]
fn a_time_that_cannot_be_true_is_not_shown() {
    let mut stored = event("charge.succeeded", json!({"object": "charge"}), json!({})).stored();
    stored.facts.livemode = Some(true);
    stored.facts.created = DateTime::from_timestamp(1_900_000_000, 0);
    assert_eq!(summarize(&stored, &[]).occurred_at, Some(stored.received_at));
}
