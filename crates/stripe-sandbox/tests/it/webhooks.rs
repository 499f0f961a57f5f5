//! Endpoints and deliveries: creation, signatures, retries, and what goes wrong on the way.

use crate::harness::{NOON, Stripe, empty};
use crate::receiver::Receiver;
use serde_json::{Value, json};
use std::time::Duration;
use stripe_sandbox::{ApiKey, DeliveryFault, DeliveryRule, Forward, RESTRICTED_KEY, SandboxOptions, Stage};

fn charge_event(id: &str, number: i64) -> Value {
    json!({"id": id, "type": "charge.succeeded", "data": {"object": {
        "object": "charge", "id": format!("ch_{number}"), "created": NOON, "amount": number,
    }}})
}

async fn endpoint(stripe: &Stripe, hook: &Receiver, enabled: &str) -> Value {
    let form = format!("url={}&enabled_events[]={enabled}", hook.url());
    let created = stripe.post("/v1/webhook_endpoints", &form).await;
    assert_eq!(created.status, 200, "{created:?}");
    created.body
}

fn id(object: &Value) -> &str {
    object["id"].as_str().unwrap()
}

#[tokio::test]
async fn the_secret_is_only_in_the_answer_to_the_creation() {
    let stripe = Stripe::start(empty()).await;
    let form = "url=https://example.com/hook&enabled_events[0]=charge.succeeded&enabled_events[1]=invoice.paid\
                &description=Ours&api_version=2024-06-20&metadata[team]=a";
    let created = stripe.post("/v1/webhook_endpoints", form).await.body;
    assert!(created["secret"].as_str().unwrap().starts_with("whsec_"));
    assert_eq!((&created["status"], &created["metadata"]["team"]), (&json!("enabled"), &json!("a")));
    let path = format!("/v1/webhook_endpoints/{}", id(&created));
    let read = stripe.get(&path).await.body;
    assert!(read.get("secret").is_none());
    assert_eq!(read["enabled_events"], json!(["charge.succeeded", "invoice.paid"]));
    let listed = stripe.get("/v1/webhook_endpoints").await;
    assert_eq!(listed.body["data"], json!([read]));
    let updated =
        stripe.post(&path, "disabled=true&url=https://example.com/other&enabled_events[]=*").await.body;
    assert_eq!(
        (&updated["status"], &updated["url"]),
        (&json!("disabled"), &json!("https://example.com/other"))
    );
    assert_eq!(updated["enabled_events"], json!(["*"]));
    assert_eq!(stripe.post(&path, "disabled=false").await.body["status"], "enabled");
    assert_eq!(
        stripe.delete(&path).await.body,
        json!({"id": id(&created), "object": "webhook_endpoint", "deleted": true})
    );
    assert_eq!(stripe.get(&path).await.message(), format!("No such webhook endpoint: '{}'", id(&created)));
}

#[tokio::test]
async fn wrong_endpoints_are_refused() {
    let stripe = Stripe::start(empty()).await;
    for (form, param) in [
        ("enabled_events[]=*", "url"),
        ("url=https://example.com", "enabled_events"),
        ("url=nowhere&enabled_events[]=*", "url"),
        ("url=https://example.com&enabled_events[]=paid", "enabled_events[0]"),
        ("url=https://example.com&enabled_events[]=*&colour=red", "colour"),
    ] {
        let refused = stripe.post("/v1/webhook_endpoints", form).await;
        assert_eq!((refused.status, &refused.body["error"]["param"]), (400, &json!(param)), "{form}");
    }
    for _ in 0..16 {
        assert_eq!(
            stripe.post("/v1/webhook_endpoints", "url=https://a.example&enabled_events[]=*").await.status,
            200
        );
    }
    let full = stripe.post("/v1/webhook_endpoints", "url=https://a.example&enabled_events[]=*").await;
    assert!(full.message().contains("maximum of 16"), "{full:?}");
}

#[tokio::test]
async fn a_repeated_idempotency_key_creates_one_endpoint() {
    let stripe = Stripe::start(empty()).await;
    let send = |form: &'static str| {
        let request =
            stripe.with_key("POST", "/v1/webhook_endpoints", &stripe.key).header("idempotency-key", "one");
        crate::harness::answer(request.header("content-type", "application/x-www-form-urlencoded").body(form))
    };
    let first = send("url=https://a.example&enabled_events[]=*").await;
    let again = send("url=https://a.example&enabled_events[]=*").await;
    assert_eq!((&first.body, again.header("idempotent-replayed")), (&again.body, "true"));
    let other = send("url=https://b.example&enabled_events[]=*").await;
    assert_eq!((other.status, &other.body["error"]["type"]), (400, &json!("idempotency_error")));
    assert_eq!(stripe.handle.endpoints().len(), 1);
}

#[tokio::test]
async fn an_event_is_sent_signed_to_the_endpoints_that_want_it() {
    let stripe = Stripe::start(empty()).await;
    let (wants, other) = (Receiver::start().await, Receiver::start().await);
    let created = endpoint(&stripe, &wants, "charge.succeeded").await;
    endpoint(&stripe, &other, "invoice.paid").await;
    let event = stripe.handle.publish(&charge_event("evt_1", 5));
    let received = wants.next().await;
    assert_eq!(received.json()["id"], event);
    assert_eq!(received.json()["pending_webhooks"], 1);
    assert_eq!(received.json()["data"]["object"]["amount"], 5);
    assert!(received.is_signed_with(created["secret"].as_str().unwrap()));
    assert_eq!(received.header("user-agent"), "Stripe/1.0 (+https://stripe.com/docs/webhooks)");
    assert_eq!(received.header("content-type"), "application/json; charset=utf-8");
    stripe.handle.until(|handle| handle.deliveries().iter().all(|it| it.stage == Stage::Succeeded)).await;
    assert_eq!(stripe.get(&format!("/v1/events/{event}")).await.body["pending_webhooks"], 0);
    assert_eq!(stripe.get("/v1/events?delivery_success=true").await.ids(), [event]);
    assert_eq!(other.count(), 0);
}

#[tokio::test]
async fn a_failed_delivery_is_tried_again_signed_anew_and_then_given_up() {
    let stripe = Stripe::start(empty()).await;
    let hook = Receiver::start().await;
    hook.answer_with(&[500, 302, 404]);
    let created = endpoint(&stripe, &hook, "*").await;
    let event = stripe.handle.publish(&charge_event("evt_1", 5));
    for attempt in 1..=3_u32 {
        let received = hook.next().await;
        assert!(received.is_signed_with(created["secret"].as_str().unwrap()), "attempt {attempt}");
        stripe
            .handle
            .until(|handle| {
                handle.deliveries()[0].status.is_some()
                    && handle.deliveries()[0].attempts == attempt
                    && handle.deliveries()[0].stage != Stage::Sending
            })
            .await;
        assert_eq!(stripe.get("/v1/events?delivery_success=false").await.ids(), [event.as_str()]);
        stripe.handle.advance(Duration::from_hours(1));
    }
    let delivery = stripe.handle.deliveries().remove(0);
    assert_eq!((delivery.stage, delivery.attempts, delivery.status), (Stage::Failed, 3, Some(404)));
    assert_eq!(stripe.get(&format!("/v1/events/{event}")).await.body["pending_webhooks"], 1);
    assert_eq!(hook.count(), 3);
}

#[tokio::test]
async fn a_disabled_endpoint_never_gets_the_events_of_that_time() {
    let stripe = Stripe::start(empty()).await;
    let hook = Receiver::start().await;
    let created = endpoint(&stripe, &hook, "*").await;
    hook.answer_with(&[503]);
    stripe.handle.publish(&charge_event("evt_1", 1));
    hook.next().await;
    stripe.handle.until(|handle| handle.deliveries()[0].stage == Stage::Waiting).await;
    assert!(stripe.handle.disable_endpoint(id(&created)));
    stripe.handle.publish(&charge_event("evt_2", 2));
    let path = format!("/v1/webhook_endpoints/{}", id(&created));
    assert_eq!(stripe.post(&path, "disabled=false").await.body["status"], "enabled");
    stripe.handle.advance(Duration::from_hours(2));
    stripe.handle.publish(&charge_event("evt_3", 3));
    assert_eq!(hook.next().await.json()["id"], "evt_3");
    assert_eq!(hook.count(), 2);
    assert_eq!(stripe.get("/v1/events?delivery_success=false").await.ids(), ["evt_1"]);
}

#[tokio::test]
async fn a_rolled_secret_signs_beside_the_old_one_for_a_while() {
    let stripe = Stripe::start(empty()).await;
    let hook = Receiver::start().await;
    let created = endpoint(&stripe, &hook, "*").await;
    let old = created["secret"].as_str().unwrap();
    let new = stripe.handle.rotate_secret(id(&created), Duration::from_hours(24)).unwrap();
    stripe.handle.publish(&charge_event("evt_1", 1));
    let both = hook.next().await;
    assert!(both.is_signed_with(old) && both.is_signed_with(&new));
    stripe.handle.advance(Duration::from_hours(25));
    stripe.handle.publish(&charge_event("evt_2", 2));
    let one = hook.next().await;
    assert!(!one.is_signed_with(old) && one.is_signed_with(&new));
}

#[tokio::test]
async fn deliveries_are_dropped_lost_repeated_late_and_out_of_order() {
    let stripe = Stripe::start(empty()).await;
    let hook = Receiver::start().await;
    endpoint(&stripe, &hook, "*").await;
    let rules = [
        DeliveryFault::Drop,
        DeliveryFault::Lose,
        DeliveryFault::Twice,
        DeliveryFault::Late { seconds: 90 },
        DeliveryFault::OutOfOrder,
    ];
    for fault in rules {
        assert!(stripe.handle.delivery_fault(DeliveryRule::once(fault)));
    }
    for number in 1..=6 {
        stripe.handle.publish(&charge_event(&format!("evt_{number}"), number));
    }
    let mut ids = Vec::new();
    for _ in 0..4 {
        ids.push(hook.next().await.json()["id"].as_str().unwrap().to_owned());
    }
    ids[..3].sort();
    assert_eq!(ids, ["evt_3", "evt_3", "evt_6", "evt_5"]);
    stripe.handle.advance(Duration::from_secs(91));
    assert_eq!(hook.next().await.json()["id"], "evt_4");
    stripe
        .handle
        .until(|handle| {
            handle.deliveries().iter().all(|it| !matches!(it.stage, Stage::Waiting | Stage::Sending))
        })
        .await;
    assert_eq!(stripe.get("/v1/events?delivery_success=false").await.ids(), ["evt_1"]);
    assert_eq!(hook.count(), 5);
}

#[tokio::test]
async fn an_event_that_is_never_generated_leaves_only_its_object() {
    let stripe = Stripe::start(empty()).await;
    let hook = Receiver::start().await;
    endpoint(&stripe, &hook, "*").await;
    assert!(stripe.handle.delivery_fault(DeliveryRule::once(DeliveryFault::NeverGenerate).about("ch_1")));
    stripe.handle.publish(&charge_event("evt_1", 1));
    stripe.handle.publish(&charge_event("evt_2", 2));
    assert_eq!(hook.next().await.json()["id"], "evt_2");
    assert_eq!(stripe.get("/v1/events").await.ids(), ["evt_2"]);
    assert_eq!(stripe.get("/v1/charges/ch_1").await.body["amount"], 1);
}

#[tokio::test]
async fn events_are_forwarded_like_the_cli_does_and_the_shop_makes_them() {
    let hook = Receiver::start().await;
    let forward = Forward { url: hook.url(), secret: "whsec_forward".to_owned(), thin: true };
    let options = SandboxOptions { forward: Some(forward), history_days: 1, ..crate::harness::options() };
    let stripe = Stripe::start(options).await;
    assert_eq!(hook.count(), 0);
    assert!(stripe.handle.sell());
    stripe.handle.advance(Duration::from_secs(2));
    let received = hook.next().await;
    assert!(received.is_signed_with("whsec_forward"));
    let event = received.json();
    assert_eq!(event["object"], "v2.core.event");
    let url = event["related_object"]["url"].as_str().unwrap_or_default();
    assert_eq!(stripe.get(url).await.body["id"], event["related_object"]["id"]);
    assert_eq!(stripe.get("/v1/webhook_endpoints").await.ids(), Vec::<String>::new());
}

#[tokio::test]
async fn an_endpoint_elsewhere_is_reached_only_if_it_is_moved_here() {
    let stripe = Stripe::start(empty()).await;
    let hook = Receiver::start().await;
    stripe.post("/v1/webhook_endpoints", "url=https://example.com/hook&enabled_events[]=*").await;
    stripe.handle.publish(&charge_event("evt_1", 1));
    stripe.handle.until(|handle| handle.deliveries()[0].error.is_some()).await;
    assert_eq!(
        stripe.handle.deliveries()[0].error.as_deref(),
        Some("the stand-in sends only to this machine")
    );
    stripe.handle.set_deliver_to(Some(hook.url().trim_end_matches("/hook")));
    stripe.handle.retry_now();
    assert_eq!(hook.next().await.json()["id"], "evt_1");
}

#[tokio::test]
async fn an_endpoint_has_its_own_api_version_and_its_own_mode() {
    let stripe = Stripe::start(empty()).await;
    let (test, live) = (Receiver::start().await, Receiver::start().await);
    let created = endpoint(&stripe, &test, "*").await;
    stripe.handle.add_key(ApiKey::secret("sk_live_sandbox"));
    let form = format!("url={}&enabled_events[]=*", live.url());
    let request = stripe.with_key("POST", "/v1/webhook_endpoints", "sk_live_sandbox").body(form);
    assert_eq!(crate::harness::answer(request).await.body["livemode"], true);
    assert!(stripe.handle.set_api_version(id(&created), "2024-06-20"));
    stripe.handle.publish(&charge_event("evt_1", 1));
    assert_eq!(test.next().await.json()["api_version"], "2024-06-20");
    assert_eq!(stripe.get("/v1/events/evt_1").await.body["api_version"], "2026-10-28.endive");
    assert_eq!(live.count(), 0);
    let refused =
        stripe.with_key("DELETE", &format!("/v1/webhook_endpoints/{}", id(&created)), RESTRICTED_KEY);
    assert_eq!(crate::harness::answer(refused).await.status, 403);
}
