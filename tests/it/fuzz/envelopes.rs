//! Arbitrary bodies with a valid signature: every accepted one is stored unchanged and delivered.

use super::Fuzz;
use crate::harness::{NOW, SECRET, Service, rows};
use axum::body::Body;
use axum::http::Request;
use chrono::DateTime;
use eventbridge::sources::stripe;
use notion_sandbox::Template;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Value, json};

/// Bodies that once found a bug, one on each line.
const CORPUS: &str = include_str!("envelopes.txt");

/// The names that the service reads in an event and in its object.
const NAMES: &[&str] = &[
    "id",
    "object",
    "type",
    "created",
    "livemode",
    "api_version",
    "account",
    "context",
    "data",
    "previous_attributes",
    "related_object",
    "request",
    "customer",
    "customer_email",
    "customer_name",
    "customer_details",
    "email",
    "name",
    "amount",
    "amount_due",
    "amount_paid",
    "amount_refunded",
    "amount_total",
    "total",
    "currency",
    "status",
    "paid",
    "refunded",
    "number",
    "description",
    "invoice",
    "charge",
    "payment_intent",
    "hosted_invoice_url",
    "receipt_url",
    "items",
    "price",
    "unit_amount",
    "quantity",
    "status_transitions",
    "paid_at",
    "billing_details",
    "url",
    "reason",
];

/// Texts, numbers and pieces of JSON that are hard to read or to write.
const PIECES: &[&str] = &[
    "null",
    "\"\"",
    "0",
    "-1",
    "1e3",
    "1.5",
    "1e999",
    "-0.0",
    "9007199254740993",
    "12345678901234567890123",
    "true",
    "[]",
    "{}",
    "\"evt_1\"",
    "\"invoice\"",
    "\"charge\"",
    "\"payment_intent\"",
    "\"invoice.paid\"",
    "\"eur\"",
    "\"jpy\"",
    "\"kwd\"",
    "\"xxx\"",
    "\"a,b\"",
    "\"\\u0000\"",
    "\"\\ud83e\\uddfe\"",
    "\"\\ud800\"",
    "\"\\n\\t\"",
    "\"\u{202e}\"",
    "\"2026-11-23T10:00:00Z\"",
    "\"https://example.com/\"",
    "\"javascript:alert(1)\"",
    "\"jane@example.com\"",
    "1700000000",
    "253402300800",
    "-62135596801",
];

fn piece() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        4 => select(PIECES).prop_map(str::to_owned),
        1 => ".{0,30}".prop_map(|text| Value::from(text).to_string()),
        1 => select(vec!["x", "é", "🧾"]).prop_map(|one| Value::from(one.repeat(2100)).to_string()),
        1 => any::<i64>().prop_map(|number| number.to_string()),
    ];
    leaf.prop_recursive(4, 48, 6, |inner| {
        prop_oneof![
            1 => prop::collection::vec(inner.clone(), 0..4).prop_map(|items| format!("[{}]", items.join(","))),
            4 => prop::collection::vec((select(NAMES), inner), 0..6).prop_map(|members| {
                let members: Vec<_> = members.into_iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
                format!("{{{}}}", members.join(","))
            }),
        ]
    })
}

/// An event that contains an arbitrary value.
fn around() -> impl Strategy<Value = Vec<u8>> {
    let kind = select(vec![
        "invoice",
        "charge",
        "payment_intent",
        "refund",
        "dispute",
        "payout",
        "customer",
        "subscription",
        "thing",
    ]);
    ("[!-~]{1,20}", kind, 0..200, piece(), piece(), piece()).prop_map(|(id, kind, of, created, fields, more)| {
        let fields = fields.strip_prefix('{').and_then(|fields| fields.strip_suffix('}')).filter(|fields| !fields.is_empty());
        let fields = fields.map(|fields| format!(",{fields}")).unwrap_or_default();
        let object = format!(r#"{{"id":"x_{of}","object":"{kind}"{fields}}}"#);
        let id = json!(id);
        format!(r#"{{"id":{id},"type":"{kind}.updated","created":{created},"data":{{"object":{object}}},"more":{more}}}"#)
            .into_bytes()
    })
}

/// A sample with some of its bytes changed, left out or added.
fn damaged() -> impl Strategy<Value = Vec<u8>> {
    let names: Vec<_> = stripe_samples::names().collect();
    let change = (any::<Index>(), 0_usize..20, select(PIECES), any::<bool>());
    (select(names), any::<u64>(), prop::collection::vec(change, 0..4)).prop_map(|(name, seed, changes)| {
        let mut body = stripe_samples::make(name, seed, DateTime::from_timestamp(NOW, 0).unwrap())
            .unwrap()
            .body
            .into_bytes();
        for (at, length, piece, puts) in changes {
            let at = at.index(body.len());
            let end = body.len().min(at + length);
            body.splice(at..end, if puts { piece.bytes().collect() } else { Vec::new() });
            if body.is_empty() {
                break;
            }
        }
        body
    })
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => around(),
        3 => damaged(),
        2 => piece().prop_map(String::into_bytes),
        1 => prop::collection::vec(any::<u8>(), 0..100),
    ]
}

/// Whether it counts as an event.
fn is_event(body: &[u8]) -> bool {
    let parsed: Option<Value> = serde_json::from_slice(body).ok();
    let id = parsed.as_ref().and_then(|event| event.get("id")?.as_str());
    id.is_some_and(|id| (1..=255).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic()))
}

async fn is_stored_whole_or_rejected(service: &Service, body: &[u8]) {
    let request = Request::post("/api/v1/webhooks/stripe")
        .header("host", "localhost")
        .header("stripe-signature", stripe::sign(SECRET, body, NOW))
        .body(Body::from(body.to_vec()));
    let answer = service.call(request.unwrap()).await;
    if answer.status != 200 {
        answer.problem(400);
        assert!(!is_event(body), "refused: {answer:?}");
    } else if answer.json()["accepted"] == true {
        assert_eq!(service.database.count(rows::events().with_body(body)).await, 1);
    }
}

/// Fails if one is still running when nothing progresses any more, or if Notion rejected a write.
fn every_accepted_body_is_delivered(mode: &str) {
    let fuzz = Fuzz::new(async || {
        Service::builder().set("NOTION_MODE", mode).template(Template::Full).start().await
    });
    let corpus = CORPUS.lines().map(|body| body.as_bytes().to_vec());
    fuzz.check(file!(), corpus, &body(), async |service, body| {
        is_stored_whole_or_rejected(service, body).await;
    });
    fuzz.runtime.block_on(async {
        fuzz.service.until_count(rows::executions().unfinished(), 0).await;
        let failed = fuzz.service.get("/api/v1/executions?status=failed").await.json();
        assert_eq!(failed["data"], json!([]), "{failed:#}");
        let delivered = rows::executions().in_status("success");
        assert!(fuzz.service.database.count(delivered).await > 0);
    });
}

#[test]
fn every_body_accepted_in_event_mode_is_stored_and_delivered() {
    every_accepted_body_is_delivered("event");
}

#[test]
fn every_body_accepted_in_object_mode_is_stored_and_delivered() {
    every_accepted_body_is_delivered("object");
}
