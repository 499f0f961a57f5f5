//! Health and probes: the same assessment as everywhere, without a key, and cheap however many ask.

use crate::harness::{Service, rows, within};
use notion_sandbox::{Fault, FaultRule, Route};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// The matters of the findings.
fn about(health: &Value) -> Vec<&str> {
    health["troubles"].as_array().unwrap().iter().map(|trouble| trouble["about"].as_str().unwrap()).collect()
}

async fn post(service: &Service, id: &str) {
    let body = json!({"id": id, "type": "invoice.paid", "data": {"object": {
        "id": "in_1", "object": "invoice", "currency": "eur", "status": "paid", "amount_paid": 5_845}}});
    assert_eq!(service.post_event(&body.to_string()).await.status, 200);
}

#[tokio::test]
async fn while_no_worker_runs_health_is_degraded_and_says_what_to_do() {
    let service = Service::start().await;
    let told = within("nobody beats", async {
        loop {
            // The worker goes on beating, so it is silent for a moment at a time.
            service.database.change(rows::silence_workers(Duration::from_mins(1))).await;
            let health = service.get("/api/v1/health").await;
            assert_eq!(health.status, 200);
            let health = health.json();
            if about(&health) == ["no_worker"] {
                return health;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    assert_eq!((&told["status"], &told["database"]), (&json!("degraded"), &json!("ok")));
    let trouble = &told["troubles"][0];
    assert_eq!((&trouble["level"], &trouble["says"]), (&json!("critical"), &json!("No worker is running")));
    assert!(trouble["remedy"].as_str().unwrap().contains("log"), "{told}");
    service.until_health("it beats again", |health| health["status"] == "ok").await;
}

#[tokio::test]
async fn an_old_backlog_and_failures_degrade_health_without_a_number_of_theirs() {
    let service = Service::start().await;
    service.until_health("it works", |health| health["status"] == "ok").await;
    let refusal = Fault::Invalid { message: "This is refused.".into() };
    service.sandbox.fault(FaultRule::once(refusal).on(Route::Create)).unwrap();
    post(&service, "evt_1").await;
    service.until_finished(1).await;
    service.database.change(rows::waiting_since(Duration::from_mins(20))).await;
    let told = service.until_health("both are seen", |health| about(health).len() == 2).await;
    assert_eq!((about(&told), &told["status"]), (vec!["backlog", "failures"], &json!("degraded")));
    for hidden in ["58.45", "EUR", "20 min", "evt_1"] {
        assert!(!told.to_string().contains(hidden), "{hidden} in {told}");
    }
}

#[tokio::test]
async fn where_counting_takes_too_long_the_database_is_not_said_to_be_away() {
    // The claim, the rescue and the alerts wait for the lock as well, each on a connection.
    let service = Service::builder().default_connections().start().await;
    let lock = service.database.hold_lock(rows::executions()).await;
    let began = Instant::now();
    let (health, ready, scrape) =
        tokio::join!(service.get("/api/v1/health"), service.get("/readyz"), service.get("/metrics"));
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    let told = health.json();
    assert_eq!(
        (health.status.as_u16(), &told["database"], about(&told)),
        (200, &json!("ok"), vec!["unknown"])
    );
    assert_eq!((ready.status.as_u16(), &ready.json()["database"]), (200, &json!("ok")));
    assert!(scrape.body.contains("eventbridge_database_up 1"), "{scrape:?}");
    assert!(!scrape.body.contains("eventbridge_pending_executions{"), "{scrape:?}");
    drop(lock);
    service.until_health("it is counted again", |health| health["status"] == "ok").await;
}

#[tokio::test]
async fn what_people_read_slowly_takes_no_process_out_of_service() {
    let service = Service::start().await;
    let lock = service.database.hold_lock(rows::events()).await;
    let lists = (0..8).map(|_| service.get("/api/v1/events"));
    let slow = futures_util::future::join_all(lists);
    let (ready, slow) = tokio::join!(service.get("/readyz"), slow);
    assert_eq!(ready.status, 200, "{ready:?}");
    assert!(slow.iter().all(|list| list.status == 503), "{slow:?}");
    drop(lock);
}
