//! Search: the terms that find events, complete results, and which process indexes.

use crate::harness::{Service, rows, within};
use axum::http::StatusCode;
use serde_json::{Value, json};
use std::time::Duration;

fn invoice(number: usize) -> Value {
    json!({"id": format!("evt_{number}"), "type": "invoice.paid", "data": {"object": {
        "id": format!("in_{number}"), "object": "invoice", "customer": "cus_1", "number": format!("ACME-{number:04}"),
        "customer_email": "Jane@Example.com", "currency": "eur", "status": "paid", "amount_paid": 12_345}}})
}

async fn post(service: &Service, event: &Value) {
    assert_eq!(service.post_event(&event.to_string()).await.status, StatusCode::OK);
}

async fn found(service: &Service, q: &str) -> Vec<String> {
    let answer = service.get(&format!("/api/v1/search?q={q}")).await;
    assert_eq!(answer.status, StatusCode::OK, "{q}: {answer:?}");
    let rows = answer.json()["data"].as_array().unwrap().clone();
    rows.iter().map(|row| row["event_id"].as_str().unwrap().to_owned()).collect()
}

async fn until_found(service: &Service, q: &str, expected: &[&str]) {
    within(&format!("{q} finds {expected:?}"), async {
        while found(service, q).await != expected {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn an_event_is_found_by_its_identifiers_with_or_without_a_destination() {
    let service = Service::builder().set("NOTION_EVENT_TYPES", "invoice.*").start().await;
    post(&service, &invoice(1)).await;
    let refund = json!({"id": "evt_Re", "type": "refund.created", "data": {"object": {
        "id": "re_1", "object": "refund", "charge": {"id": "ch_1", "customer": "cus_1", "invoice": "in_1"}}}});
    post(&service, &refund).await;
    until_found(&service, "re_1", &["evt_Re"]).await;
    for (q, expected) in [
        ("cus_1", vec!["evt_Re", "evt_1"]),
        ("in_1", vec!["evt_Re", "evt_1"]),
        ("IN_1", vec!["evt_Re", "evt_1"]),
        ("ch_1", vec!["evt_Re"]),
        ("%20jane%40example.COM%20", vec!["evt_1"]),
        ("acme-0001", vec!["evt_1"]),
        ("evt_Re", vec!["evt_Re"]),
        ("evt_re", vec![]),
        ("jane", vec![]),
        ("nobody", vec![]),
    ] {
        assert_eq!(found(&service, q).await, expected, "{q}");
    }
    let shown = &service.get("/api/v1/search?q=acme-0001").await.json()["data"][0];
    for (field, expected) in [
        ("amount", "123.45"),
        ("currency", "EUR"),
        ("customer", "cus_1"),
        ("customer_email", "Jane@Example.com"),
        ("invoice_number", "ACME-0001"),
        ("type", "invoice.paid"),
    ] {
        assert_eq!(shown[field], expected, "{shown}");
    }
    let done = service.until_finished(1).await;
    let page = done[0]["remote_id"].as_str().unwrap();
    for q in [
        page.to_owned(),
        page.replace('-', ""),
        format!("https%3A%2F%2Fwww.notion.so%2Facme%2FInvoice-paid-{}%3Fpvs%3D4", page.replace('-', "")),
    ] {
        assert_eq!(found(&service, &q).await, ["evt_1"], "{q}");
    }
}

#[tokio::test]
async fn results_are_paged_newest_first() {
    let service = Service::builder().set("DESTINATIONS", "").start().await;
    for number in 0..7 {
        post(&service, &invoice(number)).await;
    }
    until_found(&service, "in_6", &["evt_6"]).await;
    let (mut seen, mut path) = (Vec::new(), "/api/v1/search?q=cus_1&limit=3".to_owned());
    loop {
        let listing = service.get(&path).await.json();
        let rows = listing["data"].as_array().unwrap();
        seen.extend(rows.iter().map(|row| row["event_id"].as_str().unwrap().to_owned()));
        let Some(cursor) = listing["next_cursor"].as_str() else { break };
        path = format!("/api/v1/search?q=cus_1&limit=3&cursor={cursor}");
    }
    assert_eq!(seen, ["evt_6", "evt_5", "evt_4", "evt_3", "evt_2", "evt_1", "evt_0"]);
    for path in ["/api/v1/search", "/api/v1/search?q=", "/api/v1/search?q=%20", "/api/v1/search?q=%00"] {
        assert_eq!(service.get(path).await.problem(400), "bad_request", "{path}");
    }
    let long = format!("/api/v1/search?q={}", "x".repeat(1001));
    assert_eq!(service.get(&long).await.problem(400), "bad_request");
}

#[tokio::test]
async fn an_event_committed_after_later_ones_were_indexed_is_found() {
    let service = Service::builder().set("DESTINATIONS", "").start().await;
    for number in [1, 2, 3] {
        post(&service, &invoice(number)).await;
    }
    until_found(&service, "in_3", &["evt_3"]).await;
    // As if the statement with the earlier id committed only now.
    service.database.change(rows::forget_indexed(2, 1, 3)).await;
    post(&service, &invoice(4)).await;
    until_found(&service, "in_4", &["evt_4"]).await;
    assert!(found(&service, "in_2").await.is_empty(), "a mark is trusted only when it is old");
    service.database.change(rows::age_mark(Duration::from_mins(3))).await;
    until_found(&service, "in_2", &["evt_2"]).await;
    assert_eq!(found(&service, "cus_1").await, ["evt_4", "evt_3", "evt_2", "evt_1"]);
    within("everything is settled and a new mark is set", async {
        while !service.database.is_indexed(3, 4).await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn one_process_indexes_at_a_time_and_another_takes_over() {
    let service = Service::builder().set("DESTINATIONS", "").start().await;
    post(&service, &invoice(1)).await;
    until_found(&service, "in_1", &["evt_1"]).await;
    let store = service.database.store();
    let (one, other) = (uuid::Uuid::from_u128(1), uuid::Uuid::from_u128(2));
    let minute = Duration::from_mins(1);
    let acquire = async |process, duration| {
        store.named_leases.acquire("search index", process, duration).await.unwrap()
    };
    assert!(!acquire(one, minute).await, "the service holds the lease");
    service.stop().await;
    assert!(acquire(one, minute).await, "the service released the lease");
    assert!(!acquire(other, minute).await);
    assert!(acquire(one, Duration::ZERO).await, "the holder renews");
    assert!(acquire(other, minute).await, "an expired lease is free");
}

#[tokio::test]
async fn unusual_bodies_are_indexed_and_do_not_block_others() {
    let service = Service::builder().set("DESTINATIONS", "").start().await;
    let long = "é".repeat(3000);
    for body in [
        json!({"id": "evt_odd", "data": {"object": {"id": "a\u{0}b", "customer": long, "amount": 1e300, "currency": "eur"}}}),
        json!({"id": "evt_deep", "data": {"object": {"object": "charge", "amount": i64::MAX, "currency": "jpy", "customer": {"id": []}}}}),
        json!({"id": "evt_none"}),
    ] {
        post(&service, &body).await;
    }
    post(&service, &invoice(1)).await;
    until_found(&service, "in_1", &["evt_1"]).await;
    assert_eq!(found(&service, "ab").await, ["evt_odd"]);
    assert_eq!(service.database.count(rows::event_facts()).await, 4);
    assert_eq!(service.database.amount_of(2).await, i64::MAX);
}
