//! Summaries of bodies of every age and shape.

use super::*;
use crate::domain::event::{EventFacts, EventKey};
use crate::domain::summary::{EventOutcome, EventStatus};
use chrono::DateTime;
use serde_json::json;

fn read_body(payload: &Value) -> EventSummary {
    let event = StoredEvent {
        key: EventKey(1),
        source: "stripe".to_owned(),
        event_id: "evt_1".to_owned(),
        facts: EventFacts::default(),
        carries_state: true,
        received_at: DateTime::UNIX_EPOCH,
        payload: payload.to_string().into(),
    };
    summarize(&event, &[])
}

fn read(event_type: &str, object: &Value) -> EventSummary {
    read_body(&json!({"type": event_type, "created": 1_700_000_000, "data": {"object": object}}))
}

fn amount_of(event_type: &str, object: &Value) -> Option<String> {
    read(event_type, object).amount.map(|amount| amount.decimal())
}

#[test]
fn an_invoice_of_today_tells_all_of_it() {
    let summary = read_body(&json!({
        "type": "invoice.paid", "created": 1_701_399_600, "livemode": false, "account": "acct_9",
        "data": {"object": {
            "object": "invoice", "id": "in_1", "number": "0042", "status": "paid", "currency": "eur",
            "total": 15_000, "amount_paid": 12_000, "customer": "cus_1", "customer_email": "jane@example.com",
            "customer_name": "Jane", "hosted_invoice_url": "https://invoice.example.com/1",
            "lines": {"data": [{"description": "Tea, monthly"}]},
        }},
    }));
    assert_eq!(summary.title, "Invoice 0042 paid · EUR 120.00 of 150.00 · jane@example.com");
    assert_eq!((summary.status, summary.outcome), (EventStatus::Success, EventOutcome::Paid));
    assert_eq!(summary.occurred_at.map(|at| at.timestamp()), Some(1_701_399_600));
    assert_eq!(summary.object.description.as_deref(), Some("Tea, monthly"));
    assert_eq!(summary.object.person.id.as_deref(), Some("cus_1"));
    assert_eq!(
        summary.object.links.dashboard.as_deref(),
        Some("https://dashboard.stripe.com/acct_9/test/invoices/in_1")
    );
    let object = &summary.object;
    let is_told = [object.kind.is_some(), object.id.is_some(), object.status.is_some()];
    assert_eq!((is_told, object.currency.is_some(), object.amount.is_some()), ([true; 3], true, true));
    assert_eq!(object.document_number.as_deref(), Some("0042"));
    assert_eq!((object.person.name.as_deref(), summary.livemode), (Some("Jane"), Some(false)));
    assert_eq!((summary.account.as_deref(), summary.reason.as_deref()), (Some("acct_9"), None));
    assert_eq!(object.links.invoice.as_deref(), Some("https://invoice.example.com/1"));
    assert_eq!((object.amount_refunded, object.links.receipt.as_deref()), (None, None));
}

#[test]
fn an_invoice_counts_its_total_until_it_is_paid() {
    let open =
        json!({"object": "invoice", "status": "open", "total": 500, "amount_paid": 0, "currency": "eur"});
    assert_eq!(amount_of("invoice.finalized", &open).as_deref(), Some("5.00"));
    let old = json!({"object": "invoice", "paid": true, "total": 700, "currency": "usd"});
    let summary = read("invoice.payment_succeeded", &old);
    assert_eq!(summary.object.amount.map(|amount| amount.decimal()).as_deref(), Some("7.00"));
    assert_eq!(summary.object.status.as_deref(), Some("paid"));
}

#[test]
fn each_kind_has_its_own_amount() {
    for (event_type, object, amount) in [
        ("payment_intent.succeeded", json!({"object": "payment_intent", "amount": 1099}), Some("10.99")),
        ("charge.refunded", json!({"object": "charge", "amount": 1099, "amount_refunded": 99}), Some("0.99")),
        (
            "checkout.session.completed",
            json!({"object": "checkout.session", "amount_total": 1}),
            Some("0.01"),
        ),
        ("checkout.session.expired", json!({"object": "checkout.session", "amount_total": null}), None),
        ("refund.created", json!({"object": "refund", "amount": 50}), Some("0.50")),
        ("charge.dispute.created", json!({"object": "dispute", "amount": 1000}), Some("10.00")),
        ("payout.paid", json!({"object": "payout", "amount": -1000}), Some("-10.00")),
        ("customer.created", json!({"object": "customer", "balance": 100, "amount": 5}), None),
        ("transfer.created", json!({"object": "transfer", "amount": 100}), Some("1.00")),
        ("future.thing.paid", json!({"object": "future.thing", "amount": 100}), Some("1.00")),
        ("charge.dispute.created", json!({"amount": 1000}), Some("10.00")),
        ("charge.succeeded", json!({"object": "charge", "amount": 10.5}), None),
    ] {
        let mut object = object;
        object["currency"] = json!("usd");
        assert_eq!(amount_of(event_type, &object).as_deref(), amount, "{event_type} {object}");
    }
}

#[test]
fn an_amount_without_a_currency_we_can_name_is_none() {
    assert_eq!(amount_of("charge.succeeded", &json!({"object": "charge", "amount": 100})), None);
    let unknown = json!({"object": "charge", "amount": 100, "currency": "currency"});
    assert_eq!(amount_of("charge.succeeded", &unknown), None);
}

#[test]
fn a_subscription_is_the_sum_of_its_prices() {
    let sum = |items: Value, has_more: bool| {
        let items = json!({"data": items, "has_more": has_more});
        let object = json!({"object": "subscription", "currency": "usd", "items": items});
        amount_of("customer.subscription.updated", &object)
    };
    let plain = json!({"quantity": 3, "price": {"currency": "usd", "unit_amount": 1000}});
    let half_cents = json!({"quantity": 5, "price": {"unit_amount": null, "unit_amount_decimal": "0.5"}});
    let old = json!({"quantity": 2, "plan": {"currency": "usd", "amount": 25}});
    let metered = json!({"price": {"unit_amount": 9, "recurring": {"usage_type": "metered"}}});
    let tiered = json!({"quantity": 1, "price": {"unit_amount": null, "unit_amount_decimal": null}});
    let foreign = json!({"quantity": 1, "price": {"currency": "eur", "unit_amount": 1}});

    assert_eq!(sum(json!([plain, old]), false).as_deref(), Some("30.50"));
    assert_eq!(sum(json!([plain, half_cents]), false).as_deref(), Some("30.025"));
    assert_eq!(sum(json!([plain, metered]), false).as_deref(), Some("30.00"));
    assert_eq!(sum(json!([plain, tiered]), false), None);
    assert_eq!(sum(json!([plain, foreign]), false), None);
    assert_eq!(sum(json!([plain]), true), None);
}

#[test]
fn an_old_subscription_has_one_plan() {
    let object = json!({"object": "subscription", "quantity": 4, "plan": {"amount": 250, "currency": "jpy"}});
    assert_eq!(amount_of("customer.subscription.created", &object).as_deref(), Some("1000"));
}

#[test]
fn a_reference_may_be_an_id_an_object_or_null() {
    for (customer, id, email) in [
        (json!("cus_1"), Some("cus_1"), None),
        (json!({"id": "cus_1", "email": "a@example.com"}), Some("cus_1"), Some("a@example.com")),
        (json!({"id": "cus_1", "deleted": true}), Some("cus_1"), None),
        (json!(null), None, None),
        (json!(7), None, None),
    ] {
        let summary = read("charge.succeeded", &json!({"object": "charge", "customer": customer}));
        assert_eq!(
            (summary.object.person.id.as_deref(), summary.object.person.email.as_deref()),
            (id, email)
        );
    }
    let by_charge = json!({"object": "dispute", "charge": {"id": "ch_1", "customer": "cus_2"}});
    let summary = read("charge.dispute.created", &by_charge);
    assert_eq!(summary.object.person.id.as_deref(), Some("cus_2"));
    assert_eq!(summary.object.links.dashboard.as_deref(), Some("https://dashboard.stripe.com/payments/ch_1"));
}

#[test]
fn the_nearest_email_wins() {
    let mut object = json!({
        "object": "charge", "customer_email": "1@example.com", "receipt_email": "2@example.com",
        "billing_details": {"email": "3@example.com"}, "customer_details": {"email": "4@example.com"},
        "customer": {"id": "cus_1", "email": "5@example.com"},
    });
    for (number, place) in [
        (1, "customer_email"),
        (2, "receipt_email"),
        (3, "billing_details"),
        (4, "customer_details"),
        (5, "customer"),
    ] {
        let email = read("charge.succeeded", &object).object.person.email;
        assert_eq!(email, Some(format!("{number}@example.com")));
        object[place] = Value::Null;
    }
    let customer = json!({"object": "customer", "id": "cus_1", "email": "own@example.com"});
    let summary = read("customer.created", &customer);
    assert_eq!(summary.title, "Customer created · own@example.com");
    assert_eq!(summary.object.person.id.as_deref(), Some("cus_1"));
}

#[test]
fn a_thin_event_tells_what_its_reference_does() {
    let summary = read_body(&json!({
        "id": "evt_1", "object": "v2.core.event", "type": "v1.invoice.paid", "livemode": true,
        "created": "2026-11-23T10:00:00.123Z", "context": "acct_7",
        "related_object": {"id": "in_9", "type": "invoice", "url": "/v1/invoices/in_9"},
    }));
    assert_eq!((summary.status, summary.outcome), (EventStatus::Success, EventOutcome::Paid));
    assert_eq!(summary.object.id.as_deref(), Some("in_9"));
    assert_eq!(summary.object.kind.as_deref(), Some("invoice"));
    assert_eq!(summary.title, "Invoice in_9 paid");
    assert_eq!(summary.occurred_at.map(|at| at.timestamp()), Some(1_795_428_000));
    assert_eq!(
        summary.object.links.dashboard.as_deref(),
        Some("https://dashboard.stripe.com/acct_7/invoices/in_9")
    );
}

#[test]
fn the_outcome_is_one_word() {
    let charge = |more: Value| {
        let mut object = json!({"object": "charge", "status": "succeeded", "captured": true});
        object.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        object
    };
    for (event_type, object, word) in [
        ("charge.succeeded", charge(json!({})), "Paid"),
        ("charge.succeeded", charge(json!({"captured": false})), "Info"),
        ("charge.failed", charge(json!({"status": "failed", "captured": false})), "Failed"),
        ("charge.expired", charge(json!({"captured": false})), "Canceled"),
        ("charge.captured", charge(json!({})), "Paid"),
        ("invoice_payment.paid", json!({"object": "invoice_payment"}), "Paid"),
        ("charge.refunded", charge(json!({"refunded": true, "amount": 5, "amount_refunded": 5})), "Refunded"),
        (
            "charge.refunded",
            charge(json!({"refunded": false, "amount": 9, "amount_refunded": 5})),
            "Partly refunded",
        ),
        ("charge.updated", charge(json!({"disputed": true})), "Paid"),
        ("future.thing.paid", json!({"object": "future.thing"}), "Info"),
        ("charge.dispute.created", json!({"object": "dispute", "status": "needs_response"}), "Disputed"),
        ("charge.dispute.closed", json!({"object": "dispute", "status": "won"}), "Won"),
        ("charge.dispute.closed", json!({"object": "dispute", "status": "lost"}), "Lost"),
        ("invoice.payment_failed", json!({"object": "invoice", "status": "open"}), "Failed"),
        ("invoice.voided", json!({"object": "invoice", "status": "void"}), "Canceled"),
        ("invoice.overdue", json!({"object": "invoice", "status": "open"}), "Past due"),
        ("invoice.created", json!({"object": "invoice", "status": "draft"}), "Info"),
        (
            "customer.subscription.updated",
            json!({"object": "subscription", "status": "past_due"}),
            "Past due",
        ),
        ("customer.subscription.deleted", json!({"object": "subscription"}), "Canceled"),
        (
            "checkout.session.completed",
            json!({"object": "checkout.session", "payment_status": "unpaid"}),
            "Info",
        ),
        (
            "checkout.session.completed",
            json!({"object": "checkout.session", "payment_status": "paid"}),
            "Paid",
        ),
        ("refund.updated", json!({"object": "refund", "status": "succeeded"}), "Refunded"),
        ("refund.failed", json!({"object": "refund", "status": "failed"}), "Failed"),
        ("payout.paid", json!({"object": "payout"}), "Payout"),
        ("payment_intent.payment_failed", json!({"object": "payment_intent"}), "Failed"),
        ("setup_intent.setup_failed", json!({"object": "setup_intent"}), "Failed"),
        ("setup_intent.succeeded", json!({"object": "setup_intent"}), "Info"),
    ] {
        assert_eq!(read(event_type, &object).outcome.as_str(), word, "{event_type} {object}");
    }
}

#[test]
fn a_failure_has_a_reason_apart_from_what_was_sold() {
    let failed = json!({
        "object": "payment_intent", "last_payment_error": {"message": "The card was declined."},
    });
    let summary = read("payment_intent.payment_failed", &failed);
    assert_eq!(summary.reason.as_deref(), Some("The card was declined."));
    assert_eq!(summary.object.description, None);
    let mut named = failed;
    named["description"] = json!("Tea");
    let summary = read("payment_intent.payment_failed", &named);
    assert_eq!(summary.object.description.as_deref(), Some("Tea"));
    assert_eq!(summary.reason.as_deref(), Some("The card was declined."));
}

#[test]
fn headlines_read_like_sentences() {
    for (event_type, object, title) in [
        ("payment_intent.payment_failed", json!({"object": "payment_intent"}), "Payment failed"),
        ("charge.dispute.created", json!({"object": "dispute"}), "Dispute created"),
        ("customer.subscription.deleted", json!({"object": "subscription"}), "Subscription deleted"),
        ("checkout.session.completed", json!({"object": "checkout.session"}), "Checkout session completed"),
        ("invoice.upcoming", json!({"object": "invoice"}), "Invoice upcoming"),
        ("ping", json!({}), "Ping"),
        ("", json!({}), "Event"),
    ] {
        assert_eq!(read(event_type, &object).title, title);
    }
}

#[test]
fn a_link_falls_back_to_the_event_and_holds_no_strange_id() {
    let url = |object: Value| read("x.y", &object).object.links.dashboard;
    let event = Some("https://dashboard.stripe.com/events/evt_1".to_owned());
    assert_eq!(url(json!({"object": "coupon", "id": "FREE"})), event);
    assert_eq!(url(json!({"object": "invoice", "id": "../evil?x=1"})), event);
    assert_eq!(url(json!({"object": "invoice"})), event);
    let session = json!({"object": "checkout.session", "id": "cs_1", "payment_intent": "pi_1"});
    assert_eq!(url(session), Some("https://dashboard.stripe.com/payments/pi_1".to_owned()));
}

#[test]
fn a_body_that_is_no_event_still_has_its_key() {
    for body in [json!(null), json!([1, 2]), json!("text"), json!({"data": 1, "created": i64::MAX})] {
        let summary = read_body(&body);
        assert_eq!(summary.event_id, "evt_1");
        assert_eq!(summary.title, "Event");
        assert_eq!(summary.occurred_at, None);
    }
}

#[test]
fn what_the_store_knows_comes_before_the_body() {
    let event = StoredEvent {
        key: EventKey(1),
        source: "stripe".to_owned(),
        event_id: "evt_1".to_owned(),
        facts: EventFacts {
            event_type: "invoice.paid".to_owned(),
            object_id: Some("in_1".to_owned()),
            object_type: Some("invoice".to_owned()),
            livemode: Some(true),
            created: Some(DateTime::UNIX_EPOCH),
            ..EventFacts::default()
        },
        carries_state: true,
        received_at: DateTime::UNIX_EPOCH,
        payload: bytes::Bytes::from_static(b"not JSON"),
    };
    let summary = summarize(&event, &[]);
    assert_eq!((summary.status, summary.livemode), (EventStatus::Success, Some(true)));
    assert_eq!(summary.occurred_at, Some(DateTime::UNIX_EPOCH));
    assert_eq!(summary.object.id.as_deref(), Some("in_1"));
}

#[test]
fn a_line_about_an_object_says_how_it_stands() {
    for (event_type, object, line) in [
        ("invoice.updated", json!({"object": "invoice", "number": "7", "status": "open"}), "Invoice 7 open"),
        (
            "invoice.payment_failed",
            json!({"object": "invoice", "number": "7", "status": "open"}),
            "Invoice 7 open",
        ),
        (
            "payment_intent.created",
            json!({"object": "payment_intent", "status": "requires_action"}),
            "Payment requires action",
        ),
        ("charge.updated", json!({"object": "charge", "status": "succeeded"}), "Charge succeeded"),
        (
            "charge.updated",
            json!({"object": "charge", "status": "succeeded", "amount": 5, "amount_refunded": 1}),
            "Charge partly refunded",
        ),
        (
            "charge.refund.updated",
            json!({"object": "refund", "status": "succeeded", "amount": 100, "currency": "eur"}),
            "Refund succeeded · EUR 1.00",
        ),
        (
            "customer.subscription.updated",
            json!({"object": "subscription", "status": "past_due", "customer": "cus_1"}),
            "Subscription past due · cus_1",
        ),
        (
            "customer.updated",
            json!({"object": "customer", "email": "jane@example.com"}),
            "Customer · jane@example.com",
        ),
        ("customer.deleted", json!({"object": "customer"}), "Customer deleted"),
        ("checkout.session.completed", json!({"status": "complete"}), "Checkout session complete"),
        ("credit_note.voided", json!({"object": "credit_note", "status": "void"}), "Credit note void"),
        ("x", json!({"status": "active"}), "Active"),
        ("", json!({}), "Object"),
    ] {
        assert_eq!(read(event_type, &object).object.title, line, "{event_type} {object}");
    }
}
