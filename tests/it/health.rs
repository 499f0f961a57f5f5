//! Health and probes: the same assessment as everywhere, without a key, and cheap for any number of
//! requests.

use crate::harness::{Service, rows, within};
use notion_sandbox::{Fault, FaultRule, Route};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// The subjects of the findings.
fn about(health: &Value) -> Vec<&str> {
    health["findings"].as_array().unwrap().iter().map(|finding| finding["kind"].as_str().unwrap()).collect()
}

async fn post(service: &Service, id: &str) {
    let body = json!({"id": id, "type": "invoice.paid", "data": {"object": {
        "id": "in_1", "object": "invoice", "currency": "eur", "status": "paid", "amount_paid": 5_845}}});
    assert_eq!(service.post_event(&body.to_string()).await.status, 200);
}

#[tokio::test]
async fn without_a_worker_health_is_degraded_with_a_remedy() {
    let service = Service::start().await;
    let report = within("no heartbeat is seen", async {
        loop {
            // The worker keeps sending heartbeats, so it is silent only briefly.
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
    assert_eq!((&report["status"], &report["database"]), (&json!("degraded"), &json!("ok")));
    let finding = &report["findings"][0];
    assert_eq!(
        (&finding["level"], &finding["message"]),
        (&json!("critical"), &json!("No worker is running"))
    );
    assert!(finding["remedy"].as_str().unwrap().contains("log"), "{report}");
    service.until_health("heartbeats are seen again", |health| health["status"] == "ok").await;
}

#[tokio::test]
async fn an_old_backlog_and_failures_degrade_health_without_counts() {
    let service = Service::start().await;
    service.until_health("it works", |health| health["status"] == "ok").await;
    let refusal = Fault::Invalid { message: "This is refused.".into() };
    service.sandbox.fault(FaultRule::once(refusal).on(Route::Create)).unwrap();
    post(&service, "evt_1").await;
    service.until_finished(1).await;
    service.database.change(rows::waiting_since(Duration::from_mins(20))).await;
    let report = service.until_health("both are seen", |health| about(health).len() == 2).await;
    assert_eq!((about(&report), &report["status"]), (vec!["backlog", "failures"], &json!("degraded")));
    for hidden in ["58.45", "EUR", "20 min", "evt_1"] {
        assert!(!report.to_string().contains(hidden), "{hidden} in {report}");
    }
}

#[tokio::test]
async fn a_slow_count_does_not_report_the_database_as_down() {
    // The claim, the rescue and the alerts also wait for the lock, each on a connection.
    let service = Service::builder().default_connections().start().await;
    service.until_ready().await;
    let lock = service.database.hold_lock(rows::queue()).await;
    let began = Instant::now();
    let (health, ready, scrape) =
        tokio::join!(service.get("/api/v1/health"), service.get("/readyz"), service.get("/metrics"));
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    let report = health.json();
    assert_eq!(
        (health.status.as_u16(), &report["database"], about(&report)),
        (200, &json!("ok"), vec!["database"])
    );
    assert_eq!((ready.status.as_u16(), &ready.json()["database"]), (200, &json!("ok")));
    assert!(scrape.body.contains("eventbridge_database_up 1"), "{scrape:?}");
    assert!(!scrape.body.contains("eventbridge_pending_executions{"), "{scrape:?}");
    drop(lock);
    service.until_health("it is counted again", |health| health["status"] == "ok").await;
}

#[tokio::test]
async fn slow_reads_do_not_make_a_process_unready() {
    let service = Service::start().await;
    service.until_ready().await;
    let lock = service.database.hold_lock(rows::events()).await;
    let lists = (0..8).map(|_| service.get("/api/v1/events"));
    let slow = futures_util::future::join_all(lists);
    let (ready, slow) = tokio::join!(service.get("/readyz"), slow);
    assert_eq!(ready.status, 200, "{ready:?}");
    assert!(slow.iter().all(|list| list.status == 503), "{slow:?}");
    drop(lock);
}
