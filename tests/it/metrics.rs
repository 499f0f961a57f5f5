//! The metrics, who may read them, and that dashboards and alert rules use existing names.

use crate::harness::rows::{Paused, Set};
use crate::harness::{Service, rows, signed, within};
use axum::body::Body;
use axum::http::Request;
use serde_json::json;
use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

const READ_KEY: &str = "read-0123456789abcdef0123456789abcdef";

fn event(id: &str) -> String {
    json!({"id": id, "type": "invoice.paid", "data": {"object": {"id": "in_1", "object": "invoice"}}})
        .to_string()
}

/// The value of a series in a scrape.
fn value(scrape: &str, series: &str) -> Option<f64> {
    let line =
        scrape.lines().find(|line| line.strip_prefix(series).is_some_and(|rest| rest.starts_with(' ')))?;
    line.rsplit(' ').next()?.parse().ok()
}

async fn scrape(service: &Service) -> String {
    let answer = service.get("/metrics").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(answer.headers["content-type"].to_str().unwrap().starts_with("application/openmetrics-text"));
    assert!(answer.body.ends_with("# EOF\n"), "{}", answer.body);
    answer.body
}

#[tokio::test]
async fn everything_is_counted_from_the_request_to_the_page() {
    let service = Service::start().await;
    service.post_event(&event("evt_1")).await;
    service.post_event(&event("evt_1")).await;
    service.until_finished(1).await;
    let unsigned = Request::post("/api/v1/webhooks/stripe").header("host", "localhost");
    service.call(unsigned.body(Body::from("{}")).unwrap()).await.problem(400);
    service.call(signed("no event")).await.problem(400);
    let scrape = scrape(&service).await;
    for (series, expected) in [
        (r#"eventbridge_webhooks_total{outcome="new",reason=""}"#, 1.0),
        (r#"eventbridge_webhooks_total{outcome="duplicate",reason=""}"#, 1.0),
        (r#"eventbridge_webhooks_total{outcome="rejected",reason="signature_missing"}"#, 1.0),
        (r#"eventbridge_webhooks_total{outcome="rejected",reason="body_not_an_event"}"#, 1.0),
        ("eventbridge_acknowledgement_seconds_count", 2.0),
        ("eventbridge_batch_events_count", 2.0),
        (r#"eventbridge_attempts_total{destination="notion",outcome="delivered"}"#, 1.0),
        (r#"eventbridge_executions_total{destination="notion",status="success",repeated="false"}"#, 1.0),
        (r#"eventbridge_receipt_to_delivery_seconds_count{destination="notion"}"#, 1.0),
        (r#"eventbridge_pending_executions{destination="notion"}"#, 0.0),
        (r#"eventbridge_destination_paused{destination="notion"}"#, 0.0),
        ("eventbridge_database_up", 1.0),
        ("eventbridge_database_connections_max", 3.0),
    ] {
        assert_eq!(value(&scrape, series), Some(expected), "{series}\n{scrape}");
    }
    assert!(
        value(&scrape, r#"eventbridge_receipt_to_delivery_seconds_sum{destination="notion"}"#).unwrap()
            < 30.0
    );
}

#[tokio::test]
async fn an_execution_that_crashed_too_often_is_counted_as_failed() {
    let service = Service::start().await;
    service.database.change(rows::poisonous_execution()).await;
    let counted = within("the execution is failed", async {
        loop {
            let scrape = scrape(&service).await;
            if value(&scrape, "eventbridge_rescued_executions_total") == Some(1.0) {
                return scrape;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    for series in [
        r#"eventbridge_executions_total{destination="notion",status="failed",repeated="false"}"#,
        r#"eventbridge_attempts_total{destination="notion",outcome="crashed"}"#,
    ] {
        assert_eq!(value(&counted, series), Some(1.0), "{series}\n{counted}");
    }
}

#[tokio::test]
async fn the_backlog_is_exposed_with_its_age_and_pauses() {
    let service = Service::start().await;
    service.database.change(Paused::of("notion")).await;
    service.post_event(&event("evt_1")).await;
    let aged = [Set::CreatedAgo(Duration::from_hours(1)), Set::Status("pending")];
    service.database.change(rows::executions().set(&aged)).await;
    let scrape = scrape(&service).await;
    assert_eq!(
        value(&scrape, r#"eventbridge_pending_executions{destination="notion"}"#),
        Some(1.0),
        "{scrape}"
    );
    assert_eq!(value(&scrape, r#"eventbridge_destination_paused{destination="notion"}"#), Some(1.0));
    let age = value(&scrape, r#"eventbridge_oldest_pending_seconds{destination="notion"}"#).unwrap();
    assert!((3600.0..3700.0).contains(&age), "{age}");
}

#[tokio::test]
async fn a_scrape_succeeds_and_reports_it_while_the_database_is_down() {
    let service = Service::builder().without_database().start().await;
    let began = Instant::now();
    let scrape = scrape(&service).await;
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(value(&scrape, "eventbridge_database_up"), Some(0.0));
    assert!(!scrape.contains("eventbridge_pending_executions{"), "{scrape}");
}

#[tokio::test]
async fn a_scrape_requires_a_read_key_unless_metrics_are_public() {
    let keys = format!("prometheus:read:{READ_KEY}");
    let closed = Service::builder().production().set("API_KEYS", &keys).start().await;
    assert_eq!(closed.get("/metrics").await.problem(401), "unauthorized");
    let request = Request::get("/metrics").header("authorization", format!("Bearer {READ_KEY}"));
    assert_eq!(closed.call(request.body(Body::empty()).unwrap()).await.status, 200);
    let open = closed.replica().production().set("API_KEYS", &keys).set("METRICS_AUTH", "off").start().await;
    assert_eq!(open.get("/metrics").await.status, 200);
    assert_eq!(open.get("/api/v1/events").await.problem(401), "unauthorized");
}

/// Every name that begins with our prefix.
fn named(text: &str) -> BTreeSet<String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let places = text.match_indices("eventbridge_").filter(|(at, _)| !text[..*at].ends_with(is_part));
    places.map(|(at, _)| text[at..].chars().take_while(|c| is_part(*c)).collect()).collect()
}

#[tokio::test]
async fn every_metric_of_the_dashboard_and_the_rules_exists() {
    let service = Service::start().await;
    service.post_event(&event("evt_1")).await;
    service.until_finished(1).await;
    let exposed = named(&scrape(&service).await);
    for file in ["deploy/grafana/eventbridge.json", "deploy/prometheus/alerts.yml"] {
        let path = PathBuf::from(env!("EVENTBRIDGE_CHECKOUT")).join(file);
        let used = named(&fs::read_to_string(&path).unwrap());
        assert!(used.len() > 8, "{file}: {used:?}");
        let missing: Vec<_> = used.difference(&exposed).collect();
        assert!(missing.is_empty(), "{file} names metrics that no scrape contains: {missing:?}");
    }
}

#[tokio::test]
async fn a_process_is_live_always_and_ready_with_a_database_and_a_worker() {
    let service = Service::start().await;
    service.post_event(&event("evt_1")).await;
    service.until_finished(1).await;
    let ready = service.get("/readyz").await;
    assert_eq!(ready.status, 200, "{ready:?}");
    assert_eq!(ready.json(), json!({"status": "ready", "database": "ok", "worker": "ok"}));

    let away = service.replica().without_database().start().await;
    assert_eq!(away.get("/livez").await.json(), json!({"status": "alive"}));
    let not_ready = away.get("/readyz").await;
    assert_eq!(not_ready.status, 503);
    assert_eq!(
        not_ready.json(),
        json!({"status": "not_ready", "database": "unavailable", "worker": "silent"})
    );

    for broken in [rows::fail_migrations(), rows::hide_migrations()] {
        service.database.change(&broken).await;
        // One that has not checked yet: the response may be a second old.
        let fresh = service.replica().start().await;
        assert_eq!(fresh.get("/readyz").await.json()["database"], "not_migrated", "{broken:?}");
    }
}

#[tokio::test]
async fn readiness_without_destinations_requires_no_worker() {
    let service = Service::builder().set("DESTINATIONS", "").start().await;
    assert_eq!(
        service.get("/readyz").await.json(),
        json!({"status": "ready", "database": "ok", "worker": "none"})
    );
}
