//! Faults of the API, and what control can do over HTTP.

use crate::harness::{NOON, Stripe, answer, empty, options};
use serde_json::{Value, json};
use std::time::Duration;
use stripe_sandbox::{Fault, FaultRule};

#[tokio::test]
async fn errors_come_with_stripes_advice_on_retries() {
    let stripe = Stripe::start(empty()).await;
    let limited = Fault::RateLimited { retry_after: Some(2), should_retry: Some(true) };
    stripe.handle.fault(FaultRule::once(limited).on("events")).unwrap();
    let error = Fault::Error { status: 503, should_retry: Some(false) };
    stripe.handle.fault(FaultRule::once(error).on("charges").after(1)).unwrap();
    stripe.handle.fault(FaultRule::once(Fault::Html { status: 502 }).on("v2/core/events")).unwrap();
    let throttled = stripe.get("/v1/events").await;
    assert_eq!((throttled.status, throttled.header("retry-after")), (429, "2"));
    assert_eq!(throttled.header("stripe-should-retry"), "true");
    assert_eq!(throttled.body["error"]["code"], "rate_limit");
    assert_eq!(stripe.get("/v1/charges").await.status, 200);
    let unavailable = stripe.get("/v1/charges").await;
    assert_eq!((unavailable.status, unavailable.header("stripe-should-retry")), (503, "false"));
    assert_eq!(unavailable.body["error"]["type"], "api_error");
    let edge = stripe.get("/v2/core/events").await;
    assert_eq!((edge.status, &edge.body), (502, &Value::Null));
    assert_eq!(stripe.get("/v2/core/events").await.status, 200);
}

#[tokio::test]
async fn connections_are_cut_before_and_in_the_middle_of_an_answer() {
    let stripe = Stripe::start(options()).await;
    let path = "/v1/charges?limit=100";
    stripe.handle.fault(FaultRule::once(Fault::Drop).on("charges")).unwrap();
    stripe.handle.fault(FaultRule::once(Fault::DropBody).on("charges")).unwrap();
    assert!(stripe.with_key("GET", path, &stripe.key).send().await.is_err());
    let half = stripe.with_key("GET", path, &stripe.key).send().await.unwrap();
    assert_eq!(half.status(), 200);
    assert!(half.bytes().await.is_err());
    assert_eq!(stripe.get(path).await.ids().len(), 100);
}

#[tokio::test]
async fn no_answer_comes_until_the_client_gives_up() {
    let stripe = Stripe::start(empty()).await;
    stripe.handle.fault(FaultRule::once(Fault::Timeout)).unwrap();
    let request = stripe.with_key("GET", "/v1/charges", &stripe.key).timeout(Duration::from_millis(50));
    assert!(request.send().await.unwrap_err().is_timeout());
    stripe.handle.until(|handle| handle.requests()[0].status.is_none()).await;
    assert_eq!(stripe.get("/v1/charges").await.status, 200);
}

#[tokio::test]
async fn a_write_can_be_done_though_its_answer_is_an_error() {
    let stripe = Stripe::start(empty()).await;
    stripe.handle.fault(FaultRule::once(Fault::ErrorAfterWrite { status: 500 })).unwrap();
    let failed = stripe.post("/v1/webhook_endpoints", "url=https://a.example&enabled_events[]=*").await;
    assert_eq!((failed.status, stripe.handle.endpoints().len()), (500, 1));
}

#[tokio::test]
async fn everything_can_be_controlled_over_http() {
    let stripe = Stripe::start(empty()).await;
    let base = stripe.sandbox.base_url();
    let send = |method: &str, path: &str, body: Value| {
        let url = format!("{base}/_sandbox/{path}");
        answer(stripe.http.request(method.parse().unwrap(), url).json(&body))
    };
    let clock = send("PUT", "clock", json!({"advance_seconds": 60, "skew_seconds": 5})).await;
    assert_eq!(clock.body["now"], NOON + 60);
    assert_eq!(stripe.get("/v1/charges").await.header("date"), "Sun, 15 Nov 2026 12:01:05 GMT");
    assert_eq!(send("PUT", "objects", json!({"object": "coupon", "id": "ten"})).await.status, 204);
    assert_eq!(send("DELETE", "objects/ten", json!({})).await.status, 204);
    assert_eq!(send("DELETE", "objects/ten", json!({})).await.status, 404);
    let event = json!({"type": "charge.failed", "data": {"object": {"object": "charge", "id": "ch_1"}}});
    let id = send("POST", "events", event).await.body["id"].clone();
    assert_eq!(stripe.handle.events()[0]["id"], id);
    assert_eq!(send("POST", "events", json!({"type": ""})).await.status, 400);
    assert_eq!(
        send("POST", "faults", json!({"kind": "error", "status": 500, "route": "events"})).await.status,
        200
    );
    assert_eq!(send("POST", "faults", json!({"kind": "nonsense"})).await.status, 400);
    assert_eq!(send("DELETE", "faults", json!({})).await.status, 204);
    assert_eq!(
        send("POST", "delivery_faults", json!({"kind": "drop", "times": 50})).await.body[0]["times"],
        50
    );
    assert_eq!(
        send("POST", "delivery_faults", json!({"kind": "drop", "probability": 2.0})).await.status,
        400
    );
    assert_eq!(send("DELETE", "delivery_faults", json!({})).await.status, 204);
    assert_eq!(send("POST", "keys", json!({"key": "rk_test_new", "permissions": []})).await.status, 204);
    assert_eq!(answer(stripe.with_key("GET", "/v1/charges", "rk_test_new")).await.status, 403);
    assert_eq!(send("DELETE", "keys/rk_test_new", json!({})).await.status, 204);
    assert_eq!(answer(stripe.with_key("GET", "/v1/charges", "rk_test_new")).await.status, 401);
    stripe.post("/v1/webhook_endpoints", "url=https://a.example&enabled_events[]=*").await;
    let endpoint = send("GET", "endpoints", Value::Null).await.body[0].clone();
    let path = format!("endpoints/{}", endpoint["id"].as_str().unwrap());
    let changed =
        send("PUT", &path, json!({"enabled": false, "rotate_secret_seconds": 60, "api_version": "x"})).await;
    assert_ne!(changed.body["secret"], endpoint["secret"]);
    assert_eq!(send("GET", "endpoints", Value::Null).await.body[0]["status"], "disabled");
    assert_eq!(send("PUT", "endpoints/we_none", json!({})).await.status, 404);
    assert_eq!(send("PUT", "deliveries/retry", json!({})).await.status, 204);
    assert_eq!(send("GET", "deliveries", Value::Null).await.body, json!([]));
    assert_eq!(send("POST", "sales", json!({})).await.status, 404);
    let stats = send("GET", "stats", Value::Null).await.body;
    assert_eq!((&stats["events"], &stats["deliveries"]["waiting"]), (&json!(1), &json!(0)));
}

#[tokio::test]
async fn foreign_pages_reach_nothing() {
    let stripe = Stripe::start(empty()).await;
    let foreign = stripe.with_key("GET", "/v1/charges", &stripe.key).header("origin", "https://evil.example");
    assert_eq!(answer(foreign).await.status, 403);
}

#[tokio::test]
async fn the_clock_runs_and_events_appear() {
    let mut options = options();
    (options.speed, options.history_days) = (3600.0 * 12.0, 2);
    let stripe = Stripe::start(options).await;
    let before = stripe.handle.event_count();
    crate::harness::within("events appear", stripe.handle.until(|handle| handle.event_count() > before + 20))
        .await;
    assert!(stripe.handle.now() > NOON);
}

#[tokio::test]
async fn the_same_seed_gives_the_same_account() {
    let ids = async |seed: u64| {
        let stripe =
            Stripe::start(stripe_sandbox::SandboxOptions { seed, history_days: 5, ..options() }).await;
        stripe.handle.advance(Duration::from_hours(100));
        (stripe.handle.events(), stripe.handle.objects("balance_transactions"))
    };
    assert_eq!(ids(3).await, ids(3).await);
    assert_ne!(ids(3).await.0, ids(4).await.0);
}

#[tokio::test]
async fn a_full_shop_sells_nothing_more_and_its_books_still_balance() {
    let mut options = options();
    (options.objects_max, options.events_max, options.history_days) = (300, 100, 20);
    let stripe = Stripe::start(options).await;
    stripe.handle.advance(Duration::from_hours(24 * 60));
    let total: usize = ["charges", "customers", "payment_intents", "balance_transactions", "refunds"]
        .iter()
        .map(|list| stripe.handle.objects(list).len())
        .sum();
    assert!(total < 500, "{total}");
    assert_eq!(stripe.handle.event_count(), 100);
}
