//! Manual operations: cancel, pause and resume, bulk retry and replay, and their audit entries.

use crate::harness::{Answer, NOW, Service, rows, within};
use axum::body::Body;
use axum::http::Request;
use notion_sandbox::{Fault, FaultRule, Route, Template};
use serde_json::{Value, json};

async fn post_json(service: &Service, path: &str, body: &Value) -> Answer {
    let request = Request::post(path).header("host", "localhost").header("content-type", "application/json");
    service.call(request.body(Body::from(body.to_string())).unwrap()).await
}

async fn pause(service: &Service, note: &str) -> Answer {
    post_json(service, "/api/v1/destinations/notion/pause", &json!({ "note": note })).await
}

async fn destination(service: &Service) -> Value {
    service.get("/api/v1/destinations").await.json()["data"][0].clone()
}

/// The destination once so many wait for it. A count that took long, on a busy machine, is shown for a while.
async fn destination_with(service: &Service, pending: u64) -> Value {
    within("the backlog is counted", async {
        loop {
            let view = destination(service).await;
            if view["backlog"]["pending"] == pending {
                return view;
            }
        }
    })
    .await
}

/// The audit entries, newest first.
async fn audited(service: &Service) -> Vec<String> {
    let audit = service.get("/api/v1/audit").await.json();
    let entry = |line: &Value| {
        let words = ["action", "subject_kind", "subject_id"].map(|part| line[part].as_str());
        words.into_iter().flatten().collect::<Vec<_>>().join(" ")
    };
    audit["data"].as_array().unwrap().iter().map(entry).collect()
}

#[tokio::test]
async fn a_cancelled_execution_is_not_delivered_until_retried() {
    let service = Service::start().await;
    pause(&service, "for the test").await;
    service.post_event(r#"{"id":"evt_1"}"#).await;
    service.post_event(r#"{"id":"evt_2"}"#).await;
    let first = service.executions().await.remove(0);
    let cancel = format!("/api/v1/executions/{}/cancel", first["id"]);
    for _ in 0..2 {
        let cancelled = service.post(&cancel).await;
        assert_eq!(
            (cancelled.status.as_u16(), cancelled.json()["status"].clone()),
            (200, json!("cancelled"))
        );
    }
    assert_eq!(service.post("/api/v1/destinations/notion/resume").await.status, 200);
    let executions = service.until_finished(2).await;
    assert_eq!(
        (&executions[0]["status"], &executions[1]["status"]),
        (&json!("cancelled"), &json!("success"))
    );
    assert!(executions[0]["reason"].as_str().unwrap().starts_with("cancelled by"), "{executions:?}");
    assert_eq!(service.sandbox.page_count(), 1);

    let done = service.post(&format!("/api/v1/executions/{}/cancel", executions[1]["id"])).await;
    assert_eq!(done.problem(409), "not_cancellable");
    assert!(done.json()["detail"].as_str().unwrap().contains("delivered"), "{done:?}");
    assert_eq!(service.post("/api/v1/executions/77/cancel").await.problem(404), "not_found");
    assert_eq!(service.post(&format!("/api/v1/executions/{}/retry", first["id"])).await.status, 202);
    assert_eq!(service.until_finished(2).await[0]["status"], "success");
    let subject = format!("execution {}", first["id"]);
    assert_eq!(audited(&service).await[0], format!("execution.retried {subject}"));
    assert!(audited(&service).await.contains(&format!("execution.cancelled {subject}")));
}

#[tokio::test]
async fn a_running_execution_cannot_be_cancelled() {
    let service = Service::start().await;
    service.sandbox.fault(FaultRule::always(Fault::Slow { delay_ms: 60_000 }).on(Route::Create)).unwrap();
    service.post_event(r#"{"id":"evt_1"}"#).await;
    within("the write is under way", service.sandbox.until(|sandbox| sandbox.page_count() == 1)).await;
    let execution = service.executions().await.remove(0);
    let answer = service.post(&format!("/api/v1/executions/{}/cancel", execution["id"])).await;
    assert_eq!(answer.problem(409), "not_cancellable");
}

#[tokio::test]
async fn a_lane_continues_after_its_head_is_cancelled() {
    let service = Service::builder().set("NOTION_MODE", "object").template(Template::Full).start().await;
    pause(&service, "for the test").await;
    for (event, created, amount) in [("evt_1", 0, 100), ("evt_2", 1, 200)] {
        let body = json!({"id": event, "type": "payment_intent.processing", "created": NOW + created, "livemode": false,
            "data": {"object": {"id": "pi_1", "object": "payment_intent", "amount": amount, "currency": "eur"}}});
        service.post_event(&body.to_string()).await;
    }
    let head = service.executions().await.remove(0);
    service.post(&format!("/api/v1/executions/{}/cancel", head["id"])).await;
    service.post("/api/v1/destinations/notion/resume").await;
    let executions = service.until_finished(2).await;
    assert_eq!(
        (&executions[0]["status"], &executions[1]["status"]),
        (&json!("cancelled"), &json!("success"))
    );
    assert_eq!(service.sandbox.pages()[0].text("Amount"), Some("2"));
}

#[tokio::test]
async fn a_manual_pause_is_neither_ended_by_a_probe_nor_replaced_by_an_error() {
    let service = Service::builder().set("NOTION_RATE_PER_MINUTE", "6000").start().await;
    let paused = pause(&service, " moving house ").await;
    assert_eq!(paused.status, 200, "{paused:?}");
    let view = paused.json();
    assert_eq!((&view["state"], &view["pause"]["origin"]), (&json!("paused"), &json!("operator")));
    assert_eq!(
        (&view["pause"]["reason"], &view["pause"]["paused_by"]),
        (&json!("moving house"), &json!("(no key)"))
    );
    assert!(view["pause"]["remedy"].as_str().unwrap().contains("eventbridge resume notion"), "{view}");
    assert!(view["pause"]["next_probe_at"].is_null());
    // Neither a passing probe nor a failing delivery, both of which other replicas may have under way,
    // changes it.
    let store = service.database.store();
    let trouble = eventbridge::store::Pause {
        class: "unauthorized".into(),
        reason: String::new(),
        remedy: String::new(),
        execution: None,
        by: None,
    };
    assert!(!store.destinations.resume("notion").await.unwrap());
    assert!(!store.destinations.pause("notion", &trouble, std::time::Duration::ZERO).await.unwrap());
    assert_eq!(destination(&service).await["pause"], view["pause"]);
    let probes =
        store.destinations.take_probes(&["notion".to_owned()], std::time::Duration::ZERO).await.unwrap();
    assert!(probes.is_empty());

    service.post_event(r#"{"id":"evt_1"}"#).await;
    let waiting = destination_with(&service, 1).await;
    assert_eq!(waiting["backlog"]["pending_is_cut"], false);
    assert_eq!(waiting["backlog"]["clears_in_seconds"], 1);
    assert_eq!(waiting["rate_limit"]["calls_per_minute"], 6000);
    assert!(
        service.executions().await[0]["reason"]
            .as_str()
            .unwrap()
            .contains("paused by (no key): moving house")
    );

    let resumed = service.post("/api/v1/destinations/notion/resume").await.json();
    assert_eq!((&resumed["state"], &resumed["pause"]), (&json!("working"), &Value::Null));
    service.until_finished(1).await;
    assert_eq!(
        service.post("/api/v1/destinations/notion/resume").await.status,
        200,
        "a second resume changes nothing"
    );
    assert_eq!(
        audited(&service).await,
        ["destination.resumed destination notion", "destination.paused destination notion"]
    );
    let idle = destination_with(&service, 0).await;
    assert_eq!(idle["backlog"]["oldest_pending_seconds"], Value::Null);
}

#[tokio::test]
async fn a_pause_requires_a_note_and_a_configured_instance() {
    let service = Service::start().await;
    for note in ["", "  ", &"x".repeat(501)] {
        assert_eq!(pause(&service, note).await.problem(400), "bad_request");
    }
    let odd = post_json(&service, "/api/v1/destinations/notion/pause", &json!({"why": "x"})).await;
    assert_eq!(odd.problem(400), "bad_request");
    assert_eq!(service.post("/api/v1/destinations/notion/pause").await.problem(415), "not_json");
    let elsewhere = post_json(&service, "/api/v1/destinations/elsewhere/pause", &json!({"note": "x"})).await;
    assert_eq!(elsewhere.problem(404), "not_found");
    assert_eq!(service.post("/api/v1/destinations/elsewhere/resume").await.problem(404), "not_found");
    assert!(audited(&service).await.is_empty());
}

async fn answer(service: &Service, path: &str) -> Value {
    let answer = service.post(path).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

/// The task that a request creates, once it has ended.
async fn task(service: &Service, path: &str) -> Value {
    let created = service.post(path).await;
    assert_eq!(created.status, 202, "{created:?}");
    service.until_task_ended(created.headers["location"].to_str().unwrap()).await
}

/// A service whose first five events have failed.
async fn with_five_failed() -> Service {
    let service = Service::builder().set("NOTION_RATE_PER_MINUTE", "6000").start().await;
    let refused = Fault::Invalid { message: "Not now.".into() };
    service.sandbox.fault(FaultRule::always(refused).on(Route::Create)).unwrap();
    for number in 1..=5 {
        let kind = if number == 5 { "charge.refunded" } else { "invoice.paid" };
        service.post_event(&json!({"id": format!("evt_{number}"), "type": kind}).to_string()).await;
    }
    let executions = service.until_finished(5).await;
    assert!(executions.iter().all(|execution| execution["status"] == "failed"), "{executions:?}");
    service.sandbox.clear_faults();
    service
}

#[tokio::test]
async fn failures_are_retried_after_a_dry_run() {
    let service = with_five_failed().await;
    let dry = answer(&service, "/api/v1/executions/retry?all=true&dry_run=true").await;
    assert_eq!(
        dry,
        json!({"dry_run": true, "count": 5, "count_is_cut": false, "created": 0, "delivery_seconds": 1}),
        "it creates no task"
    );
    let long_ago = "status=skipped&created_after=2020-01-01&created_before=2020-01-02&dry_run=true";
    assert_eq!(answer(&service, &format!("/api/v1/executions/retry?{long_ago}")).await["count"], 0);
    assert!(audited(&service).await.is_empty());
    assert_eq!(service.database.count(rows::tasks()).await, 0);

    let task = task(&service, "/api/v1/executions/retry?status=failed&note=mended").await;
    assert_eq!(
        (&task["kind"], &task["status"], &task["filter"], &task["note"], &task["delivery_seconds"]),
        (
            &json!("retry_executions"),
            &json!("succeeded"),
            &json!({"status": "failed"}),
            &json!("mended"),
            &json!(1)
        )
    );
    assert_eq!(
        task["progress"],
        json!({"examined": 5, "queued": 5, "created": 0, "by_destination": {"notion": 5}})
    );
    let subject = service.get("/api/v1/audit?subject_kind=execution&subject_id=1").await.json();
    assert_eq!(subject["data"][0]["action"], "executions.retried", "its part in bulk operations: {subject}");
    let executions = service.until_finished(5).await;
    assert!(executions.iter().all(|execution| execution["status"] == "success"), "{executions:?}");
    assert_eq!(service.sandbox.page_count(), 5);
    let path = format!("/api/v1/tasks/{}", task["id"].as_str().unwrap());
    assert_eq!(
        service.get(&path).await.json()["executions"],
        json!({"pending": 0, "success": 5, "failed": 0, "other": 0, "is_cut": false})
    );
    let audit = service.get("/api/v1/audit").await.json();
    let of_task = format!("executions.retried task {}", task["id"].as_str().unwrap());
    assert_eq!(audited(&service).await, [of_task]);
    let first = &audit["data"][0]["detail"];
    assert_eq!(
        (&first["count"], &first["note"], &first["filter"]["status"]),
        (&json!(5), &json!("mended"), &json!("failed"))
    );
}

#[tokio::test]
async fn a_bulk_retry_requires_a_retryable_state_and_a_bounded_filter() {
    let service = Service::start().await;
    for (query, code) in [
        ("status=running", "bad_request"),
        ("status=superseded", "bad_request"),
        ("all=true&limit=5", "bad_request"),
        ("all=true&sort=id", "bad_request"),
        ("status=success", "time_range_required"),
    ] {
        assert_eq!(
            service.post(&format!("/api/v1/executions/retry?{query}")).await.problem(400),
            code,
            "{query}"
        );
    }
    for (path, param) in [
        ("executions/retry?event_id=evt_none", "event_id"),
        ("executions/retry?event_id=4711", "event_id"),
        ("executions/retry?failure_group_id=zzz", "failure_group_id"),
        ("events/replay?event_id=evt_none", "event_id"),
    ] {
        for dry_run in [false, true] {
            let answer = service.post(&format!("/api/v1/{path}&dry_run={dry_run}")).await;
            assert_eq!(answer.problem(404), "not_found", "{path}");
            assert_eq!(answer.json()["param"], param, "{path}");
        }
    }
    assert_eq!(service.database.count(rows::tasks()).await, 0);
    assert_eq!(service.get("/failures/zzz").await.status, 404);
    let elsewhere = service.post("/api/v1/events/replay?all=true&destination=elsewhere").await;
    assert_eq!(elsewhere.problem(400), "bad_request");
}

#[tokio::test]
async fn a_replay_delivers_again_and_adds_destinations_configured_later() {
    let service = Service::builder().set("NOTION_EVENT_TYPES", "invoice.*").start().await;
    for (id, kind) in [("evt_1", "invoice.paid"), ("evt_2", "charge.refunded"), ("evt_3", "charge.failed")] {
        service.post_event(&json!({"id": id, "type": kind}).to_string()).await;
    }
    service.until_finished(1).await;
    let next = service.replica().set("NOTION_EVENT_TYPES", "invoice.*,charge.refunded");
    service.stop().await;
    let next = next.start().await;
    let dry = answer(&next, "/api/v1/events/replay?all=true&dry_run=true").await;
    assert_eq!(
        (&dry["count"], &dry["created"], &dry["delivery_seconds"]),
        (&json!(2), &json!(1), &Value::Null)
    );
    assert_eq!(next.executions().await.len(), 1);
    let done = task(&next, "/api/v1/events/replay?all=true&note=once").await;
    assert_eq!(
        done["progress"],
        json!({"examined": 3, "queued": 2, "created": 1, "by_destination": {"notion": 2}})
    );
    let executions = next.until_finished(2).await;
    assert!(executions.iter().all(|execution| execution["status"] == "success"), "{executions:?}");
    let mut events: Vec<_> =
        next.sandbox.pages().iter().map(|page| page.text("EventId").unwrap().to_owned()).collect();
    events.sort();
    assert_eq!(events, ["evt_1", "evt_2"], "the existing page is updated, not duplicated");
    assert_eq!(audited(&next).await, ["events.replayed task task_1"]);
}

#[tokio::test]
async fn a_replay_skips_pending_and_cancelled_executions_and_older_states() {
    let service = Service::builder().set("NOTION_MODE", "object").template(Template::Full).start().await;
    let state = |event: &str, created: i64, amount: i64| {
        json!({"id": event, "type": "payment_intent.processing", "created": NOW + created, "livemode": false,
            "data": {"object": {"id": "pi_1", "object": "payment_intent", "amount": amount, "currency": "eur"}}})
        .to_string()
    };
    for (number, body) in [state("evt_1", 0, 100), state("evt_2", 1, 200)].iter().enumerate() {
        service.post_event(body).await;
        service.until_finished(number + 1).await;
    }
    pause(&service, "for the test").await;
    service.post_event(&state("evt_3", 2, 300)).await;
    let last = service.executions().await.pop().unwrap();
    service.post(&format!("/api/v1/executions/{}/cancel", last["id"])).await;
    let replayed = task(&service, "/api/v1/events/replay?all=true").await;
    assert_eq!(replayed["progress"]["queued"], 2, "{replayed}");
    service.post("/api/v1/destinations/notion/resume").await;
    let executions = service.until_finished(3).await;
    let statuses: Vec<_> = executions.iter().map(|execution| execution["status"].as_str().unwrap()).collect();
    assert_eq!(statuses, ["superseded", "success", "cancelled"]);
    assert_eq!(service.sandbox.pages()[0].text("Amount"), Some("2"));
}

#[tokio::test]
async fn a_bulk_action_without_a_filter_requires_all_and_changes_nothing() {
    let service = Service::start().await;
    service.post_event(&json!({"id": "evt_1", "type": "invoice.paid"}).to_string()).await;
    service.until_finished(1).await;
    for path in [
        "/api/v1/events/replay",
        "/api/v1/events/replay?dry_run=true",
        "/api/v1/events/replay?destination=notion",
        "/api/v1/events/replay?all=false",
        "/api/v1/executions/retry",
        "/api/v1/executions/retry?note=x",
    ] {
        let refused = service.post(path).await;
        assert_eq!(refused.problem(400), "bad_request", "{path}");
        assert!(refused.body.contains("all=true"), "{}", refused.body);
    }
    assert_eq!(service.database.count(rows::audit()).await, 0);
    assert_eq!(service.database.count(rows::tasks()).await, 0);
    assert_eq!(task(&service, "/api/v1/events/replay?all=true").await["progress"]["queued"], 1);
}
