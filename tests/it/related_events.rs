//! What a page shows if it depends on other events that the service has received.

use crate::harness::{NOW, Service};
use notion_sandbox::Template;
use serde_json::{Value, json};

/// An event of a request about an object, to be sent as it is.
fn event(number: usize, event_type: &str, request: &str, object: &Value) -> Value {
    json!({
        "id": format!("evt_{number}"), "object": "event", "api_version": "2024-06-20", "created": NOW, "livemode": true,
        "type": event_type, "request": {"id": request}, "data": {"object": object},
    })
}

fn bank_payment(id: &str, status: &str) -> Value {
    let failed = (status == "failed").then_some("txn_2");
    json!({
        "object": "charge", "id": id, "amount": 4_999, "amount_captured": 4_999, "amount_refunded": 0, "currency": "eur",
        "captured": true, "status": status, "failure_balance_transaction": failed,
    })
}

/// Delivers the events one after the other, and returns what the page of each has in `Collected`.
async fn collected(events: &[Value]) -> Vec<Option<String>> {
    let service =
        Service::builder().set("NOTION_RATE_PER_MINUTE", "0").template(Template::Full).start().await;
    for (place, event) in events.iter().enumerate() {
        assert_eq!(service.post_event(&event.to_string()).await.status, 200, "{event}");
        let executions = service.until_finished(place + 1).await;
        assert!(executions.iter().all(|execution| execution["status"] == "success"), "{executions:?}");
    }
    let pages = service.sandbox.pages();
    let of_page = |event: &Value| {
        let page = pages.iter().find(|page| page.text("EventId") == event["id"].as_str()).expect("a page");
        page.text("Collected").map(str::to_owned)
    };
    events.iter().map(of_page).collect()
}

#[tokio::test]
async fn a_bank_payment_that_came_back_takes_away_what_was_counted_and_one_that_never_came_does_not() {
    let of = |number, event_type: &str, id: &str| {
        let status = event_type.trim_start_matches("charge.");
        event(number, event_type, "req_1", &bank_payment(id, status))
    };
    // Another account has a charge of the same id, which did succeed.
    let mut elsewhere = of(4, "charge.succeeded", "py_never");
    elsewhere["account"] = json!("acct_other");
    let events = [
        of(0, "charge.pending", "py_returned"),
        of(1, "charge.pending", "py_never"),
        of(2, "charge.succeeded", "py_returned"),
        of(3, "charge.succeeded", "py_kept"),
        elsewhere,
        of(5, "charge.failed", "py_never"),
        of(6, "charge.failed", "py_returned"),
        of(7, "charge.failed", "py_unknown"),
    ];
    let found = collected(&events).await;
    let found: Vec<_> = found.iter().map(Option::as_deref).collect();
    let sum = Some("49.99");
    assert_eq!(found, [None, None, sum, sum, sum, None, Some("-49.99"), Some("-49.99")]);
}

#[tokio::test]
async fn an_uncaptured_rest_is_no_refund_if_the_capture_that_released_it_has_arrived() {
    let captured = json!({
        "object": "charge", "id": "ch_1", "amount": 10_000, "amount_captured": 6_000, "amount_refunded": 4_000,
        "currency": "eur", "captured": true, "status": "succeeded",
    });
    let refund = |id: &str, amount: i64| {
        json!({
            "object": "refund", "id": id, "amount": amount, "charge": "ch_1", "currency": "eur", "status": "succeeded",
            "balance_transaction": "txn_1",
        })
    };
    let events = [
        event(0, "charge.captured", "req_1", &captured),
        event(1, "refund.created", "req_1", &refund("re_rest", 4_000)),
        event(2, "refund.created", "req_2", &refund("re_real", 4_000)),
        // This request refunds the same amount, and captures nothing.
        event(3, "charge.updated", "req_3", &captured),
        event(4, "refund.created", "req_3", &refund("re_other", 4_000)),
    ];
    let found = collected(&events).await;
    let found: Vec<_> = found.iter().map(Option::as_deref).collect();
    assert_eq!(found, [Some("60"), None, Some("-40"), None, Some("-40")]);
}

#[tokio::test]
async fn the_last_of_many_captures_counts_only_what_the_others_did_not() {
    const CAPTURES: i64 = 45;
    let charge = |captured: i64| {
        json!({
            "object": "charge", "id": "ch_1", "amount": 100 * CAPTURES, "amount_captured": captured, "amount_refunded": 0,
            "currency": "eur", "captured": captured == 100 * CAPTURES, "status": "succeeded",
        })
    };
    let mut events = vec![event(0, "charge.succeeded", "req_0", &charge(0))];
    for (number, captures) in (1..CAPTURES).enumerate() {
        let mut update = event(number + 1, "charge.updated", "req_1", &charge(100 * captures));
        update["data"]["previous_attributes"] = json!({"amount_captured": 100 * (captures - 1)});
        events.push(update);
    }
    events.push(event(events.len(), "charge.captured", "req_2", &charge(100 * CAPTURES)));
    let found = collected(&events).await;
    assert_eq!(found.last().unwrap().as_deref(), Some("1"));
    assert_eq!(found.iter().filter(|sum| sum.as_deref() == Some("1")).count(), 45);
}
