//! Rejected webhooks: a sample is stored, and their cause is explained.

use crate::harness::{Answer, Database, NOW, SECRET, Service, rows, within};
use axum::body::Body;
use axum::http::Request;
use eventbridge::domain::rejection::{BodyForm, RejectionSample};
use eventbridge::domain::unanswered::ClaimedEvent;
use eventbridge::sources::stripe;
use eventbridge::store::REJECTIONS_KEPT;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// An event in Stripe's layout.
fn event(id: &str) -> String {
    let event = json!({"id": id, "object": "event", "type": "invoice.paid", "livemode": true,
                       "data": {"object": {"id": "in_1", "object": "invoice", "customer_email": "jane@example.com"}}});
    serde_json::to_string_pretty(&event).unwrap()
}

/// The same of test mode, which the secret of the service accepts.
fn of_test_mode(id: &str) -> String {
    event(id).replace(r#""livemode": true"#, r#""livemode": false"#)
}

/// A service that only stores, so that only ingest runs.
async fn service() -> Service {
    Service::builder()
        .set("DESTINATIONS", "")
        .set("STRIPE_WEBHOOK_SECRET", &format!("test={SECRET}"))
        .start()
        .await
}

async fn post(service: &Service, secret: &str, body: &str) -> Answer {
    post_signed(service, &stripe::sign(secret, body.as_bytes(), NOW), body).await
}

async fn post_signed(service: &Service, signature: &str, body: &str) -> Answer {
    let request = Request::post("/api/v1/webhooks/stripe")
        .header("host", "localhost")
        .header("user-agent", "Stripe/1.0 (+https://stripe.com/docs/webhooks)")
        .header("stripe-signature", signature)
        .header("x-forwarded-for", "203.0.113.7")
        .body(Body::from(body.to_owned()));
    service.call(request.unwrap()).await
}

/// The API's response once this many are stored.
async fn listed(service: &Service, count: usize) -> Value {
    within("rejections are stored", async {
        loop {
            let listing = service.get("/api/v1/rejections").await.json();
            if listing["data"].as_array().unwrap().len() >= count {
                return listing;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
}

#[tokio::test]
async fn a_wrong_secret_is_reported_until_an_event_is_accepted() {
    let service = service().await;
    post(&service, "whsec_of_live_mode", &event("evt_1")).await.problem(400);
    let listing = listed(&service, 1).await;
    let cause = &listing["causes"][0];
    assert_eq!((&cause["cause"], &cause["is_current"]), (&json!("wrong_secret"), &json!(true)), "{listing}");
    assert!(cause["message"].as_str().unwrap().contains("live mode, but the secrets' names"), "{listing}");
    let rejection = &listing["data"][0];
    for (field, expected) in [
        ("reason", json!("signature_no_match")),
        ("body_form", json!("as_sent")),
        ("by_sender", json!(true)),
        ("livemode", json!(true)),
        ("body_bytes", json!(event("evt_1").len())),
        ("claimed_at", json!("2027-01-15T08:00:00Z")),
        ("header_names", json!(["host", "stripe-signature", "user-agent", "x-forwarded-for"])),
    ] {
        assert_eq!(rejection[field], expected, "{field}");
    }
    for secret in ["jane@example.com", "203.0.113.7", SECRET, "v1="] {
        assert!(!listing.to_string().contains(secret), "{secret} in {listing}");
    }
    let health = service.get("/api/v1/health").await.json();
    assert_eq!((&health["status"], &health["warnings"][0]["cause"]), (&json!("ok"), &json!("wrong_secret")));

    assert_eq!(post(&service, SECRET, &of_test_mode("evt_2")).await.status, 200);
    let listing = service.get("/api/v1/rejections").await.json();
    assert_eq!(listing["causes"][0]["is_current"], false, "{listing}");
    assert!(listing["last_accepted_at"].is_string());
    service.until_health("no warning is left", |health| health["warnings"] == json!([])).await;
}

#[tokio::test]
async fn a_body_rewritten_in_transit_is_reported_as_such() {
    let service = service().await;
    let sent = event("evt_1");
    let rewritten = serde_json::from_str::<Value>(&sent).unwrap().to_string();
    let request = Request::post("/api/v1/webhooks/stripe")
        .header("host", "localhost")
        .header("stripe-signature", stripe::sign(SECRET, sent.as_bytes(), NOW))
        .body(Body::from(rewritten));
    service.call(request.unwrap()).await.problem(400);
    let listing = listed(&service, 1).await;
    assert_eq!(listing["causes"][0]["cause"], "body_rewritten", "{listing}");
}

#[tokio::test]
async fn of_many_rejections_one_is_stored_and_the_others_are_counted() {
    let service = service().await;
    let began = Instant::now();
    let mut posted = 0;
    // The next stored one has the count of those that were not.
    let listing = within("another one is stored", async {
        loop {
            post(&service, "whsec_wrong", &event(&format!("evt_{posted}"))).await.problem(400);
            posted += 1;
            let listing = service.get("/api/v1/rejections").await.json();
            if posted > 30 && listing["data"].as_array().unwrap().len() > 1 {
                return listing;
            }
        }
    })
    .await;
    let rows = listing["data"].as_array().unwrap();
    assert!(rows.len() as u64 <= began.elapsed().as_secs() + 1, "{}", rows.len());
    let seen: u64 = rows.iter().map(|row| row["unseen"].as_u64().unwrap() + 1).sum();
    assert_eq!(listing["causes"][0]["count"], seen);
    assert!(seen > rows.len() as u64 && seen <= posted, "{seen} of {posted}");
}

#[tokio::test]
async fn a_burst_within_a_second_is_counted_in_full() {
    let service = service().await;
    for number in 0..7 {
        post(&service, "whsec_wrong", &event(&format!("evt_{number}"))).await.problem(400);
    }
    within("all are counted", async {
        while service.get("/api/v1/rejections").await.json()["causes"][0]["count"] != 7 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn the_newest_rejections_replace_the_oldest() {
    let database = Database::new().await;
    let store = database.store();
    for number in 0..=u64::try_from(REJECTIONS_KEPT).unwrap() {
        let sample = RejectionSample {
            source: "stripe".to_owned(),
            reason: "signature_missing".to_owned(),
            header_names: vec!["host".to_owned()],
            by_sender: false,
            body_bytes: number,
            body_sha256: String::new(),
            form: BodyForm::Empty,
            claimed_at: Some(i64::MAX),
            livemode: None,
            unseen: 0,
        };
        store.rejections.record_rejection(&sample).await.unwrap();
    }
    let listed = store.rejections.rejections().await.unwrap();
    let lengths: Vec<_> = listed.iter().map(|one| one.sample.body_bytes).collect();
    assert_eq!(lengths, (1..=100).rev().collect::<Vec<_>>());
    assert_eq!(database.count(rows::rejections()).await, REJECTIONS_KEPT);
}

#[tokio::test]
async fn forged_ids_displace_no_event_that_was_there_before_and_accepted_ones_make_room() {
    const KEPT: usize = 200;
    let service = service().await;
    let rejections = service.database.store().rejections;
    let claimed = |id: &str, is_signed| {
        let event = ClaimedEvent {
            source: "stripe".to_owned(),
            event_id: id.to_owned(),
            event_type: "invoice.created".to_owned(),
            livemode: Some(true),
            is_signed,
        };
        (event, Duration::from_mins(1))
    };
    let has =
        async |id: &str| rejections.unanswered().await.unwrap().iter().any(|one| one.event.event_id == id);
    let (genuine, mut age) = claimed("evt_genuine", false);
    age += Duration::from_mins(1);
    rejections.record_unanswered(&[(genuine, age)]).await.unwrap();
    let forged: Vec<_> = (0..KEPT).map(|number| claimed(&format!("evt_forged_{number}"), false)).collect();
    rejections.record_unanswered(&forged).await.unwrap();
    assert!(has("evt_genuine").await);
    assert_eq!(rejections.unanswered().await.unwrap().len(), KEPT);

    // A signed one comes first, and leaves its place when it is accepted.
    rejections.record_unanswered(&[claimed("evt_1", true)]).await.unwrap();
    assert!(has("evt_1").await);
    assert_eq!(post(&service, SECRET, &of_test_mode("evt_1")).await.status, 200);
    rejections.record_unanswered(&[claimed("evt_forged_more", false)]).await.unwrap();
    assert_eq!(rejections.unanswered().await.unwrap().len(), KEPT);

    // One that the sender would have repeated by now is forgotten.
    service.database.change(rows::age_unanswered(Duration::from_hours(24), false)).await;
    rejections.record_unanswered(&[claimed("evt_2", false)]).await.unwrap();
    assert_eq!(rejections.unanswered().await.unwrap().len(), 1);
    service.stop().await;
}

#[tokio::test]
async fn a_rejection_needs_no_database() {
    let service = Service::builder().without_database().start().await;
    assert_eq!(post(&service, "whsec_wrong", &event("evt_1")).await.problem(400), "signature_no_match");
}

#[tokio::test]
async fn a_test_secret_vouches_for_no_event_of_live_mode_unless_another_secret_does() {
    let live = "whsec_of_the_live_endpoint_0123456789";
    let secrets = format!("test-eu={SECRET},live={live}");
    let service =
        Service::builder().set("DESTINATIONS", "").set("STRIPE_WEBHOOK_SECRET", &secrets).start().await;
    let event = |id: &str, livemode: Value| {
        json!({"id": id, "object": "event", "type": "invoice.paid", "livemode": livemode,
               "data": {"object": {"id": "in_1", "object": "invoice"}}})
        .to_string()
    };
    let forged = event("evt_forged", json!(true));
    assert_eq!(post(&service, SECRET, &forged).await.problem(400), "live_event_with_test_secret");
    for (secret, id, livemode) in [
        (SECRET, "evt_test", json!(false)),
        (SECRET, "evt_of_no_mode", Value::Null),
        (live, "evt_live", json!(true)),
        (live, "evt_of_a_connected_account", json!(false)),
    ] {
        assert_eq!(post(&service, secret, &event(id, livemode)).await.status, 200, "{id}");
    }
    // As while a secret is rolled: the request is signed with both.
    let body = event("evt_signed_twice", json!(true));
    let both = format!(
        "{},{}",
        stripe::sign(SECRET, body.as_bytes(), NOW),
        stripe::sign(live, body.as_bytes(), NOW).split_once(',').unwrap().1
    );
    assert_eq!(post_signed(&service, &both, &body).await.status, 200);
    let listing = listed(&service, 1).await;
    let sample = &listing["data"][0];
    assert_eq!(
        (&sample["reason"], &sample["livemode"]),
        (&json!("live_event_with_test_secret"), &json!(true))
    );
    assert_eq!(listing["causes"][0]["cause"], "test_secret");
    assert!(service.get("/api/v1/events/evt_forged").await.problem(404).contains("not_found"));
}
