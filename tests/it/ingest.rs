//! From the request to the committed row: what 200 guarantees, and what other statuses do not.

use crate::harness::rows::OpenWrite;
use crate::harness::{Answer, NOW, SECRET, Service, recorded, rows, signed, within};
use axum::body::Body;
use axum::http::{Request, StatusCode};
use eventbridge::sources::stripe;
use eventbridge::store::SignedPayload;
use eventbridge::telemetry::Metrics;
use futures_util::future::join_all;
use futures_util::stream;
use serde_json::{Value, json};

fn event(id: &str) -> String {
    json!({"id": id, "object": "event", "type": "invoice.paid", "created": 1_800_000_000,
           "data": {"object": {"id": "in_1", "object": "invoice", "total": 1200, "currency": "eur"}}})
    .to_string()
}

fn assert_received(answer: &Answer, accepted: bool) {
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    assert_eq!(answer.json(), json!({"status": "webhook received", "accepted": accepted}));
}

async fn events_stored(service: &Service) -> i64 {
    service.database.count(rows::events()).await
}

#[tokio::test]
async fn a_signed_event_is_committed_with_its_execution_before_the_answer() {
    let service = Service::start().await;
    assert_received(&service.post_event(&event("evt_1")).await, true);
    let together = rows::executions().of_event("evt_1").to("notion");
    assert_eq!(service.database.count(together).await, 1);
}

#[tokio::test]
async fn the_body_is_stored_byte_for_byte_and_can_be_verified_again() {
    let service = Service::start().await;
    let body =
        "{ \"id\" : \"evt_odd\",\n\t\"type\":\"x\\u0000y\", \"n\": 1.0e2, \"é\": \"\\ud83d\\ude00\" }\n";
    assert_received(&service.post_event(body).await, true);
    let store = service.database.store();
    let key = store.events.event_key("evt_odd").await.unwrap().unwrap();
    let SignedPayload { body: payload, signature, .. } = store.events.payload(key).await.unwrap().unwrap();
    assert_eq!(payload, body);
    assert_eq!(signature, stripe::sign(SECRET, &payload, NOW));
    let event = store.events.event(key).await.unwrap().unwrap();
    assert_eq!((event.event_type.as_str(), event.secret_name.as_str()), ("xy", "secret-1"));
}

#[tokio::test]
async fn concurrent_copies_are_one_row_and_all_succeed() {
    let service = Service::start().await;
    let body = event("evt_many");
    let answers = join_all((0..100).map(|_| service.post_event(&body))).await;
    assert!(answers.iter().all(|answer| answer.status == StatusCode::OK));
    let accepted = answers.iter().filter(|answer| answer.json()["accepted"] == true).count();
    assert_eq!(accepted, 1);
    assert_eq!(events_stored(&service).await, 1);
    assert_eq!(service.until_finished(1).await.len(), 1);
    assert_eq!(service.sandbox.page_count(), 1);
}

#[tokio::test]
async fn concurrent_copies_at_two_replicas_are_one_row() {
    let one = Service::start().await;
    let other = one.replica().start().await;
    for number in 0..20 {
        let body = event(&format!("evt_{number}"));
        let (a, b) = tokio::join!(one.post_event(&body), other.post_event(&body));
        let accepted = [&a, &b].map(|answer| answer.json()["accepted"].as_bool().unwrap());
        assert_eq!((a.status, b.status), (StatusCode::OK, StatusCode::OK));
        assert_eq!(accepted.into_iter().filter(|accepted| *accepted).count(), 1);
    }
    assert_eq!(events_stored(&one).await, 20);
    assert_eq!(one.database.count(rows::executions()).await, 20);
}

#[tokio::test]
async fn a_duplicate_with_another_body_changes_nothing() {
    let service = Service::start().await;
    assert_received(&service.post_event(&event("evt_1")).await, true);
    assert_received(&service.post_event(r#"{"id":"evt_1","type":"other"}"#).await, false);
    let kept = rows::events().of_type("invoice.paid");
    assert_eq!(service.database.count(kept).await, 1);
}

#[tokio::test]
async fn each_rejection_names_the_failed_check_and_stores_nothing() {
    let service = Service::start().await;
    let body = event("evt_1");
    let request = |signature: Option<String>| {
        let request = Request::post("/api/v1/webhooks/stripe").header("host", "localhost");
        let request = match signature {
            Some(signature) => request.header("stripe-signature", signature),
            None => request,
        };
        request.body(Body::from(body.clone())).unwrap()
    };
    let sign = |secret, at| Some(stripe::sign(secret, body.as_bytes(), at));
    for (signature, code) in [
        (None, "signature_missing"),
        (Some("v1".to_owned()), "signature_malformed"),
        (sign("whsec_wrong", NOW), "signature_no_match"),
        (sign(SECRET, NOW - 301), "signature_too_old"),
        (sign(SECRET, NOW + 301), "signature_clock_ahead"),
    ] {
        let answer = service.call(request(signature)).await;
        assert_eq!(answer.problem(400), code);
        assert!(!answer.body.contains(SECRET));
    }
    for body in ["", "[]", "{}", r#"{"id":""}"#, "not json"] {
        service.post_event(body).await.problem(400);
    }
    assert_eq!(events_stored(&service).await, 0);
}

#[tokio::test]
async fn a_body_over_2_mib_is_rejected_with_413() {
    const MAX: usize = 2 * 1024 * 1024;
    let service = Service::builder().set("DESTINATIONS", "").start().await;
    let padded = |id: &str, length: usize| {
        let start = format!(r#"{{"id":"{id}","pad":""#);
        let fill = length - start.len() - 2;
        format!("{start}{}\"}}", "x".repeat(fill))
    };
    assert_received(&service.post_event(&padded("evt_max", MAX)).await, true);
    let over = padded("evt_over", MAX + 1);
    assert_eq!(service.post_event(&over).await.problem(413), "body_too_large");
    let announced = Request::post("/api/v1/webhooks/stripe")
        .header("host", "localhost")
        .header("content-length", MAX + 1)
        .body(Body::empty());
    assert_eq!(service.call(announced.unwrap()).await.problem(413), "body_too_large");
    let chunks = stream::iter([Ok::<_, std::io::Error>(over[..MAX].to_owned()), Ok(over[MAX..].to_owned())]);
    let unannounced = signed(&over).map(|_| Body::from_stream(chunks));
    assert_eq!(service.call(unannounced).await.problem(413), "body_too_large");
    assert_eq!(events_stored(&service).await, 1);
}

#[tokio::test]
async fn a_body_without_declared_length_reserves_only_its_size() {
    let service = Service::builder().set("DESTINATIONS", "").start().await;
    let answers = join_all((0..200).map(|number| {
        let body = event(&format!("evt_{number}"));
        let chunk = stream::iter([Ok::<_, std::io::Error>(body.clone())]);
        service.call(signed(&body).map(|_| Body::from_stream(chunk)))
    }))
    .await;
    assert!(answers.iter().all(|answer| answer.status == StatusCode::OK));
}

#[tokio::test]
async fn large_declared_lengths_without_bodies_do_not_block_others() {
    let service = Service::builder().set("DESTINATIONS", "").start().await;
    let silent = || {
        let request = Request::post("/api/v1/webhooks/stripe")
            .header("host", "localhost")
            .header("content-length", 2 * 1024 * 1024)
            .body(Body::from_stream(stream::pending::<Result<String, std::io::Error>>()));
        Box::pin(service.call(request.unwrap()))
    };
    let mut waiting: Vec<_> = (0..100).map(|_| silent()).collect();
    for request in &mut waiting {
        assert!(futures_util::poll!(request).is_pending());
    }
    assert_received(&service.post_event(&event("evt_1")).await, true);
}

#[tokio::test]
async fn without_a_database_an_event_is_shed_until_it_can_be_stored() {
    let service = Service::builder().set("DESTINATIONS", "").start().await;
    let away = service.replica().set("DESTINATIONS", "").without_database().start().await;
    let answer = away.post_event(&event("evt_1")).await;
    assert_eq!(answer.problem(503), "unavailable");
    assert_eq!(answer.headers["retry-after"], "5");
    assert_received(&service.post_event(&event("evt_1")).await, true);
}

#[tokio::test]
async fn stopping_commits_and_answers_queued_events_despite_open_connections() {
    let service = Service::builder().set("DESTINATIONS", "").start().await;
    let (database, router) = (service.database.clone(), service.router.clone());
    let body = event("evt_last");
    let mut last = Box::pin(service.post_event(&body));
    for _ in 0..3 {
        if futures_util::poll!(&mut last).is_ready() {
            break;
        }
    }
    drop(last);
    // A connection still holds the router, and with it the channel to the writers.
    service.stop().await;
    drop(router);
    assert_eq!(database.count(rows::events()).await, 1);
}

#[tokio::test]
async fn an_incomplete_body_is_rejected_and_stores_nothing() {
    let service = Service::start().await;
    let chunks = stream::iter([Ok("{\"id\":".to_owned()), Err(std::io::Error::other("gone"))]);
    let broken = signed("{\"id\":").map(|_| Body::from_stream(chunks));
    assert_eq!(service.call(broken).await.problem(400), "bad_request");
    assert_eq!(events_stored(&service).await, 0);
}

#[tokio::test]
async fn an_event_is_committed_even_if_its_client_disconnects() {
    let service = Service::start().await;
    for number in 0..50 {
        let body = event(&format!("evt_{number}"));
        let mut request = Box::pin(service.post_event(&body));
        // Polled until the event is handed over, then dropped as axum does when a client disconnects.
        for _ in 0..3 {
            if futures_util::poll!(&mut request).is_ready() {
                break;
            }
        }
        drop(request);
    }
    let executions = service.until_finished(50).await;
    assert_eq!(executions.len(), 50);
}

#[tokio::test]
async fn a_row_that_the_database_rejects_fails_alone() {
    let service = Service::builder().set("DESTINATIONS", "").start().await;
    service.database.change(rows::refuse_events_of("refused")).await;
    let answers = join_all((0..64).map(|number| {
        let kind = if number % 10 == 3 { "refused" } else { "fine" };
        let body = json!({"id": format!("evt_{number}"), "type": kind}).to_string();
        let service = &service;
        async move { (kind, service.post_event(&body).await) }
    }))
    .await;
    for (kind, answer) in &answers {
        match *kind {
            "fine" => assert_received(answer, true),
            _ => assert_eq!(answer.problem(400), "event_refused"),
        }
    }
    assert_eq!(events_stored(&service).await, 64 - 7);
}

#[tokio::test]
async fn without_tables_an_event_is_shed_with_retry_after() {
    let service = Service::builder().set("DESTINATIONS", "").start().await;
    service.database.change(rows::hide_schema()).await;
    let answer = service.post_event(&event("evt_1")).await;
    assert_eq!(answer.problem(503), "unavailable");
    assert_eq!(answer.headers["retry-after"], "5");
    service.database.change(rows::show_schema()).await;
    assert_received(&service.post_event(&event("evt_1")).await, true);
}

#[tokio::test]
async fn an_event_without_a_matching_destination_is_stored_without_an_execution() {
    let service = Service::builder()
        .set("NOTION_EVENT_TYPES", "@invoices,charge.refunded")
        .set("NOTION_LIVEMODE", "live")
        .start()
        .await;
    for (id, kind, livemode) in [
        ("evt_a", "invoice.paid", true),
        ("evt_b", "charge.refunded", true),
        ("evt_c", "customer.created", true),
        ("evt_d", "invoice.paid", false),
    ] {
        let body = json!({"id": id, "type": kind, "livemode": livemode}).to_string();
        assert_received(&service.post_event(&body).await, true);
    }
    let executions = service.until_finished(2).await;
    let ids: Vec<_> = executions.iter().map(|execution| execution["event_id"].clone()).collect();
    assert_eq!(ids, ["evt_a", "evt_b"]);
    assert_eq!(events_stored(&service).await, 4);
}

#[tokio::test]
async fn an_unknown_source_is_not_found() {
    let service = Service::start().await;
    assert_eq!(service.post("/api/v1/webhooks/paypal").await.problem(404), "not_found");
    let (mut parts, body) = signed("{}").into_parts();
    parts.uri = "/api/v1/webhooks/paypal".parse().unwrap();
    assert_eq!(service.call(Request::from_parts(parts, body)).await.problem(404), "wrong_path");
}

#[tokio::test]
async fn every_recorded_event_and_object_becomes_a_page() {
    let service = Service::builder().template(notion_sandbox::Template::Full).start().await;
    let bodies = every_body();
    for chunk in bodies.chunks(20) {
        for answer in join_all(chunk.iter().map(|body| service.post_event(body))).await {
            assert_received(&answer, true);
        }
    }
    let executions = service.until_finished(bodies.len()).await;
    for execution in &executions {
        assert_eq!(execution["status"], "success", "{execution}");
    }
    let mut keys: Vec<_> =
        service.sandbox.pages().iter().map(|page| page.text("EventId").unwrap().to_owned()).collect();
    keys.sort();
    let mut expected: Vec<_> = bodies.iter().map(|body| id_of(body)).collect();
    expected.sort();
    assert_eq!(keys, expected);
}

fn every_body() -> Vec<String> {
    let created = chrono::DateTime::from_timestamp(NOW, 0).unwrap();
    let mut bodies: Vec<_> =
        stripe_samples::names().map(|name| stripe_samples::make(name, 1, created).unwrap().body).collect();
    if let Some(folder) = recorded("stripe-events") {
        let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
        files.sort();
        // Some recordings share an id, so each gets its own.
        bodies.extend(files.iter().enumerate().map(|(number, file)| {
            let mut event: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
            event["id"] = json!(format!("evt_recorded_{number}"));
            event.to_string()
        }));
    }
    if let Some(folder) = recorded("stripe-objects") {
        let fixtures: Value =
            serde_json::from_slice(&std::fs::read(folder.join("fixtures.json")).unwrap()).unwrap();
        let objects = fixtures.as_object().unwrap().get("resources").and_then(Value::as_object);
        let objects = objects.unwrap_or_else(|| fixtures.as_object().unwrap());
        bodies.extend(objects.iter().map(|(name, object)| {
            json!({"id": format!("evt_object_{name}"), "object": "event", "type": format!("{name}.updated"),
                   "created": NOW, "livemode": false, "data": {"object": object}})
            .to_string()
        }));
    }
    bodies
}

fn id_of(body: &str) -> String {
    serde_json::from_str::<Value>(body).unwrap()["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn bodies_reserve_memory_as_they_arrive_and_are_shed_when_the_budget_is_used() {
    use eventbridge::ingest::{WriteError, Writer, WriterSettings};
    use eventbridge::store::Notifier;
    use tokio_util::sync::CancellationToken;
    use tokio_util::task::TaskTracker;

    let database = crate::harness::Database::new().await;
    let settings = WriterSettings { queue_bytes_max: 10_000, ..WriterSettings::default() };
    let (store, notifier) = (database.store(), Notifier::default());
    let (metrics, tasks) = (Metrics::new(["notion"]), TaskTracker::new());
    let writer =
        Writer::start(&store.intake, &notifier, &metrics, settings, &tasks, &CancellationToken::new());
    let mut held = writer.reserve().await.unwrap();
    held.extend_to(5_000).await.unwrap();
    let mut next = writer.reserve().await.unwrap();
    assert_eq!(next.extend_to(5_000).await, Err(WriteError::Full));
    drop(held);
    assert_eq!(next.extend_to(5_000).await, Ok(()));
}

#[tokio::test]
async fn a_blocked_writer_does_not_delay_other_events() {
    let service = Service::start().await;
    let other = OpenWrite::of(&service.database, "evt_held_up").await;
    let held_up = event("evt_held_up");
    let held_up = service.post_event(&held_up);
    let meanwhile = async {
        within("the writer is blocked", async {
            while service.database.sessions_waiting_for_a_lock("incoming").await == 0 {}
        })
        .await;
        assert_received(&service.post_event(&event("evt_next")).await, true);
        other.roll_back().await;
    };
    let (held_up, ()) = futures_util::future::join(held_up, meanwhile).await;
    assert_received(&held_up, true);
}

#[tokio::test]
async fn stalled_uploads_release_their_memory() {
    const LARGE: usize = 2 * 1024 * 1024;
    let service = Service::builder().set("DESTINATIONS", "").start().await;
    let stalled = || {
        let mostly = futures_util::StreamExt::chain(
            stream::iter([Ok::<_, std::io::Error>("x".repeat(LARGE - 1))]),
            stream::pending(),
        );
        Box::pin(service.call(signed("").map(|_| Body::from_stream(mostly))))
    };
    // As many as fit in the body budget.
    let mut waiting: Vec<_> = (0..23).map(|_| stalled()).collect();
    for request in &mut waiting {
        assert!(futures_util::poll!(request).is_pending());
    }
    let padding = " ".repeat(LARGE - 100 * 1024);
    let answers = join_all((0..2).map(|number| {
        let body = format!("{}{padding}", event(&format!("evt_{number}")));
        let service = &service;
        async move { service.post_event(&body).await }
    }));
    let shed = async {
        let (first, ..) = futures_util::future::select_all(waiting.iter_mut()).await;
        first
    };
    let (answers, shed) = futures_util::future::join(answers, shed).await;
    for answer in &answers {
        assert_received(answer, true);
    }
    assert_eq!(shed.problem(503), "unavailable");
    assert_eq!(shed.headers["retry-after"], "5");
}
