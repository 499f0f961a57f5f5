//! A preview shows the exact requests of a delivery, and sends none of them.

use crate::harness::{NOW, Service};
use notion_sandbox::{DATA_SOURCE_ID, Fault, FaultRule, LoggedRequest, Route, Template};
use serde_json::{Value, json};
use std::time::Duration;

fn payment(event: &str, created: i64, amount: i64) -> String {
    json!({"id": event, "object": "event", "type": "payment_intent.amount_capturable_updated", "created": created,
           "livemode": false, "data": {"object": {"id": "pi_1", "object": "payment_intent", "amount": amount,
           "currency": "eur", "status": "requires_capture"}}})
    .to_string()
}

/// A service whose executions wait: the first attempt of each new page fails, and the next is an hour
/// away.
async fn with_pending_executions(mode: &str) -> Service {
    let service = Service::builder()
        .set("NOTION_MODE", mode)
        .template(Template::Full)
        .retry_base(Duration::from_hours(1))
        .start()
        .await;
    service.sandbox.fault(FaultRule::once(Fault::Conflict).on(Route::Create)).unwrap();
    service
}

async fn preview(service: &Service, execution: &Value) -> Value {
    let before = writes(service).len();
    let answer = service.get(&format!("/api/v1/executions/{}/preview", execution["id"])).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(writes(service).len(), before, "a preview writes nothing");
    answer.json()
}

/// The requests to Notion that write, oldest first.
fn writes(service: &Service) -> Vec<LoggedRequest> {
    let is_write = |request: &LoggedRequest| request.path.starts_with("/v1/pages") && request.method != "GET";
    service.sandbox.requests().into_iter().filter(is_write).collect()
}

/// Checks that a shown request equals the sent one.
fn assert_sent(shown: &Value, sent: &LoggedRequest) {
    assert_eq!(shown["method"], sent.method.as_str());
    let address =
        if sent.query.is_empty() { sent.path.clone() } else { format!("{}?{}", sent.path, sent.query) };
    assert!(shown["url"].as_str().unwrap().ends_with(&address), "{shown} {address}");
    assert_eq!(shown["body"], *sent.body);
}

async fn retry(service: &Service, execution: &Value) {
    assert_eq!(service.post(&format!("/api/v1/executions/{}/retry", execution["id"])).await.status, 202);
}

#[tokio::test]
async fn the_preview_of_an_event_equals_the_sent_request() {
    let service = with_pending_executions("event").await;
    service.post_event(&payment("evt_1", NOW, 100)).await;
    let waits = |executions: &[Value]| executions[0]["attempt_count"] == 1;
    let execution = service.until("it waits", waits).await.remove(0);
    let shown = preview(&service, &execution).await;
    assert_eq!((&shown["effect"], &shown["status"]), (&json!("create"), &json!("pending")));
    assert_eq!((&shown["written_execution_id"], &shown["event_id"]), (&execution["id"], &json!("evt_1")));
    let columns = shown["columns"].as_array().unwrap();
    assert!(columns.contains(&json!("Amount")) && columns.contains(&json!("EventId")), "{shown}");
    retry(&service, &execution).await;
    service.until_finished(1).await;
    assert_eq!(shown["requests"].as_array().unwrap().len(), 1);
    assert_sent(&shown["requests"][0], writes(&service).last().unwrap());

    // For a finished execution it shows what a retry would send.
    let shown = preview(&service, &execution).await;
    assert_eq!((&shown["effect"], &shown["status"]), (&json!("update"), &json!("success")));
    retry(&service, &execution).await;
    service.until_finished(1).await;
    assert_sent(&shown["requests"][0], writes(&service).last().unwrap());
}

#[tokio::test]
async fn the_preview_of_an_object_shows_what_differs_from_its_page() {
    let service = with_pending_executions("object").await;
    service.post_event(&payment("evt_1", NOW, 100)).await;
    let waits = |executions: &[Value]| executions[0]["attempt_count"] == 1;
    let first = service.until("it waits", waits).await.remove(0);
    service.post_event(&payment("evt_2", NOW + 1, 200)).await;
    let second = service.executions().await.remove(1);
    let shown = preview(&service, &first).await;
    assert_eq!(shown["effect"], "look_first");
    assert_eq!((&shown["written_execution_id"], &shown["event_id"]), (&second["id"], &json!("evt_2")));
    let when: Vec<_> =
        shown["requests"].as_array().unwrap().iter().map(|request| request["when"].clone()).collect();
    assert_eq!(when, ["always", "found", "not_found"]);
    assert!(shown["requests"][1]["url"].as_str().unwrap().ends_with("/v1/pages/{found}"), "{shown}");
    retry(&service, &first).await;
    service.until_finished(2).await;
    assert_sent(&shown["requests"][2], writes(&service).last().unwrap());
    let is_lookup =
        |request: &LoggedRequest| request.path.ends_with("/query") && request.body.get("filter").is_some();
    let lookup = service.sandbox.requests().into_iter().rfind(is_lookup).unwrap();
    assert_sent(&shown["requests"][0], &lookup);

    // An older event that arrives late changes nothing.
    service.post_event(&payment("evt_0", NOW - 1, 50)).await;
    let late = service.until_finished(3).await.remove(2);
    let shown = preview(&service, &late).await;
    assert_eq!((&shown["effect"], &shown["status"]), (&json!("nothing"), &json!("superseded")));
    assert!(shown["notes"][0].as_str().unwrap().contains(&second["id"].to_string()), "{shown}");

    // A newer one shows the differences, and a retry shows everything.
    service.sandbox.fault(FaultRule::once(Fault::Conflict).on(Route::Update)).unwrap();
    service.post_event(&payment("evt_3", NOW + 2, 300)).await;
    let waits = |executions: &[Value]| executions.len() == 4 && executions[3]["attempt_count"] == 1;
    let third = service.until("it waits", waits).await.remove(3);
    let shown = preview(&service, &third).await;
    assert_eq!(shown["effect"], "update");
    assert_eq!(shown["columns"], json!(["Amount", "AmountText", "LastEventId", "Name", "OccurredAt"]));
    assert_sent(&shown["requests"][0], writes(&service).last().unwrap());
    retry(&service, &third).await;
    service.until_finished(4).await;
    let shown = preview(&service, &third).await;
    assert!(shown["columns"].as_array().unwrap().len() > 10, "{shown}");
    retry(&service, &third).await;
    service.until_finished(4).await;
    assert_sent(&shown["requests"][0], writes(&service).last().unwrap());
}

#[tokio::test]
async fn the_preview_of_a_write_in_doubt_shows_the_lookup_and_the_wait() {
    let service = Service::builder().set("NOTION_SETTLE_SECONDS", "600").start().await;
    service.sandbox.fault(FaultRule::once(Fault::Drop).on(Route::Create)).unwrap();
    service.post_event(&payment("evt_1", NOW, 100)).await;
    let is_in_doubt = |executions: &[Value]| executions[0]["error_class"] == "in_doubt";
    let execution = service.until("it is in doubt", is_in_doubt).await.remove(0);
    let shown = preview(&service, &execution).await;
    let when: Vec<_> =
        shown["requests"].as_array().unwrap().iter().map(|request| request["when"].clone()).collect();
    assert_eq!((&shown["effect"], when), (&json!("look_first"), vec![json!("always"), json!("not_found")]));
    assert!(shown["notes"][0].as_str().unwrap().contains("nothing is written in the next"), "{shown}");
}

#[tokio::test]
async fn a_value_that_its_column_cannot_hold_is_omitted_with_a_note() {
    let service = Service::start().await;
    service.sandbox.retype_column(DATA_SOURCE_ID, "Amount", "date").unwrap();
    service.post_event(&payment("evt_1", NOW, 100)).await;
    let execution = service.until_finished(1).await.remove(0);
    let shown = preview(&service, &execution).await;
    assert!(!shown["columns"].as_array().unwrap().contains(&json!("Amount")), "{shown}");
    assert!(shown["notes"][0].as_str().unwrap().contains("Amount"), "{shown}");
}

#[tokio::test]
async fn a_failed_preview_reports_the_reason() {
    let service = Service::start().await;
    let get = async |id: &str| service.get(&format!("/api/v1/executions/{id}/preview")).await;
    assert_eq!(get("1").await.problem(404), "not_found");
    assert_eq!(get("first").await.problem(400), "bad_request");

    service.sandbox.fault(FaultRule::always(Fault::Unauthorized)).unwrap();
    service.post_event(&payment("evt_1", NOW, 100)).await;
    let is_paused = |executions: &[Value]| executions[0]["error_class"] == "unauthorized";
    service.until("it is paused", is_paused).await;
    let answer = get("1").await;
    assert_eq!(answer.problem(409), "needs_operator");
    assert!(answer.json()["detail"].as_str().unwrap().contains("NOTION_API_KEY"), "{answer:?}");

    let busy = Service::start().await;
    busy.sandbox.fault(FaultRule::always(Fault::Overloaded { retry_after: Some(7) })).unwrap();
    busy.post_event(&payment("evt_1", NOW, 100)).await;
    let answer = busy.get("/api/v1/executions/1/preview").await;
    assert_eq!(answer.problem(503), "unavailable");
    assert!(answer.headers.contains_key("retry-after"), "{answer:?}");

    let gone = service.replica().set("DESTINATIONS", "").start().await;
    let answer = gone.get("/api/v1/executions/1/preview").await;
    assert_eq!(answer.problem(409), "no_destination");
}
