//! The API's second version: event destinations and thin events.

use crate::harness::{NOON, Stripe, empty, options};
use crate::receiver::Receiver;
use serde_json::{Value, json};
use std::time::Duration;
use stripe_sandbox::SandboxOptions;

fn destination(url: &str, payload: &str, events: &[&str]) -> Value {
    json!({
        "name": "Ours", "type": "webhook_endpoint", "event_payload": payload, "enabled_events": events,
        "webhook_endpoint": {"url": url}, "include": ["webhook_endpoint.signing_secret", "webhook_endpoint.url"],
    })
}

fn charge_event(id: &str) -> Value {
    json!({"id": id, "type": "charge.succeeded", "data": {"object": {"object": "charge", "id": "ch_1", "created": NOON}}})
}

const PATH: &str = "/v2/core/event_destinations";

#[tokio::test]
async fn a_destination_lives_from_its_creation_to_its_end() {
    let stripe = Stripe::start(empty()).await;
    let body = destination("https://example.com/hook", "thin", &["v1.charge.succeeded"]);
    let created = stripe.post_json(PATH, &body).await;
    assert_eq!(created.status, 200, "{created:?}");
    let created = created.body;
    assert!(created["webhook_endpoint"]["signing_secret"].as_str().unwrap().starts_with("whsec_"));
    assert_eq!((&created["event_payload"], &created["status"]), (&json!("thin"), &json!("enabled")));
    assert!(created.get("snapshot_api_version").is_none());
    let one = format!("{PATH}/{}", created["id"].as_str().unwrap());
    assert!(stripe.get(&one).await.body.get("webhook_endpoint").is_none());
    let with_url = stripe
        .get(&format!("{one}?include[0]=webhook_endpoint.url&include[1]=webhook_endpoint.signing_secret"))
        .await;
    assert_eq!(with_url.body["webhook_endpoint"], json!({"url": "https://example.com/hook"}));
    let updated = stripe.post_json(&one, &json!({"name": "Theirs", "enabled_events": ["*"]})).await.body;
    assert_eq!((&updated["name"], &updated["enabled_events"]), (&json!("Theirs"), &json!(["*"])));
    let disabled = stripe.post_json(&format!("{one}/disable"), &json!({})).await.body;
    assert_eq!(
        (&disabled["status"], &disabled["status_details"]["disabled"]["reason"]),
        (&json!("disabled"), &json!("user"))
    );
    let enabled = stripe.post_json(&format!("{one}/enable"), &json!({})).await.body;
    assert_eq!((&enabled["status"], enabled.get("status_details")), (&json!("enabled"), None));
    assert_eq!(stripe.get("/v1/webhook_endpoints").await.ids(), Vec::<String>::new());
    assert_eq!(stripe.delete(&one).await.body["deleted"], true);
    let gone = stripe.get(&one).await;
    assert_eq!((gone.status, &gone.body["error"]["code"]), (404, &json!("not_found")));
    assert!(gone.body["error"].get("param").is_none());
}

#[tokio::test]
async fn wrong_destinations_are_refused() {
    let stripe = Stripe::start(empty()).await;
    let good = destination("https://example.com/hook", "thin", &["v1.charge.succeeded"]);
    for (field, value) in [
        ("name", Value::Null),
        ("event_payload", json!("fat")),
        ("enabled_events", json!(["charge.succeeded"])),
        ("enabled_events", json!([])),
        ("type", json!("amazon_eventbridge")),
        ("webhook_endpoint", json!({"url": "nowhere"})),
    ] {
        let mut body = good.clone();
        body[field] = value;
        let refused = stripe.post_json(PATH, &body).await;
        assert_eq!(refused.status, 400, "{field}: {refused:?}");
        assert!(refused.body["error"]["code"].is_string() && refused.body["error"]["message"].is_string());
    }
    let broken = stripe.with_key("POST", PATH, &stripe.key).body("{");
    assert_eq!(crate::harness::answer(broken).await.status, 400);
}

#[tokio::test]
async fn pages_have_addresses() {
    let stripe = Stripe::start(empty()).await;
    for number in 0..5 {
        let url = format!("https://example.com/{number}");
        stripe.post_json(PATH, &destination(&url, "snapshot", &["*"])).await;
    }
    let mut path = format!("{PATH}?limit=2&include[0]=webhook_endpoint.url");
    let mut urls = Vec::new();
    loop {
        let page = stripe.get(&path).await.body;
        let data = page["data"].as_array().unwrap();
        urls.extend(data.iter().map(|it| it["webhook_endpoint"]["url"].as_str().unwrap().to_owned()));
        match page["next_page_url"].as_str() {
            Some(next) => next.clone_into(&mut path),
            None => break,
        }
    }
    let expected: Vec<_> = (0..5).rev().map(|number| format!("https://example.com/{number}")).collect();
    assert_eq!(urls, expected);
    assert_eq!(stripe.get(&format!("{PATH}?page=page_none")).await.status, 400);
    assert_eq!(stripe.get(&format!("{PATH}?limit=101")).await.status, 400);
}

#[tokio::test]
async fn a_thin_event_names_its_object_and_its_twin() {
    let options = SandboxOptions { context: Some("acct_org/acct_1SandboxShop00000".to_owned()), ..empty() };
    let stripe = Stripe::start(options).await;
    let (thin, both) = (Receiver::start().await, Receiver::start().await);
    let created =
        stripe.post_json(PATH, &destination(&thin.url(), "thin", &["v1.charge.succeeded"])).await.body;
    let mut event = charge_event("evt_1");
    event["context"] = json!("acct_org/acct_1SandboxShop00000");
    stripe.handle.publish(&event);
    let received = thin.next().await;
    assert!(received.is_signed_with(created["webhook_endpoint"]["signing_secret"].as_str().unwrap()));
    let alone = received.json();
    assert_eq!(alone["id"], "evt_test_1");
    assert_eq!(alone["type"], "v1.charge.succeeded");
    assert_eq!(alone["context"], "acct_org/acct_1SandboxShop00000");
    assert_eq!(alone["related_object"], json!({"id": "ch_1", "type": "charge", "url": "/v1/charges/ch_1"}));
    assert!(alone.get("snapshot_event").is_none() && alone.get("data").is_none());
    stripe.post("/v1/webhook_endpoints", &format!("url={}&enabled_events[]=*", both.url())).await;
    stripe.handle.publish(&charge_event("evt_2"));
    assert_eq!(thin.next().await.json()["snapshot_event"], "evt_2");
    assert_eq!(both.next().await.json()["id"], "evt_2");
    let fetched = stripe.get("/v2/core/events/evt_test_2").await;
    assert_eq!(fetched.body["snapshot_event"], "evt_2");
    assert_eq!(stripe.get("/v2/core/events/evt_2").await.status, 404);
    assert_eq!(stripe.get("/v1/events/evt_test_2").await.status, 404);
}

#[tokio::test]
async fn a_ping_reaches_the_destination() {
    let stripe = Stripe::start(empty()).await;
    let hook = Receiver::start().await;
    let created = stripe.post_json(PATH, &destination(&hook.url(), "thin", &["v1.invoice.paid"])).await.body;
    let id = created["id"].as_str().unwrap();
    let ping = stripe.post_json(&format!("{PATH}/{id}/ping"), &json!({})).await.body;
    assert_eq!(ping["type"], "v2.core.event_destination.ping");
    let received = hook.next().await.json();
    assert_eq!((&received["id"], &received["related_object"]["id"]), (&ping["id"], &json!(id)));
    assert_eq!(received["related_object"]["url"], format!("{PATH}/{id}"));
    assert_eq!(stripe.get("/v1/events").await.ids(), Vec::<String>::new());
}

#[tokio::test]
async fn thin_events_are_listed_by_object_type_and_time() {
    let stripe = Stripe::start(options()).await;
    let charge = stripe.get("/v1/charges?limit=1&created[lt]=1794600000").await.ids().remove(0);
    let events = stripe.get(&format!("/v2/core/events?object_id={charge}&limit=100")).await;
    let data = events.body["data"].as_array().unwrap();
    assert!(!data.is_empty() && data.iter().all(|event| event["related_object"]["id"] == charge.as_str()));
    let paid = stripe.get("/v2/core/events?types[0]=v1.invoice.paid&limit=5").await;
    assert!(paid.body["data"].as_array().unwrap().iter().all(|event| event["type"] == "v1.invoice.paid"));
    assert!(paid.body["next_page_url"].as_str().unwrap().contains("&types[0]=v1.invoice.paid"));
    let bound = "2026-11-14T12:00:00.000Z";
    let newer = stripe.get(&format!("/v2/core/events?created[gte]={bound}&limit=100")).await;
    let times: Vec<_> = newer.body["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["created"].as_str().unwrap().to_owned())
        .collect();
    assert!(!times.is_empty() && times.iter().all(|time| time.as_str() >= bound));
    assert!(times.is_sorted_by(|newer, older| newer >= older));
    assert_eq!(stripe.get("/v2/core/events?created[gte]=yesterday").await.status, 400);
    stripe.handle.advance(Duration::from_hours(31 * 24));
    let old = data.last().unwrap()["id"].as_str().unwrap();
    assert_eq!(stripe.get(&format!("/v2/core/events/{old}")).await.status, 404);
}
