//! Retries and replays of what was delivered before: cancelled, counted, and told from first deliveries.

use crate::harness::rows::Set;
use crate::harness::{NOW, Service, rows};
use eventbridge::domain::audit::Caller;
use eventbridge::domain::execution::{ExecutionId, Status};
use eventbridge::store::CancelResult;
use notion_sandbox::{Fault, FaultRule, Route, Template};
use serde_json::{Value, json};

fn state(event: &str, created: i64, amount: i64) -> String {
    json!({"id": event, "type": "payment_intent.processing", "created": NOW + created, "livemode": false,
        "data": {"object": {"id": "pi_1", "object": "payment_intent", "amount": amount, "currency": "eur"}}})
    .to_string()
}

async fn pause(service: &Service) {
    let caller = Caller::at_command_line("ann");
    service.database.store().destinations.pause_manually("notion", "for the test", &caller).await.unwrap();
}

async fn resume(service: &Service) {
    assert_eq!(service.post("/api/v1/destinations/notion/resume").await.status, 200);
}

async fn retry(service: &Service, id: &Value) {
    assert_eq!(service.post(&format!("/api/v1/executions/{id}/retry")).await.status, 202);
}

async fn cancelled(service: &Service, id: &Value) -> Value {
    let answer = service.post(&format!("/api/v1/executions/{id}/cancel")).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

#[tokio::test]
async fn a_cancelled_retry_of_a_delivered_execution_leaves_it_delivered() {
    let service = Service::start().await;
    service.post_event(r#"{"id":"evt_1"}"#).await;
    let delivered = service.until_finished(1).await.remove(0);
    pause(&service).await;
    retry(&service, &delivered["id"]).await;
    // A second retry of what still waits repeats the same delivery.
    retry(&service, &delivered["id"]).await;
    // The cancel can be repeated.
    for _ in 0..2 {
        assert_eq!(cancelled(&service, &delivered["id"]).await, delivered);
    }
    let audit = service.get("/api/v1/audit").await.json();
    assert_eq!(audit["data"][1]["action"], "execution.cancelled", "{audit}");
    assert_eq!(audit["data"][1]["detail"], json!({"was": "pending", "restored": "success"}));
    let page = service.get(&format!("/executions/{}", delivered["id"])).await.body;
    assert!(page.contains("Repetition cancelled by") && page.contains("It stays delivered"), "{page}");
    resume(&service).await;
    assert_eq!(service.sandbox.page_count(), 1);
    // It can be retried again.
    retry(&service, &delivered["id"]).await;
    assert_eq!(service.until_finished(1).await[0]["status"], "success");
}

#[tokio::test]
async fn failed_attempts_of_a_cancelled_retry_do_not_count_for_the_delivery() {
    let service = Service::builder().retry_base(std::time::Duration::from_mins(10)).start().await;
    service.post_event(r#"{"id":"evt_1"}"#).await;
    let delivered = service.until_finished(1).await.remove(0);
    service.sandbox.fault(FaultRule::always(Fault::Conflict).on(Route::Update)).unwrap();
    retry(&service, &delivered["id"]).await;
    let has_failed =
        |executions: &[Value]| executions[0]["attempt_count"] == 1 && executions[0]["status"] == "pending";
    service.until("an attempt has failed", has_failed).await;
    assert_eq!(cancelled(&service, &delivered["id"]).await, delivered);
}

#[tokio::test]
async fn a_cancelled_replay_leaves_each_execution_as_it_was_and_the_task_knows_it() {
    let service = Service::builder().set("NOTION_MODE", "object").template(Template::Full).start().await;
    service.post_event(&state("evt_1", 0, 100)).await;
    // Without an object it is skipped.
    service.post_event(r#"{"id":"evt_2","type":"invoice.paid"}"#).await;
    let before = service.until_finished(2).await;
    assert_eq!((&before[0]["status"], &before[1]["status"]), (&json!("success"), &json!("skipped")));
    pause(&service).await;
    let created = service.post("/api/v1/events/replay?all=true").await;
    assert_eq!(created.status, 202, "{created:?}");
    let path = created.headers["location"].to_str().unwrap().to_owned();
    assert_eq!(service.until_task_ended(&path).await["progress"]["queued"], 2);
    for execution in &before {
        assert_eq!(cancelled(&service, &execution["id"]).await, *execution);
    }
    assert_eq!(
        service.get(&path).await.json()["executions"],
        json!({"pending": 0, "success": 0, "failed": 0, "other": 2, "is_cut": false}),
        "the task delivered none of them"
    );
}

#[tokio::test]
async fn a_cancelled_retry_of_the_shown_state_still_precedes_older_states() {
    let service = Service::builder().set("NOTION_MODE", "object").template(Template::Full).start().await;
    service.post_event(&state("evt_new", 5, 500)).await;
    let shown = service.until_finished(1).await.remove(0);
    pause(&service).await;
    retry(&service, &shown["id"]).await;
    assert_eq!(cancelled(&service, &shown["id"]).await["status"], "success");
    service.post_event(&state("evt_late", 0, 100)).await;
    resume(&service).await;
    let executions = service.until_finished(2).await;
    assert_eq!(executions[1]["status"], "superseded", "{executions:?}");
    assert_eq!(service.sandbox.pages()[0].text("Amount"), Some("5"));
}

#[tokio::test]
async fn what_was_never_delivered_is_cancelled_and_a_write_in_doubt_is_named() {
    let service = Service::start().await;
    pause(&service).await;
    service.post_event(r#"{"id":"evt_1"}"#).await;
    let waiting = service.executions().await.remove(0);
    let store = service.database.store();
    let id = ExecutionId(waiting["id"].as_i64().unwrap());
    assert_eq!(store.interventions.would_cancel(id).await.unwrap(), CancelResult::Done(Status::Cancelled));
    service.database.change(rows::executions().set(&[Set::InDoubt])).await;
    retry(&service, &waiting["id"]).await;
    let done = cancelled(&service, &waiting["id"]).await;
    assert_eq!(done["status"], "cancelled");
    assert!(done["reason"].as_str().unwrap().contains("may have arrived"), "{done}");
}

#[tokio::test]
async fn an_erasure_leaves_a_delivered_execution_delivered() {
    let service = Service::start().await;
    service.post_event(r#"{"id":"evt_1"}"#).await;
    let delivered = service.until_finished(1).await.remove(0);
    pause(&service).await;
    retry(&service, &delivered["id"]).await;
    let store = service.database.store();
    store.erasure.erase(&[delivered["event_key"].as_i64().unwrap()], false).await.unwrap();
    let after = service.executions().await.remove(0);
    for field in ["status", "finished_at", "remote_url", "error_class"] {
        assert_eq!(after[field], delivered[field], "{field}: {after}");
    }
    assert_eq!(service.database.count(rows::queue()).await, 0);
}

#[tokio::test]
async fn however_often_events_are_delivered_again_the_statistics_add_up() {
    let service = Service::builder().set("NOTION_RATE_PER_MINUTE", "6000").start().await;
    let reader = service.replica().set("DESTINATIONS", "").start().await;
    for number in 1..=3 {
        service.post_event(&json!({"id": format!("evt_{number}"), "type": "invoice.paid"}).to_string()).await;
    }
    service.until_finished(3).await;
    let refused = Fault::Invalid { message: "Not now.".into() };
    service.sandbox.fault(FaultRule::always(refused).on(Route::Create)).unwrap();
    service.post_event(r#"{"id":"evt_4","type":"invoice.paid"}"#).await;
    let failing = service.until_finished(4).await.remove(3);
    retry(&service, &failing["id"]).await;
    let has_failed_twice = |executions: &[Value]| {
        executions[3]["status"] == "failed" && executions[3]["finished_at"] != failing["finished_at"]
    };
    service.until("it has failed again", has_failed_twice).await;
    service.sandbox.clear_faults();
    for _ in 0..2 {
        let created = service.post("/api/v1/events/replay?all=true").await;
        service.until_task_ended(created.headers["location"].to_str().unwrap()).await;
        service.until_finished(4).await;
    }
    service.stop().await;
    let total = reader.get("/api/v1/stats").await.json()["total"].clone();
    for (field, expected) in
        [("received", 4), ("delivered", 4), ("failed", 1), ("skipped", 0), ("superseded", 0)]
    {
        assert_eq!(total[field], expected, "{field} of {total}");
    }
    // The second failure, and both replays except for the one delivery that was the first.
    assert_eq!(total["repeated"], 1 + 8 - 1, "{total}");
    assert_eq!(total["destinations"]["notion"]["repeated"], total["repeated"]);
}
